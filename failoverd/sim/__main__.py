"""`python -m failoverd.sim --seed S [--runs N]`: N runs with the seeds S, S+1, ...; a line for each, exit code 1 after a violation.

`--shrink` looks for a smaller run that goes wrong in the same way, and prints the command that repeats it (`--without`, `--clients`,
`--until`).
"""

from __future__ import annotations

import argparse
import sys

from failoverd.sim.checks import reported
from failoverd.sim.plan import Less
from failoverd.sim.run import Result, run
from failoverd.sim.shrink import fails_in, shrink

SHOWN = 10  # violations of one run that are printed


def numbers(text: str) -> frozenset[int]:
    """ "3,5" as numbers."""
    return frozenset(int(each) for each in text.split(",") if each)


def again(seed: str, less: Less) -> str:
    """The command that repeats a run."""
    return f"python -m failoverd.sim --seed {seed}{less.arguments()}"


def seeds(seed: str, runs: int) -> list[str]:
    """Seeds that follow each other, dhcpd7 after dhcpd6; one that does not end in a number stands alone."""
    word = seed.rstrip("0123456789")
    return [f"{word}{int(seed[len(word) :]) + at}" for at in range(runs)] if seed != word else [seed]


def show(result: Result, less: Less) -> None:
    """One run for people."""
    print(result.line(), flush=True)
    for violation in result.violations[:SHOWN]:
        print(f"  ({violation.check}) t={violation.t:.3f} {violation.text}")
    for violation in reported(result.trace.events)[:SHOWN]:
        print(f"  as an untrue statement allows: t={violation.t:.3f} {violation.text}")
    if result.violations:
        print(f"  again: {again(result.seed, less)}")


def smaller(seed: str, check: str) -> None:
    """Shrink a run that went wrong."""
    print(f"  looking for a smaller run with ({check})", flush=True)
    less = shrink(seed, fails_in(check)(seed), lambda line: print(f"    {line}", flush=True))
    print(f"  smaller: {again(seed, less)}")


def main(arguments: list[str]) -> int:
    """Run, print, tell how to repeat what went wrong."""
    parser = argparse.ArgumentParser(prog="python -m failoverd.sim", description=__doc__)
    sorts = "tls1, ping1, dhcpd1, host1, clock1, short1, wide1, crowd1, long1 are of that sort, relay1 tells that story"
    parser.add_argument("--seed", default="1", help=f"a number, or a word: {sorts}")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--trace", metavar="FILE", help="write every event of the runs to FILE, one a line")
    parser.add_argument("--shrink", action="store_true", help="find a smaller run that goes wrong in the same way")
    parser.add_argument("--without", type=numbers, default=frozenset(), metavar="N,N", help="leave out these faults of the plan")
    parser.add_argument("--clients", type=int, default=0, metavar="N", help="only the first N clients")
    parser.add_argument("--until", type=float, default=0.0, metavar="S", help="faults end after S seconds")
    options = parser.parse_args(arguments)
    less, bad = Less(options.without, options.clients, options.until), []
    for seed in seeds(options.seed, options.runs):
        try:
            result = run(seed, less)
        except Exception as error:  # whatever it is, it goes on up: with the command that repeats it
            error.add_note(f"again: {again(seed, less)}")
            if options.shrink:
                smaller(seed, "!")
            raise
        show(result, less)
        if result.violations:
            bad.append(seed)
            if options.shrink:
                smaller(seed, result.violations[0].check)
        if options.trace:
            with open(options.trace, "a", encoding="utf-8") as file:
                file.writelines(f"{event!r}\n" for event in result.trace.events)
    print(f"{options.runs} runs, {len(bad)} with violations{': seeds ' + ' '.join(bad) if bad else ''}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
