"""Who a packet comes from and what it asks for, as values that need no DHCP knowledge.

RFC 2131 4.2 (identity), RFC 2132 3.14 (host name), RFC 4702 2 (client FQDN), RFC 6842 (client identifier).
"""

from __future__ import annotations

from dataclasses import dataclass

from failoverd.dhcp.message import Code, Packet

FQDN_WIRE = 0x04  # the E bit: the name is in DNS wire format (RFC 4702 2.1)


@dataclass(slots=True)
class Client:
    """`hw`: htype octet + chaddr, b"" for none. `hostname`: option 12, printable, "" for none. `requested`, `server_id`: addresses,
    0 for none. `secs`: seconds since the client began, as sent. `prl`: option 55. `key`: as Lease.client."""

    hw: bytes
    client_id: bytes
    hostname: str
    requested: int
    server_id: int
    secs: int
    prl: bytes
    key: bytes


def client_of(packet: Packet) -> Client:
    """The client of a packet. `key` is b"" for nobody, which `classify` refuses."""
    options = packet.options
    hw = packet.hw
    client_id = options.get(61, b"")
    name = options.get(12)
    return Client(
        hw,
        client_id,
        _text(name) if name else "",
        packet.address(Code.REQUESTED_ADDRESS),
        packet.address(Code.SERVER_ID),
        packet.secs,
        options.get(55, b""),
        b"\x01" + client_id if client_id else b"\x00" + hw if hw else b"",
    )


def client_name(packet: Packet) -> str:
    """The name that the client gives itself, for DNS: option 12, else the first label of option 81; "" for none. Printable, but no
    more is promised: the DDNS room makes a legal name of it."""
    value = packet.options.get(12)
    if value:
        name = _text(value)
        if name:
            return name
    fqdn = packet.options.get(81, b"")
    if len(fqdn) < 4:
        return ""
    wire = fqdn[3:]
    if fqdn[0] & FQDN_WIRE:
        size = wire[0]
        return _text(wire[1 : 1 + size]) if size < 64 and 1 + size <= len(wire) else ""
    return _text(wire).partition(".")[0]


def _text(value: bytes) -> str:
    """What a client calls text: up to the first NUL, undecodable octets, control characters and outer blanks removed (it ends up on
    operators' terminals)."""
    text = value.partition(b"\0")[0].decode("utf-8", "ignore")
    return text if text.isascii() and text.isalnum() else "".join(c for c in text if c.isprintable()).strip()
