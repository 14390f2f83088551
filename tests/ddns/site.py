"""A whole server for names: node, DNS client, API and failoverctl, beside a real named or a master that is not there."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from click.testing import CliRunner, Result

from failoverd import compile
from failoverd.config import load
from failoverd.ctl.main import main
from failoverd.leases.lease import BindingState, Lease
from failoverd.node import Node
from failoverd.notes import CATALOGUE
from failoverd.ports import Command, DnsAnswer, DnsQuery, DnsUpdate, Kind, Now, Origin, Output, Reply, Stored, Write
from failoverd.shell.api import start_api
from failoverd.shell.api_ddns import DnsTools
from failoverd.shell.dns import DnsClient
from failoverd.shell.journal import Past
from failoverd.shell.listen import RunningApi
from failoverd.shell.loop import Counts
from tests.api.fake_daemon import ME, Config
from tests.ddns.live import QUICK, write_key
from tests.ddns.rig import lease

CONFIG = """
[servers.dhcp1]
interfaces = ["lo"]

[[subnet]]
subnet = "192.0.2.0/24"
ddns = {{ domain = "example.test." }}
[[subnet.pool]]
range = ["192.0.2.10-192.0.2.199"]

[ddns]
{static}

[[ddns.zone]]
name = "example.test."
primaries = ["127.0.0.1:{port}"]
key-file = "{key}"

[[ddns.zone]]
name = "2.0.192.in-addr.arpa."
primaries = ["127.0.0.1:{port}"]
key-file = "{key}"
"""


@dataclass
class Journal:
    """What was committed."""

    writes: list[tuple[float, Write]] = field(default_factory=list)

    def _past(self, kind: Kind, key: bytes | None, limit: int) -> list[Past]:
        found = [
            Past(at, wall, each.kind, each.key, each.record, each.origin, each.cause)
            for at, (wall, each) in enumerate(self.writes)
            if each.kind is kind and key in (None, each.key)
        ]
        return found[::-1][:limit]

    async def events(self, limit: int) -> list[Past]:
        return self._past(Kind.EVENT, None, limit)

    async def history(self, kind: Kind, key: bytes, limit: int) -> list[Past]:
        return self._past(kind, key, limit)

    async def backup(self, path: str) -> None:
        raise OSError("not here")


class Site:
    """`run` gives failoverctl's answer; `change` is what a client does."""

    def __init__(self, home: Path, port: int, *, static: bool = True, text: str = CONFIG, stored: Stored | None = None) -> None:
        self.home = home
        key, operators = home / "ddns.key", home / "admin.key"
        write_key(key)
        write_key(operators, "admin-key")
        config = home / "failoverd.toml"
        config.write_text(text.format(port=port, key=key, static=f'static-key-file = "{operators}"' if static else ""))
        settings = load(str(config))
        self.node = Node(settings, "dhcp1", stored or Stored(), self.now(), random.Random(1))
        plan = compile.dns_plan(settings)
        self.client = DnsClient(plan.zones, **QUICK)  # type: ignore[arg-type]
        self.tools = DnsTools(plan, self.client)
        self.journal = Journal()
        self.note_counts: Counter[str] = Counter()
        self.counts = Counts()
        self.socket = str(home / "api.sock")
        self.api: RunningApi | None = None
        self._answers: dict[int, Reply] = {}
        self._ticker: asyncio.Task[None] | None = None
        self.longest_s = 0.0

    @staticmethod
    def now() -> Now:
        return Now(time.time(), time.monotonic())

    async def __aenter__(self) -> Site:
        self._take(self.node.boot(self.now()))
        self.api = await start_api(Config(self.socket, readers=[ME]), self, self.journal, tools=self.tools)
        self._ticker = asyncio.get_running_loop().create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._ticker is not None
        assert self.api is not None
        self._ticker.cancel()
        await asyncio.gather(self._ticker, return_exceptions=True)
        await self.api.stop()
        await self.tools.close()
        await self.client.close()

    async def _tick(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.02)
            self.longest_s = max(self.longest_s, time.monotonic() - before - 0.02)
            if self.node.deadline(self.now()) <= time.monotonic():
                self._take(self.node.step((), self.now()))

    def _take(self, out: Output) -> None:
        self.journal.writes += [(time.time(), each) for each in out.writes]
        for send in [*out.at_once, *out.after_commit]:
            if isinstance(send, DnsUpdate | DnsQuery):
                self.client.submit(send, self._answered)
            elif isinstance(send, Reply):
                self._answers[send.ident] = send

    def _answered(self, answer: DnsAnswer) -> None:
        self._take(self.node.step([answer], self.now()))

    async def command(self, verb: str, args: Mapping[str, str], who: str, why: str) -> Reply:
        self._take(self.node.step([Command(7, verb, args, who, why)], self.now()))
        return self._answers.pop(7)

    def note(self, name: str, subject: str = "", detail: str = "", address: int = 0) -> None:
        assert name in CATALOGUE
        self.note_counts[name] += 1

    def change(self, new: Lease) -> None:
        now = self.now()
        new.starts = new.cltt = int(now.wall)
        new.ends = int(now.wall) + 3600
        self.node.now = now
        self.node.change(self.node.table.get(new.address), new, Origin.CLIENT, "test", now)
        self._take(self.node.step((), now))

    def forget(self, host: int, **facts: object) -> None:
        """As if a lease had ended long ago, and its names had never been removed."""
        old = lease(host, host, name="", state=BindingState.FREE, **{"cltt": 1000, "ends": 2000, **facts})
        self.node.table.put(old, None)

    async def run(self, *words: str, typed: str | None = None) -> Result:
        runner = CliRunner()
        return await asyncio.to_thread(runner.invoke, main, ["--socket", self.socket, *words], input=typed, catch_exceptions=False)

    async def settle(self, within_s: float = 15.0) -> None:
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            await asyncio.sleep(0.05)
            rows = self.node.planner.rows_list()
            if not self.node.planner.repairs.waiting and all(row.state.value not in ("dirty", "inflight") for row in rows):
                return
        raise AssertionError([row.to_json() for row in self.node.planner.rows_list()])
