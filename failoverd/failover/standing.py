"""What one relationship lets this server do: its state as it acts, the doubt of a lone boot, the rights over its leases.

safety.md 5 and 9 to 12. Decides from the record alone; knows no message and no table of transitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from failoverd.failover import reasons, states
from failoverd.failover.links import EndpointHouse, Links
from failoverd.failover.message import ServerState
from failoverd.failover.record import BootFacts, RelationshipRecord
from failoverd.failover.states import Service
from failoverd.failover.terms import Terms
from failoverd.failover.updates import Updates
from failoverd.leases.lease import BindingState
from failoverd.leases.rights import Rights
from failoverd.ports import Kind, Now, Origin, Write

S = ServerState
NAMING = frozenset({S.NORMAL, S.COMMUNICATIONS_INTERRUPTED, S.PARTNER_DOWN})  # states in which DNS updates are sent
RESTART_GRACE_S = 60  # a survivor in partner-down that was away for less goes on as before (safety.md 12)
NAMES_WAIT_S = 10.0  # at most, see names_wait
HEARS_S = 1.0  # a dhcpd in normal that has told us nothing for so long after a time apart has told everything
HEARS_SLOWEST_S = 10.0  # or for as long as it took to answer our STATE, at most this
HEARS_MOST = 10  # after so many times of that it is renewals of now that come
HEARS_MOST_S = 60.0  # it says normal as soon as it has our STATE; and longer than this we wait for nothing

SERVES_BY_CONTACT = frozenset({S.NORMAL, S.COMMUNICATIONS_INTERRUPTED, *states.CONFLICTING})
"""States in which clients are served, or renewed, because the partner was in contact last: after a boot only so far as that contact
reaches (safety.md 11)."""


@dataclass(slots=True, frozen=True)
class Order:
    """An operator's order that is carried out when the partner has everything. `until_mono`: then it is given up."""

    who: str
    why: str
    until_mono: float


