"""Histories that broke a safety rule once: who did what when, and what must not follow. Each is named after the bug.

Found by reading the code as an adversary and by throwing octets at a node; `p` is the primary, `s` the secondary.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from failoverd import status
from failoverd.dhcp.message import MessageType as Dhcp
from failoverd.dhcp.message import Packet, encode
from failoverd.failover import message as wire
from failoverd.failover import waits
from failoverd.failover.bindings import binding_of
from failoverd.failover.message import Framer, MessageType, ServerState
from failoverd.failover.record import BootFacts, RelationshipRecord
from failoverd.leases import reclaim
from failoverd.leases.binding import judge
from failoverd.leases.lease import BindingState, Lease
from failoverd.leases.mclt import limit
from failoverd.leases.rights import Rights
from failoverd.ports import DiskState, LinkBytes, Now, Origin
from tests.pair.duo import ADDRESS, Duo, kind, lease_s, normal

FIRST = 0x0A000064


def kinds(data: bytes) -> list[int]:
    """The types of the messages in these bytes."""
    return [message.kind for message in Framer().feed(data)]


# --- nothing that comes in may end the daemon --------------------------------------------------------------------------------


@pytest.mark.parametrize("since", ["9" * 400, "0001-01-01T00:00:00+14:00", "²", "9999-12-31T23:59:59-14:00"])
def test_a_since_that_no_clock_can_show_is_a_wrong_use(since: str) -> None:
    """`partner-down --since` with a number beyond every float, or a date before year 1 in UTC, raised OverflowError out of the step."""
    duo = normal()
    duo.crash("s")
    duo.settle()
    assert duo.command("p", "partner-down", since=since).code == "usage"
    assert duo.state("p") == "communications-interrupted"


@pytest.mark.parametrize("limit", ["²", "9" * 5000, "-1", ""])
def test_a_limit_that_is_no_number_is_the_default(limit: str) -> None:
    """`str.isdigit` takes a superscript for a digit, `int` does not."""
    assert normal().command("p", "lease-list", limit=limit).code == "ok"


# --- two holders of one address ----------------------------------------------------------------------------------------------


def test_a_rebinding_that_both_answered_keeps_the_longer_promise() -> None:
    """0 s: p leases x for 600 s, s takes it, its BNDACK is lost with the link. 40 s: the client rebinds by broadcast, both answer in one
    second: p, which was never acked, 600 s; s 3600 s, and the client takes that. Contact: both updates tie and the primary's wins
    (6.4). 640 s: p expired x, s agreed, and x was free for others while the client held it until 3640 s."""
    duo = normal(mclt="10m")
    duo.hold_bytes = lambda sender, data: sender == "s" and kinds(data)[0] == MessageType.BNDACK
    x = duo.given("p", 1)
    duo.settle()
    duo.cut()
    duo.hold_bytes = lambda sender, data: False
    duo.run(40)
    duo.now = Now(float(int(duo.now.wall)), duo.now.mono)
    rebinding = duo.packet(3, 1, ciaddr=x)
    answers = {name: duo.say(name, rebinding) for name in ("p", "s")}
    given = {name: lease_s(answer) for name, answer in answers.items() if answer is not None}
    assert given == {"p": 600, "s": 3600}
    held_until = int(duo.now.wall) + 3600
    duo.heal()
    duo.until(lambda: duo.states() == ("normal", "normal"))
    duo.run(10)
    for name in ("p", "s"):
        lease = duo.lease(name, x)
        assert (lease.state, lease.ends, lease.owed) == (BindingState.ACTIVE, held_until, False)


def test_a_request_that_a_dhcpd_answered_too_keeps_the_longer_promise() -> None:
    """0 s: p leases x for 15 s, a dhcpd takes it; p's DHCPACK is late (zero-loss, or lost), and 1 s later the client repeats its REQUEST by
    broadcast. dhcpd knows x by now, answers it as well, with 150 s, and the client takes that. Both updates cross and tie: p refuses
    dhcpd's (16), dhcpd takes p's. 15 s: p expired x, dhcpd agreed, and x was free for others while the client held it until 151 s."""
    duo = normal()
    duo.hold_bytes = lambda sender, data: sender == "p" and MessageType.BNDUPD in kinds(data)
    x = duo.given("p", 1)
    lease = duo.lease("p", x)
    duo.tick()
    link = duo.nodes["p"].endpoints["fo"].link
    assert link is not None
    theirs = binding_of(lease)
    theirs.ends, theirs.potential = lease.ends + 3000, lease.ends + 3600
    duo.inbox["p"].append(LinkBytes("fo", link.number, wire.encode(wire.bndupd(int(duo.now.wall), 999, theirs))))
    duo.tick()
    assert duo.noted("p", "binding-update-less-critical") == 1
    kept = duo.lease("p", x)
    assert (kept.state, kept.client, kept.ends, kept.owed) == (BindingState.ACTIVE, lease.client, lease.ends + 3000, True)


def renewed_at_the_partner_only(duo: Duo) -> tuple[int, float]:
    """p and s know x as leased to client 1; in its last 20 s the link fails and s alone renews it. Returns x, and until when client 1
    holds it."""
    x = duo.given("p", 1)
    duo.settle()
    duo.run(300, 1)
    duo.renew("p", 1, x)
    duo.settle(100)
    duo.run(duo.lease("p", x).ends - duo.now.wall - 20, 5)
    duo.cut()
    duo.run(0.2)
    renewed = duo.renew("s", 1, x)
    assert renewed is not None
    return x, duo.now.wall + lease_s(renewed)


@pytest.mark.parametrize("declared", [True, False])
def test_a_partner_back_without_its_disk_frees_nothing_by_its_acks(declared: bool) -> None:
    """-20 s: the link fails, s renews x for 2420 s, s dies with its disk. 0 s: p is told partner-down, x ends there: EXPIRED. 30 s: s is
    back with an empty disk and acks the EXPIRED, of which it knows nothing: p had x FREE, its own, and gave it to another client at
    70 s (safety.md 15; without partner-down p knew)."""
    duo = normal(last=103)
    x, held_until = renewed_at_the_partner_only(duo)
    duo.crash("s")
    duo.lose_database("s")
    duo.heal()
    duo.run(1)
    if declared:
        assert duo.command("p", "partner-down").code == "ok"
    duo.run(30, 1)
    duo.start("s")
    while duo.now.wall < held_until - 70:
        duo.run(50, 2)
        for name, mac in (("p", 2), ("p", 3), ("p", 4), ("s", 5), ("s", 6), ("s", 7)):
            other = duo.dora(name, mac)
            assert other is None or other.yiaddr != x, f"{name} gave it away {held_until - duo.now.wall:.0f} s early"
    assert duo.states() == ("normal", "normal")
    assert kind(duo.renew("p", 1, x)) == "ack", "its own client may have it"


def test_a_resting_address_is_not_handed_to_the_partner() -> None:
    """x rests at p after s lost its disk (safety.md 15). The pool balance handed it to s, which knew of no rest and gave it away."""
    duo = normal(last=103)
    for address in range(FIRST, FIRST + 4):
        lease = duo.lease("p", address)
        if lease.state is BindingState.FREE:
            duo.nodes["p"].change(lease, lease.evolve(not_before=int(duo.now.wall) + 900), Origin.BOOT, "test", duo.now)
    for mac in range(2):
        assert duo.dora("s", 10 + mac) is not None
    duo.run(400, 1)
    assert duo.nodes["s"].table.pools["10.0.0.100-10.0.0.103"].count(BindingState.BACKUP) == 0
    assert kind(duo.dora("p", 2)) == "silence"
    duo.run(600, 1)
    assert duo.nodes["s"].table.pools["10.0.0.100-10.0.0.103"].count(BindingState.BACKUP) > 0


# --- a survivor in doubt -------------------------------------------------------------------------------------------------------


def survivor_in_doubt() -> Duo:
    """p in partner-down was away for ten minutes: it cannot know whether s was declared the survivor meanwhile (safety.md 12)."""
    duo = normal()
    duo.crash("s")
    duo.settle()
    duo.command("p", "partner-down")
    duo.run(30)
    duo.crash("p")
    duo.run(1000, 10)
    duo.start("p")
    duo.run(30)
    assert kind(duo.dora("p", 60)) == "silence"
    return duo


def test_a_second_restart_ends_no_doubt() -> None:
    """1030 s: p is back in doubt, and stamps that it operates. 1060 s: it restarts; the stamp is 10 s old, so p took itself for a survivor
    that had never been away, and gave its own addresses, which s in partner-down of its own may have given since 1030 s."""
    duo = survivor_in_doubt()
    bound = duo.nodes["p"].endpoints["fo"].doubt
    duo.crash("p")
    duo.run(5)
    duo.start("p")
    duo.run(30)
    assert duo.nodes["p"].endpoints["fo"].doubt == bound
    assert kind(duo.dora("p", 61)) == "silence"


def test_a_pause_in_doubt_moves_no_bound() -> None:
    """A beat gap counted from the operation stamp, which goes on under the bound, and so gave MCLT more."""
    duo = survivor_in_doubt()
    endpoint = duo.nodes["p"].endpoints["fo"]
    bound = endpoint.doubt
    endpoint.beat_gap(duo.now)
    assert endpoint.doubt == bound


def test_partner_down_in_partner_down_ends_the_doubt_and_everything_waits() -> None:
    """The verb said "already in partner-down" and the doubt had no way out but `serve --force`, which states what nobody knows."""
    duo = survivor_in_doubt()
    epoch = duo.nodes["p"].endpoints["fo"].record.epoch
    assert duo.command("p", "partner-down").code == "ok"
    record = duo.nodes["p"].endpoints["fo"].record
    assert (record.doubt, record.wait_all, record.epoch) == (None, True, epoch + 1)
    assert record.partner_down_since >= int(duo.now.wall) - 1
    assert kind(duo.dora("p", 62)) == "silence"
    duo.run(590, 10)
    assert kind(duo.dora("p", 62)) == "silence"
    duo.run(30)
    assert kind(duo.dora("p", 62)) == "ack"


def test_since_given_later_keeps_that_everything_waits() -> None:
    """Partner-down declared in doubt makes our own free addresses wait. `--since` typed a minute later, no longer in doubt, forgot that,
    and they were given at once although the time given had not made the partner's last leases end."""
    duo = survivor_in_doubt()
    assert duo.command("p", "partner-down").code == "ok"
    duo.run(60)
    assert duo.command("p", "partner-down", since=str(int(duo.now.wall) - 100)).code == "ok"
    assert duo.nodes["p"].endpoints["fo"].record.wait_all
    assert kind(duo.dora("p", 63)) == "silence"


