"""Runs a Python program and profiles its main thread between SIGUSR1 and SIGUSR2: `python -P profiled.py FILE PROGRAM [ARGUMENT...]`.

The times are those of cProfile, which makes calls look twice as dear as they are.
"""

from __future__ import annotations

import cProfile
import runpy
import signal
import sys


def main() -> None:
    """`FILE` is written at SIGUSR2."""
    path, sys.argv = sys.argv[1], sys.argv[2:]
    profile = cProfile.Profile()

    def begin(number: int, frame: object) -> None:
        profile.enable()

    def end(number: int, frame: object) -> None:
        profile.disable()
        profile.dump_stats(path)

    signal.signal(signal.SIGUSR1, begin)
    signal.signal(signal.SIGUSR2, end)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
