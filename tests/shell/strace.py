"""Reading strace: which bytes were written where, and what had been synced by then. The judge of safety.md 8.

The law: a DHCPACK or a BNDACK for an address leaves only after the record of that address's lease was written to the write-ahead log
*and* an fdatasync of that log, begun after that write ended, has returned. Only what strace saw counts, in the order it saw it: a
send is where it begins, a write and a sync are where they end. A BNDACK for which nothing was written since the last one of its
address acknowledges what is on disk already (a never-used address that is free): it counts as unchanged, and proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import NamedTuple

from failoverd.failover.message import Framer, MessageType, OptionCode

STRACE = ("strace", "-f", "--seccomp-bpf", "-yy", "-tt", "-xx", "-s", "70000")
CALLS = "trace=fsync,fdatasync,sendto,sendmsg,write,writev,pwrite64"

_CALL = re.compile(r"^(\d+) +[\d:.]+ (\w+)\((\d+)<((?:\\x[0-9a-f]{2})+|(?:->|[^>])*)>")
_RESUMED = re.compile(r"^(\d+) +[\d:.]+ <\.\.\. (\w+) resumed>.*= (-?\d+)")
_RESULT = re.compile(r"= (-?\d+)(?: \w.*)?$")
_BYTES = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_RECORD = re.compile(rb'\{"address":(\d+),')
_COOKIE = b"\x63\x82\x53\x63"
_ACK = b"\x35\x01\x05"


class Call(NamedTuple):
    """One system call. `begun`, `ended`: line numbers; `result`: what it returned."""

    begun: int
    ended: int
    name: str
    target: str
    data: bytes
    result: int


def calls(lines: Iterable[str]) -> Iterator[Call]:
    """The calls of a trace in the order in which they ended."""
    waiting: dict[tuple[str, str], tuple[int, str, bytes]] = {}
    for number, line in enumerate(lines):
        resumed = _RESUMED.match(line)
        if resumed is not None:
            begun = waiting.pop((resumed[1], resumed[2]), None)
            if begun is not None:
                yield Call(begun[0], number, resumed[2], begun[1], begun[2], int(resumed[3]))
            continue
        call = _CALL.match(line)
        if call is None:
            continue
        target = _text(call[4])
        data = b"".join(_octets(part) for part in _BYTES.findall(line[call.end() :]))
        if line.rstrip().endswith("<unfinished ...>"):
            waiting[call[1], call[2]] = (number, target, data)
            continue
        result = _RESULT.search(line)
        yield Call(number, number, call[2], target, data, int(result[1]) if result else -1)


def _octets(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _text(text: str) -> str:
    return _octets(text).decode(errors="replace") if text.startswith("\\x") else text


@dataclass(slots=True)
class Judgement:
    """What was found: addresses acknowledged, and every acknowledgement that left too early."""

    acks: list[int] = field(default_factory=list)
    bndacks: list[int] = field(default_factory=list)
    unchanged: list[int] = field(default_factory=list)
    early: list[str] = field(default_factory=list)
    syncs: int = 0


def judge(lines: Iterable[str], log: str) -> Judgement:
    """Judge one trace; `log` is how the path of the write-ahead log ends."""
    found = Judgement()
    happened = sorted(calls(lines), key=lambda call: call.begun if _is_send(call) else call.ended)
    written: dict[int, int] = {}  # address -> where the first record of it since its last acknowledgement was written
    synced: dict[int, bool] = {}
    framers: dict[str, Framer] = {}
    for call in happened:
        if call.target.endswith(log):
            if call.name in ("fsync", "fdatasync") and call.result == 0:
                found.syncs += 1
                for address, at in written.items():
                    synced[address] = synced.get(address, False) or at <= call.begun
            elif call.name == "pwrite64":
                for match in _RECORD.finditer(call.data):
                    written.setdefault(int(match[1]), call.ended)
        elif _is_send(call):
            for kind, address in acknowledged(call, framers):
                if kind == "BNDACK" and address not in written:
                    found.unchanged.append(address)
                    continue
                (found.acks if kind == "DHCPACK" else found.bndacks).append(address)
                if not synced.pop(address, False):
                    found.early.append(f"{kind} for {IPv4Address(address)} at line {call.begun + 1}")
                written.pop(address, None)
    return found


def _is_send(call: Call) -> bool:
    return call.name in ("sendto", "sendmsg", "write", "writev") and call.target.startswith(("UDP", "TCP", "PACKET", "socket:"))


def acknowledged(call: Call, framers: dict[str, Framer]) -> Iterator[tuple[str, int]]:
    """The addresses that a send acknowledges: ("DHCPACK" or "BNDACK", address)."""
    if call.target.startswith("TCP"):
        if call.result > 0:
            for message in framers.setdefault(call.target, Framer()).feed(call.data[: call.result]):
                if message.kind == MessageType.BNDACK and message.raw(OptionCode.REJECT_REASON) is None:
                    yield "BNDACK", message.u32(OptionCode.ASSIGNED_IP_ADDRESS) or 0
        return
    at = call.data.find(_COOKIE)
    if at >= 236 and _ACK in call.data[at:]:
        start = at - 236
        yield "DHCPACK", int.from_bytes(call.data[start + 16 : start + 20], "big")
