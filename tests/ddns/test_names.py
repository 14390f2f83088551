from __future__ import annotations

import ipaddress
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failoverd.ddns.dhcid import name_wire
from failoverd.ddns.names import (
    DEFAULT,
    ClientDomain,
    Replace,
    ReverseMap,
    Rules,
    Sent,
    Source,
    decide_name,
    dotted,
    hash8,
    mapped_name,
    reverse_name,
    reverse_of,
    sanitise,
)

IP = 0xC0000205
DOMAIN = "example.test."
RULES = Rules(DOMAIN)
KEEP = replace(RULES, client_domain=ClientDomain.KEEP)
MAC = b"\x01\x02\0\0\0\0\x0a"


def named(hostname: str, rules: Rules = RULES) -> str:
    return decide_name(Sent(hostname, client=b"\0" + MAC, hw=MAC), IP, rules).fqdn


def fqdn(*labels: str, whole: bool = True, own: bool = False, rules: Rules = RULES, hostname: str = "") -> str:
    return decide_name(Sent(hostname, labels, whole, own), IP, rules).fqdn


@pytest.mark.parametrize(
    ("hostname", "name"),
    [
        ("MixedCase", "mixedcase.example.test."),
        ("bob's_iPad\x00", "bob-s-ipad.example.test."),
        ("host.other.org", "host.example.test."),
        ("--x--", "x.example.test."),
        ("+++", ""),
        ("wpad", ""),
        ("WPAD.", ""),
        ("localhost", ""),
        ("_dmarc", ""),
        ("a" * 70, "a" * 56 + "-6bd5e5.example.test."),
        ("192.0.2.5", ""),
        ("192-0-2-5", "192-0-2-5.example.test."),
        ("", ""),
        (" \x00", ""),
        ("host. \x00", "host.example.test."),
        ("caf\u00e9", "caf.example.test."),
        ("K\u212a\u0130x", "k-x.example.test."),
        ("a\nb", "a-b.example.test."),
    ],
)
def test_vectors(hostname: str, name: str) -> None:
    assert named(hostname) == name
    if name and "." not in hostname.strip(". \0"):
        assert fqdn(hostname.rstrip(". \0"), whole=False) == name


@pytest.mark.parametrize(
    ("labels", "whole", "name"),
    [
        (("host", "other", "org"), True, "host.other.org."),
        (("host", "other"), False, "host.other.example.test."),
        (("host", "example", "test"), False, "host.example.test."),
        (("host", "a", "example", "test"), False, "host.a.example.test."),
        (("host", "anexample", "test"), False, "host.anexample.test.example.test."),
        (("host",), False, "host.example.test."),
        (("Host", "Other_X", "ORG"), True, "host.other-x.org."),
        (("host", "+++", "org"), True, "host.example.test."),
        (("wpad", "other", "org"), True, ""),
        (("a.b", "other", "org"), True, "a-b.other.org."),
    ],
)
def test_keep_completes_partial_names_and_no_suffix_twice(labels: tuple[str, ...], whole: bool, name: str) -> None:
    assert fqdn(*labels, whole=whole, rules=KEEP) == name


def test_option_12_with_a_domain() -> None:
    assert named("host.other.org", KEEP) == "host.other.org."
    assert named("host.example.test", KEEP) == "host.example.test."
    among = replace(RULES, client_domain=ClientDomain.KEEP_IF_IN, client_domains=("other.org.", "x."))
    assert named("host.other.org", among) == "host.other.org."
    assert named("host.sub.other.org", among) == "host.sub.other.org."
    assert named("host.another.org", among) == "host.example.test."


def test_order_of_the_sources() -> None:
    everything = Rules(
        DOMAIN, name="printer", hostname="h-{ip}", template="dhcp-{ip}", option_12="conf", replace=Replace.WHEN_NOT_PRESENT
    )
    sent = Sent("twelve", ("eightyone",), False, client=b"c", hw=MAC)

    def source(rules: Rules, sent: Sent) -> tuple[Source, str]:
        found = decide_name(sent, IP, rules)
        return found.source, found.fqdn

    assert source(everything, sent) == (Source.RESERVATION, "printer.example.test.")
    whole = replace(everything, name="printer.other.org.")
    assert source(whole, sent) == (Source.RESERVATION, "printer.other.org.")
    assert source(replace(whole, domain=""), sent) == (Source.RESERVATION, "printer.other.org.")
    scope = replace(everything, name="")
    assert source(scope, sent) == (Source.SCOPE, "h-192-0-2-5.example.test.")
    client = replace(scope, hostname="")
    assert source(client, sent) == (Source.FQDN, "eightyone.example.test.")
    assert source(client, sent._replace(fqdn=("wpad",))) == (Source.HOSTNAME, "twelve.example.test.")
    assert source(client, Sent("wpad")) == (Source.CONFIGURED, "conf.example.test.")
    assert source(replace(client, option_12=""), Sent("wpad")) == (Source.GENERATED, "dhcp-192-0-2-5.example.test.")
    assert source(RULES, Sent("wpad")) == (Source.NONE, "")
    assert source(replace(RULES, domain=""), sent) == (Source.NONE, "")


