"""Every class of an audit, what is done about it, and what a repair would send."""

from __future__ import annotations

import pytest

from failoverd.ddns import audit
from failoverd.ddns.audit import Class, Clients, Finding, Records, Repair
from failoverd.ddns.dhcid import guard
from failoverd.ddns.guards import guard_candidates
from failoverd.ddns.rows import FORWARD, PEER, REVERSE, Row, State, Value
from failoverd.leases.lease import BindingState, Lease
from tests.ddns.rig import NET, lease

NOW = 10_000.0
H1 = "h1.example.test."
R10, R11, R200 = "10.2.0.192.in-addr.arpa.", "11.2.0.192.in-addr.arpa.", "200.2.0.192.in-addr.arpa."
HW = lease(10, 1).hw
MINE = guard(HW, b"", H1)
OTHER = guard(lease(10, 9).hw, b"", H1)
CASED = next(each.text for each in guard_candidates(HW, b"", H1, cased="H1") if each.how == "as-cased")
INTERIM = next(each.text for each in guard_candidates(HW, b"", H1) if each.rtype == "TXT")
FREE = BindingState.FREE
A10, A20 = ("A", "192.0.2.10"), ("A", "192.0.2.20")


def inside(address: int) -> bool:
    return NET <= address < NET + 100


def clients(*leases: Lease) -> Clients:
    return Clients(leases, inside, ("example.test.",))


def forward(state: State = State.CLEAN, **more: object) -> Row:
    row = Row("main", FORWARD, H1, "example.test.", want=(Value(*A10, 600),), guard=MINE, state=state, gen=1, done_gen=1)
    row.have, row.held_guard = row.want, MINE
    for name, value in more.items():
        setattr(row, name, value)
    return row


def reverse(state: State = State.CLEAN) -> Row:
    return Row("main", REVERSE, R10, "2.0.192.in-addr.arpa.", want=(Value("PTR", H1, 600),), state=state)


def look(records: Records, row: Row | None, *leases: Lease, name: str = H1, kind: str = FORWARD) -> Finding:
    return audit.classify(kind, "main", name, records, row, clients(*leases), NOW)


@pytest.mark.parametrize(
    ("records", "klass", "repair"),
    [
        ((), Class.MISSING, Repair.ASSERT),
        ((("TXT", '"v=spf1"'),), Class.MISSING, Repair.ASSERT),
        ((A10, ("DHCID", MINE)), Class.OK, Repair.NONE),
        ((A10, ("DHCID", MINE), ("AAAA", "2001:db8::1")), Class.OK, Repair.NONE),
        ((A20, ("DHCID", MINE)), Class.WRONG, Repair.ASSERT),
        ((A10, A20, ("DHCID", MINE)), Class.WRONG, Repair.ASSERT),
        ((("DHCID", MINE),), Class.WRONG, Repair.ASSERT),
        ((A20, ("DHCID", CASED)), Class.LEGACY, Repair.MIGRATE),
        ((A10, ("TXT", INTERIM)), Class.LEGACY, Repair.MIGRATE),
        ((A10, ("DHCID", OTHER)), Class.CONFLICT, Repair.NONE),
        ((("DHCID", OTHER),), Class.CONFLICT, Repair.NONE),
        ((A10,), Class.STATIC, Repair.NONE),
        ((("AAAA", "2001:db8::1"),), Class.STATIC, Repair.NONE),
        ((A10, ("DHCID", MINE), ("DHCID", OTHER)), Class.BROKEN, Repair.NONE),
        ((("CNAME", "www.example.test."),), Class.BLOCKED, Repair.NONE),
    ],
)
def test_a_name_that_a_live_lease_wants(records: Records, klass: Class, repair: Repair) -> None:
    found = look(records, forward(), lease(10, 1, hostname="H1"))
    assert (found.klass, found.repair) == (klass, repair)


@pytest.mark.parametrize("state", [State.DIRTY, State.INFLIGHT])
def test_a_row_with_work_to_do_is_no_finding(state: State) -> None:
    assert look((), forward(state), lease(10, 1))[3:5] == (Class.WAITING, Repair.NONE)
    assert look((), forward(want=()), lease(10, 1))[3:5] == (Class.WAITING, Repair.NONE)


@pytest.mark.parametrize("state", [State.CONFLICT, State.BLOCKED, State.HELD, State.DEAD])
def test_a_row_in_trouble_is_judged_by_the_zone(state: State) -> None:
    assert look((), forward(state), lease(10, 1)).klass is Class.MISSING


def test_the_partners_names_are_the_partners_to_repair() -> None:
    found = look((), forward(owner=PEER), lease(10, 1))
    assert (found.klass, found.repair) == (Class.MISSING, Repair.NONE)
    assert "partner's" in found.detail


