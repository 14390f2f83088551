"""Names that a partner registered and cannot remove any more, because it is dead (ddns.md 4.6).

A dhcpd, and any partner on a plain link, says nothing of names. When a lease that only it knew the name of ends in partner-down, the
PTR of the address says which name it may have been, and the DHCID or the interim TXT there, compared with all that may stand for the
lease's client, proves whose it is. Only then it is removed, through rows, by value and under that guard. Nothing is guessed.

A seek is durable from the step in which the lease ended until the step that writes the rows (those of leases that had ended before
partner-down are begun again at each boot in it). While it lasts the PTR of the address is not replaced.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from failoverd.ddns import reasons
from failoverd.ddns.guards import guard_candidates
from failoverd.ddns.names import dotted
from failoverd.ddns.pace import LOST, Lane
from failoverd.ddns.rows import FORWARD, REVERSE, Row, Value, row_key
from failoverd.ddns.shelf import Shelf
from failoverd.ddns.steps import Records
from failoverd.ddns.wants import pointer_of
from failoverd.ddns.zone import DnsPlan
from failoverd.leases.lease import Lease
from failoverd.notes import Note
from failoverd.ports import DnsAnswer, DnsQuery, Kind, Now, Origin, Output, Write

AT_ONCE = 8  # queries that may be out
EVERY_S, SLICE = 0.1, 5  # no more queries than that
RETRY_S = 30.0
FOREVER = float("inf")
BACK, REVIVED = "the partner is back, and knows its names", "the lease lives again"
_SEEK = '{"seek":'
_TYPES = ("DHCID", "TXT", "A", "CNAME")


@dataclass(slots=True)
class Seek:
    """One address of one client whose name is looked for in one target. `pointer`: owner name of the PTR; `name`: what it says, as it
    is written there, "" before that is known; `lane`: where the query that is out went; `kept`: it is in the store."""

    target: str
    pointer: str
    address: int
    hw: str
    client_id: str
    name: str = ""
    lane: Lane | None = None
    kept: bool = True

    @property
    def key(self) -> bytes:
        """The store's key."""
        return f"\0seek\0{self.target}\0{self.pointer}".encode()

    @property
    def place(self) -> tuple[int, str]:
        """One seek for each address and target."""
        return self.address, self.target

    def to_json(self) -> str:
        """The stored form; what was found out so far is asked again after a restart."""
        kept = {"target": self.target, "pointer": self.pointer, "address": self.address, "hw": self.hw, "client_id": self.client_id}
        return json.dumps({"seek": kept}, separators=(",", ":"))


