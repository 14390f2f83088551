"""Names of a dead partner: removed when proven, and only then."""

from __future__ import annotations

import json

import pytest

from failoverd.ddns.guards import guard_candidates
from failoverd.ddns.zone import DnsPlan
from failoverd.leases.lease import BindingState
from failoverd.ports import DnsAnswer, DnsQuery, Output
from tests.ddns.rig import FORWARD, NET, PLAN, REVERSE, ZONES, Rig, lease
from tests.ddns.test_plan import GUARD_1, GUARD_2, H1

CASED = "H1.example.test."
AS_CASED = next(g.text for g in guard_candidates(lease(10, 1).hw, b"", H1, cased=CASED) if g.how == "as-cased")
INTERIM = '"00c4ca78f9cf3717b36cf11b2bb4fc190c"'
ADDRESS = f"{H1} 60 A 192.0.2.10"
POINTER = f"10.{REVERSE} 60 PTR {CASED}"


def dead_partners(*lines: str, plan: DnsPlan = PLAN) -> Rig:
    """What a partner registered, and then died."""
    rig = Rig(plan)
    for line in lines:
        rig.master.zones[REVERSE if "PTR" in line else FORWARD].load([line])
    return rig


def ends(rig: Rig, host: int = 10, client: int = 1, **more: object) -> None:
    """A lease of the partner's ends; the next boot knows it too."""
    out = Output()
    old = lease(host, client, "", partner_cltt=1000).evolve(**more)
    rig.planner.orphaned(old, rig.now, out)
    rig._take(out)


@pytest.mark.parametrize(
    "guard", [f"DHCID {AS_CASED}", f"DHCID {GUARD_1}", f"TXT {INTERIM}"], ids=["as-cased", "canonical", "interim"]
)
def test_a_proven_name_is_removed_with_its_pointer(guard: str) -> None:
    rig = dead_partners(ADDRESS, f"{H1} 60 {guard}", POINTER)
    ends(rig)
    rig.pass_time(5)
    assert rig.zone() == set()
    assert H1 not in rig.master.zones[FORWARD].names, "nor is its guard left"
    assert (rig.rows(), rig.stored, len(rig.planner._seeker)) == ({}, {}, 0)
    assert "ddns-partner-name-proven" in rig.notes


@pytest.mark.parametrize(
    "lines",
    [
        [ADDRESS, f"{H1} 60 DHCID {GUARD_2}", POINTER],  # another client's
        [ADDRESS, POINTER],  # an operator's
        [ADDRESS, f"{H1} 60 DHCID {GUARD_1}", f"{H1} 60 DHCID {GUARD_2}", POINTER],
        [ADDRESS, f"{H1} 60 TXT {INTERIM}", f'{H1} 60 TXT "v=spf1 -all"', POINTER],  # no prerequisite could guard this removal
        [f"10.{REVERSE} 60 PTR h1.elsewhere.test."],
        [POINTER, f"10.{REVERSE} 60 PTR www.example.test."],
        [POINTER],
        [],
    ],
)
def test_what_is_not_proven_stays(lines: list[str]) -> None:
    rig = dead_partners(*lines)
    before = rig.zone()
    ends(rig)
    rig.pass_time(5)
    assert rig.zone() == before
    assert (rig.rows(), rig.stored) == ({}, {})
    assert "ddns-partner-name-unproven" in rig.notes


def test_a_client_that_moved_on_keeps_its_new_address() -> None:
    rig = dead_partners(f"{H1} 60 A 192.0.2.77", f"{H1} 60 DHCID {GUARD_1}", POINTER)
    ends(rig)
    rig.pass_time(5)
    assert rig.zone() == {f"{H1} A 192.0.2.77"}


def test_which_leases_are_looked_at() -> None:
    rig = dead_partners()
    ends(rig, partner_cltt=0)  # the partner never spoke to it
    ends(rig, fqdn=H1)  # its name is known
    ends(rig, hw=b"")
    ends(rig, address=0x0A000001)  # no reverse zone
    assert rig.stored == {}
    ends(rig, state=BindingState.FREE)
    ends(rig)
    assert len(rig.stored) == 1
    assert rig.planner.status(rig.now)["seeking"] == 1


def test_the_next_client_of_the_address_waits_until_the_pointer_was_read() -> None:
    rig = dead_partners(ADDRESS, f"{H1} 60 DHCID {GUARD_1}", POINTER)
    ends(rig)
    rig.change(lease(10, 2, "h2.example.test."))
    rig.due()
    assert not any(m for m in rig.sent if not isinstance(m, DnsQuery) and m.zone == REVERSE)
    rig.pass_time(5)
    assert rig.zone() == {"h2.example.test. A 192.0.2.10", f"10.{REVERSE} PTR h2.example.test."}


def test_a_name_that_somebody_wants_now_is_left_to_its_row() -> None:
    rig = dead_partners(ADDRESS, f"{H1} 60 DHCID {GUARD_1}", POINTER)
    ends(rig)
    rig.change(lease(20, 1, H1))
    rig.pass_time(5)
    assert rig.zone() == {f"{H1} A 192.0.2.20", f"20.{REVERSE} PTR {H1}"}


def test_our_own_pointer_is_not_asked_about() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    ends(rig)
    assert rig.planner.status(rig.now)["seeking"] == 0


