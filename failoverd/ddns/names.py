"""Which name a client gets in DNS: pure values in, absolute lower-case name out.

Implements the choice of RFC 1034 host labels from what clients send (option 12, option 81), what the operator says of a scope, and the
reverse names of RFC 1035 3.5, RFC 2317 and RFC 3596 2.5. Knows nothing of packets or of what DNS holds.

A pair must agree: whatever decides here is in the shared part of the configuration, and nothing depends on a locale, on a library that
may be missing, or on the order in which clients came.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

LABEL_MAX = 63  # RFC 1035 2.3.4
NAME_MAX = 255  # octets on the wire, RFC 1035 2.3.4
KEEP_OF_LONG = 56  # + "-" + 6 hex digits of SHA-256 = 63

RESERVED = frozenset({"localhost", "localdomain", "wpad", "isatap", "autodiscover"})
"""Names with a meaning of their own to resolvers and browsers: a client that takes one takes other hosts' traffic."""

GENERATED = "dhcp-{ip-dashed}"

_DOTTED = re.compile(r"\.".join([r"(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"] * 4))
_IPV4 = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_INVALID = re.compile(r"[^a-z0-9-]")
_IMPOSSIBLE = re.compile(r"[^a-z0-9_-]")  # whatever a site allows: a dot would be another label, other letters no host name
_DASHES = re.compile(r"-{2,}")
_UPPER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


class Label(NamedTuple):
    """`text`: one host label, lower case, "" when the name counts as not sent; `why` then says why, "" when nothing was sent."""

    text: str
    why: str = ""


class Replace(StrEnum):
    """Whether the generated name stands in the place of the client's; Kea's words."""

    NEVER = "never"
    ALWAYS = "always"
    WHEN_PRESENT = "when-present"
    WHEN_NOT_PRESENT = "when-not-present"


class ClientDomain(StrEnum):
    """What becomes of the domain that a client says it is in."""

    DISCARD = "discard"
    KEEP = "keep"
    KEEP_IF_IN = "keep-if-in"


class Source(StrEnum):
    """Where a name comes from."""

    RESERVATION = "reservation"
    SCOPE = "ddns-hostname"
    FQDN = "option 81"
    HOSTNAME = "option 12"
    CONFIGURED = "host-name"
    GENERATED = "generated"
    NONE = "none"


@dataclass(slots=True, frozen=True)
class Rules:
    """What holds for the names of one scope. `domain`: absolute with trailing dot, "" for no names. `hostname`: a template for
    everybody's name, `template`: for generated names; both of lower-case letters, digits, single dashes and the fields of `_expand`, ""
    for none. `name`: the reservation's, a label or an absolute name. `invalid`: matches characters that become `replacement`.
    `protected`: absolute names that no client gets, or labels that none gets in any domain. `secret`: the key of {hash8}. `option_12`:
    the host-name that the scope configures."""

    domain: str = ""
    name: str = ""
    hostname: str = ""
    template: str = ""
    replace: Replace = Replace.WHEN_NOT_PRESENT
    client_domain: ClientDomain = ClientDomain.DISCARD
    client_domains: tuple[str, ...] = ()
    reverse_for_nameless: bool = False
    invalid: re.Pattern[str] = _INVALID
    replacement: str = "-"
    reserved: frozenset[str] = RESERVED
    protected: frozenset[str] = frozenset()
    secret: bytes = b""
    option_12: str = ""


DEFAULT = Rules()


class Sent(NamedTuple):
    """What a client says of its name. `fqdn`: the labels of option 81; `whole`: fully qualified; `own`: it wants to register its A record
    itself, and may. `hostname`: option 12. `client`: as Lease.client, `hw`: htype octet + chaddr."""

    hostname: str = ""
    fqdn: tuple[str, ...] = ()
    whole: bool = False
    own: bool = False
    client: bytes = b""
    hw: bytes = b""


class NameDecision(NamedTuple):
    """`fqdn`: absolute, lower case, "" for none. `forward`: it may be registered; a name for a PTR alone may not. `own`: it is the name
    that the client registers itself. `why`: why a name that was sent is not used, "" when it is."""

    fqdn: str
    source: Source
    forward: bool = True
    own: bool = False
    why: str = ""


# --- labels -----------------------------------------------------------------------------------------------------------


def sanitise(hostname: str) -> Label:
    """The host label in what a client sent, by the default rules; the client's domain is discarded."""
    text = hostname.rstrip("\x00 \t.").lstrip(" \t")
    return _first(tuple(text.split(".")), text, DEFAULT) if text else Label("")


