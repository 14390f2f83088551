"""Planner and DNS client against a real named, with the zones and the rights of the samples."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from failoverd.ddns.plan import Planner
from failoverd.ddns.rows import State
from failoverd.ddns.zone import DnsPlan, Zone
from failoverd.leases.lease import Lease
from failoverd.ports import DnsAnswer, DnsQuery, DnsUpdate, Now, Origin, Output
from failoverd.shell.dns import DnsClient
from tests.ddns.named import Named, key_text

FORWARD, REVERSE = "example.test.", "2.0.192.in-addr.arpa."
POLICY = """update-policy { deny ddns-key name www.example.test ANY; grant ddns-key wildcard *.example.test A AAAA DHCID;
  grant admin-key zonesub ANY; };"""
REVERSE_POLICY = "update-policy { grant ddns-key zonesub PTR DHCID; grant admin-key zonesub ANY; };"
QUICK = {"udp_waits_s": (0.3, 0.3), "tcp_connect_s": 0.5, "tcp_reply_s": 1.0}


def start_named(home: Path) -> Named:
    www = {"www.example.test. 3600 A 192.0.2.2", "ns1.example.test. 3600 A 192.0.2.1"}
    named = Named(home, {FORWARD: (POLICY, www), REVERSE: (REVERSE_POLICY, set())})
    named.start()
    return named


def write_key(path: Path, name: str = "ddns-key", secret: str = "") -> None:
    path.write_text(key_text(name, secret))
    os.chmod(path, 0o640)


class Live:
    """One server's DNS part: rows, planner, client."""

    def __init__(self, home: Path, port: int) -> None:
        self.key = home / "ddns.key"
        write_key(self.key)
        self.plan = DnsPlan(tuple(Zone("main", name, (("127.0.0.1", port),), str(self.key)) for name in (FORWARD, REVERSE)))
        self.stored: dict[bytes, str] = {}
        self.leases: dict[int, Lease] = {}
        self.notes: list[str] = []
        self.answers: list[DnsAnswer] = []
        self.client = DnsClient(self.plan.zones, **QUICK)  # type: ignore[arg-type]
        self.planner = self._planner()

    def _planner(self) -> Planner:
        planner = Planner(self.plan, list(self.stored.values()), "dhcp1", Random(2))
        planner.load_leases(self.leases.values())
        planner.fence(False, self.now(), Output())
        return planner

    @staticmethod
    def now() -> Now:
        return Now(time.time(), time.monotonic())

    async def restart(self) -> None:
        """As after kill -9: what is out is lost, the rows are as they were stored."""
        await self.client.close()
        self.client = DnsClient(self.plan.zones, **QUICK)  # type: ignore[arg-type]
        self.planner = self._planner()

    def step(self, do: Callable[[Now, Output], None]) -> None:
        out = Output()
        do(self.now(), out)
        for write in out.writes:
            if write.record is None:
                self.stored.pop(write.key, None)
            else:
                self.stored[write.key] = write.record
        self.notes += [note.name for note in out.notes]
        for message in out.after_commit:
            assert isinstance(message, DnsUpdate | DnsQuery)
            self.client.submit(message, self.answered)

    def answered(self, answer: DnsAnswer) -> None:
        self.answers.append(answer)
        self.step(lambda now, out: self.planner.answered(answer, now, out))
        self.step(self.planner.due)

    def change(self, lease: Lease, origin: Origin = Origin.CLIENT) -> None:
        old = self.leases.get(lease.address)
        self.leases[lease.address] = lease
        self.step(lambda now, out: self.planner.lease_changed(old, lease, origin, now, out))
        self.step(self.planner.due)

    def count(self, state: State) -> int:
        return sum(row.state is state for row in self.planner.rows_list())

    async def until(self, what: Callable[[], bool], within_s: float = 10.0) -> None:
        end = time.monotonic() + within_s
        while not what():
            assert time.monotonic() < end, ([row.to_json() for row in self.planner.rows_list()], self.answers[-3:], self.notes)
            self.step(self.planner.due)
            await asyncio.sleep(0.02)

    async def settle(self, within_s: float = 10.0) -> None:
        """Until no row has work to do."""
        await self.until(lambda: not self.count(State.DIRTY) and not self.count(State.INFLIGHT), within_s)
