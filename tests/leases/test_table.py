"""The lease table against a naive model: queues, counts, client index, dues, offers (Hypothesis)."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from failoverd.leases.lease import BindingState, Lease, lease_key
from failoverd.leases.pool import Pool
from failoverd.leases.table import OFFER_S, LeaseTable

POOLS = (Pool("a", "n", "fo", ((100, 104), (110, 112))), Pool("b", "n", None, ((200, 203),)))
ADDRESSES = [*range(100, 105), *range(110, 113), *range(200, 204)]

put = st.tuples(
    st.just("put"),
    st.sampled_from(ADDRESSES),
    st.sampled_from(list(BindingState)),
    st.integers(0, 3),
    st.one_of(st.none(), st.integers(0, 50)),
)
offer = st.tuples(st.just("offer"), st.sampled_from(ADDRESSES), st.integers(1, 3))
take = st.tuples(st.just("take"), st.sampled_from(ADDRESSES))
sweep = st.tuples(st.just("sweep"), st.integers(0, 300))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(put, offer, take, sweep), max_size=60))
def test_table_equals_a_naive_model(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    table = LeaseTable(POOLS)
    rows: dict[int, Lease] = {}
    due: dict[int, int] = {}
    offers: dict[int, tuple[bytes, float]] = {}
    mono = 0.0
    for step in steps:
        if step[0] == "put":
            _, address, state, client, when = step
            lease = Lease(address, state, hw=b"\x01" + bytes((client,)) if client else b"")
            table.put(lease, when)
            rows[address] = lease
            if state is BindingState.ACTIVE:
                offers.pop(address, None)
            due.pop(address, None)
            if when is not None:
                due[address] = when
        elif step[0] == "offer":
            table.offer(step[1], bytes((step[2],)), mono)
            offers = {a: o for a, o in offers.items() if o[0] != bytes((step[2],)) or (a < 200) is not (step[1] < 200)}
            offers.pop(step[1], None)
            offers[step[1]] = (bytes((step[2],)), mono + OFFER_S)
        elif step[0] == "take":
            table.take_offer(step[1])
            offers.pop(step[1], None)
        else:
            mono += step[1]
            table.sweep_offers(mono)
            offers = {a: o for a, o in offers.items() if o[1] > mono}
    _compare(table, rows, due, offers, mono)


def _compare(
    table: LeaseTable, rows: dict[int, Lease], due: dict[int, int], offers: dict[int, tuple[bytes, float]], mono: float
) -> None:
    for pool in POOLS:
        state = table.pools[pool.name]
        inside = [a for first, last in pool.ranges for a in range(first, last + 1)]
        for each in BindingState:
            virgins = sum(a not in rows for a in inside) if each is BindingState.FREE else 0
            assert state.count(each) == virgins + sum(a in rows and rows[a].state is each for a in inside)
        for own in (BindingState.FREE, BindingState.BACKUP):
            free = {a for a in inside if (rows[a].state if a in rows else BindingState.FREE) is own and a not in offers}
            got = table.first_free(state, own, lambda lease: True, mono)
            assert (got is not None) == bool(free)
            assert got is None or got.address in free
        assert table.offers_in(pool) == sum(a in offers for a in inside)
    for client in (1, 2, 3):
        held = {lease.address for lease in table.of_client(b"\x00\x01" + bytes((client,)))}
        assert held == {a for a, lease in rows.items() if lease.hw == b"\x01" + bytes((client,))}
    for address in ADDRESSES:
        assert table.offered_to(address, mono) == (offers[address][0] if address in offers else b"")
    order = []
    while (lease := table.pop_due(1000)) is not None:
        order.append((due.pop(lease.address), lease.address))
    assert order == sorted(order)
    assert not due


def test_a_large_pool_costs_nothing_before_it_is_used() -> None:
    table = LeaseTable([Pool("big", "n", "fo", ((1 << 24, (1 << 24) + (1 << 22)),))])
    state = table.pools["big"]
    assert state.count(BindingState.FREE) == (1 << 22) + 1
    assert len(state.free) == 0
    first = table.first_free(state, BindingState.FREE, lambda lease: True, 0.0)
    assert first is not None
    assert first.address == 1 << 24


def test_what_was_refused_is_looked_at_once() -> None:
    """A thousand refused addresses cost one look each, not one for each question."""
    table = LeaseTable([Pool("p", "n", "fo", ((1, 1001),))])
    for address in range(1, 1002):
        table.put(Lease(address, BindingState.BACKUP), None)
    looks: list[int] = []

    def accept(lease: Lease) -> bool:
        looks.append(lease.address)
        return lease.address == 1001

    state = table.pools["p"]
    for _ in range(100):
        found = table.first_free(state, BindingState.BACKUP, accept, 0.0)
        assert found is not None
        assert found.address == 1001
    assert len(looks) == 1100

    looks.clear()
    for second in range(3):
        for _ in range(100):
            assert table.first_free(state, BindingState.BACKUP, lambda lease: bool(looks.append(1)), second * 1.5) is None  # type: ignore[func-returns-value]
    assert len(looks) == 3003, "a barren pool is searched once a second"
    table.put(Lease(7, BindingState.BACKUP), None)
    assert table.first_free(state, BindingState.BACKUP, lambda lease: True, 3.1) is not None


def test_what_was_refused_is_not_looked_at_again_for_each_client_that_gets_its_own_address() -> None:
    """After the loss of a database every address rests for all but its own client: each OFFER that such a client repeated, and each ACK,
    made the next one that was refused walk through the whole pool (115 ms in a /16)."""
    table = LeaseTable([Pool("p", "n", "fo", ((1, 1001),))])
    for address in range(1, 1002):
        table.put(Lease(address, BindingState.FREE, hw=b"\x01" + bytes((address // 256, address % 256))), None)
    looks: list[int] = []

    def refuse(lease: Lease) -> bool:
        looks.append(lease.address)
        return False

    state = table.pools["p"]
    for address in range(1, 101):
        lease = table.get(address)
        for _ in range(2):
            table.offer(address, lease.client, 0.0)
            assert table.first_free(state, BindingState.FREE, refuse, 0.0) is None
        table.put(lease.evolve(state=BindingState.ACTIVE), None)
        assert table.first_free(state, BindingState.FREE, refuse, 0.0) is None
    assert len(looks) == 1000
    table.offer(500, b"another", 0.0)
    table.take_offer(500)
    assert table.first_free(state, BindingState.FREE, lambda lease: lease.address == 500, 0.0) is not None


@settings(max_examples=200, deadline=None)
@given(
    st.builds(
        Lease,
        address=st.integers(0, 2**32 - 1),
        state=st.sampled_from(list(BindingState)),
        flags=st.integers(0, 3),
        hw=st.binary(max_size=17),
        client_id=st.binary(max_size=30),
        starts=st.integers(0, 2**31),
        ends=st.integers(0, 2**31),
        potential=st.integers(0, 2**31),
        acked=st.integers(0, 2**31),
        acked_end=st.integers(0, 2**31),
        horizon=st.integers(0, 2**31),
        not_before=st.integers(0, 2**31),
        cltt=st.integers(0, 2**31),
        partner_cltt=st.integers(0, 2**31),
        rewind=st.sampled_from(list(BindingState)),
        owed=st.booleans(),
        rejected=st.integers(0, 255),
        hostname=st.text(max_size=20),
        fqdn=st.text(max_size=20),
        dns=st.integers(0, 3),
        rev=st.text(max_size=20),
        agent=st.binary(max_size=20),
        generation=st.integers(0, 2**40),
    )
)
def test_a_lease_comes_back_from_its_record_as_it_was(lease: Lease) -> None:
    assert Lease.from_json(lease.to_json()) == lease


def test_store_keys_carry_the_family() -> None:
    assert lease_key(0x0A000001) == b"\x04\x0a\x00\x00\x01"
    assert len(lease_key(1, 6)) == 17


def test_a_confirmation_ends_when_the_partner_is_owed_the_lease() -> None:
    """It outlives a late renewal of the partner's, but once the lease is owed the partner hears it. Kept beyond that, a partner whose clock
    is ahead expired the lease again and again, and was told again and again (simulator: seed 500016)."""
    table = LeaseTable([Pool("p", "n", "fo", ((1, 9),))])
    lease = Lease(1, BindingState.ACTIVE, hw=b"\x01\x02", ends=100)
    table.put(lease, None)
    table.confirm(1, 50)
    table.put(lease.evolve(ends=120), None)
    assert table.confirmed(1) == 50
    table.put(lease.evolve(owed=True), None)
    assert table.confirmed(1) == 0
    for other in (lease.evolve(state=BindingState.RELEASED), lease.evolve(hw=b"\x01\x03")):
        table.put(lease, None)
        table.confirm(1, 50)
        table.put(other, None)
        assert table.confirmed(1) == 0


def test_a_lease_voids_every_offer_of_its_address() -> None:
    table = LeaseTable([Pool("p", "n", "fo", ((1, 9),))])
    table.offer(1, b"other", 0.0)
    table.put(Lease(1, BindingState.ACTIVE, hw=b"\x01\x02", ends=100), None)
    assert table.offered_to(1, 1.0) == b""


def test_what_the_partner_reserves_leaves_its_pool_and_comes_back() -> None:
    table = LeaseTable([Pool("p", "n", "fo", ((1, 6),))])
    state = table.pools["p"]
    table.put(Lease(2, BindingState.BACKUP, hw=b"\1\2"), None)
    table.put(Lease(3, BindingState.ACTIVE, hw=b"\1\3", owed=True), None)
    for address in (1, 2, 3, 9):
        table.keep(address, b"\0\1\7")
    assert [table.pool_of(address) is state for address in (1, 2, 3, 4, 9)] == [False, False, True, True, False]
    assert [state.count(each) for each in (BindingState.FREE, BindingState.BACKUP, BindingState.ACTIVE)] == [3, 0, 1]
    assert table.kept_from(b"\0\1\3", 3)  # its client still has it
    table.put(Lease(3, BindingState.EXPIRED, hw=b"\1\3", owed=True), None)
    assert table.pool_of(3) is None  # what is owed of it, the partner would refuse
    assert not table.kept_from(b"\0\1\3", 3)
    table.put(Lease(3, BindingState.FREE, hw=b"\1\3"), None)
    first = table.first_free(state, BindingState.FREE, lambda lease: True, 0.0)
    assert first is not None
    assert first.address == 4
    for address in (1, 2, 3, 9):
        table.unkeep(address)
    assert [state.count(each) for each in (BindingState.FREE, BindingState.BACKUP, BindingState.ACTIVE)] == [5, 1, 0]
    found = []
    while (lease := table.first_free(state, BindingState.FREE, lambda lease: True, 0.0)) is not None:
        found.append(lease.address)
        table.offer(lease.address, bytes((0, lease.address)), 0.0)
    assert sorted(found) == [1, 3, 4, 5, 6]
