"""Clients that live: they come, renew, move, change their names, go with and without a word. Run in the clients' namespace.

`python -m tests.lab.torture_clients --relay A --server A --server B --residents N --visitors RATE --seed S`. Residents stay and renew
as RFC 2131 4.4.5 says, by unicast to their server, then by the relay to both; visitors come once, RATE a second, and go. All of them are
behind one relay address, and renewals come from the leased address itself, which the kernel must take for its own (a local route for the
pool). With --renames they change their names. SIGUSR1: calm; nobody goes any more, nobody changes a name, everybody comes back. SIGTERM:
end, with one line of counts.
"""

from __future__ import annotations

import argparse
import heapq
import select
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass
from enum import Enum, auto
from random import Random

from tests.lab.load import HEADER, MAGIC, ZERO, options_of

DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE = 1, 2, 3, 4, 5, 6, 7
RESEND_S = 2.0
TRIES = 3
SHARED_NAMES = 6  # so many names that several clients ask for
IP_FREEBIND, IP_PKTINFO = 15, 8  # linux/in.h; the socket module does not have them


class Phase(Enum):
    """Where a client is (RFC 2131 figure 5); OFF: not there."""

    OFF = auto()
    SELECTING = auto()
    REQUESTING = auto()
    REBOOTING = auto()
    BOUND = auto()
    RENEWING = auto()


@dataclass(slots=True)
class Client:
    """One client. `address`, `server`, `ends`: its lease (monotonic time), or what it remembers of the last one."""

    mac: bytes
    name: str
    visitor: bool
    phase: Phase = Phase.OFF
    xid: int = 0
    began: float = 0.0
    asked: float = 0.0
    tries: int = 0
    address: bytes = ZERO
    server: bytes = ZERO
    lease_s: int = 0
    ends: float = 0.0
    wake: float = 0.0  # the one timer that counts

    def message(self, kind: int, relay: bytes, secs: int, *more: tuple[int, bytes], ciaddr: bytes = ZERO) -> bytes:
        """One DHCP message of this client."""
        head = HEADER.pack(1, 1, 6, 0, self.xid, secs, 0, ciaddr, ZERO, ZERO, relay, self.mac, b"", b"", MAGIC)
        options = bytes((53, 1, kind, 61, 7, 1)) + self.mac
        if kind in {DISCOVER, REQUEST}:
            options += bytes((12, len(self.name))) + self.name.encode() + bytes((55, 4, 1, 3, 6, 51))
        for code, data in more:
            options += bytes((code, len(data))) + data
        return head + options + b"\xff"


