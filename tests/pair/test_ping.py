"""The ping check: nobody is offered an address that somebody uses, nobody waits for longer than for one silence."""

from __future__ import annotations

import pytest

from failoverd.dhcp import probing
from failoverd.leases.lease import BindingState
from failoverd.leases.table import OFFER_S
from failoverd.ports import Probe, ProbeAnswer
from tests.pair.duo import ADDRESS, Duo, kind, normal

FIRST = 0x0A000064  # 10.0.0.100
ALONE = ('range = ["10.0.0.100-', 'range = ["10.0.0.100"]\nserver = "p"\n[[subnet.pool]]\nrange = ["10.0.0.101-')  # a pool of one


def asked(duo: Duo, name: str = "p") -> list[int]:
    """The addresses that a server pinged."""
    return [probe.address for probe in duo.probes[name]]


def hear(duo: Duo, name: str, address: int, *, heard: bool = True, detail: str = "") -> None:
    duo.inbox[name].append(ProbeAnswer(address, heard, duo.now.mono, detail))
    duo.tick()


def offers(duo: Duo, name: str = "p") -> list[int]:
    return [packet.yiaddr for packet in duo.sent[name] if kind(packet) == "offer"]


def test_an_offer_waits_for_the_silence_of_its_address() -> None:
    duo = normal(ping=True)
    assert duo.discover("p", 1, secs=10) is None
    (address,) = asked(duo)
    assert duo.noted("p", probing.PINGING) == 1
    duo.run(0.9)
    assert offers(duo) == []
    duo.run(0.2)
    assert offers(duo) == [address]
    request = duo.packet(3, 1, o50=address.to_bytes(4, "big"), o54=ADDRESS["p"].to_bytes(4, "big"))
    assert kind(duo.say("p", request)) == "ack"


def test_the_node_wants_to_be_stepped_when_the_silence_is_proven() -> None:
    duo = normal(ping=True)
    duo.discover("p", 1, secs=10)
    node = duo.nodes["p"]
    assert node.probing.deadline() == pytest.approx(duo.now.mono + 1.0)
    assert node.deadline(duo.now) <= node.probing.deadline()


def test_an_address_that_answers_is_abandoned_at_both_and_the_client_gets_another() -> None:
    duo = normal(ping=True)
    duo.discover("p", 1, secs=10)
    (taken,) = asked(duo)
    hear(duo, "p", taken)
    assert duo.noted("p", probing.ANSWERED) == 1
    other = asked(duo)[-1]
    assert other != taken
    duo.run(1.2)
    assert offers(duo) == [other]
    for name in ("p", "s"):
        lease = duo.lease(name, taken)
        assert (lease.state, lease.client, lease.owed) == (BindingState.ABANDONED, b"", False)
    assert duo.discover("p", 2, secs=10) is None
    assert asked(duo)[-1] not in (taken, other)


def test_a_repeated_discover_starts_no_second_ping_and_the_newest_one_is_answered() -> None:
    duo = normal(ping=True)
    duo.discover("p", 1, secs=10)
    duo.run(0.5)
    duo.discover("p", 1, secs=11)
    assert len(asked(duo)) == 1
    duo.run(0.6)
    assert [packet.xid for packet in duo.sent["p"]] == [duo._xid]


def test_a_repeated_discover_is_offered_the_same_address() -> None:
    """It was offered another one each time, and each stayed reserved for two minutes."""
    duo = normal()
    assert len({packet.yiaddr for packet in (duo.discover("p", 1, secs=10) for _ in range(5)) if packet is not None}) == 1


def test_who_holds_or_held_an_address_is_not_pinged() -> None:
    duo = normal(ping=True, edits=[ALONE])
    duo.discover("p", 1, secs=10)
    duo.run(1.2)
    (address,) = offers(duo)
    duo.say("p", duo.packet(3, 1, o50=address.to_bytes(4, "big"), o54=ADDRESS["p"].to_bytes(4, "big")))
    assert kind(duo.renew("p", 1, address)) == "ack"
    assert kind(duo.discover("p", 1, secs=10)) == "offer"
    duo.release("p", 1, address)
    duo.run(2)
    assert kind(duo.discover("p", 1, secs=10)) == "offer"
    assert len(asked(duo)) == 1