def test_serve_force_outlives_a_restart() -> None:
    duo = survivor_in_doubt()
    assert duo.command("p", "serve-force").code == "ok"
    duo.crash("p")
    duo.run(5)
    duo.start("p")
    duo.run(20)
    assert kind(duo.dora("p", 64)) == "ack"


# --- a link that lives and leads nowhere ---------------------------------------------------------------------------------------


def test_an_updreqall_that_is_never_done_is_asked_again() -> None:
    """s is back without its disk and asks for everything; p's UPDDONE never comes (dhcpd forgets it when an ack got lost, 10.2 #14).
    s sat in recover, the link alive, for ever."""
    duo = normal()
    duo.crash("s")
    duo.lose_database("s")
    duo.hold_bytes = lambda sender, data: sender == "p" and MessageType.UPDDONE in kinds(data)
    duo.run(1)
    duo.start("s")
    duo.run(30)
    duo.hold_bytes = lambda sender, data: False
    assert duo.state("s") == "recover"
    duo.until(lambda: duo.states() == ("normal", "normal"), 700)
    assert duo.noted("s", "partner-stalled") == 1


def test_a_linked_partner_without_a_state_keeps_nobody_in_startup() -> None:
    """The handshake completes and no STATE comes: a starting server served nobody for ever, and asked to be stepped at once each time."""
    duo = normal()
    duo.crash("p")
    duo.run(3)
    duo.hold_bytes = lambda sender, data: sender == "s" and MessageType.STATE in kinds(data)
    duo.start("p")
    duo.run(20)
    assert duo.state("p") == "startup"
    assert duo.nodes["p"].deadline(duo.now) > duo.now.mono
    duo.until(lambda: duo.state("p") == "communications-interrupted")


