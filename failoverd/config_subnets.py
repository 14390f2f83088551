"""What must hold between subnets, pools, reservations, options and lease times. See config_check.py for what a finding is."""

from __future__ import annotations

from collections.abc import Mapping

from failoverd.config_check import Findings, Names, listed
from failoverd.config_lines import Path
from failoverd.config_models import Config, Dhcp, Inner, Pool, Reservation, Subnet
from failoverd.config_options import encode
from failoverd.config_values import dotted, write_duration

ROUTERS = 3  # RFC 2132 3.5
DHCPD_SHORTEST_S = 130  # below this dhcpd's tolerance of 65 s decides what happens (safety.md, last paragraph)


def check_subnets(found: Findings, config: Config, names: Names) -> None:
    """Every finding about subnets and what is in them."""
    _networks(found, config, names)
    _overlaps(found, config)
    hosts = _hosts(config)
    pools: list[tuple[int, int, Path]] = []
    for at, subnet in enumerate(config.subnets):
        path: Path = ("subnet", at)
        if subnet.shared_network is not None and subnet.shared_network not in names.networks:
            text = f"there is no shared network {subnet.shared_network!r}; write one of {listed(names.networks)}, or add it"
            found.error((*path, "shared-network"), text)
        for index, pool in enumerate(subnet.pools):
            where: Path = (*path, "pool", index)
            _pool_owner(found, pool, where, config, names)
            for number, (first, last) in enumerate(pool.range):
                _range(found, subnet, (first, last), (*where, "range", number), hosts)
                pools.append((first, last, (*where, "range", number)))
        _reservations(found, subnet, path, hosts)
        _lease_times(found, config, at)
    _pool_overlaps(found, pools)
    _pool_names(found, config)
    _reserved_twice(found, config)
    _options(found, config)
    found.errors[:] = list(dict.fromkeys(found.errors))
    found.warnings[:] = list(dict.fromkeys(found.warnings))


def text_of(subnet: Subnet) -> str:
    """The name of a subnet: address/length."""
    return f"{dotted(subnet.subnet[0])}/{subnet.subnet[1]}"


def ends(subnet: Subnet) -> tuple[int, int]:
    """Its first and last address."""
    address, length = subnet.subnet
    return address, address | (0xFFFFFFFF >> length)


def usable(subnet: Subnet) -> tuple[int, int]:
    """The first and last address that a host can have: neither the network's own nor broadcast (a /31 has none, RFC 3021)."""
    first, last = ends(subnet)
    return (first, last) if subnet.subnet[1] >= 31 else (first + 1, last - 1)


def _span(first: int, last: int) -> str:
    return dotted(first) if first == last else f"{dotted(first)}-{dotted(last)}"


def _hosts(config: Config) -> dict[int, str]:
    """The addresses of the servers themselves, and which relationship says so."""
    return {
        side.address: f"the {key} of {relationship.name!r}"
        for relationship in config.relationships
        for key, side in relationship.sides
    }


def _networks(found: Findings, config: Config, names: Names) -> None:
    seen: set[str] = set()
    subnets = {text_of(subnet) for subnet in config.subnets}
    for at, network in enumerate(config.shared_networks):
        path: Path = ("shared-network", at, "name")
        if network.name in seen:
            found.error(path, f"there is another shared network {network.name!r}; give each its own name")
        seen.add(network.name)
        if network.name in subnets:
            found.error(path, f"{network.name} is also a subnet, and subnets are networks of that name; use another word")
        if network.name not in names.used_networks:
            found.warn(path, "no subnet is in this network; name it in a subnet (shared-network = ...), or remove it")


def _overlaps(found: Findings, config: Config) -> None:
    """Two subnets either are apart or one holds the other: compare each with the last one that reaches as far."""
    reach: tuple[int, Subnet] | None = None
    for at, subnet in sorted(enumerate(config.subnets), key=lambda each: (*each[1].subnet, each[0])):
        if reach is not None and subnet.subnet[0] <= ends(reach[1])[1]:
            later, other = (at, reach[1]) if at > reach[0] else (reach[0], subnet)
            text = f"{text_of(config.subnets[later])} overlaps {text_of(other)}; an address belongs to one subnet only"
            found.error(("subnet", later, "subnet"), text)
        else:
            reach = (at, subnet)


