"""The clients of one side, as its dhcpd logged them: its log lines become the datagrams that our Node gets at the same times.

A log line has no xid, no `secs` and no flags. A DISCOVER that dhcpd answered asks for the address that was offered, with `secs` high
enough to be answered by either server, so that both give the same addresses; one that was left to the peer has `secs` 0. A client has
the identifier with which the recorded BNDUPDs name it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address

from failoverd.dhcp.message import Packet, encode
from failoverd.failover.message import MessageType, binding
from tests.replay.recording import Happening, Recording

ADDRESS = {"p": int(IPv4Address("10.77.0.1")), "s": int(IPv4Address("10.77.0.2"))}
BROADCAST = 0xFFFFFFFF
DISCOVER, REQUEST, DECLINE, RELEASE = 1, 3, 4, 7
KINDS = {"DISCOVER": DISCOVER, "REQUEST": REQUEST, "DECLINE": DECLINE, "RELEASE": RELEASE}
HIGH_SECS = 10
ANSWERED_WITHIN_S = 3.0  # dhcpd pings an address for a second before it offers it
ALSO_HEARD_WITHIN_S = 0.1  # both servers log a broadcast

LINE = re.compile(
    r"DHCP(?P<kind>DISCOVER|REQUEST|DECLINE|RELEASE)(?: for| of)?(?: (?P<address>[0-9.]+))?(?: \((?P<server>[0-9.]+)\))? from "
    r"(?P<mac>[0-9a-f:]{17})(?: \((?P<host>[^)]+)\))? via \S+?(?P<rest>[: (].*)?$"
)
ANSWER = re.compile(r"DHCP(?P<kind>OFFER|ACK|NAK) on (?P<address>[0-9.]+) to (?P<mac>[0-9a-f:]{17})")
PINGED = re.compile(r"Abandoning IP address ([0-9.]+): pinged before offer")
PINGED_S = 0.9
ANSWERED_WITH = {DISCOVER: ("OFFER",), REQUEST: ("ACK", "NAK"), DECLINE: (), RELEASE: ()}


@dataclass(slots=True, frozen=True)
class Datagram:
    """What one server received from a client. `asked`: who asked for what; `answer`: what dhcpd answered ("offer 10.77.0.105"), "" for
    silence."""

    at: float
    data: bytes
    dst_ip: int
    asked: str
    answer: str


def pings(recording: Recording) -> bool:
    """Whether dhcpd pinged before an OFFER (ping-check): then that came a second after the DISCOVER."""
    for side in ADDRESS:
        asked: dict[str, float] = {}
        for line in recording.of("log", side):
            question, answer = LINE.match(line.text), ANSWER.match(line.text)
            if question is not None and question["kind"] == "DISCOVER":
                asked[question["mac"]] = line.at
            elif answer is not None and answer["kind"] == "OFFER" and line.at - asked.get(answer["mac"], line.at) > PINGED_S:
                return True
    return False


def squatted(recording: Recording) -> frozenset[int]:
    """The addresses that answered a ping of dhcpd's."""
    found = (PINGED.match(line.text) for side in ADDRESS for line in recording.of("log", side))
    return frozenset(_int(match[1]) for match in found if match is not None)


def datagrams(recording: Recording, role: str) -> list[Datagram]:
    """What the clients said to one side, in order."""
    identifiers = _identifiers(recording)
    lines = list(recording.of("log", role))
    found = []
    for number, line in enumerate(lines):
        match = LINE.match(line.text)
        if match is None or "cancel load balance" in line.text:  # dhcpd logs such a DISCOVER twice
            continue
        kind = KINDS[match["kind"]]
        answer = _answer(lines[number + 1 :], line, match["mac"], kind)
        hw = bytes.fromhex(match["mac"].replace(":", ""))
        options = {53: bytes((kind,)), **_options(match, kind, answer)}
        if hw in identifiers:
            options[61] = identifiers[hw]
        extends = kind == REQUEST and not match["server"]
        ciaddr = _int(match["address"]) if extends or kind == RELEASE else 0
        unicast = kind == RELEASE or (extends and not _both_heard(recording, role, line))
        secs = HIGH_SECS if kind == DISCOVER and (answer or "load balance" not in line.text) else 0
        packet = Packet(1, 1, 6, 0, number + 1, secs, 0, ciaddr, 0, 0, 0, hw, options=options)
        asked = f"{match['mac'][-2:]} {match['kind'].lower()} {match['address'] or ''}".rstrip()
        found.append(Datagram(line.at, encode(packet), ADDRESS[role] if unicast else BROADCAST, asked, answer))
    return found


def _int(address: str) -> int:
    return int(IPv4Address(address))


def _options(match: re.Match[str], kind: int, answer: str) -> dict[int, bytes]:
    """Host name, requested address, server identifier."""
    options = {}
    if match["host"]:
        options[12] = match["host"].encode()
    if kind == DISCOVER and answer:
        options[50] = IPv4Address(answer.split(" ")[1]).packed
    elif kind == DECLINE or match["server"]:
        options[50] = IPv4Address(match["address"]).packed
    if match["server"]:
        options[54] = IPv4Address(match["server"]).packed
    return options


def _answer(later: list[Happening], line: Happening, mac: str, kind: int) -> str:
    """The answer that follows a client's message, "" for none."""
    for each in later:
        if each.at - line.at > ANSWERED_WITHIN_S:
            break
        match = ANSWER.match(each.text)
        if match is not None and match["mac"] == mac and match["kind"] in ANSWERED_WITH[kind]:
            return f"{match['kind'].lower()} {match['address']}"
        again = LINE.match(each.text)
        if again is not None and again["mac"] == mac and KINDS[again["kind"]] == kind:
            break
    return ""


def _both_heard(recording: Recording, role: str, line: Happening) -> bool:
    """A REQUEST without server identifier was broadcast (REBINDING) when the other server logged it, too."""
    match = LINE.match(line.text)
    assert match is not None
    for each in recording.of("log", "s" if role == "p" else "p"):
        other = LINE.match(each.text)
        if other is None or abs(each.at - line.at) > ALSO_HEARD_WITHIN_S:
            continue
        if (other["kind"], other["mac"], other["address"]) == (match["kind"], match["mac"], match["address"]):
            return True
    return False


def _identifiers(recording: Recording) -> dict[bytes, bytes]:
    """Hardware address -> client identifier, as the recorded updates tell them."""
    found = {}
    for each in recording.happenings:
        if each.message is not None and each.message.kind == MessageType.BNDUPD:
            told = binding(each.message)
            if told.hw and told.client_id:
                found[told.hw[1:]] = told.client_id
    return found
