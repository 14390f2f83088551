"""Pool balance sums (failover-protocol.md 8), with its live example."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failoverd.failover.balance import next_run, share
from failoverd.sim.dhcpd_leases import may_push_back


def test_ten_virgin_addresses_all_free_give_five() -> None:
    """8.1, measured: lts 5, hold 1, thresh 2."""
    part = share(10, 0, True, 15, 10)
    assert (part.give, part.hold, part.thresh, part.panic) == (5, 1, 2, -4)
    assert share(10, 0, False, 15, 10).give == -5


def test_a_panic_of_zero_is_minus_one() -> None:
    assert share(1, 1, True, 15, 10).panic == -1


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_the_two_sides_see_opposite_shares(free: int, backup: int) -> None:
    primary, secondary = share(free, backup, True, 15, 10), share(free, backup, False, 15, 10)
    assert primary.give == -secondary.give
    assert abs(primary.give) <= (free + backup) // 2 + 1
    assert primary[1:] == secondary[1:]


@pytest.mark.parametrize(("free", "backup", "may"), [(5, 5, True), (2, 8, False), (4, 6, False), (8, 2, True)])
def test_the_secondary_gets_its_clients_addresses_back_unless_it_hoards(free: int, backup: int, may: bool) -> None:
    assert may_push_back(free, backup, 10) is may


def test_a_never_used_pool_waits_max_balance_and_an_empty_side_min_balance() -> None:
    """8.4: virgin addresses have ends 0, so the age is huge; an empty queue has age 0, so min-balance decides."""
    common = {"primary": True, "max_misbalance": 15, "min_balance_s": 60, "max_balance_s": 3600}
    assert next_run(1_700_000_000, 0, 0, last_run=1_700_000_000, **common) == 1_700_003_600
    assert next_run(1_700_000_000, None, 0, last_run=1_700_000_000, **common) == 1_700_000_060
    assert next_run(1_700_000_000, 1_699_999_000, 1_699_999_000, last_run=0, **common) == 1_700_000_150
