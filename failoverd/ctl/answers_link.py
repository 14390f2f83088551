"""The shapes of what the API says of a failover link beside its states."""

from __future__ import annotations

from typing import TypedDict


class Tls(TypedDict):
    """The certificates of a relationship."""

    until: float
    partner_until: float
    problem: str
    refused: str
    refused_at: float
