"""The acceptance and dueling tables: total, dhcpd's but for listed deviations, and safe together."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failoverd.leases.binding import DUEL, IN_NORMAL, OTHERWISE, Rule, Verdict, Winner, judge
from failoverd.leases.lease import BindingState, Lease

FREE, ACTIVE, EXPIRED, RELEASED, ABANDONED, RESET, BACKUP = BindingState
NOW = 1_700_000_000
HW = bytes.fromhex("01020000000001")
ADDRESS = 0x0A4D0096


def ask(lease: Lease, state: int, **changed: object) -> Verdict:
    """judge, with what a well-formed update in normal at the primary has."""
    values: dict[str, object] = {
        "hw": None if state == ABANDONED else HW,
        "client_id": None,
        "potential": 0,
        "cltt": 0,
        "flags": 0,
        "announced": None,
        "announced_cltt": 0,
        "in_normal": True,
        "primary": True,
        "now": NOW,
        "slack_s": 0,
    }
    return judge(lease, state, **(values | changed))  # type: ignore[arg-type]


def lease(state: BindingState, **changed: object) -> Lease:
    return replace(Lease(ADDRESS, state, hw=HW, ends=NOW + 600), **changed)  # type: ignore[arg-type]


def test_tables_are_total() -> None:
    pairs = set(product(BindingState, BindingState))
    assert set(OTHERWISE) == set(DUEL) == pairs
    assert set(IN_NORMAL) == {(role, *pair) for role, pair in product((True, False), pairs)}


# failover-protocol.md 6.3 as printed: rows local, columns 1..7 = FREE ACTIVE EXPIRED RELEASED ABANDONED RESET BACKUP.
# + accept, 2 reject, p unless potential lies ahead, e unless our end lies ahead, E (ours) unless either does.
PRIMARY = {
    FREE: "+++++++",
    ACTIVE: "2+2++22",
    EXPIRED: "p+++++p",
    RELEASED: "+++++++",
    ABANDONED: "+++++++",
    RESET: "p+++++p",
    BACKUP: "+++++++",
}
SECONDARY = PRIMARY | {ACTIVE: "E+e+++E"}
OTHER = dict.fromkeys(BindingState, "+++++++") | {ACTIVE: "2+e+++2"}
LETTER = {
    Rule.ACCEPT: "+",
    Rule.REJECT: "2",
    Rule.UNLESS_POTENTIAL: "p",
    Rule.UNLESS_END: "e",
    Rule.UNLESS_EITHER: "E",
}


@pytest.mark.parametrize("local", BindingState)
def test_each_row_is_the_printed_one(local: BindingState) -> None:
    for table, primary in ((PRIMARY, True), (SECONDARY, False)):
        assert "".join(LETTER[IN_NORMAL[primary, local, told]] for told in BindingState) == table[local]
    assert "".join(LETTER[OTHERWISE[local, told]] for told in BindingState) == OTHER[local]


def test_dueling_table_of_6_4() -> None:
    for local, told in DUEL:
        winner = DUEL[local, told]
        if local is told is ACTIVE:
            assert winner is Winner.LATER_CLTT
        elif told is ACTIVE:
            assert winner is Winner.THEIRS
        elif local is ACTIVE:
            assert winner is Winner.OURS
        else:
            assert winner is Winner.PRIMARY


def test_captured_verdicts() -> None:
    """13: ACTIVE without chaddr is reject 3; FREE over ACTIVE reject 2, with dhcpd's text."""
    assert ask(lease(FREE), ACTIVE, hw=None) == Verdict(False, 3, "BNDUPD without CHADDR")
    assert ask(lease(ACTIVE), FREE) == Verdict(False, 2, "10.77.0.150: invalid state transition: active to free")


@pytest.mark.parametrize("state", [0, 8, 9, 200, 255])
@pytest.mark.parametrize("local", BindingState)
def test_a_binding_status_that_ends_dhcpd_gets_a_reject_code(local: BindingState, state: int) -> None:
    for primary, in_normal, announced in product((True, False), (True, False), (None, *BindingState)):
        verdict = ask(lease(local), state, primary=primary, in_normal=in_normal, announced=announced)
        assert not verdict.accept
        assert verdict.reject == 6


def test_steps_5_and_6_client() -> None:
    free = lease(FREE)
    assert ask(free, ABANDONED, hw=HW).reject == 6
    assert ask(free, ABANDONED, client_id=b"\x01x").reject == 6
    assert ask(free, ABANDONED).accept
    assert ask(free, ACTIVE, hw=b"\x01" + bytes(20)).accept
    assert ask(free, ACTIVE, hw=b"\x01" + bytes(21)).reject == 6
    for state in (ACTIVE, EXPIRED, RELEASED):
        assert ask(free, state, hw=None).reject == 3
        assert ask(free, state, hw=b"").reject == 3
    for state in (FREE, RESET, BACKUP):
        assert ask(free, state, hw=None).accept


@pytest.mark.parametrize(("primary", "own"), [(True, FREE), (False, BACKUP)])
def test_step_9_flags(primary: bool, own: BindingState) -> None:
    assert ask(lease(own), ACTIVE, primary=primary, flags=1) == Verdict(False, 19, "Address is not reserved.")
    assert ask(lease(own), ACTIVE, primary=primary, flags=2).reject == 6
    assert ask(lease(own, flags=3), ACTIVE, primary=primary, flags=3).accept
    assert ask(lease(RELEASED), ACTIVE, primary=primary, flags=3).accept
    assert ask(lease(BACKUP if primary else FREE), ACTIVE, primary=primary, flags=1).accept


