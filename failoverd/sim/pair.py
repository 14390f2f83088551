"""A pair of servers, its clients and its DNS master, put together from a seed: everything but the faults."""

from __future__ import annotations

from dataclasses import dataclass, replace

from failoverd.config import Config, parse_text
from failoverd.ddns.dhcid import guard
from failoverd.ports import ClientSend, DnsAnswer, DnsQuery, DnsUpdate, ProbeAnswer
from failoverd.sim.clients import Client, Habits, Segment
from failoverd.sim.master import Master, Slave
from failoverd.sim.network import Datagrams, Tcp
from failoverd.sim.server import Server
from failoverd.sim.trace import Look, PingAnswered, Pinged, Reserved, Started, Zones
from failoverd.sim.world import World

A, B = 0x0A0A0001, 0x0A0A0002
RELAY = 0x0A1400FE
FIRST = 10  # host part of the first address of each pool
EXTRAS = 2  # clients of a run with a story that live as they like; the others do what it says
DNS_TIMEOUT_S = 3.0
KINDS = (
    *("steady", "steady", "rebooting", "roaming", "releasing", "shy", "fresh", "fresh") * 2,
    "greedy",
    "hostile",
)
OTHERS = (  # names of other hosts, one of them called like a client
    ("c1.dyn.example.test.", "A", "192.0.2.7"),
    ("printer.dyn.example.test.", "A", "192.0.2.8"),
)
PLACES = (Segment("link", 0), Segment("relayed", RELAY))  # in the order of the pools

ZONES = """[[ddns.zone]]
target = "main"
name = "dyn.example.test."
primaries = ["10.10.0.53"]
key-file = "/etc/failoverd/ddns.key"
[[ddns.zone]]
target = "main"
name = "10.in-addr.arpa."
primaries = ["10.10.0.53"]
key-file = "/etc/failoverd/ddns.key"
"""
TEXT = """
site = "sim"
[servers.a]
interfaces = ["eth0"]
[servers.b]
interfaces = ["eth0"]
[api]
metrics = ""
{relationships}
[dhcp]
ping-check = {ping}
lease-time = "{lease_s}s"
min-lease-time = "30s"
max-lease-time = "{lease_s}s"
abandon-time = "{abandon_s}s"
[[subnet]]
subnet = "10.10.0.0/24"
options = {{ routers = ["10.10.0.254"] }}
ddns = {{ domain = "dyn.example.test.", name-template = "dhcp-{{ip}}" }}
[[subnet.pool]]
range = ["10.10.0.10-10.10.0.{last}"]
relationship = "pair"
[[subnet]]
subnet = "10.20.0.0/24"
options = {{ routers = ["10.20.0.254"] }}
ddns = {{ domain = "dyn.example.test." }}
[[subnet.pool]]
range = ["10.20.0.10-10.20.0.{last}"]
relationship = "{second}"
{reservation}
"""
RELATIONSHIPS = """
[[relationship]]
name = "{name}"
primary = {{ server = "{primary}", address = "{addresses[0]}", port = {port}{auto} }}
secondary = {{ server = "{secondary}", address = "{addresses[1]}", port = {port} }}
mclt = "{mclt_s}s"
split = 128
load-balance-max-seconds = 3
max-response-delay = "{delay_s}s"
max-unacked-updates = {window}
min-balance = "30s"
max-balance = "10m"
lone-boot = "{lone_boot}"
zero-loss = "{zero_loss_s}s"
{tls}
"""


RESERVATION = """
[[subnet.reservation]]
hardware = "{mac}"
address = "10.20.0.{host}"
"""
HOST = 1  # the client of the reservation; it lives on the relayed link, and has no name: of one, each server would register its own
TLS = 'tls = { cert-file = "/tls/{server}.pem", key-file = "/tls/{server}.key", ca-file = "/tls/ca.pem" }'


