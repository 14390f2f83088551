"""Option 81, the client's FQDN: what it says, who shall update the DNS, and what the client is told (RFC 4702, RFC 4703 3).

The value is what RFC 3396 joins, so it may be longer than 255 octets. `read` never raises: a malformed option counts as absent and
has a Note. Which name is right is not decided here, only whose work it is.

Deviation: RFC 4702 3.1 forbids N with S, and Kea drops such a packet; here N counts and S does not.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from failoverd.notes import declare

S, O, E, N = 0x01, 0x02, 0x04, 0x08  # RFC 4702 2.1  # noqa: E741
RCODES = b"\xff\xff"  # RFC 4702 2.2: deprecated, 255 in replies
LABEL_MAX = 63
NAME_MAX = 255

MALFORMED = declare(
    "client-fqdn-malformed",
    "info",
    "Option 81 of a client is no name (RFC 4702 2.3): shorter than three octets, a label longer than 63 octets or past the end, "
    "more than 255 octets in all, or something behind the end of the name. The client is served as if it had not sent the option.",
    limited=True,
)


class Asked(NamedTuple):
    """What a client says. `server`: it wants the server to do the forward update (S). `none`: it wants no updates (N). `wire`: labels,
    not ASCII (E). `labels`: printable text, most specific first, () for "give me a name". `whole`: fully qualified. `name`: the name's
    octets as sent."""

    server: bool
    none: bool
    wire: bool
    labels: tuple[str, ...]
    whole: bool
    name: bytes


class Named(NamedTuple):
    """What was decided about a client's name. `fqdn`, `dns`, `rev`: as in Lease. `hostname`: what the client is told in option 12, ""
    for nothing. `option`: the value of option 81 in the reply, b"" for none. `unusable`: why what it sent cannot be its name."""

    fqdn: str = ""
    dns: int = 0
    rev: str = ""
    hostname: str = ""
    option: bytes = b""
    unusable: str = ""


NAMELESS = Named()


# --- octets -----------------------------------------------------------------------------------------------------------


def read(value: bytes) -> Asked | None:
    """What an option 81 says; None when it is malformed. O and the upper four bits are ignored, and so are the rcodes."""
    if len(value) < 3:
        return None
    flags, name = value[0], value[3:]
    wire = bool(flags & E)
    found = _labels(name) if wire else _ascii(name)
    if found is None:
        return None
    octets, ended = found
    labels = tuple(map(_printable, octets))
    none = bool(flags & N)
    return Asked(bool(flags & S) and not none, none, wire, labels, len(labels) > 1 and (ended or not wire), name)


def _labels(name: bytes) -> tuple[list[bytes], bool] | None:
    """RFC 1035 3.1 without compression; no root label at the end: a partial name."""
    labels: list[bytes] = []
    at = 0
    while at < len(name):
        size = name[at]
        if size == 0:
            return (labels, True) if at + 1 == len(name) <= NAME_MAX else None
        if size > LABEL_MAX or at + 1 + size > len(name):
            return None
        labels.append(name[at + 1 : at + 1 + size])
        at += 1 + size
    return (labels, False) if len(name) < NAME_MAX else None


def _ascii(name: bytes) -> tuple[list[bytes], bool] | None:
    """The deprecated form (RFC 4702 2.3.1). One NUL at the end is dropped, as dhcpd does."""
    text = name.removesuffix(b"\0").strip(b" \t")
    ended = text.endswith(b".")
    text = text.removesuffix(b".")
    if not text:
        return [], ended
    labels = text.split(b".")
    if len(text) + 2 > NAME_MAX or not all(0 < len(label) <= LABEL_MAX for label in labels):
        return None
    return labels, ended


def _printable(label: bytes) -> str:
    """Text that may be shown on an operator's terminal."""
    text = label.decode("utf-8", "replace")
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)


