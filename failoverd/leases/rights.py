"""What the failover state lets this server do: the one value that passes from failover to DHCP."""

from __future__ import annotations

from dataclasses import dataclass

from failoverd.leases.lease import BindingState


@dataclass(slots=True, frozen=True)
class Rights:
    """The rights of one relationship at one moment. All times in UTC seconds, all lengths in seconds.

    `serve`              may we answer clients of its pools at all; `why` names the Note when not
    `failover`           False for an address without a relationship: no partner, no MCLT
    `primary`            our role
    `balanced`           load balancing is in force (state normal): a DISCOVER of the partner's bucket is left to the partner
    `own`                the free state that is ours to hand out: FREE for the primary, BACKUP for the secondary
    `may_allocate`       new addresses may be given at all (not at a lone boot whose bound has passed, nor while a partner that returns is
                         told what it must know first)
    `partner_down_since` entry into partner-down: other addresses are ours after max(this, horizon) + wait_mclt_s; None elsewhere
    `wait_all`           partner-down declared in doubt: our own free addresses wait like the partner's (safety.md 12)
    `mclt_s`             maximum client lead time; `wait_mclt_s`: the largest in force since both were last normal (safety.md 9)
    `bound`              lone boot (safety.md 11): stands in the place of now in the MCLT rule; None when not in doubt
    `bound_end`          the partner is a dhcpd, which frees at the end that it knows: at a lone boot the acked end is a bound, without MCLT
    `slack_s`            how far comparisons across the two clocks err to the safe side (safety.md 10)
    `ahead_s`            by how much our clock was set ahead while a lease may run that was noted before; within `slack_s`, for the
                         times that are ours alone (safety.md 10). What we noted before it bears a time before `set_ahead_at`
    `behind_s`           by how much our clock was set back while a lease may run that was noted before: it reads so much more of that than
                         remains (safety.md 10). What bears a time before `set_back_at`, or after now, was surely noted before
    `expire`             may this server expire leases (the primary always; the secondary without contact)
    `rewind`             an address that was announced to nobody may be recycled (failover-protocol.md 7.4)
    `resolving`          both servers may have granted one address: only clients that are ACTIVE here are renewed, and `why` names the Note
                         for all others (safety.md 19)
    `outdated`           our database is older than what we once knew: a later word of the partner's is right (safety.md 15)
    `probe`              our database was restored or rolled back and the partner is away: an address is pinged before it goes to
                         a client that is not ACTIVE on it here (safety.md 15)
    `frozen`             the clock cannot be trusted after a lone boot: nothing is granted beyond what was (safety.md 10)
    """

    serve: bool
    why: str = ""
    failover: bool = True
    primary: bool = True
    balanced: bool = False
    own: BindingState = BindingState.FREE
    may_allocate: bool = True
    partner_down_since: int | None = None
    wait_all: bool = False
    mclt_s: int = 0
    wait_mclt_s: int = 0
    bound: int | None = None
    bound_end: bool = False
    slack_s: int = 0
    ahead_s: int = 0
    set_ahead_at: int = 0
    behind_s: int = 0
    set_back_at: int = 0
    expire: bool = True
    rewind: bool = False
    resolving: bool = False
    outdated: bool = False
    probe: bool = False
    frozen: bool = False


ALONE = Rights(serve=True, failover=False)
