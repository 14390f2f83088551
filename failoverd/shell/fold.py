"""The fold: from journal rows to table rows, and back to what is stored.

What is stored = the tables, overlaid with the journal rows above the watermark (`store.folded`). This file holds both halves of
that sentence: the slice that moves the watermark, and the reading at boot. It opens nothing and decides nothing about when.

The slice is one SQL statement (an INSERT into a temporary view, carried out by its trigger), for two reasons. A statement is
atomic without BEGIN and COMMIT, so a crash leaves tables and watermark together, whatever step it hits; and the interpreter
lock is taken once for a slice instead of once for each row, which matters beside a busy event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from failoverd.ports import Kind

# Where a record of each kind goes. `family` of a lease is the first octet of its key (store.commit admits 4 and 6 only).
_COLUMNS = {
    Kind.LEASE: "family, address, record, seq, wall",
    Kind.DDNS: "key, record, seq, wall",
    Kind.RELATIONSHIP: "key, record, seq, wall",
    Kind.META: "key, value, seq, wall",
    Kind.CONFLICT: "key, record, seq, wall",
}
_LEASE_FAMILY = "CASE substr(key, 1, 1) WHEN x'06' THEN 6 ELSE 4 END"
_FROM_JOURNAL = {
    Kind.LEASE: f"{_LEASE_FAMILY}, substr(key, 2), record, seq, wall",
    Kind.DDNS: "key, record, seq, wall",
    Kind.RELATIONSHIP: "key, record, seq, wall",
    Kind.META: "CAST(key AS TEXT), record, seq, wall",
    Kind.CONFLICT: "key, record, seq, wall",
}
_KEY = {
    Kind.LEASE: ("(family, address)", f"{_LEASE_FAMILY}, substr(key, 2)"),
    Kind.DDNS: ("key", "key"),
    Kind.RELATIONSHIP: ("key", "key"),
    Kind.META: ("key", "CAST(key AS TEXT)"),
    Kind.CONFLICT: ("key", "key"),
}

VIEW = "CREATE TEMP VIEW fold AS SELECT 0 AS low, 0 AS high"
SLICE = "INSERT INTO fold (low, high) VALUES (?, ?)"


def _newest(kind: Kind) -> str:
    """The newest record of each key in the slice. SQLite takes bare columns from the row of max() (lang_select 2.5)."""
    return (
        "(SELECT key, record, seq, wall, max(seq) FROM journal"
        f" WHERE seq > NEW.low AND seq <= NEW.high AND kind = '{kind.value}' GROUP BY key)"
    )


def _steps(kind: Kind) -> str:
    """Delete the keys whose newest record is NULL, then write the others."""
    columns, source = _COLUMNS[kind], _FROM_JOURNAL[kind]
    own_key, journal_key = _KEY[kind]
    return (
        f"DELETE FROM {kind.value} WHERE {own_key} IN (SELECT {journal_key} FROM {_newest(kind)} WHERE record IS NULL);"
        f"INSERT OR REPLACE INTO {kind.value} ({columns}) SELECT {source} FROM {_newest(kind)} WHERE record IS NOT NULL;"
    )


TRIGGER = (
    "CREATE TEMP TRIGGER fold_slice INSTEAD OF INSERT ON fold BEGIN"
    # A slice that does not start at the watermark would skip rows or fold them twice.
    " SELECT RAISE(ABORT, 'the slice does not start at the watermark') WHERE (SELECT folded FROM store) <> NEW.low;"
    + "".join(_steps(kind) for kind in _COLUMNS)
    + "INSERT OR REPLACE INTO event (seq, wall, key, record, origin, cause)"
    " SELECT seq, wall, key, record, origin, cause FROM journal"
    " WHERE seq > NEW.low AND seq <= NEW.high AND kind = 'event' AND record IS NOT NULL;"
    " UPDATE store SET folded = NEW.high, folded_wall = (SELECT wall FROM journal WHERE seq = NEW.high);"
    " END"
)

# --- reading ----------------------------------------------------------------------------------------------------------

TAIL = "SELECT kind, key, record FROM journal WHERE seq > (SELECT folded FROM store) ORDER BY seq"
NEWEST = (
    "SELECT uuid, folded, copied_wall,"
    " max(folded, coalesce((SELECT max(seq) FROM journal), 0)),"
    " coalesce((SELECT wall FROM journal ORDER BY seq DESC LIMIT 1), folded_wall),"
    " coalesce((SELECT min(seq) FROM journal), folded + 1)"
    " FROM store"
)

# Each table in the order of its key, to be read in slices: (what is before the first key, SELECT with that key and a LIMIT).
TABLES: dict[Kind, tuple[tuple[object, ...], str]] = {
    Kind.LEASE: (
        (0, b""),
        "SELECT family, address, record, seq, wall FROM lease WHERE (family, address) > (?, ?) ORDER BY family, address LIMIT ?",
    ),
    Kind.DDNS: ((b"",), "SELECT key, record, seq, wall FROM ddns WHERE key > ? ORDER BY key LIMIT ?"),
    Kind.RELATIONSHIP: ((b"",), "SELECT key, record, seq, wall FROM relationship WHERE key > ? ORDER BY key LIMIT ?"),
    Kind.META: (("",), "SELECT key, value, seq, wall FROM meta WHERE key > ? ORDER BY key LIMIT ?"),
    Kind.CONFLICT: ((b"",), "SELECT key, record, seq, wall FROM conflict WHERE key > ? ORDER BY key LIMIT ?"),
    Kind.EVENT: ((0,), "SELECT seq, wall, key, record, origin, cause FROM event WHERE seq > ? ORDER BY seq LIMIT ?"),
}


def keyed(kind: Kind, rows: Iterable[Sequence[object]]) -> Iterator[tuple[bytes, str]]:
    """Rows of a table as (journal key, record)."""
    for row in rows:
        if kind is Kind.LEASE:
            family, address, record = row[:3]
            assert isinstance(family, int)
            assert isinstance(address, bytes)
            key: object = bytes((family,)) + address
        else:
            key, record = row[:2]
        if isinstance(key, str):  # meta
            key = key.encode()
        assert isinstance(key, bytes)
        assert isinstance(record, str)
        yield key, record


class Overlay:
    """Table rows, fed in key order, with the tail's newest records over them. The result is in key order wherever the
    watermark stood, so that a restart is the same boot."""

    def __init__(self, tail: dict[bytes, str | None]) -> None:
        """`tail`: newest record of each key above the watermark, None for a deleted one."""
        self.records: list[str] = []
        self._tail = sorted(tail.items(), reverse=True)

    def feed(self, rows: Iterable[tuple[bytes, str]]) -> None:
        """More rows of the table, to `records`."""
        tail, put = self._tail, self.records.append
        for key, record in rows:
            while tail and tail[-1][0] <= key:
                other, newer = tail.pop()
                if newer is not None:
                    put(newer)
                if other == key:
                    break
            else:
                put(record)

    def end(self) -> list[str]:
        """The rest of the tail; all records."""
        self.records += [record for _, record in reversed(self._tail) if record is not None]
        self._tail.clear()
        return self.records


def tails(rows: Iterable[Sequence[object]]) -> dict[Kind, dict[bytes, str | None]]:
    """The newest record of each key above the watermark, by kind. `rows`: (kind, key, record) in the order of seq."""
    found: dict[Kind, dict[bytes, str | None]] = {kind: {} for kind in Kind}
    by_name = {kind.value: found[kind] for kind in Kind}
    for kind, key, record in rows:
        assert isinstance(kind, str)
        assert isinstance(key, bytes)
        assert record is None or isinstance(record, str)
        by_name[kind][key] = record
    return found


def overlaid(table: Iterable[tuple[bytes, str]], tail: dict[bytes, str | None]) -> dict[str, str]:
    """The same for meta, as a mapping."""
    rows: dict[bytes, str | None] = dict(table)
    return {key.decode(): value for key, value in sorted((rows | tail).items()) if value is not None}