@dataclass(slots=True, frozen=True)
class Terms:
    """The numbers of a run; times in seconds. `pool`: addresses in each of the two pools. `tls`: the link is authenticated, and the
    servers tell each other what only two failoverd do. `both_ways`: a second relationship for the second pool, in which b is primary.
    `auto_s`: auto-partner-down of the primary of the first. `sort`: short, wide, crowd or long (plan.py). `pace`: faults last
    that much of what they last in a long run. `ping`: an address is pinged before it is offered. `reserved`: the servers that reserve an
    address of the second pool for a client, "" for none."""

    mclt_s: int
    lease_s: int
    delay_s: int
    window: int
    pool: int
    clients: int
    skew_s: tuple[float, float]
    tls: bool = False
    both_ways: bool = False
    zero_loss_s: int = 0
    lone_boot: str = "bounded"
    auto_s: int = 0
    sort: str = "long"
    pace: float = 1.0
    ping: bool = False
    abandon_s: int = 180
    story: str = ""  # strikes_story.py
    dhcpd: str = ""  # the role of a modelled dhcpd as partner (dhcpd_pair.py)
    reserved: str = ""

    @property
    def reservation(self) -> int:
        """The address that is reserved."""
        return 0x0A140000 + FIRST + 1

    def config(self, server: str = "") -> Config:
        """The configuration of a server; of none: without a reservation."""
        second = "reverse" if self.both_ways else "pair"
        told = self._relationship("pair", "a", "b", 647) + (self._relationship("reverse", "b", "a", 648) if self.both_ways else "")
        ping = str(self.ping).lower()
        reserved = RESERVATION.format(mac=f"02:00:00:00:00:{HOST:02x}", host=self.reservation & 0xFF)
        text = (TEXT + ZONES).format(
            relationships=told,
            second=second,
            last=FIRST + self.pool - 1,
            lease_s=self.lease_s,
            ping=ping,
            abandon_s=self.abandon_s,
            reservation=reserved if server and server in self.reserved else "",
        )
        return parse_text(text, "sim.toml")

    def _relationship(self, name: str, primary: str, secondary: str, port: int) -> str:
        at = {"a": "10.10.0.1", "b": "10.10.0.2"}
        return RELATIONSHIPS.format(
            name=name,
            primary=primary,
            secondary=secondary,
            addresses=(at[primary], at[secondary]),
            port=port,
            auto=f', auto-partner-down = "{self.auto_s}s"' if self.auto_s and name == "pair" else "",
            mclt_s=self.mclt_s,
            delay_s=self.delay_s,
            window=self.window,
            lone_boot=self.lone_boot,
            zero_loss_s=self.zero_loss_s,
            tls=TLS if self.tls else "",
        )

    def pools(self) -> tuple[tuple[str, str, int, int], ...]:
        """Of each pool: its relationship, the primary, the first and the last address."""
        second = ("reverse", "b") if self.both_ways else ("pair", "a")
        firsts = (0x0A0A0000 + FIRST, 0x0A140000 + FIRST)
        return tuple((*who, first, first + self.pool - 1) for who, first in zip((("pair", "a"), second), firsts, strict=True))


