"""Histories of two servers that meet again, found by the simulator: what one of them gave, forgot or renewed meanwhile. Each is named after
the bug; `p` is the primary, `s` the secondary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from failoverd.failover import waits
from failoverd.failover.message import Binding, Framer, MessageType, ServerState
from failoverd.failover.record import BootFacts, RelationshipRecord
from failoverd.failover.updates import LATE_FOR_S
from failoverd.leases.allocate import refusal
from failoverd.leases.binding import Verdict, judge
from failoverd.leases.lease import BindingState, Lease
from failoverd.leases.mclt import promise
from failoverd.leases.rights import Rights
from failoverd.ports import ClientDatagram, LinkBytes
from tests.pair.duo import ADDRESS, Disk, Duo, kind, normal

FIRST = 0x0A000064


def copy_of(disk: Disk) -> Disk:
    """A backup."""
    copy = Disk()
    copy.rows, copy.newest, copy.uuid, copy.boots = dict(disk.rows), disk.newest, disk.uuid, disk.boots
    return copy


def kinds(data: bytes) -> list[int]:
    """The types of the messages in these bytes."""
    return [message.kind for message in Framer().feed(data)]


def kept(duo: Duo, sender: str, begins: MessageType | None = None) -> Callable[[], None]:
    """From now on, or from a message of a type on, nothing of a server arrives, though the link stands; the result lets all of it arrive
    at last."""
    waiting: list[bytes] = []
    link, other = next(iter(duo._links)), "s" if sender == "p" else "p"

    def hold(who: str, data: bytes) -> bool:
        holds = who == sender and (bool(waiting) or begins is None or begins in kinds(data))
        if holds:
            waiting.append(data)
        return holds

    def release() -> None:
        duo.hold_bytes = lambda who, data: False
        duo.inbox[other].extend(LinkBytes("fo", link, data) for data in waiting)

    duo.hold_bytes = hold
    return release


def declared_apart(duo: Duo) -> None:
    """Behind a cut each server is told that the other is down; then they meet, in a conflict."""
    duo.cut()
    duo.run(35)
    for name in ("p", "s"):
        assert duo.command(name, "partner-down").code == "ok"
    duo.heal()


def renewed_at_p(duo: Duo) -> int:
    """The address of client 1, whose first lease, of MCLT, p has renewed in full; s has acked that."""
    address = duo.given("p", 1)
    duo.run(2)
    assert kind(duo.renew("p", 1, address)) == "ack"
    duo.run(2)
    return address


def test_what_was_known_before_the_loss_and_is_told_again_ends_no_rest() -> None:
    """Seed 10163. Behind a cut s renewed x twice and was put back to a backup of between: it told the first renewal, p took that for the
    client's own and gave x away when it had ended there, while the client held it by the second."""
    duo = normal(mclt="10m", lease="10m")
    x = duo.given("s", 1)
    duo.run(2)
    duo.cut()
    duo.run(40)
    assert kind(duo.renew("s", 1, x)) == "ack"
    backup = copy_of(duo.disks["s"])
    duo.run(200, 1)
    assert kind(duo.renew("s", 1, x)) == "ack"
    held_until = duo.lease("s", x).ends
    duo.run(20)
    duo.crash("s")
    duo.disks["s"] = backup
    duo.heal()
    duo.start("s", rollback="1")
    duo.until(lambda: duo.state("s") == "recover-wait")
    duo.run(3)
    assert duo.lease("p", x).ends < held_until, "only the first renewal was told"
    assert duo.lease("p", x).not_before >= held_until
    duo.run(held_until - duo.now.wall - 5, 1)
    offer = duo.discover("p", 2, secs=10, requested=x)
    assert offer is not None
    assert offer.yiaddr != x


