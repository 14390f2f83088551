"""A recording is replayed bit for bit from any moment of a life; what is damaged or foreign is refused in words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from failoverd.ctl.main import main as failoverctl
from failoverd.ddns.repair import Hold
from failoverd.dhcp import serve
from failoverd.failover.dialect import NEWEST
from failoverd.node import Node
from failoverd.ports import InterfaceAddresses, Output
from failoverd.replay import snapshot, steps
from failoverd.replay.__main__ import DAMAGED
from failoverd.replay.__main__ import main as player
from failoverd.replay.player import RecordingError, Teller, begin, play, segments
from tests.pair.duo import Duo, normal
from tests.recording.tape import Taped


def busy(**more: object) -> Duo:
    """A pair in normal with a lease on either side, an open offer, and names in flight."""
    duo = normal(**more)
    for name, mac in (("p", 1), ("p", 2), ("s", 20)):
        assert duo.dora(name, mac) is not None
    duo.discover("p", 3, secs=10)
    return duo


def more_life(duo: Duo) -> None:
    """Clients, a cut, partner-down, the reunion, a release."""
    duo.dora("p", 4)
    duo.cut()
    duo.run(40)
    duo.command("p", "partner-down")
    duo.run(700, 5)
    duo.dora("p", 5)
    duo.dora("s", 21)
    duo.heal()
    duo.until(lambda: duo.states() == ("normal", "normal"))
    duo.release("p", 5, next(lease.address for lease in duo.nodes["p"].table.rows() if lease.hw[-1:] == b"\5"))
    duo.run(20)


@pytest.mark.parametrize("tls", [False, True])
def test_a_recording_that_begins_in_the_middle_of_a_life_is_replayed_bit_for_bit(tls: bool, tmp_path: Path) -> None:
    duo = busy(tls=tls, dialects={"p": NEWEST, "s": NEWEST})
    tapes = {name: Taped(node) for name, node in duo.nodes.items()}
    more_life(duo)
    for number, (name, tape) in enumerate(tapes.items()):
        played = list(play(tape.save(tmp_path, number)))
        assert len(played) == len(tape.lines) > 100
        assert [each.number for each in played if not each.same] == [], name
        assert any(each.output.notes for each in played)


def test_a_thawed_node_is_the_frozen_one() -> None:
    node = busy().nodes["p"]
    again = snapshot.thaw(snapshot.freeze(node))
    assert list(snapshot.freeze(again)) == list(snapshot.freeze(node))


def test_a_replay_says_at_which_step_it_diverges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    duo = busy()
    tape = Taped(duo.nodes["p"])
    duo.run(5)
    before = len(tape.lines)
    duo.dora("p", 4)
    start = tape.save(tmp_path)
    decide = serve.decide

    def decides_differently(*args: Any, **more: Any) -> serve.Decision:
        decision = decide(*args, **more)
        decision.detail += ", another version"
        return decision

    monkeypatch.setattr(serve, "decide", decides_differently)
    differs = [each.number for each in play(start) if not each.same]
    assert differs
    assert differs[0] > before
    done = CliRunner().invoke(failoverctl, ["replay", str(start), "--verify"])
    assert done.exit_code == 0, "another process has not this version"


def test_one_octet_of_difference_is_a_difference(tmp_path: Path) -> None:
    duo = busy()
    tape = Taped(duo.nodes["p"])
    duo.dora("p", 4)
    wrong = json.loads(tape.lines[0])
    wrong[-1] = "0" * 16
    tape.lines[0] = json.dumps(wrong)
    played = list(play(tape.save(tmp_path)))
    assert [each.same for each in played] == [False] + [True] * (len(played) - 1)


def test_every_decision_is_told(tmp_path: Path) -> None:
    duo = busy()
    tape = Taped(duo.nodes["p"])
    duo.dora("p", 4)
    duo.settle()
    teller = Teller()
    lines = [line for played in play(tape.save(tmp_path)) for line in teller.tell(played)]
    told = [(line.way, line.what) for line in lines if line.client.endswith(":04")]
    assert told[:6] == [
        ("in", "DHCPDISCOVER"),
        ("note", "offered"),
        ("out", "DHCPOFFER"),
        ("in", "DHCPREQUEST"),
        ("note", "acked"),
        ("out", "DHCPACK"),
    ]
    assert ("out", "BNDUPD") in [(line.way, line.what) for line in lines]
    assert ("in", "BNDACK") in [(line.way, line.what) for line in lines]


# --- no secret in it ----------------------------------------------------------------------------------------------------

SECRET = "a-key-that-nobody-knows"
KEYED = (
    ('name-template = "dhcp-{ip}" }', 'name-template = "c-{hash8}", replace-client-name = "always" }'),
    ("[[ddns.zone]]", f'[ddns]\nname-secret = "{SECRET}"\n[[ddns.zone]]'),
)


def test_the_name_secret_is_not_in_it_and_is_put_in_again(tmp_path: Path) -> None:
    duo = busy(edits=KEYED)
    tape = Taped(duo.nodes["p"])
    duo.dora("p", 4)
    start = tape.save(tmp_path)
    assert SECRET not in tape.start + "".join(tape.lines)
    assert SECRET.encode().hex() not in tape.start
    assert all(each.same for each in play(start, SECRET))
    assert not all(each.same for each in play(start)), "its names are made from it"
    config = tmp_path / "failoverd.toml"
    config.write_text(f'[ddns]\nname-secret = "{SECRET}"\n')
    shell = CliRunner()
    assert shell.invoke(failoverctl, ["replay", str(start), "--verify", "--config", str(config)]).exit_code == 0
    assert shell.invoke(failoverctl, ["replay", str(start), "--verify"]).exit_code == 1


# --- what is damaged or foreign -----------------------------------------------------------------------------------------


@pytest.fixture
def start(tmp_path: Path) -> Path:
    duo = busy()
    tape = Taped(duo.nodes["p"])
    duo.dora("p", 4)
    return tape.save(tmp_path)


def test_a_cut_off_start_is_refused(start: Path) -> None:
    lines = start.read_text().splitlines(keepends=True)
    for kept in ("".join(lines[:-1]), "".join(lines[:-20]), "".join(lines)[:-3], lines[0], ""):
        start.write_text(kept)
        with pytest.raises(RecordingError, match=start.name):
            begin(start)


@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\x85", "\x7f", "\ud800", "\r\n"], ids=ascii)
def test_a_text_that_holds_the_end_of_a_line_is_read_as_it_was_written(odd: str, tmp_path: Path) -> None:
    duo = busy()
    duo.nodes["p"].planner.repairs.hold(Hold("t", "dyn.example.test.", "root", f"until{odd}monday", 1.0), Output())
    tape = Taped(duo.nodes["p"])
    duo.command("p", "partner-down", why=f"it{odd}burns")
    duo.run(2)
    played = list(play(tape.save(tmp_path)))
    assert len(played) == len(tape.lines)
    assert all(each.same for each in played)


def test_a_damaged_segment_hides_no_other(start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (2, 3):
        for suffix in (".start", ".steps"):
            shutil.copy(start.with_suffix(suffix), tmp_path / f"{number:06}{suffix}")
    start.write_text("nothing")
    (tmp_path / "000002.steps").write_text("nothing\n")
    assert player([str(tmp_path), "--verify"]) == DAMAGED
    out, err = capsys.readouterr()
    assert [json.loads(line)["segment"] for line in out.splitlines()] == ["000002", "000002", "000003", "000003"]
    assert [line.partition(":")[0] for line in err.splitlines()] == [str(start), str(tmp_path / "000002.steps")]


def test_a_segment_s_memory_is_read_once(start: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    thawed: list[object] = []
    thaw = snapshot.thaw
    monkeypatch.setattr(snapshot, "thaw", lambda lines, secret: thawed.append(secret) or thaw(lines, secret))
    assert player([str(start), "--verify"]) == 0
    assert len(thawed) == 1
    capsys.readouterr()


def test_steps_that_end_in_the_middle_are_played_up_to_there(start: Path) -> None:
    path = start.with_suffix(".steps")
    whole = path.read_text()
    path.write_text(whole[:-5])
    played = []
    with pytest.raises(RecordingError, match=f"ends in the middle of step {whole.count(chr(10))}"):
        played.extend(each.same for each in play(start))


@pytest.mark.parametrize("line", ["x", "[]", '[1,2,0,[["Nobody"]],"d"]', '[1,2,0,[["LinkDown","fo"]],"d"]', '{"a":1}', "\x00"])
def test_a_line_that_is_no_step_is_named(start: Path, line: str) -> None:
    start.with_suffix(".steps").write_text(line + "\n")
    with pytest.raises(RecordingError, match=r"\.steps: line 1"):
        list(play(start))


HOSTILE = [
    ["object", "os", "system", {}],
    ["object", "failoverd.shell.store", "Store", {}],
    ["object", "failoverd.leases.lease.os", "system", {}],
    ["object", "failoverd.leases.lease", "json", {}],
    ["object", "failoverd.leases.nothing", "Lease", {}],
    ["object", "failoverd.leases.lease", "Lease", {"__class__": 1}],
    ["object", "failoverd.node", "Node", {}],
    ["call", "os.system", "true"],
    ["list", [{"x": 1}]],
    ["list", [{"r": 10**6}]],
    ["list", [{"m": [{"r": 0}, "nothing"]}]],
    ["list", [{"e": ["failoverd.leases.lease", "Lease", 1]}]],
    ["random", {"t": [3, {"t": [1, 2]}, None]}],
    ["lease", '{"address": 1}'],
    [],
    7,
]


@pytest.mark.parametrize("record", HOSTILE, ids=str)
def test_a_foreign_snapshot_makes_nothing_but_data(start: Path, record: object) -> None:
    lines = start.read_text().splitlines()
    lines.insert(-1, json.dumps(record))
    lines[-1] = json.dumps({"end": len(lines) - 2})
    start.write_text("\n".join(lines) + "\n")
    with pytest.raises(RecordingError, match=start.name):
        begin(start)


def test_a_recording_of_another_form_or_version_says_so(start: Path) -> None:
    lines = start.read_text().splitlines(keepends=True)
    start.write_text("".join(['{"failoverd-recording": 99}\n', *lines[1:]]))
    with pytest.raises(RecordingError, match="another form"):
        begin(start)
    start.write_text("".join([lines[0], lines[1].replace('"endpoints"', '"endpointz"'), *lines[2:]]))
    with pytest.raises(RecordingError, match="step 1 cannot be taken by this version"):
        list(play(start))


def test_other_files_are_no_recording(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no recording in this directory"):
        segments(tmp_path)
    with pytest.raises(RecordingError, match="neither a directory"):
        segments(tmp_path / "trace.pcap")


def test_what_cannot_be_written_is_refused() -> None:
    node: Node = busy().nodes["p"]
    vars(node)["interfaces"] = {"eth0": open}  # a function: no form knows how to write it down
    with pytest.raises(snapshot.SnapshotError, match="cannot be written down"):
        list(snapshot.freeze(node))


def test_every_input_is_read_as_it_was_written() -> None:
    from failoverd import ports

    every = [
        ports.ClientDatagram("eth0", 1, 2, 68, 3, b"\0\xff", 1.5),
        InterfaceAddresses("eth0", ((1, 24), (2, 16))),
        ports.LinkUp("fo", 1, True, True),
        ports.LinkBytes("fo", 1, b"\x01"),
        ports.LinkDown("fo", 1, "eof"),
        ports.ConnectFailed("fo", "no", True),
        ports.LinkSecurity("fo", 1.0, 2.0, "p", "r", 3.0),
        ports.DnsAnswer(1, "NOERROR", "10.0.0.53", "", (("A", "10.0.0.1"),), 0.1, 2),
        ports.ProbeAnswer(1, True, 1.5, "no route"),
        ports.ZoneHosts("example.", ("ns.example.",)),
        ports.Command(1, "status", {"relationship": "fo"}, "root", "why ü"),
        ports.ClockState(True),
        ports.DiskState(False),
        ports.Stopping(),
    ]
    assert {type(each).__name__ for each in every} == set(steps.KINDS)
    step = steps.read(steps.write(every, ports.Now(1.25, 2.5), 0.125, ports.Output()))
    assert (step.inputs, step.now, step.age_s) == (every, ports.Now(1.25, 2.5), 0.125)


# --- failoverctl --------------------------------------------------------------------------------------------------------


def test_failoverctl_replay_shows_a_client_and_the_verdict(start: Path) -> None:
    done = CliRunner().invoke(failoverctl, ["replay", str(start.parent), "--client", "2:0:0:0:0:4"])
    assert done.exit_code == 0, done.output
    assert "-> DHCPDISCOVER             02:00:00:00:00:04" in done.output, done.output
    assert "   acked " in done.output
    assert done.output.splitlines()[-1].endswith("steps, the same, bit for bit")
    one = CliRunner().invoke(failoverctl, ["-o", "json", "replay", str(start), "--at", "2023-11-14T22:13:20Z"])
    lines = [json.loads(line) for line in one.output.splitlines()]
    assert {line["same"] for line in lines if "way" in line} == {True}
    far = CliRunner().invoke(failoverctl, ["replay", str(start), "--at", "2031-01-01T00:00:00Z"])
    assert len(far.output.splitlines()) == 2
    assert CliRunner().invoke(failoverctl, ["replay", str(start), "--at", "noon"]).exit_code == 2


def test_failoverctl_replay_of_a_damaged_file(start: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start.with_suffix(".steps").write_text("nothing\n")
    done = CliRunner().invoke(failoverctl, ["replay", str(start)])
    assert done.exit_code == 1
    assert "line 1: no step" in done.stderr
    assert player([str(start)]) == DAMAGED
    capsys.readouterr()
