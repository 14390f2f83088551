"""A backlog drains into one BIND, every name of it. How fast is for the bench to say (tests/bench/drain.py)."""

from __future__ import annotations

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
    live.planner.fence(False, live.now(), Output())
    live.step(live.planner.due)
    lanes = live.planner._shelf.lanes.values()
    await live.until(lambda: not any(lane.pending for lane in lanes), 120)
    assert live.count(State.CLEAN) == 2 * LEASES
    await live.client.close()
    types = [line.split()[2] for zone in (FORWARD, REVERSE) for line in named.lines(zone)]
    assert (types.count("A") - 1, types.count("DHCID"), types.count("PTR")) == (LEASES, LEASES, LEASES)  # ns1 has an address too
