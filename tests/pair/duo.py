"""Two Nodes in one process: bytes cross, commits are kept, time is an argument. The ground of the pair's tests.

Every send of `after_commit` is delivered only when the step's writes were "committed" to `disk`; a crash rebuilds a node from that.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

from failoverd.config import parse_text
from failoverd.dhcp.message import Packet, decode, encode
from failoverd.failover.dialect import NEWEST
from failoverd.leases.lease import Lease
from failoverd.node import Node
from failoverd.notes import Note
from failoverd.ports import (
    ClientDatagram,
    ClientSend,
    Command,
    ConnectFailed,
    DnsUpdate,
    Input,
    InterfaceAddresses,
    Kind,
    LinkBytes,
    LinkClose,
    LinkConnect,
    LinkDown,
    LinkSend,
    LinkUp,
    Now,
    Output,
    Probe,
    Reply,
    Stored,
    Write,
)

WALL = 1_700_000_000.0
SERVERS = ("p", "s")
ADDRESS = {"p": 0x0A000001, "s": 0x0A000002}

CONFIG = """
[servers.p]
interfaces = ["eth0"]
[servers.s]
interfaces = ["eth0"]
[[relationship]]
name = "fo"
primary = {{ server = "p", address = "10.0.0.1", port = 647 }}
secondary = {{ server = "s", address = "10.0.0.2", port = 647 }}
mclt = "{mclt}"
split = {split}
load-balance-max-seconds = 3
max-response-delay = "30s"
max-unacked-updates = {window}
min-balance = "60s"
lone-boot = "{lone_boot}"
[dhcp]
ping-check = {ping}
lease-time = "{lease}"
min-lease-time = "1m"
max-lease-time = "1d"
[[subnet]]
subnet = "10.0.0.0/22"
ddns = {{ domain = "dyn.example.test.", name-template = "dhcp-{{ip}}" }}
[[subnet.pool]]
range = ["10.0.0.100-10.0.0.{last}"]
relationship = "fo"
[[subnet.reservation]]
hardware = "02:00:00:00:ff:01"
address = "10.0.0.60"
hostname = "printer"
[[ddns.zone]]
target = "main"
name = "dyn.example.test."
primaries = ["10.0.0.53"]
key-file = "/nonexistent/key"
"""


_UUIDS = itertools.count(1)


class Disk:
    """What was committed by one server, folded."""

    def __init__(self) -> None:
        self.rows: dict[tuple[Kind, bytes], str] = {}
        self.events: list[dict[str, object]] = []
        self.newest = 0.0
        self.uuid = f"{next(_UUIDS):032x}"
        self.boots = 0
        self.log: list[Write] = []

    def commit(self, writes: Iterable[Write], wall: float) -> None:
        for write in writes:
            self.log.append(write)
            self.newest = wall
            if write.kind is Kind.EVENT:
                self.events.append(json.loads(write.record or "{}"))
            elif write.record is None:
                self.rows.pop((write.kind, write.key), None)
            else:
                self.rows[write.kind, write.key] = write.record

    def stored(self) -> Stored:
        def of(kind: Kind) -> list[str]:
            return [record for (each, _), record in self.rows.items() if each is kind]

        self.boots += 1
        meta = {key.decode(): record for (kind, key), record in self.rows.items() if kind is Kind.META}
        meta |= {"uuid": self.uuid, "boot": f"{self.boots:032x}", "generation": str(len(self.log)), "host": "one"}
        return Stored(of(Kind.LEASE), of(Kind.DDNS), of(Kind.RELATIONSHIP), meta, self.newest, of(Kind.CONFLICT))


class Duo:
    """A pair. `run(seconds)` lets time pass; `cut`, `crash`, `start`, `command`, `dora` do what they say."""

    def __init__(
        self,
        *,
        mclt: str = "10m",
        lease: str = "1h",
        split: int = 128,
        window: int = 10,
        last: int = 199,
        lone_boot: str = "bounded",
        new_pair: bool = True,
        edits: Iterable[tuple[str, str]] = (),
        tls: bool = False,
        dialects: Mapping[str, int] | None = None,
        other: Iterable[tuple[str, str]] = (),
        ping: bool = False,
    ) -> None:
        """`edits`: (old, new) texts of the configuration. `tls`: the link is authenticated. `dialects`: the newest that a server offers.
        `other`: edits of the secondary's configuration alone."""
        text = CONFIG.format(
            mclt=mclt, lease=lease, ping=str(ping).lower(), split=split, window=window, last=last, lone_boot=lone_boot
        )
        for old, new in edits:
            assert old in text, old
            text = text.replace(old, new)
        if tls:
            text = text.replace("lone-boot =", 'tls = { cert-file = "/c", key-file = "/k", ca-file = "/ca" }\nlone-boot =')
        self.tls, self.dialects = tls, dict(dialects or {})
        self.text, self.config = text, parse_text(text)
        for old, new in other:
            assert old in text, old
            text = text.replace(old, new)
        self.configs = {"p": self.config, "s": parse_text(text)}
        self.now = Now(WALL, 1000.0)
        self.disks = {name: Disk() for name in SERVERS}
        self.nodes: dict[str, Node] = {}
        self.inbox: dict[str, list[Input]] = {name: [] for name in SERVERS}
        self.notes: dict[str, list[Note]] = {name: [] for name in SERVERS}
        self.replies: dict[int, Reply] = {}
        self.sent: dict[str, list[Packet]] = {name: [] for name in SERVERS}
        self.updates: dict[str, list[DnsUpdate]] = {name: [] for name in SERVERS}
        self.probes: dict[str, list[Probe]] = {name: [] for name in SERVERS}
        self.wire: list[tuple[str, bytes]] = []
        self.connected = True
        self.hold_bytes: Callable[[str, bytes], bool] = lambda sender, data: False
        self._links: dict[int, None] = {}
        self._link = 0
        self._ident = 0
        self._xid = 0
        for name in SERVERS:
            self.start(name)
            if new_pair:
                self.send_command(name, "pair-init")

    # --- the two servers ------------------------------------------------------------------------------------------------

    def start(self, name: str, **meta: str) -> Node:
        """`meta`: what the store says beside (rollback, restored)."""
        stored = self.disks[name].stored()
        stored.meta.update(meta)
        node = Node(self.configs[name], name, stored, self.now, random.Random(name))
        for endpoint in node.endpoints.values():
            endpoint.terms = replace(endpoint.terms, dialect=self.dialects.get(name, NEWEST))
        self.nodes[name] = node
        self.inbox[name] = [InterfaceAddresses("eth0", ((ADDRESS[name], 22),))]
        self._emit(name, node.boot(self.now))
        return node

    def crash(self, name: str) -> None:
        """kill -9: what was not committed is gone; the kernel closes the links."""
        del self.nodes[name]
        self._break_links()

    def reconfigure(self, name: str, text: str = "") -> None:
        """A restart with another configuration; without a text, with the pair's."""
        self.crash(name)
        self.configs[name] = parse_text(text) if text else self.config
        self.start(name)

    def cut(self) -> None:
        """The failover link fails silently: nobody is told, nothing arrives."""
        self.connected = False

    def heal(self) -> None:
        self.connected = True

    def lose_database(self, name: str) -> None:
        self.disks[name] = Disk()

    def _break_links(self) -> None:
        for link in list(self._links):
            del self._links[link]
            for name in self.nodes:
                self.inbox[name].append(LinkDown("fo", link, "eof"))

    # --- time -----------------------------------------------------------------------------------------------------------

    def run(self, seconds: float, step_s: float = 0.25) -> None:
        end = self.now.mono + seconds
        while self.now.mono < end:
            self.tick(min(step_s, end - self.now.mono))

    def tick(self, step_s: float = 0.01) -> None:
        self.now = Now(self.now.wall + step_s, self.now.mono + step_s)
        for name in list(self.nodes):
            inputs, self.inbox[name] = self.inbox[name], []
            self._emit(name, self.nodes[name].step(inputs, self.now))

    def settle(self, ticks: int = 40) -> None:
        for _ in range(ticks):
            self.tick(0.01)

    def _emit(self, name: str, out: Output) -> None:
        self.notes[name] += out.notes
        for send in out.at_once:
            self._deliver(name, send)
        self.disks[name].commit(out.writes, self.now.wall)
        for send in out.after_commit:
            self._deliver(name, send)

    def _deliver(self, name: str, send: object) -> None:
        other = "s" if name == "p" else "p"
        if isinstance(send, LinkConnect):
            if not self.connected or other not in self.nodes:
                self.inbox[name].append(ConnectFailed("fo", "no route"))
                return
            self._link += 1
            self._links[self._link] = None
            self.inbox[name].append(LinkUp("fo", self._link, True, self.tls))
            self.inbox[other].append(LinkUp("fo", self._link, False, self.tls))
        elif isinstance(send, LinkSend):
            self.wire.append((name, send.data))
            if self.connected and send.link in self._links and other in self.nodes and not self.hold_bytes(name, send.data):
                self.inbox[other].append(LinkBytes("fo", send.link, send.data))
        elif isinstance(send, LinkClose):
            self._links.pop(send.link, None)
            self.inbox[name].append(LinkDown("fo", send.link, send.reason))
            if other in self.nodes and self.connected:
                self.inbox[other].append(LinkDown("fo", send.link, "eof"))
        elif isinstance(send, Reply):
            self.replies[send.ident] = send
        elif isinstance(send, ClientSend):
            self.sent[name].append(decode(send.data))
        elif isinstance(send, Probe):
            self.probes[name].append(send)
        elif isinstance(send, DnsUpdate):
            self.updates[name].append(send)

    # --- operators ------------------------------------------------------------------------------------------------------

    def send_command(self, name: str, verb: str, **args: str) -> int:
        self._ident += 1
        self.inbox[name].append(Command(self._ident, verb, {"relationship": "fo", **args}, "root", "test"))
        return self._ident

    def command(self, name: str, verb: str, **args: str) -> Reply:
        ident = self.send_command(name, verb, **args)
        self.tick()
        return self.replies[ident]

    # --- clients --------------------------------------------------------------------------------------------------------

    def packet(self, kind: int, mac: int, *, secs: int = 0, ciaddr: int = 0, **options: bytes) -> bytes:
        self._xid += 1
        codes = {int(code[1:]): value for code, value in options.items()}
        chaddr = b"\x02\x00" + mac.to_bytes(4, "big")
        return encode(Packet(1, 1, 6, 0, self._xid, secs, 0x8000, ciaddr, 0, 0, 0, chaddr, options={53: bytes((kind,)), **codes}))

    def say(self, name: str, data: bytes, dst_ip: int = 0xFFFFFFFF) -> Packet | None:
        """Hand one datagram to a server; its answer, if any."""
        before = len(self.sent[name])
        self.inbox[name].append(ClientDatagram("eth0", ADDRESS[name], 0, 68, dst_ip, data, self.now.mono))
        self.tick()
        return self.sent[name][before] if len(self.sent[name]) > before else None

    def discover(self, name: str, mac: int, *, secs: int = 0, requested: int = 0) -> Packet | None:
        options = {"o50": requested.to_bytes(4, "big")} if requested else {}
        return self.say(name, self.packet(1, mac, secs=secs, **options))

    def dora(self, name: str, mac: int, secs: int = 10) -> Packet | None:
        """The ACK (or NAK) of a client that this server is made to answer (`secs` is high), None for silence."""
        offer = self.discover(name, mac, secs=secs)
        if offer is None:
            return None
        request = self.packet(
            3, mac, secs=secs, o50=offer.yiaddr.to_bytes(4, "big"), o54=ADDRESS[name].to_bytes(4, "big"), o12=b"host%d" % mac
        )
        return self.say(name, request)

    def given(self, name: str, mac: int) -> int:
        """The address that a client is given by this server; it must be given one."""
        ack = self.dora(name, mac)
        assert kind(ack) == "ack"
        assert ack is not None
        return ack.yiaddr

    def renew(self, name: str, mac: int, address: int) -> Packet | None:
        return self.say(name, self.packet(3, mac, ciaddr=address, o12=b"host%d" % mac), ADDRESS[name])

    def release(self, name: str, mac: int, address: int) -> None:
        self.say(name, self.packet(7, mac, ciaddr=address), ADDRESS[name])

    # --- questions ------------------------------------------------------------------------------------------------------

    def state(self, name: str) -> str:
        return self.nodes[name].endpoints["fo"].state.words

    def states(self) -> tuple[str, str]:
        return self.state("p"), self.state("s")

    def lease(self, name: str, address: int) -> Lease:
        return self.nodes[name].table.get(address)

    def relationship(self, name: str) -> dict[str, Any]:
        """The one relationship of a server, as its status tells it."""
        (row,) = cast(list[dict[str, Any]], self.nodes[name].status(self.now)["relationships"])
        return row

    def noted(self, name: str, note: str) -> int:
        return sum(each.name == note for each in self.notes[name])

    def until(self, condition: Callable[[], bool], within_s: float = 120.0) -> float:
        """Let time pass until the condition holds; how long it took. Fails when it does not within the bound."""
        start = self.now.mono
        while not condition():
            assert self.now.mono - start < within_s, f"not within {within_s} s: states {[(n, self.state(n)) for n in self.nodes]}"
            self.tick(0.1)
        return self.now.mono - start


def lease_s(packet: Packet) -> int:
    return int.from_bytes(packet.options[51], "big")


def kind(packet: Packet | None) -> str:
    return {2: "offer", 5: "ack", 6: "nak"}[packet.message_type] if packet is not None else "silence"


def normal(**more: object) -> Duo:
    """A pair in normal."""
    duo = Duo(**more)  # type: ignore[arg-type]
    duo.until(
        lambda: duo.states() == ("normal", "normal") and not any(n.endpoints["fo"].updates.owed for n in duo.nodes.values()), 10
    )
    return duo
