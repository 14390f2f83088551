"""A client that calls itself otherwise: the atomic rename (ddns.md 2.3, sequences `rename` and `rename-taken`), and the line of what
waits after an outage (ddns.md 4.3)."""

from __future__ import annotations

import pytest

from failoverd.ddns.batch import NAMES_MAX
from failoverd.ddns.pace import BACKLOG, Lane, Server
from failoverd.ddns.rows import State
from failoverd.ports import Change, DnsAnswer, DnsQuery, DnsUpdate, Prereq
from tests.ddns.rig import FORWARD, REVERSE, Rig, lease
from tests.ddns.sequences import load

H1, H2 = "h1.example.test.", "h2.example.test."


def forward(rig: Rig) -> list[DnsUpdate]:
    return [each for each in rig.sent if isinstance(each, DnsUpdate) and each.zone == FORWARD]


def pairs(update: DnsUpdate) -> list[tuple[str, str]]:
    """(op, name) of every change to an address."""
    return [(change.op, change.name) for change in update.changes if change.rtype == "A"]


def test_a_rename_in_an_idle_zone_is_the_sequence_of_the_table() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    rig.sent.clear()
    rig.change(lease(10, 1, H2))
    rig.run()
    table = next(each for each in load() if each.ident == "rename").update
    (sent,) = forward(rig)
    assert set(sent.prereqs) == set(table.prereqs)
    assert set(sent.changes) == set(table.changes)
    assert rig.zone() == {f"{H2} A 192.0.2.10", f"10.{REVERSE} PTR {H2}"}
    assert H1.encode() not in b"".join(rig.stored)


def test_a_rename_to_a_name_that_is_taken_ends_the_old_name_and_leaves_the_other_alone() -> None:
    rig = Rig()
    rig.master.zones[FORWARD].put(H2, 60, "A", "192.0.2.99")
    rig.change(lease(10, 1))
    rig.run()
    rig.sent.clear()
    rig.change(lease(10, 1, H2))
    rig.run()
    assert pairs(forward(rig)[0]) == [("del-rr", H1), ("add", H2)]
    assert rig.zone() == {f"{H2} A 192.0.2.99"}
    assert rig.rows()["fwd", H2].state is State.CONFLICT


def test_a_rename_whose_old_name_is_gone_already_still_gives_the_new_one() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    rig.master.zones[FORWARD].take(H1, "A")
    rig.master.zones[FORWARD].take(H1, "DHCID")
    rig.change(lease(10, 1, H2))
    rig.run()
    assert rig.zone() == {f"{H2} A 192.0.2.10", f"10.{REVERSE} PTR {H2}"}
    assert set(rig.rows()) == {("fwd", H2), ("rev", f"10.{REVERSE}")}


def test_a_rename_while_the_old_name_is_being_written_goes_apart_and_ends_right() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.due()
    rig.change(lease(10, 1, H2))
    rig.run()
    assert next(pairs(each) for each in forward(rig)) == [("add", H1)]
    assert rig.zone() == {f"{H2} A 192.0.2.10", f"10.{REVERSE} PTR {H2}"}


def backlog(rig: Rig, names: int) -> None:
    """Names that are in the zone, and then a master that is silent."""
    for host in range(1, names + 1):
        rig.change(lease(host, host, f"a{host}.example.test."))
    rig.run()
    rig.sent.clear()
    rig.answer = lambda message: DnsAnswer(message.ident, "TIMEOUT", "")


def test_the_halves_of_a_rename_are_not_parted_by_the_end_of_a_batch() -> None:
    rig = Rig()
    backlog(rig, 120)
    rig.free(1)  # the halves would fall on both sides of every fiftieth name
    for host in range(2, 121):
        rig.change(lease(host, host, f"b{host}.example.test."))
    rig.pass_time(30)
    rig.answer = rig.master.answer
    rig.sent.clear()
    rig.pass_time(120)
    parted = []
    for update in forward(rig):
        removed = {name[1:] for op, name in pairs(update) if op == "del-rr" and name != "a1.example.test."}
        added = {name[1:] for op, name in pairs(update) if op == "add"}
        parted += sorted(removed ^ added)
        assert len({name for _, name in pairs(update)}) <= NAMES_MAX
    assert len(parted) <= 2  # the one name that asks whether a silent server is back goes alone
    assert {line for line in rig.zone() if " A " in line} == {f"b{n}.example.test. A 192.0.2.{n}" for n in range(2, 121)}


