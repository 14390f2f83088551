"""What an operator has sent to a zone at once, outside the rows: a test of the zone, and static entries with a key of his own.

Every message carries the prerequisite that keeps it away from names of clients (a DHCID at the name), so a race with a lease is decided by
the master.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

import dns.exception
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from failoverd.ddns.audit import is_reverse, zone_of
from failoverd.ddns.dhcid import guard
from failoverd.ddns.zone import DnsPlan, Zone
from failoverd.ports import Change, DnsAnswer, DnsQuery, DnsUpdate, Prereq
from failoverd.shell.audits import AuditRefused
from failoverd.shell.dns import DnsClient
from failoverd.shell.dnswire import rdata_text

STATIC_TYPES = ("A", "AAAA", "CNAME", "TXT", "MX", "SRV", "PTR")
PROBE_ADDRESS = "192.0.2.1"  # TEST-NET-1 (RFC 5737)
PROBE_TTL_S = 60
ALL_TYPES = ("DHCID", "CNAME", "A", "AAAA", "TXT")

WORDS: Mapping[str, str] = {
    "NOERROR": "done",
    "YXDOMAIN": "the name exists already",
    "NXDOMAIN": "the name does not exist",
    "YXRRSET": "something is at the name that must not be there",
    "NXRRSET": "what must be at the name is not there",
    "REFUSED": "the key has no right to do this (update-policy, allow-update), the zone is frozen, or this is a secondary",
    "NOTAUTH": "this server does not serve the zone, or it is no zone of its own there",
    "NOTZONE": "the name is not in the zone",
    "SERVFAIL": "the master cannot load or write the zone: look into its log (a zone file edited by hand, a directory not writable)",
    "FORMERR": "the master does not understand the message",
    "BADKEY": "the master does not know this key, or knows it with another algorithm, or the key file cannot be used",
    "BADSIG": "the master has another secret under this key's name",
    "BADTIME": "the clocks differ by more than 300 s",
    "TIMEOUT": "no answer",
    "UNREACHABLE": "nobody listens there, or there is no way to it",
    "INTERNAL": "the message could not be made",
}


class Line(NamedTuple):
    """One message of a test. `good`: the answer is the one that a healthy zone gives."""

    target: str
    zone: str
    what: str
    rcode: str
    words: str
    server: str
    ms: float
    good: bool


class Asks(Protocol):
    """The DNS client."""

    def submit(self, message: DnsUpdate | DnsQuery, deliver: Callable[[DnsAnswer], None]) -> None: ...  # noqa: D102


class DnsActs:
    """The operator's messages. `masters`: the daemon's own client; static entries have one with the operator's key."""

    def __init__(self, plan: DnsPlan, masters: Asks) -> None:
        self._plan = plan
        self._masters = masters
        keyed = [
            replace(zone, key_file=zone.static_key_file, key_name="", key_next_file="")
            for zone in plan.zones
            if zone.static_key_file
        ]
        self._static = {(zone.target, zone.name): zone for zone in keyed}
        self._operator = DnsClient(keyed)

    async def close(self) -> None:
        """Stop."""
        await self._operator.close()

    def zones(self, name: str) -> list[Zone]:
        """The zone of that name, once for each target. Raises AuditRefused."""
        found = [zone for zone in self._plan.zones if zone.name == name]
        if not found:
            known = ", ".join(sorted({zone.name for zone in self._plan.zones})) or "none"
            raise AuditRefused("unknown", f"no zone {name} is configured; there is: {known}")
        return found

    def zone_of(self, name: str) -> str:
        """The configured zone that a name is in. Raises AuditRefused."""
        zone = zone_of(name, {each.name for each in self._plan.zones})
        if not zone:
            raise AuditRefused("unknown", f"{name} is in no zone of the configuration")
        return zone

    # --- test ---------------------------------------------------------------------------------------------------------

    async def test(self, name: str) -> list[Line]:
        """Add and remove a name that nobody uses, and a PTR; for a forward zone both, for a reverse zone the PTR.

        The name has no underscore: BIND's check-names, which is on for a primary, refuses an A record at such a name (seen).
        """
        lines: list[Line] = []
        for zone in self.zones(name):
            if is_reverse(zone.name):
                lines += await self._test_pointer(zone)
                continue
            lines += await self._test_forward(zone)
            reverse = next((each for each in self._plan.zones if each.target == zone.target and is_reverse(each.name)), None)
            if reverse is not None:
                lines += await self._test_pointer(reverse)
        return lines

    async def _test_forward(self, zone: Zone) -> list[Line]:
        name = f"failoverd-probe-{os.urandom(6).hex()}.{zone.name}"
        owner = guard(b"\x01" + os.urandom(6), b"", name)
        add = (Change("add", name, "A", PROBE_ADDRESS, PROBE_TTL_S), Change("add", name, "DHCID", owner, PROBE_TTL_S))
        ours = (Prereq("yxrrset", name, "DHCID", (owner,)),)
        other = base64.b64encode(b"\x00\x00\x01" + os.urandom(32)).decode()
        theirs = (Prereq("yxrrset", name, "DHCID", (other,)),)
        remove = (Change("del-rr", name, "A", PROBE_ADDRESS), Change("del-rr", name, "DHCID", owner))
        lines = [await self._line(zone, f"add A and DHCID at {name}", (Prereq("nxdomain", name),), add)]
        if not lines[0].good:
            return lines
        lines.append(await self._seen(zone, name, ("A", "DHCID"), {("A", PROBE_ADDRESS), ("DHCID", owner)}))
        lines.append(await self._line(zone, "as another client: must be stopped by the DHCID", theirs, remove, "NXRRSET"))
        lines.append(await self._line(zone, "remove A and DHCID", ours, remove))
        return lines

    async def _test_pointer(self, zone: Zone) -> list[Line]:
        name = f"failoverd-probe-{os.urandom(6).hex()}.{zone.name}"
        target = "probe.invalid."
        add = (Change("add", name, "PTR", target, PROBE_TTL_S),)
        lines = [await self._line(zone, f"add PTR at {name}", (Prereq("nxrrset", name, "CNAME"),), add)]
        if not lines[0].good:
            return lines
        lines.append(await self._seen(zone, name, ("PTR",), {("PTR", target)}))
        there = (Prereq("yxrrset", name, "PTR", (target,)),)
        lines.append(await self._line(zone, "remove PTR", there, (Change("del-rr", name, "PTR", target),)))
        return lines

    async def _line(
        self, zone: Zone, what: str, prereqs: tuple[Prereq, ...], changes: tuple[Change, ...], want: str = "NOERROR"
    ) -> Line:
        answer = await _ask(self._masters, DnsUpdate(0, zone.target, zone.name, prereqs, changes))
        return _said(zone, what, answer, answer.rcode == want)

    async def _seen(self, zone: Zone, name: str, types: tuple[str, ...], want: set[tuple[str, str]]) -> Line:
        answer = await _ask(self._masters, DnsQuery(0, zone.target, zone.name, name, types))
        line = _said(zone, "ask the master for it", answer, answer.rcode == "NOERROR" and set(answer.records) == want)
        return line if line.good or answer.rcode != "NOERROR" else line._replace(words="the answer holds something else")

    # --- static entries -----------------------------------------------------------------------------------------------

    async def at(self, name: str) -> dict[str, list[list[str]]]:
        """What stands at a name now, by target. Raises AuditRefused when a master does not say."""
        out: dict[str, list[list[str]]] = {}
        for zone in self.zones(self.zone_of(name)):
            answer = await _ask(self._masters, DnsQuery(0, zone.target, zone.name, name, ALL_TYPES))
            if answer.rcode not in {"NOERROR", "NXDOMAIN"}:
                raise AuditRefused("failed", f"{zone.name} ({zone.target}): {_words(answer)}")
            out[zone.target] = [list(record) for record in answer.records]
        return out

    async def add(self, zone: str, name: str, ttl: int, rtype: str, value: str) -> None:
        """Add one record with the operator's key, at every target. Raises AuditRefused."""
        text = data(rtype, value)
        prereqs = [Prereq("nxrrset", name, "DHCID")]
        if rtype == "CNAME":
            prereqs = [Prereq("nxdomain", name)]
        else:
            prereqs.append(Prereq("nxrrset", name, "CNAME"))
        await self._each(zone, name, prereqs, Change("add", name, rtype, text, ttl))

    async def delete(self, zone: str, name: str, rtype: str, value: str) -> None:
        """Delete one record with the operator's key, at every target. Raises AuditRefused."""
        text = data(rtype, value)
        there = False
        for each in self._operated(zone):
            answer = await _ask(self._operator, DnsQuery(0, each.target, each.name, name, (rtype,)))
            if answer.rcode not in {"NOERROR", "NXDOMAIN"}:
                raise AuditRefused("failed", f"{each.name} ({each.target}): {_words(answer)}")
            there = there or any(_same(rtype, found, text) for _, found in answer.records)
        if not there:
            raise AuditRefused("unknown", f"there is no {rtype} {text} at {name}")
        await self._each(zone, name, [Prereq("nxrrset", name, "DHCID")], Change("del-rr", name, rtype, text))

    def operated(self, zone: str) -> None:
        """Raises AuditRefused unless static entries can be made in this zone."""
        self._operated(zone)

    def _operated(self, name: str) -> list[Zone]:
        zones = [self._static.get((zone.target, zone.name)) for zone in self.zones(name)]
        found = [zone for zone in zones if zone is not None]
        if len(found) != len(zones):
            raise AuditRefused(
                "refused",
                f"{name}: no static-key-file is configured ([ddns] or its [[ddns.zone]]): static entries need a key of their own",
            )
        return found

    async def _each(self, zone: str, name: str, prereqs: Sequence[Prereq], change: Change) -> None:
        for each in self._operated(zone):
            answer = await _ask(self._operator, DnsUpdate(0, each.target, each.name, tuple(prereqs), (change,)))
            if answer.rcode != "NOERROR":
                why = await self._why(each, name, answer)
                code = "refused" if answer.rcode in {"YXRRSET", "YXDOMAIN", "REFUSED"} else "failed"
                raise AuditRefused(code, f"{each.name} ({each.target}): {why}")

    async def _why(self, zone: Zone, name: str, answer: DnsAnswer) -> str:
        """Which of the prerequisites failed."""
        if answer.rcode not in {"YXRRSET", "YXDOMAIN"}:
            return _words(answer)
        found = await _ask(self._operator, DnsQuery(0, zone.target, zone.name, name, ALL_TYPES))
        types = sorted({rtype for rtype, _ in found.records})
        if "DHCID" in types:
            return f"{name} is a client's (it has a DHCID); static entries never touch names of clients"
        if "CNAME" in types:
            return f"{name} is a CNAME; nothing can stand beside it"
        return f"{name} exists already ({', '.join(types) or 'other types'}); a CNAME stands alone"


