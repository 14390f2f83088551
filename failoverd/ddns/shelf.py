"""The shelf of rows: what is wanted at each name, who owns it, what state it is in and when it is due.

Every change of a row is written in the output of the step that made it, so lease and row are one commit. Knows no message and no
answer (that is `outbox`), and no lease (that is `plan`).
"""

from __future__ import annotations

from collections.abc import Iterable

from failoverd.ddns.names import dotted, reverse_of
from failoverd.ddns.pace import Lane, Server
from failoverd.ddns.rows import FORWARD, ME, PEER, REVERSE, Ghost, Row, State, Value, row_key
from failoverd.ddns.steps import hands_over
from failoverd.ddns.zone import DnsPlan
from failoverd.ports import Kind, Now, Origin, Output, Write

# A message of the partner's that was on its way comes soon; by a server that stood still, or to a master that was down, a little later; a
# lost one until RECHECK_S have passed. So a name is missing for ten seconds, or for about twice as long as the message was late.
AGAIN_S = (10.0, 30.0, 90.0)
RECHECK_S = 301.0  # the fudge of our signatures (RFC 8945 5.2.3), and one second
LAST_COPY_S = 90.0  # the last copy of a message may be signed this long after its first (retries, two keys, several primaries)
CONFLICT_RETRY_S = 3600.0
HURRY_S = 60.0  # a renewal hastens the retry of a conflict, but not more often
PEER_LOOK_S = 3600.0
UNSURE_LOOK_S = 30.0  # while it is not known whether the partner has given the address again
PEER_FIRST_LOOK_S = 60.0  # a partner that is in contact removes its names at once
NO_ZONE_CONFIGURED = "no zone is configured for it"
UNSETTLED = frozenset({State.CONFLICT, State.BLOCKED, State.HELD, State.DEAD})


def ripe(until: float, now: Now) -> bool:
    """Whether no copy of a lost message can be applied any more. Half of the spare second goes to the two clocks' rounding."""
    return until <= now.wall + 0.5


