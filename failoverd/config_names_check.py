"""What must hold between the keys about clients' names. See config_check.py for what a finding is."""

from __future__ import annotations

from failoverd.config_check import Findings
from failoverd.config_lines import Path
from failoverd.config_models import Config, Subnet
from failoverd.config_names import Naming, ReverseMap
from failoverd.config_values import dotted, reverse_pointer


def check_names(found: Findings, config: Config) -> None:
    """Every finding about names."""
    _site(found, config)
    for at, subnet in enumerate(config.subnets):
        path: Path = ("subnet", at)
        outer: list[Naming] = [config.ddns]
        if subnet.ddns is not None:
            outer.append(subnet.ddns)
            _scope(found, config, outer, (*path, "ddns"))
        for index, pool in enumerate(subnet.pools):
            if pool.ddns is not None:
                _scope(found, config, [*outer, pool.ddns], (*path, "pool", index, "ddns"))
        for index, reservation in enumerate(subnet.reservations):
            inner = [*outer, reservation.ddns] if reservation.ddns is not None else outer
            if reservation.ddns is not None:
                _scope(found, config, inner, (*path, "reservation", index, "ddns"))
            if reservation.hostname is not None and reservation.hostname.endswith("."):
                _zone_of(found, config, reservation.hostname, (*path, "reservation", index, "hostname"))
        _pointers(found, config, subnet, path, outer)


def _said(levels: list[Naming], key: str) -> object:
    values = [value for level in levels if (value := getattr(level, key)) is not None]
    return values[-1] if values else None


def _site(found: Findings, config: Config) -> None:
    ddns = config.ddns
    _scope(found, config, [ddns], ("ddns",))
    if ddns.ttl and ddns.ttl_percent is not None:
        found.error(("ddns", "ttl-percent"), "ttl is given too; keep one of them")
    seen: list[ReverseMap] = []
    for at, each in enumerate(ddns.reverse_maps):
        path: Path = ("ddns", "reverse-map", at)
        if each.zone not in {zone.name for zone in ddns.zones}:
            found.error((*path, "zone"), f"there is no [[ddns.zone]] {each.zone}; add it, or correct the name")
        if (each.name is None) == (not each.follow_cname):
            what = "is given with follow-cname" if each.name else "and follow-cname are both missing"
            found.error((*path, "name"), f"{what}; write one of them: the name itself, or follow-cname = true")
        if each.name is None:
            if any(each.prefix == other.prefix for other in seen):
                found.error((*path, "prefix"), "there is another reverse-map of this prefix; keep one of them")
            seen.append(each)
            continue
        if not _under(each.name, each.zone):
            found.error((*path, "name"), f"{each.name} is not in {each.zone}; write a name that ends with it")
        length = each.prefix[1]
        missing = [
            field for field, last in (("{d}", 32), ("{c}", 24), ("{b}", 16), ("{a}", 8)) if length < last and field not in each.name
        ]
        if missing:
            text = f"addresses of {dotted(each.prefix[0])}/{length} would share a name; write {' and '.join(missing)} into it"
            found.error((*path, "name"), text)
        if any(each.prefix == other.prefix for other in seen):
            found.error((*path, "prefix"), "there is another reverse-map of this prefix; keep one of them")
        seen.append(each)


def _scope(found: Findings, config: Config, levels: list[Naming], path: Path) -> None:
    """The keys of one table, in the light of those outside it."""
    own = levels[-1]
    for key in ("hostname", "name_template"):
        if "{hash8}" in (getattr(own, key) or "") and not config.ddns.name_secret:
            text = '{hash8} needs a key that nobody else knows; write name-secret = "..." into [ddns]'
            found.error((*path, key.replace("_", "-")), text)
    kept = _said(levels, "client_domain")
    if own.client_domain == "keep-if-in" and not _said(levels, "client_domains"):
        found.error((*path, "client-domain"), 'client-domains is missing; list the domains, or write "keep" or "discard"')
    if own.client_domains is not None and kept != "keep-if-in":
        found.warn((*path, "client-domains"), 'has no effect; write client-domain = "keep-if-in", or remove it')
    for key in ("replace_client_name", "reverse_for_nameless"):
        if getattr(own, key) not in (None, False, "never") and not _said(levels, "domain") and path != ("ddns",):
            found.warn((*path, key.replace("_", "-")), 'has no effect without a domain; write domain = "..."')
    if own.replace_client_name == "when-not-present" and not _said(levels, "name_template"):
        text = 'has no effect without a name-template; write name-template = "dhcp-{ip-dashed}", or remove it'
        found.warn((*path, "replace-client-name"), text)
    if own.domain is not None:
        _zone_of(found, config, own.domain, (*path, "domain"))


def _zone_of(found: Findings, config: Config, name: str, path: Path) -> None:
    if not any(_under(name, zone.name) for zone in config.ddns.zones):
        found.warn(path, f"no zone holds {name}: no names are written; add a [[ddns.zone]] for it")


def _pointers(found: Findings, config: Config, subnet: Subnet, path: Path, levels: list[Naming]) -> None:
    """Whether a zone holds the reverse names of the addresses of a subnet that has names."""
    if not _said(levels, "domain") or _said(levels, "updates") is False or _said(levels, "reverse_updates") is False:
        return
    zones = [zone.name for zone in config.ddns.zones]
    spans = [span for pool in subnet.pools for span in pool.range] + [(each.address, each.address) for each in subnet.reservations]
    for address in sorted({end for span in spans for end in span}):
        if any((address ^ each.prefix[0]) >> (32 - each.prefix[1]) == 0 for each in config.ddns.reverse_maps):
            continue
        name = reverse_pointer(address)
        if not any(_under(name, zone) for zone in zones):
            text = f"no zone holds {name}: PTR records are not written for it; add a [[ddns.zone]] for it"
            found.warn((*path, "ddns") if subnet.ddns is not None else ("ddns", "domain"), text)
            return


def _under(name: str, zone: str) -> bool:
    return name == zone or name.endswith("." + zone)
