"""Out of service and back, recover, balance on demand: what both servers do, what is refused, and what clients see."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from failoverd.failover.maintenance import DRAIN_S
from failoverd.leases.lease import BindingState
from tests.pair.duo import Duo, kind, lease_s, normal


def body(duo: Duo, name: str, verb: str, **args: str) -> dict[str, Any]:
    reply = duo.command(name, verb, **args)
    assert reply.code == "ok", reply
    return cast("dict[str, Any]", reply.body)


def refusal(duo: Duo, name: str, verb: str) -> str:
    before = len(duo.disks[name].log)
    for args in ({"dry_run": "1"}, {}):
        reply = duo.command(name, verb, **args)
        assert (reply.code, reply.body) == ("refused", None), reply
    assert all(write.kind != "event" for write in duo.disks[name].log[before:]), "a refusal changes nothing"
    return reply.message


def both_normal(duo: Duo, within_s: float = 30) -> float:
    return duo.until(lambda: duo.states() == ("normal", "normal"), within_s)


@pytest.mark.parametrize("name", ["p", "s"])
def test_maintenance_with_a_failoverd_counts_no_wait_and_loses_nobody(name: str) -> None:
    duo = normal()
    other = "s" if name == "p" else "p"
    acks = {mac: duo.dora(name, mac) for mac in range(4)}
    epochs = [node.endpoints["fo"].record.epoch for node in duo.nodes.values()]
    preview = body(duo, name, "maintenance-start", dry_run="1")
    assert preview["done"] is False
    assert any("paused" in line for line in preview["consequences"])
    assert duo.states() == ("normal", "normal"), "a preview changes nothing"
    assert body(duo, name, "maintenance-start")["done"] is True
    duo.until(lambda: duo.state(name) == "paused", 5)
    duo.settle()
    assert duo.nodes[name].endpoints["fo"].updates.owed == 0
    assert duo.state(other) == "communications-interrupted"
    assert kind(duo.discover(name, 77, secs=10)) == "silence"
    assert duo.noted(name, "out-of-service")
    assert kind(duo.dora(other, 77)) == "ack"
    for mac, ack in acks.items():
        assert ack is not None
        assert kind(duo.renew(other, mac, ack.yiaddr)) == "ack"
    again = duo.command(name, "maintenance-start")
    assert (again.code, "out of service already" in again.message) == ("ok", True)
    duo.crash(name)  # the host is rebooted
    duo.run(120, 1)
    duo.start(name)
    duo.run(60, 1)
    assert (duo.state(name), duo.state(other)) == ("paused", "communications-interrupted"), "a reboot does not bring it back"
    assert body(duo, name, "maintenance-end")["done"] is True
    both_normal(duo)
    assert [node.endpoints["fo"].record.epoch for node in duo.nodes.values()] == epochs, "nobody was declared down"
    duo.settle()
    assert duo.lease("p", acks[0].yiaddr).client == duo.lease("s", acks[0].yiaddr).client  # type: ignore[union-attr]
    assert duo.command(name, "maintenance-end").message.startswith("this server is not out of service")
    what = [event["what"] for event in duo.disks[name].events]
    assert [each for each in what if "maintenance" in str(each) or "paused" in str(each)] == [
        "maintenance start",
        "normal -> paused",
        "startup -> paused",
        "maintenance end",
        "paused -> startup",
    ]


def test_maintenance_ends_without_a_restart() -> None:
    duo = normal()
    duo.command("p", "maintenance-start")
    duo.until(lambda: duo.state("p") == "paused", 5)
    duo.run(300, 1)
    duo.command("p", "maintenance-end")
    assert both_normal(duo) < 10


def test_a_promise_made_just_before_reaches_the_partner_before_paused_does() -> None:
    duo = normal()
    x = duo.given("p", 1)
    duo.hold_bytes = lambda sender, data: sender == "s" and data[2] == 4  # no BNDACK
    assert duo.renew("p", 1, x) is not None
    duo.command("p", "maintenance-start")
    duo.run(5)
    assert duo.state("p") == "normal"
    assert kind(duo.discover("p", 9, secs=10)) == "silence", "nothing new is promised while it drains"
    duo.run(DRAIN_S)
    assert duo.noted("p", "maintenance-given-up") == 1
    assert kind(duo.discover("p", 9, secs=10)) == "offer", "it serves again"
    assert "maintenance given up, serving again" in [event["what"] for event in duo.disks["p"].events]


def test_a_partner_that_goes_away_while_it_drains_leaves_nobody_without_a_server() -> None:
    duo = normal()
    x = duo.given("p", 1)
    duo.hold_bytes = lambda sender, data: True
    assert duo.renew("p", 1, x) is not None
    duo.command("p", "maintenance-start")
    duo.crash("s")
    duo.settle()
    assert (duo.state("p"), kind(duo.dora("p", 5))) == ("communications-interrupted", "ack")


def test_an_order_is_taken_back_while_it_drains() -> None:
    duo = normal()
    x = duo.given("p", 1)
    duo.hold_bytes = lambda sender, data: sender == "s" and data[2] == 4
    duo.renew("p", 1, x)
    duo.command("p", "maintenance-start")
    assert body(duo, "p", "maintenance-end")["done"] is True
    assert kind(duo.discover("p", 9, secs=10)) == "offer"


def test_a_partner_declared_down_during_maintenance_is_recovered_from() -> None:
    """It was rebooted and its link cut; the operator of the other side gave up on it: it comes back through recover, as safety.md 12."""
    duo = normal()
    duo.command("s", "maintenance-start")
    duo.until(lambda: duo.state("s") == "paused", 5)
    duo.crash("s")
    duo.tick()
    assert duo.command("p", "partner-down").code == "ok"
    duo.run(900, 5)
    third = {ack.yiaddr for mac in range(100, 160) if (ack := duo.dora("p", mac)) is not None}
    assert len(third) == 60, "the partner's half as well"
    duo.start("s")
    duo.settle()
    duo.command("s", "maintenance-end")
    duo.until(lambda: duo.state("s").startswith("recover"), 20)
    both_normal(duo, 1500)
    assert all(duo.lease("s", address).state is BindingState.ACTIVE for address in third)


def test_a_partner_that_lost_its_database_during_maintenance_rests_every_lease() -> None:
    """safety.md 15 holds although this server was paused when it heard recover."""
    duo = normal()
    x = duo.given("p", 1)
    duo.settle()
    duo.command("p", "maintenance-start")
    duo.until(lambda: duo.state("p") == "paused", 5)
    duo.crash("s")
    duo.lose_database("s")
    duo.start("s")
    duo.run(30)
    duo.command("p", "maintenance-end")
    both_normal(duo, 1500)
    assert duo.noted("p", "partner-lost-its-database") == 1
    for name in ("p", "s"):
        assert duo.lease(name, x).not_before > duo.now.wall


def test_auto_partner_down_waits_for_a_partner_in_maintenance() -> None:
    duo = normal(edits=[('"10.0.0.1", port = 647 }', '"10.0.0.1", port = 647, auto-partner-down = "60s" }')])
    duo.command("s", "maintenance-start")
    duo.until(lambda: duo.state("s") == "paused", 5)
    duo.crash("s")
    duo.run(300, 1)
    assert duo.state("p") == "communications-interrupted"
    warned = cast("list[str]", duo.nodes["p"].status(duo.now)["warnings"])
    assert any("out of service by an operator" in text for text in warned)
    assert not any("if it is dead" in text for text in warned)


def test_without_contact_the_way_back_is_bounded() -> None:
    """safety.md 11: the partner may have been declared alone, or declared us down, and nobody can say."""
    duo = normal()
    duo.command("p", "maintenance-start")
    duo.until(lambda: duo.state("p") == "paused", 5)
    duo.cut()
    duo.run(700, 5)
    duo.command("p", "maintenance-end")
    duo.until(lambda: duo.state("p") == "communications-interrupted", 30)
    assert duo.nodes["p"].endpoints["fo"].doubt is not None
    assert kind(duo.dora("p", 5)) == "silence"


def test_towards_dhcpd_it_says_shutdown_and_comes_back_through_recover() -> None:
    duo = normal()
    endpoint = duo.nodes["p"].endpoints["fo"]
    endpoint.terms = replace(endpoint.terms, partner_is_dhcpd=True)
    assert any("shutdown" in line for line in body(duo, "p", "maintenance-start", dry_run="1")["consequences"])
    duo.command("p", "maintenance-start")
    duo.until(lambda: duo.states() == ("shutdown", "partner-down"), 5)
    assert any(data[2] == 10 and b"\x00\x18\x00\x01\x08" in data for sender, data in duo.wire if sender == "p")
    duo.run(700, 5)
    assert kind(duo.dora("s", 5)) == "ack"
    assert any("takes everything" in line for line in body(duo, "p", "maintenance-end", dry_run="1")["consequences"])
    duo.command("p", "maintenance-end")
    both_normal(duo, 60)


def test_the_way_back_from_shutdown_waits_for_what_was_promised_last() -> None:
    """safety.md 14: MCLT after the newest promise."""
    duo = normal()
    endpoint = duo.nodes["p"].endpoints["fo"]
    endpoint.terms = replace(endpoint.terms, partner_is_dhcpd=True)
    duo.dora("p", 1)
    last = duo.now.wall
    duo.command("p", "maintenance-start")
    duo.until(lambda: duo.state("p") == "shutdown", 5)
    duo.command("p", "maintenance-end")
    duo.until(lambda: duo.state("p") == "recover-wait", 20)
    both_normal(duo, 700)
    assert duo.now.wall - last >= 599  # whole seconds


def test_maintenance_is_refused_when_nobody_else_would_serve() -> None:
    duo = normal()
    duo.crash("s")
    duo.settle()
    assert "both servers in normal" in refusal(duo, "p", "maintenance-start")
    duo.start("s")
    both_normal(duo)
    duo.command("s", "maintenance-start")
    duo.until(lambda: duo.state("s") == "paused", 5)
    duo.settle()
    assert "paused" in refusal(duo, "p", "maintenance-start")


def test_recover_takes_everything_from_the_partner_anew() -> None:
    duo = normal()
    acks = [duo.dora("s", mac) for mac in range(3)]
    duo.run(30)
    for mac, ack in enumerate(acks):
        assert lease_s(duo.renew("s", mac, ack.yiaddr) or ack) == 3600  # type: ignore[union-attr]
    duo.settle()
    said = body(duo, "p", "recover", dry_run="1")["consequences"]
    assert any("600 s (the MCLT)" in line for line in said)
    assert duo.states() == ("normal", "normal")
    began = duo.now.wall
    body(duo, "p", "recover")
    duo.until(lambda: duo.states() == ("recover-wait", "partner-down"), 20)
    assert kind(duo.discover("p", 9, secs=10)) == "silence"
    assert kind(duo.dora("s", 9)) == "ack"
    assert duo.command("p", "recover").message.startswith("recovering already")
    both_normal(duo, 700)
    assert duo.now.wall - began >= 599  # whole seconds
    for ack in acks:
        assert ack is not None
        assert duo.lease("p", ack.yiaddr).state is BindingState.ACTIVE
    told = [(event["what"], event["who"]) for event in duo.disks["p"].events]
    assert ("recover", "root") in told
    assert ("normal -> recover", "root") in told


def test_recover_is_refused_where_it_helps_nobody() -> None:
    duo = normal()
    duo.crash("s")
    duo.settle()
    assert "if it is dead: failoverctl partner-down fo" in refusal(duo, "p", "recover")
    duo.command("p", "partner-down")
    assert "nobody but it knows" in refusal(duo, "p", "recover")
    duo.start("s")
    both_normal(duo, 1500)
    duo.command("s", "maintenance-start")
    duo.until(lambda: duo.state("s") == "paused", 5)
    duo.settle()
    assert "maintenance end" in refusal(duo, "s", "recover")
    assert "nobody would serve" in refusal(duo, "p", "recover")


def test_balance_on_demand() -> None:
    duo = normal(edits=[("min-balance =", "max-lease-misbalance = 90\nmin-balance =")])
    got = [ack.yiaddr for mac in range(40) if (ack := duo.dora("p", mac)) is not None]
    assert len(got) == 40
    duo.settle()
    halves = [
        duo.nodes["p"].table.pools["10.0.0.100-10.0.0.199"].count(state) for state in (BindingState.FREE, BindingState.BACKUP)
    ]
    assert halves == [10, 50]
    said = body(duo, "p", "pool-rebalance", dry_run="1")
    assert said["consequences"] == ["10.0.0.100-10.0.0.199: 10 free here, 50 at the partner: the partner is asked for up to 20"]
    reply = duo.command("p", "pool-rebalance")
    assert (reply.code, reply.message) == ("ok", "the partner was asked for addresses")
    duo.settle()
    halves = [
        duo.nodes["p"].table.pools["10.0.0.100-10.0.0.199"].count(state) for state in (BindingState.FREE, BindingState.BACKUP)
    ]
    assert halves == [30, 30]
    assert duo.command("p", "pool-rebalance").message == "every pool is level"
    duo.crash("s")
    duo.settle()
    assert "two servers in normal" in refusal(duo, "p", "pool-rebalance")


def test_the_first_lease_after_maintenance_is_as_long_as_before() -> None:
    """Nobody pays for a planned reboot: what was acked counts (failover-protocol.md 7.1)."""
    duo = normal()
    ack = duo.dora("p", 1)
    assert ack is not None
    duo.run(30)
    assert lease_s(duo.renew("p", 1, ack.yiaddr) or ack) == 3600
    duo.run(5)
    duo.command("p", "maintenance-start")
    duo.until(lambda: duo.state("p") == "paused", 5)
    duo.command("p", "maintenance-end")
    both_normal(duo)
    assert lease_s(duo.renew("p", 1, ack.yiaddr) or ack) == 3600
