"""The safety rules, one test or more for each that the pair's core can break, named after its number.

Rules 1, 3, 7 and 8 (commits, disks, fsync) have their tests on the real loop and store: tests/shell, tests/store. The text of each rule
stands in the docstrings in short.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from failoverd.dhcp import classify
from failoverd.dhcp.message import decode
from failoverd.failover import message as wire
from failoverd.failover.clock_memory import ClockMemory
from failoverd.failover.message import Binding, Framer, MessageType, ServerState
from failoverd.failover.record import BootFacts, RelationshipRecord
from failoverd.leases import mclt, reclaim
from failoverd.leases.allocate import refusal
from failoverd.leases.lease import NEVER, BindingState, Lease
from failoverd.leases.rights import Rights
from failoverd.ports import ClientDatagram, ClientSend, ClockState, DiskState, Kind, LinkDown, LinkSend, Now, Origin, Output
from tests.pair.duo import ADDRESS, Duo, kind, lease_s, normal

FIRST = 0x0A000064
FORGOTTEN_S = 86_400 * 3 // 2 + 600  # the longest potential expiry by the max-lease-time of the pair, and MCLT


def messages(data: bytes) -> list[wire.Message]:
    return Framer().feed(data)


def of_type(duo: Duo, sender: str, kind: MessageType) -> list[wire.Message]:
    return [m for who, data in duo.wire if who == sender for m in messages(data) if m.kind == kind]


def test_rule_01_only_the_named_sends_leave_before_their_commit() -> None:
    """At once: OFFER, NAK, CONTACT, CONNECT, CONNECTACK, POOLREQ. All else waits."""
    early: set[str] = set()
    duo = Duo()

    def watched(step: Callable[..., Output], *args: Any) -> Output:
        out = step(*args)
        for send in out.at_once:
            if isinstance(send, LinkSend):
                early.update(MessageType(m.kind).name for m in messages(send.data))
            elif isinstance(send, ClientSend):
                early.add({2: "OFFER", 6: "NAK"}.get(decode(send.data).message_type, "OTHER"))
        return out

    for node in duo.nodes.values():
        vars(node)["step"] = partial(watched, node.step)
    duo.run(5)
    duo.given("p", 1)
    duo.say("p", duo.packet(3, 1, o50=b"\x0b\0\0\1"))
    duo.run(70)
    assert early <= {"OFFER", "NAK", "CONTACT", "CONNECT", "CONNECTACK", "POOLREQ"}
    assert {"OFFER", "NAK", "CONTACT", "CONNECT", "CONNECTACK"} <= early


def test_rule_02_a_bndack_moves_the_acked_expiry_to_what_its_bndupd_carried() -> None:
    """Each update in flight keeps the potential expiry that it carried; a renewal meanwhile changes nothing of that."""
    duo = normal()
    held: list[tuple[str, bytes]] = []

    def hold(sender: str, data: bytes) -> bool:
        if sender == "p" and messages(data)[0].kind == MessageType.BNDUPD:
            held.append((sender, data))
            return True
        return False

    duo.hold_bytes = hold
    x = duo.given("p", 1)
    first = duo.lease("p", x).potential
    duo.run(5)
    duo.renew("p", 1, x)
    second = duo.lease("p", x).potential
    assert second > first
    assert len(held) == 1, "one update in flight per lease"
    update = messages(held[0][1])[0]
    answer = wire.bndack(int(duo.now.wall), update.xid, x)
    link = duo.nodes["p"].endpoints["fo"].link
    assert link is not None
    duo.nodes["p"].endpoints["fo"].link_bytes(link.number, wire.encode(answer), duo.now)
    lease = duo.lease("p", x)
    assert lease.acked == first
    assert lease.owed


def test_rule_02_a_reject_moves_nothing() -> None:
    duo = normal()
    duo.hold_bytes = lambda sender, data: sender == "p" and messages(data)[0].kind == MessageType.BNDUPD
    x = duo.given("p", 1)
    before = duo.lease("p", x)
    endpoint = duo.nodes["p"].endpoints["fo"]
    xid = next(iter(endpoint.updates.flights))
    refuse = wire.bnd_reject(int(duo.now.wall), xid, x, 2, "no")
    assert endpoint.link is not None
    endpoint.link_bytes(endpoint.link.number, wire.encode(refuse), duo.now)
    after = duo.lease("p", x)
    assert (after.acked, after.acked_end, after.ends, after.rejected) == (before.acked, before.acked_end, before.ends, 2)


def test_rule_04_a_hung_disk_looks_like_a_dead_server() -> None:
    """Over max-response-delay / 3: no OFFER, no CONTACT. At max-response-delay: the link is dropped."""
    duo = normal()
    node = duo.nodes["p"]
    later = Now(duo.now.wall + 12, duo.now.mono + 12)
    duo.inbox["p"].clear()
    data = duo.packet(1, 1, secs=9)
    out = node.step([ClientDatagram("eth0", ADDRESS["p"], 0, 68, 0xFFFFFFFF, data, later.mono)], later, 10.5)
    assert not [send for send in out.at_once if isinstance(send, (ClientSend, LinkSend))]
    out = node.step([], Now(later.wall + 1, later.mono + 1), 30.0)
    assert duo.state("p") == "communications-interrupted"
    assert "disk-hangs" in [note.name for note in out.notes]


def test_rule_05_a_pause_is_a_lost_link_and_a_lone_boot() -> None:
    """After a beat gap buffered bytes are no contact, and what is granted is bounded by the last proven contact."""
    duo = normal()
    duo.given("p", 1)
    duo.settle()
    endpoint = duo.nodes["p"].endpoints["fo"]
    assert endpoint.link is not None
    proven, number = endpoint.record.proven, endpoint.link.number
    duo.now = Now(duo.now.wall + 3000, duo.now.mono + 3000)
    duo.connected = False
    duo.nodes["p"].step([LinkDown("fo", number, "beat-gap 3000 s")], duo.now)
    assert duo.state("p") == "communications-interrupted"
    assert endpoint.doubt is not None
    assert endpoint.doubt <= proven
    assert kind(duo.dora("p", 99)) == "silence", "the bound has passed: nothing new is given"


def test_rule_06_an_offer_reserves_its_address_in_memory_only() -> None:
    duo = normal()
    offer = duo.discover("p", 1, secs=9)
    assert offer is not None
    assert not duo.nodes["p"].table.has_row(offer.yiaddr)
    other = duo.discover("p", 2, secs=9)
    assert other is not None
    assert other.yiaddr != offer.yiaddr
    stolen = duo.say("p", duo.packet(3, 2, o50=offer.yiaddr.to_bytes(4, "big"), o54=ADDRESS["p"].to_bytes(4, "big")))
    assert kind(stolen) == "nak"
    duo.run(125, step_s=5)
    again = duo.discover("p", 3, secs=9)
    assert again is not None
    assert again.yiaddr in (offer.yiaddr, other.yiaddr)


def test_rule_07_below_low_water_renewals_get_the_remaining_time_without_a_write() -> None:
    duo = normal()
    x = duo.given("p", 1)
    duo.settle()
    duo.run(100)
    duo.inbox["p"].append(DiskState(True))
    duo.tick()
    writes = len([w for w in duo.disks["p"].log if w.kind is Kind.LEASE])
    renewed = duo.renew("p", 1, x)
    assert renewed is not None
    assert 490 <= lease_s(renewed) <= 500
    assert kind(duo.dora("p", 2)) == "silence"
    assert duo.noted("p", "disk-low")
    assert len([w for w in duo.disks["p"].log if w.kind is Kind.LEASE]) == writes


@pytest.mark.parametrize("state", ["normal", "communications-interrupted", "partner-down"])
def test_rule_09_no_lease_ends_beyond_the_acked_potential_expiry_plus_mclt(state: str) -> None:
    duo = normal()
    if state != "normal":
        duo.crash("s")
        duo.settle()
    if state == "partner-down":
        duo.command("p", "partner-down")
    ack = duo.dora("p", 1)
    assert ack is not None
    assert lease_s(ack) <= 600
    duo.hold_bytes = lambda sender, data: True
    for _ in range(3):
        renewed = duo.renew("p", 1, ack.yiaddr)
        assert renewed is not None
        lease = duo.lease("p", ack.yiaddr)
        assert lease.ends <= max(lease.starts, lease.acked) + 600
        duo.run(20)


def test_rule_09_waits_use_the_largest_mclt_since_both_were_last_normal() -> None:
    duo = normal()
    record = duo.nodes["s"].endpoints["fo"].record
    record.wait_mclt_s = 7200
    duo.crash("p")
    duo.settle()
    assert duo.nodes["s"].endpoints["fo"].rights(duo.now).wait_mclt_s == 7200


def test_rule_10_comparisons_across_clocks_err_to_the_safe_side() -> None:
    lease = Lease(FIRST, BindingState.ACTIVE, acked=10_000, ends=10_000)
    rights = Rights(True, mclt_s=600, slack_s=60)
    assert mclt.limit(lease, rights, 5_000) == 10_000 - 60 + 600
    assert mclt.due(lease, rights) == 10_060
    down = Rights(True, mclt_s=600, wait_mclt_s=600, slack_s=60, partner_down_since=100)
    assert mclt.rest_until(lease.evolve(state=BindingState.EXPIRED, horizon=10_000), down) == 10_000 + 660


def test_rule_10_an_unsynchronised_clock_after_a_lone_boot_grants_nothing_new() -> None:
    duo = normal()
    x = duo.given("p", 1)
    duo.run(15)
    duo.crash("s")
    duo.crash("p")
    duo.run(5)
    duo.start("p")
    duo.inbox["p"].append(ClockState(False))
    duo.run(16)
    assert duo.state("p") == "communications-interrupted"
    assert kind(duo.dora("p", 2)) == "silence"
    before = duo.lease("p", x).ends
    renewed = duo.renew("p", 1, x)
    assert renewed is not None
    assert duo.lease("p", x).ends == before
    assert any("unsynchronised" in warning for warning in duo.nodes["p"].status(duo.now)["warnings"])  # type: ignore[attr-defined]


def boots_ahead(duo: Duo, seconds: float) -> None:
    """The wall clocks run ahead and nothing remembers since when: as after a boot of the host with a wrong clock."""
    duo.now = duo.now._replace(wall=duo.now.wall + seconds)
    for node in duo.nodes.values():
        node.endpoints["fo"].record.low_gap += seconds
        node.endpoints["fo"].record.offset_gap += seconds


def set_back(duo: Duo, seconds: float) -> None:
    """The wall clocks of both."""
    duo.now = duo.now._replace(wall=duo.now.wall - seconds)


def restarts_at_any_time(duo: Duo, name: str) -> None:
    """An operator types --force-clock: the clock is behind what the disk holds."""
    duo.crash(name)
    duo.disks[name].newest = duo.now.wall
    duo.start(name)


def test_rule_10_a_clock_that_is_set_ahead_ends_no_lease_early() -> None:
    """Simulator, seeds 2060 and 2212: on a live link. Each lease lasted less by what the clock was set, and the address was given again."""
    duo = normal(lease="10m")
    x = duo.given("p", 1)
    duo.run(5)
    left = duo.lease("p", x).ends - duo.now.wall
    duo.now = duo.now._replace(wall=duo.now.wall + 300)
    duo.run(left - 10, 5)
    assert duo.lease("p", x).state is BindingState.ACTIVE
    duo.crash("p")
    duo.run(2)
    duo.start("p")
    duo.until(lambda: duo.states() == ("normal", "normal"))
    assert duo.lease("p", x).state is BindingState.ACTIVE, "a restart forgot it"
    duo.run(20)
    assert duo.lease("p", x).state is not BindingState.ACTIVE


def test_rule_10_a_step_ahead_counts_for_as_long_as_a_lease_of_before_may_run() -> None:
    record, boot = RelationshipRecord("fo"), BootFacts(1000.0, 0.0, False, 600, "one")
    clocks = ClockMemory(record, boot, Now(1000.0, 0.0))
    clocks.read(Now(1300.0, 10.0))
    assert clocks.ahead_s == 290
    clocks.read(Now(1690.0, 400.0))
    assert clocks.ahead_s == 290, "a lease of before the step that runs 200 s from now ends at what reads 290 s more"
    clocks.read(Now(1891.0, 601.0))
    assert clocks.ahead_s == 0
    assert ClockMemory(record, replace(boot, host="two"), Now(9000.0, 3.0)).ahead_s == 0, "after a reboot nobody can tell"


def test_rule_10_what_a_partner_noted_while_its_clock_was_off_lasts_as_long_as_it_meant() -> None:
    """Simulator, seed 10667: the partner's clock was 28 s behind and is right by now; what it had granted was freed 28 s early."""
    record, boot = RelationshipRecord("fo"), BootFacts(1000.0, 0.0, False, 600, "one")
    clocks = ClockMemory(record, boot, Now(1000.0, 0.0))
    clocks.measured(-28, Now(1000.0, 0.0))
    record.offset = -28
    clocks.measured(0, Now(1500.0, 500.0))
    record.offset = 0
    assert record.far_s == 28
    clocks.measured(0, Now(1700.0, 700.0))
    assert record.far_s == 28, "until 500 it was so far off, and a lease of then may run (seed ping11650)"
    clocks.measured(0, Now(2101.0, 1101.0))
    assert record.far_s == 0


