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
from importlib.resources.abc import Traversable
from pathlib import Path

import aiosqlite

from failoverd.ports import Kind, Origin, Stored, Write
from failoverd.shell import backup, fold, journal, schema
from failoverd.shell.clock import host_boot
from failoverd.shell.disk import (
    LOCK_WAIT_S,
    RESERVE_BYTES,
    Disk,
    Marker,
    Probe,
    StoreError,
    create_private,
    read_marker,
    sync_directory,
    write_marker,
)
from failoverd.shell.journal import Past

__all__ = ["Past", "Store", "StoreBroken", "StoreError"]

# Every limit of the store.
ONE_STATEMENT_ROWS = 512  # a larger commit takes several statements inside BEGIN and COMMIT
FOLD_ROWS = 500  # one slice: 10 to 25 ms when every row lies on its own page
FOLD_DUE_ROWS = 20_000  # a backlog above this goes before the next batch
HISTORY_ROWS = 200_000  # folded journal rows that are kept
EVENT_ROWS = 20_000
PRUNE_ROWS = 2_000  # one slice: rows that lie side by side
LOAD_ROWS = 20_000  # one slice of a table at boot
HISTORY_SLICE_ROWS = 20_000  # one slice of a search through the journal: about 5 ms
CHECKPOINT_PAGES = 2_000  # of 4 KiB in the log, by estimate
AUTOCHECKPOINT_PAGES = 16_384  # SQLite's own, the bound if nobody folds: a log of 64 MiB
LOW_ROWS = 100  # one slice of anything while the disk is low
PAGE_BYTES = 4096
ROW_BYTES = 400  # a journal row, for the estimate

EVENT_SLICES = 50  # folded slices between two looks at the number of events


class StoreBroken(Exception):
    """A commit, a fold or an fsync failed: end the process now, promise nothing more (safety.md 3)."""


