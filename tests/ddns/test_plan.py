"""Every branch of the planner, against the model."""

from __future__ import annotations

import json

import pytest

from failoverd.ddns.names import reverse_of
from failoverd.ddns.rows import ME, PEER, Row, State, Value
from failoverd.ddns.shelf import LAST_COPY_S, Shelf
from failoverd.ddns.steps import MODES, PREREQUISITE_RCODES, TABLE, Step, Then
from failoverd.ddns.zone import DnsPlan, Zone
from failoverd.leases.lease import NEVER, BindingState
from failoverd.ports import Change, DnsAnswer, DnsQuery, DnsUpdate, Origin, Output, Prereq
from tests.ddns.rig import FORWARD, PLAN, PRIMARY, REVERSE, ZONES, Rig, lease

H1 = "h1.example.test."
GUARD_1 = "AAABvxIluG2wQ7EBHGcWNdrYI3b2dkEnY4saSqDo+/jdt1A="
GUARD_2 = "AAABh7oMmmt4ZyApyWHk2eQbS5y/Pgifpgk4sXUtKEtPgYc="


def ops(message: DnsUpdate | DnsQuery) -> str:
    if isinstance(message, DnsQuery):
        return "query"
    return " ".join([*(f"{p.op}" for p in message.prereqs), "|", *(f"{c.op}:{c.rtype}" for c in message.changes)])


# --- tables -----------------------------------------------------------------------------------------------------------


def test_the_table_is_total() -> None:
    assert set(TABLE) == {(step, rcode) for step in Step for rcode in PREREQUISITE_RCODES}


def test_every_step_can_come_to_an_end() -> None:
    ends = {Then.APPLIED, Then.REMOVED, Then.JUDGE, Then.NEXT_DROP}
    assert all(TABLE[step, "NOERROR"] in ends or TABLE[step, "NOERROR"] is Step.REM2 for step in Step)


# --- forward and reverse ----------------------------------------------------------------------------------------------


def test_new_lease_forward_then_reverse() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    assert {row.state for row in rig.rows().values()} == {State.DIRTY}
    rig.due()
    assert [ops(m) for m in rig.wire] == ["nxdomain | add:A add:DHCID"]
    message = rig.wire.pop(0)
    assert isinstance(message, DnsUpdate)
    assert message.changes == (
        Change("add", H1, "A", "192.0.2.10", 1200),
        Change("add", H1, "DHCID", GUARD_1, 1200),
    )
    rig.deliver(rig.master.answer(message))
    rig.run()
    assert ops(rig.sent[-1]) == "nxrrset | del-rrset:PTR add:PTR"
    assert rig.zone() == {f"{H1} A 192.0.2.10", f"10.{REVERSE} PTR {H1}"}
    assert {row.state for row in rig.rows().values()} == {State.CLEAN}
    assert rig.planner.deadline(rig.now) == float("inf")


def test_renewal_sends_nothing() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    count, stored = len(rig.sent), dict(rig.stored)
    rig.change(lease(10, 1, cltt=2000, starts=1000, ends=2000 + 3600))
    rig.change(lease(10, 1, cltt=3000, starts=1000, ends=3000 + 2600))
    rig.run()
    assert len(rig.sent) == count
    assert rig.stored == stored


def test_replace_keeps_the_name() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    rig.change(lease(20, 1))
    rig.run()
    assert rig.zone() == {f"{H1} A 192.0.2.20", f"20.{REVERSE} PTR {H1}"}
    assert "yxdomain yxrrset | del-rrset:A add:A" in [ops(m) for m in rig.sent]
    rig.free(20)
    rig.run()
    assert rig.zone() == {f"{H1} A 192.0.2.10", f"10.{REVERSE} PTR {H1}"}, "the older live lease still wants the name"


def test_removal_leaves_nothing_and_no_row() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    rig.free(10)
    rig.run()
    assert rig.zone() == set()
    assert rig.rows() == {}
    assert rig.stored == {}
    assert "yxrrset yxrrset nxrrset | del-rr:A del-rr:DHCID" in [ops(m) for m in rig.sent]


def test_rename() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    rig.change(lease(10, 1, "new.example.test."))
    rig.run()
    assert rig.zone() == {"new.example.test. A 192.0.2.10", f"10.{REVERSE} PTR new.example.test."}
    assert {name for _, name in rig.rows()} == {"new.example.test.", f"10.{REVERSE}"}


