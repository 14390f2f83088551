"""Who comes when, and goes when and how: made of a seed alone, so that every pair has the same clients."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from tests.outage.terms import Site


@dataclass(slots=True, frozen=True)
class Visit:
    """One stay of one client, site seconds. `releases`: it leaves with a RELEASE, else without a word."""

    client: int
    comes_s: float
    goes_s: float
    releases: bool


def visits(seed: int, site: Site) -> list[Visit]:
    """Everybody, in the order in which they come. At first the place fills; from then on as many come as go, at random (Poisson)."""
    rng = Random(seed)
    found: list[Visit] = []

    def add(client: int, comes_s: float) -> None:
        stays_s = max(rng.expovariate(1 / site.stay_s), site.least_stay_s)
        found.append(Visit(client, comes_s, comes_s + stays_s, rng.random() < site.releasing))

    for client in range(site.present):
        add(client, rng.uniform(0, site.filling_s))
    clients, now = site.present, 0.0
    while (now := now + rng.expovariate(site.present / site.stay_s)) < site.end_s:
        last = {visit.client: visit.goes_s for visit in found}
        gone = [client for client, goes_s in last.items() if goes_s + site.absence_s < now]
        if gone and rng.random() < site.returning:
            add(rng.choice(gone), now)
        else:
            add(clients, now)
            clients += 1
    return sorted(found, key=lambda visit: visit.comes_s)
