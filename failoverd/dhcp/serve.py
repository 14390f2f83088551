"""What a client is told, and what becomes of its lease: RFC 2131 4.3 under the Rights that failover grants (failover-protocol.md 9.4).

A decision names its reason, always; the node carries it out. REQUESTs are never hashed away (safety.md 22): the gate is who owns the
binding. Knows no partner message and no zone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from failoverd.dhcp import fqdn
from failoverd.dhcp.answer import Route, ack, inform_ack, inform_route, nak, offer, route
from failoverd.dhcp.classify import BY_HASH, Kind
from failoverd.dhcp.client import Client, client_of
from failoverd.dhcp.message import Code, Packet
from failoverd.dhcp.network import find_network, reservation_for
from failoverd.dhcp.probing import MUST_PING, PINGING, TOO_MANY, Probing
from failoverd.dhcp.scope import Reservation, Scopes, Subnet
from failoverd.dhcp.unheard import Place, Unheard
from failoverd.leases import reclaim
from failoverd.leases.allocate import LEASED, LONE_BOOT, NO_FREE, PARTNER_HOLDS_FREE, partner_free, pick, refusal
from failoverd.leases.lease import FLAG_RESERVED, NEVER, BindingState, Lease
from failoverd.leases.mclt import INFINITE, Promise, promise
from failoverd.leases.pool import Pool
from failoverd.leases.rights import ALONE, Rights
from failoverd.leases.table import LeaseTable
from failoverd.notes import declare
from failoverd.ports import ClientDatagram, Now

OFFERED = declare("offered", "debug", "A DHCPOFFER was sent.", limited=True)
ACKED = declare("acked", "debug", "A DHCPACK was sent; the lease was on disk before.", limited=True)
REMAINING = declare(
    "acked-remaining",
    "info",
    "A renewal was answered with the time that remains of the lease: nothing longer may be promised now (lone boot, or a low disk).",
    limited=True,
)
INFORMED = declare("informed", "debug", "A DHCPINFORM was answered.", limited=True)
RELEASED = declare("released", "debug", "A client gave its address back.", limited=True)
DECLINED = declare(
    "declined",
    "warning",
    "A client found its address in use by another host (DHCPDECLINE). The address rests for the abandon-time.",
)
NOT_OURS = declare(
    "left-to-partner",
    "debug",
    "A DISCOVER was left to the partner: the client's hash bucket is the partner's (RFC 3074). If the partner stays silent, this"
    " server answers once the client has waited for load-balance-max-seconds, by its `secs` or by its repeats.",
    limited=True,
)
OTHER_SERVER = declare("other-server-chosen", "debug", "The client accepted another server's offer.", limited=True)
NO_NETWORK = declare(
    "no-network",
    "info",
    "No subnet of the configuration fits the relay's address or the interface on which the packet came in.",
    limited=True,
)
WRONG_NETWORK = declare("nak-wrong-network", "info", "The client asked for an address of another network: DHCPNAK.", limited=True)
NAK_TAKEN = declare("nak-address-taken", "info", "The client asked for an address that it cannot have: DHCPNAK.", limited=True)
UNKNOWN_CLIENT = declare(
    "unknown-client",
    "info",
    "There is no record of this client's lease here, so RFC 2131 4.3.2 demands silence; the server that knows it answers.",
    limited=True,
)
BOOTP = declare("bootp-not-served", "info", "BOOTP clients (no DHCP message type) are not served.", limited=True)
DISK_LOW = declare(
    "disk-low",
    "error",
    "The disk of the lease database is almost full: renewals get the time that remains, new clients nothing. Free some space.",
    limited=True,
)
NOT_LEASED = declare(
    "not-leased-to-client", "info", "A RELEASE or DECLINE for an address that this client does not hold.", limited=True
)
RESERVATION_HELD = declare(
    "reservation-in-use",
    "warning",
    "The address reserved for this client is held by another client, or was declined. Or another client had it from the pool before, and"
    " the partner may have gone on with that lease: it rests until that is over (`failoverctl lease ADDRESS`).",
    limited=True,
)


EXTENDS = frozenset({Kind.RENEWING, Kind.REBINDING})


@dataclass(slots=True)
class Decision:
    """What to do for one packet. `why`: a Note's name. `new`: the lease to commit; a reply waits for that unless `at_once`.
    `left_out`: options that did not fit into the reply. `unusable`: why a name that the client sent is not its name.
    `unheard`: from now on everybody at this place is served, since the partner answers nobody there. `probe_s`: the message waits until
    `address` has been silent to a ping for so long, 0 for no ping; `must_probe`: nothing but a ping will do."""

    why: str
    old: Lease | None = None
    new: Lease | None = None
    reply: bytes = b""
    route: Route | None = None
    at_once: bool = False
    subnet: Subnet | None = None
    address: int = 0
    detail: str = ""
    left_out: list[int] | None = None
    unusable: str = ""
    malformed_fqdn: str = ""
    unheard: bool = False
    probe_s: int = 0
    must_probe: bool = False


class House(Protocol):
    """What serving needs of the node."""

    table: LeaseTable
    scopes: Scopes
    low_disk: bool
    unheard: Unheard
    probing: Probing

    def rights_of(self, relationship: str | None) -> Rights:
        """The rights of a relationship in this step."""

    def ours(self, relationship: str, client_id: bytes, chaddr: bytes, secs: int) -> bool:
        """Whether the client's hash bucket is ours, or its `secs` overrides it."""

    def short(self, relationship: str) -> None:
        """A client was refused because only the partner has free addresses."""

    def addresses(self, interface: str) -> tuple[tuple[int, int], ...]:
        """The addresses of an interface, primary first."""

    def name(self, address: int, subnet: Subnet, client: Client, asked: fqdn.Asked | None) -> fqdn.Named:
        """What a client is called at an address."""


