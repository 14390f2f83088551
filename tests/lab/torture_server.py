"""One failoverd of the tortured pair: its own small disk, and a watch that starts it again when it ended by itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.lab import Host, Process, ready
from tests.lab.ours import Failoverd

DISK_MIB = 64
RESTART_S = 1.5  # as systemd's RestartSec: a server that ended comes back
FULL_DISK_EXITS = frozenset({73, 74, 75})  # the database cannot be opened, a commit failed, a commit hung


@dataclass(slots=True)
class Server:
    """One failoverd on a disk of its own, and who watches that it runs."""

    daemon: Failoverd
    disk: Process
    wanted: bool = True  # it should run; else it was killed on purpose
    stopped: bool = False
    full_until: float = 0.0
    due: float = 0.0
    exits: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        """dhcp1 or dhcp2."""
        return self.daemon.host.name

    @property
    def folder(self) -> Path:
        """Its disk, seen from outside."""
        return Path(f"/proc/{self.disk.pid}/root{self.daemon.host.folder}/disk")

    @property
    def well(self) -> bool:
        """It runs and nobody holds it."""
        process = self.daemon.process
        return self.wanted and not self.stopped and process is not None and process.alive()

    def launch(self, *more: str) -> None:
        """Start it; nobody waits for it."""
        words = ["--config", str(self.daemon.conf), "--server", self.name, *more]
        enter = ("nsenter", f"--mount=/proc/{self.disk.pid}/ns/mnt", "--")
        self.daemon.process = self.daemon.host.start("failoverd", *enter, Failoverd.program("failoverd"), *words)
        self.wanted, self.stopped = True, False

    def watch(self, now: float) -> str:
        """Start it again when it ended by itself; what it ended of, when that is not right."""
        process = self.daemon.process
        if not self.wanted or process is None or process.alive():
            return ""
        if self.due == 0.0:
            self.due = now + RESTART_S
            status = process.popen.returncode
            self.exits.append(status)
            if status not in FULL_DISK_EXITS or now > self.full_until:
                return f"{self.name} ended with status {status}: {process.text()[-1500:]}"
        elif now >= self.due:
            self.due = 0.0
            self.launch()
        return ""


def disk_of(host: Host) -> Process:
    """A small file system that only this namespace sees; it goes with the process."""
    folder = host.folder / "disk"
    folder.mkdir()
    mount = f"mount -t tmpfs -o size={DISK_MIB}m tmpfs {folder} && echo mounted && exec sleep infinity"
    process = host.start("disk", "unshare", "--mount", "--propagation", "private", "sh", "-c", mount)
    ready(process, "the disk is mounted", "mounted")
    return process