class Standing(Links):
    """The relationship's record, and what follows from it for the clients."""

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
        super().__init__(terms, record, house, updates, rng, now, boot)
        self.boot = boot
        self.names_wait_until = now.mono  # see names_wait
        self.leaving = False  # partner-down, as soon as the partner, which has recovered, knows what we gave
        self.returning: set[int] = set()  # what it must be told before
        self.asked_all: bool | None = None  # our outstanding UPDREQ (False) or UPDREQALL (True) on this link
        self.judges_first = True  # safety.md 20; until a dhcpd primary has let our request in potential-conflict go stale
        self.hears_since = self.hears_until = self.hears_limit = now.mono  # see _begin_hearing
        self.hears_quiet_s = 0.0  # 0 until the partner has said normal
        self.tried_since_boot = False
        self.attested = False  # `pair init` was typed since the boot, and this process was not away since
        self.starting = record.state is not S.PARTNER_DOWN
        self.startup_until = now.mono + states.STARTUP_S
        self.clock_ok = True
        self.disk_age_s = 0.0
        self.auto_partner_down_at: float | None = None
        self.next_stamp = now.mono
        self.balance_at: float | None = None
        self.next_poolreq = now.mono
        self.stopping = False
        self.order: Order | None = None  # maintenance: nothing is promised any more, what is owed goes out
        if terms.primary or not record.hba:  # a secondary has the primary's MCLT as soon as it has its bitmap: in CONNECT
            record.mclt_s = terms.mclt_s
        if terms.primary or record.hba:  # until then nothing was granted under any: the configured one makes nobody wait
            record.wait_mclt_s = max(record.wait_mclt_s, record.mclt_s)
        if record.hba and not terms.primary:
            self.updates.hba = bytes.fromhex(record.hba)
        if boot.restored and record.state is not S.RECOVER:
            record.state, record.since = S.RECOVER, int(now.wall)  # safety.md 15: the partner plays back what was lost
            self.starting = True
        self._enter_doubt_at_boot(now)

    def _begin_hearing(self, now: Now) -> None:
        """Towards a dhcpd after a time apart our updates wait for its own. It takes any, compares nothing, and would lose a renewal of its
        own to our older word on the lease; what it has told us by then, we need not tell (failover-protocol.md 6.3, 6.4). It tells them
        when it has our STATE, about when it says normal itself: however slow the link is, until then nothing has come (seed dhcpd7004)."""
        if self.terms.partner_is_dhcpd and self.record.state in (S.NORMAL, S.COMMUNICATIONS_INTERRUPTED):
            self.hears_since, self.hears_quiet_s = now.mono, 0.0
            self.hears_until = self.hears_limit = now.mono + HEARS_MOST_S

    def _hears_state(self, peer: ServerState | None, now: Now) -> None:
        """The partner is in normal: what it has to tell comes now, and what its window does not take at once comes as fast as it answers,
        three updates in four seconds perhaps (seed dhcpd19495). In recover it knows nothing that ours could end."""
        if peer is S.RECOVER:
            self.hears_until = now.mono
        elif peer is S.NORMAL and now.mono < self.hears_until and not self.hears_quiet_s:
            self.hears_quiet_s = min(max(HEARS_S, now.mono - self.hears_since), HEARS_SLOWEST_S)
            self.hears_limit = now.mono + min(HEARS_MOST * self.hears_quiet_s, HEARS_MOST_S)
            self._hears_on(now)

    def _hears_on(self, now: Now) -> None:
        """An update of the partner's has come: more may follow, within the limit."""
        if now.mono < self.hears_until and self.hears_quiet_s:
            self.hears_until = min(now.mono + self.hears_quiet_s, self.hears_limit)

    def _hears_first(self, now: Now) -> bool:
        """Whether updates of ours still wait for the partner's; an answer to its request never does."""
        apart = self.record.state in (S.NORMAL, S.COMMUNICATIONS_INTERRUPTED)
        return apart and now.mono < self.hears_until and self.updates.request is None

    @property
    def fenced(self) -> bool:
        """In doubt, starting, recovering or in conflict: no DNS updates (safety.md 25)."""
        return self.doubt is not None or self.starting or self.record.state not in NAMING

    def names_wait(self, now: Now) -> bool:
        """Whether DNS updates wait after a time apart: until the partner has answered what we owe it, and so has told what it gave
        meanwhile. A name that we would take away is its client's still, perhaps (safety.md 25)."""
        return self.record.state is S.NORMAL and now.mono < self.names_wait_until

    def _enter_doubt_at_boot(self, now: Now) -> None:
        """safety.md 11 and 12: after a boot the last proven contact bounds what may be granted, until the partner is heard. A survivor's
        short restart ends no doubt: it operated meanwhile, but under the bound."""
        if self.record.state is S.PARTNER_DOWN:
            if now.wall - self.record.operated > RESTART_GRACE_S or self.doubt is not None:
                self._doubt(self.record.operated, now)
            else:
                self.tried_since_boot = True
        elif self.record.state in SERVES_BY_CONTACT:
            self._doubt(self.record.proven, now)
        else:
            self.record.doubt = None

    def _doubt(self, contact: int, now: Now) -> None:
        bound, before = contact - self.clocks.contact_margin_s, self.record.doubt
        self.record.doubt = None if self.terms.lone_boot_serve else bound if before is None else min(bound, before)
        if self.doubt is not None:
            until = self.doubt + self.record.mclt_s
            self.house.note(reasons.DOUBT, now, subject=self.terms.name, detail=f"new grants end by {until}")

    @property
    def doubt(self) -> int | None:
        """The bound of a lone boot (safety.md 11), in our wall clock as it reads now; None when not in doubt."""
        return None if self.record.doubt is None else self.record.doubt - self.clocks.set_back_s

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
        resolving = service is Service.RESOLVING
        may = self.doubt is None or self.doubt + self.record.mclt_s > now.wall
        frozen = self.doubt is not None and not self.clock_ok
        return Rights(
            serve=(alone or resolving or service is Service.COOPERATING) and self.order is None,
            resolving=resolving and self.order is None,
            why=self._why_silent(service) or (reasons.RETURNING if self.leaving else ""),
            primary=self.terms.primary,
            balanced=service is Service.COOPERATING,
            own=own,
            may_allocate=may and not frozen and not resolving and not self.leaving,
            partner_down_since=self.record.partner_down_since if down and self.tried_since_boot else None,
            wait_all=down and self.record.wait_all,
            mclt_s=self.record.mclt_s,
            wait_mclt_s=max(self.record.wait_mclt_s, self.record.mclt_s, self.record.forgot_s),
            bound=self.doubt,
            bound_end=self.terms.partner_is_dhcpd,
            slack_s=self.slack_s,
            ahead_s=self.clocks.ahead_s,
            set_ahead_at=self.clocks.set_ahead_at,
            behind_s=self.clocks.behind_s,
            set_back_at=self.clocks.set_back_at,
            expire=(self.terms.primary and service is Service.COOPERATING) or alone,
            rewind=service is Service.NOT_COOPERATING or down,
            outdated=self.boot.restored,
            probe=alone and self.boot.restored,
            frozen=frozen,
        )

    def _why_silent(self, service: Service) -> str:
        if self.order is not None:
            return reasons.DRAINING
        if service in (Service.COOPERATING, Service.NOT_COOPERATING, Service.PARTNER_DOWN):
            return ""
        if service is Service.STARTUP:
            return reasons.STARTING
        if self.record.state in (S.PAUSED, S.SHUTDOWN):
            return reasons.RESTING
        if self.record.state in (S.RECOVER, S.RECOVER_WAIT, S.RECOVER_DONE):
            return reasons.RECOVERING
        if self.record.state in states.CONFLICTING:
            return reasons.RESOLVING
        return reasons.NOT_SERVING

    # --- what changes it --------------------------------------------------------------------------------------------------

    def clock_state(self, synchronised: bool) -> None:
        """What the kernel says of the wall clock (safety.md 10)."""
        self.clock_ok = synchronised

    def beat_gap(self, now: Now) -> None:
        """This process was not running for longer than max-response-delay: a lost link and a lone boot (safety.md 5)."""
        contact = self.record.operated if self.record.state is S.PARTNER_DOWN else self.record.proven
        self.tried_since_boot = self.attested = False
        if self.record.state is S.PARTNER_DOWN or self.record.state in SERVES_BY_CONTACT:
            self._doubt(contact, now)

    def persist(self) -> None:
        """The record is part of this step's commit."""
        self.record.generation += 1
        self.house.out.writes.append(
            Write(Kind.RELATIONSHIP, self.terms.name.encode(), self.record.to_json(), Origin.TIMER, "record")
        )
