"""follow-cname (RFC 2317) against a real named that has the parent zone with the CNAMEs and the child zone with the names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from failoverd import compile
from failoverd.config import parse_text
from failoverd.ddns.rows import State
from failoverd.leases.lease import BindingState
from tests.ddns.live import FORWARD, POLICY, REVERSE, Live
from tests.ddns.named import Named
from tests.ddns.rig import lease

pytestmark = pytest.mark.bind

CHILD = "0-63.2.0.192.in-addr.arpa."
PARENT_POLICY = "update-policy { grant admin-key zonesub ANY; };"
CHILD_POLICY = "update-policy { grant ddns-key zonesub PTR; };"
H1 = "h1.example.test."


@pytest.fixture
def named(tmp_path: Path) -> Iterator[Named]:
    cnames = {f"{host}.{REVERSE} 60 CNAME {host}.{CHILD}" for host in range(1, 20)}
    zones = {
        FORWARD: (POLICY, {"ns1.example.test. 3600 A 192.0.2.1"}),
        REVERSE: (PARENT_POLICY, cnames),
        CHILD: (CHILD_POLICY, set[str]()),
    }
    server = Named(tmp_path / "named", zones)
    server.start()
    yield server
    server.stop()


def pointers(named: Named) -> set[str]:
    lines = (line.split(" ") for line in named.lines(CHILD))
    return {f"{name} {text}" for name, _, rtype, text in lines if rtype == "PTR"}


async def live_with(home: Path, port: int) -> Live:
    live = Live(home, port)
    zones = "".join(
        f'[[ddns.zone]]\nname = "{name}"\nprimaries = ["127.0.0.1:{port}"]\nkey-file = "{live.key}"\n' for name in (FORWARD, CHILD)
    )
    follow = f'[[ddns.reverse-map]]\nprefix = "192.0.2.0/26"\nzone = "{CHILD}"\nfollow-cname = true\n'
    live.plan = compile.dns_plan(parse_text('[servers.dhcp1]\ninterfaces = ["lo"]\n' + zones + follow))
    await live.restart()
    return live


async def test_pointers_stand_in_the_child_zone_and_follow_the_cname(named: Named, tmp_path: Path) -> None:
    live = await live_with(tmp_path, named.port)
    for host in range(1, 20):
        live.change(lease(host, host, f"h{host}.example.test."))
    await live.until(lambda: len(pointers(named)) == 19)
    await live.settle()
    assert pointers(named) == {f"{n}.{CHILD} h{n}.example.test." for n in range(1, 20)}

    named.put(REVERSE, [f"1.{REVERSE} 60 CNAME new1.{CHILD}"], {f"1.{REVERSE} 60 CNAME 1.{CHILD}"})
    await live.restart()  # after a boot all CNAMEs are asked again
    await live.until(lambda: f"new1.{CHILD} {H1}" in pointers(named))
    await live.settle()
    assert f"1.{CHILD} {H1}" not in pointers(named)

    for host in range(1, 20):
        live.change(live.leases[lease(host, host).address].evolve(state=BindingState.EXPIRED))
    await live.settle()
    assert pointers(named) == set()
    assert live.stored == {}
    await live.client.close()


async def test_a_pointer_waits_for_its_cname_while_named_is_down_and_afterwards(named: Named, tmp_path: Path) -> None:
    live = await live_with(tmp_path, named.port)
    live.change(lease(30, 1))  # has no CNAME
    await live.until(lambda: "ddns-cname-not-followed" in live.notes)
    waiting = next(row for row in live.planner.rows_list() if row.kind == "rev")
    assert (waiting.state, waiting.last_error) == (State.HELD, f"there is no CNAME at 30.{REVERSE}")
    named.stop()
    live.change(lease(5, 2, "h5.example.test."))
    await live.restart()
    named.start()
    named.put(REVERSE, [f"30.{REVERSE} 60 CNAME 30.{CHILD}"])
    live.planner.retry(live.planner.rows_list(), live.now())
    await live.until(lambda: pointers(named) == {f"30.{CHILD} {H1}", f"5.{CHILD} h5.example.test."}, 30)
    await live.client.close()
