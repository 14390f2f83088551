"""A failoverd beside a modelled dhcpd in the simulator: no violation in either role, the holes are told by name, and bugs are seen."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from failoverd.failover import message as wire
from failoverd.failover.message import Binding
from failoverd.failover.update_queue import ENDS
from failoverd.leases.lease import BindingState
from failoverd.sim import dhcpd_tables
from failoverd.sim.checks import reported, two_holders
from failoverd.sim.dhcpd_checks import RENEWAL, REUSE, dhcpd_ended, stranded
from failoverd.sim.dhcpd_pair import BEHIND_S, LEAST_LEASE_S, DhcpdPair, with_dhcpd
from failoverd.sim.dhcpd_tables import Act
from failoverd.sim.pair import Terms
from failoverd.sim.plan import draw
from failoverd.sim.run import run
from failoverd.sim.trace import Answered, Crashed, Event, Heard, Held, Moved, Sent, Started
from failoverd.sim.world import EPOCH, World

STARTED = Started(0.0, "dhcpd", 60, (), (("pair", "a", 1, 9),), dhcpd="b")
TERMS = Terms(60, 130, 15, 10, 8, 4, (0.2, -0.2))


def answers(events: list[Event]) -> Counter[tuple[str, int]]:
    return Counter((event.server, event.kind) for event in events if isinstance(event, Answered))


@pytest.mark.parametrize("seed", [f"dhcpd{n}" for n in (2, 3, 6, 20, 104, 139, 222, 324, 2845, 3845, 7004, 13835, 19495, 200007)])
def test_a_run_with_a_dhcpd_has_no_violation(seed: str) -> None:
    result = run(seed)
    assert not result.violations, result.violations[:5]
    told = answers(result.trace.events)
    assert told["a", 5]
    assert told["b", 5]


def test_both_roles_are_drawn_and_the_terms_suit_a_dhcpd() -> None:
    plans = [draw(World(f"dhcpd{n}")) for n in range(30)]
    assert {plan.terms.dhcpd for plan in plans} == {"primary", "secondary"}
    for plan in plans:
        assert plan.terms.lease_s >= LEAST_LEASE_S
        assert plan.terms.skew_s[0] - plan.terms.skew_s[1] >= BEHIND_S
        assert not plan.terms.tls
        assert not {blow.kind for blow in plan.blows} & {"backup", "other disk", "set clock", "maintenance"}
    assert draw(World("7")).terms.dhcpd == ""


def test_a_dhcpd_run_is_a_function_of_its_seed() -> None:
    assert run("dhcpd6").trace.digest() == run("dhcpd6").trace.digest()


@pytest.mark.parametrize("role", ["primary", "secondary"])
def test_the_lease_file_survives_a_crash(role: str) -> None:
    world = World("a crash")
    pair = DhcpdPair(world, with_dhcpd(TERMS, role))
    for server in pair.servers:
        world.at(0.0, server.boot)
    for client in pair.clients:
        world.at(5.0, client.start)
    world.run_until(40.0)
    before = pair.b.finals()[0].leases
    assert sum(lease[1] == BindingState.ACTIVE for lease in before) == len(pair.clients)
    pair.b.crash("killed")
    world.run_until(41.0)
    pair.b.boot()
    world.run_until(65.0)
    final = pair.b.finals()[0]
    assert final.state == "normal"
    assert [lease[:3] for lease in final.leases] == [lease[:3] for lease in before]


def test_a_planted_exit_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dhcpd_tables.ON_STATE, (dhcpd_tables.S.RECOVER_DONE, dhcpd_tables.S.NORMAL), dhcpd_tables.Cell(Act.EXIT))
    monkeypatch.setitem(
        dhcpd_tables.ON_STATE, (dhcpd_tables.S.RECOVER_DONE, dhcpd_tables.S.RECOVER_DONE), dhcpd_tables.Cell(Act.EXIT)
    )
    assert "x" in {violation.check for violation in run("dhcpd2").violations}


def test_a_dhcpd_that_ends_or_goes_to_shutdown_is_told() -> None:
    events: list[Event] = [STARTED, Crashed(1.0, "b", "killed"), Crashed(2.0, "b", "dhcpd ends: here"), Moved(3.0, "b", "shutdown")]
    assert [violation.t for violation in dhcpd_ended(events)] == [2.0, 3.0]


def doubled(giver: str, granted: str, state: str) -> list[Event]:
    """Client 1 has an address from a, in the state `granted`, of which b never heard; a falls. Then `giver` gives it to client 2, b being
    in `state` by now."""
    wall = float(EPOCH)
    return [
        STARTED,
        Moved(0.0, "a", granted),
        Moved(0.0, "b", "normal"),
        Answered(1.0, "a", wall + 1, 5, b"\1one", 1, 100),
        Held(1.0, "one", 1, 101.0),
        Crashed(2.0, "a", "killed"),
        Moved(10.0, "b", state),
        Answered(50.0, giver, wall + 50, 5, b"\1two", 1, 100),
        Held(50.0, "two", 1, 150.0),
    ]


def holes_of(events: list[Event]) -> list[str]:
    """The names of the holes that are told; what is a violation is ""."""
    named = [violation.text.split("; ")[1] for violation in reported(events)]
    return named + [""] * len(list(two_holders(events)))


def test_the_holes_are_told_by_name_and_nothing_else_is_excused() -> None:
    unheard = doubled("b", "normal", "partner-down")
    assert holes_of(unheard) == [RENEWAL]
    assert holes_of(doubled("a", "normal", "normal")) == [""]
    alone = doubled("b", "communications-interrupted", "partner-down")
    assert holes_of(alone) == [REUSE], "granted before the dhcpd's entry, by a server that was alone by then"
    assert holes_of(doubled("b", "communications-interrupted", "normal")) == [""], "a dhcpd in normal has no hole to hide in"
    known = [event._replace(server="b") if isinstance(event, Answered) else event for event in alone]
    assert holes_of(known) == [""], "it knew of the grant that was its own"


def test_what_is_granted_long_after_the_last_contact_is_no_renewal_in_the_last_instant() -> None:
    """Seed dhcpd3845: a was booted alone, with b in partner-down, and what b had not heard was taken for a renewal of just before."""
    late = doubled("b", "normal", "partner-down")
    late[5] = Crashed(40.0, "a", "killed")
    assert holes_of(late) == [REUSE], "39 s in normal are more than a lost link goes unnoticed"
    after = doubled("b", "communications-interrupted", "partner-down")
    after.insert(1, Moved(0.0, "b", "partner-down"))
    after.remove(Moved(0.0, "b", "normal"))
    assert holes_of(after) == [""], "granted after the dhcpd's entry: by a server that was booted alone"
    again = [*after[:1], Moved(0.5, "b", "startup"), *after[1:]]
    assert holes_of(again) == [""]


def test_a_grant_that_was_told_by_name_is_no_other_when_it_is_renewed() -> None:
    """Seed dhcpd2845: the dhcpd in partner-down gave away what had been released to it, met its partner, and renewed it in normal."""
    wall = float(EPOCH)
    met: list[Event] = [
        Moved(60.0, "b", "normal"),
        Answered(70.0, "b", wall + 70, 5, b"\1two", 1, 100),
        Held(70.0, "two", 1, 170.0),
    ]
    given = doubled("b", "communications-interrupted", "partner-down")
    assert holes_of([*given, *met]) == [REUSE, REUSE]


def test_what_a_dhcpd_gave_away_it_may_give_to_a_third_client_when_that_lease_has_ended() -> None:
    """Seed dhcpd13835: it never heard of the first client's renewal."""
    wall = float(EPOCH)
    events = doubled("b", "normal", "partner-down")
    events[7:] = [Answered(20.0, "b", wall + 20, 5, b"\1two", 1, 20), Held(20.0, "two", 1, 40.0)]
    third: list[Event] = [Answered(50.0, "b", wall + 50, 5, b"\1three", 1, 20), Held(50.0, "three", 1, 70.0)]
    assert holes_of([*events, *third]) == [RENEWAL, RENEWAL]
    events[7:] = [Answered(20.0, "b", wall + 20, 5, b"\1two", 1, 200), Held(20.0, "two", 1, 220.0)]
    late: list[Event] = [Answered(120.0, "b", wall + 120, 5, b"\1three", 1, 20), Held(120.0, "three", 1, 140.0)]
    assert holes_of([*events, *late]) == [RENEWAL, ""], "the first lease has ended, the second is its own"


