"""The judges of a run. They read the trace and nothing else (design.md 1.7); each returns what is wrong, in words, empty when nothing is.

(a) no address is held by two clients at one time, as the clients see it, unless an operator wrongly declared partner-down;
(b) no DHCPACK promises what is not on disk; (c) no lease goes beyond max(now, potential expiry acked by or received from the
partner) + MCLT, as derived from the messages; (e) after the faults both reach normal, agree on every lease and owe nothing; (i) a
boot restores exactly what was committed; (f) the zones say what the leases want; (r) no client is refused what it holds. (d) (g)
(h) are in limits.py, the others in the files checks_*.py; rules.py says which rule of safety.md each one watches.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from math import inf
from typing import Any, NamedTuple

from failoverd.dhcp.message import MessageType as Dhcp
from failoverd.failover import message as wire
from failoverd.failover.message import Framer, Message, MessageType, OptionCode, PartnerError
from failoverd.sim.checks_epochs import nothing_to_resolve
from failoverd.sim.checks_links import unused_told
from failoverd.sim.checks_names import offered_twice, partners_name_removed
from failoverd.sim.checks_pings import offered_in_use, offered_unasked
from failoverd.sim.checks_server import grants_without_room, names_out_of_turn, offers_while_the_disk_hangs, serves_too_early
from failoverd.sim.dhcpd_checks import HOLES, Holes, dhcpd_ended, dhcpd_of, of_ours, ours_only, stranded, without
from failoverd.sim.limits import ACK_AGE_S, before_its_time, beyond_a_limit, normal_since, not_answered, reserved
from failoverd.sim.trace import (
    PAIR_INIT,
    Answered,
    Booted,
    Committed,
    Declared,
    Event,
    Final,
    GaveUp,
    Heard,
    Held,
    Quiet,
    Replaced,
    Sent,
    Started,
    Stated,
    Zones,
)
from failoverd.sim.violation import Violation, dotted

FREE, ACTIVE, EXPIRED, BACKUP = 1, 2, 3, 7
ATTESTED = "`pair init` stated that no leases exist"
KNOWN = (*HOLES, ATTESTED)


# --- (a) ---------------------------------------------------------------------------------------------------------------


class Claim(NamedTuple):
    """A client believes that an address is its own until `until`. `said_t`: when a server said so last."""

    client: str
    since: float
    until: float
    said_t: float


def excused_from(events: list[Event]) -> float:
    """From when on two holders are what safety.md says must come of it, not a violation: an operator (or auto-partner-down) has declared
    or stated what was not so, or a partner-down was declared where lone-boot is "serve" (safety.md 11, 12). An untrue `pair init` harms
    the leases of before and no others: held_twice names those."""
    serves = any(isinstance(event, Started) and event.lone_boot_serves for event in events)
    for event in events:
        if isinstance(event, Declared) and (event.wrongly or serves):
            return event.t
        if isinstance(event, Stated) and event.untrue and event.what != PAIR_INIT:
            return event.t
    return inf


def two_holders(events: list[Event]) -> Iterator[Violation]:
    """(a) No two clients hold one address at one time, unless somebody stated something untrue before, or it is one of dhcpd's holes."""
    until_t = excused_from(events)
    return (violation for violation in held_twice(events) if violation.t < until_t and not violation.text.endswith(KNOWN))


def reported(events: list[Event]) -> list[Violation]:
    """(a) What two clients hold at one time after an untrue statement: exactly those are reported."""
    from_t = excused_from(events)
    return [violation for violation in held_twice(events) if violation.t >= from_t or violation.text.endswith(KNOWN)]


