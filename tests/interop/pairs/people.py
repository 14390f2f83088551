"""Many DHCP clients behind one relay address, and an independent record of what each of them was told.

The record knows no server and no database: it is made of the ACKs, NAKs and silences on the clients' side of the wire.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tests.interop.pairs.record import Told
from tests.lab.lab import NETNS, Host
from tests.lab.load import ACK, DISCOVER, HEADER, MAGIC, NAK, OFFER, REQUEST, ZERO, options_of
from tests.lab.wait import LabError, until

RELEASE, DECLINE = 7, 4
PATIENCE_S = 25.0  # a client that wanted a lease for so long and got none was refused
REQUEST_TRIES = 3
BEAT_S = 0.02
FIRST_MAC = 0x02FD00000000
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def socket_in(host: Host, kind: int, address: str, port: int) -> socket.socket:
    """A socket of another namespace, bound there. A thread of its own enters the namespace and ends."""
    made: list[socket.socket] = []
    wrong: list[OSError] = []

    def enter() -> None:
        try:
            with (NETNS / host.netns).open() as space:
                if LIBC.setns(space.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            made.append(socket.socket(socket.AF_INET, kind))
            made[0].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made[0].bind((address, port))
        except OSError as error:
            wrong.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if wrong:
        raise LabError(f"no socket in {host.netns}: {wrong[0]}")
    return made[0]


@dataclass(slots=True, frozen=True)
class Habits:
    """How clients repeat themselves. `pauses_s`: between DISCOVERs, the last one again and again; `haste`: how many seconds of their
    `secs` pass in one second, where they live in compressed time."""

    pauses_s: tuple[float, ...] = (1.0, 2.0, 4.0)
    renew_pause_s: float = 2.0
    haste: float = 1.0


class Phase(StrEnum):
    """Where a client is in RFC 2131's diagram. AWAY: it wants nothing."""

    AWAY = "away"
    SELECTING = "selecting"
    REQUESTING = "requesting"
    BOUND = "bound"
    RENEWING = "renewing"
    REBINDING = "rebinding"


HOLDS = frozenset({Phase.BOUND, Phase.RENEWING, Phase.REBINDING})


