"""Random lease histories through a faulty network, with kill -9 at random points: afterwards the zone is what the leases say, on the
master and on its slave."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import dns.exception
import dns.message
import dns.rcode
import pytest

from failoverd.ddns.dhcid import guard
from failoverd.ddns.names import dotted, reverse_of
from failoverd.leases.lease import BindingState, Lease
from tests.ddns.fault_worker import FORWARD, REVERSE, lease_of, suffixes
from tests.ddns.faulty import Proxy
from tests.ddns.live import POLICY, REVERSE_POLICY, write_key
from tests.ddns.named import Named, free_port

pytestmark = pytest.mark.bind
HOST = "ns1.example.test. 3600 A 192.0.2.1"
SEED = int(os.environ.get("SEED", "0"))  # another one: other histories and other faults
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
    words = ["-m", "tests.ddns.fault_worker", home, port, key, first, count, steps, SEED]
    with open(home / "stderr", "ab") as stderr:
        return subprocess.Popen([sys.executable, *map(str, words)], cwd=ROOT, stderr=stderr)


async def play(home: Path, master: Named, first: int, count: int, rng: Random, kills: int) -> Proxy:
    """Histories in one process that is killed some times, then a quiet network until all is at rest. The proxy knows what it did."""
    key = home / "ddns.key"
    write_key(key)
    proxy = Proxy(master.port, rng)
    await proxy.start(free_port())
    for number in range(kills):
        worker = start(home, proxy.port, key, first, count, 1000)
        await proxy.passed(rng.randint(30, 250), 20.0)
        if not number:
            await asyncio.to_thread(restart, master, rng.random() < 0.5)
        await proxy.passed(rng.randint(30, 250), 20.0)
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
    return proxy


def restart(master: Named, killed: bool) -> None:
    """BIND is gone for a moment, with or without having been asked."""
    if killed:
        assert master.process is not None
        master.process.kill()
        master.process.wait()
    master.stop()
    master.start()


def story(home: Path, proxy: Proxy, name: str) -> str:
    """All that is known about one name, in order: what the server stored and sent, and what the master got and said."""
    lines: list[tuple[float, str]] = []
    label = name.split(".", maxsplit=1)[0]
    for file in home.glob("*.trace"):
        for line in file.read_text().splitlines():
            when, what, text = line.split(" ", 2)
            if what == "sent":
                text = (
                    text.split(" ")[0] + " " + " ".join(re.findall(rf"\w+\([^()]*{re.escape(name)}(?:[^()]|\([^()]*\))*\)", text))
                )
            if label in text or (what == "answer" and lines):
                lines.append((float(when), f"{file.stem} {what} {text}"))
    outs: set[int] = set()
    for when, way, wire in proxy.record:
        try:
            message = dns.message.from_wire(wire, keyring=False, continue_on_error=True)
        except dns.exception.DNSException as error:
            lines.append((when, f"{way} unreadable: {error!r}"))
            continue
        text = str(message).replace("\n", " | ")
        if name in text:
            outs.add(message.id)
        if name in text or (way == "reply" and message.id in outs):
            signed = message.tsig[0].time_signed if message.tsig else 0
            lines.append(
                (when, f"{way} id {message.id} signed {signed} {dns.rcode.to_text(message.rcode())} " + text.split("ZONE", 1)[-1])
            )
    return "\n".join(f"{when:.3f} {text}" for when, text in sorted(lines))


def leases(home: Path, seed: int) -> list[Lease]:
    with sqlite3.connect(home / f"{seed}.db") as disk:
        found = [lease_of(seed, *json.loads(record)) for (record,) in disk.execute("SELECT record FROM lease")]
    return [one for one in found if one.state is BindingState.ACTIVE]


LABELS = re.compile(r"n\d+-(\d+)\..*")
Names = dict[str, dict[str, list[str]]]
"""name -> type -> data"""
Wrong = dict[str, tuple[object, object]]
"""name -> (what is there, what should be there)"""


def check(master: Named, live: list[Lease]) -> tuple[Wrong, int]:
    """Both zones of the master against the live leases."""
    return compare(master.lines(FORWARD) | master.lines(REVERSE), live)


def compare(lines: set[str], live: list[Lease]) -> tuple[Wrong, int]:
    """Whether the zone is what the leases say: each wanted name stands for one of the clients that want it, with its DHCID and its PTR,
    and nothing else is there. Returns what is wrong, and the number of names."""
    by_name: dict[str, list[Lease]] = {}
    for one in live:
        by_name.setdefault(one.fqdn, []).append(one)
    there: Names = {}
    for line in lines:
        name, _, rtype, text = line.split(" ", 3)
        if rtype != "NS" and line != HOST:
            there.setdefault(name, {}).setdefault(rtype, []).append(text)
    expected: Names = {}
    for name, holders in by_name.items():
        if suffixes(int(LABELS.fullmatch(name)[1])):  # type: ignore[index]
            each_has_a_name(name, holders, there, expected)
            continue
        shown = there.get(name, {}).get("A", [])
        holder = next((one for one in holders if [dotted(one.address)] == shown), None)
        if holder is None:
            expected[name] = {"A": [dotted(one.address) for one in holders]}
            continue
        expected[name] = {"A": shown, "DHCID": [guard(holder.hw, holder.client_id, name)]}
        expected[reverse_of("A", shown[0])] = {"PTR": [name]}
    wrong = {name: (there.get(name), expected.get(name)) for name in there.keys() | expected.keys()}
    return {name: both for name, both in wrong.items() if both[0] != both[1]}, len(expected)


def each_has_a_name(wish: str, holders: list[Lease], there: Names, expected: Names) -> None:
    """on-conflict = "suffix": the name that was asked for or one with a suffix, and not two."""
    head, domain = wish.split(".", 1)
    for client in {one.hw for one in holders}:
        addresses = [dotted(one.address) for one in holders if one.hw == client]
        names = [n for n in there if n == wish or (n.startswith(f"{head}-") and n.endswith(f".{domain}"))]
        mine = [n for n in names if there[n].get("DHCID") == [guard(client, b"", n)]]
        if len(mine) != 1 or there[mine[0]].get("A", [""])[0] not in addresses:
            expected[f"{wish} for {client.hex()}"] = {"one of": mine, "A": addresses}
            continue
        (address,) = there[mine[0]]["A"]
        expected[mine[0]] = {"A": [address], "DHCID": [guard(client, b"", mine[0])]}
        expected[reverse_of("A", address)] = {"PTR": mine}


async def rounds(tmp_path: Path, pair: tuple[Named, Named], blocks: int, kills: int) -> None:
    master, slave = pair
    did: dict[str, int] = {}
    live: list[Lease] = []
    for block in range(blocks):
        home = tmp_path / f"block{block}"
        home.mkdir()
        first = block * 20 + 1
        proxy = await play(home, master, first, 20, Random(SEED + block), kills)
        for kind, times in proxy.did.items():
            did[kind] = did.get(kind, 0) + times
        live += [one for seed in range(first, first + 20) for one in leases(home, seed)]
        wrong, names = check(master, live)
        if wrong:
            print(*(story(home, proxy, name) for name in wrong), sep="\n\n", file=(home / "story").open("w"))
        assert not wrong, f"{home}/story tells"
    assert names > 100 * blocks
    assert all(did.get(kind) for kind in ("drop", "twice", "break", "delay", "replay", "forge", "cut")), did
    end = time.monotonic() + 30
    for zone in (FORWARD, REVERSE):
        while slave.lines(zone) != master.lines(zone):
            assert time.monotonic() < end, "the slave does not follow"
            await asyncio.sleep(0.2)
    print(f"\n{blocks * 20} histories, {kills * blocks} times kill -9, {names} names; faults: {did}")


def test_what_is_wrong_in_a_zone_is_seen() -> None:
    """The checker itself: a stale address, one without its PTR, another client's DHCID, a PTR that nobody wants, a missing name."""
    live = [lease_of(seed, host, host, host, True) for seed, host in ((1, 1), (2, 2), (3, 3))]
    lines = set()
    for one in live:
        address = dotted(one.address)
        lines |= {f"{one.fqdn} 60 A {address}", f"{one.fqdn} 60 DHCID {guard(one.hw, b'', one.fqdn)}"}
        lines |= {f"{reverse_of('A', address)} 60 PTR {one.fqdn}"}
    assert compare(lines | {HOST}, live) == ({}, 6)
    name, address = live[1].fqdn, dotted(live[1].address)
    pointer = reverse_of("A", address)
    for wrong, where in (
        (lines | {f"n9-2.{FORWARD} 60 A 10.0.0.99"}, f"n9-2.{FORWARD}"),
        (lines | {f"{name} 60 A 10.0.0.99"}, name),
        (lines - {f"{pointer} 60 PTR {name}"}, pointer),
        (lines | {f"{name} 60 DHCID {guard(live[0].hw, b'', name)}"}, name),
        (lines | {f"9.9.0.{REVERSE} 60 PTR {name}"}, f"9.9.0.{REVERSE}"),
        ({line for line in lines if not line.startswith(name)}, name),
    ):
        assert where in compare(wrong, live)[0]
    other = lease_of(1, 4, 4, 1, True)  # the name of the first, and its history gives suffixes
    assert list(compare(lines, [*live, other])[0]) == [f"{other.fqdn} for {other.hw.hex()}"]
    name, address = other.fqdn.replace(".", "-2.", 1), dotted(other.address)
    lines |= {
        f"{name} 60 A {address}",
        f"{name} 60 DHCID {guard(other.hw, b'', name)}",
        f"{reverse_of('A', address)} 60 PTR {name}",
    }
    assert compare(lines, [*live, other]) == ({}, 8)


async def test_twenty_histories(tmp_path: Path, pair: tuple[Named, Named]) -> None:
    await rounds(tmp_path, pair, 1, 4)


@pytest.mark.slow
async def test_five_hundred_histories(tmp_path: Path, pair: tuple[Named, Named]) -> None:
    await rounds(tmp_path, pair, 25, 4)
