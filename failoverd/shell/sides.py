"""What the loop needs of those around it: the node, the store, the sockets of clients and partners, the DNS client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from failoverd.ports import ClientSend, DnsAnswer, DnsQuery, DnsUpdate, Input, Now, Output, ProbeAnswer, Write


class Steps(Protocol):
    """The Node, as the loop sees it."""

    def step(self, inputs: Sequence[Input], now: Now, commit_age_s: float = 0.0) -> Output: ...  # noqa: D102
    def deadline(self, now: Now) -> float: ...  # noqa: D102
    def status(self, now: Now) -> dict[str, object]: ...  # noqa: D102


class Keeps(Protocol):
    """The Store, as the loop sees it. Anything raised by one of these ends the process, but StoreError by
    `write_marker`: a marker that is late only weakens safety.md 15."""

    async def commit(self, writes: Sequence[Write], wall: float) -> object: ...  # noqa: D102
    async def fold(self, limit_rows: int) -> int: ...  # noqa: D102
    def due(self) -> bool: ...  # noqa: D102
    async def write_marker(self) -> None: ...  # noqa: D102
    def low_water(self) -> bool: ...  # noqa: D102


class ToClients(Protocol):
    """The DHCP sockets."""

    def send(self, send: ClientSend) -> None: ...  # noqa: D102
    def discard(self) -> None: ...  # noqa: D102
    def pause(self) -> None: ...  # noqa: D102
    def resume(self) -> None: ...  # noqa: D102


class ToPartners(Protocol):
    """The failover links."""

    def connect(self, relationship: str) -> None: ...  # noqa: D102
    def send(self, link: int, data: bytes) -> None: ...  # noqa: D102
    def close_link(self, link: int, reason: str) -> None: ...  # noqa: D102
    def flush(self) -> None: ...  # noqa: D102
    def drop(self, relationship: str, reason: str) -> list[int]: ...  # noqa: D102
    def refuse(self, relationship: str, refusing: bool) -> None: ...  # noqa: D102
    def pause(self) -> None: ...  # noqa: D102
    def resume(self) -> None: ...  # noqa: D102


class ToHosts(Protocol):
    """Pings."""

    def send(self, address: int) -> None:
        """Ping it once; what cannot be sent is answered as silence, with its reason."""

    def heard(self) -> Sequence[ProbeAnswer]:
        """What came back since the last call."""


class ToMasters(Protocol):
    """The DNS client."""

    def submit(self, request: DnsUpdate | DnsQuery, deliver: Callable[[DnsAnswer], None]) -> None: ...  # noqa: D102
