"""What people see of each answer. Distances in time are measured from the daemon's own clock where it says it (`wall`)."""

from __future__ import annotations

from collections.abc import Sequence

from failoverd.ctl.answers import (
    Conflicts,
    Decision,
    Deed,
    Dns,
    DnsDetail,
    Event,
    Forecast,
    Lasts,
    Lease,
    PartnerDown,
    Pool,
    Relationship,
    Row,
    Secondary,
    Status,
    Where,
    Zone,
)
from failoverd.ctl.answers_link import Tls
from failoverd.ctl.table import BLANK, Block, Cell, Line, Table
from failoverd.ctl.words import ago, due, duration, moment, octets

LASTS = ("RUNS-DRY", "IF-INTERRUPTED", "IF-PARTNER-DOWN")  # at the rate of the last hour
SOON_S = 4 * 3600.0
DIFFERENCES_SHOWN = 20  # of two configurations
GOOD, ODD, BAD = "green", "yellow", "bold red"
_STATE_STYLE = {
    "normal": GOOD,
    "partner-down": ODD,
    "communications-interrupted": ODD,
    "recover": ODD,
    "recover-wait": ODD,
    "recover-done": ODD,
    "startup": ODD,
    "potential-conflict": BAD,
    "resolution-interrupted": BAD,
    "conflict-done": ODD,
    "paused": BAD,
    "shutdown": BAD,
}
_LEASE_STYLE = {"active": GOOD, "abandoned": BAD}
_LEVEL_STYLE = {"error": BAD, "warning": ODD}


def status(answer: Status, only: str | None = None) -> list[Block]:
    """The whole status, or that of one relationship."""
    now = answer["wall"]
    serving = Cell("serving", GOOD) if answer["serving"] else Cell("NOT SERVING", BAD)
    header = f"{answer['server']}  failoverd {answer['version']}  up {duration(max(0.0, now - answer['started']))}  "
    blocks: list[Block] = [
        Line(header + f"{serving.text}  configuration {answer['config_digest'][:12]}", "" if answer["serving"] else BAD)
    ]
    relationships = [row for row in answer["relationships"] if only in (None, row["name"])]
    pools = [pool for pool in answer["pools"] if only in (None, pool["relationship"])]
    if relationships:
        blocks += [BLANK, relationship_table(relationships, now)]
        blocks += [line for row in relationships for line in _hints(row, now)]
    if pools:
        blocks += [BLANK, _pool_table(pools, {row["name"]: row for row in answer["relationships"]})]
    if answer["dns"]["zones"] and only is None:
        blocks += [BLANK, _zone_table(answer["dns"]["zones"], now)]
    warnings = [text for text in answer["warnings"] if only is None or text.startswith(f"{only}: ")]
    if warnings:
        blocks += [BLANK, *(Line(f"warning: {text}", ODD) for text in warnings)]
    return blocks


def relationship_table(rows: Sequence[Relationship], now: float) -> Table:
    """One row a relationship."""
    return Table(
        ("RELATIONSHIP", "ROLE", "STATE", "SINCE", "PARTNER", "PARTNER-STATE", "LAST-HEARD", "SKEW", ">UNACKED", ">OWED", ">EPOCH"),
        [
            (
                row["name"],
                row["role"],
                Cell(row["state"], _STATE_STYLE.get(row["state"], "")),
                duration(max(0.0, now - row["since"])) if row["since"] else "-",
                row["partner"],
                Cell(row["partner_state"], _STATE_STYLE.get(row["partner_state"], "")),
                ago(row["last_heard"], now) + ("" if row["linked"] else ", no link"),
                "unknown" if row["skew_s"] is None else f"{row['skew_s']:+.2f}s",
                f"{row['unacked']}/{row['window']}",
                row["owed"],
                row["epoch"],
            )
            for row in rows
        ],
    )


