"""Batches: what goes together, what alone, and what becomes of a batch that one name spoils."""

from __future__ import annotations

from random import Random

import pytest

from failoverd.ddns.batch import BYTES_MAX, NAMES_MAX, size
from failoverd.ddns.rows import State
from failoverd.ddns.zone import DnsPlan, Zone
from failoverd.leases.lease import BindingState
from failoverd.ports import DnsAnswer, DnsQuery, DnsUpdate
from tests.ddns import model
from tests.ddns import rig as rigs
from tests.ddns.rig import FORWARD, NET, PLAN, REVERSE, Rig, lease

OTHER = "AAABxLmlskllE0MVjd57zHcWmEH3pCQ6VytcKD//7es/deY="


def updates(rig: Rig, zone: str = FORWARD) -> list[DnsUpdate]:
    return [m for m in rig.sent if isinstance(m, DnsUpdate) and m.zone == zone]


def names(update: DnsUpdate) -> list[str]:
    return list(dict.fromkeys(change.name for change in update.changes))


def fill(rig: Rig, hosts: range, prefix: str = "h") -> None:
    for host in hosts:
        rig.change(lease(host, host, f"{prefix}{host}.example.test."))


def test_an_idle_zone_sends_at_once_and_a_busy_one_batches() -> None:
    rig = Rig()
    fill(rig, range(1, 2))
    rig.due()
    assert [names(m) for m in updates(rig)] == [["h1.example.test."]]
    fill(rig, range(2, 130))
    rig.due()
    assert len(updates(rig)) == 1, "one message of a zone at a time"
    rig.run()
    assert [len(names(m)) for m in updates(rig)] == [1, 50, 50, 28]
    assert len(rig.zone()) == 2 * 129
    assert all(row.state is State.CLEAN for row in rig.rows().values())
    for message in updates(rig) + updates(rig, REVERSE):
        assert len(names(message)) <= NAMES_MAX
        assert len(names(message)) == len({c.name for c in message.changes})


def test_a_message_is_no_longer_than_16_kb() -> None:
    rig = Rig()
    for host in range(1, 51):
        label = f"h{host:02}" + "x" * 58
        rig.change(lease(host, host, f"{label}.{label}.{label}.example.test."))
    rig.run()
    assert len(rig.zone()) == 100
    assert max(size(m) for m in updates(rig)) <= BYTES_MAX
    assert len(updates(rig)) >= 2


def test_a_name_that_spoils_a_batch_is_found_with_queries_and_the_rest_goes_together() -> None:
    rig = Rig()
    zone = rig.master.zones[FORWARD]
    zone.load(["h7.example.test. 60 A 192.0.2.99", 'h8.example.test. 60 TXT "rack"', f"h9.example.test. 60 DHCID {OTHER}"])
    zone.load(["h12.example.test. 60 DHCID AAEB"])
    fill(rig, range(1, 31))
    rig.run()
    rows = rig.rows()
    assert {name for (kind, name), row in rows.items() if kind == "fwd" and row.state is State.CONFLICT} == {
        "h7.example.test.",
        "h9.example.test.",
        "h12.example.test.",
    }
    assert "h8.example.test. A 192.0.2.8" in rig.zone(), "an operator's TXT is no conflict"
    assert [len(names(m)) for m in updates(rig) if len(names(m)) > 1] == [30, 26]
    assert sum(isinstance(m, DnsQuery) and m.types == ("DHCID",) for m in rig.sent) == 30
    assert sum(row.state is State.CLEAN for (kind, _), row in rows.items() if kind == "fwd") == 27


def test_names_that_turn_out_to_be_ours_go_in_the_second_message() -> None:
    rig = Rig()
    fill(rig, range(1, 11))
    rig.run()
    rig.stored.clear()
    rig.boot()
    rig.sent.clear()
    for host in range(1, 16):
        rig.change(lease(host, host, f"h{host}.example.test."))
    rig.run()
    first, second = updates(rig)
    assert {p.op for p in first.prereqs} == {"nxdomain"}
    assert {p.op for p in second.prereqs} == {"nxdomain", "yxdomain", "yxrrset"}
    assert len(names(second)) == 15


def test_removals_go_together_and_what_is_gone_already_does_no_harm() -> None:
    rig = Rig()
    fill(rig, range(1, 41))
    rig.run()
    rig.sent.clear()
    rig.master.zones[FORWARD].take("h3.example.test.", "A")
    rig.master.zones[FORWARD].take("h3.example.test.", "DHCID")
    rig.master.zones[REVERSE].take(f"4.{REVERSE}", "PTR")
    rig.master.zones[FORWARD].load(["h5.example.test. 60 AAAA 2001:db8::1"])
    for host in range(1, 41):
        rig.free(host)
    rig.run()
    assert rig.zone() == {"h5.example.test. AAAA 2001:db8::1"}
    assert not rig.rows()
    assert [len(names(m)) for m in updates(rig)][:2] == [40, 38]


def test_a_name_that_the_master_refuses_is_found_and_the_others_are_not_held() -> None:
    rig = Rig()

    def answer(message: DnsUpdate | DnsQuery) -> DnsAnswer:
        denied = isinstance(message, DnsUpdate) and "h5.example.test." in names(message)
        return DnsAnswer(message.ident, "REFUSED", "model") if denied else rig.master.answer(message)

    rig.answer = answer
    fill(rig, range(1, 31))
    rig.pass_time(200)
    rows = rig.rows()
    assert rows["fwd", "h5.example.test."].state is State.HELD
    assert sum(row.state is State.CLEAN for (kind, _), row in rows.items() if kind == "fwd") == 29
    assert len(names(updates(rig)[0])) == 30
    assert rig.planner.status(rig.now)["zones"][0]["state"] == "ok"  # type: ignore[index]


