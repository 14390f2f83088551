"""What `make ddns-stories` counts, and when it fails."""

from __future__ import annotations

from io import StringIO
from typing import cast

from rich.console import Console

from tests.lab.stories import DOMAIN, MASTER, Cell, Left, Site, compare, show

HELD = {"10.10.0.100": f"a.{DOMAIN}", "10.10.0.101": f"b.{DOMAIN}"}
FORWARD = {(f"ns1.{DOMAIN}", "A", MASTER)} | {
    (name, kind, data) for address, name in HELD.items() for kind, data in (("A", address), ("DHCID", "x"))
}
REVERSE = {(f"{address.split('.')[3]}.0.10.10.in-addr.arpa.", "PTR", name) for address, name in HELD.items()}


def test_a_zone_that_says_what_the_leases_say_has_nothing_left() -> None:
    assert not compare(HELD, FORWARD, REVERSE)
    assert compare(HELD, FORWARD, REVERSE).leases_held == 2


def test_each_record_without_a_lease_and_each_lease_without_its_records_counts() -> None:
    one = {"10.10.0.100": f"a.{DOMAIN}"}
    assert compare(one, FORWARD, REVERSE).records == [
        f"A b.{DOMAIN} 10.10.0.101",
        f"DHCID b.{DOMAIN}",
        f"PTR 10.10.0.101 b.{DOMAIN}",
    ]
    gone = compare(HELD, {record for record in FORWARD if record[:2] != (f"b.{DOMAIN}", "A")}, REVERSE)
    assert (gone.records, gone.leases) == ([], [f"10.10.0.101 b.{DOMAIN}"])
    assert compare(HELD, FORWARD, set()).leases == [f"10.10.0.100 a.{DOMAIN}", f"10.10.0.101 b.{DOMAIN}"]
    elsewhere = {"10.10.0.100": f"a.{DOMAIN}", "10.10.0.102": f"b.{DOMAIN}"}
    moved = compare(elsewhere, FORWARD, REVERSE)
    assert moved.records == [f"A b.{DOMAIN} 10.10.0.101", f"PTR 10.10.0.101 b.{DOMAIN}"]
    assert moved.leases == [f"10.10.0.102 b.{DOMAIN}"]


def outcome(theirs: Left | None, ours: Left | None) -> tuple[bool, str]:
    site = cast("Site", None)
    cells = [
        Cell("a story", product, site, lambda _: Left([], []), left, "" if left else "TimeoutError")
        for product, left in (("dhcpd", theirs), ("failoverd", ours))
    ]
    text = StringIO()
    return show(Console(file=text, width=132), cells, 1.0), text.getvalue()


def test_only_what_failoverd_leaves_fails_and_so_does_a_story_that_did_not_end() -> None:
    clean, dirty = Left([], [], 3), Left(["A x 10.0.0.1"], [], 3)
    assert outcome(dirty, clean)[0]
    assert "A x 10.0.0.1" in outcome(dirty, clean)[1]
    assert not outcome(clean, dirty)[0]
    assert not outcome(None, clean)[0]
    assert not outcome(dirty, None)[0]
    assert "did not end" in outcome(dirty, None)[1]
