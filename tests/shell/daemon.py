"""One failoverd as a process in a network namespace: what it tells the service manager, what it logs, its clients and its partner."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.shell.netns import Net

CONFIG = """
site = "process"
[log]
format = "json"
level = "info"
[api]
socket = "{folder}/api.sock"
metrics = ""
[store]
path = "{folder}/leases.db"
[servers.dhcp1]
interfaces = ["eth0", "eth1"]
[servers.dhcp2]
interfaces = ["eth0"]
[[relationship]]
name = "office"
primary = {{ server = "dhcp1", address = "10.77.0.1", port = 647 }}
secondary = {{ server = "dhcp2", address = "10.77.0.9", port = 647 }}
mclt = "10m"
max-response-delay = "15s"
[[subnet]]
subnet = "10.77.0.0/16"
[[subnet.pool]]
range = ["10.77.1.0-10.77.1.200"]
server = "dhcp1"
[[subnet]]
subnet = "10.78.0.0/16"
[[subnet.pool]]
range = ["10.78.1.0-10.78.1.200"]
relationship = "office"
"""


class Daemon:
    """One failoverd in the server's namespace, with a socket that plays the service manager."""

    def __init__(self, net: Net, folder: Path, *words: str, program: str = "", env: dict[str, str] | None = None) -> None:
        self.log = folder / "log"
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(str(folder / "notify"))
        self.manager.settimeout(0.2)
        start = ["-c", program] if program else ["-m", "failoverd.shell.main"]
        args = ["ip", "netns", "exec", net.srv, sys.executable, *start]
        args += ["--config", str(folder / "failoverd.toml"), "--server", "dhcp1", *words]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                args, stdout=out, stderr=out, env={**os.environ, "NOTIFY_SOCKET": str(folder / "notify"), **(env or {})}
            )

    def told(self, wanted: str) -> str:
        """What the service manager was told, once it contains `wanted`."""
        seen = ""
        deadline = time.monotonic() + 20
        while wanted not in seen:
            try:
                seen += self.manager.recv(4096).decode() + "\n"
            except TimeoutError:
                alive = self.process.poll() is None and time.monotonic() < deadline
                assert alive, f"no {wanted}: {seen} {self.text()}"
        return seen

    def ends(self, timeout_s: float = 20.0) -> int:
        return self.process.wait(timeout_s)

    def text(self) -> str:
        return self.log.read_text()

    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]

    def logged(self, event: str, timeout_s: float = 10.0) -> dict[str, object]:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for found in self.events():
                if found["event"] == event:
                    return found
            time.sleep(0.05)  # between two looks at its log: it has no other way to tell
        raise AssertionError(f"no {event} in {self.text()}")

    def close(self) -> None:
        self.manager.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(10)


class Site:
    """A network, a folder, and the daemons started in them."""

    def __init__(self, net: Net, folder: Path) -> None:
        self.net, self.folder = net, folder
        self.daemons: list[Daemon] = []
        (folder / "failoverd.toml").write_text(CONFIG.format(folder=folder))

    def start(self, *words: str, program: str = "", env: dict[str, str] | None = None) -> Daemon:
        (self.folder / "notify").unlink(missing_ok=True)
        self.daemons.append(Daemon(self.net, self.folder, *words, program=program, env=env))
        return self.daemons[-1]

    def client(self) -> socket.socket:
        with self.net.inside(self.net.cli):
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        made.bind(("0.0.0.0", 68))
        return made

    def partner(self) -> socket.socket:
        """A listener in the place of dhcp2."""
        with self.net.inside(self.net.cli):
            made = socket.create_server(("10.77.0.9", 647))
        made.settimeout(10)
        return made


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Site]:
    """A network, taken down at the end with every daemon in it."""
    net = Net()
    made = Site(net, folder)
    try:
        net.make()
        yield made
    finally:
        for daemon in made.daemons:
            daemon.close()
        net.remove()
