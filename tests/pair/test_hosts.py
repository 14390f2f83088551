"""What two failoverd tell each other of hosts: fresh pings, and reservations that only one of them has."""

from __future__ import annotations

import pytest

from failoverd import node_hosts
from failoverd.dhcp import probing
from failoverd.failover import exchange, private
from failoverd.failover import message as wire
from failoverd.failover.bindings import binding_of
from failoverd.failover.private import FrameKind, frames
from failoverd.failover.reasons import PRIVATE_IGNORED, PRIVATE_UNSAID
from failoverd.leases import table
from failoverd.leases.lease import BindingState
from failoverd.ports import ProbeAnswer
from tests.pair.duo import ADDRESS, Duo, kind, normal

FIRST, LAST = 0x0A000064, 0x0A0000C7  # the pool, 10.0.0.100 to .199
CAMERA = 0x77
MAC = b"\x00\x01\x02\x00\x00\x00\x00\x77"
RESERVE = """[[subnet.reservation]]
hardware = "02:00:00:00:00:77"
address = "10.0.0.{}"
[[ddns.zone]]"""


def reserved_at_s(host: int, **more: object) -> Duo:
    """A pair of which only the secondary has a reservation for the camera."""
    return normal(tls=True, other=[("[[ddns.zone]]", RESERVE.format(host))], **more)


def reserve(duo: Duo, name: str, host: int) -> None:
    """One server is restarted with a reservation for the camera."""
    duo.reconfigure(name, duo.text.replace("[[ddns.zone]]", RESERVE.format(host)))
    duo.until(lambda: duo.states() == ("normal", "normal"), 60)
    duo.run(1)


def ask(duo: Duo, name: str, mac: int, address: int) -> str:
    """A client asks for an address in DISCOVER and REQUEST: the kind of the last answer, with what it was given."""
    offer = duo.discover(name, mac, secs=10, requested=address)
    if offer is None:
        return "silence"
    request = duo.packet(3, mac, o50=offer.yiaddr.to_bytes(4, "big"), o54=ADDRESS[name].to_bytes(4, "big"))
    answer = duo.say(name, request)
    assert answer is not None
    return f"{kind(answer)} {answer.yiaddr & 0xFF}"


def tell(duo: Duo, to: str, kind_: FrameKind, rows: list[tuple[bytes, bytes]]) -> None:
    """Frames that a partner could send."""
    endpoint = duo.nodes[to].endpoints["fo"]
    assert endpoint.link is not None
    for data in frames(kind_, rows):
        message = wire.contact(int(duo.now.wall), 900)
        message.options.append((private.FRAME, data))
        endpoint.link_bytes(endpoint.link.number, wire.encode(message), duo.now)
    duo.tick()


# --- pings --------------------------------------------------------------------------------------------------------------


def test_a_fresh_silence_of_the_partner_is_not_proven_again() -> None:
    duo = normal(tls=True, ping=True)
    duo.discover("p", 1, secs=10)
    duo.run(1.5)
    (address,) = (probe.address for probe in duo.probes["p"])
    assert duo.nodes["s"].probing.was_silent(address, duo.now.mono)
    duo.run(probing.FRESH_S)
    assert not duo.nodes["s"].probing.was_silent(address, duo.now.mono)


def test_an_address_that_answered_the_partner_is_offered_to_nobody() -> None:
    duo = normal(tls=True, ping=True)
    state = BindingState.BACKUP
    theirs = next(iter(duo.nodes["s"].table.pools.values())).backup
    address = next(iter(theirs))
    assert duo.lease("s", address).state is state
    tell(duo, "s", FrameKind.PINGS, [(address.to_bytes(4, "big"), b"\x01" + int(duo.now.wall).to_bytes(8, "big"))])
    assert duo.nodes["s"].table.offered_to(address, duo.now.mono) == table.NOBODY
    duo.discover("s", 1, secs=10, requested=address)
    assert [probe.address for probe in duo.probes["s"]] != [address]


@pytest.mark.parametrize(("ahead", "counts"), [(600, True), (550, True), (530, False)])
def test_the_time_of_a_partners_ping_is_read_by_the_partners_clock(ahead: int, counts: bool) -> None:
    """Its clock is 600 s ahead: what it says to have happened in 530 s was 70 s ago."""
    duo = normal(tls=True)
    duo.nodes["s"].endpoints["fo"].record.offset = 600
    tell(duo, "s", FrameKind.PINGS, [(LAST.to_bytes(4, "big"), b"\0" + int(duo.now.wall + ahead).to_bytes(8, "big"))])
    assert duo.nodes["s"].probing.was_silent(LAST, duo.now.mono) is counts


