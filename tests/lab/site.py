"""The smallest site that shows failover: two servers, one net, a client host for load. No DNS."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from tests.lab.lab import Host, Lab, Process
from tests.lab.ours import Failoverd
from tests.lab.terms import Pair, Scope

ROOT = str(Path(__file__).resolve().parents[2])
FIRST, SECOND, RELAY = "10.16.255.1", "10.16.255.2", "10.16.255.3"
POOL_FIRST = IPv4Address("10.16.0.1")


@dataclass(slots=True, frozen=True)
class Acknowledged:
    """One DHCPACK as the client got it."""

    mac: str
    address: str
    server: str
    lease_s: int
    at: float


@dataclass(slots=True)
class Site:
    """Hosts dhcp1, dhcp2 and load on one bridge."""

    lab: Lab
    dhcp1: Host
    dhcp2: Host
    load_host: Host
    scope: Scope

    @classmethod
    def build(cls, lab: Lab, pool: int) -> Site:
        """`pool`: the number of addresses."""
        lab.net("br0")
        hosts = [lab.host(name) for name in ("dhcp1", "dhcp2", "load")]
        for host, address in zip(hosts, (FIRST, SECOND, RELAY), strict=True):
            lab.link(host, "br0", f"{address}/16")
        scope = Scope(IPv4Network("10.16.0.0/16"), RELAY, str(POOL_FIRST), str(POOL_FIRST + pool - 1))
        return cls(lab, hosts[0], hosts[1], hosts[2], scope)

    @staticmethod
    def pair(mclt_s: int, lease_s: int) -> Pair:
        """The relationship of the two servers."""
        return Pair(FIRST, SECOND, mclt_s=mclt_s, lease_s=lease_s)

    def load(
        self,
        name: str,
        count: int,
        rate: float,
        servers: tuple[str, ...] = (FIRST, SECOND),
        give_up_s: float = 20,
        host: Host | None = None,
        relay: str = RELAY,
    ) -> Process:
        """Start `count` clients at `rate` per second; MACs are numbered anew in each load by its name. `host` and `relay`: another
        place of the site to send from."""
        base = 0xFD00000000 + (sum(name.encode()) << 20)
        args = ["--relay", relay, "--count", str(count), "--rate", str(rate), "--base", str(base), "--give-up", str(give_up_s)]
        for server in servers:
            args += ["--server", server]
        return (host or self.load_host).start(
            name, Failoverd.program("python"), "-m", "tests.lab.load", *args, env={"PYTHONPATH": ROOT}
        )


def acknowledged(process: Process) -> list[Acknowledged]:
    """What the clients of a load hold so far; a line that is still being written does not count."""
    lines = process.text().split("\n")[:-1]
    rows = [line.split() for line in lines]
    return [Acknowledged(mac, address, server, int(lease_s), float(at)) for mac, address, server, lease_s, at in rows]
