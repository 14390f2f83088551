"""The shape of the configuration: one model for each table, one field with its description for each key.

The JSON Schema and the documentation are made from this file. Keys are kebab-case in TOML. What a single value must look like is
config_values.py; what must hold between values is config_check.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

from pydantic import Field, PrivateAttr

from failoverd import config_digest
from failoverd.config_lines import Path, nearest
from failoverd.config_names import Naming, SiteNaming
from failoverd.config_problem import Problem
from failoverd.config_table import Table
from failoverd.config_values import (
    Address,
    ClientId,
    Domain,
    Duration,
    Endpoint,
    FilePath,
    Hardware,
    Hba,
    HostName,
    Interfaces,
    Listen,
    Name,
    OptionValue,
    Prefix,
    Range,
    Size,
    User,
    Word,
    dotted,
)

ISC_UNACKED = 100  # dhcpd's default for max-unacked-updates (failover-protocol.md 11.1)

T = TypeVar("T", bound=Table)


class Log(Table):
    """How this server logs, to standard error."""

    format: Literal["json", "console"] = Field(default="json", description="json: one object a line; console: for people")
    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="the lowest level that is written")


class Api(Table):
    """The control socket, and who may use it."""

    socket: FilePath = Field(default="/run/failoverd/api.sock", description="path of the Unix socket that failoverctl speaks to")
    operators: list[User] = Field(
        default=["root"], description='who may change things: users, "@group", or "*"; told apart by peer credentials'
    )
    readers: list[User] = Field(default=["*"], description='who may look: users, "@group", or "*"; operators always may')
    metrics: Listen = Field(
        default="127.0.0.1:9767", description='where Prometheus finds metrics: a loopback "address:port", "" for none'
    )


class Store(Table):
    """The database of leases on this server's disk."""

    path: FilePath = Field(default="/var/lib/failoverd/leases.db", description="path of the SQLite database")
    reserve: Size = Field(
        default="16MiB",
        validate_default=True,
        description="preallocated space, so that a full disk is noticed before a commit fails",
    )


class Server(Table):
    """One failoverd. Its own log, api and store keys, when given, stand in the place of the common ones."""

    interfaces: Interfaces = Field(min_length=1, description="network interfaces on which this server hears clients and relays")
    log: Log | None = Field(default=None, description="keys of [log] that differ on this server")
    api: Api | None = Field(default=None, description="keys of [api] that differ on this server")
    store: Store | None = Field(default=None, description="keys of [store] that differ on this server")


class Side(Table):
    """One end of a relationship: a failoverd of this file (server), or a foreign partner (kind)."""

    server: Word | None = Field(default=None, description="the name of the server in [servers]; left out for a foreign partner")
    kind: Literal["isc-dhcpd"] | None = Field(default=None, description="what a foreign partner is: isc-dhcpd (4.4.3)")
    address: Address = Field(description="the IPv4 address that this end uses for the failover connection")
    port: int = Field(default=647, ge=1, le=65535, description="the TCP port that this end listens on")
    max_unacked_updates: int | None = Field(
        default=None, ge=1, le=65535, description="foreign partner only: its own max-unacked-updates (dhcpd's default is 100)"
    )
    auto_partner_down: Duration | None = Field(
        default=None, description="auto-partner-down of this end alone, in the place of the relationship's"
    )
    certificate_name: HostName | None = Field(
        default=None, description="with tls: the DNS name that this end's certificate carries; left out: the name of the server"
    )


class Tls(Table):
    """TLS 1.3 on the failover connection; both ends show a certificate. "{server}" in a path stands for the server's own name."""

    cert_file: FilePath = Field(description="the server's own certificate, PEM, with certificate-name as DNS name")
    key_file: FilePath = Field(description="its private key, PEM without password; not readable by everybody")
    ca_file: FilePath = Field(description="the CA that signs both certificates, PEM; nothing else is trusted")


