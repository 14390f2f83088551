"""Killed in every step of commit, fold, pruning, checkpoint and marker: afterwards everything acknowledged is there, and of the
one batch in flight all or nothing (safety.md 1, 3)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.store.work import BATCHES, batch, beside, child, contents, opened, replay, under_strace

# The rows that pass through each step: (table, trigger, how many of them it takes to be in the middle of the work).
STEPS = [
    ("journal", "BEFORE INSERT", 30),
    ("journal", "AFTER INSERT", 31),  # in the middle of a commit's statement
    ("lease", "BEFORE INSERT", 17),
    ("lease", "AFTER INSERT", 18),
    ("lease", "BEFORE DELETE", 4),
    ("lease", "AFTER DELETE", 4),
    ("ddns", "AFTER INSERT", 5),
    ("ddns", "BEFORE DELETE", 3),
    ("ddns", "AFTER DELETE", 3),
    ("relationship", "BEFORE INSERT", 4),
    ("relationship", "AFTER INSERT", 5),
    ("meta", "AFTER INSERT", 6),
    ("meta", "BEFORE DELETE", 2),
    ("event", "BEFORE INSERT", 5),
    ("event", "AFTER INSERT", 5),
    ("store", "BEFORE UPDATE", 8),  # the watermark
    ("store", "AFTER UPDATE", 8),
    ("journal", "BEFORE DELETE", 3),  # pruning
    ("journal", "AFTER DELETE", 25),
]


async def survived(path: Path, acknowledged: int) -> None:
    """The store holds what was acknowledged, perhaps the batch in flight; and it goes on from there."""
    store, stored = await opened(path)
    held = contents(stored)
    assert stored.meta.get("rollback") is None
    exactly = replay(each for number in range(acknowledged) for each in batch(number))
    with_the_next = replay(each for number in range(min(acknowledged + 1, BATCHES)) for each in batch(number))
    assert held in (exactly, with_the_next)
    while await store.fold(3):
        pass
    await store.close()
    store, stored = await opened(path)
    assert contents(stored) == held
    await store.close()


@pytest.mark.parametrize(("table", "when", "count"), STEPS)
async def test_killed_in_a_step_of_sql(tmp_path: Path, table: str, when: str, count: int) -> None:
    code, acknowledged = child(tmp_path / "a.db", table, when, str(count))
    assert code == -9, "the step was not reached"
    await survived(tmp_path / "a.db", acknowledged)


# They fall into creation, migration, commits, folds, checkpoints and the end.
SOME = [2, 27, 65, 120]
MORE = [1, 5, 9, 14, 20, 35, 44, 54, 77, 90, 150, 180, 220, 260, 300]


@pytest.mark.parametrize("when", [*SOME, *(pytest.param(when, marks=pytest.mark.slow) for when in MORE)])
@pytest.mark.parametrize("call", ["pwrite64", "fdatasync"])
async def test_killed_in_a_step_of_the_disk(tmp_path: Path, call: str, when: int) -> None:
    path = tmp_path / "a.db"
    code, acknowledged = child(path, wrapper=under_strace(call, "signal=KILL", str(when), *beside(path)))
    assert code == -9 or (acknowledged == BATCHES and when > 54)
    await survived(path, acknowledged)


@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize(("call", "when"), [("fdatasync", "40+"), ("fdatasync", "41"), ("pwrite64", "60"), ("pwrite64", "61+")])
async def test_an_fsync_or_a_write_that_fails_once_is_the_end(tmp_path: Path, call: str, when: str, error: str) -> None:
    """safety.md 3: never retried, also when the next one would succeed ("41", "60": only that one fails)."""
    path = tmp_path / "a.db"
    code, acknowledged = child(path, wrapper=under_strace(call, f"error={error}", when, *beside(path)))
    if call == "pwrite64" and error == "ENOSPC" and code == 0:  # it hit housekeeping, which may wait for room
        assert acknowledged == BATCHES
    else:
        assert code == 3, "the child went on"
        assert 0 < acknowledged < BATCHES
    await survived(path, acknowledged)
