"""The lab itself, proven with what is known to work: a pair of Debian's dhcpd, BIND, dhcrelay, dhclient and udhcpc.

And that it leaves nothing behind, whatever ends it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab import bind, isc
from tests.lab.client import Program
from tests.lab.isc import Dhcpd
from tests.lab.lab import Lab, namespaces, running
from tests.lab.office import DOMAIN, MASTER, Office
from tests.lab.terms import Role
from tests.lab.wait import LabError, until

pytestmark = [pytest.mark.root, pytest.mark.isc, pytest.mark.bind]
ROOT = Path(__file__).resolve().parents[2]


def test_a_dhcpd_pair_serves_the_office() -> None:
    with Lab() as lab:
        office = Office.build(lab)
        office.start_dns()
        pair = office.pair(mclt_s=60, lease_s=600)
        servers = [
            Dhcpd.make(host, isc.config(pair, role, office.scopes()), ("eth0", "eth1"))
            for host, role in ((office.dhcp1, Role.PRIMARY), (office.dhcp2, Role.SECONDARY))
        ]
        for server in servers:
            server.start()
        office.start_relay()
        until("both normal", lambda: all(server.state() == "normal" for server in servers), 30)
        programs = (Program.DHCLIENT, Program.UDHCPC)
        nets = ("office", "floor", "annex")
        clients = [
            office.client(net, 4 * n + k, programs[k % 2], f"host{4 * n + k}") for n, net in enumerate(nets) for k in range(4)
        ]
        for client in clients:
            client.start()
        for client in clients:
            until(f"{client.host.name} has a lease", client.lease, 30)
        shares = office.shares(clients)
        assert shares["dhcp1"] + shares["dhcp2"] == len(clients)
        assert min(shares.values()) > 0
        held = {client.lease().address: client.mac for client in clients}
        assert len(held) == len(clients)

        def agreed() -> bool:
            tables = [server.leases() for server in servers]
            return all(
                table.get(a) and table[a].mac == mac and table[a].state == "active" for table in tables for a, mac in held.items()
            )

        until("both lease files hold all leases", agreed, 15)
        assert clients[5].resolve(f"www.{DOMAIN}") == ["10.10.0.80"]
        bind.nsupdate(office.master.host, office.keys.operator, MASTER, DOMAIN, f"update add printer.{DOMAIN} 60 A 10.10.0.81")
        until("the slave has the update", lambda: office.slave.lookup(f"printer.{DOMAIN}", "A") == ["10.10.0.81"], 10)
        assert office.master.transfers()[-1] == (DOMAIN, "IXFR")
        with pytest.raises(LabError, match="REFUSED"):
            bind.nsupdate(office.master.host, office.keys.update, MASTER, DOMAIN, f"update delete www.{DOMAIN} A")
        clients[0].release()
        clients[1].release()
        assert clients[0].events()[-1].reason == "RELEASE"
        assert clients[1].events()[-1].reason == "DECONFIG"
        prefix, folder, owned = lab.prefix, lab.folder, [process.pid for process in lab.processes]
    assert_gone(prefix, folder, owned)


def assert_gone(prefix: str, folder: Path, owned: list[int]) -> None:
    assert namespaces(prefix) == []
    assert not folder.exists()
    assert not list(Path("/etc").glob(f"netns/{prefix}*"))
    assert [pid for pid in owned if running(pid)] == []


SLEEPER = """
import sys, time
from tests.lab.lab import Lab
with Lab() as lab:
    host = lab.host("h")
    lab.resolver(host)
    sleepers = [host.start(f"sleep{n}", "sleep", "1000") for n in range(3)]
    print(lab.prefix, lab.folder, *(process.pid for process in sleepers), flush=True)
    if sys.argv[1] == "raise":
        raise RuntimeError("failed on purpose")
    time.sleep(60)
"""


@pytest.mark.parametrize("how", ["raise", "SIGINT", "SIGTERM", "SIGHUP"])
def test_nothing_is_left_behind(how: str) -> None:
    prefix, folder, owned, child = sleeper(how)
    if how != "raise":
        child.send_signal(getattr(signal, how))
    assert child.wait(20) != 0
    assert_gone(prefix, folder, owned)


def test_a_second_signal_during_the_removal_changes_nothing() -> None:
    prefix, folder, owned, child = sleeper("wait")
    child.send_signal(signal.SIGINT)
    time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    child.wait(20)
    assert_gone(prefix, folder, owned)


def test_what_a_killed_lab_left_is_swept_by_the_next() -> None:
    prefix, folder, owned, child = sleeper("wait")
    child.kill()
    child.wait(20)
    assert namespaces(prefix)
    with Lab():
        assert_gone(prefix, folder, owned)


def sleeper(how: str) -> tuple[str, Path, list[int], subprocess.Popen[str]]:
    """A lab in another process: (prefix, folder, pids of its programs, the process)."""
    child = subprocess.Popen(
        [sys.executable, "-c", SLEEPER, how], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ
    )
    assert child.stdout is not None
    prefix, folder, *owned = child.stdout.readline().split()
    return prefix, Path(folder), [int(pid) for pid in owned], child
