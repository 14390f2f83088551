"""maintenance, recover, pool rebalance: preview, question, deed, refusal, and what `maintenance start` waits for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from failoverd.ctl.client import FAILED, REFUSED, TIMED_OUT, USAGE
from failoverd.ports import Reply
from tests.api.fake_daemon import ME, OFFICE, STATUS
from tests.ctl.conftest import Shell

VERBS = {
    ("maintenance", "end"): "maintenance-end",
    ("recover",): "recover",
    ("pool", "rebalance"): "pool-rebalance",
}
ALL = {("maintenance", "start"): "maintenance-start", **VERBS}


def office(shell: Shell, **changes: Any) -> None:
    shell.daemon.loop.bodies["status"] = {**STATUS, "relationships": [{**OFFICE, **changes}]}


@pytest.mark.parametrize("words", VERBS)
def test_the_name_is_typed_after_the_consequences(shell: Shell, words: tuple[str, ...]) -> None:
    verb = VERBS[words]
    result = shell.run(*words, "--reason", "ticket 4711", typed="office\n")
    assert result.exit_code == 0
    assert "If you continue:" in result.stderr
    assert f"{verb} has this consequence" in result.stderr
    assert result.stdout.startswith("office: ")
    assert result.stdout.endswith("(reason: ticket 4711)\n")
    assert shell.daemon.loop.changes() == [(verb, {"relationship": "office"}, ME, "ticket 4711")]


@pytest.mark.parametrize("words", ALL)
def test_nothing_else_typed_does_it(shell: Shell, words: tuple[str, ...]) -> None:
    result = shell.run(*words, typed="yes\n")
    assert (result.exit_code, shell.daemon.loop.changes()) == (FAILED, [])
    assert shell.run(*words, "--yes").exit_code == USAGE, "--yes needs the name"


@pytest.mark.parametrize("words", ALL)
def test_a_refusal_comes_before_the_question(shell: Shell, words: tuple[str, ...]) -> None:
    shell.daemon.loop.replies[ALL[words]] = Reply(0, "refused", None, "not now; do that instead")
    for manner in (("--dry-run",), ("--yes",), ()):
        result = shell.run(*words, "office", *manner, typed="office\n")
        assert (result.exit_code, result.stderr) == (REFUSED, "failoverctl: refused: not now; do that instead\n")
    assert shell.daemon.loop.changes() == []


@pytest.mark.parametrize("words", ALL)
def test_what_is_so_already_is_said_and_not_asked(shell: Shell, words: tuple[str, ...]) -> None:
    shell.daemon.loop.replies[ALL[words]] = Reply(0, "ok", {"done": False, "consequences": []}, "it is so already")
    result = shell.run(*words, "office")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "office: it is so already\n", "")
    assert json.loads(shell.run(*words, "-o", "json").stdout)["done"] is False
    assert shell.daemon.loop.changes() == []


def test_maintenance_returns_when_the_host_may_be_switched_off(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    office(shell, state="normal", serving=False, owed=3)
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        office(shell, state="paused", serving=False, owed=0)

    monkeypatch.setattr("failoverd.ctl.steering.time.sleep", sleep)
    result = shell.run("maintenance", "start", "office", "--yes")
    assert (result.exit_code, len(looks)) == (0, 1)
    assert result.stdout == "office: paused; nothing is unacked, the partner serves: safe to stop this server\n"


def test_maintenance_that_was_given_up_is_no_success(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    office(shell, state="normal", serving=True)
    result = shell.run("maintenance", "start", "office", "--yes")
    assert (result.exit_code, "failoverctl history office says why" in result.stderr) == (FAILED, True)
    office(shell, state="normal", serving=False)
    monkeypatch.setattr("failoverd.ctl.steering.OUT_S", 0.0)
    result = shell.run("maintenance", "start", "office", "--yes")
    assert (result.exit_code, "takes the order back" in result.stderr) == (TIMED_OUT, True)


def test_no_conflicts_is_said(shell: Shell) -> None:
    shell.daemon.loop.bodies["conflicts"] = {"losers": [], "rejected": []}
    assert shell.run("conflicts").stdout == "no conflicts\n"


def test_restore_is_refused_while_the_daemon_answers(shell: Shell, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    copy.write_bytes(b"x")
    result = shell.run("restore", str(copy), "--yes")
    assert (result.exit_code, "systemctl stop failoverd" in result.stderr) == (REFUSED, True)
