"""The representative part of the interop suite; `make interop` plays all of it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.interop.pairs import cases
from tests.interop.pairs.case import Result, jobs
from tests.interop.pairs.run import AT_ONCE, begin

pytestmark = [pytest.mark.root, pytest.mark.isc]
QUICK = sorted(jobs(quick=True), key=lambda job: -job.case.weight)  # as they begin

assert cases.LOADED


@pytest.fixture(scope="module")
def results() -> Iterator[dict[str, Future[Result]]]:
    """All of them, played side by side from the first test on; each test waits for its own."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield begin(pool, QUICK, AT_ONCE)


@pytest.mark.parametrize("key", [job.key for job in QUICK])
def test_a_mishap_of_a_pair(key: str, results: dict[str, Future[Result]]) -> None:
    assert results[key].result().failures == []
