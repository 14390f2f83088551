"""failoverctl restore: puts a backup in the place of the database of a server that does not run. The work is failoverd's."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import click

from failoverd.ctl.session import EXIT_CODES, Session, everywhere

if TYPE_CHECKING:
    from failoverd.ctl.table import Block

_CODES = {73: 3, 2: 2}  # failoverd's exit codes -> ours: refused, usage


@click.command(epilog=EXIT_CODES)
@click.argument("path", metavar="BACKUP", type=click.Path(exists=True, dir_okay=False))
@click.option("--config", metavar="FILE", help="The server's configuration. [default: failoverd's own]")
@click.option("--server", metavar="NAME", help="Which [servers] entry this host is. [default: as failoverd finds it]")
@click.option("--dry-run", is_flag=True, help="Look at the backup and say what would happen.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@everywhere
@click.pass_obj
def restore(session: Session, path: str, config: str | None, server: str | None, dry_run: bool, yes: bool) -> None:
    """Put BACKUP, made by `failoverctl backup`, in the place of the lease database.

    For a server whose database is lost or damaged, while failoverd is stopped. What is there is kept beside it. At its next start the
    server recovers what is newer from its partner, and only then serves.
    """
    from failoverd.ctl import act
    from failoverd.ctl.client import REFUSED, UNREACHABLE, Failure

    try:
        session.status()
    except Failure as failure:
        if failure.exit_code != UNREACHABLE:
            raise
    else:
        raise Failure(REFUSED, f"failoverd runs here ({session.socket} answers): systemctl stop failoverd, restore, start it again")
    command = [sys.executable, "-m", "failoverd.shell.main", "--restore", os.path.abspath(path)]
    command += ["--config", config] if config is not None else []
    command += ["--server", server] if server is not None else []
    preview = _said([*command, "--check"])
    if dry_run:
        session.write({"done": False, "message": preview}, lambda: _lines(preview))
        return
    if not yes:
        act.confirm("restore", _lines(preview))
    done = _said(command)
    session.write({"done": True, "message": done}, lambda: _lines(done))


def _lines(text: str) -> list[Block]:
    from failoverd.ctl.table import Line

    return [Line(line) for line in text.splitlines()]


def _said(command: list[str]) -> str:
    """failoverd's own words. Failure with its reason, and its exit code as ours."""
    from failoverd.ctl.client import FAILED, Failure

    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(_CODES.get(done.returncode, FAILED), done.stderr.strip().removeprefix("failoverd: "))
    return done.stdout.strip()
