"""failoverd in the lab: its configuration, its process, and what failoverctl says of it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from failoverd.ctl.client import Client, Failure
from tests.lab.bind import Key, Zones
from tests.lab.lab import Host, Process
from tests.lab.terms import Pair, Role, Scope
from tests.lab.wait import LabError, ProcessEndedError, until

SERVERS = {"dhcp1": Role.PRIMARY, "dhcp2": Role.SECONDARY}


def quoted(words: Sequence[str]) -> str:
    """A TOML array of strings."""
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"


def config(
    folder: Path,
    pair: Pair,
    scopes: Sequence[Scope],
    zones: Zones | None = None,
    key: Key | None = None,
    master: str = "",
    ours: Sequence[str] = ("dhcp1", "dhcp2"),
    interfaces: Sequence[str] = ("eth0", "eth1"),
    template: str = "dhcp-{ip}",
    relationship_extra: str = "",
    extra: str = "",
    ping: bool = False,
) -> str:
    """failoverd.toml, the same for both servers. A server that is not in `ours` is a dhcpd. `relationship_extra`: more keys of the
    relationship; `extra`: more keys of the first subnet, in front of its pool; `ping`: the ping check, off as in isc.py."""
    text = 'site = "lab"\n[log]\nformat = "console"\nlevel = "info"\n[api]\noperators = ["root"]\n'
    for name in ours:
        own = folder / name
        text += (
            f'[servers.{name}]\ninterfaces = {quoted(interfaces)}\napi = {{ socket = "{own}/api.sock" }}\n'
            f'store = {{ path = "{own}/leases.db" }}\n'
        )
    text += f'[[relationship]]\nname = "{pair.name}"\n'
    if "dhcp1" in ours:  # a dhcpd primary sends its own
        text += f'mclt = "{pair.mclt_s}s"\nsplit = {pair.split}\n'
    text += f'max-response-delay = "{max(pair.max_response_delay_s, 15)}s"\nmax-unacked-updates = {pair.max_unacked}\n'
    text += relationship_extra
    for name, role in SERVERS.items():
        who = f'server = "{name}"' if name in ours else f'kind = "isc-dhcpd", max-unacked-updates = {pair.max_unacked}'
        text += f'{role} = {{ {who}, address = "{pair.mine(role)}", port = {pair.port} }}\n'
    least = min(pair.lease_s, pair.mclt_s, 30)
    text += f"[dhcp]\nping-check = {str(ping).lower()}\n"
    text += f'lease-time = "{pair.lease_s}s"\nmin-lease-time = "{least}s"\nmax-lease-time = "{pair.lease_s}s"\n'
    for scope in scopes:
        text += subnet(scope, pair, template if zones else "", extra)
        extra = ""
    if zones and key:
        text += '[ddns]\nttl-min = "5s"\nttl-max = "1h"\n'
        for zone in zones.all:
            text += f'[[ddns.zone]]\nname = "{zone}"\nprimaries = ["{master}"]\nkey-file = "{key.path}"\n'
    return text


def subnet(scope: Scope, pair: Pair, template: str, extra: str = "") -> str:
    """One [[subnet]] with its pool."""
    options = [f'routers = ["{scope.router}"]'] if scope.router else []
    options += [f"domain-name-servers = {quoted(scope.resolvers)}"] if scope.resolvers else []
    options += [f'domain-name = "{scope.domain.rstrip(".")}"'] if scope.domain else []
    text = f'[[subnet]]\nsubnet = "{scope.subnet}"\noptions = {{ {", ".join(options)} }}\n'
    if template:
        text += f'ddns = {{ domain = "{scope.domain}", name-template = "{template}" }}\n'
    text += extra
    if scope.first:
        text += f'[[subnet.pool]]\nrange = ["{scope.first}-{scope.last}"]\nrelationship = "{pair.name}"\n'
    return text


@dataclass(slots=True)
class Failoverd:
    """One failoverd of the pair; its database survives a stop and a kill."""

    host: Host
    conf: Path
    relationship: str
    process: Process | None = field(default=None)

    @classmethod
    def make(cls, host: Host, text: str, relationship: str = "office") -> Failoverd:
        """Write the configuration, which both servers share in one file."""
        conf = host.lab.folder / "failoverd.toml"
        conf.write_text(text)
        conf.chmod(0o600)
        return cls(host, conf, relationship)

    @staticmethod
    def program(name: str) -> str:
        """One of our own programs, from the environment that runs the lab."""
        return str(Path(sys.executable).parent / name)

    @property
    def socket(self) -> Path:
        """The API's socket."""
        return self.host.folder / "api.sock"

    @property
    def database(self) -> Path:
        """The lease database."""
        return self.host.folder / "leases.db"

    def start(
        self,
        *wrapper: str,
        new_pair: bool = False,
        timeout_s: float = 20.0,
        log: str = "failoverd",
        env: Mapping[str, str] | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        """Start it and wait until it answers failoverctl. `wrapper`: a program that runs it, strace for example; `log`: another name
        for each start keeps the runs apart; `flags`: more of its options."""
        args = [*wrapper, self.program("failoverd"), "--config", str(self.conf), "--server", self.host.name]
        args += [*(["--new-pair"] if new_pair else []), *flags]
        process = self.process = self.host.start(log, *args, env=env)

        def answers() -> bool:
            if not process.alive():
                raise ProcessEndedError(f"failoverd on {self.host.name} ended: {process.text()[-2000:]}")
            return bool(self.api("status"))

        until(f"failoverd on {self.host.name} answers failoverctl", answers, timeout_s)

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process = None

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        if self.process is None:
            raise LabError(f"failoverd on {self.host.name} does not run")
        status = self.process.stop(15)
        self.process = None
        return status

    def ctl(self, *words: str) -> str:
        """What failoverctl prints; LabError when it exits with another code than 0."""
        return self.host.run(self.program("failoverctl"), "--socket", str(self.socket), *words)

    def asked(self, *words: str) -> Any:
        """The JSON answer of failoverctl."""
        text = self.ctl("-o", "json", *words)
        try:
            return json.loads(text)
        except ValueError:
            raise LabError(f"failoverctl {' '.join(words)} prints no JSON: {text[:300]}") from None

    def api(self, *where: str, **query: str) -> Any:
        """What the API answers to GET /v1/WHERE: as failoverctl asks, without starting one."""
        try:
            return Client(str(self.socket)).get(*where, **query)
        except Failure as failure:
            raise LabError(f"{self.host.name}: {failure.message}") from None

    def status(self) -> dict[str, Any]:
        """failoverctl status."""
        answer: dict[str, Any] = self.asked("status")
        return answer

    def link(self) -> dict[str, Any]:
        """The relationship's part of the status."""
        for row in self.status()["relationships"]:
            if row["name"] == self.relationship:
                found: dict[str, Any] = row
                return found
        raise LabError(f"{self.host.name} does not know the relationship {self.relationship}")

    def state(self) -> str:
        """The failover state: "normal", "communications-interrupted", ..."""
        return str(self.link()["state"])

    def leases(self) -> dict[str, dict[str, Any]]:
        """Address -> the lease, as failoverctl lists it."""
        return {row["address"]: row for row in self.asked("lease", "list")["leases"]}

    def active(self) -> dict[str, dict[str, Any]]:
        """The leases that clients hold."""
        return {address: row for address, row in self.leases().items() if row["state"] == "active"}

    def held(self) -> dict[str, str]:
        """Address -> Ethernet address of the client that holds it; `hw` has the hardware type in front."""
        return {address: str(row["hw"]).removeprefix("01:") for address, row in self.active().items()}


def normal(servers: Sequence[Failoverd], timeout_s: float = 40.0) -> float:
    """Wait until all are normal; the seconds it took."""
    began = time.monotonic()

    def states() -> bool:
        seen = [server.state() for server in servers]
        if set(seen) != {"normal"}:
            raise LabError(f"states {seen}")
        return True

    until("all servers are normal", states, timeout_s)
    return time.monotonic() - began
