"""The audit: what a zone says against what it should say, one owner name at a time (ddns.md 5).

A total function: every content of a name has exactly one class, and every class one repair. Nothing is repaired here: a repair is a
change of a row (repair.py) and goes the way of every other change. What may be removed must be proven ours: its DHCID is one that
a client of our lease table would have there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from failoverd.ddns.dhcid import guard as canonical
from failoverd.ddns.guards import Guard, guard_candidates
from failoverd.ddns.names import dotted, sanitise
from failoverd.ddns.rows import FORWARD, PEER, REVERSE, Row, State, Value
from failoverd.ddns.wants import wanted_name
from failoverd.leases.lease import BindingState, Lease

REMOVALS_FEW = 20
REMOVALS_PART = 0.05
REST_S = 60  # a lease that ended this lately may still have its removal under way at the partner

Records = tuple[tuple[str, str], ...]
"""(type, data as text) of one owner name, DHCID in one piece."""


class Class(StrEnum):
    """What an audit calls a name."""

    OK = "ok"  # as wanted
    WAITING = "waiting"  # work on it is under way, or its lease ended a moment ago: no statement
    MISSING = "missing"  # wanted, and not there
    WRONG = "wrong"  # ours, with another value
    LEGACY = "legacy"  # the same client's, under the guard of a predecessor
    CONFLICT = "conflict"  # wanted, and another client's
    STATIC = "static"  # wanted, and the operator's: an address and no DHCID
    STALE = "stale"  # a client's of ours that no longer wants it
    ORPHAN = "orphan"  # inside our pools, and provably nobody's
    FOREIGN = "foreign"  # outside our pools, or without a DHCID: not ours to judge
    PARTNER = "partner"  # of a client that holds its lease now: the partner's to register
    HUSK = "husk"  # a DHCID without an address
    BROKEN = "broken"  # two DHCIDs: nobody's prerequisite matches any more
    BLOCKED = "blocked"  # wanted, and a CNAME is there


class Repair(StrEnum):
    """What is done about it."""

    NONE = ""
    ASSERT = "assert"  # say it again
    MIGRATE = "migrate"  # say it again under our own guard
    REMOVE = "remove"  # take it away, by value and by DHCID


class Finding(NamedTuple):
    """One owner name. `records`: what is there. `remove`: (type, text) of what a removal takes away, under `guard`. `row`: the
    fingerprint of the row that the verdict rests on, "" for none."""

    target: str
    kind: str
    name: str
    klass: Class
    repair: Repair
    detail: str = ""
    records: Records = ()
    remove: Records = ()
    guard: str = ""
    row: str = ""


def finding_of(values: Sequence[Any]) -> Finding:
    """The finding that was written as a JSON array."""
    target, kind, name, klass, repair, detail, records, remove, guard, row = values
    return Finding(target, kind, name, Class(klass), Repair(repair), detail, _records(records), _records(remove), guard, row)


def _records(values: Iterable[Sequence[str]]) -> Records:
    return tuple((rtype, text) for rtype, text in values)


class Clients:
    """The lease table as an audit needs it: who may have been at a name.

    `inside(address)`: in one of our pools. `zones`: the forward zones that are ours to update. `wishes`: name -> a live lease.
    `adopt_s`: orphans are removed whose address nobody has had for so long, None: they are only reported. `marked(name, address)`:
    a client's A record to the address is there."""

    def __init__(
        self,
        leases: Iterable[Lease],
        inside: Callable[[int], bool],
        zones: tuple[str, ...] = (),
        adopt_s: float | None = None,
        marked: Callable[[str, int], bool] = lambda name, address: False,
    ) -> None:
        self.inside = inside
        self.adopt_s = adopt_s
        self.marked = marked
        self.zones = zones
        self.wishes: dict[str, Lease] = {}
        self._by_address: dict[int, Lease] = {}
        self._by_label: dict[str, list[Lease]] = {}
        self._by_pointer: dict[str, Lease] = {}
        for lease in leases:
            self._by_address[lease.address] = lease
            if lease.rev:
                self._by_pointer[lease.rev] = lease
            if wanted_name(lease):
                self.wishes[lease.fqdn] = lease
            labels = {lease.fqdn.split(".", 1)[0], sanitise(lease.hostname).text} - {""}
            for label in labels:
                self._by_label.setdefault(label, []).append(lease)

    def at(self, address: int) -> Lease | None:
        """The lease of an address."""
        return self._by_address.get(address)

    def rests(self, address: int, now: float) -> bool:
        """Whether an address is one of ours that nobody has had for as long as orphans must be old to be removed."""
        if self.adopt_s is None or not self.inside(address):
            return False
        lease = self._by_address.get(address)
        last = 0 if lease is None else max(lease.cltt, lease.partner_cltt, lease.ends, lease.horizon)
        return lease is None or (lease.state is not BindingState.ACTIVE and last < now - self.adopt_s)

    def address_of(self, name: str) -> int | None:
        """The address whose PTR stands at a reverse name, also at one that a parent zone's CNAMEs lead to (RFC 2317)."""
        mapped = self._by_pointer.get(name)
        return mapped.address if mapped is not None else reverse_address(name)

    def owner(self, name: str, records: Records) -> tuple[Lease, Guard] | None:
        """The client that what stands at a name was registered for, with the guard that proves it; a live lease before an ended one.

        Looked for among the leases of the addresses that the name has, and of the clients that call themselves so: a client that
        has left both is not found, and its name is reported as an orphan.
        """
        there = {(rtype, text) for rtype, text in records if rtype in {"DHCID", "TXT"}}
        if not there:
            return None
        maybe = [self._by_address.get(ipv4(text)) for rtype, text in records if rtype == "A"]
        leases = {lease.address: lease for lease in [*maybe, *self._by_label.get(name.split(".", 1)[0], ())] if lease is not None}
        for lease in sorted(leases.values(), key=lambda each: (each.state is not BindingState.ACTIVE, each.address)):
            for guard in guard_candidates(lease.hw, lease.client_id, name, cased=lease.hostname):
                if guard[:2] in there:
                    return lease, guard
        return None


