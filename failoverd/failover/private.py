"""What two failoverd say to each other about a lease's names: the data of a private option of BNDUPD (ddns.md 4.6).

dhcpd skips every code above 29 unseen (failover-protocol.md 1.3); 30 to 41 are used by others. The option is offered on no link yet: it
may be said and believed only on an authenticated one (safety.md 26). The DHCID needs no bytes, it follows from client and name.

    version     1 octet, 1
    flags       1 octet: the bits below; others are 0, and ignored on receipt
    wish        what the client asked for
    shown       the name that it has in DNS; root: the same as `wish`
    pointer     owner name of its PTR; root: the plain one of the address

Names are in wire form: uncompressed lower-case labels and the root octet, root alone for none.
"""

from __future__ import annotations

from typing import NamedTuple

NAMES = 224
VERSION = 1
LONGEST_NAME = 255  # octets (RFC 1035 2.3.4)
LONGEST_LABEL = 63

_FORWARD_DONE, _REVERSE_DONE, _NO_FORWARD, _NO_REVERSE = 1, 2, 4, 8


class LeaseNames(NamedTuple):
    """The names of one lease. Absolute, lower case, trailing dot; "" for none. `forward_done`, `reverse_done`: the master has confirmed
    what the sender wants. `no_forward`, `no_reverse`: not ours to register."""

    wish: str = ""
    shown: str = ""
    pointer: str = ""
    forward_done: bool = False
    reverse_done: bool = False
    no_forward: bool = False
    no_reverse: bool = False


def encode_names(names: LeaseNames) -> bytes:
    """The data of the option. The names must be such as can stand in a zone: ASCII, labels of at most 63 octets, 255 in all."""
    bits = (
        (_FORWARD_DONE, names.forward_done),
        (_REVERSE_DONE, names.reverse_done),
        (_NO_FORWARD, names.no_forward),
        (_NO_REVERSE, names.no_reverse),
    )
    shown = "" if names.shown == names.wish else names.shown
    flags = sum(bit for bit, is_set in bits if is_set)
    return bytes((VERSION, flags)) + _wire(names.wish) + _wire(shown) + _wire(names.pointer)


def decode_names(data: bytes) -> LeaseNames | None:
    """What the partner says of a lease's names; None when it is malformed or of another version: then nothing is known of them."""
    if len(data) < 2 or data[0] != VERSION:
        return None
    flags, at = data[1], 2
    found: list[str] = []
    for _ in range(3):
        name = _name(data, at)
        if name is None:
            return None
        text, at = name
        found.append(text)
    if at != len(data):
        return None
    wish, shown, pointer = found
    done = bool(flags & _FORWARD_DONE), bool(flags & _REVERSE_DONE)
    return LeaseNames(wish, shown or wish, pointer, *done, bool(flags & _NO_FORWARD), bool(flags & _NO_REVERSE))


def _wire(name: str) -> bytes:
    labels = [label.encode("ascii") for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def _name(data: bytes, at: int) -> tuple[str, int] | None:
    """The name that begins at `at` and where it ends."""
    start, labels = at, []
    while at < len(data) and data[at]:
        length = data[at]
        label = data[at + 1 : at + 1 + length]
        if length > LONGEST_LABEL or len(label) < length or any(not 0x21 <= octet <= 0x7E or octet == 0x2E for octet in label):
            return None
        labels.append(label.decode("ascii").lower())
        at += 1 + length
    if at >= len(data) or at + 1 - start > LONGEST_NAME:
        return None
    return "".join(f"{label}." for label in labels), at + 1
