"""The keys about clients' names: which level wins, what must hold, what the rooms get."""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from failoverd.compile import dns_plan, scopes
from failoverd.compile_names import NamePlan, NameScope, name_plan
from failoverd.config import Config, ConfigError, parse_text
from failoverd.config_digest import canonical
from failoverd.ddns.names import DEFAULT, ClientDomain, Replace, ReverseMap, mapped_name
from failoverd.ddns.zone import Followed
from failoverd.dhcp.fqdn import Policy, Scope

PAIR = (Path(__file__).resolve().parents[2] / "samples" / "pair.toml").read_text()

SITE = """
[servers.a]
interfaces = ["lo"]
[dhcp]
options = {{ domain-name-servers = "10.0.0.1" }}
[[subnet]]
subnet = "10.1.0.0/24"
{subnet}
[[subnet.pool]]
range = ["10.1.0.10-10.1.0.20"]
[[subnet.pool]]
range = ["10.1.0.30-10.1.0.40"]
{pool}
[[subnet.reservation]]
hardware = "02:00:00:00:00:01"
address = "10.1.0.60"
{reservation}
[[subnet]]
subnet = "10.2.0.0/24"
[[subnet.pool]]
range = ["10.2.0.10-10.2.0.20"]
[ddns]
{ddns}
[[ddns.zone]]
name = "test."
primaries = ["10.0.0.1"]
key-file = "/k"
[[ddns.zone]]
name = "10.in-addr.arpa."
primaries = ["10.0.0.1"]
key-file = "/k"
"""


def site(ddns: str = "", subnet: str = "", pool: str = "", reservation: str = "") -> Config:
    return parse_text(SITE.format(ddns=ddns, subnet=subnet, pool=pool, reservation=reservation))


def ip(text: str) -> int:
    return int(IPv4Address(text))


def of(plan: NamePlan) -> tuple[NameScope, NameScope, NameScope, NameScope]:
    """The subnet's rules, its second pool's, its reservation's, and the other subnet's."""
    one = plan.subnets["10.1.0.0/24"]
    reserved = plan.reserved[ip("10.1.0.60")]
    return one, plan.pools.get("10.1.0.30-10.1.0.40", one), reserved, plan.subnets["10.2.0.0/24"]


def test_without_a_domain_there_are_no_names() -> None:
    assert {scope.policy for scope in of(name_plan(site()))} == {Policy(Scope.OFF)}
    named = of(name_plan(site(reservation='hostname = "p.test"')))
    assert [scope.policy.scope for scope in named] == [Scope.OFF, Scope.OFF, Scope.BOTH, Scope.OFF]


def test_the_innermost_level_wins_key_by_key() -> None:
    plan = name_plan(
        site(
            'domain = "a.test"\nclient-updates = "deny"\nfqdn-reply = false\nreplace-client-name = "never"',
            'ddns = { domain = "b.test", name-template = "b-{ip}" }',
            'ddns = { domain = "c.test.", updates = false, name-template = "" }',
            'ddns = { client-updates = "allow", reverse-updates = false }\nhostname = "Printer"',
        )
    )
    subnet, pool, reserved, other = of(plan)
    assert [scope.rules.domain for scope in of(plan)] == ["b.test.", "c.test.", "b.test.", "a.test."]
    assert [scope.rules.template for scope in of(plan)] == ["b-{ip}", "", "b-{ip}", ""]
    assert [scope.policy.scope for scope in of(plan)] == [Scope.BOTH, Scope.OFF, Scope.FORWARD, Scope.BOTH]
    assert [scope.policy.client_updates for scope in of(plan)] == ["deny", "deny", "allow", "deny"]
    assert {scope.policy.reply for scope in of(plan)} == {False}
    assert {scope.rules.replace for scope in of(plan)} == {Replace.NEVER}
    assert (reserved.rules.name, subnet.rules.name, pool.rules.name, other.rules.name) == ("printer", "", "", "")


