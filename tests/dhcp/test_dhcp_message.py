"""The codec: recorded messages come back octet for octet, no octets raise anything but PacketError."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP

from failoverd.dhcp.frame import parse
from failoverd.dhcp.message import COOKIE, HEADER, Packet, arrange, decode, encode, layout_of, piece
from failoverd.dhcp.reasons import PacketError, Reason
from tests.dhcp.client_packets import MAC, ip4, request

VECTORS = [
    json.loads(line)
    for line in gzip.decompress((Path(__file__).parent.parent / "vectors" / "dhcp.jsonl.gz").read_bytes()).splitlines()
]


def payload(vector: dict[str, str]) -> bytes:
    datagram = parse(bytes.fromhex(vector["hex"]))
    assert datagram is not None
    return datagram.payload


def raw(
    options: bytes = b"\xff", op: int = 1, htype: int = 1, hlen: int = 6, sname: bytes = b"", file: bytes = b"", **more: int
) -> bytes:
    header = HEADER.pack(op, htype, hlen, 0, 1, 0, 0, more.get("ciaddr", 0), 0, 0, more.get("giaddr", 0), MAC, sname, file, COOKIE)
    return header + options


def reason_of(data: bytes) -> Reason:
    with pytest.raises(PacketError) as caught:
        decode(data)
    return caught.value.reason


def test_there_are_vectors_of_every_message_type() -> None:
    assert len(VECTORS) == 162
    assert {decode(payload(vector)).message_type for vector in VECTORS} == {1, 2, 3, 5, 7}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['capture']}-{v['frame']}")
def test_recorded_message_comes_back_octet_for_octet(vector: dict[str, str]) -> None:
    data = payload(vector)
    assert encode(decode(data), layout_of(data)) == data


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: f"{v['capture']}-{v['frame']}")
def test_scapy_reads_the_same_in_a_recorded_message(vector: dict[str, str]) -> None:
    data = payload(vector)
    agrees(decode(data), data)


def agrees(packet: Packet, data: bytes) -> None:
    """scapy's header fields and options are ours."""
    theirs = BOOTP(data)
    for name in ("op", "htype", "hlen", "hops", "xid", "secs"):
        assert getattr(theirs, name) == getattr(packet, name)
    assert int(theirs.flags) == packet.flags
    for name in ("ciaddr", "yiaddr", "siaddr", "giaddr"):
        assert ip4(getattr(theirs, name)) == getattr(packet, name).to_bytes(4, "big")
    assert theirs.chaddr[: packet.hlen] == packet.chaddr
    # scapy types its options, so it is asked for the octets of each one.
    seen: dict[int, bytes] = {}
    for option in theirs[DHCP].options:
        if option in ("end", "pad"):
            continue
        octets = bytes(DHCP(options=[option]))
        seen[octets[0]] = seen.get(octets[0], b"") + octets[2 : 2 + octets[1]]
    assert seen == packet.options


def test_scapy_reads_our_encoding() -> None:
    packet = request(
        1, {61: b"\x01" + MAC, 12: b"host", 55: bytes((1, 3, 6)), 57: b"\x05\xdc", 50: ip4("10.0.0.9")}, giaddr=0x0A000001
    )
    agrees(packet, encode(packet))


def test_we_read_scapys_encoding() -> None:
    theirs = BOOTP(op=1, chaddr=MAC, xid=9, secs=3, flags=0x8000, giaddr="10.0.0.1") / DHCP(
        options=[
            ("message-type", "discover"),
            ("requested_addr", "10.0.0.9"),
            ("hostname", b"host"),
            ("param_req_list", [1, 3, 6]),
            "end",
        ]
    )
    packet = decode(bytes(UDP(bytes(IP(bytes(IP() / UDP(sport=68, dport=67) / theirs)).payload)).payload))
    assert packet.message_type == 1
    assert (packet.xid, packet.secs, packet.flags, packet.giaddr) == (9, 3, 0x8000, 0x0A000001)
    assert packet.options == {53: b"\x01", 50: ip4("10.0.0.9"), 12: b"host", 55: bytes((1, 3, 6))}


