"""Whose is a name? Guards of predecessors, entries of a DHCPv6 server, names that give way, values that somebody else wrote."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from failoverd.ddns.contest import suffixed
from failoverd.ddns.dhcid import TYPE_DUID, guard, identifier_type, rdata, short_digest
from failoverd.ddns.guards import guard_candidates
from failoverd.ddns.rows import ME, PEER, State
from failoverd.ddns.steps import CHECK, EXISTS_MODE, FORCE_MODE
from failoverd.leases.lease import BindingState
from failoverd.ports import DnsQuery, DnsUpdate, Origin
from tests.ddns.rig import FORWARD, NET, PLAN, REVERSE, Rig, lease
from tests.ddns.test_plan import GUARD_1, GUARD_2, H1, ops

CLIENT_ID = b"\xff\x00\x00\x00\x01\x00\x01\x00\x06\x41\x2d\xf1\x66\x01\x02\x03\x04\x05\x06"
INTERIM_1 = '"00c4ca78f9cf3717b36cf11b2bb4fc190c"'
CASED_1 = next(g.text for g in guard_candidates(lease(10, 1).hw, b"", H1, cased="H1") if g.how == "as-cased")
FAMILY = base64.b64encode(rdata(TYPE_DUID, b"\x00\x03\x00\x01\x02\x00\x00\x00\x00\x01", H1)).decode()
NAME_2 = "h1-2.example.test."


def at(rig: Rig, name: str, rtype: str) -> set[str]:
    rrset = rig.master.zones[FORWARD].rrset(name, rtype)
    return set(rrset.data) if rrset else set()


def started(*lines: str, **plan: object) -> Rig:
    rig = Rig(replace(PLAN, **plan))  # type: ignore[arg-type]
    rig.master.zones[FORWARD].load(f"{H1} 60 {line}" for line in lines)
    return rig


# --- guards of a predecessor ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "who"),
    [
        (f"TXT {INTERIM_1}", {}),
        (f"DHCID {CASED_1}", {"hostname": "H1"}),
        (f"DHCID {GUARD_1}", {"client_id": b"\x01\x02\x00\x00\x00\x00\x01"}),  # a server that went by the hardware address
    ],
    ids=["interim", "as-cased", "other-identifier"],
)
@pytest.mark.parametrize("mode", [CHECK, EXISTS_MODE])
def test_a_predecessors_guard_is_taken_over_in_one_message(old: str, who: dict[str, object], mode: str) -> None:
    rig = started("A 192.0.2.99", old, conflict_mode=mode)
    rig.change(lease(10, 1, **who))
    rig.run()
    ours = guard(lease(10, 1).hw, bytes(who.get("client_id", b"")), H1)  # type: ignore[call-overload]
    assert at(rig, H1, "A") == {"192.0.2.10"}
    assert at(rig, H1, "DHCID") == {ours}
    assert not at(rig, H1, "TXT")
    if mode == CHECK or old.startswith("TXT"):
        assert "yxrrset" in ops(rig.sent[3])
        assert "del-rr:" in ops(rig.sent[3])
    rig.free(10)
    rig.run()
    assert rig.zone() == set()


def test_an_operators_txt_beside_the_interim_guard_survives() -> None:
    rig = started("A 192.0.2.99", f"TXT {INTERIM_1}", 'TXT "v=spf1 -all"')
    rig.change(lease(10, 1))
    rig.run()
    assert at(rig, H1, "TXT") == {'"v=spf1 -all"'}
    assert at(rig, H1, "DHCID") == {GUARD_1}
    assert at(rig, H1, "A") == {"192.0.2.10"}


def test_two_guards_of_the_same_client_become_one() -> None:
    rig = started("A 192.0.2.99", f"DHCID {CASED_1}", f"DHCID {GUARD_1}")
    rig.change(lease(10, 1, hostname="H1"))
    rig.run()
    assert at(rig, H1, "DHCID") == {GUARD_1}
    assert at(rig, H1, "A") == {"192.0.2.10"}


@pytest.mark.parametrize(
    ("lines", "plan"),
    [
        (("A 192.0.2.99", f"TXT {INTERIM_1}"), {"migrate_guards": False}),
        (("A 192.0.2.99", f"DHCID {CASED_1}"), {"migrate_guards": False}),
        (("A 192.0.2.99", 'TXT "00278c757bd752773b3a3f8459cf56f0c0"'), {}),  # another client's
        (("A 192.0.2.99", f"DHCID {CASED_1}", f"DHCID {GUARD_2}"), {}),
        (("AAAA 2001:db8::1", f"TXT {INTERIM_1}"), {}),  # another server keeps the AAAA up under it
        (("AAAA 2001:db8::1", f"DHCID {CASED_1}", f"DHCID {GUARD_1}"), {}),
    ],
)
def test_what_is_not_proven_or_not_ours_alone_is_a_conflict(lines: tuple[str, ...], plan: dict[str, object]) -> None:
    rig = started(*lines, **plan)
    before = rig.master.zones[FORWARD].lines()
    rig.change(lease(10, 1, hostname="H1"))
    rig.run()
    assert rig.rows()["fwd", H1].state is State.CONFLICT
    assert rig.master.zones[FORWARD].lines() == before


def test_a_migration_whose_answer_was_lost_is_made_good() -> None:
    for applied in (True, False):
        rig = started("A 192.0.2.99", f"TXT {INTERIM_1}")
        rig.change(lease(10, 1))
        rig.due()
        for _ in range(3):
            message = rig.wire.pop(0)
            rig.deliver(rig.master.answer(message))
        message = rig.wire[0]
        assert isinstance(message, DnsUpdate)
        assert any(c.rtype == "TXT" for c in message.changes)
        if applied:
            rig.master.update(message)
        rig.boot()
        rig.run()
        assert at(rig, H1, "DHCID") == {GUARD_1}
        assert not at(rig, H1, "TXT")
        assert f"{H1} A 192.0.2.10" in rig.zone()


def test_a_migration_that_is_raced_looks_again() -> None:
    rig = started("A 192.0.2.99", f"TXT {INTERIM_1}")
    rig.change(lease(10, 1))
    rig.due()
    for _ in range(3):
        rig.deliver(rig.master.answer(rig.wire.pop(0)))
    rig.master.zones[FORWARD].load([f"{H1} 60 AAAA 2001:db8::1"])
    rig.run()
    assert rig.rows()["fwd", H1].state is State.CONFLICT
    assert at(rig, H1, "TXT") == {INTERIM_1}


def test_a_guard_that_holds_an_aaaa_too_is_left_in_place() -> None:
    rig = started("A 192.0.2.99", "AAAA 2001:db8::1", f"DHCID {CASED_1}")
    rig.change(lease(10, 1, hostname="H1"))
    rig.run()
    assert at(rig, H1, "DHCID") == {CASED_1}
    assert at(rig, H1, "A") == {"192.0.2.10"}
    rig.boot()
    rig.change(lease(20, 1, hostname="H1"))
    rig.run()
    assert at(rig, H1, "A") == {"192.0.2.20"}
    rig.free(20)
    rig.free(10)
    rig.run()
    assert not at(rig, H1, "A")
    assert at(rig, H1, "AAAA")
    assert at(rig, H1, "DHCID") == {CASED_1}
    assert not [name for kind, name in rig.rows() if kind == "fwd"]


# --- the entry of a DHCPv6 server -------------------------------------------------------------------------------------


def test_our_address_stands_beside_the_entry_of_a_dhcpv6_server() -> None:
    rig = started("AAAA 2001:db8::1", f"DHCID {FAMILY}", accept_family=True)
    rig.change(lease(10, 1))
    rig.run()
    assert (at(rig, H1, "A"), at(rig, H1, "AAAA"), at(rig, H1, "DHCID")) == ({"192.0.2.10"}, {"2001:db8::1"}, {FAMILY})
    assert f"10.{REVERSE} PTR {H1}" in rig.zone()
    rig.free(10)
    rig.run()
    assert (at(rig, H1, "A"), at(rig, H1, "AAAA"), at(rig, H1, "DHCID")) == (set(), {"2001:db8::1"}, {FAMILY})
    assert rig.rows() == {}


def test_when_the_dhcpv6_entry_goes_the_name_becomes_ours() -> None:
    rig = started("AAAA 2001:db8::1", f"DHCID {FAMILY}", accept_family=True)
    rig.change(lease(10, 1))
    rig.run()
    for rtype in ("AAAA", "DHCID", "A"):
        rig.master.zones[FORWARD].take(H1, rtype)
    rig.change(lease(20, 1))
    rig.run()
    assert (at(rig, H1, "A"), at(rig, H1, "DHCID")) == ({"192.0.2.20"}, {GUARD_1})
    assert rig.rows()["fwd", H1].lodger == ""


def test_when_our_own_dhcid_is_there_again_the_row_sees_it() -> None:
    rig = started("AAAA 2001:db8::1", f"DHCID {FAMILY}", accept_family=True)
    rig.change(lease(10, 1))
    rig.run()
    rig.master.zones[FORWARD].take(H1, "DHCID")
    rig.master.zones[FORWARD].load([f"{H1} 60 DHCID {GUARD_1}"])
    rig.change(lease(20, 1))
    rig.run()
    assert at(rig, H1, "A") == {"192.0.2.20"}
    assert rig.rows()["fwd", H1].lodger == ""


def test_another_client_after_the_lodger_starts_with_its_own_guard() -> None:
    rig = started("AAAA 2001:db8::1", f"DHCID {FAMILY}", accept_family=True)
    rig.change(lease(10, 1))
    rig.run()
    rig.free(10)
    rig.change(lease(20, 2))
    rig.run()
    assert at(rig, H1, "A") == {"192.0.2.20"}
    assert at(rig, H1, "DHCID") == {FAMILY}


@pytest.mark.parametrize(
    ("lines", "accept"),
    [
        (("AAAA 2001:db8::1", f"DHCID {FAMILY}"), False),
        (("AAAA 2001:db8::1", f"DHCID {GUARD_2}"), True),  # not a DUID
        (("AAAA 2001:db8::1", "A 192.0.2.99", f"DHCID {FAMILY}"), True),
        ((f"DHCID {FAMILY}",), True),
    ],
)
def test_other_entries_are_conflicts(lines: tuple[str, ...], accept: bool) -> None:
    rig = started(*lines, accept_family=accept)
    rig.change(lease(10, 1))
    rig.run()
    assert rig.rows()["fwd", H1].state is State.CONFLICT


def test_an_a_that_comes_between_is_not_overwritten() -> None:
    rig = started("AAAA 2001:db8::1", f"DHCID {FAMILY}", accept_family=True)
    rig.change(lease(10, 1))
    rig.due()
    for _ in range(3):
        rig.deliver(rig.master.answer(rig.wire.pop(0)))
    assert ops(rig.wire[0]) == "yxdomain yxrrset nxrrset | del-rrset:A add:A"
    rig.master.zones[FORWARD].load([f"{H1} 60 A 192.0.2.99"])
    rig.run()
    assert at(rig, H1, "A") == {"192.0.2.99"}
    assert rig.rows()["fwd", H1].state is State.CONFLICT


# --- names that give way ----------------------------------------------------------------------------------------------


def suffixing(*lines: str) -> Rig:
    return started(*lines, on_conflict="suffix")


def test_a_taken_name_gives_way_to_one_with_a_suffix_that_lasts() -> None:
    rig = suffixing("A 192.0.2.99")
    rig.change(lease(10, 1))
    rig.run()
    expected = {f"{H1} A 192.0.2.99", f"{NAME_2} A 192.0.2.10", f"10.{REVERSE} PTR {NAME_2}"}
    assert rig.zone() == expected
    assert "ddns-suffixed" in rig.notes
    assert rig.rows()["fwd", NAME_2].wish == H1
    assert at(rig, NAME_2, "DHCID") == {guard(lease(10, 1).hw, b"", NAME_2)}
    assert rig.planner.name_of(rig.leases[NET + 10]) == NAME_2
    rig.master.zones[FORWARD].take(H1, "A")
    for _ in range(2):
        rig.boot()
        rig.change(rig.leases[NET + 10].evolve(cltt=5000, ends=5000 + 3600))
        rig.pass_time(4000)
        assert rig.zone() == expected - {f"{H1} A 192.0.2.99"}, "stable until the lease ends"
    rig.free(10)
    rig.run()
    assert rig.zone() == set()
    assert rig.rows() == {}
    rig.change(lease(10, 1))
    rig.run()
    assert f"{H1} A 192.0.2.10" in rig.zone()


def test_two_of_our_clients_with_one_name() -> None:
    rig = suffixing()
    for client in (1, 2, 3):
        rig.change(lease(10 * client, client))
    rig.run()
    assert {line for line in rig.zone() if " A " in line} == {
        f"{H1} A 192.0.2.10",
        f"{NAME_2} A 192.0.2.20",
        "h1-3.example.test. A 192.0.2.30",
    }
    rig.change(lease(21, 2))
    rig.run()
    assert f"{NAME_2} A 192.0.2.21" in rig.zone(), "the client's next lease has the same name"
    rig.free(20)
    rig.free(21)
    rig.change(lease(20, 2, "h1-2.example.test."))
    rig.run()
    assert rig.rows()["fwd", NAME_2].wish == ""


def test_when_all_numbers_are_taken_the_name_ends_in_the_dhcid() -> None:
    rig = suffixing("A 192.0.2.99")
    rig.master.zones[FORWARD].load(f"h1-{n}.example.test. 60 A 192.0.2.99" for n in range(2, 10))
    last = f"h1-{short_digest(GUARD_1)}.example.test."
    rig.change(lease(10, 1))
    rig.run()
    assert f"{last} A 192.0.2.10" in rig.zone()
    rig.free(10)
    rig.run()
    rig.master.zones[FORWARD].load([f"{last} 60 A 192.0.2.99"])
    rig.change(lease(10, 1))
    rig.run()
    assert rig.rows()["fwd", last].state is State.CONFLICT, "there is no further name"


def test_suffixes_fit_into_a_label() -> None:
    long = "a" * 63 + ".example.test."
    names = list(suffixed(long, GUARD_1, long))
    assert len(names) == 9
    assert all(len(name.partition(".")[0]) == 63 for name in names)
    assert list(suffixed(long, GUARD_1, names[-1])) == []
    assert identifier_type(GUARD_1) == 0
    assert identifier_type("AA=") == identifier_type("AAAA") == -1


def test_a_name_of_the_partner_gives_way_only_when_it_is_ours() -> None:
    rig = suffixing()
    rig.change(lease(10, 1))
    rig.change(lease(20, 2), Origin.PARTNER)
    rig.run()
    assert rig.zone() == {f"{H1} A 192.0.2.10", f"10.{REVERSE} PTR {H1}"}
    rig.take_over()
    rig.pass_time(400)
    rig.change(lease(20, 2, cltt=5000, ends=9000))
    rig.run()
    assert f"{NAME_2} A 192.0.2.20" in rig.zone()


def test_the_client_that_asked_last_takes_the_name() -> None:
    for mode in (EXISTS_MODE, FORCE_MODE):
        rig = started("A 192.0.2.99", f"DHCID {GUARD_2}", conflict_mode=mode, on_conflict="take")
        rig.change(lease(10, 1))
        rig.run()
        assert at(rig, H1, "A") == {"192.0.2.10"}
        rig.change(lease(20, 2))
        rig.run()
        assert at(rig, H1, "A") == {"192.0.2.20"}
        assert at(rig, H1, "DHCID") == {GUARD_2}
        rig.free(20)
        rig.run()
        assert at(rig, H1, "A") == {"192.0.2.10"}
        assert at(rig, H1, "DHCID") == {GUARD_1}


# --- what somebody else wrote while we were cut off -------------------------------------------------------------------


def cut_off(*, lost: bool = False) -> Rig:
    """A row of ours that changed while nothing could be sent."""
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    if lost:
        rig.change(lease(15, 1))
        rig.due()
        message = next(m for m in rig.wire if m.zone == FORWARD)
        assert isinstance(message, DnsUpdate)
        rig.master.update(message)
        rig.boot(fenced=True)
    rig.fence(True)
    rig.change(lease(20, 1))
    return rig


@pytest.mark.parametrize("lost", [False, True])
def test_after_a_separation_only_what_we_knew_is_replaced(lost: bool) -> None:
    rig = cut_off(lost=lost)
    rig.fence(False)
    count = len(rig.sent)
    rig.run()
    assert at(rig, H1, "A") == {"192.0.2.20"}
    forward = [ops(m) for m in rig.sent[count:] if m.zone == FORWARD]
    assert forward[0] == "yxdomain yxrrset yxrrset | del-rrset:A add:A"
    assert forward[1:] == (["query", "yxdomain yxrrset | del-rrset:A add:A"] if lost else [])


def test_when_it_is_not_known_what_the_name_shows_it_is_read_first() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    rig.free(10)
    rig.due()
    rig.boot(fenced=True)
    rig.change(lease(20, 1))
    rig.fence(False)
    rig.due()
    assert next(ops(m) for m in rig.wire if m.zone == FORWARD) == "query"
    rig.run()
    assert at(rig, H1, "A") == {"192.0.2.20"}


@pytest.mark.parametrize("lost", [False, True])
def test_a_newer_value_is_not_overwritten(lost: bool) -> None:
    rig = cut_off(lost=lost)
    rig.master.zones[FORWARD].take(H1, "A")
    rig.master.zones[FORWARD].load([f"{H1} 60 A 192.0.2.77"])
    rig.fence(False)
    rig.run()
    assert at(rig, H1, "A") == {"192.0.2.77"}
    assert rig.rows()["fwd", H1].state is State.CONFLICT
    assert "ddns-newer-value" in rig.notes
    rig.pass_time(61)
    rig.change(rig.leases[NET + 20].evolve(cltt=2000))
    rig.run()
    assert at(rig, H1, "A") == {"192.0.2.20"}, "the client spoke here"


@pytest.mark.parametrize(
    ("lines", "state"),
    [
        ([], State.CLEAN),  # the name vanished: it is added again
        ([f"{H1} 60 DHCID {GUARD_1}"], State.CLEAN),  # a removal stopped half-way
        ([f"{H1} 60 A 192.0.2.77", f"{H1} 60 DHCID {GUARD_2}"], State.CONFLICT),
    ],
)
def test_after_a_separation_the_name_may_be_anything(lines: list[str], state: State) -> None:
    rig = cut_off()
    for rtype in ("A", "DHCID"):
        rig.master.zones[FORWARD].take(H1, rtype)
    rig.master.zones[FORWARD].load(lines)
    rig.fence(False)
    rig.run()
    assert rig.rows()["fwd", H1].state is state
    assert isinstance(rig.sent[0], DnsUpdate)
    assert isinstance(rig.sent[-1], DnsUpdate | DnsQuery)


def test_owners_of_the_rows() -> None:
    rig = suffixing()
    rig.change(lease(20, 2), Origin.PARTNER)
    assert rig.rows()["fwd", H1].owner == PEER
    rig.change(lease(20, 2, state=BindingState.ACTIVE, starts=1500))
    assert rig.rows()["fwd", H1].owner == ME
