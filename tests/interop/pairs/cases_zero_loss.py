"""A server dies with its disk, and its link died a second before: what it acknowledged around then, with and without zero-loss."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.interop.pairs.bench import Bench
from tests.interop.pairs.case import ALL, OURS, Cast, Hole, Settings, anybody, case
from tests.interop.pairs.cases_outage import declared, settled
from tests.interop.pairs.judgement import END_SLACK_S
from tests.interop.pairs.people import Client
from tests.interop.pairs.record import Told
from tests.interop.pairs.server import Product, Server
from tests.lab.terms import Role

LINK_DIES_S = 1.2  # before the server; zero-loss waits for 3 s


def only_dhcpd(cast: Cast, _side: Role | None) -> Hole | None:
    """A dhcpd has no zero-loss mode."""
    return Hole.LAST_RENEWAL if cast is Cast.DHCPD_ALONE else None


def everybody(_cast: Cast, _side: Role | None) -> Hole | None:
    """Without the mode failoverd is as dhcpd."""
    return Hole.LAST_RENEWAL


def host_lost(mode: str) -> Callable[[Bench], None]:
    """The story; `mode`: how its figures are called."""

    def play(bench: Bench) -> None:
        victim = bench.subject()
        settled(bench, 4)
        mine = bench.people.arrive(10, 20, reach=(victim.address,))
        bench.people.full(mine, 100)
        bench.agree()
        time.sleep(END_SLACK_S + 2)  # time itself is meant: a renewal now is longer than the one before by more than the slack
        began = time.time()
        newcomers = bench.people.arrive(20, 10, reach=(victim.address,))
        time.sleep(0.8)  # the link dies while the newcomers, who take 2 s, are coming
        bench.swallow()
        bench.people.renew(mine)
        time.sleep(LINK_DIES_S)  # time itself is meant: as long as acknowledgements can be given that the partner never hears of
        victim.kill()
        victim.forget()
        bench.spit()
        told = [one for one in bench.people.told() if one.what == "ACK" and one.at >= began and one.server == victim.address]
        survivor = bench.other(victim)
        bench.becomes(survivor, "communications-interrupted")
        gone = unknown(survivor, told)
        name = mode if victim.product is Product.OURS else "by dhcpd"
        bench.result.measured[f"acknowledged as its host is lost, {name}"] = len(told)
        bench.result.measured[f"lost of these, {name}"] = len(gone)
        if victim.product is Product.OURS and mode == "zero-loss":
            bench.expect(not gone, f"{len(gone)} of {len(told)} acknowledged leases were lost")
        comes_back(bench, victim, [*mine, *newcomers])

    return play


def unknown(survivor: Server, told: list[Told]) -> set[str]:
    """The addresses whose last ACK the survivor does not know of, or knows a shorter lease of."""
    rows = survivor.leases()
    newest = {one.address: one for one in told}
    found = set()
    for address, one in newest.items():
        state, mac, ends = rows.get(address, ("missing", "", 0.0))
        if state != "active" or mac != one.mac or ends < one.asked + one.lease_s - END_SLACK_S:
            found.add(address)
    return found


def comes_back(bench: Bench, victim: Server, clients: list[Client]) -> None:
    """The operator declares it down, and it starts again with an empty disk."""
    declared(bench, victim)
    victim.start()
    bench.normal(bench.settings.mclt_s + 45)
    bench.people.only(clients, [server.address for server in bench.servers])
    bench.people.renewed(clients, rebind=True)
    bench.people.tried(clients, 15)


SETTINGS = Settings(relationship_extra='zero-loss = "3s"\n')
case(
    "zero-loss: a server is lost with its disk, a second after its link",
    name="zero-loss",
    casts=ALL,
    settings=SETTINGS,
    hole=only_dhcpd,
    refusals=anybody,
    weight=90,
)(host_lost("zero-loss"))
case(
    "without zero-loss: a server is lost with its disk, a second after its link",
    name="host-lost",
    casts=OURS,
    hole=everybody,
    refusals=anybody,
    weight=90,
)(host_lost("without zero-loss"))
