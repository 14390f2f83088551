"""The state tables: total, dhcpd's where they say so, and leading to normal from every pair of states."""

from __future__ import annotations

from itertools import product

import pytest

from failoverd.failover import states
from failoverd.failover.message import ServerState as S
from failoverd.failover.states import (
    FROM_STARTUP,
    ON_ENTRY,
    ON_LOSS,
    ON_STATE,
    ON_UPDDONE,
    PEERS,
    SERVICE,
    Action,
    Cell,
    Entry,
    Peer,
    Service,
    asks_on_conflict,
    on_loss,
    on_state,
    on_upddone,
    peer_state,
    service,
)
from failoverd.notes import CATALOGUE

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

# failover-protocol.md 5.4, the matrix as printed: peer 0/1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 254. "!" is shutdown, "x" is exit.
COLUMNS = ["N", "CI", "PD", "PC", "R", "P", "SD", "RD", "RI", "CD", "RW"]
MATRIX = {
    "N": "-  -  -  PC !  PD CI PD -  !  !  -",
    "CI": "-  UN UN PC PC PD -  PD UN PC PC UN",
    "PD": "-  PC PC PC PC -  -  -  N  PC PC -",
    "PC": "-  !  -  -  -  R  -  PD -  -  Q  -",
    "RI": "-  PC PC PC PC PC -  PD PC PC PC PC",
    "CD": "x  N  x  x  -  x  x  !  x  -  x  x",
    "R": "-  PC A  A  PC A  -  PD -  PC PC -",
    "RW": "-  -  -  -  -  -  -  -  -  -  -  -",
    "RD": "-  N  -  -  -  -  -  PD N  -  -  -",
    "SD": "-  -  -  -  -  -  -  -  -  -  -  -",
    "P": "-  -  -  -  -  -  -  -  -  -  -  -",
}
DEVIATIONS = {  # where we do not follow dhcpd: its entry -> ours
    **{("N", peer): "drop" for peer in ("PC", "RI", "CD")},
    ("CI", "RW"): "-",
    ("PC", "N"): "drop",
    ("PC", "RD"): "R",
    ("RI", "RD"): "R",
    **{("CD", peer): "PC" for peer in ("CI", "PD", "R", "CD")},
    ("CD", "P"): "-",
    ("CD", "RW"): "-",
    ("CD", "SD"): "PD",
    ("CD", "RD"): "N",
    ("R", "N"): "A",
    ("R", "PC"): "A",
    ("R", "RI"): "A",
    ("R", "RD"): "A",
    ("R", "RW"): "A",
    ("R", "SD"): "-",
    **{("RD", peer): "PC" for peer in ("PC", "RI", "CD")},
    ("RD", "R"): "R",
    ("RW", "R"): "R",
    ("RW", "CD"): "PC",
}


def printed(cell: Cell) -> str:
    """A cell as the matrix prints it."""
    if cell.action is Action.STAY:
        return "-"
    if cell.action is Action.UPDREQALL:
        return "A"
    if cell.action is Action.UPDREQ:
        return "Q"
    if cell.action is Action.REFUSE:
        return "drop"
    name = next(short for short, state in SHORT.items() if state is cell.next)
    return "U" + name if cell.action is Action.PUSH_MOVE else name


@pytest.mark.parametrize(("me", "peer"), list(product(MATRIX, COLUMNS)))
def test_each_cell_is_dhcpd_s_or_a_listed_deviation(me: str, peer: str) -> None:
    wanted = MATRIX[me].split()[1 + COLUMNS.index(peer)]
    cell = ON_STATE[SHORT[me], SHORT[peer]]
    if (me, peer) in DEVIATIONS:
        assert printed(cell) == DEVIATIONS[me, peer] != wanted
        assert cell.follows != "isc"
        assert cell.why.startswith("Deviation:") or cell.follows == "draft"
    else:
        assert printed(cell) == wanted
        assert cell.follows == "isc"


def test_every_table_is_total() -> None:
    assert set(ON_STATE) == set(product(S, (*S, None)))
    assert len(ON_STATE) == 13 * 14
    assert set(ON_LOSS) == set(ON_ENTRY) == set(SERVICE) == set(S)
    assert set(ON_UPDDONE) == set(product(S, (True, False), (True, False)))


def test_every_cell_is_well_formed() -> None:
    cells = [*ON_STATE.values(), *ON_UPDDONE.values(), *FROM_STARTUP.values()]
    for cell in cells:
        assert (cell.next is not None) is (cell.action in (Action.MOVE, Action.PUSH_MOVE))
        assert cell.why
        assert cell.follows in ("isc", "draft", "ours")
        if cell.action is Action.REFUSE:
            assert cell.note
        if cell.note:
            assert cell.note in CATALOGUE


