"""A Node between two steps as lines of JSON, and the Node that they are: a recording may begin in the middle of a life.

The whole graph of objects is written, table, flights, timers, the state of the random numbers and all, because anything that is left out
(an xid, an OFFER, a jitter) makes the replay differ sooner or later. It is data and not a pickle: a file from elsewhere can make objects of
the classes of the pure rooms, fill their fields, and nothing else. No constructor runs, no name outside those rooms is looked up.

One line is one object, in the order in which it is met; `{"r": n}` in a value refers to line n. A lease is its journal record. The one
secret of a configuration, [ddns] name-secret, is left out, and put in again by who plays it.
"""

from __future__ import annotations

import importlib
import json
import random
import re
from collections import deque
from collections.abc import Iterable, Iterator
from enum import Enum
from types import MethodType
from typing import Any

from failoverd.leases.lease import Lease
from failoverd.node import Node

ROOMS = frozenset({"config", "leases", "dhcp", "failover", "ddns", "node", "notes", "ports", "compile"})
_MODULE = re.compile(r"failoverd(\.[a-z_][a-z0-9_]*)+")
_FIELD = re.compile(r"_*[A-Za-z][A-Za-z0-9_]*")
_LEFT_OUT = frozenset({"_inputs"})  # of the Node: its class makes it
STAND_IN = "0123456789abcdef"  # where a name-secret was
_PLAIN = frozenset({type(None), bool, int, float, str})
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class SnapshotError(Exception):
    """It cannot be written, or what is read is none. The text says what is wrong."""


def _slots(cls: type) -> tuple[str, ...]:
    names: list[str] = []
    for each in cls.__mro__:
        own = each.__dict__.get("__slots__", ())
        for name in (own,) if isinstance(own, str) else own:
            hidden = name.startswith("__") and not name.endswith("__")
            names.append(f"_{each.__name__.lstrip('_')}{name}" if hidden else name)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def _allowed(module: str) -> bool:
    return bool(_MODULE.fullmatch(module)) and module.split(".")[1].split("_", maxsplit=1)[0] in ROOMS