def test_auto_partner_down_counts_from_the_last_contact() -> None:
    """s in communications-interrupted met a partner that only waits (254), for longer than auto-partner-down. The timer stood all the
    time: a step was wanted at once, always, and when the link was lost the partner was declared down in that instant."""
    duo = normal()
    endpoint = duo.nodes["p"].endpoints["fo"]
    endpoint.terms = replace(endpoint.terms, auto_partner_down_s=300)
    duo.hold_bytes = lambda sender, data: MessageType.STATE in kinds(data)
    assert endpoint.link is not None
    endpoint.drop("test", duo.now)
    duo.run(10)
    assert endpoint.link is not None
    waits = wire.state(int(duo.now.wall), 9, state=ServerState.RECOVER_WAIT, flags=0, since=0)
    endpoint.link_bytes(endpoint.link.number, wire.encode(waits), duo.now)
    duo.run(310, 1)
    assert duo.state("p") == "communications-interrupted"
    assert endpoint.link is not None
    assert duo.nodes["p"].deadline(duo.now) > duo.now.mono
    duo.cut()
    duo.run(200, 1)
    assert duo.state("p") == "communications-interrupted"
    duo.until(lambda: duo.state("p") == "partner-down", 300)


def test_a_retry_wanted_in_a_state_that_sends_nothing_wants_no_step() -> None:
    """A RELEASED refused with 16 is told again after 4 s; in potential-conflict nothing is told, and the daemon span."""
    duo = normal()
    endpoint = duo.nodes["p"].endpoints["fo"]
    endpoint.updates.retries[FIRST] = duo.now.mono - 1
    endpoint.record.state = ServerState.POTENTIAL_CONFLICT
    assert endpoint.deadline(duo.now) > duo.now.mono


@pytest.mark.parametrize("said", [0, 1, 99, 5])
def test_a_state_that_says_nothing_ends_no_doubt(said: int) -> None:
    """p booted alone and is in doubt. A STATE of no known number, or one that p refuses and drops the link for, made p sure that s had not
    been in partner-down (safety.md 11)."""
    duo = normal()
    duo.run(15)
    duo.crash("p")
    duo.hold_bytes = lambda sender, data: sender == "s" and MessageType.STATE in kinds(data)
    duo.start("p")
    duo.run(2)
    endpoint = duo.nodes["p"].endpoints["fo"]
    assert endpoint.link is not None
    bound = endpoint.doubt
    assert bound is not None
    says = wire.state(int(duo.now.wall), 9, state=said, flags=0, since=0)
    endpoint.link_bytes(endpoint.link.number, wire.encode(says), duo.now)
    assert endpoint.doubt == bound


def test_a_secondary_believes_no_connectack() -> None:
    """Only a primary asks with CONNECT. A CONNECTACK from nowhere established a link without MCLT and hash buckets."""
    duo = Duo(new_pair=False)
    endpoint = duo.nodes["s"].endpoints["fo"]
    endpoint.link_up(77, True, duo.now)
    hello = wire.connect_ack(int(duo.now.wall), 1, name=b"fo", max_unacked=10, receive_timer=30, tls_asked=False)
    endpoint.link_bytes(77, wire.encode(hello), duo.now)
    assert endpoint.link is None


# --- addresses lost for good -----------------------------------------------------------------------------------------------------


