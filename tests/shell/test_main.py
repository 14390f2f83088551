"""The daemon as a process: its command line, its exit codes, what it tells the service manager, and how it ends."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from failoverd import __version__
from failoverd.failover.message import Framer, MessageType
from failoverd.shell.ending import EXIT_BUG, EXIT_CONFIG, EXIT_PERMISSION, EXIT_STORE, EXIT_STORE_OPEN, EXIT_UNAVAILABLE, EXIT_USAGE
from failoverd.shell.main import main
from tests.shell.daemon import CONFIG, Site, running
from tests.shell.test_durability import ask, message

# The commit of a lease fails, once, as a full or dying disk would make it fail.
BREAKING = """
from failoverd.ports import Kind
from failoverd.shell.main import main
from failoverd.shell.store import Store, StoreBroken

commit = Store.commit

async def breaking(self, writes, wall):
    if any(write.kind is Kind.LEASE for write in writes):
        raise StoreBroken("disk I/O error")
    await commit(self, writes, wall)

Store.commit = breaking
main()
"""


STOCK = """
import sys

sys.modules["uvloop"] = None  # as if it were not installed
from failoverd.shell.main import main

main()
"""
# A mistake in a callback that no beat surrounds.
MISTAKEN = """
from failoverd.shell.main import main
from failoverd.shell.partner import Partners

def lost(self, link, reason):
    raise KeyError("a mistake")

Partners.lost = lost
main()
"""
# The shortest max-response-delay is 15 s; a test does not wait that long.
HASTY = """
from failoverd.shell.loop import Loop
from failoverd.shell.main import main

make = Loop.__init__

def hasty(self, node, store, book, delays, **rest):
    make(self, node, store, book, dict.fromkeys(delays, 1.5), **rest)

Loop.__init__ = hasty
main()
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with running(tmp_path) as made:
        yield made


def received(link: socket.socket) -> bytes:
    """What the link says next; b"" at its end, by reset or not."""
    try:
        return link.recv(65536)
    except ConnectionResetError:
        return b""


# --- the command line -------------------------------------------------------------------------------------------------


def test_version_and_usage() -> None:
    runner = CliRunner()
    assert __version__ in runner.invoke(main, ["--version"]).output
    assert runner.invoke(main, ["--no-such-option"]).exit_code == EXIT_USAGE


def test_check_prints_every_problem_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('[servers.a]\ninterfaces = []\n[[subnet]]\nsubnet = "10.0.0.0/99"\n')
    done = CliRunner().invoke(main, ["--check", "--config", str(path)])
    assert done.exit_code == EXIT_CONFIG
    assert f"{path}:2" in done.output
    assert f"{path}:4" in done.output


def test_check_of_a_good_file(tmp_path: Path) -> None:
    path = tmp_path / "good.toml"
    path.write_text(CONFIG.format(folder=tmp_path))
    done = CliRunner().invoke(main, ["--check", "--config", str(path)])
    assert done.exit_code == 0, done.output
    assert "good, digest " in done.output
    assert not (tmp_path / "leases.db").exists()


def test_an_unknown_server_is_a_configuration_error(tmp_path: Path) -> None:
    path = tmp_path / "good.toml"
    path.write_text(CONFIG.format(folder=tmp_path))
    for words in ([], ["--check"]):
        done = CliRunner().invoke(main, ["--config", str(path), "--server", "dhcp3", *words])
        assert done.exit_code == EXIT_CONFIG
        assert "dhcp3" in done.output


# --- start and stop ---------------------------------------------------------------------------------------------------


@pytest.mark.root
def test_it_tells_the_service_manager_and_stops_cleanly(site: Site) -> None:
    daemon = site.start(env={"WATCHDOG_USEC": "2000000"})
    assert "STATUS=serving as dhcp1; office: " in daemon.told("READY=1")
    daemon.told("WATCHDOG=1")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.logged("keys-read-again")
    daemon.process.send_signal(signal.SIGTERM)
    daemon.told("STOPPING=1")
    assert daemon.ends() == 0
    assert daemon.events()[-1]["event"] == "failoverd-stopped"
    assert not (site.folder / "api.sock").exists()


@pytest.mark.root
def test_a_lease_survives_kill_9(site: Site) -> None:
    first = site.start()
    first.told("READY=1")
    with site.client() as client:
        offer = ask(client, message(1, 7), 7, 2)
        ack = ask(client, message(3, 7, b"\x32\x04" + offer[16:20] + b"\x36\x04\x0a\x4d\x00\x01"), 7, 5)
        first.process.kill()
        first.ends()
        second = site.start()
        second.told("READY=1")
        again = ask(client, message(3, 7, b"\x32\x04" + ack[16:20]), 7, 5)
    assert again[16:20] == ack[16:20]


