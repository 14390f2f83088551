"""The API's routes about recordings of this server (capture.py)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from failoverd.shell.api_models import CaptureRequest, StopRequest
from failoverd.shell.api_requests import Refusal, answer, body_of
from failoverd.shell.capture import DEFAULT_BYTES, CaptureRefused
from failoverd.shell.clock import read

if TYPE_CHECKING:
    from failoverd.shell.api import Api


class Records(Protocol):
    """The recorder, as the API sees it."""

    running: bool

    def start(self, max_bytes: int, wall: float) -> None:
        """Begin. CaptureRefused."""
        ...

    async def stop(self) -> None:
        """End."""
        ...

    def status(self) -> dict[str, object]:
        """Blocking for a few file sizes."""
        ...


class CaptureApi:
    """The handlers."""

    def __init__(self, api: Api, capture: Records | None) -> None:
        self._api, self._capture = api, capture

    def routes(self) -> list[web.RouteDef]:
        """Under /v1."""
        return [
            web.get("/v1/capture", self.status),
            web.post("/v1/capture/start", self.start),
            web.post("/v1/capture/stop", self.stop),
        ]

    @property
    def _recorder(self) -> Records:
        if self._capture is None:
            raise Refusal("failed", "this server cannot record")
        return self._capture

    async def _answer(self) -> web.Response:
        return answer(await asyncio.to_thread(self._recorder.status))

    async def status(self, request: web.Request) -> web.Response:
        """GET /v1/capture"""
        return await self._answer()

    async def start(self, request: web.Request) -> web.Response:
        """POST /v1/capture/start"""
        body = await body_of(request, CaptureRequest)
        args = {"max_size": str(body.max_size or DEFAULT_BYTES)}
        try:
            self._recorder.start(int(args["max_size"]), read().wall)
        except CaptureRefused as refused:
            self._api.changed(request, "capture-started", args, body.reason, f"refused: {refused}")
            raise Refusal("refused", str(refused)) from refused
        await self._api.change(request, "capture-started", args, body.reason)
        return await self._answer()

    async def stop(self, request: web.Request) -> web.Response:
        """POST /v1/capture/stop"""
        body = await body_of(request, StopRequest)
        if not self._recorder.running:
            raise Refusal("refused", "no recording is running")
        await self._api.change(request, "capture-stopped", {}, body.reason)
        await self._recorder.stop()
        return await self._answer()
