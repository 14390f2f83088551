"""What a hostile client throws at a server: requests for what it was never given, other clients' addresses released and declined, a new
hardware address with each packet, and packets with octets turned. Never another client's identity: nobody could tell those two apart."""

from __future__ import annotations

from random import Random

from failoverd.dhcp.message import BOOTREQUEST, BROADCAST, ETHERNET, Code, MessageType, Packet, encode

PREFIX = 3  # second octet of its hardware addresses; the clients' own begin with 2, 0
CHADDR = slice(28, 44)
KINDS = (
    MessageType.DISCOVER,  # few: each reserves an address for two minutes (safety.md 6), and the runs want clients that are served
    *(MessageType.REQUEST, MessageType.RELEASE, MessageType.DECLINE) * 4,
    MessageType.INFORM,
)


def noise(rng: Random, number: int, giaddr: int, server: int) -> bytes:
    """One packet of client `number`, through the relay `giaddr` (0: none)."""
    mac = bytes((2, PREFIX, *rng.randbytes(2), *number.to_bytes(2, "big")))
    net = (giaddr or 0x0A0A0000) & 0xFFFFFF00
    address = net + rng.randrange(256)
    kind = rng.choice(KINDS)
    leaves = kind in (MessageType.RELEASE, MessageType.INFORM)
    packet = Packet(
        op=BOOTREQUEST,
        htype=ETHERNET,
        hlen=6,
        hops=1 if giaddr else 0,
        xid=rng.getrandbits(32),
        secs=rng.choice((0, 9, 65535)),
        flags=BROADCAST,
        ciaddr=address if leaves or rng.random() < 0.3 else 0,
        yiaddr=0,
        siaddr=0,
        giaddr=giaddr,
        chaddr=mac,
    )
    packet.options = {int(Code.MESSAGE_TYPE): bytes((kind,))}
    if not leaves:
        packet.options[Code.REQUESTED_ADDRESS] = address.to_bytes(4, "big")
    if rng.random() < 0.7:
        packet.options[Code.SERVER_ID] = server.to_bytes(4, "big")
    data = bytearray(encode(packet))
    if rng.random() < 0.3:
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(len(data))
            if not CHADDR.start <= at < CHADDR.stop:  # who it is stays: answers find nobody else
                data[at] = rng.randrange(256)
        if rng.random() < 0.2:
            del data[rng.randrange(CHADDR.stop, len(data)) :]
    return bytes(data)
