"""What a lab pair and its networks are, whichever program serves them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network


class Role(StrEnum):
    """A server's side of the relationship."""

    PRIMARY = "primary"
    SECONDARY = "secondary"


@dataclass(slots=True, frozen=True)
class Scope:
    """One subnet. `first` and `last` are the pool; without them the subnet is only known (the servers' own)."""

    subnet: IPv4Network
    router: str = ""
    first: str = ""
    last: str = ""
    resolvers: tuple[str, ...] = ()
    domain: str = ""


@dataclass(slots=True, frozen=True)
class Pair:
    """The failover relationship; times in seconds."""

    primary: str
    secondary: str
    name: str = "office"
    port: int = 647
    mclt_s: int = 60
    lease_s: int = 600
    split: int = 128
    max_response_delay_s: int = 10
    max_unacked: int = 10

    def mine(self, role: Role) -> str:
        """The address of one side."""
        return self.primary if role is Role.PRIMARY else self.secondary