@dataclass(slots=True)
class Client:
    """One client. `reach`: the servers that hear it. `until`: the end of its lease. Times in UTC seconds."""

    mac: bytes
    reach: tuple[str, ...]
    lasting_s: int = 0  # asks for this lease time when not 0
    counts: bool = True  # raises `secs` as it waits; many clients leave it at 0
    phase: Phase = Phase.AWAY
    renews: bool = True
    address: str = ""
    server: str = ""
    lease_s: int = 0
    asked: float = 0.0
    until: float = 0.0
    t1: float = 0.0
    t2: float = 0.0
    offer: tuple[str, str] = ("", "")
    began: float = 0.0
    tries: int = 0
    due: float = 0.0
    without: float = 0.0  # since when it wants a lease and has none; 0 while it has, or wants none
    waits: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its hardware address in words."""
        return self.mac.hex(":")

    @property
    def holds(self) -> bool:
        """Whether it has a lease that has not ended."""
        return self.phase in HOLDS


class People:
    """All clients, one socket, one thread."""

    def __init__(self, host: Host, relay: str, servers: Sequence[str], habits: Habits | None = None) -> None:
        self.relay, self.servers, self.habits = relay, tuple(servers), habits or Habits()
        self.socket = socket_in(host, socket.SOCK_DGRAM, relay, 67)
        self.socket.setblocking(False)
        self.clients: list[Client] = []
        self.sent: list[tuple[Client, Phase, float]] = []  # by xid less one
        self.record: list[Told] = []
        self.planned: list[tuple[float, Client]] = []
        self._lock = threading.RLock()
        self._ends = False
        self._mistakes: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; a mistake inside it is raised here."""
        self._ends = True
        self._thread.join(5)
        self.socket.close()
        if self._mistakes:
            raise self._mistakes[0]

    # --- what a case asks of the clients ---

    def arrive(
        self,
        count: int,
        rate: float = 50.0,
        reach: Sequence[str] = (),
        lasting_s: int = 0,
        macs: Sequence[bytes] = (),
        counts: bool = True,
    ) -> list[Client]:
        """New clients, `rate` a second, that want a lease from then on and keep it. `macs`: their hardware addresses; `counts`: they
        raise `secs` as they wait."""
        with self._lock:
            now, made = time.time(), []
            for number in range(count):
                mac = macs[number] if macs else (FIRST_MAC + len(self.clients) + 1).to_bytes(6, "big")
                client = Client(mac, tuple(reach) or self.servers, lasting_s, counts)
                self.clients.append(client)
                self.planned.append((now + number / rate, client))
                made.append(client)
            self.planned.sort(key=lambda each: each[0])
        return made

    def served(self, clients: Sequence[Client], within_s: float = PATIENCE_S) -> None:
        """Wait until each of them has a lease."""

        def all_hold() -> bool:
            missing = [client for client in clients if not client.holds]
            if missing:
                raise LabError(f"{len(missing)} of {len(clients)} have no lease, the first is {missing[0]}")
            return True

        until("the clients have leases", all_hold, within_s)

    def tried(self, clients: Sequence[Client], for_s: float) -> list[Client]:
        """Wait until each of them has a lease or has wanted one for so long; those without."""

        def settled() -> bool:
            now = time.time()
            return all(client.holds or (client.without and now - client.without >= for_s) for client in clients)

        until("the clients have leases or gave up", settled, for_s + len(clients) + 60)
        return [client for client in clients if not client.holds]

    def full(self, clients: Sequence[Client], least_s: int, within_s: float = 60.0) -> None:
        """Wait until each has renewed to a lease of at least so many seconds."""

        def all_full() -> bool:
            short = [client for client in clients if client.lease_s < least_s]
            if short:
                raise LabError(f"{len(short)} of {len(clients)} hold less than {least_s} s, the first {short[0]}")
            return True

        until(f"leases of {least_s} s", all_full, within_s)

    def renew(self, clients: Sequence[Client], rebind: bool = False) -> None:
        """Renew now: unicast to the server of the lease, or with `rebind` broadcast to all in reach."""
        with self._lock:
            for client in clients:
                if client.holds:
                    client.phase = Phase.REBINDING if rebind else Phase.RENEWING
                    client.began = client.due = time.time()

    def renewed(self, clients: Sequence[Client], within_s: float = 20.0, rebind: bool = False) -> list[Client]:
        """Renew now and wait for the ACKs; the clients that got none in time."""
        began = time.time()
        held = [client for client in clients if client.holds]
        self.renew(held, rebind)
        with contextlib.suppress(LabError):
            until("renewals", lambda: all(client.asked >= began and client.holds for client in held), within_s)
        return [client for client in held if client.asked < began or not client.holds]

    def release(self, clients: Sequence[Client]) -> None:
        """Give the leases back and want none."""
        with self._lock:
            for client in clients:
                if client.holds:
                    self._say(client, RELEASE, (client.server,), ciaddr=client.address, server=client.server)
                    self._note("RELEASE", client)
                self._away(client)

    def decline(self, clients: Sequence[Client]) -> None:
        """Say that the address is in use by somebody else, and want none (RFC 2131 3.1: the client would begin anew)."""
        with self._lock:
            for client in clients:
                if client.holds:
                    self._say(client, DECLINE, client.reach, address=client.address, server=client.server)
                    self._note("DECLINE", client)
                self._away(client)

    def vanish(self, clients: Sequence[Client]) -> None:
        """Never say a word again; their leases stand until they end."""
        with self._lock:
            for client in clients:
                client.renews = False
                if not client.holds:
                    self._away(client)

    def again(self, clients: Sequence[Client], reach: Sequence[str] = ()) -> None:
        """Come back and want a lease again."""
        with self._lock:
            for client in clients:
                client.renews = True
                client.reach = tuple(reach) or client.reach
                if not client.holds:
                    self._begin(client, time.time())

    def only(self, clients: Sequence[Client], reach: Sequence[str]) -> None:
        """From now on only these servers hear them."""
        with self._lock:
            for client in clients:
                client.reach = tuple(reach)

    # --- the figures ---

    def holding(self) -> dict[str, tuple[str, float]]:
        """Address -> (hardware address, end) of every lease that a client has now, those of clients that vanished included."""
        now = time.time()
        with self._lock:
            return {c.address: (c.name, c.until) for c in self.clients if c.holds and c.until > now}

    def waits(self) -> list[tuple[float, Client]]:
        """Every time that a client wanted a lease and had none, open ones up to now; the longest first."""
        now = time.time()
        with self._lock:
            found = [(wait, c) for c in self.clients for wait in [*c.waits, *([now - c.without] if c.without else [])]]
        return sorted(found, key=lambda each: -each[0])

    def told(self) -> list[Told]:
        """The record so far."""
        with self._lock:
            return list(self.record)

    # --- the engine ---

    def _run(self) -> None:
        try:
            while not self._ends:
                with self._lock:
                    self._step(time.time())
                ready, _, _ = select.select([self.socket], [], [], BEAT_S)
                if ready:
                    with self._lock:
                        self._drain()
        except BaseException as error:
            self._mistakes.append(error)

    def _step(self, now: float) -> None:
        while self.planned and self.planned[0][0] <= now:
            self._begin(self.planned.pop(0)[1], now)
        for client in self.clients:
            if client.phase is not Phase.AWAY:
                self._tick(client, now)

    def _tick(self, client: Client, now: float) -> None:
        if client.holds:
            if now >= client.until:
                self._note("EXPIRE", client)
                if client.renews:
                    self._begin(client, client.until)
                else:
                    self._away(client)
                return
            if not client.renews:
                return
            if client.phase is Phase.BOUND and now >= client.t1:
                client.phase, client.began, client.due = Phase.RENEWING, now, now
            if client.phase is Phase.RENEWING and now >= client.t2:
                client.phase, client.due = Phase.REBINDING, now
        if now < client.due or client.phase is Phase.BOUND:
            return
        if client.phase is Phase.REQUESTING and client.tries >= REQUEST_TRIES:
            client.phase, client.tries = Phase.SELECTING, 0
        self._ask(client, now)

    def _ask(self, client: Client, now: float) -> None:
        """The message of its phase, to those that shall hear it."""
        client.tries += 1
        pauses = self.habits.pauses_s
        pause = pauses[min(client.tries, len(pauses)) - 1]
        if client.phase is Phase.SELECTING:
            self._say(client, DISCOVER, client.reach)
        elif client.phase is Phase.REQUESTING:
            self._say(client, REQUEST, client.reach, address=client.offer[0], server=client.offer[1])
            pause = pauses[0]
        else:
            reach = client.reach if client.phase is Phase.REBINDING else (client.server,)
            self._say(client, REQUEST, [s for s in reach if s in client.reach], ciaddr=client.address)
            pause = self.habits.renew_pause_s
        client.due = now + pause

    def _begin(self, client: Client, now: float) -> None:
        """It wants a lease from `now` on."""
        client.phase, client.began, client.tries, client.due = Phase.SELECTING, now, 0, now
        client.without = client.without or now

    def _away(self, client: Client) -> None:
        if client.without:
            client.waits.append(time.time() - client.without)
        client.phase, client.without = Phase.AWAY, 0.0

    def _note(self, what: str, client: Client) -> None:
        self.record.append(Told(time.time(), what, client.name, client.address, client.server, client.lease_s, client.asked))

    def _say(
        self, client: Client, kind: int, servers: Sequence[str], ciaddr: str = "", address: str = "", server: str = ""
    ) -> None:
        now = time.time()
        self.sent.append((client, client.phase, now))
        waited = int((now - client.began) * self.habits.haste) if client.counts and kind not in (RELEASE, DECLINE) else 0
        secs = min(waited, 0xFFFF)
        ours = socket.inet_aton(ciaddr) if ciaddr else ZERO
        relay = socket.inet_aton(self.relay)
        head = HEADER.pack(1, 1, 6, 1, len(self.sent), secs, 0, ours, ZERO, ZERO, relay, client.mac, b"", b"", MAGIC)
        options = bytes((53, 1, kind, 61, 7, 1)) + client.mac
        if kind in (DISCOVER, REQUEST):
            options += bytes((55, 4, 1, 3, 51, 58))
            options += struct.pack("!BBI", 51, 4, client.lasting_s) if client.lasting_s else b""
        if address:
            options += b"\x32\x04" + socket.inet_aton(address)
        if server:
            options += b"\x36\x04" + socket.inet_aton(server)
        for each in servers:
            with contextlib.suppress(OSError):  # a dead host's ICMP
                self.socket.sendto(head + options + b"\xff", (each, 67))

    def _drain(self) -> None:
        while True:
            try:
                data = self.socket.recv(2048)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error of an earlier datagram
                continue
            if len(data) >= HEADER.size:
                self._hear(data)

    def _hear(self, data: bytes) -> None:
        fields = HEADER.unpack_from(data)
        options = options_of(data)
        kind = options.get(53, b"\0")[0]
        if not 1 <= fields[4] <= len(self.sent) or 54 not in options:
            return
        client, phase, asked = self.sent[fields[4] - 1]
        address, server = socket.inet_ntoa(fields[8]), socket.inet_ntoa(options[54])
        if kind == OFFER and phase is client.phase is Phase.SELECTING:
            client.offer, client.phase, client.tries = (address, server), Phase.REQUESTING, 0
            self._ask(client, time.time())
        elif kind == ACK and 51 in options and phase not in (Phase.SELECTING, Phase.AWAY):
            lease_s = struct.unpack("!I", options[51])[0]
            self._bound(client, phase, Told(time.time(), "ACK", client.name, address, server, lease_s, asked))
        elif kind == NAK and phase is client.phase and phase is not Phase.SELECTING:
            if client.holds:
                self._note("NAK", client)
            self._begin(client, time.time())

    def _bound(self, client: Client, phase: Phase, told: Told) -> None:
        """An ACK. A second one, the other server's to the same broadcast, finds the client bound and is dropped (RFC 2131 4.4)."""
        if client.phase is not phase:
            return
        self.record.append(told)
        if client.without:
            client.waits.append(told.at - client.without)
        client.phase, client.without = Phase.BOUND, 0.0
        client.address, client.server, client.lease_s = told.address, told.server, told.lease_s
        client.asked, client.until = told.asked, told.asked + told.lease_s
        client.t1, client.t2 = told.asked + told.lease_s / 2, told.asked + told.lease_s * 7 / 8