def fingerprint(row: Row | None) -> str:
    """What must be the same before and after a transfer for a verdict to hold."""
    return "" if row is None else f"{row.gen}.{row.done_gen}.{row.state}.{row.owner}.{row.guard}"


def classify(
    kind: str, target: str, name: str, records: Records, row: Row | None, clients: Clients, now: float, *, guarded: bool = True
) -> Finding:
    """The class of one owner name. `records` empty: it is not in the zone. `row`: what we want there and know of it. `guarded`:
    names of ours carry a DHCID (every conflict mode but no-check-without-dhcid)."""
    pending = row is not None and (row.state in {State.DIRTY, State.INFLIGHT} or (not row.want and bool(row.have or row.maybe)))
    if pending:
        verdict: _Verdict = (Class.WAITING, Repair.NONE, "its update is under way", (), "")
    elif kind == REVERSE:
        verdict = _reverse(name, records, row, clients, now)
    elif row is not None and row.want:
        verdict = _wanted(name, records, row, clients) if guarded else _plain(records, row)
    else:
        verdict = _unwanted(name, records, clients, now)
    klass, repair, detail, remove, guard = verdict
    if row is not None and row.owner == PEER and repair is not Repair.NONE:
        repair, detail = Repair.NONE, f"{detail}; it is the partner's to repair".lstrip("; ")
    return Finding(target, kind, name, klass, repair, detail, records, remove, guard, fingerprint(row))


_Verdict = tuple[Class, Repair, str, Records, str]


def _sorted(records: Records) -> dict[str, list[str]]:
    types: dict[str, list[str]] = {}
    for rtype, text in records:
        types.setdefault(rtype, []).append(text)
    return types


