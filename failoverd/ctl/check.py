"""One judgement of a status for a monitoring system: the exit codes and the line of Nagios plugins, which Icinga, Zabbix and others read.

Decides from GET /v1/status alone. What to type stands in the daemon's own warnings; they follow the first line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from failoverd.ctl.answers import Pool, Relationship, Status
from failoverd.ctl.client import TIMED_OUT, UNREACHABLE, Failure
from failoverd.ctl.words import duration, plain

OK, WARNING, CRITICAL, UNKNOWN = range(4)
LEVELS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
SKEW_CRITICAL_S = 60.0  # dhcpd and failoverd refuse the next handshake above it (failover-protocol.md 4.3)
RATE_LEAST_S = 600.0  # a forecast from less is no reason to wake anybody
_RETURNING = ("startup", "recover", "recover-wait", "recover-done")
_RESTING = ("paused", "shutdown")


@dataclass(slots=True)
class Judgement:
    """`reasons`: what is wrong, the worst first; `lines`: what else the operator should read; `perfdata`: label -> value;least;most."""

    level: int = OK
    reasons: list[tuple[int, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    perfdata: dict[str, str] = field(default_factory=dict)

    def add(self, level: int, text: str) -> None:
        """One finding."""
        self.level = max(self.level, level)
        self.reasons.append((level, text))

    def text(self) -> str:
        """The plugin's output: the line that monitoring shows, the performance data, the long text."""
        worst_first = [text for _, text in sorted(self.reasons, key=lambda each: -each[0])]
        first = f"FAILOVERD {LEVELS[self.level]} - {'; '.join(worst_first)}".replace("|", "/")
        numbers = " ".join(f"{_label(label)}={value}" for label, value in self.perfdata.items())
        return "\n".join([first + (f" | {numbers}" if numbers else ""), *(line.replace("|", "/") for line in self.lines)]) + "\n"


def _label(text: str) -> str:
    """Quoted when it has to be; a label may hold neither "=" nor quotes."""
    clean = plain(text).replace("'", "").replace("=", "")
    return f"'{clean}'" if " " in clean else clean


def judge(status: Status, dry_warning_s: float, dry_critical_s: float) -> Judgement:
    """Everything that a status says. `dry_*_s`: how soon a pool may run dry at the recent rate."""
    found = Judgement()
    for row in status["relationships"]:
        level, text = _relationship(row, status["wall"])
        found.add(level, text)
        found.perfdata |= _numbers(row, status["wall"])
    roles = {row["name"]: row for row in status["relationships"]}
    for pool in status["pools"]:
        here, there = _free(pool, roles.get(pool["relationship"] or ""), status["wall"])
        for level, text in _pool(pool, here, there, dry_warning_s, dry_critical_s):
            found.add(level, text)
        found.perfdata[f"{pool['name']} free"] = f"{here};;;0;{pool['total']}"
        found.perfdata[f"{pool['name']} partner"] = f"{there};;;0;{pool['total']}"
    for zone in status["dns"]["zones"]:
        found.perfdata[f"{zone['zone']} queue"] = f"{zone['queue']};;;0"
        if zone["state"] != "ok":
            found.add(WARNING, f"DNS {zone['zone']} is {zone['state']}, {zone['queue']} updates wait (failoverctl ddns status)")
    if not status["serving"] and not status["relationships"]:
        found.add(CRITICAL, "not serving")
    found.lines = list(status["warnings"])
    if status["warnings"] and found.level == OK:
        found.add(WARNING, f"{len(status['warnings'])} warnings")
    if not found.reasons:
        found.add(OK, f"{status['server']} is serving")
    return found


def unreachable(failure: Failure) -> Judgement:
    """No answer: a daemon that is not there or hangs serves nobody; that this user may not ask says nothing about it."""
    found = Judgement()
    first, *rest = failure.message.splitlines()
    found.add(CRITICAL if failure.exit_code in (UNREACHABLE, TIMED_OUT) else UNKNOWN, first)
    found.lines = rest
    return found


def _relationship(row: Relationship, now: float) -> tuple[int, str]:
    level, text = _state(row, now)
    if row["skew_s"] is not None and abs(row["skew_s"]) > SKEW_CRITICAL_S:
        return CRITICAL, f"{text}, the clocks differ by {row['skew_s']:+.0f}s"
    return level, text


def _state(row: Relationship, now: float) -> tuple[int, str]:
    state, name = row["state"], row["name"]
    text = f"{name} {state}/{row['partner_state']}"
    silent = f"no contact for {duration(max(0.0, now - row['last_heard']))}" if row["last_heard"] else "no contact yet"
    if row["doubt_until"]:
        grants = (
            "gives no new address" if row["doubt_until"] <= now else f"grants until {duration(row['doubt_until'] - now)} from now"
        )
        return CRITICAL, f"{text}, {silent}, booted alone: {grants} (failoverctl serve --force {name})"
    if state == "normal":
        return (OK, text) if row["linked"] and row["serving"] else (WARNING, f"{text}, {silent}")
    if state == "communications-interrupted":
        if row["partner_state"] in _RESTING:
            return WARNING, f"{text}: the partner was taken out of service by an operator"
        if row["linked"]:
            return WARNING, f"{text}: the partner is back, both compare"
        return CRITICAL, f"{text}, {silent}; if it is dead: failoverctl partner-down {name} --dry-run"
    if state == "partner-down":
        return WARNING, f"{text}, {silent if not row['linked'] else 'the partner is coming back'}; alone by an operator's statement"
    if state in _RETURNING:
        return WARNING, f"{text}, not serving yet: the partner serves"
    if state in _RESTING:
        return WARNING, f"{text}, taken out of service: failoverctl maintenance end {name}"
    return CRITICAL, f"{text}, not serving: {row['why']}"


def _numbers(row: Relationship, now: float) -> dict[str, str]:
    name = row["name"]
    found = {f"{name} unacked": f"{row['unacked']};;;0;{row['window']}", f"{name} owed": f"{row['owed']};;;0"}
    if row["last_heard"]:
        found[f"{name} silence"] = f"{max(0.0, now - row['last_heard']):.1f}s;;;0"
    if row["skew_s"] is not None:
        found[f"{name} skew"] = f"{row['skew_s']:.2f}s"
    return found


def _free(pool: Pool, relationship: Relationship | None, now: float) -> tuple[int, int]:
    """Free for this server, free for the partner."""
    if relationship is None or 0 < relationship["takeover_at"] <= now:
        return pool["free"] + pool["backup"], 0
    here, there = pool["free"], pool["backup"]
    return (here, there) if relationship["role"] == "primary" else (there, here)


def _pool(pool: Pool, here: int, there: int, warning_s: float, critical_s: float) -> Iterator[tuple[int, str]]:
    name, lasts = pool["name"], pool["lasts"]
    if not pool["total"]:
        return
    if not here:
        yield (WARNING, f"{name} has no free address here, {there} at the partner") if there else (CRITICAL, f"{name} is full")
        return
    if lasts is None or lasts["now"] is None or pool["rate"]["window_s"] < RATE_LEAST_S:
        return
    if lasts["now"] < warning_s:
        yield CRITICAL if lasts["now"] < critical_s else WARNING, f"{name} runs dry in {duration(lasts['now'])}"
