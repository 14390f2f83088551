"""`python -m tests.interop.pairs [--quick] [--at-once N] [--only TEXT]`: play the cases side by side, print and write the table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.interop.pairs import report
from tests.interop.pairs.run import AT_ONCE, chosen, play_all

REPORT = Path("build/interop.md")


def main() -> int:
    """0 when every case passed."""
    parser = argparse.ArgumentParser(description="The interop suite: failoverd and dhcpd as partners.")
    parser.add_argument("--quick", action="store_true", help="the representative part only")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="how many cases side by side")
    parser.add_argument("--only", default="", help="cases whose key contains this text")
    parser.add_argument("--keep", type=Path, help="keep logs, captures and databases of each case below this directory")
    parser.add_argument("--report", type=Path, default=REPORT, help="the table as Markdown")
    parser.add_argument("--list", action="store_true", help="print the keys of the cases and play none")
    args = parser.parse_args()
    wanted = chosen(args.only, args.quick)
    if args.list:
        print("\n".join(job.key for job in wanted))
        return 0
    if not wanted:
        parser.error(f"no case is called like {args.only!r}")
    played = play_all(wanted, args.at_once, args.keep, lambda result: print(report.line(result), flush=True))
    print(report.table(played))
    args.report.parent.mkdir(parents=True, exist_ok=True)
    args.report.write_text(report.markdown(played))
    print(f"the table is in {args.report}")
    return 0 if all(result.ok for result in played.results) else 1


if __name__ == "__main__":
    sys.exit(main())
