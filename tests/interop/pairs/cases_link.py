"""The handshake and the connection: wrong names, wrong clocks, connections too many, connections too late."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from failoverd.failover import message as wire
from tests.interop.pairs.bench import NAME, PORT, Bench
from tests.interop.pairs.case import SIDES, Cast, case
from tests.interop.pairs.cases_outage import settled
from tests.interop.pairs.people import socket_in
from tests.interop.pairs.server import Product, Server
from tests.lab.terms import Role
from tests.lab.wait import LabError, until

WRONG = "orifice"


# libfaketime 0.9.10 makes clock_nanosleep with an absolute monotonic time fail, which is Python's time.sleep.
SLEEP = """
import threading, time
time.sleep = lambda pause_s: None if threading.Event().wait(pause_s) else None
"""


def ahead(bench: Bench, by_s: int) -> dict[str, str]:
    """The environment of a process whose wall clock is ahead, and whose other clocks are right. Debian's program faketime would fork,
    and a signal to it would not reach the server."""
    found = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if found is None:
        raise LabError("faketime is not installed; .ci/setup installs it")
    folder = bench.lab.folder / "sleep"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(SLEEP)
    paths = ":".join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"LD_PRELOAD": str(found), "FAKETIME": f"+{by_s}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "PYTHONPATH": paths}


@case("the {side} has another relationship name", sides=SIDES, weight=60, quick=[(Cast.DHCPD_FIRST, Role.SECONDARY)])
def wrong_name(bench: Bench, side: Role) -> None:
    victim = bench.side(side)
    settled(bench)
    victim.stop()
    kept = victim.copy()
    victim.forget()
    victim.reconfigure(bench.conf(victim.role, WRONG))
    victim.start()
    other = bench.other(victim)
    bench.people.served(bench.people.arrive(10, 5), 30)
    time.sleep(8)  # dhcpd tries again every 5 s
    bench.expect(other.state() == "communications-interrupted", f"{other.name} is {other.state()}")
    bench.expect(not bench.normal_now(), "a wrong name leads to no normal")
    victim.stop()
    victim.forget()
    victim.put_back(kept)
    victim.reconfigure(bench.conf(victim.role, NAME))
    victim.start()
    bench.normal(30)


@case("the clock of the {side} is 120 s ahead", sides=SIDES, weight=60, quick=[(Cast.DHCPD_FIRST, Role.PRIMARY)])
def clock(bench: Bench, side: Role) -> None:
    victim = bench.side(side)
    other = bench.other(victim)
    settled(bench)
    victim.stop()
    victim.env = ahead(bench, 120)
    victim.start()
    bench.people.served(bench.people.arrive(6, 5, reach=(other.address,)), 30)
    time.sleep(8)
    bench.expect(other.state() == "communications-interrupted", f"{other.name} is {other.state()}")
    victim.stop()
    victim.env = {}
    if victim.product is Product.OURS:
        victim.flags = ("--force-clock",)  # its newest record is in the future
    victim.start()
    bench.normal(40)


def stranger(bench: Bench, target: Server, as_server: Server) -> socket.socket:
    """One more connection to `target` from its partner's address; as a primary it says CONNECT."""
    found = socket_in(as_server.host, socket.SOCK_STREAM, as_server.link, 0)
    found.settimeout(5)
    found.connect((target.link, PORT))
    if as_server.role is Role.PRIMARY:
        hello = wire.connect(
            int(time.time()),
            0,
            name=NAME.encode(),
            max_unacked=10,
            receive_timer=20,
            mclt=bench.settings.mclt_s,
            hba=bytes([255] * 16 + [0] * 16),
        )
        found.sendall(wire.encode(hello))
    return found


def ends(connection: socket.socket, within_s: float) -> bool:
    """Whether the other side closes it in time."""
    connection.settimeout(within_s)
    try:
        while connection.recv(4096):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


@case("a second connection beside the one in use, to the {side}", sides=SIDES, weight=35, quick=[(Cast.OURS_FIRST, Role.PRIMARY)])
def duplicate(bench: Bench, side: Role) -> None:
    target = bench.side(side)
    settled(bench)
    before = bench.moves()
    extra = [stranger(bench, target, bench.other(target)) for _ in range(3)]
    closed = [ends(connection, 20) for connection in extra]
    bench.expect(all(closed), f"the second connections are closed: {closed}")
    for connection in extra:
        connection.close()
    bench.people.served(bench.people.arrive(6, 20))
    bench.expect(bench.normal_now(), f"states {bench.states()}")
    bench.expect(bench.moves() == before, "the link in use was left alone")


DROP_SYN = """
table inet stale {
  chain out {
    type filter hook output priority 0; policy accept;
    tcp dport 647 tcp flags & (syn | ack) == syn drop
  }
}
"""


def connecting(server: Server) -> list[str]:
    """Its TCP connections that wait for an answer to their SYN."""
    return server.host.run("ss", "-Htan", "state", "syn-sent").splitlines()


@case("a stale connect of the {side} fails after its partner has connected in", sides=SIDES, weight=75)
def stale_connect(bench: Bench, side: Role) -> None:
    slow = bench.side(side)
    settled(bench)
    # A connect gives up after 15 s in the place of 127 s; a kernel that repeats the first SYNs every second is told not to.
    slow.host.run("sysctl", "-q", "-e", "-w", "net.ipv4.tcp_syn_retries=3", "net.ipv4.tcp_syn_linear_timeouts=0")
    slow.host.run("nft", "-f", "-", text=DROP_SYN)
    whole = bench.moves()
    bench.apart()
    until("a connect is under way", lambda: connecting(slow), 20, 0.05)
    bench.normal(20, since=bench.heal())
    until("both logs tell of the cut", lambda: bench.moves() >= whole + 2, 10)
    first = whole + 2
    bench.result.measured["stale connects after normal"] = len(connecting(slow))
    until("the stale connect has failed", lambda: not connecting(slow), 25, 0.2)
    time.sleep(6)
    bench.normal(15)
    flaps = (bench.moves() - first) / 2
    bench.result.measured["flaps after a stale connect"] = flaps
    bench.expect(flaps == 0, f"{flaps} interruptions")
    slow.host.run("nft", "delete", "table", "inet", "stale")
    bench.people.served(bench.people.arrive(6, 20))
