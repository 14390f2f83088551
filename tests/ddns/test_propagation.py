"""Propagation as a pure part: what is asked, when, and what the answers mean."""

from __future__ import annotations

import itertools

import pytest

from failoverd.ddns.propagation import (
    BEHIND,
    EVERY_S,
    LEVEL,
    MARKS,
    NOT_SHOWN,
    PROOFS,
    AskMaster,
    AskSecondary,
    Endpoint,
    Proof,
    Propagation,
    WatchedZone,
    WatchPlan,
    behind,
    proof_of,
)
from failoverd.notes import Note
from failoverd.ports import Change, DnsUpdate, Now

ZONE, REVERSE = "example.test.", "2.0.192.in-addr.arpa."
KEY = ("main", ZONE)
ONE, TWO = ("10.0.0.54", 53), ("10.0.0.55", 53)


def add(name: str = "h1", zone: str = ZONE) -> DnsUpdate:
    changes = (Change("del-rrset", f"{name}.{ZONE}", "A"), Change("add", f"{name}.{ZONE}", "A", "192.0.2.1", 60))
    return DnsUpdate(1, "main", zone, (), (*changes, Change("add", f"{name}.{ZONE}", "DHCID", "AAAA", 60)))


class Desk:
    """Propagation with a clock; the master and the secondaries answer when told."""

    def __init__(self, *slaves: Endpoint, zones: tuple[str, ...] = (ZONE,)) -> None:
        self.mono = 1000.0
        self.made = Propagation(WatchPlan(tuple(WatchedZone("main", zone, slaves) for zone in zones)))
        self.notes: list[Note] = []

    @property
    def now(self) -> Now:
        return Now(self.mono + 1e9, self.mono)

    def due(self) -> list[AskMaster | AskSecondary]:
        return self.made.due(self.mono)

    def master(self, serial: int | None, shown: bool = True) -> AskMaster:
        (ask,) = self.due()
        assert isinstance(ask, AskMaster)
        self.notes += self.made.proven(ask, shown, serial, self.now)
        return ask

    def secondary(self, serial: int | None, trouble: str = "") -> AskSecondary:
        (ask,) = self.due()
        assert isinstance(ask, AskSecondary)
        self.notes += self.made.said(ask, serial, trouble, self.now)
        return ask

    def row(self) -> dict[str, object]:
        (row,) = self.made.status(self.mono)
        return row


@pytest.mark.parametrize(
    ("slave", "master", "is_behind"),
    [
        (1, 1, False),
        (1, 2, True),
        (2, 1, False),
        (0xFFFFFFFF, 0, True),
        (0, 0xFFFFFFFF, False),
        (0, 0x7FFFFFFF, True),
        (0, 0x80000000, True),
        (0x80000000, 0, True),
        (0, 0x80000001, False),
    ],
)
def test_serials_are_compared_as_rfc_1982_says(slave: int, master: int, is_behind: bool) -> None:
    assert behind(slave, master) is is_behind


def test_what_proves_a_message() -> None:
    assert proof_of(add()) == Proof(f"h1.{ZONE}", "A", "192.0.2.1", True)
    removal = DnsUpdate(1, "main", ZONE, (), (Change("del-rr", f"h1.{ZONE}", "A", "192.0.2.1"),))
    proof = proof_of(removal)
    assert proof == Proof(f"h1.{ZONE}", "A", "192.0.2.1", False)
    assert proof.holds(())
    assert proof.holds((("A", "192.0.2.9"),))
    assert not proof.holds((("A", "192.0.2.1"),))
    whole = proof_of(DnsUpdate(1, "main", ZONE, (), (Change("del-name", f"h1.{ZONE}"),)))
    assert whole is not None
    assert not whole.holds((("A", "192.0.2.1"),))
    assert proof_of(DnsUpdate(1, "main", ZONE, (), ())) is None


def test_proof_then_serial_then_the_secondary_until_it_has_it() -> None:
    desk = Desk(ONE)
    assert desk.due() == []
    assert desk.made.deadline() == float("inf")
    desk.made.applied(add(), desk.mono)
    assert desk.made.deadline() <= desk.mono
    assert desk.master(7) == AskMaster(KEY, Proof(f"h1.{ZONE}", "A", "192.0.2.1", True), False)
    assert desk.secondary(6) == AskSecondary(KEY, ONE)
    desk.mono += 1
    assert desk.due() == []
    assert desk.row()["lag_s"] == 1.0
    assert desk.row()["state"] == "behind"
    desk.mono += 1
    desk.secondary(7)
    assert desk.made.deadline() == float("inf")
    assert {key: desk.row()[key] for key in ("state", "lag_s", "serial", "master_serial")} == {
        "state": "ok",
        "lag_s": 0.0,
        "serial": 7,
        "master_serial": 7,
    }


def test_no_secondary_is_asked_more_often_than_every_two_seconds_however_many_zones_wait() -> None:
    desk = Desk(ONE, zones=(ZONE, REVERSE, "x.test."))
    asked: list[tuple[float, str]] = []
    for zone in (ZONE, REVERSE, "x.test."):
        desk.made.applied(add(zone=zone), desk.mono)
    for _ in range(400):
        for ask in desk.due():
            if isinstance(ask, AskMaster):
                desk.made.proven(ask, True, 5, desk.now)
            else:
                asked.append((desk.mono, ask.key[1]))
                desk.made.said(ask, 4, "", desk.now)
        desk.mono += 0.1
    gaps = [b[0] - a[0] for a, b in itertools.pairwise(asked)]
    assert min(gaps) >= EVERY_S - 0.001
    assert len(asked) == 20
    assert {zone for _, zone in asked[:3]} == {ZONE, REVERSE, "x.test."}


