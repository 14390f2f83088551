"""The API: HTTP and JSON on a Unix socket, for failoverctl and for whoever scripts the daemon; and the listener of the metrics.

It decides who may ask (safety.md 27), checks what was asked, hands it to the node as a Command and says the answer. It knows no
rule of DHCP or failover. Every mutating verb carries who and why, which the node journals. Shapes: `api_models.py` and
`schema/api.json`.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol, cast

from aiohttp import web

from failoverd import notes
from failoverd.ports import Kind, Reply
from failoverd.shell import access, metrics
from failoverd.shell.api_capture import CaptureApi, Records
from failoverd.shell.api_ddns import DdnsApi, DnsTools, no_tools
from failoverd.shell.api_models import DEEDS, ActRequest, BackupRequest, PartnerDownRequest
from failoverd.shell.api_requests import (
    STATUS_OF,
    WHO,
    Handler,
    Refusal,
    address_of,
    answer,
    body_of,
    count_of,
    failure,
    octets_of,
    query_of,
)
from failoverd.shell.api_watch import Nobody, Watched, name_asked, with_lags
from failoverd.shell.journal import Past
from failoverd.shell.listen import CONNECTIONS_MAX, Listener, RunningApi, listen_metrics, listen_unix
from failoverd.shell.loop import Counts

COMMAND_S = 30.0  # a verb that the node has not answered by then is reported as timed out; it is not taken back
COMMANDS_MAX = 32  # verbs before the node at a time
BODY_MAX = 65536
PAGE_MAX = 1000  # leases in one answer: about 400 kB, a few milliseconds of the loop
EVENTS_MAX = 1000
EVENTS_KEPT = 20_000  # as many as the store keeps: what a search looks through

CHANGE = notes.declare(
    "api-change",
    "info",
    "An operator asked through the API for a change. The detail says what, who, why, and what became of it.",
)
DENIED = notes.declare(
    "api-denied",
    "warning",
    "A local user asked the API for something that [api] operators or readers of the configuration does not allow. The log names "
    "the user; nothing was done.",
    limited=True,
)
CROWDED = notes.declare(
    "api-too-many-connections",
    "warning",
    f"More than {CONNECTIONS_MAX} connections to the API or to the metrics were open at once; the newest was closed unanswered.",
    limited=True,
)
BUSY = notes.declare(
    "api-busy",
    "warning",
    f"More than {COMMANDS_MAX} API requests were waiting for the server at once; the newest was answered 503 and nothing was done.",
    limited=True,
)
LATE = notes.declare(
    "api-timeout",
    "warning",
    f"An API request was not answered by the server within {COMMAND_S:.0f} s, most likely because the disk hangs. A change that "
    "was asked for may still be made: look at the history.",
    limited=True,
)


class ApiConfig(Protocol):
    """The [api] table. `operators` may change things, `readers` may look: user names, "@group", "*".

    `metrics`: "address:port", "" for none.
    """

    @property
    def socket(self) -> str: ...  # noqa: D102
    @property
    def operators(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def readers(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def metrics(self) -> str: ...  # noqa: D102


class Commands(Protocol):
    """What the API needs of the loop: an answer for a verb, a place for notes of its own, and the counts."""

    async def command(self, verb: str, args: Mapping[str, str], who: str, why: str) -> Reply:
        """The node's reply, after the commit of what it changed."""
        ...

    def note(self, name: str, subject: str = "", detail: str = "") -> None:
        """Count, keep and log one note."""
        ...

    @property
    def note_counts(self) -> Mapping[str, int]:
        """Notes by name since the start."""
        ...

    @property
    def counts(self) -> Counts:
        """What the loop has done since it started."""
        ...


class Archive(Protocol):
    """What the API needs of the store: copies of it, and the history, which outlives a restart."""

    async def backup(self, path: str) -> None:
        """Write a consistent copy of the database to a new file. Raises OSError with the reason in words."""
        ...

    async def events(self, limit: int) -> Sequence[Past]:
        """The newest events, newest first; `record` is JSON with what, who, why, subject."""
        ...

    async def history(self, kind: Kind, key: bytes, limit: int) -> Sequence[Past]:
        """The newest journal records of one key, newest first."""
        ...


