"""Who may come in by TLS: the handshakes under way, what became of them, and the certificates that are in use (safety.md 26)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from failoverd.failover.terms import Tls
from failoverd.ports import Input, LinkSecurity
from failoverd.shell.partner_link import Link
from failoverd.shell.tls import FAILED, FILES, FILES_READ, Identity, Session, TlsError, check_name, until_of

HANDSHAKE_S = 5.0  # for the TLS handshake, in either direction


class Door:
    """All relationships with tls. `greeting`: links whose handshake is under way, or was refused and is still to close."""

    def __init__(
        self,
        terms: Mapping[str, Tls | None],
        identities: Mapping[str, Identity],
        deliver: Callable[[Input], None],
        note: Callable[[str, str, str], None],
        wall: Callable[[], float],
    ) -> None:
        self._terms, self._identities = terms, identities
        if missing := {name for name, each in terms.items() if each is not None} - set(identities):
            raise AssertionError(f"relationships with tls but without its files: {sorted(missing)}")
        self._deliver, self._note, self._wall = deliver, note, wall
        self._known = {name: LinkSecurity(name) for name in identities}
        self.greeting: dict[Link, asyncio.TimerHandle] = {}

    def open(self) -> None:
        """Say what is in use."""
        for name in self._identities:
            self._tell(name)

    def look(self) -> None:
        """Read certificates, keys and CAs again where they changed. Links that are up stay up."""
        for name, identity in self._identities.items():
            if identity.look():
                self._note(FILES if identity.problem else FILES_READ, name, identity.problem)
                self._tell(name)

    def session(self, relationship: str, *, outgoing: bool) -> Session | None:
        """The TLS of a new connection, None for a plain one."""
        identity = self._identities.get(relationship)
        if identity is None:
            return None
        return Session(identity.current.client if outgoing else identity.current.server, server_side=not outgoing)

    def greets(self, link: Link) -> None:
        """A handshake begins; it has HANDSHAKE_S."""
        silence = TlsError(FAILED, f"no end of the handshake within {HANDSHAKE_S:.0f} s")
        self.greeting[link] = asyncio.get_running_loop().call_later(HANDSHAKE_S, link.fail, silence)

    def greeted(self, link: Link, session: Session) -> None:
        """A handshake is complete: the link may be up if it is the partner's. Raises TlsError."""
        terms = self._terms[link.relationship]
        assert terms is not None
        certificate = session.partner()
        check_name(certificate, terms.partner_name)
        self.forget(link)
        known = self._known[link.relationship]
        if known.partner_until != until_of(certificate):
            self._known[link.relationship] = replace(known, partner_until=until_of(certificate))
            self._tell(link.relationship)

    def heard(self, link: Link) -> None:
        """The partner has taken our certificate, too: what was refused before is history."""
        known = self._known[link.relationship]
        if known.refused:
            self._known[link.relationship] = replace(known, refused="", refused_at=0.0)
            self._tell(link.relationship)

    def refused(self, link: Link, error: TlsError) -> None:
        """TLS ends a connection, by our word or the partner's."""
        self._note(error.note, link.relationship, error.detail)
        known = self._known[link.relationship]
        self._known[link.relationship] = replace(known, refused=f"{error.note}: {error.detail}", refused_at=self._wall())
        self._tell(link.relationship)

    def ended(self, link: Link) -> bool:
        """A connection has ended; whether that was before it was up."""
        if link not in self.greeting:
            return False
        self.forget(link)
        if not link.closing:
            self.refused(link, TlsError(FAILED, "the partner closed the connection during the handshake"))
        return True

    def forget(self, link: Link) -> None:
        """Its handshake is over, one way or the other."""
        timer = self.greeting.pop(link, None)
        if timer is not None:
            timer.cancel()

    def _tell(self, relationship: str) -> None:
        """The node shows it, and warns."""
        identity = self._identities[relationship]
        self._known[relationship] = replace(self._known[relationship], until=identity.current.until, problem=identity.problem)
        self._deliver(self._known[relationship])