MALFORMED = {
    Reason.TOO_SHORT: [b"", raw()[:239]],
    Reason.TOO_LONG: [raw(b"\0" * 3857)],
    Reason.BAD_OP: [raw(op=0), raw(op=3)],
    Reason.BAD_HLEN: [raw(hlen=17, htype=6), raw(hlen=0), raw(hlen=16)],
    Reason.BAD_COOKIE: [raw()[:236] + b"\x63\x82\x53\x64\xff"],
    Reason.BAD_CIADDR: [raw(ciaddr=0xFFFFFFFF), raw(ciaddr=0xE0000001), raw(ciaddr=0x7F000001), raw(ciaddr=5)],
    Reason.BAD_GIADDR: [raw(giaddr=0xFFFFFFFF), raw(giaddr=0xE0000001), raw(giaddr=0x7F000001), raw(giaddr=5)],
    Reason.OPTION_TRUNCATED: [raw(b"\x35\x01\x01\x0c"), raw(b"\x34\x01\x01\xff", file=b"\0" * 127 + b"\x0c")],
    Reason.OPTION_OVERRUN: [raw(b"\x35\x02\x01"), raw(b"\x34\x01\x02\xff", sname=b"\x0c\x3f")],
    Reason.OPTION_LENGTH: [
        *(raw(piece(code, b"123") + b"\xff") for code in (50, 51, 53, 54, 57, 58, 59, 118)),
        raw(piece(53, b"\x01") * 2),
        raw(piece(52, b"\x01") * 2),
        raw(piece(52, b"")),
        raw(piece(61, b"x" * 256)),
    ],
    Reason.BAD_OVERLOAD: [raw(piece(52, b"\0")), raw(piece(52, b"\4")), raw(piece(52, b"\1"), file=piece(52, b"\1"))],
    Reason.BAD_AGENT_INFORMATION: [
        raw(piece(82, b"\x01")),
        raw(piece(82, b"\x01\x02a")),
        raw(piece(82, b"\x05\x03abc")),
        raw(piece(82, b"\x01\xff" + b"x" * 255 + b"\x02\xff" + b"y" * 255 + b"\x03\xff" + b"z" * 255)),
    ],
}


@pytest.mark.parametrize(("reason", "data"), [(reason, data) for reason, cases in MALFORMED.items() for data in cases])
def test_malformed_message_has_its_reason(reason: Reason, data: bytes) -> None:
    assert reason_of(data) is reason


def test_long_option_is_joined_and_divided() -> None:
    value = bytes(range(256)) * 2
    packet = request(1, {43: value})
    data = encode(packet, room=1472)
    assert data[243 : 243 + 2] == b"\x2b\xff"
    assert decode(data).options[43] == value
    apart = raw(piece(43, b"ab") + piece(12, b"host") + piece(43, b"cd") + b"\xff")
    assert decode(apart).options == {43: b"abcd", 12: b"host"}
    assert encode(decode(apart), layout_of(apart)) == apart


def test_overload_is_read_options_then_file_then_sname() -> None:
    data = raw(piece(52, b"\x03") + piece(43, b"1") + b"\xff", file=piece(43, b"2") + b"\xff", sname=piece(43, b"3") + b"\xffrest")
    packet = decode(data)
    assert packet.options == {43: b"123"}
    assert (packet.file, packet.sname) == (b"", b"")
    assert encode(packet, layout_of(data)) == data


def test_overload_option_in_two_pieces_comes_back() -> None:
    data = raw(b"\x34\x00" + piece(52, b"\x01") + b"\xff", file=piece(12, b"host") + b"\xff")
    assert decode(data).options == {12: b"host"}
    assert encode(decode(data), layout_of(data)) == data


def test_options_without_end_are_read() -> None:
    assert decode(raw(piece(53, b"\x01"))).message_type == 1


def test_options_behind_end_are_not_read() -> None:
    assert decode(raw(b"\xff" + piece(53, b"\x01"))).options == {}


def test_message_without_vendor_information_is_bootp() -> None:
    data = raw()[:236] + b"\0" * 64
    assert decode(data).options == {}
    assert encode(decode(data), layout_of(data)) == data