def _pool_owner(found: Findings, pool: Pool, path: Path, config: Config, names: Names) -> None:
    """Each dynamic address has exactly one owner: a relationship, or one server. Two servers without one would lease it twice."""
    if pool.relationship is not None and pool.server is not None:
        found.error((*path, "server"), "relationship is given too; keep one of them")
    elif pool.relationship is not None:
        if pool.relationship not in names.relationships:
            text = f"there is no relationship {pool.relationship!r}; write one of {listed(names.relationships)}, or add it"
            found.error((*path, "relationship"), text)
    elif pool.server is not None:
        if pool.server not in names.servers:
            text = f"there is no server {pool.server!r}; write one of {listed(names.servers)}"
            found.error((*path, "server"), text)
    elif len(names.servers) > 1:
        text = (
            "is missing, and two servers would lease the same addresses; "
            f"write one of {listed(names.relationships)}, or server = NAME to lease from one server only"
        )
        found.error((*path, "relationship"), text)


def _range(found: Findings, subnet: Subnet, span: tuple[int, int], path: Path, hosts: Mapping[int, str]) -> None:
    first, last = span
    low, high = usable(subnet)
    if first < ends(subnet)[0] or last > ends(subnet)[1]:
        text = f"{_span(first, last)} is not inside {text_of(subnet)}; stay within {_span(low, high)}"
        found.error(path, text)
    elif first < low or last > high:
        which = "network" if first < low else "broadcast"
        text = f"{_span(first, last)} holds the {which} address of {text_of(subnet)}; stay within {_span(low, high)}"
        found.error(path, text)
    for address, whose in sorted(hosts.items()):
        if first <= address <= last:
            found.error(path, f"holds {dotted(address)}, the address of {whose}; leave it out, or it will be leased to a client")


def _pool_overlaps(found: Findings, ranges: list[tuple[int, int, Path]]) -> None:
    """Across all subnets, so that a range in the wrong subnet is named too. The later one in the file is the wrong one."""
    reach: tuple[int, int, Path] | None = None
    for each in sorted(ranges, key=lambda each: each[:2]):
        if reach is not None and each[0] <= reach[1]:
            earlier, later = (reach, each) if _indices(reach[2]) < _indices(each[2]) else (each, reach)
            text = f"{_span(*later[:2])} overlaps {_span(*earlier[:2])}; an address belongs to one pool only"
            found.error(later[2], text)
        if reach is None or each[1] > reach[1]:
            reach = each


def _indices(path: Path) -> tuple[int, ...]:
    return tuple(part for part in path if isinstance(part, int))


def _pool_names(found: Findings, config: Config) -> None:
    seen: set[str] = set()
    for at, subnet in enumerate(config.subnets):
        reserved = {each.address for each in subnet.reservations}
        for index, pool in enumerate(subnet.pools):
            path: Path = ("subnet", at, "pool", index)
            name = pool.label
            if name in seen:
                found.error((*path, "name"), f"there is another pool {name!r}; give each its own name, or none")
            seen.add(name)
            size = sum(last - first + 1 for first, last in pool.ranges())
            if size == sum(first <= address <= last for address in reserved for first, last in pool.ranges()):
                found.error((*path, "range"), "every address of this pool is reserved; add addresses, or remove the pool")


def _reservations(found: Findings, subnet: Subnet, path: Path, hosts: Mapping[int, str]) -> None:
    low, high = usable(subnet)
    clients: dict[bytes, Reservation] = {}
    hostnames: set[str] = set()
    for at, reservation in enumerate(subnet.reservations):
        where: Path = (*path, "reservation", at)
        if (reservation.hardware is None) == (reservation.client_id is None):
            what = "neither hardware nor client-id is" if reservation.hardware is None else "hardware and client-id are both"
            found.error((*where, "hardware"), f"{what} given; write exactly one, by which the host is known")
        if not low <= reservation.address <= high:
            text = f"{dotted(reservation.address)} is not a host address of {text_of(subnet)}; stay within {_span(low, high)}"
            found.error((*where, "address"), text)
        if reservation.address in hosts:
            text = f"{dotted(reservation.address)} is the address of {hosts[reservation.address]}; reserve another"
            found.error((*where, "address"), text)
        client = client_key(reservation)
        if client in clients:
            key = "hardware" if reservation.client_id is None else "client-id"
            text = (
                f"this host has {dotted(clients[client].address)} in {text_of(subnet)} already; one address a subnet for each host"
            )
            found.error((*where, key), text)
        clients.setdefault(client, reservation)
        if reservation.hostname is not None:
            if reservation.hostname.lower() in hostnames:
                found.warn(
                    (*where, "hostname"), f"{reservation.hostname} is another host's name too; only one of them gets it in DNS"
                )
            hostnames.add(reservation.hostname.lower())


