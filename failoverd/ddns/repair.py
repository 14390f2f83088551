"""What an operator or an audit asks of the rows: say it again, try again, take, drop, hold. Everything goes through the rows.

Work in bulk (an audit's repairs, `resend all`) waits in a queue of its own and becomes due a little at a time, so that it stays
behind the names of clients that come now. The queue is not stored: after a restart the operator asks again. A held zone is.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from failoverd.ddns import reasons
from failoverd.ddns.audit import Finding, Repair, fingerprint
from failoverd.ddns.pace import Lane
from failoverd.ddns.rows import FORWARD, ME, Row, State, Value, row_key
from failoverd.ddns.shelf import Shelf
from failoverd.ddns.zone import DnsPlan
from failoverd.notes import Note
from failoverd.ports import Kind, Now, Origin, Output, Write

RATE_PER_S = 50
SLICE_S = 0.5
FOREVER = float("inf")
TROUBLED = frozenset({State.CONFLICT, State.BLOCKED, State.HELD, State.DEAD})
_HOLD = '{"hold":'

Want = Callable[[str, Now, Output], None]
"""(name, now, out): compute again what the live leases want at a name."""


class Hold(NamedTuple):
    """A zone that an operator holds: nothing is sent to it, names wait."""

    target: str
    zone: str
    who: str
    why: str
    wall: float


@dataclass(slots=True)
class Survey:
    """What there was when an audit began: keys of rows, addresses of leases."""

    rows: list[bytes] = field(default_factory=list)
    leases: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Job:
    """One piece of bulk work: a row to say again, or a finding to repair."""

    key: bytes
    cause: str
    finding: Finding | None = None


class Repairs:
    """The operator's hand on the rows of one planner."""

    def __init__(self, plan: DnsPlan, shelf: Shelf, stored: Iterable[str], want: Want) -> None:
        self._plan = plan
        self._shelf = shelf
        self._want = want
        self._jobs: deque[Job] = deque()
        self._next_mono = 0.0
        self.done = self.skipped = 0
        self.survey = Survey()
        self._listing: list[bytes] = []
        self.holds: dict[tuple[str, str], Hold] = {}
        for text in stored:
            hold = Hold(**json.loads(text)["hold"])
            self._hold(hold)

    # --- bulk ---------------------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """How many pieces of bulk work are not yet done."""
        return len(self._jobs)

    def queue(self, jobs: Iterable[Job], now: Now) -> int:
        """Take on bulk work; it is checked again when its turn comes. How much it is."""
        before = len(self._jobs)
        if not before:
            self._next_mono, self.done, self.skipped = now.mono, 0, 0
        self._jobs.extend(jobs)
        return len(self._jobs) - before

    def due(self, now: Now, out: Output) -> None:
        """Do what the rate allows."""
        if not self._jobs or now.mono < self._next_mono:
            return
        self._next_mono = now.mono + SLICE_S
        for _ in range(min(len(self._jobs), int(RATE_PER_S * SLICE_S))):
            job = self._jobs.popleft()
            did = self._repair(job, job.finding, now, out) if job.finding is not None else self._again(job.key, job.cause, now, out)
            self.done += did
            self.skipped += not did
        if not self._jobs:
            detail = f"{self.done} done, {self.skipped} skipped because they changed meanwhile"
            out.notes.append(Note(reasons.REPAIRED, now.wall, detail=detail))

    def deadline(self) -> float:
        """Monotonic time at which `due` has something to do."""
        return self._next_mono if self._jobs else FOREVER

    def _again(self, key: bytes, cause: str, now: Now, out: Output) -> bool:
        row = self._shelf.rows.get(key)
        if row is None or row.owner != ME or key in self._shelf.busy:
            return False
        self._shelf.reassert(row, 0.0, now, out, cause)
        return True

    def _repair(self, job: Job, finding: Finding, now: Now, out: Output) -> bool:
        """A finding, unless what it rests on has changed."""
        row = self._shelf.rows.get(job.key)
        if fingerprint(row) != finding.row or job.key in self._shelf.busy or (row is not None and row.owner != ME):
            return False
        if finding.repair is Repair.REMOVE:
            return row is None and self._adopt(finding, now, out)
        if row is None:
            self._want(finding.name, now, out)
            return job.key in self._shelf.rows
        if finding.repair is Repair.MIGRATE:
            if not self._plan.migrate_on_repair:
                return False
            self._shelf.migrating.add(row.key)  # its round finds the old guard and replaces it, all in one message
        self._shelf.reassert(row, 0.0, now, out, job.cause)
        return True

    def _adopt(self, finding: Finding, now: Now, out: Output) -> bool:
        """Take what is proven ours into a row that wants nothing: it is removed as every removal is, by value and by DHCID."""
        zone = self._plan.zone_for(finding.name, finding.target)
        if zone is None:
            return False
        have = tuple(Value(rtype, text) for rtype, text in finding.remove)
        row = Row(finding.target, finding.kind, finding.name, zone.name, have=have, guard=finding.guard, held_guard=finding.guard)
        self._shelf.rows[row.key] = row
        self._shelf.reassert(row, 0.0, now, out, "repair")
        return True

    def displace(self, row: Row, guard: str, records: Iterable[tuple[str, str]], now: Now, out: Output, cause: str) -> None:
        """What stands under another DHCID is removed, exactly as it was seen, and then the row is said: the way in which a name
        passes from one client to another."""
        row.have = tuple(Value(rtype, text) for rtype, text in records if rtype in {"A", "AAAA"}) or row.want
        row.maybe, row.held_guard = (), guard
        self._shelf.reassert(row, 0.0, now, out, cause)

    # --- single rows --------------------------------------------------------------------------------------------------

    def rows_of(self, name: str) -> list[Row]:
        """All rows of an owner name, and those of the reverse names that its addresses have."""
        found: dict[bytes, Row] = {}
        for target in sorted({zone.target for zone in self._plan.zones}):
            for kind in ("fwd", "rev"):
                key = row_key(target, kind, name)
                row = self._shelf.rows.get(key) or self._shelf.waiting.get(key)
                if row is None:
                    continue
                found[row.key] = row
                for value in row.want or row.have or row.maybe:
                    other = ("rev", self._shelf.pointer_of(value)) if kind == FORWARD else (FORWARD, value.text)
                    key2 = row_key(target, *other)
                    if (row2 := self._shelf.rows.get(key2) or self._shelf.waiting.get(key2)) is not None:
                        found[row2.key] = row2
        return list(found.values())

    def listing(self, *, first: bool) -> list[bytes]:
        """All keys in order, as they were when `first` was last asked: a list that is read page by page."""
        if first or not self._listing:
            self._listing = sorted((*self._shelf.rows, *self._shelf.waiting))
        return self._listing

    def zones(self) -> list[tuple[str, str]]:
        """(target, zone) of everything configured."""
        return [(zone.target, zone.name) for zone in self._plan.zones]

    def busy(self, row: Row) -> bool:
        """Whether a message of the row is out."""
        return row.key in self._shelf.busy

    def retry(self, rows: Iterable[Row], now: Now) -> int:
        """Try these rows now, and ask the zones and servers that are in trouble without waiting for their turn."""
        picked = [row for row in rows if row.owner == ME and row.state is not State.CLEAN]
        for lane in {(row.target, row.zone): self._shelf.lanes.get((row.target, row.zone)) for row in picked}.values():
            if lane is not None:
                lane.until_mono = min(lane.until_mono, now.mono)
                lane.server.probe_mono = min(lane.server.probe_mono, now.mono)
        return self.queue((Job(row.key, "retry") for row in picked), now)

    def drop(self, row: Row, now: Now, out: Output) -> None:
        """Give a row up: nothing more is sent for it, and what may be in the zone is no longer ours to remove."""
        out.notes.append(Note(reasons.DROPPED, now.wall, subject=row.name, detail=f"was {row.state}"))
        self._shelf.delete(row, out, "dropped by the operator")

    # --- zones --------------------------------------------------------------------------------------------------------

    def hold(self, hold: Hold, out: Output) -> bool:
        """Send nothing to a zone until it is released. False when no such zone is configured."""
        if not self._hold(hold):
            return False
        record = json.dumps({"hold": hold._asdict()}, separators=(",", ":"))
        out.writes.append(Write(Kind.DDNS, _hold_key(hold.target, hold.zone), record, Origin.OPERATOR, "hold"))
        out.notes.append(Note(reasons.HELD_BY_OPERATOR, hold.wall, subject=hold.zone, detail=f"{hold.who} {hold.why}".strip()))
        return True

    def _hold(self, hold: Hold) -> bool:
        lane = self._shelf.lanes.get((hold.target, hold.zone))
        if lane is not None:
            lane.held = f"held by {hold.who}" + (f": {hold.why}" if hold.why else "")
        self.holds[hold.target, hold.zone] = hold
        return lane is not None

    def release(self, target: str, zone: str, now: Now, out: Output) -> bool:
        """Send to a zone again. False when it was not held."""
        lane: Lane | None = self._shelf.lanes.get((target, zone))
        if self.holds.pop((target, zone), None) is None:
            return False
        if lane is not None:
            lane.held = ""
        out.writes.append(Write(Kind.DDNS, _hold_key(target, zone), None, Origin.OPERATOR, "release"))
        out.notes.append(Note(reasons.RELEASED_BY_OPERATOR, now.wall, subject=zone))
        return True


def is_hold(text: str) -> bool:
    """Whether a stored DDNS record is a held zone instead of a row."""
    return text.startswith(_HOLD)


def _hold_key(target: str, zone: str) -> bytes:
    return f"\0hold\0{target}\0{zone}".encode()