def test_what_the_partner_heard_long_ago_or_of_a_leased_address_changes_nothing() -> None:
    duo = normal(tls=True)
    x = duo.given("p", 1)
    duo.settle()
    rows = [(x.to_bytes(4, "big"), b"\x01" + int(duo.now.wall).to_bytes(8, "big"))]
    rows.append((LAST.to_bytes(4, "big"), b"\x01" + int(duo.now.wall - 61).to_bytes(8, "big")))
    rows += [(b"\x0a", b"\x01" + bytes(8)), (LAST.to_bytes(4, "big"), b"\x01"), (b"\xc0\x00\x02\x01", rows[0][1])]
    tell(duo, "s", FrameKind.PINGS, rows)
    assert [duo.nodes["s"].table.offered_to(each, duo.now.mono) for each in (x, LAST, 0xC0000201)] == [b"", b"", b""]
    assert kind(duo.renew("s", 1, x)) == "ack"


@pytest.mark.parametrize("newest", [0, 1, 2, 3])
def test_an_older_partner_is_told_nothing_of_hosts(newest: int) -> None:
    duo = reserved_at_s(100, ping=True, dialects={"p": newest})
    duo.discover("s", 1, secs=10)
    duo.inbox["s"].append(ProbeAnswer(duo.probes["s"][0].address, True, duo.now.mono))
    duo.run(3)
    assert duo.nodes["p"].theirs == duo.nodes["s"].theirs == {}
    assert not duo.noted("p", "partner-private-ignored")
    assert duo.states() == ("normal", "normal")


# --- reservations -------------------------------------------------------------------------------------------------------


def test_what_the_partner_reserves_goes_to_nobody_else_and_to_its_client_from_both() -> None:
    duo = reserved_at_s(100)
    assert duo.nodes["p"].theirs == {"fo": {0x0A00003C: b"\x00\x01\x02\x00\x00\x00\xff\x01", FIRST: MAC}}
    assert ask(duo, "p", 1, FIRST) not in ("silence", "ack 100")
    request = duo.packet(3, 5, o50=FIRST.to_bytes(4, "big"))
    assert kind(duo.say("p", request)) in ("nak", "silence")
    assert ask(duo, "p", CAMERA, 0) == "ack 100"
    assert ask(duo, "s", CAMERA, 0) == "ack 100"
    duo.run(5)
    assert not any(node.endpoints["fo"].updates.owed for node in duo.nodes.values())
    assert not duo.noted("p", "binding-update-refused-by-partner")


def test_the_whole_pool_is_given_out_and_never_the_address_that_the_partner_reserves() -> None:
    duo = reserved_at_s(105, last=109)
    given = {packet.yiaddr for name in ("p", "s") for mac in range(1, 12) if (packet := duo.dora(name, mac)) is not None}
    assert FIRST + 5 not in given
    assert len(given) == 9
    state = next(iter(duo.nodes["p"].table.pools.values()))
    assert state.count(BindingState.FREE) + state.count(BindingState.BACKUP) == 0


def test_a_restart_alone_honours_what_the_partner_reserved() -> None:
    duo = reserved_at_s(100)
    assert ask(duo, "p", CAMERA, 0) == "ack 100"
    duo.settle()
    for name in ("s", "p"):
        duo.crash(name)
    duo.start("p")
    duo.run(20)
    duo.command("p", "partner-down")
    assert duo.nodes["p"].theirs["fo"][FIRST] == MAC
    assert ask(duo, "p", 1, FIRST) != "ack 100"
    assert kind(duo.renew("p", CAMERA, FIRST)) == "ack"
    assert not duo.lease("p", FIRST).owed


def test_a_lease_that_another_client_has_there_lives_to_its_end_and_nobody_gets_it_then() -> None:
    duo = normal(tls=True)
    address = duo.given("p", 1)
    last = f"ack {address & 0xFF}"
    reserve(duo, "s", address & 0xFF)
    assert duo.nodes["p"].theirs["fo"][address] == MAC
    ends = duo.lease("p", address).ends
    duo.run(60)
    assert kind(duo.renew("p", 1, address)) == "ack"
    assert duo.lease("p", address).ends == ends  # the partner gives it to the camera then
    assert ask(duo, "p", CAMERA, address) != last
    duo.run(4300, 5)
    assert duo.lease("p", address).state is not BindingState.ACTIVE
    assert ask(duo, "p", 1, address) != last
    assert ask(duo, "p", 2, address) != last


