"""Which address a client may have: failover-protocol.md 7.2 (`mine`), RFC 2131 4.3.1, under safety.md 9 to 15.

`refusal` is the one question "may this client have this address now"; every "no" has the name of a Note.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from failoverd.leases.lease import BindingState, Lease
from failoverd.leases.may_allocate import MAY_ALLOCATE, May
from failoverd.leases.mclt import perhaps_used, rest_until
from failoverd.leases.pool import Pool
from failoverd.leases.rights import Rights
from failoverd.leases.table import LeaseTable
from failoverd.notes import declare

LEASED = declare(
    "leased-to-another",
    "info",
    "The address that the client asked for is leased to another client. It gets a DHCPNAK, or another address for a DISCOVER.",
    limited=True,
)
PARTNERS = declare(
    "partners-address",
    "info",
    "The address belongs to the partner's half of the pool; only the partner may hand it out. After `failoverctl partner-down` it"
    " becomes ours once the waiting time shown in the preview has passed.",
    limited=True,
)
TRANSITION = declare(
    "lease-in-transition",
    "info",
    "The lease has ended here but the partner has not agreed yet, so it can go to nobody. It is settled when contact is back.",
    limited=True,
)
LONE_BOOT = declare(
    "lone-boot-bound",
    "warning",
    "This server booted without contact to its partner, which may have declared it down meanwhile. Until contact, only what"
    " the partner cannot have given away is granted. If the partner has not been in partner-down since: `failoverctl serve --force`.",
    limited=True,
)
NOT_BEFORE = declare(
    "address-resting",
    "info",
    "The address must rest: a lease on it may be in use that this pair lost (a database was lost or restored), or it was reserved while it"
    " was leased to another client, with which the partner may have gone on.",
    limited=True,
)
DISPUTED = declare(
    "address-disputed",
    "warning",
    "The partner refused our last update for this address, so neither server gives it out until they agree. Or both had granted it, to"
    " two clients: then no third client gets it before both grants have ended.",
    limited=True,
)
ABANDONED = declare(
    "address-abandoned",
    "info",
    "The address was declined by a client that found it in use, or answered a ping before it was offered; it rests for the abandon-time.",
    limited=True,
)
NO_FREE = declare("no-free-address", "warning", "Every address of the client's network is in use.", limited=True)
PARTNER_HOLDS_FREE = declare(
    "partner-holds-all-free",
    "warning",
    "This server has no free address left in the client's network; the partner's half has some. If the partner is dead:"
    " `failoverctl partner-down` unlocks them after the waiting time.",
    limited=True,
)


class Choice(NamedTuple):
    """An address for a client, or the reason why there is none."""

    lease: Lease | None
    why: str = ""


def refusal(lease: Lease, client: bytes, rights: Rights, now: int, *, holds: bool = False) -> str:
    """ "" when this client may have this address now, else the name of the Note that says why not. `holds`: it says that it has it."""
    same = bool(client) and lease.client == client
    if lease.state is BindingState.ACTIVE:
        if same and rights.resolving and (lease.rejected or lease.disputed > now or lease.ends <= now):
            return rights.why  # the partner's claim has come, or ours has ended (safety.md 19)
        if same and lease.ends <= now and perhaps_used(lease, rights):
            return TRANSITION
        return "" if same else LEASED
    if lease.state is BindingState.ABANDONED:
        return ABANDONED
    if not rights.failover:  # a pool of our own, or a reservation of an address that the partner may have granted before
        return "" if same or lease.not_before <= now else NOT_BEFORE
    if not rights.may_allocate:
        return rights.why or LONE_BOOT
    if lease.rejected and lease.rejected != 16:
        return DISPUTED
    if not same and lease.disputed and now <= lease.disputed + rights.slack_s:
        return DISPUTED
    rested = lease.not_before + rights.ahead_s <= now
    may = MAY_ALLOCATE[rights.own, lease.state].may
    free = lease.state in (BindingState.FREE, BindingState.BACKUP)
    if may is May.NOW and not rights.wait_all:
        # Its last client, which has it no longer, waits as well: whoever forgot may have given it to another since (seed 2286).
        return "" if rested or (same and holds) else NOT_BEFORE
    if may is May.REWOUND:
        # A partner in partner-down has not used it before what it knew was over; an earlier copy cannot tell what (safety.md 12, 15).
        kept = not rights.wait_all or (now < lease.horizon and not rights.outdated and not perhaps_used(lease, rights))
        if same and lease.rewind is BindingState.ACTIVE and kept:
            return ""
        if lease.rewind is rights.own and rights.rewind and not rights.wait_all and rested:
            return ""  # the partner cannot have seen past a state in which it was ours (safety.md 13)
    until = rest_until(lease, rights)
    if until is not None and now > until:
        return ""
    return PARTNERS if free else TRANSITION


def previous(
    table: LeaseTable, pools: Sequence[Pool], client: bytes, rights_of: Callable[[str | None], Rights], now: int
) -> tuple[Lease | None, str]:
    """The client's own last address in these pools, if it may have it again (ACTIVE before all others, then the newest)."""
    names = {pool.name for pool in pools}
    best: Lease | None = None
    why = ""
    for lease in table.of_client(client):
        state = table.pool_of(lease.address)
        if state is None or state.pool.name not in names:
            continue
        no = refusal(lease, client, rights_of(state.pool.relationship), now)
        if no:
            why = why or no
        elif best is None or (lease.state is BindingState.ACTIVE, lease.ends) > (best.state is BindingState.ACTIVE, best.ends):
            best = lease
    return best, why


