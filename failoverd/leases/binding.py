"""Whether the partner's view of a lease is taken: total tables, and `judge`, which reads them.

This room decides acceptance and the reject code (failover-protocol.md 6.3 and 6.4, safety.md 10). It must not know messages: the
values of a BNDUPD come as plain arguments. Where dhcpd's tables could take a valid lease from its client, ours refuse; such cells
are marked `Deviation:`. A binding status outside 1..7 gets a reject code (dhcpd's process ends).
"""

from __future__ import annotations

from enum import Enum
from itertools import product
from typing import NamedTuple

from failoverd.leases.lease import FLAG_BOOTP, FLAG_RESERVED, BindingState, Lease

LONGEST_HW = 21  # htype and chaddr (6.3 step 5)
LONGEST_SLACK_S = 65  # dhcpd's tolerance: no end is taken earlier than by that, however far apart the clocks are

# Option 21, failover-protocol.md 2.4.
FATAL_CONFLICT = 2
MISSING = 3
MISC = 6
LESS_CRITICAL = 16
OUTDATED = 15
NOT_RESERVED = 19

FREE, ACTIVE, EXPIRED, RELEASED, ABANDONED, RESET, BACKUP = BindingState


class Verdict(NamedTuple):
    """What becomes of one update. `reject`: option 21, 0 when accepted; `text`: option 16."""

    accept: bool
    reject: int = 0
    text: str = ""


class Rule(Enum):
    """One cell of the transition tables."""

    ACCEPT = "accept"
    REJECT = "reject 2"
    UNLESS_POTENTIAL = "accept unless the message's potential expiry lies ahead"
    UNLESS_END = "accept unless our end of the lease lies ahead"
    UNLESS_EITHER = "accept unless either lies ahead"


class Winner(Enum):
    """One cell of the dueling table."""

    OURS = "ours"
    THEIRS = "theirs"
    PRIMARY = "the primary's"
    LATER_CLTT = "the one with the later client-last-transaction-time, the primary's when equal"


def _normal(primary: bool, local: BindingState, told: BindingState) -> Rule:
    """Table 6.3 for my state normal."""
    if local is told or local in (FREE, ABANDONED, BACKUP, RELEASED):
        return Rule.ACCEPT
    if local in (EXPIRED, RESET):
        return Rule.UNLESS_POTENTIAL if told in (FREE, BACKUP) else Rule.ACCEPT
    if primary:
        return Rule.ACCEPT if told in (RELEASED, ABANDONED) else Rule.REJECT
    if told in (FREE, BACKUP):
        # Deviation: dhcpd asks for the potential expiry only, and lets a retransmitted BACKUP end a lease granted since.
        return Rule.UNLESS_EITHER
    return Rule.UNLESS_END if told is EXPIRED else Rule.ACCEPT


def _otherwise(local: BindingState, told: BindingState) -> Rule:
    """Table 6.3 for every other state, both roles."""
    if local is told or local is not ACTIVE:
        return Rule.ACCEPT
    if told in (FREE, BACKUP):
        return Rule.REJECT
    return Rule.UNLESS_END if told is EXPIRED else Rule.ACCEPT


def _duel(local: BindingState, told: BindingState) -> Winner:
    """Table 6.4. Deviation: our ACTIVE also beats EXPIRED, and FREE, BACKUP, RELEASED, RESET or ABANDONED of the primary. The other
    side's table lets our ACTIVE win; with dhcpd's rule both would yield and each hold what the other had said. A lease that has
    ended meanwhile ends again, once, on the server that expires it."""
    if told is ACTIVE:
        return Winner.LATER_CLTT if local is ACTIVE else Winner.THEIRS
    return Winner.OURS if local is ACTIVE else Winner.PRIMARY


IN_NORMAL: dict[tuple[bool, BindingState, BindingState], Rule] = {
    (primary, local, told): _normal(primary, local, told)
    for primary, local, told in product((True, False), BindingState, BindingState)
}
"""(I am primary, local state, message state) -> rule, when I am in normal."""