def test_updates_that_flow_are_proven_at_most_every_two_seconds_and_the_lag_counts_from_the_oldest() -> None:
    desk = Desk(ONE)
    asks = 0
    for _ in range(100):
        desk.made.applied(add(f"h{desk.mono}"), desk.mono)
        for ask in desk.due():
            if isinstance(ask, AskMaster):
                asks += 1
                desk.made.proven(ask, True, 10 + asks, desk.now)
            else:
                desk.made.said(ask, 10, "", desk.now)
        desk.mono += 0.1
    assert asks <= 6
    assert desk.row()["lag_s"] == pytest.approx(10, abs=0.2)


def test_a_master_that_does_not_show_it_yet_is_asked_again_and_the_serial_is_taken_in_the_end() -> None:
    """Inline-signing: the answer comes before the record."""
    desk = Desk(ONE)
    desk.made.applied(add(), desk.mono)
    for _ in range(PROOFS - 1):
        assert desk.master(None, shown=False).proof is not None
        desk.mono += EVERY_S
    assert desk.notes == []
    desk.master(None, shown=False)
    assert [note.name for note in desk.notes] == [NOT_SHOWN]
    desk.mono += EVERY_S
    assert desk.master(9).proof is None
    desk.secondary(8)
    assert desk.row()["lag_s"] == PROOFS * EVERY_S


def test_a_master_that_does_not_answer_costs_no_proof() -> None:
    desk = Desk(ONE)
    desk.made.applied(add(), desk.mono)
    for _ in range(3 * PROOFS):
        assert desk.master(None).proof is not None
        assert desk.due() == []
        desk.mono += EVERY_S
    assert desk.notes == []


def test_a_change_during_the_proof_needs_a_proof_of_its_own() -> None:
    desk = Desk(ONE)
    desk.made.applied(add(), desk.mono)
    (ask,) = desk.due()
    assert isinstance(ask, AskMaster)
    desk.mono += 0.5
    desk.made.applied(add("h2"), desk.mono)
    desk.made.proven(ask, True, 7, desk.now)
    desk.secondary(7)
    assert desk.row()["lag_s"] == 0
    desk.mono += EVERY_S
    again = desk.master(8)
    assert again.proof is not None
    assert again.proof.name == f"h2.{ZONE}"
    desk.secondary(7)
    assert desk.row()["lag_s"] == EVERY_S


@pytest.mark.parametrize(
    ("serials", "trouble", "word"),
    [
        ((6, 6), "", "NOTIFY does not reach it"),
        ((3, 6), "", "slowly"),
        ((7 + 2**31, 7 + 2**31), "", "2^31 apart"),
        ((None, None), "it does not answer", "does not answer"),
    ],
)
def test_the_warning_says_the_likely_cause_once_and_its_end(
    serials: tuple[int | None, int | None], trouble: str, word: str
) -> None:
    desk = Desk(ONE)
    desk.made.applied(add(), desk.mono)
    desk.master(7)
    for second in range(70):
        if desk.made.deadline() <= desk.mono:
            desk.secondary(serials[second > 0], trouble)
        desk.mono += 1
    assert [note.name for note in desk.notes] == [BEHIND]
    assert word in desk.notes[0].detail
    assert "10.0.0.54" in desk.notes[0].detail
    (warning,) = desk.made.warnings(desk.mono)
    assert word in warning
    assert desk.row()["state"] == "late"
    desk.mono += 1
    desk.secondary(7)
    assert [note.name for note in desk.notes] == [BEHIND, LEVEL]
    assert desk.made.warnings(desk.mono) == []


def test_marks_are_bounded_while_a_secondary_is_dead_and_the_lag_stays_right() -> None:
    desk = Desk(ONE, TWO)
    serial = 100
    for _ in range(5 * MARKS):
        desk.made.applied(add(), desk.mono)
        for ask in desk.due():
            if isinstance(ask, AskMaster):
                serial += 1
                desk.made.proven(ask, True, serial, desk.now)
            else:
                desk.made.said(ask, serial if ask.at == TWO else None, "" if ask.at == TWO else "it does not answer", desk.now)
        desk.mono += EVERY_S
    lags = {row["slave"]: row["lag_s"] for row in desk.made.status(desk.mono)}
    assert lags["10.0.0.54"] == 5 * MARKS * EVERY_S
    assert isinstance(lags["10.0.0.55"], float)
    assert lags["10.0.0.55"] <= 3 * EVERY_S


def test_secondaries_are_looked_for_when_none_is_named() -> None:
    desk = Desk()
    desk.made.applied(add(), desk.mono)
    (ask,) = desk.due()
    assert isinstance(ask, AskMaster)
    assert ask.discover
    desk.made.discovered(KEY, (ONE,), desk.now)
    desk.made.proven(ask, True, 7, desk.now)
    desk.secondary(7)
    desk.mono += EVERY_S
    desk.made.applied(add(), desk.mono)
    assert not desk.master(7).discover
    assert desk.due() == []
    desk.made.applied(DnsUpdate(1, "other", "unknown.test.", (), ()), desk.mono)
    assert desk.due() == []
