"""The daemon: opens everything in the right order, serves until told to stop, closes everything in the other order.

Order matters: the database before the sockets (a second failoverd fails on its lock before it takes a client from the first), the
sockets before the node's first output, READY=1 last. Nothing here decides anything about a lease.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import platform
import random
import signal
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from failoverd import __version__, compile
from failoverd.node import Node
from failoverd.notes import declare
from failoverd.ports import Input, Kind
from failoverd.shell import clock
from failoverd.shell.api import start_api
from failoverd.shell.api_ddns import DnsTools
from failoverd.shell.capture import Capture
from failoverd.shell.clients import SERVER_PORT, Clients
from failoverd.shell.disk import StoreError
from failoverd.shell.dns import DnsClient
from failoverd.shell.dns_watch import DnsWatch
from failoverd.shell.ending import BUG, EXIT_BUG, EXIT_PERMISSION, EXIT_STORE_OPEN, EXIT_UNAVAILABLE, end_now
from failoverd.shell.interfaces import Interfaces
from failoverd.shell.journal import Past
from failoverd.shell.listen import RunningApi
from failoverd.shell.logs import NoteBook, Writer, take_over
from failoverd.shell.loop import Loop
from failoverd.shell.notify import notify, watchdog_s
from failoverd.shell.options import Options
from failoverd.shell.partner import Partners
from failoverd.shell.ping import Pinger
from failoverd.shell.store import Store
from failoverd.shell.zone_hosts import ZoneHosts

KEY = declare(
    "dns-key-unusable", "error", "A TSIG key file cannot be used; the zones that it belongs to get no updates until it can."
)
IN_SYNC = declare("clock-synchronised", "info", "The kernel calls the wall clock synchronised.")
NOT_IN_SYNC = declare(
    "clock-unsynchronised",
    "warning",
    "The kernel does not call the wall clock synchronised: no NTP daemon runs, or it has not found its servers yet. Two servers whose "
    "clocks differ disagree about when a lease ends; after a boot this one promises little until the partner has spoken.",
)
LOOK_S = 10.0
CAPTURES = "capture"  # beside the database
LAST_LINES_S = 0.2  # how long the log may take when the process must end
COLLECT = (50_000, 20, 100)  # gc: a full collection over a million leases stalls for half a second (performance.md 3 d)


class CannotStart(Exception):
    """Why not, in words for the operator, and the exit code."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


async def serve(options: Options) -> None:
    """Serve until SIGTERM or SIGINT. CannotStart says why not."""
    stop = _stop_signals()
    writer = Writer(options.log_format)
    book = NoteBook(writer, options.local.log.level)
    take_over(book)
    asyncio.get_running_loop().set_exception_handler(lambda _, context: _unhandled(book, context))
    book.say(
        "info", "failoverd-starts", version=__version__, server=options.server, python=platform.python_version(), pid=os.getpid()
    )
    try:
        store = await _open_store(options)
        try:
            daemon = await _start(options, store, book)
            await stop.wait()
            await daemon.stop()
        finally:
            await store.close()
        book.say("info", "failoverd-stopped")
    finally:
        book.close()


def _unhandled(book: NoteBook, context: Mapping[str, object]) -> None:
    """What was raised out of a callback or a task that nobody awaits. Out of our own code it is a mistake of ours, and the process
    ends as it does for one in a beat; a library's is logged."""
    error = context.get("exception")
    if isinstance(error, BaseException):
        told = "".join(traceback.format_exception(error))
        if any(frame.f_globals.get("__name__", "").startswith("failoverd.") for frame, _ in traceback.walk_tb(error.__traceback__)):
            book.close(LAST_LINES_S)
            end_now(EXIT_BUG, f"{BUG}: {told}")
        book.say("error", "event-loop", detail=told)
    else:
        book.say("error", "event-loop", detail=str(context.get("message", "")))


def _stop_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _open_store(options: Options) -> Store:
    settings = options.local.store
    try:
        return await Store.open(
            settings.path, now_wall=clock.read().wall, reserve_bytes=settings.reserve, force_clock=options.force_clock
        )
    except StoreError as error:
        raise CannotStart(EXIT_STORE_OPEN, str(error)) from error


