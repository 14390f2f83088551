"""The faults of a run strike as the plan says. Each ends by itself; `end` ends all at once, and everything works from then on."""

from __future__ import annotations

from functools import partial

from failoverd.ports import ClockState
from failoverd.sim.pair import Pair
from failoverd.sim.plan import Plan
from failoverd.sim.server import STOP_S, Server
from failoverd.sim.strike import Field
from failoverd.sim.strikes_host import HOST, MOST_SKEW_S
from failoverd.sim.strikes_named import NAMED
from failoverd.sim.strikes_net import NET
from failoverd.sim.strikes_story import STORIES
from failoverd.sim.strikes_typed import TYPED
from failoverd.sim.trace import Declared, Fault
from failoverd.sim.world import World

TYPED_AGAIN_S = 20.0  # after a refusal
STRIKES = NET | HOST | TYPED | STORIES | NAMED


class Faults:
    """All faults of one run."""

    def __init__(self, world: World, pair: Pair, plan: Plan) -> None:
        """Nothing yet; `start` begins."""
        self.world, self.pair, self.plan = world, pair, plan
        self.field = Field(world, pair, plan)
        for server in pair.servers:
            server.moved = self._moved

    def start(self) -> None:
        """Let them come."""
        for blow in self.plan.blows:
            self.world.at(blow.t, partial(self._strike, blow.number, blow.kind))

    def _strike(self, number: int, kind: str) -> None:
        if not self.field.over:
            kinds, act = STRIKES[kind]
            act(kinds(self.field, number))

    def _moved(self, server: Server, relationship: str, state: str) -> None:
        """auto-partner-down declares what no operator has seen: as often as not it is untrue (safety.md 12)."""
        node = server.node
        if state != "partner-down" or not self.pair.terms.auto_s or node is None or relationship in self.field.declaring:
            return
        if node.endpoints[relationship].link is None:
            running = self.field.running(self.field.other(server), relationship)
            self.world.trace.add(Declared(self.world.t, server.name, running, relationship))

    def _clocks_together(self) -> None:
        """Two that drifted at one time, or were set while they drifted, may be further apart than any link allows (seed 7618)."""
        a, b = self.pair.servers
        apart = a.clock.skew_s - b.clock.skew_s
        if abs(apart) > MOST_SKEW_S:
            self.world.trace.add(Fault(self.world.t, "clock set", b.name))
            b.clock.step(apart)

    def end(self) -> None:
        """Everything works again, and stays so."""
        self.field.over = True
        pair = self.pair
        pair.udp.loss = pair.udp.double = pair.dns.loss = 0.0
        pair.udp.delay_s = pair.tcp.delay_s = 0.002
        pair.master_up, pair.refuses = True, ""
        for client in pair.clients:
            client.reach = {server.name for server in pair.servers}
        righted = [server for server in pair.servers if server.clock.put_right()]
        self._clocks_together()
        for server in pair.servers:
            server.fuse = None
            server.disk.delay_s, server.disk.failing = 0.003, False
            server.room(False)
            server.clock.drift(0.0)
            server.resume()
            self.world.at(max(server.broken_until_t, self.world.t + 2 * STOP_S), server.boot)  # broken, or about to stop
            server.boot()
            server.deliver(*([ClockState(True)] if server in righted else []))
            for name in server.relationships:
                self._into_service(server, name)
        pair.tcp.heal()

    def _into_service(self, server: Server, relationship: str) -> None:
        """`maintenance end`, again when it was refused: a partner without its database is waited for."""
        server.command("maintenance-end", {"relationship": relationship})

        def look() -> None:
            if server.saved_states.get(relationship) == "paused":
                self._into_service(server, relationship)

        self.world.after(TYPED_AGAIN_S, look)
