"""What ISC dhcpd 4.4.3-P1 does in failover, as data: failover-protocol.md 5 and 6 (read in its source, most of it seen live).

The partner of the exploration and of the simulator is driven by these tables (dhcpd_model.py); a test mutates them. They are dhcpd's,
faults included: EXIT is where its process ends, SHUTDOWN where it stops serving until somebody repairs it by hand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from failoverd.failover.message import ServerState
from failoverd.leases.lease import BindingState

S = ServerState
B = BindingState


class Act(StrEnum):
    """What a STATE makes dhcpd do."""

    STAY = "stay"
    MOVE = "move"
    PUSH_MOVE = "push, then move"  # legend U of 5.4
    ASK_ALL = "UPDREQALL"  # legend A; not while in startup
    ASK = "UPDREQ, if the peer was in potential-conflict before"  # legend R
    EXIT = "the process ends"


class Cell(NamedTuple):
    """One cell of the state matrix. `to`: with MOVE and PUSH_MOVE."""

    act: Act
    to: ServerState | None = None


SHORT = {
    "N": S.NORMAL,
    "CI": S.COMMUNICATIONS_INTERRUPTED,
    "PD": S.PARTNER_DOWN,
    "PC": S.POTENTIAL_CONFLICT,
    "R": S.RECOVER,
    "P": S.PAUSED,
    "SD": S.SHUTDOWN,
    "RD": S.RECOVER_DONE,
    "RI": S.RESOLUTION_INTERRUPTED,
    "CD": S.CONFLICT_DONE,
    "RW": S.RECOVER_WAIT,
}
_COLUMNS = ("0", "N", "CI", "PD", "PC", "R", "P", "SD", "RD", "RI", "CD", "RW")
_MATRIX = """
N    -  -   -   PC  SD  PD  CI  PD  -   SD  SD  -
CI   -  +N  +N  PC  PC  PD  -   PD  +N  PC  PC  +N
PD   -  PC  PC  PC  PC  -   -   -   N   PC  PC  -
PC   -  SD  -   -   -   R   -   PD  -   -   ?   -
RI   -  PC  PC  PC  PC  PC  -   PD  PC  PC  PC  PC
CD   x  N   x   x   -   x   x   SD  x   -   x   x
R    -  PC  *   *   PC  *   -   PD  -   PC  PC  -
RW   -  -   -   -   -   -   -   -   -   -   -   -
RD   -  N   -   -   -   -   -   PD  N   -   -   -
SD   -  -   -   -   -   -   -   -   -   -   -   -
P    -  -   -   -   -   -   -   -   -   -   -   -
"""
"""5.4 step C. Rows: dhcpd's state (the saved one in startup). `+` push updates first, `*` UPDREQALL, `?` UPDREQ, `x` exit."""


def _cell(text: str) -> Cell:
    plain = {"-": Act.STAY, "x": Act.EXIT, "*": Act.ASK_ALL, "?": Act.ASK}
    if text in plain:
        return Cell(plain[text])
    if text.startswith("+"):
        return Cell(Act.PUSH_MOVE, SHORT[text[1:]])
    return Cell(Act.MOVE, SHORT[text])


def _read() -> dict[tuple[ServerState, ServerState], Cell]:
    cells: dict[tuple[ServerState, ServerState], Cell] = {}
    for line in _MATRIX.split("\n")[1:-1]:
        name, *row = line.split()
        for column, text in zip(_COLUMNS, row, strict=True):
            for peer in (S.UNKNOWN, S.STARTUP) if column == "0" else (SHORT[column],):
                cells[SHORT[name], peer] = _cell(text)
    for peer in S:
        cells[S.UNKNOWN, peer] = Cell(Act.STAY)
    return cells


ON_STATE = _read()
FROM_STARTUP = {(S.NORMAL, S.PARTNER_DOWN): Cell(Act.MOVE, S.RECOVER)}
"""Where the row of the saved state differs in startup."""

IGNORES_DUPLICATE = frozenset({S.UNKNOWN, S.NORMAL, S.POTENTIAL_CONFLICT, S.RECOVER_DONE, S.SHUTDOWN, S.PAUSED, S.RECOVER_WAIT})
"""5.4 step A: states in which a STATE equal to the recorded one is ignored (startup leaves for the saved state instead)."""

