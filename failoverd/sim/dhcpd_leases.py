"""The leases of a modelled dhcpd: its update queue, BNDUPD and BNDACK, expiry, what it grants (failover-protocol.md 6 to 8).

dhcpd's ways, not ours: dhcpd_tables.py has the tables. One pool; a client is its hardware address (htype octet first).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from failoverd.failover import balance
from failoverd.failover import message as wire
from failoverd.failover.hashing import bucket, owner_is_primary
from failoverd.failover.message import Binding, Message, OptionCode, RejectReason, ServerState
from failoverd.leases.lease import BindingState
from failoverd.sim import dhcpd_tables as tables
from failoverd.sim.dhcpd_tables import Tables, Take

S = ServerState
B = BindingState
ACK_BATCH_S = 2
ABANDON_S = 86400
FREED = (B.EXPIRED, B.RELEASED, B.RESET)
CLIENT_NEEDED = (B.ACTIVE, B.EXPIRED, B.RELEASED)


def may_push_back(free: int, backup: int, max_ownership: int) -> bool:
    """8.2: the secondary does not hoard, so the primary may hand it a just-freed address of its own client."""
    hold = ((free + backup) * max_ownership + 50) // 100
    return int((free - backup) / 2) > -hold


@dataclass(slots=True)
class DhcpdLease:
    """One address of the lease file, in dhcpd's own words (6.2). `desired` and `last_xid` are memory only."""

    address: int
    state: BindingState = B.FREE
    rewind: BindingState = B.FREE
    desired: BindingState = B.FREE
    hw: bytes = b""
    starts: int = 0
    ends: int = 0
    tstp: int = 0
    tsfp: int = 0
    atsfp: int = 0
    cltt: int = 0
    last_xid: int = 0


class Exited(Exception):
    """dhcpd has ended itself."""


