"""Single values: what each kind accepts, what it becomes, and what it says when it refuses."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from failoverd import config_values as v

TOML = st.recursive(
    st.text(max_size=40) | st.integers() | st.booleans() | st.floats() | st.dates() | st.binary(max_size=4).map(bytes.hex),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
READERS: list[Callable[[object], object]] = [getattr(v, name) for name in sorted(vars(v)) if name.startswith("read_")]


@given(st.integers(min_value=0, max_value=v.MAX_SECONDS))
def test_a_duration_reads_back(seconds: int) -> None:
    assert v.read_duration(v.write_duration(seconds)) == seconds
    assert v.read_duration(seconds) == seconds
    assert v.read_duration(f"{seconds}s") == seconds


@given(st.integers(min_value=0, max_value=9999), st.sampled_from("smhd"))
def test_a_duration_is_its_number_times_its_unit(number: int, unit: str) -> None:
    assert v.read_duration(f"{number}{unit}") == number * {"s": 1, "m": 60, "h": 3600, "d": 86400}[unit]


@pytest.mark.parametrize(
    "text", ["", "1", "h", "1w", "1.5h", "-1s", "1 h", "1h30m", "１s", "+1s", "1H", -1, 1.0, True, "99999d", 2**31 - 1]
)
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(PydanticCustomError, match="; "):
        v.read_duration(text)


GOOD: list[tuple[Callable[[object], object], object, object]] = [
    (v.read_duration, "90s", 90),
    (v.read_duration, "5m", 300),
    (v.read_duration, "1h", 3600),
    (v.read_duration, "1d", 86400),
    (v.read_size, "16MiB", 16 << 20),
    (v.read_size, 4096, 4096),
    (v.read_address, "10.10.0.2", 0x0A0A0002),
    (v.read_prefix, "10.10.0.0/22", (0x0A0A0000, 22)),
    (v.read_prefix, "10.10.0.1/32", (0x0A0A0001, 32)),
    (v.read_range, "10.0.0.1-10.0.0.9", (0x0A000001, 0x0A000009)),
    (v.read_range, "10.0.0.1 - 10.0.0.9", (0x0A000001, 0x0A000009)),
    (v.read_range, "10.0.0.1", (0x0A000001, 0x0A000001)),
    (v.read_endpoint, "10.0.0.1", (0x0A000001, 53)),
    (v.read_endpoint, "10.0.0.1:5353", (0x0A000001, 5353)),
    (v.read_listen, "127.0.0.1:9767", "127.0.0.1:9767"),
    (v.read_listen, "[::1]:9767", "[::1]:9767"),
    (v.read_listen, "", ""),
    (v.read_hardware, "02:00:00:00:00:0A", b"\x01\x02\0\0\0\0\x0a"),
    (v.read_client_id, "01:02:03", b"\x01\x02\x03"),
    (v.read_client_id, {"text": "ab"}, b"ab"),
    (v.read_hba, "ff" * 32, b"\xff" * 32),
    (v.read_domain, "Dyn.Example.TEST", "dyn.example.test."),
    (v.read_domain, "0-63.100.51.198.in-addr.arpa.", "0-63.100.51.198.in-addr.arpa."),
    (v.read_template, "dhcp-{ip}", "dhcp-{ip}"),
    (v.read_option, {"hex": "0a:0B"}, {"hex": "0a:0B"}),
    (v.read_user, "@admins", "@admins"),
]


@pytest.mark.parametrize(("read", "text", "value"), GOOD)
def test_good_values(read: Callable[[object], object], text: object, value: object) -> None:
    assert read(text) == value


BAD: list[tuple[Callable[[object], object], object, str]] = [
    (v.read_size, "16MB", "'16MB' is not a size; write octets, or a number with KiB, MiB or GiB: \"16MiB\""),
    (v.read_host, "224.0.0.1", "224.0.0.1 is not an address that a host can have; write a unicast IPv4 address"),
    (v.read_address, "10.10.0.256", "'10.10.0.256' is not an IPv4 address; write an IPv4 address like 10.10.0.2"),
    (v.read_prefix, "10.10.0.1/22", "'10.10.0.1/22' has host bits set; write 10.10.0.0/22"),
    (v.read_prefix, "10.10.0.0", "'10.10.0.0' has no prefix length; write address/length like 10.10.0.0/22"),
    (
        v.read_prefix,
        "10.10.0.0/255.255.0.0",
        "'10.10.0.0/255.255.0.0' has no prefix length; write address/length like 10.10.0.0/22",
    ),
    (v.read_prefix, "0.0.0.0/0", "'0.0.0.0/0' is every address; write address/length like 10.10.0.0/22"),
    (v.read_range, "10.0.0.9-10.0.0.1", "'10.0.0.9-10.0.0.1' ends before it begins; write 10.0.0.1-10.0.0.9"),
    (v.read_endpoint, "10.0.0.1:0", '\'0\' is not a port; write "address" or "address:port"'),
    (v.read_listen, "127.0.0.1", "'127.0.0.1' has no port; write \"address:port\" on loopback"),
    (v.read_listen, "0.0.0.0:9767", "'0.0.0.0:9767' can be reached by other machines; write \"address:port\" on loopback"),
    (v.read_hardware, "02:00", "'02:00' is not an Ethernet address; write six octets like 02:00:00:00:00:0a"),
    (v.read_client_id, "01", "a length of 1 is not possible; RFC 2132 9.14 wants 2 to 255 octets"),
    (v.read_hba, "ff", "'ff' is not a hash bucket assignment; write 32 octets in hex"),
    (v.read_domain, "a..b", "'a..b' is not a domain name; write a domain name like dyn.example.test."),
    (v.read_template, "dhcp", "'dhcp' does not make one host name for each client; write letters, digits and - around {ip}"),
    (v.read_path, "leases.db", "'leases.db' is not an absolute path; write an absolute path"),
    (v.read_interface, "a/b", "'a/b' cannot be a network interface; write its name"),
    (v.read_option, 1.5, "the number 1.5 is no option value; write a string"),
]


@pytest.mark.parametrize(("read", "text", "message"), BAD)
def test_bad_values(read: Callable[[object], object], text: object, message: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        read(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("read", READERS, ids=lambda read: str(read.__name__))
def test_any_value_is_read_or_refused_with_what_would_be_right(read: Callable[[object], object]) -> None:
    @given(TOML)
    def any_value(value: object) -> None:
        said = "; "
        try:
            read(value)
        except PydanticCustomError as error:
            said = str(error)
        assert "; " in said
        assert "\n" not in said

    any_value()
