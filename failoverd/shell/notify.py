"""The service manager's notification protocol (sd_notify(3)): one datagram to the socket named in NOTIFY_SOCKET."""

from __future__ import annotations

import os
import socket


def notify(*lines: str) -> bool:
    """Send lines such as "READY=1" or "STATUS=..."; False when no service manager listens. Never raises: nobody waits for it."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as unix:
        try:
            unix.sendto("\n".join(lines).encode(), "\0" + address[1:] if address.startswith("@") else address)
        except OSError:
            return False
    return True


def watchdog_s() -> float:
    """How often the service manager wants a sign of life, in seconds (half of WATCHDOG_USEC); 0 for never."""
    pid, text = os.environ.get("WATCHDOG_PID", ""), os.environ.get("WATCHDOG_USEC", "")
    if not text.isdigit() or (pid and pid != str(os.getpid())):
        return 0.0
    return int(text) / 2_000_000
