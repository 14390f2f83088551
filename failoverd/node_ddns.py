"""The operator's verbs about names in DNS: rows to look at, again, hold, take, drop, and what an audit asks and repairs.

As in node_verbs.py: a Command in, (code, body, message, mutating) out. What changes is the planner's; here stand the guards (a server in
doubt sends nothing, only one server of a pair repairs) and who, when and why.
"""

from __future__ import annotations

import ipaddress
import json
from bisect import bisect_right
from typing import TYPE_CHECKING

from failoverd.ddns.audit import Class, Repair, addresses_of, finding_of, fingerprint, ipv4, reverse_address
from failoverd.ddns.dhcid import guard
from failoverd.ddns.names import dotted, reverse_name
from failoverd.ddns.repair import TROUBLED, Hold, Job
from failoverd.ddns.rows import FORWARD, ME, REVERSE, Row, State, row_key
from failoverd.ddns.wants import wanted_name
from failoverd.failover.message import ServerState
from failoverd.leases.lease import BindingState
from failoverd.ports import Command, Kind, Now, Origin, Write

if TYPE_CHECKING:
    from failoverd.node import Node

Answer = tuple[str, object, str, bool]
PAGE = 1000
SCAN = 5000  # rows looked at for one page
AUDIT_PAGE = 500


def _keep(node: Node, command: Command, now: Now, what: str, subject: str) -> None:
    """Who, when and why (safety.md 27)."""
    event = {"what": what, "subject": subject, "who": command.who, "why": command.why, "wall": now.wall}
    node.out.writes.append(Write(Kind.EVENT, b"ddns", json.dumps(event), Origin.OPERATOR, command.verb))


def absolute(text: str) -> str:
    """A name as rows hold it: lower case, with the trailing dot."""
    return text.strip().lower().rstrip(".") + "."


def _named(node: Node, text: str) -> list[Row]:
    """The rows of a name or of an IPv4 address, those of the other direction with them."""
    return node.planner.repairs.rows_of(_owner_name(node, text))


def _owner_name(node: Node, text: str) -> str:
    """The owner name that an operator means: an address stands for its PTR, wherever that is (RFC 2317)."""
    try:
        address = int(ipaddress.IPv4Address(text))
    except ValueError:
        return absolute(text)
    return node.planner.pointer(node.table.get(address)) or reverse_name(address)


def row_view(node: Node, row: Row) -> dict[str, object]:
    """One row as the operator reads it."""
    return {
        "target": row.target,
        "kind": row.kind,
        "name": row.name,
        "zone": row.zone,
        "state": "inflight" if node.planner.repairs.busy(row) else row.state.value,
        "owner": "this server" if row.owner == ME else "partner",
        "want": [list(value) for value in row.want],
        "have": [list(value) for value in row.have],
        "maybe": [list(value) for value in row.maybe],
        "guard": row.guard,
        "attempts": row.attempts,
        "dirty_since": row.dirty_since,
        "next_at": row.next_at if row.due_mono >= 0 else 0.0,
        "rcode": row.last_rcode,
        "detail": row.last_error,
        "server": row.server,
    }


# --- looking ---------------------------------------------------------------------------------------------------------------


def _rows(node: Node, command: Command, now: Now) -> Answer:
    """A page of all rows, or of those in some states, by target, kind and name."""
    args = command.args
    states = set(filter(None, args.get("state", "").split(",")))
    unknown = states - {state.value for state in State}
    if unknown:
        known = ", ".join(state.value for state in State)
        return "usage", None, f"no such state: {', '.join(sorted(unknown))}; the states are {known}", False
    limit = min(int(args.get("limit") or PAGE), PAGE)
    keys = node.planner.repairs.listing(first=not args.get("after"))
    start = bisect_right(keys, args["after"].replace(" ", "\0").encode()) if args.get("after") else 0
    found: list[Row] = []
    at = start
    for at in range(start, min(len(keys), start + SCAN)):
        row = node.planner.row(keys[at])
        if row is not None and (not states or row.state.value in states):
            found.append(row)
            if len(found) >= limit:
                break
    more = at + 1 < len(keys)
    after = keys[at].decode().replace("\0", " ") if more else ""
    return "ok", {"rows": [row_view(node, row) for row in found], "more": more, "after": after}, "", False


