"""The table of all replays, for people: what the recorded side did, what ours does in its place, and why it differs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.replay.compare import Compared, Difference, compare
from tests.replay.facts import Facts
from tests.replay.place import ROLES, WORDS
from tests.replay.recording import recordings
from tests.replay.rules import RULES, UNNAMED, named, unbalanced

PROBED = "7d-crafted-connects"  # its primary is a probe that sends single CONNECTs: only the secondary's place can be taken
HEAD = ("capture", "our place", "states", "messages", "equal", "clients", "different by name")
LEGEND = (
    "States: as dhcpd's log and ours tell them, recorded / ours where they differ. What each thinks of its partner's state is compared,"
    " too. Messages: recorded / ours. Clients: answered as dhcpd answered / all. Numbers behind a name: how often."
)
LIMITS = (
    "A recorded partner does not answer to what ours does otherwise. Its BNDACKs are given to our BNDUPD of the same address and binding"
    " status on the same connection, at their time or when ours is sent, whichever is later; its UPDDONE waits until we have asked; an"
    " update that dhcpd never sent is accepted by a stand-in. Everything else comes at its recorded time, on the recorded connections,"
    " whoever opened them. What it says after a difference presupposes dhcpd's behaviour; that a live dhcpd goes along with ours is shown"
    " by `make interop`.",
    "Clients are rebuilt from the log: a DISCOVER that dhcpd answered asks for the address that dhcpd offered, with `secs` high enough, so"
    " that both choose the same addresses; host names and client identifiers are those that were recorded. Where dhcpd pinged before an"
    " OFFER, ours does, too, and the same addresses answer.",
    "Recordings that begin on an established link are led there by a handshake with a partner that agrees to everything, with the recorded"
    " split of the free addresses. What was said while the link was cut is not compared: one side's packets were dropped before they could"
    " be recorded. Times are compared as kinds (full lease time, MCLT, potential expiry), within 3 s.",
    "In the capture of crafted connects the primary is a probe, so only the secondary's place can be taken.",
)


@dataclass(slots=True, frozen=True)
class Row:
    """One recording with ours in the place of one side. `faults`: what no rule explains."""

    compared: Compared
    differences: dict[str, list[Difference]]
    faults: tuple[str, ...]


def plays() -> list[tuple[str, str]]:
    """(recording, role) of everything that is played."""
    return [(name, role) for name in recordings() for role in ROLES if (name, role) != (PROBED, "p")]


def row(name: str, role: str) -> Row:
    """Play one and judge it."""
    compared = compare(recordings()[name], role)
    differences = named(compared)
    return Row(compared, differences, faults(compared, differences))


def faults(compared: Compared, differences: dict[str, list[Difference]]) -> tuple[str, ...]:
    """What no rule explains, in words."""
    return tuple(_faults(compared, differences))


def _faults(compared: Compared, differences: dict[str, list[Difference]]) -> Iterator[str]:
    for each in differences.get(UNNAMED, ()):
        yield f"at {each.at:.2f} s, {each.subject}: recorded {each.recorded or 'nothing'!r}, ours {each.ours or 'nothing'!r}"
    if unbalanced(compared) > 0:
        yield f"{unbalanced(compared)} addresses too many or too few were handed over"
    facts = Facts(compared)
    if sum(told.handed for told in facts.told_by_us()) < facts.balanced():
        yield f"{facts.balanced()} addresses were handed over, and not all of them told"
    if compared.played.unheard:
        yield f"{compared.played.unheard} messages of the partner came on a connection that we no longer had"
    ours = sum(1 for found in differences.values() for each in found if each.subject.startswith("BNDUPD") and each.ours)
    if compared.played.stand_ins > ours:
        yield f"{compared.played.stand_ins} updates were answered by a stand-in, but only {ours} differ"


def _cells(each: Row) -> tuple[str, ...]:
    compared = each.compared
    recorded, ours = (" ".join(states) or "-" for states in (compared.recorded_states, compared.played.states))
    states = ours if recorded == ours else f"{recorded} / {ours}"
    clients = sum(1 for found in each.differences.values() for one in found if one.subject.startswith("client "))
    said = f"{compared.recorded_messages} / {len(compared.played.said)}"
    names = ", ".join(f"{name} {len(found)}" for name, found in each.differences.items()) or "-"
    place, answered = WORDS[compared.role], f"{compared.clients - clients} / {compared.clients}"
    return compared.recording.name, place, states, said, str(compared.equal), answered, names


def markdown(rows: list[Row]) -> str:
    """The table with its reasons."""
    lines = ["# Replay of the recorded dhcpd pairs", "", summary(rows), ""]
    lines += ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(_cells(each)) + " |" for each in rows]
    lines += ["", LEGEND]
    lines += ["", "## Why it differs", ""]
    for rule in RULES:
        count = sum(len(each.differences.get(rule.name, ())) for each in rows)
        lines.append(f"- **{rule.name}** ({count}): {rule.reason}")
    lines += ["", "## What this can show", "", *(f"- {text}" for text in LIMITS)]
    found = [f"- `{each.compared.recording.name}`, {WORDS[each.compared.role]}: {fault}" for each in rows for fault in each.faults]
    return "\n".join([*lines, *(["", "## Without a name", "", *found] if found else [])]) + "\n"


def summary(rows: list[Row]) -> str:
    """One line."""
    messages, equal = (
        sum(figures) for figures in zip(*((e.compared.recorded_messages, e.compared.equal) for e in rows), strict=True)
    )
    same = sum(each.compared.recorded_states == each.compared.played.states for each in rows)
    unnamed = sum(len(each.faults) for each in rows)
    return (
        f"{len(rows)} replays: in {same} the same states; of {messages} recorded messages {equal} equal;"
        f" {sum(len(e.compared.differences) for e in rows)} differences, {unnamed} without a name"
    )
