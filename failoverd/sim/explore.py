"""`python -m failoverd.sim.explore --depth N`: every interleaving of messages, reconnects and timers of a pair, with up to N disturbances.

A disturbance is a crash, a wiped disk, a cut or a reset of the network, partner-down by the operator, or something that a client does.
Between two of them everything that may happen by itself happens in every order. States are compared by a hash of all that is in them.
Searched breadth first in the number of disturbances, so that a counterexample has as few as possible.

Looked for: a cell in which dhcpd exits or goes to shutdown; a state from which the pair, left to itself, does not come to normal; an
address that is granted to a client while another client holds it.
"""

from __future__ import annotations

import argparse
import sys
import time
from array import array
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

from failoverd.sim.dhcpd_tables import Tables
from failoverd.sim.explore_dhcpd import DhcpdRole
from failoverd.sim.explore_local import Part
from failoverd.sim.explore_ours import Role
from failoverd.sim.explore_party import MCLT_S
from failoverd.sim.explore_world import CLIENTS, FAULTS, Event, Limits, State, Violation, World

SHORTEST_FIRST = (
    "start",
    "deliver",
    "notice",
    "syn",
    "hears",
    "retry",
    "acks",
    "dial",
    "time-out",
    "startup",
    "handshake",
    "step",
    "recover-wait",
)
"""In which order things happen when nobody disturbs: by how long each takes."""
LOOKED_AT = 3000  # states searched for a way to normal when the order above goes round in circles
PAIRS = ("ours-ours", "ours-dhcpd", "dhcpd-ours")
STARTS: dict[str, tuple[Event, ...]] = {
    "new pair": (),
    "normal": (Event("settle"),),
    "a alone": (Event("settle"), Event("crash", 1), Event("declare", 0)),
    "b alone": (Event("settle"), Event("crash", 0), Event("declare", 1)),
    "b alone, a wiped": (Event("settle"), Event("crash", 0), Event("wipe", 0), Event("declare", 1)),
    "both alone": (
        Event("settle"),
        Event("cut"),
        Event("notice", 0, 1),
        Event("notice", 1, 1),
        Event("declare", 0),
        Event("declare", 1),
    ),
}
"""Where an exploration begins: a pair just installed, and what has happened to it since. "settle": left to itself until normal."""
CLIENT_STARTS: dict[str, tuple[Event, ...]] = {
    "normal": (Event("settle"),),
    "b died after an ACK": (Event("settle"), Event("lease", 1, 1), Event("crash", 1), Event("cut"), Event("declare", 0)),
    "a died after an ACK": (Event("settle"), Event("lease", 0, 1), Event("crash", 0), Event("cut"), Event("declare", 1)),
}
"""With clients: the partner may never have heard of the ACK, and works alone behind a cut."""


@dataclass(slots=True)
class Found:
    """One violation, and the way to it from the start."""

    violation: Violation
    way: list[Event]


@dataclass(slots=True)
class Result:
    """What an exploration saw. `steps`: events carried out; `longest`: the most protocol steps that a state needed to come to normal."""

    pair: str
    depth: int
    states: int = 0
    steps: int = 0
    longest: int = 0
    whole: bool = True
    seconds: float = 0.0
    servers: tuple[int, ...] = ()
    layers: list[int] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)

    def line(self) -> str:
        """One line for people."""
        rest = "all of them" if self.whole else "NOT all of them: the limit of states was reached"
        return (
            f"{self.pair}: depth {self.depth}, {self.states} states ({rest}), {self.steps} steps, layers {self.layers}, "
            f"at most {self.longest} steps to normal, servers {self.servers}, {len(self.found)} violations, {self.seconds:.0f} s"
        )


