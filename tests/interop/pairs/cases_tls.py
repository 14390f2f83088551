"""Two failoverd on an authenticated link: what no dhcpd can play. Nothing may be read on the wire."""

from __future__ import annotations

from failoverd.failover.dialect import NEWEST
from tests.interop.pairs.bench import Bench
from tests.interop.pairs.case import SIDES, Cast, Settings, anybody, case
from tests.interop.pairs.cases_outage import declared, settled, take_over
from tests.interop.pairs.server import Ours
from tests.lab.terms import Role

ALONE = (Cast.OURS_ALONE,)


@case(
    "tls: a life, a cut, and kill -9 of the {side}; partner-down, and its return without its database",
    casts=ALONE,
    sides=SIDES,
    settings=Settings(pool=40, tls=True),
    refusals=anybody,
    weight=120,
)
def tls(bench: Bench, side: Role) -> None:
    victim = bench.side(side)
    old = settled(bench, 10)
    for server in bench.servers:
        assert isinstance(server, Ours)
        found = server.link_of("dialect")
        bench.expect(found == NEWEST, f"{server.name} speaks dialect {found}")
    bench.people.release(old[:3])
    bench.agree()
    bench.apart()
    bench.people.served(bench.people.arrive(2, 20))
    bench.normal(20, since=bench.heal())
    bench.agree()
    halves = bench.halves()
    victim.kill()
    victim.forget()
    since = declared(bench, victim)
    clients = take_over(bench, victim, since, halves)
    victim.start()
    bench.normal(bench.settings.mclt_s + 40)
    failed = bench.people.renewed([*old, *clients], rebind=True)
    bench.expect(not failed, f"{len(failed)} of the clients were not renewed")
