"""Audit and repair against the in-memory master: whatever stood in the zone, afterwards it says what the leases say."""

from __future__ import annotations

import dataclasses

import pytest

from failoverd.ddns import audit
from failoverd.ddns.audit import Class, Clients, Finding, Records, Repair
from failoverd.ddns.dhcid import guard
from failoverd.ddns.guards import guard_candidates
from failoverd.ddns.repair import RATE_PER_S, Hold, Job
from failoverd.ddns.rows import State, row_key
from failoverd.leases.lease import BindingState, Lease
from failoverd.ports import DnsAnswer, DnsUpdate, Origin, Output
from tests.ddns.rig import FORWARD, NET, PLAN, REVERSE, Rig, lease

H1 = "h1.example.test."
MINE = guard(lease(10, 1).hw, b"", H1)
OTHER = guard(lease(10, 9).hw, b"", H1)
BOTH = {f"{H1} A 192.0.2.10", f"10.{REVERSE} PTR {H1}"}
OLD = {"cltt": 1000, "ends": 2000}


def content(rig: Rig, zone: str) -> dict[str, Records]:
    names = rig.master.zones[zone].names
    return {n: tuple((t, text) for t, rrset in types.items() for text in rrset.data.values()) for n, types in names.items()}


def check(rig: Rig) -> list[Finding]:
    clients = Clients(rig.leases.values(), lambda address: NET <= address < NET + 256, (FORWARD,))
    found: list[Finding] = []
    for zone in (FORWARD, REVERSE):
        rows = {row.name: row for row in rig.planner.rows_list() if row.zone == zone}
        found += audit.compare("main", zone, content(rig, zone), rows, clients, rig.wall)
    return found


def queue(rig: Rig, findings: list[Finding]) -> int:
    jobs = []
    for each in findings:
        if each.repair is not Repair.NONE:
            jobs.append(Job(row_key(each.target, each.kind, each.name), "repair", each))
    return rig.planner.repairs.queue(jobs, rig.now)


def repair(rig: Rig) -> int:
    count = queue(rig, check(rig))
    rig.pass_time(5)
    return count


def classes(rig: Rig) -> dict[str, str]:
    return {each.name: str(each.klass) for each in check(rig) if each.klass is not Class.OK}


@pytest.mark.parametrize(
    ("spoilt", "klass"),
    [
        ([], "missing"),
        ([f"{H1} 600 A 192.0.2.77", f"{H1} 600 DHCID {MINE}"], "wrong"),
        ([f"{H1} 600 A 192.0.2.10", f"{H1} 600 A 192.0.2.77", f"{H1} 600 DHCID {MINE}"], "wrong"),
        ([f"{H1} 600 DHCID {MINE}"], "wrong"),
    ],
)
def test_what_went_wrong_in_the_zone_is_said_again(spoilt: list[str], klass: str) -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.pass_time(1)
    assert classes(rig) == {}
    zone = rig.master.zones[FORWARD]
    del zone.names[H1]
    zone.load(spoilt)
    rig.master.zones[REVERSE].names.pop(f"10.{REVERSE}")
    assert classes(rig) == {H1: klass, f"10.{REVERSE}": "missing"}
    assert repair(rig) == 2
    assert rig.zone() == BOTH
    assert classes(rig) == {}


def test_a_predecessors_dhcid_is_replaced() -> None:
    rig = Rig()
    one = lease(10, 1, hostname="H1")
    cased = next(each.text for each in guard_candidates(one.hw, b"", H1, cased="H1") if each.how == "as-cased")
    rig.master.zones[FORWARD].load([f"{H1} 600 A 192.0.2.9", f"{H1} 600 DHCID {cased}"])
    rig.change(one)
    rig.pass_time(1)
    if classes(rig):  # the planner may know better than to wait for an audit
        assert classes(rig)[H1] == "legacy"
        assert repair(rig) >= 1
        rig.pass_time(5)
    assert f"{H1} A 192.0.2.10" in rig.zone()
    assert f"{H1} A 192.0.2.9" not in rig.zone()
    assert rig.master.zones[FORWARD].rrset(H1, "DHCID").data == {MINE: MINE}  # type: ignore[union-attr]


