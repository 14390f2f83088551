"""A reservation that leaves the configuration: its address goes back to a pool of which the partner holds another view."""

from __future__ import annotations

from dataclasses import replace

import pytest

from failoverd.config import parse_text
from failoverd.failover import reasons
from failoverd.failover.message import Framer, MessageType
from failoverd.leases.lease import FLAG_RESERVED, BindingState
from tests.pair.duo import Duo, kind, normal
from tests.pair.test_hosts import CAMERA, LAST, MAC, RESERVE, ask
from tests.safety.test_reunion import copy_of


def of_half(duo: Duo, name: str) -> int:
    """A free address that is this server's to give."""
    return LAST if name == "p" else next(iter(next(iter(duo.nodes["s"].table.pools.values())).backup))


def configure(duo: Duo, names: str, reserved: int = 0) -> None:
    """Servers are restarted, one by one, with the camera's reservation of this address, or without it."""
    for name in names:
        text = duo.text.replace("[[ddns.zone]]", RESERVE.format(reserved & 0xFF), 1) if reserved else duo.text
        duo.reconfigure(name, text)
        duo.until(lambda: duo.states() == ("normal", "normal"), 60)
        duo.run(3)


def camera(duo: Duo, holders: str, by: str = "p", half: str = "s") -> int:
    """The camera's address, of a half of the pool, which `holders` reserve: it has it from the server `by`."""
    duo.run(5)
    x = of_half(duo, half)
    configure(duo, holders, x)
    assert ask(duo, by, CAMERA, 0) == f"ack {x & 0xFF}"
    return x


def settled(duo: Duo, address: int) -> None:
    """Both have one view of the address, and it is a lease or free address of a pool like any other."""
    here, there = (duo.lease(name, address) for name in "ps")
    assert here.state is there.state
    assert here.client == there.client or here.state is not BindingState.ACTIVE  # the last one is remembered where it was
    assert (here.owed, here.rejected, there.owed, there.rejected) == (False, 0, False, 0)
    assert not (here.flags | there.flags) & FLAG_RESERVED


@pytest.mark.parametrize(("holders", "tls"), [("p", True), ("s", True), ("ps", True), ("ps", False)])
def test_a_reservation_of_the_partners_half_that_is_removed_leaves_its_lease_to_one_holder(holders: str, tls: bool) -> None:
    """p granted the camera x outside failover, and x, which s had in its own half, was no reservation any more: p told it with the flag of
    a reservation, which s refused for ever, or (p's own reservation, and on a plain link) told nothing, and s gave x to another client."""
    duo = normal(tls=tls)
    x = camera(duo, holders)
    configure(duo, holders)
    duo.run(5)
    settled(duo, x)
    assert duo.lease("s", x).client == MAC
    assert not duo.noted("s", "binding-update-refused-by-partner")
    assert ask(duo, "s", 2, x) not in (f"ack {x & 0xFF}", "silence")
    assert kind(duo.renew("p", CAMERA, x)) == "ack"


@pytest.mark.parametrize(("holders", "tls"), [("p", True), ("s", True), ("ps", True), ("ps", False)])
def test_a_removed_reservation_whose_lease_had_ended_is_the_free_half_of_one(holders: str, tls: bool) -> None:
    """The camera gave x back at p, for which it was FREE then, p's own; for s it was BACKUP, s's own, all the while. When the reservation
    was gone and the link cut, each gave x to a client."""
    duo = normal(tls=tls)
    x = camera(duo, holders)
    duo.release("p", CAMERA, x)
    duo.run(5)
    configure(duo, holders)
    duo.run(5)
    settled(duo, x)
    assert duo.lease("p", x).state is BindingState.FREE
    duo.cut()
    duo.run(61)
    given = [ask(duo, "p", 1, x), ask(duo, "s", 2, x)]
    assert given.count(f"ack {x & 0xFF}") == 1, given


