"""True time, the queue of events, and the random numbers of every part: all from one seed.

Each part has its own stream of random numbers, named, so that a change in one part leaves the others' numbers alone.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random

from failoverd.ports import Now
from failoverd.sim.trace import Trace

EPOCH = 1_700_000_000  # UTC seconds at t = 0
MAX_EVENTS = 3_000_000  # a run that needs more is stuck in a loop


class World:
    """The event queue. Events of one instant happen in the order in which they were asked for."""

    def __init__(self, seed: str) -> None:
        """At t = 0, nothing planned."""
        self.seed = seed
        self.t = 0.0
        self.trace = Trace()
        self.events = 0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    def random(self, part: str) -> Random:
        """The random numbers of one part."""
        return Random(f"{self.seed}/{part}")

    def at(self, t: float, act: Callable[[], None]) -> None:
        """Do something at true time `t`, not before now."""
        self._number += 1
        heappush(self._queue, (max(t, self.t), self._number, act))

    def after(self, delay_s: float, act: Callable[[], None]) -> None:
        """Do something in `delay_s` seconds."""
        self.at(self.t + delay_s, act)

    def run_until(self, t: float) -> None:
        """Let time pass."""
        while self._queue and self._queue[0][0] <= t:
            self.t, _, act = heappop(self._queue)
            self.events += 1
            if self.events > MAX_EVENTS:
                raise AssertionError(f"more than {MAX_EVENTS} events at t={self.t:.3f}: something does not come to rest")
            act()
        self.t = t


class Clock:
    """The two clocks of one server. `skew_s`: how far its wall clock is ahead of the truth; `drift`: seconds gained a second."""

    def __init__(self, world: World, skew_s: float) -> None:
        """Mono starts anywhere, and keeps true time."""
        self._world, self._skew_s, self._drift, self._since_t = world, skew_s, 0.0, world.t
        self._before: list[tuple[float, float, float]] = []  # since when, skew and drift of before, oldest first
        self._zero = -1000.0 - skew_s

    @property
    def skew_s(self) -> float:
        """How far the wall clock is ahead of the truth now."""
        return self._skew_s + self._drift * (self._world.t - self._since_t)

    def step(self, by_s: float) -> None:
        """Somebody sets the wall clock."""
        self._before.append((self._since_t, self._skew_s, self._drift))
        self._skew_s, self._since_t = self.skew_s + by_s, self._world.t

    def drift(self, rate: float) -> None:
        """From now on the wall clock gains `rate` seconds a second."""
        self._before.append((self._since_t, self._skew_s, self._drift))
        self._skew_s, self._since_t, self._drift = self.skew_s, self._world.t, rate

    def read(self) -> Now:
        """Now."""
        return Now(EPOCH + self._world.t + self.skew_s, self._world.t - self._zero)

    def wall_at(self, t: float) -> float:
        """What this clock would have shown at the true time `t`, had it been then as it is now."""
        return EPOCH + t + self.skew_s

    def wall_then(self, mono: float) -> float:
        """What this clock showed at `mono`."""
        t = self.true_time(mono)
        now = (self._since_t, self._skew_s, self._drift)
        since_t, skew_s, drift = next((each for each in (now, *reversed(self._before)) if each[0] <= t), now)
        return EPOCH + t + skew_s + drift * (t - since_t)

    def true_time(self, mono: float) -> float:
        """When `mono` will be reached."""
        return mono + self._zero
