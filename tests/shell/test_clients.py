"""The DHCP sockets on real interfaces: what is heard, from where it is answered, interfaces that come and go."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from ipaddress import IPv4Address

import pytest

from failoverd.dhcp import frame
from failoverd.ports import ClientDatagram, ClientSend, Input, InterfaceAddresses
from failoverd.shell import clients as clients_module
from failoverd.shell import clock
from failoverd.shell.beat_notes import DISCARDED
from failoverd.shell.clients import BROADCAST, Clients
from failoverd.shell.interfaces import Interfaces
from tests.shell.netns import Net, ip

pytestmark = pytest.mark.root
ME0, ME0_SECOND, ME1, RELAY = (int(IPv4Address(text)) for text in ("10.77.0.1", "10.77.0.2", "10.78.0.1", "10.77.0.9"))


@pytest.fixture
def net() -> Iterator[Net]:
    made = Net()
    try:
        made.make()
        yield made
    finally:
        made.remove()


class Heard:
    """Clients under test in the server's namespace."""

    def __init__(self, net: Net, names: tuple[str, ...] = ("eth0", "eth1")) -> None:
        self.net = net
        self.datagrams: list[ClientDatagram] = []
        self.batches: list[int] = []
        self.inputs: list[Input] = []
        self.notes: list[tuple[str, str, str]] = []
        self.clients = Clients(names, self._hear, self.inputs.append, lambda *note: self.notes.append(note))
        self.interfaces = Interfaces(self._changed)

    def _changed(self, table: object) -> None:
        with self.net.inside(self.net.srv):
            self.clients.changed(table)  # type: ignore[arg-type]

    def open(self) -> None:
        with self.net.inside(self.net.srv):
            self.interfaces.open(asyncio.get_running_loop())
            self.clients.open(asyncio.get_running_loop(), self.interfaces.table())

    def _hear(self, datagrams: list[ClientDatagram]) -> None:
        self.batches.append(len(datagrams))
        self.datagrams += datagrams

    async def until(self, count: int) -> list[ClientDatagram]:
        for _ in range(300):
            if len(self.datagrams) >= count:
                return self.datagrams
            await asyncio.sleep(0.01)
        raise AssertionError(f"{len(self.datagrams)} datagrams, {self.notes}")

    async def noted(self, name: str) -> tuple[str, str, str]:
        for _ in range(300):
            for note in self.notes:
                if note[0] == name:
                    return note
            await asyncio.sleep(0.01)
        raise AssertionError(f"no {name} in {self.notes}")


@pytest.fixture
async def heard(net: Net) -> AsyncIterator[Heard]:
    made = Heard(net)
    made.open()
    yield made
    made.clients.close()
    made.interfaces.close()


def udp(net: Net, port: int, device: str = "", address: str = "0.0.0.0") -> socket.socket:
    with net.inside(net.cli):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        if device:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        made.bind((address, port))
        made.settimeout(2)
        return made


def wire(net: Net, device: str) -> socket.socket:
    with net.inside(net.cli):
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        made.bind((device, 0x0800))
        made.settimeout(2)
        return made


async def test_both_interfaces_are_told_and_heard(net: Net, heard: Heard) -> None:
    assert heard.inputs == [
        InterfaceAddresses("eth0", ((ME0, 24), (ME0_SECOND, 24))),
        InterfaceAddresses("eth1", ((ME1, 24),)),
    ]
    for number in (0, 1):
        with udp(net, 68, f"eth{number}") as client:
            client.sendto(b"DISCOVER", ("255.255.255.255", 67))
    first, second = sorted(await heard.until(2), key=lambda each: each.interface)
    assert (first.interface, first.local_ip, first.dst_ip, first.src_port, first.data) == ("eth0", ME0, BROADCAST, 68, b"DISCOVER")
    assert (second.interface, second.local_ip, second.dst_ip) == ("eth1", ME1, BROADCAST)
    assert 0 <= clock.read().mono - first.mono < 5


async def test_a_client_without_an_address_is_heard(net: Net, heard: Heard) -> None:
    with wire(net, "eth0") as raw:
        mac = b"\x02\0\0\0\0\x07"
        raw.send(frame.build(frame.Datagram(mac, b"\xff" * 6, 0, BROADCAST, 68, 67, b"DISCOVER")))
    (datagram,) = await heard.until(1)
    assert (datagram.src_ip, datagram.dst_ip, datagram.local_ip, datagram.data) == (0, BROADCAST, ME0, b"DISCOVER")


