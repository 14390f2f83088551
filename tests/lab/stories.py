"""`make ddns-stories`: what a pair of dhcpd and a pair of failoverd leave in DNS after the same mishaps, side by side in one run.

Each story runs at both at the same time, each in a lab of its own with its own BIND: a master that is down while leases come and go,
servers killed with updates outstanding, a peer that dies for good. Then the zone is compared with the survivors' lease table. Exit 0
when failoverd leaves no difference and no operator touched DNS, else 1. Under 6 minutes.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Protocol

from rich.console import Console
from rich.table import Table

from tests.lab import bind, isc, ours
from tests.lab.bind import Keys, Named, Zones
from tests.lab.client import Client, Program
from tests.lab.isc import Dhcpd
from tests.lab.lab import Host, Lab
from tests.lab.ours import Failoverd, normal
from tests.lab.terms import Pair, Role, Scope
from tests.lab.wait import LabError, until

DOMAIN = "dyn.example.test."
REVERSE = "10.10.in-addr.arpa."
FIRST, SECOND, MASTER = "10.10.0.2", "10.10.0.3", "10.10.0.53"
OUTAGE_S = 27
ALL_S = 340  # then it failed
OMAPI = 7911

Pairs = set[tuple[str, str]]


class Servers(Protocol):
    """A pair, whoever made it. `held`: address -> Ethernet address of the leases that the first server calls active."""

    def start(self) -> None: ...
    def again(self) -> None: ...
    def kill(self, *numbers: int) -> None: ...
    def partner_down(self) -> None: ...
    def held(self) -> dict[str, str]: ...


@dataclass(slots=True)
class Theirs:
    """A pair of dhcpd."""

    servers: tuple[Dhcpd, Dhcpd]

    @classmethod
    def make(cls, hosts: tuple[Host, Host], pair: Pair, scope: Scope, keys: Keys) -> Theirs:
        """Its configuration, with DNS updates in the standard style."""
        secret = f'key {keys.update.name} {{ algorithm hmac-sha256; secret "{keys.update.secret}"; }};\n'
        zones = "".join(f"zone {zone} {{ primary {MASTER}; key {keys.update.name}; }}\n" for zone in (DOMAIN, REVERSE))
        extra = f'ddns-update-style standard; ddns-updates on; ddns-domainname "{DOMAIN}"; omapi-port {OMAPI};\n{secret}{zones}'
        made = [Dhcpd.make(host, isc.config(pair, role, [scope], extra)) for host, role in zip(hosts, Role, strict=True)]
        return cls((made[0], made[1]))

    def start(self) -> None:
        """Both, until both are normal."""
        self.again()
        until("both dhcpd are normal", lambda: [server.state() for server in self.servers] == ["normal"] * 2, 60)

    def again(self) -> None:
        """Both, with the files they have."""
        for server in self.servers:
            server.start()

    def kill(self, *numbers: int) -> None:
        """kill -9."""
        for number in numbers:
            self.servers[number].running().kill()

    def partner_down(self) -> None:
        """The operator's word, as dhcpd takes it: by OMAPI."""
        host = self.servers[0].host
        words = (
            f'server 127.0.0.1\nport {OMAPI}\nconnect\nnew failover-state\nset name = "office"\nopen\nset local-state = 4\nupdate\n'
        )
        host.run("omshell", text=words)
        until("dhcpd is in partner-down", lambda: self.servers[0].state() == "partner-down", 10)

    def held(self) -> dict[str, str]:
        """The first server's lease file."""
        return {lease.address: lease.mac for lease in self.servers[0].leases().values() if lease.state == "active"}


@dataclass(slots=True)
class Ours:
    """A pair of failoverd."""

    servers: tuple[Failoverd, Failoverd]

    @classmethod
    def make(cls, hosts: tuple[Host, Host], pair: Pair, scope: Scope, keys: Keys, zones: Zones) -> Ours:
        """Its configuration."""
        text = ours.config(hosts[0].lab.folder, pair, [scope], zones, keys.update, MASTER, interfaces=("eth0",))
        return cls((Failoverd.make(hosts[0], text), Failoverd.make(hosts[1], text)))

    def start(self) -> None:
        """Both, until both are normal."""
        for server in self.servers:
            server.start(new_pair=True)
        normal(self.servers, 60)

    def again(self) -> None:
        """Both, with the databases they have."""
        for server in self.servers:
            server.start()

    def kill(self, *numbers: int) -> None:
        """kill -9."""
        for number in numbers:
            self.servers[number].kill()

    def partner_down(self) -> None:
        """The operator's word."""
        self.servers[0].ctl("partner-down", "office", "--yes", "--reason", "stories: dhcp2 is dead")

    def held(self) -> dict[str, str]:
        """The first server's lease table."""
        return self.servers[0].held()


