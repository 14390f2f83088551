"""Everything in a relationship that waits for a time: `tick` does what is due, `deadline` says when the next thing is."""

from __future__ import annotations

from failoverd.failover import message as wire
from failoverd.failover import reasons, states
from failoverd.failover.balance_table import Trigger
from failoverd.failover.dialect import FACTS
from failoverd.failover.exchange import Exchange
from failoverd.failover.links import STEP_S
from failoverd.failover.message import ServerState
from failoverd.ports import LinkConnect, Now, Origin

S = ServerState
STAMP_S = 10.0  # operation stamp and last proven contact are durable at least this often (safety.md 11, 14)
LINK_STARTUP_S = 15.0  # a link without handshake is closed (failover-protocol.md 4.1)


class Timers(Exchange):
    """The timers of one relationship."""

    def tick(self, now: Now, commit_age_s: float) -> None:
        """Everything whose time has come; the last act of each step."""
        self.disk_age_s = commit_age_s
        if self.starting and now.mono >= self.startup_until and (self.link is None or self._waits_for_us()):
            self._communications_failed("no partner within 15 s of the start", now)
        self._tick_links(now)
        if self.heard_state and not self.updates.owed:
            self.names_wait_until = min(self.names_wait_until, now.mono)
        self.tell_first(now)
        if self.record.state is S.RECOVER_WAIT and not self.starting:
            drained = self.link is not None and self.heard_state and not self.updates.owed
            if now.wall >= self.record.recover_until and drained:
                self.move(S.RECOVER_DONE, "the wait is over", now, origin=Origin.TIMER)
        due = self.auto_partner_down_at
        if due is not None and now.mono >= due and self.link is None:
            self.partner_down(0, now, "auto-partner-down", "")
        if self.balance_at is not None and now.mono >= self.balance_at and self.link is not None:
            self._balance_run(now)
        if self._may_send_updates(now):
            self.updates.pump(self, self.offer.max_unacked, now)
            self._note_level(now)
        self._speak(now)
        if self._sent_now and self.link is not None:
            self.link.sent = now.mono
        self._sent_now = False
        if now.mono >= self.next_stamp:
            self._stamp(now)
        if self.owes_record:
            self.owes_record = False
            self.persist()

    def _may_send_updates(self, now: Now) -> bool:
        if self.link is None or not self.heard_state or self.starting:
            return False
        if self._judging() or self._hears_first(now):
            return False
        if (
            self.record.state is S.PARTNER_DOWN
            and self.terms.partner_is_dhcpd
            and self.record.partner_state not in states.RECOVERING
        ):
            # A dhcpd that is back and has not said recover may have renewed what ended here, and takes our EXPIRED up to 65 s too early
            # (6.3): its claims come first (safety.md 20).
            return self.updates.request is not None
        free_to_send = (S.NORMAL, S.PARTNER_DOWN, S.RECOVER_WAIT, S.RECOVER_DONE)
        return self.record.state in free_to_send or self.updates.request is not None

    def _judging(self) -> bool:
        """As secondary of a dhcpd in potential-conflict: its claims are coming, ours wait until they are judged (safety.md 20)."""
        record, terms = self.record, self.terms
        asked = record.state is S.POTENTIAL_CONFLICT and self.asked_all is not None
        return asked and terms.partner_is_dhcpd and not terms.primary and record.partner_state is not S.CONFLICT_DONE

    def _note_level(self, now: Now) -> None:
        """safety.md 9: longer MCLTs are history once both were normal for as long: what the partner granted so and never told has ended."""
        record = self.record
        both = record.state is S.NORMAL and record.partner_state is S.NORMAL
        waits_s = max(record.wait_mclt_s, record.forgot_s)
        long = now.wall - max(record.since, record.partner_since) >= waits_s
        if both and long and waits_s > record.mclt_s and not self.updates.owed:
            record.wait_mclt_s, record.forgot_s = record.mclt_s, 0
            self.persist()

    def _tick_links(self, now: Now) -> None:
        for pending in list(self.pending.values()):
            if now.mono - pending.opened >= LINK_STARTUP_S:
                self.close(pending, "no handshake within 15 s")
        link, delay = self.link, self.terms.max_response_delay_s
        if link is not None and now.mono - link.received >= delay:
            self.house.note(reasons.SILENT, now, subject=self.terms.name)
            self.drop("max-response-delay passed without a message", now)
        elif link is not None and now.mono >= self._stalled_at():
            self.judges_first = self.judges_first and not self._judging()
            self.house.note(reasons.STALLED, now, subject=self.terms.name, detail=self.state.words)
            self.drop("the partner does not go on", now)
        elif link is not None and self.disk_age_s >= delay:
            self.house.note(reasons.DISK_HANGS, now, subject=self.terms.name)
            self.drop("our disk hangs", now)
        elif link is not None and now.mono - link.sent >= self._contact_every() and self.disk_age_s <= delay / 3:
            self.send_at_once(link, wire.contact(int(now.wall), 0), now, fresh_xid=True)
        idle = self.link is None and not self.pending and not self.dialing and not self.stopping
        if idle and now.mono >= self.next_dial:
            self.dialing = True
            self.house.out.at_once.append(LinkConnect(self.terms.name))

    def _stalled_at(self) -> float:
        """When a linked partner has kept us waiting for too long: for its STATE, for what we asked for, for the next step of a resolution
        or a recovery, for the answer to an update. dhcpd has no limit and sits there for ever (10.2 #13, #14)."""
        assert self.link is not None
        at = self.link.progress + STEP_S if self._awaits_partner() else float("inf")
        oldest = self.updates.oldest_flight
        return at if oldest is None else min(at, oldest + STEP_S)

    def _waits_for_us(self) -> bool:
        """Our saved state is conflict-done, as primary, and the linked secondary may say nothing before that has ended (safety.md 21): the
        startup must end, as dhcpd's does, or both wait as long as anything else keeps the link alive (simulator, seed 803)."""
        return self.terms.primary and self.record.state is S.CONFLICT_DONE and not self.heard_state

    def _awaits_partner(self) -> bool:
        """Its STATE, what we asked for, or a state in which it moves next; but one that is recovering, or at rest, takes its time."""
        if not self.heard_state or self.asked_all is not None:
            return True
        waiting = self.record.state in (S.POTENTIAL_CONFLICT, S.CONFLICT_DONE, S.RECOVER_DONE) and not self.starting
        return waiting and self.record.partner_state not in (S.RECOVER, S.RECOVER_WAIT, S.PAUSED, S.SHUTDOWN)

    def _stamp(self, now: Now) -> None:
        """Operation stamp and last proven contact become durable (safety.md 11, 14)."""
        self.next_stamp = now.mono + STAMP_S
        self._watch_certificates(now)
        serving = self.rights(now).serve
        if serving:
            self.record.operated = int(now.wall)
        if serving or self.link is not None:
            self.persist()
        if self.link is not None and self.dialect >= FACTS:
            self.send(wire.contact(int(now.wall), self.next_xid()))  # how far our database has come

    def _balance_run(self, now: Now) -> None:
        self.balance_at = None
        self.balance(Trigger.TIMER, now)

    def client_refused(self, now: Now) -> None:
        """A client was refused because only the partner has free addresses: ask for some now, not at the next balance."""
        if self.record.partner_state is S.NORMAL and self.heard_state and now.mono >= self.next_poolreq:
            self.balance(Trigger.REFUSED, now)

    def deadline(self, now: Now) -> float:
        """The mono time of the next thing that `tick` wants to do."""
        times = [now.mono if self.speaks else self.next_stamp]
        if self.starting and (self.link is None or self._waits_for_us()):
            times.append(self.startup_until)
        times.extend(p.opened + LINK_STARTUP_S for p in self.pending.values())
        if self.link is not None:
            times.append(min(self.link.received + self.terms.max_response_delay_s, self.link.sent + self._contact_every()))
            times.append(self._stalled_at())
        elif not self.pending and not self.dialing:
            times.append(self.next_dial)
        if self.record.state is S.RECOVER_WAIT:
            times.append(now.mono + max(self.record.recover_until - now.wall, 0.2))
        times.extend(t for t in (self.auto_partner_down_at, self.balance_at) if t is not None)
        times.extend(self.updates.retries.values() if self._may_send_updates(now) else ())
        times.extend([self.names_wait_until] if self.names_wait(now) else [])
        times.extend([self.hears_until] if self.link is not None and self._hears_first(now) else [])
        return min(times)
