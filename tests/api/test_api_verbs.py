"""Every route: what reaches the node, what comes back, and every way to be refused."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path

import pytest

from failoverd.ports import Reply
from failoverd.shell import api as api_module
from failoverd.shell import api_ddns_models, listen
from failoverd.shell.api_models import ANSWERS, REQUESTS, Failure, schema
from tests.api.conftest import Start
from tests.api.fake_daemon import DEEDS, DOWN, LEASES, ME, OFFICE, PREVIEW, STATUS, UP, WALL, past

PARTNER_DOWN = "/v1/relationships/office/partner-down"
SCHEMA = Path(__file__).resolve().parents[2] / "schema" / "api.json"


def test_the_shipped_schema_is_that_of_the_models() -> None:
    assert SCHEMA.read_text() == schema(), "run: python -m failoverd.shell.api_models > schema/api.json"


async def test_every_route_is_in_the_schema_and_answers_in_its_shape(start: Start, tmp_path: Path) -> None:
    running = await start()
    routes = {
        f"{route.method} {route.resource.canonical}"
        for route in api_module.application(api_module.Api(running.config, running.loop, running.store)).router.routes()
        if route.method != "HEAD" and route.resource is not None
    }
    assert routes == set(ANSWERS)
    for path, model in ANSWERS.items():
        if path in api_ddns_models.ANSWERS:  # test_api_ddns.py
            continue
        method, where = path.split(" ")
        body = {} if path in REQUESTS else None
        if where == "/v1/backup":
            body = {"path": str(tmp_path / "copy.db")}
        where = where.replace("{address}", "10.10.0.100").replace("{name}", "office")
        status, answer = await running.ask(method, where + ("?name=ws17" if where.endswith(("explain", "where")) else ""), body)
        assert status == 200, (path, answer)
        model.model_validate(answer)


async def test_status_is_the_nodes_word_for_word(start: Start) -> None:
    running = await start()
    assert await running.ask("GET", "/v1/status") == (200, STATUS)


async def test_leases_pass_their_filters_and_bound_the_page(start: Start) -> None:
    running = await start()
    status, answer = await running.ask("GET", "/v1/leases?pool=10.10.0.0/22&state=active&limit=99999999&after=10.10.0.7")
    assert (status, answer["leases"]) == (200, LEASES)
    want = {"pool": "10.10.0.0/22", "state": "active", "limit": "1000", "after": "10.10.0.7"}
    assert running.loop.asked == [("lease-list", want, "", "")]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/leases?limit=0",
        "/v1/leases?limit=-1",
        "/v1/leases?limit=1e3",
        "/v1/leases?limit=%C2%B2",
        "/v1/leases?limit=9999999999",
        "/v1/leases?after=ten",
        "/v1/leases?statte=active",
        "/v1/leases?state=free&state=active",
        "/v1/leases/10.10.0.256",
        "/v1/leases/ws17",
        "/v1/explain",
        "/v1/explain?client=52:54&address=10.0.0.1",
        "/v1/explain?client=xx:yy",
        "/v1/explain?client=",
        "/v1/explain?client=123",
        "/v1/explain?address=10.0.0",
        "/v1/explain?name=",
        "/v1/explain?name=.",
        "/v1/history?limit=all",
    ],
)
async def test_a_question_that_makes_no_sense_never_reaches_the_node(start: Start, path: str) -> None:
    running = await start()
    status, answer = await running.ask("GET", path)
    assert (status, answer["error"]["code"], running.loop.asked) == (400, "usage", [])
    Failure.model_validate(answer)


@pytest.mark.parametrize("client", ["02:00:00:00:00:0A", "2:0:0:0:0:a", "02-00-00-00-00-0a", "0200.0000.000a", "02000000000a"])
async def test_explain_reads_hardware_addresses_as_people_write_them(start: Start, client: str) -> None:
    running = await start()
    await running.ask("GET", f"/v1/explain?client={client}")
    assert running.loop.asked == [("explain", {"client": "02:00:00:00:00:0a"}, "", "")]


async def test_partner_down_carries_who_and_why_and_is_noted(start: Start) -> None:
    running = await start()
    status, answer = await running.ask("POST", PARTNER_DOWN, {"reason": "psu dead, ticket 4711"})
    assert (status, answer) == (200, {**PREVIEW, "done": True})
    assert running.loop.asked == [("partner-down", {"relationship": "office"}, ME, "psu dead, ticket 4711")]
    assert running.loop.notes == [("api-change", "office", f"partner-down by {ME}, reason 'psu dead, ticket 4711': done")]


async def test_a_preview_changes_nothing(start: Start) -> None:
    running = await start()
    status, answer = await running.ask("POST", PARTNER_DOWN, {"dry_run": True})
    assert (status, answer["done"]) == (200, False)
    assert running.loop.asked == [("partner-down", {"relationship": "office", "dry_run": "1"}, ME, "")]
    assert running.loop.notes == []


@pytest.mark.parametrize(
    ("since", "want"),
    [
        ("2026-11-22T04:25:13Z", "1795321513"),
        ("2026-11-22T04:25:13.2Z", "1795321514"),
        ("2026-11-22T05:25:13+01:00", "1795321513"),
        ("1795321513", "1795321513"),
        (WALL, "1795321514"),
        (1795321513, "1795321513"),
    ],
)
async def test_since_reaches_the_node_in_whole_seconds_never_earlier(start: Start, since: str | float, want: str) -> None:
    running = await start()
    status, _ = await running.ask("POST", PARTNER_DOWN, {"since": since})
    assert (status, running.loop.asked[0][1]["since"]) == (200, want)


@pytest.mark.parametrize(
    "body",
    [
        {"since": "2026-11-22T04:25:13"},
        {"since": "yesterday"},
        {"since": ""},
        {"since": "nan"},
        {"since": -5},
        {"since": 1e300},
        {"since": True},
        {"dryrun": True},
        {"dry_run": "yes"},
        {"dry_run": 1},
        {"reason": 7},
        {"reason": "x" * 501},
        [],
        "partner-down",
    ],
)
async def test_a_body_that_is_not_understood_changes_nothing(start: Start, body: object) -> None:
    running = await start()
    status, answer = await running.ask("POST", PARTNER_DOWN, body)
    assert (status, answer["error"]["code"], running.loop.asked) == (400, "usage", [])


async def test_no_json_and_too_much_of_it(start: Start) -> None:
    running = await start()
    for data, want in ((b"{", 400), (b"\xff", 400), (b'{"reason": "' + b"x" * 70000 + b'"}', 413)):
        async with running.session.post("http://localhost" + PARTNER_DOWN, data=data) as answer:
            assert answer.status == want
            assert (await answer.json())["error"]["code"] == "usage"
    assert running.loop.asked == []


@pytest.mark.parametrize("verb", ["serve-force", "pair-init"])
async def test_acts_show_the_relationship_as_it_was(start: Start, verb: str) -> None:
    running = await start()
    path = f"/v1/relationships/office/{verb}"
    dry = {"relationship": "office", "before": OFFICE, "done": False, "message": ""}
    assert await running.ask("POST", path, {"dry_run": True}) == (200, dry)
    assert running.loop.changes() == []
    assert await running.ask("POST", path, {"reason": "new"}) == (200, {**dry, "done": True, "message": f"{verb} is done"})
    assert running.loop.changes() == [(verb, {"relationship": "office"}, ME, "new")]
    status, answer = await running.ask("POST", f"/v1/relationships/nobody/{verb}", {})
    assert (status, answer["error"]["code"]) == (404, "unknown")


@pytest.mark.parametrize("verb", DEEDS)
async def test_deeds_are_previewed_by_the_node_and_noted_when_done(start: Start, verb: str) -> None:
    running = await start()
    path = f"/v1/relationships/office/{verb}"
    said = running.loop.bodies[verb]["consequences"]
    dry = {"relationship": "office", "before": OFFICE, "done": False, "message": "", "consequences": said}
    assert await running.ask("POST", path, {"dry_run": True}) == (200, dry)
    assert (running.loop.changes(), running.loop.notes) == ([], [])
    assert await running.ask("POST", path, {"reason": "4711"}) == (200, {**dry, "done": True, "message": f"{verb} is done"})
    assert running.loop.changes() == [(verb, {"relationship": "office"}, ME, "4711")]
    assert running.loop.notes == [("api-change", "office", f"{verb} by {ME}, reason '4711': done")]
    running.loop.replies[verb] = Reply(0, "refused", None, "not now")
    for body in ({"dry_run": True}, {}):
        assert await running.ask("POST", path, body) == (409, {"error": {"code": "refused", "message": "not now"}})
    status, answer = await running.ask("POST", f"/v1/relationships/nobody/{verb}", {})
    assert (status, answer["error"]["code"]) == (404, "unknown")


@pytest.mark.parametrize(
    ("code", "http", "told"),
    [
        ("refused", 409, "refused"),
        ("usage", 400, "usage"),
        ("unknown", 404, "unknown"),
        ("failed", 500, "failed"),
        ("surprise", 500, "failed"),
    ],
)
async def test_the_nodes_refusals(start: Start, code: str, http: int, told: str) -> None:
    running = await start()
    running.loop.replies["partner-down"] = Reply(0, code, None, "the partner is in contact")
    assert await running.ask("POST", PARTNER_DOWN, {}) == (http, {"error": {"code": told, "message": "the partner is in contact"}})
    assert running.loop.notes[0][2].endswith(f"{told}: the partner is in contact")


async def test_paths_and_methods_that_do_not_exist(start: Start) -> None:
    running = await start()
    for method, path, http, code in (
        ("GET", "/", 404, "unknown"),
        ("GET", "/v2/status", 404, "unknown"),
        ("POST", "/v1/status", 405, "usage"),
        ("GET", PARTNER_DOWN, 405, "usage"),
        ("DELETE", "/v1/leases/10.10.0.100", 405, "usage"),
    ):
        status, answer = await running.ask(method, path)
        assert (status, answer["error"]["code"]) == (http, code)


async def test_a_late_answer_is_a_timeout_and_the_deed_goes_on(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "COMMAND_S", 0.05)
    running = await start()
    running.loop.gate = asyncio.Event()
    status, answer = await running.ask("POST", PARTNER_DOWN, {})
    assert (status, answer["error"]["code"], running.loop.finished) == (504, "timeout", 0)
    running.loop.gate.set()
    await asyncio.sleep(0.01)
    assert running.loop.finished == 1
    assert [name for name, _, _ in running.loop.notes] == ["api-timeout", "api-change"]


async def test_verbs_before_the_node_are_bounded(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_module, "COMMANDS_MAX", 2)
    running = await start()
    running.loop.gate = asyncio.Event()
    waiting = [asyncio.create_task(running.ask("GET", "/v1/status")) for _ in range(2)]
    for _ in waiting:
        await asyncio.wait_for(running.loop.arrived.acquire(), 10)
    status, answer = await running.ask("POST", PARTNER_DOWN, {})
    assert (status, answer["error"]["code"], len(running.loop.asked)) == (503, "busy", 2)
    running.loop.gate.set()
    assert [status for status, _ in await asyncio.gather(*waiting)] == [200, 200]
    assert (await running.ask("GET", "/v1/status"))[0] == 200


async def test_connections_are_bounded(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listen, "CONNECTIONS_MAX", 3)
    running = await start()
    held = [await asyncio.open_unix_connection(running.config.socket) for _ in range(3)]
    await asyncio.sleep(0.05)
    reader, writer = await asyncio.open_unix_connection(running.config.socket)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    assert running.loop.notes == [("api-too-many-connections", "api", "")]
    for _, each in held:
        each.close()
        await each.wait_closed()
    await asyncio.sleep(0.05)
    assert (await running.ask("GET", "/v1/status"))[0] == 200


async def test_history_is_the_stores_oldest_first(start: Start) -> None:
    running = await start()
    assert await running.ask("GET", "/v1/history") == (200, {"events": [DOWN, UP]})
    assert await running.ask("GET", "/v1/history?limit=1") == (200, {"events": [UP]})
    running.store.past = [past(3, {"wall": WALL, "what": "from another version"})]
    assert (await running.ask("GET", "/v1/history"))[1]["events"] == [
        {"wall": WALL, "what": "from another version", "who": "", "why": "", "subject": ""}
    ]
    assert running.loop.asked == []


async def test_backup_makes_a_new_file_and_never_overwrites(start: Start, tmp_path: Path) -> None:
    running = await start()
    path = tmp_path / "copy.db"
    assert await running.ask("POST", "/v1/backup", {"path": str(path)}) == (200, {"path": str(path), "size": 10, "done": True})
    assert running.loop.notes == [("api-change", "", f"backup path={path} by {ME}, reason '': done")]
    assert running.loop.asked == [("backup-made", {"path": str(path)}, ME, "")], "kept with who and when (safety rule 27)"
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for where, http, code in (
        (path, 409, "refused"),
        (tmp_path / "dangling", 409, "refused"),
        ("copy.db", 400, "usage"),
        (tmp_path / "no" / "copy.db", 400, "usage"),
        ("", 400, "usage"),
    ):
        status, answer = await running.ask("POST", "/v1/backup", {"path": str(where)})
        assert (status, answer["error"]["code"]) == (http, code)
    running.store.error = OSError(28, "No space left on device")
    status, answer = await running.ask("POST", "/v1/backup", {"path": str(tmp_path / "other.db")})
    assert (status, answer["error"]["code"]) == (500, "failed")
    assert "No space left" in answer["error"]["message"]


async def test_an_answer_that_is_no_json_number_is_our_mistake_not_a_silent_nan(start: Start) -> None:
    running = await start()
    running.loop.bodies["status"] = {**copy.deepcopy(STATUS), "wall": float("nan")}
    async with running.session.get("http://localhost/v1/status") as answer:
        assert answer.status == 500
