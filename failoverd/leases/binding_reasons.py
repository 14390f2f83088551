"""Why the cells of the binding tables are what they are: what draft-12 7.1.3 has in each, and whom we follow where it or dhcpd differs.

Facts and reasons only; binding.py decides. A cell on which dhcpd, the draft and we agree needs no reason (tests/leases hold that every
other one has its own, and no reason stands for a cell that does not need it).
"""

from __future__ import annotations

from enum import Enum
from itertools import product
from typing import NamedTuple

from failoverd.leases.binding import Rule
from failoverd.leases.lease import BindingState

FREE, ACTIVE, EXPIRED, RELEASED, ABANDONED, RESET, BACKUP = BindingState
Pair = tuple[BindingState, BindingState]


class Draft(Enum):
    """One cell of figure 7.1.3-1 of draft-12."""

    ACCEPT = "accept"
    SAME_CLIENT = "accept; as primary reject 2 when the clients differ"
    LATER_CLTT = "reject 15 unless its client-last-transaction-time is later"
    PAST_END = "reject 15 unless our end of the lease has passed"
    LATER_START = "reject 15 unless its client-last-transaction-time is later than our start-time-of-state"
    LESS_CRITICAL = "reject 16"


class Reason(NamedTuple):
    """`follows`: "isc" (dhcpd), "draft" or "ours"."""

    follows: str
    why: str


def _draft(local: BindingState, told: BindingState) -> Draft:
    """Figure 7.1.3-1; the received status is its column."""
    if local is ABANDONED:
        return Draft.ACCEPT if told in (RESET, ABANDONED) else Draft.LESS_CRITICAL
    if local is ACTIVE:
        timed = {ACTIVE: Draft.SAME_CLIENT, EXPIRED: Draft.PAST_END, RELEASED: Draft.LATER_CLTT}
        return timed.get(told, Draft.PAST_END if told in (FREE, BACKUP) else Draft.ACCEPT)
    if told is ACTIVE and local in (EXPIRED, RELEASED, RESET):
        return Draft.LATER_START if local is RESET else Draft.LATER_CLTT
    return Draft.LATER_CLTT if (local, told) == (RELEASED, EXPIRED) else Draft.ACCEPT


DRAFT: dict[Pair, Draft] = {(local, told): _draft(local, told) for local, told in product(BindingState, BindingState)}
"""(local state, message state) -> what the draft asks, in every state and both roles."""


def same_as_draft(rule: Rule, draft: Draft, *, primary: bool) -> bool:
    """Whether a cell of ours (in normal; `primary`: at which server) does what the draft asks, the number of the reject apart."""
    if draft is Draft.SAME_CLIENT:
        return rule is Rule.ACCEPT and not primary
    return (rule, draft) in ((Rule.ACCEPT, Draft.ACCEPT), (Rule.UNLESS_END, Draft.PAST_END))


_EITHER = Reason(
    "ours",
    "both conditions, dhcpd's and the draft's: with dhcpd's alone a BACKUP or FREE that is told again after a lost link ends a lease"
    " granted since, and the address goes to a second client",
)
_EXPIRES_HERE = Reason(
    "isc",
    "in normal the primary alone ends a lease (7.5); a secondary that calls a lease free or ended has not heard of its renewal",
)
_NO_RESET = Reason("isc", "nobody but the primary frees a lease that is ACTIVE at the primary; dhcpd makes no RESET any more")
_FREE_OVER_ACTIVE = Reason(
    "isc",
    "apart, our client may have renewed beyond the end that the partner knows; it may end the lease (EXPIRED) or say what its client"
    " did, not call the address free",
)
_RELEASED = Reason(
    "isc",
    "a release comes from the client itself, and dhcpd compares times in a duel only; a grant of ours that the partner has not acked"
    " duels, and so does what we confirmed since",
)
_RENEWED = Reason(
    "isc",
    "a grant beats an end: taking it keeps an address from others for a while, refusing it would let the address go to a second client",
)
_TWO_CLIENTS = Reason(
    "isc",
    "the later word stands and the conflict is told (`failoverctl conflicts`); in conflict resolution client-last-transaction-times"
    " decide (safety.md 19)",
)
_PROMISED = Reason(
    "isc", "the address was promised to a client beyond now: our own ended lease frees itself when the partner acks it (7.5)"
)
_LATE_END = Reason("isc", "both words mean that nobody holds it; what the partner acks becomes FREE either way")
_ABANDONED = Reason(
    "isc",
    "the partner may have cleared the quarantine, or its client holds the address and answers there; a reject would never end",
)