def test_a_client_without_a_hardware_address_loses_no_address() -> None:
    """A client with a client-id and hlen 0 (InfiniBand, RFC 4390): the binding was told without option 5, the partner refused it with 3, at
    the lease's end as well, and the address stayed EXPIRED here for ever. Anyone could empty a pool so."""
    duo = normal(last=103)

    def packet(kind_: int, options: dict[int, bytes]) -> bytes:
        return encode(Packet(1, 32, 0, 0, 7, 9, 0x8000, 0, 0, 0, 0, b"", options={53: bytes((kind_,)), 61: b"\xffabcd", **options}))

    offer = duo.say("p", packet(1, {}))
    assert offer is not None
    x = offer.yiaddr
    ask = packet(3, {50: x.to_bytes(4, "big"), 54: ADDRESS["p"].to_bytes(4, "big")})
    assert kind(duo.say("p", ask)) == "ack"
    duo.settle()
    for name in ("p", "s"):
        assert (duo.lease(name, x).state, duo.lease(name, x).rejected) == (BindingState.ACTIVE, 0)
    duo.run(650, 1)
    assert duo.lease("p", x).state in (BindingState.FREE, BindingState.BACKUP)


@pytest.mark.parametrize("low", [True, False])
def test_a_release_at_the_partner_does_not_win_over_an_ack_given_since(low: bool) -> None:
    """0 s: the link is cut. 40 s: the client releases x at s, then comes back and asks p, which answers with the remaining time, for its
    disk is low (safety.md 7), or it booted alone (11), and wrote nothing. Contact: s's RELEASED met a lease that p owed nobody, x was
    free, and another client had it while the first held it for nine minutes more."""
    duo = normal(last=103)
    x = duo.given("p", 1)
    duo.run(15)
    duo.cut()
    duo.run(40)
    duo.release("s", 1, x)
    if low:
        duo.inbox["p"].append(DiskState(True))
    else:
        duo.crash("p")
        duo.start("p")
        duo.run(20)
    duo.tick()
    again = duo.renew("p", 1, x)
    assert again is not None
    held_until = duo.now.wall + lease_s(again)
    assert held_until > duo.now.wall + 400
    duo.inbox["p"].append(DiskState(False))
    duo.heal()
    duo.until(lambda: duo.states() == ("normal", "normal"))
    duo.run(10)
    for name in ("p", "s"):
        lease = duo.lease(name, x)
        assert (lease.state, lease.owed) == (BindingState.ACTIVE, False)
        assert lease.ends >= held_until - 2


def test_an_address_that_two_clients_were_granted_goes_to_no_third() -> None:
    """The link is cut and p is wrongly told partner-down; 700 s later p grants x, of s's half, to client 3, and s grants it to client 20.
    Contact: client 3's grant is the later one and stands. It gives x back at once; x was free on both and went to a third client while
    client 20, which nobody has told yet, held it for nine minutes more (safety.md 19)."""
    duo = normal(last=103)
    duo.cut()
    duo.run(40)
    duo.command("p", "partner-down")
    duo.run(700, 2)
    granted = {ack.yiaddr: mac for mac in range(1, 5) if (ack := duo.dora("p", mac)) is not None}
    lost = duo.dora("s", 20)
    assert lost is not None
    x, held_until = lost.yiaddr, duo.now.wall + lease_s(lost)
    duo.run(2)
    assert kind(duo.renew("p", granted[x], x)) == "ack"
    duo.heal()
    duo.until(lambda: duo.states() == ("normal", "normal"))
    duo.run(5)
    assert duo.lease("s", x).hw[-1] == granted[x]
    duo.release("p", granted[x], x)
    assert min(duo.lease(name, x).disputed for name in ("p", "s")) >= held_until - 1
    while duo.now.wall < held_until - 70:
        for name in ("p", "s"):
            other = duo.dora(name, 30)
            assert other is None or other.yiaddr != x, f"{name} gave it to a third {held_until - duo.now.wall:.0f} s early"
        duo.run(60, 1)


def test_a_shorter_mclt_counts_only_when_nothing_of_the_longer_can_be_left() -> None:
    """s alone grants 30 leases under an MCLT of 600 s; p returns with 60 s, both are normal, p owes nothing, but most of what s owes waits
    for the window. s dies. p waited 60 s, not 600, for addresses of s's half (safety.md 9)."""
    duo = normal()
    endpoint = duo.nodes["p"].endpoints["fo"]
    endpoint.record.mclt_s = 60
    duo.run(300, 1)
    assert endpoint.rights(duo.now).wait_mclt_s == 600
    duo.run(700, 1)
    assert endpoint.rights(duo.now).wait_mclt_s == 60


def test_an_address_once_expired_by_agreement_can_be_recycled_when_alone() -> None:
    """x was leased, expired, and s agreed: free on both. s falls. Alone, p leases x to client 2 and tells nobody; at its end x stayed
    EXPIRED until contact (7.4 lets p recycle it), since p believed that s knew x as EXPIRED: in a long outage a pool ran dry."""
    duo = normal(last=103, split=256)
    x = duo.given("p", 1)
    duo.run(620, 1)
    assert duo.lease("p", x).state is BindingState.FREE
    duo.crash("s")
    duo.settle()
    granted = [other for mac in range(2, 6) if (other := duo.dora("p", mac)) is not None]
    assert x in [other.yiaddr for other in granted]
    duo.run(3700, 20)
    assert duo.lease("p", x).state is BindingState.FREE


