"""How fast a backlog drains into one BIND."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from failoverd.ddns.rows import State
from failoverd.leases.lease import BindingState, Lease
from failoverd.ports import Origin, Output
from tests.ddns.fault_worker import FORWARD, REVERSE
from tests.ddns.live import POLICY, REVERSE_POLICY, Live
from tests.ddns.named import Named

pytestmark = [pytest.mark.bind, pytest.mark.slow]
LEASES = 10_000
FLOOR_PER_S = 1500  # with dnspython alone a batch would be this slow; the figure itself is printed


@pytest.fixture
def named(tmp_path: Path) -> Iterator[Named]:
    server = Named(
        tmp_path / "named", {FORWARD: (POLICY, {"ns1.example.test. 3600 A 192.0.2.1"}), REVERSE: (REVERSE_POLICY, set())}
    )
    server.start()
    yield server
    server.stop()


async def test_a_backlog_of_ten_thousand_leases(named: Named, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.ddns.live.REVERSE", REVERSE)
    live = Live(tmp_path, named.port)
    live.planner.fence(True, live.now(), Output())
    for number in range(LEASES):
        lease = Lease(
            0x0A000000 + number, BindingState.ACTIVE, hw=b"\x01\x02\x00" + number.to_bytes(4, "big"), starts=1, cltt=1, ends=9**9
        )
        lease.fqdn = f"host-{number}.{FORWARD}"
        live.leases[lease.address] = lease
        live.step(lambda now, out, lease=lease: live.planner.lease_changed(None, lease, Origin.CLIENT, now, out))  # type: ignore[misc]
    cpu, began = time.process_time(), time.perf_counter()
    live.planner.fence(False, live.now(), Output())
    live.step(live.planner.due)
    lanes = live.planner._shelf.lanes.values()
    await live.until(lambda: not any(lane.pending for lane in lanes), 120)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    assert live.count(State.CLEAN) == 2 * LEASES
    rate = 2 * LEASES / took
    print(
        f"\n{2 * LEASES} names (forward and reverse) in {took:.2f} s: {rate:.0f} names/s, {cpu / 2 / LEASES * 1e6:.0f} us CPU a name"
    )
    await live.client.close()
    assert rate >= FLOOR_PER_S