@pytest.mark.parametrize(("to", "local"), [("10.77.0.1", ME0), ("10.77.0.2", ME0_SECOND), ("10.78.0.1", ME1)])
async def test_unicast_to_any_address_of_ours_is_heard(net: Net, heard: Heard, to: str, local: int) -> None:
    with udp(net, 67) as relay:
        relay.sendto(b"REQUEST", (to, 67))
        (datagram,) = await heard.until(1)
        assert (datagram.dst_ip, datagram.local_ip, datagram.src_port) == (local, local, 67)
        heard.clients.send(ClientSend(datagram.interface, datagram.local_ip, datagram.src_ip, 67, b"ACK"))
        data, source = await asyncio.to_thread(relay.recvfrom, 1500)
        assert (data, source) == (b"ACK", (to, 67))


async def test_a_broadcast_leaves_on_its_interface_only(net: Net, heard: Heard) -> None:
    with udp(net, 68, "eth0") as here, udp(net, 68, "eth1") as there:
        heard.clients.send(ClientSend("eth1", ME1, BROADCAST, 68, b"OFFER"))
        data, source = await asyncio.to_thread(there.recvfrom, 1500)
        assert (data, source) == (b"OFFER", ("10.78.0.1", 67))
        here.settimeout(0.1)
        with pytest.raises(TimeoutError):
            await asyncio.to_thread(here.recvfrom, 1500)


async def test_a_client_without_an_address_gets_a_frame(net: Net, heard: Heard) -> None:
    with wire(net, "eth0") as raw:
        offered = int(IPv4Address("10.77.0.100"))
        heard.clients.send(ClientSend("eth0", ME0, offered, 68, b"OFFER", hw=b"\x02\0\0\0\0\x07"))
        while True:
            datagram = frame.parse(await asyncio.to_thread(raw.recv, 1600))
            if datagram is not None and datagram.dst_port == 68:
                break
    assert datagram.dst_hw == b"\x02\0\0\0\0\x07"
    assert datagram.src_hw == heard.interfaces.table()["eth0"].mac
    assert (datagram.src_ip, datagram.src_port, datagram.dst_ip, datagram.payload) == (ME0, 67, offered, b"OFFER")


async def test_what_cannot_be_sent_is_noted(net: Net, heard: Heard) -> None:
    heard.clients.send(ClientSend("eth0", ME0, int(IPv4Address("192.0.2.1")), 67, b"ACK"))
    heard.clients.send(ClientSend("eth9", ME0, BROADCAST, 68, b"ACK"))
    heard.clients.send(ClientSend("eth0", ME0, ME1, 68, b"ACK", hw=b"\x01" * 8))
    told = [detail for name, _, detail in heard.notes if name == clients_module.SEND_FAILED]
    assert [text.split(": ")[1] for text in told] == ["Network is unreachable", "the interface is gone", "not an Ethernet"]


async def test_a_beat_is_bounded_and_loses_nothing(net: Net, heard: Heard) -> None:
    with udp(net, 68, "eth0") as client:
        for number in range(1000):
            client.sendto(b"%d" % number, ("255.255.255.255", 67))
    datagrams = await heard.until(1000)
    assert [each.data for each in datagrams] == [b"%d" % number for number in range(1000)]
    assert max(heard.batches) <= clients_module.MAX_DRAIN


async def test_pause_leaves_datagrams_in_the_kernel_and_discard_drops_them(net: Net, heard: Heard) -> None:
    with udp(net, 68, "eth0") as client:
        heard.clients.pause()
        client.sendto(b"one", ("255.255.255.255", 67))
        await asyncio.sleep(0.05)
        assert heard.datagrams == []
        heard.clients.resume()
        await heard.until(1)
        heard.clients.pause()
        client.sendto(b"two", ("255.255.255.255", 67))
        heard.clients.discard()
        heard.clients.resume()
        client.sendto(b"three", ("255.255.255.255", 67))
        await heard.until(2)
    assert [each.data for each in heard.datagrams] == [b"one", b"three"]
    assert (DISCARDED, "eth0", "1 datagrams") in heard.notes


async def test_the_arrival_is_the_kernels(net: Net, heard: Heard) -> None:
    """The kernel begins to stamp a little after the first socket asked for it (a work queue turns it on); until then the stamp is that of
    the read."""
    waited = 0.0
    with udp(net, 68, "eth0") as client:
        for number in range(1, 6):
            heard.clients.pause()
            client.sendto(b"late", ("255.255.255.255", 67))
            await asyncio.sleep(0.3)
            heard.clients.resume()
            waited = clock.read().mono - (await heard.until(number))[-1].mono
            if waited > 0.25:
                break
    assert 0.25 < waited < 2


