"""What the rules for differences look up: who told what of an address when, in the recording and in our run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address
from itertools import pairwise

from failoverd.failover.message import Binding, Message, MessageType, OptionCode, binding
from failoverd.leases.lease import BindingState
from tests.replay.compare import Compared, Difference
from tests.replay.place import WORDS

HANDED_S = 3.0
FREED = frozenset({BindingState.FREE, BindingState.EXPIRED, BindingState.RELEASED, BindingState.RESET})


@dataclass(slots=True, frozen=True)
class Told:
    """One BNDUPD. `starts`, `end`: of the binding, in seconds of the recording."""

    at: float
    status: BindingState
    client: bytes
    starts: float
    end: float
    xid: int
    stream: int

    @property
    def handed(self) -> bool:
        """A free address that changes hands starts now (6.8)."""
        return self.status in (BindingState.FREE, BindingState.BACKUP) and abs(self.at - self.starts) < HANDED_S

    def like(self, other: Told) -> bool:
        """The same binding, as far as the other server can tell: EXPIRED, RELEASED and RESET are FREE there (6.3 step 11)."""
        one, two = ("free" if each.status in FREED else each.status.name for each in (self, other))
        return one == two and self.client == other.client


class Facts:
    """One recording with ours in the place of one side."""

    def __init__(self, compared: Compared) -> None:
        self.compared, self.recording, self.role = compared, compared.recording, compared.role
        self.partner = "s" if self.role == "p" else "p"

    def _told(self, at: float, stream: int, message: Message) -> tuple[str, Told]:
        each: Binding = binding(message)
        address = str(IPv4Address(each.address or 0))
        starts, end = ((value or 0) - self.recording.start for value in (each.starts, each.ends))
        return address, Told(at, BindingState(each.state or 1), each.hw or b"", starts, end, message.xid, stream)

    def told_by(self, side: str, address: str) -> list[Told]:
        """The BNDUPDs that one recorded side sent of an address."""
        return [told for where, told in self._recorded[side] if where == address]

    @cached_property
    def _recorded(self) -> dict[str, list[tuple[str, Told]]]:
        found: dict[str, list[tuple[str, Told]]] = {"p": [], "s": []}
        for each in self.recording.happenings:
            if each.message is not None and each.message.kind == MessageType.BNDUPD:
                found[each.by].append(self._told(each.at, each.stream, each.message))
        return found

    def told_by_us(self, address: str | None = None) -> list[Told]:
        """Ours, of one address or of all."""
        updates = (each for each in self.compared.played.said if each.message.kind == MessageType.BNDUPD)
        pairs = (self._told(each.at, each.stream, each.message) for each in updates)
        return [told for where, told in pairs if address in (None, where)]

    def opened(self, subject: str) -> float:
        """When the connection that a subject names was up."""
        stream = int(subject.split()[1])
        return min(
            (each.at for each in self.recording.happenings if each.stream == stream and each.what == "syn-ack"), default=-1.0
        )

    def balanced(self) -> int:
        """How many addresses our run says that it handed over for the balance."""
        return sum(int(note.detail.split()[0]) for note in self.compared.played.notes if note.name == "pool-balanced")

    def said(self, subject: str, kind: MessageType) -> int:
        """How many messages of a kind we said on the connection that a subject names."""
        stream = int(subject.split()[1])
        return sum(each.stream == stream and each.message.kind == kind for each in self.compared.played.said)

    def rejected(self, side: str, address: str) -> bool:
        """Whether the recorded partner of `side` refused one of its updates for another reason than 16."""
        xids = {(told.stream, told.xid) for told in self.told_by(side, address)}
        for each in self.recording.of("message", "s" if side == "p" else "p"):
            message = each.message
            acks = message is not None and message.kind == MessageType.BNDACK and (each.stream, message.xid) in xids
            if acks and message is not None and message.u8(OptionCode.REJECT_REASON) not in (None, 16):
                return True
        return False

    def logged(self, text: str) -> bool:
        """Whether the log of the recorded side has these words."""
        return any(text in each.text for each in self.recording.of("log", self.role))

    def abandoned_at(self, at: float) -> bool:
        """Whether the recorded side found an address in use at about this time."""
        return any(
            each.text.endswith(": pinged before offer") and abs(each.at - at) < 0.1 for each in self.recording.of("log", self.role)
        )

    def noted(self, name: str, address: str) -> bool:
        """Whether our run has a note of this name on an address."""
        return any(note.name == name and str(IPv4Address(note.address)) == address for note in self.compared.played.notes)

    def killed_after(self, at: float) -> float:
        """The seconds from `at` to the kill of the recorded side, infinite for none."""
        kills = (each.at for each in self.recording.of("log", "events") if each.text == f"EVENT kill -9 {WORDS[self.role]}")
        return min((each - at for each in kills if each >= at), default=float("inf"))

    def signalled(self) -> bool:
        """Whether the recorded side was stopped by a signal that it could catch."""
        return any(each.text == f"EVENT SIGTERM {WORDS[self.role]}" for each in self.recording.of("log", "events"))

    def unlinked_gaps(self) -> Iterator[float]:
        """The seconds between two attempts to connect during which we said nothing and were not restarted: there was no link."""
        played = self.compared.played
        broken = sorted([each.at for each in played.said] + played.starts)
        for earlier, later in pairwise(played.dials):
            if not any(earlier < at <= later for at in broken):
                yield later - earlier

    def been(self, state: str) -> bool:
        """Whether our side was in a state."""
        return state in self.compared.played.states

    def ends_after(self, at: float) -> float:
        """The seconds from `at` to the kill of the recorded side or the end of the recording, whichever is first."""
        return min(self.killed_after(at), self.recording.end - at)

    def streams_of(self, difference: Difference) -> Iterator[tuple[list[float], list[float]]]:
        """For the connection of a CONTACT: the times at which the recorded side, and ours, said anything on it."""
        stream = int(difference.subject.split()[1])
        recorded = [each.at for each in self.recording.of("message", self.role) if each.stream == stream]
        yield recorded, [each.at for each in self.compared.played.said if each.stream == stream]
