"""Leases that want only a forward or only a reverse name, and PTR records at mapped names (RFC 2317), through the planner."""

from __future__ import annotations

import timeit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failoverd.ddns.dhcid import guard
from failoverd.ddns.rows import State
from failoverd.ddns.wants import Claims, claimed_name, pointer_of, ttl_of, wanted_name
from failoverd.ddns.zone import DnsPlan, Zone
from failoverd.leases.lease import NO_FORWARD, NO_REVERSE, BindingState, Lease
from failoverd.ports import Origin
from tests.ddns import model
from tests.ddns.rig import NET, PLAN, PRIMARY, REVERSE, ZONES, Rig, lease

H1 = "h1.example.test."
CHILD = "0-63.2.0.192.in-addr.arpa."
MAPPED = f"10.{CHILD}"


def child_rig() -> Rig:
    """With a classless child zone."""
    rig = Rig(DnsPlan((*ZONES, Zone("main", CHILD, PRIMARY, "key"))))
    zone = model.Zone(CHILD)
    zone.load([f"{CHILD} 3600 SOA ns1.example.test. x. 1 3600 600 86400 60", f"{CHILD} 3600 NS ns1.example.test."])
    rig.master.zones[CHILD] = zone
    return rig


def test_what_a_lease_wants() -> None:
    both = NO_FORWARD | NO_REVERSE
    assert [claimed_name(lease(10, 1, dns=dns)) for dns in (0, NO_FORWARD, NO_REVERSE, both)] == [H1, H1, H1, ""]
    assert [wanted_name(lease(10, 1, dns=dns)) for dns in (0, NO_FORWARD, NO_REVERSE, both)] == [H1, "", H1, ""]
    plain = f"10.{REVERSE}"
    assert [pointer_of(lease(10, 1, dns=dns)) for dns in (0, NO_FORWARD, NO_REVERSE)] == [plain, plain, ""]
    assert pointer_of(lease(10, 1, rev=MAPPED)) == MAPPED
    assert pointer_of(None) == ""


def test_reverse_alone_is_registered_and_removed() -> None:
    """The client does its own address record (RFC 4702, S=0)."""
    rig = Rig()
    rig.change(lease(10, 1, dns=NO_FORWARD))
    rig.run()
    assert rig.zone() == {f"10.{REVERSE} PTR {H1}"}
    assert list(rig.rows()) == [("rev", f"10.{REVERSE}")]
    rig.boot()
    rig.free(10)
    rig.run()
    assert rig.zone() == set()
    assert rig.rows() == {}


def test_forward_alone_is_registered_and_removed() -> None:
    rig = Rig()
    rig.change(lease(10, 1, dns=NO_REVERSE))
    rig.run()
    assert rig.zone() == {f"{H1} A 192.0.2.10"}
    rig.boot()
    rig.free(10)
    rig.run()
    assert rig.zone() == set()


@pytest.mark.parametrize("before", [0, NO_FORWARD, NO_REVERSE])
@pytest.mark.parametrize("after", [0, NO_FORWARD, NO_REVERSE])
def test_a_client_that_changes_its_mind(before: int, after: int) -> None:
    shown = {0: {f"{H1} A 192.0.2.10", f"10.{REVERSE} PTR {H1}"}, NO_FORWARD: {f"10.{REVERSE} PTR {H1}"}}
    shown[NO_REVERSE] = shown[0] - shown[NO_FORWARD]
    rig = Rig()
    rig.change(lease(10, 1, dns=before))
    rig.run()
    rig.boot()
    rig.change(lease(10, 1, dns=after))
    rig.run()
    assert rig.zone() == shown[after]
    rig.free(10)
    rig.run()
    assert rig.zone() == set()


def test_pointers_alone_do_not_compete_for_a_name() -> None:
    rig = Rig()
    rig.change(lease(10, 1, dns=NO_FORWARD))
    rig.change(lease(20, 1, dns=NO_FORWARD))
    rig.run()
    assert rig.zone() == {f"10.{REVERSE} PTR {H1}", f"20.{REVERSE} PTR {H1}"}
    assert "ddns-name-taken" not in rig.notes
    rig.free(10)
    rig.run()
    assert rig.zone() == {f"20.{REVERSE} PTR {H1}"}


def test_a_pointer_to_a_name_that_another_client_of_ours_holds_waits() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    rig.change(lease(20, 2, dns=NO_FORWARD))
    rig.run()
    assert rig.zone() == {f"{H1} A 192.0.2.10", f"10.{REVERSE} PTR {H1}"}
    rig.free(10)
    rig.run()
    assert rig.zone() == {f"20.{REVERSE} PTR {H1}"}


def test_a_pointer_is_the_partners_when_the_partner_spoke_to_the_client_and_ours_in_partner_down() -> None:
    rig = Rig()
    rig.change(lease(10, 1, dns=NO_FORWARD), Origin.PARTNER)
    rig.run()
    assert rig.sent == []
    rig.boot()
    rig.take_over()
    rig.pass_time(400)
    assert rig.zone() == {f"10.{REVERSE} PTR {H1}"}
    rig.free(10)
    rig.run()
    assert rig.zone() == set()


def test_no_zone_for_a_pointer_is_said() -> None:
    rig = Rig(DnsPlan((ZONES[0],)))
    rig.change(lease(10, 1, dns=NO_FORWARD))
    assert rig.notes.count("ddns-no-zone") == 1


