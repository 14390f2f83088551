"""The shapes of the API's answers and requests; `schema/api.json` is made from them and shipped.

The answers themselves are plain data from `status.py` and the node and are not run through these models on the way out; the tests
do that. Times are UTC seconds since 1970 (0: never), durations are seconds, addresses are dotted quads, octets are lower-case hex
with colons.

`python -m failoverd.shell.api_models` prints the schema.
"""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints
from pydantic.json_schema import models_json_schema

from failoverd.shell import api_ddns_models
from failoverd.shell.api_shapes import Answer, Count, Reason, Request, Seconds, Wall

DEEDS = ("maintenance-start", "maintenance-end", "recover", "pool-rebalance")


class TlsStatus(Answer):
    """The certificates of a relationship with tls."""

    until: Annotated[Wall, Field(description="when this server's certificate expires")]
    partner_until: Annotated[
        Wall, Field(description="when the partner's does, as it was last shown; 0: never seen since the start")
    ]
    problem: Annotated[str, Field(description="why the newest files cannot be used; empty when they are")]
    refused: Annotated[
        str, Field(description="the last link that TLS refused since one was made: name of the note, and the detail")
    ]
    refused_at: Wall


class RelationshipStatus(Answer):
    """One relationship, seen from this server."""

    name: str
    role: Annotated[str, Field(pattern="^(primary|secondary)$")]
    state: str
    since: Wall
    partner: Annotated[str, Field(description="address:port")]
    partner_state: str
    partner_since: Wall
    last_heard: Wall
    linked: bool
    skew_s: Annotated[float | None, Field(description="the partner's clock minus ours, in seconds; null while unknown")]
    unacked: Annotated[int, Field(ge=0, description="binding updates sent and not yet acked")]
    window: Annotated[int, Field(ge=0, description="how many may be unacked")]
    owed: Annotated[int, Field(ge=0, description="leases whose current view the partner has not acked")]
    epoch: Count
    mclt_s: Count
    serving: bool
    why: Annotated[str, Field(description="why it does not serve, or what it waits for; empty when all is well")]
    doubt_until: Annotated[Wall, Field(description="lone boot: nothing is granted beyond this time; 0 when not in doubt")]
    takeover_at: Annotated[
        Wall, Field(description="partner-down: when the partner's free addresses are this server's; 0 elsewhere")
    ]
    countdown_until: Annotated[Wall, Field(description="when the present wait ends by itself; 0 for no wait")]
    tls: Annotated[TlsStatus | None, Field(description="null for a plain link")]
    dialect: Annotated[int, Field(ge=0, description="what the two failoverd tell each other beside dhcpd's protocol; 0: nothing")]
    partner_epoch: Annotated[
        int, Field(ge=0, description="the partner's epoch as it was last told, over an authenticated link only")
    ]
    differences: Annotated[list[str], Field(description="in what the two configurations differ, as the last link told")]


Lasts = Annotated[float | None, Field(ge=0, description="seconds until a new client is refused; null: never at this rate")]


class PoolRate(Answer):
    """What happened to a pool's free addresses in the last `window_s` seconds, an hour at most."""

    window_s: Seconds
    taken: Annotated[int, Field(ge=0, description="free addresses given to clients, by either server")]
    returned: Annotated[int, Field(ge=0, description="addresses that became free again")]


class PoolForecast(Answer):
    """How long the free addresses last at the recent rate, if the partner stays away. `interrupted`: this server has its own free
    addresses only, and what ends does not become free. `partner_down`: declared now, the partner's addresses come after the wait."""

    interrupted: Lasts
    partner_down: Lasts


class PoolLasts(PoolForecast):
    """The same, and `now`: in the present state."""

    now: Lasts


class PoolStatus(Answer):
    """The addresses of one pool by state. `free` is the primary's share, `backup` the secondary's."""

    name: str
    network: str
    relationship: str | None
    total: Count
    active: Count
    free: Count
    backup: Count
    abandoned: Count
    expired: Count
    released: Count
    reset: Count
    offered: Annotated[int, Field(ge=0, description="offered to a client that has not asked for them yet")]
    rate: PoolRate
    lasts: Annotated[PoolLasts | None, Field(description="null while the rate is not known: in the first minute after a start")]


class ZoneStatus(Answer):
    """One zone and the updates that wait for it."""

    target: str
    zone: str
    state: str
    queue: Count
    oldest_s: Annotated[float, Field(ge=0, description="age of the oldest waiting update in seconds; 0 for none")]
    last_ok: Wall
    failures: Count
    detail: str


