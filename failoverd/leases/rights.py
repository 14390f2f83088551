"""What the failover state lets this server do: the one value that passes from failover to DHCP."""

from __future__ import annotations

from dataclasses import dataclass

from failoverd.leases.lease import BindingState


@dataclass(slots=True, frozen=True)
class Rights:
    """The rights of one relationship at one moment.

    `serve`          may we answer clients of its pools at all; `why` names the Note when not
    `balanced`       load balancing is in force (state normal): a DISCOVER of the partner's bucket is left to the partner
    `own`            the free state that is ours to hand out: FREE for the primary, BACKUP for the secondary
    `failover`       False for a pool without a relationship: no partner, no MCLT
    `may_allocate`   new addresses may be given at all (not at a lone boot whose bound has passed)
    `partner_free_from`  in partner-down: the partner's free addresses and freed leases are ours from max(this, horizon + mclt),
                     None while they are not ours
    `mclt_s`         maximum client lead time
    `bound`          lone boot (safety.md 11): whatever is granted ends at or before this + mclt; None when not in doubt
    `bound_end`      lone boot towards dhcpd: the acked end stands in for the potential expiry
    `slack_s`        how far comparisons across the two clocks err to the safe side (safety.md 10)
    `primary`        our role
    `rewind_ok`      communications-interrupted: an address announced to nobody may be recycled (failover-protocol.md 7.4)
    """

    serve: bool
    why: str = ""
    failover: bool = True
    primary: bool = True
    balanced: bool = False
    own: BindingState = BindingState.FREE
    may_allocate: bool = True
    partner_free_from: int | None = None
    wait_all: bool = False  # partner-down from doubt: our own free addresses wait like the partner's (safety.md 12)
    mclt_s: int = 0
    bound: int | None = None
    bound_end: bool = False
    slack_s: int = 0
    rewind_ok: bool = False


ALONE = Rights(serve=True, failover=False)
