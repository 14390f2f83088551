"""Faults of the networks: between the servers, between servers and clients, and of the DNS master."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from failoverd.sim.strike import Strike


class NetStrike(Strike):
    """One of them."""

    def cut(self) -> None:
        """Nothing passes between the servers."""
        self.note("cut")
        self.pair.tcp.cut = True
        self.later(self.rng.choice((3.0, 40.0, 250.0)), self.heal)
        if self.wrong:
            since_t = self.world.t - 10.0 if self.rng.random() < 0.3 else 0.0
            self.later(60.0, lambda: self.declare(self.one(), since_t))

    def heal(self) -> None:
        """It passes again."""
        self.note("heal")
        self.pair.tcp.heal()

    def one_way(self) -> None:
        """What is sent to one of them does not arrive, what it sends does."""
        deaf = self.one()
        self.note("one-way cut", deaf.name)
        self.pair.tcp.deaf = deaf
        self.later(self.rng.choice((5.0, 60.0)), self.heal)

    def reset(self) -> None:
        """Every connection breaks, and new ones work."""
        self.note("reset")
        self.pair.tcp.reset()

    def split(self) -> None:
        """Each client reaches one server only; sometimes the servers do not reach each other either."""
        self.note("split")
        for client in self.pair.clients:
            client.reach = {self.one().name}
        if self.rng.random() < 0.7:
            self.cut()

        def join() -> None:
            self.note("join")
            for client in self.pair.clients:
                client.reach = {server.name for server in self.pair.servers}

        self.later(150.0, join)

    def bad_udp(self) -> None:
        """Datagrams are lost, doubled, late, and so out of order."""
        self.note("bad datagrams")
        udp = self.pair.udp
        udp.loss, udp.double = self.rng.uniform(0, 0.4), self.rng.uniform(0, 0.3)
        udp.delay_s = self.rng.choice((0.002, 0.2, 1.5))
        self.pair.dns.loss = self.rng.uniform(0, 0.3)

        def good() -> None:
            udp.loss = udp.double = self.pair.dns.loss = 0.0
            udp.delay_s = 0.002

        self.later(100.0, good)

    def slow_link(self) -> None:
        """The partner is far: updates cross, acks come when the lease has moved on."""
        self.pair.tcp.delay_s = self.rng.choice((0.2, 1.0, 4.0))
        self.note(f"slow link, {self.pair.tcp.delay_s} s")

        def fast() -> None:
            self.pair.tcp.delay_s = 0.002

        self.later(150.0, fast)

    def no_master(self) -> None:
        """Silence."""
        self.note("master down")
        self._master_away(100.0)

    def restart_master(self) -> None:
        """It is back soon; BIND has what it acknowledged in its journal."""
        self.note("master restarts")
        self._master_away(4.0)

    def _master_away(self, mean_s: float) -> None:
        self.pair.master_up = False

        def back() -> None:
            self.pair.master_up = True

        self.later(mean_s, back)

    def refuse(self) -> None:
        """The key is not valid any more (RFC 8945 5.2.1: NOTAUTH with BADKEY), or the policy refuses, or its disk is full."""
        self.pair.refuses = self.rng.choice(("REFUSED", "NOTAUTH", "SERVFAIL"))
        self.note(f"master refuses, {self.pair.refuses}")

        def good() -> None:
            self.pair.refuses = ""

        self.later(80.0, good)


NET: dict[str, tuple[type[Any], Callable[[Any], None]]] = {
    "cut": (NetStrike, NetStrike.cut),
    "one way": (NetStrike, NetStrike.one_way),
    "reset": (NetStrike, NetStrike.reset),
    "split": (NetStrike, NetStrike.split),
    "bad datagrams": (NetStrike, NetStrike.bad_udp),
    "slow link": (NetStrike, NetStrike.slow_link),
    "master down": (NetStrike, NetStrike.no_master),
    "master restarts": (NetStrike, NetStrike.restart_master),
    "master refuses": (NetStrike, NetStrike.refuse),
}