def pick(
    table: LeaseTable,
    pools: Sequence[Pool],
    client: bytes,
    requested: int,
    rights_of: Callable[[str | None], Rights],
    now: int,
    mono: float,
) -> Choice:
    """An address for a DISCOVER (RFC 2131 4.3.1): the client's own, the one it asks for, then a free one of ours, then, in
    partner-down, the partner's whose time has come."""
    own, why = previous(table, pools, client, rights_of, now)
    if own is not None and table.offered_to(own.address, mono) in (b"", client):
        return Choice(own)
    serving = [pool for pool in pools if rights_of(pool.relationship).serve]
    if not serving:
        return Choice(None, rights_of(pools[0].relationship).why if pools else NO_FREE)
    for wish in (requested, table.offer_of(client, mono)):  # a client that repeats its DISCOVER is offered the same again
        state = table.pool_of(wish) if wish else None
        if state is not None and any(state.pool is pool for pool in serving):
            lease = table.get(wish)
            fit = not refusal(lease, client, rights_of(state.pool.relationship), now)
            if fit and table.offered_to(wish, mono) in (b"", client):
                return Choice(lease)
    for pool in serving:
        lease_or_none = free_of(table, pool, client, rights_of(pool.relationship), now, mono)
        if lease_or_none is not None:
            return Choice(lease_or_none)
    return Choice(None, why or _why_none(table, serving, rights_of))


def free_of(table: LeaseTable, pool: Pool, client: bytes, rights: Rights, now: int, mono: float) -> Lease | None:
    """The address that a client who is new in a pool would get from this server now, None when it has none for it."""
    state = table.pools[pool.name]
    own = rights.own if rights.failover else BindingState.FREE
    other = BindingState.BACKUP if own is BindingState.FREE else BindingState.FREE
    lease = table.first_free(state, own, lambda each: not refusal(each, client, rights, now), mono)
    if lease is None and rights.partner_down_since is not None:
        lease = table.first_free(state, other, lambda each: not refusal(each, client, rights, now), mono)
    return lease


def _why_none(table: LeaseTable, pools: Sequence[Pool], rights_of: Callable[[str | None], Rights]) -> str:
    for pool in pools:
        rights = rights_of(pool.relationship)
        if rights.failover:
            if not rights.may_allocate:
                return rights.why or LONE_BOOT
            if partner_free(table, [pool], rights_of):
                return PARTNER_HOLDS_FREE
    return NO_FREE


def partner_free(table: LeaseTable, pools: Sequence[Pool], rights_of: Callable[[str | None], Rights]) -> int:
    """How many addresses of these pools are free in the partner's half (the "partner has no free address" exception, 9.4)."""
    total = 0
    for pool in pools:
        rights = rights_of(pool.relationship)
        if rights.failover:
            other = BindingState.BACKUP if rights.own is BindingState.FREE else BindingState.FREE
            total += table.pools[pool.name].count(other)
    return total