OTHERWISE: dict[tuple[BindingState, BindingState], Rule] = {
    (local, told): _otherwise(local, told) for local, told in product(BindingState, BindingState)
}
"""(local state, message state) -> rule, in every other state."""

DUEL: dict[tuple[BindingState, BindingState], Winner] = {
    (local, told): _duel(local, told) for local, told in product(BindingState, BindingState)
}
"""(state that we have announced, message state) -> winner, while an update of ours is un-acked."""

_CLIENT_NEEDED = (ACTIVE, EXPIRED, RELEASED)


def judge(
    lease: Lease,
    state: int,
    *,
    hw: bytes | None,
    client_id: bytes | None,
    potential: int,
    cltt: int,
    flags: int,
    announced: BindingState | None,
    announced_cltt: int,
    in_normal: bool,
    primary: bool,
    now: int,
    slack_s: int,
    resolving: bool = False,
    ruled: bool = False,
    confirmed: int = 0,
    outdated: bool = False,
    recovers: bool = False,
    starts: int = 0,
) -> Verdict:
    """Judge one BNDUPD for `lease` (6.3 steps 4 to 10; 1 to 3 are the caller's). Times UTC seconds, an absent one 0.

    `announced`: the state in our BNDUPD in flight, None when there is none. `slack_s`: by how much the partner's clock may be
    ahead; at most 65 s of it are used (dhcpd's tolerance): an end within it counts as passed, since the partner that expires first
    is the one whose clock is ahead, and a failoverd partner has waited that slack already. `resolving`: we are in conflict resolution.
    `ruled`: the partner, the primary, has judged already. `confirmed`: when we last acknowledged what remains of the lease without a
    write, 0 for never. `outdated`: our database is an earlier copy: what the partner had acked it has seen past, and
    its later word is taken, whatever our record says (safety.md 15). `recovers`: the partner does, and may tell from an earlier
    copy of its own: that ends or takes over no running lease that was given later. `starts`: when the told state began, 0 towards a dhcpd.
    """
    try:
        told = BindingState(state)
    except ValueError:
        return Verdict(False, MISC, f"{_dotted(lease.address)}: binding status {state} is unknown")
    # Crossed: the partner judges by the duel, and nobody's lease hangs on what it told.
    crossed = announced is not None and told is not ACTIVE
    latest = max(lease.cltt, lease.partner_cltt)
    # By two clocks: what ends a lease by itself errs to the later side; what its client did to it came after the grant.
    margin = slack_s if told in (FREE, BACKUP, EXPIRED, RESET) else -1
    if recovers and lease.state is ACTIVE and lease.ends + slack_s > now and max(cltt, starts) <= latest + margin:
        return Verdict(False, LESS_CRITICAL, "the lease was given later than that")
    # What the partner took from us it tells without a client-last-transaction-time; its state began after the copy was made.
    if outdated and not crossed and (not lease.owed or max(cltt, starts) > latest):
        return _client(told, hw, client_id) or Verdict(True)
    ahead_of = now + min(slack_s, LONGEST_SLACK_S)
    if resolving and told is ACTIVE and contested(lease, hw, client_id, now - slack_s):
        if not ruled and ours_stands(lease.cltt, cltt, slack_s, primary):
            return Verdict(False, OUTDATED, f"client-last-transaction-time {cltt} is not after {lease.cltt}")
        return _client(told, hw, client_id) or Verdict(True)
    if announced is None and lease.owed and lease.state is ACTIVE and lease.ends + slack_s > now:
        # Deviation: dhcpd duels only over what is in flight; a grant that still waits for the window is no less a grant.
        announced, announced_cltt = ACTIVE, lease.cltt
    lasts = lease.state is ACTIVE and lease.ends > now - slack_s
    if lasts and told is not ACTIVE and confirmed and cltt <= confirmed + slack_s:
        # The client gave it back to the partner before it asked us: what we confirmed is no less a grant for being on no disk.
        return Verdict(False, LESS_CRITICAL, "the lease was confirmed to its client since")
    if lasts and told is RELEASED and lease.partner_cltt < lease.cltt and cltt + slack_s < lease.cltt:
        # It came to us after it had given the lease back to the partner (a dhcpd tells that late: simulator, seed dhcpd5342). Surely after:
        # what it gives back at once after our ACK is given back, and refused it would be owed until the lease ends (seed 4011).
        return Verdict(False, LESS_CRITICAL, "the client was given the lease again since")
    if announced is not None and not _theirs_wins(announced, announced_cltt, told, max(cltt, starts), primary):
        return Verdict(False, LESS_CRITICAL, "incoming update is less critical than outgoing update")
    return (
        _client(told, hw, client_id)
        or _flags(lease, flags, primary)
        or _transition(lease, told, potential, in_normal, primary, ahead_of)
        or Verdict(True)
    )


