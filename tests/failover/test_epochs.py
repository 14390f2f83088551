"""safety.md 17 as a table: each cell, and what it is asked with."""

from __future__ import annotations

import itertools

import pytest

from failoverd.failover import states
from failoverd.failover.epochs import DECIDES, JUDGES, Raised, Then, raised
from failoverd.failover.message import ServerState
from failoverd.leases import mclt
from failoverd.leases.lease import BindingState, Lease

S = ServerState


def test_rule_17_every_cell_is_there_and_says_why() -> None:
    assert set(DECIDES) == set(itertools.product(Raised, (False, True)))
    for (whose, _), cell in DECIDES.items():
        assert cell.why
        assert bool(cell.text) is (whose is not Raised.UNTOLD), "what states.py decides, states.py says"


def test_rule_17_only_the_older_epoch_that_granted_nothing_recovers() -> None:
    """All else is potential-conflict, and what nobody told is as it was."""
    for (whose, beyond), cell in DECIDES.items():
        if whose is Raised.UNTOLD:
            assert cell.then is Then.STATES
        else:
            assert (cell.then is Then.RECOVER) is (whose is Raised.THEIRS and not beyond), (whose, beyond)


def test_rule_17_it_is_asked_where_the_states_would_resolve_or_recover() -> None:
    """Nowhere else does a partner in partner-down lead a server that has its leases to either; both in partner-down resolve anyway."""
    leads = {S.POTENTIAL_CONFLICT, S.RECOVER}
    asked = {me for me in S if states.ON_STATE[me, S.PARTNER_DOWN].next in leads}
    assert asked - JUDGES == {S.PARTNER_DOWN, S.RESOLUTION_INTERRUPTED, S.CONFLICT_DONE}
    assert asked >= JUDGES
    assert states.ON_STATE[S.PARTNER_DOWN, S.PARTNER_DOWN].next is S.POTENTIAL_CONFLICT


@pytest.mark.parametrize(("agreed", "ours", "theirs"), list(itertools.product((0, 3), (3, 4, 5), (0, 3, 4, 5))))
def test_rule_17_raised_is_what_exceeds_the_agreed_one(agreed: int, ours: int, theirs: int) -> None:
    expected = {(False, False): Raised.NEITHER, (True, False): Raised.OURS, (False, True): Raised.THEIRS, (True, True): Raised.BOTH}
    assert raised(agreed, ours, theirs, told=True) is expected[ours > agreed, theirs > agreed]
    assert raised(agreed, ours, theirs, told=False) is Raised.UNTOLD
    assert raised(None, ours, theirs, told=True) is Raised.UNTOLD


def test_rule_17_equal_epochs_of_two_that_raised_them_are_no_agreement() -> None:
    assert raised(3, 4, 4, told=True) is Raised.BOTH


def test_rule_17_what_outlasts_the_bound() -> None:
    """As rule 9 with the last contact less the margin in the place of now: contact 1000, MCLT 600, margin 5."""
    for ends, acked, outlasts in ((1595, 0, False), (1596, 0, True), (1695, 1100, False), (1696, 1100, True), (1595, 900, False)):
        lease = Lease(1, BindingState.ACTIVE, ends=ends, acked=acked)
        assert mclt.beyond(lease, 1000, 600, 5) is outlasts, (ends, acked)
        assert not mclt.beyond(lease.evolve(state=BindingState.RELEASED), 1000, 600, 5)
