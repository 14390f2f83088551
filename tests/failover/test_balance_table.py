"""Pool balance (failover-protocol.md 8) as tables: total, each cell with its reason, and the transfer does what they say."""

from __future__ import annotations

from itertools import product
from typing import Any, cast

import pytest

from failoverd.failover import balance, reasons
from failoverd.failover.balance import Share, share
from failoverd.failover.balance_table import (
    AGES,
    GIVES,
    GIVES_WHY,
    ON_TRIGGER,
    PUSH_BACK,
    STOPS,
    Asks,
    Pass,
    Side,
    Stop,
    Trigger,
    goes_on,
)
from failoverd.failover.balance_table import asks as may_ask
from failoverd.failover.hashing import bucket, hba_from_split, owner_is_primary
from failoverd.failover.message import ServerState
from failoverd.failover.pool_transfer import PoolTransfer
from failoverd.leases.lease import BindingState, Lease
from failoverd.leases.pool import Pool
from failoverd.leases.rights import ALONE
from failoverd.leases.table import LeaseTable
from failoverd.ports import Now, Origin
from failoverd.sim.dhcpd_leases import may_push_back
from tests.pair.duo import normal

ROLES = (True, False)


def test_the_tables_are_total_and_each_cell_has_its_reason() -> None:
    assert set(GIVES) == set(ServerState)
    assert set(ON_TRIGGER) == set(product(Trigger, ROLES))
    assert set(STOPS) == set(product(Pass, ROLES))
    assert set(AGES) == set(product(Side, ROLES))
    assert set(PUSH_BACK) == set(ROLES)
    reasons = [GIVES_WHY, *(cell.reason for cell in ON_TRIGGER.values())]
    reasons += [limit.reason for limit in (*STOPS.values(), *PUSH_BACK.values())]
    assert all(all(reason) and reason.follows in ("isc", "draft", "ours") for reason in reasons)
    assert all(reason.why.startswith("Deviation:") is (reason.follows == "ours") for reason in reasons)
    assert all(age.why for age in AGES.values())


def test_free_addresses_move_in_normal_only() -> None:
    assert [state for state in ServerState if GIVES[state]] == [ServerState.NORMAL]


# failover-protocol.md 8.3 as printed, and our two triggers beside it: gives, POOLREQ, next run computed.
PRINTED = {
    Trigger.ENTRY: (True, Asks.NEVER, False),
    Trigger.TIMER: (True, Asks.PANIC, True),
    Trigger.POOLREQ: (True, Asks.NEVER, False),
    Trigger.REFUSED: (False, Asks.ALWAYS, False),
    Trigger.OPERATOR: (True, Asks.SHORT, False),
    Trigger.PARTNER_NORMAL: (False, Asks.NEVER, True),
    Trigger.LEFT_FREE: (False, Asks.NEVER, True),
}


@pytest.mark.parametrize("primary", ROLES)
@pytest.mark.parametrize("trigger", Trigger)
def test_each_trigger_does_what_is_printed(trigger: Trigger, primary: bool) -> None:
    assert ON_TRIGGER[trigger, primary][:3] == PRINTED[trigger]


@pytest.mark.parametrize("primary", ROLES)
@pytest.mark.parametrize("trigger", Trigger)
def test_when_a_poolreq_may_go_out(trigger: Trigger, primary: bool) -> None:
    for give, panic in product(range(-8, 3), (-1, -4)):
        due = {Asks.NEVER: False, Asks.ALWAYS: True, Asks.SHORT: give < 0, Asks.PANIC: give < panic}
        assert may_ask(trigger, Share(give, 1, 2, panic), primary=primary) is due[PRINTED[trigger][1]]


@pytest.mark.parametrize(("step", "used"), list(STOPS))
def test_each_pass_stops_where_8_1_says(step: Pass, used: bool) -> None:
    for give, hold in product(range(-5, 6), range(4)):
        least = {(Pass.PARTNERS, True): -hold, (Pass.ANY, True): hold, (Pass.ANY, False): 0}
        assert goes_on(STOPS[step, used], give, hold) is ((step, used) in least and give > least[step, used])


@pytest.mark.parametrize("primary", ROLES)
def test_what_has_just_become_free_is_pushed_back_as_8_2_says(primary: bool) -> None:
    for free, backup in product(range(12), range(12)):
        part = share(free, backup, primary, 15, 10)
        assert goes_on(PUSH_BACK[primary], part.give, part.hold) is (primary and may_push_back(free, backup, 10))
    assert PUSH_BACK[False].stop is Stop.NEVER_GIVEN


@pytest.mark.parametrize("own", ROLES)
@pytest.mark.parametrize("side", Side)
def test_each_side_is_as_old_as_8_4_says(side: Side, own: bool) -> None:
    """The age of one side, the other side never used: the run is due after it."""
    now = 1_700_000_000
    ends = {Side.EMPTY: None, Side.FRESH: now + 5, Side.USED: now - 1000, Side.VIRGIN: 0}[side]
    first, second = (ends, 0) if own else (0, ends)
    due = balance.next_run(now, first, second, primary=True, max_misbalance=15, min_balance_s=60, max_balance_s=3600, last_run=now)
    assert due == now + {Side.EMPTY: 60, Side.FRESH: 60, Side.USED: 300 if own else 150, Side.VIRGIN: 3600}[side]


