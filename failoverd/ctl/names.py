"""failoverctl ddns: rows, audits and repairs, holds, tests of a zone, static entries."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from failoverd.ctl.session import EXIT_CODES, Session, Verbs, did, everywhere, look, pause_of, watchable

if TYPE_CHECKING:
    from failoverd.ctl.answers import (
        Audit,
        DdnsRow,
        DdnsRows,
        NameHistory,
        NameView,
        RepairDone,
        RowsDone,
        StaticDone,
        ZoneDone,
        ZoneTest,
    )
    from failoverd.ctl.client import Client
    from failoverd.ctl.table import Block

STATES = ("clean", "dirty", "inflight", "conflict", "blocked", "held", "dead")
TYPES = ("A", "AAAA", "CNAME", "TXT", "MX", "SRV", "PTR")
Function = TypeVar("Function", bound=Callable[..., Any])


def reasoned(function: Function) -> Function:
    """--reason."""
    return click.option("--reason", default="", metavar="TEXT", help="Why, for the history.")(function)


def asking(function: Function) -> Function:
    """The options of a verb that shows what it would do and asks first."""
    dry_run = click.option("--dry-run", is_flag=True, help="Show what would happen and change nothing.")
    yes = click.option("--yes", is_flag=True, help="Do not ask.")
    return dry_run(yes(reasoned(function)))


def verb(name: str) -> Callable[[Callable[..., None]], click.Command]:
    """A verb with the options that all have, handed the session."""

    def make(function: Callable[..., None]) -> click.Command:
        return click.command(name, epilog=EXIT_CODES)(everywhere(click.pass_obj(function)))

    return make


# --- looking ---------------------------------------------------------------------------------------------------------------


def _all_rows(client: Client, state: str, limit: int | None) -> list[DdnsRow]:
    found: list[DdnsRow] = []
    query = {"state": state} if state else {}
    while True:
        page = cast("DdnsRows", client.get("ddns", "rows", **query))
        found += page["rows"]
        if not page["more"] or (limit is not None and len(found) >= limit):
            return found[:limit]
        query["after"] = page["after"]


@verb("list")
@click.option("--state", multiple=True, type=click.Choice(STATES), help="Only in this state; may be given several times.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N. [default: all]")
@watchable
def rows(session: Session, state: tuple[str, ...], limit: int | None, watch: bool, every: float | None) -> None:
    """Names that failoverd keeps, by target, kind and name."""
    from failoverd.ctl import show_names

    def fetch() -> dict[str, object]:
        return {"rows": _all_rows(session.client(), ",".join(state), limit)}

    look(session, pause_of(watch, every), fetch, lambda answer: show_names.rows(cast("list[DdnsRow]", answer["rows"]), time.time()))


@verb("show")
@click.argument("name")
def show(session: Session, name: str) -> None:
    """Everything about NAME, a name or an IPv4 address: what is wanted, what is there, and which leases want it."""
    from failoverd.ctl import show_names

    answer = cast("NameView", session.client().get("ddns", "names", name))
    session.write(answer, lambda: show_names.name(answer, time.time()))


@verb("history")
@click.argument("name")
def history(session: Session, name: str) -> None:
    """What became of NAME, as far back as the journal is kept."""
    from failoverd.ctl import show_names

    answer = cast("NameHistory", session.client().get("ddns", "names", name, "history"))
    session.write(answer, lambda: show_names.history(answer))


@verb("export")
@click.option("--nsupdate", is_flag=True, help="A script for nsupdate that makes an empty zone say the same.")
@click.option("--target", metavar="TARGET", help="Of this target. [default: the first by name]")
def export(session: Session, nsupdate: bool, target: str | None) -> None:
    """Everything that failoverd wants in DNS, as JSON or for nsupdate."""
    from failoverd.ctl import show_names

    found = _all_rows(session.client(), "", None)
    wanted = target or min((row["target"] for row in found), default="")
    picked = [row for row in found if row["target"] == wanted]
    if nsupdate:
        for line in show_names.export(picked):
            click.echo(line)
        return
    session.output = "json"
    session.write({"rows": picked}, list)


# --- rows ------------------------------------------------------------------------------------------------------------------


def _confirm(word: str, text: str, blocks: Sequence[Block] = ()) -> None:
    from failoverd.ctl import act
    from failoverd.ctl.table import Line

    act.confirm(word, [*blocks, Line(text)])


def _rows_done(session: Session, path: str, body: dict[str, object], word: str, text: str, manner: tuple[bool, bool, str]) -> None:
    """Preview, question and deed of a verb about rows. `text`: the consequence, with {rows}. `manner`: dry run, yes, reason."""
    from failoverd.ctl.table import Line

    dry_run, yes, reason = manner
    client = session.client()
    preview = cast("RowsDone", client.post("ddns", path, body={**body, "reason": reason, "dry_run": True}))
    consequence = preview["message"] or text.format(rows=preview["rows"])
    if dry_run or not preview["rows"]:
        session.write(preview, lambda: [Line(consequence)])
        return
    if not yes:
        _confirm(word, consequence)
    done = cast("RowsDone", client.post("ddns", path, body={**body, "reason": reason}))
    did(session, done, f"{word}: {path} ordered for {done['rows']} rows", reason)


@verb("retry")
@click.argument("names", nargs=-1)
@reasoned
def retry(session: Session, names: tuple[str, ...], reason: str) -> None:
    """Try again now: NAMES, or everything that waits or is in trouble. Held zones and silent servers are asked at once, too."""
    done = cast("RowsDone", session.client().post("ddns", "retry", body={"names": list(names), "reason": reason}))
    did(session, done, f"{done['rows']} rows are tried again", reason)


@verb("resend")
@click.argument("what", metavar="IP|SUBNET|ZONE|NAME|all")
@asking
def resend(session: Session, what: str, dry_run: bool, yes: bool, reason: str) -> None:
    """Say names again although nothing changed. Names that are already right cost the master next to nothing."""
    text = "{rows} rows are said again, at most 50 a second, behind those of clients that come now"
    _rows_done(session, "resend", {"what": what}, what, text, (dry_run, yes, reason))


@verb("take")
@click.argument("name")
@asking
def take(session: Session, name: str, dry_run: bool, yes: bool, reason: str) -> None:
    """Give NAME to the live lease that wants it, although another client has it.

    Exactly what stands there now is removed; when it changes meanwhile, nothing is. A static entry (no DHCID) is not taken.
    """
    text = "The records of the other client at " + name + " are removed ({rows} targets), and our client gets the name"
    _rows_done(session, "take", {"name": name}, name, text, (dry_run, yes, reason))


@verb("drop")
@click.argument("name")
@asking
def drop(session: Session, name: str, dry_run: bool, yes: bool, reason: str) -> None:
    """Give NAME up: it is tried again only when its client renews, and what may be in the zone is no longer removed."""
    text = "{rows} rows are forgotten; records of ours that may be in the zone stay there"
    _rows_done(session, "drop", {"name": name}, name, text, (dry_run, yes, reason))


# --- zones -----------------------------------------------------------------------------------------------------------------


@verb("hold")
@click.argument("zone")
@asking
def hold(session: Session, zone: str, dry_run: bool, yes: bool, reason: str) -> None:
    """Send nothing to ZONE until it is released, also after a restart. Clients are served; their names wait."""
    client = session.client()
    body = {"zone": zone, "reason": reason}
    preview = cast("ZoneDone", client.post("ddns", "hold", body={**body, "dry_run": True}))
    text = f"nothing is sent to {preview['zone']} until: failoverctl ddns release {preview['zone']}"
    if dry_run:
        did(session, preview, text, reason)
        return
    if not yes:
        _confirm(zone, text)
    did(session, client.post("ddns", "hold", body=body), text, reason)


@verb("release")
@click.argument("zone")
@reasoned
def release(session: Session, zone: str, reason: str) -> None:
    """Send to ZONE again."""
    done = cast("ZoneDone", session.client().post("ddns", "release", body={"zone": zone, "reason": reason}))
    did(session, done, done["message"] or f"{done['zone']} is released", reason)


@verb("test")
@click.argument("zone")
@reasoned
def test(session: Session, zone: str, reason: str) -> None:
    """Add and remove a name that nobody uses, and a PTR, and say in words what the master answers."""
    from failoverd.ctl import show_names
    from failoverd.ctl.client import FAILED

    answer = cast("ZoneTest", session.client().post("ddns", "test", body={"zone": zone, "reason": reason}))
    session.write(answer, lambda: show_names.zone_test(answer))
    if not answer["good"]:
        sys.exit(FAILED)


# --- audits ----------------------------------------------------------------------------------------------------------------


def _audit(client: Client, zone: str, what: str, adopt_s: int | None = None) -> Audit:
    """Begin an audit, wait for its end, and gather its pages. Raises Failure."""
    from failoverd.ctl.client import FAILED, Failure

    answer = cast(
        "Audit",
        client.post(
            "ddns", "audits", body={"what": what, "zone": zone, **({} if adopt_s is None else {"adopt_orphans_s": adopt_s})}
        ),
    )
    number = str(answer["number"])
    while answer["state"] == "running":
        answer = cast("Audit", client.get("ddns", "audits", number))
    if answer["state"] == "failed":
        raise Failure(FAILED, answer["step"])
    page = answer
    while page["next"] >= 0:
        page = cast("Audit", client.get("ddns", "audits", number, after=str(page["next"])))
        answer["findings"] += page["findings"]
        answer["statics"] += page["statics"]
    answer["next"] = -1
    return answer


def _unseen(answer: Audit) -> None:
    """Exit 1 when a zone could not be looked at."""
    from failoverd.ctl.client import FAILED

    if any(zone["error"] for zone in answer["zones"]):
        sys.exit(FAILED)


@verb("check")
@click.argument("zone", required=False, default="")
def check(session: Session, zone: str) -> None:
    """Compare ZONE, or all zones, with the leases. Changes nothing.

    The zones are transferred (AXFR, later IXFR) by a process of their own; the master must allow transfers with failoverd's key.
    """
    from failoverd.ctl import show_names

    answer = _audit(session.client(), zone, "check")
    session.write(answer, lambda: show_names.audit(answer))
    _unseen(answer)


@verb("repair")
@click.argument("zone", required=False, default="")
@click.option("--force", is_flag=True, help="Also when more than 20 names and more than 5 % of a zone would be removed.")
@click.option("--adopt-orphans", is_flag=True, help="Remove orphans too, if nobody has their address and it answers no ping.")
@click.option(
    "--older-than",
    type=click.IntRange(1, 3650),
    default=7,
    show_default=True,
    metavar="DAYS",
    help="With --adopt-orphans: only those whose address nobody has had for so long.",
)
@asking
def repair(
    session: Session, zone: str, force: bool, adopt_orphans: bool, older_than: int, dry_run: bool, yes: bool, reason: str
) -> None:
    """Check, and repair what can be: say again what is missing or wrong, remove what is provably a former client's.

    Only in normal or in partner-down; of a pair in normal only the primary removes. --dry-run prints the repairs for nsupdate.
    """
    from failoverd.ctl import show_names

    client = session.client()
    answer = _audit(client, zone, "check", older_than * 86400 if adopt_orphans else None)
    if dry_run:
        if session.output == "json":
            session.write(answer, list)
        else:
            for line in show_names.script(answer):
                click.echo(line)
        _unseen(answer)
        return
    if not answer["repairs"]:
        session.write(answer, lambda: show_names.audit(answer))
        _unseen(answer)
        return
    if not yes:
        _confirm(
            "repair", f"If you continue, {answer['repairs']} names are repaired, at most 50 a second", show_names.audit(answer)
        )
    body = {"force": force, "reason": reason}
    done = cast("RepairDone", client.post("ddns", "audits", str(answer["number"]), "repair", body=body))
    left = f", {done['left']} removals are left to the primary" if done["left"] else ""
    did(session, done, f"{done['repairs']} repairs are under way: failoverctl ddns status{left}", reason)
    _unseen(answer)


# --- static entries --------------------------------------------------------------------------------------------------------


@click.group("static", cls=Verbs)
def static() -> None:
    """Entries of your own in a zone that failoverd updates.

    They are sent with a key of their own (static-key-file). Names of clients (those with a DHCID) are never touched.
    """


@verb("add")
@click.argument("name")
@click.argument("rtype", metavar="TYPE", type=click.Choice(TYPES, case_sensitive=False))
@click.argument("data", nargs=-1, required=True)
@click.option(
    "--ttl",
    type=click.IntRange(0, 2**31 - 1),
    default=3600,
    show_default=True,
    metavar="SECONDS",
    help="How long resolvers may keep it.",
)
@reasoned
def static_add(session: Session, name: str, rtype: str, data: tuple[str, ...], ttl: int, reason: str) -> None:
    """Add a record: failoverctl ddns static add www.example.com A 192.0.2.1"""
    body = {"name": name, "type": rtype, "value": " ".join(data), "ttl": ttl, "reason": reason}
    done = cast("StaticDone", session.client().post("ddns", "statics", "add", body=body))
    did(session, done, f"added: {done['name']} {ttl} {done['type']} {done['value']}", reason)


@verb("del")
@click.argument("name")
@click.argument("rtype", metavar="TYPE", type=click.Choice(TYPES, case_sensitive=False))
@click.argument("data", nargs=-1, required=True)
@reasoned
def static_del(session: Session, name: str, rtype: str, data: tuple[str, ...], reason: str) -> None:
    """Delete one record: failoverctl ddns static del www.example.com A 192.0.2.1"""
    body = {"name": name, "type": rtype, "value": " ".join(data), "reason": reason}
    done = cast("StaticDone", session.client().post("ddns", "statics", "delete", body=body))
    did(session, done, f"deleted: {done['name']} {done['type']} {done['value']}", reason)


@verb("list")
@click.argument("zone", required=False, default="")
def static_list(session: Session, zone: str) -> None:
    """The records of ZONE, or of all zones, that stand at names without a DHCID."""
    from failoverd.ctl import show_names

    answer = _audit(session.client(), zone, "statics")
    session.write(answer, lambda: show_names.statics(answer["statics"]))
    _unseen(answer)


def attach(group: click.Group) -> None:
    """Put all of them into `failoverctl ddns`."""
    for each in (rows, show, history, export, retry, resend, take, drop, hold, release, test, check, repair, static):
        group.add_command(each)
    for each in (static_add, static_del, static_list):
        static.add_command(each)
