"""One step of a Node as one line: the time, the inputs, and a digest of what came out.

Inputs are the dataclasses of ports.py, by name. The digest is of everything in the Output, so an equal one means equal bytes to clients
and partner, equal rows, equal notes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from hashlib import blake2b
from typing import Any, NamedTuple, get_args

from failoverd.ports import ClientSend, Input, LinkSend, Now, Output

KINDS: dict[str, type] = {cls.__name__: cls for cls in get_args(Input)}
_FIELDS = {cls: tuple(each.name for each in fields(cls)) for cls in KINDS.values()}
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class Step(NamedTuple):
    """What one step took, and the digest of what it gave."""

    now: Now
    age_s: float
    inputs: list[Input]
    digest: str


def digest(output: Output) -> str:
    """Sixteen hex digits: equal outputs, equal digests. Octets go in as they are: their repr would cost more than all the rest."""
    parts: list[bytes] = []
    for write in output.writes:
        parts.append(write.key)
        parts.append(f"{write.kind} {write.origin} {write.cause} {write.record}\n".encode("utf-8", "backslashreplace"))
    for number, sends in enumerate((output.at_once, output.after_commit)):
        for send in sends:
            if isinstance(send, ClientSend):
                where = f"{send.interface} {send.src_ip} {send.dst_ip} {send.dst_port} {send.hw!r} {send.mono}"
                parts += (send.data, f"{number} {where}\n".encode("utf-8", "backslashreplace"))
            elif isinstance(send, LinkSend):
                parts += (send.data, f"{number} {send.relationship} {send.link}\n".encode("utf-8", "backslashreplace"))
            else:
                parts.append(f"{number} {send!r}\n".encode("utf-8", "backslashreplace"))
    for note in output.notes:
        parts.append(note.client)
        words = f"{note.name} {note.wall} {note.address} {note.subject} {note.detail}\n"
        parts.append(words.encode("utf-8", "backslashreplace"))
    return blake2b(b"".join(parts), digest_size=8).hexdigest()


def write(inputs: Sequence[Input], now: Now, age_s: float, output: Output) -> str:
    """The line of a step that was just taken."""
    told = [[type(each).__name__, *(_plain(getattr(each, name)) for name in _FIELDS[type(each)])] for each in inputs]
    return _encode([now.wall, now.mono, age_s, told, digest(output)])


def read(line: str) -> Step:
    """The step of a line. ValueError when it is none."""
    try:
        wall, mono, age_s, told, output = json.loads(line)
        inputs: list[Any] = [KINDS[name](*(_whole(value) for value in values)) for name, *values in told]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"no step: {error}") from error
    return Step(Now(wall, mono), age_s, inputs, str(output))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b": value.hex()}
    if isinstance(value, tuple):
        return {"t": [_plain(each) for each in value]}
    if isinstance(value, dict):
        return {"d": value}
    return value


def _whole(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((tag, data),) = value.items()
    if tag == "b":
        return bytes.fromhex(data)
    return tuple(_whole(each) for each in data) if tag == "t" else dict(data)