class Archive:
    """The store as the API asks for it: copies and history."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def backup(self, path: str) -> None:
        """A consistent copy at `path`. OSError with the reason in words."""
        await self._store.backup(path, clock.read().wall)

    async def events(self, limit: int) -> list[Past]:
        """The newest events, newest first."""
        return await self._store.events(limit)

    async def history(self, kind: Kind, key: bytes, limit: int) -> list[Past]:
        """The newest journal records of one key, newest first."""
        return await self._store.history(kind, key, limit)


class Daemon:
    """Everything that is open."""

    def __init__(self, options: Options, store: Store, node: Node, book: NoteBook) -> None:
        def deliver(item: Input) -> None:
            self.loop.deliver(item)

        def note(name: str, subject: str, detail: str) -> None:
            self.loop.note(name, subject, detail)

        self.options = options
        self.node = node
        self.book = book
        self.interfaces = Interfaces(lambda table: self.clients.changed(table))
        self.clients = Clients(options.local.interfaces, lambda datagrams: self.loop.hear(datagrams), deliver, note)
        self.partners = Partners(list(options.terms.values()), deliver, note, options.identities, lambda: clock.read().wall)
        self.masters = DnsClient(compile.dns_plan(options.config).zones)
        self.tools = DnsTools(compile.dns_plan(options.config), self.masters)
        self.hosts = ZoneHosts(compile.dns_plan(options.config).zones, self.masters, deliver)
        self.watch = DnsWatch(compile.watch_plan(options.config), self.masters, lambda each: book.add((each,)), self._wanted)
        delays = {name: float(term.max_response_delay_s) for name, term in options.terms.items()}
        self.pinger = Pinger(deliver)
        self.loop = Loop(
            node,
            store,
            book,
            delays,
            end=self._end,
            clients=self.clients,
            partners=self.partners,
            masters=self.watch,
            hosts=self.pinger,
        )
        self.loop.alive = self._alive
        self.capture = Capture(Path(options.local.store.path).parent / CAPTURES, node, self._ended, store.low_water, self._attach)
        self.api: RunningApi | None = None
        self._watchdog_s = watchdog_s()
        self._watched_mono = self._looked_mono = 0.0
        self._synchronised: bool | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Sockets. CannotStart."""
        event_loop = asyncio.get_running_loop()
        try:
            self.interfaces.open(event_loop)
            self.clients.open(event_loop, self.interfaces.table())
            self.pinger.open(event_loop)
        except PermissionError as error:
            text = (
                "not permitted to open the DHCP sockets; start as root or give CAP_NET_BIND_SERVICE, CAP_NET_RAW and CAP_NET_ADMIN"
            )
            raise CannotStart(EXIT_PERMISSION, text) from error
        except OSError as error:
            in_use = f"UDP port {SERVER_PORT} is in use: another DHCP server runs on this machine"
            text = in_use if error.errno == errno.EADDRINUSE else f"the DHCP sockets cannot be opened: {error}"
            raise CannotStart(EXIT_UNAVAILABLE, text) from error
        self.partners.open(event_loop)

    async def open_api(self, store: Store) -> None:
        """The control socket and the metrics. CannotStart."""
        try:
            self.api = await start_api(
                self.options.local.api, self.loop, Archive(store), self.watch, self.tools, capture=self.capture
            )
        except OSError as error:
            raise CannotStart(EXIT_UNAVAILABLE, error.strerror or str(error)) from error

    def new_pair(self) -> None:
        """--new-pair: `pair init` for every relationship; what the node answers is logged."""
        for name in sorted(self.options.terms):
            task = asyncio.get_running_loop().create_task(self._pair_init(name))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pair_init(self, relationship: str) -> None:
        reply = await self.loop.command(
            "pair-init", {"relationship": relationship}, "--new-pair", "failoverd was started with --new-pair"
        )
        self.book.say("info", "new-pair", subject=relationship, code=reply.code, detail=reply.message)

    def check_keys(self) -> None:
        """Say which TSIG key files cannot be used."""
        for problem in self.masters.check():
            self.loop.note(KEY, detail=problem)

    def reload(self) -> None:
        """SIGHUP: read the keys and the certificates again."""
        self.masters.reload()
        self.partners.door.look()
        self.book.say("info", "keys-read-again")
        self.check_keys()

    async def stop(self) -> None:
        """Finish what is owed and close."""
        notify("STOPPING=1", "STATUS=stopping")
        self.book.say("info", "failoverd-stops")
        if self.api is not None:
            await self.api.stop()
        await self.loop.stop()
        await self.capture.end()
        await self.partners.stop()
        self.interfaces.close()
        self.clients.close()
        self.pinger.close()
        self.hosts.close()
        await self.watch.close()
        await self.masters.close()
        await self.tools.close()

    def _ended(self, note: str, why: str) -> None:
        self.loop.note(note, detail=why)

    def _attach(self, on: bool) -> None:
        self.loop.tape = self.capture.record if on else None

    def _wanted(self, name: str) -> dict[str, frozenset[tuple[str, str]]]:
        """What each target should show at a name: (type, text)."""
        rows = self.node.planner.rows_list()
        return {row.target: frozenset(value.rr for value in row.want) for row in rows if row.name == name}

    def _end(self, code: int, text: str) -> NoReturn:
        """The end at once: only our own log is written out; the event loop does not run again."""
        self.book.close(LAST_LINES_S)
        end_now(code, text)

    def _alive(self) -> None:
        """Every tick: the watchdog; every LOOK_S: the status line, the certificates, the state of the wall clock."""
        mono = clock.read().mono
        if self._watchdog_s and mono - self._watched_mono >= self._watchdog_s / 2:
            self._watched_mono = mono
            notify("WATCHDOG=1")
        if mono - self._looked_mono >= LOOK_S:
            self._looked_mono = mono
            self.partners.door.look()
            states = "; ".join(f"{name}: {endpoint.state.words}" for name, endpoint in sorted(self.node.endpoints.items()))
            notify(f"STATUS=serving as {self.options.server}" + (f"; {states}" if states else ""))
            synchronised, told = _clock_state()
            if synchronised != self._synchronised:
                self._synchronised = synchronised
                self.loop.note(IN_SYNC if synchronised else NOT_IN_SYNC, detail=told)
                self.loop.clock_state(synchronised)


def _clock_state() -> tuple[bool, str]:
    """Whether the kernel calls the clock synchronised; not, and why, when it may not be asked."""
    try:
        return clock.synchronised(), ""
    except OSError as error:
        return False, f"the kernel may not be asked: {error}"


async def _start(options: Options, store: Store, book: NoteBook) -> Daemon:
    stored = await store.load()
    now = clock.read()
    node = Node(options.config, options.server, stored, now, random.Random(int.from_bytes(os.urandom(8), "big")))
    del stored
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT)
    daemon = Daemon(options, store, node, book)
    daemon.open()
    await daemon.open_api(store)
    daemon.loop.start(node.boot(clock.read()))
    if options.new_pair:
        daemon.new_pair()
    daemon.check_keys()
    daemon.hosts.start()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, daemon.reload)
    notify("READY=1", f"MAINPID={os.getpid()}")
    book.say("info", "failoverd-serves", server=options.server, fsync_ms=round(store.probe.p50_s * 1000, 3))
    return daemon