def contested(lease: Lease, hw: bytes | None, client_id: bytes | None, now: int) -> bool:
    """Whether a grant to this client meets a grant of ours to another one that has not ended."""
    theirs = Lease(0, hw=hw or b"", client_id=client_id or b"").client
    return lease.state is ACTIVE and lease.ends > now and lease.client != theirs


def ours_stands(ours_cltt: int, theirs_cltt: int, slack_s: int, primary: bool) -> bool:
    """safety.md 19: the later client-last-transaction-time wins, the primary's when they are equal within the measured offset."""
    if abs(ours_cltt - theirs_cltt) <= slack_s:
        return primary
    return ours_cltt > theirs_cltt


def _theirs_wins(announced: BindingState, announced_cltt: int, told: BindingState, cltt: int, primary: bool) -> bool:
    winner = DUEL[announced, told]
    if winner is Winner.LATER_CLTT:
        return cltt > announced_cltt or (cltt == announced_cltt and not primary)
    return winner is Winner.THEIRS or (winner is Winner.PRIMARY and not primary)


def _client(told: BindingState, hw: bytes | None, client_id: bytes | None) -> Verdict | None:
    """6.3 steps 5 and 6."""
    if told is ABANDONED:
        if hw is not None:
            return Verdict(False, MISC, "BNDUPD to ABANDONED with a CHADDR")
        if client_id is not None:
            return Verdict(False, MISC, "BNDUPD to ABANDONED with client-id")
    elif hw is not None and len(hw) > LONGEST_HW:
        return Verdict(False, MISC, "chaddr too long")
    elif told in _CLIENT_NEEDED and not hw:
        return Verdict(False, MISSING, "BNDUPD without CHADDR")
    return None


def _flags(lease: Lease, flags: int, primary: bool) -> Verdict | None:
    """6.3 step 9: a flag that is ours to set, on an address that is ours to give."""
    if lease.state is not (FREE if primary else BACKUP):
        return None
    if flags & FLAG_RESERVED and not lease.flags & FLAG_RESERVED:
        return Verdict(False, NOT_RESERVED, "Address is not reserved.")
    if flags & FLAG_BOOTP and not lease.flags & FLAG_BOOTP:
        return Verdict(False, MISC, "Address is not allocated to BOOTP.")
    return None


def _transition(lease: Lease, told: BindingState, potential: int, in_normal: bool, primary: bool, ahead_of: int) -> Verdict | None:
    """6.3 step 10."""
    rule = IN_NORMAL[primary, lease.state, told] if in_normal else OTHERWISE[lease.state, told]
    refused = rule is Rule.REJECT
    if rule in (Rule.UNLESS_POTENTIAL, Rule.UNLESS_EITHER):
        refused = potential > ahead_of
    if rule in (Rule.UNLESS_END, Rule.UNLESS_EITHER):
        refused = refused or lease.ends > ahead_of
    if not refused:
        return None
    text = f"{_dotted(lease.address)}: invalid state transition: {lease.state.name.lower()} to {told.name.lower()}"
    return Verdict(False, FATAL_CONFLICT, text)


def _dotted(address: int) -> str:
    return ".".join(str(octet) for octet in address.to_bytes(4, "big"))
