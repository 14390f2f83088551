"""RFC 2317 with follow-cname: where the PTR of an address belongs is asked, waited for, remembered, and noticed when it changes."""

from __future__ import annotations

import dataclasses

from failoverd.ddns.follow import AGAIN_S, RETRY_MAX_S, is_follow
from failoverd.ddns.rows import State
from failoverd.ddns.zone import DnsPlan, Followed, Zone
from failoverd.leases.lease import NO_FORWARD, BindingState
from failoverd.ports import DnsAnswer, DnsQuery, DnsUpdate
from tests.ddns import model
from tests.ddns.rig import FORWARD, NET, PRIMARY, REVERSE, ZONES, Rig, lease

CHILD = "0-63.2.0.192.in-addr.arpa."
H1 = "h1.example.test."
PLAIN, OWNER, OTHER = f"10.{REVERSE}", f"10.{CHILD}", f"x10.{CHILD}"
PLAN = DnsPlan((ZONES[0], Zone("main", CHILD, PRIMARY, "key"), ZONES[1]), follow=(Followed(NET, 26, CHILD),))
A, PTR = f"{H1} A 192.0.2.10", f"{OWNER} PTR {H1}"


def site(plan: DnsPlan = PLAN) -> Rig:
    rig = Rig(plan)
    child = model.Zone(CHILD)
    child.load([f"{CHILD} 3600 SOA ns1.example.test. x. 1 3600 600 86400 60", f"{CHILD} 3600 NS ns1.example.test."])
    rig.master.zones[CHILD] = child
    rig.master.zones[REVERSE].put(PLAIN, 3600, "CNAME", OWNER)
    return rig


def lead(rig: Rig, owner: str) -> None:
    """The operator of the parent lets the CNAME lead elsewhere; "" takes it away."""
    rig.master.zones[REVERSE].take(PLAIN, "CNAME")
    if owner:
        rig.master.zones[REVERSE].put(PLAIN, 3600, "CNAME", owner)


def records(rig: Rig) -> set[str]:
    return {line for line in rig.zone() if " CNAME " not in line}


def questions(rig: Rig) -> int:
    return sum(isinstance(each, DnsQuery) and each.types == ("CNAME",) for each in rig.sent)


def test_the_ptr_stands_where_the_cname_leads_and_goes_with_the_lease() -> None:
    rig = site()
    rig.change(lease(10, 1))
    rig.run()
    assert records(rig) == {A, PTR}
    assert any(is_follow(text) for text in rig.stored.values())
    rig.free(10)
    rig.run()
    assert records(rig) == set()
    assert rig.stored == {}
    rig.change(lease(10, 2, "h2.example.test."))
    rig.run()
    assert f"{OWNER} PTR h2.example.test." in records(rig)
    assert questions(rig) == 1  # what was asked within the hour is known


def test_an_address_outside_of_the_prefix_keeps_its_plain_name() -> None:
    rig = site()
    rig.change(lease(70, 1))
    rig.run()
    assert records(rig) == {f"{H1} A 192.0.2.70", f"70.{REVERSE} PTR {H1}"}
    assert questions(rig) == 0


def test_a_name_of_the_lease_itself_stands_above_the_cname() -> None:
    rig = site()
    rig.change(lease(10, 1, rev=OTHER))  # a mapping of a longer prefix
    rig.run()
    assert records(rig) == {A, f"{OTHER} PTR {H1}"}


def test_the_ptr_waits_with_a_reason_until_there_is_a_cname() -> None:
    rig = site()
    lead(rig, "")
    rig.change(lease(10, 1))
    rig.run()
    assert records(rig) == {A}
    row = rig.rows()["rev", PLAIN]
    assert (row.state, row.last_error) == (State.HELD, f"there is no CNAME at {PLAIN}")
    assert "ddns-cname-not-followed" in rig.notes
    status = rig.planner.status(rig.now)
    assert status["rows"] == {**dict.fromkeys(map(str, State), 0), "clean": 1, "held": 1}
    lead(rig, OWNER)
    rig.pass_time(RETRY_MAX_S)
    assert records(rig) == {A, PTR}
    assert ("rev", PLAIN) not in rig.rows()


