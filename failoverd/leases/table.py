"""The lease table: every fact about every address, found in O(1) whatever the pool size.

Promises no object per lease to its callers: a record is read with `get`, written with `put`. Never-used addresses are not rows.
Free queues, client index and the clock's queue are kept here; rules are not (allocate.py, reclaim.py).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from failoverd.leases.lease import BindingState, Lease, virgin
from failoverd.leases.pool import Pool

OFFER_S = 120.0  # how long an OFFER reserves its address (safety.md 6)
BARREN_S = 1.0  # a pool in which every free address was refused is not searched again before, unless one becomes free
NOBODY = b"\xff"  # has an address that is offered to nobody: no client is called so
OFFER_LIMIT = 20_000  # reservations by OFFER kept at once; beyond it the oldest is given up


class Offered(NamedTuple):
    """A reservation by OFFER: memory only, lost at a crash, harmlessly."""

    client: bytes
    until_mono: float


class PoolState:
    """One pool's queues and counts. `free` and `backup` hold used addresses in the order in which they became so."""

    __slots__ = ("_cursor", "_range", "backup", "barren", "counts", "free", "gone", "pool", "returned")

    def __init__(self, pool: Pool) -> None:
        """All addresses never used."""
        self.pool = pool
        self.counts = [0] * 8
        self.free: dict[int, None] = {}
        self.backup: dict[int, None] = {}
        self.returned: dict[int, None] = {}
        self.gone = 0  # addresses that the partner has reserved
        self.barren: dict[BindingState, float] = {}  # no address of this state can be given before this mono time
        self._range = 0
        self._cursor = pool.ranges[0][0] if pool.ranges else 0

    def count(self, state: BindingState) -> int:
        """How many addresses of the pool are in this state; never-used ones are FREE."""
        n = self.counts[state]
        if state is BindingState.FREE:
            n += self.pool.size - self.gone - sum(self.counts)
        return n

    def oldest_end(self, state: BindingState, end_of: Callable[[int], int]) -> int | None:
        """The end of the address that has been FREE or BACKUP for longest (0: never used), None when there is none."""
        if state is BindingState.FREE and self.count(state) > len(self.free):
            return 0
        queue = self.free if state is BindingState.FREE else self.backup
        return next((end_of(address) for address in queue), None)

    def next_virgin(self, taken: Callable[[int], bool]) -> int | None:
        """The next never-used address that is not taken; the cursor passes taken ones for good, O(1) amortised."""
        while self.returned:
            address = next(iter(self.returned))
            if not taken(address):
                return address
            del self.returned[address]
        while self._range < len(self.pool.ranges):
            last = self.pool.ranges[self._range][1]
            while self._cursor <= last:
                if not taken(self._cursor):
                    return self._cursor
                self._cursor += 1
            self._range += 1
            if self._range < len(self.pool.ranges):
                self._cursor = self.pool.ranges[self._range][0]
        return None


