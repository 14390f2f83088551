"""Where the PTR records of an address are when the parent zone says it: RFC 2317, `follow-cname`.

The parent's CNAME at the plain reverse name leads to the name that the PTR record stands at. It is asked for before a PTR row has its
name, is remembered (stored with the rows) and asked for again every hour while a lease wants the PTR: when it leads elsewhere, the record
goes to the new name and leaves the old one, by the rows of both. Until it is known the PTR waits, with a row that says why and that is
never sent; what is wanted is in the leases, so nothing is lost by a restart.

A CNAME is only followed into the zone that the configuration names: whoever runs the parent cannot have us write elsewhere.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random

from failoverd.ddns import reasons
from failoverd.ddns.names import reverse_name
from failoverd.ddns.pace import LOST, Lane, backoff
from failoverd.ddns.rows import REVERSE, Row, State, Value, row_key
from failoverd.ddns.shelf import Shelf
from failoverd.ddns.zone import DnsPlan, Followed, Zone
from failoverd.notes import Note
from failoverd.ports import DnsAnswer, DnsQuery, Kind, Now, Origin, Output, Write

IDENTS = -(1 << 40)  # idents of its queries are below this
AT_ONCE, SLICE, EVERY_S = 8, 5, 0.1  # queries that may be out, and how many are sent in which time
AGAIN_S = 3600.0
LATER_S = 1.0  # its master is silent or busy
RETRY_MAX_S = 300.0
FOREVER = float("inf")
ASKING = "its owner name is asked for (follow-cname)"
_FOLLOW = '{"follow":'

Moved = Callable[[int, str, str, Now, Output], None]
"""(address, the owner name until now or "", the owner name, now, out)"""


@dataclass(slots=True)
class Follow:
    """One address that has a PTR. `name`: what the PTR says, "" when nobody wants it; `owner`: where the CNAME leads, "" for not known;
    `tries`: failures in a row; `lane`: where the query that is out went."""

    address: int
    name: str = ""
    owner: str = ""
    tries: int = 0
    due_mono: float = 0.0
    lane: Lane | None = None

    @property
    def key(self) -> bytes:
        """The store's key."""
        return f"\0follow\0{self.address}".encode()


