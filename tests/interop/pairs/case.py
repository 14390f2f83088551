"""What a case is, who plays it, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from tests.interop.pairs.server import Product
from tests.lab.terms import Role


class Cast(StrEnum):
    """Who is primary and who is secondary. DHCPD_ALONE: measured beside the others in the cases of "better than dhcpd" only."""

    OURS_FIRST = "failoverd-dhcpd"
    DHCPD_FIRST = "dhcpd-failoverd"
    OURS_ALONE = "failoverd-failoverd"
    DHCPD_ALONE = "dhcpd-dhcpd"

    @property
    def products(self) -> tuple[Product, Product]:
        """Primary, secondary."""
        first, second = self.value.split("-")
        return Product(first), Product(second)

    def product(self, role: Role) -> Product:
        """Of one side."""
        return self.products[0] if role is Role.PRIMARY else self.products[1]


OURS = (Cast.OURS_FIRST, Cast.DHCPD_FIRST, Cast.OURS_ALONE)
ALL = (*OURS, Cast.DHCPD_ALONE)
SIDES = (Role.PRIMARY, Role.SECONDARY)


class Hole(StrEnum):
    """Why a case may show a lost lease, or an address given twice. The first two are those that safety.md names for a dhcpd partner."""

    LAST_RENEWAL = "the renewal in the last instant before a server's death"
    EARLY_REUSE = "dhcpd's own earlier reuse"
    WRONGLY_DECLARED = "wrongly declared down"


@dataclass(slots=True, frozen=True)
class Settings:
    """The pair of a case. Seconds, but for `pool`. A dhcpd takes EXPIRED up to 65 s early, so leases are 130 s and more. `ours_extra`:
    more keys of failoverd's subnet, `relationship_extra` of its relationship; `tls`: two failoverd on an authenticated link; `ping`:
    failoverd's ping check is on."""

    mclt_s: int = 15
    lease_s: int = 150
    pool: int = 120
    min_balance_s: int = 60
    max_balance_s: int = 3600
    dhcpd_delay_s: int = 10
    dhcpd_extra: str = ""
    ours_extra: str = ""
    relationship_extra: str = ""
    tls: bool = False
    ping: bool = False


@dataclass(slots=True, frozen=True)
class Case:
    """One story. `play(bench, side)`; `sides`: whom the mishap meets, none when the case has no side. `quick`: what `make test` plays.
    `hole(cast, side)`: what may be lost in it; `refusals(cast, side)`: whether clients may be refused in it (a server alone has only
    its own half of the free addresses)."""

    name: str
    title: str
    play: Callable[..., None]
    casts: Sequence[Cast]
    sides: Sequence[Role | None]
    settings: Settings
    quick: Sequence[tuple[Cast, Role | None]]
    hole: Callable[[Cast, Role | None], Hole | None]
    refusals: Callable[[Cast, Role | None], bool]
    weight: int


CASES: dict[str, Case] = {}


def no_hole(_cast: Cast, _side: Role | None) -> Hole | None:
    """Nothing may be lost."""
    return None


def nobody(_cast: Cast, _side: Role | None) -> bool:
    """No client may be refused."""
    return False


def anybody(_cast: Cast, _side: Role | None) -> bool:
    """Clients may be refused."""
    return True


def dhcpd_alone(cast: Cast, _side: Role | None) -> bool:
    """Only a pair of dhcpd may refuse clients: that is what the case measures."""
    return cast is Cast.DHCPD_ALONE


def case(
    title: str,
    *,
    name: str = "",
    casts: Sequence[Cast] = OURS,
    sides: Sequence[Role | None] = (None,),
    settings: Settings | None = None,
    quick: Sequence[tuple[Cast, Role | None]] = (),
    hole: Callable[[Cast, Role | None], Hole | None] = no_hole,
    refusals: Callable[[Cast, Role | None], bool] = nobody,
    weight: int = 30,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a case, by its function's name unless it has another. `title` may say {side}; `weight`: about how long it takes, the
    long ones begin first."""

    def register(play: Callable[..., None]) -> Callable[..., None]:
        called = name or play.__name__.replace("_", "-")
        if called in CASES:
            raise AssertionError(f"two cases are called {called}")
        CASES[called] = Case(called, title, play, casts, sides, settings or Settings(), quick, hole, refusals, weight)
        return play

    return register


@dataclass(slots=True, frozen=True)
class Job:
    """One case with its players."""

    case: Case
    cast: Cast
    side: Role | None

    @property
    def key(self) -> str:
        """`case/cast/side`."""
        return "/".join([self.case.name, self.cast, *([self.side] if self.side else [])])

    @property
    def title(self) -> str:
        """The case in words."""
        who = f"{self.side} ({self.cast.product(self.side)})" if self.side else ""
        return self.case.title.format(side=who)


def jobs(quick: bool = False) -> Iterator[Job]:
    """Every case with every cast and side, or the representative part of them."""
    for each in CASES.values():
        for cast in each.casts:
            for side in each.sides:
                if not quick or (cast, side) in each.quick:
                    yield Job(each, cast, side)


def job(key: str) -> Job:
    """The job of a key."""
    name, cast, *side = key.split("/")
    return Job(CASES[name], Cast(cast), Role(side[0]) if side else None)


@dataclass(slots=True)
class Result:
    """What came of a job. Seconds; `normal_s` is the longest of its returns to normal. `twice` and `lost` name the addresses."""

    key: str
    ok: bool = False
    failures: list[str] = field(default_factory=list)
    normal_s: float | None = None
    longest_s: float = 0.0
    asked: int = 0
    refused: int = 0
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    hole: str = ""
    rejects: dict[str, int] = field(default_factory=dict)
    messages: int = 0
    measured: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    where: str = ""

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
