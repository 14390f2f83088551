"""Node -> plain data: what API, CLI, metrics and simulator print alike (schema/api.json)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from failoverd import __version__, node_conflicts
from failoverd.ddns.names import dotted
from failoverd.failover.endpoint import Endpoint
from failoverd.failover.links import EXPIRES_SOON_S
from failoverd.failover.message import ServerState
from failoverd.leases.lease import BindingState, Lease
from failoverd.leases.rights import Rights
from failoverd.notes import CATALOGUE, Note
from failoverd.ports import Now
from failoverd.status_pools import pool, takeover_at

if TYPE_CHECKING:
    from failoverd.node import Node

RESERVATIONS = 50  # that only one server has, shown
SKEW_WARN_S = 5
ROWS_SHOWN = 200


def status(node: Node, now: Now) -> dict[str, object]:
    """The whole server."""
    relationships = [relationship(node, endpoint, now) for endpoint in node.endpoints.values()]
    return {
        "server": node.server,
        "version": __version__,
        "wall": now.wall,
        "started": node.started.wall,
        "config_digest": node.config.digest(),
        "serving": all(_serving(endpoint.rights(now)) for endpoint in node.endpoints.values()),
        "relationships": relationships,
        "pools": [pool(node, name, now) for name in sorted(node.table.pools)],
        "dns": dns(node, now),
        "notes": dict(sorted(node.counts.items())),
        "warnings": warnings(node, now),
    }


def relationship(node: Node, endpoint: Endpoint, now: Now) -> dict[str, object]:
    """One relationship as the operator reads it."""
    record, terms = endpoint.record, endpoint.terms
    rights = endpoint.rights(now)
    doubt = endpoint.doubt + record.mclt_s if endpoint.doubt is not None else 0
    return {
        "name": terms.name,
        "role": "primary" if terms.primary else "secondary",
        "state": endpoint.state.words,
        "since": record.since,
        "partner": f"{dotted(terms.partner_address)}:{terms.partner_port}",
        "partner_state": record.partner_state.words,
        "partner_since": record.partner_since,
        "last_heard": record.proven,
        "linked": endpoint.link is not None and endpoint.heard_state,
        "skew_s": float(record.offset) if record.offset is not None else None,
        "unacked": len(endpoint.updates.flights),
        "window": endpoint.offer.max_unacked,
        "owed": endpoint.updates.owed,
        "epoch": record.epoch,
        "mclt_s": record.mclt_s,
        "serving": _serving(rights),
        "why": _why(endpoint, rights.why),
        "doubt_until": max(doubt, 0),
        "takeover_at": takeover_at(endpoint, now),
        "countdown_until": record.recover_until if record.state is ServerState.RECOVER_WAIT else 0,
        "tls": _tls(endpoint),
        "dialect": endpoint.dialect,
        "partner_epoch": record.partner_epoch,
        "differences": [
            *(endpoint.parity.differences if endpoint.parity is not None else ()),
            *node.one_sided(terms.name)[:RESERVATIONS],
        ],
    }


def _serving(rights: Rights) -> bool:
    """Everybody, or as many as load balancing leaves us; not only renewals."""
    return rights.serve and not rights.resolving


def _tls(endpoint: Endpoint) -> dict[str, object] | None:
    """The certificates of a relationship and what TLS last refused; None for a plain link."""
    if endpoint.terms.tls is None:
        return None
    known = endpoint.security
    return {
        "until": known.until,
        "partner_until": known.partner_until,
        "problem": known.problem,
        "refused": known.refused,
        "refused_at": known.refused_at,
    }


def _tls_warnings(endpoint: Endpoint, now: Now) -> list[str]:
    name, known = endpoint.terms.name, endpoint.security
    found = []
    for whose, until in (("this server's", known.until), ("the partner's", known.partner_until)):
        days = (until - now.wall) / 86400
        if until and days < 0:
            found.append(f"{name}: {whose} certificate has expired: no new link can be made; put a new one in place")
        elif until and days < EXPIRES_SOON_S / 86400:
            found.append(f"{name}: {whose} certificate expires in {days:.0f} days; put a new one in place, it is read by itself")
    if known.problem:
        found.append(f"{name}: the new TLS files cannot be used, the old ones stay: {known.problem}")
    if known.refused and endpoint.link is None:
        found.append(f"{name}: TLS refuses the link: {known.refused}")
    return found


def _why(endpoint: Endpoint, why: str) -> str:
    if why:
        return CATALOGUE[why].text
    if endpoint.doubt is not None:
        return CATALOGUE["lone-boot"].text
    return ""


def warnings(node: Node, now: Now) -> list[str]:
    """What should worry the operator, each with what to do."""
    found: list[str] = []
    for endpoint in node.endpoints.values():
        name, record = endpoint.terms.name, endpoint.record
        found += _tls_warnings(endpoint, now)
        if endpoint.parity is not None and endpoint.parity.known and not endpoint.parity.equal:
            found.append(f"{name}: the two servers have different configurations; give both the same file")
        if endpoint.doubt is not None:
            found.append(
                f"{name}: booted without contact; if the partner was not in partner-down since: failoverctl serve --force {name}"
            )
        if record.state in (ServerState.PAUSED, ServerState.SHUTDOWN):
            found.append(f"{name}: this server is out of service; to bring it back: failoverctl maintenance end {name}")
        if record.partner_state is ServerState.PAUSED and record.state is ServerState.COMMUNICATIONS_INTERRUPTED:
            found.append(f"{name}: the partner was taken out of service by an operator; on it: failoverctl maintenance end {name}")
        elif endpoint.link is None and record.state is ServerState.COMMUNICATIONS_INTERRUPTED:
            found.append(f"{name}: no contact with the partner; if it is dead: failoverctl partner-down {name}")
        if record.offset is not None and abs(record.offset) > SKEW_WARN_S:
            found.append(f"{name}: the clocks differ by {record.offset:+d} s; check NTP on both servers")
        if record.virgin_database and record.state is ServerState.RECOVER_WAIT:
            found.append(
                f"{name}: waits because both servers start without leases; if this is a new pair: failoverctl pair init {name}"
            )
        if endpoint.terms.partner_is_dhcpd and record.virgin_database:
            found.append(
                f"{name}: with a dhcpd partner the first start follows dhcpd, which does not wait for leases of a lost database"
            )
        for state in endpoint.updates.pools:
            own = BindingState.FREE if endpoint.terms.primary else BindingState.BACKUP
            if state.pool.size and not state.count(own):
                todo = f"; to ask the partner for some: failoverctl pool rebalance {name}" if endpoint.both_normal() else ""
                found.append(f"{name}: pool {state.pool.name} has no free address on this server{todo}")
    if not node.clock_synchronised and any(endpoint.doubt is not None for endpoint in node.endpoints.values()):
        found.append("the kernel calls the clock unsynchronised: until contact no lease is granted or lengthened; check NTP")
    for interface, relay in node.unheard.places(now.mono):
        where = f"the relay {dotted(relay)}" if relay else f"interface {interface}"
        found.append(f"the partner answers nobody behind {where}: all are served here; does the relay know the partner's address?")
    if node.low_disk:
        found.append(CATALOGUE["disk-low"].text)
    return found


def dns(node: Node, now: Now) -> dict[str, object]:
    """The zones and the rows by state."""
    body = node.planner.status(now)
    zones = body["zones"]
    assert isinstance(zones, list)
    for zone in zones:
        reason, detail = zone.get("reason", ""), zone.get("detail", "")
        zone["detail"] = f"{reason} {detail}".strip()
    return body


def dns_detail(node: Node, now: Now) -> dict[str, object]:
    """As `dns`, with the rows that still differ from what is wanted."""
    body = dns(node, now)
    pending = [row for row in node.planner.rows_list() if row.state.value != "clean"]
    body["pending"] = [
        {"name": row.name, "type": row.kind, "state": row.state.value, "detail": f"{row.last_rcode} {row.last_error}".strip()}
        for row in pending[:ROWS_SHOWN]
    ]
    return body


def conflicts(node: Node) -> dict[str, object]:
    """The addresses that two clients were granted, newest first, and those whose update the partner refused (safety.md 18, 19)."""
    refused = []
    for lease in sorted((lease for lease in node.table.rows() if lease.rejected), key=lambda lease: lease.address):
        endpoint = node.endpoint_at(lease.address)
        if endpoint is not None:
            refused.append(node_conflicts.rejected(lease, endpoint.terms.name, endpoint.updates.refused.get(lease.address, 0)))
    return {"losers": [node_conflicts.view(each) for each in node.conflicts.newest_first()], "rejected": refused}


def lease_view(node: Node, lease: Lease) -> dict[str, object]:
    """One lease as the operator reads it."""
    state = node.table.pool_of(lease.address)
    return {
        "address": dotted(lease.address),
        "state": lease.state.name.lower(),
        "client_id": lease.client_id.hex(":"),
        "hw": lease.hw.hex(":"),
        "hostname": lease.hostname,
        "fqdn": lease.fqdn,
        "starts": lease.starts,
        "ends": lease.ends,
        "potential": lease.potential,
        "acked": lease.acked,
        "not_before": lease.not_before,
        "cltt": lease.cltt,
        "rewind": lease.rewind.name.lower(),
        "owed": lease.owed,
        "rejected": lease.rejected,
        "pool": state.pool.name if state is not None else None,
        "relationship": state.pool.relationship if state is not None else None,
        "flags": lease.flags,
    }


def decision(note: Note) -> dict[str, object]:
    """One note as `explain` shows it."""
    entry = CATALOGUE[note.name]
    return {
        "wall": note.wall,
        "name": note.name,
        "level": entry.level,
        "client": note.client.hex(":"),
        "address": dotted(note.address) if note.address else "",
        "subject": note.subject,
        "detail": note.detail,
        "text": entry.text,
    }
