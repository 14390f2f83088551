"""The kinds of values that a configuration is written in: durations, sizes, addresses, ranges, names.

Each reader takes what TOML gave and returns the value that the rooms use (seconds, octets, integers), or raises `wrong`: one line
"what is wrong; what would be right".
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

MAX_SECONDS = 0x7FFFFFFE  # one below the failover protocol's "never" (failover-protocol.md 3.1, option 13)

_DURATION = re.compile(r"(\d{1,10})(s|m|h|d)", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"(\d{1,12})(B|KiB|MiB|GiB)", re.ASCII)
_OCTETS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_/-]{0,61}[a-z0-9_])?")  # "/" and "_": RFC 2317 zones, RFC 8552
_FIELDS = {"{ip}": "255-255-255-255", "{ip-dashed}": "255-255-255-255", "{mac}": "0" * 12, "{hash8}": "0" * 8}
_FIELD = re.compile("|".join(map(re.escape, _FIELDS)))
_CHAR_SET = re.compile(r"\[(?:[^\]\[\\]|\\.)+\]")
_OPTION_SHAPE = 'a string, a number, true, false, a list or a table, such as { hex = "0a0a0005" }'
_HEX = re.compile(r"[0-9a-fA-F]{2}(:?[0-9a-fA-F]{2})*")
_PRINTABLE = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def wrong(text: str) -> PydanticCustomError:
    """The error for one value; `text` is "what is wrong; what would be right"."""
    return PydanticCustomError("failoverd", "{text}", {"text": text})


def show(value: object) -> str:
    """A value as an error shows it: short, and with the word for its TOML type."""
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "...")
    if isinstance(value, int):
        return f"the number {value}" if abs(value) < 10**20 else "a very large number"
    if isinstance(value, float):
        return f"the number {value}"
    if isinstance(value, list):
        return "an array"
    return "a table" if isinstance(value, dict) else str(value)


def _text(value: object, right: str) -> str:
    if not isinstance(value, str):
        raise wrong(f"{show(value)} is not a string; write {right}")
    return value


def _measure(value: object, pattern: re.Pattern[str], units: dict[str, int], plain: str, right: str) -> int:
    """An integer, or digits with one of the units."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise wrong(f"{show(value)} is negative; write {right}")
        return value
    match = pattern.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise wrong(f"{show(value)} is not a {plain}; write {right}")
    return int(match[1]) * units[match[2]]


def read_duration(value: object) -> int:
    """Seconds: 90, "90s", "5m", "1h" or "1d"."""
    right = 'seconds, or a number with s, m, h or d: 90, "90s", "5m", "1h", "1d"'
    seconds = _measure(value, _DURATION, _SECONDS, "duration", right)
    if seconds > MAX_SECONDS:
        raise wrong(f"{show(value)} is too long; at most {MAX_SECONDS} s (68 years) fit into a lease time")
    return seconds


