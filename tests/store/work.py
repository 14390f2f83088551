"""A workload with known contents, the reference that it is compared with, and a child process that does it until it is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from failoverd.leases.lease import lease_key
from failoverd.ports import Kind, Origin, Stored, Write
from failoverd.shell.store import Store

ROOT = Path(__file__).resolve().parents[2]
WALL = 1_700_000_000.0
BATCHES = 12
OWN = ("uuid", "generation", "boot", "host", "created")

OPENED: list[Store] = []  # closed after each test (conftest.py): the thread of an open one keeps the process from ending

Contents = tuple[list[str], list[str], list[str], dict[str, str]]


def write(kind: Kind, key: bytes, record: str | None) -> Write:
    return Write(kind, key, record, Origin.CLIENT, "test")


def replay(writes: Iterable[Write]) -> Contents:
    """What a store must hold after these writes, by the plainest means."""
    rows: dict[Kind, dict[bytes, str]] = {kind: {} for kind in Kind}
    for each in writes:
        if each.record is None:
            rows[each.kind].pop(each.key, None)
        else:
            rows[each.kind][each.key] = each.record
    lists = [[record for _, record in sorted(rows[kind].items())] for kind in (Kind.LEASE, Kind.DDNS, Kind.RELATIONSHIP)]
    return lists[0], lists[1], lists[2], {key.decode(): value for key, value in rows[Kind.META].items()}


def contents(stored: Stored) -> Contents:
    meta = {key: value for key, value in stored.meta.items() if key not in OWN}
    return stored.leases, stored.ddns, stored.relationships, meta


def batch(number: int) -> list[Write]:
    """Batch `number` of the workload: new rows, changed rows, deleted rows, every kind."""
    writes = [write(Kind.LEASE, lease_key(10 * number + i), json.dumps({"address": 10 * number + i})) for i in range(4)]
    writes.append(write(Kind.LEASE, lease_key(10), json.dumps({"batch": number})))
    writes.append(write(Kind.RELATIONSHIP, b"office", json.dumps({"batch": number})))
    writes.append(write(Kind.META, b"batch", str(number)))
    writes.append(write(Kind.EVENT, b"event", json.dumps(number)))
    writes.append(write(Kind.DDNS, b"name-%d" % number, json.dumps(number)))
    if number:
        writes.append(write(Kind.LEASE, lease_key(10 * (number - 1) + 1), None))
        writes.append(write(Kind.DDNS, b"name-%d" % (number - 1), None))
        writes.append(write(Kind.META, b"gone", None if number % 2 else "x"))
    return writes


async def opened(path: Path, **options: object) -> tuple[Store, Stored]:
    store = await Store.open(path, now_wall=WALL, reserve_bytes=65536, **options)  # type: ignore[arg-type]
    OPENED.append(store)
    return store, await store.load()


def beside(path: Path) -> list[Path]:
    """The files of a database."""
    return [Path(f"{path}{suffix}") for suffix in ("", "-wal", ".marker", ".reserve")]


def under_strace(call: str, action: str, when: str, *paths: Path) -> list[str]:
    """Do `action` at the `when`-th system call `call` on one of `paths`. "5": then only; "5+": from then on."""
    strace = shutil.which("strace")
    assert strace, "strace is missing: apt-get install strace"
    watched = [f"--trace-path={path}" for path in paths]
    return [strace, "-f", "-qqq", "-o", "/dev/null", *watched, f"--trace={call}", f"--inject={call}:{action}:when={when}"]


def fill(directory: Path) -> Path:
    """Leave nothing."""
    path = directory / "ballast"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return path


def on_row(store: Store, table: str, when: str) -> str:
    """SQL of a temporary trigger that calls the function `crash`. `when`: AFTER INSERT, BEFORE DELETE, ..."""
    return f"CREATE TEMP TRIGGER at_{table} {when} ON {table} BEGIN SELECT crash(); END"


async def plant(store: Store, table: str, when: str, crash: object) -> None:
    """Call `crash` (in the store's thread, in the middle of the statement) at each row of `table`."""
    await store._db.create_function("crash", 0, crash)  # type: ignore[arg-type]
    await store._db.execute(on_row(store, table, when))


def child(path: Path, *arguments: str, wrapper: Iterable[str] = ()) -> tuple[int, int]:
    """Run the child; (its return code, batches acknowledged)."""
    command = [*wrapper, sys.executable, "-m", "tests.store.work", str(path), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode not in (0, -signal.SIGKILL, 128 + signal.SIGKILL, 3):
        raise AssertionError(f"the child failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    return done.returncode, sum(line.startswith("ack ") for line in done.stdout.splitlines())


async def _work(path: Path, table: str, when: str, count: int) -> None:
    """Commit and fold all batches; die at the `count`-th row that passes the planted trigger, if one is named."""
    store, _ = await opened(path)
    left = count

    def crash() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    if table:
        await plant(store, table, when, crash)
    store.history_rows = 20
    for number in range(BATCHES):
        await store.commit(batch(number), WALL + number)
        os.write(1, b"ack %d\n" % number)
        while await store.fold(7):
            pass
        if number % 3 == 2:
            await store.write_marker()
            store._log_pages = 1e9  # the next fold checkpoints
    await store.close()


if __name__ == "__main__":
    import asyncio

    from failoverd.shell.store import StoreBroken

    try:
        asyncio.run(_work(Path(sys.argv[1]), *(sys.argv[2:4] or ("", "")), int(sys.argv[4]) if len(sys.argv) > 4 else 0))
    except StoreBroken as error:
        os.write(2, str(error).encode())
        os._exit(3)