class SecondaryLag(Answer):
    """How far one secondary of a zone is behind what the master took."""

    target: str
    zone: str
    slave: Annotated[str, Field(description="address, with :port when it is not 53")]
    state: Annotated[str, Field(pattern="^(ok|behind|late|unknown)$", description="late: behind for longer than lag-warn")]
    lag_s: Annotated[float, Field(ge=0, description="age of the oldest change that it does not show; 0 for none")]
    serial: Annotated[int | None, Field(description="its serial when it was last asked; null while unknown")]
    master_serial: int | None
    detail: Annotated[str, Field(description="the likely cause")]


class DnsStatus(Answer):
    """All zones, their secondaries, and how many DNS rows are in which state."""

    zones: list[ZoneStatus]
    secondaries: list[SecondaryLag]
    rows: dict[str, Count]


class Status(Answer):
    """GET /v1/status"""

    server: str
    version: str
    wall: Wall
    started: Wall
    config_digest: str
    serving: bool
    relationships: list[RelationshipStatus]
    pools: list[PoolStatus]
    dns: DnsStatus
    notes: Annotated[dict[str, Count], Field(description="how often each named note was made since the start")]
    warnings: list[str]


class LeaseView(Answer):
    """One lease. `hw`: hardware type octet, then the address."""

    address: str
    state: str
    client_id: str
    hw: str
    hostname: str
    fqdn: str
    starts: Wall
    ends: Wall
    potential: Wall
    acked: Wall
    not_before: Wall
    cltt: Wall
    rewind: str
    owed: bool
    rejected: Count
    pool: str | None
    relationship: str | None
    flags: Count


class LeasePage(Answer):
    """GET /v1/leases. `more`: ask again with `after` = the last address of this page."""

    leases: list[LeaseView]
    more: bool


class DnsRow(Answer):
    """One DNS row that is not yet as wanted."""

    name: str
    type: str
    state: str
    detail: str


class DnsDetail(DnsStatus):
    """GET /v1/ddns"""

    pending: Annotated[list[DnsRow], Field(description="rows that still differ from what is wanted, a limited number")]


class Place(Answer):
    """What one server shows at a name. `shows`: it is as wanted, or, when no lease has a say, there is something."""

    target: str
    zone: str
    server: str
    master: bool
    shows: bool
    records: list[str]
    detail: Annotated[str, Field(description="why it could not be asked")]


class Where(Answer):
    """GET /v1/ddns/where?name=: the master and the watched secondaries of each target that has a zone for the name, asked now."""

    name: str
    places: list[Place]


class Decision(Answer):
    """One decision about a client, an address or a name. `text` is the catalogue's paragraph for `name`."""

    wall: Wall
    name: str
    level: str
    client: str
    address: str
    subject: str
    detail: str
    text: str


class Decisions(Answer):
    """GET /v1/explain"""

    decisions: list[Decision]


class Event(Answer):
    """One entry of the history: what changed, who did it and why."""

    wall: Wall
    what: str
    who: str
    why: str
    subject: str


class History(Answer):
    """GET /v1/history"""

    events: list[Event]


class PoolPreview(Answer):
    """What partner-down means for one pool."""

    pool: str
    partner_free: Annotated[int, Field(ge=0, description="the partner's free addresses")]
    free_at: Annotated[Wall, Field(description="from when on this server may use them")]
    waiting: Annotated[int, Field(ge=0, description="addresses that wait longer, until every expiry the partner may know is past")]
    latest: Annotated[Wall, Field(description="when the last of those is free; 0 for none")]
    lasts: Annotated[PoolForecast | None, Field(description="null while the rate is not known")]


class PartnerDown(Answer):
    """POST /v1/relationships/{name}/partner-down. `state` and `since`: as they stand before; the waits are in `pools`."""

    relationship: str
    state: str
    since: Wall
    partner_state: str
    linked: bool
    last_heard: Wall
    epoch: Count
    new_epoch: Count
    now: Wall
    pools: list[PoolPreview]
    risk: str
    done: bool


class Act(Answer):
    """POST .../serve-force and .../pair-init: the relationship before the act, and whether it was done."""

    relationship: str
    before: RelationshipStatus
    done: bool
    message: str


class Deed(Act):
    """POST .../maintenance-start, .../maintenance-end, .../recover, .../pool-rebalance."""

    consequences: Annotated[list[str], Field(description="what follows, one sentence each; with dry_run: what would")]


class Claim(Answer):
    """One client's claim on an address."""

    hw: str
    client_id: str
    cltt: Annotated[Wall, Field(description="client-last-transaction-time at the server that granted it, by that server's clock")]
    ends: Wall
    potential: Wall


class Contested(Answer):
    """An address that two clients were granted. `won`: ours or theirs, as seen from this server."""

    relationship: str
    address: str
    won: Annotated[str, Field(pattern="^(ours|theirs)$")]
    winner: Claim
    loser: Annotated[Claim, Field(description="hears a DHCPNAK at its next renewal")]
    until: Annotated[Wall, Field(description="no third client gets the address before")]
    state: Annotated[str, Field(description="of this server when it was decided")]
    wall: Wall