def write_duration(seconds: int) -> str:
    """The shortest text that `read_duration` reads back as `seconds`."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds // _SECONDS[unit]}{unit}"
    return f"{seconds}s"


def read_size(value: object) -> int:
    """Octets: 1048576, "512KiB", "16MiB" or "1GiB"."""
    return _measure(value, _SIZE, _OCTETS, "size", 'octets, or a number with KiB, MiB or GiB: "16MiB"')


def read_address(value: object) -> int:
    """An IPv4 address as an integer."""
    right = "an IPv4 address like 10.10.0.2"
    text = _text(value, right)
    try:
        return int(ipaddress.IPv4Address(text))
    except ipaddress.AddressValueError:
        raise wrong(f"{show(text)} is not an IPv4 address; write {right}") from None


def read_host(value: object) -> int:
    """An IPv4 address that a host can have: not 0.x, loopback is allowed, multicast and above are not."""
    address = read_address(value)
    if address >> 24 == 0 or address >> 28 >= 0xE:
        raise wrong(f"{dotted(address)} is not an address that a host can have; write a unicast IPv4 address")
    return address


def dotted(address: int) -> str:
    """An integer as dotted decimal."""
    return str(ipaddress.IPv4Address(address))


def read_prefix(value: object) -> tuple[int, int]:
    """A subnet "10.10.0.0/22" as (address, prefix length)."""
    right = "address/length like 10.10.0.0/22"
    text = _text(value, right)
    try:
        found = ipaddress.IPv4Interface(text)
    except ValueError:
        raise wrong(f"{show(text)} is not a subnet; write {right}") from None
    network = found.network
    if "/" not in text or not text.rpartition("/")[2].isdecimal():
        raise wrong(f"{show(text)} has no prefix length; write {right}")
    if found.ip != network.network_address:
        raise wrong(f"{show(text)} has host bits set; write {network}")
    if network.prefixlen == 0:
        raise wrong(f"{show(text)} is every address; write {right}")
    return int(network.network_address), network.prefixlen


def read_range(value: object) -> tuple[int, int]:
    """ "10.0.0.10-10.0.0.20" or one address, as (first, last)."""
    right = '"first-last" like "10.10.0.100-10.10.3.250", or one address'
    text = _text(value, right)
    ends = [part.strip() for part in text.split("-")]
    try:
        first, last = int(ipaddress.IPv4Address(ends[0])), int(ipaddress.IPv4Address(ends[-1]))
    except ipaddress.AddressValueError:
        raise wrong(f"{show(text)} is not a range; write {right}") from None
    if len(ends) > 2:
        raise wrong(f"{show(text)} is not a range; write {right}")
    if first > last:
        raise wrong(f"{show(text)} ends before it begins; write {ends[1]}-{ends[0]}")
    return first, last


def read_endpoint(value: object) -> tuple[int, int]:
    """ "address" or "address:port" as (address, port), port 53 by default."""
    right = '"address" or "address:port" like "10.10.0.53" or "10.10.0.53:5353"'
    address, colon, port = _text(value, right).partition(":")
    return read_host(address), _port(port, right) if colon else 53


def read_listen(value: object) -> str:
    """ "address:port" on loopback, checked and otherwise as it stands; "" for none (safety.md 27: nothing else without TLS)."""
    right = '"address:port" on loopback like "127.0.0.1:9767" or "[::1]:9767", or "" for none'
    text = _text(value, right)
    if not text:
        return text
    host, colon, port = text.rpartition(":")
    if not colon:
        raise wrong(f"{show(text)} has no port; write {right}")
    _port(port, right)
    try:
        address = ipaddress.ip_address(host[1:-1] if host.startswith("[") and host.endswith("]") else host)
    except ValueError:
        raise wrong(f"{show(text)} has no address; write {right}") from None
    if (address.version == 6) != host.startswith("["):
        raise wrong(f"{show(text)} is not an address and a port; write {right}")
    if not address.is_loopback:
        raise wrong(f"{show(text)} can be reached by other machines; write {right}")
    return text


def _port(text: str, right: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 5 and 0 < int(text) < 65536):
        raise wrong(f"{show(text)} is not a port; write {right}, the port from 1 to 65535")
    return int(text)


def read_hardware(value: object) -> bytes:
    """An Ethernet address as octets: hardware type 1, then six octets (as in option 5 of the failover protocol)."""
    right = "six octets like 02:00:00:00:00:0a (other hardware: use client-id)"
    text = _text(value, right)
    if not re.fullmatch(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}", text):
        raise wrong(f"{show(text)} is not an Ethernet address; write {right}")
    return b"\x01" + bytes.fromhex(re.sub("[:-]", "", text))


def read_client_id(value: object) -> bytes:
    """Option 61 whole, type octet included: hex "01:02:00:..." or { text = "name" } for the octets of a text."""
    right = 'the octets of option 61 in hex, its type octet first, like "01:02:00:00:00:00:0a", or { text = "name" }'
    if isinstance(value, dict) and set(value) == {"text"} and isinstance(value["text"], str):
        found = value["text"].encode()
    else:
        text = _text(value, right)
        if not _HEX.fullmatch(text):
            raise wrong(f"{show(text)} is not a client identifier; write {right}")
        found = bytes.fromhex(text.replace(":", ""))
    if not 2 <= len(found) <= 255:
        raise wrong(f"a length of {len(found)} is not possible; RFC 2132 9.14 wants 2 to 255 octets")
    return found


def read_hba(value: object) -> bytes:
    """The hash bucket assignment: 32 octets in hex, bit set = the primary serves (failover-protocol.md 9.3)."""
    right = "32 octets in hex: 64 digits, with or without colons between octets"
    text = _text(value, right)
    if not _HEX.fullmatch(text) or len(text.replace(":", "")) != 64:
        raise wrong(f"{show(text)} is not a hash bucket assignment; write {right}")
    return bytes.fromhex(text.replace(":", ""))


def read_domain(value: object) -> str:
    """A domain name: lower case, absolute, with trailing dot (the dot may be left out)."""
    right = "a domain name like dyn.example.test."
    text = _text(value, right)
    name = text.lower().removesuffix(".")
    if not all(_LABEL.fullmatch(label) for label in name.split(".")) or len(name) > 253:
        raise wrong(f"{show(text)} is not a domain name; write {right} (labels of 1 to 63 letters, digits, - and _)")
    return name + "."


def read_label(value: object) -> str:
    """A host name: one label, as a reservation gives it to its host."""
    right = "one label of letters, digits and -, like printer"
    text = _text(value, right)
    if "." in text or "/" in text or not _LABEL.fullmatch(text.lower()):
        raise wrong(f"{show(text)} is not a host name; write {right}")
    return text


def read_template(value: object) -> str:
    """A template for one label, with at least one field that tells clients apart; "" for none."""
    right = 'letters, digits and - around {ip}, {mac} or {hash8}, like "dhcp-{ip}", or "" for none'
    text = _text(value, right)
    full = _FIELD.sub(lambda found: _FIELDS[found[0]], text)
    if text and (full == text or not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?", full) or len(full) > 63):
        raise wrong(
            f"{show(text)} does not make one host name for each client; write {right}, 63 characters at most when filled in"
        )
    return text


def read_host_name(value: object) -> str:
    """A host's name: one label as it stands, or an absolute name in lower case with trailing dot."""
    right = "one label like printer, or a whole name like printer.example.test"
    text = _text(value, right)
    return read_domain(text) if "." in text else read_label(text)