def test_a_fresh_silence_is_good_for_the_next_client_and_one_that_was_acked_since_is_not() -> None:
    duo = normal(ping=True, edits=[ALONE])
    duo.discover("p", 1, secs=10)
    duo.run(1.2)
    assert offers(duo) == [FIRST]
    duo.nodes["p"].table.take_offer(FIRST)
    assert kind(duo.discover("p", 2, secs=10)) == "offer"
    duo.say("p", duo.packet(3, 2, o50=FIRST.to_bytes(4, "big"), o54=ADDRESS["p"].to_bytes(4, "big")))
    duo.release("p", 2, FIRST)
    assert duo.discover("p", 3, secs=10) is None
    assert asked(duo) == [FIRST, FIRST]
    duo.run(probing.FRESH_S + OFFER_S + 1)
    duo.discover("p", 4, secs=10)
    assert asked(duo) == [FIRST] * 3


def test_a_reservation_is_not_pinged() -> None:
    duo = normal(ping=True)
    assert kind(duo.discover("p", 0xFF01)) == "offer"
    assert asked(duo) == []


def test_a_ping_that_cannot_be_sent_counts_as_silence_and_is_noted() -> None:
    duo = normal(ping=True)
    duo.discover("p", 1, secs=10)
    (address,) = asked(duo)
    hear(duo, "p", address, heard=False, detail="Network is unreachable")
    assert offers(duo) == [address]
    assert [note.detail for note in duo.notes["p"] if note.name == probing.UNSENT] == ["Network is unreachable"]


def test_an_answer_after_the_offer_keeps_the_client_off() -> None:
    """ARP can take longer than the timeout."""
    duo = normal(ping=True)
    duo.discover("p", 1, secs=10)
    duo.run(1.2)
    (address,) = offers(duo)
    hear(duo, "p", address)
    assert duo.lease("p", address).state is BindingState.ABANDONED
    request = duo.packet(3, 1, o50=address.to_bytes(4, "big"), o54=ADDRESS["p"].to_bytes(4, "big"))
    assert kind(duo.say("p", request)) == "nak"


def test_an_answer_never_takes_the_address_from_a_client_that_has_it() -> None:
    duo = normal(ping=True)
    duo.discover("p", 1, secs=10)
    duo.run(1.2)
    (address,) = offers(duo)
    duo.say("p", duo.packet(3, 1, o50=address.to_bytes(4, "big"), o54=ADDRESS["p"].to_bytes(4, "big")))
    hear(duo, "p", address)
    assert duo.lease("p", address).state is BindingState.ACTIVE


def test_not_more_than_so_many_wait_and_the_next_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "WAITING", 2)
    duo = normal(ping=True)
    for mac in (1, 2, 3):
        duo.discover("p", mac, secs=10)
    assert len(asked(duo)) == 2
    assert duo.noted("p", probing.TOO_MANY) == 1
    duo.run(1.2)
    assert len(offers(duo)) == 2
    duo.discover("p", 3, secs=14)
    assert len(asked(duo)) == 3


def test_fewer_wait_while_nothing_but_a_ping_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel drops pings silently when too many neighbours are unresolved."""
    monkeypatch.setattr(probing, "WAITING_MUST", 1)
    duo = normal(ping=True)
    duo.discover("p", 1, secs=10)
    duo.settle()
    waiting = duo.nodes["p"].probing
    assert waiting.full(must=True)
    assert not waiting.full(must=False)


def test_a_whole_subnet_that_answers_does_not_keep_one_discover_for_ever() -> None:
    duo = normal(ping=True)
    duo.discover("p", 1, secs=10)
    for _ in range(30):
        duo.run(0.25)
        hear(duo, "p", asked(duo)[-1])
    assert len(asked(duo)) <= 3 / 0.25 + 1
    assert offers(duo) == []


def test_waiting_for_a_ping_does_not_call_the_partner_unheard() -> None:
    """The DISCOVER is decided twice, and a client of the partner's that waits a second for a ping did not ask twice."""
    duo = normal(ping=True)
    for mac in range(1, 30):
        duo.discover("p", mac, secs=10)
        duo.run(1.2)
    assert duo.noted("p", "partner-unheard") == 0
    assert len(offers(duo)) == 29