class Pair:
    """Two servers on one link, a relayed link, clients on both, a master."""

    def __init__(self, world: World, terms: Terms) -> None:
        """All switched off."""
        self.world, self.terms = world, terms
        self.tcp = Tcp(world)
        self.udp = Datagrams(world, "udp")
        self.dns = Datagrams(world, "dns")
        self.master = Master()
        self.slave = Slave(world, self.master)
        self.master_up = True
        self.squatted = terms.pools()[0][2] + 1 if terms.ping else 0  # where a host lives that never asked a server
        self.refuses = ""  # the rcode with which the master refuses every UPDATE
        self.rng = world.random("pair")
        self.places: tuple[Segment, ...] = PLACES
        ways = (self._to_client, self._to_master, self._probe)
        self.a = Server(world, "a", A, terms.config("a"), terms.skew_s[0], self.tcp, *ways)
        self.b = Server(world, "b", B, terms.config("b"), terms.skew_s[1], self.tcp, *ways)
        self.a.partner, self.b.partner = self.b, self.a
        self.servers = (self.a, self.b)
        self.clients = [Client(world, n, self.servers, self.udp, self.places, self._habits()) for n in range(terms.clients)]
        self.cast = self.clients[:-EXTRAS] if terms.story else []
        for client in self.cast:
            habits = client.habits
            client.habits = replace(habits, on_s=1e9, roam=0.0, decline=0.0, fresh=0.0, secs="high", greedy=False, hostile=False)
        for client in self.clients[HOST : HOST + 1] if terms.reserved else ():
            habits = replace(client.habits, named=False, roam=0.0, decline=0.0, fresh=0.0, greedy=False, hostile=False)
            client.habits = habits
            world.trace.add(Reserved(world.t, terms.reservation, client.name, terms.reserved))
        for name, rtype, value in OTHERS:
            self.master.put(name, rtype, value)
        self.slave.refresh()  # as every slave does when it starts
        clocks = (("a", terms.skew_s[0]), ("b", terms.skew_s[1]))
        world.trace.add(
            Started(world.t, world.seed, terms.mclt_s, clocks, terms.pools(), terms.lone_boot == "serve", terms.delay_s)
        )

    def _habits(self) -> Habits:
        rng, pace = self.rng, self.terms.pace
        kind = rng.choice(KINDS)
        return Habits(
            client_id=rng.random() < 0.5,
            named=rng.random() < 0.8,
            on_s=1e9 if kind == "steady" else rng.uniform(60, 600) * pace,
            off_s=rng.uniform(5, 400) * pace,
            release=0.9 if kind == "releasing" else 0.1,
            roam=0.6 if kind == "roaming" else 0.0,
            decline=0.1 if kind == "shy" else 0.0,
            fresh=0.8 if kind == "fresh" else 0.0,
            hurry_s=10.0 if rng.random() < 0.15 else 0.0,
            secs=rng.choice(("zero", "swapped", "high")) if rng.random() < 0.15 else "",
            greedy=kind == "greedy",
            hostile=kind == "hostile",
        )

    def _to_client(self, server: Server, send: ClientSend) -> None:
        client = self.clients[int.from_bytes(send.data[32:34], "big")]
        if server.name in client.reach:
            self.udp.carry(lambda: client.hear(send.data))

    def _probe(self, server: Server, address: int) -> None:
        """An echo request and its reply, of everybody who uses the address now; each may be lost, doubled, late."""
        life = server.boots
        users = [client for client in self.clients if client.uses(address)]
        squatted = address == self.squatted
        self.world.trace.add(Pinged(self.world.t, server.name, address, bool(users) or squatted))

        def heard() -> None:
            if server.boots == life and server.up:
                self.world.trace.add(PingAnswered(self.world.t, server.name, address))
                server.deliver(ProbeAnswer(address, True, server.clock.read().mono))

        def asked() -> None:
            for client in users:
                if server.name in client.reach:
                    self.udp.carry(heard)
            if squatted:
                self.udp.carry(heard)

        self.udp.carry(asked)

    def _to_master(self, server: Server, send: DnsUpdate | DnsQuery) -> None:
        """One exchange with the master: the question, the answer, or nothing until the timeout."""
        life = server.boots
        open_: list[bool] = [True]

        def answer(rcode: str, records: tuple[tuple[str, str], ...] = (), detail: str = "") -> None:
            if open_[0] and server.boots == life:
                open_[0] = False
                server.deliver(DnsAnswer(send.ident, rcode, "10.10.0.53", detail, records))

        def asked() -> None:
            if not self.master_up:
                return
            if isinstance(send, DnsUpdate):
                rcode = self.refuses or self.master.update(send)
                self.slave.notify()
                self.dns.carry(lambda: answer(rcode))
            else:
                found, records = self.master.query(send)
                self.dns.carry(lambda: answer(found, records))

        self.dns.carry(asked)
        self.world.after(DNS_TIMEOUT_S, lambda: answer("TIMEOUT", (), "no answer"))

    def look(self) -> Look:
        """Who waits, what could be given, and how much each server keeps."""
        waiting = tuple(
            (client.name, client.place.name, client.began)
            for client in self.clients
            if client.state == "selecting" and client.reach == {"a", "b"}
        )
        free = {place.name: 0 for place in self.places}
        for server in self.servers:
            for place, count in zip(self.places, server.gives(), strict=False):
                free[place.name] += count
        sizes = tuple((server.name, *size) for server in self.servers for size in server.sizes())
        return Look(self.world.t, waiting, tuple(free.items()), sizes)

    def zones(self) -> Zones:
        """The zones, and what the servers' leases want, as both see it (checks.never_quiet proves that they see the same)."""
        leases = [lease for server in self.servers if server.node for lease in server.active() if lease.fqdn]
        wanted = {(lease.fqdn, lease.address) for lease in leases}
        owners = {(lease.fqdn.lower(), guard(lease.hw, lease.client_id, lease.fqdn)) for lease in leases}
        slave = self.slave.records if self.slave.had_time else None
        return Zones(self.world.t, self.master.records(), tuple(sorted(wanted)), OTHERS, slave, tuple(sorted(owners)))
