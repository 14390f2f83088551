"""Waiting for a condition with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class LabError(Exception):
    """Something in the lab is not as it must be; the message names it."""


class ProcessEndedError(LabError):
    """A program ended that should run: no use in waiting longer."""


def until(what: str, check: Callable[[], T | None], timeout_s: float, every_s: float = 0.1) -> T:
    """Call `check` until it returns something true, and return that; LabError with the last value after `timeout_s`.

    A LabError inside `check` counts as "not yet", except for a program that has ended.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            value = check()
            if value:
                return value
            last = repr(value)
        except ProcessEndedError:
            raise
        except LabError as error:
            last = str(error)
        if time.monotonic() >= deadline:
            raise LabError(f"not within {timeout_s:g} s: {what} (last: {last[:600]})")
        time.sleep(every_s)