class Api:
    """The handlers, and what they share."""

    def __init__(
        self,
        config: ApiConfig,
        loop: Commands,
        store: Archive,
        watch: Watched | None = None,
        tools: DnsTools | None = None,
        capture: Records | None = None,
    ) -> None:
        self.config = config
        self.capture_routes = CaptureApi(self, capture).routes()
        self.ddns_routes = DdnsApi(self, tools or no_tools()).routes()
        self.watch: Watched = watch or Nobody()
        self.loop = loop
        self.store = store
        self._waiting: set[asyncio.Task[Reply]] = set()

    # --- asking the node ---

    async def ask(self, verb: str, args: Mapping[str, str], who: str = "", why: str = "") -> Reply:
        """The node's ok reply. Raises Refusal for every other; the command itself is never cancelled once it was handed over."""
        if len(self._waiting) >= COMMANDS_MAX:
            self.loop.note(BUSY, verb)
            raise Refusal("busy", "too many requests are waiting; nothing was done, try again")
        task = asyncio.ensure_future(self.loop.command(verb, args, who, why))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)
        done, _ = await asyncio.wait({task}, timeout=COMMAND_S)
        if not done:
            self.loop.note(LATE, verb)
            raise Refusal("timeout", f"no answer within {COMMAND_S:.0f} s; a change that was asked for may still be made")
        reply = task.result()
        if reply.code != "ok":
            raise Refusal(reply.code if reply.code in STATUS_OF else "failed", reply.message or reply.code)
        return reply

    async def change(self, request: web.Request, verb: str, args: Mapping[str, str], why: str) -> Reply:
        """A mutating verb: as `ask`, and noted with who, why and what became of it."""
        try:
            reply = await self.ask(verb, args, request[WHO], why)
        except Refusal as refusal:
            self.changed(request, verb, args, why, f"{refusal.code}: {refusal.message}")
            raise
        self.changed(request, verb, args, why, "done")
        return reply

    def changed(self, request: web.Request, verb: str, args: Mapping[str, str], why: str, became: str) -> None:
        """The note of a mutating verb."""
        what = " ".join([verb, *(f"{key}={value}" for key, value in args.items() if key != "relationship")])
        self.loop.note(CHANGE, args.get("relationship", ""), f"{what} by {request[WHO]}, reason {why!r}: {became}")

    # --- reading verbs ---

    async def status(self, request: web.Request) -> web.Response:
        """GET /v1/status"""
        return answer(with_lags((await self.ask("status", {})).body, self.watch))

    async def leases(self, request: web.Request) -> web.Response:
        """GET /v1/leases?pool=&state=&limit=&after="""
        args = query_of(request, "pool", "state", "limit", "after")
        args["limit"] = str(min(count_of(args.get("limit", str(PAGE_MAX)), "limit"), PAGE_MAX))
        if "after" in args:
            args["after"] = address_of(args["after"])
        return answer((await self.ask("lease-list", args)).body)

    async def lease(self, request: web.Request) -> web.Response:
        """GET /v1/leases/{address}"""
        return answer((await self.ask("lease-get", {"address": address_of(request.match_info["address"])})).body)

    async def ddns(self, request: web.Request) -> web.Response:
        """GET /v1/ddns"""
        return answer(with_lags((await self.ask("ddns-status", {})).body, self.watch))

    async def ddns_where(self, request: web.Request) -> web.Response:
        """GET /v1/ddns/where?name=: who shows the name as it is wanted, asked now."""
        try:
            name = name_asked(request)
        except ValueError as error:
            raise Refusal("usage", str(error)) from None
        return answer({"name": name, "places": list(await self.watch.where(name))})

    async def explain(self, request: web.Request) -> web.Response:
        """GET /v1/explain with one of client=, address=, name="""
        args = query_of(request, "client", "address", "name")
        if len(args) != 1:
            raise Refusal("usage", "ask with exactly one of client, address, name")
        if "address" in args:
            args["address"] = address_of(args["address"])
        if "client" in args:
            args["client"] = octets_of(args["client"])
        if not args.get("name", "-").strip("."):
            raise Refusal("usage", "name: empty")
        return answer((await self.ask("explain", args)).body)

    async def history(self, request: web.Request) -> web.Response:
        """GET /v1/history?limit=&subject=&since=: the newest events, oldest of them first."""
        args = query_of(request, "limit", "subject", "since")
        limit = min(count_of(args.get("limit", "100"), "limit"), EVENTS_MAX)
        since = _seconds(args["since"], "since") if "since" in args else 0.0
        narrow = "subject" in args or "since" in args
        kept = await self.store.events(EVENTS_KEPT if narrow else limit)
        found = await asyncio.to_thread(_chosen, kept, args.get("subject", ""), since)
        return answer({"events": found[:limit][::-1]})

    async def conflicts(self, request: web.Request) -> web.Response:
        """GET /v1/conflicts"""
        return answer((await self.ask("conflicts", {})).body)

    # --- mutating verbs ---

    async def partner_down(self, request: web.Request) -> web.Response:
        """POST /v1/relationships/{name}/partner-down: the preview, or the same after it was done."""
        body = await body_of(request, PartnerDownRequest)
        args = {"relationship": request.match_info["name"]}
        if body.since is not None:
            args["since"] = str(_since(body.since))
        if body.dry_run:
            args["dry_run"] = "1"
            return answer((await self.ask("partner-down", args, request[WHO], body.reason)).body)
        return answer((await self.change(request, "partner-down", args, body.reason)).body)

    async def serve_force(self, request: web.Request) -> web.Response:
        """POST /v1/relationships/{name}/serve-force"""
        return await self._act(request, "serve-force")

    async def pair_init(self, request: web.Request) -> web.Response:
        """POST /v1/relationships/{name}/pair-init"""
        return await self._act(request, "pair-init")

    async def deed(self, request: web.Request) -> web.Response:
        """POST /v1/relationships/{name}/VERB, one of DEEDS: the node itself says what follows, and refuses a dry run as well."""
        body = await body_of(request, ActRequest)
        name, verb = request.match_info["name"], request.path.rpartition("/")[2]
        before = await self._before(name)
        if body.dry_run:
            reply = await self.ask(verb, {"relationship": name, "dry_run": "1"}, request[WHO], body.reason)
        else:
            reply = await self.change(request, verb, {"relationship": name}, body.reason)
        said = cast("Mapping[str, object]", reply.body)
        return answer({"relationship": name, "before": before, "message": reply.message, **said})

    async def _before(self, name: str) -> Mapping[str, object]:
        """The relationship as it stands."""
        status = cast("Mapping[str, object]", (await self.ask("status", {})).body)
        relationships = cast("Sequence[Mapping[str, object]]", status["relationships"])
        before = next((row for row in relationships if row["name"] == name), None)
        if before is None:
            raise Refusal("unknown", f"no relationship {name!r} on this server")
        return before

    async def _act(self, request: web.Request, verb: str) -> web.Response:
        """The relationship as it stands, then, unless it is a dry run, the verb."""
        body = await body_of(request, ActRequest)
        name = request.match_info["name"]
        before = await self._before(name)
        done, message = False, ""
        if not body.dry_run:
            reply = await self.change(request, verb, {"relationship": name}, body.reason)
            done, message = cast("Mapping[str, bool]", reply.body)["done"], reply.message
        return answer({"relationship": name, "before": before, "done": done, "message": message})

    async def backup(self, request: web.Request) -> web.Response:
        """POST /v1/backup: a copy of the database in a new file on this host."""
        body = await body_of(request, BackupRequest)
        await asyncio.to_thread(_new_file, body.path)
        try:
            await self.store.backup(body.path)
        except OSError as error:
            reason = error.strerror or str(error)
            self.changed(request, "backup", {"path": body.path}, body.reason, f"failed: {reason}")
            raise Refusal("failed", reason) from error
        size = (await asyncio.to_thread(os.stat, body.path)).st_size
        await self.ask("backup-made", {"path": body.path}, request[WHO], body.reason)
        self.changed(request, "backup", {"path": body.path}, body.reason, "done")
        return answer({"path": body.path, "size": size, "done": True})

    # --- metrics ---

    async def metrics(self, request: web.Request) -> web.Response:
        """GET /metrics on the loopback listener."""
        body = with_lags((await self.ask("status", {})).body, self.watch)
        text = metrics.exposition(body, self.loop)
        return web.Response(body=text, headers={"Content-Type": metrics.CONTENT_TYPE})

    # --- around every request ---

    async def admit(self, request: web.Request) -> None:
        """Who asks, and whether he may: GET needs a reader, everything else an operator (who may also read). Raises Refusal."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        who = access.peer(transport.get_extra_info("socket").fileno())
        request[WHO] = await asyncio.to_thread(access.identify, who)
        reading = request.method in ("GET", "HEAD")
        allowed = [*self.config.operators, *self.config.readers] if reading else self.config.operators
        if not await asyncio.to_thread(access.may, who, allowed):
            self.loop.note(DENIED, detail=f"{request[WHO]}: {request.method} {request.path}")
            kind = "readers" if reading else "operators"
            raise Refusal("denied", f"{request[WHO]} is not among the {kind} of this server ([api] {kind} in its configuration)")


def _chosen(kept: Sequence[Past], subject: str, since: float) -> list[dict[str, object]]:
    """The events of one subject ("": of all) since a time, in the order given. Blocking: some tens of milliseconds for all."""
    events = (_event(past) for past in kept if past.wall >= since)
    return [event for event in events if subject in ("", event["subject"])]


def _event(past: Past) -> dict[str, object]:
    """One event of the history. A key that a record of another version lacks is empty."""
    record = json.loads(past.record or "{}")
    return {"wall": past.wall, **{key: str(record.get(key) or "") for key in ("what", "who", "why", "subject")}}


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal as JSON, aiohttp's own (no such path, wrong method, body too large) as well."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return failure(refusal.code, refusal.message)
    except web.HTTPException as error:
        code = "unknown" if error.status == 404 else "usage"
        return failure(code, f"{request.method} {request.path}: {error.reason}", error.status)


def _since(value: str | float) -> int:
    """Seconds since 1970, rounded up: a later time frees addresses later."""
    return math.ceil(_seconds(value, "since"))


def _seconds(value: str | float, what: str) -> float:
    """Seconds since 1970. A time without a zone is refused, it would be a guess."""
    wrong = f"{what}: {value!r} is neither an RFC 3339 time with a zone (2026-11-22T04:05:11Z) nor seconds since 1970"
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            raise Refusal("usage", wrong) from None
        if moment.tzinfo is None:
            raise Refusal("usage", wrong) from None
        seconds = moment.timestamp()
    if not (math.isfinite(seconds) and 0 < seconds < 2**32):
        raise Refusal("usage", wrong)
    return seconds


def _new_file(path: str) -> None:
    """A backup never overwrites: the daemon's rights are larger than those of the operator who asks."""
    target = Path(path)
    if not target.is_absolute():
        raise Refusal("usage", f"{path}: not an absolute path")
    if os.path.lexists(target):
        raise Refusal("refused", f"{path} exists; a backup never overwrites")
    if not target.parent.is_dir():
        raise Refusal("usage", f"{target.parent} is not a directory on this host")


