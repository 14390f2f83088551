"""Known-bad servers must be caught, or the judges are worth nothing: each mutant is planted, and its check must speak."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pytest

from failoverd.failover.endpoint import Endpoint
from failoverd.leases import allocate, mclt
from failoverd.leases.lease import Lease
from failoverd.leases.rights import Rights
from failoverd.node import Node
from failoverd.ports import ClientSend, Input, Now, Output, Write
from failoverd.sim.checks import differences, judge
from failoverd.sim.clients import Client, Habits
from failoverd.sim.disk import Disk
from failoverd.sim.pair import Pair, Terms
from failoverd.sim.run import bound, finish, first_contact, run
from failoverd.sim.server import RELATIONSHIP
from failoverd.sim.trace import Answered
from failoverd.sim.violation import Violation
from failoverd.sim.world import World

STEADY = Habits(client_id=True, named=False, on_s=1e9, off_s=1.0, release=0.0, roam=0.0, decline=0.0)
PATIENCE = 25  # seeds that a mutant may survive


def caught(check: str, sort: str = "short") -> Violation:
    """The first violation of a check in the drawn runs, of all sorts when `sort` is empty."""
    for seed in range(1, PATIENCE + 1):
        for violation in run(f"{sort}{seed}").violations:
            if violation.check == check:
                return violation
    raise AssertionError(f"no violation of ({check}) in {PATIENCE} runs")


def parted(name: str, *, lease_s: int = 300) -> tuple[World, Pair]:
    """A pair of eight addresses in normal at t = 60, sixteen steady clients on one link, none of them switched on."""
    world = World(name)
    pair = Pair(world, Terms(60, lease_s, 15, 10, 8, 16, (0.1, -0.1)))
    first_contact(world, pair)
    for client in pair.clients:
        client.habits = STEADY
        client.place = client.places[0]
    return world, pair


def reunited(world: World, pair: Pair) -> list[Violation]:
    """All is well again; the verdict."""
    for client in pair.clients:
        client.reach = {"a", "b"}
    pair.tcp.heal()
    finish(world, pair, bound(pair.terms))
    return judge(world.trace.events)


def come(world: World, clients: Sequence[Client], server: str, t: float) -> None:
    """These clients are switched on from `t` on, a second apart, and reach one server only."""
    for n, client in enumerate(clients):
        client.reach = {server}
        world.at(t + n, client.start)


def took_over() -> list[Violation]:
    """The servers lose each other and their clients are parted; A grants from its half, falls, and B is told so; then more clients
    come to B than its half can hold."""
    world, pair = parted("took over")
    world.run_until(60.0)
    pair.tcp.cut = True
    come(world, pair.clients[:4], "a", 80.0)
    world.run_until(95.0)
    assert [client.state for client in pair.clients[:4]] == ["bound"] * 4
    pair.a.crash("killed")
    world.run_until(96.0)
    pair.b.command("partner-down", {"relationship": RELATIONSHIP})
    come(world, pair.clients[4:], "b", 100.0)
    world.run_until(240.0)
    pair.a.boot()
    return reunited(world, pair)


def renewed_unheard() -> list[Violation]:
    """A renews its clients behind a cut, falls, and B is told so. B saw those leases end long before their clients do, and other
    clients wait for every address."""
    world, pair = parted("renewed unheard", lease_s=600)
    come(world, pair.clients[:4], "a", 20.0)
    world.run_until(325.0)
    pair.tcp.cut = True
    world.run_until(380.0)
    assert all(client.until > 900.0 for client in pair.clients[:4])
    pair.a.crash("killed")
    for client in pair.clients[:4]:
        client.stop()
    world.run_until(382.0)
    pair.b.command("partner-down", {"relationship": RELATIONSHIP})
    come(world, pair.clients[4:], "b", 390.0)
    world.run_until(1200.0)
    pair.a.boot()
    return reunited(world, pair)


def away_alone(fall: Callable[[Pair], None], back: Callable[[Pair], None]) -> list[Violation]:
    """A goes away, B is told that it is dead and in time gives away A's half; A comes back where it cannot hear B, and clients
    come."""
    world, pair = parted("away alone")
    world.run_until(60.0)
    pair.tcp.cut = True
    fall(pair)
    world.run_until(80.0)
    pair.b.command("partner-down", {"relationship": RELATIONSHIP})
    come(world, pair.clients[:8], "b", 90.0)
    world.at(500.0, partial(back, pair))
    come(world, pair.clients[8:], "a", 530.0)
    world.run_until(700.0)
    return reunited(world, pair)


def booted_alone() -> list[Violation]:
    """It had fallen."""
    return away_alone(lambda pair: pair.a.crash("power", power=True), lambda pair: pair.a.boot())


def woke_alone() -> list[Violation]:
    """It had stood still."""
    return away_alone(lambda pair: pair.a.pause(440.0), lambda pair: None)


@pytest.mark.parametrize("story", [took_over, renewed_unheard, booted_alone, woke_alone])
def test_the_sound_server_survives_the_story(story: Callable[[], list[Violation]]) -> None:
    assert not story()


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
    assert {"a", "d"} <= {violation.check for violation in took_over()}


def test_mutant_no_horizon(monkeypatch: pytest.MonkeyPatch) -> None:
    """safety.md 12: the wait counts from the entry alone, not beyond what the partner may have promised."""
    monkeypatch.setattr(mclt, "horizon", lambda lease: 0)
    assert "a" in [violation.check for violation in renewed_unheard()]


def test_mutant_a_pause_is_no_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    """safety.md 5: a server that stood still goes on as if nothing had happened."""
    monkeypatch.setattr(Endpoint, "beat_gap", lambda self, now: None)
    assert "a" in [violation.check for violation in woke_alone()]


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


def both_renewed() -> list[Violation]:
    """Behind a cut each server renews the same client in turn; when they meet, both tell, and the messages cross."""
    world, pair = parted("both renewed")
    client = pair.clients[0]
    world.at(20.0, client.start)
    world.run_until(60.0)
    pair.tcp.cut = True
    for t, server in ((90.0, "a"), (120.0, "b"), (130.0, "a"), (133.0, "b")):
        client.stop()
        client.reach = {server}
        client.start()
        world.run_until(t)
    client.stop()
    assert len({event.server for event in world.trace.events if isinstance(event, Answered) and event.t > 60.0}) == 2
    pair.tcp.heal()
    world.run_until(142.0)
    return list(differences(pair.a.final(), pair.b.final()))


def test_the_sound_pair_has_one_view_when_it_meets() -> None:
    assert not both_renewed()


def test_mutant_no_slack_between_the_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """safety.md 10: the two clocks are taken for one; the tables disagree on what has ended."""
    monkeypatch.setattr(Endpoint, "slack_s", property(lambda self: 0))
    assert caught("e", "").text
