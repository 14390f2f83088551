"""TLS of the failover links: who is let in, what each refusal is called, and what happens when the files change (safety.md 26)."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from failoverd.failover.terms import Tls
from failoverd.ports import ConnectFailed, Input, LinkBytes, LinkDown, LinkSecurity, LinkUp
from failoverd.shell import partner_tls, tls
from failoverd.shell.partner import Partners
from failoverd.shell.tls import Identity, TlsFileError, read_credentials
from tests.lab.certificates import Ca
from tests.shell.test_partner import ME, PARTNER, free_port, terms


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Ca:
    return Ca.make(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def stranger_ca(tmp_path_factory: pytest.TempPathFactory) -> Ca:
    return Ca.make(tmp_path_factory.mktemp("other"))


@pytest.fixture(scope="module")
def pair(ca: Ca, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tls, Tls]:
    folder = tmp_path_factory.mktemp("pair")
    return ca.tls("dhcp1", "dhcp2", folder), ca.tls("dhcp2", "dhcp1", folder)


class Server:
    """One side of a link: what it delivered and noted. `addresses`: its own and its partner's."""

    def __init__(self, addresses: tuple[str, str], ports: tuple[int, int], files: Tls | None) -> None:
        term = replace(
            terms("office", ports[0], ports[1]),
            local_address=int(IPv4Address(addresses[0])),
            partner_address=int(IPv4Address(addresses[1])),
            tls=files,
        )
        self.inputs: list[Input] = []
        self.notes: list[tuple[str, str]] = []
        identities = {"office": Identity(files)} if files is not None else {}
        self.partners = Partners([term], self.inputs.append, lambda name, _, detail: self.notes.append((name, detail)), identities)
        self.partners.open(asyncio.get_running_loop())

    async def until(self, kind: type, count: int = 1) -> list[Input]:
        for _ in range(400):
            found = [item for item in self.inputs if isinstance(item, kind)]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.01)
        raise AssertionError(f"no {kind.__name__} in {self.inputs}, notes {self.notes}")

    async def noted(self, *names: str) -> str:
        for _ in range(400):
            for name, detail in self.notes:
                if name in names:
                    return detail
            await asyncio.sleep(0.01)
        raise AssertionError(f"none of {names} in {self.notes}; inputs {self.inputs}")

    def data(self) -> bytes:
        return b"".join(item.data for item in self.inputs if isinstance(item, LinkBytes))

    def say(self, data: bytes) -> None:
        (up,) = [item for item in self.inputs if isinstance(item, LinkUp)]
        self.partners.send(up.link, data)
        self.partners.flush()

    @property
    def security(self) -> LinkSecurity:
        return [item for item in self.inputs if isinstance(item, LinkSecurity)][-1]


class Two:
    """Two servers on loopback."""

    def __init__(self, first: Tls | None, second: Tls | None) -> None:
        ports = free_port(), free_port()
        self.first = Server((ME, PARTNER), ports, first)
        self.second = Server((PARTNER, ME), (ports[1], ports[0]), second)

    async def stop(self) -> None:
        await asyncio.gather(self.first.partners.stop(), self.second.partners.stop())


@contextmanager
def watched(port: int) -> Iterator[bytearray]:
    """Everything that crosses the loopback to or from a port, by a packet socket."""
    seen = bytearray()
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    tap.bind(("lo", 0))
    tap.setblocking(False)
    loop = asyncio.get_running_loop()

    def read() -> None:
        while True:
            try:
                packet = tap.recv(70000)
            except BlockingIOError:
                return
            header = (packet[0] & 15) * 4
            if packet[9] == 6 and port in (
                int.from_bytes(packet[header : header + 2], "big"),
                int.from_bytes(packet[header + 2 : header + 4], "big"),
            ):
                seen.extend(packet[header + (packet[header + 12] >> 4) * 4 :])

    loop.add_reader(tap.fileno(), read)
    try:
        yield seen
    finally:
        loop.remove_reader(tap.fileno())
        tap.close()


