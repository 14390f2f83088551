"""Rows of the journal: how they are appended, and how they are read again as history and events."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from failoverd.ports import Kind, Origin, Write

ROWS = "SELECT seq, wall, kind, key, record, origin, cause FROM journal WHERE seq > ? ORDER BY seq LIMIT ?"
HISTORY = (
    "SELECT seq, wall, kind, key, record, origin, cause FROM journal"
    " WHERE seq > ? AND seq <= ? AND kind = ? AND key = ? ORDER BY seq DESC LIMIT ?"
)
EVENTS = (
    "SELECT seq, wall, 'event', key, record, origin, cause FROM event"
    " UNION ALL SELECT seq, wall, kind, key, record, origin, cause FROM journal"
    " WHERE seq > (SELECT folded FROM store) AND kind = 'event' AND record IS NOT NULL"
    " ORDER BY 1 DESC LIMIT ?"
)
PRUNE_EVENTS = (
    "DELETE FROM event WHERE seq IN (SELECT seq FROM event WHERE seq <="
    " (SELECT seq FROM event ORDER BY seq DESC LIMIT 1 OFFSET ?) ORDER BY seq LIMIT ?)"
)
OWN_META = frozenset({b"uuid", b"generation", b"boot", b"host", b"created", b"rollback_detail"})
_LEASE_KEYS = {5: 4, 17: 6}  # length of a lease's key -> its family octet


class Past(NamedTuple):
    """One journal record, as history."""

    seq: int
    wall: float
    kind: Kind
    key: bytes
    record: str | None
    origin: Origin
    cause: str


@lru_cache(maxsize=128)
def insert(count: int) -> str:
    """INSERT of `count` journal rows in one statement; sqlite3 keeps the prepared forms."""
    return "INSERT INTO journal (seq, wall, kind, key, record, origin, cause) VALUES " + ",".join(["(?,?,?,?,?,?,?)"] * count)


def parameters(writes: Sequence[Write], wall: float, generation: int) -> list[object]:
    """The flat values of `writes`, seq from generation + 1. A key that the fold could not place is our own mistake."""
    rows: list[object] = []
    seq = generation
    for write in writes:
        seq += 1
        kind, key = write.kind, write.key
        if kind is Kind.LEASE and (not key or key[0] != _LEASE_KEYS.get(len(key))):
            raise AssertionError(f"not a lease key: {key.hex()}")
        if kind is Kind.META and key in OWN_META:
            raise AssertionError(f"meta key {key!r} is the store's own")
        rows += (seq, wall, kind._value_, key, write.record, write.origin._value_, write.cause)
    return rows


def past(row: sqlite3.Row) -> Past:
    """A row of HISTORY, EVENTS or ROWS."""
    seq, wall, kind, key, record, origin, cause = row
    return Past(seq, wall, Kind(kind), key, record, Origin(origin), cause)
