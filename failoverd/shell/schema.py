"""The database file before it is trusted: inspection without a single write, then the numbered migrations.

`inspect` reads through a read-only connection of its own, because an ordinary one may recover, checkpoint and delete a
write-ahead log just by being closed: a file that is refused must stay as it was found.
Migrations are schema/NNNN_name.sql, each one transaction that also sets user_version to NNNN.
"""

from __future__ import annotations

import os
import re
import sqlite3
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

import aiosqlite

from failoverd.shell.disk import LOCK_WAIT_S, StoreError, locked
from failoverd.shell.fold import NEWEST

APPLICATION_ID = 0x464F5644  # "FOVD", set by schema/0001
CLOCK_SLACK_S = 60.0  # safety.md 10
_NAME = re.compile(r"(\d{4})_\w+\.sql")


class Migration(NamedTuple):
    """One file of schema/."""

    number: int
    name: str
    sql: str


def migrations(directory: Traversable | None = None) -> list[Migration]:
    """All migrations, 1, 2, 3, ...; from the installed package, or from the checkout that this file lies in."""
    if directory is None:
        packaged = resources.files("failoverd").joinpath("schema")
        checkout = Path(__file__).resolve().parents[2] / "schema"
        directory = packaged if packaged.joinpath("0001_journal_and_tables.sql").is_file() else checkout
    found: list[Migration] = []
    for entry in sorted(directory.iterdir(), key=lambda e: e.name):
        match = _NAME.fullmatch(entry.name)
        if match:
            found.append(Migration(int(match[1]), entry.name, entry.read_text(encoding="utf-8")))
    if not found or [m.number for m in found] != list(range(1, len(found) + 1)):
        raise AssertionError(f"migrations in {directory} are not numbered 1, 2, 3, ...: {[m.name for m in found]}")
    return found


async def migrate(db: aiosqlite.Connection, steps: list[Migration]) -> tuple[int, int]:
    """Run what is missing. (version before, version after). Each step whole or not at all: a crash leaves a version between."""
    ((before,),) = await db.execute_fetchall("PRAGMA user_version")
    for step in steps[before:]:
        await db.executescript(f"BEGIN EXCLUSIVE;\n{step.sql}\nPRAGMA user_version = {step.number};\nCOMMIT;")
    return int(before), max(int(before), len(steps))


# --- inspection -------------------------------------------------------------------------------------------------------


def inspect(path: Path, known_version: int, now_wall: float, *, force_clock: bool) -> bool:
    """Look at the file and write nothing; blocking. True: there is a database of ours; False: there is none yet.

    StoreError: locked, corrupt, not-ours, newer, clock, io."""
    wal = path.with_name(path.name + "-wal")
    has_wal = wal.exists() and wal.stat().st_size > 0
    if not path.exists() or (path.stat().st_size == 0 and not has_wal):
        return False
    # Without a log nobody has it open (a store in use always has one), and "immutable" keeps SQLite from making one.
    mode = "mode=ro" if has_wal else "mode=ro&immutable=1"
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=LOCK_WAIT_S, isolation_level=None)
    try:
        return _inspect(connection, path, known_version, now_wall, force_clock=force_clock)
    except sqlite3.Error as error:
        raise refusal(path, error) from error
    finally:
        connection.close()


def refusal(path: Path, error: sqlite3.Error) -> StoreError:
    """What SQLite said at opening, in the operator's words."""
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return locked(path)
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return StoreError(
            "corrupt",
            f"{path} is damaged or is no database ({error})",
            "Keep a copy of it and of its -wal, then put the last backup in its place; the partner has the leases.",
        )
    if name.startswith(("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")):
        return _read_only(path, str(error))
    if name == "SQLITE_FULL":
        return StoreError("disk-full", f"the disk that holds {path} is full", "Free some space and start again.")
    return StoreError(
        "io", f"{path} cannot be read or written: {error} ({name or 'no code'})", "Check the disk and the kernel's log."
    )


def may_write(path: Path) -> None:
    """Directory and file allow what is about to be done; blocking. StoreError: no-directory, not-a-file, read-only."""
    directory = path.parent
    if not directory.exists():
        raise StoreError(
            "no-directory", f"the directory {directory} does not exist", f"Create it: install -d -m 0750 -o failoverd {directory}"
        )
    if not directory.is_dir():
        raise StoreError("no-directory", f"{directory} is not a directory", "Set another path for the database.")
    if path.exists() and not path.is_file():
        raise StoreError("not-a-file", f"{path} is not a regular file", "Set another path for the database.")
    if not os.access(directory, os.W_OK | os.X_OK):
        raise _read_only(directory, "no permission, or the file system is mounted read-only")
    for each in (path, path.with_name(path.name + "-wal")):
        if each.exists() and not os.access(each, os.R_OK | os.W_OK):
            raise _read_only(each, "no permission, or the file system is mounted read-only")


def _read_only(path: Path, why: str) -> StoreError:
    return StoreError(
        "read-only",
        f"{path} cannot be written: {why}",
        "Check its owner and mode, and whether the kernel remounted the file system read-only (dmesg).",
    )


def _inspect(connection: sqlite3.Connection, path: Path, known_version: int, now_wall: float, *, force_clock: bool) -> bool:
    """The questions, cheap ones first; sqlite3.Error passes through."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    tables = int(connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])
    if version == 0 and application == 0 and tables == 0:
        return False
    if application != APPLICATION_ID:
        raise StoreError(
            "not-ours", f"{path} is a database of another program", "Set another path for the database; it was not touched."
        )
    if version > known_version:
        raise StoreError(
            "newer",
            f"{path} was written by a newer failoverd (its version is {version}, this program knows up to {known_version})",
            "Install that version again, or restore a backup made before the upgrade; the database was not touched.",
        )
    damage = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
    if damage != ["ok"]:
        raise refusal(path, _Damaged("; ".join(damage)))
    newest_wall = float(connection.execute(NEWEST).fetchone()[4])
    if now_wall < newest_wall - CLOCK_SLACK_S and not force_clock:
        raise StoreError(
            "clock",
            f"the clock is {newest_wall - now_wall:.0f} s before the newest record in {path}",
            "Set the clock (chronyc makestep). If the clock is right and the record is wrong, start once with: failoverd --force-clock",
        )
    return True


class _Damaged(sqlite3.DatabaseError):
    """quick_check found damage; reported as SQLite reports it."""

    sqlite_errorname = "SQLITE_CORRUPT"
