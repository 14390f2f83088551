"""The DHCID record (RFC 4701): which client owns a name.

rdata = identifier type (2 octets) + digest type 1 (SHA-256) + SHA-256(identifier + name in lower-case wire form). The name is
always lower-cased. Deviation: dhcpd hashes the name in the client's case, so its record for a mixed-case host differs from ours.
"""

from __future__ import annotations

import base64
import hashlib

DIGEST_SHA256 = 1
TYPE_HARDWARE = 0  # htype octet + chaddr
TYPE_CLIENT_ID = 1  # the whole option 61
TYPE_DUID = 2  # the DUID inside an RFC 4361 client identifier

_RFC4361 = 0xFF
_DUID_AT = 5  # after the 255 and the IAID
_DUID_MIN, _DUID_MAX = 6, 135


def identifier(hw: bytes, client_id: bytes) -> tuple[int, bytes]:
    """(identifier type, identifier) of a client; the client identifier is preferred (as ISC and Kea do).

    `hw`: htype octet + chaddr; `client_id`: option 61 with its type octet. A client identifier that begins with 255 but holds no
    DUID of a legal length proves nothing, the hardware address stands in for it. (0, b"") for a client with neither.
    """
    if client_id:
        if client_id[0] != _RFC4361:
            return TYPE_CLIENT_ID, client_id
        if _DUID_MIN <= len(client_id) - _DUID_AT <= _DUID_MAX:
            return TYPE_DUID, client_id[_DUID_AT:]
    return TYPE_HARDWARE, hw


def rdata(kind: int, ident: bytes, name: str) -> bytes:
    """The 35 octets of the record. `name`: absolute, any case, ASCII."""
    digest = hashlib.sha256(ident + name_wire(name)).digest()
    return kind.to_bytes(2, "big") + bytes((DIGEST_SHA256,)) + digest


def guard(hw: bytes, client_id: bytes, name: str) -> str:
    """The DHCID of a client at a name in base64, as zone files and UPDATE values show it; "" for a client without identity."""
    kind, ident = identifier(hw, client_id)
    return base64.b64encode(rdata(kind, ident, name)).decode("ascii") if ident else ""


def identifier_type(text: str) -> int:
    """The identifier type of a DHCID in base64, -1 for what is none."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return -1
    return int.from_bytes(raw[:2], "big") if len(raw) > 3 else -1


def short_digest(text: str) -> str:
    """4 hex digits of the digest of a DHCID in base64: what tells one client's name from another's when all numbers are taken."""
    return base64.b64decode(text)[3:5].hex()


def name_wire(name: str) -> bytes:
    """An absolute name as uncompressed lower-case labels with the root octet."""
    out = bytearray()
    for label in name.rstrip(".").lower().split("."):
        if label:
            raw = label.encode("ascii")
            out.append(len(raw))
            out += raw
    out.append(0)
    return bytes(out)
