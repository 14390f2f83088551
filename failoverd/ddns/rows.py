"""The row: what DNS should say at one owner name, what we know it says, and what it might say.

A state cannot be reordered, replayed or go stale as a queue of events can. Values are type-neutral (rtype and text), so a row
for AAAA or ip6.arpa is the same row. Times are UTC seconds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, NamedTuple


class State(StrEnum):
    """`clean`: the zone says what we want. `dirty`: work to do. `inflight`: a message is out. `conflict`: the name is another's.
    `blocked`: a CNAME is in the way. `held`: waits for its forward name, or the master refuses this one name, or no zone is
    configured. `dead`: the master calls our message wrong."""

    CLEAN = "clean"
    DIRTY = "dirty"
    INFLIGHT = "inflight"
    CONFLICT = "conflict"
    BLOCKED = "blocked"
    HELD = "held"
    DEAD = "dead"


FORWARD = "fwd"
REVERSE = "rev"
ME = "me"
PEER = "peer"


class Value(NamedTuple):
    """One record of ours: type (A, AAAA, PTR), text of its data, TTL in seconds."""

    rtype: str
    text: str
    ttl: int = 0

    @property
    def rr(self) -> tuple[str, str]:
        """What identifies the record: a TTL does not (RFC 2136 1.1.1)."""
        return self.rtype, self.text


class Ghost(NamedTuple):
    """A record that a lost message of ours may still put there until `until` (UTC seconds), under DHCID `guard`, although the name
    has passed on meanwhile."""

    guard: str
    rtype: str
    text: str
    until: float


@dataclass(slots=True)
class Row:
    """One owner name of one target.

    `want`        what the zone should say; empty: nothing of ours
    `guard`       DHCID (base64) that `want` goes under; "" for a reverse row
    `have`        last state confirmed by a verified answer
    `maybe`       values in messages that may have been applied, written before the message leaves (safety.md 24)
    `held_guard`  DHCID that `have` and `maybe` stand under; it differs from `guard` while a name passes to another client
    `gen`         counts changes of `want`; `done_gen`: the one that the zone shows
    `next_at`     when it is tried next; `dirty_since`: oldest change not yet in the zone, 0 for none
    `recheck_at`  a lost message of ours may be applied until its signature is too old: say it again then; 0 for no doubt
    `lodger`      DHCID of the client's DHCPv6 entry (or of a predecessor's, with an AAAA) that our address stands beside; "": our own
    `wish`        the name that the client asked for, when this row is the one that it got instead (on-conflict = "suffix"); else ""
    `ghosts`      the same as `recheck_at` for records that are no longer in `maybe`, because the name went to another client
    """

    target: str
    kind: str
    name: str
    zone: str
    want: tuple[Value, ...] = ()
    guard: str = ""
    have: tuple[Value, ...] = ()
    maybe: tuple[Value, ...] = ()
    held_guard: str = ""
    gen: int = 0
    done_gen: int = 0
    state: State = State.CLEAN
    owner: str = ME
    attempts: int = 0
    next_at: float = 0.0
    dirty_since: float = 0.0
    recheck_at: float = 0.0
    last_rcode: str = ""
    last_error: str = ""
    server: str = ""
    lodger: str = ""
    wish: str = ""

    ghosts: tuple[Ghost, ...] = ()

    # not stored
    chase: str = field(default="", compare=False)  # DHCID of a ghost that is in our way now
    due_mono: float = field(default=-1.0, compare=False)
    twin: bytes = field(default=b"", compare=False)  # key of the row of the name that its client has now, or had before

    @property
    def key(self) -> bytes:
        """The store's key, and the planner's."""
        return row_key(self.target, self.kind, self.name)

    @property
    def seal(self) -> str:
        """The DHCID that `want` is to stand under."""
        return self.lodger or self.guard

    def drop(self) -> tuple[Value, ...]:
        """Values that are or may be in the zone and are not wanted."""
        keep = {v.rr for v in self.want} if self.seal == self.held_guard or self.kind == REVERSE else set()
        seen: dict[tuple[str, str], Value] = {}
        for value in (*self.have, *self.maybe):
            if value.rr not in keep:
                seen.setdefault(value.rr, value)
        return tuple(seen.values())

    def known(self) -> tuple[Value, ...]:
        """What is or may be in the zone."""
        return (*self.have, *(v for v in self.maybe if not self.shows(*v.rr)))

    def shows(self, rtype: str, text: str) -> bool:
        """Whether a verified answer says that the zone holds this record."""
        return any(v.rr == (rtype, text) for v in self.have)

    def to_json(self) -> str:
        """The journal record; fields at their default are left out."""
        out: dict[str, object] = {"target": self.target, "kind": self.kind, "name": self.name, "zone": self.zone}
        for name in _VALUES:
            values = getattr(self, name)
            if values:
                out[name] = [list(v) for v in values]
        if self.ghosts:
            out["ghosts"] = [list(g) for g in self.ghosts]
        for name, default in _PLAIN.items():
            value = getattr(self, name)
            if value != default:
                out[name] = value
        return json.dumps(out, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Row:
        """The row of a journal record. Unknown keys are an error: a newer version wrote them."""
        raw: dict[str, Any] = json.loads(text)
        row = cls(raw.pop("target"), raw.pop("kind"), raw.pop("name"), raw.pop("zone"))
        for name, value in raw.items():
            if name in _VALUES:
                setattr(row, name, tuple(Value(str(r), str(t), int(ttl)) for r, t, ttl in value))
            elif name == "ghosts":
                row.ghosts = tuple(Ghost(str(g), str(r), str(t), float(until)) for g, r, t, until in value)
            elif name == "state":
                row.state = State(value)
            elif name in _PLAIN:
                setattr(row, name, value)
            else:
                raise ValueError(f"unknown ddns row field {name!r}")
        return row


_VALUES = ("want", "have", "maybe")
_PLAIN: dict[str, object] = {
    f.name: f.default
    for f in fields(Row)
    if f.name not in {"target", "kind", "name", "zone", "due_mono", "ghosts", "chase", "twin", *_VALUES}
}


def row_key(target: str, kind: str, name: str) -> bytes:
    """target, kind and name, separated by NUL (none of them holds one)."""
    return f"{target}\0{kind}\0{name}".encode()
