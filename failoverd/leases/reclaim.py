"""What the clock, a client or an agreement makes of a lease: expiry, release, decline, freeing.

Pure functions Lease -> Lease under Rights; failover-protocol.md 7.3 to 7.5 and 6.6, safety.md 12 and 13.
"""

from __future__ import annotations

from failoverd.leases.lease import BindingState, Lease
from failoverd.leases.rights import Rights


def free(lease: Lease, state: BindingState = BindingState.FREE) -> Lease:
    """The lease is over and both agree (or there is no partner). Its last client stays on record, to get it again."""
    return lease.evolve(state=state, fqdn="", dns=0, rev="", agent=b"", flags=lease.flags & ~2)


def _recycle(lease: Lease, rights: Rights) -> bool:
    """Whether the partner cannot have seen past our own free state (safety.md 13)."""
    return rights.rewind and lease.rewind is rights.own and not rights.wait_all


def expired(lease: Lease, rights: Rights, now: int) -> Lease:
    """The clock has come to an ACTIVE lease's end. The potential expiry stays: an EXPIRED update carries the old one (6.2)."""
    if not rights.failover:
        return free(lease)
    if _recycle(lease, rights):
        return free(lease, rights.own).evolve(potential=min(lease.potential, now), owed=True)
    return lease.evolve(state=BindingState.EXPIRED, owed=True, rejected=0)


def released(lease: Lease, rights: Rights, now: int) -> Lease:
    """The client gave the address back. We stop counting on what the partner acked before, since it will be told less; `horizon`
    keeps what was promised (a RELEASE never shortens a wait, safety.md 12)."""
    if not rights.failover:
        return free(lease).evolve(ends=now, potential=now, cltt=now)
    ended = lease.evolve(ends=now, potential=now, acked=min(lease.acked, now), acked_end=min(lease.acked_end, now), cltt=now)
    ended.fqdn, ended.dns, ended.rev = "", 0, ""
    if _recycle(lease, rights):
        return free(ended, rights.own).evolve(owed=True)
    return ended.evolve(state=BindingState.RELEASED, owed=True, rejected=0)


def abandoned(lease: Lease, rights: Rights, now: int, abandon_s: int) -> Lease:
    """A client found the address in use (DHCPDECLINE): it rests, without a client."""
    return lease.evolve(
        state=BindingState.ABANDONED,
        hw=b"",
        client_id=b"",
        hostname="",
        fqdn="",
        dns=0,
        rev="",
        agent=b"",
        ends=now + abandon_s,
        cltt=now,
        owed=rights.failover,
        rejected=0,
    )


def agreed(lease: Lease, own_reserved: BindingState) -> Lease:
    """The partner acked EXPIRED, RELEASED or RESET: the lease is free on both (6.6 #6)."""
    return free(lease, own_reserved)


def on_clock(lease: Lease, rights: Rights, now: int) -> Lease:
    """The lease's time has come (mclt.due). EXPIRED, RELEASED and RESET are freed in partner-down (7.3)."""
    if lease.state is BindingState.ACTIVE:
        return expired(lease, rights, now)
    if lease.state is BindingState.ABANDONED and lease.owed:
        # The partner has not heard of it and may renew the client that it knows: free once it agrees (simulator, seed 1246).
        return lease.evolve(state=BindingState.RESET, ends=now, rejected=0)
    if lease.state is BindingState.ABANDONED:
        return lease.evolve(state=BindingState.FREE, owed=rights.failover)
    return free(lease, rights.own if rights.failover else BindingState.FREE).evolve(owed=rights.failover)
