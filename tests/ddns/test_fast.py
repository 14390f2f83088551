"""The fast encoder says what dnspython says, verifies under the key, and leaves to dnspython what it does not cover."""

from __future__ import annotations

import time

import dns.message
import dns.tsig
import dns.update
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failoverd.ddns.batch import joined
from failoverd.ports import Change, DnsUpdate, Prereq
from failoverd.shell.dnsfast import signed_update
from failoverd.shell.dnssign import HmacSigner
from failoverd.shell.dnswire import encode_update, update_values
from tests.ddns.named import KEYS
from tests.ddns.test_wire import CHANGE, LABEL, PREREQ

KEY = KEYS["ddns-key"]
ZONE = "example.test."
WIDE = st.one_of(
    CHANGE, st.builds(lambda label, ttl: Change("add", f"{label}.other.", "A", "192.0.2.7", ttl), LABEL, st.integers(0, 2**31 - 1))
)


def fast(update: DnsUpdate, ident: int = 77, wall: int | None = None) -> tuple[bytes, bytes] | None:
    when = int(time.time()) if wall is None else wall
    return signed_update(update, ident, KEY.name.to_text(), KEY.secret, when, 300)


def slow(update: DnsUpdate, ident: int = 77) -> dns.update.UpdateMessage:
    message = encode_update(update)
    message.id = ident
    message.use_tsig(KEY, fudge=300)
    parsed = dns.message.from_wire(message.to_wire(), keyring={KEY.name: KEY})
    assert isinstance(parsed, dns.update.UpdateMessage)
    return parsed


def flat(sections: list[dns.rrset.RRset]) -> list[str]:  # type: ignore[name-defined]
    return [f"{each.deleting} {line}" for each in sections for line in (each.to_text().splitlines() or [str(each.name)])]


@settings(max_examples=400, deadline=None)
@given(st.lists(PREREQ, max_size=8, unique_by=lambda p: (p.name, p.rtype)), st.lists(WIDE, max_size=12), st.integers(0, 0xFFFF))
def test_it_is_equal_to_dnspython(prereqs: list[Prereq], changes: list[Change], ident: int) -> None:
    update = DnsUpdate(1, "main", ZONE, tuple(prereqs), tuple(changes))
    made = fast(update, ident)
    assert made is not None
    wire, mac = made
    parsed = dns.message.from_wire(wire, keyring={KEY.name: KEY})
    assert isinstance(parsed, dns.update.UpdateMessage)
    assert parsed.had_tsig
    assert parsed.mac == mac
    other = slow(update, ident)
    assert (parsed.id, parsed.flags, parsed.tsig[0].fudge) == (ident, other.flags, 300)
    assert flat(parsed.zone) == flat(other.zone)
    assert flat(parsed.prerequisite) == flat(other.prerequisite)
    assert flat(parsed.update) == flat(other.update)
    assert update_values(parsed) == update_values(other)


def test_a_flipped_bit_does_not_verify() -> None:
    made = fast(DnsUpdate(1, "main", ZONE, (), (Change("add", f"a.{ZONE}", "A", "192.0.2.1", 60),)))
    assert made is not None
    for at in range(12, len(made[0]) - 60, 7):
        broken = bytearray(made[0])
        broken[at] ^= 1
        with pytest.raises((dns.exception.DNSException, ValueError)):
            dns.message.from_wire(bytes(broken), keyring={KEY.name: KEY})


@pytest.mark.parametrize(
    "change",
    [
        Change("add", r"a\.b.example.test.", "A", "192.0.2.1", 60),
        Change("add", r"\097.example.test.", "A", "192.0.2.1", 60),
        Change("add", "A.example.test.", "A", "192.0.2.1", 60),
        Change("add", "b\u00fccher.example.test.", "A", "192.0.2.1", 60),
        Change("add", "a.example.test.", "TXT", '"x"', 60),
        Change("add", "a.example.test.", "MX", "10 a.test.", 60),
        Change("add", "a.example.test.", "A", "192.0.2", 60),
        Change("add", "a.example.test.", "A", "no address", 60),
        Change("add", "a.example.test.", "DHCID", "%%%", 60),
        Change("add", "a.example.test.", "DHCID", "", 60),
        Change("add", "a" * 64 + ".example.test.", "A", "192.0.2.1", 60),
        Change("add", ".".join(["a" * 60] * 5) + ".", "A", "192.0.2.1", 60),
        Change("what", "a.example.test.", "A", "192.0.2.1", 60),
        Change("add", "a", "A", "192.0.2.1", 60),
        Change("add", "a.example.test.", "A", "192.0.2.1", -1),
    ],
)
def test_what_it_does_not_cover_is_left_to_dnspython(change: Change) -> None:
    assert fast(DnsUpdate(1, "main", ZONE, (), (change,))) is None


def test_the_signer_takes_the_slow_way_where_it_must() -> None:
    update = DnsUpdate(1, "main", ZONE, (), (Change("add", r"a\.b.example.test.", "TXT", '"x"', 60),))
    for key in (KEY, dns.tsig.Key("ddns-key", KEY.secret, dns.tsig.HMAC_SHA512)):
        wire, mac = HmacSigner(key).sign_update(update, 9, 300)
        parsed = dns.message.from_wire(wire, keyring={key.name: key})
        assert (parsed.id, parsed.mac) == (9, mac)


def test_it_is_fast() -> None:
    """Well below what a batch may cost (ddns.md 4.5: 50 names at 5,000 names/s are 10 ms)."""
    parts = [
        DnsUpdate(
            0,
            "main",
            ZONE,
            (Prereq("nxdomain", f"host-{n}.{ZONE}"),),
            (
                Change("add", f"host-{n}.{ZONE}", "A", f"192.0.2.{n}", 1200),
                Change("add", f"host-{n}.{ZONE}", "DHCID", "AAABvxIluG2wQ7EBHGcWNdrYI3b2dkEnY4saSqDo+/jdt1A=", 1200),
            ),
        )
        for n in range(50)
    ]
    update = joined(parts, 1)
    best = 1.0
    for _ in range(20):
        began = time.perf_counter()
        made = fast(update)
        best = min(best, time.perf_counter() - began)
    assert made is not None
    assert len(made[0]) < 6000
    assert best < 0.003
