"""The search of the exploration: breadth first in the number of disturbances, so that a counterexample has as few as possible.

States are told apart by a 128 bit hash of all that is in them; of a state that was expanded only the hash, how it was reached and where it
goes when left to itself is kept. When all are known, each way to normal is followed; one that goes round in circles is searched for any
way at all.
"""

from __future__ import annotations

import time
from array import array
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from failoverd.sim.explore_starts import NOTICE, SETTLE
from failoverd.sim.explore_world import CLIENTS, FAULTS, Event, State, Violation, World

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
RANK = {name: rank for rank, name in enumerate(SHORTEST_FIRST)}
LOOKED_AT = 3000  # states searched for a way to normal when the order above goes round in circles
NORMAL, UNKNOWN, ON_WAY = -1, -2, -3
DISTURBING = FAULTS | CLIENTS


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
            f"depth {self.depth}, {self.states} states ({rest}), {self.steps} steps, layers {self.layers}, "
            f"at most {self.longest} steps to normal, servers {self.servers}, {len(self.found)} violations, {self.seconds:.0f} s"
        )


class Explorer:
    """Breadth first through the states of one pair."""

    def __init__(self, pair: str, world: World, *, limit: int) -> None:
        """Nothing seen. `limit`: states after which it stops."""
        self.world, self.limit = world, limit
        self.result = Result(pair, 0)
        self.starts: Mapping[str, tuple[Event, ...]] = {}
        self.seen: dict[bytes, int] = {}
        self.before, self.event, self.goes_to = array("q"), array("q"), array("q")  # of each state seen, by number
        self.events: dict[Event, int] = {}
        self.walked: dict[bytes, int] = {}

    def run(self, depth: int, starts: Mapping[str, tuple[Event, ...]]) -> Result:
        """Explore up to so many disturbances from each of the starts."""
        began = time.monotonic()
        result, self.starts = self.result, starts
        result.depth = depth
        layer: deque[tuple[int, State]] = deque()
        for name, events in starts.items():
            state = self.begin(events)
            number, new = self._number(key(state), UNKNOWN, Event(f"[{name}]"))
            if new:
                layer.append((number, state))
        for disturbances in range(depth + 1):
            after: deque[tuple[int, State]] = deque()
            result.layers.append(0)
            while layer and result.whole:
                result.layers[-1] += 1
                self._expand(*layer.popleft(), layer, after if disturbances < depth else None)
                result.whole = len(self.seen) <= self.limit
            layer = after
        self._follow_ways()
        result.servers = tuple(map(len, self.world.servers))
        result.states, result.seconds = len(self.seen), time.monotonic() - began
        return result

    def begin(self, events: Iterable[Event]) -> State:
        """A new pair, after these events."""
        state = self.world.start()
        for event in events:
            if event == SETTLE:
                while not self.world.normal(state) or any(any(each.queues) for each in state.connections):
                    state = self.world.after(state, min(self.world.protocol(state), key=_when))
            elif event == NOTICE:
                while lost := [each for each in self.world.protocol(state) if each.what == "notice"]:
                    state = self.world.after(state, lost[0])
            else:
                state = self.world.after(state, event)
        return state

    def _number(self, there: bytes, before: int, event: Event) -> tuple[int, bool]:
        """A state's number, and whether it is new."""
        number = self.seen.get(there)
        if number is not None:
            return number, False
        number = self.seen[there] = len(self.before)
        self.before.append(before)
        self.event.append(self.events.setdefault(event, len(self.events)))
        self.goes_to.append(UNKNOWN)
        return number, True

    def _expand(self, here: int, state: State, same: deque[tuple[int, State]], deeper: deque[tuple[int, State]] | None) -> None:
        world = self.world
        for violation in world.taken(state):
            self._put_down(violation, self._way(here), None)
        first = None if state.cut else min(world.protocol(state), key=_when, default=None)
        for event in list(world.events(state)):
            fault = event.what in DISTURBING
            if fault and deeper is None:
                continue
            self._judge(here, state, event)
            if any(each.rule == "exit" for each in world.found):
                continue
            there, new = self._number(key(self._new), here, event)
            if event == first:
                self.goes_to[here] = there
            if new:
                (deeper if fault and deeper is not None else same).append((there, self._new))
        if world.normal(state):
            self.goes_to[here] = NORMAL
        elif first is None:
            self.goes_to[here] = self._walk(state._replace(cut=False), here)

    def _judge(self, here: int, state: State, event: Event) -> None:
        """Carry it out; `_new` is what follows."""
        self.result.steps += 1
        self._new = self.world.after(state, event)
        for violation in self.world.found:
            self._put_down(violation, self._way(here), event)

    def _way(self, here: int) -> list[Event]:
        way, events = [], list(self.events)
        while here >= 0:
            way.append(events[self.event[here]])
            here = self.before[here]
        return way[::-1]

    def _put_down(self, violation: Violation, way: list[Event], event: Event | None) -> None:
        if all(each.violation != violation for each in self.result.found):
            self.result.found.append(Found(violation, [*way, event] if event is not None else way))

    # --- left to itself ---------------------------------------------------------------------------------------------------

    def comes_to_normal(self, state: State) -> None:
        """From here, with a whole network and no more disturbances, both come to normal; else it is put down."""
        self._walk(state._replace(cut=False), UNKNOWN)

    def _walk(self, state: State, here: int) -> int:
        """Left to itself: the first state on the way that was seen, or NORMAL. `here`: where it began, for the way."""
        way: list[bytes] = []
        end = NORMAL
        now = state
        while not self.world.normal(now):
            at = key(now)
            known = self.seen.get(at, self.walked.get(at, UNKNOWN))
            if known != UNKNOWN:
                end = known
                break
            event = min(self.world.protocol(now), key=_when, default=None)
            if at in way or event is None:
                self._search(now, self._way(here))
                break
            way.append(at)
            now = self.world.after(now, event)
            self.result.steps += 1
        self.walked.update(dict.fromkeys(way, end))
        self.result.longest = max(self.result.longest, len(way))
        return end

    def _follow_ways(self) -> None:
        """Every state that was expanded leads to normal."""
        steps = array("q", [UNKNOWN]) * len(self.goes_to)
        for start in range(len(self.goes_to)):
            way, at = [], start
            while at >= 0 and steps[at] == UNKNOWN:
                steps[at] = ON_WAY
                way.append(at)
                at = self.goes_to[at]
            if at >= 0 and steps[at] == ON_WAY:  # round in circles
                self._search(self._again(at), self._way(at))
            length = max(steps[at], 0) if at >= 0 else 0
            for each in reversed(way):
                length += 1
                steps[each] = length
        self.result.longest = max(self.result.longest, *steps, 0)

    def _again(self, here: int) -> State:
        """The state of a number, from its start."""
        start, *events = self._way(here)
        state = self.begin(self.starts[start.what[1:-1]])
        for event in events:
            state = self.world.after(state, event)
        return state._replace(cut=False)

    def _search(self, state: State, way: list[Event]) -> None:
        """The shortest-first order goes round in circles: is there any way at all?"""
        seen, queue = {key(state)}, deque([state])
        while queue and len(seen) < LOOKED_AT:
            now = queue.popleft()
            for event in sorted(self.world.protocol(now), key=_when):
                new = self.world.after(now, event)
                self.result.steps += 1
                if self.world.normal(new):
                    return
                there = key(new)
                if there not in seen:
                    seen.add(there)
                    queue.append(new)
        states = [self.world.words(state, who) for who in (0, 1)]
        self._put_down(Violation("stuck", " / ".join(states)), way, None)


def _when(event: Event) -> tuple[int, int, int]:
    name = event.detail.split()[0] if event.what == "timer" else event.what
    return RANK[name], event.number, event.who


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