class Relationship(Table):
    """A failover relationship: two servers that share pools."""

    name: Name = Field(description="the name that pools and failoverctl use; the same, to the byte, at a dhcpd partner")
    primary: Side = Field(description="the primary end")
    secondary: Side = Field(description="the secondary end")
    mclt: Duration = Field(
        default="1h",
        validate_default=True,
        ge=1,
        description="maximum client lead time: how far a server may promise beyond what its partner has acknowledged; also the "
        "length of a client's first lease and of the wait after a partner was lost",
    )
    split: int | None = Field(
        default=None, ge=0, le=256, description="how many of the 256 hash buckets the primary serves (default 128); or hba"
    )
    hba: Hba | None = Field(
        default=None, description="the hash bucket assignment itself, 64 hex digits, bit set: the primary serves"
    )
    load_balance_max_seconds: Duration = Field(
        default=3,
        le=65535,
        description="a client that waits longer than this (secs of its request) is answered by both servers; 0: always by both",
    )
    max_response_delay: Duration = Field(
        default="30s", validate_default=True, ge=15, description="silence on the failover connection after which it counts as lost"
    )
    max_unacked_updates: int = Field(
        default=100,
        ge=1,
        le=65535,
        description="how many binding updates this relationship accepts before it has acknowledged them",
    )
    max_lease_misbalance: int = Field(
        default=15,
        ge=1,
        le=100,
        description="per cent of a pool's free addresses that one side may have too many before rebalancing",
    )
    max_lease_ownership: int = Field(
        default=10, ge=1, le=100, description="per cent by which rebalancing may leave the two halves of a pool unequal"
    )
    min_balance: Duration = Field(
        default="60s", validate_default=True, ge=1, description="shortest time between two rebalancings of a pool"
    )
    max_balance: Duration = Field(
        default="1h", validate_default=True, ge=1, description="longest time between two rebalancings of a pool"
    )
    lone_boot: Literal["bounded", "serve"] = Field(
        default="bounded",
        description="after a boot without the partner: bounded grants only what an unseen partner-down cannot contradict; serve "
        "grants as dhcpd does, and then a server that was declared down must not be booted alone",
    )
    zero_loss: Duration = Field(
        default="0s",
        validate_default=True,
        le=3,
        description="zero-loss mode: in normal a DHCPACK waits until the partner has acknowledged the lease, for at most this time (1s to "
        "3s; a dhcpd partner is made to acknowledge each update at once); 0s: never, as dhcpd",
    )
    auto_partner_down: Duration = Field(
        default="0s",
        validate_default=True,
        description="declare the partner down by itself after this time without contact; 0s: never (recommended)",
    )
    tls: Tls | None = Field(
        default=None,
        description="authenticate and encrypt the failover connection of two failoverd; left out: a plain one, as a dhcpd speaks it",
    )

    @property
    def sides(self) -> tuple[tuple[str, Side], tuple[str, Side]]:
        """Both ends with their keys."""
        return ("primary", self.primary), ("secondary", self.secondary)

    @property
    def bitmap(self) -> bytes:
        """The 32 octets of the hash bucket assignment: bucket b is byte b >> 3, mask 1 << (b & 7) (failover-protocol.md 9.3)."""
        if self.hba is not None:
            return self.hba
        return ((1 << (128 if self.split is None else self.split)) - 1).to_bytes(32, "little")

    def side_of(self, server: str) -> Side | None:
        """The end that `server` is, None when it is neither."""
        return next((side for _, side in self.sides if side.server == server), None)

    def certificate_name_of(self, side: Side) -> str:
        """The DNS name in the certificate of one end."""
        return side.certificate_name or side.server or ""

    def auto_partner_down_of(self, side: Side) -> int:
        """Seconds for one end, 0 for never."""
        return self.auto_partner_down if side.auto_partner_down is None else side.auto_partner_down


class Level(Table):
    """What may be said for all clients, for a shared network and for a subnet; the innermost wins, key by key."""

    options: dict[str, OptionValue] = Field(
        default={},
        description='DHCP options by name (RFC 2132) or number in quotes; { hex = "..." } gives the octets themselves',
    )
    boot_file: str | None = Field(default=None, max_length=127, description="the file field of replies: what network boot loads")
    next_server: Address | None = Field(default=None, description="the siaddr field of replies: where network boot loads it from")
    server_name: str | None = Field(default=None, max_length=63, description="the sname field of replies")


