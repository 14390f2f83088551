"""The shapes of the API's answers as failoverctl reads them (schema/api.json). Times: UTC seconds since 1970, 0 for never."""

from __future__ import annotations

from typing import TypedDict


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
    countdown_until: float


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


class Backup(TypedDict):
    """POST /v1/backup"""

    path: str
    size: int
    done: bool
