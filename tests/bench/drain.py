"""The drain: 10,000 leases were given while the DNS master was away, and it comes back. `python -m tests.bench.drain [--profile]`.

A real failoverd, alone, and a real named without a slave, each in a namespace. failoverd starts with what leases and planner wrote
while nobody answered, finds no master, and then named starts. Measured are names per second from the first message to the
last (the journals of the zones tell, so nobody is asked meanwhile), the CPU of both, and what a DHCPACK costs: those of clients
without names, whose exchanges put nothing into DNS. A trial has a fresh database and fresh zones. It is a drain alone or a drain under
load, and then the same load on the same server when it is calm.

CPU per DHCPACK during a drain is what the process used in such a trial, less what drains alone used, by the number of DHCPACKs. What
was put off (folding the journal) is waited for and counted, in all three.
"""

from __future__ import annotations

import asyncio
import os
import pstats
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path
from random import Random

from rich.console import Console
from rich.table import Table

from failoverd.ddns.plan import Planner
from failoverd.ddns.zone import DnsPlan, Zone
from failoverd.leases.lease import BindingState, Lease, lease_key
from failoverd.ports import Kind, Now, Origin, Output, Write
from failoverd.shell.store import Store
from tests.bench import perfdhcp
from tests.bench.machine import busy_s, children_s, cpu_s
from tests.bench.stream import FIRST
from tests.lab import bind
from tests.lab.bind import Keys, Named, Zones
from tests.lab.lab import Host, Lab
from tests.lab.ours import Failoverd, quoted
from tests.lab.wait import LabError, until

LEASES = 10_000
NAMES = 2 * LEASES
LEASE_S = 3600
RATE = 500  # 4-message exchanges per second
SECONDS = 3
TRIALS = 3  # drains alone, and as many under load
SERVER, CLIENT, MASTER = "10.16.255.1", "10.16.255.3", "10.16.255.53"
NET = IPv4Network("10.16.0.0/16")
FORWARD, REVERSE = "dyn.example.test.", "16.10.in-addr.arpa."
QUIET_S = 1.0  # no write to a journal for so long: the drain is over
CALM_S = 1.2  # longer than the pause between two looks of failoverd for something to fold
CALM = 0.04  # of a processor
ROOT = Path(__file__).parents[2]


def configuration(folder: Path, key: Path) -> str:
    """failoverd.toml: one server, one pool of its own."""
    own = folder / "dhcp1"
    text = 'site = "bench"\n[log]\nformat = "console"\nlevel = "warning"\n[api]\noperators = ["root"]\nmetrics = ""\n'
    text += f'[servers.dhcp1]\ninterfaces = {quoted(["eth0"])}\napi = {{ socket = "{own}/api.sock" }}\n'
    text += f'store = {{ path = "{own}/leases.db" }}\n[dhcp]\nping-check = false\nlease-time = "{LEASE_S}s"\n'
    text += f'[[subnet]]\nsubnet = "{NET}"\nddns = {{ domain = "{FORWARD}" }}\n'
    text += '[[subnet.pool]]\nrange = ["10.16.0.1-10.16.239.255"]\nserver = "dhcp1"\n'
    for zone in (FORWARD, REVERSE):
        text += f'[[ddns.zone]]\nname = "{zone}"\nprimaries = ["{MASTER}"]\nkey-file = "{key}"\n'
    return text


async def backlog(path: Path) -> None:
    """A database as the outage left it: leases, and rows that wait."""
    zones = tuple(Zone("main", name, ((MASTER, 53),), "") for name in (FORWARD, REVERSE))
    planner = Planner(DnsPlan(zones), [], "dhcp1", Random(1))
    wall = int(time.time())
    now = Now(wall, time.monotonic())
    store = await Store.open(path, now_wall=wall)
    await store.load()
    planner.fence(True, now, Output())
    writes: list[Write] = []
    for number in range(LEASES):
        lease = Lease(FIRST + number, BindingState.ACTIVE, hw=b"\1\2\0" + number.to_bytes(4, "big"), starts=wall, cltt=wall)
        lease.ends, lease.fqdn = wall + LEASE_S, f"host-{number}.{FORWARD}"
        out = Output()
        planner.lease_changed(None, lease, Origin.CLIENT, now, out)
        writes += [Write(Kind.LEASE, lease_key(lease.address), lease.to_json(), Origin.CLIENT), *out.writes]
    await store.commit(writes, wall)
    await store.close()


@dataclass(slots=True)
class Drain:
    """One drain. `span_s`: from the first message to the last; `ours_s`, `named_s`: CPU seconds until all are calm, those of the load
    included; `others`: the part of the machine that other programs used; `covered`: the part of the load that ran in the drain."""

    span_s: float
    ours_s: float
    named_s: float
    others: float
    run: perfdhcp.Run | None = None
    covered: float = 0.0

    @property
    def rate(self) -> float:
        """Names per second."""
        return NAMES / self.span_s