class Dhcp(Level):
    """What holds for all clients unless a shared network or a subnet says otherwise."""

    lease_time: Duration = Field(
        default="12h", validate_default=True, ge=1, description="lease time of a client that asks for none"
    )
    min_lease_time: Duration = Field(
        default="5m", validate_default=True, ge=1, description="shortest lease time that a client can ask for"
    )
    max_lease_time: Duration = Field(
        default="1d", validate_default=True, ge=1, description="longest lease time that a client can ask for"
    )
    abandon_time: Duration = Field(
        default="1d", validate_default=True, ge=1, description="how long an address that somebody else uses is left alone"
    )
    ping_check: bool = Field(
        default=True,
        description="ping an address before it is offered to a client that did not have it last; one that answers is left alone for "
        "abandon-time, and the client gets another",
    )
    ping_timeout: Duration = Field(
        default="1s", validate_default=True, ge=1, le=3, description="how long an OFFER waits for the answer to that ping"
    )


class Inner(Level):
    """Lease times below the common ones: left out, the outer level's hold."""

    lease_time: Duration | None = Field(default=None, ge=1, description="lease time of a client that asks for none")
    min_lease_time: Duration | None = Field(default=None, ge=1, description="shortest lease time that a client can ask for")
    max_lease_time: Duration | None = Field(default=None, ge=1, description="longest lease time that a client can ask for")
    ping_check: bool | None = Field(default=None, description="ping an address before it is offered to a client that is new on it")
    ping_timeout: Duration | None = Field(
        default=None, ge=1, le=3, description="how long an OFFER waits for the answer to that ping"
    )


class SharedNetwork(Inner):
    """Several subnets on one link."""

    name: Name = Field(description="the name that subnets use")


class Pool(Table):
    """Addresses that are leased to any client of the subnet."""

    name: Name | None = Field(default=None, description="the name in status and metrics; its first range when left out")
    range: list[Range] = Field(min_length=1, description='addresses: "first-last" or single ones; reserved ones are taken out')
    relationship: Name | None = Field(default=None, description="the relationship that shares this pool")
    server: Word | None = Field(default=None, description="for a pool without relationship: the only server that leases from it")
    ddns: Naming | None = Field(default=None, description="names of its clients, where they differ from the subnet's")

    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The ranges in order of address, touching ones joined."""
        joined: list[tuple[int, int]] = []
        for first, last in sorted(self.range):
            if joined and first <= joined[-1][1] + 1:
                joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
            else:
                joined.append((first, last))
        return tuple(joined)

    @property
    def label(self) -> str:
        """Its name, given or made."""
        first, last = self.ranges()[0]
        return self.name or f"{dotted(first)}-{dotted(last)}"


class Reservation(Table):
    """An address that belongs to one host, known by its hardware address or its client identifier."""

    hardware: Hardware | None = Field(default=None, description="the host's Ethernet address; or client-id")
    client_id: ClientId | None = Field(default=None, description='the host\'s option 61, in hex or { text = "name" }; or hardware')
    address: Address = Field(description="the address, inside the subnet; if a pool covers it, it is taken out of the pool")
    hostname: HostName | None = Field(
        default=None, description="the host's name: given to it, and used for DNS; a whole name with dots, or a label in the domain"
    )
    ddns: Naming | None = Field(default=None, description="names, where they differ from the subnet's")
    options: dict[str, OptionValue] = Field(default={}, description="options for this host, before those of its subnet")


class Subnet(Inner):
    """One subnet that this site serves, directly or through relays."""

    subnet: Prefix = Field(description="address and prefix length, like 10.10.0.0/22")
    shared_network: Name | None = Field(default=None, description="the shared network that this subnet belongs to")
    ddns: Naming | None = Field(default=None, description="DNS names for its clients, where they differ from [ddns]")
    pools: list[Pool] = Field(default=[], alias="pool", description="its dynamic addresses")
    reservations: list[Reservation] = Field(default=[], alias="reservation", description="its hosts with addresses of their own")


class Mirror(Table):
    """A second, independent master of a zone: the same names, with their own progress."""

    target: Word = Field(description="what this name server, or view of one, is called in status")
    primaries: list[Endpoint] = Field(min_length=1, description='its primary servers, tried in order: "address" or "address:port"')
    key_file: FilePath | None = Field(default=None, description="file with its TSIG key; left out: the zone's own key files")
    key_next_file: FilePath | None = Field(
        default=None, description="file with the key that it will know after a rollover; with a key-file of its own only"
    )
    allow_weak: bool | None = Field(
        default=None, description="whether its keys may be hmac-md5 or hmac-sha1; left out: as the zone says"
    )
    watch: list[Endpoint] = Field(
        default=[], description="its secondaries whose serial is watched; left out: those of the NS records"
    )
    watch_key_file: FilePath | None = Field(
        default=None,
        description="file with the key that its secondaries are asked with, where a key chooses the view; left out: none",
    )


class Zone(Table):
    """One DNS zone that failoverd keeps up to date."""

    target: Word = Field(default="main", description="the name server, or view of one, that has this zone; all are kept up to date")
    name: Domain = Field(description="the zone, forward or reverse")
    primaries: list[Endpoint] = Field(min_length=1, description='its primary servers, tried in order: "address" or "address:port"')
    key_file: FilePath = Field(description="file with the TSIG key, as tsig-keygen writes it")
    key_next_file: FilePath | None = Field(
        default=None,
        description="file with the key that the master will know after a rollover: used when it no longer takes that of key-file; "
        "the file may be missing until then",
    )
    allow_weak: bool = Field(default=False, description="true: the zone's keys may be hmac-md5 or hmac-sha1, which are too weak")
    static_key_file: FilePath | None = Field(
        default=None, description="file with the operator's own key for static entries in this zone; left out: that of [ddns]"
    )
    watch: list[Endpoint] = Field(default=[], description="secondaries whose serial is watched; left out: those of the NS records")
    watch_key_file: FilePath | None = Field(
        default=None,
        description="file with the key that the secondaries are asked with, where a key chooses the view; left out: none",
    )
    mirror_to: list[Mirror] = Field(default=[], description="independent masters that get everything that this zone gets")

    @property
    def masters(self) -> list[tuple[Path, Mirror]]:
        """The zone's own master and its mirrors, each with the path of its keys below the zone, key files filled in."""
        keys = {"key_file": self.key_file, "key_next_file": self.key_next_file}
        weak = {"allow_weak": self.allow_weak}
        own = Mirror.model_construct(target=self.target, primaries=self.primaries, watch=self.watch)
        own = own.model_copy(update={**keys, **weak, "watch_key_file": self.watch_key_file})
        mirrors: list[tuple[Path, Mirror]] = []
        for at, mirror in enumerate(self.mirror_to):
            more = {**({} if mirror.key_file else keys), **({} if mirror.allow_weak is not None else weak)}
            mirrors.append((("mirror-to", at), mirror.model_copy(update=more)))
        return [((), own), *mirrors]


