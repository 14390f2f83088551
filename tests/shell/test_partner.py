"""Failover links on loopback: who is let in, what is delivered, what is dropped when."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from ipaddress import IPv4Address

import pytest

from failoverd.failover.terms import Terms
from failoverd.ports import ConnectFailed, Input, LinkBytes, LinkDown, LinkUp
from failoverd.shell import partner as partner_module
from failoverd.shell import partner_link
from failoverd.shell.partner import Partners

ME, PARTNER, STRANGER = "127.21.0.1", "127.21.0.2", "127.21.0.3"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((ME, 0))
        return int(probe.getsockname()[1])


def terms(name: str = "office", port: int = 0, partner_port: int = 0) -> Terms:
    return Terms(
        name=name,
        primary=True,
        local_address=int(IPv4Address(ME)),
        local_port=port,
        partner_address=int(IPv4Address(PARTNER)),
        partner_port=partner_port,
        mclt_s=60,
        hba=bytes(32),
        load_balance_max_s=3,
        max_response_delay_s=30,
        max_unacked=10,
        max_misbalance=15,
        max_ownership=10,
        min_balance_s=60,
        max_balance_s=3600,
        auto_partner_down_s=0,
        lone_boot_serve=False,
        partner_is_dhcpd=False,
        partner_max_unacked=10,
        pools=(),
    )


class Side:
    """Partners under test, and what they delivered and noted."""

    def __init__(self, name: str = "office") -> None:
        self.port, self.partner_port = free_port(), free_port()
        self.inputs: list[Input] = []
        self.notes: list[str] = []
        self.partners = Partners([terms(name, self.port, self.partner_port)], self.inputs.append, self._note)

    def _note(self, name: str, subject: str, detail: str) -> None:
        self.notes.append(name)

    async def until(self, kind: type, count: int = 1) -> list[Input]:
        for _ in range(300):
            found = [item for item in self.inputs if isinstance(item, kind)]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.01)
        raise AssertionError(f"no {kind.__name__} in {self.inputs}, notes {self.notes}")

    def data(self, link: int) -> bytes:
        return b"".join(item.data for item in self.inputs if isinstance(item, LinkBytes) and item.link == link)


@pytest.fixture
async def side() -> AsyncIterator[Side]:
    made = Side()
    made.partners.open(asyncio.get_running_loop())
    yield made
    await made.partners.stop()


async def dial(side: Side, source: str = PARTNER) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(ME, side.port, local_addr=(source, 0))


async def test_a_link_that_the_partner_opens(side: Side) -> None:
    reader, writer = await dial(side)
    (up,) = await side.until(LinkUp)
    assert up == LinkUp("office", 1, outgoing=False)
    writer.write(b"CONNECT")
    await side.until(LinkBytes)
    side.partners.send(1, b"CONNECT")
    side.partners.send(1, b"ACK")
    side.partners.flush()
    assert await reader.readexactly(10) == b"CONNECTACK"
    writer.close()
    assert await side.until(LinkDown) == [LinkDown("office", 1, "closed by the partner")]


async def test_a_link_that_we_open_comes_from_our_address(side: Side) -> None:
    seen: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    server = await asyncio.start_server(lambda _, w: seen.put_nowait(w), PARTNER, side.partner_port)
    side.partners.connect("office")
    assert await side.until(LinkUp) == [LinkUp("office", 1, outgoing=True)]
    writer = await seen.get()
    assert writer.get_extra_info("peername")[0] == ME
    link = side.partners._links[1]
    assert link.transport is not None
    assert link.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    writer.close()
    server.close()
    await side.until(LinkDown)


async def test_a_refused_connection_is_told(side: Side) -> None:
    side.partners.connect("office")
    (failed,) = await side.until(ConnectFailed)
    assert isinstance(failed, ConnectFailed)
    assert "refused" in failed.reason.lower()


async def test_a_partner_that_does_not_answer_is_given_2_s(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partner_module, "CONNECT_S", 0.1)

    async def never(*_args: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", never)
    side.partners.connect("office")
    (failed,) = await side.until(ConnectFailed)
    assert isinstance(failed, ConnectFailed)
    assert failed.reason.startswith("no answer within")


async def test_safety_26_a_stranger_is_closed_before_a_byte_is_parsed(side: Side) -> None:
    reader, writer = await dial(side, STRANGER)
    writer.write(b"CONNECT")
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    assert side.inputs == []
    assert partner_module.STRANGER in side.notes
    writer.close()


async def test_the_fifth_link_of_a_relationship_is_closed(side: Side) -> None:
    opened = [await dial(side) for _ in range(5)]
    await side.until(LinkUp, 4)
    assert await opened[4][0].read() == b""
    assert len(await side.until(LinkUp, 4)) == 4
    assert partner_module.CROWDED in side.notes
    for _, writer in opened:
        writer.close()


async def test_close_link_flushes_our_last_words_although_the_partner_goes_on_talking(side: Side) -> None:
    reader, writer = await dial(side)
    await side.until(LinkUp)
    writer.write(b"x" * 100_000)
    side.partners.send(1, b"DISCONNECT")
    side.partners.close_link(1, "protocol error")
    side.partners.send(1, b"too late")
    assert await reader.read() == b"DISCONNECT"
    before = len(side.data(1))
    writer.write(b"more")
    writer.close()
    assert await side.until(LinkDown) == [LinkDown("office", 1, "protocol error")]
    assert len(side.data(1)) == before
    assert partner_module.LATE_SEND in side.notes


async def test_close_link_has_a_time_limit(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partner_link, "CLOSE_S", 0.1)
    _, writer = await dial(side)
    await side.until(LinkUp)
    side.partners.close_link(1, "bye")
    await side.until(LinkDown)
    writer.close()


async def test_safety_05_drop_tells_nothing_more_of_a_link_and_empties_the_backlog(side: Side) -> None:
    reader, writer = await dial(side)
    await side.until(LinkUp)
    waiting = socket.socket()
    waiting.bind((PARTNER, 0))
    waiting.connect((ME, side.port))  # in the kernel's backlog: the event loop has not run since
    waiting.send(b"CONNECT")
    writer.write(b"stale")
    assert side.partners.drop("office", "beat-gap") == [1]
    side.partners.send(1, b"nobody hears this")
    side.partners.flush()
    await asyncio.sleep(0.1)
    assert [type(item) for item in side.inputs] == [LinkUp]
    with pytest.raises(ConnectionResetError):
        await reader.read()
    waiting.settimeout(1)
    with pytest.raises(ConnectionResetError):
        waiting.recv(10)
    waiting.close()
    writer.close()


async def test_drop_ends_an_attempt_to_connect(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_args: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", never)
    side.partners.connect("office")
    await asyncio.sleep(0.01)
    assert side.partners.drop("office", "beat-gap: x") == []
    await asyncio.sleep(0.01)
    assert side.inputs == [ConnectFailed("office", "beat-gap: x")]


async def test_safety_04_nothing_is_accepted_or_made_while_the_disk_hangs(side: Side) -> None:
    side.partners.refuse("office", True)
    side.partners.connect("office")
    reader, writer = await dial(side)
    assert await reader.read() == b""
    assert side.inputs == []
    assert partner_module.REFUSED in side.notes
    side.partners.refuse("office", False)
    await side.until(ConnectFailed)  # the one that was held back is tried now
    _, second = await dial(side)
    await side.until(LinkUp)
    writer.close()
    second.close()


async def test_partner_bytes_are_held_back_and_never_dropped(side: Side) -> None:
    _, writer = await dial(side)
    await side.until(LinkUp)
    side.partners.pause()
    writer.write(bytes(range(256)) * 40_000)
    await asyncio.sleep(0.1)
    held = len(side.data(1))
    assert held < 256 * 40_000
    await asyncio.sleep(0.05)
    assert len(side.data(1)) == held
    side.partners.resume()
    await writer.drain()
    for _ in range(200):
        await asyncio.sleep(0.01)
        if len(side.data(1)) == 256 * 40_000:
            break
    assert side.data(1) == bytes(range(256)) * 40_000
    writer.close()


async def test_a_partner_that_does_not_read_is_noted_and_at_last_dropped(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partner_module, "MAX_UNSENT", 4 << 20)
    _, writer = await dial(side)
    await side.until(LinkUp)
    for _ in range(40):
        side.partners.send(1, bytes(1 << 19))
        side.partners.flush()
    (down,) = await side.until(LinkDown)
    assert isinstance(down, LinkDown)
    assert "does not read" in down.reason
    assert partner_link.SLOW in side.notes
    writer.close()


async def test_an_address_that_is_taken_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partner_module, "REBIND_S", 0.05)
    side = Side()
    taken = socket.socket()
    taken.bind((ME, side.port))
    taken.listen()
    side.partners.open(asyncio.get_running_loop())
    await asyncio.sleep(0.12)
    assert side.notes.count(partner_module.BIND) >= 2
    taken.close()
    await asyncio.sleep(0.1)
    assert side.notes[-1] == partner_module.LISTENING
    _, writer = await dial(side)
    await side.until(LinkUp)
    writer.close()
    await side.partners.stop()