def test_an_earlier_copy_takes_a_lease_that_the_partner_heard_of_from_it_since() -> None:
    """Seeds 1685 and 1765. The copy held an un-acked grant of x; x was released since, given to another client, and told to p. p told it
    again without a transaction time of its own, s took its own old grant for the later one, and p gave x back to the first client."""
    duo = normal(mclt="10m", lease="10m", last=101)
    x = duo.given("s", 1)
    duo.cut()
    duo.run(40)
    assert kind(duo.renew("s", 1, x)) == "ack"
    assert duo.lease("s", x).owed
    backup = copy_of(duo.disks["s"])
    duo.heal()
    duo.until(lambda: duo.states() == ("normal", "normal"))
    duo.release("s", 1, x)
    duo.until(lambda: duo.lease("s", x).state is BindingState.BACKUP, 200)
    again = duo.given("s", 2)
    assert again == x
    duo.run(2)
    duo.crash("s")
    duo.disks["s"] = backup
    duo.start("s", rollback="1")
    duo.until(lambda: duo.state("s") == "recover-wait", 30)
    duo.run(2)
    assert [duo.lease(name, x).hw[-1] for name in ("p", "s")] == [2, 2]


def test_a_restored_server_alone_gives_no_ended_lease_to_its_client_again() -> None:
    """Seed 1977. In the copy x was the first client's, and its lease had ended; x was released since, and is another client's."""
    duo = normal(mclt="1m", lease="10m", last=101)
    x = duo.given("p", 1)
    duo.run(2)
    backup = copy_of(duo.disks["p"])
    duo.crash("s")
    duo.crash("p")
    duo.run(70, 1)
    duo.disks["p"] = backup
    duo.start("p", rollback="1")
    duo.run(16)
    assert duo.command("p", "partner-down").code == "ok"
    duo.run(61)
    lease = duo.lease("p", x)
    assert (lease.state, lease.hw[-1]) == (BindingState.EXPIRED, 1)
    assert refusal(lease, lease.client, duo.nodes["p"].endpoints["fo"].rights(duo.now), int(duo.now.wall))


def test_a_server_that_was_alone_past_its_bound_gives_its_clients_their_own_addresses_again() -> None:
    """Interop, reservation-of-one: the clients of a server that restarts alone, and is told partner-down, had waited like strangers."""
    rights = Rights(True, own=BindingState.FREE, wait_all=True, rewind=True, partner_down_since=1000, wait_mclt_s=60)
    lease = Lease(1, BindingState.EXPIRED, hw=HW, ends=1010, horizon=1100, rewind=BindingState.ACTIVE, owed=True)
    assert not refusal(lease, lease.client, rights, 1050)
    assert refusal(lease, lease.client, rights, 1110), "the partner may have given it away since"
    assert refusal(lease, lease.client, replace(rights, slack_s=60), 1050), "by its clock the lease was over before"
    assert refusal(lease, lease.client, replace(rights, outdated=True), 1050)
    assert refusal(lease, lease.client, replace(rights, bound_end=True), 1050), "a dhcpd goes by the end that it knows"


def test_a_lease_that_the_partner_never_heard_of_is_not_its_clients_again_past_the_bound() -> None:
    """Seed 16591. a had granted x behind a cut and fell; b was told partner-down, gave x to another MCLT later, and fell. a, told
    partner-down, gave x to its client again since its horizon had not passed, of which b knew nothing."""
    rights = Rights(True, own=BindingState.FREE, wait_all=True, rewind=True, partner_down_since=1000, wait_mclt_s=60)
    lease = Lease(1, BindingState.EXPIRED, hw=HW, ends=990, horizon=1100, rewind=BindingState.ACTIVE, owed=True)
    assert refusal(lease, lease.client, rights, 1050)
    assert not refusal(replace(lease, acked=1080), lease.client, rights, 1050), "it knew that end"


