"""The table of the suite, as text and as Markdown."""

from __future__ import annotations

from tests.interop.pairs.case import Result, job
from tests.interop.pairs.run import Played

HEAD = ("case", "primary", "secondary", "result", "to normal", "without service", "refused", "lost", "twice")


def seconds(value: float | None) -> str:
    """A time of the table."""
    return "-" if value is None else f"{value:.1f} s"


def row(result: Result) -> tuple[str, ...]:
    """The cells of one case."""
    found = job(result.key)
    first, second = found.cast.products
    marks = "*" if result.hole and (result.lost or result.twice) else ""
    return (
        found.title,
        first,
        second,
        "pass" if result.ok else "FAIL",
        seconds(result.normal_s),
        seconds(result.longest_s),
        f"{result.refused} of {result.asked}",
        f"{len(result.lost)}{marks if result.lost else ''}",
        f"{len(result.twice)}{marks if result.twice else ''}",
    )


def line(result: Result) -> str:
    """One case as it ends."""
    said = f"{'pass' if result.ok else 'FAIL'}  {result.key}, {result.seconds:.0f} s"
    return "\n".join([said, *(f"     {text}" for text in result.failures)])


def table(played: Played) -> str:
    """For a terminal."""
    rows = [HEAD, *(row(result) for result in played.results)]
    widths = [max(len(cells[n]) for cells in rows) for n in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in rows]
    return "\n".join([*lines, "", summary(played), *notes(played)])


def summary(played: Played) -> str:
    """The last line."""
    passed = sum(result.ok for result in played.results)
    return f"{passed} of {len(played.results)} cases passed in {played.seconds / 60:.1f} minutes, {played.at_once} at once"


def notes(played: Played) -> list[str]:
    """What the stars mean."""
    holes = sorted({result.hole for result in played.results if result.hole and (result.lost or result.twice)})
    return [f"* {hole}; each loser is reported" for hole in holes]


def markdown(played: Played) -> str:
    """For a file."""
    lines = ["# Interop suite", "", summary(played), "", "| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(row(result)) + " |" for result in played.results]
    lines += ["", *notes(played)]
    failed = [result for result in played.results if not result.ok]
    lines += ["", "## Failures", ""] if failed else []
    lines += [f"- `{result.key}`: {text}" for result in failed for text in result.failures]
    return "\n".join(lines) + "\n"
