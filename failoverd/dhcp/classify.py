"""What a client's message is: the total table of RFC 2131 4.3.2, and the shapes that are no question at all.

Knows no lease and no subnet.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from failoverd.dhcp.message import BOOTREQUEST, Code, MessageType, Packet
from failoverd.dhcp.reasons import PacketError, Reason

LIMITED_BROADCAST = 0xFFFFFFFF


class Kind(Enum):
    """The questions of clients."""

    DISCOVER = "discover"
    SELECTING = "request-selecting"
    INIT_REBOOT = "request-init-reboot"
    RENEWING = "request-renewing"
    REBINDING = "request-rebinding"
    DECLINE = "decline"
    RELEASE = "release"
    INFORM = "inform"
    BOOTP = "bootp"


class Hashed(NamedTuple):
    """Whether load balancing may leave a message to the partner, and why (failover-protocol.md 9.4, RFC 3074, safety.md 22)."""

    left: bool
    why: str


_OWNED = Hashed(False, "who owns the binding decides: hashed away, the renewals of every client that roamed would fail")
_ALWAYS = Hashed(False, "both servers take it")
BY_HASH: dict[Kind, Hashed] = {
    Kind.DISCOVER: Hashed(True, "in normal, after an address was found, and only while the partner has a free one"),
    Kind.SELECTING: _OWNED,
    Kind.INIT_REBOOT: _OWNED,
    Kind.RENEWING: _OWNED,
    Kind.REBINDING: _OWNED,
    Kind.DECLINE: _ALWAYS,
    Kind.RELEASE: _ALWAYS,
    Kind.INFORM: _ALWAYS,
    Kind.BOOTP: Hashed(
        True, "Deviation: dhcpd hashes it, without the exception of a partner that has no address; we serve no BOOTP"
    ),
}
"""9.4, for every kind of message."""


class Asked(Enum):
    """What the fields of a DHCPREQUEST say, before it is known how it travelled."""

    SELECTING = 1
    INIT_REBOOT = 2
    EXTENDING = 3  # renewing or rebinding
    NO_ADDRESS = 4


# (server identifier present, requested address present, ciaddr not zero). RFC 2131 4.3.2 and table 4 name rows 1, 2 and 3; for the
# others clients exist that are not strict, and one meaning does no harm. The check of row 4 is in `_request`.
REQUESTS: dict[tuple[bool, bool, bool], Asked] = {
    (True, True, False): Asked.SELECTING,
    (False, True, False): Asked.INIT_REBOOT,
    (False, False, True): Asked.EXTENDING,
    (False, True, True): Asked.EXTENDING,  # both name the address; contradictory ones are refused
    (True, True, True): Asked.SELECTING,  # an old address still set: the server and the address are named
    (True, False, True): Asked.EXTENDING,  # a renewal that says whose lease it is
    (True, False, False): Asked.NO_ADDRESS,
    (False, False, False): Asked.NO_ADDRESS,
}


def classify(packet: Packet, dst_ip: int) -> Kind:
    """The question that a message asks. `dst_ip`: where it was sent to, which alone tells RENEWING (unicast by the client itself)
    from REBINDING (broadcast, or brought by a relay). Raises PacketError for what is no client's question."""
    if packet.op != BOOTREQUEST:
        raise PacketError(Reason.IS_REPLY)
    if not packet.chaddr and not packet.client_id:
        raise PacketError(Reason.NO_IDENTITY)
    kind = packet.message_type
    if kind == MessageType.DISCOVER:
        return Kind.DISCOVER
    if kind == MessageType.REQUEST:
        return _request(packet, dst_ip)
    if Code.MESSAGE_TYPE not in packet.options:
        return Kind.BOOTP
    if kind == MessageType.RELEASE:
        if not packet.ciaddr:
            raise PacketError(Reason.RELEASE_NO_ADDRESS)
        return Kind.RELEASE
    if kind == MessageType.INFORM:
        if not packet.ciaddr:
            raise PacketError(Reason.INFORM_NO_ADDRESS)
        return Kind.INFORM
    if kind == MessageType.DECLINE:
        if not packet.address(Code.REQUESTED_ADDRESS):
            raise PacketError(Reason.DECLINE_NO_ADDRESS)
        return Kind.DECLINE
    if kind in (MessageType.OFFER, MessageType.ACK, MessageType.NAK):
        raise PacketError(Reason.SERVER_MESSAGE, f"type {kind}")
    raise PacketError(Reason.UNSUPPORTED_TYPE, f"type {kind}")


def _request(packet: Packet, dst_ip: int) -> Kind:
    """The client's state behind a DHCPREQUEST (RFC 2131 4.3.2)."""
    requested = packet.address(Code.REQUESTED_ADDRESS)
    asked = REQUESTS[packet.address(Code.SERVER_ID) != 0, requested != 0, packet.ciaddr != 0]
    if asked is Asked.SELECTING:
        return Kind.SELECTING
    if asked is Asked.INIT_REBOOT:
        return Kind.INIT_REBOOT
    if asked is Asked.NO_ADDRESS:
        raise PacketError(Reason.REQUEST_NO_ADDRESS)
    if requested and requested != packet.ciaddr:
        raise PacketError(Reason.REQUEST_CONTRADICTS, f"ciaddr {packet.ciaddr:#010x}, requested {requested:#010x}")
    return Kind.REBINDING if packet.giaddr or dst_ip == LIMITED_BROADCAST else Kind.RENEWING