def lane(names: int) -> Lane:
    out = Lane("main", FORWARD, Server("s"))
    out.pending = {str(n).encode(): None for n in range(names)}
    return out


def test_a_large_backlog_gives_names_before_it_takes_names() -> None:
    out = lane(BACKLOG + 1)
    out.push(1.0, 1, b"old-removal", removal=True)
    out.push(2.0, 2, b"new")
    out.push(9.0, 3, b"later")
    assert out.first(5.0) == (2.0, 2, b"new")
    out.pop(5.0)
    assert out.first(5.0) == (1.0, 1, b"old-removal")  # a name that is not due keeps no removal from going
    out.pop(5.0)
    assert out.first(5.0) == (9.0, 3, b"later")
    out.pop(5.0)
    assert out.first(5.0) is None
    assert out.opens_mono(5.0) is None


def test_a_small_backlog_goes_in_the_order_in_which_it_came() -> None:
    out = lane(BACKLOG)
    out.push(1.0, 1, b"old-removal", removal=True)
    out.push(2.0, 2, b"new")
    assert out.first(5.0) == (1.0, 1, b"old-removal")


def test_after_an_outage_with_a_large_backlog_names_appear_before_others_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("failoverd.ddns.pace.BACKLOG", 70)
    rig = Rig()
    for number in range(1, 61):
        rig.change(lease(number, number, f"a{number}.example.test."))
    rig.run()
    rig.answer = lambda message: DnsAnswer(message.ident, "UNREACHABLE", "")
    for number in range(1, 61):
        rig.free(number)
    for number in range(100, 160):
        rig.change(lease(number, number, f"b{number}.example.test."))
    rig.pass_time(20)
    rig.answer = rig.master.answer
    rig.sent.clear()
    rig.pass_time(120)
    order = [op for each in forward(rig) for op, name in pairs(each)]
    first_fifty = order[1:51]  # before them the one that asks whether the server is back
    assert "del-rr" not in first_fifty
    assert order.count("del-rr") >= 59
    assert {line.split(" ")[0][0] for line in rig.zone() if " A " in line} == {"b"}


def test_fresh_names_in_a_batch_cost_no_more_than_one_message_that_is_refused() -> None:
    """ddns.md 4.4 would batch fresh names only where a mirror says they are free. There is no mirror of the zone in the server: the
    master is asked about the names of a batch when, and only when, one of them spoils it, which costs it no commit."""
    rig = Rig()
    taken = range(1, 201, 20)  # 5 %
    for host in taken:
        rig.master.zones[FORWARD].put(f"n{host}.example.test.", 60, "A", "192.0.2.250")
    for host in range(1, 201):
        rig.change(lease(host, host, f"n{host}.example.test."))
    rig.run(5000)
    done = [names for each in forward(rig) if len(names := {name for _, name in pairs(each)}) > 1]
    assert len(done) == 8  # four batches of 50, each tried and then repaired once
    assert all(len(names) >= 47 for names in done)
    assert sum(isinstance(each, DnsQuery) for each in rig.sent) <= 200 + len(taken)
    assert sum(row.state is State.CONFLICT for row in rig.rows().values()) == len(taken)
    assert len([line for line in rig.zone() if " A " in line]) == 200


def test_a_prerequisite_of_the_rename_is_on_the_very_address() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    rig.sent.clear()
    rig.change(lease(10, 1, H2))
    rig.run()
    assert Prereq("yxrrset", H1, "A", ("192.0.2.10",)) in forward(rig)[0].prereqs
    assert Change("del-rr", H1, "A", "192.0.2.10") in forward(rig)[0].changes
