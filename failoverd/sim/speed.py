"""`python -m failoverd.sim.speed`: how much faster than time a pair with 200 clients runs on one core, judges included.

Two measures: a calm pair whose clients renew, are switched off and on, roam and release; and drawn runs with crowds, faults, greedy and
hostile ones. Seconds are those that the process used.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
import time
from collections.abc import Callable
from functools import partial

from failoverd.sim.checks import judge
from failoverd.sim.pair import Pair, Terms
from failoverd.sim.run import bound, finish, first_contact, run
from failoverd.sim.world import World

CLIENTS = 200
TIMES_REAL = 300  # what is asked for
CALM_S = 1800.0
TERMS = Terms(mclt_s=120, lease_s=600, delay_s=20, window=100, pool=120, clients=CLIENTS, skew_s=(0.2, -0.2))


def calm() -> float:
    """Half an hour of a pair with 200 clients; the simulated seconds."""
    world = World("speed")
    pair = Pair(world, TERMS)
    first_contact(world, pair)
    rng = world.random("run")
    for client in pair.clients:
        client.habits.greedy = client.habits.hostile = False
        world.at(rng.uniform(0, 40), partial(client.live_from_now, CALM_S))
    world.run_until(CALM_S)
    finish(world, pair, bound(TERMS))
    found = judge(world.trace.events)
    assert not found, found[:3]
    return world.t


def crowds() -> float:
    """Three drawn runs with 80 to 200 clients and faults; the simulated seconds."""
    return sum(run(f"crowd{number}").t for number in (1, 2, 3))


def measure(name: str, what: Callable[[], float]) -> float:
    """Run, say how fast; times real time."""
    began = time.process_time()
    simulated = what()
    spent = time.process_time() - began
    print(f"{name}: {simulated:.0f} simulated s in {spent:.1f} s of one core: {simulated / spent:.0f} times real time", flush=True)
    return simulated / spent


def main(arguments: list[str]) -> int:
    """Both measures; 1 when the first is too slow."""
    parser = argparse.ArgumentParser(prog="python -m failoverd.sim.speed", description=__doc__)
    parser.add_argument("--profile", action="store_true", help="say where the calm pair spends it")
    options = parser.parse_args(arguments)
    if options.profile:
        profile = cProfile.Profile()
        profile.runcall(calm)
        pstats.Stats(profile).sort_stats("tottime").print_stats(40)
        return 0
    fast = measure(f"a pair with {CLIENTS} clients", calm)
    measure("crowds with faults", crowds)
    print(f"{TIMES_REAL} times real time are asked for: {'met' if fast >= TIMES_REAL else 'NOT MET'}")
    return 0 if fast >= TIMES_REAL else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
