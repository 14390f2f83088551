"""The API's routes about names in DNS: rows, audits and repairs, tests of a zone, static entries."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web

from failoverd.ddns.rows import row_key
from failoverd.ddns.zone import DnsPlan
from failoverd.node_ddns import absolute
from failoverd.ports import DnsAnswer, DnsQuery, DnsUpdate, Kind
from failoverd.shell import api_ddns_models as models
from failoverd.shell.api_requests import STATUS_OF, WHO, Handler, Refusal, answer, body_of, count_of, query_of
from failoverd.shell.audits import Audit, AuditRefused, Audits
from failoverd.shell.dns_acts import Asks, DnsActs, data

if TYPE_CHECKING:
    from failoverd.shell.api import Api
    from failoverd.shell.journal import Past

ENTRIES_PAGE = 200
HISTORY_MAX = 200
WAIT_S = 20.0  # how long one look at an audit waits for its end


class DnsTools:
    """What the routes work with besides the node."""

    def __init__(self, plan: DnsPlan, masters: Asks) -> None:
        self.plan = plan
        self.audits = Audits(plan)
        self.acts = DnsActs(plan, masters)

    async def close(self) -> None:
        """Stop."""
        await self.audits.close()
        await self.acts.close()


class _Nobody:
    """No masters."""

    def submit(self, message: DnsUpdate | DnsQuery, deliver: Callable[[DnsAnswer], None]) -> None:
        """Nobody is there."""
        deliver(DnsAnswer(message.ident, "UNREACHABLE", ""))


def no_tools() -> DnsTools:
    """For a server without zones."""
    return DnsTools(DnsPlan(()), _Nobody())


class DdnsApi:
    """The handlers."""

    def __init__(self, api: Api, tools: DnsTools) -> None:
        self._api = api
        self._tools = tools

    def routes(self) -> list[web.RouteDef]:
        """All of them."""
        get = {
            "rows": self.rows,
            "names/{name}": self.show,
            "names/{name}/history": self.history,
            "audits/{number}": self.audit,
        }
        post = {
            "retry": self.retry,
            "resend": self.resend,
            "take": self.take,
            "drop": self.drop,
            "hold": self.hold,
            "release": self.release,
            "test": self.test,
            "audits": self.start,
            "audits/{number}/repair": self.repair,
            "statics/add": self.static_add,
            "statics/delete": self.static_delete,
        }
        return [
            *(web.get("/v1/ddns/" + path, _refusals(handler)) for path, handler in get.items()),
            *(web.post("/v1/ddns/" + path, _refusals(handler)) for path, handler in post.items()),
        ]

    # --- looking ------------------------------------------------------------------------------------------------------

    async def rows(self, request: web.Request) -> web.Response:
        """GET /v1/ddns/rows?state=&after=&limit="""
        args = query_of(request, "state", "after", "limit")
        if "limit" in args:
            args["limit"] = str(count_of(args["limit"], "limit"))
        return answer((await self._api.ask("ddns-rows", args)).body)

    async def show(self, request: web.Request) -> web.Response:
        """GET /v1/ddns/names/{name}: a name or an IPv4 address."""
        return answer((await self._api.ask("ddns-show", {"name": request.match_info["name"]})).body)

    async def history(self, request: web.Request) -> web.Response:
        """GET /v1/ddns/names/{name}/history: the journal of its rows, as far back as it is kept."""
        shown = (await self._api.ask("ddns-show", {"name": request.match_info["name"], "anyway": "1"})).body
        name = str(cast("dict[str, object]", shown)["name"])
        entries: list[dict[str, object]] = []
        for target in sorted({zone.target for zone in self._tools.plan.zones}):
            for kind in ("fwd", "rev"):
                past = await self._api.store.history(Kind.DDNS, row_key(target, kind, name), HISTORY_MAX)
                entries += [_past(each, target, kind, name) for each in past]
        entries.sort(key=lambda each: cast(float, each["wall"]))
        return answer({"name": name, "entries": entries})

    # --- rows ---------------------------------------------------------------------------------------------------------

    async def retry(self, request: web.Request) -> web.Response:
        """POST /v1/ddns/retry"""
        body = await body_of(request, models.RetryRequest)
        return await self._rows(request, "ddns-retry", {"names": ",".join(body.names)}, body)

    async def resend(self, request: web.Request) -> web.Response:
        """POST /v1/ddns/resend"""
        body = await body_of(request, models.ResendRequest)
        return await self._rows(request, "ddns-resend", {"what": body.what}, body)

    async def drop(self, request: web.Request) -> web.Response:
        """POST /v1/ddns/drop"""
        body = await body_of(request, models.NameRequest)
        return await self._rows(request, "ddns-drop", {"name": body.name}, body)

    async def take(self, request: web.Request) -> web.Response:
        """POST /v1/ddns/take: what stands at the name is asked of the master first, and exactly that is removed."""
        body = await body_of(request, models.NameRequest)
        records = await self._tools.acts.at(absolute(body.name))
        return await self._rows(request, "ddns-take", {"name": body.name, "records": json.dumps(records)}, body)

    async def _rows(self, request: web.Request, verb: str, args: dict[str, str], body: models.DdnsRequest) -> web.Response:
        reply = await self._change(request, verb, args, body)
        return answer({**cast("dict[str, object]", reply[0]), "message": reply[1]})

    async def _change(self, request: web.Request, verb: str, args: dict[str, str], body: models.DdnsRequest) -> tuple[object, str]:
        if body.dry_run:
            reply = await self._api.ask(verb, {**args, "dry_run": "1"}, request[WHO], body.reason)
        else:
            reply = await self._api.change(request, verb, args, body.reason)
        return reply.body, reply.message

    async def hold(self, request: web.Request) -> web.Response:
        """POST /v1/ddns/hold"""
        return await self._zone(request, "ddns-hold")

    async def release(self, request: web.Request) -> web.Response:
        """POST /v1/ddns/release"""
        return await self._zone(request, "ddns-release")

    async def _zone(self, request: web.Request, verb: str) -> web.Response:
        body = await body_of(request, models.ZoneRequest)
        done, message = await self._change(request, verb, {"zone": body.zone}, body)
        return answer({**cast("dict[str, object]", done), "message": message})

    # --- audits -------------------------------------------------------------------------------------------------------

    async def start(self, request: web.Request) -> web.Response:
        """POST /v1/ddns/audits: begins one; it is looked at by its number."""
        body = await body_of(request, models.AuditRequest)
        run = self._tools.audits.start(
            self._api.loop.command, body.what, absolute(body.zone) if body.zone else "", body.adopt_orphans_s
        )
        return answer(self._view(run, 0))

    async def audit(self, request: web.Request) -> web.Response:
        """GET /v1/ddns/audits/{number}?after=: waits a while for its end; then its findings, page by page."""
        run = self._tools.audits.get(_number(request))
        args = query_of(request, "after")
        after = count_of(args["after"], "after") if "after" in args else 0
        if run.state == "running":
            await self._tools.audits.wait(WAIT_S)
        return answer(self._view(run, after))

    async def repair(self, request: web.Request) -> web.Response:
        """POST /v1/ddns/audits/{number}/repair"""
        body = await body_of(request, models.RepairRequest)
        run = self._tools.audits.get(_number(request))
        args = {"audit": str(run.number), "force": str(body.force)}
        try:
            count, left = await self._tools.audits.repair(
                run, self._api.loop.command, request[WHO], body.reason, force=body.force, dry_run=body.dry_run
            )
        except AuditRefused as refused:
            self._api.changed(request, "ddns-repair", args, body.reason, f"{refused.code}: {refused.message}")
            raise
        if not body.dry_run:
            self._api.changed(request, "ddns-repair", args, body.reason, f"{count} names")
        return answer({"repairs": count, "left": left, "done": not body.dry_run})

    def _view(self, run: Audit, after: int) -> dict[str, object]:
        entries = run.entries if run.state == "done" else []
        statics = run.statics if run.state == "done" else []
        end = after + ENTRIES_PAGE
        keys = ("zone", "name", "ttl", "type", "value")
        return {
            "number": run.number,
            "what": run.what,
            "state": run.state,
            "step": run.step,
            "began": run.began,
            "ended": run.ended,
            "zones": [{name: getattr(zone, name) for name in models.AuditZone.model_fields} for zone in run.zones],
            "skipped": run.skipped,
            "repairs": len(run.repairable()) if run.state == "done" else 0,
            "over": self._tools.audits.limits(run) if run.state == "done" and after == 0 else [],
            "findings": [
                {
                    "target": each.target,
                    "kind": each.kind,
                    "name": each.name,
                    "class": each.klass,
                    "repair": each.repair,
                    "detail": each.detail,
                    "records": [list(record) for record in each.records],
                    "script": script,
                }
                for each, script in entries[after:end]
            ],
            "statics": [dict(zip(keys, each, strict=True)) for each in statics[after:end]],
            "next": end if max(len(entries), len(statics)) > end else -1,
        }

    # --- messages of the operator's -------------------------------------------------------------------------------------

    async def test(self, request: web.Request) -> web.Response:
        """POST /v1/ddns/test"""
        body = await body_of(request, models.TestRequest)
        zone = absolute(body.zone)
        self._tools.acts.zones(zone)
        await self._api.change(request, "ddns-outside", {"what": "ddns test", "zone": zone}, body.reason)
        lines = await self._tools.acts.test(zone)
        return answer({"zone": zone, "good": all(line.good for line in lines), "lines": [line._asdict() for line in lines]})

    async def static_add(self, request: web.Request) -> web.Response:
        """POST /v1/ddns/statics/add"""
        return await self._static(request, "add")

    async def static_delete(self, request: web.Request) -> web.Response:
        """POST /v1/ddns/statics/delete"""
        return await self._static(request, "delete")

    async def _static(self, request: web.Request, what: str) -> web.Response:
        body = await body_of(request, models.StaticRequest)
        acts = self._tools.acts
        name, rtype = absolute(body.name), body.type.upper()
        zone, text = acts.zone_of(name), data(rtype, body.value)
        acts.operated(zone)
        args = {"what": f"ddns static {what} {rtype} {text}", "zone": zone, "name": name, "static": "1"}
        await self._api.change(request, "ddns-outside", args, body.reason)
        try:
            if what == "add":
                await acts.add(zone, name, body.ttl, rtype, body.value)
            else:
                await acts.delete(zone, name, rtype, body.value)
        except AuditRefused as refused:
            self._api.changed(request, "ddns-static", args, body.reason, f"{refused.code}: {refused.message}")
            raise
        return answer({"zone": zone, "name": name, "type": rtype, "value": text, "done": True})


def _refusals(handler: Handler) -> Handler:
    """An AuditRefused as the API's own refusal."""

    async def handled(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except AuditRefused as refused:
            raise Refusal(refused.code if refused.code in STATUS_OF else "failed", refused.message) from refused

    return handled


def _number(request: web.Request) -> int:
    text = request.match_info["number"]
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise AuditRefused("usage", f"{text!r} is no number of an audit")
    return int(text)


def _past(past: Past, target: str, kind: str, name: str) -> dict[str, object]:
    """One journal record of a row."""
    record: Mapping[str, Any] = json.loads(past.record) if past.record else {}

    def values(key: str) -> list[str]:
        return [" ".join(map(str, each)) for each in record.get(key, ())]

    return {
        "wall": past.wall,
        "target": target,
        "kind": kind,
        "name": name,
        "state": record.get("state", "clean") if record else "gone",
        "want": values("want"),
        "have": values("have"),
        "rcode": record.get("last_rcode", ""),
        "cause": past.cause,
        "origin": past.origin.value,
    }
