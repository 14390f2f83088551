"""The ring of a recording: it is bounded, each segment of it can be played, and nothing that befalls it reaches the server."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, cast

import pytest

from failoverd.node import Node
from failoverd.notes import Note
from failoverd.replay.player import play, segments
from failoverd.shell import capture as capturing
from failoverd.shell.capture import LEAST_BYTES, LITTLE_ROOM, STOPPED, Capture, CaptureRefused
from tests.pair.duo import Duo, normal


class Recorded:
    """A Node of a pair, its recorder, and what that said."""

    def __init__(self, folder: Path) -> None:
        self.duo: Duo = normal()
        self.node: Node = self.duo.nodes["p"]
        self.low = False
        self.notes: list[tuple[str, str]] = []
        self.on = False
        self.duo.nodes["p"] = cast(Node, self)  # what steps the pair meets the recorder first
        self.capture = Capture(
            folder / "capture", self.node, lambda name, why: self.notes.append((name, why)), lambda: self.low, self.attach
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.node, name)

    def attach(self, on: bool) -> None:
        self.on = on

    def step(self, inputs: Any, now: Any, age_s: float = 0.0) -> Any:
        output = self.node.step(inputs, now, age_s)
        if self.on:
            self.capture.record(inputs, now, age_s, output)
        return output

    def fill(self) -> None:
        """Until the next segment begins, or the recording ends."""
        number = self.capture._number
        for _ in range(2000):
            if self.capture._number != number or not self.capture.running:
                return
            self.node.decisions.clear()
            self.duo.discover("p", 7, secs=9)
        raise AssertionError("the segment does not end")

    async def child(self) -> None:
        """The segment that was begun has its beginning."""
        await self._until(lambda: not self.capture._child, "the child does not end")

    async def written(self) -> None:
        """What was handed to the thread is in the file."""
        await self._until(lambda: not self.capture._buffered, "the disk does not keep up")

    async def ended(self) -> None:
        """The recording ended by itself."""
        await self._until(lambda: not self.capture.running, "it does not end")

    async def _until(self, condition: Callable[[], bool], otherwise: str) -> None:
        end = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < end, otherwise
            await asyncio.sleep(0.01)


def open_files(process: int | str = "self") -> list[str]:
    """What a process has open; of one that runs on, what is closed while it is looked at is left out."""
    found = []
    for each in sorted(os.listdir(f"/proc/{process}/fd"), key=int):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/{process}/fd/{each}"))
    return found


def full(file: int, data: bytes) -> NoReturn:
    """os.write(2) to a disk without room."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    return Recorded(tmp_path)


async def test_what_is_recorded_is_replayed_bit_for_bit(recorded: Recorded) -> None:
    recorded.capture.start(LEAST_BYTES * 64, recorded.duo.now.wall)
    assert recorded.duo.dora("p", 1) is not None
    await recorded.child()
    recorded.duo.run(30)
    await recorded.capture.stop()
    assert not recorded.on
    (start,) = segments(recorded.capture.directory)
    played = list(play(start))
    assert len(played) == recorded.capture.steps > 20
    assert all(each.same for each in played)
    assert {path.stat().st_mode & 0o777 for path in recorded.capture.directory.iterdir()} == {0o600}
    assert recorded.capture.directory.stat().st_mode & 0o777 == 0o700
    assert recorded.notes == []


async def test_the_ring_is_bounded_and_each_segment_can_be_played(recorded: Recorded) -> None:
    recorded.capture.start(LEAST_BYTES * 2, recorded.duo.now.wall)
    await recorded.child()
    for _ in range(12):
        recorded.fill()
        await recorded.child()
    await recorded.capture.stop()
    status = recorded.capture.status()
    assert (status["segments"], status["running"]) == (4, False)
    assert LEAST_BYTES // 2 < int(str(status["size"])) <= 2 * LEAST_BYTES
    found = segments(recorded.capture.directory)
    assert [int(start.stem) for start in found] == [10, 11, 12, 13]
    assert all(each.same for start in found[-2:] for each in play(start))


async def test_a_second_recording_goes_on_behind_the_first(recorded: Recorded) -> None:
    for _ in range(2):
        recorded.capture.start(LEAST_BYTES * 64, recorded.duo.now.wall)
        await recorded.child()
        recorded.duo.run(1)
        await recorded.capture.stop()
    assert [start.stem for start in segments(recorded.capture.directory)] == ["000001", "000002"]


