"""All that may prove a client's ownership of a name: the records that failoverd, dhcpd and Kea would have put there for it.

Data of a predecessor carries other guards than ours (ddns.md 2.1): dhcpd hashes the name in the client's case, an older dhcpd wrote
a TXT record without the name in it ("interim"), and another setting of its took the other identifier. Whoever knows a client can
compute them all; none proves anything about a client that is not known.
"""

from __future__ import annotations

import base64
import hashlib
from typing import NamedTuple

from failoverd.ddns.dhcid import DIGEST_SHA256, TYPE_CLIENT_ID, TYPE_DUID, TYPE_HARDWARE, identifier, rdata

HEX = "0123456789abcdef"
_RFC4361 = 0xFF
_DUID_AT, _DUID_MIN = 5, 5  # dhcpd takes shorter DUIDs than Kea does
_INTERIM_CLIENT_ID, _INTERIM_DUID, _INTERIM_HARDWARE = 61, 2, 0  # what dhcpd mixes into the first two digits


class Guard(NamedTuple):
    """One record that proves ownership. `rtype`: DHCID (text in base64) or TXT (text in quotes, as zone files show it).

    `how`: stored (the lease's own record of it), canonical (RFC 4701, ours and Kea's), as-cased (dhcpd 4.3 and later),
    other-identifier (the client's other identifier, canonical or as-cased), interim (dhcpd's TXT).
    """

    rtype: str
    text: str
    how: str


def guard_candidates(hw: bytes, client_id: bytes, name: str, *, cased: str = "", stored: str = "") -> tuple[Guard, ...]:
    """Every guard that a client may have at a name, the likeliest first, each once.

    `hw`: htype octet + chaddr; `client_id`: option 61 with its type octet; `name`: absolute. `cased`: what the client calls itself,
    with or without domain, for the case of the letters. `stored`: a DHCID (base64) or an interim TXT that was kept with the lease.
    """
    found: dict[tuple[str, str], Guard] = {}

    def put(rtype: str, text: str, how: str) -> None:
        found.setdefault((rtype, text), Guard(rtype, text, how))

    if stored:
        put(*_stored(stored), "stored")
    written = as_cased(name, cased)
    first = identifier(hw, client_id)
    for kind, ident in dict.fromkeys((first, *_identifiers(hw, client_id))):
        if ident:
            mine = (kind, ident) == first
            put("DHCID", base64.b64encode(rdata(kind, ident, name)).decode(), "canonical" if mine else "other-identifier")
            put("DHCID", _cased_dhcid(kind, ident, written), "as-cased" if mine else "other-identifier")
    for text in _interim(hw, client_id):
        put("TXT", f'"{text}"', "interim")
    return tuple(found.values())


def as_cased(name: str, cased: str) -> str:
    """The name with its letters in the client's case; `name` itself when the client calls itself something else."""
    out = []
    given = cased.rstrip(".").split(".")
    for at, label in enumerate(name.rstrip(".").split(".")):
        same = at < len(given) and given[at].lower() == label.lower()
        out.append(given[at] if same else label)
        if not same:
            given = []
    return ".".join(out) + "."


def _stored(text: str) -> tuple[str, str]:
    plain = text.strip('"')
    interim = len(plain) == 34 and all(each in HEX for each in plain)
    return ("TXT", f'"{plain}"') if interim else ("DHCID", plain)


def _identifiers(hw: bytes, client_id: bytes) -> list[tuple[int, bytes]]:
    """What servers with other settings take: the whole client identifier, the DUID in it, the hardware address."""
    out = []
    if client_id:
        out.append((TYPE_CLIENT_ID, client_id))
        if client_id[0] == _RFC4361 and len(client_id) >= _DUID_AT + _DUID_MIN:
            out.append((TYPE_DUID, client_id[_DUID_AT:]))
    if hw:
        out.append((TYPE_HARDWARE, hw))
    return out


def _cased_dhcid(kind: int, ident: bytes, name: str) -> str:
    """As dhcpd computes it: over the wire form of the name in the case in which it is written."""
    wire = b"".join(bytes((len(label),)) + label for label in name.encode("ascii", "replace").rstrip(b".").split(b".")) + b"\0"
    return base64.b64encode(kind.to_bytes(2, "big") + bytes((DIGEST_SHA256,)) + hashlib.sha256(ident + wire).digest()).decode()


def _interim(hw: bytes, client_id: bytes) -> list[str]:
    """dhcpd's TXT: two digits of the identifier's type (the second one modulo 15, an error that all of its versions share), then
    the MD5 of the identifier. The same at every name."""
    out = []
    if client_id:
        out.append((_INTERIM_CLIENT_ID, client_id))
        if client_id[0] == _RFC4361 and len(client_id) >= _DUID_AT + _DUID_MIN:
            out.append((_INTERIM_DUID, client_id[_DUID_AT:]))
    if hw:
        out.append((_INTERIM_HARDWARE, hw))
    return [HEX[kind >> 4 & 15] + HEX[kind % 15] + hashlib.md5(ident, usedforsecurity=False).hexdigest() for kind, ident in out]