class Ddns(SiteNaming):
    """What failoverd writes into DNS."""

    ttl: Duration = Field(
        default="0s", validate_default=True, description="TTL of records; 0s: a third of the lease time, within ttl-min and ttl-max"
    )
    ttl_min: Duration = Field(default="10m", validate_default=True, ge=1, description="shortest TTL when it follows the lease time")
    ttl_max: Duration = Field(default="1h", validate_default=True, ge=1, description="longest TTL when it follows the lease time")
    conflict_mode: Literal["check-with-dhcid", "check-exists-with-dhcid", "no-check-with-dhcid", "no-check-without-dhcid"] = Field(
        default="check-with-dhcid", description="whether a name that somebody else has may be taken over (RFC 4703; Kea's words)"
    )
    on_conflict: Literal["keep", "suffix", "take"] = Field(
        default="keep",
        description="what a client gets whose name is another's: keep: no name; suffix: name-2 to name-9, then name-<4 hex>, until its "
        "lease ends; take: the client that asked last has the name (not with check-with-dhcid)",
    )
    migrate_guards: Literal["on-renew", "reconcile", "never"] = Field(
        default="on-renew",
        description="on-renew: a name that dhcpd registered for the same client (interim TXT, DHCID of a mixed-case name or of the other "
        "identifier) is taken over when the client renews; reconcile: by failoverctl ddns repair only; never: it stays a conflict",
    )
    foreign_family_guard: Literal["refuse", "accept"] = Field(
        default="refuse",
        description="accept: an address may stand beside the AAAA that a DHCPv6 server registered for a DUID; its DHCID is not touched",
    )
    lag_warn: Duration = Field(
        default="60s", validate_default=True, ge=1, description="warn when a secondary shows a change later than this"
    )
    static_key_file: FilePath | None = Field(
        default=None, description="file with the operator's own TSIG key, for failoverctl ddns static; left out: no static entries"
    )
    zones: list[Zone] = Field(default=[], alias="zone", description="the zones")


