"""Frames: checksums as scapy's and as in the recordings, and nothing but PacketError for any octets."""

from __future__ import annotations

import gzip
import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from failoverd.dhcp.frame import Datagram, build, parse
from failoverd.dhcp.reasons import PacketError, Reason

FRAMES = [
    bytes.fromhex(json.loads(line)["hex"])
    for line in gzip.decompress((Path(__file__).parent.parent / "vectors" / "dhcp.jsonl.gz").read_bytes()).splitlines()
]
SENT = Datagram(b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02", 0x0A000001, 0x0A000064, 67, 68, b"payload")


def changed(frame: bytes, at: int, octets: bytes) -> bytes:
    return frame[:at] + octets + frame[at + len(octets) :]


def reason_of(frame: bytes) -> Reason:
    with pytest.raises(PacketError) as caught:
        parse(frame)
    return caught.value.reason


@pytest.mark.parametrize("frame", FRAMES)
def test_recorded_frame_is_read_and_its_payload_framed_again(frame: bytes) -> None:
    datagram = parse(frame)
    assert datagram is not None
    assert parse(build(datagram)) == datagram
    assert build(datagram)[40:42] == frame[40:42]  # the UDP checksum depends on nothing that is ours to choose


@given(
    st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFFFFFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.binary(max_size=64)
)
def test_checksums_are_scapys(src: int, dst: int, sport: int, dport: int, payload: bytes) -> None:
    frame = build(Datagram(SENT.src_hw, SENT.dst_hw, src, dst, sport, dport, payload))
    theirs = Ether(frame)
    del theirs[IP].chksum
    del theirs[UDP].chksum
    assert bytes(theirs) == frame
    assert parse(frame) == Datagram(SENT.src_hw, SENT.dst_hw, src, dst, sport, dport, payload)


def test_checksum_that_sums_to_zero_is_sent_as_ones() -> None:
    found = [
        payload for payload in range(0x10000) if build(SENT._replace(payload=payload.to_bytes(2, "big")))[40:42] == b"\xff\xff"
    ]
    assert len(found) >= 1
    for payload in found:
        assert parse(build(SENT._replace(payload=payload.to_bytes(2, "big")))) is not None


def test_frames_of_another_kind_are_nothing() -> None:
    frame = build(SENT)
    assert parse(changed(frame, 12, b"\x08\x06")) is None
    assert parse(changed(frame, 12, b"\x81\x00")) is None
    assert parse(changed(frame, 23, b"\x06")) is None
    assert parse(changed(frame, 14, b"\x65")) is None


def test_ethernet_padding_is_not_payload() -> None:
    assert parse(build(SENT) + b"\0" * 11) == SENT


def test_malformed_frames_have_their_reason() -> None:
    frame = build(SENT)
    assert reason_of(frame[:13]) is Reason.FRAME_SHORT
    assert reason_of(frame[:33]) is Reason.FRAME_SHORT
    assert reason_of(frame[:-1]) is Reason.FRAME_SHORT
    assert reason_of(changed(frame, 14, b"\x44")) is Reason.FRAME_SHORT
    assert reason_of(changed(frame, 38, b"\x00\x07")) is Reason.FRAME_SHORT
    assert reason_of(changed(frame, 38, b"\xff\x07")) is Reason.FRAME_SHORT
    assert reason_of(changed(frame, 24, b"\0\0")) is Reason.FRAME_CHECKSUM
    assert reason_of(changed(frame, len(frame) - 1, b"?")) is Reason.FRAME_CHECKSUM
    fragment = bytes(Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(flags="MF") / UDP(sport=67, dport=68) / b"x")
    assert reason_of(fragment) is Reason.FRAME_FRAGMENT


def test_local_frames_whose_checksum_is_not_made_yet() -> None:
    frame = changed(build(SENT), 40, b"\x12\x34")
    assert reason_of(frame) is Reason.FRAME_CHECKSUM
    assert parse(frame, verify=False) == SENT
    assert parse(changed(frame, 40, b"\0\0")) == SENT  # no checksum at all (RFC 768)


@given(st.binary(max_size=120))
def test_any_octets_are_a_datagram_or_a_packet_error(data: bytes) -> None:
    for frame in (data, data[:12] + b"\x08\x00\x45\0" + data[12:], changed(build(SENT), len(data) % 50, data[:6])):
        with suppress(PacketError):
            parse(frame)
