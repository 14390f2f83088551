"""The other process of an audit: transfers zones (AXFR first, IXFR after that), keeps a compact copy, compares it with rows and leases.

A transfer of 100,000 names costs half a minute of CPU; here it stands in nobody's way. One JSON value a line: requests on stdin, answers
on stdout. It ends when its stdin does. It reads the key files itself, so no secret passes through the pipe.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rdtypes.ANY.SOA
import dns.rdtypes.IN.A
import dns.transaction
import dns.tsig
import dns.xfr

from failoverd.ddns import audit
from failoverd.ddns.audit import Class, Clients, Finding, Records
from failoverd.ddns.names import dotted
from failoverd.ddns.rows import Row
from failoverd.ddns.zone import Zone
from failoverd.leases.lease import Lease
from failoverd.shell.dnskeys import KeyFileError, Keys
from failoverd.shell.dnswire import FUDGE_S, rdata_text

CHUNK = 250  # findings in one answer
QUIET_S = 30.0  # a master that says nothing for so long in a transfer
LONGEST_S = 900.0
NICE = 10
COUNTED = frozenset({Class.OK, Class.WAITING, Class.FOREIGN, Class.PARTNER})  # nobody needs to read their names
STATIC_TYPES = frozenset({"A", "AAAA", "CNAME", "TXT", "MX", "SRV", "PTR"})
DNSSEC = frozenset(
    {"RRSIG", "NSEC", "NSEC3", "NSEC3PARAM", "DNSKEY", "CDS", "CDNSKEY", "TYPE65534"}
)  # the signer's, not the operator's


class Copy(dns.transaction.TransactionManager):
    """A zone as {owner name -> ((type, data), ...)}, without what a signer put there. A quarter of dnspython's own zone in memory."""

    def __init__(self, zone: str) -> None:
        self.origin = dns.name.from_text(zone)
        self.names: dict[str, Records] = {}
        self.ttls: dict[tuple[str, str], int] = {}
        self.serial: int | None = None
        self.how = ""

    def reader(self) -> dns.transaction.Transaction:
        """Not needed by a transfer."""
        raise NotImplementedError

    def writer(self, replacement: bool = False) -> dns.transaction.Transaction:
        """A transfer's changes; `replacement`: the whole zone."""
        self.how = "AXFR" if replacement else "IXFR"
        return Changes(self, replacement)

    def origin_information(self) -> tuple[dns.name.Name | None, bool, dns.name.Name | None]:
        """Names are absolute."""
        return self.origin, False, self.origin

    def get_class(self) -> dns.rdataclass.RdataClass:
        """Always IN."""
        return dns.rdataclass.IN


class Changes(dns.transaction.Transaction):
    """What one transfer changes; taken over whole at its end, or not at all."""

    def __init__(self, copy: Copy, replacement: bool) -> None:
        super().__init__(copy, replacement)
        self._copy = copy
        self._names: dict[str, Records] = {} if replacement else dict(copy.names)
        self._ttls: dict[tuple[str, str], int] = {} if replacement else dict(copy.ttls)
        self._serial = copy.serial

    def add(self, *args: Any) -> None:
        """(name, rdataset) of one record."""
        name, rdataset = args
        rtype = dns.rdatatype.to_text(rdataset.rdtype)
        if rtype in DNSSEC:
            return
        owner = name.to_text().lower()
        self._ttls[owner, rtype] = rdataset.ttl
        for rd in rdataset:
            record = (rtype, rd.address if isinstance(rd, dns.rdtypes.IN.A.A) else rdata_text(rd))
            there = self._names.get(owner, ())
            if record not in there:
                self._names[owner] = (*there, record)

    def delete_exact(self, *args: Any) -> None:
        """(name, rdataset) of one record that must be there."""
        name, rdataset = args
        rtype = dns.rdatatype.to_text(rdataset.rdtype)
        if rtype in DNSSEC:
            return
        owner = name.to_text().lower()
        gone = {(rtype, rdata_text(rd)) for rd in rdataset}
        there = self._names.get(owner, ())
        if not gone <= set(there):
            raise dns.exception.FormError(f"{owner} {rtype} is not there to be deleted")  # type: ignore[no-untyped-call]
        left = tuple(record for record in there if record not in gone)
        if left:
            self._names[owner] = left
        else:
            del self._names[owner]

    def replace(self, *args: Any) -> None:
        """(name, rdataset): the SOA."""
        soa = args[1][0]
        assert isinstance(soa, dns.rdtypes.ANY.SOA.SOA)
        self._serial = soa.serial

    def commit(self) -> None:
        """The transfer is whole."""
        self._copy.names, self._copy.ttls, self._copy.serial = self._names, self._ttls, self._serial

    def rollback(self) -> None:
        """It was not."""


class Failed(Exception):
    """A transfer that no primary gave; the text says why."""