def _show(node: Node, command: Command, now: Now) -> Answer:
    """Everything about one name or address: rows, and the leases that want it."""
    args = command.args
    text = args.get("name", "")
    rows = _named(node, text)
    names = {absolute(text), *(row.name for row in rows)}
    addresses = {address for name in names if (address := reverse_address(name)) is not None}
    addresses |= {address for name in names for address in node.planner.claimants(name)} | ({ipv4(text)} - {-1})
    leases = []
    for lease in (node.table.get(address) for address in sorted(addresses)):
        name = wanted_name(lease)
        if name:
            dhcid = guard(lease.hw, lease.client_id, name)
            leases.append({"address": dotted(lease.address), "name": name, "hw": lease.hw.hex(":"), "dhcid": dhcid})
    if not rows and not leases and not args.get("anyway"):
        return "unknown", None, f"nothing is wanted or known at {text}", False
    return "ok", {"name": _owner_name(node, text), "rows": [row_view(node, row) for row in rows], "leases": leases}, "", False


# --- rows ------------------------------------------------------------------------------------------------------------------


def _doubt(node: Node) -> str:
    """Why this server may not send to DNS now, "" when it may (safety.md 25)."""
    if node.planner.fenced:
        return "this server is in doubt, starting, recovering or in conflict: it sends nothing to DNS (safety rule 25)"
    return ""


def _retry(node: Node, command: Command, now: Now) -> Answer:
    names = [name for name in command.args.get("names", "").split(",") if name]
    rows = [row for name in names for row in _named(node, name)] if names else _troubled(node)
    if names and not rows:
        return "unknown", None, f"nothing is wanted or known at {', '.join(names)}", False
    if command.args.get("dry_run"):
        return "ok", {"rows": sum(row.owner == ME and row.state is not State.CLEAN for row in rows), "done": False}, "", False
    count = node.planner.retry(rows, now)
    _keep(node, command, now, f"ddns retry: {count} rows", ", ".join(names) or "all in trouble")
    return "ok", {"rows": count, "done": True}, "", True


def _troubled(node: Node) -> list[Row]:
    rows = (node.planner.row(key) for key in node.planner.row_keys())
    return [row for row in rows if row is not None and (row.state in TROUBLED or row.state is State.DIRTY)]


def _resend(node: Node, command: Command, now: Now) -> Answer:
    what = command.args.get("what", "")
    picked = _picked(node, what)
    if isinstance(picked, str):
        return "unknown", None, picked, False
    keys = [row.key for row in picked if row.owner == ME]
    if command.args.get("dry_run"):
        return "ok", {"rows": len(keys), "done": False}, "", False
    count = node.planner.repairs.queue((Job(key, "resend") for key in keys), now)
    _keep(node, command, now, f"ddns resend: {count} rows", what)
    return "ok", {"rows": count, "done": True}, "", True


