"""`python -m tests.outage [--factor F] [--seed N] [--keep DIR]`: the three pairs in both scenes side by side, and the table."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.outage import report
from tests.outage.judge import Figures
from tests.outage.pairs import Product, Scene, plan
from tests.outage.report import Line
from tests.outage.terms import DHCPD_TOLERANCE_S, Site

REPORT = Path("build/outage.md")
FACTOR = 12.0
STARTS_S = 180.0  # more than the compressed time itself: starting, ending
STAGGER_S = 3.0  # between two starts: the programs need the processor then


def line(product: Product, scene: Scene, args: argparse.Namespace, wait_s: float) -> Line:
    """One pair in a process of its own. A process without figures is a failure."""
    time.sleep(wait_s)  # STAGGER_S apart
    words = [sys.executable, "-m", "tests.outage.one", product, scene, "--factor", str(args.factor), "--seed", str(args.seed)]
    words += ["--keep", str(args.keep)] if args.keep else []
    try:
        limit_s = Site().end_s / args.factor + STARTS_S
        done = subprocess.run(words, capture_output=True, text=True, timeout=limit_s, check=False)
        return Line(product, scene, Figures(**json.loads(done.stdout)))
    except subprocess.TimeoutExpired:
        return Line(product, scene, None, f"not done within {limit_s:.0f} s")
    except (ValueError, TypeError):
        return Line(product, scene, None, f"no figures: {done.stderr[-1500:]}")


def good(lines: list[Line]) -> bool:
    """Whether the run counts, and failoverd lost nothing, gave nothing twice, and was normal again."""
    ours = [each.figures for each in lines if each.product is Product.FAILOVERD]
    return not report.failures(lines) and all(one and not one.lost and not one.twice and one.normal_s is not None for one in ours)


def main() -> int:
    """0 when every pair has its figures and failoverd's are without fault."""
    parser = argparse.ArgumentParser(description="An hour without one server: failoverd, dhcpd and Kea side by side.")
    parser.add_argument("--factor", type=float, default=FACTOR, help="how many times faster than at the site")
    parser.add_argument("--seed", type=int, default=1, help="who the clients are")
    parser.add_argument("--keep", type=Path, help="keep logs and records below this directory")
    parser.add_argument("--report", type=Path, default=REPORT, help="the table as Markdown")
    args = parser.parse_args()
    site = Site()
    if site.lease_s / args.factor < 2 * DHCPD_TOLERANCE_S:
        parser.error(f"leases must last {2 * DHCPD_TOLERANCE_S} s and more beside a dhcpd: a smaller factor")
    wanted = plan()
    began = time.monotonic()
    with ThreadPoolExecutor(len(wanted)) as pool:
        futures = [pool.submit(line, product, scene, args, STAGGER_S * number) for number, (product, scene) in enumerate(wanted)]
        lines = [future.result() for future in futures]
    print(report.text(lines, site, args.factor, args.seed))
    args.report.parent.mkdir(parents=True, exist_ok=True)
    args.report.write_text(report.markdown(lines, site, args.factor, args.seed, time.monotonic() - began))
    print(f"the table is in {args.report}")
    return 0 if good(lines) else 1


if __name__ == "__main__":
    sys.exit(main())
