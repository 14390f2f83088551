from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failoverd.ddns.names import decide_name, dotted, reverse_name, reverse_of, sanitise

IP = 0xC0000205


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
    assert decide_name(hostname, IP, "example.test.", "") == name


def test_template_serves_clients_without_a_usable_name() -> None:
    for hostname in ("", "wpad", "+++", "192.0.2.5"):
        assert decide_name(hostname, IP, "example.test.", "dhcp-{ip}") == "dhcp-192-0-2-5.example.test."
    assert decide_name("pc", IP, "example.test.", "dhcp-{ip}") == "pc.example.test."


def test_no_domain_no_name() -> None:
    assert decide_name("pc", IP, "", "dhcp-{ip}") == ""


def test_whole_name_longer_than_255_octets_is_none() -> None:
    domain = ".".join(["d" * 62] * 4) + "."
    assert decide_name("a", IP, domain, "") == "a." + domain
    assert decide_name("a" * 10, IP, domain, "") == ""


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


def test_reverse_names() -> None:
    assert dotted(IP) == "192.0.2.5"
    assert reverse_name(IP) == "5.2.0.192.in-addr.arpa."
    assert reverse_of("A", "192.0.2.5") == "5.2.0.192.in-addr.arpa."
    six = "0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa."
    assert reverse_of("AAAA", "2001:db8::10") == six
    assert reverse_of("TXT", "x") == ""
    assert reverse_of("A", "none") == ""
