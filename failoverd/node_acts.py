"""The operator's verbs that take a server out of service and back, recover it, or balance its pools: guards, previews, deeds.

As node_verbs.py: a Command in, (code, body, message, mutating) out. With `dry_run` the body says what would follow, and nothing is done; a
refusal says what would be right instead. Each verb given a second time says so and changes nothing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from failoverd.failover.endpoint import Endpoint
from failoverd.failover.maintenance import OUT
from failoverd.failover.message import ServerState
from failoverd.leases.lease import BindingState
from failoverd.leases.mclt import rest_s
from failoverd.ports import Command, Kind, Now, Origin, Write

if TYPE_CHECKING:
    from failoverd.node import Node

Answer = tuple[str, object, str, bool]
S = ServerState
SERVES = frozenset({S.NORMAL, S.COMMUNICATIONS_INTERRUPTED, S.PARTNER_DOWN})
RECOVERS = frozenset({S.RECOVER, S.RECOVER_WAIT, S.RECOVER_DONE})
RESOLVES = frozenset({S.POTENTIAL_CONFLICT, S.RESOLUTION_INTERRUPTED, S.CONFLICT_DONE})


def keep(node: Node, endpoint: Endpoint, command: Command, now: Now, what: str) -> None:
    """Who, when and why (safety.md 27)."""
    event = {"what": what, "subject": endpoint.terms.name, "who": command.who, "why": command.why, "wall": now.wall}
    node.out.writes.append(Write(Kind.EVENT, endpoint.terms.name.encode(), json.dumps(event), Origin.OPERATOR, command.verb))


def _preview(consequences: list[str], done: bool = False) -> dict[str, object]:
    return {"done": done, "consequences": consequences}


def _refused(why: str) -> Answer:
    return "refused", None, why, False


def _where(endpoint: Endpoint) -> str:
    contact = "in contact" if endpoint.in_contact else "without contact"
    return f"this server is in {endpoint.state.words}, the partner in {endpoint.record.partner_state.words}, {contact}"


def _done(consequences: list[str], message: str = "") -> Answer:
    return "ok", _preview(consequences, True), message, True


def maintenance_start(node: Node, endpoint: Endpoint, command: Command, now: Now) -> Answer:
    """Out of service: only from a pair that is whole, so that nobody is left without a server."""
    name, rests = endpoint.terms.name, endpoint.rests_in
    if endpoint.record.state in OUT or endpoint.order is not None:
        return "ok", _preview([]), f"out of service already, or about to be: {_where(endpoint)}", False
    if not endpoint.both_normal():
        return _refused(f"maintenance needs both servers in normal, so that the partner can serve alone; {_where(endpoint)}")
    wait = endpoint.rights(now).wait_mclt_s
    said = [
        f"this server answers no client of {name} from now on",
        f"what the partner has not acked goes out: {endpoint.updates.owed} updates; not within a minute: this server serves again",
    ]
    if rests is S.PAUSED:
        said += [
            "then it tells the partner paused: the partner serves everybody, from its own free addresses, and counts no wait",
            f"failoverctl maintenance end {name} brings it back at once; a restart or a reboot of this host does not",
        ]
    else:
        said += [
            "then it tells the dhcpd partner shutdown: dhcpd goes to partner-down, serves everybody, and takes these addresses later",
            f"failoverctl maintenance end {name} brings it back through recover: it takes everything from dhcpd, and serves when"
            f" {wait} s have passed since it last served; a restart or a reboot of this host does not bring it back",
        ]
    said += _stocks(endpoint)
    queue = len(node.planner.rows_list()) and sum(row.state.value not in ("clean", "dead") for row in node.planner.rows_list())
    if queue:
        said.append(f"{queue} names of this server are not yet in DNS: they wait until it is back")
    if command.args.get("dry_run"):
        return "ok", _preview(said), "", False
    keep(node, endpoint, command, now, "maintenance start")
    endpoint.maintenance_start(now, command.why or "maintenance", command.who)
    return _done(said)


def _stocks(endpoint: Endpoint) -> list[str]:
    """What the partner has to live on."""
    theirs = BindingState.BACKUP if endpoint.terms.primary else BindingState.FREE
    return [f"{state.pool.name}: the partner has {state.count(theirs)} free addresses" for state in endpoint.updates.pools]


def maintenance_end(node: Node, endpoint: Endpoint, command: Command, now: Now) -> Answer:
    """Back into service."""
    state, name = endpoint.record.state, endpoint.terms.name
    if endpoint.order is not None:
        said = ["the order is taken back, this server serves again"]
    elif endpoint.partner_lost_all and not endpoint.in_contact:
        return _refused(
            "the partner lost its database, was recovering from this server when it was last heard, and is not in contact. Start it, and"
            f" try again. If it is dead: failoverctl partner-down {name}; addresses then wait for what it may have given and lost"
        )
    elif endpoint.partner_lost_all:
        said = [
            "the partner lost its database and recovers from this server: this server goes to partner-down, and renews its clients at once",
            f"every address without a lease here waits at least {endpoint.rights(now).wait_mclt_s} s: the partner may have given it",
            "both are normal when the partner has recovered",
        ]
    elif state is S.PAUSED:
        said = [
            "this server builds the link anew; when the partner says that nothing happened meanwhile, both are normal",
            "if the partner was put into partner-down, or lost its database, this server recovers first",
            "without contact it serves after 15 s, bounded like a server that was booted alone",
        ]
    elif state is S.SHUTDOWN:
        wait = endpoint.rights(now).wait_mclt_s
        said = [f"this server takes everything from the partner, and serves when {wait} s have passed since it last served"]
    else:
        return "ok", _preview([]), f"this server is not out of service: {_where(endpoint)}", False
    if command.args.get("dry_run"):
        return "ok", _preview(said), "", False
    keep(node, endpoint, command, now, "maintenance end")
    endpoint.maintenance_end(now, command.why or "maintenance ends", command.who)
    return _done(said)


def recover(node: Node, endpoint: Endpoint, command: Command, now: Now) -> Answer:
    """Everything anew from the partner, which must be there and serving."""
    name, record = endpoint.terms.name, endpoint.record
    if record.state in RECOVERS:
        return "ok", _preview([]), f"recovering already: {_where(endpoint)}", False
    if record.state in OUT:
        return _refused(f"this server is out of service: failoverctl maintenance end {name}")
    if record.state in RESOLVES:
        return _refused(f"both compare what they granted, and end that by themselves: failoverctl wait {name} --for normal")
    if record.state is S.PARTNER_DOWN:
        return _refused(
            "this server is in partner-down, and nobody but it knows what it granted; the partner recovers from it when it returns"
        )
    if endpoint.link is None or not endpoint.heard_state or endpoint.starting:
        return _refused(
            f"recover takes everything from the partner, and {_where(endpoint)}; if it is dead: failoverctl partner-down {name}"
        )
    if record.partner_state not in SERVES:
        return _refused(f"nobody would serve: {_where(endpoint)}")
    rights = endpoint.rights(now)
    said = [
        f"this server answers no client of {name} from now on; the partner goes to partner-down (its epoch rises) and serves everybody",
        "it takes every lease from the partner, and sends its own that the partner has not acked",
        f"it serves again when {rights.wait_mclt_s} s (the MCLT) have passed since now",
        f"no lease that the partner knows goes to another client for {rest_s(rights)} s after its end",
    ]
    if command.args.get("dry_run"):
        return "ok", _preview(said), "", False
    keep(node, endpoint, command, now, "recover")
    endpoint.recover(now, command.why or "recover", command.who)
    return _done(said)


def rebalance(node: Node, endpoint: Endpoint, command: Command, now: Now) -> Answer:
    """Level the halves of the pools now instead of at the next scheduled time."""
    if not endpoint.both_normal():
        return _refused(f"addresses move only between two servers in normal; {_where(endpoint)}")
    own, other = (BindingState.FREE, BindingState.BACKUP) if endpoint.terms.primary else (BindingState.BACKUP, BindingState.FREE)
    said, uneven = [], False
    for state in endpoint.updates.pools:
        part = endpoint.updates.share(state)
        what = "level"
        if part.give > 0:
            what = f"up to {part.give} go to the partner"
        elif part.give < 0:
            what = f"the partner is asked for up to {-part.give}"
        uneven = uneven or bool(part.give)
        said.append(f"{state.pool.name}: {state.count(own)} free here, {state.count(other)} at the partner: {what}")
    if not uneven:
        return "ok", _preview(said), "every pool is level", False
    if command.args.get("dry_run"):
        return "ok", _preview(said), "", False
    keep(node, endpoint, command, now, "pool rebalance")
    moved, asked = endpoint.rebalance_now(now)
    told = [f"{moved} addresses handed to the partner"] if moved or not asked else []
    told += ["the partner was asked for addresses"] if asked else []
    return _done(said, ", ".join(told))


ACTS = {
    "maintenance-start": maintenance_start,
    "maintenance-end": maintenance_end,
    "recover": recover,
    "pool-rebalance": rebalance,
}
