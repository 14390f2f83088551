"""One connection with a partner: TCP, or TLS over it (tls.py). It knows no message of the protocol; its owner is partner.py."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

from failoverd.notes import declare
from failoverd.ports import Input, LinkBytes
from failoverd.shell.tls import Session, TlsError

CLOSE_S = 2.0  # a link that was asked to close has this long to flush

SLOW = declare(
    "partner-slow",
    "warning",
    "The partner does not read what is sent to it: more than 1 MiB is waiting. It is slow, or the network is.",
    limited=True,
)


class Doorkeeper(Protocol):
    """Who sees to the TLS of links (partner_tls.Door)."""

    def greets(self, link: Link) -> None:
        """A handshake begins."""

    def greeted(self, link: Link, session: Session) -> None:
        """It is complete. Raises TlsError when it is not the partner's."""

    def heard(self, link: Link) -> None:
        """The first bytes of the protocol came through."""

    def refused(self, link: Link, error: TlsError) -> None:
        """TLS ends the link."""


class Owner(Protocol):
    """Who has the links (partner.Partners)."""

    deliver: Callable[[Input], None]
    note: Callable[[str, str, str], None]

    @property
    def door(self) -> Doorkeeper: ...  # noqa: D102

    def made(self, link: Link) -> None:
        """The link is up."""

    def lost(self, link: Link, reason: str) -> None:
        """The connection has ended."""


class Link(asyncio.Protocol):
    """One connection with a partner. `number`: 0 until it is up, which with TLS is when the handshake is complete."""

    def __init__(self, owner: Owner, relationship: str, outgoing: bool, session: Session | None = None) -> None:
        self._owner = owner
        self.relationship, self.outgoing, self.session = relationship, outgoing, session
        self.number = 0
        self.out: list[bytes] = []
        self.transport: asyncio.Transport | None = None
        self.closing = ""  # why we close it
        self.dropped = False  # the loop has told the node already
        self._heard = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: TCP is established."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is none by birth
        if self.session is None or self.dropped:
            self._owner.made(self)
            return
        self._owner.door.greets(self)
        self._secured(self.session.begin)

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes."""
        if self.closing or self.dropped:
            return
        if self.session is None:
            self._owner.deliver(LinkBytes(self.relationship, self.number, data))
        else:
            self._decrypt(self.session, data)

    def _decrypt(self, session: Session, data: bytes) -> None:
        plain = self._secured(lambda: session.feed(data)) or b""
        if session.established and not self.number and not self.closing:
            self._secured(lambda: self._owner.door.greeted(self, session))
            if not self.closing:
                self._owner.made(self)
        if plain and not self.closing and not self.dropped:
            if not self._heard:
                self._heard = True
                self._owner.door.heard(self)
            self._owner.deliver(LinkBytes(self.relationship, self.number, plain))
        if session.ended and self.transport is not None:
            self.transport.close()

    def _secured(self, act: Callable[[], bytes | None]) -> bytes | None:
        """One act of the session, and what it wants to say to the partner."""
        assert self.session is not None
        assert self.transport is not None
        try:
            found = act()
        except TlsError as error:
            self.transport.write(self.session.take())  # the alert
            self.fail(error)
            return None
        self.transport.write(self.session.take())
        return found

    def fail(self, error: TlsError) -> None:
        """TLS refuses this connection."""
        if self.closing or self.dropped:
            return
        self._owner.door.refused(self, error)
        self.closing = f"{error.note}: {error.detail}"
        self.out.clear()
        self.end()

    def write(self, data: bytes) -> None:
        """Bytes of the protocol."""
        assert self.transport is not None
        if self.session is not None:
            self.session.write(data)
            data = self.session.take()
        self.transport.write(data)

    def end(self) -> None:
        """Close within CLOSE_S. Reading goes on and is thrown away, or the kernel would send a reset that overtakes our last words; the
        partner's end of file ends it."""
        transport = self.transport
        assert transport is not None
        if transport.is_closing():
            return
        if self.session is not None:
            self.session.close()
            transport.write(self.session.take())
        transport.resume_reading()
        if transport.can_write_eof():
            transport.write_eof()
        asyncio.get_running_loop().call_later(CLOSE_S, transport.abort)

    def pause_writing(self) -> None:
        """asyncio: HIGH_WATER octets are waiting."""
        self._owner.note(SLOW, self.relationship, "")

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the end, for whatever reason."""
        self._owner.lost(self, self.closing or (str(exc) if exc is not None else "closed by the partner"))
