"""Random lease histories in a zone that a predecessor left full, and on two servers of which one dies."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from failoverd.ddns.dhcid import guard
from failoverd.ddns.guards import guard_candidates
from failoverd.leases.lease import BindingState
from failoverd.ports import DnsAnswer, DnsUpdate, Origin
from tests.ddns.rig import FORWARD, NET, PLAN, REVERSE, Rig, lease
from tests.ddns.test_histories import History, random_actions

NAMES = [f"{each}.example.test." for each in "abc"]


def old_entry(rng: Random, name: str, client: int) -> list[str]:
    """What dhcpd or Kea may have registered for a client: an address, and one of its guards."""
    found = rng.choice(guard_candidates(lease(1, client).hw, b"", name, cased=name.upper()))
    return [f"{name} 60 A 192.0.2.99", f"{name} 60 {found.rtype} {found.text}"]


def play(seed: int) -> None:
    rng = Random(seed)
    history = History()
    rig = history.rig
    rig.plan = replace(PLAN, on_conflict="suffix")
    rig.boot()
    zone = rig.master.zones[FORWARD]
    left = {}
    for name in NAMES:
        if rng.random() < 0.6:
            left[name] = (rng.randint(1, 3), old_entry(rng, name, client := rng.randint(1, 3)))
            left[name] = (client, left[name][1])
            zone.load(left[name][1])
    asked: set[tuple[str, int]] = set()
    for action in random_actions(rng):
        if action[0] == "bind":
            asked.add((str(action[3]), int(str(action[2]))))
        history.act(action)
    rig.fence(False)
    rig.pass_time(3 * 3600)
    live = [one for one in rig.leases.values() if one.state is BindingState.ACTIVE]
    shown = {rig.planner.name_of(one) for one in live}
    for one in live:
        name = rig.planner.name_of(one)
        assert name.partition(".")[0].partition("-")[0] == one.fqdn.partition(".")[0]
        addresses, owners = zone.rrset(name, "A"), zone.rrset(name, "DHCID")
        assert addresses is not None, (seed, name, rig.zone())
        assert owners is not None
        assert list(owners.data) == [guard(one.hw, b"", name)], (seed, name)
        same = {f"192.0.2.{each.address - NET}" for each in live if rig.planner.name_of(each) == name}
        assert len(addresses.data) == 1
        assert set(addresses.data) <= same
    for name, (client, lines) in left.items():
        if (name, client) not in asked:
            assert set(lines) <= zone.lines(), (seed, name)
    assert set(zone.names) <= {FORWARD, *shown, *left}, seed
    pointers = {line for line in rig.zone() if " PTR " in line}
    assert pointers == {
        f"{address.rsplit('.', 1)[1]}.{REVERSE} PTR {name}"
        for name in shown
        for address in (zone.rrset(name, "A") or zone.names[name]["A"]).data
    }, seed


@pytest.mark.parametrize("block", range(4))
def test_in_a_zone_that_a_predecessor_left(block: int) -> None:
    for seed in range(block * 75, block * 75 + 75):
        play(seed)


def two_servers(seed: int) -> None:
    """Leases come and go at both; what each sends is lost, or answered; then the first dies, whatever it had left to do."""
    rng = Random(seed)
    one, two = Rig(), Rig()
    two.master = one.master
    one.answer = two.answer = one.master.answer
    for _ in range(rng.randint(5, 40)):
        rig, other = rng.choice([(one, two), (two, one)])
        host, client = rng.randint(1, 4), rng.randint(1, 3)
        match rng.choice(["bind", "bind", "free", "run", "lose", "wait"]):
            case "bind":
                held = rig.leases.get(NET + host)
                if held is None or held.state is not BindingState.ACTIVE or held.hw == lease(host, client).hw:
                    new = lease(host, client, NAMES[client - 1])
                    rig.change(new)
                    other.change(new.evolve(), Origin.PARTNER)
            case "free" if NET + host in rig.leases:
                rig.free(host)
                other.free(host, Origin.PARTNER)
            case "run":
                rig.run()
            case "lose":
                rig.due()
                for message in list(rig.wire):
                    rig.wire.remove(message)
                    if rng.random() < 0.5:
                        one.master.answer(message)
                    rig.deliver(DnsAnswer(message.ident, "TIMEOUT", "model"))
            case _:
                seconds = rng.randint(1, 100)
                one.pass_time(seconds)
                two.pass_time(seconds)
    two.take_over()
    two.pass_time(3 * 3600)
    live = [each for each in two.leases.values() if each.state is BindingState.ACTIVE]
    zone = one.master.zones[FORWARD]
    assert set(zone.names) == {FORWARD, *(each.fqdn for each in live)}, seed
    for name in {each.fqdn for each in live}:
        (address,) = zone.names[name]["A"].data
        holders = [each for each in live if f"192.0.2.{each.address - NET}" == address]
        assert [each.fqdn for each in holders] == [name], seed
        assert list(zone.names[name]["DHCID"].data) == [guard(holders[0].hw, b"", name)]
        assert f"{holders[0].address - NET}.{REVERSE} PTR {name}" in two.zone(), seed
    assert not any(isinstance(message, DnsUpdate) for message in two.wire)


@pytest.mark.parametrize("block", range(4))
def test_the_survivor_puts_right_what_both_left(block: int) -> None:
    for seed in range(block * 75, block * 75 + 75):
        two_servers(seed)
