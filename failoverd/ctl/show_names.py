"""What people see of rows, audits, tests of a zone and static entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from failoverd.ctl.answers import Audit, DdnsRow, NameHistory, NameView, Static, ZoneTest
from failoverd.ctl.show import BAD, GOOD, ODD
from failoverd.ctl.table import BLANK, Block, Cell, Line, Table
from failoverd.ctl.words import ago, moment, octets

_STATE = {"clean": GOOD, "conflict": BAD, "dead": BAD, "blocked": ODD, "held": ODD}
_CLASS = {"ok": GOOD, "conflict": BAD, "broken": BAD, "blocked": BAD, "static": ODD, "orphan": ODD}
_MEANING = {
    "missing": "wanted by a live lease, and not there",
    "wrong": "ours, with another value",
    "legacy": "the same client's, under the guard of a predecessor",
    "conflict": "wanted, and another client's: failoverctl ddns take NAME, or let the client choose another name",
    "static": "wanted, and an entry of the operator's stands there: failoverctl ddns static del, or rename the host",
    "stale": "left behind by a client of ours",
    "orphan": "inside our pools, provably nobody's: look who made it; it is not removed",
    "husk": "a DHCID without an address",
    "broken": "two DHCIDs, so nobody can change it: delete one by hand",
    "blocked": "wanted, and a CNAME stands there: remove the CNAME or rename the host",
}
SHOWN = 40  # names on a screen; -o json has all


def _values(values: Sequence[Sequence[str | int]]) -> str:
    return ", ".join(f"{each[0]} {each[1]}" for each in values) or "-"


def rows(answer: Sequence[DdnsRow], now: float) -> list[Block]:
    """One line a row."""
    if not answer:
        return [Line("no rows")]
    return [
        Table(
            ("NAME", "TARGET", "STATE", "WANT", "SINCE", "ANSWER", "DETAIL"),
            [
                (
                    row["name"],
                    row["target"],
                    Cell(row["state"], _STATE.get(row["state"], "")),
                    _values(row["want"]),
                    ago(row["dirty_since"], now) if row["dirty_since"] else "-",
                    row["rcode"],
                    row["detail"],
                )
                for row in answer
            ],
        )
    ]


def name(answer: NameView, now: float) -> list[Block]:
    """Everything about one name."""
    blocks: list[Block] = []
    for row in answer["rows"]:
        facts = [
            ("state", row["state"]),
            ("owner", row["owner"]),
            ("zone", f"{row['zone']} at {row['target']}"),
            ("wanted", _values(row["want"])),
            ("in the zone", _values(row["have"])),
            ("perhaps there", _values(row["maybe"])),
            ("DHCID", row["guard"]),
            ("last answer", f"{row['rcode']} {row['detail']}".strip()),
            ("from", row["server"]),
            ("changed", ago(row["dirty_since"], now) if row["dirty_since"] else ""),
            ("next try", moment(row["next_at"])),
        ]
        blocks.append(Line(row["name"], _STATE.get(row["state"], "")))
        blocks += [Line(f"  {fact:<13}  {value or '-'}") for fact, value in facts]
    leases = [(each["address"], each["name"], octets(each["hw"]), each["dhcid"]) for each in answer["leases"]]
    if leases:
        blocks += [BLANK, Table(("LEASE", "WANTS", "CLIENT", "DHCID"), leases)]
    return blocks


def history(answer: NameHistory) -> list[Block]:
    """What became of a name, oldest first."""
    if not answer["entries"]:
        return [Line(f"no history of {answer['name']} is kept")]
    lines = [
        (
            moment(each["wall"]),
            each["target"],
            Cell(each["state"], _STATE.get(each["state"], "")),
            ", ".join(each["want"]) or "-",
            ", ".join(each["have"]) or "-",
            each["rcode"],
            each["cause"],
        )
        for each in answer["entries"]
    ]
    return [Table(("TIME", "TARGET", "STATE", "WANT", "HAVE", "ANSWER", "CAUSE"), lines)]


def audit(answer: Audit) -> list[Block]:
    """The zones by class, then the names that are not as they should be."""
    kinds = [kind for kind in _MEANING if any(zone["counts"].get(kind) for zone in answer["zones"])]
    columns = ("ZONE", "TARGET", ">NAMES", ">SERIAL", ">OK", *(f">{kind.upper()}" for kind in kinds), ">OTHERS", ">WAITING")
    table = []
    for zone in answer["zones"]:
        counts = zone["counts"]
        others = counts.get("foreign", 0) + counts.get("partner", 0)
        ours = [counts.get(kind, 0) for kind in kinds]
        row = (zone["names"], zone["serial"], counts.get("ok", 0), *ours, others, counts.get("waiting", 0))
        table.append((zone["zone"], zone["target"], *(("-",) * len(row) if zone["error"] else row)))
    blocks: list[Block] = [Table(columns, table)]
    blocks += [Line(zone["error"], BAD) for zone in answer["zones"] if zone["error"]]
    blocks += [Line(f"{kind}: {_MEANING[kind]}") for kind in kinds]
    found = answer["findings"]
    if found:
        shown = [
            (each["name"], Cell(each["class"], _CLASS.get(each["class"], "")), each["repair"] or "-", each["detail"])
            for each in found[:SHOWN]
        ]
        blocks += [BLANK, Table(("NAME", "CLASS", "REPAIR", "DETAIL"), shown)]
        if len(found) > SHOWN:
            blocks.append(Line(f"and {len(found) - SHOWN} more: -o json shows all"))
    if answer["repairs"]:
        blocks.append(Line(f"{answer['repairs']} can be repaired: failoverctl ddns repair"))
    elif not any(zone["error"] for zone in answer["zones"]):
        blocks.append(Line("nothing to repair", GOOD))
    blocks += [Line(f"only with --force: {text}", ODD) for text in answer["over"]]
    return blocks


def script(answer: Audit) -> Iterator[str]:
    """The repairs for nsupdate, each with why."""
    zones = sorted((zone["zone"] for zone in answer["zones"]), key=len, reverse=True)
    for each in answer["findings"]:
        if each["script"]:
            yield f"; {each['name']} ({each['target']}): {each['class']} {each['detail']}".rstrip()
            yield "zone " + next((zone for zone in zones if each["name"] == zone or each["name"].endswith("." + zone)), ".")
            yield from each["script"]


def export(answer: Sequence[DdnsRow]) -> Iterator[str]:
    """Everything that is wanted, for nsupdate, into a zone that has none of it."""
    for row in answer:
        if not row["want"]:
            continue
        yield f"zone {row['zone']}"
        if row["kind"] == "fwd":
            yield f"prereq nxdomain {row['name']}"
            if row["guard"]:
                yield f"update add {row['name']} {row['want'][0][2]} DHCID {row['guard']}"
        else:
            yield f"prereq nxrrset {row['name']} CNAME"
            yield f"update delete {row['name']} PTR"
        for rtype, text, ttl in row["want"]:
            yield f"update add {row['name']} {ttl} {rtype} {text}"
        yield "send"


def zone_test(answer: ZoneTest) -> list[Block]:
    """Every message and its answer in words."""
    lines = [
        (Cell("ok" if each["good"] else "FAILED", GOOD if each["good"] else BAD), each["what"], each["rcode"], each["words"])
        for each in answer["lines"]
    ]
    servers = ", ".join(dict.fromkeys(each["server"] for each in answer["lines"] if each["server"]))
    verdict = "the zone takes what failoverd sends" if answer["good"] else "the zone does not take what failoverd sends"
    return [
        Table(("", "MESSAGE", "ANSWER", "MEANING"), lines),
        Line(f"{answer['zone']}: {verdict}" + (f" (asked: {servers})" if servers else ""), GOOD if answer["good"] else BAD),
    ]


def statics(answer: Sequence[Static]) -> list[Block]:
    """The operator's records."""
    if not answer:
        return [Line("no static entries")]
    table = [(each["name"], each["ttl"], each["type"], each["value"]) for each in answer]
    return [Table(("NAME", ">TTL", "TYPE", "DATA"), table)]
