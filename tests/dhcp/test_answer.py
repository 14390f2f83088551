"""Replies beyond RFC 2131: echoes, reservations, the cache, the space."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from failoverd.dhcp import answer
from failoverd.dhcp.answer import BLOBS_LIMIT, ack, nak, offer
from failoverd.dhcp.message import decode, layout_of
from failoverd.dhcp.scope import Reservation
from tests.dhcp.client_packets import CLIENT, MAC, SERVER, ip4, request, subnet


def test_rfc6842_client_identifier_is_echoed() -> None:
    asked = request(1, {61: b"\x01id", 55: b"\x03"})
    assert decode(offer(asked, subnet(), None, CLIENT, 60, SERVER)).options[61] == b"\x01id"
    assert decode(nak(asked, SERVER, "")).options == {53: b"\x06", 54: SERVER.to_bytes(4, "big"), 61: b"\x01id"}


def test_rfc3046_agent_information_is_echoed_last_and_unchanged() -> None:
    agent = b"\x01\x04port\x02\x02sw\x01\x00"
    data = offer(request(1, {82: agent, 61: b"\x01id", 55: b"\x03\x52"}), subnet(), None, CLIENT, 60, SERVER)
    assert decode(data).options[82] == agent
    assert [code for code, _ in layout_of(data).options][-2:] == [82, 255]


def test_rfc3011_subnet_selection_is_echoed() -> None:
    assert decode(offer(request(1, {118: ip4("10.10.0.0"), 55: b"\x03"}), subnet(), None, CLIENT, 60, SERVER)).options[118] == ip4(
        "10.10.0.0"
    )


def test_rfc4702_fqdn_is_said_when_there_is_something_to_say() -> None:
    holding = subnet(options={81: b"\0\0\0x"})
    for wanted in (b"", b"\x51", b"\x03"):
        asked = request(3, {81: b"\x01\0\0host", 55: wanted}, ciaddr=CLIENT)
        assert 81 not in decode(ack(asked, holding, None, CLIENT, 60, SERVER)).options
        reply = decode(ack(asked, holding, None, CLIENT, 60, SERVER, fqdn=b"\x01\xff\xffhost.test"))
        assert reply.options[81] == b"\x01\xff\xffhost.test"


def test_name_that_the_client_must_learn_is_said_unasked_and_once() -> None:
    held = Reservation(b"\x01" + MAC, b"", CLIENT, "printer")
    written = Reservation(b"\x01" + MAC, b"", CLIENT, "printer", {12: b"Operator"})
    for scope in (subnet(), subnet(options={12: b"all"})):
        for wanted in (b"", b"\x03", b"\x0c"):
            asked = request(1, {55: wanted})
            for reservation in (None, held):
                data = offer(asked, scope, reservation, CLIENT, 60, SERVER, "pc-2")
                assert decode(data).options[12] == b"pc-2"
                assert [code for code, _ in layout_of(data).options].count(12) == 1
            kept = decode(offer(asked, scope, written, CLIENT, 60, SERVER, "pc-2")).options.get(12)
            assert kept == (None if wanted == b"\x03" else b"Operator")
    long = decode(offer(request(1, {57: b"\x05\xdc"}), subnet(), None, CLIENT, 60, SERVER, fqdn=b"\x04\xff\xff" + b"\x01a" * 127))
    assert long.options[81] == b"\x04\xff\xff" + b"\x01a" * 127


def test_a_configuration_cannot_replace_what_the_server_says() -> None:
    holding = subnet(options=dict.fromkeys(answer.OWN - {0, 255}, b"\x00\x00\x00\x00"))
    reply = decode(offer(request(1, {61: b"\x01id"}), holding, None, CLIENT, 60, SERVER))
    assert set(reply.options) == {53, 54, 51, 58, 59, 1, 61}
    assert reply.options[1] == ip4("255.255.255.0")
    assert reply.options[61] == b"\x01id"


def test_reservation_over_subnet_and_name_only_if_asked() -> None:
    held = Reservation(b"\x01" + MAC, b"", CLIENT, "printer", {6: ip4("9.9.9.9")})
    reply = decode(offer(request(1, {55: bytes((6, 12, 15))}), subnet(), held, CLIENT, 60, SERVER))
    assert [reply.options[code] for code in (6, 12, 15)] == [ip4("9.9.9.9"), b"printer", b"dyn.example.test"]
    assert list(reply.options)[-3:] == [6, 12, 15]
    assert 12 not in decode(offer(request(1, {55: b"\x06"}), subnet(), held, CLIENT, 60, SERVER)).options
    named = decode(offer(request(1, {55: b"\x0c"}), subnet(), held, CLIENT, 60, SERVER, "other"))
    assert named.options[12] == b"other"


def test_options_are_encoded_once_for_a_request_list_and_the_cache_is_bounded() -> None:
    scope = subnet()
    first = offer(request(1, {55: b"\x03\x06"}), scope, None, CLIENT, 60, SERVER)
    assert list(scope.blobs) == [b"\x03\x06"]
    assert offer(request(1, {55: b"\x03\x06"}), scope, None, CLIENT, 60, SERVER) == first
    for number in range(2 * BLOBS_LIMIT):
        offer(request(1, {55: number.to_bytes(4, "big")}), scope, None, CLIENT, 60, SERVER)
        assert len(scope.blobs) <= BLOBS_LIMIT
    assert replace(scope, name="other").blobs == {}
    held = Reservation(b"\x01" + MAC, b"", CLIENT, "printer", {6: ip4("9.9.9.9")})
    before = dict(scope.blobs)
    offer(request(1, {55: b"\x06"}), scope, held, CLIENT, 60, SERVER)
    assert scope.blobs == before


def test_long_option_is_divided_in_a_reply() -> None:
    value = b"x" * 300
    data = offer(request(1, {55: b"\x2b", 57: b"\x05\xdc"}), subnet(options={43: value}), None, CLIENT, 60, SERVER)
    assert decode(data).options[43] == value
    assert [piece for piece in layout_of(data).options if piece[0] == 43] == [(43, 255), (43, 45)]


@given(
    st.dictionaries(st.integers(1, 254), st.binary(max_size=700), max_size=8),
    st.binary(max_size=255),
    st.binary(max_size=255),
    st.integers(0, 3),
    st.integers(0, 0xFFFF),
    st.text(max_size=300),
    st.booleans(),
)
def test_every_reply_fits_and_holds_what_is_mandatory(
    options: dict[int, bytes], wanted: bytes, client_id: bytes, agents: int, room: int, text: str, booting: bool
) -> None:
    agent = b"".join(bytes((9, 250)) + b"z" * 250 for _ in range(agents))
    asked = request(1, {57: room.to_bytes(2, "big"), 118: ip4("10.10.0.0")})
    for code, value in ((55, wanted), (61, client_id), (82, agent)):
        if value:
            asked.options[code] = value
    scope = subnet(options=options, boot_file=text if booting else "", server_name=text if booting else "")
    left_out: list[int] = []
    for data in (offer(asked, scope, None, CLIENT, 60, SERVER, text, b"", left_out), nak(asked, SERVER, text)):
        assert 300 <= len(data) <= asked.room <= 1472
        reply = decode(data)
        for code in (61, 82, 118):
            assert reply.options.get(code) == asked.options.get(code)
        assert reply.address(54) == SERVER
    mandatory = {53, 54, 51, 58, 59, 1}
    assert not mandatory & set(left_out)
    reply = decode(offer(asked, scope, None, CLIENT, 60, SERVER))
    assert mandatory <= set(reply.options)
    if wanted:
        assert set(reply.options) <= mandatory | {61, 82, 118} | set(wanted)
