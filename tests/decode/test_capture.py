"""Capture files in, messages out: reassembly whatever TCP did, and each anomaly by its name."""

from __future__ import annotations

import json
import random
import struct
from pathlib import Path

import pytest
from click.testing import CliRunner
from scapy.utils import wrpcap

from failoverd.ctl.client import FAILED
from failoverd.ctl.main import main
from failoverd.decode.capture import ANOMALIES, messages
from failoverd.failover import message as wire
from failoverd.failover.private import LeaseNames, encode_names
from tests.decode.captures import A, B, Dialogue
from tests.decode.test_layer import every_message
from tests.failover.test_message import captured

T = 1728053248
CONNECT = every_message()["connect"]
CONNECTACK = every_message()["connectack"]


def kinds(path: Path) -> list[str]:
    return [message.type for message in messages(str(path))]


def odd(tmp_path: Path, *said: tuple[str, bytes], met: bool = True) -> list[str]:
    """The anomalies of a dialogue that begins with a good handshake."""
    dialogue = Dialogue().open()
    for sender, data in ([(A, CONNECT), (B, CONNECTACK)] if met else []) + list(said):
        dialogue.say(sender, data)
    return [name for message in messages(str(dialogue.write(tmp_path / "odd.pcap"))) for name in message.anomalies]


def contact(xid: int = 9, time: int = T) -> bytes:
    return wire.encode(wire.contact(time, xid))


def raw(kind: int, options: bytes = b"", *, length: int = 0, offset: int = 12) -> bytes:
    return struct.pack("!HBBII", length or 12 + len(options), kind, offset, T, 1) + options


def test_a_recorded_dialogue_survives_what_tcp_does_to_it(tmp_path: Path) -> None:
    rows = [row for row in captured() if row["capture"] == "4-partner-down"][:30]
    wanted = [wire.decode(bytes.fromhex(row["hex"])) for row in rows]
    rng = random.Random(4)
    dialogue = Dialogue(first_seq=2**32 - 500, wall=float(wanted[0].time)).open()
    sides = {rows[0]["from"]: A}
    for row in rows:
        data = bytes.fromhex(row["hex"])
        dialogue.say(sides.get(row["from"], B), data, sorted(rng.sample(range(1, len(data)), min(3, len(data) - 1))))
    head, rest = dialogue.packets[:2], dialogue.packets[2:]
    for at in range(0, len(rest) - 4, 4):  # out of order within a few, and some twice
        part = rest[at : at + 4]
        rng.shuffle(part)
        rest[at : at + 4] = part
    rest[10:10] = [rest[9], rest[3]]
    for ordinal, packet in enumerate([*head, *rest]):
        packet.time = float(wanted[0].time) + ordinal / 1000
    path = tmp_path / "mangled.pcap"
    wrpcap(str(path), [*head, *rest])
    found = list(messages(str(path)))
    for side in (A, B):
        mine = [message for message in found if message.sender.startswith(side + ":")]
        told = [each for each, row in zip(wanted, rows, strict=True) if sides.get(row["from"], B) == side]
        said = [(wire.MessageType(each.kind).name, each.xid) for each in told]
        assert [(message.type, message.xid) for message in mine] == said
    assert {message.connection for message in found} == {0}
    assert not {name for message in found for name in message.anomalies} - {"clock-off"}


def test_a_good_dialogue_is_not_odd(tmp_path: Path) -> None:
    assert (
        odd(tmp_path, (A, contact()), (B, contact(3)), (A, wire.encode(wire.updreq(T, 5))), (B, wire.encode(wire.upddone(T, 5))))
        == []
    )


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (raw(13), "type-unknown"),
        (raw(11, b"\0\0\0\0", offset=16), "payload-offset"),
        (raw(10, b"\0\x18\0\x09\x02"), "option-cut-short"),
        (raw(10, b"\0\x18\0\x02\x02\x02"), "option-size"),
        (raw(10, b"\0\x18\0\x01\x02" * 2), "option-twice"),
        (raw(10, b"\0\x18\0\x01\x02\0\x0f\0\x04\0\0\0\1"), "option-unexpected"),
        (raw(10), "option-missing"),
        (raw(10, b"\0\x18\0\x01\x63"), "value-unknown"),
        (raw(3, b"\0\x02\0\x04\x0a\0\0\1\0\x03\0\x01\x09"), "value-unknown"),
        (wire.encode(wire.bndack(T, 77, 1)), "xid-unknown"),
        (contact(time=T - 100), "clock-off"),
        (CONNECT, "second-connect"),
        (b"\0\x05aaaaa", "length-impossible"),
        (b"\x08\x01" + b"a" * 40, "length-impossible"),
        (b"\x16\x03\x03\0\x20" + b"a" * 40, "encrypted"),
        (contact()[:7], "message-cut-short"),
    ],
)
def test_each_anomaly_has_its_name(tmp_path: Path, said: bytes, name: str) -> None:
    assert odd(tmp_path, (A, said)) == [name]
    assert name in ANOMALIES


def test_what_comes_before_the_handshake(tmp_path: Path) -> None:
    assert odd(tmp_path, (A, CONNECT), (A, contact()), met=False) == ["before-handshake"]
    assert odd(tmp_path, (A, contact()), (B, wire.encode(wire.bndack(T, 7, 1))), met=False) == [], "the capture began later"