def test_address_goes_to_another_client() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    rig.change(lease(10, 2, "b.example.test."))
    rig.run()
    assert rig.zone() == {"b.example.test. A 192.0.2.10", f"10.{REVERSE} PTR b.example.test."}


def test_name_goes_to_another_client() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    rig.free(10)
    rig.change(lease(20, 2))
    rig.run()
    assert rig.zone() == {f"{H1} A 192.0.2.20", f"20.{REVERSE} PTR {H1}"}
    assert rig.master.zones[FORWARD].rrset(H1, "DHCID").data == {GUARD_2: GUARD_2}  # type: ignore[union-attr]


def test_two_clients_want_one_name() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.change(lease(20, 2))
    rig.run()
    assert "ddns-name-taken" in rig.notes
    assert rig.zone() == {f"{H1} A 192.0.2.10", f"10.{REVERSE} PTR {H1}"}
    rig.free(10)
    rig.run()
    assert rig.zone() == {f"{H1} A 192.0.2.20", f"20.{REVERSE} PTR {H1}"}


def test_ten_changes_in_an_outage_leave_one_message() -> None:
    rig = Rig()
    rig.fence(True)
    for number in range(10):
        rig.change(lease(10 + number, 1))
        rig.free(10 + number)
    rig.change(lease(30, 1))
    rig.fence(False)
    rig.run()
    assert len(rig.sent) == 2


def test_back_and_forth_leaves_no_message() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    count = len(rig.sent)
    rig.fence(True)
    rig.free(10)
    rig.change(lease(10, 1))
    rig.fence(False)
    rig.run()
    assert len(rig.sent) == count
    assert {row.state for row in rig.rows().values()} == {State.CLEAN}


def test_no_zone_is_named() -> None:
    rig = Rig(DnsPlan((ZONES[0],)))
    rig.change(lease(10, 1, "h1.other.test."))
    assert rig.notes.count("ddns-no-zone") == 1
    assert rig.rows() == {}


def test_only_reverse_zone_is_ours() -> None:
    rig = Rig(DnsPlan((ZONES[1],)))
    rig.change(lease(10, 1, "h1.other.test."))
    rig.run()
    assert rig.zone() == {f"10.{REVERSE} PTR h1.other.test."}


def test_ttl_follows_the_lease_length_only_when_it_halves() -> None:
    rig = Rig()
    rig.change(lease(10, 1, ends=1000 + 9000))
    rig.run()
    row = rig.rows()["fwd", H1]
    assert row.have == (Value("A", "192.0.2.10", 3000),)
    for length, ttl in ((6000, 3000), (20000, 3000), (4200, 1400), (30, 600)):
        rig.change(lease(10, 1, ends=1000 + length))
        rig.run()
        assert rig.rows()["fwd", H1].have == (Value("A", "192.0.2.10", ttl),)
    fixed = Rig(DnsPlan(ZONES, ttl_s=77))
    fixed.change(lease(10, 1))
    fixed.run()
    assert fixed.rows()["fwd", H1].have[0].ttl == 77
    forever = Rig()
    forever.change(lease(10, 1, ends=NEVER))
    assert forever.rows()["fwd", H1].want[0].ttl == 3600


# --- answers ----------------------------------------------------------------------------------------------------------


def test_lost_reply_heals() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.due()
    message = rig.wire[0]
    assert isinstance(message, DnsUpdate)
    rig.master.update(message)
    rig.say("TIMEOUT")
    rig.run()
    assert ops(rig.sent[1]) == "yxdomain yxrrset | del-rrset:A add:A"
    assert rig.zone() == {f"{H1} A 192.0.2.10", f"10.{REVERSE} PTR {H1}"}


def test_lost_message_is_added_again() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.due()
    rig.say("TIMEOUT")
    rig.run()
    assert [ops(m) for m in rig.sent[1:3]] == ["yxdomain yxrrset | del-rrset:A add:A", "nxdomain | add:A add:DHCID"]


def test_a_late_copy_does_not_have_the_last_word() -> None:
    """The add sits in a queue; the lease ends; the removal finds nothing; then the add is applied."""
    rig = Rig()
    rig.change(lease(10, 1))
    rig.due()
    late = rig.wire[0]
    assert isinstance(late, DnsUpdate)
    rig.say("TIMEOUT")
    rig.free(10)
    rig.run()
    assert rig.zone() == set()
    assert rig.rows()["fwd", H1].state is State.CLEAN
    rig.master.update(late)
    assert rig.zone() == {f"{H1} A 192.0.2.10"}
    rig.boot()
    rig.pass_time(302)
    assert rig.zone() == set()
    assert rig.rows() == {}


