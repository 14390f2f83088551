"""The standard site of the lab: an office net with both servers and both BINDs, a floor behind a relay, and an annex on the
servers' second interface. The gateway `gw` routes between the three.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network

from tests.lab import bind
from tests.lab.bind import Keys, Named, Zones
from tests.lab.client import Client, Program
from tests.lab.lab import Host, Lab, Process
from tests.lab.relay import relay, route
from tests.lab.terms import Pair, Scope
from tests.lab.wait import until

DOMAIN = "dyn.example.test."
MASTER, SLAVE = "10.10.0.53", "10.10.0.54"
FIRST, SECOND = "10.10.0.2", "10.10.0.3"
STATIC = {"ns1": MASTER, "ns2": SLAVE, "www": "10.10.0.80"}
# net -> (prefix, gateway's address, the servers' addresses there; none behind the relay)
NETS = {
    "office": ("10.10.0", "10.10.0.1", (FIRST, SECOND)),
    "floor": ("10.20.0", "10.20.0.1", ()),
    "annex": ("10.30.0", "10.30.0.1", ("10.30.0.2", "10.30.0.3")),
}


@dataclass(slots=True)
class Office:
    """Hosts and programs of the site. The servers are hosts only; which program serves is the caller's choice."""

    lab: Lab
    dhcp1: Host
    dhcp2: Host
    gw: Host
    zones: Zones
    keys: Keys
    master: Named
    slave: Named
    relay: Process | None = None
    clients: list[Client] = field(default_factory=list)

    @classmethod
    def build(cls, lab: Lab) -> Office:
        """Nets, hosts and routes; nothing is started."""
        for net in NETS:
            lab.net(net)
        hosts = {name: lab.host(name) for name in ("dhcp1", "dhcp2", "ns1", "ns2", "gw")}
        for prefix_net, (_prefix, gateway, servers) in NETS.items():
            lab.link(hosts["gw"], prefix_net, f"{gateway}/24")
            for name, address in zip(("dhcp1", "dhcp2"), servers, strict=False):
                lab.link(hosts[name], prefix_net, f"{address}/24")
        lab.link(hosts["ns1"], "office", f"{MASTER}/24")
        lab.link(hosts["ns2"], "office", f"{SLAVE}/24")
        for name in ("dhcp1", "dhcp2", "ns1", "ns2"):
            hosts[name].ip(f"route add default via {NETS['office'][1]}")
        route(hosts["gw"])
        zones = Zones(DOMAIN, tuple(f"{n}.10.in-addr.arpa." for n in (10, 20, 30)), dict(STATIC))
        keys = Keys.make(lab.folder)
        master = bind.master(hosts["ns1"], zones, keys, MASTER, SLAVE)
        slave = bind.slave(hosts["ns2"], zones, keys, SLAVE, MASTER)
        return cls(lab, hosts["dhcp1"], hosts["dhcp2"], hosts["gw"], zones, keys, master, slave)

    @staticmethod
    def pair(mclt_s: int, lease_s: int) -> Pair:
        """The relationship of the two servers."""
        return Pair(FIRST, SECOND, mclt_s=mclt_s, lease_s=lease_s)

    @staticmethod
    def scopes(last: int = 199) -> list[Scope]:
        """The three subnets, each with the pool .100 to .`last`."""
        return [
            Scope(IPv4Network(f"{prefix}.0/24"), gateway, f"{prefix}.100", f"{prefix}.{last}", (MASTER, SLAVE), DOMAIN)
            for prefix, gateway, _servers in NETS.values()
        ]

    def start_dns(self) -> None:
        """Master, then slave, until the slave has its first copy of every zone."""
        self.master.start()
        self.slave.start()
        for zone in self.zones.all:
            until(f"the slave has {zone}", lambda zone=zone: self.slave.serial(zone), 20)  # type: ignore[misc]

    def start_relay(self) -> None:
        """dhcrelay between the floor and the office. It needs nothing from the servers to start."""
        self.relay = relay(self.gw, "eth1", "eth0", (FIRST, SECOND))

    def client(self, net: str, number: int, program: Program, name: str) -> Client:
        """One more client host; not started."""
        client = Client.make(self.lab, net, f"c{number}", number, program, name)
        self.clients.append(client)
        return client

    def server(self, address: str) -> str:
        """ "dhcp1" or "dhcp2", from a server identifier."""
        for _prefix, _gateway, servers in NETS.values():
            if address in servers:
                return ("dhcp1", "dhcp2")[servers.index(address)]
        return address

    def shares(self, clients: Sequence[Client]) -> dict[str, int]:
        """How many of the clients each server serves."""
        served = [self.server(client.lease().server) for client in clients]
        return {name: served.count(name) for name in ("dhcp1", "dhcp2")}
