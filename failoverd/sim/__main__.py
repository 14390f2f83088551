"""`python -m failoverd.sim --seed S [--runs N]`: N runs with the seeds S, S+1, ...; a line for each, exit code 1 after a violation."""

from __future__ import annotations

import argparse
import sys

from failoverd.sim.run import run

SHOWN = 10  # violations of one run that are printed


def main(arguments: list[str]) -> int:
    """Run, print, tell how to repeat what went wrong."""
    parser = argparse.ArgumentParser(prog="python -m failoverd.sim", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--trace", metavar="FILE", help="write every event of the runs to FILE, one a line")
    options = parser.parse_args(arguments)
    bad = []
    for seed in range(options.seed, options.seed + options.runs):
        try:
            result = run(str(seed))
        except BaseException as error:
            error.add_note(f"again: python -m failoverd.sim --seed {seed}")
            raise
        print(result.line(), flush=True)
        for violation in result.violations[:SHOWN]:
            print(f"  ({violation.check}) t={violation.t:.3f} {violation.text}")
        if result.violations:
            bad.append(seed)
            print(f"  again: python -m failoverd.sim --seed {seed}")
        if options.trace:
            with open(options.trace, "a", encoding="utf-8") as file:
                file.writelines(f"{event!r}\n" for event in result.trace.events)
    print(f"{options.runs} runs, {len(bad)} with violations{': seeds ' + ' '.join(map(str, bad)) if bad else ''}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
