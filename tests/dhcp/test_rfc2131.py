"""RFC 2131, sentence by sentence, as far as this room decides it: what a message is (4.3.2, table 5), what a reply holds (table 3) and
where it goes (4.1). Each test quotes its sentence."""

from __future__ import annotations

import pytest

from failoverd.dhcp.answer import ack, inform_ack, inform_route, nak, offer, route, times
from failoverd.dhcp.classify import REQUESTS, Kind, classify
from failoverd.dhcp.message import Packet, decode
from failoverd.dhcp.reasons import PacketError, Reason
from tests.dhcp.client_packets import BROADCAST_IP, CLIENT, MAC, RELAY, SERVER, ip4, request, subnet

SUBNET = subnet()


def offered(packet: Packet, lease_s: int = 3600) -> Packet:
    return decode(offer(packet, SUBNET, None, CLIENT, lease_s, SERVER))


def acked(packet: Packet, lease_s: int = 3600) -> Packet:
    return decode(ack(packet, SUBNET, None, CLIENT, lease_s, SERVER))


# --- 4.1 --------------------------------------------------------------------------------------------------------------


def test_4_1_giaddr_the_server_sends_any_return_messages_to_the_server_port_on_the_relay() -> None:
    """If the 'giaddr' field in a DHCP message from a client is non-zero, the server sends any return messages to the 'DHCP server'
    port on the BOOTP relay agent whose address appears in 'giaddr'."""
    for fields in ({}, {"flags": 0x8000}, {"ciaddr": CLIENT}):
        assert route(request(giaddr=RELAY, **fields), CLIENT) == (RELAY, 67, None)
        assert route(request(giaddr=RELAY, **fields), 0, is_nak=True) == (RELAY, 67, None)


def test_4_1_ciaddr_unicasts_offer_and_ack_to_the_address_in_ciaddr() -> None:
    """If the 'giaddr' field is zero and the 'ciaddr' field is nonzero, then the server unicasts DHCPOFFER and DHCPACK messages to the
    address in 'ciaddr'."""
    assert route(request(ciaddr=CLIENT), CLIENT) == (CLIENT, 68, None)
    assert route(request(ciaddr=CLIENT, flags=0x8000), CLIENT) == (CLIENT, 68, None)


def test_4_1_broadcast_bit_broadcasts_offer_and_ack() -> None:
    """If 'giaddr' is zero and 'ciaddr' is zero, and the broadcast bit is set, then the server broadcasts DHCPOFFER and DHCPACK messages
    to 0xffffffff."""
    assert route(request(flags=0x8000), CLIENT) == (BROADCAST_IP, 68, None)


def test_4_1_no_broadcast_bit_unicasts_to_the_hardware_address_and_yiaddr() -> None:
    """If the broadcast bit is not set and 'giaddr' is zero and 'ciaddr' is zero, then the server unicasts DHCPOFFER and DHCPACK
    messages to the client's hardware address and 'yiaddr' address."""
    assert route(request(), CLIENT) == (CLIENT, 68, MAC)
    assert route(request(flags=0x7FFF), CLIENT) == (CLIENT, 68, MAC)


def test_4_1_a_client_without_ethernet_is_answered_by_broadcast() -> None:
    """If unicasting is not possible, the message MAY be sent as an IP broadcast."""
    packet = request(options={61: b"\xff12345"}, htype=32, hlen=0)
    packet.chaddr = b""
    assert route(packet, CLIENT) == (BROADCAST_IP, 68, None)


def test_4_1_nak_is_broadcast_whenever_giaddr_is_zero() -> None:
    """In all cases, when 'giaddr' is zero, the server broadcasts any DHCPNAK messages to 0xffffffff."""
    for fields in ({}, {"flags": 0x8000}, {"ciaddr": CLIENT}):
        assert route(request(**fields), 0, is_nak=True) == (BROADCAST_IP, 68, None)


# --- 4.3.2 ------------------------------------------------------------------------------------------------------------

SID, REQ = {54: SERVER.to_bytes(4, "big")}, {50: CLIENT.to_bytes(4, "big")}


def test_4_3_2_selecting() -> None:
    """Client inserts the address of the selected server in 'server identifier', 'ciaddr' MUST be zero, 'requested IP address' MUST be
    filled in with the yiaddr value from the chosen DHCPOFFER."""
    assert classify(request(3, SID | REQ), BROADCAST_IP) is Kind.SELECTING
    assert classify(request(3, SID | REQ, giaddr=RELAY), SERVER) is Kind.SELECTING


def test_4_3_2_init_reboot() -> None:
    """'server identifier' MUST NOT be filled in, 'requested IP address' option MUST be filled in with client's notion of its previously
    assigned address. 'ciaddr' MUST be zero."""
    assert classify(request(3, REQ), BROADCAST_IP) is Kind.INIT_REBOOT


def test_4_3_2_renewing() -> None:
    """'server identifier' MUST NOT be filled in, 'requested IP address' option MUST NOT be filled in, 'ciaddr' MUST be filled in with
    client's IP address. [...] This message will be unicast, so no relay agents will be involved in its transmission."""
    assert classify(request(3, ciaddr=CLIENT), SERVER) is Kind.RENEWING


