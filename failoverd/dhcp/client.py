"""Who a packet comes from and what it asks for, as values that need no DHCP knowledge.

RFC 2131 4.2 (identity), RFC 2132 3.14 (host name), RFC 6842 (client identifier). Option 81 is fqdn.py's.
"""

from __future__ import annotations

from dataclasses import dataclass

from failoverd.dhcp.message import Code, Packet


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


def _text(value: bytes) -> str:
    """What a client calls text: up to the first NUL, undecodable octets, control characters and outer blanks removed (it ends up on
    operators' terminals)."""
    text = value.partition(b"\0")[0].decode("utf-8", "ignore")
    return text if text.isascii() and text.isalnum() else "".join(c for c in text if c.isprintable()).strip()