@pytest.mark.parametrize(("first", "left"), [("s", BindingState.BACKUP), ("p", BindingState.FREE)])
def test_rule_10_the_partner_hears_how_long_a_lease_lasts_that_a_clock_granted_that_was_behind(
    first: str, left: BindingState
) -> None:
    """Simulator, seed clock19792: s, 100 s behind, renewed alone and was put right. It told the end as it read; p ended the lease there,
    was refused once, and then believed. Seed clock3472: p had granted it, and by s's clock seemed to have spoken last."""
    duo = normal(lease="10m")
    x = duo.given(first, 1)
    duo.run(2)
    duo.cut()
    duo.run(40)
    set_back(duo, 100)
    duo.run(1)
    ack = duo.renew("s", 1, x)
    assert ack is not None
    ends_mono = duo.now.mono + lease_s(ack)
    duo.run(1)
    set_back(duo, -100)
    duo.run(1)
    clocks = duo.nodes["p"].endpoints["fo"].clocks
    clocks.record.low_gap = clocks.record.high_gap = duo.now.wall - duo.now.mono  # p's was right all the time
    duo.heal()
    duo.until(lambda: duo.states() == ("normal", "normal"))
    while duo.now.mono < ends_mono:
        duo.run(5)
        assert duo.lease("s", x).state is BindingState.ACTIVE, f"{ends_mono - duo.now.mono:.0f} s early"
    duo.run(300, 5)
    assert duo.lease("s", x).state is duo.lease("p", x).state is BindingState.BACKUP, "it is for nobody any more"