def lease_denied(events: list[Event]) -> Iterator[Violation]:
    """(r) No client hears a DHCPNAK for an address that it holds, in the network where it got it, unless somebody stated something untrue
    before, or a database was lost or put back, which may have forgotten whose it is."""
    until_t = excused_from(events)
    holes = {each.text.split()[0] for each in held_twice(events) if each.text.endswith(HOLES)} if dhcpd_of(events) else set()
    held: dict[str, Held] = {}
    for event in events:
        if isinstance(event, Replaced) or event.t >= until_t:
            return
        if isinstance(event, Held):
            held[event.client] = event
        elif isinstance(event, GaveUp):
            had = held.pop(event.client, None)
            if dotted(event.address) in holes:
                continue
            if had is not None and event.why == "nak" and had.address == event.address and had.until > event.t + 1.0:
                text = f"{event.client} was refused {dotted(event.address)}, {had.until - event.t:.0f} s before its end"
                yield Violation("r", event.t, text)


def held_twice(events: list[Event]) -> Iterator[Violation]:
    """Each time a client takes an address that another one holds. What was held when `pair init` stated that nothing is, and was not
    renewed since, nobody knows of (safety.md 16)."""
    claims: dict[int, dict[str, Claim]] = {}
    forgotten: set[tuple[str, int]] = set()
    holes = Holes(dhcpd_of(events))
    for event in events:
        holes.see(event)
        if isinstance(event, GaveUp):
            claims.get(event.address, {}).pop(event.client, None)
        elif isinstance(event, Stated) and event.untrue and event.what == PAIR_INIT:
            forgotten = {(each.client, at) for at, held in claims.items() for each in held.values() if each.said_t <= event.t}
        elif isinstance(event, Held):
            forgotten.discard((event.client, event.address))
            held = claims.setdefault(event.address, {})
            for other in list(held.values()):
                if other.until <= event.t:
                    del held[other.client]
                elif other.client != event.client:
                    text = (
                        f"{dotted(event.address)} was taken by {event.client} until {event.until:.1f}, while {other.client} holds it"
                        f" since {other.since:.1f} until {other.until:.1f}"
                    )
                    stated = ATTESTED if (other.client, event.address) in forgotten else ""
                    named = holes.named(event.address, event.t) or stated
                    yield Violation("a", event.t, f"{text}; {named}" if named else text)
            since = held[event.client].since if event.client in held else event.t
            held[event.client] = Claim(event.client, since, event.until, event.t)


# --- (b) and (i) ---------------------------------------------------------------------------------------------------------


@lru_cache(8192)
def read(record: str) -> dict[str, Any]:
    """A lease's record; several judges read each. Not to be changed."""
    out: dict[str, Any] = json.loads(record)
    return out


class Disks:
    """What is durable on each server, followed through the trace; with what was replaced in the last seconds."""

    def __init__(self) -> None:
        """Empty disks."""
        self.rows: dict[str, dict[int, str]] = {}
        self.recent: dict[tuple[str, int], list[tuple[float, str]]] = {}
        self.ever: dict[
            tuple[str, int], set[tuple[int, int]]
        ] = {}  # states and ends that were durable: sends wait behind a slow disk

    def committed(self, event: Committed) -> None:
        """A transaction."""
        rows = self.rows.setdefault(event.server, {})
        for address, record in event.leases:
            if (was := rows.pop(address, None)) is not None:
                recent = self.recent.setdefault((event.server, address), [])
                recent.append((event.t, was))
                while recent[0][0] < event.t - ACK_AGE_S:
                    recent.pop(0)
            if record is None:
                continue
            rows[address] = record
            raw = read(record)
            self.ever.setdefault((event.server, address), set()).add((raw["state"], raw.get("ends", 0)))

    def replaced(self, event: Replaced) -> None:
        """Another disk: nothing but what it holds counts from now on."""
        self.rows[event.server] = dict(event.leases)
        self.ever = {key: ends for key, ends in self.ever.items() if key[0] != event.server}
        for address, record in event.leases:
            raw = read(record)
            self.ever[event.server, address] = {(raw["state"], raw.get("ends", 0))}
        self.recent = {key: records for key, records in self.recent.items() if key[0] != event.server}

    def promises(self, server: str, address: int, t: float) -> list[dict[str, object]]:
        """What the disk says of an address, or said within the last seconds."""
        newest = self.rows.get(server, {}).get(address)
        records = [record for when, record in self.recent.get((server, address), []) if when >= t - ACK_AGE_S]
        return [read(record) for record in {newest, *records} if record is not None]


