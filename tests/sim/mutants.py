"""How many seeds the simulator needs to see each known-bad server.

`python -m tests.sim.mutants [NAME...]` plants each in the drawn runs, a process of its own for each, and prints the table; leaves it in
build/sim-mutants.md, and ends with 1 when one survives PATIENCE seeds, or does not fit the program any more. The seeds are 1 to PATIENCE,
those with a story (failoverd/sim/strikes_story.py) about the rule first; or 1 to PATIENCE of a class of seeds that all tell the mutant's
story (failoverd/sim/strikes_named.py). The table says how many were tried. The servers are those of known_bad.py, known_bad_apart.py and
known_bad_meeting.py.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path
from typing import TextIO

from failoverd.sim.plan import draw
from failoverd.sim.run import run
from failoverd.sim.world import World
from tests.sim import known_bad, known_bad_apart, known_bad_meeting
from tests.sim.known_bad import Mutant

PATIENCE = 200
FILES = (known_bad, known_bad_apart, known_bad_meeting)  # each enters its own in one list
MUTANTS = sorted(known_bad.MUTANTS, key=lambda each: int(each.rule))  # in the order of the rules


def order(found: Mutant, patience: int) -> list[str]:
    """The seeds 1 to `patience` of the mutant's class, those with a story of its own first."""
    seeds = [f"{found.seeds}{number}" for number in range(1, patience + 1)]
    return sorted(seeds, key=lambda seed: draw(World(seed)).terms.story not in found.stories)


def clean(seed: str) -> bool:
    """Whether the sound program passes there: what it is accused of itself, shows no mutant."""
    return subprocess.run([sys.executable, "-m", "failoverd.sim", "--seed", seed], capture_output=True, check=False).returncode == 0


def hunt(name: str, patience: int) -> int:
    """Plant one mutant here, run seeds until a judge speaks; one line."""
    found = next(each for each in MUTANTS if each.name == name)
    found.plant()
    words = f"| {found.rule} | {name.replace('_', ' ')} |"
    for tried, seed in enumerate(order(found, patience), 1):
        try:
            result = run(seed)
        except TypeError as error:  # it was written for functions that have changed since: no judge has seen it
            print(f"{words} BROKEN: {error} | {seed} | {tried} |")
            return 1
        except Exception as error:  # a mutant that makes the program fall is caught as well
            print(f"{words} {type(error).__name__} | {seed} | {tried} |")
            return 0
        if result.violations and clean(seed):
            checks = sorted({violation.check for violation in result.violations})
            sort = result.terms.story or result.terms.sort
            print(f"{words} {' '.join(f'({check})' for check in checks)} | {seed}, {sort} | {tried} |")
            return 0
    print(f"{words} SURVIVED | | {patience} |")
    return 1


def main(arguments: list[str]) -> int:
    """The table."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.mutants", description=__doc__)
    parser.add_argument("--one", metavar="NAME", help="plant it in this process")
    parser.add_argument("--patience", type=int, default=PATIENCE, metavar="N", help="seeds that a mutant may survive")
    parser.add_argument("--jobs", type=int, default=cpu_count() or 1)
    parser.add_argument("--table", type=Path, default=Path("build/sim-mutants.md"), metavar="FILE")
    parser.add_argument("names", nargs="*", help="of mutants; all without")
    options = parser.parse_args(arguments)
    if options.one:
        return hunt(options.one, options.patience)
    names = options.names or [each.name for each in MUTANTS]
    command = [sys.executable, "-m", "tests.sim.mutants", "--patience", str(options.patience), "--one"]
    options.table.parent.mkdir(exist_ok=True)
    alive = 0
    with options.table.open("w", encoding="utf-8") as table, ThreadPoolExecutor(options.jobs) as pool:
        tell(table, "| rule of safety.md | mutant | caught by | seed | seeds needed |\n| --- | --- | --- | --- | --- |")
        for done in pool.map(lambda name: subprocess.run([*command, name], capture_output=True, text=True, check=False), names):
            tell(table, done.stdout.strip() or done.stderr[-2000:])
            alive += done.returncode != 0
        tell(
            table,
            f"\n{len(names)} mutants, {len(names) - alive} caught; of the seeds 1 to {options.patience} those whose story is about the",
        )
        tell(table, "rule are tried first, or the first of the class that a seed names; `seeds needed` counts all that were tried.")
    return 1 if alive else 0


def tell(table: TextIO, line: str) -> None:
    """To the terminal and into the table."""
    print(line, flush=True)
    print(line, file=table, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