class _NoRoom(Exception):
    """Housekeeping found the disk full; nothing was changed."""


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
            cause = error.__cause__ if isinstance(error, StoreBroken) else error
            if isinstance(cause, sqlite3.Error):
                raise schema.refusal(path, cause) from error
            if isinstance(error, OSError):
                raise StoreError("io", f"{path} cannot be opened: {error}", "Check the disk and its permissions.") from error
            raise

    @classmethod
    async def _open(cls, path: Path, disk: Disk, steps: list[schema.Migration], *, created: bool) -> Store:
        """`open`, after the file was found good. sqlite3.Error and OSError pass through."""
        await asyncio.to_thread(create_private, path)
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
        """Everything that is stored. Writes the first marker of this run. Stored.meta has besides the node's own:

        uuid, generation, boot; host (which boot of the host this is, "" for not known); created ("1": there was no database);
        rollback ("1", why in rollback_detail: this database is older than what was reached here); restored ("1", with rollback:
        it is a backup put back). rollback and restored stay until a META write deletes them."""
        tail = fold.tails(await self._fetch(fold.TAIL))
        stored = Stored()
        stored.leases = await self._overlaid(Kind.LEASE, tail)
        stored.ddns = await self._overlaid(Kind.DDNS, tail)
        stored.relationships = await self._overlaid(Kind.RELATIONSHIP, tail)
        stored.conflicts = await self._overlaid(Kind.CONFLICT, tail)
        meta = [row async for rows in self.slices(Kind.META) for row in fold.keyed(Kind.META, rows)]
        stored.meta = fold.overlaid(meta, tail[Kind.META])
        _, _, copied_wall, _, stored.newest_wall, _ = (await self._fetch(fold.NEWEST))[0]
        await self._judge_marker(stored, copied_wall)
        stored.meta |= {
            "uuid": self.uuid,
            "generation": str(self.generation),
            "boot": self.boot,
            "host": host_boot(),
            "created": "1" if self.created else "",
        }
        await self.write_marker()
        return stored

    async def _overlaid(self, kind: Kind, tail: dict[Kind, dict[bytes, str | None]]) -> list[str]:
        """Every record of a kind, in the order of keys."""
        overlay = fold.Overlay(tail[kind])
        async for rows in self.slices(kind):
            overlay.feed(fold.keyed(kind, rows))
        return overlay.end()

    async def _judge_marker(self, stored: Stored, copied_wall: float | None) -> None:
        """Find a rollback (safety.md 15) and make it durable before the marker is written over."""
        marker, self._marker_count = await asyncio.to_thread(read_marker, self.path)
        found: list[tuple[str, str]] = []
        if copied_wall is not None:
            found += [(name, f"a backup made at {copied_wall:.0f} was put back") for name in ("restored", "rollback")]
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
            rows = journal.parameters(writes, wall, self.generation)
            with self._breaking("commit"):
                await self._append(rows, len(writes))
            self.generation += len(writes)
            self._log_pages += 2 + len(writes) * ROW_BYTES / PAGE_BYTES

    async def _append(self, rows: list[object], count: int) -> None:
        """One statement when it fits, else one transaction of several; `rows` is flat, seven values a row."""
        if count <= ONE_STATEMENT_ROWS:
            await self._db.execute(journal.insert(count), rows)
            return
        await self._db.execute("BEGIN IMMEDIATE")
        for at in range(0, count, ONE_STATEMENT_ROWS):
            part = rows[7 * at : 7 * (at + ONE_STATEMENT_ROWS)]
            await self._db.execute(journal.insert(len(part) // 7), part)
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
        await self._look()
        try:
            return await self._keep_house_low() if self.disk.low else await self._keep_house(limit_rows)
        except _NoRoom:
            return 0

    async def _keep_house(self, limit_rows: int) -> int:
        handled = await self._fold_slice(limit_rows) + await self._prune(self.history_rows, PRUNE_ROWS)
        if self._log_pages >= CHECKPOINT_PAGES or (handled == 0 and self._log_pages >= CHECKPOINT_PAGES / 4):
            await self._checkpoint("PASSIVE")
        return handled

    async def _keep_house_low(self) -> int:
        """The same in small steps, as the log must hold each; the history first, then its pages back to the file system."""
        handled = await self._prune(0, LOW_ROWS) + await self._fold_slice(LOW_ROWS)
        if handled == 0:
            ((pages,),) = await self._fetch("PRAGMA freelist_count")
            handled = min(int(pages), LOW_ROWS)
            if handled:
                with self._breaking("vacuum"):
                    await self._db.execute_fetchall(f"PRAGMA incremental_vacuum({LOW_ROWS})")
        if handled:
            await self._checkpoint("TRUNCATE")
        return handled

    async def _checkpoint(self, mode: str) -> None:
        async with self._turn:
            self._refuse_if_broken()
            with self._breaking("checkpoint"):
                await self._db.execute_fetchall(f"PRAGMA wal_checkpoint({mode})")
            self._log_pages = 0

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

    async def _prune(self, keep_rows: int, slice_rows: int) -> int:
        """Drop a slice of the oldest history above `keep_rows`, and now and then of old events."""
        async with self._turn:
            self._refuse_if_broken()
            limit = self._folded - keep_rows
            if self._keep_above is not None:
                limit = min(limit, self._keep_above)
            high = min(self._oldest + slice_rows - 1, limit)
            rows = max(0, high - self._oldest + 1)
            if rows:
                with self._breaking("prune"):
                    await self._db.execute("DELETE FROM journal WHERE seq <= ?", (high,))
                self._oldest = high + 1
                self._log_pages += 2 + rows * ROW_BYTES / PAGE_BYTES
            if self._slices >= EVENT_SLICES:
                with self._breaking("prune"):
                    dropped = (await self._db.execute(journal.PRUNE_EVENTS, (self.event_rows, slice_rows))).rowcount
                rows += dropped
                self._slices = EVENT_SLICES if dropped == slice_rows else 0
        return rows

    # --- reading ------------------------------------------------------------------------------------------------------

    async def history(self, kind: Kind, key: bytes, limit: int) -> list[Past]:
        """The newest `limit` journal records of one key, newest first; as far back as history is kept.

        The journal has no index (an append must not touch other pages), so it is searched in slices, commits in between."""
        self._refuse_if_broken()
        found: list[Past] = []
        high = self.generation
        while len(found) < limit and high >= self._oldest:
            low = high - HISTORY_SLICE_ROWS
            rows = await self._fetch(journal.HISTORY, (low, high, kind.value, key, limit - len(found)))
            found += [journal.past(row) for row in rows]
            high = low
        return found

    async def events(self, limit: int) -> list[Past]:
        """The newest `limit` events, newest first, folded or not."""
        return [journal.past(row) for row in await self._fetch(journal.EVENTS, (limit,))]

    async def backup(self, path: str | Path, wall: float) -> None:
        """A consistent copy at `path`, made while commits go on; it knows that it is one, and since when (`wall`, UTC seconds).
        Overwrites nothing. OSError says why it could not be made, and leaves the store as it was."""
        await backup.copy(self, Path(path), wall)

    async def slices(self, kind: Kind, slice_rows: int = LOAD_ROWS) -> AsyncIterator[list[sqlite3.Row]]:
        """A table in the order of its key, commits in between."""
        last, select = fold.TABLES[kind]
        while rows := await self._fetch(select, (*last, slice_rows)):
            yield rows
            last = tuple(rows[-1][: len(last)])

    async def rows(self, slice_rows: int) -> AsyncIterator[list[sqlite3.Row]]:
        """The whole journal, up to the newest row when the end is reached."""
        last = 0
        while rows := await self._fetch(journal.ROWS, (last, slice_rows)):
            yield rows
            last = rows[-1][0]

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
            # A write that found no room was rolled back, and no fsync has failed: that ends a commit, but not housekeeping.
            name = getattr(error, "sqlite_errorname", "")
            if name == "SQLITE_FULL" and what != "commit" and not self._db.in_transaction:
                self.disk.low = True
                raise _NoRoom from error
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