@pytest.mark.parametrize("beside_dhcpd", [False, True])
def test_what_waited_past_the_bound_is_given_when_the_wait_is_over(beside_dhcpd: bool) -> None:
    """What the partner may have used was never granted again: nothing could be promised on an address that nobody had since."""
    rights = Rights(
        True, own=BindingState.FREE, wait_all=True, partner_down_since=1000, wait_mclt_s=60, mclt_s=60, bound_end=beside_dhcpd
    )
    lease = Lease(1, BindingState.FREE)
    assert refusal(lease, HW, rights, 1050)
    assert not refusal(lease, HW, rights, 1070)
    granted = promise(lease, 3600, rights, 1070)
    assert granted is not None
    assert granted.give_s == 60


def test_the_last_client_of_a_resting_address_waits_unless_it_holds_it() -> None:
    """Seed 2286. x was c30's last, as the copy and the partner knew; the server that was put back had given it to another since."""
    rights, free = Rights(True, own=BindingState.FREE), Lease(1, hw=HW, ends=900, not_before=1100)
    assert refusal(free, free.client, rights, 1000)
    assert not refusal(free, free.client, rights, 1000, holds=True), "its own renewal ends the rest (safety.md 15)"
    assert not refusal(free, free.client, rights, 1100)


def test_what_a_partner_tells_of_before_its_loss_rests() -> None:
    """Seed 4351. s was put back to a copy and told a lease that p had never heard of; s had renewed it since, and forgotten. p gave x away
    when the lease had ended as it was told."""
    duo = normal(mclt="10m", lease="10m", last=101)
    duo.cut()
    x = duo.given("s", 1)
    duo.run(3)
    backup = copy_of(duo.disks["s"])
    duo.run(300, 1)
    assert kind(duo.renew("s", 1, x)) == "ack"
    held_until = duo.lease("s", x).ends
    duo.crash("s")
    duo.disks["s"] = backup
    duo.heal()
    duo.start("s", rollback="1")
    duo.until(lambda: duo.state("s") == "recover-wait", 30)
    duo.run(3)
    at_p = duo.lease("p", x)
    assert (at_p.state, at_p.ends < held_until) == (BindingState.ACTIVE, True)
    assert at_p.not_before > held_until


def test_what_ended_at_the_partner_rests_where_its_renewal_was_forgotten() -> None:
    """Seed 18091. p renewed x alone, and forgot it with its database; s ended x meanwhile, told p so, and kept x resting. p did not, and
    gave x away."""
    duo = normal(mclt="1m", lease="10m", last=101)
    x = renewed_at_p(duo)
    backup = copy_of(duo.disks["p"])
    duo.cut()
    duo.run(500, 5)
    assert kind(duo.renew("p", 1, x)) == "ack"
    held_until = duo.lease("p", x).ends
    duo.crash("p")
    duo.disks["p"] = backup
    duo.until(lambda: duo.lease("s", x).state is BindingState.EXPIRED, 200)
    duo.heal()
    duo.start("p", rollback="1")
    duo.until(lambda: duo.states() == ("normal", "normal"), 120)
    assert duo.now.wall < held_until
    assert duo.lease("p", x).state is BindingState.FREE
    assert duo.lease("p", x).not_before >= held_until


@pytest.mark.parametrize(("away_s", "back_in"), [(400, "recover"), (20, "recover-wait")])
def test_what_a_lost_renewal_may_hold_rests_also_where_both_recover(away_s: int, back_in: str) -> None:
    """Seed 18657. s renewed x in partner-down, and forgot it with its database; p, which had come back in recover, did not let x rest when
    s was in recover, too, ended it by what both knew, and gave it away."""
    duo = normal(mclt="1m", lease="10m", last=101)
    x = renewed_at_p(duo)
    duo.crash("p")
    duo.run(2)
    assert duo.command("s", "partner-down").code == "ok"
    duo.run(away_s, 5)
    backup = copy_of(duo.disks["s"])
    duo.start("p")
    duo.until(lambda: duo.state("p") == back_in, 30)
    duo.cut()
    duo.run(1)
    assert kind(duo.renew("s", 1, x)) == "ack"
    held_until = duo.lease("s", x).ends
    duo.crash("s")
    duo.disks["s"] = backup
    duo.heal()
    duo.start("s", rollback="1")
    duo.until(lambda: duo.states() == ("normal", "normal"), 200)
    assert duo.lease("p", x).ends < held_until
    assert duo.lease("p", x).not_before >= held_until
    assert duo.lease("s", x).not_before >= held_until