def test_a_hung_disk_sends_no_offer_that_waited() -> None:
    """safety.md 4."""
    duo = normal(ping=True)
    duo.discover("p", 1, secs=10)
    duo.now = duo.now._replace(mono=duo.now.mono + 1.1, wall=duo.now.wall + 1.1)
    out = duo.nodes["p"].step([], duo.now, 11.0)
    assert not [send for send in out.at_once if not isinstance(send, Probe)]


def test_explain_names_the_ping() -> None:
    duo = normal(ping=True)
    duo.discover("p", 1, secs=10)
    (address,) = asked(duo)
    hear(duo, "p", address)
    told = duo.command("p", "explain", client="02:00:00:00:00:01").body
    assert isinstance(told, dict)
    names = [each["note"] if "note" in each else each["name"] for each in told["decisions"]]
    assert names[-3:] == ["waiting-for-ping", "ping-answered", "waiting-for-ping"]


def restored(lease: str = "1h") -> tuple[Duo, int]:
    """A restored server that was just told partner-down, and an address that client 1 gave back before. The configuration has no ping
    check."""
    duo = normal(mclt="2m", lease=lease)
    first = duo.given("p", 1)
    duo.settle()
    duo.release("p", 1, first)
    duo.settle()
    duo.crash("p")
    duo.crash("s")
    duo.start("p", rollback="1", restored="1")
    duo.run(20)
    duo.command("p", "partner-down")
    return duo, first


def giving() -> tuple[Duo, int]:
    """The same when it may give new addresses."""
    duo, first = restored(lease="10m")
    duo.run(131000, 300)
    duo.probes["p"].clear()
    duo.sent["p"].clear()
    return duo, first


def request(duo: Duo, mac: int, address: int, *, chosen: bool) -> str:
    """What a client hears at once that asks for an address that it was not offered."""
    server = {"o54": ADDRESS["p"].to_bytes(4, "big")} if chosen else {}
    return kind(duo.say("p", duo.packet(3, mac, o50=address.to_bytes(4, "big"), **server)))


@pytest.mark.parametrize("chosen", [False, True])
def test_safety_15_a_restored_server_pings_before_it_acks_an_address_that_it_did_not_offer(chosen: bool) -> None:
    """An INIT-REBOOT, and a REQUEST without a live OFFER, were acked at once."""
    duo, address = giving()
    mac = 9 if chosen else 1
    assert request(duo, mac, address, chosen=chosen) == "silence"
    assert asked(duo) == [address]
    assert duo.notes["p"][-1].name == probing.PINGING
    duo.run(0.5)
    request(duo, mac, address, chosen=chosen)
    assert asked(duo) == [address]
    duo.run(0.6)
    assert [kind(packet) for packet in duo.sent["p"]] == ["ack"]
    assert duo.lease("p", address).state is BindingState.ACTIVE
    assert kind(duo.renew("p", mac, address)) == "ack"
    assert asked(duo) == [address]


@pytest.mark.parametrize(("heard", "mark"), [(True, probing.ANSWERED), (False, probing.MUST_PING)])
def test_safety_15_a_client_that_chose_a_restored_server_is_refused_what_it_cannot_have(heard: bool, mark: str) -> None:
    duo, address = giving()
    request(duo, 9, address, chosen=True)
    hear(duo, "p", address, heard=heard)
    assert [kind(packet) for packet in duo.sent["p"]] == ["nak"]
    assert duo.noted("p", mark) == 1
    assert asked(duo) == [address]
    assert (duo.lease("p", address).state is BindingState.ABANDONED) is heard


