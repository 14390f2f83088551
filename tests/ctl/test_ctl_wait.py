"""Secondaries in failoverctl and in the metrics, and `ddns wait`."""

from __future__ import annotations

import json
import time

import pytest

from failoverd.ctl.client import FAILED, TIMED_OUT, UNREACHABLE, USAGE
from failoverd.shell.metrics import exposition
from tests.api.fake_daemon import OFFICE, SECONDARY, STATUS, WALL
from tests.ctl.conftest import Shell

NAME = "ws17.dyn.example.test"


def test_status_shows_the_lag_and_warns(shell: Shell) -> None:
    assert "SECONDARY" not in shell.run("ddns", "status").stdout
    shell.daemon.watch.late = True
    shown = shell.run("ddns", "status").stdout
    assert "10.10.0.54" in shown
    assert "1m 14s" in shown
    assert "NOTIFY does not reach it" in shown
    assert "warning: DNS: secondary 10.10.0.54 of dyn.example.test. (main): 73 s behind" in shell.run("status").stdout
    assert json.loads(shell.run("-o", "json", "status").stdout)["dns"]["secondaries"] == [SECONDARY]


def test_the_metric_has_zone_and_secondary(shell: Shell) -> None:
    status = {**STATUS, "dns": {**STATUS["dns"], "secondaries": [SECONDARY]}}  # type: ignore[dict-item]
    text = exposition(status, shell.daemon.loop).decode()
    assert 'failoverd_dns_lag_seconds{slave="10.10.0.54",target="main",zone="dyn.example.test."} 73.5' in text


def test_wait_ends_when_all_show_the_name(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("failoverd.ctl.wait.EVERY_S", 0.01)
    shell.daemon.watch.after = 4
    done = shell.run("ddns", "wait", NAME)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.count("yes") == 2
    assert shell.daemon.watch.times == 4


def test_wait_that_times_out_says_who_does_not_show_it(shell: Shell) -> None:
    shell.daemon.watch.after = 1000
    began = time.monotonic()
    done = shell.run("ddns", "wait", NAME, "--timeout", "0.3")
    assert done.exit_code == TIMED_OUT == 4
    assert time.monotonic() - began < 5
    assert "NOT YET" in done.stdout
    assert f"{NAME}. was not shown within 0.3 s by 10.10.0.54" in done.stderr


@pytest.mark.parametrize(
    ("name", "code", "word"),
    [
        ("host.elsewhere.invalid", FAILED, "no zone"),
        ("10.10.0.100", FAILED, "no zone of this server's configuration holds 100.0.10.10.in-addr.arpa."),
        ("a" * 64 + ".example.test", USAGE, "is not a DNS name"),
        ("..", USAGE, "exactly one name="),
    ],
)
def test_wait_refuses_what_it_cannot_wait_for(shell: Shell, name: str, code: int, word: str) -> None:
    done = shell.run("ddns", "wait", name)
    assert done.exit_code == code
    assert word in done.stderr


def _office(shell: Shell, **changes: object) -> None:
    shell.daemon.loop.bodies["status"] = {**STATUS, "relationships": [{**OFFICE, **changes}]}


def test_wait_for_normal_means_both_and_in_contact(shell: Shell) -> None:
    for changes in ({"state": "normal"}, {"state": "normal", "partner_state": "recover", "linked": True}):
        _office(shell, **changes)
        late = shell.run("wait", "office", "--for", "normal", "--timeout", "0.01")
        assert late.exit_code == TIMED_OUT
        assert "not normal within" in late.stderr
    _office(shell, state="normal", partner_state="normal", linked=True)
    done = shell.run("wait", "--timeout", "1m")
    assert (done.exit_code, done.stdout.split(" after ")[0]) == (0, "office: normal")
    assert json.loads(shell.run("-o", "json", "wait").stdout)["name"] == "office"


def test_wait_says_where_it_stands_instead(shell: Shell) -> None:
    _office(shell, state="recover-wait", partner_state="partner-down", linked=True, countdown_until=WALL + 60, why="it waits")
    late = shell.run("wait", "office", "--timeout", "0")
    want = "office is recover-wait, the partner partner-down; its wait ends 2026-11-22T04:26:13Z; it waits"
    assert late.stderr == f"failoverctl: not normal within 0s: {want}\n"
    assert shell.run("wait", "office", "--for", "recover-wait", "--timeout", "0").exit_code == 0


def test_wait_for_a_daemon_that_is_not_there(shell: Shell) -> None:
    gone = shell.run("--socket", "/nonexistent/api.sock", "wait", "--timeout", "0.3")
    assert gone.exit_code == UNREACHABLE
    assert shell.run("wait", "nobody", "--timeout", "1h").exit_code == FAILED
    assert shell.run("wait", "--for", "bliss").exit_code == USAGE
    assert shell.run("wait", "--timeout", "a while").exit_code == USAGE


def test_partner_down_waits_for_the_partners_addresses(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("failoverd.ctl.wait.time.sleep", lambda seconds: (slept.append(seconds), _office(shell, **over)))
    over = {"state": "partner-down", "takeover_at": WALL - 0.5}
    _office(shell, state="partner-down", takeover_at=WALL + 3)
    done = shell.run("partner-down", "office", "--yes", "--wait")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[1].startswith("office: the partner's free addresses are this server's, after ")
    assert slept == [3]
    _office(shell, state="partner-down", takeover_at=WALL + 3600)
    late = shell.run("partner-down", "office", "--yes", "--wait", "--timeout", "0")
    assert late.exit_code == TIMED_OUT
    assert "2026-11-22T05:25:13Z" in late.stderr
    _office(shell, state="normal")
    back = shell.run("partner-down", "office", "--yes", "--wait")
    assert (back.exit_code, "no longer in partner-down" in back.stderr) == (FAILED, True)
    assert shell.run("partner-down", "office", "--timeout", "5m").exit_code == USAGE


def test_history_of_one_relationship_since(shell: Shell) -> None:
    shown = shell.run("history", "office", "--since", "2026-11-22T04:20:00Z").stdout
    assert "communications-interrupted -> partner-down" in shown
    assert "normal -> communications-interrupted" not in shown
    assert shell.run("history", "lab").stdout == "no events\n"
    wrong = shell.run("history", "--since", "yesterday")
    assert (wrong.exit_code, "RFC 3339" in wrong.stderr) == (USAGE, True)
