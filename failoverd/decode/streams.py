"""The failover messages of a capture: pcap or pcapng, Ethernet or cooked, TCP over IPv4, put together again.

Each direction of a connection is a stream of its own. Segments may come late, twice or overlapping; what is missing is said and the rest
of that stream is passed over, since the protocol has no way to find the next message (failover-protocol.md 1.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

HEADER = 12
LONGEST = 2048  # octets; dhcpd drops the link of a partner that says more
EARLY_MAX = 1000  # segments that may wait for an earlier one
_HALF = 1 << 31
_MASK = 0xFFFFFFFF
TLS_RECORDS = range(20, 25)  # first octet of a TLS record: a message begins with its length, at most 0x08


class Said(NamedTuple):
    """One message, or what stands in its place. `wall`: when its last octet was captured, UTC seconds; `sender`, `receiver`: address:port;
    `connection`: numbered from 0 in the order of their first segment; `anomaly`: "" for a message."""

    wall: float
    connection: int
    sender: str
    receiver: str
    data: bytes
    anomaly: str = ""


@dataclass(slots=True)
class _Direction:
    """One half of a connection. `lost`: nothing after it can be read."""

    connection: int
    next_seq: int | None = None
    early: dict[int, bytes] = field(default_factory=dict)
    buffer: bytes = b""
    lost: bool = False
    fin: bool = False


class Segment(NamedTuple):
    """What a TCP segment says."""

    wall: float
    source: str
    target: str
    seq: int
    syn: bool
    fin: bool
    payload: bytes


class Streams:
    """Segments in, messages out."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self._directions: dict[tuple[str, str], _Direction] = {}
        self._connections = 0

    def feed(self, segment: Segment) -> Iterator[Said]:
        """What this segment completes."""
        direction = self._direction(segment)
        if direction.lost:
            return
        seq = segment.seq
        if segment.syn:
            seq = direction.next_seq = (seq + 1) & _MASK
        if direction.next_seq is None:
            direction.next_seq = seq
        direction.fin = direction.fin or segment.fin
        if segment.payload:
            held = direction.early.get(seq, b"")
            direction.early[seq] = max(held, segment.payload, key=len)
            yield from self._advance(direction, segment)

    def end(self, wall: float) -> Iterator[Said]:
        """What is left when the capture ends."""
        for (source, target), direction in self._directions.items():
            if direction.lost:
                continue
            if direction.early:
                yield Said(wall, direction.connection, source, target, b"", "segments-missing")
            elif direction.buffer:
                yield Said(wall, direction.connection, source, target, direction.buffer, "message-cut-short")

    def _direction(self, segment: Segment) -> _Direction:
        key, back = (segment.source, segment.target), (segment.target, segment.source)
        found = self._directions.get(key)
        if found is not None and not (segment.syn and found.next_seq not in (None, (segment.seq + 1) & _MASK)):
            return found
        other = self._directions.get(back)
        fresh = other is None or other.fin or (found is not None and found.connection == other.connection)
        if fresh or other is None:
            number, self._connections = self._connections, self._connections + 1
            self._directions.pop(back, None)
        else:
            number = other.connection
        direction = self._directions[key] = _Direction(number)
        return direction

    def _advance(self, direction: _Direction, segment: Segment) -> Iterator[Said]:
        assert direction.next_seq is not None
        moved = True
        while moved:
            moved = False
            for at in sorted(direction.early, key=lambda each: (each - direction.next_seq + _HALF) & _MASK):  # type: ignore[operator]
                skip = (direction.next_seq - at) & _MASK
                if skip >= _HALF:
                    break
                new = direction.early.pop(at)[skip:]
                direction.buffer += new
                direction.next_seq = (direction.next_seq + len(new)) & _MASK
                moved = True
                break
        for data, anomaly in _cut(direction):
            yield Said(segment.wall, direction.connection, segment.source, segment.target, data, anomaly)
        if len(direction.early) > EARLY_MAX:
            direction.lost = True
            yield Said(segment.wall, direction.connection, segment.source, segment.target, b"", "segments-missing")


def _cut(direction: _Direction) -> Iterator[tuple[bytes, str]]:
    """The messages that are complete; after octets that are none nothing can be read."""
    while len(direction.buffer) >= 2 and not direction.lost:
        length = int.from_bytes(direction.buffer[:2], "big")
        if direction.buffer[0] in TLS_RECORDS and direction.buffer[1] == 3:
            direction.lost = True
            yield b"", "encrypted"
        elif not HEADER <= length <= LONGEST:
            direction.lost = True
            yield direction.buffer, "length-impossible"
        elif len(direction.buffer) < length:
            return
        else:
            data, direction.buffer = direction.buffer[:length], direction.buffer[length:]
            yield data, ""