async def test_right_certificates_make_a_link_that_is_authenticated(pair: tuple[Tls, Tls]) -> None:
    two = Two(*pair)
    two.first.partners.connect("office")
    assert await two.first.until(LinkUp) == [LinkUp("office", 1, True, True)]
    assert await two.second.until(LinkUp) == [LinkUp("office", 1, False, True)]
    two.first.say(b"CONNECT" * 4000)
    await two.second.until(LinkBytes)
    two.second.say(b"CONNECTACK")
    await two.first.until(LinkBytes)
    for _ in range(100):
        if len(two.second.data()) == 28000:
            break
        await asyncio.sleep(0.01)
    assert (two.second.data(), two.first.data()) == (b"CONNECT" * 4000, b"CONNECTACK")
    assert two.first.security.partner_until == two.second.security.until > time.time() + 29 * 86400
    two.first.partners.close_link(1, "bye")
    assert await two.second.until(LinkDown) == [LinkDown("office", 1, "closed by the partner")]
    assert await two.first.until(LinkDown) == [LinkDown("office", 1, "bye")]
    await two.stop()
    assert not two.first.notes[1:]


async def test_last_words_arrive_although_the_link_is_closed_at_once(pair: tuple[Tls, Tls]) -> None:
    two = Two(*pair)
    two.first.partners.connect("office")
    await two.second.until(LinkUp)
    two.second.partners.send(1, b"DISCONNECT")
    two.second.partners.close_link(1, "refused")
    await two.first.until(LinkDown)
    assert two.first.data() == b"DISCONNECT"
    await two.stop()


@pytest.mark.root
async def test_safety_26_no_byte_of_the_protocol_crosses_in_the_clear(pair: tuple[Tls, Tls]) -> None:
    two = Two(*pair)
    listening = next(iter(two.second.partners._listeners))[1]
    with watched(listening) as seen:
        two.first.partners.connect("office")
        await two.second.until(LinkUp)
        await two.first.until(LinkUp)
        two.first.say(b"plaintext-of-the-protocol")
        await two.second.until(LinkBytes)
        for _ in range(100):
            if len(seen) > 1000:
                break
            await asyncio.sleep(0.01)
    assert seen[:2] == b"\x16\x03"
    assert len(seen) > 1000
    assert b"plaintext-of" not in seen
    assert b"dhcp1" not in seen, "TLS 1.3 hides the certificates as well"
    await two.stop()


def read(path: str) -> str:
    return Path(path).read_text()


async def refusal(first: Tls | None, second: Tls | None, at_second: str, *at_first: str) -> tuple[Two, str]:
    """The first dials: what the second calls it; nothing is a link there, and no byte is delivered anywhere."""
    two = Two(first, second)
    two.first.partners.connect("office")
    detail = await two.second.noted(at_second)
    if at_first:
        await two.first.noted(*at_first)
    await asyncio.sleep(0.05)
    await two.stop()
    assert not [item for item in two.second.inputs if isinstance(item, LinkUp)]
    assert not [item for item in (*two.first.inputs, *two.second.inputs) if isinstance(item, LinkBytes)]
    return two, detail


async def test_a_certificate_of_another_ca_is_refused_by_name(pair: tuple[Tls, Tls], stranger_ca: Ca, tmp_path: Path) -> None:
    false = stranger_ca.tls("dhcp1", "dhcp2", tmp_path)
    two, _ = await refusal(replace(false, ca_file=false.ca_file), pair[1], tls.REFUSED_US, tls.UNKNOWN_CA)
    assert two.first.security.refused.startswith(tls.UNKNOWN_CA)
    (failed,) = await two.first.until(ConnectFailed)
    assert isinstance(failed, ConnectFailed)
    assert failed.answered, "somebody is there: no sign that the partner is down (safety.md 12)"


async def test_a_client_of_another_ca_is_refused_by_the_server(pair: tuple[Tls, Tls], stranger_ca: Ca, tmp_path: Path) -> None:
    """It knows our CA as well, so that it does not refuse first."""
    false = stranger_ca.tls("dhcp1", "dhcp2", tmp_path)
    both = tmp_path / "both.pem"
    both.write_text(stranger_ca.cert.read_text() + read(pair[0].ca_file))
    two, detail = await refusal(replace(false, ca_file=str(both)), pair[1], tls.UNKNOWN_CA, tls.REFUSED_US)
    assert detail
    assert two.second.security.refused.startswith(tls.UNKNOWN_CA)
    assert "unknown ca" in two.first.security.refused


