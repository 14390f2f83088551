"""The shapes of the API's answers as failoverctl reads them (schema/api.json). Times: UTC seconds since 1970, 0 for never."""

from __future__ import annotations

from typing import TypedDict

from failoverd.ctl.answers_link import Tls


class Relationship(TypedDict):
    """One relationship of a status."""

    name: str
    role: str
    state: str
    since: float
    partner: str
    partner_state: str
    partner_since: float
    last_heard: float
    linked: bool
    skew_s: float | None
    unacked: int
    window: int
    owed: int
    epoch: int
    mclt_s: int
    serving: bool
    why: str
    doubt_until: float
    takeover_at: float
    countdown_until: float
    tls: Tls | None
    dialect: int
    partner_epoch: int
    differences: list[str]


class Rate(TypedDict):
    """What happened to a pool's free addresses in the last `window_s` seconds."""

    window_s: float
    taken: int
    returned: int


class Forecast(TypedDict):
    """Seconds until a new client is refused; None: never at this rate."""

    interrupted: float | None
    partner_down: float | None


class Lasts(Forecast):
    """The same, and in the present state."""

    now: float | None


class Pool(TypedDict):
    """One pool of a status."""

    name: str
    network: str
    relationship: str | None
    total: int
    active: int
    free: int
    backup: int
    abandoned: int
    expired: int
    released: int
    reset: int
    offered: int
    rate: Rate
    lasts: Lasts | None


class Zone(TypedDict):
    """One zone of a status."""

    target: str
    zone: str
    state: str
    queue: int
    oldest_s: float
    last_ok: float
    failures: int
    detail: str


class Secondary(TypedDict):
    """One secondary of a zone in a status."""

    target: str
    zone: str
    slave: str
    state: str
    lag_s: float
    serial: int | None
    master_serial: int | None
    detail: str


class Place(TypedDict):
    """What one server shows at a name."""

    target: str
    zone: str
    server: str
    master: bool
    shows: bool
    records: list[str]
    detail: str


class Where(TypedDict):
    """GET /v1/ddns/where"""

    name: str
    places: list[Place]


class Dns(TypedDict):
    """The DNS part of a status."""

    zones: list[Zone]
    secondaries: list[Secondary]
    rows: dict[str, int]


class Status(TypedDict):
    """GET /v1/status"""

    server: str
    version: str
    wall: float
    started: float
    config_digest: str
    serving: bool
    relationships: list[Relationship]
    pools: list[Pool]
    dns: Dns
    notes: dict[str, int]
    warnings: list[str]


class Lease(TypedDict):
    """GET /v1/leases/{address}"""

    address: str
    state: str
    client_id: str
    hw: str
    hostname: str
    fqdn: str
    starts: float
    ends: float
    potential: float
    acked: float
    not_before: float
    cltt: float
    rewind: str
    owed: bool
    rejected: int
    pool: str | None
    relationship: str | None
    flags: int


class LeasePage(TypedDict):
    """GET /v1/leases"""

    leases: list[Lease]
    more: bool


class Row(TypedDict):
    """One DNS row that is not as wanted."""

    name: str
    type: str
    state: str
    detail: str


class DnsDetail(Dns):
    """GET /v1/ddns"""

    pending: list[Row]


class Decision(TypedDict):
    """One decision of the daemon."""

    wall: float
    name: str
    level: str
    client: str
    address: str
    subject: str
    detail: str
    text: str


class Decisions(TypedDict):
    """GET /v1/explain"""

    decisions: list[Decision]


class Event(TypedDict):
    """One entry of the history."""

    wall: float
    what: str
    who: str
    why: str
    subject: str


class History(TypedDict):
    """GET /v1/history"""

    events: list[Event]


class PoolPreview(TypedDict):
    """One pool of a partner-down preview."""

    pool: str
    partner_free: int
    free_at: float
    waiting: int
    latest: float
    lasts: Forecast | None


class PartnerDown(TypedDict):
    """POST .../partner-down"""

    relationship: str
    state: str
    since: float
    partner_state: str
    linked: bool
    last_heard: float
    epoch: int
    new_epoch: int
    now: float
    pools: list[PoolPreview]
    risk: str
    done: bool


