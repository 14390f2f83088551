"""A backup put in the place of the database, while failoverd does not run (`failoverd --restore`, `failoverctl restore`).

What was there is kept beside it. The copy says of itself that it is one, so the next start falls under safety.md 15: this server recovers
from its partner before it serves, and no address that it may have forgotten goes to another client early.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from failoverd.shell import schema
from failoverd.shell.disk import LOCK_WAIT_S, Disk, StoreError, create_private, sync_directory
from failoverd.shell.fold import NEWEST

FILES = ("", "-wal")
LOG = ("-wal", "-shm")  # stale frames beside another database would be recovered into it
FOLLOWS = (
    "It takes from its partner what is newer before it serves, and mclt passes for what nobody remembers; without the partner it gives no "
    "new address until mclt after its start."
)


@dataclass(slots=True, frozen=True)
class Backup:
    """What a backup is. `made_wall`: when, its newest record if it does not say; UTC seconds."""

    path: Path
    made_wall: float


def look(source: Path, now_wall: float) -> Backup:
    """A file that can be put back; nothing is written; blocking. StoreError says why not."""
    if not source.is_file():
        raise StoreError("not-a-backup", f"{source} is not a file", "Name a file that `failoverctl backup` has made.")
    log = source.with_name(source.name + "-wal")
    if log.exists() and log.stat().st_size:
        raise StoreError(
            "not-a-backup",
            f"{source} has a log beside it: it is in use, or was copied away under a server",
            "Use `failoverctl backup`.",
        )
    if not schema.inspect(source, len(schema.migrations()), now_wall, force_clock=False):
        raise StoreError("not-a-backup", f"{source} is empty", "Name a file that `failoverctl backup` has made.")
    db = sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        newest = db.execute(NEWEST).fetchone()
    except sqlite3.Error as error:
        raise schema.refusal(source, error) from error
    finally:
        db.close()
    return Backup(source, float(newest[4] if newest[2] is None else newest[2]))


def restore(found: Backup, database: Path, reserve_bytes: int, now_wall: float) -> list[Path]:
    """Put it in place; the files that keep what was there; blocking. StoreError: nothing was changed, the database is as it was."""
    schema.may_write(database)
    if database.exists() and found.path.samefile(database):
        raise StoreError("not-a-backup", f"{found.path} is the database itself", "Name a file that `failoverctl backup` has made.")
    disk = Disk(database, reserve_bytes)
    try:
        disk.claim()  # a failoverd that runs holds it
        return _exchange(found, database, now_wall)
    except OSError as error:
        raise StoreError("io", f"{database} cannot be replaced: {error}", "Check the disk and its permissions.") from error
    finally:
        disk.abandon()


def _exchange(found: Backup, database: Path, now_wall: float) -> list[Path]:
    """The copy is whole and durable before anything moves; a crash at any point leaves a database that is whole."""
    fresh = database.with_name(database.name + ".restoring")
    fresh.unlink(missing_ok=True)
    try:
        create_private(fresh)
        shutil.copyfile(found.path, fresh)
        _mark(fresh, found.made_wall)
        owner = (database if database.exists() else database.parent).stat()
        if os.geteuid() == 0:
            os.chown(fresh, owner.st_uid, owner.st_gid)
        _sync(fresh)
        kept = _keep(database, now_wall)
        for suffix in LOG:  # a crash behind this is a database without its last moments: the marker tells, as of any rollback
            database.with_name(database.name + suffix).unlink(missing_ok=True)
        sync_directory(database.parent)
        os.rename(fresh, database)
        sync_directory(database.parent)
    finally:
        fresh.unlink(missing_ok=True)
    return kept


def _keep(database: Path, now_wall: float) -> list[Path]:
    """Second names for the database and its log, durable before the first ones go."""
    stamp = datetime.fromtimestamp(now_wall, UTC).strftime("%Y%m%dT%H%M%SZ")
    stem, number = f"{database.name}.before-restore-{stamp}", 1
    while any(os.path.lexists(database.with_name(stem + suffix)) for suffix in FILES):
        stem, number = f"{database.name}.before-restore-{stamp}.{number}", number + 1
    kept = []
    for suffix in FILES:
        old, new = database.with_name(database.name + suffix), database.with_name(stem + suffix)
        if old.exists():
            os.link(old, new)
            kept.append(new)
    sync_directory(database.parent)
    return kept


def _mark(fresh: Path, made_wall: float) -> None:
    """A plain copy of a database does not know that it is one."""
    db = sqlite3.connect(fresh, timeout=LOCK_WAIT_S, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("UPDATE store SET copied_wall = coalesce(copied_wall, ?)", (made_wall,))
    except sqlite3.Error as error:
        raise schema.refusal(fresh, error) from error
    finally:
        db.close()


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def told(found: Backup, kept: list[Path]) -> str:
    """What was done, and what follows, for the operator."""
    there = "".join(f"; what was there is kept as {path}" for path in kept[:1])
    return f"restored {_words(found)}{there}.\nStart failoverd. {FOLLOWS}"


def outlook(found: Backup, database: Path) -> str:
    """What would be done."""
    there = "what is there is moved aside, not deleted" if database.exists() else "there is no database now"
    return f"would put {_words(found)} in the place of {database}; {there}.\nAt the next start: {FOLLOWS}"


def _words(found: Backup) -> str:
    made = datetime.fromtimestamp(found.made_wall, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"the backup of {made}"
