"""The handshake against what dhcpd was seen to do (failover-protocol.md 4.3, 4.3b; capture 7d)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from failoverd.failover import message as wire
from failoverd.failover.handshake import advertised_window, judge_connect, judge_connect_ack, offer_of
from failoverd.failover.hashing import hba_from_split
from failoverd.failover.message import Message, RejectReason
from failoverd.failover.terms import Terms

NOW = 1_700_000_000
TERMS = Terms("lab", False, 1, 647, 2, 647, 60, hba_from_split(128), 3, 10, 100, 15, 10, 60, 3600, 0, False, False, 0, ("pool",))


def connect(**changes: object) -> Message:
    values: dict[str, object] = {"name": b"lab", "max_unacked": 10, "receive_timer": 10, "mclt": 60, "hba": bytes(32)} | changes
    time = values.pop("time", NOW)
    return wire.connect(time, 0, **values)  # type: ignore[arg-type]


def without(message: Message, code: int) -> Message:
    return Message(message.kind, message.time, message.xid, [each for each in message.options if each[0] != code])


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (connect(), None),
        (without(connect(), 22), RejectReason.INVALID_PARTNER),
        (connect(name=b"other"), RejectReason.INVALID_PARTNER),
        (connect(name=b"lab\0"), RejectReason.INVALID_PARTNER),
        (connect(time=NOW + 60), None),
        (connect(time=NOW - 61), RejectReason.TIME_MISMATCH),
        (connect(time=NOW + 100), RejectReason.TIME_MISMATCH),
        (connect(hba=None), RejectReason.HBA_CONFLICT),
        (connect(hba=bytes(31)), RejectReason.HBA_CONFLICT),
        (without(connect(), 15), RejectReason.INVALID_MCLT),
        (connect(mclt=3600), None),
        (without(connect(), 20), None),
        (without(connect(), 27), None),
    ],
)
def test_what_a_secondary_makes_of_a_connect(message: Message, reason: RejectReason | None) -> None:
    refusal = judge_connect(message, TERMS, NOW, linked=False)
    assert (refusal.reason if refusal else None) == reason


def test_a_second_link_is_refused_and_two_primaries_never_agree() -> None:
    second = judge_connect(connect(), TERMS, NOW, linked=True)
    assert second is not None
    assert second.reason is RejectReason.DUPLICATE_CONNECTION
    both = judge_connect(connect(), replace(TERMS, primary=True), NOW, linked=False)
    assert both is not None
    assert both.reason is RejectReason.INVALID_PARTNER


def test_what_a_primary_makes_of_a_connectack() -> None:
    primary = replace(TERMS, primary=True)
    ack = wire.connect_ack(NOW, 0, name=b"lab", max_unacked=10, receive_timer=10, tls_asked=True)
    assert judge_connect_ack(ack, primary, NOW, linked=False) is None
    late = judge_connect_ack(ack, primary, NOW + 61, linked=False)
    assert late is not None
    assert late.reason is RejectReason.TIME_MISMATCH


def test_a_missing_receive_timer_never_floods() -> None:
    """dhcpd takes it for 0 and sends 11,000 CONTACTs a second."""
    offer = offer_of(without(without(connect(receive_timer=1), 14), 19))
    assert offer.receive_timer_s == 20
    assert offer.max_unacked == 10
    assert offer_of(connect(receive_timer=1)).receive_timer_s == 3


def test_towards_dhcpd_the_window_is_at_most_twice_its_own() -> None:
    dhcpd = replace(TERMS, partner_is_dhcpd=True)
    assert advertised_window(dhcpd, 10) == 20
    assert advertised_window(TERMS, 10) == 100


def test_with_zero_loss_dhcpd_acks_each_update_at_once() -> None:
    """It acks when half of our window is pending, rounded down: one. Otherwise after 2 s, and the client repeats its REQUEST meanwhile."""
    dhcpd = replace(TERMS, partner_is_dhcpd=True, zero_loss_s=3)
    assert advertised_window(dhcpd, 10) == advertised_window(dhcpd, 0) == 3
    assert advertised_window(replace(TERMS, zero_loss_s=3), 10) == 100