@pytest.mark.parametrize("old", ["DHCID", "TXT"])
def test_a_repair_takes_a_predecessors_guard_over_in_one_message(old: str) -> None:
    """migrate-guards = "reconcile": not at a renewal, but by the repair; the atomic migration of ddns.md 2.3, never remove and add."""
    rig = Rig(dataclasses.replace(PLAN, migrate_guards=False))
    one = lease(10, 1, hostname="H1")
    candidates = guard_candidates(one.hw, b"", H1, cased="H1")
    text = next(each.text for each in candidates if each.rtype == old and each.how in {"as-cased", "interim"})
    rig.master.zones[FORWARD].load(
        [f"{H1} 600 A 192.0.2.9", f"{H1} 600 {old} {text}", f'{H1} 600 TXT "keep"'][: 3 if old == "DHCID" else 2]
    )
    rig.change(one)
    rig.pass_time(4000)
    assert rig.rows()["fwd", H1].state is State.CONFLICT
    assert classes(rig)[H1] == "legacy"
    rig.sent.clear()
    assert repair(rig) == 1
    wrote = [each for each in rig.sent if isinstance(each, DnsUpdate) and any(c.op == "del-rr" for c in each.changes)]
    assert [[(c.op, c.rtype) for c in each.changes] for each in wrote] == [
        [("del-rrset", "A"), ("del-rr", old), ("add", "A"), ("add", "DHCID")]
    ]
    assert rig.zone() - {f'{H1} TXT "keep"'} == BOTH
    assert classes(rig) == {}
    rig.master.zones[FORWARD].take(H1, "DHCID")  # once only: the next one is asked for again
    rig.master.zones[FORWARD].load([f"{H1} 600 {old} {text}"])
    rig.change(one.evolve(cltt=2000))
    rig.pass_time(4000)
    assert classes(rig)[H1] == "legacy"


def test_never_leaves_a_predecessors_guard_alone() -> None:
    rig = Rig(dataclasses.replace(PLAN, migrate_guards=False, migrate_on_repair=False))
    one = lease(10, 1, hostname="H1")
    cased = next(each.text for each in guard_candidates(one.hw, b"", H1, cased="H1") if each.how == "as-cased")
    rig.master.zones[FORWARD].load([f"{H1} 600 A 192.0.2.9", f"{H1} 600 DHCID {cased}"])
    rig.change(one)
    rig.pass_time(1)
    repair(rig)
    assert f"{H1} A 192.0.2.9" in rig.zone()
    assert rig.planner.repairs.skipped == 1


def test_what_a_client_left_behind_is_removed_and_nothing_else() -> None:
    rig = Rig()
    rig.leases[NET + 10] = lease(10, 1, name="", state=BindingState.FREE, hostname="h1", **OLD)
    static = {"www.example.test. 600 A 192.0.2.10", 'txt.example.test. 600 TXT "x"'}
    rig.master.zones[FORWARD].load([*static, f"{H1} 600 A 192.0.2.10", f"{H1} 600 DHCID {MINE}", f'{H1} 600 TXT "keep"'])
    rig.master.zones[REVERSE].load([f"10.{REVERSE} 600 PTR {H1}", f"11.{REVERSE} 600 PTR www.example.test."])
    found = classes(rig)
    assert (found[H1], found[f"10.{REVERSE}"], found[f"11.{REVERSE}"]) == ("stale", "stale", "orphan")
    assert repair(rig) == 2
    assert rig.zone() == {
        "www.example.test. A 192.0.2.10",
        'txt.example.test. TXT "x"',
        f'{H1} TXT "keep"',
        f"11.{REVERSE} PTR www.example.test.",
    }
    assert rig.rows() == {}
    assert rig.stored == {}


def test_a_husk_is_removed() -> None:
    rig = Rig()
    rig.leases[NET + 10] = lease(10, 1, name="", state=BindingState.FREE, hostname="h1", **OLD)
    rig.master.zones[FORWARD].load([f"{H1} 600 DHCID {MINE}"])
    assert classes(rig) == {H1: "husk"}
    assert repair(rig) == 1
    assert H1 not in rig.master.zones[FORWARD].names


def test_a_stale_name_that_became_anothers_meanwhile_stays() -> None:
    rig = Rig()
    rig.leases[NET + 10] = lease(10, 1, name="", state=BindingState.FREE, hostname="h1", **OLD)
    zone = rig.master.zones[FORWARD]
    zone.load([f"{H1} 600 A 192.0.2.10", f"{H1} 600 DHCID {MINE}"])
    queue(rig, check(rig))
    del zone.names[H1]
    zone.load([f"{H1} 600 A 192.0.2.10", f"{H1} 600 DHCID {OTHER}"])
    rig.pass_time(5)
    assert rig.zone() == {f"{H1} A 192.0.2.10"}


def test_a_row_that_changed_since_the_check_is_skipped() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.pass_time(1)
    del rig.master.zones[FORWARD].names[H1]
    queue(rig, check(rig))
    rig.change(lease(10, 1).evolve(address=NET + 20))
    rig.pass_time(5)
    assert rig.planner.repairs.skipped == 1
    assert rig.planner.repairs.waiting == 0
    assert "ddns-repaired" in rig.notes


def test_a_zone_that_was_configured_later_is_filled() -> None:
    rig = Rig()
    rig.leases[NET + 10] = lease(10, 1)
    rig.boot()
    assert classes(rig) == {H1: "missing"}
    assert repair(rig) == 1
    assert rig.zone() == BOTH


