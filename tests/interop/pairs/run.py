"""Playing jobs side by side, each in a process and a lab of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from tests.interop.pairs import cases
from tests.interop.pairs.case import Job, Result, jobs

AT_ONCE = 10
LIMIT_S = 420.0
STAGGER_S = 1.0  # between two starts: Python and dhcpd need the processor then

assert cases.LOADED


@dataclass(slots=True)
class Played:
    """All results, in the order of the cases."""

    results: list[Result]
    seconds: float
    at_once: int


def chosen(only: str, quick: bool) -> list[Job]:
    """The jobs whose key contains `only`."""
    return [job for job in jobs(quick) if only in job.key]


def begin(pool: ThreadPoolExecutor, wanted: Sequence[Job], at_once: int, keep: Path | None = None) -> dict[str, Future[Result]]:
    """Key -> the result to come, in the order in which they begin: the long ones first."""
    order = sorted(wanted, key=lambda job: -job.case.weight)
    return {
        job.key: pool.submit(play, job, keep, STAGGER_S * number if number < at_once else 0.0) for number, job in enumerate(order)
    }


def play_all(wanted: Sequence[Job], at_once: int, keep: Path | None, tell: Callable[[Result], None]) -> Played:
    """Play them and wait; `tell` hears of each as it ends."""
    began = time.monotonic()
    with ThreadPoolExecutor(at_once) as pool:
        futures = begin(pool, wanted, at_once, keep)
        for future in as_completed(futures.values()):
            tell(future.result())
    return Played([futures[job.key].result() for job in wanted], time.monotonic() - began, at_once)


def play(job: Job, keep: Path | None = None, wait_s: float = 0.0) -> Result:
    """One job in a process of its own. A process that ends without a result is a failed case."""
    time.sleep(wait_s)
    args = [sys.executable, "-m", "tests.interop.pairs.one", job.key, *(["--keep", str(keep)] if keep else [])]
    began = time.monotonic()
    try:
        done = subprocess.run(args, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        lines, why = done.stdout.splitlines(), done.stderr[-1500:]
    except subprocess.TimeoutExpired as error:
        lines, why = [], f"not done within {LIMIT_S:.0f} s; {str(error.stderr)[-500:]}"
    try:
        result = Result(**json.loads(lines[-1]))
    except (IndexError, ValueError, TypeError):
        result = Result(job.key, failures=[f"no result: {why}"])
    result.seconds = time.monotonic() - began
    return result
