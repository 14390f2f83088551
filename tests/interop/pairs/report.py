"""The table of the suite, as text and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from tests.interop.pairs.beside import seconds, side_by_side
from tests.interop.pairs.case import Hole, Result, job
from tests.interop.pairs.run import Played

HEAD = ("case", "primary", "secondary", "result", "to normal", "without service", "refused", "lost", "twice", "may lose")
LETTERS = {Hole.LAST_RENEWAL: "A", Hole.EARLY_REUSE: "B", Hole.WRONGLY_DECLARED: "W"}
LEGEND = (
    "To normal: the longest return to normal on both sides. Without service: the longest time that one client wanted a lease and had"
    " none. Refused: clients that wanted one for 25 s in vain; a server that is alone has only its half of the free addresses until MCLT"
    " after partner-down. Lost: leases that a client was told and that did not last. Twice: addresses that two clients held at once. All"
    " of it from what the clients were told, by a record that knows no server.",
    "May lose: what the case can lose for a reason that no partner of dhcpd can remove. Each loser must be reported by a server.",
    f"A: {Hole.LAST_RENEWAL} (the first of the two holes beside a dhcpd). A kill -9 does not open it: the kernel sends what was written."
    " Only the cases of zero-loss open it, to measure it; with zero-loss nothing may be lost.",
    f"B: {Hole.EARLY_REUSE} (the second): a dhcpd that comes back from a pause, a lone boot or an old database does not know what it"
    " must not give.",
    "W: both servers were told that the other was down, and neither was.",
)


def row(result: Result) -> tuple[str, ...]:
    """The cells of one case."""
    found = job(result.key)
    first, second = found.cast.products
    return (
        found.title,
        first,
        second,
        "pass" if result.ok else "FAIL",
        seconds(result.normal_s),
        seconds(result.longest_s),
        f"{result.refused} of {result.asked}",
        str(len(result.lost)),
        str(len(result.twice)),
        LETTERS[Hole(result.hole)] if result.hole else "",
    )


def line(result: Result) -> str:
    """One case as it ends."""
    said = f"{'pass' if result.ok else 'FAIL'}  {result.key}, {result.seconds:.0f} s"
    return "\n".join([said, *(f"     {text}" for text in result.failures)])


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns for a terminal."""
    widths = [max(len(cells[n]) for cells in rows) for n in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in rows]


def table(played: Played) -> str:
    """For a terminal."""
    lines = aligned([HEAD, *(row(result) for result in played.results)])
    beside = [("side by side", "failoverd", "dhcpd"), *((each.what, each.ours, each.theirs) for each in side_by_side(played))]
    return "\n".join([*lines, "", *(aligned(beside) if len(beside) > 1 else []), "", *LEGEND, "", summary(played)])


def summary(played: Played) -> str:
    """The last line."""
    passed = sum(result.ok for result in played.results)
    return f"{passed} of {len(played.results)} cases passed in {played.seconds / 60:.1f} minutes, {played.at_once} at once"


def markdown(played: Played) -> str:
    """For a file."""
    lines = ["# Interop suite", "", summary(played), "", "| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(row(result)) + " |" for result in played.results]
    for text in LEGEND:
        lines += ["", text]
    lines += ["", "## Side by side", "", "| | failoverd | dhcpd |", "|---|---|---|"]
    lines += [f"| {each.what} | {each.ours} | {each.theirs} |" for each in side_by_side(played)]
    failed = [result for result in played.results if not result.ok]
    lines += ["", "## Failures", ""] if failed else []
    lines += [f"- `{result.key}`: {text}" for result in failed for text in result.failures]
    return "\n".join(lines) + "\n"
