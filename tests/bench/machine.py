"""What processes and the whole machine have used, from /proc."""

from __future__ import annotations

import os
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """User and system seconds of a process, all threads."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICK


def rss_mb(pid: int) -> float:
    """Resident memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def busy_s() -> tuple[float, float]:
    """CPU seconds that all programs of the machine have used (interrupts left out), and those that its processors have had."""
    words = [int(word) / TICK for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, idle, iowait, irq, softirq, steal = words
    return user + nice + system + steal, user + nice + system + idle + iowait + irq + softirq + steal


def children_s() -> float:
    """CPU seconds of our own finished children, perfdhcp among them, and our own."""
    times = os.times()
    return times.children_user + times.children_system + times.user + times.system