@pytest.mark.parametrize("me", S)
def test_no_cell_leads_to_shutdown_or_to_a_state_that_only_a_boot_enters(me: S) -> None:
    for peer in PEERS:
        assert ON_STATE[me, peer].next not in (S.SHUTDOWN, S.PAUSED, S.UNKNOWN, S.STARTUP)


@pytest.mark.parametrize("me", S)
def test_an_unknown_number_is_refused_and_a_silent_partner_changes_nothing(me: S) -> None:
    assert ON_STATE[me, None].action is Action.REFUSE
    assert ON_STATE[me, S.UNKNOWN].action is ON_STATE[me, S.STARTUP].action is Action.STAY


def test_numbers_of_option_24() -> None:
    assert [peer_state(n) for n in range(12)] == [S(n) for n in range(12)]
    assert peer_state(254) is S.RECOVER_WAIT
    assert peer_state(None) is S.UNKNOWN
    for n in (*range(12, 254), 255, 2**32 - 1):
        assert peer_state(n) is None


@pytest.mark.parametrize(("saved", "peer"), list(product([s for s in S if s is not S.STARTUP], PEERS)))
def test_startup_always_ends_in_a_state(saved: S, peer: Peer) -> None:
    cell = on_state(S.STARTUP, peer, saved=saved)
    if cell.action is not Action.REFUSE:
        assert cell.next is not None
        assert cell.next is not S.STARTUP
        if ON_STATE[saved, peer].action in (Action.STAY, Action.UPDREQALL) and (saved, peer) not in FROM_STARTUP:
            assert cell.next is saved


def test_only_partner_down_honours_the_startup_flag() -> None:
    for me, peer in product(S, PEERS):
        plain = on_state(me, peer, saved=S.NORMAL)
        flagged = on_state(me, peer, saved=S.NORMAL, startup_flag=True)
        if me is S.PARTNER_DOWN and peer is not None:
            assert flagged.action is Action.STAY
        else:
            assert flagged == plain


def test_duplicates_are_ignored_only_where_the_row_stays_anyway() -> None:
    for me in states.IGNORES_DUPLICATE - {S.NORMAL}:
        assert all(ON_STATE[me, peer].action is Action.STAY for peer in S)


# --- 5.5, 5.6, 5.3, 5.1, 5.2 ---------------------------------------------------------------------------------------------


def test_a_lost_link_moves_normal_and_potential_conflict_only() -> None:
    moved = {me: after for me, after in ON_LOSS.items() if after is not me}
    assert moved == {
        S.NORMAL: S.COMMUNICATIONS_INTERRUPTED,
        S.POTENTIAL_CONFLICT: S.RESOLUTION_INTERRUPTED,
        S.UNKNOWN: S.RESOLUTION_INTERRUPTED,
    }
    assert on_loss(S.STARTUP, S.NORMAL) is S.COMMUNICATIONS_INTERRUPTED
    assert on_loss(S.STARTUP, S.PARTNER_DOWN) is S.PARTNER_DOWN


def test_upddone() -> None:
    assert on_upddone(S.POTENTIAL_CONFLICT, primary=False, partner=S.CONFLICT_DONE).next is S.NORMAL
    assert on_upddone(S.POTENTIAL_CONFLICT, primary=True, partner=S.POTENTIAL_CONFLICT).next is S.CONFLICT_DONE
    assert on_upddone(S.POTENTIAL_CONFLICT, primary=True, partner=S.CONFLICT_DONE).action is Action.REFUSE
    assert on_upddone(S.POTENTIAL_CONFLICT, primary=False, partner=S.POTENTIAL_CONFLICT).action is Action.STAY
    for role, partner in product((True, False), S):
        assert on_upddone(S.RECOVER, primary=role, partner=partner).next is S.RECOVER_WAIT
        for me in set(S) - {S.RECOVER, S.POTENTIAL_CONFLICT}:
            assert on_upddone(me, primary=role, partner=partner).action is Action.STAY


