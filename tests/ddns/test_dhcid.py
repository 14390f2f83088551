from __future__ import annotations

import base64
import json

import pytest

from failoverd.ddns.dhcid import guard, identifier, name_wire, rdata
from tests.ddns.sequences import VECTORS
from tests.ddns.test_wire import decode_at

DUID = bytes.fromhex("00010006412df166010203040506")


@pytest.mark.parametrize(
    ("hw", "client_id", "name", "text"),
    [
        (b"", b"\xff\x00\x00\x00\x01" + DUID, "chi6.example.com.", "AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA="),
        (b"", bytes.fromhex("010708090a0b0c"), "chi.example.com.", "AAEBOSD+XR3Os/0LozeXVqcNc7FwCfQdWL3b/NaiUDlW2No="),
        (bytes.fromhex("01010203040506"), b"", "client.example.com.", "AAABxLmlskllE0MVjd57zHcWmEH3pCQ6VytcKD//7es/deY="),
    ],
)
def test_examples_of_rfc_4701(hw: bytes, client_id: bytes, name: str, text: str) -> None:
    assert guard(hw, client_id, name) == text


def test_client_id_is_preferred() -> None:
    hw = bytes.fromhex("01020000000001")
    assert guard(hw, b"\x01abcdef", "a.test.") == guard(b"", b"\x01abcdef", "a.test.")


def test_name_is_lower_cased() -> None:
    """ddns.md 8.2: dhcpd gives AAABhbGP... for the same client at MixedCase; ours is the canonical one."""
    ours = guard(bytes.fromhex("01020000000001"), b"", "MixedCase.example.test.")
    assert ours == "AAABhPGQLXwX/inu3M9tV9K7K+zMHBw3/w0j3zq7US+4GtM="
    assert ours == guard(bytes.fromhex("01020000000001"), b"", "mixedcase.example.test.")


def test_identities_of_the_sequences() -> None:
    assert guard(bytes.fromhex("01020000000001"), b"", "h1.example.test.") == "AAABvxIluG2wQ7EBHGcWNdrYI3b2dkEnY4saSqDo+/jdt1A="
    assert guard(bytes.fromhex("01020000000002"), b"", "h1.example.test.") == "AAABh7oMmmt4ZyApyWHk2eQbS5y/Pgifpgk4sXUtKEtPgYc="


def test_a_duid_of_no_legal_length_proves_nothing() -> None:
    hw = b"\x01\x02\x00\x00\x00\x00\x01"
    assert identifier(hw, b"\xff\x00\x00\x00\x01abcde") == (0, hw)
    assert identifier(hw, b"\xff\x00\x00\x00\x01abcdef") == (2, b"abcdef")
    assert identifier(hw, b"\xff\x00\x00\x00\x01" + bytes(136)) == (0, hw)
    assert guard(b"", b"\xff", "a.test.") == ""


def test_wire_form() -> None:
    assert name_wire("Ab.c.") == b"\x02ab\x01c\x00"
    assert len(rdata(0, b"x", "a.")) == 35


def test_every_dhcid_that_dhcpd_wrote_in_the_captures_is_ours() -> None:
    """Client host<K> has 02:a2:00:00:00:<K> and no client-id, or 01 + MAC as udhcpc and dhclient send it."""
    seen = 0
    for line in (VECTORS / "dns-updates.jsonl").read_text().splitlines():
        wire = bytes.fromhex(json.loads(line)["wire"])
        if wire[2] & 0x80:
            continue
        for change in decode_at(wire).changes:
            if change.rtype != "DHCID" or not change.value or not change.name.startswith("host"):
                continue
            number = int(change.name[4 : change.name.index(".")])
            mac = bytes((0x02, 0xA2, 0, 0, 0, number))
            mine = {guard(b"\x01" + mac, b"", change.name), guard(b"", b"\x01" + mac, change.name)}
            if base64.b64decode(change.value)[:2] != b"\x00\x02":
                assert change.value in mine, change
                seen += 1
    assert seen > 20