GONE = lease(10, 1, name="", state=FREE, hostname="h1", cltt=1000, ends=2000)
LIVE = lease(10, 1, name="", hostname="h1")


@pytest.mark.parametrize(
    ("records", "leases", "klass", "repair"),
    [
        ((A10, ("DHCID", MINE)), (GONE,), Class.STALE, Repair.REMOVE),
        ((A20, ("DHCID", MINE)), (GONE,), Class.STALE, Repair.REMOVE),
        ((A10, ("DHCID", CASED)), (GONE.evolve(hostname="H1"),), Class.STALE, Repair.REMOVE),
        ((A10, ("TXT", INTERIM)), (GONE,), Class.STALE, Repair.NONE),
        ((A10, ("DHCID", MINE)), (GONE.evolve(cltt=int(NOW) - 5),), Class.WAITING, Repair.NONE),
        ((A10, ("DHCID", MINE)), (LIVE,), Class.PARTNER, Repair.NONE),
        ((A10, ("DHCID", MINE)), (lease(20, 1, name="new.example.test.", hostname="h1"),), Class.STALE, Repair.REMOVE),
        ((A10, ("DHCID", OTHER)), (GONE,), Class.ORPHAN, Repair.NONE),
        ((("A", "198.51.100.1"), ("DHCID", OTHER)), (), Class.FOREIGN, Repair.NONE),
        ((A10,), (GONE,), Class.FOREIGN, Repair.NONE),
        ((("CNAME", "x."),), (), Class.FOREIGN, Repair.NONE),
        ((("DHCID", MINE),), (GONE,), Class.HUSK, Repair.REMOVE),
        ((("DHCID", OTHER),), (GONE,), Class.HUSK, Repair.NONE),
        ((A10, ("DHCID", MINE), ("DHCID", OTHER)), (GONE,), Class.BROKEN, Repair.NONE),
        ((), (), Class.FOREIGN, Repair.NONE),
    ],
)
def test_a_name_that_nobody_wants(records: Records, leases: tuple[Lease, ...], klass: Class, repair: Repair) -> None:
    found = look(records, None, *leases)
    assert (found.klass, found.repair) == (klass, repair)
    assert bool(found.remove) == (klass in {Class.STALE, Class.HUSK} and bool(found.guard))


@pytest.mark.parametrize(
    ("name", "records", "row", "leases", "klass", "repair"),
    [
        (R10, (("PTR", "H1.example.test."),), reverse(), (), Class.OK, Repair.NONE),
        (R10, (("PTR", "x.example.test."),), reverse(), (), Class.WRONG, Repair.ASSERT),
        (R10, (), reverse(), (), Class.MISSING, Repair.ASSERT),
        (R10, (("CNAME", "10.sub."),), reverse(), (), Class.BLOCKED, Repair.NONE),
        (R10, (), reverse(State.HELD), (), Class.WAITING, Repair.NONE),
        (R10, (("PTR", H1),), None, (GONE,), Class.STALE, Repair.REMOVE),
        (R10, (("PTR", "dhcp-192-0-2-10.example.test."),), None, (GONE,), Class.STALE, Repair.REMOVE),
        (R10, (("PTR", "h1.elsewhere.test."),), None, (GONE,), Class.ORPHAN, Repair.NONE),
        (R10, (("PTR", "other.example.test."),), None, (GONE,), Class.ORPHAN, Repair.NONE),
        (R10, (("PTR", H1), ("PTR", "x.example.test.")), None, (GONE,), Class.ORPHAN, Repair.NONE),
        (R10, (("PTR", H1),), None, (GONE.evolve(cltt=int(NOW) - 5),), Class.WAITING, Repair.NONE),
        (R10, (("PTR", H1),), None, (LIVE,), Class.PARTNER, Repair.NONE),
        (R11, (("PTR", H1),), None, (), Class.ORPHAN, Repair.NONE),
        (R200, (("PTR", "printer.example.test."),), None, (), Class.FOREIGN, Repair.NONE),
        ("a.2.0.192.in-addr.arpa.", (("PTR", H1),), None, (), Class.FOREIGN, Repair.NONE),
    ],
)
def test_reverse_names(
    name: str, records: Records, row: Row | None, leases: tuple[Lease, ...], klass: Class, repair: Repair
) -> None:
    found = look(records, row, *leases, name=name, kind=REVERSE)
    assert (found.klass, found.repair) == (klass, repair)


def test_a_ptr_that_stands_where_a_map_leads() -> None:  # RFC 2317
    name = "10.0-63.2.0.192.in-addr.arpa."
    ended = GONE.evolve(rev=name, state=BindingState.EXPIRED)
    found = look((("PTR", H1),), None, ended, name=name, kind=REVERSE)
    assert (found.klass, found.repair) == (Class.STALE, Repair.REMOVE)
    assert look((("PTR", H1),), None, GONE, name=name, kind=REVERSE).klass is Class.FOREIGN