def test_a_late_replace_does_not_have_the_last_word() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    rig.change(lease(20, 1))
    rig.due()
    late = next(m for m in rig.wire if m.zone == FORWARD)
    for message in list(rig.wire):
        rig.wire.remove(message)
        rig.deliver(DnsAnswer(message.ident, "TIMEOUT", "model"))
    rig.change(lease(30, 1))
    rig.run()
    assert isinstance(late, DnsUpdate)
    assert rig.master.update(late) == "NOERROR"
    assert f"{H1} A 192.0.2.20" in rig.zone()
    rig.pass_time(310)
    assert rig.zone() == {f"{H1} A 192.0.2.30", f"30.{REVERSE} PTR {H1}"}


def test_conflict_with_another_client() -> None:
    rig = Rig()
    rig.master.zones[FORWARD].load([f"{H1} 60 A 192.0.2.99", f"{H1} 60 DHCID {GUARD_2}"])
    rig.change(lease(10, 1))
    rig.run()
    assert [ops(m) for m in rig.sent] == ["nxdomain | add:A add:DHCID", "yxdomain yxrrset | del-rrset:A add:A", "query"]
    rows = rig.rows()
    assert rows["fwd", H1].state is State.CONFLICT
    assert rows["rev", f"10.{REVERSE}"].state is State.HELD, "a conflict loser gets no PTR to another host"
    assert rig.zone() == {f"{H1} A 192.0.2.99"}
    assert "ddns-conflict" in rig.notes
    rig.master.zones[FORWARD].take(H1, "A")
    rig.master.zones[FORWARD].take(H1, "DHCID")
    rig.pass_time(3601)
    assert rig.zone() == {f"{H1} A 192.0.2.10", f"10.{REVERSE} PTR {H1}"}


def test_conflict_is_tried_again_at_a_renewal_but_not_more_than_once_a_minute() -> None:
    rig = Rig()
    rig.master.zones[FORWARD].load([f"{H1} 60 A 192.0.2.99"])
    rig.change(lease(10, 1))
    rig.run()
    count = len(rig.sent)
    rig.change(lease(10, 1, cltt=1001))
    rig.run()
    assert len(rig.sent) == count
    rig.pass_time(61)
    rig.change(lease(10, 1, cltt=1002))
    rig.run()
    assert len(rig.sent) == count + 3


def test_conflict_ends_with_the_lease() -> None:
    rig = Rig()
    rig.master.zones[FORWARD].load([f"{H1} 60 A 192.0.2.99"])
    rig.change(lease(10, 1))
    rig.run()
    count = len(rig.sent)
    rig.free(10)
    rig.run()
    assert len(rig.sent) == count
    assert rig.rows() == {}
    assert rig.zone() == {f"{H1} A 192.0.2.99"}


def test_a_name_with_only_an_operators_txt_is_claimed() -> None:
    rig = Rig()
    rig.master.zones[FORWARD].load([f'{H1} 60 TXT "rack 7"'])
    rig.change(lease(10, 1))
    rig.run()
    assert f"{H1} A 192.0.2.10" in rig.zone()
    assert ops(rig.sent[3]) == "yxdomain nxrrset nxrrset nxrrset nxrrset | add:A add:DHCID"
    rig.free(10)
    rig.run()
    assert rig.zone() == {f'{H1} TXT "rack 7"'}


def test_a_claim_that_is_raced_probes_again() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.due()
    for rcode in ("YXDOMAIN", "NXRRSET", "NOERROR", "YXRRSET"):
        rig.say(rcode)
    assert ops(rig.wire[0]) == "query"
    rig.say("NXDOMAIN")
    assert ops(rig.wire[0]) == "nxdomain | add:A add:DHCID"
    rig.say("YXDOMAIN")
    rig.say("NXRRSET")
    assert rig.rows()["fwd", H1].state is State.INFLIGHT
    rig.say("NOERROR", records=(("DHCID", GUARD_1),))
    assert rig.rows()["fwd", H1].state is State.DIRTY, "a round has an end"


def test_blocked_by_a_cname() -> None:
    rig = Rig()
    rig.master.zones[FORWARD].load([f"{H1} 60 CNAME www.example.test."])
    rig.master.zones[REVERSE].load([f"20.{REVERSE} 60 CNAME x.example.test."])
    rig.change(lease(10, 1))
    rig.change(lease(20, 2, "h2.example.test."))
    rig.run()
    rows = rig.rows()
    assert rows["fwd", H1].state is State.BLOCKED
    assert rows["rev", f"20.{REVERSE}"].state is State.BLOCKED
    assert rig.notes.count("ddns-blocked") == 2


