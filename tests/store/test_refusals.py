"""Every reason for not opening: a clear error, and not one byte written (file, log, directory)."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from failoverd.shell import schema
from failoverd.shell.store import Store, StoreError
from tests.store.work import BATCHES, ROOT, WALL, batch, child, contents, fill, opened, replay


@pytest.fixture(scope="module", params=["closed", "killed"])
def original(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A database with contents: cleanly closed, or with a write-ahead log that a killed process left."""
    path = tmp_path_factory.mktemp("original") / "a.db"
    if request.param == "closed":
        assert child(path) == (0, BATCHES)
    else:
        code, acknowledged = child(path, "meta", "AFTER INSERT", "9")
        assert code == -9
        assert acknowledged > 3
        assert path.with_name("a.db-wal").stat().st_size > 0
    return path


@pytest.fixture
def database(tmp_path: Path, original: Path) -> Path:
    """A copy of it."""
    shutil.copytree(original.parent, tmp_path / "data")
    return tmp_path / "data" / "a.db"


def files(directory: Path) -> dict[str, bytes]:
    """Everything that matters beside the database. The -shm file is an index that SQLite rebuilds."""
    return {each.name: each.read_bytes() for each in directory.iterdir() if each.is_file() and not each.name.endswith("-shm")}


async def refused(path: Path, **options: object) -> StoreError:
    """Open; it must be refused with nothing changed."""
    before = files(path.parent) if path.parent.is_dir() else {}
    with pytest.raises(StoreError) as caught:
        await Store.open(path, **({"now_wall": WALL, "reserve_bytes": 65536} | options))  # type: ignore[arg-type]
    if path.parent.is_dir():
        assert files(path.parent) == before
    error = caught.value
    assert error.text
    assert error.remedy
    assert str(path.name) in error.text or str(path.parent) in error.text or error.code == "read-only"
    return error


