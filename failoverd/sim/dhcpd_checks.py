"""How a run with a dhcpd as partner is judged: by the judges of checks.py where they apply, and by what only such a run has.

What the dhcpd promises, stores and frees is its own: (b), (c), (d), (h) and (i) look at the failoverd alone. (x) dhcpd never exits and
never goes to shutdown. Three holes cannot be closed from our side (two are named in safety.md, at its end); a double that is exactly one
of them is reported by its name and is no violation:

* RENEWAL: the dhcpd gives away an address whose last grant, by the failoverd, it never heard of: the failoverd fell, or was cut off, in
  the moments between its DHCPACK and the BNDUPD. It was in normal still, and had been without the partner for no longer than a lost link
  goes unnoticed; what it grants later it grants as a server that is alone, by rules of its own.
* OVERTAKEN: the dhcpd granted an address, and before it could tell that, an older word of its partner's came (RELEASED, or a BACKUP told
  again) that frees it: a dhcpd compares only what is in flight, and yields as the secondary (failover-protocol.md 6.3, 6.4; seeds dhcpd1485
  and dhcpd8060).
* REUSE: the dhcpd is in partner-down and frees the address at the end that it knows, or MCLT after its entry, where the draft waits MCLT
  beyond every end and potential expiry: no failoverd helps against that which granted before the dhcpd's entry. One that grants after it
  was booted alone, and must know better (safety.md 11; seed dhcpd3845). Or the dhcpd gave out, before its partner could know, an address
  that a client had just declined (7.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import wraps
from math import inf
from typing import NamedTuple

from failoverd.dhcp.message import MessageType as Dhcp
from failoverd.failover import message as wire
from failoverd.failover.message import Framer, MessageType, PartnerError
from failoverd.leases.lease import BindingState
from failoverd.sim.dhcpd_server import DIES
from failoverd.sim.trace import Answered, Crashed, Declared, Event, Final, GaveUp, Heard, Moved, Sent, Started, Stated
from failoverd.sim.violation import Violation

RENEWAL = "dhcpd's hole: the renewal in the last instant"
REUSE = "dhcpd's hole: its own earlier reuse"
OVERTAKEN = "dhcpd's hole: an older word of its partner's ended its own grant"
HOLES = (OVERTAKEN, RENEWAL, REUSE)
UNNOTICED_S = 2.0  # a link's end goes unnoticed for max-response-delay, and until the next look
FREES = (BindingState.FREE, BindingState.BACKUP, BindingState.RELEASED)
RETURNS = ("normal", "potential-conflict", "partner-down")  # what is un-acked when it leaves one of these goes back into its queue


def dhcpd_of(events: list[Event]) -> str:
    """The server that is a dhcpd, "" for none."""
    return next((event.dhcpd for event in events if isinstance(event, Started)), "")


def of_ours(events: list[Event]) -> list[Event]:
    """The events without what a dhcpd does by itself; what operators declare and state stays."""
    name = dhcpd_of(events)
    return (
        [each for each in events if isinstance(each, Declared | Stated) or getattr(each, "server", "") != name] if name else events
    )


def ours_only(check: Callable[[list[Event]], Iterator[Violation]]) -> Callable[[list[Event]], Iterator[Violation]]:
    """A judge that sees only those."""

    @wraps(check)
    def seen(events: list[Event]) -> Iterator[Violation]:
        return check(of_ours(events))

    return seen


def dhcpd_ended(events: list[Event]) -> Iterator[Violation]:
    """(x) Nothing that we say ends a dhcpd or drives it to shutdown."""
    name = dhcpd_of(events)
    for event in events:
        if isinstance(event, Crashed) and event.server == name and event.why.startswith(DIES):
            yield Violation("x", event.t, event.why)
        elif isinstance(event, Moved) and event.server == name and event.state == "shutdown":
            yield Violation("x", event.t, "dhcpd goes to shutdown")


def stranded(events: list[Event]) -> set[int]:
    """Addresses that a dhcpd still owes and does not tell: it told them before it was normal, and lost that link before the ack. What waits
    for an ack it queues no second time, for an UPDREQ* neither, and as primary it refuses our word on it (16): it tells them again when it
    has left normal, or was started anew (failover-protocol.md 2.2, 5.3, 6.4; seeds dhcpd5001 and dhcpd1965)."""
    name, state = dhcpd_of(events), ""
    framers: dict[tuple[int, bool], Framer] = {}
    waiting: set[int] = set()
    for event in events:
        if isinstance(event, Moved) and event.server == name:
            if state in RETURNS or event.state == "startup":
                waiting.clear()
            state = event.state
        elif isinstance(event, Sent | Heard) and event.server == name:
            said = isinstance(event, Sent)
            with suppress(PartnerError):
                for message in framers.setdefault((event.wire, said), Framer()).feed(event.data):
                    binding = wire.binding(message) if message.kind in (MessageType.BNDUPD, MessageType.BNDACK) else None
                    if binding is None or binding.address is None:
                        continue
                    if said == (message.kind == MessageType.BNDUPD):  # its own, or the answer to it
                        waiting.discard(binding.address)
                    if said and message.kind == MessageType.BNDUPD and state not in RETURNS:
                        waiting.add(binding.address)
    return waiting


def without(final: Final, addresses: set[int]) -> Final:
    """The same without these addresses."""
    gone = [lease for lease in final.leases if lease[0] in addresses]
    leases = tuple(lease for lease in final.leases if lease[0] not in addresses)
    return final._replace(leases=leases, owed=max(0, final.owed - sum(lease[4] for lease in gone))) if gone else final


class Grant(NamedTuple):
    """An ACK: until when by the server's clock, given at `t`, lasting until `until_t`. `settled`: the server was in normal; `down_t`: since
    when the dhcpd had been in partner-down, inf when it was not."""

    server: str
    client: bytes
    end: int
    t: float
    until_t: float
    settled: bool
    down_t: float


class Holes:
    """What the dhcpd knew when it gave an address, followed through the trace: who gave it last, and what it had heard."""

    def __init__(self, name: str) -> None:
        """`name`: the dhcpd, "" for none."""
        self.name = name
        self.states: dict[str, str] = {}  # of both servers
        self._delay_s = 0.0
        self._down_t = inf  # when the dhcpd entered partner-down, restarts in it apart
        self._apart_t: list[float] = []  # when the failoverd left normal, or fell
        self._declined: set[int] = set()
        self._reused: dict[int, float] = {}  # given out of ABANDONED; until when that grant lasts
        self._untold: dict[
            int, tuple[bytes, float]
        ] = {}  # grants of the dhcpd that its partner has not heard of: to whom, until when
        self._overtaken: dict[int, tuple[bytes, float]] = {}  # of these, what an older word of the partner's has ended
        self._framers: dict[tuple[str, int], Framer] = {}
        self._granted: dict[int, list[Grant]] = {}  # by address
        self._heard: dict[int, int] = {}  # address -> the latest end that the dhcpd was told by its partner

    def see(self, event: Event) -> None:
        """The next event."""
        if isinstance(event, Started):
            self._delay_s = event.delay_s
        elif isinstance(event, Moved):
            self._moved(event)
        elif isinstance(event, Crashed) and event.server != self.name:
            self._apart_t.append(event.t)
        elif isinstance(event, GaveUp) and event.why == "decline":
            self._declined.add(event.address)
        elif isinstance(event, Answered) and event.kind == Dhcp.ACK and event.lease_s:
            self._acked(event)
        elif isinstance(event, Heard) and self.name:
            self._read(event)

    def _moved(self, event: Moved) -> None:
        before = self.states.get(event.server, "")
        if event.state == "startup":
            return  # the saved state is on disk
        self.states[event.server] = event.state
        if event.server == self.name:
            if event.state != "partner-down":
                self._down_t = inf
            elif before != "partner-down":
                self._down_t = event.t
        else:
            self._apart_t.extend([event.t] if before == "normal" else [])

    def _acked(self, event: Answered) -> None:
        if event.server == self.name:
            if event.address in self._declined:
                self._reused[event.address] = event.t + event.lease_s
            self._untold[event.address] = (event.client, event.t + event.lease_s)
        self._declined.discard(event.address)
        grants, end = self._granted.setdefault(event.address, []), int(event.wall) + event.lease_s
        remains = any(each.server == event.server and each.client == event.client and end <= each.end + 1 for each in grants)
        if event.server == self.name or not remains:  # ours may say what remains of a grant, which is no new one (seed dhcpd2405)
            settled = self.states.get(event.server) == "normal"
            grants.append(Grant(event.server, event.client, end, event.t, event.t + event.lease_s, settled, self._down_t))

    def _read(self, event: Heard) -> None:
        framer = self._framers.setdefault((event.server, event.wire), Framer())
        with suppress(PartnerError):
            for message in framer.feed(event.data):
                said = wire.binding(message) if message.kind == MessageType.BNDUPD else None
                if said is None or said.address is None:
                    continue
                if event.server != self.name:
                    self._untold.pop(said.address, None)
                    continue
                if said.state in FREES and said.address in self._untold:
                    self._overtaken[said.address] = self._untold.pop(said.address)
                self._heard[said.address] = max(said.ends or 0, self._heard.get(said.address, 0))

    def named(self, address: int, t: float) -> str:
        """Which hole it is that two clients hold this address at `t`, "" for none."""
        acks = self._granted.get(address, [])
        if self._reused.get(address, 0.0) > t:
            return REUSE
        if not self.name or not acks:
            return ""
        client, until = self._overtaken.get(address, (b"", 0.0))
        if until > t and client != acks[-1].client:
            return OVERTAKEN
        given, others = acks[-1], acks[:-1]  # and when this client had it first, which it has renewed since (seed dhcpd2845)
        while others and others[-1].client == given.client:
            given = others.pop()
        # The dhcpd may have given it to others before, whose leases have ended meanwhile (seed dhcpd13835).
        ours = (each for each in reversed(others) if each.server != self.name and each.client != given.client and each.until_t > t)
        before = next(ours, None)
        if before is None or given.server != self.name:
            return ""
        apart_t = next((each for each in self._apart_t if each >= before.t), inf)
        if before.end > self._heard.get(address, 0) and before.settled and apart_t - before.t <= self._delay_s + UNNOTICED_S:
            return RENEWAL
        return REUSE if before.t < given.down_t < inf else ""