def test_4_3_2_rebinding() -> None:
    """[as RENEWING, but] This message MUST be broadcast to the 0xffffffff IP broadcast address."""
    assert classify(request(3, ciaddr=CLIENT), BROADCAST_IP) is Kind.REBINDING
    assert classify(request(3, ciaddr=CLIENT, giaddr=RELAY), SERVER) is Kind.REBINDING


def test_4_3_2_table_is_total() -> None:
    assert len(REQUESTS) == 8
    for has_sid, has_requested, has_ciaddr in REQUESTS:
        packet = request(3, (SID if has_sid else {}) | (REQ if has_requested else {}), ciaddr=CLIENT if has_ciaddr else 0)
        for dst_ip in (SERVER, BROADCAST_IP):
            if not has_requested and not has_ciaddr:
                with pytest.raises(PacketError) as caught:
                    classify(packet, dst_ip)
                assert caught.value.reason is Reason.REQUEST_NO_ADDRESS
            else:
                assert isinstance(classify(packet, dst_ip), Kind)


def test_4_3_2_lenient_rows() -> None:
    both = SID | REQ
    assert classify(request(3, REQ, ciaddr=CLIENT), SERVER) is Kind.RENEWING
    assert classify(request(3, SID, ciaddr=CLIENT), BROADCAST_IP) is Kind.REBINDING
    assert classify(request(3, both, ciaddr=CLIENT), BROADCAST_IP) is Kind.SELECTING


REFUSED = [
    (Reason.IS_REPLY, request(2, op=2)),
    (Reason.REQUEST_NO_ADDRESS, request(3)),
    (Reason.REQUEST_NO_ADDRESS, request(3, SID)),
    (Reason.REQUEST_NO_ADDRESS, request(3, {50: b"\0\0\0\0"})),
    (Reason.REQUEST_CONTRADICTS, request(3, REQ, ciaddr=CLIENT + 1)),
    (Reason.DECLINE_NO_ADDRESS, request(4, SID)),
    (Reason.RELEASE_NO_ADDRESS, request(7, SID)),
    (Reason.INFORM_NO_ADDRESS, request(8)),
    *((Reason.SERVER_MESSAGE, request(kind)) for kind in (2, 5, 6)),
    *((Reason.UNSUPPORTED_TYPE, request(kind)) for kind in (0, 9, 10, 11, 12, 13, 18, 255)),
]


@pytest.mark.parametrize(("reason", "packet"), REFUSED)
def test_what_is_no_question_is_refused_with_its_reason(reason: Reason, packet: Packet) -> None:
    with pytest.raises(PacketError) as caught:
        classify(packet, BROADCAST_IP)
    assert caught.value.reason is reason


def test_4_2_a_client_must_have_an_identity() -> None:
    packet = request(1, htype=32, hlen=0)
    packet.chaddr = b""
    with pytest.raises(PacketError) as caught:
        classify(packet, BROADCAST_IP)
    assert caught.value.reason is Reason.NO_IDENTITY


def test_table_5_the_other_questions() -> None:
    assert classify(request(1), BROADCAST_IP) is Kind.DISCOVER
    assert classify(request(4, SID | REQ), BROADCAST_IP) is Kind.DECLINE
    assert classify(request(7, SID, ciaddr=CLIENT), SERVER) is Kind.RELEASE
    assert classify(request(8, ciaddr=CLIENT), BROADCAST_IP) is Kind.INFORM
    assert classify(request(None), BROADCAST_IP) is Kind.BOOTP


def classified(packet: Packet) -> Kind | Reason:
    """What it is, or why it is refused; nothing else comes of it."""
    try:
        return classify(packet, BROADCAST_IP)
    except PacketError as error:
        return error.reason


def test_every_message_type_is_classified_or_refused() -> None:
    for kind in range(256):
        for fields in ({}, {"ciaddr": CLIENT}, {"giaddr": RELAY}, {"op": 2}):
            for options in ({}, SID, REQ, SID | REQ):
                assert isinstance(classified(request(kind, options, **fields)), Kind | Reason)


def test_4_3_2_nak_through_a_relay_has_the_broadcast_bit() -> None:
    """If 'giaddr' is set in the DHCPREQUEST message, the client is on a different subnet. The server MUST set the broadcast bit in the
    DHCPNAK, so that the relay agent will broadcast the DHCPNAK to the client."""
    assert decode(nak(request(3, REQ, giaddr=RELAY), SERVER, "wrong network")).flags == 0x8000
    assert decode(nak(request(3, REQ), SERVER, "wrong network")).flags == 0


# --- table 3 ----------------------------------------------------------------------------------------------------------


def test_table_3_offer() -> None:
    asked = request(1, {55: bytes((1, 3)), 61: b"\x01id"}, giaddr=RELAY, flags=0x8000, hops=2, secs=9)
    reply = offered(asked)
    assert (reply.op, reply.htype, reply.hlen, reply.hops, reply.xid, reply.secs) == (2, 1, 6, 0, asked.xid, 0)
    assert (reply.flags, reply.ciaddr, reply.yiaddr, reply.giaddr, reply.chaddr) == (0x8000, 0, CLIENT, RELAY, MAC)
    assert (reply.message_type, reply.address(54)) == (2, SERVER)
    assert int.from_bytes(reply.options[51], "big") == 3600
    for code in (50, 55, 57):  # MUST NOT
        assert code not in reply.options


