"""The judgement, from what the clients were told and when they were there: who waited, who was refused, who lost what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.interop.pairs.record import Told, denied, twice
from tests.outage.schedule import Visit
from tests.outage.terms import Clock, Site


@dataclass(slots=True, frozen=True)
class Wait:
    """A client was there, wanted a lease and had none, from..until (UTC seconds). `served`: an ACK ended it."""

    mac: str
    since: float
    until: float
    served: bool


@dataclass(slots=True)
class Figures:
    """One line of the table. Times in seconds of the site; None: not within the watch."""

    clients: int = 0
    wanted: int = 0
    refused_before: int = 0
    refused_meanwhile: int = 0
    refused_after: int = 0
    waited: int = 0
    longest_s: float = 0.0
    lost: int = 0
    twice: int = 0
    answers_s: float | None = None
    normal_s: float | None = None
    declared_s: float | None = None
    states: list[tuple[float, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def refused(self) -> int:
        """From the death on."""
        return self.refused_meanwhile + self.refused_after

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def waits(record: Sequence[Told], stays: Mapping[str, Sequence[Visit]], clock: Clock, end: float) -> list[Wait]:
    """Every wait of everybody up to `end` (UTC seconds). `stays`: hardware address -> when it was there, in order."""
    told: dict[str, list[Told]] = {}
    for each in record:
        told.setdefault(each.mac, []).append(each)
    return [wait for mac, visits in stays.items() for wait in of_client(mac, told.get(mac, []), visits, clock, end)]


def of_client(mac: str, told: Sequence[Told], visits: Sequence[Visit], clock: Clock, end: float) -> list[Wait]:
    """The waits of one client, by what it was told, in order."""
    found, until, at = [], 0.0, 0
    for visit in visits:
        comes, goes = clock.wall(visit.comes_s), min(clock.wall(visit.goes_s), end)
        open_since: float | None = None
        while at < len(told) and told[at].at <= comes:
            until = told[at].asked + told[at].lease_s if told[at].what == "ACK" else 0.0
            at += 1
        if until <= comes < goes:
            open_since = comes
        while at < len(told) and told[at].at <= goes:
            each = told[at]
            at += 1
            if each.what == "ACK":
                until = each.asked + each.lease_s
                if open_since is not None:
                    found.append(Wait(mac, open_since, each.at, True))
                open_since = None
            else:
                until, open_since = 0.0, each.at if open_since is None else open_since
        if open_since is not None and open_since < goes:
            found.append(Wait(mac, open_since, goes, False))
    return found


def ended(record: Sequence[Told], stays: Mapping[str, Sequence[Visit]], clock: Clock) -> list[Told]:
    """Leases that ended although their client was there and asked for more: no server renewed them."""

    def there(told: Told) -> bool:
        return any(clock.wall(visit.comes_s) < told.at < clock.wall(visit.goes_s) for visit in stays.get(told.mac, ()))

    return [told for told in record if told.what == "EXPIRE" and there(told)]


def judge(
    record: Sequence[Told], stays: Mapping[str, Sequence[Visit]], site: Site, clock: Clock, returned: str, end: float
) -> Figures:
    """All that follows from the record. `returned`: the server identifier of the one that was dead; `end`: of the watch, UTC."""
    death, back = clock.wall(site.death_s), clock.wall(site.back_s)
    patience, annoyed = site.patience_s / clock.factor, site.annoyed_s / clock.factor
    every = waits(record, stays, clock, end)
    since_death = [wait for wait in every if wait.until > death]
    refused: dict[str, float] = {}
    for wait in sorted(every, key=lambda each: each.since):
        if wait.until - wait.since >= patience:
            refused.setdefault(wait.mac, wait.since + patience)
    figures = Figures(
        clients=sum(
            any(clock.wall(visit.goes_s) > death and clock.wall(visit.comes_s) < end for visit in each) for each in stays.values()
        ),
        wanted=len({wait.mac for wait in since_death}),
        refused_before=sum(at < death for at in refused.values()),
        refused_meanwhile=sum(death <= at < back for at in refused.values()),
        refused_after=sum(back <= at for at in refused.values()),
        waited=len({wait.mac for wait in since_death if wait.until - wait.since >= annoyed}),
        longest_s=max((wait.until - wait.since for wait in since_death), default=0.0) * clock.factor,
        lost=len({(told.mac, told.address, told.at) for told in [*denied(record), *ended(record, stays, clock)]}),
        twice=len(twice(record)),
    )
    answers = [told.at for told in record if told.what == "ACK" and told.server == returned and told.at > back]
    figures.answers_s = (min(answers) - back) * clock.factor if answers else None
    return figures
