"""Which network a packet comes from (RFC 2131 4.3.1, RFC 3011, RFC 3527), and reservations."""

from __future__ import annotations

import pytest

from failoverd.dhcp.message import Packet, piece
from failoverd.dhcp.network import find_network, network_of, reservation_for
from failoverd.dhcp.scope import Reservation
from tests.dhcp.client_packets import MAC, SERVER, ip, ip4, request, scopes, subnet

DIRECT = subnet("10.10.0.0")
RELAYED = subnet("10.20.0.0", network="floor2")
SECOND = subnet("10.21.0.0", network="floor2")
WIDE = subnet("10.0.0.0", 8)
OTHER = subnet("192.168.7.0", 26)
SCOPES = scopes([DIRECT, RELAYED, SECOND, WIDE, OTHER])
HERE = ((ip("10.10.0.2"), 24),)
LINK = piece(5, ip4("10.21.0.0"))


@pytest.mark.parametrize(
    ("packet", "dst_ip", "names"),
    [
        (request(1), "255.255.255.255", ["10.10.0.0"]),
        (request(1, giaddr=ip("10.20.0.1")), "10.10.0.2", ["10.20.0.0", "10.21.0.0"]),
        (request(1, giaddr=ip("10.99.0.1")), "10.10.0.2", ["10.0.0.0"]),
        (request(1, giaddr=ip("172.16.0.1")), "10.10.0.2", None),
        (request(3, ciaddr=ip("192.168.7.5")), "10.10.0.2", ["192.168.7.0"]),
        (request(3, ciaddr=ip("192.168.7.65")), "10.10.0.2", None),
        (request(3, ciaddr=ip("192.168.7.5")), "255.255.255.255", ["10.10.0.0"]),
        (request(3, ciaddr=ip("192.168.7.5"), giaddr=ip("10.20.0.1")), "10.10.0.2", ["10.20.0.0", "10.21.0.0"]),
        (request(1, {118: ip4("192.168.7.0")}), "255.255.255.255", ["192.168.7.0"]),
        (request(1, {118: ip4("192.168.7.0")}, giaddr=ip("10.20.0.1")), "10.10.0.2", ["192.168.7.0"]),
        (request(1, {118: ip4("172.16.0.0")}, giaddr=ip("10.20.0.1")), "10.10.0.2", None),
        (request(1, {82: LINK}, giaddr=ip("192.168.7.1")), "10.10.0.2", ["10.20.0.0", "10.21.0.0"]),
        (request(1, {82: LINK, 118: ip4("192.168.7.0")}, giaddr=ip("192.168.7.1")), "10.10.0.2", ["10.20.0.0", "10.21.0.0"]),
        (request(1, {82: piece(5, ip4("172.16.0.0"))}, giaddr=ip("10.20.0.1")), "10.10.0.2", None),
        (request(1, {82: piece(1, b"port")}, giaddr=ip("10.20.0.1")), "10.10.0.2", ["10.20.0.0", "10.21.0.0"]),
        (request(1, {82: LINK}), "255.255.255.255", ["10.10.0.0"]),  # not said by a relay
    ],
)
def test_find_network(packet: Packet, dst_ip: str, names: list[str] | None) -> None:
    network = find_network(SCOPES, packet, HERE, ip(dst_ip))
    assert (None if network is None else [one.name for one in network]) == names


def test_the_first_address_of_the_interface_that_is_served_decides() -> None:
    addresses = ((ip("172.16.0.2"), 24), (ip("192.168.7.2"), 26), (ip("10.10.0.2"), 24))
    assert find_network(SCOPES, request(1), addresses) == (OTHER,)
    assert find_network(SCOPES, request(1), ()) is None
    assert find_network(SCOPES, request(1), addresses[:1]) is None


def test_the_most_specific_subnet_holds_an_address() -> None:
    assert network_of(SCOPES, SERVER) == (DIRECT,)
    assert network_of(SCOPES, ip("10.11.0.1")) == (WIDE,)
    assert network_of(scopes([subnet("0.0.0.0", 0)]), ip("8.8.8.8")) is not None
    assert network_of(scopes([]), ip("8.8.8.8")) is None


HW = b"\x01" + MAC
BY_HW = Reservation(HW, b"", ip("10.10.0.60"))
BY_HW_ELSEWHERE = Reservation(HW, b"", ip("10.20.0.60"))
BY_ID = Reservation(b"", b"\x01id", ip("10.10.0.61"))
HELD = scopes([DIRECT, RELAYED, SECOND], [BY_HW, BY_HW_ELSEWHERE, BY_ID])


def test_reservation_by_identifier_goes_before_hardware_address() -> None:
    assert reservation_for(HELD, request(1, {61: b"\x01id"}), (DIRECT,)) is BY_ID
    assert reservation_for(HELD, request(1, {61: b"\x01other"}), (DIRECT,)) is BY_HW
    assert reservation_for(HELD, request(1), (DIRECT,)) is BY_HW


def test_reservation_is_of_this_network() -> None:
    assert reservation_for(HELD, request(1), (SECOND, RELAYED)) is BY_HW_ELSEWHERE
    assert reservation_for(HELD, request(1, {61: b"\x01id"}), (RELAYED,)) is BY_HW_ELSEWHERE
    assert reservation_for(HELD, request(1), (OTHER,)) is None
    assert reservation_for(SCOPES, request(1), (DIRECT,)) is None


def test_nobody_without_an_identity_has_a_reservation() -> None:
    packet = request(1, {61: b""}, hlen=0, htype=32)
    packet.chaddr = b""
    assert reservation_for(HELD, packet, (DIRECT,)) is None