def test_a_refused_update_is_told_again_on_the_live_link() -> None:
    """s refused p's update of x (a bad day, a limit, a bug). p told it again at the next entry to normal only: with a link that holds for
    weeks x was nobody's for weeks (safety.md 18)."""
    duo = normal()
    told: list[tuple[float, int]] = []

    def take(sender: str, data: bytes) -> bool:
        updates = [m for m in Framer().feed(data) if sender == "p" and m.kind == MessageType.BNDUPD]
        told.extend((duo.now.mono, message.xid) for message in updates)
        return bool(updates)

    duo.hold_bytes = take
    x = duo.given("p", 1)
    endpoint = duo.nodes["p"].endpoints["fo"]

    def answer(**more: object) -> None:
        assert endpoint.link is not None
        made = wire.bnd_reject(int(duo.now.wall), told[-1][1], x, 6, "no") if more else None
        made = made or wire.bndack(int(duo.now.wall), told[-1][1], x)
        endpoint.link_bytes(endpoint.link.number, wire.encode(made), duo.now)

    for wait in (4, 8, 16):
        times = len(told)
        answer(refused=True)
        assert duo.lease("p", x).rejected == 6
        duo.run(wait - 1)
        assert len(told) == times, "backoff"
        duo.run(2)
        assert len(told) == times + 1
    assert status.conflicts(duo.nodes["p"])["rejected"][0]["attempts"] == 3  # type: ignore[index]
    answer()
    lease = duo.lease("p", x)
    assert (lease.rejected, lease.owed, endpoint.updates.refused) == (0, False, {})


def test_a_free_address_is_found_behind_any_number_that_rest() -> None:
    """The oldest 64 free addresses rested (safety.md 15), and a DISCOVER was told that there is none, although the next one was free."""
    duo = normal(last=249, split=256)
    node = duo.nodes["p"]
    for address in range(FIRST, FIRST + 150):
        lease = duo.lease("p", address)
        rests = int(duo.now.wall) + 900 if address < FIRST + 149 else 0
        if lease.state is BindingState.FREE or address == FIRST + 149:
            node.change(lease, lease.evolve(state=BindingState.FREE, not_before=rests, ends=1), Origin.BOOT, "test", duo.now)
    for state in node.endpoints["fo"].updates.pools:
        assert state.count(BindingState.FREE) > 70
    x = duo.given("p", 1)
    assert x == FIRST + 149
    assert kind(duo.dora("p", 2)) == "silence"
    duo.release("p", 1, x)
    duo.settle()
    node.change(
        duo.lease("p", FIRST), duo.lease("p", FIRST).evolve(state=BindingState.FREE, not_before=0), Origin.BOOT, "x", duo.now
    )
    assert kind(duo.dora("p", 3)) == "ack", "what becomes free is seen at once"


def test_a_release_that_crosses_an_ack_of_what_remains_frees_nothing() -> None:
    """The disk of p is low. The client gives x back to s, and asks p before s's RELEASED is there: p answers with what remains and writes
    nothing, then believes the RELEASED, and x is free on both while the client holds it."""
    duo = normal(last=103)
    x = duo.given("p", 1)
    duo.run(20)
    duo.inbox["p"].append(DiskState(True))
    late: list[bytes] = []

    def slow(sender: str, data: bytes) -> bool:
        if sender == "s":
            late.append(data)
        return sender == "s"

    duo.hold_bytes = slow
    duo.release("s", 1, x)
    duo.run(2)
    again = duo.renew("p", 1, x)
    assert again is not None
    held_until = duo.now.wall + lease_s(again)
    duo.hold_bytes = lambda sender, data: False
    link = duo.nodes["p"].endpoints["fo"].link
    assert link is not None
    duo.inbox["p"].append(LinkBytes("fo", link.number, b"".join(late)))
    duo.run(20)
    for name in ("p", "s"):
        assert duo.lease(name, x).state is BindingState.ACTIVE
        assert duo.lease(name, x).ends >= held_until - 2
    duo.release("s", 1, x)
    duo.run(5)
    assert duo.lease("p", x).state is not BindingState.ACTIVE, "a release after it counts"


def test_a_renewal_that_comes_late_does_not_make_the_release_after_it_good() -> None:
    """The link stalls, nobody has noticed yet. The client renews x at p, gives it back to p, then asks s, which has x ACTIVE and answers
    with what remains, since its disk is low (or p's clock is ahead, as in the simulator's seed 100514). The link goes on: p's renewal
    comes, and s had forgotten the confirmation with the change of the row; then p's RELEASED comes, s takes it, and x is free on both
    while the client holds it."""
    duo = normal(last=103)
    duo.run(1)
    x = duo.given("p", 1)
    duo.run(10)
    assert duo.renew("p", 1, x) is not None
    duo.run(5)
    late: list[bytes] = []

    def stalled(sender: str, data: bytes) -> bool:
        if sender == "p":
            late.append(data)
        return sender == "p"

    duo.hold_bytes = stalled
    duo.inbox["s"].append(DiskState(True))
    duo.run(2)
    assert duo.renew("p", 1, x) is not None
    duo.run(1)
    duo.release("p", 1, x)
    duo.run(2)
    again = duo.renew("s", 1, x)
    assert again is not None
    held_until = duo.now.mono + lease_s(again)
    duo.hold_bytes = lambda sender, data: False
    link = duo.nodes["s"].endpoints["fo"].link
    assert link is not None
    duo.inbox["s"].append(LinkBytes("fo", link.number, b"".join(late)))
    duo.run(20)
    assert duo.states() == ("normal", "normal")
    while duo.now.mono < held_until - 60:
        assert {duo.lease(name, x).state for name in ("p", "s")} == {BindingState.ACTIVE}
        duo.run(50, 1)


