"""failoverctl ddns check, repair, static, test, take and hold against a real named, through node, API and the mirror's process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

import pytest

from failoverd.ddns.dhcid import guard
from failoverd.ddns.guards import guard_candidates
from tests.ddns.live import FORWARD, POLICY, REVERSE, REVERSE_POLICY
from tests.ddns.named import Named
from tests.ddns.rig import lease
from tests.ddns.site import CONFIG, Site

pytestmark = pytest.mark.bind

H1 = "h1.example.test."
TRANSFER = "allow-transfer { key ddns-key; key admin-key; };"
MINE = guard(lease(10, 1).hw, b"", H1)
OTHER = guard(lease(10, 99).hw, b"", H1)


@pytest.fixture
def named(tmp_path: Path) -> Iterator[Named]:
    static = {"www.example.test. 3600 A 192.0.2.2", "ns1.example.test. 3600 A 192.0.2.1"}
    server = Named(tmp_path / "named", {FORWARD: (POLICY + TRANSFER, static), REVERSE: (REVERSE_POLICY + TRANSFER, set())})
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def site(named: Named, tmp_path: Path) -> AsyncIterator[Site]:
    async with Site(tmp_path, named.port) as running:
        yield running


def records(named: Named) -> set[str]:
    """Both zones without TTL, DHCID, NS and what was there at the start."""
    found = set()
    for line in named.lines(FORWARD) | named.lines(REVERSE):
        name, _, rest = line.split(" ", 2)
        if not rest.startswith(("DHCID", "NS")) and name not in ("www.example.test.", "ns1.example.test."):
            found.add(f"{name} {rest}")
    return found


async def check(site: Site) -> dict[str, tuple[str, str]]:
    result = await site.run("ddns", "check", "-o", "json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert sum(zone["counts"]["ok"] for zone in answer["zones"]) >= 0
    return {each["name"]: (each["class"], each["repair"]) for each in answer["findings"]}


async def test_check_and_repair(site: Site, named: Named) -> None:
    for host in range(10, 15):
        site.change(lease(host, host, f"h{host}.example.test."))
    await site.settle()
    assert await check(site) == {}
    stale = guard(lease(150, 150).hw, b"", "old.example.test.")
    site.forget(150, hostname="old")
    named.put(
        FORWARD,
        [
            "h11.example.test. 600 A 192.0.2.77",
            "old.example.test. 600 A 192.0.2.150",
            f"old.example.test. 600 DHCID {stale}",
            'old.example.test. 600 TXT "keep"',
            "orphan.example.test. 600 A 192.0.2.160",
            f"orphan.example.test. 600 DHCID {OTHER}",
        ],
        {"h10.example.test. 600 A 192.0.2.10", f"h10.example.test. 600 DHCID {guard(lease(10, 10).hw, b'', 'h10.example.test.')}"},
    )
    named.put(REVERSE, [f"150.{REVERSE} 600 PTR old.example.test."], {f"12.{REVERSE} 600 PTR h12.example.test."})
    wrong = {
        "h10.example.test.": ("missing", "assert"),
        "h11.example.test.": ("wrong", "assert"),
        "old.example.test.": ("stale", "remove"),
        "orphan.example.test.": ("orphan", ""),
        f"150.{REVERSE}": ("stale", "remove"),
        f"12.{REVERSE}": ("missing", "assert"),
    }
    assert await check(site) == wrong
    assert (await site.run("ddns", "repair", typed="no\n")).exit_code == 1
    assert await check(site) == wrong
    result = await site.run("ddns", "repair", "--reason", "ticket 7", typed="repair\n")
    assert (result.exit_code, result.stdout) == (0, "5 repairs are under way: failoverctl ddns status (reason: ticket 7)\n")
    await site.settle()
    assert await check(site) == {"orphan.example.test.": ("orphan", "")}
    both = {f"h{host}.example.test. A 192.0.2.{host}" for host in range(10, 15)}
    both |= {f"{host}.{REVERSE} PTR h{host}.example.test." for host in range(10, 15)}
    assert records(named) == both | {"orphan.example.test. A 192.0.2.160", 'old.example.test. TXT "keep"'}
    events = [json.loads(str(past.record)) for past in await site.journal.events(10)]
    assert [(event["what"], event["why"]) for event in events] == [("ddns repair: 5 names", "ticket 7")]


async def test_orphans_are_removed_only_when_asked_for_and_nobody_is_there(site: Site, named: Named) -> None:
    hosts = {160: "gone", 161: "lives", 162: "used"}
    for host, label in hosts.items():
        named.put(FORWARD, [f"{label}.example.test. 600 A 192.0.2.{host}", f"{label}.example.test. 600 DHCID {OTHER}"])
        named.put(REVERSE, [f"{host}.{REVERSE} 600 PTR {label}.example.test."])
    named.put(REVERSE, [f"163.{REVERSE} 600 PTR www.example.test."])  # no client's: there is no DHCID there
    site.forget(162, hostname="somebody", ends=int(time.time()) - 3 * 86400)
    pinged: set[str] = set()

    async def ping(addresses: Iterable[str]) -> set[str]:
        pinged.update(addresses)
        return {"192.0.2.161"}

    site.tools.audits._ping = ping
    reported = {name: found for name, found in (await check(site)).items() if found[0] == "orphan"}
    assert set(reported.values()) == {("orphan", "")}
    assert pinged == set()
    assert (await site.run("ddns", "repair", "--yes")).exit_code == 0
    assert "gone.example.test. A 192.0.2.160" in records(named)

    shown = await site.run("ddns", "repair", "--adopt-orphans", "--dry-run")
    assert f"prereq yxrrset gone.example.test. DHCID {OTHER}" in shown.stdout
    assert "lives.example.test. A" not in shown.stdout.replace("; lives", "")
    assert (await site.run("ddns", "repair", "--adopt-orphans", "--yes")).exit_code == 0
    await site.settle()
    assert pinged == {"192.0.2.160", "192.0.2.161"}  # the third one rests for three days only
    left = {line for line in records(named) if "gone" in line or "lives" in line or "used" in line}
    assert left == {
        "lives.example.test. A 192.0.2.161",
        "used.example.test. A 192.0.2.162",
        f"161.{REVERSE} PTR lives.example.test.",
        f"162.{REVERSE} PTR used.example.test.",
    }
    assert f"163.{REVERSE} PTR www.example.test." in records(named)
    assert (await site.run("ddns", "repair", "--adopt-orphans", "--older-than", "2", "--yes")).exit_code == 0
    await site.settle()
    assert not any("used" in line for line in records(named))
    assert not any(line.startswith(("gone.", "used.")) for line in named.lines(FORWARD))  # nor their DHCID


async def test_orphans_stay_when_the_server_may_not_ping_and_many_need_force(site: Site, named: Named) -> None:
    for host in range(130, 152):
        named.put(FORWARD, [f"o{host}.example.test. 600 A 192.0.2.{host}", f"o{host}.example.test. 600 DHCID {OTHER}"])

    async def forbidden(addresses: Iterable[str]) -> set[str]:
        raise PermissionError(1, "Operation not permitted")

    site.tools.audits._ping = forbidden
    result = await site.run("ddns", "repair", "--adopt-orphans", "--yes")
    assert result.exit_code != 0
    assert "may not ping" in result.stdout + result.stderr

    async def nobody(addresses: Iterable[str]) -> set[str]:
        return set()

    site.tools.audits._ping = nobody
    result = await site.run("ddns", "repair", "--adopt-orphans", "--yes")
    assert result.exit_code != 0
    assert "22 removals" in result.stdout + result.stderr
    site.change(lease(131, 9, "other.example.test."))  # taken between the check and its repair: see the node's own look
    assert (await site.run("ddns", "repair", "--adopt-orphans", "--force", "--yes")).exit_code == 0
    await site.settle()
    assert {line for line in records(named) if line.startswith("o1")} == {"o131.example.test. A 192.0.2.131"}


async def test_the_dry_run_is_a_script_that_nsupdate_takes(site: Site, named: Named) -> None:
    site.change(lease(10, 1))
    site.change(lease(11, 11, "h11.example.test."))
    await site.settle()
    named.put(FORWARD, [f"{H1} 600 A 192.0.2.99"], {f"{H1} 600 A 192.0.2.10"})
    named.put(REVERSE, [], {f"10.{REVERSE} 600 PTR {H1}"})
    result = await site.run("ddns", "repair", "--dry-run")
    assert result.exit_code == 0
    assert f"; {H1} (main): wrong has 192.0.2.99" in result.stdout
    script = f"server 127.0.0.1 {named.port}\n" + result.stdout
    await asyncio.to_thread(_nsupdate, script, site.home / "ddns.key")
    assert await check(site) == {}


def _nsupdate(script: str, key: Path) -> None:
    done = subprocess.run(["nsupdate", "-k", str(key)], input=script, text=True, capture_output=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


async def test_the_second_look_is_incremental_and_agrees(site: Site, named: Named) -> None:
    named.put(FORWARD, [f'fill{number}.example.test. 60 TXT "x"' for number in range(60)])  # of a tiny zone BIND sends all anew
    site.change(lease(10, 1))
    await site.settle()
    first = json.loads((await site.run("ddns", "check", "-o", "json")).stdout)
    site.change(lease(11, 11, "h11.example.test."))
    await site.settle()
    named.put(FORWARD, [], {f"{H1} 600 A 192.0.2.10"})
    second = json.loads((await site.run("ddns", "check", "-o", "json")).stdout)
    assert [zone["how"] for zone in first["zones"]] == ["AXFR", "AXFR"]
    assert {zone["zone"]: zone["how"] for zone in second["zones"]}[FORWARD] == "IXFR"
    assert [(each["name"], each["class"]) for each in second["findings"]] == [(H1, "wrong")]
    assert {zone["zone"]: zone["serial"] for zone in second["zones"]}[FORWARD] == named.serial(FORWARD)


async def test_too_many_removals_need_force(site: Site, named: Named) -> None:
    lines = []
    for host in range(20, 45):
        name = f"old{host}.example.test."
        site.forget(host, hostname=f"old{host}")
        lines += [f"{name} 600 A 192.0.2.{host}", f"{name} 600 DHCID {guard(lease(host, host).hw, b'', name)}"]
    named.put(FORWARD, lines)
    result = await site.run("ddns", "repair", "--yes")
    assert result.exit_code == 3
    assert "25 removals of" in result.stderr
    assert len(records(named)) == 25
    assert (await site.run("ddns", "repair", "--yes", "--force")).exit_code == 0
    await site.settle()
    assert records(named) == set()


async def test_a_master_that_allows_no_transfer_is_named(tmp_path: Path) -> None:
    named = Named(tmp_path / "named", {FORWARD: (POLICY, {"ns1.example.test. 60 A 192.0.2.1"}), REVERSE: (REVERSE_POLICY, set())})
    named.start()
    try:
        async with Site(tmp_path, named.port) as site:
            result = await site.run("ddns", "check", "example.test")
            assert result.exit_code == 1
            assert "allow-transfer does not name this key" in result.stdout
            assert (await site.run("ddns", "check", "no.such.zone")).exit_code == 1
    finally:
        named.stop()


async def test_take(site: Site, named: Named) -> None:
    named.put(FORWARD, [f"{H1} 600 A 192.0.2.99", f"{H1} 600 DHCID {OTHER}", "www2.example.test. 600 A 192.0.2.98"])
    site.change(lease(10, 1))
    site.change(lease(11, 2, "www2.example.test."))
    await site.settle()
    assert {name: found[0] for name, found in (await check(site)).items() if name.endswith("test.")} == {
        H1: "conflict",
        "www2.example.test.": "static",
    }
    assert "conflict" in (await site.run("ddns", "list", "--state", "conflict")).stdout
    result = await site.run("ddns", "take", "www2.example.test", "--yes")
    assert (result.exit_code, "static entry" in result.stderr) == (3, True)
    assert (await site.run("ddns", "take", H1, "--dry-run")).exit_code == 0
    result = await site.run("ddns", "take", "h1.example.test", typed="h1.example.test\n")
    assert result.exit_code == 0, result.output
    await site.settle()
    assert {f"{H1} A 192.0.2.10", f"10.{REVERSE} PTR {H1}"} <= records(named)
    assert f"{H1} A 192.0.2.99" not in records(named)
    assert f"DHCID {MINE}" in " ".join(named.lines(FORWARD))


async def test_hold_and_release(site: Site, named: Named) -> None:
    assert (await site.run("ddns", "hold", "example.test", "--yes", "--reason", "moving it")).exit_code == 0
    site.change(lease(10, 1))
    await asyncio.sleep(0.5)
    assert f"{H1} A 192.0.2.10" not in records(named)
    assert "held by" in (await site.run("ddns", "status")).stdout
    assert (await site.run("ddns", "release", "example.test")).exit_code == 0
    await site.settle()
    assert f"{H1} A 192.0.2.10" in records(named)


async def test_a_zone_that_works_passes_its_test_and_is_left_as_it_was(site: Site, named: Named) -> None:
    before = named.lines(FORWARD) | named.lines(REVERSE)
    result = await site.run("ddns", "test", "example.test")
    assert result.exit_code == 0, result.output
    assert "must be stopped by the DHCID" in result.stdout
    assert "add PTR" in result.stdout
    assert "the zone takes what failoverd sends" in result.stdout
    assert named.lines(FORWARD) | named.lines(REVERSE) == before
    assert (await site.run("ddns", "test", REVERSE)).exit_code == 0


async def test_a_zone_without_rights_fails_its_test_in_words(tmp_path: Path) -> None:
    policy = "update-policy { grant admin-key zonesub ANY; };"
    named = Named(tmp_path / "named", {FORWARD: (policy, {"ns1.example.test. 60 A 192.0.2.1"}), REVERSE: (policy, set())})
    named.start()
    try:
        async with Site(tmp_path, named.port) as site:
            result = await site.run("ddns", "test", "example.test")
            assert result.exit_code == 1
            assert "REFUSED" in result.stdout
            assert "update-policy" in result.stdout
    finally:
        named.stop()


ENTRIES = [
    ("www3.example.test", "A", "192.0.2.3"),
    ("www3.example.test", "AAAA", "2001:db8::3"),
    ("ftp.example.test", "CNAME", "www3.example.test."),
    ("example.test", "MX", "10 www.example.test."),
    ("_sip._tcp.example.test", "SRV", "0 5 5060 www.example.test."),
    ("www3.example.test", "TXT", "v=spf1 -all"),
    ("5.2.0.192.in-addr.arpa", "PTR", "www3.example.test."),
]


async def test_static_entries(site: Site, named: Named) -> None:
    site.change(lease(10, 1))
    await site.settle()
    before = records(named)
    for entry in ENTRIES:
        result = await site.run("ddns", "static", "add", *entry, "--ttl", "300", "--reason", "new host")
        assert result.exit_code == 0, (entry, result.output, named.log()[-600:])
    listed = (await site.run("ddns", "static", "list", "-o", "json")).stdout
    found = {(each["name"].rstrip("."), each["type"]) for each in json.loads(listed)["statics"]}
    assert {(name, rtype) for name, rtype, _ in ENTRIES} <= found
    assert all(name != "h1.example.test" for name, _ in found)
    assert 'www3.example.test. 300 TXT "v=spf1 -all"' in named.lines(FORWARD)
    for words, why in (
        (("add", "ftp.example.test", "A", "192.0.2.9"), "nothing can stand beside it"),
        (("add", "www3.example.test", "CNAME", "x.example.test."), "a CNAME stands alone"),
        (("add", "h1.example.test", "TXT", "x"), "a lease wants this name"),
        (("del", "www3.example.test", "A", "192.0.2.4"), "there is no A"),
    ):
        result = await site.run("ddns", "static", *words)
        assert (result.exit_code != 0, why in result.stderr) == (True, True), result.output
    for entry in ENTRIES:
        assert (await site.run("ddns", "static", "del", *entry)).exit_code == 0
    assert records(named) == before


async def test_a_static_entry_never_touches_a_foreign_clients_name(site: Site, named: Named) -> None:
    named.put(FORWARD, [f"{H1} 600 A 192.0.2.99", f"{H1} 600 DHCID {OTHER}"])
    for words in (("add", H1, "TXT", "x"), ("del", H1, "A", "192.0.2.99")):
        result = await site.run("ddns", "static", *words)
        assert (result.exit_code, "never touch names of clients" in result.stderr) == (3, True), result.output
    assert f"{H1} A 192.0.2.99" in records(named)


async def test_export_fills_another_server(site: Site, named: Named, tmp_path: Path) -> None:
    for host in range(10, 13):
        site.change(lease(host, host, f"h{host}.example.test."))
    await site.settle()
    result = await site.run("ddns", "export", "--nsupdate")
    other = Named(tmp_path / "other", {FORWARD: (POLICY, {"ns1.example.test. 60 A 192.0.2.1"}), REVERSE: (REVERSE_POLICY, set())})
    other.start()
    try:
        await asyncio.to_thread(_nsupdate, f"server 127.0.0.1 {other.port}\n{result.stdout}", site.home / "ddns.key")
        assert records(other) == records(named)
    finally:
        other.stop()


@pytest.mark.parametrize("rule", ["on-renew", "reconcile"])
async def test_names_of_a_dhcpd_before_us(tmp_path: Path, rule: str) -> None:
    one, other, h11 = lease(10, 1, hostname="H1"), lease(11, 11, "h11.example.test."), "h11.example.test."
    cased = next(each.text for each in guard_candidates(one.hw, b"", H1, cased="H1") if each.how == "as-cased")
    interim = next(each.text for each in guard_candidates(other.hw, b"", h11) if each.rtype == "TXT")
    mine = guard(other.hw, b"", h11)
    policy = POLICY.replace("A AAAA DHCID", "A AAAA DHCID TXT") + TRANSFER
    named = Named(
        tmp_path / "named", {FORWARD: (policy, {"ns1.example.test. 60 A 192.0.2.1"}), REVERSE: (REVERSE_POLICY + TRANSFER, set())}
    )
    named.start()
    try:
        async with Site(tmp_path, named.port, text=CONFIG.replace("[ddns]\n", f'[ddns]\nmigrate-guards = "{rule}"\n')) as site:
            site.change(one)
            site.change(other)
            await site.settle()
            named.put(
                FORWARD, [f"{H1} 600 A 192.0.2.9", f"{H1} 600 DHCID {cased}"], {f"{H1} 0 DHCID {MINE}", f"{H1} 0 A 192.0.2.10"}
            )
            named.put(FORWARD, [f"{h11} 600 TXT {interim}"], {f"{h11} 0 DHCID {mine}"})
            assert await check(site) == {H1: ("legacy", "migrate"), h11: ("legacy", "migrate")}
            assert (await site.run("ddns", "repair", "--yes")).exit_code == 0
            await site.settle()
            assert await check(site) == {}
            both = {f"{H1} A 192.0.2.10", f"{h11} A 192.0.2.11"}
            assert records(named) == both | {f"10.{REVERSE} PTR {H1}", f"11.{REVERSE} PTR {h11}"}
    finally:
        named.stop()
