"""The judges of the interop suite see what they are there for: planted double grants, lost leases, rejects and malformed messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from failoverd.failover import message as wire
from failoverd.failover.message import Binding
from tests.interop.pairs import beside, cases, report
from tests.interop.pairs.bench import LEAVES
from tests.interop.pairs.case import CASES, Cast, Hole, Result, job, jobs
from tests.interop.pairs.judgement import Server, differences, judge
from tests.interop.pairs.record import Told, denied, given_early, holds, twice
from tests.interop.pairs.run import Played
from tests.interop.pairs.server import Product, complaints_of_dhcpd, complaints_of_failoverd, end_of
from tests.interop.pairs.wire import Reading, read

A, B, X = "02:00:00:00:00:0a", "02:00:00:00:00:0b", "10.16.0.9"
assert cases.LOADED


def ack(at: float, mac: str, lease_s: int) -> Told:
    return Told(at, "ACK", mac, X, "10.16.255.1", lease_s, at)


def test_two_clients_on_one_address_at_once_are_found() -> None:
    assert twice([ack(0, A, 100), ack(50, B, 100)]).keys() == {X}
    assert twice([ack(0, A, 100), ack(100.5, B, 100)]) == {}
    assert twice([ack(0, A, 100), ack(40, A, 100), ack(120, B, 10)]).keys() == {X}
    assert [(hold.since, hold.until) for hold in holds([ack(0, A, 100), ack(40, A, 100)])[X]] == [(0, 140)]


@pytest.mark.parametrize("what", ["RELEASE", "DECLINE", "NAK"])
def test_who_gave_an_address_up_does_not_hold_it(what: str) -> None:
    assert twice([ack(0, A, 100), Told(20, what, A, X), ack(21, B, 100)]) == {}


def test_a_nak_before_the_end_is_a_lost_lease_and_one_after_it_is_not() -> None:
    assert len(denied([Told(50, "NAK", A, X, "", 100, 0)])) == 1
    assert denied([Told(101, "NAK", A, X, "", 100, 0)]) == []


def capture(path: Path, *payloads: bytes) -> Path:
    """A pcap of one TCP connection from 10.77.0.1 to 10.77.0.2 and back: even payloads one way, odd ones the other."""
    at = [1000, 5000]
    packets = []
    for number, payload in enumerate(payloads):
        side = number % 2
        ends = ("10.77.0.1", "10.77.0.2")
        ports = (40000, 647)
        segment = Ether() / IP(src=ends[side], dst=ends[1 - side])
        segment /= TCP(sport=ports[side], dport=ports[1 - side], flags="PA", seq=at[side], ack=at[1 - side])
        segment.time = 1.0 + number
        packets.append(segment / payload)
        at[side] += len(payload)
    wrpcap(str(path), packets)
    return path


UPDATE = wire.encode(wire.bndupd(1_700_000_000, 7, Binding(address=0x0A100009, state=1, ends=0, potential=0, starts=0)))


def test_a_malformed_message_and_a_reject_are_found_in_a_capture(tmp_path: Path) -> None:
    good = read(capture(tmp_path / "good.pcap", UPDATE, wire.encode(wire.bndack(1_700_000_000, 7, 0x0A100009))), 647)
    assert (good.messages, good.malformed, dict(good.rejects)) == (2, [], {})
    assert good.acks_s == {"10.77.0.2": [pytest.approx(1.0)]}
    reject = wire.encode(wire.bnd_reject(1_700_000_000, 7, 0x0A100009, 2, "no"))
    assert dict(read(capture(tmp_path / "reject.pcap", UPDATE, reject), 647).rejects) == {2: 1}
    assert good.said == {"10.77.0.1": {3: 1}, "10.77.0.2": {4: 1}}
    bye = wire.encode(wire.disconnect(1_700_000_000, 8, 254, "planned stop"))
    assert read(capture(tmp_path / "bye.pcap", UPDATE, b"", bye), 647).farewells == {"10.77.0.1": [254]}
    broken = bytearray(UPDATE)
    broken[14:16] = (400).to_bytes(2, "big")  # the first option is longer than the message
    assert read(capture(tmp_path / "broken.pcap", bytes(broken)), 647).malformed


def test_the_table_names_each_failure_and_what_a_case_may_lose() -> None:
    fine = Result("kill/failoverd-dhcpd/primary", ok=True, normal_s=0.4, asked=60)
    lost = Result("hang/failoverd-dhcpd/secondary", failures=["lost: 10.16.0.1"], lost=["10.16.0.1"], hole=Hole.EARLY_REUSE)
    played = Played([fine, lost], 60.0, 4)
    text = report.table(played)
    assert "kill -9 of the primary (failoverd) under load, and its return" in text
    assert "1 of 2 cases passed in 1.0 minutes" in text
    rows = [cells.strip("| ").split(" | ") for cells in report.markdown(played).splitlines() if cells.startswith("| ")]
    assert [row[3] for row in rows[1:3]] == ["pass", "FAIL"]
    assert rows[2][-3:] == ["1", "0", "B"]
    assert "- `hang/failoverd-dhcpd/secondary`: lost: 10.16.0.1" in report.markdown(played)


def test_side_by_side_takes_the_worst_of_ours() -> None:
    results = [
        Result("cut-80/failoverd-dhcpd", measured={"normal after a cut of 80 s": 1.5}),
        Result("cut-80/dhcpd-failoverd", measured={"normal after a cut of 80 s": 2.5}),
        Result("cut-80/dhcpd-dhcpd", measured={"normal after a cut of 80 s": 45.0}),
    ]
    first = next(iter(beside.side_by_side(Played(results, 1.0, 1))))
    assert (first.ours, first.theirs) == ("2.5 s", "45.0 s")


def test_every_case_is_played_in_both_roles_and_with_two_failoverd_and_a_third_of_them_quickly() -> None:
    for case in CASES.values():
        if case.settings.tls:
            assert set(case.casts) == {Cast.OURS_ALONE}, "no dhcpd can play it"
            continue
        assert {Cast.OURS_FIRST, Cast.DHCPD_FIRST, Cast.OURS_ALONE} <= set(case.casts), case.name
        assert {(one.cast, one.side) for one in jobs(quick=True) if one.case is case} == set(case.quick)
    assert all(job(each.key) == each for each in jobs())
    assert Cast.DHCPD_FIRST.products == (Product.DHCPD, Product.OURS)


def test_only_a_servers_own_moves_out_of_normal_are_interruptions() -> None:
    theirs = "failover peer office: I move from normal to communications-interrupted\n"
    theirs += "failover peer office: peer moves from normal to communications-interrupted\n"
    at = "2026-11-30T01:10:41.668Z"
    ours = f"{at} [warning  ] state-changed                  detail='normal -> communications-interrupted: silent' subject=office\n"
    ours += f"{at} [info     ] partner-state-changed          detail='normal -> communications-interrupted' subject=office\n"
    ours += f'{at} [warning  ] state-changed                  detail="normal -> potential-conflict: the partner\'s state" subject=office\n'
    assert (len(LEAVES.findall(theirs)), len(LEAVES.findall(ours))) == (1, 2)


def test_the_end_in_a_lease_file_is_utc() -> None:
    assert end_of("2026/11/22 04:41:13") == 1795322473.0
    assert (end_of(""), end_of("never")) == (0.0, 0x7FFFFFFF)


# --- what the judge of a finished case must see ---------------------------------------------------------------------------------

FINE = Server("primary (dhcpd)", died=False, last_words="", complaints=[], reported=frozenset())
KILL, DECLARED = "kill/failoverd-dhcpd/primary", "both-declared/failoverd-dhcpd"
QUIET = Reading(2, [], Counter(), {}, {}, {}, [])


def judged(
    key: str, *servers: Server, reading: Reading = QUIET, twice: Sequence[str] = (), lost: Sequence[str] = (), refused: int = 0
) -> str:
    result = Result(key, twice=list(twice), lost=list(lost), refused=refused)
    return "; ".join(judge(result, job(key), servers or (FINE, FINE), reading))


def test_a_quiet_end_has_no_failure() -> None:
    assert judged(KILL) == judged(DECLARED) == ""


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("Peer office: Invalid state transition normal to resolution-interrupted.", complaints_of_dhcpd),
        ("failover peer office: I move from startup to shutdown", complaints_of_dhcpd),
        ("failover peer office: peer moves from normal to shutdown", complaints_of_dhcpd),
        ("This version of ISC DHCP ... exiting.", complaints_of_dhcpd),
        ("Traceback (most recent call last):", complaints_of_failoverd),
        ("2026-11-30T00:38:54.758Z [error    ] internal-error", complaints_of_failoverd),
    ],
)
def test_an_end_a_shutdown_or_a_mistake_in_a_log_fails_the_case(line: str, where: Callable[[str], list[str]]) -> None:
    assert where(f"DHCPACK on 10.16.0.1\n{line}\n") == [line]
    assert line in judged(KILL, FINE, replace(FINE, complaints=[line]))


def test_a_server_that_ended_by_itself_or_is_not_normal_fails_the_case() -> None:
    assert "ended by itself: out of memory" in judged(KILL, FINE, replace(FINE, died=True, last_words="out of memory"))
    assert "primary (dhcpd) is left in shutdown" in judged(KILL, FINE, replace(FINE, left_in="shutdown"))


def test_a_lost_lease_a_double_grant_and_a_refused_client_fail_the_case() -> None:
    assert "given twice: 10.16.0.9" in judged(KILL, twice=[X])
    assert "lost: 10.16.0.9" in judged(KILL, lost=[X])
    assert "1 clients were refused" in judged(KILL, refused=1)
    assert "refused" not in judged("partner-down/failoverd-dhcpd/primary", refused=1)


def test_where_leases_may_be_given_twice_each_loser_is_reported() -> None:
    assert "10.16.0.9 was given twice and nobody reports it" in judged(DECLARED, twice=[X])
    assert judged(DECLARED, FINE, replace(FINE, reported=frozenset({X})), twice=[X], lost=[X]) == ""


@pytest.mark.parametrize(
    ("key", "reason", "fails"), [(KILL, 15, True), (DECLARED, 15, False), (DECLARED, 2, True), (KILL, 16, False)]
)
def test_only_the_lesser_of_two_updates_and_the_loser_of_two_grants_may_be_rejected(key: str, reason: int, fails: bool) -> None:
    assert ("updates were rejected" in judged(key, reading=replace(QUIET, rejects=Counter({reason: 1})))) is fails


def test_a_reject_as_less_critical_that_no_duel_explains_fails_the_case(tmp_path: Path) -> None:
    lesser = wire.encode(wire.bnd_reject(1_700_000_000, 7, 0x0A100009, 16, "incoming update is less critical"))
    later = [wire.encode(wire.contact(1_700_000_000, 9))] * 18  # one a second
    alone = read(capture(tmp_path / "alone.pcap", UPDATE, lesser, *later), 647)
    assert "has no update of its own" in judged(KILL, reading=alone)
    duel = read(capture(tmp_path / "duel.pcap", UPDATE, UPDATE + lesser, *later), 647)
    assert judged(KILL, reading=duel) == ""


def test_a_malformed_message_and_a_silent_wire_fail_the_case() -> None:
    assert "malformed: frame 9" in judged(KILL, reading=replace(QUIET, malformed=["frame 9"]))
    assert "tshark saw no message" in judged(KILL, reading=replace(QUIET, messages=0))


def test_a_database_that_differs_from_what_the_clients_hold_is_found() -> None:
    held = {X: (A, 1000.0)}
    assert differences(held, {X: ("active", A, 999.0)}) == {}
    assert "ends 10 s before" in differences(held, {X: ("active", A, 990.0)})[X]
    assert "is free of nobody" in differences(held, {X: ("free", "", 0.0)})[X]
    assert "is active of 02:00:00:00:00:0b" in differences(held, {X: ("active", B, 1000.0)})[X]
    assert "is missing" in differences(held, {})[X]
    assert "no client holds it" in differences({}, {X: ("active", A, 1000.0)})[X]


def test_the_other_half_used_before_the_wait_is_over_is_found() -> None:
    assert given_early([ack(14, A, 100)], {X}, 0, 15)
    assert not given_early([ack(15, A, 100)], {X}, 0, 15)
    assert not given_early([ack(14, A, 100)], set(), 0, 15)


SUITE = (
    "first-contact life kill partner-down partner-down-amnesia cut-20 cut-80 both-declared hang lone-boot rollback wrong-name clock"
    " duplicate stale-connect rebalance lease-times reserved stop restart-interrupted restart-partner-down restart-recover"
    " restart-recover-wait saved-conflict saved-conflict-done saved-recovery saved-apart"
)
BETTER = (
    "cut-80 port-opens updates restart-partner-down slow-resolution both-declared stop stalled-resolution stalled-recovery"
    " pool-request secs-zero one-relay zero-loss"
)


def test_no_mishap_is_missing_and_dhcpd_is_measured_where_failoverd_is_better() -> None:
    assert set(SUITE.split()) <= CASES.keys()
    assert all(Cast.DHCPD_ALONE in CASES[name].casts for name in BETTER.split())


def test_each_row_beside_dhcpd_has_both_figures() -> None:
    measured = {
        "normal after the partner's port opens, failoverd dials": 1.2,
        "renewed while they settle a conflict": 19.0,
        "wanted it while they settle a conflict": 20.0,
        "begins resolution anew, failoverd": 60.4,
        "lost of these, zero-loss": 0.0,
        "acknowledged as its host is lost, zero-loss": 7.0,
    }
    theirs = {
        "normal after the partner's port opens, dhcpd dials": 4.9,
        "renewed while they settle a conflict": 0.0,
        "wanted it while they settle a conflict": 20.0,
        "begins resolution anew, dhcpd": 80.0,
        "lost of these, by dhcpd": 9.0,
        "acknowledged as its host is lost, by dhcpd": 11.0,
    }
    results = [Result("updates/failoverd-failoverd", measured=measured), Result("updates/dhcpd-dhcpd", measured=theirs)]
    rows = {row.what: (row.ours, row.theirs) for row in beside.side_by_side(Played(results, 1.0, 1))}
    assert rows["normal after the partner's port, closed till then, opens"] == ("1.2 s", "4.9 s")
    assert rows["clients renewed while the two settle a conflict"] == ("19 of 20", "0 of 20")
    assert rows["partner forgets its part of a conflict's resolution: begun anew after"] == ("60.4 s", "not in 80 s")
    assert rows["acknowledged in the 2 s before a host is lost, its link first, its disk too: lost"] == (
        "0 of 7 with zero-loss, - without",
        "9 of 11",
    )
