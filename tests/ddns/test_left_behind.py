"""A client that went over to the partner and changed its name there: its old name is known to us only, and nobody else removes it."""

from __future__ import annotations

import pytest

from failoverd.ddns.dhcid import guard
from failoverd.ddns.rows import ME, PEER
from failoverd.ddns.shelf import AGAIN_S, PEER_FIRST_LOOK_S, RECHECK_S
from failoverd.ports import DnsAnswer, DnsQuery, Origin
from tests.ddns.rig import FORWARD, NET, REVERSE, Rig, lease

H1 = "h1.example.test."


def gone_over() -> Rig:
    """We registered h1; the partner renewed the lease, under a name that it does not tell, and it ended there."""
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    rig.change(lease(10, 1, cltt=2000), Origin.PARTNER)
    rig.free(10, Origin.PARTNER)
    return rig


def test_a_name_that_the_partner_does_not_know_is_removed_by_who_put_it_there() -> None:
    """make torture, seed 11: a client renamed at the other server left its old name for ever."""
    rig = gone_over()
    asked: list[tuple[int, str, str]] = []

    def unheld(address: int, name: str, guard: str) -> bool:
        asked.append((address, name, guard))
        return True

    rig.planner.unheld = unheld
    rig.pass_time(50)
    assert len(rig.zone()) == 2  # the partner is given time to do it
    rig.pass_time(30)
    assert rig.zone() == set()
    assert set(rig.master.zones[FORWARD].names) == {FORWARD}
    assert rig.rows() == {}
    assert "ddns-left-by-partner" in rig.notes
    assert {address for address, _, _ in asked} == {NET + 10}
    assert (H1, "") not in {(name, guard) for _, name, guard in asked}  # a forward name is asked for with its DHCID


def test_the_partners_name_stays_when_somebody_may_hold_it() -> None:
    rig = gone_over()
    rig.pass_time(4000)
    assert len(rig.zone()) == 2
    assert rig.rows()["fwd", H1].owner == PEER
    assert all(isinstance(message, DnsQuery) for message in rig.sent[2:])


@pytest.mark.parametrize("where", ["192.0.2.11", "192.0.2.10"])
def test_only_what_we_put_there_is_removed(where: str) -> None:
    """The partner registered the name again, with another address or for another client, before we heard of that."""
    rig = gone_over()
    zone = rig.master.zones[FORWARD]
    if where == "192.0.2.11":
        zone.take(H1, "A")
        zone.put(H1, 600, "A", where)
    else:
        zone.take(H1, "DHCID")
        zone.put(H1, 600, "DHCID", "AAEBxx==")
    rig.planner.unheld = lambda *_: True
    rig.pass_time(200)
    assert f"{H1} A {where}" in rig.zone()
    assert zone.rrset(H1, "DHCID") is not None
    assert ("fwd", H1) not in rig.rows()


def test_a_name_that_is_wanted_again_meanwhile_is_ours() -> None:
    rig = gone_over()
    rig.planner.unheld = lambda *_: True
    rig.pass_time(50)
    rig.change(lease(10, 1, cltt=3000))
    rig.pass_time(400)
    assert rig.zone() == {f"{H1} A 192.0.2.10", f"10.{REVERSE} PTR {H1}"}
    assert rig.rows()["fwd", H1].owner == ME


def came_back_there(rig: Rig) -> None:
    """The client of the freed address is bound there again, at the partner, who registers the same name: no change at the master."""
    rig.planner.nameless = lambda address, name, guard: address == NET + 10


def test_a_removal_that_waited_does_not_take_away_what_the_partner_registered_meanwhile() -> None:
    rig = Rig()
    rig.change(lease(10, 1))
    rig.run()
    rig.answer = lambda _: None  # the master is cut off from us
    rig.free(10)
    came_back_there(rig)
    rig.answer = rig.master.answer
    rig.pass_time(4000)
    assert rig.zone() == {f"{H1} A 192.0.2.10", f"10.{REVERSE} PTR {H1}"}
    assert {row.owner for row in rig.rows().values()} == {PEER}
    rig.planner.nameless = lambda *_: False  # it is over there too, and the partner removed it
    for zone, name, rtype in ((FORWARD, H1, "A"), (FORWARD, H1, "DHCID"), (REVERSE, f"10.{REVERSE}", "PTR")):
        rig.master.zones[zone].take(name, rtype)
    rig.pass_time(4000)
    assert rig.rows() == {}


