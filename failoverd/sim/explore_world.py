"""The pair of the exploration and the network between them: which events are possible in a state, and what each makes of it.

A state is a value: two frozen servers, the connections with what is on its way, and what clients were promised. Messages of one
connection keep their order and are delivered one at a time; everything else may happen at any moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple, TypeVar

from failoverd.failover.message import MessageType, ServerState
from failoverd.sim.explore_local import Automaton, Facts, Outcome, Part, Told, Wish
from failoverd.sim.explore_party import MCLT_S, WALL

S = ServerState
CONNECTIONS = 2  # at once, dead ones that one end still believes in included
LONG = frozenset(
    {"startup", "handshake", "step", "retry"}
)  # timers of 4 s (retry), 15 s and more: nothing is on its way for so long
# and dhcpd's batch of BNDACKs (2 s) does not wait either
TWO = (0, 1)
T = TypeVar("T")
CARRIES_XID = (MessageType.BNDUPD, MessageType.BNDACK)


class Server(NamedTuple):
    """One server of a state. `number`: in its automaton; while it is down, of its disk. `syn`: it dialled into the cut."""

    up: bool
    number: int
    syn: bool = False


class Connection(NamedTuple):
    """One TCP connection. `open`: each end's process holds it. `queues`: what each end has sent and the other not read, by number.
    `broken`: nothing arrives any more, and nobody was told."""

    number: int
    open: tuple[bool, bool]
    queues: tuple[tuple[int, ...], tuple[int, ...]]
    broken: bool = False


class State(NamedTuple):
    """Everything. `promises`: (client, address, end) of every ACK that has not ended; `spent`: what of the world's limits is used up."""

    servers: tuple[Server, Server]
    connections: tuple[Connection, ...] = ()
    cut: bool = False
    promises: tuple[tuple[int, int, int], ...] = ()
    wrongly: bool = (
        False  # a server that lives was declared down, or both work without the other's word: clients may be given twice
    )


class Event(NamedTuple):
    """One thing that may happen. `fault`: it is not the protocol's."""

    what: str
    who: int = 0
    number: int = 0
    detail: str = ""

    def __str__(self) -> str:
        """For a counterexample."""
        return " ".join(str(part) for part in (self.what, "ab"[self.who], self.number or "", self.detail) if part != "")


@dataclass(slots=True, frozen=True)
class Limits:
    """What may happen besides the protocol. `clients`: how many; `jump_s`: how far time passes at once (0: it stands still)."""

    crash: bool = True
    cut: bool = True
    declare: bool = True
    wipe: bool = True
    clients: int = 0
    jump_s: int = 0


class Violation(NamedTuple):
    """What must not be. `rule`: "exit", "shutdown", "two owners", "stuck"."""

    rule: str
    text: str


FAULTS = frozenset({"crash", "cut", "declare", "wipe", "reset"})
"""Disturbances: the depth of the exploration counts them. Everything else goes on between them as long as it can."""
CLIENTS = frozenset({"lease", "release", "time"})


