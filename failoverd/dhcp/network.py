"""Which network a client is on, and which reservation is its own.

RFC 2131 4.3.1 (giaddr, else the interface), RFC 3527 (link selection), RFC 3011 (subnet selection). Both lookups cost the same for
ten subnets and for ten thousand.
"""

from __future__ import annotations

from collections.abc import Iterable

from failoverd.dhcp.message import LINK_SELECTION, Code, Packet, sub_options
from failoverd.dhcp.scope import Reservation, Scopes, Subnet

LIMITED_BROADCAST = 0xFFFFFFFF


def find_network(
    scopes: Scopes, packet: Packet, addresses: Iterable[tuple[int, int]], dst_ip: int = LIMITED_BROADCAST
) -> tuple[Subnet, ...] | None:
    """The subnets of the network that the client is on; None when it is none of ours.

    `addresses`: of the interface that the packet came in on, (address, prefix length), primary first; `dst_ip`: where the packet
    was sent to. The first of these that applies decides, also when it names no network of ours:

    1. link selection of a relay (RFC 3527 3: takes precedence over subnet selection and giaddr; only a relay may say it);
    2. subnet selection (RFC 3011 4: takes precedence over giaddr);
    3. giaddr;
    4. ciaddr of a packet that the client itself sent to an address of ours: it may be routed from anywhere (RENEWING, RELEASE);
    5. the addresses of the interface.
    """
    giaddr = packet.giaddr
    if giaddr:
        agent = packet.options.get(82)
        if agent is not None:
            link = sub_options(agent).get(LINK_SELECTION)
            if link is not None:
                return network_of(scopes, int.from_bytes(link, "big"))
    selected = packet.options.get(118)
    if selected is not None:
        return network_of(scopes, int.from_bytes(selected, "big"))
    if giaddr:
        return network_of(scopes, giaddr)
    if packet.ciaddr and dst_ip != LIMITED_BROADCAST:
        return network_of(scopes, packet.ciaddr)
    for address, _length in addresses:
        network = network_of(scopes, address)
        if network is not None:
            return network
    return None


def network_of(scopes: Scopes, address: int) -> tuple[Subnet, ...] | None:
    """All subnets of the network that an address lies in."""
    subnet = scopes.subnet_at(address)
    return scopes.networks[subnet.network] if subnet is not None else None


def reservation_for(scopes: Scopes, packet: Packet, network: tuple[Subnet, ...]) -> Reservation | None:
    """The client's reservation on this network: by client identifier, else by hardware address (a client that sends an identifier
    may well be reserved by its hardware address). With several subnets of a shared network, the one that comes first."""
    reservations = scopes.reservations
    if not reservations:
        return None
    found: tuple[Reservation, ...] = ()
    client_id = packet.options.get(Code.CLIENT_ID)
    if client_id:
        found = reservations.get(b"\x01" + client_id, ())
    if packet.chaddr:
        found += reservations.get(b"\x00" + packet.hw, ())
    for reservation in found:
        if any(subnet.holds(reservation.address) for subnet in network):
            return reservation
    return None
