"""Who may give an address to a client that does not hold it: failover-protocol.md 7.2 and 7.3 as a table, and nothing else.

The row is the free state that is ours to hand out: FREE for the primary, BACKUP for the secondary. What may forbid it beside the table
(a lone boot, a dispute, a rest) is allocate.py's.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from failoverd.leases.lease import BindingState

FREE, ACTIVE, EXPIRED, RELEASED, ABANDONED, RESET, BACKUP = BindingState


class May(Enum):
    """One cell."""

    NEVER = "never"
    NOW = "now; when partner-down was declared in doubt, like the partner's"
    AFTER_WAIT = "in partner-down only, MCLT beyond its entry and every expiry and potential expiry sent, acked or received"
    REWOUND = "now, alone, when the partner cannot have seen past our own free state; else like the partner's"


class Cell(NamedTuple):
    """What may be done, and where that differs from dhcpd or the draft, why."""

    may: May
    why: str


_WAIT = Cell(
    May.AFTER_WAIT,
    "Deviation: dhcpd waits MCLT beyond its entry or the potential expiry that the partner acked, the later one (7.3); the draft, which we"
    " follow, beyond every time that any of the two may have promised (draft-12 9.4, safety.md 12)",
)
_TRANSITION = Cell(
    May.REWOUND,
    "Deviation: both recycle what was announced to nobody (7.4); else dhcpd waits for the potential expiry only, in partner-down;"
    " we as the draft asks (safety.md 12)",
)
_ROWS: dict[BindingState, dict[BindingState, Cell]] = {
    own: {
        own: Cell(May.NOW, "our own half"),
        other: _WAIT,
        ACTIVE: Cell(May.NEVER, "its own client may renew with either server"),
        EXPIRED: _TRANSITION,
        RELEASED: _TRANSITION,
        RESET: _TRANSITION._replace(
            why="Deviation: dhcpd in partner-down only, and it makes none; ours are quarantines that ended untold"
        ),
        ABANDONED: Cell(
            May.NEVER, "Deviation: dhcpd's primary gives it out when nothing else is left; ours rests until its quarantine ends"
        ),
    }
    for own, other in ((FREE, BACKUP), (BACKUP, FREE))
}
MAY_ALLOCATE: dict[tuple[BindingState, BindingState], Cell] = {
    (own, state): cell for own, row in _ROWS.items() for state, cell in row.items()
}
"""(our own free state, the address's state) -> cell."""
