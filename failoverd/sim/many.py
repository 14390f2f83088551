"""`python -m failoverd.sim.many --seed S --runs N [--log FILE]`: many runs on all cores, resumable; what they added up to.

Each run is a line of FILE (JSON) as soon as it is over. Seeds that FILE has for this very code are not run again, so a run that was
stopped goes on where it was; a changed program starts anew. Exit code 1 after a violation.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from hashlib import sha256
from os import cpu_count
from pathlib import Path
from typing import TypedDict

from failoverd.sim.plan import SORTS, STORY
from failoverd.sim.reached import REACHED, SUMS, reached
from failoverd.sim.run import run

SHOWN = 3  # violations of one run that are printed
MIX = {5: "dhcpd", 10: "ping", 12: "clock", 15: "dhcpd", 0: "host"}  # by the number modulo 20, see named


class Record(TypedDict):
    """One run. `t`: simulated seconds; `cpu_s`: seconds of one core."""

    seed: int
    code: str
    t: float
    cpu_s: float
    violations: list[str]
    counts: dict[str, int]


def code_digest() -> str:
    """What identifies the program that runs."""
    sums = sha256()
    for path in sorted(Path(__file__).parent.parent.rglob("*.py")):
        sums.update(path.read_bytes())
    return sums.hexdigest()[:16]


def named(seed: int) -> str:
    """The seed of a run by its number: of each twenty, two have a dhcpd as partner, one pings before an OFFER, one has a
    reservation, in one a clock goes further wrong than 60 s."""
    return f"{MIX.get(seed % 20, '')}{seed}"


def one(seed: int, code: str) -> Record:
    """One run, in a worker."""
    began = time.process_time()
    result = run(named(seed))
    counts = reached(result.trace.events)
    counts[result.terms.sort] = 1
    told = [f"({each.check}) t={each.t:.3f} {each.text}" for each in result.violations]
    return Record(
        seed=seed, code=code, t=result.t, cpu_s=round(time.process_time() - began, 3), violations=told[:SHOWN], counts=dict(counts)
    )


def known(log: Path, code: str, seeds: range) -> Iterator[Record]:
    """What FILE has of these seeds for this code. A line that was cut off by a kill is no line."""
    if not log.exists():
        return
    seen: set[int] = set()
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            record: Record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if record["code"] == code and record["seed"] in seeds and record["seed"] not in seen:
            seen.add(record["seed"])
            yield record


def tell(record: Record) -> None:
    """A run that went wrong, and how to repeat it."""
    if record["violations"]:
        print(f"seed {named(record['seed'])}: violations")
        for text in record["violations"]:
            print(f"  {text}")
        print(f"  again: python -m failoverd.sim --seed {named(record['seed'])}", flush=True)


def summary(hours: float, spent: float, runs: int) -> str:
    """What it cost."""
    faster = hours * 3600 / max(spent, 0.001)
    return f"{hours:.1f} simulated hours in {spent:.0f} s of one core: {spent / max(runs, 1):.2f} s a run, {faster:.0f} times real time"


def main(arguments: list[str]) -> int:
    """Run what is missing, add up."""
    parser = argparse.ArgumentParser(prog="python -m failoverd.sim.many", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=cpu_count() or 1)
    parser.add_argument("--log", type=Path, default=Path("sim.jsonl"), metavar="FILE")
    options = parser.parse_args(arguments)
    seeds, code, began = range(options.seed, options.seed + options.runs), code_digest(), time.monotonic()
    done = list(known(options.log, code, seeds))
    if done:
        print(f"{len(done)} of {options.runs} runs are in {options.log}")
    for record in done:
        tell(record)
    have = {record["seed"] for record in done}
    with options.log.open("a", encoding="utf-8") as log, ProcessPoolExecutor(options.jobs) as pool:
        for future in as_completed([pool.submit(one, seed, code) for seed in seeds if seed not in have]):
            record = future.result()
            log.write(json.dumps(record, separators=(",", ":")) + "\n")
            log.flush()
            done.append(record)
            tell(record)
    bad = [named(record["seed"]) for record in sorted(done, key=lambda each: each["seed"]) if record["violations"]]
    counts: Counter[str] = Counter()
    for record in done:
        counts.update(record["counts"])
    print(f"{len(done)} runs, {len(bad)} with violations{': seeds ' + ' '.join(bad) if bad else ''}")
    hours, spent = sum(record["t"] for record in done) / 3600, sum(record["cpu_s"] for record in done)
    print(f"{time.monotonic() - began:.0f} s now; {summary(hours, spent, len(done))}")
    print(
        f"{', '.join(f'{counts[name]} {name}' for name in SUMS)}; {', '.join(f'{counts[name]} {name}' for name in (*SORTS, STORY))} runs"
    )
    print("runs that reached:")
    for name in REACHED:
        print(f"  {counts[name]:>6} {name}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