@dataclass(slots=True)
class Question:
    """One client's message with everything that was found out about it. `again`: it has waited for a ping, and was ours to answer."""

    packet: Packet
    kind: Kind
    client: Client
    datagram: ClientDatagram
    network: tuple[Subnet, ...]
    reservation: Reservation | None
    now: Now
    asked: fqdn.Asked | None = None
    again: bool = False

    @property
    def wall(self) -> int:
        """Whole seconds."""
        return int(self.now.wall)

    @property
    def place(self) -> Place:
        """Where the client is."""
        return self.datagram.interface, self.packet.giaddr

    def subnet_of(self, address: int) -> Subnet | None:
        """The subnet of the client's network that holds the address."""
        return next((subnet for subnet in self.network if subnet.holds(address)), None)

    def pools(self) -> list[Pool]:
        """All pools of the client's network."""
        return [pool for subnet in self.network for pool in subnet.pools]


def decide(packet: Packet, kind: Kind, datagram: ClientDatagram, house: House, now: Now, *, again: bool = False) -> Decision:
    """The decision for one decoded, classified packet. `again`: it waited for a ping."""
    if kind is Kind.BOOTP:
        return Decision(BOOTP)
    network = find_network(house.scopes, packet, house.addresses(datagram.interface), datagram.dst_ip)
    if network is None:
        return Decision(NO_NETWORK, detail=datagram.interface)
    client = client_of(packet)
    question = Question(packet, kind, client, datagram, network, reservation_for(house.scopes, packet, network), now, again=again)
    value = packet.options.get(Code.FQDN)
    if value is None:
        return _BY_KIND[kind](question, house)
    question.asked = fqdn.read(value)
    decision = _BY_KIND[kind](question, house)
    if question.asked is None:
        decision.malformed_fqdn = value.hex()
    return decision


def _want(packet: Packet, subnet: Subnet) -> int:
    """The lease time to aim at: what the client asks for (option 51) within the subnet's bounds, else the subnet's default."""
    raw = packet.options.get(Code.LEASE_TIME)
    if raw is None:
        return subnet.lease_s
    return max(subnet.min_lease_s, min(int.from_bytes(raw, "big"), subnet.max_lease_s))


def _rights_at(address: int, house: House) -> Rights:
    state = house.table.pool_of(address)
    return house.rights_of(state.pool.relationship) if state is not None else ALONE


# --- DISCOVER -----------------------------------------------------------------------------------------------------------


def _discover(question: Question, house: House) -> Decision:
    client = question.client
    if question.reservation is not None:
        lease = house.table.get(question.reservation.address)
        rights = _rights_at(lease.address, house)  # of none, but for one of the partner's on which a lease is still to be agreed
        if not rights.serve or refusal(lease, client.key, rights, question.wall):
            return Decision(RESERVATION_HELD, address=lease.address)
        return _offer(question, house, lease, rights)
    pools = question.pools()
    if not pools:
        return Decision(NO_FREE)
    mono, wish = question.now.mono, client.requested
    pinged = house.table.offer_of(client.key, mono) if question.again else house.probing.pinged_for(client.key)
    if pinged and question.subnet_of(pinged):
        wish = pinged  # whatever it asks for by now
    choice = pick(house.table, pools, client.key, wish, house.rights_of, question.wall, mono)
    if choice.lease is None:
        if choice.why == PARTNER_HOLDS_FREE:
            for relationship in sorted({pool.relationship for pool in pools if pool.relationship is not None}):
                house.short(relationship)
        return Decision(choice.why)
    lease = choice.lease
    state = house.table.pool_of(lease.address)
    assert state is not None  # pick only looks into pools
    name = state.pool.relationship
    rights = house.rights_of(name)
    if not rights.serve:
        return Decision(rights.why, address=lease.address)
    if name is not None and rights.balanced and BY_HASH[question.kind].left and not question.again:
        mine = house.ours(name, client.client_id, question.packet.chaddr, 0)
        if not mine and partner_free(house.table, pools, house.rights_of):
            return _partners(question, house, name, lease, rights)
    return _offer(question, house, lease, rights)


