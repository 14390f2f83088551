"""Changing something: the pair as it stands, the consequences, the question, the deed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from failoverd.ctl import show
from failoverd.ctl.answers import Relationship, Status
from failoverd.ctl.client import FAILED, USAGE, Failure
from failoverd.ctl.table import Block, Line, text
from failoverd.ctl.words import ago, duration, moment


def the_relationship(status: Status, name: str | None) -> Relationship:
    """The relationship of that name, or the only one there is."""
    rows = status["relationships"]
    names = ", ".join(row["name"] for row in rows) or "none"
    found = [row for row in rows if name in (None, row["name"])]
    if name is not None and not found:
        raise Failure(FAILED, f"no relationship {name!r} on this server; there is: {names}")
    if len(found) != 1:
        raise Failure(USAGE, f"which relationship? there is: {names}")
    return found[0]


def before(relationship: Relationship, now: float) -> list[Block]:
    """The pair table that stands above every question."""
    return [show.relationship_table([relationship], now)]


def confirm(name: str, preview: Sequence[Block]) -> None:
    """Show the preview on stderr, where it disturbs no JSON, and let the operator type the name. Raises Failure without it."""
    sys.stderr.write(text(preview) + f'Type "{name}" to continue: ')
    sys.stderr.flush()
    typed = sys.stdin.readline()
    if not typed.endswith("\n"):
        sys.stderr.write("\n")
    if typed.strip() != name:
        raise Failure(FAILED, "not confirmed, nothing was changed" + ("" if typed else " (no input: --yes answers for scripts)"))


def serve_force(relationship: Relationship, now: float) -> list[Block]:
    """What `serve --force` states and does."""
    name, heard = relationship["name"], relationship["last_heard"]
    since = f"since {moment(heard)} ({ago(heard, now)}), when this server last heard it" if heard else "while this server was down"
    bound = f" (now: nothing beyond {moment(relationship['doubt_until'])})" if relationship["doubt_until"] else ""
    return [
        Line(f"If you continue, you state that the partner has not been in partner-down {since}:"),
        Line(f"  {name} serves again without the bound of a server that was booted alone{bound}"),
        Line(
            "Risk: if the partner was declared down meanwhile and serves behind a cut, both may give one address to two clients.",
            show.ODD,
        ),
    ]


def pair_init(relationship: Relationship) -> list[Block]:
    """What `pair init` states and does."""
    name = relationship["name"]
    return [
        Line(f"If you continue, you state that {name} is a new pair: no client holds a lease of its pools from either server."),
        Line(f"  {name} becomes normal without waiting for leases of a lost database (MCLT {duration(relationship['mclt_s'])})"),
        Line("Risk: an address that a client does hold may be given to a second client.", show.ODD),
    ]
