"""Option 81: octets, and whose work the update is (RFC 4702)."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failoverd.dhcp.fqdn import (
    MALFORMED,
    VERDICTS,
    Asked,
    E,
    N,
    O,
    Policy,
    S,
    Scope,
    Verdict,
    Wish,
    read,
    wish,
    write,
)
from failoverd.dhcp.message import decode, encode
from failoverd.notes import CATALOGUE
from tests.dhcp.client_packets import request

WHOLE = b"\x04host\x07example\x00"


@pytest.mark.parametrize(
    ("value", "labels", "whole"),
    [
        (b"\x05\0\0" + WHOLE, ("host", "example"), True),
        (b"\x04\0\0\x04host", ("host",), False),
        (b"\x04\0\0\x04host\0", ("host",), False),
        (b"\x04\0\0\x01a\x01b", ("a", "b"), False),
        (b"\x04\0\0", (), False),
        (b"\x04\0\0\0", (), False),
        (b"\x04\0\0\x03a.b\0", ("a.b",), False),
        (b"\x04\0\0\x04\xff\x1b[m\0", ("\ufffd\ufffd[m",), False),
        (b"\x01\0\0host.example.test", ("host", "example", "test"), True),
        (b"\x01\0\0host.example.test.\0", ("host", "example", "test"), True),
        (b"\x01\0\0host", ("host",), False),
        (b"\x01\0\0host.", ("host",), False),
        (b"\x01\0\0", (), False),
        (b"\x01\0\0\0", (), False),
        (b"\x01\0\0.", (), False),
    ],
)
def test_names(value: bytes, labels: tuple[str, ...], whole: bool) -> None:
    asked = read(value)
    assert asked is not None
    assert (asked.labels, asked.whole, asked.name, asked.wire) == (labels, whole, value[3:], bool(value[0] & E))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\x01",
        b"\x01\0",
        b"\x04\0\0\x09host",
        b"\x04\0\0\xc0\x0c",
        b"\x04\0\0\x40" + b"a" * 64,
        b"\x04\0\0" + WHOLE + b"\x01x",
        b"\x04\0\0" + (b"\x3f" + b"a" * 63) * 4 + b"\0",
        b"\x04\0\0" + (b"\x3f" + b"a" * 63) * 4,
        b"\x00\0\0a..b",
        b"\x00\0\0.a",
        b"\x00\0\0" + b"a" * 64,
        b"\x00\0\0" + b"abcdefg." * 32,
    ],
)
def test_malformed_counts_as_absent(value: bytes) -> None:
    assert read(value) is None
    assert CATALOGUE[MALFORMED].limited


@pytest.mark.parametrize("flags", range(256))
def test_flags(flags: int) -> None:
    """O and the upper bits are ignored; N=1 with S=1 is N=1."""
    asked = read(bytes((flags,)) + b"\x12\x34" + (WHOLE if flags & E else b"host.example"))
    assert asked is not None
    assert asked.none == bool(flags & N)
    assert asked.server == (flags & (S | N) == S)
    assert (asked.wire, asked.labels, asked.whole) == (bool(flags & E), ("host", "example"), True)


def test_long_name_is_joined_from_its_pieces() -> None:
    """RFC 3396: a name of 254 octets needs two options."""
    name = (b"\x3d" + b"a" * 61) * 4 + b"\x03abc\0"
    packet = decode(encode(request(1, {81: b"\x05\0\0" + name}), room=1000))
    asked = read(packet.options[81])
    assert asked is not None
    assert [len(label) for label in asked.labels] == [61, 61, 61, 61, 3]


def test_reply_keeps_the_encoding_and_says_255() -> None:
    wire, text = read(b"\x05\x01\x02" + WHOLE), read(b"\x01\x01\x02host.example")
    assert wire is not None
    assert text is not None
    assert write(Verdict(True, True, S), wire, "pc.example.test.") == b"\x05\xff\xff\x02pc\x07example\x04test\0"
    assert write(Verdict(True, True, S | O), text, "pc.example.test.") == b"\x03\xff\xffpc.example.test"
    assert write(Verdict(False, False, N), wire, "") == b"\x0c\xff\xff" + WHOLE
    assert write(Verdict(False, False, N), text, "") == b"\x08\xff\xffhost.example"


# --- ddns.md 1.1, row by row --------------------------------------------------------------------------------------------

CLIENTS = {
    "none": None,
    "S1": Asked(True, False, True, ("h", "x"), True, b""),
    "S0": Asked(False, False, True, ("h", "x"), True, b""),
    "S0 one label": Asked(False, False, True, ("h",), False, b""),
    "S0 empty": Asked(False, False, True, (), False, b""),
    "N1": Asked(False, True, True, ("h", "x"), True, b""),
}
ALLOW = ("allow", "deny", "ignore")


def expected(client: str, scope: Scope, ocu: bool, onu: bool, updates: str) -> tuple[bool, bool, str]:
    """The table of RFC 4702's server behaviour as the specification prints it: forward, reverse, "S O N"."""
    reverse = scope is Scope.BOTH
    if scope is Scope.OFF:
        return False, False, "0 1 1" if client == "S1" else "0 0 1"
    if client == "none":
        return True, reverse, "0 0 0"
    if client == "S1":
        return True, reverse, "1 0 0"
    if client == "N1":
        return (True, reverse, "1 1 0") if onu else (False, False, "0 0 1")
    if updates == "ignore":
        return True, reverse, "0 0 0"
    if client != "S0" or ocu or updates == "deny":
        return True, reverse, "1 1 0"
    return (False, True, "0 0 0") if reverse else (False, False, "0 0 1")


