"""A zone of 100,000 names is audited while clients ask: no packet is missed, and none waits."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import time
from pathlib import Path

import pytest

from failoverd.ddns.dhcid import guard
from failoverd.ddns.names import dotted
from failoverd.ddns.rows import FORWARD as FWD
from failoverd.ddns.rows import Row, Value
from failoverd.leases.lease import BindingState, Lease
from failoverd.ports import ClientDatagram, ClientSend, Stored
from tests.ddns.live import POLICY
from tests.ddns.named import Named
from tests.ddns.site import Site

pytestmark = [pytest.mark.bind, pytest.mark.slow]

NAMES = 100_000
ZONE = "example.test."
FIRST = 10 << 24 | 10
RELAY = 10 << 24 | 1
RATE_PER_S = 100
SLOWEST_S = 1.0  # a client waits 4 s before it asks again (RFC 2131 4.1)
CONFIG = """
[servers.dhcp1]
interfaces = ["lo"]

[dhcp]
ping-check = false  # an OFFER that waited for its ping would come out of another step, and count as missed

[[subnet]]
subnet = "10.0.0.0/8"
ddns = {{ domain = "example.test." }}
[[subnet.pool]]
range = ["10.0.0.10-10.1.255.250"]

[ddns]
{static}

[[ddns.zone]]
name = "example.test."
primaries = ["127.0.0.1:{port}"]
key-file = "{key}"
"""
LOST = {7: "missing", 70_007: "missing", 50_000: "wrong"}
STALE = {30_000}


def discover(number: int) -> bytes:
    """A DISCOVER of client `number` through a relay."""
    head = struct.pack("!BBBBIHHIIII", 1, 1, 6, 1, number, 0, 0, 0, 0, 0, RELAY)
    client = b"\x02\xaa" + struct.pack("!I", number % 500) + bytes(10)
    return head + client + bytes(192) + bytes((99, 130, 83, 99, 53, 1, 1, 255))


class Clients(asyncio.DatagramProtocol):
    """The node's side: every datagram is a step of the loop that also serves the audit."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.answered: dict[int, float] = {}

    def datagram_received(self, data: bytes, addr: object) -> None:
        now = self.site.now()
        out = self.site.node.step([ClientDatagram("lo", RELAY - 1, RELAY, 67, RELAY - 1, data, now.mono)], now)
        for send in [*out.at_once, *out.after_commit]:
            if isinstance(send, ClientSend):
                self.answered[struct.unpack_from("!I", send.data, 4)[0]] = time.monotonic()
        out.at_once = out.after_commit = []
        self.site._take(out)


class Sender(threading.Thread):
    """Clients that ask at a steady rate until they are told to stop."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port, self.ending, self.sent = port, threading.Event(), dict[int, float]()

    def run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            number = 0
            while not self.ending.wait(1 / RATE_PER_S):
                number += 1
                self.sent[number] = time.monotonic()
                out.sendto(discover(number), ("127.0.0.1", self.port))


def stored_and_zone() -> tuple[Stored, set[str]]:
    """Leases with rows that believe the zone, and a zone that lost, spoilt or kept a few names."""
    now = int(time.time())
    stored, lines = Stored(newest_wall=now - 10), {"ns1.example.test. 60 A 192.0.2.1", "www.example.test. 60 A 192.0.2.2"}
    for number in range(NAMES):
        name, address, hw = f"h{number}.example.test.", FIRST + number, b"\x01\x02\x00" + struct.pack("!I", number)
        owner = guard(hw, b"", name)
        live = number not in STALE
        state = BindingState.ACTIVE if live else BindingState.FREE
        lease = Lease(address, state, hw=hw, hostname=f"h{number}", fqdn=name if live else "")
        lease.starts, lease.cltt, lease.ends = now - 600, now - 600, now + 86400 if live else now - 500
        stored.leases.append(lease.to_json())
        if live:
            row = Row("main", FWD, name, ZONE, want=(Value("A", dotted(address), 3600),), guard=owner, gen=1, done_gen=1)
            row.have, row.held_guard = row.want, owner
            stored.ddns.append(row.to_json())
        if LOST.get(number) != "missing":
            lines.add(f"{name} 3600 A {dotted(address if number not in LOST else 1)}")
            lines.add(f"{name} 3600 DHCID {owner}")
    return stored, lines


async def test_an_audit_of_100000_names_misses_no_packet(tmp_path: Path) -> None:
    stored, lines = stored_and_zone()
    named = Named(tmp_path / "named", {ZONE: (POLICY + "allow-transfer { key ddns-key; key admin-key; };", lines)})
    named.start()
    try:
        async with Site(tmp_path, named.port, text=CONFIG, stored=stored) as site:
            transport, clients = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: Clients(site), local_addr=("127.0.0.1", 0)
            )
            sender = Sender(transport.get_extra_info("sockname")[1])
            sender.start()
            began = time.monotonic()
            first = await site.run("ddns", "check", "-o", "json")
            first_s = time.monotonic() - began
            second = await site.run("ddns", "check", "-o", "json")
            second_s = time.monotonic() - began - first_s
            sender.ending.set()
            await asyncio.to_thread(sender.join)
            await asyncio.sleep(0.5)
            transport.close()
    finally:
        named.stop()
    assert first.exit_code == 0, first.output
    answer = json.loads(first.stdout)
    want = {f"h{number}.example.test.": klass for number, klass in LOST.items()}
    want |= {f"h{number}.example.test.": "stale" for number in STALE}
    assert {each["name"]: each["class"] for each in answer["findings"]} == want
    assert answer["zones"][0]["counts"]["ok"] == NAMES - len(want)
    assert json.loads(second.stdout)["zones"][0]["how"] == "IXFR"
    assert len(sender.sent) > 100
    assert set(clients.answered) == set(sender.sent), "packets were missed"
    waits = sorted(clients.answered[number] - sent for number, sent in sender.sent.items())
    told = f"{len(waits)} packets, p99 {waits[len(waits) * 99 // 100]:.3f} s, longest {waits[-1]:.3f} s"
    print(f"AXFR {first_s:.1f} s, IXFR {second_s:.1f} s, {told}")
    assert waits[-1] < SLOWEST_S, told
