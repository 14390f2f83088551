"""The DNS client: UPDATE and query messages to the primaries of a zone, signed with TSIG. Everything ends as one DnsAnswer.

Only a verified reply is an answer. A datagram that is unsigned, or whose MAC is wrong, is discarded and the wait goes on (RFC 8945
5.3.2: nobody may end a transaction by forging); BADKEY and BADSIG come unsigned by nature, so they count only when the time is up.
A retry has a new id and a new signature; a late reply to an earlier copy still counts. Short messages go by UDP, longer ones and those
that UDP lost over one TCP connection for each server, which stays open while it is used.
"""

from __future__ import annotations

import asyncio
import secrets
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
from failoverd.shell.dnssign import HmacSigner, Signer
from failoverd.shell.dnstcp import Stream, Streams
from failoverd.shell.dnswire import FUDGE_S, encode_query, records_of

UDP_WAITS_S = (1.0, 2.0, 4.0)
TCP_CONNECT_S = 5.0
TCP_REPLY_S = 10.0
SICK_S = 60.0  # how long a primary that did not answer stands behind the others
CONCURRENT_MAX = 64
REPLIES_MAX = 64  # datagrams looked at for one message: a flood must not occupy us

Deliver = Callable[[DnsAnswer], None]
Make = Callable[[Signer, int, int], tuple[bytes, bytes]]
"""(signer, id, fudge) -> wire form and MAC of a new copy."""
NEXT_KEY_IN_USE = "the master no longer takes the key of key-file: signed with key-next-file; put the new key into key-file"