def test_entry_actions() -> None:
    assert {me: entry for me, entry in ON_ENTRY.items() if entry is not Entry.NONE} == {
        S.STARTUP: Entry.STARTUP_TIMER,
        S.NORMAL: Entry.BALANCE,
        S.COMMUNICATIONS_INTERRUPTED: Entry.AUTO_PARTNER_DOWN,
        S.POTENTIAL_CONFLICT: Entry.UPDREQ,
        S.RECOVER: Entry.UPDREQALL,
        S.RECOVER_WAIT: Entry.WAIT,
        S.PARTNER_DOWN: Entry.TAKE_OVER,
    }
    for partner in S:
        assert asks_on_conflict(primary=True, partner=partner)
        assert asks_on_conflict(primary=False, partner=partner) is (partner is S.CONFLICT_DONE)
        assert asks_on_conflict(primary=False, partner=partner, partner_is_dhcpd=True)


def test_service_classes() -> None:
    served = {me for me in S if SERVICE[me] not in (Service.NOT_RESPONDING, Service.STARTUP)}
    resolving = {S.POTENTIAL_CONFLICT, S.RESOLUTION_INTERRUPTED, S.CONFLICT_DONE}
    assert served == {S.NORMAL, S.COMMUNICATIONS_INTERRUPTED, S.PARTNER_DOWN} | resolving
    assert {me for me in S if SERVICE[me] is Service.RESOLVING} == resolving
    for peer in S:
        muted = peer in (S.PARTNER_DOWN, S.POTENTIAL_CONFLICT, S.RESOLUTION_INTERRUPTED, S.CONFLICT_DONE)
        assert (service(S.NORMAL, peer) is Service.NOT_RESPONDING) is muted
        assert (service(S.COMMUNICATIONS_INTERRUPTED, peer) is Service.NOT_RESPONDING) is muted
        assert service(S.PARTNER_DOWN, peer) is Service.PARTNER_DOWN
        assert service(S.STARTUP, peer) is Service.STARTUP


def test_safety_21_only_four_states_are_safe_towards_a_dhcpd_in_conflict_done() -> None:
    safe = {S.NORMAL, S.POTENTIAL_CONFLICT, S.SHUTDOWN, S.RESOLUTION_INTERRUPTED}
    assert safe == states.SAFE_IN_CONFLICT_DONE


# --- the draft, a test a sentence ----------------------------------------------------------------------------------------


def test_draft_9_6_contact_in_communications_interrupted_leads_to_normal() -> None:
    for peer in (S.NORMAL, S.COMMUNICATIONS_INTERRUPTED, S.RECOVER_DONE):
        assert ON_STATE[S.COMMUNICATIONS_INTERRUPTED, peer].action is Action.PUSH_MOVE
        assert ON_STATE[S.COMMUNICATIONS_INTERRUPTED, peer].next is S.NORMAL


def test_draft_9_4_partner_down_ends_when_the_partner_is_recover_done() -> None:
    assert ON_STATE[S.PARTNER_DOWN, S.RECOVER_DONE].next is S.NORMAL
    for peer in (S.RECOVER, S.RECOVER_WAIT):
        assert ON_STATE[S.PARTNER_DOWN, peer].action is Action.STAY


def test_draft_9_4_partner_down_meets_a_partner_that_allocated_in_potential_conflict() -> None:
    for peer in (S.NORMAL, S.COMMUNICATIONS_INTERRUPTED, S.PARTNER_DOWN, S.POTENTIAL_CONFLICT):
        assert ON_STATE[S.PARTNER_DOWN, peer].next is S.POTENTIAL_CONFLICT


def test_draft_9_5_recover_asks_for_everything() -> None:
    for peer in (S.COMMUNICATIONS_INTERRUPTED, S.PARTNER_DOWN, S.RECOVER):
        assert ON_STATE[S.RECOVER, peer].action is Action.UPDREQALL


def test_draft_9_7_recover_done_becomes_normal_with_its_partner() -> None:
    assert ON_STATE[S.RECOVER_DONE, S.NORMAL].next is S.NORMAL


def test_draft_9_8_the_primary_asks_first_in_potential_conflict() -> None:
    assert asks_on_conflict(primary=True, partner=S.POTENTIAL_CONFLICT)
    assert not asks_on_conflict(primary=False, partner=S.POTENTIAL_CONFLICT)
    assert ON_STATE[S.POTENTIAL_CONFLICT, S.CONFLICT_DONE].action is Action.UPDREQ


def test_draft_9_11_a_partner_in_shutdown_lets_us_take_over() -> None:
    for me in (S.NORMAL, S.COMMUNICATIONS_INTERRUPTED, S.POTENTIAL_CONFLICT, S.RESOLUTION_INTERRUPTED, S.RECOVER_DONE):
        assert ON_STATE[me, S.SHUTDOWN].next is S.PARTNER_DOWN


