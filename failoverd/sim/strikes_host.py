"""Faults of the servers: processes, hosts, disks, clocks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from failoverd.ports import ClockState
from failoverd.sim.server import Fuse, Server
from failoverd.sim.strikes_net import NetStrike

MOST_DRIFT = 0.08  # seconds a second: how fast chrony slews at most
MOST_SKEW_S = 50.0  # the clocks of both, together, from the truth
LEAST_FAR_S, MOST_FAR_S = 65.0, 150.0  # from the other clock: beyond what the rule allows
LONG_PAUSE_S = 200.0  # of a long run: longer than most MCLTs


class HostStrike(NetStrike):
    """One of them."""

    def fall(self, server: Server) -> None:
        """Killed, or without power."""
        server.crash("killed", power=self.rng.random() < 0.4)

    def declare_dead(self, server: Server) -> None:
        """Its partner is told that it is dead; sometimes also since when."""
        since_t = server.fell_t + 2.0 if self.rng.random() < 0.3 else 0.0
        self.declare(self.field.other(server), since_t)

    def kill(self) -> None:
        """One falls; sometimes its partner is told so; it comes back."""
        self.down(self.one(), 0.5)

    def down(self, server: Server, told: float) -> None:
        """This one falls, and comes back. `told`: how often its partner is told."""
        self.fall(server)
        if self.rng.random() < told:
            self.later(30.0, lambda: self.declare_dead(server))
        self.later(self.rng.choice((2.0, 60.0, 300.0)), server.boot)

    def kill_at(self) -> None:
        """One falls between a commit and what hangs on it, or in the midst of what it sends."""
        server = self.one()
        point = self.rng.choice(("commit", "durable", "durable", "send", "send"))
        self.note(f"falls at {point}", server.name)
        server.fuse = Fuse(point, self.rng.randrange(1, 40))
        if self.rng.random() < 0.3:
            self.later(60.0, lambda: self.declare_dead(server))
        self.later(90.0, server.boot)

    def both(self) -> None:
        """Both fall within a second."""
        for server in self.pair.servers:
            self.fall(server)
            self.later(self.rng.choice((1.0, 40.0)), server.boot)

    def behind_cut(self) -> None:
        """One falls, its partner is told so, and it comes back where it cannot hear that (safety.md 11)."""
        server = self.one()
        self.fall(server)
        self.pair.tcp.cut = True
        self.note("cut around a crash")
        self.later(20.0, lambda: self.declare_dead(server))
        self.later(60.0, server.boot)
        self.later(300.0, self.heal)

    def pause(self) -> None:
        """A process stands still; when it does for long, its partner is told that it is dead."""
        server = self.one()
        length_s = self.rng.choice((1.0, 8.0, 30.0, LONG_PAUSE_S))
        length_s = length_s * max(self.pace, 0.3) if length_s >= LONG_PAUSE_S else length_s
        self.note(f"pause {length_s:.0f} s", server.name)
        server.pause(length_s)
        if length_s > 30.0:
            if self.rng.random() < 0.5:
                self.cut()
            self.world.after(length_s * 0.3, lambda: self.declare(self.field.other(server)) if not self.field.over else None)

    def slow_disk(self) -> None:
        """Commits take long, up to a disk that hangs."""
        server = self.one()
        server.disk.delay_s = self.rng.choice((0.1, 1.0, 4.0, 40.0))
        self.note(f"disk takes {server.disk.delay_s} s", server.name)

        def fast() -> None:
            server.disk.delay_s = 0.003

        self.later(40.0, fast)

    def bad_disk(self) -> None:
        """A commit fails, the next one or one of the next."""
        server = self.one()
        self.note("disk fails", server.name)
        server.fuse = Fuse("commit", self.rng.randrange(1, 12))
        self.later(60.0, server.boot)

    def full_disk(self) -> None:
        """Two servers of one kind fill their disks in the same hour (safety.md 7)."""
        full = list(self.pair.servers) if self.rng.random() < 0.4 else [self.one()]
        for server in full:
            self.note("disk full", server.name)
            server.room(True)
            self.later(100.0, partial(server.room, False))

    def other_disk(self) -> None:
        """A server falls and comes back with an earlier copy of its database, or with none (safety.md 15). When the other one's is not
        whole either, nobody knows the leases of before, and no rule can help."""
        server = self.one()
        if not self.whole(self.field.other(server)):
            return
        if self.rng.random() < 0.4:
            self.note("disk lost", server.name)
            server.change_disk("disk lost", server.disk.lose)
            self.later(60.0, server.boot)
            return
        self._put_back(server, "disk rolled back", restored=False)

    def backup(self) -> None:
        """An operator makes a backup, and later puts it in the place of the database (safety.md 15)."""
        self._put_back(self.one(), "backup restored", restored=True)

    def _put_back(self, server: Server, what: str, *, restored: bool) -> None:
        copy = server.disk.copy()
        if not copy[0]:
            return

        def put_back() -> None:
            if not self.whole(self.field.other(server)):
                return
            self.note(what, server.name)
            server.change_disk(what, partial(server.disk.put_back, copy, restored=restored))
            self.later(30.0, server.boot)

        self.later(self.rng.choice((30.0, 300.0)), put_back)

    def whole(self, server: Server) -> bool:
        """Its database has all leases, as far as it ever knew them: nothing was lost since it was last normal for a lease's time."""
        return self.world.t > server.whole_from_t

    def set_clock(self) -> None:
        """A wall clock is set, or runs fast or slow for a while; both stay within the 60 s of safety.md 10."""
        server = self.one()
        if any(each.clock.far for each in self.pair.servers):
            return
        room = MOST_SKEW_S - abs(self.field.other(server).clock.skew_s)
        to = self.rng.uniform(-room, room)
        if self.rng.random() < 0.5:
            self.note("clock set", server.name)
            server.clock.step(to - server.clock.skew_s)
            server.deliver()
            return
        way_s = to - server.clock.skew_s
        rate = self.rng.uniform(0.001, MOST_DRIFT)
        self.note("clock drifts", server.name)
        server.clock.drift(rate if way_s > 0 else -rate)
        self.world.after(abs(way_s) / rate, partial(server.clock.drift, 0.0))

    def unreserve(self) -> None:
        """The line of a reservation is taken out of the files, and the servers are restarted for that, one after the other."""
        self.note("unreserve")
        for server in self.pair.servers:
            server.config = self.pair.terms.config()
            self.world.after(self.rng.uniform(0.0, 5.0), partial(self._restart, server))

    def _restart(self, server: Server) -> None:
        if server.up:
            server.crash("restarted")
            self.world.after(1.0 + self.rng.random(), server.boot)

    def far_clock(self) -> None:
        """The wall clock of one server goes further wrong than the 60 s of safety.md 10: it is set, or drifts, or the host starts with it
        and knows that nothing synchronised it. A new link is refused. Then somebody puts it right. What was noted by a clock that was
        ahead makes this server wait so much longer."""
        server = self.one()
        if any(each.clock.far for each in self.pair.servers):
            return
        to = self.field.other(server).clock.skew_s + self.rng.choice((-1.0, 1.0)) * self.rng.uniform(LEAST_FAR_S, MOST_FAR_S)
        way_s, how = to - server.clock.skew_s, self.rng.choice(("set", "set", "drifts", "found so"))
        self.note(f"clock far off, {how}", server.name)
        self.field.slack_s = max(self.field.slack_s, 2 * MOST_FAR_S)
        drifts_s = 0.0
        if how == "drifts":
            rate = self.rng.uniform(MOST_DRIFT / 2, MOST_DRIFT)
            server.clock.drift(rate if way_s > 0 else -rate)
            drifts_s = abs(way_s) / rate
            self.world.after(drifts_s, lambda: server.clock.drift(0.0) if server.clock.far else None)
        elif how == "found so":
            server.crash("host booted", power=True)
            server.clock.synchronised = False
            server.clock.step(way_s)
            self.later(30.0, server.boot)
        else:
            server.clock.step(way_s)
            server.deliver()
        server.clock.far = True
        self.world.after(drifts_s, lambda: self._right_later(server))

    def _right_later(self, server: Server) -> None:
        self.later(self.rng.choice((100.0, 400.0)), lambda: self._put_right(server))

    def _put_right(self, server: Server) -> None:
        if server.clock.put_right():
            server.deliver(ClockState(True))
            server.boot()


HOST: dict[str, tuple[type[Any], Callable[[Any], None]]] = {
    "kill": (HostStrike, HostStrike.kill),
    "kill at": (HostStrike, HostStrike.kill_at),
    "both": (HostStrike, HostStrike.both),
    "behind cut": (HostStrike, HostStrike.behind_cut),
    "pause": (HostStrike, HostStrike.pause),
    "slow disk": (HostStrike, HostStrike.slow_disk),
    "bad disk": (HostStrike, HostStrike.bad_disk),
    "full disk": (HostStrike, HostStrike.full_disk),
    "other disk": (HostStrike, HostStrike.other_disk),
    "backup": (HostStrike, HostStrike.backup),
    "set clock": (HostStrike, HostStrike.set_clock),
    "unreserve": (HostStrike, HostStrike.unreserve),
    "far clock": (HostStrike, HostStrike.far_clock),
}