class _Writer:
    """Objects to lines."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.numbers: dict[int, int] = {}
        self.waiting: deque[Any] = deque()
        self.kept: list[Any] = []  # an id must not be used again while the walk goes on
        self.slots: dict[type, tuple[str, ...]] = {}
        secret = node.config.ddns.name_secret
        self.secrets: set[Any] = {secret, secret.encode()} if secret else set()

    def lines(self) -> Iterator[str]:
        """One object a line, the Node first."""
        self.number(self.node)
        while self.waiting:
            yield _encode(self.record(self.waiting.popleft()))

    def number(self, thing: Any) -> dict[str, int]:
        """A reference to an object, which gets a line of its own when it is new."""
        number = self.numbers.get(id(thing))
        if number is None:
            number = self.numbers[id(thing)] = len(self.numbers)
            self.kept.append(thing)
            self.waiting.append(thing)
        return {"r": number}

    def value(self, thing: Any) -> Any:
        """What stands for a value inside a line."""
        kind = type(thing)
        if self.secrets and (kind is str or kind is bytes) and thing in self.secrets:
            return {"s": kind is bytes}
        if kind in _PLAIN:
            return thing
        if kind is bytes:
            return {"b": thing.hex()}
        if kind is tuple:
            return {"t": [self.value(each) for each in thing]}
        if isinstance(thing, Enum):
            self.check(kind)
            return {"e": [kind.__module__, kind.__qualname__, self.value(thing.value)]}
        if kind is frozenset:
            return {"f": self.unordered(thing)}
        if isinstance(thing, tuple):
            self.check(kind)
            return {"n": [kind.__module__, kind.__qualname__, *(self.value(each) for each in thing)]}
        if kind is MethodType:
            return {"m": [self.number(thing.__self__), thing.__func__.__name__]}
        if kind is re.Pattern:
            return {"p": [thing.pattern, thing.flags]}
        return self.number(thing)

    def unordered(self, things: Iterable[Any]) -> list[Any]:
        """The members of a set, always in one order."""
        return sorted((self.value(each) for each in things), key=repr)

    def check(self, cls: type) -> None:
        if not _allowed(cls.__module__):
            raise SnapshotError(f"a {cls.__module__}.{cls.__qualname__} cannot be written down")

    def record(self, thing: Any) -> list[Any]:
        """The line of one object."""
        kind = type(thing)
        if kind is Lease:
            return ["lease", thing.to_json()]
        if kind is dict:
            return ["dict", [[self.value(key), self.value(value)] for key, value in thing.items()]]
        if kind is list:
            return ["list", [self.value(each) for each in thing]]
        if kind is set:
            return ["set", self.unordered(thing)]
        if kind is deque:
            return ["deque", [self.value(each) for each in thing], thing.maxlen]
        if kind is bytearray:
            return ["bytearray", thing.hex()]
        if kind is random.Random:
            return ["random", self.value(thing.getstate())]
        self.check(kind)
        slots = self.slots.get(kind)
        if slots is None:
            slots = self.slots[kind] = _slots(kind)
        fields = {name: getattr(thing, name) for name in slots if hasattr(thing, name)}
        fields.update(getattr(thing, "__dict__", {}))
        if thing is self.node:
            fields = {name: value for name, value in fields.items() if name not in _LEFT_OUT}
        return ["object", kind.__module__, kind.__qualname__, {name: self.value(value) for name, value in fields.items()}]


def freeze(node: Node) -> Iterator[str]:
    """The lines of a Node that is not in the middle of a step. SnapshotError when it holds something that no line can say."""
    return _Writer(node).lines()


class _Reader:
    """Lines to objects."""

    def __init__(self, records: list[list[Any]], secret: str) -> None:
        self.records, self.secret = records, secret
        self.node = object.__new__(Node)
        self.things: list[Any] = [self.empty(at, record) for at, record in enumerate(records)]

    def empty(self, at: int, record: list[Any]) -> Any:
        """An object without its contents, so that circles can refer to it."""
        kind = record[0]
        if kind == "lease":
            return Lease.from_json(record[1])
        if kind == "deque":
            return deque(maxlen=record[2])
        if kind == "bytearray":
            return bytearray.fromhex(record[1])
        made: dict[str, type] = {"dict": dict, "list": list, "set": set, "random": random.Random}
        if kind in made:
            return made[kind]()
        if kind != "object":
            raise SnapshotError(f"line {at} of the snapshot is a {kind!r}")
        cls = _class(record[1], record[2])
        if cls is Node:
            if at:
                raise SnapshotError("a second Node in the snapshot")
            return self.node
        return object.__new__(cls)

    def value(self, told: Any) -> Any:
        """The value that stands inside a line."""
        if type(told) in _PLAIN:
            return told
        ((tag, data),) = told.items()
        if tag == "r":
            return self.things[data]
        if tag == "b":
            return bytes.fromhex(data)
        if tag == "t":
            return tuple(self.value(each) for each in data)
        if tag == "f":
            return frozenset(self.value(each) for each in data)
        if tag == "s":
            return self.secret.encode() if data else self.secret
        if tag == "p":
            return re.compile(*data)
        if tag == "m":
            owner = self.value(data[0])
            method = getattr(type(owner), data[1])
            if not _allowed(type(owner).__module__):
                raise SnapshotError(f"a method of a {type(owner).__name__}")
            return method.__get__(owner)
        cls = _class(data[0], data[1])
        if tag == "e" and issubclass(cls, Enum):
            return cls(self.value(data[2]))
        if tag == "n" and issubclass(cls, tuple):
            return tuple.__new__(cls, [self.value(each) for each in data[2:]])
        raise SnapshotError(f"a value tagged {tag!r}")

    def fill(self) -> None:
        """Put the contents in. Sets of objects last, when those can be hashed."""
        for thing, record in zip(self.things, self.records, strict=True):
            kind = record[0]
            if kind in ("list", "deque"):
                thing.extend(self.value(each) for each in record[1])
            elif kind == "random":
                thing.setstate(self.value(record[1]))
            elif kind == "object":
                for name, told in record[3].items():
                    if not _FIELD.fullmatch(name):
                        raise SnapshotError(f"a field {name!r}")
                    object.__setattr__(thing, name, self.value(told))
        for thing, record in zip(self.things, self.records, strict=True):
            if record[0] == "dict":
                thing.update((self.value(key), self.value(value)) for key, value in record[1])
            elif record[0] == "set":
                thing.update(self.value(each) for each in record[1])


def _class(module: str, name: str) -> type:
    if not _allowed(module):
        raise SnapshotError(f"a class of {module!r}, which is none of the rooms")
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        raise SnapshotError(f"there is no {module}.{name} in this version") from None
    if not isinstance(cls, type) or cls.__module__ != module:
        raise SnapshotError(f"{module}.{name} is no class")
    return cls


def thaw(lines: Iterable[str], secret: str = STAND_IN) -> Node:
    """The Node that was frozen. `secret`: its name-secret. SnapshotError when the lines are damaged, or made by a version whose objects
    look different."""
    try:
        records = [json.loads(line) for line in lines]
        if not records or records[0][:3] != ["object", Node.__module__, Node.__qualname__]:
            raise SnapshotError("it does not begin with a server")
        reader = _Reader(records, secret)
        reader.fill()
        reader.node._inputs = reader.node.routes()
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise SnapshotError(f"damaged, or of another version: {type(error).__name__}: {error}") from error
    return reader.node