def test_rule_10_how_far_our_clock_was_set_while_the_host_was_down_is_told_by_the_partners() -> None:
    """Simulator, seed clock1652: 120 s behind the partner's before the host fell, 15 s ahead of it after: 120 s of it counted."""
    record, boot = RelationshipRecord("fo"), BootFacts(1000.0, 0.0, False, 600, "one")
    ClockMemory(record, boot, Now(1000.0, 0.0)).measured(120, Now(1000.0, 0.0))
    clocks = ClockMemory(record, replace(boot, host="two"), Now(1200.0, 5.0))
    clocks.measured(-15, Now(1200.0, 5.0))
    assert clocks.slack_s == 135
    clocks.measured(-15, Now(1801.0, 606.0))
    assert clocks.slack_s == 15


def test_rule_10_a_lease_that_never_ends_lasts_no_longer_by_a_clock_that_was_behind() -> None:
    """Found by reading: the step was added to a potential expiry of never, and so one was told that dhcpd has no word for."""
    duo = normal()
    x = duo.given("s", 1)
    duo.run(2)
    lease = duo.lease("s", x).evolve(potential=NEVER)  # as a dhcpd tells of an infinite lease
    duo.nodes["s"].table.put(lease, None)
    set_back(duo, -20)
    duo.run(1)
    endpoint = duo.nodes["s"].endpoints["fo"]
    told = Binding(x, int(BindingState.EXPIRED), hw=lease.hw, ends=lease.ends)
    assert endpoint.updates._outlasts(told, endpoint.rights(duo.now), duo.now) is not None
    assert duo.nodes["s"].table.get(x).potential == NEVER


def test_rule_10_a_clock_that_ran_ahead_and_is_set_back_has_ended_no_lease() -> None:
    """The lease stayed EXPIRED here and ACTIVE there, and its name went from DNS (scenario clock-skew)."""
    duo = normal()
    x = duo.given("p", 1)
    duo.cut()
    duo.run(40)
    boots_ahead(duo, 7200)
    duo.run(2)
    assert duo.lease("p", x).state is BindingState.EXPIRED
    set_back(duo, 7200)
    duo.run(2)
    assert duo.lease("p", x).state is BindingState.EXPIRED, "alone, nobody knows whose the address is now (rule 11)"
    duo.heal()
    duo.until(lambda: duo.states() == ("normal", "normal"))
    duo.run(5)
    lease = duo.lease("p", x)
    assert lease.fqdn
    assert lease.ends > duo.now.wall
    assert [duo.lease(name, x).state for name in ("p", "s")] == [BindingState.ACTIVE] * 2