class World:
    """Two automata, and the rules of the network."""

    def __init__(self, parts: tuple[Part, Part], limits: Limits) -> None:
        """The first part is the primary."""
        self.servers = (Automaton(parts[0]), Automaton(parts[1]))
        self.limits = limits
        self.found: list[Violation] = []
        self._messages: list[bytes] = []
        self._updates: list[int] = []  # the xid of a message that is a BNDUPD, else 0
        self._acks: list[int] = []  # likewise of a BNDACK
        self._numbers: dict[bytes, int] = {}

    def start(self) -> State:
        """Both start with empty disks."""
        state = State((Server(False, self.servers[0].disk(b"")), Server(False, self.servers[1].disk(b""))))
        for who in TWO:
            state = self.after(state, Event("start", who))
        return state

    def facts(self, state: State, who: int) -> Facts:
        """Of a running server."""
        return self.servers[who].facts(state.servers[who].number)

    def words(self, state: State, who: int) -> str:
        """A server's state, for people."""
        if not state.servers[who].up:
            return "down"
        facts = self.facts(state, who)
        return f"{facts.kind} {facts.state.words} (partner {facts.partner}{', linked' if facts.linked else ''})"

    def normal(self, state: State) -> bool:
        """Both run, are linked, in normal, and know it of each other."""
        if not all(server.up for server in state.servers):
            return False
        facts = [self.facts(state, who) for who in TWO]
        return all(each.state is S.NORMAL and each.partner == S.NORMAL and each.linked for each in facts)

    # --- what may happen --------------------------------------------------------------------------------------------------

    def events(self, state: State) -> Iterator[Event]:
        """Every event that is possible."""
        yield from self.protocol(state)
        limits = self.limits
        for who, server in enumerate(state.servers):
            if server.up and limits.crash:
                yield Event("crash", who)
            if not server.up and limits.wipe and not self.servers[who].is_empty(server.number):
                yield Event("wipe", who)
            if server.up and limits.declare and self.facts(state, who).may_declare:
                yield Event("declare", who)
        if limits.cut:
            yield Event("heal" if state.cut else "cut")
            if not state.cut and any(not each.broken for each in state.connections):
                yield Event("reset")
        yield from self._of_clients(state)

    def _of_clients(self, state: State) -> Iterator[Event]:
        for client in range(1, self.limits.clients + 1):
            held = any(each == client for each, _, _ in state.promises)
            for who, server in enumerate(state.servers):
                if server.up:
                    yield Event("lease", who, client)
                    if held:
                        yield Event("release", who, client)
        if self.limits.jump_s and _quiet(state):
            yield Event("time")

    def protocol(self, state: State) -> Iterator[Event]:
        """What happens by itself when nobody disturbs: delivery, ends of connections, timers, restarts, dialling."""
        for each in state.connections:
            for who in TWO:
                other = 1 - who
                if not each.open[who]:
                    continue
                if each.broken or (not each.open[other] and not each.queues[other]):
                    yield Event("notice", who, each.number)
                elif each.queues[other]:
                    yield Event("deliver", who, each.number)
        quiet = _quiet(state) and not any(
            server.up and "acks" in self.facts(state, who).timers for who, server in enumerate(state.servers)
        )
        for who, server in enumerate(state.servers):
            if not server.up:
                yield Event("start", who)
                continue
            if server.syn and not state.cut and len(state.connections) < CONNECTIONS:
                yield Event("syn", who)
            if server.syn and quiet:
                yield Event("time-out", who)
            for timer in self.facts(state, who).timers:
                name = timer.split()[0]
                if (
                    quiet
                    if name in LONG or (name == "recover-wait" and self.limits.jump_s)
                    else name != "dial" or len(state.connections) < CONNECTIONS
                ):
                    yield Event("timer", who, 0, timer)

    # --- what becomes of it -----------------------------------------------------------------------------------------------

    def after(self, state: State, event: Event) -> State:
        """The state that follows; violations are put down in `found`."""
        self.found = []
        return self._levelled(self._after(state, event))

    def _after(self, state: State, event: Event) -> State:
        who = event.who
        what = event.what
        if what in ("lease", "release", "time"):
            return self._client_or_time(state, event)
        if what == "deliver":
            return self._deliver(state, who, event.number)
        if what == "notice":
            each = _connection(state, event.number)
            state = _replace(state, each._replace(open=_with(each.open, who, False), queues=_with(each.queues, 1 - who, ())))
            return self._tell(state, who, ("down", event.number))
        if what == "timer" and event.detail == "recover-wait" and self.limits.jump_s:
            return self._wait(state, who)
        if what == "timer":
            return self._tell(state, who, ("timer", event.detail))
        if what == "start":
            return self._tell(state, who, ("boot",))
        if what in ("time-out", "syn"):
            state = _server(state, who, state.servers[who]._replace(syn=False))
            return self._dial(state, who) if what == "syn" else self._tell(state, who, ("failed", True))
        return self._disturbed(state, event)

    def _disturbed(self, state: State, event: Event) -> State:
        who, what = event.who, event.what
        if what == "crash":
            return self._gone(state, who, self.servers[who].off(state.servers[who].number))
        if what == "wipe":
            return _server(state, who, Server(False, self.servers[who].disk(b"")))
        if what == "declare":
            state = state._replace(wrongly=state.wrongly or state.servers[1 - who].up)
            return self._tell(state, who, ("declare",))
        if what == "heal":
            return state._replace(cut=False)
        assert what in ("cut", "reset")
        for each in state.connections:
            state = _replace(state, each._replace(broken=True, queues=((), ())))
        return state._replace(cut=what == "cut")

    def _tell(self, state: State, who: int, told: Told) -> State:
        """One step of a server, and all that it wants."""
        server, number = self.servers[who], state.servers[who].number
        outcome = server.step(number, told) or server.step(number, told, self._free_xid(state, who))
        assert outcome is not None
        return self._settle(state, who, outcome)

    def _settle(self, state: State, who: int, outcome: Outcome) -> State:
        if outcome.ended:
            self.found.append(Violation("exit", outcome.ended))
            return self._gone(state, who, outcome.after)
        state = _server(state, who, Server(True, outcome.after, state.servers[who].syn))
        for wish in outcome.wishes:
            if wish.what == "connect":
                state = self._dial(state, who)
            elif wish.what == "send":
                state = self._send(state, who, wish)
            else:
                state = self._tell(self._close(state, who, wish.link), who, ("down", wish.link))
        facts = self.facts(state, who)
        for each in state.connections:  # a connection that a dhcpd has forgotten: nobody reads it
            if each.open[who] and each.number not in facts.links:
                state = _replace(state, each._replace(broken=True, open=_with(each.open, who, False), queues=((), ())))
        if facts.state is S.SHUTDOWN:
            self.found.append(Violation("shutdown", f"{facts.kind} {'ab'[who]} goes to shutdown"))
        return state

    def _free_xid(self, state: State, who: int) -> int:
        """The least above all of a server's BNDUPDs that are still known to anybody."""
        return max(self._known_xids(state, who), default=0) + 1

    def _known_xids(self, state: State, who: int) -> set[int]:
        """Of a server's BNDUPDs: those that it, its partner or a message still knows."""
        other = 1 - who
        known: set[int] = set()
        if state.servers[who].up:
            known |= self.facts(state, who).xids
        if state.servers[other].up:
            known |= self.facts(state, other).partners_xids
        for each in state.connections:
            known.update(self._updates[number] for number in each.queues[who])
            known.update(self._acks[number] for number in each.queues[other])
        known.discard(0)
        return known

    def _levelled(self, state: State) -> State:
        """The same with xids from 1 on in each direction: only whether two are equal decides anything."""
        known = [self._known_xids(state, who) for who in TWO]
        if all(max(each, default=0) == len(each) for each in known):
            return state
        of = tuple(sorted(known[0])), tuple(sorted(known[1]))
        to = tuple({xid: at for at, xid in enumerate(each, 1)} for each in of)
        for who in TWO:
            server = state.servers[who]
            if server.up:
                number = self.servers[who].renamed(server.number, of[who], of[1 - who])
                state = _server(state, who, server._replace(number=number))
        for each in state.connections:
            queues = tuple(tuple(self._relabelled(number, to[who], to[1 - who]) for number in each.queues[who]) for who in TWO)
            state = _replace(state, each._replace(queues=(queues[0], queues[1])), keep=True)
        return state

    def _relabelled(self, number: int, own: dict[int, int], partners: dict[int, int]) -> int:
        xid = own.get(self._updates[number]) or partners.get(self._acks[number])
        if xid is None:
            return number
        data = self._messages[number]
        return self._number(data[:8] + xid.to_bytes(4, "big") + data[12:])

    def _dial(self, state: State, who: int) -> State:
        if state.cut:
            return _server(state, who, state.servers[who]._replace(syn=True))
        if not state.servers[1 - who].up:
            return self._tell(state, who, ("failed", False))
        number = next(n for n in count(1) if all(each.number != n for each in state.connections))
        state = state._replace(connections=(*state.connections, Connection(number, (True, True), ((), ()))))
        state = self._tell(state, who, ("up", number, True))
        return self._tell(state, 1 - who, ("up", number, False))

    def _send(self, state: State, who: int, wish: Wish) -> State:
        for each in state.connections:
            if each.number == wish.link and not each.broken:
                if not each.open[1 - who]:
                    return state  # nobody will read it
                number = self._numbers.get(wish.data)
                if number is None:
                    number = self._number(wish.data)
                return _replace(state, each._replace(queues=_with(each.queues, who, (*each.queues[who], number))), keep=True)
        return state

    def _number(self, data: bytes) -> int:
        """Of a message; an xid that nobody compares is levelled."""
        kind, xid = data[2], int.from_bytes(data[8:12], "big")
        level = data if kind in CARRIES_XID else data[:8] + bytes(4) + data[12:]
        number = self._numbers.get(level)
        if number is None:
            number = self._numbers[level] = len(self._messages)
            self._messages.append(level)
            self._updates.append(xid if kind == MessageType.BNDUPD else 0)
            self._acks.append(xid if kind == MessageType.BNDACK else 0)
        self._numbers[data] = number
        return number

    def _close(self, state: State, who: int, number: int) -> State:
        """What the closing end had not read is lost; what it had written arrives."""
        for each in state.connections:
            if each.number == number:
                each = each._replace(open=_with(each.open, who, False), queues=_with(each.queues, 1 - who, ()))
                return _replace(state, each)
        return state

    def _deliver(self, state: State, who: int, number: int) -> State:
        each = _connection(state, number)
        first, *rest = each.queues[1 - who]
        state = _replace(state, each._replace(queues=_with(each.queues, 1 - who, tuple(rest))))
        return self._tell(state, who, ("bytes", number, self._messages[first]))

    def _gone(self, state: State, who: int, disk: int) -> State:
        """The process is over; the kernel closes its connections, and what it had written arrives."""
        for each in state.connections:
            state = self._close(state, who, each.number)
        return _server(state, who, Server(False, disk))

    # --- clients and time -------------------------------------------------------------------------------------------------

    def _client_or_time(self, state: State, event: Event) -> State:
        if event.what == "time":
            return self._time(state)
        client, who = event.number, event.who
        held = next((address for each, address, _ in state.promises if each == client), 0)
        others = tuple(each for each in state.promises if each[0] != client)
        if event.what == "release":
            return self._tell(state._replace(promises=others), who, ("release", client, held))
        server, number = self.servers[who], state.servers[who].number
        told = ("lease", client, held)
        outcome = server.step(number, told) or server.step(number, told, self._free_xid(state, who))
        assert outcome is not None
        mine = tuple(each for each in state.promises if each[0] == client)
        if outcome.answer is not None:
            address, end = outcome.answer
            mine = ((client, address, max(end, *(until for _, at, until in mine if at == address), 0)),) if end else ()
            self._check_owner(state, who, client, address if end else 0)
        return self._settle(state._replace(promises=tuple(sorted(others + mine))), who, outcome)

    def _check_owner(self, state: State, who: int, client: int, address: int) -> None:
        """safety.md: no address is given twice, unless a living server was declared down. What dhcpd gives too early is its own."""
        kind = self.facts(state, who).kind
        for other, at, _ in state.promises:
            if at == address and other != client and not state.wrongly and kind != "dhcpd":
                text = f"{kind} {'ab'[who]} gives address {address & 255} of client {other} to client {client}"
                self.found.append(Violation("two owners", text))

    def taken(self, state: State) -> Iterator[Violation]:
        """Addresses held by a client that a server would give to a stranger who asks for them now."""
        if state.wrongly:
            return
        for who, server in enumerate(state.servers):
            if server.up and self.facts(state, who).kind != "dhcpd":
                for client, address, _ in state.promises:
                    if self.servers[who].gives(server.number, address):
                        text = f"failoverd {'ab'[who]} would give address {address & 255} of client {client} to a stranger"
                        yield Violation("two owners", text)

    def _wait(self, state: State, who: int) -> State:
        """recover-wait ends because its time has passed, and that of every lease with it."""
        for _ in range(MCLT_S // self.limits.jump_s):
            found, state = self.found, self._time(state)
            self.found = found + self.found
        return state

    def _time(self, state: State) -> State:
        jump = self.limits.jump_s
        state = state._replace(promises=tuple((c, a, end - jump) for c, a, end in state.promises if end - jump > WALL))
        for who in TWO:
            server = state.servers[who]
            if server.up:
                state = self._tell(state, who, ("time", jump))
            elif not self.servers[who].is_empty(server.number):
                state = _server(state, who, Server(False, self.servers[who].aged(server.number, jump)))
        return state


def _quiet(state: State) -> bool:
    """Nothing is on its way, no end of a connection either."""
    return not any(any(each.queues) or (each.open[0] is not each.open[1] and not each.broken) for each in state.connections)


def _with(pair: tuple[T, T], at: int, value: T) -> tuple[T, T]:
    return (value, pair[1]) if at == 0 else (pair[0], value)


def _server(state: State, who: int, server: Server) -> State:
    return state._replace(servers=_with(state.servers, who, server))


def _connection(state: State, number: int) -> Connection:
    return next(each for each in state.connections if each.number == number)


def _replace(state: State, new: Connection, *, keep: bool = False) -> State:
    """The connection anew; one that neither end holds is gone, unless it is just being made."""
    rest = [new if each.number == new.number else each for each in state.connections]
    return state._replace(connections=tuple(each for each in rest if keep or any(each.open)))
