"""The two clocks of a step, and what the kernel says of the wall clock.

`mono` is CLOCK_BOOTTIME (safety.md 5): it runs on while the machine is suspended, so that a pause is seen as a gap between beats.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from pathlib import Path

from failoverd.ports import Now

_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised to a reliable server
_STA_UNSYNC = 0x0040


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2); only `modes` and `status` are read, the rest is room for the kernel to write."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("room", ctypes.c_byte * 256),
    )


def read() -> Now:
    """The present: UTC seconds and CLOCK_BOOTTIME seconds."""
    return Now(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME))


def host_boot() -> str:
    """Which boot of the host this is, as the kernel calls it; "" when it does not say."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def synchronised() -> bool:
    """Whether the kernel calls the wall clock synchronised (adjtimex(2), read only). OSError: the call is forbidden."""
    libc = ctypes.CDLL(None, use_errno=True)
    timex = _Timex()
    state = libc.adjtimex(ctypes.byref(timex))
    if state < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "adjtimex")
    return state != _TIME_ERROR and not timex.status & _STA_UNSYNC
