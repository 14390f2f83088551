"""A real daemon records, serves on, and what it recorded is replayed where no daemon runs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.shell.daemon import Site, running
from tests.shell.test_durability import lease


def failoverctl(folder: Path, *words: str) -> tuple[int, str]:
    """What an operator types."""
    start = [sys.executable, "-m", "failoverd.ctl.main", "--socket", str(folder / "api.sock"), *words]
    done = subprocess.run(start, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running(tmp_path) as made:
        yield made


@pytest.mark.root
def test_a_daemon_records_serves_and_is_replayed_elsewhere(site: Site, tmp_path: Path) -> None:
    daemon = site.start()
    daemon.told("READY=1")
    with site.client() as client:
        lease(client, 1)
        code, said = failoverctl(site.folder, "capture", "start", "--max-size", "64M", "--reason", "ticket 4711")
        assert (code, said.split(" since ")[0]) == (0, "recording"), said
        assert failoverctl(site.folder, "capture", "start")[0] == 3
        address = lease(client, 2)
        lease(client, 1)
        code, said = failoverctl(site.folder, "capture", "stop")
        assert code == 0, said
        assert said.endswith(f"; play it with: failoverctl replay {site.folder}/capture\n"), said
        lease(client, 3)
    assert failoverctl(site.folder, "capture", "stop")[0] == 3
    events = json.loads(failoverctl(site.folder, "-o", "json", "history")[1])["events"]
    assert [(each["what"], each["why"]) for each in events if each["subject"] == "capture"] == [
        ("capture start, at most 67108864 octets", "ticket 4711"),
        ("capture stop", ""),
    ]
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.ends() == 0
    code, said = failoverctl(site.folder, "replay", str(site.folder / "capture"), "--client", "02:08:00:00:00:02")
    assert code == 0, said
    assert f"<- DHCPACK                  02:08:00:00:00:02  {address}" in said
    assert said.splitlines()[-1].endswith("the same, bit for bit")
