"""Binding updates of one relationship: what we owe the partner, what is in flight, what it tells us.

BNDUPD, BNDACK, UPDREQ, UPDREQALL, UPDDONE, POOLREQ, POOLRESP: failover-protocol.md 6 and 8, safety.md 2, 13, 18, 23. Knows no link:
messages are handed to `link.send`, lease changes to `house.change`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from failoverd.failover import balance
from failoverd.failover import message as wire
from failoverd.failover.bindings import binding_of, both_claims, handed, rested, take_client
from failoverd.failover.hashing import bucket, key, owner_is_primary
from failoverd.failover.message import Binding, Message, RejectReason
from failoverd.failover.terms import Terms
from failoverd.leases import reclaim
from failoverd.leases.binding import judge
from failoverd.leases.lease import BindingState, Lease
from failoverd.leases.rights import Rights
from failoverd.leases.table import LeaseTable, PoolState
from failoverd.notes import declare
from failoverd.ports import Now, Origin

RETRY_LESS_CRITICAL_S = 4.0  # a RELEASED or ABANDONED refused with 16 is told once more after this (failover-protocol.md 6.4)
TRANSFERS_AT_ONCE = 500  # addresses of a pool handed over in one step; the rest follows in the next ones
FREED = (BindingState.EXPIRED, BindingState.RELEASED, BindingState.RESET)

REFUSED_BY_PARTNER = declare(
    "binding-update-refused-by-partner",
    "warning",
    "The partner refused a binding update of ours. Unless the reason is 16 (less critical), the address is given out by neither server"
    " until they agree; it is listed as rejected in `failoverctl lease list`.",
)
LESS_CRITICAL = declare(
    "binding-update-less-critical",
    "debug",
    "Both servers updated one lease at the same moment and the partner's view won (reject reason 16): normal.",
)
REFUSED_BY_US = declare(
    "binding-update-refused",
    "warning",
    "We refused a binding update of the partner's; the reject code and its reason stand in the detail.",
)
STRAY_ACK = declare(
    "binding-ack-unexpected",
    "info",
    "The partner acknowledged an update that is not in flight (an answer to an earlier link, or a wrong xid). Ignored.",
)
CONFLICT = declare(
    "lease-conflict",
    "warning",
    "The partner's binding for an address shows another client than ours did. The partner's binding is taken; our client gets a DHCPNAK at"
    " its next renewal.",
)
POOL_MOVED = declare(
    "pool-balanced", "info", "Free addresses were handed to the partner so that both halves of the pool are level."
)
POOL_ASKED = declare("pool-request", "info", "This server is short of free addresses and asked the partner for some (POOLREQ).")
POOL_ANSWER = declare("pool-answer", "info", "The partner answered a POOLREQ with the number of addresses it hands over.")


class House(Protocol):
    """What updates need of the node: the lease table, and the one place where a lease changes."""

    table: LeaseTable

    def change(self, old: Lease, new: Lease, origin: Origin, cause: str, now: Now) -> Lease:
        """Store a changed lease (table, disk row, DNS intent)."""

    def note(self, name: str, now: Now, *, address: int = 0, subject: str = "", detail: str = "") -> None:
        """Say something to the operator."""


class Link(Protocol):
    """The established link of the relationship."""

    def send(self, message: Message) -> None:
        """After the commit of this step. The xid is set here unless the message answers one."""

    def next_xid(self) -> int:
        """A fresh xid, never 0 for a BNDUPD."""


@dataclass(slots=True)
class Flight:
    """One BNDUPD without its BNDACK, and what exactly it said (safety.md 2)."""

    address: int
    state: BindingState
    ends: int
    potential: int
    cltt: int
    generation: int


@dataclass(slots=True)
class Request:
    """An UPDREQ* of the partner: answered by UPDDONE when each lease of the set was acked or rejected since (safety.md 18)."""

    xid: int
    everything: bool
    remaining: set[int]


class Updates:
    """The update queue of one relationship. Queued are addresses; a lease's data is read when its BNDUPD is made."""

    def __init__(self, terms: Terms, house: House, pools: list[PoolState]) -> None:
        """Nothing owed yet; the boot re-owes from the rows."""
        self.terms = terms
        self.house = house
        self.pools = pools
        self.queue: dict[int, None] = {}
        self.flights: dict[int, Flight] = {}
        self.in_flight: dict[int, int] = {}
        self.again: set[int] = set()
        self.request: Request | None = None
        self.retries: dict[int, float] = {}
        self.retried: dict[int, int] = {}  # address -> generation that was told a second time on this link
        self.last_balance = 0
        self.unfinished = False  # the last run stopped at TRANSFERS_AT_ONCE: the next one is due at once
        self.hba = terms.hba

    # --- owing ------------------------------------------------------------------------------------------------------------

    @property
    def owed(self) -> int:
        """How many updates wait or are in flight."""
        return len(self.queue) + len(self.flights)

    def owe(self, address: int) -> None:
        """The partner does not know our view of this address. One update in flight per lease; several changes collapse into one."""
        if address in self.in_flight:
            self.again.add(address)
        else:
            self.queue[address] = None

    def requeue(self) -> None:
        """The link is gone, or the state was left: what is un-acked is owed again, at the front (5.3 step 1)."""
        front = dict.fromkeys(flight.address for flight in self.flights.values())
        front.update(self.queue)
        self.queue = front
        self.flights.clear()
        self.in_flight.clear()
        self.again.clear()

    def link_lost(self) -> None:
        """Un-acked updates are owed again; a request of the partner's dies with its link."""
        self.requeue()
        self.request = None
        self.retries.clear()
        self.retried.clear()

    def owe_all_unacked(self) -> None:
        """Entry to normal: everything owed, and every EXPIRED, RELEASED and RESET lease (5.3)."""
        for lease in self._rows():
            if lease.owed or lease.state in FREED:
                self.owe(lease.address)

    def _rows(self) -> Iterator[Lease]:
        for lease in self.house.table.rows():
            state = self.house.table.pool_of(lease.address)
            if state is not None and state.pool.relationship == self.terms.name:
                yield lease

    # --- sending ----------------------------------------------------------------------------------------------------------

    def pump(self, link: Link, window: int, now: Now) -> None:
        """Make BNDUPDs from the queue while the partner's window has room. They leave after this step's commit, and with it the
        state that the partner may know is on disk (safety.md 13)."""
        for address, due in list(self.retries.items()):
            if due <= now.mono:
                del self.retries[address]
                self.owe(address)
        while self.queue and len(self.flights) < window:
            address = next(iter(self.queue))
            del self.queue[address]
            lease = self.house.table.get(address)
            if lease.rewind is not lease.state and self.house.table.has_row(address):
                lease = self.house.change(lease, lease.evolve(rewind=lease.state), Origin.PARTNER, "told", now)
            self.queue.pop(address, None)  # a change owes the address anew, and it is just about to fly
            xid = link.next_xid()
            self.flights[xid] = Flight(address, lease.state, lease.ends, lease.potential, lease.cltt, lease.generation)
            self.in_flight[address] = xid
            link.send(wire.bndupd(int(now.wall), xid, binding_of(lease)))
        self._finish_request(link, now)

    def _finish_request(self, link: Link, now: Now) -> None:
        if self.request is not None and not self.request.remaining:
            link.send(wire.upddone(int(now.wall), self.request.xid))
            self.request = None

    def asked(self, xid: int, everything: bool) -> None:
        """UPDREQ or UPDREQALL. A repeat while one is under way takes the newer xid and adds what has changed since (2.2)."""
        wanted: set[int] = set()
        for lease in self._rows():
            if everything or lease.owed or lease.state in FREED:
                wanted.add(lease.address)
        if everything:
            for state in self.pools:
                for first, last in state.pool.ranges:
                    wanted.update(range(first, last + 1))
        if self.request is not None and self.request.everything >= everything:
            wanted = self.request.remaining | {a for a in wanted if a in self.queue or a in self.again}
            everything = self.request.everything
        self.request = Request(xid, everything, wanted)
        for address in sorted(wanted):
            if address not in self.in_flight:
                self.queue[address] = None

    # --- BNDACK -----------------------------------------------------------------------------------------------------------

    def acked(self, message: Message, rights: Rights, now: Now) -> None:
        """A BNDACK: the acked expiry moves to exactly what its BNDUPD carried (safety.md 2); a reject moves nothing."""
        flight = self.flights.get(message.xid)
        address = message.u32(wire.OptionCode.ASSIGNED_IP_ADDRESS)
        if flight is None or (address is not None and address != flight.address):
            self.house.note(STRAY_ACK, now, address=address or 0, subject=self.terms.name, detail=f"xid {message.xid}")
            return
        del self.flights[message.xid]
        del self.in_flight[flight.address]
        reason = message.u8(wire.OptionCode.REJECT_REASON)
        if reason is None:
            self._accepted(flight, rights, now)
        else:
            self._rejected(flight, reason, message.text(wire.OptionCode.MESSAGE) or "", now)
        if flight.address in self.again:
            self.again.discard(flight.address)
            self.queue[flight.address] = None
        if self.request is not None:
            self.request.remaining.discard(flight.address)

    def _accepted(self, flight: Flight, rights: Rights, now: Now) -> None:
        table = self.house.table
        lease = table.get(flight.address)
        unchanged = lease.generation == flight.generation
        if not table.has_row(flight.address):
            return
        new = lease.evolve(rejected=0)
        # What we have announced less since, or announce next, stays the limit: `potential` may have been lowered by a RELEASE.
        new.acked = flight.potential if unchanged else min(flight.potential, lease.potential)
        new.acked_end = flight.ends if unchanged else min(flight.ends, lease.ends)
        if unchanged:
            new.owed = False
            if flight.state in FREED:
                new = reclaim.agreed(new, BindingState.FREE)
                new = self._settled(new.evolve(rewind=new.state), rights, now)  # it is free there, too (6.3 step 11)
        self.house.change(lease, new, Origin.PARTNER, "acked", now)

    def _rejected(self, flight: Flight, reason: int, text: str, now: Now) -> None:
        lease = self.house.table.get(flight.address)
        detail = f"{reason} {text}".strip()
        if reason == RejectReason.LESS_CRITICAL_BINDING:
            self.house.note(LESS_CRITICAL, now, address=flight.address, subject=self.terms.name, detail=detail)
            told_wrong = lease.state in (BindingState.RELEASED, BindingState.ABANDONED) and lease.generation == flight.generation
            if told_wrong and self.retried.get(flight.address) != lease.generation:  # once (6.4)
                self.retried[flight.address] = lease.generation
                self.retries[flight.address] = now.mono + RETRY_LESS_CRITICAL_S
            return
        self.house.note(REFUSED_BY_PARTNER, now, address=flight.address, subject=self.terms.name, detail=detail)
        # A never-used address becomes a row by this: it is given out by neither until agreed (safety.md 18).
        self.house.change(lease, lease.evolve(rejected=reason), Origin.PARTNER, f"rejected {reason}", now)

    # --- BNDUPD -----------------------------------------------------------------------------------------------------------

    def told(self, message: Message, rights: Rights, in_normal: bool, link: Link, now: Now) -> None:
        """A BNDUPD: judged by the tables, answered by exactly one BNDACK after the commit (6.3)."""
        binding = wire.binding(message)
        refused = self._judge(binding, rights, in_normal, now)
        if refused is not None:
            reason, text = refused
            name = LESS_CRITICAL if reason == RejectReason.LESS_CRITICAL_BINDING else REFUSED_BY_US
            self.house.note(name, now, address=binding.address or 0, subject=self.terms.name, detail=f"{int(reason)} {text}")
            link.send(wire.bnd_reject(int(now.wall), message.xid, binding.address, reason, text))
            self._keep_claim(binding, now)
            return
        assert binding.address is not None
        self._take(binding, rights, now)
        link.send(wire.bndack(int(now.wall), message.xid, binding.address))

    def _keep_claim(self, binding: Binding, now: Now) -> None:
        """We refused the partner's grant to another client than ours: it may be in use until its end (safety.md 19)."""
        if binding.address is None or binding.state != BindingState.ACTIVE or not self.house.table.has_row(binding.address):
            return
        lease = self.house.table.get(binding.address)
        theirs = Lease(0, hw=binding.hw or b"", client_id=binding.client_id or b"").client
        until = both_claims(lease, binding)
        if lease.state is BindingState.ACTIVE and lease.client != theirs and until > lease.disputed:
            self.house.change(lease, lease.evolve(disputed=until), Origin.PARTNER, "disputed", now)

    def _judge(self, binding: Binding, rights: Rights, in_normal: bool, now: Now) -> tuple[int, str] | None:
        """The reject code and its text, or None to accept."""
        if binding.address is None or binding.state is None:
            return RejectReason.MISSING_BINDING_INFORMATION, "binding update lacks required options"
        state = self.house.table.pool_of(binding.address)
        if state is None:
            return RejectReason.ILLEGAL_IP_ADDRESS, "unknown IP address"
        if state.pool.relationship != self.terms.name:
            return RejectReason.ILLEGAL_IP_ADDRESS, "IP address is covered by a different failover relationship state"
        xid = self.in_flight.get(binding.address)
        flight = self.flights[xid] if xid is not None else None
        verdict = judge(
            self.house.table.get(binding.address),
            binding.state,
            hw=binding.hw,
            client_id=binding.client_id,
            potential=binding.potential or 0,
            cltt=binding.cltt or 0,
            flags=binding.flags or 0,
            announced=flight.state if flight is not None else None,
            announced_cltt=flight.cltt if flight is not None else 0,
            in_normal=in_normal,
            primary=self.terms.primary,
            now=int(now.wall),
            slack_s=rights.slack_s,
        )
        return None if verdict.accept else (verdict.reject, verdict.text)

    def _take(self, binding: Binding, rights: Rights, now: Now) -> None:
        """The partner's binding becomes ours; EXPIRED, RELEASED and RESET are FREE straight away (6.3 step 11)."""
        assert binding.address is not None
        assert binding.state is not None
        address = binding.address
        old = self.house.table.get(address)
        told = BindingState(binding.state)
        state = BindingState.FREE if told in FREED else told
        if old.state is state and not self.house.table.has_row(address) and not binding.ends and not binding.hw:
            return  # a never-used address on both sides is not a row (safety.md 23)
        new = old.evolve(state=state, rewind=state, owed=False, rejected=0)
        take_client(new, binding, told)
        if binding.starts is not None:
            new.starts = binding.starts
        if binding.ends is not None:
            new.ends = new.acked_end = binding.ends
        if binding.potential is not None:
            new.potential = new.acked = binding.potential
        new.partner_cltt = binding.cltt or old.partner_cltt
        new.flags = binding.flags or 0
        if new.client != old.client or state is not BindingState.ACTIVE:
            new.fqdn, new.agent = "", b""
            if new.client != old.client:
                new.hostname = ""
                if old.state is BindingState.ACTIVE and state is BindingState.ACTIVE and old.client:
                    new.disputed = both_claims(old, binding)
                    self.house.note(CONFLICT, now, address=address, subject=self.terms.name, detail=old.client.hex())
        if state is BindingState.ACTIVE and new.client == old.client:
            new.not_before = 0  # the client's own renewal ends the rest (safety.md 15)
            if old.state is BindingState.ACTIVE and old.owed and old.ends > new.ends:
                # Both answered one broadcast and the client may have taken our ACK: a duel decides who tells, never to take back a
                # promise. The partner hears of the later end.
                new.ends, new.potential, new.owed = old.ends, max(new.potential, old.potential), True
        xid = self.in_flight.pop(address, None)
        if xid is not None:  # theirs was better: our update in flight is void, its ack will be ignored (6.3 step 4)
            del self.flights[xid]
        self.again.discard(address)
        self.queue.pop(address, None)
        if self.request is not None:
            self.request.remaining.discard(address)
        if told in FREED:
            new = self._settled(new, rights, now)
        self.house.change(old, new, Origin.PARTNER, f"told {told.name}", now)

    def _settled(self, lease: Lease, rights: Rights, now: Now) -> Lease:
        """A lease that has just become free on both: the primary hands it to the secondary when its client is the secondary's and
        the secondary does not hoard (6.3 step 13)."""
        state = self.house.table.pool_of(lease.address)
        if not self.terms.primary or not rights.balanced or state is None or not lease.client or not rested(lease, now):
            return lease
        if owner_is_primary(self.hba, bucket(key(lease.client_id, lease.hw[1:]))):
            return lease
        free, backup = state.count(BindingState.FREE), state.count(BindingState.BACKUP)
        if not balance.may_push_back(free, backup, self.terms.max_ownership):
            return lease
        return handed(lease, BindingState.BACKUP, now)

    # --- pool balance -----------------------------------------------------------------------------------------------------

    def rebalance(self, now: Now) -> tuple[int, bool]:
        """The transfer loop (8.1), in our state normal only. Returns how many addresses were handed over, and whether we are so
        short that a POOLREQ is due. Both servers give, neither takes."""
        moved, short = 0, False
        self.last_balance = int(now.wall)
        for state in self.pools:
            free, backup = state.count(BindingState.FREE), state.count(BindingState.BACKUP)
            terms = self.terms
            part = balance.share(free, backup, terms.primary, terms.max_misbalance, terms.max_ownership)
            short = short or part.give < part.panic
            moved += self._hand_over(state, part, now)
        self.unfinished = moved >= TRANSFERS_AT_ONCE
        if moved:
            self.house.note(POOL_MOVED, now, subject=self.terms.name, detail=f"{moved} addresses")
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

    def _hand_over(self, state: PoolState, part: balance.Share, now: Now) -> int:
        own = BindingState.FREE if self.terms.primary else BindingState.BACKUP
        other = BindingState.BACKUP if self.terms.primary else BindingState.FREE
        table, give, moved = self.house.table, part.give, 0

        def movable(lease: Lease) -> bool:
            """Settled, and not resting: the partner does not know until when (safety.md 15)."""
            return not lease.owed and rested(lease, now)

        theirs = (
            [] if give <= -part.hold else [a for a in (state.free if self.terms.primary else state.backup) if self._partners(a)]
        )
        for address in theirs:
            if give <= -part.hold or moved >= TRANSFERS_AT_ONCE:
                break
            lease = table.get(address)
            if movable(lease):
                self.house.change(lease, handed(lease, other, now), Origin.TIMER, "balance", now)
                give, moved = give - 1, moved + 1
        while moved < TRANSFERS_AT_ONCE:
            lease_or_none = table.first_free(state, own, movable)
            if lease_or_none is None:
                break
            used = table.has_row(lease_or_none.address) and lease_or_none.ends > 0
            if give <= (part.hold if used else 0):
                break
            self.house.change(lease_or_none, handed(lease_or_none, other, now), Origin.TIMER, "balance", now)
            give, moved = give - 1, moved + 1
        return moved

    def _partners(self, address: int) -> bool:
        lease = self.house.table.get(address)
        if not lease.client:
            return False
        return owner_is_primary(self.hba, bucket(key(lease.client_id, lease.hw[1:]))) is not self.terms.primary
