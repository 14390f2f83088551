"""Update values to DNS messages and back (RFC 2136), through dnspython."""

from __future__ import annotations

import base64

import dns.exception
import dns.message
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.IN.DHCID
import dns.rrset
import dns.tsig
import dns.update

from failoverd.ports import Change, DnsQuery, DnsUpdate, Prereq

ANY, NONE, IN = dns.rdataclass.ANY, dns.rdataclass.NONE, dns.rdataclass.IN
FUDGE_S = 300


def encode_update(update: DnsUpdate) -> dns.update.UpdateMessage:
    """An unsigned UPDATE with a random id. Raises DNSException or ValueError for names and rdata that are none."""
    out = dns.update.UpdateMessage(update.zone)
    for op, name, rtype, values in update.prereqs:
        if op == "nxdomain":
            out.absent(name)
        elif op == "yxdomain":
            out.present(name)
        elif op == "nxrrset":
            out.absent(name, rtype)
        elif op == "yxrrset":
            out.present(name, rtype, *values)
        else:
            raise ValueError(f"unknown prerequisite {op}")
    for op, name, rtype, value, ttl in update.changes:
        if op == "add":
            out.add(name, ttl, rtype, value)
        elif op == "del-rrset":
            out.delete(name, rtype)
        elif op == "del-rr":
            out.delete(name, rtype, value)
        elif op == "del-name":
            out.delete(name)
        else:
            raise ValueError(f"unknown change {op}")
    return out


def encode_query(query: DnsQuery, rtype: str) -> dns.message.QueryMessage:
    """A query for one type, recursion not desired."""
    out = dns.message.make_query(query.name, rtype, flags=0)
    assert isinstance(out, dns.message.QueryMessage)
    return out


def decode_update(wire: bytes, key: dns.tsig.Key | None, ident: int = 0, target: str = "") -> DnsUpdate:
    """The values of an UPDATE; with `key` its MAC is verified. Raises DNSException or ValueError."""
    message = dns.message.from_wire(wire, keyring={key.name: key} if key else None)
    return update_values(message, ident, target)


def update_values(message: dns.message.Message, ident: int = 0, target: str = "") -> DnsUpdate:
    """The values of a parsed UPDATE. Raises ValueError for anything else."""
    if not isinstance(message, dns.update.UpdateMessage) or len(message.zone) != 1:
        raise ValueError("not an UPDATE")
    prereqs: dict[tuple[str, str, str], tuple[str, ...]] = {}
    for rrset in message.prerequisite:
        prereq = _prereq(rrset)
        prereqs[prereq[:3]] = prereqs.get(prereq[:3], ()) + prereq.values
    changes = tuple(change for rrset in message.update for change in _changes(rrset))
    zone = message.zone[0].name.to_text()
    return DnsUpdate(ident, target, zone, tuple(Prereq(*key, values) for key, values in prereqs.items()), changes)


def _prereq(rrset: dns.rrset.RRset) -> Prereq:
    name, rtype = rrset.name.to_text(), dns.rdatatype.to_text(rrset.rdtype)
    deleting = rrset.deleting
    if rrset.rdtype == dns.rdatatype.ANY:
        return Prereq("nxdomain" if deleting == NONE else "yxdomain", name)
    if deleting == NONE:
        return Prereq("nxrrset", name, rtype)
    return Prereq("yxrrset", name, rtype, tuple(rdata_text(rd) for rd in rrset))


def _changes(rrset: dns.rrset.RRset) -> list[Change]:
    name, rtype = rrset.name.to_text(), dns.rdatatype.to_text(rrset.rdtype)
    if rrset.deleting == ANY:
        return [Change("del-name", name)] if rrset.rdtype == dns.rdatatype.ANY else [Change("del-rrset", name, rtype)]
    if rrset.deleting == NONE:
        return [Change("del-rr", name, rtype, rdata_text(rd)) for rd in rrset]
    return [Change("add", name, rtype, rdata_text(rd), rrset.ttl) for rd in rrset]


def rdata_text(rd: dns.rdata.Rdata) -> str:
    """The text of a record's data as rows hold it: DHCID in one piece."""
    if isinstance(rd, dns.rdtypes.IN.DHCID.DHCID):
        return base64.b64encode(rd.data).decode("ascii")
    return rd.to_text()


def records_of(message: dns.message.Message, name: str, rtype: str) -> list[tuple[str, str]]:
    """The records of one type that the answer holds at the very name that was asked (not behind a CNAME)."""
    owner = dns.name.from_text(name)
    kind = dns.rdatatype.from_text(rtype)
    return [(rtype, rdata_text(rd)) for rrset in message.answer if rrset.name == owner and rrset.rdtype == kind for rd in rrset]
