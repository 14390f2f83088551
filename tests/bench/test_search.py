"""The bench's search finds a known limit, also through noise; perfdhcp's output is read as it is."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import cast

import pytest

from tests.bench import drain, perfdhcp
from tests.bench.__main__ import CLOSE, SECONDS, START, Search, Trial, leases_s, seconds_for
from tests.bench.drain import Drain
from tests.bench.pairs import POOL, Contestant
from tests.bench.perfdhcp import Exchange, Run
from tests.lab.wait import LabError


@dataclass
class Named:
    name: str = "x"


def trial(rate: int, unanswered: float, sent: float = 1.0) -> Trial:
    offers = Exchange(1000, 1000, 1.0, 2.0)
    acks = Exchange(1000, round(1000 * (1 - unanswered)), 1.0, 2.0)
    return Trial(rate, Run(offers, acks, rate * sent, 0), rate * (1 - unanswered), 0.5, 20.0)


def search(limit: float, flake: float = 0.0, seed: int = 1) -> Search:
    """A search for a pair that answers up to `limit` and fails by accident with probability `flake`."""
    rng = random.Random(seed)
    found = Search(cast(Contestant, Named()))
    for _ in range(200):
        rate = found.rate()
        found.take(trial(rate, 0.2 if rate > limit or rng.random() < flake else 0.0))
        if found.done:
            return found
    raise AssertionError("the search does not end")


@pytest.mark.parametrize("limit", [90, 399, 400, 401, 1000, 3333, 9999])
def test_the_limit_is_found(limit: int) -> None:
    found = search(limit)
    assert limit / CLOSE - 1 <= leases_s(found) <= limit
    assert len(found.trials) <= 20


def test_one_accident_does_not_end_the_growth() -> None:
    rates = [leases_s(search(1500, 0.1, seed)) for seed in range(40)]
    assert max(rates) <= 1500
    assert sorted(rates)[4] >= 1000


def test_a_search_without_time_gives_the_highest_rate_that_passed() -> None:
    found = Search(cast(Contestant, Named()))
    for rate, unanswered in ((400, 0.0), (600, 0.0), (900, 0.3)):
        found.take(trial(rate, unanswered))
    found.cut_short()
    assert [each.rate for each in found.best] == [600]


def test_a_failure_on_a_busy_machine_says_nothing() -> None:
    busy, calm = replace(trial(400, 0.5), others=0.3), replace(trial(400, 0.5), others=0.02)
    assert busy.disturbed
    assert not calm.disturbed
    assert not replace(trial(400, 0.0), others=0.3).disturbed


def test_a_rate_that_was_not_really_sent_has_not_passed() -> None:
    assert trial(START, 0.0).passed
    assert not trial(START, 0.0, sent=0.9).passed
    assert not trial(START, 0.01).passed
    assert trial(START, 0.009).passed


def test_a_trial_fits_the_pool() -> None:
    assert seconds_for(START) == SECONDS
    for rate in range(100, POOL, 100):
        assert seconds_for(rate) * rate <= POOL or seconds_for(rate) == 1


OUTPUT = """Running: perfdhcp -4
***Rate statistics***
Rate: 299.5 4-way exchanges/second, expected rate: 300

***Statistics for: DISCOVER-OFFER***
sent packets: 4
received packets: 3
drops: 1
drops ratio: 25 %
orphans: 0

***Statistics for: REQUEST-ACK***
sent packets: 3
received packets: 2
drops: 1

min delay: 0.471 ms
collected packets: 0

***Timestamps for packets: DISCOVER-OFFER***
sent / received: 000000.000000 / 000000.001000
sent / received: 000000.010000 / 000000.013000
sent / received: 000001.000000 / 000001.002000

***Timestamps for packets: REQUEST-ACK***
sent / received: 000000.001000 / 000000.002000
sent / received: 000000.013000 / 000000.023000
"""


def test_perfdhcp_is_read() -> None:
    offers, sent = perfdhcp.exchange(OUTPUT, "DISCOVER-OFFER")
    assert (offers.sent, offers.received) == (4, 3)
    assert offers.mean_ms == pytest.approx(2.0)
    assert offers.p99_ms == pytest.approx(3.0)
    assert sent == [0.0, 0.01, 1.0]
    acks, _ = perfdhcp.exchange(OUTPUT, "REQUEST-ACK")
    assert (acks.sent, acks.received) == (3, 2)
    assert acks.p99_ms == pytest.approx(10.0)
    with pytest.raises(LabError, match="Statistics for: RENEW"):
        perfdhcp.exchange(OUTPUT, "RENEW")


def test_what_a_dhcpack_costs_during_a_drain_is_what_the_drain_alone_did_not_use() -> None:
    run = trial(400, 0.0).run
    result = drain.Result(alone=[Drain(2.0, used_s, 1.0, 0.0) for used_s in (1.9, 2.0, 2.3)])
    result.loaded = [Drain(3.0, 2.5, 1.0, 0.0, run), Drain(3.0, 2.4, 1.0, 0.0, run)]
    assert result.acks() == pytest.approx([0.5, 0.4])
    assert result.alone[0].rate == drain.NAMES / 2.0
