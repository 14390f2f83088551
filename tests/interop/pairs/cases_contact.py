"""First contact, a lease's life, and what the two servers share in normal."""

from __future__ import annotations

import time

from tests.interop.pairs.bench import Bench
from tests.interop.pairs.case import ALL, SIDES, Cast, Settings, anybody, case
from tests.interop.pairs.people import FIRST_MAC
from tests.interop.pairs.server import Product
from tests.lab.terms import Role
from tests.lab.wait import until

FULL_S = 100  # of the 150 s that are configured: more than MCLT


@case(
    "first contact with empty databases; the {side} starts first",
    sides=SIDES,
    quick=[(Cast.OURS_FIRST, Role.PRIMARY), (Cast.DHCPD_FIRST, Role.PRIMARY)],
    weight=25,
)
def first_contact(bench: Bench, side: Role) -> None:
    first = bench.side(side)
    first.start()
    time.sleep(3)
    bench.expect(not bench.normal_now(), "normal without a partner")
    bench.other(first).start()
    bench.normal(30)
    clients = bench.people.arrive(30, 30)
    bench.people.served(clients)
    shares = [sum(client.server == server.address for client in clients) for server in bench.servers]
    bench.expect(min(shares) >= 5, f"the hash gives each server a share; here {shares}")
    lengths = {told.lease_s for told in bench.people.told()[: len(clients)]}
    bench.expect(lengths == {bench.settings.mclt_s}, f"a new client's lease is MCLT long, not {lengths}")


@case(
    "DORA, renewal, release, decline and expiry on both sides", quick=[(Cast.OURS_FIRST, None), (Cast.DHCPD_FIRST, None)], weight=75
)
def life(bench: Bench) -> None:
    bench.start()
    clients = bench.people.arrive(30, 20)
    bench.people.full(clients, FULL_S)
    bench.agree()
    by_server = [[client for client in clients if client.server == server.address] for server in bench.servers]
    bench.expect(min(len(each) for each in by_server) >= 5, "each server has five clients")
    bench.people.release([client for each in by_server for client in each[:3]])
    declined = [client for each in by_server for client in each[3:5]]
    bench.people.decline(declined)
    bench.agree()
    for server in bench.servers:
        rows = server.leases()
        wrong = [client.address for client in declined if rows[client.address][0] != "abandoned"]
        bench.expect(not wrong, f"{server.name}: declined, and not abandoned: {wrong}")
    # Each heard by one server only: dhcpd would answer the REQUEST to the other as well, with more time than the client takes.
    short = [client for server in bench.servers for client in bench.people.arrive(6, 30, reach=(server.address,))]
    bench.people.served(short)
    bench.people.vanish(short)
    ends = max(client.until for client in short)
    until("the short leases have ended", lambda: time.time() > ends + 1, 40)
    bench.agree()
    free = {"free", "backup"}
    for server in bench.servers:
        rows = server.leases()
        wrong = [client.address for client in short if rows[client.address][0] not in free]
        bench.expect(not wrong, f"{server.name}: ended, and not free again: {[(each, rows[each]) for each in wrong]}")


@case(
    "MCLT first, then the full time; MCLT again while the {side} is dead",
    sides=SIDES,
    weight=45,
    quick=[(Cast.DHCPD_FIRST, Role.PRIMARY)],
)
def lease_times(bench: Bench, side: Role) -> None:
    mclt_s, full_s = bench.settings.mclt_s, bench.settings.lease_s
    bench.start()
    settled = bench.people.arrive(16, 20)
    bench.people.full(settled, full_s)
    newcomers = bench.people.arrive(8, 20)
    bench.people.served(newcomers)
    bench.agree()
    bench.side(side).kill()
    bench.becomes(bench.other(bench.side(side)), "communications-interrupted")
    for clients, least_s, most_s in ((settled, full_s, full_s), (newcomers, mclt_s, full_s)):
        missing = bench.people.renewed(clients, rebind=True)
        bench.expect(not missing, f"{len(missing)} were not renewed")
        found = {client.lease_s for client in clients}
        bench.expect(least_s <= min(found) and max(found) <= most_s, f"leases of {found}, not {least_s} to {most_s}")
    fresh = bench.people.arrive(6, 20)
    bench.people.served(fresh)
    bench.people.renewed(fresh, rebind=True)
    found = {client.lease_s for client in fresh}
    bench.expect(found == {mclt_s}, f"what no partner has acknowledged is MCLT long, not {found}")
    bench.side(side).start()
    bench.normal(30)
    bench.people.renewed(fresh)
    bench.people.full(fresh, full_s, 20)


