"""A hostile partner: whatever comes in on the failover port, the room answers or drops the link, and goes on."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failoverd.dhcp.message import Packet, encode
from failoverd.failover import message as wire
from failoverd.failover import reasons
from failoverd.failover.links import MAX_PENDING_LINKS
from failoverd.failover.message import Binding, Message, MessageType, OptionCode, ServerState
from failoverd.ports import ClientDatagram, ConnectFailed, InterfaceAddresses, LinkDown, LinkUp
from failoverd.sim.explore_party import DELAY_S, FIRST, MCLT_S, NAME, WALL
from tests.failover.villain import ADDRESS, Villain, normal

S = ServerState
STORED = [state for state in S if state not in (S.UNKNOWN, S.STARTUP)]

# --- any bytes, any messages, in any state ---------------------------------------------------------------------------------

numbers = st.one_of(st.integers(0, 3), st.integers(0, 0xFFFFFFFF), st.integers(WALL - 100, WALL + 100_000))
values = st.one_of(
    st.binary(max_size=40),
    numbers.map(lambda n: n.to_bytes(4, "big")),
    st.integers(0, 255).map(lambda n: bytes((n,))),
    st.integers(FIRST - 1, FIRST + 9).map(lambda n: n.to_bytes(4, "big")),
    st.just(NAME.encode()),
)
options = st.lists(st.tuples(st.integers(0, 40), values), max_size=8)
loose = st.builds(Message, st.integers(0, 15), numbers, numbers, options)
bindings = st.builds(
    Binding,
    address=st.integers(FIRST - 1, FIRST + 9),
    state=st.integers(0, 9),
    client_id=st.one_of(st.none(), st.binary(max_size=8)),
    hw=st.one_of(st.none(), st.binary(min_size=1, max_size=24)),
    ends=numbers,
    potential=numbers,
    starts=numbers,
    cltt=numbers,
    flags=st.one_of(st.none(), st.integers(0, 0xFFFF)),
)
well_formed = st.one_of(
    st.builds(lambda xid, binding: wire.bndupd(WALL, xid, binding), numbers, bindings),
    st.builds(lambda xid, at: wire.bndack(WALL, xid, at), st.integers(0, 12), st.integers(FIRST - 1, FIRST + 9)),
    st.builds(
        lambda xid, at, why: wire.bnd_reject(WALL, xid, at, why, "no"),
        st.integers(0, 12),
        st.integers(FIRST, FIRST + 9),
        st.integers(0, 255),
    ),
    st.builds(
        lambda state, flags: wire.state(WALL, 1, state=state, flags=flags, since=WALL),
        st.sampled_from([*S, 99]),
        st.integers(0, 255),
    ),
    st.sampled_from([wire.updreq, wire.updreqall, wire.upddone, wire.poolreq, wire.contact]).map(lambda make: make(WALL, 3)),
    st.builds(lambda count: wire.poolresp(WALL, 1, count), numbers),
    st.builds(lambda reason: wire.disconnect(WALL, 1, reason, "bye"), st.integers(0, 255)),
)
said = st.one_of(st.binary(max_size=120), loose.map(wire.encode), well_formed.map(wire.encode), st.just(None))


def still_lives(villain: Villain) -> None:
    """It takes the real partner back: a new link, a handshake, a STATE."""
    villain.wait(40, 5)
    if villain.endpoint.link is not None:
        villain.endpoint.drop("the test", villain.now)
    villain.shake(77)
    assert villain.endpoint.link is not None
    assert villain.endpoint.link.number == 77
    assert villain.written().state is villain.endpoint.record.state


@settings(max_examples=60, deadline=None)
@given(st.sampled_from("ps"), st.sampled_from(STORED), st.sampled_from(list(S)), st.booleans(), st.lists(said, max_size=14))
def test_any_bytes_in_any_state_raise_nothing_and_stop_nothing(
    role: str, state: S, partner: S, shaken: bool, data: list[bytes | None]
) -> None:
    villain = Villain(role, state, partner)
    if shaken:
        villain.shake()
    else:
        villain.open()
    for number, each in enumerate(data):
        if each is None:  # time passes, and the link is there again
            villain.wait(4, 2)
            villain.shake(10 + number)
        else:
            for link in list(villain.framers)[-1:] or [1]:
                villain.bytes(each, link)
    still_lives(villain)


# --- half-open links, too early, out of nowhere ----------------------------------------------------------------------------


@pytest.mark.parametrize("role", "ps")
def test_no_more_than_so_many_half_open_handshakes(role: str) -> None:
    villain = Villain(role)
    for number in range(1, 51):
        villain.step(LinkUp(NAME, number, False))
    assert len(villain.endpoint.pending) == MAX_PENDING_LINKS
    assert len(villain.closed) == 50 - MAX_PENDING_LINKS
    villain.wait(20)
    assert not villain.endpoint.pending


@pytest.mark.parametrize("role", "ps")
def test_a_state_before_the_handshake_changes_nothing(role: str) -> None:
    villain = Villain(role, S.COMMUNICATIONS_INTERRUPTED)
    villain.wait(16)
    before = villain.written()
    villain.open()
    villain.state(S.SHUTDOWN)
    assert villain.noted(reasons.TOO_EARLY) == 1
    after = villain.written()
    assert (after.state, after.partner_state, after.doubt) == (before.state, before.partner_state, before.doubt)


@pytest.mark.parametrize("role", "ps")
@pytest.mark.parametrize("number", [12, 99, 255])
def test_a_state_that_does_not_exist_drops_the_link_and_nothing_else(role: str, number: int) -> None:
    villain = normal(role)
    villain.state(number)
    assert villain.endpoint.link is None
    assert villain.endpoint.state is S.COMMUNICATIONS_INTERRUPTED
    assert villain.written().partner_state is S.NORMAL


@pytest.mark.parametrize("role", "ps")
@pytest.mark.parametrize("state", [S.POTENTIAL_CONFLICT, S.RESOLUTION_INTERRUPTED, S.CONFLICT_DONE])
def test_a_state_out_of_nowhere_is_refused(role: str, state: S) -> None:
    """dhcpd goes to shutdown for good."""
    villain = normal(role)
    villain.state(state)
    assert villain.endpoint.state is S.COMMUNICATIONS_INTERRUPTED
    still_lives(villain)


# --- flood, stall, silence -------------------------------------------------------------------------------------------------


def test_a_flood_is_answered_one_by_one_and_leaves_nothing_behind() -> None:
    villain = normal("s")
    unknown = wire.encode(wire.bndupd(WALL, 7, Binding(0x01020304, 2, hw=b"\x01abcdef")))
    flood = (wire.encode(wire.contact(WALL, 1)) * 50 + unknown * 10 + wire.encode(wire.updreq(WALL, 9)) * 10) * 20
    for at in range(0, len(flood), 4096):
        villain.bytes(flood[at : at + 4096])
    assert len(villain.of(MessageType.BNDACK)) == 200
    assert all(message.u8(OptionCode.REJECT_REASON) == 1 for message in villain.of(MessageType.BNDACK))
    assert len(villain.of(MessageType.UPDDONE)) <= 200
    updates = villain.endpoint.updates
    assert not updates.queue
    assert not updates.flights
    assert villain.endpoint.state is S.NORMAL


@pytest.mark.parametrize("role", "ps")
def test_a_partner_that_stalls_in_the_middle_of_a_message_is_dropped_in_time(role: str) -> None:
    """Bytes short of a message are no sign of life (4.4)."""
    villain = normal(role)
    for octet in wire.encode(wire.contact(WALL, 1))[:-1]:
        villain.bytes(bytes((octet,)))
        villain.wait(DELAY_S / 10)
    assert villain.endpoint.link is None
    assert villain.endpoint.state is S.COMMUNICATIONS_INTERRUPTED
    assert villain.noted(reasons.SILENT) == 1


def test_a_partner_that_never_acks_gets_its_window_and_then_a_new_link() -> None:
    """What it did not ack is owed still, and the clients are served all the while."""
    villain = normal("p")
    for address in range(FIRST, FIRST + 400):
        villain.endpoint.updates.queue[address] = None
    for _ in range(30):
        villain.wait(5, 5)
        villain.say(wire.contact(int(villain.now.wall), 1))
        assert villain.endpoint.rights(villain.now).serve
    assert len(villain.of(MessageType.BNDUPD)) == 10
    assert villain.noted(reasons.STALLED) == 1
    assert len(villain.endpoint.updates.queue) == 400


def test_a_wrong_xid_acks_nothing() -> None:
    villain = normal("p")
    villain.wait(1)  # what a balance hands over is on its way
    told = villain.of(MessageType.BNDUPD)[0]
    address = told.u32(OptionCode.ASSIGNED_IP_ADDRESS) or 0
    flying = dict(villain.endpoint.updates.in_flight)
    assert flying[address] == told.xid
    villain.say(wire.bndack(WALL, told.xid + 1000, address))
    villain.say(wire.bndack(WALL, told.xid, address + 100))
    assert villain.noted(reasons.STRAY_ACK) == 2
    assert villain.endpoint.updates.in_flight == flying
    villain.say(wire.bndack(WALL, told.xid, address))
    assert address not in villain.endpoint.updates.in_flight


@pytest.mark.parametrize("jump", [-10_000_000, -3600, 3600, 10_000_000, 0xFFFFFFFF - WALL - 60])
def test_a_partner_whose_clock_jumps_proves_no_contact_in_the_future(jump: int) -> None:
    """Nor does it end a lease early, or make one longer than MCLT."""
    villain = normal("s")
    villain.say(Message(MessageType.CONTACT, WALL + jump, 5))
    villain.wait(15)
    record = villain.written()
    assert record.proven <= villain.now.wall
    rights = villain.endpoint.rights(villain.now)
    assert rights.mclt_s == MCLT_S
    lease = villain.node.table.get(FIRST)
    villain.say(wire.bndupd(WALL + jump, 6, Binding(FIRST, 2, hw=b"\x01abcdef", ends=WALL + jump + 60, potential=WALL + jump + 60)))
    assert villain.endpoint.link is not None
    assert villain.node.table.get(FIRST) is not lease
    still_lives(villain)


def test_the_clients_are_served_while_the_partner_floods() -> None:
    villain = normal("p")
    packet = Packet(1, 1, 6, 0, 1, 10, 0x8000, 0, 0, 0, 0, bytes((2, 0, 0, 0, 0, 1)), options={53: b"\x01"})
    for _ in range(20):
        villain.bytes(wire.encode(wire.updreqall(WALL, 4)) * 100)
    villain.step(InterfaceAddresses("eth0", ((ADDRESS["p"], 24),)))
    before = len(villain.offered)
    villain.step(ClientDatagram("eth0", ADDRESS["p"], 0, 68, 0xFFFFFFFF, encode(packet), villain.now.mono))
    assert len(villain.offered) == before + 1
    assert villain.endpoint.link is not None


def test_who_refuses_a_handshake_waits_5_s_before_it_dials_again() -> None:
    """It dialled again at once and then every second, and both servers warned each time (scenario clock-skew)."""
    villain = Villain("s")
    villain.step(ConnectFailed(NAME, "timed out"))
    villain.open()
    stranger = wire.connect(WALL, 0, name=b"other", max_unacked=10, receive_timer=30, mclt=MCLT_S, hba=bytes(32))
    villain.say(stranger)
    assert villain.closed == [1]
    villain.step(LinkDown(NAME, 1, "unknown failover relationship name"))
    before = villain.dialled
    villain.wait(4.5)
    assert villain.dialled == before
    villain.wait(1)
    assert villain.dialled == before + 1
