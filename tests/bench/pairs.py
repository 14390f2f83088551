"""The two contestants: a pair of failoverd and a pair of dhcpd, each on a bridge of its own, with the same pool and terms."""

from __future__ import annotations

import shutil
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from tests.bench.machine import cpu_s, rss_mb
from tests.lab import isc, ours
from tests.lab.isc import Dhcpd
from tests.lab.lab import Host, Lab, Process
from tests.lab.ours import Failoverd
from tests.lab.terms import Pair, Role, Scope
from tests.lab.wait import LabError, until

POOL = 10_000
FIRST = IPv4Address("10.16.0.1")
SCOPE = Scope(IPv4Network("10.16.0.0/16"), "", str(FIRST), str(FIRST + POOL - 1))
PAIR = Pair("10.16.255.1", "10.16.255.2", mclt_s=600, lease_s=600, max_unacked=100)
CLIENT = "10.16.255.3"


@dataclass(slots=True)
class Contestant(ABC):
    """A pair and its client. `fresh` starts it with empty databases; `stop` ends it."""

    name: str
    client: Host
    hosts: tuple[Host, Host]

    @classmethod
    def build(cls, lab: Lab, name: str, tag: str) -> Contestant:
        """A bridge with two servers and a client. failoverd knows its servers by the names dhcp1 and dhcp2."""
        bridge = f"br{tag}"
        lab.net(bridge)
        names = ("dhcp1", "dhcp2") if cls is FailoverdPair else (f"{tag}1", f"{tag}2")
        hosts = (lab.host(names[0]), lab.host(names[1]))
        client = lab.host(f"{tag}c")
        for host, address in zip((*hosts, client), (PAIR.primary, PAIR.secondary, CLIENT), strict=True):
            lab.link(host, bridge, f"{address}/16")
        return cls(name, client, hosts)

    @abstractmethod
    def start(self) -> None:
        """Fresh databases, both servers, pool balanced."""

    @abstractmethod
    def processes(self) -> list[Process]:
        """The running servers."""

    def fresh(self) -> None:
        """`start`, and wait until the servers are calm."""
        self.start()
        deadline = time.monotonic() + 30
        while True:
            before = self.cpu_s()
            time.sleep(0.4)
            if self.cpu_s() - before <= 0.02:
                return
            if time.monotonic() > deadline:
                raise LabError(f"{self.name} is still busy 30 s after its start")

    def stop(self) -> None:
        """kill -9: the databases are thrown away."""
        for process in self.processes():
            process.kill()

    def cpu_s(self) -> float:
        """CPU seconds of both servers so far."""
        return sum(cpu_s(process.pid) for process in self.processes())

    def rss_mb(self) -> float:
        """Memory of both servers."""
        return sum(rss_mb(process.pid) for process in self.processes())


@dataclass(slots=True)
class DhcpdPair(Contestant):
    """Debian's isc-dhcp-server, twice, as quiet as it can be: its log goes to a syslog that is not there."""

    servers: tuple[Dhcpd, ...] = ()

    def start(self) -> None:
        roles = zip(self.hosts, (Role.PRIMARY, Role.SECONDARY), strict=True)
        self.servers = tuple(Dhcpd.make(host, isc.config(PAIR, role, [SCOPE])) for host, role in roles)
        for server in self.servers:
            server.lease_file.write_text("")
            server.start_quiet()
        until("the dhcpd pair is normal", lambda: all(server.state() == "normal" for server in self.servers), 60)

        def balanced() -> bool:
            states = [lease.state for lease in self.servers[1].leases().values()]
            return states.count("backup") > POOL * 0.45

        until("the dhcpd secondary has its half of the pool", balanced, 60, 0.3)

    def processes(self) -> list[Process]:
        return [server.running() for server in self.servers if server.process is not None and server.process.alive()]


@dataclass(slots=True)
class FailoverdPair(Contestant):
    """failoverd, twice."""

    servers: tuple[Failoverd, ...] = ()

    def start(self) -> None:
        folder = self.hosts[0].lab.folder
        text = ours.config(folder, PAIR, [SCOPE], interfaces=("eth0",)).replace('level = "info"', 'level = "warning"')
        self.servers = tuple(Failoverd.make(host, text) for host in self.hosts)
        for server in self.servers:
            for path in server.host.folder.glob("leases.db*"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            server.start(new_pair=True)
        ours.normal(self.servers, 60)

        def balanced() -> bool:
            pools = [server.status()["pools"][0] for server in self.servers]
            return all(pool["backup"] > POOL * 0.45 for pool in pools)

        until("the failoverd secondary has its half of the pool", balanced, 60, 0.3)

    def processes(self) -> list[Process]:
        return [server.process for server in self.servers if server.process is not None and server.process.alive()]
