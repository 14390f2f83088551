"""Ethernet, IPv4 and UDP around one DHCP message: for a client that has no address yet, and for what a raw socket reads.

RFC 894, RFC 791, RFC 768, RFC 1071 (checksum). Knows nothing of DHCP.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from failoverd.dhcp.reasons import PacketError, Reason

ETHERTYPE_IPV4 = 0x0800
UDP = 17
TTL = 64
DONT_FRAGMENT = 0x4000  # an atomic datagram needs no identification (RFC 6864 4.1)
MORE_OR_OFFSET = 0x3FFF

_ETHERNET = Struct("!6s6sH")
_IPV4 = Struct("!BBHHHBBHII")
_UDP = Struct("!HHHH")
_HEADERS = Struct("!6s6sHBBHHHBBHIIHHHH")
_VERSION_IHL = 0x45


class Datagram(NamedTuple):
    """One UDP datagram and the Ethernet addresses of its frame. Addresses as integers, hardware addresses as 6 octets."""

    src_hw: bytes
    dst_hw: bytes
    src_ip: int
    dst_ip: int
    src_port: int
    dst_port: int
    payload: bytes


def build(datagram: Datagram) -> bytes:
    """The frame of a datagram, checksums included. At most 65507 octets of payload, or AssertionError."""
    src_hw, dst_hw, src_ip, dst_ip, src_port, dst_port, payload = datagram
    udp_length = 8 + len(payload)
    length = 20 + udp_length
    if length > 0xFFFF or len(src_hw) != 6 or len(dst_hw) != 6:
        raise AssertionError("no Ethernet frame for this datagram")
    head = (_VERSION_IHL << 8) + length + DONT_FRAGMENT + (TTL << 8 | UDP)
    addresses = (src_ip >> 16) + (src_ip & 0xFFFF) + (dst_ip >> 16) + (dst_ip & 0xFFFF)
    udp_sum = _udp_checksum(src_ip, dst_ip, src_port, dst_port, payload)
    return (
        _HEADERS.pack(
            dst_hw,
            src_hw,
            ETHERTYPE_IPV4,
            _VERSION_IHL,
            0,
            length,
            0,
            DONT_FRAGMENT,
            TTL,
            UDP,
            0xFFFF - _fold(head + addresses),
            src_ip,
            dst_ip,
            src_port,
            dst_port,
            udp_length,
            udp_sum,
        )
        + payload
    )


def parse(frame: bytes, verify: bool = True) -> Datagram | None:
    """The UDP datagram in an Ethernet frame; None for a frame of another kind (ARP, IPv6, a VLAN tag, TCP).

    `verify` False leaves the UDP checksum unchecked: the kernel hands local frames out before their checksum is made
    (TP_STATUS_CSUMNOTREADY). Raises PacketError (FRAME_*) when the headers are malformed.
    """
    if len(frame) < 14:
        raise PacketError(Reason.FRAME_SHORT, f"{len(frame)} octets")
    dst_hw, src_hw, ethertype = _ETHERNET.unpack_from(frame)
    if ethertype != ETHERTYPE_IPV4:
        return None
    if len(frame) < 34:
        raise PacketError(Reason.FRAME_SHORT, f"{len(frame)} octets")
    version_ihl, _tos, length, _ident, fragment, _ttl, protocol, _sum, src_ip, dst_ip = _IPV4.unpack_from(frame, 14)
    if version_ihl >> 4 != 4 or protocol != UDP:
        return None
    at = 14 + (version_ihl & 0x0F) * 4
    end = 14 + length
    if at < 34 or end > len(frame) or at + 8 > end:
        raise PacketError(Reason.FRAME_SHORT, f"IPv4 header {at - 14}, datagram {length}, frame {len(frame)} octets")
    if _fold(_sum16(frame[14:at])) != 0xFFFF:
        raise PacketError(Reason.FRAME_CHECKSUM, "IPv4")
    if fragment & MORE_OR_OFFSET:
        raise PacketError(Reason.FRAME_FRAGMENT, f"fragment field {fragment:#06x}")
    src_port, dst_port, udp_length, udp_sum = _UDP.unpack_from(frame, at)
    if udp_length < 8 or at + udp_length > end:
        raise PacketError(Reason.FRAME_SHORT, f"UDP length {udp_length}, {end - at} octets left")
    payload = frame[at + 8 : at + udp_length]
    if verify and udp_sum and udp_sum != _udp_checksum(src_ip, dst_ip, src_port, dst_port, payload):
        raise PacketError(Reason.FRAME_CHECKSUM, "UDP")
    return Datagram(src_hw, dst_hw, src_ip, dst_ip, src_port, dst_port, payload)


def _sum16(data: bytes) -> int:
    """A number congruent to the sum of the 16-bit words of `data`, modulo 0xFFFF (2**16 is 1 modulo 0xFFFF, so the octets taken as
    one large number will do; ten times faster than adding words). 0 only for zero octets, as the sum itself."""
    return int.from_bytes(data + b"\0" if len(data) & 1 else data, "big")


def _fold(total: int) -> int:
    """The one's complement sum as 16 bits (RFC 1071): 0xFFFF, not 0, for a positive multiple of 0xFFFF."""
    return total % 0xFFFF or (0xFFFF if total else 0)


def _udp_checksum(src_ip: int, dst_ip: int, src_port: int, dst_port: int, payload: bytes) -> int:
    """RFC 768; never 0, which means "none"."""
    udp_length = 8 + len(payload)
    pseudo = src_ip + dst_ip + UDP + udp_length  # an address is congruent to the sum of its halves
    total = _fold(pseudo + src_port + dst_port + udp_length + _sum16(payload))
    return 0xFFFF - total or 0xFFFF
