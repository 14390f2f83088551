"""Where a pair of failoverd does better than a pair of dhcpd: each case measures both. It fails when failoverd is not better."""

from __future__ import annotations

import time

from failoverd.failover.hashing import bucket
from tests.interop.pairs.bench import RELAY, Bench
from tests.interop.pairs.case import ALL, Settings, case, dhcpd_alone
from tests.interop.pairs.cases_outage import settled
from tests.interop.pairs.people import FIRST_MAC
from tests.interop.pairs.server import Ours, Product, Server
from tests.lab.terms import Role
from tests.lab.wait import until

CLOSED_IN = """
  chain in {
    type filter hook input priority 0
    tcp dport 647 reject with tcp reset
  }
"""
CLOSED_OUT = """
  chain out {
    type filter hook output priority 0
    tcp dport 647 reject with tcp reset
  }
"""


def own_macs(server: Server, count: int) -> list[bytes]:
    """Hardware addresses of clients that load balancing gives to this server (split 128); they send client-id 01 and the address."""
    first = server.role is Role.PRIMARY
    every = ((FIRST_MAC + 0x100000 + number).to_bytes(6, "big") for number in range(40 * count))
    return [mac for mac in every if (bucket(b"\x01" + mac) < 128) is first][:count]


@case("the port of the partner is closed and opens again: how soon it is dialled", casts=ALL, weight=75)
def port_opens(bench: Bench) -> None:
    settled(bench)
    for dialler in bench.servers:
        other = bench.other(dialler)
        name = f"normal after the partner's port opens, {dialler.product} dials"
        for pause_s in (0.7, 3.4):  # dhcpd dials every 5 s: the two see different parts of that
            took = dialled(bench, other, pause_s)
            bench.result.measured[name] = max(took, bench.result.measured.get(name, 0.0))
            if dialler.product is Product.OURS:
                bench.expect(took < 3, f"{took:.1f} s from the opening of the port to normal; failoverd dials every 2 s")


def dialled(bench: Bench, closed: Server, pause_s: float) -> float:
    """Close the port of a server, which cannot dial either, and open it again after a while; the seconds from then to normal."""
    with bench.filtered(closed.host, CLOSED_IN + CLOSED_OUT):
        for server in bench.servers:
            bench.becomes(server, "communications-interrupted")
        time.sleep(pause_s)  # nothing to wait for: it decides in which part of the dialler's pause the port opens
        closed.host.run("nft", "flush", "chain", "inet", "held", "in")
        return bench.normal(20)


def acks_dropped() -> str:
    """Rules for one end of the link that lose every segment which begins with a BNDACK, of either server, and what repeats it."""
    rules = ""
    for hook in ("input", "output"):
        rules += f"  chain {hook} {{\n    type filter hook {hook} priority 0\n"
        for port in ("sport", "dport"):
            for words, at in (
                (8, 272),
                (5, 176),
            ):  # TCP headers with timestamps and without; the type is the third byte of a message
                rules += f"    tcp {port} 647 tcp doff {words} @th,{at},8 4 drop\n"
        rules += "  }\n"
    return rules


@case(
    "both were declared down, and they settle it slowly: who is renewed meanwhile",
    casts=ALL,
    settings=Settings(dhcpd_delay_s=20),
    weight=75,
)
def slow_resolution(bench: Bench) -> None:
    old = settled(bench, 20)
    bench.apart()
    for server in bench.servers:
        server.partner_down()
        bench.becomes(server, "partner-down")
        bench.people.served(bench.people.arrive(3, 20, reach=(server.address,)))
    settling = bench.both("potential-conflict")
    with bench.filtered(bench.lab.hosts["dhcp2"], acks_dropped()):
        healed = bench.heal()
        until("both are in potential-conflict", settling, 40, 0.05)
        missing = bench.people.renewed(old, within_s=5, rebind=True)
        bench.expect(settling(), "the resolution was over before the renewals were")
    bench.result.measured["renewed while they settle a conflict"] = len(old) - len(missing)
    bench.result.measured["wanted it while they settle a conflict"] = len(old)
    if isinstance(bench.subject(), Ours):
        bench.expect(not missing, f"{len(missing)} of {len(old)} clients were not renewed in potential-conflict")
    bench.normal(90, since=healed)


@case(
    "one server is out of addresses, and the next balance is a minute away",
    casts=ALL,
    settings=Settings(pool=40),
    refusals=dhcpd_alone,
    weight=70,
)
def pool_request(bench: Bench) -> None:
    short = bench.subject()
    bench.start()
    clients = bench.people.arrive(26, 10, reach=(short.address,), macs=own_macs(short, 26))
    bench.people.served(clients, 100)
    waited = max(max(client.waits) for client in clients)
    bench.result.measured[f"refused for lack of own addresses by {short.product}"] = waited
    if short.product is Product.OURS:
        bench.expect(waited < 8, f"a client waited {waited:.1f} s for an address of the partner")


@case(
    "a server hangs, and its clients leave `secs` at 0",
    casts=ALL,
    settings=Settings(dhcpd_delay_s=15),
    refusals=dhcpd_alone,
    weight=60,
)
def secs_zero(bench: Bench) -> None:
    alive = bench.subject()
    hung = bench.other(alive)
    settled(bench, 4)
    hung.freeze()
    clients = bench.people.arrive(10, 50, macs=own_macs(hung, 10), counts=False)
    bench.people.served(clients, 60)
    waited = max(max(client.waits) for client in clients)
    bench.result.measured[f"clients with secs 0 of a hung server, {alive.product} lives"] = waited
    if alive.product is Product.OURS:
        bench.expect(waited < 9, f"a client that leaves secs at 0 waited {waited:.1f} s")
    hung.thaw()
    bench.normal(60)


@case("a relay knows one of the two servers only", casts=ALL, refusals=dhcpd_alone, weight=55)
def one_relay(bench: Bench) -> None:
    known = bench.subject()
    unknown = bench.other(known)
    settled(bench, 4)
    macs = own_macs(unknown, 12)
    first = bench.people.arrive(6, 2, reach=(known.address,), macs=macs[:6], counts=False)
    bench.people.tried(first, 25)
    later = bench.people.arrive(6, 20, reach=(known.address,), macs=macs[6:], counts=False)
    clients = [*first, *later]
    without = bench.people.tried(clients, 8)
    measured = bench.result.measured
    measured[f"served behind a relay that knows {known.product} only"] = len(clients) - len(without)
    measured["clients behind a relay that knows one server only"] = len(clients)
    status = known.daemon.api("status")["warnings"] if isinstance(known, Ours) else []
    told = any(RELAY in line for line in status)
    measured[f"told of the relay by {known.product}"] = float(told)
    if isinstance(known, Ours):
        bench.expect(not without, f"{len(without)} of the clients behind the relay are not served")
        longest = max(client.waits[0] for client in later)
        bench.expect(longest < 1, f"after the first ones nobody waits there any more, but one did for {longest:.1f} s")
        bench.expect(told, "status does not name the relay")
    bench.people.only(clients, [server.address for server in bench.servers])
    bench.people.served(clients)
