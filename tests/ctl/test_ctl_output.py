"""What failoverctl prints: tables as files in golden/ (GOLDEN=write regenerates them, review the diff), JSON in the API's shapes."""

from __future__ import annotations

import copy
import json
import os
import re
import time
from pathlib import Path

import pytest

from failoverd.ctl import table, words
from failoverd.ctl.kinds import guess
from failoverd.shell import api_ddns_models
from failoverd.shell.api_models import ANSWERS
from tests.api.fake_daemon import LAB, LEASES, STATUS, TWO, WALL, lease
from tests.ctl.conftest import Shell

GOLDEN = Path(__file__).parent / "golden"

TABLES = {
    "status": ("status",),
    "status-office": ("status", "office"),
    "lease-list": ("lease", "list"),
    "lease-get": ("lease", "get", "10.10.0.100"),
    "explain": ("explain", "52:54:00:12:34:56"),
    "history": ("history",),
    "conflicts": ("conflicts",),
    "maintenance-start-preview": ("maintenance", "start", "--dry-run"),
    "recover-preview": ("recover", "office", "--dry-run"),
    "partner-down-preview": ("partner-down", "office", "--dry-run"),
    "partner-down-since": ("partner-down", "office", "--dry-run", "--since", "2026-11-22T04:11:08Z"),
    "serve-force-preview": ("serve", "--force", "--dry-run"),
    "pair-init-preview": ("pair", "init", "office", "--dry-run"),
}


def check(name: str, text: str) -> None:
    """Compare with the golden file."""
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", TABLES)
def test_tables(shell: Shell, name: str) -> None:
    result = shell.run(*TABLES[name])
    assert (result.exit_code, result.stderr) == (0, "")
    check(name, result.stdout)
    assert shell.daemon.loop.changes() == []


def test_status_of_two_relationships_with_waits(shell: Shell) -> None:
    shell.daemon.loop.bodies["status"] = copy.deepcopy(TWO)
    check("status-two", shell.run("status").stdout)
    check("status-lab", shell.run("status", "lab").stdout)
    check("serve-force-in-doubt", shell.run("serve", "--force", "lab", "--dry-run").stdout)


def test_status_of_a_server_alone(shell: Shell) -> None:
    pools = [pool for pool in STATUS["pools"] if pool["relationship"] is None]
    shell.daemon.loop.bodies["status"] = {
        **STATUS,
        "relationships": [],
        "pools": pools,
        "dns": {"zones": [], "rows": {}},
        "warnings": [],
    }
    check("status-alone", shell.run("status").stdout)


def test_ddns_status(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: WALL)
    check("ddns-status", shell.run("ddns", "status").stdout)
    shell.daemon.loop.bodies["ddns-status"] = {"zones": [], "rows": {}, "pending": []}
    assert shell.run("ddns", "status").stdout == "no zones are configured\nDNS rows: none\n"


def test_nothing_to_show_is_said(shell: Shell) -> None:
    loop = shell.daemon.loop
    loop.bodies["lease-list"] = {"leases": [], "more": False}
    loop.bodies["explain"] = {"decisions": []}
    shell.daemon.store.past = []
    assert shell.run("lease", "list").stdout == "no leases\n"
    assert shell.run("history").stdout == "no events\n"
    assert shell.run("explain", "ws17").stdout.startswith("nothing was decided about ws17 ")


JSON_VERBS = {
    "GET /v1/status": ("status",),
    "GET /v1/leases": ("lease", "list"),
    "GET /v1/leases/{address}": ("lease", "get", "10.10.0.100"),
    "GET /v1/ddns": ("ddns", "status"),
    "GET /v1/ddns/where": ("ddns", "wait", "ws17.dyn.example.test"),
    "GET /v1/explain": ("explain", "name", "ws17"),
    "GET /v1/history": ("history",),
    "POST /v1/relationships/{name}/partner-down": ("partner-down", "office", "--yes"),
    "POST /v1/relationships/{name}/serve-force": ("serve", "--force", "office", "--yes"),
    "POST /v1/relationships/{name}/pair-init": ("pair", "init", "office", "--yes"),
    "GET /v1/conflicts": ("conflicts",),
    "POST /v1/relationships/{name}/maintenance-start": ("maintenance", "start", "--dry-run"),
    "POST /v1/relationships/{name}/maintenance-end": ("maintenance", "end", "office", "--yes"),
    "POST /v1/relationships/{name}/recover": ("recover", "office", "--yes"),
    "POST /v1/relationships/{name}/pool-rebalance": ("pool", "rebalance", "office", "--yes"),
    "POST /v1/backup": ("backup",),
    "GET /v1/capture": ("capture", "status"),
    "POST /v1/capture/start": ("capture", "start"),
    "POST /v1/capture/stop": ("capture", "stop"),
}


def test_every_answer_has_a_verb() -> None:
    assert set(JSON_VERBS) | set(api_ddns_models.ANSWERS) == set(ANSWERS)  # those: test_ctl_ddns.py, test_bind_audit.py