class Crowd:
    """All clients, the relay's socket, and the one for renewals."""

    def __init__(self, relay: str, servers: list[str], residents: int, visitors_per_s: float, seed: int, renames: bool) -> None:
        self.rng = Random(seed)
        self.relay = socket.inet_aton(relay)
        self.servers = [socket.inet_aton(server) for server in servers]
        self.rate, self.renames = visitors_per_s, renames
        self.calm = self.ended = False
        self.relayed = self._socket(relay, 67)
        self.direct = self._socket("", 68)
        self.counts: dict[str, int] = {}
        self.due: list[tuple[float, int]] = []
        self.clients: list[Client] = []
        self.by_mac: dict[bytes, int] = {}
        for number in range(residents):
            name = f"shared{number % SHARED_NAMES}" if number % 12 == 0 else f"r{number}"
            self._enter(Client(b"\x02\xfd\x01\x00" + number.to_bytes(2, "big"), name, False))
            self._wake(number, time.monotonic() + self.rng.uniform(0, 5))

    @staticmethod
    def _socket(address: str, port: int) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        made.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        made.bind((address, port))
        made.setblocking(False)
        return made

    def _enter(self, client: Client) -> int:
        self.by_mac[client.mac] = len(self.clients)
        self.clients.append(client)
        return len(self.clients) - 1

    def _wake(self, number: int, at: float) -> None:
        self.clients[number].wake = at
        heapq.heappush(self.due, (at, number))

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    # --- what they say ------------------------------------------------------------------------------------------------

    def _send(self, message: bytes, *servers: bytes, source: bytes = b"") -> None:
        for server in servers:
            try:
                if source:
                    info = struct.pack("=i4s4s", 0, source, ZERO)
                    self.direct.sendmsg([message], [(socket.IPPROTO_IP, IP_PKTINFO, info)], 0, (socket.inet_ntoa(server), 67))
                else:
                    self.relayed.sendto(message, (socket.inet_ntoa(server), 67))
            except OSError:
                self._count("unsent")  # no ARP answer from a server that is cut off

    def _fresh(self, client: Client, phase: Phase, now: float) -> None:
        client.phase, client.xid, client.tries = phase, self.rng.getrandbits(32), 0
        client.began = client.asked = now

    def discover(self, number: int, now: float) -> None:
        """INIT: to every server."""
        client = self.clients[number]
        if client.phase is not Phase.SELECTING:
            self._fresh(client, Phase.SELECTING, now)
        client.asked = now
        self._send(client.message(DISCOVER, self.relay, int(now - client.began)), *self.servers)
        self._wake(number, now + RESEND_S * self.rng.uniform(0.8, 1.2))

    def request(self, number: int, now: float) -> None:
        """SELECTING or INIT-REBOOT: to every server."""
        client = self.clients[number]
        more = [(50, client.address)]
        if client.phase is Phase.REQUESTING:
            more.append((54, client.server))
        self._send(client.message(REQUEST, self.relay, int(now - client.began), *more), *self.servers)
        self._wake(number, now + RESEND_S)

    def renew(self, number: int, now: float) -> None:
        """RENEWING to its server, after T2 REBINDING by the relay to all. Each try is an exchange of its own."""
        client = self.clients[number]
        began = client.began if client.phase is Phase.RENEWING else now
        self._fresh(client, Phase.RENEWING, now)
        client.began = began
        secs = int(now - began)
        if now < client.ends - client.lease_s / 8:
            self._send(client.message(REQUEST, ZERO, secs, ciaddr=client.address), client.server, source=client.address)
        else:
            self._send(client.message(REQUEST, self.relay, secs, ciaddr=client.address), *self.servers)
        self._wake(number, min(client.ends, now + RESEND_S * self.rng.uniform(0.8, 1.5)))

    def release(self, number: int, now: float) -> None:
        """Give the lease back, to its server; nobody answers."""
        client = self.clients[number]
        client.xid = self.rng.getrandbits(32)
        message = client.message(RELEASE, ZERO, 0, (54, client.server), ciaddr=client.address)
        self._send(message, client.server, source=client.address)
        self._count("released")
        self.leave(number, now)

    def leave(self, number: int, now: float) -> None:
        """Not there any more; a resident comes back."""
        client = self.clients[number]
        client.phase = Phase.OFF
        if not client.visitor:
            again = self.rng.choice([self.rng.uniform(0.5, 5), self.rng.uniform(5, 1.5 * (client.lease_s or 60))])
            self._wake(number, now + again)

    # --- what they decide ---------------------------------------------------------------------------------------------

    def act(self, number: int, now: float) -> None:
        """A client's timer."""
        client = self.clients[number]
        if client.phase is Phase.OFF:
            if client.visitor and client.address != ZERO:
                return
            if client.ends > now and client.address != ZERO and self.rng.random() < 0.6:
                self._fresh(client, Phase.REBOOTING, now)
                self.request(number, now)
            else:
                self.discover(number, now)
        elif client.phase is Phase.SELECTING:
            if client.visitor and now - client.began > 20:
                client.phase = Phase.OFF
                client.address = client.server  # it does not come again
                self._count("gave-up")
            else:
                self.discover(number, now)
        elif client.phase in {Phase.REQUESTING, Phase.REBOOTING}:
            client.tries += 1
            (self.discover if client.tries >= TRIES else self.request)(number, now)
        elif now >= client.ends:
            self._count("expired")
            client.address = ZERO
            client.phase = Phase.OFF
            self.discover(number, now)
        elif client.phase is Phase.RENEWING:
            self.renew(number, now)
        else:
            self.decide(number, now)

    def decide(self, number: int, now: float) -> None:
        """BOUND, and the time has come: a visitor goes; a resident renews, or does something else."""
        client = self.clients[number]
        luck = self.rng.random()
        if client.visitor:
            if self.calm or luck < 0.7:
                self.release(number, now)
            else:
                client.phase = Phase.OFF
            return
        if self.calm:
            self.renew(number, now)
        elif luck < 0.08:
            self.release(number, now)
        elif luck < 0.16:
            self._count("vanished")
            self.leave(number, now)
        elif luck < 0.165:
            client.xid = self.rng.getrandbits(32)
            self._send(client.message(DECLINE, self.relay, 0, (50, client.address), (54, client.server)), client.server)
            self._count("declined")
            client.address = ZERO
            self.leave(number, now)
        else:
            if self.renames and luck < 0.22 and not client.name.startswith("shared"):
                client.name = client.name[:-2] if client.name.endswith("-x") else client.name + "-x"
                self._count("renamed")
            self.renew(number, now)

    def receive(self, data: bytes, now: float) -> None:
        """One reply."""
        fields = HEADER.unpack_from(data)
        number = self.by_mac.get(fields[11][:6])
        if number is None or self.clients[number].xid != fields[4]:
            return
        client, options = self.clients[number], options_of(data)
        kind = options.get(53, b"\0")[0]
        if kind == OFFER and client.phase is Phase.SELECTING:
            client.phase, client.tries, client.asked = Phase.REQUESTING, 0, now
            client.address, client.server = fields[8], options[54]
            self.request(number, now)
        elif kind == NAK and client.phase in {Phase.REQUESTING, Phase.REBOOTING, Phase.RENEWING}:
            self._count("nak")
            client.address, client.ends = ZERO, 0.0
            client.phase = Phase.OFF
            self.discover(number, now)
        elif kind == ACK and client.phase in {Phase.REQUESTING, Phase.REBOOTING, Phase.RENEWING}:
            self._count("ack")
            client.phase, client.address, client.server = Phase.BOUND, fields[8], options[54]
            client.lease_s = int.from_bytes(options[51], "big")
            client.ends = client.asked + client.lease_s
            part = self.rng.uniform(0.02, 0.1) if client.visitor else self.rng.uniform(0.4, 0.6)
            self._wake(number, client.asked + client.lease_s * part)

    # --- the loop -----------------------------------------------------------------------------------------------------

    def drain(self, one: socket.socket) -> None:
        """Everything that has arrived."""
        while True:
            try:
                data = one.recv(2048)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error of an earlier send
            if len(data) >= HEADER.size:
                self.receive(data, time.monotonic())

    def run(self) -> None:
        """Until SIGTERM."""
        came = time.monotonic()
        while not self.ended:
            now = time.monotonic()
            while self.due and self.due[0][0] <= now:
                at, number = heapq.heappop(self.due)
                if self.clients[number].wake == at:
                    self.act(number, now)
            while self.rate and came < now and not self.calm:
                came += self.rng.expovariate(self.rate)
                count = len(self.clients)
                self.discover(self._enter(Client(b"\x02\xfd\x02" + count.to_bytes(3, "big"), f"v{count}", True)), now)
            for ready in select.select([self.relayed, self.direct], [], [], 0.02)[0]:
                self.drain(ready)
        bound = sum(client.phase in {Phase.BOUND, Phase.RENEWING} for client in self.clients if not client.visitor)
        counts = " ".join(f"{what}={times}" for what, times in sorted(self.counts.items()))
        print(f"bound={bound} clients={len(self.clients)} {counts}", flush=True)

    def calm_down(self) -> None:
        """Nobody goes any more, and who is away comes back."""
        self.calm = True
        now = time.monotonic()
        for number, client in enumerate(self.clients):
            if client.phase is Phase.OFF and not client.visitor:
                self._wake(number, now + self.rng.uniform(0, 3))


def main() -> None:
    """Until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--relay", required=True)
    parser.add_argument("--server", action="append", required=True)
    parser.add_argument("--residents", type=int, required=True)
    parser.add_argument("--visitors", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--renames", action="store_true", help="clients change their names")
    args = parser.parse_args()
    crowd = Crowd(args.relay, args.server, args.residents, args.visitors, args.seed, args.renames)

    def calm(_number: int, _frame: object) -> None:
        crowd.calm_down()

    def end(_number: int, _frame: object) -> None:
        crowd.ended = True

    signal.signal(signal.SIGUSR1, calm)
    signal.signal(signal.SIGTERM, end)
    print("ready", file=sys.stderr, flush=True)
    crowd.run()


if __name__ == "__main__":
    main()