def test_a_survivor_without_its_database_hears_what_its_partner_had_handed_to_it() -> None:
    """Seed 3014. s lost its database, and p fell; s was told partner-down, and so long after that nothing of before can run p, which had
    recovered before it fell, was back. Both were normal, and s did not know of its half of the pool."""
    duo = normal(mclt="1m", last=103)
    half = [a for a in range(FIRST, FIRST + 4) if duo.lease("p", a).state is BindingState.BACKUP]
    assert half
    duo.command("p", "recover")
    duo.until(lambda: duo.state("p") == "recover-done", 100)
    duo.crash("p")
    duo.crash("s")
    duo.lose_database("s")
    duo.start("s")
    duo.run(16)
    assert duo.command("s", "partner-down").code == "ok"
    duo.run(131000, 60)
    duo.start("p")
    duo.until(lambda: duo.states() == ("normal", "normal"), 60)
    duo.run(5)
    assert all(duo.lease("s", a).state is duo.lease("p", a).state for a in half)


def test_a_server_without_its_database_waits_for_what_its_partner_may_give_alone() -> None:
    """Seed 1977. p had acked a potential expiry, and forgot it; s, booted behind a cut, gave MCLT beyond that (safety.md 11), and p in
    partner-down waited for the longest lease time only."""
    record, boot = RelationshipRecord("fo", mclt_s=60), BootFacts(1000.0, 0.0, True, 120)
    longest = promise(Lease(1, BindingState.ACTIVE, acked=10**6), 120, Rights(True, mclt_s=60), 1000)
    assert longest is not None
    assert waits.forgotten_for(record, boot) == longest.potential - 1000 + 60


def test_a_renewal_after_the_loss_ends_the_rest() -> None:
    """The other side of the same rule (safety.md 15)."""
    duo = normal(mclt="1m", lease="10m")
    x = duo.given("s", 1)
    duo.run(2)
    assert kind(duo.renew("s", 1, x)) == "ack"  # the first lease lasts MCLT
    duo.run(2)
    backup = copy_of(duo.disks["s"])
    duo.run(20)
    duo.crash("s")
    duo.disks["s"] = backup
    duo.start("s", rollback="1")
    duo.until(lambda: duo.states() == ("normal", "normal"), 400)
    rests = duo.lease("p", x).not_before
    assert rests > duo.now.wall
    assert kind(duo.renew("s", 1, x)) == "ack"
    duo.run(2)
    assert duo.lease("p", x).not_before == 0


def told_three_late(duo: Duo) -> tuple[Callable[[], None], set[int]]:
    """s has fallen, p gives its addresses in partner-down, and s recovers: three leases are given after the last update that s asked for
    was sent, just before its recover-done arrives. Nothing of p arrives any more. How to let it arrive, and the addresses."""
    duo.crash("s")
    assert duo.command("p", "partner-down").code == "ok"
    duo.run(130, 1)  # the partner's free addresses may be used now
    offers = [duo.discover("p", mac, secs=10) for mac in range(1, 4)]
    given = {offer.yiaddr for offer in offers if offer is not None}
    assert len(given) == 3
    duo.wire.clear()
    duo.start("s")
    duo.until(lambda: any(MessageType.UPDDONE in kinds(data) for who, data in duo.wire if who == "p"), 10)
    arrives = kept(duo, "p")
    requests = [
        duo.packet(3, mac, o50=offer.yiaddr.to_bytes(4, "big"), o54=ADDRESS["p"].to_bytes(4, "big"))
        for mac, offer in enumerate(offers, 1)
        if offer is not None
    ]
    duo.inbox["p"][:0] = [ClientDatagram("eth0", ADDRESS["p"], 0, 68, 0xFFFFFFFF, data, duo.now.mono) for data in requests]
    duo.tick()
    assert all(duo.lease("p", each).state is BindingState.ACTIVE for each in given)
    duo.until(lambda: duo.state("s") == "recover-done", 1)
    return arrives, given