async def test_an_expired_certificate_is_refused_by_name(pair: tuple[Tls, Tls], ca: Ca, tmp_path: Path) -> None:
    old = ca.tls("dhcp1", "dhcp2", tmp_path, days=-1)
    two, detail = await refusal(old, pair[1], tls.OUT_OF_DATE, tls.REFUSED_US)
    assert detail == "certificate has expired"
    assert two.first.security.until < time.time()
    assert "expired" in two.first.security.refused


async def test_a_certificate_of_the_right_ca_for_another_name_is_refused(pair: tuple[Tls, Tls], ca: Ca, tmp_path: Path) -> None:
    other = ca.tls("printer", "dhcp2", tmp_path)
    _, detail = await refusal(other, pair[1], tls.WRONG_NAME)
    assert detail == "expected dhcp1, it is for printer"


async def test_the_one_who_dials_checks_the_name_as_well(pair: tuple[Tls, Tls], ca: Ca, tmp_path: Path) -> None:
    two = Two(pair[0], ca.tls("printer", "dhcp1", tmp_path))
    two.first.partners.connect("office")
    assert await two.first.noted(tls.WRONG_NAME) == "expected dhcp2, it is for printer"
    await two.first.until(ConnectFailed)
    assert not [item for item in two.first.inputs if isinstance(item, LinkUp)]
    await two.stop()


async def test_a_plaintext_partner_that_dials_is_refused_by_name(pair: tuple[Tls, Tls]) -> None:
    """As a dhcpd primary: CONNECT at once."""
    two = Two(None, pair[1])
    two.first.partners.connect("office")
    await two.first.until(LinkUp)
    two.first.say(bytes.fromhex("006d050c6700000000000000"))
    assert await two.second.noted(tls.PLAINTEXT) == "it began with 00 6d 05 0c, which is no TLS"
    await two.first.until(LinkDown)
    assert not [item for item in two.second.inputs if isinstance(item, LinkUp | LinkBytes | ConnectFailed)]
    await two.stop()


async def test_a_plaintext_partner_that_is_dialled_is_refused_by_name(pair: tuple[Tls, Tls]) -> None:
    """It answers a ClientHello with plaintext, as a dhcpd primary does; there is no second attempt without TLS."""
    two = Two(pair[0], None)
    two.first.partners.connect("office")
    await two.second.until(LinkUp)
    two.second.say(bytes.fromhex("006d050c6700000000000000"))
    await two.first.noted(tls.PLAINTEXT)
    await two.first.until(ConnectFailed)
    assert two.second.data()[:2] == b"\x16\x03", "a ClientHello, and nothing else"
    assert len([item for item in two.second.inputs if isinstance(item, LinkUp)]) == 1
    await two.stop()


async def test_a_partner_that_stays_silent_or_hangs_up_in_the_handshake(
    pair: tuple[Tls, Tls], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partner_tls, "HANDSHAKE_S", 0.2)
    two = Two(pair[0], None)
    two.first.partners.connect("office")
    assert (await two.first.noted(tls.FAILED)).startswith("no end of the handshake")
    two.first.notes.clear()
    await two.first.until(ConnectFailed)
    two.first.partners.connect("office")
    await two.second.until(LinkUp, 2)
    two.second.partners.drop("office", "hang up")
    assert "closed the connection" in await two.first.noted(tls.FAILED)
    assert len(await two.first.until(ConnectFailed, 2)) == 2
    await two.stop()


