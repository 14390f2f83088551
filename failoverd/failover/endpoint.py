"""One relationship: its links, its timers, its state. draft-12 5, 9 as failover-protocol.md 4 and 5 tell; safety.md 4, 5, 9 to 17.

Decides what each message and each timer does to the state, through the tables of states.py; knows no socket and no packet of a client.
"""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random

from failoverd.failover import message as wire
from failoverd.failover import reasons, states, waits
from failoverd.failover.links import RETRY_S, STALLED, STEP_S, EndpointHouse, Links
from failoverd.failover.message import Message, MessageType, OptionCode, ServerFlag, ServerState
from failoverd.failover.record import BootFacts, RelationshipRecord
from failoverd.failover.states import Action, Entry, Service
from failoverd.failover.terms import Terms
from failoverd.failover.updates import POOL_ANSWER, POOL_ASKED, Updates
from failoverd.leases.lease import BindingState
from failoverd.leases.rights import Rights
from failoverd.ports import Kind, LinkClose, LinkConnect, Now, Origin, Write

S = ServerState
STAMP_S = 10.0  # operation stamp and last proven contact are durable at least this often (safety.md 11, 14)
LINK_STARTUP_S = 15.0  # a link without handshake is closed (failover-protocol.md 4.1)
RESTART_GRACE_S = 60  # a survivor in partner-down that was away for less goes on as before (safety.md 12)


