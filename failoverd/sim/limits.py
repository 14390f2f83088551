"""More judges of a run, on the trace alone: (d) no address of the partner's is used before its time; (g) every client that keeps asking
is answered while some server may serve it; (h) memory and queues stay within their named limits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from failoverd.dhcp.message import MessageType as Dhcp
from failoverd.sim.trace import Answered, Booted, Committed, Event, Look, Moved, Quiet, Replaced, Started
from failoverd.sim.violation import Violation, dotted

FREE, ACTIVE, BACKUP = 1, 2, 7
ANSWERED_WITHIN_S = 120.0


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


def before_its_time(events: list[Event]) -> Iterator[Violation]:
    """(d) A client that is new on an address gets it from the server's own half, or in partner-down no earlier than MCLT after the
    entry and MCLT after every end and potential expiry that was told (safety.md 12)."""
    owners = Owners()
    mclt_s = 0
    down: dict[str, float] = {}
    for event in events:
        if isinstance(event, Started):
            mclt_s = event.mclt_s
        elif isinstance(event, Booted | Replaced):
            owners.disk(event.server, event.leases)
        elif isinstance(event, Committed):
            owners.committed(event)
        elif isinstance(event, Moved):
            if event.state not in ("partner-down", "startup"):
                down.pop(event.server, None)
            elif event.state == "partner-down":
                down.setdefault(event.server, event.t)
        elif isinstance(event, Answered) and event.kind == Dhcp.ACK and event.lease_s:
            hw, before = owners.taken.pop((event.server, event.address), ("", None))
            own = FREE if event.server == "a" else BACKUP
            if before is None or hw != event.client.hex() or before.state == own:
                continue
            what = (
                f"{event.server} gave {dotted(event.address)}, which was in binding state {before.state}, to {event.client.hex()}"
            )
            if event.server not in down:
                yield Violation("d", event.t, f"{what} outside partner-down")
            elif event.t < down[event.server] + mclt_s or event.wall < before.horizon + mclt_s:
                text = f"{what} {event.t - down[event.server]:.0f} s after partner-down; horizon {before.horizon}, now {event.wall:.0f}"
                yield Violation("d", event.t, text)


def not_answered(events: list[Event]) -> Iterator[Violation]:
    """(g) In the quiet end, once both had time to reach normal: who asks for an address that a server may give, gets one."""
    quiet = next((event for event in events if isinstance(event, Quiet)), None)
    hope: dict[str, float] = {}  # client -> since when it could have been served
    for event in events:
        if not isinstance(event, Look) or quiet is None or event.t < quiet.t + quiet.bound_s:
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
    """(h) What a server keeps stays within its limits."""
    for event in events:
        if isinstance(event, Look):
            for server, what, size, limit in event.sizes:
                if size > limit:
                    yield Violation("h", event.t, f"{server} keeps {size} {what}, the limit is {limit}")
