"""Propagation: whether what a master took is what its secondaries show, and since when not.

The answer to an UPDATE has no serial, and under inline-signing the SOA asked right after NOERROR is still the old one (ddns.md 5). So
a changed record is proven on the master first, then the serial is taken (a mark), and each secondary is asked for its serial until it
has reached the mark. Decides only what to ask, when, and what the answers mean; times are monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from failoverd.notes import Note, declare
from failoverd.ports import DnsUpdate, Now

EVERY_S = 2.0  # at most one SOA query a secondary, and one proof a zone, in this time
PROOFS = 15  # then the serial is taken without the proof
MARKS = 32
DISCOVER_S = 3600.0

BEHIND = declare(
    "ddns-secondary-behind",
    "warning",
    "A secondary has not shown a change for longer than lag-warn. The detail says both serials and the likely cause.",
)
LEVEL = declare("ddns-secondary-level", "info", "A secondary that was behind has caught up with its master.")
NOT_SHOWN = declare(
    "ddns-not-shown",
    "warning",
    "The master took a change and still does not show it: a signer beside it hangs (DNSSEC inline-signing), or somebody else has "
    "changed the name meanwhile. The serial is watched without the proof.",
    limited=True,
)

Endpoint = tuple[str, int]
ZoneKey = tuple[str, str]  # target, name


@dataclass(slots=True, frozen=True)
class WatchedZone:
    """One zone of one target. `watch`: its secondaries; empty: those of the NS records that are not the MNAME. `key_file`: the key that
    they are asked with, "" for none."""

    target: str
    name: str
    watch: tuple[Endpoint, ...] = ()
    key_file: str = ""
    allow_weak: bool = False


@dataclass(slots=True, frozen=True)
class WatchPlan:
    """All zones, and how late a secondary may be before it is said."""

    zones: tuple[WatchedZone, ...]
    lag_warn_s: float = 60.0


class Proof(NamedTuple):
    """What the master must show at a name: `there`, a record of this type and text; else none of it (`text` "": of the type)."""

    name: str
    rtype: str
    text: str
    there: bool

    def holds(self, records: tuple[tuple[str, str], ...]) -> bool:
        """Whether (type, text) records at the name are as they must be."""
        found = any(rtype == self.rtype and self.text.lower() in ("", text.lower()) for rtype, text in records)
        return found == self.there


class AskMaster(NamedTuple):
    """Prove the last change (None: no proof), then take the serial. `discover`: look for the secondaries as well."""

    key: ZoneKey
    proof: Proof | None
    discover: bool


class AskSecondary(NamedTuple):
    """Take the serial of a zone there."""

    key: ZoneKey
    at: Endpoint


class Mark(NamedTuple):
    """A serial that a secondary must reach, and when the oldest change up to it was made."""

    serial: int
    since: float


def behind(serial: int, wanted: int) -> bool:
    """RFC 1982 3.2: `serial` is less than `wanted`. Exactly 2^31 apart is undefined there; here it is behind, so that it is said."""
    return serial != wanted and (wanted - serial) & 0xFFFFFFFF <= 0x80000000


def proof_of(update: DnsUpdate) -> Proof | None:
    """What to look for after a message was applied: its last address or pointer, else its last removal."""
    for change in reversed(update.changes):
        if change.op == "add" and change.rtype in ("A", "AAAA", "PTR"):
            return Proof(change.name, change.rtype, change.value, True)
    for change in reversed(update.changes):
        if change.op != "add":
            return Proof(change.name, change.rtype or "A", change.value if change.op == "del-rr" else "", False)
    return None


@dataclass(slots=True)
class Seen:
    """What one secondary says of one zone. `moved`: its serial has changed since it fell behind."""

    serial: int | None = None
    trouble: str = ""
    heard: float = -1.0
    moved: bool = False
    warned: bool = False


@dataclass(slots=True)
class Zone:
    """`since`: the oldest change without a mark; `proof`: the newest of them; `asking`: both, while the master is asked."""

    fixed: bool
    slaves: dict[Endpoint, Seen]
    since: float | None = None
    proof: Proof | None = None
    asking: tuple[float, Proof | None] | None = None
    next_at: float = 0.0
    tries: int = 0
    serial: int | None = None
    marks: list[Mark] = field(default_factory=list)
    discovered: float | None = None

    def unreached(self, seen: Seen) -> Mark | None:
        """The oldest mark that a secondary has not reached."""
        return next((mark for mark in self.marks if seen.serial is None or behind(seen.serial, mark.serial)), None)


class Propagation:
    """Fed with what was applied and answered; `due` gives the questions, `status` the lags."""

    def __init__(self, plan: WatchPlan) -> None:
        self._warn_s = plan.lag_warn_s
        self._zones = {
            (zone.target, zone.name): Zone(bool(zone.watch), {at: Seen() for at in dict.fromkeys(zone.watch)})
            for zone in plan.zones
        }
        self._next: dict[Endpoint, float] = {}  # when each secondary may be asked again
        self._out: set[Endpoint] = set()
        self._last: dict[Endpoint, ZoneKey] = {}  # the zones of one secondary take turns

    def slaves(self, key: ZoneKey) -> tuple[Endpoint, ...]:
        """The secondaries that are watched for a zone."""
        return tuple(self._zones[key].slaves)

    # --- what happened ------------------------------------------------------------------------------------------------

    def applied(self, update: DnsUpdate, mono: float) -> None:
        """The master took a message."""
        zone = self._zones.get((update.target, update.zone))
        if zone is not None:
            zone.since = mono if zone.since is None else zone.since
            proof = proof_of(update)
            if proof != zone.proof:
                zone.proof, zone.tries = proof, 0

    def proven(self, ask: AskMaster, shown: bool, serial: int | None, now: Now) -> list[Note]:
        """The master's answer. `serial` None: none came, it is asked again."""
        zone = self._zones[ask.key]
        assert zone.asking is not None
        since, proof = zone.asking
        zone.asking, zone.next_at = None, now.mono + EVERY_S
        if shown and serial is not None:
            zone.serial, zone.tries = serial, 0
            zone.marks.append(Mark(serial, since))
            if len(zone.marks) > MARKS:
                last, before = zone.marks.pop(), zone.marks.pop()
                zone.marks.append(Mark(last.serial, before.since))
            return self._reached(ask.key, now)
        zone.since = since
        zone.proof = zone.proof or proof
        zone.tries += not shown
        if zone.tries < PROOFS or zone.proof is None:
            return []
        subject, zone.proof, zone.tries = zone.proof.name, None, 0
        return [Note(NOT_SHOWN, now.wall, subject=subject, detail=f"{ask.key[1]} of {ask.key[0]}")]

    def discovered(self, key: ZoneKey, slaves: tuple[Endpoint, ...], now: Now) -> None:
        """The addresses of the NS records without the MNAME."""
        zone = self._zones[key]
        zone.discovered = now.mono
        zone.slaves = {at: zone.slaves.get(at) or Seen() for at in slaves}

    def said(self, ask: AskSecondary, serial: int | None, trouble: str, now: Now) -> list[Note]:
        """A secondary's answer: its serial, or None and why not."""
        self._out.discard(ask.at)
        seen = self._zones[ask.key].slaves.get(ask.at)
        if seen is None:
            return []
        seen.trouble = trouble
        if serial is not None:
            seen.moved = seen.moved or (seen.serial is not None and serial != seen.serial)
            seen.serial, seen.heard = serial, now.mono
        return self._reached(ask.key, now)

    def _reached(self, key: ZoneKey, now: Now) -> list[Note]:
        """Forget the marks that all have reached; say who has become late, and who no longer is."""
        zone = self._zones[key]
        zone.marks = [
            mark for mark in zone.marks if any(s.serial is None or behind(s.serial, mark.serial) for s in zone.slaves.values())
        ]
        notes = []
        for at, seen in zone.slaves.items():
            mark = zone.unreached(seen)
            late = mark is not None and now.mono - mark.since > self._warn_s
            if late and not seen.warned:
                detail = f"{write(at)}, {self._behind(zone, seen, now.mono)}"
                notes.append(Note(BEHIND, now.wall, subject=key[1], detail=detail))
            elif mark is None and seen.warned:
                notes.append(Note(LEVEL, now.wall, subject=key[1], detail=f"{write(at)}, serial {seen.serial}"))
            seen.warned = late or (seen.warned and mark is not None)
            if mark is None:
                seen.moved = False
        return notes

    # --- questions ----------------------------------------------------------------------------------------------------

    def due(self, mono: float) -> list[AskMaster | AskSecondary]:
        """The questions to ask now; each is answered by `proven` or `said`."""
        asks: list[AskMaster | AskSecondary] = []
        for key, zone in self._zones.items():
            if zone.since is not None and zone.asking is None and zone.next_at <= mono:
                stale = zone.discovered is None or mono - zone.discovered >= DISCOVER_S
                asks.append(AskMaster(key, zone.proof, not zone.fixed and stale))
                zone.asking, zone.since, zone.proof = (zone.since, zone.proof), None, None
        for at, keys in self._wanting().items():
            if self._next.get(at, 0.0) <= mono:
                last = self._last.get(at)
                key = next((key for key in keys if last is None or key > last), keys[0])
                self._out.add(at)
                self._next[at], self._last[at] = mono + EVERY_S, key
                asks.append(AskSecondary(key, at))
        return asks

    def _wanting(self) -> dict[Endpoint, list[ZoneKey]]:
        """The secondaries that are behind and have no question out, each with the zones that it is behind in, in order."""
        found: dict[Endpoint, list[ZoneKey]] = {}
        for key in sorted(self._zones):
            zone = self._zones[key]
            for at, seen in zone.slaves.items():
                if zone.marks and at not in self._out and zone.unreached(seen) is not None:
                    found.setdefault(at, []).append(key)
        return found

    def deadline(self) -> float:
        """When `due` has a question, infinity for none."""
        times = [zone.next_at for zone in self._zones.values() if zone.since is not None and zone.asking is None]
        times += [self._next.get(at, 0.0) for at in self._wanting()]
        return min(times, default=float("inf"))

    # --- what it says -------------------------------------------------------------------------------------------------

    def status(self, mono: float) -> list[dict[str, object]]:
        """One record for each secondary of each zone. `lag_s`: age of the oldest change that it does not show, 0 for none;
        serials None while unknown."""
        rows: list[dict[str, object]] = []
        for (target, name), zone in self._zones.items():
            for at, seen in zone.slaves.items():
                mark = zone.unreached(seen)
                lag_s = max(0.0, mono - mark.since) if mark else 0.0
                state = "ok" if mark is None else "late" if lag_s > self._warn_s else "behind"
                rows.append(
                    {
                        "target": target,
                        "zone": name,
                        "slave": write(at),
                        "state": "unknown" if zone.serial is None else state,
                        "lag_s": round(lag_s, 3),
                        "serial": seen.serial,
                        "master_serial": zone.serial,
                        "detail": self._behind(zone, seen, mono) if state == "late" else seen.trouble if mark else "",
                    }
                )
        return rows

    def warnings(self, mono: float) -> list[str]:
        """A sentence for each secondary that is later than it may be."""
        return [
            f"DNS: secondary {write(at)} of {name} ({target}): {self._behind(zone, seen, mono)}"
            for (target, name), zone in self._zones.items()
            for at, seen in zone.slaves.items()
            if (mark := zone.unreached(seen)) is not None and mono - mark.since > self._warn_s
        ]

    @staticmethod
    def _behind(zone: Zone, seen: Seen, mono: float) -> str:
        """How far, and the likely cause."""
        mark = zone.unreached(seen)
        assert mark is not None
        has = "unknown" if seen.serial is None else str(seen.serial)
        age = f", heard {mono - seen.heard:.0f} s ago" if seen.heard >= 0 else ""
        return f"{mono - mark.since:.0f} s behind (its serial {has}, the master's {zone.serial}{age}): {cause(zone.serial, seen)}"


def cause(master: int | None, seen: Seen) -> str:
    """What it most likely is, from what the secondary says."""
    if seen.trouble:
        return f"{seen.trouble}; is named running there, and may this server ask it?"
    if seen.serial is not None and master is not None and (master - seen.serial) & 0xFFFFFFFF == 0x80000000:
        return "the serials are 2^31 apart, which has no order (RFC 1982): the secondary will never transfer; rndc retransfer there"
    if seen.moved:
        return "it transfers, but slowly: notify-delay on the master, or too many zones for transfers-in"
    return (
        "it has fetched nothing since: NOTIFY does not reach it (also-notify on the master, allow-notify there), or its transfers "
        "are refused (allow-transfer, the TSIG key of transfers)"
    )


def write(at: Endpoint) -> str:
    """ "address", with ":port" when it is not 53."""
    return at[0] if at[1] == 53 else f"{at[0]}:{at[1]}"