@pytest.mark.parametrize(
    ("mode", "present", "absent"),
    [
        (Replace.NEVER, "pc", ""),
        (Replace.ALWAYS, "dhcp-192-0-2-5", "dhcp-192-0-2-5"),
        (Replace.WHEN_PRESENT, "dhcp-192-0-2-5", ""),
        (Replace.WHEN_NOT_PRESENT, "pc", "dhcp-192-0-2-5"),
    ],
)
def test_replace_client_name(mode: Replace, present: str, absent: str) -> None:
    rules = replace(RULES, replace=mode, template="dhcp-{ip}")
    assert named("pc", rules) == f"{present}.{DOMAIN}"
    assert fqdn("pc", "other", "org", own=True, rules=rules).partition(".")[0] == present
    for hostname in ("", "wpad", "+++", "192.0.2.5"):
        assert named(hostname, rules) == (f"{absent}.{DOMAIN}" if absent else "")
    plain = replace(rules, template="")
    assert named("pc", plain) == f"{present}.{DOMAIN}"
    reserved = replace(rules, name="printer")
    assert named("pc", reserved) == f"printer.{DOMAIN}"


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("dhcp-{ip}", "dhcp-192-0-2-5"),
        ("{ip-dashed}-x", "192-0-2-5-x"),
        ("m{mac}", "m02000000000a"),
        ("h-{hash8}", "h-" + hash8(b"secret of the site", b"\0" + MAC)),
        ("{hash8}-{ip}", hash8(b"secret of the site", b"\0" + MAC) + "-192-0-2-5"),
    ],
)
def test_fields_of_generated_names(template: str, name: str) -> None:
    rules = replace(RULES, template=template, secret=b"secret of the site")
    assert named("", rules) == f"{name}.{DOMAIN}"
    assert named("any", replace(rules, template="", hostname=template)) == f"{name}.{DOMAIN}"


def test_hash8_tells_clients_and_sites_apart_and_is_stable() -> None:
    assert hash8(b"Jefe", b"what do ya want for nothing?") == "5bdcc146", "RFC 4231 4.3"
    assert len({hash8(secret, client) for secret in (b"a" * 16, b"b" * 16) for client in (b"\x01x", b"\0x")}) == 4


def test_a_field_that_is_unknown_makes_no_name() -> None:
    for hw in (b"", b"\x20"):
        assert decide_name(Sent(client=b"\x01id", hw=hw), IP, replace(RULES, template="{mac}")).fqdn == ""
    assert decide_name(Sent(), IP, replace(RULES, template="{hash8}")).fqdn == ""


def test_reverse_for_nameless_has_no_forward_name() -> None:
    rules = replace(RULES, reverse_for_nameless=True)
    assert decide_name(Sent(), IP, rules)[:3] == ("dhcp-192-0-2-5.example.test.", Source.GENERATED, False)
    assert decide_name(Sent("pc"), IP, rules)[:3] == ("pc.example.test.", Source.HOSTNAME, True)
    assert decide_name(Sent(), IP, replace(rules, template="x-{ip}"))[:3] == ("x-192-0-2-5.example.test.", Source.GENERATED, True)


def test_own_name_is_kept_whole_unless_it_cannot_be_used() -> None:
    own = decide_name(Sent("", ("Host", "Other", "Org"), True, True), IP, RULES)
    assert (own.fqdn, own.own) == ("host.other.org.", True)
    bad = decide_name(Sent("pc", ("wpad", "other", "org"), True, True), IP, RULES)
    assert (bad.fqdn, bad.own) == ("pc.example.test.", False)
    assert "reserved" in bad.why


def test_protected_names() -> None:
    rules = replace(RULES, protected=frozenset({"www.example.test.", "router"}))
    assert named("www", rules) == named("Router", rules) == ""
    assert named("www.other.org", replace(rules, client_domain=ClientDomain.KEEP)) == "www.other.org."
    assert named("router.other.org", replace(rules, client_domain=ClientDomain.KEEP)) == ""
    assert named("", replace(rules, template="{ip}", protected=frozenset({"192-0-2-5.example.test."}))) == ""
    assert named("x", replace(rules, name="www")) == "www.example.test.", "the operator's word about one host stands"
    found = decide_name(Sent("www"), IP, rules)
    assert found.why == "'www' is protected"


def test_apex_and_servers_of_a_zone_are_nobodys() -> None:
    held = frozenset({"dyn.example.test.", "ns1.example.test."})
    for rules in (RULES, replace(RULES, name="ns1"), replace(RULES, name="dyn.example.test."), replace(KEEP, template="")):
        for hostname in ("dyn", "ns1", "ns1.example.test"):
            assert decide_name(Sent(hostname), IP, rules, held).fqdn == ""
    assert decide_name(Sent("", ("ns1", "example", "test"), True, True), IP, RULES, held).fqdn == ""
    fall = decide_name(Sent("ns1"), IP, replace(RULES, template="dhcp-{ip}"), held)
    assert fall.fqdn == "dhcp-192-0-2-5.example.test."
    assert "protected" in fall.why


