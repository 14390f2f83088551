"""CONNECT and CONNECTACK: who may establish a link, and on what terms (failover-protocol.md 4). Decisions only."""

from __future__ import annotations

from typing import NamedTuple

from failoverd.failover.message import Message, OptionCode, RejectReason
from failoverd.failover.terms import Terms

SKEW_LIMIT_S = 60  # strictly more is refused, as dhcpd does (4.3 check 3)
SKEW_WARN_S = 5
AT_ONCE = 3  # the largest window of which half is one
MIN_RECEIVE_TIMER_S = 3  # below that a third of it rounds to a flood of CONTACTs (4.4)


class Refusal(NamedTuple):
    """Why a handshake fails."""

    reason: RejectReason
    text: str


class Offer(NamedTuple):
    """What the partner said of itself in CONNECT or CONNECTACK."""

    max_unacked: int
    receive_timer_s: int
    vendor: str
    mclt_s: int
    hba: bytes


def offer_of(message: Message) -> Offer:
    """The partner's values; a missing receive-timer or window reads as ISC's defaults rather than as 0 (4.3)."""
    return Offer(
        max_unacked=message.u32(OptionCode.MAX_UNACKED_BNDUPD) or 10,
        receive_timer_s=max(message.u32(OptionCode.RECEIVE_TIMER) or 20, MIN_RECEIVE_TIMER_S),
        vendor=message.text(OptionCode.VENDOR_CLASS_IDENTIFIER) or "",
        mclt_s=message.u32(OptionCode.MCLT) or 0,
        hba=message.raw(OptionCode.HASH_BUCKET_ASSIGNMENT) or b"",
    )


def judge_connect(message: Message, terms: Terms, now: int, linked: bool) -> Refusal | None:
    """What a secondary makes of a CONNECT, in dhcpd's order (4.3); None to accept. Deviation: reasons 5 and 7 reach the wire."""
    if terms.primary:
        return Refusal(RejectReason.INVALID_PARTNER, "both servers are configured as primary")
    refusal = _judge_name(message, terms)
    if refusal is not None:
        return refusal
    if abs(now - message.time) > SKEW_LIMIT_S:
        return Refusal(RejectReason.TIME_MISMATCH, "time offset too large")
    if len(message.raw(OptionCode.HASH_BUCKET_ASSIGNMENT) or b"") != 32:
        return Refusal(RejectReason.HBA_CONFLICT, "invalid HBA")
    if linked:
        return Refusal(RejectReason.DUPLICATE_CONNECTION, "already connected")
    if not message.u32(OptionCode.MCLT):
        return Refusal(RejectReason.INVALID_MCLT, "no MCLT provided")
    return None


def judge_connect_ack(message: Message, terms: Terms, now: int, linked: bool) -> Refusal | None:
    """What a primary makes of an accepting CONNECTACK (4.3b); a refusal is sent as DISCONNECT."""
    if not terms.primary:
        return Refusal(RejectReason.INVALID_PARTNER, "a CONNECTACK that nobody asked for")
    refusal = _judge_name(message, terms)
    if refusal is not None:
        return refusal
    if linked:
        return Refusal(RejectReason.DUPLICATE_CONNECTION, "already connected")
    if abs(now - message.time) > SKEW_LIMIT_S:
        return Refusal(RejectReason.TIME_MISMATCH, "time offset too large")
    return None


def _judge_name(message: Message, terms: Terms) -> Refusal | None:
    name = message.raw(OptionCode.RELATIONSHIP_NAME)
    if name is None:
        return Refusal(RejectReason.INVALID_PARTNER, "missing relationship-name")
    if name != terms.name.encode():
        return Refusal(RejectReason.INVALID_PARTNER, "unknown failover relationship name")
    return None


def advertised_window(terms: Terms, partner_max_unacked: int) -> int:
    """The max-unacked-bndupd that we offer: at most twice dhcpd's own, or it sits on its acks for 2 s (6.5). It acks at once when half of
    ours are pending, rounded down: with zero-loss, where clients wait for it, that is one."""
    if terms.partner_is_dhcpd and terms.zero_loss_s:
        return min(terms.max_unacked, AT_ONCE)
    if terms.partner_is_dhcpd and partner_max_unacked:
        return min(terms.max_unacked, 2 * partner_max_unacked)
    return terms.max_unacked
