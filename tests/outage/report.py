"""The table, as text and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.interop.pairs.report import aligned
from tests.outage.judge import Figures
from tests.outage.pairs import Product, Scene
from tests.outage.terms import DHCPD_TOLERANCE_S, LEAST_OUR_DELAY_S, MINUTE, Site

HEAD = (
    "pair",
    "scene",
    "partner-down after",
    "clients",
    "wanted a lease",
    "waited 1 min",
    "refused",
    "meanwhile",
    "at return",
    "longest wait",
    "lost",
    "twice",
    "answers after",
    "both serve after",
)
SCENES = {
    Scene.NOBODY: "nobody does anything",
    Scene.LATE: "nobody, noticed as late as by failoverd",
    Scene.OPERATOR: "the operator says partner-down",
    Scene.ITSELF: "partner-down by itself",
}


@dataclass(slots=True, frozen=True)
class Line:
    """One pair in one scene. `failure`: why it has no figures, or why they do not count."""

    product: Product
    scene: Scene
    figures: Figures | None
    failure: str = ""


def minutes(site_s: float | None) -> str:
    """A length in minutes and seconds of the site."""
    if site_s is None:
        return "-"
    whole = round(site_s)
    return f"{whole // 60}:{whole % 60:02}"


def row(line: Line) -> tuple[str, ...]:
    """The cells of one line."""
    found = line.figures
    if found is None:
        return (line.product.words, SCENES[line.scene], *("?" for _ in HEAD[2:]))
    counts = (found.refused, found.refused_meanwhile, found.refused_after)
    return (
        line.product.words,
        SCENES[line.scene],
        minutes(found.declared_s),
        str(found.clients),
        str(found.wanted),
        str(found.waited),
        *map(str, counts),
        minutes(found.longest_s),
        str(found.lost),
        str(found.twice),
        minutes(found.answers_s),
        minutes(found.normal_s),
    )


def legend(site: Site, factor: float, seed: int) -> list[str]:
    """What each column counts, what the site is, and what was compressed."""
    long = {name: minutes(getattr(site, name)) for name in site.__slots__ if name.endswith("_s")}
    late_s = max(LEAST_OUR_DELAY_S * factor, site.silence_s)
    return [
        f"The site: {site.present} clients at any time, who stay {long['stay_s']} on average and are replaced by others"
        f" ({site.returning:.0%} of whom were there before); {site.releasing:.0%} leave with a RELEASE, the rest without a word."
        f" A pool of {site.pool} addresses, leases of {long['lease_s']}, MCLT {long['mclt_s']}, {long['silence_s']} of silence"
        " until the other server counts as gone. Every pair has the same clients, who come and go at the same moments (seed"
        f" {seed}). One server, the primary, goes off after {long['death_s']} (cables first, then kill -9) and is started again,"
        f" with its database, {long['outage_s']} later; the watch ends {long['after_s']} after that. All times are"
        " minutes:seconds of the site.",
        "Scenes. Nobody does anything; but a Kea server says partner-down by itself, when nothing was heard for"
        " max-response-delay and more than max-unacked-clients of the other half's clients (5, its manual's example) have asked"
        f" in vain for max-ack-delay (5 s). The operator says partner-down {long['operator_s']} after the death: failoverctl"
        " partner-down, omshell, and for Kea ha-maintenance-start at the survivor. By itself: auto-partner-down ="
        f" {long['automatic_s']} at failoverd and dhcpd, max-unacked-clients 0 at Kea. Who does that at two servers that were"
        " only cut off from each other has two servers that give out the same addresses; this table does not show it.",
        "All of it comes from what the clients were told, by a record that knows no server, but for two columns: partner-down"
        " after, and both serve after, which is when both programs say normal (Kea: load-balancing).",
        "Clients: there at some moment from the death on. Wanted a lease: of these, without one at some moment; the others only"
        f" renewed. Waited 1 min: without one for a minute at a stretch. Refused: for {long['patience_s']}; meanwhile: these were"
        " over before the dead server was switched on; at return: they were over after it. Longest wait: of one client, until it"
        " was served, left, or the watch ended. Lost: leases that ended under a client that was there and wanted to keep them:"
        " NAKed, or renewed by nobody. Twice: addresses that two clients held at once. Answers after: the first ACK of the"
        " returned server, counted from its switching on.",
        f"Compressed {factor:g} times, {60 / factor:g} s for a minute: all times of the site above; min-balance and max-balance"
        " (1 min, 1 h); Kea's heartbeat-delay (10 s); the clients' repeats (4, 8, 16, 32, 64 s, renewals every 60 s) and the"
        " seconds in their `secs`, so that load-balance-max-seconds (3) and Kea's max-ack-delay, which are compared with it, are"
        " as at the site.",
        f"Not compressed, and so {factor:g} times longer than at a site: failoverd's shortest max-response-delay"
        f" ({LEAST_OUR_DELAY_S} s), its timeout and pause when it connects (2 s); dhcpd's 15 s of silence at a start without"
        f" contact, its pause when it connects (5 s), its BNDACK batch (2 s), the {DHCPD_TOLERANCE_S} s by which it takes an"
        " expiry early; Kea's HTTP timeouts (10 s, twice before it says partner-down) and the pause between two of its"
        " reclamations (10 s); a program's start; TCP.",
        f"So failoverd notices the death {minutes(late_s)} after it and dhcpd {long['silence_s']}. What it granted until then"
        " the dead one may know, and failoverd gives that to nobody else before partner-down or the return, also when its client"
        " is gone; dhcpd takes back what the dead one has not acked, although it may know it. The dhcpd that is told to notice"
        " as late shows what comes from the rule, and not from the lateness.",
        "Nor is dhcpd's tolerance compressed: a lease that the survivor renewed, of which the returned dhcpd says that it has"
        f" expired, is given away up to {minutes(DHCPD_TOLERANCE_S * factor)} before its end, where a site has"
        f" {minutes(DHCPD_TOLERANCE_S)}: dhcpd's leases lost and addresses given twice would be fewer there, by about the same"
        " factor.",
    ]


def failures(lines: Sequence[Line]) -> list[str]:
    """What went wrong in the run."""
    found = []
    for line in lines:
        notes = line.figures.notes if line.figures else []
        before = (
            [f"{line.figures.refused_before} clients were refused before the death"]
            if line.figures and line.figures.refused_before
            else []
        )
        found += [
            f"{line.product.words}, {SCENES[line.scene]}: {text}"
            for text in [*([line.failure] if line.failure else []), *notes, *before]
        ]
    return found


def text(lines: Sequence[Line], site: Site, factor: float, seed: int) -> str:
    """For a terminal."""
    table = aligned([HEAD, *(row(line) for line in lines)])
    return "\n".join([*table, "", *legend(site, factor, seed), *(f"FAILED: {each}" for each in failures(lines))])


def markdown(lines: Sequence[Line], site: Site, factor: float, seed: int, took_s: float) -> str:
    """For a file."""
    out = ["# An hour without one server", "", f"{len(lines)} pairs side by side, {took_s / MINUTE:.1f} minutes.", ""]
    out += ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD), *("| " + " | ".join(row(line)) + " |" for line in lines)]
    for each in legend(site, factor, seed):
        out += ["", each]
    out += ["", "## States of survivor / other, minutes from the death", ""]
    for line in lines:
        states = line.figures.states if line.figures else []
        out.append(f"- {line.product.words}, {SCENES[line.scene]}: " + ", ".join(f"{minutes(at)} {state}" for at, state in states))
    if found := failures(lines):
        out += ["", "## Failures", "", *(f"- {each}" for each in found)]
    return "\n".join(out) + "\n"