def not_on_disk(events: list[Event]) -> Iterator[Violation]:
    """(b) Every DHCPACK of a lease that leaves a server is on its disk."""
    disks = Disks()
    for event in events:
        if isinstance(event, Committed):
            disks.committed(event)
        elif isinstance(event, Replaced):
            disks.replaced(event)
        elif isinstance(event, Answered) and event.kind == Dhcp.ACK and event.lease_s:
            ends = int(event.wall) + event.lease_s
            for record in disks.promises(event.server, event.address, event.t):
                durable_end = record.get("ends", 0)
                assert isinstance(durable_end, int)
                kept = record["state"] in (
                    ACTIVE,
                    EXPIRED,
                )  # what remained may be over by the time that a hung disk lets the ACK go
                if kept and record.get("hw") == event.client.hex() and durable_end >= ends:
                    break
            else:
                what = f"{dotted(event.address)} until {ends} to {event.client.hex()}"
                text = f"{event.server} acknowledged {what}, and its disk does not say so"
                yield Violation("b", event.t, text)


FREED = {3, 4, 6}  # EXPIRED, RELEASED and RESET are FREE at once where they are accepted (failover-protocol.md 6.3)
Messages = dict[int, list[Message]]  # by the place of a Sent or Heard in the trace


def read_links(events: list[Event]) -> Messages:
    """The messages that came to their end with each Sent and Heard."""
    framers: dict[tuple[str, int, str], Framer] = {}
    out: Messages = {}
    for at, event in enumerate(events):
        if isinstance(event, Sent | Heard):
            framer = framers.setdefault((event.server, event.wire, type(event).__name__), Framer())
            out[at] = found = []
            with suppress(PartnerError):
                found.extend(framer.feed(event.data))
    return out


def told_before_commit(events: list[Event], messages: Messages) -> Iterator[Violation]:
    """(b) What a BNDUPD says, and what a BNDACK accepts, is on the sender's disk (safety.md 1, 2)."""
    disks = Disks()
    heard: dict[tuple[str, int, int], wire.Binding] = {}
    for at, event in enumerate(events):
        if isinstance(event, Committed):
            disks.committed(event)
        elif isinstance(event, Replaced):
            disks.replaced(event)
        elif isinstance(event, Sent | Heard):
            for message in messages[at]:
                key = (event.server, event.wire, message.xid)
                if isinstance(event, Heard):
                    if message.kind == MessageType.BNDUPD:
                        heard[key] = wire.binding(message)
                elif message.kind == MessageType.BNDUPD:
                    yield from _durable(disks, event, wire.binding(message), acks=False)
                elif message.kind == MessageType.BNDACK and key in heard and not message.raw(OptionCode.REJECT_REASON):
                    yield from _durable(disks, event, heard[key], acks=True)


def _durable(disks: Disks, event: Sent, said: wire.Binding, *, acks: bool) -> Iterator[Violation]:
    if said.address is None or said.state is None or not said.hw:
        return  # a free address that nobody had is no row
    states = {FREE, BACKUP} if acks and said.state in FREED else {said.state}
    for state, ends in disks.ever.get((event.server, said.address), ()):
        if state in states and (acks or ends == (said.ends or 0)):
            return
    what = f"{event.server} {'accepted' if acks else 'told'} {dotted(said.address)} in state {said.state} until {said.ends}"
    yield Violation("b", event.t, f"{what}, and its disk does not say so")