def test_rule_10_an_end_of_a_clock_set_back_since_is_taken_back_after_a_restart_too() -> None:
    """It stayed EXPIRED, the partner refused that for ever, and the client's renewals met silence."""
    duo = normal(tls=True)
    x = duo.given("p", 1)
    duo.run(2)
    duo.cut()
    duo.run(40)
    partner = duo.nodes.pop("s")  # only the clock of p runs ahead
    boots_ahead(duo, 7200)
    duo.run(2)
    assert duo.lease("p", x).state is BindingState.EXPIRED
    set_back(duo, 7200)
    duo.run(2)
    restarts_at_any_time(duo, "p")
    duo.nodes["s"] = partner
    duo.heal()
    duo.until(lambda: duo.states() == ("normal", "normal"))
    duo.run(5)
    assert [duo.lease(name, x).state for name in ("p", "s")] == [BindingState.ACTIVE] * 2
    assert not duo.lease("p", x).rejected
    assert kind(duo.renew("p", 1, x)) == "ack"


def test_rule_11_an_end_is_not_taken_back_when_the_partner_was_alone() -> None:
    duo = normal()
    x = duo.given("p", 1)
    duo.cut()
    duo.run(40)
    boots_ahead(duo, 7200)
    duo.run(2)
    duo.command("s", "partner-down")
    set_back(duo, 7200)
    duo.run(2)
    duo.heal()
    duo.until(lambda: duo.state("p") != "communications-interrupted")
    duo.run(1)
    assert duo.lease("p", x).state is not BindingState.ACTIVE


def test_rule_13_an_end_that_the_partner_knows_of_is_not_taken_back() -> None:
    duo = normal()
    x = duo.given("p", 1)
    duo.run(2)
    duo.hold_bytes = lambda sender, data: sender == "s"  # it hears of the end, and its BNDACK does not arrive
    boots_ahead(duo, 1000)
    duo.run(2)
    assert duo.lease("p", x).state is BindingState.EXPIRED
    set_back(duo, 1000)
    duo.run(2)
    assert duo.lease("p", x).state is BindingState.EXPIRED


def test_rule_10_a_partner_further_off_than_a_link_is_refused_for_counts_as_far_off_as_it_is() -> None:
    """Its clock goes back by 100 s on a live link: of that 60 s counted. It is put right, and what it noted meanwhile still runs."""
    duo = normal(lease="10m")
    endpoint = duo.nodes["p"].endpoints["fo"]
    endpoint._sampled(wire.Message(MessageType.CONTACT, int(duo.now.wall) - 100, 1), duo.now)
    assert endpoint.slack_s == 100
    duo.run(60)
    assert abs(endpoint.clocks.newest_offset) <= 1
    assert endpoint.slack_s == 100


def test_rule_10_both_clocks_apart_by_a_step_of_ours_count_whole() -> None:
    """The partner's runs 30 s ahead and ours is set back by 100 s: they are 130 s apart. 60 s of it counted, and 100 s for the step."""
    duo = normal()
    endpoint = duo.nodes["p"].endpoints["fo"]
    endpoint._sampled(wire.Message(MessageType.CONTACT, int(duo.now.wall) + 30, 1), duo.now)
    duo.cut()
    duo.run(40)
    set_back(duo, 100)
    duo.run(1)
    assert endpoint.slack_s == 130


def test_rule_10_a_set_back_counts_for_as_long_as_a_lease_of_before_may_run() -> None:
    record, boot = RelationshipRecord("fo"), BootFacts(1000.0, 0.0, False, 600, "one")
    clocks = ClockMemory(record, boot, Now(1000.0, 0.0))
    clocks.read(Now(710.0, 10.0))
    assert clocks.behind_s == 300
    assert ClockMemory(record, boot, Now(720.0, 20.0)).behind_s == 300, "a restart forgot it"
    clocks.read(Now(1300.0, 600.0))
    assert clocks.behind_s == 300
    clocks.read(Now(1301.0, 601.0))
    assert clocks.behind_s == 0
    assert ClockMemory(record, replace(boot, host="two"), Now(9000.0, 3.0)).behind_s == 0, "after a reboot nobody can tell"


def renewed_for_an_hour() -> tuple[Duo, int, float]:
    """A pair, an address that its client has renewed at s, and the mono at which that lease ends."""
    duo = normal()
    held = duo.given("s", 1)
    duo.settle()
    ack = duo.renew("s", 1, held)
    assert ack is not None
    assert lease_s(ack) == 3600
    return duo, held, duo.now.mono + lease_s(ack)


def told_end(duo: Duo, held: int, want_s: int) -> float:
    """The mono at which its lease ends as s tells the client that renews and asks for so long."""
    ack = duo.say("s", duo.packet(3, 1, ciaddr=held, o51=want_s.to_bytes(4, "big")), ADDRESS["s"])
    assert ack is not None
    return duo.now.mono + lease_s(ack)


@pytest.mark.parametrize("restarts", [False, True])
def test_rule_10_a_client_is_not_told_more_than_remains_after_a_set_back(restarts: bool) -> None:
    """What is confirmed without a write was counted by the clock of now: longer than promised by as much as that was set back."""
    duo, held, ends_mono = renewed_for_an_hour()
    duo.run(20)
    set_back(duo, 300)
    duo.run(1)
    if restarts:
        restarts_at_any_time(duo, "s")
    duo.until(lambda: duo.states() == ("normal", "normal"))
    assert abs(told_end(duo, held, 60) - ends_mono) <= 2


def test_rule_10_what_was_noted_before_a_set_back_is_not_promised_anew_without_a_word_to_the_partner() -> None:
    """Simulator, seed clockapart6: what may be promised anew reached beyond the end in truth, reads less than it, and so was told to
    nobody; the clock was put right, and the partner freed the address at the end that it knew."""
    duo, held, ends_mono = renewed_for_an_hour()
    duo.run(3300)
    set_back(duo, 400)
    duo.run(1)
    assert abs(told_end(duo, held, 600) - ends_mono) <= 2


