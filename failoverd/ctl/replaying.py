"""failoverctl replay: plays a recording on any host, without a daemon. The work is failoverd's own (python -m failoverd.replay)."""

from __future__ import annotations

import sys
from typing import Any

import click

from failoverd.ctl.session import EXIT_CODES, Session, everywhere

AROUND_S = 10.0


@click.command(epilog=EXIT_CODES)
@click.argument("file", type=click.Path(exists=True))
@click.option("--client", metavar="X", help="Only this client: hardware address in hex.")
@click.option("--at", "at", metavar="TIME", help="Only 10 s before and after TIME (2026-11-22T04:05:11Z, or seconds since 1970).")
@click.option("--verify", is_flag=True, help="Play everything and print only whether it is the same.")
@click.option(
    "--config", metavar="PATH", type=click.Path(exists=True), help="The server's configuration, when it has a name-secret."
)
@everywhere
@click.pass_obj
def replay(session: Session, file: str, client: str | None, at: str | None, verify: bool, config: str | None) -> None:
    """Play a recording again and show each decision: what came in, what the server thought, what it answered.

    FILE is the directory of `failoverctl capture`, or one .start file of it with its .steps file beside it; it may come from another host.
    The same server is stepped with the same inputs, and every output is compared with the recorded one: exit code 0 says that all are equal
    bit for bit, 1 that another version of failoverd decides differently, or that the recording is damaged.
    """
    import json
    import subprocess

    from failoverd.ctl.client import FAILED, Failure

    command = [sys.executable, "-m", "failoverd.replay", file]
    command += ["--verify"] if verify else []
    command += ["--client", _octets(client)] if client is not None else []
    command += ["--config", config] if config is not None else []
    if at is not None:
        moment = _moment(at)
        command += ["--from", str(moment - AROUND_S), "--to", str(moment + AROUND_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as player:
        assert player.stdout is not None
        assert player.stderr is not None
        differ = 0
        for text in player.stdout:
            told = json.loads(text)
            differ += told.get("differ", 0)
            click.echo(text.rstrip() if session.output == "json" else _line(told))
        error = player.stderr.read().strip()
    if player.returncode:
        raise Failure(FAILED, error or f"the player ended with {player.returncode}")
    if differ:
        raise Failure(FAILED, f"{differ} steps decide differently here: another version of failoverd, or another name-secret")


def _octets(text: str) -> str:
    parts = text.replace("-", ":").split(":")
    joined = "".join(part.zfill(2) for part in parts) if len(parts) > 1 else text.replace(".", "")
    try:
        return bytes.fromhex(joined).hex(":")
    except ValueError:
        raise click.UsageError(f"{text!r} is no hardware address in hex") from None


def _moment(text: str) -> float:
    from datetime import datetime

    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise click.UsageError(f"--at {text!r}: give 2026-11-22T04:05:11Z or seconds since 1970")
    return moment.timestamp()


def _line(told: dict[str, Any]) -> str:
    from datetime import UTC, datetime

    from failoverd.ctl.words import octets, plain

    if "steps" in told:
        same = "the same, bit for bit" if not told["differ"] else f"{told['differ']} differ, the first is step {told['first']}"
        return f"segment {told['segment']}: {told['steps']} steps, {same}"
    clock = datetime.fromtimestamp(told["wall"], UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    if "server" in told:
        return plain(f"segment {told['segment']}: server {told['server']}, failoverd {told['version']}, from {clock}")
    sign = {"in": "->", "out": "<-", "note": "  "}[told["way"]]
    rest = [each for each in (octets(told["client"]), told["address"], told["detail"]) if each]
    differs = "" if told["same"] else "   !differs from the recording"
    return plain(f"{clock} {told['step']:>6} {sign} {told['what']:<24} {'  '.join(rest)}").rstrip() + differs
