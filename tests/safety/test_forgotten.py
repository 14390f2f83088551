"""Histories in which a server loses what it gave alone, found in review: the other one waits for all of it, in whatever state it met the
loss. `p` is the primary, `s` the secondary."""

from __future__ import annotations

import pytest

from failoverd.failover.message import MessageType
from tests.pair.duo import Duo, kind, lease_s, normal
from tests.safety.test_reunion import copy_of, declared_apart, kept, renewed_at_p


def given_alone_and_lost(duo: Duo, name: str) -> dict[int, float]:
    """What a server in partner-down gives to four clients before it falls and its database is lost, and until when each holds it."""
    assert duo.command(name, "partner-down").code == "ok"
    duo.run(130, 1)
    acks = [duo.dora(name, mac) for mac in range(1, 5)]
    held = {ack.yiaddr: duo.now.wall + lease_s(ack) for ack in acks if ack is not None}
    assert len(held) == 4
    duo.crash(name)
    duo.lose_database(name)
    return held


def nobody_elses(duo: Duo, held: dict[int, float], *names: str) -> None:
    """Forty strangers ask these servers: none gets what another client holds."""
    for mac in range(11, 51):
        duo.run(1)
        for name in names:
            ack = duo.dora(name, mac)
            assert ack is None or held.get(ack.yiaddr, 0) <= duo.now.wall, (name, duo.states())


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("out", ["p", "s"])
def test_a_server_in_maintenance_waits_for_what_its_partner_gave_in_partner_down_and_forgot(out: str, tls: bool) -> None:
    duo = normal(mclt="1m", lease="10m", last=103, tls=tls)
    other = "s" if out == "p" else "p"
    assert duo.command(out, "maintenance-start").code == "ok"
    duo.until(lambda: duo.state(out) == "paused", 10)
    duo.run(2)
    duo.crash(out)
    duo.run(5)
    held = given_alone_and_lost(duo, other)
    duo.start(other)
    duo.start(out)
    duo.until(lambda: duo.state(other) == "recover-wait", 10)
    assert duo.command(out, "maintenance-end").code == "ok"
    nobody_elses(duo, held, out)


def test_a_server_in_maintenance_that_heard_its_partner_recover_declares_nothing_behind_a_cut() -> None:
    """Its partner may have been told partner-down since, and has its addresses then: an operator says it is dead, or brings it back."""
    duo = normal(mclt="1m", lease="10m", last=103)
    duo.given("s", 1)
    assert duo.command("p", "maintenance-start").code == "ok"
    duo.until(lambda: duo.state("p") == "paused", 10)
    duo.run(2)
    duo.crash("s")
    duo.lose_database("s")
    duo.start("s")
    duo.until(lambda: duo.state("s") == "recover-wait", 30)
    duo.cut()
    duo.run(35, 1)
    told = duo.command("p", "maintenance-end")
    assert (told.code, duo.state("p")) == ("refused", "paused")
    assert "failoverctl partner-down fo" in told.message
    duo.heal()
    duo.run(10)
    assert duo.command("p", "maintenance-end").code == "ok"
    duo.until(lambda: duo.states() == ("normal", "normal"), 200)


@pytest.mark.parametrize("tls", [False, True])
def test_a_server_without_its_database_waits_also_when_it_meets_conflict_done(tls: bool) -> None:
    duo = normal(mclt="1m", lease="10m", last=103, tls=tls)
    declared_apart(duo)
    duo.until(lambda: duo.state("p") == "conflict-done", 30)
    duo.crash("p")
    duo.run(2)
    held = given_alone_and_lost(duo, "s")
    duo.start("p")
    duo.start("s")
    nobody_elses(duo, held, "p", "s")
    duo.until(lambda: duo.states() == ("normal", "normal"), 60)


def test_what_a_lost_renewal_may_hold_rests_also_where_the_survivor_was_in_conflict_done() -> None:
    duo = normal(mclt="1m", lease="10m", last=101)
    x = renewed_at_p(duo)
    declared_apart(duo)
    duo.until(lambda: duo.state("p") == "conflict-done", 30)
    duo.crash("p")
    duo.run(2)
    assert duo.command("s", "partner-down").code == "ok"
    duo.run(500, 5)
    assert kind(duo.renew("s", 1, x)) == "ack"
    held_until = duo.lease("s", x).ends
    duo.crash("s")
    duo.lose_database("s")
    duo.start("p")
    duo.start("s")
    duo.run(5)
    assert duo.lease("p", x).ends < held_until
    assert duo.lease("p", x).not_before >= held_until
    duo.until(lambda: duo.states() == ("normal", "normal"), 100)


@pytest.mark.parametrize("tls", [False, True])
def test_a_server_without_its_database_waits_also_when_its_partner_was_in_a_conflict(tls: bool) -> None:
    """p in resolution-interrupted comes back while s has been in recover for a while, and says so once."""
    duo = normal(mclt="1m", lease="10m", last=103, tls=tls)
    declared_apart(duo)
    duo.until(lambda: bool(duo._links))
    kept(duo, "s", MessageType.UPDDONE)
    duo.until(lambda: duo.state("p") == "potential-conflict", 10)
    duo.cut()
    duo.until(lambda: duo.state("p") == "resolution-interrupted", 90)
    duo.hold_bytes = lambda who, data: False
    duo.crash("p")
    duo.heal()
    duo.run(2)
    held = given_alone_and_lost(duo, "s")
    duo.start("s")
    duo.run(20)
    duo.start("p")
    nobody_elses(duo, held, "p", "s")
    duo.until(lambda: duo.states() == ("normal", "normal"), 60)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("old", ["p", "s"])
