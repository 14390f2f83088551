"""Changing things, exit codes, and failoverctl as a program: terminals, pipes, a daemon that is absent, hangs or dies."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from failoverd.ctl import client
from failoverd.ports import Reply
from tests.api.fake_daemon import ME, OFFICE, STATUS, TWO
from tests.ctl.conftest import Shell

WHY = "psu dead, ticket 4711"


def test_partner_down_asks_and_does_it_when_the_name_is_typed(shell: Shell) -> None:
    result = shell.run("partner-down", "office", "--reason", WHY, typed="office\n")
    assert result.exit_code == 0
    assert result.stdout == f"office: partner-down since 2026-11-22T04:25:13Z, epoch 18 (reason: {WHY})\n"
    assert "Risk: " in result.stderr
    assert result.stderr.endswith('Type "office" to continue: ')
    dry = ("partner-down", {"relationship": "office", "dry_run": "1"}, ME, WHY)
    did = ("partner-down", {"relationship": "office"}, ME, WHY)
    assert shell.daemon.loop.asked == [("status", {}, "", ""), dry, did]


def test_partner_down_twice_says_so(shell: Shell) -> None:
    shell.daemon.loop.bodies["partner-down"] = {"state": "partner-down", "new_epoch": 17}
    assert (
        shell.run("partner-down", "office", "--yes").stdout == "office: was in partner-down already, since 2026-11-22T04:11:11Z\n"
    )


def test_an_act_that_was_not_needed_says_so(shell: Shell) -> None:
    shell.daemon.loop.replies["serve-force"] = Reply(0, "ok", {"done": False}, "not in doubt: nothing to force")
    assert shell.run("serve", "--force", "office", "--yes").stdout == "office: not in doubt: nothing to force\n"
    assert json.loads(shell.run("-o", "json", "serve", "--force", "office", "--yes").stdout)["done"] is False


@pytest.mark.parametrize("typed", ["", "yes\n", "\n", "offic", "Office\n"])
@pytest.mark.parametrize("verb", [("partner-down", "office"), ("serve", "--force"), ("pair", "init")])
def test_anything_else_typed_changes_nothing(shell: Shell, typed: str, verb: tuple[str, ...]) -> None:
    result = shell.run(*verb, typed=typed)
    assert (result.exit_code, result.stdout) == (client.FAILED, "")
    assert "not confirmed, nothing was changed" in result.stderr
    assert shell.daemon.loop.changes() == []


def test_yes_does_not_ask(shell: Shell) -> None:
    result = shell.run("partner-down", "office", "--yes", "--since", "2026-11-22T04:11:08Z", "-o", "json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["done"] is True
    assert shell.daemon.loop.changes() == [("partner-down", {"relationship": "office", "since": "1795320668"}, ME, "")]


@pytest.mark.parametrize(("verb", "asked"), [(("serve", "--force"), "serve-force"), (("pair", "init"), "pair-init")])
def test_acts_without_a_name_mean_the_only_relationship_which_is_then_typed(
    shell: Shell, verb: tuple[str, ...], asked: str
) -> None:
    result = shell.run(*verb, "--reason", WHY, typed="office\n")
    assert (result.exit_code, result.stdout) == (0, f"office: {asked} is done (reason: {WHY})\n")
    assert shell.daemon.loop.changes() == [(asked, {"relationship": "office"}, ME, WHY)]


@pytest.mark.parametrize(
    "words",
    [
        ("partner-down",),
        ("serve", "office"),
        ("serve", "--force", "--yes"),
        ("pair", "init", "--yes"),
        ("status", "--every", "1"),
        ("status", "--watch", "--every", "0"),
        ("lease", "list", "--state", "leased"),
        ("lease", "list", "--limit", "0"),
        ("lease", "get"),
        ("lease", "get", "ws17"),
        ("explain",),
        ("explain", "host", "ws17"),
        ("explain", "client", "ws", "17"),
        ("explain", "client", "ws17"),
        ("partner-down", "office", "--yes", "--since", "yesterday"),
        ("-o", "yaml", "status"),
        ("no-such-verb",),
        ("backup",),
    ],
)
def test_usage_is_exit_2_and_changes_nothing(shell: Shell, words: tuple[str, ...]) -> None:
    result = shell.run(*words)
    assert result.exit_code == client.USAGE
    assert result.stderr
    assert shell.daemon.loop.changes() == []


def test_two_relationships_must_be_told_apart(shell: Shell) -> None:
    shell.daemon.loop.bodies["status"] = TWO
    result = shell.run("pair", "init", typed="office\n")
    assert (result.exit_code, result.stderr) == (client.USAGE, "failoverctl: which relationship? there is: office, lab\n")


def test_a_relationship_that_is_not_there_is_named_with_those_that_are(shell: Shell) -> None:
    for words in (("status", "nobody"), ("partner-down", "nobody", "--yes"), ("pair", "init", "nobody", "--yes")):
        result = shell.run(*words)
        assert result.exit_code == client.FAILED
        assert result.stderr == "failoverctl: no relationship 'nobody' on this server; there is: office\n"


def test_refused_in_contact_is_exit_3(shell: Shell) -> None:
    shell.daemon.loop.replies["partner-down"] = Reply(0, "refused", None, "the partner is in contact")
    for more in ((), ("--yes",), ("--dry-run",)):
        result = shell.run("partner-down", "office", *more)
        assert (result.exit_code, result.stdout) == (client.REFUSED, "")
        assert result.stderr == "failoverctl: refused: the partner is in contact\n"


@pytest.mark.parametrize(("code", "want"), [("usage", 2), ("unknown", 1), ("failed", 1), ("refused", 3)])
def test_the_daemons_answers_are_exit_codes(shell: Shell, code: str, want: int) -> None:
    shell.daemon.loop.replies["lease-get"] = Reply(0, code, None, "because")
    result = shell.run("lease", "get", "10.10.0.9")
    assert result.exit_code == want
    assert "because" in result.stderr


def test_not_authorised_is_exit_6(shell: Shell) -> None:
    shell.daemon.config.operators = []
    result = shell.run("pair", "init", "office", "--yes")
    assert (result.exit_code, shell.daemon.loop.changes()) == (client.DENIED, [])
    assert f"{ME} is not among the operators" in result.stderr


def test_backup_sends_an_absolute_path(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = shell.run("backup", "copy.db")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path}/copy.db: 10 octets\n")
    again = shell.run("backup", "copy.db")
    assert (again.exit_code, again.stderr) == (
        client.REFUSED,
        f"failoverctl: refused: {tmp_path}/copy.db exists; a backup never overwrites\n",
    )


def test_an_absent_daemon_is_exit_5_and_says_what_to_type(shell: Shell) -> None:
    process = shell.start("--socket", "/nonexistent/api.sock", "status", stderr=subprocess.PIPE)
    _, told = process.communicate(timeout=20)
    assert process.returncode == client.UNREACHABLE
    assert told.startswith("failoverctl: cannot reach failoverd at /nonexistent/api.sock: No such file or directory\n")
    assert "systemctl status failoverd" in told
    assert "--socket PATH" in told


class Stub:
    """A socket at which something else answers: `answer` None says nothing, b"" hangs up."""

    def __init__(self, path: Path, answer: bytes | None) -> None:
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._answer = answer
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listening.accept()
        with connection:
            if self._answer is None:
                self._done.wait(20)
            else:
                heard = b""
                while not heard.endswith(b"}"):
                    heard += connection.recv(65536)
                connection.sendall(self._answer)

    def stop(self) -> None:
        self._done.set()
        self._thread.join()
        self._listening.close()


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [
        (None, client.TIMED_OUT, "no answer from failoverd within"),
        (b"", client.UNREACHABLE, "failoverd ended the connection before it answered"),
        (b"SSH-2.0-OpenSSH\r\n", client.UNREACHABLE, "failoverd ended the connection before it answered"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes", client.FAILED, "is no JSON"),
        (b"HTTP/1.1 500 Bad\r\nContent-Length: 3\r\n\r\n500", client.FAILED, "HTTP 500 without a reason"),
        (b"HTTP/1.1 500 Bad\r\nContent-Length: 5\r\n\r\nsorry", client.FAILED, "its log says why"),
        (b"HTTP/1.1 502 Bad\r\nContent-Length: 2\r\n\r\n[]", client.FAILED, "HTTP 502 without a reason"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
            client.UNREACHABLE,
            "failoverd ended the connection before it answered",
        ),
    ],
)
def test_whatever_else_is_behind_the_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes | None, code: int, told: str
) -> None:
    monkeypatch.setattr(client, "WAIT_S", 0.3)
    stub = Stub(tmp_path / "stub.sock", answer)
    try:
        with pytest.raises(client.Failure) as caught:
            client.Client(str(tmp_path / "stub.sock")).post("backup", body={"path": "/x"})
    finally:
        stub.stop()
    assert caught.value.exit_code == code
    assert told in caught.value.message
    if code in (client.TIMED_OUT, client.UNREACHABLE):
        assert "the change may have been made" in caught.value.message


def test_watching_json_is_a_line_a_look_until_interrupted(shell: Shell) -> None:
    process = shell.start("-o", "json", "status", "--watch", "--every", "0.2", stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(3):
        assert json.loads(process.stdout.readline()) == STATUS
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    process.stdout.close()


def test_watching_outlives_a_daemon_that_goes_and_comes(shell: Shell) -> None:
    process = shell.start("status", "--watch", "--every", "0.2", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith("dhcp2  failoverd")
    os.rename(shell.socket, shell.socket + ".away")
    assert "cannot reach failoverd" in process.stderr.readline()
    os.rename(shell.socket + ".away", shell.socket)
    seen = [process.stdout.readline() for _ in range(60)]
    assert sum(line.startswith("dhcp2  failoverd") for line in seen) >= 2
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 0


def on_a_terminal(shell: Shell, *words: str, **env: str) -> str:
    """What a terminal is sent."""
    ours, theirs = pty.openpty()
    clean = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "failoverd.ctl.main", "--socket", shell.socket, *words],
        stdin=theirs,
        stdout=theirs,
        env={**clean, "TERM": "xterm", **env},
    )
    os.close(theirs)
    sent = b""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if select.select([ours], [], [], 0.2)[0]:
            try:
                sent += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
        elif process.poll() is not None:
            break
    os.close(ours)
    assert process.wait(10) == 0
    return sent.decode()


def test_colour_only_on_a_terminal_that_wants_it(shell: Shell) -> None:
    assert "\x1b[" in on_a_terminal(shell, "status")
    assert "\x1b[" not in on_a_terminal(shell, "status", NO_COLOR="1")
    assert "\x1b[" not in on_a_terminal(shell, "status", TERM="dumb")


def test_it_stands_alone_and_starts_light() -> None:
    """Nothing of ours outside ctl, and for --help nothing that costs time."""
    code = (
        "import sys\n"
        "from failoverd.ctl.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit: pass\n"
        "light = set(sys.modules)\n"
        "import failoverd.ctl.show, failoverd.ctl.act, failoverd.ctl.client\n"
        "ours = {m for m in sys.modules if m.startswith('failoverd') and not m.startswith('failoverd.ctl')}\n"
        "print(sorted(ours), sorted(light & {'rich', 'json', 'http.client', 'asyncio', 'pydantic', 'aiohttp'}))\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.endswith("['failoverd'] []\n")


def test_help_documents_the_exit_codes(shell: Shell) -> None:
    for words in ((), ("status",), ("partner-down",), ("serve",), ("pair", "init"), ("lease", "list"), ("backup",)):
        shown = shell.run(*words, "--help").stdout
        assert "3  refused by a safety check" in shown, words
        assert "6  not authorised" in shown


def test_the_status_line_of_a_server_that_does_not_serve(shell: Shell) -> None:
    shell.daemon.loop.bodies["status"] = {
        **STATUS,
        "serving": False,
        "relationships": [{**OFFICE, "serving": False, "why": "the wall clock is before the newest lease"}],
    }
    shown = shell.run("status").stdout
    assert "NOT SERVING" in shown.splitlines()[0]
    assert "office: not serving: the wall clock is before the newest lease" in shown