def test_a_removed_reservation_is_handed_back_although_its_server_is_alone() -> None:
    """Until the partner has heard of it, it is nobody's: neither server knows what the other one has done with it."""
    duo = normal()
    x = camera(duo, "ps")
    duo.release("p", CAMERA, x)
    duo.cut()
    duo.run(61)
    duo.reconfigure("p")
    duo.run(61)
    assert duo.state("p") == "communications-interrupted"
    lease = duo.lease("p", x)
    assert (lease.state, lease.owed, lease.flags) == (BindingState.EXPIRED, True, 0)
    assert ask(duo, "p", 1, x) not in (f"ack {x & 0xFF}", "silence")


def test_a_declined_reservation_that_is_removed_is_told_without_a_client() -> None:
    duo = normal()
    x = camera(duo, "ps")
    duo.say("p", duo.packet(4, CAMERA, o50=x.to_bytes(4, "big")), 0xFFFFFFFF)
    assert duo.lease("p", x).state is BindingState.ABANDONED
    configure(duo, "ps")
    settled(duo, x)
    assert duo.lease("s", x).state is BindingState.ABANDONED


def test_a_lease_that_a_dhcpd_reserves_keeps_its_flag() -> None:
    """The flag is the dhcpd's word then, and the row lies as it was told."""
    duo = normal()
    x = duo.given("p", 1)
    duo.settle()
    for name in "ps":
        endpoint = duo.nodes[name].endpoints["fo"]
        endpoint.terms = replace(endpoint.terms, partner_is_dhcpd=True)
        lease = duo.lease(name, x)
        told = lease.evolve(flags=FLAG_RESERVED, acked=lease.potential, acked_end=lease.ends)
        duo.nodes[name].table.put(told, lease.ends)
        duo.nodes[name].reservations_read(duo.now)
        assert duo.lease(name, x).flags == FLAG_RESERVED
        duo.nodes[name].table.put(told.evolve(ends=lease.ends + 60, potential=lease.potential + 60), lease.ends + 60)
        duo.nodes[name].reservations_read(duo.now)
        assert duo.lease(name, x).flags == 0


# --- what another client had from the pool when it was reserved -----------------------------------------------------------

MCLT_S = 600
SLACK_S = 60  # the most by which two clocks count as apart


def test_a_new_reservation_waits_for_what_the_partner_may_have_granted() -> None:
    """s was down while p renewed D's lease; it came up with a reservation of x, the link cut, and gave x to the camera at the end that it
    knew of, which was long before D's."""
    duo = normal(tls=True)
    x = duo.given("p", 1)
    duo.settle()
    duo.run(300)
    duo.renew("p", 1, x)
    duo.run(1000)
    duo.crash("s")
    duo.cut()
    duo.run(3)
    assert kind(duo.renew("p", 1, x)) == "ack"
    duo.configs["s"] = parse_text(duo.text.replace("[[ddns.zone]]", RESERVE.format(x & 0xFF), 1))
    duo.start("s")
    known = duo.lease("s", x).horizon
    held = duo.lease("p", x).ends
    assert duo.lease("s", x).ends < held <= known + MCLT_S
    while duo.now.wall < known + MCLT_S - 60:
        duo.run(50, 5)
        assert ask(duo, "s", CAMERA, 0) == "silence"
    duo.run(3 * SLACK_S, 5)
    assert ask(duo, "s", CAMERA, 0) == f"ack {x & 0xFF}"


