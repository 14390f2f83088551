"""A lease as a BNDUPD tells it, and what a BNDUPD makes of a lease, field by field (failover-protocol.md 6.3, 6.8)."""

from __future__ import annotations

from failoverd.failover.message import Binding
from failoverd.leases.lease import BindingState, Lease
from failoverd.leases.rights import Rights
from failoverd.ports import Now


def rested(lease: Lease, rights: Rights, now: Now) -> bool:
    """Whether the partner may have the address: it does not know of a rest or a dispute of ours."""
    return max(lease.not_before, lease.disputed) + rights.ahead_s <= now.wall


def both_claims(lease: Lease, binding: Binding) -> int:
    """The latest end and potential expiry of our grant and the partner's."""
    return max(lease.disputed, lease.ends, lease.potential, binding.ends or 0, binding.potential or 0)


def later_end(lease: Lease, ends: int, potential: int) -> Lease:
    """A lease that both servers granted to its client, in answer to one broadcast: a duel decides who tells, never to take back a promise.
    The later end stands, and the partner hears of it. `ends`, `potential`: of the other one of the two grants."""
    return lease.evolve(ends=max(lease.ends, ends), potential=max(lease.potential, potential), owed=True, rejected=0)


def handed(lease: Lease, state: BindingState, now: Now) -> Lease:
    """A free address changes hands (6.8): starts and potential are now, the name is forgotten."""
    wall = int(now.wall)
    return lease.evolve(state=state, starts=wall, potential=wall, hostname="", fqdn="", owed=True)


def take_client(new: Lease, binding: Binding, told: BindingState) -> None:
    """Options 5 and 4 (6.3 steps 5 and 6): absent means erase, except for FREE, BACKUP and RESET."""
    keeps = told in (BindingState.FREE, BindingState.BACKUP, BindingState.RESET)
    if told is BindingState.ABANDONED:
        new.hw = new.client_id = b""
        return
    if binding.hw is not None:
        new.hw = binding.hw
    if binding.client_id is not None:
        new.client_id = binding.client_id
    elif not keeps:
        new.client_id = b""


def binding_of(lease: Lease) -> Binding:
    """What a BNDUPD says of a lease (6.8): never a client for ABANDONED."""
    nobody = lease.state is BindingState.ABANDONED
    return Binding(
        address=lease.address,
        state=lease.state,
        client_id=b"" if nobody else lease.client_id,
        hw=b"" if nobody else lease.hw,
        ends=lease.ends,
        potential=lease.potential,
        starts=lease.starts,
        cltt=lease.cltt,
        flags=lease.flags,
    )
