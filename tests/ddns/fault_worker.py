"""Planner and DNS client with rows and leases on disk, playing random lease histories; to be killed at any point and started again.

`python -m tests.ddns.fault_worker DIRECTORY PORT KEYFILE FIRST COUNT STEPS SEED`; exits 0 when all histories came to rest.

Time is shortened, not skipped: messages are signed with a fudge of 2 s instead of 300 s, so the master itself refuses a copy after that,
and what waits for the fudge to pass (RECHECK_S) waits 3 s instead of 301 s. The waits of held zones and rows are shortened alike.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import sys
import time
from pathlib import Path
from random import Random

from failoverd.ddns import outbox, pace, rounds, shelf
from failoverd.ddns.plan import Planner
from failoverd.ddns.rows import State
from failoverd.ddns.zone import DnsPlan, Zone
from failoverd.leases.lease import BindingState, Lease
from failoverd.ports import DnsAnswer, DnsQuery, DnsUpdate, Now, Origin, Output
from failoverd.shell.dns import DnsClient

FUDGE_S = 2
FORWARD, REVERSE = "example.test.", "10.in-addr.arpa."
HOSTS, CLIENTS, NAMES = 12, 9, 10


def suffixes(seed: int) -> bool:
    """Whether a client gets another name when its name is taken."""
    return seed % 2 == 1


def lease_of(seed: int, host: int, client: int, name: int, live: bool) -> Lease:
    state = BindingState.ACTIVE if live else BindingState.EXPIRED
    hw = b"\x01\x02\x00" + seed.to_bytes(2, "big") + bytes((0, client))
    out = Lease(0x0A000000 + seed * 16 + host, state, hw=hw, starts=1000, cltt=1000, ends=1000 + 3600)
    out.fqdn = f"n{name}-{seed}.{FORWARD}"
    return out


class History:
    def __init__(self, home: Path, seed: int, plan: DnsPlan) -> None:
        self.seed, self.plan = seed, plan
        self.disk = sqlite3.connect(home / f"{seed}.db", isolation_level=None)
        self.disk.execute("PRAGMA synchronous=OFF")  # kill -9 ends a process, not the machine
        self.disk.execute("CREATE TABLE IF NOT EXISTS row (key BLOB PRIMARY KEY, record TEXT)")
        self.disk.execute("CREATE TABLE IF NOT EXISTS lease (address INTEGER PRIMARY KEY, record TEXT)")
        self.client = DnsClient(plan.zones, udp_waits_s=(0.3, 0.5), tcp_connect_s=0.5, tcp_reply_s=1.0, fudge_s=FUDGE_S)
        self.trace = os.open(home / f"{seed}.trace", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)  # until the process is killed
        self.tell("boot", "")
        self.leases: dict[int, Lease] = {}
        for address, record in self.disk.execute("SELECT address, record FROM lease"):
            self.leases[address] = lease_of(seed, *json.loads(record))
        stored = [record for (record,) in self.disk.execute("SELECT record FROM row")]
        self.planner = Planner(plan, stored, "dhcp1", Random())
        self.planner.load_leases(self.leases.values())
        self.planner.fence(False, self.now(), Output())
        self.busy = False

    def tell(self, what: str, text: str) -> None:
        """One line for whoever reads a failure."""
        os.write(self.trace, f"{time.time():.3f} {what} {text}\n".encode())

    @staticmethod
    def now() -> Now:
        return Now(time.time(), time.monotonic())

    def commit(self, out: Output, lease: tuple[int, str] | None = None) -> None:
        """Lease and rows are one transaction; then the messages leave."""
        self.disk.execute("BEGIN")
        for write in out.writes:
            self.tell("row", write.record or f"deleted {write.key.decode()}")
            self.disk.execute("DELETE FROM row WHERE key = ?", (write.key,))
            if write.record is not None:
                self.disk.execute("INSERT INTO row VALUES (?, ?)", (write.key, write.record))
        if lease is not None:
            self.disk.execute("INSERT OR REPLACE INTO lease VALUES (?, ?)", lease)
        self.disk.execute("COMMIT")
        for message in out.after_commit:
            assert isinstance(message, DnsUpdate | DnsQuery)
            self.tell("sent", str(message))
            self.client.submit(message, self.answered)

    def due(self) -> None:
        out = Output()
        self.planner.due(self.now(), out)
        self.commit(out)

    def answered(self, answer: DnsAnswer) -> None:
        self.tell("answer", str(answer))
        out = Output()
        self.planner.answered(answer, self.now(), out)
        self.planner.due(self.now(), out)
        self.commit(out)

    def act(self, rng: Random) -> None:
        what = (rng.randint(1, HOSTS), rng.randint(1, CLIENTS), rng.randint(1, NAMES), rng.random() < 0.7)
        lease = lease_of(self.seed, *what)
        old = self.leases.get(lease.address)
        if not what[3]:
            if old is None:
                return
            lease = old.evolve(state=BindingState.EXPIRED)
            what = (what[0], lease.hw[-1], int(lease.fqdn[1:].split("-")[0]), False)
        self.leases[lease.address] = lease
        out = Output()
        self.planner.lease_changed(old, lease, Origin.CLIENT, self.now(), out)
        self.planner.due(self.now(), out)
        self.tell("lease", f"{lease.address} {what}")
        self.commit(out, (lease.address, json.dumps(what)))

    def at_rest(self) -> bool:
        rows = self.planner.rows_list()
        return all(row.state is State.CLEAN and not row.recheck_at and not row.ghosts for row in rows)

    async def run(self, steps: int, seed: int) -> None:
        rng = Random(f"{seed} {self.seed} {len(self.leases)} {sum(lease.hw[-1] for lease in self.leases.values())}")
        for _ in range(steps):
            for _ in range(rng.choice([1, 1, 1, 8])):
                self.act(rng)
            await asyncio.sleep(rng.uniform(0, 0.2))
        while not self.at_rest():
            self.due()
            await asyncio.sleep(0.05)
        await self.client.close()


def shorten() -> None:
    for module in (shelf, outbox, rounds):
        for name, seconds in (
            ("RECHECK_S", FUDGE_S + 1.0),
            ("LAST_COPY_S", 4.0),  # the waits below, UDP twice and TCP twice
            ("CONFLICT_RETRY_S", 3.0),
            ("ROW_BACKOFF_MAX_S", 2.0),
        ):
            if hasattr(module, name):
                setattr(module, name, seconds)
    pace.HOLD_S = dict.fromkeys(pace.HOLD_S, 0.5)
    pace.SERVFAIL_MAX_S = pace.PROBE_MAX_S = 1.0


async def main(home: str, port: int, key: str, first: int, count: int, steps: int, seed: int) -> None:
    shorten()
    at = (("127.0.0.1", port),)
    zones = (Zone("main", FORWARD, at, key), Zone("main", REVERSE, at, key))
    plans = DnsPlan(zones), DnsPlan(zones, on_conflict="suffix")
    histories = [History(Path(home), seed, plans[suffixes(seed)]) for seed in range(first, first + count)]
    await asyncio.gather(*(history.run(steps, seed) for history in histories))


if __name__ == "__main__":
    directory, to, file, *rest = sys.argv[1:]
    begin, many, most, other = map(int, rest)
    asyncio.run(main(directory, int(to), file, begin, many, most, other))