def test_rule_09_an_acked_expiry_of_before_a_set_back_reaches_no_further_when_the_clocks_were_compared_since() -> None:
    """The partner counts it from when it was acked."""
    duo = normal()
    held = duo.given("s", 1)
    duo.settle()
    acked_mono = duo.now.mono + (duo.lease("s", held).acked - duo.now.wall)
    set_back(duo, 3600)
    duo.run(1)
    duo.cut()
    duo.run(40)
    duo.heal()
    duo.until(lambda: duo.states() == ("normal", "normal"))
    assert duo.nodes["s"].endpoints["fo"].clocks.set_back_s == 0
    duo.cut()
    duo.until(lambda: duo.state("s") == "communications-interrupted", 90)
    ack = duo.say("s", duo.packet(3, 1, ciaddr=held, o51=(86_400).to_bytes(4, "big")), ADDRESS["s"])
    assert ack is not None
    assert duo.now.mono + lease_s(ack) <= acked_mono + 600 + 1


def test_rule_11_a_clock_set_back_before_a_restart_does_not_lengthen_the_bound() -> None:
    """As in a running server: the process began anew and took the clock for one that was never set."""
    duo = normal()
    duo.run(30)
    duo.cut()
    duo.run(40)
    contact_mono = duo.now.mono - (duo.now.wall - duo.nodes["s"].endpoints["fo"].record.proven)
    set_back(duo, 3600)
    duo.run(1)
    restarts_at_any_time(duo, "s")
    duo.run(60)
    for mac in range(50, 53):
        ack = duo.dora("s", mac)
        assert ack is not None
        assert duo.now.mono + lease_s(ack) <= contact_mono + 600 + 1, mac
        duo.run(200, step_s=5)
    assert kind(duo.dora("s", 53)) == "silence", "the bound has passed"


def test_rule_11_a_lone_boot_grants_nothing_beyond_the_last_proven_contact_plus_mclt() -> None:
    duo = normal()
    duo.given("p", 1)
    duo.run(15)
    proven = duo.nodes["p"].endpoints["fo"].record.proven
    duo.crash("s")
    duo.crash("p")
    duo.run(200, step_s=10)
    duo.start("p")
    duo.run(16)
    fresh = duo.given("p", 50)
    assert duo.lease("p", fresh).ends <= proven + 600
    duo.run(400, step_s=10)
    assert kind(duo.dora("p", 51)) == "silence"
    assert duo.noted("p", "lone-boot-bound")


def test_rule_11_renewals_of_unexpired_leases_get_what_remains_and_expired_ones_are_not_revived() -> None:
    duo = normal()
    x = duo.given("p", 1)
    duo.run(15)
    duo.renew("p", 1, x)  # 3600 from here on
    duo.settle()
    ends = duo.lease("p", x).ends
    short = duo.given("p", 2)
    duo.hold_bytes = lambda sender, data: True
    duo.tick()
    duo.crash("s")
    duo.crash("p")
    duo.run(1200, step_s=20)
    duo.start("p")
    duo.run(16)
    renewed = duo.renew("p", 1, x)
    assert renewed is not None
    assert duo.lease("p", x).ends >= ends
    assert kind(duo.renew("p", 2, short)) == "silence"
    assert kind(duo.dora("p", 2)) == "silence"


def test_rule_11_serve_force_or_contact_ends_the_doubt() -> None:
    duo = normal()
    duo.run(15)
    duo.crash("s")
    duo.crash("p")
    duo.run(1200, step_s=20)
    duo.start("p")
    duo.run(16)
    assert kind(duo.dora("p", 51)) == "silence"
    assert duo.command("p", "serve-force").code == "ok"
    assert kind(duo.dora("p", 51)) == "ack"
    assert any(event["what"] == "serve --force" and event["who"] == "root" for event in duo.disks["p"].events)


def test_rule_11_lone_boot_serve_is_dhcpds_way() -> None:
    duo = normal(lone_boot="serve")
    duo.run(15)
    duo.crash("s")
    duo.crash("p")
    duo.run(1200, step_s=20)
    duo.start("p")
    duo.run(16)
    assert kind(duo.dora("p", 51)) == "ack"


def test_rule_12_partner_down_waits_mclt_beyond_every_expiry_sent_acked_or_received() -> None:
    duo = normal()
    x = duo.given("s", 1)
    duo.settle()
    duo.run(20)
    duo.renew("s", 1, x)
    duo.settle()
    promised = duo.lease("p", x).horizon
    duo.release("s", 1, x)
    duo.settle()
    freed = duo.lease("p", x)
    assert freed.horizon == promised, "a RELEASE never shortens a wait"
    assert freed.state is BindingState.BACKUP
    duo.crash("s")
    duo.settle()
    duo.command("p", "partner-down")
    rights = duo.nodes["p"].endpoints["fo"].rights(duo.now)
    assert refusal(duo.lease("p", x), b"\0other", rights, promised + 600) == "partners-address"
    assert refusal(duo.lease("p", x), b"\0other", rights, promised + 600 + rights.slack_s + 1) == ""


def test_rule_12_since_before_the_partners_last_message_is_refused() -> None:
    duo = normal()
    duo.run(15)
    duo.crash("s")
    duo.settle()
    duo.run(30)
    heard = duo.nodes["p"].endpoints["fo"].record.proven
    assert duo.command("p", "partner-down", since=str(heard - 10)).code == "refused"
    assert duo.command("p", "partner-down", since=str(int(duo.now.wall) + 100)).code == "refused"
    assert duo.command("p", "partner-down", since="yesterday").code == "usage"
    assert duo.state("p") == "communications-interrupted"
    assert duo.command("p", "partner-down", since=str(heard + 1)).code == "ok"
    assert duo.nodes["p"].endpoints["fo"].record.partner_down_since == heard + 1


def test_rule_12_partner_down_from_doubt_makes_our_own_free_addresses_wait_as_well() -> None:
    duo = normal()
    duo.run(15)
    duo.crash("s")
    duo.crash("p")
    duo.run(1200, step_s=20)
    duo.start("p")
    duo.run(16)
    assert duo.command("p", "partner-down").code == "ok"
    assert kind(duo.dora("p", 51)) == "silence"
    duo.run(700, step_s=5)
    assert kind(duo.dora("p", 51)) == "ack"


