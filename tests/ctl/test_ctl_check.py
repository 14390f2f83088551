"""`failoverctl check`: which status is which exit code, and what the line says."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from failoverd.ctl.check import CRITICAL, OK, UNKNOWN, WARNING, judge
from tests.api.fake_daemon import DNS, LAB, NUMBERS, OFFICE, STATUS, WALL, ZONES
from tests.ctl.conftest import Shell
from tests.ctl.test_ctl_output import check

POOL = {"name": "10.10.0.0/22", "network": "10.10.0.0/22", "relationship": "office", **NUMBERS}
NORMAL = {**OFFICE, "state": "normal", "partner_state": "normal", "linked": True, "last_heard": WALL - 1}
GOOD: dict[str, Any] = {
    **STATUS,
    "relationships": [NORMAL],
    "pools": [POOL],
    "warnings": [],
    "dns": {**DNS, "zones": ZONES[:1]},
}


def level(**changes: Any) -> int:
    return judge({**GOOD, **changes}, 4 * 3600, 3600).level  # type: ignore[typeddict-item]


def related(**changes: Any) -> int:
    return level(relationships=[{**NORMAL, **changes}])


def pooled(**changes: Any) -> int:
    return level(pools=[{**POOL, **changes}])


def test_all_is_well(shell: Shell) -> None:
    shell.daemon.loop.bodies["status"] = GOOD
    result = shell.run("check")
    assert result.exit_code == OK
    check("check-ok", result.stdout)


def test_a_dead_partner_is_critical_and_says_what_to_type(shell: Shell) -> None:
    result = shell.run("check")
    assert result.exit_code == CRITICAL
    check("check-critical", result.stdout)
    assert "failoverctl partner-down office" in result.stdout.splitlines()[0]


def test_nobody_answers(shell: Shell) -> None:
    result = shell.run("--socket", "/nonexistent/api.sock", "check")
    assert result.exit_code == CRITICAL
    assert result.stdout.startswith("FAILOVERD CRITICAL - cannot reach failoverd at /nonexistent/api.sock")
    assert "systemctl status failoverd" in result.stdout


def test_somebody_who_may_not_ask_learns_nothing(shell: Shell) -> None:
    shell.daemon.config.readers, shell.daemon.config.operators = [], []
    result = shell.run("check")
    assert (result.exit_code, result.stdout.split(" - ")[0]) == (UNKNOWN, "FAILOVERD UNKNOWN")


def test_wrong_use_is_unknown_not_critical(shell: Shell) -> None:
    for words in (("--dry-warning", "soon"), ("--nonsense",), ("surplus",)):
        result = shell.run("check", *words)
        assert result.exit_code == UNKNOWN, words
    assert "no length of time" in shell.run("check", "--dry-warning", "soon").stderr


def test_json(shell: Shell) -> None:
    result = shell.run("check", "-o", "json")
    body = json.loads(result.stdout)
    assert (result.exit_code, body["level"], body["code"]) == (CRITICAL, "CRITICAL", CRITICAL)
    assert body["perfdata"]["10.10.0.0/22 free"] == "198;;;0;1020"
    assert body["lines"] == STATUS["warnings"]


def test_states() -> None:
    assert related() == OK
    assert related(linked=False) == WARNING
    assert related(state="partner-down", linked=False) == WARNING
    for state in ("startup", "recover", "recover-wait", "recover-done", "paused", "shutdown"):
        assert related(state=state, serving=False) == WARNING, state
    for state in ("potential-conflict", "resolution-interrupted", "conflict-done", "unknown-state"):
        assert related(state=state, serving=False) == CRITICAL, state
    assert related(state="communications-interrupted", linked=False) == CRITICAL
    assert related(state="communications-interrupted", linked=True) == WARNING
    assert related(state="communications-interrupted", linked=False, partner_state="paused") == WARNING, "announced"
    assert related(doubt_until=WALL + 60) == CRITICAL
    assert related(skew_s=-61.0) == CRITICAL
    assert related(skew_s=4.0) == OK


def test_pools() -> None:
    def dry(seconds: float | None, window_s: float = 3600.0) -> int:
        lasts = {"now": seconds, "interrupted": None, "partner_down": None}
        return pooled(lasts=lasts, rate={"window_s": window_s, "taken": 9, "returned": 0})

    assert (dry(None), dry(5 * 3600.0), dry(3 * 3600.0), dry(600.0)) == (OK, OK, WARNING, CRITICAL)
    assert dry(600.0, 599.0) == OK, "a rate of less than ten minutes wakes nobody"
    assert pooled(backup=0) == WARNING, "the secondary's share; the partner has free ones"
    assert pooled(backup=0, free=0) == CRITICAL
    assert pooled(lasts=None) == OK
    taken_over = {**NORMAL, "state": "partner-down", "takeover_at": WALL - 1}
    assert level(relationships=[taken_over], pools=[{**POOL, "backup": 0}]) == WARNING
    assert level(relationships=[], pools=[{**POOL, "relationship": None, "backup": 0}]) == OK


def test_dns_and_other_warnings() -> None:
    assert level(dns={**DNS, "zones": ZONES}) == WARNING
    assert level(warnings=["the disk is nearly full"]) == WARNING
    assert level(relationships=[], pools=[], serving=False) == CRITICAL


def test_the_worst_stands_first_and_nothing_breaks_the_line() -> None:
    worse = {**LAB, "state": "potential-conflict", "serving": False, "doubt_until": 0, "why": "a | b"}
    text = judge({**GOOD, "relationships": [NORMAL, worse], "warnings": ["x | y"]}, 0, 0).text()  # type: ignore[typeddict-item]
    first, *rest = text.splitlines()
    assert first.startswith("FAILOVERD CRITICAL - lab potential-conflict")
    assert first.count("|") == 1
    assert rest == ["x / y"]
    numbers = first.split(" | ")[1]
    assert re.fullmatch(r"(('[^'=]+'|[^ '=]+)=-?[\d.]+(s|%)?(;[\d.]*){0,4} ?)+", numbers), numbers


@pytest.mark.parametrize("name", ["it's", "a=b c", "new\nline"])
def test_a_label_of_any_name_stays_a_label(name: str) -> None:
    numbers = judge({**GOOD, "pools": [{**POOL, "name": name}]}, 0, 0).text().splitlines()[0].split(" | ")[1]  # type: ignore[typeddict-item]
    assert re.fullmatch(r"(('[^'=]+'|[^ '=]+)=-?[\d.]+(s|%)?(;[\d.]*){0,4} ?)+", numbers), numbers
