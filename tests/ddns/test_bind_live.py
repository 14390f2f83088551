"""Planner and DNS client against a real named."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from failoverd.ddns.rows import State
from failoverd.leases.lease import BindingState, Lease
from failoverd.ports import DnsAnswer
from tests.ddns.live import FORWARD, REVERSE, Live, start_named, write_key
from tests.ddns.named import Named
from tests.ddns.rig import lease

pytestmark = pytest.mark.bind

H1 = "h1.example.test."
APEX = {f"{FORWARD} NS ns1.example.test.", f"{REVERSE} NS ns1.example.test."}
STATIC = {"www.example.test. A 192.0.2.2", "ns1.example.test. A 192.0.2.1"}


@pytest.fixture
def named(tmp_path: Path) -> Iterator[Named]:
    server = start_named(tmp_path / "named")
    yield server
    server.stop()


def records(named: Named) -> set[str]:
    """Both zones without TTL, DHCID, apex and what the operator put there at the start."""
    out = set()
    for line in named.lines(FORWARD) | named.lines(REVERSE):
        name, _, rest = line.split(" ", 2)
        if not rest.startswith("DHCID"):
            out.add(f"{name} {rest}")
    return out - APEX - STATIC


def gone(one: Lease) -> Lease:
    return one.evolve(state=BindingState.EXPIRED)


async def test_add_replace_remove(named: Named, tmp_path: Path) -> None:
    live = Live(tmp_path, named.port)
    live.change(lease(10, 1))
    await live.settle()
    assert records(named) == {f"{H1} A 192.0.2.10", f"10.{REVERSE} PTR {H1}"}
    live.change(lease(20, 1))
    await live.settle()
    assert records(named) == {f"{H1} A 192.0.2.20", f"20.{REVERSE} PTR {H1}"}
    live.change(gone(lease(10, 1)))
    live.change(gone(lease(20, 1)))
    await live.settle()
    assert records(named) == set()
    assert not any("DHCID" in line for line in named.lines(FORWARD))
    assert live.stored == {}
    await live.client.close()


async def test_a_rename_is_one_change_of_the_zone(named: Named, tmp_path: Path) -> None:
    live = Live(tmp_path, named.port)
    live.change(lease(10, 1))
    await live.settle()
    serial = named.serial(FORWARD)
    live.change(lease(10, 1, "new.example.test."))
    await live.settle()
    assert named.serial(FORWARD) == serial + 1
    assert records(named) == {"new.example.test. A 192.0.2.10", f"10.{REVERSE} PTR new.example.test."}
    named.put(FORWARD, ["taken.example.test. 60 A 192.0.2.99"])
    live.change(lease(10, 1, "taken.example.test."))
    await live.settle()
    assert records(named) == {"taken.example.test. A 192.0.2.99"}
    assert live.count(State.CONFLICT) == 1
    await live.client.close()


async def test_a_client_whose_name_the_zone_has_for_another_is_told_the_one_it_got(named: Named, tmp_path: Path) -> None:
    """Planner.name_for is what option 81 and option 12 of the next reply hold (tests/pair/test_names.py), also after a restart."""
    live = Live(tmp_path, named.port)
    live.plan = dataclasses.replace(live.plan, on_conflict="suffix")
    await live.restart()
    named.put(FORWARD, [f"{H1} 60 A 192.0.2.99", "h1-2.example.test. 60 A 192.0.2.98"])
    one = lease(10, 1)
    assert live.planner.name_for(H1, one.client) == H1
    live.change(one)
    await live.settle()
    assert "h1-3.example.test. A 192.0.2.10" in records(named)
    assert f"10.{REVERSE} PTR h1-3.example.test." in records(named)
    await live.restart()
    assert live.planner.name_for(H1, one.client) == "h1-3.example.test."
    assert live.planner.name_for(H1, lease(11, 2).client) == H1
    live.change(gone(one))
    await live.settle()
    assert live.planner.name_for(H1, one.client) == H1
    assert records(named) == {f"{H1} A 192.0.2.99", "h1-2.example.test. A 192.0.2.98"}
    await live.client.close()


async def test_many_names_at_once(named: Named, tmp_path: Path) -> None:
    live = Live(tmp_path, named.port)
    for host in range(1, 201):
        live.change(lease(host, host, f"h{host}.example.test."))
    await live.settle(30)
    assert len(records(named)) == 400
    await live.client.close()


async def test_master_stopped_while_leases_change(named: Named, tmp_path: Path) -> None:
    live = Live(tmp_path, named.port)
    for host in range(1, 6):
        live.change(lease(host, host, f"h{host}.example.test."))
    await live.settle()
    named.stop()
    live.change(lease(6, 6, "h6.example.test."))
    live.change(gone(lease(1, 1, "h1.example.test.")))
    live.change(lease(2, 2, "renamed.example.test."))
    live.change(lease(3, 7, "h7.example.test."))
    await live.until(lambda: "ddns-server-silent" in live.notes)
    named.start()
    await live.settle(20)
    expected = {(2, "renamed"), (3, "h7"), (4, "h4"), (5, "h5"), (6, "h6")}
    assert records(named) == {f"{n}.example.test. A 192.0.2.{h}" for h, n in expected} | {
        f"{h}.{REVERSE} PTR {n}.example.test." for h, n in expected
    }
    assert "ddns-server-back" in live.notes
    await live.client.close()


async def test_restart_of_the_planner_mid_way(named: Named, tmp_path: Path) -> None:
    """The process is dead after the second answer: what comes then is not heard, however quick the master is."""
    live = Live(tmp_path, named.port)
    hear = live.answered

    def hear_two(answer: DnsAnswer) -> None:
        if len(live.answers) < 2:
            hear(answer)

    vars(live)["answered"] = hear_two
    for host in range(1, 201):
        live.change(lease(host, host, f"h{host}.example.test."))
    await live.until(lambda: len(live.answers) >= 2)
    assert live.count(State.INFLIGHT)
    del vars(live)["answered"]
    await live.restart()
    live.change(gone(lease(1, 1, "h1.example.test.")))
    await live.settle(20)
    assert len(records(named)) == 398
    await live.client.close()


async def test_cname_is_left_alone(named: Named, tmp_path: Path) -> None:
    named.put(FORWARD, [f"{H1} 60 CNAME www.example.test."])
    named.put(REVERSE, [f"20.{REVERSE} 60 CNAME x.example.test."])
    live = Live(tmp_path, named.port)
    live.change(lease(10, 1))
    live.change(lease(20, 2, "h2.example.test."))
    await live.settle()
    assert live.count(State.BLOCKED) == 2
    assert records(named) == {
        f"{H1} CNAME www.example.test.",
        f"20.{REVERSE} CNAME x.example.test.",
        "h2.example.test. A 192.0.2.20",
    }
    await live.client.close()


async def test_the_operators_records_are_untouched(named: Named, tmp_path: Path) -> None:
    named.put(FORWARD, [f"{H1} 60 A 192.0.2.99", 'h2.example.test. 60 TXT "rack 7"'])
    live = Live(tmp_path, named.port)
    live.change(lease(10, 1))
    live.change(lease(20, 2, "h2.example.test."))
    live.change(lease(30, 3, "www.example.test."))
    await live.until(lambda: live.count(State.CONFLICT) == 1 and "h2.example.test. A 192.0.2.20" in records(named))
    static = {f"{H1} A 192.0.2.99", 'h2.example.test. TXT "rack 7"'}
    assert static <= records(named)
    live.change(gone(lease(10, 1)))
    live.change(gone(lease(20, 2, "h2.example.test.")))
    await live.until(lambda: records(named) == static)
    assert "www.example.test. 3600 A 192.0.2.2" in named.lines(FORWARD)
    await live.client.close()


@pytest.mark.parametrize(
    ("name", "secret", "rcode"),
    [
        ("no-such-key", "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "BADKEY"),
        ("ddns-key", "d3Jvbmd3cm9uZ3dyb25nd3Jvbmc=", "BADSIG"),
        ("other-key", "", "REFUSED"),
    ],
)
async def test_wrong_key_holds_the_zone_and_the_right_one_frees_it(
    named: Named, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, secret: str, rcode: str
) -> None:
    monkeypatch.setattr(
        "failoverd.ddns.pace.HOLD_S", {"BADKEY": 1.0, "BADSIG": 1.0, "BADTIME": 1.0, "REFUSED": 1.0, "NOTAUTH": 1.0}
    )
    live = Live(tmp_path, named.port)
    write_key(live.key, name, secret)
    live.change(lease(10, 1))
    await live.until(lambda: "ddns-zone-held" in live.notes)
    zone = live.planner.status(live.now())["zones"][0]  # type: ignore[index]
    assert (zone["state"], zone["reason"]) == ("held", rcode)
    assert all(row.state is not State.DEAD for row in live.planner.rows_list())
    write_key(live.key)
    await live.settle()
    assert records(named) == {f"{H1} A 192.0.2.10", f"10.{REVERSE} PTR {H1}"}
    assert "ddns-zone-released" in live.notes
    await live.client.close()


async def test_clock_is_off(named: Named, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live = Live(tmp_path, named.port)
    real = time.time
    monkeypatch.setattr("dns.renderer.time.time", lambda: real() - 1000)
    live.change(lease(10, 1))
    await live.until(lambda: "ddns-zone-held" in live.notes)
    assert live.answers[0].rcode == "BADTIME"
    assert "the master's clock is" in live.answers[0].detail
    await live.client.close()


async def test_readable_key_file_is_refused_with_a_reason(named: Named, tmp_path: Path) -> None:
    live = Live(tmp_path, named.port)
    live.key.chmod(0o644)
    live.change(lease(10, 1))
    await live.until(lambda: bool(live.answers))
    assert live.answers[0] == DnsAnswer(1, "BADKEY", "", live.answers[0].detail, (), live.answers[0].elapsed_s)
    assert "chmod 0640" in live.answers[0].detail
    assert live.client.check() == [live.answers[0].detail]
    await live.client.close()
