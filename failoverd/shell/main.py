"""`failoverd`, the command: its options, the configuration, and what becomes of both. Exit codes are in ending.py."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import click

from failoverd import __version__, compile
from failoverd.config import SERVER_FILE, Config, ConfigError, Problem, load, pick_server
from failoverd.config_models import Local
from failoverd.shell.checking import key_problems
from failoverd.shell.ending import EXIT_CONFIG, EXIT_STORE_OPEN
from failoverd.shell.logs import Format
from failoverd.shell.options import Options
from failoverd.shell.tls import check_files, identities

EXIT_CODES = (
    "Exit codes: 0 stopped cleanly, 1 errors in the configuration, 2 usage, 69 a socket cannot be opened, 70 a mistake of this program, "
    "73 the database cannot or must not be opened, 74 a commit failed while serving, 75 the last commit hung, 77 a capability is missing."
)
DEFAULT_CONFIG = "/etc/failoverd/failoverd.toml"


@click.command(context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
@click.option("--config", "path", default=DEFAULT_CONFIG, show_default=True, metavar="FILE", help="The configuration, TOML.")
@click.option("--server", metavar="NAME", help=f"Which [servers] entry this is; otherwise the word in {SERVER_FILE}.")
@click.option("--check", is_flag=True, help="Read the configuration, print every problem with its line, and exit: 0 good, 1 bad.")
@click.option("--force-clock", is_flag=True, help="Serve although the wall clock is before the newest record of the database.")
@click.option(
    "--new-pair", is_flag=True, help="As `failoverctl pair init` at once: states that no leases exist. For demo and tests."
)
@click.option(
    "--restore",
    metavar="BACKUP",
    help="Put a backup in the place of the database, and exit: 0 done, 73 refused. With --check: only say what would happen.",
)
@click.option("--log-format", type=click.Choice(["json", "console"]), help="In the place of [log] format.")
@click.version_option(__version__, prog_name="failoverd")
def main(
    path: str, server: str | None, check: bool, force_clock: bool, new_pair: bool, restore: str | None, log_format: Format | None
) -> None:
    """A redundant DHCPv4 server that feeds DNS. Runs in the foreground; SIGTERM stops it, SIGHUP reads keys and certificates again."""
    try:
        config = load(path)
        for warning in config.warnings:
            click.echo(f"warning: {warning}", err=True)
        if restore is not None:
            sys.exit(_restore(config.local(pick_server(config, server)), restore, check))
        if check:
            errors, warnings = _compile_all(config, path, server)
            for warning in warnings:
                click.echo(f"warning: {warning}", err=True)
            if errors:
                raise ConfigError(errors)
            click.echo(f"{path}: good, digest {config.digest()}")
            return
        name = pick_server(config, server)
        local = config.local(name)
        terms = compile.terms(config, name)
        files = identities(config, path, terms)
        options = Options(config, name, local, terms, files, force_clock, new_pair, log_format or local.log.format)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        sys.exit(EXIT_CONFIG)
    sys.exit(_run(options))


def _compile_all(config: Config, path: str, server: str | None) -> tuple[list[Problem], list[Problem]]:
    """What a start would make of the configuration, for one server or for all of them; errors and warnings about the files of keys."""
    names = [pick_server(config, server)] if server is not None else sorted(config.servers)
    errors, warnings = key_problems(config, path)
    for name in names:
        wrong, missing = check_files(config, path, compile.terms(config, name))
        errors += wrong
        warnings += missing
        compile.scopes(config, name)
    compile.dns_plan(config)
    return list(dict.fromkeys(errors)), list(dict.fromkeys(warnings))


def _restore(local: Local, backup: str, check: bool) -> int:
    """A backup in the place of the database; the exit code."""
    from failoverd.shell import clock
    from failoverd.shell import restore as restoring
    from failoverd.shell.disk import StoreError

    wall, database = clock.read().wall, Path(local.store.path)
    try:
        found = restoring.look(Path(backup), wall)
        if check:
            click.echo(restoring.outlook(found, database))
        else:
            click.echo(restoring.told(found, restoring.restore(found, database, local.store.reserve, wall)))
    except StoreError as error:
        click.echo(f"failoverd: {error}", err=True)
        return EXIT_STORE_OPEN
    return 0


def _run(options: Options) -> int:
    from failoverd.shell.serve import CannotStart, serve  # not for --check, --help and --version, which should be quick

    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serve(options))
    except CannotStart as error:
        click.echo(f"failoverd: {error}", err=True)
        return error.code
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed (performance.md 3 a, e: level on UDP, twice as fast on TCP)."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


if __name__ == "__main__":
    main()
