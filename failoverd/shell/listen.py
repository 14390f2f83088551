"""The listening sockets of the API and the metrics: where they are, who may connect at all, how many at a time, and their end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from aiohttp import web

CONNECTIONS_MAX = 64  # of each listener: a local user must not use up the descriptors that serve clients
STOP_S = 2.0


class _Closed(asyncio.Protocol):
    """A connection beyond the limit."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class Listener:
    """One aiohttp application on one listening socket, with a limit on its connections."""

    def __init__(self, app: web.Application, crowded: Callable[[], None]) -> None:
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=STOP_S)
        self._crowded = crowded
        self._server: asyncio.Server | None = None

    async def start(self, listening: socket.socket) -> None:
        """Serve on a bound and listening socket, which is ours from now on."""
        await self._runner.setup()
        self._server = await asyncio.get_running_loop().create_server(self._protocol, sock=listening)

    def _protocol(self) -> asyncio.BaseProtocol:
        server = self._runner.server
        assert server is not None
        if len(server.connections) >= CONNECTIONS_MAX:
            self._crowded()
            return _Closed()
        return server()

    async def stop(self) -> None:
        """Take no more connections, let running requests finish for a moment, close the rest."""
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()


class RunningApi:
    """What `start_api` gives back."""

    def __init__(self, path: str, listeners: Sequence[Listener], metrics_address: tuple[str, int] | None) -> None:
        self.path = path
        self.metrics_address = metrics_address
        self._listeners = listeners
        self._inode = os.stat(path).st_ino

    async def stop(self) -> None:
        """Close everything; remove the socket if it is still ours."""
        for listener in self._listeners:
            await listener.stop()
        with contextlib.suppress(FileNotFoundError):
            if os.lstat(self.path).st_ino == self._inode:
                os.unlink(self.path)


def listen_unix(path: str) -> socket.socket:
    """A listening socket at `path`, open to all users: their credentials decide. A dead daemon's socket is removed, a living one's
    is not. Raises OSError with a sentence that names the path."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path):
            _clear_stale(path)
        listening.bind(path)
        os.chmod(path, 0o666)
        listening.listen(CONNECTIONS_MAX)
    except OSError as error:
        listening.close()
        raise OSError(error.errno or errno.EINVAL, f"the API cannot listen on {path}: {error.strerror or error}") from error
    return listening


def _clear_stale(path: str) -> None:
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise OSError(errno.EEXIST, "the file exists and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.settimeout(1.0)
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError(errno.EADDRINUSE, "another process is listening there")


def listen_metrics(where: str) -> socket.socket:
    """A listening TCP socket on a loopback address (safety.md 27: nothing else without TLS and a token). Raises OSError."""
    host, _, port = where.rpartition(":")
    try:
        address = ipaddress.ip_address(host.strip("[]"))
        if not address.is_loopback or not 0 <= int(port) < 65536:
            raise ValueError
    except ValueError:
        raise OSError(
            errno.EINVAL, f"[api] metrics: {where!r} is not a loopback address and a port, such as 127.0.0.1:9767"
        ) from None
    try:
        return socket.create_server(
            (str(address), int(port)), family=socket.AF_INET if address.version == 4 else socket.AF_INET6, backlog=CONNECTIONS_MAX
        )
    except OSError as error:
        raise OSError(error.errno or errno.EINVAL, f"the metrics cannot listen on {where}: {error.strerror}") from error
