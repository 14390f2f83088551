"""Replies as octets, and where they go.

RFC 2131 4.1 (destinations), 4.3.1 and table 3 (contents), 4.4.5 (T1, T2), RFC 2132 9.8 (order as asked), RFC 3046 2.2 (option 82
last and unchanged), RFC 3011 4 (option 118 echoed), RFC 6842 (client identifier echoed). Does not know why an address was chosen.

Options 81 and 12 are said when somebody decided that there is something to say about the client's name (RFC 4702 4), whatever the
parameter request list holds: who sends a name wants to know.

Speed: what depends on the subnet and the parameter request list alone is encoded once (Subnet.blobs). Such a reply is one pack and
one join; only one that does not fit goes through message.encode.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from failoverd.dhcp.message import (
    BOOTREPLY,
    BROADCAST,
    COOKIE,
    ETHERNET,
    FIXED,
    HEADER,
    MIN_SIZE,
    MessageType,
    Packet,
    arrange,
    encode,
    piece,
)
from failoverd.dhcp.options import NOT_CONFIGURABLE, ONLY_IF_ASKED
from failoverd.dhcp.scope import Reservation, Subnet

SERVER_PORT = 67
CLIENT_PORT = 68
LIMITED_BROADCAST = 0xFFFFFFFF
INFINITE = 0xFFFFFFFF  # RFC 2131 3.3
BLOBS_LIMIT = 512  # parameter request lists kept for one subnet; a client can invent as many as it likes

# 53, 54, 51, 58, 59: the head of an OFFER or ACK in one pack.
_TIMES = Struct("!BBBBBIBBIBBIBBI")
_SIMPLE = Struct("!BBBBBI")
_U32 = Struct("!I")

# What the server says by itself, whatever a client asks for or a configuration holds.
OWN = frozenset(NOT_CONFIGURABLE)


class Route(NamedTuple):
    """Where a reply goes. `hw`: a raw frame to this Ethernet address, since nobody answers ARP for `ip` yet; None: an ordinary
    datagram."""

    ip: int
    port: int
    hw: bytes | None


def route(packet: Packet, address: int, is_nak: bool = False) -> Route:
    """Where the reply to a DISCOVER or REQUEST goes (RFC 2131 4.1). `address`: the yiaddr of the reply."""
    if packet.giaddr:
        return Route(packet.giaddr, SERVER_PORT, None)
    if is_nak:
        return Route(LIMITED_BROADCAST, CLIENT_PORT, None)
    if packet.ciaddr:
        return Route(packet.ciaddr, CLIENT_PORT, None)
    if packet.flags & BROADCAST or packet.htype != ETHERNET or not address:
        return Route(LIMITED_BROADCAST, CLIENT_PORT, None)  # raw frames are made for Ethernet only
    return Route(address, CLIENT_PORT, packet.chaddr)


def inform_route(packet: Packet) -> Route:
    """Where the reply to an INFORM goes: straight to ciaddr, relayed or not (RFC 2131 4.3.5)."""
    return Route(packet.ciaddr, CLIENT_PORT, None)


def offer(
    packet: Packet,
    subnet: Subnet,
    reservation: Reservation | None,
    address: int,
    lease_s: int,
    server_id: int,
    hostname: str = "",
    fqdn: bytes = b"",
    left_out: list[int] | None = None,
) -> bytes:
    """A DHCPOFFER of `address` for `lease_s` seconds. `server_id`: our address. `hostname`: what the client shall call itself (option
    12; when "", the reservation's name if the client asks). `fqdn`: the value of option 81, b"" for none. Options that did not fit are
    appended to `left_out` (OPTIONS_LEFT_OUT)."""
    named = _named(reservation, hostname, fqdn)
    return _grant(MessageType.OFFER, packet, subnet, reservation, 0, address, lease_s, server_id, named, left_out)


def ack(
    packet: Packet,
    subnet: Subnet,
    reservation: Reservation | None,
    address: int,
    lease_s: int,
    server_id: int,
    hostname: str = "",
    fqdn: bytes = b"",
    left_out: list[int] | None = None,
) -> bytes:
    """A DHCPACK that gives `address` for `lease_s` seconds from now on. The rest as in `offer`; ciaddr as asked (table 3)."""
    named = _named(reservation, hostname, fqdn)
    return _grant(MessageType.ACK, packet, subnet, reservation, packet.ciaddr, address, lease_s, server_id, named, left_out)


def inform_ack(
    packet: Packet,
    subnet: Subnet,
    reservation: Reservation | None,
    server_id: int,
    left_out: list[int] | None = None,
) -> bytes:
    """A DHCPACK to a DHCPINFORM: no lease time, no T1, no T2, yiaddr zero (RFC 2131 4.3.5), and no word on names: there is no lease to
    register."""
    head = _SIMPLE.pack(53, 1, MessageType.ACK, 54, 4, server_id)
    return _reply(packet, subnet, reservation, packet.ciaddr, 0, head, {}, left_out)


def nak(packet: Packet, server_id: int, text: str) -> bytes:
    """A DHCPNAK with a message for the person at the client (option 56). Towards a relay the broadcast bit is set, so that the
    relay broadcasts it (RFC 2131 4.3.2): the client may sit on an address that is not valid there."""
    message = text.encode("ascii", "replace")[:255]
    options = packet.options
    parts = [_SIMPLE.pack(53, 1, MessageType.NAK, 54, 4, server_id)]
    if message:
        parts.append(piece(56, message))
    _echo(options, parts)
    parts.append(b"\xff")
    body = b"".join(parts)
    flags = packet.flags | BROADCAST if packet.giaddr else packet.flags
    if message and FIXED + len(body) > packet.room:
        return nak(packet, server_id, "")
    return (_header(packet, flags, 0, 0, 0, b"", b"") + body).ljust(MIN_SIZE, b"\0")


def times(lease_s: int) -> tuple[int, int, int]:
    """Lease time, T1 and T2 for the wire: half and seven eighths of what is really given (RFC 2131 4.4.5), so that a lease cut to
    the MCLT is also renewed in time. INFINITE has no T1 and T2 but itself."""
    if lease_s >= INFINITE:
        return INFINITE, INFINITE, INFINITE
    lease_s = max(lease_s, 0)
    return lease_s, lease_s // 2, lease_s * 7 // 8


def _grant(
    kind: MessageType,
    packet: Packet,
    subnet: Subnet,
    reservation: Reservation | None,
    ciaddr: int,
    address: int,
    lease_s: int,
    server_id: int,
    named: dict[int, bytes],
    left_out: list[int] | None,
) -> bytes:
    lease, renewal, rebinding = times(lease_s)
    head = _TIMES.pack(53, 1, kind, 54, 4, server_id, 51, 4, lease, 58, 4, renewal, 59, 4, rebinding)
    return _reply(packet, subnet, reservation, ciaddr, address, head, named, left_out)


def _reply(
    packet: Packet,
    subnet: Subnet,
    reservation: Reservation | None,
    ciaddr: int,
    yiaddr: int,
    head: bytes,
    named: dict[int, bytes],
    left_out: list[int] | None,
) -> bytes:
    """Header, head, what is said of the name, configured options, echoes, END, padding."""
    options = packet.options
    wanted = options.get(55, b"")
    if reservation is not None or (named and 12 in named and 12 in subnet.options):
        configured = _configured(subnet, reservation)
        for code in named:
            configured.pop(code, None)
        blob = _blob(configured, wanted)
    else:
        blob = subnet.blobs.get(wanted, b"")
        if not blob:
            blob = _blob(_configured(subnet, None), wanted)
            if len(subnet.blobs) >= BLOBS_LIMIT:
                subnet.blobs.clear()
            subnet.blobs[wanted] = blob
    parts = [head]
    for code, value in named.items():
        parts.append(piece(code, value))
    parts.append(blob)
    _echo(options, parts)
    parts.append(b"\xff")
    body = b"".join(parts)
    sname, file = subnet.server_name.encode("ascii", "replace")[:63], subnet.boot_file.encode("ascii", "replace")[:127]
    header = _header(packet, packet.flags, ciaddr, yiaddr, subnet.next_server, sname, file)
    if FIXED + len(body) > packet.room:
        return _squeezed(packet, header, body, sname, file, left_out)
    return (header + body).ljust(MIN_SIZE, b"\0")


def _header(packet: Packet, flags: int, ciaddr: int, yiaddr: int, siaddr: int, sname: bytes, file: bytes) -> bytes:
    """RFC 2131 table 3: hops and secs are zero, xid, giaddr and chaddr the client's."""
    return HEADER.pack(
        BOOTREPLY,
        packet.htype,
        packet.hlen,
        0,
        packet.xid,
        0,
        flags,
        ciaddr,
        yiaddr,
        siaddr,
        packet.giaddr,
        packet.chaddr,
        sname,
        file,
        COOKIE,
    )


def _echo(options: dict[int, bytes], parts: list[bytes]) -> None:
    """What is given back as it came: client identifier, subnet selection, relay agent information, which is last."""
    if 61 in options:
        parts.append(piece(61, options[61]))
    if 118 in options:
        parts.append(piece(118, options[118]))
    if 82 in options:
        parts.append(piece(82, options[82]))


def _named(reservation: Reservation | None, hostname: str, fqdn: bytes) -> dict[int, bytes]:
    """What is said of the client's name, asked for or not; but option 12 as the operator wrote it for this host stands."""
    named: dict[int, bytes] = {81: fqdn} if fqdn else {}
    if hostname and (reservation is None or 12 not in reservation.options):
        named[12] = hostname.encode("ascii", "replace")[:255]
    return named


def _configured(subnet: Subnet, reservation: Reservation | None) -> dict[int, bytes]:
    """The options that this client may be told, reservation over subnet, and the mask."""
    options = dict(subnet.options)
    if reservation is not None:
        if reservation.hostname:
            options[12] = reservation.hostname.encode("ascii", "replace")[:255]
        options.update(reservation.options)
    options[1] = _U32.pack(subnet.mask)
    return options


def _blob(options: dict[int, bytes], wanted: bytes) -> bytes:
    """The options that were asked for, in the client's order, behind the mask, which is always there (RFC 2132 3.3: before the
    routers); all of them for a client that has no parameter request list (RFC 2131 4.3.1: it gets what is configured)."""
    codes = dict.fromkeys(wanted) if wanted else [code for code in options if code not in ONLY_IF_ASKED]
    return piece(1, options[1]) + b"".join(piece(code, options[code]) for code in codes if code in options and code not in OWN)


def _squeezed(packet: Packet, header: bytes, body: bytes, sname: bytes, file: bytes, left_out: list[int] | None) -> bytes:
    """The reply of a client that takes less than we have to say: overload, and what does not fit even so is left out."""
    op, htype, hlen, hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr, *_ = HEADER.unpack(header)
    said: dict[int, bytes] = {}
    at = 0
    while body[at] != 255:
        end = at + 2 + body[at + 1]
        said[body[at]] = said.get(body[at], b"") + body[at + 2 : end]
        at = end
    # Echoes go before what the client can live without.
    options = {code: said[code] for code in (53, 54, 51, 58, 59, 1, 61, 118, 81) if code in said} | said
    reply = Packet(op, htype, hlen, hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr, packet.chaddr, sname, file, options)
    layout = arrange(reply, packet.room)
    if left_out is not None:
        left_out.extend(layout.left_out)
    return encode(reply, layout)
