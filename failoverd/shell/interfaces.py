"""The network interfaces of this machine, their hardware and IPv4 addresses, and every change of them, by rtnetlink(7).

pyroute2 parses the messages; the socket is ours, so that it is drained by the same event loop as everything else.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from pyroute2.netlink.rtnl.marshal import MarshalRtnl  # type: ignore[import-untyped]

_RTMGRP_LINK, _RTMGRP_IPV4_IFADDR = 0x1, 0x10
_NEWLINK, _DELLINK, _GETLINK, _NEWADDR, _DELADDR, _GETADDR, _DONE, _ERROR = 16, 17, 18, 20, 21, 22, 3, 2
_REQUEST_DUMP = 0x301
_IFA_SECONDARY = 0x01
_IFF_UP = 0x1
_ROOM = 1 << 18
_RCVBUF = 1 << 20
START_S = 5.0  # the first listing of all interfaces takes no longer than this


@dataclass(slots=True, frozen=True)
class Interface:
    """One interface as it is now. `addresses`: (address, prefix length), primary first."""

    name: str
    index: int
    mac: bytes
    up: bool
    addresses: tuple[tuple[int, int], ...] = ()


@dataclass(slots=True)
class _Link:
    name: str
    mac: bytes
    up: bool
    addresses: dict[tuple[int, int], bool]  # (address, prefix length) -> secondary, in the order of arrival


class Interfaces:
    """The table of interfaces. `changed(name -> Interface)` is called after the first listing and after every change."""

    def __init__(self, changed: Callable[[Mapping[str, Interface]], None]) -> None:
        self._changed = changed
        self._links: dict[int, _Link] = {}
        self._marshal = MarshalRtnl()
        self._socket: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._last: dict[str, Interface] = {}

    def open(self, loop: asyncio.AbstractEventLoop) -> None:
        """List everything (blocking, at most START_S), call `changed`, then follow the kernel's messages. OSError: no netlink."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RCVBUF)
        self._socket.bind((0, _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR))
        self._list(self._socket)
        self._loop = loop
        loop.add_reader(self._socket.fileno(), self._readable)
        self._publish()

    def close(self) -> None:
        """Stop following."""
        if self._socket is not None and self._loop is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    def table(self) -> dict[str, Interface]:
        """name -> Interface, now."""
        out: dict[str, Interface] = {}
        for index, link in sorted(self._links.items()):
            ordered = sorted(link.addresses, key=lambda key: link.addresses[key])  # stable: primaries first, else as listed
            out[link.name] = Interface(link.name, index, link.mac, link.up, tuple(ordered))
        return out

    def _list(self, netlink: socket.socket) -> None:
        self._links.clear()
        netlink.settimeout(START_S)
        for number, kind in ((1, _GETLINK), (2, _GETADDR)):
            netlink.send(struct.pack("=IHHIIB3x", 20, kind, _REQUEST_DUMP, number, 0, socket.AF_INET if kind == _GETADDR else 0))
            while not self._feed(netlink.recv(_ROOM)):
                pass
        netlink.setblocking(False)

    def _readable(self) -> None:
        netlink = self._socket
        if netlink is None:
            return
        try:
            while True:
                self._feed(netlink.recv(_ROOM))
        except BlockingIOError:
            self._publish()
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            self._list(netlink)  # messages were lost: the table is read anew
            self._publish()

    def _publish(self) -> None:
        table = self.table()
        if table != self._last:
            self._last = table
            self._changed(table)

    def _feed(self, data: bytes) -> bool:
        """Take the messages of one read; True at the end of a listing."""
        done = False
        for message in self._marshal.parse(data):
            kind = message["header"]["type"]
            if kind in (_DONE, _ERROR):
                done = True
            elif kind == _NEWLINK and not message["family"]:
                known = self._links.get(message["index"])
                mac = bytes.fromhex((message.get_attr("IFLA_ADDRESS") or "").replace(":", ""))
                name, up = message.get_attr("IFLA_IFNAME"), bool(message["flags"] & _IFF_UP)
                self._links[message["index"]] = _Link(name, mac, up, known.addresses if known else {})
            elif kind == _DELLINK and not message["family"]:
                self._links.pop(message["index"], None)
            elif kind in (_NEWADDR, _DELADDR) and message["family"] == socket.AF_INET:
                self._address(message["index"], message, gone=kind == _DELADDR)
        return done

    def _address(self, index: int, message: Mapping[str, object], *, gone: bool) -> None:
        link = self._links.get(index)
        attrs = dict(_pairs(message["attrs"]))
        text = attrs.get("IFA_LOCAL") or attrs.get("IFA_ADDRESS")
        if link is None or not isinstance(text, str):
            return
        length, flags = message["prefixlen"], attrs.get("IFA_FLAGS", message["flags"])
        if not isinstance(length, int) or not isinstance(flags, int):
            return
        key = (int(IPv4Address(text)), length)
        if gone:
            link.addresses.pop(key, None)
        else:
            link.addresses[key] = bool(flags & _IFA_SECONDARY)


def _pairs(attrs: object) -> list[tuple[str, object]]:
    """The attribute list of a pyroute2 message as pairs."""
    return [(str(item[0]), item[1]) for item in attrs] if isinstance(attrs, list | tuple) else []
