"""A capture file -> its failover messages as people and scripts read them, and what is odd about each."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from scapy.layers.inet import IP, TCP
from scapy.packet import Packet
from scapy.utils import PcapReader

from failoverd.decode import words
from failoverd.decode.layer import Failover, FailoverOption
from failoverd.decode.streams import Said, Segment, Streams

SKEW_S = 60  # a CONNECT whose clock differs by more is refused (failover-protocol.md 4.3)


@dataclass(slots=True)
class Message:
    """One message of a capture. `options`: (name, value in words) in the order sent; `anomalies`: names, see ANOMALIES."""

    wall: float
    connection: int
    sender: str
    receiver: str
    type: str
    time: int
    xid: int
    options: list[tuple[str, str]] = field(default_factory=list)
    anomalies: list[str] = field(default_factory=list)


ANOMALIES = {
    "segments-missing": "octets are missing in the capture; the rest of this direction cannot be read",
    "message-cut-short": "the capture or the connection ends inside a message",
    "length-impossible": "a message length below 12 or above 2048: dhcpd drops the link",
    "encrypted": "a TLS record: the link is encrypted and cannot be read",
    "type-unknown": "a message type that the draft does not have",
    "payload-offset": "the payload does not begin at octet 12; below it dhcpd cannot read the message",
    "option-cut-short": "an option is longer than its message: dhcpd drops the link",
    "option-size": "an option of fixed size has another one: dhcpd drops the link",
    "option-twice": "an option stands twice: dhcpd drops the link (one binding in a BNDUPD)",
    "option-unexpected": "an option that this message does not have; it is skipped",
    "option-missing": "an option is missing without which the message says nothing",
    "value-unknown": "a state, status or reason that the draft does not number; dhcpd ends at some of them",
    "xid-unknown": "an answer to nothing that was asked in this capture",
    "before-handshake": "something other than CONNECT, CONNECTACK and DISCONNECT before CONNECTACK",
    "clock-off": "the sender's clock is more than 60 s from the capture's",
    "second-connect": "a second CONNECT on one connection: dhcpd closes the link",
}
_ANSWERS = {2: (1,), 4: (3,), 6: (5,), 8: (7, 9)}


class _Links:
    """What was asked on each connection, and whether its handshake was seen."""

    def __init__(self) -> None:
        self.asked: dict[tuple[int, str, int], int] = {}
        self.connects: dict[int, int] = {}
        self.met: set[int] = set()
        self.whole: set[int] = set()

    def judge(self, said: Said, kind: int, xid: int) -> Iterator[str]:
        """Anomalies of a message in its conversation. A capture that begins inside a connection tells nothing of what came before."""
        number = said.connection
        if kind == 5:
            self.whole.add(number)
            self.connects[number] = self.connects.get(number, 0) + 1
            if self.connects[number] > 1:
                yield "second-connect"
        if kind in _ANSWERS:
            asked = self.asked.pop((number, said.receiver, xid), None)
            if asked not in _ANSWERS[kind] and number in self.whole:
                yield "xid-unknown"
        elif kind in (1, 3, 5, 7, 9):
            self.asked[number, said.sender, xid] = kind
        if kind == 6:
            self.met.add(number)
        elif kind not in (5, 12) and number in self.whole and number not in self.met:
            yield "before-handshake"


def messages(path: str, ports: Collection[int] = (647, 847)) -> Iterator[Message]:
    """All failover messages of a file, in the order in which they were complete. OSError and scapy's Scapy_Exception: no capture."""
    streams, links, wall = Streams(), _Links(), 0.0
    with PcapReader(path) as packets:
        for packet in packets:
            wall = float(packet.time)
            segment = _segment(packet, ports)
            if segment is not None:
                for said in streams.feed(segment):
                    yield _message(said, links)
    for said in streams.end(wall):
        yield _message(said, links)


def _segment(packet: Packet, ports: Collection[int]) -> Segment | None:
    if IP not in packet or TCP not in packet:
        return None
    ip, tcp = packet[IP], packet[TCP]
    if tcp.sport not in ports and tcp.dport not in ports:
        return None
    octets = bytes(tcp.payload)[: ip.len - ip.ihl * 4 - tcp.dataofs * 4]  # without the padding of a short frame
    flags = int(tcp.flags)
    return Segment(
        float(packet.time), f"{ip.src}:{tcp.sport}", f"{ip.dst}:{tcp.dport}", tcp.seq, bool(flags & 2), bool(flags & 5), octets
    )


def _message(said: Said, links: _Links) -> Message:
    if said.anomaly:
        return Message(said.wall, said.connection, said.sender, said.receiver, "?", 0, 0, [], [said.anomaly])
    found = Failover(said.data)
    kind = found.type
    out = Message(
        said.wall,
        said.connection,
        said.sender,
        said.receiver,
        words.MESSAGES.get(kind, f"type {kind}"),
        found.sent,
        found.xid,
        [_option(each) for each in found.options],
        list(dict.fromkeys([*anomalies(found), *links.judge(said, kind, found.xid)])),
    )
    if abs(found.sent - said.wall) > SKEW_S:
        out.anomalies.append("clock-off")
    return out