def test_rule_12_a_survivor_that_was_away_for_long_asks_for_its_partner_first() -> None:
    duo = normal()
    duo.crash("s")
    duo.settle()
    duo.command("p", "partner-down")
    duo.run(700, step_s=5)
    duo.crash("p")
    duo.run(300, step_s=10)
    node = duo.start("p")
    endpoint = node.endpoints["fo"]
    assert duo.state("p") == "partner-down"
    assert endpoint.doubt is not None
    assert endpoint.rights(duo.now).partner_down_since is None
    duo.run(5)
    assert endpoint.rights(duo.now).partner_down_since is not None


def test_rule_12_a_survivor_restarted_within_60_s_continues() -> None:
    duo = normal()
    duo.crash("s")
    duo.settle()
    duo.command("p", "partner-down")
    duo.run(700, step_s=5)
    duo.crash("p")
    duo.run(5)
    node = duo.start("p")
    assert node.endpoints["fo"].doubt is None
    assert kind(duo.dora("p", 77)) == "ack"


def test_rule_13_only_what_the_partner_cannot_have_seen_is_recycled() -> None:
    """A lease of our own half that was never announced is free again at its end; one that may have been announced is not."""
    duo = normal(mclt="2m", lease="2m")
    told = duo.given("p", 1)
    duo.settle()
    duo.cut()
    duo.until(lambda: duo.state("p") == "communications-interrupted", 60)
    own = duo.given("p", 2)
    assert duo.lease("p", own).rewind is BindingState.FREE
    duo.run(300, step_s=1)
    assert duo.lease("p", own).state is BindingState.FREE
    assert duo.lease("p", told).state is BindingState.EXPIRED


def test_rule_13_may_know_is_on_disk_before_the_first_byte_of_the_bndupd() -> None:
    duo = normal()
    seen: list[bool] = []

    def check(sender: str, data: bytes) -> bool:
        for message in messages(data):
            if sender == "p" and message.kind == MessageType.BNDUPD:
                address = wire.binding(message).address
                for (row, _), record in duo.disks["p"].rows.items():
                    if row is Kind.LEASE and json.loads(record)["address"] == address:
                        lease = Lease.from_json(record)
                        seen.append(lease.rewind is BindingState(wire.binding(message).state or 0))
        return False

    duo.hold_bytes = check
    for mac in range(5):
        duo.dora("p", mac)
    duo.settle()
    assert len(seen) >= 5
    assert all(seen)


def test_rule_14_recover_wait_ends_mclt_after_the_last_moment_of_operation() -> None:
    duo = normal(mclt="5m")
    duo.run(1000, step_s=5)
    duo.crash("s")
    down = duo.now.wall
    duo.settle()
    duo.command("p", "partner-down")
    duo.run(3)
    duo.start("s")
    duo.run(5)
    assert duo.state("s") == "recover-wait", "dhcpd skips this wait when it was normal for longer than MCLT"
    until = duo.nodes["s"].endpoints["fo"].record.recover_until
    assert down + 300 - 11 <= until <= down + 301
    duo.until(lambda: duo.states() == ("normal", "normal"), 320)
    assert duo.now.wall >= until


def test_rule_14_own_unacked_updates_go_out_before_recover_done() -> None:
    duo = normal(mclt="5m")
    duo.hold_bytes = lambda sender, data: sender == "s"
    x = duo.given("s", 1)
    duo.crash("s")
    duo.hold_bytes = lambda sender, data: False
    duo.settle()
    duo.command("p", "partner-down")
    assert duo.lease("p", x).state is not BindingState.ACTIVE
    duo.start("s")
    seen: list[str] = []
    duo.until(lambda: seen.append(duo.lease("p", x).state.name) or duo.state("s") == "recover-done", 320)
    assert "ACTIVE" in seen


def test_rule_15_after_a_lost_database_the_survivors_leases_rest() -> None:
    duo = normal()
    x = duo.given("s", 1)
    duo.run(20)
    duo.renew("s", 1, x)
    duo.settle()
    horizon = duo.lease("p", x).horizon
    duo.crash("s")
    duo.lose_database("s")
    duo.run(3)
    duo.start("s")
    duo.until(lambda: duo.states() == ("normal", "normal"), 700)
    assert duo.noted("p", "partner-lost-its-database")
    for name in ("p", "s"):
        lease = duo.lease(name, x)
        if name == "p":
            assert lease.not_before >= horizon + 600
    duo.release("p", 1, x)


def test_rule_15_a_server_without_database_waits_mclt_from_boot() -> None:
    duo = normal(mclt="5m")
    duo.given("s", 1)
    duo.settle()
    duo.crash("s")
    duo.lose_database("s")
    duo.run(3)
    boot = duo.now.wall
    duo.start("s")
    duo.run(5)
    assert duo.state("s") == "recover-wait"
    assert duo.nodes["s"].endpoints["fo"].record.recover_until >= int(boot) + 300


def test_rule_16_two_empty_databases_reach_normal_only_when_attested() -> None:
    duo = Duo(new_pair=False)
    duo.run(20)
    assert duo.states() == ("recover-wait", "recover-wait")
    assert duo.nodes["p"].endpoints["fo"].record.recover_until - duo.now.wall > 80_000
    used = normal()
    assert used.command("p", "pair-init").code == "refused"


def test_rule_17_each_partner_down_raises_the_epoch() -> None:
    duo = normal()
    assert duo.nodes["p"].endpoints["fo"].record.epoch == 0
    duo.crash("s")
    duo.settle()
    duo.command("p", "partner-down")
    assert duo.nodes["p"].endpoints["fo"].record.epoch == 1


