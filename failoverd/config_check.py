"""What must hold between the values of a configuration: relationships, servers, DNS; subnets are config_subnets.py.

A finding is a path and a text "what is wrong; what would be right". Errors refuse the configuration; warnings name what is allowed
but probably not meant. The checks see a configuration from which broken tables have been taken out, so that every error is shown at
once; `Names` is read from the raw file, so that a reference to a broken table is not called dangling.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from failoverd.config_lines import Path
from failoverd.config_models import ISC_UNACKED, Config, Relationship, Side
from failoverd.config_values import dotted, write_duration


@dataclass(slots=True)
class Findings:
    """What was found so far, in the paths of the configuration that was checked."""

    errors: list[tuple[Path, str]] = field(default_factory=list)
    warnings: list[tuple[Path, str]] = field(default_factory=list)

    def error(self, path: Path, text: str) -> None:
        """The configuration cannot be used."""
        self.errors.append((path, text))

    def warn(self, path: Path, text: str) -> None:
        """Allowed, but probably not meant."""
        self.warnings.append((path, text))


@dataclass(slots=True, frozen=True)
class Names:
    """Every name that the file defines or uses, broken tables included."""

    servers: frozenset[str]
    relationships: frozenset[str]
    networks: frozenset[str]
    used_relationships: frozenset[str]
    used_networks: frozenset[str]
    used_servers: frozenset[str]

    @classmethod
    def of(cls, raw: dict[str, object]) -> Names:
        """Read from what tomllib gave, whatever its shape."""
        servers = raw.get("servers")
        subnets, relationships = _tables(raw, "subnet"), _tables(raw, "relationship")
        pools = [pool for subnet in subnets for pool in _tables(subnet, "pool")]
        sides = [side for each in relationships for side in (each.get("primary"), each.get("secondary")) if isinstance(side, dict)]
        return cls(
            servers=frozenset(servers if isinstance(servers, dict) else ()),
            relationships=_strings(relationships, "name"),
            networks=_strings(_tables(raw, "shared-network"), "name"),
            used_relationships=_strings(pools, "relationship"),
            used_networks=_strings(subnets, "shared-network"),
            used_servers=_strings([*sides, *pools], "server"),
        )


def _tables(raw: dict[str, object], key: str) -> list[dict[str, object]]:
    found = raw.get(key)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _strings(tables: list[dict[str, object]], key: str) -> frozenset[str]:
    return frozenset(cast(str, table[key]) for table in tables if isinstance(table.get(key), str))


def listed(names: frozenset[str]) -> str:
    """Names for an error text."""
    return ", ".join(sorted(names)) or "none"


def cross_check(config: Config, names: Names) -> Findings:
    """Every finding about the configuration as a whole."""
    from failoverd.config_names_check import check_names
    from failoverd.config_subnets import check_subnets

    found = Findings()
    for at, relationship in enumerate(config.relationships):
        _relationship(found, relationship, at, names)
    _unique_relationships(found, config)
    _address_pairs(found, config)
    check_subnets(found, config, names)
    check_names(found, config)
    _ddns(found, config)
    _machine(found, config, names)
    return found


def _relationship(found: Findings, relationship: Relationship, at: int, names: Names) -> None:
    path: Path = ("relationship", at)
    primary, secondary = relationship.primary, relationship.secondary
    for key, side in relationship.sides:
        _side(found, side, (*path, key), names)
    if primary.kind and secondary.kind:
        found.error((*path, "secondary"), "both ends are foreign; one end must be a server of this file: server = NAME")
    elif primary.server and primary.server == secondary.server:
        found.error((*path, "secondary", "server"), f"{primary.server} is also the primary; name the other server")
    if (primary.address, primary.port) == (secondary.address, secondary.port):
        text = f"{dotted(primary.address)} port {primary.port} is also the primary's; give each end its own address"
        found.error((*path, "secondary", "address"), text)
    if relationship.split is not None and relationship.hba is not None:
        found.error((*path, "hba"), "split is given too; keep one of them, they say the same thing")
    if relationship.min_balance > relationship.max_balance:
        least, most = write_duration(relationship.min_balance), write_duration(relationship.max_balance)
        text = f"{least} is more than max-balance; write at most {most}"
        found.error((*path, "min-balance"), text)
    if relationship.name not in names.used_relationships:
        text = f"no pool uses {relationship.name!r}; name it in a pool (relationship = ...), or remove it"
        found.error((*path, "name"), text)
    _auto_partner_down(found, relationship, path)
    _risks(found, relationship, path)
    _tls(found, relationship, path)
    if primary.kind or secondary.kind:
        _with_dhcpd(found, relationship, path)


def _side(found: Findings, side: Side, path: Path, names: Names) -> None:
    if side.server is None and side.kind is None:
        text = f'neither server nor kind is given; name a server of this file ({listed(names.servers)}), or kind = "isc-dhcpd"'
        found.error((*path, "server"), text)
    elif side.server is not None and side.kind is not None:
        found.error((*path, "kind"), f"{side.server} is a failoverd; leave kind out, or server when the partner is a dhcpd")
    elif side.server is not None and side.server not in names.servers:
        text = f"there is no server {side.server!r}; write one of {listed(names.servers)}, or add [servers.{side.server}]"
        found.error((*path, "server"), text)
    if side.server is not None and side.max_unacked_updates is not None:
        text = "is for a foreign partner only; give max-unacked-updates of the relationship, both servers use it"
        found.error((*path, "max-unacked-updates"), text)
    if side.kind is not None and side.auto_partner_down is not None:
        text = "a foreign partner does not read this file; set it in its own configuration and remove it here"
        found.error((*path, "auto-partner-down"), text)


def _auto_partner_down(found: Findings, relationship: Relationship, path: Path) -> None:
    """safety.md 12: off by default; a warning on one server, refused on both."""
    on = [(key, side) for key, side in relationship.sides if side.server and relationship.auto_partner_down_of(side)]
    if not on:
        return
    key, side = on[-1]
    own = side.auto_partner_down is not None
    where: Path = (*path, key, "auto-partner-down") if own else (*path, "auto-partner-down")
    if len(on) == 2:
        text = (
            "both servers would declare each other down when only the link is cut, and lease the same addresses; "
            'keep "0s" and give it to one end at most: primary = { ..., auto-partner-down = "..." }'
        )
        found.error(where, text)
    else:
        text = (
            f'a cut link counts as a dead partner, and addresses may be leased twice; keep "0s" unless {side.server} has a witness'
        )
        found.warn(where, text)


def _risks(found: Findings, relationship: Relationship, path: Path) -> None:
    if relationship.lone_boot == "serve":
        text = 'a server that was declared down and is booted alone may lease addresses twice; "bounded" prevents it (safety.md 11)'
        found.warn((*path, "lone-boot"), text)
    if relationship.mclt < 60:
        text = f"{relationship.mclt} s is within what two clocks may differ; write 60s or more outside of tests"
        found.warn((*path, "mclt"), text)
    elif relationship.mclt < relationship.max_response_delay:
        text = "is shorter than max-response-delay: first leases end before a lost link is noticed; write a larger mclt"
        found.warn((*path, "mclt"), text)


def _tls(found: Findings, relationship: Relationship, path: Path) -> None:
    """safety.md 26: between two failoverd only; each end has a name of its own."""
    for key, side in relationship.sides:
        if side.certificate_name is not None and relationship.tls is None:
            text = "there is no tls for it; add tls = { cert-file, key-file, ca-file } to the relationship, or remove it"
            found.error((*path, key, "certificate-name"), text)
    if relationship.tls is None:
        return
    if any(side.kind for _, side in relationship.sides):
        found.error((*path, "tls"), "a dhcpd knows no TLS, and there is no way back to plaintext; remove it for this relationship")
    elif len({relationship.certificate_name_of(side) for _, side in relationship.sides}) == 1:
        text = "is also the primary's: each server could pass for the other; give each a certificate with a name of its own"
        found.error((*path, "secondary", "certificate-name"), text)


def _with_dhcpd(found: Findings, relationship: Relationship, path: Path) -> None:
    """What a dhcpd partner does with some values (failover-protocol.md 6.5, 10.4, 11.1)."""
    key, foreign = next((key, side) for key, side in relationship.sides if side.kind)
    window = foreign.max_unacked_updates or ISC_UNACKED
    if relationship.max_unacked_updates > 2 * window:
        text = f"dhcpd would hold back its acknowledgements for 2 s at a time; write at most twice its own value: {2 * window}"
        found.warn((*path, "max-unacked-updates"), text)
    if relationship.max_response_delay > 60:
        found.warn((*path, "max-response-delay"), "dhcpd speaks every third of this; write 15s to 60s with a dhcpd partner")
    if key == "primary":
        for name in sorted({"split", "hba", "mclt"} & relationship.model_fields_set):
            found.warn((*path, name), "a dhcpd primary sends its own value, which is used; set it there and leave it out here")


def _unique_relationships(found: Findings, config: Config) -> None:
    seen: set[str] = set()
    for at, relationship in enumerate(config.relationships):
        if relationship.name in seen:
            text = f"there is another relationship {relationship.name!r}; give each its own name"
            found.error(("relationship", at, "name"), text)
        seen.add(relationship.name)


def _address_pairs(found: Findings, config: Config) -> None:
    """dhcpd knows a connection's relationship by the partner's address alone, failoverd by port too (failover-protocol.md 4.7)."""
    seen: dict[frozenset[int], list[Relationship]] = {}
    for at, relationship in enumerate(config.relationships):
        ends = [side for _, side in relationship.sides]
        pair = frozenset(side.address for side in ends)
        for other in seen.setdefault(pair, []):
            others = [side for _, side in other.sides]
            if any(side.kind for side in (*ends, *others)):
                text = f"{other.name!r} joins the same two addresses, and a dhcpd cannot tell them apart; use another address"
                found.error(("relationship", at), text)
            for key, side in relationship.sides:
                if any((side.address, side.port) == (end.address, end.port) for end in others):
                    text = (
                        f"{other.name!r} joins the same two addresses and uses this port too; give this relationship its own port"
                    )
                    found.error(("relationship", at, key, "port"), text)
        seen[pair].append(relationship)


def _ddns(found: Findings, config: Config) -> None:
    ddns = config.ddns
    if ddns.ttl_min > ddns.ttl_max:
        text = f"{write_duration(ddns.ttl_min)} is more than ttl-max; write at most {write_duration(ddns.ttl_max)}"
        found.error(("ddns", "ttl-min"), text)
    if ddns.conflict_mode.startswith("no-check"):
        text = 'names of other hosts are overwritten; "check-with-dhcid" protects them (RFC 4703)'
        found.warn(("ddns", "conflict-mode"), text)
    if ddns.on_conflict == "take" and ddns.conflict_mode == "check-with-dhcid":
        text = 'no name is taken with conflict-mode = "check-with-dhcid"; write "keep" or "suffix", or another conflict-mode'
        found.error(("ddns", "on-conflict"), text)
    seen: set[tuple[str, str]] = set()
    for at, zone in enumerate(ddns.zones):
        for below, master in zone.masters:
            if (master.target, zone.name) in seen:
                text = f"{zone.name} of target {master.target} is there already; remove it, or give it another target"
                found.error(("ddns", "zone", at, *below, "target" if below else "name"), text)
            seen.add((master.target, zone.name))
        for number, mirror in enumerate(zone.mirror_to):
            if mirror.key_next_file and not mirror.key_file:
                text = "belongs to a key-file of its own; write that too, or remove this one: the zone's own key files hold here"
                found.error(("ddns", "zone", at, "mirror-to", number, "key-next-file"), text)


def _machine(found: Findings, config: Config, names: Names) -> None:
    """What belongs to one server."""
    for server in config.servers:
        if server not in names.used_servers and len(config.servers) > 1:
            found.warn(("servers", server), "no relationship and no pool names this server; name it there, or remove it")
        local = config.local(server)
        own = config.servers[server].api
        path: Path = ("servers", server, "api") if own is not None else ("api",)
        if "*" in local.api.operators:
            text = 'everybody on this machine may change things; write users or "@groups"'
            found.warn((*path, "operators"), text)
    found.warnings = list(dict.fromkeys(found.warnings))
