"""In what the configurations of two servers differ: digests first, then sections, then the settings of the sections that differ.

Both servers say the same at the same time and compare by themselves, so there is no request. Knows no link: what is to be said is
handed out, what was heard is handed in (frames 1 and 2 of private.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping

from failoverd.failover.private import Frame, FrameKind, frames

SECTION_OCTETS = 8
MOST_SETTINGS = 4000  # of all sections that differ
SHOWN = 100  # differences
LONGEST_VALUE = 200  # characters of a setting
LONGEST_NAME = 120  # characters of a section or key

Sections = Mapping[str, Mapping[str, str]]


class Parity:
    """One comparison, begun with each link. `differences`: what is known; `complete`: whether that is all there is to know."""

    def __init__(self, ours: bytes, theirs: bytes | None) -> None:
        """Form and digest of both; None when the partner said none."""
        self.known = theirs is not None
        self.equal = ours == theirs
        self.differences: tuple[str, ...] = ()
        self.complete = self.equal
        self._other_form = theirs is not None and theirs[:1] != ours[:1]
        self._sections: Sections = {}
        self._theirs: dict[str, bytes] = {}
        self._settings: dict[tuple[str, str], str] = {}
        self._differing: list[str] = []
        self._next: dict[FrameKind, int] = dict.fromkeys(FrameKind, 0)
        if self._other_form:
            self.differences, self.complete = ("another version of failoverd describes its configuration in another form",), True

    @property
    def wanted(self) -> bool:
        """Whether the sections are to be told and compared."""
        return self.known and not self.complete

    def begin(self, sections: Sections) -> Iterator[bytes]:
        """Our sections: what is to be said."""
        self._sections = sections
        return frames(FrameKind.SECTIONS, ((_field(name, LONGEST_NAME), _short(sections[name])) for name in sorted(sections)))

    def takes(self, frame: Frame) -> bool:
        """Whether it is this frame's turn."""
        return not self.complete and frame.part == self._next[frame.kind]

    def heard(self, frame: Frame) -> Iterable[bytes]:
        """One frame of the partner's; what is to be said to it. A part out of turn is dropped: its comparison then stays incomplete."""
        if not self.takes(frame):
            return ()
        self._next[frame.kind] += 1
        last = frame.part + 1 == frame.parts
        if frame.kind is FrameKind.SECTIONS:
            self._theirs.update((_text(name), digest) for name, digest in frame.items)
            return self._compare_sections() if last else ()
        self._settings.update(((_text(section), _text(key)), _text(value)) for section, key, value in frame.items)
        if last:
            self._compare_settings()
        return ()

    def _compare_sections(self) -> Iterable[bytes]:
        ours = {_text(_field(name, LONGEST_NAME)): name for name in self._sections}
        only_ours, only_theirs = sorted(set(ours) - set(self._theirs)), sorted(set(self._theirs) - set(ours))
        self.differences = tuple(
            [f"{name}: only here" for name in only_ours] + [f"{name}: only at the partner" for name in only_theirs]
        )
        both = set(ours) & set(self._theirs)
        self._differing = sorted(name for name in both if _short(self._sections[ours[name]]) != self._theirs[name])
        rows = (
            (_field(name, LONGEST_NAME), _field(key, LONGEST_NAME), _field(value, LONGEST_VALUE))
            for name, key, value in self._rows(ours)
        )
        return frames(FrameKind.SETTINGS, rows)

    def _rows(self, ours: Mapping[str, str]) -> list[tuple[str, str, str]]:
        rows = [(name, key, value) for name in self._differing for key, value in sorted(self._sections[ours[name]].items())]
        return rows[:MOST_SETTINGS]

    def _compare_settings(self) -> None:
        """Beyond the last setting that either side could tell nothing is known."""
        names = {_text(_field(name, LONGEST_NAME)): name for name in self._sections}
        rows = self._rows(names)
        ours = {(name, _text(_field(key, LONGEST_NAME))): _text(_field(value, LONGEST_VALUE)) for name, key, value in rows}
        theirs = self._settings
        cut = [max(each) for each in (ours, theirs) if len(each) >= MOST_SETTINGS]
        found = list(self.differences)
        for place in sorted(set(ours) | set(theirs)):
            if cut and place > min(cut):
                found.append("and more beyond what is compared")
                break
            here, there = ours.get(place, "-"), theirs.get(place, "-")
            if here != there:
                found.append(f"{place[0]}: {place[1]}: here {here}, at the partner {there}")
        more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        self.differences, self.complete = tuple(found[:SHOWN] + more), True
        self._sections, self._theirs, self._settings = {}, {}, {}


def _short(settings: Mapping[str, str]) -> bytes:
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()[:SECTION_OCTETS]


def _field(text: str, most: int) -> bytes:
    """At most `most` octets of a text: configuration values are printable, names may not be ASCII."""
    return text.encode()[:most]


def _text(data: bytes) -> str:
    """As received; what is not printable is shown as escapes, so that a partner cannot steer a terminal."""
    decoded = data.decode("utf-8", "backslashreplace")
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in decoded)
