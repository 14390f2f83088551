"""Two namespaces with two veth pairs between them: srv (the server) and cli (clients and relays)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator

CLONE_NEWNET = 0x40000000


def ip(*args: str) -> None:
    """ip(8)."""
    done = subprocess.run(("ip", *args), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(args)}: {done.stderr} (this test needs root)"


class Net:
    """`srv` has eth0 10.77.0.1/24 (and 10.77.0.2) and eth1 10.78.0.1/24; `cli` has eth0 10.77.0.9 and eth1 10.78.0.9."""

    def __init__(self) -> None:
        self.srv, self.cli = f"fdsh-{os.getpid()}-srv", f"fdsh-{os.getpid()}-cli"

    def make(self) -> None:
        """Create everything."""
        for name in (self.srv, self.cli):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        for number in (0, 1):
            self.link(number)

    def link(self, number: int) -> None:
        """One veth pair with its addresses."""
        ip("-n", self.srv, "link", "add", f"eth{number}", "type", "veth", "peer", "name", f"eth{number}", "netns", self.cli)
        ip("-n", self.srv, "addr", "add", f"10.{77 + number}.0.1/24", "dev", f"eth{number}")
        if number == 0:
            ip("-n", self.srv, "addr", "add", "10.77.0.2/24", "dev", "eth0")
        ip("-n", self.cli, "addr", "add", f"10.{77 + number}.0.9/24", "dev", f"eth{number}")
        for name in (self.srv, self.cli):
            ip("-n", name, "link", "set", f"eth{number}", "up")

    def remove(self) -> None:
        """Delete both; links go with them."""
        for name in (self.srv, self.cli):
            subprocess.run(("ip", "netns", "del", name), capture_output=True, check=False)

    @contextlib.contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """This thread in a namespace: sockets made here stay there."""
        libc = ctypes.CDLL(None, use_errno=True)
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{name}", os.O_RDONLY)
        try:
            assert libc.setns(there, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            yield
        finally:
            assert libc.setns(home, CLONE_NEWNET) == 0
            os.close(there)
            os.close(home)
