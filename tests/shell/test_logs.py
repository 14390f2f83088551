"""Notes counted, kept and logged at a limited rate; lines never stall a beat; the clocks; the service manager's datagrams."""

from __future__ import annotations

import io
import json
import logging
import os
import socket
import threading
import time
from pathlib import Path

import pytest
import structlog

from failoverd import notes
from failoverd.notes import Note
from failoverd.shell import clock, logs
from failoverd.shell.logs import NoteBook, Writer, take_over
from failoverd.shell.notify import notify, watchdog_s

LIMITED = notes.declare("test-limited", "warning", "For the tests.", limited=True)
PLAIN = notes.declare("test-plain", "info", "For the tests.")
FINE = notes.declare("test-fine", "debug", "For the tests.")


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_note_is_counted_kept_and_logged() -> None:
    stream = io.StringIO()
    book = NoteBook(Writer("json", stream), "info")
    book.add([Note(PLAIN, 1.5, b"\x01\x02", 0x0A000001, "office", "why"), Note(FINE, 2.0)])
    book.close()
    assert book.counts == {PLAIN: 1, FINE: 1}
    assert [note.name for note in book.ring] == [PLAIN, FINE]
    assert lines(stream) == [
        {
            "timestamp": "1970-01-01T00:00:01.500Z",
            "level": "info",
            "event": PLAIN,
            "client": "01:02",
            "address": "10.0.0.1",
            "subject": "office",
            "detail": "why",
        }
    ]


def test_a_name_outside_the_catalogue_is_a_mistake() -> None:
    book = NoteBook(Writer("json", io.StringIO()), "info")
    with pytest.raises(KeyError):
        book.add([Note("no-such-note", 0.0)])


def test_a_limited_note_says_how_many_were_left_out() -> None:
    stream = io.StringIO()
    book = NoteBook(Writer("json", stream), "info")
    book.add(Note(LIMITED, 100.0 + n / 1000) for n in range(1000))
    book.add([Note(LIMITED, 111.0), Note(PLAIN, 111.0)])
    book.add([Note(LIMITED, 50.0)])  # the clock was set back: a new window
    book.close()
    seen = [line for line in lines(stream) if line["event"] == LIMITED]
    assert len(seen) == logs.LIMITED_LINES + 2
    assert seen[logs.LIMITED_LINES]["suppressed"] == 1000 - logs.LIMITED_LINES
    assert book.counts[LIMITED] == 1002


def test_the_ring_is_bounded() -> None:
    book = NoteBook(Writer("json", io.StringIO()), "error")
    book.add(Note(FINE, float(n)) for n in range(logs.KEEP_NOTES + 5))
    assert len(book.ring) == logs.KEEP_NOTES
    assert book.ring[0].wall == 5.0


class Stalled(io.StringIO):
    """A standard error whose reader has stalled."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def write(self, text: str) -> int:
        self.gate.wait(10)
        return super().write(text)


def test_a_stalled_reader_costs_lines_and_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_QUEUED_LINES", 100)
    stream = Stalled()
    book = NoteBook(Writer("json", stream), "info")
    began = time.monotonic()
    book.add(Note(PLAIN, float(n)) for n in range(5000))
    assert time.monotonic() - began < 2
    stream.gate.set()
    book.close(5.0)
    seen = lines(stream)
    lost = sum(int(str(line["count"])) for line in seen if line["event"] == logs.LINES_LOST)
    assert lost > 4000
    assert lost == 5000 - len([line for line in seen if line["event"] == PLAIN])
    assert book.counts[PLAIN] == 5000


def test_a_standard_error_that_is_gone_is_survived() -> None:
    stream = io.StringIO()
    stream.close()
    writer = Writer.__new__(Writer)
    with pytest.raises(ValueError, match="closed"):
        stream.write("x")
    stream = io.StringIO()
    writer = Writer("json", stream)
    stream.close()
    book = NoteBook(writer, "info")
    book.add([Note(PLAIN, 1.0)])
    book.close()
    assert writer.lost >= 1


def test_what_libraries_log_goes_the_same_way() -> None:
    stream = io.StringIO()
    book = NoteBook(Writer("json", stream), "info")
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        take_over(book)
        structlog.get_logger("api").warning("api-change", verb="backup", count=2)
        logging.getLogger("aiohttp.server").error("bad %s", "request")
        logging.getLogger("aiohttp.server").info("not this")
    finally:
        root.handlers[:], root.level = before, level
        structlog.reset_defaults()
    book.close()
    change, error = lines(stream)
    assert (change["event"], change["level"], change["verb"], change["count"]) == ("api-change", "warning", "backup", 2)
    assert (error["event"], error["level"], error["detail"]) == ("aiohttp.server", "error", "bad request")


def test_the_console_is_for_people() -> None:
    stream = io.StringIO()
    book = NoteBook(Writer("console", stream), "info")
    book.add([Note(PLAIN, 1.0, subject="office")])
    book.close()
    assert "test-plain" in stream.getvalue()
    assert "subject=office" in stream.getvalue()
    assert "\x1b[" not in stream.getvalue()


def test_mono_is_the_clock_that_runs_on_through_a_suspend() -> None:
    now = clock.read()
    assert abs(now.wall - time.time()) < 1
    assert abs(now.mono - time.clock_gettime(time.CLOCK_BOOTTIME)) < 1


def test_the_kernel_can_be_asked_about_the_clock() -> None:
    assert clock.synchronised() in (True, False)


def test_notify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify("READY=1")
    for address, name in ((str(tmp_path / "n"), str(tmp_path / "n")), (f"@fdsh-{os.getpid()}", f"\0fdsh-{os.getpid()}")):
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        assert not notify("READY=1")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(name)
            assert notify("READY=1", "STATUS=serving")
            assert manager.recv(100) == b"READY=1\nSTATUS=serving"


def test_the_watchdog_is_for_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    assert watchdog_s() == 0
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    assert watchdog_s() == 15
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert watchdog_s() == 0
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert watchdog_s() == 15
