"""What clients were told, from the wire: run inside the clients' namespace as `python -m tests.lab.recorder INTERFACE`.

It takes no part in anything. One line for each DHCP message that counts as a promise or its end, as it passes:
`at kind mac xid ciaddr yiaddr requested lease_s server name`, addresses dotted, `at` in UTC seconds, `name` "-" for none.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time
from dataclasses import dataclass

from tests.lab.load import HEADER, options_of

ETH_P_ALL, ETH_P_IP = 0x0003, 0x0800  # linux/if_ether.h; a socket for one protocol would not see what leaves
SO_RCVBUFFORCE = 33  # asm-generic/socket.h; the socket module has no name for it
KINDS = {3: "REQUEST", 4: "DECLINE", 5: "ACK", 6: "NAK", 7: "RELEASE"}
NOBODY = "0.0.0.0"


@dataclass(slots=True, frozen=True)
class Seen:
    """One message. `requested`, `lease_s`, `server`, `name` are options 50, 51, 54, 12; 0.0.0.0, 0 or "" when absent."""

    at: float
    kind: str
    mac: str
    xid: int
    ciaddr: str = NOBODY
    yiaddr: str = NOBODY
    requested: str = NOBODY
    lease_s: int = 0
    server: str = NOBODY
    name: str = ""

    @property
    def address(self) -> str:
        """The address that it is about."""
        found = self.yiaddr if self.kind == "ACK" else self.ciaddr
        return found if found != NOBODY else self.requested

    def line(self) -> str:
        """As it is written."""
        words = (
            self.kind,
            self.mac,
            self.xid,
            self.ciaddr,
            self.yiaddr,
            self.requested,
            self.lease_s,
            self.server,
            self.name or "-",
        )
        return f"{self.at:.6f} " + " ".join(map(str, words))


def read(text: str) -> list[Seen]:
    """The lines of a recorder; one that is still being written does not count."""
    out = []
    for line in text.split("\n")[:-1]:
        at, kind, mac, xid, ciaddr, yiaddr, requested, lease_s, server, name = line.split()
        out.append(Seen(float(at), kind, mac, int(xid), ciaddr, yiaddr, requested, int(lease_s), server, name.strip("-")))
    return out


def parse(frame: bytes, at: float) -> Seen | None:
    """One Ethernet frame; None for what is no DHCP message of interest."""
    if len(frame) < 34 or int.from_bytes(frame[12:14], "big") != ETH_P_IP:
        return None
    header = 14 + (frame[14] & 0xF) * 4
    if len(frame) < header + 8 + HEADER.size or frame[23] != socket.IPPROTO_UDP:
        return None
    source, to = struct.unpack_from("!HH", frame, header)
    if not {source, to} <= {67, 68}:
        return None
    data = frame[header + 8 :]
    fields = HEADER.unpack_from(data)
    options = options_of(data)
    kind = KINDS.get(options.get(53, b"\0")[0])
    if kind is None:
        return None
    requested, server = (socket.inet_ntoa(options.get(code, bytes(4))) for code in (50, 54))
    lease_s = int.from_bytes(options.get(51, b""), "big")
    mac = fields[11][:6].hex(":")
    name = options.get(12, b"").decode("ascii", "replace")
    return Seen(
        at, kind, mac, fields[4], socket.inet_ntoa(fields[7]), socket.inet_ntoa(fields[8]), requested, lease_s, server, name
    )


def main(interface: str) -> None:
    """Until it is killed."""
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    sniffer.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
    sniffer.bind((interface, ETH_P_ALL))
    print("recording", file=sys.stderr, flush=True)
    while True:
        select.select([sniffer], [], [])
        seen = parse(sniffer.recv(4096), time.time())
        if seen is not None:
            sys.stdout.write(seen.line() + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
