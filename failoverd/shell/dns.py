"""The DNS client: UPDATE and query messages to the primaries of a zone, signed with TSIG. Everything ends as one DnsAnswer.

Only a verified reply is an answer. A datagram that is unsigned, or whose MAC is wrong, is discarded and the wait goes on (RFC 8945
5.3.2: nobody may end a transaction by forging); BADKEY and BADSIG come unsigned by nature, so they count only when the time is up.
A retry has a new id and a new signature; a late reply to an earlier copy still counts.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import dns.exception
import dns.message
import dns.opcode
import dns.rcode
import dns.tsig

from failoverd.ddns.zone import Zone
from failoverd.ports import DnsAnswer, DnsQuery, DnsUpdate
from failoverd.shell.dnskeys import KeyFileError, Keys
from failoverd.shell.dnswire import FUDGE_S, encode_query, encode_update, records_of

UDP_WAITS_S = (1.0, 2.0, 4.0)
TCP_CONNECT_S = 5.0
TCP_REPLY_S = 10.0
SICK_S = 60.0  # how long a primary that did not answer stands behind the others
CONCURRENT_MAX = 64
REPLIES_MAX = 64  # datagrams looked at for one message: a flood must not occupy us

Deliver = Callable[[DnsAnswer], None]


@dataclass(slots=True)
class Asked:
    """The copies of one message that are out: id -> MAC of the request; and the unverified trouble that was heard meanwhile."""

    key: dns.tsig.Key
    macs: dict[int, bytes] = field(default_factory=dict)
    rcode: str = ""
    detail: str = ""

    def copy(self, make: Callable[[], dns.message.Message]) -> bytes:
        """The wire form of a new copy, signed now."""
        message = make()
        while message.id in self.macs:
            message.id = (message.id + 1) & 0xFFFF
        message.use_tsig(self.key, fudge=FUDGE_S)
        wire = message.to_wire()
        self.macs[message.id] = message.mac or b""
        return wire

    def judge(self, wire: bytes) -> dns.message.Message | None:
        """A verified reply, or None; a reply that only claims trouble is remembered."""
        if len(wire) < 12:
            return None
        ident, flags = struct.unpack_from("!HH", wire)
        mac = self.macs.get(ident)
        if mac is None or not flags & 0x8000:
            return None
        if wire[10:12] == b"\0\0":  # no additional record, so no TSIG
            self.detail = self.detail or f"an unsigned {dns.rcode.to_text(dns.rcode.Rcode(flags & 0xF))} was discarded"
            return None
        try:
            reply = dns.message.from_wire(wire, keyring={self.key.name: self.key}, request_mac=mac)
        except dns.tsig.PeerBadKey:
            self.rcode, self.detail = "BADKEY", "the master does not know the key, or knows it with another algorithm"
        except dns.tsig.PeerBadSignature:
            self.rcode, self.detail = "BADSIG", "the master has another secret under this key name"
        except dns.tsig.PeerBadTime:
            self.rcode, self.detail = "BADTIME", _offset(wire)
        except dns.tsig.BadTime:
            self.rcode, self.detail = "BADTIME", "the reply is signed more than 300 s off our clock"
        except (dns.exception.DNSException, ValueError) as error:
            self.detail = self.detail or f"a reply was discarded: {type(error).__name__}"
        else:
            return reply if reply.had_tsig else None
        return None


def _offset(wire: bytes) -> str:
    """What BADTIME says: the server's time is the last 6 octets (RFC 8945 5.2.3), after a length of 6."""
    if len(wire) < 20 or wire[-8:-6] != b"\x00\x06":
        return "the clocks differ by more than 300 s"
    return f"the master's clock is {int.from_bytes(wire[-6:], 'big') - time.time():+.0f} s from ours"