def data(rtype: str, value: str) -> str:
    """The canonical text of a record's data. Raises AuditRefused."""
    if rtype not in STATIC_TYPES:
        raise AuditRefused("usage", f"type {rtype!r}; static entries have one of {', '.join(STATIC_TYPES)}")
    if rtype == "TXT" and not value.startswith('"'):
        value = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    try:
        rd = dns.rdata.from_text(dns.rdataclass.IN, dns.rdatatype.from_text(rtype), value, relativize=False)
    except (dns.exception.DNSException, ValueError, UnicodeError) as error:
        raise AuditRefused("usage", f"{value!r} is no {rtype} record: {error or type(error).__name__}") from None
    text = rdata_text(rd)
    if rtype in {"CNAME", "MX", "SRV", "PTR"} and not text.endswith("."):
        raise AuditRefused("usage", f"{value!r}: write the name with its domain and a dot at the end")
    return text


def _same(rtype: str, one: str, other: str) -> bool:
    return one.lower() == other.lower() if rtype in {"CNAME", "MX", "SRV", "PTR"} else one == other


def _words(answer: DnsAnswer) -> str:
    told = f"{answer.rcode}: {WORDS.get(answer.rcode, 'an answer that this message cannot have')}"
    return told + (f" ({answer.detail})" if answer.detail else "")


def _said(zone: Zone, what: str, answer: DnsAnswer, good: bool) -> Line:
    words = "as it should be" if good else WORDS.get(answer.rcode, "an answer that this message cannot have")
    if answer.rcode == "NOERROR" and not good:
        words = "the master did it, although it must not"
    if answer.detail:
        words += f" ({answer.detail})"
    return Line(zone.target, zone.name, what, answer.rcode, words, answer.server, round(answer.elapsed_s * 1000, 1), good)


async def _ask(client: Asks, message: DnsUpdate | DnsQuery) -> DnsAnswer:
    answered: asyncio.Future[DnsAnswer] = asyncio.get_running_loop().create_future()
    client.submit(message, lambda answer: None if answered.done() else answered.set_result(answer))
    return await answered
