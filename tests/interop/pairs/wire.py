"""The failover conversation of a case as tshark's dhcpfo dissector reads it: nothing malformed, which rejects, how late each ack."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.lab.lab import Host, Lab, Process, command
from tests.lab.wait import until

FIELDS = ("frame.time_epoch", "ip.src", "tcp.stream", "dhcpfo.type", "dhcpfo.xid", "dhcpfo.rejectreason")
BNDUPD, BNDACK = 3, 4


@dataclass(slots=True, frozen=True)
class Reading:
    """What was on the wire. `malformed`: tshark's complaints. `rejects`: reason -> how many. `acks_s`: from each BNDUPD to its BNDACK,
    by the address that acknowledged."""

    messages: int
    malformed: list[str]
    rejects: Counter[int]
    acks_s: dict[str, list[float]]
    kinds: Counter[int]


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
        """The next `delays` counts from here."""
        self.since = time.time()

    def delays(self) -> dict[str, list[float]]:
        """From each BNDUPD since `begin_anew` to its BNDACK, by the address that acknowledged."""
        return read(self.file, self.tcp_port, self.since).acks_s

    def stop(self) -> None:
        """Everything that was seen is in the file."""
        if self.process.alive():
            self.process.stop()

    def read(self) -> Reading:
        """Dissect."""
        return read(self.file, self.tcp_port)


def read(file: Path, tcp_port: int, since: float = 0.0) -> Reading:
    """A capture file through tshark, from a time on (UTC seconds)."""
    base = ["tshark", "-r", str(file), "-d", f"tcp.port=={tcp_port},dhcpfo", "-o", "tcp.desegment_tcp_streams:TRUE"]
    bad = command(*base, "-Y", "_ws.malformed or dhcpfo and _ws.expert.severity >= 0x00600000", timeout_s=60)
    wanted = [word for field in FIELDS for word in ("-e", field)]
    text = command(*base, "-Y", "dhcpfo", "-T", "fields", "-E", "separator=|", "-E", "occurrence=a", *wanted, timeout_s=60)
    kinds: Counter[int] = Counter()
    rejects: Counter[int] = Counter()
    acks: dict[str, list[float]] = {}
    flying: dict[tuple[str, int, str], float] = {}
    for line in text.splitlines():
        at, source, stream, types, xids, reasons = line.split("|")
        source = source.split(",")[0]
        if float(at) < since:
            continue
        if str(BNDACK) in types.split(","):  # a refused handshake has a reason as well
            rejects.update(int(word, 0) for word in reasons.split(",") if word)
        for kind, xid in zip(types.split(","), xids.split(","), strict=True):
            kinds[int(kind)] += 1
            if int(kind) == BNDUPD:
                flying.setdefault((stream, int(xid, 0), source), float(at))
            elif int(kind) == BNDACK:
                asked = [key for key in flying if key[:2] == (stream, int(xid, 0)) and key[2] != source]
                for key in asked:
                    acks.setdefault(source, []).append(float(at) - flying.pop(key))
    return Reading(kinds.total(), bad.splitlines(), rejects, acks, kinds)
