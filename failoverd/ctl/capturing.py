"""failoverctl capture: the daemon records everything that it is stepped with, for failoverctl replay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

import click

from failoverd.ctl.session import EXIT_CODES, Session, Verbs, did, everywhere

if TYPE_CHECKING:
    from failoverd.ctl.answers_link import Capture

    _Type = click.ParamType[int]
else:
    _Type = click.ParamType


class Size(_Type):
    """A number of octets: 1000000, 64M, 2G."""

    name = "SIZE"
    units: ClassVar[Mapping[str, int]] = {"K": 10, "M": 20, "G": 30}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The octets."""
        text = str(value).upper()
        number, shift = (text[:-1], self.units[text[-1:]]) if text[-1:] in self.units else (text, 0)
        if not (number.isascii() and number.isdecimal() and len(number) < 12):
            self.fail(f"{value!r} is no size; give 1000000, 64M or 2G", param, ctx)
        return int(number) << shift


def _size(octets: int) -> str:
    return f"{octets / (1 << 20):.1f} MB"


def _words(answer: Capture) -> str:
    """One line."""
    from failoverd.ctl.words import moment, plain

    kept = f"{answer['segments']} segments, {_size(answer['size'])} in {plain(answer['directory'])}"
    if answer["running"]:
        return f"recording since {moment(answer['since'])}: {answer['steps']} steps; at most {_size(answer['max_size'])}; {kept}"
    ended = f"; the last recording ended by itself: {plain(answer['ended'])}" if answer["ended"] else ""
    return f"not recording; {kept}{ended}"


@click.group(cls=Verbs)
def capture() -> None:
    """Record what this server decides, and why: everything that goes into it."""


@capture.command("start", epilog=EXIT_CODES)
@click.option("--max-size", type=Size(), default="0", metavar="SIZE", help="On the disk at most: 64M, 2G. [default: 256M]")
@click.option("--reason", default="", metavar="TEXT", help="Why, for the history.")
@everywhere
@click.pass_obj
def start(session: Session, max_size: int, reason: str) -> None:
    """Begin to record, in a ring: beyond --max-size the oldest goes.

    The files lie beside the lease database, readable by the daemon's user only. They hold packets, leases and names, and no key. The
    recording ends by itself when the disk is short of room; it never stops the server.
    """
    done = cast("Capture", session.client().post("capture", "start", body={"max_size": max_size, "reason": reason}))
    did(session, done, _words(done), reason)


@capture.command("stop", epilog=EXIT_CODES)
@click.option("--reason", default="", metavar="TEXT", help="Why, for the history.")
@everywhere
@click.pass_obj
def stop(session: Session, reason: str) -> None:
    """End the recording. Its files stay, and go when a later recording needs the room."""
    done = cast("Capture", session.client().post("capture", "stop", body={"reason": reason}))
    did(session, done, f"{_words(done)}; play it with: failoverctl replay {done['directory']}", reason)


@capture.command("status", epilog=EXIT_CODES)
@everywhere
@click.pass_obj
def status(session: Session) -> None:
    """Whether this server records, and what there is."""
    answer = cast("Capture", session.client().get("capture"))
    did(session, answer, _words(answer), "")


def attach(main: click.Group) -> None:
    """Put the verbs under failoverctl."""
    from failoverd.ctl.replaying import replay

    main.add_command(capture)
    main.add_command(replay)
