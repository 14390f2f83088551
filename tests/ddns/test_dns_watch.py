"""The watch against real named: a master and a secondary on loopback, with what goes wrong between them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.flags
import dns.message
import dns.opcode
import dns.query
import dns.rcode
import pytest

from failoverd.ddns.propagation import WatchedZone, WatchPlan
from failoverd.notes import Note
from failoverd.ports import Change, DnsAnswer, DnsQuery, DnsUpdate
from failoverd.shell.dns import DnsClient
from failoverd.shell.dns_watch import DnsWatch, ask_plainly, serial_of
from tests.ddns.live import QUICK, write_key
from tests.ddns.named import SECRETS, Named

pytestmark = pytest.mark.bind

FORWARD = "example.test."
NAME = f"h1.{FORWARD}"
STATIC = {"ns1.example.test. 3600 A 192.0.2.1", "ns2.example.test. 3600 A 127.0.0.2", f"{FORWARD} 3600 NS ns2.example.test."}


class Secondary(Named):
    """A named that has the zone from a master, and hears of a change only when `notify` tells it."""

    def __init__(self, home: Path, master: Named) -> None:
        super().__init__(home, {})
        text = self.config.read_text() + (
            f'server 127.0.0.1 {{ keys {{ "admin-key"; }}; }};\nzone "example.test" {{ type secondary; file "{home}/zone.db"; '
            f"primaries {{ 127.0.0.1 port {master.port}; }}; }};\n"
        )
        self.config.write_text(text)

    def notify(self) -> None:
        """What a master says after a change (RFC 1996)."""
        message = dns.message.make_query(FORWARD, "SOA", flags=dns.flags.AA)
        message.set_opcode(dns.opcode.NOTIFY)
        assert dns.query.udp(message, "127.0.0.1", 5, self.port).rcode() == dns.rcode.NOERROR


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Named, Secondary]]:
    inside = "update-policy { grant ddns-key zonesub ANY; grant admin-key zonesub ANY; }; max-ixfr-ratio unlimited;"
    master = Named(tmp_path / "master", {FORWARD: (inside, STATIC)})
    secondary = Secondary(tmp_path / "secondary", master)
    master.start()
    secondary.start()
    end = time.monotonic() + 10
    while "SOA" not in str(dns.query.udp(dns.message.make_query(FORWARD, "SOA"), "127.0.0.1", 5, secondary.port).answer):
        assert time.monotonic() < end, secondary.log()
        time.sleep(0.05)
    yield master, secondary
    secondary.stop()
    master.stop()


class Watch:
    """A watch and what it says."""

    def __init__(self, home: Path, master: Named, slaves: tuple[tuple[str, int], ...], warn_s: float = 60.0) -> None:
        from failoverd.ddns.zone import Zone

        write_key(home / "ddns.key")
        self.client = DnsClient((Zone("main", FORWARD, (("127.0.0.1", master.port),), str(home / "ddns.key")),), **QUICK)  # type: ignore[arg-type]
        self.notes: list[Note] = []
        self.want: dict[str, frozenset[tuple[str, str]]] = {}
        plan = WatchPlan((WatchedZone("main", FORWARD, slaves),), warn_s)
        self.made = DnsWatch(plan, self.client, self.notes.append, lambda name: self.want)

    async def add(self, name: str, text: str) -> DnsAnswer:
        done: asyncio.Future[DnsAnswer] = asyncio.get_running_loop().create_future()
        changes = (Change("del-rrset", name, "A"), Change("add", name, "A", text, 60))
        self.made.submit(DnsUpdate(7, "main", FORWARD, (), changes), done.set_result)
        return await done

    def row(self) -> dict[str, object]:
        (row,) = self.made.rows()
        return row

    async def until(self, what: Callable[[], bool], within_s: float = 12.0) -> None:
        end = time.monotonic() + within_s
        while not what():
            assert time.monotonic() < end, (self.made.rows(), self.notes)
            await asyncio.sleep(0.05)

    async def close(self) -> None:
        await self.made.close()
        await self.client.close()


async def test_a_change_is_followed_to_the_secondary(pair: tuple[Named, Secondary], tmp_path: Path) -> None:
    master, secondary = pair
    watch = Watch(tmp_path, master, (("127.0.0.1", secondary.port),), warn_s=1.0)
    assert (await watch.add(NAME, "192.0.2.10")).rcode == "NOERROR"
    await watch.until(lambda: watch.row()["state"] == "late")
    assert watch.row()["serial"] == 1
    assert watch.row()["master_serial"] == 2
    assert any("NOTIFY does not reach it" in text for text in watch.made.warnings())
    await watch.until(lambda: bool(watch.notes))
    secondary.notify()
    await watch.until(lambda: watch.row()["state"] == "ok")
    assert watch.row()["lag_s"] == 0
    assert [note.name for note in watch.notes] == ["ddns-secondary-behind", "ddns-secondary-level"]
    await watch.close()


async def test_where_asks_master_and_secondary_for_the_record(pair: tuple[Named, Secondary], tmp_path: Path) -> None:
    master, secondary = pair
    watch = Watch(tmp_path, master, (("127.0.0.1", secondary.port),))
    watch.want = {"main": frozenset({("A", "192.0.2.10")})}
    shown = [place["shows"] for place in await watch.made.where(NAME)]
    assert shown == [False, False]
    await watch.add(NAME, "192.0.2.10")
    places = await watch.made.where(NAME)
    assert [(place["master"], place["shows"]) for place in places] == [(True, True), (False, False)]
    assert places[0]["records"] == ["A 192.0.2.10"]
    secondary.notify()
    await watch.until(lambda: watch.row()["state"] == "ok")
    assert [place["shows"] for place in await watch.made.where(NAME)] == [True, True]
    watch.want = {"main": frozenset()}
    assert [place["shows"] for place in await watch.made.where(NAME)] == [False, False]
    watch.want = {}
    assert [place["shows"] for place in await watch.made.where(NAME)] == [True, True]
    assert await watch.made.where("host.elsewhere.test.") == []
    secondary.stop()
    places = await watch.made.where(NAME)
    assert [place["shows"] for place in places] == [True, False]
    assert places[1]["detail"]
    await watch.close()


async def test_secondaries_are_found_by_their_ns_records(pair: tuple[Named, Secondary], tmp_path: Path) -> None:
    """ns2 is 127.0.0.2, where nobody answers; ns1 is the MNAME."""
    watch = Watch(tmp_path, pair[0], ())
    await watch.add(NAME, "192.0.2.10")
    await watch.until(lambda: bool(watch.made.rows()))
    assert watch.row()["slave"] == "127.0.0.2"
    await watch.until(lambda: "cannot be reached" in str(watch.row()["detail"]) or "does not answer" in str(watch.row()["detail"]))
    await watch.close()


async def test_what_a_server_answers_that_has_no_such_zone(pair: tuple[Named, Secondary]) -> None:
    at = ("127.0.0.1", pair[1].port)
    records, trouble = await ask_plainly(at, FORWARD, "SOA")
    assert (serial_of(records), trouble) == (1, "")
    assert await ask_plainly(at, NAME, "A") == ([], "")
    assert await ask_plainly(at, "other.test.", "SOA") == ([], "REFUSED: it refuses the question")


class Deaf:
    """Masters that have no say."""

    def submit(self, request: DnsUpdate | DnsQuery, deliver: Callable[[DnsAnswer], None]) -> None:
        deliver(DnsAnswer(request.ident, "NXDOMAIN", "none"))


async def test_secondaries_with_views_are_asked_with_the_key_of_the_view(tmp_path: Path) -> None:
    named = Named(tmp_path / "views", {})
    text = named.config.read_text()
    plan = []
    for view, key, address in (("inside", "ddns-key", "192.0.2.10"), ("outside", "other-key", "192.0.2.20")):
        file = tmp_path / f"{view}.db"
        soa = f"{FORWARD} 60 IN SOA ns1.{FORWARD} x. 1 60 60 60 60\n{FORWARD} 60 IN NS ns1.{FORWARD}\nns1.{FORWARD} 60 IN A 192.0.2.1\n"
        file.write_text(soa + f"{NAME} 60 IN A {address}\n")
        zone = f'zone "example.test" {{ type primary; file "{file}"; }};'
        text += f'view "{view}" {{ match-clients {{ key {key}; }}; {zone} }};\n'
        write_key(tmp_path / view, key)
        plan.append(WatchedZone(view, FORWARD, (("127.0.0.1", named.port),), str(tmp_path / view)))
    plan.append(WatchedZone("nobody", FORWARD, (("127.0.0.1", named.port),)))
    write_key(tmp_path / "wrong", "ddns-key", SECRETS["other-key"])
    plan.append(WatchedZone("wrong", FORWARD, (("127.0.0.1", named.port),), str(tmp_path / "wrong")))
    plan.append(WatchedZone("lost", FORWARD, (("127.0.0.1", named.port),), str(tmp_path / "lost")))
    named.config.write_text(text)
    named.start()
    try:
        watch = DnsWatch(WatchPlan(tuple(plan)), Deaf(), lambda note: None, lambda name: {})
        places = {str(each["target"]): each for each in await watch.where(NAME) if not each["master"]}
        assert places["inside"]["records"] == ["A 192.0.2.10"]
        assert places["outside"]["records"] == ["A 192.0.2.20"]
        assert "REFUSED" in str(places["nobody"]["detail"])
        assert "does not know the key of watch-key-file" in str(places["wrong"]["detail"])
        assert places["lost"]["detail"] == f"{tmp_path}/lost: No such file or directory"
        await watch.close()
    finally:
        named.stop()
