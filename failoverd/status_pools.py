"""Pools -> plain data: what is free, at which rate it goes, how long it lasts, and what partner-down would do (schema/api.json)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from failoverd.failover.endpoint import Endpoint
from failoverd.failover.message import ServerState
from failoverd.leases.forecast import Lasts, Recent, Stock, lasts
from failoverd.leases.lease import BindingState
from failoverd.leases.mclt import rest_s
from failoverd.leases.table import PoolState
from failoverd.ports import Now

if TYPE_CHECKING:
    from failoverd.node import Node

ENDED = (BindingState.EXPIRED, BindingState.RELEASED, BindingState.RESET)


def pool(node: Node, name: str, now: Now) -> dict[str, object]:
    """One pool as the operator reads it."""
    state = node.table.pools[name]
    counts = {each.name.lower(): state.count(each) for each in BindingState}
    recent = node.rates[name].recent(now.mono)
    endpoint = node.endpoints.get(state.pool.relationship or "")
    return {
        "name": name,
        "network": state.pool.network,
        "relationship": state.pool.relationship,
        "total": state.pool.size,
        "offered": node.table.offers_in(state.pool),
        **counts,
        "rate": {"window_s": round(recent.window_s, 3), "taken": recent.taken, "returned": recent.returned},
        "lasts": _lasts(state, endpoint, recent, now),
    }


def _lasts(state: PoolState, endpoint: Endpoint | None, recent: Recent, now: Now) -> dict[str, object] | None:
    """Seconds until new clients are refused; None while the rate is not known."""
    if endpoint is None:
        found = lasts(recent, Stock(state.count(BindingState.FREE) + state.count(BindingState.BACKUP), 0, 0, 0.0))
        return None if found is None else dict.fromkeys(("now", "interrupted", "partner_down"), found.together)
    found = forecast(state, endpoint, recent, takeover_at(endpoint, now) or now.wall + wait_s(endpoint, now), now)
    if found is None:
        return None
    by_state = {ServerState.COMMUNICATIONS_INTERRUPTED: found.interrupted, ServerState.PARTNER_DOWN: found.partner_down}
    present = by_state.get(endpoint.record.state, found.together)
    return {"now": present, "interrupted": found.interrupted, "partner_down": found.partner_down}


def forecast(state: PoolState, endpoint: Endpoint, recent: Recent, usable_at: float, now: Now) -> Lasts | None:
    """How long a pool lasts when the partner's half is this server's from `usable_at` on."""
    own, other = BindingState.FREE, BindingState.BACKUP
    if not endpoint.terms.primary:
        own, other = other, own
    ended = sum(state.count(each) for each in ENDED)
    return lasts(recent, Stock(state.count(own), state.count(other), ended, max(usable_at - now.wall, 0.0)))


def wait_s(endpoint: Endpoint, now: Now) -> int:
    """How long after the entry into partner-down the partner's free addresses wait (safety.md 12)."""
    return rest_s(endpoint.rights(now))


def takeover_at(endpoint: Endpoint, now: Now) -> int:
    """In partner-down, when the partner's free addresses become this server's; 0 in every other state."""
    if endpoint.record.state is not ServerState.PARTNER_DOWN:
        return 0
    return endpoint.record.partner_down_since + wait_s(endpoint, now)


def partner_down_preview(node: Node, endpoint: Endpoint, since: int, now: Now) -> dict[str, object]:
    """What partner-down would do (safety.md 12): which addresses are free at which time, and what the risk is."""
    record, terms = endpoint.record, endpoint.terms
    entry = since or int(now.wall)
    rights = endpoint.rights(now)
    wait = wait_s(endpoint, now)
    pools = []
    for state in endpoint.updates.pools:
        other = BindingState.BACKUP if terms.primary else BindingState.FREE
        waiting, latest = 0, 0
        for lease in node.table.rows():
            held = node.table.pool_of(lease.address) is state and lease.state not in (BindingState.ACTIVE, rights.own)
            if held and lease.horizon > entry:
                waiting += 1
                latest = max(latest, max(lease.horizon, lease.not_before) + wait)
        recent = node.rates[state.pool.name].recent(now.mono)
        found = forecast(state, endpoint, recent, entry + wait, now)
        pools.append(
            {
                "pool": state.pool.name,
                "partner_free": state.count(other),
                "free_at": entry + wait,
                "waiting": waiting,
                "latest": latest,
                "lasts": None if found is None else {"interrupted": found.interrupted, "partner_down": found.partner_down},
            }
        )
    return {
        "relationship": terms.name,
        "state": endpoint.state.words,
        "since": record.since,
        "partner_state": record.partner_state.words,
        "linked": endpoint.link is not None,
        "last_heard": record.proven,
        "epoch": record.epoch,
        "new_epoch": record.epoch + (record.state is not ServerState.PARTNER_DOWN),
        "now": now.wall,
        "pools": pools,
        "risk": _risk(endpoint, since),
        "done": False,
    }


def _risk(endpoint: Endpoint, since: int) -> str:
    text = (
        "None if the partner is dead now. If it is only cut off and still serving, from the times above on both servers may give one"
        " address to two clients."
    )
    if since:
        text += (
            " You state that the partner was certainly dead at the given time: if it leased anything after that, the same holds."
        )
    if endpoint.doubt is not None:
        text += " This server booted without contact: addresses that it does not hold as active wait as well."
    if endpoint.terms.partner_is_dhcpd:
        text += " A dhcpd partner that comes back from its own partner-down leads to conflict resolution."
    return text