def _hints(row: Relationship, now: float) -> list[Line]:
    """What a relationship waits for, and until when; what to type is in the daemon's warnings."""
    name, lines = row["name"], []
    if row["why"]:
        lines.append(Line(f"{name}: {'' if row['serving'] else 'not serving: '}{row['why']}", ODD if row["serving"] else BAD))
    if row["doubt_until"]:
        lines.append(Line(f"{name}: booted alone: nothing is granted beyond {due(row['doubt_until'], now)}", ODD))
    if row["takeover_at"]:
        usable = "are this server's since " + moment(row["takeover_at"])
        if row["takeover_at"] > now:
            usable = f"become this server's {due(row['takeover_at'], now)}"
        lines.append(Line(f"{name}: the partner's free addresses {usable}"))
    if row["countdown_until"]:
        lines.append(Line(f"{name}: the wait of {row['state']} ends {due(row['countdown_until'], now)}", ODD))
    if row["tls"] is not None:
        lines.append(_tls(name, row["tls"], now))
    for text in row["differences"][:DIFFERENCES_SHOWN]:
        lines.append(Line(f"{name}: configurations differ: {text}", BAD))
    if len(row["differences"]) > DIFFERENCES_SHOWN:
        lines.append(Line(f"{name}: and {len(row['differences']) - DIFFERENCES_SHOWN} more differences (-o json shows them)", BAD))
    return lines


def _tls(name: str, tls: Tls, now: float) -> Line:
    """How long the certificates hold, and what was refused last."""
    theirs = f"the partner's {due(tls['partner_until'], now)}" if tls["partner_until"] else "the partner's was not seen yet"
    text = f"{name}: TLS; this server's certificate expires {due(tls['until'], now)}, {theirs}"
    if tls["refused"]:
        return Line(f"{text}; refused {ago(tls['refused_at'], now)}: {tls['refused']}", BAD)
    return Line(text, ODD if tls["problem"] else "")


def _pool_table(pools: Sequence[Pool], relationships: dict[str, Relationship]) -> Table:
    """FREE-HERE may be given to new clients by this server, FREE-AT-PARTNER by the partner; ENDED waits for the partner's ack."""
    rows: list[tuple[Cell | str | int, ...]] = []
    for pool in pools:
        relationship = relationships.get(pool["relationship"] or "")
        here, there = pool["free"], pool["backup"]
        if relationship is not None and relationship["role"] == "secondary":
            here, there = there, here
        rows.append(
            (
                pool["name"],
                pool["relationship"] or "-",
                pool["total"],
                pool["active"],
                Cell(str(here), "" if here else BAD),
                there if relationship is not None else "-",
                pool["offered"],
                pool["expired"] + pool["released"] + pool["reset"],
                pool["abandoned"],
                *_lasts(pool["lasts"]),
            )
        )
    columns = ("POOL", "RELATIONSHIP", ">TOTAL", ">ACTIVE", ">FREE-HERE", ">FREE-AT-PARTNER", ">OFFERED", ">ENDED", ">ABANDONED")
    return Table((*columns, *(f">{name}" for name in LASTS)), rows)


def _lasts(found: Lasts | None) -> list[Cell]:
    """How long a pool lasts now, without contact, and after partner-down."""
    if found is None:
        return [Cell("?")] * len(LASTS)
    return [_until_empty(found["now"]), _until_empty(found["interrupted"]), _until_empty(found["partner_down"])]


def _until_empty(seconds: float | None) -> Cell:
    if seconds is None:
        return Cell("never")
    if seconds < 1:
        return Cell("NOW", BAD)
    return Cell(f"in {duration(seconds)}", ODD if seconds < SOON_S else "")


def _zone_table(zones: Sequence[Zone], now: float) -> Table:
    return Table(
        ("ZONE", "TARGET", "STATE", ">QUEUE", "OLDEST", "LAST-OK", ">FAILURES", "DETAIL"),
        [
            (
                zone["zone"],
                zone["target"],
                Cell(zone["state"], GOOD if zone["state"] == "ok" else ODD),
                zone["queue"],
                duration(zone["oldest_s"]) if zone["queue"] else "-",
                ago(zone["last_ok"], now),
                zone["failures"],
                zone["detail"],
            )
            for zone in zones
        ],
    )