class DhcpdLeases:
    """Leases, queues and grants; the base of a Dhcpd. Times are UTC seconds."""

    def __init__(self, *, primary: bool, addresses: tuple[int, ...], mclt_s: int, lease_s: int, hba: bytes, plan: Tables) -> None:
        """An empty lease file."""
        self.primary, self.mclt_s, self.lease_s, self.hba, self.tables = primary, mclt_s, lease_s, hba, plan
        self.leases = {address: DhcpdLease(address) for address in addresses}
        self.queue: list[int] = []
        self.acks: list[int] = []  # in flight
        self.unacked = 0
        self.to_ack: list[tuple[int, int]] = []  # (xid, address)
        self.acks_due: int | None = None
        self.marker: int | None = None  # UPDDONE goes out when this address is acked; survives a lost link
        self.updxid = 0
        self.now = 0
        self.window = 0
        self.xid = 0
        self.state = S.RECOVER
        self.since = 0
        self.partner_state = 0

    # --- what the relationship provides ---------------------------------------------------------------------------------

    @property
    def linked(self) -> bool:
        """Whether there is an established link."""
        raise AssertionError("a Dhcpd knows")

    def send(self, message: Message) -> None:
        """On the established link."""
        raise AssertionError("a Dhcpd sends")

    def service(self) -> str:
        """The service class, "" for silence (5.1, 5.2)."""
        serves = tables.SERVES.get(self.state, "")
        return "" if self.partner_state in tables.MUTED_BY_PEER else serves

    # --- the queue (6.7) --------------------------------------------------------------------------------------------------

    def _queue(self, lease: DhcpdLease, *, at_once: bool) -> None:
        if lease.address not in self.queue:
            self._unflight(lease)
            self.queue.append(lease.address)
            if at_once:
                self.send_updates()

    def _unflight(self, lease: DhcpdLease) -> None:
        if lease.address in self.acks:
            self.acks.remove(lease.address)
            self.unacked -= 1
        lease.last_xid = 0

    def rescind(self) -> None:
        """5.3 step 1."""
        self.queue = self.acks + self.queue
        self.acks = []
        self.unacked = 0

    def generate(self, *, everything: bool) -> None:
        """What an UPDREQ*, or entering normal, puts on the queue."""
        for lease in self.leases.values():
            waiting = lease.address in self.queue or lease.address in self.acks
            if not waiting and (everything or lease.tstp > lease.atsfp or lease.state in FREED):
                lease.desired = lease.state
                self._queue(lease, at_once=False)

    def send_updates(self) -> None:
        """As many as the peer's window takes; acks that wait go first."""
        if not self.linked:
            return
        self.send_acks()
        while self.queue and self.window > self.unacked:
            lease = self.leases[self.queue.pop(0)]
            self.xid = self.xid or 1
            lease.last_xid = self.xid
            self.xid += 1
            lease.rewind = lease.state
            told = Binding(
                lease.address, lease.desired, b"", lease.hw, lease.ends, lease.tstp, lease.starts, lease.cltt or None, None
            )
            self.send(wire.bndupd(self.now, lease.last_xid, told))
            self.acks.append(lease.address)
            self.unacked += 1

    def send_acks(self) -> None:
        """What waits to be acked; without a link it is lost."""
        for xid, address in self.to_ack:
            if self.linked:
                self.send(wire.bndack(self.now, xid, address))
        self.to_ack, self.acks_due = [], None

    # --- BNDUPD (6.3) -----------------------------------------------------------------------------------------------------

    def on_bndupd(self, message: Message) -> None:
        """Judge, store, queue the ack."""
        told = wire.binding(message)
        reject = self._judge(told)
        if reject is not None:
            self.send(wire.bnd_reject(self.now, message.xid, told.address, reject[0], reject[1]))
            return
        assert told.address is not None
        assert told.state is not None
        lease = self.leases[told.address]
        self._store(lease, told)
        self.to_ack.append((message.xid, told.address))
        if len(self.to_ack) >= self.window // 2:
            self.send_acks()
        else:
            self.acks_due = self.now + ACK_BATCH_S
        if told.state in FREED and self.primary and self._peer_wants(lease) and self._peer_short():
            self._change(lease, B.BACKUP, tstp=self.now, starts=self.now, at_once=True)

    def _judge(self, told: Binding) -> tuple[int, str] | None:
        """The reject code and text, None to accept. Raises Exited."""
        if told.address is None or told.state is None:
            return RejectReason.MISSING_BINDING_INFORMATION, "binding update lacks required options"
        lease = self.leases.get(told.address)
        if lease is None:
            return RejectReason.ILLEGAL_IP_ADDRESS, "unknown IP address"
        if lease.address in self.acks:
            if tables.ours_is_better(lease.desired, lease.cltt, told.state, told.cltt or 0, self.primary):
                return RejectReason.LESS_CRITICAL_BINDING, "incoming update is less critical than outgoing update"
            self._unflight(lease)
        if told.hw is not None and told.state == B.ABANDONED:
            return RejectReason.MISC, "BNDUPD to ABANDONED with a CHADDR"
        if told.hw is not None and len(told.hw) > wire.LONGEST_HW:
            return RejectReason.MISC, "chaddr too long"
        if told.hw is None and told.state in CLIENT_NEEDED:
            return RejectReason.MISSING_BINDING_INFORMATION, "BNDUPD without CHADDR"
        if told.client_id is not None and told.state == B.ABANDONED:
            return RejectReason.MISC, "BNDUPD to ABANDONED with client-id"
        take = tables.takes(self.state is S.NORMAL, self.primary, lease.state, told.state)
        if take is Take.EXIT:
            raise Exited(f"binding status {told.state}")
        ahead = take is Take.UNLESS_POTENTIAL and (told.potential or 0) > self.now
        ahead = ahead or (take is Take.UNLESS_END and lease.ends - tables.TOLERANCE_S > self.now)
        if take is Take.REJECT or ahead:
            return RejectReason.FATAL_CONFLICT, "invalid state transition"
        return None

    def _store(self, lease: DhcpdLease, told: Binding) -> None:
        assert told.state is not None
        if told.hw is not None:
            lease.hw = told.hw
        elif told.state == B.ABANDONED:
            lease.hw = b""
        lease.starts = lease.starts if told.starts is None else told.starts
        lease.ends = lease.ends if told.ends is None else told.ends
        if told.potential is not None:
            lease.tsfp = lease.atsfp = told.potential
        known = told.state in tuple(B)
        lease.state = B.FREE if not known or told.state in FREED else B(told.state)
        lease.rewind = lease.state

    def _peer_wants(self, lease: DhcpdLease) -> bool:
        return bool(lease.hw) and owner_is_primary(self.hba, bucket(lease.hw[1:])) is not self.primary

    def _counts(self) -> tuple[int, int]:
        free = sum(each.state is B.FREE for each in self.leases.values())
        return free, sum(each.state is B.BACKUP for each in self.leases.values())

    def _peer_short(self) -> bool:
        free, backup = self._counts()
        return may_push_back(free, backup, 10)

    # --- BNDACK (6.6) -----------------------------------------------------------------------------------------------------

    def on_bndack(self, message: Message) -> None:
        """The acked update leaves the window; its mistakes are dhcpd's."""
        lease = self.leases.get(message.u32(OptionCode.ASSIGNED_IP_ADDRESS) or 0)
        if lease is None:
            return
        to_backup = False
        if message.u8(OptionCode.REJECT_REASON) is None and lease.last_xid:
            if lease.last_xid != message.xid:
                return  # the window leaks (10.2 #13)
            named = message.raw(OptionCode.CLIENT_IDENTIFIER) is not None
            lease.tsfp = lease.atsfp = (message.u32(OptionCode.POTENTIAL_EXPIRATION_TIME) or 0) if named else lease.tstp
            if lease.desired in FREED:
                lease.state = lease.desired = lease.rewind = B.FREE
                to_backup = self.primary and self._peer_wants(lease)
            else:
                lease.state = lease.desired
        self._unflight(lease)
        if self.marker == lease.address:
            self.marker = None
            self._upddone()
        if to_backup and self._peer_short():
            self._change(lease, B.BACKUP, tstp=self.now, starts=self.now, at_once=True)
        self.send_updates()

    def on_request(self, message: Message, *, everything: bool) -> None:
        """UPDREQ or UPDREQALL: UPDDONE when what is last in the queue now is acked (2.2)."""
        self.marker = None
        self.generate(everything=everything)
        self.updxid = message.xid
        if self.queue:
            self.marker = self.queue[-1]
            self.send_updates()
        else:
            self._upddone()

    def _upddone(self) -> None:
        if self.linked:
            self.send(wire.upddone(self.now, self.updxid))

    # --- changes, expiry, balance -----------------------------------------------------------------------------------------

    def _change(
        self, lease: DhcpdLease, to: BindingState, *, at_once: bool, tstp: int | None = None, starts: int | None = None
    ) -> None:
        """A change of our own that the peer must hear of."""
        if self.linked:
            lease.rewind = to  # without a link it is announced to nobody and may be undone (7.4)
        lease.state = lease.desired = to
        lease.atsfp = 0
        lease.tstp = lease.tstp if tstp is None else tstp
        lease.starts = lease.starts if starts is None else starts
        self._queue(lease, at_once=at_once)

    def own_free(self) -> BindingState:
        """The free state that is ours to hand out."""
        return B.FREE if self.primary else B.BACKUP

    def expire(self) -> None:
        """Leases whose time has come (7.3 to 7.5)."""
        service = self.service()
        for lease in self.leases.values():
            if lease.state is B.ACTIVE and lease.ends <= self.now and (service == "cooperating") <= self.primary and service:
                if service == "not cooperating" and lease.rewind is self.own_free():
                    self._change(lease, self.own_free(), tstp=lease.ends, at_once=True)
                else:
                    if service == "partner-down":
                        lease.tsfp = self.since + self.mclt_s
                    self._change(lease, B.EXPIRED, at_once=True)
            else:
                over = lease.state in FREED and self.state is S.PARTNER_DOWN and max(lease.tsfp, lease.ends) <= self.now
                if over or (lease.state is B.ABANDONED and lease.ends <= self.now and self.primary):
                    self._change(lease, B.FREE, tstp=lease.ends, at_once=True)

    def next_expiry(self) -> int | None:
        """When `expire` has something to do next."""
        due = [each.ends for each in self.leases.values() if each.state in (B.ACTIVE, B.ABANDONED)]
        if self.state is S.PARTNER_DOWN:
            due += [max(each.tsfp, each.ends) for each in self.leases.values() if each.state in FREED]
        return min((when for when in due if when > self.now), default=None)

    def rebalance(self) -> int:
        """8.1 in normal: give away what we have too many of; how many."""
        if self.state is not S.NORMAL:
            return 0
        free, backup = self._counts()
        part = balance.share(free, backup, self.primary, 15, 10)
        give, moved = part.give, 0
        mine, theirs = (B.FREE, B.BACKUP) if self.primary else (B.BACKUP, B.FREE)
        for affine in (True, False):
            for lease in sorted(self.leases.values(), key=lambda each: each.ends):
                least = -part.hold if affine else part.hold if lease.ends else 0
                if lease.state is mine and give > least and (not affine or self._peer_wants(lease)):
                    self._change(lease, theirs, tstp=self.now, starts=self.now, at_once=False)
                    give, moved = give - 1, moved + 1
        return moved

    # --- clients (7.1, 7.2) -----------------------------------------------------------------------------------------------

    def mine(self, lease: DhcpdLease) -> bool:
        """Whether a new client may have the address."""
        down = self.service() == "partner-down"
        over = (self.since if lease.tsfp < self.since else lease.tsfp) + self.mclt_s < self.now
        if lease.state in (B.FREE, B.ABANDONED):
            return self.primary or (down and over)
        if lease.state is B.BACKUP:
            return not self.primary or (down and over)
        if lease.state in (B.EXPIRED, B.RELEASED):
            return lease.rewind is self.own_free() or (down and lease.tsfp < self.now)
        return lease.state is B.RESET and down and lease.tsfp < self.now

    def ask(self, hw: bytes, now: int) -> tuple[int, int] | None:
        """DISCOVER and REQUEST of a client that this server answers: (address, end of the lease), None for silence."""
        self.now = now
        lease = self.choose(hw, lambda each: True)
        return self._grant(lease, hw) if lease is not None else None

    def choose(self, hw: bytes, open_to: Callable[[DhcpdLease], bool]) -> DhcpdLease | None:
        """The address for a DISCOVER: the client's own, then the head of a free queue (9.5), ABANDONED last. `open_to`: it is not offered
        to another client."""
        if not self.service():
            return None
        for lease in self.leases.values():
            before = lease.state is B.ACTIVE or lease.rewind is B.ACTIVE or self.mine(lease)
            if lease.hw == hw and before:
                return lease
        for state in (self.own_free(), B.FREE if not self.primary else B.BACKUP, B.ABANDONED):
            for lease in sorted(self.leases.values(), key=lambda each: each.ends):
                if lease.state is state and self.mine(lease) and open_to(lease):
                    return lease
        return None

    def abandon(self, lease: DhcpdLease, now: int, for_s: int) -> None:
        """A client found its address in use (DECLINE)."""
        self.now = now
        lease.hw, lease.ends = b"", now + for_s
        self._change(lease, B.ABANDONED, at_once=True)

    def renew(self, hw: bytes, address: int, now: int) -> tuple[int, int] | None:
        """REQUEST for an address held: the new end, None for silence, an end of 0 for a NAK."""
        self.now = now
        lease = self.leases[address]
        if not self.service():
            return None
        if lease.state is B.ACTIVE:
            return self._grant(lease, hw) if lease.hw == hw else (address, 0)
        if self.mine(lease) or (lease.hw == hw and lease.rewind is B.ACTIVE):
            return self._grant(lease, hw)
        return None

    def release(self, hw: bytes, address: int, now: int) -> None:
        """RELEASE."""
        self.now = now
        lease = self.leases[address]
        if self.service() and lease.state is B.ACTIVE and lease.hw == hw:
            lease.ends, lease.cltt = now, now
            undo = self.service() == "not cooperating" and lease.rewind is self.own_free()
            self._change(lease, self.own_free() if undo else B.RELEASED, tstp=now, at_once=True)

    def give_s(self, lease: DhcpdLease) -> int:
        """How long a client may have it (7.1)."""
        want = self.lease_s
        if want <= self.mclt_s:
            return want
        return min(want, max(lease.tsfp - self.now, 0) + self.mclt_s)

    def _grant(self, lease: DhcpdLease, hw: bytes) -> tuple[int, int]:
        want, now, give = self.lease_s, self.now, self.give_s(lease)
        tstp = now + want + give // 2
        lease.tsfp = min(lease.tsfp, tstp)
        lease.hw, lease.ends, lease.cltt = hw, now + give, now
        self._change(lease, B.ACTIVE, tstp=tstp, starts=now, at_once=True)
        return lease.address, lease.ends
