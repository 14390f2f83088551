"""The table of the suite, as text and as Markdown, and what is measured side by side with a pair of dhcpd."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.interop.pairs.case import Cast, Hole, Result, job
from tests.interop.pairs.run import Played
from tests.interop.pairs.server import Product

HEAD = ("case", "primary", "secondary", "result", "to normal", "without service", "refused", "lost", "twice", "may lose")
LETTERS = {Hole.LAST_RENEWAL: "A", Hole.EARLY_REUSE: "B", Hole.WRONGLY_DECLARED: "W"}
LEGEND = (
    "To normal: the longest return to normal on both sides. Without service: the longest time that one client wanted a lease and had"
    " none. Refused: clients that wanted one for 25 s in vain; a server that is alone has only its half of the free addresses until MCLT"
    " after partner-down. Lost: leases that a client was told and that did not last. Twice: addresses that two clients held at once. All"
    " of it from what the clients were told, by a record that knows no server.",
    "May lose: what the case can lose for a reason that no partner of dhcpd can remove. Each loser must be reported by a server.",
    f"A: {Hole.LAST_RENEWAL} (the first of the two holes beside a dhcpd). A kill -9 does not open it: the kernel sends what was written. No"
    " case may lose by it.",
    f"B: {Hole.EARLY_REUSE} (the second): a dhcpd that comes back from a pause, a lone boot or an old database does not know what it"
    " must not give.",
    "W: both servers were told that the other was down, and neither was.",
)


@dataclass(slots=True, frozen=True)
class Beside:
    """One figure of failoverd beside dhcpd's."""

    what: str
    ours: str
    theirs: str


def seconds(value: float | None) -> str:
    """A time of the table."""
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 0.095 else f"{value:.1f} s"


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


def measured(played: Played, name: str, alone: bool | None = None) -> list[float]:
    """Every value of a measurement; `alone`: of a pair of dhcpd only, or of all others only."""
    return [
        result.measured[name]
        for result in played.results
        if name in result.measured and (alone is None or (job(result.key).cast is Cast.DHCPD_ALONE) is alone)
    ]


def side_by_side(played: Played) -> Iterator[Beside]:
    """The figures in which failoverd means to be better than dhcpd; those of which both sides were played."""

    def worst(values: list[float]) -> str:
        return seconds(max(values)) if values else "-"

    cut = "normal after a cut of 80 s"
    yield Beside(
        "a pair is normal after a cut of 80 s is mended", worst(measured(played, cut, False)), worst(measured(played, cut, True))
    )
    for what, name in (
        ("a single BNDUPD waits for its BNDACK (median)", "BNDACK of {}"),
        ("silent after a restart in partner-down", "mute after a restart of {} in partner-down"),
    ):
        yield Beside(what, *(worst(measured(played, name.format(product))) for product in (Product.OURS, Product.DHCPD)))
    for name, what in (
        ("lone-boot", "given twice when it boots alone after it was declared down"),
        ("hang", "given twice when it wakes after it was declared down"),
        ("rollback", "given twice or lost after its database was rolled back"),
    ):
        found = [
            [len({*r.twice, *r.lost}) for r in played.results if r.key.startswith(f"{name}/") and same(r, product)]
            for product in (Product.OURS, Product.DHCPD)
        ]
        yield Beside(what, *(f"{max(each)}" if each else "-" for each in found))


def same(result: Result, product: Product) -> bool:
    """Whether the mishap of a case met a server of this kind and the case ended; a case that did not end counts nothing."""
    found = job(result.key)
    return found.side is not None and found.cast.product(found.side) is product and result.normal_s is not None


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
