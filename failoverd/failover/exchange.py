"""What two failoverd tell each other on an authenticated link beside dhcpd's protocol: databases, epochs, configurations, done-flags.

safety.md 15, 17 and 26; the bytes are private.py's, who speaks what is dialect.py's. Nothing of this happens on a plain link.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

from failoverd.failover import databases, private, reasons
from failoverd.failover import message as wire
from failoverd.failover.dialect import EPOCHS, FACTS, HOSTS
from failoverd.failover.message import Message, ServerState
from failoverd.failover.parity import Parity
from failoverd.failover.private import Frame, FrameKind, Known, Ping
from failoverd.failover.transitions import Transitions
from failoverd.ports import Now

S = ServerState
FRAMES_A_STEP = 20
FRAMES_WAIT = 4 * private.MOST_PARTS  # more than all that is said at the begin of a link
ROWS_HEARD = 20_000  # reservations of one telling, twice what is kept (node_hosts.py); of more the rest is not even gathered


class Exchange(Transitions):
    """The private part of one relationship."""

    parity: Parity | None = None
    _to_say: deque[bytes]
    _unsaid = 0  # frames for which there was no room in it
    _reserved: list[tuple[bytes, ...]]
    _reserved_parts: int

    def facts(self) -> list[tuple[int, bytes]]:
        """Options of CONNECT and CONNECTACK; sent when they are committed."""
        record, database = self.record, self.house.database
        found = [(private.EPOCH, private.encode_epoch(record.epoch)), (private.DIGEST, self.house.config_digest)]
        if self.terms.dialect >= EPOCHS:
            found.append((private.STANDING, private.encode_standing(self._standing())))
        if database is not None:
            found.append((private.DATABASE, private.encode_database(database)))
        known = self._known()
        if known is not None:
            found.append((private.KNOWN, private.encode_known(known)))
        return found

    def _known(self) -> Known | None:
        record = self.record
        if not record.partner_uuid:
            return None
        return Known(bytes.fromhex(record.partner_uuid), bytes.fromhex(record.partner_run), record.partner_generation)

    def on_facts(self, message: Message, now: Now) -> None:
        """The partner's handshake; the link is not established yet."""
        standing = private.decode_standing(private.option(message, private.STANDING) or b"") if self.dialect >= EPOCHS else None
        forgotten, before = self._hear_standing(standing), self.record.partner_epoch
        self._hear_epoch(message)
        fell = self.record.partner_epoch < before
        self._to_say = deque()
        self.parity = Parity(self.house.config_digest, private.option(message, private.DIGEST))
        if self.parity.known and not self.parity.equal:
            self.house.note(reasons.CONFIG_DIFFERS, now, subject=self.terms.name, detail="; ".join(self.parity.differences))
        if self.parity.wanted:
            self._say(self.parity.begin(self.house.config_sections()))
        self._on_their_database(message, f"its epoch was {before}, and is {self.record.partner_epoch}" if fell else "", now)
        self._on_our_database(message, forgotten, now)
        why = self._recovers_at_once(standing)
        if why:
            self.move(S.RECOVER, why, now)

    def _on_their_database(self, message: Message, lost: str, now: Now) -> None:
        """safety.md 15: the partner's database is not what it was: what we know rests for its full time. `lost`: its epoch went back."""
        claim = private.decode_database(private.option(message, private.DATABASE) or b"")
        lost = (databases.loss(claim, self._known()) if claim is not None else "") or lost
        if lost:
            self.house.note(reasons.THEIR_DATABASE, now, subject=self.terms.name, detail=lost)
            self.house.rest_all(self.terms.name, now)
        if claim is None:
            return
        record = self.record
        record.partner_uuid, record.partner_run = claim.uuid.hex(), claim.run.hex()
        record.partner_generation = claim.generation

    def _on_our_database(self, message: Message, lost: str, now: Now) -> None:
        """safety.md 15: the partner knows more of our database than it holds: what it forgot is fetched before we serve. `lost`: it has
        forgotten an epoch."""
        heard, database = private.decode_known(private.option(message, private.KNOWN) or b""), self.house.database
        lost = (databases.loss(database, heard) if database is not None else "") or lost
        if not lost:
            return
        self.house.note(reasons.OUR_DATABASE, now, subject=self.terms.name, detail=lost)
        self.boot = replace(self.boot, restored=True)
        if self.record.state is not S.RECOVER:
            self.move(S.RECOVER, f"this server's database is not what the partner knew: {lost}", now)

    # --- frames -----------------------------------------------------------------------------------------------------------

    def on_frame(self, message: Message, now: Now) -> None:
        """A CONTACT that may carry one."""
        data = private.option(message, private.FRAME)
        if data is None:
            return
        frame = private.decode_frame(data)
        if frame is None:
            self._ignored(f"frame {data[:2].hex()}", now)
        elif frame.kind is FrameKind.DONE:
            self.house.names_done(self.terms.name, frame.items, now)
        elif frame.kind in (FrameKind.PINGS, FrameKind.RESERVED):
            if self.dialect >= HOSTS:
                self._on_hosts(frame, now)
            else:
                self._ignored(f"{frame.kind.name} in dialect {self.dialect}", now)
        elif self.parity is None or not self.parity.takes(frame):
            self._ignored(f"{frame.kind.name} part {frame.part} out of turn", now)
        else:
            before = self.parity.complete
            self._say(self.parity.heard(frame))
            if self.parity.complete and not before:
                detail = "; ".join(self.parity.differences)
                self.house.note(reasons.CONFIG_DIFFERS, now, subject=self.terms.name, detail=detail)

    def _on_hosts(self, frame: Frame, now: Now) -> None:
        """Pings, or a part of the partner's reservations; a part out of turn is dropped, and with it the rest until the next link."""
        if frame.kind is FrameKind.PINGS:
            told = list(filter(None, map(private.decode_ping, frame.items)))
            if len(told) < len(frame.items):
                self._ignored(f"{len(frame.items) - len(told)} malformed pings", now)
            self.house.pings_told(self.terms.name, [each._replace(wall=self.by_our_clock(each.wall)) for each in told], now)
        elif frame.part != self._reserved_parts:
            self._ignored(f"{frame.kind.name} part {frame.part} out of turn, {self._reserved_parts} is next", now)
        else:
            self._reserved_parts += 1
            room = ROWS_HEARD - len(self._reserved)
            self._reserved += frame.items[:room]
            if len(frame.items) > room:
                self._ignored(f"{len(frame.items) - room} reservations beyond {ROWS_HEARD}", now)
            if self._reserved_parts == frame.parts:
                self.house.reservations_told(self.terms.name, self._reserved, now)
                self._reserved = []

    def _ignored(self, what: str, now: Now) -> None:
        self.house.note(reasons.PRIVATE_IGNORED, now, subject=self.terms.name, detail=what)

    def _say(self, data: Iterable[bytes]) -> None:
        """Frames that wait for their turn."""
        for each in data:
            if len(self._to_say) < FRAMES_WAIT:
                self._to_say.append(each)
            else:
                self._unsaid += 1

    def say_reserved(self) -> None:
        """All our reservations, once for each link."""
        self._reserved, self._reserved_parts = [], 0
        if self.dialect >= HOSTS:
            self._say(private.frames(FrameKind.RESERVED, self.house.reserved_rows(self.terms.name)))

    def say_pings(self, pings: Sequence[Ping]) -> None:
        """Who answered a ping, and who did not, if the partner may hear of it."""
        if pings and self.link is not None and self.dialect >= HOSTS:
            self._say(private.frames(FrameKind.PINGS, map(private.encode_ping, pings)))

    def say_done(self, rows: Iterable[tuple[bytes, bytes]]) -> None:
        """What of the names of leases is in DNS by now, for the partner."""
        if self.link is not None and self.dialect >= FACTS:
            self._say(private.frames(FrameKind.DONE, rows))

    def _speak(self, now: Now) -> None:
        """A slice of the frames that wait."""
        if self.link is None or self.dialect < FACTS:
            return
        if self._unsaid:
            self.house.note(reasons.PRIVATE_UNSAID, now, subject=self.terms.name, detail=str(self._unsaid))
            self._unsaid = 0
        for _ in range(min(FRAMES_A_STEP, len(self._to_say))):
            message = wire.contact(int(now.wall), self.next_xid())
            message.options.append((private.FRAME, self._to_say.popleft()))
            self.send(message)

    @property
    def speaks(self) -> bool:
        """Whether frames wait."""
        return self.link is not None and self.dialect >= FACTS and bool(self._to_say)
