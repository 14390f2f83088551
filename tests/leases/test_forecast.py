"""How long free addresses last: the sums, and the record of the rate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failoverd.leases.forecast import LEAST_S, SLOT_S, SLOTS, Lasts, Rate, Recent, Stock, lasts

HOUR = 3600.0


def test_the_sums_by_hand() -> None:
    # 60 taken and 24 returned in an hour; 100 here, 80 at the partner, 6 ended, the partner's usable after half an hour.
    found = lasts(Recent(HOUR, 60, 24), Stock(100, 80, 6, HOUR / 2))
    assert found is not None
    assert found.together == pytest.approx(180 / (36 / HOUR))
    assert found.interrupted == pytest.approx(100 / (60 / HOUR))
    assert found.partner_down == pytest.approx(HOUR / 2 + (100 - 30 + 80 + 6) / (36 / HOUR))


def test_a_pool_that_is_empty_before_the_partners_addresses_come() -> None:
    found = lasts(Recent(HOUR, 60, 60), Stock(10, 500, 0, HOUR))
    assert found is not None
    assert (found.interrupted, found.partner_down, found.together) == (pytest.approx(600), pytest.approx(600), None)


@pytest.mark.parametrize(
    ("recent", "stock", "want"),
    [
        (Recent(LEAST_S - 1, 50, 0), Stock(1, 1, 0, 0), None),
        (Recent(HOUR, 0, 0), Stock(5, 0, 0, HOUR), Lasts(None, None, None)),
        (Recent(HOUR, 0, 5), Stock(5, 0, 0, HOUR), Lasts(None, None, None)),
        (Recent(HOUR, 0, 0), Stock(0, 0, 0, 0), Lasts(0.0, 0.0, 0.0)),
        (Recent(HOUR, 0, 0), Stock(0, 9, 0, HOUR), Lasts(None, 0.0, 0.0)),
        (Recent(HOUR, 0, 0), Stock(0, 9, 0, 0), Lasts(None, 0.0, None)),
    ],
)
def test_edges(recent: Recent, stock: Stock, want: Lasts | None) -> None:
    assert lasts(recent, stock) == want


def test_a_rate_forgets_after_an_hour() -> None:
    rate = Rate(1000.0)
    for minute in range(90):
        rate.count(1000.0 + minute * 60, taken=True)
    seen = rate.recent(1000.0 + 89 * 60)
    assert seen.taken == SLOTS
    assert HOUR - SLOT_S <= seen.window_s <= HOUR
    assert rate.recent(1000.0 + 89 * 60 + 10 * HOUR).taken == 0


def test_a_young_rate_says_how_young_it_is() -> None:
    rate = Rate(59.0)
    rate.count(60.0, taken=False)
    assert rate.recent(89.0) == Recent(30.0, 0, 1)


@given(st.lists(st.tuples(st.floats(0, 500), st.booleans()), max_size=60))
def test_a_rate_counts_exactly_what_lies_in_its_window(steps: list[tuple[float, bool]]) -> None:
    rate, mono, events = Rate(0.0), 0.0, []
    for wait, taken in steps:
        mono += wait
        rate.count(mono, taken=taken)
        events.append((mono, taken))
    recent = rate.recent(mono)
    first = int(mono // SLOT_S) - SLOTS + 1
    inside = [taken for at, taken in events if at // SLOT_S >= first]
    assert (recent.taken, recent.returned) == (inside.count(True), inside.count(False))
    assert 0 <= recent.window_s <= SLOTS * SLOT_S


@given(
    st.builds(Recent, st.floats(LEAST_S, HOUR), st.integers(0, 9999), st.integers(0, 9999)),
    st.builds(Stock, st.integers(0, 9999), st.integers(0, 9999), st.integers(0, 99), st.floats(0, 9e4)),
)
def test_partner_down_never_shortens_how_long_a_pool_lasts(recent: Recent, stock: Stock) -> None:
    found = lasts(recent, stock)
    assert found is not None
    if found.interrupted is not None and found.partner_down is not None:
        assert found.partner_down >= found.interrupted - 1e-6
    assert found.interrupted is None or found.interrupted >= 0
