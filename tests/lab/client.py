"""Client hosts: one namespace with a real dhclient or udhcpc, whose script applies and records each lease."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tests.lab.lab import Host, Lab, Process
from tests.lab.wait import LabError


class Program(StrEnum):
    """The DHCP client a host runs."""

    DHCLIENT = "dhclient"
    UDHCPC = "udhcpc"


@dataclass(slots=True, frozen=True)
class Event:
    """One call of the client's script. `reason` as dhclient says it: BOUND, RENEW, REBIND, REBOOT, EXPIRE, RELEASE; or NAK."""

    at: float
    reason: str
    address: str
    routers: str
    resolvers: str
    domain: str
    server: str
    lease_s: int


HOLDING = frozenset({"BOUND", "RENEW", "REBIND", "REBOOT"})

# The part that both scripts share: `reason address mask routers resolvers domain server lease`.
APPLY = """
set_lease() {{
    case $1 in
    BOUND|RENEW|REBIND|REBOOT)
        ip address show dev eth0 | grep -q "inet $2/" || {{ ip address flush dev eth0; ip address add $2/$3 brd + dev eth0; }}
        for router in $4; do ip route replace default via $router; break; done
        {{ [ -z "$6" ] || echo "search $6"; for server in $5; do echo "nameserver $server"; done; }} >{resolv}
        ;;
    PREINIT) ip link set eth0 up; return ;;
    EXPIRE|FAIL|RELEASE|STOP|DECONFIG) ip address flush dev eth0; : >{resolv} ;;
    NAK) ;;
    *) return ;;
    esac
    echo "$(date +%s.%N)|$1|$2|$4|$5|$6|$7|$8" >>{events}
}}
"""
DHCLIENT_SCRIPT = """#!/bin/sh
{apply}
case $reason in
EXPIRE|FAIL|RELEASE|STOP) set_lease $reason "$old_ip_address" ;;
TIMEOUT) exit 1 ;;
*) set_lease "$reason" "$new_ip_address" "$new_subnet_mask" "$new_routers" "$new_domain_name_servers" "$new_domain_name" \\
       "$new_dhcp_server_identifier" "$new_dhcp_lease_time" ;;
esac
exit 0
"""
UDHCPC_SCRIPT = """#!/bin/sh
{apply}
case $1 in
bound) set_lease BOUND "$ip" "$mask" "$router" "$dns" "$domain" "$serverid" "$lease" ;;
renew) set_lease RENEW "$ip" "$mask" "$router" "$dns" "$domain" "$serverid" "$lease" ;;
nak) set_lease NAK ;;
deconfig) set_lease DECONFIG ;;
esac
exit 0
"""
DHCLIENT_CONF = """
timeout 20; retry 2; reboot 3; select-timeout 0; initial-interval 1; backoff-cutoff 4;
request subnet-mask, broadcast-address, routers, domain-name, domain-name-servers, host-name;
"""


@dataclass(slots=True)
class Client:
    """One client host. `name` is what it asks to be called, "" when it asks for nothing."""

    host: Host
    program: Program
    name: str
    mac: str
    process: Process | None = None

    @classmethod
    def make(cls, lab: Lab, net: str, label: str, number: int, program: Program, name: str) -> Client:
        """A new host on a net. `number` makes the hardware address, 02:fd:00:00:hh:ll."""
        host = lab.host(label)
        mac = f"02:fd:00:00:{number >> 8:02x}:{number & 255:02x}"
        lab.link(host, net, mac=mac)
        lab.resolver(host)
        client = cls(host, program, name, mac)
        client._write_files()
        return client

    @property
    def events_file(self) -> Path:
        """Where the script records."""
        return self.host.folder / "events"

    def _write_files(self) -> None:
        apply = APPLY.format(resolv=self.host.resolv_conf, events=self.events_file)
        script = self.host.folder / "script"
        script.write_text((DHCLIENT_SCRIPT if self.program is Program.DHCLIENT else UDHCPC_SCRIPT).format(apply=apply))
        script.chmod(0o755)
        naming = f'send host-name "{self.name}";\n' if self.name else ""
        (self.host.folder / "dhclient.conf").write_text(DHCLIENT_CONF + naming)
        self.events_file.touch()

    def _dhclient(self, *args: str) -> list[str]:
        folder = self.host.folder
        files = ["-cf", f"{folder}/dhclient.conf", "-lf", f"{folder}/dhclient.leases", "-pf", f"{folder}/dhclient.pid"]
        return [self.host.lab.program("dhclient"), "-4", "-v", *files, "-sf", f"{folder}/script", *args, "eth0"]

    def start(self) -> None:
        """Start the DHCP client; it stays in the foreground until stopped."""
        if self.program is Program.DHCLIENT:
            self.process = self.host.start("dhclient", *self._dhclient("-d"))
        else:
            naming = ["-x", f"hostname:{self.name}"] if self.name else []
            args = ["-f", "-i", "eth0", "-s", f"{self.host.folder}/script", "-t", "4", "-T", "2", "-A", "2", *naming]
            self.process = self.host.start("udhcpc", "udhcpc", *args)

    def release(self) -> None:
        """Give the lease back (DHCPRELEASE) and stop."""
        if self.process is None:
            raise LabError(f"{self.host.name} runs no client")
        if self.program is Program.DHCLIENT:
            self.host.run(*self._dhclient("-r"))
            self.process.popen.wait(10)
        else:
            self.process.signal(signal.SIGUSR2)
            time.sleep(0.2)
            self.process.stop()
        self.process = None

    def vanish(self) -> None:
        """Pull the plug: no release, no word."""
        if self.process is not None:
            self.process.kill()
            self.process = None

    def events(self) -> list[Event]:
        """Everything the script recorded."""
        found = []
        for line in self.events_file.read_text().splitlines():
            at, reason, address, routers, resolvers, domain, server, lease_s = line.split("|")
            found.append(Event(float(at), reason, address, routers, resolvers, domain, server, int(lease_s or 0)))
        return found

    def lease(self) -> Event:
        """The lease it holds now; LabError when it holds none."""
        events = self.events()
        if not events or events[-1].reason not in HOLDING:
            raise LabError(f"{self.host.name} ({self.program}) holds no lease: {events[-1].reason if events else 'no event'}")
        return events[-1]

    def held_after(self, at: float) -> Event | None:
        """The newest lease it got after a wall clock time, None when it got none."""
        events = self.events()
        return events[-1] if events and events[-1].reason in HOLDING and events[-1].at > at else None

    def resolve(self, name: str) -> list[str]:
        """Ask the resolver library of this host, which reads the resolv.conf that DHCP wrote: the IPv4 addresses of a name."""
        return sorted({line.split()[0] for line in self.host.run("getent", "ahostsv4", name).splitlines()})
