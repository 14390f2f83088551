"""The routes about names against the real node: shapes, rows, holds, refusals. Its master is not there (test_bind_audit.py has one)."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from failoverd.config import load
from failoverd.ddns.plan import Planner
from failoverd.failover.message import ServerState
from failoverd.node import Node
from failoverd.ports import Now, Stored
from failoverd.shell import api_ddns_models
from failoverd.shell.api_models import ANSWERS, REQUESTS, Failure
from tests.api.fake_daemon import WALL
from tests.api.test_api_node import SAMPLE, NodeLoop
from tests.ddns.rig import lease
from tests.ddns.site import Site

H1 = "h1.example.test."
BODIES: dict[str, Any] = {
    "resend": {"what": "all"},
    "take": {"name": H1},
    "drop": {"name": "h2.example.test"},
    "hold": {"zone": "example.test"},
    "release": {"zone": "example.test"},
    "test": {"zone": "example.test"},
    "statics/add": {"name": "www.example.test", "type": "A", "value": "192.0.2.2"},
    "statics/delete": {"name": "www.example.test", "type": "A", "value": "192.0.2.2"},
}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with Site(tmp_path, 1) as running:
        running.change(lease(10, 1))
        running.change(lease(11, 2, "h2.example.test."))
        yield running


async def ask(site: Site, method: str, path: str, body: object = None) -> tuple[int, Any]:
    connector = aiohttp.UnixConnector(site.socket)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.request(method, "http://localhost" + path, json=body) as answer,
    ):
        return answer.status, await answer.json()


async def test_every_route_answers_in_its_shape(site: Site) -> None:
    await asyncio.sleep(0.1)
    for path, model in api_ddns_models.ANSWERS.items():
        method, where = path.split(" ")
        body = BODIES.get(where.removeprefix("/v1/ddns/"), {}) if path in REQUESTS else None
        if "{number}" in where:
            await site.tools.audits.wait(20)
        status, answer = await ask(site, method, where.replace("{name}", H1).replace("{number}", "1"), body)
        if where.endswith(("take", "statics/add", "statics/delete", "{number}/repair")):
            expected = 500 if where.endswith(("take", "add", "delete")) else 200
            assert status == expected, (path, answer)
        else:
            assert status == 200, (path, answer)
        (model if status == 200 else Failure).model_validate(answer)
    assert set(api_ddns_models.ANSWERS) <= set(ANSWERS)


async def test_an_audit_of_a_zone_that_cannot_be_transferred_says_why(site: Site) -> None:
    status, answer = await ask(site, "POST", "/v1/ddns/audits", {})
    assert (status, answer["state"]) == (200, "running")
    assert (await ask(site, "POST", "/v1/ddns/audits", {}))[0] == 409
    status, answer = await ask(site, "GET", f"/v1/ddns/audits/{answer['number']}")
    assert answer["state"] == "done"
    assert all("127.0.0.1:1" in zone["error"] for zone in answer["zones"])


async def test_rows_page_by_page_and_by_state(site: Site) -> None:
    names = []
    after = ""
    while True:
        status, page = await ask(site, "GET", "/v1/ddns/rows?limit=1" + (f"&after={after}" if after else ""))
        assert status == 200
        names += [row["name"] for row in page["rows"]]
        if not page["more"]:
            break
        after = page["after"]
    assert names == [H1, "h2.example.test.", "10.2.0.192.in-addr.arpa.", "11.2.0.192.in-addr.arpa."]
    assert (await ask(site, "GET", "/v1/ddns/rows?state=conflict,dead"))[1]["rows"] == []
    assert (await ask(site, "GET", "/v1/ddns/rows?state=lost"))[0] == 400
    assert (await ask(site, "GET", "/v1/ddns/rows?state=a&statte=b"))[0] == 400


async def test_a_name_by_name_and_by_address(site: Site) -> None:
    for what in ("H1.Example.Test", H1, "192.0.2.10", "10.2.0.192.in-addr.arpa"):
        status, answer = await ask(site, "GET", f"/v1/ddns/names/{what}")
        assert status == 200
        assert [row["name"] for row in answer["rows"]] in ([H1, "10.2.0.192.in-addr.arpa."], ["10.2.0.192.in-addr.arpa.", H1])
        assert answer["leases"][0]["address"] == "192.0.2.10"
    assert (await ask(site, "GET", "/v1/ddns/names/nobody.example.test"))[0] == 404


async def test_history_of_a_name(site: Site) -> None:
    status, answer = await ask(site, "GET", f"/v1/ddns/names/{H1}/history")
    assert status == 200
    assert answer["entries"][0]["want"] == ["A 192.0.2.10 1200"]
    assert (await ask(site, "GET", "/v1/ddns/names/192.0.2.10/history"))[1]["name"] == "10.2.0.192.in-addr.arpa."


async def test_hold_and_release_keep_who_and_why(site: Site) -> None:
    status, answer = await ask(site, "POST", "/v1/ddns/hold", {"zone": "Example.Test", "reason": "moving it"})
    assert (status, answer) == (200, {"zone": "example.test.", "done": True, "message": ""})
    zones = (await ask(site, "GET", "/v1/ddns"))[1]["zones"]
    assert {zone["zone"]: zone["state"] for zone in zones}["example.test."] == "held"
    status, answer = await ask(site, "POST", "/v1/ddns/release", {"zone": "example.test", "dry_run": True})
    assert answer["done"] is False
    assert (await ask(site, "POST", "/v1/ddns/release", {"zone": "example.test"}))[1]["done"] is True
    assert (await ask(site, "POST", "/v1/ddns/release", {"zone": "example.test"}))[1]["done"] is False
    assert (await ask(site, "POST", "/v1/ddns/hold", {"zone": "other.test"}))[0] == 404
    assert (await ask(site, "POST", "/v1/ddns/release", {"zone": "other.test"}))[0] == 404
    events = [json.loads(str(past.record)) for past in await site.journal.events(10)]
    assert [(event["what"], event["why"]) for event in events[::-1]] == [("ddns hold", "moving it"), ("ddns release", "")]


@pytest.mark.parametrize(
    ("what", "rows"),
    [
        ("all", 4),
        ("192.0.2.0/24", 4),
        ("192.0.2.10", 2),
        ("192.0.2.8/29", 4),
        ("0.0.0.0/0", 4),
        ("192.0.2.11/32", 2),
        ("example.test", 2),
        ("h1.example.test", 2),
        ("2.0.192.in-addr.arpa.", 2),
    ],
)
async def test_resend_picks(site: Site, what: str, rows: int) -> None:
    status, answer = await ask(site, "POST", "/v1/ddns/resend", {"what": what, "dry_run": True})
    assert (status, answer["rows"], answer["done"]) == (200, rows, False)


async def test_nobody_to_resend_retry_take_or_drop(site: Site) -> None:
    assert (await ask(site, "POST", "/v1/ddns/resend", {"what": "203.0.113.0/24"}))[0] == 404
    assert (await ask(site, "POST", "/v1/ddns/resend", {"what": "no.such.name"}))[0] == 404
    assert (await ask(site, "POST", "/v1/ddns/retry", {"names": ["no.such.name"]}))[0] == 404
    assert (await ask(site, "POST", "/v1/ddns/drop", {"name": "no.such.name"}))[0] == 404
    assert (await ask(site, "POST", "/v1/ddns/take", {"name": "no.such.name"}))[0] == 404
    assert (await ask(site, "POST", "/v1/ddns/test", {"zone": "no.such.zone"}))[0] == 404
    assert (await ask(site, "GET", "/v1/ddns/audits/99"))[0] == 404
    assert (await ask(site, "GET", "/v1/ddns/audits/x"))[0] == 400
    assert (await ask(site, "POST", "/v1/ddns/audits/1/repair", {"forse": True}))[0] == 400


async def test_drop_forgets_the_rows(site: Site) -> None:
    for _ in range(100):
        status, _ = await ask(site, "POST", "/v1/ddns/drop", {"name": H1})
        if status == 200:
            break
        await asyncio.sleep(0.05)
    assert status == 200
    assert (await ask(site, "GET", "/v1/ddns/rows"))[1]["rows"][0]["name"] == "h2.example.test."


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({"name": H1, "type": "A", "value": "192.0.2.2"}, 409, "a lease wants this name"),
        ({"name": "50.2.0.192.in-addr.arpa", "type": "PTR", "value": "x.example.test."}, 409, "is in pool"),
        ({"name": "www.example.test", "type": "NS", "value": "ns."}, 400, "one of A, AAAA"),
        ({"name": "www.example.test", "type": "A", "value": "192.0.2.256"}, 400, "is no A record"),
        ({"name": "www.example.test", "type": "CNAME", "value": "host"}, 400, "a dot at the end"),
        ({"name": "www.elsewhere.test", "type": "A", "value": "192.0.2.2"}, 404, "in no zone"),
    ],
)
async def test_static_entries_are_refused_with_a_reason(site: Site, body: object, status: int, word: str) -> None:
    got, answer = await ask(site, "POST", "/v1/ddns/statics/add", body)
    assert got == status, answer
    assert word in answer["error"]["message"]


async def test_without_a_key_of_its_own_there_are_no_static_entries(tmp_path: Path) -> None:
    async with Site(tmp_path, 1, static=False) as site:
        status, answer = await ask(site, "POST", "/v1/ddns/statics/add", BODIES["statics/add"])
        assert (status, "static-key-file" in answer["error"]["message"]) == (409, True)


def stays(planner: Planner, monkeypatch: pytest.MonkeyPatch, *, fenced: bool) -> None:
    """Whatever the node thinks of its state."""
    planner._outbox.fenced = fenced
    monkeypatch.setattr(planner, "fence", lambda *_, **__: None)


async def test_a_server_in_doubt_sends_nothing_for_an_operator_either(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    stays(site.node.planner, monkeypatch, fenced=True)
    for path in ("test", "statics/add"):
        status, answer = await ask(site, "POST", f"/v1/ddns/{path}", BODIES[path])
        assert (status, "in doubt" in answer["error"]["message"]) == (409, True)


def pair(server: str, state: ServerState | None) -> NodeLoop:
    """A server of the sample pair in a state of its relationship."""
    node = Node(load(str(SAMPLE)), server, Stored(), Now(WALL, 0.0), random.Random(1))
    node.boot(Now(WALL, 0.0))
    if state is not None:
        for endpoint in node.endpoints.values():
            endpoint.record.state = state
    return NodeLoop(node)


@pytest.mark.parametrize(
    ("server", "state", "code", "why"),
    [
        ("dhcp1", None, "refused", "repairs need normal, or partner-down"),
        ("dhcp1", ServerState.COMMUNICATIONS_INTERRUPTED, "refused", "repairs need normal, or partner-down"),
        ("dhcp1", ServerState.POTENTIAL_CONFLICT, "refused", "repairs need normal, or partner-down"),
        ("dhcp1", ServerState.NORMAL, "ok", ""),
        ("dhcp2", ServerState.NORMAL, "ok", ""),
        ("dhcp2", ServerState.PARTNER_DOWN, "ok", ""),
    ],
)
async def test_repairs_need_a_whole_pair_and_one_server_removes(
    server: str, state: ServerState | None, code: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = pair(server, state)
    stays(loop.node.planner, monkeypatch, fenced=False)
    await loop.command("status", {}, "", "")
    stale = ["main", "fwd", H1, "stale", "remove", "", [["A", "192.0.2.10"]], [["A", "192.0.2.10"]], "AAAB", ""]
    args = {"findings": json.dumps([stale]), "first": "1"}
    reply = await loop.command("ddns-repair", args, "alice", "ticket 7")
    assert reply.code == code
    assert why in reply.message
    if code == "ok":
        left = int((server, state) == ("dhcp2", ServerState.NORMAL))
        assert reply.body == {"rows": 1 - left, "left": left, "done": True}
