"""The router between the nets, with Debian's dhcrelay on one of them."""

from __future__ import annotations

from collections.abc import Sequence

from tests.lab.lab import Host, Process, ready


def route(host: Host) -> None:
    """Let a host forward IPv4."""
    host.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")


def relay(host: Host, downstream: str, upstream: str, servers: Sequence[str]) -> Process:
    """Relay DHCP from one interface to the servers, agent options added."""
    process = host.start("dhcrelay", host.lab.program("dhcrelay"), "-d", "-4", "-a", "-id", downstream, "-iu", upstream, *servers)
    ready(process, "dhcrelay listens", f"Sending on   LPF/{upstream}")
    return process
