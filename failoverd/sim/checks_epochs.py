"""Judge of who recovers from whom after a partner-down, on the trace alone: (v) where nothing was granted there is nothing to resolve
(safety.md 17)."""

from __future__ import annotations

from collections.abc import Iterator

from failoverd.dhcp.message import MessageType as Dhcp
from failoverd.failover import private
from failoverd.failover.message import Message, MessageType
from failoverd.sim.checks_server import clocks_were_set
from failoverd.sim.trace import Answered, Event, Fault, Heard, Moved, Replaced
from failoverd.sim.violation import Violation

STORY = "story: silent"
WITH_CONTACT = {"normal", "communications-interrupted"}
UNSURE_S = 15.0  # the last proven contact is durable every 10 s; what was granted at the end of contact may be un-acked


class Side:
    """What one server has done since it was last in contact."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.state = self.saved = ""
        self.down = False  # it was in partner-down since it was last in normal
        self.contact_t = 0.0  # when it last heard of its partner in normal: elsewhere what it hears may be no more than a handshake
        self.granted_t = 0.0  # its last DHCPACK

    def moved(self, state: str) -> None:
        """Its state as it acts."""
        self.state = state
        if state != "startup":
            self.saved = state
        self.down = state == "partner-down" or (self.down and state != "normal")


def nothing_to_resolve(events: list[Event], messages: dict[int, list[Message]]) -> Iterator[Violation]:
    """(v) A server that was not in partner-down and has granted nothing since the last contact recovers from one that was; it goes to no
    conflict. Judged in runs that tell of such a server (strikes_named.py), on a link that carries epochs; not where a database was lost or
    put back, which has rules of its own, nor where a clock was set or a process stood still."""
    faults = {event.what.split(" ")[0] if event.what != STORY else STORY for event in events if isinstance(event, Fault)}
    strange = "pause" in faults or any(isinstance(event, Replaced) for event in events)
    if STORY not in faults or strange or clocks_were_set(events) or not _epochs_are_told(messages):
        return
    sides: dict[tuple[str, str], Side] = {}
    for event in events:
        if isinstance(event, Heard):
            for (server, _), side in sides.items():
                if server == event.server and side.state == "normal":
                    side.contact_t = event.t
        elif isinstance(event, Answered) and event.kind == Dhcp.ACK and event.lease_s:
            for (server, _), side in sides.items():
                if server == event.server:
                    side.granted_t = event.t
        elif isinstance(event, Moved):
            side = sides.setdefault((event.server, event.relationship), Side())
            other = sides.get(("b" if event.server == "a" else "a", event.relationship), Side())
            judged = event.state == "potential-conflict" and other.state == "partner-down"
            if judged and side.saved in WITH_CONTACT and not side.down and side.granted_t < side.contact_t - UNSURE_S:
                text = f"{event.server} resolves a conflict with a partner in partner-down, though it has granted nothing since"
                yield Violation("v", event.t, f"{text} {side.contact_t:.1f}")
            side.moved(event.state)


def _epochs_are_told(messages: dict[int, list[Message]]) -> bool:
    """Whether the handshakes carry them."""
    return any(
        message.kind == MessageType.CONNECT and private.option(message, private.STANDING) is not None
        for said in messages.values()
        for message in said
    )