def _wanted(name: str, records: Records, row: Row, clients: Clients) -> _Verdict:
    """A forward name that a live lease wants."""
    types = _sorted(records)
    there = sorted((rtype, text) for rtype, text in records if rtype in {"A", "AAAA"})
    dhcids = types.get("DHCID", [])
    if "CNAME" in types:
        return Class.BLOCKED, Repair.NONE, f"a CNAME to {types['CNAME'][0]}", (), ""
    if len(dhcids) > 1:
        return Class.BROKEN, Repair.NONE, " ".join(dhcids), (), ""
    if dhcids == [row.guard]:
        return _plain(records, row)
    proof = _proof(name, records, row, clients)
    if proof is not None:
        return Class.LEGACY, Repair.MIGRATE, f"{proof.rtype} {proof.how}", (), proof.text
    if dhcids:
        return Class.CONFLICT, Repair.NONE, f"its DHCID is {dhcids[0]}", (), ""
    if there:
        return Class.STATIC, Repair.NONE, "it has " + " ".join(text for _, text in there) + " and no DHCID", (), ""
    return Class.MISSING, Repair.ASSERT, "" if not records else "the name holds " + " ".join(sorted(types)), (), ""


def _plain(records: Records, row: Row) -> _Verdict:
    """A name that is ours: by value. Addresses of the other family may stand beside ours under the same DHCID."""
    wish = sorted(value.rr for value in row.want)
    kinds = {rtype for rtype, _ in wish}
    there = sorted((rtype, text) for rtype, text in records if rtype in kinds)
    if there == wish:
        return Class.OK, Repair.NONE, "", (), ""
    if any(rtype == "CNAME" for rtype, _ in records):
        return Class.BLOCKED, Repair.NONE, "a CNAME", (), ""
    if not there and not records:
        return Class.MISSING, Repair.ASSERT, "", (), ""
    return Class.WRONG, Repair.ASSERT, "has " + (" ".join(text for _, text in there) or "no address"), (), ""


def _proof(name: str, records: Records, row: Row, clients: Clients) -> Guard | None:
    """The old guard of the client that `row` is for, when it is what stands there."""
    there = {(rtype, text) for rtype, text in records if rtype in {"DHCID", "TXT"}}
    for value in row.want:
        lease = clients.at(ipv4(value.text)) if value.rtype == "A" else None
        if lease is not None and there:
            for guard in guard_candidates(lease.hw, lease.client_id, name, cased=lease.hostname):
                if guard[:2] in there and guard.text != row.guard:
                    return guard
    return None


def _unwanted(name: str, records: Records, clients: Clients, now: float) -> _Verdict:
    """A forward name that no live lease wants, as far as we know."""
    types = _sorted(records)
    addresses = types.get("A", [])
    dhcids = types.get("DHCID", [])
    if not addresses and not dhcids:
        return Class.FOREIGN, Repair.NONE, "", (), ""
    if len(dhcids) > 1:
        return Class.BROKEN, Repair.NONE, " ".join(dhcids), (), ""
    found = clients.owner(name, records)
    if found is None:
        inside = any(clients.inside(ipv4(text)) for text in addresses)
        if not dhcids:
            return Class.FOREIGN, Repair.NONE, "no DHCID" + (", inside our pools" if inside else ""), (), ""
        if not addresses and "AAAA" not in types:
            return Class.HUSK, Repair.NONE, "of a client that we do not know", (), ""
        if not inside:
            return Class.FOREIGN, Repair.NONE, "", (), ""
        text = "inside our pools, of a client that we do not know"
        if all(clients.rests(ipv4(each), now) for each in addresses) and "AAAA" not in types:
            return Class.ORPHAN, Repair.REMOVE, text, tuple(("A", each) for each in addresses), dhcids[0]
        return Class.ORPHAN, Repair.NONE, text, (), ""
    lease, guard = found
    if lease.state is BindingState.ACTIVE and (dotted(lease.address) in addresses or not lease.fqdn):
        return Class.PARTNER, Repair.NONE, f"of the client of {dotted(lease.address)}", (), ""
    if _ended_lately(lease, now):
        return Class.WAITING, Repair.NONE, f"{dotted(lease.address)} ended a moment ago", (), ""
    proof = f"{guard.rtype} {guard.how} of the client of {dotted(lease.address)}, {lease.state.name.lower()}"
    remove = tuple(("A", text) for text in addresses) or (("A", dotted(lease.address)),)
    repair = (
        Repair.REMOVE if guard.rtype == "DHCID" else Repair.NONE
    )  # an interim name is upgraded by its client, or removed by hand
    return (Class.STALE if addresses else Class.HUSK), repair, proof, remove, guard.text


