"""Pool balance as tables (failover-protocol.md 8): in which state who gives, what each trigger may do, where each pass stops.

The sums that the cells name are balance.py's, pool_transfer.py carries them out. Every cell says what dhcpd and the draft do, whom we
follow ("isc", "draft" or "ours") and why.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from failoverd.failover.message import ServerState

if TYPE_CHECKING:
    from failoverd.failover.balance import Share

S = ServerState


class Reason(NamedTuple):
    """What the others do, whom we follow, and why."""

    dhcpd: str
    draft: str
    follows: str
    why: str


# --- who gives --------------------------------------------------------------------------------------------------------------------

GIVES: dict[ServerState, bool] = dict.fromkeys(S, False) | {S.NORMAL: True}
"""(my state) -> whether this server hands over free addresses of its own; both roles."""

GIVES_WHY = Reason(
    "in normal only, either role gives and neither takes (8.1)",
    "the primary gives and takes at any time (5.4, 7.6.2)",
    "isc",
    "apart, what is handed over cannot be acked, and the partner may be using its half; a server that takes may take what is being granted",
)

# --- what a trigger may do --------------------------------------------------------------------------------------------------------


class Trigger(StrEnum):
    """What makes a server look at its pools (8.3)."""

    ENTRY = "entry to normal"
    TIMER = "the scheduled run"
    POOLREQ = "a POOLREQ of the partner"
    REFUSED = "a client refused, only the partner has addresses"
    OPERATOR = "failoverctl pool rebalance"
    PARTNER_NORMAL = "the partner's STATE(normal) in normal"
    LEFT_FREE = "an address leaves FREE or BACKUP"


class Asks(StrEnum):
    """When a POOLREQ may go out; one a relationship and run."""

    NEVER = "never"
    PANIC = "when a pool's give is below panic"
    SHORT = "when a pool's give is below 0"
    ALWAYS = "yes, once in 5 s"


class Cell(NamedTuple):
    """`gives`: the transfer loop runs; `asks`: whether a POOLREQ may follow; `schedules`: the next run is computed anew (8.4), in the
    place of one that comes later."""

    gives: bool
    asks: Asks
    schedules: bool
    reason: Reason


_AT_ENTRY = Reason(
    "gives, never asks",
    "the secondary sends POOLREQ whenever it enters normal (7.6)",
    "isc",
    "the partner enters normal too and gives by itself; a POOLREQ could reach it before it is there. The next run is computed at its STATE",
)
_BY_TIMER = Reason(
    "gives; asks when short by more than twice max-lease-misbalance, primary included",
    "the primary looks whenever a number changes, with some threshold; the secondary asks from time to time",
    "isc",
    "a run gives down to the level without a threshold, and only a pool that is far off is worth a message: the partner has its own timer",
)
_REQUESTED = Reason(
    "gives as in every run; POOLRESP goes before the BNDUPDs",
    "the primary gives BACKUP addresses and counts them in POOLRESP (7.6.2)",
    "isc",
    "both agree; the answer carries the count also when it is 0, and out of normal it is 0",
)
_REQUESTED_AT_SECONDARY = Reason(
    "gives as in every run: its primary asks when it is short",
    "a secondary that receives a POOLREQ reports an error (7.6.2)",
    "isc",
    "neither takes, so a primary that is short has no other way to get an address back",
)
_TURNED_AWAY = Reason(
    "asks at its next scheduled run only, up to min-balance later",
    "the period of POOLREQs may follow the leasing activity (7.6)",
    "ours",
    "Deviation: a client waits, so the partner is asked now; in normal on both sides, and once in 5 s at most. We have none to give",
)
_ORDERED = Reason(
    "has no such command",
    "the primary may give at any time (5.4)",
    "ours",
    "Deviation: the operator sees the shares and wants them level now; asks when short at all, in contact and in normal only",
)
_HEARD = Reason("computes the next run", "says nothing", "isc", "until now the partner could not be given anything")
_LEFT = Reason(
    "computes the next run, which replaces a scheduled one only when it is earlier",
    "the primary looks at the balance at once (5.4)",
    "isc",
    "with every client a look would be a walk through the pool for each; the busier the pool, the earlier the run",
)

_ROWS: dict[Trigger, tuple[bool, Asks, bool, Reason]] = {
    Trigger.ENTRY: (True, Asks.NEVER, False, _AT_ENTRY),
    Trigger.TIMER: (True, Asks.PANIC, True, _BY_TIMER),
    Trigger.POOLREQ: (True, Asks.NEVER, False, _REQUESTED),
    Trigger.REFUSED: (False, Asks.ALWAYS, False, _TURNED_AWAY),
    Trigger.OPERATOR: (True, Asks.SHORT, False, _ORDERED),
    Trigger.PARTNER_NORMAL: (False, Asks.NEVER, True, _HEARD),
    Trigger.LEFT_FREE: (False, Asks.NEVER, True, _LEFT),
}
ON_TRIGGER: dict[tuple[Trigger, bool], Cell] = {
    (each, primary): Cell(*_ROWS[each]) for each in Trigger for primary in (True, False)
}
ON_TRIGGER[Trigger.POOLREQ, False] = ON_TRIGGER[Trigger.POOLREQ, False]._replace(reason=_REQUESTED_AT_SECONDARY)
"""(what happened, I am primary) -> what may be done, in normal; in every other state nothing is given (GIVES) and nothing asked."""


def asks(trigger: Trigger, share: Share, *, primary: bool) -> bool:
    """Whether a pool with this share is a reason to send a POOLREQ."""
    rule = ON_TRIGGER[trigger, primary].asks
    if rule is Asks.PANIC:
        return share.give < share.panic
    return share.give < 0 if rule is Asks.SHORT else rule is Asks.ALWAYS


# --- where the two passes stop ----------------------------------------------------------------------------------------------------


class Pass(StrEnum):
    """The walks through the own free addresses, oldest first (8.1)."""

    PARTNERS = "1: addresses whose last client the partner serves"
    ANY = "2: any address"


class Stop(StrEnum):
    """When no further address is given. `give` counts down with each."""

    BELOW_HOLD = "when give <= -hold"
    AT_HOLD = "when give <= hold"
    LEVEL = "when give <= 0"
    NEVER_GIVEN = "given by pass 2 only"


class Limit(NamedTuple):
    """One cell of the stop rules."""

    stop: Stop
    reason: Reason


_AFFINITY = Reason(
    "up to max-lease-ownership beyond level for the sake of affinity",
    "first those whose most recent client the partner serves (5.4)",
    "isc",
    "the client finds its old address at the server that answers it; what is held back stays usable when this server is alone",
)
_NO_CLIENT = Reason("a never-used address has no client", "the same", "isc", "no affinity to serve")
_HELD = Reason(
    "down to max-lease-ownership above level",
    "down to the configured balance, with some threshold (5.4)",
    "isc",
    "a used address may bring its client back here; moving it for one that more or less is not worth a BNDUPD",
)
_VIRGIN = Reason("to the level exactly", "down to the configured balance (5.4)", "isc", "nobody can miss a never-used address")

STOPS: dict[tuple[Pass, bool], Limit] = {
    (Pass.PARTNERS, True): Limit(Stop.BELOW_HOLD, _AFFINITY),
    (Pass.PARTNERS, False): Limit(Stop.NEVER_GIVEN, _NO_CLIENT),
    (Pass.ANY, True): Limit(Stop.AT_HOLD, _HELD),
    (Pass.ANY, False): Limit(Stop.LEVEL, _VIRGIN),
}
"""(pass, the address was used before) -> where it stops; both roles."""

PUSH_BACK: dict[bool, Limit] = {
    True: Limit(
        Stop.BELOW_HOLD,
        Reason(
            "as primary, an address just freed goes to the secondary when its client is the secondary's and that does not hoard (8.2)",
            "it is the primary's, and may be given (5.4)",
            "isc",
            "a client that comes back finds its address where it is answered; not when the address rests (safety.md 15)",
        ),
    ),
    False: Limit(
        Stop.NEVER_GIVEN,
        Reason(
            "as secondary never: what is freed is FREE", "never", "isc", "what becomes free is the primary's first (draft-12 5.4)"
        ),
    ),
}
"""(I am primary) -> how far an address that has just become free on both is handed over at once."""


def goes_on(limit: Limit, give: int, hold: int) -> bool:
    """Whether one more address may be given."""
    least = {Stop.BELOW_HOLD: -hold, Stop.AT_HOLD: hold, Stop.LEVEL: 0}.get(limit.stop)
    return least is not None and give > least


# --- how old a side is (8.4) ------------------------------------------------------------------------------------------------------


class Side(StrEnum):
    """The head of one free queue: the address that has been free for longest."""

    EMPTY = "the side is empty"
    FRESH = "its end lies ahead"
    USED = "it ended before"
    VIRGIN = "it was never used"


class Age(NamedTuple):
    """`times`: so often max-lease-misbalance percent of the time since the end; a never-used address ended at the epoch."""

    times: int
    why: str


_SLOW = "the slower addresses are used up, the later the look; the own side counts twice, since only the owner gives"

AGES: dict[tuple[Side, bool], Age] = {
    (side, own): Age(times, why)
    for own in (True, False)
    for side, times, why in (
        (Side.EMPTY, 0, "so min-balance decides: an empty side is looked at soonest"),
        (Side.FRESH, 0, "as an empty side"),
        (Side.USED, 2 if own else 1, _SLOW),
        (Side.VIRGIN, 2 if own else 1, "so max-balance decides"),
    )
}
"""(head of the queue, the side is the own one) -> its age; the next run is the lesser age of both, min-balance and max-balance."""


def side(ends: int | None, now: int) -> Side:
    """What the head of a queue is. `ends`: the end of its lease, 0 for never used, None for an empty queue."""
    if ends is None:
        return Side.EMPTY
    if ends >= now:
        return Side.FRESH
    return Side.USED if ends else Side.VIRGIN


def age(ends: int | None, now: int, max_misbalance: int, *, own: bool) -> int:
    """How old a side is, in seconds."""
    part = ((now - (ends or 0)) * max_misbalance + 50) // 100
    return part * AGES[side(ends, now), own].times


assert set(STOPS) == set(product(Pass, (True, False)))
