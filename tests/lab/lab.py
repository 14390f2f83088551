"""Namespaces, links, processes, and their removal."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType

from tests.lab.wait import LabError, ProcessEndedError, until

NETNS = Path("/run/netns")
ETC_NETNS = Path("/etc/netns")
NAME = re.compile(r"^fdlab-(\d+)\.\d+-")
KEPT = "kept"
SWITCH = "sw"
SIGNALS: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def command(*args: str, text: str | None = None, timeout_s: float = 30.0) -> str:
    """Run a program on the machine itself and return what it prints; LabError when it fails."""
    try:
        done = subprocess.run(args, input=text, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        raise LabError(f"{' '.join(args)}: not done within {timeout_s:g} s") from None
    if done.returncode:
        raise LabError(f"{' '.join(args)}: exit {done.returncode}: {(done.stderr or done.stdout).strip()[-800:]}")
    return done.stdout


@dataclass(slots=True)
class Process:
    """One program in a namespace. Its output goes to `log`."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        """`ip netns exec` turns into the program, so this is the program's own pid."""
        return self.popen.pid

    def alive(self) -> bool:
        """Whether it still runs."""
        return self.popen.poll() is None

    def text(self) -> str:
        """Everything it has printed so far."""
        return self.log.read_text(errors="replace")

    def signal(self, number: int) -> None:
        """Send a signal; a process that is gone is no error."""
        if self.alive():
            self.popen.send_signal(number)

    def kill(self) -> None:
        """kill -9, and wait for it."""
        self.signal(signal.SIGKILL)
        self.popen.wait(10)

    def stop(self, grace_s: float = 10.0) -> int:
        """SIGTERM, wait, at last kill -9; returns the exit status as Popen gives it."""
        self.signal(signal.SIGTERM)
        try:
            return self.popen.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise LabError(f"{self.name} did not stop within {grace_s:g} s of SIGTERM") from None


