"""Binding updates that we owe the partner: the queue, what is in flight, what the partner asked for, its acks.

BNDUPD, BNDACK, UPDREQ, UPDREQALL, UPDDONE as the sender: failover-protocol.md 6.5 to 6.8, safety.md 2, 13, 18. Knows no link: messages are
handed to `link.send`, lease changes to `house.change`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from failoverd.failover import message as wire
from failoverd.failover import private, reasons
from failoverd.failover.bindings import binding_of
from failoverd.failover.dialect import NAMES
from failoverd.failover.message import Message, RejectReason
from failoverd.failover.pool_transfer import House, PoolTransfer
from failoverd.failover.terms import Terms
from failoverd.leases import reclaim
from failoverd.leases.lease import BindingState, Lease
from failoverd.leases.rights import Rights
from failoverd.leases.table import PoolState
from failoverd.ports import Now, Origin

RETRY_REFUSED_S = 4.0  # an update refused with another reason than 16 is told again after this, doubled at each refusal, up to
RETRY_REFUSED_MOST_S = 300.0
RETRY_LESS_CRITICAL_S = 4.0  # a RELEASED or ABANDONED refused with 16 is told once more after this (failover-protocol.md 6.4)
FREED = (BindingState.EXPIRED, BindingState.RELEASED, BindingState.RESET)
ENDS = (BindingState.EXPIRED, BindingState.FREE, BindingState.BACKUP)  # of a lease that is over by the partner's clock


class Link(Protocol):
    """The established link of the relationship, and the dialect that it has."""

    dialect: int

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
    sent: float  # mono


@dataclass(slots=True)
class Request:
    """An UPDREQ* of the partner: answered by UPDDONE when each lease of the set was acked or rejected since (safety.md 18)."""

    xid: int
    everything: bool
    remaining: set[int]


class UpdateQueue(PoolTransfer):
    """The update queue of one relationship. Queued are addresses; a lease's data is read when its BNDUPD is made."""

    def __init__(self, terms: Terms, house: House, pools: list[PoolState]) -> None:
        """Nothing owed yet; the boot re-owes from the rows."""
        super().__init__(terms, house, pools)
        self.queue: dict[int, None] = {}
        self.flights: dict[int, Flight] = {}
        self.in_flight: dict[int, int] = {}
        self.again: set[int] = set()
        self.request: Request | None = None
        self.retries: dict[int, float] = {}
        self.refused: dict[int, int] = {}  # address -> how often the partner refused it since it last took it
        self.retried: dict[int, int] = {}  # address -> generation that was told a second time on this link

    # --- owing ------------------------------------------------------------------------------------------------------------

    @property
    def owed(self) -> int:
        """How many updates wait or are in flight."""
        return len(self.queue) + len(self.flights)

    def untold(self, of: Iterable[int]) -> set[int]:
        """Which of these addresses the partner has not answered for."""
        return {address for address in of if address in self.queue or address in self.in_flight}

    @property
    def oldest_flight(self) -> float | None:
        """When the oldest update that has no answer was sent (mono), None when all have theirs."""
        return next((flight.sent for flight in self.flights.values()), None)

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
        """Entry to normal: everything owed, and every EXPIRED, RELEASED and RESET lease (5.3), but what is on its way just so already:
        it was pushed before the state (legend U), and would be told twice."""
        flying = {flight.address: flight.generation for flight in self.flights.values()}
        for lease in self._rows():
            if (lease.owed or lease.state in FREED) and flying.get(lease.address) != lease.generation:
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
            if self.house.table.pool_of(address) is None:
                self._not_told(lease, now)
                continue
            if lease.rewind is not lease.state and self.house.table.has_row(address):
                lease = self.house.change(lease, lease.evolve(rewind=lease.state), Origin.PARTNER, "told", now)
            self.queue.pop(address, None)  # a change owes the address anew, and it is just about to fly
            xid = link.next_xid()
            cltt = lease.cltt if self.terms.partner_is_dhcpd else max(lease.cltt, lease.partner_cltt)
            self.flights[xid] = Flight(address, lease.state, lease.ends, lease.potential, cltt, lease.generation, now.mono)
            self.in_flight[address] = xid
            message = wire.bndupd(int(now.wall), xid, binding_of(lease))
            if link.dialect >= NAMES:
                message.options.append((private.NAMES, private.encode_names(self.house.names_of(lease))))
            link.send(message)
        self._finish_request(link, now)

    def _not_told(self, lease: Lease, now: Now) -> None:
        """The partner has reserved the address, so it has left its pool: there is nothing to agree on, and it would be refused."""
        if lease.rejected:
            self.house.change(lease, lease.evolve(rejected=0), Origin.PARTNER, "reserved by the partner", now)
        self.refused.pop(lease.address, None)
        if self.request is not None:
            self.request.remaining.discard(lease.address)

    def _finish_request(self, link: Link, now: Now) -> None:
        if self.request is not None and not self.request.remaining:
            link.send(wire.upddone(int(now.wall), self.request.xid))
            self.request = None

    def asked(self, xid: int, everything: bool, *, unused: bool) -> None:
        """UPDREQ or UPDREQALL. A repeat while one is under way takes the newer xid and adds what has changed since (2.2). `unused`:
        never-used addresses are told as well, as dhcpd expects; between two failoverd they are no messages (safety.md 23)."""
        wanted: set[int] = set()
        for lease in self._rows():
            if everything or lease.owed or lease.state in FREED:
                wanted.add(lease.address)
        if everything and unused:
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

    def acked(self, message: Message, rights: Rights, link: Link, now: Now) -> None:
        """A BNDACK: the acked expiry moves to exactly what its BNDUPD carried (safety.md 2); a reject moves nothing."""
        flight = self.flights.get(message.xid)
        address = message.u32(wire.OptionCode.ASSIGNED_IP_ADDRESS)
        if flight is None or (address is not None and address != flight.address):
            self.house.note(reasons.STRAY_ACK, now, address=address or 0, subject=self.terms.name, detail=f"xid {message.xid}")
            return
        del self.flights[message.xid]
        del self.in_flight[flight.address]
        reason = message.u8(wire.OptionCode.REJECT_REASON)
        if reason is None:
            self._accepted(flight, rights, now)
            data = private.option(message, private.NAMES) if link.dialect >= NAMES else None
            self.house.names_acked(flight.address, private.decode_names(data) if data is not None else None, now)
        else:
            self._rejected(flight, reason, message.text(wire.OptionCode.MESSAGE) or "", now)
        self.house.update_answered(flight.address, flight.generation, now)
        newer = flight.address in self.again
        if newer:
            self.again.discard(flight.address)
            self.queue[flight.address] = None
        # A refused claim that grew meanwhile is told whole before UPDDONE: the partner keeps the address until its end (safety.md 19).
        if self.request is not None and not (newer and reason is not None):
            self.request.remaining.discard(flight.address)

    def _accepted(self, flight: Flight, rights: Rights, now: Now) -> None:
        table = self.house.table
        lease = table.get(flight.address)
        unchanged = lease.generation == flight.generation
        if not table.has_row(flight.address):
            return
        self.refused.pop(flight.address, None)
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
            self.house.note(reasons.LESS_CRITICAL, now, address=flight.address, subject=self.terms.name, detail=detail)
            told_wrong = lease.state in (BindingState.RELEASED, BindingState.ABANDONED) and lease.generation == flight.generation
            if told_wrong and self.retried.get(flight.address) != lease.generation:  # once (6.4)
                self.retried[flight.address] = lease.generation
                self.retries[flight.address] = now.mono + RETRY_LESS_CRITICAL_S
            return
        times = self.refused[flight.address] = self.refused.get(flight.address, 0) + 1
        self.retries[flight.address] = now.mono + min(RETRY_REFUSED_S * 2.0 ** min(times - 1, 10), RETRY_REFUSED_MOST_S)
        detail = f"{detail} (attempt {times})"
        self.house.note(reasons.REFUSED_BY_PARTNER, now, address=flight.address, subject=self.terms.name, detail=detail)
        # A never-used address becomes a row by this: it is given out by neither until agreed (safety.md 18).
        self.house.change(lease, lease.evolve(rejected=reason), Origin.PARTNER, f"rejected {reason}", now)