def test_character_set_and_replacement() -> None:
    under = replace(RULES, invalid=re.compile("[^a-z0-9_-]"))
    assert named("bob's_iPad", under) == "bob-s_ipad.example.test."
    assert named("bob's_iPad", replace(RULES, replacement="")) == "bobsipad.example.test."
    assert named("bob's_iPad", replace(RULES, replacement="x")) == "bobxsxipad.example.test."
    assert named("a b.\u00e9", replace(RULES, invalid=re.compile("[.]"))) == "a-b.example.test.", "never what no host name can hold"


def test_reserved_words_can_be_chosen() -> None:
    rules = replace(RULES, reserved=frozenset({"printer"}))
    assert (named("printer", rules), named("wpad", rules)) == ("", "wpad.example.test.")


def test_whole_name_longer_than_255_octets_is_none() -> None:
    domain = ".".join(["d" * 62] * 4) + "."
    assert named("a", Rules(domain)) == "a." + domain
    assert named("a" * 10, Rules(domain)) == ""
    assert named("", Rules(domain, name="a" * 10)) == ""


def test_why_is_named() -> None:
    assert sanitise("wpad").why == "is reserved"
    assert sanitise("10.0.0.1").why == "is an address"
    assert sanitise("").why == ""


@given(st.text(max_size=300))
def test_any_text_gives_a_host_label_or_nothing(hostname: str) -> None:
    label = sanitise(hostname).text
    assert len(label) <= 63
    assert set(label) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert not label.startswith("-")
    assert not label.endswith("-")
    assert sanitise(label).text == label or not label


@given(
    st.text(max_size=80),
    st.lists(st.text(min_size=1, max_size=70), max_size=5),
    st.booleans(),
    st.booleans(),
    st.sampled_from(ClientDomain),
    st.sampled_from(Replace),
    st.sampled_from(["", "{ip}", "{mac}", "{hash8}"]),
    st.sampled_from([DEFAULT.invalid, re.compile("[.]"), re.compile("[^\\w-]")]),
)
def test_any_client_gets_a_legal_name_or_none(
    hostname: str,
    labels: list[str],
    whole: bool,
    own: bool,
    domain: ClientDomain,
    mode: Replace,
    template: str,
    invalid: re.Pattern[str],
) -> None:
    rules = Rules(DOMAIN, client_domain=domain, replace=mode, template=template, invalid=invalid)
    found = decide_name(Sent(hostname, tuple(labels), whole, own and whole, b"c", MAC), IP, rules)
    if found.fqdn:
        assert re.fullmatch(r"([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+", found.fqdn)
        assert len(name_wire(found.fqdn)) <= 255
        assert domain is not ClientDomain.DISCARD or found.own or found.fqdn.endswith("." + DOMAIN)
    else:
        assert found.source is Source.NONE


def test_reverse_names() -> None:
    assert dotted(IP) == "192.0.2.5"
    assert reverse_name(IP) == "5.2.0.192.in-addr.arpa."
    assert reverse_of("A", "192.0.2.5") == "5.2.0.192.in-addr.arpa."
    six = "0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa."
    assert reverse_of("AAAA", "2001:db8::10") == six
    assert reverse_of("TXT", "x") == ""
    assert reverse_of("A", "none") == ""


@given(st.integers(0, 2**32 - 1), st.sampled_from(("", "0", "1", ".", " ", "\n", "\u0661", "-", ".1")), st.integers(0, 16))
def test_reverse_names_of_what_is_an_address_and_of_what_nearly_is(address: int, extra: str, at: int) -> None:
    text = dotted(address)
    text = text[:at] + extra + text[at:]
    try:
        parsed = int(ipaddress.IPv4Address(text))
    except ValueError:
        assert reverse_of("A", text) == ""
    else:
        assert reverse_of("A", text) == reverse_name(parsed)


def test_rfc2317_names() -> None:
    maps = (
        ReverseMap(0xC6336400, 26, "{d}.0-63.100.51.198.in-addr.arpa."),
        ReverseMap(0xC6336400, 24, "{d}.{c}.{b}.{a}.rev.test."),
    )
    assert mapped_name(0xC6336405, maps) == "5.0-63.100.51.198.in-addr.arpa."
    assert mapped_name(0xC633643F, maps) == "63.0-63.100.51.198.in-addr.arpa."
    assert mapped_name(0xC6336440, maps) == "64.100.51.198.rev.test."
    assert mapped_name(0xC6336500, maps) == ""
    assert ReverseMap(IP, 32, "one.test.").owner(IP) == "one.test."


def test_a_long_name_that_is_cut_at_a_dash_has_no_two_in_a_row() -> None:
    """Found by Hypothesis: 55 letters and a character that becomes a dash."""
    label = sanitise("0" * 55 + ":00000000").text
    assert "--" not in label
    assert label.startswith("0" * 55 + "-")