def test_a_waiting_ptr_is_asked_for_less_and_less_often_and_at_once_when_the_operator_says_retry() -> None:
    rig = site()
    lead(rig, "")
    rig.change(lease(10, 1))
    rig.pass_time(3600)
    assert 12 <= questions(rig) <= 40
    asked = questions(rig)
    assert rig.planner.retry([rig.rows()["rev", PLAIN], rig.rows()["fwd", H1]], rig.now) == 1
    rig.run()
    assert questions(rig) == asked + 1


def test_a_cname_that_leads_out_of_the_zone_is_not_followed() -> None:
    rig = site()
    for owner in ("10.elsewhere.test.", CHILD, f"x{CHILD}"):
        lead(rig, owner)
        rig.change(lease(10, 1))
        rig.pass_time(1)
        assert rig.rows()["rev", PLAIN].last_error == f"the CNAME at {PLAIN} leads to {owner.lower()}, which is not in {CHILD}"
        rig.free(10)
        rig.run()
    assert all(isinstance(each, DnsQuery) or each.zone == FORWARD for each in rig.sent)


def test_a_master_that_does_not_answer_loses_nothing() -> None:
    rig = site()

    def answer(message: DnsUpdate | DnsQuery) -> DnsAnswer:
        if isinstance(message, DnsQuery) and message.types == ("CNAME",):
            return DnsAnswer(message.ident, "REFUSED", "model", "not mine")
        return rig.master.answer(message)

    rig.answer = answer
    rig.change(lease(10, 1))
    rig.pass_time(60)
    assert rig.rows()["rev", PLAIN].last_error == f"the CNAME at {PLAIN} cannot be read: REFUSED not mine"
    rig.boot()  # the lease says it all
    rig.pass_time(60)
    assert rig.rows()["rev", PLAIN].state is State.HELD
    rig.answer = rig.master.answer
    rig.boot()
    rig.run()
    assert records(rig) == {A, PTR}


def test_a_silent_master_is_not_flooded() -> None:
    rig = site()
    rig.answer = lambda message: DnsAnswer(message.ident, "TIMEOUT", "")
    for host in range(1, 60):
        rig.change(lease(host, host, f"h{host}.example.test."))
    rig.pass_time(300)
    assert questions(rig) < 60  # one message at a time asks a silent server
    rig.answer = rig.master.answer
    for host in range(1, 60):
        rig.master.zones[REVERSE].put(f"{host}.{REVERSE}", 3600, "CNAME", f"{host}.{CHILD}")
    rig.pass_time(400)
    assert {line for line in records(rig) if " PTR " in line} == {f"{n}.{CHILD} PTR h{n}.example.test." for n in range(1, 60)}


def test_a_changed_cname_moves_the_ptr_and_the_old_one_goes() -> None:
    rig = site()
    rig.change(lease(10, 1))
    rig.run()
    lead(rig, OTHER)
    rig.pass_time(AGAIN_S)
    assert records(rig) == {A, f"{OTHER} PTR {H1}"}
    assert "ddns-cname-changed" in rig.notes
    rig.boot()
    rig.free(10)
    rig.run()
    assert records(rig) == set()
    assert rig.stored == {}


def test_a_cname_that_changed_while_the_master_was_down_leaves_nothing_behind() -> None:
    rig = site()
    rig.change(lease(10, 1))
    rig.run()
    lead(rig, OTHER)
    refuse = True

    def answer(message: DnsUpdate | DnsQuery) -> DnsAnswer:
        if refuse and isinstance(message, DnsUpdate):
            return DnsAnswer(message.ident, "SERVFAIL", "model")
        return rig.master.answer(message)

    rig.answer = answer
    rig.pass_time(AGAIN_S)
    rig.boot()
    rig.pass_time(60)
    assert records(rig) == {A, PTR}  # not yet
    refuse = False
    rig.pass_time(120)
    assert records(rig) == {A, f"{OTHER} PTR {H1}"}


