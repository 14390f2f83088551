"""The DNS client against servers that answer badly, late, twice, forged, or not at all."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from pathlib import Path

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.tsig
import dns.update
import pytest

from failoverd.ddns.zone import Zone
from failoverd.ports import Change, DnsAnswer, DnsQuery, DnsUpdate
from failoverd.shell.dns import DnsClient
from failoverd.shell.dnskeys import KeyFileError, Keys, parse_keys

SECRET = "ZmFpbG92ZXJkLWRkbnMta2V5LWZvci10aGUtdGVzdHM="
KEY = dns.tsig.Key("ddns-key", SECRET, "hmac-sha256")
TEXT = f'key "ddns-key" {{ algorithm hmac-sha256; secret "{SECRET}"; }};\n'
UPDATE = DnsUpdate(5, "main", "example.test.", (), (Change("add", "a.example.test.", "A", "192.0.2.1", 60),))
Answer = Callable[[bytes, int], list[bytes]]


class FakeMaster(asyncio.DatagramProtocol):
    """`answer(wire, n)`: the datagrams sent back for the n-th request."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.seen: list[bytes] = []
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.seen.append(data)
        assert self.transport is not None
        for wire in self.answer(data, len(self.seen)):
            self.transport.sendto(wire, addr)


async def fake(answer: Answer) -> tuple[FakeMaster, int]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(lambda: FakeMaster(answer), local_addr=("127.0.0.1", 0))
    return protocol, transport.get_extra_info("sockname")[1]


def reply(
    wire: bytes, rcode: str = "NOERROR", *, signed: bool = True, error: int = 0, other: bytes = b"", secret: str = SECRET
) -> bytes:
    request = dns.message.from_wire(wire, keyring={KEY.name: KEY})
    out = dns.message.make_response(request)
    out.set_rcode(dns.rcode.from_text(rcode))
    out.tsig = None
    if signed:
        out.use_tsig(dns.tsig.Key("ddns-key", secret, "hmac-sha256"), tsig_error=error, other_data=other)
        out.request_mac = request.mac or b""
    else:
        out.keyring = None
        out.want_tsig_sign = False
    return out.to_wire()


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "ddns.key"
    path.write_text(TEXT)
    path.chmod(0o640)
    return path


async def ask(key_file: Path, ports: list[int], message: DnsUpdate | DnsQuery = UPDATE, **more: object) -> DnsAnswer:
    zone = Zone("main", "example.test.", tuple(("127.0.0.1", port) for port in ports), str(key_file))
    times: dict[str, object] = {"udp_waits_s": (0.2, 0.2, 0.2), "tcp_connect_s": 0.3, "tcp_reply_s": 0.3, **more}
    client = DnsClient([zone], **times)  # type: ignore[arg-type]
    done: asyncio.Future[DnsAnswer] = asyncio.get_running_loop().create_future()
    client.submit(message, done.set_result)
    answer = await asyncio.wait_for(done, 10)
    await client.close()
    return answer


async def test_a_verified_answer(key_file: Path) -> None:
    master, port = await fake(lambda wire, n: [reply(wire, "YXDOMAIN")])
    answer = await ask(key_file, [port])
    assert (answer.ident, answer.rcode, answer.server, answer.detail) == (5, "YXDOMAIN", f"127.0.0.1:{port}", "")
    assert len(master.seen) == 1


async def test_forged_replies_are_waited_out(key_file: Path) -> None:
    def answer(wire: bytes, n: int) -> list[bytes]:
        good = reply(wire)
        other_id = struct.pack("!H", (struct.unpack("!H", wire[:2])[0] + 1) & 0xFFFF)
        return [
            b"",
            b"short",
            wire,
            reply(wire, "REFUSED", signed=False),
            reply(wire, "REFUSED", secret="d3Jvbmd3cm9uZ3dyb25n"),
            reply(wire, "NOTAUTH", error=dns.rcode.BADKEY),
            other_id + good[2:],
            good[:20],
            good,
            reply(wire, "REFUSED"),
        ]

    _, port = await fake(answer)
    assert (await ask(key_file, [port])).rcode == "NOERROR"


async def test_only_unsigned_replies_are_no_answer(key_file: Path) -> None:
    master, port = await fake(lambda wire, n: [reply(wire, "REFUSED", signed=False)])
    answer = await ask(key_file, [port])
    assert (answer.rcode, answer.detail) == ("TIMEOUT", "an unsigned REFUSED was discarded")
    assert len(master.seen) == 3


@pytest.mark.parametrize(
    ("error", "rcode"), [(dns.rcode.BADKEY, "BADKEY"), (dns.rcode.BADSIG, "BADSIG"), (dns.rcode.BADTIME, "BADTIME")]
)
async def test_trouble_counts_when_the_time_is_up(key_file: Path, error: int, rcode: str) -> None:
    other = (4_000_000_000).to_bytes(6, "big") if rcode == "BADTIME" else b""
    _, port = await fake(lambda wire, n: [reply(wire, "NOTAUTH", error=error, other=other)])
    answer = await ask(key_file, [port])
    assert answer.rcode == rcode
    assert answer.elapsed_s >= 0.19
    assert (rcode == "BADTIME") == ("clock is +" in answer.detail)


async def test_retries_have_new_ids_and_a_late_reply_counts(key_file: Path) -> None:
    first: list[bytes] = []

    def answer(wire: bytes, n: int) -> list[bytes]:
        first.append(wire)
        return [reply(first[0])] if n == 3 else []

    master, port = await fake(answer)
    assert (await ask(key_file, [port])).rcode == "NOERROR"
    assert len({wire[:2] for wire in master.seen}) == 3