@pytest.mark.parametrize("what", ["running", "small", "low", "full", "place"])
def test_why_no_recording_begins(recorded: Recorded, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def begin() -> None:
        size = LEAST_BYTES * 64
        if what == "running":
            recorded.capture.start(size, 1.0)
        elif what == "small":
            size = LEAST_BYTES - 1
        elif what == "low":
            recorded.low = True
        elif what == "full":
            size = 1 << 60
        else:
            recorded.capture.directory.write_text("in the way")
        with pytest.raises(CaptureRefused):
            recorded.capture.start(size, 1.0)
        assert recorded.on is (what == "running")
        await recorded.child()
        await recorded.capture.stop()

    asyncio.run(begin())


async def test_a_full_disk_ends_the_recording_and_nothing_else(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded.capture.start(LEAST_BYTES * 64, recorded.duo.now.wall)
    await recorded.child()
    recorded.duo.run(5)
    monkeypatch.setattr(capturing.os, "write", full)
    recorded.duo.run(5)
    await recorded.ended()
    monkeypatch.undo()
    assert not recorded.on
    assert [name for name, _ in recorded.notes] == [STOPPED]
    assert "No space left on device" in recorded.notes[0][1]
    assert "No space left" in str(recorded.capture.status()["ended"])
    assert recorded.duo.dora("p", 3) is not None
    await recorded.capture.stop()
    assert not any(str(recorded.capture.directory) in each for each in open_files()), "the file is closed all the same"
    recorded.capture.start(LEAST_BYTES * 64, recorded.duo.now.wall)
    await recorded.child()
    await recorded.capture.stop()


async def test_a_memory_that_is_too_large_for_its_room_is_said(recorded: Recorded) -> None:
    recorded.node.decisions.extend(Note("offered", 1.0, detail="x" * 300) for _ in range(1000))
    recorded.capture.start(LEAST_BYTES, recorded.duo.now.wall)
    await recorded.ended()
    assert "give more" in recorded.notes[0][1]
    await recorded.capture.stop()
    assert not list(recorded.capture.directory.glob("*.start*"))


async def test_a_mistake_while_recording_does_not_reach_the_server(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded.capture.start(LEAST_BYTES * 64, recorded.duo.now.wall)
    await recorded.child()
    monkeypatch.setattr(capturing.steps, "write", lambda *args: 1 / 0)
    recorded.duo.run(1)
    assert "please report it: ZeroDivisionError" in recorded.notes[0][1]
    assert not recorded.on
    await recorded.capture.stop()


async def test_a_disk_that_gets_full_within_a_segment_ends_it_before_a_commit_fails(recorded: Recorded) -> None:
    recorded.capture.start(LEAST_BYTES * 64, recorded.duo.now.wall)
    await recorded.child()
    recorded.duo.run(5)
    await recorded.written()
    before = recorded.capture.status()["size"]
    recorded.low = True
    recorded.duo.run(5)
    assert recorded.notes == [(STOPPED, LITTLE_ROOM)]
    await recorded.capture.stop()
    assert recorded.capture.status()["size"] == before, "what waited for the disk is dropped"


def until(condition: Callable[[], bool], otherwise: str) -> None:
    """Of another process, which has no other way to tell: look again and again."""
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, otherwise
        time.sleep(0.01)  # between two looks


def is_there(process: int) -> bool:
    """It runs, or is not waited for."""
    return Path(f"/proc/{process}").exists()


def is_over(process: int) -> bool:
    """It has ended, whether somebody waited for it or not; it may do so while it is looked at."""
    try:
        return " Z " in Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


async def slow_child(recorded: Recorded, monkeypatch: pytest.MonkeyPatch, then: Callable[[], object] = signal.pause) -> int:
    """A recording begins; its child writes a little and then does `then`. Its process id."""

    def lines(node: Node, wall: float) -> Iterator[str]:
        yield from ["x" * 100] * capturing.BLOCK_LINES
        then()
        yield from ["y" * 100] * capturing.BLOCK_LINES

    monkeypatch.setattr(capturing, "head_lines", lines)
    recorded.capture.start(LEAST_BYTES * 64, recorded.duo.now.wall)
    monkeypatch.undo()
    for _ in range(500):
        if not recorded.capture._child or any(path.stat().st_size for path in recorded.capture.directory.glob("*.start.new")):
            break
        await asyncio.sleep(0.01)
    assert recorded.capture._child or then is not signal.pause, "it has ended; and 0 would be every process of our group"
    return recorded.capture._child


async def test_a_disk_that_gets_full_ends_the_child_too(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    child = await slow_child(recorded, monkeypatch)
    recorded.low = True
    recorded.duo.run(5)
    await recorded.child()
    await recorded.capture.stop()
    assert not is_there(child)
    assert not list(recorded.capture.directory.glob("*.start*"))
    assert recorded.notes == [(STOPPED, LITTLE_ROOM)]


async def test_the_child_holds_no_socket_and_no_lock_of_the_server(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lock = os.open(tmp_path / "leases.db.reserve", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        child = await slow_child(recorded, monkeypatch)
        held = open_files(child)
        assert [each for each in held[3:] if not each.endswith(".start.new")] == []
        os.close(lock)
        again = os.open(tmp_path / "leases.db.reserve", os.O_RDWR)
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(again)
    await recorded.capture.end()


async def test_the_end_of_the_server_waits_for_no_child(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    child = await slow_child(recorded, monkeypatch)
    recorded.duo.run(5)
    start = time.monotonic()
    await recorded.capture.end()
    assert time.monotonic() - start < 5.0
    assert not is_there(child)
    assert not list(recorded.capture.directory.glob("*.start*"))
    assert recorded.notes == []
    recorded.capture.start(LEAST_BYTES * 64, recorded.duo.now.wall)
    await recorded.capture.stop()
    assert [each.stem for each in segments(recorded.capture.directory)] == ["000002"], "the operator's stop waits for it"


async def test_a_child_in_which_anything_fails_is_never_a_second_server(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capturing, "_alone", lambda parent: 1 / 0)
    recorded.capture.start(LEAST_BYTES * 64, recorded.duo.now.wall)
    await recorded.ended()
    assert recorded.capture._child == 0
    assert "a mistake of ours" in recorded.notes[0][1]
    await recorded.capture.stop()


async def test_what_failed_after_the_operator_s_stop_is_said(recorded: Recorded) -> None:
    recorded.node.decisions.extend(Note("offered", 1.0, detail="x" * 300) for _ in range(1000))
    recorded.capture.start(LEAST_BYTES, recorded.duo.now.wall)
    await recorded.capture.stop()
    assert "give more" in str(recorded.capture.status()["ended"])


async def test_an_operator_s_stop_does_not_wait_for_ever(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    child = await slow_child(recorded, monkeypatch)
    monkeypatch.setattr(capturing, "FINISH_S", 0.1)
    await recorded.capture.stop()
    assert is_there(child)
    with pytest.raises(CaptureRefused, match="still being ended"):
        recorded.capture.start(LEAST_BYTES * 64, 1.0)
    await recorded.capture.end()
    assert not is_there(child)


def test_the_child_ends_with_a_server_that_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lines(node: Node, wall: float) -> Iterator[str]:
        signal.pause()
        yield ""

    monkeypatch.setattr(capturing, "head_lines", lines)
    node = Duo().nodes["p"]
    told, tell = os.pipe()
    server = os.fork()
    if not server:
        try:
            os.write(tell, str(capturing._fork(node, 0.0, tmp_path / "1.start", 1 << 20, bool)).encode())
            signal.pause()  # until it is killed
        finally:
            os._exit(1)  # whatever fails: it is no second run of the tests
    os.close(tell)
    try:
        child = int(os.read(told, 20))
        until(lambda: any(each.endswith(".start.new") for each in open_files(child)), "the child does not begin")
    finally:
        os.close(told)
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)
    until(lambda: is_over(child), "it lives on")


async def test_the_child_itself_sees_that_the_disk_gets_full(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    full = tmp_path / "full"
    recorded.capture._low = full.exists
    await slow_child(recorded, monkeypatch, full.touch)
    await recorded.ended()
    await recorded.capture.stop()
    assert recorded.notes == [(STOPPED, LITTLE_ROOM)]
    assert not list(recorded.capture.directory.glob("*.start"))


async def test_the_room_of_a_segment_is_counted_in_octets(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded.capture.start(LEAST_BYTES * 2, recorded.duo.now.wall)
    await recorded.child()
    monkeypatch.setattr(capturing.steps, "write", lambda *args: '"' + "\u00fc\ud800" * 1000 + '"')
    recorded.fill()
    await recorded.child()
    await recorded.capture.stop()
    first = min(recorded.capture.directory.glob("*.steps"))
    assert LEAST_BYTES // 4 <= first.stat().st_size < LEAST_BYTES // 4 + 10_000


async def test_what_still_waits_for_the_disk_at_the_end_is_not_counted_twice(recorded: Recorded) -> None:
    recorded.capture.start(LEAST_BYTES * 64, recorded.duo.now.wall)
    recorded.duo.run(5)
    assert recorded.capture._buffered > 0
    await recorded.capture.stop()
    await recorded.child()
    assert recorded.capture._buffered == 0, "less, and the next recording may hold more than its share"


@pytest.mark.parametrize("what", ["mkdir", "open", "fork"])
async def test_a_refused_start_says_why_and_not_why_the_last_one_ended(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    recorded.capture.ended = "long ago"

    def fails(*args: object, **more: object) -> NoReturn:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(Path if what == "mkdir" else capturing.os, what, fails)
    with pytest.raises(CaptureRefused, match="Resource temporarily unavailable"):
        recorded.capture.start(LEAST_BYTES * 64, 1.0)
    monkeypatch.undo()
    assert (recorded.on, recorded.capture.running, recorded.notes) == (False, False, []), "refused is not ended"
    await recorded.capture.stop()
    assert not any(str(recorded.capture.directory) in each for each in open_files())
    recorded.capture.start(LEAST_BYTES * 64, 1.0)
    await recorded.capture.stop()


async def test_no_thread_for_the_disk_ends_the_recording_and_nothing_else(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded.capture.start(LEAST_BYTES * 64, recorded.duo.now.wall)
    await recorded.child()

    async def no_thread(*args: object, **more: object) -> NoReturn:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(asyncio, "to_thread", no_thread)
    recorded.duo.run(5)
    await recorded.ended()
    await recorded.capture.stop()
    assert recorded.capture._worker is not None
    assert recorded.capture._worker.exception() is None
    assert [name for name, _ in recorded.notes] == [STOPPED]
    assert "can't start new thread" in recorded.notes[0][1]


async def test_a_child_that_the_kernel_ends_for_memory_is_said(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    os.kill(await slow_child(recorded, monkeypatch), signal.SIGKILL)
    await recorded.ended()
    await recorded.capture.stop()
    assert "short of memory" in recorded.notes[0][1]
    assert not list(recorded.capture.directory.glob("*.start*"))


async def test_a_child_whose_end_cannot_be_seen_ends_the_recording_and_nothing_else(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    ignored = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        recorded.capture.start(LEAST_BYTES * 64, recorded.duo.now.wall)
        await recorded.ended()
        await recorded.capture.stop()
    finally:
        signal.signal(signal.SIGCHLD, ignored)
    assert recorded.capture._waiter is not None
    assert recorded.capture._waiter.exception() is None
    assert "cannot be seen" in recorded.notes[0][1]  # when it is asked, or when it is waited for, as quick as the child is


async def test_a_disk_that_gets_full_behind_the_operator_s_stop_is_said(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded.capture.start(LEAST_BYTES * 64, recorded.duo.now.wall)
    await recorded.child()
    recorded.duo.run(5)
    monkeypatch.setattr(capturing.os, "write", full)
    await recorded.capture.stop()
    assert "No space left on device" in str(recorded.capture.status()["ended"])


def test_the_status_is_told_while_files_go(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded.capture.directory.mkdir()
    monkeypatch.setattr(Path, "glob", lambda self, pattern: [self / "000001.start.new"])
    assert recorded.capture.status()["size"] == 0


async def test_a_disk_that_gets_full_meanwhile_ends_it(recorded: Recorded) -> None:
    recorded.capture.start(LEAST_BYTES * 2, recorded.duo.now.wall)
    await recorded.child()
    recorded.low = True
    recorded.fill()
    assert "little room" in recorded.notes[0][1]
    await recorded.capture.stop()
