"""The rules for clients' names, scope by scope, as the node reads them: whose work an update is (dhcp/fqdn.py) and which name it is
(ddns/names.py). The innermost level that says something wins, key by key: reservation, pool, subnet, [ddns].
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from failoverd.config_models import Config
from failoverd.config_names import Naming
from failoverd.config_options import encode_all
from failoverd.config_subnets import text_of
from failoverd.ddns.names import DEFAULT, ClientDomain, Replace, ReverseMap, Rules
from failoverd.dhcp.fqdn import Policy, Scope

HOST_NAME = 12
V = TypeVar("V")


class NameScope(NamedTuple):
    """What holds for the clients of one scope."""

    policy: Policy
    rules: Rules


NOBODY = NameScope(Policy(Scope.OFF), DEFAULT)


@dataclass(slots=True, frozen=True)
class NamePlan:
    """`subnets` by name, `pools` by label where they differ from their subnet, `reserved` by address. `maps`: longest prefix first.
    `zones`: names that no host may have, because they are a zone's own."""

    subnets: Mapping[str, NameScope] = field(default_factory=dict)
    pools: Mapping[str, NameScope] = field(default_factory=dict)
    reserved: Mapping[int, NameScope] = field(default_factory=dict)
    maps: tuple[ReverseMap, ...] = ()
    zones: frozenset[str] = frozenset()


def name_plan(config: Config) -> NamePlan:
    """The rules of all scopes. The same on every server of the site."""
    common = config.ddns
    subnets: dict[str, NameScope] = {}
    pools: dict[str, NameScope] = {}
    reserved: dict[int, NameScope] = {}
    for at, subnet in enumerate(config.subnets):
        levels: list[Naming] = [common, *([subnet.ddns] if subnet.ddns else [])]
        options: dict[int, bytes] = {}
        for _, level in config.levels(at):
            options.update(encode_all(level.options))
        host_name = options.get(HOST_NAME, b"")
        subnets[text_of(subnet)] = _scope(config, levels, host_name)
        for pool in subnet.pools:
            if pool.ddns is not None:
                pools[pool.label] = _scope(config, [*levels, pool.ddns], host_name)
        for each in subnet.reservations:
            own = encode_all(each.options).get(HOST_NAME, host_name)
            inner = [*levels, each.ddns] if each.ddns else levels
            reserved[each.address] = _scope(config, inner, own, (each.hostname or "").lower())
    maps = [ReverseMap(each.prefix[0], each.prefix[1], each.name or "") for each in common.reverse_maps]
    return NamePlan(
        subnets,
        pools,
        reserved,
        tuple(sorted(maps, key=lambda each: -each.length)),
        frozenset(zone.name for zone in common.zones),
    )


def _scope(config: Config, levels: list[Naming], host_name: bytes, name: str = "") -> NameScope:
    """The levels of one scope, outermost first, as its rules."""

    def said(key: str, default: V) -> V:
        values: list[V] = [value for level in levels if (value := getattr(level, key)) is not None]
        return values[-1] if values else default

    domain = said("domain", "")
    scope = Scope.BOTH if said("reverse_updates", True) else Scope.FORWARD
    if not said("updates", True) or not (domain or name.endswith(".")):
        scope = Scope.OFF
    policy = Policy(
        scope,
        said("override_client_update", False),
        said("override_no_update", False),
        said("client_updates", "allow"),
        said("fqdn_reply", True),
    )
    kept = ClientDomain(said("client_domain", "discard"))
    charset = said("hostname_char_set", "")
    rules = Rules(
        domain=domain,
        name=name,
        hostname=_tidy(said("hostname", "")),
        template=_tidy(said("name_template", "")),
        replace=Replace(said("replace_client_name", "when-not-present")),
        client_domain=kept,
        client_domains=tuple(said("client_domains", [])) if kept is ClientDomain.KEEP_IF_IN else (),
        reverse_for_nameless=said("reverse_for_nameless", False),
        invalid=re.compile(charset) if charset else DEFAULT.invalid,
        replacement=said("hostname_char_replacement", "-"),
        reserved=frozenset(config.ddns.reserved_names),
        protected=frozenset(config.ddns.protected_names),
        secret=config.ddns.name_secret.encode(),
        option_12=host_name.decode("utf-8", "replace"),
    )
    return NameScope(policy, rules)


def _tidy(template: str) -> str:
    """A template as labels are: lower case, no two dashes in a row."""
    return re.sub("-{2,}", "-", template.lower())
