"""The messages of one row and what follows each answer: a total table, and the encoder from a row to an UPDATE.

Implements RFC 4703 5.3 to 5.5 with the guards that NOERROR alone does not give (a CNAME at the name answers NOERROR and changes
nothing). Nothing here decides when to send; nothing here knows a server.
"""

from __future__ import annotations

from enum import Enum, auto

from failoverd.ddns.dhcid import TYPE_DUID, identifier_type
from failoverd.ddns.guards import Guard
from failoverd.ddns.rows import REVERSE, Row, Value
from failoverd.ports import Change, DnsQuery, DnsUpdate, Prereq

CHECK, EXISTS_MODE, FORCE_MODE, PLAIN_MODE = (
    "check-with-dhcid",
    "check-exists-with-dhcid",
    "no-check-with-dhcid",
    "no-check-without-dhcid",
)
MODES = (CHECK, EXISTS_MODE, FORCE_MODE, PLAIN_MODE)


Records = tuple[tuple[str, str], ...]
"""(type, rdata text) of what is at a name."""


class Step(Enum):
    """One message."""

    __hash__ = object.__hash__  # members are single; Enum's own is a Python function, called some thirty times for each name

    ADD = auto()  # the name is free: RFC 4703 5.3.1
    MATCH = auto()  # the name is ours: 5.3.2
    EXISTS = auto()  # the name is some client's
    FORCE = auto()  # whatever is there, but not a CNAME
    PLAIN = auto()  # as FORCE, without DHCID
    PROBE = auto()  # a query: whose is the name?
    CLAIM = auto()  # the name exists, with nothing that speaks against us (an operator's TXT)
    REMOVE = auto()  # our only address and the DHCID in one message
    REM1 = auto()  # our addresses: 5.5
    REM2 = auto()  # the DHCID, when no address is left
    REM_PLAIN = auto()  # one address by value, without DHCID
    PTR_NEW = auto()  # 5.4
    PTR_DEL = auto()  # 5.5, by value
    LOOK = auto()  # a query: has the partner removed its name?
    MIGRATE = auto()  # the name is ours under a predecessor's guard: ours takes its place, in one message
    LODGE = auto()  # the client's DHCPv6 entry holds the name: our address stands beside it, its DHCID stays (foreign-family-guard)
    CAS = auto()  # as MATCH, if the address is still the one that we knew (dirty since before we were cut off)
    REREAD = auto()  # a query: what does the name show, before it is replaced?


class Then(Enum):
    """What an answer means when no further message follows from it alone."""

    APPLIED = auto()  # the zone says `want`
    REMOVED = auto()  # nothing of `drop` is left
    NEXT_DROP = auto()  # this value is not there: try the next one, REMOVED after the last
    SECOND = auto()  # the name is in use: the mode's second form
    JUDGE = auto()  # look at the records
    BLOCKED = auto()  # a CNAME is in the way
    ODD = auto()  # an answer that this message cannot have: try again later


PREREQUISITE_RCODES = ("NOERROR", "NXDOMAIN", "YXDOMAIN", "NXRRSET", "YXRRSET")

