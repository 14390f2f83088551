"""Why a client's packet is not answered before anybody looked at leases: the closed set of reasons, one Note each.

`Reason` values are Note names. All are `info` and limited: any host on the link can cause them at will. Sections: RFC 2131 2-4,
RFC 2132, RFC 3046, RFC 3396, RFC 951.
"""

from __future__ import annotations

from enum import StrEnum

from failoverd.notes import declare


def _note(name: str, text: str) -> str:
    return declare(name, "info", text, limited=True)


class Reason(StrEnum):
    """Every way in which a frame or a message of a client can be refused without a lease being looked for."""

    FRAME_SHORT = _note(
        "packet-frame-short",
        "A frame ended before its IPv4 or UDP header said that it would, or a header contradicts itself. A driver or a cable that "
        "cuts frames; look at the interface's error counters.",
    )
    FRAME_FRAGMENT = _note(
        "packet-frame-fragment",
        "A fragment of an IPv4 datagram arrived on the raw socket. Clients send one datagram in one frame; a relay whose datagrams "
        "are fragmented reaches the ordinary socket, where the kernel puts them together.",
    )
    FRAME_CHECKSUM = _note(
        "packet-frame-checksum",
        "The IPv4 or UDP checksum of a frame is wrong. A broken network card, or checksum offload whose work was not finished when "
        "the frame was read.",
    )
    TOO_SHORT = _note(
        "packet-too-short",
        "A datagram on the DHCP port is shorter than the 240 octets of the fixed fields and the magic cookie (RFC 2131 2). "
        "A port scan, or a program that is no DHCP client.",
    )
    TOO_LONG = _note(
        "packet-too-long",
        "A datagram on the DHCP port is longer than 4096 octets. No client sends that much; reading it would cost the time of many "
        "clients.",
    )
    BAD_OP = _note(
        "packet-bad-op",
        "The first octet is neither BOOTREQUEST (1) nor BOOTREPLY (2). Not a DHCP message.",
    )
    BAD_HLEN = _note(
        "packet-bad-hlen",
        "The hardware address length is above 16, or is not 6 for Ethernet (RFC 2131 2). The client's hardware address cannot be "
        "known.",
    )
    BAD_COOKIE = _note(
        "packet-bad-cookie",
        "The four octets before the options are not 99.130.83.99 (RFC 2131 3). Not a DHCP message, or a BOOTP client with vendor "
        "information of its own kind.",
    )
    BAD_CIADDR = _note(
        "packet-bad-ciaddr",
        "The client says that it uses a broadcast, multicast, loopback or 0/8 address (ciaddr). "
        "A reply to it could reach everybody.",
    )
    BAD_GIADDR = _note(
        "packet-bad-giaddr",
        "The relay's address (giaddr) is a broadcast, multicast, loopback or 0/8 address. A misconfigured relay, or a forged "
        "packet that would have us answer to everybody.",
    )
    OPTION_TRUNCATED = _note(
        "packet-option-truncated",
        "The options end after an option code, where its length should be (RFC 2132 2).",
    )
    OPTION_OVERRUN = _note(
        "packet-option-overrun",
        "An option's length points beyond the end of the field that holds it (RFC 2132 2).",
    )
    OPTION_LENGTH = _note(
        "packet-option-length",
        "An option that the server must understand (50 requested address, 51 lease time, 52 overload, 53 message type, "
        "54 server identifier, 57 maximum message size, 58, 59, 118 subnet selection) has a length that RFC 2132 does not allow, "
        "perhaps because it was sent twice (RFC 3396 joins the two); or the client identifier (61) is longer than 255 octets.",
    )
    BAD_OVERLOAD = _note(
        "packet-bad-overload",
        "Option 52 has a value other than 1, 2 or 3, or is itself in an overloaded field (RFC 2132 9.3).",
    )
    BAD_AGENT_INFORMATION = _note(
        "packet-bad-agent-information",
        "The relay agent information (option 82) cannot be divided into sub-options, its link selection is not one address, "
        "or it is longer than 768 octets (RFC 3046 2.0, RFC 3527 3). Look at the relay or switch that inserts it.",
    )
    IS_REPLY = _note(
        "packet-is-reply",
        "A BOOTREPLY arrived at the server's port. Usually another server's answer to a relay on this machine.",
    )
    SERVER_MESSAGE = _note(
        "packet-server-message",
        "A request carries a message type that only servers send (OFFER, ACK, NAK, FORCERENEW, lease query answers). A broken or "
        "hostile client.",
    )
    UNSUPPORTED_TYPE = _note(
        "packet-unsupported-type",
        "The DHCP message type is not one of RFC 2131 (lease queries of RFC 4388 and 6926 and newer ones are not answered).",
    )
    NO_IDENTITY = _note(
        "packet-no-identity",
        "The packet has neither a hardware address nor a client identifier: nobody to give a lease to (RFC 2131 4.2).",
    )
    REQUEST_NO_ADDRESS = _note(
        "packet-request-no-address",
        "A DHCPREQUEST names no address, neither in option 50 nor in ciaddr (RFC 2131 4.3.2).",
    )
    REQUEST_CONTRADICTS = _note(
        "packet-request-contradicts",
        "A DHCPREQUEST without server identifier uses one address (ciaddr) and asks for another (option 50): neither INIT-REBOOT "
        "nor a renewal (RFC 2131 4.3.2).",
    )
    DECLINE_NO_ADDRESS = _note(
        "packet-decline-no-address",
        "A DHCPDECLINE does not say which address is in use (option 50, RFC 2131 table 5).",
    )
    RELEASE_NO_ADDRESS = _note(
        "packet-release-no-address",
        "A DHCPRELEASE does not say which address is given back (ciaddr, RFC 2131 table 5).",
    )
    INFORM_NO_ADDRESS = _note(
        "packet-inform-no-address",
        "A DHCPINFORM does not say which address the client uses (ciaddr, RFC 2131 table 5), so the answer has no destination.",
    )


class PacketError(Exception):
    """A frame or message that is dropped. `reason` is of the closed set, `text` the particulars of this packet."""

    def __init__(self, reason: Reason, text: str = "") -> None:
        super().__init__(f"{reason.value}: {text}" if text else reason.value)
        self.reason = reason
        self.text = text


OPTIONS_LEFT_OUT = declare(
    "reply-options-left-out",
    "warning",
    "Options that a client asked for did not fit into the message size that it accepts (option 57, 576 octets when absent), not "
    "even in the sname and file fields. Shorten the options of this subnet: the ones that the client asked for last are left out.",
    limited=True,
)
