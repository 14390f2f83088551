"""`make demo`: the whole chain on real programs, step by step, each step checked. Exit 0 when all of it holds, else 1 and the step's name.

KEEP=1 leaves the lab running and says what to try.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from tests.lab import ours
from tests.lab.bind import Named, nsupdate
from tests.lab.client import Client, Event, Program
from tests.lab.lab import Lab
from tests.lab.office import DOMAIN, MASTER, STATIC, Office
from tests.lab.ours import Failoverd, normal
from tests.lab.wait import LabError, until

CLIENTS = 24
MCLT_S = 60
LEASE_S = 90
PROGRAMS = (Program.DHCLIENT, Program.UDHCPC)
NETS = ("office", "office", "floor", "annex")
NAMELESS = frozenset({5, 10, 15, 20})  # these send no name: the template gives them one
OPERATORS_NAME = f"printer.{DOMAIN}"
OPERATORS_ADDRESS = "10.10.0.81"


def reverse_name(address: str) -> str:
    """The owner of an address's PTR."""
    return ".".join(reversed(address.split("."))) + ".in-addr.arpa."


def name_of(client: Client) -> str:
    """The name that DNS must have for a client."""
    return f"{client.name or 'dhcp-' + client.lease().address.replace('.', '-')}.{DOMAIN}"


def zone_faults(server: Named, clients: Sequence[Client], others: dict[str, str]) -> list[str]:
    """What a BIND's zones say otherwise than the leases of these clients and the names of others (name -> address)."""
    held = {name_of(client): client.lease().address for client in clients}
    records = server.records(DOMAIN)
    faults = compare("A", {*held.items(), *others.items()}, {(name, data) for name, kind, data in records if kind == "A"})
    faults += compare("DHCID", {(name, "") for name in held}, {(name, "") for name, kind, _data in records if kind == "DHCID"})
    pointers = {(name, data) for zone in server.zones.reverse for name, kind, data in server.records(zone) if kind == "PTR"}
    return faults + compare("PTR", {(reverse_name(address), name) for name, address in held.items()}, pointers)


def compare(kind: str, want: set[tuple[str, str]], have: set[tuple[str, str]]) -> list[str]:
    """Differences in words."""
    return [
        *(f"{kind} missing: {name} {data}".strip() for name, data in sorted(want - have)),
        *(f"{kind} too many: {name} {data}".strip() for name, data in sorted(have - want)),
    ]


def zones_equal(server: Named, clients: Sequence[Client], others: dict[str, str], timeout_s: float) -> None:
    """Wait until a BIND's zones say exactly what the leases say."""

    def equal() -> bool:
        faults = zone_faults(server, clients, others)
        if faults:
            raise LabError(f"{len(faults)} differences: " + "; ".join(faults[:6]))
        return True

    until(f"the zones on {server.host.name} equal the leases", equal, timeout_s, 0.5)


