"""What clients were told, and what follows from that alone: who held which address when, and which two held one at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Told:
    """One entry of the record: `what` is ACK, NAK, RELEASE, DECLINE, EXPIRE. `asked`: when the answered message was sent, from which
    a lease counts (RFC 2131 4.4.1). Times in UTC seconds."""

    at: float
    what: str
    mac: str
    address: str
    server: str = ""
    lease_s: int = 0
    asked: float = 0.0


@dataclass(slots=True, frozen=True)
class Hold:
    """A client held an address from..until."""

    mac: str
    since: float
    until: float


def holds(record: Sequence[Told]) -> dict[str, list[Hold]]:
    """Address -> who held it when."""
    found: dict[str, list[Hold]] = {}
    for told in record:
        rows = found.setdefault(told.address, [])
        mine = next((n for n in range(len(rows) - 1, -1, -1) if rows[n].mac == told.mac), None)
        if told.what == "ACK":
            end = told.asked + told.lease_s
            if mine is not None and rows[mine].until >= told.asked:
                rows[mine] = Hold(told.mac, rows[mine].since, end)
            else:
                rows.append(Hold(told.mac, told.at, end))
        elif mine is not None and rows[mine].until > told.at:
            rows[mine] = Hold(told.mac, rows[mine].since, told.at)
    return found


def twice(record: Sequence[Told], slack_s: float = 1.0) -> dict[str, tuple[Hold, Hold]]:
    """Addresses that two clients held at once for longer than `slack_s` (a server counts in whole seconds)."""
    found = {}
    for address, rows in holds(record).items():
        for n, one in enumerate(rows):
            for other in rows[n + 1 :]:
                both = min(one.until, other.until) - max(one.since, other.since)
                if one.mac != other.mac and both > slack_s:
                    found[address] = (one, other)
    return found


def given_early(record: Sequence[Told], addresses: set[str], since: float, until: float) -> list[Told]:
    """ACKs for these addresses in since..until: the other server's half, used before the wait was over."""
    return [told for told in record if told.what == "ACK" and told.address in addresses and since <= told.at < until]


def denied(record: Sequence[Told]) -> list[Told]:
    """NAKs to clients whose lease had not ended: leases lost."""
    return [told for told in record if told.what == "NAK" and told.asked + told.lease_s > told.at]
