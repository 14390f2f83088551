"""How fast a pool's free addresses go, and how long they last: now, while the partner is away, and after partner-down.

Sums only, over what the table counts and a bounded record of the last hour (safety.md 12; the number that decides whether somebody
must get up at night). It knows no clock: `mono` comes with each call.
"""

from __future__ import annotations

from typing import NamedTuple

SLOT_S = 60
SLOTS = 60
LEAST_S = 60.0  # a rate that was watched for less says nothing


class Recent(NamedTuple):
    """What happened in the last `window_s` seconds: free addresses given to clients, and addresses that became free again."""

    window_s: float
    taken: int
    returned: int


class Stock(NamedTuple):
    """What is there. `own`: free addresses that this server may give out; `partner`: the partner's free ones; `ended`: leases that ended
    and wait for the partner's ack; `wait_s`: how long after partner-down until the last two are this server's, too."""

    own: int
    partner: int
    ended: int
    wait_s: float


class Lasts(NamedTuple):
    """Seconds until a new client is refused at the recent rate; None: never at this rate. `together`: both servers serve and agree;
    `interrupted`: this server serves alone, nothing that ends becomes free; `partner_down`: the same until the wait is over, then it has
    everything."""

    together: float | None
    interrupted: float | None
    partner_down: float | None


class Rate:
    """Counts of one pool by minute, the newest SLOTS of them."""

    __slots__ = ("_newest", "_returned", "_since", "_taken")

    def __init__(self, mono: float) -> None:
        """Nothing was seen before `mono`."""
        self._since = mono
        self._newest = int(mono // SLOT_S)
        self._taken = [0] * SLOTS
        self._returned = [0] * SLOTS

    def count(self, mono: float, *, taken: bool) -> None:
        """One free address was given to a client, or one became free again."""
        self._turn(mono)
        (self._taken if taken else self._returned)[self._newest % SLOTS] += 1

    def recent(self, mono: float) -> Recent:
        """The last hour, or less when less was seen."""
        self._turn(mono)
        window_s = min(mono - self._since, (SLOTS - 1) * SLOT_S + mono % SLOT_S)
        return Recent(max(window_s, 0.0), sum(self._taken), sum(self._returned))

    def _turn(self, mono: float) -> None:
        """Slots that are too old are empty again."""
        slot = int(mono // SLOT_S)
        for each in range(self._newest + 1, min(slot, self._newest + SLOTS) + 1):
            self._taken[each % SLOTS] = self._returned[each % SLOTS] = 0
        self._newest = max(self._newest, slot)


def lasts(recent: Recent, stock: Stock) -> Lasts | None:
    """How long the stock lasts at the recent rate; None while the rate is not known."""
    if recent.window_s < LEAST_S:
        return None
    gross = recent.taken / recent.window_s
    net = (recent.taken - recent.returned) / recent.window_s
    alone = _until_empty(stock.own, gross)
    everything = stock.own + stock.partner
    if alone is not None and alone < stock.wait_s:
        after: float | None = alone  # empty before the partner's addresses come
    else:
        left = everything + stock.ended - gross * stock.wait_s
        after = _until_empty(left, net)
        after = stock.wait_s + after if after is not None else None
    return Lasts(_until_empty(everything, net), alone, after)


def _until_empty(count: float, rate: float) -> float | None:
    if count < 1:
        return 0.0
    return count / rate if rate > 0 else None
