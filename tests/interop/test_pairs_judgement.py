"""The judges of the interop suite see what they are there for: planted double grants, lost leases, rejects and malformed messages."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from failoverd.failover import message as wire
from failoverd.failover.message import Binding
from tests.interop.pairs import cases, report
from tests.interop.pairs.case import CASES, Cast, Hole, Result, job, jobs
from tests.interop.pairs.record import Told, denied, holds, twice
from tests.interop.pairs.run import Played
from tests.interop.pairs.server import Product, end_of
from tests.interop.pairs.wire import read

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
    first = next(iter(report.side_by_side(Played(results, 1.0, 1))))
    assert (first.ours, first.theirs) == ("2.5 s", "45.0 s")


def test_every_case_is_played_in_both_roles_and_with_two_failoverd_and_a_third_of_them_quickly() -> None:
    for case in CASES.values():
        assert {Cast.OURS_FIRST, Cast.DHCPD_FIRST, Cast.OURS_ALONE} <= set(case.casts), case.name
        assert {(one.cast, one.side) for one in jobs(quick=True) if one.case is case} == set(case.quick)
    assert all(job(each.key) == each for each in jobs())
    assert Cast.DHCPD_FIRST.products == (Product.DHCPD, Product.OURS)


def test_the_end_in_a_lease_file_is_utc() -> None:
    assert end_of("2026/11/22 04:41:13") == 1795322473.0
    assert (end_of(""), end_of("never")) == (0.0, 0x7FFFFFFF)
