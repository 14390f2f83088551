"""The demo's own promises: it names the step that failed and exits 1; an interruption leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import demo
from tests.lab.lab import namespaces
from tests.lab.wait import LabError

pytestmark = [pytest.mark.root, pytest.mark.bind, pytest.mark.isc]
ROOT = Path(__file__).resolve().parents[2]


def test_a_step_that_fails_is_named_and_ends_the_demo(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(_demo: demo.Demo) -> str:
        raise LabError("broken on purpose")

    def never(_demo: demo.Demo) -> str:
        raise AssertionError("a step after the failed one was run")

    monkeypatch.delenv("KEEP", raising=False)
    monkeypatch.setattr(demo, "STEPS", [("a good step", lambda _demo: "fine"), ("a broken step", broken), ("a later step", never)])
    assert demo.main() == 1
    said = capsys.readouterr().out
    assert "The demo failed at: a broken step" in said
    assert "broken on purpose" in said
    assert namespaces(f"fdlab-{os.getpid()}.") == []


def test_an_interrupted_demo_leaves_nothing_behind() -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.lab.demo"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert child.stdout is not None
    for line in child.stdout:
        if "both servers reach normal" in line and line.startswith("ok"):
            break
    mine = f"fdlab-{child.pid}."
    assert len(namespaces(mine)) >= 6
    child.send_signal(signal.SIGINT)
    rest, _ = child.communicate(timeout=30)
    assert child.returncode == 130, rest
    assert "Interrupted" in rest
    assert namespaces(mine) == []
    assert not list(Path("/tmp").glob(f"{mine}*"))
    assert not list(Path("/etc").glob(f"netns/{mine}*"))
