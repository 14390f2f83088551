"""What every fault has: the pair, its own random numbers, and the ways to come and to go. `Field` is what the faults of a run share."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from failoverd.ports import Reply
from failoverd.sim.pair import Pair
from failoverd.sim.plan import Plan
from failoverd.sim.server import Server
from failoverd.sim.trace import Declared, Fault, GaveUp, Held, Typed
from failoverd.sim.world import World

RESTART_GRACE_S = 60.0  # a survivor that restarts within it goes on in partner-down (safety.md 12)
REPLY_S = 0.2


class Field:
    """The pair under fire. `over`: nothing strikes any more; `declaring`: relationships for which an operator is typing partner-down;
    `slack_s`: how much longer than after other faults both may need to be normal again."""

    def __init__(self, world: World, pair: Pair, plan: Plan) -> None:
        """Nothing has happened."""
        self.world, self.pair, self.plan = world, pair, plan
        self.over = False
        self.declaring: set[str] = set()
        self.slack_s = 0.0

    @staticmethod
    def other(server: Server) -> Server:
        """Its partner."""
        assert isinstance(server.partner, Server)
        return server.partner

    def running(self, server: Server, relationship: str) -> bool:
        """Whether this server grants, or goes on granting as soon as it is back: then it is not dead, whatever an operator says. A
        survivor that restarts within 60 s of its last work goes on in partner-down (safety.md 12; seed returning47)."""
        until_t = (server.still_t if server.paused else server.fell_t) + RESTART_GRACE_S
        survivor = server.saved_states.get(relationship) == "partner-down" and server.broken_until_t < until_t
        return (server.up and not server.paused) or (survivor and self.world.t < until_t)


class Strike:
    """One fault."""

    def __init__(self, field: Field, number: int) -> None:
        """With random numbers that no other fault has."""
        self.field, self.world, self.pair = field, field.world, field.pair
        self.rng: Random = self.world.random(f"fault {number}")
        self.wrong = field.plan.wrong
        self.pace = field.plan.terms.pace

    def later(self, mean_s: float, act: Callable[[], None]) -> float:
        """Do something after about `mean_s`, unless all is over by then. Times are those of a long run."""
        wait = self.rng.expovariate(1 / (mean_s * self.pace)) + 0.01

        def due() -> None:
            if not self.field.over:
                act()

        self.world.after(wait, due)
        return wait

    def note(self, what: str, on: str = "") -> None:
        """For the trace."""
        self.world.trace.add(Fault(self.world.t, what, on))

    def one(self) -> Server:
        """Either server."""
        return self.rng.choice(self.pair.servers)

    def relationship(self) -> str:
        """Either relationship."""
        return self.rng.choice(self.pair.a.relationships)

    def held(self) -> bool:
        """Whether some client holds a lease, as it sees it."""
        until: dict[tuple[str, int], float] = {}
        for event in self.world.trace.events:
            if isinstance(event, Held):
                until[event.client, event.address] = event.until
            elif isinstance(event, GaveUp):
                until.pop((event.client, event.address), None)
        return any(end > self.world.t for end in until.values())

    def type(
        self,
        server: Server,
        verb: str,
        answered: Callable[[Reply], None] | None = None,
        fell: Callable[[], None] | None = None,
        /,
        **args: str,
    ) -> None:
        """An operator types something at a server that runs. What `pair init` states must be seen, however late a slow disk answers;
        `fell`: called when the server fell before its answer was seen, having done it or not."""
        if not server.up or server.paused:
            return
        ident, life = server.command(verb, args), server.boots

        def look() -> None:
            reply = next((reply for reply in reversed(server.replies) if reply.ident == ident), None)
            if server.boots == life and reply is not None:
                self.world.trace.add(Typed(self.world.t, server.name, verb, reply.code))
                if answered is not None:
                    answered(reply)
            elif server.boots == life and server.up and verb == "pair-init":
                self.world.after(REPLY_S, look)
            elif fell is not None:
                fell()

        self.world.after(REPLY_S, look)

    def declare(self, server: Server, since_t: float = 0.0) -> None:
        """partner-down for every relationship, if this server runs and its partner does not (or the plan is a wrong one). `since_t`: the
        true time that --since says."""
        for name in server.relationships:
            running = self.field.running(self.field.other(server), name)
            if server.up and not server.paused and (self.wrong or not running):
                self._declare(server, name, running, since_t)

    def _declare(self, server: Server, name: str, running: bool, since_t: float) -> None:
        partner, told_at = self.field.other(server), self.world.t
        args = {"since": str(int(server.clock.wall_at(since_t)))} if since_t else {}
        early = bool(since_t) and (running or since_t < partner.fell_t)
        self.field.declaring.add(name)

        def answered(reply: Reply) -> None:
            if reply.code == "ok":
                self.world.trace.add(Declared(told_at, server.name, running or early, name, since_t))

        self.type(server, "partner-down", answered, relationship=name, **args)
        self.world.after(2 * REPLY_S, lambda: self.field.declaring.discard(name))