def write(verdict: Verdict, asked: Asked, fqdn: str) -> bytes:
    """The value of option 81 in a reply: the flags, the client's encoding, and the name. `fqdn`: absolute, "" to give back what the
    client sent."""
    name = asked.name
    if fqdn:
        labels = fqdn.encode("ascii").removesuffix(b".").split(b".")
        name = b"".join(bytes((len(label),)) + label for label in labels) + b"\0" if asked.wire else b".".join(labels)
    return bytes((verdict.flags | (E if asked.wire else 0),)) + RCODES + name


# --- whose work it is -------------------------------------------------------------------------------------------------


class Wish(Enum):
    """What a client's flags come to under the policy of its scope."""

    ABSENT = "no option 81"
    SERVER = "S=1: the server shall do it all"
    SELF = "S=0, a whole name: the client does its A record"
    UNNAMED = "S=0, but no whole name that the client could register"
    OVER = "S=0 or N=1, overridden: the server does it all"
    WHITE_LIE = "S=0, the server does it all and keeps that to itself (dhcpd's ignore client-updates)"
    NONE = "N=1: no updates"


class Scope(Enum):
    """What the client's scope allows."""

    BOTH = "forward and reverse"
    FORWARD = "forward only"
    OFF = "no updates"


class Policy(NamedTuple):
    """The keys of a scope that answer option 81. `client_updates`: "allow", "deny" or "ignore", dhcpd's words."""

    scope: Scope = Scope.BOTH
    override_client_update: bool = False
    override_no_update: bool = False
    client_updates: str = "allow"
    reply: bool = True


class Verdict(NamedTuple):
    """Whose work it is: the server's forward and reverse updates, and S, O and N of the reply."""

    forward: bool
    reverse: bool
    flags: int


_BOTH = Verdict(True, True, 0)
_NOTHING = Verdict(False, False, N)

# ddns.md 1.1. O says that S is not what the client asked for (RFC 4702 2.1); N=1 that there are no updates at all.
VERDICTS: dict[tuple[Wish, Scope], Verdict] = {
    (Wish.ABSENT, Scope.BOTH): _BOTH,
    (Wish.ABSENT, Scope.FORWARD): Verdict(True, False, 0),
    (Wish.ABSENT, Scope.OFF): _NOTHING,
    (Wish.SERVER, Scope.BOTH): Verdict(True, True, S),
    (Wish.SERVER, Scope.FORWARD): Verdict(True, False, S),
    (Wish.SERVER, Scope.OFF): Verdict(False, False, O | N),
    (Wish.SELF, Scope.BOTH): Verdict(False, True, 0),
    (Wish.SELF, Scope.FORWARD): _NOTHING,
    (Wish.SELF, Scope.OFF): _NOTHING,
    (Wish.UNNAMED, Scope.BOTH): Verdict(True, True, S | O),
    (Wish.UNNAMED, Scope.FORWARD): Verdict(True, False, S | O),
    (Wish.UNNAMED, Scope.OFF): _NOTHING,
    (Wish.OVER, Scope.BOTH): Verdict(True, True, S | O),
    (Wish.OVER, Scope.FORWARD): Verdict(True, False, S | O),
    (Wish.OVER, Scope.OFF): _NOTHING,
    (Wish.WHITE_LIE, Scope.BOTH): _BOTH,
    (Wish.WHITE_LIE, Scope.FORWARD): Verdict(True, False, 0),
    (Wish.WHITE_LIE, Scope.OFF): _NOTHING,
    (Wish.NONE, Scope.BOTH): _NOTHING,
    (Wish.NONE, Scope.FORWARD): _NOTHING,
    (Wish.NONE, Scope.OFF): _NOTHING,
}


def wish(asked: Asked | None, policy: Policy) -> Wish:
    """What the client's option 81 comes to, None: it has none."""
    if asked is None:
        return Wish.ABSENT
    if asked.none:
        return Wish.OVER if policy.override_no_update else Wish.NONE
    if asked.server:
        return Wish.SERVER
    if policy.client_updates == "ignore":
        return Wish.WHITE_LIE
    if policy.override_client_update or policy.client_updates == "deny":
        return Wish.OVER
    return Wish.SELF if asked.whole else Wish.UNNAMED