def test_the_zone_names_another_client_of_ours() -> None:
    """After a lost database: the name stands under the second client's DHCID."""
    rig = Rig()
    rig.master.zones[FORWARD].load([f"{H1} 60 A 192.0.2.20", f"{H1} 60 DHCID {GUARD_2}"])
    rig.change(lease(10, 1))
    rig.change(lease(20, 2))
    rig.run()
    assert rig.zone() == {f"{H1} A 192.0.2.20", f"20.{REVERSE} PTR {H1}"}
    assert rig.rows()["fwd", H1].guard == GUARD_2


def test_removal_when_the_client_has_ipv6_there() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    rig.master.zones[FORWARD].load([f"{H1} 60 AAAA 2001:db8::10"])
    rig.free(10)
    rig.run()
    assert rig.zone() == {f"{H1} AAAA 2001:db8::10"}
    assert rig.master.zones[FORWARD].rrset(H1, "DHCID") is not None
    assert rig.rows() == {}


def test_removal_of_several_addresses() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    rig.change(lease(20, 1))
    rig.due()
    for message in list(rig.wire):
        rig.wire.remove(message)
        if message.zone == FORWARD:
            rig.deliver(DnsAnswer(message.ident, "TIMEOUT", "model"))
        else:
            rig.deliver(rig.master.answer(message))
    rig.free(10)
    rig.free(20)
    rig.run()
    assert "yxrrset | del-rr:A del-rr:A" in [ops(m) for m in rig.sent]
    assert rig.zone() == set()


def test_late_ptr_removal_leaves_the_next_clients_pointer() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    rig.master.zones[REVERSE].take(f"10.{REVERSE}", "PTR")
    rig.master.zones[REVERSE].load([f"10.{REVERSE} 60 PTR other.example.test."])
    rig.free(10)
    rig.run()
    assert rig.zone() == {f"10.{REVERSE} PTR other.example.test."}
    assert rig.rows() == {}


def test_an_answer_that_cannot_be_is_tried_later() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.due()
    rig.say("NXRRSET")
    assert "ddns-odd-answer" in rig.notes
    assert rig.planner.deadline(rig.now) > rig.mono
    rig.due()
    rig.wire.clear()
    rig.pass_time(3)
    assert f"{H1} A 192.0.2.10" in rig.zone()


def test_stray_answer() -> None:
    rig = Rig()
    rig.deliver(DnsAnswer(99, "NOERROR", "model"))
    assert rig.notes[-1] == "ddns-stray-answer"


def test_dead_after_three_and_alive_when_wanted_again() -> None:
    rig = Rig()
    rig.answer = lambda m: DnsAnswer(m.ident, "NOTZONE", "model")
    rig.change(lease(10, 1))
    rig.pass_time(1000)
    row = rig.rows()["fwd", H1]
    assert (row.state, len(rig.sent)) == (State.DEAD, 3)
    assert "ddns-dead" in rig.notes
    rig.answer = rig.master.answer
    rig.change(lease(20, 1))
    rig.run()
    assert f"{H1} A 192.0.2.20" in rig.zone()


def test_a_change_while_a_message_is_out() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.due()
    rig.change(lease(20, 1))
    assert len([m for m in rig.wire if m.zone == FORWARD]) == 1, "one message for a name"
    while rig.wire:
        rig.deliver(rig.master.answer(rig.wire.pop(0)))
    rig.run()
    assert rig.zone() == {f"{H1} A 192.0.2.20", f"20.{REVERSE} PTR {H1}"}


def test_the_lease_ends_while_the_add_is_out() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.due()
    rig.free(10)
    rig.change(lease(20, 2))
    while rig.wire:
        rig.deliver(rig.master.answer(rig.wire.pop(0)))
    rig.run()
    assert rig.zone() == {f"{H1} A 192.0.2.20", f"20.{REVERSE} PTR {H1}"}


# --- modes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_modes_on_a_free_name(mode: str) -> None:
    rig = Rig(DnsPlan(ZONES, conflict_mode=mode))
    rig.change(lease(10, 1))
    rig.run()
    rig.change(lease(20, 1))
    rig.run()
    assert rig.zone() == {f"{H1} A 192.0.2.20", f"20.{REVERSE} PTR {H1}"}
    rig.free(20)
    rig.free(10)
    rig.run()
    assert rig.zone() == set()
    assert rig.rows() == {}


