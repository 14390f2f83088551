"""Stories that no drawn seed tells: a seed that names one is of its class, `refused7` for instance (plan.py).

Each is about a fault of the program that the drawn stories show too rarely. They came when thousands of seeds had been tried, and what
those draw must stay as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from failoverd.sim.strikes_story import SOON_S, Step, Story


class NamedStory(Story):
    """One of them."""

    def refused(self) -> None:
        """safety.md 2: behind a cut a renews, and b after it; when they meet over a slow link b refuses what a tells, and the clients renew
        at a before it has heard of theirs at b."""
        a, b, m = self.a, self.b, self.mclt_s
        again: list[Step] = [(self.rng.uniform(0.5, 2.5), lambda: self.come(self.first, a)) for _ in range(10)]
        self.come(self.first, a)
        self.play(
            "refused",
            (4.0, lambda: self.come(self.first, a)),
            (3.0, lambda: self.go(self.first)),  # what both have acked is the same at the cut
            (0.5, self.part),
            (0.5 * self.lease_s + m - 5.0, lambda: self.come(self.first, a)),
            (SOON_S + 1.0, lambda: self.come(self.first, b)),
            (SOON_S + 1.0, self.far),
            (0.1, self.heal),
            *again,
            (m, lambda: None),
        )

    def resting(self) -> None:
        """safety.md 10, 15: a loses its disk, and with it what it has renewed unheard; the clock of b is set forward while it keeps the
        addresses from others."""
        a, b, lease_s = self.a, self.b, self.lease_s
        self.come(self.first, a)
        self.play(
            "resting",
            (4.0, lambda: self.come(self.first, a)),
            (2.0, self.part),
            (0.1, lambda: self.come(self.first, renew=False)),
            (lease_s * self.rng.uniform(0.85, 0.95), lambda: self.come(self.first, a)),
            (SOON_S + 1.0, lambda: self.go(self.first)),
            (0.1, lambda: self.lost(a)),
            (0.5, self.heal),
            (0.5, a.boot),
            (0.5 * self.mclt_s, lambda: self.forward(b)),
            (4.0, lambda: self.press([*self.second, *self.third], b)),
            (lease_s + 2.5 * self.mclt_s, lambda: None),
        )

    def corrected(self) -> None:
        """safety.md 10: the clock of a is behind while it grants, and is set right on a live link that is then made anew: what the leases
        end by at b is too early by what the clocks were apart."""
        a, b = self.a, self.b
        self.note("clock set", a.name)
        a.clock.step(-self.rng.uniform(18.0, 24.0))
        a.deliver()
        self.come(self.first, a)
        self.play(
            "corrected",
            (0.0, self.pair.tcp.reset),
            (5.0, lambda: self.come(self.first, a)),
            (5.0, lambda: self.come(self.first, a)),
            (SOON_S + 1.0, lambda: self.go(self.first)),
            (0.3 * self.lease_s, lambda: self.forward(a)),
            (6.0, self.pair.tcp.reset),
            (1.0, lambda: self.press([*self.second, *self.third], b)),
            (self.lease_s + self.mclt_s, lambda: None),
        )

    def between(self) -> None:
        """safety.md 15: behind a cut a renews, a copy of its database is made, and it renews again; then it is put back, tells of the one
        and knows nothing of the other, and others wait for the addresses at b."""
        a, b, m = self.a, self.b, self.mclt_s
        copies: list[Any] = []
        self.come(self.first, a)
        self.play(
            "between",
            (4.0, lambda: self.come(self.first, a)),
            (2.0, self.part),
            (0.9 * self.lease_s - 6.0, lambda: self.come(self.first, a)),
            (0.7 * self.lease_s - 1.0, lambda: self.come(self.first, a)),
            (SOON_S + 1.0, lambda: copies.append(a.disk.copy())),
            (0.8 * m - 3.0, lambda: self.come(self.first, a)),
            (SOON_S + 0.5, lambda: self.go(self.first)),
            (0.1, lambda: self.put_back(a, copies[0])),
            (0.1, self.heal),
            (0.5, a.boot),
            (0.5, lambda: self.press([*self.second, *self.third], b)),
            (self.lease_s + 2.5 * m, lambda: None),
        )

    def piecemeal(self) -> None:
        """safety.md 18: a comes back without its database to a partner that was never told that it was dead, and hears over a slow link,
        lease by lease, what all hold; others want that from a as soon as it serves."""
        a, b = self.a, self.b
        self.come([*self.first, *self.second], a, b)
        self.play(
            "piecemeal",
            (4.0, lambda: self.come([*self.first, *self.second], a, b)),
            (SOON_S + 3.0, lambda: self.go(self.first, self.second)),
            (0.1, lambda: self.far(4.0)),
            (0.1, lambda: self.lost(a)),
            (1.0, a.boot),
            (1.0, lambda: self.press(self.third, a)),
            (self.lease_s, lambda: None),
        )

    def returning(self) -> None:
        """safety.md 12: a falls, b is told so, and a recovers over a slow link; just then b gives what is left of a's half. Others want it
        from a as soon as a serves (simulator, seed 10184)."""
        a, b = self.a, self.b
        self.come(self.first[:1], a)
        self.play(
            "returning",
            (4.0, lambda: self.falls(a)),
            (0.5, lambda: self.told(b)),
            (0.5, lambda: self.come(self.first, b)),
            (2.0 * self.mclt_s, lambda: self.far(1.0)),
            (0.5, a.boot),
            (0.5, lambda: self.once(self._nearly_told, lambda: self.come(self.second, b))),
            (0.1, lambda: self.once(self._recovered, lambda: self.far(4.0))),
            (0.1, lambda: self.press(self.third, a)),
            (4.0 * self.mclt_s, lambda: None),
        )

    def _nearly_told(self) -> bool:
        """Whether b has one answer left to give of those that a has asked for."""
        endpoints = self.b.node.endpoints.values() if self.b.node is not None else ()
        requests = [each.updates.request for each in endpoints if each.updates.request is not None]
        return bool(requests) and all(len(request.remaining) <= 1 for request in requests)

    def silent(self) -> None:
        """safety.md 17: a is alone and grants nothing, falls, and b is told so and goes on. When they meet there is nothing to resolve: a
        recovers from b."""
        a, b = self.a, self.b
        self.come(self.first, b)
        self.play(
            "silent",
            (4.0, self.part),
            (0.5, lambda: self.come(self.first, b)),
            (self.rng.uniform(18.0, 30.0), lambda: self.falls(a)),
            (0.5, lambda: self.told(b)),
            (1.0, lambda: self.press([*self.first, *self.second], b)),
            (self.rng.uniform(5.0, 40.0), self.heal),
            (0.5, a.boot),
            (self.mclt_s, lambda: None),
        )

    def unagreed(self) -> None:
        """safety.md 25: behind a cut a renews what b sees end. They meet over a slow link and tell each other lease by lease: until a has
        answered, what is at an end at b is nobody's for it alone, and the names are a's (simulator, seed 11906)."""
        a, b = self.a, self.b
        crowd = [*self.first, *self.second]
        self.come(crowd, a)
        self.play(
            "unagreed",
            (4.0, lambda: self.come(crowd, a)),
            (3.0, self.part),
            (0.1, lambda: self.come(crowd, a, renew=False)),
            *((0.45 * self.lease_s, lambda: self.come(crowd, a)) for _ in range(3)),
            (SOON_S, lambda: self.far(4.0)),
            (0.1, self.heal),
            (1.0, lambda: self.press(self.third, b)),
            (self.lease_s, lambda: None),
        )


NAMED: dict[str, tuple[type[Any], Callable[[Any], None]]] = {
    "refused": (NamedStory, NamedStory.refused),
    "resting": (NamedStory, NamedStory.resting),
    "corrected": (NamedStory, NamedStory.corrected),
    "between": (NamedStory, NamedStory.between),
    "piecemeal": (NamedStory, NamedStory.piecemeal),
    "returning": (NamedStory, NamedStory.returning),
    "silent": (NamedStory, NamedStory.silent),
    "unagreed": (NamedStory, NamedStory.unagreed),
}
