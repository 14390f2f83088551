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
    """One subnet. `options`: code -> value, global, network and subnet levels merged (subnet-mask not included).
    `ddns_domain`: absolute with trailing dot, "" for no forward names. `name_template`: for clients without a name, "" for none."""

    name: str
    prefix: int
    length: int
    network: str
    pools: tuple[Pool, ...]
    options: dict[int, bytes]
    lease_s: int
    min_lease_s: int
    max_lease_s: int
    ddns_domain: str = ""
    name_template: str = ""
    boot_file: str = ""
    next_server: int = 0
    server_name: str = ""

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