def boot_differs(events: list[Event]) -> Iterator[Violation]:
    """(i) The table after a boot is what was committed, record for record."""
    disks = Disks()
    for event in events:
        if isinstance(event, Committed):
            disks.committed(event)
        elif isinstance(event, Replaced):
            disks.replaced(event)
        elif isinstance(event, Booted):
            want = disks.rows.get(event.server, {})
            got = dict(event.leases)
            for address in sorted(set(want) | set(got)):
                if address not in want or address not in got or json.loads(want[address]) != json.loads(got[address]):
                    text = f"{event.server} booted with {dotted(address)} as {got.get(address)}, committed was {want.get(address)}"
                    yield Violation("i", event.t, text)


# --- (c) ---------------------------------------------------------------------------------------------------------------


class Knowledge:
    """What each server may count on: the potential expiry that its partner acked or sent, by address; from the messages alone."""

    def __init__(self) -> None:
        """Nothing said yet."""
        self.known: dict[tuple[str, int], int] = {}
        self._told: dict[tuple[str, int, int], tuple[int, int]] = {}  # (server, wire, xid) of its BNDUPD -> address, potential
        self._heard: dict[tuple[str, int, int], tuple[int, int]] = {}  # the same for a BNDUPD that it received

    def read(self, event: Sent | Heard, messages: list[Message]) -> None:
        """Messages on a link."""
        for message in messages:
            if isinstance(event, Sent):
                self._sent(event.server, event.wire, message)
            else:
                self._received(event.server, event.wire, message)

    def booted(self, server: str) -> None:
        """What was received and not answered may have been committed before the fall: received, it counts (safety.md 9)."""
        for key in [key for key in self._heard if key[0] == server]:
            address, potential = self._heard.pop(key)
            self.known[server, address] = max(self.known.get((server, address), 0), potential)

    def _sent(self, server: str, link: int, message: Message) -> None:
        if message.kind == MessageType.BNDUPD:
            binding = wire.binding(message)
            if binding.address is not None:
                self._told[server, link, message.xid] = (binding.address, binding.potential or 0)
        elif message.kind == MessageType.BNDACK and message.raw(OptionCode.REJECT_REASON) is None:
            heard = self._heard.pop((server, link, message.xid), None)
            if heard is not None:
                self.known[server, heard[0]] = heard[1]
                for key in [key for key, told in self._told.items() if key[0] == server and told[0] == heard[0]]:
                    del self._told[key]  # superseded: its late BNDACK says nothing any more

    def _received(self, server: str, link: int, message: Message) -> None:
        if message.kind == MessageType.BNDUPD:
            binding = wire.binding(message)
            if binding.address is not None:
                self._heard[server, link, message.xid] = (binding.address, binding.potential or 0)
        elif message.kind == MessageType.BNDACK and message.raw(OptionCode.REJECT_REASON) is None:
            told = self._told.pop((server, link, message.xid), None)
            if told is not None:
                self.known[server, told[0]] = told[1]


def beyond_mclt(events: list[Event], messages: Messages) -> Iterator[Violation]:
    """(c) No promise beyond max(now, what the partner knows) + MCLT (safety.md 9). A BNDUPD that was stepped counts from then: its
    BNDACK leaves after the commit, the ACK of the same step may leave before it."""
    mclt_s = 0
    knowledge, outside = Knowledge(), reserved(events)
    ends: dict[tuple[str, int, bytes], int] = {}
    for at, event in enumerate(events):
        if isinstance(event, Started):
            mclt_s = event.mclt_s
        elif isinstance(event, Booted):
            knowledge.booted(event.server)
        elif isinstance(event, Replaced):
            for address, row in event.leases:  # an earlier copy: what remains of its leases may be said again, not a second more
                old = json.loads(row)
                if old["state"] == ACTIVE:
                    key = (event.server, address, bytes.fromhex(old.get("hw", "")))
                    ends[key] = max(ends.get(key, 0), old["ends"])
        elif isinstance(event, Sent | Heard):
            knowledge.read(event, messages[at])
        elif isinstance(event, Answered) and event.kind == Dhcp.ACK and event.lease_s:
            key = (event.server, event.address, event.client)
            end = int(event.wall) + event.lease_s
            known = knowledge.known.get((event.server, event.address), 0)
            inside = event.t >= outside.get(event.address, 0.0)
            if inside and end > max(int(event.wall), known, ends.get(key, 0) - mclt_s) + mclt_s:
                text = (
                    f"{event.server} promised {dotted(event.address)} until {end}, {end - int(event.wall)} s from now; MCLT is {mclt_s} s"
                    f" and the partner knows {known}"
                )
                yield Violation("c", event.t, text)
            ends[key] = end


