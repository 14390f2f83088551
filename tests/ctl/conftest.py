"""A daemon with fakes behind its real API, and failoverctl against it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from failoverd.ctl.main import main
from tests.api.fake_daemon import Config, ThreadedDaemon


class Shell:
    """failoverctl at a socket: `run` in this process, `start` as a program of its own."""

    def __init__(self, daemon: ThreadedDaemon) -> None:
        self.daemon = daemon
        self.socket = daemon.config.socket

    def run(self, *words: str, typed: str | None = None) -> Result:
        return CliRunner().invoke(main, ["--socket", self.socket, *words], input=typed, catch_exceptions=False)

    def start(self, *words: str, **options: Any) -> subprocess.Popen[str]:
        env = {**os.environ, "FAILOVERD_SOCKET": self.socket, **options.pop("env", {})}
        return subprocess.Popen([sys.executable, "-m", "failoverd.ctl.main", *words], env=env, text=True, **options)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    daemon = ThreadedDaemon(Config(str(tmp_path / "api.sock")))
    yield Shell(daemon)
    daemon.stop()
