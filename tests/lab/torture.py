"""`make torture T=300 SEED=1`: two failoverd under load, and everything that can happen to them, for T seconds; then nothing may be lost.

kill -9 (one, both, again and again), SIGSTOP (also longer than MCLT, with an operator who declares partner-down while the other one is dead
or stopped, which is right), cut links (the partner's, the clients', both), named stopped, killed and frozen on master and slave, full
disks. One seed decides what and when; the programs' own timing is not in its power. Then all is healed, the clients go on
renewing in peace, and torture_checks judges by the wire's record, the two databases and the slave's zones. Exit 0 when all of it holds.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from random import Random

from rich.console import Console

from tests.lab import bind, ours, torture_checks
from tests.lab.bind import Keys, Zones
from tests.lab.lab import Lab, Process, ready
from tests.lab.ours import Failoverd
from tests.lab.recorder import Seen, read
from tests.lab.terms import Pair, Scope
from tests.lab.torture_faults import Faults
from tests.lab.torture_server import Server, disk_of
from tests.lab.wait import LabError, until

ROOT = str(Path(__file__).resolve().parents[2])
DOMAIN, REVERSE = "dyn.example.test.", "16.10.in-addr.arpa."
ADDRESSES = ("10.16.255.1", "10.16.255.2")
PARTNERS = ("10.17.0.1", "10.17.0.2")
RELAY, MASTER, SLAVE = "10.16.255.3", "10.16.255.53", "10.16.255.54"
POOL_FIRST = IPv4Address("10.16.0.1")
CONVERGE_S = 240.0
WAITING_S = 20.0  # after so long, and again, it is said what is waited for
STILL_EQUAL_S = 5.0


@dataclass(slots=True, frozen=True)
class Terms:
    """What is done for how long. `gentle`: nothing that takes MCLT to recover from. `renames`: clients change their names; on a link
    where names are not told, the old one of a client that goes over to the other server stays until its lease ends, and counts."""

    seconds: float = 300
    seed: int = 1
    residents: int = 150
    visitors_per_s: float = 8
    pool: int = 500
    mclt_s: int = 30
    lease_s: int = 60
    every_s: float = 5.0
    gentle: bool = False
    renames: bool = False


class Torture:
    """The site and what is done to it."""

    def __init__(self, lab: Lab, terms: Terms, console: Console) -> None:
        self.lab, self.terms, self.console = lab, terms, console
        self.rng = Random(terms.seed)
        self.wrong: list[str] = []
        self.began = time.time()
        for net in ("office", "sync"):
            lab.net(net)
        hosts = {name: lab.host(name) for name in ("dhcp1", "dhcp2", "load", "ns1", "ns2")}
        for host, address in zip(hosts.values(), (*ADDRESSES, RELAY, MASTER, SLAVE), strict=True):
            lab.link(host, "office", f"{address}/16")
        for name, address in zip(("dhcp1", "dhcp2"), PARTNERS, strict=True):
            lab.link(hosts[name], "sync", f"{address}/24")
        self.load = hosts["load"]
        self.load.ip("route add local 10.16.0.0/17 dev lo")  # every client's address is the load's own
        zones = Zones(DOMAIN, (REVERSE,), {"ns1": MASTER, "ns2": SLAVE})
        keys = Keys.make(lab.folder)
        self.master = bind.master(hosts["ns1"], zones, keys, MASTER, SLAVE)
        self.slave = bind.slave(hosts["ns2"], zones, keys, SLAVE, MASTER)
        scope = Scope(
            IPv4Network("10.16.0.0/16"), RELAY, str(POOL_FIRST), str(POOL_FIRST + terms.pool - 1), (MASTER,), DOMAIN.rstrip(".")
        )
        pair = Pair(*PARTNERS, mclt_s=terms.mclt_s, lease_s=terms.lease_s)
        text = ours.config(lab.folder, pair, [scope], zones, keys.update, MASTER, interfaces=("eth0",))
        text = text.replace("/leases.db", "/disk/leases.db")
        self.servers = [Server(Failoverd.make(hosts[name], text), disk_of(hosts[name])) for name in ("dhcp1", "dhcp2")]
        self.recorder = self._module("recorder", "eth0")
        ready(self.recorder, "the recorder records", "recording")
        self.faults = Faults(self.servers, self.master, self.slave, self.rng, terms.mclt_s, terms.lease_s, terms.gentle, self.say)

    def _module(self, name: str, *words: str) -> Process:
        return self.load.start(name, Failoverd.program("python"), "-m", f"tests.lab.{name}", *words, env={"PYTHONPATH": ROOT})

    def say(self, text: str) -> None:
        """One line of the protocol."""
        self.console.print(f"{time.time() - self.began:7.1f} {text}", highlight=False, markup=False)

    # --- from beginning to end ----------------------------------------------------------------------------------------

    def run(self) -> bool:
        """Whether all holds."""
        self.master.start()
        self.slave.start()
        for server in self.servers:
            server.launch("--new-pair")
        until("both are normal", self.normal, 60, 0.3)
        terms = self.terms
        words = f"--relay {RELAY} --residents {terms.residents} --visitors {terms.visitors_per_s} --seed {terms.seed}".split()
        words += ["--renames"] if terms.renames else []
        clients = self._module("torture_clients", *words, *(w for address in ADDRESSES for w in ("--server", address)))
        end = time.monotonic() + terms.seconds
        following = time.monotonic() + min(5.0, terms.seconds / 5)
        while (now := time.monotonic()) < end:
            if now >= following:
                following = now + self.rng.expovariate(1 / terms.every_s)
                self.faults.begin(now)
            self.faults.advance(now)
            self.watch()
            time.sleep(0.05)
        self.faults.end()
        self.say("all is healed")
        clients.signal(signal.SIGUSR1)
        self.converge(clients)
        return self.report()

    def watch(self) -> None:
        """Look after the servers."""
        for server in self.servers:
            if what := server.watch(time.monotonic()):
                self.wrong.append(what)
                self.say(what)

    def normal(self) -> bool:
        """Both say normal."""
        self.watch()
        return all(server.daemon.state() == "normal" for server in self.servers)

    def converge(self, clients: Process) -> None:
        """Until both are normal and zones and tables agree; then everything stops, and what is left is judged."""
        with contextlib.suppress(LabError):
            until("both are normal again", self.normal, CONVERGE_S, 0.5)
        self.say("states: " + ", ".join(self.state(server) for server in self.servers))
        faults = ["not looked at"]
        end = time.monotonic() + CONVERGE_S
        spoken = time.monotonic()
        while faults and time.monotonic() < end:
            time.sleep(1.0)
            with contextlib.suppress(LabError):
                faults = self.differences()
            if faults and time.monotonic() > spoken + WAITING_S:
                spoken = time.monotonic()
                self.say(f"    still {len(faults)}: {faults[0]}")
        self.say(f"{len(faults)} differences while the clients go on renewing")
        clients.signal(signal.SIGTERM)
        clients.popen.wait(10)
        end = time.monotonic() + STILL_EQUAL_S
        while not faults:  # nobody renews any more: it must still be equal; a lease may end while one table after the other is read
            last = ["not looked at"]
            with contextlib.suppress(LabError):
                last = self.differences()
            if not last:
                break
            if time.monotonic() > end:
                faults = last
            time.sleep(0.2)
        self.say(clients.text().strip().splitlines()[-1])
        self.wrong += [said for server in self.servers if not (said := self.state(server)).endswith(" normal")]
        for server in self.servers:
            status = server.daemon.stop()
            if status:
                self.wrong.append(f"{server.name} stopped with status {status}")
        self.judge(faults)

    @staticmethod
    def state(server: Server) -> str:
        """For the protocol."""
        try:
            return f"{server.name} {server.daemon.state()}"
        except LabError as error:
            return f"{server.name} does not answer: {str(error)[:200]}"

    def differences(self) -> list[str]:
        """Between the servers' tables, and between them and the slave's zones."""
        first, second = (server.daemon.held() for server in self.servers)
        out = [f"{address}: {first.get(address)} / {second.get(address)}" for address in first.keys() | second.keys()]
        out = [line for line in out if (words := line.split())[1] != words[3]]
        return out or self.zone_faults(first)

    def zone_faults(self, leases: dict[str, str]) -> list[str]:
        """The slave's zones against some leases."""
        names = torture_checks.told(self.seen()).names
        static = {f"ns1.{DOMAIN}", f"ns2.{DOMAIN}"}
        forward = {record for record in self.slave.records(DOMAIN) if record[0] not in static}
        return torture_checks.zone_faults(leases, names, DOMAIN, forward, self.slave.records(REVERSE))

    def seen(self) -> list[Seen]:
        """The record so far, without the recorder's first line."""
        return read(self.recorder.text().split("recording\n", 1)[1])

    def judge(self, zone: list[str]) -> None:
        """By the record, the two databases and the zones. What ended while the servers were stopped and copied may be gone."""
        told = torture_checks.told(self.seen())
        disks = {}
        for server in self.servers:
            copy = self.lab.folder / f"{server.name}.db"
            shutil.copy(server.folder / "leases.db", copy)
            disks[server.name] = torture_checks.on_disk(copy)
        now = time.time()
        self.told, self.disks = told, disks
        self.twice = torture_checks.given_twice(told.holds)
        self.lost = [*told.refused, *torture_checks.lost(told.holds, disks, now)]
        self.apart = torture_checks.disagreements(disks, now)
        self.zone = zone

    def report(self) -> bool:
        """The figures; whether all holds."""
        told = self.told
        clients = len({hold.mac for hold in told.holds})
        done = ", ".join(f"{times} {name}" for name, times in sorted(self.faults.did.items(), key=lambda each: -each[1]))
        self.say(f"seed {self.terms.seed}, {self.terms.seconds:.0f} s: {sum(self.faults.did.values())} faults: {done}")
        self.say(
            f"{self.faults.declared} times partner-down was declared; exits for want of disk: {[server.exits for server in self.servers]}"
        )
        self.say(f"{told.acks} ACKs to {clients} clients, {told.naks} NAKs")
        self.say(f"{sum(lease.state == torture_checks.ACTIVE for lease in self.disks['dhcp1'].values())} leases active at the end")
        good = True
        for what, found in (
            ("leases lost", self.lost),
            ("addresses given twice", self.twice),
            ("leases that the databases do not agree on", self.apart),
            ("differences between the slave's zones and the leases", self.zone),
            ("other trouble", self.wrong),
        ):
            self.say(f"{len(found)} {what}")
            for line in found[:20]:
                self.say(f"    {line}")
            good = good and not found
        return good

    def keep(self, folder: Path) -> None:
        """What there is to read after a failure."""
        folder.mkdir(parents=True, exist_ok=True)
        for host in self.lab.hosts.values():
            for log in (self.lab.folder / host.name).glob("*.log"):
                shutil.copy(log, folder / f"{host.name}-{log.name}")
        for copy in self.lab.folder.glob("*.db"):
            shutil.copy(copy, folder / copy.name)
        self.console.print(f"to read: {folder}")


def torture(terms: Terms, console: Console, kept: Path | None = None) -> bool:
    """One run; `kept`: where its logs go when it fails."""
    with Lab() as lab:
        run = Torture(lab, terms, console)
        good = False
        try:
            good = run.run()
        finally:
            if not good and kept is not None:
                run.keep(kept)
        return good


def main() -> int:
    """Exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--residents", type=int, default=150)
    parser.add_argument("--visitors", type=float, default=8)
    parser.add_argument("--pool", type=int, default=500)
    parser.add_argument("--renames", action="store_true", help="clients change their names")
    parser.add_argument("--kept", type=Path, default=Path("/tmp/failoverd-torture"))
    args = parser.parse_args()
    terms = Terms(args.seconds, args.seed, args.residents, args.visitors, args.pool, renames=args.renames)
    good = torture(terms, Console(width=180), args.kept / str(args.seed))
    print(
        "PASSED"
        if good
        else f"FAILED: python -m tests.lab.torture --seconds {args.seconds:g} --seed {args.seed}{' --renames' * args.renames}"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
