"""The pair end to end in namespaces: real clients, real BIND, and what a kill -9 may not lose."""

from __future__ import annotations

import signal
import sys

import pytest
from rich.console import Console

from tests.lab import ours
from tests.lab.demo import Demo, zones_equal
from tests.lab.lab import Lab, Process
from tests.lab.office import MASTER, Office
from tests.lab.ours import Failoverd, normal
from tests.lab.site import FIRST, SECOND, Acknowledged, Site, acknowledged
from tests.lab.wait import LabError, until

pytestmark = [pytest.mark.root, pytest.mark.bind, pytest.mark.isc]


def test_clients_names_and_an_outage_of_the_master() -> None:
    with Lab() as lab:
        office = Office.build(lab)
        text = ours.config(lab.folder, office.pair(60, 600), office.scopes(), office.zones, office.keys.update, MASTER)
        demo = Demo(office, Failoverd.make(office.dhcp1, text), Failoverd.make(office.dhcp2, text), Console(file=sys.stderr))
        demo.begin()
        demo.both_normal()
        clients = demo.add_clients(range(1, 9))
        demo.tables_agree()
        demo.names_on_the_slave()
        left_to_partner(demo, office)
        demo.resolve_without_master()
        clients[0].release()
        clients[1].release()
        demo.gone += clients[:2]
        demo.add_clients([9, 10])
        for server in demo.servers:  # a restart during the outage may not forget what DNS is owed
            server.kill()
            server.start()
        normal(demo.servers)
        office.master.start()
        zones_equal(office.master, demo.clients, demo.others, 60)
        zones_equal(office.slave, demo.clients, demo.others, 20)
        for server in demo.servers:
            assert server.stop() == 0


def test_first_contact_gives_the_secondary_its_half_of_a_large_pool_at_once() -> None:
    """failover-protocol.md 8: as dhcpd does; a pair that had to wait for the next balance would refuse clients of a load."""
    with Lab() as lab:
        site = Site.build(lab, 4000)
        text = ours.config(lab.folder, site.pair(300, 3600), [site.scope], interfaces=["eth0"])
        servers = Failoverd.make(site.dhcp1, text), Failoverd.make(site.dhcp2, text)
        for server in servers:
            server.start(new_pair=True)
        normal(servers)

        def halves() -> bool:
            for server in servers:
                pool = server.status()["pools"][0]
                if not 1800 <= pool["backup"] <= 2200 or pool["free"] + pool["backup"] != 4000:
                    raise LabError(f"{server.host.name}: free {pool['free']}, backup {pool['backup']}")
            return True

        until("both say that the pool is halved", halves, 20)


def left_to_partner(demo: Demo, office: Office) -> None:
    """`explain` names the reason for a client that was left to the partner."""
    asked = 0
    for client in demo.clients:
        other = demo.second if office.server(client.lease().server) == "dhcp1" else demo.first
        names = {row["name"] for row in other.asked("explain", client.mac)["decisions"]}
        if client.lease().address.startswith("10.20."):
            continue  # a relay counts no time, so both kinds of silence are possible
        assert any("partner" in name or "not-ours" in name for name in names), (client.mac, names)
        asked += 1
    assert asked


def test_1000_leases_acknowledged_under_load_survive_a_kill_of_their_server() -> None:
    """safety.md 1: what was acknowledged is on the server's own disk; and the partner learns it at the latest by the resync."""
    with Lab() as lab:
        site = Site.build(lab, 4000)
        text = ours.config(lab.folder, site.pair(300, 3600), [site.scope], interfaces=["eth0"])
        first, second = Failoverd.make(site.dhcp1, text), Failoverd.make(site.dhcp2, text)
        for server in (first, second):
            server.start(new_pair=True)
        normal((first, second))
        # Only dhcp1 hears this load, as if dhcp2's clients were elsewhere; the kill comes in the middle of it.
        load = site.load("load", 3000, 800, servers=(FIRST,), give_up_s=5)
        until("1,000 leases are acknowledged", lambda: len(acknowledged(load)) >= 1000, 40, 0.01)
        first.kill()
        load.signal(signal.SIGKILL)
        load.popen.wait(10)
        rows = acknowledged(load)
        assert len(rows) >= 1000
        assert {row.server for row in rows} == {FIRST}
        first.start()
        assert_all_there(first, rows)
        normal((first, second), 60)
        until("dhcp2 has every lease", lambda: missing(second, rows) == [], 30, 0.5)
        # Nothing that was acknowledged is given to anybody else.
        assert len({row.address for row in rows}) == len(rows)


def test_both_declared_down_while_they_were_cut_off_from_each_other() -> None:
    """Both serve in partner-down, on two islands; when the cable is back the conflict is resolved, nothing acknowledged is lost."""
    with Lab() as lab:
        site = Site.build(lab, 400)
        lab.net("island")
        there = lab.host("there")
        lab.link(there, "island", "10.16.255.4/16")
        pair = site.pair(60, 3600)
        text = ours.config(lab.folder, pair, [site.scope], interfaces=["eth0"])
        first, second = Failoverd.make(site.dhcp1, text), Failoverd.make(site.dhcp2, text)
        for server in (first, second):
            server.start(new_pair=True)
        normal((first, second))
        rows = leased(site.load("before", 20, 100))
        until("both have the leases", lambda: missing(first, rows) == missing(second, rows) == [], 20)
        site.dhcp2.heal("eth0", "island")
        for server in (first, second):
            until("the silence is noticed", lambda server=server: server.state() == "communications-interrupted", 40)
            server.ctl("partner-down", "office", "--yes", "--reason", "test: both islands")
        rows += leased(site.load("here", 20, 100, servers=(FIRST,)))
        rows += leased(site.load("over there", 20, 100, servers=(SECOND,), host=there, relay="10.16.255.4"))
        assert len({row.address for row in rows}) == 60, "an address was given twice"
        site.dhcp2.heal("eth0", "br0")
        normal((first, second), 60)
        until("both have all leases of both islands", lambda: missing(first, rows) == missing(second, rows) == [], 30, 0.5)


def leased(load: Process) -> list[Acknowledged]:
    """The leases of a load, which must all be given."""
    until("the load has ended", lambda: not load.alive(), 40)
    rows = acknowledged(load)
    assert len(rows) == 20, load.text()
    return rows


def missing(server: Failoverd, rows: list[Acknowledged]) -> list[str]:
    """Acknowledged leases that a server does not list for their client, or shorter than they were granted."""
    told = server.active()
    faults = []
    for row in rows:
        lease = told.get(row.address)
        if lease is None or lease["hw"] != f"01:{row.mac}":
            faults.append(f"{row.address} {row.mac}: {lease}")
        elif lease["ends"] < row.at + row.lease_s - 2:
            faults.append(f"{row.address} ends {row.at + row.lease_s - lease['ends']:.0f} s too early")
    return faults


def assert_all_there(server: Failoverd, rows: list[Acknowledged]) -> None:
    faults = missing(server, rows)
    assert not faults, f"{len(faults)} of {len(rows)}: {faults[:5]}"