def application(api: Api) -> web.Application:
    """All routes of the Unix socket."""

    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        await api.admit(request)
        return await handler(request)

    app = web.Application(middlewares=[_errors, admit], client_max_size=BODY_MAX)
    relationship = "/v1/relationships/{name}/"
    app.add_routes(
        [
            web.get("/v1/status", api.status),
            web.get("/v1/leases", api.leases),
            web.get("/v1/leases/{address}", api.lease),
            web.get("/v1/ddns", api.ddns),
            web.get("/v1/ddns/where", api.ddns_where),
            web.get("/v1/explain", api.explain),
            web.get("/v1/history", api.history),
            web.get("/v1/conflicts", api.conflicts),
            web.post(relationship + "partner-down", api.partner_down),
            web.post(relationship + "serve-force", api.serve_force),
            web.post(relationship + "pair-init", api.pair_init),
            *(web.post(relationship + verb, api.deed) for verb in DEEDS),
            web.post("/v1/backup", api.backup),
            *api.capture_routes,
            *api.ddns_routes,
        ]
    )
    return app


async def start_api(
    api_config: ApiConfig,
    loop: Commands,
    store: Archive,
    watch: Watched | None = None,
    tools: DnsTools | None = None,
    capture: Records | None = None,
) -> RunningApi:
    """Listen on the configured Unix socket and, unless it is "", on the metrics address. `tools`: None without zones.

    Raises OSError with a sentence that says why not.
    """
    api = Api(api_config, loop, store, watch, tools, capture)
    sockets = [listen_unix(api_config.socket)]
    apps = [application(api)]
    if api_config.metrics:
        try:
            sockets.append(listen_metrics(api_config.metrics))
        except OSError:
            sockets[0].close()
            os.unlink(api_config.socket)
            raise
        apps.append(web.Application(middlewares=[_errors]))
        apps[1].router.add_get("/metrics", api.metrics)
    listeners = []
    for app, listening in zip(apps, sockets, strict=True):
        listener = Listener(app, lambda: loop.note(CROWDED, "api"))
        await listener.start(listening)
        listeners.append(listener)
    where = sockets[1].getsockname()[:2] if api_config.metrics else None
    return RunningApi(api_config.socket, listeners, where)