async def test_refused_port_fails_fast_and_the_next_primary_answers(key_file: Path) -> None:
    _, port = await fake(lambda wire, n: [reply(wire)])
    answer = await ask(key_file, [1, port])
    assert (answer.rcode, answer.server) == ("NOERROR", f"127.0.0.1:{port}")
    assert answer.elapsed_s < 0.2
    answer = await ask(key_file, [1])
    assert answer.rcode == "UNREACHABLE"


async def test_tcp_after_udp(key_file: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        wire = await reader.readexactly(length)
        for out in (reply(wire, "REFUSED", signed=False), reply(wire, "NXRRSET")):
            writer.write(struct.pack("!H", len(out)) + out)
        await writer.drain()
        writer.close()

    master, port = await fake(lambda wire, n: [])
    server = await asyncio.start_server(serve, "127.0.0.1", port)
    assert (await ask(key_file, [port])).rcode == "NXRRSET"
    assert len(master.seen) == 3
    server.close()
    await server.wait_closed()


async def test_long_messages_go_by_tcp_at_once(key_file: Path) -> None:
    master, port = await fake(lambda wire, n: [reply(wire)])
    changes = tuple(Change("add", f"name{n}.example.test.", "A", "192.0.2.1", 60) for n in range(40))
    answer = await ask(key_file, [port], DnsUpdate(1, "main", "example.test.", (), changes))
    assert answer.rcode == "TIMEOUT"
    assert master.seen == []


async def test_query(key_file: Path) -> None:
    def answer(wire: bytes, n: int) -> list[bytes]:
        request = dns.message.from_wire(wire, keyring={KEY.name: KEY})
        out = dns.message.make_response(request)
        rtype = dns.rdatatype.to_text(request.question[0].rdtype)
        if rtype == "A":
            out.answer.append(dns.rrset.from_text("a.example.test.", 60, "IN", "A", "192.0.2.1"))
        if rtype == "TXT":
            out.answer.append(dns.rrset.from_text("other.example.test.", 60, "IN", "TXT", "behind-a-cname"))
        out.use_tsig(KEY)
        out.request_mac = request.mac or b""
        return [out.to_wire()]

    _, port = await fake(answer)
    got = await ask(key_file, [port], DnsQuery(9, "main", "example.test.", "a.example.test.", ("A", "TXT")))
    assert (got.ident, got.rcode, got.records) == (9, "NOERROR", (("A", "192.0.2.1"),))


async def test_what_cannot_be_encoded_is_an_answer(key_file: Path) -> None:
    for change in (
        Change("add", "a.example.test.", "A", "no address", 60),
        Change("add", "a" * 80 + ".test.", "A", "192.0.2.1"),
        Change("what", "a.test."),
    ):
        assert (await ask(key_file, [1], DnsUpdate(1, "main", "example.test.", (), (change,)))).rcode == "INTERNAL"
    assert (await ask(key_file, [1], DnsUpdate(1, "main", "unknown.test.", (), ()))).rcode == "INTERNAL"
    assert (await ask(key_file, [])).rcode == "INTERNAL"


# --- key files --------------------------------------------------------------------------------------------------------


def test_key_file_forms() -> None:
    text = f"""// a comment with "quotes" {{
    # key "no" {{ }};
    /* key "neither" {{ algorithm hmac-sha256; }}; */
    options {{ default-key "x"; nested {{ a; }}; }};
    key first {{ secret {SECRET}; algorithm HMAC-SHA512; }};
    key "Second.example." {{ algorithm "hmac-sha256"; secret "{SECRET}" ; }} ;"""
    keys = parse_keys(text, "f")
    assert list(keys) == ["first.", "second.example."]
    assert keys["first."].algorithm == dns.tsig.HMAC_SHA512


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "holds no key"),
        ("key", "holds no key"),
        ('key "a" { algorithm hmac-sha256; };', "has no secret"),
        ('key "a" { algorithm rot13; secret "AAAA"; };', "unknown algorithm"),
        ('key "a" { algorithm hmac-sha256; secret "%%%"; };', "key a"),
        (f'key "a" {{ algorithm HMAC-MD5.SIG-ALG.REG.INT; secret "{SECRET}"; }};', "too weak"),
        (f'key "{"a" * 70}" {{ algorithm hmac-sha256; secret "{SECRET}"; }};', "key aaa"),
    ],
)
def test_key_file_errors(text: str, why: str) -> None:
    with pytest.raises(KeyFileError, match=why):
        parse_keys(text, "f")


def test_weak_keys_on_demand() -> None:
    text = f'key "a" {{ algorithm HMAC-MD5.SIG-ALG.REG.INT; secret "{SECRET}"; }};'
    assert parse_keys(text, "f", allow_weak=True)["a."].algorithm == dns.tsig.HMAC_MD5


def test_key_file_rights_and_reload(key_file: Path) -> None:
    keys = Keys()
    zone = Zone("main", "example.test.", (), str(key_file))
    assert keys.of(zone) == KEY
    key_file.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 0640"):
        keys.of(zone)
    key_file.chmod(0o600)
    key_file.write_text(TEXT.replace("ddns-key", "new-key"))
    assert keys.of(zone).name == dns.name.from_text("new-key")
    with pytest.raises(KeyFileError, match="holds no key ddns-key; it holds new-key"):
        keys.of(Zone("main", "example.test.", (), str(key_file), "ddns-key"))
    key_file.unlink()
    with pytest.raises(KeyFileError, match="No such file"):
        keys.of(zone)
