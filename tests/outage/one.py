"""`python -m tests.outage.one PRODUCT SCENE`: one pair, here; its figures as one line of JSON."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.outage.pairs import Product, Scene
from tests.outage.play import play
from tests.outage.terms import Site


def main() -> None:
    """Figures on standard output."""
    parser = argparse.ArgumentParser()
    parser.add_argument("product", type=Product)
    parser.add_argument("scene", type=Scene)
    parser.add_argument("--factor", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    figures = play(args.product, args.scene, Site(), args.factor, args.seed, args.keep)
    sys.stdout.write(json.dumps(figures.plain()) + "\n")


if __name__ == "__main__":
    main()
