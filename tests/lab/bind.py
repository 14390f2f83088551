"""Real BIND: a master with dynamic zones and a slave, and what their logs and zones say."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dns.tsigkeyring

from tests.lab.lab import Host, Process, ready
from tests.lab.wait import LabError, until

SOA_MINIMUM_S = 5
TRANSFER = re.compile(r"transfer of '([^/']+)/IN': (AXFR|IXFR) started")
UPDATE_KEY = "ddns-key"
TRANSFER_KEY = "xfer-key"
OPERATOR_KEY = "admin-key"


@dataclass(slots=True)
class Key:
    """A TSIG key (hmac-sha256) in a BIND key file."""

    name: str
    path: Path
    secret: str

    @classmethod
    def make(cls, folder: Path, name: str) -> Key:
        """A new key, readable by its owner only."""
        secret = base64.b64encode(secrets.token_bytes(32)).decode()
        path = folder / f"{name}.key"
        path.touch(mode=0o600)
        path.write_text(f'key "{name}" {{\n\talgorithm hmac-sha256;\n\tsecret "{secret}";\n}};\n')
        return cls(name, path, secret)


@dataclass(slots=True)
class Keys:
    """Who may do what: we write names, the slave transfers, the operator writes whatever he wants."""

    update: Key
    transfer: Key
    operator: Key

    @classmethod
    def make(cls, folder: Path) -> Keys:
        """Three new keys."""
        return cls(*(Key.make(folder, name) for name in (UPDATE_KEY, TRANSFER_KEY, OPERATOR_KEY)))


@dataclass(slots=True)
class Zones:
    """One forward zone and its reverse zones, names with trailing dot; `hosts`: static names of the forward zone -> address."""

    forward: str
    reverse: tuple[str, ...]
    hosts: dict[str, str]

    @property
    def all(self) -> tuple[str, ...]:
        """Every zone."""
        return (self.forward, *self.reverse)

    def text(self, zone: str) -> str:
        """The zone file to start with."""
        lines = [
            "$TTL 300",
            f"@ IN SOA ns1.{self.forward} hostmaster.{self.forward} 1 60 20 3600 {SOA_MINIMUM_S}",
            *(f"@ IN NS {name}.{self.forward}" for name in self.hosts if name.startswith("ns")),
        ]
        if zone == self.forward:
            lines += [f"{name} IN A {address}" for name, address in self.hosts.items()]
        return "\n".join(lines) + "\n"

    def policy(self, zone: str) -> str:
        """The update-policy of a zone: our key may write what a lease needs and nothing else; the operator's may write anything."""
        if zone != self.forward:
            return f"grant {UPDATE_KEY} zonesub PTR DHCID; grant {OPERATOR_KEY} zonesub ANY;"
        base = zone.rstrip(".")
        denied = "".join(f"deny {UPDATE_KEY} name {name}.{base} ANY; " for name in self.hosts)
        return f"{denied}grant {UPDATE_KEY} wildcard *.{base} A AAAA DHCID TXT; grant {OPERATOR_KEY} zonesub ANY;"


COMMON = """
options {{
  directory "{folder}"; pid-file "{folder}/named.pid"; session-keyfile "{folder}/session.key"; managed-keys-directory "{folder}";
  listen-on port 53 {{ any; }}; listen-on-v6 {{ none; }};
  recursion no; dnssec-validation no; notify explicit; empty-zones-enable no;
  transfers-in 20; serial-query-rate 100; notify-rate 100; startup-notify-rate 100;
}};
controls {{ }};
logging {{
  channel all {{ file "{folder}/named.log"; severity info; print-time iso8601; print-category yes; }};
  category default {{ all; }}; category lame-servers {{ null; }};
}};
"""


