"""A partner that means no good, at the port of one real Node: says what a test wants, hears what the Node answers."""

from __future__ import annotations

from failoverd.failover import message as wire
from failoverd.failover.message import Framer, Message, MessageType, ServerState
from failoverd.failover.record import RelationshipRecord
from failoverd.ports import ClientSend, Input, Kind, LinkBytes, LinkClose, LinkConnect, LinkSend, LinkUp, Now, Output, Stored
from failoverd.sim.explore_ours import ADDRESS, Role
from failoverd.sim.explore_party import MCLT_S, MONO, NAME, WALL

HBA = bytes([255] * 16 + [0] * 16)
ROLES = {role: Role(role, dhcpd_partner=False, addresses=8) for role in "ps"}


class Villain:
    """The other end of the Node of one role, which has this state on its disk."""

    def __init__(self, role: str, state: ServerState = ServerState.NORMAL, partner: ServerState = ServerState.NORMAL) -> None:
        self.role = role
        self.now = Now(float(WALL), MONO)
        record = RelationshipRecord(NAME, state, WALL, partner, mclt_s=MCLT_S, virgin_database=False, hba=HBA.hex())
        self.node = ROLES[role].fresh(Stored([], [], [record.to_json()], {}, float(WALL)))
        self.out: list[Output] = []
        self.heard: list[Message] = []
        self.closed: list[int] = []
        self.offered: list[bytes] = []
        self.framers: dict[int, Framer] = {}
        self.dialled = 0
        self.xid = 100
        self._done(self.node.boot(self.now))

    @property
    def endpoint(self):  # type: ignore[no-untyped-def]
        return self.node.endpoints[NAME]

    def step(self, *inputs: Input) -> None:
        self._done(self.node.step(inputs, self.now))

    def _done(self, out: Output) -> None:
        self.out.append(out)
        for send in (*out.at_once, *out.after_commit):
            if isinstance(send, LinkSend):
                self.heard += self.framers.setdefault(send.link, Framer()).feed(send.data)
            elif isinstance(send, ClientSend):
                self.offered.append(send.data)
            elif isinstance(send, LinkClose):
                self.closed.append(send.link)
            elif isinstance(send, LinkConnect):
                self.dialled += 1

    def wait(self, seconds: float, step_s: float = 0.5) -> None:
        for _ in range(int(seconds / step_s)):
            self.now = Now(self.now.wall + step_s, self.now.mono + step_s)
            self.step()

    def open(self, number: int = 1) -> None:
        self.step(LinkUp(NAME, number, False))

    def bytes(self, data: bytes, number: int = 1) -> None:
        self.step(LinkBytes(NAME, number, data))

    def say(self, message: Message, number: int = 1) -> None:
        self.bytes(wire.encode(message), number)

    def shake(self, number: int = 1) -> None:
        """A link with its handshake."""
        self.open(number)
        terms = {"name": NAME.encode(), "max_unacked": 10, "receive_timer": 30}
        if self.role == "s":
            self.say(wire.connect(int(self.now.wall), 0, mclt=MCLT_S, hba=HBA, **terms), number)  # type: ignore[arg-type]
        else:
            self.say(wire.connect_ack(int(self.now.wall), 0, tls_asked=True, **terms), number)  # type: ignore[arg-type]

    def state(self, state: int, *, flags: int = 0) -> None:
        self.xid += 1
        self.say(wire.state(int(self.now.wall), self.xid, state=state, flags=flags, since=WALL))

    def of(self, kind: MessageType) -> list[Message]:
        return [message for message in self.heard if message.kind == kind]

    def noted(self, name: str) -> int:
        return sum(note.name == name for out in self.out for note in out.notes)

    def written(self) -> RelationshipRecord:
        """The record as it was committed last."""
        records = [write.record for out in self.out for write in out.writes if write.kind is Kind.RELATIONSHIP]
        return RelationshipRecord.from_json(records[-1] or "")


def normal(role: str) -> Villain:
    """In contact and in normal."""
    villain = Villain(role)
    villain.shake()
    villain.state(ServerState.NORMAL)
    assert villain.endpoint.state is ServerState.NORMAL
    assert villain.endpoint.link is not None
    return villain


__all__ = ["ADDRESS", "Villain", "normal"]
