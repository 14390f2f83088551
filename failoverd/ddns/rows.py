"""The row: what DNS should say at one owner name, what we know it says, and what it might say.

A state cannot be reordered, replayed or go stale as a queue of events can. Values are type-neutral (rtype and text), so a row
for AAAA or ip6.arpa is the same row. Times are UTC seconds.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import lru_cache
from json.encoder import encode_basestring_ascii as _quoted
from operator import attrgetter
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
    `word`        what the partner says of a row of its own (word.py): "done", "open", "removed"; "" when it says nothing
    `ghosts`      the same as `recheck_at` for records that are no longer in `maybe`, because the name went to another client
    `key`         the store's key, and the planner's; target, kind and name never change
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
    word: str = ""

    ghosts: tuple[Ghost, ...] = ()

    # not stored
    chase: str = field(default="", compare=False)  # DHCID of a ghost that is in our way now
    due_mono: float = field(default=-1.0, compare=False)
    again: tuple[float, ...] = field(default=(), compare=False)  # monotonic times to say it again at, soon (Shelf.doubt)
    twin: bytes = field(default=b"", compare=False)  # key of the row of the name that its client has now, or had before
    key: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.key = row_key(self.target, self.kind, self.name)

    @property
    def seal(self) -> str:
        """The DHCID that `want` is to stand under."""
        return self.lodger or self.guard

    @property
    def holder(self) -> str:
        """The DHCID that has the name now: the one that is wanted, else the one that what is left stands under."""
        return self.guard if self.want else self.held_guard if self.have or self.maybe else ""

    def drop(self) -> tuple[Value, ...]:
        """Values that are or may be in the zone and are not wanted."""
        if not self.have and not self.maybe:
            return ()
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
        """The journal record; fields at their default are left out. Put together by hand because a backlog writes each row twice:
        three times as fast as json.dumps, and the same text."""
        head = (
            f'"target":{_quoted(self.target)},"kind":{_quoted(self.kind)},"name":{_quoted(self.name)},"zone":{_quoted(self.zone)}'
        )
        out = ["{" + head]
        if self.want:
            out.append(f'"want":{_values(self.want)}')
        if self.have:
            out.append(f'"have":{_values(self.have)}')
        if self.maybe:
            out.append(f'"maybe":{_values(self.maybe)}')
        if self.ghosts:
            out.append(f'"ghosts":{_listed(self.ghosts)}')
        for name, value, default in zip(_NAMES, _plain(self), _DEFAULTS, strict=True):
            if value != default:
                out.append(name + (_quoted(value) if isinstance(value, str) else repr(value)))  # repr: integers, finite floats
        return ",".join(out) + "}"

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
    if f.name not in {"target", "kind", "name", "zone", "due_mono", "again", "ghosts", "chase", "twin", "key", *_VALUES}
}
_DEFAULTS = tuple(_PLAIN.values())
_NAMES = tuple(f'"{name}":' for name in _PLAIN)
_plain = attrgetter(*_PLAIN)
_listed = json.JSONEncoder(separators=(",", ":")).encode


@lru_cache(maxsize=1024)
def _values(values: tuple[Value, ...]) -> str:
    """Their JSON. The same values are wanted, sent and had within moments."""
    return "[" + ",".join(f"[{_quoted(v.rtype)},{_quoted(v.text)},{v.ttl}]" for v in values) + "]"


def row_key(target: str, kind: str, name: str) -> bytes:
    """target, kind and name, separated by NUL (none of them holds one)."""
    return f"{target}\0{kind}\0{name}".encode()
