"""How this process ends when it must not go on, and the exit codes of `failoverd` (sysexits.h where one fits)."""

from __future__ import annotations

import asyncio
import os
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import NoReturn

from failoverd.shell.logs import last_words

EXIT_CONFIG = 1  # the configuration has errors, all of them printed
EXIT_USAGE = 2  # the command line
EXIT_UNAVAILABLE = 69  # EX_UNAVAILABLE: a socket cannot be opened: the API's, netlink, or port 67 is another program's
EXIT_STORE_OPEN = (
    73  # EX_CANTCREAT: the database cannot be opened or must not be (clock, version, damage, disk); nothing was changed
)
EXIT_PERMISSION = 77  # EX_NOPERM: a capability is missing
EXIT_BUG = 70  # EX_SOFTWARE: a mistake of ours; the partner carries on
EXIT_STORE = 74  # EX_IOERR: a commit failed; never retried
EXIT_HUNG = 75  # EX_TEMPFAIL: the last commit of a clean stop hung

BUG = "a mistake of this program, please report it"


def end_now(code: int, text: str) -> NoReturn:
    """End the process without flushing anything (safety.md 3): no STATE, no DISCONNECT, no answer."""
    last_words(f"failoverd: {text}")
    os._exit(code)


class OrEnd:
    """Whatever is raised inside ends the process at once: nothing of a later batch may be sent (safety.md 3)."""

    def __init__(self, end: Callable[[int, str], None], code: int, doing: str) -> None:
        self._end, self._code, self._doing = end, code, doing

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None or isinstance(error, asyncio.CancelledError | GeneratorExit):
            return
        told = str(error) or type(error).__name__
        if self._code == EXIT_BUG:
            told = "".join(traceback.format_exception(kind, error, trace)[-12:])
        self._end(self._code, f"{self._doing}: {told}")
