"""Where a pair does better than a pair of dhcpd was measured to do: each test names what dhcpd does."""

from __future__ import annotations

import pytest

from failoverd.dhcp import unheard
from failoverd.dhcp.message import Packet, decode, encode
from failoverd.failover.hashing import bucket
from failoverd.failover.message import Framer, MessageType, OptionCode
from failoverd.leases.lease import BindingState, Lease
from failoverd.node_held import HeldAcks
from failoverd.ports import ClientSend, Origin, Stopping
from tests.pair.duo import ADDRESS, Duo, kind, normal


def kinds(data: bytes) -> list[int]:
    return [message.kind for message in Framer().feed(data)]


def test_a_cut_of_80_s_heals_in_less_than_5_s() -> None:
    """dhcpd: 69 s, at the pace of the kernel's SYN backoff. The connect timeout of 2 s is the shell's (tests/shell/test_partner.py)."""
    duo = normal()
    duo.cut()
    duo.run(80)
    duo.heal()
    assert duo.until(lambda: duo.states() == ("normal", "normal")) < 5


def test_a_bndack_follows_its_bndupd_with_the_next_commit() -> None:
    """dhcpd: up to 2 s, so that a client's first renewal may come too early for its full lease."""
    duo = normal()
    at: dict[int, float] = {}

    def watch(sender: str, data: bytes) -> bool:
        for each in kinds(data):
            at.setdefault(each, duo.now.mono)
        return False

    duo.hold_bytes = watch
    assert duo.dora("p", 1) is not None
    duo.settle()
    assert 0 <= at[MessageType.BNDACK] - at[MessageType.BNDUPD] < 0.05


def test_a_survivor_in_partner_down_serves_from_its_first_second() -> None:
    """dhcpd: mute for 15 s."""
    duo = normal()
    duo.crash("s")
    duo.settle()
    duo.command("p", "partner-down")
    duo.crash("p")
    duo.start("p")
    assert kind(duo.dora("p", 1)) == "ack"


def test_a_planned_stop_says_disconnect_with_a_reason() -> None:
    """dhcpd: a bare end of file, from a stop as from a crash."""
    duo = normal()
    duo.wire.clear()
    duo.inbox["p"].append(Stopping())
    duo.tick()
    last = Framer().feed(duo.wire[-1][1])[0]
    assert (last.kind, last.text(OptionCode.MESSAGE)) == (MessageType.DISCONNECT, "planned stop")
    duo.tick()
    assert duo.state("s") == "communications-interrupted"
    assert [note.detail for note in duo.notes["s"] if note.name == "partner-disconnected"] == ["254 planned stop"]


STEPS = [
    ("p", MessageType.STATE),
    ("s", MessageType.STATE),
    ("p", MessageType.UPDREQ),
    ("s", MessageType.UPDREQ),
    ("p", MessageType.UPDDONE),
    ("s", MessageType.UPDDONE),
    ("p", MessageType.BNDUPD),
    ("s", MessageType.BNDUPD),
    ("p", MessageType.BNDACK),
    ("s", MessageType.BNDACK),
]


@pytest.mark.parametrize(("sender", "held"), STEPS)
def test_each_step_of_resolution_has_a_time_limit_and_is_redone(sender: str, held: MessageType) -> None:
    """dhcpd: sits in potential-conflict for ever when one message is lost."""
    duo = normal(last=103)
    duo.cut()
    duo.run(40)
    for name in ("p", "s"):
        duo.command(name, "partner-down")
        assert duo.dora(name, 1 if name == "p" else 2) is not None
    lost: list[float] = []

    def lose(who: str, data: bytes) -> bool:
        if who == sender and held in kinds(data) and (not lost or duo.now.mono - lost[0] < 20):
            lost.append(duo.now.mono)
            return True
        return False

    duo.hold_bytes = lose
    duo.heal()
    duo.run(20)
    assert lost
    assert duo.states() != ("normal", "normal")
    duo.until(lambda: duo.states() == ("normal", "normal"), 120)
    assert duo.noted("p", "partner-stalled") + duo.noted("s", "partner-stalled") >= 1
    duo.run(5)
    assert not any(node.endpoints["fo"].updates.owed for node in duo.nodes.values())