class LeaseTable:
    """All leases of one address family."""

    def __init__(self, pools: Iterable[Pool]) -> None:
        """An empty table over these pools."""
        self._rows: dict[int, Lease] = {}
        self._clients: dict[bytes, list[int]] = {}
        self._offers: dict[int, Offered] = {}
        self._offered: dict[bytes, list[int]] = {}  # client -> the addresses of its OFFERs, one a pool, the newest last
        self._confirmed: dict[int, int] = {}
        self._kept: dict[int, bytes] = {}  # address -> the client for whom the partner reserves it
        self._out: dict[int, None] = {}  # of these, those that are part of their pool no longer
        self.pools: dict[str, PoolState] = {}
        self._heap: list[tuple[int, int]] = []
        self._due: dict[int, int] = {}
        starts: list[tuple[int, int, PoolState]] = []
        for pool in pools:
            state = PoolState(pool)
            self.pools[pool.name] = state
            starts.extend((first, last, state) for first, last in pool.ranges)
        starts.sort(key=lambda item: item[0])
        self._ranges = starts
        self._firsts = [item[0] for item in starts]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._rows)

    def pool_of(self, address: int) -> PoolState | None:
        """The pool that holds the address, None outside every pool (a reservation's address)."""
        return None if address in self._out else self.home_of(address)

    def home_of(self, address: int) -> PoolState | None:
        """The pool in whose ranges the address lies, also while the partner reserves it."""
        i = bisect_right(self._firsts, address) - 1
        if i >= 0 and address <= self._ranges[i][1]:
            return self._ranges[i][2]
        return None

    def get(self, address: int) -> Lease:
        """The record of an address; a never-used one reads as FREE."""
        return self._rows.get(address) or virgin(address)

    def has_row(self, address: int) -> bool:
        """Whether the address was ever used or announced."""
        return address in self._rows

    def rows(self) -> Iterator[Lease]:
        """All rows, in no order that may be relied on for decisions."""
        return iter(list(self._rows.values()))

    def of_client(self, client: bytes) -> list[Lease]:
        """The leases whose last client this is, oldest first."""
        return [self._rows[a] for a in self._clients.get(client, ())] if client else []

    def put(self, lease: Lease, due: int | None) -> None:
        """Store a record. `due`: when the clock changes it next (mclt.due)."""
        address = lease.address
        old = self._rows.get(address)
        if address in self._kept and self._settled(lease):
            self._withdraw(address)
        state = self.pool_of(address)
        if old is not None:
            self._unindex(old, state)
        self._rows[address] = lease
        client = lease.client
        if lease.state is not BindingState.ACTIVE or lease.owed or (old is not None and old.client != client):
            self._confirmed.pop(address, None)  # what is owed stands by itself, and the partner hears it
        if lease.state is BindingState.ACTIVE:
            self.take_offer(address)  # also when the partner leased it: an OFFER that nobody took up must not deny it to its client
        if client:
            self._clients.setdefault(client, []).append(address)
        if state is not None:
            state.counts[lease.state] += 1
            state.barren.pop(lease.state, None)
            if lease.state is BindingState.FREE:
                state.free[address] = None
            elif lease.state is BindingState.BACKUP:
                state.backup[address] = None
        self.set_due(address, due)

    def _unindex(self, old: Lease, state: PoolState | None) -> None:
        if old.client:
            held = self._clients[old.client]
            held.remove(old.address)
            if not held:
                del self._clients[old.client]
        if state is not None:
            state.counts[old.state] -= 1
            state.free.pop(old.address, None)
            state.backup.pop(old.address, None)

    # --- offers ---------------------------------------------------------------------------------------------------------

    def offer(self, address: int, client: bytes, mono: float) -> None:
        """Reserve an address in memory for this client, in the place of what it was offered of the same pool before."""
        state = self.pool_of(address)
        for earlier in [each for each in self._offered.get(client, ()) if each != address and self.pool_of(each) is state]:
            self._drop_offer(earlier)
        self._reserve(address, client, mono)
        self._offered.setdefault(client, []).append(address)

    def deny(self, address: int, mono: float) -> None:
        """Offer an address to nobody for as long as an OFFER would reserve it: somebody was found there."""
        self._reserve(address, NOBODY, mono)

    def _reserve(self, address: int, client: bytes, mono: float) -> None:
        if len(self._offers) >= OFFER_LIMIT:
            self._drop_offer(next(iter(self._offers)))
        before = self._offers.pop(address, None)
        if before is not None:
            self._forget(before.client, address)
        self._offers[address] = Offered(client, mono + OFFER_S)

    def offered_to(self, address: int, mono: float) -> bytes:
        """The client that holds a live OFFER of this address, b"" for none."""
        held = self._offers.get(address)
        return held.client if held is not None and held.until_mono > mono else b""

    def offer_of(self, client: bytes, mono: float) -> int:
        """The address that is reserved for a client by its newest live OFFER, 0 for none."""
        address = next(reversed(self._offered.get(client, ())), 0)
        return address if address and self.offered_to(address, mono) == client else 0

    def take_offer(self, address: int) -> None:
        """The offer is used up, or void."""
        if address in self._offers:
            self._drop_offer(address)

    def sweep_offers(self, mono: float) -> None:
        """Give up the offers that ran out; they are in the order in which they were made."""
        while self._offers:
            address = next(iter(self._offers))
            if self._offers[address].until_mono > mono:
                return
            self._drop_offer(address)

    def offers_in(self, pool: Pool) -> int:
        """How many of a pool's addresses are reserved by OFFER."""
        return sum(1 for a in self._offers if any(first <= a <= last for first, last in pool.ranges))

    def _drop_offer(self, address: int) -> None:
        self._forget(self._offers.pop(address).client, address)
        state, row = self.pool_of(address), self._rows.get(address)
        if state is not None and row is None:
            state.returned[address] = None
        elif state is not None and row is not None:
            state.barren.pop(row.state, None)  # a free one can be given again

    def _forget(self, client: bytes, address: int) -> None:
        held = self._offered.get(client)
        if held is not None and address in held:  # not of NOBODY's
            held.remove(address)
            if not held:
                del self._offered[client]

    # --- the partner's reservations -------------------------------------------------------------------------------------

    def keep(self, address: int, client: bytes) -> None:
        """The partner reserves an address for a client: nobody else gets it here. It leaves its pool when no other client's lease on it is
        left."""
        if self.pool_of(address) is None and address not in self._out:
            return
        self._kept[address] = client
        if self._settled(self.get(address)):
            self._withdraw(address)

    def unkeep(self, address: int) -> None:
        """It does so no longer: the address is part of its pool again."""
        self._kept.pop(address, None)
        if address not in self._out:
            return
        del self._out[address]
        state, row = self.pool_of(address), self._rows.get(address)
        if state is None:
            return
        state.gone -= 1
        state.barren.clear()
        if row is None:
            state.returned[address] = None
            return
        state.counts[row.state] += 1
        if row.state is BindingState.FREE:
            state.free[address] = None
        elif row.state is BindingState.BACKUP:
            state.backup[address] = None

    def kept_from(self, client: bytes, address: int) -> bool:
        """Whether the partner reserves for another the address that this client still has a lease on: nothing longer may be promised, for
        the partner gives the address away when the lease has ended."""
        return address in self._kept and address not in self._out and self._kept[address] != client

    def _settled(self, lease: Lease) -> bool:
        """Whether nobody but the client that the address is kept for holds it. What is still owed does not matter: the partner, for which
        the address is in no pool, would refuse it for ever."""
        return lease.state is not BindingState.ACTIVE or self._kept[lease.address] in (lease.client, b"\x00" + lease.hw)

    def _withdraw(self, address: int) -> None:
        state, row = self.pool_of(address), self._rows.get(address)
        if state is None:
            return
        if address in self._offers:
            self._drop_offer(address)
        self._out[address] = None
        state.gone += 1
        state.returned.pop(address, None)
        if row is not None:
            state.counts[row.state] -= 1
            state.free.pop(address, None)
            state.backup.pop(address, None)

    def _taken(self, address: int) -> bool:
        """Whether a never-used address is none, or is somebody's."""
        return address in self._rows or address in self._offers or address in self._kept

    # --- confirmations --------------------------------------------------------------------------------------------------

    def confirm(self, address: int, wall: int) -> None:
        """An ACK of what remains was sent and nothing written: kept in memory until the lease ends, changes hands, or is owed to the
        partner. A renewal that was under way at the partner ends it not: what the partner tells after it may be of before the ACK."""
        self._confirmed[address] = wall

    def confirmed(self, address: int) -> int:
        """When the lease was last confirmed without a write, 0 for never. UTC seconds."""
        return self._confirmed.get(address, 0)

    # --- free addresses -------------------------------------------------------------------------------------------------

    def first_free(self, state: PoolState, own: BindingState, accept: Callable[[Lease], bool], mono: float) -> Lease | None:
        """The best free address of a pool in state `own` that is not offered and that `accept`s: never used first (FREE only), then
        the one that has been free for longest. What was passed over goes to the end of the queue, so that nobody looks at it again
        soon; when all was refused, the pool is barren for a second."""
        if own is BindingState.FREE:
            address = state.next_virgin(self._taken)
            if address is not None and accept(virgin(address)):
                return virgin(address)
        if state.barren.get(own, mono) > mono:
            return None
        queue = state.free if own is BindingState.FREE else state.backup
        passed: list[int] = []
        for address in queue:
            lease = self._rows[address]
            if address not in self._offers and accept(lease):
                for each in passed:
                    del queue[each]
                    queue[each] = None
                return lease
            passed.append(address)
        state.barren[own] = mono + BARREN_S
        return None

    def free_in_order(self, state: PoolState, own: BindingState) -> Iterator[Lease]:
        """The free addresses of a pool in state `own` that are not offered, in the order of `first_free`. The caller may change each one
        that it is given, and must change a never-used one."""
        while own is BindingState.FREE:
            address = state.next_virgin(self._taken)
            if address is None:
                break
            yield virgin(address)
        for address in list(state.free if own is BindingState.FREE else state.backup):
            if address not in self._offers:
                yield self._rows[address]

    # --- the clock's queue ------------------------------------------------------------------------------------------------

    def set_due(self, address: int, due: int | None) -> None:
        """When the clock changes this row next; None: never."""
        if due is None:
            self._due.pop(address, None)
            return
        if self._due.get(address) == due:
            return
        self._due[address] = due
        heappush(self._heap, (due, address))
        if len(self._heap) > 2 * len(self._due) + 1024:
            self._heap = [(when, a) for a, when in self._due.items()]
            heapify(self._heap)

    def next_due(self) -> int | None:
        """The earliest wall time at which a row is due."""
        while self._heap:
            when, address = self._heap[0]
            if self._due.get(address) == when:
                return when
            heappop(self._heap)
        return None

    def pop_due(self, now: float) -> Lease | None:
        """The next row whose time has come, taken off the queue."""
        when = self.next_due()
        if when is None or when > now:
            return None
        address = heappop(self._heap)[1]
        del self._due[address]
        return self._rows[address]