def _partners(question: Question, house: House, relationship: str, lease: Lease, rights: Rights) -> Decision:
    """A client of the partner's bucket: served when it has waited for too long, by its own word (`secs`) or by its repeats, or where
    nobody of the partner's is answered. Deviation: dhcpd believes `secs` only, so a client that leaves it at 0 waits for ever."""
    client, mono, unheard = question.client, question.now.mono, house.unheard
    waited = unheard.asked(client.key, mono)
    waited_too_long = house.ours(relationship, client.client_id, question.packet.chaddr, max(client.secs, waited))
    if not waited_too_long and not unheard.deaf(question.place, mono):
        return Decision(NOT_OURS)
    deaf = waited_too_long and waited > 0 and unheard.missed(client.key, question.place, mono)
    decision = _offer(question, house, lease, rights)
    decision.unheard = deaf
    return decision


def _offer(question: Question, house: House, lease: Lease, rights: Rights) -> Decision:
    subnet = question.subnet_of(lease.address)
    if subnet is None:
        return Decision(WRONG_NETWORK, address=lease.address)
    given = _promise(question, house, lease, rights, subnet)
    remains = _remains(lease, question, rights, given)
    if given is None and not remains:
        return Decision(LONE_BOOT, address=lease.address)
    if house.low_disk and not remains:
        return Decision(DISK_LOW, address=lease.address)
    give = given.give_s if given is not None and not house.low_disk else remains
    waits = _ping_first(question, house, lease, rights, subnet, check=subnet.ping_check)
    if waits is not None:
        return waits
    house.table.offer(lease.address, question.client.key, question.now.mono)
    named = fqdn.NAMELESS
    if question.asked is not None or question.client.hostname:  # otherwise there is nothing to say, and no DNS work from an OFFER
        named = house.name(lease.address, subnet, question.client, question.asked)
    left: list[int] = []
    local = question.datagram.local_ip
    reply = offer(question.packet, subnet, question.reservation, lease.address, give, local, named.hostname, named.option, left)
    where = route(question.packet, lease.address)
    return Decision(OFFERED, None, None, reply, where, True, subnet, lease.address, f"{give} s", left)


def _ping_first(question: Question, house: House, lease: Lease, rights: Rights, subnet: Subnet, *, check: bool) -> Decision | None:
    """The client waits until its address was silent to a ping; None when it need not. `check`: also where only ping-check asks for it."""
    client, mono, probing, address = question.client, question.now.mono, house.probing, lease.address
    if question.reservation is not None or not probing.needed(lease, client.key, rights, mono, check=check):
        return None
    if question.kind in EXTENDS:  # it uses the address and would answer itself: no ping tells it from another host
        return None if lease.client == client.key else Decision(UNKNOWN_CLIENT, address=address, detail="no ping can tell")
    another = question.kind is not Kind.DISCOVER and probing.pinged_for(client.key) not in (0, address)
    if another or (probing.full(must=rights.probe) and probing.waits(address) is None):
        return _unpinged(question, TOO_MANY, address)
    if question.again and question.kind is not Kind.DISCOVER:
        return _unpinged(question, MUST_PING, address)  # it could not be sent
    house.table.offer(address, client.key, mono)
    return Decision(PINGING, address=address, detail=f"{subnet.ping_s} s", probe_s=subnet.ping_s, must_probe=rights.probe)


def _unpinged(question: Question, why: str, address: int) -> Decision:
    """No ping was possible: a client that chose this server is told to begin anew (RFC 2131 4.3.2), others hear nothing."""
    if question.kind is Kind.SELECTING:
        return _nak(question, why, address, "address not available")
    return Decision(why, address=address)


