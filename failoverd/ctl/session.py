"""What every verb of failoverctl shares: the command line's options, the daemon, looking once or again, the answer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import click

if TYPE_CHECKING:
    from failoverd.ctl.answers import Status
    from failoverd.ctl.client import Client
    from failoverd.ctl.table import Block

    _Type = click.ParamType[float]
else:
    _Type = click.ParamType  # generic only since click 8.2

SOCKET = "/run/failoverd/api.sock"
EVERY_S = 2.0
EXIT_CODES = """\b
Exit codes:
  0  ok
  1  failed, or not confirmed
  2  usage
  3  refused by a safety check, nothing was changed
  4  timed out
  5  failoverd could not be reached
  6  not authorised
"""

Answer = TypeVar("Answer")
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(slots=True)
class Session:
    """What was said on the command line for every verb."""

    socket: str = field(default_factory=lambda: os.environ.get("FAILOVERD_SOCKET") or SOCKET)
    output: str = "table"

    def client(self) -> Client:
        """The daemon."""
        from failoverd.ctl.client import Client

        return Client(self.socket)

    def status(self) -> Status:
        """Its status."""
        return cast("Status", self.client().get("status"))

    def write(self, answer: object, blocks: Callable[[], Sequence[Block]]) -> None:
        """The answer as JSON, or as blocks for people."""
        if self.output == "json":
            import json

            click.echo(json.dumps(answer, indent=2))
        else:
            from failoverd.ctl.table import write

            write(blocks())


class Verbs(click.Group):
    """Verbs whose failures end with one message and their exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb."""
        from failoverd.ctl.client import Failure

        try:
            return super().invoke(ctx)
        except Failure as failure:
            click.echo(f"failoverctl: {failure.message}", err=True)
            ctx.exit(failure.exit_code)


class Span(_Type):
    """A length of time: 90, 90s, 5m, 2h, 1d. In seconds."""

    name = "TIME"
    units: ClassVar[Mapping[str, float]] = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds."""
        text = str(value)
        number, unit = (text[:-1], text[-1]) if text[-1:] in self.units else (text, "s")
        if not number.replace(".", "", 1).isdecimal() or not number.isascii():
            self.fail(f"{text!r} is no length of time; give 90, 90s, 5m, 2h or 1d", param, ctx)
        return float(number) * self.units[unit]


def _put(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    session = ctx.find_root().ensure_object(Session)
    if value is not None:
        setattr(session, str(parameter.name), value)


def everywhere(function: Function) -> Function:
    """The options that every verb takes, before or after its name."""
    output = click.option(
        "-o",
        "--output",
        type=click.Choice(["table", "json"]),
        expose_value=False,
        callback=_put,
        help="For people, or one JSON value (schema/api.json) for scripts. [default: table]",
    )
    socket = click.option(
        "--socket",
        metavar="PATH",
        expose_value=False,
        callback=_put,
        help=f"The daemon's socket; else $FAILOVERD_SOCKET, else {SOCKET}.",
    )
    return output(socket(function))


def watchable(function: Function) -> Function:
    """--watch and --every, handed to the verb as one number: seconds between two looks, 0 for one look."""
    watch = click.option("--watch", is_flag=True, help="Look again and again until interrupted; with -o json one line a look.")
    every = click.option(
        "--every", type=click.FloatRange(min=0.2), metavar="SECONDS", help=f"Pause of --watch. [default: {EVERY_S:g}]"
    )
    return watch(every(function))


def changing(function: Function) -> Function:
    """The options of every verb that changes something."""
    dry_run = click.option("--dry-run", is_flag=True, help="Show what would happen and change nothing.")
    yes = click.option("--yes", is_flag=True, help="Do not ask; the relationship must then be named.")
    reason = click.option("--reason", default="", metavar="TEXT", help="Why, for the history.")
    return dry_run(yes(reason(function)))


def look(session: Session, pause_s: float, fetch: Callable[[], Answer], blocks: Callable[[Answer], Sequence[Block]]) -> None:
    """Fetch and show once, or every `pause_s` seconds; then a daemon that goes away is said and awaited."""
    answer = fetch()
    if not pause_s:
        session.write(answer, lambda: blocks(answer))
        return
    import json

    from failoverd.ctl.client import Failure
    from failoverd.ctl.table import is_screen, write

    trouble: Failure | None = None
    try:
        while True:
            if trouble is not None:
                click.echo(f"failoverctl: {trouble.message}", err=True)
            elif session.output == "json":
                click.echo(json.dumps(answer, separators=(",", ":")))
            else:
                write(blocks(answer), clear=is_screen())
                if not is_screen():
                    click.echo()
            time.sleep(pause_s)
            try:
                answer, trouble = fetch(), None
            except Failure as failure:
                trouble = failure
    except KeyboardInterrupt:
        click.echo(err=True)


def pause_of(watch: bool, every: float | None) -> float:
    """Seconds between two looks, 0 for one look."""
    if every is not None and not watch:
        raise click.UsageError("--every needs --watch")
    return (every or EVERY_S) if watch else 0.0


def did(session: Session, answer: object, text: str, reason: str) -> None:
    """The answer of a change: one line, or the JSON."""
    from failoverd.ctl.table import Line

    session.write(answer, lambda: [Line(text + (f" (reason: {reason})" if reason else ""))])
