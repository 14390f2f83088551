"""The representative part of the interop suite; `make interop` plays all of it."""

from __future__ import annotations

import pytest

from tests.interop.pairs import cases
from tests.interop.pairs.case import Result, jobs
from tests.interop.pairs.run import AT_ONCE, chosen, play_all

pytestmark = [pytest.mark.root, pytest.mark.isc]
QUICK = [job.key for job in jobs(quick=True)]

assert cases.LOADED


@pytest.fixture(scope="module")
def results() -> dict[str, Result]:
    """All of them, played side by side."""
    return {result.key: result for result in play_all(chosen("", quick=True), AT_ONCE, None, lambda _: None).results}


@pytest.mark.parametrize("key", QUICK)
def test_a_mishap_of_a_pair(key: str, results: dict[str, Result]) -> None:
    assert results[key].failures == []