def test_what_is_no_longer_reserved_is_part_of_the_pool_again_and_the_partner_hears_of_its_lease() -> None:
    duo = reserved_at_s(100)
    assert ask(duo, "p", CAMERA, 0) == "ack 100"
    duo.reconfigure("s")
    duo.until(lambda: duo.states() == ("normal", "normal"), 60)
    duo.run(5)
    assert FIRST not in duo.nodes["p"].theirs["fo"]
    assert duo.lease("s", FIRST).state is BindingState.ACTIVE
    assert duo.lease("s", FIRST).client == MAC
    assert not duo.lease("p", FIRST).owed
    assert duo.nodes["p"].one_sided("fo") == []


def test_status_names_the_reservations_that_only_one_side_has() -> None:
    duo = reserved_at_s(100)
    for name, here, there in (("p", "none", "for 02:00:00:00:00:77"), ("s", "for 02:00:00:00:00:77", "none")):
        differences = duo.relationship(name)["differences"]
        assert f"reservation of 10.0.0.100: here {here}, at the partner {there}" in differences
        assert duo.noted(name, node_hosts.ONE_SIDED) == 1


def test_our_own_reservation_stands_against_the_partners() -> None:
    """10.0.0.60 is the printer's here, the camera's there: each server keeps to its own file, and both say so."""
    duo = normal(tls=True, other=[('hardware = "02:00:00:00:ff:01"', 'hardware = "02:00:00:00:00:77"')])
    assert ask(duo, "p", 0xFF01, 0) == "ack 60"
    assert ask(duo, "p", CAMERA, 0) != "ack 60"
    assert any("10.0.0.60" in each for each in duo.nodes["p"].one_sided("fo"))


def test_not_more_than_so_many_reservations_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_hosts, "RESERVED_MOST", 1)
    duo = reserved_at_s(100)
    assert duo.nodes["p"].theirs == {"fo": {0x0A00003C: b"\x00\x01\x02\x00\x00\x00\xff\x01"}}
    assert duo.noted("p", node_hosts.TOO_MANY) == 1


def test_malformed_reservations_and_parts_out_of_turn_are_dropped() -> None:
    duo = reserved_at_s(100)
    before = duo.nodes["p"].theirs["fo"]
    tell(duo, "p", FrameKind.RESERVED, [(b"\x0a\x00\x00\x70", MAC)])  # a second telling on one link
    assert duo.nodes["p"].theirs["fo"] == before
    (note,) = (note for note in duo.notes["p"] if note.name == PRIVATE_IGNORED)
    assert note.detail == "RESERVED part 0 out of turn, 1 is next"
    endpoint = duo.nodes["p"].endpoints["fo"]
    endpoint.say_reserved()
    tell(duo, "p", FrameKind.RESERVED, [(b"\x0a\x00\x00", MAC), (b"\x0a\x00\x00\x70", b""), (b"\x0a\x00\x00\x71", b"\x07x")])
    assert duo.nodes["p"].theirs["fo"] == {}


def test_a_refused_update_of_an_address_in_no_pool_moves_no_end() -> None:
    """s has reserved x for the camera and granted it; p, with x in its pool (a plain link, an old file), told its own grant to the camera.
    s refused that, x is in no pool of its own, and took over p's later end all the same."""
    duo = normal(other=[("[[ddns.zone]]", RESERVE.format(100))])
    assert ask(duo, "s", CAMERA, 0) == "ack 100"
    before, refused = duo.lease("s", FIRST), duo.noted("s", "binding-update-refused")
    endpoint = duo.nodes["s"].endpoints["fo"]
    assert endpoint.link is not None
    later = before.evolve(ends=before.ends + 9000, potential=before.potential + 9000)
    for state in (BindingState.ACTIVE, BindingState.EXPIRED):
        message = wire.bndupd(int(duo.now.wall), 900, binding_of(later.evolve(state=state)))
        endpoint.link_bytes(endpoint.link.number, wire.encode(message), duo.now)
        duo.tick()
    assert duo.noted("s", "binding-update-refused") == refused + 2
    assert duo.lease("s", FIRST) == before