def test_every_key_reaches_its_room() -> None:
    config = site(
        """domain = "a.test"
        hostname = "h-{hash8}"
        name-template = "{mac}"
        replace-client-name = "when-present"
        client-domain = "keep-if-in"
        client-domains = ["X.test", "y.test."]
        override-client-update = true
        override-no-update = true
        client-updates = "ignore"
        fqdn-reply = false
        reverse-for-nameless = true
        reverse-updates = false
        hostname-char-set = "[^a-z0-9_-]"
        hostname-char-replacement = "x"
        protected-names = ["WWW.a.test", "Router"]
        reserved-names = ["Wpad"]
        name-secret = "sixteen characters"
        ttl-percent = 50
        [[ddns.reverse-map]]
        prefix = "10.2.0.0/24"
        zone = "10.in-addr.arpa"
        name = "{D}.x.10.in-addr.arpa"
        [[ddns.reverse-map]]
        prefix = "10.2.0.0/26"
        zone = "10.in-addr.arpa."
        name = "{d}.y.10.in-addr.arpa."
        """,
        'options = { host-name = "all" }',
        reservation='options = { host-name = "one" }',
    )
    plan = name_plan(config)
    policy, rules = plan.subnets["10.1.0.0/24"]
    assert policy == Policy(Scope.FORWARD, True, True, "ignore", False)
    assert (rules.domain, rules.hostname, rules.template) == ("a.test.", "h-{hash8}", "{mac}")
    assert (rules.replace, rules.client_domain) == (Replace.WHEN_PRESENT, ClientDomain.KEEP_IF_IN)
    assert rules.client_domains == ("x.test.", "y.test.")
    assert rules.reverse_for_nameless
    assert (rules.invalid, rules.replacement) == (re.compile("[^a-z0-9_-]"), "x")
    assert rules.protected == {"www.a.test.", "router"}
    assert rules.reserved == {"wpad"}
    assert rules.secret == b"sixteen characters"
    assert [scope.rules.option_12 for scope in of(plan)] == ["all", "all", "one", ""]
    assert plan.maps == (
        ReverseMap(ip("10.2.0.0"), 26, "{d}.y.10.in-addr.arpa."),
        ReverseMap(ip("10.2.0.0"), 24, "{d}.x.10.in-addr.arpa."),
    )
    assert plan.zones == {"test.", "10.in-addr.arpa."}
    assert dns_plan(config).ttl_percent == 50
    assert "sixteen" not in str(canonical(config))
    assert config.digest() != site('domain = "a.test"').digest()


def test_defaults_are_those_of_the_rooms() -> None:
    policy, rules = name_plan(site('domain = "a.test"')).subnets["10.1.0.0/24"]
    assert policy == Policy()
    assert rules == type(rules)(domain="a.test.")
    assert rules.invalid is DEFAULT.invalid
    assert dns_plan(site()).ttl_percent == 0


def test_a_whole_name_of_a_reservation_is_told_by_its_first_label() -> None:
    config = site('domain = "a.test"', reservation='hostname = "Printer.B.test"')
    assert name_plan(config).reserved[ip("10.1.0.60")].rules.name == "printer.b.test."
    assert scopes(config, "a").reserved[ip("10.1.0.60")].hostname == "printer"


def test_the_sample() -> None:
    config = parse_text(PAIR)
    plan = name_plan(config)
    assert plan.subnets["10.10.0.0/22"].rules.template == "dhcp-{ip}"
    assert plan.subnets["10.20.0.0/24"].rules.template == ""
    assert plan.reserved[ip("10.10.0.60")].rules.name == "printer"


MAP = '[[ddns.reverse-map]]\nprefix = "10.2.0.0/{length}"\nzone = "{zone}"\nname = "{name}"'
ERRORS = [
    ({"ddns": 'name-template = "{hash8}"'}, "ddns.name-template", "{hash8} needs a key"),
    ({"pool": 'ddns = { hostname = "{hash8}" }'}, "subnet[0].pool[1].ddns.hostname", "{hash8} needs a key"),
    ({"ddns": 'name-secret = "short"'}, "ddns.name-secret", "it has 5 characters; write 16 characters or more"),
    ({"ddns": 'client-domain = "keep-if-in"'}, "ddns.client-domain", "client-domains is missing"),
    ({"ddns": 'ttl = "1h"\nttl-percent = 10'}, "ddns.ttl-percent", "ttl is given too"),
    ({"ddns": "ttl-percent = 0"}, "ddns.ttl-percent", ""),
    ({"ddns": 'hostname = "same"'}, "ddns.hostname", "'same' does not make one host name for each client"),
    ({"ddns": 'hostname = "{serial}"'}, "ddns.hostname", "'{serial}' does not make"),
    ({"ddns": 'hostname = "-{ip}"'}, "ddns.hostname", "'-{ip}' does not make"),
    ({"ddns": f'hostname = "{"a" * 49}{{ip}}"'}, "ddns.hostname", "63 characters at most"),
    ({"ddns": 'hostname-char-set = "[a-z"'}, "ddns.hostname-char-set", "is not a class"),
    ({"ddns": 'hostname-char-set = "(a+)+"'}, "ddns.hostname-char-set", "is not a class"),
    ({"ddns": 'hostname-char-set = "[z-a]"'}, "ddns.hostname-char-set", "is not a class"),
    ({"ddns": 'hostname-char-set = "[_]"'}, "ddns.hostname-char-set", "lets dots into a label"),
    ({"ddns": 'hostname-char-replacement = "."'}, "ddns.hostname-char-replacement", "cannot stand in a host name"),
    ({"ddns": 'protected-names = ["a..b"]'}, "ddns.protected-names[0]", "is not a domain name"),
    ({"ddns": 'reserved-names = ["a.b"]'}, "ddns.reserved-names[0]", "is not a host name"),
    ({"ddns": 'replace-client-name = "sometimes"'}, "ddns.replace-client-name", ""),
    ({"reservation": 'hostname = "a..b"'}, "subnet[0].reservation[0].hostname", "is not a domain name"),
    (
        {"ddns": MAP.format(length=24, zone="x.test", name="{d}.x.test")},
        "ddns.reverse-map[0].zone",
        "there is no [[ddns.zone]] x.test.",
    ),
    (
        {"ddns": MAP.format(length=24, zone="test", name="{d}.x.toast")},
        "ddns.reverse-map[0].name",
        "{d}.x.toast. is not in test.",
    ),
    (
        {"ddns": MAP.format(length=22, zone="test", name="{d}.test")},
        "ddns.reverse-map[0].name",
        "addresses of 10.2.0.0/22 would share a name; write {c} into it",
    ),
    ({"ddns": MAP.format(length=24, zone="test", name="{e}.test")}, "ddns.reverse-map[0].name", "is no name for a PTR record"),
    (
        {"ddns": 2 * (MAP.format(length=24, zone="test", name="{d}.test") + "\n")},
        "ddns.reverse-map[1].prefix",
        "there is another reverse-map of this prefix",
    ),
]


