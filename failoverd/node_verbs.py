"""The operator's verbs: a Command in, a reply out. Guards of safety.md 11, 12, 16, 27 stand here; what a verb does is the room's.

`run` returns (code, body, message, mutating); a mutating verb's reply waits for the commit, and who, when and why are kept as an event.
"""

from __future__ import annotations

import ipaddress
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from failoverd import node_ddns, status, status_pools
from failoverd.failover.endpoint import Endpoint
from failoverd.failover.message import ServerState
from failoverd.leases.lease import BindingState, Lease
from failoverd.node_acts import ACTS, Answer, keep
from failoverd.ports import Command, Kind, Now, Origin, Write

if TYPE_CHECKING:
    from failoverd.node import Node

PAGE = 1000
DECISIONS_SHOWN = 200
LONGEST_NUMBER = 10  # digits; int() itself refuses thousands of them


def run(node: Node, command: Command, now: Now) -> Answer:
    """Carry out one verb."""
    verb = _READING.get(command.verb)
    if verb is not None:
        return verb(node, command, now)
    about_names = node_ddns.VERBS.get(command.verb)
    if about_names is not None:
        return about_names(node, command, now)
    if command.verb in _DONE_BY_THE_SHELL:
        return _kept(node, command, now)
    acting = _MUTATING.get(command.verb)
    if acting is None:
        return "usage", None, f"unknown verb {command.verb!r}", False
    endpoint, problem = _endpoint(node, command)
    if endpoint is None:
        return "unknown", None, problem, False
    return acting(node, endpoint, command, now)


def _endpoint(node: Node, command: Command) -> tuple[Endpoint | None, str]:
    name = command.args.get("relationship", "")
    if not name and len(node.endpoints) == 1:
        return next(iter(node.endpoints.values())), ""
    found = node.endpoints.get(name)
    known = ", ".join(sorted(node.endpoints)) or "none"
    return found, "" if found is not None else f"no relationship {name!r} here; known: {known}"


# --- mutating verbs -------------------------------------------------------------------------------------------------------


def _kept(node: Node, command: Command, now: Now) -> Answer:
    """The shell has done it; it is kept who asked for it (safety.md 27)."""
    what, subject = _DONE_BY_THE_SHELL[command.verb]
    event = {"what": what.format(**command.args), "subject": subject, "who": command.who, "why": command.why, "wall": now.wall}
    node.out.writes.append(Write(Kind.EVENT, subject.encode(), json.dumps(event), Origin.OPERATOR, command.verb))
    return "ok", {"done": True}, "", True


def _partner_down(node: Node, endpoint: Endpoint, command: Command, now: Now) -> Answer:
    since, problem = _since(command.args.get("since", ""), endpoint, now)
    if problem:
        return "usage" if since < 0 else "refused", None, problem, False
    preview = status_pools.partner_down_preview(node, endpoint, since, now)
    if endpoint.link is not None:
        return "refused", preview, "the partner is in contact; partner-down is for a partner that is dead", False
    if command.args.get("dry_run"):
        return "ok", preview, "", False
    if endpoint.record.state is ServerState.PARTNER_DOWN and not since and endpoint.doubt is None:
        return "ok", preview | {"done": True}, "already in partner-down", False
    keep(node, endpoint, command, now, "partner-down" + (f" --since {since}" if since else ""))
    endpoint.partner_down(since, now, command.why or "operator", command.who)
    return "ok", preview | {"done": True, "state": endpoint.state.words, "epoch": endpoint.record.epoch}, "", True


def _since(text: str, endpoint: Endpoint, now: Now) -> tuple[int, str]:
    """The operator's --since as UTC seconds, 0 for none, -1 for nonsense; and what is wrong with it (safety.md 12)."""
    if not text:
        return 0, ""
    try:
        since = (
            int(float(text))
            if text.replace(".", "", 1).isdigit()
            else int(datetime.fromisoformat(text).astimezone(UTC).timestamp())
        )
    except (ValueError, OverflowError, OSError):  # the last two: a time that no clock here can show
        return -1, f"--since {text!r} is no time; give RFC 3339 (2026-11-22T04:19:13Z) or seconds since 1970"
    if since > now.wall:
        return since, "--since lies in the future"
    if since < endpoint.record.proven:
        return since, f"the partner was heard at {endpoint.record.proven}, after --since {since}"
    return since, ""