class Endpoint(Links):
    """One relationship of this server."""

    def __init__(
        self,
        terms: Terms,
        record: RelationshipRecord,
        house: EndpointHouse,
        updates: Updates,
        rng: Random,
        now: Now,
        boot: BootFacts,
    ) -> None:
        """A starting endpoint; `record` as it was on disk, or a new one. Nothing is sent before the first `tick`."""
        super().__init__(terms, record, house, updates, rng, now)
        self.boot = boot
        self.heard_state = False  # the partner's STATE was received on this link
        self.asked_all: bool | None = None  # our outstanding UPDREQ (False) or UPDREQALL (True) on this link
        self.tried_since_boot = False
        self.starting = record.state is not S.PARTNER_DOWN
        self.startup_until = now.mono + states.STARTUP_S
        self.clock_ok = True
        self.disk_age_s = 0.0
        self.auto_partner_down_at: float | None = None
        self.next_stamp = now.mono
        self.balance_at: float | None = None
        self.stopping = False
        record.mclt_s = record.mclt_s or terms.mclt_s
        if terms.primary:
            record.mclt_s = terms.mclt_s
        record.wait_mclt_s = max(record.wait_mclt_s, record.mclt_s)
        if record.hba and not terms.primary:
            self.updates.hba = bytes.fromhex(record.hba)
        if boot.restored and record.state is not S.RECOVER:
            record.state, record.since = S.RECOVER, int(now.wall)  # safety.md 15: the partner plays back what was lost
            self.starting = True
        self._enter_doubt_at_boot(now)

    def _enter_doubt_at_boot(self, now: Now) -> None:
        """safety.md 11 and 12: after a boot the last proven contact bounds what may be granted, until the partner is heard. A survivor's
        short restart ends no doubt: it operated meanwhile, but under the bound."""
        if self.record.state is S.PARTNER_DOWN:
            if now.wall - self.record.operated > RESTART_GRACE_S or self.doubt is not None:
                self._doubt(self.record.operated, now)
            else:
                self.tried_since_boot = True
        elif self.record.state in (S.NORMAL, S.COMMUNICATIONS_INTERRUPTED):
            self._doubt(self.record.proven, now)
        else:
            self.record.doubt = None

    def _doubt(self, contact: int, now: Now) -> None:
        bound = contact - self.slack_s
        self.record.doubt = None if self.terms.lone_boot_serve else bound if self.doubt is None else min(bound, self.doubt)
        if self.doubt is not None:
            until = self.doubt + self.record.mclt_s
            self.house.note(reasons.DOUBT, now, subject=self.terms.name, detail=f"new grants end by {until}")

    @property
    def doubt(self) -> int | None:
        """The bound of a lone boot (safety.md 11); None when not in doubt."""
        return self.record.doubt

    # --- what others ask --------------------------------------------------------------------------------------------------

    @property
    def state(self) -> ServerState:
        """Our state as it acts: startup while starting."""
        return S.STARTUP if self.starting else self.record.state

    def rights(self, now: Now) -> Rights:
        """What this server may do for the clients of this relationship now."""
        service = states.service(self.state, self.record.partner_state)
        down = service is Service.PARTNER_DOWN
        alone = down or service is Service.NOT_COOPERATING
        own = BindingState.FREE if self.terms.primary else BindingState.BACKUP
        may = self.doubt is None or self.doubt + self.record.mclt_s > now.wall
        frozen = self.doubt is not None and not self.clock_ok
        return Rights(
            serve=alone or service is Service.COOPERATING,
            why=self._why_silent(service),
            primary=self.terms.primary,
            balanced=service is Service.COOPERATING,
            own=own,
            may_allocate=may and not frozen,
            partner_down_since=self.record.partner_down_since if down and self.tried_since_boot else None,
            wait_all=down and self.record.wait_all,
            mclt_s=self.record.mclt_s,
            wait_mclt_s=max(self.record.wait_mclt_s, self.record.mclt_s),
            bound=self.doubt,
            bound_end=self.terms.partner_is_dhcpd,
            slack_s=self.slack_s,
            expire=(self.terms.primary and service is Service.COOPERATING) or alone,
            rewind=service is Service.NOT_COOPERATING or down,
            frozen=frozen,
        )

    def _why_silent(self, service: Service) -> str:
        if service is Service.STARTUP:
            return reasons.STARTING
        if self.record.state in (S.RECOVER, S.RECOVER_WAIT, S.RECOVER_DONE):
            return reasons.RECOVERING
        if self.record.state in (S.POTENTIAL_CONFLICT, S.CONFLICT_DONE, S.RESOLUTION_INTERRUPTED):
            return reasons.RESOLVING
        return reasons.NOT_SERVING

    def clock_state(self, synchronised: bool) -> None:
        """What the kernel says of the wall clock (safety.md 10)."""
        self.clock_ok = synchronised

    def beat_gap(self, now: Now) -> None:
        """This process was not running for longer than max-response-delay: a lost link and a lone boot (safety.md 5)."""
        contact = self.record.operated if self.record.state is S.PARTNER_DOWN else self.record.proven
        self.tried_since_boot = False
        if self.record.state in (S.NORMAL, S.COMMUNICATIONS_INTERRUPTED, S.PARTNER_DOWN):
            self._doubt(contact, now)

    def connect_failed(self, reason: str, now: Now) -> None:
        """Nobody answered. The next attempt comes in about 2 s."""
        self.dialing = False
        self.tried_since_boot = True
        self.next_dial = now.mono + RETRY_S * (0.75 + self.rng.random() / 2)
        self.house.note(reasons.CONNECT_FAILED, now, subject=self.terms.name, detail=reason)

    def _communications_failed(self, reason: str, now: Now) -> None:
        after = states.on_loss(self.state, self.record.state)
        if self.starting or after is not self.record.state:
            self.move(after, reason, now)
        else:
            self._arm_auto_partner_down(now)

    def _arm_auto_partner_down(self, now: Now) -> None:
        """It counts from the last contact: a link, even one that did not lead to normal, is a sign of life."""
        if self.record.state is S.COMMUNICATIONS_INTERRUPTED and self.terms.auto_partner_down_s:
            self.auto_partner_down_at = now.mono + self.terms.auto_partner_down_s

    def _send_state(self, now: Now) -> None:
        self.owes_state = False
        flags = ServerFlag.STARTUP if self.starting else ServerFlag.NONE
        self.send(wire.state(int(now.wall), self.next_xid(), state=self.record.state, flags=flags, since=self.record.since))

    def _ask(self, everything: bool, now: Now) -> None:
        if self.link is None or (self.asked_all is not None and self.asked_all >= everything):
            return
        self.asked_all = everything
        self.link.progress = now.mono
        make = wire.updreqall if everything else wire.updreq
        self.send(make(int(now.wall), self.next_xid()))

    # --- what the links report --------------------------------------------------------------------------------------------

    def on_established(self, now: Now) -> None:
        """safety.md 21: a secondary that does not know the primary's state waits for it before it sends its own."""
        self.persist()
        self.auto_partner_down_at = None
        if not self.terms.primary and self.record.partner_state is S.UNKNOWN:
            self.owes_state = True
        else:
            self._send_state(now)

    def on_lost(self, reason: str, now: Now) -> None:
        """5.5: un-acked updates are owed again, a request of the partner's dies with the link."""
        self.heard_state = False
        self.asked_all = None
        self.balance_at = None
        self.updates.link_lost()
        self._communications_failed(reason, now)

    def on_message(self, message: Message, now: Now) -> None:
        """What a message on the established link asks of us."""
        kind = message.kind
        normal = self.record.state is S.NORMAL and not self.starting
        if kind == MessageType.BNDUPD:
            self.updates.told(message, self.rights(now), normal, self, now)
        elif kind == MessageType.BNDACK:
            self.updates.acked(message, self.rights(now), now)
        elif kind == MessageType.STATE:
            self._on_state(message, now)
        elif kind in (MessageType.UPDREQ, MessageType.UPDREQALL):
            self.updates.asked(message.xid, kind == MessageType.UPDREQALL)
        elif kind == MessageType.UPDDONE:
            self._on_upddone(now)
        elif kind == MessageType.POOLREQ:
            moved = self.updates.rebalance(now)[0] if normal else 0
            self.send(wire.poolresp(int(now.wall), message.xid, moved))
            self.house.note(reasons.POOL_REQUEST_ANSWERED, now, subject=self.terms.name, detail=str(moved))
        elif kind == MessageType.POOLRESP:
            count = str(message.u32(OptionCode.ADDRESSES_TRANSFERRED) or 0)
            self.house.note(POOL_ANSWER, now, subject=self.terms.name, detail=count)
        elif kind != MessageType.CONTACT:
            self.house.note(reasons.IGNORED, now, subject=self.terms.name, detail=f"type {kind}")

    # --- the state machine ------------------------------------------------------------------------------------------------

    def _on_state(self, message: Message, now: Now) -> None:
        peer = states.peer_state(message.u8(OptionCode.SERVER_STATE))
        flags = message.u8(OptionCode.SERVER_FLAGS) or 0
        record, me = self.record, self.state
        self.heard_state = True
        if self.owes_state:
            self._send_state(now)
        if peer is record.partner_state and me in states.IGNORES_DUPLICATE:
            return
        cell = states.on_state(me, peer, saved=record.state, startup_flag=bool(flags & ServerFlag.STARTUP))
        if cell.note:
            self.house.note(cell.note, now, subject=self.terms.name, detail=peer.words if peer is not None else str(flags))
        if cell.action is Action.REFUSE or peer is None:
            self.drop("the partner's state cannot be", now)
            return
        if peer not in (S.UNKNOWN, S.STARTUP):
            lost = waits.past_bound(record, now.wall) and peer is S.RECOVER  # it may have lost what it granted in partner-down
            record.wait_all, record.doubt = record.wait_all or lost, None
        if peer is not record.partner_state:
            self.house.note(
                reasons.PARTNER_MOVED, now, subject=self.terms.name, detail=f"{record.partner_state.words} -> {peer.words}"
            )
            record.partner_since = int(now.wall)
        if peer is S.RECOVER and record.state in (S.NORMAL, S.COMMUNICATIONS_INTERRUPTED):
            self.house.note(reasons.AMNESIA, now, subject=self.terms.name)
            self.house.rest_all(self.terms.name, now)
        elif peer is S.RECOVER and record.state is S.PARTNER_DOWN and peer is not record.partner_state:
            self.house.rest_all(self.terms.name, now)  # whether it has its database nobody says: its acks free nothing early
        record.partner_state = peer
        self.persist()
        if cell.action in (Action.MOVE, Action.PUSH_MOVE) and cell.next is not None:
            if cell.action is Action.PUSH_MOVE:
                self.updates.owe_all_unacked()
                self.updates.pump(self, self.offer.max_unacked, now)
            self.move(cell.next, f"the partner is in {peer.words}", now)
        elif cell.action is Action.UPDREQALL:
            self._ask(True, now)
        elif cell.action is Action.UPDREQ:
            self._ask(False, now)
        if record.state is S.NORMAL and peer is S.NORMAL:
            self._schedule_balance(now)

    def _on_upddone(self, now: Now) -> None:
        if self.asked_all is None:
            return  # 10.2 #16: the marker of an earlier link may answer
        self.asked_all = None
        cell = states.on_upddone(self.record.state, primary=self.terms.primary, partner=self.record.partner_state)
        if cell.action is Action.REFUSE:
            self.drop("UPDDONE cannot be", now)
        elif cell.action is Action.MOVE and cell.next is not None:
            why = "the partner's updates are complete"
            if self.boot.restored or self.record.virgin_database:
                self.house.rest_all(self.terms.name, now)  # safety.md 15: both keep what was played back
            # A wait that is over already is not announced: dhcpd in communications-interrupted would take 254 for normal (5.4).
            no_wait = cell.next is S.RECOVER_WAIT and self._recover_until(now)[0] <= now.wall and not self.updates.owed
            self.move(S.RECOVER_DONE if no_wait else cell.next, why, now)

    def move(self, new: ServerState, why: str, now: Now, who: str = "", origin: Origin = Origin.PARTNER) -> None:
        """Enter a state (5.3): persist, tell the partner, do the entry action. Entering the saved state ends the startup."""
        record, old, was_starting = self.record, self.record.state, self.starting
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
            event = {"what": f"{old.words} -> {new.words}", "subject": self.terms.name, "who": who, "why": why, "wall": now.wall}
            self.house.out.writes.append(Write(Kind.EVENT, self.terms.name.encode(), json.dumps(event), origin, why))
        self._enter(new, old, now)
        self.persist()
        if self.link is not None:
            self._send_state(now)
        self._on_entry(new, now)
        self.house.state_moved(self.terms.name, old, new, now)

    def _recover_until(self, now: Now) -> tuple[int, bool]:
        return waits.recover_until(self.record, self.boot, self.terms.partner_is_dhcpd, now.wall)

    def _enter(self, new: ServerState, old: ServerState, now: Now) -> None:
        """What the record itself says of the new state."""
        record = self.record
        if new is S.PARTNER_DOWN and (old is not S.PARTNER_DOWN or not record.partner_down_since):
            record.epoch += 1
            record.partner_down_since = int(now.wall)
            record.wait_all = record.wait_all or waits.partner_may_hold_our_half(record, old, self.boot, now.wall)
            self.tried_since_boot = True
        elif new is not S.PARTNER_DOWN:
            record.partner_down_since, record.wait_all = 0, False
        if new is S.RECOVER_WAIT:
            record.recover_until, unattested = self._recover_until(now)
            if unattested:
                self.house.note(reasons.UNATTESTED, now, subject=self.terms.name)
        if new is S.NORMAL:
            record.recover_until, record.new_pair, record.virgin_database = 0, False, False
            self.boot = replace(self.boot, restored=False)  # what an older database had forgotten is here again

    def _on_entry(self, new: ServerState, now: Now) -> None:
        entry = states.ON_ENTRY[new]
        if entry is Entry.BALANCE:
            self.updates.owe_all_unacked()
            if self.link is not None:
                self.updates.rebalance(now)
        elif entry is Entry.AUTO_PARTNER_DOWN and self.link is None:
            self._arm_auto_partner_down(now)
        elif entry is Entry.UPDREQ:
            if states.asks_on_conflict(primary=self.terms.primary, partner=self.record.partner_state):
                self._ask(False, now)
        elif entry is Entry.UPDREQALL:
            self._ask(True, now)

    def persist(self) -> None:
        """The record is part of this step's commit."""
        self.record.generation += 1
        self.house.out.writes.append(
            Write(Kind.RELATIONSHIP, self.terms.name.encode(), self.record.to_json(), Origin.TIMER, "record")
        )

    # --- time -------------------------------------------------------------------------------------------------------------

    def tick(self, now: Now, commit_age_s: float) -> None:
        """Everything whose time has come; the last act of each step."""
        self.disk_age_s = commit_age_s
        if self.starting and now.mono >= self.startup_until and self.link is None:
            self._communications_failed("no partner within 15 s of the start", now)
        self._tick_links(now)
        if self.record.state is S.RECOVER_WAIT and not self.starting:
            drained = self.link is not None and self.heard_state and not self.updates.owed
            if now.wall >= self.record.recover_until and drained:
                self.move(S.RECOVER_DONE, "the wait is over", now, origin=Origin.TIMER)
        due = self.auto_partner_down_at
        if due is not None and now.mono >= due and self.link is None:
            self.partner_down(0, now, "auto-partner-down", "")
        if self.balance_at is not None and now.mono >= self.balance_at and self.link is not None:
            self._balance_run(now)
        if self._may_send_updates():
            self.updates.pump(self, self.offer.max_unacked, now)
            self._note_level(now)
        if self._sent_now and self.link is not None:
            self.link.sent = now.mono
        self._sent_now = False
        if now.mono >= self.next_stamp:
            self._stamp(now)

    def _may_send_updates(self) -> bool:
        if self.link is None or not self.heard_state or self.starting:
            return False
        free_to_send = (S.NORMAL, S.PARTNER_DOWN, S.RECOVER_WAIT, S.RECOVER_DONE)
        return self.record.state in free_to_send or self.updates.request is not None

    def _note_level(self, now: Now) -> None:
        """safety.md 9: longer MCLTs are history once both were normal for as long: what the partner granted so and never told has ended."""
        record = self.record
        both = record.state is S.NORMAL and record.partner_state is S.NORMAL
        long = now.wall - max(record.since, record.partner_since) >= record.wait_mclt_s
        if both and long and record.wait_mclt_s > record.mclt_s and not self.updates.owed:
            record.wait_mclt_s = record.mclt_s
            self.persist()

    def _tick_links(self, now: Now) -> None:
        for pending in list(self.pending.values()):
            if now.mono - pending.opened >= LINK_STARTUP_S:
                self.close(pending, "no handshake within 15 s")
        link, delay = self.link, self.terms.max_response_delay_s
        if link is not None and now.mono - link.received >= delay:
            self.house.note(reasons.SILENT, now, subject=self.terms.name)
            self.drop("max-response-delay passed without a message", now)
        elif link is not None and self._awaits_partner() and now.mono - link.progress >= STEP_S:
            self.house.note(STALLED, now, subject=self.terms.name, detail=self.state.words)
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

    def _awaits_partner(self) -> bool:
        """Its STATE, or what we asked for: without end when it forgot (10.2 #14)."""
        return not self.heard_state or self.asked_all is not None

    def _stamp(self, now: Now) -> None:
        """Operation stamp and last proven contact become durable (safety.md 11, 14)."""
        self.next_stamp = now.mono + STAMP_S
        serving = self.rights(now).serve
        if serving:
            self.record.operated = int(now.wall)
        if serving or self.link is not None:
            self.persist()

    def free_changed(self, now: Now) -> None:
        """An address left FREE or BACKUP: the next balance may be due earlier (8.4)."""
        if self.balance_at is not None and self.record.state is S.NORMAL:
            self._schedule_balance(now)

    def _schedule_balance(self, now: Now) -> None:
        wait = max(self.updates.next_balance(int(now.wall)) - now.wall, 0.0)
        due = now.mono + wait + (self.rng.random() * 4 if wait else 0.0)
        if self.balance_at is None or due < self.balance_at:
            self.balance_at = due

    def _balance_run(self, now: Now) -> None:
        self.balance_at = None
        if self.record.state is not S.NORMAL or self.starting or self.link is None:
            return
        short = self.updates.rebalance(now)[1]
        self._schedule_balance(now)
        if short:
            self.send_at_once(self.link, wire.poolreq(int(now.wall), 0), now, fresh_xid=True)
            self.house.note(POOL_ASKED, now, subject=self.terms.name)

    def deadline(self, now: Now) -> float:
        """The mono time of the next thing that `tick` wants to do."""
        times = [self.next_stamp]
        if self.starting and self.link is None:
            times.append(self.startup_until)
        times.extend(p.opened + LINK_STARTUP_S for p in self.pending.values())
        if self.link is not None:
            times.append(min(self.link.received + self.terms.max_response_delay_s, self.link.sent + self._contact_every()))
            times.extend([self.link.progress + STEP_S] if self._awaits_partner() else [])
        elif not self.pending and not self.dialing:
            times.append(self.next_dial)
        if self.record.state is S.RECOVER_WAIT:
            times.append(now.mono + max(self.record.recover_until - now.wall, 0.2))
        times.extend(t for t in (self.auto_partner_down_at, self.balance_at) if t is not None)
        times.extend(self.updates.retries.values() if self._may_send_updates() else ())
        return min(times)

    # --- the operator -----------------------------------------------------------------------------------------------------

    def partner_down(self, since: int, now: Now, why: str, who: str) -> None:
        """Declare the partner down (safety.md 12). The caller has checked that there is no contact. `since`: 0, or when the partner
        was certainly dead. Declared in doubt whose bound has passed, or without the leases of before
        (safety.md 15, 16), every address that is not ACTIVE waits."""
        self.record.wait_all = self.record.wait_all or waits.past_bound(self.record, now.wall)
        if self.doubt is not None:
            self.record.partner_down_since = 0  # what was declared before the doubt is void, the waits begin anew
        self.record.doubt = None
        self.move(S.PARTNER_DOWN, why, now, who, Origin.OPERATOR)
        if since:
            self.record.partner_down_since = since
        self.persist()
        self.house.state_moved(self.terms.name, S.PARTNER_DOWN, S.PARTNER_DOWN, now)

    def serve_force(self, now: Now) -> None:
        """The operator states that the partner has not been in partner-down since (safety.md 11)."""
        self.record.doubt = None
        self.persist()
        if self.starting:
            self._communications_failed("serve --force", now)

    def pair_init(self, now: Now) -> None:
        """The operator states that no leases exist (safety.md 16)."""
        self.record.new_pair = True
        if self.record.state is S.RECOVER_WAIT and self.record.virgin_database:
            self.record.recover_until = int(now.wall)
        self.persist()

    def stop(self, now: Now) -> None:
        """SIGTERM: nothing new is begun; what is owed is on disk. dhcpd's peers see an EOF and go to communications-interrupted."""
        self.stopping = True
        self._stamp(now)
        for link in [*self.pending.values(), *([self.link] if self.link is not None else [])]:
            self.house.out.after_commit.append(LinkClose(self.terms.name, link.number, "stopping"))
