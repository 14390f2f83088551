"""Every UPDATE of the captures: decodes, its MAC verifies at its time, and it is equal octet by octet when encoded again."""

from __future__ import annotations

import json
from unittest import mock

import dns.message
import dns.rcode
import dns.tsig
import dns.update
import pytest
from hypothesis import given
from hypothesis import strategies as st

from failoverd.ports import Change, DnsUpdate, Prereq
from failoverd.shell.dnswire import decode_update, encode_update, update_values
from tests.ddns import sequences
from tests.ddns.sequences import VECTORS

LAB = dns.tsig.Key("ddns-key.", "bGFiLWxhYi1sYWItbGFiLWxhYi1sYWItbGFiLWxhYjE=", "hmac-sha256")
CAPTURED = [json.loads(line) for line in (VECTORS / "dns-updates.jsonl").read_text().splitlines()]


def at(wall: float) -> mock._patch[mock.MagicMock]:
    return mock.patch("time.time", return_value=wall)


def decode_at(wire: bytes) -> DnsUpdate:
    """A captured message, verified at the time of its capture."""
    taken = next(raw["time"] for raw in CAPTURED if raw["wire"] == wire.hex())
    with at(taken):
        return decode_update(wire, LAB)


def test_there_are_316_messages() -> None:
    assert len(CAPTURED) == 316


def test_requests_are_equal_after_reencoding() -> None:
    count = 0
    for raw in CAPTURED:
        wire = bytes.fromhex(raw["wire"])
        if wire[2] & 0x80:
            continue
        with at(raw["time"]):
            message = dns.message.from_wire(wire, keyring={LAB.name: LAB})
            assert message.had_tsig
        assert message.tsig is not None
        again = encode_update(update_values(message))
        again.id, again.flags = message.id, message.flags
        again.use_tsig(LAB, fudge=message.tsig[0].fudge)
        with at(message.tsig[0].time_signed):
            assert again.to_wire() == wire
        count += 1
    assert count == 173


def test_replies_verify_with_the_mac_of_their_request() -> None:
    macs: dict[tuple[str, str, int, int], bytes] = {}
    rcodes: dict[str, int] = {}
    for raw in CAPTURED:
        wire = bytes.fromhex(raw["wire"])
        ident = int.from_bytes(wire[:2], "big")
        reply = bool(wire[2] & 0x80)
        client = (raw["capture"], raw["dst"] if reply else raw["src"], raw["dport"] if reply else raw["sport"], ident)
        with at(raw["time"]):
            message = dns.message.from_wire(wire, keyring={LAB.name: LAB}, request_mac=macs[client] if reply else b"")
        if reply:
            text = dns.rcode.to_text(message.rcode())
            rcodes[text] = rcodes.get(text, 0) + 1
        else:
            macs[client] = message.mac or b""
    assert sum(rcodes.values()) == 143
    assert set(rcodes) == {"NOERROR", "YXDOMAIN", "NXRRSET"}


def test_a_flipped_bit_does_not_verify() -> None:
    raw = CAPTURED[0]
    wire = bytearray.fromhex(raw["wire"])
    wire[40] ^= 1
    with at(raw["time"]), pytest.raises(dns.tsig.BadSignature):
        dns.message.from_wire(bytes(wire), keyring={LAB.name: LAB})


@pytest.mark.parametrize("sequence", sequences.load(), ids=lambda s: s.ident)
def test_sequences_survive_the_wire(sequence: sequences.Sequence) -> None:
    seen = decode_update(encode_update(sequence.update).to_wire(), None, 1, "main")
    assert sorted(seen.prereqs) == sorted(dict.fromkeys(sequence.update.prereqs))
    assert seen.changes == sequence.update.changes


LABEL = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
NAME = st.builds(lambda label: f"{label}.example.test.", LABEL)
TEXT = {
    "A": st.ip_addresses(v=4).map(str),
    "AAAA": st.ip_addresses(network="2001:db8::/32").map(str),
    "PTR": NAME,
    "DHCID": st.just("AAABvxIluG2wQ7EBHGcWNdrYI3b2dkEnY4saSqDo+/jdt1A="),
}
RTYPE = st.sampled_from(sorted(TEXT))
CHANGE = st.one_of(
    st.builds(
        lambda n, t, ttl, v: Change("add", n, *v, ttl),
        NAME,
        RTYPE,
        st.integers(0, 86400),
        RTYPE.flatmap(lambda t: TEXT[t].map(lambda v: (t, v))),
    ),
    st.builds(lambda n, t: Change("del-rrset", n, t), NAME, RTYPE),
    st.builds(lambda n, v: Change("del-rr", n, *v), NAME, RTYPE.flatmap(lambda t: TEXT[t].map(lambda v: (t, v)))),
    st.builds(lambda n: Change("del-name", n), NAME),
)
PREREQ = st.one_of(
    st.builds(lambda op, n: Prereq(op, n), st.sampled_from(["nxdomain", "yxdomain"]), NAME),
    st.builds(lambda op, n, t: Prereq(op, n, t), st.sampled_from(["nxrrset", "yxrrset"]), NAME, RTYPE),
    st.builds(lambda n, v: Prereq("yxrrset", n, v[0], (v[1],)), NAME, RTYPE.flatmap(lambda t: TEXT[t].map(lambda v: (t, v)))),
)


@given(st.lists(PREREQ, max_size=4, unique_by=lambda p: p[:3]), st.lists(CHANGE, max_size=5))
def test_any_update_survives_the_wire(prereqs: list[Prereq], changes: list[Change]) -> None:
    update = DnsUpdate(7, "main", "example.test.", tuple(prereqs), tuple(changes))
    message = encode_update(update)
    message.use_tsig(LAB)
    assert decode_update(message.to_wire(), LAB, 7, "main") == update
