"""Pool balance: how many free addresses go to the partner, and when (failover-protocol.md 8).

Sums only; the transfers themselves are lease changes made by pool_transfer.py. All divisions truncate toward zero, as in C.
"""

from __future__ import annotations

from typing import NamedTuple

from failoverd.failover.balance_table import age


def _half(difference: int) -> int:
    return int(difference / 2)


class Share(NamedTuple):
    """One pool's balance seen from this server. `give`: how many we have too many (8.1: lts; negative: too few); `hold`: how many
    may stay with the wrong server for the sake of affinity; `panic`: below this a POOLREQ is due."""

    give: int
    hold: int
    thresh: int
    panic: int


def share(free: int, backup: int, primary: bool, max_misbalance: int, max_ownership: int) -> Share:
    """The sums of section 8 for one pool."""
    total = free + backup
    give = _half(free - backup) if primary else _half(backup - free)
    thresh = (total * max_misbalance + 50) // 100
    hold = (total * max_ownership + 50) // 100
    panic = -2 * thresh or -1
    return Share(give, hold, thresh, panic)


def next_run(
    now: int,
    first_free_ends: int | None,
    first_backup_ends: int | None,
    *,
    primary: bool,
    max_misbalance: int,
    min_balance_s: int,
    max_balance_s: int,
    last_run: int,
) -> int:
    """8.4: when to balance next, without the random 0..4 s. `first_*_ends`: the end of the oldest free address on each side, None for
    an empty queue."""
    free = age(first_free_ends, now, max_misbalance, own=primary)
    backup = age(first_backup_ends, now, max_misbalance, own=not primary)
    due = now + min(free, backup, max_balance_s)
    return max(due, last_run + min_balance_s) if last_run else due
