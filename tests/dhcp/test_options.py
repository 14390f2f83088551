"""Options by name and type: examples of the RFCs, errors that say what would be right, and decode as the inverse of encode."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dhcp import DHCP

from failoverd.dhcp.options import (
    CODES,
    NOT_CONFIGURABLE,
    OPTION_LIMIT,
    OPTIONS,
    code_of,
    decode_option,
    encode_option,
    encode_value,
    name_of,
)
from tests.dhcp.client_packets import ip4

SAMPLES = Path(__file__).parents[2] / "samples"

GOOD: list[tuple[str | int, object, int, bytes]] = [
    ("routers", ["10.0.0.1", "10.0.0.2"], 3, ip4("10.0.0.1") + ip4("10.0.0.2")),
    ("routers", "10.0.0.1", 3, ip4("10.0.0.1")),
    ("swap-server", "10.0.0.1", 16, ip4("10.0.0.1")),
    ("time-offset", -3600, 2, b"\xff\xff\xf1\xf0"),
    ("boot-size", 513, 13, b"\x02\x01"),
    ("domain-name", "example.test", 15, b"example.test"),
    ("ip-forwarding", True, 19, b"\1"),
    ("ip-forwarding", False, 19, b"\0"),
    ("policy-filter", ["10.0.0.0/255.0.0.0"], 21, ip4("10.0.0.0") + ip4("255.0.0.0")),
    ("interface-mtu", 1500, 26, b"\x05\xdc"),
    ("path-mtu-plateau-table", [68, 1500], 25, b"\x00\x44\x05\xdc"),
    ("static-routes", ["10.9.8.7 via 10.0.0.1"], 33, ip4("10.9.8.7") + ip4("10.0.0.1")),
    ("vendor-encapsulated-options", {"1": {"hex": "0a:0b"}, "2": "text"}, 43, b"\x01\x02\x0a\x0b\x02\x04text"),
    ("vendor-encapsulated-options", {"hex": "010203"}, 43, b"\x01\x02\x03"),
    ("vendor-class-identifier", "PXEClient", 60, b"PXEClient"),
    ("tftp-server-name", "boot.example.test", 66, b"boot.example.test"),
    ("bootfile-name", "pxelinux.0", 67, b"pxelinux.0"),
    ("user-class", ["accounting", "x"], 77, b"\x0aaccounting\x01x"),
    ("pxe-system-type", [0, 7], 93, b"\0\0\0\7"),
    ("pxe-client-id", {"hex": "00 01-02"}, 97, b"\0\1\2"),
    ("v4-captive-portal", "https://portal.example.test/", 114, b"https://portal.example.test/"),
    (
        "domain-search",
        ["eng.apple.com", "marketing.apple.com."],
        119,
        b"\3eng\5apple\3com\0\x09marketing\5apple\3com\0",
    ),  # RFC 3397 3
    ("sip-servers", ["192.0.2.1"], 120, b"\1" + ip4("192.0.2.1")),  # RFC 3361 3.2
    ("sip-servers", ["example.com", "example.net"], 120, b"\0\7example\3com\0\7example\3net\0"),  # RFC 3361 3.1
    # RFC 3442, "Classless Route Option Format": the examples of significant octets
    ("classless-static-routes", "0.0.0.0/0 via 10.1.1.1", 121, b"\0" + ip4("10.1.1.1")),
    ("classless-static-routes", ["10.0.0.0/8 via 10.1.1.1"], 121, b"\x08\x0a" + ip4("10.1.1.1")),
    ("classless-static-routes", ["10.0.0.0/24 via 10.1.1.1"], 121, b"\x18\x0a\0\0" + ip4("10.1.1.1")),
    ("classless-static-routes", ["10.17.0.0/16 via 10.1.1.1"], 121, b"\x10\x0a\x11" + ip4("10.1.1.1")),
    ("classless-static-routes", ["10.27.129.0/24 via 10.1.1.1"], 121, b"\x18\x0a\x1b\x81" + ip4("10.1.1.1")),
    ("classless-static-routes", ["10.229.0.128/25 via 10.1.1.1"], 121, b"\x19\x0a\xe5\0\x80" + ip4("10.1.1.1")),
    ("classless-static-routes", ["10.198.122.47/32 via 10.1.1.1"], 121, b"\x20\x0a\xc6\x7a\x2f" + ip4("10.1.1.1")),
    ("rfc3442-classless-static-routes", ["10.0.0.0/8 via 10.1.1.1"], 121, b"\x08\x0a" + ip4("10.1.1.1")),
    ("ms-classless-static-routes", ["10.0.0.0/8 via 10.1.1.1"], 249, b"\x08\x0a" + ip4("10.1.1.1")),
    ("vivso", {"3561": {"hex": "0101"}}, 125, b"\0\0\x0d\xe9\x02\x01\x01"),
    ("capwap-ac-v4", ["10.0.0.9"], 138, ip4("10.0.0.9")),
    ("tftp-server-address", ["10.0.0.9"], 150, ip4("10.0.0.9")),
    ("wpad-url", "http://wpad/wpad.dat", 252, b"http://wpad/wpad.dat"),
    ("150", {"hex": "0a0a0005"}, 150, ip4("10.10.0.5")),
    (150, "10.10.0.5", 150, ip4("10.10.0.5")),
    ("150", {"hex": "0a0a"}, 150, b"\x0a\x0a"),  # by number: octets as they are
    ("224", {"hex": "01"}, 224, b"\x01"),
    ("224", "text", 224, b"text"),
    ("routers", {"hex": "0a000001"}, 3, ip4("10.0.0.1")),
]


@pytest.mark.parametrize(("name", "value", "code", "octets"), GOOD)
def test_encode_option(name: str | int, value: object, code: int, octets: bytes) -> None:
    assert encode_option(name, value) == (code, octets)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("router", "10.0.0.1", 'no option is called "router"; did you mean "routers"?'),
        ("nonsense", 1, 'write its number, as in "150"'),
        ("256", 1, "256 is no option code"),
        (-1, 1, "-1 is no option code"),
        (True, 1, "no option is called"),
        ("routers", 5, 'an IPv4 address like "10.0.0.1"'),
        ("routers", [], "a list of at least one value"),
        ("routers", ["10.0.0.256"], "IPv4 address"),
        ("routers", ["10.0.0"], "IPv4 address"),
        ("routers", ["10.0.0.01"], "IPv4 address"),
        ("routers", "10.0.0.1, 10.0.0.2", "IPv4 address"),
        ("routers", {"hex": "0a00"}, "right would be a list"),
        ("routers", {"hex": "zz"}, "IPv4 address"),
        ("interface-mtu", 67, "from 68 to 65535"),
        ("interface-mtu", True, "from 68 to 65535"),
        ("interface-mtu", 1500.0, "from 68 to 65535"),
        ("interface-mtu", "1500", "from 68 to 65535"),
        ("default-ip-ttl", 0, "from 1 to 255"),
        ("time-offset", 1 << 31, "from -2147483648 to 2147483647"),
        ("ip-forwarding", 1, "true or false"),
        ("domain-name", "", "a text of at least one character"),
        ("domain-name", "a\0b", "a text"),
        ("domain-search", ["10.0.0.1"], "domain name"),
        ("domain-search", ["a..b"], "domain name"),
        ("domain-search", ["x" * 64], "domain name"),
        ("domain-search", [".".join(["x" * 60] * 5)], "domain name"),
        ("domain-search", ["a b.test"], "domain name"),
        ("domain-search", ["größe.test"], "domain name"),
        ("sip-servers", ["10.0.0.1", "example.test"], "a list of addresses or a list of domain names"),
        ("static-routes", ["0.0.0.0 via 10.0.0.1"], "classless-static-routes"),
        ("static-routes", ["10.0.0.0"], "10.9.8.7 via 10.0.0.1"),
        ("classless-static-routes", ["10.0.0.1/8 via 10.1.1.1"], "without host bits"),
        ("classless-static-routes", ["10.0.0.0/33 via 10.1.1.1"], "10.0.0.0/8 via 10.1.1.1"),
        ("classless-static-routes", ["10.0.0.0/8"], "10.0.0.0/8 via 10.1.1.1"),
        ("vendor-encapsulated-options", "text", "a table of sub-options"),
        ("vendor-encapsulated-options", {"0": "a"}, "a table of sub-options"),
        ("vendor-encapsulated-options", {"1": "a" * 256}, "a table of sub-options"),
        ("vivso", {"x": "a"}, "a table of enterprise numbers"),
        ("user-class", ["x" * 256], "at most 255 octets"),
        ("rapid-commit", True, "not supported"),
        ("dhcp-lease-time", 60, "lease-time"),
        ("subnet-mask", "255.0.0.0", "follows from the subnet's prefix"),
        ("82", {"hex": "00"}, "echoed"),
        ("0", {"hex": "00"}, "pad"),
        ("255", {"hex": "00"}, "end"),
        ("224", 5, "no known type"),
        ("224", {"hex": ""}, "no known type"),
        ("domain-name", "x" * (OPTION_LIMIT + 1), "no reply could hold"),
    ],
)
def test_a_wrong_value_is_told_what_would_be_right(name: str | int, value: object, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        encode_option(name, value)


def test_decode_is_the_inverse_in_the_examples() -> None:
    for _name, _value, code, octets in GOOD:
        name, shown = decode_option(code, octets)
        assert encode_value(code_of(name), shown, checked=False) == octets


def test_decode_shows_what_a_configuration_would_hold() -> None:
    assert decode_option(3, ip4("10.0.0.1")) == ("routers", ["10.0.0.1"])
    assert decode_option(15, b"example.test\0") == ("domain-name", "example.test")
    assert decode_option(121, b"\x00\x0a\x01\x01\x01\x08\x0a\x0a\x01\x01\x02") == (
        "classless-static-routes",
        ["0.0.0.0/0 via 10.1.1.1", "10.0.0.0/8 via 10.1.1.2"],
    )
    assert decode_option(82, b"\x01\x04port") == ("dhcp-agent-options", {"1": {"hex": b"port".hex()}})
    assert decode_option(3, b"abc") == ("routers", {"hex": "616263"})
    assert decode_option(224, b"abc") == ("224", {"hex": "616263"})
    assert decode_option(80, b"") == ("rapid-commit", True)


def test_rfc3397_compressed_search_list_is_read() -> None:
    """RFC 3397 3: eng.apple.com, then marketing with a pointer to octet 4."""
    assert decode_option(119, b"\3eng\5apple\3com\0\x09marketing\xc0\x04")[1] == ["eng.apple.com", "marketing.apple.com"]


@pytest.mark.parametrize(
    "octets", [b"\xc0\x00", b"\3eng\xc0\x04", b"\3eng\xc0", b"\3en", b"\x40abc\0", b"\0", b"", b"\3a.b\0", b"\3\xffab\0"]
)
def test_a_malformed_name_is_shown_as_octets(octets: bytes) -> None:
    assert decode_option(119, octets)[1] == {"hex": octets.hex()}


def test_scapy_knows_the_same_octets() -> None:
    ours = [
        encode_option(name, value) for name, value in (("routers", "10.0.0.1"), ("domain-name", "a.test"), ("interface-mtu", 1400))
    ]
    theirs = bytes(DHCP(options=[("router", "10.0.0.1"), ("domain", "a.test"), ("interface-mtu", 1400), "end"]))
    assert b"".join(bytes((code, len(octets))) + octets for code, octets in ours) + b"\xff" == theirs


def test_every_option_of_rfc_2132_and_those_in_use_has_a_row() -> None:
    assert set(range(1, 77)) <= set(OPTIONS)
    assert {77, 81, 82, 93, 97, 114, 119, 121, 125, 138, 150, 249, 252} <= set(OPTIONS)
    assert len({option.name for option in OPTIONS.values()}) == len(OPTIONS)
    for name, code in CODES.items():
        assert code in OPTIONS
        assert not name.isdigit()
    for code in OPTIONS:
        assert code_of(name_of(code)) == code
    assert name_of(224) == "224"
    assert set(NOT_CONFIGURABLE) - {0, 255} <= set(OPTIONS)


def test_every_option_of_the_samples_is_encoded() -> None:
    tables = [tomllib.loads(path.read_text()) for path in SAMPLES.glob("*.toml")]
    held = [scope.get("options", {}) for table in tables for scope in (table.get("dhcp", {}), *table.get("subnet", []))]
    assert any(held)
    for options in held:
        for name, value in options.items():
            encode_option(name, value)


@given(st.sampled_from(sorted(OPTIONS)), st.binary(max_size=80))
def test_any_octets_are_shown_and_what_is_shown_encodes_to_the_same_meaning(code: int, octets: bytes) -> None:
    name, shown = decode_option(code, octets)
    if octets or shown is True:
        again = encode_value(code_of(name), shown, checked=False)
        assert decode_option(code, again) == (name, shown)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["10.0.0.1", "a.test", "10.0.0.0/8 via 10.0.0.1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["hex", "1", "x"]), inner, max_size=2),
    max_leaves=5,
)


@given(st.integers(-5, 300) | st.sampled_from(sorted(CODES)), VALUES)
def test_any_value_is_octets_or_a_value_error(name: str | int, value: object) -> None:
    try:
        code, octets = encode_option(name, value)
    except ValueError:
        return
    assert 0 < code < 255
    assert octets
    shown = decode_option(code, octets)[1]
    assert encode_value(code, shown, checked=False)
