"""`python -m tests.interop.pairs.one KEY [--keep DIR]`: play one job here and print its result as one line of JSON."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import traceback
from pathlib import Path

from tests.interop.pairs import cases
from tests.interop.pairs.bench import Bench, Failure
from tests.interop.pairs.case import Job, Result, job
from tests.lab.lab import Lab
from tests.lab.wait import LabError

assert cases.LOADED


def play(found: Job, keep: Path | None) -> Result:
    """In a lab that is gone afterwards."""
    with Lab() as lab:
        bench = Bench(lab, found)
        try:
            try:
                found.case.play(bench, *([found.side] if found.side else []))
                bench.agree()
            except (Failure, LabError) as error:
                where = traceback.extract_tb(error.__traceback__)
                line = next((frame.lineno for frame in where if "cases_" in frame.filename), 0)
                bench.result.failures.append(f"line {line}: {error}")
            result = bench.finish()
        finally:
            bench.close()
            if keep is not None:
                (lab.folder / "told").write_text("".join(f"{told}\n" for told in bench.people.record))
                shutil.copytree(
                    lab.folder,
                    keep / found.key.replace("/", "_"),
                    dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns("bin", "*.sock", "*.reserve"),
                )
        return result


def main() -> int:
    """0 when it passed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("key")
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    result = play(job(args.key), args.keep)
    print(json.dumps(result.plain()))
    return 0 if result.ok else 1


if __name__ == "__main__":
    sys.exit(main())