def test_safety_10_expired_is_accepted_only_when_our_own_end_has_passed() -> None:
    for in_normal in (True, False):
        for ends, slack, accepted in [(NOW, 0, True), (NOW + 1, 0, False), (NOW + 60, 60, True), (NOW + 61, 60, False)]:
            verdict = ask(lease(ACTIVE, ends=ends), EXPIRED, primary=False, in_normal=in_normal, slack_s=slack)
            assert verdict.accept is accepted
            if not accepted:
                assert verdict.reject == 2
    assert not ask(lease(ACTIVE, ends=NOW + 66), EXPIRED, primary=False, slack_s=10_000).accept


def test_safety_10_free_over_active_needs_both_times_passed() -> None:
    for told in (FREE, BACKUP):
        assert ask(lease(ACTIVE, ends=NOW), told, primary=False, potential=NOW).accept
        assert ask(lease(ACTIVE, ends=NOW), told, primary=False, potential=NOW + 1).reject == 2
        assert ask(lease(ACTIVE, ends=NOW + 1), told, primary=False, potential=NOW).reject == 2
        assert ask(lease(ACTIVE, ends=0), told, primary=False, in_normal=False).reject == 2
        assert ask(lease(EXPIRED, ends=NOW), told, potential=NOW + 1).reject == 2
        assert ask(lease(EXPIRED, ends=NOW), told, potential=NOW).accept


def test_a_retransmitted_backup_does_not_end_a_lease_granted_since() -> None:
    """t=0 the primary hands the address over, the BNDACK is lost; t=5 the secondary grants it; t=9 the link is back and the BACKUP
    comes again. dhcpd's table accepts it in normal, and the address goes to a second client."""
    granted = lease(ACTIVE, owed=True, cltt=NOW - 4)
    assert ask(granted, BACKUP, primary=False, potential=NOW - 9).reject == 16
    assert ask(replace(granted, owed=False), BACKUP, primary=False, potential=NOW - 9).reject == 2
    assert ask(granted, BACKUP, primary=False, in_normal=False, potential=NOW - 9).reject == 16


def test_a_grant_that_waits_for_the_window_duels_too() -> None:
    """A release at the other server before our grant must not end it (the client came back to us)."""
    assert ask(lease(ACTIVE, owed=True), RELEASED).reject == 16
    assert ask(lease(ACTIVE, owed=False), RELEASED).accept


@pytest.mark.parametrize("primary", [True, False])
def test_active_against_active_the_later_transaction_wins(primary: bool) -> None:
    ours = lease(ACTIVE, owed=True, cltt=NOW)
    assert ask(ours, ACTIVE, announced=ACTIVE, announced_cltt=NOW, cltt=NOW + 1, primary=primary).accept
    assert ask(ours, ACTIVE, announced=ACTIVE, announced_cltt=NOW, cltt=NOW - 1, primary=primary).reject == 16
    assert ask(ours, ACTIVE, announced=ACTIVE, announced_cltt=NOW, cltt=NOW, primary=primary).accept is not primary


STATES = list(BindingState)


@pytest.mark.parametrize(("one", "other"), list(product(STATES, STATES)))
def test_a_duel_never_frees_a_valid_lease_on_one_side_only(one: BindingState, other: BindingState) -> None:
    """Both have an update in flight and judge the other's. Both end with one view, and with an ACTIVE if there was one: a lease that
    one side expires while the other tells an older ACTIVE must not end ACTIVE here and FREE there (simulator, seed 77)."""
    for p_ends, s_ends, p_cltt, s_cltt in product((NOW - 9, NOW + 99), (NOW - 9, NOW + 99), (1, 2), (1, 2)):
        p, s = lease(one, ends=p_ends, owed=True, cltt=p_cltt), lease(other, ends=s_ends, owed=True, cltt=s_cltt)
        at_primary = ask(p, other, announced=one, announced_cltt=p_cltt, cltt=s_cltt)
        at_secondary = ask(s, one, announced=other, announced_cltt=s_cltt, cltt=p_cltt, primary=False)
        after_p = other if at_primary.accept else one
        after_s = one if at_secondary.accept else other
        if ACTIVE in (one, other):
            assert after_p is after_s is ACTIVE
        else:
            assert after_p is after_s is one
        if one is other is ACTIVE:
            assert at_primary.accept is not at_secondary.accept


@settings(max_examples=500, deadline=None)
@given(
    st.builds(
        Lease,
        address=st.integers(0, 2**32 - 1),
        state=st.sampled_from(STATES),
        ends=st.integers(0, 2**31),
        flags=st.integers(0, 3),
        owed=st.booleans(),
        cltt=st.integers(0, 2**31),
    ),
    st.integers(0, 255),
    st.data(),
)
def test_every_update_gets_a_verdict(own: Lease, state: int, data: st.DataObject) -> None:
    number = st.integers(0, 2**32 - 1)
    verdict = judge(
        own,
        state,
        hw=data.draw(st.none() | st.binary(max_size=30)),
        client_id=data.draw(st.none() | st.binary(max_size=30)),
        potential=data.draw(number),
        cltt=data.draw(number),
        flags=data.draw(st.integers(0, 65535)),
        announced=data.draw(st.none() | st.sampled_from(STATES)),
        announced_cltt=data.draw(number),
        in_normal=data.draw(st.booleans()),
        primary=data.draw(st.booleans()),
        now=data.draw(number),
        slack_s=data.draw(st.integers(0, 10_000)),
    )
    assert verdict.accept is (verdict.reject == 0)
    assert verdict.accept or (verdict.reject in (2, 3, 6, 16, 19) and verdict.text)
