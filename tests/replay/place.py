"""Our Node in the place of one side of a recording, stepped in the recorded time.

It is configured as that side was, is started, killed and stopped when it was, hears its clients and its operator, and gets the bytes of
the other side at their times, on the recorded connections. A recorded connection is up when it was, whoever opened it; a dial of ours
that it does not answer fails after 2 s, as the shell's. While the link is cut nothing of the partner arrives. A recording that begins on
an established link is led there first by a handshake with a partner that agrees to everything (`_prologue`), with the free addresses
split as they were.
"""

from __future__ import annotations

import heapq
import itertools
import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import IPv4Address

from failoverd.config import parse_text
from failoverd.dhcp.message import Packet
from failoverd.dhcp.message import decode as decode_packet
from failoverd.failover import message as wire
from failoverd.failover.message import Message, ServerFlag, ServerState, decode, encode
from failoverd.failover.record import RelationshipRecord
from failoverd.leases.lease import BindingState, Lease, lease_key
from failoverd.node import Node
from failoverd.notes import Note
from failoverd.ports import (
    ClientDatagram,
    ClientSend,
    Command,
    ConnectFailed,
    Input,
    InterfaceAddresses,
    Kind,
    LinkBytes,
    LinkClose,
    LinkConnect,
    LinkDown,
    LinkSend,
    LinkUp,
    Now,
    Origin,
    Output,
    Probe,
    ProbeAnswer,
    Reply,
    Send,
    Stopping,
    Write,
)
from tests.pair.duo import Disk
from tests.replay.answers import Answers
from tests.replay.clients import ADDRESS, Datagram, datagrams, pings, squatted
from tests.replay.recording import Happening, Recording

CONFIG = """
[servers.{role}]
interfaces = ["eth0"]
[[relationship]]
name = "{name}"
primary = {primary}
secondary = {secondary}
mclt = "60s"
split = 128
load-balance-max-seconds = 3
max-response-delay = "15s"
max-unacked-updates = 10
min-balance = "60s"
max-balance = "1h"
[dhcp]
ping-check = {ping}
lease-time = "{lease_s}s"
min-lease-time = "{lease_s}s"
max-lease-time = "{lease_s}s"
abandon-time = "120s"
[[subnet]]
subnet = "10.77.0.0/24"
[[subnet.pool]]
range = ["{first}-{last}"]
relationship = "{name}"
"""
HBA = ((1 << 128) - 1).to_bytes(32, "little")
RESPONSE_DELAY_S = 10  # dhcpd's there; a configuration of ours takes 15 s at least
UNANSWERED_S = 2.0  # the shell's connect timeout
PROLOGUE_S = 0.5
MIN_BALANCE_S = 60
LEAST_STEP_S = 0.001
ROLES = ("p", "s")
ANSWERS = {2: ("offer", "discover"), 5: ("ack", "request"), 6: ("nak", "request")}
WORDS = {"p": "primary", "s": "secondary"}


@dataclass(slots=True, frozen=True)
class Said:
    """One message on a connection."""

    at: float
    stream: int
    message: Message


@dataclass(slots=True)
class Asked:
    """What a client asked for, what dhcpd answered and what ours did, "" for silence."""

    at: float
    asked: str
    recorded: str
    ours: str = ""


@dataclass(slots=True)
class Played:
    """What our Node did. `dials`: when it tried to connect; `starts`: when it was started; `clients`: what they asked and
    heard; `stand_ins`: updates of ours that no recorded answer fits; `unheard`: messages of the partner on a connection
    that we no longer had."""

    said: list[Said] = field(default_factory=list)
    states: list[str] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    dials: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    clients: list[Asked] = field(default_factory=list)
    stand_ins: int = 0
    unheard: int = 0


