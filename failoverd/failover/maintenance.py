"""Out of service and back, by an operator: maintenance, recover, balancing the pools on demand (draft-12 9.5, 9.11, 9.12).

Maintenance keeps no partner-down clock running where that can be said: a failoverd partner hears paused, goes to
communications-interrupted and serves everybody from its own addresses. dhcpd hears shutdown and goes to partner-down: it knows paused as
well, but the way back from shutdown, through recover, is the one that it was seen to take (failover-protocol.md 5.8).

Nothing is promised from the moment of the order on; the state is entered when the partner has acked everything (safety.md 14).
"""

from __future__ import annotations

from failoverd.failover import reasons, states
from failoverd.failover.balance_table import Trigger
from failoverd.failover.message import ServerState
from failoverd.failover.standing import Order
from failoverd.failover.timers import Timers
from failoverd.ports import Now, Origin

S = ServerState
DRAIN_S = 60.0  # a partner that has not acked everything by then is not up to serving alone: the order is given up
OUT = frozenset({S.PAUSED, S.SHUTDOWN})


class Maintenance(Timers):
    """What an operator may do with a server that works."""

    @property
    def rests_in(self) -> ServerState:
        """The state in which this server is out of service."""
        return S.SHUTDOWN if self.terms.partner_is_dhcpd else S.PAUSED

    def both_normal(self) -> bool:
        """In contact, both in normal, nothing being drained."""
        return self._together() and self.order is None

    @property
    def in_contact(self) -> bool:
        """Whether the partner has said on this link where it is."""
        return self.link is not None and self.heard_state

    @property
    def partner_lost_all(self) -> bool:
        """Out of service, this server has heard that its partner recovers from it."""
        return self.record.state is S.PAUSED and self.record.partner_state in (S.RECOVER, S.RECOVER_WAIT)

    def _together(self) -> bool:
        return self.in_contact and not self.starting and self.record.state is self.record.partner_state is S.NORMAL

    def maintenance_start(self, now: Now, why: str, who: str) -> None:
        """Serve nobody from now on; out of service when nothing is owed. The caller has checked `both_normal`."""
        self._stamp(now)
        self.order = Order(who, why, now.mono + DRAIN_S)
        self.house.note(reasons.DRAINING, now, subject=self.terms.name, detail=f"{self.updates.owed} updates")

    def maintenance_end(self, now: Now, why: str, who: str) -> None:
        """Back into service. From paused as after a restart: on a new link both say where they are, and what became of the partner
        meanwhile (partner-down, a lost database) decides; from shutdown through recover. A partner that has lost its database takes from us
        what we have; the caller has checked that it is in contact."""
        if self.order is not None:
            self._give_up("ended by an operator", now)
        elif self.partner_lost_all:
            # It may have been in partner-down meanwhile: every address waits, ours too (safety.md 12, 15).
            self.move(S.PARTNER_DOWN, f"{why}: the partner recovers", now, who, Origin.OPERATOR)
        elif self.record.state is S.SHUTDOWN:
            self.move(S.RECOVER, why, now, who, Origin.OPERATOR)
        elif self.record.state is S.PAUSED:
            self.drop("maintenance ends", now)  # before the start: a link lost in startup ends the startup
            self.record.state, self.record.since = S.NORMAL, int(now.wall)
            self.starting, self.startup_until = True, now.mono + states.STARTUP_S
            self._doubt(self.record.proven, now)
            self._remember("paused -> startup", why, now, who, Origin.OPERATOR)
            self.persist()

    def recover(self, now: Now, why: str, who: str) -> None:
        """Take everything from the partner anew; the caller has checked that it serves and is in contact."""
        self._stamp(now)
        self.move(S.RECOVER, why, now, who, Origin.OPERATOR)

    def rebalance_now(self, now: Now) -> tuple[int, bool]:
        """Hand over what we have too much of, ask for what we have too little of: addresses handed over, and whether we asked."""
        return self.balance(Trigger.OPERATOR, now)

    def tick(self, now: Now, commit_age_s: float) -> None:
        """As Timers, and the order that waits."""
        if self.order is not None:
            self._drain(self.order, now)
        super().tick(now, commit_age_s)

    def _drain(self, order: Order, now: Now) -> None:
        if not self._together():
            self._give_up("the partner is not there to serve alone", now)
        elif not self.updates.owed:
            self.order = None
            self.move(self.rests_in, order.why, now, order.who, Origin.OPERATOR)
        elif now.mono >= order.until_mono:
            self._give_up(f"{self.updates.owed} updates were not acked within {DRAIN_S:.0f} s", now)

    def _give_up(self, why: str, now: Now) -> None:
        self.order = None
        self.house.note(reasons.DRAIN_GIVEN_UP, now, subject=self.terms.name, detail=why)
        self._remember("maintenance given up, serving again", why, now, "", Origin.TIMER)

    def deadline(self, now: Now) -> float:
        """As Timers, and the end of the order's time."""
        due = super().deadline(now)
        return min(due, self.order.until_mono) if self.order is not None else due