def _picked(node: Node, what: str) -> list[Row] | str:
    """The rows of an address, a subnet, a zone, a name, or all; or why there are none."""
    rows = [row for key in node.planner.row_keys() if (row := node.planner.row(key)) is not None]
    if what == "all":
        return rows
    try:
        network = ipaddress.IPv4Network(what)
    except ValueError:
        zone = absolute(what)
        found = [row for row in rows if row.zone == zone] or _named(node, what)
        return found or f"{what} is no zone of ours, and nothing is wanted at that name"
    octets = str(network.network_address).split(".")[: network.prefixlen // 8]
    prefix, suffix = ".".join([*octets, ""]), ".".join([*octets[::-1], "in-addr.arpa."])
    found = [row for row in rows if _inside(row, network, prefix, suffix)]
    return found or f"no row belongs to {what}"


def _inside(row: Row, network: ipaddress.IPv4Network, prefix: str, suffix: str) -> bool:
    """Whether a row is about an address of a network; whole octets are compared as text, for there may be 100,000 rows."""
    exact = network.prefixlen % 8 == 0
    if row.kind == REVERSE:
        if not row.name.endswith(suffix):
            return False
        return exact or _within(reverse_address(row.name), network)
    texts = [value.text for value in (row.want or row.have) if value.rtype == "A"]
    return any((text + ".").startswith(prefix) and (exact or _within(ipv4(text), network)) for text in texts)


def _within(address: int | None, network: ipaddress.IPv4Network) -> bool:
    return address is not None and int(network.network_address) <= address <= int(network.broadcast_address)


def _drop(node: Node, command: Command, now: Now) -> Answer:
    name = command.args.get("name", "")
    rows = _named(node, name)
    if not rows:
        return "unknown", None, f"nothing is wanted or known at {name}", False
    if any(node.planner.repairs.busy(row) for row in rows):
        return "refused", None, f"a message about {name} is under way; try again in a moment", False
    body = {"rows": len(rows), "done": not command.args.get("dry_run")}
    if command.args.get("dry_run"):
        return "ok", body, "", False
    for row in rows:
        node.planner.repairs.drop(row, now, node.out)
    _keep(node, command, now, f"ddns drop: {len(rows)} rows", name)
    return "ok", body, "", True


def _take(node: Node, command: Command, now: Now) -> Answer:
    """`records`: what stands at the name now, asked of each target's master: JSON {target: [[type, text], ...]}."""
    name = absolute(command.args.get("name", ""))
    seen: dict[str, list[tuple[str, str]]] = {
        target: [(str(t), str(x)) for t, x in records] for target, records in json.loads(command.args.get("records", "{}")).items()
    }
    rows = [row for target in seen if (row := node.planner.row(row_key(target, FORWARD, name))) is not None and row.want]
    if not rows:
        return "unknown", None, f"no live lease of ours wants {name}", False
    if problem := _doubt(node):
        return "refused", None, problem, False
    takes: list[tuple[Row, str]] = []
    for row in rows:
        dhcids = [text for rtype, text in seen[row.target] if rtype == "DHCID"]
        if any(rtype == "CNAME" for rtype, _ in seen[row.target]):
            return "refused", None, f"a CNAME stands at {name}; remove it first", False
        if not dhcids and any(rtype in {"A", "AAAA"} for rtype, _ in seen[row.target]):
            return (
                "refused",
                None,
                f"{name} is a static entry (it has no DHCID); remove it with: failoverctl ddns static del",
                False,
            )
        if row.owner != ME or node.planner.repairs.busy(row):
            return "refused", None, f"{name} is the partner's to register, or a message about it is under way", False
        takes += [(row, dhcid) for dhcid in dhcids[:1] if dhcid != row.guard]
    if not takes:
        return "ok", {"rows": 0, "done": False}, f"{name} is not another client's", False
    if command.args.get("dry_run"):
        return "ok", {"rows": len(takes), "done": False}, "", False
    for row, dhcid in takes:
        node.planner.repairs.displace(row, dhcid, seen[row.target], now, node.out, "take")
    _keep(node, command, now, "ddns take from " + ", ".join(dhcid for _, dhcid in takes), name)
    return "ok", {"rows": len(takes), "done": True}, "", True


# --- zones -----------------------------------------------------------------------------------------------------------------


def _targets_of(node: Node, zone: str) -> list[str]:
    return [target for target, name in node.planner.repairs.zones() if name == zone]


def _hold(node: Node, command: Command, now: Now) -> Answer:
    zone = absolute(command.args.get("zone", ""))
    targets = _targets_of(node, zone)
    if not targets:
        return "unknown", None, _no_zone(node, zone), False
    if command.args.get("dry_run"):
        return "ok", {"zone": zone, "done": False}, "", False
    for target in targets:
        node.planner.repairs.hold(Hold(target, zone, command.who, command.why, now.wall), node.out)
    _keep(node, command, now, "ddns hold", zone)
    return "ok", {"zone": zone, "done": True}, "", True


def _release(node: Node, command: Command, now: Now) -> Answer:
    zone = absolute(command.args.get("zone", ""))
    targets = [target for target, name in node.planner.repairs.holds if name == zone]
    if not targets:
        known = _targets_of(node, zone)
        return (
            ("ok", {"zone": zone, "done": False}, f"{zone} is not held by an operator", False)
            if known
            else (
                "unknown",
                None,
                _no_zone(node, zone),
                False,
            )
        )
    if command.args.get("dry_run"):
        return "ok", {"zone": zone, "done": False}, "", False
    for target in targets:
        node.planner.repairs.release(target, zone, now, node.out)
    _keep(node, command, now, "ddns release", zone)
    return "ok", {"zone": zone, "done": True}, "", True


def _no_zone(node: Node, zone: str) -> str:
    known = ", ".join(sorted({name for _, name in node.planner.repairs.zones()})) or "none"
    return f"no zone {zone} is configured; there is: {known}"


# --- what the shell sends itself: tests of a zone, static entries -------------------------------------------------------------


def _outside(node: Node, command: Command, now: Now) -> Answer:
    """Whether the shell may send a message of the operator's: `what` for the history, `name` and `zone` that it is about."""
    if problem := _doubt(node):
        return "refused", None, problem, False
    name, zone = command.args.get("name", ""), command.args.get("zone", "")
    if name and command.args.get("static"):
        for target in _targets_of(node, zone):
            for kind in (FORWARD, REVERSE):
                row = node.planner.row(row_key(target, kind, name))
                if row is not None:
                    what = "a lease wants this name" if row.want else "a lease had this name, and its removal is not done"
                    return "refused", None, f"{name}: {what}; static entries never touch names of clients", False
        address = reverse_address(name)
        state = node.table.pool_of(address) if address is not None else None
        if state is not None:
            return "refused", None, f"{name}: the address is in pool {state.pool.name}, its PTR belongs to its client", False
    _keep(node, command, now, command.args.get("what", ""), name or zone)
    return "ok", {"done": True}, "", True


# --- audit -----------------------------------------------------------------------------------------------------------------


def _open(node: Node, command: Command, now: Now) -> Answer:
    """Begin an audit: what there is, in a list that stays as it is while it is read page by page."""
    survey = node.planner.repairs.survey
    survey.rows, survey.leases = node.planner.row_keys(), [lease.address for lease in node.table.rows()]
    ranges = [pair for state in node.table.pools.values() for pair in state.pool.ranges]
    return "ok", {"rows": len(survey.rows), "leases": len(survey.leases), "ranges": ranges}, "", False


def _page(node: Node, command: Command, now: Now) -> Answer:
    """One page of the survey as JSON texts, None after the last: `part` is rows or leases."""
    start = int(command.args["start"])
    survey = node.planner.repairs.survey
    texts: list[str] = []
    if command.args["part"] == "rows":
        keys = survey.rows[start : start + AUDIT_PAGE]
        for key in keys:
            row = node.planner.row(key)
            if row is not None:
                texts.append(row.to_json())
        return "ok", texts if keys else None, "", False
    addresses = survey.leases[start : start + AUDIT_PAGE]
    texts = [node.table.get(address).to_json() for address in addresses]
    return "ok", texts if addresses else None, "", False


def _settle(node: Node, command: Command, now: Now) -> Answer:
    """Which of these findings still rest on what they were made of: [[target, kind, name, fingerprint], ...] -> [bool, ...]."""
    verdicts = []
    for target, kind, name, seen in json.loads(command.args["findings"]):
        row = node.planner.row(row_key(target, kind, name))
        busy = row is not None and node.planner.repairs.busy(row)
        verdicts.append(fingerprint(row) == seen and not busy)
    return "ok", verdicts, "", False


def may_repair(node: Node) -> str:
    """Why this server may not repair now, "" when it may: only while it knows what its partner knows."""
    for endpoint in node.endpoints.values():
        state = endpoint.record.state
        if state is ServerState.PARTNER_DOWN:
            continue
        if state is not ServerState.NORMAL:
            return f"{endpoint.terms.name} is in {endpoint.state.words}: repairs need normal, or partner-down"
    return _doubt(node)


def _may_remove(node: Node) -> bool:
    """Names that no row knows are removed by one server of a pair only: the primary, or the one that is left. A row of its own each
    of them says again: nobody else knows the name of a lease that a plain link carries."""
    return all(e.terms.primary or e.record.state is ServerState.PARTNER_DOWN for e in node.endpoints.values())


def _leased(node: Node, address: str) -> bool:
    lease = node.table.get(ipv4(address))
    return lease is not None and lease.state is BindingState.ACTIVE


def _repair(node: Node, command: Command, now: Now) -> Answer:
    """Queue the repairs of some findings; `first` keeps the event."""
    if problem := may_repair(node):
        return "refused", None, problem, False
    if command.args.get("dry_run"):
        return "ok", {"rows": 0, "left": 0, "done": False}, "", False
    jobs, left, removes = [], 0, _may_remove(node)
    for each in json.loads(command.args["findings"]):
        finding = finding_of(each)
        key = row_key(finding.target, finding.kind, finding.name)
        if finding.repair is Repair.REMOVE and not removes:
            left += 1
            continue
        if finding.klass is Class.ORPHAN and any(_leased(node, text) for text in addresses_of(finding)):
            continue  # somebody has the address by now
        jobs.append(Job(key, "repair", finding))
    count = node.planner.repairs.queue(jobs, now)
    if command.args.get("first"):
        _keep(node, command, now, f"ddns repair: {command.args.get('total', count)} names", command.args.get("zone", ""))
    return "ok", {"rows": count, "left": left, "done": True}, "", True


VERBS = {
    "ddns-rows": _rows,
    "ddns-show": _show,
    "ddns-retry": _retry,
    "ddns-resend": _resend,
    "ddns-drop": _drop,
    "ddns-take": _take,
    "ddns-hold": _hold,
    "ddns-release": _release,
    "ddns-outside": _outside,
    "ddns-audit-open": _open,
    "ddns-audit-page": _page,
    "ddns-audit-settle": _settle,
    "ddns-repair": _repair,
}
