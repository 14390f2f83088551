"""One server of the exploration as an automaton: each step of it is carried out once and remembered.

A pair has far more states than either of its servers, so most steps of a pair cost two look-ups. Frozen servers are known by number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from failoverd.failover.message import MessageType, ServerState
from failoverd.ports import LinkConnect, LinkSend
from failoverd.sim.explore_party import Party

Told = tuple[Any, ...]
"""What happens to a server: a verb of `_tell`, then its arguments."""


Xids = tuple[int, ...]


class Part(Protocol):
    """A role: what boots and thaws its server."""

    def boot(self, off: bytes) -> Party:
        """Start with what is on disk; b"" for an empty one."""

    def thaw(self, frozen: bytes) -> Party:
        """A running server."""

    def age(self, off: bytes, seconds: int) -> bytes:
        """What lies on a disk, so much later."""


class Wish(NamedTuple):
    """What a server wants of the network: "connect", "send" with its message, or "close"."""

    what: str
    link: int = 0
    data: bytes = b""


class Facts(NamedTuple):
    """What the world asks of a running server."""

    kind: str
    state: ServerState
    partner: int
    linked: bool
    timers: tuple[str, ...]
    links: frozenset[int]
    xids: frozenset[int]
    partners_xids: frozenset[int]
    may_declare: bool


class Outcome(NamedTuple):
    """One step: the server after it, what it wants, what it answered a client, why its process ended."""

    after: int
    wishes: tuple[Wish, ...]
    answer: tuple[int, int] | None = None
    ended: str = ""


class Automaton:
    """The steps of one part that were carried out so far."""

    def __init__(self, part: Part) -> None:
        """None yet."""
        self.part = part
        self._numbers: dict[bytes, int] = {}
        self._frozen: list[bytes] = []
        self._facts: list[Facts | None] = []
        self._steps: dict[tuple[int, Told, int], Outcome] = {}
        self._needs_xid: set[tuple[int, Told]] = set()  # steps that send a BNDUPD: what they leave depends on its xid
        self._aged: dict[tuple[int, int], int] = {}
        self._off: dict[int, int] = {}
        self._renamed: dict[tuple[int, Xids, Xids], int] = {}
        self._gives: dict[tuple[int, int], bool] = {}

    def __len__(self) -> int:
        """Servers seen, running or off."""
        return len(self._frozen)

    def disk(self, off: bytes) -> int:
        """The number of what lies on a disk."""
        return self._number(off, None)

    def is_empty(self, number: int) -> bool:
        """Whether a disk is empty."""
        return not self._frozen[number]

    def _number(self, frozen: bytes, facts: Facts | None) -> int:
        number = self._numbers.get(frozen)
        if number is None:
            number = self._numbers[frozen] = len(self._frozen)
            self._frozen.append(frozen)
            self._facts.append(facts)
        return number

    def facts(self, number: int) -> Facts:
        """Of a running server."""
        facts = self._facts[number]
        assert facts is not None
        return facts

    def off(self, number: int) -> int:
        """What a restart of it would find."""
        found = self._off.get(number)
        if found is None:
            found = self._off[number] = self._number(self.part.thaw(self._frozen[number]).off(), None)
        return found

    def aged(self, number: int, seconds: int) -> int:
        """A disk, so much later."""
        found = self._aged.get((number, seconds))
        if found is None:
            found = self._aged[number, seconds] = self._number(self.part.age(self._frozen[number], seconds), None)
        return found

    def renamed(self, number: int, own: Xids, partners: Xids) -> int:
        """The same server with other xids: the n-th of each is n + 1 from now on."""
        found = self._renamed.get((number, own, partners))
        if found is None:
            party = self.part.thaw(self._frozen[number])
            party.rename(*({xid: at for at, xid in enumerate(xids, 1)} for xids in (own, partners)))
            found = self._renamed[number, own, partners] = self._number(party.freeze(), _facts_of(party))
        return found

    def gives(self, number: int, address: int) -> bool:
        """Whether it would give an address to a stranger."""
        found = self._gives.get((number, address))
        if found is None:
            found = self._gives[number, address] = self.part.thaw(self._frozen[number]).gives(address)
        return found

    def step(self, number: int, told: Told, xid: int = 0) -> Outcome | None:
        """What becomes of it. `xid`: of its next BNDUPD; 0: not known, and then None when it is needed."""
        found = self._steps.get((number, told, xid))
        if found is None and not (xid == 0 and (number, told) in self._needs_xid):
            found = self._carry_out(number, told, xid or 1)
            if any(wish.what == "send" and wish.data[2] == MessageType.BNDUPD for wish in found.wishes):
                self._needs_xid.add((number, told))
                self._steps[number, told, xid or 1] = found
                return found if xid else None
            self._steps[number, told, 0] = found
        return found

    def _carry_out(self, number: int, told: Told, xid: int) -> Outcome:
        if told[0] == "boot":
            party = self.part.boot(self._frozen[number])
            answer = None
        else:
            party = self.part.thaw(self._frozen[number])
            party.next_xid(xid)
            answer = _tell(party, *told)
        ended = party.end()
        wishes = tuple(_wish(each) for each in party.take())
        if ended:
            return Outcome(self.disk(b""), wishes, answer, ended)
        facts = _facts_of(party)
        return Outcome(self._number(party.freeze(), facts), wishes, answer)


def _facts_of(party: Party) -> Facts:
    state, partner, linked = party.states()
    return Facts(
        party.kind,
        state,
        partner,
        linked,
        tuple(party.timers()),
        frozenset(party.numbers()),
        frozenset(party.xids()),
        frozenset(party.partners_xids()),
        party.may_declare(),
    )


def _wish(wish: object) -> Wish:
    if isinstance(wish, LinkConnect):
        return Wish("connect")
    if isinstance(wish, LinkSend):
        return Wish("send", wish.link, wish.data)
    return Wish("close", wish.link)  # type: ignore[attr-defined]


def _tell(party: Party, what: str, *more: Any) -> tuple[int, int] | None:
    if what == "lease":
        return party.lease(*more)
    if what == "failed":
        party.connect_failed(unreachable=more[0])
    else:
        verbs: dict[str, Callable[..., None]] = {
            "bytes": party.link_bytes,
            "up": party.link_up,
            "down": party.link_down,
            "timer": party.fire,
            "declare": party.declare,
            "release": party.release,
            "time": party.pass_time,
        }
        verbs[what](*more)
    return None
