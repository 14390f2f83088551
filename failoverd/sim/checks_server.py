"""Judges of one server's manners, on the trace alone: (k) a disk that hangs looks like a dead server; (l) a disk without room takes no new
lease; (m) a server that recovers or resolves a conflict says no names; (w) nobody serves again before its wait has passed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import inf
from typing import Any

from failoverd.dhcp.message import MessageType as Dhcp
from failoverd.sim.limits import reserved
from failoverd.sim.trace import (
    PAIR_INIT,
    Answered,
    Began,
    Booted,
    Committed,
    Crashed,
    Event,
    Fault,
    Moved,
    Named,
    Replaced,
    Room,
    Started,
    Stated,
)
from failoverd.sim.violation import Violation, dotted
from failoverd.sim.world import EPOCH

ACTIVE = 2
LATE_S = 0.1  # from a step to what it sends, and back
SECOND_S = 2.0  # times on disk are whole seconds
SAYS_NAMES = {"normal", "communications-interrupted", "partner-down"}
OUT = {"paused", "shutdown"}


def clocks_were_set(events: list[Event]) -> bool:
    """Whether a wall clock was set or slewed: what a server counted by it cannot be seen from outside then."""
    return any(isinstance(event, Fault) and event.what.startswith("clock") for event in events)


def offers_while_the_disk_hangs(events: list[Event]) -> Iterator[Violation]:
    """(k) With a commit in flight for longer than max-response-delay/3 nobody is offered anything (safety.md 4)."""
    began: dict[str, float] = {}
    limit_s = 0.0
    for event in events:
        if isinstance(event, Started):
            limit_s = event.delay_s / 3 + LATE_S
        elif isinstance(event, Began):
            began[event.server] = event.t
        elif isinstance(event, Committed | Crashed):
            began.pop(event.server, None)
        elif isinstance(event, Answered) and event.kind == Dhcp.OFFER and event.t - began.get(event.server, event.t) > limit_s:
            text = f"{event.server} offers {dotted(event.address)}, its commit is on its way since {began[event.server]:.1f}"
            yield Violation("k", event.t, text)


def grants_without_room(events: list[Event]) -> Iterator[Violation]:
    """(l) Below low water no lease is begun or made longer (safety.md 7)."""
    if clocks_were_set(events):
        return
    low: dict[str, float] = {}
    rows: dict[tuple[str, int], tuple[str, int]] = {}  # whose lease, and its end
    for event in events:
        if isinstance(event, Booted | Replaced):
            rows.update({(event.server, address): _lease(json.loads(record)) for address, record in event.leases})
        elif isinstance(event, Room):
            low.pop(event.server, None)
            if event.low:
                low[event.server] = event.wall + SECOND_S
        elif isinstance(event, Committed):
            for (address, record), granted in zip(event.leases, event.granted, strict=True):
                raw = json.loads(record) if record is not None else {}
                hw, ends = rows.get((event.server, address), ("", 0))
                rows[event.server, address] = new = _lease(raw)
                longer = granted and new[0] and (new[0] != hw or new[1] > ends)
                since = low.get(event.server)
                if longer and since is not None and raw.get("cltt", 0) > since:
                    text = f"{event.server} granted {dotted(address)} at {raw['cltt']}, its disk has no room since {since:.0f}"
                    yield Violation("l", event.t, text)


def _lease(raw: dict[str, Any]) -> tuple[str, int]:
    """Whose lease it is ("": nobody's), and until when."""
    return (str(raw.get("hw", "")), int(raw.get("ends", 0))) if raw.get("state") == ACTIVE else ("", 0)


def names_out_of_turn(events: list[Event]) -> Iterator[Violation]:
    """(m) A server that starts, recovers or resolves a conflict in any relationship makes no DNS UPDATE (safety.md 25). What it made
    before may leave later, behind a slow disk."""
    states: dict[str, dict[str, tuple[str, float]]] = {}
    for event in events:
        if isinstance(event, Moved):
            states.setdefault(event.server, {})[event.relationship] = event.state, event.t
        elif isinstance(event, Named):
            now = states.get(event.server, {}).values()
            made_t = event.t - event.age_s
            fenced = {state for state, since in now if state not in SAYS_NAMES and made_t > since + LATE_S}
            if fenced and not clocks_were_set(events):
                yield Violation("m", event.t, f"{event.server} sends an UPDATE for {event.zone} in {' and '.join(sorted(fenced))}")


def serves_too_early(events: list[Event]) -> Iterator[Violation]:
    """(w) A server leaves recover-wait no earlier than MCLT after the last lease that it acknowledged (safety.md 14). It counts by its
    wall clock: when that was set since, its wait cannot be seen from outside; while it drifts, a tenth more or less. `pair init` states
    that there is nothing to wait for (safety.md 16)."""
    mclt_s, outside = 0, reserved(events)
    drifts: set[str] = set()
    stated = [(event.server, event.t) for event in events if isinstance(event, Stated) and event.what == PAIR_INIT]
    granted: dict[tuple[str, str], float] = {}
    promised: dict[tuple[str, int, bytes], float] = {}
    # Of clocks that nobody has touched: they tell when an ACK was decided, before its commit (seed 6699).
    skews: dict[str, float] = {}
    states: dict[tuple[str, str], str] = {}
    for event in events:
        if isinstance(event, Started):
            mclt_s = event.mclt_s
            pools = event.pools
            skews = dict(event.clocks)
        elif isinstance(event, Fault) and event.what.startswith(("clock set", "clock far")):
            granted = {key: t for key, t in granted.items() if key[0] != event.on}
            skews.pop(event.on, None)
        elif isinstance(event, Fault) and event.what == "clock drifts":
            drifts.add(event.on)
            skews.pop(event.on, None)
        elif (
            isinstance(event, Answered) and event.kind == Dhcp.ACK and event.lease_s and event.t >= outside.get(event.address, 0.0)
        ):
            lease = (event.server, event.address, event.client)
            end_t, promised[lease] = promised.get(lease, 0.0), max(promised.get(lease, 0.0), event.t + event.lease_s)
            if event.t + event.lease_s <= end_t + SECOND_S:
                continue  # what remains was confirmed (seed 5758)
            for relationship, _, first, last in pools:
                if first <= event.address <= last:
                    granted[event.server, relationship] = min(event.t, event.wall - EPOCH - skews.get(event.server, -inf))
        elif isinstance(event, Moved):
            key = event.server, event.relationship
            before, states[key] = states.get(key), event.state
            granted_t = granted.get(key, -1e9)
            since_s = event.t - granted_t
            # There it serves nobody, and the wait is begun anew; an operator's partner-down waits with every address (safety.md 12).
            waits_on = event.state in ("startup", "recover", "partner-down")
            early = (before == "recover-wait" and not waits_on) or (before == "recover" and event.state == "recover-done")
            early = early and not any(s == event.server and granted_t < t <= event.t for s, t in stated)
            if early and since_s < mclt_s * (0.9 if event.server in drifts else 1.0) - SECOND_S:
                text = (
                    f"{event.server} leaves {before} for {event.state} {since_s:.0f} s after its last DHCPACK; MCLT is {mclt_s} s"
                )
                yield Violation("w", event.t, text)
