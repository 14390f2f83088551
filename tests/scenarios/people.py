"""The clients of a scenario: each sends one message when the script says so, and remembers what it was given."""

from __future__ import annotations

from failoverd.dhcp.message import BOOTREQUEST, BROADCAST, ETHERNET, Code, MessageType, Packet, decode, encode
from tests.scenarios.puppet import mac

EVERYBODY = 0xFFFFFFFF


class Client:
    """One client. `offers`: (server, address) of the current exchange, in the order of their arrival."""

    def __init__(self, number: int) -> None:
        """New on the link."""
        self.number = number
        self.hw = mac(number)
        self.name = f"host{number}"
        self.address = 0
        self.server = 0
        self.xid = number << 16
        self.offers: list[tuple[int, int]] = []
        self.heard: list[Packet] = []

    def hear(self, data: bytes) -> None:
        """A reply arrived."""
        packet = decode(data)
        if packet.xid != self.xid:
            return
        self.heard.append(packet)
        server = packet.address(Code.SERVER_ID)
        if packet.message_type == MessageType.OFFER:
            self.offers.append((server, packet.yiaddr))
        elif packet.message_type == MessageType.ACK:
            self.address, self.server = packet.yiaddr, server
        elif packet.message_type == MessageType.NAK:
            self.address = 0

    def discover(self, secs: int, wanted: int = 0) -> bytes:
        """DHCPDISCOVER. `wanted`: option 50."""
        self.xid += 1
        self.offers = []
        return self._packet(MessageType.DISCOVER, secs, options={Code.REQUESTED_ADDRESS: _octets(wanted)} if wanted else {})

    def select(self, secs: int) -> bytes | None:
        """DHCPREQUEST for the first offer; None without one."""
        if not self.offers:
            return None
        server, address = self.offers[0]
        options = {Code.REQUESTED_ADDRESS: _octets(address), Code.SERVER_ID: _octets(server)}
        return self._packet(MessageType.REQUEST, secs, options=options)

    def extend(self, secs: int = 0) -> bytes:
        """DHCPREQUEST of RENEWING and REBINDING."""
        self.xid += 1
        return self._packet(MessageType.REQUEST, secs, ciaddr=self.address)

    def reboot(self) -> bytes:
        """DHCPREQUEST of INIT-REBOOT."""
        self.xid += 1
        return self._packet(MessageType.REQUEST, 0, options={Code.REQUESTED_ADDRESS: _octets(self.address)})

    def release(self) -> bytes:
        """DHCPRELEASE."""
        self.xid += 1
        return self._packet(MessageType.RELEASE, 0, ciaddr=self.address, options={Code.SERVER_ID: _octets(self.server)})

    def decline(self) -> bytes:
        """DHCPDECLINE."""
        self.xid += 1
        options = {Code.REQUESTED_ADDRESS: _octets(self.address), Code.SERVER_ID: _octets(self.server)}
        return self._packet(MessageType.DECLINE, 0, options=options)

    def _packet(self, kind: MessageType, secs: int, *, ciaddr: int = 0, options: dict[Code, bytes] | None = None) -> bytes:
        packet = Packet(BOOTREQUEST, ETHERNET, 6, 0, self.xid, secs, BROADCAST, ciaddr, 0, 0, 0, self.hw)
        packet.options = {int(Code.MESSAGE_TYPE): bytes((kind,))}
        packet.options.update({int(code): value for code, value in (options or {}).items()})
        if kind in (MessageType.DISCOVER, MessageType.REQUEST):
            packet.options[Code.HOST_NAME] = self.name.encode()
        return encode(packet)


def _octets(address: int) -> bytes:
    return address.to_bytes(4, "big")
