"""A failoverd and a modelled dhcpd as partners in either role, put together from a seed. One pool on the servers' own link.

Server a is the failoverd, b the dhcpd (dhcpd_server.py). Clients send no option 61 and have no names: the model knows a client by its
hardware address, and does no DNS.
"""

from __future__ import annotations

from dataclasses import replace

from failoverd.config import parse_text
from failoverd.failover.hashing import hba_from_split
from failoverd.sim.clients import Client, Habits
from failoverd.sim.dhcpd_model import DhcpdTerms
from failoverd.sim.dhcpd_server import DhcpdServer
from failoverd.sim.master import Master, Slave
from failoverd.sim.network import Datagrams, Tcp
from failoverd.sim.pair import FIRST, OTHERS, PLACES, A, B, Pair, Terms
from failoverd.sim.server import Server
from failoverd.sim.trace import Started
from failoverd.sim.world import World

LEAST_LEASE_S = 130  # below it dhcpd's 65 s of tolerance decide (safety.md, at its end)
MAX_SECS = 3
KINDS = frozenset(
    {
        *("cut", "one way", "reset", "slow link", "split", "bad datagrams", "kill", "kill at", "both", "behind cut", "pause"),
        *("stop", "rebalance", "force", "slow disk", "bad disk"),
    }
)
"""The faults of such a run. Not among them: those of DNS, which has no part in it; copies of a lease file and the loss of one, against
which dhcpd has nothing; full disks and planned work, which dhcpd does not know; clocks that are set, see BEHIND_S."""
BEHIND_S = (
    1.5  # the dhcpd's clock is so far behind ours at least: one that is ahead frees, and gives away, as much too early, and a lease
)
# ends at a whole second of it; nothing of ours can help

TEXT = """
site = "sim"
[servers.a]
interfaces = ["eth0"]
[api]
metrics = ""
[[relationship]]
name = "pair"
{ours} = {{ server = "a", address = "10.10.0.1", port = 647 }}
{theirs} = {{ kind = "isc-dhcpd", address = "10.10.0.2", port = 647, max-unacked-updates = {window} }}
mclt = "{mclt_s}s"
split = 128
load-balance-max-seconds = {secs}
max-response-delay = "{delay_s}s"
max-unacked-updates = {window}
min-balance = "30s"
max-balance = "10m"
[dhcp]
ping-check = false
lease-time = "{lease_s}s"
min-lease-time = "30s"
max-lease-time = "{lease_s}s"
abandon-time = "3m"
[[subnet]]
subnet = "10.10.0.0/24"
options = {{ routers = ["10.10.0.254"] }}
[[subnet.pool]]
range = ["10.10.0.10-10.10.0.{last}"]
relationship = "pair"
"""


def with_dhcpd(terms: Terms, role: str) -> Terms:
    """The numbers of such a run. `role`: of the dhcpd, "primary" or "secondary"."""
    lease_s = max(terms.lease_s, LEAST_LEASE_S)
    ours, theirs = terms.skew_s
    terms = replace(terms, skew_s=(ours, min(theirs, ours - BEHIND_S)))
    plain = replace(terms, tls=False, both_ways=False, zero_loss_s=0, lone_boot="bounded", auto_s=0, ping=False)
    return replace(plain, dhcpd=role, lease_s=lease_s, window=max(terms.window, 2))


class DhcpdPair(Pair):
    """A failoverd and a dhcpd."""

    def __init__(self, world: World, terms: Terms) -> None:
        """All switched off."""
        self.world, self.terms = world, terms
        self.tcp = Tcp(world)
        self.udp, self.dns = Datagrams(world, "udp"), Datagrams(world, "dns")
        self.master = Master()
        self.slave = Slave(world, self.master)
        self.master_up, self.refuses = True, ""
        self.rng = world.random("pair")
        self.places = PLACES[:1]
        ours = "secondary" if terms.dhcpd == "primary" else "primary"
        text = TEXT.format(
            ours=ours,
            theirs=terms.dhcpd,
            window=terms.window,
            mclt_s=terms.mclt_s,
            secs=MAX_SECS,
            delay_s=terms.delay_s,
            lease_s=terms.lease_s,
            last=FIRST + terms.pool - 1,
        )
        config = parse_text(text, "sim.toml")
        self.a = Server(world, "a", A, config, terms.skew_s[0], self.tcp, self._to_client, self._to_master, self._probe)
        first = 0x0A0A0000 + FIRST
        isc = DhcpdTerms(
            "pair",
            terms.dhcpd == "primary",
            tuple(range(first, first + terms.pool)),
            terms.mclt_s,
            terms.lease_s,
            hba_from_split(128),
            terms.delay_s,
            terms.window,
        )
        self.b = DhcpdServer(world, "b", B, config, terms.skew_s[1], self.tcp, self._to_client, isc, MAX_SECS)
        self.a.partner, self.b.partner = self.b, self.a
        self.servers = (self.a, self.b)
        self.clients = [Client(world, n, self.servers, self.udp, self.places, self._habits()) for n in range(terms.clients)]
        self.cast: list[Client] = []
        for name, rtype, value in OTHERS:
            self.master.put(name, rtype, value)
        self.slave.notify()
        pools = (("pair", "b" if terms.dhcpd == "primary" else "a", first, first + terms.pool - 1),)
        clocks = (("a", terms.skew_s[0]), ("b", terms.skew_s[1]))
        world.trace.add(Started(world.t, world.seed, terms.mclt_s, clocks, pools, delay_s=terms.delay_s, dhcpd="b"))

    def _habits(self) -> Habits:
        return replace(super()._habits(), client_id=False, named=False)


def pair_of(world: World, terms: Terms) -> Pair:
    """The pair of a run."""
    return DhcpdPair(world, terms) if terms.dhcpd else Pair(world, terms)
