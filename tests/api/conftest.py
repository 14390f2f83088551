"""The API in this event loop, and a client for it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from failoverd.shell.api import start_api
from failoverd.shell.listen import RunningApi
from tests.api.fake_daemon import Config, FakeCapture, FakeLoop, FakeStore


class Running:
    """A running API with its fakes, and `ask`: (HTTP status, JSON)."""

    def __init__(self, config: Config, loop: FakeLoop, store: FakeStore, api: RunningApi, session: aiohttp.ClientSession) -> None:
        self.config, self.loop, self.store, self.api, self.session = config, loop, store, api, session

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        async with self.session.request(method, "http://localhost" + path, json=body) as answer:
            return answer.status, await answer.json()


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
def place() -> Iterator[Path]:
    """Not below pytest's directory: other users connect here, and every starting pytest closes that one to them."""
    with tempfile.TemporaryDirectory(prefix="failoverd-api-") as name:
        found = Path(name)
        found.chmod(0o755)
        yield found


@pytest.fixture
async def start(place: Path) -> AsyncIterator[Start]:
    async with contextlib.AsyncExitStack() as stack:

        async def run(**config: Any) -> Running:
            settings = Config(str(place / "api.sock"), **config)
            loop, store = FakeLoop(), FakeStore()
            api = await start_api(settings, loop, store, capture=FakeCapture())
            stack.push_async_callback(api.stop)
            session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.UnixConnector(settings.socket)))
            return Running(settings, loop, store, api, session)

        yield run
