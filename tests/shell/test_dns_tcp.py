"""The DNS client's TCP connections, its second key and its several primaries."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import dns.rcode
import dns.tsig
import pytest

from failoverd.ddns.zone import Zone
from failoverd.ports import Change, DnsAnswer, DnsUpdate
from failoverd.shell import dns as client_module
from failoverd.shell import dnstcp
from failoverd.shell.dns import NEXT_KEY_IN_USE, DnsClient
from failoverd.shell.dnskeys import KeyFileError, Keys, parse_keys
from tests.shell.test_dns_client import SECRET, TEXT, UPDATE, fake, reply

NEW_SECRET = "bmV3LXNlY3JldC1uZXctc2VjcmV0LW5ldy1zZWNyZXQ="


class TcpMaster:
    """`serve(wire, n)`: the frames sent back for the n-th message, None to close the connection."""

    def __init__(self, serve: Callable[[bytes, int], list[bytes] | None]) -> None:
        self.serve = serve
        self.connections = 0
        self.seen: list[bytes] = []
        self.heard = asyncio.Event()  # the first of them
        self.port = 0
        self.server: asyncio.Server | None = None
        self.writers: list[asyncio.StreamWriter] = []

    async def start(self) -> TcpMaster:
        self.server = await asyncio.start_server(self._one, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                (length,) = struct.unpack("!H", await reader.readexactly(2))
                self.seen.append(await reader.readexactly(length))
                self.heard.set()
                frames = self.serve(self.seen[-1], len(self.seen))
                if frames is None:
                    break
                for frame in frames:
                    writer.write(struct.pack("!H", len(frame)) + frame)
        except (asyncio.IncompleteReadError, OSError):
            pass
        writer.close()

    def hang_up(self) -> None:
        for writer in self.writers:
            writer.close()
        self.writers.clear()

    def stop(self) -> None:
        assert self.server is not None
        self.server.close()
        self.hang_up()


def batch(ident: int) -> DnsUpdate:
    """Too long for UDP."""
    changes = tuple(Change("add", f"name{n}.example.test.", "A", "192.0.2.1", 60) for n in range(40))
    return DnsUpdate(ident, "main", "example.test.", (), changes)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "ddns.key"
    path.write_text(TEXT)
    path.chmod(0o640)
    return path


def client_for(key_file: Path, *ports: int, next_file: str = "") -> DnsClient:
    at = tuple(("127.0.0.1", port) for port in ports)
    zone = Zone("main", "example.test.", at, str(key_file), key_next_file=next_file)
    return DnsClient([zone], udp_waits_s=(0.2, 0.2), tcp_connect_s=0.5, tcp_reply_s=0.5)


def ask(client: DnsClient, message: DnsUpdate) -> asyncio.Future[DnsAnswer]:
    done: asyncio.Future[DnsAnswer] = asyncio.get_running_loop().create_future()
    client.submit(message, done.set_result)
    return done


async def test_one_connection_for_many_and_answers_in_any_order(key_file: Path) -> None:
    held: list[bytes] = []

    def serve(wire: bytes, n: int) -> list[bytes]:
        held.append(reply(wire, "NXRRSET" if n == 1 else "NOERROR"))
        return list(reversed(held)) if n == 5 else []

    master = await TcpMaster(serve).start()
    client = client_for(key_file, master.port)
    first = ask(client, batch(1))
    await asyncio.wait_for(master.heard.wait(), 5)
    rest = [ask(client, batch(n)) for n in range(2, 6)]
    answers = await asyncio.wait_for(asyncio.gather(first, *rest), 5)
    assert [a.rcode for a in answers] == ["NXRRSET"] + ["NOERROR"] * 4
    assert [a.copies for a in answers] == [1] * 5
    assert master.connections == 1
    assert len({wire[:2] for wire in master.seen}) == 5
    await client.close()
    master.stop()


async def test_a_connection_that_the_server_closed_is_opened_again(key_file: Path) -> None:
    master = await TcpMaster(lambda wire, n: [reply(wire)]).start()
    client = client_for(key_file, master.port)
    for number in range(1, 4):
        answer = await asyncio.wait_for(ask(client, batch(number)), 5)
        assert answer.rcode == "NOERROR"
        master.hang_up()
        await asyncio.sleep(0.05 * (number - 1))
    assert master.connections == 3
    await client.close()
    master.stop()


async def test_a_connection_that_ends_before_the_answer_is_tried_once_more_and_the_copies_are_counted(key_file: Path) -> None:
    master = await TcpMaster(lambda wire, n: [reply(wire)] if n in {1, 3} else None).start()
    client = client_for(key_file, master.port)
    assert (await asyncio.wait_for(ask(client, batch(1)), 5)).copies == 1
    answer = await asyncio.wait_for(ask(client, batch(2)), 5)
    assert (answer.rcode, answer.copies) == ("NOERROR", 2)
    assert (await asyncio.wait_for(ask(client, batch(3)), 5)).rcode == "TIMEOUT"
    await client.close()
    master.stop()


async def test_an_idle_connection_is_closed_by_us(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dnstcp, "IDLE_S", 0.1)
    master = await TcpMaster(lambda wire, n: [reply(wire)]).start()
    client = client_for(key_file, master.port)
    assert (await asyncio.wait_for(ask(client, batch(1)), 5)).rcode == "NOERROR"
    await asyncio.sleep(0.3)
    answer = await asyncio.wait_for(ask(client, batch(2)), 5)
    assert (answer.rcode, answer.copies, master.connections) == ("NOERROR", 1, 2)
    await client.close()
    master.stop()


async def test_forged_frames_are_waited_out(key_file: Path) -> None:
    def serve(wire: bytes, n: int) -> list[bytes]:
        return [b"", b"x", reply(wire, "REFUSED", signed=False), reply(wire, "REFUSED", secret=NEW_SECRET), reply(wire)]

    master = await TcpMaster(serve).start()
    client = client_for(key_file, master.port)
    assert (await asyncio.wait_for(ask(client, batch(1)), 5)).rcode == "NOERROR"
    await client.close()
    master.stop()


async def test_failback_to_the_first_primary(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "SICK_S", 0.6)
    up = [False]
    _, first = await fake(lambda wire, n: [reply(wire)] if up[0] else [])
    _, second = await fake(lambda wire, n: [reply(wire)])
    client = client_for(key_file, first, second)
    answer = await asyncio.wait_for(ask(client, UPDATE), 5)
    assert answer.server == f"127.0.0.1:{second}"
    assert answer.copies > 1
    up[0] = True
    assert (await asyncio.wait_for(ask(client, UPDATE), 5)).server == f"127.0.0.1:{second}"
    await asyncio.sleep(0.7)
    assert (await asyncio.wait_for(ask(client, UPDATE), 5)).server == f"127.0.0.1:{first}"
    await client.close()


# --- rollover ---------------------------------------------------------------------------------------------------------


async def test_the_next_key_is_tried_once_and_kept_until_the_files_are_read_again(key_file: Path, tmp_path: Path) -> None:
    following = tmp_path / "next.key"
    write(following, TEXT)
    write(key_file, TEXT.replace(SECRET, NEW_SECRET))

    def answer(wire: bytes, n: int) -> list[bytes]:
        try:
            return [reply(wire)]
        except dns.tsig.BadSignature:
            request = struct.unpack("!H", wire[:2])[0]
            return [bad_sig(request)]

    master, port = await fake(answer)
    client = client_for(key_file, port, next_file=str(following))
    assert client.check() == []
    got = await asyncio.wait_for(ask(client, UPDATE), 5)
    assert (got.rcode, got.detail, len(master.seen)) == ("NOERROR", NEXT_KEY_IN_USE, 2)
    got = await asyncio.wait_for(ask(client, UPDATE), 5)
    assert (got.rcode, len(master.seen)) == ("NOERROR", 3)
    write(key_file, TEXT)
    client.reload()
    got = await asyncio.wait_for(ask(client, UPDATE), 5)
    assert (got.rcode, got.detail, len(master.seen)) == ("NOERROR", "", 4)
    await client.close()


def write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o640)


def bad_sig(ident: int) -> bytes:
    """NOTAUTH with BADSIG, unsigned, as BIND says it (RFC 8945 5.3.2)."""
    algorithm = b"\x0bhmac-sha256\0"
    data = algorithm + b"\0" * 6 + struct.pack("!HHHHH", 300, 0, ident, dns.rcode.BADSIG, 0)
    record = b"\x08ddns-key\0" + struct.pack("!HHIH", 250, 255, 0, len(data)) + data
    return struct.pack("!HHHHHH", ident, 0xA809, 0, 0, 0, 1) + record


def test_a_next_key_file_that_is_wrong_is_said(key_file: Path, tmp_path: Path) -> None:
    following = tmp_path / "next.key"
    client = client_for(key_file, 1, next_file=str(following))
    assert client.check() == []  # there is none before the rollover
    following.write_text("x")
    following.chmod(0o640)
    assert client.check() == [f'{following}: holds no key; expected key "name" {{ algorithm hmac-sha256; secret "..."; }};']


def test_other_forms_of_key_files() -> None:
    keys = parse_keys(f"hmac-sha512:my-key:{SECRET}\n", "f")
    assert keys["my-key."].algorithm == dns.tsig.HMAC_SHA512
    assert parse_keys(f"my-key:{SECRET}", "f")["my-key."].algorithm == dns.tsig.HMAC_SHA256
    found = parse_keys(f"my-key. IN KEY 512 3 163 {SECRET[:20]} {SECRET[20:]}\n", "f")["my-key."]
    assert (found.algorithm, found.secret) == (dns.tsig.HMAC_SHA256, parse_keys(TEXT, "f")["ddns-key."].secret)
    for weak in (f"hmac-md5:my-key:{SECRET}", f"my-key. IN KEY 512 3 157 {SECRET}"):
        with pytest.raises(KeyFileError, match="too weak"):
            parse_keys(weak, "f")
        assert parse_keys(weak, "f", allow_weak=True)["my-key."].algorithm == dns.tsig.HMAC_MD5


def test_keys_of_a_rollover(key_file: Path, tmp_path: Path) -> None:
    following = tmp_path / "next.key"
    following.write_text(f"next-key:{SECRET}")
    following.chmod(0o640)
    zone = Zone("main", "example.test.", (), str(key_file), "ddns-key", key_next_file=str(following))
    assert Keys().next_of(zone).name.to_text() == "next-key."


def test_a_weak_key_names_its_line_and_the_cure() -> None:
    text = f'// old\n/* two\nlines */ key a {{ algorithm hmac-sha1; secret "{SECRET}"; }};'
    with pytest.raises(KeyFileError, match=r"^f:3: key a uses hmac-sha1, .* tsig-keygen -a hmac-sha256 a, or .*allow-weak = true"):
        parse_keys(text, "f")


def test_weak_keys_are_taken_in_the_zones_that_allow_them(tmp_path: Path) -> None:
    path = tmp_path / "weak.key"
    path.write_text(f"hmac-md5:old-key:{SECRET}")
    path.chmod(0o640)
    keys, zone = Keys(), Zone("main", "example.test.", (), str(path), allow_weak=True)
    assert keys.of(zone).algorithm == dns.tsig.HMAC_MD5
    with pytest.raises(KeyFileError, match="too weak"):
        keys.of(replace(zone, allow_weak=False))
    assert keys.problems(zone) == []
    assert len(keys.problems(replace(zone, allow_weak=False))) == 1
