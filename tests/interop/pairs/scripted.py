"""A partner made of a script: it shakes hands, says a state and that it lives, and answers nothing that it is asked."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from types import TracebackType

from failoverd.failover import message as wire
from failoverd.failover.message import Framer, Message, MessageType, OptionCode, ServerState
from tests.interop.pairs.people import socket_in
from tests.interop.pairs.server import Server
from tests.lab.terms import Role
from tests.lab.wait import LabError

CONTACT_S = 2.0
BEAT_S = 0.2
DIAL_S = 1.0
TIMER_S = 20
HBA = bytes([255] * 16 + [0] * 16)
CONFLICT = (ServerState.POTENTIAL_CONFLICT, ServerState.RESOLUTION_INTERRUPTED)
ASKS = (MessageType.UPDREQ, MessageType.UPDREQALL)


class Scripted:
    """`with Scripted(...)`: stands in for `absent`, which does not run, towards `subject`. It dials as soon as it has no link.

    `asked`: monotonic times at which the subject asked for updates; `linked`: at which a link was made; `state`: what it says it is in,
    and potential-conflict once that is due."""

    def __init__(self, absent: Server, subject: Server, name: str, mclt_s: int, state: ServerState) -> None:
        self.absent, self.subject, self.name, self.mclt_s, self.state = absent, subject, name, mclt_s, state
        self.asked: list[float] = []
        self.linked: list[float] = []
        self._over = threading.Event()
        self._mistakes: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Scripted:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(10)
        if self._mistakes and error is None:
            raise self._mistakes[0]

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                with contextlib.suppress(OSError, LabError):
                    self._link()
                self._over.wait(DIAL_S)
        except BaseException as error:
            self._mistakes.append(error)

    def _link(self) -> None:
        """One connection, from its making to its end."""
        name = self.name.encode()
        with socket_in(self.absent.host, socket.SOCK_STREAM, self.absent.link, 0) as link:
            link.settimeout(5)
            link.connect((self.subject.link, 647))
            link.settimeout(BEAT_S)
            conversation = Conversation(self, link)
            if self.absent.role is Role.PRIMARY:
                conversation.say(
                    wire.connect(int(time.time()), 1, name=name, max_unacked=10, receive_timer=TIMER_S, mclt=self.mclt_s, hba=HBA)
                )
            while not self._over.is_set():
                if not conversation.beat():
                    return


class Conversation:
    """One link."""

    def __init__(self, partner: Scripted, link: socket.socket) -> None:
        self.partner, self.link = partner, link
        self.framer = Framer()
        self.linked = False
        self.spoke = 0.0
        self.xid = 1

    def beat(self) -> bool:
        """Listen for a moment, and say CONTACT when it is time; False when the subject has ended the link."""
        try:
            data = self.link.recv(65536)
        except TimeoutError:
            data = None
        except ConnectionError:
            data = b""
        if data == b"":
            return False
        for message in self.framer.feed(data or b""):
            self.hear(message)
        if self.linked and time.monotonic() - self.spoke > CONTACT_S:
            self.say(wire.contact(int(time.time()), self.xid))
        return True

    def hear(self, message: Message) -> None:
        """The handshake is answered; what is asked for is noted."""
        if message.kind == MessageType.CONNECT:
            name = self.partner.name.encode()
            now = int(time.time())
            self.say(wire.connect_ack(now, message.xid, name=name, max_unacked=10, receive_timer=TIMER_S, tls_asked=True))
        if message.kind in (MessageType.CONNECT, MessageType.CONNECTACK):
            self.linked = True
            self.partner.linked.append(time.monotonic())
            self.say(wire.state(int(time.time()), self.xid, state=self.partner.state, flags=0, since=int(time.time()) - 30))
        if message.kind == MessageType.STATE and message.u8(OptionCode.SERVER_STATE) in CONFLICT:
            self.partner.state = ServerState.POTENTIAL_CONFLICT  # as any partner would
        if message.kind in ASKS:
            self.partner.asked.append(time.monotonic())

    def say(self, message: Message) -> None:
        """Send."""
        self.spoke = time.monotonic()
        self.xid += 1
        self.link.sendall(wire.encode(message))