class Worker:
    """The copies, and what the present audit was told."""

    def __init__(self) -> None:
        self._copies: dict[tuple[str, str], Copy] = {}
        self._keys = Keys()
        self._rows: dict[tuple[str, str], dict[str, Row]] = {}
        self._leases: list[Lease] = []

    def answer(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The answers to one request, the last one with `done` or `failed`."""
        if "forget" in request:
            self._rows, self._leases = {}, []
        elif "rows" in request:
            for text in request["rows"]:
                row = Row.from_json(text)
                self._rows.setdefault((row.target, row.zone), {})[row.name] = row
        elif "leases" in request:
            self._leases += map(Lease.from_json, request["leases"])
        elif "transfer" in request:
            zone = _zone(request["transfer"])
            try:
                yield {"done": self._transfer(zone)}
            except Failed as error:
                yield {"failed": str(error)}
        elif "compare" in request:
            yield from self._compare(request["compare"])
        elif "statics" in request:
            yield from self._statics(request["statics"])

    # --- transfer -----------------------------------------------------------------------------------------------------

    def _transfer(self, zone: Zone) -> dict[str, Any]:
        copy = self._copies.setdefault((zone.target, zone.name), Copy(zone.name))
        said = []
        for host, port in zone.primaries:
            try:
                self._from(zone, copy, host, port)
            except dns.xfr.TransferError as error:
                rcode = dns.rcode.to_text(error.rcode)
                why = ": its allow-transfer does not name this key" if rcode == "REFUSED" else ""
                said.append(f"{host}:{port} answered {rcode}{why}")
            except (dns.exception.DNSException, OSError, EOFError, ValueError, KeyFileError) as error:
                said.append(f"{host}:{port}: {str(error) or type(error).__name__}")
            else:
                return {"names": len(copy.names), "serial": copy.serial, "how": copy.how}
        raise Failed(f"no transfer of {zone.name}: " + "; ".join(said))

    def _from(self, zone: Zone, copy: Copy, host: str, port: int) -> None:
        try:
            self._ask(zone, copy, host, port, copy.serial)
        except (dns.xfr.SerialWentBackwards, dns.exception.FormError):
            if copy.serial is None:
                raise
            self._ask(zone, copy, host, port, None)  # the copy is of another history: begin anew

    def _ask(self, zone: Zone, copy: Copy, host: str, port: int, serial: int | None) -> None:
        try:
            self._transfer_with(self._keys.of(zone), copy, host, port, serial)
        except (dns.tsig.PeerBadKey, dns.tsig.PeerBadSignature, KeyFileError):
            if not zone.key_next_file or not os.path.exists(zone.key_next_file):
                raise
            self._transfer_with(self._keys.next_of(zone), copy, host, port, serial)  # a rollover

    def _transfer_with(self, key: dns.tsig.Key, copy: Copy, host: str, port: int, serial: int | None) -> None:
        query, _ = dns.xfr.make_query(copy, serial=serial or None)
        query.use_tsig(key, fudge=FUDGE_S)
        copy.how = "AXFR" if not serial else "IXFR"
        dns.query.inbound_xfr(host, copy, query, port, timeout=QUIET_S, lifetime=LONGEST_S)

    # --- comparing ----------------------------------------------------------------------------------------------------

    def _compare(self, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Findings in chunks; names that are as they should be are only counted."""
        target, zone = asked["target"], asked["zone"]
        ranges = [(int(low), int(high)) for low, high in asked["ranges"]]
        zones = tuple(name for name in asked["zones"] if not audit.is_reverse(name))
        copies = [copy for (each, _), copy in self._copies.items() if each == target]

        def marked(name: str, address: int) -> bool:
            there = [record for copy in copies for record in copy.names.get(name, ())]
            return ("A", dotted(address)) in there and any(rtype == "DHCID" for rtype, _ in there)

        inside = lambda address: any(low <= address <= high for low, high in ranges)  # noqa: E731
        clients = Clients(self._leases, inside, zones, asked["adopt_s"], marked)
        rows = self._rows.get((target, zone), {})
        content = self._copies[target, zone].names
        found = audit.compare(target, zone, content, rows, clients, asked["now"], guarded=asked["guarded"])
        shown = [each for each in found if each.klass not in COUNTED]
        for at in range(0, len(shown), CHUNK):
            chunk = shown[at : at + CHUNK]
            yield {"findings": [[each, _script(each, rows.get(each.name))] for each in chunk]}
        yield {"done": {"counts": audit.counts(found)}}

    def _statics(self, asked: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Records of the operator's: of the types that he may enter, at names that have no DHCID and no row."""
        target, zone = asked["target"], asked["zone"]
        copy, rows = self._copies[target, zone], self._rows.get((target, zone), {})
        found = []
        for name in sorted(copy.names):
            records = copy.names[name]
            if name not in rows and not any(rtype == "DHCID" for rtype, _ in records):
                found += [[name, copy.ttls[name, t], t, text] for t, text in records if t in STATIC_TYPES]
        for at in range(0, len(found), CHUNK):
            yield {"statics": found[at : at + CHUNK]}
        yield {"done": {"counts": {}}}


def _script(finding: Finding, row: Row | None) -> list[str]:
    return audit.nsupdate(finding, row)


def _zone(asked: dict[str, Any]) -> Zone:
    primaries = tuple((str(host), int(port)) for host, port in asked["primaries"])
    return Zone(
        asked["target"],
        asked["name"],
        primaries,
        asked["key_file"],
        asked["key_name"],
        asked["key_next_file"],
        allow_weak=asked["allow_weak"],
    )


def run(requests: TextIO, answers: TextIO) -> None:
    """Answer until the requests end."""
    worker = Worker()
    for line in requests:
        for answer in worker.answer(json.loads(line)):
            answers.write(json.dumps(answer, separators=(",", ":")) + "\n")
        answers.flush()


if __name__ == "__main__":
    os.nice(NICE)
    run(sys.stdin, sys.stdout)