def test_conflicts_and_statics_are_reported_and_not_touched() -> None:
    rig = Rig()
    rig.master.zones[FORWARD].load([f"{H1} 600 A 192.0.2.99", "h2.example.test. 600 A 192.0.2.98", f"{H1} 600 DHCID {OTHER}"])
    rig.change(lease(10, 1))
    rig.change(lease(11, 2, "h2.example.test."))
    rig.pass_time(1)
    assert {each.klass for each in check(rig) if each.kind == "fwd" and each.name != FORWARD} == {Class.CONFLICT, Class.STATIC}
    before = rig.zone()
    assert repair(rig) == 0
    assert rig.zone() == before


def names_sent(rig: Rig) -> int:
    return sum(len({change.name for change in m.changes}) for m in rig.sent if isinstance(m, DnsUpdate))


def test_bulk_work_keeps_its_rate_and_waits_while_we_are_in_doubt() -> None:
    rig = Rig()
    for host in range(1, 121):
        rig.change(lease(host, host, f"h{host}.example.test."))
    rig.pass_time(1)
    rig.sent.clear()
    rig.fence(True)
    rig.planner.repairs.queue((Job(key, "resend") for key in rig.planner.row_keys()), rig.now)
    rig.pass_time(10)
    assert rig.sent == []
    rig.fence(False)
    rig.pass_time(1.9)
    assert RATE_PER_S <= names_sent(rig) <= 2.5 * RATE_PER_S
    rig.pass_time(60)
    assert names_sent(rig) == 240


def test_take_removes_exactly_what_was_seen() -> None:
    rig = Rig()
    zone = rig.master.zones[FORWARD]
    zone.load([f"{H1} 600 A 192.0.2.99", f"{H1} 600 AAAA 2001:db8::1", f"{H1} 600 DHCID {OTHER}"])
    rig.change(lease(10, 1))
    rig.pass_time(1)
    row = rig.rows()["fwd", H1]
    assert row.state is State.CONFLICT
    out = Output()
    rig.planner.repairs.displace(row, OTHER, content(rig, FORWARD)[H1], rig.now, out, "take")
    rig._take(out)
    rig.pass_time(1)
    assert rig.zone() == BOTH
    assert zone.rrset(H1, "DHCID").data == {MINE: MINE}  # type: ignore[union-attr]


def test_retry_asks_a_held_zone_now() -> None:
    rig = Rig()
    rig.answer = lambda message: DnsAnswer(message.ident, "REFUSED", "model")
    rig.change(lease(10, 1))
    rig.run()
    rig.answer = rig.master.answer
    assert rig.zone() == set()
    rig.planner.repairs.retry(rig.planner.rows_list(), rig.now)
    rig.pass_time(1)
    assert rig.zone() == BOTH


def test_drop_forgets_a_row_and_the_next_change_makes_it_anew() -> None:
    rig = Rig()
    rig.master.zones[FORWARD].load([f"{H1} 600 A 192.0.2.99", f"{H1} 600 DHCID {OTHER}"])
    rig.change(lease(10, 1))
    rig.pass_time(1)
    out = Output()
    for row in rig.planner.repairs.rows_of(H1):
        rig.planner.repairs.drop(row, rig.now, out)
    rig._take(out)
    assert rig.rows() == {}
    assert rig.stored == {}
    del rig.master.zones[FORWARD].names[H1]
    rig.change(lease(10, 1).evolve(cltt=2000))
    rig.pass_time(1)
    assert rig.zone() == BOTH


def test_a_held_zone_waits_also_after_a_restart() -> None:
    rig = Rig()
    out = Output()
    assert rig.planner.repairs.hold(Hold("main", FORWARD, "alice", "moving it", rig.wall), out)
    assert not rig.planner.repairs.hold(Hold("main", "no.test.", "alice", "", rig.wall), out)
    rig._take(out)
    rig.change(lease(10, 1))
    rig.pass_time(7200)
    assert rig.zone() == set()
    zones = rig.planner.status(rig.now)["zones"]
    assert {(z["zone"], z["state"], z["reason"]) for z in zones} == {  # type: ignore[attr-defined]
        (FORWARD, "held", "held by alice: moving it"),
        (REVERSE, "ok", ""),
    }
    rig.boot()
    rig.pass_time(7200)
    assert rig.zone() == set()
    out = Output()
    assert rig.planner.repairs.release("main", FORWARD, rig.now, out)
    assert not rig.planner.repairs.release("main", FORWARD, rig.now, out)
    rig._take(out)
    rig.pass_time(5)
    assert rig.zone() == BOTH
    assert all("hold" not in key.decode() for key in rig.stored)


def test_what_the_partner_owns_is_not_repaired() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.pass_time(1)
    one: Lease = lease(10, 1).evolve(cltt=3000, starts=3000)
    rig.change(one, Origin.PARTNER)
    rig.master.zones[FORWARD].names.pop(H1)
    assert repair(rig) == 0
