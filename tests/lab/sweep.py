"""`python -m tests.lab.sweep`: remove labs that were left running (KEEP=1) or whose maker was killed."""

from __future__ import annotations

from tests.lab.lab import sweep

if __name__ == "__main__":
    for prefix in sweep(with_kept=True):
        print(f"removed {prefix.rstrip('-')}")
