"""ICMP echo (RFC 792): which of some IPv4 addresses answer. For an operator's repair, never on the path of a client."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Iterable

ECHO, ECHO_REPLY = 8, 0
TRIES = 2
WAIT_S = 1.0
SLICE = 64  # sent before the loop serves others again


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def request(ident: int, number: int) -> bytes:
    """An echo request of eight octets and a mark."""
    mark = b"failoverd-probe!"
    head = struct.pack("!BBHHH", ECHO, 0, 0, ident, number)
    return head[:2] + struct.pack("!H", checksum(head + mark)) + head[4:] + mark


async def answering(addresses: Iterable[str], tries: int = TRIES, wait_s: float = WAIT_S) -> set[str]:
    """Those that answer. Raises OSError when this process may not ping at all."""
    asked = sorted(set(addresses))
    found: set[str] = set()
    if not asked:
        return found
    loop, ident = asyncio.get_running_loop(), os.getpid() & 0xFFFF
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.setblocking(False)

        def hear() -> None:
            while True:
                try:
                    data, (host, *_) = sock.recvfrom(2048)
                except (BlockingIOError, InterruptedError):
                    return
                at = (data[0] & 15) * 4 if data else 0
                if len(data) >= at + 8 and data[at] == ECHO_REPLY and data[at + 4 : at + 6] == struct.pack("!H", ident):
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
