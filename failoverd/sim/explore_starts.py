"""Where an exploration begins: a pair just installed, and what has happened to it since.

The stated depth counts from here, so a start is a disturbance that costs nothing. Two words stand for more than one event: "settle" (left
to itself until both are in normal and nothing is on its way) and "notice all" (every end of a lost connection is noticed).
"""

from __future__ import annotations

from failoverd.sim.explore_world import Event

SETTLE, NOTICE = Event("settle"), Event("notice all")
CUT, LATER = Event("cut"), Event("time")
A_ALONE = (Event("crash", 1), NOTICE, Event("declare", 0))
B_ALONE = (Event("crash", 0), NOTICE, Event("declare", 1))
APART = (CUT, NOTICE)

STARTS: dict[str, tuple[Event, ...]] = {
    "new pair": (),
    "normal": (SETTLE,),
    "a alone": (SETTLE, *A_ALONE),
    "b alone": (SETTLE, *B_ALONE),
    "b alone, a wiped": (SETTLE, Event("crash", 0), Event("wipe", 0), NOTICE, Event("declare", 1)),
    "both alone": (SETTLE, *APART, Event("declare", 0), Event("declare", 1)),
}
"""Without clients."""


def _acked_by(who: int) -> tuple[Event, ...]:
    """This server gave its address to client 1 and died before the partner could read of it; the partner works alone behind a cut."""
    return (SETTLE, Event("lease", who, 1), CUT, Event("crash", who), NOTICE, Event("declare", 1 - who))


def _renewed_at(who: int) -> tuple[Event, ...]:
    """Apart, client 1 renews with this server; the other one has ended the lease when they meet again."""
    return (SETTLE, Event("lease", who, 1), SETTLE, *APART, LATER, Event("lease", who, 1), LATER, Event("heal"))


CLIENT_STARTS: dict[str, tuple[Event, ...]] = {
    "normal": (SETTLE,),
    "leased by a": (SETTLE, Event("lease", 0, 1), SETTLE),
    "leased by b": (SETTLE, Event("lease", 1, 1), SETTLE),
    "apart, both leased": (SETTLE, *APART, Event("lease", 0, 1), Event("lease", 1, 2)),
    "renewed at a, ended at b": _renewed_at(0),
    "renewed at b, ended at a": _renewed_at(1),
    "b died after an ACK": _acked_by(1),
    "a died after an ACK": _acked_by(0),
    "b died after an ACK, its lease ends": (*_acked_by(1), LATER),
    "a died after an ACK, its lease ends": (*_acked_by(0), LATER),
}
"""With two clients and two addresses: one address is each server's own."""