def read_name_or_label(value: object) -> str:
    """The same in lower case."""
    return read_host_name(value).lower()


def read_host_label(value: object) -> str:
    """One label in lower case."""
    return read_label(value).lower()


def read_reverse_name(value: object) -> str:
    """An absolute name with {a}, {b}, {c}, {d} for the octets of an address, lower case."""
    right = 'a name with {d} for the last octet, like "{d}.0-63.100.51.198.in-addr.arpa."'
    text = _text(value, right).lower()
    full = re.sub(r"\{[abcd]\}", "255", text)
    try:
        read_domain(full)
    except PydanticCustomError:
        raise wrong(f"{show(text)} is no name for a PTR record; write {right}") from None
    return text.removesuffix(".") + "."


def read_char_set(value: object) -> str:
    """One character class of a regular expression, which matches what a host name may not hold."""
    right = 'one class of characters like "[^a-z0-9-]"'
    text = _text(value, right)
    if not _CHAR_SET.fullmatch(text):
        raise wrong(f"{show(text)} is not a class of characters; write {right}")
    try:
        found = re.compile(text)
    except re.error:
        raise wrong(f"{show(text)} is not a class of characters; write {right}") from None
    if not found.match("."):
        raise wrong(f"{show(text)} lets dots into a label; write {right}")
    return text


def read_replacement(value: object) -> str:
    """What stands in the place of a character that a host name may not hold."""
    right = 'a few letters, digits or -, like "-", or "" to leave them out'
    text = _text(value, right)
    if not re.fullmatch(r"[a-z0-9-]{0,8}", text):
        raise wrong(f"{show(text)} cannot stand in a host name; write {right}")
    return text


def read_secret(value: object) -> str:
    """A key that people cannot guess; "" for none."""
    right = '16 characters or more that nobody can guess, as from "openssl rand -base64 24"'
    if not isinstance(value, str):
        raise wrong(f"it is not a string; write {right}")
    if value and len(value) < 16:
        raise wrong(f"it has {len(value)} characters; write {right}")
    return value


def reverse_pointer(address: int) -> str:
    """The plain name of the PTR record of an address."""
    return ipaddress.IPv4Address(address).reverse_pointer + "."


def read_path(value: object) -> str:
    """An absolute path."""
    right = "an absolute path like /var/lib/failoverd/leases.db"
    text = _text(value, right)
    if not text.startswith("/") or not text.isprintable():
        raise wrong(f"{show(text)} is not an absolute path; write {right}")
    return text


def read_name(value: object) -> str:
    """A name as dhcpd allows it between quotes: printable ASCII."""
    right = "1 to 128 printable ASCII characters, no space at either end"
    text = _text(value, right)
    if not _PRINTABLE.fullmatch(text):
        raise wrong(f"{show(text)} is not a name; write {right}")
    return text


def read_word(value: object) -> str:
    """A name of one word."""
    right = "one word of letters, digits, '.', '_' and '-', 63 characters at most"
    text = _text(value, right)
    if not _WORD.fullmatch(text):
        raise wrong(f"{show(text)} is not a name; write {right}")
    return text


