"""How fast, and whether at all: the breaker of a server and the hold of a zone.

Trouble of a server (silence) and trouble of a zone (keys, rights, a frozen zone) is not trouble of a row: rows stay dirty, nothing
is rewritten, and one message at a time asks whether it is over. All times are monotonic seconds.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from random import Random

WINDOW_ALL = 40  # BIND drops silently above update-quota 100, and a partner shares it
WINDOW_SERVER = 16
BREAK_AFTER = 3  # lost messages in a row
PROBE_MAX_S = 60.0
HOLD_S = {"BADKEY": 60.0, "BADSIG": 60.0, "BADTIME": 30.0, "REFUSED": 60.0, "NOTAUTH": 60.0}
SERVFAIL_MAX_S = 60.0
ALERT_EVERY_S = 3600.0
BACKLOG = 1000  # names that wait in a zone before those that are to appear go before those that are to go (ddns.md 4.3)
SUSPECTS = 2  # different rows that a zone must refuse before it is the zone

LOST = frozenset({"TIMEOUT", "UNREACHABLE"})
ZONE_TROUBLE = frozenset({*HOLD_S, "SERVFAIL"})
MALFORMED = frozenset({"FORMERR", "NOTZONE", "INTERNAL"})


def backoff(tries: int, most_s: float, rng: Random) -> float:
    """1, 2, 4 ... seconds up to `most_s`, the upper half of it random, so that two servers do not march in step."""
    top = min(most_s, 2.0 ** min(tries, 16))
    return rng.uniform(top / 2, top)


@dataclass(slots=True)
class Server:
    """One list of primaries. `open`: it does not answer; one message at `probe_mono` asks again. `window`: slow start after that."""

    key: str
    inflight: int = 0
    window: int = WINDOW_SERVER
    fails: int = 0
    open: bool = False
    tries: int = 0
    probe_mono: float = 0.0

    def ready_mono(self, mono: float) -> float | None:
        """When the next message may go to it: `mono` for now, None when only an answer can change that."""
        if self.open:
            return None if self.inflight else max(self.probe_mono, mono)
        return mono if self.inflight < self.window else None

    def lost(self, mono: float, rng: Random) -> bool:
        """A message was lost. True when the breaker opens by it."""
        self.fails += 1
        self.window = max(1, self.window // 2)
        opens = not self.open and self.fails >= BREAK_AFTER
        if opens:
            self.open, self.tries, self.window = True, 0, 1
        if self.open and (opens or self.inflight <= 1):  # losses that were out when it opened are no probes
            self.probe_mono = mono + backoff(self.tries, PROBE_MAX_S, rng)
            self.tries += 1
        return opens

    def heard(self) -> bool:
        """It answered. True when the breaker closes by it."""
        closes, self.open, self.fails = self.open, False, 0
        if not closes:
            self.window = min(WINDOW_SERVER, self.window * 2)
        return closes


Entry = tuple[float, int, bytes]
"""(when it is due, a number that decides ties, key of the row); one that is not the row's newest counts for nothing."""


@dataclass(slots=True)
class Lane:
    """One zone of one target: its due rows (`removals`: those that want nothing), and whether it is held. `pending`: keys of rows
    with work to do, oldest first. `refused`: rows that were refused since the zone last took anything; `taken`: how many messages
    it took; `failures`: how many got no answer, or trouble for one, since it last took any. `held`: an operator holds the zone, ""
    for not. `turn`: the one message of the zone that may hold many names is out."""

    target: str
    zone: str
    server: Server
    heap: list[Entry] = field(default_factory=list)
    removals: list[Entry] = field(default_factory=list)
    pending: dict[bytes, None] = field(default_factory=dict)
    inflight: int = 0
    turn: bool = False
    reason: str = ""
    detail: str = ""
    until_mono: float = 0.0
    tries: int = 0
    alerted_mono: float = -1.0
    refused: set[bytes] = field(default_factory=set)
    ok_wall: float = 0.0
    taken: int = 0
    failures: int = 0
    held: str = ""

    def push(self, mono: float, serial: int, key: bytes, *, removal: bool = False) -> None:
        """A row is due at `mono`; ties go by `serial`."""
        heapq.heappush(self.removals if removal else self.heap, (mono, serial, key))

    def _line(self, mono: float) -> list[Entry]:
        """The line whose first entry is next. After an outage a new client misses its name more than anybody misses an old one's end."""
        if not self.heap or not self.removals:
            return self.heap or self.removals
        adds_first = len(self.pending) > BACKLOG and self.heap[0][0] <= mono
        return self.heap if adds_first or self.heap[0] < self.removals[0] else self.removals

    def first(self, mono: float) -> Entry | None:
        """The first entry, None when there is none."""
        line = self._line(mono)
        return line[0] if line else None

    def pop(self, mono: float) -> None:
        """Forget the first entry."""
        heapq.heappop(self._line(mono))

    def opens_mono(self, mono: float) -> float | None:
        """When the first entry may go as far as the zone is concerned, None when only an answer can change that, or without any."""
        first = self.first(mono)
        if self.held or first is None:
            return None
        if not self.reason:
            return max(first[0], mono)
        if self.inflight:
            return None
        if self.reason == "REFUSED" and len(self.refused) < SUSPECTS and first[2] not in self.refused:
            return max(first[0], mono)  # one refused row may be the row's own trouble (update-policy deny): ask with another
        return max(first[0], self.until_mono, mono)

    def hold(self, rcode: str, detail: str, key: bytes, mono: float, rng: Random) -> bool:
        """The zone answered trouble. True when the operator should hear of it (at the start and every hour)."""
        again = rcode == self.reason
        if not again:
            self.tries = 0
            self.refused.clear()
            self.alerted_mono = -1.0
        self.reason, self.detail = rcode, detail
        if rcode == "REFUSED":
            self.refused.add(key)
        if not again or mono >= self.until_mono:  # answers to what was out when it was held say nothing new
            self.until_mono = mono + (HOLD_S.get(rcode) or backoff(self.tries, SERVFAIL_MAX_S, rng))
            self.tries += 1
        loud = self.alerted_mono < 0 or mono - self.alerted_mono >= ALERT_EVERY_S
        if loud:
            self.alerted_mono = mono
        return loud

    def accepts(self, wall: float) -> bool:
        """The zone took a message. True when a hold ends by it."""
        ends = bool(self.reason)
        self.reason = self.detail = ""
        self.tries = 0
        self.refused.clear()
        self.ok_wall = wall
        self.failures = 0
        self.taken += 1
        return ends
