"""Tables + tail = the replay of all writes, whatever is folded, pruned, backed up or reopened in between."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from failoverd.leases.lease import lease_key
from failoverd.ports import Kind, Write
from tests.store.work import WALL, contents, opened, replay, write

_keys = st.integers(0, 5)
_record = st.one_of(st.none(), st.integers(0, 99).map(str))


def _write(kind: Kind, key: int, record: str | None) -> Write:
    if kind is Kind.LEASE:
        return write(kind, lease_key(key, 6 if key > 3 else 4), record)
    return write(kind, b"key-%d" % key, record)


_commit = st.lists(st.builds(_write, st.sampled_from(list(Kind)), _keys, _record), max_size=12)
_fold = st.integers(1, 9)
_step = st.one_of(_commit, _commit, _fold, st.just("open"), st.just("copy"))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(_step, max_size=10), history=st.integers(0, 10))
def test_tables_and_tail_are_the_replay(steps: list[list[Write] | int | str], history: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_run(Path(directory) / "a.db", steps, history))


async def _run(path: Path, steps: list[list[Write] | int | str], history: int) -> None:
    writes: list[Write] = []
    store, _ = await opened(path)
    for number, step in enumerate(steps):
        store.history_rows = history
        if isinstance(step, list):
            await store.commit(step, WALL)
            writes += step
        elif isinstance(step, int):
            await store.fold(step)
        elif step == "open":
            await store.close()
            store, stored = await opened(path)
            assert contents(stored) == replay(writes)
        else:
            await store.backup(path.with_name(f"copy-{number}"), WALL)
            copy, stored = await opened(path.with_name(f"copy-{number}"))
            held = contents(stored)
            assert (held[3].pop("restored"), held[3].pop("rollback")) == ("1", "1")
            held[3].pop("rollback_detail")
            assert held == replay(writes)
            await copy.close()
        events = [each.record for each in writes if each.kind is Kind.EVENT and each.record is not None]
        assert [past.record for past in await store.events(5)] == events[:-6:-1]
    await store.close()
    store, stored = await opened(path)
    assert contents(stored) == replay(writes)
    while await store.fold(4):
        pass
    await store.close()
    store, stored = await opened(path)
    assert contents(stored) == replay(writes)
    await store.close()
