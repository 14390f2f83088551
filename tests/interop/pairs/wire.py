"""The failover conversation of a case as tshark's dhcpfo dissector reads it: nothing malformed, which rejects, how late each ack."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from failoverd.failover.message import RejectReason
from tests.lab.lab import Host, Lab, Process, command
from tests.lab.wait import until

FIELDS = (
    "frame.time_epoch",
    "ip.src",
    "tcp.stream",
    "dhcpfo.type",
    "dhcpfo.xid",
    "dhcpfo.rejectreason",
    "dhcpfo.assignedipaddress",
)
BNDUPD, BNDACK, DISCONNECT = 3, 4, 12
BINDINGS = ("3", "4")
DUEL_S = (
    15.0  # between two updates of one address that count as a duel: dhcpd keeps its answers for 2 s, and its queue for longer; a
)
# failoverd that meets a dhcpd again keeps its own back for up to 10 s, until the other has told everything


@dataclass(slots=True, frozen=True)
class Reading:
    """What was on the wire. `malformed`: tshark's complaints. `rejects`: reason -> how many of the updates. `acks_s`: from each BNDUPD to
    its BNDACK, by the address that acknowledged. `said`: how many messages of each kind, by sender. `farewells`: reject reasons of the
    DISCONNECTs, by sender. `unprovoked`: updates rejected as less critical by a server that had told nothing of that address."""

    messages: int
    malformed: list[str]
    rejects: Counter[int]
    acks_s: dict[str, list[float]]
    said: dict[str, Counter[int]]
    farewells: dict[str, list[int]]
    unprovoked: list[str]


class Capture:
    """tcpdump on the switch's end of one server's failover cable: frames of both directions, each once."""

    def __init__(self, lab: Lab, host: Host, port: str, tcp_port: int) -> None:
        self.file = lab.folder / "failover.pcap"
        self.tcp_port = tcp_port
        self.since = 0.0
        args = ["-i", host.ports[port], "-U", "-Z", "root", "-w", str(self.file), "tcp", "and", "port", str(tcp_port)]
        self.process: Process = lab.switch.start("tcpdump", "tcpdump", *args)
        until("tcpdump listens", lambda: "listening on" in self.process.text(), 10, 0.05)

    def begin_anew(self) -> None:
        """The next `now` counts from here."""
        self.since = time.time()

    def now(self) -> Reading:
        """What was said since `begin_anew`."""
        return read(self.file, self.tcp_port, self.since)

    def stop(self) -> None:
        """Everything that was seen is in the file."""
        if self.process.alive():
            self.process.stop()

    def read(self) -> Reading:
        """Dissect."""
        return read(self.file, self.tcp_port)

    def sealed(self, secrets: Sequence[bytes]) -> Reading:
        """An authenticated link: its segments are counted, and none of the secrets may be read in them."""
        segments = command("tshark", "-r", str(self.file), "-Y", "tcp.len > 0", timeout_s=60).splitlines()
        data = self.file.read_bytes()
        clear = [f"{secret.hex(':')} in the clear" for secret in secrets if secret in data]
        return Reading(len(segments), clear, Counter(), {}, {}, {}, [])


@dataclass(slots=True, frozen=True)
class Frame:
    """One segment, or the end of a message of several. `reasons`: as many as it has rejects; `addresses`: one for each binding."""

    at: float
    source: str
    stream: str
    kinds: tuple[str, ...]
    xids: tuple[int, ...]
    reasons: tuple[int, ...]
    addresses: tuple[str, ...]

    @classmethod
    def of(cls, line: str) -> Frame:
        """A line of tshark's fields."""
        at, source, stream, kinds, xids, reasons, addresses = ([*filter(None, cell.split(","))] for cell in line.split("|"))
        numbers = [tuple(int(word, 0) for word in words) for words in (xids, reasons)]
        return cls(float(at[0]), source[0], stream[0], tuple(kinds), numbers[0], numbers[1], tuple(addresses))

    def of_kind(self, kind: int) -> list[str]:
        """The addresses of its BNDUPDs, or of its BNDACKs."""
        bindings = [each for each in self.kinds if each in BINDINGS]
        return [address for each, address in zip(bindings, self.addresses, strict=False) if each == str(kind)]


def read(file: Path, tcp_port: int, since: float = 0.0) -> Reading:
    """A capture file through tshark, from a time on (UTC seconds)."""
    base = ["tshark", "-r", str(file), "-d", f"tcp.port=={tcp_port},dhcpfo", "-o", "tcp.desegment_tcp_streams:TRUE"]
    bad = command(*base, "-Y", "_ws.malformed or dhcpfo and _ws.expert.severity >= 0x00600000", timeout_s=60)
    wanted = [word for field in FIELDS for word in ("-e", field)]
    text = command(*base, "-Y", "dhcpfo", "-T", "fields", "-E", "separator=|", "-E", "occurrence=a", *wanted, timeout_s=60)
    frames = [frame for frame in map(Frame.of, text.splitlines()) if frame.at >= since]
    said: dict[str, Counter[int]] = {}
    rejects: Counter[int] = Counter()
    farewells: dict[str, list[int]] = {}
    for frame in frames:
        said.setdefault(frame.source, Counter()).update(map(int, frame.kinds))
        if str(BNDACK) in frame.kinds:  # a refused handshake has a reason as well
            rejects.update(frame.reasons)
        elif str(DISCONNECT) in frame.kinds:
            farewells.setdefault(frame.source, []).extend(frame.reasons)
    messages = sum(count.total() for count in said.values())
    return Reading(messages, bad.splitlines(), rejects, answered(frames), said, farewells, unprovoked(frames))


def answered(frames: Sequence[Frame]) -> dict[str, list[float]]:
    """From each BNDUPD to its BNDACK, by the address that acknowledged."""
    acks: dict[str, list[float]] = {}
    flying: dict[tuple[str, int, str], float] = {}
    for frame in frames:
        for kind, xid in zip(frame.kinds, frame.xids, strict=True):
            if int(kind) == BNDUPD:
                flying.setdefault((frame.stream, xid, frame.source), frame.at)
            elif int(kind) == BNDACK:
                asked = [key for key in flying if key[:2] == (frame.stream, xid) and key[2] != frame.source]
                for key in asked:
                    acks.setdefault(frame.source, []).append(frame.at - flying.pop(key))
    return acks


def unprovoked(frames: Sequence[Frame]) -> list[str]:
    """Rejects as "less critical" that no duel explains: the server that rejects has not told an update of its own for that address at
    about the same time. The last moments of a capture are left out: the other update may still have waited for the window."""
    told: dict[tuple[str, str], list[float]] = {}
    for frame in frames:
        for address in frame.of_kind(BNDUPD):
            told.setdefault((frame.source, address), []).append(frame.at)
    found = []
    over = frames[-1].at - DUEL_S if frames else 0.0
    for frame in [each for each in frames if each.at < over]:
        rejected = frame.of_kind(BNDACK)
        duels = [a for a in rejected if any(abs(at - frame.at) < DUEL_S for at in told.get((frame.source, a), []))]
        if frame.reasons.count(RejectReason.LESS_CRITICAL_BINDING) > len(duels):
            found.append(f"{frame.source} rejects one of {', '.join(rejected)} as less critical, and has no update of its own")
    return found