def test_a_cname_that_is_gone_leaves_the_ptr_where_it_is() -> None:
    rig = site()
    rig.change(lease(10, 1))
    rig.run()
    lead(rig, "")
    rig.pass_time(AGAIN_S + RETRY_MAX_S)
    assert records(rig) == {A, PTR}
    assert "ddns-cname-not-followed" in rig.notes
    rig.free(10)
    rig.run()
    assert records(rig) == set()


def test_a_renamed_client_takes_its_ptr_with_it_and_a_client_with_an_address_record_of_its_own_has_one() -> None:
    rig = site()
    rig.change(lease(10, 1))
    rig.run()
    rig.change(lease(10, 1, "new.example.test."))
    rig.run()
    assert records(rig) == {"new.example.test. A 192.0.2.10", f"{OWNER} PTR new.example.test."}
    rig.change(lease(10, 1, "own.example.test.", dns=NO_FORWARD))
    rig.run()
    assert records(rig) == {f"{OWNER} PTR own.example.test."}


def test_a_name_that_is_given_up_takes_the_ptr_to_the_next_one() -> None:
    rig = site(dataclasses.replace(PLAN, on_conflict="suffix"))
    rig.master.zones[FORWARD].put(H1, 60, "A", "192.0.2.250")
    lead(rig, "")
    rig.change(lease(10, 1))
    rig.run()
    assert rig.rows()["rev", PLAIN].want[0].text == "h1-2.example.test."
    lead(rig, OWNER)
    rig.pass_time(RETRY_MAX_S)
    assert f"{OWNER} PTR h1-2.example.test." in records(rig)


def test_the_configuration_no_longer_follows_and_nothing_is_left_behind() -> None:
    rig = site()
    rig.change(lease(10, 1))
    rig.run()
    rig.plan = dataclasses.replace(PLAN, follow=())
    lead(rig, "")
    rig.boot()
    rig.run()
    assert records(rig) == {A, PTR}  # as it was, until the client renews
    rig.change(lease(10, 1, cltt=1100))
    rig.run()
    assert records(rig) == {A, f"{PLAIN} PTR {H1}"}
    assert not any(is_follow(text) for text in rig.stored.values())


def test_what_is_stored_for_a_lease_that_ended_elsewhere_goes_at_boot() -> None:
    rig = site()
    rig.change(lease(10, 1))
    rig.run()
    rig.leases[NET + 10] = rig.leases[NET + 10].evolve(state=BindingState.FREE, fqdn="")
    rig.boot()
    rig.run()
    assert not any(is_follow(text) for text in rig.stored.values())


def test_a_fenced_server_asks_nothing() -> None:
    rig = site()
    rig.boot(fenced=True)
    rig.change(lease(10, 1))
    rig.run()
    assert rig.sent == []
    rig.fence(False)
    rig.run()
    assert records(rig) == {A, PTR}


def test_the_parent_is_asked_where_it_is_ours_else_the_master_of_the_names_and_another_target_after_a_failure() -> None:
    child = Zone("main", CHILD, PRIMARY, "key")
    backup = dataclasses.replace(child, target="backup")
    rig = site(DnsPlan((ZONES[0], child, backup), follow=PLAN.follow))
    asked: list[tuple[str, str]] = []

    def answer(message: DnsUpdate | DnsQuery) -> DnsAnswer:
        if isinstance(message, DnsQuery) and message.types == ("CNAME",):
            asked.append((message.target, message.zone))
            if message.target == "main":
                return DnsAnswer(message.ident, "NOERROR", "model", records=(("CNAME", OWNER.upper()),))
            return DnsAnswer(message.ident, "REFUSED", "model")
        return rig.master.answer(message)

    rig.answer = answer
    rig.change(lease(10, 1))
    rig.pass_time(10)
    assert asked == [("backup", CHILD), ("main", CHILD)]
    assert PTR in records(rig)