@pytest.mark.root
def test_it_serves_without_uvloop(site: Site) -> None:
    daemon = site.start(program=STOCK)
    daemon.told("READY=1")
    with site.client() as client:
        offer = ask(client, message(1, 5), 5, 2)
        ask(client, message(3, 5, b"\x32\x04" + offer[16:20] + b"\x36\x04\x0a\x4d\x00\x01"), 5, 5)
    daemon.process.send_signal(signal.SIGINT)
    assert daemon.ends() == 0


@pytest.mark.root
def test_two_on_one_database_the_second_says_so_and_goes(site: Site) -> None:
    site.start().told("READY=1")
    second = site.start()
    assert second.ends() == EXIT_STORE_OPEN
    assert "leases.db" in second.text()


@pytest.mark.root
def test_a_port_that_is_taken_is_named(site: Site) -> None:
    with site.net.inside(site.net.srv), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", 67))
        daemon = site.start()
        assert daemon.ends() == EXIT_UNAVAILABLE
    assert "port 67 is in use" in daemon.text()


@pytest.mark.root
def test_missing_capabilities_are_named(site: Site) -> None:
    site.folder.chmod(0o777)
    drop = "import ctypes, os\nlibc = ctypes.CDLL(None)\nfor cap in (10, 12, 13): libc.prctl(24, cap)\n"
    again = "os.execv(os.sys.executable, [os.sys.executable, '-m', 'failoverd.shell.main', *os.sys.argv[1:]])\n"
    daemon = site.start(program=drop + again)
    assert daemon.ends() == EXIT_PERMISSION
    assert "CAP_NET_BIND_SERVICE" in daemon.text()


@pytest.mark.root
def test_an_interface_that_is_missing_does_not_stop_the_others(site: Site) -> None:
    text = CONFIG.format(folder=site.folder).replace('["eth0", "eth1"]', '["eth0", "eth5"]')
    (site.folder / "failoverd.toml").write_text(text)
    daemon = site.start()
    daemon.told("READY=1")
    assert daemon.logged("interface-missing")["subject"] == "eth5"
    with site.client() as client:
        ask(client, message(1, 1), 1, 2)


# --- how it ends when it must -----------------------------------------------------------------------------------------


@pytest.mark.root
def test_safety_03_a_failing_commit_ends_the_process_and_says_nothing_more(site: Site) -> None:
    with site.partner() as listener, site.client() as client:
        daemon = site.start(program=BREAKING)
        daemon.told("READY=1")
        link, _ = listener.accept()
        link.settimeout(10)
        said = link.recv(65536)
        offer = ask(client, message(1, 3), 3, 2)
        client.sendto(message(3, 3, b"\x32\x04" + offer[16:20] + b"\x36\x04\x0a\x4d\x00\x01"), ("255.255.255.255", 67))
        assert daemon.ends() == EXIT_STORE
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(2000)
        said += b"".join(iter(lambda: received(link), b""))
        link.close()
    kinds = [each.kind for each in Framer().feed(said)]
    assert kinds == [MessageType.CONNECT]
    assert "a commit failed: disk I/O error" in daemon.text()
    daemon.logged("failoverd-serves")  # what was logged before is not lost with it


@pytest.mark.root
def test_a_mistake_in_any_callback_of_ours_ends_the_process(site: Site) -> None:
    with site.partner() as listener:
        daemon = site.start(program=MISTAKEN)
        daemon.told("READY=1")
        listener.accept()[0].close()
        assert daemon.ends() == EXIT_BUG
    assert "KeyError: 'a mistake'" in daemon.text()


@pytest.mark.root
def test_safety_05_a_process_that_was_stopped_makes_its_links_anew(site: Site) -> None:
    with site.partner() as listener, site.client() as client:
        daemon = site.start(program=HASTY)
        daemon.told("READY=1")
        link, _ = listener.accept()
        assert [each.kind for each in Framer().feed(link.recv(65536))] == [MessageType.CONNECT]
        daemon.process.send_signal(signal.SIGSTOP)
        client.sendto(message(1, 9), ("255.255.255.255", 67))
        time.sleep(2.5)
        daemon.process.send_signal(signal.SIGCONT)
        daemon.logged("beat-gap")
        link.settimeout(5)
        assert received(link) == b""
        listener.accept()[0].close()
        assert daemon.logged("datagrams-discarded")["detail"] == "1 datagrams"
        link.close()
