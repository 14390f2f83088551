"""An audit from beginning to end: the survey of rows and leases page by page, the transfers, the comparison, what changed meanwhile,
and the repairs.

One audit runs at a time; the last one is kept, so that its repairs can be ordered after its report was read.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from failoverd.ddns import audit
from failoverd.ddns.zone import DnsPlan, Zone
from failoverd.ports import Reply
from failoverd.shell.mirror import Mirror, MirrorFailed
from failoverd.shell.ping import answering

SLICE = 250  # findings in one command to the node
FRESH_S = 900.0  # repairs rest on an audit that is not older than this
PLAIN_MODE = "no-check-without-dhcid"

Ping = Callable[[Iterable[str]], Awaitable[set[str]]]
Command = Callable[[str, Mapping[str, str], str, str], Awaitable[Reply]]


class AuditRefused(Exception):
    """What was asked is not done: a code as in the API, and why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(slots=True)
class ZoneReport:
    """One zone of an audit. `error`: why it could not be looked at, "" for looked at."""

    target: str
    zone: str
    names: int = 0
    serial: int = 0
    how: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    error: str = ""


@dataclass(slots=True)
class Audit:
    """One audit. `entries`: (finding, nsupdate lines); statics: (name, ttl, type, data)."""

    number: int
    what: str
    zones: list[ZoneReport]
    began: float
    state: str = "running"
    step: str = "reading rows and leases"
    ended: float = 0.0
    skipped: int = 0
    queued: int = 0
    adopt_s: float | None = None
    entries: list[tuple[audit.Finding, list[str]]] = field(default_factory=list)
    statics: list[list[Any]] = field(default_factory=list)

    def repairable(self) -> list[audit.Finding]:
        """What a repair would do."""
        return [finding for finding, _ in self.entries if finding.repair is not audit.Repair.NONE]


