"""One server of a pair, whichever program it is: what every case may do to it and ask it."""

from __future__ import annotations

import calendar
import json
import re
import shutil
import signal
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import closing
from enum import StrEnum
from pathlib import Path

from failoverd.failover.message import ServerState
from tests.lab.isc import Dhcpd
from tests.lab.lab import Host, Process
from tests.lab.ours import Failoverd
from tests.lab.terms import Role
from tests.lab.wait import LabError

NEVER = 0x7FFFFFFF
START_S = 60.0  # many start at once, on few processors
MOVED = re.compile(r"failover peer [^:]*: I move from (\S+) to (\S+)")


class Product(StrEnum):
    """The program."""

    OURS = "failoverd"
    DHCPD = "dhcpd"


def complaints_of_dhcpd(log: str) -> list[str]:
    """Lines that say that it ended or went to shutdown, or could not follow its partner."""
    words = ("to shutdown", "exiting.", "Invalid state")
    return [line for line in log.splitlines() if any(word in line for word in words)]


def complaints_of_failoverd(log: str) -> list[str]:
    """Lines that tell of a mistake of its own."""
    words = ("Traceback", "AssertionError", "internal-error")
    return [line for line in log.splitlines() if any(word in line for word in words)]


class Server(ABC):
    """One server. `address`: where clients reach it, `link`: its end of the failover connection."""

    product: Product

    def __init__(self, host: Host, role: Role, address: str, link: str, relationship: str) -> None:
        self.host, self.role, self.address, self.link, self.relationship = host, role, address, link, relationship
        self.process: Process | None = None
        self.logs: list[Path] = []
        self.frozen = False
        self.wrapper: tuple[str, ...] = ()
        self.flags: tuple[str, ...] = ()
        self.env: Mapping[str, str] = {}

    @property
    def name(self) -> str:
        """For people: "primary (dhcpd)"."""
        return f"{self.role} ({self.product})"

    @abstractmethod
    def start(self) -> None:
        """Start it and wait until it serves its sockets; not yet its clients."""

    @abstractmethod
    def state(self) -> str:
        """Its failover state now, "startup" while it starts; LabError while it cannot tell."""

    @abstractmethod
    def partner_down(self) -> None:
        """The operator says that the partner is down."""

    @abstractmethod
    def leases(self) -> dict[str, tuple[str, str, float]]:
        """Address -> (binding state, hardware address, end in UTC seconds), from its database."""

    @property
    @abstractmethod
    def database(self) -> Path:
        """Where its leases are."""

    @abstractmethod
    def plant(self, state: ServerState, partner: ServerState) -> None:
        """Write into the database of the stopped server that it, and its partner as far as it knows, were in these states."""

    @abstractmethod
    def reconfigure(self, text: str) -> None:
        """Another configuration for the next start."""

    @abstractmethod
    def complaints(self) -> list[str]:
        """What its logs must never say."""

    @abstractmethod
    def reported(self, address: str) -> bool:
        """Whether it tells the operator that two clients claim an address."""

    def _started(self, process: Process) -> None:
        self.process, self.frozen = process, False

    def _next_log(self) -> str:
        name = f"{self.product}-{len(self.logs) + 1}"
        self.logs.append(self.host.folder / f"{name}.log")
        return name

    def text(self) -> str:
        """All it has logged, from all its runs."""
        return "".join(log.read_text(errors="replace") for log in self.logs)

    def running(self) -> Process:
        """Its process; LabError when it does not run."""
        if self.process is None:
            raise LabError(f"{self.name} does not run")
        return self.process

    def kill(self) -> None:
        """kill -9."""
        self.running().kill()
        self.process = None

    def stop(self) -> None:
        """SIGTERM."""
        self.running().stop()
        self.process = None

    def freeze(self) -> None:
        """SIGSTOP."""
        self.running().signal(signal.SIGSTOP)
        self.frozen = True

    def thaw(self) -> None:
        """SIGCONT."""
        self.running().signal(signal.SIGCONT)
        self.frozen = False

    def files(self) -> list[Path]:
        """The files of its database."""
        return sorted(path for path in self.database.parent.glob(f"{self.database.name}*") if path.is_file())

    def forget(self) -> None:
        """Lose the database of the stopped server."""
        for path in self.files():
            path.unlink()

    def copy(self) -> Path:
        """A copy of the database of the stopped server, as an operator's cp makes it."""
        return self.copy_to(self.host.folder / f"copy-{time.monotonic_ns()}")

    def copy_to(self, folder: Path) -> Path:
        """The same, to a new directory."""
        folder.mkdir()
        for path in self.files():
            shutil.copy2(path, folder / path.name)
        return folder

    def put_back(self, copy: Path) -> None:
        """Put the database back as it was copied, with all that lies beside it."""
        for path in copy.iterdir():
            shutil.copy2(path, self.database.with_name(path.name))

    def roll_back(self, copy: Path) -> None:
        """Put an older copy of the database in place of the present one. What is not part of it stays as it is."""
        self.put_back(copy)

    def died(self) -> bool:
        """Whether it ended although nobody ended it."""
        return self.process is not None and not self.process.alive()