def _common(local: BindingState, told: BindingState) -> Reason | None:
    """What holds in every state and both roles."""
    if local is ABANDONED and told not in (ABANDONED, RESET):
        return _ABANDONED
    if told is ACTIVE and local in (EXPIRED, RELEASED, RESET):
        return _RENEWED
    if (local, told) == (RELEASED, EXPIRED):
        return _LATE_END
    return _RELEASED if (local, told) == (ACTIVE, RELEASED) else None


def _normal(primary: bool, local: BindingState, told: BindingState) -> Reason | None:
    if local in (EXPIRED, RESET) and told in (FREE, BACKUP):
        return _PROMISED
    if local is ACTIVE and told in (FREE, BACKUP):
        return _EXPIRES_HERE if primary else _EITHER
    if primary and local is ACTIVE and told in (ACTIVE, EXPIRED, RESET):
        return {ACTIVE: _TWO_CLIENTS, EXPIRED: _EXPIRES_HERE, RESET: _NO_RESET}[told]
    return _common(local, told)


def _otherwise(local: BindingState, told: BindingState) -> Reason | None:
    if local is ACTIVE and told in (FREE, BACKUP, ACTIVE):
        return _TWO_CLIENTS if told is ACTIVE else _FREE_OVER_ACTIVE
    return _common(local, told)


IN_NORMAL_WHY: dict[tuple[bool, BindingState, BindingState], Reason] = {
    (primary, local, told): reason
    for primary, local, told in product((True, False), BindingState, BindingState)
    if (reason := _normal(primary, local, told)) is not None
}
"""As binding.IN_NORMAL, the cells only that differ from dhcpd's or the draft's."""

OTHERWISE_WHY: dict[Pair, Reason] = {
    (local, told): reason for local, told in product(BindingState, BindingState) if (reason := _otherwise(local, told)) is not None
}
"""As binding.OTHERWISE, likewise; the draft's column for a primary is the stricter one and is the one compared."""

# --- dueling: the draft has no such table, its 7.1.3 is asked as for any other update ----------------------------------------------

_LATER = Reason("isc", "both must come to one winner from the same two times; the draft's answer depends on who asks")
_GRANT = Reason("isc", "a grant beats whatever was announced before it: its client has the address")
_ENDS_ONCE = Reason(
    "ours",
    "dhcpd's secondary yields to an EXPIRED of a lease that it has just renewed, and its primary to an ACTIVE: both yield, and each holds"
    " what the other had said. Ours stands on both; a lease that has ended meanwhile ends again, once, on the server that expires it",
)
_GRANT_STANDS = Reason(
    "ours",
    "by dhcpd's rule a secondary yields its grant to whatever the primary announces, while the primary yields to the grant: each holds what"
    " the other had said, and the lease is free on one side. Ours stands on both, beside a dhcpd primary, too",
)
_ONE_OF_TWO = Reason(
    "isc",
    "nobody holds the address, so it matters only that both follow one and the same rule, and the draft's two answers may cross",
)


def _duel(local: BindingState, told: BindingState) -> Reason:
    if told is ACTIVE:
        return _LATER if local is ACTIVE else _GRANT
    if local is ACTIVE:
        return _ENDS_ONCE if told is EXPIRED else _GRANT_STANDS
    return _ONE_OF_TWO


DUEL_WHY: dict[Pair, Reason] = {(local, told): _duel(local, told) for local, told in product(BindingState, BindingState)}
"""As binding.DUEL; total, since the draft has no such table."""