def test_a_stale_offer_does_not_deny_a_lease_of_the_partners_to_its_client() -> None:
    """s offers x, its own, to a client that does not take it up, and is stopped; p, told partner-down, leases x to another client. s wakes
    and learns of the lease; p dies; the client comes to s: it was NAKed for 120 s, because s had x on offer still (torture, seed 77)."""
    duo = normal(mclt="30s", last=103)
    offer = duo.discover("s", 9, secs=10)
    assert offer is not None
    x = offer.yiaddr
    asleep = duo.nodes.pop("s")
    duo._break_links()
    duo.settle()
    duo.command("p", "partner-down")
    duo.run(90, 1)
    macs = iter(range(1, 9))
    while (ack := duo.dora("p", mac := next(macs))) is None or ack.yiaddr != x:
        pass
    duo.nodes["s"] = asleep
    duo.inbox["s"] = []
    duo.until(lambda: duo.states() == ("normal", "normal"), 20)
    duo.settle()
    assert duo.lease("s", x).state is BindingState.ACTIVE
    assert asleep.table.offered_to(x, duo.now.mono) == b""
    duo.crash("p")
    duo.run(1)
    assert kind(duo.renew("s", mac, x)) == "ack"


def test_what_an_earlier_copy_says_that_the_partner_acked_counts_nothing() -> None:
    """p's database is put back to a copy in which s had acked x until long after now; since then the client had released x, and s had freed
    it. p, alone and told partner-down, gave x to its client for the full time again, of which s knew nothing (simulator: seed 600244)."""
    lease = Lease(FIRST, BindingState.ACTIVE, hw=b"\x01\x02", ends=1000, acked=5000)
    alone = Rights(True, mclt_s=60)
    assert limit(lease, alone, 100) == 5060
    assert limit(lease, replace(alone, outdated=True), 100) == 160


def test_a_server_that_was_told_partner_down_without_its_database_says_so_to_its_partner() -> None:
    """p is dead. s, in partner-down, renews x beyond what p knows, then loses its disk and is told partner-down again. p comes back: both
    resolved a conflict, of which nothing is left at s, and p, which could not know that there had been more, expired x and gave it to
    another client while the first one held it (simulator: seed 600560)."""
    duo = normal(mclt="2m", lease="10m", last=103)
    x = duo.given("p", 1)
    duo.run(10)
    assert duo.renew("p", 1, x) is not None
    duo.run(10)
    duo.crash("p")
    duo.settle()
    duo.command("s", "partner-down")
    duo.run(600, 1)
    renewed = duo.renew("s", 1, x)
    assert renewed is not None
    held_until = duo.now.wall + lease_s(renewed)
    duo.run(5)
    duo.crash("s")
    duo.lose_database("s")
    duo.start("s")
    duo.run(20)
    duo.command("s", "partner-down")
    duo.run(5)
    duo.start("p")
    while duo.now.wall < held_until - 15:
        duo.run(10, 1)
        for name, mac in (("p", 2), ("p", 3), ("p", 4), ("p", 5), ("s", 6), ("s", 7)):
            other = duo.dora(name, mac)
            assert other is None or other.yiaddr != x, f"{name} gave it away {held_until - duo.now.wall:.0f} s early"
    duo.until(lambda: duo.states() == ("normal", "normal"), 900)


def test_what_was_abandoned_behind_the_back_of_a_lost_partner_rests_too() -> None:
    """s dies while client 1 holds x of p; the client declines x at p, comes to s, which boots alone and renews it, and s loses its disk. p,
    told partner-down, had told nobody that x is ABANDONED: it took the ack of the empty s for an agreement, and gave x away when its
    quarantine ended, long before the lease that s had forgotten (simulator: seed tls3024)."""
    duo = normal(last=103)
    x = duo.given("p", 1)
    duo.run(5)
    duo.crash("s")
    duo.settle()
    duo.say("p", duo.packet(Dhcp.DECLINE, 1, _50=x.to_bytes(4, "big"), _54=ADDRESS["p"].to_bytes(4, "big")))
    duo.run(1)
    assert duo.lease("p", x).state is BindingState.ABANDONED
    horizon = duo.lease("p", x).horizon
    assert horizon > duo.now.wall
    duo.lose_database("s")
    duo.command("p", "partner-down")
    duo.start("s")
    duo.until(lambda: duo.state("s") == "recover-wait")
    assert duo.lease("p", x).not_before >= horizon + 600


def test_two_free_states_that_cross_end_in_one() -> None:
    """Both recover, and p's database is another one: p says FREE, s says BACKUP, at one moment. p took s's word since its own database
    counts nothing, s took p's since p is the primary: each had what the other had had, and x was nobody's (simulator: seed tls3012)."""
    common: dict[str, Any] = {"hw": None, "client_id": None, "potential": 0, "cltt": 0, "flags": 0, "announced_cltt": 0}
    common |= {"in_normal": False, "now": 1500, "slack_s": 0}
    free, backup = Lease(FIRST), Lease(FIRST, BindingState.BACKUP)
    at_p = judge(free, 7, announced=BindingState.FREE, primary=True, outdated=True, **common)
    at_s = judge(backup, 1, announced=BindingState.BACKUP, primary=False, **common)
    assert (at_p.accept, at_s.accept) == (False, True)
    alone = judge(free, 7, announced=None, primary=True, outdated=True, **common)
    assert alone.accept