def test_a_ghost_is_not_taken_away_while_the_partners_client_may_have_the_name() -> None:
    """make torture, seed 12: 300 s after a lost message the live name of a client that had gone over to the partner was removed."""
    rig = Rig()
    rig.change(lease(10, 1))
    rig.due()
    rig.deliver(DnsAnswer(rig.wire.pop(0).ident, "TIMEOUT", "model"))  # it is lost, or it is not
    rig.free(10)
    rig.run()
    assert rig.zone() == set()
    assert rig.rows()["fwd", H1].ghosts
    other = Rig(leases=[lease(10, 1)])  # the partner registers the name
    assert other.zone() == set()
    other.master = rig.master
    other.answer = rig.master.answer
    other.change(lease(10, 1, cltt=1500))
    other.run()
    live = {f"{H1} A 192.0.2.10", f"10.{REVERSE} PTR {H1}"}
    assert rig.zone() == live
    came_back_there(rig)
    rig.pass_time(1000)
    assert rig.zone() == live
    rig.planner.nameless = lambda *_: False
    rig.pass_time(400)
    assert rig.rows() == {}


def test_the_old_pointer_of_a_roaming_client_goes_when_its_old_lease_ends() -> None:
    """Simulator, seeds tls232 and speed1: the client took a second address here; its first one it may have had from the partner, too, so
    each server left the old pointer to the other, looked once, and would have looked again an hour later only."""
    rig, free = Rig(), False
    rig.planner.nameless = lambda address, *_: address == NET + 10 and not free
    rig.planner.unheld = lambda address, *_: address == NET + 10 and free
    rig.change(lease(10, 1))
    rig.run()
    rig.change(lease(11, 1))
    rig.pass_time(120)
    assert rig.zone() == {f"{H1} A 192.0.2.11", f"10.{REVERSE} PTR {H1}", f"11.{REVERSE} PTR {H1}"}
    free = True
    rig.free(10)
    rig.end(10)
    rig.pass_time(70)
    assert rig.zone() == {f"{H1} A 192.0.2.11", f"11.{REVERSE} PTR {H1}"}
    assert ("rev", f"10.{REVERSE}") not in rig.rows()


def test_what_was_left_to_the_partner_is_looked_at_soon_after_a_restart() -> None:
    """The lease may have ended while nobody was there to see it."""
    rig = Rig()
    rig.planner.nameless = lambda address, *_: address == NET + 10
    rig.change(lease(10, 1))
    rig.run()
    rig.change(lease(11, 1))
    rig.pass_time(120)
    del rig.leases[NET + 10]
    rig.boot()
    rig.planner.nameless = lambda *_: False
    rig.planner.unheld = lambda address, *_: address == NET + 10
    rig.pass_time(70)
    assert rig.zone() == {f"{H1} A 192.0.2.11", f"11.{REVERSE} PTR {H1}"}


@pytest.mark.parametrize("same_name", [False, True])
def test_the_old_pointer_of_a_client_that_left_goes_though_another_client_has_its_address(same_name: bool) -> None:
    """Simulator, seed wide3219: each server left the old pointer of a client that both had served to the other. Before they looked a client
    without a name had the address, and the pointer showed the old client's name for as long as that one stayed."""
    rig, mine = Rig(), guard(lease(10, 1).hw, b"", H1)
    rig.planner.nameless = lambda address, name, guard: address == NET + 10
    rig.planner.unsaid = lambda address, name: same_name
    rig.planner.unheld = lambda address, name, guard: guard == mine  # a client has the address, and it is another one
    rig.change(lease(10, 1))
    rig.run()
    rig.change(lease(11, 1))
    rig.run()
    assert rig.rows()["rev", f"10.{REVERSE}"].owner == PEER
    rig.planner.nameless = lambda address, name, guard: address == NET + 10 and guard == ""
    rig.pass_time(120)
    left = {f"10.{REVERSE} PTR {H1}"} if same_name else set()  # made of the address: it is the new client's, too
    assert rig.zone() == {f"{H1} A 192.0.2.11", f"11.{REVERSE} PTR {H1}"} | left


def test_a_pointer_of_ours_that_the_partner_never_replaced_goes_when_the_partner_has_removed_its_own() -> None:
    """Simulator, seed 18863: the partner gave the address to another client before our removal left. Its pointer waited for a name that was
    in conflict, so it never replaced ours; when the lease ended it had nothing to remove and said so, and ours was forgotten."""
    rig = Rig()
    rig.planner.unheld = lambda address, name, guard: True
    rig.change(lease(10, 1))
    rig.run()
    rig.free(10)
    rig.change(lease(10, 2, "h2.example.test."), Origin.PARTNER)
    rig.free(10, Origin.PARTNER)
    rig.told(f"r10.{REVERSE}", "fh2.example.test.")
    rig.pass_time(30)
    assert rig.zone() == set()
    assert rig.rows() == {}


