"""A modelled dhcpd as failover partner: its links, states and timers (failover-protocol.md 4 and 5), by the tables of dhcpd_tables.py.

For the exploration (explore.py) and the simulator. Give it what happens (`start`, `link_up`, `link_bytes`, `link_down`, `connect_failed`,
`tick`, `set_state`, and the clients' `ask`, `renew`, `release`), then `take` what it wants: LinkConnect, LinkSend, LinkClose, as a Node's.
It dies (`dead` says of what) where dhcpd's process ends; `lease_file` and `start` carry it over a restart. No clock, no chance in it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

from failoverd.failover import message as wire
from failoverd.failover.message import Framer, Message, MessageType, OptionCode, PartnerError, RejectReason, ServerState
from failoverd.ports import LinkClose, LinkConnect, LinkSend
from failoverd.sim import dhcpd_tables as tables
from failoverd.sim.dhcpd_leases import DhcpdLease, DhcpdLeases, Exited
from failoverd.sim.dhcpd_tables import Act, Cell, Tables

S = ServerState
STARTUP_S = 15
LINK_STARTUP_S = 15
RECONNECT_S = 5
SKEW_S = 60
VENDOR = b"isc-4.4.3-P1"


@dataclass(slots=True, frozen=True)
class DhcpdTerms:
    """One `failover peer` declaration and the pool that names it."""

    name: str
    primary: bool
    addresses: tuple[int, ...]
    mclt_s: int
    lease_s: int
    hba: bytes
    max_response_delay_s: int = 30
    max_unacked: int = 10
    auto_partner_down_s: int = 0


@dataclass(slots=True)
class LeaseFile:
    """What dhcpd has on disk: my state and since when, the peer's, the secondary's MCLT, the leases."""

    state: ServerState = S.RECOVER
    since: int | None = None
    partner_state: int = 0
    mclt_s: int | None = None
    leases: dict[int, DhcpdLease] = field(default_factory=dict)


@dataclass(slots=True)
class DhcpdLink:
    """One TCP connection."""

    number: int
    opened: int
    framer: Framer = field(default_factory=Framer)


class Dhcpd(DhcpdLeases):
    """One running dhcpd with one relationship."""

    def __init__(self, terms: DhcpdTerms, file: LeaseFile, now: int, plan: Tables | None = None) -> None:
        """It starts: startup, the saved state remembered, a connect at once."""
        super().__init__(
            primary=terms.primary,
            addresses=terms.addresses,
            mclt_s=terms.mclt_s if terms.primary or file.mclt_s is None else file.mclt_s,
            lease_s=terms.lease_s,
            hba=terms.hba,
            plan=plan or Tables(),
        )
        self.terms, self.now = terms, now
        self.dead = ""
        self.saved = file.state
        self.state = S.STARTUP
        self.since = now if file.since is None else file.since
        self.partner_state = file.partner_state
        self.asked_all: bool | None = None  # curUPD: survives a lost link
        self.pending: dict[int, DhcpdLink] = {}
        self.link: DhcpdLink | None = None
        self.dialing = True
        self.out: list[LinkConnect | LinkSend | LinkClose] = [LinkConnect(terms.name)]
        self.startup_due: int | None = now + STARTUP_S
        self.recover_due: int | None = None
        self.dial_due: int | None = None
        self.silence_due: int | None = None
        self.contact_due: int | None = None
        self.auto_due: int | None = None
        self.peer_delay_s = 0
        for address, lease in file.leases.items():
            self.leases[address] = copy.copy(lease)
            self.leases[address].desired, self.leases[address].last_xid = lease.state, 0
            if lease.tstp > lease.atsfp:
                self.queue.append(address)

    def lease_file(self) -> LeaseFile:
        """What a restart finds. In startup the saved state is on disk."""
        mine = self.saved if self.state is S.STARTUP else self.state
        leases = {address: copy.copy(lease) for address, lease in self.leases.items()}
        return LeaseFile(mine, self.since, self.partner_state, None if self.primary else self.mclt_s, leases)

    def take(self) -> list[LinkConnect | LinkSend | LinkClose]:
        """What it wants of the world since the last `take`."""
        out, self.out = self.out, []
        return out

    # --- links ------------------------------------------------------------------------------------------------------------

    @property
    def linked(self) -> bool:
        """Whether there is an established link."""
        return self.link is not None

    def send(self, message: Message) -> None:
        """On the established link."""
        assert self.link is not None
        if message.kind not in (
            MessageType.BNDUPD,
            MessageType.BNDACK,
            MessageType.CONNECTACK,
            MessageType.POOLRESP,
            MessageType.UPDDONE,
        ):
            message.xid = self.xid
            self.xid += 1
        self._put(self.link, message)
        self.contact_due = self.now + self.peer_delay_s // 3

    def _put(self, link: DhcpdLink, message: Message) -> None:
        self.out.append(LinkSend(self.terms.name, link.number, wire.encode(message)))

    def link_up(self, number: int, outgoing: bool, now: int) -> None:
        """A connection; the primary sends CONNECT on every one (1.1)."""
        self.now = now
        self.dialing = self.dialing and not outgoing
        link = self.pending[number] = DhcpdLink(number, now)
        if self.primary:
            terms = self.terms
            hello = wire.connect(
                now,
                0,
                name=terms.name.encode(),
                max_unacked=terms.max_unacked,
                receive_timer=terms.max_response_delay_s,
                mclt=self.mclt_s,
                hba=self.hba,
                vendor=VENDOR,
            )
            self._put(link, hello)

    def connect_failed(self, now: int, *, unreachable: bool) -> None:
        """Nobody there. Unreachable or timed out runs the disconnect transition (4.5), unless a link lives by now: seen with a real dhcpd,
        a stale connect that fails after we had connected in leaves that link alone."""
        self.now, self.dialing = now, False
        if unreachable and self.link is None:
            self._lost()
        self.dial_due = now + RECONNECT_S

    def link_down(self, number: int, now: int) -> None:
        """A connection ended."""
        self.now = now
        self.pending.pop(number, None)
        if self.link is not None and self.link.number == number:
            self.link = None
            self._lost()
        self.dial_due = now + RECONNECT_S

    def _close(self, link: DhcpdLink) -> None:
        self.pending.pop(link.number, None)
        self.out.append(LinkClose(self.terms.name, link.number, ""))

    def _drop(self, link: DhcpdLink) -> None:
        """dhcpd closes a link by itself: as if it had ended."""
        self._close(link)
        self.link_down(link.number, self.now)

    def link_bytes(self, number: int, data: bytes, now: int) -> None:
        """Bytes of the peer."""
        self.now = now
        for link in (self.link, self.pending.get(number)):
            if link is None or link.number != number:
                continue
            try:
                messages = link.framer.feed(data)
            except PartnerError as error:
                messages = error.before
                self._run(link, messages)
                self._drop(link)
                return
            self._run(link, messages)
            return

    def _run(self, link: DhcpdLink, messages: list[Message]) -> None:
        for message in messages:
            if self.dead or (link is not self.link and link.number not in self.pending):
                return
            try:
                self._message(link, message)
            except Exited as exited:
                self.dead = str(exited)
                return
            if link is self.link:
                self.silence_due = self.now + self.terms.max_response_delay_s

    def _message(self, link: DhcpdLink, message: Message) -> None:
        kind = message.kind
        if kind == MessageType.CONNECT:
            self._on_connect(link, message)
        elif kind == MessageType.CONNECTACK:
            self._on_connect_ack(link, message)
        elif kind == MessageType.DISCONNECT:
            self._drop(link)
        elif kind == MessageType.STATE:  # before a handshake, too (10.2 #7)
            self._on_state(message.u8(OptionCode.SERVER_STATE) or 0, starting=bool((message.u8(OptionCode.SERVER_FLAGS) or 0) & 1))
        elif kind == MessageType.UPDDONE:
            self._on_upddone()
        elif not self.linked:
            return  # obeyed by dhcpd, too, but its answers are lost; nobody of ours sends these so early
        elif kind == MessageType.BNDUPD:
            self.on_bndupd(message)
        elif kind == MessageType.BNDACK:
            self.on_bndack(message)
        elif kind in (MessageType.UPDREQ, MessageType.UPDREQALL):
            self.on_request(message, everything=kind == MessageType.UPDREQALL)
        elif kind == MessageType.POOLREQ:
            self.send(wire.poolresp(self.now, message.xid, self.rebalance()))
            self.send_updates()

    def _on_connect(self, link: DhcpdLink, message: Message) -> None:
        name = message.raw(OptionCode.RELATIONSHIP_NAME)
        refusal: tuple[int, str] | None = None
        if name != self.terms.name.encode():
            refusal = RejectReason.INVALID_PARTNER, "unknown failover relationship name"
        elif abs(self.now - message.time) > SKEW_S:
            refusal = RejectReason.TIME_MISMATCH, "time offset too large"
        elif len(message.raw(OptionCode.HASH_BUCKET_ASSIGNMENT) or b"") != 32:
            refusal = RejectReason.HBA_CONFLICT, "invalid HBA"
        if refusal is not None:
            self._put(
                link,
                wire.connect_reject(
                    self.now, message.xid, name=name, reason=refusal[0], text=refusal[1], tls_asked=True, vendor=VENDOR
                ),
            )
            self._drop(link)
            return
        if self.link is not None or message.u32(OptionCode.MCLT) is None:
            self._drop(link)  # its CONNECTACK never reaches the wire (4.3)
            return
        self._established(link, message)
        terms = self.terms
        self._put(
            link,
            wire.connect_ack(
                self.now,
                message.xid,
                name=terms.name.encode(),
                max_unacked=terms.max_unacked,
                receive_timer=terms.max_response_delay_s,
                tls_asked=True,
                vendor=VENDOR,
            ),
        )
        self.mclt_s = message.u32(OptionCode.MCLT) or 0
        self._send_state()

    def _on_connect_ack(self, link: DhcpdLink, message: Message) -> None:
        if message.u8(OptionCode.REJECT_REASON) is not None:
            self._drop(link)
            return
        refusal: tuple[int, str] | None = None
        if message.raw(OptionCode.RELATIONSHIP_NAME) != self.terms.name.encode():
            refusal = RejectReason.INVALID_PARTNER, "remote failover relationship name does not match"
        elif self.link is not None:
            refusal = RejectReason.DUPLICATE_CONNECTION, "already connected"
        elif abs(self.now - message.time) > SKEW_S:
            refusal = RejectReason.TIME_MISMATCH, "time offset too large"
        if refusal is not None:
            self._put(link, wire.disconnect(self.now, 0, refusal[0], refusal[1]))
            self._drop(link)
            return
        self._established(link, message)
        self._send_state()

    def _established(self, link: DhcpdLink, message: Message) -> None:
        self.pending.pop(link.number, None)
        self.link = link
        self.xid = 1 if self.primary else 0
        self.window = message.u32(OptionCode.MAX_UNACKED_BNDUPD) or self.window
        self.peer_delay_s = message.u32(OptionCode.RECEIVE_TIMER) or self.peer_delay_s

    # --- states (5) -------------------------------------------------------------------------------------------------------

    def _send_state(self) -> None:
        mine, flags = (self.saved, 1) if self.state is S.STARTUP else (self.state, 0)
        self.send(wire.state(self.now, 0, state=mine, flags=flags, since=self.since))

    def set_state(self, new: int, now: int) -> None:
        """What an operator writes through OMAPI: no guard (11.4)."""
        self.now = now
        self._enter(S(new))

    def _enter(self, new: ServerState) -> None:
        """5.3."""
        old = self.state
        if old in tables.RESCINDS:
            self.rescind()
        if new not in (S.RECOVER_WAIT, S.STARTUP) and old is not S.STARTUP:
            self.since = self.now
        if new is S.RECOVER and old is S.SHUTDOWN and self.partner_state == S.PARTNER_DOWN and not self.queue and not self.acks:
            self.since = self.now - self.mclt_s
        self.state = new
        self.startup_due = self.auto_due = None
        if self.link is not None:
            self._send_state()
        self._entered(new)

    def _entered(self, new: ServerState) -> None:
        """5.3 step 7."""
        if new is S.NORMAL:
            self.rebalance()
            self.generate(everything=False)
            self.send_updates()
        elif new is S.COMMUNICATIONS_INTERRUPTED and self.terms.auto_partner_down_s:
            self.auto_due = self.now + self.terms.auto_partner_down_s
        elif new is S.POTENTIAL_CONFLICT and (self.primary or self.partner_state == S.CONFLICT_DONE):
            self._ask(everything=False)
        elif new is S.RECOVER:
            self._ask(everything=True)
        elif new is S.RECOVER_WAIT:
            self._wait()
        elif new is S.PARTNER_DOWN:
            for lease in self.leases.values():
                if lease.state.name in ("EXPIRED", "RELEASED", "RESET"):
                    lease.tsfp = self.since + self.mclt_s

    def _wait(self) -> None:
        if self.since + self.mclt_s > self.now:
            self.recover_due = self.since + self.mclt_s
        else:
            self._enter(S.RECOVER_DONE)

    def _ask(self, *, everything: bool) -> None:
        if self.link is None:
            return
        everything = everything or self.asked_all is True  # an interrupted UPDREQALL is asked again
        self.asked_all = everything
        self.send(wire.updreqall(self.now, 0) if everything else wire.updreq(self.now, 0))

    def _lost(self) -> None:
        """5.5: the link is gone, or nobody came in 15 s."""
        self.startup_due = self.silence_due = self.contact_due = None
        row = self.saved if self.state is S.STARTUP else self.state
        if row is S.CONFLICT_DONE:
            self.rescind()
        after = self.tables.on_loss[row]
        if self.state is S.STARTUP or after is not row:
            self._enter(after)

    def _on_state(self, number: int, *, starting: bool) -> None:
        """5.4."""
        previous = self.partner_state
        if number == previous and self.state is not S.UNKNOWN:
            if self.state is S.STARTUP:
                self._enter(S.POTENTIAL_CONFLICT if self.saved is S.RESOLUTION_INTERRUPTED else self.saved)
                return
            if self.state in tables.IGNORES_DUPLICATE:
                return
        self.partner_state = number
        if number not in tuple(S):
            self._enter(S.SHUTDOWN)
            return
        row = self.saved if self.state is S.STARTUP else self.state
        cell = self.tables.on_state[row, S(number)]
        if self.state is S.STARTUP:
            cell = tables.FROM_STARTUP.get((row, S(number)), cell)
        if row is S.PARTNER_DOWN and starting:
            cell = Cell(Act.STAY)
        self._do(cell, previous, f"{row.words} and {S(number).words}")
        if self.state is S.STARTUP:
            self._enter(self.saved)

    def _do(self, cell: Cell, previous: int, where: str) -> None:
        if cell.act is Act.EXIT:
            raise Exited(where)
        if cell.act is Act.PUSH_MOVE:
            self.send_updates()
        if cell.to is not None:
            self._enter(cell.to)
        elif cell.act is Act.ASK_ALL and self.state is S.RECOVER:
            self._ask(everything=True)
        elif cell.act is Act.ASK and previous == S.POTENTIAL_CONFLICT:
            self._ask(everything=False)

    def _on_upddone(self) -> None:
        """5.6."""
        self.asked_all = None
        if self.state is S.RECOVER:
            wait = self.since + self.mclt_s > self.now and self.partner_state not in tables.UPDDONE_SKIPS_WAIT
            self._enter(S.RECOVER_WAIT if wait else S.RECOVER_DONE)
            return
        self._do(tables.upddone(self.state, self.partner_state, self.primary), 0, "UPDDONE")

    # --- time (5.7) -------------------------------------------------------------------------------------------------------

    def deadline(self) -> int | None:
        """When `tick` has something to do next."""
        times = [
            self.startup_due,
            self.recover_due,
            self.acks_due,
            self.auto_due,
            self.silence_due,
            self.contact_due,
            self.next_expiry(),
        ]
        if self.link is None and not self.dialing:
            times.append(self.dial_due)
        times += [link.opened + LINK_STARTUP_S for link in self.pending.values()]
        return min((when for when in times if when is not None), default=None)

    def tick(self, now: int) -> None:
        """Everything whose time has come."""
        self.now = now
        if self.startup_due is not None and now >= self.startup_due:
            self._lost()
        for pending in list(self.pending.values()):
            if now >= pending.opened + LINK_STARTUP_S:
                self._drop(pending)
        if self.link is not None and self.silence_due is not None and now >= self.silence_due:
            self._drop(self.link)
        if self.recover_due is not None and now >= self.recover_due:
            self.recover_due = None
            self._enter(S.RECOVER_DONE)  # whatever an operator has made of the state meanwhile
        if self.auto_due is not None and now >= self.auto_due:
            self._enter(S.PARTNER_DOWN)
        if self.acks_due is not None and now >= self.acks_due:
            self.send_acks()
        if self.link is not None and self.contact_due is not None and now >= self.contact_due:
            self.send(wire.contact(now, 0))
        self.expire()
        if self.dial_due is not None and now >= self.dial_due and not self.dialing:
            self.dial_due = None
            if self.link is None:
                self.dialing = True
                self.out.append(LinkConnect(self.terms.name))
