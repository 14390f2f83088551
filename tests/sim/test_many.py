"""Many runs: resumable, and a violation is never lost between two starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from failoverd.sim import many
from failoverd.sim.plan import draw
from failoverd.sim.world import World


def test_runs_that_were_stopped_go_on_where_they_were(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "sim.jsonl"
    command = ["--seed", "3", "--jobs", "2", "--log", str(log)]
    assert many.main([*command, "--runs", "1"]) == 0
    first = log.read_text()
    assert many.main([*command, "--runs", "2"]) == 0
    assert "1 of 2 runs are in" in capsys.readouterr().out
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["seed"] for line in lines] == [3, 4]
    assert log.read_text().startswith(first)


@pytest.mark.parametrize(("seed", "name"), [(3, "3"), (20, "host20")])
def test_what_went_wrong_before_is_told_again(seed: int, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = many.Record(
        seed=seed, code=many.code_digest(), t=1.0, cpu_s=1.0, violations=["(a) t=1.0 two holders"], counts={"ACKs": 2}
    )
    log = tmp_path / "sim.jsonl"
    log.write_text('{"seed":9,"co\n' + json.dumps(record) + "\n")
    assert many.main(["--seed", str(seed), "--runs", "1", "--log", str(log)]) == 1
    out = capsys.readouterr().out
    assert "two holders" in out
    assert f"again: python -m failoverd.sim --seed {name}\n" in out
    assert f"1 runs, 1 with violations: seeds {name}\n" in out


def test_a_changed_program_starts_anew(tmp_path: Path) -> None:
    record = many.Record(seed=3, code="another", t=1.0, cpu_s=1.0, violations=[], counts={})
    log = tmp_path / "sim.jsonl"
    log.write_text(json.dumps(record) + "\n")
    assert not list(many.known(log, many.code_digest(), range(3, 4)))
    assert list(many.known(log, "another", range(3, 4))) == [record]


def test_of_each_twenty_runs_some_are_of_a_sort_that_is_rarely_drawn() -> None:
    names = [many.named(seed) for seed in range(1, 21)]
    assert [name for name in names if not name.isdecimal()] == ["dhcpd5", "ping10", "clock12", "dhcpd15", "host20"]
    plans = {name: draw(World(name)) for name in names}
    assert [name for name, plan in plans.items() if plan.terms.dhcpd] == ["dhcpd5", "dhcpd15"]
    assert [name for name, plan in plans.items() if plan.terms.reserved] == ["host20"]
    assert [name for name, plan in plans.items() if any(blow.kind == "far clock" for blow in plan.blows)] == ["clock12"]
    assert plans["ping10"].terms.ping