@dataclass(slots=True)
class Idle:
    """The load on a calm server: CPU seconds of failoverd for all its exchanges."""

    run: perfdhcp.Run
    ours_s: float

    @property
    def ms_per_ack(self) -> float:
        """Milliseconds of CPU."""
        return 1000 * self.ours_s / self.run.acks.received


@dataclass(slots=True)
class Site:
    """One server, one master, one host for clients."""

    lab: Lab
    client: Host
    server: Failoverd
    master: Named
    runs: int = 0

    @classmethod
    def build(cls, lab: Lab) -> Site:
        """Three hosts on a bridge."""
        lab.net("br")
        hosts = {name: lab.host(name) for name in ("dhcp1", "c", "ns1")}
        for host, address in zip(hosts.values(), (SERVER, CLIENT, MASTER), strict=True):
            lab.link(host, "br", f"{address}/16")
        keys = Keys.make(lab.folder)
        zones = Zones(FORWARD, (REVERSE,), {"ns1": MASTER})
        master = bind.master(hosts["ns1"], zones, keys, MASTER)
        server = Failoverd.make(hosts["dhcp1"], configuration(lab.folder, keys.update.path))
        return cls(lab, hosts["c"], server, master)

    # --- a trial ------------------------------------------------------------------------------------------------------

    def fresh(self, *wrapper: str) -> None:
        """Empty zones, an empty database, and a backlog of all names. named is not running at the end."""
        self.empty()
        self.master.stop()
        asyncio.run(backlog(self.server.database))
        self.server.start(*wrapper)
        self.calm()

    def empty(self) -> None:
        """named runs with empty zones; there is no lease database."""
        for path in (*self.master.host.folder.glob("*.jnl"), *self.server.host.folder.glob("leases.db*")):
            path.unlink()
        for zone in (FORWARD, REVERSE):
            (self.master.host.folder / bind.file_of(zone)).write_text(self.master.zones.text(zone))
        self.master.start()

    def stop(self) -> None:
        """kill -9 for failoverd: its database is thrown away."""
        self.server.kill()
        self.master.stop()

    def calm(self) -> None:
        """Until failoverd has nothing to do: what it put off (its journal is folded when it is idle) belongs to the cost."""

        def idle() -> bool:
            before = self.ours_s()
            time.sleep(CALM_S)
            return self.ours_s() - before <= CALM * CALM_S

        until("failoverd is calm", idle, 60, 0.0)

    def ours_s(self) -> float:
        """CPU seconds of failoverd so far."""
        assert self.server.process is not None
        return cpu_s(self.server.process.pid)

    def named_s(self) -> float:
        """CPU seconds of named so far."""
        assert self.master.process is not None
        return cpu_s(self.master.process.pid)

    def written(self) -> float:
        """When named last wrote a journal, wall clock; 0.0 for never."""
        return max((path.stat().st_mtime for path in self.master.host.folder.glob("*.jnl")), default=0.0)

    def load(self) -> perfdhcp.Run:
        """The exchanges of new clients without names."""
        self.runs += 1
        return perfdhcp.run(self.client, RATE, SECONDS, 0x100 + self.runs)

    def drain(self, *, load: bool = False, begin: Callable[[], None] | None = None, end: Callable[[], None] | None = None) -> Drain:
        """Start the master, tell failoverd, and watch. `begin`, `end`: called around it."""
        runs: list[tuple[perfdhcp.Run, float, float]] = []

        def work() -> None:
            started = time.time()
            runs.append((self.load(), started, time.time() - perfdhcp.WAIT_US / 1e6))

        worker = threading.Thread(target=work)
        ours, mine, (busy, all_s) = self.ours_s(), children_s(), busy_s()
        self.master.start()
        named = self.named_s()
        if begin is not None:
            begin()
        if load:
            worker.start()
        self.server.ctl("ddns", "retry", f"host-0.{FORWARD}")
        until("the first name is written", lambda: self.written() > 0, 20, 0.002)
        began = self.written()
        until("the drain is over", lambda: time.time() - self.written() > QUIET_S, 300, 0.1)
        ended = self.written()
        if load:
            worker.join()
        if end is not None:
            end()
        self.calm()
        used, (busy_after, all_after) = self.ours_s() - ours, busy_s()
        wrote = self.named_s() - named
        others = (busy_after - busy - used - wrote - children_s() + mine) / (all_after - all_s)
        self.complete()
        out = Drain(ended - began, used, wrote, max(0.0, others))
        if load:
            if not runs:
                raise LabError("perfdhcp failed")
            out.run, started, stopped = runs[0]
            out.covered = max(0.0, min(stopped, ended) - max(started, began)) / (stopped - started)
        return out

    def complete(self) -> None:
        """LabError unless every name is in the zones."""
        forward = [kind for _, kind, _ in self.master.records(FORWARD)]
        pointers = [kind for _, kind, _ in self.master.records(REVERSE)]
        found = (forward.count("A") - 1, forward.count("DHCID"), pointers.count("PTR"))  # ns1 has an address too
        if found != (LEASES, LEASES, LEASES):
            raise LabError(f"the zones hold {found} A, DHCID and PTR records, of {LEASES} each")

    def rest(self) -> Idle:
        """The load on a calm server."""
        before = self.ours_s()
        run = self.load()
        self.calm()
        return Idle(run, self.ours_s() - before)

    def bind_alone(self) -> float:
        """Names per second that named takes on the same machine when failoverd is not in the path."""
        self.empty()
        words = ("-m", "tests.bench.stream", MASTER, str(self.master.keys.update.path), FORWARD, REVERSE, str(LEASES))
        try:
            return float(self.client.run("env", f"PYTHONPATH={ROOT}", sys.executable, *words, timeout_s=120))
        finally:
            self.master.stop()