@dataclass(slots=True)
class Demo:
    """The site and what is known of it so far."""

    office: Office
    first: Failoverd
    second: Failoverd
    console: Console
    others: dict[str, str] = field(default_factory=lambda: {f"{name}.{DOMAIN}": address for name, address in STATIC.items()})
    gone: list[Client] = field(default_factory=list)

    @property
    def servers(self) -> tuple[Failoverd, Failoverd]:
        """Both servers."""
        return self.first, self.second

    @property
    def clients(self) -> list[Client]:
        """The clients that hold leases."""
        return [client for client in self.office.clients if client not in self.gone]

    def add_clients(self, numbers: Sequence[int], timeout_s: float = 30.0) -> list[Client]:
        """New client hosts; returns when each has a lease."""
        made = [
            self.office.client(NETS[n % len(NETS)], n, PROGRAMS[(n // 4 + n) % 2], "" if n in NAMELESS else f"client{n:02}")
            for n in numbers
        ]
        for client in made:
            client.start()
        for client in made:
            until(f"{client.host.name} ({client.program}) has a lease", client.lease, timeout_s)
        return made

    # --- the steps: each returns what is to be said of it, or raises LabError -------------------------------------------------

    def begin(self) -> str:
        """Both BINDs, the relay, both servers."""
        self.office.start_dns()
        self.office.start_relay()
        for server in self.servers:
            server.start()
            # Two new servers cannot know that no client holds a lease of theirs; the operator can.
            server.ctl("pair", "init", "office", "--yes", "--reason", "demo: a new pair")
        return "named master and slave, dhcrelay, failoverd on dhcp1 (primary) and dhcp2 (secondary)"

    def both_normal(self) -> str:
        """First contact."""
        return f"normal/normal {normal(self.servers):.1f} s after the start"

    def clients_served(self) -> str:
        """24 real clients; both servers serve their share of the hash."""
        clients = self.add_clients(range(1, CLIENTS + 1))
        held = {client.lease().address for client in clients}
        if len(held) != len(clients):
            raise LabError("two clients hold one address")
        shares = self.office.shares(clients)
        if min(shares.values()) < 4 or sum(shares.values()) != CLIENTS:
            raise LabError(f"the hash leaves one server without its share: {shares}")
        programs = [client.program for client in clients]
        kinds = ", ".join(f"{programs.count(program)} {program}" for program in PROGRAMS)
        return f"{CLIENTS} leases ({kinds}), dhcp1 serves {shares['dhcp1']}, dhcp2 {shares['dhcp2']}"

    def tables_agree(self) -> str:
        """Both databases hold what the clients hold."""
        held = {client.lease().address: client.mac for client in self.clients}

        def agree() -> bool:
            for server in self.servers:
                told = server.held()
                if told != held:
                    raise LabError(f"{server.host.name} differs at {sorted(set(told.items()) ^ set(held.items()))[:6]}")
            return True

        until("both servers list exactly the clients' leases", agree, 15, 0.3)
        return f"failoverctl lease list on dhcp1 = on dhcp2 = what {len(held)} clients hold"

    def names_on_the_slave(self) -> str:
        """Every name forward and reverse."""
        zones_equal(self.office.slave, self.clients, self.others, 30)
        for client in self.clients:
            name, address = name_of(client), client.lease().address
            if self.office.slave.lookup(name, "A") != [address] or self.office.slave.lookup(reverse_name(address), "PTR") != [name]:
                raise LabError(f"the slave does not resolve {name} to {address} and back")
        return f"{len(self.clients)} names, each asked for A and PTR"

    def transfers(self) -> str:
        """AXFR first, IXFR afterwards, by named's own log."""
        seen: dict[str, list[str]] = {}
        for zone, kind in self.office.master.transfers():
            seen.setdefault(zone, []).append(kind)
        for zone in self.office.zones.all:
            kinds = seen.get(zone, [])
            if kinds[:1] != ["AXFR"] or "IXFR" not in kinds or "AXFR" in kinds[1:]:
                raise LabError(f"{zone}: transfers {kinds}")
        return ", ".join(
            f"{zone.split('.in-addr')[0].rstrip('.')} 1 AXFR + {len(kinds) - 1} IXFR" for zone, kinds in sorted(seen.items())
        )

    def resolve_without_master(self) -> str:
        """The master is down; clients resolve by what DHCP gave them."""
        self.office.master.stop()
        asking, wanted = self.clients[0], self.clients[-1]
        for client in (asking, self.clients[2], self.clients[3]):
            if client.resolve(name_of(wanted).rstrip(".")) != [wanted.lease().address]:
                raise LabError(f"{client.host.name} does not resolve {name_of(wanted)}")
        servers = asking.lease().resolvers.replace(" ", ", ")
        return f"master stopped; hosts on all three nets resolve {name_of(wanted)} by their resolv.conf ({servers})"

    def leases_change(self) -> str:
        """Leases come and go while the master is down; DHCP does not wait for DNS."""
        began = time.monotonic()
        self.add_clients(range(CLIENTS + 1, CLIENTS + 4), 10)
        took = time.monotonic() - began
        for client in (self.clients[0], self.clients[1], self.clients[6]):
            client.release()
            self.gone.append(client)
        return f"master still down: 3 new clients served in {took:.1f} s, 3 released"

    def master_returns(self) -> str:
        """What was missed is written."""
        self.office.master.start()
        began = time.monotonic()
        zones_equal(self.office.master, self.clients, self.others, 45)
        zones_equal(self.office.slave, self.clients, self.others, 30)
        return f"master and slave equal the {len(self.clients)} leases {time.monotonic() - began:.1f} s after the master's return"

    def operator_update(self) -> str:
        """An operator's own name, with his own key."""
        nsupdate(
            self.office.master.host,
            self.office.keys.operator,
            MASTER,
            DOMAIN,
            f"update add {OPERATORS_NAME} 300 A {OPERATORS_ADDRESS}",
        )
        self.others[OPERATORS_NAME] = OPERATORS_ADDRESS
        self.add_clients([CLIENTS + 4])
        zones_equal(self.office.slave, self.clients, self.others, 20)
        return f"{OPERATORS_NAME} A {OPERATORS_ADDRESS} by nsupdate with admin-key stands beside ours"

    def kill_first(self) -> str:
        """kill -9 of dhcp1: its clients renew with dhcp2."""
        before = {client.mac: client.lease().address for client in self.clients}
        mine = [client for client in self.clients if self.office.server(client.lease().server) == "dhcp1"]
        at = time.time()
        self.first.kill()
        until("dhcp2 notices", lambda: self.second.state() == "communications-interrupted", 20)
        noticed = time.time() - at
        renewed: list[Event] = []
        for client in mine:

            def from_second(client: Client = client) -> Event | None:
                event = client.held_after(at)
                return event if event is not None and self.office.server(event.server) == "dhcp2" else None

            renewed.append(until(f"{client.host.name} renews with dhcp2", from_second, LEASE_S + 15, 0.3))
        if {client.mac: client.lease().address for client in self.clients} != before:
            raise LabError("a client lost its address")
        last = max(event.at for event in renewed) - at
        return f"dhcp2 noticed after {noticed:.2f} s; dhcp1's {len(mine)} clients renewed with dhcp2 within {last:.0f} s, same addresses"

    def new_clients_served(self) -> str:
        """New clients while dhcp1 is dead."""
        made = self.add_clients(range(CLIENTS + 5, CLIENTS + 9), 15)
        if self.office.shares(made) != {"dhcp1": 0, "dhcp2": len(made)}:
            raise LabError(f"served by {self.office.shares(made)}")
        zones_equal(self.office.slave, self.clients, self.others, 20)
        return f"{len(made)} new clients served by dhcp2 alone, their names are on the slave"

    def partner_down(self) -> str:
        """The operator's word."""
        preview = self.second.asked("partner-down", "office", "--dry-run")
        self.second.ctl("partner-down", "office", "--yes", "--reason", "demo: dhcp1 was killed")
        if self.second.state() != "partner-down":
            raise LabError(f"dhcp2 is {self.second.state()} after partner-down")
        waits = ", ".join(f"{pool['pool']}: {pool['partner_free']} of the partner's" for pool in preview["pools"])
        return f"dhcp2 is partner-down; the preview said what it takes over ({waits})"

    def first_returns(self) -> str:
        """dhcp1 resynchronises."""
        began = time.monotonic()
        self.first.start()
        normal(self.servers, 2 * MCLT_S + 30)
        took = time.monotonic() - began
        self.tables_agree()
        zones_equal(self.office.slave, self.clients, self.others, 30)
        return f"dhcp1 is back, both normal {took:.1f} s after its start (MCLT {MCLT_S} s), tables and zones equal"


STEPS: list[tuple[str, Callable[[Demo], str]]] = [
    ("start the lab", Demo.begin),
    ("both servers reach normal", Demo.both_normal),
    (f"{CLIENTS} real clients get addresses", Demo.clients_served),
    ("both servers hold the same leases", Demo.tables_agree),
    ("every name resolves on the slave", Demo.names_on_the_slave),
    ("AXFR first, IXFR afterwards", Demo.transfers),
    ("a client resolves with the master down", Demo.resolve_without_master),
    ("leases change meanwhile", Demo.leases_change),
    ("the master returns: zone = leases", Demo.master_returns),
    ("an operator's nsupdate is left alone", Demo.operator_update),
    ("kill -9 of dhcp1: clients renew with dhcp2", Demo.kill_first),
    ("new clients are served by dhcp2", Demo.new_clients_served),
    ("failoverctl partner-down", Demo.partner_down),
    ("dhcp1 comes back: both normal", Demo.first_returns),
]


def perform(demo: Demo) -> bool:
    """Run the steps, show each, end with a table; whether all held."""
    console, rows, failed = demo.console, [], ""
    began = time.monotonic()
    for number, (title, step) in enumerate(STEPS, 1):
        label = f"{number:2}/{len(STEPS)}  {title}"
        at = time.monotonic()
        try:
            with console.status(f"{label} ..."):
                said = step(demo)
        except LabError as error:
            said, failed = str(error), title
        took = time.monotonic() - at
        mark = "[red]FAILED[/]" if failed else "[green]ok[/]"
        console.print(f"{mark}  {label}  [dim]{took:.1f} s[/]\n        {said}", highlight=False)
        rows.append((str(number), title, mark, f"{took:.1f}", said))
        if failed:
            break
    table = Table("", "step", "", "s", "what happened", title=f"failoverd demo, {time.monotonic() - began:.0f} s")
    for row in rows:
        table.add_row(*row)
    console.print()
    console.print(table)
    if failed:
        logs(demo)
        console.print(f"[red]The demo failed at: {failed}[/]", highlight=False)
    return not failed


def logs(demo: Demo) -> None:
    """The last lines of both servers, for whoever has to find out."""
    for server in demo.servers:
        log = server.host.folder / "failoverd.log"
        lines = log.read_text(errors="replace").splitlines()[-25:] if log.exists() else []
        demo.console.print(f"--- last lines of failoverd on {server.host.name}")
        for line in lines:
            demo.console.out(line, highlight=False)


def hints(demo: Demo) -> None:
    """What to try in a lab that was kept."""
    demo.console.print("\nThe lab is left running. Try:", highlight=False)
    ctl = Failoverd.program("failoverctl")
    client = demo.clients[-1]
    for line in (
        f"{ctl} --socket {demo.first.socket} status --watch",
        f"{ctl} --socket {demo.second.socket} lease list",
        f"{ctl} --socket {demo.second.socket} explain {client.mac}",
        f"{ctl} --socket {demo.first.socket} ddns status",
        f"ip netns exec {demo.office.slave.host.netns} dig @{demo.office.slave.address} {name_of(client)}",
        f"ip netns exec {client.host.netns} getent hosts {name_of(demo.clients[-2]).rstrip('.')}",
        f"ls {demo.office.lab.folder}        # configurations, logs, databases, zones",
        f"{sys.executable} -m tests.lab.sweep    # removes the lab",
    ):
        demo.console.out(f"  {line}", highlight=False)


def main() -> int:
    """Exit status of the demo."""
    console = Console()
    keep = os.environ.get("KEEP", "0") not in ("", "0")
    try:
        with Lab() as lab:
            office = Office.build(lab)
            text = ours.config(lab.folder, office.pair(MCLT_S, LEASE_S), office.scopes(), office.zones, office.keys.update, MASTER)
            demo = Demo(office, Failoverd.make(office.dhcp1, text), Failoverd.make(office.dhcp2, text), console)
            good = perform(demo)
            if keep:
                lab.keep()
                hints(demo)
            return 0 if good else 1
    except LabError as error:
        console.print(f"[red]The lab could not be built: {error}[/]", highlight=False)
        return 1
    except KeyboardInterrupt as interrupt:
        console.print(f"[red]Interrupted ({interrupt or 'SIGINT'}); the lab is removed[/]", highlight=False)
        return 130


if __name__ == "__main__":
    sys.exit(main())
