"""The layout of the house is a test: who may import whom, no clock in a core, sizes, names.

Each rule is proven by planting a violation.
"""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

VALUES = frozenset({"notes", "ports"})
ROOMS = frozenset({"leases", "dhcp", "failover", "ddns"})
ALL = ROOMS | VALUES | {"config", "compile", "node", "status", "replay", "shell", "sim", "decode", "ctl"}
# room -> the rooms it may import beside itself. `failoverd` itself (the version) is everybody's.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "notes": frozenset(),
    "ports": frozenset({"notes"}),
    "config": VALUES | {"dhcp"},  # options by name are the DHCP room's table
    "leases": VALUES,
    "dhcp": VALUES | {"leases"},
    "failover": VALUES | {"leases"},
    "ddns": VALUES | {"leases"},
    "compile": VALUES | ROOMS | {"config"},
    "status": VALUES | ROOMS | {"config", "compile", "node"},
    "node": VALUES | ROOMS | {"config", "compile", "status"},
    "replay": VALUES | ROOMS | {"config", "node"},
    "shell": ALL - {"sim", "decode", "ctl"},
    "sim": ALL - {"replay", "shell", "decode", "ctl"},
    "decode": frozenset(),  # a second opinion: it shares nothing with the codec that it is compared with
    "ctl": frozenset({"decode"}),
}
PURE = ROOMS | VALUES | {"compile", "node", "status"}
# Modules that await, open, sleep, log or read a clock. A pure room may not import them, nor anything below them.
IMPURE = frozenset(
    {
        "aiohttp",
        "aiosqlite",
        "asyncio",
        "concurrent",
        "io",
        "logging",
        "multiprocessing",
        "os",
        "pathlib",
        "pyroute2",
        "rich",
        "secrets",
        "select",
        "selectors",
        "shutil",
        "signal",
        "socket",
        "sqlite3",
        "ssl",
        "structlog",
        "subprocess",
        "sys",
        "tempfile",
        "threading",
        "time",
        "urllib",
        "uuid",
        "uvloop",
    }
)
IMPURE_CALLS = frozenset({"open", "print", "input", "exec", "eval", "breakpoint"})
CLOCK_METHODS = frozenset({"now", "utcnow", "today"})
CLOCK_CLASSES = frozenset({"datetime", "date"})
BANNED_NAMES = frozenset({"utils", "util", "helpers", "helper", "manager", "managers", "base"})
FUNCTION_LINES = 70
FILE_LINES = 500
NODE_LINES = 220


def room_of(path: Path, package: Path) -> str:
    """The room a file belongs to: its first name below the package; config_values.py belongs to config."""
    name = path.relative_to(package).parts[0].removesuffix(".py")
    return name if name == "__init__" else name.split("_")[0]


