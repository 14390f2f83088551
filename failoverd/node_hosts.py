"""What two failoverd tell each other of hosts: who answers a ping, and which addresses are reserved for whom (dialect 4).

A reservation that only the partner has is treated as one of our own: its address leaves its pool, nobody else gets it, and its client
gets it from both servers, outside failover. It is kept on disk, so that a restart alone honours it. The base of House.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace

from failoverd.ddns.names import dotted
from failoverd.dhcp.probing import FRESH_S, Probing
from failoverd.dhcp.scope import Reservation, Scopes
from failoverd.failover.endpoint import Endpoint
from failoverd.failover.message import Binding
from failoverd.failover.private import Ping
from failoverd.failover.reasons import PRIVATE_IGNORED
from failoverd.leases.lease import FLAG_RESERVED, BindingState, Lease
from failoverd.leases.mclt import rest_s
from failoverd.leases.rights import Rights
from failoverd.node_pair import PairTalk
from failoverd.notes import declare
from failoverd.ports import Kind, Now, Origin, Stored, Write

RESERVED_MOST = 10_000  # reservations of one partner that are kept
KEY_MOST = 255  # octets of a client's key that a frame carries
OURS = "reservations"  # the store's row of our own, those of pooled addresses
SHOWN = 10  # reservations of one side alone that status names

ONE_SIDED = declare(
    "reservation-of-one-server",
    "warning",
    "The two servers do not have the same reservations; `failoverctl status` names them. What only the partner has reserved, this server"
    " treats like a reservation of its own, without its options and name. Give both servers the same file.",
)
TOO_MANY = declare(
    "reservations-too-many",
    "error",
    f"The partner has more than {RESERVED_MOST} reservations in the subnets of this relationship; the others are not known here. Give both"
    " servers the same file.",
)

NOT_SHARED = declare(
    "reservations-not-shared",
    "warning",
    "The partner told reservations of addresses that are none of this relationship's: in a pool of another one, or of none, or in a subnet"
    " that shares no pool with the partner. They are ignored; the detail names some. Give both servers the same file.",
)

Reserved = dict[int, bytes]
"""Address -> the key of its client, as Lease.client has it."""


class HostTalk(PairTalk):
    """`theirs`: the partner's reservations, by relationship; a partner that never told any has no entry."""

    scopes: Scopes
    probing: Probing
    endpoints: dict[str, Endpoint]

    def change(self, old: Lease, new: Lease, origin: Origin, cause: str, now: Now) -> Lease:
        """The only place where a lease changes."""
        raise AssertionError("House does it")

    def endpoint_at(self, address: int) -> Endpoint | None:
        """The relationship that an address belongs to."""
        raise AssertionError("House knows it")

    def rights_of(self, relationship: str | None) -> Rights:
        """The rights of a relationship in this step."""
        raise AssertionError("House knows them")

    def note(self, name: str, now: Now, *, address: int = 0, subject: str = "", detail: str = "") -> None:
        """Say something to the operator."""
        raise AssertionError("House says it")

    def tell_partners(self, now: Now) -> None:
        """What came of this step beside leases."""
        self.tell_settled(self.endpoints.values())
        self._tell_pings(now)

    # --- pings ------------------------------------------------------------------------------------------------------------

    def _tell_pings(self, now: Now) -> None:
        """What became of the pings of this step, to the partners that may hear of it."""
        told, self.probing.untold = self.probing.untold, []
        for endpoint in self.endpoints.values() if told else ():
            at = [each for each in told if self.endpoint_at(each.address) is endpoint]
            endpoint.say_pings([Ping(each.address, each.heard, int(now.wall - now.mono + each.mono)) for each in at])

    def pings_told(self, relationship: str, pings: Sequence[Ping], now: Now) -> None:
        """The partner's pings: a fresh silence need not be proven again, and who answered is there. Neither changes a lease: what was
        found in use comes as ABANDONED by BNDUPD."""
        endpoint = self.endpoints[relationship]
        for address, heard, wall in pings:
            age = max(now.wall - wall, 0.0)
            if age > FRESH_S or self.endpoint_at(address) is not endpoint or self.table.get(address).state is BindingState.ACTIVE:
                continue
            if heard:
                self.probing.forget(address)
                self.table.deny(address, now.mono)
            else:
                self.probing.silence(address, now.mono - age)

    # --- reservations -----------------------------------------------------------------------------------------------------

    def begin_hosts(self, stored: Stored) -> None:
        """What the partners had reserved when they were last heard; after the table and the relationships are there."""
        self._ours_before = set(json.loads(stored.meta.get(OURS, "[]")))
        self._own_scopes = self.scopes
        self.theirs: dict[str, Reserved] = {}
        for name in self.endpoints:
            text = stored.meta.get(_row(name))
            if text is not None:
                told = {address: bytes.fromhex(client) for address, client in json.loads(text)}
                self.theirs[name] = {address: client for address, client in told.items() if self._may_reserve(name, address)}
                for address, client in self.theirs[name].items():
                    if address not in self._own_scopes.reserved:
                        self.table.keep(address, client)
        self._merge()

    def reserved_rows(self, relationship: str) -> list[tuple[bytes, bytes]]:
        """Our own reservations in the subnets that a relationship shares a pool of: (address, client's key), by address."""
        found = []
        for address, reservation in sorted(self._own_scopes.reserved.items()):
            subnet, key = self._own_scopes.subnet_at(address), key_of(reservation)
            shares = subnet is not None and any(pool.relationship == relationship for pool in subnet.pools)
            if shares and len(key) <= KEY_MOST:
                found.append((address.to_bytes(4, "big"), key))
        return found

    def reservations_told(self, relationship: str, rows: Sequence[Sequence[bytes]], now: Now) -> None:
        """All that the partner has reserved, in the place of what it told before."""
        told: Reserved = {}
        malformed, foreign = 0, set()
        for octets, client in rows:
            address = int.from_bytes(octets, "big")
            if len(octets) != 4 or len(client) < 2 or client[0] not in (0, 1):
                malformed += 1
            elif self._may_reserve(relationship, address):
                told[address] = client
            else:
                foreign.add(address)
        if malformed:
            self.note(PRIVATE_IGNORED, now, subject=relationship, detail=f"{malformed} malformed reservations")
        if foreign:
            detail = f"{len(foreign)}: {', '.join(map(dotted, sorted(foreign)[:SHOWN]))}"
            self.note(NOT_SHARED, now, subject=relationship, detail=detail)
        if len(told) > RESERVED_MOST:
            self.note(TOO_MANY, now, subject=relationship, detail=str(len(told)))
            told = dict(sorted(told.items())[:RESERVED_MOST])
        before = self.theirs.get(relationship, {})
        if relationship in self.theirs and told == before:
            return
        self.theirs[relationship] = told
        record = json.dumps([(address, client.hex()) for address, client in sorted(told.items())], separators=(",", ":"))
        self.out.writes.append(Write(Kind.META, _row(relationship).encode(), record, Origin.PARTNER, "reservations"))
        for address in sorted(set(before) - set(told)):
            self._put_back(address, now)
        for address, client in sorted(told.items()):
            if address not in self._own_scopes.reserved:
                self._rest(address, client, now)
                self.table.keep(address, client)
        self._merge()
        differences = self.one_sided(relationship)
        if differences:
            self.note(ONE_SIDED, now, subject=relationship, detail="; ".join(differences[:SHOWN]))

    def _may_reserve(self, relationship: str, address: int) -> bool:
        """Whether an address is the partner's to reserve: in a pool of its relationship, or in none and in a subnet that has such a pool.
        One in no subnet of ours is kept, too: it changes nothing here, and status names it."""
        home, subnet = self.table.home_of(address), self._own_scopes.subnet_at(address)
        if home is not None:
            return home.pool.relationship == relationship
        return subnet is None or any(pool.relationship == relationship for pool in subnet.pools)

    def _rest(self, address: int, client: bytes, now: Now) -> None:
        """An address is reserved that another client had from a pool: to this server's knowledge its lease ends, to the partner's later.
        Nothing is agreed on outside a pool, so its host waits as after any expiry that the partner may know of (safety.md 12)."""
        lease, subnet = self.table.get(address), self._own_scopes.subnet_at(address)
        free = (BindingState.FREE, BindingState.BACKUP, BindingState.ABANDONED)
        if subnet is None or lease.state in free or lease.flags & FLAG_RESERVED or client in (lease.client, b"\x00" + lease.hw):
            return
        names = {pool.relationship for pool in subnet.pools if pool.relationship is not None}
        waits = [rest_s(self.rights_of(name)) for name in names]
        until = max(lease.ends, lease.horizon) + max(waits, default=0)
        if waits and until > max(now.wall, lease.not_before):
            self.change(lease, lease.evolve(not_before=until), Origin.TIMER, "reserved for another", now)

    def claim_refused(self, relationship: str, binding: Binding, now: Now) -> bool:
        """The partner leased to another client what we have reserved: it had not heard of that (a plain link, an older file). The host
        waits until that lease is over; True when it does not, for it has a lease already."""
        address = binding.address or 0
        reservation, lease = self._own_scopes.reserved.get(address), self.table.get(address)
        hosts = binding.hw or b"", binding.client_id or b""
        ours = reservation is not None and self._may_reserve(relationship, address)
        if reservation is None or not ours or key_of(reservation) in (b"\x00" + hosts[0], b"\x01" + hosts[1]):
            return False
        if lease.state is BindingState.ACTIVE and lease.flags & FLAG_RESERVED:
            return True
        until = max(binding.ends or 0, binding.potential or 0) + rest_s(self.rights_of(relationship))
        if until > max(now.wall, lease.not_before):
            self.change(lease, lease.evolve(not_before=until), Origin.PARTNER, "reserved, leased by the partner", now)
        return False

    def _put_back(self, address: int, now: Now) -> None:
        """The partner no longer reserves it: in its pool again."""
        self.table.unkeep(address)
        self._unreserved(address, now)

    def reservations_read(self, now: Now) -> None:
        """In the first step: what the configuration reserves now and another client had from a pool waits; what it reserved when it was
        last read, or when it was leased, and reserves no longer goes back to its pool."""
        before, pooled = self._ours_before, self._pooled()
        if pooled != before:
            record = json.dumps(sorted(pooled), separators=(",", ":"))
            self.out.writes.append(Write(Kind.META, OURS.encode(), record, Origin.BOOT, "reservations"))
        flagged = {lease.address for lease in self.table.rows() if lease.flags & FLAG_RESERVED}
        for address in sorted(flagged | (before - pooled)):
            self._unreserved(address, now)
        for address, reservation in sorted(self._own_scopes.reserved.items()):
            self._rest(address, key_of(reservation), now)

    def _pooled(self) -> set[int]:
        """The addresses that we reserve in the range of a shared pool: part of that pool when the reservation is gone."""
        found: set[int] = set()
        for subnet in self.config.subnets:
            ranges = sorted(each for pool in subnet.pools if pool.relationship in self.endpoints for each in pool.ranges())
            for address in (each.address for each in subnet.reservations):
                at = bisect_right(ranges, (address, 0xFFFFFFFF)) - 1
                if at >= 0 and address <= ranges[at][1]:
                    found.add(address)
        return found

    def _unreserved(self, address: int, now: Now) -> None:
        """An address is part of its pool again. What became of it while it was reserved, neither server was told of the other: a lease is
        told now; else it is free for both when the partner agrees, as after the end of a lease in any pool (failover-protocol.md 7.4).
        So nobody takes for its own free half what the partner leases, or still believes to be reserved."""
        lease, endpoint, subnet = self.table.get(address), self.endpoint_at(address), self._own_scopes.subnet_at(address)
        if endpoint is None or subnet is None or _by_dhcpd(lease, endpoint):
            return
        new = lease.evolve(flags=lease.flags & ~FLAG_RESERVED, owed=True, rejected=0)
        if lease.state in (BindingState.FREE, BindingState.BACKUP):
            new.state = BindingState.EXPIRED if lease.hw else BindingState.RESET  # a partner refuses EXPIRED without a client
        if lease.state in (BindingState.FREE, BindingState.BACKUP) or lease.flags & FLAG_RESERVED:
            new.rewind = new.state  # nothing is known of the partner's view, so nothing is rewound (safety.md 13)
            new.horizon = max(lease.horizon, int(now.wall) + subnet.max_lease_s)  # of a partner that falls before it is heard
        if endpoint.record.lost_at:
            # What was granted here for the reservation and then forgotten, no partner can play back (safety.md 15; seed host158).
            new.not_before = max(new.not_before, endpoint.record.lost_at + subnet.max_lease_s)
        self.change(lease, new, Origin.TIMER, "no longer reserved", now)

    def _merge(self) -> None:
        """Scopes with the partners' reservations among our own, which come first."""
        own = self._own_scopes
        reserved, reservations = dict(own.reserved), dict(own.reservations)
        for told in self.theirs.values():
            for address, client in sorted(told.items()):
                subnet = own.subnet_at(address)
                if address in own.reserved or subnet is None:
                    continue
                hw, client_id = (client[1:], b"") if client[0] == 0 else (b"", client[1:])
                reserved[address] = reservation = Reservation(hw, client_id, address)
                if not any(subnet.holds(each.address) for each in own.reservations.get(client, ())):
                    reservations[client] = (*reservations.get(client, ()), reservation)
        self.scopes = replace(own, reserved=reserved, reservations=reservations)

    def one_sided(self, relationship: str) -> list[str]:
        """The reservations that only one of the two has, in words; none while the partner has told nothing."""
        if relationship not in self.theirs:
            return []
        theirs = self.theirs[relationship]
        ours = {int.from_bytes(octets, "big"): client for octets, client in self.reserved_rows(relationship)}
        found = []
        for address in sorted(set(ours) | set(theirs)):
            here, there = ours.get(address), theirs.get(address)
            if here != there:
                whose = f"here {_words(here)}, at the partner {_words(there)}"
                found.append(f"reservation of {dotted(address)}: {whose}")
        return found


def key_of(reservation: Reservation) -> bytes:
    """The key of its client."""
    return b"\x01" + reservation.client_id if reservation.client_id else b"\x00" + reservation.hw


def _by_dhcpd(lease: Lease, endpoint: Endpoint) -> bool:
    """Whether a dhcpd reserves the lease (its `reserved` flag, failover-protocol.md 6.3 step 9): it told the row just so. What we grant
    for a reservation of ours moves the end, and not what the partner acked."""
    flagged = endpoint.terms.partner_is_dhcpd and lease.flags & FLAG_RESERVED
    return bool(flagged) and (lease.acked, lease.acked_end) == (lease.potential, lease.ends)


def _words(client: bytes | None) -> str:
    if client is None:
        return "none"
    return f"for client-id {client[1:].hex(':')}" if client[0] else f"for {client[2:].hex(':')}"


def _row(relationship: str) -> str:
    return f"reserved:{relationship}"
