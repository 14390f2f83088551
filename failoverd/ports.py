"""What goes into a Node and what comes out of it.

DHCP and failover cross as bytes, so the simulator and the fuzzers exercise the codecs and a recorded trace replays bit for bit;
DNS crosses as Update/Query/Answer values. Addresses are integers (family 4 here; the store's keys carry the family).

The law of this file (safety.md 1): a send in `Output.at_once` may leave at once; a send in `Output.after_commit` leaves only after
the commit of this output's writes and of all outputs before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from failoverd.notes import Note


class Now(NamedTuple):
    """The two clocks of one step. `wall`: UTC seconds since 1970. `mono`: CLOCK_BOOTTIME seconds."""

    wall: float
    mono: float


# --- inputs -----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class ClientDatagram:
    """One UDP datagram from a client or a relay. `local_ip` is the address of ours that a reply should come from
    (the interface's primary address when the datagram was a broadcast). `mono` is its arrival."""

    interface: str
    local_ip: int
    src_ip: int
    src_port: int
    dst_ip: int
    data: bytes
    mono: float


@dataclass(slots=True)
class InterfaceAddresses:
    """The addresses of one interface, (address, prefix length), primary first. Replaces what was said before."""

    interface: str
    addresses: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class LinkUp:
    """A connection with the partner of a relationship is established. `link` is unique in this process. `authenticated`: by TLS, both
    certificates checked (safety.md 26)."""

    relationship: str
    link: int
    outgoing: bool
    authenticated: bool = False


@dataclass(slots=True)
class LinkBytes:
    relationship: str
    link: int
    data: bytes


@dataclass(slots=True)
class LinkDown:
    """The connection ended (EOF, reset, or closed by us)."""

    relationship: str
    link: int
    reason: str


@dataclass(slots=True)
class ConnectFailed:
    """No link came of an attempt. `answered`: somebody is there, but TLS came to nothing: that does not say that the partner is down."""

    relationship: str
    reason: str
    answered: bool = False


@dataclass(slots=True)
class LinkSecurity:
    """What is known of a relationship's TLS. Times in UTC seconds, 0 for unknown. `until`, `partner_until`: when the two certificates
    expire. `problem`: why our newest files cannot be used, "" when they can. `refused`: the last link that TLS refused (a note's name
    and its detail) since one was made, "" for none; `refused_at` when."""

    relationship: str
    until: float = 0.0
    partner_until: float = 0.0
    problem: str = ""
    refused: str = ""
    refused_at: float = 0.0


@dataclass(slots=True)
class DnsAnswer:
    """What became of one DnsUpdate or DnsQuery.

    `rcode` is an rcode of a verified reply ("NOERROR", "YXDOMAIN", ...), or "TIMEOUT", "UNREACHABLE", "BADKEY", "BADSIG",
    "BADTIME", "INTERNAL" (our own encoding failed). `records`: for a query, (type, rdata text) at the name. `copies`: how many
    copies of the message left us, so that one of them may still be on its way; 0 for not known.
    """

    ident: int
    rcode: str
    server: str
    detail: str = ""
    records: tuple[tuple[str, str], ...] = ()
    elapsed_s: float = 0.0
    copies: int = 0


@dataclass(slots=True)
class ProbeAnswer:
    """What became of a Probe. `heard`: somebody answers at the address; otherwise the probe could not be sent, and `detail` says why. No
    answer is no input: the node waits for it as long as it wants to. `mono`: when."""

    address: int
    heard: bool
    mono: float
    detail: str = ""


@dataclass(slots=True)
class ZoneHosts:
    """The hosts that the NS and MX records of a zone name now: no client may be called so. Absolute names, any case."""

    zone: str
    hosts: tuple[str, ...]


@dataclass(slots=True)
class Command:
    """A verb from the API. `who` is the user, `why` the operator's reason; answered by one Reply with the same ident."""

    ident: int
    verb: str
    args: Mapping[str, str]
    who: str
    why: str = ""


@dataclass(slots=True)
class ClockState:
    """What the kernel says of the wall clock (adjtimex)."""

    synchronised: bool


@dataclass(slots=True)
class DiskState:
    """The room on the disk (safety.md 7). `low`: no new clients, renewals get the remaining time without a write."""

    low: bool


@dataclass(slots=True)
class Stopping:
    """SIGTERM: finish what is owed, then stop. The node answers with its last sends."""


Input = (
    ClientDatagram
    | InterfaceAddresses
    | LinkUp
    | LinkBytes
    | LinkDown
    | ConnectFailed
    | LinkSecurity
    | DnsAnswer
    | ProbeAnswer
    | ZoneHosts
    | Command
    | ClockState
    | DiskState
    | Stopping
)


# --- outputs ----------------------------------------------------------------------------------------------------------


class Kind(StrEnum):
    """The tables that journal records fold into."""

    LEASE = "lease"
    DDNS = "ddns"
    RELATIONSHIP = "relationship"
    EVENT = "event"
    META = "meta"
    CONFLICT = "conflict"


class Origin(StrEnum):
    """Who caused a change."""

    CLIENT = "client"
    PARTNER = "partner"
    TIMER = "timer"
    OPERATOR = "operator"
    DNS = "dns"
    BOOT = "boot"


@dataclass(slots=True)
class Write:
    """One journal record. `record` is JSON text, None deletes the row. `key` is unique within the kind."""

    kind: Kind
    key: bytes
    record: str | None
    origin: Origin
    cause: str = ""


@dataclass(slots=True)
class ClientSend:
    """One datagram to a client or relay. `hw`: the client has no address yet, so a raw frame to this Ethernet address;
    None: an ordinary datagram (or a broadcast when dst_ip is 255.255.255.255)."""

    interface: str
    src_ip: int
    dst_ip: int
    dst_port: int
    data: bytes
    hw: bytes | None = None
    mono: float = 0.0


@dataclass(slots=True)
class Probe:
    """Ask with one ICMP echo request whether anybody answers at an address; a ProbeAnswer says so."""

    address: int


@dataclass(slots=True)
class LinkConnect:
    """Open a connection to the partner (2 s connect timeout, the shell's); answered by LinkUp or ConnectFailed."""

    relationship: str


@dataclass(slots=True)
class LinkSend:
    relationship: str
    link: int
    data: bytes


@dataclass(slots=True)
class LinkClose:
    """Flush what was sent on this link and close it; the shell still answers with LinkDown."""

    relationship: str
    link: int
    reason: str


class Prereq(NamedTuple):
    """One prerequisite of RFC 2136 2.4: op in nxdomain, yxdomain, nxrrset, yxrrset. `values`: yxrrset value dependent."""

    op: str
    name: str
    rtype: str = ""
    values: tuple[str, ...] = ()


class Change(NamedTuple):
    """One update of RFC 2136 2.5: op in add, del-rrset, del-rr, del-name."""

    op: str
    name: str
    rtype: str = ""
    value: str = ""
    ttl: int = 0


@dataclass(slots=True)
class DnsUpdate:
    """One UPDATE message for one zone of one target. Names absolute with trailing dot; rdata as text."""

    ident: int
    target: str
    zone: str
    prereqs: tuple[Prereq, ...]
    changes: tuple[Change, ...]


@dataclass(slots=True)
class DnsQuery:
    """Ask the master of a zone for all records of `types` at `name`."""

    ident: int
    target: str
    zone: str
    name: str
    types: tuple[str, ...]


@dataclass(slots=True)
class Reply:
    """The answer to a Command. `code`: "ok", "refused" (a safety rule), "usage", "unknown", "failed"."""

    ident: int
    code: str
    body: object
    message: str = ""


Send = ClientSend | Probe | LinkConnect | LinkSend | LinkClose | DnsUpdate | DnsQuery | Reply


@dataclass(slots=True)
class Output:
    """What one step wants: writes to commit as one transaction, sends before and after it, notes for the operator."""

    writes: list[Write] = field(default_factory=list)
    at_once: list[Send] = field(default_factory=list)
    after_commit: list[Send] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


@dataclass(slots=True)
class Stored:
    """Everything the store holds at boot, one JSON text per record, by kind; and what boot itself must know."""

    leases: list[str] = field(default_factory=list)
    ddns: list[str] = field(default_factory=list)
    relationships: list[str] = field(default_factory=list)
    meta: dict[str, str] = field(default_factory=dict)
    newest_wall: float = 0.0
    conflicts: list[str] = field(default_factory=list)
