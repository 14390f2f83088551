"""failoverctl ddns: what is asked, what is shown. Whole ways through node, mirror and BIND: tests/ddns/test_bind_audit.py."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from failoverd.ctl import client, show_names, table
from failoverd.ports import Kind, Origin, Reply
from failoverd.shell.api_ddns_models import Audit, Row, ZoneTest
from failoverd.shell.journal import Past
from tests.api.fake_daemon import ME, WALL
from tests.ctl.conftest import Shell
from tests.ctl.test_ctl_output import check

NAME = "ws17.dyn.example.test."
ROW: dict[str, Any] = {
    "target": "main",
    "kind": "fwd",
    "name": NAME,
    "zone": "dyn.example.test.",
    "state": "clean",
    "owner": "this server",
    "want": [["A", "10.10.0.100", 1200]],
    "have": [["A", "10.10.0.100", 1200]],
    "maybe": [],
    "guard": "AAABxLmlskllE0MVjd57zHcWmEH3pCQ6VytcKD//7es/deY=",
    "attempts": 0,
    "dirty_since": 0,
    "next_at": 0,
    "rcode": "NOERROR",
    "detail": "",
    "server": "10.10.0.53:53",
}
TROUBLE = {
    **ROW,
    "name": "ws18.dyn.example.test.",
    "state": "conflict",
    "have": [],
    "dirty_since": WALL - 371,
    "next_at": WALL + 3229,
    "rcode": "NXRRSET",
    "detail": "its DHCID is AAEBOSD+XR3Os/0LozeXVqcNc7FwCfQdWL3b/NaiUDlW2No=",
}
POINTER = {
    **ROW,
    "kind": "rev",
    "name": "100.0.10.10.in-addr.arpa.",
    "zone": "10.10.in-addr.arpa.",
    "want": [["PTR", NAME, 1200]],
    "have": [],
    "maybe": [["PTR", NAME, 1200]],
    "guard": "",
    "state": "inflight",
}
ROWS = [ROW, TROUBLE, POINTER]
LEASE = {"address": "10.10.0.100", "name": NAME, "hw": "01:52:54:00:12:00:64", "dhcid": ROW["guard"]}
AUDIT: dict[str, Any] = {
    "number": 3,
    "what": "check",
    "state": "done",
    "step": "",
    "began": WALL - 4,
    "ended": WALL,
    "zones": [
        {
            "target": "main",
            "zone": "dyn.example.test.",
            "names": 640,
            "serial": 88213,
            "how": "IXFR",
            "counts": {"ok": 604, "missing": 7, "stale": 1, "foreign": 25, "partner": 2, "waiting": 3, "wrong": 0},
            "error": "",
        },
        {
            "target": "main",
            "zone": "10.10.in-addr.arpa.",
            "names": 0,
            "serial": 0,
            "how": "",
            "counts": {},
            "error": "no transfer of 10.10.in-addr.arpa.: 10.10.0.53:53 answered REFUSED: its allow-transfer does not name this key",
        },
    ],
    "skipped": 3,
    "repairs": 8,
    "over": ["dyn.example.test. (main): 40 removals of 640 names, at most 32 without force"],
    "findings": [
        {
            "target": "main",
            "kind": "fwd",
            "name": "old.dyn.example.test.",
            "class": "stale",
            "repair": "remove",
            "detail": "DHCID canonical of the client of 10.10.0.7, free",
            "records": [["A", "10.10.0.7"], ["DHCID", "AAAB"]],
            "script": [
                "prereq yxrrset old.dyn.example.test. DHCID AAAB",
                "update delete old.dyn.example.test. A 10.10.0.7",
                "update delete old.dyn.example.test. DHCID AAAB",
                "send",
            ],
        },
        {
            "target": "main",
            "kind": "fwd",
            "name": "odd.dyn.example.test.",
            "class": "broken",
            "repair": "",
            "detail": "AAAB AAAC",
            "records": [],
            "script": [],
        },
    ],
    "statics": [],
    "next": -1,
}
TEST: dict[str, Any] = {
    "zone": "dyn.example.test.",
    "good": False,
    "lines": [
        {
            "target": "main",
            "zone": "dyn.example.test.",
            "what": "add A and DHCID at failoverd-probe-0123456789ab.dyn.example.test.",
            "rcode": "REFUSED",
            "words": "the key has no right to do this",
            "server": "10.10.0.53:53",
            "ms": 1.5,
            "good": False,
        },
        {
            "target": "main",
            "zone": "10.10.in-addr.arpa.",
            "what": "add PTR at failoverd-probe-0123456789ab.10.10.in-addr.arpa.",
            "rcode": "NOERROR",
            "words": "as it should be",
            "server": "10.10.0.53:53",
            "ms": 1.5,
            "good": True,
        },
    ],
}


def show(name: str, blocks: Any) -> None:
    check(name, table.text(blocks))


@pytest.fixture
def names(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.setattr(time, "time", lambda: WALL)
    bodies = shell.daemon.loop.bodies
    bodies["ddns-rows"] = {"rows": ROWS, "more": False, "after": ""}
    bodies["ddns-show"] = {"name": NAME, "rows": [ROW, POINTER], "leases": [LEASE]}
    for verb in ("retry", "resend", "drop"):
        bodies[f"ddns-{verb}"] = {"rows": 2, "done": True}
    for verb in ("hold", "release"):
        bodies[f"ddns-{verb}"] = {"zone": "dyn.example.test.", "done": True}
    return shell


def test_the_samples_follow_the_schema() -> None:
    for row in ROWS:
        Row.model_validate(row)
    Audit.model_validate(AUDIT)
    ZoneTest.model_validate(TEST)


def test_list(names: Shell) -> None:
    check("ddns-list", names.run("ddns", "list").stdout)
    names.run("ddns", "list", "--state", "conflict", "--state", "dead")
    assert names.daemon.loop.asked[-1] == ("ddns-rows", {"state": "conflict,dead"}, "", "")
    assert json.loads(names.run("ddns", "list", "-o", "json").stdout)["rows"] == ROWS
    names.daemon.loop.bodies["ddns-rows"] = {"rows": [], "more": False, "after": ""}
    assert names.run("ddns", "list").stdout == "no rows\n"


def test_show(names: Shell) -> None:
    check("ddns-show", names.run("ddns", "show", NAME).stdout)
    names.daemon.loop.replies["ddns-show"] = Reply(0, "unknown", None, "nothing is wanted or known at x")
    assert names.run("ddns", "show", "x").exit_code == client.FAILED


def test_history(names: Shell) -> None:
    assert names.run("ddns", "history", NAME).stdout == f"no history of {NAME} is kept\n"
    record = json.dumps({"target": "main", "kind": "fwd", "name": NAME, "zone": "z", "want": [["A", "10.10.0.100", 1200]]})
    past = [
        Past(1, WALL, Kind.DDNS, b"", record, Origin.CLIENT, "dhcp1"),
        Past(2, WALL + 9, Kind.DDNS, b"", None, Origin.DNS, "done"),
    ]
    entries = [
        {
            "wall": each.wall,
            "target": "main",
            "kind": "fwd",
            "name": NAME,
            "state": "dirty" if each.record else "gone",
            "want": ["A 10.10.0.100 1200"] if each.record else [],
            "have": [],
            "rcode": "",
            "cause": each.cause,
            "origin": each.origin.value,
        }
        for each in past
    ]
    show("ddns-history", show_names.history({"name": NAME, "entries": entries}))  # type: ignore[typeddict-item]


def test_export(names: Shell) -> None:
    check("ddns-export", names.run("ddns", "export", "--nsupdate").stdout)
    assert json.loads(names.run("ddns", "export").stdout)["rows"] == ROWS
    assert json.loads(names.run("ddns", "export", "--target", "other").stdout)["rows"] == []


def test_audit_and_script() -> None:
    show("ddns-check", show_names.audit(AUDIT))  # type: ignore[arg-type]
    check("ddns-repair-script", "".join(line + "\n" for line in show_names.script(AUDIT)))  # type: ignore[arg-type]
    clean = {**AUDIT, "zones": AUDIT["zones"][:1], "findings": [], "repairs": 0, "over": []}
    assert table.text(show_names.audit(clean)).endswith("nothing to repair\n")  # type: ignore[arg-type]


def test_zone_test_and_statics() -> None:
    show("ddns-test", show_names.zone_test(TEST))  # type: ignore[arg-type]
    entry: Any = {"zone": "dyn.example.test.", "name": "www.dyn.example.test.", "ttl": 3600, "type": "A", "value": "10.10.0.80"}
    show("ddns-static-list", show_names.statics([entry]))
    assert table.text(show_names.statics([])) == "no static entries\n"


def test_retry_and_release_do_not_ask(names: Shell) -> None:
    assert names.run("ddns", "retry", NAME, "--reason", "fixed").stdout == "2 rows are tried again (reason: fixed)\n"
    assert names.daemon.loop.asked[-1] == ("ddns-retry", {"names": NAME}, ME, "fixed")
    assert names.run("ddns", "release", "dyn.example.test").stdout == "dyn.example.test. is released\n"


@pytest.mark.parametrize(("verb", "what"), [("resend", "10.10.0.0/24"), ("drop", NAME), ("hold", "dyn.example.test.")])
def test_the_others_show_what_they_would_do_and_ask(names: Shell, verb: str, what: str) -> None:
    result = names.run("ddns", verb, what, "--dry-run")
    assert (result.exit_code, "dry_run" in names.daemon.loop.asked[-1][1]) == (0, True)
    result = names.run("ddns", verb, what, typed="no\n")
    assert (result.exit_code, result.stdout) == (client.FAILED, "")
    assert "dry_run" in names.daemon.loop.asked[-1][1]
    result = names.run("ddns", verb, what, "--reason", "why", typed=f"{what}\n")
    assert result.exit_code == 0, result.output
    assert names.daemon.loop.asked[-1][2:] == (ME, "why")
    assert "dry_run" not in names.daemon.loop.asked[-1][1]
    assert names.run("ddns", verb, what, "--yes").exit_code == 0


def test_nothing_to_do_is_said_and_not_asked(names: Shell) -> None:
    names.daemon.loop.bodies["ddns-resend"] = {"rows": 0, "done": False}
    assert names.run("ddns", "resend", "all").stdout.startswith("0 rows are said again")


@pytest.mark.parametrize("words", [("check",), ("repair", "--yes"), ("static", "list"), ("test", "dyn.example.test")])
def test_a_zone_that_is_not_configured(names: Shell, words: tuple[str, ...]) -> None:
    result = names.run("ddns", *words)
    assert (result.exit_code, "there is: none" in result.stderr) == (client.FAILED, True)


@pytest.mark.parametrize(
    "words",
    [
        ("list", "--state", "lost"),
        ("show",),
        ("resend",),
        ("hold",),
        ("take",),
        ("static", "add", "www.example.test", "NS", "ns."),
        ("static", "add", "www.example.test", "A"),
        ("static", "del", "www.example.test", "A"),
    ],
)
def test_usage(names: Shell, words: tuple[str, ...]) -> None:
    assert names.run("ddns", *words).exit_code == client.USAGE
