"""Packets and scopes that the tests of this room share."""

from __future__ import annotations

from failoverd.dhcp.message import Packet
from failoverd.dhcp.scope import Reservation, Scopes, Subnet
from failoverd.leases.pool import Pool

MAC = b"\x02\0\0\0\0\x0a"
SERVER = 0x0A0A0002
CLIENT = 0x0A0A0064
RELAY = 0x0A140001
BROADCAST_IP = 0xFFFFFFFF


def ip(text: str) -> int:
    return int.from_bytes(bytes(map(int, text.split("."))), "big")


def ip4(text: str) -> bytes:
    return ip(text).to_bytes(4, "big")


def request(kind: int | None = 3, options: dict[int, bytes] | None = None, **fields: int) -> Packet:
    """A client's message; `fields` replace header fields."""
    packet = Packet(1, 1, 6, 0, 0x12345678, 7, 0, 0, 0, 0, 0, MAC, options={} if kind is None else {53: bytes((kind,))})
    packet.options.update(options or {})
    for name, value in fields.items():
        setattr(packet, name, value)
    return packet


def subnet(text: str = "10.10.0.0", length: int = 24, network: str = "", **more: object) -> Subnet:
    fields: dict[str, object] = {
        "options": {15: b"dyn.example.test", 3: ip4("10.10.0.1"), 6: ip4("10.10.0.53") + ip4("10.10.0.54"), 42: ip4("10.10.0.5")},
        **more,
    }
    pools = (Pool(text, network or text, None, ((ip(text) + 100, ip(text) + 200),)),)
    return Subnet(text, ip(text), length, network or text, pools, lease_s=3600, min_lease_s=300, max_lease_s=86400, **fields)  # type: ignore[arg-type]


def scopes(subnets: list[Subnet], reservations: list[Reservation] | None = None) -> Scopes:
    networks: dict[str, tuple[Subnet, ...]] = {}
    for one in subnets:
        networks[one.network] = (*networks.get(one.network, ()), one)
    keyed: dict[bytes, tuple[Reservation, ...]] = {}
    for held in reservations or []:
        key = b"\x01" + held.client_id if held.client_id else b"\x00" + held.hw
        keyed[key] = (*keyed.get(key, ()), held)
    return Scopes(tuple(subnets), networks, keyed, {held.address: held for held in reservations or []})