ON_LOSS = {state: state for state in S} | {
    S.NORMAL: S.COMMUNICATIONS_INTERRUPTED,
    S.POTENTIAL_CONFLICT: S.RESOLUTION_INTERRUPTED,
    S.UNKNOWN: S.RESOLUTION_INTERRUPTED,
}
"""5.5."""

RESCINDS = frozenset({S.NORMAL, S.POTENTIAL_CONFLICT, S.PARTNER_DOWN})
"""5.3 step 1: leaving one of these puts what is in flight back to the front of the queue."""

SERVES = {S.NORMAL: "cooperating", S.COMMUNICATIONS_INTERRUPTED: "not cooperating", S.PARTNER_DOWN: "partner-down"}
"""5.1; every other state answers nobody."""

MUTED_BY_PEER = frozenset({S.PARTNER_DOWN, S.POTENTIAL_CONFLICT, S.RESOLUTION_INTERRUPTED, S.CONFLICT_DONE})
"""5.2: recorded peer states that silence it in every serving state, an ordered partner-down included."""

UPDDONE_SKIPS_WAIT = frozenset({S.RECOVER, S.RECOVER_DONE})


def upddone(me: ServerState, partner: int, primary: bool) -> Cell:
    """5.6 without the recover rows, whose wait the model knows."""
    if me is not S.POTENTIAL_CONFLICT:
        return Cell(Act.STAY)
    if partner == S.CONFLICT_DONE:
        return Cell(Act.MOVE, S.SHUTDOWN if primary else S.NORMAL)
    return Cell(Act.MOVE, S.CONFLICT_DONE) if primary else Cell(Act.STAY)


class Take(StrEnum):
    """What becomes of a BNDUPD (6.3 step 10)."""

    ACCEPT = "accept"
    REJECT = "reject 2"
    UNLESS_POTENTIAL = "accept unless the message's potential expiry lies ahead"
    UNLESS_END = "accept unless our end lies more than 65 s ahead"
    EXIT = "the process ends"


TOLERANCE_S = 65


def takes(normal: bool, primary: bool, local: BindingState, told: int) -> Take:
    """6.3: the transition checks in normal and in every other state."""
    if local == told:
        return Take.ACCEPT
    known = told in tuple(B)
    if not normal:
        if local is not B.ACTIVE:
            return Take.ACCEPT
        if not known:
            return Take.EXIT
        return {B.FREE: Take.REJECT, B.BACKUP: Take.REJECT, B.EXPIRED: Take.UNLESS_END}.get(B(told), Take.ACCEPT)
    if local is B.ACTIVE and primary:
        return Take.ACCEPT if told in (B.RELEASED, B.ABANDONED) else Take.REJECT
    if not known:
        return Take.EXIT
    if local in (B.EXPIRED, B.RESET):
        return Take.UNLESS_POTENTIAL if told in (B.FREE, B.BACKUP) else Take.ACCEPT
    if local is not B.ACTIVE:
        return Take.ACCEPT
    if told in (B.FREE, B.BACKUP):
        return Take.UNLESS_POTENTIAL
    return Take.UNLESS_END if told == B.EXPIRED else Take.ACCEPT


def ours_is_better(local: BindingState, local_cltt: int, told: int, cltt: int, primary: bool) -> bool:
    """6.4: whether dhcpd's un-acked update beats the message (reject 16)."""
    if local is B.ACTIVE and told == B.ACTIVE:
        return local_cltt > cltt or (local_cltt == cltt and primary)
    if told == B.ACTIVE or (local is B.ACTIVE and told == B.EXPIRED):
        return False
    return primary


@dataclass(slots=True)
class Tables:
    """The tables as one model uses them; a test plants a bad cell in its own copy."""

    on_state: dict[tuple[ServerState, ServerState], Cell] = field(default_factory=lambda: dict(ON_STATE))
    on_loss: dict[ServerState, ServerState] = field(default_factory=lambda: dict(ON_LOSS))
