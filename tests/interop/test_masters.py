"""Other masters than the plain BIND of the samples: add, replace and remove of names, until the zone says what the leases say.

Planner and DNS client are the real ones (tests/ddns/live.py); each master is a process on loopback with a port of its own.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rdatatype
import dns.zone
import pytest

from failoverd.ddns.rows import Row
from failoverd.ddns.zone import DnsPlan, Zone
from failoverd.leases.lease import BindingState
from failoverd.shell.dns import DnsClient
from failoverd.shell.dnswire import rdata_text
from tests.ddns.live import FORWARD, POLICY, QUICK, REVERSE, REVERSE_POLICY, Live, write_key
from tests.ddns.named import KEYS, SECRETS, Named, free_port
from tests.ddns.rig import lease

pytestmark = [pytest.mark.root, pytest.mark.bind]

OURS = ("A", "PTR", "DHCID")
NS1 = {"ns1.example.test. 3600 A 192.0.2.1"}
RECORD = tuple[str, str, str]


def transfer(port: int, zone: str, key: str) -> set[RECORD]:
    """(name, type, text) of what we may have written, by AXFR; DHCID without its text."""
    query = dns.message.make_query(zone, "AXFR")
    query.use_tsig(KEYS[key])
    found = dns.zone.Zone(zone, relativize=False)
    dns.query.inbound_xfr("127.0.0.1", found, query, port, timeout=5)
    out = set()
    for name, _ttl, rd in found.iterate_rdatas():
        rtype = dns.rdatatype.to_text(rd.rdtype)
        if rtype in OURS and name.to_text() != "ns1.example.test.":
            out.add((name.to_text(), rtype, "" if rtype == "DHCID" else rdata_text(rd)))
    return out


def expected(held: dict[int, str]) -> set[RECORD]:
    """The records of leases: host number -> label."""
    out: set[RECORD] = set()
    for host, label in held.items():
        name = f"{label}.{FORWARD}"
        out |= {(name, "A", f"192.0.2.{host}"), (name, "DHCID", ""), (f"{host}.{REVERSE}", "PTR", name)}
    return out


async def histories(live: Live, zones: Callable[[], list[set[RECORD]]]) -> None:
    """Add, replace, rename, pass on, remove; after each step all zones must say what the leases say, signers included."""

    async def say(held: dict[int, str]) -> None:
        await live.settle()
        await live.until(lambda: all(zone == expected(held) for zone in zones()), 15)

    one, two, three = f"one.{FORWARD}", f"two.{FORWARD}", f"three.{FORWARD}"
    live.change(lease(10, 1, one))
    live.change(lease(20, 2, two))
    await say({10: "one", 20: "two"})
    live.change(lease(30, 1, one))  # replace: the same client elsewhere
    live.change(lease(10, 1, one, BindingState.EXPIRED))
    await say({30: "one", 20: "two"})
    live.change(lease(20, 2, three))  # another name
    await say({30: "one", 20: "three"})
    live.change(lease(20, 4, two))  # the address goes to another client, which takes the old name
    await say({30: "one", 20: "two"})
    live.change(lease(30, 1, one, BindingState.RELEASED))
    live.change(lease(20, 4, two, BindingState.EXPIRED))
    await say({})
    rows = [Row.from_json(text) for text in live.stored.values()]
    if all(answer.copies == 1 for answer in live.answers):
        assert rows == []
    # A master that took longer than a copy of a message waits may apply the other copy yet: that is remembered, and nothing else.
    assert all(row.ghosts and not row.want and not row.known() for row in rows), rows
    await live.client.close()


def both(port: int, key: str = "admin-key") -> Callable[[], list[set[RECORD]]]:
    """Forward and reverse zone together, as one."""
    return lambda: [transfer(port, FORWARD, key) | transfer(port, REVERSE, key)]


@pytest.fixture
def running() -> Iterator[list[Named | Knot]]:
    """Masters that are stopped at the end."""
    masters: list[Named | Knot] = []
    yield masters
    for master in masters:
        master.stop()


def bind(running: list[Named | Knot], home: Path, more: str = "") -> Named:
    """A named with the rights of the samples; `more` in each zone."""
    named = Named(home / "named", {FORWARD: (POLICY + more, NS1), REVERSE: (REVERSE_POLICY + more, set())})
    running.append(named)
    return named


@pytest.mark.slow
async def test_bind_with_update_policy(running: list[Named | Knot], tmp_path: Path) -> None:
    named = bind(running, tmp_path)
    named.start()
    await histories(Live(tmp_path, named.port), both(named.port))


@pytest.mark.parametrize("inline", ["yes", pytest.param("no", marks=pytest.mark.slow)])
async def test_bind_that_signs(running: list[Named | Knot], tmp_path: Path, inline: str) -> None:
    """With inline-signing the transfer shows the signed zone, which lags behind the answers."""
    named = bind(running, tmp_path, f'dnssec-policy default; inline-signing {inline}; key-directory "{tmp_path}/named";')
    named.start()
    query = dns.message.make_query(FORWARD, "DNSKEY")
    end = time.monotonic() + 10
    while not dns.query.tcp(query, "127.0.0.1", 5, named.port).answer:
        assert time.monotonic() < end, named.log()
        await asyncio.sleep(0.1)
    await histories(Live(tmp_path, named.port), both(named.port))


class Views(Named):
    """A named with the same two zones in two views; the key selects the view, and may write and transfer there."""

    def __init__(self, home: Path) -> None:
        super().__init__(home, {})
        text = self.config.read_text()
        for view, key in (("inside", "ddns-key"), ("outside", "other-key")):
            zones = ""
            for zone in (FORWARD, REVERSE):
                file = home / f"{view}-{zone}db"
                file.write_text(
                    f"{zone} 3600 IN SOA ns1.example.test. h.example.test. 1 3600 600 86400 60\n{zone} 3600 IN NS ns1.example.test.\n"
                    + ("ns1.example.test. 3600 IN A 192.0.2.1\n" if zone == FORWARD else "")
                )
                policy = f"update-policy {{ grant {key} zonesub A AAAA DHCID PTR; }}; allow-transfer {{ key {key}; }};"
                zones += f'zone "{zone}" {{ type primary; file "{file}"; {policy} }};\n'
            text += f'view "{view}" {{ match-clients {{ key {key}; }}; {zones} }};\n'
        self.config.write_text(text)


async def test_bind_with_views_as_targets(running: list[Named | Knot], tmp_path: Path) -> None:
    named = Views(tmp_path / "named")
    running.append(named)
    named.start()
    live = Live(tmp_path, named.port)
    keys = {"inside": tmp_path / "ddns.key", "outside": tmp_path / "other.key"}
    write_key(keys["outside"], "other-key")
    zones = [Zone(view, zone, (("127.0.0.1", named.port),), str(key)) for view, key in keys.items() for zone in (FORWARD, REVERSE)]
    live.plan = DnsPlan(tuple(zones))
    live.client = DnsClient(live.plan.zones, **QUICK)  # type: ignore[arg-type]
    live.planner = live._planner()
    inside, outside = both(named.port, "ddns-key"), both(named.port, "other-key")
    await histories(live, lambda: [*inside(), *outside()])


class Knot:
    """A knotd with the same rights."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self.home = home
        self.process: subprocess.Popen[bytes] | None = None
        home.mkdir(mode=0o700)
        (home / "db").mkdir()
        keys = "".join(f"  - id: {name}\n    algorithm: hmac-sha256\n    secret: {secret}\n" for name, secret in SECRETS.items())
        zones = ""
        for zone, types in ((FORWARD, "A, AAAA, DHCID"), (REVERSE, "PTR, DHCID")):
            (home / f"{zone}db").write_text(
                f"{zone} 3600 IN SOA ns1.example.test. h.example.test. 1 3600 600 86400 60\n{zone} 3600 IN NS ns1.example.test.\n"
                + ("ns1.example.test. 3600 IN A 192.0.2.1\n" if zone == FORWARD else "")
            )
            kind = "forward" if zone == FORWARD else "reverse"
            zones += f"  - domain: {zone}\n    file: {home}/{zone}db\n    acl: [{kind}, admin]\n"
            keys += f"acl-{kind}: {types}\n"
        acl = "".join(
            f"  - id: {kind}\n    key: ddns-key\n    action: update\n    update-type: [{types}]\n"
            for kind, types in (("forward", "A, AAAA, DHCID"), ("reverse", "PTR, DHCID"))
        )
        keys = "".join(line + "\n" for line in keys.splitlines() if not line.startswith("acl-"))
        self.config = home / "knot.conf"
        self.config.write_text(
            f"server:\n  rundir: {home}\n  listen: 127.0.0.1@{self.port}\n  user: root:root\n"
            f"log:\n  - target: {home}/log\n    any: info\ndatabase:\n  storage: {home}/db\n"
            f"key:\n{keys}acl:\n{acl}  - id: admin\n    key: admin-key\n    action: [transfer, update]\nzone:\n{zones}"
        )

    def start(self) -> None:
        """Until it answers."""
        program = shutil.which("knotd", path="/usr/sbin:/usr/bin:/sbin:/bin")
        assert program, "knotd is not installed (apt install knot)"
        with open(self.home / "stderr", "ab") as stderr:
            self.process = subprocess.Popen([program, "-c", str(self.config)], stdout=stderr, stderr=stderr)
        end = time.monotonic() + 15
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log()
            try:
                if dns.query.udp(dns.message.make_query(FORWARD, "SOA"), "127.0.0.1", 0.3, self.port).answer:
                    return
            except (dns.exception.Timeout, OSError):
                time.sleep(0.05)
        raise AssertionError("knotd does not answer: " + self.log())

    def log(self) -> str:
        """What it said."""
        return "".join(path.read_text() for path in (self.home / "stderr", self.home / "log") if path.exists())

    def stop(self) -> None:
        """SIGTERM, then SIGKILL."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
            self.process = None


async def test_knot(running: list[Named | Knot], tmp_path: Path) -> None:
    knot = Knot(tmp_path / "knot")
    running.append(knot)
    knot.start()
    await histories(Live(tmp_path, knot.port), both(knot.port))


@pytest.mark.slow
async def test_knot_is_stopped_meanwhile(running: list[Named | Knot], tmp_path: Path) -> None:
    knot = Knot(tmp_path / "knot")
    running.append(knot)
    knot.start()
    live = Live(tmp_path, knot.port)
    live.change(lease(10, 1, f"one.{FORWARD}"))
    await live.settle()
    knot.stop()
    live.change(lease(10, 1, f"one.{FORWARD}", BindingState.RELEASED))
    live.change(lease(20, 2, f"two.{FORWARD}"))
    await live.until(lambda: "ddns-server-silent" in live.notes)
    knot.start()
    await live.settle(20)
    assert both(knot.port)() == [expected({20: "two"})]
    await live.client.close()


@pytest.mark.slow
async def test_a_frozen_zone_heals_by_itself(running: list[Named | Knot], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """rndc freeze: REFUSED; the zone is held, and after the thaw everything is written without a word from anybody."""
    monkeypatch.setattr(
        "failoverd.ddns.pace.HOLD_S", {"BADKEY": 1.0, "BADSIG": 1.0, "BADTIME": 1.0, "REFUSED": 1.0, "NOTAUTH": 1.0}
    )
    named = bind(running, tmp_path)
    port = free_port()
    control = f"controls {{ inet 127.0.0.1 port {port} allow {{ 127.0.0.1; }} keys {{ admin-key; }}; }};"
    text = named.config.read_text()
    assert "controls { };" in text
    named.config.write_text(text.replace("controls { };", control))
    write_key(tmp_path / "admin.key", "admin-key")

    def rndc(*words: str) -> None:
        subprocess.run(
            ["/usr/sbin/rndc", "-s", "127.0.0.1", "-p", str(port), "-k", str(tmp_path / "admin.key"), "-y", "admin-key", *words],
            check=True,
            capture_output=True,
        )

    named.start()
    live = Live(tmp_path, named.port)
    live.change(lease(10, 1, f"one.{FORWARD}"))
    await live.settle()
    rndc("freeze", FORWARD)
    live.change(lease(10, 1, f"one.{FORWARD}", BindingState.RELEASED))
    live.change(lease(20, 2, f"two.{FORWARD}"))
    await live.until(lambda: "ddns-zone-held" in live.notes)
    zones = live.planner.status(live.now())["zones"]
    assert ("held", "REFUSED") in [(zone["state"], zone["reason"]) for zone in zones]  # type: ignore[attr-defined]
    rndc("thaw", FORWARD)
    await live.until(lambda: both(named.port)() == [expected({20: "two"})], 15)
    assert "ddns-zone-released" in live.notes
    await live.client.close()


@pytest.mark.slow
async def test_a_mirror_goes_on_while_the_master_is_down_and_the_other_way_round(
    running: list[Named | Knot], tmp_path: Path
) -> None:
    """Two independent masters, a BIND and a Knot."""
    named, knot = bind(running, tmp_path), Knot(tmp_path / "knot")
    running.append(knot)
    masters: dict[str, Named | Knot] = {"main": named, "backup": knot}
    live = Live(tmp_path, named.port)
    zones = [
        Zone(target, zone, (("127.0.0.1", master.port),), str(live.key))
        for target, master in masters.items()
        for zone in (FORWARD, REVERSE)
    ]
    live.plan = DnsPlan(tuple(zones))
    live.client = DnsClient(live.plan.zones, **QUICK)  # type: ignore[arg-type]
    live.planner = live._planner()
    for master in masters.values():
        master.start()
    held: dict[int, str] = {}
    for number, (down, up) in enumerate((("main", "backup"), ("backup", "main"))):
        masters[down].stop()
        host = 10 + number
        for old, label in held.items():
            live.change(lease(old, old, f"{label}.{FORWARD}", BindingState.EXPIRED))
        held = {host: f"h{host}"}
        live.change(lease(host, host, f"h{host}.{FORWARD}"))
        await live.until(lambda up=up, held=held: both(masters[up].port)() == [expected(held)], 10)  # type: ignore[misc]
        masters[down].start()
        await live.until(lambda down=down, held=held: both(masters[down].port)() == [expected(held)], 20)  # type: ignore[misc]
    await live.client.close()
