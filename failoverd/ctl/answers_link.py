"""The shapes of what the API says of a failover link beside its states, and of recordings."""

from __future__ import annotations

from typing import TypedDict


class Tls(TypedDict):
    """The certificates of a relationship."""

    until: float
    partner_until: float
    problem: str
    refused: str
    refused_at: float


class Capture(TypedDict):
    """GET /v1/capture, POST /v1/capture/start, POST /v1/capture/stop"""

    running: bool
    since: float
    steps: int
    max_size: int
    size: int
    segments: int
    directory: str
    ended: str
