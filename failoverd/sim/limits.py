"""More judges of a run, on the trace alone: (d) no address of the partner's is used before its time; (g) every client that keeps asking
is answered while some server may serve it; (h) memory and queues stay within their named limits."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from math import inf
from typing import NamedTuple

from failoverd.dhcp.message import MessageType as Dhcp
from failoverd.sim.trace import (
    Answered,
    Booted,
    Committed,
    Crashed,
    Declared,
    Event,
    Fault,
    Look,
    Moved,
    Named,
    Quiet,
    Replaced,
    Reserved,
    Started,
)
from failoverd.sim.violation import Violation, dotted

FREE, ACTIVE, BACKUP = 1, 2, 7
ANSWERED_WITHIN_S = 120.0
ACK_AGE_S = 6.0  # an ACK leaves at most this long after the step that made it (safety.md 5), and a second
TOLD_S = 10.0  # what two servers tell each other when they meet
UPDATES_A_MINUTE = 3000  # of 240 leases and their PTRs, all at once and some of it twice


class Before(NamedTuple):
    """What a lease was before another client got it."""

    state: int
    horizon: int


class Owners:
    """Who got which address from whom, as the disk of each server tells it."""

    def __init__(self) -> None:
        """No server yet."""
        self._rows: dict[tuple[str, int], tuple[int, str, int]] = {}  # state, hw, horizon
        self.taken: dict[tuple[str, int], tuple[str, Before]] = {}  # hw of the new client

    def disk(self, server: str, leases: tuple[tuple[int, str], ...]) -> None:
        """What a server has on its disk now, and nothing else."""
        self._rows = {key: row for key, row in self._rows.items() if key[0] != server}
        for address, record in leases:
            self._rows[server, address] = self._read(record)

    def committed(self, event: Committed) -> None:
        """A transaction, record by record."""
        for (address, record), granted in zip(event.leases, event.granted, strict=True):
            key = (event.server, address)
            if record is None:
                self._rows.pop(key, None)
                continue
            state, hw, horizon = self._read(record)
            old_state, old_hw, old_horizon = self._rows.get(key, (FREE, "", 0))
            if state != ACTIVE or not granted:
                self.taken.pop(key, None)
            elif hw != old_hw:
                self.taken[key] = (hw, Before(old_state, old_horizon))
            self._rows[key] = (state, hw, horizon)

    @staticmethod
    def _read(record: str) -> tuple[int, str, int]:
        raw = json.loads(record)
        return int(raw["state"]), str(raw.get("hw", "")), int(raw.get("horizon", 0))


class Pools:
    """Which relationship an address belongs to, and who is its primary."""

    def __init__(self, started: Started) -> None:
        """From the start of the run."""
        self._pools = started.pools

    def of(self, address: int) -> tuple[str, str]:
        """The relationship and the primary of an address."""
        for relationship, primary, first, last in self._pools:
            if first <= address <= last:
                return relationship, primary
        return "pair", "a"


def reserved(events: list[Event]) -> dict[int, float]:
    """The addresses that are, or were, reserved, and until when: outside of their pool no rule of failover holds for them. When the line is
    gone from the files that goes on until both servers have met without it, and for what was granted until then."""
    met_t = _unreserved(events)
    until = {event.address: met_t for event in events if isinstance(event, Reserved)}
    for event in events if until and met_t < inf else ():
        if isinstance(event, Answered) and event.kind == Dhcp.ACK and event.address in until and event.t <= met_t:
            until[event.address] = max(until[event.address], event.t + event.lease_s)
    return until


def _unreserved(events: list[Event]) -> float:
    """When both servers, restarted without a reservation, have been in normal long enough to have told each other."""
    gone = False
    states: dict[tuple[str, str], str] = {}
    booted: set[str] = set()
    for event in events:
        if isinstance(event, Fault) and event.what == "unreserve":
            gone = True
        elif isinstance(event, Booted) and gone:
            booted.add(event.server)
        elif isinstance(event, Crashed):
            states = {key: state for key, state in states.items() if key[0] != event.server}
        elif isinstance(event, Moved):
            states[event.server, event.relationship] = event.state
            if len(booted) > 1 and {server for server, _ in states} == booted and set(states.values()) == {"normal"}:
                return event.t + TOLD_S
    return inf


def before_its_time(events: list[Event]) -> Iterator[Violation]:
    """(d) A client that is new on an address gets it from the server's own half, or in partner-down no earlier than MCLT after the
    entry (or after what --since says, which was true or is reported) and MCLT after every end and potential expiry that was told
    (safety.md 12)."""
    owners, outside = Owners(), reserved(events)
    pools, mclt_s = Pools(Started(0.0, "", 0, ())), 0
    down: dict[tuple[str, str], float] = {}
    left: dict[tuple[str, str], tuple[float, float]] = {}  # when partner-down was left, and since when it had been
    commits: Counter[str] = Counter()
    left_at: dict[tuple[str, str], int] = {}  # how many commits there were by then
    booted: dict[str, float] = {}
    declared: dict[tuple[str, str], float] = {}
    for event in events:
        if isinstance(event, Started):
            mclt_s, pools = event.mclt_s, Pools(event)
        elif isinstance(event, Booted | Replaced):
            owners.disk(event.server, event.leases)
            booted[event.server] = event.t
        elif isinstance(event, Committed):
            owners.committed(event)
            commits[event.server] += 1
        elif isinstance(event, Declared):
            declared[event.server, event.relationship] = event.t
            if event.since_t:
                down[event.server, event.relationship] = event.since_t
        elif isinstance(event, Moved):
            if event.state not in ("partner-down", "startup"):
                since = down.pop((event.server, event.relationship), None)
                if since is not None:
                    left[event.server, event.relationship] = event.t, since
                    left_at[event.server, event.relationship] = commits[event.server]
            elif event.state == "partner-down":
                key = event.server, event.relationship
                left_t, since = left.get(key, (inf, 0.0))
                # It fell before it had left partner-down on disk, and told nobody: it is there as before. One commit was on its way.
                on_disk = commits[event.server] > left_at.get(key, 0) + 1
                as_before = left_t <= booted.get(event.server, 0.0) and declared.get(key, 0.0) <= left_t and not on_disk
                down.setdefault(key, since if as_before else event.t)
        elif isinstance(event, Answered) and event.kind == Dhcp.ACK and event.lease_s:
            hw, before = owners.taken.pop((event.server, event.address), ("", None))
            relationship, primary = pools.of(event.address)
            own = FREE if event.server == primary else BACKUP
            if before is None or hw != event.client.hex() or before.state == own or event.t < outside.get(event.address, 0.0):
                continue
            what = (
                f"{event.server} gave {dotted(event.address)}, which was in binding state {before.state}, to {event.client.hex()}"
            )
            since = down.get((event.server, relationship))
            left_t, before_that = left.get((event.server, relationship), (-inf, 0.0))
            if since is None and event.t <= left_t + ACK_AGE_S:
                since = before_that  # the step that left partner-down, or one before it, made this ACK: it waited for the commit
            if since is None:
                yield Violation("d", event.t, f"{what} outside partner-down")
            elif event.t < since + mclt_s or event.wall < before.horizon + mclt_s:
                text = f"{what} {event.t - since:.0f} s after partner-down; horizon {before.horizon}, now {event.wall:.0f}"
                yield Violation("d", event.t, text)


def normal_since(events: list[Event]) -> float | None:
    """Since when both servers have been in normal in every relationship, to the end."""
    states: dict[tuple[str, str], str] = {}
    since: float | None = None
    for event in events:
        if isinstance(event, Moved):
            states[event.server, event.relationship] = event.state
            both = len(states) > 1 and set(states.values()) == {"normal"}
            since = (event.t if since is None else since) if both else None
    return since


def not_answered(events: list[Event]) -> Iterator[Violation]:
    """(g) In the quiet end, once both are in normal: who asks for an address that a server may give, gets one."""
    quiet = next((event for event in events if isinstance(event, Quiet)), None)
    since_t = normal_since(events)
    hope: dict[str, float] = {}  # client -> since when it could have been served
    for event in events:
        if not isinstance(event, Look) or quiet is None or since_t is None or event.t < max(quiet.t, since_t):
            continue
        free = dict(event.free)
        could = {client: since for client, pool, since in event.waiting if free.get(pool)}
        hope = {client: hope.get(client, event.t) for client in could}
        for client, since in sorted(hope.items()):
            if event.t - since >= ANSWERED_WITHIN_S:
                yield Violation(
                    "g", event.t, f"{client} asks since {could[client]:.0f} and gets nothing, with addresses free since {since:.0f}"
                )
                hope[client] = event.t


def beyond_a_limit(events: list[Event]) -> Iterator[Violation]:
    """(h) What a server keeps stays within its limits, and so do the DNS UPDATEs that it sends: one that is refused is not sent again at
    once."""
    sent: dict[tuple[str, int], int] = {}
    for event in events:
        if isinstance(event, Named):
            minute = event.server, int(event.t / 60)
            sent[minute] = sent.get(minute, 0) + 1
            if sent[minute] == UPDATES_A_MINUTE:
                yield Violation("h", event.t, f"{event.server} sends {UPDATES_A_MINUTE} DNS UPDATEs within a minute")
        elif isinstance(event, Look):
            for server, what, size, limit in event.sizes:
                if size > limit:
                    yield Violation("h", event.t, f"{server} keeps {size} {what}, the limit is {limit}")