class Follower:
    """All addresses whose PTR records are where the parent's CNAMEs lead."""

    def __init__(self, plan: DnsPlan, shelf: Shelf, rng: Random, stored: Iterable[str], moved: Moved) -> None:
        self._plan = plan
        self._shelf = shelf
        self._rng = rng
        self._moved = moved
        self._follows: dict[int, Follow] = {}
        self._waits: dict[bytes, Follow] = {}
        self._known: dict[int, tuple[str, float]] = {}  # owner names of addresses that nobody has now, and when they were asked
        self._heap: list[tuple[float, int]] = []
        self._out: dict[int, Follow] = {}
        self._ident = IDENTS
        self._next_mono = 0.0
        self._targets = sorted({zone.target for zone in plan.zones})
        self._stale: list[Follow] = []
        for text in stored:
            found = Follow(**json.loads(text)["follow"])
            self._follows[found.address] = found
            self._push(found, 0.0)
            self._stale.append(found)

    def __len__(self) -> int:
        return len(self._follows)

    # --- what leases say ----------------------------------------------------------------------------------------------

    def rule(self, address: int) -> Followed | None:
        """The prefix that an address is followed by, None for none."""
        return next((each for each in self._plan.follow if each.holds(address)), None)

    def owner(self, address: int) -> str | None:
        """The owner name of the PTR record of an address, "" while it is not known, None when nothing is followed there."""
        found = self._follows.get(address)
        return found.owner if found is not None else None

    def follow(self, address: int, name: str, mono: float = 0.0) -> str:
        """A lease wants a PTR to `name`. The owner name, "" while it is not known. Call it for addresses that have a rule only."""
        found = self._follows.get(address)
        if found is None:
            owner, asked_mono = self._known.pop(address, ("", 0.0))
            found = self._follows[address] = Follow(address, owner=owner if mono - asked_mono < AGAIN_S else "")
            self._push(found, asked_mono + AGAIN_S if found.owner else 0.0)
        if found.name != name:
            found.name = name
            if not found.owner:
                self._wait(found, ASKING)
        return found.owner

    def name(self, address: int) -> str:
        """What the PTR of an address says."""
        return self._follows[address].name

    def keep(self, found_at: int, out: Output) -> None:
        """Store the owner name of an address, in the output that uses it."""
        found = self._follows[found_at]
        record = json.dumps({"follow": {"address": found.address, "owner": found.owner}}, separators=(",", ":"))
        out.writes.append(Write(Kind.DDNS, found.key, record, Origin.DNS, "follow-cname"))

    def forget(self, address: int, out: Output) -> None:
        """No lease wants a PTR there; the row of the owner name removes what is there."""
        found = self._follows.pop(address, None)
        if found is None:
            return
        self._unwait(found)
        if found.owner:
            self._known[address] = found.owner, found.due_mono - AGAIN_S
            out.writes.append(Write(Kind.DDNS, found.key, None, Origin.DNS, "no longer wanted"))

    def hurry(self, row: Row, now: Now) -> bool:
        """Ask at once where the PTR of a waiting row belongs. False for another row."""
        found = self._waits.get(row.key)
        if found is None:
            return False
        self._push(found, now.mono)
        return True

    # --- waiting rows -------------------------------------------------------------------------------------------------

    def _keys(self, found: Follow) -> list[bytes]:
        return [row_key(target, REVERSE, reverse_name(found.address)) for target in self._targets]

    def _wait(self, found: Follow, why: str, rcode: str = "", now: Now | None = None) -> None:
        """The PTR waits: rows for the operator to see. They are in no zone, so nothing can be sent for them."""
        for target in self._targets:
            row = Row(target, REVERSE, reverse_name(found.address), "", want=(Value("PTR", found.name),), state=State.HELD)
            before = self._shelf.waiting.get(row.key)
            row.dirty_since = before.dirty_since if before is not None else now.wall if now is not None else 0.0
            row.attempts, row.last_error, row.last_rcode = found.tries, why, rcode
            if now is not None:
                row.due_mono, row.next_at = found.due_mono, now.wall + max(0.0, found.due_mono - now.mono)
            self._shelf.waiting[row.key], self._waits[row.key] = row, found

    def _unwait(self, found: Follow) -> None:
        for key in self._keys(found):
            self._shelf.waiting.pop(key, None)
            self._waits.pop(key, None)

    # --- asking -------------------------------------------------------------------------------------------------------

    def _push(self, found: Follow, mono: float) -> None:
        found.due_mono = mono
        heapq.heappush(self._heap, (mono, found.address))

    def deadline(self, now: Now) -> float:
        """Monotonic time at which `due` has something to do."""
        if self._stale:
            return now.mono
        return max(self._next_mono, self._heap[0][0], now.mono) if self._heap and len(self._out) < AT_ONCE else FOREVER

    def due(self, now: Now, out: Output) -> None:
        """Ask what is due, as the rate allows."""
        for old in self._stale:  # stored, and no lease wants it any more
            if not old.name and self._follows.get(old.address) is old:
                self.forget(old.address, out)
        self._stale = []
        if now.mono < self._next_mono:
            return
        asked = 0
        while self._heap and self._heap[0][0] <= now.mono and asked < SLICE and len(self._out) < AT_ONCE:
            mono, address = heapq.heappop(self._heap)
            found = self._follows.get(address)
            if found is None or found.due_mono != mono or found.lane is not None:
                continue
            asked += 1
            self._ask(found, now, out)
        if asked:
            self._next_mono = now.mono + EVERY_S

    def _asked(self, found: Follow) -> Zone | None:
        """The zone whose master is asked: the parent when it is ours, else the one that holds the names; another target's after a
        failure. None when there is no rule any more."""
        rule, first = self.rule(found.address), found.tries % max(1, len(self._targets))
        if rule is None:
            return None
        for target in (*self._targets[first:], *self._targets[:first]):
            zone = self._plan.zone_for(reverse_name(found.address), target) or self._plan.zone_for(rule.zone, target)
            if zone is not None:
                return zone
        return None

    def _ask(self, found: Follow, now: Now, out: Output) -> None:
        zone = self._asked(found)
        if zone is None:  # the configuration has no rule any more: what the lease says at its next renewal holds
            return
        lane = self._shelf.lanes[zone.target, zone.name]
        ready = lane.server.ready_mono(now.mono)
        if lane.held or ready is None or ready > now.mono:
            self._push(found, now.mono + LATER_S)
            if not found.owner:
                self._wait(found, f"{ASKING}: {lane.held or f'{lane.server.key} is silent or busy'}", "", now)
            return
        found.lane = lane
        lane.server.inflight += 1
        self._ident -= 1
        self._out[self._ident] = found
        out.after_commit.append(DnsQuery(self._ident, zone.target, zone.name, reverse_name(found.address), ("CNAME",)))

    def answered(self, answer: DnsAnswer, now: Now, out: Output) -> None:
        """A query came to its end."""
        found = self._out.pop(answer.ident, None)
        if found is None or found.lane is None:
            out.notes.append(Note(reasons.STRAY, now.wall, detail=f"{answer.ident} {answer.rcode}"))
            return
        server, found.lane = found.lane.server, None
        server.inflight -= 1
        if answer.rcode in LOST:
            if server.lost(now.mono, self._rng):
                out.notes.append(Note(reasons.OPEN, now.wall, subject=server.key, detail=answer.rcode))
        elif server.heard():
            out.notes.append(Note(reasons.CLOSED, now.wall, subject=server.key))
        rule = self.rule(found.address)
        if self._follows.get(found.address) is not found or rule is None:
            return
        plain, why = reverse_name(found.address), ""
        owners = [text.lower() for rtype, text in answer.records if rtype == "CNAME"]
        if answer.rcode not in {"NOERROR", "NXDOMAIN"}:
            why = f"the CNAME at {plain} cannot be read: {answer.rcode} {answer.detail}".rstrip()
        elif not owners:
            why = f"there is no CNAME at {plain}"
        elif not owners[0].endswith("." + rule.zone):
            why = f"the CNAME at {plain} leads to {owners[0]}, which is not in {rule.zone}"
        if why:
            self._failed(found, why, answer.rcode, now, out)
        else:
            self._found(found, owners[0], now, out)

    def _failed(self, found: Follow, why: str, rcode: str, now: Now, out: Output) -> None:
        """Later, and less and less often. A name that was known stays in use: the record that is there is still right for most."""
        found.tries += 1
        self._push(found, now.mono + backoff(found.tries, RETRY_MAX_S, self._rng))
        out.notes.append(Note(reasons.NOT_FOLLOWED, now.wall, address=found.address, subject=found.name, detail=why))
        if not found.owner:
            self._wait(found, why, rcode, now)

    def _found(self, found: Follow, owner: str, now: Now, out: Output) -> None:
        found.tries = 0
        self._push(found, now.mono + AGAIN_S * self._rng.uniform(0.9, 1.0))
        if owner == found.owner:
            return
        before, found.owner = found.owner, owner
        self._unwait(found)
        self.keep(found.address, out)
        if before:
            out.notes.append(
                Note(reasons.LEADS_ELSEWHERE, now.wall, address=found.address, subject=found.name, detail=f"{before} -> {owner}")
            )
        self._moved(found.address, before, owner, now, out)


def is_follow(text: str) -> bool:
    """Whether a stored DDNS record is a followed CNAME instead of a row."""
    return text.startswith(_FOLLOW)
