"""The watch over secondaries: it sits between the loop and the DNS client, sees what a master took, and asks what propagation.py wants
to know. Masters are asked through the client, signed; secondaries by a plain SOA query, or with the key that the configuration names
for that (watch-key-file: where a key chooses the view).

A forged answer can at most hide a lag or show one: nothing else hangs on it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.tsig

from failoverd.ddns.propagation import AskMaster, AskSecondary, Endpoint, Propagation, WatchPlan, ZoneKey, write
from failoverd.ddns.zone import Zone
from failoverd.notes import Note
from failoverd.ports import DnsAnswer, DnsQuery, DnsUpdate, Now
from failoverd.shell import clock
from failoverd.shell.dnskeys import KeyFileError, Keys
from failoverd.shell.dnswire import FUDGE_S, records_of
from failoverd.shell.sides import ToMasters

SECONDARY_S = 2.0
ADDRESSES = ("A", "AAAA")
DNS_PORT = 53

Deliver = Callable[[DnsAnswer], None]


class DnsWatch:
    """`masters`: the DNS client. `note`: takes what is to be said. `wanted`: of a name, target -> the (type, text) that must be
    there (none: no address and no pointer may be); a target that is not in it has no say."""

    def __init__(
        self,
        plan: WatchPlan,
        masters: ToMasters,
        note: Callable[[Note], None],
        wanted: Callable[[str], Mapping[str, frozenset[tuple[str, str]]]],
        read: Callable[[], Now] = clock.read,
    ) -> None:
        self._wanted = wanted
        self._masters = masters
        self._note = note
        self._read = read
        self._propagation = Propagation(plan)
        self._keys = [(zone.target, zone.name) for zone in plan.zones]
        self._signed = {(zone.target, zone.name): zone for zone in plan.zones if zone.key_file}
        self._tsig = Keys()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def submit(self, message: DnsUpdate | DnsQuery, deliver: Deliver) -> None:
        """Hand a message to the DNS client; an update that was taken is watched."""
        if isinstance(message, DnsQuery):
            self._masters.submit(message, deliver)
            return

        def answered(answer: DnsAnswer) -> None:
            if answer.rcode == "NOERROR" and not self._closed:
                self._propagation.applied(message, self._read().mono)
                self._arm()
            deliver(answer)

        self._masters.submit(message, answered)

    def rows(self) -> list[dict[str, object]]:
        """The lag of each secondary (propagation.py)."""
        return self._propagation.status(self._read().mono)

    def warnings(self) -> list[str]:
        """A sentence for each secondary that is late."""
        return self._propagation.warnings(self._read().mono)

    async def close(self) -> None:
        """Ask nothing more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- asking -------------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """One timer for the next question."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._propagation.deadline()
        if deadline != float("inf") and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, deadline - self._read().mono), self._due)

    def _due(self) -> None:
        self._timer = None
        for ask in self._propagation.due(self._read().mono):
            work = self._ask_master(ask) if isinstance(ask, AskMaster) else self._ask_secondary(ask)
            task = asyncio.get_running_loop().create_task(work)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._arm()

    def _say(self, notes: list[Note]) -> None:
        for each in notes:
            self._note(each)
        self._arm()

    async def _ask_master(self, ask: AskMaster) -> None:
        shown, serial = True, None
        if ask.proof is not None:
            answer = await self._query(ask.key, ask.proof.name, ask.proof.rtype)
            if answer.rcode not in ("NOERROR", "NXDOMAIN"):
                self._say(self._propagation.proven(ask, True, None, self._read()))
                return
            shown = ask.proof.holds(answer.records)
        if shown:
            serial = serial_of((await self._query(ask.key, ask.key[1], "SOA")).records)
        if ask.discover and serial is not None:
            found = await self._discover(ask.key)
            if found is not None:
                self._propagation.discovered(ask.key, found, self._read())
        self._say(self._propagation.proven(ask, shown, serial, self._read()))

    async def _ask_secondary(self, ask: AskSecondary) -> None:
        records, trouble = await self._ask_there(ask.at, ask.key, ask.key[1], "SOA")
        serial = serial_of(records)
        if serial is None and not trouble:
            trouble = "it has no such zone"
        self._say(self._propagation.said(ask, serial, trouble, self._read()))

    async def _ask_there(self, at: Endpoint, key: ZoneKey, name: str, rtype: str) -> tuple[list[tuple[str, str]], str]:
        """One question to a secondary, with the key of its zone if there is one: the key chooses the view."""
        zone = self._signed.get(key)
        if zone is None:
            return await ask_plainly(at, name, rtype)
        try:
            tsig = self._tsig.of(Zone(zone.target, zone.name, (), zone.key_file, allow_weak=zone.allow_weak))
        except KeyFileError as error:
            return [], str(error)
        return await ask_plainly(at, name, rtype, tsig)

    async def _query(self, key: ZoneKey, name: str, rtype: str) -> DnsAnswer:
        """One question to the master of a zone."""
        done: asyncio.Future[DnsAnswer] = asyncio.get_running_loop().create_future()
        query = DnsQuery(0, key[0], key[1], name, (rtype,))
        self._masters.submit(query, lambda answer: None if done.done() else done.set_result(answer))
        return await done

    async def _discover(self, key: ZoneKey) -> tuple[Endpoint, ...] | None:
        """The addresses of the zone's NS records but the MNAME's; None when the master did not say."""
        zone = key[1]
        soa, ns = await self._query(key, zone, "SOA"), await self._query(key, zone, "NS")
        if not soa.records or not ns.records:
            return None
        hosts = {text.lower() for _, text in ns.records} - {soa.records[0][1].split()[0].lower()}
        found: dict[str, None] = {}
        for host in sorted(hosts):
            addresses = [text for rtype in ADDRESSES for _, text in (await self._query(key, host, rtype)).records]
            found.update(dict.fromkeys(addresses or await resolve(host)))
        return tuple((address, DNS_PORT) for address in found)

    # --- ddns wait ----------------------------------------------------------------------------------------------------

    async def where(self, name: str) -> list[dict[str, object]]:
        """Ask every master and every watched secondary of `name` for its records, once. A place `shows` what is wanted, or, when
        nobody has a say, anything at all; `detail` says why it could not be asked."""
        wanted = self._wanted(name)
        rtypes = ("PTR",) if name.endswith((".in-addr.arpa.", ".ip6.arpa.")) else ADDRESSES
        work = []
        for key in self._zones_of(name):
            want = wanted.get(key[0])
            work.append(self._place(key, name, rtypes, want, None))
            work += [self._place(key, name, rtypes, want, at) for at in self._propagation.slaves(key)]
        return list(await asyncio.gather(*work))

    def _zones_of(self, name: str) -> list[ZoneKey]:
        """Of each target, the zone with the longest match."""
        best: dict[str, ZoneKey] = {}
        for target, zone in sorted(self._keys, key=lambda key: len(key[1])):
            if name == zone or name.endswith("." + zone):
                best[target] = (target, zone)
        return sorted(best.values())

    async def _place(
        self, key: ZoneKey, name: str, rtypes: tuple[str, ...], want: frozenset[tuple[str, str]] | None, at: Endpoint | None
    ) -> dict[str, object]:
        records: list[tuple[str, str]] = []
        trouble, server = "", "" if at is None else write(at)
        for rtype in rtypes:
            if at is None:
                answer = await self._query(key, name, rtype)
                server = answer.server or server
                trouble = "" if answer.rcode in ("NOERROR", "NXDOMAIN") else f"{answer.rcode} {answer.detail}".strip()
                records += answer.records
            else:
                found, trouble = await self._ask_there(at, key, name, rtype)
                records += found
            if trouble:
                break
        have = {(rtype, text.lower()) for rtype, text in records}
        shows = not trouble and (bool(have) if want is None else have == {(rtype, text.lower()) for rtype, text in want})
        return {
            "target": key[0],
            "zone": key[1],
            "server": server,
            "master": at is None,
            "shows": shows,
            "records": [f"{rtype} {text}" for rtype, text in records],
            "detail": trouble,
        }


def serial_of(records: tuple[tuple[str, str], ...] | list[tuple[str, str]]) -> int | None:
    """The serial in the text of a SOA record."""
    for rtype, text in records:
        words = text.split()
        if rtype == "SOA" and len(words) > 2:
            return int(words[2])
    return None


async def ask_plainly(at: Endpoint, name: str, rtype: str, key: dns.tsig.Key | None = None) -> tuple[list[tuple[str, str]], str]:
    """A question to a secondary, unsigned without `key`: (type, text) at the name, and in words why there is no answer."""
    query = dns.message.make_query(name, rtype, flags=0)  # no recursion: only what it has itself
    if key is not None:
        query.use_tsig(key, fudge=FUDGE_S)
    try:
        reply, _ = await dns.asyncquery.udp_with_fallback(query, at[0], timeout=SECONDARY_S, port=at[1])
    except dns.exception.Timeout:
        return [], "it does not answer"
    except (dns.tsig.PeerBadKey, dns.tsig.PeerBadSignature):
        return [], "it does not know the key of watch-key-file, or has another secret for it"
    except OSError as error:
        return [], f"it cannot be reached ({error.strerror or error})"
    except (dns.exception.DNSException, EOFError) as error:
        return [], f"its answer cannot be read ({type(error).__name__})"
    if reply.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        meaning = {"REFUSED": "it refuses the question", "SERVFAIL": "it has no valid copy of the zone"}
        rcode = dns.rcode.to_text(reply.rcode())
        return [], f"{rcode}: {meaning.get(rcode, 'it does not serve the zone')}"
    if not reply.flags & dns.flags.AA:
        return [], "it does not serve the zone (its answer is not authoritative)"
    return records_of(reply, name, rtype), ""


async def resolve(host: str) -> list[str]:
    """The addresses of a host by this machine's resolver; none when it knows none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host.rstrip("."), DNS_PORT, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return []
    return [str(address[0]) for *_, address in found]
