"""What the fuzzer drives: an input is a role, two states on disk, and a run of bytes, cuts and pauses from a hostile partner.

`python -m tests.failover.fuzz SECONDS CORPUS [KEEP]` runs it under atheris, guided by coverage; KEEP is where a new corpus goes. Without
atheris `one` is an ordinary function, and test_fuzz.py gives it the kept corpus.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FunctionType

from failoverd.failover.message import HEADER, LONGEST, ServerState
from tests.failover.villain import Villain

STATES = list(ServerState)
ON_DISK = STATES[2:]
PAUSE, RELINK = 0, 1
MOST = 40  # acts in one input


def one(data: bytes) -> Villain | None:
    """One hostile partner. Octets: role, our state, the partner's as recorded, then acts: a length (two octets) and so many bytes of the
    stream; a length below a header is a pause or a new link. None: too short to say anything."""
    if len(data) < 4:
        return None
    villain = Villain("ps"[data[0] & 1], ON_DISK[data[1] % len(ON_DISK)], STATES[data[2] % len(STATES)])
    link = 1
    villain.open() if data[0] & 2 else villain.shake()
    at = 3
    for _ in range(MOST):
        if at + 2 > len(data):
            break
        length = int.from_bytes(data[at : at + 2], "big")
        if length == PAUSE:
            villain.wait(20, 5)
            at += 2
        elif length == RELINK:
            link += 1
            villain.shake(link)
            at += 2
        else:
            size = min(max(length, 2), LONGEST + HEADER)
            villain.bytes(data[at : at + size], link)  # the length is the message's own
            at += size
    villain.shake(1000)
    villain.wait(40, 10)
    return villain


def watched() -> Iterator[FunctionType]:
    """The functions whose coverage guides the fuzzer: what the partner's bytes reach."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("failoverd.failover", "failoverd.leases", "failoverd.node")):
            owners = [module, *(thing for thing in vars(module).values() if isinstance(thing, type) and thing.__module__ == name)]
            for owner in owners:
                yield from (each for each in vars(owner).values() if isinstance(each, FunctionType) and each.__module__ == name)


def main(arguments: list[str]) -> None:
    """Fuzz for so many seconds; atheris ends the process."""
    import atheris

    seconds, corpus, *keep = arguments
    for function in watched():
        atheris.instrument_func(function)
    atheris.Setup(
        [sys.argv[0], f"-max_total_time={seconds}", "-max_len=600", "-timeout=30", *keep, corpus], lambda data: one(data) and None
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
