"""The rounds: what each row says next, and what an answer about its name means for it.

A round is one way of a row from what is wanted to what the zone says: a first message, and those that follow from the answers.
Which message leaves when, and with which others, is the outbox's.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Protocol

from failoverd.ddns import reasons
from failoverd.ddns.batch import Flight
from failoverd.ddns.guards import Guard
from failoverd.ddns.pace import Lane, backoff
from failoverd.ddns.rows import FORWARD, ME, PEER, REVERSE, Ghost, Row, State, Value
from failoverd.ddns.shelf import CONFLICT_RETRY_S, PEER_FIRST_LOOK_S, PEER_LOOK_S, RECHECK_S, UNSURE_LOOK_S, Shelf, ripe
from failoverd.ddns.steps import (
    FRESH_GUARD,
    MODES,
    QUERIES,
    REMOVALS,
    TABLE,
    Records,
    Step,
    Then,
    after_probe,
    first_step,
    judge,
    newer,
    removal_step,
    second_step,
)
from failoverd.ddns.word import REMOVED
from failoverd.ddns.zone import DnsPlan
from failoverd.notes import Note
from failoverd.ports import DnsAnswer, Now, Output

ROW_BACKOFF_MAX_S = 300.0
DEAD_AFTER = 3
MESSAGES_A_ROUND = 8
STAMP_S = 0.4  # less than what RECHECK_S has to spare


class Holders(Protocol):
    """Who asks for which name: what the outbox asks when a name turns out not to be free."""

    def settle(self, name: str, guard: str, now: Now, out: Output) -> bool:
        """The name is free for its next holder, or stands under `guard`: want again what is right; whether it is one of ours."""

    def proofs(self, name: str, guard: str) -> tuple[Guard, ...]:
        """What a predecessor may have left at the name for the client whose DHCID there is `guard`."""

    def give_way(self, name: str, guard: str, now: Now, out: Output) -> bool:
        """The name is another's: whether the client gets another one instead (on-conflict)."""

    def left_behind(self, row: Row) -> bool | None:
        """Whether nobody holds the address of what the partner was to remove; None: not known yet."""

    def addresses_of(self, row: Row) -> tuple[int, ...]:
        """The addresses that what is known at a name is about."""

    def theirs(self, row: Row, values: tuple[Value, ...], guard: str) -> bool:
        """Whether the partner may have put `values` there under `guard`: its client has the address, under a name not told to us."""


