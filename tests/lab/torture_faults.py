"""What is done to a tortured pair. Each fault is a generator: it yields for how long it waits, and whatever it broke is whole again when
it ends or is closed."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from random import Random

from tests.lab.bind import Named
from tests.lab.lab import Host
from tests.lab.torture_server import Server
from tests.lab.wait import LabError

FULL_FOR_S = 30.0  # after the disk was full, an exit for want of it is right
TOGETHER = 4  # faults at one time

Fault = Generator[float, None, None]
Made = tuple[Fault, set[str]]
"""A fault, and the places that it needs for itself."""


@dataclass(slots=True)
class Faults:
    """`kinds` draws from the seed. `gentle`: nothing that takes MCLT to recover from. `say`: for the protocol. `did`: kind -> times;
    `declared`: how often partner-down was."""

    servers: Sequence[Server]
    master: Named
    slave: Named
    rng: Random
    mclt_s: int
    lease_s: int
    gentle: bool
    say: Callable[[str], None]
    did: dict[str, int] = field(default_factory=dict)
    declared: int = 0
    running: list[tuple[float, str, Fault, frozenset[str]]] = field(default_factory=list)

    def killed(self, server: Server, low_s: float, high_s: float, declare: bool = False) -> Fault:
        """kill -9; it comes back."""
        server.wanted = False
        server.daemon.kill()
        try:
            yield from self.waited(server, self.rng.uniform(low_s, high_s), declare)
        finally:
            server.launch()

    def stopped(self, server: Server, low_s: float, high_s: float, declare: bool = False) -> Fault:
        """SIGSTOP; its sockets stay open, and what arrives waits in them."""
        process = server.daemon.process
        if process is None or not process.alive():
            return
        server.stopped = True
        process.signal(signal.SIGSTOP)
        try:
            yield from self.waited(server, self.rng.uniform(low_s, high_s), declare)
        finally:
            process.signal(signal.SIGCONT)
            server.stopped = False

    def waited(self, server: Server, seconds: float, declare: bool) -> Fault:
        """The outage; `declare`: after a while the operator tells the other server, which is right as long as this one is down."""
        end = time.monotonic() + seconds
        ask = time.monotonic() + self.rng.uniform(3, 12)
        other = next(each for each in self.servers if each is not server)
        while (now := time.monotonic()) < end:
            if declare and now >= ask and other.well:
                ask = now + 2.0
                with contextlib.suppress(LabError):  # refused as long as it has not noticed
                    other.daemon.ctl("partner-down", "office", "--yes", "--reason", f"torture: {server.name} is down")
                    self.declared += 1
                    self.say(f"    {other.name} is told that {server.name} is down")
                    declare = False
            yield min(0.5, end - now)

    def crash_loop(self, server: Server) -> Fault:
        """kill -9, again and again, at any point of the start."""
        for _ in range(self.rng.randint(3, 6)):
            yield from self.killed(server, 0.1, 0.6)
            yield self.rng.uniform(0.1, 2.5)

    def both_killed(self) -> Fault:
        """kill -9 of both at once; one comes back after the other."""
        for server in self.servers:
            server.wanted = False
            server.daemon.kill()
        try:
            yield self.rng.uniform(0.5, 6)
            self.rng.choice(self.servers).launch()
            yield self.rng.uniform(0.1, 5)
        finally:
            for server in self.servers:
                if not server.wanted:
                    server.launch()

    def cut(self, host: Host, *ports: tuple[str, str]) -> Fault:
        """The cable is out; nobody is told."""
        for port, _ in ports:
            host.cut(port)
        try:
            yield self.rng.choice([self.rng.uniform(1, 8), self.rng.uniform(8, 45)])
        finally:
            for port, net in ports:
                host.heal(port, net)

    def bind_gone(self, named: Named, how: str) -> Fault:
        """A name server stopped, killed or frozen."""
        process = named.process
        assert process is not None
        if how == "stopped":
            named.stop()
        else:
            process.signal(signal.SIGKILL if how == "killed" else signal.SIGSTOP)
        try:
            yield self.rng.uniform(2, 25)
        finally:
            if how == "frozen":
                process.signal(signal.SIGCONT)
            else:
                process.popen.wait(10)
                named.start()

    def full(self, servers: Sequence[Server]) -> Fault:
        """The disk fills up to the last byte, or nearly."""
        files = [(server, server.folder / "filler") for server in servers]
        leave = self.rng.choice([0, 0, 300_000, 6_000_000])
        end = time.monotonic() + self.rng.uniform(5, 20)
        try:
            while (now := time.monotonic()) < end:
                for server, file in files:
                    server.full_until = now + FULL_FOR_S
                    space = os.statvfs(file.parent)
                    size = file.stat().st_size if file.exists() else 0
                    more = space.f_bavail * space.f_frsize - leave
                    if more > 0:
                        with file.open("ab") as out, contextlib.suppress(OSError):
                            os.posix_fallocate(out.fileno(), size, more)
                yield 0.3
        finally:
            for _, file in files:
                file.unlink(missing_ok=True)

    def kinds(self) -> dict[str, tuple[int, Callable[[], Made]]]:
        """Name -> (weight, make it and say what it needs)."""
        one = self.rng.choice
        mclt_s, lease_s = self.mclt_s, self.lease_s

        def at(what: Callable[..., Fault], *args: object) -> Callable[[], Made]:
            def make() -> Made:
                server = one(self.servers)
                return what(server, *args), {server.name}

            return make

        def cut(*ports: tuple[str, str]) -> Callable[[], Made]:
            def make() -> Made:
                server = one(self.servers)
                return self.cut(server.daemon.host, *ports), {f"{server.name} {port}" for port, _ in ports}

            return make

        def named() -> Made:
            which = one([self.master, self.slave])
            return self.bind_gone(which, one(["stopped", "killed", "frozen"])), {which.host.name}

        def full() -> Made:
            which = one([[one(self.servers)], self.servers])
            return self.full(which), {f"{server.name} disk" for server in which}

        out: dict[str, tuple[int, Callable[[], Made]]] = {
            "kill -9": (6, at(self.killed, 0.2, 8.0)),
            "kill -9 of both": (2, lambda: (self.both_killed(), {"dhcp1", "dhcp2"})),
            "kill -9 again and again": (2, at(self.crash_loop)),
            "SIGSTOP, short": (3, at(self.stopped, 0.5, 8.0)),
            "partner's link cut": (3, cut(("eth1", "sync"))),
            "named gone": (4, named),
        }
        if not self.gentle:
            out |= {
                "clients' link cut": (2, cut(("eth0", "office"))),
                "both links cut": (2, cut(("eth0", "office"), ("eth1", "sync"))),
                "SIGSTOP, link lost": (2, at(self.stopped, 15.0, 40.0)),
                "SIGSTOP, longer than MCLT, partner-down": (2, at(self.stopped, mclt_s + 15.0, mclt_s + lease_s, True)),
                "dead, partner-down": (2, at(self.killed, 30.0, mclt_s + lease_s, True)),
                "disk full": (2, full),
            }
        return out

    def begin(self, now: float) -> None:
        """One more, of a kind and at a place where nothing else is going on."""
        kinds = self.kinds()
        name = self.rng.choices(list(kinds), [weight for weight, _ in kinds.values()])[0]
        fault, needs = kinds[name][1]()
        busy = {each for _, _, _, taken in self.running for each in taken}
        if needs & busy or len(self.running) >= TOGETHER:
            fault.close()
            return
        self.did[name] = self.did.get(name, 0) + 1
        self.say(f"{name}: {', '.join(sorted(needs))}")
        self.running.append((now, name, fault, frozenset(needs)))

    def advance(self, now: float) -> None:
        """Let the faults go on whose time has come."""
        for entry in [each for each in self.running if each[0] <= now]:
            self.running.remove(entry)
            _, name, fault, needs = entry
            with contextlib.suppress(StopIteration):
                self.running.append((time.monotonic() + next(fault), name, fault, needs))

    def end(self) -> None:
        """Make everything whole."""
        for _, _, fault, _ in self.running:
            fault.close()
        self.running = []
