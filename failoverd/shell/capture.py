"""Recording what the node is stepped with, for `failoverctl replay`: a ring of segments in a directory beside the database.

Each segment begins with the whole memory of the node, written by a forked child: what it sees stands still, and this process goes on
serving (a hundred thousand leases take seconds to write down). A thread that goes slice by slice would write a Node that never was, one
that stands still while it goes would be a server that does not answer. Steps are appended behind the beats, by a thread. Off, it costs a
comparison a beat.

It never stands in the way: what cannot be written (disk full, disk slow, memory too large for its room) ends the recording with a note,
never the server. No key is an input of the node, so none is recorded; leases, names and packets are, in files of mode 0600.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import gc
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from failoverd.node import Node
from failoverd.notes import declare
from failoverd.ports import Input, Now, Output
from failoverd.replay import steps
from failoverd.replay.player import START, STEPS, head_lines
from failoverd.replay.snapshot import SnapshotError

SEGMENTS = 4  # of the ring: the oldest goes when a new one begins
LEAST_BYTES = 1 << 20
DEFAULT_BYTES = 256 << 20
FLUSH_BYTES, FLUSH_S = 1 << 16, 1.0
BUFFER_BYTES = 16 << 20  # waiting for the disk; beyond it the recording ends
BLOCK_LINES = 512
FINISH_S, END_S = 10.0, 1.0  # how long the operator, and the end of the server, wait for what is still being written
PR_SET_PDEATHSIG = 1  # prctl(2)
UNFINISHED = START + ".new"  # what a child has not yet written to its end
EXIT_TOO_LARGE, EXIT_UNKNOWN, EXIT_LOW = errno.EFBIG, 200, 201
LITTLE_ROOM = "the disk of the lease database has little room: it is kept for leases"

STOPPED = declare(
    "capture-ended",
    "warning",
    "The recording of `failoverctl capture` ended by itself, the detail says why (disk full or slow, or the leases need more room than "
    "--max-size gives). The server is not affected; what was recorded before can be replayed.",
)


class CaptureRefused(Exception):
    """Why no recording can begin, or end."""


class _Job(NamedTuple):
    """What the thread is to do. `octets`: for the disk; `always`: after a failure, too."""

    do: Callable[[], None]
    octets: int = 0
    always: bool = False


class Capture:
    """The recorder. `record` is called after each step while `running`."""

    def __init__(
        self, directory: Path, node: Node, note: Callable[[str, str], None], low: Callable[[], bool], attach: Callable[[bool], None]
    ) -> None:
        """Off. `low`: the disk has little room (safety.md 7). `attach`: the loop is to call `record`, or no longer."""
        self.directory, self.node, self._note, self._low, self._attach = directory, node, note, low, attach
        self.running = False
        self.since = 0.0
        self.max_bytes = 0
        self.ended = ""  # why the last one ended by itself
        self.steps = 0
        self._number = 0
        self._file = -1
        self._size = 0  # of the .steps of this segment
        self._lines: list[bytes] = []
        self._waiting = self._buffered = 0  # octets: of _lines, and of jobs that are not done
        self._flushed = 0.0
        self._jobs: asyncio.Queue[_Job | None] = asyncio.Queue()
        self._dropping = False  # what waits for the disk is not to go there any more
        self._worker: asyncio.Task[None] | None = None
        self._child = 0
        self._waiter: asyncio.Task[None] | None = None  # for the child

    # --- the operator -----------------------------------------------------------------------------------------------------

    def start(self, max_bytes: int, wall: float) -> None:
        """Begin. CaptureRefused says why not. Blocking for as long as a fork takes."""
        if self.running:
            raise CaptureRefused("a recording is already running: `failoverctl capture stop` ends it")
        if self._unsettled():
            raise CaptureRefused("the last recording is still being ended; try again")
        if max_bytes < LEAST_BYTES:
            raise CaptureRefused(f"--max-size {max_bytes}: at least {LEAST_BYTES} octets (1M)")
        if self._low():
            raise CaptureRefused(LITTLE_ROOM)
        try:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            room = shutil.disk_usage(self.directory).free
            if room < 2 * max_bytes:
                raise CaptureRefused(
                    f"{self.directory}: only {room} octets are free, a recording wants twice --max-size {max_bytes}"
                )
            self.max_bytes, self.since, self.ended, self.steps, self._dropping = max_bytes, wall, "", 0, False
            self._number = max((_number(path) for path in self.directory.glob("[0-9]*.*")), default=0)
            self._worker = asyncio.get_running_loop().create_task(self._work(), name="capture")
            self.running = True
            self._begin(wall)
        except CaptureRefused:
            raise
        except Exception as error:  # whatever hinders a recording refuses it to who asked, and is nothing to the server
            self._close("")
            raise CaptureRefused(self._said(error)) from error
        if not self.running:
            raise CaptureRefused(self.ended)
        self._attach(True)

    async def stop(self) -> None:
        """End; what was stepped until now is in the files. A memory that is still being written is finished, here or, when it takes
        longer than FINISH_S, behind our back."""
        self._close("")
        await self._settle(FINISH_S)

    async def end(self) -> None:
        """The server ends: nothing waits for a memory that is still being written."""
        self._close("")
        self._kill()
        await self._settle(END_S)

    def _unsettled(self) -> list[asyncio.Task[None]]:
        return [task for task in (self._worker, self._waiter) if task is not None and not task.done()]

    async def _settle(self, wait_s: float) -> None:
        if tasks := self._unsettled():
            await asyncio.wait(tasks, timeout=wait_s)

    def status(self) -> dict[str, object]:
        """What the API says."""
        return {
            "running": self.running,
            "since": self.since if self.running else 0.0,
            "steps": self.steps,
            "max_size": self.max_bytes if self.running else 0,
            "size": sum(_size(path) for path in self.directory.glob("[0-9]*.*")),
            "segments": len(self._starts()),
            "directory": str(self.directory),
            "ended": self.ended,
        }

    def _starts(self) -> list[Path]:
        return sorted(self.directory.glob(f"[0-9]*{START}"))

    # --- the beats --------------------------------------------------------------------------------------------------------

    def record(self, inputs: Sequence[Input], now: Now, age_s: float, output: Output) -> None:
        """One step that was just taken. Whatever goes wrong in here is no reason to end the server."""
        try:
            self._record(inputs, now, age_s, output)
        except Exception as error:  # beside the service: a mistake in it ends the recording, by name
            self._close(self._said(error), drop=isinstance(error, OSError))

    def _record(self, inputs: Sequence[Input], now: Now, age_s: float, output: Output) -> None:
        line = (steps.write(inputs, now, age_s, output) + "\n").encode("utf-8", "backslashreplace")
        self.steps += 1
        self._lines.append(line)
        self._waiting += len(line)
        self._size += len(line)
        if self._waiting >= FLUSH_BYTES or now.mono - self._flushed >= FLUSH_S:
            self._flushed = now.mono
            if self._low():
                self._close(LITTLE_ROOM, drop=True)
                return
            self._flush()
        if self._buffered > BUFFER_BYTES:
            self._close("the disk does not keep up with the steps", drop=True)
        elif self._size >= self.max_bytes // SEGMENTS // 2:
            self._end_segment()
            self._begin(now.wall)

    def _flush(self) -> None:
        if not self._lines:
            return
        data, file = b"".join(self._lines), self._file
        self._lines, self._waiting = [], 0
        self._buffered += len(data)

        def write() -> None:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(file, rest) :]

        self._jobs.put_nowait(_Job(write, len(data)))

    def _end_segment(self) -> None:
        self._flush()
        file, self._file = self._file, -1
        if file >= 0:
            self._jobs.put_nowait(_Job(lambda: os.close(file), always=True))

    def _begin(self, wall: float) -> None:
        """A new segment: its beginning by a child, its steps by us."""
        if self._low():
            self._close(LITTLE_ROOM, drop=True)
            return
        if self._child:
            self._close("the server's memory takes longer to write down than a segment of --max-size lasts: give more")
            return
        self._number += 1
        name = self.directory / f"{self._number:06}"
        self._file = os.open(name.with_suffix(STEPS), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._size = 0
        self._jobs.put_nowait(_Job(self._drop_old))
        self._child = _fork(self.node, wall, name.with_suffix(START), self.max_bytes // SEGMENTS // 2, self._low)
        self._waiter = asyncio.get_running_loop().create_task(self._await_child(self._child, name.with_suffix(UNFINISHED)))

    def _drop_old(self) -> None:
        newest = self._number
        for path in self.directory.glob("[0-9]*.*"):
            if _number(path) <= newest - SEGMENTS:
                path.unlink(missing_ok=True)

    async def _await_child(self, child: int, unfinished: Path) -> None:
        try:
            await _end_of(child)
            code = _reaped(child)
            why = _why(code, self.max_bytes) if code else ""
        except Exception as error:  # this task is the recorder's own: a mistake in it must not reach the loop
            code, why = EXIT_UNKNOWN, f"what became of the server's memory cannot be seen: {error!r}"
        self._child = 0
        if code:
            self.ended = self.ended or why  # after the operator's stop, too
            self._close(self.ended, drop=code == EXIT_LOW)
            with contextlib.suppress(Exception):  # it lies there until its number is the oldest
                await asyncio.to_thread(unfinished.unlink, missing_ok=True)

    async def _work(self) -> None:
        """Jobs in their order, in a thread; after a failure the rest is dropped."""
        failed = False
        while (job := await self._jobs.get()) is not None:
            try:
                if job.always or not (failed or self._dropping):
                    await asyncio.to_thread(job.do)
            except Exception as error:  # whatever a disk or a mistake of ours does here, it ends the recording alone
                failed = True
                self.ended = self.ended or self._said(error)  # after the operator's stop, too
                self._close(self.ended, drop=True)
            self._buffered -= job.octets  # here and not in the thread: two would count at once

    def _close(self, why: str, drop: bool = False) -> None:
        """The end, by the operator ("") or by itself. `drop`: not an octet more goes to the disk, from the child neither."""
        if not self.running:
            return
        self.running, self.ended = False, why
        self._attach(False)
        if drop:
            self._lines, self._waiting, self._dropping = [], 0, True
            self._kill()
        self._end_segment()
        self._jobs.put_nowait(None)
        if why:
            self._note(STOPPED, why)

    def _said(self, error: Exception) -> str:
        if isinstance(error, OSError):
            return f"{self.directory}: {error.strerror or error}"
        return f"the recorder cannot go on, please report it: {error!r}"

    def _kill(self) -> None:
        """The child has nothing to clean up; SIGKILL, because what it inherited hears the others until it has told it not to."""
        if self._child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGKILL)


def _number(path: Path) -> int:
    """Of a file of a segment: NUMBER.start, NUMBER.steps, or a NUMBER.start.new that a child did not finish."""
    digits = path.name.partition(".")[0]
    return int(digits) if digits.isascii() and digits.isdecimal() else 0


def _size(path: Path) -> int:
    """0 for one that is gone meanwhile: the ring turns, and a child renames what is finished."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _why(code: int, max_bytes: int) -> str:
    if code == EXIT_TOO_LARGE:
        return f"the server's memory alone needs more than an eighth of --max-size {max_bytes}: give more"
    if code == EXIT_LOW:
        return LITTLE_ROOM
    if code == EXIT_UNKNOWN:
        return "the server's memory holds something that cannot be written down: a mistake of ours, please report it"
    if code == -signal.SIGKILL:
        return "the process that writes the server's memory was killed: this host is short of memory"
    return f"the server's memory could not be written: {os.strerror(code) if 0 < code < EXIT_UNKNOWN else f'signal {-code}'}"


