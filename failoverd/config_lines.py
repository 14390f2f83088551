"""Which line of a TOML text each key stands on.

tomllib gives values without places, and so does tomlkit. This scanner reads a text that tomllib has already accepted, so it checks
nothing: it only skips what TOML 1.0 (toml.io/en/v1.0.0) allows and counts lines. It knows nothing of failoverd's own keys.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right

Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}\n#]*")
# Longest first. Up to two quotes may stand before the three that close a multi-line string.
_STRINGS = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r'"""(?:[^\\"]|\\.|"{1,2}(?!"))*"{3,5}',
        r"'''(?:[^']|'{1,2}(?!'))*'{3,5}",
        r'"(?:[^\\"\n]|\\.)*"',
        r"'[^'\n]*'",
    )
)


def lines(text: str) -> dict[Path, int]:
    """The line (from 1) of every table, key and array item of a valid TOML text.

    A path holds keys and, for arrays and arrays of tables, indices from 0: ("subnet", 1, "pool", 0, "range", 2). Tables that are
    only implied ("a" of "[a.b]") have the line that implies them first.
    """
    return _Scanner(text).scan()


def nearest(where: dict[Path, int], path: Path) -> int:
    """The line of `path`, or of the innermost thing around it that has one; 1 when nothing has."""
    for length in range(len(path), 0, -1):
        if path[:length] in where:
            return where[path[:length]]
    return 1


class _Scanner:
    """One pass over the text. `at` is the position; `where` the answer; `counts` the length so far of each array of tables."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.where: dict[Path, int] = {}
        self.counts: dict[Path, int] = {}
        self.starts = [0] + [m.end() for m in re.finditer("\n", text)]

    def scan(self) -> dict[Path, int]:
        """Read statement after statement."""
        table: Path = ()
        self._skip(_BLANK)
        while self.at < len(self.text):
            line = self._line()
            if self.text.startswith("[[", self.at):
                self.at += 2
                table = self._array_of_tables(self._key(), line)
                self.at += 2
            elif self.text[self.at] == "[":
                self.at += 1
                table = self._table(self._key(), line)
                self.at += 1
            else:
                self._pair(table)
            self._skip(_BLANK)
        return self.where

    def _skip(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise AssertionError(f"not TOML at line {self._line()}: tomllib accepted what this scanner does not know")
        self.at = match.end()
        return match.group()

    def _line(self) -> int:
        return bisect_right(self.starts, self.at)

    def _string(self) -> str:
        for pattern in _STRINGS:
            match = pattern.match(self.text, self.at)
            if match:
                self.at = match.end()
                return match.group()
        raise AssertionError(f"unclosed string at line {self._line()}")

    def _key(self) -> tuple[str, ...]:
        """A dotted key; stands behind it and its blanks afterwards."""
        parts: list[str] = []
        while True:
            self._skip(_SPACE)
            if self.text[self.at] in "\"'":
                parts.append(next(iter(tomllib.loads(f"{self._string()} = 0"))))
            else:
                parts.append(self._skip(_BARE))
            self._skip(_SPACE)
            if self.text[self.at] != ".":
                return tuple(parts)
            self.at += 1

    def _table(self, key: tuple[str, ...], line: int) -> Path:
        """The path that a header names: each array of tables on the way means its last item."""
        path: Path = ()
        for part in key:
            path = (*path, part)
            self.where.setdefault(path, line)
            if path in self.counts:
                path = (*path, self.counts[path] - 1)
        return path

    def _array_of_tables(self, key: tuple[str, ...], line: int) -> Path:
        path: Path = (*self._table(key[:-1], line), key[-1])
        self.where.setdefault(path, line)
        count = self.counts.get(path, 0)
        self.counts[path] = count + 1
        self.where[(*path, count)] = line
        return (*path, count)

    def _pair(self, table: Path) -> None:
        line = self._line()
        path = table
        for part in self._key():
            path = (*path, part)
            self.where.setdefault(path, line)
        self.at += 1  # the "="
        self._skip(_SPACE)
        self._value(path)

    def _value(self, path: Path) -> None:
        first = self.text[self.at]
        if first in "\"'":
            self._string()
        elif first == "[":
            self._array(path)
        elif first == "{":
            self._inline(path)
        else:
            self._skip(_SCALAR)

    def _array(self, path: Path) -> None:
        self.at += 1
        index = 0
        self._skip(_BLANK)
        while self.text[self.at] != "]":
            self.where[(*path, index)] = self._line()
            self._value((*path, index))
            index += 1
            self._comma()
        self.at += 1

    def _inline(self, path: Path) -> None:
        self.at += 1
        self._skip(_BLANK)
        while self.text[self.at] != "}":
            self._pair(path)
            self._comma()
        self.at += 1

    def _comma(self) -> None:
        self._skip(_BLANK)
        if self.text[self.at] == ",":
            self.at += 1
            self._skip(_BLANK)
