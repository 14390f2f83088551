"""No store is left open by a test that fails."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.store.work import OPENED


@pytest.fixture(autouse=True)
async def closed() -> AsyncIterator[None]:
    yield
    while OPENED:
        await OPENED.pop().close()