@pytest.mark.parametrize("end", ["expiry", "release"])
def test_an_address_that_the_partner_reserves_while_it_is_leased_is_its_hosts_after_it(end: str) -> None:
    """p had x leased to D when s reserved it. D's end was owed to s, which refused it for ever (x is in none of its pools): at p x was in
    transition for good, its host was not answered, and each attempt was noted."""
    duo = normal(tls=True, lease="10m")
    x = duo.given("p", 1)
    duo.settle()
    configure(duo, "s", x)
    rests = max(duo.lease("p", x).horizon, duo.lease("s", x).horizon) + MCLT_S + SLACK_S
    if end == "release":
        duo.release("p", 1, x)
    while duo.now.wall < rests - 120:
        duo.run(60, 5)
        assert {ask(duo, name, CAMERA, 0) for name in "ps"} == {"silence"}
        others = (2, 3) if duo.lease("p", x).state is BindingState.ACTIVE else (1, 2)
        assert f"ack {x & 0xFF}" not in [ask(duo, "p", mac, x) for mac in others]
    duo.run(240, 5)
    assert [ask(duo, name, CAMERA, 0) for name in "ps"] == [f"ack {x & 0xFF}"] * 2
    duo.run(5)
    assert not any(node.endpoints["fo"].updates.owed for node in duo.nodes.values())
    assert not duo.lease("p", x).rejected
    assert duo.noted("p", "binding-update-refused-by-partner") == 0
    configure(duo, "s")
    duo.run(5)
    settled(duo, x)


@pytest.mark.parametrize("name", ["p", "s"])
def test_a_host_waits_for_a_lease_that_the_partner_gave_without_knowing_of_its_reservation(name: str) -> None:
    """A plain link, and the line in one file only: the partner leased x, of its own half, to a client, and told so. That was refused, for x
    is in no pool here, and forgotten: the camera got x, too."""
    duo = normal(lease="10m")
    duo.run(5)
    other = "s" if name == "p" else "p"
    x = of_half(duo, other)
    configure(duo, name, x)
    assert ask(duo, other, 1, x) == f"ack {x & 0xFF}"
    duo.run(5)
    rests = duo.lease(other, x).potential + MCLT_S
    while duo.now.wall < rests - 60:
        assert ask(duo, name, CAMERA, 0) == "silence"
        duo.run(50, 5)
    duo.run(3 * SLACK_S, 5)
    assert ask(duo, name, CAMERA, 0) == f"ack {x & 0xFF}"


def test_two_hosts_of_one_reserved_address_are_a_conflict_that_is_kept() -> None:
    duo = normal()
    x = camera(duo, "p")
    assert ask(duo, "s", 1, x) == f"ack {x & 0xFF}"  # it cannot know
    duo.run(5)
    assert duo.noted("p", reasons.CONFLICT) > 0
    assert len(list(duo.nodes["p"].conflicts.newest_first())) == 1
    assert kind(duo.renew("p", CAMERA, x)) == "ack"


# --- what was reserved, and this server knows nothing of ------------------------------------------------------------------


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("half", ["p", "s"])
def test_a_reservation_that_is_removed_here_first_is_nobodys_while_the_partner_leases_it(tls: bool, half: str) -> None:
    """Both reserved x, and the camera had it from the other server alone. This one was restarted without the line, had x in its free half
    at once, and gave it to another client: on a plain link it cannot know better, on any while the link is cut."""
    duo = normal(tls=tls)
    other = "s" if half == "p" else "p"
    x = camera(duo, "ps", by=other, half=half)
    if tls:
        duo.cut()
        duo.run(61)
        for name in (half, other):
            duo.reconfigure(name)
            duo.run(61)
            assert duo.state(name) == "communications-interrupted"
    else:
        configure(duo, half)
    assert ask(duo, half, 1, x) not in (f"ack {x & 0xFF}", "silence")
    assert kind(duo.renew(other, CAMERA, x)) == "ack"
    duo.heal()
    if not tls:
        configure(duo, other)
    duo.until(lambda: duo.states() == ("normal", "normal"), 120)
    duo.run(5)
    settled(duo, x)
    assert duo.lease(half, x).client == MAC


