"""One run: first contact, faults, quiet, the verdict. A function of its seed alone."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from failoverd.ddns.shelf import PEER_FIRST_LOOK_S
from failoverd.leases.lease import BindingState
from failoverd.sim.checks import judge, reverse, zones_differ
from failoverd.sim.dhcpd_pair import pair_of
from failoverd.sim.faults import Faults
from failoverd.sim.host_clock import CLOCKS_DIFFER_S
from failoverd.sim.limits import ANSWERED_WITHIN_S
from failoverd.sim.pair import Pair, Terms
from failoverd.sim.plan import FIRST_FAULT_S, WHOLE, Less, Plan, draw
from failoverd.sim.server import Server
from failoverd.sim.trace import Answered, Fault, Held, Quiet, Trace
from failoverd.sim.violation import Violation
from failoverd.sim.world import World

RECOVERING = ("recover", "recover-wait", "recover-done")
SETTLE_S = 60.0  # the clients are silent before the end
LOOK_S = 15.0
LOOKS = 120  # at the end, half a second apart, until nothing is on its way
LOOKED_S = 20.0  # a look, what follows from it, and how long after its end a lease is ended by two clocks that differ
NORMAL_S = 200.0  # beyond MCLT and the clocks' slack, both must be normal this long after the faults


class Result(NamedTuple):
    """What became of a run."""

    seed: str
    violations: list[Violation]
    trace: Trace
    events: int
    t: float
    terms: Terms
    plan: Plan

    def line(self) -> str:
        """One line for people."""
        counts = {kind: sum(isinstance(event, kind) for event in self.trace.events) for kind in (Fault, Answered, Held)}
        verdict = "ok" if not self.violations else f"{len(self.violations)} VIOLATIONS"
        return (
            f"seed {self.seed}: {verdict}, {self.terms.sort}, {self.terms.clients} clients, {self.t:.0f} s, {self.events} events,"
            f" {counts[Fault]} faults, {counts[Answered]} replies, {counts[Held]} leases, trace {self.trace.digest()}"
        )


def first_contact(world: World, pair: Pair) -> None:
    """Both start on empty disks; an operator states that the pair is new (safety.md 16)."""
    rng = world.random("first contact")
    for server in pair.servers:
        world.at(rng.uniform(0, 5), server.boot)
        for name in server.relationships:
            world.at(6.0, partial(attest, server, name))


def attest(server: Server, relationship: str) -> None:
    """`pair init`."""
    server.command("pair-init", {"relationship": relationship})


def owes(pair: Pair) -> bool:
    """Whether a server has something to tell its partner."""
    finals = [final for server in pair.servers for final in server.finals()]
    return any(final.owed or any(lease[4] for lease in final.leases) for final in finals)


def settled(pair: Pair) -> bool:
    """Nothing is owed, nothing in flight, the zones are as wanted, and the slave has them."""
    if owes(pair):
        return False
    zones = pair.zones()
    return zones.slave in (None, zones.records) and not any(zones_differ([zones]))


def left_to_partner(pair: Pair) -> bool:
    """Whether all that is wrong in the zones is pointers of leases that have just ended: on a plain link each server may have left one to
    the other, who spoke to the client in the same second. Both look for it a minute after the end (ddns.md 4.6; seed 18034)."""
    wrong = [violation.text for violation in zones_differ([pair.zones()])]
    if not wrong or pair.terms.tls:
        return False
    ended = set.intersection(*(just_ended(server) for server in pair.servers))
    return all(any(text.startswith(f"{reverse(each)} points to ") for each in ended) for text in wrong)


def just_ended(server: Server) -> set[int]:
    """The addresses whose leases have ended here so short a time ago."""
    rows, wall = server.node.table.rows() if server.node is not None else (), server.clock.wall_at(server.world.t)
    over = (lease for lease in rows if lease.state is not BindingState.ACTIVE)
    return {lease.address for lease in over if wall - PEER_FIRST_LOOK_S - LOOKED_S < lease.ends <= wall}


def normal(pair: Pair) -> bool:
    """Both servers are in normal in every relationship."""
    return all(server.node is not None and all(final.state == "normal" for final in server.finals()) for server in pair.servers)


def finish(world: World, pair: Pair, bound_s: float) -> None:
    """The quiet end: clients live on for a while, then are silent, then both servers are asked what they think."""
    world.trace.add(Quiet(world.t, bound_s))
    end = world.t + bound_s
    while world.t < end and not normal(pair):
        look(world, pair, end)
    end = world.t + pair.terms.lease_s + ANSWERED_WITHIN_S + 2 * LOOK_S
    while world.t < end:
        look(world, pair, end)
    for client in pair.clients:
        client.end()
    world.run_until(end + SETTLE_S)
    for _ in range(LOOKS):
        if settled(pair):
            break
        world.run_until(world.t + 0.5)
    while left_to_partner(pair) and not settled(pair):
        world.run_until(world.t + 0.5)
    for _ in range(LOOKS):  # what ends in this very second is told before the two are asked (seed 6791)
        if not owes(pair):
            break
        world.run_until(world.t + 0.5)
    for server in pair.servers:
        for final in server.finals():
            world.trace.add(final)
    world.trace.add(pair.zones())


def look(world: World, pair: Pair, until_t: float) -> None:
    """Some time passes, then somebody looks in."""
    world.run_until(min(world.t + LOOK_S, until_t))
    world.trace.add(pair.look())


def bound(terms: Terms) -> float:
    """How long after the faults both must be normal: recover-wait is MCLT, counted from the last operation; links take a while."""
    return terms.mclt_s + NORMAL_S


def longer(pair: Pair) -> float:
    """How much more when one without its database and one that recovers, too, are about to meet: nobody knows what the first had given, so
    it waits for the longest lease time, from its boot, and for what the clocks may differ (safety.md 10, 16; seed tls3170)."""
    for server, other in (pair.servers, reversed(pair.servers)):
        endpoints = server.node.endpoints.values() if server.node is not None else ()
        if any(each.record.virgin_database and other.saved_states.get(each.terms.name, "") in RECOVERING for each in endpoints):
            return pair.terms.lease_s + CLOCKS_DIFFER_S
    return 0.0


def run(seed: str, less: Less = WHOLE) -> Result:
    """One run of a drawn plan, or of what `less` leaves of it."""
    world = World(seed)
    plan = draw(world).less(less)
    terms = plan.terms
    pair = pair_of(world, terms)
    if less.clients:
        del pair.clients[less.clients :]
        del pair.cast[less.clients :]
    rng = world.random("run")
    first_contact(world, pair)
    calm = plan.until_t + bound(terms) + terms.lease_s
    for client in pair.clients:
        t = rng.uniform(0, FIRST_FAULT_S)
        world.at(plan.until_t if client in pair.cast else t, partial(client.live_from_now, calm))
    faults = Faults(world, pair, plan)
    faults.start()
    world.run_until(plan.until_t)
    faults.end()
    finish(world, pair, bound(terms) + max(faults.field.slack_s, longer(pair)))
    return Result(seed, judge(world.trace.events), world.trace, world.events, world.t, terms, plan)
