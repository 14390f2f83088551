"""What a judge of a run says."""

from __future__ import annotations

from typing import NamedTuple


class Violation(NamedTuple):
    """What is wrong. `t`: when it shows."""

    check: str
    t: float
    text: str


def dotted(address: int) -> str:
    """An address as people write it."""
    return ".".join(str(octet) for octet in address.to_bytes(4, "big"))
