"""`python -m failoverd.sim.explore --depth N`: every interleaving of messages, reconnects and timers of a pair, with up to N disturbances.

A disturbance is a crash, a wiped disk, a cut or a reset of the network, partner-down by the operator, or, with clients, what a client does
and the passing of time. Between two of them everything that may happen by itself happens in every order (explore_search.py). In every state
a stranger asks each failoverd for each address that a client holds.

Looked for: a cell in which dhcpd exits or goes to shutdown; a state from which the pair, left to itself, does not come to normal; an
address that is granted to a client while another client holds it.

What is left out, and why no bad cell can hide behind it:

* Time stands still but for "time" (60 s, half an MCLT). A timer fires at any moment, but the retry of a refused update (4 s at least) and
  those of 15 s and more only while nothing is on its way and no BNDACK waits for its batch (2 s): what an unbroken network carries
  arrives in less. A slower one is a broken one, and "cut" and "reset" are events.
* With clients the end of recover-wait is MCLT of "time" at once: it is what the wait is for.
* Times are kept relative to now, those long past are one: every rule compares times by difference, and none looks back further than the
  longest lease and MCLT together (explore_party.LONG_AGO_S is four times that).
* An xid is kept only of BNDUPD and BNDACK, the only ones that are compared; those still known to anybody are numbered from 1 on in each
  direction: only whether two are equal decides.
* How often an update was refused is levelled to once: it says only how long the next retry waits.
* Generations are levelled to "of now" or "earlier"; names, notes, counts and the events kept for people decide nothing.
* What is sent to an end that is closed is dropped: nobody can read it.
* Not in this world: slow or full disks, clocks that differ, a stopped process, several relationships, more than one pool. The simulator
  (failoverd.sim) has them, at random instead of exhaustively.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from failoverd.sim.dhcpd_tables import Tables
from failoverd.sim.explore_dhcpd import DhcpdRole
from failoverd.sim.explore_local import Part
from failoverd.sim.explore_ours import Role
from failoverd.sim.explore_party import MCLT_S
from failoverd.sim.explore_search import Explorer, Result
from failoverd.sim.explore_starts import CLIENT_STARTS, STARTS
from failoverd.sim.explore_world import Limits, World

PAIRS = ("ours-ours", "ours-dhcpd", "dhcpd-ours")
HEAVIEST = PAIRS[::-1]
WITH_CLIENTS = 2  # clients, and addresses


class Task(NamedTuple):
    """One start of one pair: a process of its own explores it."""

    pair: str
    start: str
    depth: int
    clients: int
    limit: int

    def run(self) -> Result:
        """Explore it."""
        limits = Limits(clients=self.clients, jump_s=MCLT_S // 2 if self.clients else 0)
        addresses = WITH_CLIENTS if self.clients else 1
        return explore(self.pair, self.depth, limits=limits, addresses=addresses, limit=self.limit, starts=(self.start,))


def world_of(pair: str, *, addresses: int = 1, limits: Limits | None = None, plan: Tables | None = None) -> World:
    """The world of one of PAIRS: primary first."""
    parts: list[Part] = []
    kinds = pair.split("-")
    for role, kind, other in zip("ps", kinds, kinds[::-1], strict=True):
        if kind == "ours":
            parts.append(Role(role, dhcpd_partner=other == "dhcpd", addresses=addresses))
        else:
            parts.append(DhcpdRole(role, addresses=addresses, plan=plan))
    return World((parts[0], parts[1]), limits or Limits())


def explore(
    pair: str,
    depth: int,
    *,
    limits: Limits | None = None,
    addresses: int = 1,
    limit: int = 10_000_000,
    plan: Tables | None = None,
    starts: Iterable[str] = tuple(STARTS),
) -> Result:
    """Explore one pair from these starts, in this process."""
    chosen = CLIENT_STARTS if limits is not None and limits.clients else STARTS
    world = world_of(pair, addresses=addresses, limits=limits, plan=plan)
    return Explorer(pair, world, limit=limit).run(depth, {name: chosen[name] for name in starts})


def tasks(options: argparse.Namespace) -> list[Task]:
    """What is to be explored, the heaviest first."""
    worlds = [0, WITH_CLIENTS] if options.clients is None else [options.clients]
    found = []
    for clients in sorted(worlds, reverse=True):
        depth = options.depth if not clients or options.depth_clients is None else options.depth_clients
        starts = CLIENT_STARTS if clients else STARTS
        pairs = [pair for pair in HEAVIEST if not options.pair or pair in options.pair]
        chosen = [name for name in starts if not options.start or name in options.start]
        found += [Task(p, start, depth, clients, options.limit) for p in pairs for start in chosen]
    return found


def tell(task: Task, result: Result) -> int:
    """Print what one process found; how many violations."""
    clients = f", {task.clients} clients" if task.clients else ""
    print(f"{task.pair}{clients}, from {task.start!r}: {result.line()}", flush=True)
    for found in result.found:
        print(f"  ({found.violation.rule}) {found.violation.text}")
        print("    " + ", ".join(map(str, found.way)))
    return len(result.found)


def main(arguments: list[str]) -> int:
    """Explore, print; exit code 1 after a violation, 3 when a limit left something unexplored."""
    parser = argparse.ArgumentParser(
        prog="python -m failoverd.sim.explore", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--depth", type=int, default=1, help="disturbances in the worlds without clients")
    parser.add_argument("--depth-clients", type=int, help="in those with clients (as --depth when not given)")
    parser.add_argument("--pair", choices=PAIRS, action="append", help="all of them when not given")
    parser.add_argument("--start", choices=tuple(STARTS | CLIENT_STARTS), action="append", help="all of them when not given")
    parser.add_argument("--limit", type=int, default=10_000_000, help="states of a start after which it stops")
    parser.add_argument("--clients", type=int, choices=(0, WITH_CLIENTS), help="both worlds when not given")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    options = parser.parse_args(arguments)
    began, work = time.monotonic(), tasks(options)
    if not work:
        parser.error("no such start in that world")
    bad = states = steps = cut_short = 0
    with multiprocessing.Pool(max(1, min(options.jobs, len(work))), maxtasksperchild=1) as pool:
        for task, result in zip(work, pool.imap(Task.run, work, chunksize=1), strict=True):
            bad += tell(task, result)
            states, steps, cut_short = states + result.states, steps + result.steps, cut_short + (not result.whole)
    counts = Counter((task.clients, task.depth) for task in work)
    depths = ", ".join(f"{depth} with {clients} clients ({count} starts)" for (clients, depth), count in sorted(counts.items()))
    whole = f"NOT complete: {cut_short} starts reached the limit of {options.limit} states" if cut_short else "complete"
    print(f"explored: depth {depths}, {whole}; {states} states, {steps} steps, {bad} violations, {time.monotonic() - began:.0f} s")
    return 1 if bad else 3 if cut_short else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
