"""What both servers of a pair must agree on, in one canonical form, and its digest.

In: relationships, networks, subnets, pools, reservations, options, lease times, DNS rules and zones, the names of the servers.
Out: what belongs to one machine (interfaces, log, api, store, the paths of key and certificate files). Durations are seconds, options
are code and octets, split is its bitmap, tables are sorted by what names them: so neither formatting nor order nor writing out a
default changes the digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, cast

from failoverd.config_options import encode_all

if TYPE_CHECKING:
    from failoverd.config_models import Config

MACHINE = ("key_file", "key_next_file", "static_key_file", "watch_key_file", "allow_weak")  # of a zone: each server has its own
FORM = 3  # raised when the canonical form changes: two versions that cannot be compared must differ


def digest(config: Config) -> str:
    """SHA-256 of the canonical form, in hex."""
    text = json.dumps(canonical(config), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def canonical(config: Config) -> dict[str, object]:
    """The shared part as plain data; what `failoverctl` shows when two servers differ."""
    common = config.model_dump(include={"site", "dhcp", "ddns"})
    common["ddns"]["name_secret"] = hashlib.sha256(config.ddns.name_secret.encode()).hexdigest()  # compared, never shown
    relationships = []
    for relationship in config.relationships:
        terms = relationship.model_dump(exclude={"split", "hba", "auto_partner_down", "tls"})
        terms["hba"] = relationship.bitmap
        terms["tls"] = relationship.tls is not None
        for name, side in relationship.sides:
            terms[name]["auto_partner_down"] = relationship.auto_partner_down_of(side)
            terms[name]["certificate_name"] = relationship.certificate_name_of(side) if relationship.tls else ""
        relationships.append(terms)
    subnets = []
    for subnet in config.subnets:
        shown = subnet.model_dump()
        for pool, dumped in zip(subnet.pools, shown["pools"], strict=True):
            dumped["range"] = pool.ranges()
        shown["pools"].sort(key=lambda pool: pool["range"])
        shown["reservations"].sort(key=lambda reservation: reservation["address"])
        subnets.append(shown)
    zones = [
        zone.model_dump(exclude={**dict.fromkeys(MACHINE, True), "mirror_to": {"__all__": set(MACHINE)}})
        for zone in config.ddns.zones
    ]
    del common["ddns"]["static_key_file"]
    for each in zones:
        each["mirror_to"].sort(key=lambda mirror: mirror["target"])
    common["ddns"]["zones"] = sorted(zones, key=lambda zone: (zone["target"], zone["name"]))
    return {
        "form": FORM,
        **cast(dict[str, object], _plain(common)),
        "servers": sorted(config.servers),
        "relationships": _plain(sorted(relationships, key=lambda each: str(each["name"]))),
        "networks": _plain(sorted((n.model_dump() for n in config.shared_networks), key=lambda each: str(each["name"]))),
        "subnets": _plain(sorted(subnets, key=lambda each: each["subnet"])),
    }


def sections(config: Config) -> dict[str, dict[str, str]]:
    """The shared part in pieces that two servers can compare: section, key, value as text. A subnet has its pools and reservations
    among its keys."""
    common = canonical(config)
    out: dict[str, dict[str, str]] = {"site": {"form": str(FORM)}}
    for key, value in common.items():
        if key in ("site", "servers"):
            out["site"][key] = _shown(key, value)
    ddns = cast(dict[str, object], common["ddns"])
    out["dhcp"] = _settings(cast(dict[str, object], common["dhcp"]))
    out["ddns"] = _settings({key: value for key, value in ddns.items() if key != "zones"})
    for zone in cast(list[dict[str, object]], ddns["zones"]):
        out[f"zone {zone['name']} of {zone['target']}"] = _settings(zone)
    for word, plural in (("relationship", "relationships"), ("shared network", "networks")):
        for each in cast(list[dict[str, object]], common[plural]):
            out[f"{word} {each['name']}"] = _settings(each)
    for subnet in cast(list[dict[str, object]], common["subnets"]):
        settings = _settings({key: value for key, value in subnet.items() if key not in ("subnet", "pools", "reservations")})
        for pool in cast(list[dict[str, object]], subnet["pools"]):
            settings[f"pool {pool['name'] or _shown('range', pool['range'])}"] = _shown("pool", pool)
        for reservation in cast(list[dict[str, object]], subnet["reservations"]):
            settings[f"reservation {_shown('address', reservation['address'])}"] = _shown("reservation", reservation)
        address, length = cast(list[int], subnet["subnet"])
        out[f"subnet {IPv4Address(address)}/{length}"] = settings
    return out


ADDRESSES = frozenset({"address", "next_server"})


def _settings(table: Mapping[str, object]) -> dict[str, str]:
    return {key.replace("_", "-"): _shown(key, value) for key, value in table.items()}


def _shown(key: str, value: object) -> str:
    """A value for people: addresses dotted, the rest as JSON."""
    if isinstance(value, int) and not isinstance(value, bool) and key in ADDRESSES:
        return str(IPv4Address(value))
    if key == "range" and isinstance(value, list):
        return " ".join(f"{IPv4Address(first)}-{IPv4Address(last)}" for first, last in value)
    if key in ("primaries", "watch") and isinstance(value, list):
        return " ".join(f"{IPv4Address(address)}:{port}" for address, port in value)
    if isinstance(value, Mapping):
        return " ".join(
            f"{name.replace('_', '-')}={_shown(name, item)}" for name, item in sorted(value.items()) if item is not None
        )
    return json.dumps(value, sort_keys=True)


def _plain(value: object) -> object:
    """The same as JSON can hold it: octets as hex, the options of a table as code -> hex."""
    if isinstance(value, Mapping):
        out = {str(key): _plain(item) for key, item in value.items() if key != "options"}
        if "options" in value:
            out["options"] = {str(code): octets.hex() for code, octets in encode_all(value["options"]).items()}
        return out
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value