def test_rfc2317_pointer_stands_at_its_mapped_name() -> None:
    rig = child_rig()
    rig.change(lease(10, 1, rev=MAPPED))
    rig.run()
    assert rig.zone() == {f"{H1} A 192.0.2.10", f"{MAPPED} PTR {H1}"}
    rig.boot()
    rig.change(lease(10, 1, "h2.example.test.", rev=MAPPED))
    rig.run()
    assert rig.zone() == {"h2.example.test. A 192.0.2.10", f"{MAPPED} PTR h2.example.test."}
    rig.boot()
    rig.free(10)
    rig.run()
    assert rig.zone() == set()


def test_removal_goes_by_the_name_that_the_lease_has_not_by_the_map_of_today() -> None:
    rig = child_rig()
    rig.change(lease(10, 1, rev=MAPPED))
    rig.run()
    rig.boot()
    rig.change(lease(10, 1))
    rig.run()
    assert rig.zone() == {f"{H1} A 192.0.2.10", f"10.{REVERSE} PTR {H1}"}
    rig.change(lease(10, 1, rev=MAPPED))
    rig.run()
    assert rig.zone() == {f"{H1} A 192.0.2.10", f"{MAPPED} PTR {H1}"}


def test_mapped_pointer_waits_for_its_forward_name() -> None:
    rig = child_rig()
    rig.answer = lambda message: None
    rig.change(lease(10, 1, rev=MAPPED))
    rig.run()
    assert [message.zone for message in rig.sent] == ["example.test."]
    assert rig.rows()["rev", MAPPED].state is State.DIRTY


def test_ttl_as_a_part_of_the_lease() -> None:
    one = Lease(NET, BindingState.ACTIVE, starts=1000, cltt=1000, ends=1000 + 4000)
    assert ttl_of(one, PLAN) == 1333
    assert ttl_of(one, DnsPlan(ZONES, ttl_percent=50)) == 2000
    assert ttl_of(one, DnsPlan(ZONES, ttl_percent=100)) == 3600
    assert ttl_of(one, DnsPlan(ZONES, ttl_percent=1)) == 600
    assert ttl_of(one, DnsPlan(ZONES, ttl_s=5, ttl_percent=50)) == 5


def walked(leases: list[Lease], name: str, holder: str, take: bool) -> tuple[int, int]:
    """What `select` says, by a walk over all leases in the order in which they came."""
    owners = [guard(each.hw, each.client_id, name) for each in leases]
    if not leases:
        return 0, 0
    owner = owners[-1] if take else holder if holder in owners else owners[0]
    mine = [each for each, whose in zip(leases, owners, strict=True) if whose == owner]
    newest = max(each.starts for each in mine)
    return [each.address for each in mine if each.starts == newest][-1], len(leases) - len(mine)


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "put", "put", "drop", "newest"]), st.integers(10, 26), st.integers(1, 4)), max_size=60
    ),
    st.booleans(),
)
def test_a_crowd_that_wants_one_name_is_as_a_walk_over_its_leases_says(steps: list[tuple[str, int, int]], take: bool) -> None:
    """Where many clients share a name the claims of each are kept by its DHCID."""
    claims, line = Claims(), []
    holder = guard(lease(10, 2).hw, b"", H1)
    for number, (what, host, client) in enumerate(steps):
        there = [each for each in line if each.address == NET + host]
        if what == "put":
            new = lease(host, client, starts=1000 + number % 7)
            changed = claims.put(new, PLAN, mine=True)
            if there and there[0].client == new.client:
                before = walked([each for each in line if each.client == new.client], H1, "", take=False)
                line[line.index(there[0])] = new
                assert changed is (before != walked([each for each in line if each.client == new.client], H1, "", take=False))
            else:
                line = [each for each in line if each not in there] + [new]
                assert changed
        else:
            getattr(claims, what)(H1, NET + host)
            line = [each for each in line if each not in there] + (there if what == "newest" else [])
        assert [claim.address for claim in claims.of(H1)] == [each.address for each in line]
        chosen, losers = claims.select(H1, holder, take)
        assert (chosen.address if chosen else 0, losers) == walked(line, H1, holder, take)


def test_a_renewal_costs_the_same_however_many_clients_share_its_name() -> None:
    """Each renewal of a client that is called as thousands are walked over all of them, before its DHCPACK."""

    def renewal_s(others: int) -> float:
        claims = Claims()
        for number in range(others + 1):
            claims.put(lease(number, 1, hw=b"\x01\x02" + number.to_bytes(5, "big")), PLAN, mine=True)
        mine = lease(others, 1, hw=b"\x01\x02" + others.to_bytes(5, "big"))
        return min(timeit.repeat(lambda: claims.put(mine, PLAN, mine=True), number=50, repeat=7))

    assert renewal_s(5000) < 10 * renewal_s(0)


def test_of_leases_that_began_in_one_second_the_one_that_is_shown_stays_over_a_restart() -> None:
    """At boot the leases come in another order than they were granted in."""
    rig = Rig()
    for host in (20, 10):
        rig.change(lease(host, 1))
        rig.run()
    assert f"{H1} A 192.0.2.10" in rig.zone()
    rig.leases = dict(sorted(rig.leases.items()))
    rig.boot()
    rig.change(lease(30, 2))  # the name is looked at again
    rig.run()
    assert f"{H1} A 192.0.2.10" in rig.zone()