def test_rule_18_upddone_follows_when_each_lease_of_the_set_was_acked() -> None:
    duo = Duo(window=2)
    seen = {"p": 0, "s": 0}
    acked = {"p": 0, "s": 0}
    done: list[tuple[str, int]] = []

    def watch(sender: str, data: bytes) -> bool:
        for message in messages(data):
            if message.kind == MessageType.BNDUPD:
                seen[sender] += 1
            elif message.kind == MessageType.BNDACK:
                acked["s" if sender == "p" else "p"] += 1
            elif message.kind == MessageType.UPDDONE:
                done.append((sender, acked[sender]))
        return False

    duo.hold_bytes = watch
    duo.until(lambda: duo.states() == ("normal", "normal"), 60)
    assert sorted(sender for sender, _ in done) == ["p", "s"]
    assert all(count >= 100 for _, count in done)


def test_rule_18_a_rejected_address_is_given_out_by_neither_until_agreed() -> None:
    rights = Rights(True, mclt_s=600, own=BindingState.FREE)
    lease = Lease(FIRST, BindingState.FREE, rejected=2)
    assert refusal(lease, b"\0x", rights, 1000) == "address-disputed"
    assert refusal(lease.evolve(rejected=16), b"\0x", rights, 1000) == ""


def test_rule_21_a_secondary_that_does_not_know_the_primarys_state_waits_for_it() -> None:
    duo = Duo()
    order: list[tuple[str, str]] = []

    def watch(sender: str, data: bytes) -> bool:
        order.extend((sender, MessageType(m.kind).name) for m in messages(data))
        return False

    duo.hold_bytes = watch
    duo.run(5)
    states = [sender for sender, kind in order if kind == "STATE"]
    assert states[0] == "p"


def test_rule_22_a_request_is_never_hashed_away() -> None:
    from failoverd.failover.hashing import bucket

    duo = normal()
    mac = next(m for m in range(1, 100) if bucket(b"\x02\x00" + m.to_bytes(4, "big")) >= 128)
    x = duo.given("s", mac)
    duo.settle()
    assert kind(duo.renew("p", mac, x)) == "ack", "a client of the partner's bucket renews with us"


def test_rule_22_the_hash_decides_discover_and_bootp_only() -> None:
    """The table is total, and nothing else than a DISCOVER of the partner's bucket is left to the partner."""
    assert set(classify.BY_HASH) == set(classify.Kind)
    assert {each for each, cell in classify.BY_HASH.items() if cell.left} == {classify.Kind.DISCOVER, classify.Kind.BOOTP}
    duo = normal()
    for mac in range(1, 20):
        assert kind(duo.discover("p", mac)) in ("offer", "silence")
        duo.say("p", duo.packet(3, mac, o50=FIRST.to_bytes(4, "big")))
        duo.say("p", duo.packet(3, mac, ciaddr=FIRST))
        duo.say("p", duo.packet(3, mac, o50=FIRST.to_bytes(4, "big"), o54=ADDRESS["p"].to_bytes(4, "big")))
        duo.release("p", mac, FIRST)
    left = {note.subject for note in duo.notes["p"] if note.name == "left-to-partner"}
    assert left == {classify.Kind.DISCOVER.value}


def test_rule_23_never_used_addresses_are_not_rows() -> None:
    duo = normal()
    for name in ("p", "s"):
        rows = list(duo.nodes[name].table.rows())
        assert len(rows) == 50
        assert all(lease.state is BindingState.BACKUP for lease in rows), "only what was handed over is a row"


@pytest.mark.parametrize("tls", [False, True])
def test_rule_23_never_used_addresses_are_no_messages_between_two_failoverd(tls: bool) -> None:
    """On a plain link, which may be a dhcpd's, each address of the pool is told to a partner that has lost its database."""
    duo = normal(tls=tls)
    assert duo.dora("p", 1) is not None
    duo.run(2)
    duo.crash("s")
    duo.lose_database("s")
    duo.wire.clear()
    duo.start("s")
    duo.until(lambda: duo.state("s") == "recover-wait", 20)
    told = {(wire.binding(each) or wire.Binding()).address for each in of_type(duo, "p", MessageType.BNDUPD)}
    used = {lease.address for lease in duo.nodes["p"].table.rows()}
    assert len(used) == 51
    assert told == (used if tls else set(range(FIRST, FIRST + 100)))
    assert {lease.address for lease in duo.nodes["s"].table.rows()} >= used


def test_rule_24_maybe_is_on_disk_before_the_update_leaves() -> None:
    duo = normal()
    duo.given("p", 1)
    duo.run(1)
    assert duo.updates["p"], "an UPDATE went out"
    rows = [json.loads(r) for (k, _), r in duo.disks["p"].rows.items() if k is Kind.DDNS]
    assert any(row["maybe"] for row in rows)
    lease_seq = next(i for i, w in enumerate(duo.disks["p"].log) if w.kind is Kind.LEASE and w.origin is Origin.CLIENT)
    row_seq = next(i for i, w in enumerate(duo.disks["p"].log) if w.kind is Kind.DDNS)
    assert lease_seq < row_seq


def test_rule_25_a_server_in_doubt_sends_no_dns_updates() -> None:
    duo = normal()
    duo.dora("p", 1)
    duo.run(15)
    duo.crash("s")
    duo.crash("p")
    duo.run(60, step_s=5)
    duo.start("p")
    duo.updates["p"].clear()
    duo.run(40)
    assert duo.state("p") == "communications-interrupted"
    assert duo.updates["p"] == []
    duo.command("p", "serve-force")
    duo.run(3)
    assert duo.updates["p"]


def test_rule_26_nothing_above_option_29_is_said_on_a_plain_link() -> None:
    duo = normal()
    for mac in range(5):
        duo.dora("p" if mac % 2 else "s", mac)
    duo.run(70)
    codes = {code for _, data in duo.wire for message in messages(data) for code, _ in message.options}
    assert codes
    assert max(codes) <= 29
    assert 9 not in codes


def test_rule_27_every_mutating_verb_is_kept_with_who_when_and_why() -> None:
    duo = normal()
    duo.crash("s")
    duo.settle()
    duo.command("p", "partner-down")
    events = [event for event in duo.disks["p"].events if event["what"] == "partner-down"]
    assert [(event["who"], event["why"]) for event in events] == [("root", "test")]
    assert isinstance(events[0]["wall"], float)