class Ours(Server):
    """A failoverd."""

    product = Product.OURS

    def __init__(self, daemon: Failoverd, role: Role, address: str, link: str) -> None:
        super().__init__(daemon.host, role, address, link, daemon.relationship)
        self.daemon = daemon
        self.first = True

    def start(self) -> None:
        """The first start states that the pair is new."""
        log = self._next_log()
        self.daemon.start(*self.wrapper, new_pair=self.first, log=log, env=self.env, flags=self.flags, timeout_s=START_S)
        self.first = False
        assert self.daemon.process is not None
        self._started(self.daemon.process)

    def linked(self) -> bool:
        """Whether it says that it is in contact."""
        return bool(self._link()["linked"])

    def _link(self) -> dict[str, object]:
        if self.frozen or self.process is None:
            raise LabError(f"{self.name} cannot answer")
        rows: list[dict[str, object]] = self.daemon.api("status")["relationships"]
        for row in rows:
            if row["name"] == self.relationship:
                return row
        raise LabError(f"{self.name} knows no relationship {self.relationship}")

    def link_of(self, key: str) -> object:
        """A fact of its status about the relationship: "dialect"."""
        return self._link()[key]

    def state(self) -> str:
        return str(self._link()["state"])

    def partner_down(self) -> None:
        self.daemon.ctl("partner-down", "--yes", "--reason", "interop suite", self.daemon.relationship)

    def leases(self) -> dict[str, tuple[str, str, float]]:
        rows = self.daemon.api("leases", limit="1000")["leases"]
        return {row["address"]: (row["state"], str(row["hw"]).removeprefix("01:"), float(row["ends"])) for row in rows}

    @property
    def database(self) -> Path:
        return self.daemon.database

    def roll_back(self, copy: Path) -> None:
        """A copy knows nothing of the marker that lies beside the database, nor has it a log."""
        for path in self.files():
            if path.name.endswith(("-wal", "-shm")):
                path.unlink()
        for path in copy.iterdir():
            if not path.name.endswith((".marker", ".reserve")):
                shutil.copy2(path, self.database.with_name(path.name))

    def plant(self, state: ServerState, partner: ServerState) -> None:
        with closing(sqlite3.connect(self.database, isolation_level=None)) as db:
            key = self.relationship.encode()
            old = db.execute(
                "SELECT record FROM (SELECT record, seq FROM journal WHERE kind = 'relationship' AND key = ? UNION ALL"
                " SELECT record, seq FROM relationship WHERE key = ?) ORDER BY seq DESC LIMIT 1",
                (key, key),
            ).fetchone()
            record = json.loads(old[0]) | {"state": int(state), "partner_state": int(partner)}
            if state is ServerState.PARTNER_DOWN:
                record["partner_down_since"] = int(time.time())
            db.execute(
                "INSERT INTO journal SELECT max(seq) + 1, ?, 'relationship', ?, ?, 'operator', 'planted' FROM journal",
                (time.time(), key, json.dumps(record)),
            )

    def reconfigure(self, text: str) -> None:
        self.daemon = Failoverd.make(self.host, text, self.relationship)

    def complaints(self) -> list[str]:
        return complaints_of_failoverd(self.text())

    def reported(self, address: str) -> bool:
        """By `failoverctl conflicts`."""
        losers = self.daemon.api("conflicts")["losers"] if self.process is not None else []
        return any(row["address"] == address for row in losers)


class Theirs(Server):
    """A dhcpd. Its state is what its log says of its moves."""

    product = Product.DHCPD

    def __init__(self, daemon: Dhcpd, role: Role, address: str, link: str, relationship: str) -> None:
        super().__init__(daemon.host, role, address, link, relationship)
        self.daemon = daemon

    def start(self) -> None:
        self.daemon.lease_file.touch()
        self.daemon.start(*self.wrapper, log=self._next_log(), env=self.env)
        self._started(self.daemon.running())

    def state(self) -> str:
        if self.process is None:
            raise LabError(f"{self.name} does not run")
        moves = MOVED.findall(self.process.text())
        return str(moves[-1][1]) if moves else "startup"

    def partner_down(self) -> None:
        """omshell, as dhcpd's manual has it."""
        lines = ("server localhost", "port 7911", "connect", "new failover-state", f'set name = "{self.relationship}"', "open")
        text = "".join(f"{line}\n" for line in (*lines, f"set local-state = {int(ServerState.PARTNER_DOWN)}", "update"))
        said = self.host.run("omshell", text=text)
        if self.state() != "partner-down":
            raise LabError(f"omshell did not do it: {said[-600:]}")

    def leases(self) -> dict[str, tuple[str, str, float]]:
        return {row.address: (row.state, row.mac, end_of(row.ends)) for row in self.daemon.leases().values()}

    @property
    def database(self) -> Path:
        return self.daemon.lease_file

    def files(self) -> list[Path]:
        return [self.database]

    def forget(self) -> None:
        self.database.write_text("")

    def plant(self, state: ServerState, partner: ServerState) -> None:
        stamp = time.strftime("%Y/%m/%d %H:%M:%S", time.gmtime())
        words = f'failover peer "{self.relationship}" state {{\n  my state {state.words} at 0 {stamp};\n'
        words += f"  partner state {partner.words} at 0 {stamp};\n"
        known = re.findall(r"^  mclt \d+;\n", self.database.read_text(), re.MULTILINE)
        words += known[-1] if known else ""
        with self.database.open("a") as file:
            file.write(words + "}\n")

    def reconfigure(self, text: str) -> None:
        self.daemon.conf.write_text(text)

    def complaints(self) -> list[str]:
        return complaints_of_dhcpd(self.text())

    def reported(self, address: str) -> bool:
        return f"Lease conflict at {address}" in self.text()


def end_of(words: str) -> float:
    """The end in dhcpd's lease file as UTC seconds."""
    if words in ("", "never"):
        return float(NEVER) if words else 0.0
    return float(calendar.timegm(time.strptime(words, "%Y/%m/%d %H:%M:%S")))
