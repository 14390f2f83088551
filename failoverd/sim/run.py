"""One run: first contact, faults, quiet, the verdict. A function of its seed alone."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from failoverd.sim.checks import judge
from failoverd.sim.faults import Faults
from failoverd.sim.pair import Pair, Terms, draw
from failoverd.sim.server import RELATIONSHIP
from failoverd.sim.trace import Answered, Fault, Held, Quiet, Trace
from failoverd.sim.violation import Violation
from failoverd.sim.world import World

FAULTS_FROM_S = 60.0
SETTLE_S = 60.0  # the clients are silent before the end
LOOK_S = 15.0
LOOKS = 120  # at the end, half a second apart, until nothing is on its way
NORMAL_S = 200.0  # beyond MCLT and the clocks' slack, both must be normal this long after the faults


class Result(NamedTuple):
    """What became of a run."""

    seed: str
    violations: list[Violation]
    trace: Trace
    events: int
    t: float
    terms: Terms

    def line(self) -> str:
        """One line for people."""
        counts = {kind: sum(isinstance(event, kind) for event in self.trace.events) for kind in (Fault, Answered, Held)}
        verdict = "ok" if not self.violations else f"{len(self.violations)} VIOLATIONS"
        return (
            f"seed {self.seed}: {verdict}, {self.t:.0f} s, {self.events} events, {counts[Fault]} faults, {counts[Answered]} replies,"
            f" {counts[Held]} leases, trace {self.trace.digest()}"
        )


def first_contact(world: World, pair: Pair) -> None:
    """Both start on empty disks; an operator states that the pair is new (safety.md 16)."""
    rng = world.random("first contact")
    for server in pair.servers:
        world.at(rng.uniform(0, 5), server.boot)
        world.at(6.0, partial(server.command, "pair-init", {"relationship": RELATIONSHIP}))


def settled(pair: Pair) -> bool:
    """Nothing is owed, nothing in flight, the zones are as wanted."""
    for server in pair.servers:
        final = server.final()
        if final.owed or any(lease[4] for lease in final.leases):
            return False
    zones = pair.zones()
    return len({name for name, rtype, _ in zones.records if rtype == "A"}) == len({name for name, _ in zones.wanted})


def finish(world: World, pair: Pair, bound_s: float) -> None:
    """The quiet end: clients live on for a while, then are silent, then both servers are asked what they think."""
    world.trace.add(Quiet(world.t, bound_s))
    end = world.t + bound_s + 2 * pair.terms.lease_s
    while world.t < end - SETTLE_S:
        world.run_until(min(world.t + LOOK_S, end - SETTLE_S))
        world.trace.add(pair.look())
    for client in pair.clients:
        client.stop()
    world.run_until(end)
    for _ in range(LOOKS):
        if settled(pair):
            break
        world.run_until(world.t + 0.5)
    for server in pair.servers:
        world.trace.add(server.final())
    world.trace.add(pair.zones())


def bound(terms: Terms) -> float:
    """How long after the faults both must be normal: recover-wait is MCLT, counted from the last operation; links take a while."""
    return terms.mclt_s + NORMAL_S


def run(seed: str) -> Result:
    """One run of a drawn plan."""
    world = World(seed)
    terms = draw(world)
    pair = Pair(world, terms)
    rng = world.random("run")
    faults_until = FAULTS_FROM_S + rng.uniform(600, 2400)
    first_contact(world, pair)
    calm = faults_until + bound(terms) + terms.lease_s
    for client in pair.clients:
        world.at(rng.uniform(0, 120), partial(client.live_from_now, calm))
    world.run_until(FAULTS_FROM_S)
    faults = Faults(world, pair, faults_until)
    faults.start()
    world.run_until(faults_until)
    faults.end()
    finish(world, pair, bound(terms))
    return Result(seed, judge(world.trace.events), world.trace, world.events, world.t, terms)