@pytest.mark.parametrize(
    ("client", "scope", "ocu", "onu", "updates"), list(itertools.product(CLIENTS, Scope, (False, True), (False, True), ALLOW))
)
def test_whose_work_it_is(client: str, scope: Scope, ocu: bool, onu: bool, updates: str) -> None:
    verdict = VERDICTS[wish(CLIENTS[client], Policy(scope, ocu, onu, updates)), scope]
    s, o, n = (bool(verdict.flags & bit) for bit in (S, O, N))
    assert (verdict.forward, verdict.reverse, f"{s:d} {o:d} {n:d}") == expected(client, scope, ocu, onu, updates)


def test_the_table_is_total_and_never_contradicts_itself() -> None:
    assert set(VERDICTS) == set(itertools.product(Wish, Scope))
    for (_, scope), verdict in VERDICTS.items():
        assert not (verdict.flags & N and verdict.flags & S), "RFC 4702 2.1: N set, S clear"
        assert not (verdict.flags & N and (verdict.forward or verdict.reverse))
        assert not (verdict.forward and scope is Scope.OFF)
        assert not (verdict.reverse and scope is not Scope.BOTH)


@given(st.binary(max_size=400))
def test_any_octets_are_a_name_or_absent(value: bytes) -> None:
    asked = read(value)
    if asked is None:
        return
    assert all(label and label.isprintable() for label in asked.labels)
    for flags in (0, S, S | O, N):
        said = read(write(Verdict(True, True, flags), asked, "a.b.c."))
        assert said is not None
        assert (said.labels, said.whole, said.wire) == (("a", "b", "c"), True, asked.wire)
        again = read(write(Verdict(True, True, flags), asked, ""))
        assert again is not None
        assert (again.labels, again.whole) == (asked.labels, asked.whole)


@given(st.lists(st.binary(min_size=1, max_size=63), max_size=4), st.booleans())
def test_labels_come_back(labels: list[bytes], ended: bool) -> None:
    wire = b"".join(bytes((len(label),)) + label for label in labels) + (b"\0" if ended else b"")
    asked = read(b"\x04\0\0" + wire)
    assert (asked is not None) == (len(wire) + (not ended) <= 255)
    if asked is not None:
        assert len(asked.labels) == len(labels)
        assert asked.whole == (ended and len(labels) > 1)
