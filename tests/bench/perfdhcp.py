"""One run of perfdhcp (Debian's kea-admin) and what it says.

Its pitfalls: it always acts as a relay; a run with the same MAC base has the same clients; it catches up slowly, so the rate really
sent is computed; "-1" would pin one server of the pair; its stock receive buffer loses bursts (rcvbuf.c); on two cores it is steadier
on one thread of its own core.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

from tests.lab.lab import Host, command
from tests.lab.wait import LabError

STAMPS = re.compile(r"^sent / received: (\d+\.\d+) / (\d+\.\d+)$", re.MULTILINE)
WAIT_US = 1_200_000


@dataclass(slots=True, frozen=True)
class Exchange:
    """DISCOVER-OFFER or REQUEST-ACK. Delays in milliseconds, of what was answered."""

    sent: int
    received: int
    mean_ms: float
    p99_ms: float


@dataclass(slots=True, frozen=True)
class Run:
    """One run. `sent_rate`: DISCOVERs per second as really sent; `lost_here`: replies that perfdhcp's own socket lost."""

    offers: Exchange
    acks: Exchange
    sent_rate: float
    lost_here: int

    @property
    def unanswered(self) -> float:
        """The part of the DISCOVERs that did not end in a DHCPACK."""
        return 1 - self.acks.received / self.offers.sent


def preload(folder: Path) -> Path:
    """Compile rcvbuf.c."""
    library = folder / "rcvbuf.so"
    if not library.exists():
        source = Path(__file__).with_name("rcvbuf.c")
        command("gcc", "-shared", "-fPIC", "-O2", "-o", str(library), str(source), "-ldl")
    return library


def udp_lost(host: Host) -> int:
    """RcvbufErrors of the namespace."""
    lines = [line.split() for line in host.run("cat", "/proc/net/snmp").splitlines() if line.startswith("Udp:")]
    return int(lines[1][lines[0].index("RcvbufErrors")])


def section(text: str, title: str) -> str:
    """The part of the output under a title."""
    found = text.split(f"***{title}***\n", 1)
    if len(found) < 2:
        raise LabError(f"perfdhcp did not print {title!r}: {text[-400:]}")
    return found[1].split("\n***", 1)[0]


def exchange(text: str, name: str) -> tuple[Exchange, list[float]]:
    """The numbers of one exchange, and when its answered packets were sent, in seconds of the run."""
    numbers = dict(re.findall(r"^([a-z ]+): (\d+)", section(text, f"Statistics for: {name}"), re.MULTILINE))
    stamps = [(float(sent), float(received)) for sent, received in STAMPS.findall(section(text, f"Timestamps for packets: {name}"))]
    delays = sorted(1000 * (received - sent) for sent, received in stamps)
    mean = sum(delays) / len(delays) if delays else math.inf
    p99 = delays[math.ceil(0.99 * len(delays)) - 1] if delays else math.inf
    return Exchange(int(numbers["sent packets"]), int(numbers["received packets"]), mean, p99), [sent for sent, _ in stamps]


def run(host: Host, rate: int, seconds: int, mac_base: int) -> Run:
    """Broadcast DORAs at a rate. `mac_base`: a number that no other run has used."""
    mac = f"02:{mac_base >> 8 & 255:02x}:{mac_base & 255:02x}:00:00:00"
    before = udp_lost(host)
    args = ["-4", "-l", "eth0", "-r", str(rate), "-R", "8000000", "-p", str(seconds), "-W", str(WAIT_US), "-d", "1"]
    args += ["-b", f"mac={mac}", "-g", "single", "-x", "t"]
    # perfdhcp exits with 3 when anything was dropped: that is a result, not an error.
    wrapped = f"LD_PRELOAD={preload(host.lab.folder)} taskset -c 1 perfdhcp {' '.join(args)}; s=$?; [ $s = 3 ] || exit $s"
    text = host.run("sh", "-c", wrapped, timeout_s=seconds + 30)
    offers, sent_at = exchange(text, "DISCOVER-OFFER")
    acks, _ = exchange(text, "REQUEST-ACK")
    span = max(sent_at) - min(sent_at) if len(sent_at) > 1 else math.inf
    return Run(offers, acks, min(offers.sent / seconds, len(sent_at) / span if span else 0.0), udp_lost(host) - before)