def test_a_whole_zone_has_each_name_once() -> None:
    content: dict[str, Records] = {"example.test.": (("NS", "ns1."),), H1: (A10, ("DHCID", MINE)), "www.example.test.": (A20,)}
    rows = {H1: forward(), "h2.example.test.": forward(name="h2.example.test.")}
    late = lease(30, 3, "late.example.test.")
    found = audit.compare("main", "example.test.", content, rows, clients(lease(10, 1), late), NOW)
    assert {(each.name, each.klass) for each in found} == {
        (H1, Class.OK),
        ("www.example.test.", Class.FOREIGN),
        ("h2.example.test.", Class.MISSING),
        ("late.example.test.", Class.MISSING),
    }
    assert {each.name: bool(each.row) for each in found}["late.example.test."] is False
    assert audit.counts(found)["missing"] == 2


def test_without_dhcid_names_are_compared_by_value() -> None:
    rows = {H1: forward()}
    for records, klass in (((A10,), Class.OK), ((A20,), Class.WRONG), ((), Class.MISSING), ((("CNAME", "x."),), Class.BLOCKED)):
        found = audit.compare("main", "example.test.", {H1: records} if records else {}, rows, clients(), NOW, guarded=False)
        assert [each.klass for each in found] == [klass]


def test_the_limit_of_removals() -> None:
    assert [audit.removals_allowed(names) for names in (0, 400, 1000)] == [20, 20, 50]


def test_what_a_repair_would_send() -> None:
    row = forward()
    stale = look((A10, ("DHCID", MINE)), None, GONE)
    assert audit.nsupdate(stale, None) == [
        f"prereq yxrrset {H1} DHCID {MINE}",
        f"update delete {H1} A 192.0.2.10",
        f"update delete {H1} DHCID {MINE}",
        "send",
    ]
    missing = look((), row, lease(10, 1))
    assert audit.nsupdate(missing, row) == [
        f"prereq nxdomain {H1}",
        f"update add {H1} 600 DHCID {MINE}",
        f"update add {H1} 600 A 192.0.2.10",
        "send",
    ]
    wrong = look((A20, ("DHCID", MINE)), row, lease(10, 1))
    assert audit.nsupdate(wrong, row)[:2] == [f"prereq yxrrset {H1} DHCID {MINE}", f"update delete {H1} A"]
    legacy = look((A10, ("TXT", INTERIM), ("TXT", '"v=spf1"')), row, lease(10, 1))
    assert audit.nsupdate(legacy, row)[:2] == [f"prereq yxrrset {H1} TXT {INTERIM}", f"update delete {H1} TXT {INTERIM}"]
    pointer = look((("PTR", H1),), None, GONE, name=R10, kind=REVERSE)
    assert audit.nsupdate(pointer, None) == [f"prereq yxrrset {R10} PTR {H1}", f"update delete {R10} PTR {H1}", "send"]
    assert audit.nsupdate(look((A10,), row), row) == []


def test_nonsense_in_a_zone_has_a_class() -> None:
    for text in ("192.0.2", "a.b.c.d", "1.2.3.4.5", ""):
        assert look((("A", text), ("DHCID", "zz")), None, GONE).klass is Class.FOREIGN


def test_orphans_are_adopted_only_where_nobody_was_for_long_enough() -> None:
    records = (("A", "192.0.2.10"), ("DHCID", OTHER))
    ended = lease(10, 1, name="", state=BindingState.FREE, hostname="x", cltt=1000, ends=2000)

    def judged(adopt_s: float | None, *leases: Lease, more: Records = ()) -> Finding:
        return audit.classify(
            FORWARD, "main", H1, (*records, *more), None, Clients(leases, inside, ("example.test.",), adopt_s), 100_000.0
        )

    assert [judged(None).repair, judged(86400).repair] == [Repair.NONE, Repair.REMOVE]
    assert (judged(86400).klass, judged(86400).remove, judged(86400).guard) == (Class.ORPHAN, (("A", "192.0.2.10"),), OTHER)
    assert judged(86400, ended).repair is Repair.REMOVE
    assert judged(86400, ended.evolve(ends=50_000)).repair is Repair.NONE
    assert judged(86400, ended.evolve(partner_cltt=50_000)).repair is Repair.NONE
    assert judged(86400, lease(10, 1, name="", hostname="x")).repair is Repair.NONE  # somebody has the address
    assert judged(86400, more=(("A", "192.0.2.11"),)).remove == (("A", "192.0.2.10"), ("A", "192.0.2.11"))
    assert judged(86400, more=(("A", "198.51.100.1"),)).repair is Repair.NONE  # one of its addresses is not ours
    assert judged(86400, more=(("AAAA", "2001:db8::1"),)).repair is Repair.NONE
