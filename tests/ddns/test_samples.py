"""The samples for BIND: checked by BIND's own tools, and a master and a slave that really run from them."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.update
import pytest

from tests.ddns.named import KEYS, free_port, key_text

pytestmark = pytest.mark.bind

SAMPLES = Path(__file__).resolve().parent.parent.parent / "samples"
ZONES = ("dyn.example.test", "10.10.in-addr.arpa", "example.test")
SECRET = "ZmFpbG92ZXJkLXhmZXIta2V5LWZvci10aGUtdGVzdHM="


def tool(name: str) -> str:
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert found, f"{name} is not installed (apt install bind9 bind9-utils)"
    return found


def placed(home: Path, sample: str) -> Path:
    """A sample with its paths moved below `home`; nothing else is changed."""
    for directory in ("etc/bind/keys", "var/cache/bind", "var/lib/bind"):
        (home / directory).mkdir(parents=True, exist_ok=True)
    for key in ("ddns", "admin", "xfer"):
        text = key_text("xfer-key", SECRET) if key == "xfer" else key_text(f"{key}-key")
        (home / f"etc/bind/keys/{key}.key").write_text(text)
    for zone in ZONES:
        shutil.copy(SAMPLES / f"{zone}.db", home / f"var/lib/bind/{zone}.db")
    text = re.sub(r'"/(etc|var)/', f'"{home}/\\1/', (SAMPLES / sample).read_text())
    path = home / sample
    path.write_text(text)
    return path


@pytest.mark.parametrize("sample", ["bind-master.conf", "bind-slave.conf", "bind-single-zone.conf"])
def test_named_checkconf(tmp_path: Path, sample: str) -> None:
    path = placed(tmp_path, sample)
    done = subprocess.run([tool("named-checkconf"), "-z", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower()


def test_named_checkconf_of_master_with_its_parent(tmp_path: Path) -> None:
    path = placed(tmp_path, "bind-master.conf")
    shutil.copy(SAMPLES / "example.test.db", tmp_path / "etc/bind/example.test.db")
    parent = re.sub(r'"/(etc|var)/', f'"{tmp_path}/\\1/', (SAMPLES / "bind-sub-zone.conf").read_text())
    path.write_text(path.read_text() + parent)
    done = subprocess.run([tool("named-checkconf"), "-z", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("zone", ZONES)
def test_named_checkzone(zone: str) -> None:
    done = subprocess.run(
        [tool("named-checkzone"), "-i", "local", zone, str(SAMPLES / f"{zone}.db")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_sample_says_what_matters() -> None:
    master = (SAMPLES / "bind-master.conf").read_text()
    assert master.count("notify-delay 0;") == 2
    assert master.count("also-notify {") == 2
    for zone in ZONES:
        assert re.search(r"\n\s+60 \)", (SAMPLES / f"{zone}.db").read_text())


def run(path: Path, port: int) -> subprocess.Popen[bytes]:
    home = path.parent
    options = f'options {{ listen-on port {port} {{ 127.0.0.1; }}; pid-file none; session-keyfile "{home}/session.key";'
    options += f' managed-keys-directory "{home}";'
    path.write_text(path.read_text().replace("options {", options, 1) + "\ncontrols { };\n")
    with open(home / "log", "ab") as log:
        return subprocess.Popen([tool("named"), "-g", "-n", "1", "-c", str(path)], stdout=log, stderr=log)


def ask(name: str, port: int) -> list[str]:
    try:
        reply = dns.query.udp(dns.message.make_query(name, "A"), "127.0.0.1", 0.5, port)
    except (dns.exception.Timeout, OSError):
        return []
    return [rd.to_text() for rrset in reply.answer for rd in rrset]


def until(what: Callable[[], object], within_s: float = 15.0) -> None:
    end = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < end, "does not come"
        time.sleep(0.05)


def update(name: str, key: str, port: int, zone: str = "dyn.example.test") -> int:
    message = dns.update.UpdateMessage(zone)
    message.add(name, 600, "A", "10.10.0.101")
    message.use_tsig(KEYS[key])
    return dns.query.udp(message, "127.0.0.1", 5, port).rcode()


def test_master_and_slave_run_and_a_name_reaches_the_slave(tmp_path: Path) -> None:
    """Both on 127.0.0.1, so the addresses of the samples become ports; all else is as it stands there."""
    ports = {"10.10.0.53": free_port(), "10.10.0.54": free_port()}
    paths = placed(tmp_path / "m", "bind-master.conf"), placed(tmp_path / "s", "bind-slave.conf")
    for path in paths:
        text = re.sub(
            r"(also-notify|primaries) \{ ([0-9.]+);", lambda m: f"{m[1]} {{ 127.0.0.1 port {ports[m[2]]};", path.read_text()
        )
        path.write_text(re.sub(r"10\.10\.0\.5[34]", "127.0.0.1", text))
    master, slave = ports.values()
    running = [run(paths[0], master)]
    try:
        until(lambda: ask("www.dyn.example.test", master))
        running.append(run(paths[1], slave))
        until(lambda: ask("www.dyn.example.test", slave) == ["10.10.0.80"])
        assert update("pc.dyn.example.test.", "ddns-key", master) == dns.rcode.NOERROR
        until(lambda: ask("pc.dyn.example.test", slave) == ["10.10.0.101"], 4.0)
        assert update("www.dyn.example.test.", "ddns-key", master) == dns.rcode.REFUSED
        assert update("dyn.example.test.", "ddns-key", master) == dns.rcode.REFUSED
        assert update("static.dyn.example.test.", "admin-key", master) == dns.rcode.NOERROR
    finally:
        for process in running:
            process.terminate()
            process.wait(10)
    assert "Transfer started." in (tmp_path / "s" / "log").read_text()


def test_in_a_single_zone_an_a_record_on_the_apex_or_on_an_ns_or_mx_host_is_refused(tmp_path: Path) -> None:
    path = placed(tmp_path, "bind-single-zone.conf")
    port = free_port()
    path.write_text(path.read_text().replace("10.10.0.54", "127.0.0.1"))
    process = run(path, port)
    try:
        until(lambda: ask("www.example.test", port))
        assert update("pc.example.test.", "ddns-key", port, "example.test") == dns.rcode.NOERROR
        for name in ("example.test.", "ns1.example.test.", "mail.example.test.", "www.example.test."):
            assert update(name, "ddns-key", port, "example.test") == dns.rcode.REFUSED, name
        assert update("static.example.test.", "admin-key", port, "example.test") == dns.rcode.NOERROR
    finally:
        process.terminate()
        process.wait(10)
