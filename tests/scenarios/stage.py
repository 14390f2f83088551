"""The world of a scenario: two servers of the simulator (or one and a puppet), clients, a DNS master, and no chance in it.

The servers are `failoverd.sim`'s, that is the Node of production with the shell's manners; only the dice are taken away, so a transcript
changes when the behaviour does. Whatever happens is told, one line each.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from random import Random

from failoverd import __version__
from failoverd.config import Config, parse_text
from failoverd.dhcp.message import MessageType as Dhcp
from failoverd.failover.message import Framer
from failoverd.failover.reasons import CONNECT_FAILED
from failoverd.notes import Note
from failoverd.ports import ClientSend, DnsAnswer, DnsQuery, DnsUpdate, Now, Output, ProbeAnswer
from failoverd.sim.master import Master
from failoverd.sim.network import Peer, Tcp
from failoverd.sim.pair import TLS, ZONES
from failoverd.sim.server import RELATIONSHIP, Server
from failoverd.sim.trace import Answered, Booted, Crashed, Event, Moved, Sent, Trace
from failoverd.sim.world import World
from tests.scenarios.people import Client
from tests.scenarios.puppet import Puppet
from tests.scenarios.words import dotted, person, said

ADDRESS = {"a": 0x0A0A0001, "b": 0x0A0A0002}
FIRST = 0x0A0A000A
HOP_S = 0.001
DNS_TIMEOUT_S = 3.0
QUIET = frozenset({"CONTACT"})  # counted, not told one by one
UNTOLD = frozenset({CONNECT_FAILED, "state-changed", "disk-low"})  # the first is counted, the second told in our own words

TEXT = """
site = "scenario"
[servers.a]
interfaces = ["eth0"]
[servers.b]
interfaces = ["eth0"]
[api]
metrics = ""
[[relationship]]
name = "pair"
primary = {{ server = "{primary}", address = "{primary_address}", port = 647 }}
secondary = {{ server = "{secondary}", address = "{secondary_address}", port = 647 }}
mclt = "{mclt}"
split = {split}
load-balance-max-seconds = 3
max-response-delay = "{delay}"
max-unacked-updates = {window}
min-balance = "60s"
max-balance = "1h"
lone-boot = "{lone_boot}"
{tls}
[dhcp]
ping-check = {ping}
lease-time = "{lease}"
min-lease-time = "30s"
max-lease-time = "{lease}"
abandon-time = "{abandon}"
[[subnet]]
subnet = "10.10.0.0/24"
ddns = {{ domain = "dyn.example.test." }}
[[subnet.pool]]
range = ["10.10.0.10-10.10.0.{last}"]
relationship = "pair"
"""
TERMS = {
    "mclt": "60s",
    "lease": "10m",
    "delay": "15s",
    "window": "10",
    "split": "128",
    "pool": "8",
    "abandon": "3m",
    "primary": "a",
}
HIDDEN = {"lone_boot": "bounded", "tls": "", "ping": "false"}


def config(terms: dict[str, str]) -> Config:
    """The configuration of both servers: lab values of dhcpd's, lease 600 s, MCLT 60 s; max-response-delay is the least that we take."""
    values: dict[str, object] = {**TERMS, **HIDDEN, **terms}
    last = FIRST % 256 + int(str(values.pop("pool"))) - 1
    values["tls"] = TLS if values["tls"] else ""
    values["secondary"] = "b" if values["primary"] == "a" else "a"
    for role in ("primary", "secondary"):
        values[f"{role}_address"] = dotted(ADDRESS[str(values[role])])
    return parse_text((TEXT + ZONES).format(last=last, **values), "scenario.toml")


class Steady(Random):
    """Every throw gives the middle: no delay varies, nothing is lost, no commit in flight survives a kill."""

    def random(self) -> float:
        """0.5"""
        return 0.5


class Still(World):
    """A world without chance."""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        """At t = 0."""
        super().__init__("scenario")
        self.trace = Told(tell)

    def random(self, part: str) -> Random:
        """The dice of one part."""
        return Steady(part)


