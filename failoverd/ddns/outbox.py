"""The outbox: the way of each row from what we want to what the zone says.

A row has at most one message out, and a zone one message that may hold many names: what falls due meanwhile goes with the next,
so an idle system sends at once and a busy one batches, without a timer. What a message may put into the zone is written as `maybe`
in the output that sends it, so it is durable before it leaves (safety.md 24). After a lost message the row is said again when the
signature of the lost one has become too old to be taken (RFC 8945 5.2.3, fudge 300 s): a copy that sat in a queue must not have the
last word.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from failoverd.ddns import reasons
from failoverd.ddns.batch import BYTES_MAX, NAMES_MAX, Flight, Repair, Sent, fitting, goes_alone, joined, part, size, survey
from failoverd.ddns.pace import LOST, MALFORMED, SUSPECTS, WINDOW_ALL, ZONE_TROUBLE, Lane
from failoverd.ddns.rounds import Holders, Rounds
from failoverd.ddns.rows import ME, Row, State
from failoverd.ddns.shelf import RECHECK_S, Shelf
from failoverd.ddns.steps import message
from failoverd.ddns.zone import DnsPlan
from failoverd.notes import Note
from failoverd.ports import DnsAnswer, DnsUpdate, Now, Output

RETRANSMIT_S = 1.0  # an answer later than this may be to the second copy of its message, when nobody counted the copies
STARTS_A_STEP = 200
PREREQUISITE_FAILURES = frozenset({"NXDOMAIN", "YXDOMAIN", "NXRRSET", "YXRRSET"})
UNPROVEN = frozenset({"BADKEY", "BADSIG", "BADTIME"})  # said without a MAC: the message may have been applied all the same
FOREVER = float("inf")


class Outbox(Rounds):
    """Sends nothing until the fence is lifted."""

    def __init__(self, plan: DnsPlan, shelf: Shelf, rng: Random, holders: Holders) -> None:
        super().__init__(plan, shelf, rng, holders)
        self.flights: dict[int, Sent] = {}
        self._repairs: list[Repair] = []
        self._ident = 0
        self._turn = 0

    # --- sending ------------------------------------------------------------------------------------------------------

    def deadline(self, now: Now) -> float:
        """Monotonic time of the next message that may go; infinity when only an answer can change that."""
        if self.shelf.boot:
            return now.mono
        if self.paused or len(self.flights) >= WINDOW_ALL:
            return FOREVER
        return min((at for lane in self.shelf.lanes.values() if (at := self._lane_mono(lane, now)) is not None), default=FOREVER)

    def _lane_mono(self, lane: Lane, now: Now) -> float | None:
        while (first := lane.first(now.mono)) is not None:
            mono, _, key = first
            row = self.shelf.rows.get(key)
            if row is None or row.due_mono != mono or key in self.shelf.busy:
                lane.pop(now.mono)
                continue
            if lane.turn:
                return None
            zone_mono, server_mono = lane.opens_mono(now.mono), lane.server.ready_mono(now.mono)
            return None if zone_mono is None or server_mono is None else max(zone_mono, server_mono)
        return None

    def due(self, now: Now, out: Output) -> None:
        """Send what is due, zone by zone in turn, within the windows."""
        if self.shelf.boot:
            self.shelf.arm(now)
        self._go_on(now, out)
        lanes = list(self.shelf.lanes.values())
        idle = starts = 0
        while not self.paused and idle < len(lanes) and starts < STARTS_A_STEP and len(self.flights) < WINDOW_ALL:
            lane = lanes[self._turn % len(lanes)]
            self._turn += 1
            at = self._lane_mono(lane, now)
            if at is None or at > now.mono:
                idle += 1
                continue
            idle = 0
            starts += self._fill(lane, now, out)

    def _fill(self, lane: Lane, now: Now, out: Output) -> int:
        """Send what is due in a zone: the next message with all names that fit, and those that go alone. Returns how many rows
        were looked at."""
        batch: list[Flight] = []
        parts: list[DnsUpdate] = []
        names: set[str] = set()
        octets = looked = 0
        last: Row | None = None
        one = lane.server.open or bool(lane.reason)  # it asks whether the trouble is over
        while len(batch) < NAMES_MAX and octets < BYTES_MAX and looked < STARTS_A_STEP and len(self.flights) < WINDOW_ALL:
            row = self._pick(lane, now, last, NAMES_MAX - len(batch))
            if row is None or (one and looked):
                break
            if row.name in names:  # forward and reverse may share a name: one row of a name in a message
                break
            row.due_mono, last = -1.0, None
            looked += 1
            before = row.state
            flight = self._begin(row, lane, now, out)
            if flight is None:
                continue
            if one or goes_alone(flight, before, row.key in self.shelf.refused):
                self._post(Sent(lane, [flight]), now, out)
                continue
            update = part(flight)
            octets += size(update)
            if batch and octets > BYTES_MAX:
                self._post(Sent(lane, batch, turn=True), now, out, parts)
                self._post(Sent(lane, [flight]), now, out, [update])
                return looked
            batch.append(flight)
            parts.append(update)
            names.add(row.name)
            last = row
        if batch:
            self._post(Sent(lane, batch, turn=True), now, out, parts)
        return looked

    def _pick(self, lane: Lane, now: Now, last: Row | None, room: int) -> Row | None:
        """The next row that is due in a zone, None for none: the other half of the rename that `last` is of, else the first in line. The
        two halves in one message are the atomic rename of ddns.md 2.3; where one of them is not idle, or goes alone, they go apart."""
        twin = self._other_half(last, now) if last is not None else None
        if twin is not None:
            return twin
        at = self._lane_mono(lane, now)
        first = lane.first(now.mono)
        if at is None or at > now.mono or first is None:
            return None
        row = self.shelf.rows[first[2]]
        return None if room < 2 and self._other_half(row, now) is not None else row

    def _other_half(self, row: Row, now: Now) -> Row | None:
        """The row that `row` changes its name with, if that is due too."""
        twin = self.shelf.rows.get(row.twin) if row.twin else None
        fits = twin is not None and twin.twin == row.key and twin.zone == row.zone and twin.key not in self.shelf.busy
        return twin if fits and twin is not None and 0.0 <= twin.due_mono <= now.mono else None

    def _begin(self, row: Row, lane: Lane, now: Now, out: Output) -> Flight | None:
        """Start a round for a row."""
        flight = self._ghost(row, lane, now) or self._round(row, lane, now, out)
        if flight is None:
            return None
        self.shelf.busy.add(row.key)
        row.dirty_since = row.dirty_since or now.wall
        if row.again and row.state is not State.CLEAN:
            self.shelf.repeat(row, now)  # it was not in the zone, perhaps, and what it crosses may have waited as long
        if row.owner == ME:
            row.state, row.next_at = State.INFLIGHT, now.wall
        self._prepare(flight, now, out, write=row.owner == ME)
        return flight

    def _post(self, sent: Sent, now: Now, out: Output, parts: Sequence[DnsUpdate] = ()) -> None:
        """One message leaves. `parts`: what its flights say, when that is known already."""
        self._ident += 1
        self.flights[self._ident] = sent
        sent.lane.inflight += 1
        sent.lane.server.inflight += 1
        if sent.turn:
            sent.lane.turn = True
        first = sent.flights[0]
        if first.repair is not None:
            out.after_commit.append(survey(first, self._mode, self._ident))
        elif parts:
            out.after_commit.append(joined(parts, self._ident))
        elif len(sent.flights) == 1:
            out.after_commit.append(message(first.step, first.row, first.drop, first.guard, self._ident, first.seen))
        else:
            out.after_commit.append(joined(map(part, sent.flights), self._ident))

    def _go_on(self, now: Now, out: Output) -> None:
        """Send the next messages of rounds that go on, as the windows allow, and the second messages of repaired batches."""
        for queue in self._next_up.values():
            while queue and len(self.flights) < WINDOW_ALL and queue[0].lane.server.inflight < queue[0].lane.server.window:
                flight = queue.popleft()
                if self._stale(flight):
                    self._again(flight, now, out, 0.0)
                    continue
                if flight.repair is None:
                    self._prepare(flight, now, out, write=False)
                self._post(Sent(flight.lane, [flight]), now, out)
        for repair in [each for each in self._repairs if not each.waiting]:
            self._repairs.remove(repair)
            repair.lane.turn = False
            fit: list[Flight] = []
            for flight in repair.fit:
                if self._stale(flight):
                    self._again(flight, now, out, 0.0)
                else:
                    self._prepare(flight, now, out, write=False)
                    fit.append(flight)
            if fit:
                self._post(Sent(repair.lane, fit, turn=True, second=True), now, out)

    # --- answers ------------------------------------------------------------------------------------------------------

    def answered(self, answer: DnsAnswer, now: Now, out: Output) -> None:
        """One message came to its end."""
        sent = self.flights.pop(answer.ident, None)
        if sent is None:
            out.notes.append(Note(reasons.STRAY, now.wall, detail=f"{answer.ident} {answer.rcode}"))
            return
        lane, server = sent.lane, sent.lane.server
        twice = answer.copies > 1 or (not answer.copies and answer.elapsed_s >= RETRANSMIT_S)
        for flight in sent.flights:
            row = flight.row
            row.last_rcode, row.server, row.last_error = answer.rcode, answer.server, answer.detail
            if not sent.queries and (answer.rcode in LOST or answer.rcode in UNPROVEN or twice):
                row.recheck_at = now.wall + RECHECK_S
        if answer.rcode in LOST and server.lost(now.mono, self._rng):
            out.notes.append(Note(reasons.OPEN, now.wall, subject=server.key, detail=f"{answer.rcode} {answer.detail}".strip()))
        lane.inflight -= 1
        lane.failures += answer.rcode in LOST or answer.rcode in ZONE_TROUBLE or answer.rcode in MALFORMED
        server.inflight -= 1
        if sent.turn:
            lane.turn = False
        if answer.rcode in LOST:
            self._all_again(sent, now, out)
        else:
            if server.heard():
                out.notes.append(Note(reasons.CLOSED, now.wall, subject=server.key))
            self._heard(sent, answer, now, out)
        self._go_on(now, out)

    def _heard(self, sent: Sent, answer: DnsAnswer, now: Now, out: Output) -> None:
        """The server answered: about the zone, about the message, or about the names."""
        lane, first = sent.lane, sent.flights[0]
        many = len(sent.flights) > 1
        about_names = answer.rcode not in ZONE_TROUBLE and answer.rcode not in MALFORMED
        # A master that cannot write its zone (SERVFAIL) still answers questions and prerequisites: only a write proves it well.
        wrote = answer.rcode == "NOERROR" and not sent.queries
        if about_names and (wrote or lane.reason != "SERVFAIL") and lane.accepts(now.wall):
            out.notes.append(Note(reasons.RELEASED, now.wall, subject=lane.zone, detail=lane.target))
        if about_names and answer.rcode != "INTERNAL" and not lane.reason:
            if answer.detail and answer.detail != lane.detail:
                out.notes.append(Note(reasons.REMARK, now.wall, subject=lane.zone, detail=answer.detail))
            lane.detail = answer.detail
        if first.repair is not None:
            self._surveyed(first, first.repair, answer, now, out)
        elif many and answer.rcode in PREREQUISITE_FAILURES and not sent.second:
            self._repair(sent)
        elif many and answer.rcode != "NOERROR" and (answer.rcode == "REFUSED" or answer.rcode not in ZONE_TROUBLE):
            self._next_up[lane.server.key].extend(sent.flights)  # one of them spoils it for all: each alone, once
        elif answer.rcode in ZONE_TROUBLE:
            self._trouble(sent, answer, now, out)
        elif answer.rcode in MALFORMED:
            self._malformed(first, answer, now, out)
        else:
            for flight in sent.flights:
                self._follow(flight, answer, now, out)

    def _repair(self, sent: Sent) -> None:
        """A name of the batch is not as we thought: ask about all of them. The zone's turn stays with them."""
        repair = Repair(sent.lane, len(sent.flights))
        self._repairs.append(repair)
        sent.lane.turn = True
        for flight in sent.flights:
            flight.repair = repair
            self._next_up[sent.lane.server.key].append(flight)

    def _surveyed(self, flight: Flight, repair: Repair, answer: DnsAnswer, now: Now, out: Output) -> None:
        """What stands at one name of a batch that failed."""
        if answer.rcode in ZONE_TROUBLE:
            self._trouble(Sent(flight.lane, [flight]), answer, now, out)
            return
        if self._stale(flight):
            self._again(flight, now, out, 0.0)
            return
        flight.repair = None
        repair.waiting -= 1
        step = fitting(flight, self._mode, answer)
        if step is None:
            self._next_up[flight.lane.server.key].append(flight)
            return
        flight.step = step
        repair.fit.append(flight)

    def _all_again(self, sent: Sent, now: Now, out: Output) -> None:
        """Nothing came of a message; while its server or its zone is in trouble the rounds that would go on there end too."""
        for flight in sent.flights:
            self._again(flight, now, out, 0.0)
        lane, queue = sent.lane, self._next_up[sent.lane.server.key]
        held = bool(lane.reason) and (lane.reason != "REFUSED" or len(lane.refused) >= SUSPECTS)
        for flight in [each for each in queue if lane.server.open or (held and each.lane is lane)]:
            queue.remove(flight)
            self._again(flight, now, out, 0.0)

    def _trouble(self, sent: Sent, answer: DnsAnswer, now: Now, out: Output) -> None:
        """Keys, rights, a frozen zone: the zone waits, not the row. But a row that is refused again while its zone took others is
        refused for its own sake (ddns.md 4.3)."""
        flight, lane = sent.flights[0], sent.lane
        row = flight.row
        before = self.shelf.refused.get(row.key)
        if answer.rcode == "REFUSED":
            self.shelf.refused[row.key] = lane.taken
            if before is not None and lane.taken > before:
                out.notes.append(Note(reasons.REFUSED_NAME, now.wall, subject=row.name, detail=answer.detail))
                self._settle_down(flight, State.HELD, "the master refuses this name", now, out)
                return
        loud = lane.hold(answer.rcode, answer.detail, row.key, now.mono, self._rng)
        name = reasons.HOLD if loud else reasons.HELD_STILL
        detail = f"{answer.rcode} from {answer.server} {answer.detail}".strip()
        out.notes.append(Note(name, now.wall, subject=lane.zone, detail=detail))
        if answer.rcode == "REFUSED":
            self._again(flight, now, out, lane.until_mono - now.mono)
            sent = Sent(lane, [])
        self._all_again(sent, now, out)