@pytest.mark.parametrize(
    ("mode", "foreign", "static", "cname"),
    [
        ("check-with-dhcid", State.CONFLICT, State.CONFLICT, State.BLOCKED),
        ("check-exists-with-dhcid", State.CLEAN, State.CONFLICT, State.BLOCKED),
        ("no-check-with-dhcid", State.CLEAN, State.CLEAN, State.BLOCKED),
        ("no-check-without-dhcid", State.CLEAN, State.CLEAN, State.BLOCKED),
    ],
)
def test_modes_on_a_taken_name(mode: str, foreign: State, static: State, cname: State) -> None:
    found = []
    for lines in ([f"{H1} 60 A 192.0.2.99", f"{H1} 60 DHCID {GUARD_2}"], [f"{H1} 60 A 192.0.2.99"], [f"{H1} 60 CNAME a.test."]):
        rig = Rig(DnsPlan(ZONES, conflict_mode=mode))
        rig.master.zones[FORWARD].load(lines)
        rig.change(lease(10, 1))
        rig.run()
        found.append(rig.rows()["fwd", H1].state)
    assert found == [foreign, static, cname]


# --- zones and servers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rcode", "wait_s"), [("BADKEY", 60), ("BADSIG", 60), ("BADTIME", 30), ("NOTAUTH", 60), ("REFUSED", 60)])
def test_a_zone_is_held_and_comes_back(rcode: str, wait_s: int) -> None:
    rig = Rig()
    good = rig.answer
    rig.answer = lambda m: DnsAnswer(m.ident, rcode, "model") if m.zone == FORWARD else good(m)
    for number in range(30):
        rig.change(lease(10 + number, number + 1, f"h{number}.example.test."))
    rig.run()
    zone = rig.planner.status(rig.now)["zones"][0]  # type: ignore[index]
    assert (zone["state"], zone["reason"], zone["queue"]) == ("held", rcode, 30)
    assert rig.notes.count("ddns-zone-held") == 1
    assert len(rig.sent) <= 18, "what was out when it was held, no more; a refused batch is taken apart first"
    count = len(rig.sent)
    rig.pass_time(wait_s * 5 + 1)
    assert len(rig.sent) - count == 5, "one row a turn"
    assert rig.notes.count("ddns-zone-held") == 1
    assert all(row.state in {State.DIRTY} for row in rig.rows().values())
    rig.pass_time(3600)
    assert rig.notes.count("ddns-zone-held") == 2, "said again every hour"
    rig.answer = good
    rig.pass_time(wait_s + 1)
    assert "ddns-zone-released" in rig.notes
    assert len(rig.zone()) == 60


def test_servfail_backs_off() -> None:
    rig = Rig()
    rig.answer = lambda m: DnsAnswer(m.ident, "SERVFAIL", "model")
    rig.change(lease(10, 1))
    rig.pass_time(100)
    assert 5 <= len(rig.sent) <= 12
    rig.answer = rig.master.answer
    rig.pass_time(61)
    assert len(rig.zone()) == 2


def test_one_denied_name_does_not_hold_its_zone() -> None:
    rig = Rig()
    good = rig.answer

    def answer(message: DnsUpdate | DnsQuery) -> DnsAnswer | None:
        name = message.name if isinstance(message, DnsQuery) else message.changes[0].name
        return DnsAnswer(message.ident, "REFUSED", "model") if name == "www.example.test." else good(message)

    rig.answer = answer
    rig.change(lease(9, 99, "www.example.test."))
    rig.run()
    rig.change(lease(10, 1))
    rig.run()
    assert f"{H1} A 192.0.2.10" in rig.zone(), "another name asks at once whether it is the zone"
    rig.pass_time(61)
    assert rig.rows()["fwd", "www.example.test."].state is State.HELD
    assert "ddns-name-refused" in rig.notes
    for number in range(20):
        rig.change(lease(20 + number, number + 2, f"n{number}.example.test."))
    rig.run()
    assert len(rig.zone()) == 42