class Seeker:
    """All seeks of one planner. Its queries have negative idents."""

    def __init__(self, plan: DnsPlan, shelf: Shelf, rng: Random, stored: Iterable[str]) -> None:
        self._plan = plan
        self._shelf = shelf
        self._rng = rng
        self._seeks: dict[tuple[int, str], Seek] = {}
        self._line: deque[tuple[int, str]] = deque()
        self._out: dict[int, Seek] = {}
        self._ident = 0
        self._targets = sorted({zone.target for zone in plan.zones})
        self._next_mono = 0.0
        self._adopted: dict[bytes, Seek] = {}  # key of a row that takes a proven name away
        for text in stored:
            self._put(Seek(**json.loads(text)["seek"]))

    def __len__(self) -> int:
        return len(self._seeks)

    def _put(self, seek: Seek) -> None:
        self._seeks[seek.place] = seek
        self._line.append(seek.place)
        self._shelf.seeking.add((seek.target, seek.pointer))

    def begin(self, old: Lease, out: Output, *, kept: bool) -> None:
        """A lease whose name only the partner knew has ended, while the partner is down. `kept`: it is to be stored."""
        pointer = pointer_of(old)
        for target in self._targets:
            seek = Seek(target, pointer, old.address, old.hw.hex(), old.client_id.hex(), kept=kept)
            row = self._shelf.rows.get(row_key(target, REVERSE, pointer))
            if seek.place in self._seeks or self._plan.zone_for(pointer, target) is None or (row is not None and row.known()):
                continue
            self._put(seek)
            if kept:
                out.writes.append(Write(Kind.DDNS, seek.key, seek.to_json(), Origin.DNS, "a name of the partner's"))

    def cancel(self, which: Callable[[int], bool], now: Now, out: Output) -> None:
        """The partner is back and knows its names: what is not removed yet is its affair. `which`: the addresses."""
        self._cancel([seek for seek in (*self._seeks.values(), *self._adopted.values()) if which(seek.address)], now, out, BACK)

    def revived(self, lease: Lease, now: Now, out: Output) -> None:
        """An address is bound again: by the client that had it, the name is in use."""
        who = lease.hw.hex(), lease.client_id.hex()
        at = [seek for target in self._targets if (seek := self._seeks.get((lease.address, target))) is not None]
        at += [seek for seek in self._adopted.values() if seek.address == lease.address]
        self._cancel([seek for seek in at if (seek.hw, seek.client_id) == who], now, out, REVIVED)

    def _cancel(self, seeks: list[Seek], now: Now, out: Output, why: str) -> None:
        for seek in seeks:
            if self._seeks.get(seek.place) is seek:
                self._end(seek, now, out, why)
            for key in [key for key, each in self._adopted.items() if each is seek]:
                row = self._shelf.rows.get(key)
                if row is not None and not row.want and key not in self._shelf.busy:
                    self._shelf.delete(row, out, why)
                del self._adopted[key]

    # --- messages -----------------------------------------------------------------------------------------------------

    def deadline(self, now: Now) -> float:
        """Monotonic time at which `due` has something to do."""
        return max(self._next_mono, now.mono) if self._line and len(self._out) < AT_ONCE else FOREVER

    def due(self, now: Now, out: Output) -> None:
        """Ask what the rate allows."""
        if not self._line or len(self._out) >= AT_ONCE or now.mono < self._next_mono:
            return
        self._next_mono = now.mono + EVERY_S
        for _ in range(min(len(self._line), SLICE, AT_ONCE - len(self._out))):
            seek = self._seeks.get(self._line.popleft())
            if seek is None or seek.lane is not None:
                continue
            if not self._ask(seek, now, out):
                self._line.append(seek.place)
                self._next_mono = now.mono + 1.0  # its server is silent or busy; the line goes round

    def _ask(self, seek: Seek, now: Now, out: Output) -> bool:
        name, types = (seek.name.lower(), _TYPES) if seek.name else (seek.pointer, ("PTR",))
        zone = self._plan.zone_for(name, seek.target)
        if zone is None:
            self._end(seek, now, out, f"{name} is in no zone of ours")
            return True
        lane = self._shelf.lanes[zone.target, zone.name]
        ready = lane.server.ready_mono(now.mono)
        if lane.held or ready is None or ready > now.mono:
            return False
        seek.lane = lane
        lane.server.inflight += 1
        self._ident -= 1
        self._out[self._ident] = seek
        out.after_commit.append(DnsQuery(self._ident, zone.target, zone.name, name, types))
        return True

    def answered(self, answer: DnsAnswer, now: Now, out: Output) -> None:
        """A query came to its end."""
        seek = self._out.pop(answer.ident, None)
        if seek is None or seek.lane is None:
            out.notes.append(Note(reasons.STRAY, now.wall, detail=f"{answer.ident} {answer.rcode}"))
            return
        server, seek.lane = seek.lane.server, None
        server.inflight -= 1
        if self._seeks.get(seek.place) is not seek:
            return
        if answer.rcode not in {"NOERROR", "NXDOMAIN"}:
            if answer.rcode in LOST and server.lost(now.mono, self._rng):
                out.notes.append(Note(reasons.OPEN, now.wall, subject=server.key, detail=answer.rcode))
            seek.name = ""
            self._line.append(seek.place)
            self._next_mono = max(self._next_mono, now.mono + RETRY_S)
            return
        if server.heard():
            out.notes.append(Note(reasons.CLOSED, now.wall, subject=server.key))
        if seek.name:
            self._judge(seek, answer.records, now, out)
            return
        names = [text for rtype, text in answer.records if rtype == "PTR"]
        if len(names) != 1:
            self._end(seek, now, out, "it has no PTR" if not names else "it has several PTRs")
            return
        seek.name = names[0]
        self._line.appendleft(seek.place)

    def _judge(self, seek: Seek, records: Records, now: Now, out: Output) -> None:
        """The name is the client's when what stands there is what would stand for it."""
        name, address = seek.name.lower(), dotted(seek.address)
        candidates = guard_candidates(bytes.fromhex(seek.hw), bytes.fromhex(seek.client_id), name, cased=seek.name)
        owners = [each for each in records if each[0] == "DHCID"] or [each for each in records if each[0] == "TXT"]
        if len(owners) != 1 or owners[0] not in {(g.rtype, g.text) for g in candidates}:
            self._end(seek, now, out, f"{name} is not proven to be this client's")
            return
        if ("A", address) in records:
            self._adopt(seek, FORWARD, name, Value("A", address), owners[0][1], now, out)
        self._adopt(seek, REVERSE, seek.pointer, Value("PTR", name), "", now, out)
        out.notes.append(Note(reasons.PROVEN, now.wall, address=seek.address, subject=name, detail=owners[0][1]))
        self._end(seek, now, out, "")

    def _adopt(self, seek: Seek, kind: str, name: str, value: Value, guard: str, now: Now, out: Output) -> None:
        """A row that wants nothing and has what was proven: it is removed as every removal is. A name that somebody wants now has its
        row, which replaces what is there, or finds it in its way."""
        zone = self._plan.zone_for(name, seek.target)
        if zone is None or row_key(seek.target, kind, name) in self._shelf.rows:
            return
        row = Row(seek.target, kind, name, zone.name, have=(value,), guard=guard, held_guard=guard)
        self._shelf.rows[row.key] = row
        self._adopted = {key: each for key, each in self._adopted.items() if key in self._shelf.rows}
        self._adopted[row.key] = seek
        self._shelf.reassert(row, 0.0, now, out, "proven to be the dead partner's")

    def _end(self, seek: Seek, now: Now, out: Output, why: str) -> None:
        del self._seeks[seek.place]
        self._shelf.seeking.discard((seek.target, seek.pointer))
        if seek.kept:
            out.writes.append(Write(Kind.DDNS, seek.key, None, Origin.DNS, why or "proven"))
        if why:
            out.notes.append(Note(reasons.UNPROVEN, now.wall, address=seek.address, subject=seek.pointer, detail=why))
        row = self._shelf.rows.get(row_key(seek.target, REVERSE, seek.pointer))
        if row is not None and row.want and row.key not in self._shelf.busy:
            self._shelf.mark(row, now, out, "its old name was looked for")


def is_seek(text: str) -> bool:
    """Whether a stored DDNS record is a seek instead of a row."""
    return text.startswith(_SEEK)
