"""Judges of what servers say to others of an address, on the trace alone: (n) nobody removes the name that its partner put there for a
client that holds its address; (o) an address is offered to one client at a time."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import NamedTuple

from failoverd.dhcp.message import MessageType as Dhcp
from failoverd.sim.trace import Answered, Booted, Chose, Committed, Event, GaveUp, Held, Moved, Named, Pinged, Replaced, Started
from failoverd.sim.violation import Violation, dotted

DOMAIN = ".dyn.example.test."
PINGED_S = 1.5  # how long a ping is waited for, and some time passes until the OFFER
RESERVED_S = 100.0  # an OFFER reserves its address for 120 s of a clock that may drift


def host(client: bytes) -> str:
    """The name that a client of the simulator has, by its hardware address (clients.py)."""
    lives, number = int.from_bytes(client[3:5], "big"), int.from_bytes(client[5:7], "big")
    return f"c{number}-{lives}" if lives else f"c{number}"


def partners_name_removed(events: list[Event]) -> Iterator[Violation]:
    """(n) A server takes away the name of a client that holds its address, though it never gave that client anything, and has not been
    in partner-down, where names become its own (safety.md 25)."""
    gave: set[tuple[str, str]] = set()
    took_over: set[str] = set()
    held: dict[str, Held] = {}
    for event in events:
        if isinstance(event, Answered) and event.kind == Dhcp.ACK:
            gave.add((event.server, host(event.client)))
        elif isinstance(event, Moved) and event.state == "partner-down":
            took_over.add(event.server)
        elif isinstance(event, Held):
            held[event.client] = event
        elif isinstance(event, GaveUp):
            held.pop(event.client, None)
        elif isinstance(event, Named) and event.server not in took_over:
            for name, address in event.removes:
                has = held.get(name.removesuffix(DOMAIN))
                if has is None or dotted(has.address) != address or has.until <= event.t:
                    continue
                if (event.server, has.client) not in gave:
                    text = f"{event.server} removes {name} {address}, which its partner gave to {has.client} until {has.until:.0f}"
                    yield Violation("n", event.t, text)


class Twice(NamedTuple):
    """An address that was offered to a second client; `client`: the first one."""

    server: str
    client: bytes
    address: int
    violation: Violation


def offered_twice(events: list[Event]) -> Iterator[Violation]:
    """(o) What a server has offered to a client that has not chosen yet, it offers to no other (safety.md 6). A client has one OFFER of a
    pool at a time: another address of it takes the earlier one's place. Where it is pinged first, from that moment, so that it is offered a
    little later (seed ping12630)."""
    offers: dict[tuple[str, int], tuple[bytes, float]] = {}
    pools: list[range] = []
    pinged: dict[tuple[str, int], float] = {}
    found: list[Twice] = []
    for event in events:
        if isinstance(event, Started):
            pools = [range(first, last + 1) for _, _, first, last in event.pools]
        elif isinstance(event, Booted | Replaced):
            offers = {key: offer for key, offer in offers.items() if key[0] != event.server}
        elif isinstance(event, Committed):
            for address, _ in event.leases:
                offers.pop((event.server, address), None)
        elif isinstance(event, Chose):
            offers = {key: offer for key, offer in offers.items() if offer[0] != event.client}
        elif isinstance(event, Pinged):
            pinged[event.server, event.address] = event.t
        elif isinstance(event, Answered) and event.kind == Dhcp.OFFER:
            client, since = offers.get((event.server, event.address), (event.client, event.t))
            if client != event.client and event.t < since + RESERVED_S:
                text = f"{event.server} offers {dotted(event.address)} to {host(event.client)}, offered to {host(client)} at {since:.1f}"
                found.append(Twice(event.server, client, event.address, Violation("o", event.t, text)))
            asked_t = pinged.get((event.server, event.address), inf)
            for pool in pools:
                if event.address in pool:
                    found = [each for each in found if not _had_another(each, event, pool, asked_t)]
                    mine = [key for key, (whose, _) in offers.items() if (key[0], whose) == (event.server, event.client)]
                    for key in mine:
                        if key[1] in pool:
                            del offers[key]
            offers[event.server, event.address] = (event.client, event.t)
    yield from (each.violation for each in found)


def _had_another(twice: Twice, offer: Answered, pool: range, asked_t: float) -> bool:
    """Whether the OFFER of the first client was none any more: the address that it is offered now was being pinged for it."""
    its = (twice.server, twice.client) == (offer.server, offer.client) and twice.address in pool and twice.address != offer.address
    return its and asked_t <= twice.violation.t and offer.t <= twice.violation.t + PINGED_S
