"""Backups, restored backups, lost and rolled-back databases (safety.md 15)."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from failoverd.leases.lease import lease_key
from failoverd.ports import Kind
from failoverd.shell import backup, disk
from tests.store.work import WALL, batch, child, contents, opened, replay, under_strace, write


def copy_files(path: Path, where: Path) -> None:
    """As an administrator would, with the service stopped."""
    where.mkdir()
    for suffix in ("", "-wal"):
        if Path(f"{path}{suffix}").exists():
            shutil.copy(f"{path}{suffix}", where)


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def put_back(path: Path, where: Path) -> None:
    for suffix in ("", "-wal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    shutil.copytree(where, path.parent, dirs_exist_ok=True)


async def test_an_ordinary_restart_is_no_rollback(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    for number in range(3):
        store, stored = await opened(path)
        assert "rollback" not in stored.meta
        assert "restored" not in stored.meta
        await store.commit(batch(number), WALL)
        await store.close()
    assert child(path, "event", "AFTER INSERT", "7")[0] == -9
    store, stored = await opened(path)
    assert "rollback" not in stored.meta
    await store.close()


async def test_safety_15_an_older_copy_put_back_is_a_rollback_until_it_is_dealt_with(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store, _ = await opened(path)
    await store.commit(batch(0), WALL)
    await store.close()
    copy_files(path, tmp_path / "copied")
    store, stored = await opened(path)
    await store.commit(batch(1), WALL)
    await store.write_marker()
    first = stored.meta["uuid"]
    await store.close()
    put_back(path, tmp_path / "copied")
    for _ in range(2):  # it stays until somebody says that care was taken
        store, stored = await opened(path)
        assert stored.meta["rollback"] == "1"
        assert stored.meta["uuid"] == first
        await store.close()
    assert "had been reached" in (await _why(path))
    store, _ = await opened(path)
    await store.commit([write(Kind.META, b"rollback", None)], WALL)
    await store.close()
    store, stored = await opened(path)
    assert "rollback" not in stored.meta
    await store.close()


async def _why(path: Path) -> str:
    store, _ = await opened(path)
    found = await store.history(Kind.META, b"rollback", 1)
    await store.close()
    return found[0].cause


async def test_safety_15_a_lost_database_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store, first = await opened(path)
    await store.commit(batch(0), WALL)
    await store.close()
    path.unlink()
    store, stored = await opened(path)
    assert (stored.meta["rollback"], stored.meta["created"]) == ("1", "1")
    assert stored.meta["uuid"] != first.meta["uuid"]
    assert first.meta["uuid"] in stored.meta["rollback_detail"]
    await store.close()


async def test_safety_15_a_database_without_its_marker_is_not_trusted(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store, _ = await opened(path)
    await store.commit(batch(0), WALL)
    await store.close()
    disk.marker_path(path).unlink()
    store, stored = await opened(path)
    assert stored.meta["rollback"] == "1"
    await store.close()


async def test_the_rollback_is_durable_before_the_marker_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    store, _ = await opened(path)
    await store.commit(batch(0), WALL)
    await store.close()
    disk.write_marker(path, disk.Marker(store.uuid, 10_000, "elsewhere", WALL), 90)
    assert child(path, wrapper=under_strace("pwrite64", "signal=KILL", "1", disk.marker_path(path))) == (-9, 0)
    marker, _ = disk.read_marker(path)
    assert marker is not None
    assert marker.generation == 10_000
    store, stored = await opened(path)
    assert stored.meta["rollback"] == "1"
    await store.close()
    marker, _ = disk.read_marker(path)
    assert marker == disk.Marker(store.uuid, store.generation, store.boot, marker.wall if marker else 0.0)


def test_a_torn_marker_reads_as_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    assert disk.read_marker(path) == (None, 0)
    for count in range(1, 6):
        disk.write_marker(path, disk.Marker("u" * 32, count * 10, "b" * 32, WALL), count)
    where = disk.marker_path(path)
    whole = where.read_bytes()
    assert disk.read_marker(path) == (disk.Marker("u" * 32, 50, "b" * 32, WALL), 5)
    for at in range(0, 120, 7):
        torn = bytearray(whole)
        torn[disk.SLOT_BYTES + at] ^= 0xFF
        where.write_bytes(torn)
        assert disk.read_marker(path) == (disk.Marker("u" * 32, 40, "b" * 32, WALL), 4)
    where.write_bytes(os.urandom(1024))
    assert disk.read_marker(path) == (None, 0)
    where.write_bytes(b"")
    assert disk.read_marker(path) == (None, 0)


# --- backups ----------------------------------------------------------------------------------------------------------


async def test_a_backup_under_load_is_one_moment_and_knows_that_it_is_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commits, folds and prunes go on; the copy is the replay of a prefix of the writes, with their history."""
    monkeypatch.setattr(backup, "SLICE_ROWS", 5)
    store, stored = await opened(tmp_path / "a.db")
    store.history_rows = 0
    writes = [each for number in range(10) for each in batch(number)]
    await store.commit(writes, WALL)
    await store.fold(30)
    copying = asyncio.create_task(store.backup(tmp_path / "copy.db", WALL + 5))
    added = 0
    while not copying.done():
        one = [write(Kind.LEASE, lease_key(added % 40), str(added)), write(Kind.LEASE, lease_key((added + 20) % 40), None)]
        if added < 60:
            await store.commit(one, WALL + 6)
            writes += one
        await store.fold(3)
        await asyncio.sleep(0)  # a fold with nothing to do gives no way, and the copy would never go on
        added += 1
    await copying
    assert added > 10
    while await store.fold():
        pass
    await store.close()
    copy, held = await opened(tmp_path / "copy.db")
    assert (held.meta["restored"], held.meta["rollback"]) == ("1", "1")
    assert held.meta["uuid"] == stored.meta["uuid"]
    got = contents(held)
    del got[3]["restored"], got[3]["rollback"], got[3]["rollback_detail"]
    generation = int(held.meta["generation"]) - 2  # the rows that say "restored" and "rollback"
    assert len(writes) >= generation > 100
    assert got == replay(writes[:generation])
    while await copy.fold():
        pass
    await copy.close()
    copy, held = await opened(tmp_path / "copy.db")
    assert held.meta["restored"] == "1"
    await copy.close()
    assert not any(".partial" in name for name in names(tmp_path))


