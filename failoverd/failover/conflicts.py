"""The record of an address that two clients were granted: both claims, and which of them stands (safety.md 19).

Says nothing of how it is decided (leases/binding.py) and where it is kept (node_conflicts.py).
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from failoverd.failover.message import Binding
from failoverd.leases.lease import Lease


@dataclass(slots=True, frozen=True)
class Claim:
    """One client's claim on an address. Times UTC seconds; `cltt`: client-last-transaction-time at the server that makes the claim, by
    that server's clock."""

    hw: bytes
    client_id: bytes
    cltt: int
    ends: int
    potential: int


@dataclass(slots=True, frozen=True)
class Conflict:
    """One address, two clients. `ours`: what this server had granted; `theirs`: what the partner told. `won`: "ours" or "theirs", the
    other client is the loser and hears a DHCPNAK at its next renewal. `until`: no third client gets the address before. `state`: ours
    when it was decided, in words. `wall`: when, UTC seconds."""

    relationship: str
    address: int
    won: str
    ours: Claim
    theirs: Claim
    until: int
    state: str
    wall: int

    def to_json(self) -> str:
        """The journal record."""
        raw = asdict(self)
        for claim in ("ours", "theirs"):
            raw[claim] |= {"hw": raw[claim]["hw"].hex(), "client_id": raw[claim]["client_id"].hex()}
        return json.dumps(raw, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Conflict:
        """The conflict of a journal record."""
        raw = json.loads(text)
        for claim in ("ours", "theirs"):
            each = raw[claim]
            raw[claim] = Claim(
                bytes.fromhex(each["hw"]), bytes.fromhex(each["client_id"]), each["cltt"], each["ends"], each["potential"]
            )
        return cls(**raw)


def claim_of(lease: Lease) -> Claim:
    """Ours."""
    return Claim(lease.hw, lease.client_id, lease.cltt, lease.ends, lease.potential)


def claim_told(binding: Binding) -> Claim:
    """The partner's; an absent value is 0 (failover-protocol.md 6.4)."""
    return Claim(binding.hw or b"", binding.client_id or b"", binding.cltt or 0, binding.ends or 0, binding.potential or 0)
