"""The lease store: one SQLite database, WAL, synchronous=FULL, exclusive, through aiosqlite.

What it promises (safety.md 1, 3): when `commit` returns, the rows are on disk; when it raises, the store is broken, refuses
everything, and the process must end without another promise. Nothing is retried: a second fsync may lie.

`commit` is one call into aiosqlite's thread and one SQL statement, so one transaction: an append to the journal. `fold` moves a
slice of journal rows into the tables when the loop has time (fold.py). `load` = tables + journal tail.
One statement of ours is on its way at a time (`_turn`), so nothing can slip behind one that fails.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import lru_cache
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

import aiosqlite

from failoverd.ports import Kind, Origin, Stored, Write
from failoverd.shell import backup, fold, schema
from failoverd.shell.disk import (
    LOCK_WAIT_S,
    RESERVE_BYTES,
    Disk,
    Marker,
    Probe,
    StoreError,
    read_marker,
    sync_directory,
    write_marker,
)

# Every limit of the store.
ONE_STATEMENT_ROWS = 512  # a larger commit takes several statements inside BEGIN and COMMIT
FOLD_ROWS = 500  # one slice: 10 to 25 ms when every row lies on its own page
FOLD_DUE_ROWS = 20_000  # a backlog above this goes before the next batch
HISTORY_ROWS = 200_000  # folded journal rows that are kept
EVENT_ROWS = 20_000
PRUNE_ROWS = 2_000  # one slice: rows that lie side by side
HISTORY_SLICE_ROWS = 20_000  # one slice of a search through the journal: about 5 ms
CHECKPOINT_PAGES = 2_000  # of 4 KiB in the log, by estimate
AUTOCHECKPOINT_PAGES = 16_384  # SQLite's own, the bound if nobody folds: a log of 64 MiB
VACUUM_PAGES = 256
PAGE_BYTES = 4096
ROW_BYTES = 400  # a journal row, for the estimate

EVENT_SLICES = 50  # folded slices between two looks at the number of events

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
OWN_META = frozenset({b"uuid", b"generation", b"boot", b"created", b"rollback_detail"})
_LEASE_KEYS = {5: 4, 17: 6}  # length of a lease's key -> its family octet


class StoreBroken(Exception):
    """A commit, a fold or an fsync failed: end the process now, promise nothing more (safety.md 3)."""


class Past(NamedTuple):
    """One journal record, as history."""

    seq: int
    wall: float
    kind: Kind
    key: bytes
    record: str | None
    origin: Origin
    cause: str


class Store:
    """One open database. Use `await Store.open(...)`, then `await load()` once.

    `uuid`, `generation`: safety.md 15; the generation is the seq of the newest committed journal row, so every commit raises it.
    `boot`: a new id for each open. `created`: there was no database. `probe`: what an fsync costs here.
    """

    def __init__(self, db: aiosqlite.Connection, path: Path, disk: Disk, steps: list[schema.Migration]) -> None:
        """Use `open`."""
        self.path = path
        self.steps = steps
        self.disk = disk
        self.boot = uuid.uuid4().hex
        self.uuid = ""
        self.generation = 0
        self.created = False
        self.probe = Probe(0.0, 0.0, 0)
        self.history_rows = HISTORY_ROWS
        self.event_rows = EVENT_ROWS
        self._db = db
        self._turn = asyncio.Lock()
        self._broken = ""
        self._folded = 0
        self._oldest = 1  # seq of the oldest journal row
        self._slices = EVENT_SLICES  # the first fold of a run looks
        self._log_pages = 0.0
        self._marker_count = 0
        self._keep_above: int | None = None  # a backup is reading rows above this: they are not pruned

    # --- opening ------------------------------------------------------------------------------------------------------

    @classmethod
    async def open(
        cls,
        path: str | Path,
        *,
        now_wall: float,
        reserve_bytes: int = RESERVE_BYTES,
        force_clock: bool = False,
        migrations: Traversable | None = None,
    ) -> Store:
        """Open or create the database at `path`. StoreError says what is wrong, and then nothing was written.

        `now_wall`: UTC seconds, refused when more than 60 s before the newest record unless `force_clock` (safety.md 10).
        `migrations`: another schema directory."""
        path = Path(path)
        steps = schema.migrations(migrations)
        disk = Disk(path, reserve_bytes)
        try:
            await asyncio.to_thread(schema.may_write, path)
            await asyncio.to_thread(disk.claim)
            found = await asyncio.to_thread(schema.inspect, path, len(steps), now_wall, force_clock=force_clock)
            return await cls._open(path, disk, steps, created=not found)
        except BaseException as error:
            disk.abandon()
            if isinstance(error, sqlite3.Error):
                raise schema.refusal(path, error) from error
            if isinstance(error, OSError):
                raise StoreError("io", f"{path} cannot be opened: {error}", "Check the disk and its permissions.") from error
            raise

    @classmethod
    async def _open(cls, path: Path, disk: Disk, steps: list[schema.Migration], *, created: bool) -> Store:
        """`open`, after the file was found good. sqlite3.Error and OSError pass through."""
        db = await aiosqlite.connect(path, timeout=LOCK_WAIT_S, isolation_level=None)
        store = cls(db, path, disk, steps)
        store.created = created
        try:
            await store._prepare()
            store.probe = await asyncio.to_thread(disk.probe)
        except BaseException:
            await db.close()
            raise
        return store

    async def _prepare(self) -> None:
        """Pragmas, lock, migrations, and where journal and tables stand. sqlite3.Error passes through."""
        if self.created:
            await self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # pruned pages can be given back to the file system
        for pragma in (
            "locking_mode = EXCLUSIVE",
            "journal_mode = WAL",
            "synchronous = FULL",
            "temp_store = MEMORY",
            "cache_size = -32768",
            f"wal_autocheckpoint = {AUTOCHECKPOINT_PAGES}",
            f"journal_size_limit = {AUTOCHECKPOINT_PAGES * PAGE_BYTES}",
        ):
            await self._db.execute(f"PRAGMA {pragma}")
        await self._db.executescript("BEGIN IMMEDIATE; COMMIT;")  # takes the exclusive lock, kept until the end
        modes = [(await self._fetch(f"PRAGMA {name}"))[0][0] for name in ("locking_mode", "journal_mode", "synchronous")]
        if modes != ["exclusive", "wal", 2]:
            raise AssertionError(f"SQLite did not take locking_mode, journal_mode, synchronous: {modes}")
        await schema.migrate(self._db, self.steps)
        if self.created:
            await asyncio.to_thread(sync_directory, self.path.parent)
        await self._db.execute(fold.VIEW)
        await self._db.execute(fold.TRIGGER)
        self.uuid, self._folded, _, self.generation, _, self._oldest = (await self._fetch(fold.NEWEST))[0]

    async def load(self) -> Stored:
        """Everything that is stored. Stored.meta has besides the node's own: uuid, generation, boot, created ("1": there was no
        database), rollback ("1" and rollback_detail: this database is older than what it had reached), restored ("1": it is a
        backup put back). rollback and restored stay until a META write deletes them. Writes the first marker of this run."""
        tail = fold.tails(await self._fetch(fold.TAIL))
        stored = fold.stored(
            [(int(f), bytes(a), str(r)) for f, a, r in await self._fetch(fold.LEASES)],
            [(bytes(k), str(r)) for k, r in await self._fetch(fold.DDNS)],
            [(bytes(k), str(r)) for k, r in await self._fetch(fold.RELATIONSHIPS)],
            [(str(k), str(v)) for k, v in await self._fetch(fold.META)],
            tail,
        )
        _, _, copied_wall, _, stored.newest_wall, _ = (await self._fetch(fold.NEWEST))[0]
        await self._judge_marker(stored, copied_wall)
        stored.meta |= {
            "uuid": self.uuid,
            "generation": str(self.generation),
            "boot": self.boot,
            "created": "1" if self.created else "",
        }
        await self.write_marker()
        return stored

    async def _judge_marker(self, stored: Stored, copied_wall: float | None) -> None:
        """Find a rollback (safety.md 15) and make it durable before the marker is written over."""
        marker, self._marker_count = await asyncio.to_thread(read_marker, self.path)
        found: list[tuple[str, str]] = []
        if copied_wall is not None:
            found.append(("restored", f"a backup made at {copied_wall:.0f}"))
        elif marker is None and self.generation > 0:
            found.append(("rollback", "there is no marker beside the database"))
        if marker is not None and marker.uuid != self.uuid:
            found.append(("rollback", f"another database ({marker.uuid}, generation {marker.generation}) was here"))
        elif marker is not None and marker.generation > self.generation:
            found.append(("rollback", f"generation {self.generation} here, {marker.generation} had been reached"))
        writes = [Write(Kind.META, name.encode(), "1", Origin.BOOT, why) for name, why in found if name not in stored.meta]
        await self.commit(writes, stored.newest_wall)
        if copied_wall is not None:
            await self._fetch("UPDATE store SET copied_wall = NULL")
        for name, why in found:
            stored.meta[name] = "1"
            stored.meta["rollback_detail"] = why

    # --- writing ------------------------------------------------------------------------------------------------------

    async def commit(self, writes: Sequence[Write], wall: float) -> None:
        """Append all of `writes` as one transaction, stamped `wall` (UTC seconds); on disk when this returns.

        StoreBroken: end the process. Never cancel it: a commit whose outcome nobody saw breaks the store too."""
        async with self._turn:
            self._refuse_if_broken()
            if not writes:
                return
            await self._look()
            rows = _parameters(writes, wall, self.generation)
            with self._breaking("commit"):
                await self._append(rows, len(writes))
            self.generation += len(writes)
            self._log_pages += 2 + len(writes) * ROW_BYTES / PAGE_BYTES

    async def _append(self, rows: list[object], count: int) -> None:
        """One statement when it fits, else one transaction of several; `rows` is flat, seven values a row."""
        if count <= ONE_STATEMENT_ROWS:
            await self._db.execute(_insert(count), rows)
            return
        await self._db.execute("BEGIN IMMEDIATE")
        for at in range(0, count, ONE_STATEMENT_ROWS):
            part = rows[7 * at : 7 * (at + ONE_STATEMENT_ROWS)]
            await self._db.execute(_insert(len(part) // 7), part)
        await self._db.execute("COMMIT")

    @property
    def backlog(self) -> int:
        """Journal rows that are not in the tables yet."""
        return self.generation - self._folded

    def due(self) -> bool:
        """A slice should go before the next batch. Never for safety, only to keep backlog and log bounded."""
        return self.backlog >= FOLD_DUE_ROWS or self._log_pages >= 4 * CHECKPOINT_PAGES

    async def fold(self, limit_rows: int = FOLD_ROWS) -> int:
        """One slice of housekeeping: fold, prune, checkpoint, each a transaction of its own, with commits in between.

        Returns the rows handled; 0: nothing is left to do now. Low on disk the history goes first (safety.md 7)."""
        handled = await self._prune() if self.disk.low else 0
        handled += await self._fold_slice(limit_rows)
        handled += await self._prune()
        if self.disk.low:
            handled += await self._shrink()
        if self._log_pages >= CHECKPOINT_PAGES or (handled == 0 and self._log_pages >= CHECKPOINT_PAGES / 4):
            await self._fetch("PRAGMA wal_checkpoint(PASSIVE)")
            self._log_pages = 0
        await self._look()
        return handled

    async def _fold_slice(self, limit_rows: int) -> int:
        async with self._turn:
            self._refuse_if_broken()
            high = min(self._folded + limit_rows, self.generation)
            rows = high - self._folded
            if rows <= 0:
                return 0
            with self._breaking("fold"):
                await self._db.execute(fold.SLICE, (self._folded, high))
            self._folded = high
            self._slices += 1
            self._log_pages += rows + 2
            return rows

    async def _prune(self) -> int:
        """Drop a slice of the oldest history above the limit (all of it while the disk is low), now and then of old events."""
        async with self._turn:
            self._refuse_if_broken()
            limit = self._folded - (0 if self.disk.low else self.history_rows)
            if self._keep_above is not None:
                limit = min(limit, self._keep_above)
            high = min(self._oldest + PRUNE_ROWS - 1, limit)
            rows = max(0, high - self._oldest + 1)
            if rows:
                with self._breaking("prune"):
                    await self._db.execute("DELETE FROM journal WHERE seq <= ?", (high,))
                self._oldest = high + 1
                self._log_pages += 2 + rows * ROW_BYTES / PAGE_BYTES
            if self._slices >= EVENT_SLICES and self._keep_above is None:
                with self._breaking("prune"):
                    dropped = (await self._db.execute(PRUNE_EVENTS, (self.event_rows, PRUNE_ROWS))).rowcount
                rows += dropped
                self._slices = EVENT_SLICES if dropped == PRUNE_ROWS else 0
        return rows

    async def _shrink(self) -> int:
        """Give a slice of free pages back to the file system; returns the pages. Nothing while history is left to prune."""
        ((pages,),) = await self._fetch("PRAGMA freelist_count")
        if pages == 0 or self._oldest <= self._folded:
            return 0
        await self._fetch(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")
        await self._fetch("PRAGMA wal_checkpoint(TRUNCATE)")
        self._log_pages = 0
        return min(int(pages), VACUUM_PAGES)

    # --- reading ------------------------------------------------------------------------------------------------------

    async def history(self, kind: Kind, key: bytes, limit: int) -> list[Past]:
        """The newest `limit` journal records of one key, newest first; as far back as history is kept.

        The journal has no index (an append must not touch other pages), so it is searched in slices, commits in between."""
        found: list[Past] = []
        high = self.generation
        while len(found) < limit and high >= self._oldest:
            low = high - HISTORY_SLICE_ROWS
            rows = await self._fetch(HISTORY, (low, high, kind.value, key, limit - len(found)))
            found += [_past(row) for row in rows]
            high = low
        return found

    async def events(self, limit: int) -> list[Past]:
        """The newest `limit` events, newest first, folded or not."""
        return [_past(row) for row in await self._fetch(EVENTS, (limit,))]

    async def backup(self, path: str | Path, wall: float) -> None:
        """A consistent copy at `path`, made while commits go on; it knows that it is one, and since when (`wall`, UTC seconds).
        Overwrites nothing. OSError says why it could not be made, and leaves the store as it was."""
        await backup.copy(self, Path(path), wall)

    async def read(self, sql: str, parameters: Sequence[object]) -> list[sqlite3.Row]:
        """One SELECT for a backup, commits before and after it."""
        return await self._fetch(sql, parameters)

    @asynccontextmanager
    async def unpruned(self) -> AsyncIterator[int]:
        """While inside, journal rows above the yielded watermark are not pruned. One at a time."""
        if self._keep_above is not None:
            raise BlockingIOError("another backup is being made")
        self._keep_above = self._folded
        try:
            yield self._folded
        finally:
            self._keep_above = None

    # --- what the loop looks after ------------------------------------------------------------------------------------

    def low_water(self) -> bool:
        """The disk is nearly full: take no new promises (safety.md 7). As of the last commit, fold or marker."""
        return self.disk.low

    async def write_marker(self) -> None:
        """Every 10 s: say beside the database how far it got (safety.md 15). StoreError("marker") when the disk refuses."""
        self._refuse_if_broken()
        self._marker_count += 1
        marker = Marker(self.uuid, self.generation, self.boot, time.time())
        try:
            await asyncio.to_thread(write_marker, self.path, marker, self._marker_count)
        except OSError as error:
            raise StoreError("marker", f"the marker beside {self.path} cannot be written: {error}", "Check the disk.") from error
        await self._look()

    async def _look(self) -> None:
        """How full the disk is; gives up or takes again the reserve."""
        self.disk.look()
        if self.disk.unsettled:
            await asyncio.to_thread(self.disk.settle)

    @property
    def broken(self) -> str:
        """Why the store refuses everything; "" while it works."""
        return self._broken

    async def close(self) -> None:
        """The clean end: a last marker, the log folded into the file, the lock given up. A broken store is only let go of; one
        whose disk hangs cannot be closed at all: leave the process by os._exit."""
        async with self._turn:
            if not self._broken:
                await self.write_marker()
                self._broken = "the store is closed"
            await self._db.close()  # checkpoints
            self.disk.close()

    # --- the ways to the database -------------------------------------------------------------------------------------

    def _refuse_if_broken(self) -> None:
        if self._broken:
            raise StoreBroken(self._broken)

    @contextmanager
    def _breaking(self, what: str) -> Iterator[None]:
        """Whatever ends the block early breaks the store, cancellation included: the outcome is not known."""
        try:
            yield
        except sqlite3.Error as error:
            self._broken = f"{what} failed: {error} ({getattr(error, 'sqlite_errorname', 'no code')})"
            raise StoreBroken(self._broken) from error
        except BaseException as error:
            self._broken = f"{what} was left before its outcome was known ({error!r})"
            raise

    async def _fetch(self, sql: str, parameters: Sequence[object] = ()) -> list[sqlite3.Row]:
        """One statement that may be cancelled without harm; an error of the database breaks the store."""
        async with self._turn:
            self._refuse_if_broken()
            try:
                return list(await self._db.execute_fetchall(sql, parameters))
            except sqlite3.Error as error:
                self._broken = f"reading failed: {error} ({getattr(error, 'sqlite_errorname', 'no code')})"
                raise StoreBroken(self._broken) from error


@lru_cache(maxsize=128)
def _insert(count: int) -> str:
    """INSERT of `count` journal rows in one statement; sqlite3 keeps the prepared forms."""
    return "INSERT INTO journal (seq, wall, kind, key, record, origin, cause) VALUES " + ",".join(["(?,?,?,?,?,?,?)"] * count)


def _parameters(writes: Sequence[Write], wall: float, generation: int) -> list[object]:
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


def _past(row: sqlite3.Row) -> Past:
    seq, wall, kind, key, record, origin, cause = row
    return Past(seq, wall, Kind(kind), key, record, Origin(origin), cause)