class LeaseTimes(NamedTuple):
    """Seconds, and the path of the key that each comes from."""

    lease_s: int
    min_s: int
    max_s: int
    lease_path: Path
    min_path: Path
    max_path: Path


@dataclass(slots=True, frozen=True)
class Local:
    """What one server needs to know about itself; not part of the digest."""

    interfaces: list[str]
    log: Log
    api: Api
    store: Store


class Config(Table):
    """The configuration of a site: one file, the same on all its servers."""

    site: Word = Field(default="default", description="the name of this installation, for logs and status")
    servers: dict[Word, Server] = Field(min_length=1, description="the failoverd servers by name")
    log: Log = Field(default={}, validate_default=True, description="logging")
    api: Api = Field(default={}, validate_default=True, description="control socket and metrics")
    store: Store = Field(default={}, validate_default=True, description="the lease database")
    relationships: list[Relationship] = Field(default=[], alias="relationship", description="failover relationships")
    dhcp: Dhcp = Field(default={}, validate_default=True, description="what holds for all clients")
    shared_networks: list[SharedNetwork] = Field(default=[], alias="shared-network", description="links with several subnets")
    subnets: list[Subnet] = Field(default=[], alias="subnet", description="the subnets")
    ddns: Ddns = Field(default={}, validate_default=True, description="DNS updates")

    _warnings: list[Problem] = PrivateAttr(default_factory=list)
    _where: dict[Path, int] = PrivateAttr(default_factory=dict)
    _digest: str = PrivateAttr(default="")  # status asks often, and a large site takes a tenth of a second

    def came_from(self, where: dict[Path, int], warnings: list[Problem]) -> None:
        """Remember the lines of the file that this was read from, and what it was warned about."""
        self._where = where
        self._warnings = warnings

    def line(self, path: Path) -> int:
        """The line of a key, for problems that are found after reading."""
        return nearest(self._where, path)

    @property
    def warnings(self) -> list[Problem]:
        """What is allowed but probably not meant, in order of line."""
        return self._warnings

    def digest(self) -> str:
        """SHA-256, in hex, of what both servers of a pair must agree on; independent of formatting, order and place of defaults."""
        if not self._digest:
            self._digest = config_digest.digest(self)
        return self._digest

    def levels(self, subnet: int) -> tuple[tuple[Path, Dhcp | Inner], ...]:
        """Where the options and lease times of subnets[subnet] come from, outermost first, with the path of each."""
        out: list[tuple[Path, Dhcp | Inner]] = [(("dhcp",), self.dhcp)]
        for at, network in enumerate(self.shared_networks):
            if network.name == self.subnets[subnet].shared_network:
                out.append((("shared-network", at), network))
        out.append((("subnet", subnet), self.subnets[subnet]))
        return tuple(out)

    def lease_times(self, subnet: int) -> LeaseTimes:
        """The lease times that hold in subnets[subnet], each with the path that says so."""
        default, least, most = self.dhcp.lease_time, self.dhcp.min_lease_time, self.dhcp.max_lease_time
        paths: list[Path] = [("dhcp", "lease-time"), ("dhcp", "min-lease-time"), ("dhcp", "max-lease-time")]
        for path, level in self.levels(subnet)[1:]:
            if level.lease_time is not None:
                default, paths[0] = level.lease_time, (*path, "lease-time")
            if level.min_lease_time is not None:
                least, paths[1] = level.min_lease_time, (*path, "min-lease-time")
            if level.max_lease_time is not None:
                most, paths[2] = level.max_lease_time, (*path, "max-lease-time")
        return LeaseTimes(default, least, most, paths[0], paths[1], paths[2])

    def local(self, server: str) -> Local:
        """The settings of one server: the common tables with what it overrides."""
        own = self.servers[server]
        return Local(
            interfaces=own.interfaces,
            log=_over(self.log, own.log),
            api=_over(self.api, own.api),
            store=_over(self.store, own.store),
        )


def _over(common: T, own: T | None) -> T:
    if own is None:
        return common
    return common.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})
