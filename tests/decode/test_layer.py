"""The scapy layer and the codec are each other's check: whatever dhcpd was recorded to say, and whatever we can say."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failoverd.decode import words
from failoverd.decode.capture import ANOMALIES, anomalies
from failoverd.decode.layer import Failover, FailoverOption
from failoverd.failover import message as wire
from failoverd.failover.message import ALLOWED, FIXED, MessageType, OptionCode, RejectReason, ServerState
from failoverd.leases.lease import BindingState
from tests.failover.test_message import captured, examples


def agree(data: bytes) -> None:
    """Both decode the same, and the layer builds the same octets again."""
    ours, theirs = wire.decode(data), Failover(data)
    assert (theirs.length, theirs.type, theirs.sent, theirs.xid) == (len(data), ours.kind, ours.time, ours.xid)
    seen = [(option.code, bytes(option)[4:]) for option in theirs.options]
    assert seen == ours.options
    for option in theirs.options:
        known = words.OPTIONS.get(option.code)
        if known is None or option.code not in ALLOWED[MessageType(ours.kind)]:
            continue
        if known.reads in ("u32", "time"):
            assert option.data == ours.u32(option.code)
        elif known.reads in ("u8", "binding-status", "server-state", "reject-reason", "server-flags"):
            assert option.data == ours.u8(option.code)
        elif known.reads == "ip-flags":
            assert option.data == ours.u16(option.code)
        elif known.reads == "address":
            assert int.from_bytes(bytes(map(int, option.data.split("."))), "big") == ours.u32(option.code)
        elif known.reads == "text":
            assert option.data.decode() == ours.text(option.code)
        else:
            assert option.data == ours.raw(option.code)
    rebuilt = Failover(type=theirs.type, sent=theirs.sent, xid=theirs.xid)
    rebuilt.options = [FailoverOption(code=option.code, data=option.data) for option in theirs.options]
    assert bytes(rebuilt) == data


def every_message() -> dict[str, bytes]:
    """One of everything that our encoder says, both with and without what may be absent."""
    t, binding = 0x67000000, wire.Binding(0x0A4D0096, BindingState.ACTIVE)
    full = wire.Binding(0x0A4D0096, BindingState.ACTIVE, b"\1\2\3", b"\1\2\0\0\0\0\1", 5, 6, 7, 8, 3)
    made = {
        "connect": wire.connect(t, 0, name=b"lab", max_unacked=10, receive_timer=30, mclt=600, hba=b"\xf0" * 32),
        "connectack": wire.connect_ack(t, 0, name=b"lab", max_unacked=10, receive_timer=30, tls_asked=True),
        "connectack without TLS": wire.connect_ack(t, 0, name=b"lab", max_unacked=10, receive_timer=30, tls_asked=False),
        "refused": wire.connect_reject(t, 0, name=b"lab", reason=RejectReason.TIME_MISMATCH, text="clock", tls_asked=True),
        "bndupd": wire.bndupd(t, 1, full),
        "bndupd of an unused address": wire.bndupd(t, 2, binding),
        "bndack": wire.bndack(t, 1, 0x0A4D0096),
        "rejected": wire.bnd_reject(t, 2, 0x0A4D0096, RejectReason.FATAL_CONFLICT, "no"),
        "poolreq": wire.poolreq(t, 3),
        "poolresp": wire.poolresp(t, 3, 4),
        "updreq": wire.updreq(t, 4),
        "updreqall": wire.updreqall(t, 5),
        "upddone": wire.upddone(t, 5),
        "contact": wire.contact(t, 6),
        "disconnect": wire.disconnect(t, 7, RejectReason.INVALID_PARTNER, "who are you"),
    }
    for state in ServerState:
        made[f"state {state.words}"] = wire.state(t, 8, state=state, flags=state is ServerState.NORMAL, since=t)
    for status in BindingState:
        made[f"bndupd {status.name}"] = wire.bndupd(t, 9, wire.Binding(0x0A4D0097, status, ends=1, potential=2, starts=3))
    return {name: wire.encode(message) for name, message in made.items()}


def distinct() -> list[bytes]:
    """One captured message of each shape: capture, type, options and their lengths, states and reasons."""
    shapes: dict[object, bytes] = {}
    for row in captured():
        data = bytes.fromhex(row["hex"])
        message = wire.decode(data)
        said = tuple((code, len(value), value if len(value) == 1 else b"") for code, value in message.options)
        shapes.setdefault((row["capture"], message.kind, said), data)
    return list(shapes.values())


def test_each_shape_of_captured_message_decodes_equal() -> None:
    found = distinct()
    assert {data[2] for data in found} == set(MessageType) - {MessageType.DISCONNECT}
    for data in found:
        agree(data)


@pytest.mark.slow
def test_every_captured_message_decodes_equal() -> None:
    rows = captured()
    assert len(rows) > 2500
    for row in rows:
        agree(bytes.fromhex(row["hex"]))


def test_written_examples_decode_equal() -> None:
    for data in examples().values():
        agree(data)


def test_everything_that_we_say_decodes_equal_and_is_not_odd() -> None:
    made = every_message()
    assert {data[2] for data in made.values()} == set(MessageType)
    for name, data in made.items():
        agree(data)
        assert list(anomalies(Failover(data))) == [], name


def test_the_tables_were_written_down_twice_and_agree() -> None:
    assert {kind.value: kind.name for kind in MessageType} == words.MESSAGES
    assert {state.value: state.words for state in ServerState} == words.SERVER_STATES
    assert {state.value: state.name for state in BindingState} == words.BINDING_STATES
    assert {int(kind): set(codes) for kind, codes in ALLOWED.items()} == words.EXPECTED
    assert {code: kind.size for code, kind in words.OPTIONS.items() if kind.size and code != 11} == FIXED
    assert {code.value: code.name.lower() for code in OptionCode} == {
        code: kind.name.lower().replace("-", "_") for code, kind in words.OPTIONS.items()
    }
    assert {reason.value for reason in RejectReason} - {0} == set(words.REJECT_REASONS)


def test_private_options_are_the_codecs() -> None:
    from failoverd.failover import private

    ours = (
        private.NAMES,
        private.DIALECT,
        private.DATABASE,
        private.KNOWN,
        private.EPOCH,
        private.DIGEST,
        private.GENERATION,
        private.FRAME,
        private.STANDING,
    )
    assert set(ours) == set(words.PRIVATE)
    contact = wire.contact(0x67000000, 6)
    contact.options += [(code, bytes(range(max(words.PRIVATE[code].size, 6)))) for code in ours]
    data = wire.encode(contact)
    agree(data)
    assert list(anomalies(Failover(data))) == []


OPTION = st.tuples(st.integers(0, 300), st.binary(max_size=40))


@settings(max_examples=60)
@given(st.integers(1, 12), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.lists(OPTION, max_size=6))
def test_any_options_are_cut_alike(kind: int, time: int, xid: int, options: list[tuple[int, bytes]]) -> None:
    body = b"".join(code.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data for code, data in options)
    header = (12 + len(body)).to_bytes(2, "big") + bytes((kind, 12)) + time.to_bytes(4, "big") + xid.to_bytes(4, "big")
    theirs = Failover(header + body)
    assert (theirs.type, theirs.sent, theirs.xid) == (kind, time, xid)
    assert [(option.code, bytes(option)[4:]) for option in theirs.options] == options
    odd = set(anomalies(theirs))
    try:
        ours = wire.decode(header + body)
    except wire.PartnerError:
        assert odd & {"option-twice", "option-size", "option-cut-short"}, "what drops the link is named"
    else:
        assert ours.options == options
        assert "option-cut-short" not in odd
        assert "option-twice" not in odd or any(224 <= code <= 254 for code, _ in options)


@settings(max_examples=60)
@given(st.binary(min_size=10, max_size=120))
def test_no_octets_behind_a_length_raise(data: bytes) -> None:
    found = Failover((2 + len(data)).to_bytes(2, "big") + data)
    assert set(anomalies(found)) <= set(ANOMALIES)
