"""What the exploration asks of a server, and how time stands still for it.

Time stands still at START except where the world lets it pass (`pass_time`): a timer fires by being made due. So two states that
differ only in when they were reached are one.
"""

from __future__ import annotations

from typing import Protocol

from failoverd.failover.message import ServerState
from failoverd.ports import LinkClose, LinkConnect, LinkSend, Now

WALL, MONO = 1_700_000_000, 5_000_000.0
START = Now(float(WALL), MONO)
MCLT_S, LEASE_S, DELAY_S = 120, 360, 30
FIRST = 0x0A000064  # 10.0.0.100, the pool's first address
NAME = "fo"
WINDOW_S = 100_000
LONG_AGO_S = 4 * (MCLT_S + LEASE_S)

Wish = LinkConnect | LinkSend | LinkClose


class Party(Protocol):
    """One running server."""

    kind: str

    def take(self) -> list[Wish]:
        """What it wants of the network since the last call."""

    def link_up(self, number: int, outgoing: bool) -> None:
        """A connection is there."""

    def link_bytes(self, number: int, data: bytes) -> None:
        """One message came."""

    def link_down(self, number: int) -> None:
        """The connection ended."""

    def connect_failed(self, *, unreachable: bool) -> None:
        """Refused, or nobody there."""

    def timers(self) -> list[str]:
        """The timers that run."""

    def fire(self, timer: str) -> None:
        """The timer's time has come."""

    def numbers(self) -> set[int]:
        """The connections that it holds open."""

    def xids(self) -> set[int]:
        """The xids of its own BNDUPDs that it still remembers."""

    def partners_xids(self) -> set[int]:
        """The xids of the partner's BNDUPDs that it still has to ack."""

    def rename(self, own: dict[int, int], partners: dict[int, int]) -> None:
        """Give its BNDUPDs, and the partner's, other xids."""

    def next_xid(self, xid: int) -> None:
        """What its next BNDUPD carries."""

    def may_declare(self) -> bool:
        """Whether an operator can put it into partner-down now."""

    def declare(self) -> None:
        """The operator does."""

    def lease(self, client: int, address: int) -> tuple[int, int] | None:
        """A client asks for an address (0), or renews: (address, end), an end of 0 for a NAK, None for silence."""

    def gives(self, address: int) -> bool:
        """Whether it would give this address to a client that it has never seen and that asks for it."""

    def release(self, client: int, address: int) -> None:
        """The client gives it back."""

    def pass_time(self, seconds: int) -> None:
        """Time passes at once; live links were kept alive by CONTACT."""

    def states(self) -> tuple[ServerState, int, bool]:
        """Its state (startup while starting), the partner's as recorded, whether it has an established link."""

    def end(self) -> str:
        """Why its process is over, "" while it is not."""

    def freeze(self) -> bytes:
        """All of it, times relative to START."""

    def off(self) -> bytes:
        """What a restart finds, once the process is gone."""


def shifted(number: float, seconds: int) -> float:
    """A point in time, seen `seconds` later; other numbers as they are. What is long past is one and the same."""
    for start in (WALL, MONO):
        if start - WINDOW_S <= number <= start + WINDOW_S:
            return type(number)(max(number - seconds, start - LONG_AGO_S))
    return number


STRANGER = 250


def hw(client: int) -> bytes:
    """The chaddr of a client of the exploration."""
    return bytes((2, 0, 0, 0, 0, client))
