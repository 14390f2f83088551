"""ICMP echo on the loopback."""

from __future__ import annotations

import struct

import pytest

from failoverd.shell.ping import answering, checksum, request


def test_the_checksum_of_a_request_is_right() -> None:
    packet = request(0x1234, 1)
    assert packet[:2] == b"\x08\x00"
    assert checksum(packet) == 0  # RFC 1071: over the whole, checksum included
    assert struct.unpack("!HH", packet[4:8]) == (0x1234, 1)


async def test_nobody_is_asked_for_nothing() -> None:
    assert await answering([]) == set()


@pytest.mark.root
async def test_who_answers() -> None:
    assert await answering(["127.0.0.1", "127.0.0.77", "255.255.255.255"], tries=1, wait_s=0.2) == {"127.0.0.1", "127.0.0.77"}
