"""A pair of servers, its clients and its DNS master, put together from a seed: everything but the faults."""

from __future__ import annotations

from dataclasses import dataclass

from failoverd.config import Config, parse_text
from failoverd.ports import ClientSend, DnsAnswer, DnsQuery, DnsUpdate
from failoverd.sim.clients import Client, Habits, Segment
from failoverd.sim.master import Master
from failoverd.sim.network import Datagrams, Tcp
from failoverd.sim.server import Server
from failoverd.sim.trace import Look, Started, Zones
from failoverd.sim.world import World

A, B = 0x0A0A0001, 0x0A0A0002
RELAY = 0x0A1400FE
FIRST = 10  # host part of the first address of each pool
DNS_TIMEOUT_S = 3.0
PLACES = (Segment("link", 0), Segment("relayed", RELAY))  # in the order of the pools

TEXT = """
site = "sim"
[servers.a]
interfaces = ["eth0"]
[servers.b]
interfaces = ["eth0"]
[api]
metrics = ""
[[relationship]]
name = "pair"
primary = {{ server = "a", address = "10.10.0.1", port = 647 }}
secondary = {{ server = "b", address = "10.10.0.2", port = 647 }}
mclt = "{mclt_s}s"
split = 128
load-balance-max-seconds = 3
max-response-delay = "{delay_s}s"
max-unacked-updates = {window}
min-balance = "30s"
max-balance = "10m"
{tls}
[dhcp]
lease-time = "{lease_s}s"
min-lease-time = "30s"
max-lease-time = "{lease_s}s"
abandon-time = "3m"
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
relationship = "pair"
[[ddns.zone]]
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


TLS = 'tls = { cert-file = "/tls/{server}.pem", key-file = "/tls/{server}.key", ca-file = "/tls/ca.pem" }'


@dataclass(slots=True, frozen=True)
class Terms:
    """The numbers of a run; times in seconds. `pool`: addresses in each of the two pools. `tls`: the link is authenticated, and the
    servers tell each other what only two failoverd do."""

    mclt_s: int
    lease_s: int
    delay_s: int
    window: int
    pool: int
    clients: int
    skew_s: tuple[float, float]
    tls: bool = False

    def config(self) -> Config:
        """The configuration of both servers."""
        values = {"mclt_s": self.mclt_s, "lease_s": self.lease_s, "delay_s": self.delay_s, "window": self.window}
        return parse_text(TEXT.format(last=FIRST + self.pool - 1, tls=TLS if self.tls else "", **values), "sim.toml")


class Pair:
    """Two servers on one link, a relayed link, clients on both, a master."""

    def __init__(self, world: World, terms: Terms) -> None:
        """All switched off."""
        self.world, self.terms = world, terms
        self.tcp = Tcp(world)
        self.udp = Datagrams(world, "udp")
        self.dns = Datagrams(world, "dns")
        self.master = Master()
        self.master_up = True
        self.rng = world.random("pair")
        config = terms.config()
        self.a = Server(world, "a", A, config, terms.skew_s[0], self.tcp, self._to_client, self._to_master)
        self.b = Server(world, "b", B, config, terms.skew_s[1], self.tcp, self._to_client, self._to_master)
        self.a.partner, self.b.partner = self.b, self.a
        self.servers = (self.a, self.b)
        self.clients = [Client(world, n, self.servers, self.udp, PLACES, self._habits()) for n in range(terms.clients)]
        world.trace.add(Started(world.t, world.seed, terms.mclt_s, (("a", terms.skew_s[0]), ("b", terms.skew_s[1]))))

    def _habits(self) -> Habits:
        rng = self.rng
        kind = rng.choice(("steady", "steady", "rebooting", "roaming", "releasing", "shy", "fresh", "fresh"))
        return Habits(
            client_id=rng.random() < 0.5,
            named=rng.random() < 0.8,
            on_s=1e9 if kind == "steady" else rng.uniform(60, 600),
            off_s=rng.uniform(5, 400),
            release=0.9 if kind == "releasing" else 0.1,
            roam=0.6 if kind == "roaming" else 0.0,
            decline=0.1 if kind == "shy" else 0.0,
            fresh=0.8 if kind == "fresh" else 0.0,
            hurry_s=10.0 if rng.random() < 0.15 else 0.0,
        )

    def _to_client(self, server: Server, send: ClientSend) -> None:
        client = self.clients[int.from_bytes(send.data[32:34], "big")]
        if server.name in client.reach:
            self.udp.carry(lambda: client.hear(send.data))

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
                rcode = self.master.update(send)
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
        free = {place.name: 0 for place in PLACES}
        for server in self.servers:
            for place, count in zip(PLACES, server.gives(), strict=True):
                free[place.name] += count
        sizes = tuple((server.name, *size) for server in self.servers for size in server.sizes())
        return Look(self.world.t, waiting, tuple(free.items()), sizes)

    def zones(self) -> Zones:
        """The zones, and what the servers' leases want, as both see it (checks.never_quiet proves that they see the same)."""
        wanted = {(lease.fqdn, lease.address) for server in self.servers if server.node for lease in server.active() if lease.fqdn}
        return Zones(self.world.t, self.master.records(), tuple(sorted(wanted)))


def draw(world: World) -> Terms:
    """The numbers of a run, from its seed. Seeds that begin with "tls" are those of authenticated links."""
    rng = world.random("terms")
    far = rng.random() < 0.5
    most = 25.0 if far else 0.4
    return Terms(
        mclt_s=rng.choice((60, 120, 240)),
        lease_s=rng.choice((180, 300, 600)),
        delay_s=rng.choice((15, 20, 30)),
        window=rng.choice((1, 3, 10, 100)),
        pool=rng.choice((6, 8, 16)),
        clients=rng.choice((4, 8, 12)),
        skew_s=(rng.uniform(-most, most), rng.uniform(-most, most)),
        tls=world.seed.startswith("tls"),
    )