class Rounds:
    """`cas`: forward rows that were dirty when the fence was lifted: they replace only what we knew."""

    def __init__(self, plan: DnsPlan, shelf: Shelf, rng: Random, holders: Holders) -> None:
        assert plan.conflict_mode in MODES, plan.conflict_mode
        self._mode = plan.conflict_mode
        self.shelf = shelf
        self._rng = rng
        self._plan = plan
        self._holders = holders
        self.cas: set[bytes] = set()
        self.fenced = self.paused = True  # until the node says that we are not in doubt (safety.md 25), and need not wait
        self._next_up: dict[str, deque[Flight]] = {name: deque() for name in shelf.servers}  # messages of rounds that go on

    def _ghost(self, row: Row, lane: Lane, now: Now) -> Flight | None:
        """Take away what a lost message may have put there, when no copy of it can come any more or when it is in our way."""
        # What is wanted again is said again, by us or by the partner: to take it away would be wrong (simulator, disk full), also
        # together with others that are due (simulator, seed tlswide3102).
        wanted = {(row.seal, *v.rr) for v in row.want}
        row.ghosts = tuple(g for g in row.ghosts if not ripe(g.until, now) or g[:3] not in wanted)
        gone = [g for g in row.ghosts if g[:3] not in wanted]
        guards = [g.guard for g in gone if ripe(g.until, now) or (row.chase and g.guard == row.chase)]
        if not guards:
            return None
        drop = tuple(Value(g.rtype, g.text) for g in gone if g.guard == guards[0])
        if self._holders.theirs(row, drop, guards[0]):  # the client went over to the partner: it is no ghost as long as it is there
            until = now.wall + PEER_FIRST_LOOK_S
            row.ghosts = tuple(g._replace(until=max(g.until, until)) if g.guard == guards[0] else g for g in row.ghosts)
            row.chase = ""
            return None
        return Flight(row, lane, removal_step(row.kind, drop, self._mode), row.gen, drop, guards[0], ghost=True)

    def _round(self, row: Row, lane: Lane, now: Now, out: Output) -> Flight | None:
        """What the row itself has to say."""
        if row.recheck_at and ripe(row.recheck_at, now):
            row.recheck_at = 0.0  # in any state: a doubt that is over would make ghosts that are due at once, again and again
        if row.owner == PEER:
            step: Step | None = None if row.want else Step.LOOK
        else:
            step = first_step(row, self._mode, self.shelf.eligible(row))
            if step in REMOVALS and self._holders.theirs(row, row.drop(), row.held_guard):
                if not row.want:  # it went over to the partner with its client, who has it again: the partner removes it
                    row.owner = PEER
                    self.shelf.mark(row, now, out, "the partner's client has the address again")
                    return None
                row.have = row.maybe = ()
                step = first_step(row, self._mode, self.shelf.eligible(row))
            if step is Step.MATCH and row.key in self.cas:
                step = Step.CAS if row.have else Step.REREAD
        if step is not None:
            return Flight(row, lane, step, row.gen, row.drop(), row.held_guard, taken=row.drop())
        if row.owner == ME and not row.want:
            self.shelf.bury(row, now, out, "nothing is left of it")
        elif row.owner == ME:
            self.shelf.dirty(row, now)
            self.shelf.park(row, out)
            self.shelf.later(row, now, None)
        return None

    def _prepare(self, flight: Flight, now: Now, out: Output, *, write: bool) -> None:
        """Before a flight's step is sent: what it may put into the zone is written in the same output, and when it left, so that
        a restart knows how long a copy may live."""
        row = flight.row
        if row.owner == ME and now.wall - row.next_at > STAMP_S:
            row.next_at, write = now.wall, True
        if flight.step not in REMOVALS and flight.step not in QUERIES:
            flight.gen = row.gen
            known = {v.rr for v in row.maybe}
            fresh = tuple(v for v in row.want if v.rr not in known)
            write = write or bool(fresh) or (row.kind == FORWARD and row.held_guard != row.seal)
            row.maybe += fresh
            flight.sent = row.want
            row.lodger = "" if flight.step in FRESH_GUARD else row.lodger
            if row.kind == FORWARD:
                row.held_guard = row.seal
        elif flight.step in REMOVALS and not flight.ghost:
            row.maybe, row.have = flight.row.known(), ()  # until the answer we do not know
        if write:
            self.shelf.write(row, out, flight.step.name.lower())

    def _stale(self, flight: Flight) -> bool:
        """The world changed since the round began: the row starts over."""
        return self.paused or (not flight.ghost and (flight.row.gen != flight.gen or flight.row.owner == PEER))

    def _land(self, flight: Flight) -> None:
        """The round is over."""
        self.shelf.busy.discard(flight.row.key)
        if flight.repair is not None:
            flight.repair.waiting -= 1
            flight.repair = None

    def _again(self, flight: Flight, now: Now, out: Output, after_s: float) -> None:
        """The round ends undecided."""
        row = flight.row
        self._land(flight)
        if row.owner == PEER:
            self.shelf.mark(row, now, out, "the partner's now")
            return
        self.shelf.dirty(row, now)
        self.shelf.at(row, now, after_s)
        self.shelf.write(row, out, row.last_rcode)

    def _malformed(self, flight: Flight, answer: DnsAnswer, now: Now, out: Output) -> None:
        row = flight.row
        row.attempts += 1
        if row.attempts < DEAD_AFTER:
            self._again(flight, now, out, backoff(row.attempts, ROW_BACKOFF_MAX_S, self._rng))
            return
        out.notes.append(Note(reasons.DEAD, now.wall, subject=row.name, detail=f"{answer.rcode} {answer.detail}".strip()))
        self._settle_down(flight, State.DEAD, answer.rcode, now, out)

    def _follow(self, flight: Flight, answer: DnsAnswer, now: Now, out: Output) -> None:
        """A verified answer about the name: the table says what follows."""
        cell = TABLE.get((flight.step, answer.rcode), Then.ODD)
        if cell is Then.NEXT_DROP:
            flight.drop = flight.drop[1:]
            if flight.drop:
                flight.messages = 0  # each value is asked about once, however many there are: that ends by itself
                self._next(flight, flight.step, now, out)
                return
            cell = Then.REMOVED
        if cell is Then.JUDGE:
            if flight.step is Step.LOOK:
                self._looked(flight, answer, now, out)
            elif self._stale(flight):  # what was found must not be judged by the DHCID of the name's next holder
                self._again(flight, now, out, 0.0)
            elif flight.step is Step.REREAD:
                self._reread(flight, answer, now, out)
            else:
                self._judge(flight, answer, now, out)
            return
        if cell is Then.APPLIED:
            self._applied(flight, now, out)
        elif cell is Then.REMOVED and flight.ghost:
            flight.row.chase = ""
            flight.row.ghosts = self._ghosts_left(flight, now)
            self._again(flight, now, out, 0.0)
        elif cell is Then.REMOVED:
            self._removed(flight, now, out)
        elif cell is Then.BLOCKED:
            self._blocked(flight, "a CNAME", now, out)
        elif cell is Then.ODD:
            self._odd(flight, answer, now, out)
        elif cell is Then.SECOND:
            self._next(flight, second_step(self._mode), now, out)
        else:
            assert isinstance(cell, Step)
            self._next(flight, cell, now, out)

    @staticmethod
    def _ghosts_left(flight: Flight, now: Now) -> tuple[Ghost, ...]:
        """After a ghost was taken away. While a lost copy of that removal may still be applied the row is kept: if the name is
        wanted again meanwhile, it must be said once more after that."""
        row = flight.row
        done = [g for g in row.ghosts if g.guard == flight.guard and ripe(g.until, now)]
        kept = [g for g in row.ghosts if g not in done]
        if row.recheck_at and not ripe(row.recheck_at, now):
            kept += [g._replace(until=row.recheck_at) for g in done]
        return tuple(kept)

    def _next(self, flight: Flight, step: Step, now: Now, out: Output) -> None:
        """Send the next message of the round, unless the world changed meanwhile: then the row starts over."""
        row = flight.row
        stale = self._stale(flight)
        if stale or flight.messages >= MESSAGES_A_ROUND:
            self._again(flight, now, out, 0.0 if stale else backoff(row.attempts + 4, ROW_BACKOFF_MAX_S, self._rng))
            return
        flight.step = step
        flight.messages += 1
        self._next_up[flight.lane.server.key].append(flight)

    def _odd(self, flight: Flight, answer: DnsAnswer, now: Now, out: Output) -> None:
        row = flight.row
        row.attempts += 1
        out.notes.append(Note(reasons.ODD, now.wall, subject=row.name, detail=f"{flight.step.name.lower()}: {answer.rcode}"))
        self._again(flight, now, out, backoff(row.attempts, ROW_BACKOFF_MAX_S, self._rng))

    def _applied(self, flight: Flight, now: Now, out: Output) -> None:
        """The zone holds what the message said: the values of `maybe` that were wanted when it left."""
        row = flight.row
        self._land(flight)
        self.cas.discard(row.key)
        self.shelf.refused.pop(row.key, None)
        shown = {v.rr for v in flight.sent}
        left = tuple(v for v in (*row.have, *row.maybe) if v.rr not in shown)
        row.have, row.maybe = flight.sent, left if row.recheck_at or row.owner == PEER else ()
        if row.owner == PEER:  # the partner's removal may have come first (simulator, seed tls1065): then it is a ghost
            row.recheck_at = max(row.recheck_at, now.wall + RECHECK_S)
        out.notes.append(Note(reasons.DONE, now.wall, subject=row.name, detail=flight.step.name.lower()))
        if row.gen == flight.gen:
            row.done_gen = row.gen
            self._finish(row, now, out)
        else:
            self.shelf.mark(row, now, out, "changed meanwhile")
        self.shelf.wake(row, now, out)

    def _removed(self, flight: Flight, now: Now, out: Output) -> None:
        row = flight.row
        self._land(flight)
        self.shelf.refused.pop(row.key, None)
        out.notes.append(Note(reasons.REMOVED, now.wall, subject=row.name, detail=flight.step.name.lower()))
        left = tuple(v for v in row.known() if row.kind == REVERSE and v.rr not in {t.rr for t in flight.taken})
        self.shelf.forget(row)
        row.maybe = left  # a pointer that is wanted was not asked about
        if row.kind == FORWARD and row.want:
            self.shelf.dirty(row, now)
            self.shelf.write(row, out, "free for its next holder")
            self._holders.settle(row.name, row.guard, now, out)
            return
        row.done_gen = row.gen if not row.want else row.done_gen
        if row.want:  # a PTR that may go once its forward name is there
            self.shelf.dirty(row, now)
            self.shelf.write(row, out, "removed")
        else:
            self._finish(row, now, out)

    def _finish(self, row: Row, now: Now, out: Output) -> None:
        """The zone says what we want."""
        row.attempts = 0
        if row.owner == PEER:
            self.shelf.mark(row, now, out, "the partner's now")
            return
        if not row.want:
            self.shelf.bury(row, now, out, "done")
            return
        self.shelf.rest(row, State.CLEAN, 0.0)
        self.shelf.later(row, now, None)
        self.shelf.write(row, out, "done")

    def _judge(self, flight: Flight, answer: DnsAnswer, now: Now, out: Output) -> None:
        """Whose is the name? (ddns.md 2.4, probe)"""
        row = flight.row
        flight.seen = answer.records
        migrates = self._plan.migrate_guards or row.key in self.shelf.migrating
        self.shelf.migrating.discard(row.key)
        proofs = self._holders.proofs(row.name, row.guard) if migrates else ()
        found, what = judge(row, answer.records, answer.rcode != "NXDOMAIN", proofs, self._plan.accept_family)
        step = after_probe(row, found, what, self._mode)
        if step is not None:
            flight.guard = what if step is Step.MIGRATE else flight.guard
            self._next(flight, step, now, out)
        elif found == "cname":
            self._blocked(flight, f"a CNAME to {what}", now, out)
        else:
            self._conflict(flight, found, what, now, out)

    def _conflict(self, flight: Flight, found: str, what: str, now: Now, out: Output) -> None:
        """The name is another's."""
        row = flight.row
        self.shelf.forget(row)
        if found == "other" and self._haunted(row, what, flight.seen):
            row.chase = what
            self._again(flight, now, out, 0.0)
            return
        if found == "other" and self._holders.settle(row.name, what, now, out):
            self._again(flight, now, out, 0.0)
            return
        detail = f"its DHCID is {what}" if found == "other" else f"it has {what} and no DHCID"
        out.notes.append(Note(reasons.CONFLICT, now.wall, subject=row.name, detail=detail))
        if row.gen == flight.gen and self._holders.give_way(row.name, row.guard, now, out):
            self._again(flight, now, out, 0.0)
            return
        self._settle_down(flight, State.CONFLICT, detail, now, out)

    def _haunted(self, row: Row, guard: str, seen: Records) -> bool:
        """Whether a lost message of ours put there what stands in our way; something else under that DHCID is not ours to chase, nor
        is what the partner's client may have there."""
        addresses = {each for each in seen if each[0] in {"A", "AAAA"}}
        ghosts = [g for g in row.ghosts if g.guard == guard and (not addresses or (g.rtype, g.text) in addresses)]
        return bool(ghosts) and not self._holders.theirs(row, tuple(Value(g.rtype, g.text) for g in ghosts), guard)

    def _reread(self, flight: Flight, answer: DnsAnswer, now: Now, out: Output) -> None:
        """Before a row that was dirty before we were cut off replaces anything (ddns.md 4.6): a newer value is not overwritten."""
        row = flight.row
        self.cas.discard(row.key)
        what = newer(row, answer.records)
        if not what:
            self._judge(flight, answer, now, out)
            return
        out.notes.append(Note(reasons.NEWER, now.wall, subject=row.name, detail=what))
        self._settle_down(flight, State.CONFLICT, f"it shows {what}, which this server did not write", now, out)

    def _blocked(self, flight: Flight, what: str, now: Now, out: Output) -> None:
        self.shelf.forget(flight.row)  # nothing else can stand beside a CNAME
        out.notes.append(Note(reasons.BLOCKED, now.wall, subject=flight.row.name, detail=what))
        self._settle_down(flight, State.BLOCKED, what, now, out)

    def _settle_down(self, flight: Flight, state: State, why: str, now: Now, out: Output) -> None:
        """The row's own trouble: a slow retry, or none for a dead one."""
        row = flight.row
        self._land(flight)
        row.last_error = why
        if row.gen != flight.gen or row.owner == PEER:
            self.shelf.mark(row, now, out, "changed meanwhile")
            return
        self.shelf.rest(row, state, row.dirty_since)
        self.shelf.later(row, now, None if state is State.DEAD else CONFLICT_RETRY_S)
        self.shelf.write(row, out, state)
        self.shelf.wake(row, now, out)

    def _looked(self, flight: Flight, answer: DnsAnswer, now: Now, out: Output) -> None:
        """The partner's removal: the zone itself is its done-flag (safety.md 24)."""
        row = flight.row
        self._land(flight)
        if row.owner != PEER or row.want:
            self.shelf.mark(row, now, out, "changed meanwhile")
            return
        if row.kind == FORWARD:
            there = ("DHCID", row.held_guard) in answer.records
        else:
            there = not {v.text for v in row.drop()}.isdisjoint(text.lower() for _, text in answer.records)
        if not there:
            self.shelf.removed_there(row, now, out)
            return
        left = self._holders.left_behind(row)
        if left:
            out.notes.append(Note(reasons.LEFT, now.wall, subject=row.name))
            self.shelf.own(row, ME)
            self.shelf.mark(row, now, out, "the partner does not know it")
        elif left is False and row.word == REMOVED:
            # Ours came last, or the partner's is there anew: a ghost, also when the doubt ended with this round.
            row.recheck_at = row.recheck_at or now.wall
            self.shelf.removed_there(row, now, out)
        else:
            self.shelf.look_later(row, self._holders.addresses_of(row), now, PEER_LOOK_S if left is False else UNSURE_LOOK_S)
