"""What a tortured pair is judged by: the wire's record, both databases and the slave's zones. Nothing here asks a server anything.

A lease counts from the moment its DHCPACK passed, for `lease_s` from the first DHCPREQUEST of its exchange (RFC 2131 4.4.1), and
longer when an earlier ACK promised more. It ends early by the client's own DHCPRELEASE or DHCPDECLINE only.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import dns.name

from tests.lab.recorder import Seen

ACTIVE = 2  # binding state on disk: the number of the failover draft (12.3)
ROUNDING_S = 1.0  # leases end at whole seconds
LATE_S = 2.0  # a lease may end so much before what the client counts
Records = set[tuple[str, str, str]]
"""(owner, type, data)"""


@dataclass(slots=True)
class Hold:
    """One client's time with one address. `end`: the longest that it was promised; `last_end`: by the newest ACK."""

    mac: str
    address: str
    start: float
    end: float
    last_end: float
    server: str


@dataclass(slots=True)
class Told:
    """Everything that the record says. `refused`: NAKs to clients whose lease was still good."""

    holds: list[Hold]
    refused: list[str]
    names: dict[str, str]
    acks: int = 0
    naks: int = 0


def told(seen: Iterable[Seen]) -> Told:
    """What the clients were told."""
    out = Told([], [], {})
    now: dict[tuple[str, str], Hold] = {}
    asked: dict[tuple[str, int], Seen] = {}
    for one in seen:
        if one.kind == "REQUEST":
            asked.setdefault((one.mac, one.xid), one)
            continue
        request = asked.get((one.mac, one.xid))
        if one.kind == "ACK":
            out.acks += 1
            end = (request.at if request else one.at) + one.lease_s
            if request is not None:
                out.names[one.mac] = request.name
            hold = now.get((one.mac, one.yiaddr))
            if hold is None or hold.end < one.at:
                hold = now[one.mac, one.yiaddr] = Hold(one.mac, one.yiaddr, one.at, end, end, one.server)
                out.holds.append(hold)
            hold.end, hold.last_end, hold.server = max(hold.end, end), end, one.server
        elif one.kind == "NAK":
            out.naks += 1
            hold = now.get((one.mac, request.address)) if request is not None else None
            if hold is not None and hold.end > one.at + ROUNDING_S:
                left = hold.end - one.at
                out.refused.append(
                    f"{one.at:.3f} {one.mac} was refused {hold.address} by {one.server}, {left:.1f} s before its end"
                )
        else:  # RELEASE, DECLINE
            hold = now.pop((one.mac, one.address), None)
            if hold is not None:
                hold.end = hold.last_end = min(hold.end, one.at)
    return out


def given_twice(holds: Iterable[Hold]) -> list[str]:
    """Two clients with one address at one time."""
    by_address: dict[str, list[Hold]] = {}
    for hold in holds:
        by_address.setdefault(hold.address, []).append(hold)
    out = []
    for address, line in by_address.items():
        line.sort(key=lambda hold: hold.start)
        for number, later in enumerate(line):
            for earlier in line[:number]:
                if earlier.mac != later.mac and earlier.end > later.start + ROUNDING_S:
                    out.append(
                        f"{address}: {earlier.mac} ({earlier.server}) until {earlier.end:.1f}, {later.mac} ({later.server}) from "
                        f"{later.start:.1f}, {earlier.end - later.start:.1f} s before that"
                    )
    return out


@dataclass(slots=True, frozen=True)
class OnDisk:
    """A lease as a database holds it."""

    state: int
    mac: str
    ends: int


def on_disk(database: Path) -> dict[str, OnDisk]:
    """Address -> lease: the table, overlaid with the journal rows that were not folded yet."""
    with sqlite3.connect(database) as disk:
        rows: dict[bytes, str | None] = dict(disk.execute("SELECT address, record FROM lease WHERE family = 4"))
        tail = "SELECT substr(key, 2), record FROM journal WHERE kind = 'lease' AND seq > (SELECT folded FROM store) ORDER BY seq"
        rows.update(disk.execute(tail))
    disk.close()
    out = {}
    for address, record in rows.items():
        if record is not None:
            raw = json.loads(record)
            mac = bytes.fromhex(raw.get("hw", ""))[1:].hex(":")
            out[str(IPv4Address(address))] = OnDisk(raw["state"], mac, raw.get("ends", 0))
    return out


def lost(holds: Iterable[Hold], disks: Mapping[str, Mapping[str, OnDisk]], now: float) -> list[str]:
    """Leases that clients hold, `now`, and that a database does not hold for them as long."""
    out = []
    for hold in holds:
        if hold.last_end < now + ROUNDING_S:
            continue
        for server, leases in disks.items():
            lease = leases.get(hold.address)
            if lease is None or lease.state != ACTIVE or lease.mac != hold.mac:
                out.append(f"{hold.address} of {hold.mac}, {hold.last_end - now:.1f} s left: {server} has {lease}")
            elif lease.ends < hold.last_end - LATE_S:
                out.append(f"{hold.address} of {hold.mac}: {server} has it end {hold.last_end - lease.ends:.1f} s too early")
    return out


def disagreements(disks: Mapping[str, Mapping[str, OnDisk]], now: float) -> list[str]:
    """Active leases that the two databases do not both hold for one client; what ends about `now` may differ."""
    (one, first), (other, second) = disks.items()
    out = []
    for address in sorted(first.keys() | second.keys()):
        mine, theirs = first.get(address), second.get(address)
        active = [each for each in (mine, theirs) if each is not None and each.state == ACTIVE and each.ends > now + LATE_S]
        if active and (mine is None or theirs is None or (mine.state, mine.mac) != (theirs.state, theirs.mac)):
            out.append(f"{address}: {one} has {mine}, {other} has {theirs}")
    return out


def dhcid(mac: str, name: str) -> str:
    """RFC 4701 3.3 to 3.5 for a client-identifier of Ethernet address: type 1, SHA-256."""
    identifier = b"\x01" + bytes.fromhex(mac.replace(":", ""))
    wire = dns.name.from_text(name.lower()).to_wire()
    assert wire is not None
    return base64.b64encode(b"\x00\x01\x01" + hashlib.sha256(identifier + wire).digest()).decode()


def zone_faults(leases: Mapping[str, str], names: Mapping[str, str], domain: str, forward: Records, reverse: Records) -> list[str]:
    """Records without a lease, and leases without their records. `leases`: address -> client; `names`: client -> what it calls itself;
    of several clients with one name, one has it."""
    wanted: dict[str, dict[str, str]] = {}
    for address, mac in leases.items():
        if names.get(mac):
            wanted.setdefault(f"{names[mac]}.{domain}", {})[address] = mac
    have: dict[str, dict[str, set[str]]] = {}
    for owner, kind, data in forward | reverse:
        have.setdefault(owner, {}).setdefault(kind, set()).add(data.replace(" ", ""))
    out = []
    expected: dict[str, dict[str, set[str]]] = {}
    for name, claims in wanted.items():
        shown = next(iter(have.get(name, {}).get("A", {""})))
        if shown not in claims:
            out.append(f"{name}: {have.get(name)}, wanted by {claims}")
            expected[name] = have.get(name, {})
            continue
        expected[name] = {"A": {shown}, "DHCID": {dhcid(claims[shown], name)}}
        expected[".".join(reversed(shown.split("."))) + ".in-addr.arpa."] = {"PTR": {name}}
    for name in sorted(have.keys() | expected.keys()):
        if have.get(name) != expected.get(name):
            out.append(f"{name}: is {have.get(name)}, should be {expected.get(name)}")
    return out
