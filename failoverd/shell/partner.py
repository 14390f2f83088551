"""The TCP links of failover: listening, connecting, bytes in and out. It knows no message of the protocol.

A Protocol and not streams: four times the messages a second (measured). Bytes of the partner are never dropped while the link is
up: when the loop is behind, reading stops and TCP pushes back. Connections from any address but the configured partner's are closed
before a byte is parsed (safety.md 26). With tls a link counts from the end of its handshake on: what comes before is no sign of life,
and whatever goes wrong ends the connection.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from ipaddress import IPv4Address

from failoverd.failover.terms import Terms
from failoverd.notes import declare
from failoverd.ports import ConnectFailed, Input, LinkDown, LinkUp
from failoverd.shell.partner_link import CLOSE_S, Link
from failoverd.shell.partner_tls import Door
from failoverd.shell.tls import Identity

CONNECT_S = 2.0
REBIND_S = 5.0
MAX_LINKS = 4  # of one relationship at a time, those that have not spoken yet included
MAX_ACCEPTS = 64  # connections taken from one listener in one turn
HIGH_WATER = 1 << 20  # octets waiting for the partner: told
MAX_UNSENT = 16 << 20  # octets waiting for the partner: the link is dropped

STRANGER = declare(
    "partner-stranger",
    "warning",
    "A connection to the failover port came from an address that is no partner's, and was closed unread.",
    limited=True,
)
CROWDED = declare(
    "partner-links-full",
    "warning",
    "The partner opened more connections at once than one relationship may have; the newest was closed unread.",
    limited=True,
)
REFUSED = declare(
    "partner-link-refused",
    "warning",
    "A connection of the partner was closed unread because this server's disk does not answer: the partner must serve everybody.",
    limited=True,
)
BIND = declare(
    "partner-listen-failed",
    "error",
    "The failover port cannot be listened on; tried again every 5 s. Usually the address is not on this machine, or not yet.",
)
LISTENING = declare("partner-listening", "info", "The failover port is listened on.")
LATE_SEND = declare(
    "link-gone",
    "debug",
    "Bytes for a link to the partner that was closed meanwhile were dropped; the next link starts from what is owed.",
)


class Partners:
    """All links of all relationships. `deliver` queues an input; `note(name, subject, detail)`. `identities`: the files of those that
    have tls."""

    def __init__(
        self,
        terms: Sequence[Terms],
        deliver: Callable[[Input], None],
        note: Callable[[str, str, str], None],
        identities: Mapping[str, Identity] | None = None,
        wall: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.deliver, self.note = deliver, note
        self._terms = {term.name: term for term in terms}
        self.door = Door({name: term.tls for name, term in self._terms.items()}, identities or {}, deliver, note, wall)
        self._links: dict[int, Link] = {}
        self._numbers = 0
        self._dirty: dict[int, Link] = {}
        self._tasks: dict[asyncio.Task[None], Link] = {}  # connections being made or taken over
        self._listeners: dict[tuple[str, int], socket.socket] = {}
        self._retry: dict[tuple[str, int], asyncio.TimerHandle] = {}
        self._refusing: set[str] = set()
        self._held: set[str] = set()  # connections asked for while refusing
        self._paused = False
        self._loop: asyncio.AbstractEventLoop | None = None

    # --- what the loop asks for ---

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """Listen wherever a relationship is configured; an address that is not there yet is tried again."""
        self._loop = loop
        for term in self._terms.values():
            where = (str(IPv4Address(term.local_address)), term.local_port)
            if where not in self._listeners and where not in self._retry:
                self._listen(where)
        self.door.open()

    def connect(self, relationship: str) -> None:
        """Open a connection; answered by LinkUp or ConnectFailed."""
        if relationship in self._refusing:
            self._held.add(relationship)  # no ConnectFailed: that would say that the partner was tried (safety.md 12)
            return
        link = self._link(relationship, outgoing=True)
        self._spawn(self._connect(self._terms[relationship], link), link)

    def send(self, link: int, data: bytes) -> None:
        """Queue bytes; they leave with `flush`."""
        known = self._links.get(link)
        if known is None or known.closing or known.dropped:
            self.note(LATE_SEND, known.relationship if known else "", f"link {link}, {len(data)} octets")
            return
        known.out.append(data)
        self._dirty[link] = known

    def flush(self) -> None:
        """One write for each link that has something to say."""
        if not self._dirty:
            return
        dirty, self._dirty = self._dirty, {}
        for link in dirty.values():
            transport = link.transport
            if link.dropped or transport is None or transport.is_closing() or not link.out:
                continue
            link.write(b"".join(link.out))
            link.out.clear()
            if transport.get_write_buffer_size() > MAX_UNSENT:
                link.closing = f"the partner does not read: more than {MAX_UNSENT >> 20} MiB were waiting"
                transport.abort()

    def close_link(self, link: int, reason: str) -> None:
        """Flush and close, within CLOSE_S. Reading goes on and is thrown away, or the kernel would send a reset that overtakes our
        last words; the partner's end of file ends it."""
        known = self._links.get(link)
        if known is None or known.closing or known.transport is None or self._loop is None:
            return
        self.flush()
        if known.transport.is_closing():
            return
        known.closing = reason or "closed by us"
        known.end()

    def drop(self, relationship: str, reason: str) -> list[int]:
        """Abort every link of a relationship, those being made and those waiting to be accepted included (safety.md 5). The numbers
        of the links that were up: the caller tells the node, nothing more is delivered for them."""
        numbers = []
        for link in list(self._links.values()):
            if link.relationship == relationship:
                numbers.append(link.number)
                self._abandon(link)
        for task, link in list(self._tasks.items()):
            if link.relationship == relationship:
                task.cancel()
                self._give_up(link, reason)
        for link in list(self.door.greeting):
            if link.relationship == relationship:
                self._give_up(link, reason)
        if relationship in self._held:
            self._held.discard(relationship)
            self.deliver(ConnectFailed(relationship, reason))
        term = self._terms[relationship]
        listener = self._listeners.get((str(IPv4Address(term.local_address)), term.local_port))
        while listener is not None:
            try:
                listener.accept()[0].close()
            except OSError:
                break
        return numbers

    def refuse(self, relationship: str, refusing: bool) -> None:
        """Neither accept nor make connections while `refusing` (safety.md 4); one that was asked for meanwhile is made afterwards."""
        if refusing:
            self._refusing.add(relationship)
            return
        self._refusing.discard(relationship)
        if relationship in self._held:
            self._held.discard(relationship)
            self.connect(relationship)

    def pause(self) -> None:
        """Stop reading on all links: TCP pushes back."""
        self._paused = True
        for link in self._links.values():
            if link.transport is not None and not link.closing:
                link.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        self._paused = False
        for link in self._links.values():
            if link.transport is not None and not link.transport.is_closing():
                link.transport.resume_reading()

    async def stop(self) -> None:
        """Close everything; links have CLOSE_S to flush."""
        for where in list(self._listeners):
            self._unlisten(where)
        for timer in self._retry.values():
            timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        for link in list(self.door.greeting):
            self._abandon(link)
        for number in list(self._links):
            self.close_link(number, "failoverd stops")
        for _ in range(int(CLOSE_S * 50) + 5):
            if not self._links and not self._tasks:
                return
            await asyncio.sleep(0.02)

    # --- what a Link tells ---

    def made(self, link: Link) -> None:
        """A connection is established."""
        transport = link.transport
        assert transport is not None
        if link.dropped:
            transport.abort()
            return
        transport.set_write_buffer_limits(high=HIGH_WATER)
        self._numbers += 1
        link.number = self._numbers
        self._links[link.number] = link
        if self._paused:
            transport.pause_reading()
        self.deliver(LinkUp(link.relationship, link.number, link.outgoing, link.session is not None))

    def lost(self, link: Link, reason: str) -> None:
        """A connection has ended."""
        if self.door.ended(link) and link.outgoing:
            self.deliver(ConnectFailed(link.relationship, reason, answered=True))
        if self._links.pop(link.number, None) is not None and not link.dropped:
            self.deliver(LinkDown(link.relationship, link.number, reason))

    # --- making connections ---

    def _link(self, relationship: str, *, outgoing: bool) -> Link:
        return Link(self, relationship, outgoing, self.door.session(relationship, outgoing=outgoing))

    def _give_up(self, link: Link, reason: str) -> None:
        """A link that is being made is not to be."""
        if link.dropped:
            return
        self._abandon(link)
        if link.outgoing and not link.number:
            self.deliver(ConnectFailed(link.relationship, reason))

    def _abandon(self, link: Link) -> None:
        link.dropped = True
        self.door.forget(link)
        self._links.pop(link.number, None)
        if link.transport is not None:
            link.transport.abort()

    def _spawn(self, work: Coroutine[None, None, None], link: Link) -> None:
        assert self._loop is not None
        task = self._loop.create_task(work, name=f"failover link {link.relationship}")
        self._tasks[task] = link
        task.add_done_callback(self._spawned)

    def _spawned(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled():
            task.result()  # a mistake of ours goes to the event loop's exception handler

    async def _connect(self, term: Terms, link: Link) -> None:
        assert self._loop is not None
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            tcp.bind((str(IPv4Address(term.local_address)), 0))
            async with asyncio.timeout(CONNECT_S):
                await self._loop.sock_connect(tcp, (str(IPv4Address(term.partner_address)), term.partner_port))
            await self._loop.create_connection(lambda: link, sock=tcp)
        except (OSError, asyncio.CancelledError) as error:  # TimeoutError is an OSError
            tcp.close()
            if isinstance(error, asyncio.CancelledError):
                raise
            if not link.dropped:
                self.deliver(ConnectFailed(term.name, _why(error)))

    async def _adopt(self, tcp: socket.socket, link: Link) -> None:
        assert self._loop is not None
        try:
            await self._loop.connect_accepted_socket(lambda: link, tcp)
        except (OSError, asyncio.CancelledError) as error:
            tcp.close()
            if isinstance(error, asyncio.CancelledError):
                raise

    # --- listening ---

    def _listen(self, where: tuple[str, int]) -> None:
        assert self._loop is not None
        self._retry.pop(where, None)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tcp.bind(where)
            tcp.listen(16)
        except OSError as error:
            tcp.close()
            self._again(where, error)
            return
        self._listeners[where] = tcp
        self._loop.add_reader(tcp.fileno(), self._accept, where)
        self.note(LISTENING, f"{where[0]}:{where[1]}", "")

    def _unlisten(self, where: tuple[str, int]) -> None:
        assert self._loop is not None
        tcp = self._listeners.pop(where)
        self._loop.remove_reader(tcp.fileno())
        tcp.close()

    def _again(self, where: tuple[str, int], error: OSError) -> None:
        assert self._loop is not None
        self.note(BIND, f"{where[0]}:{where[1]}", error.strerror or str(error))
        self._retry[where] = self._loop.call_later(REBIND_S, self._listen, where)

    def _accept(self, where: tuple[str, int]) -> None:
        for _ in range(MAX_ACCEPTS):
            try:
                tcp, (host, _port) = self._listeners[where].accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:  # out of descriptors or memory
                self._unlisten(where)
                self._again(where, error)
                return
            self._judge(tcp, where, host)

    def _judge(self, tcp: socket.socket, where: tuple[str, int], host: str) -> None:
        """Whose connection is this? The first relationship between these two addresses."""
        address = int(IPv4Address(host))
        for term in self._terms.values():
            if term.partner_address == address and (str(IPv4Address(term.local_address)), term.local_port) == where:
                break
        else:
            self.note(STRANGER, f"{where[0]}:{where[1]}", f"from {host}")
            tcp.close()
            return
        links = [
            link for link in (*self._links.values(), *self._tasks.values(), *self.door.greeting) if link.relationship == term.name
        ]
        if term.name in self._refusing or len(set(links)) >= MAX_LINKS:
            self.note(REFUSED if term.name in self._refusing else CROWDED, term.name, f"from {host}")
            tcp.close()
            return
        tcp.setblocking(False)
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = self._link(term.name, outgoing=False)
        self._spawn(self._adopt(tcp, link), link)


def _why(error: OSError) -> str:
    """The kernel's words: asyncio's own name only the address."""
    if error.errno:
        return os.strerror(error.errno)
    return f"no answer within {CONNECT_S:.0f} s" if isinstance(error, TimeoutError) else str(error)