class Audits:
    """Runs audits one after the other."""

    def __init__(
        self, plan: DnsPlan, mirror: Mirror | None = None, wall: Callable[[], float] = time.time, ping: Ping = answering
    ) -> None:
        self._plan = plan
        self._mirror = mirror or Mirror()
        self._wall = wall
        self._ping = ping
        self._last: Audit | None = None
        self._task: asyncio.Task[None] | None = None
        self._number = 0

    def start(self, command: Command, what: str, zone: str, adopt_s: float | None = None) -> Audit:
        """Begin an audit (`what`: check, or statics) of one zone, "" for all. `adopt_s`: a repair shall remove orphans too, whose
        address nobody has had for so long. Raises AuditRefused."""
        if self._last is not None and self._last.state == "running":
            raise AuditRefused("refused", f"audit {self._last.number} is running ({self._last.step}); wait for it")
        zones = [each for each in self._plan.zones if zone in ("", each.name)]
        if not zones:
            known = ", ".join(sorted({each.name for each in self._plan.zones})) or "none"
            raise AuditRefused("unknown", f"no zone {zone or ''} is configured; there is: {known}".replace("  ", " "))
        self._number += 1
        self._last = Audit(self._number, what, [ZoneReport(each.target, each.name) for each in zones], self._wall())
        self._last.adopt_s = adopt_s
        self._task = asyncio.get_running_loop().create_task(self._run(self._last, zones, command), name="audit")
        return self._last

    def get(self, number: int) -> Audit:
        """The audit of that number. Raises AuditRefused when it is not the last one."""
        if self._last is None or self._last.number != number:
            raise AuditRefused("unknown", f"audit {number} is not kept any more; start a new one")
        return self._last

    async def wait(self, seconds: float) -> None:
        """Until the present audit ends, or some seconds."""
        if self._task is not None and not self._task.done():
            await asyncio.wait({self._task}, timeout=seconds)

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._mirror.close()

    # --- one audit ----------------------------------------------------------------------------------------------------

    async def _run(self, run: Audit, zones: list[Zone], command: Command) -> None:
        try:
            ranges = await self._survey(command)
            for report, zone in zip(run.zones, zones, strict=True):
                run.step = f"transferring {zone.name}"
                try:
                    await self._look(run, report, zone, ranges)
                except MirrorFailed as error:
                    report.error = str(error)
            if run.adopt_s is not None:
                run.step = "asking the addresses of orphans whether they live (ping)"
                await self._spare_the_living(run)
            run.step = "looking for changes meanwhile"
            await self._settle(run, command)
            run.state, run.step = "done", ""
        except (AuditRefused, MirrorFailed) as error:
            run.state, run.step = "failed", str(error)
        except asyncio.CancelledError:
            run.state, run.step = "failed", "failoverd stopped"
            raise
        finally:
            run.ended = self._wall()
            if run.state == "running":
                run.state, run.step = "failed", "a mistake of this program, please report it"
            self._mirror.rest()

    async def _survey(self, command: Command) -> list[list[int]]:
        """Hand rows and leases over, a page a command: the loop serves clients in between. The ranges of our pools."""
        opened: Any = await _ask(command, "ddns-audit-open", {})
        await self._mirror.tell(forget=True)
        for part in ("rows", "leases"):
            start = 0
            while (texts := await _ask(command, "ddns-audit-page", {"part": part, "start": str(start)})) is not None:
                await self._mirror.tell(**{part: texts})
                start += 500
        return [list(pair) for pair in opened["ranges"]]

    async def _look(self, run: Audit, report: ZoneReport, zone: Zone, ranges: list[list[int]]) -> None:
        done = await self._mirror.transfer(zone)
        report.names, report.serial, report.how = done["names"], done["serial"], done["how"]
        run.step = f"comparing {zone.name}"
        where = {"target": zone.target, "zone": zone.name}
        if run.what == "statics":
            async for answer in self._mirror.ask(statics=where):
                run.statics += [[zone.name, *each] for each in answer.get("statics", ())]
            return
        guarded = self._plan.conflict_mode != PLAIN_MODE
        names = sorted({each.name for each in self._plan.zones if each.target == zone.target})
        asked = {**where, "ranges": ranges, "zones": names, "now": self._wall(), "guarded": guarded}
        asked["adopt_s"] = run.adopt_s
        async for answer in self._mirror.ask(compare=asked):
            run.entries += [(audit.finding_of(finding), script) for finding, script in answer.get("findings", ())]
            report.counts = answer.get("done", {}).get("counts", {})

    async def _spare_the_living(self, run: Audit) -> None:
        """An orphan whose address answers a ping is somebody's: it is only reported."""
        adopted = [
            entry for entry in run.entries if entry[0].klass is audit.Class.ORPHAN and entry[0].repair is audit.Repair.REMOVE
        ]
        of = {entry[0]: audit.addresses_of(entry[0]) for entry in adopted}
        try:
            living = await self._ping({address for each in of.values() for address in each})
        except OSError as error:
            raise AuditRefused("failed", f"orphans are not removed unseen, and this process may not ping: {error}") from None
        for at, (finding, script) in enumerate(run.entries):
            if living.intersection(of.get(finding, ())):
                detail = f"{finding.detail}; it answers a ping"
                run.entries[at] = (finding._replace(repair=audit.Repair.NONE, detail=detail, remove=(), guard=""), [])
            else:
                run.entries[at] = (finding, script)

    async def _settle(self, run: Audit, command: Command) -> None:
        """Leave out what changed during the transfer, or is under way."""
        kept: list[tuple[audit.Finding, list[str]]] = []
        for at in range(0, len(run.entries), SLICE):
            part = run.entries[at : at + SLICE]
            asked = json.dumps([(each.target, each.kind, each.name, each.row) for each, _ in part])
            verdicts: Any = await _ask(command, "ddns-audit-settle", {"findings": asked})
            kept += [entry for entry, holds in zip(part, verdicts, strict=True) if holds]
        lost = {entry[0] for entry in run.entries} - {entry[0] for entry in kept}
        run.skipped = len(lost)
        for finding in lost:
            report = next(each for each in run.zones if _in(each, finding, run.zones))
            report.counts[finding.klass] -= 1
            report.counts[audit.Class.WAITING] = report.counts.get(audit.Class.WAITING, 0) + 1
        run.entries = kept

    # --- repairs ------------------------------------------------------------------------------------------------------

    def limits(self, run: Audit) -> list[str]:
        """Zones from which more would be removed than goes without --force, in words."""
        found = []
        for report in run.zones:
            removals = sum(each.repair is audit.Repair.REMOVE and _in(report, each, run.zones) for each in run.repairable())
            allowed = audit.removals_allowed(report.names)
            if removals > allowed:
                found.append(
                    f"{report.zone} ({report.target}): {removals} removals of {report.names} names, at most {allowed} without force"
                )
        return found

    async def repair(self, run: Audit, command: Command, who: str, why: str, *, force: bool, dry_run: bool) -> tuple[int, int]:
        """Order the repairs of an audit: how many, and how many removals are left to the primary. Raises AuditRefused."""
        if run.state != "done" or run.what != "check":
            raise AuditRefused("refused", f"audit {run.number} is {run.state if run.what == 'check' else 'no check'}")
        if self._wall() - run.ended > FRESH_S or run.queued:
            raise AuditRefused("refused", f"audit {run.number} is used up or too old; check again")
        if (over := self.limits(run)) and not force:
            raise AuditRefused("refused", "; ".join(over))
        findings = run.repairable()
        common = {"total": str(len(findings)), "zone": " ".join(report.zone for report in run.zones)}
        count = left = 0
        for at in range(0, max(len(findings), 1), SLICE):
            part = findings[at : at + SLICE]
            args = {**common, "findings": json.dumps(part), "first": "1" if not at else "", "dry_run": "1" if dry_run else ""}
            done: Any = await _ask(command, "ddns-repair", {k: v for k, v in args.items() if v}, who, why)
            count, left = count + done["rows"], left + done["left"]
            if dry_run:
                return len(findings), 0
        run.queued = count
        return count, left


def _in(report: ZoneReport, finding: audit.Finding, zones: list[ZoneReport]) -> bool:
    names = [each.zone for each in zones if each.target == report.target]
    return finding.target == report.target and audit.zone_of(finding.name, names) == report.zone


async def _ask(command: Command, verb: str, args: Mapping[str, str], who: str = "", why: str = "") -> object:
    reply = await command(verb, args, who, why)
    if reply.code != "ok":
        raise AuditRefused(reply.code, reply.message or reply.code)
    return reply.body