def test_what_a_dhcpd_told_before_it_was_normal_is_stranded_with_its_link() -> None:
    """Seed dhcpd1965: EXPIRED told in communications-interrupted, the link lost before the ack, and never told again in normal."""
    told = wire.encode(wire.bndupd(EPOCH, 2, Binding(5, BindingState.EXPIRED, hw=b"\1one")))
    kept: list[Event] = [STARTED, Moved(1.0, "b", "communications-interrupted"), Sent(2.0, "b", 1, told), Moved(3.0, "b", "normal")]
    assert stranded(kept) == {5}
    ends: list[Event] = [
        Moved(4.0, "b", "startup"),
        Moved(4.0, "b", "communications-interrupted"),
        Sent(4.0, "b", 2, told),
        Heard(4.0, "b", 1, wire.encode(wire.bndack(EPOCH, 2, 5))),
    ]
    for then in ends:
        more: list[Event] = [Moved(5.0, "b", "normal")] if isinstance(then, Moved) else []
        assert not stranded([*kept, then, *more]), then


def test_a_dhcpd_whose_clock_is_ahead_does_not_make_us_give_a_lease_away_early() -> None:
    """safety.md 10 (simulator, seed dhcpd100): EXPIRED came 20 s early, and the address went to a second client."""
    assert BindingState.EXPIRED in ENDS
    world = World("a clock ahead")
    terms = replace(with_dhcpd(TERMS, "primary"), skew_s=(0.0, 20.0), clients=2, pool=2)
    pair = DhcpdPair(world, terms)
    for server in pair.servers:
        world.at(0.0, server.boot)
    world.run_until(10.0)
    late, client = pair.clients  # the second one's bucket is the secondary's: its address comes back to us
    client.reach = late.reach = {"a"}
    client.start()
    world.run_until(20.0)
    assert client.state == "bound"
    ends = client.until
    client.stop()
    world.run_until(ends - 15.0)
    assert pair.a.node is not None
    assert pair.a.node.table.get(client.address).state is not BindingState.ACTIVE, "dhcpd ended it by its clock"
    assert pair.a.node.table.get(client.address).state is BindingState.BACKUP
    late.start()
    world.run_until(ends - 1.0)
    assert not list(two_holders(world.trace.events))


def test_an_end_of_ours_does_not_reach_a_dhcpd_that_may_have_renewed() -> None:
    """safety.md 20 (simulator, seed dhcpd222): the failoverd was in partner-down, the lease had ended here; dhcpd had renewed it
    just before it died. Told EXPIRED on its return, 50 s early, it took that (65 s of tolerance), and a second client got it."""
    result = run("dhcpd222")
    assert not result.violations, result.violations[:3]
    told = [(event.t, event.state) for event in result.trace.events if isinstance(event, Moved) and event.server == "a"]
    assert "partner-down" in {state for _, state in told}
    assert "potential-conflict" in {state for _, state in told}
