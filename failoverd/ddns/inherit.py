"""The names that a dead partner registered and that were never told to us (ddns.md 4.6): they are removed when their lease ends.

A plain failover link, dhcpd's and our own, carries no name. So when a lease of the partner ends in partner-down, the PTR of its
address is read, then the name that it gives: only when that name has the address, and a DHCID that this very client would have there,
is it proven that the lease's server put it there. Then it goes the way of every removal: by value and by DHCID, through a row.
Nothing is stored: after a restart in partner-down all ended leases are looked at again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from failoverd.ddns.audit import Class, Finding, Repair
from failoverd.ddns.guards import guard_candidates
from failoverd.ddns.names import dotted
from failoverd.ddns.plan import Planner
from failoverd.ddns.repair import Job
from failoverd.ddns.rows import FORWARD, REVERSE, row_key
from failoverd.ddns.wants import pointer_of
from failoverd.ddns.zone import DnsPlan
from failoverd.leases.lease import Lease
from failoverd.notes import Note, declare
from failoverd.ports import DnsAnswer, DnsQuery, Now, Output

INHERITED = declare(
    "ddns-inherited",
    "info",
    "A lease of the partner, which is down, has ended. The name of its client is proven by its DHCID and is removed in the partner's "
    "place.",
)
WINDOW = 8
SLICE_S = 0.5
SLICE = 25  # lookups in SLICE_S
RETRY_S = 15.0
FOREVER = float("inf")


@dataclass(slots=True)
class Lookup:
    """One ended lease at one target. `pointer`: owner name of its PTR; `name`: what the PTR says, "" until it is known."""

    target: str
    address: int
    hw: bytes
    client_id: bytes
    pointer: str
    name: str = ""
    after: float = 0.0


class Inheritance:
    """`look` takes the leases, `due` asks, `answered` hands what is proven to the planner's repairs. `held`: whether somebody holds an
    address now: then its name may be right again, whoever gave it."""

    def __init__(self, plan: DnsPlan, planner: Planner, held: Callable[[int], bool]) -> None:
        self._plan = plan
        self._planner = planner
        self._held = held
        self._targets = sorted({zone.target for zone in plan.zones})
        self._waiting: deque[Lookup] = deque()
        self._later: deque[Lookup] = deque()  # by their time: all wait equally long
        self._asked: dict[int, Lookup] = {}
        self._ident = 0  # the planner's own count up from 1
        self._next_mono = 0.0

    def look(self, lease: Lease) -> None:
        """A lease that ended and whose name, if it had one, is not known here."""
        pointer = pointer_of(lease)
        for target in self._targets if pointer and (lease.hw or lease.client_id) else ():
            self._waiting.append(Lookup(target, lease.address, lease.hw, lease.client_id, pointer))

    def deadline(self) -> float:
        """Monotonic time at which `due` has something to do."""
        if self._planner.fenced or len(self._asked) >= WINDOW or not (self._waiting or self._later):
            return FOREVER
        return self._next_mono if self._waiting else max(self._next_mono, self._later[0].after)

    def due(self, now: Now, out: Output) -> None:
        """Ask what the rate and the window allow."""
        if now.mono < self.deadline():
            return
        self._next_mono = now.mono + SLICE_S
        while self._later and self._later[0].after <= now.mono:
            self._waiting.append(self._later.popleft())
        for _ in range(min(len(self._waiting), SLICE, WINDOW - len(self._asked))):
            lookup = self._waiting.popleft()
            self._ask(lookup, lookup.pointer, ("PTR",), out)

    def _ask(self, lookup: Lookup, name: str, types: tuple[str, ...], out: Output) -> None:
        zone = self._plan.zone_for(name, lookup.target)
        if zone is not None:  # else it is not ours to read, and was not the partner's to write
            self._ident -= 1
            self._asked[self._ident] = lookup
            out.after_commit.append(DnsQuery(self._ident, lookup.target, zone.name, name, types))

    def answered(self, answer: DnsAnswer, now: Now, out: Output) -> bool:
        """Whether the answer was to a question of this file."""
        if answer.ident >= 0:
            return False
        lookup = self._asked.pop(answer.ident, None)
        if lookup is None:
            return True
        if answer.rcode not in ("NOERROR", "NXDOMAIN"):
            lookup.name, lookup.after = "", now.mono + RETRY_S
            self._later.append(lookup)
        elif lookup.name:
            self._judge(lookup, answer, now, out)
        elif answer.records:
            lookup.name = answer.records[0][1]
            self._ask(lookup, lookup.name.lower(), ("A", "DHCID"), out)
        return True

    def _judge(self, lookup: Lookup, answer: DnsAnswer, now: Now, out: Output) -> None:
        """The records of the name: is it proven?"""
        name, address = lookup.name.lower(), dotted(lookup.address)
        addresses = {text for rtype, text in answer.records if rtype == "A"}
        dhcids = {text for rtype, text in answer.records if rtype == "DHCID"}
        known = guard_candidates(lookup.hw, lookup.client_id, name, cased=lookup.name)
        proofs = [each for each in known if each.rtype == "DHCID" and each.text in dhcids]
        if not proofs or addresses != {address} or self._held(lookup.address):
            return
        out.notes.append(Note(INHERITED, now.wall, lookup.hw, subject=name, detail=f"{address}, DHCID {proofs[0].how}"))
        removals = (
            (FORWARD, name, (("A", address),), proofs[0].text),
            (REVERSE, lookup.pointer, (("PTR", name),), ""),
        )
        findings = [
            Finding(lookup.target, kind, owner, Class.STALE, Repair.REMOVE, remove=remove, guard=guard)
            for kind, owner, remove, guard in removals
        ]
        jobs = [Job(row_key(each.target, each.kind, each.name), "partner-down", each) for each in findings]
        self._planner.repairs.queue(jobs, now)
