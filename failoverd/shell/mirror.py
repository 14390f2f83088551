"""The mirror: copies of zones in a process of their own, so that a transfer and a comparison of 100,000 names cost the server nothing
but the handing over of rows and leases, a page at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

from failoverd.ddns.zone import Zone

LINE_MAX = 16 << 20
IDLE_S = 600.0  # after that the copies go, and the next audit begins with an AXFR
ANSWER_S = 1200.0


class MirrorFailed(Exception):
    """The other process could not do it; the text says why."""


class Mirror:
    """The other process, started when it is first needed. One request at a time."""

    def __init__(self, idle_s: float = IDLE_S) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._idle_s = idle_s
        self._idle: asyncio.TimerHandle | None = None

    async def tell(self, **request: Any) -> None:
        """Hand something over; nothing is answered."""
        process = await self._running()
        assert process.stdin is not None
        process.stdin.write(json.dumps(request, separators=(",", ":")).encode() + b"\n")
        try:
            await process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            await self._gone()

    async def ask(self, **request: Any) -> AsyncIterator[dict[str, Any]]:
        """Ask; every answer, the last one is that with `done`. Raises MirrorFailed."""
        await self.tell(**request)
        process = await self._running()
        assert process.stdout is not None
        while True:
            try:
                line = await asyncio.wait_for(process.stdout.readline(), ANSWER_S)
            except TimeoutError:
                await self.close()
                raise MirrorFailed(f"no answer from the mirror within {ANSWER_S:.0f} s") from None
            if not line:
                await self._gone()
            answer: dict[str, Any] = json.loads(line)
            if "failed" in answer:
                raise MirrorFailed(str(answer["failed"]))
            yield answer
            if "done" in answer:
                return

    async def transfer(self, zone: Zone) -> dict[str, Any]:
        """Bring the copy of a zone up to date: how many names, the serial, how (AXFR or IXFR). Raises MirrorFailed."""
        asked = {
            "target": zone.target,
            "name": zone.name,
            "primaries": list(zone.primaries),
            "key_file": zone.key_file,
            "key_name": zone.key_name,
            "key_next_file": zone.key_next_file,
            "allow_weak": zone.allow_weak,
        }
        done: dict[str, Any] = {}
        async for answer in self.ask(transfer=asked):
            done = answer["done"]
        return done

    def rest(self) -> None:
        """The audit is over: the process stays for a while, for the next one."""
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(self._idle_s, self._end)

    async def _running(self) -> asyncio.subprocess.Process:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "failoverd.shell.mirror_worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=LINE_MAX,
            )
        return self._process

    async def _gone(self) -> None:
        process = self._process
        await self.close()
        code = process.returncode if process is not None else None
        raise MirrorFailed(f"the mirror process ended (exit code {code}); the daemon's log has its last words")

    def _end(self) -> None:
        """End the process: it leaves by itself when its stdin ends."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    async def close(self) -> None:
        """End the process now."""
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
