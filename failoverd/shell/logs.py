"""Notes kept and logged: a ring of the newest, counters for the metrics, and lines on stderr.

Lines are rendered and written by one thread behind a bounded queue: a reader of our stderr that stalls must not stall a beat. Below
the bound nothing is lost; above it lines are dropped and counted, never waited for.
"""

from __future__ import annotations

import logging
import os
import queue
import select
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, MutableMapping
from ipaddress import IPv4Address
from typing import Literal, NoReturn, TextIO

import structlog
from structlog.typing import EventDict, Processor

from failoverd.notes import CATALOGUE, Note, declare

KEEP_NOTES = 20_000
MAX_QUEUED_LINES = 10_000  # lines waiting for the writer
GATHER_S = 0.05  # the writer wakes at most this often
LIMITED_LINES = 5  # lines of one limited note ...
LIMITED_PERIOD_S = 10.0  # ... in this time

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
Format = Literal["json", "console"]
Value = str | int | float

LINES_LOST = declare(
    "log-lines-lost",
    "warning",
    "Lines of the log were dropped because whoever reads our standard error was too slow. The counters are exact.",
)


def renderer(form: Format, colors: bool) -> Callable[[EventDict], str]:
    """How one event becomes one line: JSON, or text for a person."""
    last: Processor = structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=colors)

    def render(event: EventDict) -> str:
        return str(last(None, "", event))

    return render


def shown(note: Note, level: str) -> EventDict:
    """A note as the fields of a log line; what is empty is left out."""
    event: EventDict = {"timestamp": _stamp(note.wall), "level": level, "event": note.name}
    if note.client:
        event["client"] = note.client.hex(":")
    if note.address:
        event["address"] = str(IPv4Address(note.address))
    if note.subject:
        event["subject"] = note.subject
    if note.detail:
        event["detail"] = note.detail
    return event


def _stamp(wall: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(wall)) + f".{int(wall * 1000) % 1000:03d}Z"


class Writer:
    """The thread that renders and writes lines."""

    def __init__(self, form: Format, stream: TextIO = sys.stderr) -> None:
        self._render = renderer(form, stream.isatty())
        self._stream = stream
        self._queue: queue.SimpleQueue[EventDict | None] = queue.SimpleQueue()
        self.lost = 0
        self._told = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def put(self, event: EventDict) -> None:
        """Queue one line; counted as lost when the queue is full."""
        if self._queue.qsize() >= MAX_QUEUED_LINES:
            self.lost += 1
        else:
            self._queue.put(event)

    def close(self, limit_s: float = 1.0) -> None:
        """Write what is queued, for at most `limit_s`."""
        self._queue.put(None)
        self._thread.join(limit_s)

    def _run(self) -> None:
        while True:
            events = [self._queue.get()]
            while not self._queue.empty() and len(events) < 512:
                events.append(self._queue.get())
            lines = [self._render(event) for event in events if event is not None]
            if self.lost > self._told:
                lost, self._told = self.lost - self._told, self.lost
                event = {"timestamp": _stamp(time.time()), "level": "warning", "event": LINES_LOST, "count": lost}
                lines.append(self._render(event))
            try:
                self._stream.write("".join(line + "\n" for line in lines))
                self._stream.flush()
            except (OSError, ValueError):
                self.lost += len(lines)  # nobody reads our stderr any more: carry on serving
            if None in events:
                return
            time.sleep(GATHER_S)


class NoteBook:
    """Every Note of this process: counted by name, the newest kept in `ring`, logged at the level of the catalogue."""

    def __init__(self, writer: Writer, level: str = "info") -> None:
        self.ring: deque[Note] = deque(maxlen=KEEP_NOTES)
        self.counts: Counter[str] = Counter()
        self._writer = writer
        self._threshold = LEVELS[level]
        self._windows: dict[str, list[float]] = {}  # limited note -> [start of its window, lines in it, suppressed since]

    def add(self, notes: Iterable[Note]) -> None:
        """Keep, count and log. A name outside the catalogue is our mistake (KeyError)."""
        for note in notes:
            self.ring.append(note)
            self.counts[note.name] += 1
            level, _, limited = CATALOGUE[note.name]
            if LEVELS[level] < self._threshold:
                continue
            suppressed = self._suppressed(note) if limited else 0
            if suppressed is None:
                continue
            event = shown(note, level)
            if suppressed:
                event["suppressed"] = suppressed
            self._writer.put(event)

    def say(self, level: str, event: str, **values: Value) -> None:
        """One line of the daemon about itself that is no Note (start, versions, stop)."""
        if LEVELS[level] >= self._threshold:
            self._writer.put({"timestamp": _stamp(time.time()), "level": level, "event": event, **values})

    def close(self, limit_s: float = 1.0) -> None:
        """Write what is queued, for at most `limit_s`."""
        self._writer.close(limit_s)

    def _suppressed(self, note: Note) -> int | None:
        """None: this one is over its rate. Otherwise how many were left out before it."""
        window = self._windows.setdefault(note.name, [note.wall, 0, 0])
        if not 0 <= note.wall - window[0] < LIMITED_PERIOD_S:
            window[0], window[1] = note.wall, 0
        if window[1] >= LIMITED_LINES:
            window[2] += 1
            return None
        window[1] += 1
        suppressed, window[2] = int(window[2]), 0
        return suppressed


class _Standard(logging.Handler):
    """What libraries log the standard way (aiohttp, asyncio, aiosqlite) goes the same way as everything else."""

    def __init__(self, book: NoteBook) -> None:
        super().__init__(logging.WARNING)
        self._book = book

    def emit(self, record: logging.LogRecord) -> None:
        """logging: one record."""
        level = "error" if record.levelno >= logging.ERROR else "warning"
        values: dict[str, Value] = {"detail": record.getMessage()}
        if record.exc_info:
            values["exception"] = logging.Formatter().formatException(record.exc_info)
        self._book.say(level, record.name, **values)


def take_over(book: NoteBook) -> None:
    """Send what others log by structlog or by logging to the book's writer."""

    def into_book(_logger: object, method: str, event: MutableMapping[str, object]) -> NoReturn:
        name = str(event.pop("event", ""))
        level = method if method in LEVELS else "warning"
        book.say(level, name, **{key: value if isinstance(value, int | float) else str(value) for key, value in event.items()})
        raise structlog.DropEvent

    structlog.configure(processors=[structlog.processors.format_exc_info, into_book], cache_logger_on_first_use=False)
    logging.basicConfig(handlers=[_Standard(book)], level=logging.WARNING, force=True)


def last_words(text: str) -> None:
    """One line straight to file descriptor 2, only if that does not block: the process ends next."""
    line = (text.replace("\n", "\n  ") + "\n").encode(errors="backslashreplace")
    try:
        if select.select((), (2,), (), 0)[1]:
            os.write(2, line[:4096])
    except OSError:
        return  # standard error is closed: the exit code has to do
