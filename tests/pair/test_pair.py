"""The pair as its operators see it: first contact, bindings, interruption, partner-down, return (failover-protocol.md 5.8, 7)."""

from __future__ import annotations

from failoverd.failover.hashing import bucket
from failoverd.failover.message import Framer, MessageType
from failoverd.leases.lease import BindingState
from tests.pair.duo import ADDRESS, Duo, kind, lease_s, normal


def test_first_contact_reaches_normal_with_balanced_pools() -> None:
    duo = normal()
    for name in ("p", "s"):
        pool = duo.nodes[name].table.pools["10.0.0.100-10.0.0.199"]
        assert (pool.count(BindingState.FREE), pool.count(BindingState.BACKUP)) == (50, 50)


def test_a_discover_of_the_partners_bucket_is_left_to_the_partner_until_secs_rises() -> None:
    duo = normal()
    answered = {"p": 0, "s": 0}
    for mac in range(40):
        chaddr = b"\x02\x00" + mac.to_bytes(4, "big")
        owner = "p" if bucket(chaddr) < 128 else "s"
        for name in ("p", "s"):
            got = duo.discover(name, mac)
            assert kind(got) == ("offer" if name == owner else "silence")
            answered[name] += got is not None
        other = "s" if owner == "p" else "p"
        assert kind(duo.discover(other, mac, secs=3)) == "silence"
        assert kind(duo.discover(other, mac, secs=4)) == "offer"
    assert min(answered.values()) > 0
    assert duo.noted("p", "left-to-partner")


def test_a_binding_reaches_the_partner_and_its_ack_lengthens_the_next_lease() -> None:
    duo = normal()
    first = duo.dora("p", 1)
    assert first is not None
    assert lease_s(first) == 600
    duo.settle()
    there = duo.lease("s", first.yiaddr)
    assert (there.state, there.hw) == (BindingState.ACTIVE, b"\x01\x02\x00\x00\x00\x00\x01")
    duo.run(300)
    second = duo.renew("p", 1, first.yiaddr)
    assert second is not None
    assert lease_s(second) == 3600


def test_the_worked_example_of_mclt() -> None:
    """failover-protocol.md 7.1: 600 first; after the ack of 3900 the full 3600; the potential expiries told are 3900, 5404, 5408."""
    duo = normal()
    start = int(duo.now.wall)
    offered = duo.discover("p", 1, secs=10)
    assert offered is not None
    ask = duo.packet(3, 1, o50=offered.yiaddr.to_bytes(4, "big"), o54=ADDRESS["p"].to_bytes(4, "big"))
    duo.now = duo.now._replace(wall=float(start))
    ack = duo.say("p", ask)
    assert ack is not None
    lease = duo.lease("p", ack.yiaddr)
    t = lease.starts
    assert (lease.ends - t, lease.potential - t, lease.acked) == (600, 3900, lease.acked)
    assert lease_s(ack) == 600
    told = []
    for wait in (4, 8):
        duo.run(t + wait - duo.now.wall - 0.02)
        renewed = duo.renew("p", 1, ack.yiaddr)
        assert renewed is not None
        assert lease_s(renewed) == 3600
        lease = duo.lease("p", ack.yiaddr)
        told.append(lease.potential - lease.starts)
    assert told == [5400, 5400]
    duo.settle()
    acked = duo.lease("p", ack.yiaddr).acked
    assert acked == lease.potential
    duo.crash("s")
    duo.tick()
    for wait in (2100, 3300, 5000):
        duo.run(lease.starts + wait - duo.now.wall, step_s=5.0)
        renewed = duo.renew("p", 1, ack.yiaddr)
        assert renewed is not None
        assert lease_s(renewed) == min(
            3600,
            max(duo.lease("p", ack.yiaddr).starts, acked - duo.nodes["p"].endpoints["fo"].slack_s)
            + 600
            - duo.lease("p", ack.yiaddr).starts,
        )


def test_a_cut_is_noticed_after_max_response_delay_and_healed_within_seconds() -> None:
    duo = normal()
    duo.cut()
    took = duo.until(lambda: duo.states() == ("communications-interrupted", "communications-interrupted"), 60)
    assert 20 <= took <= 31
    duo.run(80)
    duo.heal()
    assert duo.until(lambda: duo.states() == ("normal", "normal"), 10) < 5


def test_alone_each_server_serves_everybody_from_its_own_half() -> None:
    duo = normal()
    duo.crash("s")
    duo.settle()
    got = [duo.dora("p", mac, secs=0) for mac in range(100, 160)]
    assert sum(kind(each) == "ack" for each in got) == 50
    assert duo.noted("p", "partner-holds-all-free") == 10