# --- the server obeys them ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trigger", Trigger)
@pytest.mark.parametrize("name", ["p", "s"])
def test_a_cell_is_executed_whatever_it_says(name: str, trigger: Trigger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Giving and scheduling stood in the table and the deeds elsewhere: a changed cell changed nothing."""
    duo = normal()
    endpoint = duo.nodes[name].endpoints["fo"]
    for gives, asking, schedules in product((True, False), (Asks.NEVER, Asks.ALWAYS), (True, False)):
        cell = ON_TRIGGER[trigger, name == "p"]._replace(gives=gives, asks=asking, schedules=schedules)
        monkeypatch.setitem(ON_TRIGGER, (trigger, name == "p"), cell)
        endpoint.updates.last_balance, endpoint.balance_at, before = 0, None, duo.noted(name, reasons.POOL_ASKED)
        asked = endpoint.balance(trigger, duo.now)[1]
        assert (endpoint.updates.last_balance > 0, asked, endpoint.balance_at is not None) == (
            gives,
            asking is Asks.ALWAYS,
            schedules,
        )
        duo.tick()
        assert duo.noted(name, reasons.POOL_ASKED) - before == int(asking is Asks.ALWAYS)
    monkeypatch.setitem(GIVES, ServerState.NORMAL, False)
    assert endpoint.balance(trigger, duo.now) == (0, False)


# --- the transfer obeys them ----------------------------------------------------------------------------------------------

FIRST, SIZE = 0x0A000064, 20
NOW = Now(1_700_000_000.0, 0.0)
HBA = hba_from_split(128)
PRIMARYS = next(bytes((2, 0, 0, 0, 0, n)) for n in range(256) if owner_is_primary(HBA, bucket(bytes((2, 0, 0, 0, 0, n)))))
SECONDARYS = next(bytes((2, 0, 0, 0, 0, n)) for n in range(256) if not owner_is_primary(HBA, bucket(bytes((2, 0, 0, 0, 0, n)))))


class House:
    """As much of a node as a transfer asks for: the table, and the one place where a lease changes."""

    def __init__(self, table: LeaseTable) -> None:
        self.table = table

    def change(self, old: Lease, new: Lease, origin: Origin, cause: str, now: Now) -> Lease:
        self.table.put(new, None)
        return new

    def note(self, *args: object, **more: object) -> None:
        pass


class Terms:
    """As much of a relationship's terms as a transfer asks for."""

    name, hba, max_misbalance, max_ownership = "fo", HBA, 15, 10

    def __init__(self, primary: bool) -> None:
        self.primary = primary


def by_the_book(primary: bool, virgins: int, partners: int, others: int, theirs: int) -> int:
    """8.1 as printed: how many are handed over."""
    total = virgins + partners + others + theirs
    lts, hold = int((virgins + partners + others - theirs) / 2), (total * 10 + 50) // 100
    moved = 0
    while partners and lts > -hold:
        partners, lts, moved = partners - 1, lts - 1, moved + 1
    while virgins and lts > 0:
        virgins, lts, moved = virgins - 1, lts - 1, moved + 1
    while not virgins and partners + others and lts > hold:
        others, lts, moved = others - 1, lts - 1, moved + 1
    return moved


@pytest.mark.parametrize("primary", ROLES)
def test_the_transfer_is_the_one_of_8_1(primary: bool) -> None:
    """Every mixture of never-used addresses, such of the partner's clients, of our own clients, and of the partner's half."""
    own, other = (BindingState.FREE, BindingState.BACKUP) if primary else (BindingState.BACKUP, BindingState.FREE)
    mine, partners_client = (PRIMARYS, SECONDARYS) if primary else (SECONDARYS, PRIMARYS)
    for virgins, partners, others in product(range(0, 21, 4), repeat=3):
        theirs = SIZE - virgins - partners - others
        if theirs < 0:
            continue
        table = LeaseTable([Pool("pool", "net", "fo", ((FIRST, FIRST + SIZE - 1),))])
        rows = [(own, b"", 0)] * (0 if primary else virgins)  # FREE and never used is no row
        rows += [(own, partners_client, 1)] * partners + [(own, mine, 1)] * others + [(other, mine, 1)] * theirs
        for n, (state, hw, ends) in enumerate(rows):
            table.put(Lease(FIRST + n, state, hw=b"\x01" + hw if hw else b"", ends=ends), None)
        transfer = PoolTransfer(cast(Any, Terms(primary)), cast(Any, House(table)), list(table.pools.values()))
        before = transfer.share(transfer.pools[0])
        moved, asks = transfer.rebalance(Trigger.TIMER, ALONE, NOW)
        assert moved == by_the_book(primary, virgins, partners, others, theirs), (virgins, partners, others, theirs)
        assert asks is (before.give < before.panic)
        assert transfer.rebalance(Trigger.ENTRY, ALONE, NOW)[1] is False
