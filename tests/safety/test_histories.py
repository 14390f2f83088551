"""Histories that broke a safety rule once: who did what when, and what must not follow. Each is named after the bug.

Found by reading the code as an adversary and by throwing octets at a node; `p` is the primary, `s` the secondary.
"""

from __future__ import annotations

import pytest

from tests.pair.duo import normal

# --- nothing that comes in may end the daemon --------------------------------------------------------------------------------


@pytest.mark.parametrize("since", ["9" * 400, "0001-01-01T00:00:00+14:00", "²", "9999-12-31T23:59:59-14:00"])
def test_a_since_that_no_clock_can_show_is_a_wrong_use(since: str) -> None:
    """`partner-down --since` with a number beyond every float, or a date before year 1 in UTC, raised OverflowError out of the step."""
    duo = normal()
    duo.crash("s")
    duo.settle()
    assert duo.command("p", "partner-down", since=since).code == "usage"
    assert duo.state("p") == "communications-interrupted"


@pytest.mark.parametrize("limit", ["²", "9" * 5000, "-1", ""])
def test_a_limit_that_is_no_number_is_the_default(limit: str) -> None:
    """`str.isdigit` takes a superscript for a digit, `int` does not."""
    assert normal().command("p", "lease-list", limit=limit).code == "ok"
