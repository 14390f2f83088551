"""After a failure the store refuses everything (safety.md 3)."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from failoverd.ports import Kind
from failoverd.shell.store import Store, StoreBroken
from tests.store.work import WALL, batch, contents, opened, plant, replay, write

ONE = [write(Kind.META, b"a", "b")]


def failing() -> None:
    raise sqlite3.OperationalError("planted")


async def assert_broken(store: Store) -> None:
    assert store.broken
    for call in (
        lambda: store.commit(ONE, WALL),
        lambda: store.commit([], WALL),
        store.fold,
        store.write_marker,
        lambda: store.history(Kind.META, b"a", 1),
        lambda: store.events(1),
        lambda: store.backup("/tmp/never.db", WALL),
    ):
        with pytest.raises(StoreBroken):
            await call()


async def test_a_failed_commit_breaks_the_store_and_acknowledges_nothing(tmp_path: Path) -> None:
    store, _ = await opened(tmp_path / "a.db")
    await store.commit(batch(0), WALL)
    generation = store.generation
    await plant(store, "journal", "AFTER INSERT", failing)
    with pytest.raises(StoreBroken, match="commit failed"):
        await store.commit(batch(1), WALL)
    assert store.generation == generation
    await store._db.execute("DROP TRIGGER at_journal")  # the cause is gone, and still nothing is retried
    await assert_broken(store)
    await store.close()
    store, stored = await opened(tmp_path / "a.db")
    assert contents(stored) == replay(batch(0))
    await store.close()


async def test_commits_that_wait_behind_a_failing_one_fail_too(tmp_path: Path) -> None:
    store, _ = await opened(tmp_path / "a.db")
    await plant(store, "journal", "AFTER INSERT", failing)
    first = asyncio.create_task(store.commit(batch(0), WALL))
    behind = [asyncio.create_task(store.commit(batch(n), WALL)) for n in (1, 2)] + [asyncio.create_task(store.fold())]
    results = await asyncio.gather(first, *behind, return_exceptions=True)
    assert [type(result) for result in results] == [StoreBroken] * 4
    assert store.generation == 0


@pytest.mark.parametrize("table", ["lease", "store", "event"])
async def test_a_failed_fold_breaks_the_store_and_moves_nothing(tmp_path: Path, table: str) -> None:
    store, _ = await opened(tmp_path / "a.db")
    await store.commit(batch(0), WALL)
    await plant(store, table, "AFTER UPDATE" if table == "store" else "AFTER INSERT", failing)
    waiting = [asyncio.create_task(store.fold()), asyncio.create_task(store.commit(batch(1), WALL))]
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [StoreBroken] * 2
    await assert_broken(store)
    await store.close()
    store, stored = await opened(tmp_path / "a.db")
    assert contents(stored) == replay(batch(0))
    assert store.backlog == len(batch(0))
    await store.close()


async def test_a_commit_whose_outcome_nobody_saw_breaks_the_store(tmp_path: Path) -> None:
    store, _ = await opened(tmp_path / "a.db")
    go = threading.Event()
    await plant(store, "journal", "AFTER INSERT", lambda: go.wait(20) and None)
    commit = asyncio.create_task(store.commit(ONE, WALL))
    await asyncio.sleep(0.05)
    commit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await commit
    go.set()
    await assert_broken(store)


async def test_a_cancelled_reader_does_no_harm(tmp_path: Path) -> None:
    store, _ = await opened(tmp_path / "a.db")
    await store.commit(batch(0), WALL)
    reader = asyncio.create_task(store.history(Kind.META, b"batch", 1))
    await asyncio.sleep(0)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    await store.commit(batch(1), WALL)
    assert [past.record for past in await store.history(Kind.META, b"batch", 1)] == ["1"]
    await store.close()
    with pytest.raises(StoreBroken, match="closed"):
        await store.commit(ONE, WALL)