def _secondary_table(rows: Sequence[Secondary]) -> Table:
    """LAG: age of the oldest change that the secondary does not show."""
    styles = {"ok": GOOD, "behind": ODD, "late": BAD}
    return Table(
        ("SECONDARY", "ZONE", "TARGET", "STATE", "LAG", ">SERIAL", ">MASTER'S", "DETAIL"),
        [
            (
                row["slave"],
                row["zone"],
                row["target"],
                Cell(row["state"], styles.get(row["state"], "")),
                duration(row["lag_s"]) if row["lag_s"] else "-",
                "-" if row["serial"] is None else row["serial"],
                "-" if row["master_serial"] is None else row["master_serial"],
                row["detail"],
            )
            for row in rows
        ],
    )


def where(answer: Where) -> list[Block]:
    """Who shows a name."""
    rows = [
        (
            place["server"] or "-",
            "master" if place["master"] else "secondary",
            place["target"],
            Cell("yes", GOOD) if place["shows"] else Cell("NOT YET", BAD),
            ", ".join(place["records"]) or "-",
            place["detail"],
        )
        for place in answer["places"]
    ]
    return [Table(("SERVER", "ROLE", "TARGET", "SHOWN", "RECORDS", "DETAIL"), rows)]


def _row_counts(dns: Dns) -> Line:
    counts = ", ".join(f"{count} {state}" for state, count in sorted(dns["rows"].items())) or "none"
    return Line(f"DNS rows: {counts}")


def ddns(answer: DnsDetail, now: float) -> list[Block]:
    """Zones, counts, and the rows that are not yet as wanted."""
    blocks: list[Block] = [
        _zone_table(answer["zones"], now) if answer["zones"] else Line("no zones are configured"),
        _row_counts(answer),
    ]
    if answer["secondaries"]:
        blocks += [BLANK, _secondary_table(answer["secondaries"])]
    if answer["pending"]:
        blocks += [BLANK, _pending(answer["pending"])]
    return blocks


def _pending(rows: Sequence[Row]) -> Table:
    return Table(("NAME", "TYPE", "STATE", "DETAIL"), [(row["name"], row["type"], row["state"], row["detail"]) for row in rows])


def leases(answer: Sequence[Lease]) -> list[Block]:
    """One row a lease."""
    if not answer:
        return [Line("no leases")]
    return [
        Table(
            ("ADDRESS", "STATE", "CLIENT", "NAME", "ENDS", "POOL", "RELATIONSHIP"),
            [
                (
                    lease["address"],
                    Cell(lease["state"], _LEASE_STYLE.get(lease["state"], "")),
                    octets(lease["hw"]) or lease["client_id"],
                    lease["fqdn"] or lease["hostname"],
                    moment(lease["ends"]),
                    lease["pool"] or "-",
                    lease["relationship"] or "-",
                )
                for lease in answer
            ],
        )
    ]


def lease(answer: Lease) -> list[Block]:
    """Everything about one lease, one fact a line."""
    facts = [
        ("address", answer["address"]),
        ("state", answer["state"]),
        ("hardware address", octets(answer["hw"])),
        ("client identifier", answer["client_id"]),
        ("host name", answer["hostname"]),
        ("name in DNS", answer["fqdn"]),
        ("starts", moment(answer["starts"])),
        ("ends", moment(answer["ends"])),
        ("potential expiry", moment(answer["potential"])),
        ("acked by the partner", moment(answer["acked"])),
        ("no other client before", moment(answer["not_before"])),
        ("client last heard", moment(answer["cltt"])),
        ("partner may know it as", answer["rewind"]),
        ("owed to the partner", "yes" if answer["owed"] else "no"),
        ("partner's reject code", str(answer["rejected"]) if answer["rejected"] else "-"),
        ("pool", answer["pool"] or "-"),
        ("relationship", answer["relationship"] or "-"),
        ("flags", f"0x{answer['flags']:04x}"),
    ]
    width = max(len(name) for name, _ in facts)
    return [Line(f"{name:<{width}}  {value or '-'}") for name, value in facts]


