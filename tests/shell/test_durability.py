"""safety.md 8: durability is shown. Under strace every DHCPACK and every BNDACK follows the fdatasync of its commit, on a pair that
serves real datagrams; and the same judge fails a daemon into which synchronous=OFF was planted."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from tests.shell.netns import Net, ip
from tests.shell.strace import CALLS, STRACE, Judgement, judge

CLIENTS = 40
CONFIG = """
site = "durability"
[log]
level = "warning"
format = "console"
[api]
metrics = ""
[servers.dhcp1]
interfaces = ["eth0"]
api = {{ socket = "{folder}/dhcp1/api.sock" }}
store = {{ path = "{folder}/dhcp1/leases.db" }}
[servers.dhcp2]
interfaces = ["eth0"]
api = {{ socket = "{folder}/dhcp2/api.sock" }}
store = {{ path = "{folder}/dhcp2/leases.db" }}
[[relationship]]
name = "office"
primary = {{ server = "dhcp1", address = "10.88.0.1", port = 647 }}
secondary = {{ server = "dhcp2", address = "10.88.0.2", port = 647 }}
mclt = "10m"
[dhcp]
ping-check = false
lease-time = "1h"
[[subnet]]
subnet = "10.88.0.0/16"
[[subnet.pool]]
range = ["10.88.1.0-10.88.1.200"]
relationship = "office"
"""
# What a careless change would do. It lives here and not behind a switch of the daemon.
PLANTED = """
import sys
from failoverd.shell.main import main
from failoverd.shell.store import Store

opened = Store.open.__func__

async def careless(cls, *args, **kwargs):
    store = await opened(cls, *args, **kwargs)
    await store._db.execute("PRAGMA synchronous = OFF")
    return store

