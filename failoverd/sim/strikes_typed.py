"""What operators type: planned work, and statements that are true, or in a run of its own class are not."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from failoverd.ports import Kind, Reply
from failoverd.sim.host_clock import CLOCKS_DIFFER_S
from failoverd.sim.server import Server
from failoverd.sim.strikes_host import HostStrike
from failoverd.sim.trace import PAIR_INIT, Stated


class TypedStrike(HostStrike):
    """One of them."""

    def maintenance(self) -> None:
        """A server is taken out of service and back; sometimes its host is booted meanwhile, or its partner falls."""
        server, name = self.one(), self.relationship()
        self.note("maintenance", server.name)
        self.type(server, "maintenance-start", relationship=name)
        chance = self.rng.random()
        if chance < 0.4:
            self.later(30.0, lambda: server.crash("host booted", power=True))
            self.later(60.0, server.boot)
        elif chance < 0.6:
            self.later(40.0, lambda: self.down(self.field.other(server), 0.0))
        self.later(120.0, lambda: self.type(server, "maintenance-end", relationship=name))

    def stop(self) -> None:
        """A planned stop and start: the partner is told (DISCONNECT)."""
        server = self.one()
        self.note("planned stop", server.name)
        server.stop()
        if self.rng.random() < 0.3:
            self.later(60.0, lambda: self.declare_dead(server))
        self.later(self.rng.choice((5.0, 100.0)), server.boot)

    def recover(self) -> None:
        """Everything anew from the partner."""
        server = self.one()
        self.note("recover", server.name)
        self.type(server, "recover", relationship=self.relationship())

    def rebalance(self) -> None:
        """Pools are levelled now."""
        self.type(self.one(), "pool-rebalance", relationship=self.relationship())

    def force(self) -> None:
        """A server that is alone after a boot is told to serve: its partner has not been in partner-down since (safety.md 11). In a wrong
        run it may have been."""
        server = self.one()
        self.down(server, 0.5 if self.wrong else 0.0)
        self.pair.tcp.cut = True
        self.note("cut around a crash")
        self.later(100.0, lambda: self._force(server))
        self.later(250.0, self.heal)

    def _force(self, server: Server) -> None:
        partner = self.field.other(server)
        for name in server.relationships:
            untrue = partner.saved_states.get(name) == "partner-down"
            if self.wrong or not untrue:
                self.type(server, "serve-force", partial(self._forced, server.name, untrue), relationship=name)

    def _forced(self, server: str, untrue: bool, reply: Reply) -> None:
        if reply.code == "ok" and isinstance(reply.body, dict) and reply.body.get("done"):
            self.world.trace.add(Stated(self.world.t, server, "serve --force", untrue))

    def both_disks(self) -> None:
        """Both lose their whole disks. Sometimes one of them is back first and told that the other is dead; sometimes an operator states
        that no leases exist (safety.md 16)."""
        self.lose_both()
        for server in self.pair.servers:
            self.later(self.rng.choice((10.0, 100.0)), server.boot)
        if self.rng.random() < 0.3:
            self.later(60.0, lambda: self.declare(self.one()))
        if self.wrong or self.rng.random() < 0.6:
            self.later(60.0, lambda: self.attest(*self.pair.servers))

    def lose_both(self) -> None:
        """Two empty databases: without `pair init` both wait for the longest lease time, counted from their boot, and for what their
        clocks may have differed (safety.md 10, 16)."""
        self.note("both disks lost")
        for server in self.pair.servers:
            server.change_disk("disk lost", server.disk.lose)
        self.field.slack_s = self.pair.terms.lease_s + CLOCKS_DIFFER_S

    def attest(self, *servers: Server) -> None:
        """An operator types `pair init` at these: when no client holds a lease any more, or in a wrong run too early."""
        held = self.held()
        if held and not self.wrong:
            self.later(10.0, lambda: self.attest(*servers))
            return
        for server in servers:
            for name in server.relationships:
                attested = partial(self._attested, self.world.t, server.name, held)
                fell = partial(self._fell, self.world.t, server, held, name)
                self.type(server, "pair-init", attested, fell, relationship=name)

    def _attested(self, t: float, server: str, untrue: bool, reply: Reply) -> None:
        if reply.code == "ok":
            self.world.trace.add(Stated(t, server, PAIR_INIT, untrue))

    def _fell(self, t: float, server: Server, untrue: bool, relationship: str) -> None:
        """Before its answer was seen: what its disk says of it holds, and it may have left recover-wait already (seed 15509)."""
        record = server.disk.copy()[0].get((Kind.RELATIONSHIP, relationship.encode()))
        if record is not None and json.loads(record)["new_pair"]:
            self.world.trace.add(Stated(t, server.name, PAIR_INIT, untrue))


TYPED: dict[str, tuple[type[Any], Callable[[Any], None]]] = {
    "maintenance": (TypedStrike, TypedStrike.maintenance),
    "stop": (TypedStrike, TypedStrike.stop),
    "recover": (TypedStrike, TypedStrike.recover),
    "rebalance": (TypedStrike, TypedStrike.rebalance),
    "force": (TypedStrike, TypedStrike.force),
    "both disks": (TypedStrike, TypedStrike.both_disks),
}