@pytest.mark.parametrize("path", JSON_VERBS)
def test_json_follows_the_schema(shell: Shell, path: str, tmp_path: Path) -> None:
    verb = JSON_VERBS[path] if path != "POST /v1/backup" else ("backup", str(tmp_path / "copy.db"))
    shell.daemon.capture.running = path.endswith("stop")
    before = shell.run("-o", "json", *verb)
    assert (before.exit_code, before.stderr) == (0, "")
    ANSWERS[path].model_validate_json(before.stdout)


def test_the_output_option_stands_before_or_after_the_verb(shell: Shell) -> None:
    assert json.loads(shell.run("-o", "json", "status").stdout) == STATUS
    assert json.loads(shell.run("status", "-o", "json").stdout) == STATUS
    assert json.loads(shell.run("lease", "list", "--output", "json").stdout)["leases"] == LEASES


def test_leases_come_in_pages_and_end_as_one(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("failoverd.ctl.main.PAGE", 2)
    loop = shell.daemon.loop
    loop.bodies["lease-list"] = {"leases": [lease(1), lease(2)], "more": True}
    pages = iter([{"leases": [lease(3), lease(4)], "more": True}, {"leases": [lease(5)], "more": False}])
    ask = loop.command

    async def command(verb: str, args: dict[str, str], who: str, why: str) -> object:
        reply = await ask(verb, args, who, why)
        loop.bodies["lease-list"] = next(pages, None)
        return reply

    monkeypatch.setattr(loop, "command", command)
    answer = json.loads(shell.run("-o", "json", "lease", "list", "--pool", "10.10.0.0/22", "--state", "active").stdout)
    assert [each["address"] for each in answer["leases"]] == [f"10.10.0.{n}" for n in range(1, 6)]
    assert answer["more"] is False
    common = {"pool": "10.10.0.0/22", "state": "active", "limit": "2"}
    assert [args for _, args, _, _ in loop.asked] == [common, {**common, "after": "10.10.0.2"}, {**common, "after": "10.10.0.4"}]


def test_a_limit_is_kept_and_more_is_said(shell: Shell) -> None:
    shell.daemon.loop.bodies["lease-list"] = {"leases": LEASES, "more": True}
    assert json.loads(shell.run("-o", "json", "lease", "list", "--limit", "3").stdout)["more"] is True
    assert [args for _, args, _, _ in shell.daemon.loop.asked] == [{"limit": "3"}]


def test_foreign_text_cannot_steer_the_terminal(shell: Shell) -> None:
    shown = shell.run("lease", "list").stdout
    assert "\x1b" not in shown
    assert "bad\\x1b[2Jname" in shown
    assert words.plain("a\nb\u202ec\u0007é") == "a\\nb\\u202ec\\x07é"


@pytest.mark.parametrize(
    ("what", "want"),
    [
        (("52:54:00:12:34:56",), {"client": "52:54:00:12:34:56"}),
        (("client", "ff:00:01"), {"client": "ff:00:01"}),
        (("10.20.0.77",), {"address": "10.20.0.77"}),
        (("addr", "10.20.0.77"), {"address": "10.20.0.77"}),
        (("ws17.dyn.example.test.",), {"name": "ws17.dyn.example.test."}),
        (("name", "10.20.0.77"), {"name": "10.20.0.77"}),
    ],
)
def test_explain_guesses_the_kind_unless_told(shell: Shell, what: tuple[str, ...], want: dict[str, str]) -> None:
    assert shell.run("explain", *what).exit_code == 0
    assert shell.daemon.loop.asked == [("explain", want, "", "")]


def test_guesses() -> None:
    for text, kind in (
        ("52-54-00-12-34-56", "client"),
        ("5254.0012.3456", "client"),
        ("525400123456", "client"),
        ("2:0:0:0:0:a", "client"),
        ("ff:00:00:00:01:00", "client"),
        ("10.0.0.1", "address"),
        ("999.0.0.1", "address"),
        ("printer", "name"),
        ("cafe", "name"),
        ("ws17.example", "name"),
    ):
        assert guess(text) == kind, text


def test_durations_and_times_in_words() -> None:
    for seconds, want in (
        (0, "0s"),
        (1.25, "1.2s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (59.6, "1m"),
        (842, "14m 2s"),
        (3600, "1h"),
        (7260, "2h 1m"),
        (86399.9, "1d"),
        (525600, "6d 2h"),
        (40000000, "462d 23h"),
        (-5, "-5s"),
    ):
        assert words.duration(seconds) == want
    assert words.moment(WALL) == "2026-11-22T04:25:13Z"
    assert (words.moment(0), words.moment(words.NEVER), words.ago(0, WALL)) == ("-", "infinite", "never")
    assert words.due(WALL + 3600, WALL) == "2026-11-22T05:25:13Z (in 1h)"
    assert words.due(WALL - 5, WALL) == "2026-11-22T04:25:08Z (now)"


def test_the_layout_in_colour_is_the_plain_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from failoverd.ctl import show

    monkeypatch.setattr(table, "is_screen", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.delenv("NO_COLOR", raising=False)
    blocks = show.status({**TWO, "relationships": [*TWO["relationships"], LAB]})  # type: ignore[typeddict-item]
    table.write(blocks)
    coloured = capsys.readouterr().out
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == table.text(blocks)
    monkeypatch.setenv("NO_COLOR", "1")
    table.write(blocks)
    assert capsys.readouterr().out == table.text(blocks)
