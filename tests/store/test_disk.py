"""Low water: history goes first, then the reserve, and no commit fails before the node was told (safety.md 7); and what an fsync
is worth (safety.md 8)."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from failoverd.leases.lease import lease_key
from failoverd.ports import Kind, Stored, Write
from failoverd.shell import disk, store
from failoverd.shell.store import Store
from tests.store.work import ROOT, WALL, contents, fill, replay, write

RESERVE = 256 * 1024


async def pressed(path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store that looks at its disk at every step."""
    monkeypatch.setattr(disk, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(disk, "FLOOR_BYTES", 4096)
    opened = await Store.open(path, now_wall=WALL, reserve_bytes=RESERVE)
    await opened.load()
    return opened


def take(directory: Path, leave: int) -> Path:
    """Fill the file system but for `leave` bytes."""
    ballast = fill(directory)
    with ballast.open("r+b") as file:
        file.truncate(ballast.stat().st_size - leave)
    return ballast


@pytest.mark.root
async def test_safety_7_low_water_is_told_before_anything_fails(tmpfs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = await pressed(tmpfs / "a.db", monkeypatch)
    assert not db.low_water()
    assert (tmpfs / "a.db.reserve").stat().st_blocks * 512 >= RESERVE
    ballast = take(tmpfs, 2 * RESERVE)
    number = 0
    while not db.low_water():
        await db.commit([write(Kind.EVENT, b"e", "x" * 400) for _ in range(20)], WALL)
        number += 1
    assert number > 3
    assert not db.disk.released
    while not db.disk.released:  # what cannot wait goes on, into the reserve
        await db.commit([write(Kind.EVENT, b"e", "x" * 400) for _ in range(20)], WALL)
    assert (tmpfs / "a.db.reserve").stat().st_size == 0
    await db.commit([write(Kind.RELATIONSHIP, b"office", '{"state": "partner-down"}')], WALL)
    assert db.low_water()
    ballast.unlink()
    await db.write_marker()
    await db.write_marker()
    assert not db.low_water()
    assert (tmpfs / "a.db.reserve").stat().st_blocks * 512 >= RESERVE
    await db.close()


@pytest.mark.root
async def test_safety_7_history_is_pruned_first_and_its_space_given_back(tmpfs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = await pressed(tmpfs / "a.db", monkeypatch)
    writes = []
    for number in range(40):
        some = [write(Kind.LEASE, lease_key(i), f'"{number}{"x" * 300}"') for i in range(50)]
        await db.commit(some, WALL)
        writes += some
        while await db.fold():
            pass
    assert len(await db.history(Kind.LEASE, lease_key(1), 99)) == 40
    await db._fetch("PRAGMA wal_checkpoint(TRUNCATE)")
    size = (tmpfs / "a.db").stat().st_size
    ballast = take(tmpfs, RESERVE - 8192)
    handled = await db.fold()
    while handled:
        handled = await db.fold()
    assert await db.history(Kind.LEASE, lease_key(1), 99) == []
    assert (tmpfs / "a.db").stat().st_size <= size - RESERVE  # as much as it takes to be out of low water
    assert not db.low_water()
    ballast.unlink()
    await db.close()
    db = await pressed(tmpfs / "a.db", monkeypatch)
    await db.close()
    db = await Store.open(tmpfs / "a.db", now_wall=WALL, reserve_bytes=RESERVE)
    assert contents(await db.load()) == replay(writes)
    await db.close()


@pytest.mark.root
async def test_housekeeping_that_finds_no_room_waits(tmpfs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits may still fit where a fold does not; a fold is never due for safety."""
    db = await pressed(tmpfs / "a.db", monkeypatch)
    writes = [write(Kind.LEASE, lease_key(i), "x" * 400) for i in range(400)]
    await db.commit(writes, WALL)
    ballast = fill(tmpfs)
    db.disk.reserve_bytes = 0  # nothing more to give up
    db.disk.low = True
    while await db.fold():
        pass
    assert db.broken == ""
    assert db.backlog > 0
    assert db.low_water()
    ballast.unlink()
    while await db.fold():
        pass
    assert db.backlog == 0
    await db.close()


@pytest.mark.root
async def test_a_disk_that_is_full_at_last_ends_it_with_nothing_half_done(tmpfs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = await pressed(tmpfs / "a.db", monkeypatch)
    take(tmpfs, 3 * RESERVE // 2)
    acknowledged: list[Write] = []

    async def until_full() -> None:
        while True:
            some = [write(Kind.LEASE, lease_key(len(acknowledged) + i), "x" * 400) for i in range(20)]
            await db.commit(some, WALL)
            acknowledged.extend(some)

    with pytest.raises(store.StoreBroken, match="full"):
        await until_full()
    assert db.low_water()
    await db.close()
    (tmpfs / "ballast").unlink()
    db = await pressed(tmpfs / "a.db", monkeypatch)
    assert contents(await _reload(db, tmpfs / "a.db")) == replay(acknowledged)


async def _reload(db: Store, path: Path) -> Stored:
    await db.close()
    again = await Store.open(path, now_wall=WALL, reserve_bytes=RESERVE)
    try:
        return await again.load()
    finally:
        await again.close()


@pytest.mark.root
async def test_a_disk_that_is_full_at_a_restart_serves_low(tmpfs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reserve was held, the disk is full to the brim: the reserve is given up, so that renewals can be answered."""
    db = await pressed(tmpfs / "a.db", monkeypatch)
    await db.close()
    ballast = fill(tmpfs)
    db = await pressed(tmpfs / "a.db", monkeypatch)
    assert db.low_water()
    assert db.disk.released
    await db.commit([write(Kind.META, b"a", "b")], WALL)
    ballast.unlink()
    await db.close()


async def test_the_probe_measures_and_a_store_without_a_reserve_works(tmp_path: Path) -> None:
    db = await Store.open(tmp_path / "a.db", now_wall=WALL, reserve_bytes=65536)
    await db.load()
    assert db.probe.writes >= 2
    assert 0 < db.probe.p50_s <= db.probe.p99_s < 5
    await db.close()
    db = await Store.open(tmp_path / "b.db", now_wall=WALL, reserve_bytes=0)
    await db.load()
    assert db.probe == disk.Probe(0.0, 0.0, 0)
    assert not db.low_water()
    await db.close()


# --- safety.md 8 ------------------------------------------------------------------------------------------------------

_CHILD = """
import asyncio, os, sys
from tests.store.work import WALL, batch, opened
from pathlib import Path
async def main():
    store, _ = await opened(Path(sys.argv[1]))
    if sys.argv[2] == "off":
        await store._db.execute("PRAGMA synchronous = OFF")
    for number in range(8):
        await store.commit(batch(number), WALL)
        os.write(1, b"ack\\n")
    await store.close()
asyncio.run(main())
"""


def acks_and_syncs(path: Path, mode: str) -> str:
    """The order of events: w a write to the log, s its fdatasync, a the acknowledgement."""
    strace = shutil.which("strace")
    assert strace, "strace is missing: apt-get install strace"
    log = path.with_name("strace")
    command = [strace, "-f", "-qqq", "-y", "-o", str(log), "--trace=pwrite64,write,fdatasync,fsync"]
    subprocess.run([*command, sys.executable, "-c", _CHILD, str(path), mode], cwd=ROOT, check=True, capture_output=True, timeout=60)
    order = ""
    for line in log.read_text().splitlines():
        if "-wal>" in line:
            order += "w" if "pwrite64(" in line else "s"
        elif re.search(r'write\(1<.*"ack', line):
            order += "a"
    return order


def test_safety_8_every_acknowledgement_follows_the_fsync_of_its_commit(tmp_path: Path) -> None:
    durable = re.compile(r"[ws]*(w+sa){8}[ws]*")
    assert durable.fullmatch(acks_and_syncs(tmp_path / "a.db", "full"))
    planted = acks_and_syncs(tmp_path / "b.db", "off")
    assert planted.count("a") == 8
    assert not durable.fullmatch(planted)


async def test_marker_and_commits_at_the_same_time(tmp_path: Path) -> None:
    db = await Store.open(tmp_path / "a.db", now_wall=WALL, reserve_bytes=65536)
    await db.load()
    await asyncio.gather(
        *(db.commit([write(Kind.META, b"n", str(i))], WALL) for i in range(20)), *(db.write_marker() for _ in range(5)), db.fold()
    )
    await db.write_marker()
    marker, _ = disk.read_marker(tmp_path / "a.db")
    assert marker is not None
    assert marker.generation == db.generation == 20
    assert os.stat(disk.marker_path(tmp_path / "a.db")).st_size == 2 * disk.SLOT_BYTES
    await db.close()
