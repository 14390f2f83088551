"""What BIND takes without failoverd in the path: messages that were encoded and signed before, one zone on one connection each.

Run inside a namespace as `python -m tests.bench.stream SERVER KEYFILE ZONE REVERSE LEASES`; prints names per second. As failoverd does,
one message of a zone is out at a time, 50 names in each.
"""

from __future__ import annotations

import base64
import select
import socket
import struct
import sys
import time
from collections import deque

from failoverd.ddns.batch import NAMES_MAX, joined
from failoverd.ddns.names import dotted, reverse_name
from failoverd.ddns.rows import FORWARD, REVERSE, Row, Value
from failoverd.ddns.steps import Step, message
from failoverd.ports import DnsUpdate
from failoverd.shell.dnskeys import read_keys
from failoverd.shell.dnssign import HmacSigner

FIRST = 0x0A100001
FUDGE_S = 300
DHCID = base64.b64encode(b"\0\1\1" + bytes(range(32))).decode()


def updates(zone: str, reverse: str, leases: int) -> tuple[list[DnsUpdate], list[DnsUpdate]]:
    """The messages of both zones."""
    names, pointers = [], []
    for number in range(leases):
        name, address = f"host-{number}.{zone}", FIRST + number
        row = Row("main", FORWARD, name, zone, want=(Value("A", dotted(address), 1200),), guard=DHCID)
        pointer = Row("main", REVERSE, reverse_name(address), reverse, want=(Value("PTR", name, 1200),))
        names.append(message(Step.ADD, row, (), "", 0))
        pointers.append(message(Step.PTR_NEW, pointer, (), "", 0))

    def batches(parts: list[object]) -> list[DnsUpdate]:
        chosen = [part for part in parts if isinstance(part, DnsUpdate)]
        return [joined(chosen[at : at + NAMES_MAX], 0) for at in range(0, len(chosen), NAMES_MAX)]

    return batches(list(names)), batches(list(pointers))


def receive(stream: socket.socket) -> bytes:
    """One reply."""
    data = b""
    while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
        more = stream.recv(4096)
        if not more:
            raise SystemExit("the master closed the connection")
        data += more
    return data[2:]


def main() -> None:
    """Encode everything, then send it."""
    server, key_file, zone, reverse, leases = sys.argv[1:]
    signer = HmacSigner(next(iter(read_keys(key_file).values())))
    lanes: dict[socket.socket, deque[bytes]] = {}
    for batch in updates(zone, reverse, int(leases)):
        wires = deque(signer.sign_update(update, number, FUDGE_S)[0] for number, update in enumerate(batch))
        lanes[socket.create_connection((server, 53))] = wires
    began = time.perf_counter()
    for stream, wires in lanes.items():
        wire = wires.popleft()
        stream.sendall(struct.pack("!H", len(wire)) + wire)
    while lanes:
        for stream in select.select(list(lanes), [], [], 30)[0]:
            reply = receive(stream)
            if reply[3] & 0xF:
                raise SystemExit(f"the master answers rcode {reply[3] & 0xF}")
            if not lanes[stream]:
                del lanes[stream]
                continue
            wire = lanes[stream].popleft()
            stream.sendall(struct.pack("!H", len(wire)) + wire)
    print(2 * int(leases) / (time.perf_counter() - began))


if __name__ == "__main__":
    main()