@pytest.mark.parametrize(("parts", "key", "text"), ERRORS)
def test_errors(parts: dict[str, str], key: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        site(**parts)
    found = [problem for problem in caught.value.problems if problem.key == key]
    assert found, [str(problem) for problem in caught.value.problems]
    assert text in found[0].text
    assert found[0].line > 0


FOLLOW = '[[ddns.reverse-map]]\nprefix = "10.2.0.0/26"\nzone = "test"\n'
ERRORS += [
    ({"ddns": FOLLOW}, "ddns.reverse-map[0].name", "and follow-cname are both missing; write one of them"),
    ({"ddns": FOLLOW + 'name = "{d}.test"\nfollow-cname = true'}, "ddns.reverse-map[0].name", "is given with follow-cname"),
    (
        {"ddns": FOLLOW.replace('"test"', '"x.test"') + "follow-cname = true"},
        "ddns.reverse-map[0].zone",
        "there is no [[ddns.zone]]",
    ),
    ({"ddns": 2 * (FOLLOW + "follow-cname = true\n")}, "ddns.reverse-map[1].prefix", "there is another reverse-map"),
]


def test_prefixes_whose_cnames_are_followed_reach_the_planner_and_leave_leases_without_a_name_of_their_own() -> None:
    mapped = MAP.format(length=24, zone="test", name="{d}.rev.test") + "\n"
    config = site(mapped + FOLLOW + "follow-cname = true")
    assert dns_plan(config).follow == (Followed(ip("10.2.0.0"), 26, "test."),)
    maps = name_plan(config).maps
    assert [mapped_name(ip(address), maps) for address in ("10.2.0.9", "10.2.0.99")] == ["", "99.rev.test."]


WARNINGS = [
    ({"ddns": 'domain = "a.other"'}, "ddns.domain", "no zone holds a.other."),
    ({"pool": 'ddns = { domain = "a.other" }'}, "subnet[0].pool[1].ddns.domain", "no zone holds a.other."),
    ({"reservation": 'hostname = "a.other"'}, "subnet[0].reservation[0].hostname", "no zone holds a.other."),
    ({"ddns": 'domain = "test"\nclient-domains = ["x.test"]'}, "ddns.client-domains", "has no effect; write client-domain"),
    (
        {"ddns": 'domain = "test"\nreplace-client-name = "when-not-present"'},
        "ddns.replace-client-name",
        "has no effect without a name-template",
    ),
    (
        {"subnet": 'ddns = { replace-client-name = "always" }'},
        "subnet[0].ddns.replace-client-name",
        "has no effect without a domain",
    ),
]


@pytest.mark.parametrize(("parts", "key", "text"), WARNINGS)
def test_warnings(parts: dict[str, str], key: str, text: str) -> None:
    assert [(problem.key, text in problem.text) for problem in site(**parts).warnings] == [(key, True)]


def test_a_reverse_map_is_enough_for_the_addresses_that_it_holds() -> None:
    text = SITE.replace("10.in-addr.arpa.", "1.10.in-addr.arpa.")
    parts = {"subnet": "", "pool": "", "reservation": ""}
    warned = parse_text(text.format(ddns='domain = "test"', **parts)).warnings
    assert [problem.key for problem in warned] == ["ddns.domain"]
    assert "10.0.2.10.in-addr.arpa." in warned[0].text
    mapped = 'domain = "test"\n' + MAP.format(length=24, zone="test", name="{d}.rev.test")
    assert parse_text(text.format(ddns=mapped, **parts)).warnings == []
