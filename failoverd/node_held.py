"""Zero-loss mode: a DHCPACK waits until the partner has acked the binding update, for a limited time (isc-behaviour.md, successor 9).

Without it an ACK leaves before the partner knows of the lease (lazy update): a server that dies with its disk in that instant takes the
lease along. What is held here is in memory only: a client that hears nothing asks again.
"""

from __future__ import annotations

from typing import NamedTuple

from failoverd.leases.lease import BindingState, Lease
from failoverd.leases.table import LeaseTable
from failoverd.notes import declare
from failoverd.ports import ClientSend

HELD = 10_000  # ACKs that wait at once; beyond it they leave without waiting

LATE = declare(
    "ack-before-partner",
    "warning",
    "Zero-loss mode: the partner did not ack a binding update in time, so the DHCPACK left without it. If this repeats, look at the partner"
    " and at the network between the two; a dhcpd partner acks after up to 2 s.",
    limited=True,
)
VOID = declare(
    "ack-void",
    "info",
    "Zero-loss mode: while a DHCPACK waited, the address became another client's or ended; it was not sent, and the client asks again.",
    limited=True,
)


class Held(NamedTuple):
    """One ACK that waits. `generation`: of the lease that it promises; `due`: mono time at which it leaves in any case."""

    send: ClientSend
    relationship: str
    client: bytes
    ends: int
    generation: int
    due: float


class HeldAcks:
    """By address: a newer ACK takes the place of an older one."""

    def __init__(self) -> None:
        """Nothing waits."""
        self._by_address: dict[int, Held] = {}

    def hold(self, lease: Lease, relationship: str, send: ClientSend, due: float) -> bool:
        """Keep an ACK back; False when too many wait already."""
        if len(self._by_address) >= HELD and lease.address not in self._by_address:
            return False
        self._by_address.pop(lease.address, None)
        self._by_address[lease.address] = Held(send, relationship, lease.client, lease.ends, lease.generation, due)
        return True

    def answered(self, address: int, generation: int) -> Held | None:
        """The partner has answered an update: the ACK that waited for it, or for an earlier one."""
        held = self._by_address.get(address)
        if held is None or generation < held.generation:
            return None
        return self._by_address.pop(address)

    def overdue(self, mono: float) -> list[tuple[int, Held]]:
        """Those whose time is up."""
        found = [(address, held) for address, held in self._by_address.items() if held.due <= mono]
        for address, _ in found:
            del self._by_address[address]
        return found

    def of(self, relationship: str) -> list[tuple[int, Held]]:
        """All of a relationship: the partner answers no more."""
        found = [(address, held) for address, held in self._by_address.items() if held.relationship == relationship]
        for address, _ in found:
            del self._by_address[address]
        return found

    def deadline(self) -> float:
        """When the next one's time is up (mono)."""
        return min((held.due for held in self._by_address.values()), default=float("inf"))


def stands(held: Held, address: int, table: LeaseTable) -> bool:
    """Whether what the ACK promises is still so."""
    lease = table.get(address)
    return lease.state is BindingState.ACTIVE and lease.client == held.client and lease.ends >= held.ends
