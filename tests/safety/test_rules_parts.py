"""Sentences of the safety rules that the first test of their number does not reach, each named after its rule.

`p` is the primary, `s` the secondary; MCLT is 10 minutes, leases an hour.
"""

from __future__ import annotations

import pytest

from failoverd.failover.record import RelationshipRecord
from failoverd.leases.lease import BindingState
from tests.pair.duo import Duo, kind, lease_s, normal

MCLT_S = 600


def on_disk(duo: Duo, name: str) -> RelationshipRecord:
    (text,) = duo.disks[name].stored().relationships
    return RelationshipRecord.from_json(text)


def alone(duo: Duo, name: str, other: str) -> None:
    duo.crash(other)
    duo.settle()
    assert duo.command(name, "partner-down").code == "ok"


def test_rule_09_the_mclt_rule_holds_in_partner_down() -> None:
    """It protects against the loss of our own disk, too."""
    duo = normal()
    alone(duo, "p", "s")
    duo.run(3 * MCLT_S, step_s=10)
    for mac in (1, 2):
        ack = duo.dora("p", mac)
        assert ack is not None
        assert lease_s(ack) <= MCLT_S
        again = duo.renew("p", mac, ack.yiaddr)
        assert again is not None
        assert lease_s(again) <= MCLT_S


def test_rule_11_the_last_proven_contact_is_durable_every_10_s() -> None:
    """10 s between two stamps, and as long between two messages of a partner that has nothing to say."""
    duo = normal()
    for _ in range(60):
        duo.run(1)
        assert duo.now.wall - on_disk(duo, "s").proven <= 10 + 10 + 2


def test_rule_12_partner_down_is_refused_in_contact() -> None:
    duo = normal()
    for name in "ps":
        assert duo.command(name, "partner-down").code == "refused"
    assert duo.states() == ("normal", "normal")


def test_rule_12_a_release_never_shortens_a_wait() -> None:
    """The partner may know of the longer lease: what it was told counts, however the lease ended here."""
    duo = normal()
    x = duo.given("s", 1)
    duo.settle()
    duo.renew("s", 1, x)
    duo.settle()
    horizon = duo.lease("p", x).horizon
    assert horizon > duo.now.wall + MCLT_S
    alone(duo, "p", "s")
    duo.release("p", 1, x)
    assert duo.lease("p", x).state is not BindingState.ACTIVE
    while duo.now.wall < horizon + MCLT_S - 30:
        duo.run(30, step_s=10)
        state = duo.lease("p", x).state
        assert state in (BindingState.RELEASED, BindingState.EXPIRED), "not free before MCLT beyond its horizon"
    duo.run(120, step_s=10)
    assert duo.lease("p", x).state is BindingState.FREE


def test_rule_14_the_operation_stamp_is_durable_every_10_s_while_serving() -> None:
    """Also alone, when no lease is granted: recover-wait counts from it."""
    duo = normal()
    duo.cut()
    duo.until(lambda: duo.state("s") == "communications-interrupted", 90)
    for _ in range(40):
        duo.run(1)
        assert duo.now.wall - on_disk(duo, "s").operated <= 11


@pytest.mark.parametrize("name", ["p", "s"])
def test_rule_15_a_lease_that_rests_goes_to_nobody_else_but_its_client_has_it_back(name: str) -> None:
    """After a lost database both keep it from others, also in normal; its own client's renewal or release ends that."""
    duo = normal(last=101)
    x = duo.given("s", 1)
    duo.run(20)
    duo.renew("s", 1, x)
    duo.settle()
    duo.crash("s")
    duo.lose_database("s")
    duo.run(3)
    duo.start("s")
    duo.until(lambda: duo.states() == ("normal", "normal"), 700)
    duo.settle()
    rests = {each: duo.lease(each, x).not_before for each in "ps"}
    assert min(rests.values()) > duo.now.wall + MCLT_S, rests
    back = duo.renew(name, 1, x)
    assert kind(back) == "ack"
    duo.settle()
    duo.release(name, 1, x)
    duo.settle()
    lease = duo.lease(name, x)
    assert lease.not_before <= duo.now.wall, "its own client gave it up"


def test_rule_27_a_refused_verb_leaves_no_event() -> None:
    """What is kept is what was done."""
    duo = normal()
    before = len(duo.disks["p"].events)
    assert duo.command("p", "partner-down").code == "refused"
    assert len(duo.disks["p"].events) == before
