"""The server state machine as tables, and nothing else: what a STATE, a lost link, an UPDDONE and the entry to a state cause.

This room decides which state follows; it must not know how the endpoint carries it out. Sections are of failover-protocol.md 5
(dhcpd 4.4.3-P1) and draft-12 9.

Laws of the file:

* Every table is total: own states 0..11 and 254; partner states the same, and None for any other number (`peer_state`).
* In startup the row is the *saved* state's (`on_state`), and a cell that stays means "enter the saved state" (5.4 step D).
* A cell never ends the process and never moves to shutdown. Where dhcpd does either, the cell refuses, or goes on in a way that
  both partners can follow; each such cell says so ("Deviation:").
* REFUSE: record nothing of what the partner said, drop the link, put down the cell's note. What follows is ON_LOSS, and both come
  back through communications-interrupted or resolution-interrupted, from where each row leads on.
* UPDREQALL and UPDREQ mean: send it unless one is outstanding on this link.
* From every pair of states of two linked failoverd the rows lead to normal on both (tests/failover/test_states.py walks them).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from failoverd.failover.message import ServerState
from failoverd.notes import declare

S = ServerState
Peer = ServerState | None
PEERS: tuple[Peer, ...] = (*ServerState, None)

ILLEGAL = declare(
    "partner-state-illegal",
    "warning",
    "The partner reported a state that cannot meet ours (for example potential-conflict while we are in normal). The link is "
    "dropped, so that both servers pass through communications-interrupted and meet again. dhcpd goes to shutdown here and stays.",
)
INVALID = declare(
    "partner-state-invalid",
    "error",
    "The partner reported a state number that the protocol does not know. The link is dropped and nothing is recorded. Look at the "
    "partner's version; if this repeats, the two cannot work together.",
)
CUT_SHORT = declare(
    "recover-cut-short",
    "warning",
    "This server was recovering when it found its partner in conflict resolution, and takes part in that at once: a dhcpd partner "
    "accepts nothing else. The wait of MCLT for leases that this server granted before it lost its data is not kept.",
)
ALONE_IN_RECOVER = declare(
    "partner-shutdown-in-recover",
    "error",
    "The partner shut down while this server was still recovering from it. This server does not know the partner's leases, so it "
    "goes on serving nobody until the partner returns or an operator declares partner-down.",
)


class Action(StrEnum):
    """What a cell asks of the endpoint."""

    STAY = "stay"
    MOVE = "move"  # to `next`
    PUSH_MOVE = "push-move"  # put owed BNDUPDs on the link first, then move to `next` (legend U)
    UPDREQALL = "updreqall"  # stay and ask for everything (legend A)
    UPDREQ = "updreq"  # stay and ask for what is owed (legend R)
    REFUSE = "refuse"


@dataclass(slots=True, frozen=True)
class Cell:
    """One cell. `next`: with MOVE and PUSH_MOVE. `note`: the Note to put down; always with REFUSE. `follows`: "isc", "draft" or
    "ours"."""

    action: Action
    next: ServerState | None = None
    note: str | None = None
    follows: str = "isc"
    why: str = ""


def _stay(why: str, follows: str = "isc") -> Cell:
    return Cell(Action.STAY, follows=follows, why=why)


def _move(to: ServerState, why: str, follows: str = "isc", note: str | None = None) -> Cell:
    return Cell(Action.MOVE, to, note, follows, why)


def _push(to: ServerState, why: str) -> Cell:
    return Cell(Action.PUSH_MOVE, to, why=why)


def _refuse(note: str, why: str) -> Cell:
    return Cell(Action.REFUSE, note=note, follows="ours", why=why)


def _ask_all(why: str, follows: str = "isc") -> Cell:
    return Cell(Action.UPDREQALL, follows=follows, why=why)


_UNKNOWN_PEER = _stay("the partner has not said where it is")
_NO_NUMBER = _refuse(INVALID, "Deviation: dhcpd goes to shutdown for good (5.4 step B)")


def _row(cells: dict[tuple[ServerState, ...], Cell]) -> dict[Peer, Cell]:
    """A row from groups of partner states; 0, 1 and None are the same in every row."""
    row: dict[Peer, Cell] = {S.UNKNOWN: _UNKNOWN_PEER, S.STARTUP: _UNKNOWN_PEER, None: _NO_NUMBER}
    for peers, cell in cells.items():
        for peer in peers:
            if peer in row:
                raise AssertionError(f"{peer.words} twice in one row")
            row[peer] = cell
    if len(row) != len(PEERS):
        raise AssertionError("a row with holes")
    return row


_DROP_FIRST = (
    "Deviation: dhcpd goes to shutdown; from communications-interrupted the same STATE leads to potential-conflict (10.2 #9)"
)
RECOVERING = (S.RECOVER, S.RECOVER_WAIT, S.RECOVER_DONE)
CONFLICTING = (S.POTENTIAL_CONFLICT, S.RESOLUTION_INTERRUPTED, S.CONFLICT_DONE)

_NORMAL = _row(
    {
        (S.NORMAL,): _stay("both normal: schedule a pool balance"),
        (S.COMMUNICATIONS_INTERRUPTED,): _stay("it sees our normal and follows"),
        (S.PARTNER_DOWN,): _move(S.POTENTIAL_CONFLICT, "both have allocated (draft-12 9.8)"),
        CONFLICTING: _refuse(ILLEGAL, _DROP_FIRST),
        (S.RECOVER,): _move(S.PARTNER_DOWN, "it serves nobody and takes everything from us"),
        (S.PAUSED,): _move(S.COMMUNICATIONS_INTERRUPTED, "it is away for a short while (draft-12 9.12)"),
        (S.SHUTDOWN,): _move(S.PARTNER_DOWN, "it says that it stops serving (draft-12 9.11)"),
        (S.RECOVER_DONE,): _stay("it sees our normal and follows"),
        (S.RECOVER_WAIT,): _stay("it waits, then reports recover-done"),
    }
)
_COMMUNICATIONS_INTERRUPTED = _row(
    {
        (S.NORMAL, S.COMMUNICATIONS_INTERRUPTED, S.RECOVER_DONE): _push(S.NORMAL, "contact again (draft-12 9.6)"),
        (S.PARTNER_DOWN, *CONFLICTING): _move(S.POTENTIAL_CONFLICT, "both have allocated (draft-12 9.6, 9.8)"),
        (S.RECOVER,): _move(S.PARTNER_DOWN, "it serves nobody and takes everything from us; the draft would stay (10.1)"),
        (S.PAUSED,): _stay("it is away still"),
        (S.SHUTDOWN,): _move(S.PARTNER_DOWN, "it says that it stops serving (draft-12 9.11)"),
        (S.RECOVER_WAIT,): _stay(
            "Deviation: dhcpd goes to normal at once, and may free leases that the partner extended before it fell (safety 14)",
            "draft",
        ),
    }
)
_PARTNER_DOWN = _row(
    {
        (S.NORMAL, S.COMMUNICATIONS_INTERRUPTED, S.PARTNER_DOWN, *CONFLICTING): _move(
            S.POTENTIAL_CONFLICT, "both have allocated (draft-12 9.4, 9.8)"
        ),
        (S.RECOVER, S.RECOVER_WAIT): _stay("it takes everything from us, and waits"),
        (S.PAUSED, S.SHUTDOWN): _stay("it serves nobody"),
        (S.RECOVER_DONE,): _move(
            S.NORMAL, "it has everything and has waited (draft-12 9.4); first it hears what we gave meanwhile"
        ),
    }
)
_POTENTIAL_CONFLICT = _row(
    {
        (S.NORMAL,): _refuse(
            ILLEGAL, "Deviation: dhcpd goes to shutdown; after the link it is communications-interrupted and follows"
        ),
        (S.COMMUNICATIONS_INTERRUPTED, S.PARTNER_DOWN): _stay("it sees our potential-conflict and follows"),
        (S.POTENTIAL_CONFLICT, S.RESOLUTION_INTERRUPTED): _stay("the primary has asked with UPDREQ on entry"),
        (S.RECOVER,): _move(S.RECOVER, "its data is gone: both take what the other has"),
        (S.PAUSED,): _stay("it is away for a short while"),
        (S.SHUTDOWN,): _move(S.PARTNER_DOWN, "it says that it stops serving"),
        (S.RECOVER_DONE,): _move(
            S.RECOVER, "Deviation: dhcpd waits for ever, since recover-done waits for normal or recover-done (10.2 #15)", "ours"
        ),
        (S.CONFLICT_DONE,): Cell(Action.UPDREQ, why="the primary has our bindings, now we ask for its own"),
        (S.RECOVER_WAIT,): _stay("it reports recover-done in time"),
    }
)
_RESOLUTION_INTERRUPTED = _row(
    {
        (S.NORMAL, S.COMMUNICATIONS_INTERRUPTED, S.PARTNER_DOWN, *CONFLICTING, S.RECOVER, S.RECOVER_WAIT): _move(
            S.POTENTIAL_CONFLICT, "contact again, start over (draft-12 9.9)"
        ),
        (S.PAUSED,): _stay("it is away for a short while"),
        (S.SHUTDOWN,): _move(S.PARTNER_DOWN, "it says that it stops serving"),
        (S.RECOVER_DONE,): _move(S.RECOVER, "Deviation: dhcpd goes to potential-conflict, which recover-done never meets", "ours"),
    }
)
_CONFLICT_DONE = _row(
    {
        (S.NORMAL,): _move(S.NORMAL, "it has our bindings, too (draft-12 9.10)"),
        (S.POTENTIAL_CONFLICT, S.RESOLUTION_INTERRUPTED): _stay("it sees our conflict-done and asks with UPDREQ"),
        (S.COMMUNICATIONS_INTERRUPTED, S.PARTNER_DOWN, S.RECOVER, S.CONFLICT_DONE): _move(
            S.POTENTIAL_CONFLICT, "Deviation: dhcpd's process ends; we start over, which each of these follows", "ours"
        ),
        (S.PAUSED, S.RECOVER_WAIT): _stay("Deviation: dhcpd's process ends; it comes back to us by itself", "ours"),
        (S.SHUTDOWN,): _move(S.PARTNER_DOWN, "Deviation: dhcpd shuts itself down as well, and nobody serves", "ours"),
        (S.RECOVER_DONE,): _move(
            S.NORMAL, "Deviation: dhcpd's process ends; we have its bindings, it serves nobody and takes ours in normal", "ours"
        ),
    }
)
_RECOVER = _row(
    {
        (S.COMMUNICATIONS_INTERRUPTED, S.PARTNER_DOWN, S.RECOVER): _ask_all("ask for everything (draft-12 9.5)"),
        (S.NORMAL,): _ask_all(
            "Deviation: dhcpd goes to potential-conflict; our recover moves it to partner-down, as any other", "ours"
        ),
        (S.POTENTIAL_CONFLICT,): _ask_all(
            "Deviation: dhcpd joins the conflict without its wait; our recover moves the other here", "ours"
        ),
        (S.RECOVER_DONE, S.RECOVER_WAIT): _ask_all(
            "Deviation: dhcpd stays, and after a link lost in between nobody asks again (10.2 #14)", "ours"
        ),
        (S.RESOLUTION_INTERRUPTED,): _ask_all(
            "Deviation: dhcpd joins the conflict; ours would do so without what it has forgotten, and nobody would wait for that",
            "ours",
        ),
        (S.CONFLICT_DONE,): _move(
            S.POTENTIAL_CONFLICT,
            "a dhcpd there takes nothing else: in conflict-done it exits on 6, 9, 254 (10.4)",
            "isc",
            CUT_SHORT,
        ),
        (S.PAUSED,): _stay("it is away for a short while"),
        (S.SHUTDOWN,): Cell(
            Action.STAY,
            note=ALONE_IN_RECOVER,
            follows="ours",
            why="Deviation: dhcpd goes to partner-down, ignorant of the partner's leases, and would give them twice",
        ),
    }
)
_RECOVER_WAIT = _row(
    {
        (S.RECOVER,): _move(
            S.RECOVER, "Deviation: dhcpd waits on; see recover-done. The end of the wait stays where it is (safety 14)", "ours"
        ),
        (S.CONFLICT_DONE,): _move(
            S.POTENTIAL_CONFLICT, "Deviation: dhcpd waits on; a dhcpd in conflict-done takes nothing else", "ours", CUT_SHORT
        ),
        tuple(s for s in S if s not in (S.UNKNOWN, S.STARTUP, S.RECOVER, S.CONFLICT_DONE)): _stay("only time ends it (10.2 #15)"),
    }
)
_RECOVER_DONE = _row(
    {
        (S.NORMAL, S.RECOVER_DONE): _move(S.NORMAL, "both have everything (draft-12 9.7)"),
        (S.COMMUNICATIONS_INTERRUPTED, S.PARTNER_DOWN): _stay("it sees our recover-done and goes to normal"),
        (S.RECOVER,): _move(
            S.RECOVER,
            "Deviation: dhcpd stays; a dhcpd that lost its link, or its process, while it recovered asks again only when it meets "
            "recover, communications-interrupted or partner-down, and both would wait for ever",
            "ours",
        ),
        (S.RECOVER_WAIT,): _stay("it reports recover-done in time"),
        (S.PAUSED,): _stay("it is away for a short while"),
        (S.SHUTDOWN,): _move(S.PARTNER_DOWN, "it says that it stops serving; we have everything"),
        CONFLICTING: _move(S.POTENTIAL_CONFLICT, "Deviation: dhcpd waits for ever; a primary in conflict-done exits on 9", "ours"),
    }
)
_AT_REST = _row({tuple(s for s in S if s not in (S.UNKNOWN, S.STARTUP)): _stay("an operator put it here and takes it out")})
_BY_SAVED = _row({tuple(s for s in S if s not in (S.UNKNOWN, S.STARTUP)): _stay("the row is the saved state's")})

_ROWS: dict[ServerState, dict[Peer, Cell]] = {
    S.UNKNOWN: _AT_REST,
    S.STARTUP: _BY_SAVED,
    S.NORMAL: _NORMAL,
    S.COMMUNICATIONS_INTERRUPTED: _COMMUNICATIONS_INTERRUPTED,
    S.PARTNER_DOWN: _PARTNER_DOWN,
    S.POTENTIAL_CONFLICT: _POTENTIAL_CONFLICT,
    S.RECOVER: _RECOVER,
    S.PAUSED: _AT_REST,
    S.SHUTDOWN: _AT_REST,
    S.RECOVER_DONE: _RECOVER_DONE,
    S.RESOLUTION_INTERRUPTED: _RESOLUTION_INTERRUPTED,
    S.CONFLICT_DONE: _CONFLICT_DONE,
    S.RECOVER_WAIT: _RECOVER_WAIT,
}
ON_STATE: dict[tuple[ServerState, Peer], Cell] = {(me, peer): cell for me, row in _ROWS.items() for peer, cell in row.items()}
"""5.4 step C: (my state, partner's new state) -> cell."""

FROM_STARTUP: dict[tuple[ServerState, Peer], Cell] = {
    (S.NORMAL, S.PARTNER_DOWN): _move(S.RECOVER, "we fell, it was declared alone, we served nobody since (5.4, row normal)"),
    (S.NORMAL, S.RECOVER_WAIT): _move(
        S.COMMUNICATIONS_INTERRUPTED,
        "Deviation: dhcpd enters normal, leaves half of the clients to a partner that serves nobody, and never tells it normal again",
        "ours",
    ),
}
"""Where the row of the saved state differs in startup."""

_HAS_LOST_ALL = _move(
    S.PARTNER_DOWN,
    "it has lost its database, and the conflict with it: it takes from us what we have; what it gave is waited for",
    "ours",
)
AT_A_FAILOVERD: dict[tuple[ServerState, Peer], Cell] = {
    (S.POTENTIAL_CONFLICT, S.RECOVER): _HAS_LOST_ALL,
    (S.RESOLUTION_INTERRUPTED, S.RECOVER): _HAS_LOST_ALL,
    (S.CONFLICT_DONE, S.RECOVER): _HAS_LOST_ALL,
    (S.RECOVER, S.CONFLICT_DONE): _stay("our recover moves it to partner-down, where a dhcpd would exit", "ours"),
    (S.RECOVER_WAIT, S.CONFLICT_DONE): _stay("it stays until we report recover-done; the wait is kept (safety 14)", "ours"),
}
"""Where the row differs towards a partner that is no dhcpd. What a partner lost, only a server with its own database can give it."""

IGNORES_DUPLICATE: frozenset[ServerState] = frozenset({S.UNKNOWN, S.NORMAL, S.SHUTDOWN, S.PAUSED})
"""5.4 step A: own states in which a STATE equal to the recorded one is ignored; their rows stay anyway. Deviation: dhcpd has
startup, potential-conflict, recover-wait and recover-done here as well, so that an unchanged partner is not answered after a reconnect or a
restart and both wait for ever (10.2 #8, #15)."""


def peer_state(number: int | None) -> Peer:
    """The partner's state of option 24. An absent option reads as 0 (2.2); None: a number that the protocol does not know."""
    if number is None:
        return S.UNKNOWN
    try:
        return ServerState(number)
    except ValueError:
        return None


def on_state(
    me: ServerState, peer: Peer, *, saved: ServerState, startup_flag: bool = False, dhcpd: bool = True, forgetful: bool = False
) -> Cell:
    """The cell for a STATE from the partner, after the duplicate filter. `saved`: the state on disk, looked up when `me` is
    startup. `startup_flag`: the partner's, which only partner-down honours (5.3). `dhcpd`: whether the partner is one. `forgetful`: our
    own database is not the earlier one."""
    row = saved if me is S.STARTUP else me
    if row is S.PARTNER_DOWN and startup_flag and peer is not None:
        cell = _stay("the partner has only just started, and will say what it makes of our partner-down")
    elif me is S.STARTUP:
        cell = FROM_STARTUP.get((row, peer)) or ON_STATE[row, peer]
    else:
        cell = ON_STATE[row, peer]
    if not dhcpd and not (forgetful and peer is S.RECOVER):
        cell = AT_A_FAILOVERD.get((row, peer), cell)
    if me is S.STARTUP and cell.action in (Action.STAY, Action.UPDREQALL, Action.UPDREQ):
        return replace(cell, action=Action.MOVE, next=saved)
    return cell


ON_LOSS: dict[ServerState, ServerState] = {
    S.UNKNOWN: S.RESOLUTION_INTERRUPTED,
    S.STARTUP: S.STARTUP,
    S.NORMAL: S.COMMUNICATIONS_INTERRUPTED,
    S.COMMUNICATIONS_INTERRUPTED: S.COMMUNICATIONS_INTERRUPTED,
    S.PARTNER_DOWN: S.PARTNER_DOWN,
    S.POTENTIAL_CONFLICT: S.RESOLUTION_INTERRUPTED,
    S.RECOVER: S.RECOVER,
    S.PAUSED: S.PAUSED,
    S.SHUTDOWN: S.SHUTDOWN,
    S.RECOVER_DONE: S.RECOVER_DONE,
    S.RESOLUTION_INTERRUPTED: S.RESOLUTION_INTERRUPTED,
    S.CONFLICT_DONE: S.CONFLICT_DONE,
    S.RECOVER_WAIT: S.RECOVER_WAIT,
}
"""5.5: the state after a lost link, or when the startup timer fires; in startup the saved state's row (`on_loss`). Updates in
flight go back to the queue in every state (Deviation: dhcpd forgets them in some, 6.7)."""


def on_loss(me: ServerState, saved: ServerState) -> ServerState:
    """The state after the link was lost or, in startup, after STARTUP_S without a partner."""
    return ON_LOSS[saved if me is S.STARTUP else me]


def on_upddone(me: ServerState, *, primary: bool, partner: ServerState) -> Cell:
    """5.6: the cell for an UPDDONE that answers our outstanding request. recover -> recover-wait always; the endpoint passes it at
    once when the wait of safety 14 is over. dhcpd skips it when the partner recovers too (UPDDONE_SKIPS_WAIT); safety 16 says when
    we may."""
    return ON_UPDDONE[me, primary, partner is S.CONFLICT_DONE]


_SPURIOUS = _stay("spurious, ignored (10.2 #16)")
ON_UPDDONE: dict[tuple[ServerState, bool, bool], Cell] = {
    (me, role, done): _SPURIOUS for me in S for role in (True, False) for done in (True, False)
}
ON_UPDDONE |= {
    (S.POTENTIAL_CONFLICT, False, True): _move(S.NORMAL, "secondary: the primary's bindings are here, and it has ours"),
    (S.POTENTIAL_CONFLICT, True, True): _refuse(ILLEGAL, "Deviation: dhcpd goes to shutdown; only a primary enters conflict-done"),
    (S.POTENTIAL_CONFLICT, True, False): _move(S.CONFLICT_DONE, "primary: the secondary's bindings are here"),
    (S.RECOVER, True, False): _move(S.RECOVER_WAIT, "everything is here"),
    (S.RECOVER, False, False): _move(S.RECOVER_WAIT, "everything is here"),
    (S.RECOVER, True, True): _move(S.RECOVER_WAIT, "everything is here"),
    (S.RECOVER, False, True): _move(S.RECOVER_WAIT, "everything is here"),
}
"""(my state, I am primary, partner is in conflict-done) -> cell."""

UPDDONE_SKIPS_WAIT: frozenset[ServerState] = frozenset({S.RECOVER, S.RECOVER_DONE})
"""5.6: partner states in which dhcpd goes from recover to recover-done without its wait (a fresh pair)."""


class Entry(StrEnum):
    """What entering a state starts (5.3 step 7)."""

    NONE = "none"
    STARTUP_TIMER = "startup-timer"  # STARTUP_S, then the row of ON_LOSS
    BALANCE = "balance"  # rebalance without POOLREQ; queue all that is owed, and all expired, released and reset leases
    AUTO_PARTNER_DOWN = "auto-partner-down"  # arm the timer when configured
    UPDREQ = "updreq"  # see `asks_on_conflict`
    UPDREQALL = "updreqall"  # when linked
    WAIT = "wait"  # until the wait of safety 14 is over, then recover-done
    TAKE_OVER = "take-over"  # start the waits of safety 12


ON_ENTRY: dict[ServerState, Entry] = dict.fromkeys(S, Entry.NONE) | {
    S.STARTUP: Entry.STARTUP_TIMER,
    S.NORMAL: Entry.BALANCE,
    S.COMMUNICATIONS_INTERRUPTED: Entry.AUTO_PARTNER_DOWN,
    S.POTENTIAL_CONFLICT: Entry.UPDREQ,
    S.RECOVER: Entry.UPDREQALL,
    S.RECOVER_WAIT: Entry.WAIT,
    S.PARTNER_DOWN: Entry.TAKE_OVER,
}
STARTUP_S = 15
"""5.7: how long a starting server waits for its partner."""

KEEPS_SINCE: frozenset[ServerState] = frozenset({S.RECOVER_WAIT, S.STARTUP})
"""5.3 step 2: states whose entry keeps the start-time-of-state. Deviation: leaving startup for another state than the saved one
counts as an entry (5.8: dhcpd keeps last week's time and skips the recover-wait)."""


def asks_on_conflict(*, primary: bool, partner: ServerState, partner_is_dhcpd: bool = False) -> bool:
    """Whether entering potential-conflict sends UPDREQ: the primary at once, the secondary when the primary is done (5.3 step 7).
    Deviation: the secondary of a dhcpd at once as well. dhcpd compares nothing and takes our claim on each address; so we hear its
    claims first, judge, and then tell only the winners (safety.md 20)."""
    return primary or partner is S.CONFLICT_DONE or partner_is_dhcpd


class Service(StrEnum):
    """5.1: how clients are served."""

    STARTUP = "startup"
    COOPERATING = "cooperating"  # load balanced, own free leases
    NOT_COOPERATING = "not-cooperating"  # everybody, own free leases
    PARTNER_DOWN = "partner-down"  # everybody, and the partner's leases in time
    RESOLVING = "resolving"  # only clients that are ACTIVE in our own table are renewed (safety.md 19)
    NOT_RESPONDING = "not-responding"


SERVICE: dict[ServerState, Service] = dict.fromkeys(S, Service.NOT_RESPONDING) | {
    S.STARTUP: Service.STARTUP,
    S.NORMAL: Service.COOPERATING,
    S.COMMUNICATIONS_INTERRUPTED: Service.NOT_COOPERATING,
    S.PARTNER_DOWN: Service.PARTNER_DOWN,
    S.POTENTIAL_CONFLICT: Service.RESOLVING,
    S.RESOLUTION_INTERRUPTED: Service.RESOLVING,
    S.CONFLICT_DONE: Service.RESOLVING,
}
"""Deviation: dhcpd serves nobody in potential-conflict, resolution-interrupted and conflict-done; the draft everybody in the last two
(9.9, 9.10). Ours: existing clients are renewed, for MCLT at most, until the partner's claim on the address has come (safety.md 19)."""
MUTED_BY_PEER: frozenset[ServerState] = frozenset({S.PARTNER_DOWN, *CONFLICTING})
"""5.2: recorded partner states that silence us in normal and communications-interrupted."""


def service(me: ServerState, partner: ServerState) -> Service:
    """The service class. Deviation: partner-down is the operator's word that the recorded partner state is void (5.2, 10.2 #1b)."""
    mine = SERVICE[me]
    if mine in (Service.COOPERATING, Service.NOT_COOPERATING) and partner in MUTED_BY_PEER:
        return Service.NOT_RESPONDING
    return mine


SAFE_IN_CONFLICT_DONE: frozenset[ServerState] = frozenset({S.NORMAL, S.POTENTIAL_CONFLICT, S.SHUTDOWN, S.RESOLUTION_INTERRUPTED})
"""10.4: what may be sent to a dhcpd primary that is or may be in conflict-done; its process ends on anything else (safety 21)."""


def must_hear_first(me: ServerState, partner: ServerState) -> bool:
    """Whether a secondary in state `me` waits for the primary's STATE before it sends its own (safety 21): a primary last heard of in
    conflict resolution may have come to conflict-done since, and a dhcpd there ends on most of what we could say."""
    return partner is S.UNKNOWN or (partner in CONFLICTING and me not in SAFE_IN_CONFLICT_DONE)
