"""A backup put in the place of the database: safety.md 15 from the file to the node, and everything that is refused."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from failoverd.config import load
from failoverd.ctl.client import FAILED, REFUSED, USAGE
from failoverd.ctl.main import main as ctl
from failoverd.failover.message import ServerState
from failoverd.failover.record import RelationshipRecord
from failoverd.node import Node
from failoverd.ports import Kind, Now
from failoverd.shell.disk import StoreError
from failoverd.shell.restore import look, restore
from tests.store.work import WALL, batch, contents, opened, replay, write

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "pair.toml"
RESERVE = 4096


async def backed_up(tmp_path: Path) -> tuple[Path, Path]:
    """A database that went on after its backup was made, and the backup."""
    path, copy = tmp_path / "a.db", tmp_path / "backup" / "copy.db"
    copy.parent.mkdir()
    store, _ = await opened(path)
    await store.commit(batch(0), WALL)
    await store.backup(copy, WALL + 7)
    await store.commit(batch(1), WALL + 9)
    await store.close()
    return path, copy


async def test_safety_15_a_restored_server_recovers_from_its_partner(tmp_path: Path) -> None:
    path, copy = tmp_path / "a.db", tmp_path / "copy.db"
    store, _ = await opened(path)
    record = RelationshipRecord("office", ServerState.NORMAL, since=int(WALL), virgin_database=False, proven=int(WALL))
    await store.commit([write(Kind.RELATIONSHIP, b"office", record.to_json())], WALL)
    await store.backup(copy, WALL + 7)
    await store.close()
    restore(look(copy, WALL + 20), path, RESERVE, WALL + 20)
    store, stored = await opened(path)
    assert (stored.meta["restored"], stored.meta["rollback"]) == ("1", "1")
    now = Now(WALL + 30, 0.0)
    node = Node(load(str(SAMPLE)), "dhcp1", stored, now, random.Random(1))
    node.boot(now)
    endpoint = node.endpoints["office"]
    assert endpoint.record.state is ServerState.RECOVER
    assert not endpoint.rights(now).serve
    await store.close()


async def test_what_was_there_is_kept_and_what_is_there_is_the_backup(tmp_path: Path) -> None:
    path, copy = await backed_up(tmp_path)
    path.chmod(0o640)
    moved = restore(look(copy, WALL + 20), path, RESERVE, WALL + 20)
    assert moved[0].name == "a.db.before-restore-20231114T221340Z"
    store, stored = await opened(path)
    wanted = replay(batch(0))
    assert contents(stored)[:3] == wanted[:3]
    assert (stored.meta["restored"], stored.meta["rollback"]) == ("1", "1")
    await store.close()
    store, stored = await opened(moved[0])
    assert contents(stored)[:3] == replay([*batch(0), *batch(1)])[:3], "nothing was lost of the old one"
    await store.close()
    assert (path.stat().st_mode & 0o777, path.stat().st_uid) == (0o600, copy.stat().st_uid)
    assert not path.with_name("a.db.restoring").exists()


async def test_a_second_restore_overwrites_nothing(tmp_path: Path) -> None:
    path, copy = await backed_up(tmp_path)
    first = restore(look(copy, WALL + 20), path, RESERVE, WALL + 20)
    second = restore(look(copy, WALL + 20), path, RESERVE, WALL + 20)
    assert first[0] != second[0]
    assert first[0].exists()
    assert second[0].exists()


async def test_a_lost_database_is_no_hindrance(tmp_path: Path) -> None:
    path, copy = await backed_up(tmp_path)
    path.unlink()
    assert restore(look(copy, WALL + 20), path, RESERVE, WALL + 20) == []
    store, stored = await opened(path)
    assert stored.meta["restored"] == "1"
    await store.close()


async def test_a_plain_copy_of_a_stopped_database_counts_as_a_backup(tmp_path: Path) -> None:
    path, _ = await backed_up(tmp_path)
    plain = tmp_path / "plain.db"
    shutil.copy(path, plain)
    restore(look(plain, WALL + 20), path, RESERVE, WALL + 20)
    store, stored = await opened(path)
    assert stored.meta["restored"] == "1"
    await store.close()


async def test_while_failoverd_runs_it_is_refused(tmp_path: Path) -> None:
    path, copy = await backed_up(tmp_path)
    store, _ = await opened(path)
    before = path.read_bytes()
    found = look(copy, WALL + 20)
    with pytest.raises(StoreError) as refusal:
        await asyncio.to_thread(restore, found, path, RESERVE, WALL + 20)
    assert refusal.value.code == "locked"
    assert path.read_bytes() == before
    await store.close()


async def test_what_is_no_backup_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    path, copy = await backed_up(tmp_path)
    text, empty, damaged, newer = (tmp_path / name for name in ("text", "empty", "damaged", "newer"))
    text.write_text("no database " * 200)
    empty.write_bytes(b"")
    octets = bytearray(copy.read_bytes())
    octets[4096:8192] = os.urandom(4096)
    damaged.write_bytes(octets)
    shutil.copy(copy, newer)
    with contextlib.closing(sqlite3.connect(newer)) as db:
        db.execute("PRAGMA user_version = 99")
    for source, code in (
        (text, "corrupt"),
        (empty, "not-a-backup"),
        (damaged, "corrupt"),
        (newer, "newer"),
        (tmp_path, "not-a-backup"),
    ):
        with pytest.raises(StoreError) as refusal:
            look(source, WALL + 20)
        assert refusal.value.code == code, source
    with pytest.raises(StoreError) as refusal:
        look(copy, WALL - 3600)
    assert refusal.value.code == "clock"
    with pytest.raises(StoreError) as refusal:
        restore(look(path, WALL + 20), path, RESERVE, WALL + 20)
    assert refusal.value.code == "not-a-backup"


async def test_a_full_disk_leaves_the_old_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, copy = await backed_up(tmp_path)
    before = path.read_bytes()

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("failoverd.shell.restore.shutil.copyfile", full)
    with pytest.raises(StoreError) as refusal:
        restore(look(copy, WALL + 20), path, RESERVE, WALL + 20)
    assert refusal.value.code == "io"
    assert path.read_bytes() == before
    assert not path.with_name("a.db.restoring").exists()


async def test_the_verb(tmp_path: Path) -> None:
    """failoverctl restore, with the real failoverd behind it."""
    path, copy = await backed_up(tmp_path)
    conf = tmp_path / "failoverd.toml"
    tables = [f'[store]\npath = "{path}"\nreserve = "4KiB"', f'[api]\nsocket = "{tmp_path}/api.sock"']
    conf.write_text("\n".join(['site = "x"', *tables, '[servers.one]\ninterfaces = ["lo"]\n']))
    conf.chmod(0o600)

    def run(*words: str, typed: str | None = None) -> Any:
        args = ["--socket", str(tmp_path / "api.sock"), "restore", "--config", str(conf), "--server", "one", *words]
        return CliRunner().invoke(ctl, args, input=typed, catch_exceptions=False)

    dry = await asyncio.to_thread(run, str(copy), "--dry-run")
    assert (dry.exit_code, "would put the backup of 2023-11-14T22:13:27Z in the place of" in dry.stdout) == (0, True), dry.output
    no = await asyncio.to_thread(run, str(copy), typed="yes\n")
    assert (no.exit_code, "recovers" in no.stderr or "takes from its partner" in no.stderr) == (FAILED, True)
    assert not [name for name in os.listdir(tmp_path) if "before-restore" in name]
    done = await asyncio.to_thread(run, str(copy), typed="restore\n")
    assert (done.exit_code, done.stdout.startswith("restored the backup of 2023-11-14T22:13:27Z; what was there is kept as ")) == (
        0,
        True,
    )
    assert any("before-restore" in name for name in os.listdir(tmp_path))
    wrong = await asyncio.to_thread(run, str(conf), "--yes")
    assert (wrong.exit_code, "damaged or is no database" in wrong.stderr) == (REFUSED, True)
    assert (await asyncio.to_thread(run, str(tmp_path / "none"), "--yes")).exit_code == USAGE
