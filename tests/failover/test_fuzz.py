"""The corpus that the coverage-guided fuzzer kept (`make fuzz`), and what is recorded of real partners, through the same door."""

from __future__ import annotations

from pathlib import Path

import pytest

from failoverd.failover import message as wire
from failoverd.failover.message import ServerState as S
from failoverd.sim.explore_party import WALL
from tests.failover.fuzz import ON_DISK, STATES, one, watched

CORPUS = sorted((Path(__file__).resolve().parents[1] / "vectors" / "fuzz").iterdir())


def test_the_corpus_is_there() -> None:
    assert len(CORPUS) >= 20


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name[:12])
def test_no_input_of_the_corpus_raises_or_stops_the_server(path: Path) -> None:
    villain = one(path.read_bytes())
    if villain is not None:
        assert villain.written().state is villain.endpoint.record.state


def test_an_input_says_what_it_seems_to() -> None:
    head = bytes((1, ON_DISK.index(S.COMMUNICATIONS_INTERRUPTED), STATES.index(S.NORMAL)))
    villain = one(head + wire.encode(wire.state(WALL, 1, state=S.NORMAL, flags=0, since=WALL)))
    assert villain is not None
    assert any("communications-interrupted -> normal" in note.detail for out in villain.out for note in out.notes)


def test_the_fuzzer_watches_what_the_bytes_reach() -> None:
    names = {f"{each.__module__}.{each.__qualname__}" for each in watched()}
    assert {
        "failoverd.failover.message.decode",
        "failoverd.failover.transitions.Transitions._on_state",
        "failoverd.leases.binding.judge",
    } <= names
