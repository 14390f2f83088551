"""failoverctl decode: the failover messages of a capture. The only verb that asks no daemon."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from failoverd.ctl.session import EXIT_CODES, Session, everywhere

if TYPE_CHECKING:
    from failoverd.decode.capture import Message

NO_SCAPY = "decode needs scapy: pip install 'failoverd[scapy]', or Debian's python3-scapy"


@click.command(epilog=EXIT_CODES)
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--port", "ports", type=click.IntRange(1, 65535), multiple=True, help="Failover ports. [default: 647 and 847]")
@click.option("--odd", is_flag=True, help="Only messages with an anomaly.")
@everywhere
@click.pass_obj
def decode(session: Session, file: str, ports: tuple[int, ...], odd: bool) -> None:
    """Print each failover message of a capture: when, who to whom, what, and what is odd about it.

    FILE is a pcap or pcapng of the failover link, dhcpd's or failoverd's:  tcpdump -i any -w FILE tcp port 647

    Anomalies are named behind "!"; what each name means stands below. A capture of an encrypted link says only that it is one.
    """
    from failoverd.ctl.client import FAILED, Failure

    try:
        from scapy.error import Scapy_Exception

        from failoverd.decode.capture import ANOMALIES, messages
    except ImportError:
        raise Failure(FAILED, NO_SCAPY) from None
    seen: dict[str, int] = {}
    count = 0
    try:
        for message in messages(file, ports or (647, 847)):
            count += 1
            for name in message.anomalies:
                seen[name] = seen.get(name, 0) + 1
            if message.anomalies or not odd:
                click.echo(_json(message) if session.output == "json" else _line(message))
    except (OSError, Scapy_Exception) as error:
        raise Failure(FAILED, f"{file} cannot be read as a capture: {error}") from None
    if session.output == "table":
        click.echo(f"{count} messages" + (", odd:" if seen else ", nothing odd"))
        for name in sorted(seen):
            click.echo(f"  {seen[name]:6} {name}: {ANOMALIES[name]}")


def _json(message: Message) -> str:
    """One line a message: scripts read a large capture as it comes."""
    import json

    return json.dumps({**asdict(message), "options": dict(message.options)}, separators=(",", ":"))


def _line(message: Message) -> str:
    from datetime import UTC, datetime

    from failoverd.ctl.words import plain

    clock = datetime.fromtimestamp(message.wall, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    options = ", ".join(f"{name} {plain(value)}" for name, value in message.options)
    odd = "".join(f" !{name}" for name in message.anomalies)
    head = f"{clock} #{message.connection} {message.sender} > {message.receiver} {message.type}"
    return f"{head} xid {message.xid}" + (f" {options}" if options else "") + odd