def _serve_force(node: Node, endpoint: Endpoint, command: Command, now: Now) -> Answer:
    if endpoint.doubt is None and not endpoint.starting:
        return "ok", {"done": False}, "this server is not in doubt: nothing to force", False
    if endpoint.link is not None and endpoint.heard_state:
        return "refused", None, "the partner is in contact", False
    keep(node, endpoint, command, now, "serve --force")
    endpoint.serve_force(now)
    return "ok", {"done": True}, "", True


def _pair_init(node: Node, endpoint: Endpoint, command: Command, now: Now) -> Answer:
    if not endpoint.record.virgin_database:
        return "refused", None, "this server has been in normal before: it is no new pair", False
    used = sum(lease.state is BindingState.ACTIVE for lease in node.table.rows())
    if used:
        return "refused", None, f"there are {used} active leases: it is no new pair", False
    keep(node, endpoint, command, now, "pair init")
    endpoint.pair_init(now)
    return "ok", {"done": True}, "", True


# --- reading verbs --------------------------------------------------------------------------------------------------------


def _status(node: Node, command: Command, now: Now) -> Answer:
    return "ok", status.status(node, now), "", False


def _conflicts(node: Node, command: Command, now: Now) -> Answer:
    return "ok", status.conflicts(node), "", False


def _ddns_status(node: Node, command: Command, now: Now) -> Answer:
    return "ok", status.dns_detail(node, now), "", False


def _address(text: str) -> int | None:
    try:
        return int(ipaddress.IPv4Address(text))
    except ValueError:
        return None


def _lease_get(node: Node, command: Command, now: Now) -> Answer:
    address = _address(command.args.get("address", ""))
    if address is None:
        return "usage", None, f"{command.args.get('address', '')!r} is no IPv4 address", False
    if not node.table.has_row(address) and node.table.pool_of(address) is None:
        return "unknown", None, "that address is in no pool of this server, and was never leased", False
    return "ok", status.lease_view(node, node.table.get(address)), "", False


def _lease_list(node: Node, command: Command, now: Now) -> Answer:
    args = command.args
    after = _address(args.get("after", "")) or 0
    asked = args.get("limit", "")
    limit = min(int(asked), PAGE) if asked.isdecimal() and len(asked) < LONGEST_NUMBER else PAGE
    pool, state = args.get("pool", ""), args.get("state", "")

    def fits(lease: Lease) -> bool:
        held = node.table.pool_of(lease.address)
        in_pool = not pool or (held is not None and held.pool.name == pool)
        return lease.address > after and in_pool and (not state or lease.state.name.lower() == state)

    found = sorted((lease for lease in node.table.rows() if fits(lease)), key=lambda lease: lease.address)
    body = {"leases": [status.lease_view(node, lease) for lease in found[:limit]], "more": len(found) > limit}
    return "ok", body, "", False


def _explain(node: Node, command: Command, now: Now) -> Answer:
    args = command.args
    address = _address(args["address"]) if "address" in args else None
    name = args.get("name", "").rstrip(".").lower()
    client = _octets(args["client"]) if "client" in args else b""
    if ("address" in args and address is None) or client is None:
        return "usage", None, "give a client's hardware address or client-id in hex, an IPv4 address, or a name", False
    addresses = {address} if address is not None else set()
    if name:
        addresses |= {lease.address for lease in node.table.rows() if lease.fqdn.rstrip(".") == name}
    found = []
    for note in reversed(node.decisions):
        of_client = bool(client) and bool(note.client) and client in (note.client, note.client[1:])
        of_name = bool(name) and note.subject.rstrip(".").lower() == name
        if of_client or of_name or (note.address and note.address in addresses):
            found.append(status.decision(note))
            if len(found) >= DECISIONS_SHOWN:
                break
    return "ok", {"decisions": found[::-1]}, "", False


def _octets(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text.replace(":", "").replace("-", "").replace(".", ""))
    except ValueError:
        return None


_DONE_BY_THE_SHELL = {  # verb -> what is kept, about what
    "backup-made": ("backup {path}", "database"),
    "capture-started": ("capture start, at most {max_size} octets", "capture"),
    "capture-stopped": ("capture stop", "capture"),
}
_READING = {
    "status": _status,
    "ddns-status": _ddns_status,
    "lease-get": _lease_get,
    "lease-list": _lease_list,
    "explain": _explain,
    "conflicts": _conflicts,
}
_MUTATING = ACTS | {"partner-down": _partner_down, "serve-force": _serve_force, "pair-init": _pair_init}