@dataclass(slots=True)
class Named:
    """One named. `config` is complete; start and stop as often as wanted, the zones stay on disk."""

    host: Host
    config: Path
    zones: Zones
    keys: Keys
    address: str
    process: Process | None = field(default=None)

    @property
    def log(self) -> str:
        """named's own log, everything since the first start."""
        path = self.config.parent / "named.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start it and wait until it answers."""
        program = self.host.lab.program("named")
        lines = len(self.log)
        self.process = self.host.start("named", program, "-f", "-4", "-n", "1", "-c", str(self.config))
        process = self.process

        def answering() -> bool:
            if not process.alive():
                ready(process, "named runs", "running\n", 0)
            return " running\n" in self.log[lines:]

        until(f"named on {self.host.name} runs", answering, 20, 0.05)

    def stop(self) -> None:
        """A clean stop: journals are written."""
        if self.process is not None:
            self.process.stop(15)
            self.process = None

    def transfers(self) -> list[tuple[str, str]]:
        """What the slaves have fetched from here, in order: (zone with trailing dot, "AXFR" or "IXFR")."""
        return [(f"{zone}.", kind) for zone, kind in TRANSFER.findall(self.log)]

    def records(self, zone: str) -> set[tuple[str, str, str]]:
        """The whole zone by AXFR: (owner with trailing dot, type, rdata), SOA and NS left out."""
        key = self.keys.transfer
        text = self.host.run(
            "dig", f"@{self.address}", zone, "AXFR", "+noall", "+answer", "+onesoa", "+time=2", "+tries=1", "-k", str(key.path)
        )
        if "SOA" not in text:
            raise LabError(f"no transfer of {zone} from {self.host.name}: {text.strip()[-200:]}")
        rows = [line.split(None, 4) for line in text.splitlines() if line and not line.startswith(";")]
        return {(owner.lower(), kind, data) for owner, _ttl, _in, kind, data in rows if kind not in ("SOA", "NS", "TSIG")}

    def lookup(self, name: str, kind: str) -> list[str]:
        """The answers of this server, as text."""
        return self.host.run("dig", f"@{self.address}", name, kind, "+short", "+time=1", "+tries=1").split()

    def serial(self, zone: str) -> int:
        """The SOA serial this server has."""
        words = self.lookup(zone, "SOA")
        if len(words) < 3:
            raise LabError(f"{self.host.name} does not know {zone}")
        return int(words[2])


def keyring(key: Key) -> dict[dns.name.Name, object]:
    """The key as dnspython wants it."""
    return dict(dns.tsigkeyring.from_text({key.name: key.secret}))


def included(keys: Sequence[Key]) -> str:
    """BIND's include lines for key files."""
    return "".join(f'include "{key.path}";\n' for key in keys)


def file_of(zone: str) -> str:
    """The zone's file name."""
    return f"{zone.rstrip('.')}.db"


def master(host: Host, zones: Zones, keys: Keys, address: str, slave: str = "") -> Named:
    """A named that is the master of all zones and notifies one slave, if there is one."""
    # In a zone this small the changes of a second outweigh the zone, and BIND would answer IXFR with the whole of it.
    ratio = "max-ixfr-ratio unlimited;"
    text = included((keys.update, keys.transfer, keys.operator)) + COMMON.format(folder=host.folder)
    for zone in zones.all:
        (host.folder / file_of(zone)).write_text(zones.text(zone))
        text += (
            f'zone "{zone}" {{ type primary; file "{file_of(zone)}"; update-policy {{ {zones.policy(zone)} }};\n'
            f"  {f'also-notify {{ {slave}; }}; ' if slave else ''}notify-delay 0; {ratio}\n"
            f"  allow-transfer {{ key {TRANSFER_KEY}; key {UPDATE_KEY}; }}; }};\n"
        )
    config = host.folder / "named.conf"
    config.write_text(text)
    return Named(host, config, zones, keys, address)


def slave(host: Host, zones: Zones, keys: Keys, address: str, master: str) -> Named:
    """A named that is a slave of all zones."""
    text = included((keys.transfer,)) + COMMON.format(folder=host.folder) + f"server {master} {{ keys {{ {TRANSFER_KEY}; }}; }};\n"
    for zone in zones.all:
        text += (
            f'zone "{zone}" {{ type secondary; file "{file_of(zone)}"; primaries {{ {master}; }}; allow-notify {{ {master}; }};\n'
            f"  min-retry-time 1; max-retry-time 5; min-refresh-time 5; allow-transfer {{ key {TRANSFER_KEY}; }}; }};\n"
        )
    config = host.folder / "named.conf"
    config.write_text(text)
    return Named(host, config, zones, keys, address)


def nsupdate(host: Host, key: Key, server: str, zone: str, *lines: str) -> None:
    """An operator's nsupdate; LabError when the server refuses."""
    text = "\n".join([f"server {server}", f"zone {zone}", *lines, "send", ""])
    host.run("nsupdate", "-k", str(key.path), text=text)
