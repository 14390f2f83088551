"""Secondaries in failoverctl and in the metrics, and `ddns wait`."""

from __future__ import annotations

import json
import time

import pytest

from failoverd.ctl.client import FAILED, TIMED_OUT, USAGE
from failoverd.shell.metrics import exposition
from tests.api.fake_daemon import SECONDARY, STATUS
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