def _reverse(name: str, records: Records, row: Row | None, clients: Clients, now: float) -> _Verdict:
    """A reverse name."""
    pointers = [text.lower() for rtype, text in records if rtype == "PTR"]
    address = clients.address_of(name)
    if row is not None and row.want:
        wish = row.want[0].text
        if any(rtype == "CNAME" for rtype, _ in records):
            return Class.BLOCKED, Repair.NONE, "a CNAME", (), ""
        if pointers == [wish]:
            return Class.OK, Repair.NONE, "", (), ""
        if row.state in {State.HELD, State.CONFLICT, State.BLOCKED}:
            return Class.WAITING, Repair.NONE, row.last_error, (), ""
        if not pointers:
            return Class.MISSING, Repair.ASSERT, "", (), ""
        return Class.WRONG, Repair.ASSERT, "points to " + " ".join(pointers), (), ""
    if not pointers or address is None or not clients.inside(address):
        return Class.FOREIGN, Repair.NONE, "", (), ""
    lease = clients.at(address)
    if lease is not None and lease.state is BindingState.ACTIVE:
        return Class.PARTNER, Repair.NONE, f"of the client of {dotted(address)}", (), ""
    if lease is None or len(pointers) != 1 or not _called(lease, pointers[0], clients):
        text = f"{dotted(address)} is free, and points to " + " ".join(pointers)
        if len(pointers) == 1 and clients.rests(address, now) and clients.marked(pointers[0], address):
            return Class.ORPHAN, Repair.REMOVE, text, (("PTR", pointers[0]),), ""
        return Class.ORPHAN, Repair.NONE, text, (), ""
    if _ended_lately(lease, now):
        return Class.WAITING, Repair.NONE, f"{dotted(address)} ended a moment ago", (), ""
    detail = f"{dotted(address)} is {lease.state.name.lower()}; its last client was {pointers[0]}"
    return Class.STALE, Repair.REMOVE, detail, (("PTR", pointers[0]),), ""


def _called(lease: Lease, name: str, clients: Clients) -> bool:
    """Whether the last client of an address had this name in a zone of ours: what it called itself, or a name of the address."""
    label, _, domain = name.partition(".")
    ours = any(domain == zone or domain.endswith("." + zone) for zone in clients.zones)
    own = {lease.fqdn.split(".", 1)[0], sanitise(lease.hostname).text} - {""}
    return ours and (label in own or dotted(lease.address).replace(".", "-") in label)


def _ended_lately(lease: Lease, now: float) -> bool:
    if lease.state is BindingState.ACTIVE:
        return False
    return max(lease.cltt, lease.partner_cltt, lease.ends if lease.ends <= now else 0) > now - REST_S


def addresses_of(finding: Finding) -> tuple[str, ...]:
    """The addresses that a removal is about."""
    if finding.kind == REVERSE:
        address = reverse_address(finding.name)
        return (dotted(address),) if address is not None else ()
    return tuple(text for rtype, text in finding.remove if rtype == "A")


def ipv4(text: str) -> int:
    """An address of four decimal numbers, -1 for other text. A twentieth of what `ipaddress` costs."""
    parts = text.split(".")
    if len(parts) != 4 or not all(part.isascii() and part.isdigit() and len(part) < 4 for part in parts):
        return -1
    return sum(int(part) << shift for part, shift in zip(parts, (24, 16, 8, 0), strict=True))


def reverse_address(name: str) -> int | None:
    """The IPv4 address of a reverse name, None for another name (a zone's apex, a name of RFC 2317)."""
    labels = name.lower().rstrip(".").split(".")
    if len(labels) != 6 or labels[4:] != ["in-addr", "arpa"]:
        return None
    address = ipv4(".".join(labels[3::-1]))
    return address if address >= 0 else None


# --- a whole zone -----------------------------------------------------------------------------------------------------------