_prctl = ctypes.CDLL(None).prctl


async def _end_of(child: int) -> None:
    """Until it has ended. No thread waits for it: that would be one that the end of the server waits for."""
    loop, ended, process = asyncio.get_running_loop(), asyncio.Event(), os.pidfd_open(child)
    loop.add_reader(process, ended.set)  # pidfd_open(2): readable when the process has ended
    try:
        await ended.wait()
    finally:
        loop.remove_reader(process)
        os.close(process)


def _reaped(child: int) -> int:
    """The exit code of one that has ended."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _fork(node: Node, wall: float, path: Path, limit: int, low: Callable[[], bool]) -> int:
    """A child that writes the node down as it is in this moment; its process id."""
    parent = os.getpid()
    try:
        child = os.fork()
    except OSError as error:
        raise OSError(
            error.errno, f"no process can be made to write the server's memory: {os.strerror(error.errno or 0)}"
        ) from error
    if not child:
        _child(parent, node, wall, path, limit, low)
    return child


def _alone(parent: int) -> None:
    """In the child: a server that is killed must let go of its ports, its partner and its database at once. So nothing of what was open
    stays open here (a flock and a connection end with the last descriptor of them), and we end with the parent."""
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    _prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(EXIT_UNKNOWN)


def _child(parent: int, node: Node, wall: float, path: Path, limit: int, low: Callable[[], bool]) -> NoReturn:
    """In the child: nothing of the parent's is touched, and it ends without cleaning up behind itself."""
    code = EXIT_UNKNOWN
    try:
        gc.disable()
        _alone(parent)
        signal.set_wakeup_fd(-1)  # the parent's event loop listens at the other end
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        os.nice(10)
        _first_to_go()
        unfinished = path.with_suffix(UNFINISHED)
        file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        code = _written(file, node, wall, limit, low)
        if not code:
            os.rename(unfinished, path)
    except OSError as error:
        code = error.errno or EXIT_UNKNOWN
    except SnapshotError:
        code = EXIT_UNKNOWN
    finally:
        os._exit(code)


def _first_to_go() -> None:
    """Should memory run short, the kernel ends this child and not the server."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        return


def _written(file: int, node: Node, wall: float, limit: int, low: Callable[[], bool]) -> int:
    """Write all lines; 0, EXIT_TOO_LARGE, or EXIT_LOW."""
    block: list[bytes] = []
    size = 0

    def put() -> None:
        rest = memoryview(b"".join(block))
        while rest:
            rest = rest[os.write(file, rest) :]
        block.clear()

    for line in head_lines(node, wall):
        block.append((line + "\n").encode("utf-8", "backslashreplace"))
        size += len(block[-1])
        if size > limit:
            return EXIT_TOO_LARGE
        if len(block) >= BLOCK_LINES:
            if low():
                return EXIT_LOW
            put()
    put()
    return 0
