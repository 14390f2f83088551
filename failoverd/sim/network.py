"""The networks of a run: TCP connections between the two servers, and datagrams that get lost, doubled and late.

TCP keeps order and loses nothing while both ends live; a cut only delays. A killed process sends its end of file after what was
written; a host without power sends nothing, and its partner learns of it by a reset or by its own timer (a half-open link).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from failoverd.sim.world import World

CONNECT_S = 2.0
BACKOFF_S = 1.0  # after a cut TCP sends again within about this time


class Peer(Protocol):
    """One end's owner: a server."""

    name: str
    up: bool
    powered: bool

    def link_up(self, wire: int, outgoing: bool, relationship: str) -> None:
        """Established."""

    def link_bytes(self, wire: int, data: bytes) -> None:
        """Bytes came."""

    def link_down(self, wire: int, reason: str) -> None:
        """It ended."""

    def connect_failed(self, reason: str, relationship: str) -> None:
        """Nobody answered."""


class Side:
    """One direction of a connection: what its sender has written and its receiver has not read."""

    def __init__(self, sender: Peer, receiver: Peer) -> None:
        """Nothing written."""
        self.sender, self.receiver = sender, receiver
        self.queue: deque[bytes | None] = deque()  # None: end of file
        self.open = True  # the sender's process holds its end
        self.busy = False
        self.silent = False  # the sender's host is gone, and with it what it had written


class Tcp:
    """All connections between two servers."""

    def __init__(self, world: World) -> None:
        """A whole network."""
        self.world = world
        self.rng = world.random("tcp")
        self.cut = False
        self.deaf: Peer | None = None  # what is sent to this one does not arrive: a cut of one way only
        self.delay_s = 0.002
        self.wires: dict[int, tuple[Side, Side]] = {}
        self._number = 0

    def connect(self, caller: Peer, callee: Peer, relationship: str) -> None:
        """The caller dials."""
        if self.cut or self.deaf is not None or not callee.powered:
            self.world.after(CONNECT_S, lambda: self._failed(caller, "timed out", relationship))
        elif not callee.up:
            self.world.after(2 * self._delay(), lambda: self._failed(caller, "connection refused", relationship))
        else:
            self.world.after(2 * self._delay(), lambda: self._connected(caller, callee, relationship))

    def _failed(self, caller: Peer, reason: str, relationship: str) -> None:
        if caller.up:
            caller.connect_failed(reason, relationship)

    def _connected(self, caller: Peer, callee: Peer, relationship: str) -> None:
        if not caller.up:
            return
        if not callee.up or self.cut or self.deaf is not None:
            caller.connect_failed("connection refused", relationship)
            return
        self._number += 1
        self.wires[self._number] = (Side(caller, callee), Side(callee, caller))
        caller.link_up(self._number, True, relationship)
        callee.link_up(self._number, False, relationship)

    def send(self, sender: Peer, wire: int, data: bytes) -> None:
        """Write bytes."""
        side = self._side(sender, wire)
        if side is not None and side.open:
            half = self.rng.randrange(1, len(data)) if len(data) > 1 and self.rng.random() < 0.2 else len(data)
            side.queue.append(data[:half])
            if half < len(data):
                side.queue.append(data[half:])
            self._go(wire, side)

    def close(self, sender: Peer, wire: int, reason: str) -> None:
        """Close one end: what was written arrives, then the end of file."""
        side = self._side(sender, wire)
        if side is None or not side.open:
            return
        side.open = False
        side.queue.append(None)
        self._go(wire, side)
        self.world.after(0.001, lambda: self._down(sender, wire, reason))

    def abort(self, sender: Peer, wire: int) -> None:
        """Close one end without a word to its own process."""
        side = self._side(sender, wire)
        if side is not None and side.open:
            side.open = False
            side.queue.append(None)
            self._go(wire, side)

    def died(self, server: Peer, *, power: bool) -> None:
        """The server's process is gone; with `power` its host, too."""
        for wire, (one, other) in list(self.wires.items()):
            for side in (one, other):
                if side.sender is server and side.open:
                    side.open = False
                    side.silent = power
                    if power:
                        side.queue.clear()
                    else:
                        side.queue.append(None)
                        self._go(wire, side)

    def heal(self) -> None:
        """The cut is over: what stalled goes on."""
        self.cut, self.deaf = False, None
        self.stir()

    def reset(self) -> None:
        """Something between the two breaks every connection: what was on its way is lost, both ends are told."""
        for wire, sides in list(self.wires.items()):
            for side in sides:
                side.queue.clear()
                if side.open:
                    side.open = False
                    self._down(side.sender, wire, "connection reset")

    def stir(self) -> None:
        """Whoever waits for an answer sends again."""
        for wire, sides in list(self.wires.items()):
            for side in sides:
                self._go(wire, side, self.rng.random() * BACKOFF_S)

    def _side(self, sender: Peer, wire: int) -> Side | None:
        pair = self.wires.get(wire)
        if pair is None:
            return None
        return pair[0] if pair[0].sender is sender else pair[1]

    def _delay(self) -> float:
        return self.delay_s * (0.5 + self.rng.random())

    def _go(self, wire: int, side: Side, wait_s: float = 0.0) -> None:
        if side.queue and not side.busy and not self.cut and side.receiver is not self.deaf:
            side.busy = True
            self.world.after(wait_s + self._delay(), lambda: self._arrive(wire, side))

    def _arrive(self, wire: int, side: Side) -> None:
        side.busy = False
        if self.cut or side.receiver is self.deaf or not side.queue:
            return
        back = self._side(side.receiver, wire)
        if back is None:
            return
        if back.silent and not side.receiver.powered:
            return  # nobody there to answer, not even with a reset
        item = side.queue.popleft()
        if not back.open:
            if side.open:  # a reset: the other end is no more
                side.open = False
                side.queue.clear()
                self._down(side.sender, wire, "reset by the partner's host")
            return
        if item is None:
            back.open = False
            self._down(side.receiver, wire, "closed by the partner")
            return
        side.receiver.link_bytes(wire, item)
        self._go(wire, side)

    def _down(self, peer: Peer, wire: int, reason: str) -> None:
        if peer.up:
            peer.link_down(wire, reason)


class Datagrams:
    """UDP: each one is lost, doubled or late by itself."""

    def __init__(self, world: World, part: str) -> None:
        """A good network."""
        self.world = world
        self.rng = world.random(part)
        self.loss = 0.0
        self.double = 0.0
        self.delay_s = 0.002

    def carry(self, deliver: Callable[[], None]) -> None:
        """Send one datagram; `deliver` is called for each copy that arrives."""
        copies = 2 if self.rng.random() < self.double else 1
        for _ in range(copies):
            lost = self.rng.random() < self.loss
            delay = self.rng.expovariate(1 / self.delay_s)
            if not lost:
                self.world.after(delay, deliver)
