"""The sockets that clients and relays are heard on and answered from.

One UDP socket for each interface, bound to it, drained by the event loop's reader (three times faster than a DatagramProtocol);
one packet socket for each interface, for clients that have no address yet; one UDP socket bound to no interface for unicast
answers, so that a relay is reached by the routing table and not only by the way its request came.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address

from failoverd.dhcp.frame import Datagram, build
from failoverd.notes import declare
from failoverd.ports import ClientDatagram, ClientSend, Input, InterfaceAddresses, Now
from failoverd.shell import clock
from failoverd.shell.beat_notes import DISCARDED
from failoverd.shell.interfaces import Interface

SERVER_PORT = 67  # RFC 2131 4.1
MAX_DRAIN = 128  # datagrams of one interface in one beat
MAX_DATAGRAM = 4096  # octets; RFC 2131 messages are 576 unless the client says more
RECEIVE_BUFFER = 8 << 20  # the stock 208 KiB holds some 200 requests: a stall of 50 ms at 4,000 a second loses clients
BROADCAST = 0xFFFFFFFF

_SO_RCVBUFFORCE, _SO_ATTACH_FILTER, _SO_TIMESTAMPNS, _SO_RXQ_OVFL = 33, 26, 35, 40
_IP_PKTINFO = 8
_PKTINFO = struct.Struct("=iII")  # index, then two addresses in network order, which "=" leaves alone
_TIMESPEC = struct.Struct("@ll")
_COUNT = struct.Struct("@I")
_ROOM = socket.CMSG_SPACE(_PKTINFO.size) + socket.CMSG_SPACE(_TIMESPEC.size) + socket.CMSG_SPACE(_COUNT.size)

MISSING = declare(
    "interface-missing",
    "warning",
    "A configured interface does not exist on this machine. The others are served; this one as soon as it appears.",
)
UP = declare("interface-up", "info", "A configured interface is there and is listened on.")
GONE = declare("interface-gone", "warning", "A configured interface has disappeared. It is served again as soon as it is back.")
UNUSABLE = declare(
    "interface-unusable",
    "error",
    "A configured interface exists but cannot be listened on. It is tried again at the next change of the interface.",
)
BUFFER = declare(
    "receive-buffer-small",
    "warning",
    "The kernel did not grant 8 MiB of receive buffer (CAP_NET_ADMIN is missing): bursts of clients will be lost under load.",
)
OVERFLOW = declare(
    "socket-overflow",
    "warning",
    "The kernel dropped datagrams of clients because this server was too slow to read them. The detail says how many.",
    limited=True,
)
TRUNCATED = declare("datagram-truncated", "warning", "A datagram larger than 4096 octets was dropped.", limited=True)
READ_FAILED = declare("client-read-failed", "warning", "Reading from an interface failed.", limited=True)
SEND_FAILED = declare(
    "client-send-failed",
    "warning",
    "The kernel refused to send an answer to a client or relay (no route, interface down, queue full). The client retries.",
    limited=True,
)


class _Door:
    """The sockets of one interface."""

    __slots__ = ("dropped", "interface", "packet", "primary", "udp")

    def __init__(self, interface: Interface, port: int) -> None:
        self.interface = interface
        self.primary = interface.addresses[0][0] if interface.addresses else 0
        self.dropped = 0
        self.udp = _udp_socket(port, interface.name)
        try:
            # Protocol 0: this socket only sends. The frames are complete, the kernel reads the type from them.
            self.packet = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
            self.packet.bind((interface.name, 0))
        except OSError:
            self.udp.close()
            raise

    def update(self, interface: Interface) -> None:
        self.interface = interface
        self.primary = interface.addresses[0][0] if interface.addresses else 0

    def close(self) -> None:
        self.udp.close()
        self.packet.close()


def _udp_socket(port: int, device: str = "") -> socket.socket:
    """A bound UDP socket: for one interface, to hear and to broadcast; or for none, only to send."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if device:
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            udp.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            udp.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
            udp.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        else:
            _hear_nothing(udp)
        udp.bind(("0.0.0.0", port))
    except OSError:
        udp.close()
        raise
    return udp