def test_expired_update_keeps_the_old_potential_expiry() -> None:
    """failover-protocol.md 6.2: an EXPIRED BNDUPD carries the old potential expiry, possibly in the future."""
    lease = Lease(FIRST, BindingState.ACTIVE, ends=1000, potential=2000, rewind=BindingState.ACTIVE)
    assert reclaim.expired(lease, Rights(True, rewind=False), 1001).potential == 2000


def test_rule_15_a_rolled_back_database_recovers_instead_of_going_on() -> None:
    duo = normal()
    duo.given("s", 1)
    duo.settle()
    duo.crash("s")
    duo.run(3)
    duo.start("s", rollback="1")
    duo.run(5)
    assert duo.state("s") == "recover-wait"
    assert duo.noted("p", "partner-lost-its-database")
    duo.until(lambda: duo.states() == ("normal", "normal"), 700)
    cleared = [write for write in duo.disks["s"].log if write.kind is Kind.META and write.record is None]
    assert [write.key for write in cleared] == [b"rollback"]


def test_rule_16_partner_down_without_the_leases_of_before_makes_every_address_wait() -> None:
    duo = Duo(new_pair=False)
    duo.crash("s")
    duo.settle()
    assert duo.command("p", "partner-down").code == "ok"
    assert kind(duo.dora("p", 1)) == "silence"
    duo.run(FORGOTTEN_S - 100, step_s=50)
    assert kind(duo.dora("p", 1)) == "silence"  # MCLT is long over; a forgotten lease may not be (simulator, seed 1176)
    duo.run(300, step_s=5)
    assert kind(duo.dora("p", 1)) == "ack"


def test_rule_18_a_never_used_address_that_the_partner_rejects_is_given_out_by_neither() -> None:
    """Two configurations of one pool that differ: the partner does not know the address."""
    duo = normal()
    free = duo.nodes["p"].table.pools["10.0.0.100-10.0.0.199"].next_virgin(duo.nodes["p"].table.has_row)
    assert free is not None
    endpoint = duo.nodes["p"].endpoints["fo"]
    endpoint.updates.owe(free)
    duo.hold_bytes = lambda sender, data: sender == "p" and messages(data)[0].kind == MessageType.BNDUPD
    duo.tick()
    refuse = wire.bnd_reject(int(duo.now.wall), next(iter(endpoint.updates.flights)), free, 1, "unknown IP address")
    assert endpoint.link is not None
    endpoint.link_bytes(endpoint.link.number, wire.encode(refuse), duo.now)
    asked = duo.say("p", duo.packet(1, 1, secs=9, o50=free.to_bytes(4, "big")))
    assert asked is not None
    assert asked.yiaddr != free


def test_rule_12_partner_down_out_of_conflict_resolution_waits_with_our_own_half() -> None:
    """Simulator, seed 1006: s had been declared alone and leased p's free addresses; they met (potential-conflict), the link broke, s
    went on serving and died; p, declared alone now, gave its own free half out at once."""
    duo = normal(mclt="2m", lease="2m")
    duo.crash("p")
    duo.settle()
    duo.command("s", "partner-down")
    duo.run(200, step_s=1)
    for mac in range(60):
        duo.dora("s", mac)
    node = duo.start("p")
    node.endpoints["fo"].record.state = ServerState.COMMUNICATIONS_INTERRUPTED
    duo.hold_bytes = lambda sender, data: sender == "p" and messages(data)[0].kind == MessageType.STATE
    duo.until(lambda: duo.state("p") == "potential-conflict", 30)
    duo.cut()
    duo.until(lambda: duo.state("p") == "resolution-interrupted", 60)
    for mac in range(60):
        lease = duo.nodes["s"].table.of_client(b"\0\x01\x02\0" + mac.to_bytes(4, "big"))
        duo.renew("s", mac, lease[0].address)
    duo.crash("s")
    assert duo.command("p", "partner-down").code == "ok"
    assert kind(duo.dora("p", 500)) == "silence"
    duo.run(200, step_s=1)
    assert kind(duo.dora("p", 500)) == "ack"


def test_rule_16_partner_down_on_an_attested_new_pair_serves_at_once() -> None:
    duo = Duo()
    duo.crash("s")
    duo.settle()
    assert duo.command("p", "partner-down").code == "ok"
    assert kind(duo.dora("p", 1)) == "ack"


def test_rule_16_two_empty_databases_wait_for_what_the_clocks_may_have_differed_too() -> None:
    """Simulator, seed empty1071: a, 19 s behind b, had confirmed a renewal of b's, and so for 19 s more than the longest lease. Then both
    lost their disks, waited for the longest lease, and gave the address to another client."""
    duo = Duo(new_pair=False)
    boot = duo.now.wall
    duo.run(20)
    for node in duo.nodes.values():
        assert node.endpoints["fo"].record.recover_until >= int(boot) + 86400 + 60


@pytest.mark.parametrize("away", ["fell", "stood still"])
def test_rule_16_what_was_attested_says_nothing_of_what_the_partner_did_while_this_server_was_away(away: str) -> None:
    """Simulator, seeds empty10 and empty44: both were attested and never met. b fell, a was told so and used b's half; then a fell, b was
    back and told so, and gave the same addresses at once."""
    duo = Duo()
    duo.crash("s")
    duo.settle()
    if away == "fell":
        duo.crash("p")
        duo.run(5)
        duo.start("p")
        duo.run(16)
    else:
        duo.inbox["p"].append(LinkDown("fo", 0, "beat-gap: 60.0 s"))
        duo.tick()
    assert duo.command("p", "partner-down").code == "ok"
    assert kind(duo.dora("p", 1)) == "silence"
    duo.run(duo.nodes["p"].endpoints["fo"].record.mclt_s + 70, 5)
    assert kind(duo.dora("p", 1)) == "ack"