class Shelf:
    """`rows` by key; `lanes`: one for each zone of each target; `busy`: keys with a message out; `refused`: how many messages
    the zone had taken when it last refused a row; `seeking`: target and reverse name of PTRs that are still to be read (seek.py);
    `waiting`: PTRs whose owner name is not known yet (follow.py), only to be shown; `migrating`: rows that an operator
    lets take over what a predecessor left."""

    def __init__(self, plan: DnsPlan, stored: list[str]) -> None:
        self._plan = plan
        self._serial = 0
        self.rows: dict[bytes, Row] = {}
        self.lanes: dict[tuple[str, str], Lane] = {}
        self.servers: dict[str, Server] = {}
        self.busy: set[bytes] = set()
        self.seeking: set[tuple[str, str]] = set()
        self.waiting: dict[bytes, Row] = {}
        self.migrating: set[bytes] = set()
        self.refused: dict[bytes, int] = {}
        self.changed: dict[tuple[str, str], None] = {}  # kind and name of rows written since the partner was told
        self.left: dict[int, dict[bytes, None]] = {}  # address -> what the partner has not removed there, as far as a look showed
        self._left_at: dict[bytes, set[int]] = {}  # the addresses of one of them, which goes from here with its row
        self._reverse: dict[str, str] = {}
        for zone in plan.zones:
            name = ",".join(f"{host}:{port}" for host, port in zone.primaries)
            server = self.servers.setdefault(name, Server(name))
            self.lanes[zone.target, zone.name] = Lane(zone.target, zone.name, server)
        self.boot = [self.load(text) for text in stored]

    # --- what is wanted ---------------------------------------------------------------------------------------------

    def want(
        self,
        target: str,
        kind: str,
        name: str,
        values: tuple[Value, ...],
        guard: str,
        owner: str,
        now: Now,
        out: Output,
        cause: str,
        wish: str = "",
    ) -> Row | None:
        """Say what the zone should hold at a name; `values` empty: nothing of ours. The owner of a removal does not change."""
        row = self.rows.get(row_key(target, kind, name))
        if row is None:
            zone = self._plan.zone_for(name, target)
            if not values or zone is None:
                return None
            row = self.rows[row_key(target, kind, name)] = Row(target, kind, name, zone.name, owner=owner)
        if not values:
            owner, guard = row.owner, row.guard
        changed = values != row.want or guard != row.guard
        if not changed and owner == row.owner:
            self.hurry(row, now)
            return row
        if changed:
            row.gen += 1
            row.word = ""
            row.lodger = row.lodger if guard == row.guard else ""
            row.want, row.guard = values, guard
        row.wish = wish if wish != name else ""
        self.own(row, owner)
        self.mark(row, now, out, cause)
        return row

    def rename(self, was: str, name: str, targets: Iterable[str]) -> None:
        """A client calls itself otherwise: the end of its old name and its new one go in one message, where that can be."""
        for target in targets:
            old, new = self.rows.get(row_key(target, FORWARD, was)), self.rows.get(row_key(target, FORWARD, name))
            if old is not None and new is not None and not old.want and old.zone == new.zone and old.owner == new.owner == ME:
                old.twin, new.twin = new.key, old.key

    def own(self, row: Row, owner: str) -> None:
        """Pass a row to its owner. A name that we hold for one client and that the partner gives to another stays ours until our
        records are gone: only who put them may remove them (safety.md 25)."""
        if owner == PEER and row.owner == ME and hands_over(row):
            return
        if owner == ME and row.owner == PEER:  # the partner may have removed or replaced what we put there (simulator, seed 32)
            row.maybe, row.have = (*row.maybe, *(v for v in row.have if v not in row.maybe)), ()
        row.word = row.word if owner == row.owner else ""
        row.owner = owner
        if owner == PEER and row.want:
            seen = {v.rr for v in row.have}
            if hands_over(row):
                row.have, row.maybe, seen = (), (), set()
            row.maybe += tuple(v for v in row.want if v.rr not in seen and v not in row.maybe)
            row.held_guard = row.guard

    def mark(self, row: Row, now: Now, out: Output, cause: str) -> None:
        """The row changed: decide what is to do about it, and write it."""
        if row.key in self.busy:
            self.write(row, out, cause)
            return
        if not row.want and not row.have and not row.maybe:
            self.bury(row, now, out, cause)
            return
        row.attempts = 0
        if row.owner == PEER:
            self.rest(row, State.CLEAN, 0.0)
            self.later(row, now, None if row.want else PEER_FIRST_LOOK_S)
        elif row.want == row.have and not row.maybe and row.seal == row.held_guard:
            self.rest(row, State.CLEAN, 0.0)
            row.done_gen = row.gen
            self.later(row, now, None)
        else:
            self.dirty(row, now)
        self.write(row, out, cause)

    def hurry(self, row: Row, now: Now) -> None:
        """The client spoke again, or something else at its name changed: a row that waits for a slow retry is tried soon, and a PTR
        that waited for another client's name is said once that is gone."""
        if row.kind == REVERSE and row.owner == ME and row.due_mono < 0 and row.state in {State.DIRTY, State.HELD}:
            if self.eligible(row):
                self.dirty(row, now)
            return
        waits = row.owner == ME and row.state in {State.CONFLICT, State.BLOCKED} and row.due_mono > now.mono
        if waits and now.mono - (row.due_mono - CONFLICT_RETRY_S) >= HURRY_S:
            self.at(row, now, 0.0)

    def doubt(self, row: Row, now: Now, out: Output) -> None:
        """Somebody else's message about the name may still be on its way: ours is said again soon, and when none can come any more."""
        row.recheck_at = max(row.recheck_at, now.wall + RECHECK_S)
        self.repeat(row, now)
        if row.state is State.CLEAN and row.key not in self.busy:
            self.later(row, now, None)
        self.write(row, out, "the partner had it")

    @staticmethod
    def repeat(row: Row, now: Now) -> None:
        """Say the row again soon, too."""
        row.again = tuple(now.mono + after_s for after_s in AGAIN_S)

    def reassert(self, row: Row, after_s: float, now: Now, out: Output, cause: str) -> None:
        """Say a row again although nothing changed (takeover): a replace that changes nothing is nearly free."""
        if row.key not in self.busy:
            self.dirty(row, now)
            self.at(row, now, after_s)
        self.write(row, out, cause)

    # --- states of a row ----------------------------------------------------------------------------------------------

    def load(self, text: str) -> Row:
        """A row of the store: nothing is in flight after a boot."""
        row = Row.from_json(text)
        zone = self._plan.zone_for(row.name, row.target)
        row.zone = zone.name if zone else row.zone
        if row.state is State.INFLIGHT:  # it may have been applied, and a copy may still be on its way
            row.state, row.recheck_at = State.DIRTY, row.next_at + LAST_COPY_S + RECHECK_S
        if zone is None:
            row.state, row.last_error = State.HELD, NO_ZONE_CONFIGURED
        elif row.state is State.HELD:
            row.state = State.DIRTY
        self.rows[row.key] = row
        return row

    def arm(self, now: Now) -> None:
        """Put the rows of the store on their lanes: the first time that somebody tells us the time."""
        self.boot.sort(key=lambda row: (row.dirty_since, row.kind, row.name))
        for row in self.boot:
            if self.rows.get(row.key) is not row or row.due_mono >= 0 or row.key in self.busy:
                continue
            if (row.target, row.zone) not in self.lanes:
                continue
            # Whether it was said again before is not known (torture 1796033969).
            if row.recheck_at and not ripe(row.recheck_at, now):
                self.repeat(row, now)
            if row.owner == PEER:
                self.later(row, now, None if row.want else min(PEER_FIRST_LOOK_S, max(0.0, row.next_at - now.wall)))
            elif row.state is State.DIRTY:
                self.dirty(row, now)
            elif row.state in {State.CONFLICT, State.BLOCKED}:
                self.later(row, now, min(CONFLICT_RETRY_S, max(0.0, row.next_at - now.wall)))
            else:
                self.later(row, now, None)
        self.boot = []

    def dirty(self, row: Row, now: Now) -> None:
        """There is work to do for the row, now."""
        row.dirty_since = row.dirty_since or now.wall
        lane = self.lanes.get((row.target, row.zone))
        if lane is None:
            row.state, row.last_error = State.HELD, NO_ZONE_CONFIGURED
            return
        row.state = State.DIRTY
        lane.pending.setdefault(row.key)
        self.at(row, now, 0.0)

    def rest(self, row: Row, state: State, dirty_since: float) -> None:
        """The row is not work now."""
        row.state, row.dirty_since, row.due_mono = state, dirty_since, -1.0
        if lane := self.lanes.get((row.target, row.zone)):
            lane.pending.pop(row.key, None)

    def at(self, row: Row, now: Now, after_s: float | None) -> None:
        """Try the row after some seconds, None: not until something happens."""
        if after_s is None or (row.target, row.zone) not in self.lanes:
            row.due_mono = -1.0
            return
        self._serial += 1
        row.due_mono, row.next_at = now.mono + after_s, now.wall + after_s
        self.lanes[row.target, row.zone].push(row.due_mono, self._serial, row.key, removal=not row.want)

    def later(self, row: Row, now: Now, after_s: float | None) -> None:
        """Try the row after some seconds, or sooner when something that we lost has become too old to be applied."""
        waits = [min(RECHECK_S, max(0.0, ghost.until - now.wall)) for ghost in row.ghosts]
        if row.recheck_at and row.state is State.CLEAN:
            waits.append(min(RECHECK_S, max(0.0, row.recheck_at - now.wall)))
        if row.again and row.state is State.CLEAN and row.owner == ME and row.want:
            row.again = tuple(at for at in row.again if at > now.mono)
            waits += [at - now.mono for at in row.again[:1]]
        if after_s is not None:
            waits.append(after_s)
        self.at(row, now, min(waits, default=None))

    def look_later(self, row: Row, addresses: Iterable[int], now: Now, after_s: float) -> None:
        """What the partner was to remove is still there, and its address is in use: it may be right by the partner's own word. When the
        lease of one of `addresses` ends it is not."""
        self._put_away(row.key)
        self._left_at[row.key] = set(addresses)
        for address in self._left_at[row.key]:
            self.left.setdefault(address, {})[row.key] = None
        self.rest(row, State.CLEAN, 0.0)
        self.later(row, now, after_s)

    def look_again(self, address: int, now: Now) -> None:
        """Nobody has the address any more: the partner removes what it knows of it at once, and the rest it does not know."""
        for key in self.left.pop(address, ()):
            self._left_at[key].discard(address)
            row = self.rows.get(key)
            if row is not None and row.owner == PEER and not row.want and key not in self.busy:
                self.later(row, now, PEER_FIRST_LOOK_S)

    def _put_away(self, key: bytes) -> None:
        """No end of a lease is waited for any more."""
        for address in self._left_at.pop(key, ()):
            del self.left[address][key]
            if not self.left[address]:
                del self.left[address]

    def removed_there(self, row: Row, now: Now, out: Output) -> None:
        """The partner says, or the zone shows, that nothing is left; a message of ours may still put it there, or did after all."""
        self.forget(row)
        self.bury(row, now, out, "the partner removed it")

    def forget(self, row: Row) -> None:
        """Nothing under `held_guard` is in the zone; but what a lost message may still put there is remembered."""
        if row.recheck_at:
            lost = {v.rr: Ghost(row.held_guard, v.rtype, v.text, row.recheck_at) for v in (*row.have, *row.maybe)}
            kept = [g for g in row.ghosts if g.guard != row.held_guard or (g.rtype, g.text) not in lost]
            row.ghosts = (*kept, *lost.values())
        row.have = row.maybe = ()

    def bury(self, row: Row, now: Now, out: Output, cause: str) -> None:
        """Nothing is wanted and nothing is there: the row goes, unless something lost may still appear."""
        if not row.ghosts:
            self.delete(row, out, cause)
            return
        self.rest(row, State.CLEAN, 0.0)
        self.later(row, now, None)
        self.write(row, out, cause)

    def write(self, row: Row, out: Output, cause: str) -> None:
        """Write the row in this output."""
        self.changed.setdefault((row.kind, row.name))
        out.writes.append(Write(Kind.DDNS, row.key, row.to_json(), Origin.DNS, cause))

    def delete(self, row: Row, out: Output, cause: str) -> None:
        """Nothing of ours is at the name any more, or wanted there."""
        self.rest(row, State.CLEAN, 0.0)
        del self.rows[row.key]
        self.changed.setdefault((row.kind, row.name))
        self.refused.pop(row.key, None)
        self.migrating.discard(row.key)
        self._put_away(row.key)
        out.writes.append(Write(Kind.DDNS, row.key, None, Origin.DNS, cause))

    def doubtful(self) -> set[bytes]:
        """Forward rows that wait to replace what they put there: whether it is still there is to be seen first, after a separation."""
        waits = (
            row for row in self.rows.values() if row.kind == FORWARD and row.state is State.DIRTY and row.owner == ME and row.want
        )
        return {row.key for row in waits if row.drop() and row.held_guard == row.seal}

    def eligible(self, row: Row) -> bool:
        """A PTR points only to a name that has the address, or whose address is not ours to say."""
        if row.kind == FORWARD or not row.want:
            return True
        if (row.target, row.name) in self.seeking:
            return False
        forward = self.rows.get(row_key(row.target, FORWARD, row.want[0].text))
        if forward is None or forward.owner == PEER or not forward.want:
            return True
        return any(self.pointer_of(v) == row.name for v in forward.have)

    def reverse_at(self, address: int, name: str) -> None:
        """The PTR of an address stands at `name`, "": at its plain name."""
        if name:
            self._reverse[dotted(address)] = name
        elif self._reverse:
            self._reverse.pop(dotted(address), None)

    def pointer_of(self, value: Value) -> str:
        """The owner name of the PTR of an address record."""
        return self._reverse.get(value.text) or reverse_of(value.rtype, value.text)

    def wake(self, forward: Row, now: Now, out: Output) -> None:
        """A forward row came to rest: its PTRs may go, or wait with a reason."""
        for value in forward.want if forward.kind == FORWARD else ():
            row = self.rows.get(row_key(forward.target, REVERSE, self.pointer_of(value)))
            if row is None or row.owner == PEER or row.key in self.busy or row.state not in {State.DIRTY, State.HELD}:
                continue
            waits = row.due_mono < 0 or row.due_mono > now.mono
            if waits and (self.eligible(row) or row.drop()):
                self.dirty(row, now)
            elif waits:
                self.park(row, out)

    def park(self, row: Row, out: Output) -> None:
        """A PTR waits for its forward name, which wakes it; when that is in trouble, the row says so."""
        forward = self.rows.get(row_key(row.target, FORWARD, row.want[0].text))
        if forward is not None and forward.state in UNSETTLED and row.state is not State.HELD:
            self.rest(row, State.HELD, row.dirty_since)
            row.last_error = f"its forward name is in {forward.state}"
            self.write(row, out, "forward name")
