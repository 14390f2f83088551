"""Where the addresses that two clients were granted are kept: the newest of each, a thousand at most, on disk (safety.md 19)."""

from __future__ import annotations

from collections.abc import Iterable

from failoverd.ddns.names import dotted
from failoverd.failover.conflicts import Claim, Conflict
from failoverd.leases.lease import Lease, lease_key
from failoverd.ports import Kind, Origin, Output, Write

KEPT = 1000  # beyond it the oldest is forgotten


class Conflicts:
    """By address, in the order in which they were decided."""

    def __init__(self, stored: Iterable[str]) -> None:
        """From the records of the store."""
        found = sorted(map(Conflict.from_json, stored), key=lambda conflict: (conflict.wall, conflict.address))
        self._by_address: dict[int, Conflict] = {conflict.address: conflict for conflict in found}

    def keep(self, conflict: Conflict, out: Output) -> None:
        """One more, in this step's commit; the same one again is not written."""
        known = self._by_address.get(conflict.address)
        if known is not None and (known.won, known.ours, known.theirs) == (conflict.won, conflict.ours, conflict.theirs):
            return
        self._by_address.pop(conflict.address, None)
        self._by_address[conflict.address] = conflict
        out.writes.append(_write(conflict.address, conflict.to_json(), conflict.won))
        while len(self._by_address) > KEPT:
            oldest = next(iter(self._by_address))
            del self._by_address[oldest]
            out.writes.append(_write(oldest, None, "full"))

    def newest_first(self) -> list[Conflict]:
        """All that are kept."""
        return list(reversed(self._by_address.values()))


def _write(address: int, record: str | None, cause: str) -> Write:
    return Write(Kind.CONFLICT, lease_key(address), record, Origin.PARTNER, cause)


def view(conflict: Conflict) -> dict[str, object]:
    """One conflict as the operator reads it: winner and loser, at which server each was granted."""
    winner, loser = (conflict.ours, conflict.theirs) if conflict.won == "ours" else (conflict.theirs, conflict.ours)
    return {
        "relationship": conflict.relationship,
        "address": dotted(conflict.address),
        "won": conflict.won,
        "winner": _claim(winner),
        "loser": _claim(loser),
        "until": conflict.until,
        "state": conflict.state,
        "wall": conflict.wall,
    }


def rejected(lease: Lease, relationship: str, attempts: int) -> dict[str, object]:
    """An address whose update the partner refused: neither server gives it out until they agree (safety.md 18)."""
    return {
        "relationship": relationship,
        "address": dotted(lease.address),
        "state": lease.state.name.lower(),
        "hw": lease.hw.hex(":"),
        "client_id": lease.client_id.hex(":"),
        "reason": lease.rejected,
        "attempts": attempts,
    }


def _claim(claim: Claim) -> dict[str, object]:
    return {
        "hw": claim.hw.hex(":"),
        "client_id": claim.client_id.hex(":"),
        "cltt": claim.cltt,
        "ends": claim.ends,
        "potential": claim.potential,
    }