# Step: NOERROR, NXDOMAIN, YXDOMAIN, NXRRSET, YXRRSET
_TABLE: dict[Step, tuple[Step | Then, ...]] = {
    Step.ADD: (Then.APPLIED, Then.ODD, Then.SECOND, Then.ODD, Then.ODD),
    Step.MATCH: (Then.APPLIED, Step.ADD, Then.ODD, Step.PROBE, Then.ODD),
    Step.EXISTS: (Then.APPLIED, Step.ADD, Then.ODD, Step.PROBE, Then.ODD),
    Step.FORCE: (Then.APPLIED, Then.ODD, Then.ODD, Then.ODD, Then.BLOCKED),
    Step.PLAIN: (Then.APPLIED, Then.ODD, Then.ODD, Then.ODD, Then.BLOCKED),
    Step.PROBE: (Then.JUDGE, Then.JUDGE, Then.ODD, Then.ODD, Then.ODD),
    Step.CLAIM: (Then.APPLIED, Step.ADD, Then.ODD, Then.ODD, Step.PROBE),
    Step.REMOVE: (Then.REMOVED, Then.ODD, Then.ODD, Step.REM1, Step.REM1),
    Step.REM1: (Step.REM2, Then.ODD, Then.ODD, Then.REMOVED, Then.ODD),
    Step.REM2: (Then.REMOVED, Then.ODD, Then.ODD, Then.REMOVED, Then.REMOVED),
    Step.REM_PLAIN: (Then.NEXT_DROP, Then.ODD, Then.ODD, Then.NEXT_DROP, Then.ODD),
    Step.PTR_NEW: (Then.APPLIED, Then.ODD, Then.ODD, Then.ODD, Then.BLOCKED),
    Step.PTR_DEL: (Then.REMOVED, Then.ODD, Then.ODD, Then.NEXT_DROP, Then.ODD),
    Step.LOOK: (Then.JUDGE, Then.JUDGE, Then.ODD, Then.ODD, Then.ODD),
    Step.MIGRATE: (Then.APPLIED, Then.ODD, Then.ODD, Step.PROBE, Step.PROBE),
    Step.LODGE: (Then.APPLIED, Step.PROBE, Then.ODD, Step.PROBE, Step.PROBE),
    Step.CAS: (Then.APPLIED, Step.ADD, Then.ODD, Step.REREAD, Then.ODD),
    Step.REREAD: (Then.JUDGE, Then.JUDGE, Then.ODD, Then.ODD, Then.ODD),
}

TABLE: dict[tuple[Step, str], Step | Then] = {
    (step, rcode): cell for step, cells in _TABLE.items() for rcode, cell in zip(PREREQUISITE_RCODES, cells, strict=True)
}

REMOVALS = frozenset({Step.REMOVE, Step.REM1, Step.REM2, Step.REM_PLAIN, Step.PTR_DEL})
QUERIES = frozenset({Step.PROBE, Step.LOOK, Step.REREAD})
FRESH_GUARD = frozenset({Step.ADD, Step.CLAIM, Step.EXISTS, Step.FORCE, Step.MIGRATE})  # they leave our own DHCID at the name
PROBE_TYPES = ("DHCID", "CNAME", "A", "AAAA", "TXT")
_ADDRESS_TYPES = ("A", "AAAA")


def hands_over(row: Row) -> bool:
    """The name passes to another client: what stands there under the old DHCID must go first."""
    return row.kind != REVERSE and bool(row.want) and bool(row.have or row.maybe) and row.held_guard != row.seal


def first_step(row: Row, mode: str, eligible: bool) -> Step | None:
    """The first message of a round, None when there is nothing to say now. `eligible`: a PTR may point to its forward name."""
    drop = row.drop()
    if row.kind == REVERSE:
        if row.want and eligible:
            return Step.PTR_NEW
        return removal_step(row.kind, drop, mode) if drop else None
    if not row.want or hands_over(row):
        return removal_step(row.kind, drop, mode) if drop else None
    if mode == FORCE_MODE:
        return Step.FORCE
    if mode == PLAIN_MODE:
        return Step.PLAIN
    return Step.MATCH if row.have or row.maybe else Step.ADD


def removal_step(kind: str, drop: tuple[Value, ...], mode: str) -> Step:
    """How to take away what is ours."""
    if kind == REVERSE:
        return Step.PTR_DEL
    if mode == PLAIN_MODE:
        return Step.REM_PLAIN
    return Step.REMOVE if len(drop) == 1 else Step.REM1


def second_step(mode: str) -> Step:
    """What follows YXDOMAIN."""
    return Step.EXISTS if mode == EXISTS_MODE else Step.MATCH