def imported(tree: ast.AST, path: Path, package: Path) -> Iterator[tuple[int, str]]:
    """(line, absolute dotted name) of everything a module imports, `from a import b` as a.b."""
    folder = (package.name, *path.relative_to(package).parent.parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = folder[: len(folder) - node.level + 1] if node.level else ()
            parent = ".".join((*start, node.module) if node.module else start)
            yield from ((node.lineno, f"{parent}.{alias.name}") for alias in node.names)


def import_faults(tree: ast.AST, path: Path, package: Path) -> Iterator[tuple[int, str]]:
    """Imports of our own rooms that this room may not make, and of impure modules in a pure room."""
    room = room_of(path, package)
    for line, name in imported(tree, path, package):
        parts = name.split(".")
        if parts[0] == package.name and len(parts) > 1:
            other = parts[1].split("_")[0]
            if other in MAY_IMPORT and other != room and other not in MAY_IMPORT.get(room, frozenset()):
                yield line, f"{room} imports {other}"
        elif room in PURE and parts[0] in IMPURE:
            yield line, f"pure room {room} imports {parts[0]}"
        elif room in PURE and parts[0] == "random" and len(parts) > 1 and parts[1] != "Random":
            yield line, f"pure room {room} imports {name}"


def is_clock(node: ast.Attribute) -> bool:
    """datetime.now, date.today, datetime.datetime.utcnow and the like."""
    owner = node.value
    name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
    return node.attr in CLOCK_METHODS and name in CLOCK_CLASSES


def purity_faults(tree: ast.AST, room: str) -> Iterator[tuple[int, str]]:
    """Clocks, the process-wide random generator, files, output and awaiting in a pure room."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
            yield node.lineno, f"pure room {room} awaits"
        elif isinstance(node, ast.Attribute):
            if is_clock(node):
                yield node.lineno, f"pure room {room} reads a clock: {ast.unparse(node)}"
            elif isinstance(node.value, ast.Name) and node.value.id == "random" and node.attr != "Random":
                yield node.lineno, f"pure room {room} uses the process-wide random.{node.attr}"
        elif isinstance(node, ast.Call):
            called = node.func
            if isinstance(called, ast.Name) and called.id in IMPURE_CALLS:
                yield node.lineno, f"pure room {room} calls {called.id}"
            elif ast.unparse(called) == "random.Random" and not node.args:
                yield node.lineno, f"pure room {room} seeds random.Random from the machine"


def size_faults(tree: ast.AST, path: Path, package: Path, lines: int) -> Iterator[tuple[int, str]]:
    """Functions and files that are too long."""
    limit = NODE_LINES if path == package / "node.py" else FILE_LINES
    if lines > limit:
        yield lines, f"file has {lines} lines, at most {limit}"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                yield node.lineno, f"{node.name} has {length} lines, at most {FUNCTION_LINES}"


def name_faults(path: Path, package: Path) -> Iterator[tuple[int, str]]:
    """File and folder names that say nothing, and rooms that are not in the plan."""
    for part in path.relative_to(package).parts:
        if BANNED_NAMES & set(part.removesuffix(".py").split("_")):
            yield 1, f"the name {part} says nothing"
    room = room_of(path, package)
    if room not in MAY_IMPORT and room != "__init__":
        yield 1, f"{room} is not a room of the plan"


def violations(package: Path) -> list[str]:
    """Every breach of the layout rules in a package, as "path:line: what"."""
    found = []
    for path in sorted(package.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text, str(path))
        room = room_of(path, package)
        faults = [*name_faults(path, package), *import_faults(tree, path, package)]
        faults += size_faults(tree, path, package, len(text.splitlines()))
        faults += purity_faults(tree, room) if room in PURE else ()
        found += [f"{path.relative_to(package.parent)}:{line}: {what}" for line, what in faults]
    return found


def test_the_package_keeps_the_layout() -> None:
    found = violations(ROOT / "failoverd")
    assert not found, "\n" + "\n".join(found)


def test_every_room_of_the_plan_is_seen() -> None:
    """An empty walk would pass: the checker must have seen the rooms."""
    seen = {room_of(path, ROOT / "failoverd") for path in (ROOT / "failoverd").rglob("*.py")}
    assert seen >= ROOMS | VALUES | {"shell", "sim", "ctl"}


PLANTS = [
    ("dhcp/x.py", "from failoverd.failover import states\n", "dhcp imports failover"),
    ("dhcp/x.py", "from failoverd import failover\n", "dhcp imports failover"),
    ("dhcp/x.py", "from ..ddns.plan import Row\n", "dhcp imports ddns"),
    ("dhcp/x.py", "def f():\n    import failoverd.node\n", "dhcp imports node"),
    ("leases/x.py", "import failoverd.dhcp.message as m\n", "leases imports dhcp"),
    ("failover/x.py", "from failoverd.config import Config\n", "failover imports config"),
    ("ddns/x.py", "from failoverd.shell.store import Store\n", "ddns imports shell"),
    ("notes.py", "from failoverd.ports import Now\n", "notes imports ports"),
    ("node.py", "from failoverd.sim.world import World\n", "node imports sim"),
    ("shell/x.py", "from failoverd.sim.world import World\n", "shell imports sim"),
    ("sim/x.py", "from failoverd.shell.loop import Loop\n", "sim imports shell"),
    ("ctl/x.py", "from failoverd.notes import Note\n", "ctl imports notes"),
    ("leases/x.py", "import asyncio\n", "pure room leases imports asyncio"),
    ("leases/x.py", "from socket import socket\n", "pure room leases imports socket"),
    ("failover/x.py", "import time\n", "pure room failover imports time"),
    ("ddns/x.py", "import structlog\n", "pure room ddns imports structlog"),
    ("node.py", "import logging.handlers\n", "pure room node imports logging"),
    ("dhcp/x.py", "from random import choice\n", "pure room dhcp imports random.choice"),
    ("dhcp/x.py", "import random\nx = random.choice([1])\n", "pure room dhcp uses the process-wide random.choice"),
    ("dhcp/x.py", "import random\nx = random.Random()\n", "pure room dhcp seeds random.Random from the machine"),
    ("status.py", "import datetime\nx = datetime.datetime.now()\n", "pure room status reads a clock: datetime.datetime.now"),
    ("leases/x.py", "from datetime import date\nx = date.today()\n", "pure room leases reads a clock: date.today"),
    ("leases/x.py", "x = open('f')\n", "pure room leases calls open"),
    ("leases/x.py", "print(1)\n", "pure room leases calls print"),
    ("leases/x.py", "async def f():\n    pass\n", "pure room leases awaits"),
    ("shell/x.py", "def f():\n" + "    x = 1\n" * FUNCTION_LINES, f"f has {FUNCTION_LINES + 1} lines"),
    ("shell/x.py", "x = 1\n" * (FILE_LINES + 1), f"file has {FILE_LINES + 1} lines"),
    ("node.py", "x = 1\n" * (NODE_LINES + 1), f"file has {NODE_LINES + 1} lines"),
    ("shell/utils.py", "", "the name utils.py says nothing"),
    ("leases/lease_manager.py", "", "the name lease_manager.py says nothing"),
    ("dhcp/helpers/x.py", "", "the name helpers says nothing"),
    ("attic/x.py", "", "attic is not a room of the plan"),
]


@pytest.mark.parametrize(("where", "text", "what"), PLANTS)
def test_a_planted_violation_is_found(tmp_path: Path, where: str, text: str, what: str) -> None:
    planted = tmp_path / "failoverd" / where
    planted.parent.mkdir(parents=True)
    planted.write_text(text)
    found = violations(tmp_path / "failoverd")
    assert any(line.startswith(f"failoverd/{where}:") and what in line for line in found), found


ALLOWED = [
    ("dhcp/x.py", "from failoverd import __version__\nfrom failoverd.leases.lease import Lease\nfrom . import message\n"),
    (
        "leases/x.py",
        "import random\nfrom random import Random\n\n\ndef f(r: random.Random) -> Random:\n    return random.Random(3)\n",
    ),
    ("shell/x.py", "import asyncio, time, random\nx = time.time()\ny = random.random()\nfrom failoverd.node import Node\n"),
    ("sim/x.py", "from failoverd.node import Node\nfrom failoverd.compile import scopes\n"),
    ("leases/x.py", "def f():\n" + "    x = 1\n" * (FUNCTION_LINES - 1)),
]


@pytest.mark.parametrize(("where", "text"), ALLOWED)
def test_what_is_allowed_is_not_reported(tmp_path: Path, where: str, text: str) -> None:
    file = tmp_path / "failoverd" / where
    file.parent.mkdir(parents=True)
    file.write_text(text)
    assert violations(tmp_path / "failoverd") == []


# Spelled in pieces, so that this file does not find itself.
MACHINE_PATHS = ("/" + "work/", ".." + "/shared/", "/" + "home/", "/root/" + ".")


def machine_paths(files: dict[str, bytes]) -> list[str]:
    """Places where a file names a path that exists only on the machine it was written on."""
    return [f"{name}: {path}" for name, data in sorted(files.items()) for path in MACHINE_PATHS if path.encode() in data]


def test_nothing_names_a_machine_path() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    files = {
        name: (ROOT / name).read_bytes() for name in listed if name and (ROOT / name).is_file() and not (ROOT / name).is_symlink()
    }
    assert "Makefile" in files
    assert machine_paths(files) == []


def test_a_planted_machine_path_is_found() -> None:
    assert machine_paths({"a.md": b"see /" + b"work/main/x"}) == ["a.md: /" + "work/"]
