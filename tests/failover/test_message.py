"""The failover codec against real dhcpd traffic, the written examples, and bytes that nobody should send."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failoverd.failover import message as wire
from failoverd.failover.message import (
    ALLOWED,
    FIXED,
    Binding,
    Framer,
    Message,
    MessageType,
    OptionCode,
    PartnerError,
    RejectReason,
    ServerState,
    decode,
    encode,
)

VECTORS = Path(__file__).parent.parent / "vectors"
T = 0x67000000


def captured() -> list[dict[str, str]]:
    with gzip.open(VECTORS / "failover.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


def examples() -> dict[str, bytes]:
    lines = [line for line in (VECTORS / "failover_examples.txt").read_text().splitlines() if not line.startswith("#")]
    return {title.split()[0]: bytes.fromhex(data) for title, data in zip(lines[::2], lines[1::2], strict=True)}


COUNTS = {  # captures/README.md
    "1-first-contact": "BNDUPD 320, BNDACK 320, CONNECT 1, CONNECTACK 1, UPDREQALL 4, UPDDONE 2, STATE 8, CONTACT 6",
    "1b-first-contact-secondary-first": "BNDUPD 320, BNDACK 320, CONNECT 1, CONNECTACK 1, UPDREQALL 4, UPDDONE 2, STATE 8, CONTACT 3",
    "1c-graceful-restart": "CONNECT 1, CONNECTACK 1, STATE 4, CONTACT 2",
    "2-lease-life": "BNDUPD 36, BNDACK 34, CONTACT 76",
    "3-kill9-secondary": "BNDUPD 150, BNDACK 147, CONNECT 1, CONNECTACK 1, STATE 4, CONTACT 4",
    "4-partner-down": "BNDUPD 63, BNDACK 63, CONNECT 1, CONNECTACK 1, UPDREQALL 1, UPDDONE 1, STATE 6, CONTACT 5",
    "4b-partner-down-amnesia": "BNDUPD 92, BNDACK 88, CONNECT 1, CONNECTACK 1, UPDREQALL 1, UPDDONE 1, STATE 7, CONTACT 37",
    "4c-partner-down-quick-return": "BNDUPD 28, BNDACK 28, CONNECT 1, CONNECTACK 1, UPDREQALL 1, UPDDONE 1, STATE 6, CONTACT 2",
    "5-link-cut": "BNDUPD 33, BNDACK 33, CONNECT 2, CONNECTACK 1, STATE 4, CONTACT 4",
    "5b-link-cut-long": "CONNECT 1, CONNECTACK 1, STATE 4, CONTACT 1",
    "6-potential-conflict": "BNDUPD 68, BNDACK 68, CONNECT 2, CONNECTACK 1, UPDDONE 2, UPDREQ 2, STATE 7, CONTACT 6",
    "7a-wrong-relationship-name": "CONNECT 3, CONNECTACK 3",
    "7b-clock-skew-120s": "CONNECT 2, CONNECTACK 2",
    "7d-crafted-connects": "CONNECT 8, CONNECTACK 7, STATE 2, CONTACT 2",
    "8-rebalance": "POOLREQ 1, POOLRESP 1, BNDUPD 65, BNDACK 65, CONTACT 34",
    "12-all-protocols": "BNDUPD 58, BNDACK 58, CONNECT 1, CONNECTACK 1, UPDREQALL 4, UPDDONE 2, STATE 8, CONTACT 8",
}


@pytest.mark.parametrize("capture", COUNTS)
def test_captured_messages_are_counted_as_recorded(capture: str) -> None:
    wanted = {name: int(count) for name, count in (entry.split() for entry in COUNTS[capture].split(", "))}
    got = Counter(MessageType(decode(bytes.fromhex(row["hex"])).kind).name for row in captured() if row["capture"] == capture)
    assert dict(got) == wanted


def test_every_captured_message_encodes_again_to_its_own_bytes() -> None:
    rows = captured()
    assert {row["capture"] for row in rows} == set(COUNTS)
    for row in rows:
        data = bytes.fromhex(row["hex"])
        assert encode(decode(data)) == data, row


def test_every_example_encodes_again_to_its_own_bytes() -> None:
    assert len(examples()) == 14
    for title, data in examples().items():
        assert encode(decode(data)) == data, title


def test_constructors_make_dhcpd_s_own_bytes_for_every_captured_message() -> None:
    seen = set()
    for row in captured():
        data = bytes.fromhex(row["hex"])
        if row["capture"] == "7d-crafted-connects" and data[2] == MessageType.CONNECT:
            continue  # made by a probe, not by dhcpd
        m = decode(data)
        seen.add(m.kind)
        assert encode(_rebuilt(m)) == data, row
    assert seen == set(MessageType) - {MessageType.DISCONNECT}


def _rebuilt(m: Message) -> Message:
    """The message made again by our constructors from its values."""
    common = {"name": m.raw(22), "max_unacked": m.u32(14), "receive_timer": m.u32(19), "vendor": m.raw(28)}
    match m.kind:
        case MessageType.CONNECT:
            return wire.connect(m.time, m.xid, mclt=m.u32(15) or 0, hba=m.raw(11), **common)  # type: ignore[arg-type]
        case MessageType.CONNECTACK if m.u8(21) is not None:
            text = m.text(16) or ""
            return wire.connect_reject(m.time, m.xid, reason=m.u8(21) or 0, text=text, tls_asked=m.u8(26) is not None, **common)  # type: ignore[arg-type]
        case MessageType.CONNECTACK:
            return wire.connect_ack(m.time, m.xid, tls_asked=m.u8(26) is not None, **common)  # type: ignore[arg-type]
        case MessageType.STATE:
            return wire.state(m.time, m.xid, state=m.u8(24) or 0, flags=m.u8(23) or 0, since=m.u32(25) or 0)
        case MessageType.BNDUPD:
            return wire.bndupd(m.time, m.xid, wire.binding(m))
        case MessageType.BNDACK if m.u8(21) is not None:
            return wire.bnd_reject(m.time, m.xid, m.u32(2), m.u8(21) or 0, m.text(16) or "")
        case MessageType.BNDACK:
            return wire.bndack(m.time, m.xid, m.u32(2) or 0)
        case MessageType.POOLRESP:
            return wire.poolresp(m.time, m.xid, m.u32(1) or 0)
        case MessageType.POOLREQ:
            return wire.poolreq(m.time, m.xid)
        case MessageType.UPDREQ:
            return wire.updreq(m.time, m.xid)
        case MessageType.UPDREQALL:
            return wire.updreqall(m.time, m.xid)
        case MessageType.UPDDONE:
            return wire.upddone(m.time, m.xid)
        case MessageType.CONTACT:
            return wire.contact(m.time, m.xid)
    return wire.disconnect(m.time, m.xid, m.u8(21) or 0, m.text(16) or "")


def test_disconnect_is_made_as_in_the_example() -> None:
    made = wire.disconnect(T, 5, RejectReason.INVALID_PARTNER, "missing relationship-name")
    assert encode(made) == examples()["12.14"]


def test_the_binding_of_the_example_reads_as_written() -> None:
    b = wire.binding(decode(examples()["12.5"]))
    hw = bytes.fromhex("01525400aabbcc")
    assert b == Binding(0x0A4D0096, 2, hw, hw, T + 600, T + 3900, T, T, None)


def test_times_are_always_present_and_zero_values_left_out() -> None:
    made = wire.bndupd(T, 1, Binding(address=1, state=1))
    assert [code for code, _ in made.options] == [2, 3, 13, 18, 25]
    flagged = wire.bndupd(T, 1, Binding(address=1, state=1, flags=2, cltt=T))
    assert flagged.options[-2:] == [(6, T.to_bytes(4, "big")), (12, b"\0\x02")]


# --- what ISC's parser takes and refuses (1.2, 1.3) ----------------------------------------------------------------------


def raw(kind: int, options: bytes = b"", *, offset: int = 12, length: int | None = None) -> bytes:
    body = bytes((kind, offset)) + T.to_bytes(4, "big") + (7).to_bytes(4, "big") + options
    return (len(body) + 2 if length is None else length).to_bytes(2, "big") + body


def tlv(code: int, data: bytes) -> bytes:
    return code.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data


STATE = tlv(24, b"\x02") + tlv(23, b"\0") + tlv(25, bytes(4))


@pytest.mark.parametrize("code", [0, 30, 200, 224, 65535])
def test_code_0_and_codes_above_29_are_skipped_but_kept(code: int) -> None:
    data = raw(10, tlv(code, b"x") + STATE + tlv(code, b"yy"))
    (m,) = Framer().feed(data)
    assert m.u8(24) == 2
    assert m.raw(code) is None
    assert encode(m) == data


def test_an_option_that_the_message_may_not_carry_is_skipped_unread() -> None:
    data = raw(10, tlv(2, b"far too long") + tlv(2, b"") + tlv(17, b"digest") + STATE)
    (m,) = Framer().feed(data)
    assert m.u32(2) is None
    assert m.raw(17) is None
    assert encode(m) == data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (raw(11, length=11), "message length 11"),
        (raw(11, length=2049), "message length 2049"),
        (raw(11, length=0), "message length 0"),
        (raw(10, STATE, offset=8), "payload offset 8"),
        (raw(11, offset=13), "payload offset 13 beyond the message of 12 bytes"),
        (raw(10, STATE + b"\0\x17\0"), "truncated option header"),
        (raw(10, b"\0\x18\0\x02\x01"), "truncated option 24"),
        (raw(10, STATE + tlv(24, b"\x02")), "duplicate option 24"),
        (raw(3, tlv(2, bytes(4)) + tlv(3, b"\x01") + tlv(2, bytes(4))), "duplicate option 2"),
        (raw(10, tlv(24, b"\0\x02")), "option size 2, option 24"),
        (raw(13, tlv(40, b"")), "unknown message type 13 with options"),
        (raw(0, tlv(40, b"")), "unknown message type 0 with options"),
    ],
)
def test_what_drops_the_link(data: bytes, reason: str) -> None:
    framer = Framer()
    contact = encode(wire.contact(T, 1))
    with pytest.raises(PartnerError) as caught:
        framer.feed(contact + data)
    assert caught.value.reason == reason
    assert [m.kind for m in caught.value.before] == [MessageType.CONTACT]
    with pytest.raises(PartnerError):
        framer.feed(contact)


@pytest.mark.parametrize("code", sorted(FIXED))
def test_a_fixed_size_option_of_another_size_drops_the_link(code: int) -> None:
    kinds = [kind for kind, allowed in ALLOWED.items() if code in allowed]
    assert kinds or code == OptionCode.DELAYED_SERVICE_PARAMETER
    for kind in kinds:
        for size in {0, 1, 2, 3, 4, 5} - {FIXED[code]}:
            with pytest.raises(PartnerError):
                decode(raw(kind, tlv(code, bytes(size))))


@pytest.mark.parametrize("kind", [0, 13, 200, 255])
def test_an_unknown_message_without_options_is_handed_on(kind: int) -> None:
    (m,) = Framer().feed(raw(kind))
    assert m.kind == kind
    assert encode(m) == raw(kind)


def test_a_larger_payload_offset_is_taken_and_kept() -> None:
    data = raw(10, b"gap!" + STATE, offset=16)
    (m,) = Framer().feed(data)
    assert m.u8(24) == 2
    assert encode(m) == data


def test_the_ddns_option_is_taken_although_dhcpd_drops_the_link() -> None:
    (m,) = Framer().feed(raw(3, tlv(2, bytes(4)) + tlv(3, b"\x01") + tlv(9, b"\0\0\x01a\0")))
    assert wire.binding(m).state == 1


def test_text_cannot_forge_log_lines() -> None:
    m = Message(MessageType.DISCONNECT, T, 0, [(16, b"a\nb\x1b[31m\xff")])
    assert m.text(16) == "a\\nb\\x1b[31m\\xff"


def test_a_message_of_2048_bytes_passes() -> None:
    data = raw(3, tlv(2, bytes(4)) + tlv(7, bytes(2048 - 12 - 8 - 4)))
    assert len(data) == 2048
    (m,) = Framer().feed(data)
    assert encode(m) == data


def test_a_message_of_ours_that_is_too_long_is_our_mistake() -> None:
    with pytest.raises(AssertionError):
        encode(Message(MessageType.BNDUPD, T, 1, [(7, bytes(2048))]))


def test_long_reject_texts_are_cut() -> None:
    made = wire.bnd_reject(T, 1, 2, RejectReason.MISC, "é" * 3000)
    assert len(encode(made)) < 300


def test_the_framer_does_not_care_how_the_stream_is_cut() -> None:
    rows = [bytes.fromhex(row["hex"]) for row in captured() if row["capture"] == "4-partner-down"]
    stream = b"".join(rows)
    rng = random.Random(1)
    framer, got, at = Framer(), [], 0
    while at < len(stream):
        step = rng.choice((1, 2, 3, 11, 13, 100, 1460))
        got += framer.feed(stream[at : at + step])
        assert framer.pending < 2048
        at += step
    assert [encode(m) for m in got] == rows
    assert framer.pending == 0


def test_states_are_written_as_dhcpd_writes_them() -> None:
    assert ServerState.COMMUNICATIONS_INTERRUPTED.words == "communications-interrupted"
    assert ServerState.UNKNOWN.words == "unknown-state"
    assert ServerState.RECOVER_WAIT == 254


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 15), st.integers(0, 40))
def test_bytes_raise_nothing_but_partner_error(noise: bytes, kind: int, offset: int) -> None:
    for data in (noise, raw(kind, noise, offset=offset)):
        with suppress(PartnerError):
            messages = Framer().feed(data)
            for m in messages:
                wire.binding(m)
                for code in range(32):
                    m.u8(code), m.u16(code), m.u32(code), m.text(code)
            assert data.startswith(b"".join(encode(m) for m in messages))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_changed_byte_raises_nothing_but_partner_error(data: st.DataObject) -> None:
    good = bytearray(data.draw(st.sampled_from(sorted(examples().values()))))
    at = data.draw(st.integers(0, len(good) - 1))
    good[at] = data.draw(st.integers(0, 255))
    with suppress(PartnerError):
        for m in Framer().feed(bytes(good)):
            wire.binding(m)


binding_values = st.builds(
    Binding,
    address=st.integers(0, 2**32 - 1),
    state=st.integers(0, 255),
    client_id=st.binary(min_size=1, max_size=255),
    hw=st.binary(min_size=1, max_size=21),
    ends=st.integers(0, 2**32 - 1),
    potential=st.integers(0, 2**32 - 1),
    starts=st.integers(0, 2**32 - 1),
    cltt=st.integers(1, 2**32 - 1),
    flags=st.integers(1, 3),
)


@settings(max_examples=200, deadline=None)
@given(binding_values)
def test_a_binding_survives_the_wire(binding: Binding) -> None:
    assert wire.binding(decode(encode(wire.bndupd(T, 1, binding)))) == binding