@pytest.mark.parametrize(("sender", "held"), [("s", MessageType.UPDREQALL), ("p", MessageType.UPDDONE), ("s", MessageType.STATE)])
def test_each_step_of_recovery_has_a_time_limit_and_is_redone(sender: str, held: MessageType) -> None:
    duo = normal(mclt="2m")
    duo.crash("s")
    duo.settle()
    duo.command("p", "partner-down")
    duo.run(5)
    lost: list[float] = []

    def lose(who: str, data: bytes) -> bool:
        if who == sender and held in kinds(data) and (not lost or duo.now.mono - lost[0] < 20):
            lost.append(duo.now.mono)
            return True
        return False

    duo.hold_bytes = lose
    duo.start("s")
    duo.until(lambda: duo.states() == ("normal", "normal"), 400)
    assert lost
    assert duo.noted("p", "partner-stalled") + duo.noted("s", "partner-stalled") >= 1


def test_an_update_that_is_never_answered_ends_the_link_and_is_told_again() -> None:
    """dhcpd: the window leaks a place for ever (an ack with another xid, an unknown address)."""
    duo = normal()
    duo.hold_bytes = lambda who, data: who == "s" and MessageType.BNDACK in kinds(data)
    x = duo.given("p", 1)
    duo.run(55)
    assert duo.states() == ("normal", "normal")
    duo.hold_bytes = lambda who, data: False
    duo.run(10)
    assert duo.noted("p", "partner-stalled") == 1
    duo.until(lambda: duo.states() == ("normal", "normal"), 10)
    duo.run(2)
    assert not duo.lease("p", x).owed


def test_an_idle_link_is_no_stalled_one() -> None:
    duo = normal()
    duo.run(1000, 1)
    assert duo.dora("p", 1) is not None
    duo.run(100, 1)
    assert not duo.noted("p", "partner-stalled") + duo.noted("s", "partner-stalled")


def test_a_client_refused_for_lack_of_own_addresses_asks_the_partner_at_once() -> None:
    """dhcpd: at the next balance, a minute later at best."""
    duo = normal(last=129)
    duo.run(70, 1)
    macs = iter(range(1, 30))
    for node in duo.nodes.values():
        node.endpoints["fo"].balance_at = None  # no balance comes by itself
    while duo.noted("p", "partner-holds-all-free") == 0:
        duo.wire.clear()
        mac = next(macs)
        duo.dora("p", mac)
    asked = [who for who, data in duo.wire if MessageType.POOLREQ in kinds(data)]
    assert asked == ["p"]
    assert kind(duo.dora("p", mac)) == "ack"
    duo.wire.clear()
    duo.nodes["p"].step([], duo.now)
    for _ in range(5):
        duo.nodes["p"].endpoints["fo"].client_refused(duo.now)
    assert duo.noted("p", "pool-request") == 1, "not once for each client"


def partners_macs(count: int) -> list[int]:
    """Clients of the secondary's buckets."""
    return [mac for mac in range(1, 400) if bucket(b"\x02\x00" + mac.to_bytes(4, "big")) >= 128][:count]


def test_repeats_stand_in_for_a_secs_that_stays_0() -> None:
    """dhcpd: a client that leaves `secs` at 0 is never answered by the server that is not responsible for it."""
    duo = normal()
    mac, other = partners_macs(2)
    assert kind(duo.discover("p", mac)) == "silence"
    duo.run(2)
    assert kind(duo.discover("p", mac)) == "silence"
    duo.run(2)
    assert kind(duo.discover("p", mac)) == "offer", "load-balance-max-seconds is 3"
    assert kind(duo.discover("p", other)) == "silence", "each client by itself"
    duo.run(70)
    assert kind(duo.discover("p", other)) == "silence", "that was another time"


