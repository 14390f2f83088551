"""Known-bad servers must be caught, or the judges are worth nothing: each mutant is planted, and its check must speak."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from failoverd.failover.endpoint import Endpoint
from failoverd.leases import allocate, binding, mclt
from failoverd.leases.binding import DUEL, Winner
from failoverd.leases.lease import BindingState, Lease
from failoverd.leases.rights import Rights
from failoverd.node import Node
from failoverd.ports import ClientSend, Input, Now, Output, Write
from failoverd.sim.checks import Violation, judge
from failoverd.sim.clients import Habits
from failoverd.sim.disk import Disk
from failoverd.sim.pair import Pair, Terms
from failoverd.sim.run import bound, finish, first_contact, run
from failoverd.sim.server import RELATIONSHIP
from failoverd.sim.world import World

STEADY = Habits(client_id=True, named=False, on_s=1e9, off_s=1.0, release=0.0, roam=0.0, decline=0.0)
PATIENCE = 25  # seeds that a mutant may survive


def caught(check: str) -> Violation:
    """The first violation of a check in the drawn runs."""
    for seed in range(1, PATIENCE + 1):
        for violation in run(str(seed)).violations:
            if violation.check == check:
                return violation
    raise AssertionError(f"no violation of ({check}) in {PATIENCE} runs")


def took_over() -> list[Violation]:
    """The servers lose each other and their clients are parted; A grants from its half, falls, and B is told so; then more clients come
    to B than its half can hold."""
    world = World("took over")
    pair = Pair(world, Terms(60, 300, 15, 10, 8, 16, (0.1, -0.1)))
    first_contact(world, pair)
    for client in pair.clients:
        client.habits = STEADY
        client.place = client.places[0]
    world.run_until(60.0)
    pair.tcp.cut = True
    of_a, of_b = pair.clients[:4], pair.clients[4:]
    for n, client in enumerate(of_a):
        client.reach = {"a"}
        world.at(80.0 + n, client.start)
    for client in of_b:
        client.reach = {"b"}
    world.run_until(95.0)
    assert [client.state for client in of_a] == ["bound"] * 4
    pair.a.crash("killed")
    world.run_until(96.0)
    pair.b.command("partner-down", {"relationship": RELATIONSHIP})
    for n, client in enumerate(of_b):
        world.at(100.0 + n, client.start)
    world.run_until(240.0)
    pair.a.boot()
    for client in pair.clients:
        client.reach = {"a", "b"}
    pair.tcp.heal()
    finish(world, pair, bound(pair.terms))
    return judge(world.trace.events)


def booted_alone() -> list[Violation]:
    """A falls, B is told so and in time gives away A's half; A boots where it cannot hear B, and its old clients come again."""
    world = World("booted alone")
    pair = Pair(world, Terms(60, 300, 15, 10, 8, 16, (0.1, -0.1)))
    first_contact(world, pair)
    for client in pair.clients:
        client.habits = STEADY
        client.place = client.places[0]
    world.run_until(60.0)
    pair.tcp.cut = True
    pair.a.crash("power", power=True)
    pair.b.boot()
    world.run_until(80.0)
    pair.b.command("partner-down", {"relationship": RELATIONSHIP})
    for n, client in enumerate(pair.clients[:8]):
        client.reach = {"b"}
        world.at(90.0 + n, client.start)
    world.at(500.0, pair.a.boot)
    for n, client in enumerate(pair.clients[8:]):
        client.reach = {"a"}
        world.at(530.0 + n, client.start)
    world.run_until(700.0)
    for client in pair.clients:
        client.reach = {"a", "b"}
    pair.tcp.heal()
    finish(world, pair, bound(pair.terms))
    return judge(world.trace.events)


def test_the_sound_server_takes_over_without_a_violation() -> None:
    assert not took_over()


def test_the_sound_server_boots_alone_without_a_violation() -> None:
    assert not booted_alone()


def test_mutant_no_mclt(monkeypatch: pytest.MonkeyPatch) -> None:
    """safety.md 9: the clamp is gone."""
    monkeypatch.setattr(mclt, "limit", lambda lease, rights, now: now + 86400)
    assert "MCLT" in caught("c").text


def test_mutant_ack_before_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """safety.md 1: a DHCPACK leaves at once."""
    step = Node.step

    def hasty(self: Node, inputs: Sequence[Input], now: Now, commit_age_s: float = 0.0) -> Output:
        output = step(self, inputs, now, commit_age_s)
        output.at_once += [send for send in output.after_commit if isinstance(send, ClientSend)]
        output.after_commit = [send for send in output.after_commit if not isinstance(send, ClientSend)]
        return output

    monkeypatch.setattr(Node, "step", hasty)
    assert "its disk does not say so" in caught("b").text


def test_mutant_no_wait_in_partner_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """safety.md 12: the partner's addresses are ours at once."""

    def rest_until(lease: Lease, rights: Rights) -> int | None:
        return None if rights.partner_down_since is None else 0

    monkeypatch.setattr(mclt, "rest_until", rest_until)
    monkeypatch.setattr(allocate, "rest_until", rest_until)
    assert [violation.check for violation in took_over()][:1] == ["a"]


def test_mutant_no_doubt_after_a_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    """safety.md 11: a server that boots alone serves as if nothing had happened."""
    monkeypatch.setattr(Endpoint, "_doubt", lambda self, contact, now: None)
    assert "a" in [violation.check for violation in booted_alone()]


def test_mutant_a_disk_that_forgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last write of a large commit is lost."""
    commit = Disk.commit

    def lossy(self: Disk, writes: Sequence[Write], wall: float) -> None:
        commit(self, writes[:-1] if len(writes) > 2 else writes, wall)

    monkeypatch.setattr(Disk, "commit", lossy)
    assert "booted with" in caught("i").text


def test_mutant_yields_to_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """failover-protocol.md 6.4: both sides of a duel yield, so each holds what the other said."""
    everything = dict.fromkeys(DUEL, Winner.THEIRS)
    monkeypatch.setattr(binding, "DUEL", everything)
    assert everything[BindingState.ACTIVE, BindingState.ACTIVE] is Winner.THEIRS
    assert caught("e").text