def test_breaker() -> None:
    rig = Rig()
    rig.answer = lambda m: DnsAnswer(m.ident, "UNREACHABLE", "model")
    for number in range(50):
        rig.change(lease(10 + number, number + 1, f"h{number}.example.test."))
    rig.run()
    assert len(rig.sent) <= 18
    assert rig.notes.count("ddns-server-silent") == 1
    count = len(rig.sent)
    rig.pass_time(600)
    assert 10 <= len(rig.sent) - count <= 30, "1, 2, 4 ... 60 s, the upper half at random"
    assert rig.planner.status(rig.now)["servers"][0]["state"] == "silent"  # type: ignore[index]
    rig.answer = rig.master.answer
    rig.pass_time(61)
    assert rig.notes.count("ddns-server-back") == 1
    assert len(rig.zone()) == 100
    assert all(row.recheck_at >= 0 for row in rig.rows().values())


def test_windows() -> None:
    zones = []
    for number in range(80):
        zones.append(Zone("main", f"z{number}.test.", ((f"127.0.0.{number % 4 + 1}", 53),), "key"))
    rig = Rig(DnsPlan(tuple(zones)))
    for number in range(200):
        rig.change(lease(number, number + 1, f"h{number}.z{number % 80}.test."))
    rig.due()
    per_zone = [sum(m.zone == zone.name for m in rig.wire) for zone in zones]
    assert sum(per_zone) == 40
    assert max(per_zone) == 1
    assert max(sum(per_zone[at::4]) for at in range(4)) <= 16


def test_deadline_and_bounded_step() -> None:
    rig = Rig()
    assert rig.planner.deadline(rig.now) == float("inf")
    rig.change(lease(10, 1))
    assert rig.planner.deadline(rig.now) == rig.mono
    rig.fence(True)
    assert rig.planner.deadline(rig.now) == float("inf")


# --- restart ----------------------------------------------------------------------------------------------------------


def test_restart_with_an_add_out() -> None:
    for applied in (True, False):
        rig = Rig()
        rig.change(lease(10, 1))
        rig.due()
        if applied:
            assert isinstance(rig.wire[0], DnsUpdate)
            rig.master.update(rig.wire[0])
        assert json.loads(rig.stored[b"main\0fwd\0" + H1.encode()])["maybe"] == [["A", "192.0.2.10", 1200]]
        rig.boot()
        rig.run()
        assert rig.zone() == {f"{H1} A 192.0.2.10", f"10.{REVERSE} PTR {H1}"}


def test_restart_and_the_lease_is_gone() -> None:
    for applied in (True, False):
        rig = Rig()
        rig.change(lease(10, 1))
        rig.due()
        if applied:
            assert isinstance(rig.wire[0], DnsUpdate)
            rig.master.update(rig.wire[0])
        rig.boot()
        rig.free(10)
        rig.run()
        assert rig.zone() == set()
        rig.pass_time(302 + LAST_COPY_S)
        assert rig.rows() == {}


def test_restart_keeps_a_conflict_and_its_retry() -> None:
    rig = Rig()
    rig.master.zones[FORWARD].load([f"{H1} 60 A 192.0.2.99"])
    rig.change(lease(10, 1))
    rig.run()
    count = len(rig.sent)
    rig.boot()
    rig.run()
    assert len(rig.sent) == count
    rig.master.zones[FORWARD].take(H1, "A")
    rig.pass_time(3601)
    assert f"{H1} A 192.0.2.10" in rig.zone()


def test_restart_without_the_zone_says_so_and_with_it_goes_on() -> None:
    rig = Rig()
    rig.fence(True)
    rig.change(lease(10, 1))
    rig.plan = DnsPlan((ZONES[1],))
    rig.boot()
    rig.run()
    assert rig.rows()["fwd", H1].state is State.HELD
    rig.free(10)
    rig.change(lease(10, 1))
    assert rig.rows().get(("fwd", H1)) is None or rig.rows()["fwd", H1].state is State.HELD
    rig.plan = PLAN
    rig.boot()
    rig.change(lease(10, 1, cltt=1001))
    rig.run()
    assert f"{H1} A 192.0.2.10" in rig.zone()


def test_unknown_field_of_a_row_is_an_error() -> None:
    with pytest.raises(ValueError, match="future"):
        Row.from_json('{"target":"m","kind":"fwd","name":"a.","zone":"a.","future":1}')


# --- failover ---------------------------------------------------------------------------------------------------------


def test_safety_25_a_fenced_server_sends_nothing() -> None:
    rig = Rig()
    rig.boot(fenced=True)
    rig.change(lease(10, 1))
    rig.run()
    assert rig.sent == []
    rig.fence(False)
    rig.run()
    assert len(rig.zone()) == 2
    assert rig.notes.count("ddns-fenced") == 0
    assert rig.notes.count("ddns-unfenced") == 2


