"""A real dhcpd (Debian's 4.4.3) as a failover server, and its lease file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.lab import Host, Process, ready
from tests.lab.terms import Pair, Role, Scope
from tests.lab.wait import LabError

LEASE = re.compile(r"^lease (\S+) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
STATE = re.compile(r"^failover peer \"[^\"]*\" state \{\n\s*my state (\S+)", re.MULTILINE)


@dataclass(slots=True, frozen=True)
class DhcpdLease:
    """The last word of dhcpd's lease file on one address."""

    address: str
    state: str
    mac: str
    client_id: str
    ends: str
    tstp: str
    hostname: str


def statement(body: str, pattern: str) -> str:
    """The first group of a statement in a lease block, "" when it is missing."""
    found = re.search(rf"^\s*{pattern};", body, re.MULTILINE)
    return found.group(1) if found else ""


def config(pair: Pair, role: Role, scopes: list[Scope], extra: str = "", peer_extra: str = "") -> str:
    """dhcpd.conf of one server of the pair. `extra`: global statements; `peer_extra`: statements of the failover peer."""
    mine, other = (pair.primary, pair.secondary) if role is Role.PRIMARY else (pair.secondary, pair.primary)
    only_primary = f"  mclt {pair.mclt_s};\n  split {pair.split};\n" if role is Role.PRIMARY else ""
    text = (
        f'failover peer "{pair.name}" {{\n  {role};\n'
        f"  address {mine}; port {pair.port};\n  peer address {other}; peer port {pair.port};\n"
        f"  max-response-delay {pair.max_response_delay_s};\n  max-unacked-updates {pair.max_unacked};\n"
        f"  load balance max seconds 3;\n{only_primary}{peer_extra}}}\n"
        f"default-lease-time {pair.lease_s};\nmax-lease-time {pair.lease_s};\nmin-lease-time {min(pair.lease_s, 30)};\n"
        f"ping-check false;\nddns-update-style none;\nauthoritative;\ndhcp-cache-threshold 0;\nlog-facility local7;\n{extra}\n"
    )
    for scope in scopes:
        text += f"subnet {scope.subnet.network_address} netmask {scope.subnet.netmask} {{\n"
        if scope.router:
            text += f"  option routers {scope.router};\n"
        if scope.resolvers:
            text += f"  option domain-name-servers {', '.join(scope.resolvers)};\n"
        if scope.domain:
            text += f'  option domain-name "{scope.domain.rstrip(".")}";\n'
        if scope.first:
            text += f'  pool {{ failover peer "{pair.name}"; range {scope.first} {scope.last}; }}\n'
        text += "}\n"
    return text


@dataclass(slots=True)
class Dhcpd:
    """One dhcpd. Its lease file survives a stop and a kill."""

    host: Host
    conf: Path
    interfaces: tuple[str, ...] = ("eth0",)
    process: Process | None = field(default=None)

    @classmethod
    def make(cls, host: Host, text: str, interfaces: tuple[str, ...] = ("eth0",)) -> Dhcpd:
        """Write its configuration and an empty lease file."""
        conf = host.folder / "dhcpd.conf"
        conf.write_text(text)
        server = cls(host, conf, interfaces)
        server.lease_file.touch()
        return server

    @property
    def lease_file(self) -> Path:
        """dhcpd.leases of this server."""
        return self.host.folder / "dhcpd.leases"

    def start(self, *wrapper: str, log: str = "dhcpd", env: Mapping[str, str] | None = None) -> None:
        """Start it and wait until it listens. `wrapper`: a program that runs it, faketime for example; `log`: another name for each
        start keeps the runs apart."""
        folder = self.host.folder
        files = ["-cf", str(self.conf), "-lf", str(self.lease_file), "-pf", f"{folder}/dhcpd.pid", "--no-pid"]
        args = [*wrapper, self.host.lab.program("dhcpd"), "-4", "-d", "-f", *files, *self.interfaces]
        self.process = self.host.start(log, *args, env=env)
        ready(self.process, "dhcpd listens", "Server starting service.")

    def start_quiet(self) -> None:
        """Start it with its log going to a syslog that is not there, as a benchmark wants it; returns at once."""
        folder = self.host.folder
        files = ["-cf", str(self.conf), "-lf", str(self.lease_file), "-pf", f"{folder}/dhcpd.pid", "--no-pid"]
        # `ip netns exec` gives a mount namespace of its own, so the machine's /dev/log is hidden from this process only.
        hidden = '[ ! -e /dev/log ] || mount --bind /dev/null /dev/log; exec "$0" "$@" 2>/dev/null'
        self.process = self.host.start(
            "dhcpd", "sh", "-c", hidden, self.host.lab.program("dhcpd"), "-4", "-f", "-q", *files, *self.interfaces
        )

    def state(self) -> str:
        """The failover state dhcpd wrote last, in its own words ("normal", "communications-interrupted"); "" before the first."""
        found = STATE.findall(self.lease_file.read_text(errors="replace"))
        return found[-1] if found else ""

    def leases(self) -> dict[str, DhcpdLease]:
        """Address -> what the lease file says last."""
        found = {}
        for address, body in LEASE.findall(self.lease_file.read_text(errors="replace")):
            found[address] = DhcpdLease(
                address,
                statement(body, r"binding state (\S+)"),
                statement(body, r"hardware ethernet (\S+)"),
                statement(body, r'uid "(.*)"'),
                statement(body, r"ends (?:\d )?(.*)"),
                statement(body, r"tstp \d (.*)"),
                statement(body, r'client-hostname "(.*)"'),
            )
        return found

    def running(self) -> Process:
        """The process; LabError when it was not started."""
        if self.process is None:
            raise LabError(f"dhcpd on {self.host.name} was not started")
        return self.process