def _hear_nothing(udp: socket.socket) -> None:
    """A filter that keeps no octet of any datagram (socket(7) SO_ATTACH_FILTER): it is never queued."""
    keep_none = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0))
    program = struct.pack("@HP", 1, ctypes.addressof(keep_none))
    udp.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


class Clients:
    """All DHCP sockets. `hear` gets what one reading drained; `deliver` queues an input; `note(name, subject, detail)`."""

    def __init__(
        self,
        names: Sequence[str],
        hear: Callable[[list[ClientDatagram]], None],
        deliver: Callable[[Input], None],
        note: Callable[[str, str, str], None],
        *,
        read: Callable[[], Now] = clock.read,
        port: int = SERVER_PORT,
    ) -> None:
        self._names = tuple(names)
        self._hear, self._deliver, self._note, self._read = hear, deliver, note, read
        self._port = port
        self._doors: dict[str, _Door] = {}
        self._told: dict[str, tuple[tuple[int, int], ...]] = {}
        self._missing: set[str] = set()
        self._locals: frozenset[int] = frozenset()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unicast: socket.socket | None = None
        self._paused = False
        self._small_told = False

    def open(self, loop: asyncio.AbstractEventLoop, table: Mapping[str, Interface]) -> None:
        """Listen on every configured interface that is there. OSError: not permitted, or the port is another program's."""
        self._loop = loop
        self._unicast = _udp_socket(self._port)
        self._locals = frozenset(address for interface in table.values() for address, _ in interface.addresses)
        for name in self._names:
            if name in table:
                self._open(table[name])
        self.changed(table)

    def changed(self, table: Mapping[str, Interface]) -> None:
        """Follow the kernel's table of interfaces: open what appeared, close what went, tell the node the addresses."""
        if self._loop is None:
            return
        self._locals = frozenset(address for interface in table.values() for address, _ in interface.addresses)
        for name in self._names:
            interface = table.get(name)
            door = self._doors.get(name)
            if door is not None and (interface is None or interface.index != door.interface.index):
                self._close(name)
                door = None
            if interface is None:
                if name not in self._missing:
                    self._missing.add(name)
                    self._note(MISSING if name not in self._told else GONE, name, "")
            elif door is not None:
                door.update(interface)
            else:
                try:
                    self._open(interface)
                except OSError as error:
                    self._note(UNUSABLE, name, error.strerror or str(error))
                    continue
            self._tell(name, interface.addresses if interface is not None else ())

    def send(self, send: ClientSend) -> None:
        """Send one datagram; what the kernel refuses is noted."""
        door = self._doors.get(send.interface)
        try:
            if send.hw is not None:
                self._send_frame(door, send, send.hw)
            elif send.dst_ip == BROADCAST:
                if door is None:
                    raise OSError(errno.ENODEV, "the interface is gone")
                _send_udp(door.udp, send, door.interface.index)
            elif self._unicast is not None:
                _send_udp(self._unicast, send, 0)
        except OSError as error:
            self._note(SEND_FAILED, send.interface, f"to {IPv4Address(send.dst_ip)}: {error.strerror or error}")

    def discard(self) -> None:
        """Drop everything that waits in the kernel (safety.md 5)."""
        for name, door in self._doors.items():
            count = 0
            try:
                while count < 1_000_000:
                    door.udp.recv(1)
                    count += 1
            except BlockingIOError:
                pass
            except OSError as error:
                self._note(READ_FAILED, name, error.strerror or str(error))
            if count:
                self._note(DISCARDED, name, f"{count} datagrams")

    def pause(self) -> None:
        """Leave datagrams in the kernel's buffers."""
        self._paused = True
        for door in self._doors.values():
            self._mute(door)

    def resume(self) -> None:
        """Read again."""
        self._paused = False
        for door in self._doors.values():
            self._listen(door)

    def close(self) -> None:
        """Close all sockets."""
        for name in list(self._doors):
            self._close(name)
        if self._unicast is not None:
            self._unicast.close()
        self._loop = None

    # --- one interface ---

    def _open(self, interface: Interface) -> None:
        door = _Door(interface, self._port)
        try:
            door.udp.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except PermissionError:
            door.udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            if not self._small_told:
                self._small_told = True
                self._note(BUFFER, interface.name, "")
        self._doors[interface.name] = door
        self._missing.discard(interface.name)
        self._note(UP, interface.name, "" if interface.up else "the interface is down")
        if not self._paused:
            self._listen(door)

    def _close(self, name: str) -> None:
        door = self._doors.pop(name)
        self._mute(door)
        door.close()

    def _tell(self, name: str, addresses: tuple[tuple[int, int], ...]) -> None:
        if self._told.get(name, ()) != addresses:
            self._told[name] = addresses
            self._deliver(InterfaceAddresses(name, addresses))

    def _listen(self, door: _Door) -> None:
        if self._loop is not None:
            self._loop.add_reader(door.udp.fileno(), self._drain, door)

    def _mute(self, door: _Door) -> None:
        if self._loop is not None:
            self._loop.remove_reader(door.udp.fileno())

    def _drain(self, door: _Door) -> None:
        """Read until the socket is empty or the beat is full, then step. Level-triggered: what is left wakes us again."""
        now = self._read()
        behind = now.wall - now.mono  # the kernel stamps arrivals with the wall clock
        name, primary, local = door.interface.name, door.primary, self._locals
        heard: list[ClientDatagram] = []
        receive = door.udp.recvmsg
        try:
            for _ in range(MAX_DRAIN):
                data, ancillary, flags, (source, port) = receive(MAX_DATAGRAM, _ROOM)
                if flags & socket.MSG_TRUNC:
                    self._note(TRUNCATED, name, f"from {source}")
                    continue
                dst_ip, arrival = BROADCAST, now.mono
                for level, kind, value in ancillary:
                    if kind == _IP_PKTINFO and level == socket.IPPROTO_IP:
                        dst_ip = int.from_bytes(value[8:12], "big")
                    elif kind == _SO_TIMESTAMPNS and level == socket.SOL_SOCKET:
                        seconds, nanoseconds = _TIMESPEC.unpack(value)
                        arrival = min(seconds + nanoseconds * 1e-9 - behind, now.mono)
                    elif kind == _SO_RXQ_OVFL and level == socket.SOL_SOCKET:
                        self._lost(door, _COUNT.unpack(value)[0])
                local_ip = dst_ip if dst_ip in local else primary
                src_ip = int.from_bytes(socket.inet_aton(source), "big")
                heard.append(ClientDatagram(name, local_ip, src_ip, port, dst_ip, data, arrival))
        except BlockingIOError:
            pass
        except OSError as error:
            self._note(READ_FAILED, name, error.strerror or str(error))
        if heard:
            self._hear(heard)

    def _lost(self, door: _Door, dropped: int) -> None:
        if dropped != door.dropped:
            self._note(OVERFLOW, door.interface.name, f"{(dropped - door.dropped) & 0xFFFFFFFF} datagrams")
            door.dropped = dropped

    def _send_frame(self, door: _Door | None, send: ClientSend, hw: bytes) -> None:
        if door is None:
            raise OSError(errno.ENODEV, "the interface is gone")
        mac = door.interface.mac
        if len(hw) != 6 or len(mac) != 6:
            raise OSError(errno.EAFNOSUPPORT, "not an Ethernet")
        door.packet.send(build(Datagram(mac, hw, send.src_ip, send.dst_ip, self._port, send.dst_port, send.data)))


def _send_udp(udp: socket.socket, send: ClientSend, index: int) -> None:
    info = struct.pack("=i", index) + send.src_ip.to_bytes(4, "big") + bytes(4)
    to = (socket.inet_ntoa(send.dst_ip.to_bytes(4, "big")), send.dst_port)
    udp.sendmsg((send.data,), ((socket.IPPROTO_IP, _IP_PKTINFO, info),), 0, to)
