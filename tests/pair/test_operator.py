"""What the operator of a pair reads: forecasts, when the partner's addresses come, every change of state with its cause."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tests.pair.duo import Duo, normal


def pool(duo: Duo, name: str) -> dict[str, Any]:
    body = cast("dict[str, Any]", duo.nodes[name].status(duo.now))
    return cast("dict[str, Any]", body["pools"][0])


def office(duo: Duo, name: str) -> dict[str, Any]:
    body = cast("dict[str, Any]", duo.nodes[name].status(duo.now))
    return cast("dict[str, Any]", body["relationships"][0])


def test_both_servers_know_the_rate_of_the_whole_pool() -> None:
    duo = normal()
    assert pool(duo, "p")["lasts"] is None, "the rate is not known in the first minute"
    duo.run(120, step_s=5.0)
    for mac in range(6):
        assert duo.dora("p" if mac % 2 else "s", mac) is not None
    duo.settle()
    for name in ("p", "s"):
        seen = pool(duo, name)
        assert (seen["rate"]["taken"], seen["rate"]["returned"]) == (6, 0), name
        gross = 6 / seen["rate"]["window_s"]
        own = seen["free"] if name == "p" else seen["backup"]
        assert seen["lasts"]["now"] == pytest.approx(94 / gross)
        assert seen["lasts"]["interrupted"] == pytest.approx(own / gross)
        assert seen["lasts"]["interrupted"] < seen["lasts"]["partner_down"] < seen["lasts"]["now"] + 1200
    x = duo.given("p", 100)
    duo.release("p", 100, x)
    duo.settle()
    assert [pool(duo, name)["rate"]["returned"] for name in ("p", "s")] == [1, 1]


def test_what_a_returning_partner_plays_back_is_no_rate() -> None:
    duo = normal()
    for mac in range(8):
        assert duo.dora("p", mac) is not None
    duo.settle()
    duo.crash("s")
    duo.lose_database("s")
    duo.tick()
    duo.start("s")
    duo.until(lambda: duo.states() == ("normal", "normal"), 1500)
    assert pool(duo, "s")["rate"]["taken"] == 0
    assert pool(duo, "p")["rate"]["taken"] in (0, 8), "0 once an hour has passed"


def test_forecasts_follow_the_state() -> None:
    duo = normal()
    duo.run(120, step_s=5.0)
    for mac in range(6):
        assert duo.dora("p", mac) is not None
    duo.settle()
    duo.crash("s")
    duo.tick()
    alone = pool(duo, "p")["lasts"]
    assert alone["now"] == alone["interrupted"]
    preview = cast("dict[str, Any]", duo.command("p", "partner-down", dry_run="1").body)
    found = preview["pools"][0]["lasts"]
    assert found["interrupted"] == pytest.approx(alone["interrupted"], rel=0.01)
    assert found["partner_down"] > found["interrupted"]
    assert office(duo, "p")["takeover_at"] == 0
    assert duo.command("p", "partner-down").code == "ok"
    taken = office(duo, "p")["takeover_at"]
    assert taken == preview["pools"][0]["free_at"] == pytest.approx(duo.now.wall + 600 + 60, abs=61)
    down = pool(duo, "p")["lasts"]
    assert down["now"] == down["partner_down"]


def test_history_has_every_change_of_state_and_its_cause() -> None:
    duo = normal()
    duo.crash("s")
    duo.tick()
    duo.command("p", "partner-down")
    duo.start("s")
    duo.until(lambda: duo.states() == ("normal", "normal"), 1500)
    told = [(event["what"], event["who"]) for event in duo.disks["p"].events]
    assert told[-7:] == [  # the operator's own line, with his reason, then the change
        ("normal -> communications-interrupted", ""),
        ("partner-down", "root"),
        ("communications-interrupted -> partner-down", "root"),
        ("partner: normal -> recover", ""),
        ("partner: recover -> recover-wait", ""),
        ("partner: recover-wait -> recover-done", ""),
        ("partner-down -> normal", ""),
    ]
    assert all(event["why"] for event in duo.disks["p"].events)
    there = [event["what"] for event in duo.disks["s"].events]
    assert there[-6:] == [
        "partner: normal -> partner-down",
        "normal -> recover",
        "recover -> recover-wait",
        "recover-wait -> recover-done",
        "partner: partner-down -> normal",
        "recover-done -> normal",
    ]


def test_history_says_that_a_server_started_again() -> None:
    duo = normal()
    duo.crash("s")
    duo.start("s")
    duo.until(lambda: duo.states() == ("normal", "normal"), 60)
    assert "startup -> normal" in [event["what"] for event in duo.disks["s"].events]
