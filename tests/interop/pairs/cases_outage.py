"""A server or the cable between the two is gone for a while."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence

from tests.interop.pairs.bench import Bench
from tests.interop.pairs.case import ALL, SIDES, Cast, Hole, Settings, anybody, case
from tests.interop.pairs.cases_contact import FULL_S
from tests.interop.pairs.people import Client
from tests.interop.pairs.record import given_early, twice
from tests.interop.pairs.server import Product, Server
from tests.lab.terms import Role
from tests.lab.wait import LabError, until

SMALL = Settings(pool=40)


def settled(bench: Bench, count: int = 12) -> list[Client]:
    """A normal pair with clients whose full leases both databases know."""
    bench.start()
    clients = bench.people.arrive(count, 20)
    bench.people.full(clients, FULL_S)
    bench.agree()
    return clients


@case(
    "kill -9 of the {side} under load, and its return",
    sides=SIDES,
    weight=45,
    quick=[(Cast.OURS_FIRST, Role.SECONDARY), (Cast.DHCPD_FIRST, Role.SECONDARY), (Cast.OURS_ALONE, Role.PRIMARY)],
)
def kill(bench: Bench, side: Role) -> None:
    victim = bench.side(side)
    old = settled(bench, 20)
    clients = bench.people.arrive(40, 4)
    bench.people.served(clients[:8])
    victim.kill()
    bench.becomes(bench.other(victim), "communications-interrupted")
    bench.people.served(clients, 40)
    failed = bench.people.renewed(old, rebind=True)
    bench.expect(not failed, f"{len(failed)} of the clients were not renewed by the survivor")
    victim.start()
    bench.normal(30)


@case("the {side} is stopped and started under load", casts=ALL, sides=SIDES, weight=40)
def stop(bench: Bench, side: Role) -> None:
    victim = bench.side(side)
    settled(bench)
    clients = bench.people.arrive(24, 4)
    bench.people.served(clients[:4])
    bench.capture.begin_anew()
    victim.running().signal(signal.SIGTERM)
    heard_of_a_stop(bench, victim)
    bench.people.served(clients, 40)
    victim.start()
    bench.normal(30)


def heard_of_a_stop(bench: Bench, victim: Server) -> None:
    """What the partner is told of a planned stop, and how soon it is alone. The victim has been sent SIGTERM since `begin_anew`."""
    began = time.monotonic()
    partner = bench.other(victim)

    def alone() -> bool:
        found = partner.state()
        if found != "communications-interrupted":
            raise LabError(f"{partner.name} is {found}")
        return True

    until(f"{partner.name} knows", alone, 30, 0.02)
    bench.result.measured[f"alone after a planned stop of {victim.product}"] = time.monotonic() - began
    victim.stop()

    def farewells() -> list[int]:
        return bench.capture.now().farewells.get(victim.link, [])

    reasons = until("the DISCONNECT is on the wire", farewells, 5) if victim.product is Product.OURS else farewells()
    bench.result.measured[f"told of a planned stop by {victim.product}"] = len(reasons)


def cut_for(bench: Bench, length_s: float, newcomers: int, *, router: bool = False) -> float:
    """Cut the cable, or let a `router` in between die, with clients arriving all the time; the seconds from the mending to normal."""
    settled(bench, 20)
    cut = bench.swallow() if router else bench.cut()
    clients = bench.people.arrive(newcomers, newcomers / length_s)
    for server in bench.servers:
        bench.becomes(server, "communications-interrupted")
    time.sleep(max(cut + length_s - time.monotonic(), 0))
    took = bench.normal(150, since=bench.spit() if router else bench.heal())
    bench.people.served(clients)
    return took


@case("the link is cut for 20 s", weight=55, quick=[(Cast.OURS_FIRST, None), (Cast.DHCPD_FIRST, None)])
def cut_20(bench: Bench) -> None:
    took = cut_for(bench, 20, 12)
    bench.expect(took < 8, f"{took:.1f} s from mending to normal")


# 80 s, and a little: dhcpd's kernel repeats its SYN at about 78 s, and then 64 s later.
@case("the link is cut for 80 s: a router in between is dead", casts=ALL, weight=190)
def cut_80(bench: Bench) -> None:
    took = cut_for(bench, 86, 24, router=True)
    bench.result.measured["normal after a cut of 80 s"] = took
    if bench.job.cast is not Cast.DHCPD_ALONE:
        bench.expect(took < 8, f"{took:.1f} s from mending to normal")


def declared(bench: Bench, victim: Server) -> float:
    """The victim is gone or silent; its partner is told that it is down. The moment (UTC)."""
    survivor = bench.other(victim)
    bench.becomes(survivor, "communications-interrupted")
    survivor.partner_down()
    bench.becomes(survivor, "partner-down")
    return time.time()


def take_over(bench: Bench, victim: Server, since: float, halves: dict[Role, set[str]], count: int = 26) -> list[Client]:
    """More clients than the survivor's half has room for: the victim's half is used, and not before the wait is over."""
    survivor = bench.other(victim)
    clients = bench.people.arrive(count, 20, reach=(survivor.address,))
    bench.people.served(clients, 3 * bench.settings.mclt_s + 20)
    theirs = halves[victim.role]
    early = given_early(bench.people.told(), theirs, since, since + bench.settings.mclt_s - 1)
    bench.expect(not early, f"{len(early)} of the victim's addresses were given before the wait was over, the first {early[:1]}")
    bench.expect(any(client.address in theirs for client in clients), "the victim's half was used")
    return clients


@case(
    "partner-down while the {side} is dead; it returns with its database",
    sides=SIDES,
    settings=SMALL,
    refusals=anybody,
    weight=70,
    quick=[(Cast.OURS_FIRST, Role.SECONDARY), (Cast.DHCPD_FIRST, Role.PRIMARY)],
)
def partner_down(bench: Bench, side: Role) -> None:
    victim = bench.side(side)
    old = settled(bench, 10)
    halves = bench.halves()
    victim.kill()
    since = declared(bench, victim)
    take_over(bench, victim, since, halves)
    victim.start()
    bench.normal(30)
    failed = bench.people.renewed(old, rebind=True)
    bench.expect(not failed, f"{len(failed)} of the old clients were not renewed")


@case(
    "partner-down while the {side} is dead; it returns without its database",
    sides=SIDES,
    settings=SMALL,
    refusals=anybody,
    weight=85,
)
def partner_down_amnesia(bench: Bench, side: Role) -> None:
    victim = bench.side(side)
    old = settled(bench, 10)
    halves = bench.halves()
    victim.kill()
    victim.forget()
    since = declared(bench, victim)
    clients = take_over(bench, victim, since, halves)
    victim.start()
    bench.normal(bench.settings.mclt_s + 40)
    for group in (old, clients):
        failed = bench.people.renewed(group, rebind=True)
        bench.expect(not failed, f"{len(failed)} of the clients were not renewed")


def by_product(cast: Cast, side: Role | None) -> Hole | None:
    """Only where a dhcpd is the one that comes back."""
    return Hole.EARLY_REUSE if side and cast.product(side) is Product.DHCPD else None


def listed(bench: Bench, addresses: Sequence[str]) -> None:
    """Which of the addresses that were given twice an operator can ask a failoverd for, or finds in the log of a dhcpd."""
    bench.result.measured["given twice behind the cut"] = len(addresses)
    for product in {server.product for server in bench.servers}:
        knows = [server for server in bench.servers if server.product is product]
        found = [address for address in addresses if any(server.reported(address) for server in knows)]
        bench.result.measured[f"told of by {product}"] = len(found)
        if product is Product.OURS:
            bench.expect(len(found) == len(addresses), f"failoverctl conflicts names {len(found)} of {len(addresses)} losers")


@case(
    "both are declared down behind a cut, use both halves, and meet again",
    casts=ALL,
    settings=Settings(pool=24),
    hole=lambda cast, side: Hole.WRONGLY_DECLARED,
    refusals=anybody,
    weight=100,
    quick=[(Cast.OURS_FIRST, None)],
)
def both_declared(bench: Bench) -> None:
    old = settled(bench, 4)
    bench.apart()
    for server in bench.servers:
        server.partner_down()
        bench.becomes(server, "partner-down")
    groups = [bench.people.arrive(14, 20, reach=(server.address,)) for server in bench.servers]
    for clients in groups:
        bench.people.served(clients, 3 * bench.settings.mclt_s + 20)
    time.sleep(2)  # time itself is meant: two who hold one address count when they held it for longer than the record's slack
    losers = twice(bench.people.told())
    bench.expect(bool(losers), "addresses were given twice: without them there is nothing to settle")
    bench.normal(90, since=bench.heal())
    listed(bench, list(losers))
    everybody = [*old, *groups[0], *groups[1]]
    bench.people.only(everybody, [server.address for server in bench.servers])
    bench.people.renewed(everybody, rebind=True)
    bench.people.tried(everybody, 10)


@case(
    "the {side} hangs (SIGSTOP) for longer than MCLT, and its partner is in partner-down",
    sides=SIDES,
    settings=SMALL,
    hole=by_product,
    refusals=anybody,
    weight=100,
)
def hang(bench: Bench, side: Role) -> None:
    victim = bench.side(side)
    settled(bench, 10)
    halves = bench.halves()
    victim.freeze()
    since = declared(bench, victim)
    take_over(bench, victim, since, halves)
    victim.thaw()
    bench.normal(90)
    bench.people.served(bench.people.arrive(1, 20), 30)


@case(
    "the {side} is declared down, the survivor dies, and the {side} boots alone",
    sides=SIDES,
    settings=Settings(pool=40, mclt_s=40),  # the survivor's leases outlast the start of the other, which takes 15 s
    hole=by_product,
    refusals=anybody,
    weight=160,
)
def lone_boot(bench: Bench, side: Role) -> None:
    victim = bench.side(side)
    survivor = bench.other(victim)
    settled(bench, 10)
    halves = bench.halves()
    victim.kill()
    since = declared(bench, victim)
    clients = take_over(bench, victim, since, halves)
    failed = bench.people.renewed(clients)
    bench.expect(not failed, f"{len(failed)} clients of the survivor were not renewed")
    survivor.kill()
    victim.start()
    newcomers = bench.people.arrive(8, 20, reach=(victim.address,))
    bench.becomes(victim, "communications-interrupted", within_s=25)
    without = bench.people.tried(newcomers, 20)
    if victim.product is Product.OURS:
        bench.expect(len(without) == len(newcomers), f"{len(newcomers) - len(without)} new addresses were given in doubt")
    survivor.start()
    bench.normal(120)
    everybody = bench.people.clients
    bench.people.only(everybody, [server.address for server in bench.servers])
    bench.people.renewed(everybody, rebind=True)
    bench.people.tried(everybody, 10)
