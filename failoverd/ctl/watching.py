"""failoverctl check, wait, history: what monitoring and scripts ask, and what happened."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

import click

from failoverd.ctl.session import EXIT_CODES, Session, Span, everywhere

if TYPE_CHECKING:
    from failoverd.ctl.answers import History

STATES = (
    "normal",
    "communications-interrupted",
    "partner-down",
    "potential-conflict",
    "recover",
    "recover-wait",
    "recover-done",
    "resolution-interrupted",
    "conflict-done",
    "paused",
    "shutdown",
)
CHECK_CODES = """\b
Exit codes, as monitoring plugins have them:
  0  OK
  1  WARNING: look during the day
  2  CRITICAL: clients are refused, or one more failure is an outage
  3  UNKNOWN: failoverd could not be asked
"""


class Misused(click.UsageError):
    """Wrong use is UNKNOWN, not CRITICAL."""

    exit_code = 3


class Plugin(click.Command):
    """A verb with the exit codes of monitoring plugins."""

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        """Parse."""
        try:
            return super().make_context(*args, **more)
        except click.UsageError as error:
            raise Misused(error.message, error.ctx) from None


@click.command(cls=Plugin, epilog=CHECK_CODES)
@click.option("--dry-warning", type=Span(), default="4h", show_default=True, help="WARNING when a pool runs dry within this.")
@click.option("--dry-critical", type=Span(), default="1h", show_default=True, help="CRITICAL when a pool runs dry within this.")
@everywhere
@click.pass_obj
def check(session: Session, dry_warning: float, dry_critical: float) -> None:
    """One line, performance data and an exit code for Nagios, Icinga and their like.

    A pool's forecast counts when its rate was watched for ten minutes at least.
    """
    from failoverd.ctl import check as judging
    from failoverd.ctl.client import Failure

    try:
        found = judging.judge(session.status(), dry_warning, dry_critical)
    except Failure as failure:
        found = judging.unreachable(failure)
    if session.output == "json":
        import json

        reasons = [{"level": judging.LEVELS[level], "text": text} for level, text in found.reasons]
        body = {"level": judging.LEVELS[found.level], "code": found.level, "reasons": reasons, "lines": found.lines}
        click.echo(json.dumps({**body, "perfdata": found.perfdata}, indent=2))
    else:
        click.echo(found.text(), nl=False)
    sys.exit(found.level)


@click.command(epilog=EXIT_CODES)
@click.argument("relationship", required=False)
@click.option(
    "--for",
    "wanted",
    type=click.Choice(STATES),
    default="normal",
    show_default=True,
    help="The state to wait for; normal means: on both servers, in contact.",
)
@click.option("--timeout", "timeout_s", type=Span(), default="5m", show_default=True, help="How long at most.")
@everywhere
@click.pass_obj
def wait(session: Session, relationship: str | None, wanted: str, timeout_s: float) -> None:
    """Wait until the relationship is in a state.

    A failoverd that does not answer (it is being restarted) is waited for as well.
    """
    from failoverd.ctl import wait as waiting
    from failoverd.ctl.table import Line
    from failoverd.ctl.words import duration

    row, took_s = waiting.state(session, relationship, wanted, timeout_s)
    session.write(row, lambda: [Line(f"{row['name']}: {wanted} after {duration(took_s)}")])


@click.command(epilog=EXIT_CODES)
@click.argument("relationship", required=False)
@click.option("--since", metavar="TIME", help="Only from TIME on (2026-11-22T04:05:11Z).")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, metavar="N", help="At most the newest N.")
@everywhere
@click.pass_obj
def history(session: Session, relationship: str | None, since: str | None, limit: int) -> None:
    """What changed, who did it and why.

    Every change of state of this server and of its partner, and every verb of an operator; with RELATIONSHIP only what belongs to it.
    """
    from failoverd.ctl import show

    query = {key: value for key, value in (("subject", relationship), ("since", since)) if value is not None}
    answer = cast("History", session.client().get("history", limit=str(limit), **query))
    session.write(answer, lambda: show.history(answer["events"]))


def attach(group: click.Group) -> None:
    """Put them into failoverctl."""
    for each in (check, wait, history):
        group.add_command(each)