# --- (e) and (f) ---------------------------------------------------------------------------------------------------------


def never_quiet(events: list[Event]) -> Iterator[Violation]:
    """(e) After the faults: normal on both within the bound, and at the end one view of every lease."""
    quiet = next((event for event in events if isinstance(event, Quiet)), None)
    finals: dict[str, list[Final]] = {}
    for event in events:
        if isinstance(event, Final):
            finals.setdefault(event.relationship, []).append(event)
    if quiet is None or not finals or any(len(both) != 2 for both in finals.values()):
        yield Violation("e", events[-1].t, "the run did not come to its quiet end")
        return
    normal_at = normal_since(events)
    if normal_at is None:
        told = [f"{final.server} {final.relationship} {final.state}" for both in finals.values() for final in both]
        yield Violation("e", events[-1].t, f"not normal at the end: {', '.join(told)}")
        return
    if normal_at > quiet.t + quiet.bound_s:
        yield Violation(
            "e", normal_at, f"normal on both only {normal_at - quiet.t:.0f} s after the faults, {quiet.bound_s:.0f} s are allowed"
        )
    kept_back = stranded(events)
    for both in finals.values():
        one, other = (without(final, kept_back) for final in both)
        for final in (one, other):
            if final.owed or any(lease[4] for lease in final.leases):
                rows = [dotted(lease[0]) for lease in final.leases if lease[4]]
                text = f"{final.server} still owes {final.owed} updates at the end: {' '.join(rows[:5])}"
                yield Violation("e", final.t, text)
        yield from differences(one, other)


def differences(one: Final, other: Final) -> Iterator[Violation]:
    """Where the two tables disagree: on a state, or on the client and the end of an ACTIVE lease."""
    left = {lease[0]: lease for lease in one.leases}
    right = {lease[0]: lease for lease in other.leases}
    for address in sorted(set(left) | set(right)):
        a, b = left.get(address), right.get(address)
        state_a, state_b = a[1] if a else 1, b[1] if b else 1
        same = state_a == state_b and (state_a != ACTIVE or (a is not None and b is not None and a[2:4] == b[2:4]))
        if not same:
            yield Violation("e", one.t, f"{dotted(address)} is {a} on {one.server} and {b} on {other.server}")


def zones_differ(events: list[Event]) -> Iterator[Violation]:
    """(f) Each name that an ACTIVE lease wants is there, and no client's address stands in the zone without a lease. What a lost disk
    knew of the zone, nobody else knows, so leftovers of it are not judged: `ddns check` finds them. That goes for the DHCID of one,
    too: a name that is the address's own then has the right address under the wrong client, which is a conflict that the operator is
    told of, and the loser of one gets no PTR (ddns.md 2.3, 2.4; simulator, seed tls1033)."""
    forgot = any(isinstance(event, Replaced) for event in events)
    for event in events:
        if not isinstance(event, Zones):
            continue
        others = {name for name, _, _ in event.others}
        have = {(name, value) for name, rtype, value in event.records if rtype == "A" and name not in others}
        want = {(name.lower(), dotted(address)) for name, address in event.wanted if name.lower() not in others}
        named = {name for name, _ in have & want}
        for name, address in sorted(want - have):
            if name not in named:  # a client that roamed has two leases and one name
                yield Violation(
                    "f", event.t, f"{name} should have {address}, the zone has {sorted(v for n, v in have if n == name)}"
                )
        for name, address in sorted(have - want if not forgot else ()):
            yield Violation("f", event.t, f"{name} has {address} in the zone, and no lease wants that")
        strange = _under_a_strangers_dhcid(event)
        for name in sorted(strange & named if not forgot else ()):
            yield Violation("f", event.t, f"{name} stands under the DHCID of a client that does not want it")
        yield from _reverse(event, others, {each for each in have & want if each[0] not in strange}, forgot=forgot)
        yield from _others_and_slave(event)


