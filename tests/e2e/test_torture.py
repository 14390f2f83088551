"""`make torture` in short, and that its checks see what they are for."""

from __future__ import annotations

import json
import sqlite3
import sys
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from rich.console import Console

from failoverd.leases.lease import BindingState, Lease, lease_key
from tests.lab.recorder import Seen, read
from tests.lab.torture import Terms, torture
from tests.lab.torture_checks import ACTIVE, OnDisk, dhcid, disagreements, given_twice, lost, on_disk, told, zone_faults

ONE, OTHER = "02:fd:01:00:00:01", "02:fd:01:00:00:02"
AT = "10.16.0.1"
SCHEMA = Path(__file__).resolve().parents[2] / "schema" / "0001_journal_and_tables.sql"


def leased(mac: str, at: float, lease_s: int = 60, xid: int = 1) -> list[Seen]:
    """A request and its ACK half a second later."""
    return [Seen(at, "REQUEST", mac, xid, requested=AT, name="pc"), Seen(at + 0.5, "ACK", mac, xid, yiaddr=AT, lease_s=lease_s)]


def test_an_address_that_two_clients_hold_at_one_time_is_seen() -> None:
    assert not given_twice(told([*leased(ONE, 100), *leased(OTHER, 160)]).holds)
    (line,) = given_twice(told([*leased(ONE, 100), *leased(OTHER, 150)]).holds)
    assert line.startswith(f"{AT}: {ONE}")
    assert line.endswith("9.5 s before that")
    # a renewal prolongs, a shorter one does not take back what was promised, a release ends it, of another address it does not
    assert given_twice(told([*leased(ONE, 100), *leased(ONE, 130, xid=2), *leased(OTHER, 170)]).holds)
    assert given_twice(told([*leased(ONE, 100), *leased(ONE, 110, 10, xid=2), *leased(OTHER, 150)]).holds)
    released = Seen(120, "RELEASE", ONE, 3, ciaddr=AT)
    assert not given_twice(told([*leased(ONE, 100), released, *leased(OTHER, 121)]).holds)
    elsewhere = Seen(120, "RELEASE", ONE, 3, ciaddr="10.16.0.2")
    assert given_twice(told([*leased(ONE, 100), elsewhere, *leased(OTHER, 121)]).holds)


def test_the_record_is_read_as_it_was_written() -> None:
    seen = [*leased(ONE, 100), Seen(101, "NAK", OTHER, 2)]
    assert read("".join(one.line() + "\n" for one in seen) + "102.0 ACK half a li") == seen


def test_a_client_that_is_refused_what_it_holds_has_lost_it() -> None:
    renewal = Seen(120, "REQUEST", ONE, 2, ciaddr=AT)
    refusal = Seen(120.5, "NAK", ONE, 2)
    assert told([*leased(ONE, 100), renewal, refusal]).refused
    assert not told([*leased(ONE, 100, 20), renewal, refusal]).refused


def test_a_lease_that_a_database_does_not_hold_is_lost() -> None:
    holds = told(leased(ONE, 100)).holds
    good = {AT: OnDisk(ACTIVE, ONE, 160)}
    assert not lost(holds, {"dhcp1": good, "dhcp2": good}, 150)
    assert not lost(holds, {"dhcp1": {}, "dhcp2": {}}, 161)
    for wrong in ({}, {AT: OnDisk(ACTIVE, OTHER, 160)}, {AT: OnDisk(1, ONE, 160)}, {AT: OnDisk(ACTIVE, ONE, 157)}):
        assert len(lost(holds, {"dhcp1": good, "dhcp2": wrong}, 150)) == 1
    assert disagreements({"dhcp1": good, "dhcp2": {}}, 150)
    assert not disagreements({"dhcp1": good, "dhcp2": good}, 150)


def test_a_database_is_read_with_what_was_not_folded_yet(tmp_path: Path) -> None:
    path = tmp_path / "leases.db"
    address = int(IPv4Address(AT))
    old, new = (
        Lease(address, BindingState.ACTIVE, hw=b"\x01" + bytes.fromhex(mac.replace(":", "")), ends=9) for mac in (ONE, OTHER)
    )
    with sqlite3.connect(path) as disk:
        disk.executescript(SCHEMA.read_text())
        disk.execute("INSERT INTO lease VALUES (4, ?, ?, 1, 0)", (address.to_bytes(4, "big"), old.to_json()))
        disk.execute("UPDATE store SET folded = 1")
        assert json.loads(old.to_json())["state"] == ACTIVE
        disk.commit()
        assert on_disk(path) == {AT: OnDisk(ACTIVE, ONE, 9)}
        row = (2, lease_key(address), new.to_json())
        disk.execute("INSERT INTO journal VALUES (?, 0, 'lease', ?, ?, 'client', 'ACK')", row)
        disk.commit()
        assert on_disk(path) == {AT: OnDisk(ACTIVE, OTHER, 9)}
        disk.execute("INSERT INTO journal VALUES (3, 0, 'lease', ?, NULL, 'client', 'gone')", (lease_key(address),))
        disk.commit()
        assert on_disk(path) == {}


def test_a_zone_that_differs_from_the_leases_is_seen() -> None:
    domain, name, pointer = "dyn.example.test.", "pc.dyn.example.test.", "1.0.16.10.in-addr.arpa."
    leases, names = {AT: ONE, "10.16.0.2": OTHER}, {ONE: "pc", OTHER: "pc"}  # two want it, one has it
    forward, reverse = {(name, "A", AT), (name, "DHCID", dhcid(ONE, name))}, {(pointer, "PTR", name)}
    assert not zone_faults(leases, names, domain, forward, reverse)
    assert zone_faults(leases, names, domain, forward, set())
    assert zone_faults(leases, names, domain, {(name, "A", AT), (name, "DHCID", dhcid(OTHER, name))}, reverse)
    assert zone_faults({}, names, domain, forward, reverse)
    assert zone_faults(leases, names, domain, forward | {("old.dyn.example.test.", "A", "10.16.0.9")}, reverse)
    assert zone_faults(leases, names, domain, {(name, "A", "10.16.0.9"), (name, "DHCID", dhcid(ONE, name))}, reverse)


def test_dhcid_is_that_of_rfc_4701() -> None:
    """The identifier of section 3.6.3 is another one; the product's own code, tested with the RFC's, must say the same."""
    from failoverd.ddns.dhcid import guard

    name = "pc.dyn.example.test."
    assert dhcid(ONE, name) == guard(b"", b"\x01" + bytes.fromhex(ONE.replace(":", "")), name)


@pytest.mark.root
@pytest.mark.bind
def test_a_tortured_pair_loses_nothing() -> None:
    """A few seconds of what `make torture` does for as long as one likes."""
    assert torture(
        Terms(12, 3, residents=40, visitors_per_s=4, pool=300, mclt_s=15, every_s=2.0, gentle=True), Console(file=sys.stderr)
    )
