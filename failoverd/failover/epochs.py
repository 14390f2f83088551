"""Which of two failoverd recovers from the other after a partner-down: safety.md 17 as a table, and nothing else.

Asked by a server in normal or communications-interrupted, as it runs or as it was saved, whose partner is in partner-down; everywhere
else states.py decides alone. An epoch is raised at each partner-down. The two agree on one when each has heard the other's normal: the
newest of both. Raised means beyond what was agreed on last, so equal epochs do not mean that nobody raised one.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from failoverd.failover.message import ServerState

S = ServerState
JUDGES = frozenset({S.NORMAL, S.COMMUNICATIONS_INTERRUPTED})
"""Our states for which this table is asked. In partner-down both have raised theirs, and states.py says potential-conflict; in all others
this server is recovering, in conflict, or at rest already."""


class Raised(StrEnum):
    """Whose epoch is newer than the one that both agreed on last."""

    UNTOLD = "not told"  # a plain link, a partner of an older dialect, or never agreed
    NEITHER = "neither's"
    OURS = "ours"
    THEIRS = "the partner's"
    BOTH = "both"


class Then(StrEnum):
    """What follows."""

    STATES = "as states.py says"
    RECOVER = "recover"
    CONFLICT = "potential-conflict"


class Cell(NamedTuple):
    """One cell. `text`: for the history, with {theirs} and {ours}; "" where states.py says it."""

    then: Then
    text: str
    why: str


_STATES = Cell(Then.STATES, "", "dhcpd's rows: a saved normal recovers, communications-interrupted resolves (5.4)")
_CANNOT = Cell(
    Then.CONFLICT,
    "the partner is in partner-down, but its epoch {theirs} is not newer than what both agreed on (ours is {ours})",
    "partner-down raises the epoch, so one of the two records is not what it was: nothing is taken for granted",
)
_BOTH = Cell(
    Then.CONFLICT,
    "both servers were in partner-down since they last agreed (its epoch is {theirs}, ours {ours})",
    "both may have given away the other's addresses",
)
DECIDES: dict[tuple[Raised, bool], Cell] = {
    (Raised.UNTOLD, False): _STATES,
    (Raised.UNTOLD, True): _STATES,
    (Raised.NEITHER, False): _CANNOT,
    (Raised.NEITHER, True): _CANNOT,
    (Raised.OURS, False): _CANNOT,
    (Raised.OURS, True): _CANNOT,
    (Raised.THEIRS, False): Cell(
        Then.RECOVER,
        "recovers from the partner: its epoch {theirs} is newer than our {ours}, and nothing was granted here since the last contact"
        " that it could not know to be in use",
        "Deviation: dhcpd in communications-interrupted resolves, even when it served nobody. What was granted under the bound of"
        " safety.md 11 ended before the partner might use the address",
    ),
    (Raised.THEIRS, True): Cell(
        Then.CONFLICT,
        "the partner's epoch {theirs} is newer than our {ours}, but leases were granted here since the last contact that it does not"
        " know of",
        "Deviation: dhcpd whose saved state is normal recovers, although it may have granted after the link was cut and before it"
        " noticed: the partner may have given the same addresses away",
    ),
    (Raised.BOTH, False): _BOTH,
    (Raised.BOTH, True): _BOTH,
}
"""(whose epoch was raised, we granted beyond the bound of safety.md 11 since the last contact) -> cell."""


def raised(agreed: int | None, ours: int, theirs: int, *, told: bool) -> Raised:
    """`agreed`: what both agreed on last, None for never; `told`: whether this link carries epochs."""
    if agreed is None or not told:
        return Raised.UNTOLD
    if theirs > agreed:
        return Raised.BOTH if ours > agreed else Raised.THEIRS
    return Raised.OURS if ours > agreed else Raised.NEITHER