@dataclass(slots=True)
class Host:
    """One namespace with its interfaces eth0, eth1, ... in the order of its links."""

    lab: Lab
    name: str
    links: int = 0
    ports: dict[str, str] = field(default_factory=dict)

    @property
    def netns(self) -> str:
        """The name that `ip netns` knows."""
        return f"{self.lab.prefix}{self.name}"

    @property
    def folder(self) -> Path:
        """This host's own directory in the lab."""
        path = self.lab.folder / self.name
        path.mkdir(exist_ok=True)
        return path

    @property
    def resolv_conf(self) -> Path:
        """The file that programs of this host see as /etc/resolv.conf."""
        return ETC_NETNS / self.netns / "resolv.conf"

    def ip(self, *lines: str) -> None:
        """Commands of ip(8) in this namespace, one a line."""
        command("ip", "-n", self.netns, "-batch", "-", text="".join(f"{line}\n" for line in lines))

    def exec_args(self, args: Sequence[str]) -> list[str]:
        """The command line that runs `args` in this namespace."""
        return ["ip", "netns", "exec", self.netns, *args]

    def run(self, *args: str, text: str | None = None, timeout_s: float = 30.0) -> str:
        """Run a program here and return what it prints; LabError when it fails."""
        return command(*self.exec_args(args), text=text, timeout_s=timeout_s)

    def start(self, name: str, *args: str, env: Mapping[str, str] | None = None) -> Process:
        """Start a program here in the background; its output is appended to <name>.log. It dies with the lab."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as out:
            popen = subprocess.Popen(
                self.exec_args(args),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(env or {})},
                cwd=self.folder,
            )
        process = Process(f"{self.name}/{name}", popen, log)
        self.lab.processes.append(process)
        return process

    def cut(self, port: str = "eth0") -> None:
        """Pull the cable: frames are lost in both directions, the host notices nothing."""
        self.lab.switch.ip(f"link set {self.ports[port]} nomaster")

    def heal(self, port: str, net: str) -> None:
        """Put the cable back."""
        self.lab.switch.ip(f"link set {self.ports[port]} master {net}")


class Lab:
    """`with Lab() as lab:` gives an empty lab and removes all of it at the end, whatever happened.

    SIGINT, SIGTERM and SIGHUP end the block by KeyboardInterrupt, so that they leave nothing behind either. Labs of processes that
    died without cleaning up are removed when a new one is made.
    """

    made = 0

    def __init__(self) -> None:
        if os.geteuid() != 0:
            raise LabError("the lab needs root (network namespaces)")
        sweep()
        self.id = f"{os.getpid()}.{Lab.made}"
        Lab.made += 1
        self.prefix = f"fdlab-{self.id}-"
        self.folder = Path(tempfile.mkdtemp(prefix=self.prefix, dir="/tmp"))
        self.folder.chmod(0o755)
        self.hosts: dict[str, Host] = {}
        self.processes: list[Process] = []
        self.far_ends = itertools.count()
        self.kept = False
        self._held = False  # a namespace is being made: an interrupt waits until it is known
        self._late = ""  # the signal that came
        self._handlers: dict[signal.Signals, Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> Lab:
        for number in SIGNALS:
            self._handlers[number] = signal.signal(number, self._interrupt)
        try:
            self.switch = self.host(SWITCH)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        try:
            if not self.kept:
                remove(self.prefix)
        finally:
            for process in self.processes:
                if not self.kept:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.popen.wait(5)
            for name, handler in self._handlers.items():
                signal.signal(name, handler)

    def _interrupt(self, number: int, _frame: FrameType | None) -> None:
        self._late = signal.Signals(number).name
        if not self._held:
            raise KeyboardInterrupt(self._late)

    def keep(self) -> None:
        """Leave everything running when the block ends; `python -m tests.lab.sweep` removes it."""
        (self.folder / KEPT).touch()
        self.kept = True

    def host(self, name: str) -> Host:
        """A new namespace with loopback up."""
        host = Host(self, name)
        # An interrupt between the fork and the end of `ip` would leave a namespace that appears after the lab was removed. A signal mask
        # would not hold it back: another thread takes the signal then, and Python raises here all the same.
        self._held = True
        try:
            command("ip", "netns", "add", host.netns)
            self.hosts[name] = host
        finally:
            self._held = False
        if self._late:
            raise KeyboardInterrupt(self._late)
        host.ip("link set lo up")
        return host

    def net(self, name: str) -> None:
        """A new bridge in the switch."""
        self.switch.ip(f"link add name {name} type bridge forward_delay 0", f"link set dev {name} up")

    def link(self, host: Host, net: str, address: str = "", mac: str = "") -> str:
        """Connect a host to a bridge and return its new interface. `address` with prefix length; `mac` for clients."""
        port = f"eth{host.links}"
        far = f"v{next(self.far_ends)}"
        host.links += 1
        host.ports[port] = far
        extra = f" address {mac}" if mac else ""
        self.switch.ip(f"link add {far} type veth peer name {port}{extra} netns {host.netns}", f"link set {far} master {net} up")
        host.ip(f"link set {port} up", *([f"address add {address} brd + dev {port}"] if address else []))
        return port

    def resolver(self, host: Host, text: str = "") -> None:
        """Give a host its own /etc/resolv.conf. Write to it in place only: a bind mount holds the file, not the name."""
        host.resolv_conf.parent.mkdir(parents=True, exist_ok=True)
        host.resolv_conf.write_text(text)

    def program(self, name: str) -> str:
        """A program that may read and write in the lab whatever AppArmor says of its path: a copy of it."""
        copy = self.folder / "bin" / name
        if not copy.exists():
            found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
            if found is None:
                raise LabError(f"{name} is not installed; .ci/setup installs it")
            copy.parent.mkdir(exist_ok=True)
            shutil.copy(Path(found).resolve(), copy)
        return str(copy)


def pids(netns: str) -> list[int]:
    """The processes of one namespace."""
    done = subprocess.run(["ip", "netns", "pids", netns], capture_output=True, text=True, check=False)
    return [int(word) for word in done.stdout.split()]


def namespaces(prefix: str) -> list[str]:
    """Names of the namespaces that start with `prefix`."""
    return sorted(path.name for path in NETNS.glob(f"{prefix}*")) if NETNS.is_dir() else []


def remove(prefix: str) -> None:
    """Remove every process, namespace and file of the labs whose names start with `prefix`."""
    names = namespaces(prefix)
    began = time.monotonic()
    while found := [pid for name in names for pid in pids(name)]:
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() - began > 10:
            raise LabError(f"processes that do not die: {found}")
        time.sleep(0.02)
    for name in names:
        command("ip", "netns", "delete", name)
    for path in [*Path("/tmp").glob(f"{prefix}*"), *ETC_NETNS.glob(f"{prefix}*")]:
        shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        ETC_NETNS.rmdir()


def running(pid: int) -> bool:
    """Whether a process with this pid runs; a zombie that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def dead_labs(with_kept: bool) -> Iterator[str]:
    """Prefixes of labs whose maker is gone."""
    seen = {
        *namespaces("fdlab-"),
        *(path.name for path in Path("/tmp").glob("fdlab-*")),
        *(path.name for path in ETC_NETNS.glob("fdlab-*")),
    }
    for prefix in sorted({found.group() for name in seen if (found := NAME.match(name))}):
        owner = int(prefix.removeprefix("fdlab-").split(".")[0])
        kept = any(path.joinpath(KEPT).exists() for path in Path("/tmp").glob(f"{prefix}*"))
        if not running(owner) and (with_kept or not kept):
            yield prefix


def sweep(with_kept: bool = False) -> list[str]:
    """Remove labs whose maker is gone; the kept ones only when asked."""
    swept = list(dead_labs(with_kept))
    for prefix in swept:
        remove(prefix)
    return swept


def ready(process: Process, what: str, words: str, timeout_s: float = 15.0) -> None:
    """Wait until a process has printed `words`; LabError with its output if it ends before."""

    def printed() -> bool:
        if words in process.text():
            return True
        if not process.alive():
            raise ProcessEndedError(f"{process.name} ended: {process.text()[-1500:]}")
        return False

    until(what, printed, timeout_s, 0.05)
