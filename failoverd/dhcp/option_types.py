"""One codec per option *type*: what a configuration writes, to octets, and octets to what an operator reads.

`encode` takes a value as TOML gives it and raises ValueError with a sentence that says what would be right. `decode` gives the same
form back and raises ValueError for octets that are no value of the type. Sections: RFC 2132, RFC 1035 3.1 and 4.1.4 (names),
RFC 3442 (classless routes), RFC 3361 (SIP), RFC 3925 (vendor), RFC 3004 (user class).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

# A value as TOML gives it, or as JSON shows it.
Value = str | int | bool | list["Value"] | dict[str, "Value"]


class OptionType(NamedTuple):
    """`shape`: what a configuration writes, as an end of "is a ..."."""

    shape: str
    encode: Callable[[object], bytes]
    decode: Callable[[bytes], Value]


def _wrong(value: object, shape: str) -> ValueError:
    return ValueError(f"{value!r} is not {shape}")


# --- numbers ----------------------------------------------------------------------------------------------------------


def _number(octets: int, signed: bool = False, least: int = 0) -> OptionType:
    """A number of that many octets; `least`: the smallest that the RFC allows."""
    low, high = (-(1 << 8 * octets - 1), (1 << 8 * octets - 1) - 1) if signed else (least, (1 << 8 * octets) - 1)
    shape = f"a whole number from {low} to {high}"

    def encode(value: object) -> bytes:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _wrong(value, shape)
        return value.to_bytes(octets, "big", signed=signed)

    def decode(value: bytes) -> Value:
        if len(value) != octets:
            raise ValueError(f"{len(value)} octets, not {octets}")
        number = int.from_bytes(value, "big", signed=signed)
        if number < low:
            raise ValueError(f"{number}, below {low}")
        return number

    return OptionType(shape, encode, decode)


def _bool_encode(value: object) -> bytes:
    if not isinstance(value, bool):
        raise _wrong(value, "true or false")
    return b"\1" if value else b"\0"


def _bool_decode(octets: bytes) -> Value:
    if octets not in (b"\0", b"\1"):
        raise ValueError("not one octet of 0 or 1")
    return octets == b"\1"


# --- addresses --------------------------------------------------------------------------------------------------------


def _octets4(text: str) -> bytes | None:
    """The address of a dotted quad without leading zeros, None for anything else."""
    parts = text.split(".")
    if len(parts) != 4 or not all(p.isascii() and p.isdigit() and len(p) <= 3 and str(int(p)) == p and int(p) < 256 for p in parts):
        return None
    return bytes(map(int, parts))


def _dotted(octets: bytes) -> str:
    return ".".join(map(str, octets))


def _address_encode(value: object) -> bytes:
    octets = _octets4(value) if isinstance(value, str) else None
    if octets is None:
        raise _wrong(value, 'an IPv4 address like "10.0.0.1"')
    return octets


def _address_decode(octets: bytes) -> Value:
    if len(octets) != 4:
        raise ValueError(f"{len(octets)} octets, not 4")
    return _dotted(octets)


def _pair_encode(value: object, between: str, shape: str) -> bytes:
    """Two addresses in one string."""
    first, found, second = value.partition(between) if isinstance(value, str) else ("", "", "")
    a, b = _octets4(first.strip()), _octets4(second.strip())
    if not found or a is None or b is None:
        raise _wrong(value, shape)
    return a + b


def _prefix(text: str) -> tuple[int, int] | None:
    """(network, length) of "10.0.0.0/8" without host bits, None for anything else."""
    network, _, length = text.partition("/")
    octets = _octets4(network)
    if octets is None or not (length.isascii() and length.isdigit()) or int(length) > 32:
        return None
    number = int.from_bytes(octets, "big")
    return None if number & (0xFFFFFFFF >> int(length)) else (number, int(length))


_ROUTE_SHAPE = (
    'a classful route like "10.9.8.7 via 10.0.0.1" (no mask: use classless-static-routes for that, and for a default route)'
)
_FILTER_SHAPE = 'an address and a mask like "10.0.0.0/255.0.0.0"'
_CLASSLESS_SHAPE = 'a route like "10.0.0.0/8 via 10.1.1.1", without host bits in the network'


def _route_encode(value: object) -> bytes:
    octets = _pair_encode(value, " via ", _ROUTE_SHAPE)
    if octets.startswith(b"\0\0\0\0"):
        raise _wrong(value, _ROUTE_SHAPE)  # RFC 2132 5.8: no default route
    return octets


def _pair_decode(octets: bytes, between: str) -> Value:
    if len(octets) != 8:
        raise ValueError(f"{len(octets)} octets, not 8")
    return _dotted(octets[:4]) + between + _dotted(octets[4:])


def _classless_encode(value: object) -> bytes:
    """RFC 3442: a list of routes, the network cut to its significant octets."""
    out = b""
    for route in _nonempty(value):
        network, found, router = route.partition(" via ") if isinstance(route, str) else ("", "", "")
        prefix, via = _prefix(network.strip()), _octets4(router.strip())
        if not found or prefix is None or via is None:
            raise _wrong(route, _CLASSLESS_SHAPE)
        number, length = prefix
        out += bytes((length,)) + number.to_bytes(4, "big")[: (length + 7) // 8] + via
    return out


def _classless_decode(octets: bytes) -> Value:
    routes: list[Value] = []
    at = 0
    while at < len(octets):
        length = octets[at]
        end = at + 1 + (length + 7) // 8
        if length > 32 or end + 4 > len(octets):
            raise ValueError("a route is cut short or its prefix is above 32")
        network = octets[at + 1 : end].ljust(4, b"\0")
        routes.append(f"{_dotted(network)}/{length} via {_dotted(octets[end : end + 4])}")
        at = end + 4
    return _some(routes)


# --- text and octets --------------------------------------------------------------------------------------------------


def _text_encode(value: object) -> bytes:
    if not isinstance(value, str) or not value or "\0" in value:
        raise _wrong(value, "a text of at least one character")
    return value.encode()


def _text_decode(octets: bytes) -> Value:
    text = octets.rstrip(b"\0").decode()  # UnicodeDecodeError is a ValueError
    if not text or "\0" in text:
        raise ValueError("no text")
    return text


def octets_of(value: object) -> bytes | None:
    """The octets of {hex = "0a:0b"} (colons, blanks and dashes allowed between octets); None if it is not of that form."""
    text = value.get("hex") if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(text, str):
        return None
    try:
        return bytes.fromhex(text.replace(":", " ").replace("-", " "))
    except ValueError:
        return None


_OCTETS_SHAPE = 'octets like { hex = "0a0b0c" }'


def _octets_encode(value: object) -> bytes:
    octets = octets_of(value)
    if not octets:
        raise _wrong(value, _OCTETS_SHAPE)
    return octets


def _octets_decode(octets: bytes) -> Value:
    return {"hex": octets.hex()}


def _empty_encode(value: object) -> bytes:
    if value is not True:
        raise _wrong(value, "true (the option has no value; leave it out otherwise)")
    return b""


def _empty_decode(octets: bytes) -> Value:
    if octets:
        raise ValueError("a value, where there should be none")
    return True


# --- names ------------------------------------------------------------------------------------------------------------

_NAME_SHAPE = 'a domain name like "example.test", labels of 1 to 63 octets, 253 in all'


def _name_encode(value: object) -> bytes:
    """RFC 1035 3.1, uncompressed: RFC 3397 2 allows compression, and some clients fail on it."""
    labels = value.removesuffix(".").split(".") if isinstance(value, str) and value.isascii() else []
    if not labels or any(not 0 < len(label) < 64 or not _is_plain(label) for label in labels) or _octets4(".".join(labels)):
        raise _wrong(value, _NAME_SHAPE)
    octets = b"".join(bytes((len(label),)) + label.encode() for label in labels) + b"\0"
    if len(octets) > 255:
        raise _wrong(value, _NAME_SHAPE)
    return octets


def _is_plain(label: str) -> bool:
    """Whether a label can be written in a configuration as it is."""
    return label.isprintable() and " " not in label and "." not in label


def _name_at(octets: bytes, at: int) -> tuple[str, int]:
    """The name at an offset and the offset behind it. Pointers lead backwards (RFC 1035 4.1.4)."""
    labels: list[str] = []
    behind = 0
    limit = at
    size = 0
    while True:
        if at >= len(octets):
            raise ValueError("a name is cut short")
        length = octets[at]
        if length == 0:
            return ".".join(labels), behind or at + 1
        if length >= 0xC0:
            target = int.from_bytes(octets[at : at + 2], "big") & 0x3FFF
            if at + 2 > len(octets) or target >= limit:
                raise ValueError("a compression pointer does not lead backwards")
            behind = behind or at + 2
            at = limit = target
            continue
        if length > 63 or at + 1 + length > len(octets) or size + length + 1 > 254:
            raise ValueError("a label is cut short or a name too long")
        size += length + 1
        labels.append(octets[at + 1 : at + 1 + length].decode("ascii"))
        if not _is_plain(labels[-1]):
            raise ValueError("a label that is no text")
        at += 1 + length


def _names_decode(octets: bytes) -> Value:
    names: list[Value] = []
    at = 0
    while at < len(octets):
        name, at = _name_at(octets, at)
        if not name:
            raise ValueError("the root is no name here")
        names.append(name)
    return _some(names)


def _name_decode(octets: bytes) -> Value:
    name, end = _name_at(octets, 0)
    if end != len(octets) or not name:
        raise ValueError("not one name")
    return name


def _sip_encode(value: object) -> bytes:
    """RFC 3361 3: octet 1 before addresses, 0 before names; never both."""
    items = _nonempty(value)
    if all(isinstance(item, str) and _octets4(item) for item in items):
        return b"\1" + b"".join(map(_address_encode, items))
    return b"\0" + b"".join(map(_name_encode, items))


def _sip_decode(octets: bytes) -> Value:
    if octets[:1] == b"\1":
        return ADDRESSES.decode(octets[1:])
    if octets[:1] == b"\0":
        return NAMES.decode(octets[1:])
    raise ValueError("neither names (0) nor addresses (1)")


# --- lists and containers ---------------------------------------------------------------------------------------------


def _nonempty(value: object) -> list[object]:
    """A list of at least one value; a single value counts as such a list."""
    items = value if isinstance(value, list) else [value]
    if not items:
        raise _wrong(value, "a list of at least one value")
    return list(items)


def _some(items: list[Value]) -> Value:
    if not items:
        raise ValueError("no value")
    return items


def _list_of(one: OptionType, width: int, least: int = 1) -> OptionType:
    """A list of values of `width` octets each."""

    def encode(value: object) -> bytes:
        items = _nonempty(value)
        if len(items) < least:
            raise _wrong(value, f"a list of at least {least}")
        return b"".join(map(one.encode, items))

    def decode(octets: bytes) -> Value:
        if len(octets) % width or len(octets) < least * width:
            raise ValueError(f"{len(octets)} octets, not a multiple of {width}")
        return [one.decode(octets[at : at + width]) for at in range(0, len(octets), width)]

    return OptionType(f"a list, each {one.shape}", encode, decode)


def _parts(octets: bytes, width: int) -> list[tuple[int, bytes]]:
    """(number, octets) of parts that each have a number of `width` octets (0: none), a length octet and that many octets."""
    out: list[tuple[int, bytes]] = []
    at = 0
    while at < len(octets):
        start = at + width + 1
        if start > len(octets) or start + octets[start - 1] > len(octets):
            raise ValueError("a part is cut short")
        out.append((int.from_bytes(octets[at : at + width], "big"), octets[start : start + octets[start - 1]]))
        at = start + octets[start - 1]
    return out


def _numbered(width: int, what: str) -> OptionType:
    """A table of numbers and octets: sub-options (width 1), vendors by enterprise number (width 4, RFC 3925)."""
    shape = f'{what} like {{ "1" = {{ hex = "0a0b" }}, "2" = "text" }}, or all of it as {{ hex = "..." }}'

    def encode(value: object) -> bytes:
        whole = octets_of(value)
        if whole:
            return whole
        if not isinstance(value, dict) or not value:
            raise _wrong(value, shape)
        out = b""
        for number, part in value.items():
            octets = part.encode() if isinstance(part, str) else octets_of(part)
            known = isinstance(number, str) and number.isascii() and number.isdigit() and int(number) < 1 << 8 * width
            if octets is None or not known or len(octets) > 255 or (width == 1 and int(number) in (0, 255)):
                raise _wrong({number: part}, shape)
            out += int(number).to_bytes(width, "big") + bytes((len(octets),)) + octets
        return out

    def decode(octets: bytes) -> Value:
        try:
            parts = _parts(octets, width)
        except ValueError:
            if width != 1:
                raise
            return {"hex": octets.hex()}  # sub-options are a custom in option 43, not a rule (RFC 2132 8.4)
        if not octets:
            raise ValueError("no value")
        numbers = {number for number, _ in parts}
        if len(numbers) < len(parts) or (width == 1 and numbers & {0, 255}):
            return {"hex": octets.hex()}
        return {str(number): {"hex": part.hex()} for number, part in parts}

    return OptionType(shape, encode, decode)


def _texts_encode(value: object) -> bytes:
    """RFC 3004: texts, each behind its length."""
    out = b""
    for item in _nonempty(value):
        octets = _text_encode(item)
        if len(octets) > 255:
            raise _wrong(item, "a text of at most 255 octets")
        out += bytes((len(octets),)) + octets
    return out


def _texts_decode(octets: bytes) -> Value:
    return _some([_text_decode(part) for _, part in _parts(octets, 0)])


BOOL = OptionType("true or false", _bool_encode, _bool_decode)
U8, U16, U32 = _number(1), _number(2), _number(4)
I32 = _number(4, signed=True)
ADDRESS = OptionType('an IPv4 address like "10.0.0.1"', _address_encode, _address_decode)
TEXT = OptionType("a text", _text_encode, _text_decode)
OCTETS = OptionType(_OCTETS_SHAPE, _octets_encode, _octets_decode)
EMPTY = OptionType("true", _empty_encode, _empty_decode)
NAME = OptionType(_NAME_SHAPE, _name_encode, _name_decode)
NAMES = OptionType("a list of domain names", lambda value: b"".join(map(_name_encode, _nonempty(value))), _names_decode)
ADDRESSES = _list_of(ADDRESS, 4)
U8S, U16S = _list_of(U8, 1), _list_of(U16, 2)
TTL, MTU, DATAGRAM = _number(1, least=1), _number(2, least=68), _number(2, least=576)
MTUS = _list_of(MTU, 2)
ROUTES = _list_of(OptionType(_ROUTE_SHAPE, _route_encode, lambda octets: _pair_decode(octets, " via ")), 8)
FILTERS = _list_of(
    OptionType(_FILTER_SHAPE, lambda value: _pair_encode(value, "/", _FILTER_SHAPE), lambda octets: _pair_decode(octets, "/")), 8
)
CLASSLESS_ROUTES = OptionType(f"a list, each {_CLASSLESS_SHAPE}", _classless_encode, _classless_decode)
SIP = OptionType("a list of addresses or a list of domain names", _sip_encode, _sip_decode)
SUB_OPTIONS = _numbered(1, "a table of sub-options")
VENDORS = _numbered(4, "a table of enterprise numbers")
TEXTS = OptionType("a list of texts", _texts_encode, _texts_decode)
