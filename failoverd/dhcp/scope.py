"""The plain values that answering a client reads: subnets, shared networks, reservations, options already encoded.

Made from the configuration once; nothing here is looked up by name on the packet path.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from failoverd.leases.pool import Pool


@dataclass(slots=True, frozen=True)
class Reservation:
    """A host with an address of its own. Matched by client_id if set, else by hw (htype octet + chaddr)."""

    hw: bytes
    client_id: bytes
    address: int
    hostname: str = ""
    options: dict[int, bytes] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class Subnet:
    """One subnet. `options`: code -> value, global, network and subnet levels merged (subnet-mask not included). `ping_check`: whether an
    address is pinged before it is offered to a client that is new on it; `ping_s`: how long an answer is waited for."""

    name: str
    prefix: int
    length: int
    network: str
    pools: tuple[Pool, ...]
    options: dict[int, bytes]
    lease_s: int
    min_lease_s: int
    max_lease_s: int
    boot_file: str = ""
    next_server: int = 0
    server_name: str = ""
    ping_check: bool = False
    ping_s: int = 1
    # What answer.py has encoded so far: parameter request list -> options as octets. A cache, no part of the value.
    blobs: dict[bytes, bytes] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def mask(self) -> int:
        """The netmask as an integer."""
        return (0xFFFFFFFF << (32 - self.length)) & 0xFFFFFFFF

    def holds(self, address: int) -> bool:
        """Whether the address lies in this subnet."""
        return address & self.mask == self.prefix


@dataclass(slots=True, frozen=True)
class Scopes:
    """All subnets of this server. `networks`: shared network name (or the subnet's own name) -> its subnets.
    `reservations`: client key (as Lease.client) -> its reservations, at most one a subnet."""

    subnets: tuple[Subnet, ...]
    networks: dict[str, tuple[Subnet, ...]]
    reservations: dict[bytes, tuple[Reservation, ...]]
    reserved: dict[int, Reservation]
    abandon_s: int = 86400
    # (mask, prefix -> subnet), longest prefix first: at most 33 lookups, whatever the number of subnets.
    _index: tuple[tuple[int, dict[int, Subnet]], ...] = field(default=(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Make the index of `subnet_at`."""
        tables: dict[int, dict[int, Subnet]] = {}
        for subnet in self.subnets:
            tables.setdefault(subnet.mask, {})[subnet.prefix] = subnet
        object.__setattr__(self, "_index", tuple(sorted(tables.items(), reverse=True)))

    def subnet_at(self, address: int) -> Subnet | None:
        """The subnet that an address lies in, the most specific one; None for none."""
        for mask, table in self._index:
            subnet = table.get(address & mask)
            if subnet is not None:
                return subnet
        return None
