"""The recorded partner's answers, given to our own messages.

Our xids are not the recorded ones. A BNDACK was recorded for the n-th BNDUPD of an address with a binding status on a connection; it
answers our n-th BNDUPD of that address and status there, under our xid, at its recorded time, or as soon as ours is sent when that is
later. An update that dhcpd never got an answer to gets none here. One that dhcpd never sent is accepted by a
stand-in, which is counted, unless dhcpd told it on a later connection: then its partner cannot have known it yet.
An UPDDONE waits until we have asked. All other messages are handed on as they are: their xids are the partner's own, or are not looked at
(CONNECTACK, POOLRESP, STATE). Limits: a recorded answer says what dhcpd thought of dhcpd's message; what it would have thought of ours
where that differs is not known (the pairs of tests/interop with a live dhcpd show that).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from failoverd.failover.message import Message, MessageType, OptionCode
from tests.replay.recording import Recording

Delivery = tuple[int, Message]  # connection, message


@dataclass(slots=True)
class Update:
    """A BNDUPD that the recorded side sent. `ours`: the xid of the one of ours that takes its place; `answer`: when its time has come."""

    status: int
    answered: bool = False
    ours: int | None = None
    answer: Message | None = None


@dataclass(slots=True)
class Answers:
    """The answers of one recorded partner to the Node in the place of the other side, `role`."""

    recording: Recording
    role: str
    stand_ins: int = 0
    asked: set[int] = field(default_factory=set)
    updates: dict[tuple[int, int], list[Update]] = field(default_factory=dict)
    by_xid: dict[tuple[int, int], Update] = field(default_factory=dict)
    held: list[Delivery] = field(default_factory=list)

    def __post_init__(self) -> None:
        partner = "s" if self.role == "p" else "p"
        for each in self.recording.of("message", self.role):
            message = each.message
            if message is not None and message.kind == MessageType.BNDUPD:
                update = Update(message.u8(OptionCode.BINDING_STATUS) or 0)
                address = message.u32(OptionCode.ASSIGNED_IP_ADDRESS) or 0
                self.updates.setdefault((each.stream, address), []).append(update)
                self.by_xid[each.stream, message.xid] = update
        for each in self.recording.of("message", partner):
            if each.message is not None and each.message.kind == MessageType.BNDACK:
                found = self.by_xid.get((each.stream, each.message.xid))
                if found is not None:
                    found.answered = True

    def said_by_partner(self, stream: int, message: Message) -> Iterator[Message]:
        """The time of a recorded message has come: what our Node gets now."""
        if message.kind == MessageType.UPDDONE and stream not in self.asked:
            self.held.append((stream, message))
        elif message.kind == MessageType.BNDACK and (update := self.by_xid.get((stream, message.xid))) is not None:
            update.answer = message
            if update.ours is not None:
                yield Message(message.kind, message.time, update.ours, message.options)
        else:
            yield message

    def said_by_us(self, stream: int, message: Message) -> Iterator[Message]:
        """We have sent this: what is due for it at once."""
        if message.kind in (MessageType.UPDREQ, MessageType.UPDREQALL):
            self.asked.add(stream)
            yield from (each for at, each in self.held if at == stream)
            self.held = [pair for pair in self.held if pair[0] != stream]
        elif message.kind == MessageType.BNDUPD:
            address, status = message.u32(OptionCode.ASSIGNED_IP_ADDRESS) or 0, message.u8(OptionCode.BINDING_STATUS)
            for update in self.updates.get((stream, address), ()):
                if update.ours is None and update.status == status:
                    update.ours = message.xid
                    if update.answer is not None:
                        yield Message(update.answer.kind, update.answer.time, message.xid, update.answer.options)
                    return
            if any(
                at > stream and where == address and told.status == status
                for (at, where), all_ in self.updates.items()
                for told in all_
            ):
                return  # dhcpd told this on a later connection: its partner did not know it yet
            self.stand_ins += 1
            yield Message(
                MessageType.BNDACK, message.time, message.xid, [(OptionCode.ASSIGNED_IP_ADDRESS, address.to_bytes(4, "big"))]
            )