class Told(Trace):
    """A trace that is not kept."""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        """`tell` hears each event."""
        super().__init__()
        self.tell = tell

    def add(self, event: Event) -> None:
        """Tell it."""
        self.tell(event)


class Wire(Tcp):
    """The failover link; attempts to connect are counted."""

    def __init__(self, world: World) -> None:
        """Whole."""
        super().__init__(world)
        self.dialled: dict[str, int] = {}

    def connect(self, caller: Peer, callee: Peer, relationship: str = RELATIONSHIP) -> None:
        """One attempt."""
        self.dialled[caller.name] = self.dialled.get(caller.name, 0) + 1
        super().connect(caller, callee, relationship)


class Actor(Server):
    """A server whose notes are told."""

    told: Callable[[str, Iterable[Note]], None]

    def boot(self) -> None:
        """Start; whatever the state is then, it is told."""
        self._states.clear()
        super().boot()

    def _take(self, output: Output, now: Now) -> None:
        self.told(self.name, output.notes)
        super()._take(output, now)


class Stage:
    """Everything that a script can touch. `lines`: what happened since the last `take`."""

    def __init__(self, terms: dict[str, str], scripted: bool = False) -> None:
        """Everybody off. `scripted`: b is a puppet."""
        self.lines: list[str] = []
        self.counts: dict[str, int] = {}
        self.hushed = False
        self.world = Still(self._event)
        self.tcp = Wire(self.world)
        self.master, self.master_up = Master(), True
        self.config = config(terms)
        self.framers: dict[tuple[str, int], Framer] = {}
        self.clients: dict[int, Client] = {}
        self.squatters: set[int] = set()
        self.puppet = Puppet(self.world, "b", ADDRESS["b"], self.tcp) if scripted else None
        self.servers = {name: self._server(name) for name in ("a" if scripted else "ab")}
        if self.puppet is not None:
            self.servers["a"].partner = self.puppet
        else:
            self.servers["a"].partner, self.servers["b"].partner = self.servers["b"], self.servers["a"]

    def _server(self, name: str) -> Actor:
        server = Actor(self.world, name, ADDRESS[name], self.config, 0.0, self.tcp, self._to_client, self._to_master, self._probe)
        server.told = self._notes
        return server

    # --- what is told -----------------------------------------------------------------------------------------------------

    def tell(self, text: str) -> None:
        """One line of the transcript."""
        if not self.hushed:
            self.lines.append(f"{self.world.t:9.3f}  {text}")

    def count(self, what: str) -> None:
        """Something that is told as a sum at the end of the command."""
        if not self.hushed:
            self.counts[what] = self.counts.get(what, 0) + 1

    def take(self) -> list[str]:
        """What happened, and the sums."""
        for name, times in self.tcp.dialled.items():
            if times > 1 and not self.hushed:
                self.counts[f"{name} dials the partner"] = times
        self.tcp.dialled.clear()
        sums = [f"{'':9}  ({what}: {times} times)" for what, times in sorted(self.counts.items())]
        lines, self.lines, self.counts = self.lines, [], {}
        return lines + sums

    def _event(self, event: Event) -> None:
        if isinstance(event, Sent):
            framer = self.framers.setdefault((event.server, event.wire), Framer())
            for message in framer.feed(event.data):
                self.message(event.server, said(message))
        elif isinstance(event, Moved):
            self.tell(f"{event.server}          now in {event.state}")
        elif isinstance(event, Answered):
            kind = Dhcp(event.kind).name
            what = f"{kind} {dotted(event.address)} for {event.lease_s} s" if event.kind != Dhcp.NAK else kind
            self.tell(f"{event.server} -> {person(event.client)}  {what}")
        elif isinstance(event, Booted):
            self.tell(f"{event.server}          boots with {len(event.leases)} lease{'' if len(event.leases) == 1 else 's'}")
        elif isinstance(event, Crashed):
            self.tell(f"{event.server}          is gone: {event.why}")

    def message(self, sender: str, text: str) -> None:
        """One message on the failover link."""
        other = "b" if sender == "a" else "a"
        lost = "  (the link is cut)" if self.tcp.cut else ""
        if text in QUIET:
            self.count(f"{sender} -> {other}  {text}{lost}")
        else:
            self.tell(f"{sender} -> {other}     {text}{lost}")

    def _notes(self, server: str, notes: Iterable[Note]) -> None:
        for note in notes:
            if note.name == "state-changed":
                self.tell(f"{server}          {note.detail}")
            if note.name not in UNTOLD:
                about = [person(note.client) if note.client else "", dotted(note.address) if note.address else ""]
                detail = re.sub(r"\b1[67]\d{8}\b", self._time, note.detail).replace(f"failoverd-{__version__}", "failoverd")
                words = [each for each in (*about, note.subject if note.subject != RELATIONSHIP else "", detail) if each]
                self.tell(f"{server}          note {note.name}{': ' if words else ''}{', '.join(words)}")

    def _time(self, found: re.Match[str]) -> str:
        """A time in a note's detail, as a time of the transcript."""
        return f"{int(found[0]) - 1_700_000_000} s"

    # --- clients and DNS --------------------------------------------------------------------------------------------------

    def client(self, number: int) -> Client:
        """The client of this number."""
        return self.clients.setdefault(number, Client(number))

    def to_servers(self, client: Client, data: bytes, to: Iterable[str], *, unicast: bool = False) -> None:
        """One message of a client: a broadcast to everybody who is reached, or a unicast."""
        src = client.address if unicast else 0
        for name in to:
            dst = ADDRESS[name] if unicast else 0xFFFFFFFF
            self.world.after(HOP_S, partial(self.servers[name].datagram, src, 68, dst, data))

    def _to_client(self, server: Server, send: ClientSend) -> None:
        client = self.clients[int.from_bytes(send.data[32:34], "big")]
        self.world.after(HOP_S, lambda: client.hear(send.data))

    def _probe(self, server: Server, address: int) -> None:
        self.tell(f"{server.name} -> {dotted(address)}  ping{'' if address in self.squatters else ': nobody answers'}")
        if address in self.squatters:
            self.world.after(HOP_S, lambda: server.deliver(ProbeAnswer(address, True, server.clock.read().mono)))

    def _to_master(self, server: Server, send: DnsUpdate | DnsQuery) -> None:
        life, open_ = server.boots, [True]

        def answer(rcode: str, records: tuple[tuple[str, str], ...] = (), detail: str = "") -> None:
            if open_[0]:
                open_[0] = False
                self.tell(f"{server.name} => DNS   {_asked(send)}: {rcode}")
                if server.boots == life and server.up:
                    server.deliver(DnsAnswer(send.ident, rcode, "10.10.0.53", detail, records))

        def asked() -> None:
            if self.master_up:
                if isinstance(send, DnsUpdate):
                    rcode = self.master.update(send)
                    self.world.after(HOP_S, lambda: answer(rcode))
                else:
                    found, records = self.master.query(send)
                    self.world.after(HOP_S, lambda: answer(found, records))

        self.world.after(HOP_S, asked)
        self.world.after(DNS_TIMEOUT_S, lambda: answer("TIMEOUT", (), "no answer"))

    def normal(self) -> bool:
        """Both servers in normal, nothing owed."""
        ends = [server.node.endpoints[RELATIONSHIP] for server in self.servers.values() if server.node is not None]
        return len(ends) == len(self.servers) and all(e.state.words == "normal" and not e.updates.owed for e in ends)


def _asked(send: DnsUpdate | DnsQuery) -> str:
    if isinstance(send, DnsQuery):
        return f"query {send.name} {' '.join(send.types)}"
    wants = [f"{p.op} {_short(p.name)} {p.rtype} {' '.join(map(_value, p.values))}".strip() for p in send.prereqs]
    changes = [f"{c.op} {_short(c.name)} {c.rtype} {_value(c.value)}".strip() for c in send.changes]
    return f"UPDATE {'; '.join(changes)}" + (f"  if {' and '.join(' '.join(w.split()) for w in wants)}" if wants else "")


def _short(name: str) -> str:
    return name.removesuffix(".dyn.example.test.").removesuffix(".in-addr.arpa.")


def _value(value: str) -> str:
    return f"{value[:8]}.." if len(value) > 40 else value