def test_partner_down_frees_the_partners_half_after_mclt_and_the_return_resynchronises() -> None:
    duo = normal(mclt="5m")
    for mac in range(10):
        assert kind(duo.dora("s", mac)) == "ack"
    duo.settle()
    duo.crash("s")
    duo.settle()
    preview = duo.command("p", "partner-down", dry_run="1")
    assert preview.code == "ok"
    assert duo.state("p") == "communications-interrupted"
    done = duo.command("p", "partner-down")
    assert (done.code, duo.state("p")) == ("ok", "partner-down")
    for mac in range(100, 150):
        assert kind(duo.dora("p", mac)) == "ack"
    assert kind(duo.dora("p", 500)) == "silence"
    duo.run(5 * 60 + 62, step_s=1.0)
    assert kind(duo.dora("p", 500)) == "ack"
    duo.start("s")
    duo.until(lambda: duo.states() == ("normal", "normal"), 400)
    duo.settle(200)
    for lease in duo.nodes["p"].table.rows():
        there = duo.lease("s", lease.address)
        assert (there.state, there.client) == (lease.state, lease.client), hex(lease.address)


def test_partner_down_is_refused_in_contact() -> None:
    duo = normal()
    reply = duo.command("p", "partner-down")
    assert reply.code == "refused"
    assert duo.state("p") == "normal"


def test_both_databases_agree_after_expiry_release_and_decline() -> None:
    duo = normal(mclt="2m", lease="2m")
    acks = {mac: duo.dora("p" if mac % 2 else "s", mac) for mac in range(12)}
    addresses = {mac: ack.yiaddr for mac, ack in acks.items() if ack is not None}
    assert len(addresses) == 12
    duo.settle()
    duo.release("s", 2, addresses[2])
    duo.release("p", 3, addresses[3])
    duo.say("p", duo.packet(4, 5, o50=addresses[5].to_bytes(4, "big"), o54=ADDRESS["p"].to_bytes(4, "big")))
    duo.run(200, step_s=0.5)
    for address in addresses.values():
        here, there = duo.lease("p", address), duo.lease("s", address)
        assert here.state is there.state, hex(address)
        expected = (BindingState.ABANDONED,) if address == addresses[5] else (BindingState.FREE, BindingState.BACKUP)
        assert here.state in expected
        assert not here.owed
        assert not there.owed


def test_a_restart_of_either_server_needs_no_second_to_be_normal_again() -> None:
    for name in ("p", "s"):
        duo = normal()
        assert kind(duo.dora(name, 7)) == "ack"
        duo.run(20)
        duo.crash(name)
        duo.settle()
        duo.run(30)
        duo.start(name)
        assert duo.until(lambda duo=duo: duo.states() == ("normal", "normal"), 10) < 4


def test_a_never_used_pair_without_pair_init_waits_and_says_so() -> None:
    duo = Duo(new_pair=False)
    duo.run(20)
    assert duo.states() == ("recover-wait", "recover-wait")
    assert duo.noted("p", "new-pair-unattested")
    assert kind(duo.dora("p", 1)) == "silence"
    for name in ("p", "s"):
        assert duo.command(name, "pair-init").code == "ok"
    duo.until(lambda: duo.states() == ("normal", "normal"), 10)


def test_explain_names_the_reason_for_a_client_that_was_left_to_the_partner() -> None:
    duo = normal()
    mac = next(m for m in range(100) if bucket(b"\x02\x00" + m.to_bytes(4, "big")) >= 128)
    duo.discover("p", mac)
    reply = duo.command("p", "explain", client=(b"\x02\x00" + mac.to_bytes(4, "big")).hex())
    assert isinstance(reply.body, dict)
    assert [each["name"] for each in reply.body["decisions"]] == ["left-to-partner"]


def test_reservations_are_served_by_both_and_never_leased_to_others() -> None:
    duo = normal()
    for name in ("p", "s"):
        ack = duo.dora(name, 0xFF01)
        assert ack is not None
        assert ack.yiaddr == 0x0A00003C
        assert lease_s(ack) == 3600
    other = duo.say("p", duo.packet(3, 9, o50=(0x0A00003C).to_bytes(4, "big")))
    assert kind(other) == "nak"


def test_what_was_pushed_before_the_state_is_not_told_again_behind_it() -> None:
    """Each BNDUPD of an interruption crossed the link twice (scenario kill-and-return)."""
    duo = normal()
    duo.cut()
    duo.run(40)
    for mac in (1, 2, 3):
        assert duo.dora("p", mac) is not None
    duo.wire.clear()
    duo.heal()
    duo.until(lambda: duo.states() == ("normal", "normal"))
    duo.run(5)
    told = [
        message for who, data in duo.wire if who == "p" for message in Framer().feed(data) if message.kind == MessageType.BNDUPD
    ]
    assert len(told) == 3
    assert not duo.nodes["p"].endpoints["fo"].updates.owed