def crossed_with_the_partners_removal(*, ours_is_last: bool, held: bool = False) -> Rig:
    """The client asked both servers and declined: we said its names once more while the partner removed them."""
    rig = Rig()
    rig.planner.unheld = lambda address, name, guard: not held
    ours = lease(10, 1)
    rig.change(ours.evolve(partner_cltt=1000, cltt=0), Origin.PARTNER)
    rig.change(ours.evolve(partner_cltt=1000, cltt=2000))
    rig.run()
    assert rig.zone() == {f"{H1} A 192.0.2.10", f"10.{REVERSE} PTR {H1}"}
    rig.wall, rig.mono = rig.wall + AGAIN_S[0], rig.mono + AGAIN_S[0]
    rig.due()
    rig.change(ours.evolve(partner_cltt=3000, cltt=2000), Origin.PARTNER)
    rig.free(10, Origin.PARTNER)
    said = list(rig.wire)
    rig.wire.clear()
    answers = [] if ours_is_last else [rig.master.answer(message) for message in said]
    for zone, name in ((FORWARD, H1), (REVERSE, f"10.{REVERSE}")):
        del rig.master.zones[zone].names[name]  # the partner's removals
    answers = answers or [rig.master.answer(message) for message in said]
    for answer in answers:
        rig.deliver(answer)
    assert rig.zone() == ({f"10.{REVERSE} PTR {H1}"} if ours_is_last else set())
    return rig


REMOVALS = (f"r10.{REVERSE}", f"f{H1}")


@pytest.mark.parametrize("ours_is_last", [True, False])
def test_what_crossed_with_the_partners_removal_does_not_outlive_it(ours_is_last: bool) -> None:
    """Simulator, seed host13320: the client asked both servers and declined. We said its pointer once more while the partner removed it and
    said so; it stayed for five minutes, until no message of ours could come any more, though each had been answered."""
    rig = crossed_with_the_partners_removal(ours_is_last=ours_is_last)
    rig.told(*REMOVALS)
    rig.pass_time(PEER_FIRST_LOOK_S + 1)
    assert rig.zone() == set()


@pytest.mark.parametrize("trouble", ["none", "told at the end of the doubt", "stopped", "silent master"])
def test_what_crossed_and_stands_at_an_address_that_is_in_use_goes_when_no_message_can_come_any_more(trouble: str) -> None:
    """Another client has the address, without a name: nobody knows whether what is there is ours. We looked again an hour later, when
    the look came with the end of the doubt."""
    rig = crossed_with_the_partners_removal(ours_is_last=True, held=True)
    if trouble == "told at the end of the doubt":
        rig.fence(True)
        rig.pass_time(RECHECK_S - 6)
        rig.fence(False)
    rig.told(*REMOVALS)
    if trouble == "stopped":
        rig.pass_time(1)
        rig.wall, rig.mono, unheld = rig.wall + RECHECK_S, rig.mono + RECHECK_S, rig.planner.unheld
        rig.boot()
        rig.planner.unheld = unheld
    if trouble == "silent master":
        rig.answer = lambda message: DnsAnswer(message.ident, "TIMEOUT", "model")
        rig.pass_time(RECHECK_S + 30)
        rig.answer = rig.master.answer
    assert rig.zone() == {f"10.{REVERSE} PTR {H1}"}
    rig.pass_time(RECHECK_S + 1)
    assert rig.zone() == set()
    assert ("rev", f"10.{REVERSE}") not in rig.rows()


def test_what_the_partner_said_anew_while_the_link_stood_still_stays() -> None:
    """Found in review: a look ten seconds after the partner's word took away what the client, back at the partner, had got there: the link
    stood still, and was not given up yet."""
    rig = crossed_with_the_partners_removal(ours_is_last=False)
    rig.told(*REMOVALS)
    rig.master.zones[FORWARD].load([f"{H1} 600 A 192.0.2.10", f"{H1} 600 DHCID {guard(lease(10, 1).hw, b'', H1)}"])
    rig.master.zones[REVERSE].load([f"10.{REVERSE} 600 PTR {H1}"])
    rig.pass_time(30)  # as long as a link may be silent in normal
    rig.change(lease(10, 1).evolve(partner_cltt=4000, cltt=2000, starts=4000), Origin.PARTNER)
    rig.pass_time(3600)
    assert rig.zone() == {f"{H1} A 192.0.2.10", f"10.{REVERSE} PTR {H1}"}


def test_the_partners_word_said_twice_puts_the_look_off_by_nothing() -> None:
    rig = crossed_with_the_partners_removal(ours_is_last=True)
    rig.told(*REMOVALS)
    rig.pass_time(PEER_FIRST_LOOK_S - 10)
    rig.told(*REMOVALS)
    rig.pass_time(11)
    assert rig.zone() == set()


def test_the_partners_second_word_on_what_is_only_a_ghost_starts_no_look() -> None:
    rig = crossed_with_the_partners_removal(ours_is_last=True, held=True)
    rig.told(*REMOVALS)
    rig.pass_time(PEER_FIRST_LOOK_S + 1)
    ghosts = {key: row.ghosts for key, row in rig.rows().items()}
    assert any(ghosts.values())
    rig.notes.clear()
    rig.told(*REMOVALS)
    rig.pass_time(PEER_FIRST_LOOK_S + 1)
    assert {key: row.ghosts for key, row in rig.rows().items()} == ghosts
    assert rig.notes == []