@pytest.mark.parametrize("rcode", ["FORMERR", "NOTIMP"])
def test_a_batch_that_is_called_wrong_is_taken_apart(rcode: str) -> None:
    rig = Rig()

    def answer(message: DnsUpdate | DnsQuery) -> DnsAnswer:
        bad = isinstance(message, DnsUpdate) and "h5.example.test." in names(message)
        return DnsAnswer(message.ident, rcode, "model") if bad else rig.master.answer(message)

    rig.answer = answer
    fill(rig, range(1, 31))
    rig.pass_time(300)
    rows = rig.rows()
    assert rows["fwd", "h5.example.test."].state in {State.DEAD, State.DIRTY}
    assert sum(row.state is State.CLEAN for (kind, _), row in rows.items() if kind == "fwd") == 29


@pytest.mark.parametrize("lost", ["TIMEOUT", "UNREACHABLE"])
def test_a_lost_batch_goes_again_and_the_breaker_asks_with_one_name(lost: str) -> None:
    rig = Rig()
    rig.answer = lambda m: DnsAnswer(m.ident, lost, "model")
    fill(rig, range(1, 31))
    rig.pass_time(30)
    assert "ddns-server-silent" in rig.notes
    assert len(names(updates(rig)[0])) == 30
    assert len(names(updates(rig)[-1])) == 1
    rig.answer = rig.master.answer
    rig.pass_time(400)
    assert len(rig.zone()) == 60
    assert all(row.state is State.CLEAN and not row.recheck_at for row in rig.rows().values())


def test_survey_queries_that_are_lost_lose_no_name() -> None:
    rig = Rig()
    rig.master.zones[FORWARD].load(["h7.example.test. 60 A 192.0.2.99"])
    count = [0]

    def answer(message: DnsUpdate | DnsQuery) -> DnsAnswer:
        if isinstance(message, DnsQuery):
            count[0] += 1
            if count[0] % 3 == 0 and count[0] < 20:
                return DnsAnswer(message.ident, "TIMEOUT" if count[0] % 2 else "SERVFAIL", "model")
        return rig.master.answer(message)

    rig.answer = answer
    fill(rig, range(1, 31))
    rig.pass_time(400)
    assert sum(row.state is State.CLEAN for (kind, _), row in rig.rows().items() if kind == "fwd") == 29
    assert rig.rows()["fwd", "h7.example.test."].state is State.CONFLICT


def test_a_target_that_is_silent_keeps_nothing_from_the_other() -> None:
    zones = (*PLAN.zones, Zone("second", FORWARD, (("127.0.0.2", 53),), "key"))
    rig = Rig(DnsPlan(zones))
    other = rigs.master()
    rig.answer = lambda m: other.answer(m) if m.target == "second" else None
    fill(rig, range(1, 201))
    rig.run()
    assert sum("A" in types for types in other.zones[FORWARD].names.values()) == 200


@pytest.mark.parametrize("seed", range(20))
def test_random_trouble_with_many_names(seed: int) -> None:
    """Batches that fail, get lost, change while they are out and survive a restart: the zone ends as the leases are."""
    rng = Random(seed)
    rig = Rig()
    good = rig.master.answer
    late: list[tuple[float, DnsUpdate]] = []

    def answer(message: DnsUpdate | DnsQuery) -> DnsAnswer | None:
        kind = rng.choices(["good", "lost", "unheard", "servfail"], [12, 1, 1, 1])[0]
        if kind == "good":
            return good(message)
        if kind == "servfail":
            return DnsAnswer(message.ident, "SERVFAIL", "model")
        if kind == "unheard":
            good(message)
        if isinstance(message, DnsUpdate):
            late.append((rig.mono, message))
        return DnsAnswer(message.ident, "TIMEOUT", "model")

    rig.answer = answer
    for _ in range(25):
        for _ in range(rng.randint(0, 25)):
            host = rng.randint(1, 60)
            if rng.random() < 0.3 and NET + host in rig.leases:
                rig.free(host)
            else:
                rig.change(lease(host, host, f"n{rng.randint(1, 3)}-{host}.example.test."))
        for _ in range(rng.randint(0, 6)):
            rig.due()
            if rig.wire:
                got = answer(rig.wire.pop(rng.randrange(len(rig.wire))))
                assert got is not None
                rig.deliver(got)
        if late and rng.random() < 0.3:
            sent, message = rng.choice(late)
            if rig.mono - sent <= 300:
                good(message)
        if rng.random() < 0.15:
            late += [(rig.mono, m) for m in rig.wire if isinstance(m, DnsUpdate)]
            rig.boot()
        if rng.random() < 0.3:
            while rig.wire:
                got = answer(rig.wire.pop(0))
                assert got is not None
                rig.deliver(got)
            rig.pass_time(rng.choice([1, 30, 200]))
    rig.answer = good
    while rig.wire:
        rig.deliver(good(rig.wire.pop(0)))
    rig.pass_time(4 * 3600)
    live = [one for one in rig.leases.values() if one.state is BindingState.ACTIVE]
    expected = {f"{one.fqdn} A 192.0.2.{one.address - NET}" for one in live}
    expected |= {f"{one.address - NET}.{REVERSE} PTR {one.fqdn}" for one in live}
    assert rig.zone() == expected
    assert isinstance(rig.master, model.Master)
    assert len(rig.rows()) == 2 * len(live)