def read_interface(value: object) -> str:
    """The name of a network interface (Linux: at most 15 characters)."""
    text = _text(value, "the name of a network interface like eth0")
    if not re.fullmatch(r"[!-.0-~]{1,15}", text) or text in {".", ".."}:
        raise wrong(f"{show(text)} cannot be a network interface; write its name as `ip link` shows it, like eth0")
    return text


def read_user(value: object) -> str:
    """A user, a group "@name", or "*" for everybody."""
    right = 'a user, "@group", or "*" for everybody'
    text = _text(value, right)
    if text != "*" and not re.fullmatch(r"@?[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}\$?", text):
        raise wrong(f"{show(text)} is not a user or group; write {right}")
    return text


def read_option(value: object) -> object:
    """The value of a DHCP option, as TOML has it; its type, and so its form, is known to config_options.py."""
    if isinstance(value, str | int | list | dict):
        return value
    raise wrong(f"{show(value)} is no option value; write {_OPTION_SHAPE}")


def _unique(values: list[str]) -> list[str]:
    twice = sorted({repr(value) for value in values if values.count(value) > 1})
    if twice:
        raise wrong(f"{', '.join(twice)} stands there twice; name each once")
    return values


def _string(pattern: str | None = None, **more: object) -> WithJsonSchema:
    return WithJsonSchema({"type": "string"} | ({"pattern": pattern} if pattern else {}) | more)


_DOTTED = r"^\d{1,3}(\.\d{1,3}){3}"
_EITHER: list[object] = [{"type": "integer", "minimum": 0}]

Duration = Annotated[
    int,
    BeforeValidator(read_duration),
    WithJsonSchema({"anyOf": [*_EITHER, {"type": "string", "pattern": r"^\d+[smhd]$"}], "x-unit": "s"}),
]
Size = Annotated[
    int,
    BeforeValidator(read_size),
    WithJsonSchema({"anyOf": [*_EITHER, {"type": "string", "pattern": r"^\d+(B|[KMG]iB)$"}], "x-unit": "octets"}),
]
Address = Annotated[int, BeforeValidator(read_host), _string(_DOTTED + "$")]
Prefix = Annotated[tuple[int, int], BeforeValidator(read_prefix), _string(_DOTTED + r"/\d{1,2}$")]
Range = Annotated[tuple[int, int], BeforeValidator(read_range), _string(_DOTTED)]
Endpoint = Annotated[tuple[int, int], BeforeValidator(read_endpoint), _string(_DOTTED + r"(:\d+)?$")]
Listen = Annotated[str, BeforeValidator(read_listen), _string(r"^$|:\d+$")]
Hardware = Annotated[bytes, BeforeValidator(read_hardware), _string(r"^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}$")]
ClientId = Annotated[
    bytes,
    BeforeValidator(read_client_id),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^[0-9a-fA-F]{2}(:?[0-9a-fA-F]{2})+$"},
                {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"], "additionalProperties": False},
            ]
        }
    ),
]
Hba = Annotated[bytes, BeforeValidator(read_hba), _string(r"^[0-9a-fA-F:]{64,95}$")]
Domain = Annotated[str, BeforeValidator(read_domain), _string()]
Template = Annotated[str, BeforeValidator(read_template), _string()]
HostName = Annotated[str, BeforeValidator(read_host_name), _string()]
HostLabel = Annotated[str, BeforeValidator(read_host_label), _string()]
NameOrLabel = Annotated[str, BeforeValidator(read_name_or_label), _string()]
ReverseName = Annotated[str, BeforeValidator(read_reverse_name), _string()]
CharSet = Annotated[str, BeforeValidator(read_char_set), _string(r"^\[.+\]$")]
Replacement = Annotated[str, BeforeValidator(read_replacement), _string("^[a-z0-9-]{0,8}$")]
Secret = Annotated[str, BeforeValidator(read_secret), _string()]
FilePath = Annotated[str, BeforeValidator(read_path), _string("^/")]
Name = Annotated[str, BeforeValidator(read_name), _string()]
Word = Annotated[str, BeforeValidator(read_word), _string()]
Interface = Annotated[str, BeforeValidator(read_interface), _string()]
Interfaces = Annotated[list[Interface], AfterValidator(_unique)]
User = Annotated[str, BeforeValidator(read_user), _string()]
OptionValue = Annotated[
    object,
    BeforeValidator(read_option),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": ["string", "integer", "boolean", "array"]},
                {"type": "object", "minProperties": 1},
            ]
        }
    ),
]