def test_safety_25_a_fence_stops_between_two_messages() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.due()
    rig.fence(True)
    rig.say("YXDOMAIN")
    assert rig.wire == []
    rig.fence(False)
    rig.run()
    assert len(rig.zone()) == 2


def test_safety_25_rows_are_checked_against_newer_bindings() -> None:
    """Our row is old; while we are fenced the partner's binding of the same client arrives: the name is the partner's."""
    rig = Rig()
    rig.boot(fenced=True)
    rig.change(lease(10, 1))
    rig.change(lease(10, 1, cltt=2000), Origin.PARTNER)
    rig.fence(False)
    rig.run()
    assert rig.sent == []
    assert rig.rows()["fwd", H1].owner == PEER


def test_the_partner_speaks_to_the_client_and_we_again() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    count = len(rig.sent)
    rig.change(lease(10, 1, cltt=2000), Origin.PARTNER)
    rig.run()
    assert rig.rows()["fwd", H1].owner == PEER
    assert len(rig.sent) == count
    rig.change(lease(10, 1, cltt=3000))
    rig.run()
    assert rig.rows()["fwd", H1].owner == ME
    assert ops(rig.sent[count]) == "yxdomain yxrrset | del-rrset:A add:A", "an idempotent replace"
    assert len(rig.zone()) == 2


def test_the_owner_removes_what_the_partner_freed() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    rig.free(10, Origin.PARTNER)
    rig.run()
    assert rig.zone() == set()


def test_the_partners_name_is_not_removed_by_us_in_normal() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    rig.change(lease(10, 1, cltt=2000), Origin.PARTNER)
    rig.free(10, Origin.TIMER)
    count = len(rig.sent)
    rig.run()
    assert len(rig.sent) == count
    assert rig.rows()["fwd", H1].owner == PEER


def test_safety_24_a_removal_of_the_partners_is_kept_until_the_zone_shows_it() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    rig.change(lease(10, 1, cltt=2000), Origin.PARTNER)
    rig.free(10, Origin.PARTNER)
    rig.boot()
    rig.pass_time(7300)
    assert rig.rows()["fwd", H1].want == ()
    assert len(rig.zone()) == 2
    assert all(isinstance(m, DnsQuery) for m in rig.sent[2:])
    for name, rtype in ((H1, "A"), (H1, "DHCID")):
        rig.master.zones[FORWARD].take(name, rtype)
    rig.master.zones[REVERSE].take(f"10.{REVERSE}", "PTR")
    rig.pass_time(3700)
    assert rig.rows() == {}


def test_take_over_keeps_up_and_removes_the_partners_names() -> None:
    rig = Rig()
    for number in (1, 2):
        rig.change(lease(10 + number, number, f"h{number}.example.test."))
    rig.run()
    for number in (1, 2):
        rig.change(lease(10 + number, number, f"h{number}.example.test.", cltt=2000), Origin.PARTNER)
    rig.free(11, Origin.PARTNER)
    count = len(rig.sent)
    rig.run()
    assert len(rig.sent) == count
    rig.take_over()
    rig.run()
    assert "ddns-takeover" in rig.notes
    assert {row.owner for row in rig.rows().values()} == {ME}
    assert rig.zone() == {"h2.example.test. A 192.0.2.12", f"12.{REVERSE} PTR h2.example.test."}
    rig.pass_time(301)
    assert len(rig.sent) == count + 4
    assert {row.state for row in rig.rows().values()} == {State.CLEAN}


def test_take_over_goes_in_slices() -> None:
    rig = Rig(DnsPlan(ZONES))
    for number in range(700):
        rig.change(lease(number, number % 250, f"h{number}.example.test."), Origin.PARTNER)
    rig.take_over()
    rig.due()
    left = rig.planner.status(rig.now)["taking_over"]
    assert isinstance(left, int)
    assert left > 0
    assert rig.planner.deadline(rig.now) == rig.mono


def test_another_client_of_the_partner_takes_our_name() -> None:
    """Our records of the old client are ours to remove; what follows is the partner's."""
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    rig.fence(True)
    rig.free(10, Origin.PARTNER)
    rig.change(lease(20, 2), Origin.PARTNER)
    rig.fence(False)
    rig.run()
    assert rig.zone() == set()
    assert rig.rows()["fwd", H1].owner == PEER


def test_the_partners_client_takes_our_address() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    rig.change(lease(10, 2, ""), Origin.PARTNER)
    rig.run()
    assert rig.zone() == set()
    assert rig.rows() == {}


