"""Clients that were left to the partner and ask again: how long they wait, and where nobody of the partner's is ever answered.

RFC 3074 counts on `secs`, which many clients leave at 0; so their repeats are counted here. A relay that knows only one of the two
servers leaves half of its clients without an answer: after a few of them in a row everybody there is served, and the operator is told.
Knows no lease and no partner message.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from failoverd.notes import declare

GAP_S = 60.0  # a client that is silent for longer begins anew
CLIENTS = 10_000  # clients remembered; beyond it the one that has waited longest is forgotten
PLACES = 1_000
DEAF_AFTER = 3  # clients in a row that the partner did not answer
DEAF_S = 3600.0  # then it is tried again

PARTNER_UNHEARD = declare(
    "partner-unheard",
    "warning",
    "Clients of this relay (or link) that are the partner's by load balancing get no answer from it: the relay probably knows only this"
    " server. All clients there are served here now. Add the partner's address to the relay's configuration.",
)

Place = tuple[str, int]
"""The interface, and the relay's address (0: the link itself)."""


@dataclass(slots=True)
class Waiting:
    """One client that was left to the partner: its first and its last DISCOVER (mono)."""

    first: float
    last: float


@dataclass(slots=True)
class Answers:
    """What is known of the partner at one place: the clients that it did not answer since it last answered one."""

    missed: dict[bytes, None] = field(default_factory=dict)
    deaf_until: float = 0.0


class Unheard:
    """All of them, in memory: lost at a restart, harmlessly."""

    def __init__(self) -> None:
        """Nobody waits."""
        self._clients: dict[bytes, Waiting] = {}
        self._places: dict[Place, Answers] = {}

    def asked(self, client: bytes, mono: float) -> int:
        """A DISCOVER of a client of the partner's: for how many seconds it has been asking now, 0 for its first one."""
        known = self._clients.pop(client, None)
        if known is None or mono - known.last > GAP_S:
            known = Waiting(mono, mono)
        known.last = mono
        self._clients[client] = known
        if len(self._clients) > CLIENTS:
            del self._clients[next(iter(self._clients))]
        return int(mono - known.first)

    def missed(self, client: bytes, place: Place, mono: float) -> bool:
        """This client asked before and the partner did not answer. Whether this makes the place one where the partner is unheard."""
        answers = self._places.setdefault(place, Answers())
        if len(self._places) > PLACES:
            del self._places[next(iter(self._places))]
        answers.missed[client] = None
        if len(answers.missed) < DEAF_AFTER or answers.deaf_until > mono:
            return False
        answers.deaf_until = mono + DEAF_S
        answers.missed.clear()
        return True

    def answered(self, client: bytes, place: Place) -> None:
        """The client has chosen another server's offer: it is heard."""
        self._clients.pop(client, None)
        self._places.pop(place, None)

    def served(self, client: bytes) -> None:
        """The client is ours now."""
        self._clients.pop(client, None)

    def deaf(self, place: Place, mono: float) -> bool:
        """Whether the partner is unheard there."""
        answers = self._places.get(place)
        return answers is not None and answers.deaf_until > mono

    def places(self, mono: float) -> list[Place]:
        """Where the partner is unheard."""
        return [place for place in sorted(self._places) if self.deaf(place, mono)]
