"""Tables and lines for people: the same layout in a pipe and on a terminal, where rich adds colour."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from failoverd.ctl.words import plain


class Cell(NamedTuple):
    """A piece of text and its style in rich's words ("" for none)."""

    text: str
    style: str = ""


@dataclass(slots=True, frozen=True)
class Table:
    """Columns by name, a leading ">" of the name aligns to the right. `indent`: spaces before each row."""

    columns: tuple[str, ...]
    rows: Sequence[Sequence[Cell | str | int]]
    indent: int = 0


@dataclass(slots=True, frozen=True)
class Line:
    """One line of text."""

    text: str
    style: str = ""


Block = Table | Line
BLANK = Line("")


def _cell(value: Cell | str | int) -> Cell:
    cell = value if isinstance(value, Cell) else Cell(str(value))
    return Cell(plain(cell.text) or "-", cell.style)


def _table_lines(table: Table) -> list[list[Cell]]:
    header = [Cell(name.lstrip(">"), "bold") for name in table.columns]
    rows = [header, *([_cell(value) for value in row] for row in table.rows)]
    widths = [max(len(row[index].text) for row in rows) for index in range(len(table.columns))]
    lines = []
    for row in rows:
        line = [Cell(" " * table.indent)] if table.indent else []
        for index, (cell, width) in enumerate(zip(row, widths, strict=True)):
            gap = " " * (width - len(cell.text))
            if table.columns[index].startswith(">"):
                line += [Cell(gap), cell]
            else:
                line += [cell, Cell(gap if index < len(row) - 1 else "")]
            line.append(Cell("  " if index < len(row) - 1 else ""))
        lines.append(line)
    return lines


def _lines(blocks: Sequence[Block]) -> list[list[Cell]]:
    lines: list[list[Cell]] = []
    for block in blocks:
        lines += _table_lines(block) if isinstance(block, Table) else [[Cell(plain(block.text), block.style)]]
    return lines


def text(blocks: Sequence[Block]) -> str:
    """The blocks as plain text, each line ended."""
    return "".join("".join(cell.text for cell in line).rstrip() + "\n" for line in _lines(blocks))


def is_screen() -> bool:
    """Whether stdout is a terminal that can be steered."""
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def write(blocks: Sequence[Block], *, clear: bool = False) -> None:
    """The blocks on stdout; in colour on a terminal, unless NO_COLOR is set (no-color.org).

    `clear`: from the top of an empty screen.
    """
    if clear:
        sys.stdout.write("\x1b[H\x1b[2J")
    if not is_screen() or os.environ.get("NO_COLOR"):
        sys.stdout.write(text(blocks))
    else:
        _write_coloured(blocks)
    sys.stdout.flush()


def _write_coloured(blocks: Sequence[Block]) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    for line in _lines(blocks):
        styled = Text()
        for cell in line:
            styled.append(cell.text, cell.style or None)
        styled.rstrip()
        console.print(styled)