class RejectedUpdate(Answer):
    """An address whose update the partner refused: neither server gives it out until they agree."""

    relationship: str
    address: str
    state: str
    hw: str
    client_id: str
    reason: Annotated[int, Field(ge=0, description="the partner's reject code")]
    attempts: Count


class Conflicts(Answer):
    """GET /v1/conflicts. `losers`: newest first, a thousand at most."""

    losers: list[Contested]
    rejected: list[RejectedUpdate]


class BackupDone(Answer):
    """POST /v1/backup"""

    path: str
    size: Annotated[int, Field(ge=0, description="octets")]
    done: bool


class ErrorDetail(Answer):
    """`code`: refused, usage, unknown, failed, denied, timeout, busy."""

    code: str
    message: str


class Failure(Answer):
    """The body of every answer that is not 200."""

    error: ErrorDetail


class ActRequest(Request):
    """Body of every verb of a relationship without arguments of its own."""

    dry_run: bool = False
    reason: Reason = ""


class PartnerDownRequest(ActRequest):
    """Body of partner-down. `since`: RFC 3339 with a zone, or seconds since 1970."""

    since: str | float | None = None


class BackupRequest(Request):
    """Body of backup. `path`: absolute, on the daemon's host, must not exist."""

    path: Annotated[str, StringConstraints(min_length=2, max_length=4096)]
    reason: Reason = ""


class CaptureRequest(Request):
    """Body of capture/start. `max_size`: octets on the disk at most; 0: the daemon's default."""

    max_size: Annotated[int, Field(ge=0, le=1 << 40)] = 0
    reason: Reason = ""


class StopRequest(Request):
    """Body of capture/stop."""

    reason: Reason = ""


class Capture(Answer):
    """GET /v1/capture, POST /v1/capture/start, POST /v1/capture/stop"""

    running: bool
    since: Wall
    steps: Annotated[Count, Field(description="of the recording that runs, or ran last")]
    max_size: Annotated[Count, Field(description="octets; 0: none is running")]
    size: Annotated[Count, Field(description="octets on the disk, of earlier recordings as well")]
    segments: Count
    directory: Annotated[str, Field(description="on the daemon's host; what failoverctl replay takes")]
    ended: Annotated[str, Field(description='why the last one ended by itself, "" when it did not')]


ANSWERS: dict[str, type[BaseModel]] = {
    "GET /v1/status": Status,
    "GET /v1/leases": LeasePage,
    "GET /v1/leases/{address}": LeaseView,
    "GET /v1/ddns": DnsDetail,
    "GET /v1/ddns/where": Where,
    "GET /v1/explain": Decisions,
    "GET /v1/history": History,
    "GET /v1/conflicts": Conflicts,
    "POST /v1/relationships/{name}/partner-down": PartnerDown,
    "POST /v1/relationships/{name}/serve-force": Act,
    "POST /v1/relationships/{name}/pair-init": Act,
    **{f"POST /v1/relationships/{{name}}/{verb}": Deed for verb in DEEDS},
    "POST /v1/backup": BackupDone,
    "GET /v1/capture": Capture,
    "POST /v1/capture/start": Capture,
    "POST /v1/capture/stop": Capture,
    **api_ddns_models.ANSWERS,
}
REQUESTS: dict[str, type[BaseModel]] = {
    "POST /v1/relationships/{name}/partner-down": PartnerDownRequest,
    "POST /v1/relationships/{name}/serve-force": ActRequest,
    "POST /v1/relationships/{name}/pair-init": ActRequest,
    **{f"POST /v1/relationships/{{name}}/{verb}": ActRequest for verb in DEEDS},
    "POST /v1/backup": BackupRequest,
    "POST /v1/capture/start": CaptureRequest,
    "POST /v1/capture/stop": StopRequest,
    **api_ddns_models.REQUESTS,
}


def schema() -> str:
    """The text of `schema/api.json`: the definitions, and which of them each request and answer follows."""
    models: set[type[BaseModel]] = {*ANSWERS.values(), Failure}
    answers = sorted(models, key=lambda model: model.__name__)
    requests = sorted(set(REQUESTS.values()), key=lambda model: model.__name__)
    _, answer_defs = models_json_schema([(model, "serialization") for model in answers])
    _, request_defs = models_json_schema([(model, "validation") for model in requests])
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "failoverd API v1",
        "description": (__doc__ or "").split("\n\n")[1].replace("\n", " "),
        "answers": {path: {"$ref": f"#/$defs/{model.__name__}"} for path, model in ANSWERS.items()},
        "error": {"$ref": "#/$defs/Failure"},
        "requests": {path: {"$ref": f"#/$defs/{model.__name__}"} for path, model in REQUESTS.items()},
        "$defs": {**answer_defs["$defs"], **request_defs["$defs"]},
    }
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    print(schema(), end="")
