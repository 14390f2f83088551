"""Who a client is, in values; and that a reason exists for each refusal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failoverd.dhcp.client import client_of
from failoverd.dhcp.message import decode, encode
from failoverd.dhcp.reasons import OPTIONS_LEFT_OUT, Reason
from failoverd.leases.lease import Lease
from failoverd.notes import CATALOGUE
from tests.dhcp.client_packets import CLIENT, MAC, SERVER, request


def test_client_of() -> None:
    packet = request(
        3, {61: b"\x01id", 12: b"host\0", 50: CLIENT.to_bytes(4, "big"), 54: SERVER.to_bytes(4, "big"), 55: b"\x01\x03"}
    )
    client = client_of(packet)
    assert (client.hw, client.client_id, client.hostname) == (b"\x01" + MAC, b"\x01id", "host")
    assert (client.requested, client.server_id, client.secs, client.prl) == (CLIENT, SERVER, 7, b"\x01\x03")


@pytest.mark.parametrize("client_id", [b"", b"\x01id"])
def test_key_is_the_leases(client_id: bytes) -> None:
    client = client_of(request(3, {61: client_id}))
    assert client.key == Lease(1, hw=client.hw, client_id=client.client_id).client != b""


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        (b"host", "host"),
        (b"host\0junk", "host"),
        (b"\0", ""),
        (b"caf\xc3\xa9", "café"),
        (b"a\xff\xfeb", "ab"),
        (b"a\x1b[31mb\r\n", "a[31mb"),
        (b" my host ", "my host"),
        (b"host.example.test", "host.example.test"),
    ],
)
def test_host_name_is_printable(sent: bytes, name: str) -> None:
    assert client_of(request(options={12: sent})).hostname == name


@given(st.binary(max_size=80))
def test_any_name_is_printable_text(host: bytes) -> None:
    text = client_of(decode(encode(request(1, {12: host})))).hostname
    assert text == text.strip()
    assert not text or text.isprintable()


def test_every_reason_is_a_limited_note_for_the_operator() -> None:
    for reason in Reason:
        entry = CATALOGUE[reason.value]
        assert entry.level == "info"
        assert entry.limited
        assert len(entry.text) > 40
    assert CATALOGUE[OPTIONS_LEFT_OUT].limited