def _first(labels: tuple[str, ...], text: str, rules: Rules) -> Label:
    """The host label of a name, unless the name means something else. The order is part of the contract: an address check, the cut at
    the first dot, lower case, the character set, the length. Lower-casing is ASCII only; other letters are invalid characters."""
    if len(labels) == 4 and _IPV4.fullmatch(text):
        return Label("", "is an address")
    if labels[0].startswith("_"):
        return Label("", "begins with an underscore")
    label = _clean(labels[0], text, rules)
    if not label:
        return Label("", "has no usable character")
    if label in rules.reserved or label in rules.protected:
        return Label("", "is reserved")
    return Label(label)


def _clean(label: str, text: str, rules: Rules) -> str:
    """One label in the character set, at most 63 long; `text`: the whole name, whose digest tells long names apart."""
    label = label.translate(_UPPER)
    if not (label.isascii() and label.isalnum() and rules.invalid is _INVALID):
        label = _IMPOSSIBLE.sub("-", rules.invalid.sub(rules.replacement, label))
        label = _DASHES.sub("-", label).strip("-")
    if len(label) > LABEL_MAX:
        label = label[:KEEP_OF_LONG].rstrip("-") + "-" + sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:6]
    return label


# --- names ------------------------------------------------------------------------------------------------------------


def decide_name(sent: Sent, address: int, rules: Rules, held: frozenset[str] = frozenset()) -> NameDecision:
    """The name of a client at an address: the reservation's, the scope's, option 81, option 12, the configured host-name, a generated
    one; the first that can be used. `held`: absolute names that no client may have (the apex of a zone, its NS and MX hosts)."""
    if not rules.domain and not rules.name.endswith("."):
        return NameDecision("", Source.NONE)
    if rules.name:
        name = rules.name if rules.name.endswith(".") else _join(_clean(rules.name, rules.name, rules), rules.domain)
        return _allowed(name, Source.RESERVATION, held)
    found, why = _asked(sent, address, rules, held)
    replace = rules.replace
    present = found is not None
    if replace is Replace.ALWAYS or (replace is Replace.WHEN_PRESENT and present):
        return _generated(sent, address, rules, held)
    if found is not None:
        return found._replace(why=why) if why else found
    if replace is Replace.WHEN_NOT_PRESENT and rules.template:
        return _generated(sent, address, rules, held)._replace(why=why)
    if rules.reverse_for_nameless:
        return _generated(sent, address, rules, held)._replace(forward=False, why=why)
    return NameDecision("", Source.NONE, why=why)


def _asked(sent: Sent, address: int, rules: Rules, held: frozenset[str]) -> tuple[NameDecision | None, str]:
    """Steps 2 and 3: what the scope or the client says. The text says why the first name that was sent is not used."""
    if rules.hostname:
        name = _expand(rules.hostname, sent, address, rules)
        return (NameDecision(name, Source.SCOPE), "") if name and name not in held else (None, "")
    reason = ""
    if sent.fqdn:
        found, reason = _sent(sent.fqdn, sent.whole, Source.FQDN, rules, held, own=sent.own)
        if found is not None:
            return found, ""
    for text, source in ((sent.hostname, Source.HOSTNAME), (rules.option_12, Source.CONFIGURED)):
        text = text.rstrip("\x00 \t.").lstrip(" \t")
        if text:
            labels = tuple(text.split("."))
            found, why = _sent(labels, len(labels) > 1, source, rules, held)
            if found is not None:
                return found, reason
            reason = reason or why
    return None, reason


def _sent(
    labels: tuple[str, ...], whole: bool, source: Source, rules: Rules, held: frozenset[str], *, own: bool = False
) -> tuple[NameDecision | None, str]:
    """One name that somebody sent, made usable, or why not."""
    text = ".".join(labels)
    label, why = _first(labels, text, rules)
    if not label:
        return None, f"{text[:NAME_MAX]!r} {why}"
    if len(labels) == 1 or not (own or rules.client_domain is not ClientDomain.DISCARD):
        name = _join(label, rules.domain)
    else:
        name = _join(label, _domain(labels[1:], text, whole, own, rules))
    if not name or name in rules.protected or name in held:
        return None, f"{text[:NAME_MAX]!r} {'is protected' if name else 'is too long'}"
    return NameDecision(name, source, own=own), ""


def _domain(rest: tuple[str, ...], text: str, whole: bool, own: bool, rules: Rules) -> str:
    """The domain of a name with one of its own: the client's, when it registers the name itself or may keep it, else the scope's. A
    partial name is completed, but never with a suffix that it has already."""
    labels = [_clean(label, text, rules) for label in rest]
    if not all(labels):
        return rules.domain
    domain = ".".join(labels) + "."
    if not whole and not _under(domain, rules.domain):
        domain += rules.domain
    keep = own or rules.client_domain is ClientDomain.KEEP or any(_under(domain, each) for each in rules.client_domains)
    return domain if keep else rules.domain


