"""Pool balance of one relationship: which free addresses go to the partner, and when to look again (failover-protocol.md 8).

The sums are balance.py's; here the leases change hands through `house.change`. Knows no message and no link.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from failoverd.failover import balance, reasons
from failoverd.failover.balance_table import ON_TRIGGER, PUSH_BACK, STOPS, Pass, Stop, Trigger, asks, goes_on
from failoverd.failover.bindings import handed, rested
from failoverd.failover.conflicts import Conflict
from failoverd.failover.hashing import bucket, key, owner_is_primary
from failoverd.failover.message import Binding
from failoverd.failover.private import LeaseNames
from failoverd.failover.terms import Terms
from failoverd.leases.lease import BindingState, Lease
from failoverd.leases.rights import Rights
from failoverd.leases.table import LeaseTable, PoolState
from failoverd.ports import Now, Origin

TRANSFERS_AT_ONCE = 500  # addresses of a pool handed over in one step; the rest follows in the next ones


class House(Protocol):
    """What updates need of the node: the lease table, and the one place where a lease changes."""

    table: LeaseTable

    def change(self, old: Lease, new: Lease, origin: Origin, cause: str, now: Now) -> Lease:
        """Store a changed lease (table, disk row, DNS intent)."""

    def note(self, name: str, now: Now, *, address: int = 0, subject: str = "", detail: str = "") -> None:
        """Say something to the operator."""

    def names_of(self, lease: Lease) -> LeaseNames:
        """What the partner is told of the names of a lease."""

    def names_known(self, address: int, names: LeaseNames) -> LeaseNames:
        """What of the names that the partner tells this server itself knows to be in DNS: the flags say so."""

    def names_told(self, lease: Lease, names: LeaseNames, now: Now) -> None:
        """The partner tells the names of a lease that is about to change."""

    def names_acked(self, address: int, names: LeaseNames | None, now: Now) -> None:
        """The partner took a lease; what it knows of its names, None for nothing."""

    def names_done(self, relationship: str, rows: Sequence[Sequence[bytes]], now: Now) -> None:
        """The partner tells what of its names is in DNS by now."""

    def update_answered(self, address: int, generation: int, now: Now) -> None:
        """The partner has answered the update that told this generation of a lease."""

    def claim_refused(self, relationship: str, binding: Binding, now: Now) -> bool:
        """The partner leases an address that is in no pool here; it was refused. Whether a host of ours has it at the same time."""

    def says_name_again(self, lease: Lease, now: Now) -> None:
        """The partner ended a lease that lives here; it was refused, and has taken the name away, or is about to."""

    def contested(self, conflict: Conflict) -> None:
        """Keep that two clients were granted one address, and which of them has it now."""


class PoolTransfer:
    """The pools of one relationship and the split of their free addresses."""

    def __init__(self, terms: Terms, house: House, pools: list[PoolState]) -> None:
        """Nothing handed over yet. `pools`: those of this relationship."""
        self.terms = terms
        self.house = house
        self.pools = pools
        self.last_balance = 0
        self.unfinished = False  # the last run stopped at TRANSFERS_AT_ONCE: the next one is due at once
        self.hba = terms.hba

    def share(self, state: PoolState) -> balance.Share:
        """How a pool is split, seen from here."""
        free, backup = state.count(BindingState.FREE), state.count(BindingState.BACKUP)
        terms = self.terms
        return balance.share(free, backup, terms.primary, terms.max_misbalance, terms.max_ownership)

    def rebalance(self, trigger: Trigger, rights: Rights, now: Now) -> tuple[int, bool]:
        """What the trigger may do (balance_table.ON_TRIGGER), in a state in which we give: the transfer loop (8.1). Returns how many
        addresses were handed over, and whether a POOLREQ may be sent for what we lack."""
        moved, short, gives = 0, False, ON_TRIGGER[trigger, self.terms.primary].gives
        for state in self.pools:
            part = self.share(state)
            short = short or asks(trigger, part, primary=self.terms.primary)
            moved += self._hand_over(state, part, rights, now) if gives else 0
        if gives:
            self.last_balance, self.unfinished = int(now.wall), moved >= TRANSFERS_AT_ONCE
        if moved:
            self.house.note(reasons.POOL_MOVED, now, subject=self.terms.name, detail=f"{moved} addresses")
        return moved, short

    def next_balance(self, now: int) -> int:
        """When to balance next (8.4), the earliest of all pools, without the random part. Wall seconds."""
        if self.unfinished:
            return now
        terms, table = self.terms, self.house.table

        def end_of(address: int) -> int:
            return table.get(address).ends

        return min(
            (
                balance.next_run(
                    now,
                    state.oldest_end(BindingState.FREE, end_of),
                    state.oldest_end(BindingState.BACKUP, end_of),
                    primary=terms.primary,
                    max_misbalance=terms.max_misbalance,
                    min_balance_s=terms.min_balance_s,
                    max_balance_s=terms.max_balance_s,
                    last_run=self.last_balance,
                )
                for state in self.pools
            ),
            default=now + terms.max_balance_s,
        )

    def _hand_over(self, state: PoolState, part: balance.Share, rights: Rights, now: Now) -> int:
        """Both passes (8.1). How many went to the partner."""
        table, primary, moved = self.house.table, self.terms.primary, 0
        if goes_on(STOPS[Pass.PARTNERS, True], part.give, part.hold):
            theirs = [table.get(each) for each in (state.free if primary else state.backup) if self._partners(each)]
            moved = self._walk(Pass.PARTNERS, theirs, part, 0, rights, now)
        own = BindingState.FREE if primary else BindingState.BACKUP
        return self._walk(Pass.ANY, table.free_in_order(state, own), part, moved, rights, now)

    def _walk(self, step: Pass, leases: Iterable[Lease], part: balance.Share, moved: int, rights: Rights, now: Now) -> int:
        """One pass, after `moved` addresses of the pool: how many they are then. What is unsettled or rests stays: the partner does not
        know until when (safety.md 15)."""
        other = BindingState.BACKUP if self.terms.primary else BindingState.FREE
        for lease in leases:
            limit = STOPS[step, self.house.table.has_row(lease.address) and lease.ends > 0]
            if limit.stop is Stop.NEVER_GIVEN:
                continue
            if moved >= TRANSFERS_AT_ONCE or not goes_on(limit, part.give - moved, part.hold):
                break
            if not lease.owed and rested(lease, rights, now):
                self.house.change(lease, handed(lease, other, now), Origin.TIMER, "balance", now)
                moved += 1
        return moved

    def _partners(self, address: int) -> bool:
        lease = self.house.table.get(address)
        if not lease.client:
            return False
        return owner_is_primary(self.hba, bucket(key(lease.client_id, lease.hw[1:]))) is not self.terms.primary

    def _settled(self, lease: Lease, rights: Rights, now: Now) -> Lease:
        """A lease that has just become free on both: the primary hands it to the secondary when its client is the secondary's and
        the secondary does not hoard (6.3 step 13)."""
        state = self.house.table.pool_of(lease.address)
        limit = PUSH_BACK[self.terms.primary]
        if (
            limit.stop is Stop.NEVER_GIVEN
            or not rights.balanced
            or state is None
            or not lease.client
            or not rested(lease, rights, now)
        ):
            return lease
        if owner_is_primary(self.hba, bucket(key(lease.client_id, lease.hw[1:]))):
            return lease
        part = self.share(state)
        if not goes_on(limit, part.give, part.hold):
            return lease
        return handed(lease, BindingState.BACKUP, now)
