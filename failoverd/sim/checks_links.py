"""Judge of what two failoverd say to each other: (u) a never-used address is no message between them on an authenticated link."""

from __future__ import annotations

from collections.abc import Iterator

from failoverd.failover import message as wire
from failoverd.failover import private
from failoverd.failover.message import Message, MessageType
from failoverd.sim.trace import Booted, Committed, Event, Replaced, Sent
from failoverd.sim.violation import Violation, dotted


def unused_told(events: list[Event], messages: dict[int, list[Message]]) -> Iterator[Violation]:
    """(u) Between two failoverd on an authenticated link a BNDUPD tells a row of its server (safety.md 23)."""
    said = (message for each in messages.values() for message in each)
    if not any(message.kind == MessageType.CONNECT and private.option(message, private.STANDING) is not None for message in said):
        return
    rows: dict[str, set[int]] = {}
    for at, event in enumerate(events):
        if isinstance(event, Booted | Replaced):
            rows[event.server] = {address for address, _ in event.leases}
        elif isinstance(event, Committed):
            rows.setdefault(event.server, set()).update(address for address, record in event.leases if record is not None)
        elif isinstance(event, Sent):
            for message in messages[at]:
                told = wire.binding(message) if message.kind == MessageType.BNDUPD else None
                if told is not None and told.address is not None and told.address not in rows.get(event.server, set()):
                    yield Violation("u", event.t, f"{event.server} tells {dotted(told.address)}, which was never used")
