"""An in-memory master that takes UPDATE messages as BIND 9.18 does (RFC 2136 3, with BIND's order: policy before prerequisites).

It is itself tested against the 100 sequences of vectors/ddns-sequences.yaml, whose results were seen at a real BIND.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from failoverd.ports import Change, DnsAnswer, DnsQuery, DnsUpdate, Prereq

Allow = Callable[[str | None, str, str], bool]
NAMES = {"PTR", "CNAME", "NS"}


def anyone(key: str | None, name: str, rtype: str) -> bool:
    return key == "ddns-key"


def nobody(key: str | None, name: str, rtype: str) -> bool:
    return False


def policy_test(key: str | None, name: str, rtype: str) -> bool:
    """deny ddns-key name www.policy.test ANY; grant ddns-key zonesub A AAAA DHCID;"""
    return key == "ddns-key" and name != "www.policy.test." and rtype in {"A", "AAAA", "DHCID"}


def canon(rtype: str, text: str) -> str:
    return text.lower() if rtype in NAMES else text


@dataclass
class RRset:
    ttl: int
    data: dict[str, str] = field(default_factory=dict)  # canonical text -> text as written


@dataclass
class Zone:
    """`whole`: rights are looked up for the zone at once (allow-update), not for each record (update-policy)."""

    name: str
    allow: Allow = anyone
    whole: bool = True
    serial: int = 1
    names: dict[str, dict[str, RRset]] = field(default_factory=dict)

    def rrset(self, name: str, rtype: str) -> RRset | None:
        return self.names.get(name.lower(), {}).get(rtype)

    def put(self, name: str, ttl: int, rtype: str, text: str) -> None:
        types = self.names.setdefault(name.lower(), {})
        if (rtype == "CNAME" and set(types) - {"CNAME"}) or (rtype != "CNAME" and "CNAME" in types):
            return
        rrset = types.setdefault(rtype, RRset(ttl))
        if rtype == "CNAME":
            rrset.data.clear()
        rrset.ttl = ttl
        rrset.data.setdefault(canon(rtype, text), text)

    def take(self, name: str, rtype: str, text: str | None = None) -> None:
        name = name.lower()
        types = self.names.get(name, {})
        if name == self.name and rtype in {"SOA", "NS"}:
            return
        rrset = types.get(rtype)
        if rrset is None:
            return
        if text is None:
            del types[rtype]
        else:
            rrset.data.pop(canon(rtype, text), None)
            if not rrset.data:
                del types[rtype]
        if not types:
            del self.names[name]

    def lines(self) -> set[str]:
        """Every record as "owner ttl type rdata"."""
        return {
            f"{name} {rrset.ttl} {rtype} {text}"
            for name, types in self.names.items()
            for rtype, rrset in types.items()
            for text in rrset.data.values()
        }

    def load(self, lines: Iterable[str]) -> None:
        for line in lines:
            name, ttl, rtype, text = line.split(" ", 3)
            self.put(name, int(ttl), rtype, text)


class Master:
    def __init__(self, zones: Iterable[Zone]) -> None:
        self.zones = {zone.name: zone for zone in zones}
        self.updates: list[DnsUpdate] = []

    def update(self, update: DnsUpdate, key: str | None = "ddns-key") -> str:
        self.updates.append(update)
        zone = self.zones.get(update.zone)
        if zone is None:
            return "NOTAUTH"
        names = [p.name for p in update.prereqs] + [c.name for c in update.changes]
        inside = all(n.lower() == zone.name or n.lower().endswith("." + zone.name) for n in names)
        if zone.whole and not zone.allow(key, "", ""):
            return "REFUSED" if inside or zone.allow is nobody else "NOTZONE"
        if not inside:
            return "NOTZONE"
        if not zone.whole and not all(self._allowed(zone, key, change) for change in update.changes):
            return "REFUSED"
        for prereq in update.prereqs:
            rcode = self._prereq(zone, prereq)
            if rcode != "NOERROR":
                return rcode
        before = copy.deepcopy(zone.names)
        for change in update.changes:
            self._change(zone, change)
        zone.serial += zone.names != before
        return "NOERROR"

    def query(self, query: DnsQuery) -> DnsAnswer:
        types = self.zones[query.zone].names.get(query.name.lower())
        if types is None:
            return DnsAnswer(query.ident, "NXDOMAIN", "model")
        records = tuple((t, text) for t in query.types if t in types for text in types[t].data.values())
        return DnsAnswer(query.ident, "NOERROR", "model", records=records)

    def answer(self, message: DnsUpdate | DnsQuery) -> DnsAnswer:
        if isinstance(message, DnsQuery):
            return self.query(message)
        return DnsAnswer(message.ident, self.update(message), "model")

    @staticmethod
    def _allowed(zone: Zone, key: str | None, change: Change) -> bool:
        if change.op == "del-name":
            return all(zone.allow(key, change.name.lower(), t) for t in zone.names.get(change.name.lower(), {}))
        return zone.allow(key, change.name.lower(), change.rtype)

    @staticmethod
    def _prereq(zone: Zone, prereq: Prereq) -> str:
        op, name, rtype, values = prereq
        exists = name.lower() in zone.names
        rrset = zone.rrset(name, rtype)
        if op == "nxdomain":
            return "YXDOMAIN" if exists else "NOERROR"
        if op == "yxdomain":
            return "NOERROR" if exists else "NXDOMAIN"
        if op == "nxrrset":
            return "YXRRSET" if rrset else "NOERROR"
        same = rrset is not None and (not values or {canon(rtype, v) for v in values} == set(rrset.data))
        return "NOERROR" if same else "NXRRSET"

    @staticmethod
    def _change(zone: Zone, change: Change) -> None:
        if change.op == "add":
            zone.put(change.name, change.ttl, change.rtype, change.value)
        elif change.op == "del-rrset":
            zone.take(change.name, change.rtype)
        elif change.op == "del-rr":
            zone.take(change.name, change.rtype, change.value)
        else:
            for rtype in list(zone.names.get(change.name.lower(), {})):
                zone.take(change.name, rtype)