# --- other types ------------------------------------------------------------------------------------------------------


def test_aaaa_and_ip6_arpa_go_the_same_way() -> None:
    six = "8.b.d.0.1.0.0.2.ip6.arpa."
    plan = DnsPlan((ZONES[0], Zone("main", six, PRIMARY, "key")))
    rig = Rig(plan)
    from tests.ddns import model

    rig.master.zones[six] = model.Zone(six)
    shelf: Shelf = rig.planner._shelf
    pointer = reverse_of("AAAA", "2001:db8::10")

    def want(values: tuple[Value, ...], pointers: tuple[Value, ...]) -> None:
        out = Output()
        shelf.want("main", "fwd", H1, values, GUARD_1, ME, rig.now, out, "test")
        shelf.want("main", "rev", pointer, pointers, "", ME, rig.now, out, "test")
        rig._take(out)

    want((Value("AAAA", "2001:db8::10", 600),), (Value("PTR", H1, 600),))
    rig.run()
    assert rig.zone() == {f"{H1} AAAA 2001:db8::10", f"{pointer} PTR {H1}"}
    assert [ops(m) for m in rig.sent] == ["nxdomain | add:AAAA add:DHCID", "nxrrset | del-rrset:PTR add:PTR"]
    want((Value("A", "192.0.2.7", 600), Value("AAAA", "2001:db8::10", 600)), (Value("PTR", H1, 600),))
    rig.run()
    assert rig.zone() == {f"{H1} AAAA 2001:db8::10", f"{H1} A 192.0.2.7", f"{pointer} PTR {H1}"}
    want((Value("A", "192.0.2.7", 600),), ())
    rig.run()
    assert rig.zone() == {f"{H1} A 192.0.2.7"}
    want((), ())
    rig.run()
    assert rig.zone() == set()
    row = Row("main", "fwd", H1, FORWARD, want=(Value("AAAA", "2001:db8::10", 5),))
    assert Row.from_json(row.to_json()) == row


def test_two_targets() -> None:
    other = (Zone("copy", FORWARD, (("127.0.0.2", 53),), "key"),)
    rig = Rig(DnsPlan(ZONES + other))
    rig.change(lease(10, 1))
    rig.due()
    assert sorted(m.target for m in rig.wire) == ["copy", "main"]
    assert [p for m in rig.wire if isinstance(m, DnsUpdate) for p in m.prereqs] == [Prereq("nxdomain", H1)] * 2


def test_a_lease_without_a_client_or_in_another_state_wants_nothing() -> None:
    rig = Rig()
    rig.change(lease(10, 1, hw=b""))
    for state in BindingState:
        if state is not BindingState.ACTIVE:
            rig.change(lease(10, 1, state=state))
    assert rig.rows() == {}


def test_a_late_copy_of_the_old_holders_add_does_not_lock_out_the_new_holder() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.due()
    late = rig.wire[0]
    assert isinstance(late, DnsUpdate)
    rig.say("TIMEOUT")
    rig.free(10)
    rig.change(lease(20, 2))
    rig.due()
    while not isinstance(rig.sent[-1], DnsUpdate) or rig.sent[-1].prereqs != (Prereq("nxdomain", H1),):
        rig.deliver(rig.master.answer(rig.wire.pop(0)))
        rig.due()
    rig.master.update(late)
    while rig.wire:
        rig.deliver(rig.master.answer(rig.wire.pop(0)))
    rig.run()
    assert rig.zone() == {f"{H1} A 192.0.2.20", f"20.{REVERSE} PTR {H1}"}


@pytest.mark.parametrize("takes_over", [False, True])
def test_what_we_put_is_only_a_guess_after_the_partner_owned_it(takes_over: bool) -> None:
    """The partner removed our record and gave the name up; its end of the lease did not reach us before we speak again."""
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    rig.change(lease(10, 1, cltt=2000), Origin.PARTNER)
    for zone in rig.master.zones.values():
        for name in (H1, f"10.{REVERSE}"):
            for rtype in ("A", "DHCID", "PTR"):
                zone.take(name, rtype)
    if takes_over:
        rig.take_over()
    else:
        rig.change(lease(10, 1, cltt=3000))
    rig.due()
    assert all(row.have == () for row in rig.rows().values())
    rig.pass_time(301)
    assert rig.zone() == {f"{H1} A 192.0.2.10", f"10.{REVERSE} PTR {H1}"}
