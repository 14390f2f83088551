"""The configuration of one server as the values that the rooms read: Scopes for dhcp, Terms for failover, DnsPlan for ddns.

Everything is encoded, merged and sorted here, once; a room looks nothing up by name. This file decides one thing: which subnets a
server answers for (`scopes`). It must be given a Config that was validated.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from failoverd.config import pick_server
from failoverd.config_models import ISC_UNACKED, Config, Dhcp, Inner, Pool, Relationship, Side
from failoverd.config_options import encode_all
from failoverd.config_subnets import client_key, text_of
from failoverd.config_values import dotted
from failoverd.ddns import zone as ddns
from failoverd.ddns.propagation import WatchedZone, WatchPlan
from failoverd.dhcp import scope as dhcp
from failoverd.failover.terms import Terms, Tls
from failoverd.leases.pool import Pool as LeasePool

__all__ = ["dns_plan", "pick_server", "scopes", "terms", "watch_plan"]

T = TypeVar("T")


def scopes(config: Config, server: str) -> dhcp.Scopes:
    """The subnets that `server` answers for, and its part of their pools.

    A network (a shared one, or a subnet by itself) is this server's when it leases from one of its pools, or when it has no pool at
    all: on a link that only other servers lease from it must stay silent, because it would NAK their clients (RFC 2131 4.3.2).
    """
    members: dict[str, list[int]] = {}
    for at, subnet in enumerate(config.subnets):
        members.setdefault(subnet.shared_network or text_of(subnet), []).append(at)
    mine = _relationships_of(config, server)
    networks: dict[str, tuple[dhcp.Subnet, ...]] = {}
    reservations: dict[bytes, list[dhcp.Reservation]] = {}
    reserved: dict[int, dhcp.Reservation] = {}
    for network in sorted(members):
        pools = [pool for at in members[network] for pool in config.subnets[at].pools]
        if pools and not any(_leases_from(config, pool, server, mine) for pool in pools):
            continue
        own = [_subnet(config, at, network, server, mine) for at in members[network]]
        networks[network] = tuple(sorted(own, key=lambda subnet: subnet.prefix))
        for at in members[network]:
            for client, reservation in _reservations(config, at):
                reservations.setdefault(client, []).append(reservation)
                reserved[reservation.address] = reservation
    subnets = sorted((subnet for each in networks.values() for subnet in each), key=lambda subnet: subnet.prefix)
    by_client = {client: tuple(sorted(each, key=lambda r: r.address)) for client, each in reservations.items()}
    return dhcp.Scopes(tuple(subnets), networks, by_client, reserved, config.dhcp.abandon_time)


def _relationships_of(config: Config, server: str) -> frozenset[str]:
    return frozenset(each.name for each in config.relationships if each.side_of(server))


def _leases_from(config: Config, pool: Pool, server: str, mine: frozenset[str]) -> bool:
    if pool.relationship is not None:
        return pool.relationship in mine
    return pool.server == server or (pool.server is None and len(config.servers) == 1)


def _subnet(config: Config, at: int, network: str, server: str, mine: frozenset[str]) -> dhcp.Subnet:
    subnet = config.subnets[at]
    levels = [level for _, level in config.levels(at)]
    taken = sorted(each.address for each in subnet.reservations)
    pools = [
        LeasePool(pool.label, network, pool.relationship, without(pool.ranges(), taken))
        for pool in subnet.pools
        if _leases_from(config, pool, server, mine)
    ]
    options: dict[int, bytes] = {}
    for level in levels:
        options.update(encode_all(level.options))
    times = config.lease_times(at)
    return dhcp.Subnet(
        name=text_of(subnet),
        prefix=subnet.subnet[0],
        length=subnet.subnet[1],
        network=network,
        pools=tuple(sorted(pools, key=lambda pool: pool.ranges)),
        options=dict(sorted(options.items())),
        lease_s=times.lease_s,
        min_lease_s=times.min_s,
        max_lease_s=times.max_s,
        boot_file=_innermost(level.boot_file for level in levels) or "",
        next_server=_next_server(levels),
        server_name=_innermost(level.server_name for level in levels) or "",
        ping_check=bool(_innermost(level.ping_check for level in levels)),
        ping_s=_innermost(level.ping_timeout for level in levels) or 0,
    )


def _innermost(values: Iterable[T | None]) -> T | None:
    """The last value that is given."""
    found: T | None = None
    for value in values:
        found = found if value is None else value
    return found


def _next_server(levels: list[Dhcp | Inner]) -> int:
    found = 0
    for level in levels:
        found = found if level.next_server is None else level.next_server
    return found


def without(ranges: tuple[tuple[int, int], ...], taken: list[int]) -> tuple[tuple[int, int], ...]:
    """Sorted, disjoint (first, last) ranges with the sorted addresses of `taken` cut out."""
    out: list[tuple[int, int]] = []
    for first, last in ranges:
        low = first
        for address in taken:
            if low <= address <= last:
                if low < address:
                    out.append((low, address - 1))
                low = address + 1
        if low <= last:
            out.append((low, last))
    return tuple(out)


def _reservations(config: Config, at: int) -> list[tuple[bytes, dhcp.Reservation]]:
    out = []
    for each in config.subnets[at].reservations:
        options = encode_all(each.options)
        value = dhcp.Reservation(
            each.hardware or b"", each.client_id or b"", each.address, (each.hostname or "").partition(".")[0], options
        )
        out.append((client_key(each), value))
    return out


def terms(config: Config, server: str) -> dict[str, Terms]:
    """The relationships that `server` is an end of, seen from it, by name."""
    out: dict[str, Terms] = {}
    for relationship in sorted(config.relationships, key=lambda each: each.name):
        own = relationship.side_of(server)
        if own is not None:
            partner = relationship.secondary if own is relationship.primary else relationship.primary
            out[relationship.name] = _terms(config, relationship, own, partner)
    return out


def _terms(config: Config, relationship: Relationship, own: Side, partner: Side) -> Terms:
    pools = [pool for subnet in config.subnets for pool in subnet.pools if pool.relationship == relationship.name]
    foreign = partner.kind is not None
    return Terms(
        name=relationship.name,
        primary=own is relationship.primary,
        local_address=own.address,
        local_port=own.port,
        partner_address=partner.address,
        partner_port=partner.port,
        mclt_s=relationship.mclt,
        hba=relationship.bitmap,
        load_balance_max_s=relationship.load_balance_max_seconds,
        max_response_delay_s=relationship.max_response_delay,
        max_unacked=relationship.max_unacked_updates,
        max_misbalance=relationship.max_lease_misbalance,
        max_ownership=relationship.max_lease_ownership,
        min_balance_s=relationship.min_balance,
        max_balance_s=relationship.max_balance,
        auto_partner_down_s=relationship.auto_partner_down_of(own),
        zero_loss_s=relationship.zero_loss,
        lone_boot_serve=relationship.lone_boot == "serve",
        partner_is_dhcpd=foreign,
        partner_max_unacked=(partner.max_unacked_updates or ISC_UNACKED) if foreign else relationship.max_unacked_updates,
        pools=tuple(pool.label for pool in sorted(pools, key=lambda pool: pool.ranges())),
        tls=_tls(relationship, own, partner),
    )


def _tls(relationship: Relationship, own: Side, partner: Side) -> Tls | None:
    """ "{server}" in a path is the name of this server."""
    if relationship.tls is None or own.server is None:
        return None
    name = own.server
    cert, key, ca = (
        str(path).replace("{server}", name)
        for path in (relationship.tls.cert_file, relationship.tls.key_file, relationship.tls.ca_file)
    )
    return Tls(cert, key, ca, relationship.certificate_name_of(own), relationship.certificate_name_of(partner))


def dns_plan(config: Config) -> ddns.DnsPlan:
    """The zones and rules; the shell reads the key files and learns the names of the keys."""
    rules = config.ddns
    zones = [
        ddns.Zone(
            master.target,
            zone.name,
            _endpoints(master.primaries),
            str(master.key_file),
            key_next_file=str(master.key_next_file or ""),
            static_key_file=zone.static_key_file or rules.static_key_file or "",
            allow_weak=bool(master.allow_weak),
        )
        for zone in rules.zones
        for _, master in zone.masters
    ]
    return ddns.DnsPlan(
        zones=tuple(sorted(zones, key=lambda zone: (zone.target, zone.name))),
        ttl_s=rules.ttl,
        ttl_percent=rules.ttl_percent or 0,
        ttl_min_s=rules.ttl_min,
        ttl_max_s=rules.ttl_max,
        conflict_mode=rules.conflict_mode,
        on_conflict=rules.on_conflict,
        migrate_guards=rules.migrate_guards == "on-renew",
        migrate_on_repair=rules.migrate_guards != "never",
        accept_family=rules.foreign_family_guard == "accept",
        follow=tuple(
            ddns.Followed(*each.prefix, each.zone)
            for each in sorted(rules.reverse_maps, key=lambda each: -each.prefix[1])
            if each.follow_cname
        ),
    )


def watch_plan(config: Config) -> WatchPlan:
    """What is watched at the secondaries of each zone."""
    zones = [
        WatchedZone(
            master.target, zone.name, _endpoints(master.watch), str(master.watch_key_file or ""), allow_weak=bool(master.allow_weak)
        )
        for zone in config.ddns.zones
        for _, master in zone.masters
    ]
    return WatchPlan(tuple(sorted(zones, key=lambda zone: (zone.target, zone.name))), config.ddns.lag_warn)


def _endpoints(values: Iterable[tuple[int, int]]) -> tuple[tuple[str, int], ...]:
    return tuple((dotted(address), port) for address, port in values)
