"""The TCP links of one relationship: who may establish one, what goes out on it, what its bytes are (failover-protocol.md 1 and 4).

Turns bytes into messages and messages into bytes, keeps the handshake and the proof of contact; what a message does to the state is
endpoint.py's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from failoverd.failover import handshake, private, reasons
from failoverd.failover import message as wire
from failoverd.failover.clock_memory import ClockMemory
from failoverd.failover.dialect import FACTS, OLDEST, PLAIN, agree
from failoverd.failover.message import Framer, Message, MessageType, OptionCode, PartnerError, RejectReason, ServerState
from failoverd.failover.pool_transfer import House
from failoverd.failover.private import Database, Ping
from failoverd.failover.record import BootFacts, RelationshipRecord
from failoverd.failover.terms import Terms
from failoverd.failover.updates import Updates
from failoverd.ports import LinkClose, LinkSecurity, LinkSend, Now, Output

RETRY_S = 2.0  # between attempts to connect; dhcpd needs 5 s, and 69 s after a long cut
REFUSED_RETRY_S = 5.0  # after a refused handshake
MAX_PENDING_LINKS = 4
STEP_S = 60.0  # a partner that owes us the next step, or the answer to an update, for so long has forgotten it
EXPIRES_SOON_S = 30 * 86400  # of a certificate
ALARM_EVERY_S = 86400.0
CARRY_GENERATION = (MessageType.BNDUPD, MessageType.BNDACK, MessageType.CONTACT)
OFFSET_WINDOW_S = 600.0  # the clock offset is the least delayed sample of this long


class EndpointHouse(House, Protocol):
    """What an endpoint needs of the node besides the lease table."""

    out: Output

    @property
    def generation(self) -> int:
        """Of our database, when what was written so far is committed (safety.md 15)."""

    @property
    def database(self) -> Database | None:
        """Our database now, None when it has no uuid (a simulated one)."""

    @property
    def config_digest(self) -> bytes:
        """Form and SHA-256 of the configuration that both share."""

    def config_sections(self) -> Mapping[str, Mapping[str, str]]:
        """The configuration that both share: section, key, value."""

    def state_moved(self, relationship: str, old: ServerState, new: ServerState, now: Now) -> None:
        """The relationship entered a state: dues of leases, DNS ownership and fences follow."""

    def reserved_rows(self, relationship: str) -> list[tuple[bytes, bytes]]:
        """Our reservations in the subnets of a relationship: address, client's key."""

    def reservations_told(self, relationship: str, rows: Sequence[Sequence[bytes]], now: Now) -> None:
        """All that the partner has reserved there."""

    def pings_told(self, relationship: str, pings: Sequence[Ping], now: Now) -> None:
        """Which addresses answered a ping of the partner's, and which did not; when, by our clock."""

    def take_back_ends(self, relationship: str, now: Now) -> None:
        """Both go to normal: leases that a clock, set back since, had ended too early live again (safety.md 10)."""

    def rest_all(self, relationship: str, now: Now) -> None:
        """The partner lost its database: every known lease rests for its full time (safety.md 15)."""

    def granted_beyond(self, relationship: str, contact: int) -> bool:
        """Whether a lease was granted since `contact` (UTC seconds) that the bound of safety.md 11 does not allow, and that the partner
        has not acked."""


@dataclass(slots=True)
class PartnerLink:
    """One TCP connection with the partner. `progress`: when it last said more than CONTACT, or was asked for something."""

    number: int
    outgoing: bool
    opened: float
    received: float
    sent: float
    progress: float
    authenticated: bool = False  # by TLS (safety.md 26)
    framer: Framer = field(default_factory=Framer)
    xid: int = 0


