"""The disk under the store: a preallocated reserve, low water, the marker beside the database, and how long an fsync takes.

safety.md 7 (two servers of one kind fill their disks in the same hour) and 15 (a database that was rolled back must know it).
Files beside `leases.db`: `leases.db.reserve` (holds space, no data) and `leases.db.marker` (two slots, written in place).
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
import zlib
from pathlib import Path
from typing import NamedTuple

RESERVE_BYTES = 16 * 2**20  # at 10,000 rows/s and 400 bytes a row: 4 s of journal
FLOOR_BYTES = 2**20  # less than this, the reserve given up, and a boot is refused
LOOK_EVERY_S = 0.5
LOCK_WAIT_S = 2.0  # a predecessor that is just ending gets this long
PROBE_WRITES = 33
PROBE_LIMIT_S = 0.5
SLOT_BYTES = 512  # one sector: a torn write damages one slot, and the other is the one before it


class StoreError(Exception):
    """The store cannot be opened or copied; nothing was changed. `code` is stable, `text` says what is wrong, `remedy` what to do."""

    def __init__(self, code: str, text: str, remedy: str) -> None:
        """Keep the three for the caller; str() is one line for the operator."""
        super().__init__(f"{text}. {remedy}")
        self.code = code
        self.text = text
        self.remedy = remedy


class Marker(NamedTuple):
    """What the marker says: the database `uuid` had reached `generation` in the run `boot`, at `wall` (UTC seconds)."""

    uuid: str
    generation: int
    boot: str
    wall: float


class Probe(NamedTuple):
    """Seconds for a 4 KiB write and its fdatasync, over `writes` writes; zeros when there was no room to measure."""

    p50_s: float
    p99_s: float
    writes: int


class Disk:
    """The reserve of one database, and what the file system has left.

    `low`: take no new promises (safety.md 7). `released`: the reserve was given up so that the writes which cannot wait
    (states, releases, operator verbs) still succeed; it is taken again once three times its size is free."""

    def __init__(self, database: Path, reserve_bytes: int = RESERVE_BYTES) -> None:
        """Opens nothing; `claim` does."""
        self.database = database
        self.path = database.with_name(database.name + ".reserve")
        self.reserve_bytes = reserve_bytes
        self.low = False
        self.released = False
        self.unsettled = False
        self.free_bytes = 0
        self._look_mono = 0.0
        self._fd = -1
        self._created = False

    def claim(self) -> None:
        """Lock and preallocate the reserve; blocking. StoreError("locked"), or "disk-full" when not even the floor is left.

        The lock is a second one beside SQLite's: those are POSIX locks, and any part of this process that merely opened and
        closed the database file would drop them (fcntl(2))."""
        created = not self.path.exists()
        self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._lock()
        self._created = created
        if not self._allocate() or self._free() < self.reserve_bytes // 4:
            self._release()
        self.free_bytes = self._free()
        if self.free_bytes < FLOOR_BYTES:
            raise StoreError(
                "disk-full",
                f"the file system of {self.path.parent} has {self.free_bytes} bytes left, and failoverd needs {FLOOR_BYTES}",
                "Free some space and start again; the database was not touched.",
            )
        self.low = self.released or self.free_bytes < self.reserve_bytes

    def abandon(self) -> None:
        """After a refusal: leave nothing behind that was not there."""
        if self._fd >= 0 and self._created:
            self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Give up the lock."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def look(self) -> bool:
        """Measure, at most every LOOK_EVERY_S (statvfs reads no disk). Returns `low`."""
        mono = time.monotonic()
        if mono < self._look_mono:
            return self.low
        self._look_mono = mono + LOOK_EVERY_S
        self.free_bytes = free = self._free()
        if self.released:
            self.unsettled = free >= 3 * self.reserve_bytes
        else:
            self.unsettled = free < self.reserve_bytes // 4
            self.low = free < self.reserve_bytes or (self.low and free < 2 * self.reserve_bytes)
        return self.low

    def settle(self) -> None:
        """Give the reserve up, or take it again, when `look` found it `unsettled`; blocking."""
        self.unsettled = False
        self.free_bytes = self._free()
        if not self.released and self.free_bytes < self.reserve_bytes // 4:
            self._release()
        elif self.released and self.free_bytes >= 3 * self.reserve_bytes and self._allocate():
            self.released = False
            self.low = False
        self._look_mono = 0.0

    def probe(self) -> Probe:
        """How long a commit's fsync takes on this disk: one 4 KiB block of the reserve, written again and again; blocking."""
        if self.released or self.reserve_bytes < 4096:
            return Probe(0.0, 0.0, 0)
        times: list[float] = []
        end = time.monotonic() + PROBE_LIMIT_S
        while len(times) < PROBE_WRITES and (len(times) < 3 or time.monotonic() < end):
            start = time.perf_counter()
            os.pwrite(self._fd, bytes(4096), 0)
            os.fdatasync(self._fd)
            times.append(time.perf_counter() - start)
        times = sorted(times[1:])  # the first one also turns a preallocated block into a written one
        return Probe(times[len(times) // 2], times[int(len(times) * 0.99)], len(times))

    def _free(self) -> int:
        """Bytes that an ordinary user may still write (root's share is nobody's plan)."""
        vfs = os.statvfs(self.path.parent)
        return vfs.f_bavail * vfs.f_frsize

    def _lock(self) -> None:
        """Wait a little for a predecessor that is just ending."""
        end = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                return fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > end:
                    raise locked(self.database) from error
                time.sleep(0.05)

    def _allocate(self) -> bool:
        """Make the reserve hold its size. False when the disk is too full for it."""
        try:
            if self.reserve_bytes > 0:
                os.posix_fallocate(self._fd, 0, self.reserve_bytes)
            os.ftruncate(self._fd, self.reserve_bytes)
            os.fsync(self._fd)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            return False
        return True

    def _release(self) -> None:
        """Give the reserve's space back to the file system."""
        self.released = True
        self.low = True
        os.ftruncate(self._fd, 0)
        os.fsync(self._fd)


def locked(path: Path) -> StoreError:
    """Somebody else has it."""
    return StoreError(
        "locked",
        f"another process holds the database {path}",
        f"Is failoverd already running here? See who has it open with: fuser -v {path}",
    )


# --- the marker -------------------------------------------------------------------------------------------------------


def marker_path(database: Path) -> Path:
    """Where the marker of a database is."""
    return database.with_name(database.name + ".marker")


def read_marker(database: Path) -> tuple[Marker | None, int]:
    """The newest whole slot and its count (0 when there is none). A damaged file reads as none."""
    try:
        raw = marker_path(database).read_bytes()
    except FileNotFoundError:
        return None, 0
    best: Marker | None = None
    count = 0
    for at in (0, SLOT_BYTES):
        slot = _slot(raw[at : at + SLOT_BYTES])
        if slot is not None and slot[1] > count:
            best, count = slot
    return best, count


def write_marker(database: Path, marker: Marker, count: int) -> None:
    """Write slot `count` % 2 in place and fdatasync; blocking. In place, because a full disk must not stop it."""
    text = json.dumps([count, *marker], separators=(",", ":")).encode()
    slot = b"%s %08x\n" % (text, zlib.crc32(text))
    assert len(slot) <= SLOT_BYTES
    path = marker_path(database)
    created = not path.exists()
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if created:
            os.pwrite(fd, bytes(2 * SLOT_BYTES), 0)
        os.pwrite(fd, slot.ljust(SLOT_BYTES, b"\0"), (count % 2) * SLOT_BYTES)
        os.fdatasync(fd)
    finally:
        os.close(fd)
    if created:
        sync_directory(path.parent)


def create_private(path: Path) -> None:
    """Make the file if it is not there: SQLite's own would be readable by everybody, its log takes over the mode; blocking."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def sync_directory(path: Path) -> None:
    """Make names that were just created in a directory durable; blocking."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _slot(raw: bytes) -> tuple[Marker, int] | None:
    """One slot of the marker file, None when it is empty or damaged."""
    text, separator, check = raw.rstrip(b"\0").removesuffix(b"\n").rpartition(b" ")
    if not separator or b"%08x" % zlib.crc32(text) != check:
        return None
    count, uuid, generation, boot, wall = json.loads(text)
    return Marker(str(uuid), int(generation), str(boot), float(wall)), int(count)
