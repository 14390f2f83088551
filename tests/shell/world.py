"""A world around the loop: an echo node, a store that is slow or broken, and sockets that only remember."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from io import StringIO

from failoverd.ports import (
    ClientDatagram,
    ClientSend,
    Command,
    DnsAnswer,
    DnsQuery,
    DnsUpdate,
    Input,
    Kind,
    LinkBytes,
    LinkSend,
    Now,
    Origin,
    Output,
    ProbeAnswer,
    Reply,
    Stopping,
    Write,
)
from failoverd.shell import clock
from failoverd.shell.logs import NoteBook, Writer
from failoverd.shell.loop import Loop


class Ended(BaseException):
    """The process would have ended here."""


class EchoNode:
    """Datagram b"offer": an answer at once; b"ack": a write and an answer behind it; b"nak": an answer behind nothing of its own.
    Partner bytes: a write and the same bytes back. A command: a write and a reply."""

    def __init__(self, script: Callable[[EchoNode, Input, Output, Now], None] | None = None) -> None:
        self.stepped: list[Input] = []
        self.ages: list[float] = []
        self.serial = 0
        self.due = float("inf")
        self.script = script

    def step(self, inputs: Sequence[Input], now: Now, commit_age_s: float = 0.0) -> Output:
        output = Output()
        self.stepped += inputs
        self.ages.append(commit_age_s)
        if self.due <= now.mono:
            self.due = float("inf")
        for item in inputs:
            if self.script is not None:
                self.script(self, item, output, now)
            elif isinstance(item, ClientDatagram):
                self._datagram(item, output)
            elif isinstance(item, LinkBytes):
                self.write(output)
                output.after_commit.append(LinkSend(item.relationship, item.link, item.data))
            elif isinstance(item, Command):
                self.write(output)
                output.after_commit.append(Reply(item.ident, "ok", {"verb": item.verb}))
            elif isinstance(item, Stopping):
                self.write(output)
                output.after_commit.append(LinkSend("office", 1, b"last"))
        return output

    def _datagram(self, item: ClientDatagram, output: Output) -> None:
        send = answer(item)
        if item.data.startswith(b"offer"):
            output.at_once.append(send)
            return
        if item.data.startswith(b"ack"):
            self.write(output)
        output.after_commit.append(send)

    def write(self, output: Output) -> int:
        self.serial += 1
        output.writes.append(Write(Kind.LEASE, self.serial.to_bytes(4, "big"), "{}", Origin.CLIENT))
        return self.serial

    def deadline(self, now: Now) -> float:
        return self.due

    def status(self, now: Now) -> dict[str, object]:
        return {"stepped": len(self.stepped)}


def answer(item: ClientDatagram) -> ClientSend:
    return ClientSend(item.interface, item.local_ip, item.src_ip, 68, item.data, mono=item.mono)


class Trace:
    """What happened, in order: ("send", x), ("begin", n), ("done", n)."""

    def __init__(self) -> None:
        self.events: list[tuple[str, object]] = []

    def add(self, what: str, value: object) -> None:
        self.events.append((what, value))

    def of(self, what: str) -> list[object]:
        return [value for kind, value in self.events if kind == what]


class SlowStore:
    """Commits that take a random while; never two at a time."""

    def __init__(self, trace: Trace, delays: Callable[[], float] = lambda: 0.0) -> None:
        self.trace, self.delays = trace, delays
        self.committed: list[Write] = []
        self.batches: list[int] = []
        self.busy = False
        self.hang: asyncio.Event | None = None
        self.broken: BaseException | None = None
        self.markers = 0
        self.backlog = 0
        self.low = False

    async def commit(self, writes: Sequence[Write], wall: float) -> None:
        assert writes
        assert not self.busy, "two operations of the store at once"
        self.busy = True
        serials = [int.from_bytes(write.key, "big") for write in writes]
        self.trace.add("begin", serials)
        if self.hang is not None:
            await self.hang.wait()
        await asyncio.sleep(self.delays())
        if self.broken is not None:
            raise self.broken
        self.committed += writes
        self.batches.append(len(writes))
        self.backlog += len(writes)
        self.trace.add("done", serials)
        self.busy = False

    async def fold(self, limit_rows: int) -> int:
        assert not self.busy
        taken = min(self.backlog, limit_rows)
        self.backlog -= taken
        return taken

    def due(self) -> bool:
        return False

    async def write_marker(self) -> None:
        assert not self.busy
        self.markers += 1

    def low_water(self) -> bool:
        return self.low


class Sockets:
    """Clients, partners and masters at once; everything sent goes into the trace."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.links = {"office": [1]}
        self.refused: list[tuple[str, bool]] = []
        self.paused: list[str] = []
        self.discards = 0
        self.asked: list[DnsUpdate | DnsQuery] = []

    # clients

    def send(self, *args: object) -> None:
        self.trace.add("send", args[0] if len(args) == 1 else args)

    def discard(self) -> None:
        self.discards += 1

    def pause(self) -> None:
        self.paused.append("pause")

    def resume(self) -> None:
        self.paused.append("resume")

    # partners

    def connect(self, relationship: str) -> None:
        self.trace.add("connect", relationship)

    def close_link(self, link: int, reason: str) -> None:
        self.trace.add("close", link)

    def flush(self) -> None:
        return

    def drop(self, relationship: str, reason: str) -> list[int]:
        self.trace.add("drop", (relationship, reason))
        return self.links.pop(relationship, [])

    def refuse(self, relationship: str, refusing: bool) -> None:
        self.refused.append((relationship, refusing))

    # masters

    def submit(self, request: DnsUpdate | DnsQuery, deliver: Callable[[DnsAnswer], None]) -> None:
        self.asked.append(request)
        self.trace.add("send", request)