@dataclass(slots=True)
class Left:
    """What differs in the end."""

    records: list[str]
    leases: list[str]
    leases_held: int = 0

    def __bool__(self) -> bool:
        return bool(self.records or self.leases)


@dataclass(slots=True)
class Site:
    """One net with two servers, a master and clients."""

    lab: Lab
    servers: Servers
    master: Named
    clients: dict[int, Client] = field(default_factory=dict)

    @classmethod
    def build(cls, lab: Lab, product: str, lease_s: int) -> Site:
        """Nothing is started. MCLT is the lease time: first leases are as long as later ones."""
        for program in ("named", "dhcpd"):
            lab.program(program)  # now: a copy made while another thread forks may still be open for writing when it is run
        lab.net("office")
        first, second, ns1 = (lab.host(name) for name in ("dhcp1", "dhcp2", "ns1"))
        for host, address in ((first, FIRST), (second, SECOND), (ns1, MASTER)):
            lab.link(host, "office", f"{address}/24")
        zones = Zones(DOMAIN, (REVERSE,), {"ns1": MASTER, "ns2": MASTER})
        keys = Keys.make(lab.folder)
        scope = Scope(IPv4Network("10.10.0.0/24"), "", "10.10.0.100", "10.10.0.199", (MASTER,), DOMAIN)
        pair = Pair(FIRST, SECOND, mclt_s=lease_s, lease_s=lease_s)
        hosts = (first, second)
        servers: Servers = (
            Theirs.make(hosts, pair, scope, keys) if product == "dhcpd" else Ours.make(hosts, pair, scope, keys, zones)
        )
        return cls(lab, servers, bind.master(ns1, zones, keys, MASTER, MASTER))

    def start(self, count: int) -> None:
        """Everything, with `count` clients, until the zone says what the leases say."""
        self.master.start()
        self.servers.start()
        self.add(*range(1, count + 1))
        until("the zone has the first clients", lambda: not self.left() and len(self.servers.held()) == count, 60, 0.5)

    def add(self, *numbers: int) -> None:
        """New clients; returns when each has its lease."""
        for number in numbers:
            client = Client.make(self.lab, "office", f"c{number}", number, Program.UDHCPC, f"host{number}")
            self.clients[number] = client
            client.start()
        for number in numbers:
            until(f"host{number} has a lease", self.clients[number].lease, 40, 0.2)

    def release(self, *numbers: int) -> None:
        """These give their leases back."""
        for number in numbers:
            self.clients[number].release()

    def vanish(self, *numbers: int) -> None:
        """These are switched off without a word."""
        for number in numbers:
            self.clients[number].vanish()

    def left(self) -> Left:
        """The zone against the lease table of the first server."""
        names = {client.mac: f"{client.name}.{DOMAIN}" for client in self.clients.values()}
        held = {address: names[mac] for address, mac in self.servers.held().items()}
        return compare(held, self.master.records(DOMAIN), self.master.records(REVERSE))

    def settle(self, gone: Sequence[int], within_s: float, grace_s: float) -> Left:
        """Wait until the leases of `gone` are no longer active, then give DNS `grace_s` to follow; what is left then."""
        macs = {self.clients[number].mac for number in gone}
        until("the leases have ended", lambda: not macs & set(self.servers.held().values()), within_s, 1.0)
        end = time.monotonic() + grace_s
        while (left := self.left()) and time.monotonic() < end:
            time.sleep(1.0)
        return left


def compare(held: Mapping[str, str], forward: set[tuple[str, str, str]], reverse: set[tuple[str, str, str]]) -> Left:
    """Records without a lease, and leases without their A and PTR. `held`: address -> name."""
    a: Pairs = {(name, data) for name, kind, data in forward if kind == "A" and data != MASTER}
    ptr: Pairs = {(data, address_of(name)) for name, kind, data in reverse if kind == "PTR"}
    want: Pairs = {(name, address) for address, name in held.items()}
    records = [f"A {name} {address}" for name, address in sorted(a - want)]
    records += [f"DHCID {name}" for name, kind, _ in sorted(forward) if kind == "DHCID" and name not in held.values()]
    records += [f"PTR {address} {name}" for name, address in sorted(ptr - want)]
    leases = [f"{address} {name}" for name, address in sorted(want - (a & ptr))]
    return Left(records, leases, len(held))


