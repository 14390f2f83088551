"""ICMP echo (RFC 792): which IPv4 addresses answer. `answering` for an operator's repair; `Pinger` for the node's ping check.

The Pinger has one socket and no task: what it was asked leaves at once, who answers is heard before each beat. How long an answer is
waited for is the node's.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Iterable

from failoverd.ports import ProbeAnswer
from failoverd.shell import clock

ECHO, ECHO_REPLY = 8, 0
TRIES = 2
WAIT_S = 1.0
SLICE = 64  # sent before the loop serves others again
LATE_S = 10.0  # an answer that comes later is nobody's
ASKED = 20_000  # addresses whose answer is awaited at once; beyond it the oldest is forgotten
READ_AT_ONCE = 256  # datagrams in one beat
SEND_ROOM, HEAR_ROOM = 4 << 20, 1 << 20  # octets: a ping of an address that nobody has stays in ARP's queue for 3 s
SOL_RAW, ICMP_FILTER = 255, 1  # linux/icmp.h
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33  # socket(7)
MARK = b"failoverd-probe!"


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def request(ident: int, number: int, mark: bytes = MARK) -> bytes:
    """An echo request of eight octets and a mark of an even length."""
    head = struct.pack("!BBHHH", ECHO, 0, 0, ident, number)
    return head[:2] + struct.pack("!H", checksum(head + mark)) + head[4:] + mark


def is_reply(data: bytes, ident: int, mark: bytes = MARK) -> bool:
    """Whether an IPv4 datagram is the answer to a request of ours."""
    at = (data[0] & 15) * 4 if data else 0
    return (
        len(data) >= at + 8
        and data[at] == ECHO_REPLY
        and data[at + 4 : at + 6] == struct.pack("!H", ident)
        and data[at + 8 :] == mark
    )


def _open() -> socket.socket:
    """A raw socket that hears echo replies only. OSError when this process may not ping."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    sock.setsockopt(SOL_RAW, ICMP_FILTER, struct.pack("I", ~(1 << ECHO_REPLY) & 0xFFFFFFFF))
    sock.setblocking(False)
    return sock


class Pinger:
    """The node's probes. `deliver`: what is known outside of a beat; `mono`: CLOCK_BOOTTIME."""

    def __init__(self, deliver: Callable[[ProbeAnswer], None], mono: Callable[[], float] = lambda: clock.read().mono) -> None:
        """Closed."""
        self._deliver, self._mono = deliver, mono
        self._sock: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ident = int.from_bytes(os.urandom(2), "big")
        self._mark = os.urandom(16)  # nobody can answer what he was not asked
        self._number = 0
        self._asked: dict[int, float] = {}

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """OSError when this process may not ping."""
        self._sock, self._loop = _open(), loop
        for force, ordinary, room in (
            (SO_SNDBUFFORCE, socket.SO_SNDBUF, SEND_ROOM),
            (SO_RCVBUFFORCE, socket.SO_RCVBUF, HEAR_ROOM),
        ):
            try:
                self._sock.setsockopt(socket.SOL_SOCKET, force, room)
            except PermissionError:
                self._sock.setsockopt(socket.SOL_SOCKET, ordinary, room)
        loop.add_reader(self._sock.fileno(), self._readable)

    def close(self) -> None:
        """No more answers."""
        if self._sock is not None and self._loop is not None:
            self._loop.remove_reader(self._sock.fileno())
            self._sock.close()
            self._sock = None

    def send(self, address: int) -> None:
        """Ask. A ping that cannot leave is answered at once: nobody heard, and why."""
        mono = self._mono()
        self._number = (self._number + 1) & 0xFFFF
        try:
            if self._sock is None:
                raise OSError("the socket is closed")
            self._sock.sendto(request(self._ident, self._number, self._mark), (socket.inet_ntoa(address.to_bytes(4, "big")), 0))
        except OSError as error:
            self._deliver(ProbeAnswer(address, False, mono, error.strerror or str(error)))
            return
        self._asked.pop(address, None)
        self._asked[address] = mono
        if len(self._asked) > ASKED:
            del self._asked[next(iter(self._asked))]

    def heard(self) -> list[ProbeAnswer]:
        """Who has answered since; costs nothing while nobody is asked."""
        if not self._asked:
            return []
        mono, found = self._mono(), list[ProbeAnswer]()
        while self._asked:
            oldest = next(iter(self._asked))
            if mono - self._asked[oldest] <= LATE_S:
                break
            del self._asked[oldest]
        if self._sock is None or not self._asked:
            return found
        for _ in range(READ_AT_ONCE):
            try:
                data, (host, *_) = self._sock.recvfrom(2048)
            except OSError:  # nothing there, or an ICMP error that the kernel hands out
                break
            address = int.from_bytes(socket.inet_aton(host), "big")
            if is_reply(data, self._ident, self._mark) and self._asked.pop(address, None) is not None:
                found.append(ProbeAnswer(address, True, mono))
        return found

    def _readable(self) -> None:
        """Between two beats."""
        if self._asked:
            for each in self.heard():
                self._deliver(each)
            return
        try:  # nobody is asked: what is there was asked by another program
            assert self._sock is not None
            self._sock.recv(2048)
        except OSError:
            return


async def answering(addresses: Iterable[str], tries: int = TRIES, wait_s: float = WAIT_S) -> set[str]:
    """Those that answer. Raises OSError when this process may not ping at all."""
    asked = sorted(set(addresses))
    found: set[str] = set()
    if not asked:
        return found
    loop, ident = asyncio.get_running_loop(), os.getpid() & 0xFFFF
    with _open() as sock:

        def hear() -> None:
            while True:
                try:
                    data, (host, *_) = sock.recvfrom(2048)
                except (BlockingIOError, InterruptedError):
                    return
                if is_reply(data, ident):
                    found.add(host)

        loop.add_reader(sock.fileno(), hear)
        try:
            for number in range(tries):
                for at, host in enumerate(each for each in asked if each not in found):
                    try:
                        sock.sendto(request(ident, number), (host, 0))
                    except BlockingIOError:
                        await asyncio.sleep(0.01)
                    except OSError:
                        continue  # no way to it, so nobody answers there
                    if at % SLICE == SLICE - 1:
                        await asyncio.sleep(0.01)
                await asyncio.sleep(wait_s)
        finally:
            loop.remove_reader(sock.fileno())
    return found & set(asked)