def client_key(reservation: Reservation) -> bytes:
    """The key of its client, as Lease.client has it."""
    if reservation.client_id is not None:
        return b"\x01" + reservation.client_id
    return b"\x00" + (reservation.hardware or b"")


def _reserved_twice(found: Findings, config: Config) -> None:
    seen: set[int] = set()
    for at, subnet in enumerate(config.subnets):
        for index, reservation in enumerate(subnet.reservations):
            if reservation.address in seen:
                text = f"{dotted(reservation.address)} is reserved for another host already; give each its own address"
                found.error(("subnet", at, "reservation", index, "address"), text)
            seen.add(reservation.address)


def _lease_times(found: Findings, config: Config, at: int) -> None:
    times = config.lease_times(at)
    lease, least, most = map(write_duration, times[:3])
    if times.lease_s < times.min_s:
        found.error(times.lease_path, f"{lease} is less than min-lease-time {least}; write {least} or more, or lower that")
    if times.lease_s > times.max_s:
        found.error(times.lease_path, f"{lease} is more than max-lease-time {most}; write {most} or less, or raise that")
    for index, pool in enumerate(config.subnets[at].pools):
        relationship = next((each for each in config.relationships if each.name == pool.relationship), None)
        if relationship is None:
            continue
        mclt, path = write_duration(relationship.mclt), ("subnet", at, "pool", index, "relationship")
        of = f"the mclt {mclt} of {relationship.name!r}"
        if relationship.mclt > times.lease_s:
            text = f"{of} exceeds the lease time {lease} and only prolongs waits; lower the mclt"
            found.warn(path, text)
        if times.min_s > relationship.mclt:
            text = f"{least} is longer than {of}, which no first lease exceeds; write {mclt} or less"
            found.warn(times.min_path, text)
        if any(side.kind for _, side in relationship.sides) and times.lease_s < DHCPD_SHORTEST_S:
            text = (
                f"{lease} is within what dhcpd tolerates between two clocks; write {DHCPD_SHORTEST_S}s or more with a dhcpd partner"
            )
            found.warn(times.lease_path, text)


def _options(found: Findings, config: Config) -> None:
    """Every table of options: encoded once to see whether it can be, and compared with the subnet that it is sent in."""
    levels: list[tuple[Path, Dhcp | Inner]] = [(("dhcp",), config.dhcp)]
    levels += [(("shared-network", at), network) for at, network in enumerate(config.shared_networks)]
    for path, level in levels:
        _table(found, level.options, (*path, "options"))
    for at, subnet in enumerate(config.subnets):
        routers = _table(found, subnet.options, ("subnet", at, "options")).get(ROUTERS)
        if routers is not None:
            _routers(found, subnet, *routers)
        for index, reservation in enumerate(subnet.reservations):
            _table(found, reservation.options, ("subnet", at, "reservation", index, "options"))


def _table(found: Findings, options: Mapping[str, object], path: Path) -> dict[int, tuple[Path, bytes]]:
    out: dict[int, tuple[Path, bytes]] = {}
    for key, value in options.items():
        try:
            code, octets = encode(key, value)
        except ValueError as error:
            found.error((*path, key), str(error))
            continue
        if code in out:
            found.error((*path, key), f"is option {code}, which {out[code][0][-1]} sets already; keep one of them")
        out[code] = ((*path, key), octets)
    return out


def _routers(found: Findings, subnet: Subnet, path: Path, octets: bytes) -> None:
    first, last = ends(subnet)
    for at in range(0, len(octets), 4):
        router = int.from_bytes(octets[at : at + 4], "big")
        if not first <= router <= last:
            found.warn(
                path, f"{dotted(router)} is not inside {text_of(subnet)}: clients cannot reach it; write a router of this subnet"
            )
        for pool in subnet.pools:
            if any(low <= router <= high for low, high in pool.range) and router not in {r.address for r in subnet.reservations}:
                found.warn(path, f"{dotted(router)} lies in a pool: it may be leased to a client; leave it out of the range")
