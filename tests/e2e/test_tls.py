"""TLS on the failover link of two real daemons: nothing in the clear, wrong certificates and plaintext refused by name, right ones work."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from failoverd.failover import message as wire
from tests.lab import ours
from tests.lab.certificates import Ca
from tests.lab.lab import Lab, Process
from tests.lab.ours import Failoverd, normal
from tests.lab.site import FIRST, Site, acknowledged
from tests.lab.wait import LabError, until

pytestmark = [pytest.mark.root, pytest.mark.slow]

TLS = 'tls = {{ cert-file = "{0}/{{server}}.pem", key-file = "{0}/{{server}}.key", ca-file = "{0}/ca.pem" }}\n'
PLAINTEXT = """
import socket, sys
tcp = socket.create_connection((sys.argv[1], 647), timeout=5)
tcp.sendall(bytes.fromhex(sys.argv[2]))
try:
    print(tcp.recv(4096).hex())
except ConnectionResetError:
    print("reset")
"""


def refused(server: Failoverd, name: str, words: str = "") -> None:
    def seen() -> bool:
        told = server.link()["tls"]["refused"]
        if not told.startswith(name) or words not in told:
            raise LabError(f"{server.host.name} says {told!r}")
        return True

    until(f"{server.host.name} names it {name}", seen, 15)


def test_safety_26_two_daemons_with_tls() -> None:
    with Lab() as lab:
        site = Site.build(lab, 400)
        tls = lab.folder / "tls"
        ca, stranger = Ca.make(tls), Ca.make(lab.folder / "stranger")
        for name in ("dhcp1", "dhcp2"):
            ca.sign(name, tls)
        text = ours.config(lab.folder, site.pair(60, 3600), [site.scope], interfaces=["eth0"])
        text = text.replace('name = "office"\n', 'name = "office"\n' + TLS.format(tls), 1)
        first, second = Failoverd.make(site.dhcp1, text), Failoverd.make(site.dhcp2, text)
        wiretap = site.dhcp1.folder / "link.pcap"
        tap = site.dhcp1.start("tcpdump", lab.program("tcpdump"), "-i", "eth0", "-U", "-s", "0", "-w", str(wiretap), "tcp port 647")
        until("tcpdump listens", lambda: wiretap.exists() and "listening" in tap.text(), 10)
        for server in (first, second):
            server.start(new_pair=True)
        normal((first, second))
        assert (first.link()["dialect"], second.link()["dialect"]) == (3, 3)
        assert first.link()["differences"] == []
        load = site.load("load", 10, 50)
        until("10 leases are acknowledged", lambda: len(acknowledged(load)) == 10, 30)
        until("both know them", lambda: len(first.active()) == len(second.active()) == 10, 20)
        nothing_in_the_clear(tap, wiretap, [row.mac for row in acknowledged(load)])

        good = (tls / "dhcp2.pem").read_bytes(), (tls / "dhcp2.key").read_bytes()
        second.stop()
        plaintext_is_refused(site, first)
        ca.sign("printer", tls, file="dhcp2")  # the right CA, another name: it does not even start
        with pytest.raises(LabError, match="is for printer, and the partner expects dhcp2"):
            second.start()
        wrong_ca(tls, stranger)
        second.start()
        refused(first, "partner-tls-unknown-ca")
        refused(second, "partner-tls-refused-us", "unknown ca")
        assert first.state() == "communications-interrupted"
        assert not second.link()["linked"]

        (tls / "dhcp2.ca.pem").unlink()
        (tls / "dhcp2.pem").write_bytes(good[0])
        (tls / "dhcp2.key").write_bytes(good[1])
        second.conf.write_text(text)
        second.stop()
        second.start()
        normal((first, second))
        assert first.link()["tls"]["refused"] == second.link()["tls"]["refused"] == ""
        before = first.link()["tls"]["partner_until"]
        ca.sign("dhcp2", tls, days=200)
        assert second.process is not None
        second.process.signal(signal.SIGHUP)
        until("the new certificate is read without a restart", lambda: second.link()["tls"]["until"] > before + 100 * 86400, 10)


def nothing_in_the_clear(tap: Process, wiretap: Path, macs: list[str]) -> None:
    """What crossed is TLS from the first octet of each connection on."""
    tap.stop()
    seen = wiretap.read_bytes()
    assert len(seen) > 5000
    for secret in (b"office", b"failoverd-", b"dhcp1", b"dhcp2", b"failover CA"):
        assert secret not in seen, f"{secret!r} crossed in the clear"
    for mac in macs:
        assert bytes.fromhex(mac.replace(":", "")) not in seen, f"the client {mac} crossed in the clear"
    assert b"\x16\x03\x01" in seen, "a ClientHello"
    assert b"\x17\x03\x03" in seen, "application data"


def plaintext_is_refused(site: Site, first: Failoverd) -> None:
    """What a dhcpd primary says at once."""
    hello = wire.connect(1, 0, name=b"office", max_unacked=10, receive_timer=30, mclt=60, hba=bytes(32), vendor=b"isc-4.4.3-P1")
    answer = site.dhcp2.run(Failoverd.program("python"), "-c", PLAINTEXT, FIRST, wire.encode(hello).hex())
    assert answer.strip() in ("", "reset") or answer.startswith("1503"), "a TLS alert at most"
    refused(first, "partner-tls-plaintext", "it began with 00")
    assert first.state() == "communications-interrupted"


def wrong_ca(tls: Path, stranger: Ca) -> None:
    """dhcp2's certificate is from another CA, which it trusts beside the right one."""
    stranger.sign("dhcp2", tls)
    both = tls / "dhcp2.ca.pem"
    both.write_bytes((tls / "ca.pem").read_bytes() + stranger.cert.read_bytes())
    conf = tls.parent / "failoverd.toml"
    conf.write_text(conf.read_text().replace("/ca.pem", "/dhcp2.ca.pem"))
