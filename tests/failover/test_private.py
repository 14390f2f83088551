"""The names of a lease between two failoverd."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failoverd.failover.message import VENDOR_OPTIONS_FROM
from failoverd.failover.private import NAMES, LeaseNames, decode_names, encode_names

LABEL = st.from_regex(r"[a-z0-9_-]{1,63}", fullmatch=True)
NAME = st.lists(LABEL, max_size=3).map(lambda labels: "".join(f"{label}." for label in labels))
SAME = LeaseNames("h1.example.test.", "h1.example.test.", "", True, False, False, True)


def test_dhcpd_skips_the_option() -> None:
    assert VENDOR_OPTIONS_FROM <= NAMES <= 254


def test_the_octets() -> None:
    assert encode_names(SAME) == b"\x01\x09\x02h1\x07example\x04test\0\0\0"
    assert decode_names(b"\x01\xf2\0\0\x01A\0") == LeaseNames("", "", "a.", False, True)


@given(st.builds(LeaseNames, NAME, NAME, NAME, st.booleans(), st.booleans(), st.booleans(), st.booleans()))
def test_both_ways(names: LeaseNames) -> None:
    expected = names._replace(shown=names.shown or names.wish)
    assert decode_names(encode_names(names)) == expected


@given(st.binary(max_size=40))
def test_nothing_that_a_partner_sends_raises(data: bytes) -> None:
    found = decode_names(data)
    if found is not None:
        assert decode_names(encode_names(found)) == found


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        b"\x02\0\0\0\0",  # another version
        b"\x01\0\0\0",  # a name is missing
        b"\x01\0\0\0\0\0",  # something follows
        b"\x01\0\x02h",  # cut short
        b"\x01\0\x40" + b"a" * 64 + b"\0\0\0",  # a label too long (or a compression pointer)
        b"\x01\0" + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\0",  # a name too long
        b"\x01\0\x03a.b\0\0\0",
        b"\x01\0\x01\xff\0\0\0",
        b"\x01\0\x01 \0\0\0",
    ],
)
def test_what_cannot_be_read(data: bytes) -> None:
    assert decode_names(data) is None


@pytest.mark.parametrize("at", range(len(encode_names(SAME))))
def test_cut_anywhere(at: int) -> None:
    assert decode_names(encode_names(SAME)[:at]) is None
