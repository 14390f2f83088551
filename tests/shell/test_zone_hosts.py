"""The hosts of the zones: asked for, told, asked again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from failoverd.ddns.zone import Zone
from failoverd.ports import DnsAnswer, DnsQuery, DnsUpdate, Input
from failoverd.ports import ZoneHosts as Hosts
from failoverd.shell.dns import DnsClient
from failoverd.shell.zone_hosts import ZoneHosts
from tests.ddns.live import write_key
from tests.ddns.named import Named

ZONE = Zone("main", "example.test.", (("127.0.0.1", 53),), "key")


class Masters:
    """Answers each question with the next of `answers`."""

    def __init__(self, *answers: DnsAnswer) -> None:
        self.answers = list(answers)
        self.asked: list[DnsQuery | DnsUpdate] = []

    def submit(self, request: DnsUpdate | DnsQuery, deliver: Callable[[DnsAnswer], None]) -> None:
        self.asked.append(request)
        if self.answers:
            asyncio.get_running_loop().call_soon(deliver, self.answers.pop(0))


def test_hosts_are_told_and_asked_for_again() -> None:
    records = (("NS", "ns1.Example.test."), ("MX", "10 mx.example.test."), ("MX", "20 ns1.example.test."))
    masters = Masters(DnsAnswer(0, "TIMEOUT", ""), DnsAnswer(0, "NOERROR", "", records=records), DnsAnswer(0, "REFUSED", ""))
    told: list[Input] = []

    async def run() -> None:
        hosts = ZoneHosts((ZONE,), masters, told.append, again_s=0.01, retry_s=0.01)
        hosts.start()
        for _ in range(100):
            await asyncio.sleep(0.01)
            if len(masters.asked) == 4:
                break
        hosts.close()

    asyncio.run(run())
    assert masters.asked == [DnsQuery(0, "main", "example.test.", "example.test.", ("NS", "MX"))] * 4
    assert told == [Hosts("main example.test.", ("ns1.example.test.", "mx.example.test."))]


def test_nothing_is_asked_or_told_after_close() -> None:
    masters, told = Masters(DnsAnswer(0, "NOERROR", "", records=(("NS", "ns1.example.test."),))), []

    async def run() -> None:
        hosts = ZoneHosts((ZONE,), masters, told.append, again_s=0.0)
        hosts.start()
        hosts.close()
        await asyncio.sleep(0.05)

    asyncio.run(run())
    assert (len(masters.asked), told) == (1, [])


@pytest.fixture
def named(tmp_path: Path) -> Iterator[Named]:
    inside = "update-policy { grant ddns-key zonesub ANY; grant admin-key zonesub ANY; };"
    content = {f"{ZONE.name} 3600 NS NS2.example.test.", f"{ZONE.name} 3600 MX 10 mail.example.test."}
    content |= {f"{host}.example.test. 60 A 127.0.0.2" for host in ("ns1", "ns2", "mail")}
    master = Named(tmp_path / "master", {ZONE.name: (inside, content)})
    master.start()
    yield master
    master.stop()


@pytest.mark.bind
def test_with_bind(named: Named, tmp_path: Path) -> None:
    write_key(tmp_path / "ddns.key")
    zone = Zone("main", ZONE.name, (("127.0.0.1", named.port),), str(tmp_path / "ddns.key"))
    told: list[Input] = []

    async def run() -> None:
        client = DnsClient((zone,))
        hosts = ZoneHosts((zone,), client, told.append)
        hosts.start()
        for _ in range(100):
            if told:
                break
            await asyncio.sleep(0.05)
        hosts.close()
        await client.close()

    asyncio.run(run())
    assert len(told) == 1
    assert isinstance(told[0], Hosts)
    assert set(told[0].hosts) == {"ns1.example.test.", "ns2.example.test.", "mail.example.test."}