@case(
    "the {side} runs out of addresses, and the pool is balanced",
    sides=SIDES,
    settings=Settings(pool=40, min_balance_s=5, max_balance_s=10),
    refusals=anybody,
    weight=50,
)
def rebalance(bench: Bench, side: Role) -> None:
    short = bench.side(side)
    bench.start()
    began = time.monotonic()
    clients = bench.people.arrive(27, 10, reach=(short.address,))
    bench.people.served(clients, 60)
    bench.result.measured["27 clients served from a half of 20"] = time.monotonic() - began
    bench.people.full(clients, FULL_S)


RESERVED = [(FIRST_MAC + 0xAA00 + number).to_bytes(6, "big") for number in range(4)]
RESERVED_AT = [f"10.16.9.{number + 1}" for number in range(4)]
HOSTS = "".join(
    f"host r{number} {{ hardware ethernet {mac.hex(':')}; fixed-address {address}; }}\n"
    for number, (mac, address) in enumerate(zip(RESERVED, RESERVED_AT, strict=True))
)
RESERVATIONS = "".join(
    f'[[subnet.reservation]]\nhardware = "{mac.hex(":")}"\naddress = "{address}"\n'
    for mac, address in zip(RESERVED, RESERVED_AT, strict=True)
)


@case(
    "reserved addresses, also while the {side} is dead",
    sides=SIDES,
    settings=Settings(dhcpd_extra=HOSTS, ours_extra=RESERVATIONS),
    weight=35,
    quick=[(Cast.OURS_FIRST, Role.SECONDARY)],
)
def reserved(bench: Bench, side: Role) -> None:
    bench.outside.update(RESERVED_AT)
    bench.start()
    owners = bench.people.arrive(4, 20, macs=RESERVED)
    others = bench.people.arrive(20, 20)
    bench.people.served([*owners, *others])
    bench.expect([client.address for client in owners] == RESERVED_AT, f"not theirs: {[client.address for client in owners]}")
    bench.side(side).kill()
    bench.becomes(bench.other(bench.side(side)), "communications-interrupted")
    failed = bench.people.renewed(owners, rebind=True)
    bench.expect(not failed, f"{len(failed)} owners were not renewed")
    bench.people.release(owners)
    bench.people.again(owners)
    bench.people.served([*owners, *bench.people.arrive(10, 20)])
    bench.expect([client.address for client in owners] == RESERVED_AT, f"not theirs: {[client.address for client in owners]}")
    bench.side(side).start()
    bench.normal(30)


@case("one renewal at a time: how late each update is acknowledged", casts=ALL, weight=35, quick=[(Cast.DHCPD_FIRST, None)])
def updates(bench: Bench) -> None:
    bench.start()
    clients = bench.people.arrive(16, 20)
    bench.people.full(clients, FULL_S)
    bench.agree()
    bench.capture.begin_anew()
    for client in clients[:8]:
        bench.expect(not bench.people.renewed([client]), "renewed")
        time.sleep(1.2)
    time.sleep(2.5)
    delays = bench.capture.now().acks_s
    for server in bench.servers:
        mine = sorted(delays.get(server.link, []))
        if mine:
            bench.result.measured[f"BNDACK of {server.product}"] = mine[len(mine) // 2]
    products = {server.product for server in bench.servers if delays.get(server.link)}
    bench.expect(bool(products), "no update was acknowledged")
    if Product.OURS in products:
        bench.expect(bench.result.measured[f"BNDACK of {Product.OURS}"] < 0.5, "failoverd acknowledges at once")
