"""The four beats (design.md 1.4): drain inputs, step the node, commit one transaction, send.

What leaves at once and what waits for a commit is the node's word (`ports.Output`); that it waits is kept here. One commit is on
its way at most; meanwhile the next inputs are drained and stepped, and their writes gather into the next commit. There is no lock
and no task per packet: `_beat` is one synchronous function, and one task carries batches to the disk.

safety.md 1 (sends wait), 3 (a failed commit ends the process at once), 4 (a hanging commit is a dead server), 5 (a gap between
beats is a lost link, and what is older than 5 s is dropped) live in this file.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from failoverd.notes import Note
from failoverd.ports import (
    ClientDatagram,
    ClientSend,
    ClockState,
    Command,
    DiskState,
    DnsAnswer,
    DnsQuery,
    DnsUpdate,
    Input,
    LinkBytes,
    LinkClose,
    LinkConnect,
    LinkDown,
    LinkSend,
    Now,
    Output,
    Probe,
    Reply,
    Send,
    Stopping,
    Write,
)
from failoverd.shell import clock
from failoverd.shell.beat_notes import DISCARDED, FULL, GAP, HUNG, LOW, MARKER, OLD_ANSWER, OLD_DATAGRAM, ROOM, WITHHELD
from failoverd.shell.disk import StoreError
from failoverd.shell.ending import BUG, EXIT_BUG, EXIT_HUNG, EXIT_STORE, OrEnd, end_now
from failoverd.shell.logs import NoteBook
from failoverd.shell.sides import Keeps, Steps, ToClients, ToHosts, ToMasters, ToPartners

OLD_S = 5.0  # a datagram or an unsent answer older than this is dropped (safety.md 5)
MAX_PENDING_WRITES = 512  # writes, or sends, gathered behind a commit in flight; above it clients wait in the kernel's buffer
MAX_PENDING_PARTNER = 4 * MAX_PENDING_WRITES  # above this partner bytes wait in TCP as well
MAX_FOLD_ROWS = 256  # journal rows folded into the tables in one slice: the next commit waits some 10 ms for it
MARKER_S = 10.0  # safety.md 15
TICK_S = 1.0  # beats are at most this far apart, so that a gap is seen
LEAST_DELAY_S = 0.001  # a deadline that does not move must not spin
STOP_S = 10.0  # the last commit at a clean stop


@dataclass(slots=True)
class Batch:
    """The writes of one commit, in order, and the sends that follow it."""

    writes: list[Write] = field(default_factory=list)
    sends: list[Send] = field(default_factory=list)
    wall: float = 0.0


@dataclass(slots=True)
class Counts:
    """What the loop has done since it started."""

    beats: int = 0
    datagrams: int = 0
    commits: int = 0
    writes: int = 0
    commit_s: float = 0.0
    longest_commit_s: float = 0.0
    folds: int = 0
    gaps: int = 0


class Loop:
    """One node, its store and its sockets. `delays`: relationship -> max-response-delay in seconds."""

    def __init__(
        self,
        node: Steps,
        store: Keeps,
        book: NoteBook,
        delays: Mapping[str, float],
        *,
        read: Callable[[], Now] = clock.read,
        end: Callable[[int, str], None] = end_now,
        clients: ToClients,
        partners: ToPartners,
        masters: ToMasters,
        hosts: ToHosts,
    ) -> None:
        self.node, self.store, self.book = node, store, book
        self.clients, self.partners, self.masters, self.hosts = clients, partners, masters, hosts
        self.counts = Counts()
        self.alive: Callable[[], None] = lambda: None  # called every tick: the service manager's watchdog
        self.tape: Callable[[Sequence[Input], Now, float, Output], None] | None = None  # capture.py records every step
        self._delays = dict(delays)
        self._least_s = min(self._delays.values(), default=OLD_S)
        self._tick_s = min([TICK_S, *(delay / 6 for delay in self._delays.values())])
        self._read, self._end = read, end
        self._sound = OrEnd(end, EXIT_BUG, BUG)
        self._last = read()
        self._queue: list[Input] = []
        self._next = Batch()
        self._flying: Batch | None = None
        self._disk_since: float | None = None  # mono of the start of what the disk is doing
        self._hung: set[str] = set()  # relationships dropped because of the disk operation in flight
        self._answers: dict[int, asyncio.Future[Reply]] = {}
        self._ident = 0
        self._scheduled = False
        self._stopped = False
        self._paused = self._partners_paused = False
        self._marker_mono = self._last.mono
        self._low = False
        self._idle = False  # no commit between the last two ticks: the journal may be folded
        self._commits_then = 0
        self._work = asyncio.Event()
        self._settled = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_mono = 0.0
        self._ticker: asyncio.TimerHandle | None = None
        self._keeper: asyncio.Task[None] | None = None

    # --- what the others call ---

    @property
    def note_counts(self) -> dict[str, int]:
        """Notes by name since the start."""
        return self.book.counts

    @property
    def notes(self) -> Sequence[Note]:
        """The newest notes, oldest first."""
        return self.book.ring

    def start(self, boot: Output) -> None:
        """Begin beating on the running event loop; `boot` is the node's first output."""
        self._loop = asyncio.get_running_loop()
        self._last = self._read()
        self._keeper = self._loop.create_task(self._keep(), name="store")
        self._keeper.add_done_callback(self._kept)
        with self._sound:
            self._take(boot, self._last)
            self.partners.flush()
        self.deliver()
        self._tick()

    def deliver(self, *inputs: Input) -> None:
        """Queue inputs for the next beat, which comes with this turn of the event loop."""
        self._queue.extend(inputs)
        if not self._scheduled and self._loop is not None:
            self._scheduled = True
            self._loop.call_soon(self._beat)

    def hear(self, datagrams: list[ClientDatagram]) -> None:
        """Step datagrams that were just drained, now."""
        self._beat(datagrams)

    async def command(self, verb: str, args: Mapping[str, str], who: str, why: str) -> Reply:
        """Hand a verb to the node; its reply comes after the commit of what it changed."""
        if self._stopped:
            return Reply(0, "failed", None, "failoverd is stopping")
        self._ident += 1
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._answers[self._ident] = answer
        command = Command(self._ident, verb, args, who, why)
        self.deliver(command)
        try:
            return await answer
        finally:
            self._answers.pop(command.ident, None)

    def status(self) -> dict[str, object]:
        """The node's status."""
        return self.node.status(self._read())

    def note(self, name: str, subject: str = "", detail: str = "", address: int = 0) -> None:
        """A note of the shell's own."""
        self.book.add((Note(name, self._read().wall, address=address, subject=subject, detail=detail),))

    async def stop(self) -> None:
        """Clean stop: the node's last sends leave after their commit. Ends the process when that commit hangs for STOP_S."""
        self.clients.pause()
        self._queue.append(Stopping())
        self._beat()
        self._stopped = True
        self._settled.clear()
        self._work.set()
        try:
            await asyncio.wait_for(self._settled.wait(), STOP_S)
        except TimeoutError:
            self._end(EXIT_HUNG, f"the last commit did not return for {STOP_S:.0f} s; stopped without it")
        for timer in (self._timer, self._ticker):
            if timer is not None:
                timer.cancel()
        if self._keeper is not None:
            self._keeper.cancel()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_result(Reply(0, "failed", None, "failoverd is stopping"))

    # --- beats ---

    def _beat(self, datagrams: Sequence[ClientDatagram] = ()) -> None:
        self._scheduled = False
        if self._stopped:
            return
        with self._sound:
            now = self._read()
            if self._look(now) and datagrams:
                self.note(DISCARDED, datagrams[0].interface, f"{len(datagrams)} datagrams")
                datagrams = ()
            inputs = [*self._queue, *self.hosts.heard()]  # before a timer of this beat may call an address silent
            self._queue = []
            if datagrams:
                inputs.extend(self._fresh(datagrams, now))
            if inputs or self.node.deadline(now) <= now.mono:
                self.counts.beats += 1
                age = 0.0 if self._disk_since is None else now.mono - self._disk_since
                output = self.node.step(inputs, now, age)
                if self.tape is not None:
                    self.tape(inputs, now, age, output)
                self._take(output, now)
                self.partners.flush()
            self._arm(self.node.deadline(now), now)

    def _fresh(self, datagrams: Sequence[ClientDatagram], now: Now) -> list[ClientDatagram]:
        """Those that are not older than OLD_S."""
        fresh = [datagram for datagram in datagrams if now.mono - datagram.mono <= OLD_S]
        self.counts.datagrams += len(fresh)
        if len(fresh) < len(datagrams):
            old = [datagram for datagram in datagrams if now.mono - datagram.mono > OLD_S]
            self.book.add(Note(OLD_DATAGRAM, now.wall, address=d.src_ip, subject=d.interface) for d in old)
        return fresh

    def _take(self, output: Output, now: Now) -> None:
        """Send what may leave at once; put the rest behind its commit, and behind all commits before it."""
        if output.notes:
            self.book.add(output.notes)
        if output.at_once:
            self._send(output.at_once, now)
        if output.writes:
            batch = self._next
            batch.writes += output.writes
            batch.sends += output.after_commit
            batch.wall = now.wall
            self._work.set()
        elif output.after_commit:
            if self._next.writes:
                self._next.sends += output.after_commit
            elif self._flying is not None:
                self._flying.sends += output.after_commit
            else:
                self._send(output.after_commit, now)
        self._push_back()

    def _push_back(self) -> None:
        """Leave clients, then partners, waiting while the disk is behind."""
        if self._flying is None:
            return
        waiting = max(len(self._next.writes), len(self._next.sends), len(self._flying.sends))
        if waiting >= MAX_PENDING_WRITES and not self._paused:
            self._paused = True
            self.clients.pause()
            self.note(FULL, detail=f"{waiting} writes or sends")
        if waiting >= MAX_PENDING_PARTNER and not self._partners_paused:
            self._partners_paused = True
            self.partners.pause()

    def _pull_on(self) -> None:
        if self._paused:
            self._paused = False
            self.clients.resume()
        if self._partners_paused:
            self._partners_paused = False
            self.partners.resume()

    def _arm(self, due_mono: float, now: Now) -> None:
        """One timer, for the node's deadline; a timer that is early only beats in vain."""
        assert self._loop is not None
        if self._timer is not None and self._timer_mono <= due_mono:
            return
        if self._timer is not None:
            self._timer.cancel()
        delay = min(max(due_mono - now.mono, LEAST_DELAY_S), 3600.0)
        self._timer_mono = now.mono + delay
        self._timer = self._loop.call_later(delay, self._due)

    def _due(self) -> None:
        self._timer = None
        self._beat()

    def _tick(self) -> None:
        """At least once a second: is the clock whole, is the disk alive?"""
        if self._stopped:
            return
        assert self._loop is not None
        self._ticker = self._loop.call_later(self._tick_s, self._tick)
        with self._sound:
            now = self._read()
            self._look(now)
            if self._disk_since is not None:
                self._watch_disk(now.mono - self._disk_since)
            self._idle = self.counts.commits == self._commits_then
            self._commits_then = self.counts.commits
            if self._idle or now.mono - self._marker_mono >= MARKER_S:
                self._work.set()
            self._look_at_room()
            self.alive()
            due = self.node.deadline(now) <= now.mono  # the timer runs on a clock that stands still while the machine sleeps
        if due or self._queue:
            self._beat()

    # --- safety.md 4, 5 ---

    def _look(self, now: Now) -> bool:
        """Whether this process was away, or the wall clock stepped forward, for longer than a relationship allows. Then its links
        are dropped and the node is told before anything that was buffered is stepped."""
        last, self._last = self._last, now
        gap = now.mono - last.mono
        stepped = (now.wall - last.wall) - gap
        away = max(gap, stepped)
        if away <= self._least_s:
            return False
        told = f"{gap:.1f} s between beats, wall clock stepped {stepped:+.1f} s"
        self.counts.gaps += 1
        self.note(GAP, detail=told)
        self._cut([name for name in sorted(self._delays) if away > self._delays[name]], f"beat-gap: {told}")
        self._withhold()
        self.clients.discard()
        return True

    def _cut(self, relationships: Sequence[str], reason: str) -> None:
        """Drop all links of these relationships, forget their unread bytes, queue a LinkDown for each (link 0: none was up)."""
        downs: list[Input] = []
        for name in relationships:
            downs += [LinkDown(name, link, reason) for link in self.partners.drop(name, reason) or [0]]
        kept = [item for item in self._queue if not (isinstance(item, LinkBytes) and item.relationship in relationships)]
        # A LinkUp that is still queued stays before its LinkDown: the node hears of a link from its beginning to its end.
        self._queue = kept + downs

    def _withhold(self) -> None:
        """Updates decided before a gap are not sent (safety.md 25); the planner hears TIMEOUT and looks again."""
        for batch in filter(None, (self._flying, self._next)):
            held = [send for send in batch.sends if isinstance(send, DnsUpdate)]
            if held:
                batch.sends = [send for send in batch.sends if not isinstance(send, DnsUpdate)]
                for send in held:
                    self.note(WITHHELD, subject=send.zone)
                    self._queue.append(DnsAnswer(send.ident, "TIMEOUT", "", "not sent: this process was away"))

    def _watch_disk(self, age_s: float) -> None:
        """A disk that hangs for max-response-delay must look like a dead server (safety.md 4)."""
        for name in sorted(self._delays):
            if age_s >= self._delays[name] and name not in self._hung:
                self._hung.add(name)
                self.note(HUNG, subject=name, detail=f"{age_s:.1f} s")
                self.partners.refuse(name, True)
                self._cut([name], f"beat-gap: a commit has been in flight for {age_s:.1f} s")

    def _look_at_room(self) -> None:
        """Tell the node when the disk becomes low, and when it no longer is (safety.md 7)."""
        low = self.store.low_water()
        if low != self._low:
            self._low = low
            self.note(LOW if low else ROOM)
            self.deliver(DiskState(low))

    # --- commit ---

    async def _keep(self) -> None:
        """Carry batches to the disk, one after the other; when there is none, the marker and the fold."""
        while True:
            if self._read().mono - self._marker_mono >= MARKER_S:
                await self._mark()
            if self.store.due():
                await self._fold()
            if self._next.writes:
                await self._commit()
            elif self._stopped:
                self._settled.set()
                await self._wait()
            elif self._idle:
                self._idle = await self._fold()
            else:
                await self._wait()

    async def _mark(self) -> None:
        self._marker_mono = self._disk_since = self._read().mono
        with OrEnd(self._end, EXIT_STORE, "the marker could not be written"):
            try:
                await self.store.write_marker()
            except StoreError as error:
                self.note(MARKER, detail=str(error))
        self._disk_done()

    async def _fold(self) -> bool:
        """One slice; whether there is more."""
        self._disk_since = self._read().mono
        with OrEnd(self._end, EXIT_STORE, "the journal could not be folded"):
            handled = await self.store.fold(MAX_FOLD_ROWS)
        self._disk_done()
        self.counts.folds += 1
        return handled > 0

    async def _wait(self) -> None:
        self._work.clear()
        await self._work.wait()

    async def _commit(self) -> None:
        self._idle = False
        batch = self._flying = self._next
        self._next = Batch()
        began = self._read().mono
        self._disk_since = began
        with OrEnd(self._end, EXIT_STORE, "a commit failed"):
            await self.store.commit(batch.writes, batch.wall)
        self._disk_done()
        with self._sound:
            now = self._read()
            took = now.mono - began
            self.counts.commits += 1
            self.counts.writes += len(batch.writes)
            self.counts.commit_s += took
            self.counts.longest_commit_s = max(self.counts.longest_commit_s, took)
            self._look(now)  # this may be the first thing that runs after a pause
            self._flying = None
            self._send(batch.sends, now)
            self.partners.flush()
            self._pull_on()
        if self._queue:
            self.deliver()

    def _disk_done(self) -> None:
        self._disk_since = None
        for name in sorted(self._hung):
            self.partners.refuse(name, False)
        self._hung.clear()

    def _kept(self, keeper: asyncio.Task[None]) -> None:
        if not keeper.cancelled():
            with self._sound:
                keeper.result()

    # --- send ---

    def _send(self, sends: Sequence[Send], now: Now) -> None:
        for send in sends:
            if isinstance(send, ClientSend):
                if send.mono and now.mono - send.mono > OLD_S:
                    self.note(OLD_ANSWER, subject=send.interface, address=send.dst_ip)
                else:
                    self.clients.send(send)
            elif isinstance(send, LinkSend):
                self.partners.send(send.link, send.data)
            elif isinstance(send, DnsUpdate | DnsQuery):
                self.masters.submit(send, self.deliver)
            elif isinstance(send, Probe):
                self.hosts.send(send.address)
            elif isinstance(send, Reply):
                answer = self._answers.pop(send.ident, None)
                if answer is not None and not answer.done():
                    answer.set_result(send)
            elif isinstance(send, LinkConnect):
                self.partners.connect(send.relationship)
            else:
                assert isinstance(send, LinkClose)
                self.partners.close_link(send.link, send.reason)

    def clock_state(self, synchronised: bool) -> None:
        """Tell the node what the kernel says of the wall clock."""
        self.deliver(ClockState(synchronised))