def compare(
    target: str,
    zone: str,
    content: Mapping[str, Records],
    rows: Mapping[str, Row],
    clients: Clients,
    now: float,
    *,
    guarded: bool = True,
) -> list[Finding]:
    """One finding for each owner name of the zone's content, for each row, and for each name that a live lease wants without a row
    (its zone was configured since). `rows`: those of this zone, by name. The apex is left out: it is the operator's."""
    kind = REVERSE if is_reverse(zone) else FORWARD
    names = dict.fromkeys((*content, *rows))
    if kind == FORWARD:
        names.update((name, None) for name in clients.wishes if zone_of(name, clients.zones) == zone)
    found = []
    for name in names:
        if name == zone and name not in rows:
            continue
        row = rows.get(name)
        wish = row or (_wish(target, zone, clients.wishes.get(name)) if kind == FORWARD else None)
        finding = classify(kind, target, name, content.get(name, ()), wish, clients, now, guarded=guarded)
        found.append(finding if row is not None else finding._replace(row=""))
    return found


def _wish(target: str, zone: str, lease: Lease | None) -> Row | None:
    """The row that a live lease would have."""
    if lease is None:
        return None
    want = (Value("A", dotted(lease.address)),)
    return Row(target, FORWARD, lease.fqdn, zone, want=want, guard=canonical(lease.hw, lease.client_id, lease.fqdn))


def is_reverse(zone: str) -> bool:
    """Whether a zone holds PTR records."""
    return zone.endswith((".in-addr.arpa.", ".ip6.arpa.")) or zone in {"in-addr.arpa.", "ip6.arpa."}


def zone_of(name: str, zones: Iterable[str]) -> str:
    """The longest of the zones that a name is in, "" for none."""
    return max((zone for zone in zones if name == zone or name.endswith("." + zone)), key=len, default="")


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """How many names of each class."""
    out = dict.fromkeys(map(str, Class), 0)
    for finding in findings:
        out[finding.klass] += 1
    return out


def removals_allowed(names: int) -> int:
    """How many removals of a zone with so many names need no `--force`."""
    return max(REMOVALS_FEW, int(names * REMOVALS_PART))


def nsupdate(finding: Finding, row: Row | None) -> list[str]:
    """What a repair would send, as lines for nsupdate: for reading, and for use by hand."""
    name = finding.name
    if finding.repair is Repair.REMOVE:
        lines = [f"prereq yxrrset {name} DHCID {finding.guard}"] if finding.kind == FORWARD else []
        if finding.kind == REVERSE:
            lines += [f"prereq yxrrset {name} {rtype} {text}" for rtype, text in finding.remove]
        lines += [f"update delete {name} {rtype} {text}" for rtype, text in finding.remove]
        lines += [f"update delete {name} DHCID {finding.guard}"] if finding.kind == FORWARD else []
        return [*lines, "send"]
    if row is None or finding.repair is Repair.NONE:
        return []
    return ensure(row, there=bool(finding.records), old=finding)


def ensure(row: Row, *, there: bool, old: Finding | None = None) -> list[str]:
    """nsupdate lines that make the zone say what a row wants. `there`: the name exists, and is ours. `old`: what stands there."""
    name, types = row.name, sorted({value.rtype for value in row.want})
    lines = []
    if row.kind == REVERSE or not row.guard:
        lines.append(f"prereq nxrrset {name} CNAME")
    elif old is not None and old.klass is Class.LEGACY:
        rtype = "TXT" if old.guard.startswith('"') else "DHCID"
        lines += [f"prereq yxrrset {name} {rtype} {old.guard}", f"update delete {name} {rtype} {old.guard}"]
        lines.append(f"update add {name} {row.want[0].ttl} DHCID {row.guard}")
    elif there and old is not None and old.klass is Class.WRONG:
        lines.append(f"prereq yxrrset {name} DHCID {row.guard}")
    else:
        lines.append(f"prereq nxdomain {name}")
        lines.append(f"update add {name} {row.want[0].ttl} DHCID {row.guard}")
    lines += [f"update delete {name} {rtype}" for rtype in types if there or row.kind == REVERSE]
    lines += [f"update add {name} {value.ttl} {value.rtype} {value.text}" for value in row.want]
    return [*lines, "send"]
