"""The store keeps what it is given: commit, fold, load, history, events, limits."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from failoverd.leases.lease import Lease, lease_key
from failoverd.ports import Kind
from failoverd.shell import journal, schema, store
from tests.store.work import BATCHES, ROOT, WALL, batch, contents, opened, replay, write


async def test_round_trip_whatever_was_folded(tmp_path: Path) -> None:
    all_writes = [each for number in range(BATCHES) for each in batch(number)]
    for folds in (0, 1, 5, 1000):
        path = tmp_path / f"{folds}.db"
        db, stored = await opened(path)
        assert stored.meta["created"] == "1"
        assert contents(stored) == ([], [], [], {})
        for number in range(BATCHES):
            await db.commit(batch(number), WALL + number)
        for _ in range(folds):
            await db.fold(10)
        assert (db.backlog == 0) == (folds == 1000)
        await db.close()
        db, stored = await opened(path)
        assert contents(stored) == replay(all_writes)
        assert stored.newest_wall == WALL + BATCHES - 1
        assert stored.meta["generation"] == str(len(all_writes)) == str(db.generation)
        assert stored.meta["created"] == ""
        await db.close()


async def test_a_lease_comes_back_as_it_was(tmp_path: Path) -> None:
    lease = Lease(0x0A000001, hw=b"\x01\x02\x00\x00\x00\x00\x07", ends=1_700_003_600, owed=True, hostname="pc")
    db, _ = await opened(tmp_path / "a.db")
    await db.commit([write(Kind.LEASE, lease_key(lease.address), lease.to_json())], WALL)
    await db.fold()
    await db.close()
    db, stored = await opened(tmp_path / "a.db")
    assert [Lease.from_json(text) for text in stored.leases] == [lease]
    await db.close()


async def test_ipv6_keys_and_the_order_of_addresses(tmp_path: Path) -> None:
    db, _ = await opened(tmp_path / "a.db")
    six = lease_key(0x20010DB8 << 96, 6)
    writes = [write(Kind.LEASE, key, f'"{key.hex()}"') for key in (six, lease_key(9), lease_key(256), lease_key(1))]
    await db.commit(writes[:3], WALL)
    await db.fold()
    await db.commit(writes[3:], WALL)
    await db.close()
    db, stored = await opened(tmp_path / "a.db")
    assert stored.leases == [f'"{key.hex()}"' for key in (lease_key(1), lease_key(9), lease_key(256), six)]
    await db.close()


async def test_the_file_is_wal_full_exclusive(tmp_path: Path) -> None:
    db, _ = await opened(tmp_path / "a.db")
    values = [(await db._fetch(f"PRAGMA {name}"))[0][0] for name in ("journal_mode", "synchronous", "locking_mode", "auto_vacuum")]
    assert values == ["wal", 2, "exclusive", 2]
    assert not (tmp_path / "a.db-shm").exists()
    await db.close()
    assert not (tmp_path / "a.db-wal").exists()


async def test_a_large_commit_is_one_transaction(tmp_path: Path) -> None:
    db, _ = await opened(tmp_path / "a.db")
    count = 3 * store.ONE_STATEMENT_ROWS + 1
    writes = [write(Kind.LEASE, lease_key(i), str(i)) for i in range(count)]
    await db.commit(writes, WALL)
    assert db.generation == count
    with pytest.raises(AssertionError, match="lease key"):
        await db.commit([*writes, write(Kind.LEASE, b"\x04", "x")], WALL)
    await db.close()
    db, stored = await opened(tmp_path / "a.db")
    assert stored.leases == [str(i) for i in range(count)]
    await db.close()


async def test_a_large_commit_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    db, _ = await opened(tmp_path / "a.db")
    writes = [write(Kind.DDNS, b"%d" % i, str(i)) for i in range(store.ONE_STATEMENT_ROWS)]
    await db._db.execute("CREATE TEMP TRIGGER t BEFORE INSERT ON journal WHEN NEW.key = x'00' BEGIN SELECT RAISE(FAIL, 'no'); END")
    with pytest.raises(store.StoreBroken, match="no"):
        await db.commit([*writes, write(Kind.DDNS, b"\0", "bad")], WALL)
    await db.close()
    db, stored = await opened(tmp_path / "a.db")
    assert contents(stored) == ([], [], [], {})
    await db.close()


async def test_keys_that_the_fold_could_not_place_are_refused_before_the_commit(tmp_path: Path) -> None:
    db, _ = await opened(tmp_path / "a.db")
    for bad in (b"", b"\x04", b"\x06\0\0\0\0", b"\x05\0\0\0\0", b"\x04" + bytes(16)):
        with pytest.raises(AssertionError):
            await db.commit([write(Kind.LEASE, bad, "{}")], WALL)
    for own in journal.OWN_META:
        with pytest.raises(AssertionError):
            await db.commit([write(Kind.META, own, "1")], WALL)
    assert db.generation == 0
    await db.close()


async def test_commits_from_several_tasks_keep_their_order(tmp_path: Path) -> None:
    db, _ = await opened(tmp_path / "a.db")
    await asyncio.gather(*(db.commit([write(Kind.META, b"n", str(i))], WALL) for i in range(50)), db.fold(), db.fold())
    assert [past.record for past in await db.history(Kind.META, b"n", 99)] == [str(i) for i in reversed(range(50))]
    await db.close()


async def test_history_newest_first_across_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "HISTORY_SLICE_ROWS", 7)
    db, _ = await opened(tmp_path / "a.db")
    for number in range(BATCHES):
        await db.commit(batch(number), WALL + number)
        await db.fold(10)
    found = await db.history(Kind.RELATIONSHIP, b"office", 5)
    assert [past.wall for past in found] == [WALL + BATCHES - 1 - i for i in range(5)]
    assert found[0].record == f'{{"batch": {BATCHES - 1}}}'
    assert (found[0].origin, found[0].cause) == ("client", "test")
    assert len(await db.history(Kind.RELATIONSHIP, b"office", 1000)) == BATCHES
    assert [past.record for past in await db.history(Kind.DDNS, b"name-0", 5)] == [None, "0"]
    assert await db.history(Kind.LEASE, b"office", 5) == []
    await db.close()


async def test_events_folded_or_not(tmp_path: Path) -> None:
    db, _ = await opened(tmp_path / "a.db")
    for number in range(BATCHES):
        await db.commit(batch(number), WALL + number)
    await db.fold(30)
    assert 0 < db.backlog < db.generation
    assert [past.record for past in await db.events(BATCHES)] == [str(n) for n in reversed(range(BATCHES))]
    assert [past.record for past in await db.events(2)] == [str(BATCHES - 1), str(BATCHES - 2)]
    await db.close()


async def test_history_is_pruned_to_its_limit_and_never_what_is_not_folded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PRUNE_ROWS", 5)
    db, _ = await opened(tmp_path / "a.db")
    db.history_rows = 10
    for number in range(BATCHES):
        await db.commit(batch(number), WALL + number)
    rows = db.generation
    await db.fold(50)
    ((oldest, newest),) = await db._fetch("SELECT min(seq), max(seq) FROM journal")
    assert (oldest, newest) == (6, rows)
    while await db.fold():
        pass
    ((oldest, newest),) = await db._fetch("SELECT min(seq), max(seq) FROM journal")
    assert (oldest, newest) == (rows - 9, rows)
    db.history_rows = 0
    while await db.fold():
        pass
    assert await db._fetch("SELECT * FROM journal") == []
    await db.close()
    db, stored = await opened(tmp_path / "a.db")  # an empty journal: generation and wall live on
    assert (db.generation, stored.newest_wall) == (rows, WALL + BATCHES - 1)
    await db.commit([write(Kind.META, b"x", "y")], WALL + 99)
    assert db.generation == rows + 1
    await db.close()


async def test_events_are_pruned_to_their_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "PRUNE_ROWS", 8)
    monkeypatch.setattr(store, "EVENT_SLICES", 2)
    db, _ = await opened(tmp_path / "a.db")
    db.event_rows = 10
    await db.commit([write(Kind.EVENT, b"e", str(i)) for i in range(100)], WALL)
    while await db.fold(10):
        pass
    assert [past.record for past in await db.events(1000)] == [str(i) for i in reversed(range(90, 100))]
    await db.close()


async def test_the_backlog_falls_due_and_the_log_is_bounded(tmp_path: Path) -> None:
    db, _ = await opened(tmp_path / "a.db")
    assert not db.due()
    for _ in range(store.FOLD_DUE_ROWS // 2000):
        await db.commit([write(Kind.DDNS, b"%d" % i, "x" * 300) for i in range(2000)], WALL)
    assert db.due()
    assert db.backlog == store.FOLD_DUE_ROWS
    while db.due():
        assert await db.fold() > 0
    while await db.fold():
        pass
    assert db.backlog == 0
    assert (tmp_path / "a.db-wal").stat().st_size < store.AUTOCHECKPOINT_PAGES * 4096
    await db.close()


async def test_the_event_loop_runs_while_a_commit_hangs(tmp_path: Path) -> None:
    """safety.md 4: the loop must be able to see that the disk hangs, and to do something about it."""
    import threading

    from tests.store.work import plant

    db, _ = await opened(tmp_path / "a.db")
    go = threading.Event()
    await plant(db, "journal", "AFTER INSERT", lambda: go.wait(20) and None)
    commit = asyncio.create_task(db.commit([write(Kind.META, b"a", "b")], WALL))
    turns = 0
    for _ in range(20):
        await asyncio.sleep(0.005)
        turns += 1
    assert not commit.done()
    assert db.generation == 0  # the committed value only
    go.set()
    await commit
    assert (turns, db.generation) == (20, 1)
    await db.close()


# --- migrations -------------------------------------------------------------------------------------------------------


def _steps(directory: Path, *, second: str = "") -> Path:
    directory.mkdir()
    for each in schema.migrations():
        (directory / each.name).write_text(each.sql)
    if second:
        (directory / f"{len(schema.migrations()) + 1:04d}_more.sql").write_text(second)
    return directory


async def test_migration_from_the_version_before(tmp_path: Path) -> None:
    db, _ = await opened(tmp_path / "a.db")
    await db.commit(batch(0), WALL)
    await db.close()
    newer = _steps(tmp_path / "newer", second="ALTER TABLE ddns ADD COLUMN extra TEXT;\nCREATE TABLE second (x);\n")
    db, stored = await opened(tmp_path / "a.db", migrations=newer)
    assert contents(stored) == replay(batch(0))
    assert await db._fetch("SELECT extra FROM ddns") == []
    await db.fold()
    assert await db._fetch("SELECT extra FROM ddns") == [(None,)]
    await db.close()
    with pytest.raises(store.StoreError) as refused:
        await opened(tmp_path / "a.db")
    assert refused.value.code == "newer"


async def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    db, _ = await opened(tmp_path / "a.db")
    await db.commit(batch(0), WALL)
    await db.close()
    broken = _steps(tmp_path / "broken", second="CREATE TABLE second (x);\nINSERT INTO nowhere VALUES (1);\n")
    with pytest.raises(store.StoreError) as refused:
        await opened(tmp_path / "a.db", migrations=broken)
    assert "nowhere" in refused.value.text
    db, stored = await opened(tmp_path / "a.db")
    assert contents(stored) == replay(batch(0))
    assert await db._fetch("SELECT count(*) FROM sqlite_schema WHERE name = 'second'") == [(0,)]
    await db.close()


def test_migrations_without_a_gap(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("")
    (tmp_path / "0003_b.sql").write_text("")
    with pytest.raises(AssertionError, match="not numbered"):
        schema.migrations(tmp_path)


def test_the_wheel_carries_the_migrations(tmp_path: Path) -> None:
    built = [sys.executable, "-c", "import hatchling.build, sys; hatchling.build.build_wheel(sys.argv[1])", str(tmp_path)]
    subprocess.run(built, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    where = tmp_path / "unpacked"
    zipfile.ZipFile(wheel).extractall(where)
    program = "import failoverd; from failoverd.shell import schema; print(failoverd.__file__, len(schema.migrations()))"
    shown = subprocess.run(
        [sys.executable, "-c", program], cwd=where, check=True, capture_output=True, text=True, env={"PYTHONPATH": "."}
    )
    assert shown.stdout.split() == [str(where / "failoverd" / "__init__.py"), str(len(schema.migrations()))]