class Clock:
    """The real clocks, plus what a test adds to them."""

    def __init__(self) -> None:
        self.wall = self.mono = 0.0

    def read(self) -> Now:
        now = clock.read()
        return Now(now.wall + self.wall, now.mono + self.mono)

    def sleep(self, seconds: float) -> None:
        """The machine was suspended."""
        self.wall += seconds
        self.mono += seconds


class Hosts:
    """Whom the loop pings, and who has answered."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.answers: list[ProbeAnswer] = []

    def send(self, address: int) -> None:
        self.asked.append(address)

    def heard(self) -> list[ProbeAnswer]:
        found, self.answers = self.answers, []
        return found


class World:
    """Loop, node, store, sockets, clock."""

    def __init__(
        self, node: EchoNode | None = None, delays: dict[str, float] | None = None, store_delays: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.trace = Trace()
        self.node = node or EchoNode()
        self.store = SlowStore(self.trace, store_delays)
        self.clients, self.partners, self.masters = Sockets(self.trace), Sockets(self.trace), Sockets(self.trace)
        self.hosts = Hosts()
        self.clock = Clock()
        self.log = StringIO()
        self.ended: list[tuple[int, str]] = []
        self.book = NoteBook(Writer("json", self.log), "debug")
        self.loop = Loop(
            self.node,
            self.store,
            self.book,
            {"office": 30.0} if delays is None else delays,
            read=self.clock.read,
            end=self._end,
            clients=self.clients,
            partners=self.partners,
            masters=self.masters,
            hosts=self.hosts,
        )

    def _end(self, code: int, text: str) -> None:
        self.ended.append((code, text))
        raise Ended(text)

    def datagram(self, data: bytes, age_s: float = 0.0) -> ClientDatagram:
        return ClientDatagram("eth0", 0x0A000001, 0x0A000063, 68, 0xFFFFFFFF, data, self.clock.read().mono - age_s)

    def hear(self, *datas: bytes) -> None:
        self.loop.hear([self.datagram(data) for data in datas])

    def sent(self) -> list[object]:
        """Data of what was sent to clients and partners, in order."""
        out: list[object] = []
        for value in self.trace.of("send"):
            out.append(value.data if isinstance(value, ClientSend) else value[1] if isinstance(value, tuple) else value)
        return out

    async def quiet(self) -> None:
        """Wait until no commit is under way or due."""
        for _ in range(2000):
            await asyncio.sleep(0.001)
            if not self.store.busy and not self.loop._next.writes and self.loop._flying is None:
                return
        raise AssertionError("the loop never became quiet")

    def shut(self) -> None:
        """End without a clean stop."""
        self.loop._stopped = True
        for handle in (self.loop._timer, self.loop._ticker, self.loop._keeper):
            if handle is not None:
                handle.cancel()


def jitter(seed: int, most_s: float) -> Callable[[], float]:
    """Random delays, most of them none."""
    rng = random.Random(seed)
    return lambda: rng.choice((0.0, 0.0, rng.random() * most_s))
