"""What goes wrong in a run, and when: drawn from the seed. Each fault ends by itself; `end` ends all at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from failoverd.sim.pair import Pair
from failoverd.sim.server import RELATIONSHIP, Server
from failoverd.sim.trace import Declared, Fault
from failoverd.sim.world import World

RESTART_GRACE_S = 60.0
MOST_DRIFT = 0.08  # seconds a second: how fast chrony slews at most
MOST_SKEW_S = 50.0  # the clocks of both, together, from the truth


class Faults:
    """The plan of one run."""

    def __init__(self, world: World, pair: Pair, until_t: float) -> None:
        """Nothing yet; `start` begins."""
        self.world, self.pair, self.until_t = world, pair, until_t
        self.rng = world.random("faults")
        self.mean_s = self.rng.uniform(40, 200)
        self.wrong = self.rng.random() < 0.1
        self.over = False
        kinds: list[tuple[Callable[[], None], int]] = [
            (self._cut, 4),
            (self._split, 2),
            (self._kill, 4),
            (self._both, 1),
            (self._behind_cut, 3),
            (self._pause, 2),
            (self._slow_disk, 2),
            (self._bad_disk, 1),
            (self._bad_udp, 2),
            (self._slow_link, 2),
            (self._no_master, 1),
            (self._full_disk, 1),
            (self._set_clock, 2),
            (self._other_disk, 1),
        ]
        self._kinds = [kind for kind, weight in kinds for _ in range(weight if self.rng.random() < 0.6 else 0)] or [self._cut]

    def start(self) -> None:
        """Let the first fault come."""
        self._next()

    def end(self) -> None:
        """Everything works again, and stays so."""
        self.over = True
        pair = self.pair
        pair.udp.loss = pair.udp.double = pair.dns.loss = 0.0
        pair.udp.delay_s = pair.tcp.delay_s = 0.002
        pair.master_up = True
        for client in pair.clients:
            client.reach = {server.name for server in pair.servers}
        for server in pair.servers:
            server.disk.delay_s, server.disk.failing = 0.003, False
            server.room(False)
            server.clock.drift(0.0)
            server.paused = False
            server.boot()
            server.deliver()
        pair.tcp.heal()

    def _next(self) -> None:
        def strike() -> None:
            if not self.over and self.world.t < self.until_t:
                self.rng.choice(self._kinds)()
                self._next()

        self.world.after(self.rng.expovariate(1 / self.mean_s), strike)

    def _later(self, mean_s: float, act: Callable[[], None]) -> float:
        """Do something after about `mean_s`, unless all is over by then."""
        wait = self.rng.expovariate(1 / mean_s) + 0.01

        def due() -> None:
            if not self.over:
                act()

        self.world.after(wait, due)
        return wait

    def _note(self, what: str, on: str = "") -> None:
        self.world.trace.add(Fault(self.world.t, what, on))

    def _one(self) -> Server:
        return self.rng.choice(self.pair.servers)

    def _other(self, server: Server) -> Server:
        assert server.partner is not None
        return server.partner

    # --- the network ----------------------------------------------------------------------------------------------------

    def _cut(self) -> None:
        self._note("cut")
        self.pair.tcp.cut = True
        self._later(self.rng.choice((3.0, 40.0, 250.0)), self._heal)
        if self.wrong:
            self._later(60.0, lambda: self._declare(self._one()))

    def _heal(self) -> None:
        self._note("heal")
        self.pair.tcp.heal()

    def _split(self) -> None:
        """Each client reaches one server only; sometimes the servers do not reach each other either."""
        self._note("split")
        for client in self.pair.clients:
            client.reach = {self._one().name}
        if self.rng.random() < 0.7:
            self._cut()

        def join() -> None:
            self._note("join")
            for client in self.pair.clients:
                client.reach = {server.name for server in self.pair.servers}

        self._later(150.0, join)

    def _bad_udp(self) -> None:
        self._note("bad datagrams")
        udp = self.pair.udp
        udp.loss, udp.double, udp.delay_s = self.rng.uniform(0, 0.4), self.rng.uniform(0, 0.3), self.rng.choice((0.002, 0.2, 1.5))
        self.pair.dns.loss = self.rng.uniform(0, 0.3)

        def good() -> None:
            udp.loss = udp.double = self.pair.dns.loss = 0.0
            udp.delay_s = 0.002

        self._later(100.0, good)

    def _slow_link(self) -> None:
        """The partner is far: updates cross, acks come when the lease has moved on."""
        self.pair.tcp.delay_s = self.rng.choice((0.2, 1.0, 4.0))
        self._note(f"slow link, {self.pair.tcp.delay_s} s")

        def fast() -> None:
            self.pair.tcp.delay_s = 0.002

        self._later(150.0, fast)

    def _no_master(self) -> None:
        self._note("master down")
        self.pair.master_up = False

        def back() -> None:
            self.pair.master_up = True

        self._later(100.0, back)

    # --- the servers ------------------------------------------------------------------------------------------------------

    def _fall(self, server: Server) -> None:
        server.crash("killed", power=self.rng.random() < 0.4)

    def _kill(self) -> None:
        """One falls; sometimes its partner is told so; it comes back."""
        server = self._one()
        self._fall(server)
        if self.rng.random() < 0.5:
            self._later(30.0, lambda: self._declare(self._other(server)))
        self._later(self.rng.choice((2.0, 60.0, 300.0)), server.boot)

    def _both(self) -> None:
        for server in self.pair.servers:
            self._fall(server)
            self._later(40.0, server.boot)

    def _behind_cut(self) -> None:
        """One falls, its partner is told so, it comes back where the partner cannot be heard (safety.md 11)."""
        server = self._one()
        self._fall(server)
        self._note("cut")
        self.pair.tcp.cut = True
        self._later(20.0, lambda: self._declare(self._other(server)))
        self._later(60.0, server.boot)
        self._later(300.0, self._heal)

    def _pause(self) -> None:
        """A server stands still; if for long, its partner may be told that it is dead (safety.md 5)."""
        server = self._one()
        length_s = self.rng.choice((1.0, 8.0, 30.0, 200.0))
        self._note(f"pause {length_s:.0f} s", server.name)
        server.pause(length_s)
        if length_s >= 200.0:
            if self.rng.random() < 0.5:
                self._cut()
            self.world.after(60.0, lambda: self._declare(self._other(server)) if not self.over else None)

    def _slow_disk(self) -> None:
        server = self._one()
        server.disk.delay_s = self.rng.choice((0.1, 1.0, 4.0, 40.0))
        self._note(f"disk takes {server.disk.delay_s} s", server.name)

        def fast() -> None:
            server.disk.delay_s = 0.003

        self._later(40.0, fast)

    def _bad_disk(self) -> None:
        server = self._one()
        self._note("disk fails", server.name)
        server.disk.failing = True
        self._later(60.0, server.boot)

    def _full_disk(self) -> None:
        """Two servers of one kind fill their disks in the same hour (safety.md 7)."""
        full = list(self.pair.servers) if self.rng.random() < 0.3 else [self._one()]
        for server in full:
            self._note("disk full", server.name)
            server.room(True)
            self._later(100.0, partial(server.room, False))

    def _other_disk(self) -> None:
        """A server falls and comes back with an earlier copy of its database, or with none (safety.md 15). When the other one's is not
        whole either, nobody knows the leases of before, and no rule can help."""
        server = self._one()
        if not self._whole(self._other(server)):
            return
        if self.rng.random() < 0.4:
            self._note("disk lost", server.name)
            server.change_disk("disk lost", server.disk.lose)
            self._later(60.0, server.boot)
            return
        copy = server.disk.copy()
        if not copy[0]:
            return

        def put_back() -> None:
            if not self._whole(self._other(server)):
                return
            self._note("disk rolled back", server.name)
            server.change_disk("disk rolled back", partial(server.disk.put_back, copy))
            self._later(30.0, server.boot)

        self._later(self.rng.choice((30.0, 300.0)), put_back)

    def _whole(self, server: Server) -> bool:
        """Its database has all leases, as far as it ever knew them: nothing was lost since it was last normal for a lease's time."""
        return self.world.t > server.whole_from_t

    def _set_clock(self) -> None:
        """A wall clock is set, or runs fast or slow for a while; both stay within the 60 s of safety.md 10."""
        server = self._one()
        room = MOST_SKEW_S - abs(self._other(server).clock.skew_s)
        to = self.rng.uniform(-room, room)
        if self.rng.random() < 0.5:
            self._note("clock set", server.name)
            server.clock.step(to - server.clock.skew_s)
            server.deliver()
            return
        way_s = to - server.clock.skew_s
        rate = self.rng.uniform(0.001, MOST_DRIFT)
        self._note("clock drifts", server.name)
        server.clock.drift(rate if way_s > 0 else -rate)
        self.world.after(abs(way_s) / rate, partial(server.clock.drift, 0.0))

    # --- the operator -----------------------------------------------------------------------------------------------------

    def _declare(self, server: Server) -> None:
        """partner-down, if this server runs, and its partner does not (or the plan is a wrong one)."""
        partner = self._other(server)
        # A survivor that restarts within 60 s goes on in partner-down (safety.md 12): it is not dead, as the operator says.
        running = (partner.up and not partner.paused) or (
            partner.saved_state == "partner-down" and self.world.t < partner.fell_t + RESTART_GRACE_S
        )
        if not server.up or server.paused or (running and not self.wrong):
            return
        answers = len(server.replies)
        server.command("partner-down", {"relationship": RELATIONSHIP})

        def look() -> None:
            if len(server.replies) > answers and server.replies[-1].code == "ok":
                self.world.trace.add(Declared(self.world.t, server.name, running))

        self.world.after(0.2, look)
