"""The exhaustive exploration: what it finds nothing in, and that it finds what is planted."""

from __future__ import annotations

import pytest

from failoverd.failover import states
from failoverd.failover.message import ServerState as S
from failoverd.failover.states import Action, Cell
from failoverd.leases import allocate, binding
from failoverd.leases.binding import Rule
from failoverd.leases.lease import BindingState
from failoverd.sim import dhcpd_tables
from failoverd.sim.dhcpd_model import Dhcpd, DhcpdTerms, LeaseFile
from failoverd.sim.dhcpd_tables import Act, Tables
from failoverd.sim.explore import PAIRS, explore, main, world_of
from failoverd.sim.explore_party import MCLT_S
from failoverd.sim.explore_search import Explorer, Result, _when
from failoverd.sim.explore_starts import CLIENT_STARTS, STARTS
from failoverd.sim.explore_world import Event, Limits

WITH_CLIENTS = Limits(clients=2, jump_s=MCLT_S // 2)
LEAST = {"ours-ours": 300, "ours-dhcpd": 500, "dhcpd-ours": 900}


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


@pytest.mark.parametrize("pair", PAIRS)
def test_no_address_has_two_owners_after_one_disturbance(pair: str) -> None:
    result = explore(pair, 1, limits=WITH_CLIENTS, addresses=2, starts=("normal",))
    print(result.line())
    assert result.whole
    assert not result.found, told(result)


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS)
def test_no_address_has_two_owners(pair: str) -> None:
    result = explore(pair, 1, limits=WITH_CLIENTS, addresses=2, starts=CLIENT_STARTS)
    print(result.line())
    assert result.whole
    assert not result.found, told(result)


def test_the_command_prints_how_many_states_there_were(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--depth", "0", "--clients", "0", "--pair", "ours-ours", "--start", "new pair"]) == 0
    said = capsys.readouterr().out
    assert "states (all of them)" in said
    assert "explored: depth 0 with 0 clients (1 starts), complete; " in said


def test_a_limit_that_was_hit_is_said_and_is_no_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--depth", "1", "--clients", "0", "--pair", "ours-ours", "--start", "normal", "--limit", "50"]) == 3
    said = capsys.readouterr().out
    assert "NOT all of them" in said
    assert "NOT complete: 1 starts reached the limit of 50 states" in said


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("start", CLIENT_STARTS)
def test_each_start_with_clients_has_the_leases_that_it_names(pair: str, start: str) -> None:
    """With one address the secondary has none to give: "b died after an ACK" was a start without an ACK."""
    world = world_of(pair, addresses=2, limits=WITH_CLIENTS)
    state = Explorer(pair, world, limit=1).begin(CLIENT_STARTS[start])
    holders = {"normal": [], "apart, both leased": [1, 2]}.get(start, [1])
    assert [client for client, _, _ in state.promises] == holders
    parted = "died" in start or "apart" in start or "ended" in start
    alone = [world.facts(state, who).linked for who in (0, 1) if state.servers[who].up]
    assert alone == ([False] * len(alone) if parted else [True, True])


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


@pytest.mark.parametrize("start", ["a died after an ACK", "b died after an ACK"])
def test_a_planted_haste_with_the_partner_s_addresses_is_found(start: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocate, "rest_until", lambda lease, rights: 0 if rights.partner_down_since is not None else None)
    assert "two owners" in rules(explore("ours-ours", 1, limits=WITH_CLIENTS, addresses=2, starts=(start,), limit=400))


def test_a_planted_binding_cell_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """EXPIRED is taken over a lease that lasts here: its client has it, and it becomes free."""
    for primary in (True, False):
        monkeypatch.setitem(binding.IN_NORMAL, (primary, BindingState.ACTIVE, BindingState.EXPIRED), Rule.ACCEPT)
    monkeypatch.setitem(binding.OTHERWISE, (BindingState.ACTIVE, BindingState.EXPIRED), Rule.ACCEPT)
    monkeypatch.setitem(binding.DUEL, (BindingState.ACTIVE, BindingState.EXPIRED), binding.Winner.THEIRS)
    result = explore("ours-ours", 0, limits=WITH_CLIENTS, addresses=2, starts=("renewed at a, ended at b",))
    assert "two owners" in rules(result)


def test_a_planted_step_without_its_time_limit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the limit of a step a table with a dead end leaves a live link stuck."""
    monkeypatch.setitem(states.ON_STATE, (S.POTENTIAL_CONFLICT, S.CONFLICT_DONE), Cell(Action.STAY))
    monkeypatch.setattr("failoverd.failover.endpoint.Endpoint._awaits_partner", lambda self: False)
    assert "stuck" in rules(explore("ours-ours", 0, starts=("both alone",)))


def test_a_stale_connect_that_fails_leaves_dhcpd_s_live_link_alone() -> None:
    """Seen with a real dhcpd (interop, stale connect); failover-protocol.md 4.5 has it otherwise, from reading."""
    model = Dhcpd(DhcpdTerms("fo", False, (1,), 120, 360, bytes(32)), LeaseFile(S.NORMAL, 1, S.NORMAL, 120), 100)
    alone = Dhcpd(DhcpdTerms("fo", False, (1,), 120, 360, bytes(32)), LeaseFile(S.NORMAL, 1, S.NORMAL, 120), 100)
    model.link_up(1, False, 100)
    model.link = model.pending.pop(1)
    model.state = alone.state = S.NORMAL
    for dhcpd in (model, alone):
        dhcpd.connect_failed(110, unreachable=True)
    assert (model.state, model.linked) == (S.NORMAL, True)
    assert (alone.state, alone.linked) == (S.COMMUNICATIONS_INTERRUPTED, False)


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


@pytest.mark.parametrize("pair", ["ours-ours", "dhcpd-ours"])
def test_a_planted_recover_without_its_wait_is_found(pair: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """b gave its address to a client, fell before a could hear of it, and comes back without its disk. Recover-wait outlasts that lease
    (safety.md 14); its end is the time that it waits, and not an event that any moment may bring."""

    def seen() -> set[str]:
        world = world_of(pair, addresses=2, limits=WITH_CLIENTS)
        state = Explorer(pair, world, limit=1).begin((*CLIENT_STARTS["b died after an ACK"], Event("heal"), Event("wipe", 1)))
        found: set[str] = set()
        while not world.normal(state):
            state = world.after(state, min(world.protocol(state), key=_when))
            found |= {each.rule for each in world.taken(state)}
        return found

    assert not seen()
    for role in (True, False):
        for done in (True, False):
            monkeypatch.setitem(states.ON_UPDDONE, (S.RECOVER, role, done), Cell(Action.MOVE, S.RECOVER_DONE))
    assert "two owners" in seen()