def address_of(name: str) -> str:
    """The address that a PTR's owner stands for."""
    return ".".join(reversed(name.removesuffix(".in-addr.arpa.").split(".")))


# --- the stories ------------------------------------------------------------------------------------------------------------


def master_down(site: Site) -> Left:
    """27 s without the master; three leases come, three are released."""
    site.start(4)
    site.master.stop()
    down = time.monotonic()
    site.release(1, 2, 3)
    site.add(5, 6, 7)
    time.sleep(max(0.0, down + OUTAGE_S - time.monotonic()))
    site.master.start()
    return site.settle((1, 2, 3), 10, 28)


def killed(site: Site) -> Left:
    """The master is frozen, so updates are outstanding; both servers are killed; they come back, and the guests are gone."""
    site.start(4)
    process = site.master.process
    assert process is not None
    process.signal(signal.SIGSTOP)
    try:
        site.add(5, 6, 7, 8)
        site.release(1, 2)
        site.servers.kill(0, 1)
        site.vanish(5, 6)
    finally:
        process.signal(signal.SIGCONT)
    site.servers.again()
    return site.settle((1, 2, 5, 6), 150, 25)


def peer_dead(site: Site) -> Left:
    """The peer dies for good, and its clients with it; the survivor is told so."""
    site.start(10)
    theirs = [number for number, client in site.clients.items() if client.lease().server == SECOND]
    if not 1 <= len(theirs) <= 9:
        raise LabError(f"the second server serves {len(theirs)} of 10 clients")
    time.sleep(5)  # what the peer gave is acknowledged
    site.servers.kill(1)
    site.vanish(*theirs)
    until("the survivor notices and takes the operator's word", lambda: told(site), 30, 1.0)
    return site.settle(theirs, 240, 25)


def told(site: Site) -> bool:
    """Partner-down, refused as long as the dead peer still counts as connected."""
    site.servers.partner_down()
    return True


STORIES: list[tuple[str, Callable[[Site], Left], int]] = [  # lease time in seconds
    (f"master down {OUTAGE_S} s during adds and removals", master_down, 120),
    ("both servers killed with updates outstanding", killed, 60),
    ("peer dead, partner-down, its leases expire", peer_dead, 60),
]
PRODUCTS = ("dhcpd", "failoverd")


@dataclass(slots=True)
class Cell:
    """One story at one product. `trouble`: the lab's own failure."""

    title: str
    product: str
    site: Site
    story: Callable[[Site], Left]
    left: Left | None = None
    trouble: str = ""
    took_s: float = 0.0

    def run(self) -> None:
        """Run it; never raises."""
        began = time.monotonic()
        try:
            self.left = self.story(self.site)
        except (LabError, OSError, AssertionError, KeyError, ValueError) as error:
            self.trouble = f"{type(error).__name__}: {error}"
        self.took_s = time.monotonic() - began


def show(console: Console, cells: Sequence[Cell], took_s: float) -> bool:
    """The table; whether failoverd left nothing in any story, and every story ran."""
    table = Table(
        "story", "server", "records without a lease", "leases without a record", "s", title=f"DDNS stories, {took_s:.0f} s"
    )
    good = True
    for cell in cells:
        left = cell.left
        if left is None:
            table.add_row(
                cell.title, cell.product, f"[red]did not end: {cell.trouble[:300] or 'out of time'}[/]", "", f"{cell.took_s:.0f}"
            )
            good = False
            continue
        colour = "red" if left else "green"
        counts = [f"[{colour}]{len(each)}[/]" for each in (left.records, left.leases)]
        table.add_row(cell.title, cell.product, counts[0], f"{counts[1]} of {left.leases_held}", f"{cell.took_s:.0f}")
        good = good and (cell.product == "dhcpd" or not left)
    console.print(table)
    for cell in cells:
        if cell.left:
            console.print(f"{cell.product}, {cell.title}:", highlight=False)
            for line in (*cell.left.records, *(f"lease without a record: {each}" for each in cell.left.leases)):
                console.print(f"    {line}", highlight=False)
    return good


def main() -> int:
    """Exit status."""
    console = Console(width=132)
    began = time.monotonic()
    with ExitStack() as stack:
        cells = [
            Cell(title, product, Site.build(stack.enter_context(Lab()), product, lease_s), story)
            for title, story, lease_s in STORIES
            for product in PRODUCTS
        ]
        threads = [threading.Thread(target=cell.run, daemon=True) for cell in cells]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.1, began + ALL_S - time.monotonic()))
        good = show(console, cells, time.monotonic() - began)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
