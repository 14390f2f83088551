"""The judge of the hour sees what it is there for: planted refusals, lost leases and doubles; and every pair has the same clients."""

from __future__ import annotations

import json
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise
from pathlib import Path

import pytest

from tests.interop.pairs.record import Told
from tests.lab import kea
from tests.lab.terms import Pair, Role, Scope
from tests.outage import report
from tests.outage.judge import Figures, judge, waits
from tests.outage.pairs import Product, Scene, plan, terms
from tests.outage.report import Line
from tests.outage.schedule import Visit, visits
from tests.outage.terms import HOUR, MINUTE, Clock, Site

A, B, X, Y = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "10.16.0.9", "10.16.0.10"
DEAD, ALIVE = "10.16.255.1", "10.16.255.2"
SITE = Site()
CLOCK = Clock(12.0, 1000.0)
DEATH, BACK, END = SITE.death_s, SITE.back_s, SITE.end_s


def told(what: str, site_s: float, mac: str, address: str = X, server: str = ALIVE, lease_s: float = HOUR) -> Told:
    """One entry, times in site seconds; the lease counts from that moment."""
    at = CLOCK.wall(site_s)
    return Told(at, what, mac, address, server, round(lease_s / CLOCK.factor), at)


def stay(mac: str, comes_s: float, goes_s: float = END, releases: bool = False) -> dict[str, Sequence[Visit]]:
    return {mac: [Visit(0, comes_s, goes_s, releases)]}


def judged(record: list[Told], *stays: dict[str, Sequence[Visit]]) -> Figures:
    every = {mac: visit for each in stays for mac, visit in each.items()}
    return judge(record, every, SITE, CLOCK, DEAD, CLOCK.wall(END))


def test_a_client_that_nobody_answers_for_five_minutes_is_refused_and_one_that_waits_four_is_not() -> None:
    come = DEATH + 10 * MINUTE
    patient = judged([told("ACK", come + 4 * MINUTE, A)], stay(A, come))
    assert (patient.wanted, patient.waited, patient.refused) == (1, 1, 0)
    assert patient.longest_s == 4 * MINUTE
    assert judged([told("ACK", come + 5 * MINUTE, A)], stay(A, come)).refused_meanwhile == 1
    silence = judged([], stay(A, come, come + 20 * MINUTE))
    assert (silence.refused_meanwhile, silence.longest_s) == (1, 20 * MINUTE)
    assert judged([told("ACK", come + 20, A)], stay(A, come)).waited == 0


def test_a_refusal_belongs_to_the_moment_at_which_the_patience_ends() -> None:
    assert judged([], stay(A, DEATH - 6 * MINUTE)).refused_before == 1
    assert judged([], stay(A, BACK - 6 * MINUTE)).refused_meanwhile == 1
    late = judged([], stay(A, BACK - 4 * MINUTE))
    assert (late.refused_meanwhile, late.refused_after, late.refused) == (0, 1, 1)


def test_who_holds_a_lease_when_it_comes_back_does_not_wait_and_who_lost_it_does() -> None:
    twice_there = {A: [Visit(0, 0, 20 * MINUTE, False), Visit(0, 40 * MINUTE, END, False)]}
    held = [told("ACK", 1, A)]
    assert [wait.until - wait.since for wait in waits(held, twice_there, CLOCK, CLOCK.wall(END))] == [
        pytest.approx(1 / CLOCK.factor)
    ]
    given_back = [*held, told("RELEASE", 20 * MINUTE + 1, A)]
    assert waits(given_back, twice_there, CLOCK, CLOCK.wall(END))[1].since == CLOCK.wall(40 * MINUTE)


def test_a_lease_that_ends_under_its_client_is_lost_and_one_that_ends_after_it_went_is_not() -> None:
    record = [told("ACK", DEATH, A), told("EXPIRE", DEATH + HOUR, A)]
    gone = judged(record, stay(A, DEATH - 1, DEATH + MINUTE))
    assert (gone.lost, gone.refused) == (0, 0)
    there = judged(record, stay(A, DEATH - 1))
    assert (there.lost, there.refused_after, there.longest_s) == (1, 1, END - BACK)
    assert judged([told("ACK", DEATH, A), told("NAK", DEATH + MINUTE, A, lease_s=HOUR)], stay(A, DEATH - 1)).lost == 1