async def test_a_backup_is_a_plain_database_of_its_own(tmp_path: Path) -> None:
    store, _ = await opened(tmp_path / "a.db")
    await store.commit(batch(0), WALL)
    await store.fold()
    await store.backup(tmp_path / "copy.db", WALL)
    connection = sqlite3.connect(f"file:{tmp_path}/copy.db?mode=ro", uri=True)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("SELECT family, hex(address), record FROM lease").fetchall()[0] == (4, "00000000", '{"address": 0}')
    connection.close()
    for name in names(tmp_path):
        assert os.stat(tmp_path / name).st_mode & 0o077 == 0, name
    await store.close()


async def test_a_backup_overwrites_nothing_and_its_failure_harms_nothing(tmp_path: Path) -> None:
    store, _ = await opened(tmp_path / "a.db")
    await store.commit(batch(0), WALL)
    there = tmp_path / "there"
    there.write_text("mine")
    for path in (there, tmp_path / "a.db"):
        with pytest.raises(FileExistsError, match="exists already"):
            await store.backup(path, WALL)
    assert there.read_text() == "mine"
    with pytest.raises(FileNotFoundError, match="does not exist"):
        await store.backup(tmp_path / "nowhere" / "copy.db", WALL)
    with pytest.raises(OSError, match="/proc"):
        await store.backup("/proc/copy.db", WALL)
    first, second = store.backup(tmp_path / "one.db", WALL), store.backup(tmp_path / "two.db", WALL)
    results = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), BlockingIOError]
    await store.commit(batch(1), WALL)
    assert store.broken == ""
    await store.close()


@pytest.mark.root
async def test_a_backup_on_a_full_disk_is_given_up(tmp_path: Path, tmpfs: Path) -> None:
    store, _ = await opened(tmp_path / "a.db")
    for _ in range(10):
        await store.commit([write(Kind.LEASE, lease_key(i), "x" * 400) for i in range(2000)], WALL)
    with pytest.raises(OSError, match="disk is full"):
        await store.backup(tmpfs / "copy.db", WALL)
    assert names(tmpfs) == []
    await store.commit(batch(1), WALL)
    await store.close()
