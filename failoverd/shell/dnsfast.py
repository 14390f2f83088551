"""A signed UPDATE in a few microseconds a name: what the rows of leases need, and nothing else.

dnspython takes about 100 microseconds a name, which would be the limit of a batch (ddns.md 4.5). This encoder covers plain names, the
types A, AAAA, PTR, DHCID (and CNAME, TXT without data) and HMAC-SHA256; for everything else it says None and dnspython does the
work. RFC 1035 4.1, RFC 2136 2, RFC 8945 4.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import socket
import struct
from functools import lru_cache

from failoverd.ports import Change, DnsUpdate, Prereq

PLAIN = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,62})\.){1,40}")
TYPES = {"A": 1, "CNAME": 5, "PTR": 12, "TXT": 16, "AAAA": 28, "DHCID": 49}
NONE, ANY, IN = 254, 255, 1
_SOA, _TSIG, _ANY_TYPE = 6, 250, 255
_OPCODE_UPDATE = 5 << 11
_ALGORITHM = b"\x0bhmac-sha256\x00"
_ZONE_AT = b"\xc0\x0c"  # a pointer to the zone's name, which follows the header
NAME_MAX = 255

_LENGTHS = [bytes((length,)) for length in range(64)]
_FIXED = struct.Struct("!HHIH")


class NotCovered(Exception):
    """Something that dnspython has to encode."""


def signed_update(
    update: DnsUpdate, ident: int, key_name: str, secret: bytes, time_s: int, fudge_s: int
) -> tuple[bytes, bytes] | None:
    """The wire form of an UPDATE and its MAC, None when it is not covered. `key_name`: absolute; the key is for HMAC-SHA256."""
    try:
        return _signed(update, ident, key_name, secret, time_s, fudge_s)
    except (NotCovered, struct.error, OSError, binascii.Error, UnicodeEncodeError):
        return None


def _signed(update: DnsUpdate, ident: int, key_name: str, secret: bytes, time_s: int, fudge_s: int) -> tuple[bytes, bytes]:
    zone = name_wire(update.zone)
    suffix = "." + update.zone
    out = [zone, struct.pack("!HH", _SOA, IN)]
    prereqs = 0
    for prereq in update.prereqs:
        prereqs += _prereq(prereq, suffix, out)
    for change in update.changes:
        _change(change, suffix, out)
    body = b"".join(out)
    head = struct.pack("!HHHHH", ident, _OPCODE_UPDATE, 1, prereqs, len(update.changes))
    owner = name_wire(key_name.lower())
    stamp = struct.pack("!HIH", time_s >> 32, time_s & 0xFFFFFFFF, fudge_s)
    said = b"".join((head, b"\0\0", body, owner, b"\0\xff\0\0\0\0", _ALGORITHM, stamp, b"\0\0\0\0"))
    mac = hmac.digest(secret, said, "sha256")
    data = b"".join((_ALGORITHM, stamp, struct.pack("!H", len(mac)), mac, struct.pack("!HHH", ident, 0, 0)))
    return b"".join((head, b"\0\1", body, owner, _FIXED.pack(_TSIG, ANY, 0, len(data)), data)), mac


def name_wire(name: str) -> bytes:
    """A plain absolute name, not compressed. Raises NotCovered."""
    if not PLAIN.fullmatch(name) or len(name) >= NAME_MAX:
        raise NotCovered(name)
    return b"".join([_LENGTHS[len(label)] + label for label in name[:-1].encode("ascii").split(b".")]) + b"\0"


@lru_cache(maxsize=64)
def _owner(name: str, suffix: str) -> bytes:
    """An owner name with the zone's part as a pointer. Three records in a row have the same owner. Raises NotCovered."""
    if name.endswith(suffix):
        return name_wire(name[: 1 - len(suffix)])[:-1] + _ZONE_AT
    return name_wire(name)


def _data(rtype: str, value: str) -> bytes:
    if rtype == "A":
        return socket.inet_pton(socket.AF_INET, value)
    if rtype == "AAAA":
        return socket.inet_pton(socket.AF_INET6, value)
    if rtype == "PTR":
        return name_wire(value)
    if rtype == "DHCID":
        data = base64.b64decode(value, validate=True)
        if data:
            return data
    raise NotCovered(rtype)


def _type(rtype: str) -> int:
    number = TYPES.get(rtype)
    if number is None:
        raise NotCovered(rtype)
    return number


def _prereq(prereq: Prereq, suffix: str, out: list[bytes]) -> int:
    """RFC 2136 2.4; returns how many records it took."""
    owner = _owner(prereq.name, suffix)
    if prereq.op in {"nxdomain", "yxdomain"}:
        out += (owner, _FIXED.pack(_ANY_TYPE, NONE if prereq.op == "nxdomain" else ANY, 0, 0))
        return 1
    number = _type(prereq.rtype)
    if prereq.op == "nxrrset":
        out += (owner, _FIXED.pack(number, NONE, 0, 0))
        return 1
    if prereq.op != "yxrrset" or len(set(prereq.values)) != len(prereq.values):
        raise NotCovered(prereq.op)
    if not prereq.values:
        out += (owner, _FIXED.pack(number, ANY, 0, 0))
        return 1
    for value in prereq.values:
        data = _data(prereq.rtype, value)
        out += (owner, _FIXED.pack(number, IN, 0, len(data)), data)
    return len(prereq.values)


def _change(change: Change, suffix: str, out: list[bytes]) -> None:
    """RFC 2136 2.5."""
    owner = _owner(change.name, suffix)
    if change.op == "del-name":
        out += (owner, _FIXED.pack(_ANY_TYPE, ANY, 0, 0))
        return
    number = _type(change.rtype)
    if change.op == "del-rrset":
        out += (owner, _FIXED.pack(number, ANY, 0, 0))
        return
    if change.op not in {"add", "del-rr"} or not 0 <= change.ttl < 2**31:
        raise NotCovered(change.op)
    data = _data(change.rtype, change.value)
    add = change.op == "add"
    out += (owner, _FIXED.pack(number, IN if add else NONE, change.ttl if add else 0, len(data)), data)
