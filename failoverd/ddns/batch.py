"""Batches: many names in one UPDATE message, and what to do when one of them spoils it (ddns.md 4.4).

A master commits a message with two fsyncs, whatever it holds, so names that wait go together. A message is all or nothing and its
rcode does not name the culprit; then the zone is asked about each name, and who fits goes in a second message. Nothing here sends.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from failoverd.ddns.pace import Lane
from failoverd.ddns.rows import Row, State, Value
from failoverd.ddns.steps import QUERIES, Records, Step, message, second_step
from failoverd.ports import DnsAnswer, DnsQuery, DnsUpdate, Prereq

NAMES_MAX = 50  # names in a message
BYTES_MAX = 16_000  # of a message, its names uncompressed
_RECORD = 12  # octets of a record beside its name and its data (RFC 1035 3.2.1), and the root of the name


@dataclass(slots=True)
class Repair:
    """The names of a batch that failed: each is asked about, then those that fit go together. `waiting`: names whose fate is
    open, `fit`: those for the second message."""

    lane: Lane
    waiting: int = 0
    fit: list[Flight] = field(default_factory=list)


@dataclass(slots=True)
class Flight:
    """The round of one row. `sent`: what its message puts into the zone; `drop`: what a removal of this round still takes
    away, under `guard`; `taken`: all that it takes away; `ghost`: it takes away what a lost message may have put there;
    `seen`: what the last query found; `repair`: the failed batch that it belongs to, while the zone is asked about its name."""

    row: Row
    lane: Lane
    step: Step
    gen: int
    drop: tuple[Value, ...]
    guard: str = ""
    ghost: bool = False
    taken: tuple[Value, ...] = ()
    sent: tuple[Value, ...] = ()
    messages: int = 1
    seen: Records = ()
    repair: Repair | None = None


@dataclass(slots=True)
class Sent:
    """One message that is out. `turn`: it is the one message of its zone that may hold many names; `second`: after a repair."""

    lane: Lane
    flights: list[Flight]
    turn: bool = False
    second: bool = False

    @property
    def queries(self) -> bool:
        """Whether it changes nothing."""
        return self.flights[0].repair is not None or self.flights[0].step in QUERIES


def goes_alone(flight: Flight, before: State, refused: bool) -> bool:
    """A name that is likely to spoil a batch: it failed last time, or what stands there is guessed. `before`: the row's state
    until now."""
    row = flight.row
    return flight.ghost or flight.step in QUERIES or refused or row.attempts > 0 or before not in {State.CLEAN, State.DIRTY}


def part(flight: Flight) -> DnsUpdate:
    """The message of a flight, as far as it is an UPDATE."""
    out = message(flight.step, flight.row, flight.drop, flight.guard, 0, flight.seen)
    assert isinstance(out, DnsUpdate)
    return out


def joined(parts: Iterable[DnsUpdate], ident: int) -> DnsUpdate:
    """One message of all parts; they are of one zone, and no two of one name."""
    many = list(parts)
    prereqs = tuple(prereq for each in many for prereq in each.prereqs)
    changes = tuple(change for each in many for change in each.changes)
    return DnsUpdate(ident, many[0].target, many[0].zone, prereqs, changes)


def size(update: DnsUpdate) -> int:
    """At least the octets of an UPDATE's prerequisites and changes: names are not compressed and data is counted as text."""
    octets = sum((len(p.name) + _RECORD) * max(1, len(p.values)) + sum(map(len, p.values)) for p in update.prereqs)
    return octets + sum(len(c.name) + _RECORD + len(c.value) for c in update.changes)


def survey(flight: Flight, mode: str, ident: int) -> DnsQuery:
    """Ask for what the prerequisites of the flight's step, and of what may follow it, speak about."""
    types: dict[str, None] = {}
    for step in _candidates(flight, mode):
        prereqs = message(step, flight.row, flight.drop, flight.guard, 0)
        assert isinstance(prereqs, DnsUpdate)
        types.update((p.rtype, None) for p in prereqs.prereqs if p.rtype)
    row = flight.row
    return DnsQuery(ident, row.target, row.zone, row.name, tuple(types) or ("DHCID",))


def fitting(flight: Flight, mode: str, answer: DnsAnswer) -> Step | None:
    """The step whose prerequisites hold by the answer to `survey`, None for a name that needs a closer look."""
    if answer.rcode not in {"NOERROR", "NXDOMAIN"}:
        return None
    there: dict[str, set[str]] = {}
    for rtype, text in answer.records:
        there.setdefault(rtype, set()).add(_same(rtype, text))
    for step in _candidates(flight, mode):
        update = message(step, flight.row, flight.drop, flight.guard, 0)
        assert isinstance(update, DnsUpdate)
        if all(_holds(prereq, answer.rcode == "NOERROR", there) for prereq in update.prereqs):
            return step
    return None


def _candidates(flight: Flight, mode: str) -> tuple[Step, ...]:
    if flight.step is Step.ADD:
        return Step.ADD, second_step(mode)
    if flight.step in {Step.MATCH, Step.EXISTS}:
        return flight.step, Step.ADD
    return (flight.step,)


def _same(rtype: str, text: str) -> str:
    """Data as it is compared: base64 as it is, names and addresses whatever their case."""
    return text if rtype == "DHCID" else text.lower()


def _holds(prereq: Prereq, exists: bool, there: dict[str, set[str]]) -> bool:
    """RFC 2136 3.2, by what a query found."""
    op, _, rtype, values = prereq
    if op == "nxdomain":
        return not exists
    if op == "yxdomain":
        return exists
    found = there.get(rtype, set())
    if op == "nxrrset":
        return not found
    return bool(found) if not values else found == {_same(rtype, value) for value in values}
