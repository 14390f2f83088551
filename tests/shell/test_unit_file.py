"""The systemd unit in samples/ gives the daemon what it needs, and no more."""

from __future__ import annotations

from pathlib import Path

from failoverd.shell import ending

UNIT = Path(__file__).parents[2] / "samples" / "failoverd.service"


def test_the_unit_says_what_the_daemon_needs() -> None:
    pairs = [line.split("=", 1) for line in UNIT.read_text().splitlines() if "=" in line and not line.startswith("#")]
    keys = dict(pairs)
    assert keys["Type"] == "notify"
    assert float(keys["WatchdogSec"]) >= 10
    for key in ("CapabilityBoundingSet", "AmbientCapabilities"):
        assert sorted(keys[key].split()) == ["CAP_NET_ADMIN", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW"]
    assert sorted(keys["RestrictAddressFamilies"].split()) == ["AF_INET", "AF_NETLINK", "AF_PACKET", "AF_UNIX"]
    final = {ending.EXIT_CONFIG, ending.EXIT_USAGE, ending.EXIT_STORE_OPEN, ending.EXIT_PERMISSION}
    assert set(map(int, keys["RestartPreventExitStatus"].split())) == final
    assert keys["Restart"] == "on-failure"
    assert keys["ProtectSystem"] == "strict"
    assert keys["OOMPolicy"] == "continue", "the recorder's child is the first to go, and the server goes on"
