"""What two failoverd tell each other beside dhcpd's protocol: private options of the failover messages, and one frame.

Said and believed on an authenticated link only, and only what both offered in the handshake (safety.md 26; dialect.py). dhcpd skips
every code above 29 unseen (failover-protocol.md 1.3); 30 to 41 are used by others. There is no message type of our own: a dhcpd would
drop the link for it (1.2), so the frame is an option of a CONTACT, which means nothing else. Integers are unsigned, big-endian.

    224 names       BNDUPD: the names of the lease and what of them is in DNS; BNDACK: what of them this server knows to be there
    225 dialect     CONNECT, CONNECTACK: 1 octet oldest version, 1 octet newest; more octets are ignored
    226 database    CONNECT, CONNECTACK: of the sender: uuid (16), id of this run (16), generation when it began (8), generation now (8)
    227 known       CONNECT, CONNECTACK: what the sender has heard of the receiver's: uuid (16), run (16), generation (8); absent: nothing
    228 epoch       CONNECT, CONNECTACK, and from dialect 3 STATE: 4 octets (safety.md 17)
    229 digest      CONNECT, CONNECTACK: 1 octet form, 32 octets SHA-256 of the shared configuration (config_digest.py)
    230 generation  BNDUPD, BNDACK, CONTACT: 8 octets, the generation of the sender's database, committed (safety.md 15)
    231 frame       CONTACT: version (1 octet, 1), kind (1), number of this part (2, from 0), parts in all (2), then its items
    232 standing    CONNECT, CONNECTACK: server state (1 octet, of option 24), epoch that both agreed on last (4; absent: on none)

An option or frame of another version or kind, or that is malformed, counts as absent and is noted.

Names (224), the data:

    version     1 octet, 1
    flags       1 octet: the bits below; others are 0, and ignored on receipt
    wish        what the client asked for
    shown       the name that it has in DNS; root: the same as `wish`
    pointer     owner name of its PTR; root: the plain one of the address

in wire form: uncompressed lower-case labels and the root octet, root alone for none. The DHCID needs no bytes, it follows from client
and name.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

from failoverd.failover.message import Message

NAMES, DIALECT, DATABASE, KNOWN, EPOCH, DIGEST, GENERATION, FRAME, STANDING = range(224, 233)
VERSION = 1
FRAME_VERSION = 1
FRAME_ROOM = 1400  # octets of items in one frame
MOST_PARTS = 4096
LONGEST_ITEM = 255
LONGEST_NAME = 255  # octets (RFC 1035 2.3.4)
LONGEST_LABEL = 63

_FORWARD_DONE, _REVERSE_DONE, _NO_FORWARD, _NO_REVERSE = 1, 2, 4, 8


class LeaseNames(NamedTuple):
    """The names of one lease. Absolute, lower case, trailing dot; "" for none. `forward_done`, `reverse_done`: the master has confirmed
    what the sender wants. `no_forward`, `no_reverse`: not ours to register."""

    wish: str = ""
    shown: str = ""
    pointer: str = ""
    forward_done: bool = False
    reverse_done: bool = False
    no_forward: bool = False
    no_reverse: bool = False


def encode_names(names: LeaseNames) -> bytes:
    """The data of the option. The names must be such as can stand in a zone: ASCII, labels of at most 63 octets, 255 in all."""
    bits = (
        (_FORWARD_DONE, names.forward_done),
        (_REVERSE_DONE, names.reverse_done),
        (_NO_FORWARD, names.no_forward),
        (_NO_REVERSE, names.no_reverse),
    )
    shown = "" if names.shown == names.wish else names.shown
    flags = sum(bit for bit, is_set in bits if is_set)
    return bytes((VERSION, flags)) + _wire(names.wish) + _wire(shown) + _wire(names.pointer)


def decode_names(data: bytes) -> LeaseNames | None:
    """What the partner says of a lease's names; None when it is malformed or of another version: then nothing is known of them."""
    if len(data) < 2 or data[0] != VERSION:
        return None
    flags, at = data[1], 2
    found: list[str] = []
    for _ in range(3):
        name = _name(data, at)
        if name is None:
            return None
        text, at = name
        found.append(text)
    if at != len(data):
        return None
    wish, shown, pointer = found
    done = bool(flags & _FORWARD_DONE), bool(flags & _REVERSE_DONE)
    return LeaseNames(wish, shown or wish, pointer, *done, bool(flags & _NO_FORWARD), bool(flags & _NO_REVERSE))


def _wire(name: str) -> bytes:
    labels = [label.encode("ascii") for label in name.rstrip(".").split(".") if label]
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def _name(data: bytes, at: int) -> tuple[str, int] | None:
    """The name that begins at `at` and where it ends."""
    start, labels = at, []
    while at < len(data) and data[at]:
        length = data[at]
        label = data[at + 1 : at + 1 + length]
        if length > LONGEST_LABEL or len(label) < length or any(not 0x21 <= octet <= 0x7E or octet == 0x2E for octet in label):
            return None
        labels.append(label.decode("ascii").lower())
        at += 1 + length
    if at >= len(data) or at + 1 - start > LONGEST_NAME:
        return None
    return "".join(f"{label}." for label in labels), at + 1


# --- options ----------------------------------------------------------------------------------------------------------

_DATABASE, _KNOWN, _U64, _U32 = struct.Struct("!16s16sQQ"), struct.Struct("!16s16sQ"), struct.Struct("!Q"), struct.Struct("!I")
_FRAME = struct.Struct("!BBHH")
NEWEST_EPOCH = 0xFFFFFFFF


class Database(NamedTuple):
    """A database and how far it has come. `run`: a new id each time it is opened; `began`: its generation then."""

    uuid: bytes
    run: bytes
    began: int
    generation: int


