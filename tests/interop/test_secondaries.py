"""Propagation with everything real: a pair of failoverd, BIND as master and slave; the slave is found by its NS record."""

from __future__ import annotations

import re
import time

import pytest

from tests.lab import ours
from tests.lab.client import Program
from tests.lab.lab import Lab
from tests.lab.office import DOMAIN, MASTER, SLAVE, Office
from tests.lab.ours import Failoverd, normal
from tests.lab.wait import LabError, until

pytestmark = [pytest.mark.root, pytest.mark.bind]
METRICS = "http://127.0.0.1:9767/metrics"


def lag_of(server: Failoverd) -> dict[str, object]:
    """The forward zone's secondary."""
    rows = [row for row in server.asked("ddns", "status")["secondaries"] if row["zone"] == DOMAIN]
    if len(rows) != 1:
        raise LabError(f"secondaries {rows}")
    found: dict[str, object] = rows[0]
    return found


def test_a_name_is_awaited_down_to_the_slave_and_a_slave_that_is_down_is_said() -> None:
    with Lab() as lab:
        office = Office.build(lab)
        text = ours.config(lab.folder, office.pair(60, 600), office.scopes(), office.zones, office.keys.update, MASTER)
        servers = [Failoverd.make(host, text) for host in (office.dhcp1, office.dhcp2)]
        office.start_dns()
        for server in servers:
            server.start(new_pair=True)
        normal(servers)
        one = office.client("office", 1, Program.UDHCPC, "one")
        one.start()
        until("a lease", one.lease, 20)
        server = servers[0] if office.server(one.lease().server) == "dhcp1" else servers[1]
        began = time.monotonic()
        shown = server.asked("ddns", "wait", f"one.{DOMAIN}", "--timeout", "15")
        assert time.monotonic() - began < 10
        assert [(place["master"], place["shows"], place["server"]) for place in shown["places"]] == [
            (True, True, f"{MASTER}:53"),
            (False, True, SLAVE),
        ]
        assert office.slave.lookup(f"one.{DOMAIN}", "A") == [one.lease().address]
        assert server.ctl("ddns", "wait", one.lease().address).count(f"PTR one.{DOMAIN}") == 2
        until("the slave is level", lambda: lag_of(server)["state"] == "ok" and lag_of(server)["serial"], 10)
        assert lag_of(server)["slave"] == SLAVE
        office.slave.stop()
        two = office.client("office", 2, Program.UDHCPC, "two")
        two.start()
        until("a lease", two.lease, 20)
        server = servers[0] if office.server(two.lease().server) == "dhcp1" else servers[1]
        until("the change is behind at the slave", lambda: lag_of(server)["lag_s"], 10)
        with pytest.raises(LabError, match=f"exit 4: .* was not shown within 1 s by {SLAVE}"):
            server.ctl("ddns", "wait", f"two.{DOMAIN}", "--timeout", "1")
        metrics = server.host.run("python3", "-c", f"import urllib.request as u;print(u.urlopen({METRICS!r}).read().decode())")
        (lag,) = re.findall(rf'failoverd_dns_lag_seconds{{slave="{SLAVE}",target="main",zone="{DOMAIN}"}} (\S+)', metrics)
        assert float(lag) > 0
        office.slave.start()
        until("the slave is level again", lambda: lag_of(server)["state"] == "ok", 20)
        server.ctl("ddns", "wait", f"two.{DOMAIN}", "--timeout", "10")