def test_safety_15_an_init_reboot_at_a_restored_server_that_cannot_be_served_meets_silence() -> None:
    duo, address = giving()
    request(duo, 1, address, chosen=False)
    hear(duo, "p", address)
    assert duo.sent["p"] == []


def test_safety_15_a_renewal_at_a_restored_server_waits_for_no_ping_and_a_strangers_meets_silence() -> None:
    """Who renews uses the address, and would answer the ping itself."""
    duo, address = giving()
    assert kind(duo.renew("p", 9, address)) == "silence"
    assert duo.notes["p"][-1].name == "unknown-client"
    assert kind(duo.renew("p", 1, address)) == "ack"
    assert asked(duo) == []


def test_safety_15_a_restored_server_alone_pings_each_address_before_it_gives_it() -> None:
    duo, _ = restored()
    duo.until(lambda: _asks(duo, 1), 131000)
    assert duo.dora("p", 2) is None
    address = asked(duo)[-1]
    hear(duo, "p", address, heard=False, detail="No buffer space available")
    before = offers(duo)
    assert duo.noted("p", probing.MUST_PING) == 1
    assert duo.discover("p", 2, secs=20) is None
    duo.run(1.2)
    assert len(offers(duo)) > len(before)
    assert offers(duo)[-1] == asked(duo)[-1]


def _asks(duo: Duo, mac: int) -> bool:
    """A minute passes; whether the client's DISCOVER leads to a ping by now."""
    duo.run(60, 20)
    duo.discover("p", mac, secs=10)
    return bool(asked(duo))


@pytest.mark.parametrize("ping", [False, True])
def test_a_client_that_asks_for_one_address_after_the_other_keeps_one_offer_and_one_ping(ping: bool) -> None:
    """50 DISCOVERs of one client reserved 50 addresses, and kept 50 pings waiting: twenty such clients left nothing for the others."""
    duo = normal(ping=ping)
    pool = next(iter(duo.nodes["p"].table.pools.values())).pool
    for address in range(FIRST + 50, FIRST + 100):
        duo.discover("p", 1, secs=10, requested=address)
    node = duo.nodes["p"]
    assert (node.probing.waiting, node.table.offers_in(pool)) == (int(ping), 1)
    duo.run(1.2)
    assert node.probing.waiting == 0
    assert len(set(asked(duo))) == int(ping)
    assert node.table.offered_to(offers(duo)[-1], duo.now.mono) == b"\x00\x01\x02\x00\x00\x00\x00\x01"
    assert (
        kind(duo.say("p", duo.packet(3, 1, o50=offers(duo)[-1].to_bytes(4, "big"), o54=ADDRESS["p"].to_bytes(4, "big")))) == "ack"
    )


def test_a_client_in_two_networks_keeps_an_offer_in_each() -> None:
    two = (
        "[[subnet.reservation]]",
        '[[subnet.pool]]\nrange = ["10.0.1.100-10.0.1.120"]\nrelationship = "fo"\n[[subnet.reservation]]',
    )
    duo = normal(edits=[two])
    for address in (FIRST + 60, FIRST + 0x112, FIRST + 61, FIRST + 0x113):
        duo.discover("p", 1, secs=10, requested=address)
    pools = [state.pool for state in duo.nodes["p"].table.pools.values()]
    assert [duo.nodes["p"].table.offers_in(pool) for pool in pools] == [1, 1]


def test_safety_15_requests_for_one_address_after_the_other_wait_for_one_ping_only() -> None:
    duo, address = giving()
    request(duo, 9, address, chosen=True)
    for other in range(FIRST + 60, FIRST + 70):
        request(duo, 9, other, chosen=True)
    assert asked(duo) == [address]
    assert [kind(packet) for packet in duo.sent["p"]] == ["nak"] * 10
    duo.run(1.2)
    assert kind(duo.sent["p"][-1]) == "ack"
