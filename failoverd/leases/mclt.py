"""Every sum of time about a lease: what may be promised to a client, and how long an address must rest.

Implements failover-protocol.md 7.1 (the MCLT rule) and safety.md 9 to 12. All times UTC seconds, all lengths seconds.
"""

from __future__ import annotations

from typing import NamedTuple

from failoverd.leases.lease import NEVER, BindingState, Lease
from failoverd.leases.rights import Rights

INFINITE = 0xFFFFFFFF  # RFC 2131 3.3: an infinite lease


class Promise(NamedTuple):
    """What a client is promised: `ends`, and the `potential` expiry to be told to the partner."""

    give_s: int
    ends: int
    potential: int


def limit(lease: Lease, rights: Rights, now: int) -> int:
    """The latest end that the MCLT rule lets us promise (safety.md 9, 11): max(now, acked) + MCLT, the acked time taken early
    by the clocks' slack, or by what our clock was set back since; at a lone boot the last proven contact stands in the place of now.
    What an earlier copy of the database says that the partner acked, it may have seen past (safety.md 15): that counts nothing. A dhcpd in
    partner-down frees a lease at the end that it knows, or MCLT after its entry, and waits no MCLT beyond that end: at a lone boot
    neither do we (simulator, seed dhcpd3845)."""
    if rights.frozen or (lease.state is BindingState.ACTIVE and perhaps_used(lease, rights)):
        return now
    told = 0 if rights.outdated else lease.acked
    early = max(rights.slack_s, rights.behind_s)
    start = now
    if rights.bound is not None:
        start = min(now, rights.bound)
        if rights.bound_end and told:
            return max(start + rights.mclt_s, lease.acked_end - early)
    return max(start, told - early if told else 0) + rights.mclt_s


def perhaps_used(lease: Lease, rights: Rights) -> bool:
    """In partner-down declared in doubt: whether the partner may have given this address away, if it was in partner-down itself before it
    fell, though our lease runs or ran until now. A failoverd waits MCLT beyond every potential expiry that it knows, and nothing of ours
    that it never heard of lasts longer (simulator, seed 16591); a dhcpd frees at the end that it knows (safety.md 12; dhcpd200007)."""
    since = rights.partner_down_since
    if since is None or not rights.wait_all or lease.starts >= since:
        return False
    kept = lease.acked_end if rights.bound_end else max(lease.ends, lease.acked)
    return kept - max(rights.slack_s, rights.behind_s) < since


def promise(lease: Lease, want_s: int, rights: Rights, now: int) -> Promise | None:
    """How long the client may have the address, or None when nothing may be promised beyond now.

    failover-protocol.md 7.1: give = min(want, limit - now); potential = now + want + give // 2.
    """
    if not rights.failover:
        ends = NEVER if want_s >= INFINITE else min(now + want_s, NEVER - 1)
        return Promise(min(want_s, ends - now) if want_s < INFINITE else INFINITE, ends, ends)
    latest = limit(lease, rights, now)
    if rights.resolving:
        latest = min(latest, now + rights.mclt_s)  # safety.md 19
    if latest <= now:
        return None
    if want_s >= INFINITE:
        if lease.acked >= NEVER and rights.bound is None:
            return Promise(INFINITE, NEVER, NEVER)
        return Promise(latest - now, latest, NEVER)
    give = min(want_s, latest - now)
    return Promise(give, now + give, min(now + want_s + give // 2, NEVER - 1))


def beyond(lease: Lease, contact: int, mclt_s: int, slack_s: int) -> bool:
    """Whether an ACTIVE lease outlasts the bound of safety.md 11, as if `contact` were the last proven one: a partner that went to
    partner-down right after it may have used the address before this lease ends."""
    if lease.state is not BindingState.ACTIVE:
        return False
    return lease.ends > max(contact, lease.acked) - slack_s + mclt_s


def rest_s(rights: Rights) -> int:
    """How long beyond every end that the partner may know of an address waits for another client (safety.md 9, 10, 12, 15)."""
    return rights.wait_mclt_s + rights.slack_s


def rest_until(lease: Lease, rights: Rights) -> int | None:
    """In partner-down: the time after which an address that is not ours, or a freed lease, may go to another client; None when
    not in partner-down. draft-12 9.4: MCLT beyond every expiry and potential expiry sent, acked or received (safety.md 12)."""
    if rights.partner_down_since is None:
        return None
    if lease.horizon >= NEVER or lease.not_before >= NEVER:
        return NEVER
    return max(rights.partner_down_since, lease.horizon, lease.not_before) + rest_s(rights)


def due(lease: Lease, rights: Rights) -> int | None:
    """When the clock changes this lease next, or None. ACTIVE ends; EXPIRED, RELEASED and RESET are freed in partner-down;
    ABANDONED ends its quarantine."""
    state = lease.state
    if state in (BindingState.ACTIVE, BindingState.ABANDONED):
        if lease.ends >= NEVER or not rights.expire:
            return None
        return lease.ends + (rights.slack_s if rights.failover else 0)
    if state in (BindingState.EXPIRED, BindingState.RELEASED, BindingState.RESET):
        if not rights.failover:
            return lease.ends
        return rest_until(lease, rights)
    return None


def horizon(lease: Lease) -> int:
    """The newest of every end and potential expiry that this record ever held; never lowered. An ABANDONED end is a quarantine
    of ours, not a promise to a client."""
    ends = 0 if lease.state is BindingState.ABANDONED else lease.ends
    return max(lease.horizon, ends, lease.potential, lease.acked)
