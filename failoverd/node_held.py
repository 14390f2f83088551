"""Zero-loss mode: a DHCPACK waits until the partner has acked the binding update, for a limited time (isc-behaviour.md, successor 9).

Without it an ACK leaves before the partner knows of the lease (lazy update): a server that dies with its disk in that instant takes the
lease along. What is held here is in memory only: a client that hears nothing asks again.
"""

from __future__ import annotations

from collections.abc import Callable
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
    " and at the network between the two.",
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
    """By address: the oldest ACK that waits, and the newest. A client that repeats its REQUEST makes a new one each time; if that took the
    place of the oldest, a client that repeats faster than the partner acks would never hear one."""

    def __init__(self) -> None:
        """Nothing waits."""
        self._by_address: dict[int, list[Held]] = {}

    def hold(self, lease: Lease, relationship: str, send: ClientSend, due: float) -> bool:
        """Keep an ACK back; False when too many wait already."""
        if len(self._by_address) >= HELD and lease.address not in self._by_address:
            return False
        waiting = [held for held in self._by_address.get(lease.address, []) if held.client == lease.client][:1]
        new = Held(send, relationship, lease.client, lease.ends, lease.generation, due)
        self._by_address[lease.address] = [*waiting, new]
        return True

    def answered(self, address: int, generation: int) -> list[Held]:
        """The partner has answered an update: the ACKs that waited for it, or for an earlier one, the oldest first."""
        waiting = self._by_address.get(address, [])
        found = [held for held in waiting if held.generation <= generation]
        self._keep(address, [held for held in waiting if held.generation > generation])
        return found

    def overdue(self, mono: float) -> list[tuple[int, Held]]:
        """Those whose time is up."""
        return self._take(lambda held: held.due <= mono)

    def of(self, relationship: str) -> list[tuple[int, Held]]:
        """All of a relationship: the partner answers no more."""
        return self._take(lambda held: held.relationship == relationship)

    def deadline(self) -> float:
        """When the next one's time is up (mono)."""
        return min((waiting[0].due for waiting in self._by_address.values()), default=float("inf"))

    def _take(self, wanted: Callable[[Held], bool]) -> list[tuple[int, Held]]:
        found = [(address, held) for address, waiting in self._by_address.items() for held in waiting if wanted(held)]
        for address, held in found:
            self._keep(address, [each for each in self._by_address[address] if each is not held])
        return found

    def _keep(self, address: int, waiting: list[Held]) -> None:
        if waiting:
            self._by_address[address] = waiting
        else:
            self._by_address.pop(address, None)


def stands(held: Held, address: int, table: LeaseTable) -> bool:
    """Whether what the ACK promises is still so."""
    lease = table.get(address)
    return lease.state is BindingState.ACTIVE and lease.client == held.client and lease.ends >= held.ends