def test_a_partner_that_has_recovered_is_told_what_was_given_before_it_gives_it_again() -> None:
    """Seed 10184, a slow link and one BNDUPD at a time: s heard our normal while it knew of one of three addresses, its own by right, that
    p had given in partner-down; it gave the second to somebody else."""
    duo = normal(mclt="1m", window=1, last=103)
    arrives, given = told_three_late(duo)
    duo.run(2)
    assert duo.states() == ("partner-down", "recover-done")
    assert kind(duo.dora("p", 4)) == "silence", "nothing more to tell until both are normal"
    assert duo.noted("p", "partner-returns")
    for each in given:
        assert kind(duo.renew("p", int.from_bytes(duo.lease("p", each).hw[-4:]), each)) == "ack"
    arrives()
    duo.until(lambda: duo.states() == ("normal", "normal"), 10)
    assert all(duo.lease("s", each).state is BindingState.ACTIVE for each in given)
    assert duo.nodes["p"].endpoints["fo"].rights(duo.now).may_allocate


def test_a_link_that_is_lost_while_the_partner_is_told_leaves_the_survivor_serving() -> None:
    """What it waits with new addresses for is over with the link."""
    duo = normal(mclt="1m", window=1, last=103)
    told_three_late(duo)
    duo.run(2)
    assert kind(duo.dora("p", 4)) == "silence"
    duo.crash("s")
    duo.run(1)
    assert duo.state("p") == "partner-down"
    assert kind(duo.dora("p", 4)) == "ack"


def test_a_survivor_that_was_away_itself_waits_anew_when_its_partner_has_forgotten() -> None:
    """Seed 11829. p in partner-down fell; s was told partner-down rightly, gave what was left, and came back with a backup of before. p,
    back as well, had waited for its partner's addresses long ago, and gave them at once."""
    duo = normal(mclt="1m", lease="10m", last=103)
    backup = copy_of(duo.disks["s"])
    duo.crash("s")
    assert duo.command("p", "partner-down").code == "ok"
    duo.run(130, 1)
    duo.crash("p")
    duo.start("s")
    duo.run(16)
    assert duo.command("s", "partner-down").code == "ok"
    duo.run(130, 1)
    given = {ack.yiaddr for ack in (duo.dora("s", mac) for mac in range(1, 5)) if ack is not None}
    assert len(given) == 4
    duo.crash("s")
    duo.disks["s"] = backup
    duo.start("p")
    duo.run(2)  # it has tried to reach its partner
    duo.start("s", rollback="1")
    duo.until(lambda: duo.state("s") == "recover-wait", 30)
    duo.run(1)
    assert duo.state("p") == "partner-down"
    assert all(kind(duo.dora("p", mac)) == "silence" for mac in range(11, 15))


def test_the_name_of_a_lease_whose_end_the_partner_has_not_agreed_to_is_not_free() -> None:
    """Seed 11906, a slow link: the partner had renewed the lease that had ended here, and its name was taken away as nobody's."""
    duo = normal(mclt="1m", lease="1m", tls=True)
    x = duo.given("s", 1)
    duo.run(40)
    node = duo.nodes["p"]
    arrives = kept(duo, "s")
    duo.until(lambda: duo.lease("p", x).state is BindingState.EXPIRED)
    assert duo.state("p") == "normal"
    assert not node.planner.unheld(x, "", "")
    arrives()
    duo.run(1)
    assert node.planner.unheld(x, "", "")