async def test_a_client_without_certificate_or_with_tls_1_2_is_refused_by_name(pair: tuple[Tls, Tls]) -> None:
    two = Two(*pair)
    for change, note in ((None, tls.NO_CERTIFICATE), (ssl.TLSVersion.TLSv1_2, tls.TOO_OLD)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(pair[0].ca_file)
        context.check_hostname = False
        if change is not None:
            context.maximum_version = change
        try:
            reader, writer = await asyncio.open_connection(
                PARTNER, next(iter(two.second.partners._listeners))[1], ssl=context, local_addr=(ME, 0)
            )
            await reader.read()
            writer.close()
        except (ssl.SSLError, ConnectionError):
            pass
        await two.second.noted(note)
    assert not [item for item in two.second.inputs if isinstance(item, LinkUp)]
    await two.stop()


async def test_safety_05_drop_ends_a_handshake_under_way(pair: tuple[Tls, Tls]) -> None:
    two = Two(pair[0], None)
    two.first.partners.connect("office")
    await two.second.until(LinkUp)
    await asyncio.sleep(0.05)
    assert two.first.partners.door.greeting
    assert two.first.partners.drop("office", "beat-gap") == []
    assert [item for item in two.first.inputs if isinstance(item, ConnectFailed)] == [ConnectFailed("office", "beat-gap")]
    assert not two.first.partners.door.greeting
    await two.second.until(LinkDown)
    assert len([item for item in two.first.inputs if isinstance(item, ConnectFailed)]) == 1
    await two.stop()


async def test_handshakes_under_way_count_among_the_links_of_a_relationship(pair: tuple[Tls, Tls]) -> None:
    two = Two(None, pair[1])
    opened = [
        await asyncio.open_connection(PARTNER, next(iter(two.second.partners._listeners))[1], local_addr=(ME, 0)) for _ in range(5)
    ]
    assert await opened[4][0].read() == b""
    await two.second.noted("partner-links-full")
    assert len(two.second.partners.door.greeting) == 4
    for _, writer in opened:
        writer.close()
    await two.stop()


# --- files ------------------------------------------------------------------------------------------------------------


def refused(files: Tls) -> tuple[str, str]:
    with pytest.raises(TlsFileError) as error:
        read_credentials(files)
    return error.value.key, str(error.value)


def test_files_that_cannot_be_used_are_told_apart(ca: Ca, stranger_ca: Ca, tmp_path: Path) -> None:
    files = ca.tls("dhcp1", "dhcp2", tmp_path)
    assert refused(replace(files, cert_file=str(tmp_path / "none.pem"))) == (
        "cert-file",
        f"{tmp_path}/none.pem cannot be read: No such file or directory; let failoverd's user read it",
    )
    other = stranger_ca.tls("dhcp1", "dhcp2", tmp_path / "other")
    key, text = refused(replace(files, key_file=other.key_file))
    assert (key, "do not belong together" in text) == ("key-file", True)
    key, text = refused(replace(files, ca_file=str(stranger_ca.cert)))
    assert (key, "not signed by the CA" in text) == ("cert-file", True)
    key, text = refused(replace(files, own_name="dhcp9"))
    assert (key, "is for dhcp1, and the partner expects dhcp9" in text) == ("cert-file", True)
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate\n")
    assert refused(replace(files, ca_file=str(junk)))[0] == "ca-file"
    junk.write_text("")
    assert refused(replace(files, ca_file=str(junk))) == ("ca-file", f"{junk} is empty; write a PEM file")
    os.chmod(files.key_file, 0o644)
    key, text = refused(files)
    assert (key, text) == (
        "key-file",
        f"everybody on this machine can read or write {files.key_file}; chmod 640, owner root, group failoverd",
    )


def test_new_files_are_read_when_they_change_and_bad_ones_leave_the_old_in_use(ca: Ca, tmp_path: Path) -> None:
    identity = Identity(ca.tls("dhcp1", "dhcp2", tmp_path))
    first = identity.current
    assert not identity.look()
    ca.sign("dhcp1", tmp_path, days=90)
    assert identity.look()
    assert identity.current.until > first.until + 50 * 86400
    second = identity.current
    Path(identity.tls.cert_file).write_text("half a file")
    assert identity.look()
    assert identity.current is second
    assert identity.problem.startswith("key-file: ")
    assert not identity.look()
    ca.sign("dhcp1", tmp_path, days=10)
    assert identity.look()
    assert (identity.problem, identity.current.until < first.until) == ("", True)
    os.unlink(identity.tls.key_file)
    assert identity.look()
    assert "cannot be read" in identity.problem


async def test_a_renewed_certificate_is_used_by_the_next_link_and_told(pair: tuple[Tls, Tls], ca: Ca, tmp_path: Path) -> None:
    own = ca.tls("dhcp1", "dhcp2", tmp_path)
    two = Two(own, pair[1])
    ca.sign("dhcp1", tmp_path, days=200)
    two.first.partners.door.look()
    assert (tls.FILES_READ, "") in two.first.notes
    two.first.partners.connect("office")
    await two.second.until(LinkUp)
    assert two.second.security.partner_until == two.first.security.until > time.time() + 190 * 86400
    os.truncate(own.key_file, 0)
    two.first.partners.door.look()
    assert two.first.notes[-1] == (tls.FILES, f"key-file: {own.key_file} is empty; write a PEM file")
    await two.stop()