def test_it_survives_a_restart_at_any_point() -> None:
    for answers in range(4):
        rig = dead_partners(ADDRESS, f"{H1} 60 DHCID {GUARD_1}", POINTER)
        ends(rig)
        for _ in range(answers):
            rig.mono += 1
            rig.due()
            rig.deliver(rig.master.answer(rig.wire.pop(0)))
        rig.boot(fenced=True)
        rig.pass_time(5)
        assert not rig.wire
        rig.fence(False)
        rig.pass_time(400)
        assert rig.zone() == set()
        assert rig.stored == {}


@pytest.mark.parametrize("rcode", ["TIMEOUT", "SERVFAIL", "REFUSED"])
def test_trouble_is_waited_out(rcode: str) -> None:
    rig = dead_partners(ADDRESS, f"{H1} 60 DHCID {GUARD_1}", POINTER)
    ends(rig)
    rig.answer = lambda message: DnsAnswer(message.ident, rcode, "model")
    rig.pass_time(100)
    assert len(rig.sent) <= 5
    assert ("ddns-server-silent" in rig.notes) == (rcode == "TIMEOUT")
    assert rig.planner.status(rig.now)["seeking"] == 1
    rig.answer = rig.master.answer
    rig.pass_time(130)
    assert rig.zone() == set()
    assert ("ddns-server-back" in rig.notes) == (rcode == "TIMEOUT")


def test_a_held_zone_is_not_asked() -> None:
    rig = dead_partners(POINTER)
    ends(rig)
    rig.planner._shelf.lanes["main", REVERSE].held = "by an operator"
    rig.pass_time(10)
    assert rig.sent == []


def test_no_more_than_fifty_a_second_and_eight_at_once() -> None:
    rig = dead_partners(*(f"{host}.{REVERSE} 60 PTR h{host}.example.test." for host in range(1, 41)))
    for host in range(1, 41):
        ends(rig, host)
    rig.pass_time(0.35)
    assert len(rig.sent) == 20
    rig.answer = lambda message: None
    for _ in range(20):
        rig.mono += 1
        rig.due()
    assert len(rig.wire) == len(rig.planner._seeker._out) == 8
    assert rig.planner._seeker.deadline(rig.now) == float("inf")


def test_a_stray_answer_is_noted() -> None:
    rig = Rig()
    rig.deliver(DnsAnswer(-7, "NOERROR", "model"))
    assert "ddns-stray-answer" in rig.notes


def test_each_target_is_looked_at() -> None:
    plan = DnsPlan((*ZONES, ZONES[1].__class__("other", REVERSE, ZONES[1].primaries, "key")))
    rig = dead_partners(plan=plan)
    ends(rig)
    assert {json.loads(text)["seek"]["target"] for text in rig.stored.values()} == {"main", "other"}


def test_what_had_ended_before_partner_down_is_not_stored() -> None:
    rig = dead_partners(ADDRESS, f"{H1} 60 DHCID {GUARD_1}", POINTER)
    out = Output()
    rig.planner.orphaned(lease(10, 1, "", partner_cltt=1000, state=BindingState.FREE), rig.now, out, again=True)
    assert out.writes == []
    rig.pass_time(5)
    assert rig.zone() == set()


@pytest.mark.parametrize("answers", range(5))
def test_a_lease_that_lives_again_keeps_its_name(answers: int) -> None:
    """It is the partner's again, or the client came back to this server: with each number of answers before that."""
    for back in (True, False):
        rig = dead_partners(ADDRESS, f"{H1} 60 DHCID {GUARD_1}", POINTER)
        ends(rig)
        for _ in range(min(answers, 2)):
            rig.mono += 1
            rig.due()
            rig.deliver(rig.master.answer(rig.wire.pop(0)))
        if answers > 2:
            rig.mono += 1
            rig.due()
        out = Output()
        if back:
            rig.planner.returned(lambda address: address == NET + 10, rig.now, out)
        else:
            rig.planner.revived(lease(10, 1, ""), rig.now, out)
        rig._take(out)
        if answers < 3:
            rig.pass_time(5)
            assert rig.zone() == {f"{H1} A 192.0.2.10", f"10.{REVERSE} PTR {CASED}"}
            assert rig.stored == {}
        else:
            rig.pass_time(400)
            assert rig.stored == {}, "what is out is out"


def test_another_relationship_or_client_does_not_stop_it() -> None:
    rig = dead_partners(ADDRESS, f"{H1} 60 DHCID {GUARD_1}", POINTER)
    for answers in range(3):
        ends(rig)
        for _ in range(answers):
            rig.mono += 1
            rig.due()
            rig.deliver(rig.master.answer(rig.wire.pop(0)))
        out = Output()
        rig.planner.returned(lambda address: address != NET + 10, rig.now, out)
        rig.planner.revived(lease(10, 2, ""), rig.now, out)
        rig.planner.revived(lease(11, 1, ""), rig.now, out)
        assert out.writes == []
        rig.pass_time(5)
        assert rig.zone() == set()
        rig.master.zones[FORWARD].load([ADDRESS, f"{H1} 60 DHCID {GUARD_1}"])
        rig.master.zones[REVERSE].load([POINTER])


def test_the_answer_for_a_lease_that_lives_again_is_not_used() -> None:
    rig = dead_partners(POINTER)
    ends(rig)
    rig.due()
    out = Output()
    rig.planner.revived(lease(10, 1, ""), rig.now, out)
    rig._take(out)
    rig.pass_time(5)
    assert len(rig.sent) == 1
    assert rig.planner.status(rig.now)["seeking"] == 0
