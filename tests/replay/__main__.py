"""`python -m tests.replay [--report FILE]`: replay every recorded pair with ours in either place, print and write the table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.replay import report

REPORT = Path("build/replay.md")


def main() -> int:
    """0 when every difference has a name."""
    parser = argparse.ArgumentParser(description="Our Node in the place of either side of the recorded dhcpd pairs.")
    parser.add_argument("--report", type=Path, default=REPORT, help="the table as Markdown")
    args = parser.parse_args()
    rows = [report.row(name, role) for name, role in report.plays()]
    text = report.markdown(rows)
    print(text)
    args.report.parent.mkdir(parents=True, exist_ok=True)
    args.report.write_text(text)
    print(f"the table is in {args.report}")
    return 1 if any(row.faults for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
