"""The exhaustive exploration: what it finds nothing in, and that it finds what is planted."""

from __future__ import annotations

import pytest

from failoverd.failover import states
from failoverd.failover.message import ServerState as S
from failoverd.failover.states import Action, Cell
from failoverd.leases import allocate
from failoverd.sim import dhcpd_tables
from failoverd.sim.dhcpd_tables import Act, Tables
from failoverd.sim.explore import CLIENT_STARTS, PAIRS, STARTS, Explorer, Result, _when, explore, main, world_of
from failoverd.sim.explore_party import MCLT_S
from failoverd.sim.explore_world import Event, Limits

WITH_CLIENTS = Limits(clients=2, jump_s=MCLT_S // 2)
LEAST = {"ours-ours": 400, "ours-dhcpd": 800, "dhcpd-ours": 1500}


def rules(result: Result) -> list[str]:
    return [found.violation.rule for found in result.found]


def told(result: Result) -> str:
    return "\n".join(f"{found.violation}: {', '.join(map(str, found.way))}" for found in result.found)


@pytest.mark.parametrize("pair", PAIRS)
def test_every_interleaving_without_a_disturbance_ends_in_normal(pair: str) -> None:
    result = explore(pair, 0)
    print(result.line())
    assert result.whole
    assert result.states > LEAST[pair]
    assert not result.found, told(result)


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS)
def test_every_interleaving_with_a_disturbance_ends_in_normal(pair: str) -> None:
    result = explore(pair, 1)
    print(result.line())
    assert result.whole
    assert not result.found, told(result)


def test_no_address_has_two_owners_at_first_sight() -> None:
    result = explore("ours-ours", 2, limits=WITH_CLIENTS, starts=CLIENT_STARTS, limit=1500)
    print(result.line())
    assert not result.found, told(result)


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS)
def test_no_address_has_two_owners(pair: str) -> None:
    result = explore(pair, 3, limits=WITH_CLIENTS, starts=CLIENT_STARTS, limit=100_000)
    print(result.line())
    assert not result.found, told(result)


def test_the_command_prints_how_many_states_there_were(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--depth", "0", "--pair", "ours-ours", "--start", "new pair"]) == 0
    assert "states (all of them)" in capsys.readouterr().out


# --- planted faults are found ---------------------------------------------------------------------------------------------


def test_a_planted_exit_of_dhcpd_is_found() -> None:
    plan = Tables()
    plan.on_state[S.CONFLICT_DONE, S.NORMAL] = dhcpd_tables.Cell(Act.EXIT)
    result = explore("dhcpd-ours", 0, plan=plan, starts=("both alone",))
    assert "exit" in rules(result)
    assert result.found[0].way[-1].what == "deliver"


def test_a_planted_shutdown_of_dhcpd_is_found() -> None:
    plan = Tables()
    plan.on_state[S.POTENTIAL_CONFLICT, S.POTENTIAL_CONFLICT] = dhcpd_tables.Cell(Act.MOVE, S.SHUTDOWN)
    assert "shutdown" in rules(explore("ours-dhcpd", 0, plan=plan, starts=("both alone",)))


def test_a_planted_dead_end_of_ours_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    stay = Cell(Action.STAY)
    monkeypatch.setitem(states.ON_STATE, (S.POTENTIAL_CONFLICT, S.CONFLICT_DONE), stay)
    assert not rules(explore("ours-ours", 0, starts=("both alone",))), "the time limit of the step leads out of it"
    monkeypatch.setattr(states, "asks_on_conflict", lambda *, primary, **_: primary)
    assert "stuck" in rules(explore("ours-ours", 0, starts=("both alone",)))


def test_a_planted_state_that_dhcpd_exits_on_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As secondary we answer conflict-done with normal at once, then fall back: a dhcpd primary in conflict-done ends on 3."""
    cell = Cell(Action.MOVE, S.COMMUNICATIONS_INTERRUPTED)
    monkeypatch.setitem(states.ON_STATE, (S.POTENTIAL_CONFLICT, S.CONFLICT_DONE), cell)
    assert "exit" in rules(explore("dhcpd-ours", 0, starts=("both alone",)))


def test_a_planted_haste_with_the_partner_s_addresses_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocate, "rest_until", lambda lease, rights: 0 if rights.partner_down_since is not None else None)
    result = explore("ours-ours", 1, limits=WITH_CLIENTS, starts=("a died after an ACK",), limit=400)
    assert "two owners" in rules(result)


# --- what it found, each with its history ---------------------------------------------------------------------------------


def stuck_after(pair: str, *way: Event) -> list[str]:
    explorer = Explorer(pair, world_of(pair), limit=100_000)
    explorer.comes_to_normal(explorer.begin(way))
    return rules(explorer.result)


A1, B1 = Event("deliver", 0, 1), Event("deliver", 1, 1)
CRASHED_IN_RECOVER = (B1, A1, A1, B1, A1, A1, B1, A1, B1, A1, B1, B1, Event("crash", 1))
FELL_IN_RECOVER_WAIT = (B1, A1, A1, B1, A1, A1, B1, A1, B1, A1, B1, B1, A1, Event("crash", 0))


@pytest.mark.parametrize("way", [CRASHED_IN_RECOVER, FELL_IN_RECOVER_WAIT])
def test_recover_done_does_not_wait_for_ever_for_a_dhcpd_in_recover(
    way: tuple[Event, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new pair: the link went while dhcpd still recovered. It asks again only when it meets recover, so both waited for ever."""
    assert stuck_after("ours-dhcpd", *way) == []
    stay = Cell(Action.STAY)
    monkeypatch.setitem(states.ON_STATE, (S.RECOVER_DONE, S.RECOVER), stay)
    monkeypatch.setitem(states.ON_STATE, (S.RECOVER_WAIT, S.RECOVER), stay)
    assert stuck_after("ours-dhcpd", *way) == ["stuck"]


def test_a_dhcpd_primary_that_died_in_conflict_done_is_not_told_communications_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last STATE(normal) never reached it. It comes back in conflict-done, where its process ends on STATE(3)."""

    def exits() -> list[str]:
        world = world_of("dhcpd-ours")
        state = Explorer("dhcpd-ours", world, limit=100).begin((*STARTS["both alone"], Event("heal")))
        while [world.facts(state, who).state for who in (0, 1)] != [S.CONFLICT_DONE, S.NORMAL]:
            state = world.after(state, min(world.protocol(state), key=_when))
        state = world.after(state, Event("crash", 0))
        found: list[str] = []
        while not world.normal(state) and not found:
            state = world.after(state, min(world.protocol(state), key=_when))
            found += [each.rule for each in world.found]
        return found

    assert exits() == []
    monkeypatch.setattr(states, "must_hear_first", lambda me, partner: partner is S.UNKNOWN)
    assert exits() == ["exit"]