def test_a_client_whose_ping_another_one_overtakes_is_noted() -> None:
    duo = normal(ping=True)
    duo.discover("p", 1, secs=10)
    (probe,) = duo.probes["p"]
    duo.nodes["p"].table.take_offer(probe.address)  # as when too many are out
    duo.discover("p", 2, secs=10, requested=probe.address)
    assert [note.client[1:] for note in duo.notes["p"] if note.name == probing.OVERTAKEN] == [bytes.fromhex("020000000001")]
    duo.discover("p", 2, secs=10, requested=probe.address)
    assert duo.noted("p", probing.OVERTAKEN) == 1


def test_the_partner_reserves_nothing_of_another_pool() -> None:
    """10.0.0.90 is in a pool of p alone; what the partner told took it out of that pool, and gave it to the partner's host."""
    alone = ('range = ["10.0.0.100-', 'range = ["10.0.0.90"]\nserver = "p"\n[[subnet.pool]]\nrange = ["10.0.0.100-')
    duo = normal(tls=True, edits=[alone])
    endpoint, x = duo.nodes["p"].endpoints["fo"], 0x0A00005A
    rows = [(each.to_bytes(4, "big"), MAC) for each in (x, FIRST, 0x0A000050)]
    endpoint.say_reserved()
    tell(duo, "p", FrameKind.RESERVED, rows)
    assert duo.nodes["p"].theirs["fo"] == {FIRST: MAC, 0x0A000050: MAC}  # in the shared pool, and in no pool
    assert duo.nodes["p"].table.pool_of(x) is not None
    assert [note.detail for note in duo.notes["p"] if note.name == node_hosts.NOT_SHARED] == ["1: 10.0.0.90"]
    duo.reconfigure("p", duo.text.replace("10.0.0.90", "10.0.0.80-10.0.0.90"))  # 10.0.0.80, too, is p's alone now
    assert duo.nodes["p"].theirs["fo"] == {FIRST: MAC}


def test_malformed_reservations_are_noted() -> None:
    duo = normal(tls=True)
    duo.nodes["p"].endpoints["fo"].say_reserved()
    tell(duo, "p", FrameKind.RESERVED, [(b"\x0a\x00\x00", MAC), (b"\x0a\x00\x00\x70", b""), (b"\x0a\x00\x00\x71", b"\x07x")])
    assert [note.detail for note in duo.notes["p"] if note.name == PRIVATE_IGNORED] == ["3 malformed reservations"]


def test_no_more_reservations_are_gathered_than_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A telling may have 4096 parts; they were all kept until the last one."""
    monkeypatch.setattr(exchange, "ROWS_HEARD", 100)
    duo = normal(tls=True)
    endpoint = duo.nodes["p"].endpoints["fo"]
    endpoint.say_reserved()
    rows = [((0x0A000200 + each).to_bytes(4, "big"), MAC) for each in range(250)]
    tell(duo, "p", FrameKind.RESERVED, rows)
    assert len(duo.nodes["p"].theirs["fo"]) == 100
    details = [note.detail for note in duo.notes["p"] if note.name == PRIVATE_IGNORED]
    assert sum(int(each.split()[0]) for each in details) == 150, details


def test_no_more_frames_wait_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "FRAMES_WAIT", 30)
    duo = normal(tls=True)
    endpoint = duo.nodes["p"].endpoints["fo"]
    for _ in range(50):
        endpoint.say_pings([private.Ping(FIRST, False, 0)])
    duo.settle()
    assert [note.detail for note in duo.notes["p"] if note.name == PRIVATE_UNSAID] == ["20"]
    assert not endpoint.speaks


def test_frames_that_nobody_asked_for_are_noted() -> None:
    duo = normal(tls=True)
    tell(duo, "p", FrameKind.SECTIONS, [(b"x", b"y")])  # the configurations are equal: nothing is compared
    tell(duo, "p", FrameKind.PINGS, [(b"\x0a", b"\x01" + bytes(8)), (FIRST.to_bytes(4, "big"), b"\x01")])
    details = [note.detail for note in duo.notes["p"] if note.name == PRIVATE_IGNORED]
    assert details == ["SECTIONS part 0 out of turn", "2 malformed pings"]