def test_a_client_that_the_partner_answered_waits_for_nobody() -> None:
    duo = normal()
    (mac,) = partners_macs(1)
    assert kind(duo.discover("p", mac)) == "silence"
    duo.run(4)
    duo.say("p", duo.packet(3, mac, o50=b"\x0a\0\0\x70", o54=ADDRESS["s"].to_bytes(4, "big")))
    assert kind(duo.discover("p", mac)) == "silence"


def relayed(duo: Duo, mac: int) -> str:
    packet = decode(duo.packet(1, mac))
    packet.giaddr = 0x0A000201
    return kind(duo.say("p", encode(packet)))


def test_behind_a_relay_that_the_partner_never_hears_all_are_served_and_it_is_told() -> None:
    """dhcpd: half of the clients of a relay that knows one server only wait at each start, or for ever."""
    duo = normal()
    for mac in partners_macs(3):
        assert relayed(duo, mac) == "silence"
        duo.run(4)
        assert not duo.noted("p", "partner-unheard")
        assert relayed(duo, mac) == "offer"
    assert duo.noted("p", "partner-unheard") == 1
    fourth, fifth, sixth = partners_macs(6)[3:]
    assert relayed(duo, fourth) == "offer", "at once"
    assert kind(duo.discover("p", fifth)) == "silence", "elsewhere the partner is heard"
    assert any("10.0.2.1" in warning for warning in duo.nodes["p"].status(duo.now)["warnings"])  # type: ignore[attr-defined]
    chosen = decode(duo.packet(3, sixth, o50=b"\x0a\0\0\x70", o54=ADDRESS["s"].to_bytes(4, "big")))
    chosen.giaddr = 0x0A000201
    duo.say("p", encode(chosen))
    assert relayed(duo, sixth) == "silence", "the partner is heard again"


def test_clients_that_the_partner_answers_in_between_make_no_deaf_relay() -> None:
    duo = normal()
    for mac in partners_macs(8):
        assert relayed(duo, mac) == "silence"
        if mac % 2:
            duo.run(4)
            relayed(duo, mac)
        else:
            chosen = decode(duo.packet(3, mac, o50=b"\x0a\0\0\x70", o54=ADDRESS["s"].to_bytes(4, "big")))
            chosen.giaddr = 0x0A000201
            duo.say("p", encode(chosen))
    assert not duo.noted("p", "partner-unheard")


def test_what_is_remembered_of_unheard_clients_is_bounded() -> None:
    unheard_ = unheard.Unheard()
    for number in range(unheard.CLIENTS + 50):
        unheard_.asked(number.to_bytes(4, "big"), number / 1000)
    assert unheard_.asked((0).to_bytes(4, "big"), 12.0) == 0, "forgotten"
    assert unheard_.asked((100).to_bytes(4, "big"), 12.0) == 11


# --- zero-loss mode --------------------------------------------------------------------------------------------------------------


def zero_loss() -> Duo:
    return normal(edits=[('lone-boot = "bounded"', 'lone-boot = "bounded"\nzero-loss = "2s"')])


def ask(duo: Duo, mac: int) -> Packet | None:
    """DISCOVER and REQUEST; what is there in the same step after the REQUEST."""
    offer = duo.discover("p", mac, secs=9)
    assert offer is not None
    return duo.say("p", duo.packet(3, mac, secs=9, o50=offer.yiaddr.to_bytes(4, "big"), o54=ADDRESS["p"].to_bytes(4, "big")))


def acks(duo: Duo) -> int:
    return sum(packet.message_type == 5 for packet in duo.sent["p"])


def test_zero_loss_an_ack_waits_for_the_bndack_and_the_lease_is_on_both_disks() -> None:
    """dhcpd: the ACK may leave before the partner has heard a byte; who dies then takes the lease along."""
    duo = zero_loss()
    assert kind(ask(duo, 1)) == "silence"
    duo.settle(4)
    (ack,) = [packet for packet in duo.sent["p"] if packet.message_type == 5]
    assert duo.lease("s", ack.yiaddr).state is BindingState.ACTIVE
    assert not duo.lease("p", ack.yiaddr).owed
    assert not duo.noted("p", "ack-before-partner")