@dataclass(slots=True)
class Asked:
    """The copies of one message that are out: id -> MAC of the request; and the unverified trouble that was heard meanwhile."""

    signer: Signer
    fudge_s: int = FUDGE_S
    macs: dict[int, bytes] = field(default_factory=dict)
    rcode: str = ""
    detail: str = ""

    def copy(self, make: Make) -> bytes:
        """The wire form of a new copy, signed now."""
        ident = secrets.randbelow(0x10000)
        while ident in self.macs:
            ident = (ident + 1) & 0xFFFF
        wire, self.macs[ident] = make(self.signer, ident, self.fudge_s)
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
            reply = self.signer.verify(wire, mac)
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
    """Sends the planner's messages. `udp_waits_s`: how long each UDP copy may take before the next, then TCP.
    `fudge_s`: how long a copy of a message may be taken by a master after it was signed."""

    def __init__(
        self,
        zones: Iterable[Zone],
        *,
        udp_waits_s: tuple[float, ...] = UDP_WAITS_S,
        tcp_connect_s: float = TCP_CONNECT_S,
        tcp_reply_s: float = TCP_REPLY_S,
        fudge_s: int = FUDGE_S,
    ) -> None:
        self._zones = {(zone.target, zone.name): zone for zone in zones}
        self._keys = Keys()
        self._waits_s = udp_waits_s
        self._tcp_reply_s, self._fudge_s = tcp_reply_s, fudge_s
        self._streams = Streams(tcp_connect_s)
        self._next_key: set[tuple[str, str]] = set()  # zones whose master took key-next-file last
        self._sick: dict[tuple[str, int], float] = {}
        self._tasks: set[asyncio.Task[DnsAnswer]] = set()
        self._slots = asyncio.Semaphore(CONCURRENT_MAX)

    def reload(self, zones: Iterable[Zone] | None = None) -> None:
        """Read the key files again (they are also read again when they change), and take over new zones."""
        self._keys.forget()
        self._next_key.clear()
        if zones is not None:
            self._zones = {(zone.target, zone.name): zone for zone in zones}

    def check(self) -> list[str]:
        """What is wrong with the key files now, one sentence for each; for `--check` and the start."""
        return list(dict.fromkeys(text for zone in self._zones.values() for text in self._keys.problems(zone)))

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
        await self._streams.close()

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
            answer, _ = await self._ask(update, lambda signer, ident, fudge_s: signer.sign_update(update, ident, fudge_s))
        except (dns.exception.DNSException, ValueError) as error:
            return DnsAnswer(update.ident, "INTERNAL", "", f"cannot be encoded: {error}")
        return answer

    async def _query(self, query: DnsQuery) -> DnsAnswer:
        """One query for each type; the first trouble, or NXDOMAIN, is the answer."""
        records: list[tuple[str, str]] = []
        answer = DnsAnswer(query.ident, "INTERNAL", "", "asks for no type")
        for rtype in query.types:

            def make(signer: Signer, ident: int, fudge_s: int, rtype: str = rtype) -> tuple[bytes, bytes]:
                message = encode_query(query, rtype)
                message.id = ident
                return signer.sign(message, fudge_s)

            try:
                answer, reply = await self._ask(query, make)
            except (dns.exception.DNSException, ValueError) as error:
                return DnsAnswer(query.ident, "INTERNAL", "", f"cannot be encoded: {error}")
            if answer.rcode != "NOERROR" or reply is None:
                return answer
            records += records_of(reply, query.name, rtype)
        answer.records = tuple(records)
        return answer

    async def _ask(self, message: DnsUpdate | DnsQuery, make: Make) -> tuple[DnsAnswer, dns.message.Message | None]:
        """Ask with the zone's key, and with the next one when the master does not know the first (a rollover)."""
        at = (message.target, message.zone)
        zone = self._zones.get(at)
        if zone is None or not zone.primaries:
            return DnsAnswer(message.ident, "INTERNAL", "", f"no primary is configured for {message.zone}"), None
        answer, reply = DnsAnswer(message.ident, "BADKEY", ""), None
        order = (False, True) if zone.key_next_file else (False,)
        copies = 0
        for following in reversed(order) if at in self._next_key else order:
            try:
                key = self._keys.next_of(zone) if following else self._keys.of(zone)
            except KeyFileError as error:
                answer.detail = answer.detail or str(error)
                continue
            answer, reply = await self._primaries(message, zone, HmacSigner(key), make)
            copies = answer.copies = answer.copies + copies
            if answer.rcode not in {"BADKEY", "BADSIG"}:
                (self._next_key.add if following else self._next_key.discard)(at)
                answer.detail = answer.detail or (NEXT_KEY_IN_USE if following and not self._rolled(zone, key) else "")
                break
        return answer, reply

    def _rolled(self, zone: Zone, key: dns.tsig.Key) -> bool:
        """Whether key-file holds the new key by now: then the rollover is over."""
        try:
            return bool(self._keys.of(zone) == key)
        except KeyFileError:
            return False

    async def _primaries(
        self, message: DnsUpdate | DnsQuery, zone: Zone, signer: Signer, make: Make
    ) -> tuple[DnsAnswer, dns.message.Message | None]:
        """Ask the primaries in order, those that did not answer lately last; after SICK_S one message asks the first again."""
        loop = asyncio.get_running_loop()
        answer = DnsAnswer(message.ident, "UNREACHABLE", "")
        copies = 0
        for primary in sorted(zone.primaries, key=lambda at: self._sick.get(at, 0.0) > loop.time()):
            if primary in self._sick:
                self._sick[primary] = loop.time() + SICK_S  # the others do not wait for it meanwhile
            asked = Asked(signer, self._fudge_s)
            rcode, reply = await self._exchange(primary, asked, make)
            copies += len(asked.macs)
            detail = asked.detail if reply is None else ""
            answer = DnsAnswer(message.ident, rcode, f"{primary[0]}:{primary[1]}", detail, copies=copies)
            if rcode not in {"TIMEOUT", "UNREACHABLE"}:
                self._sick.pop(primary, None)
                return answer, reply
            self._sick[primary] = loop.time() + SICK_S
        return answer, None

    async def _exchange(self, primary: tuple[str, int], asked: Asked, make: Make) -> tuple[str, dns.message.Message | None]:
        """UDP copies, then TCP, with one primary: (rcode or TIMEOUT or UNREACHABLE, the verified reply)."""
        wire = asked.copy(make)
        if len(wire) > 512:  # RFC 1035 4.2.1: longer than any server must take
            return await self._tcp(primary, asked, make, wire)
        loop = asyncio.get_running_loop()
        try:
            transport, protocol = await loop.create_datagram_endpoint(_Datagrams, remote_addr=primary)
        except OSError as error:
            asked.detail = error.strerror or str(error)
            return "UNREACHABLE", None
        try:
            for number, wait_s in enumerate(self._waits_s):
                transport.sendto(wire if not number else asked.copy(make))
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
        return await self._tcp(primary, asked, make, asked.copy(make))

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

    async def _tcp(self, primary: tuple[str, int], asked: Asked, make: Make, wire: bytes) -> tuple[str, dns.message.Message | None]:
        """Over the server's connection; when one that was open turns out to be gone, once more over a new one."""
        for _ in range(2):
            try:
                stream, fresh = await self._streams.get(primary)
            except (OSError, TimeoutError) as error:
                asked.detail = asked.detail or f"TCP: {getattr(error, 'strerror', '') or 'no connection'}"
                return "TIMEOUT", None
            found = await self._stream(stream, asked, wire)
            if found is not None:
                return found
            await self._streams.drop(primary, stream)
            if fresh:
                break
            wire = asked.copy(make)
        return "TIMEOUT", None

    async def _stream(self, stream: Stream, asked: Asked, wire: bytes) -> tuple[str, dns.message.Message | None] | None:
        """One copy over one connection; None when the connection ended or said nothing in time."""
        queue = stream.send(wire)
        try:
            async with asyncio.timeout(self._tcp_reply_s):
                while frame := await queue.get():
                    reply = asked.judge(frame)
                    if reply is not None:
                        return dns.rcode.to_text(reply.rcode()), reply
                    if asked.rcode:
                        return asked.rcode, None  # the stream is the server's, nobody else can put a reply into it unseen
        except TimeoutError:
            pass
        finally:
            stream.forget(wire, queue)
        return None
