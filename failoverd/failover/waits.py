"""How long a server waits, and what it must wait with: safety.md 12, 14, 16, 19 as pure sums over the relationship's record."""

from __future__ import annotations

from failoverd.failover.clock_memory import UNKNOWN_OFFSET_S
from failoverd.failover.message import ServerState
from failoverd.failover.record import BootFacts, RelationshipRecord

S = ServerState
KNOWS_ITS_HALF = frozenset({S.NORMAL, S.COMMUNICATIONS_INTERRUPTED, S.PARTNER_DOWN})
"""States from which partner-down may use our own free addresses at once: the partner was not in partner-down, as far as we know."""

ROUNDED_S = 1  # stamps are whole seconds, rounded down: a client's lease ends up to a second later


def recover_until(record: RelationshipRecord, boot: BootFacts, partner_is_dhcpd: bool, wall: float) -> tuple[int, bool]:
    """safety.md 14 and 16: MCLT after the last moment at which this server may have granted anything (UTC seconds); and whether this
    is the long wait of two empty databases that nobody has attested. What the partner granted and we confirmed lasted longer than the
    longest lease by what our clock was behind, and nobody knows what that was (safety.md 10; simulator, seed empty1071)."""
    recovers_too = record.partner_state in (S.RECOVER, S.RECOVER_DONE, S.RECOVER_WAIT)
    mclt = max(record.wait_mclt_s, record.mclt_s) + ROUNDED_S
    if record.virgin_database and recovers_too:
        served = record.operated + mclt if record.operated else 0  # told partner-down, it granted without its database, too
        if record.new_pair or partner_is_dhcpd:
            return max(int(wall), served), False
        longest = max(boot.longest_lease_s, record.mclt_s) + UNKNOWN_OFFSET_S
        return max(int(boot.wall) + longest, served), True
    if record.virgin_database or boot.restored:
        return max(int(boot.wall), record.operated) + mclt, False  # it may have granted alone since, and learnt of it only now
    return max(record.operated, int(boot.newest_commit)) + mclt, False


def forgotten_for(record: RelationshipRecord, boot: BootFacts) -> int:
    """How long a lease may still run that this server, without its earlier database, knows nothing of, and nobody else is there to say:
    in partner-down every address waits for it (simulator; safety.md 12 and 15 speak of MCLT, which the forgotten leases exceed). The
    partner may have gone on alone, MCLT beyond the largest potential expiry that this server had acked (failover-protocol.md 7.1)."""
    if not boot.restored and (not record.virgin_database or record.new_pair):
        return 0
    return boot.longest_lease_s * 3 // 2 + max(record.wait_mclt_s, record.mclt_s)


def past_bound(record: RelationshipRecord, wall: float) -> bool:
    """In doubt for so long that a partner in partner-down may have used our own free addresses (safety.md 12)."""
    return record.doubt is not None and record.doubt + record.mclt_s <= wall


def partner_may_hold_our_half(
    record: RelationshipRecord, old: ServerState, boot: BootFacts, wall: float, *, attested: bool
) -> bool:
    """Whether entering partner-down from `old` must wait with every address that is not ACTIVE here, our own free ones included: the
    partner was, or may have been, in partner-down, or we do not have the leases of before (safety.md 12, 15, 16, 19). `attested`: `pair
    init` was typed since this server last was away. While it was away the partner may have been told partner-down, and have used our
    half."""
    if record.virgin_database:
        return not attested
    return boot.restored or old not in KNOWS_ITS_HALF or past_bound(record, wall)