def test_zero_loss_a_partner_that_does_not_answer_delays_an_ack_by_the_limit() -> None:
    duo = zero_loss()
    duo.hold_bytes = lambda who, data: who == "s" and MessageType.BNDACK in kinds(data)
    assert kind(ask(duo, 1)) == "silence"
    assert duo.nodes["p"].deadline(duo.now) <= duo.now.mono + 2
    duo.run(1.9, 0.1)
    assert acks(duo) == 0
    duo.run(0.3, 0.1)
    assert acks(duo) == 1
    assert duo.noted("p", "ack-before-partner") == 1


def test_zero_loss_a_client_that_repeats_its_request_hears_the_first_ack_in_time() -> None:
    """A dhcpd partner sat on its acks for 2 s, and each repeat put the ACK off for another 3 s: the lease ended meanwhile."""
    duo = zero_loss()
    late: list[bytes] = []

    def sits_on_acks(who: str, data: bytes) -> bool:
        held = who == "s" and MessageType.BNDACK in kinds(data)
        late.extend([data] if held else [])
        return held

    duo.hold_bytes = sits_on_acks
    assert kind(ask(duo, 1)) == "silence"
    (lease,) = [lease for lease in duo.nodes["p"].table.rows() if lease.state is BindingState.ACTIVE]
    for _ in range(4):
        duo.run(0.9, 0.1)
        repeated = duo.packet(3, 1, secs=9, o50=lease.address.to_bytes(4, "big"), o54=ADDRESS["p"].to_bytes(4, "big"))
        duo.say("p", repeated)
    assert acks(duo) >= 1
    assert 1 <= duo.noted("p", "ack-before-partner") <= 2
    assert late


def test_zero_loss_the_ack_of_the_first_update_is_enough() -> None:
    held = HeldAcks()
    first, again = Lease(9, hw=b"\x01a", generation=3), Lease(9, hw=b"\x01a", generation=4)
    send = ClientSend("eth0", b"", 0, 0, b"")
    assert held.hold(first, "fo", send, 10.0)
    assert held.hold(again, "fo", send, 11.0)
    assert held.hold(Lease(9, hw=b"\x01a", generation=5), "fo", send, 12.0)
    assert held.deadline() == 10.0
    assert [one.generation for one in held.answered(9, 3)] == [3]
    assert held.deadline() == 12.0
    assert held.hold(Lease(9, hw=b"\x01b", generation=6), "fo", send, 13.0)
    assert [one.generation for _, one in held.of("fo")] == [6], "what another client waited for is gone"
    assert held.deadline() == float("inf")


def test_zero_loss_a_lost_link_lets_all_acks_go() -> None:
    duo = zero_loss()
    duo.hold_bytes = lambda who, data: who == "s" and MessageType.BNDACK in kinds(data)
    assert kind(ask(duo, 1)) == "silence"
    duo.crash("s")
    duo.settle(4)
    assert acks(duo) == 1
    assert kind(ask(duo, 2)) == "ack", "alone nobody waits"


def test_zero_loss_an_ack_whose_address_went_to_another_meanwhile_is_not_sent() -> None:
    duo = zero_loss()
    duo.hold_bytes = lambda who, data: who == "s" and MessageType.BNDACK in kinds(data)
    assert kind(ask(duo, 1)) == "silence"
    (lease,) = [lease for lease in duo.nodes["p"].table.rows() if lease.state is BindingState.ACTIVE]
    duo.nodes["p"].change(lease, lease.evolve(hw=b"\x01\x02\x00\x00\x00\x00\x63"), Origin.PARTNER, "test", duo.now)
    duo.run(3)
    assert acks(duo) == 0
    assert duo.noted("p", "ack-void") == 1


def test_zero_loss_is_off_unless_asked_for() -> None:
    assert kind(ask(normal(), 1)) == "ack"