class Known(NamedTuple):
    """What was heard last of the partner's database."""

    uuid: bytes
    run: bytes
    generation: int


def option(message: Message, code: int) -> bytes | None:
    """The data of a private option, None when absent; of several the first."""
    for at, data in message.options:
        if at == code:
            return data
    return None


def encode_dialect(oldest: int, newest: int) -> bytes:
    """Option 225."""
    return bytes((oldest, newest))


def decode_dialect(data: bytes) -> tuple[int, int] | None:
    """(oldest, newest); None when malformed."""
    return (data[0], data[1]) if len(data) >= 2 and data[0] <= data[1] else None


def encode_database(database: Database) -> bytes:
    """Option 226."""
    return _DATABASE.pack(*database)


def decode_database(data: bytes) -> Database | None:
    """None when malformed."""
    return Database(*_DATABASE.unpack(data)) if len(data) == _DATABASE.size else None


def encode_known(known: Known) -> bytes:
    """Option 227."""
    return _KNOWN.pack(*known)


def decode_known(data: bytes) -> Known | None:
    """None when malformed."""
    return Known(*_KNOWN.unpack(data)) if len(data) == _KNOWN.size else None


def encode_generation(generation: int) -> bytes:
    """Option 230."""
    return _U64.pack(generation)


def decode_generation(data: bytes) -> int | None:
    """None when malformed."""
    return int.from_bytes(data, "big") if len(data) == _U64.size else None


def encode_epoch(epoch: int) -> bytes:
    """Option 228."""
    return _U32.pack(epoch)


def decode_epoch(data: bytes) -> int | None:
    """None when malformed."""
    return int.from_bytes(data, "big") if len(data) == _U32.size else None


class Standing(NamedTuple):
    """Where a server stands. `state`: a number of option 24; `agreed`: the epoch that both agreed on last, None for none."""

    state: int
    agreed: int | None


def encode_standing(standing: Standing) -> bytes:
    """Option 232."""
    return bytes((standing.state,)) + (b"" if standing.agreed is None else _U32.pack(standing.agreed))


def decode_standing(data: bytes) -> Standing | None:
    """None when malformed."""
    if len(data) not in (1, 1 + _U32.size):
        return None
    return Standing(data[0], int.from_bytes(data[1:], "big") if len(data) > 1 else None)


# --- the frame --------------------------------------------------------------------------------------------------------


class FrameKind(IntEnum):
    """What the items of a frame are."""

    SECTIONS = 1  # (section, digest) of the shared configuration
    SETTINGS = 2  # (section, key, value) of the sections that differ
    DONE = 3  # (address, flags): what of a lease's names is in DNS by now
    PINGS = 4  # (address, 1 octet: 1 answered or 0 silent, 8 octets: when, UTC seconds of the sender's clock)
    RESERVED = (
        5  # (address, key of its client: 0 and hardware type and address, or 1 and client-id): all reservations, or an empty one
    )


class Ping(NamedTuple):
    """What became of a ping: `heard` an answer, at a time in UTC seconds."""

    address: int
    heard: bool
    wall: int


def encode_ping(ping: Ping) -> tuple[bytes, bytes]:
    """A row of PINGS; its time is by the sender's clock."""
    return ping.address.to_bytes(4, "big"), bytes((ping.heard,)) + _U64.pack(ping.wall)


def decode_ping(row: Sequence[bytes]) -> Ping | None:
    """A row of PINGS, its time as sent; None when malformed."""
    octets, said = row
    if len(octets) != 4 or len(said) != 9:
        return None
    return Ping(int.from_bytes(octets, "big"), said[0] == 1, int.from_bytes(said[1:], "big"))


class Frame(NamedTuple):
    """One part of what is said by frames. `items`: each a row of octet strings."""

    kind: FrameKind
    part: int
    parts: int
    items: tuple[tuple[bytes, ...], ...]


_FIELDS = {
    FrameKind.SECTIONS: 2,
    FrameKind.SETTINGS: 3,
    FrameKind.DONE: 2,
    FrameKind.PINGS: 2,
    FrameKind.RESERVED: 2,
}


def frames(kind: FrameKind, rows: Iterable[Sequence[bytes]]) -> Iterator[bytes]:
    """The data of option 231 for all parts. A field is cut to LONGEST_ITEM octets; what does not go into MOST_PARTS is left out."""
    bodies: list[bytes] = [b""]
    for row in rows:
        assert len(row) == _FIELDS[kind]
        item = b"".join(bytes((len(field),)) + field for field in (each[:LONGEST_ITEM] for each in row))
        if len(bodies[-1]) + len(item) > FRAME_ROOM and bodies[-1]:
            if len(bodies) == MOST_PARTS:
                break
            bodies.append(b"")
        bodies[-1] += item
    for part, body in enumerate(bodies):
        yield _FRAME.pack(FRAME_VERSION, kind, part, len(bodies)) + body


def decode_frame(data: bytes) -> Frame | None:
    """One frame; None when it is malformed, or of a version or kind that we do not know."""
    if len(data) < _FRAME.size:
        return None
    version, kind, part, parts = _FRAME.unpack_from(data)
    if version != FRAME_VERSION or kind not in _FIELDS or not part < parts <= MOST_PARTS:
        return None
    at, items, fields = _FRAME.size, [], _FIELDS[FrameKind(kind)]
    while at < len(data):
        row = []
        for _ in range(fields):
            end = at + 1 + data[at] if at < len(data) else len(data) + 1
            if end > len(data):
                return None
            row.append(data[at + 1 : end])
            at = end
        items.append(tuple(row))
    return Frame(FrameKind(kind), part, parts, tuple(items))
