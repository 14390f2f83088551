"""What may prove ownership, against vectors taken from dhcpd 4.4.3."""

from __future__ import annotations

import pytest

from failoverd.ddns.dhcid import guard
from failoverd.ddns.guards import Guard, as_cased, guard_candidates

HW = bytes.fromhex("01020000000001")
CLIENT_ID = bytes.fromhex("010708090a0b0c")
DUID = bytes.fromhex("00010006412df166010203040506")


def test_canonical_is_first_and_equals_what_we_write() -> None:
    found = guard_candidates(HW, CLIENT_ID, "h1.example.test.")
    assert found[0] == Guard("DHCID", guard(HW, CLIENT_ID, "h1.example.test."), "canonical")


def test_dhcpd_keeps_the_clients_case() -> None:
    found = {each.how: each.text for each in guard_candidates(HW, b"", "mixedcase.example.test.", cased="MixedCase")}
    assert found["canonical"] == "AAABhPGQLXwX/inu3M9tV9K7K+zMHBw3/w0j3zq7US+4GtM="
    assert found["as-cased"] == "AAABhbGPgNGeNH/wkVlipITTi1HsBoj6A/6Q5nYNVd8P0/k="


@pytest.mark.parametrize(
    ("hw", "client_id", "text"),
    [
        (b"", CLIENT_ID, "31934ffa9344a3ab86c380505a671e5113"),
        (bytes.fromhex("01010203040506"), b"", "0046b6cacea62dc1d4567b068175d1f808"),
        (b"", b"\xff\0\0\0\1" + DUID, "02abf8cd3753dc1847be40858becd77865"),
    ],
)
def test_interim(hw: bytes, client_id: bytes, text: str) -> None:
    assert Guard("TXT", f'"{text}"', "interim") in guard_candidates(hw, client_id, "any.example.test.")


def test_the_other_identifier() -> None:
    name = "h1.example.test."
    found = guard_candidates(HW, CLIENT_ID, name)
    assert Guard("DHCID", guard(HW, b"", name), "other-identifier") in found
    rfc4361 = b"\xff\0\0\0\1" + DUID
    kinds = {each.how for each in guard_candidates(HW, rfc4361, name) if each.rtype == "DHCID"}
    assert kinds == {"canonical", "other-identifier"}


def test_stored_comes_first_whatever_it_is() -> None:
    dhcid = guard(HW, b"", "other.example.test.")
    assert guard_candidates(HW, b"", "h1.example.test.", stored=dhcid)[0] == Guard("DHCID", dhcid, "stored")
    txt = "31934ffa9344a3ab86c380505a671e5113"
    assert guard_candidates(HW, b"", "h1.example.test.", stored=txt)[0] == Guard("TXT", f'"{txt}"', "stored")


def test_each_once_and_none_for_nobody() -> None:
    found = guard_candidates(HW, CLIENT_ID, "h1.example.test.", cased="h1.example.test.")
    assert len({each[:2] for each in found}) == len(found)
    assert guard_candidates(b"", b"", "h1.example.test.") == ()


@pytest.mark.parametrize(
    ("name", "cased", "want"),
    [
        ("pc1.example.test.", "PC1", "PC1.example.test."),
        ("pc1.example.test.", "PC1.Example.TEST.", "PC1.Example.TEST."),
        ("pc1.example.test.", "PC1.other.test", "PC1.example.test."),
        ("pc1.example.test.", "PC2.Example.test", "pc1.example.test."),
        ("pc1.example.test.", "", "pc1.example.test."),
    ],
)
def test_as_cased(name: str, cased: str, want: str) -> None:
    assert as_cased(name, cased) == want