def test_recover_wait_counts_from_the_last_moment_of_service_in_this_life_too() -> None:
    """s, whose database was lost, is told partner-down, grants, and 8 s later meets p and recovers: it waited from the operation stamp,
    which is written every 10 s, and served again up to 10 s before MCLT after its last DHCPACK (simulator: seed 800350)."""
    duo = normal(last=103)
    endpoint = duo.nodes["s"].endpoints["fo"]
    duo.until(lambda: endpoint.record.operated < duo.now.wall - 6)
    endpoint.move(ServerState.RECOVER, "its database was lost", duo.now)
    assert endpoint.record.operated == int(duo.now.wall)


def test_two_that_recover_wait_for_what_one_of_them_granted_without_its_database() -> None:
    """s lost its database, was told partner-down, and granted until it met p, which recovers as well: with both in recover it counted as
    two empty databases, whose wait from the boot was long over, and s served at once, 0.3 s after its last DHCPACK (simulator: 1071)."""
    record = RelationshipRecord("fo", ServerState.RECOVER, partner_state=ServerState.RECOVER, operated=5000, mclt_s=600)
    boot = BootFacts(1000.0, 0.0, False, 3600)
    assert waits.recover_until(record, boot, False, 5001.0)[0] == 5601  # 5000 is rounded down
    assert waits.recover_until(record, boot, True, 5001.0)[0] == 5601
    assert waits.recover_until(replace(record, operated=0), boot, True, 5001.0)[0] == 5001


def test_a_primary_that_fell_in_conflict_done_keeps_nobody_waiting_in_startup() -> None:
    """p falls in conflict-done, s is told partner-down, p is back: s may say nothing to a primary in conflict-done that partner-down
    would end if it were a dhcpd (safety.md 21), and p waited in startup for its STATE. No time limit spoke, since s told its renewals:
    the two were stuck as long as clients renewed (simulator: seed 803)."""
    duo = normal()
    for name in ("p", "s"):
        duo.dora(name, 1 if name == "p" else 9)
    duo.cut()
    duo.run(60)
    for name in ("p", "s"):
        duo.command(name, "partner-down")
    duo.hold_bytes = lambda sender, data: sender == "p" and MessageType.UPDDONE in kinds(data)
    duo.heal()
    duo.until(lambda: duo.state("p") == "conflict-done")
    duo.crash("p")
    duo.hold_bytes = lambda sender, data: False
    duo.settle()
    assert duo.command("s", "partner-down").code == "ok"
    x = duo.given("s", 9)
    duo.start("p")
    for _ in range(8):
        duo.run(5)
        duo.renew("s", 9, x)
    duo.run(5)
    assert duo.states() == ("normal", "normal")


def test_a_quarantine_that_the_partner_never_heard_of_does_not_end_in_free() -> None:
    """Simulator, seed 1246. Cut: p renews client 6 on x, which declines it: ABANDONED, untold. 180 s: the quarantine ends, x is FREE and
    p's own; s, which still knows x as client 6's, renews it; p gives x to client 10."""
    now = 1_700_000_000
    lease = Lease(FIRST, BindingState.ABANDONED, ends=now, horizon=now + 300, rewind=BindingState.ACTIVE, owed=True)
    untold = reclaim.on_clock(lease, Rights(True), now + 1)
    assert (untold.state, untold.owed) == (BindingState.RESET, True)
    assert reclaim.on_clock(lease.evolve(owed=False), Rights(True), now + 1).state is BindingState.FREE


def test_a_server_without_its_database_asks_for_everything_in_conflict_resolution() -> None:
    """s dies with its disk, is declared down, comes back behind a cut and is told partner-down as well. In potential-conflict it asked for
    what p owed: nothing. Both were normal, and the free addresses that p had as s's own were nobody's (simulator: seed 100529)."""
    duo = normal()
    before = {a for a in range(FIRST, FIRST + 10) if duo.lease("p", a).state is BindingState.BACKUP}
    assert before
    duo.crash("s")
    duo.lose_database("s")
    duo.settle()
    duo.command("p", "partner-down")
    duo.cut()
    duo.start("s")
    duo.run(20)
    duo.command("s", "partner-down")
    duo.run(5)
    duo.run(131000, 60)  # nothing that it forgot can run any more: it is not too late to resolve (what comes earlier recovers)
    duo.heal()
    duo.until(lambda: duo.states() == ("normal", "normal"))
    duo.run(5)
    for a in before:
        assert duo.lease("p", a).state is duo.lease("s", a).state