@pytest.mark.parametrize("queues_s", [0, 8])
def test_while_updates_come_late_no_name_is_free(queues_s: int) -> None:
    """Simulator, seed 1421: the partner's updates queued for a slow link, one for half a minute. It had given an address to a client again,
    which had not been heard of, and the name was taken away as nobody's."""
    duo = normal(mclt="1m", lease="10m", tls=True, window=1)
    x, y = duo.given("s", 1), duo.given("s", 2)
    duo.run(LATE_FOR_S + 1, 5)
    node, nobody = duo.nodes["p"], 0x0A000000 + 199
    assert not duo.lease("p", nobody).client
    assert node.planner.unheld(nobody, "", "")
    acks_arrive = kept(duo, "p")
    assert kind(duo.renew("s", 1, x)) == kind(duo.renew("s", 2, y)) == "ack"
    duo.run(queues_s)
    acks_arrive()
    duo.run(1)
    assert duo.states() == ("normal", "normal")
    assert node.planner.unheld(nobody, "", "") is (None if queues_s else True)
    duo.run(LATE_FOR_S + 1, 5)
    assert node.planner.unheld(nobody, "", "")


def meets_with_news(duo: Duo) -> Callable[[], None]:
    """s comes back, p has something to tell, both go to normal, and what s answers is kept."""
    assert kind(duo.dora("p", 1)) == "ack"
    duo.run(2)
    duo.crash("s")
    duo.run(5)
    assert kind(duo.dora("p", 2)) == "ack"
    duo.start("s")
    duo.until(lambda: bool(duo._links))
    release = kept(duo, "s", MessageType.BNDACK)
    duo.until(lambda: duo.state("p") == "normal", 10)
    return release


def paused(duo: Duo) -> bool:
    return bool(duo.nodes["p"].planner.status(duo.now)["paused"])


def test_no_name_is_taken_away_before_the_partner_has_told_what_it_gave_meanwhile() -> None:
    """Seeds 1082, 1235 and 2310: straight after the reunion a server took away the name of a lease that its partner had renewed."""
    duo = normal(mclt="1m", lease="10m", tls=True)
    release = meets_with_news(duo)
    duo.run(2)
    assert duo.state("p") == "normal"
    assert paused(duo)
    release()
    duo.run(0.5)
    assert not paused(duo)


def test_names_do_not_wait_for_a_partner_that_tells_nothing() -> None:
    duo = normal(mclt="1m", lease="10m", tls=True)
    meets_with_news(duo)
    duo.run(9)
    assert paused(duo)
    duo.run(1.5)
    assert duo.state("p") == "normal"
    assert not paused(duo)


HW = b"\x01\x02\x00\x00\x00\x00\x01"


def judged(lease: Lease, told: BindingState, **more: Any) -> Verdict:
    """A BNDUPD of the same client, at 1500."""
    facts: dict[str, Any] = {"hw": lease.hw, "client_id": None, "potential": 0, "cltt": 0, "flags": 0, "announced": None}
    facts |= {"announced_cltt": 0, "in_normal": False, "primary": True, "now": 1500, "slack_s": 0} | more
    return judge(lease, told, **facts)


def test_two_earlier_copies_that_tell_each_other_at_once_do_not_swap_what_they_hold() -> None:
    """Seed 2778. Both recovered; p, an earlier copy, held x EXPIRED and was told BACKUP with a later transaction, s held BACKUP and was
    told EXPIRED: each took the other's word, and x was BACKUP here and FREE there."""
    at_p = Lease(1, BindingState.EXPIRED, hw=HW, cltt=1000, ends=1100, owed=True)
    told = judged(at_p, BindingState.BACKUP, cltt=1300, announced=BindingState.EXPIRED, outdated=True)
    at_s = Lease(1, BindingState.BACKUP, hw=HW, cltt=1300, ends=1400, owed=True)
    answer = judged(at_s, BindingState.EXPIRED, cltt=1000, announced=BindingState.BACKUP, primary=False)
    assert (told.accept, answer.accept) == (False, True)


