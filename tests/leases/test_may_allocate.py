"""Who may give an address to another client (failover-protocol.md 7.2): the table is total, and what `refusal` says is its cell."""

from __future__ import annotations

from itertools import product

import pytest

from failoverd.leases.allocate import refusal
from failoverd.leases.lease import BindingState, Lease
from failoverd.leases.may_allocate import MAY_ALLOCATE, May
from failoverd.leases.rights import Rights

B = BindingState
OWN = (B.FREE, B.BACKUP)
OTHER = b"\0other"
ALONE = {"rewind": True, "mclt_s": 600, "wait_mclt_s": 600}


def test_the_table_is_total() -> None:
    assert set(MAY_ALLOCATE) == set(product(OWN, B))
    assert all(cell.why for cell in MAY_ALLOCATE.values())


PRINTED = {B.ACTIVE: "never", B.EXPIRED: "rewound", B.RELEASED: "rewound"}
"""Section 7.2 where both roles are alike; FREE and BACKUP are each role's own; ABANDONED and RESET are our deviations."""


@pytest.mark.parametrize(("own", "state"), list(product(OWN, PRINTED)))
def test_each_cell_is_the_printed_one(own: B, state: B) -> None:
    assert MAY_ALLOCATE[own, state].may.name.lower() == PRINTED[state]
    assert MAY_ALLOCATE[own, own].may is May.NOW
    assert MAY_ALLOCATE[own, B.BACKUP if own is B.FREE else B.FREE].may is May.AFTER_WAIT


@pytest.mark.parametrize(("own", "state", "down"), list(product(OWN, B, (False, True))))
def test_what_is_refused_is_what_the_cell_says(own: B, state: B, down: bool) -> None:
    """Alone, then in partner-down at 1000 with everything promised until 5000 and MCLT 600."""
    rights = Rights(True, own=own, primary=own is B.FREE, partner_down_since=1000 if down else None, **ALONE)  # type: ignore[arg-type]
    lease = Lease(1, state, hw=b"\x01\x02", ends=9000 if state is B.ACTIVE else 0, horizon=5000, rewind=B.ACTIVE)
    may = MAY_ALLOCATE[own, state].may
    assert (refusal(lease, OTHER, rights, 5600) == "") is (may is May.NOW)
    assert (refusal(lease, OTHER, rights, 5601) == "") is (may is May.NOW or (down and may is not May.NEVER))
    untold = lease.evolve(rewind=own)
    assert (refusal(untold, OTHER, rights, 2000) == "") is (may in (May.NOW, May.REWOUND))


def test_declared_in_doubt_our_own_waits_like_the_partners() -> None:
    for own in OWN:
        rights = Rights(True, own=own, partner_down_since=1000, wait_all=True, **ALONE)  # type: ignore[arg-type]
        assert refusal(Lease(1, own, horizon=5000), OTHER, rights, 5600) == "partners-address"
        assert refusal(Lease(1, own, horizon=5000), OTHER, rights, 5601) == ""
