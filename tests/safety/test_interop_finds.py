"""Histories that the interop suite found with a real dhcpd as the partner, told in the duo of two nodes. Each is named after the bug."""

from __future__ import annotations

from dataclasses import replace

from failoverd.failover import message as wire
from failoverd.failover.bindings import binding_of
from failoverd.failover.message import Framer, MessageType, OptionCode
from failoverd.ports import LinkBytes
from tests.pair.duo import Duo, kind, lease_s, normal


def test_a_shorter_answer_of_the_partner_takes_no_promise_back() -> None:
    """p, rolled back, is normal again. A client rebinds by broadcast and both answer: p with what remains of its hour, which changes
    nothing in p and is not told; dhcpd with 15 s, which it tells p. The client took p's answer; p took dhcpd's end for its own, and
    gave the address up 15 s later (safety.md 9)."""
    duo = normal()
    x = duo.given("p", 1)
    duo.run(1)
    long = duo.renew("p", 1, x)
    assert long is not None
    held_until = duo.now.wall + lease_s(long)
    duo.run(1)
    assert not duo.lease("p", x).owed
    link = duo.nodes["p"].endpoints["fo"].link
    assert link is not None
    lease = duo.lease("s", x)
    short = binding_of(lease.evolve(ends=int(duo.now.wall) + 15, potential=int(duo.now.wall) + 3667, cltt=int(duo.now.wall)))
    duo.inbox["p"].append(LinkBytes("fo", link.number, wire.encode(wire.bndupd(int(duo.now.wall), 9999, short))))
    duo.run(1)
    assert [duo.lease(name, x).ends >= held_until - 1 for name in ("p", "s")] == [True, True]


def test_a_secondary_waits_for_the_mclt_of_its_primary_and_not_for_its_own_configured_one() -> None:
    """A failoverd beside a dhcpd primary has no mclt of its own to configure: the default of an hour counted as in force, so that after
    partner-down it waited an hour for the primary's addresses where 15 s were right."""
    duo = Duo(mclt="1h")
    duo.nodes["p"].endpoints["fo"].record.mclt_s = 60
    duo.until(lambda: duo.states() == ("normal", "normal"))
    endpoint = duo.nodes["s"].endpoints["fo"]
    assert endpoint.rights(duo.now).wait_mclt_s == 60
    duo.run(12)
    duo.crash("s")
    duo.start("s")
    assert duo.nodes["s"].endpoints["fo"].rights(duo.now).wait_mclt_s == 60


def renewed_at_the_partner() -> tuple[Duo, int, int]:
    """p leases x, dies before the partner's ack, and is down; its client renewed at s. The pair, x, and the end that the client knows."""
    duo = normal(mclt="10m")
    duo.hold_bytes = lambda sender, data: sender == "s"
    x = duo.given("p", 1)
    duo.crash("p")
    duo.hold_bytes = lambda sender, data: False
    duo.run(60)
    assert kind(duo.renew("s", 1, x)) == "ack"
    duo.wire.clear()
    return duo, x, duo.lease("s", x).ends


def test_an_older_word_of_ours_does_not_overtake_what_a_dhcpd_granted_while_we_were_dead() -> None:
    """0 s: p leases x for 10 minutes and dies before the partner's ack. 60 s: the client renews at the partner, for an hour. 61 s: p is
    back and tells its own lease first, for that was owed; a dhcpd took it without looking, x ended there after 10 minutes, was expired
    by agreement, and the client held it for an hour. An EXPIRED of p's in its place was rejected, and the lease fenced."""
    duo, x, ends = renewed_at_the_partner()
    endpoint = duo.start("p").endpoints["fo"]
    endpoint.terms = replace(endpoint.terms, partner_is_dhcpd=True)
    duo.until(lambda: duo.states() == ("normal", "normal"))
    duo.run(3)
    told = [
        (sender, message.u32(OptionCode.ASSIGNED_IP_ADDRESS))
        for sender, data in duo.wire
        for message in Framer().feed(data)
        if message.kind == MessageType.BNDUPD
    ]
    assert {sender for sender, address in told if address == x} == {"s"}
    assert duo.lease("p", x).ends == ends
    fresh = duo.given("p", 2)
    duo.run(1)
    assert not duo.lease("p", fresh).owed
