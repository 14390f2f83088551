"""One lease: the facts that are kept about an address, and its form on disk.

All times are UTC seconds since 1970, 0 for "never set"; NEVER for an infinite lease (RFC 2131 3.3). The words are the draft's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any

_encode = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps would build an encoder each time

NEVER = 0x7FFFFFFF  # ISC's "never expires" (failover-protocol.md 3.1, option 13)
FLAG_RESERVED = 0x0001
FLAG_BOOTP = 0x0002

NO_FORWARD = 1  # the client registers its own address record, or only the PTR has a name (Lease.dns)
NO_REVERSE = 2


class BindingState(IntEnum):
    """draft-12 12.3; the numbers are the wire's."""

    FREE = 1
    ACTIVE = 2
    EXPIRED = 3
    RELEASED = 4
    ABANDONED = 5
    RESET = 6
    BACKUP = 7


@dataclass(slots=True)
class Lease:
    """The binding of one address. Treat as a value: a change is `evolve`d and goes through `node._change`.

    `ends`               our view of the client's lease end (option 13)
    `potential`          the potential expiry that we tell the partner next, or told last (tstp, option 18)
    `acked`              potential expiry that the partner acked, or that it sent: base of the MCLT rule (tsfp); lowered as soon as
                         we announce less
    `acked_end`          the lease end that the partner acked or sent (what a dhcpd partner goes by)
    `horizon`            newest of every end and potential expiry ever sent, acked or received: never lowered (safety.md 12)
    `not_before`         no other client before this time (safety.md 15)
    `disputed`           two clients were granted this address: no third before this time, the latest end and potential expiry of both
                         (safety.md 19)
    `cltt`               when the client last spoke to this server; `partner_cltt`: to the partner, as told
    `rewind`             the last state that the partner may know of (safety.md 13)
    `owed`               the partner has not acked our current view
    `rejected`           reject code of our last update for this address, 0 for none
    """

    address: int
    state: BindingState = BindingState.FREE
    flags: int = 0
    hw: bytes = b""  # htype octet, then chaddr (as in option 5 of the failover protocol)
    client_id: bytes = b""
    starts: int = 0
    ends: int = 0
    potential: int = 0
    acked: int = 0
    acked_end: int = 0
    horizon: int = 0
    not_before: int = 0
    disputed: int = 0
    cltt: int = 0
    partner_cltt: int = 0
    rewind: BindingState = BindingState.FREE
    owed: bool = False
    rejected: int = 0
    hostname: str = ""  # what the client or its reservation asked for (option 12, option 81), as received
    fqdn: str = ""  # the name chosen for DNS, absolute with trailing dot; "" when none
    dns: int = 0  # what of it is not ours to register: NO_FORWARD, NO_REVERSE
    rev: str = ""  # owner name of the PTR record where it is not the plain one of the address (RFC 2317); removal goes by it
    agent: bytes = b""  # relay agent information (option 82) of the last request, for the record
    generation: int = 0  # counts changes of this record

    def evolve(self, **changes: Any) -> Lease:
        """A copy with some fields changed. Costs about 2 us: `dataclasses.replace` runs __init__ and costs three times that."""
        new = object.__new__(Lease)
        for name in _NAMES:
            setattr(new, name, getattr(self, name))
        for name, value in changes.items():
            setattr(new, name, value)
        return new

    @property
    def client(self) -> bytes:
        """The key that tells clients apart: b"\\x01" + client-id, or b"\\x00" + hardware address (RFC 2131 4.2); b"" for nobody."""
        if self.client_id:
            return b"\x01" + self.client_id
        return b"\x00" + self.hw if self.hw else b""

    def to_json(self) -> str:
        """The journal record. Fields that hold their default are left out."""
        out: dict[str, object] = {"address": self.address, "state": int(self.state)}
        for name in _INTS:
            value = getattr(self, name)
            if value:
                out[name] = int(value)
        for name in _BYTES:
            value = getattr(self, name)
            if value:
                out[name] = value.hex()
        if self.hostname:
            out["hostname"] = self.hostname
        if self.fqdn:
            out["fqdn"] = self.fqdn
        if self.rev:
            out["rev"] = self.rev
        return _encode(out)

    @classmethod
    def from_json(cls, text: str) -> Lease:
        """The lease of a journal record. Unknown keys are an error: a newer version wrote them."""
        raw: dict[str, Any] = json.loads(text)
        lease = cls(raw.pop("address"), BindingState(raw.pop("state")))
        for name, value in raw.items():
            if name in _BYTES_SET:
                setattr(lease, name, bytes.fromhex(value))
            elif name == "rewind":
                lease.rewind = BindingState(value)
            elif name == "owed":
                lease.owed = bool(value)
            elif name in _NAMES:
                setattr(lease, name, value)
            else:
                raise ValueError(f"unknown lease field {name!r}")
        return lease


_NAMES = tuple(f.name for f in fields(Lease))
_BYTES = ("hw", "client_id", "agent")
_BYTES_SET = frozenset(_BYTES)
_INTS = tuple(n for n in _NAMES if n not in {"address", "state", "hostname", "fqdn", "rev", *_BYTES})


def virgin(address: int) -> Lease:
    """The lease of an address that was never used: FREE, the primary's, not a row."""
    return Lease(address)


def lease_key(address: int, family: int = 4) -> bytes:
    """The store's key: family octet, then the address in network order."""
    return bytes((family,)) + address.to_bytes(4 if family == 4 else 16, "big")
