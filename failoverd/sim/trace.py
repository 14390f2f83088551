"""What happened in a run, in order: all that the checks may read. `t` is true time in seconds since the start of the run."""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple


class Started(NamedTuple):
    """The run begins. `clocks`: server -> how far its wall clock is ahead of `EPOCH + t`; `pools`: (relationship, its primary, first
    address, last address); `lone_boot_serves`: servers are configured with lone-boot = "serve" (safety.md 11);
    `delay_s`: max-response-delay."""

    t: float
    seed: str
    mclt_s: int
    clocks: tuple[tuple[str, float], ...]
    pools: tuple[tuple[str, str, int, int], ...] = ()
    lone_boot_serves: bool = False
    delay_s: int = 30
    dhcpd: str = ""  # the server that is a modelled dhcpd


class Reserved(NamedTuple):
    """An address in the range of a pool is reserved for a client, on one server or both (`on`), until an operator takes the line out of the
    files: what is granted on it is outside failover."""

    t: float
    address: int
    client: str
    on: str


class Booted(NamedTuple):
    """A server started. `leases`: its table, (address, record)."""

    t: float
    server: str
    leases: tuple[tuple[int, str], ...]


class Crashed(NamedTuple):
    t: float
    server: str
    why: str


class Committed(NamedTuple):
    """A transaction became durable. `leases`: (address, record), None for a deleted row; `granted`: of each of them, whether a
    client's message changed it."""

    t: float
    server: str
    leases: tuple[tuple[int, str | None], ...]
    granted: tuple[bool, ...]


class Replaced(NamedTuple):
    """The disk of a server that is down was changed for another: an earlier copy, or an empty one. `leases`: what it holds."""

    t: float
    server: str
    why: str
    leases: tuple[tuple[int, str], ...]


class Answered(NamedTuple):
    """A reply left a server. `wall`: its clock in the step that made the reply; `kind`: option 53; `client`: htype + chaddr."""

    t: float
    server: str
    wall: float
    kind: int
    client: bytes
    address: int
    lease_s: int


class Pinged(NamedTuple):
    """A server asked whether anybody is at an address; `there`: somebody is."""

    t: float
    server: str
    address: int
    there: bool


class PingAnswered(NamedTuple):
    """The answer to a ping reached the server."""

    t: float
    server: str
    address: int


class Sent(NamedTuple):
    """Bytes left a server on a link to the partner. `wire`: the connection, the same on both sides."""

    t: float
    server: str
    wire: int
    data: bytes


class Heard(NamedTuple):
    """Bytes of the partner were stepped."""

    t: float
    server: str
    wire: int
    data: bytes


class Held(NamedTuple):
    """A client took an address, as it sees it, until `until` (true time)."""

    t: float
    client: str
    address: int
    until: float


class Chose(NamedTuple):
    """A client has collected its OFFERs and asks for one of them. `client`: htype + chaddr."""

    t: float
    client: bytes


class GaveUp(NamedTuple):
    """A client no longer uses the address before its end: release, decline, DHCPNAK."""

    t: float
    client: str
    address: int
    why: str


class Declared(NamedTuple):
    """Partner-down was declared, by an operator or by auto-partner-down. `wrongly`: the partner was running; `since_t`: what --since
    said, 0 for nothing."""

    t: float
    server: str
    wrongly: bool
    relationship: str = "pair"
    since_t: float = 0.0


class Began(NamedTuple):
    """A commit that will take long is on its way to the disk of a server."""

    t: float
    server: str


class Room(NamedTuple):
    """The disk of a server has little room (safety.md 7), or enough again. `wall`: its clock."""

    t: float
    server: str
    wall: float
    low: bool


class Named(NamedTuple):
    """A DNS UPDATE left a server. `age_s`: how long ago, by its clock, the step was that made it; `removes`: (name, address) of the A
    records that it takes away."""

    t: float
    server: str
    zone: str
    age_s: float
    removes: tuple[tuple[str, str], ...] = ()


PAIR_INIT = "pair init"


class Stated(NamedTuple):
    """An operator stated something by typing it: `serve --force`, `pair init`, or that partner-down holds --since. `untrue`: it was not
    so."""

    t: float
    server: str
    what: str
    untrue: bool


class Typed(NamedTuple):
    """An operator typed something that states nothing; `code`: the answer."""

    t: float
    server: str
    verb: str
    code: str


class Moved(NamedTuple):
    """A server's state as it acts, when it changed."""

    t: float
    server: str
    state: str
    relationship: str = "pair"


class Fault(NamedTuple):
    t: float
    what: str
    on: str


class Quiet(NamedTuple):
    """All faults are over: links whole, servers up. `bound_s`: how long they may need."""

    t: float
    bound_s: float


class Look(NamedTuple):
    """Somebody looks in, in the quiet end. `waiting`: (client, pool, since) of clients without an address that ask for one;
    `free`: pool -> the addresses that one of the servers may give now; `sizes`: (server, what, how much, the named limit)."""

    t: float
    waiting: tuple[tuple[str, str, float], ...]
    free: tuple[tuple[str, int], ...]
    sizes: tuple[tuple[str, str, int, int], ...]


class Final(NamedTuple):
    """The end of the run, clients silent for a while. `leases`: (address, state, client, ends, owed), never-used ones left out."""

    t: float
    server: str
    state: str
    partner_state: str
    owed: int
    leases: tuple[tuple[int, int, bytes, int, bool], ...]
    relationship: str = "pair"


class Zones(NamedTuple):
    """The zones at the end: (name, type, value), and the names that the servers' ACTIVE leases want: (name, address). `others`: the
    records of other hosts that were there before; `slave`: what the slave has; `owners`: name and DHCID of each of those leases."""

    t: float
    records: tuple[tuple[str, str, str], ...]
    wanted: tuple[tuple[str, int], ...]
    others: tuple[tuple[str, str, str], ...] = ()
    slave: tuple[tuple[str, str, str], ...] | None = None
    owners: tuple[tuple[str, str], ...] = ()


Event = (
    Started
    | Reserved
    | Booted
    | Crashed
    | Committed
    | Replaced
    | Answered
    | Pinged
    | PingAnswered
    | Sent
    | Heard
    | Held
    | Chose
    | GaveUp
    | Declared
    | Stated
    | Began
    | Room
    | Named
    | Typed
    | Moved
    | Fault
    | Quiet
    | Look
    | Final
    | Zones
)


class Trace:
    """All events of one run."""

    def __init__(self) -> None:
        """Empty."""
        self.events: list[Event] = []

    def add(self, event: Event) -> None:
        """One more."""
        self.events.append(event)

    def digest(self) -> str:
        """Equal digests: equal runs, octet for octet."""
        sums = sha256()
        for event in self.events:
            sums.update(type(event).__name__.encode())
            sums.update(repr(tuple(event)).encode())
        return sums.hexdigest()[:16]