def test_table_3_offer_ciaddr_is_zero_and_ack_repeats_it() -> None:
    """'ciaddr': 0 in DHCPOFFER, 'ciaddr' from DHCPREQUEST or 0 in DHCPACK."""
    assert offered(request(1, ciaddr=CLIENT)).ciaddr == 0
    assert acked(request(3, ciaddr=CLIENT)).ciaddr == CLIENT


def test_table_3_siaddr_is_the_next_server_sname_and_file_as_configured() -> None:
    booting = subnet(next_server=0x0A0A0007, boot_file="pxelinux.0", server_name="boot")
    reply = decode(offer(request(1), booting, None, CLIENT, 3600, SERVER))
    assert (reply.siaddr, reply.file, reply.sname) == (0x0A0A0007, b"pxelinux.0", b"boot")


def test_table_3_nak_holds_nothing_but_server_message_and_identity() -> None:
    """DHCPNAK: 'ciaddr', 'yiaddr', 'siaddr' 0; 'sname', 'file' unused; requested address, lease time MUST NOT; message SHOULD; client
    identifier MAY; vendor class MAY; server identifier MUST; all others MUST NOT."""
    reply = decode(nak(request(3, REQ | {61: b"\x01id", 55: bytes((1, 3)), 82: b"\x01\x01a"}, ciaddr=CLIENT), SERVER, "no"))
    assert (reply.ciaddr, reply.yiaddr, reply.siaddr, reply.sname, reply.file) == (0, 0, 0, b"", b"")
    assert reply.options == {53: b"\x06", 54: SERVER.to_bytes(4, "big"), 56: b"no", 61: b"\x01id", 82: b"\x01\x01a"}


# --- 4.3.1, 4.3.5, 4.4.5 ----------------------------------------------------------------------------------------------


def test_4_3_1_parameters_asked_for_and_no_others() -> None:
    reply = offered(request(1, {55: bytes((6, 3, 99, 6))}))
    assert list(reply.options) == [
        53,
        54,
        51,
        58,
        59,
        1,
        6,
        3,
    ]  # RFC 2132 9.8: in the order requested; 3.3: the mask before routers


def test_4_3_1_a_client_that_asks_for_nothing_gets_what_is_configured() -> None:
    assert set(offered(request(1)).options) == {53, 54, 51, 58, 59, 1, *SUBNET.options}


def test_4_3_5_inform_ack_has_no_lease() -> None:
    """The server responds to a DHCPINFORM message by sending a DHCPACK message directly to the address given in the 'ciaddr' field of
    the DHCPINFORM message. The server MUST NOT send a lease expiration time to the client and SHOULD NOT fill in 'yiaddr'."""
    asked = request(8, {55: bytes((1, 15, 51, 58, 59))}, ciaddr=CLIENT, giaddr=RELAY)
    assert inform_route(asked) == (CLIENT, 68, None)
    reply = decode(inform_ack(asked, SUBNET, None, SERVER))
    assert (reply.message_type, reply.ciaddr, reply.yiaddr) == (5, CLIENT, 0)
    assert set(reply.options) == {53, 54, 1, 15}


@pytest.mark.parametrize("lease_s", [0, 1, 60, 3600, 86399, 0xFFFFFFFE])
def test_4_4_5_t1_is_half_and_t2_seven_eighths_of_the_lease(lease_s: int) -> None:
    """T1 defaults to (0.5 * duration_of_lease). T2 defaults to (0.875 * duration_of_lease)."""
    reply = acked(request(3, ciaddr=CLIENT), lease_s)
    assert [int.from_bytes(reply.options[code], "big") for code in (51, 58, 59)] == [lease_s, lease_s // 2, lease_s * 7 // 8]


def test_3_3_infinite_is_ffffffff() -> None:
    assert times(0xFFFFFFFF) == (0xFFFFFFFF,) * 3
    assert times(1 << 40) == (0xFFFFFFFF,) * 3
    assert times(-5) == (0, 0, 0)


def test_2_at_least_576_octets_and_no_more_unless_the_client_says_so() -> None:
    """A DHCP client must be prepared to receive [...] a message of up to 576 octets."""
    large = subnet(options={119: b"x" * 250, 43: b"y" * 200, 6: ip4("10.10.0.53")})
    for options, most in (({}, 548), ({57: b"\x05\xdc"}, 1472)):
        left_out: list[int] = []
        data = offer(request(1, {55: bytes((6, 119, 43)), **options}), large, None, CLIENT, 3600, SERVER, left_out=left_out)
        assert len(data) <= most
        assert left_out == ([] if most == 1472 else [43])
        assert set(decode(data).options) == {53, 54, 51, 58, 59, 1, 6, 119} | ({43} if most == 1472 else set())
