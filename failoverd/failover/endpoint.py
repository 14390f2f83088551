"""One relationship: its links, its timers, its state. draft-12 5, 9 as failover-protocol.md 4 and 5 tell; safety.md 4, 5, 9 to 17.

What reaches it from outside: messages and losses of its links, and the operator. Knows no socket and no packet of a client.
"""

from __future__ import annotations

from failoverd.failover import message as wire
from failoverd.failover import reasons, states
from failoverd.failover.balance_table import Trigger
from failoverd.failover.dialect import FACTS, PLAIN
from failoverd.failover.links import RETRY_S
from failoverd.failover.maintenance import Maintenance
from failoverd.failover.message import Message, MessageType, OptionCode, RejectReason, ServerState
from failoverd.ports import LinkClose, Now

S = ServerState
PLANNED_STOP = "planned stop"  # the words of a DISCONNECT; no reject reason of the draft says it


class Endpoint(Maintenance):
    """One relationship of this server."""

    # --- what the links report --------------------------------------------------------------------------------------------

    def connect_failed(self, reason: str, now: Now, *, answered: bool = False) -> None:
        """No link. The next attempt comes in about 2 s. `answered`: somebody is there, so this is no sign that the partner is down
        (safety.md 12)."""
        self.dialing = False
        self.tried_since_boot = self.tried_since_boot or not answered
        self.next_dial = now.mono + RETRY_S * (0.75 + self.rng.random() / 2)
        self.house.note(reasons.CONNECT_FAILED, now, subject=self.terms.name, detail=reason)

    def on_established(self, now: Now) -> None:
        """safety.md 21: a secondary whose primary may be in conflict-done waits for its STATE before it sends its own."""
        self.persist()
        self.say_reserved()
        self.auto_partner_down_at = None
        self._begin_hearing(now)
        if not self.terms.primary and states.must_hear_first(self.record.state, self.record.partner_state):
            self.owes_state = True
        else:
            self._first_state(False, now)

    def on_lost(self, reason: str, now: Now) -> None:
        """5.5: un-acked updates are owed again, a request of the partner's dies with the link."""
        self.heard_state = False
        self.asked_all = None
        self.leaving = False
        self.balance_at = None
        self.updates.link_lost()
        self._communications_failed(reason, now)

    def on_message(self, message: Message, now: Now) -> None:
        """What a message on the established link asks of us."""
        kind = message.kind
        if kind == MessageType.BNDUPD:
            self._hears_on(now)
            self.updates.told(message, self.rights(now), self.state, self._ruled(), self, now)
        elif kind == MessageType.BNDACK:
            self.updates.acked(message, self.rights(now), self, now)
        elif kind == MessageType.STATE:
            self._on_state(message, now)
        elif kind in (MessageType.UPDREQ, MessageType.UPDREQALL):
            self.updates.asked(message.xid, kind == MessageType.UPDREQALL, unused=self.dialect == PLAIN)
        elif kind == MessageType.UPDDONE:
            self._on_upddone(now)
        elif kind == MessageType.POOLREQ:
            moved = self.balance(Trigger.POOLREQ, now)[0]
            self.send(wire.poolresp(int(now.wall), message.xid, moved))
            self.house.note(reasons.POOL_REQUEST_ANSWERED, now, subject=self.terms.name, detail=str(moved))
        elif kind == MessageType.POOLRESP:
            count = str(message.u32(OptionCode.ADDRESSES_TRANSFERRED) or 0)
            self.house.note(reasons.POOL_ANSWER, now, subject=self.terms.name, detail=count)
        elif kind == MessageType.CONTACT:
            if self.dialect >= FACTS:
                self.on_frame(message, now)
        else:
            self.house.note(reasons.IGNORED, now, subject=self.terms.name, detail=f"type {kind}")

    def _ruled(self) -> bool:
        """A failoverd primary in conflict-done has judged ours; what it tells stands. A dhcpd takes whatever comes (safety.md 20)."""
        return not self.terms.primary and self.record.partner_state is S.CONFLICT_DONE and not self.terms.partner_is_dhcpd

    # --- the operator -----------------------------------------------------------------------------------------------------

    def serve_force(self, now: Now) -> None:
        """The operator states that the partner has not been in partner-down since (safety.md 11)."""
        self.record.doubt = None
        self.persist()
        if self.starting:
            self._communications_failed("serve --force", now)

    def pair_init(self, now: Now) -> None:
        """The operator states that no leases exist (safety.md 16)."""
        self.record.new_pair = self.attested = True
        if self.record.state is S.RECOVER_WAIT and self.record.virgin_database:
            self.record.recover_until = int(now.wall)
        self.persist()

    def stop(self, now: Now) -> None:
        """SIGTERM: nothing new is begun; what is owed is on disk. The partner hears why, and goes to communications-interrupted at once.
        Deviation: dhcpd just goes (2.3); a dhcpd partner takes the DISCONNECT as it takes an EOF."""
        self.stopping = True
        self._stamp(now)
        if self.link is not None:
            self.send(wire.disconnect(int(now.wall), self.next_xid(), RejectReason.UNKNOWN, PLANNED_STOP))
        for link in [*self.pending.values(), *([self.link] if self.link is not None else [])]:
            self.house.out.after_commit.append(LinkClose(self.terms.name, link.number, "stopping"))
