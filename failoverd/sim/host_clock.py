"""The wall clock of a host: it goes wrong beyond what two servers may differ by, and is put right (safety.md 10)."""

from __future__ import annotations

from failoverd.sim.trace import Fault
from failoverd.sim.world import Clock, World

CLOCKS_DIFFER_S = 60.0


class HostClock(Clock):
    """A server's clocks. `far`: its wall clock is, or is about to be, further from the partner's than any link allows. `synchronised`:
    what keeps it says that it is."""

    def __init__(self, world: World, name: str, skew_s: float) -> None:
        """As good as it usually is."""
        super().__init__(world, skew_s)
        self._name, self._usual_skew_s = name, skew_s
        self.far, self.synchronised = False, True

    def before(self, newest_wall: float) -> bool:
        """A server whose wall clock lies more than 60 s before its newest row does not start; when it is the clock that is right, an
        operator starts it with --force-clock."""
        return self.far and self.read().wall < newest_wall - CLOCKS_DIFFER_S

    def put_right(self) -> bool:
        """As good as usual again, if it is not; the process hears of it with its next input."""
        if not self.far:
            return False
        self.far, self.synchronised = False, True
        self.drift(0.0)
        self.step(self._usual_skew_s - self.skew_s)
        self._world.trace.add(Fault(self._world.t, "clock set", self._name))
        return True