def judge(row: Row, records: Records, exists: bool, proofs: tuple[Guard, ...] = (), accept: bool = False) -> tuple[str, str]:
    """What PROBE found, and the foreign DHCID or address in question.

    `proofs`: what a predecessor may have left for this client; `accept`: whether our address may stand beside its DHCPv6 entry.
    mine: under the row's seal. ours: under our own DHCID, although we stood beside another. old: under a predecessor's guard of this
    client. shared: the same, with an AAAA beside it, which stands under that guard too. family: a DHCPv6 entry. other: under another
    client's DHCID. static: an address and no DHCID. cname, bare (nothing that speaks against us), absent.
    """
    by_type: dict[str, list[str]] = {}
    for rtype, text in records:
        by_type.setdefault(rtype, []).append(text)
    if "CNAME" in by_type:
        return "cname", by_type["CNAME"][0]
    owners = by_type.get("DHCID", [])
    proven = {guard.text for guard in proofs}
    if owners == [row.seal] and not (row.lodger and newer(row, records)):
        return "mine", ""
    if owners == [row.guard]:
        return "ours", ""
    if owners:
        known = proven.issuperset(owners)
        if known and "AAAA" in by_type:
            return ("shared", owners[0]) if len(owners) == 1 else ("other", " ".join(owners))
        family = (
            accept and len(owners) == 1 and "AAAA" in by_type and "A" not in by_type and identifier_type(owners[0]) == TYPE_DUID
        )
        return ("old" if known else "family" if family else "other"), " ".join(owners)
    if "AAAA" not in by_type and (interim := [text for text in by_type.get("TXT", ()) if text in proven]):
        return "old", interim[0]
    addresses = [text for rtype in _ADDRESS_TYPES for text in by_type.get(rtype, ())]
    if addresses:
        return "static", " ".join(addresses)
    return ("bare", "") if exists else ("absent", "")


def after_probe(row: Row, found: str, what: str, mode: str) -> Step | None:
    """The message that follows what PROBE found, None when the name is not ours to change. Notes in the row under whose DHCID it goes."""
    row.lodger = row.lodger if found == "mine" else what if found in {"shared", "family"} else ""
    if found in {"mine", "ours"}:
        return second_step(mode) if not row.lodger else Step.MATCH
    if found == "other" and mode == EXISTS_MODE:
        return Step.EXISTS
    return {"absent": Step.ADD, "bare": Step.CLAIM, "old": Step.MIGRATE, "shared": Step.MATCH, "family": Step.LODGE}.get(found)


def newer(row: Row, records: Records) -> str:
    """The addresses at a name of ours that this server never put there: somebody wrote after we were cut off. "" for none, or when the
    name is not under our DHCID."""
    if [text for rtype, text in records if rtype == "DHCID"] != [row.seal]:
        return ""
    types = {v.rtype for v in row.want}
    known = {v.rr for v in (*row.want, *row.known())}
    return " ".join(text for rtype, text in records if rtype in types and (rtype, text) not in known)


def message(step: Step, row: Row, drop: tuple[Value, ...], guard: str, ident: int, seen: Records = ()) -> DnsUpdate | DnsQuery:
    """The message of a step. `drop`: what a removal takes away (its first value for the steps that go by value), under `guard`,
    which for MIGRATE is the predecessor's. `seen`: what the last query of the round found."""
    if step in {Step.PROBE, Step.REREAD}:
        return DnsQuery(ident, row.target, row.zone, row.name, PROBE_TYPES)
    if step is Step.LOOK:
        types = ("PTR",) if row.kind == REVERSE else ("DHCID", *_ADDRESS_TYPES)
        return DnsQuery(ident, row.target, row.zone, row.name, types)
    prereqs = _removal_prereqs(step, row.name, drop, guard) if step in REMOVALS else _prereqs(step, row, seen)
    changes = _removal_changes(step, row.name, drop, guard) if step in REMOVALS else _changes(step, row, seen, guard)
    return DnsUpdate(ident, row.target, row.zone, tuple(prereqs), tuple(changes))


