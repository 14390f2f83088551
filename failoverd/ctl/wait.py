"""Waiting: for a name (the daemon is asked, which asks master and secondaries, until all of them show it), for a state of the pair, for
the partner's addresses."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from failoverd.ctl.act import the_relationship
from failoverd.ctl.answers import Relationship, Where
from failoverd.ctl.client import FAILED, TIMED_OUT, UNREACHABLE, Client, Failure
from failoverd.ctl.words import duration, moment

if TYPE_CHECKING:
    from failoverd.ctl.session import Session

EVERY_S = 1.0
LOOK_S = 0.25  # between two looks at a state
TAKEOVER_MARGIN_S = 30.0


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


def reached(row: Relationship, wanted: str) -> bool:
    """Whether the relationship is there; normal is a matter of both servers."""
    if wanted == "normal":
        return row["state"] == row["partner_state"] == "normal" and row["linked"]
    return row["state"] == wanted


def state(session: Session, name: str | None, wanted: str, timeout_s: float) -> tuple[Relationship, float]:
    """The relationship when it is in the state, and how long that took. Failure when it is not within the time."""
    began = time.monotonic()
    while True:
        row, trouble = None, None
        try:
            row = the_relationship(session.status(), name)
        except Failure as failure:
            if failure.exit_code not in (UNREACHABLE, TIMED_OUT):
                raise
            trouble = failure
        took_s = time.monotonic() - began
        if row is not None and reached(row, wanted):
            return row, took_s
        if took_s >= timeout_s:
            if row is None:
                assert trouble is not None
                raise trouble
            raise Failure(TIMED_OUT, f"not {wanted} within {duration(timeout_s)}: {standing(row)}")
        time.sleep(min(LOOK_S, timeout_s - took_s))


def standing(row: Relationship) -> str:
    """Where a relationship is instead, and what it waits for."""
    contact = "" if row["linked"] else ", no contact"
    waits = f"; its wait ends {moment(row['countdown_until'])}" if row["countdown_until"] else ""
    why = f"; {row['why']}" if row["why"] else ""
    return f"{row['name']} is {row['state']}, the partner {row['partner_state']}{contact}{waits}{why}"


def takeover(session: Session, name: str, timeout_s: float | None) -> float:
    """Until the partner's free addresses are this server's; how long it took. `timeout_s`: None for as long as the wait is."""
    began = time.monotonic()
    while True:
        status = session.status()
        row = the_relationship(status, name)
        if row["state"] != "partner-down":
            raise Failure(FAILED, f"no longer in partner-down: {standing(row)}")
        left_s = row["takeover_at"] - status["wall"]
        took_s = time.monotonic() - began
        if left_s < 0:
            return took_s
        end_s = timeout_s if timeout_s is not None else took_s + left_s + TAKEOVER_MARGIN_S
        if took_s >= end_s:
            raise Failure(
                TIMED_OUT,
                f"{name} is in partner-down; the partner's free addresses are this server's at {moment(row['takeover_at'])}, "
                f"not within {duration(end_s)}",
            )
        time.sleep(max(0.05, min(left_s, 5.0, end_s - took_s)))
