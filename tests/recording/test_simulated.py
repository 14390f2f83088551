"""Whole runs of the simulator, faults and all, recorded from many moments of each server's life, and replayed bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from weakref import WeakKeyDictionary

import pytest

from failoverd.config import Config
from failoverd.node import Node
from failoverd.ports import Input, Now, Output, Stored
from failoverd.replay import snapshot, steps
from failoverd.sim import server as sim_server
from failoverd.sim.run import run

EVERY = 400  # steps: then the memory is written down anew


class Recorded(Node):
    """A Node that records itself. Its random numbers are its own: the simulator's server throws the same dice for its disk."""

    tapes: list[tuple[list[str], list[str]]]

    def __init__(self, config: Config, server: str, stored: Stored, now: Now, rng: Random) -> None:
        super().__init__(config, server, stored, now, Random(rng.random()))

    def step(self, inputs: Sequence[Input], now: Now, commit_age_s: float = 0.0) -> Output:
        mine = _CURRENT.get(self)
        if mine is None or len(mine[1]) >= EVERY:
            self.__class__ = Node  # as which it is written down
            mine = _CURRENT[self] = (list(snapshot.freeze(self)), [])
            self.__class__ = Recorded
            self.tapes.append(mine)
        output = super().step(inputs, now, commit_age_s)
        mine[1].append(steps.write(inputs, now, commit_age_s, output))
        return output


_CURRENT: WeakKeyDictionary[Node, tuple[list[str], list[str]]] = WeakKeyDictionary()


@pytest.mark.parametrize("seed", ["2", "tls1"])
def test_a_run_is_replayed_bit_for_bit(seed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Recorded.tapes = []
    _CURRENT.clear()
    monkeypatch.setattr(sim_server, "Node", Recorded)
    # The simulator asks between two steps what a server could give, and asking moves its queues: that is no input.
    monkeypatch.setattr(sim_server.Server, "gives", lambda self: [0, 0])
    run(seed)
    _CURRENT.clear()
    assert len(Recorded.tapes) > 5
    for lines, told in Recorded.tapes:
        node = snapshot.thaw(lines)
        for number, line in enumerate(told, 1):
            step = steps.read(line)
            output = node.step(step.inputs, step.now, step.age_s)
            assert steps.digest(output) == step.digest, f"server {node.server}, step {number} of {len(told)}"