def test_an_address_that_two_held_is_found() -> None:
    assert judged([told("ACK", DEATH, A), told("ACK", DEATH + MINUTE, B)], stay(A, DEATH), stay(B, DEATH)).twice == 1
    assert judged([told("ACK", DEATH, A), told("ACK", DEATH + MINUTE, B, Y)], stay(A, DEATH), stay(B, DEATH)).twice == 0


def test_the_returned_server_answers_with_its_first_ack_after_its_return() -> None:
    record = [told("ACK", DEATH - MINUTE, A, server=DEAD), told("ACK", BACK + MINUTE, A)]
    assert judged(record, stay(A, 0)).answers_s is None
    assert judged([*record, told("ACK", BACK + 2 * MINUTE, A, server=DEAD)], stay(A, 0)).answers_s == 2 * MINUTE


def test_a_seed_makes_the_same_clients_again_who_come_as_many_as_go_and_are_never_there_twice() -> None:
    found = visits(7, SITE)
    assert found == visits(7, SITE) != visits(8, SITE)
    there = [sum(each.comes_s <= at < each.goes_s for each in found) for at in range(int(30 * MINUTE), int(END), 60)]
    assert 0.7 * SITE.present < min(there) <= max(there) < 1.4 * SITE.present
    by_client: dict[int, list[Visit]] = {}
    for each in found:
        by_client.setdefault(each.client, []).append(each)
    assert any(len(stays) > 1 for stays in by_client.values())
    for stays in by_client.values():
        assert all(first.goes_s + SITE.absence_s < second.comes_s for first, second in pairwise(stays))


def test_the_table_says_who_was_refused_and_names_what_went_wrong() -> None:
    fine = Line(
        Product.FAILOVERD, Scene.OPERATOR, Figures(clients=9, wanted=5, refused_meanwhile=2, refused_after=1, longest_s=312.0)
    )
    broken = Line(Product.KEA, Scene.NOBODY, None, "no figures: it ended")
    early = Line(Product.DHCPD, Scene.NOBODY, Figures(refused_before=1))
    text = report.markdown([fine, broken, early], SITE, 12.0, 1, 60.0)
    rows = [cells.strip("| ").split(" | ") for cells in text.splitlines() if cells.startswith("| ")]
    cells = dict(zip(report.HEAD, rows[1], strict=True))
    assert (cells["refused"], cells["meanwhile"], cells["at return"], cells["longest wait"]) == ("3", "2", "1", "5:12")
    assert "Kea 2.2 HA, nobody does anything: no figures: it ended" in text
    assert "ISC dhcpd 4.4.3, nobody does anything: 1 clients were refused before the death" in text
    assert "FAILED: Kea" in report.text([broken], SITE, 12.0, 1)


def test_the_halves_of_keas_pool_are_the_whole_pool(tmp_path: Path) -> None:
    scope = Scope(IPv4Network("10.16.0.0/16"), "", "10.16.0.1", "10.16.0.240")
    text = json.loads(json.dumps(kea.config(tmp_path, Pair("10.77.0.1", "10.77.0.2"), Role.PRIMARY, scope, kea.HaTimes())))
    pools = [each["pool"].split(" - ") for each in text["Dhcp4"]["subnet4"][0]["pools"]]
    assert pools == [["10.16.0.1", "10.16.0.120"], ["10.16.0.121", "10.16.0.240"]]
    assert int(IPv4Address(pools[1][0])) == int(IPv4Address(pools[0][1])) + 1


def test_all_pairs_are_told_the_same_but_for_the_silence_that_failoverd_does_not_take_so_short() -> None:
    told = {(product, scene): terms(SITE, CLOCK, product, scene) for product, scene in plan()}
    assert {(pair.mclt_s, pair.lease_s, scope) for pair, scope in told.values()} == {(50, 300, told[plan()[0]][1])}
    silence = {key: pair.max_response_delay_s for key, (pair, _) in told.items()}
    assert {silence[Product.FAILOVERD, scene] for scene in (Scene.NOBODY, Scene.OPERATOR, Scene.ITSELF)} == {15}
    assert (silence[Product.DHCPD, Scene.NOBODY], silence[Product.DHCPD, Scene.LATE], silence[Product.KEA, Scene.NOBODY]) == (
        5,
        15,
        5,
    )