class Links:
    """The pending and the established link; the base of an Endpoint."""

    def __init__(
        self,
        terms: Terms,
        record: RelationshipRecord,
        house: EndpointHouse,
        updates: Updates,
        rng: Random,
        now: Now,
        boot: BootFacts,
    ) -> None:
        """No link yet."""
        self.terms, self.record, self.house, self.updates, self.rng = terms, record, house, updates, rng
        self.pending: dict[int, PartnerLink] = {}
        self.link: PartnerLink | None = None
        self.owes_state = self.owes_record = False
        self.offer = handshake.Offer(0, 20, "", 0, b"")
        self.dialing = False
        self.next_dial = now.mono
        self.clocks = ClockMemory(record, boot, now)
        self.offset_from = now.mono
        self.heard_state = False  # the partner's STATE was received on this link
        self._sent_now = False
        self.apart_since = 0  # the last proven contact before this link
        self.dialect = PLAIN  # of the established link
        self.security = LinkSecurity(terms.name)
        self._alarmed: dict[str, float] = {}  # mono of the last alarm about a certificate

    @property
    def slack_s(self) -> int:
        """How far a comparison across the clocks errs to the safe side (safety.md 10)."""
        return self.clocks.slack_s

    def read_clock(self, now: Now) -> None:
        """The clocks, at the beginning of each step."""
        self.clocks.read(now)

    def _measured(self, offset: int, now: Now) -> None:
        if self.record.doubt is not None:
            self.record.doubt -= self.clocks.set_back_s
        self.clocks.measured(offset, now)
        self.offset_from = now.mono

    def on_message(self, message: Message, now: Now) -> None:
        """A message on the established link."""
        raise AssertionError("an Endpoint handles it")

    def facts(self) -> list[tuple[int, bytes]]:
        """What the handshake tells of this server beside dhcpd's options."""
        raise AssertionError("an Endpoint knows them")

    def on_facts(self, message: Message, now: Now) -> None:
        """What the partner's handshake told so. The link is not established yet."""
        raise AssertionError("an Endpoint handles it")

    def on_established(self, now: Now) -> None:
        """The handshake is complete."""
        raise AssertionError("an Endpoint handles it")

    def on_lost(self, reason: str, now: Now) -> None:
        """The established link is gone."""
        raise AssertionError("an Endpoint handles it")

    def secured(self, security: LinkSecurity, now: Now) -> None:
        """The shell's word on certificates and refused handshakes."""
        self.security = security
        self._watch_certificates(now)

    def _watch_certificates(self, now: Now) -> None:
        """An alarm once a day while one of the two expires soon."""
        for whose, until in (("this server's", self.security.until), ("the partner's", self.security.partner_until)):
            soon = until and until - now.wall < EXPIRES_SOON_S
            if soon and now.mono - self._alarmed.get(whose, -ALARM_EVERY_S) >= ALARM_EVERY_S:
                self._alarmed[whose] = now.mono
                self.house.note(
                    reasons.EXPIRES, now, subject=self.terms.name, detail=f"{whose}: {(until - now.wall) / 86400:.1f} days"
                )

    def link_up(self, number: int, outgoing: bool, now: Now, *, authenticated: bool = False) -> None:
        """A connection is there. The primary sends CONNECT on every one, whoever opened it (1.1). Without TLS there is none where the
        configuration wants it (safety.md 26)."""
        self.dialing = self.dialing and not outgoing
        link = PartnerLink(number, outgoing, now.mono, now.mono, now.mono, now.mono, authenticated)
        if self.terms.tls is not None and not authenticated:
            self.house.note(reasons.UNAUTHENTICATED, now, subject=self.terms.name)
            self.close(link, "not authenticated")
            return
        if len(self.pending) >= MAX_PENDING_LINKS:
            self.close(next(iter(self.pending.values())), "too many half-open links")
        self.pending[number] = link
        if self.terms.primary:
            hello = wire.connect(
                int(now.wall),
                0,
                name=self.terms.name.encode(),
                max_unacked=handshake.advertised_window(
                    self.terms, self.record.partner_max_unacked or self.terms.partner_max_unacked
                ),
                receive_timer=self.terms.max_response_delay_s,
                mclt=self.record.mclt_s,
                hba=self.terms.hba,
            )
            self._say_hello(link, hello, self.terms.dialect if authenticated else PLAIN, now, fresh_xid=True)

    def link_down(self, number: int, reason: str, now: Now) -> None:
        """A connection ended. An EOF right after CONNECT means duplicate or refused (4.3)."""
        self.pending.pop(number, None)
        if self.link is not None and self.link.number == number:
            self._lost(reason, now)
        self.dialing = False
        self.next_dial = max(self.next_dial, now.mono + RETRY_S * (0.25 + self.rng.random() / 2))

    def link_bytes(self, number: int, data: bytes, now: Now) -> None:
        """Bytes of the partner. Whatever they are, they end in messages or in a dropped link."""
        link = self.link if self.link is not None and self.link.number == number else self.pending.get(number)
        if link is None:
            return
        try:
            messages = link.framer.feed(data)
        except PartnerError as error:
            for each in error.before:
                self._message(link, each, now)
            self.house.note(reasons.BAD_BYTES, now, subject=self.terms.name, detail=error.reason)
            if link is self.link:
                self.drop(error.reason, now)
            elif link.number in self.pending:
                self.close(link, error.reason)
            return
        for each in messages:
            self._message(link, each, now)

    def _contact_every(self) -> float:
        return float(max(self.offer.receive_timer_s // 3, 1))

    def close(self, link: PartnerLink, reason: str) -> None:
        """Close a link, pending or established; what was sent on it is flushed."""
        self.pending.pop(link.number, None)
        self.house.out.at_once.append(LinkClose(self.terms.name, link.number, reason))

    def drop(self, reason: str, now: Now) -> None:
        """Close the established link; it counts as lost at once."""
        if self.link is not None:
            self.close(self.link, reason)
            self._lost(reason, now)

    def next_xid(self) -> int:
        """A fresh xid of the established link; never 0, which a BNDUPD must not carry (1.4)."""
        assert self.link is not None
        xid = self.link.xid or 1
        self.link.xid = (xid + 1) & 0xFFFFFFFF
        return xid

    def send(self, message: Message) -> None:
        """On the established link, after this step's commit."""
        assert self.link is not None
        if self.dialect >= FACTS and message.kind in CARRY_GENERATION:
            message.options.append((private.GENERATION, private.encode_generation(self.house.generation)))
        self.house.out.after_commit.append(LinkSend(self.terms.name, self.link.number, wire.encode(message)))
        self._sent_now = True

    def send_at_once(
        self, link: PartnerLink, message: Message, now: Now, *, fresh_xid: bool = False, after_commit: bool = False
    ) -> None:
        """At once: only CONNECT, CONNECTACK, CONTACT, POOLREQ and the DISCONNECT of a refused handshake (safety.md 1)."""
        if fresh_xid:
            message.xid = link.xid
            link.xid = (link.xid + 1) & 0xFFFFFFFF
        link.sent = now.mono
        out = self.house.out.after_commit if after_commit else self.house.out.at_once
        out.append(LinkSend(self.terms.name, link.number, wire.encode(message)))

    def _say_hello(self, link: PartnerLink, hello: Message, dialect: int, now: Now, *, fresh_xid: bool = False) -> None:
        """CONNECT or an accepting CONNECTACK. Facts are those that are committed, so they wait for that (safety.md 15)."""
        if dialect >= OLDEST:
            hello.options.append((private.DIALECT, private.encode_dialect(OLDEST, self.terms.dialect)))
        if dialect < FACTS:
            self.send_at_once(link, hello, now, fresh_xid=fresh_xid)
            return
        hello.options += self.facts()
        self.send_at_once(link, hello, now, fresh_xid=fresh_xid, after_commit=True)

    def _on_connect(self, link: PartnerLink, message: Message, now: Now) -> None:
        wall = int(now.wall)
        name = message.raw(OptionCode.RELATIONSHIP_NAME) or self.terms.name.encode()
        tls_asked = message.raw(OptionCode.TLS_REQUEST) is not None
        if link is self.link:
            self.drop("a second CONNECT on an established link", now)
            return
        refusal = handshake.judge_connect(message, self.terms, wall, self.link is not None)
        offer = handshake.offer_of(message)
        window = handshake.advertised_window(self.terms, offer.max_unacked)
        if refusal is not None:
            answer = wire.connect_reject(
                wall, message.xid, name=name, reason=refusal.reason, text=refusal.text, tls_asked=tls_asked
            )
            self.send_at_once(link, answer, now)
            self._refused(link, refusal, now)
            return
        self.offer = offer
        self.record.mclt_s = offer.mclt_s
        self.record.wait_mclt_s = max(self.record.wait_mclt_s, offer.mclt_s)
        self.record.hba = offer.hba.hex()
        self.updates.hba = offer.hba
        answer = wire.connect_ack(
            wall, message.xid, name=name, max_unacked=window, receive_timer=self.terms.max_response_delay_s, tls_asked=tls_asked
        )
        dialect = self._agreed(link, message)
        self._say_hello(link, answer, dialect, now)
        self._established(link, message, dialect, now)

    def _on_connect_ack(self, link: PartnerLink, message: Message, now: Now) -> None:
        wall = int(now.wall)
        reason = message.u8(OptionCode.REJECT_REASON)
        if reason is not None:
            text = message.text(OptionCode.MESSAGE) or ""
            if reason != RejectReason.DUPLICATE_CONNECTION:
                self.house.note(reasons.REFUSED_LINK, now, subject=self.terms.name, detail=f"by the partner: {reason} {text}")
            self.close(link, "refused by the partner")
            self.next_dial = now.mono + REFUSED_RETRY_S
            return
        refusal = handshake.judge_connect_ack(message, self.terms, wall, self.link is not None)
        if refusal is not None:
            self.send_at_once(link, wire.disconnect(wall, 0, refusal.reason, refusal.text), now, fresh_xid=True)
            self._refused(link, refusal, now)
            return
        self.offer = handshake.offer_of(message)
        self._established(link, message, self._agreed(link, message), now)

    def _refused(self, link: PartnerLink, refusal: handshake.Refusal, now: Now) -> None:
        if refusal.reason != RejectReason.DUPLICATE_CONNECTION:
            self.house.note(reasons.REFUSED_LINK, now, subject=self.terms.name, detail=f"{int(refusal.reason)} {refusal.text}")
            self.next_dial = max(self.next_dial, now.mono + REFUSED_RETRY_S)
        self.close(link, refusal.text)

    def _agreed(self, link: PartnerLink, message: Message) -> int:
        return agree(self.terms.dialect, private.option(message, private.DIALECT), authenticated=link.authenticated)

    def _established(self, link: PartnerLink, message: Message, dialect: int, now: Now) -> None:
        """The first link whose handshake completes wins; the others are closed, never the other way round (4.5)."""
        del self.pending[link.number]
        for other in list(self.pending.values()):
            self.close(other, "another link is established")
        self.dialect = dialect
        if dialect >= FACTS:
            self.on_facts(message, now)
        self.link = link
        self.apart_since = self.record.proven
        self.record.partner_max_unacked = self.offer.max_unacked
        offset = message.time - int(now.wall)
        self._measured(offset, now)
        if abs(offset) > handshake.SKEW_WARN_S:
            self.house.note(reasons.SKEW, now, subject=self.terms.name, detail=f"{offset:+d} s")
        detail = self.offer.vendor + (f", dialect {dialect}" if dialect else "")
        self.house.note(reasons.LINKED, now, subject=self.terms.name, detail=detail)
        self.on_established(now)

    def _message(self, link: PartnerLink, message: Message, now: Now) -> None:
        if link.number not in self.pending and link is not self.link:
            return  # closed by an earlier message of the same read
        link.received = now.mono
        kind = message.kind
        if kind != MessageType.CONTACT:
            link.progress = now.mono
        if kind == MessageType.CONNECT:
            self._on_connect(link, message, now)
        elif kind == MessageType.CONNECTACK:
            self._on_connect_ack(link, message, now)
        elif kind == MessageType.DISCONNECT:
            detail = f"{message.u8(OptionCode.REJECT_REASON)} {message.text(OptionCode.MESSAGE) or ''}"
            self.house.note(reasons.DISCONNECTED, now, subject=self.terms.name, detail=detail)
            if link is self.link:
                self.drop("the partner disconnected", now)
            else:
                self.close(link, "the partner disconnected")
        elif link is not self.link:
            self.house.note(reasons.TOO_EARLY, now, subject=self.terms.name, detail=f"type {kind}")
        else:
            self._sampled(message, now)
            if self.heard_state:
                self._proven(message, now)
            if self.dialect >= FACTS:
                self._heard_generation(message)
            self.on_message(message, now)

    def _sampled(self, message: Message, now: Now) -> None:
        """The least delayed sample of some minutes is the clocks' offset (safety.md 10)."""
        sample = message.time - int(now.wall)
        if self.record.offset is None or sample > self.record.offset or now.mono - self.offset_from > OFFSET_WINDOW_S:
            self._measured(sample, now)
        else:
            self.clocks.sampled(sample, now)

    def _proven(self, message: Message, now: Now) -> None:
        """Contact is proven by the partner's send time, put into our clock. Not before its STATE on this link: until then it may be in
        partner-down for long, and what it sends says nothing of when it went there (safety.md 11, 17)."""
        record = self.record
        sent = max(record.proven, self.by_our_clock(message.time))
        record.proven = min(int(now.wall), sent)  # both clocks may have been set back

    def by_our_clock(self, theirs: int) -> int:
        """A time that the partner tells on an established link, which has measured the offset."""
        assert self.record.offset is not None
        return theirs - self.record.offset

    def _heard_generation(self, message: Message) -> None:
        """How far the partner's database has come; durable before the ack that this step may send (safety.md 15)."""
        data = private.option(message, private.GENERATION)
        generation = private.decode_generation(data) if data is not None else None
        if generation is not None and generation > self.record.partner_generation:
            self.record.partner_generation = generation
            self.owes_record = self.owes_record or message.kind == MessageType.BNDUPD

    def _lost(self, reason: str, now: Now) -> None:
        self.link, self.dialect = None, PLAIN
        self.next_dial = now.mono + self.rng.random()
        self.house.note(reasons.LINK_LOST, now, subject=self.terms.name, detail=reason)
        self.on_lost(reason, now)