class Explorer:
    """Breadth first through the states of one pair."""

    def __init__(self, pair: str, world: World, *, limit: int) -> None:
        """Nothing seen. `limit`: states after which it stops."""
        self.world, self.limit = world, limit
        self.result = Result(pair, 0)
        self.seen: dict[bytes, tuple[bytes, Event | None]] = {}
        self.good: set[bytes] = set()
        self.stuck: set[bytes] = set()

    def run(self, depth: int, starts: Iterable[str] = tuple(STARTS)) -> Result:
        """Explore up to so many disturbances from each of the starts, by name."""
        began = time.monotonic()
        result = self.result
        result.depth = depth
        layer: deque[State] = deque()
        for name in starts:
            state = self.begin(STARTS.get(name) or CLIENT_STARTS.get(name, ()))
            if key(state) not in self.seen:
                self.seen[key(state)] = (b"", Event(f"[{name}]"))
                layer.append(state)
        for disturbances in range(depth + 1):
            after: deque[State] = deque()
            result.layers.append(0)
            while layer and result.whole:
                result.layers[-1] += 1
                self._expand(layer.popleft(), layer, after if disturbances < depth else None)
                result.whole = len(self.seen) <= self.limit
            layer = after
        result.servers = tuple(map(len, self.world.servers))
        result.states, result.seconds = len(self.seen), time.monotonic() - began
        return result

    def begin(self, events: Iterable[Event]) -> State:
        """A new pair, after these events. "settle": left to itself until normal."""
        state = self.world.start()
        for event in events:
            if event.what != "settle":
                state = self.world.after(state, event)
                continue
            while not self.world.normal(state) or any(any(each.queues) for each in state.connections):
                state = self.world.after(state, min(self.world.protocol(state), key=_when))
        return state

    def _expand(self, state: State, same: deque[State], deeper: deque[State] | None) -> None:
        here = key(state)
        self.comes_to_normal(state)
        disturbing = FAULTS | CLIENTS
        for event in list(self.world.events(state)):
            fault = event.what in disturbing
            if fault and deeper is None:
                continue
            self.result.steps += 1
            new = self.world.after(state, event)
            for violation in self.world.found:
                self._put_down(violation, here, event)
            there = key(new)
            if there in self.seen or any(each.rule == "exit" for each in self.world.found):
                continue
            self.seen[there] = (here, event)
            (deeper if fault and deeper is not None else same).append(new)

    def _put_down(self, violation: Violation, here: bytes, event: Event | None) -> None:
        if any(each.violation == violation for each in self.result.found):
            return
        way = [event] if event is not None else []
        while here in self.seen:
            here, before = self.seen[here]
            if before is not None:
                way.append(before)
        self.result.found.append(Found(violation, way[::-1]))

    # --- left to itself ---------------------------------------------------------------------------------------------------

    def comes_to_normal(self, state: State) -> None:
        """From here, with a whole network and no more disturbances, both come to normal; else it is put down."""
        here = key(state)
        way, now, at = [], state._replace(cut=False), key(state._replace(cut=False))
        on_way: set[bytes] = set()
        while at not in self.good and not self.world.normal(now):
            if at in self.stuck:
                return
            if at in on_way:
                self._search(now, at, here)
                return
            way.append(at)
            on_way.add(at)
            event = min(self.world.protocol(now), key=_when, default=None)
            if event is None:  # nothing will ever happen
                self._search(now, at, here)
                return
            now = self.world.after(now, event)
            self.result.steps += 1
            at = key(now)
        self.good.add(at)
        self.good.update(way)
        self.result.longest = max(self.result.longest, len(way))

    def _search(self, state: State, at: bytes, here: bytes) -> None:
        """The shortest-first order goes round in circles: is there any way at all?"""
        seen, queue = {at}, deque([state])
        while queue and len(seen) < LOOKED_AT:
            now = queue.popleft()
            for event in sorted(self.world.protocol(now), key=_when):
                new = self.world.after(now, event)
                self.result.steps += 1
                there = key(new)
                if there in self.good or self.world.normal(new):
                    self.good.add(at)
                    return
                if there not in seen:
                    seen.add(there)
                    queue.append(new)
        self.stuck |= seen
        states = [self.world.words(state, who) for who in (0, 1)]
        self._put_down(Violation("stuck", " / ".join(states)), here, None)


def _when(event: Event) -> tuple[int, int, int]:
    name = event.detail.split()[0] if event.what == "timer" else event.what
    return SHORTEST_FIRST.index(name), event.number, event.who


def key(state: State) -> bytes:
    """What tells states apart: every number in it."""
    numbers: list[int] = [state.cut, state.wrongly]
    for server in state.servers:
        numbers += server
    for each in state.connections:
        numbers += (each.number, *each.open, each.broken, len(each.queues[0]), *each.queues[0], *each.queues[1], -1)
    for promise in state.promises:
        numbers += promise
    return blake2b(array("q", numbers).tobytes(), digest_size=16).digest()


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
    """Explore one pair."""
    return Explorer(pair, world_of(pair, addresses=addresses, limits=limits, plan=plan), limit=limit).run(depth, starts)


def main(arguments: list[str]) -> int:
    """Explore, print; exit code 1 after a violation."""
    parser = argparse.ArgumentParser(prog="python -m failoverd.sim.explore", description=__doc__)
    parser.add_argument("--depth", type=int, default=3, help="disturbances")
    parser.add_argument("--pair", choices=PAIRS, action="append", help="all of them when not given")
    parser.add_argument("--start", choices=tuple(STARTS | CLIENT_STARTS), action="append", help="all of them when not given")
    parser.add_argument("--limit", type=int, default=10_000_000, help="states of a pair after which it stops")
    parser.add_argument("--clients", type=int, default=0, help="clients that ask, renew and give back; time passes, too")
    options = parser.parse_args(arguments)
    bad = 0
    for pair in options.pair or PAIRS:
        limits = Limits(clients=options.clients, jump_s=MCLT_S // 2 if options.clients else 0)
        starts = options.start or tuple(CLIENT_STARTS if options.clients else STARTS)
        result = explore(pair, options.depth, limits=limits, limit=options.limit, starts=starts)
        print(result.line(), flush=True)
        for found in result.found:
            bad += 1
            print(f"  ({found.violation.rule}) {found.violation.text}")
            print("    " + ", ".join(map(str, found.way)))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