@dataclass(slots=True)
class Result:
    """All trials."""

    alone: list[Drain] = field(default_factory=list)
    loaded: list[Drain] = field(default_factory=list)
    idle: list[Idle] = field(default_factory=list)
    bind: list[float] = field(default_factory=list)

    def acks(self) -> list[float]:
        """Milliseconds of CPU for a DHCPACK in each drain under load."""
        drain_s = statistics.median(each.ours_s for each in self.alone)
        return [1000 * (each.ours_s - drain_s) / each.run.acks.received for each in self.loaded if each.run is not None]

    def table(self) -> Table:
        """Medians, and from where to where."""
        out = Table(title=f"A backlog of {NAMES} names ({LEASES} leases), {RATE} exchanges/s beside it, {len(self.alone)} trials")
        for heading in ("", "median", "least", "most"):
            out.add_column(heading, justify="right" if heading else "left")
        runs = [each.run for each in self.loaded if each.run is not None]
        rows: list[tuple[str, list[float], int]] = [
            ("drain: names/s", [each.rate for each in self.alone], 0),
            ("drain under load: names/s", [each.rate for each in self.loaded], 0),
            ("BIND alone, messages made before: names/s", self.bind, 0),
            ("drain: CPU us of failoverd a name", [1e6 * each.ours_s / NAMES for each in self.alone], 0),
            ("drain: CPU us of named a name", [1e6 * each.named_s / NAMES for each in self.alone], 0),
            ("CPU ms a DHCPACK, calm", [each.ms_per_ack for each in self.idle], 3),
            ("CPU ms a DHCPACK, during a drain", self.acks(), 3),
            ("OFFER mean ms, calm", [each.run.offers.mean_ms for each in self.idle], 1),
            ("OFFER mean ms, during a drain", [run.offers.mean_ms for run in runs], 1),
            ("OFFER p99 ms, calm", [each.run.offers.p99_ms for each in self.idle], 1),
            ("OFFER p99 ms, during a drain", [run.offers.p99_ms for run in runs], 1),
            ("DHCPACK mean ms, calm", [each.run.acks.mean_ms for each in self.idle], 1),
            ("DHCPACK mean ms, during a drain", [run.acks.mean_ms for run in runs], 1),
            ("DHCPACK p99 ms, calm", [each.run.acks.p99_ms for each in self.idle], 1),
            ("DHCPACK p99 ms, during a drain", [run.acks.p99_ms for run in runs], 1),
            ("unanswered %, calm", [100 * each.run.unanswered for each in self.idle], 2),
            ("unanswered %, during a drain", [100 * run.unanswered for run in runs], 2),
        ]
        for name, values, digits in rows:
            out.add_row(name, *(f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values))))
        return out


def measure(console: Console) -> Result:
    """All trials, the kinds in turn."""
    result = Result()
    with Lab() as lab:
        site = Site.build(lab)
        for _ in range(TRIALS):
            result.bind.append(site.bind_alone())
            for load in (False, True):
                site.fresh()
                done = site.drain(load=load)
                (result.loaded if load else result.alone).append(done)
                result.idle.append(site.rest())
                site.stop()
                words = f", {done.covered:.0%} of the load ran in it" if load else ""
                words += f", other programs used {done.others:.0%} of the machine"
                console.print(f"drain{' under load' if load else ''}: {done.rate:.0f} names/s{words}", highlight=False)
    return result


def profile() -> None:
    """Where failoverd's main thread spends a drain."""
    with Lab() as lab:
        site = Site.build(lab)
        file = lab.folder / "drain.prof"
        site.fresh(sys.executable, "-P", str(Path(__file__).with_name("profiled.py")), str(file))
        assert site.server.process is not None
        pid = site.server.process.pid
        site.drain(begin=lambda: os.kill(pid, signal.SIGUSR1), end=lambda: os.kill(pid, signal.SIGUSR2))
        until("the profile is written", file.exists, 10)
        site.stop()
        pstats.Stats(str(file)).sort_stats("tottime").print_stats(40)


def main(console: Console | None = None) -> int:
    """Exit status of this part of the bench: 1 when a name was lost or a program failed."""
    console = console or Console()
    try:
        if sys.argv[1:] == ["--profile"]:
            profile()
        else:
            console.print(measure(console).table())
    except LabError as error:
        console.print(f"[red]{error}[/]", highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("[red]Interrupted; the lab is removed[/]")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
