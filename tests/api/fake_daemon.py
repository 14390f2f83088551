"""A loop and a store that answer from memory, behind the real API: what the node would say, in the shapes of schema/api.json."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import pwd
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from failoverd.notes import CATALOGUE
from failoverd.ports import Kind, Origin, Reply
from failoverd.shell.api import start_api
from failoverd.shell.capture import CaptureRefused
from failoverd.shell.journal import Past
from failoverd.shell.listen import RunningApi
from failoverd.shell.loop import Counts

ME = pwd.getpwuid(os.getuid()).pw_name
WALL = 1795321513.25  # 2026-11-22T04:25:13Z

OFFICE = {
    "name": "office",
    "role": "secondary",
    "state": "communications-interrupted",
    "since": WALL - 842,
    "partner": "10.10.0.2:647",
    "partner_state": "normal",
    "partner_since": WALL - 180000,
    "last_heard": WALL - 845.5,
    "linked": False,
    "skew_s": 0.04,
    "unacked": 3,
    "window": 100,
    "owed": 7,
    "epoch": 17,
    "mclt_s": 3600,
    "serving": True,
    "why": "",
    "doubt_until": 0,
    "takeover_at": 0,
    "countdown_until": 0,
    "tls": None,
    "dialect": 0,
    "partner_epoch": 0,
    "differences": [],
}
LAB = {
    **OFFICE,
    "name": "lab",
    "role": "primary",
    "state": "recover-wait",
    "since": WALL - 60,
    "partner": "10.10.0.9:847",
    "partner_state": "partner-down",
    "linked": True,
    "last_heard": WALL - 1.2,
    "skew_s": None,
    "unacked": 0,
    "owed": 0,
    "epoch": 2,
    "serving": False,
    "why": "waiting until the partner's view of every lease is past",
    "doubt_until": WALL + 300,
    "countdown_until": WALL + 2520,
    "tls": {
        "until": WALL + 90000,
        "partner_until": 0,
        "problem": "",
        "refused": "partner-tls-wrong-name: expected dhcp9, it is for printer",
        "refused_at": WALL - 42,
    },
    "dialect": 2,
    "partner_epoch": 3,
    "differences": ["dhcp: lease-time: here 3600, at the partner 7200"],
}
NUMBERS = {
    "total": 1020,
    "active": 611,
    "free": 204,
    "backup": 198,
    "abandoned": 1,
    "expired": 2,
    "released": 1,
    "reset": 0,
    "offered": 3,
    "rate": {"window_s": 3600.0, "taken": 40, "returned": 30},
    "lasts": {"now": 18360.0, "interrupted": 17820.0, "partner_down": None},
}
ZONES = [
    {
        "target": "main",
        "zone": "dyn.example.test.",
        "state": "ok",
        "queue": 0,
        "oldest_s": 0,
        "last_ok": WALL - 2,
        "failures": 0,
        "detail": "",
    },
    {
        "target": "main",
        "zone": "10.10.in-addr.arpa.",
        "state": "held",
        "queue": 41,
        "oldest_s": 371.5,
        "last_ok": 0,
        "failures": 12,
        "detail": "SERVFAIL: the zone is not loaded",
    },
]
SECONDARY = {
    "target": "main",
    "zone": "dyn.example.test.",
    "slave": "10.10.0.54",
    "state": "late",
    "lag_s": 73.5,
    "serial": 6,
    "master_serial": 9,
    "detail": "73 s behind (its serial 6, the master's 9): it has fetched nothing since: NOTIFY does not reach it",
}
PLACE = {
    "target": "main",
    "zone": "dyn.example.test.",
    "server": "10.10.0.53:53",
    "master": True,
    "shows": True,
    "records": ["A 10.10.0.100"],
    "detail": "",
}
DNS = {"zones": ZONES, "secondaries": [], "rows": {"clean": 611, "add": 41}}
STATUS = {
    "server": "dhcp2",
    "version": "0.1.0",
    "wall": WALL,
    "started": WALL - 525600,
    "config_digest": "3f2a91c0d41e7755",
    "serving": True,
    "relationships": [OFFICE],
    "pools": [
        {"name": "10.10.0.0/22", "network": "10.10.0.0/22", "relationship": "office", **NUMBERS},
        {
            "name": "10.20.0.0/24",
            "network": "floor2",
            "relationship": "office",
            **NUMBERS,
            "total": 230,
            "active": 228,
            "backup": 0,
            "lasts": {"now": 0.0, "interrupted": 0.0, "partner_down": 3600.0},
        },
        {"name": "10.30.0.0/24", "network": "10.30.0.0/24", "relationship": None, **NUMBERS, "backup": 0, "lasts": None},
    ],
    "dns": DNS,
    "notes": {"partner-holds-all-free": 4},
    "warnings": [
        "office: no contact with the partner; if it is dead: failoverctl partner-down office",
        "office: pool 10.20.0.0/24 has no free address on this server",
    ],
}
TWO = {**STATUS, "relationships": [OFFICE, LAB], "serving": False}


def lease(number: int, **facts: object) -> dict[str, object]:
    """A lease of 10.10.0.0/22."""
    return {
        "address": f"10.10.{number // 256}.{number % 256}",
        "state": "active",
        "client_id": "",
        "hw": f"01:52:54:00:12:{number // 256:02x}:{number % 256:02x}",
        "hostname": "ws17",
        "fqdn": "ws17.dyn.example.test.",
        "starts": WALL - 100,
        "ends": WALL + 3500,
        "potential": WALL + 20000,
        "acked": WALL + 10000,
        "not_before": 0,
        "cltt": WALL - 100,
        "rewind": "free",
        "owed": True,
        "rejected": 0,
        "pool": "10.10.0.0/22",
        "relationship": "office",
        "flags": 0,
        **facts,
    }


LEASES = [
    lease(100),
    lease(101, state="abandoned", hw="", fqdn="", hostname=""),
    lease(102, hw="", client_id="ff:00:01", fqdn="", hostname="bad\x1b[2Jname", ends=0x7FFFFFFF),
]
SOON = {"interrupted": 5400.0, "partner_down": 86400.0}
PREVIEW = {
    "relationship": "office",
    "state": "communications-interrupted",
    "since": WALL - 842,
    "partner_state": "normal",
    "linked": False,
    "last_heard": WALL - 845.5,
    "epoch": 17,
    "new_epoch": 18,
    "now": WALL,
    "pools": [
        {"pool": "10.10.0.0/22", "partner_free": 204, "free_at": WALL + 3600, "waiting": 4, "latest": WALL + 7200, "lasts": SOON},
        {"pool": "10.20.0.0/24", "partner_free": 2, "free_at": WALL + 3600, "waiting": 0, "latest": 0, "lasts": None},
    ],
    "risk": "none if the partner is dead now; if it is only cut off and still serving, two clients may get one address.",
    "done": False,
}
DECISION = {
    "wall": WALL - 6,
    "name": "partner-holds-all-free",
    "level": "warning",
    "client": "01:52:54:00:12:34:56",
    "address": "",
    "subject": "10.20.0.0/24",
    "detail": "0 free, 2 backup",
    "text": "This server has no free address left in the pool.",
}
DOWN = {
    "wall": WALL - 842,
    "what": "normal -> communications-interrupted",
    "who": "",
    "why": "reset by the partner",
    "subject": "office",
}
UP = {
    **DOWN,
    "wall": WALL - 6,
    "what": "communications-interrupted -> partner-down",
    "who": "alice",
    "why": "psu dead, ticket 4711",
}


def past(seq: int, event: dict[str, object]) -> Past:
    """An event as the store keeps it."""
    return Past(seq, float(str(event["wall"])), Kind.EVENT, b"office", json.dumps(event), Origin.OPERATOR, "")


CLAIM = {"hw": "01:52:54:00:12:34:56", "client_id": "", "cltt": WALL - 4000, "ends": WALL - 400, "potential": WALL + 900}
CONFLICTS = {
    "losers": [
        {
            "relationship": "office",
            "address": "10.10.0.117",
            "won": "ours",
            "winner": {**CLAIM, "hw": "", "client_id": "ff:00:01", "cltt": WALL - 3000},
            "loser": CLAIM,
            "until": WALL + 7200,
            "state": "potential-conflict",
            "wall": WALL - 2000,
        }
    ],
    "rejected": [
        {
            "relationship": "office",
            "address": "10.10.0.118",
            "state": "active",
            "hw": "01:52:54:00:12:34:57",
            "client_id": "",
            "reason": 2,
            "attempts": 0,
        }
    ],
}
DEEDS = ("maintenance-start", "maintenance-end", "recover", "pool-rebalance")
BODIES: dict[str, Any] = {
    **{verb: {"consequences": [f"{verb} has this consequence", "and that"]} for verb in DEEDS},
    "conflicts": CONFLICTS,
    "backup-made": {"done": True},
    "capture-started": {"done": True},
    "capture-stopped": {"done": True},
    "status": STATUS,
    "lease-list": {"leases": LEASES, "more": False},
    "lease-get": LEASES[0],
    "ddns-status": {**DNS, "pending": [{"name": "ws17.dyn.example.test.", "type": "A", "state": "add", "detail": "SERVFAIL"}]},
    "explain": {"decisions": [DECISION]},
    "serve-force": {"done": True},
    "pair-init": {"done": True},
}


@dataclass
class FakeLoop:
    """Answers verbs from `bodies`, or with the Reply of `replies`; waits for `gate` first when it is set."""

    bodies: dict[str, Any] = field(default_factory=lambda: copy.deepcopy(BODIES))
    replies: dict[str, Reply] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str], str, str]] = field(default_factory=list)
    notes: list[tuple[str, str, str]] = field(default_factory=list)
    note_counts: Counter[str] = field(default_factory=Counter)
    counts: Counts = field(default_factory=lambda: Counts(commits=4, commit_s=0.02, longest_commit_s=0.011, writes=9))
    gate: asyncio.Event | None = None
    arrived: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))  # released by each that is asked
    finished: int = 0

    async def command(self, verb: str, args: Mapping[str, str], who: str, why: str) -> Reply:
        self.asked.append((verb, dict(args), who, why))
        self.arrived.release()
        if self.gate is not None:
            await self.gate.wait()
        self.finished += 1
        if verb in self.replies:
            return self.replies[verb]
        if verb == "partner-down":
            return Reply(0, "ok", {**PREVIEW, **self.bodies.get(verb, {}), "done": "dry_run" not in args})
        if verb in DEEDS:
            done = "dry_run" not in args
            return Reply(0, "ok", {**self.bodies[verb], "done": done}, f"{verb} is done" if done else "")
        return Reply(0, "ok", self.bodies[verb], f"{verb} is done" if verb in ("serve-force", "pair-init") else "")

    def note(self, name: str, subject: str = "", detail: str = "", address: int = 0) -> None:
        assert name in CATALOGUE
        self.note_counts[name] += 1
        self.notes.append((name, subject, detail))

    def changes(self) -> list[tuple[str, dict[str, str], str, str]]:
        """The mutating verbs that were handed over."""
        changing = ("partner-down", "serve-force", "pair-init", *DEEDS)
        return [each for each in self.asked if each[0] in changing and "dry_run" not in each[1]]


@dataclass
class FakeWatch:
    """`late`: there is a secondary that is late. A name is shown by the master at once, by the secondary the `after`-th time."""

    late: bool = False
    after: int = 1
    times: int = 0

    def rows(self) -> list[dict[str, object]]:
        return [SECONDARY] if self.late else []

    def warnings(self) -> list[str]:
        return [f"DNS: secondary 10.10.0.54 of dyn.example.test. (main): {SECONDARY['detail']}"] if self.late else []

    async def where(self, name: str) -> list[dict[str, object]]:
        self.times += 1
        if not name.endswith("example.test."):
            return []
        shows = self.times >= self.after
        slave = {"server": "10.10.0.54", "master": False, "shows": shows, "records": PLACE["records"] if shows else []}
        return [PLACE, {**PLACE, **slave}]


@dataclass
class FakeStore:
    """A backup is ten octets, the history two events."""

    error: OSError | None = None
    past: list[Past] = field(default_factory=lambda: [past(2, UP), past(1, DOWN)])

    async def backup(self, path: str) -> None:
        if self.error is not None:
            raise self.error
        await asyncio.to_thread(Path(path).write_bytes, b"0123456789")

    async def events(self, limit: int) -> list[Past]:
        return self.past[:limit]


@dataclass
class FakeCapture:
    """Records nothing."""

    running: bool = False
    refuses: str = ""

    def start(self, max_bytes: int, wall: float) -> None:
        if self.refuses:
            raise CaptureRefused(self.refuses)
        self.running, self.max_bytes = True, max_bytes

    async def stop(self) -> None:
        self.running = False

    def status(self) -> dict[str, object]:
        size = {"max_size": self.max_bytes if self.running else 0, "size": 3 << 20, "segments": 2, "steps": 7}
        return {"running": self.running, "since": WALL if self.running else 0.0, **size, "directory": "/var/x", "ended": ""}


@dataclass
class Config:
    socket: str
    operators: list[str] = field(default_factory=lambda: [ME])
    readers: list[str] = field(default_factory=lambda: ["*"])
    metrics: str = ""


class ThreadedDaemon:
    """The API on an event loop in a thread, for callers that block."""

    def __init__(self, config: Config) -> None:
        self.config, self.loop, self.store = config, FakeLoop(), FakeStore()
        self._events = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._events.run_forever)
        self._thread.start()
        self.watch = FakeWatch()
        self.capture = FakeCapture()
        self._api: RunningApi = self._run(start_api(config, self.loop, self.store, self.watch, capture=self.capture))

    def _run(self, doing: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(doing, self._events).result(10)

    def stop(self) -> None:
        self._run(self._api.stop())
        self._events.call_soon_threadsafe(self._events.stop)
        self._thread.join(10)
        self._events.close()
