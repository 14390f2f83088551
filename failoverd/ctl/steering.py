"""failoverctl maintenance, recover, pool, conflicts: verbs whose consequences the daemon itself says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

import click

from failoverd.ctl.session import EXIT_CODES, Session, Verbs, changing, did, everywhere

if TYPE_CHECKING:
    from failoverd.ctl.answers import Conflicts, Deed, Relationship

OUT_S = 75.0  # the daemon gives up after a minute
LOOK_S = 0.2
Manner = tuple[bool, bool, str]  # dry run, yes, reason


def _deed(session: Session, verb: str, name: str | None, manner: Manner) -> Deed | None:
    """Preview, question and deed; None after a preview, or when there was nothing to do."""
    from failoverd.ctl import act, show

    dry_run, yes, reason = manner
    if yes and name is None:
        raise click.UsageError("--yes needs the relationship by name")
    client, state = session.client(), session.status()
    name = act.the_relationship(state, name)["name"]
    body: dict[str, object] = {"reason": reason}
    preview = cast("Deed", client.post("relationships", name, verb, body={**body, "dry_run": True}))
    blocks = [*act.before(preview["before"], state["wall"]), *show.consequences(preview)]
    if dry_run:
        session.write(preview, lambda: blocks)
        return None
    if preview["message"] and not preview["done"]:
        did(session, preview, f"{name}: {preview['message']}", "")  # nothing to do
        return None
    if not yes:
        act.confirm(name, blocks)
    return cast("Deed", client.post("relationships", name, verb, body=body))


@click.group(cls=Verbs)
def maintenance() -> None:
    """Take this server out of service for a while, and bring it back."""


@maintenance.command("start", epilog=EXIT_CODES)
@click.argument("relationship", required=False)
@changing
@everywhere
@click.pass_obj
def start(session: Session, relationship: str | None, dry_run: bool, yes: bool, reason: str) -> None:
    """Take this server out of service: returns when its host may be switched off.

    Refused unless both servers are normal. The server stops answering, the partner acks everything that it does not know yet, and serves
    alone. It stays so across restarts until `maintenance end`.
    """
    done = _deed(session, "maintenance-start", relationship, (dry_run, yes, reason))
    if done is None:
        return
    row = _out(session, done["relationship"])
    did(session, done, f"{row['name']}: {row['state']}; nothing is unacked, the partner serves: safe to stop this server", reason)


def _out(session: Session, name: str) -> Relationship:
    """The relationship when it is out of service. Failure when the daemon gave up."""
    from failoverd.ctl import act
    from failoverd.ctl.client import FAILED, TIMED_OUT, Failure

    end = time.monotonic() + OUT_S
    while True:
        row = act.the_relationship(session.status(), name)
        if row["state"] in ("paused", "shutdown"):
            return row
        if row["serving"] or row["state"] != "normal":
            raise Failure(FAILED, f"given up, this server serves again ({row['state']}): failoverctl history {name} says why")
        if time.monotonic() >= end:
            raise Failure(
                TIMED_OUT, f"{row['owed']} updates are not acked yet; failoverctl maintenance end {name} takes the order back"
            )
        time.sleep(LOOK_S)


@maintenance.command("end", epilog=EXIT_CODES)
@click.argument("relationship", required=False)
@changing
@everywhere
@click.pass_obj
def end(session: Session, relationship: str | None, dry_run: bool, yes: bool, reason: str) -> None:
    """Bring this server back into service. `failoverctl wait --for normal` waits until it is."""
    done = _deed(session, "maintenance-end", relationship, (dry_run, yes, reason))
    if done is not None:
        did(session, done, f"{done['relationship']}: coming back: failoverctl wait {done['relationship']} --for normal", reason)


@click.command(epilog=EXIT_CODES)
@click.argument("relationship", required=False)
@changing
@everywhere
@click.pass_obj
def recover(session: Session, relationship: str | None, dry_run: bool, yes: bool, reason: str) -> None:
    """Take every lease from the partner anew.

    For a server whose own leases are not to be trusted. It serves nobody until it has them and the MCLT has passed; the partner serves.
    Refused unless the partner is in contact and serves.
    """
    done = _deed(session, "recover", relationship, (dry_run, yes, reason))
    if done is not None:
        name = done["relationship"]
        did(session, done, f"{name}: recovering: failoverctl wait {name} --for normal", reason)


@click.group(cls=Verbs)
def pool() -> None:
    """The pools and their halves."""


@pool.command("rebalance", epilog=EXIT_CODES)
@click.argument("relationship", required=False)
@changing
@everywhere
@click.pass_obj
def rebalance(session: Session, relationship: str | None, dry_run: bool, yes: bool, reason: str) -> None:
    """Level the free addresses of both servers now.

    They do so by themselves from time to time; this is for a server that has none left while the partner has some.
    """
    done = _deed(session, "pool-rebalance", relationship, (dry_run, yes, reason))
    if done is not None:
        did(session, done, f"{done['relationship']}: {done['message']}", reason)


@click.command(epilog=EXIT_CODES)
@everywhere
@click.pass_obj
def conflicts(session: Session) -> None:
    """Addresses that two clients were granted, who has them now, and addresses that the servers do not agree about."""
    from failoverd.ctl import show

    answer = cast("Conflicts", session.client().get("conflicts"))
    session.write(answer, lambda: show.conflicts(answer))


def attach(group: click.Group) -> None:
    """Put them into failoverctl."""
    for each in (maintenance, recover, pool, conflicts):
        group.add_command(each)
