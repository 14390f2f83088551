"""A proxy between the DNS client and a master that drops, doubles, delays, breaks, replays and forges messages, UDP and TCP.

A request is only ever doubled back to back. A copy of an answered request that is held back and let go later cannot be told from a new
message by any client, nor by BIND; a request that was not answered may come late, and then the row is said again (recheck_at).
"""

from __future__ import annotations

import asyncio
import struct
import time
from random import Random


class Proxy:
    """`bad`: whether faults happen."""

    def __init__(self, master: int, rng: Random) -> None:
        self.master, self.rng = master, rng
        self.bad = True
        self.port = 0
        self.did: dict[str, int] = {}
        self.record: list[tuple[float, str, bytes]] = []  # what reached the master, and what came from it
        self._old: list[bytes] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._udp: asyncio.DatagramTransport | None = None

    async def start(self, port: int) -> None:
        self.port = port
        loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(self._tcp, "127.0.0.1", port)
        proxy = self

        class Front(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
                proxy.keep(proxy.relay(data, addr))

        self._udp, _ = await loop.create_datagram_endpoint(Front, local_addr=("127.0.0.1", port))

    def keep(self, what: object) -> None:
        task = asyncio.get_running_loop().create_task(what)  # type: ignore[var-annotated, arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def passed(self, count: int, within_s: float) -> None:
        """Wait until so many more messages have passed, which is the same on a slow machine, or until the time is up."""
        count += len(self.record)
        end = time.monotonic() + within_s
        while len(self.record) < count:
            if time.monotonic() > end:
                return
            await asyncio.sleep(0.02)

    def stop(self) -> None:
        assert self._server is not None
        assert self._udp is not None
        self._server.close()
        self._udp.close()
        for task in self._tasks:
            task.cancel()

    def _fault(self, *kinds: str) -> str:
        """What happens to one message: mostly nothing. More would only keep the servers waiting for a master that seems dead."""
        kind = self.rng.choice(kinds) if self.bad and self.rng.random() < 0.12 else ""
        self.did[kind] = self.did.get(kind, 0) + 1
        return kind

    @staticmethod
    def broken(wire: bytes) -> bytes:
        """One bit of the MAC is another: id, error and length of other data are the last 6 octets."""
        return wire[:-10] + bytes((wire[-10] ^ 1,)) + wire[-9:]

    async def requests(self, wire: bytes) -> list[bytes]:
        kind = self._fault("drop", "twice", "break", "delay")
        if kind == "delay":
            await asyncio.sleep(self.rng.uniform(0.05, 0.9))
        return {"drop": [], "twice": [wire, wire], "break": [self.broken(wire)]}.get(kind, [wire])

    async def replies(self, wire: bytes) -> list[bytes]:
        kind = self._fault("drop", "twice", "break", "delay", "replay", "forge")
        self._old = [*self._old[-50:], wire]
        if kind == "delay":
            await asyncio.sleep(self.rng.uniform(0.05, 0.9))
        old = self.rng.choice(self._old)
        forged = wire[:2] + struct.pack("!HHHHH", 0xA800 | self.rng.choice([0, 5, 6, 8, 9]), 0, 0, 0, 0)
        wrong = wire[:3] + bytes((wire[3] ^ self.rng.choice([5, 6, 8]),)) + wire[4:]
        out = {"drop": [], "twice": [wire, wire], "break": [self.broken(wire)], "replay": [old, wire[:2] + old[2:], wire]}
        out["forge"] = [forged, wrong, wire] if self.rng.random() < 0.7 else [forged, wrong]
        return out.get(kind, [wire])

    async def relay(self, data: bytes, addr: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        proxy = self

        class Back(asyncio.DatagramProtocol):
            def datagram_received(self, wire: bytes, _: tuple[str, int]) -> None:
                proxy.keep(proxy.back(wire, addr))

        for wire in await self.requests(data):
            transport, _ = await loop.create_datagram_endpoint(Back, remote_addr=("127.0.0.1", self.master))
            self.record.append((time.time(), "UDP", wire))
            transport.sendto(wire)
            loop.call_later(3.0, transport.close)

    async def back(self, wire: bytes, addr: tuple[str, int]) -> None:
        self.record.append((time.time(), "reply", wire))
        for each in await self.replies(wire):
            assert self._udp is not None
            self._udp.sendto(each, addr)

    async def _tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.master)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._pump(reader, up_writer, True), self._pump(up_reader, writer, False))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, up: bool) -> None:
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                wire = await reader.readexactly(length)
                if self.bad and self.rng.random() < 0.05:
                    self.did["cut"] = self.did.get("cut", 0) + 1
                    break
                if not up:
                    self.record.append((time.time(), "reply", wire))
                for each in await (self.requests(wire) if up else self.replies(wire)):
                    if up:
                        self.record.append((time.time(), "TCP", each))
                    writer.write(struct.pack("!H", len(each)) + each)
        except (OSError, asyncio.IncompleteReadError):
            pass
        writer.close()
