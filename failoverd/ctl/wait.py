"""Waiting for a name: the daemon is asked, which asks master and secondaries, until all of them show it."""

from __future__ import annotations

import time
from typing import cast

from failoverd.ctl.answers import Where
from failoverd.ctl.client import FAILED, TIMED_OUT, Client, Failure

EVERY_S = 1.0


def shown(client: Client, name: str, timeout_s: float) -> Where:
    """The first answer in which every server shows the name, or the last one within the time."""
    end = time.monotonic() + timeout_s
    while True:
        answer = cast("Where", client.get("ddns", "where", name=name))
        if not answer["places"]:
            raise Failure(FAILED, f"no zone of this server's configuration holds {answer['name']}")
        left_s = end - time.monotonic()
        if all(place["shows"] for place in answer["places"]) or left_s <= 0:
            return answer
        time.sleep(min(EVERY_S, left_s))


def judge(answer: Where, timeout_s: float) -> None:
    """Failure when a server does not show the name."""
    missing = [place["server"] or f"the master of {place['target']}" for place in answer["places"] if not place["shows"]]
    if missing:
        raise Failure(TIMED_OUT, f"{answer['name']} was not shown within {timeout_s:g} s by {', '.join(missing)}")