def anomalies(message: Failover) -> Iterator[str]:
    """What is odd about one message by itself."""
    kind = message.type
    if kind not in words.MESSAGES:
        yield "type-unknown"
    if message.payload_offset != 12:
        yield "payload-offset"
    seen: set[int] = set()
    for option in message.options:
        if not isinstance(option, FailoverOption):
            yield "option-cut-short"
            continue
        code = option.code
        private = words.PRIVATE_FROM <= code <= words.PRIVATE_TO
        expected = words.OPTIONS.get(code)
        if len(_data(option)) < option.length:
            yield "option-cut-short"
        elif not private and (expected is None or code not in words.EXPECTED.get(kind, set())):
            yield "option-unexpected"
        elif code in seen:
            yield "option-twice"
        elif expected is not None and expected.size and option.length != expected.size:
            yield "option-size"
        elif expected is not None and _unknown_value(option, expected.reads):
            yield "value-unknown"
        seen.add(code)
    refused = 21 in seen  # a refusal of a message without a name or an address can carry neither
    if not refused and not words.NEEDED.get(kind, set()) <= seen:
        yield "option-missing"


_TABLES = {"binding-status": words.BINDING_STATES, "server-state": words.SERVER_STATES, "reject-reason": words.REJECT_REASONS}


def _unknown_value(option: FailoverOption, reads: str) -> bool:
    return reads in _TABLES and option.data not in _TABLES[reads]


def _data(option: FailoverOption) -> bytes:
    return bytes(option)[4:]


def _option(option: Any) -> tuple[str, str]:
    """Name and value in the draft's words."""
    if not isinstance(option, FailoverOption):
        return "octets", bytes(option).hex(":")
    kind = (words.OPTIONS | words.PRIVATE).get(option.code)
    name = kind.name if kind is not None else f"option {option.code}"
    data = _data(option)
    if kind is None or (kind.size and len(data) != kind.size):
        return name, data.hex(":")
    return name, _value(kind.reads, data)


def _value(reads: str, data: bytes) -> str:
    number = int.from_bytes(data, "big")
    if reads in _TABLES:
        return f"{_TABLES[reads].get(number, 'unknown')} ({number})"
    if reads == "address":
        return ".".join(map(str, data))
    if reads == "text":
        return data.decode("utf-8", "backslashreplace")
    if reads == "time":
        return _time(number)
    if reads in ("u8", "u32", "u64"):
        return str(number)
    if reads == "buckets":
        primary = sum(octet.bit_count() for octet in data)
        return f"{primary} of 256 buckets are the primary's"
    if reads == "ip-flags":
        return _flags(number, {1: "RESERVED", 2: "BOOTP"})
    if reads == "server-flags":
        return _flags(number, {1: "STARTUP"})
    private = _PRIVATE.get(reads)
    return private(data) if private is not None else data.hex(":")


def _time(number: int) -> str:
    from datetime import UTC, datetime

    if number in (0, 0x7FFFFFFF):
        return "0" if not number else "never"
    return datetime.fromtimestamp(number, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _flags(number: int, names: dict[int, str]) -> str:
    found = [name for bit, name in names.items() if number & bit]
    rest = number & ~sum(names)
    return "|".join(found + ([f"0x{rest:x}"] if rest else [])) or "0"


def _names(data: bytes) -> str:
    """Version, flags, then wish, shown name and pointer as uncompressed labels."""
    if len(data) < 2 or data[0] != 1:
        return data.hex(":")
    found, at = [], 2
    while at < len(data):
        labels = []
        while at < len(data) and data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode("ascii", "backslashreplace"))
            at += 1 + data[at]
        at += 1
        found.append(".".join(labels) + ".")
    flags = _flags(data[1], {1: "forward-done", 2: "reverse-done", 4: "no-forward", 8: "no-reverse"})
    return f"wish {found[0] if found else '?'} flags {flags} " + " ".join(found[1:])


def _dialect(data: bytes) -> str:
    return f"{data[0]} to {data[1]}" if len(data) >= 2 else data.hex(":")


def _database(data: bytes) -> str:
    began, now = int.from_bytes(data[32:40], "big"), int.from_bytes(data[40:48], "big")
    return f"uuid {data[:16].hex()} run {data[16:32].hex()} generation {began} to {now}"


def _known(data: bytes) -> str:
    return f"uuid {data[:16].hex()} run {data[16:32].hex()} generation {int.from_bytes(data[32:], 'big')}"


def _digest(data: bytes) -> str:
    return f"form {data[0]} {data[1:].hex()}"


def _frame(data: bytes) -> str:
    if len(data) < 6:
        return data.hex(":")
    part, parts = int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:6], "big")
    return f"version {data[0]} kind {data[1]} part {part} of {parts}, {len(data) - 6} octets"


def _standing(data: bytes) -> str:
    if len(data) not in (1, 5):
        return data.hex(":")
    agreed = int.from_bytes(data[1:], "big") if len(data) > 1 else "none"
    return f"{words.SERVER_STATES.get(data[0], str(data[0]))}, agreed on epoch {agreed}"


_PRIVATE = {
    "names": _names,
    "dialect": _dialect,
    "database": _database,
    "known": _known,
    "digest": _digest,
    "frame": _frame,
    "standing": _standing,
}