def test_two_copies_of_different_age_end_no_lease_that_the_younger_holds(old: str, tls: bool) -> None:
    """Both are put back: `old` to a copy of before the grants, the other to one of after them, when both had agreed."""
    duo = normal(mclt="1m", lease="10m", last=139, tls=tls)
    early = copy_of(duo.disks[old])
    new = "s" if old == "p" else "p"
    macs = range(1, 21)
    given = {mac: duo.given(old, mac) for mac in macs}
    duo.run(2)
    assert all(kind(duo.renew(old, mac, x)) == "ack" for mac, x in given.items())
    held_until = duo.now.wall + 599
    duo.run(2)
    assert all(duo.lease(new, x).acked > held_until for x in given.values())
    late = copy_of(duo.disks[new])
    duo.crash("p")
    duo.crash("s")
    duo.run(60, 1)
    duo.disks[old], duo.disks[new] = early, late
    duo.start("p", rollback="1")
    duo.start("s", rollback="1")
    duo.until(lambda: duo.states() == ("normal", "normal"), 200)
    duo.run(2)
    twice = set()
    for mac in range(101, 141):
        for name in ("p", "s"):
            ack = duo.dora(name, mac)
            if ack is not None and ack.yiaddr in given.values() and duo.now.wall < held_until:
                twice.add((name, ack.yiaddr & 255))
    naks = [mac for mac, x in given.items() if kind(duo.renew(new, mac, x)) != "ack"]
    assert (twice, naks) == (set(), []), duo.now.wall


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("met", ["conflict-done", "resolution-interrupted"])
def test_an_old_copy_takes_no_running_lease_from_a_survivor_of_a_conflict(met: str, tls: bool) -> None:
    duo = normal(mclt="1m", lease="10m", last=179, tls=tls)  # .100 to .179
    before = {mac: duo.given("s", mac) for mac in range(1, 6)}
    duo.run(2)
    early = copy_of(duo.disks["s"])
    duo.run(700, 1)  # those have ended, and every address goes to somebody else, twice acknowledged
    held: dict[int, int] = {}
    for mac in range(101, 181):
        ack = next(ack for ack in (duo.dora("p", mac), duo.dora("s", mac)) if kind(ack) == "ack")
        held[mac] = ack.yiaddr
    duo.run(2)
    assert all(kind(duo.renew("p", mac, x)) == "ack" for mac, x in held.items())
    until = duo.now.wall + 599
    duo.run(3)
    declared_apart(duo)
    if met == "resolution-interrupted":
        duo.until(lambda: bool(duo._links))
        kept(duo, "s", MessageType.UPDDONE)
        duo.until(lambda: duo.state("p") == "potential-conflict", 10)
        duo.cut()
    duo.until(lambda: duo.state("p") == met, 90)
    duo.crash("s")
    duo.hold_bytes = lambda who, data: False
    duo.heal()
    duo.disks["s"] = early
    duo.start("s", rollback="1")
    duo.until(lambda: duo.states() == ("normal", "normal"), 200)
    duo.run(1)
    assert duo.now.wall < until
    twice = [x & 255 for mac, x in before.items() if kind(duo.renew("p", mac, x)) == "ack"]  # a client of before comes back
    lost = [mac for mac, x in held.items() if kind(duo.renew("p", mac, x)) != "ack"]
    assert (twice, lost) == ([], [])


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("p_recovers", [False, True])
def test_what_an_old_copy_still_owes_takes_no_running_lease(p_recovers: bool, tls: bool) -> None:
    """s gave x behind a cut, and was copied; p was told, x ended, and p gave it to another. The copy does not know that x was told."""
    duo = normal(mclt="1m", lease="10m", last=101, tls=tls)
    duo.cut()
    duo.run(35, 1)
    x = duo.given("s", 1)
    duo.run(1)
    early = copy_of(duo.disks["s"])
    duo.heal()
    duo.until(lambda: duo.states() == ("normal", "normal"), 60)
    duo.run(200, 1)
    acks = [ack for mac in (2, 3) for name in ("p", "s") if kind(ack := duo.dora(name, mac)) == "ack"]
    assert x in [ack.yiaddr for ack in acks if ack is not None]
    duo.run(2)
    holder = 2 if duo.lease("p", x).hw.endswith(bytes([2])) else 3
    assert kind(duo.renew("p", holder, x)) == "ack"
    duo.run(2)
    if p_recovers:
        assert duo.command("p", "recover").code == "ok"
        duo.run(2)
    duo.crash("s")
    duo.disks["s"] = early
    duo.start("s", rollback="1")
    duo.until(lambda: duo.states() == ("normal", "normal"), 200)
    assert duo.lease("p", x).hw.endswith(bytes([holder]))
    assert kind(duo.renew("p", 1, x)) != "ack"
    assert kind(duo.renew("p", holder, x)) == "ack"
