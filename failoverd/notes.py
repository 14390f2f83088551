"""The catalogue of every Note: its name, its level and one paragraph for the operator.

Every drop, refusal and silence has a named reason. A Note is counted, kept in a ring for `failoverctl explain`, and logged at its
level. A name that is not in the catalogue is a programming error. The docs are made from this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Entry(NamedTuple):
    """Level: debug, info, warning or error. `limited`: logged at a limited rate, because a client can cause it at will."""

    level: str
    text: str
    limited: bool = False


CATALOGUE: dict[str, Entry] = {}


def declare(name: str, level: str, text: str, *, limited: bool = False) -> str:
    """Put one note into the catalogue and return its name."""
    if name in CATALOGUE:
        raise AssertionError(f"note {name} declared twice")
    CATALOGUE[name] = Entry(level, text, limited)
    return name


@dataclass(slots=True)
class Note:
    """One thing that happened. `client`: hardware address or client-id; `address`: an IPv4 address as an integer, 0 for none;
    `subject`: a relationship, a name, a zone or an interface; `detail`: the rest in words."""

    name: str
    wall: float
    client: bytes = b""
    address: int = 0
    subject: str = ""
    detail: str = ""