def _promise(question: Question, house: House, lease: Lease, rights: Rights, subnet: Subnet) -> Promise | None:
    """What may be promised anew, None for nothing: a lone boot, or the partner waits to give the address to the host of a reservation."""
    if house.table.kept_from(question.client.key, lease.address):
        return None
    return promise(lease, _want(question.packet, subnet), rights, question.wall)


def _remains(lease: Lease, question: Question, rights: Rights, given: Promise | None) -> int:
    """Seconds left of this client's own unexpired lease, 0 for none. By a clock that was set back since, an end is that much nearer than it
    reads (safety.md 10). What was noted since, perhaps, is no nearer than what may be promised anew."""
    if lease.state is not BindingState.ACTIVE or lease.client != question.client.key:
        return 0
    if lease.ends >= NEVER:
        return INFINITE
    reads = max(lease.ends - question.wall, 0)
    since = rights.set_back_at <= max(lease.cltt, lease.partner_cltt) <= question.wall
    return min(reads, max(reads - rights.behind_s, given.give_s if given is not None and since else 0))


# --- REQUEST ------------------------------------------------------------------------------------------------------------


def _selecting(question: Question, house: House) -> Decision:
    client = question.client
    ours = {question.datagram.local_ip} | {address for address, _ in house.addresses(question.datagram.interface)}
    if client.server_id not in ours:
        house.unheard.answered(client.key, question.place)
        return Decision(OTHER_SERVER, address=client.requested)
    return _request(question, house, client.requested, chosen=True)


def _init_reboot(question: Question, house: House) -> Decision:
    return _request(question, house, question.client.requested, chosen=False)


def _extending(question: Question, house: House) -> Decision:
    return _request(question, house, question.packet.ciaddr, chosen=False)


def _request(question: Question, house: House, address: int, *, chosen: bool) -> Decision:
    """A DHCPREQUEST for an address. `chosen`: the client took our offer, so a refusal is a NAK, never silence."""
    rights = _rights_at(address, house)
    if not rights.serve:
        return Decision(rights.why, address=address)
    subnet = question.subnet_of(address)
    if subnet is None:
        return _nak(question, WRONG_NETWORK, address, "wrong network")
    reserved = question.reservation
    if reserved is not None and reserved.address != address:
        return _nak(question, NAK_TAKEN, address, "another address is reserved for you")
    held = house.scopes.reserved.get(address)
    if reserved is None and house.table.pool_of(address) is None:
        return (
            _nak(question, NAK_TAKEN, address, "address not available")
            if chosen or held
            else Decision(UNKNOWN_CLIENT, address=address)
        )
    lease = house.table.get(address)
    no = _why_not(question, house, lease, rights, holds=not chosen)
    if no:
        sure = chosen or not rights.failover or rights.balanced or rights.partner_down_since is not None
        if (no == LEASED and sure) or chosen:
            return _nak(question, NAK_TAKEN, address, no)
        return Decision(no, address=address)
    if question.kind is Kind.INIT_REBOOT and lease.client != question.client.key and reserved is None:
        return Decision(UNKNOWN_CLIENT, address=address)
    return _grant(question, house, lease, rights, subnet)


def _why_not(question: Question, house: House, lease: Lease, rights: Rights, *, holds: bool) -> str:
    no = refusal(lease, question.client.key, rights, question.wall, holds=holds)
    if not no and house.table.offered_to(lease.address, question.now.mono) not in (b"", question.client.key):
        return LEASED
    return no


def _nak(question: Question, why: str, address: int, text: str) -> Decision:
    reply = nak(question.packet, question.datagram.local_ip, text)
    return Decision(why, reply=reply, route=route(question.packet, 0, is_nak=True), at_once=True, address=address, detail=text)


def _grant(question: Question, house: House, lease: Lease, rights: Rights, subnet: Subnet) -> Decision:
    """The ACK. What cannot be promised anew is answered with what remains, without a write (safety.md 7, 11)."""
    given = _promise(question, house, lease, rights, subnet)
    remains = _remains(lease, question, rights, given)
    if given is None or house.low_disk or (remains and given.ends < lease.ends):
        if not remains:
            return Decision(DISK_LOW if house.low_disk else LONE_BOOT, address=lease.address)
        named = house.name(lease.address, subnet, question.client, question.asked)
        confirmed = _confirmed(question, lease, rights)
        if confirmed is None and rights.failover:
            house.table.confirm(lease.address, question.wall)
        return _acked(question, REMAINING, lease, confirmed, subnet, remains, named)
    waits = _ping_first(question, house, lease, rights, subnet, check=False)
    if waits is not None:
        return waits
    house.unheard.served(question.client.key)
    named = house.name(lease.address, subnet, question.client, question.asked)
    return _acked(question, ACKED, lease, _leased(question, lease, rights, given, named), subnet, given.give_s, named)


