"""The ping check: is anybody at an address before it is offered to a client that is new on it (RFC 2131 3.1 step 2, dhcpd's ping-check).

A DISCOVER whose address must be pinged waits here until the address was silent for long enough; then it is decided again. So does a REQUEST
for an address that it was not offered, while a restored database demands the ping (safety.md 15); for ping-check alone none does, as with
dhcpd. What was heard and what was silent is known for a while. In memory only: a client that hears nothing asks again. Knows no socket:
node_probes.py asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import NamedTuple

from failoverd.leases.lease import BindingState, Lease
from failoverd.leases.rights import Rights
from failoverd.notes import declare
from failoverd.ports import ClientDatagram

WAITING = 1000  # messages that wait for a ping at once, so at most as many pings in flight
WAITING_MUST = (
    200  # while nothing but a ping will do: the kernel drops one silently when 1024 neighbours (gc_thresh3) are unresolved for 3 s
)
FRESH_S = 60.0  # a ping, or a client's word, is as good as a new one for so long (dhcpd's ping-cltt-secs)
KNOWN = 10_000  # addresses whose silence is remembered; beyond it the oldest is forgotten
AGAIN_S = 3.0  # a DISCOVER that is older gets no second address to try: its client asks again

PINGING = declare(
    "waiting-for-ping",
    "debug",
    "The answer waits until a ping of its address has stayed without an answer for ping-timeout: an OFFER by ping-check, an OFFER or an ACK"
    " for a new address where a restored database demands it.",
    limited=True,
)
ANSWERED = declare(
    "ping-answered",
    "warning",
    "An address that was to be offered to a client answered a ping: a host uses it without a lease. It rests for the abandon-time, and the"
    " client gets another. Find the host (arping, the switch's tables) and give it a reservation, or take its address out of the pool.",
    limited=True,
)
UNSENT = declare(
    "ping-not-sent",
    "warning",
    "A ping could not be sent; the detail says why (no route to the client's network, a full buffer). The address counts as silent and is"
    " offered, unless a restored database demands the ping.",
    limited=True,
)
TOO_MANY = declare(
    "ping-too-many",
    "warning",
    f"More than {WAITING} clients wait for a ping of their address, or this one asked for another address while one was being pinged for"
    " it; it was not answered, and asks again.",
    limited=True,
)
OVERTAKEN = declare(
    "ping-overtaken",
    "info",
    "A client waited for the ping of an address that another client is to be offered now (more OFFERs were out than are remembered). It"
    " gets no answer, and asks again.",
    limited=True,
)
MUST_PING = declare(
    "ping-needed",
    "warning",
    "The database of this server was restored or rolled back and the partner is away, so an address is given to a client only after a ping;"
    " that could not be sent, and the client was not answered, or by a DHCPNAK if it had chosen this server.",
    limited=True,
)


class Told(NamedTuple):
    """What became of a ping: `heard`, at a mono time."""

    address: int
    heard: bool
    mono: float


@dataclass(slots=True)
class Waiting:
    """A message that waits, the newest of its client. `hw`: as in Lease; `due`: mono at which silence is proven; `must`: nothing but a
    ping will do; `discover`: the message is one."""

    datagram: ClientDatagram
    client: bytes
    hw: bytes
    due: float
    must: bool
    discover: bool


class Probing:
    """Whom we wait for, and what we know."""

    def __init__(self) -> None:
        """Nothing asked yet."""
        self._waiting: dict[int, Waiting] = {}
        self._dues: list[tuple[float, int]] = []
        self._clients: dict[bytes, int] = {}  # client -> the address that is being pinged for it
        self._silent: dict[int, float] = {}
        self.untold: list[Told] = []  # of this step, for a partner that may hear of it

    def needed(self, lease: Lease, client: bytes, rights: Rights, mono: float, *, check: bool) -> bool:
        """Whether an address must be pinged before this client gets it. `check`: ping-check of its subnet.

        Deviation: dhcpd pings the last holder's own address too when it was away for ping-cltt-secs, and abandons it when the client,
        which still uses it, answers."""
        if not check and not rights.probe:
            return False
        if lease.client == client and (lease.state is BindingState.ACTIVE or not rights.probe):
            return False
        silent = self._silent.get(lease.address)
        return silent is None or mono - silent > FRESH_S

    def waits(self, address: int) -> Waiting | None:
        """The message that waits for an address."""
        return self._waiting.get(address)

    @property
    def waiting(self) -> int:
        """How many messages wait."""
        return len(self._waiting)

    def full(self, *, must: bool) -> bool:
        """Nobody else may wait. `must`: nothing but a ping will do."""
        return self.waiting >= (WAITING_MUST if must else WAITING)

    def hold(self, address: int, waiting: Waiting) -> bool:
        """Let a message wait. True when the address is to be pinged now; False when it is being pinged for this client already."""
        earlier = self._waiting.get(address)
        if earlier is not None and earlier.client == waiting.client:
            earlier.datagram, earlier.must, earlier.discover = waiting.datagram, waiting.must, waiting.discover
            return False
        self.take(address)
        self._waiting[address] = waiting
        self._clients[waiting.client] = address
        heappush(self._dues, (waiting.due, address))
        return True

    def take(self, address: int) -> Waiting | None:
        """The message that waited for an address, which waits no more."""
        waiting = self._waiting.pop(address, None)
        if waiting is not None and self._clients.get(waiting.client) == address:
            del self._clients[waiting.client]
        return waiting

    def pinged_for(self, client: bytes) -> int:
        """The address that is being pinged for a client, 0 for none: one at a time, whatever it asks for meanwhile."""
        return self._clients.get(client, 0)

    def silent_until(self, mono: float) -> list[tuple[int, Waiting]]:
        """Those whose address was silent for long enough by now."""
        found = []
        while self.deadline() <= mono:
            due, address = heappop(self._dues)
            waiting = self.take(address)
            assert waiting is not None  # the deadline is one's who waits
            found.append((address, waiting))
            self.silence(address, due)
            self.untold.append(Told(address, False, due))
        return found

    def deadline(self) -> float:
        """When the next one has been silent for long enough (mono)."""
        while self._dues:
            due, address = self._dues[0]
            waiting = self._waiting.get(address)
            if waiting is not None and waiting.due == due:
                return due
            heappop(self._dues)
        return float("inf")

    def silence(self, address: int, mono: float) -> None:
        """Nobody answered there at this time."""
        self._silent.pop(address, None)
        self._silent[address] = mono
        if len(self._silent) > KNOWN:
            del self._silent[next(iter(self._silent))]

    def was_silent(self, address: int, mono: float) -> bool:
        """Whether an answer may still come that counts: we asked lately, and the address went to nobody since."""
        return mono - self._silent.get(address, mono - FRESH_S - 1) <= FRESH_S

    def forget(self, address: int) -> None:
        """Somebody uses the address now, or has answered: it must be asked again."""
        self._silent.pop(address, None)
