"""The shapes of the API's answers and requests about names in DNS."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from failoverd.shell.api_shapes import Answer, Count, Reason, Request, Wall

Name = Annotated[str, StringConstraints(min_length=1, max_length=255, strip_whitespace=True)]
Record = Annotated[list[str], Field(min_length=2, max_length=2, description="type, data as text")]


class Row(Answer):
    """One owner name at one target: what DNS should say, what it says, what it may say. Values are [type, data, TTL]."""

    target: str
    kind: Annotated[str, Field(pattern="^(fwd|rev)$")]
    name: str
    zone: str
    state: Annotated[str, Field(description="clean, dirty, inflight, conflict, blocked, held, dead")]
    owner: str
    want: list[list[str | int]]
    have: list[list[str | int]]
    maybe: list[list[str | int]]
    guard: Annotated[str, Field(description="DHCID that it is wanted under")]
    attempts: Count
    dirty_since: Wall
    next_at: Wall
    rcode: str
    detail: str
    server: str


class Rows(Answer):
    """GET /v1/ddns/rows. `more`: ask again with `after`."""

    rows: list[Row]
    more: bool
    after: str


class NameLease(Answer):
    """A live lease that wants the name."""

    address: str
    name: str
    hw: str
    dhcid: str


class NameView(Answer):
    """GET /v1/ddns/names/{name}"""

    name: str
    rows: list[Row]
    leases: list[NameLease]


class NamePast(Answer):
    """One journal record of a name's row. `state` "gone": the row was deleted."""

    wall: Wall
    target: str
    kind: str
    name: str
    state: str
    want: list[str]
    have: list[str]
    rcode: str
    cause: str
    origin: str


class NameHistory(Answer):
    """GET /v1/ddns/names/{name}/history, oldest first"""

    name: str
    entries: list[NamePast]


class RowsDone(Answer):
    """POST /v1/ddns/retry, resend, take, drop: how many rows it is about, and whether it was done."""

    rows: Count
    done: bool
    message: str


class ZoneDone(Answer):
    """POST /v1/ddns/hold, release"""

    zone: str
    done: bool
    message: str


class TestLine(Answer):
    """One message of a test and its answer in words."""

    target: str
    zone: str
    what: str
    rcode: str
    words: str
    server: str
    ms: Annotated[float, Field(ge=0)]
    good: bool


class ZoneTest(Answer):
    """POST /v1/ddns/test"""

    zone: str
    good: bool
    lines: list[TestLine]


class AuditZone(Answer):
    """One zone of an audit. `counts`: names by class. `error`: why it could not be looked at."""

    target: str
    zone: str
    names: Count
    serial: Count
    how: Annotated[str, Field(description="AXFR or IXFR")]
    counts: dict[str, Count]
    error: str


class Finding(Answer):
    """One name that is not as it should be. `repair`: assert, migrate, remove, or empty. `script`: the repair for nsupdate."""

    target: str
    kind: str
    name: str
    klass: Annotated[str, Field(alias="class")]
    repair: str
    detail: str
    records: list[Record]
    script: list[str]


class Static(Answer):
    """One record of the operator's."""

    zone: str
    name: str
    ttl: Count
    type: str
    value: str


class Audit(Answer):
    """POST /v1/ddns/audits, GET /v1/ddns/audits/{number}. `state`: running, done, failed. `next`: of the next page, -1 after the last."""

    number: Count
    what: str
    state: str
    step: str
    began: Wall
    ended: Wall
    zones: list[AuditZone]
    skipped: Annotated[int, Field(ge=0, description="names left out because they changed meanwhile")]
    repairs: Annotated[int, Field(ge=0, description="how many names a repair would touch")]
    over: Annotated[list[str], Field(description="why a repair needs force")]
    findings: list[Finding]
    statics: list[Static]
    next: Annotated[int, Field(ge=-1)]


class RepairDone(Answer):
    """POST /v1/ddns/audits/{number}/repair: how many names it is about, and whether it was ordered; they are repaired one by one."""

    repairs: Count
    left: Annotated[int, Field(ge=0, description="removals that are left to the primary of the pair")]
    done: bool


class StaticDone(Answer):
    """POST /v1/ddns/statics/add, delete"""

    zone: str
    name: str
    type: str
    value: str
    done: bool


class DdnsRequest(Request):
    """What every change says. `dry_run`: nothing is changed."""

    dry_run: bool = False
    reason: Reason = ""


class RetryRequest(DdnsRequest):
    """Body of retry. `names`: names or addresses; none: everything in trouble."""

    names: Annotated[list[Name], Field(max_length=100, default_factory=list)]


class ResendRequest(DdnsRequest):
    """Body of resend. `what`: an address, a subnet, a zone, a name, or "all"."""

    what: Name


class NameRequest(DdnsRequest):
    """Body of take and drop."""

    name: Name


class ZoneRequest(DdnsRequest):
    """Body of hold and release."""

    zone: Name


class TestRequest(Request):
    """Body of test."""

    zone: Name
    reason: Reason = ""


class AuditRequest(Request):
    """Body of an audit. `what`: check, or statics (a list of the operator's records). `zone`: empty for all.
    `adopt_orphans_s`: a repair shall remove names inside our pools that are no client's of ours, if nobody has had their address for so
    many seconds and it answers no ping; left out: they are only reported."""

    what: Annotated[str, StringConstraints(pattern="^(check|statics)$")] = "check"
    zone: Annotated[str, StringConstraints(max_length=255)] = ""
    adopt_orphans_s: Annotated[int, Field(ge=86400, le=2**31 - 1)] | None = None


class RepairRequest(DdnsRequest):
    """Body of repair. `force`: more removals than the limit."""

    force: bool = False


class StaticRequest(Request):
    """Body of statics/add and statics/delete."""

    name: Name
    type: Name
    value: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    ttl: Annotated[int, Field(ge=0, le=2**31 - 1)] = 3600
    reason: Reason = ""


ANSWERS: dict[str, type[BaseModel]] = {
    "GET /v1/ddns/rows": Rows,
    "GET /v1/ddns/names/{name}": NameView,
    "GET /v1/ddns/names/{name}/history": NameHistory,
    "POST /v1/ddns/retry": RowsDone,
    "POST /v1/ddns/resend": RowsDone,
    "POST /v1/ddns/take": RowsDone,
    "POST /v1/ddns/drop": RowsDone,
    "POST /v1/ddns/hold": ZoneDone,
    "POST /v1/ddns/release": ZoneDone,
    "POST /v1/ddns/test": ZoneTest,
    "POST /v1/ddns/audits": Audit,
    "GET /v1/ddns/audits/{number}": Audit,
    "POST /v1/ddns/audits/{number}/repair": RepairDone,
    "POST /v1/ddns/statics/add": StaticDone,
    "POST /v1/ddns/statics/delete": StaticDone,
}
REQUESTS: dict[str, type[BaseModel]] = {
    "POST /v1/ddns/retry": RetryRequest,
    "POST /v1/ddns/resend": ResendRequest,
    "POST /v1/ddns/take": NameRequest,
    "POST /v1/ddns/drop": NameRequest,
    "POST /v1/ddns/hold": ZoneRequest,
    "POST /v1/ddns/release": ZoneRequest,
    "POST /v1/ddns/test": TestRequest,
    "POST /v1/ddns/audits": AuditRequest,
    "POST /v1/ddns/audits/{number}/repair": RepairRequest,
    "POST /v1/ddns/statics/add": StaticRequest,
    "POST /v1/ddns/statics/delete": StaticRequest,
}