# --- no pair is stuck ----------------------------------------------------------------------------------------------------


class End:
    """One server of the walk: it carries out the tables the way the endpoint must, with nothing to transfer."""

    def __init__(self, state: S, *, primary: bool) -> None:
        self.state, self.primary = state, primary
        self.partner: S = S.UNKNOWN
        self.out: list[str | S] = []
        self.linked = True
        self.asked = False

    def enter(self, state: S) -> None:
        self.state = state
        self.out.append(state)
        entry = ON_ENTRY[state]
        if entry is Entry.UPDREQALL or (entry is Entry.UPDREQ and asks_on_conflict(primary=self.primary, partner=self.partner)):
            self.ask()

    def ask(self) -> None:
        if not self.asked:
            self.asked = True
            self.out.append("updreq")

    def hear(self, item: str | S) -> None:
        if item == "updreq":
            self.out.append("upddone")
        elif item == "upddone":
            if self.asked:
                self.asked = False
                self.obey(on_upddone(self.state, primary=self.primary, partner=self.partner))
        else:
            assert isinstance(item, S)
            if self.state in states.IGNORES_DUPLICATE and item is self.partner:
                return
            cell = on_state(self.state, item, saved=self.state, dhcpd=False)
            if cell.action is not Action.REFUSE:
                self.partner = item
            self.obey(cell)

    def obey(self, cell: Cell) -> None:
        if cell.action is Action.REFUSE:
            self.linked = False
        elif cell.next is not None:
            self.enter(cell.next)
        elif cell.action in (Action.UPDREQ, Action.UPDREQALL):
            self.ask()


SOUND = [s for s in S if s not in (S.UNKNOWN, S.STARTUP, S.PAUSED, S.SHUTDOWN)]


def walk(one: End, other: End, order: int) -> list[tuple[S, S]]:
    """Deliver messages in one of several orders; a refused STATE cuts the link and both meet again. The states passed."""
    passed = [(one.state, other.state)]
    for _ in range(12):
        one.linked = other.linked = True
        one.asked = other.asked = False
        one.out, other.out = [one.state], [other.state]
        for end in (one, other):
            if end.state is S.RECOVER:
                end.ask()
        for turn in range(200):
            sender, receiver = (one, other) if (turn + order) % (order % 3 + 2) == 0 else (other, one)
            if not sender.out:
                sender, receiver = receiver, sender
            if not sender.out:
                break
            receiver.hear(sender.out.pop(0))
            passed.append((one.state, other.state))
            if not (one.linked and other.linked):
                break
        if one.linked and other.linked:
            for end in (one, other):
                if end.state is S.RECOVER_WAIT:
                    end.enter(S.RECOVER_DONE)
            if not one.out and not other.out:
                return passed
        one.out, other.out = [], []
        one.state, other.state = on_loss(one.state, one.state), on_loss(other.state, other.state)
    return passed


def settle(one: End, other: End, order: int) -> list[tuple[S, S]]:
    passed = walk(one, other, order)
    for _ in range(6):  # time passes: recover-wait ends, links come and go
        if one.state is other.state is S.NORMAL:
            break
        for end in (one, other):
            if end.state is S.RECOVER_WAIT:
                end.enter(S.RECOVER_DONE)
            end.state = on_loss(end.state, end.state)
        passed += walk(one, other, order)
    return passed


REACHED = [(one, other) for one, other in product(SOUND, SOUND) if other is not S.CONFLICT_DONE]  # only a primary enters it (5.6)


@pytest.mark.parametrize(("first", "second"), REACHED)
def test_no_pair_of_linked_servers_is_stuck(first: S, second: S) -> None:
    for order, known in product(range(6), (True, False)):
        one, other = End(first, primary=True), End(second, primary=False)
        if known:
            one.partner, other.partner = second, first
        passed = settle(one, other, order)
        assert (one.state, other.state) == (S.NORMAL, S.NORMAL), (order, known, passed)


def test_two_in_partner_down_pass_through_conflict_resolution() -> None:
    one, other = End(S.PARTNER_DOWN, primary=True), End(S.PARTNER_DOWN, primary=False)
    passed = walk(one, other, 0)
    assert (one.state, other.state) == (S.NORMAL, S.NORMAL)
    assert S.CONFLICT_DONE in {mine for mine, _ in passed}
    assert {theirs for _, theirs in passed} >= {S.PARTNER_DOWN, S.POTENTIAL_CONFLICT, S.NORMAL}