def test_a_clock_that_was_set_while_the_servers_were_apart_frees_nothing_early() -> None:
    """Simulator, seed 1064. The clocks agreed when they were last compared. p is in partner-down, its clock is set 22 s forward; x of
    the partner's ends there, and 22 s too early p, then s, called it free and p gave it away."""
    duo = normal(last=103)
    x, held_until = renewed_at_the_partner_only(duo)
    del held_until
    duo.crash("s")
    assert duo.command("p", "partner-down").code == "ok"
    end = duo.lease("p", x).ends
    duo.run(end - duo.now.wall - 12, 1)
    duo.now = Now(duo.now.wall + 22, duo.now.mono)
    duo.run(3, 1)
    assert end < duo.now.wall < end + 22
    assert duo.lease("p", x).state is BindingState.ACTIVE
    duo.run(30, 1)
    assert duo.lease("p", x).state is BindingState.EXPIRED


def test_an_earlier_copy_of_the_database_takes_the_partners_word() -> None:
    """Simulator, seed 1227. s comes back with a copy in which client 2 holds x; p knows that x was released since, and says FREE. s
    refused that (code 2), kept a lease that nobody has, and promised on what p had acked long ago."""
    lease = Lease(FIRST, BindingState.ACTIVE, hw=b"\x01\x02\x00\x00\x00\x00\x02", ends=2000, potential=2300, acked=2300, cltt=1000)
    for outdated, accepted in ((False, False), (True, True)):
        verdict = judge(
            lease,
            BindingState.FREE,
            hw=lease.hw,
            client_id=None,
            potential=0,
            cltt=0,
            flags=0,
            announced=None,
            announced_cltt=0,
            in_normal=False,
            primary=False,
            now=1500,
            slack_s=0,
            outdated=outdated,
        )
        assert verdict.accept is accepted


def test_a_name_that_the_partner_removed_for_want_of_an_update_is_looked_at_again() -> None:
    """100 s: p renews x, its BNDUPD waits behind a slow link. 250 s: contact is lost; s, for which x has ended, removes its name. At the
    next contact p looked only at what it had granted since 250 s, and the client had no name until its lease ended (simulator, 5009)."""
    duo = normal()
    duo.hold_bytes = lambda sender, data: sender == "p" and MessageType.BNDUPD in kinds(data)
    x = duo.given("p", 1)
    duo.run(50)
    node = duo.nodes["p"]
    endpoint = node.endpoints["fo"]
    endpoint.apart_since = int(duo.now.wall) - 5
    apart = node._granted_apart("fo", ServerState.COMMUNICATIONS_INTERRUPTED, endpoint.rights(duo.now))
    assert [lease.address for lease in apart] == [x]


# --- the wall clock is set back while the server runs (safety.md 10) ---------------------------------------------------------


def set_back(duo: Duo, seconds: float) -> None:
    duo.now = Now(duo.now.wall - seconds, duo.now.mono)


def test_rule_10_a_clock_set_back_in_doubt_does_not_lengthen_the_bound() -> None:
    """Cut at 20 s, booted alone, and at 90 s the clock goes back an hour: the bound of rule 11, a time of day, was an hour away again, and
    new clients got leases that ended 69 minutes after the last contact, with an MCLT of 10."""
    duo = normal()
    duo.run(30)
    duo.cut()
    duo.crash("s")
    duo.start("s")
    duo.run(60)
    endpoint = duo.nodes["s"].endpoints["fo"]
    contact_mono = duo.now.mono - (duo.now.wall - endpoint.record.proven)
    set_back(duo, 3600)
    for mac in range(50, 54):
        ack = duo.dora("s", mac)
        assert ack is None or duo.now.mono + lease_s(ack) <= contact_mono + 600 + 1, mac
        duo.run(200, step_s=5)
    assert kind(duo.dora("s", 54)) == "silence", "the bound has passed"
    assert duo.command("s", "partner-down").code == "ok"
    assert endpoint.record.wait_all, "the partner may have been in partner-down, and used our own half (rule 12)"


def test_rule_10_a_clock_set_back_while_apart_does_not_lengthen_what_the_partner_knows() -> None:
    """Without doubt a renewal may reach the acked potential expiry + MCLT. That expiry, too, is an hour later than it was acked."""
    duo = normal()
    held = duo.given("s", 1)
    duo.settle()
    acked = duo.lease("s", held).acked
    acked_mono = duo.now.mono + (acked - duo.now.wall)
    duo.cut()
    duo.until(lambda: duo.state("s") == "communications-interrupted", 90)
    set_back(duo, 3600)
    ack = duo.say("s", duo.packet(3, 1, ciaddr=held, o51=(86_400).to_bytes(4, "big")), ADDRESS["s"])
    assert ack is not None
    assert duo.now.mono + lease_s(ack) <= acked_mono + 600 + 1


def test_rule_10_contact_is_never_proven_for_the_future() -> None:
    """Both clocks are set back by an hour (one time server): the last proven contact stayed an hour ahead, and with it the bound of a
    pause or a boot."""
    duo = normal()
    duo.run(5)
    set_back(duo, 3600)
    duo.run(30)
    assert duo.states() == ("normal", "normal")
    for name in "ps":
        assert duo.nodes[name].endpoints["fo"].record.proven <= duo.now.wall


def test_rule_17_a_grant_after_the_clock_was_set_back_counts() -> None:
    """Its end is an earlier time of day than the bound, and a later moment."""
    duo = normal(tls=True)
    duo.run(25)
    duo.cut()
    duo.until(lambda: set(duo.states()) == {"communications-interrupted"}, 90)
    set_back(duo, 3600)
    assert kind(duo.dora("s", 2)) == "ack"
    assert duo.nodes["s"].endpoints["fo"].record.beyond