class _Datagrams(asyncio.DatagramProtocol):
    """A connected socket's datagrams and errors, in order, for one reader."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes | OSError] = asyncio.Queue(REPLIES_MAX)

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._put(data)

    def error_received(self, exc: Exception) -> None:
        if isinstance(exc, OSError):
            self._put(exc)

    def _put(self, item: bytes | OSError) -> None:
        if not self.queue.full():
            self.queue.put_nowait(item)


class DnsClient:
    """Sends the planner's messages. `udp_waits_s`: how long each UDP copy may take before the next, then TCP."""

    def __init__(
        self,
        zones: Iterable[Zone],
        *,
        allow_weak: bool = False,
        udp_waits_s: tuple[float, ...] = UDP_WAITS_S,
        tcp_connect_s: float = TCP_CONNECT_S,
        tcp_reply_s: float = TCP_REPLY_S,
    ) -> None:
        self._zones = {(zone.target, zone.name): zone for zone in zones}
        self._keys = Keys(allow_weak=allow_weak)
        self._waits_s = udp_waits_s
        self._tcp_connect_s, self._tcp_reply_s = tcp_connect_s, tcp_reply_s
        self._sick: dict[tuple[str, int], float] = {}
        self._tasks: set[asyncio.Task[DnsAnswer]] = set()
        self._slots = asyncio.Semaphore(CONCURRENT_MAX)

    def reload(self, zones: Iterable[Zone] | None = None) -> None:
        """Read the key files again (they are also read again when they change), and take over new zones."""
        self._keys.forget()
        if zones is not None:
            self._zones = {(zone.target, zone.name): zone for zone in zones}

    def check(self) -> list[str]:
        """What is wrong with the key files now, one sentence for each; for `--check` and the start."""
        wrong: list[str] = []
        for zone in self._zones.values():
            try:
                self._keys.of(zone)
            except KeyFileError as error:
                wrong.append(str(error))
        return list(dict.fromkeys(wrong))

    def submit(self, message: DnsUpdate | DnsQuery, deliver: Deliver) -> None:
        """Send it; `deliver` is called once, from the loop, with what became of it. Not called after `close`."""
        task = asyncio.get_running_loop().create_task(self._run(message))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._done(done, message.ident, deliver))

    def _done(self, task: asyncio.Task[DnsAnswer], ident: int, deliver: Deliver) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        deliver(task.result() if error is None else DnsAnswer(ident, "INTERNAL", "", f"{type(error).__name__}: {error}"))

    async def close(self) -> None:
        """Drop what is out; rows of it are `inflight` in the store and are said again after a restart."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- one message --------------------------------------------------------------------------------------------------

    async def _run(self, message: DnsUpdate | DnsQuery) -> DnsAnswer:
        async with self._slots:
            loop = asyncio.get_running_loop()
            began = loop.time()
            answer = await (self._update(message) if isinstance(message, DnsUpdate) else self._query(message))
            answer.elapsed_s = loop.time() - began
            return answer

    async def _update(self, update: DnsUpdate) -> DnsAnswer:
        try:
            encode_update(update)
        except (dns.exception.DNSException, ValueError) as error:
            return DnsAnswer(update.ident, "INTERNAL", "", f"cannot be encoded: {error}")
        answer, _ = await self._ask(update, lambda: encode_update(update))
        return answer

    async def _query(self, query: DnsQuery) -> DnsAnswer:
        """One query for each type; the first trouble, or NXDOMAIN, is the answer."""
        records: list[tuple[str, str]] = []
        answer = DnsAnswer(query.ident, "INTERNAL", "", "asks for no type")
        for rtype in query.types:
            try:
                encode_query(query, rtype)
            except (dns.exception.DNSException, ValueError) as error:
                return DnsAnswer(query.ident, "INTERNAL", "", f"cannot be encoded: {error}")
            answer, reply = await self._ask(query, lambda rtype=rtype: encode_query(query, rtype))  # type: ignore[misc]
            if answer.rcode != "NOERROR" or reply is None:
                return answer
            records += records_of(reply, query.name, rtype)
        answer.records = tuple(records)
        return answer

    async def _ask(
        self, message: DnsUpdate | DnsQuery, make: Callable[[], dns.message.Message]
    ) -> tuple[DnsAnswer, dns.message.Message | None]:
        """Ask the primaries in order, those that did not answer lately last."""
        zone = self._zones.get((message.target, message.zone))
        if zone is None or not zone.primaries:
            return DnsAnswer(message.ident, "INTERNAL", "", f"no primary is configured for {message.zone}"), None
        try:
            key = self._keys.of(zone)
        except KeyFileError as error:
            return DnsAnswer(message.ident, "BADKEY", "", str(error)), None
        loop = asyncio.get_running_loop()
        answer = DnsAnswer(message.ident, "UNREACHABLE", "")
        for primary in sorted(zone.primaries, key=lambda at: self._sick.get(at, 0.0) > loop.time()):
            asked = Asked(key)
            rcode, reply = await self._exchange(primary, asked, make)
            answer = DnsAnswer(message.ident, rcode, f"{primary[0]}:{primary[1]}", asked.detail if reply is None else "")
            if rcode not in {"TIMEOUT", "UNREACHABLE"}:
                self._sick.pop(primary, None)
                return answer, reply
            self._sick[primary] = loop.time() + SICK_S
        return answer, None

    async def _exchange(
        self, primary: tuple[str, int], asked: Asked, make: Callable[[], dns.message.Message]
    ) -> tuple[str, dns.message.Message | None]:
        """UDP copies, then TCP, with one primary: (rcode or TIMEOUT or UNREACHABLE, the verified reply)."""
        loop = asyncio.get_running_loop()
        try:
            transport, protocol = await loop.create_datagram_endpoint(_Datagrams, remote_addr=primary)
        except OSError as error:
            asked.detail = error.strerror or str(error)
            return "UNREACHABLE", None
        try:
            for wait_s in self._waits_s:
                wire = asked.copy(make)
                if len(wire) > 512:  # RFC 1035 4.2.1: longer than any server must take
                    break
                transport.sendto(wire)
                reply = await self._listen(protocol, asked, wait_s)
                if isinstance(reply, OSError):
                    asked.detail = reply.strerror or str(reply)
                    return "UNREACHABLE", None
                if reply is not None and reply.flags & 0x0200:
                    break  # TC: the whole answer needs TCP
                if reply is not None:
                    return dns.rcode.to_text(reply.rcode()), reply
                if asked.rcode:
                    return asked.rcode, None
        finally:
            transport.close()
        return await self._tcp(primary, asked, make)

    async def _listen(self, protocol: _Datagrams, asked: Asked, wait_s: float) -> dns.message.Message | OSError | None:
        """The first verified reply within the time, an error of the socket, or None."""
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_s
        while (left_s := until - loop.time()) > 0:
            try:
                item = await asyncio.wait_for(protocol.queue.get(), left_s)
            except TimeoutError:
                return None
            if isinstance(item, OSError):
                return item
            reply = asked.judge(item)
            if reply is not None:
                return reply
        return None

    async def _tcp(
        self, primary: tuple[str, int], asked: Asked, make: Callable[[], dns.message.Message]
    ) -> tuple[str, dns.message.Message | None]:
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(*primary), self._tcp_connect_s)
        except (OSError, TimeoutError) as error:
            asked.detail = asked.detail or f"TCP: {getattr(error, 'strerror', '') or 'no connection'}"
            return "TIMEOUT", None
        try:
            wire = asked.copy(make)
            writer.write(struct.pack("!H", len(wire)) + wire)
            async with asyncio.timeout(self._tcp_reply_s):
                while True:
                    (length,) = struct.unpack("!H", await reader.readexactly(2))
                    reply = asked.judge(await reader.readexactly(length))
                    if reply is not None:
                        return dns.rcode.to_text(reply.rcode()), reply
                    if asked.rcode:
                        return asked.rcode, None  # the stream is the server's, nobody else can put a reply into it unseen
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return "TIMEOUT", None
        finally:
            writer.close()
