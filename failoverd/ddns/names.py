"""Which name a client gets in DNS: pure text in, absolute lower-case name out.

Implements the choice of RFC 1034 host labels from what clients send (option 12, option 81), and the reverse names of
RFC 1035 3.5 and RFC 3596 2.5. Knows nothing of zones, leases or packets. The client's own domain is thrown away, as ISC does
when the server does the forward update.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from typing import NamedTuple

LABEL_MAX = 63  # RFC 1035 2.3.4
NAME_MAX = 255  # octets on the wire, RFC 1035 2.3.4
KEEP_OF_LONG = 56  # + "-" + 6 hex digits of SHA-256 = 63

RESERVED = frozenset({"localhost", "localdomain", "wpad", "isatap", "autodiscover"})
"""Names with a meaning of their own to resolvers and browsers: a client that takes one takes other hosts' traffic."""

_IPV4 = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_INVALID = re.compile(r"[^a-z0-9-]")
_DASHES = re.compile(r"-{2,}")
_UPPER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


class Label(NamedTuple):
    """`text`: one host label, lower case, "" when the name counts as not sent; `why` then says why, "" when nothing was sent."""

    text: str
    why: str = ""


def sanitise(hostname: str) -> Label:
    """The host label in what a client sent; the client's domain is discarded.

    The order is part of the contract (two servers must agree): an address check, the cut at the first dot, lower case, the
    character set, the length. Non-ASCII characters are invalid characters; lower-casing is ASCII only, so no locale matters.
    """
    text = hostname.rstrip("\x00 \t.").lstrip(" \t")
    if not text:
        return Label("")
    if _IPV4.fullmatch(text):
        return Label("", "is an address")
    first = text.split(".", 1)[0].translate(_UPPER)
    if first.startswith("_"):
        return Label("", "begins with an underscore")
    label = _DASHES.sub("-", _INVALID.sub("-", first)).strip("-")
    if not label:
        return Label("", "has no usable character")
    if label in RESERVED:
        return Label("", "is reserved")
    if len(label) > LABEL_MAX:
        digest = hashlib.sha256(hostname.encode("utf-8", "surrogateescape")).hexdigest()
        label = label[:KEEP_OF_LONG] + "-" + digest[:6]
    return Label(label)


def decide_name(hostname: str, address: int, domain: str, template: str) -> str:
    """The forward name of a lease: absolute, lower case, trailing dot; "" for none.

    `hostname` as received, "" when the client sent none. `address`: IPv4 as an integer. `domain`: absolute with trailing dot,
    "" for no forward names. `template`: for clients without a usable name, `{ip}` becomes the dashed address; "" for none.
    """
    if not domain:
        return ""
    label = sanitise(hostname).text
    if not label and template:
        label = sanitise(template.replace("{ip}", dotted(address).replace(".", "-"))).text
    if not label:
        return ""
    name = f"{label}." if domain == "." else f"{label}.{domain.translate(_UPPER)}"
    return name if len(name) + 1 <= NAME_MAX else ""


def dotted(address: int) -> str:
    """An IPv4 address as text. Costs a tenth of `ipaddress`."""
    return f"{address >> 24 & 255}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"


def reverse_name(address: int, family: int = 4) -> str:
    """The owner name of the PTR record: in-addr.arpa for family 4, ip6.arpa (32 nibbles) for family 6."""
    if family == 4:
        return f"{address & 255}.{address >> 8 & 255}.{address >> 16 & 255}.{address >> 24 & 255}.in-addr.arpa."
    return ".".join(reversed(f"{address:032x}")) + ".ip6.arpa."


def reverse_of(rtype: str, text: str) -> str:
    """The PTR owner name of an A or AAAA record; "" for other types and for text that is no address."""
    if rtype not in {"A", "AAAA"}:
        return ""
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return ""
    return reverse_name(int(parsed), parsed.version)
