"""What was recorded of a pair of dhcpd: messages, connections, and what the logs say.

It lies in tests/vectors (extract_failover.py, extract_replay.py).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from ipaddress import IPv4Address
from pathlib import Path

from failoverd.failover.message import Message, decode

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
PORTS = (647, 847)


@dataclass(slots=True, frozen=True)
class Happening:
    """One thing in a recording. `at`: seconds since its start. `by`: the side that sent it, or whose log it is ("p", "s", "events")."""

    at: float
    what: str  # "message", "syn", "syn-ack", "fin", "rst", "log"
    by: str
    stream: int = 0
    text: str = ""
    message: Message | None = None


@dataclass(slots=True)
class Recording:
    """One capture. `start`: UTC seconds. `linked`: it begins on an established link, in normal, which both had become
    `normal` seconds before (a negative time). `backup`: the secondary's free
    addresses at its start."""

    name: str
    start: float
    linked: bool
    normal: float
    lease_s: int
    first: str
    last: str
    backup: tuple[int, ...]
    happenings: list[Happening] = field(default_factory=list)

    def of(self, what: str, by: str) -> Iterator[Happening]:
        """All of one kind by one side."""
        return (each for each in self.happenings if each.what == what and each.by == by)

    @property
    def size(self) -> int:
        """How many addresses the pool has."""
        return int(IPv4Address(self.last)) - int(IPv4Address(self.first)) + 1

    @property
    def end(self) -> float:
        """Seconds from its start to its last message or segment."""
        return max(each.at for each in self.happenings if each.what != "log")


def _messages() -> dict[str, list[tuple[int, str, Message]]]:
    """For each capture (stream, side that sent it, message) in order."""
    found: dict[str, list[tuple[int, str, Message]]] = {}
    with gzip.open(VECTORS / "failover.jsonl.gz", "rt") as lines:
        for line in lines:
            row = json.loads(line)
            side = "p" if row["from"].startswith("10.77.0.1:") else "s"
            found.setdefault(row["capture"], []).append((row["stream"], side, decode(bytes.fromhex(row["hex"]))))
    return found


@cache
def recordings() -> dict[str, Recording]:
    """All of them, by name."""
    messages = {name: iter(each) for name, each in _messages().items()}
    found: dict[str, Recording] = {}
    with gzip.open(VECTORS / "replay.jsonl.gz", "rt") as lines:
        for line in lines:
            row = json.loads(line)
            name = row["capture"]
            if "start" in row:
                backup = tuple(int(IPv4Address(each)) for each in row["backup"])
                start = row["start"] / 1e6
                found[name] = Recording(
                    name, start, row["linked"], row["normal"] / 1e6, row["lease_s"], row["first"], row["last"], backup
                )
                continue
            at = row["at"] / 1e6
            if row["what"] == "message":
                stream, side, message = next(messages[name])
                found[name].happenings.append(Happening(at, "message", side, stream, message=message))
            else:
                happening = Happening(at, row["what"], row["by"], row.get("stream", 0), row.get("text", ""))
                found[name].happenings.append(happening)
    assert not any(next(rest, None) for rest in messages.values()), "a message without its time"
    return found
