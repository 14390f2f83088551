"""A third opinion: Wireshark's dissector finds nothing malformed in what we say (it has 7 and 9 the wrong way round, nothing else)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from failoverd.failover.message import MessageType, decode
from tests.decode.captures import A, Dialogue
from tests.decode.test_layer import every_message
from tests.pair.duo import normal

pytestmark = pytest.mark.tshark


COMPLAINTS = ("_ws.malformed", "dhcpfo.bad_length", "dhcpfo.message_digest_type_not_allowed")  # all that it can have against it


def dissected(path: Path) -> list[dict[str, str]]:
    """One row a packet with a failover message: types, lengths, and what the dissector complains of."""
    fields = ("dhcpfo.type", "dhcpfo.length", *COMPLAINTS)
    args = ["tshark", "-n", "-r", str(path), "-d", "tcp.port==647,dhcpfo", "-Y", "dhcpfo || _ws.malformed", "-T", "fields"]
    args += [part for name in fields for part in ("-e", name)] + ["-E", "separator=|"]
    out = subprocess.run(args, capture_output=True, text=True, check=True, timeout=60).stdout
    return [dict(zip(fields, line.split("|"), strict=True)) for line in out.splitlines()]


def complaints(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """The rows that it complains of."""
    return [row for row in rows if any(row[name] for name in COMPLAINTS)]


def test_everything_that_our_encoder_says_and_a_planted_fault_is_found(tmp_path: Path) -> None:
    made = every_message()
    dialogue = Dialogue()
    for data in made.values():
        dialogue.say(A, data)
    dialogue.say(A, made["state normal"][:-8] + b"\x00\x19\x00\x40" + bytes(4))
    rows = dissected(dialogue.write(tmp_path / "made.pcap"))
    assert complaints(rows) == rows[-1:]
    assert [int(row["dhcpfo.type"]) for row in rows[:-1]] == [data[2] for data in made.values()]
    assert [int(row["dhcpfo.length"]) for row in rows[:-1]] == [len(data) for data in made.values()]


def test_everything_that_a_pair_says_in_its_life(tmp_path: Path) -> None:
    """First contact, a client's life, maintenance, partner-down, a lost database."""
    duo = normal(mclt="1m", last=119)
    acks = [duo.dora("p", mac) for mac in range(4)]
    duo.settle()
    duo.release("p", 0, acks[0].yiaddr)  # type: ignore[union-attr]
    duo.command("p", "pool-rebalance")
    duo.command("s", "maintenance-start")
    duo.run(5)
    duo.command("s", "maintenance-end")
    duo.until(lambda: duo.states() == ("normal", "normal"), 30)
    duo.crash("s")
    duo.tick()
    duo.command("p", "partner-down")
    duo.lose_database("s")
    duo.start("s")
    duo.until(lambda: duo.states() == ("normal", "normal"), 300)
    dialogue = Dialogue()
    for _, data in duo.wire:
        dialogue.say(A, data)
    seen = {MessageType(decode(data).kind) for _, data in duo.wire}
    assert set(MessageType) - seen <= {MessageType.DISCONNECT, MessageType.UPDREQ, MessageType.POOLREQ, MessageType.POOLRESP}
    rows = dissected(dialogue.write(tmp_path / "life.pcap"))
    assert len(rows) == len(duo.wire) > 100
    assert complaints(rows) == []