class Place:
    """One run. `tamper`: what becomes of each send of ours (a planted mistake); None for itself."""

    def __init__(self, recording: Recording, role: str, tamper: Callable[[Send], Iterable[Send]] | None = None) -> None:
        """Nothing has happened yet."""
        self.recording, self.role, self.partner = recording, role, "s" if role == "p" else "p"
        self.tamper = tamper or (lambda send: (send,))
        self.ahead_s = 120.0 if "clock-skew" in recording.name and role == "s" else 0.0
        self.config = parse_text(self._config())
        self.relationship = self.config.relationships[0].name
        self.disk = Disk()
        self.node: Node | None = None
        self.answers = Answers(recording, role)
        self.played = Played()
        self.open: dict[int, None] = {}
        self.cut = False
        self.now = Now(0.0, 0.0)
        self.quiet = False  # during the prologue nothing is recorded
        self._order = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._waiting: list[Input] = []
        self.squatted = squatted(recording)

    def _config(self) -> str:
        recording = self.recording
        ends = {"p": 'address = "10.77.0.1", port = 647', "s": 'address = "10.77.0.2", port = 847'}
        whose = {self.role: f'server = "{self.role}"', self.partner: 'kind = "isc-dhcpd"'}
        sides = {WORDS[side]: f"{{ {whose[side]}, {end} }}" for side, end in ends.items()}
        name = "other" if "wrong-relationship" in recording.name and self.role == "s" else "lab"
        ping = str(pings(recording)).lower()
        pool = {"ping": ping, "lease_s": recording.lease_s, "first": recording.first, "last": recording.last}
        return CONFIG.format(role=self.role, name=name, **sides, **pool)

    # --- the run ----------------------------------------------------------------------------------------------------------

    def play(self, until: float | None = None) -> Played:
        """The whole recording, or its first seconds."""
        end = self.recording.end + 0.1 if until is None else until
        self._begin()
        for happening in self.recording.happenings:
            self._schedule(happening)
        for datagram in datagrams(self.recording, self.role):
            self.at(datagram.at, partial(self._client_says, datagram))
        at = self._time_of_next(0.0)
        while at <= end:
            self._go(at)
            at = self._time_of_next(at)
        self.played.stand_ins = self.answers.stand_ins
        return self.played

    def at(self, at: float, act: Callable[[], None]) -> None:
        """Do something at a time of the recording."""
        heapq.heappush(self._due, (at, next(self._order), act))

    def _time_of_next(self, at: float) -> float:
        times = [self._due[0][0]] if self._due else []
        if self.node is not None:
            times.append(max(self.node.deadline(self.now) - 1000.0, at + LEAST_STEP_S))
        return min(times, default=float("inf"))

    def _go(self, at: float) -> None:
        self._set(at)
        while self._due and self._due[0][0] <= at:
            heapq.heappop(self._due)[2]()
        self._step()

    def _set(self, at: float) -> None:
        self.now = Now(self.recording.start + self.ahead_s + at, 1000.0 + at)

    @property
    def _at(self) -> float:
        return self.now.mono - 1000.0

    def _take(self, *inputs: Input) -> None:
        """Inputs of the same moment are stepped one by one, as they come from different sockets."""
        if self.node is not None:
            self._waiting += inputs
            self._step()

    def _step(self) -> None:
        while self.node is not None:
            inputs, self._waiting = self._waiting, []
            self._emit(self.node.step(inputs, self.now))
            if not self._waiting:
                return

    # --- what happened ----------------------------------------------------------------------------------------------------

    def _schedule(self, each: Happening) -> None:
        if each.what == "message" and each.by == self.partner:
            self.at(each.at, lambda: self._partner_says(each))
        elif each.what == "syn-ack":
            opener = "s" if each.by == "p" else "p"
            self.at(each.at, lambda: self._up(each.stream, opener == self.role))
        elif each.what in ("fin", "rst") and each.by == self.partner:
            self.at(each.at, lambda: self._down(each.stream, "eof"))
        elif each.what == "log" and each.by == "events":
            self._schedule_event(each)
        elif each.what == "log" and each.by == self.role:
            if each.text.endswith("I move from communications-interrupted to partner-down"):
                self.at(each.at, self._partner_down)
            elif each.text.startswith("Server starting"):
                self.at(self._first_sign(each.at), self._start)

    def _partner_down(self) -> None:
        """What the operator did at the recorded side with omshell."""
        self._take(Command(1, "partner-down", {"relationship": self.relationship}, "root", "the recording"))

    def _first_sign(self, at: float) -> float:
        """A log line may come late: a server is there from its first connection on."""
        ups = [e.at for e in self.recording.of("syn", self.role) if 0 <= at - e.at < 1]
        return min([at, *(each - LEAST_STEP_S for each in ups)])

    def _schedule_event(self, each: Happening) -> None:
        text, whom = each.text, WORDS[self.role]
        if f"kill -9 {whom}" in text:
            self.at(self._died(each.at), self._kill)
        elif f"SIGTERM {whom}" in text:
            self.at(self._died(each.at), self._stop)
        elif f"{whom} returns without lease file" in text:
            self.at(each.at, lambda: setattr(self, "disk", Disk()))
        elif text in ("EVENT cut", "EVENT partition"):
            self.at(each.at, partial(setattr, self, "cut", True))
        elif text in ("EVENT heal", "EVENT join"):
            self.at(each.at, partial(setattr, self, "cut", False))

    def _died(self, at: float) -> float:
        """The kill itself is seen on the wire: its FIN is later than the line that announces it."""
        return min((e.at for e in self.recording.of("fin", self.role) if 0 <= e.at - at < 1), default=at)

    def _partner_says(self, each: Happening) -> None:
        assert each.message is not None
        if self.cut:
            return
        if each.stream not in self.open:
            self.played.unheard += 1
            return
        for message in self.answers.said_by_partner(each.stream, each.message):
            self._take(LinkBytes(self.relationship, each.stream, encode(message)))

    def _client_says(self, said: Datagram) -> None:
        if self.node is not None:
            self.played.clients.append(Asked(said.at, said.asked, said.answer))
        self._take(ClientDatagram("eth0", ADDRESS[self.role], 0, 68, said.dst_ip, said.data, self.now.mono))

    def _client_hears(self, packet: Packet) -> None:
        """An answer is that to the client's newest message of its kind: an OFFER may have waited for a ping."""
        address = str(IPv4Address(packet.yiaddr)) if packet.yiaddr else ""
        word, to = ANSWERS[packet.message_type]
        asked = f"{packet.chaddr[-1]:02x} {to}"
        each = next(each for each in reversed(self.played.clients) if each.asked.startswith(asked))
        each.ours = f"{word} {address}".rstrip()

    def _up(self, stream: int, outgoing: bool) -> None:
        if self.node is not None and not self.cut:
            self.open[stream] = None
            self._take(LinkUp(self.relationship, stream, outgoing))

    def _down(self, stream: int, reason: str) -> None:
        if stream in self.open and not self.cut:
            del self.open[stream]
            self._take(LinkDown(self.relationship, stream, reason))

    def _kill(self) -> None:
        self.node, self._waiting = None, []
        self.open.clear()

    def _stop(self) -> None:
        """The last step is that of SIGTERM: what comes after it is not read any more."""
        if self.node is not None:
            self._emit(self.node.step((Stopping(),), self.now))
        self._kill()

    def _start(self) -> None:
        if self.node is not None:
            return
        self.played.starts.append(self._at)
        rng = random.Random(self.recording.name + self.role)
        self.node = Node(self.config, self.role, self.disk.stored(), self.now, rng)
        endpoint = self.node.endpoints[self.relationship]
        endpoint.terms = replace(endpoint.terms, max_response_delay_s=RESPONSE_DELAY_S)
        if self.node.endpoints[self.relationship].starting and not self.quiet:
            self.played.states.append("startup")
        self._waiting = [InterfaceAddresses("eth0", ((ADDRESS[self.role], 24),))]
        self._emit(self.node.boot(self.now))
        self._step()

    # --- what our Node does -------------------------------------------------------------------------------------------------

    def _emit(self, out: Output) -> None:
        if not self.quiet:
            self.played.notes += out.notes
            self.played.states += [moved for write in out.writes for moved in _moves(write)]
        sends = [*out.at_once, *out.after_commit]
        self.disk.commit(out.writes, self.now.wall)
        for send in sends:
            for each in (send,) if self.quiet else self.tamper(send):
                self._deliver(each)

    def _deliver(self, send: Send) -> None:
        if isinstance(send, LinkConnect):
            if not self.quiet:
                self.played.dials.append(self._at)
            node = self.node
            self.at(self._at + UNANSWERED_S, lambda: self._unanswered(node))
        elif isinstance(send, LinkSend) and send.link in self.open:
            message = decode(send.data)
            if self.quiet:
                return
            if not self.cut:
                self.played.said.append(Said(self._at, send.link, message))
                for answer in self.answers.said_by_us(send.link, message):
                    self._waiting.append(LinkBytes(self.relationship, send.link, encode(answer)))
        elif isinstance(send, LinkClose):
            self.open.pop(send.link, None)
            self._waiting.append(LinkDown(self.relationship, send.link, send.reason))
        elif isinstance(send, ClientSend):
            self._client_hears(decode_packet(send.data))
        elif isinstance(send, Probe) and send.address in self.squatted:
            self._waiting.append(ProbeAnswer(send.address, True, self.now.mono))
        elif isinstance(send, Reply):
            assert send.code == "ok", send

    def _unanswered(self, node: Node | None) -> None:
        if node is self.node and node is not None and node.endpoints[self.relationship].dialing:
            self._take(ConnectFailed(self.relationship, "timed out"))

    # --- before the recording -----------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        lonely = "crafted-connects" in self.recording.name
        if not self.recording.linked and not lonely:
            return
        self.quiet = True
        self._set(-PROLOGUE_S)
        wall = int(self.now.wall)
        record = RelationshipRecord(
            self.relationship,
            ServerState.NORMAL,
            wall - 2,
            ServerState.NORMAL,
            wall - 2,
            operated=wall,
            proven=wall,
            offset=0,
            offset_gap=self.now.wall - self.now.mono,
            mclt_s=60,
            wait_mclt_s=60,
            virgin_database=False,
            hba=HBA.hex() if self.role == "s" else "",
            partner_max_unacked=10,
        )
        rows = [
            Lease(each, BindingState.BACKUP, rewind=BindingState.BACKUP, starts=wall - 2, potential=wall - 2, acked=wall - 2)
            for each in self.recording.backup
        ]
        writes = [Write(Kind.LEASE, lease_key(row.address), row.to_json(), Origin.PARTNER) for row in rows]
        self.disk.commit(
            [*writes, Write(Kind.RELATIONSHIP, self.relationship.encode(), record.to_json(), Origin.PARTNER)], self.now.wall
        )
        self._start()
        self._prologue(0 if lonely else self._first_stream())
        if lonely:
            self._down(0, "eof")
        self.quiet = False

    def _first_stream(self) -> int:
        return next(each.stream for each in self.recording.happenings if each.stream)

    def _prologue(self, stream: int) -> None:
        """A link that is established as dhcpd does it, and both normal."""
        wall = int(self.now.wall)
        self._up(stream, self.role == "s")
        if self.role == "p":
            hello = wire.connect_ack(wall, 0, name=b"lab", max_unacked=10, receive_timer=10, tls_asked=True, vendor=b"isc-4.4.3-P1")
        else:
            hello = wire.connect(wall, 0, name=b"lab", max_unacked=10, receive_timer=10, mclt=60, hba=HBA, vendor=b"isc-4.4.3-P1")
        state = wire.state(wall, 1, state=ServerState.NORMAL, flags=ServerFlag.NONE, since=wall - 2)
        for message in (hello, state):
            self._take(LinkBytes(self.relationship, stream, encode(message)))
        assert self.node is not None
        endpoint = self.node.endpoints[self.relationship]
        assert endpoint.state is ServerState.NORMAL
        if stream:
            assert not endpoint.updates.owed
            endpoint.balance_at = 1000.0 + self.recording.normal + MIN_BALANCE_S  # as an empty partner's half makes it (8.4)


def _moves(write: Write) -> list[str]:
    """The state that an event of the history tells that we have entered."""
    if write.kind is not Kind.EVENT:
        return []
    what = json.loads(write.record or "{}").get("what", "")
    return [what.split(" -> ")[1]] if " -> " in what and not what.startswith("partner:") else []
