"""What two failoverd tell each other of what is in DNS: the done-flags of a lease's names (ddns.md 4.6, safety.md 24).

A row of the partner's holds what is wanted; by the partner's word it also holds what is there. Knows rows and no message.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from failoverd.ddns.names import dotted
from failoverd.ddns.rows import FORWARD, ME, PEER, REVERSE, Row, State, row_key
from failoverd.ddns.shelf import PEER_FIRST_LOOK_S, Shelf
from failoverd.ports import Now, Output

DONE, OPEN, REMOVED = "done", "open", "removed"
TOLD_A_STEP = 700
_LETTERS = {FORWARD: b"f", REVERSE: b"r"}
_KINDS = {letter: kind for kind, letter in _LETTERS.items()}


class Flags(NamedTuple):
    """Whether the address record and the pointer of a lease are in DNS, on every target that has a zone for them."""

    forward: bool
    reverse: bool


class PartnerWord:
    """The rows of a shelf as the partner hears of them, and what its word makes of them."""

    def __init__(self, shelf: Shelf, targets: Sequence[str]) -> None:
        self._shelf, self._targets = shelf, targets

    def _rows(self, kind: str, name: str) -> list[Row]:
        keys = (row_key(target, kind, name) for target in self._targets)
        return [row for key in keys if (row := self._shelf.rows.get(key)) is not None]

    def flags(self, name: str, pointer: str, address: int) -> Flags:
        """What of a lease's names is in DNS, as far as this server knows. `pointer`: the owner name of its PTR."""
        return Flags(_show(self._rows(FORWARD, name), dotted(address)), _show(self._rows(REVERSE, pointer), name))

    def registered(self, name: str, pointer: str) -> Flags:
        """Which of a lease's names have a row of ours."""
        return Flags(*(any(row.owner == ME for row in rows) for rows in (self._rows(FORWARD, name), self._rows(REVERSE, pointer))))

    def flag(self, name: str, pointer: str, address: int, flags: Flags, now: Now, out: Output) -> None:
        """The partner says of a lease of its own what is in DNS."""
        for rows, text, done in (
            (self._rows(FORWARD, name), dotted(address), flags.forward),
            (self._rows(REVERSE, pointer), name, flags.reverse),
        ):
            for row in rows:
                if row.owner == PEER and [v.text for v in row.want] == [text]:
                    self._believe(row, done, now, out)

    def _believe(self, row: Row, done: bool, now: Now, out: Output) -> None:
        if row.key in self._shelf.busy or row.word == (DONE if done else OPEN):
            return
        row.word = DONE if done else OPEN
        if done:
            row.have, row.maybe, row.held_guard = row.want, (), row.guard
        self._shelf.write(row, out, "the partner's word")

    def settled(self) -> list[tuple[bytes, bytes]]:
        """Rows of ours that have come to rest since the last call: what is at the name now, nothing for nothing of ours."""
        told = []
        for kind, name in list(self._shelf.changed)[:TOLD_A_STEP]:
            del self._shelf.changed[kind, name]
            rows = self._rows(kind, name)
            if rows and not all(row.owner == ME and _rests(row) for row in rows):
                continue
            texts = {v.text for row in rows for v in row.want}
            if len(texts) <= 1:
                told.append((_LETTERS[kind] + name.encode(), next(iter(texts), "").encode()))
        return told

    def all(self) -> None:
        """The partner has heard nothing yet: everything is told again."""
        for row in self._shelf.rows.values():
            if row.owner == ME and row.want:
                self._shelf.changed.setdefault((row.kind, row.name))

    def heard(self, items: Iterable[Sequence[bytes]], now: Now, out: Output) -> None:
        """The partner's rows that have come to rest."""
        for place, said in items:
            kind, name, text = _KINDS.get(place[:1]), place[1:].decode("utf-8", "replace"), said.decode("utf-8", "replace")
            for row in self._rows(kind, name) if kind is not None else ():
                if row.owner != PEER or row.key in self._shelf.busy:
                    continue
                if text and [v.text for v in row.want] == [text]:
                    self._believe(row, True, now, out)
                elif not text and not row.want and row.recheck_at and row.known():
                    # Ours may have come last (simulator, seed host13320): the zone tells. Not sooner: by a link that stands still nobody
                    # says that the client came back, and what is there may be the partner's anew; in normal a link is not that silent.
                    if row.word != REMOVED:  # said twice, it puts nothing off
                        row.word = REMOVED
                        self._shelf.later(row, now, PEER_FIRST_LOOK_S)
                        self._shelf.write(row, out, "the partner's word")
                elif not text and not row.want and len({v.text for v in row.drop()}) > 1 and row.kind == REVERSE:
                    # It never wrote what it wanted, perhaps, and so did not replace ours: the zone tells (simulator, seed 18863).
                    self._shelf.later(row, now, 0.0)
                elif not text and not row.want:
                    self._shelf.removed_there(row, now, out)


def _rests(row: Row) -> bool:
    return row.state is State.CLEAN and row.want == row.have and not row.maybe


def _show(rows: Sequence[Row], text: str) -> bool:
    """Whether all rows hold this one value for certain; no row at all shows nothing."""
    return bool(rows) and all([v.text for v in row.have] == [v.text for v in row.want] == [text] and not row.maybe for row in rows)
