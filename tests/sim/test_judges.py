"""Judges on traces written by hand: what each exemption excuses, and that it excuses no more."""

from __future__ import annotations

import json
from math import inf

import pytest

from failoverd.dhcp.message import MessageType as Dhcp
from failoverd.sim.checks import not_on_disk
from failoverd.sim.checks_names import offered_twice
from failoverd.sim.limits import before_its_time, reserved
from failoverd.sim.trace import Answered, Booted, Committed, Crashed, Event, Fault, Moved, Pinged, Reserved, Started

FIRST, LAST = 10, 20
STARTED = Started(0.0, "", 50, (), (("pair", "a", FIRST, LAST),))
ONE, TWO = b"\x01\x02\x00\x00\x00\x00\x01", b"\x01\x02\x00\x00\x00\x00\x02"


def answered(t: float, kind: Dhcp, client: bytes, address: int, lease_s: int = 100) -> Answered:
    return Answered(t, "a", t, kind, client, address, lease_s)


@pytest.mark.parametrize(
    ("asked_t", "address", "wrong"),
    [(2.0, 11, False), (2.2, 11, True), (None, 11, True), (2.0, FIRST, True), (2.0, LAST + 1, True)],
    ids=["pinged before", "pinged after", "not pinged", "the same address", "of another pool"],
)
def test_an_offer_that_a_ping_replaced_may_go_to_another_client(asked_t: float | None, address: int, wrong: bool) -> None:
    events: list[Event] = [STARTED, answered(1.0, Dhcp.OFFER, ONE, FIRST)]
    pinged = [Pinged(asked_t, "a", address, there=False)] if asked_t is not None else []
    events += sorted([answered(2.1, Dhcp.OFFER, TWO, FIRST), *pinged], key=lambda event: event.t)
    events.append(answered(3.0, Dhcp.OFFER, ONE, address))
    assert [violation.t for violation in offered_twice(events)][:1] == ([2.1] if wrong else [])


@pytest.mark.parametrize(("commits", "wrong"), [(1, False), (2, True)])
def test_a_partner_down_that_was_left_on_disk_is_not_as_before(commits: int, wrong: bool) -> None:
    """The wait for the partner's addresses counts from the entry; one that was never left on disk is the same entry."""
    backup, active = (json.dumps({"state": state, "hw": hw, "horizon": 0}) for state, hw in ((7, ""), (2, ONE.hex())))
    events: list[Event] = [STARTED, Booted(0.0, "a", ((FIRST, backup),)), Moved(10.0, "a", "partner-down")]
    events += [Moved(100.0, "a", "normal"), *(Committed(100.1, "a", (), ()) for _ in range(commits))]
    events += [Booted(101.0, "a", ((FIRST, backup),)), Moved(101.0, "a", "startup"), Moved(102.0, "a", "partner-down")]
    events += [Committed(110.0, "a", ((FIRST, active),), (True,)), answered(110.0, Dhcp.ACK, ONE, FIRST)]
    assert [violation.t for violation in before_its_time(events)] == ([110.0] if wrong else [])


@pytest.mark.parametrize(
    ("leaves_t", "lease_s", "wrong"),
    [(100.0, 20, False), (105.9, 14, False), (106.1, 14, True), (100.0, 21, True)],
    ids=["in the same step", "behind a slow disk", "later", "more than it was"],
)
def test_an_ack_from_what_the_client_had_may_leave_with_the_end_of_its_lease(leaves_t: float, lease_s: int, wrong: bool) -> None:
    """Simulator, seed host240: disks full, so a renewal is answered from what remains and commits nothing; a DECLINE in the same step."""
    active = json.dumps({"state": 2, "hw": ONE.hex(), "ends": 120})
    declined = json.dumps({"state": 5, "ends": 300})
    events = [STARTED, Committed(50.0, "a", ((FIRST, active),), (True,)), Committed(100.0, "a", ((FIRST, declined),), (True,))]
    events.append(answered(leaves_t, Dhcp.ACK, ONE, FIRST, lease_s))
    assert [violation.t for violation in not_on_disk(events)] == ([leaves_t] if wrong else [])


def test_a_reservation_is_outside_until_both_have_met_without_it_and_what_they_granted_is_over() -> None:
    granted = [Reserved(0.0, FIRST, "c1", "ab"), Moved(1.0, "a", "normal"), Moved(1.0, "b", "normal")]
    granted += [answered(50.0, Dhcp.ACK, ONE, FIRST)]
    gone: list[Event] = [*granted, Fault(60.0, "unreserve", "")]
    for server in "ab":
        gone += [Crashed(61.0, server, "restarted"), Booted(62.0, server, ())]
    assert reserved(granted) == reserved(gone) == {FIRST: inf}
    assert reserved([*gone, Moved(63.0, "a", "normal")]) == {FIRST: inf}, "it has not met b, and keeps what b reserves"
    met = [*gone, Moved(63.0, "a", "normal"), Moved(64.0, "b", "normal")]
    assert reserved(met) == {FIRST: 150.0}
    assert reserved([*met, answered(70.0, Dhcp.ACK, ONE, FIRST)]) == {FIRST: 170.0}
    assert reserved([*met, answered(80.0, Dhcp.ACK, ONE, FIRST)]) == {FIRST: 150.0}, "of the pool"
