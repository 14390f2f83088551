"""How a relationship moves between its states, and what it tells and asks the partner at each step (failover-protocol.md 5.3 to 5.6).

Every decision is a cell of states.py, which epochs or what is still to be told may put off; here stands what the cell's action does.
safety.md 12 to 17 and 21.
"""

from __future__ import annotations

import json
from dataclasses import replace

from failoverd.failover import message as wire
from failoverd.failover import private, reasons, states, waits
from failoverd.failover.agreement import Agreement
from failoverd.failover.balance_table import GIVES, ON_TRIGGER, Asks, Trigger
from failoverd.failover.dialect import EPOCHS
from failoverd.failover.message import Message, OptionCode, ServerFlag, ServerState
from failoverd.failover.standing import NAMES_WAIT_S
from failoverd.failover.states import Action, Cell, Entry, Peer
from failoverd.leases.lease import BindingState
from failoverd.ports import Kind, Now, Origin, Write

S = ServerState
POOLREQ_S = 5.0  # between two POOLREQs, for refused clients


class Transitions(Agreement):
    """The state machine of one relationship."""

    # --- what is said about it --------------------------------------------------------------------------------------------

    def _send_state(self, now: Now) -> None:
        self.owes_state = False
        flags = ServerFlag.STARTUP if self.starting else ServerFlag.NONE
        said = wire.state(int(now.wall), self.next_xid(), state=self.record.state, flags=flags, since=self.record.since)
        if self.dialect >= EPOCHS:
            said.options.append((private.EPOCH, private.encode_epoch(self.record.epoch)))
        self.send(said)

    def _ask(self, everything: bool, now: Now) -> None:
        if self.link is None or (self.asked_all is not None and self.asked_all >= everything):
            return
        self.asked_all = everything
        self.link.progress = now.mono
        make = wire.updreqall if everything else wire.updreq
        self.send(make(int(now.wall), self.next_xid()))

    @property
    def _forgetful(self) -> bool:
        """Whether this database is not the earlier one. In conflict resolution it then asks for everything: what was lost with it the
        partner owes nobody (safety.md 15; a dhcpd whose UPDREQALL is pending does the same, failover-protocol.md 5.3 step 7)."""
        return self.boot.restored or self.record.virgin_database

    def _first_state(self, in_conflict_done: bool, now: Now) -> None:
        """What the partner hears first of us on this link. `in_conflict_done`: the partner is, and a dhcpd there ends on recover."""
        if self._forgot_in_partner_down(now) and not in_conflict_done:
            self.move(
                S.RECOVER, "what this server granted before its database was lost is forgotten: the partner must hear of it", now
            )
        else:
            self._send_state(now)

    def _forgot_in_partner_down(self, now: Now) -> bool:
        """Whether this server was told partner-down without its earlier database, and leases that it granted before may run still. To the
        partner partner-down says nothing of the loss; recover does, and both keep what the lost disk may have held (safety.md 15)."""
        lost_s = waits.forgotten_for(self.record, self.boot)
        return self.record.state is S.PARTNER_DOWN and bool(lost_s) and now.wall < self.boot.wall + lost_s + self.slack_s

    # --- what the partner says --------------------------------------------------------------------------------------------

    def _on_state(self, message: Message, now: Now) -> None:
        peer = states.peer_state(message.u8(OptionCode.SERVER_STATE))
        flags = message.u8(OptionCode.SERVER_FLAGS) or 0
        record = self.record
        again, self.heard_state = self.heard_state, True
        ends = peer is S.CONFLICT_DONE and self.terms.partner_is_dhcpd  # by most of what it could hear
        if self.owes_state and (not ends or record.state in states.SAFE_IN_CONFLICT_DONE):
            self._first_state(ends, now)
        me = self.state
        if not flags & ServerFlag.STARTUP:
            self._hears_state(peer, now)
        if self.dialect >= EPOCHS:
            self._hear_epoch(message)
        if peer is record.partner_state and me in states.IGNORES_DUPLICATE:
            self._proven(message, now)
            if self._agree():
                self.persist()
            return
        cell = self._cell(me, peer, startup_flag=bool(flags & ServerFlag.STARTUP))
        cell, why = self._ruled_by_epoch(cell, peer)
        if cell.note:
            self.house.note(cell.note, now, subject=self.terms.name, detail=peer.words if peer is not None else str(flags))
        if cell.action is Action.REFUSE or peer is None:
            self.drop("the partner's state cannot be", now)
            return
        self._proven(message, now)
        cell = self._told_first(cell, peer)
        if peer not in (S.UNKNOWN, S.STARTUP):
            lost = waits.past_bound(record, now.wall) and peer is S.RECOVER  # it may have lost what it granted in partner-down
            if lost and record.partner_down_since:
                record.partner_down_since = int(now.wall)  # and until now: the waits begin anew (simulator, seed 11829)
            record.wait_all, record.doubt = record.wait_all or lost, None
        if peer is not record.partner_state:
            self.house.note(
                reasons.PARTNER_MOVED, now, subject=self.terms.name, detail=f"{record.partner_state.words} -> {peer.words}"
            )
            record.partner_since = int(now.wall)
            self._remember(f"partner: {record.partner_state.words} -> {peer.words}", "it says so", now, "", Origin.PARTNER)
        knows = (S.NORMAL, S.COMMUNICATIONS_INTERRUPTED, S.PAUSED, S.SHUTDOWN, *states.CONFLICTING)
        # Also while we recover, from an earlier partner-down of its (simulator, seed 18657): what it gave then, and lost, nobody knows.
        recovers = record.state in states.RECOVERING and not record.virgin_database
        if peer is S.RECOVER and (record.state in knows or recovers):
            if not self._forgetful:  # one that has lost nothing follows into recover, from conflict resolution
                self.house.note(reasons.AMNESIA, now, subject=self.terms.name)
            self.house.rest_all(self.terms.name, now)
        elif peer is S.RECOVER and record.state is S.PARTNER_DOWN and not (again and peer is record.partner_state):
            self.house.rest_all(self.terms.name, now)  # whether it has its database nobody says: its acks free nothing early
        record.partner_state = peer
        self.persist()
        if cell.action in (Action.MOVE, Action.PUSH_MOVE) and cell.next is not None:
            if cell.action is Action.PUSH_MOVE:
                if cell.next is S.NORMAL:
                    self.house.take_back_ends(self.terms.name, now)
                self.updates.owe_all_unacked()
                if not self._hears_first(now):
                    self.updates.pump(self, self.offer.max_unacked, now)
            self.move(cell.next, why or f"the partner is in {peer.words}", now)
        elif cell.action is Action.UPDREQALL:
            self._ask(True, now)
        elif cell.action is Action.UPDREQ:
            self._ask(self._forgetful, now)
        if peer is S.NORMAL:
            self.balance(Trigger.PARTNER_NORMAL, now)
        if self._agree():
            self.persist()

    def _cell(self, me: ServerState, peer: Peer, *, startup_flag: bool) -> Cell:
        dhcpd, saved = self.terms.partner_is_dhcpd, self.record.state
        return states.on_state(me, peer, saved=saved, startup_flag=startup_flag, dhcpd=dhcpd, forgetful=self._forgetful)

    def _told_first(self, cell: Cell, peer: ServerState) -> Cell:
        """Out of partner-down only when the partner, which has recovered, knows all that we gave until now: its own free addresses are
        among them, and it gives them as soon as it hears our normal (simulator, seed 10184: a slow link, one BNDUPD at a time). And when
        we, if we had lost our database, have heard what it knows (seed 3014: what it had handed to us was nobody's)."""
        self.leaving = False
        if self.record.state is not S.PARTNER_DOWN or peer is not S.RECOVER_DONE or cell.next is not S.NORMAL:
            return cell
        used = (BindingState.ACTIVE, BindingState.ABANDONED)
        owed = (*self.updates.queue, *self.updates.in_flight)
        self.returning = {address for address in owed if self.house.table.get(address).state in used}
        asks = self._forgetful and self.asked_all is None
        self.leaving = asks or bool(self.returning) or self.asked_all is not None
        if asks:
            return Cell(Action.UPDREQALL, why="it has what was forgotten here")
        return Cell(Action.STAY, why="it is told first what we gave") if self.leaving else cell

    def tell_first(self, now: Now) -> None:
        """Once a step: whether the partner knows everything now, and we do."""
        if not self.leaving:
            return
        self.returning = self.updates.untold(self.returning)
        if not self.returning and self.asked_all is None:
            self.leaving = False
            if self.record.state is S.PARTNER_DOWN:
                self.move(S.NORMAL, "the partner has recovered and knows what we gave", now)

    def _on_upddone(self, now: Now) -> None:
        if self.asked_all is None:
            return  # 10.2 #16: the marker of an earlier link may answer
        self.asked_all = None
        cell = states.on_upddone(self.record.state, primary=self.terms.primary, partner=self.record.partner_state)
        if cell.action is Action.REFUSE:
            self.drop("UPDDONE cannot be", now)
        elif cell.action is Action.MOVE and cell.next is not None:
            why = "the partner's updates are complete"
            if self._forgetful:
                self.house.rest_all(self.terms.name, now)  # safety.md 15: both keep what was played back
            # A wait that is over already is not announced: dhcpd in communications-interrupted would take 254 for normal (5.4).
            no_wait = cell.next is S.RECOVER_WAIT and self._recover_until(now)[0] <= now.wall and not self.updates.owed
            self.move(S.RECOVER_DONE if no_wait else cell.next, why, now)

    # --- moving -----------------------------------------------------------------------------------------------------------

    def move(self, new: ServerState, why: str, now: Now, who: str = "", origin: Origin = Origin.PARTNER) -> None:
        """Enter a state (5.3): persist, tell the partner, do the entry action. Entering the saved state ends the startup."""
        record, old, was_starting = self.record, self.record.state, self.starting
        if self.rights(now).serve:
            record.operated = int(now.wall)  # until here grants were made: recover-wait counts from the last of them (safety.md 14)
        if old in (S.NORMAL, S.POTENTIAL_CONFLICT, S.PARTNER_DOWN) and new is not old and not was_starting:
            self.updates.requeue()
        self.starting = False
        self.auto_partner_down_at = None
        if new is not old:
            if new not in states.KEEPS_SINCE:
                record.since = int(now.wall)
            record.state = new
            detail = f"{'startup, saved ' if was_starting else ''}{old.words} -> {new.words}: {why}"
            self.house.note(reasons.STATE_CHANGED, now, subject=self.terms.name, detail=detail)
        if new is not old or was_starting:
            self._remember(f"{(S.STARTUP if new is old else old).words} -> {new.words}", why, now, who, origin)
        self._enter(new, old, now)
        if self.rights(now).serve:
            record.operated = int(now.wall)  # from here on grants may be lost with this record (safety.md 14)
        self.persist()
        if self.link is not None:
            self.link.progress = now.mono  # a step has its time from its beginning
            self._send_state(now)
        self._on_entry(new, now)
        self.house.state_moved(self.terms.name, old, new, now)

    def _remember(self, what: str, why: str, now: Now, who: str, origin: Origin) -> None:
        """One line of `failoverctl history`."""
        event = {"what": what, "subject": self.terms.name, "who": who, "why": why, "wall": now.wall}
        self.house.out.writes.append(Write(Kind.EVENT, self.terms.name.encode(), json.dumps(event), origin, why))

    def _recover_until(self, now: Now) -> tuple[int, bool]:
        return waits.recover_until(self.record, self.boot, self.terms.partner_is_dhcpd, now.wall)

    def _enter(self, new: ServerState, old: ServerState, now: Now) -> None:
        """What the record itself says of the new state."""
        record = self.record
        if new is S.PARTNER_DOWN and (old is not S.PARTNER_DOWN or not record.partner_down_since):
            record.epoch = min(record.epoch + 1, private.NEWEST_EPOCH)
            record.partner_down_since = int(now.wall)
            late = now.wall + self.clocks.set_back_s
            record.wait_all = record.wait_all or waits.partner_may_hold_our_half(
                record, old, self.boot, late, attested=self.attested
            )
            record.forgot_s = max(record.forgot_s, waits.forgotten_for(record, self.boot))
            self.tried_since_boot = True
        elif new is not S.PARTNER_DOWN:
            record.partner_down_since, record.wait_all, self.leaving = 0, False, False
        if new is S.RECOVER_WAIT:
            record.recover_until, unattested = self._recover_until(now)
            if unattested:
                self.house.note(reasons.UNATTESTED, now, subject=self.terms.name)
        if new is S.COMMUNICATIONS_INTERRUPTED and old is S.NORMAL:
            self._left_normal()
        if new is S.NORMAL:
            self.names_wait_until = now.mono + NAMES_WAIT_S
            record.beyond = False  # what the partner says now it says without having been in partner-down since (safety.md 17)
            record.recover_until, record.new_pair, record.virgin_database = 0, False, False
            self.judges_first = True
            self.boot = replace(self.boot, restored=False)  # what an older database had forgotten is here again

    def _on_entry(self, new: ServerState, now: Now) -> None:
        entry = states.ON_ENTRY[new]
        if entry is Entry.BALANCE:
            self.updates.owe_all_unacked()
            self.balance(Trigger.ENTRY, now)
        elif entry is Entry.AUTO_PARTNER_DOWN and self.link is None:
            self._arm_auto_partner_down(now)
        elif entry is Entry.UPDREQ:
            if states.asks_on_conflict(
                primary=self.terms.primary,
                partner=self.record.partner_state,
                partner_is_dhcpd=self.terms.partner_is_dhcpd and self.judges_first,
            ):
                self._ask(self._forgetful, now)
        elif entry is Entry.UPDREQALL:
            self._ask(True, now)

    def _communications_failed(self, reason: str, now: Now) -> None:
        after = states.on_loss(self.state, self.record.state)
        if self.starting or after is not self.record.state:
            self.move(after, reason, now)
        else:
            self._arm_auto_partner_down(now)

    def _arm_auto_partner_down(self, now: Now) -> None:
        """It counts from the last contact: a link, even one that did not lead to normal, is a sign of life. A partner that was taken out of
        service by an operator is not dead."""
        announced = self.record.partner_state is S.PAUSED
        if self.record.state is S.COMMUNICATIONS_INTERRUPTED and self.terms.auto_partner_down_s and not announced:
            self.auto_partner_down_at = now.mono + self.terms.auto_partner_down_s

    # --- the operator declares it ----------------------------------------------------------------------------------------

    def partner_down(self, since: int, now: Now, why: str, who: str) -> None:
        """Declare the partner down (safety.md 12). The caller has checked that there is no contact. `since`: 0, or when the partner
        was certainly dead. Declared in doubt whose bound has passed, or without the leases of before
        (safety.md 15, 16), every address that is not ACTIVE waits."""
        self.record.wait_all = self.record.wait_all or waits.past_bound(self.record, now.wall + self.clocks.set_back_s)
        if self.doubt is not None:
            self.record.partner_down_since = 0  # what was declared before the doubt is void, the waits begin anew
        self.record.doubt = None
        self.move(S.PARTNER_DOWN, why, now, who, Origin.OPERATOR)
        if since:
            self.record.partner_down_since = since
        self.persist()
        self.house.state_moved(self.terms.name, S.PARTNER_DOWN, S.PARTNER_DOWN, now)

    # --- pool balance (8) -------------------------------------------------------------------------------------------------

    def balance(self, trigger: Trigger, now: Now) -> tuple[int, bool]:
        """What a trigger may do, and in which state (balance_table): how many addresses were handed over, and whether the partner was asked
        for some."""
        if not GIVES[self.state] or self.link is None:
            return 0, False
        cell, moved, short = ON_TRIGGER[trigger, self.terms.primary], 0, False
        if cell.gives or cell.asks is not Asks.NEVER:
            moved, short = self.updates.rebalance(trigger, self.rights(now), now)
        if cell.schedules:
            self._schedule_balance(now)
        if short:
            self.next_poolreq = now.mono + POOLREQ_S
            self.send_at_once(self.link, wire.poolreq(int(now.wall), 0), now, fresh_xid=True)
            self.house.note(reasons.POOL_ASKED, now, subject=self.terms.name)
        return moved, short

    def free_changed(self, now: Now) -> None:
        """An address left FREE or BACKUP: the next balance may be due earlier (8.4)."""
        if self.balance_at is not None:  # the partner was in normal
            self.balance(Trigger.LEFT_FREE, now)

    def _schedule_balance(self, now: Now) -> None:
        wait = max(self.updates.next_balance(int(now.wall)) - now.wall, 0.0)
        due = now.mono + wait + (self.rng.random() * 4 if wait else 0.0)
        if self.balance_at is None or due < self.balance_at:
            self.balance_at = due
