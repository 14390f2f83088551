"""Every cell of the binding tables that differs from dhcpd's or the draft's says why, and no reason stands where all agree."""

from __future__ import annotations

from itertools import product

import pytest

from failoverd.leases import binding
from failoverd.leases.binding import DUEL, IN_NORMAL, OTHERWISE, Rule, Winner
from failoverd.leases.binding_reasons import DRAFT, DUEL_WHY, IN_NORMAL_WHY, OTHERWISE_WHY, Draft, Reason, same_as_draft
from failoverd.leases.lease import BindingState
from failoverd.sim import dhcpd_tables as dhcpd

FREE, ACTIVE, EXPIRED, RELEASED, ABANDONED, RESET, BACKUP = BindingState
PAIRS = list(product(BindingState, BindingState))
SAME = {
    Rule.ACCEPT: dhcpd.Take.ACCEPT,
    Rule.REJECT: dhcpd.Take.REJECT,
    Rule.UNLESS_POTENTIAL: dhcpd.Take.UNLESS_POTENTIAL,
    Rule.UNLESS_END: dhcpd.Take.UNLESS_END,
}

# draft-12 figure 7.1.3-1, typed again. Columns ACTIVE EXPIRED RELEASED FREE BACKUP RESET ABANDONED.
FIGURE = """
ACTIVE    5 2 1 2 2 + +
EXPIRED   1 + + + + + +
RELEASED  1 1 + + + + +
FREE      + + + + + + +
BACKUP    + + + + + + +
RESET     3 + + + + + +
ABANDONED 4 4 4 4 4 + +
"""
LETTERS = {
    "+": Draft.ACCEPT,
    "1": Draft.LATER_CLTT,
    "2": Draft.PAST_END,
    "3": Draft.LATER_START,
    "4": Draft.LESS_CRITICAL,
    "5": Draft.SAME_CLIENT,
}


def test_the_draft_s_figure_is_the_printed_one() -> None:
    cells = {}
    for line in FIGURE.split("\n")[1:-1]:
        name, *letters = line.split()
        for told, letter in zip((ACTIVE, EXPIRED, RELEASED, FREE, BACKUP, RESET, ABANDONED), letters, strict=True):
            cells[BindingState[name], told] = LETTERS[letter]
    assert cells == DRAFT


def follows(rule: Rule, take: dhcpd.Take, draft: Draft, primary: bool) -> str:
    """Whom a cell follows: "" when all three agree."""
    isc, written = SAME.get(rule) is take, same_as_draft(rule, draft, primary=primary)
    return {(True, True): "", (True, False): "isc", (False, True): "draft", (False, False): "ours"}[isc, written]


@pytest.mark.parametrize("primary", [True, False])
@pytest.mark.parametrize(("local", "told"), PAIRS)
def test_each_cell_in_normal_says_whom_it_follows_and_why(primary: bool, local: BindingState, told: BindingState) -> None:
    reason = IN_NORMAL_WHY.get((primary, local, told), Reason("", ""))
    take = dhcpd.takes(True, primary, local, told)
    assert reason.follows == follows(IN_NORMAL[primary, local, told], take, DRAFT[local, told], primary)
    assert bool(reason.why) is bool(reason.follows)


@pytest.mark.parametrize(("local", "told"), PAIRS)
def test_each_cell_out_of_normal_says_whom_it_follows_and_why(local: BindingState, told: BindingState) -> None:
    reason = OTHERWISE_WHY.get((local, told), Reason("", ""))
    takes = {dhcpd.takes(False, primary, local, told) for primary in (True, False)}
    assert len(takes) == 1
    assert reason.follows == follows(OTHERWISE[local, told], takes.pop(), DRAFT[local, told], primary=True)
    assert bool(reason.why) is bool(reason.follows)


@pytest.mark.parametrize(("local", "told"), PAIRS)
def test_each_cell_of_the_duel_says_whom_it_follows_and_why(local: BindingState, told: BindingState) -> None:
    """We win where dhcpd would, at every order of the two times and in both roles, or the cell is marked as ours."""
    same = all(
        dhcpd.ours_is_better(local, 1, told, cltt, primary) is not binding._theirs_wins(local, 1, told, cltt, primary)
        for cltt, primary in product((0, 1, 2), (True, False))
    )
    assert DUEL_WHY[local, told].follows == ("isc" if same else "ours")
    assert DUEL_WHY[local, told].why


def test_a_planted_cell_without_its_reason_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(OTHERWISE, (FREE, ACTIVE), Rule.REJECT)
    with pytest.raises(AssertionError):
        test_each_cell_out_of_normal_says_whom_it_follows_and_why(FREE, ACTIVE)
    monkeypatch.setitem(DUEL, (FREE, ACTIVE), Winner.OURS)
    with pytest.raises(AssertionError):
        test_each_cell_of_the_duel_says_whom_it_follows_and_why(FREE, ACTIVE)