class Act(TypedDict):
    """POST .../serve-force, .../pair-init"""

    relationship: str
    before: Relationship
    done: bool
    message: str


class Deed(Act):
    """POST .../maintenance-start, .../maintenance-end, .../recover, .../pool-rebalance"""

    consequences: list[str]


class Claim(TypedDict):
    """One client's claim on an address."""

    hw: str
    client_id: str
    cltt: float
    ends: float
    potential: float


class Contested(TypedDict):
    """An address that two clients were granted."""

    relationship: str
    address: str
    won: str
    winner: Claim
    loser: Claim
    until: float
    state: str
    wall: float


class RejectedUpdate(TypedDict):
    """An address whose update the partner refused."""

    relationship: str
    address: str
    state: str
    hw: str
    client_id: str
    reason: int
    attempts: int


class Conflicts(TypedDict):
    """GET /v1/conflicts"""

    losers: list[Contested]
    rejected: list[RejectedUpdate]


class Backup(TypedDict):
    """POST /v1/backup"""

    path: str
    size: int
    done: bool


class DdnsRow(TypedDict):
    """One owner name at one target; values are [type, data, TTL]."""

    target: str
    kind: str
    name: str
    zone: str
    state: str
    owner: str
    want: list[tuple[str, str, int]]
    have: list[tuple[str, str, int]]
    maybe: list[tuple[str, str, int]]
    guard: str
    attempts: int
    dirty_since: float
    next_at: float
    rcode: str
    detail: str
    server: str


class DdnsRows(TypedDict):
    """GET /v1/ddns/rows"""

    rows: list[DdnsRow]
    more: bool
    after: str


class NameLease(TypedDict):
    """A live lease that wants a name."""

    address: str
    name: str
    hw: str
    dhcid: str


class NameView(TypedDict):
    """GET /v1/ddns/names/{name}"""

    name: str
    rows: list[DdnsRow]
    leases: list[NameLease]


class NamePast(TypedDict):
    """One record of a name's journal."""

    wall: float
    target: str
    kind: str
    name: str
    state: str
    want: list[str]
    have: list[str]
    rcode: str
    cause: str
    origin: str


class NameHistory(TypedDict):
    """GET /v1/ddns/names/{name}/history"""

    name: str
    entries: list[NamePast]


class RowsDone(TypedDict):
    """POST /v1/ddns/retry, resend, take, drop"""

    rows: int
    done: bool
    message: str


class ZoneDone(TypedDict):
    """POST /v1/ddns/hold, release"""

    zone: str
    done: bool
    message: str


class TestLine(TypedDict):
    """One message of a test."""

    target: str
    zone: str
    what: str
    rcode: str
    words: str
    server: str
    ms: float
    good: bool


class ZoneTest(TypedDict):
    """POST /v1/ddns/test"""

    zone: str
    good: bool
    lines: list[TestLine]


class AuditZone(TypedDict):
    """One zone of an audit."""

    target: str
    zone: str
    names: int
    serial: int
    how: str
    counts: dict[str, int]
    error: str


Finding = TypedDict(
    "Finding",
    {
        "target": str,
        "kind": str,
        "name": str,
        "class": str,
        "repair": str,
        "detail": str,
        "records": list[list[str]],
        "script": list[str],
    },
)


class Static(TypedDict):
    """One record of the operator's."""

    zone: str
    name: str
    ttl: int
    type: str
    value: str


class Audit(TypedDict):
    """POST /v1/ddns/audits, GET /v1/ddns/audits/{number}"""

    number: int
    what: str
    state: str
    step: str
    began: float
    ended: float
    zones: list[AuditZone]
    skipped: int
    repairs: int
    over: list[str]
    findings: list[Finding]
    statics: list[Static]
    next: int


class RepairDone(TypedDict):
    """POST /v1/ddns/audits/{number}/repair"""

    repairs: int
    left: int
    done: bool


class StaticDone(TypedDict):
    """POST /v1/ddns/statics/add, delete"""

    zone: str
    name: str
    type: str
    value: str
    done: bool
