"""A load of DHCP clients behind one relay address, from the standard library alone; run inside a namespace as `python -m tests.lab.load`.

It binds the relay's address, sends DISCOVERs at a steady rate to every server given, answers the first OFFER of each with a REQUEST,
repeats what is not answered (with `secs` counting, as RFC 2131 4.1 wants it) and prints one line for each DHCPACK as it arrives:
`mac address server lease_s wall`. It ends when every client has its lease or `--give-up` seconds after the last DISCOVER was due.
"""

from __future__ import annotations

import argparse
import heapq
import select
import socket
import struct
import sys
import time
from dataclasses import dataclass

HEADER = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s4s")
MAGIC = b"\x63\x82\x53\x63"
ZERO = bytes(4)
DISCOVER, OFFER, REQUEST, ACK, NAK = 1, 2, 3, 5, 6
RESEND_S = 2.0
SO_RCVBUFFORCE = 33  # asm-generic/socket.h; the socket module has no name for it


@dataclass(slots=True)
class Exchange:
    """One client. `offer` is (address, server identifier) once it has one."""

    xid: int
    mac: bytes
    began: float
    offer: tuple[bytes, bytes] | None = None
    done: bool = False
    name: bytes = b""

    def message(self, relay: bytes, now: float) -> bytes:
        """Its DISCOVER or REQUEST."""
        secs = min(int(now - self.began), 0xFFFF)
        head = HEADER.pack(1, 1, 6, 1, self.xid, secs, 0, ZERO, ZERO, ZERO, relay, self.mac, b"", b"", MAGIC)
        kind = DISCOVER if self.offer is None else REQUEST
        options = bytes((53, 1, kind, 61, 7, 1)) + self.mac + bytes((55, 4, 1, 3, 6, 51))
        if self.name:
            options += bytes((12, len(self.name))) + self.name
        if self.offer is not None:
            options += b"\x32\x04" + self.offer[0] + b"\x36\x04" + self.offer[1]
        return head + options + b"\xff"


def options_of(data: bytes) -> dict[int, bytes]:
    """The options field, later ones of one code appended."""
    found: dict[int, bytes] = {}
    at = HEADER.size
    while at < len(data) and data[at] != 255:
        if data[at] == 0:
            at += 1
            continue
        found[data[at]] = found.get(data[at], b"") + data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]
    return found


class Load:
    """All clients and the one socket."""

    def __init__(self, relay: str, servers: list[str], count: int, rate: float, base: int, name: str = "") -> None:
        self.relay = socket.inet_aton(relay)
        self.servers = [(server, 67) for server in servers]
        self.count, self.rate, self.base, self.name = count, rate, base, name
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        self.socket.bind((relay, 67))
        self.socket.setblocking(False)
        self.clients: dict[int, Exchange] = {}
        self.due: list[tuple[float, int]] = []
        self.open = count

    def send(self, client: Exchange, now: float) -> None:
        """Its next message to every server, and a time for the repetition."""
        message = client.message(self.relay, now)
        for server in self.servers:
            self.socket.sendto(message, server)
        heapq.heappush(self.due, (now + RESEND_S, client.xid))

    def receive(self, data: bytes, now: float) -> None:
        """One reply."""
        fields = HEADER.unpack_from(data)
        client = self.clients.get(fields[4])
        if client is None or client.done:
            return
        options = options_of(data)
        kind = options.get(53, b"\0")[0]
        if kind == OFFER and client.offer is None:
            client.offer = fields[8], options[54]
            self.send(client, now)
        elif kind == NAK:
            client.offer = None
            self.send(client, now)
        elif kind == ACK and client.offer is not None:
            client.done = True
            self.open -= 1
            lease_s = struct.unpack("!I", options[51])[0]
            words = (
                client.mac.hex(":"),
                socket.inet_ntoa(fields[8]),
                socket.inet_ntoa(options[54]),
                str(lease_s),
                f"{time.time():.6f}",
            )
            sys.stdout.write(" ".join(words) + "\n")
            sys.stdout.flush()

    def drain(self, now: float) -> None:
        """Everything that has arrived."""
        while True:
            try:
                data = self.socket.recv(2048)
            except BlockingIOError:
                return
            if len(data) >= HEADER.size:
                self.receive(data, now)

    def run(self, give_up_s: float) -> int:
        """The number of clients that got no lease."""
        start = time.monotonic()
        end = start + self.count / self.rate + give_up_s
        while self.open and (now := time.monotonic()) < end:
            wanted = min(self.count, int((now - start) * self.rate) + 1)
            for number in range(len(self.clients), wanted):
                mac = b"\x02" + (self.base + number).to_bytes(5, "big")
                xid = (self.base + number) & 0xFFFFFFFF
                name = f"{self.name}{number}".encode() if self.name else b""
                client = self.clients[xid] = Exchange(xid, mac, now, name=name)
                self.send(client, now)
            while self.due and self.due[0][0] <= now:
                client = self.clients[heapq.heappop(self.due)[1]]
                if not client.done:
                    self.again(client, now)
            select.select([self.socket], [], [], 0.5 / self.rate)
            self.drain(time.monotonic())
        return self.open

    def again(self, client: Exchange, now: float) -> None:
        """Nothing came: begin anew when a REQUEST stays unanswered, for its server may be dead."""
        if client.offer is not None and now - client.began > 2 * RESEND_S:
            client.offer = None
        self.send(client, now)


def main() -> int:
    """Exit status: 0 when every client has its lease."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--relay", required=True, help="the address to bind, and giaddr")
    parser.add_argument("--server", action="append", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--base", type=int, default=0xFD000000)
    parser.add_argument("--name", default="", help="send option 12: this and the number of the client")
    parser.add_argument("--give-up", type=float, default=20.0)
    args = parser.parse_args()
    left = Load(args.relay, args.server, args.count, args.rate, args.base, args.name).run(args.give_up)
    return 0 if left == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
