"""A dead partner's names: proven by PTR and DHCID, then removed; everything else is left alone."""

from __future__ import annotations

import pytest

from failoverd.ddns.inherit import INHERITED, SLICE, WINDOW, Inheritance
from failoverd.leases.lease import Lease
from failoverd.ports import DnsAnswer, DnsQuery, Output
from tests.ddns.rig import FORWARD, PLAN, REVERSE, Rig, lease

H1 = f"h1.{FORWARD}"


class Survivor:
    """A server that knows the partner's leases but not their names, and the master that the partner wrote to."""

    def __init__(self, *leases: Lease) -> None:
        self.partner = Rig()
        for one in leases:
            self.partner.change(one)
        self.partner.run()
        self.rig = Rig()
        self.rig.master = self.partner.master
        self.rig.answer = self.partner.master.answer
        self.held: set[int] = set()
        self.made = Inheritance(PLAN, self.rig.planner, self.held.__contains__)
        self.asked: list[DnsQuery] = []
        self.notes: list[str] = []

    def ended(self, one: Lease) -> None:
        self.made.look(one.evolve(fqdn="", hostname=""))

    def drive(self, seconds: int = 5) -> None:
        for _ in range(2 * seconds):
            out = Output()
            self.made.due(self.rig.now, out)
            while out.after_commit:
                query = out.after_commit.pop(0)
                assert isinstance(query, DnsQuery)
                self.asked.append(query)
                answer = self.rig.answer(query)
                if answer is not None:
                    assert self.made.answered(answer, self.rig.now, out)
            self.notes += [note.name for note in out.notes]
            self.rig.pass_time(0.5)


def test_a_name_that_the_partner_registered_is_removed_with_its_pointer() -> None:
    survivor = Survivor(lease(10, 1), lease(20, 2, f"h2.{FORWARD}"))
    survivor.ended(lease(10, 1))
    survivor.drive()
    assert survivor.rig.zone() == {f"h2.{FORWARD} A 192.0.2.20", f"20.{REVERSE} PTR h2.{FORWARD}"}
    assert INHERITED in survivor.notes
    assert not any(
        " DHCID " in line and line.startswith(H1) for zone in survivor.rig.master.zones.values() for line in zone.lines()
    )
    assert survivor.rig.stored == {}
    assert survivor.made.deadline() == float("inf")


@pytest.mark.parametrize(
    "one",
    [
        lease(10, 2),  # the address was another client's
        lease(11, 1),  # this client's name stands at another address
    ],
)
def test_what_is_not_proven_stays(one: Lease) -> None:
    survivor = Survivor(lease(10, 1))
    survivor.ended(one)
    survivor.drive()
    assert survivor.rig.zone() == {f"{H1} A 192.0.2.10", f"10.{REVERSE} PTR {H1}"}
    assert survivor.notes == []


def test_a_client_that_moved_to_another_lease_of_the_partner_keeps_its_name() -> None:
    survivor = Survivor(lease(10, 1))
    survivor.partner.change(lease(20, 1))
    survivor.partner.run()
    survivor.rig.master.zones[REVERSE].load([f"10.{REVERSE} 60 PTR {H1}"])
    survivor.ended(lease(10, 1))
    survivor.drive()
    assert f"{H1} A 192.0.2.20" in survivor.rig.zone()


def test_an_operators_name_at_the_address_stays() -> None:
    survivor = Survivor()
    survivor.rig.master.zones[FORWARD].load([f"{H1} 60 A 192.0.2.10"])
    survivor.rig.master.zones[REVERSE].load([f"10.{REVERSE} 60 PTR {H1}"])
    before = survivor.rig.zone()
    survivor.ended(lease(10, 1))
    survivor.drive()
    assert survivor.rig.zone() == before


def test_a_name_that_has_a_row_here_is_the_rows_business() -> None:
    survivor = Survivor(lease(10, 1))
    survivor.rig.change(lease(30, 1))  # the client came to us, and moved by that
    survivor.rig.run()
    survivor.ended(lease(10, 1))
    survivor.drive()
    assert f"{H1} A 192.0.2.30" in survivor.rig.zone()


def test_an_address_that_is_held_again_keeps_its_name() -> None:
    """The master was silent for long, and meanwhile the partner came back and gave the client its address again."""
    survivor = Survivor(lease(10, 1))
    survivor.ended(lease(10, 1))
    survivor.held.add(lease(10, 1).address)
    survivor.drive()
    assert survivor.rig.zone() == {f"{H1} A 192.0.2.10", f"10.{REVERSE} PTR {H1}"}


def test_a_silent_master_is_asked_again() -> None:
    survivor = Survivor(lease(10, 1))
    survivor.rig.answer = lambda message: DnsAnswer(message.ident, "TIMEOUT", "")
    survivor.ended(lease(10, 1))
    survivor.drive(20)
    assert 1 <= len(survivor.asked) <= 3
    survivor.rig.answer = survivor.rig.master.answer
    survivor.drive(20)
    survivor.rig.pass_time(120)
    assert survivor.rig.zone() == set()


def test_nothing_is_asked_while_fenced_and_never_more_than_the_window() -> None:
    survivor = Survivor()
    survivor.rig.fence(True)
    for host in range(1, 2 * SLICE):
        survivor.ended(lease(host, host))
    out = Output()
    survivor.made.due(survivor.rig.now, out)
    assert out.after_commit == []
    survivor.rig.fence(False)
    survivor.made.due(survivor.rig.now, out)
    assert len(out.after_commit) == WINDOW
    survivor.made.due(survivor.rig.now, out)
    assert len(out.after_commit) == WINDOW


def test_answers_of_the_planner_are_not_taken() -> None:
    made = Survivor().made
    assert not made.answered(DnsAnswer(1, "NOERROR", ""), Survivor().rig.now, Output())
    assert made.answered(DnsAnswer(-99, "NOERROR", ""), Survivor().rig.now, Output())