@pytest.mark.parametrize("half", ["p", "s"])
def test_an_address_that_only_the_partner_reserved_is_nobodys_until_its_lease_is_told(half: str) -> None:
    """The partner says that x is no reservation any more, and falls silent before it says that the camera has it."""
    duo = normal(tls=True)
    other = "s" if half == "p" else "p"
    x = camera(duo, other, by=other, half=half)
    duo.hold_bytes = lambda sender, data: any(message.kind == MessageType.BNDUPD for message in Framer().feed(data))
    configure(duo, other)
    assert x not in duo.nodes[half].theirs["fo"]
    assert ask(duo, half, 1, x) not in (f"ack {x & 0xFF}", "silence")


@pytest.mark.parametrize("tls", [True, False])
def test_an_address_that_nobody_had_is_free_again_when_neither_reserves_it(tls: bool) -> None:
    duo = normal(last=101, tls=tls)
    configure(duo, "ps", 0x0A000065)
    configure(duo, "p")
    duo.run(5)
    assert "ack 101" not in [ask(duo, name, mac, 0x0A000065) for mac, name in ((1, "p"), (2, "s"), (3, "p"))]
    configure(duo, "s")
    duo.run(5)
    settled(duo, 0x0A000065)
    assert "ack 101" in [ask(duo, name, 4, 0x0A000065) for name in "ps"]


def test_a_partner_that_keeps_what_is_reserved_no_longer_is_heard_first() -> None:
    """p serves the camera for s, which reserves x. s was restarted without the line, the link cut; whatever the time, p cannot know."""
    duo = normal(tls=True, lease="10m", edits=[('max-lease-time = "1d"', 'max-lease-time = "20m"')])
    x = camera(duo, "s")
    duo.cut()
    duo.run(61)
    duo.reconfigure("s")
    duo.run(61)
    assert duo.command("s", "serve-force").code == "ok"
    for _ in range(20):
        duo.run(240, 5)
        assert kind(duo.renew("p", CAMERA, x)) == "ack"
        assert ask(duo, "s", 2, x) not in (f"ack {x & 0xFF}", "silence")
    duo.heal()
    duo.until(lambda: duo.states() == ("normal", "normal"), 120)
    duo.run(10)
    settled(duo, x)
    assert duo.lease("s", x).client == MAC


def test_what_was_granted_for_a_reservation_and_forgotten_rests_when_the_reservation_is_gone() -> None:
    """Simulator, seed host158. p served the camera for s, and was put back to a copy of before; s, without the line, gave x away."""
    duo = normal(tls=True, mclt="1m", lease="20m", edits=[('max-lease-time = "1d"', 'max-lease-time = "20m"')])
    duo.run(5)
    x = of_half(duo, "s")
    configure(duo, "s", x)
    backup = copy_of(duo.disks["p"])
    assert ask(duo, "p", CAMERA, 0) == f"ack {x & 0xFF}"
    held_until = duo.lease("p", x).ends
    duo.crash("p")
    duo.disks["p"] = backup
    duo.start("p", rollback="1")
    duo.until(lambda: duo.states() == ("normal", "normal"), 120)
    configure(duo, "s")
    assert duo.now.wall < held_until
    for name in "ps":
        assert ask(duo, name, 2, x) not in (f"ack {x & 0xFF}", "silence")
        assert duo.lease(name, x).not_before >= held_until


def test_after_partner_down_it_rests_for_as_long_as_the_partner_may_have_leased_it() -> None:
    duo = normal(lease="10m", edits=[('max-lease-time = "1d"', 'max-lease-time = "20m"')])
    x = camera(duo, "ps")
    duo.crash("p")
    duo.run(5)
    assert duo.command("s", "partner-down").code == "ok"
    duo.reconfigure("s")
    duo.run(1200 + MCLT_S - 60, 5)
    assert ask(duo, "s", 1, x) not in (f"ack {x & 0xFF}", "silence")
    duo.run(60 + 3 * SLACK_S, 5)
    assert ask(duo, "s", 2, x) == f"ack {x & 0xFF}"
