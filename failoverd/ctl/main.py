"""failoverctl: the operator's tool. It stands alone: it knows the API of a daemon behind a Unix socket, and nothing else of ours.

What costs time to import (http, json, rich) is imported when it is needed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import click

from failoverd.ctl import capturing, decoding, names, restoring, steering, watching
from failoverd.ctl.session import EXIT_CODES, Session, Span, Verbs, changing, did, everywhere, look, pause_of, watchable

if TYPE_CHECKING:
    from failoverd.ctl.answers import (
        Act,
        Backup,
        Decisions,
        DnsDetail,
        Lease,
        LeasePage,
        PartnerDown,
        Relationship,
        Status,
    )
    from failoverd.ctl.table import Block

PAGE = 1000


@click.group(cls=Verbs, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@everywhere
@click.pass_context
def main(ctx: click.Context) -> None:
    """See and steer the failoverd of this host.

    Verbs that change something show the consequences first and ask for the relationship's name.
    """
    ctx.ensure_object(Session)


@main.command(epilog=EXIT_CODES)
@click.argument("relationship", required=False)
@watchable
@everywhere
@click.pass_obj
def status(session: Session, relationship: str | None, watch: bool, every: float | None) -> None:
    """State of the pair, its pools and DNS.

    With RELATIONSHIP only what belongs to it.
    """
    from failoverd.ctl import act, show

    def fetch() -> Status:
        answer = session.status()
        if relationship is not None:
            act.the_relationship(answer, relationship)
        return answer

    look(session, pause_of(watch, every), fetch, lambda answer: show.status(answer, relationship))


@main.command("partner-down", epilog=EXIT_CODES)
@click.argument("relationship")
@click.option("--since", metavar="TIME", help="You state that the partner was certainly dead at TIME (2026-11-22T04:05:11Z).")
@click.option("--wait", is_flag=True, help="Return when the partner's free addresses may be given out here.")
@click.option("--timeout", "timeout_s", type=Span(), help="With --wait: how long at most. [default: as long as the wait is]")
@changing
@everywhere
@click.pass_obj
def partner_down(
    session: Session,
    relationship: str,
    since: str | None,
    wait: bool,
    timeout_s: float | None,
    dry_run: bool,
    yes: bool,
    reason: str,
) -> None:
    """State that the partner is down.

    This server takes over the partner's addresses of RELATIONSHIP.

    Refused while the partner is in contact. Without --since the waits count from now: a partner that was merely cut off may have
    gone on giving addresses until this moment.
    """
    from failoverd.ctl import act, show
    from failoverd.ctl.words import duration, moment

    if timeout_s is not None and not wait:
        raise click.UsageError("--timeout needs --wait")
    client = session.client()
    state = session.status()
    before = act.before(act.the_relationship(state, relationship), state["wall"])
    body: dict[str, object] = {"reason": reason, **({} if since is None else {"since": since})}
    preview = cast("PartnerDown", client.post("relationships", relationship, "partner-down", body={**body, "dry_run": True}))
    consequences = [*before, *show.partner_down(preview, since)]
    if dry_run:
        session.write(preview, lambda: consequences)
        return
    if not yes:
        act.confirm(relationship, consequences)
    done = cast("PartnerDown", client.post("relationships", relationship, "partner-down", body=body))
    if preview["state"] == "partner-down" and since is None:
        text = f"{relationship}: was in partner-down already, since {moment(preview['since'])}"
    else:
        text = f"{relationship}: partner-down since {since or moment(done['now'])}, epoch {done['new_epoch']}"
    did(session, done, text, reason)
    if wait:
        from failoverd.ctl import wait as waiting

        took_s = waiting.takeover(session, relationship, timeout_s)
        if session.output != "json":
            click.echo(f"{relationship}: the partner's free addresses are this server's, after {duration(took_s)}")


@main.command(epilog=EXIT_CODES)
@click.argument("relationship", required=False)
@click.option("--force", is_flag=True, help="Required: it is a statement about the partner.")
@changing
@everywhere
@click.pass_obj
def serve(session: Session, relationship: str | None, force: bool, dry_run: bool, yes: bool, reason: str) -> None:
    """End the bound of a server booted alone.

    You state that the partner has not been in partner-down since this server last heard it.
    """
    from failoverd.ctl import act

    if not force:
        raise click.UsageError("serve changes nothing without --force")
    _act(session, "serve-force", relationship, act.serve_force, (dry_run, yes, reason))


@main.group(cls=Verbs)
def pair() -> None:
    """Begin a pair."""


@pair.command("init", epilog=EXIT_CODES)
@click.argument("relationship", required=False)
@changing
@everywhere
@click.pass_obj
def pair_init(session: Session, relationship: str | None, dry_run: bool, yes: bool, reason: str) -> None:
    """State that this is a new pair whose databases are empty because there are no leases: no waiting."""
    from failoverd.ctl import act

    _act(session, "pair-init", relationship, lambda before, now: act.pair_init(before), (dry_run, yes, reason))


def _act(
    session: Session,
    verb: str,
    name: str | None,
    consequences: Callable[[Relationship, float], Sequence[Block]],
    manner: tuple[bool, bool, str],
) -> None:
    """Preview, question and deed of a verb without arguments of its own. `manner`: dry run, yes, reason."""
    from failoverd.ctl import act

    dry_run, yes, reason = manner
    if yes and name is None:
        raise click.UsageError("--yes needs the relationship by name")
    state = session.status()
    relationship = act.the_relationship(state, name)
    name = relationship["name"]
    preview = [*act.before(relationship, state["wall"]), *consequences(relationship, state["wall"])]
    if not dry_run and not yes:
        act.confirm(name, preview)
    done = cast("Act", session.client().post("relationships", name, verb, body={"reason": reason, "dry_run": dry_run}))
    if dry_run:
        session.write(done, lambda: preview)
    else:
        did(session, done, f"{name}: {done['message'] or verb + ' done'}", reason)


@main.command(epilog=EXIT_CODES)
@click.argument("path", type=click.Path())
@click.option("--reason", default="", metavar="TEXT", help="Why, for the history.")
@everywhere
@click.pass_obj
def backup(session: Session, path: str, reason: str) -> None:
    """Write a copy of the lease database.

    The daemon makes it, at one moment of its history; PATH is on its host and must not exist.
    """
    done = cast("Backup", session.client().post("backup", body={"path": os.path.abspath(path), "reason": reason}))
    did(session, done, f"{done['path']}: {done['size']} octets", reason)


@main.group(cls=Verbs)
def lease() -> None:
    """Look at leases."""


@lease.command("list", epilog=EXIT_CODES)
@click.option("--pool", metavar="POOL", help="Only of this pool.")
@click.option(
    "--state",
    type=click.Choice(["free", "active", "expired", "released", "abandoned", "reset", "backup"]),
    help="Only in this binding state.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N. [default: all]")
@watchable
@everywhere
@click.pass_obj
def lease_list(session: Session, pool: str | None, state: str | None, limit: int | None, watch: bool, every: float | None) -> None:
    """Leases by address. Addresses that were never used are not listed."""
    from failoverd.ctl import show

    query = {key: value for key, value in (("pool", pool), ("state", state)) if value is not None}
    look(session, pause_of(watch, every), lambda: _leases(session, query, limit), lambda answer: show.leases(answer["leases"]))


def _leases(session: Session, query: dict[str, str], limit: int | None) -> LeasePage:
    """All pages up to `limit` leases, as one page."""
    client = session.client()
    found: list[Lease] = []
    after: dict[str, str] = {}
    while True:
        size = PAGE if limit is None else min(PAGE, limit - len(found))
        page = cast("LeasePage", client.get("leases", limit=str(size), **query, **after))
        found += page["leases"]
        if not page["more"] or not page["leases"] or len(found) == limit:
            return {"leases": found, "more": page["more"]}
        after = {"after": page["leases"][-1]["address"]}


@lease.command("get", epilog=EXIT_CODES)
@click.argument("address")
@everywhere
@click.pass_obj
def lease_get(session: Session, address: str) -> None:
    """Everything known about the lease of ADDRESS."""
    from failoverd.ctl import show

    answer = cast("Lease", session.client().get("leases", address))
    session.write(answer, lambda: show.lease(answer))


@main.group(cls=Verbs)
def ddns() -> None:
    """Look at names in DNS, check and repair them."""


names.attach(ddns)


@ddns.command("status", epilog=EXIT_CODES)
@watchable
@everywhere
@click.pass_obj
def ddns_status(session: Session, watch: bool, every: float | None) -> None:
    """Zones, their queues, and the records that are not yet as wanted."""
    from failoverd.ctl import show

    def fetch() -> DnsDetail:
        return cast("DnsDetail", session.client().get("ddns"))

    look(session, pause_of(watch, every), fetch, lambda answer: show.ddns(answer, time.time()))


@ddns.command("wait", epilog=EXIT_CODES)
@click.argument("name")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long at most.",
)
@everywhere
@click.pass_obj
def ddns_wait(session: Session, name: str, timeout_s: float) -> None:
    """Wait until the master and every watched secondary show NAME as it is wanted.

    NAME is a full name, or an address for its PTR. A name that no lease wants is awaited until it is there at all.
    """
    from failoverd.ctl import show, wait

    answer = wait.shown(session.client(), name, timeout_s)
    session.write(answer, lambda: show.where(answer))
    wait.judge(answer, timeout_s)


@main.command(epilog=EXIT_CODES)
@click.argument("what", nargs=-1, required=True, metavar="[client|addr|name] X")
@everywhere
@click.pass_obj
def explain(session: Session, what: tuple[str, ...]) -> None:
    """Why a client was answered, or not.

    Shows the last decisions about X, which is a hardware address or client identifier (client), an IPv4 address (addr) or a DNS
    name (name); the kind is guessed when it is not said.
    """
    from failoverd.ctl import show
    from failoverd.ctl.kinds import KINDS, guess

    if len(what) > 2 or (len(what) == 2 and what[0] not in KINDS):
        raise click.UsageError("say what to explain: [client|addr|name] X")
    subject = what[-1]
    kind = KINDS[what[0]] if len(what) == 2 else guess(subject)
    answer = cast("Decisions", session.client().get("explain", **{kind: subject}))
    session.write(answer, lambda: show.decisions(answer["decisions"], subject))


main.add_command(restoring.restore)
main.add_command(decoding.decode)
capturing.attach(main)
steering.attach(main)
watching.attach(main)


if __name__ == "__main__":
    sys.exit(main())
