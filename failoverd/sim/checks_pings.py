"""Judges of the ping check, on the trace alone: (p) an address that answered is offered to nobody; (q) a restored server alone offers what
it has pinged, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator

from failoverd.dhcp.message import MessageType as Dhcp
from failoverd.sim.trace import Answered, Booted, Committed, Event, Moved, PingAnswered, Pinged, Replaced
from failoverd.sim.violation import Violation, dotted

ACTIVE = 2
RESTS_S = 15.0  # at least, of the abandon-time of any run, on a clock that drifts or is set
LATE_S = 0.1  # from a step to what it sends
GOOD_S = 62.0  # a ping is as good as a new one for 60 s (dhcp/probing.py), and some time passes until the OFFER


def offered_in_use(events: list[Event]) -> Iterator[Violation]:
    """(p) A server that has heard an answer to a ping of its own offers the address to nobody for a while (RFC 2131 3.1 step 2), but to the
    client that was granted it since, or that has it already."""
    heard: dict[tuple[str, int], float] = {}
    holders: dict[tuple[str, int], str] = {}
    for event in events:
        if isinstance(event, Pinged):
            heard.pop((event.server, event.address), None)  # what becomes of this one counts
        elif isinstance(event, PingAnswered):
            heard[event.server, event.address] = event.t
        elif isinstance(event, Booted | Replaced):
            heard = {key: t for key, t in heard.items() if key[0] != event.server}
            holders = {key: hw for key, hw in holders.items() if key[0] != event.server}
            holders.update({(event.server, address): _holder(record) for address, record in event.leases})
        elif isinstance(event, Committed):
            holders.update({(event.server, address): _holder(record) for address, record in event.leases})
        elif isinstance(event, Answered) and event.kind == Dhcp.OFFER:
            key = event.server, event.address
            since_t = heard.get(key)
            if since_t is not None and LATE_S < event.t - since_t < RESTS_S and holders.get(key) != event.client.hex():
                text = f"{event.server} offers {dotted(event.address)}, where somebody answered its ping at {since_t:.1f}"
                yield Violation("p", event.t, text)


def offered_unasked(events: list[Event]) -> Iterator[Violation]:
    """(q) With an earlier copy of its database and without its partner a server offers only what it has pinged, or what the client
    has there already (safety.md 15)."""
    older: set[str] = set()
    alone: set[tuple[str, str]] = set()
    pinged: dict[tuple[str, int], float] = {}
    holders: dict[tuple[str, int], str] = {}
    moves = {(event.server, event.t) for event in events if isinstance(event, Moved)}  # in the step of an OFFER, before it
    for event in events:
        if isinstance(event, Replaced):
            (older.discard if event.why == "disk lost" else older.add)(event.server)
        if isinstance(event, Booted | Replaced):
            pinged = {key: t for key, t in pinged.items() if key[0] != event.server}
            holders = {key: hw for key, hw in holders.items() if key[0] != event.server}
            holders.update({(event.server, address): _holder(record) for address, record in event.leases})
        elif isinstance(event, Moved):
            if event.state == "normal":
                older.discard(event.server)
            (alone.add if event.state == "partner-down" else alone.discard)((event.server, event.relationship))
        elif isinstance(event, Committed):
            holders.update({(event.server, address): _holder(record) for address, record in event.leases})
        elif isinstance(event, Pinged):
            pinged[event.server, event.address] = event.t
        elif isinstance(event, Answered) and event.kind == Dhcp.OFFER and event.server in older:
            key = event.server, event.address
            asked = event.t - pinged.get(key, -GOOD_S - 1.0) <= GOOD_S
            here = any(name == event.server for name, _ in alone) and (event.server, event.t) not in moves
            if here and not asked and holders.get(key) != event.client.hex():
                yield Violation("q", event.t, f"{event.server}, restored and alone, offers {dotted(event.address)} without a ping")


def _holder(record: str | None) -> str:
    """Whose an ACTIVE lease is, "" for nobody's."""
    raw = json.loads(record) if record is not None else {}
    return str(raw.get("hw", "")) if raw.get("state") == ACTIVE else ""