def test_a_release_that_a_dhcpd_tells_late_ends_no_later_grant_of_ours() -> None:
    """Seed dhcpd5342. The client gave x back to the dhcpd, and was given it again here; the dhcpd took that, and told the release then."""
    again = Lease(1, BindingState.ACTIVE, hw=HW, cltt=1200, partner_cltt=1000, ends=1900, acked=1900)
    assert not judged(again, BindingState.RELEASED, cltt=1180, in_normal=True).accept
    assert judged(again, BindingState.RELEASED, cltt=1210, in_normal=True).accept, "after our grant: it is the client's own word"
    assert judged(again, BindingState.RELEASED, cltt=1190, in_normal=True, slack_s=20).accept, "perhaps after it (seed 4011)"
    partners = again.evolve(partner_cltt=1250)
    assert judged(partners, BindingState.RELEASED, cltt=1260, in_normal=True, slack_s=60).accept, "the partner spoke last to it"


def test_a_name_that_the_partner_removed_with_an_end_that_was_refused_is_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seed ping5189, a calm pair: the client declined x at s and had it confirmed at p at one moment. p refused the end, and s, which took
    p's word, had removed the name by then."""
    duo = normal(tls=True)
    x = duo.given("p", 1)
    duo.run(2)
    node = duo.nodes["p"]
    lease = duo.lease("p", x)
    assert lease.fqdn
    said: list[Lease] = []
    monkeypatch.setattr(node.planner, "met", lambda leases, now, out: said.extend(leases))
    binding = Binding(address=x, state=BindingState.ABANDONED, cltt=lease.cltt - 1)
    node.endpoints["fo"].updates._keep_claim(binding, ServerState.NORMAL, duo.now)
    assert [each.address for each in said] == [x]


def test_an_earlier_copy_recovers_out_of_a_conflict_too() -> None:
    """Seed 6031. s renewed its clients while both resolved a conflict, and was put back to a copy of before; it joined the conflict again,
    p was not told that anything was forgotten, and gave an address of those renewals away."""
    duo = normal(mclt="1m", lease="10m", last=103)
    x = duo.given("s", 1)
    declared_apart(duo)
    duo.until(lambda: bool(duo._links))
    kept(duo, "s", MessageType.BNDACK)
    duo.until(lambda: duo.states() == ("potential-conflict", "potential-conflict"), 10)
    backup = copy_of(duo.disks["s"])
    duo.crash("s")
    duo.hold_bytes = lambda who, data: False
    duo.until(lambda: duo.state("p") == "resolution-interrupted", 60)
    duo.disks["s"] = backup
    duo.start("s", rollback="1")
    duo.until(lambda: duo.state("p") == "partner-down", 10)
    duo.run(2)
    assert duo.lease("p", x).not_before > duo.now.wall
    duo.until(lambda: duo.states() == ("normal", "normal"), 200)


def test_a_partner_that_recovers_a_second_time_has_perhaps_forgotten_more() -> None:
    """Seed 3353. b recovered, was told partner-down behind a cut, granted, lost its disk, and recovered again: to a survivor, whose record
    said that b recovers, that was nothing new, and what had ended meanwhile did not rest."""
    duo = normal(mclt="1m", lease="10m", last=103)
    x = duo.given("p", 1)
    duo.run(2)
    duo.crash("s")
    assert duo.command("p", "partner-down").code == "ok"
    duo.nodes["p"].endpoints["fo"].record.partner_state = ServerState.RECOVER
    duo.run(40)
    duo.lose_database("s")
    duo.start("s")
    duo.until(lambda: duo.state("s") in ("recover", "recover-wait"), 10)
    duo.run(1)
    assert duo.lease("p", x).not_before > duo.now.wall
