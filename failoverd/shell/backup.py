"""A consistent copy of a store that is in use, in slices.

SQLite's own backup would hold the one connection until it is through: seconds without a commit for a million leases. Instead the
tables are copied slice by slice while they change, then the journal from the watermark at which the copying began. Every
journal record is the whole new state of its key, so replaying it over rows that already had some of it gives exactly the state
of the last row copied: the copy's watermark is the one of the beginning, and its next `load` does the rest.

The copy says of itself that it is one (`store.copied_wall`): a server that starts on it takes care (safety.md 15).
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import aiosqlite

from failoverd.ports import Kind
from failoverd.shell import schema
from failoverd.shell.disk import create_private, sync_directory

if TYPE_CHECKING:
    from failoverd.shell.store import Store

SLICE_ROWS = 1000

_INSERT = {
    Kind.LEASE: "INSERT INTO lease VALUES (?,?,?,?,?)",
    Kind.DDNS: "INSERT INTO ddns VALUES (?,?,?,?)",
    Kind.RELATIONSHIP: "INSERT INTO relationship VALUES (?,?,?,?)",
    Kind.META: "INSERT INTO meta VALUES (?,?,?,?)",
    Kind.CONFLICT: "INSERT INTO conflict VALUES (?,?,?,?)",
    Kind.EVENT: "INSERT INTO event VALUES (?,?,?,?,?,?)",
}
_INSERT_JOURNAL = "INSERT INTO journal VALUES (?,?,?,?,?,?,?)"


async def copy(store: Store, target: Path, wall: float) -> int:
    """Write a copy of `store` to `target`, which must not exist; it appears there whole or not at all. Returns its generation.

    FileExistsError, FileNotFoundError (no such directory), BlockingIOError (another backup), OSError: nothing was made, and the
    store is as it was."""
    partial = target.with_name(target.name + ".partial")
    async with store.unpruned() as watermark:
        try:
            await asyncio.to_thread(_clear, partial, target)
            generation = await _fill(store, partial, watermark, wall)
            await asyncio.to_thread(_publish, partial, target)
        except sqlite3.Error as error:  # of the copy: the store's own errors arrive as StoreBroken
            raise OSError(f"{partial} cannot be written: {error}") from error
        finally:
            await asyncio.to_thread(partial.unlink, missing_ok=True)
    return generation


async def _fill(store: Store, partial: Path, watermark: int, wall: float) -> int:
    """All rows, tables first. Returns the seq of the last journal row."""
    async with aiosqlite.connect(partial, isolation_level=None) as db:
        # No journal: a half-made copy is worth nothing. But an fsync for each slice: without, the pages of a large copy are
        # written at once, and a commit's fsync beside it waits for them (0.9 s were measured, against 0.03 s).
        for pragma in ("auto_vacuum = INCREMENTAL", "journal_mode = OFF", "synchronous = FULL"):
            await db.execute(f"PRAGMA {pragma}")
        await schema.migrate(db, store.steps)
        await db.execute(
            "UPDATE store SET uuid = ?, folded = ?, folded_wall = ?, copied_wall = ?", (store.uuid, watermark, wall, wall)
        )
        for kind, insert in _INSERT.items():
            async for rows in store.slices(kind, SLICE_ROWS):
                await _put(db, insert, rows)
        generation = watermark
        async for rows in store.rows(SLICE_ROWS):
            await _put(db, _INSERT_JOURNAL, rows)
            generation = int(rows[-1][0])
        return generation


async def _put(db: aiosqlite.Connection, insert: str, rows: list[sqlite3.Row]) -> None:
    await db.execute("BEGIN")
    await db.executemany(insert, rows)
    await db.execute("COMMIT")


def _clear(partial: Path, target: Path) -> None:
    """Refuse a name that is taken; drop what an interrupted backup left, and begin anew. Blocking."""
    if os.path.lexists(target):
        raise FileExistsError(f"{target} exists already, and a backup overwrites nothing")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the directory {target.parent} does not exist")
    partial.unlink(missing_ok=True)
    create_private(partial)


def _publish(partial: Path, target: Path) -> None:
    """fsync, then give the file its name without ever replacing one; blocking."""
    fd = os.open(partial, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    os.link(partial, target)
    sync_directory(target.parent)
