"""Shrinking: less of a plan leaves the rest as it was, and the smallest run that still goes wrong is found."""

from __future__ import annotations

import pytest

from failoverd.leases import mclt
from failoverd.sim import __main__ as program
from failoverd.sim.plan import FIRST_FAULT_S, Less, draw
from failoverd.sim.run import run
from failoverd.sim.shrink import MOST_RUNS, fewest, shrink
from failoverd.sim.world import World


def test_leaving_a_fault_out_leaves_the_others_as_they_were() -> None:
    plan = draw(World("short3"))
    less = plan.less(Less(without=frozenset({1}), until_s=100.0))
    assert [blow for blow in plan.blows if blow.number != 1 and blow.t < FIRST_FAULT_S + 100.0] == list(less.blows)
    assert less.until_t <= FIRST_FAULT_S + 100.0


def test_the_faults_that_matter_are_found() -> None:
    runs: list[Less] = []

    def fails(less: Less) -> bool:
        runs.append(less)
        return not less.without & {3, 11}

    less = fewest(range(20), Less(), fails)
    assert set(range(20)) - less.without == {3, 11}
    assert len(runs) < MOST_RUNS


def test_nothing_is_left_out_of_a_run_that_does_not_fail() -> None:
    assert shrink("short3", lambda less: False) == Less()


def test_the_command_that_is_printed_repeats_the_smaller_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(mclt, "limit", lambda lease, rights, now: now + 86400)
    assert program.main(["--seed", "short3", "--shrink"]) == 1
    out = capsys.readouterr().out
    command = out.split("smaller: python -m failoverd.sim ")[1].split("\n")[0]
    assert "--without" in command or "--until" in command or "--clients" in command
    assert program.main(command.split()) == 1
    again = capsys.readouterr().out
    assert "(c)" in again
    assert f"again: python -m failoverd.sim {command}" in again


def test_a_sort_can_be_asked_for() -> None:
    for sort in ("short", "wide", "crowd", "long"):
        assert draw(World(f"{sort}5")).terms.sort == sort
    assert run("short4").violations == []