def _leased(question: Question, lease: Lease, rights: Rights, given: Promise, named: fqdn.Named) -> Lease:
    """The lease after the ACK (failover-protocol.md 7.1): what the partner acked counts no further than what it is told now."""
    client, reservation = question.client, question.reservation
    hostname = client.hostname
    if reservation is not None and reservation.hostname:
        hostname = reservation.hostname
    elif question.asked is not None and question.asked.labels:
        hostname = ".".join(question.asked.labels)
    return lease.evolve(
        state=BindingState.ACTIVE,
        hw=client.hw or bytes((question.packet.htype,)),  # a partner refuses a binding without option 5 (failover-protocol.md 6.3)
        client_id=client.client_id,
        starts=question.wall,
        ends=given.ends,
        potential=given.potential,
        acked=min(lease.acked, given.potential),
        cltt=lease.cltt if rights.resolving else question.wall,  # renewals do not move what is compared (safety.md 19)
        not_before=0,
        owed=rights.failover,
        rejected=0,
        hostname=hostname,
        fqdn=named.fqdn,
        dns=named.dns,
        rev=named.rev,
        agent=question.packet.options.get(Code.AGENT_INFORMATION, b""),
        flags=FLAG_RESERVED if reservation is not None else 0,
    )


def _confirmed(question: Question, lease: Lease, rights: Rights) -> Lease | None:
    """The lease after an ACK of what remains: as it was. Without contact the client may have given it back to the partner before, whose
    RELEASED must not win over this ACK: so it is owed, one write at most for each lease and outage."""
    if not rights.failover or rights.balanced or lease.owed:
        return None
    return lease.evolve(cltt=lease.cltt if rights.resolving else question.wall, owed=True, rejected=0)


def _acked(question: Question, why: str, old: Lease, new: Lease | None, subnet: Subnet, give_s: int, named: fqdn.Named) -> Decision:
    left: list[int] = []
    local = question.datagram.local_ip
    reply = ack(question.packet, subnet, question.reservation, old.address, give_s, local, named.hostname, named.option, left)
    where = route(question.packet, old.address)
    return Decision(why, old, new, reply, where, False, subnet, old.address, f"{give_s} s", left, named.unusable)


# --- RELEASE, DECLINE, INFORM ---------------------------------------------------------------------------------------------


def _release(question: Question, house: House) -> Decision:
    address = question.packet.ciaddr
    rights = _rights_at(address, house)
    lease = house.table.get(address)
    if not rights.serve or rights.resolving:
        return Decision(rights.why, address=address)
    if lease.state is not BindingState.ACTIVE or lease.client != question.client.key:
        return Decision(NOT_LEASED, address=address)
    return Decision(RELEASED, lease, reclaim.released(lease, rights, question.wall), address=address)


def _decline(question: Question, house: House) -> Decision:
    address = question.client.requested
    lease, key = house.table.get(address), question.client.key
    holds = lease.state is BindingState.ACTIVE and lease.client == key
    offered = house.table.offered_to(address, question.now.mono) == key
    return found_in_use(DECLINED, lease, house, question.wall, entitled=holds or offered)


def found_in_use(why: str, lease: Lease, house: House, wall: int, *, entitled: bool) -> Decision:
    """Somebody is at an address that a client was to have: it rests for abandon-time. `entitled`: it was that client's to have."""
    rights, address = _rights_at(lease.address, house), lease.address
    if not rights.serve or rights.resolving:
        return Decision(rights.why, address=address)
    if not entitled:
        return Decision(NOT_LEASED, address=address)
    house.table.take_offer(address)
    return Decision(why, lease, reclaim.abandoned(lease, rights, wall, house.scopes.abandon_s), address=address)


def _inform(question: Question, house: House) -> Decision:
    subnet = question.subnet_of(question.packet.ciaddr) or question.network[0]
    reply = inform_ack(question.packet, subnet, question.reservation, question.datagram.local_ip)
    return Decision(INFORMED, reply=reply, route=inform_route(question.packet), at_once=True, address=question.packet.ciaddr)


_BY_KIND = {
    Kind.DISCOVER: _discover,
    Kind.SELECTING: _selecting,
    Kind.INIT_REBOOT: _init_reboot,
    Kind.RENEWING: _extending,
    Kind.REBINDING: _extending,
    Kind.RELEASE: _release,
    Kind.DECLINE: _decline,
    Kind.INFORM: _inform,
}