def edit(path: Path, sql: str) -> None:
    """Change the file behind the store's back, keeping it a single file."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(sql)
    connection.close()


def damage(path: Path) -> None:
    """Random bytes at the start of every page but the first."""
    raw = bytearray(path.read_bytes())
    for page in range(1, len(raw) // 4096):
        raw[page * 4096 : page * 4096 + 200] = os.urandom(200)
    path.write_bytes(raw)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)


async def test_a_newer_version(database: Path) -> None:
    edit(database, f"PRAGMA user_version = {len(schema.migrations()) + 1}")
    error = await refused(database)
    assert error.code == "newer"
    assert str(len(schema.migrations()) + 1) in error.text


async def test_a_newer_version_whose_mark_is_still_in_the_log(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    code = f"import sqlite3,os; c=sqlite3.connect({str(path)!r}); c.execute('PRAGMA user_version = 99'); os.kill(os.getpid(), 9)"
    assert child(path)[0] == 0
    assert run(sys.executable, "-c", code).returncode == -9
    assert path.with_name("a.db-wal").stat().st_size > 0
    assert (await refused(path)).code == "newer"


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_bytes(b"lease 10.0.0.1 { }\n" * 100)
    assert (await refused(tmp_path / "a.db")).code == "corrupt"


async def test_a_damaged_page(database: Path) -> None:
    edit(database, "PRAGMA wal_checkpoint(TRUNCATE)")
    damage(database)
    assert (await refused(database)).code == "corrupt"


async def test_a_truncated_file(database: Path) -> None:
    edit(database, "PRAGMA wal_checkpoint(TRUNCATE)")
    with database.open("r+b") as file:
        file.truncate(5000)
    assert (await refused(database)).code == "corrupt"


async def test_another_programs_database(tmp_path: Path) -> None:
    edit(tmp_path / "a.db", "CREATE TABLE song (title)")
    assert (await refused(tmp_path / "a.db")).code == "not-ours"


async def test_a_clock_before_the_newest_record(database: Path) -> None:
    newest = _newest_wall(database)
    assert (await refused(database, now_wall=newest - 61)).code == "clock"
    assert "failoverd --force-clock" in (await refused(database, now_wall=newest - 86400)).remedy
    for wall, force in ((newest - 59, False), (newest - 1e6, True)):
        db = await Store.open(database, now_wall=wall, reserve_bytes=65536, force_clock=force)
        assert (await db.load()).newest_wall == newest
        await db.close()


def _newest_wall(path: Path) -> float:
    """Of a copy: reading it in place would checkpoint."""
    copy = path.parent.parent / "copy"
    shutil.copytree(path.parent, copy)
    connection = sqlite3.connect(copy / path.name)
    try:
        return float(connection.execute("SELECT wall FROM journal ORDER BY seq DESC").fetchone()[0])
    finally:
        connection.close()


async def test_after_a_forced_clock_the_newest_record_is_the_last_one(tmp_path: Path) -> None:
    db, _ = await opened(tmp_path / "a.db")
    await db.commit(batch(0), WALL + 86400)
    await db.close()
    db = await Store.open(tmp_path / "a.db", now_wall=WALL, reserve_bytes=65536, force_clock=True)
    await db.commit(batch(1), WALL)
    await db.close()
    db, stored = await opened(tmp_path / "a.db")
    assert stored.newest_wall == WALL
    await db.close()


async def test_the_directory_is_missing(tmp_path: Path) -> None:
    error = await refused(tmp_path / "nowhere" / "a.db")
    assert error.code == "no-directory"
    assert "install -d" in error.remedy
    (tmp_path / "file").write_text("")
    assert (await refused(tmp_path / "file" / "a.db")).code == "no-directory"
    assert (await refused(tmp_path)).code == "not-a-file"


async def test_a_second_process_is_refused(database: Path) -> None:
    db, stored = await opened(database)
    code = (
        "import asyncio,sys\n"
        "from pathlib import Path\n"
        "from failoverd.shell import disk\n"
        "from failoverd.shell.store import Store, StoreError\n"
        "disk.LOCK_WAIT_S = 0.1\n"
        "try: asyncio.run(Store.open(Path(sys.argv[1]), now_wall=2e9))\n"
        "except StoreError as error: print(error.code, error)\n"
    )
    # Sums by another process: closing the file in this one would drop SQLite's locks, which are POSIX locks.
    before = run("sha256sum", str(database), f"{database}-wal").stdout
    done = run(sys.executable, "-c", code, str(database))
    assert done.stdout.startswith("locked another process holds the database"), done
    read = f"import sqlite3; sqlite3.connect({str(database)!r}, timeout=0).execute('SELECT 1 FROM journal')"
    assert "database is locked" in run(sys.executable, "-c", read).stderr
    assert run("sha256sum", str(database), f"{database}-wal").stdout == before
    files(database.parent)  # drops them, and then our own lock keeps a second failoverd out
    assert run(sys.executable, "-c", code, str(database)).stdout.startswith("locked")
    await db.commit(batch(0), WALL + 30)
    await db.close()
    db, again = await opened(database)
    assert again.newest_wall == WALL + 30 > stored.newest_wall
    await db.close()


async def test_a_file_of_no_bytes_is_a_new_database(tmp_path: Path) -> None:
    (tmp_path / "a.db").touch()
    db, stored = await opened(tmp_path / "a.db")
    assert stored.meta["created"] == "1"
    await db.close()


# --- file systems of our own: root writes to files of any mode, but not to a read-only or a full file system ------------


@pytest.mark.root
async def test_a_read_only_disk(tmpfs: Path, tmp_path: Path) -> None:
    assert child(tmpfs / "a.db", "meta", "AFTER INSERT", "9")[0] == -9
    assert run("mount", "-o", "remount,ro", str(tmpfs)).returncode == 0
    assert (await refused(tmpfs / "a.db")).code == "read-only"
    assert (await refused(tmpfs / "new.db")).code == "read-only"


@pytest.mark.root
async def test_a_file_that_belongs_to_another_user(database: Path) -> None:
    """As an ordinary user, in a child: the file is readable, the directory writable, the file not."""
    code = (
        "import asyncio,concurrent.futures.thread,os,sys\n"
        "from failoverd.shell import schema\n"
        "from failoverd.shell.store import Store, StoreError\n"
        "found = schema.migrations()\n"  # the checkout may lie where another user reads nothing
        "schema.migrations = lambda *_: found\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: asyncio.run(Store.open(sys.argv[1], now_wall=2e9))\n"
        "except StoreError as error: print(error.code)\n"
    )
    public = Path("/tmp") / f"failoverd-store-{os.getpid()}"
    shutil.copytree(database.parent, public)
    try:
        public.chmod(0o777)
        for each in public.iterdir():
            each.chmod(0o644)
        done = run(sys.executable, "-c", code, str(public / "a.db"))
        assert done.stdout == "read-only\n", done
        public.chmod(0o755)
        done = run(sys.executable, "-c", code, str(public / "b.db"))
        assert done.stdout == "read-only\n", done
    finally:
        shutil.rmtree(public)


@pytest.mark.root
async def test_a_full_disk_at_the_first_start(tmpfs: Path) -> None:
    ballast = fill(tmpfs)
    before = sorted(files(tmpfs))
    with pytest.raises(StoreError) as caught:
        await Store.open(tmpfs / "a.db", now_wall=WALL)
    assert caught.value.code == "disk-full"
    assert sorted(files(tmpfs)) == before
    ballast.unlink()


@pytest.mark.root
async def test_a_full_disk_with_a_database(tmpfs: Path) -> None:
    code, acknowledged = child(tmpfs / "a.db", "journal", "AFTER INSERT", "40")
    assert (code, acknowledged) == (-9, 3)
    (tmpfs / "a.db.reserve").unlink()
    ballast = fill(tmpfs)
    before = {name: raw for name, raw in files(tmpfs).items() if name in ("a.db", "a.db-wal", "a.db.marker")}
    with pytest.raises(StoreError) as caught:
        await Store.open(tmpfs / "a.db", now_wall=WALL + 100, reserve_bytes=65536)
    assert caught.value.code == "disk-full"
    assert {name: raw for name, raw in files(tmpfs).items() if name in before} == before
    ballast.unlink()
    db, stored = await opened(tmpfs / "a.db")
    assert contents(stored) == replay(each for number in range(3) for each in batch(number))
    await db.close()
