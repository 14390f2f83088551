"""Persistent TCP connections to DNS servers: one for each, many messages out, answers in any order (RFC 7766 6.2)."""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress

IDLE_S = 20.0  # we close before BIND does (tcp-idle-timeout 30 s), or the next message would meet its reset
_CLOSED = b""


class Stream:
    """One connection. Frames go to those who wait for their id; two messages may share an id, their MACs tell them apart."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._waiting: dict[int, list[asyncio.Queue[bytes]]] = {}
        self.broken = False
        self._task = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                try:
                    header = await asyncio.wait_for(self._reader.readexactly(2), IDLE_S)
                except TimeoutError:
                    if self._waiting:  # those who wait have times of their own
                        continue
                    break
                frame = await self._reader.readexactly(int.from_bytes(header, "big"))
                for queue in self._waiting.get(int.from_bytes(frame[:2], "big"), ()):
                    queue.put_nowait(frame)
        self._end()

    def _end(self) -> None:
        self.broken = True
        self._writer.close()
        for queues in self._waiting.values():
            for queue in queues:
                queue.put_nowait(_CLOSED)

    def send(self, wire: bytes) -> asyncio.Queue[bytes]:
        """Send one message; the queue gets the frames with its id, and an empty one when the connection ended."""
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._waiting.setdefault(int.from_bytes(wire[:2], "big"), []).append(queue)
        self._writer.write(struct.pack("!H", len(wire)) + wire)
        return queue

    def forget(self, wire: bytes, queue: asyncio.Queue[bytes]) -> None:
        """Nobody waits for the answer any more."""
        ident = int.from_bytes(wire[:2], "big")
        queues = self._waiting.get(ident, [])
        if queue in queues:
            queues.remove(queue)
        if not queues:
            self._waiting.pop(ident, None)

    async def close(self) -> None:
        """End it."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._end()


class Streams:
    """The connections, by server."""

    def __init__(self, connect_s: float) -> None:
        self._connect_s = connect_s
        self._open: dict[tuple[str, int], Stream] = {}
        self._opening: dict[tuple[str, int], asyncio.Lock] = {}

    async def get(self, server: tuple[str, int]) -> tuple[Stream, bool]:
        """The connection to a server, and whether it is fresh. Raises OSError or TimeoutError."""
        async with self._opening.setdefault(server, asyncio.Lock()):
            stream = self._open.get(server)
            if stream is not None and not stream.broken:
                return stream, False
            reader, writer = await asyncio.wait_for(asyncio.open_connection(*server), self._connect_s)
            stream = self._open[server] = Stream(reader, writer)
            return stream, True

    async def drop(self, server: tuple[str, int], stream: Stream) -> None:
        """A connection on which an answer did not come is not used again."""
        if self._open.get(server) is stream:
            del self._open[server]
        await stream.close()

    async def close(self) -> None:
        """End all."""
        for server, stream in list(self._open.items()):
            await self.drop(server, stream)
