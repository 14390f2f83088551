"""Write every failover message of classic pcap files to failover.jsonl.gz: `python extract_failover.py OUT CAPTURE...`.

One JSON object a line: capture, stream (TCP connection, numbered in the capture), from, to (address:port), hex. The order is that of
completion on the wire; retransmitted bytes count once.
"""

from __future__ import annotations

import gzip
import json
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TextIO

PORTS = {647, 847}
FIN, SYN, RST, ACK = 1, 2, 4, 16


@dataclass
class Flow:
    """One direction of one TCP connection."""

    stream: int
    next_seq: int | None = None
    early: dict[int, bytes] = field(default_factory=dict)
    buffer: bytes = b""

    def take(self, seq: int, payload: bytes) -> None:
        """Add a segment; out of order ones wait."""
        if self.next_seq is None:
            self.next_seq = seq
        self.early[seq] = max(payload, self.early.get(seq, b""), key=len)
        moved = True
        while moved:
            moved = False
            for at in sorted(self.early):
                skip = (self.next_seq - at) & 0xFFFFFFFF
                if skip > 1 << 31:
                    continue
                data = self.early.pop(at)[skip:]
                self.buffer += data
                self.next_seq = (self.next_seq + len(data)) & 0xFFFFFFFF
                moved = True
                break

    def messages(self) -> Iterator[bytes]:
        """Cut off what is complete."""
        while len(self.buffer) >= 2:
            length = int.from_bytes(self.buffer[:2], "big")
            if len(self.buffer) < length or length < 2:
                return
            yield self.buffer[:length]
            self.buffer = self.buffer[length:]


class Seen(NamedTuple):
    """One thing seen on the failover connections of a capture. `kind`: a message, or a segment that opens or ends a connection; `at`:
    UTC microseconds; `ends`: (address, port) of sender and receiver."""

    kind: str  # "message", "syn", "syn-ack", "fin", "rst"
    at: int
    stream: int
    ends: tuple[tuple[str, int], tuple[str, int]]
    data: bytes = b""


def frames(path: Path) -> Iterator[tuple[int, bytes]]:
    """The Ethernet frames of a classic pcap file with microseconds, each with its time in UTC microseconds."""
    data = path.read_bytes()
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    at = 24
    while at < len(data):
        seconds, micros, kept, _ = struct.unpack_from(order + "IIII", data, at)
        yield seconds * 1_000_000 + micros, data[at + 16 : at + 16 + kept]
        at += 16 + kept


def walk(path: Path) -> Iterator[Seen]:
    """Everything on the failover connections of one capture, in order."""
    flows: dict[tuple[bytes, int, bytes, int], Flow] = {}
    streams = 0
    for at, frame in frames(path):
        if frame[12:14] != b"\x08\x00" or frame[23] != 6:
            continue
        ip = frame[14:]
        ip = ip[: int.from_bytes(ip[2:4], "big")]
        tcp = ip[(ip[0] & 15) * 4 :]
        sport, dport, seq = struct.unpack_from("!HHI", tcp)
        if not PORTS & {sport, dport}:
            continue
        key, back = (ip[12:16], sport, ip[16:20], dport), (ip[16:20], dport, ip[12:16], sport)
        flags = tcp[13]
        if flags & SYN:
            seq = (seq + 1) & 0xFFFFFFFF
            if flags & ACK and back in flows:
                flows[key] = Flow(flows[back].stream, seq)
            elif key not in flows or flows[key].next_seq != seq:
                streams += 1
                flows[key] = Flow(streams, seq)
        if key not in flows:
            if back not in flows:
                streams += 1
            flows[key] = Flow(flows[back].stream if back in flows else streams)
        flow = flows[key]
        ends = ((dotted(key[0]), sport), (dotted(key[2]), dport))
        if flags & SYN:
            yield Seen("syn-ack" if flags & ACK else "syn", at, flow.stream, ends)
        payload = tcp[(tcp[12] >> 4) * 4 :]
        if payload:
            flow.take(seq, payload)
            for message in flow.messages():
                yield Seen("message", at, flow.stream, ends, message)
        if flags & (FIN | RST):
            yield Seen("rst" if flags & RST else "fin", at, flow.stream, ends)


def dotted(address: bytes) -> str:
    """10.77.0.1"""
    return ".".join(map(str, address))


def extract(path: Path, out: TextIO) -> None:
    """All failover messages of one capture."""
    for seen in walk(path):
        if seen.kind == "message":
            ends = [f"{address}:{port}" for address, port in seen.ends]
            row = {"capture": path.stem, "stream": seen.stream, "from": ends[0], "to": ends[1], "hex": seen.data.hex()}
            out.write(json.dumps(row, separators=(",", ":")) + "\n")


def main(arguments: list[str]) -> None:
    """OUT, then captures."""
    with open(arguments[0], "wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as packed:
        import io

        with io.TextIOWrapper(packed, encoding="ascii") as out:
            for name in sorted(arguments[1:]):
                extract(Path(name), out)


if __name__ == "__main__":
    main(sys.argv[1:])
