"""Hosts that took an address of the pool without asking, and hosts that only one of two failoverd has a reservation for."""

from __future__ import annotations

from tests.interop.pairs.bench import CLIENT_NET, POOL_FIRST, Bench
from tests.interop.pairs.case import Cast, Settings, anybody, case
from tests.interop.pairs.server import Ours
from tests.lab.terms import Role

POOL = 60
EVERY = 3  # each third address of the pool is a squatter's


@case(
    "a host that uses addresses of the pool without a lease: they are given to nobody, and ABANDONED at both",
    settings=Settings(pool=POOL, ping=True, dhcpd_extra="ping-check true;\nping-timeout 1;\n"),
    quick=[(Cast.OURS_FIRST, None), (Cast.OURS_ALONE, None)],
    weight=35,
)
def squatter(bench: Bench) -> None:
    taken = [str(POOL_FIRST + at) for at in range(0, POOL, EVERY)]
    host = bench.lab.host("squatter")
    bench.lab.link(host, CLIENT_NET, f"{taken[0]}/16")
    host.ip(*(f"address add {address}/16 dev eth0" for address in taken[1:]))
    bench.start()
    clients = bench.people.arrive(16, 20)
    bench.people.served(clients, 60)
    given = sorted(client.address for client in clients if client.address in taken)
    bench.expect(not given, f"given although somebody is there: {given}")
    bench.agree()
    found = []
    for server in bench.servers:
        rows = server.leases()
        found.append({address for address in taken if rows.get(address, ("free", "", 0.0))[0] == "abandoned"})
        wrong = [address for address, row in rows.items() if row[0] == "abandoned" and address not in taken]
        bench.expect(not wrong, f"{server.name}: abandoned, and nobody is there: {wrong}")
    bench.expect(bool(found[0]), "no address was found in use")
    bench.expect(found[0] == found[1], f"abandoned at one server only: {sorted(found[0] ^ found[1])}")


RESERVED = """[[subnet.reservation]]
hardware = "02:ff:ff:ff:ff:01"
address = "{}"
[[subnet.pool]]"""


@case(
    "a reservation that only the secondary has: nobody else is given its address, nor by the primary that restarts alone",
    casts=[Cast.OURS_ALONE],
    settings=Settings(pool=12, tls=True),
    refusals=anybody,
    weight=60,
)
def reservation_of_one(bench: Bench) -> None:
    address = str(POOL_FIRST)
    bench.outside.add(address)
    assert isinstance(bench.secondary, Ours)
    own = bench.secondary.host.folder / "own.toml"  # the other file is both servers'
    own.write_text(bench.conf(Role.SECONDARY).replace("[[subnet.pool]]", RESERVED.format(address), 1))
    bench.secondary.daemon.conf = own
    bench.start()
    clients = bench.people.arrive(6, 20)
    bench.people.served(clients)
    bench.secondary.stop()
    bench.primary.kill()
    bench.primary.start()
    bench.becomes(bench.primary, "communications-interrupted")
    bench.primary.partner_down()
    bench.people.tried(bench.people.arrive(8, 20), 60)
    held = bench.people.holding()
    bench.expect(address not in held, f"{address} went to {held.get(address)}")
    bench.expect(len(held) >= 10, f"of 11 others, {len(held)} were given")
    bench.expect("reservation-of-one-server" in bench.primary.text(), "the primary says that the two differ")
    bench.secondary.start()
    bench.normal(60)