def _under_a_strangers_dhcid(zones: Zones) -> set[str]:
    """The names that belong to none of the clients whose leases want them."""
    guards = {(name, value) for name, rtype, value in zones.records if rtype == "DHCID"}
    return {name for name, _ in guards} - {name for name, _ in guards & set(zones.owners)}


def _reverse(zones: Zones, others: set[str], done: set[tuple[str, str]], *, forgot: bool) -> Iterator[Violation]:
    """Each name that is in the zone has its PTR, and no PTR stands without a lease that wants it. `done`: (name, address) of A records."""
    have = {(name, value.lower()) for name, rtype, value in zones.records if rtype == "PTR"}
    want = {(reverse(address), name.lower()) for name, address in zones.wanted if name.lower() not in others}
    due = {(reverse(address), name.lower()) for name, address in zones.wanted if (name.lower(), dotted(address)) in done}
    for owner, name in sorted(due - have):
        yield Violation("f", zones.t, f"{owner} should point to {name}, it points to {sorted(v for n, v in have if n == owner)}")
    for owner, name in sorted(have - want if not forgot else ()):
        yield Violation("f", zones.t, f"{owner} points to {name}, and no lease wants that")


def reverse(address: int) -> str:
    """The name of an address in in-addr.arpa."""
    return ".".join(str(octet) for octet in reversed(address.to_bytes(4, "big"))) + ".in-addr.arpa."


def _others_and_slave(zones: Zones) -> Iterator[Violation]:
    """Names of other hosts are as they were, and the slave has what the master has."""
    now = [record for record in zones.records if record[0] in {name for name, _, _ in zones.others}]
    if sorted(now) != sorted(zones.others):
        yield Violation("f", zones.t, f"records of other hosts were {sorted(zones.others)}, and are {now}")
    if zones.slave is not None and zones.slave != zones.records:
        lacks = set(zones.records) ^ set(zones.slave)
        yield Violation("f", zones.t, f"the slave differs from the master in {sorted(lacks)[:5]}")


CHECKS: tuple[Callable[[list[Event]], Iterator[Violation]], ...] = (
    two_holders,
    lease_denied,
    ours_only(not_on_disk),
    boot_differs,
    ours_only(before_its_time),
    never_quiet,
    zones_differ,
    not_answered,
    beyond_a_limit,
    offers_while_the_disk_hangs,
    grants_without_room,
    names_out_of_turn,
    ours_only(serves_too_early),
    ours_only(partners_name_removed),
    ours_only(offered_twice),
    ours_only(offered_in_use),
    ours_only(offered_unasked),
    dhcpd_ended,
)

LINK_CHECKS: tuple[Callable[..., Iterator[Violation]], ...] = (told_before_commit, beyond_mclt, unused_told, nothing_to_resolve)


def judge(events: list[Event]) -> list[Violation]:
    """Everything that is wrong with a run, in order of time."""
    ours = of_ours(events)
    messages = read_links(ours)
    found = [violation for check in CHECKS for violation in check(events)]
    found += [violation for check in LINK_CHECKS for violation in check(ours, messages)]
    return sorted(found, key=lambda violation: violation.t)
