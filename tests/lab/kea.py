"""A Kea 2.2 (Debian's) as one server of a load-balancing HA pair, and what its control socket says of it."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from tests.lab.lab import Host, Process
from tests.lab.terms import Pair, Role, Scope
from tests.lab.wait import LabError, ProcessEndedError, until

HOOKS = Path("/usr/lib/x86_64-linux-gnu/kea/hooks")
SERVERS = {Role.PRIMARY: "server1", Role.SECONDARY: "server2"}
ROLES = {Role.PRIMARY: "primary", Role.SECONDARY: "secondary"}
ANSWER_S = 3.0
MAINTENANCE_S = 20.0  # it asks its partner first, for up to 10 s


@dataclass(slots=True, frozen=True)
class HaTimes:
    """Of the HA hook, in its words; milliseconds, but for the two counts. Defaults: the manual's example."""

    heartbeat_delay: int = 10_000
    max_response_delay: int = 60_000
    max_ack_delay: int = 5_000
    max_unacked_clients: int = 5
    delayed_updates_limit: int = 100

    def plain(self) -> dict[str, int]:
        """As the configuration writes them."""
        return {name.replace("_", "-"): getattr(self, name) for name in self.__slots__}


def config(folder: Path, pair: Pair, role: Role, scope: Scope, times: HaTimes, interface: str = "eth0") -> dict[str, Any]:
    """kea-dhcp4.conf of one server: the pool split in two halves by class, as load balancing wants it; listeners of its own, so no
    control agent; clients behind a relay only."""
    first, last = int(IPv4Address(scope.first)), int(IPv4Address(scope.last))
    middle = (first + last) // 2
    halves = {Role.PRIMARY: (first, middle), Role.SECONDARY: (middle + 1, last)}
    peers = [
        {"name": SERVERS[each], "url": f"http://{pair.mine(each)}:8000/", "role": ROLES[each], "auto-failover": True}
        for each in SERVERS
    ]
    ha = {
        "this-server-name": SERVERS[role],
        "mode": "load-balancing",
        **times.plain(),
        "send-lease-updates": True,
        "sync-leases": True,
        "multi-threading": {
            "enable-multi-threading": True,
            "http-dedicated-listener": True,
            "http-listener-threads": 2,
            "http-client-threads": 2,
        },
        "peers": peers,
    }
    pools = [
        {"pool": f"{IPv4Address(start)} - {IPv4Address(end)}", "client-class": f"HA_{SERVERS[each]}"}
        for each, (start, end) in halves.items()
    ]
    options = [{"name": "routers", "data": scope.router}] if scope.router else []
    return {
        "Dhcp4": {
            "interfaces-config": {"interfaces": [interface], "dhcp-socket-type": "udp"},
            "control-socket": {"socket-type": "unix", "socket-name": str(folder / "kea.sock")},
            "lease-database": {"type": "memfile", "persist": True, "name": str(folder / "leases.csv"), "lfc-interval": 0},
            "multi-threading": {"enable-multi-threading": True, "thread-pool-size": 2, "packet-queue-size": 64},
            "valid-lifetime": pair.lease_s,
            "authoritative": True,
            "hooks-libraries": [
                {"library": str(HOOKS / "libdhcp_lease_cmds.so")},
                {"library": str(HOOKS / "libdhcp_ha.so"), "parameters": {"high-availability": [ha]}},
            ],
            "subnet4": [{"subnet": str(scope.subnet), "pools": pools, "option-data": options}],
            "loggers": [{"name": "kea-dhcp4", "severity": "INFO", "output_options": [{"output": "stdout", "flush": True}]}],
        }
    }


@dataclass(slots=True)
class Kea:
    """One kea-dhcp4. Its lease file survives a stop and a kill."""

    host: Host
    conf: Path
    process: Process | None = field(default=None)

    @classmethod
    def make(cls, host: Host, text: Mapping[str, Any]) -> Kea:
        """Write its configuration."""
        conf = host.folder / "kea-dhcp4.conf"
        conf.write_text(json.dumps(text, indent=1))
        return cls(host, conf)

    def start(self, log: str = "kea") -> None:
        """Start it and wait until its control socket answers."""
        folder = str(self.host.folder)
        env = {"KEA_PIDFILE_DIR": folder, "KEA_LOCKFILE_DIR": folder}
        process = self.process = self.host.start(log, self.host.lab.program("kea-dhcp4"), "-c", str(self.conf), env=env)

        def answers() -> bool:
            if not process.alive():
                raise ProcessEndedError(f"kea-dhcp4 on {self.host.name} ended: {process.text()[-2000:]}")
            return bool(self.state())

        until(f"kea-dhcp4 on {self.host.name} answers", answers, 30)

    def ask(self, command: str, timeout_s: float = ANSWER_S) -> dict[str, Any]:
        """One command over the control socket; its answer."""
        try:
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(timeout_s)
                link.connect(str(self.host.folder / "kea.sock"))
                link.sendall(json.dumps({"command": command}).encode())
                text = b""
                while part := link.recv(65536):
                    text += part
            answer: dict[str, Any] = json.loads(text)
        except (OSError, ValueError) as error:
            raise LabError(f"kea-dhcp4 on {self.host.name} does not answer {command}: {error}") from None
        if answer.get("result") != 0:
            raise LabError(f"kea-dhcp4 on {self.host.name}: {command}: {answer.get('text')}")
        return answer

    def state(self) -> str:
        """Its HA state, in Kea's words: "load-balancing", "partner-down", "waiting", ..."""
        return str(self.ask("status-get")["arguments"]["high-availability"][0]["ha-servers"]["local"]["state"])

    def maintenance_start(self) -> None:
        """What an operator tells the server that stays: a partner that does not answer is taken for dead."""
        self.ask("ha-maintenance-start", MAINTENANCE_S)
