"""A recording played: the same Node from the same beginning, stepped with the same inputs; every decision told, every output compared.

A recording is a directory of segments. A segment is two files: NUMBER.start, the head and the Node as it was, configuration and all, and
NUMBER.steps, one line a step. Each segment can be played alone; one after the other they are one life.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from failoverd import __version__
from failoverd.dhcp.message import MessageType, decode
from failoverd.dhcp.reasons import PacketError
from failoverd.failover.message import Framer, PartnerError
from failoverd.failover.message import MessageType as FailoverType
from failoverd.node import Node
from failoverd.ports import ClientDatagram, ClientSend, Command, DnsUpdate, Input, LinkBytes, LinkSend, Output
from failoverd.replay import snapshot, steps

FORMAT = 1
START, STEPS = ".start", ".steps"
END = "end"  # the last line of a .start: how many lines the Node has, so that a cut one is seen


class RecordingError(Exception):
    """It cannot be played; the text says which file and why."""


class Head(NamedTuple):
    """What a segment says of itself. `wall`: when it begins."""

    version: str
    server: str
    wall: float


@dataclass(slots=True)
class Played:
    """One step that was played. `same`: the outputs are equal, octet for octet."""

    segment: str
    number: int
    wall: float
    inputs: list[Input]
    output: Output
    same: bool


def head_lines(node: Node, wall: float) -> Iterator[str]:
    """A .start file: head, Node, end."""
    yield json.dumps({"failoverd-recording": FORMAT, "version": __version__, "server": node.server, "wall": wall})
    count = 0
    for line in snapshot.freeze(node):
        count += 1
        yield line
    yield json.dumps({END: count})


def segments(path: Path) -> list[Path]:
    """The .start files of a recording, or of the one segment that is named, oldest first."""
    if path.is_dir():
        found = sorted(path.glob(f"*{START}"))
        if not found:
            raise RecordingError(f"{path}: no recording in this directory")
        return found
    if path.suffix not in (START, STEPS):
        raise RecordingError(f"{path}: neither a directory of `failoverctl capture` nor a file of one ({START}, {STEPS})")
    return [path.with_suffix(START)]


def begin(start: Path, secret: str = "") -> tuple[Head, Node]:
    """The Node that a segment begins with. `secret`: [ddns] name-secret; without it names that are made from it differ."""
    try:
        with start.open(encoding="utf-8") as file:
            head = _head(start, file.readline())
            *lines, rest = file.read().split("\n")  # splitlines() would end a line at U+2028, too, which a text may hold
        if rest or not lines or not isinstance(told := json.loads(lines[-1]), dict) or told.get(END) != len(lines) - 1:
            raise RecordingError(f"{start}: cut off: the server's memory is not complete")
        return head, snapshot.thaw(lines[:-1], secret or snapshot.STAND_IN)
    except (OSError, UnicodeDecodeError, snapshot.SnapshotError) as error:
        raise RecordingError(f"{start}: {error}") from error
    except ValueError as error:
        raise RecordingError(f"{start}: damaged: {error}") from error


def _head(start: Path, line: str) -> Head:
    try:
        told = json.loads(line)
        if told.get("failoverd-recording") != FORMAT:
            raise RecordingError(f"{start}: a recording of another form; this is failoverd {__version__}")
        return Head(str(told["version"]), str(told["server"]), float(told["wall"]))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RecordingError(f"{start}: no recording of failoverd") from error


def play(start: Path, secret: str = "") -> Iterator[Played]:
    """Every step of one segment. RecordingError ends it where the file is damaged; what was played before stands."""
    yield from go_on(start, begin(start, secret)[1])


def go_on(start: Path, node: Node) -> Iterator[Played]:
    """`play` with the Node that the segment begins with."""
    path = start.with_suffix(STEPS)
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith("\n"):
                    raise RecordingError(f"{path}: ends in the middle of step {number}; what is before it was played")
                try:
                    step = steps.read(line)
                except ValueError as error:
                    raise RecordingError(f"{path}: line {number}: {error}") from error
                try:
                    output = node.step(step.inputs, step.now, step.age_s)
                except Exception as error:  # a Node of a foreign or edited file may fail anywhere: the step is what can be said
                    raise RecordingError(f"{path}: step {number} cannot be taken by this version: {error!r}") from error
                yield Played(start.stem, number, step.now.wall, step.inputs, output, steps.digest(output) == step.digest)
    except (OSError, UnicodeDecodeError) as error:
        raise RecordingError(f"{path}: {error}") from error


class Line(NamedTuple):
    """One line of the timeline. `client`: hex octets, "" for none; `what`: a note's name, or what came in or went out."""

    wall: float
    segment: str
    step: int
    way: str  # "in", "out" or "note"
    what: str
    client: str = ""
    address: str = ""
    detail: str = ""


def dotted(address: int) -> str:
    """10.0.0.1, "" for none."""
    return ".".join(map(str, address.to_bytes(4, "big"))) if address else ""


class Teller:
    """Steps in words. Keeps the unfinished messages of each link."""

    def __init__(self) -> None:
        self._framers: dict[tuple[str, int], Framer] = {}

    def tell(self, played: Played) -> list[Line]:
        """What came in, what was decided, what went out."""

        def line(way: str, what: str, client: bytes = b"", address: int = 0, detail: str = "") -> Line:
            return Line(played.wall, played.segment, played.number, way, what, client.hex(":"), dotted(address), detail)

        lines = []
        for each in played.inputs:
            if isinstance(each, ClientDatagram):
                lines.append(line("in", *_packet(each.data)))
            elif isinstance(each, LinkBytes):
                lines += [line("in", what, detail=each.relationship) for what in self._messages("in", each.link, each.data)]
            elif isinstance(each, Command):
                lines.append(line("in", f"command {each.verb}", detail=f"{each.who} {each.why}".strip()))
            else:
                lines.append(line("in", type(each).__name__))
        for note in played.output.notes:
            words = [each for each in (note.subject, note.detail) if each]
            lines.append(line("note", note.name, note.client, note.address, ", ".join(words)))
        for send in (*played.output.at_once, *played.output.after_commit):
            if isinstance(send, ClientSend):
                lines.append(line("out", *_packet(send.data)))
            elif isinstance(send, LinkSend):
                lines += [line("out", what, detail=send.relationship) for what in self._messages("out", send.link, send.data)]
            elif isinstance(send, DnsUpdate):
                lines.append(line("out", "UPDATE", detail="; ".join(" ".join(map(str, change[:4])) for change in send.changes)))
            else:
                lines.append(line("out", type(send).__name__))
        return lines

    def _messages(self, way: str, link: int, data: bytes) -> list[str]:
        framer = self._framers.setdefault((way, link), Framer())
        try:
            return [FailoverType(message.kind).name for message in framer.feed(data)]
        except (PartnerError, ValueError) as error:
            return [f"bytes that are no message ({error})"]


def _packet(data: bytes) -> tuple[str, bytes, int]:
    try:
        packet = decode(data)
        return f"DHCP{MessageType(packet.message_type).name}", packet.hw, packet.yiaddr or packet.ciaddr
    except (PacketError, ValueError):
        return "a datagram that is no DHCP message", b"", 0