def test_infiniband_has_no_hardware_address() -> None:
    packet = decode(raw(piece(61, b"\xff1") + b"\xff", htype=32, hlen=0))
    assert (packet.hw, packet.client_id) == (b"", b"\xff1")


def test_reply_is_at_least_300_octets() -> None:
    assert len(encode(request())) == 300


def test_message_type_first_and_agent_information_last() -> None:
    packet = request(None, {82: b"\x01\x01a", 12: b"host", 54: b"1234", 53: b"\x02"})
    assert [code for code, _ in arrange(packet).options] == [53, 54, 12, 82, 255]


def test_what_does_not_fit_goes_to_file_then_sname_then_is_left_out() -> None:
    packet = request(2, {224: b"a" * 240, 225: b"b" * 100, 226: b"c" * 50, 227: b"d" * 100, 228: b"e" * 4, 82: b"\x01\x01a"}, op=2)
    layout = arrange(packet)
    assert layout.left_out == (227,)
    data = encode(packet, layout)
    assert len(data) <= 548
    del packet.options[227]
    assert decode(data).options == packet.options
    assert data[-300:].rstrip(b"\0").endswith(piece(82, b"\x01\x01a") + b"\xff")


def test_a_boot_file_is_not_overloaded() -> None:
    packet = request(2, {224: b"a" * 240, 225: b"b" * 100}, op=2)
    packet.file = b"pxelinux.0"
    assert arrange(packet).left_out == (225,)
    assert arrange(packet).file is None


def test_room_is_at_least_576_and_at_most_the_mtu() -> None:
    assert request().room == 548
    assert request(options={57: struct.pack("!H", 100)}).room == 548
    assert request(options={57: struct.pack("!H", 1000)}).room == 972
    assert request(options={57: b"\xff\xff"}).room == 1472
    assert request(options={82: b"\x01\x01a"}).room == 553  # the relay takes it off again


@given(st.binary(max_size=700))
def test_any_octets_are_a_packet_or_a_packet_error(data: bytes) -> None:
    unharmed(data)


@given(
    st.binary(max_size=80),
    st.integers(0, 255),
    st.integers(0, 20),
    st.binary(max_size=64),
    st.binary(max_size=128),
    st.integers(0, 4),
)
def test_any_options_are_a_packet_or_a_packet_error(
    options: bytes, htype: int, hlen: int, sname: bytes, file: bytes, over: int
) -> None:
    unharmed(raw((piece(52, bytes((over,))) if over else b"") + options, htype=htype, hlen=hlen, sname=sname, file=file))


@given(st.sampled_from(VECTORS), st.integers(0, 340), st.binary(min_size=1, max_size=4))
def test_any_damage_of_a_real_message_is_a_packet_or_a_packet_error(vector: dict[str, str], at: int, octets: bytes) -> None:
    data = payload(vector)
    unharmed(data[:at] + octets + data[at + len(octets) :])
    unharmed(data[:at])


def unharmed(data: bytes) -> None:
    try:
        packet = decode(data)
    except PacketError:
        return
    assert encode(packet, layout_of(data)) == data


OPTIONS = st.dictionaries(
    st.integers(1, 254).filter(lambda code: code not in (50, 51, 52, 53, 54, 57, 58, 59, 61, 82, 118)),
    st.binary(max_size=600),
    max_size=6,
)


@given(
    OPTIONS,
    st.integers(548, 1472),
    st.binary(max_size=30).filter(lambda b: 0 not in b),
    st.binary(max_size=30).filter(lambda b: 0 not in b),
)
def test_encode_fits_and_decodes_to_the_same(options: dict[int, bytes], room: int, sname: bytes, file: bytes) -> None:
    packet = request(2, options, op=2)
    packet.sname, packet.file = sname, file
    layout = arrange(packet, room)
    data = encode(packet, layout)
    assert 300 <= len(data) <= room
    for code in layout.left_out:
        del packet.options[code]
    back = decode(data)
    assert (back.options, back.sname, back.file) == (packet.options, sname, file)
    assert decode(encode(back, room=room)) == back
