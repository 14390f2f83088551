"""Random lease histories through a faulty network, with kill -9 at random points: afterwards the zone is what the leases say, on the
master and on its slave."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from failoverd.ddns.dhcid import guard
from failoverd.ddns.names import dotted, reverse_of
from failoverd.leases.lease import BindingState, Lease
from tests.ddns.fault_worker import FORWARD, REVERSE, lease_of
from tests.ddns.faulty import Proxy
from tests.ddns.live import POLICY, REVERSE_POLICY, write_key
from tests.ddns.named import Named, free_port

pytestmark = pytest.mark.bind
HOST = "ns1.example.test. 3600 A 192.0.2.1"
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Named, Named]]:
    """A master and its slave."""
    slave = Named(tmp_path / "slave", {})
    notify = f"notify explicit; also-notify {{ 127.0.0.1 port {slave.port}; }}; notify-delay 0;"
    zones: dict[str, tuple[str, set[str]]] = {FORWARD: (POLICY + notify, {HOST}), REVERSE: (REVERSE_POLICY + notify, set())}
    master = Named(tmp_path / "master", zones)
    zone = f"type secondary; primaries {{ 127.0.0.1 port {master.port} key admin-key; }}; allow-notify {{ 127.0.0.1; }};"
    with slave.config.open("a") as config:
        for name in (FORWARD, REVERSE):
            config.write(f'zone "{name.strip(".")}" {{ {zone} file "{slave.home}/{name}db"; }};\n')
    master.start()
    slave.start()
    yield master, slave
    slave.stop()
    master.stop()


def start(home: Path, port: int, key: Path, first: int, count: int, steps: int) -> subprocess.Popen[bytes]:
    words = ["-m", "tests.ddns.fault_worker", home, port, key, first, count, steps]
    with open(home / "stderr", "ab") as stderr:
        return subprocess.Popen([sys.executable, *map(str, words)], cwd=ROOT, stderr=stderr)


async def play(home: Path, master: Named, first: int, count: int, rng: Random, kills: int) -> dict[str, int]:
    """Histories in one process that is killed some times, then a quiet network until all is at rest."""
    key = home / "ddns.key"
    write_key(key)
    proxy = Proxy(master.port, rng)
    await proxy.start(free_port())
    for _ in range(kills):
        worker = start(home, proxy.port, key, first, count, 1000)
        await asyncio.sleep(rng.uniform(1.2, 3.0))
        assert worker.poll() is None, (home / "stderr").read_text()
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    proxy.bad = False
    worker = start(home, proxy.port, key, first, count, 0)
    end = time.monotonic() + 90
    while worker.poll() is None:
        if time.monotonic() > end:
            worker.kill()
            worker.wait()
        await asyncio.sleep(0.1)
    proxy.stop()
    assert worker.returncode == 0, (home / "stderr").read_text()[-2000:]
    return proxy.did


def leases(home: Path, seed: int) -> list[Lease]:
    with sqlite3.connect(home / f"{seed}.db") as disk:
        found = [lease_of(seed, *json.loads(record)) for (record,) in disk.execute("SELECT record FROM lease")]
    return [one for one in found if one.state is BindingState.ACTIVE]


def check(master: Named, live: list[Lease]) -> int:
    """The zone is what the leases say: each wanted name stands for one of the clients that want it, with its DHCID and its PTR, and
    nothing else is there."""
    by_name: dict[str, list[Lease]] = {}
    for one in live:
        by_name.setdefault(one.fqdn, []).append(one)
    there: dict[str, dict[str, list[str]]] = {}
    for line in master.lines(FORWARD) | master.lines(REVERSE):
        name, _, rtype, text = line.split(" ", 3)
        if rtype != "NS" and line != HOST:
            there.setdefault(name, {}).setdefault(rtype, []).append(text)
    expected: dict[str, dict[str, list[str]]] = {}
    for name, holders in by_name.items():
        shown = there.get(name, {}).get("A", [])
        holder = next((one for one in holders if [dotted(one.address)] == shown), None)
        assert holder is not None, (name, [dotted(one.address) for one in holders], there.get(name))
        expected[name] = {"A": shown, "DHCID": [guard(holder.hw, holder.client_id, name)]}
        expected[reverse_of("A", shown[0])] = {"PTR": [name]}
    wrong = {name: (there.get(name), expected.get(name)) for name in there.keys() | expected.keys()}
    assert not {name: both for name, both in wrong.items() if both[0] != both[1]}
    return len(expected)


async def rounds(tmp_path: Path, pair: tuple[Named, Named], blocks: int, kills: int) -> None:
    master, slave = pair
    did: dict[str, int] = {}
    live: list[Lease] = []
    for block in range(blocks):
        home = tmp_path / f"block{block}"
        home.mkdir()
        first = block * 20 + 1
        for kind, times in (await play(home, master, first, 20, Random(block), kills)).items():
            did[kind] = did.get(kind, 0) + times
        live += [one for seed in range(first, first + 20) for one in leases(home, seed)]
        names = check(master, live)
    assert names > 100 * blocks
    assert all(did.get(kind) for kind in ("drop", "twice", "break", "delay", "replay", "forge", "cut")), did
    end = time.monotonic() + 30
    for zone in (FORWARD, REVERSE):
        while slave.lines(zone) != master.lines(zone):
            assert time.monotonic() < end, "the slave does not follow"
            await asyncio.sleep(0.2)
    print(f"\n{blocks * 20} histories, {kills * blocks} times kill -9, {names} names; faults: {did}")


async def test_twenty_histories(tmp_path: Path, pair: tuple[Named, Named]) -> None:
    await rounds(tmp_path, pair, 1, 4)


@pytest.mark.slow
async def test_five_hundred_histories(tmp_path: Path, pair: tuple[Named, Named]) -> None:
    await rounds(tmp_path, pair, 25, 4)
