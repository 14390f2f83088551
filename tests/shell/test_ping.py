"""ICMP echo on the loopback."""

from __future__ import annotations

import asyncio
import struct

import pytest

from failoverd.ports import ProbeAnswer
from failoverd.shell.ping import ECHO_REPLY, Pinger, answering, checksum, is_reply, request

LOOPBACK, BROADCAST = 0x7F00004D, 0xFFFFFFFF


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


def test_an_answer_carries_the_ident_and_the_mark_of_the_request() -> None:
    mark = b"sixteen octets.."
    head = b"\x45" + bytes(19)
    answer = head + bytes((ECHO_REPLY,)) + request(7, 1, mark)[1:]
    assert is_reply(answer, 7, mark)
    assert not is_reply(answer, 8, mark)
    assert not is_reply(answer, 7, b"sixteen octets.!")
    assert not is_reply(head + request(7, 1, mark), 7, mark)
    assert not is_reply(b"", 7, mark)
    assert not any(is_reply(answer[:at], 7, mark) for at in range(len(answer)))


@pytest.mark.root
async def test_the_pinger_hears_who_answers_and_says_what_it_could_not_send() -> None:
    found: list[ProbeAnswer] = []
    pinger = Pinger(found.append, lambda: 5.0)
    pinger.open(asyncio.get_running_loop())
    try:
        pinger.send(BROADCAST)  # EACCES: not without SO_BROADCAST
        assert [(each.address, each.heard, each.mono) for each in found] == [(BROADCAST, False, 5.0)]
        assert found.pop().detail
        pinger.send(LOOPBACK)
        await asyncio.sleep(0.05)
        assert found == [ProbeAnswer(LOOPBACK, True, 5.0)]
        assert await answering(["127.0.0.1"], tries=1, wait_s=0.05) == {"127.0.0.1"}  # another program's pings are not ours
        assert len(found) == 1
    finally:
        pinger.close()


@pytest.mark.root
async def test_what_is_heard_before_a_beat_is_not_told_twice_and_a_late_answer_is_nobodys() -> None:
    found: list[ProbeAnswer] = []
    now = [5.0]
    pinger = Pinger(found.append, lambda: now[0])
    pinger.open(asyncio.get_running_loop())
    try:
        pinger.send(LOOPBACK)
        for _ in range(1000):
            if heard := pinger.heard():
                break
        assert heard == [ProbeAnswer(LOOPBACK, True, 5.0)]
        await asyncio.sleep(0.02)
        assert found == []
        pinger.send(LOOPBACK)
        now[0] = 20.0
        await asyncio.sleep(0.02)
        assert found == []
    finally:
        pinger.close()


def test_a_closed_pinger_says_that_nothing_was_sent() -> None:
    found: list[ProbeAnswer] = []
    Pinger(found.append, lambda: 5.0).send(LOOPBACK)
    assert [(each.heard, each.detail) for each in found] == [(False, "the socket is closed")]