Store.open = classmethod(careless)
main()
"""


class Segment:
    """dhcp1, dhcp2 and a client on one bridge."""

    def __init__(self) -> None:
        self.names = {name: f"fdsh-{os.getpid()}-{name}" for name in ("sw", "dhcp1", "dhcp2", "cli")}

    def make(self) -> None:
        for name in self.names.values():
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        switch = self.names["sw"]
        ip("-n", switch, "link", "add", "br0", "type", "bridge")
        ip("-n", switch, "link", "set", "br0", "up")
        for number, name in enumerate(("dhcp1", "dhcp2", "cli"), 1):
            ip("-n", self.names[name], "link", "add", "eth0", "type", "veth", "peer", "name", f"p{number}", "netns", switch)
            ip("-n", switch, "link", "set", f"p{number}", "master", "br0", "up")
            ip("-n", self.names[name], "addr", "add", f"10.88.0.{number}/16", "dev", "eth0")
            ip("-n", self.names[name], "link", "set", "eth0", "up")

    def remove(self) -> None:
        for name in self.names.values():
            subprocess.run(("ip", "netns", "del", name), capture_output=True, check=False)


class Traced:
    """One failoverd under strace."""

    def __init__(self, segment: Segment, folder: Path, name: str, planted: bool) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.trace, self.log = self.folder / "trace", self.folder / "log"
        program = ["-c", PLANTED] if planted else ["-m", "failoverd.shell.main"]
        words = [*STRACE, "-e", CALLS, "-o", str(self.trace), sys.executable, *program]
        words += ["--config", str(folder / "failoverd.toml"), "--server", name, "--new-pair"]
        with self.log.open("wb") as out:
            self.strace = subprocess.Popen(["ip", "netns", "exec", segment.names[name], *words], stdout=out, stderr=out)

    def ready(self, deadline: float) -> None:
        """Until it asks the partner's state and both are normal, as failoverctl says."""
        words = [sys.executable, "-m", "failoverd.ctl.main", "--socket", str(self.folder / "api.sock"), "-o", "json", "status"]
        seen = ""
        while time.monotonic() < deadline:
            assert self.strace.poll() is None, self.log.read_text()
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            seen = done.stdout or done.stderr
            if done.returncode == 0 and '"state": "normal"' in seen:
                return
            time.sleep(0.2)
        raise AssertionError(f"{self.folder.name} is not normal: {seen[-1500:]} {self.log.read_text()[-1500:]}")

    def stop(self) -> int:
        """SIGTERM to failoverd itself; strace ends with it and with its status."""
        children = Path(f"/proc/{self.strace.pid}/task/{self.strace.pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), signal.SIGTERM)
        return self.strace.wait(20)

    def kill(self) -> None:
        """Whatever is left."""
        if self.strace.poll() is None:
            for child in Path(f"/proc/{self.strace.pid}/task/{self.strace.pid}/children").read_text().split():
                os.kill(int(child), signal.SIGKILL)
            self.strace.kill()
            self.strace.wait(10)

    def judge(self) -> Judgement:
        with self.trace.open(errors="replace") as lines:
            return judge(lines, "leases.db-wal")


def message(kind: int, number: int, options: bytes = b"") -> bytes:
    """A DHCP message of client `number`, with the broadcast flag."""
    mac = b"\x02\x08\x00\x00\x00" + bytes((number,))
    head = struct.pack("!BBBBIHH16x16s192x", 1, 1, 6, 0, 0x5AFE0000 + number, 3, 0x8000, mac)
    return head + b"\x63\x82\x53\x63\x35\x01" + bytes((kind,)) + options + b"\xff"


def option(data: bytes, code: int) -> bytes:
    """The value of one option of a reply."""
    at = 240
    while data[at] != 255:
        if data[at] == 0:
            at += 1
            continue
        if data[at] == code:
            return data[at + 2 : at + 2 + data[at + 1]]
        at += 2 + data[at + 1]
    return b""


def lease(client: socket.socket, number: int) -> str:
    """DISCOVER, OFFER, REQUEST, ACK; the address."""
    offer = ask(client, message(1, number), number, 2)
    wanted = b"\x32\x04" + offer[16:20] + b"\x36\x04" + option(offer, 54)
    ack = ask(client, message(3, number, wanted), number, 5)
    return str(IPv4Address(ack[16:20]))


def ask(client: socket.socket, request: bytes, number: int, want: int) -> bytes:
    """Send, and wait for the reply of type `want` to this client; again every 2 s."""
    for _ in range(5):
        client.sendto(request, ("255.255.255.255", 67))
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            client.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                data = client.recv(2000)
            except TimeoutError:
                break
            if data[4:8] == request[4:8] and option(data, 53) == bytes((want,)):
                return data
    raise AssertionError(f"client {number}: no reply of type {want}")


@pytest.fixture
def segment() -> Iterator[Segment]:
    made = Segment()
    try:
        made.make()
        yield made
    finally:
        made.remove()


def run(segment: Segment, folder: Path, planted: bool) -> tuple[set[int], list[Judgement]]:
    """Start the pair, give CLIENTS leases, stop it; the addresses given and what strace saw of each server."""
    (folder / "failoverd.toml").write_text(CONFIG.format(folder=folder))
    servers = [Traced(segment, folder, name, planted) for name in ("dhcp1", "dhcp2")]
    try:
        deadline = time.monotonic() + 60
        for server in servers:
            server.ready(deadline)
        net = Net()
        with net.inside(segment.names["cli"]):
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        client.bind(("0.0.0.0", 68))
        with client:
            given = {lease(client, number) for number in range(CLIENTS)}
        time.sleep(1.0)  # the partner's BNDACKs
        assert [server.stop() for server in servers] == [0, 0], [server.log.read_text()[-2000:] for server in servers]
    finally:
        for server in servers:
            server.kill()
    return {int(IPv4Address(address)) for address in given}, [server.judge() for server in servers]


@pytest.mark.root
def test_safety_08_every_ack_and_bndack_follows_the_fdatasync_of_its_commit(segment: Segment, tmp_path: Path) -> None:
    given, judged = run(segment, tmp_path, planted=False)
    assert len(given) == CLIENTS
    assert [found.early for found in judged] == [[], []]
    assert {address for found in judged for address in found.acks} == given
    assert given <= {address for found in judged for address in found.bndacks}
    assert all(found.acks and found.bndacks and found.syncs for found in judged)


@pytest.mark.root
def test_safety_08_a_planted_synchronous_off_is_found(segment: Segment, tmp_path: Path) -> None:
    given, judged = run(segment, tmp_path, planted=True)
    early = [text for found in judged for text in found.early]
    assert len([text for text in early if text.startswith("DHCPACK")]) >= len(given) // 2
    assert [text for text in early if text.startswith("BNDACK")]


# --- the judge itself -------------------------------------------------------------------------------------------------

WAL = "13</x/leases.db-wal>"
RECORD = b'{"address":176685312,'.hex()  # 10.136.1.0
ROW = '"' + "".join(f"\\x{RECORD[i : i + 2]}" for i in range(0, len(RECORD), 2)) + '"'
BOOTP = bytes(16) + bytes((10, 136, 1, 0)) + bytes(216) + b"\x63\x82\x53\x63\x35\x01\x05\xff"
REPLY = '"' + "".join(f"\\x{octet:02x}" for octet in BOOTP) + '"'
WRITE = f"7 10:00:00.1 pwrite64({WAL}, {ROW}, 21, 0) = 21"
SYNC = f"7 10:00:00.2 fdatasync({WAL}) = 0"
SEND = f"5 10:00:00.3 sendmsg(15<UDP:[0.0.0.0:67]>, {{msg_iov=[{{iov_base={REPLY}, iov_len=244}}]}}, 0) = 244"


@pytest.mark.parametrize(
    ("lines", "early"),
    [
        ([WRITE, SYNC, SEND], 0),
        ([WRITE, SEND, SYNC], 1),
        ([SYNC, WRITE, SEND], 1),
        ([SEND], 1),
        ([WRITE, f"7 10:00 fdatasync({WAL} <unfinished ...>", SEND, "7 10:00 <... fdatasync resumed>) = 0"], 1),
        ([WRITE, f"7 10:00 fdatasync({WAL} <unfinished ...>", "7 10:00 <... fdatasync resumed>) = 0", SEND], 0),
        (
            [
                f"7 10:00 fdatasync({WAL} <unfinished ...>",
                WRITE.replace("7 ", "8 ", 1),
                "7 10:00 <... fdatasync resumed>) = 0",
                SEND,
            ],
            1,
        ),
        ([WRITE, f"7 10:00 fdatasync({WAL}) = -1 EIO (Input/output error)", SEND], 1),
        ([WRITE, SYNC.replace("leases.db-wal", "leases.db.marker"), SEND], 1),
        ([WRITE, SYNC, SEND, SEND], 1),
    ],
)
def test_the_judge(lines: list[str], early: int) -> None:
    found = judge(lines, "leases.db-wal")
    assert len(found.early) == early
    assert found.acks == [0x0A880100] * sum(line is SEND for line in lines)