def test_octets_that_the_capture_lacks(tmp_path: Path) -> None:
    dialogue = Dialogue().open()
    dialogue.say(A, CONNECT)
    dialogue.next[A] += 5
    dialogue.say(A, contact())
    found = list(messages(str(dialogue.write(tmp_path / "hole.pcap"))))
    assert [(message.type, message.anomalies) for message in found] == [("CONNECT", []), ("?", ["segments-missing"])]


def test_every_anomaly_is_tested() -> None:
    import inspect

    text = inspect.getsource(inspect.getmodule(test_every_anomaly_is_tested))  # type: ignore[arg-type]
    assert all(f'"{name}"' in text for name in ANOMALIES)


def test_values_are_said_in_the_drafts_words(tmp_path: Path) -> None:
    dialogue = Dialogue()
    binding = wire.Binding(0x0A4D0096, 2, b"\1\2", b"\1\2\0\0\0\0\1", T, 0x7FFFFFFF, 0, T, 1)
    update = wire.bndupd(T, 1, binding)
    update.options.append((224, encode_names(LeaseNames("h1.test.", "h1-2.test.", "", True))))
    dialogue.say(A, wire.encode(update))
    dialogue.say(A, wire.encode(wire.bnd_reject(T, 1, 0x0A4D0096, 16, "less")))
    dialogue.say(A, wire.encode(wire.state(T, 1, state=254, flags=1, since=T)))
    path = str(dialogue.write(tmp_path / "words.pcap"))
    printed = CliRunner().invoke(main, ["decode", path]).output
    for text in (
        "binding-status ACTIVE (2)",
        "assigned-IP-address 10.77.0.150",
        "potential-expiration-time",
        " never",
        "IP-flags RESERVED",
        "failoverd-names wish h1.test. flags forward-done h1-2.test.",
        "reject-reason less critical binding information (16)",
        "server-state recover-wait (254)",
        "server-flags STARTUP",
        "2024-10-04T14:47:28Z",
    ):
        assert text in printed, (text, printed)
    assert printed.endswith("3 messages, nothing odd\n")


def test_private_options_are_said_in_words(tmp_path: Path) -> None:
    contact_with = wire.contact(T, 6)
    contact_with.options += [
        (225, bytes((1, 2))),
        (226, bytes(16) + bytes(range(16)) + (7).to_bytes(8, "big") + (9).to_bytes(8, "big")),
        (227, bytes(32) + (5).to_bytes(8, "big")),
        (228, (18).to_bytes(4, "big")),
        (229, b"\x01" + b"\xab" * 32),
        (230, (2**40).to_bytes(8, "big")),
        (231, bytes((1, 2, 0, 0, 0, 3)) + b"items"),
        (232, bytes((4, 0, 0, 0, 17))),
        (240, b"\x01\x02"),
    ]
    dialogue = Dialogue()
    dialogue.say(A, wire.encode(contact_with))
    (found,) = messages(str(dialogue.write(tmp_path / "private.pcap")))
    said = dict(found.options)
    assert found.anomalies == []
    assert said["failoverd-dialect"] == "1 to 2"
    assert said["failoverd-database"].endswith("generation 7 to 9")
    assert said["failoverd-known"].endswith("generation 5")
    assert said["failoverd-epoch"] == "18"
    assert said["failoverd-digest"] == "form 1 " + "ab" * 32
    assert said["failoverd-generation"] == str(2**40)
    assert said["failoverd-frame"] == "version 1 kind 2 part 0 of 3, 5 octets"
    assert said["failoverd-standing"] == "partner-down, agreed on epoch 17"
    assert said["option 240"] == "01:02"


def test_decode_as_json_and_only_what_is_odd(tmp_path: Path) -> None:
    dialogue = Dialogue().open()
    for data in (CONNECT, contact(), raw(13)):
        dialogue.say(A, data)
    path = str(dialogue.write(tmp_path / "some.pcap"))
    rows = [json.loads(line) for line in CliRunner().invoke(main, ["-o", "json", "decode", path]).output.splitlines()]
    assert [(row["type"], row["options"].get("MCLT")) for row in rows] == [("CONNECT", "600"), ("CONTACT", None), ("type 13", None)]
    printed = CliRunner().invoke(main, ["decode", path, "--odd"]).output
    assert "CONNECT xid" not in printed
    assert "type-unknown: a message type that the draft does not have" in printed
    assert CliRunner().invoke(main, ["decode", path, "--port", "1647"]).output == "0 messages, nothing odd\n"


def test_a_file_that_is_no_capture(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no capture at all, only words in a file")
    result = CliRunner().invoke(main, ["decode", str(path)])
    assert (result.exit_code, "cannot be read as a capture" in result.output) == (FAILED, True)


def test_without_scapy_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    path = tmp_path / "some.pcap"
    path.write_bytes(b"")
    monkeypatch.setitem(sys.modules, "scapy.error", None)
    result = CliRunner().invoke(main, ["decode", str(path)])
    assert (result.exit_code, "pip install 'failoverd[scapy]'" in result.output) == (FAILED, True)