def decisions(answer: Sequence[Decision], about: str) -> list[Block]:
    """The decisions in order of time, then what each kind of them means."""
    if not answer:
        return [
            Line(f"nothing was decided about {about} as far back as this server remembers (its last start, or 20000 decisions)")
        ]
    table = Table(
        ("TIME", "DECISION", "CLIENT", "ADDRESS", "SUBJECT", "DETAIL"),
        [
            (
                moment(each["wall"]),
                Cell(each["name"], _LEVEL_STYLE.get(each["level"], "")),
                each["client"],
                each["address"],
                each["subject"],
                each["detail"],
            )
            for each in answer
        ],
    )
    texts = {each["name"]: each["text"] for each in answer}
    return [table, BLANK, *(Line(f"{name}: {text}") for name, text in sorted(texts.items()))]


def history(answer: Sequence[Event]) -> list[Block]:
    """The history in the order given."""
    if not answer:
        return [Line("no events")]
    rows = [(moment(each["wall"]), each["subject"], each["what"], each["who"], each["why"]) for each in answer]
    return [Table(("TIME", "SUBJECT", "WHAT", "WHO", "WHY"), rows)]


def partner_down(answer: PartnerDown, since: str | None) -> list[Block]:
    """The consequences of partner-down, before it is done. `since`: what the operator said of it."""
    now, name = answer["now"], answer["relationship"]
    pools: list[tuple[Cell | str | int, ...]] = [
        (
            pool["pool"],
            pool["partner_free"],
            due(pool["free_at"], now),
            pool["waiting"],
            due(pool["latest"], now) if pool["waiting"] else "-",
            *_alone(pool["lasts"]),
        )
        for pool in answer["pools"]
    ]
    return [
        Line(f"If you continue, {name} is in partner-down {'from now on' if since is None else f'as if since {since}'}:"),
        Line(f"  epoch {answer['epoch']} -> {answer['new_epoch']}, so that a partner with an older one recovers from this server"),
        Line("  renewals as before: the MCLT rule stays in force; the partner's addresses become this server's as follows"),
        Table(("POOL", ">PARTNER'S-FREE", "OURS-FROM", ">LATER", "THE-LAST-OF-THEM", ">DRY-WITHOUT", ">DRY-WITH"), pools, indent=2),
        Line("  DRY: when new clients are refused, at the rate of the last hour, without partner-down and with it"),
        Line(f"Risk: {answer['risk']}", ODD),
    ]


def consequences(answer: Deed) -> list[Block]:
    """What a verb of the daemon's own preview does, before it is done."""
    said = [Line(f"  {text}") for text in answer["consequences"]]
    return [Line("If you continue:" if said else answer["message"]), *said]


def conflicts(answer: Conflicts) -> list[Block]:
    """Who lost an address, and what is still disputed."""
    blocks: list[Block] = []
    if answer["losers"]:
        rows = [
            (
                moment(each["wall"]),
                each["address"],
                _client(each["loser"]["hw"], each["loser"]["client_id"]),
                "the partner" if each["won"] == "ours" else "this server",
                _client(each["winner"]["hw"], each["winner"]["client_id"]),
                moment(each["until"]),
                each["relationship"],
            )
            for each in answer["losers"]
        ]
        blocks.append(Line("two clients were granted one address; the loser hears a DHCPNAK at its next renewal"))
        blocks.append(Table(("DECIDED", "ADDRESS", "LOSER", "GRANTED-BY", "WINNER", "NO-THIRD-BEFORE", "RELATIONSHIP"), rows))
    if answer["rejected"]:
        refused = [
            (each["address"], each["state"], _client(each["hw"], each["client_id"]), str(each["reason"]), each["relationship"])
            for each in answer["rejected"]
        ]
        blocks += [BLANK] if blocks else []
        blocks.append(Line("the partner refused the update; neither server gives the address to a new client until they agree"))
        blocks.append(Table(("ADDRESS", "STATE", "CLIENT", ">REASON", "RELATIONSHIP"), refused))
    return blocks or [Line("no conflicts")]


def _client(hw: str, client_id: str) -> str:
    return octets(hw) or client_id


def _alone(found: Forecast | None) -> list[Cell]:
    """How long a pool lasts if the partner stays away: without and with partner-down."""
    if found is None:
        return [Cell("?")] * 2
    return [_until_empty(found["interrupted"]), _until_empty(found["partner_down"])]