def _under(name: str, domain: str) -> bool:
    return name == domain or name.endswith("." + domain)


def _join(label: str, domain: str) -> str:
    """An absolute name, "" when it would be longer than a name may be."""
    name = f"{label}." if domain == "." else f"{label}.{domain}"
    return name if label and len(name) + 1 <= NAME_MAX else ""


def _allowed(name: str, source: Source, held: frozenset[str]) -> NameDecision:
    """A name that the operator says; only what would take a zone or its servers away is refused."""
    if not name or name in held:
        return NameDecision(
            "", Source.NONE, why=f"{name or 'the name'} {'is the name of a zone or its server' if name else 'is too long'}"
        )
    return NameDecision(name, source)


def _generated(sent: Sent, address: int, rules: Rules, held: frozenset[str]) -> NameDecision:
    name = _expand(rules.template or GENERATED, sent, address, rules)
    if not name or name in rules.protected or name in held:
        return NameDecision("", Source.NONE)
    return NameDecision(name, Source.GENERATED)


def _expand(template: str, sent: Sent, address: int, rules: Rules) -> str:
    """A template with its fields filled in, in the scope's domain; "" when a field is unknown (a client without a hardware address).
    Templates are made of legal characters, and so are the fields."""
    text = template
    if "{ip" in text:
        dashed = f"{address >> 24 & 255}-{address >> 16 & 255}-{address >> 8 & 255}-{address & 255}"
        text = text.replace("{ip}", dashed).replace("{ip-dashed}", dashed)
    if "{mac}" in text:
        if len(sent.hw) < 2:
            return ""
        text = text.replace("{mac}", sent.hw[1:].hex())
    if "{hash8}" in text:
        if not sent.client:
            return ""
        text = text.replace("{hash8}", hash8(rules.secret, sent.client))
    return _join(text if len(text) <= LABEL_MAX else _clean(text, text, rules), rules.domain)


def hash8(secret: bytes, client: bytes) -> str:
    """Eight hex digits that tell clients apart and tell nobody who they are: HMAC-SHA256 under the site's secret (a plain digest of a
    hardware address is undone by trying all of them)."""
    return hmac.digest(secret, client, "sha256")[:4].hex()


# --- addresses --------------------------------------------------------------------------------------------------------


def dotted(address: int) -> str:
    """An IPv4 address as text. Costs a tenth of `ipaddress`."""
    return f"{address >> 24 & 255}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"


def reverse_name(address: int, family: int = 4) -> str:
    """The owner name of the PTR record: in-addr.arpa for family 4, ip6.arpa (32 nibbles) for family 6."""
    if family == 4:
        return f"{address & 255}.{address >> 8 & 255}.{address >> 16 & 255}.{address >> 24 & 255}.in-addr.arpa."
    return ".".join(reversed(f"{address:032x}")) + ".ip6.arpa."


class ReverseMap(NamedTuple):
    """RFC 2317: the PTR records of a prefix stand at other names, to which the parent zone's CNAMEs lead. `name`: a template with {a}.{b}.
    {c}.{d}, the octets of the address; absolute, lower case; "": where the CNAMEs lead is to be asked (follow.py)."""

    prefix: int
    length: int
    name: str

    def holds(self, address: int) -> bool:
        """Whether the address lies in the prefix."""
        return (address ^ self.prefix) >> (32 - self.length) == 0

    def owner(self, address: int) -> str:
        """The owner name of the PTR record of an address."""
        name = self.name
        for field, shift in (("{a}", 24), ("{b}", 16), ("{c}", 8), ("{d}", 0)):
            name = name.replace(field, str(address >> shift & 255))
        return name


def mapped_name(address: int, maps: tuple[ReverseMap, ...]) -> str:
    """The owner name of the PTR record where a map says so, "" for the plain one. `maps`: longest prefix first."""
    for each in maps:
        if each.holds(address):
            return each.owner(address)
    return ""


def reverse_of(rtype: str, text: str) -> str:
    """The PTR owner name of an A or AAAA record; "" for other types and for text that is no address."""
    if rtype not in {"A", "AAAA"}:
        return ""
    if rtype == "A" and (octets := _DOTTED.fullmatch(text)):  # asked four times for each name of a backlog: ipaddress takes 8 us
        return ".".join((*octets.groups()[::-1], "in-addr.arpa."))
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return ""
    return reverse_name(int(parsed), parsed.version)