def _prereqs(step: Step, row: Row, seen: Records) -> list[Prereq]:
    name = row.name
    if step is Step.ADD:
        return [Prereq("nxdomain", name)]
    if step in {Step.MATCH, Step.CAS, Step.LODGE}:
        out = [Prereq("yxdomain", name), Prereq("yxrrset", name, "DHCID", (row.seal,))]
        types = tuple(dict.fromkeys(v.rtype for v in (row.have if step is Step.CAS else row.want)))
        if step is Step.CAS:
            return [*out, *(Prereq("yxrrset", name, t, tuple(v.text for v in row.have if v.rtype == t)) for t in types)]
        return [*out, *(Prereq("nxrrset", name, t) for t in types)] if step is Step.LODGE else out
    if step is Step.MIGRATE:
        old = _old_guard(seen)
        none = [] if old[0] == "DHCID" else [Prereq("nxrrset", name, "DHCID")]
        return [Prereq("yxrrset", name, old[0], old[1]), *none, Prereq("nxrrset", name, "AAAA")]
    if step is Step.EXISTS:
        return [Prereq("yxdomain", name), Prereq("yxrrset", name, "DHCID")]
    if step is Step.CLAIM:
        return [Prereq("yxdomain", name), *(Prereq("nxrrset", name, t) for t in (*_ADDRESS_TYPES, "DHCID", "CNAME"))]
    return [Prereq("nxrrset", name, "CNAME")]  # FORCE, PLAIN, PTR_NEW


def _changes(step: Step, row: Row, seen: Records, old: str) -> list[Change]:
    """Replace whole RRsets of the types that we want; of other types take away only what is ours."""
    name = row.name
    adds = [Change("add", name, v.rtype, v.text, v.ttl) for v in row.want]
    guard = Change("add", name, "DHCID", row.guard, row.want[0].ttl)
    if step is Step.ADD or step is Step.CLAIM:
        return [*adds, guard]
    types = list(dict.fromkeys(v.rtype for v in row.want))
    out = [Change("del-rrset", name, rtype) for rtype in types]
    out += [Change("del-rr", name, v.rtype, v.text) for v in row.drop() if v.rtype not in types]
    if step in {Step.EXISTS, Step.FORCE}:
        return [*out, Change("del-rrset", name, "DHCID"), *adds, guard]
    if step is Step.MIGRATE:
        rtype, texts = _old_guard(seen)
        return [*out, *(Change("del-rr", name, rtype, text) for text in (texts if rtype == "DHCID" else (old,))), *adds, guard]
    return out + adds


def _old_guard(seen: Records) -> tuple[str, tuple[str, ...]]:
    """The RRset that a predecessor's guard is in, whole: a prerequisite on values speaks of all of them."""
    owners = tuple(text for rtype, text in seen if rtype == "DHCID")
    return ("DHCID", owners) if owners else ("TXT", tuple(text for rtype, text in seen if rtype == "TXT"))


def guard_type(guard: str) -> str:
    """The type of the record that says who owns a name: ours is a DHCID, that of an old dhcpd a TXT (in quotes)."""
    return "TXT" if guard.startswith('"') else "DHCID"


def _removal_prereqs(step: Step, name: str, drop: tuple[Value, ...], guard: str) -> list[Prereq]:
    if step in {Step.PTR_DEL, Step.REM_PLAIN}:
        return [Prereq("yxrrset", name, drop[0].rtype, (drop[0].text,))]
    out = [Prereq("yxrrset", name, guard_type(guard), (guard,))]
    if step is Step.REMOVE:
        out.append(Prereq("yxrrset", name, drop[0].rtype, (drop[0].text,)))
        out += [Prereq("nxrrset", name, t) for t in _ADDRESS_TYPES if t != drop[0].rtype]
    elif step is Step.REM2:
        out += [Prereq("nxrrset", name, t) for t in _ADDRESS_TYPES]
    return out


def _removal_changes(step: Step, name: str, drop: tuple[Value, ...], guard: str) -> list[Change]:
    if step is Step.REM2:
        return [Change("del-rr", name, guard_type(guard), guard)]
    if step is Step.REM1:
        return [Change("del-rr", name, v.rtype, v.text) for v in drop]
    out = [Change("del-rr", name, drop[0].rtype, drop[0].text)]
    if step is Step.REMOVE:
        out.append(Change("del-rr", name, guard_type(guard), guard))
    return out