async def test_a_jumbo_datagram_is_dropped_and_noted(net: Net, heard: Heard) -> None:
    with udp(net, 68, "eth0") as client:
        client.sendto(bytes(5000), ("255.255.255.255", 67))
        client.sendto(b"small", ("255.255.255.255", 67))
    (datagram,) = await heard.until(1)
    assert datagram.data == b"small"
    await heard.noted(clients_module.TRUNCATED)


async def test_what_the_kernel_drops_is_counted(net: Net, heard: Heard) -> None:
    door = heard.clients._doors["eth0"]
    door.udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    heard.clients.pause()
    with udp(net, 68, "eth0") as client:
        for _ in range(200):
            client.sendto(bytes(300), ("255.255.255.255", 67))
        heard.clients.resume()
        await heard.until(1)
        client.sendto(bytes(300), ("255.255.255.255", 67))
    _, name, detail = await heard.noted(clients_module.OVERFLOW)
    assert name == "eth0"
    assert int(detail.split()[0]) > 100


async def test_the_receive_buffer_is_large(heard: Heard) -> None:
    for door in heard.clients._doors.values():
        assert door.udp.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= clients_module.RECEIVE_BUFFER


async def test_an_interface_that_goes_and_comes_back(net: Net, heard: Heard) -> None:
    ip("-n", net.srv, "link", "del", "eth1")
    await heard.noted(clients_module.GONE)
    assert heard.inputs[-1] == InterfaceAddresses("eth1", ())
    with udp(net, 68, "eth0") as client:
        client.sendto(b"still here", ("255.255.255.255", 67))
    await heard.until(1)
    heard.notes.clear()
    net.link(1)
    await heard.noted(clients_module.UP)
    with udp(net, 68, "eth1") as client:
        client.sendto(b"back", ("255.255.255.255", 67))
    assert (await heard.until(2))[1].data == b"back"
    for _ in range(100):
        if heard.inputs[-1] == InterfaceAddresses("eth1", ((ME1, 24),)):
            break
        await asyncio.sleep(0.01)
    assert heard.inputs[-1] == InterfaceAddresses("eth1", ((ME1, 24),))


async def test_an_interface_that_is_missing_at_the_start_is_waited_for(net: Net) -> None:
    heard = Heard(net, ("eth0", "eth7"))
    heard.open()
    assert (clients_module.MISSING, "eth7", "") in heard.notes
    with net.inside(net.srv):
        ip("-n", net.srv, "link", "add", "eth7", "type", "veth", "peer", "name", "eth7", "netns", net.cli)
        ip("-n", net.srv, "addr", "add", "10.79.0.1/24", "dev", "eth7")
        for name in (net.srv, net.cli):
            ip("-n", name, "link", "set", "eth7", "up")
    for _ in range(300):
        if (clients_module.UP, "eth7") in [note[:2] for note in heard.notes]:
            break
        await asyncio.sleep(0.01)
    ip("-n", net.cli, "addr", "add", "10.79.0.9/24", "dev", "eth7")
    with udp(net, 68, "eth7") as client:
        client.sendto(b"hello", ("255.255.255.255", 67))
    (datagram,) = await heard.until(1)
    assert (datagram.interface, datagram.local_ip) == ("eth7", int(IPv4Address("10.79.0.1")))
    heard.clients.close()
    heard.interfaces.close()


async def test_addresses_that_change_are_told(net: Net, heard: Heard) -> None:
    ip("-n", net.srv, "addr", "del", "10.77.0.1/24", "dev", "eth0")
    ip("-n", net.srv, "addr", "add", "10.77.0.3/24", "dev", "eth0")
    want = int(IPv4Address("10.77.0.3"))
    for _ in range(300):
        last = heard.inputs[-1]
        if isinstance(last, InterfaceAddresses) and (want, 24) in last.addresses and (ME0, 24) not in last.addresses:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(heard.inputs)


async def test_what_no_configured_interface_hears_is_not_queued(net: Net) -> None:
    heard = Heard(net, ("eth0",))
    heard.open()
    with udp(net, 67) as relay:
        relay.sendto(b"by the other door", ("10.78.0.1", 67))
        relay.sendto(b"by ours", ("10.77.0.1", 67))
    (datagram,) = await heard.until(1)
    assert datagram.data == b"by ours"
    assert heard.clients._unicast is not None
    with pytest.raises(BlockingIOError):
        heard.clients._unicast.recv(100)
    heard.clients.close()
    heard.interfaces.close()
