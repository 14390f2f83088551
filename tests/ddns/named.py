"""A real named on 127.0.0.1 with its own port, directory and keys; started as an ordinary process, without a control channel."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

import dns.exception
import dns.message
import dns.query
import dns.rcode
import dns.tsig
import dns.update
import dns.zone

from failoverd.shell.dnswire import rdata_text

SECRETS = {
    "ddns-key": "ZmFpbG92ZXJkLWRkbnMta2V5LWZvci10aGUtdGVzdHM=",
    "admin-key": "ZmFpbG92ZXJkLWFkbWluLWtleS1mb3ItdGhlLXRlc3Q=",
    "other-key": "ZmFpbG92ZXJkLW90aGVyLWtleS1mb3ItdGhlLXRlc3Q=",
}
KEYS = {name: dns.tsig.Key(name, secret, "hmac-sha256") for name, secret in SECRETS.items()}


def key_text(name: str, secret: str = "") -> str:
    return f'key "{name}" {{\n\talgorithm hmac-sha256;\n\tsecret "{secret or SECRETS[name]}";\n}};\n'


def free_port() -> int:
    """A port of 127.0.0.1 that is free for UDP and TCP."""
    for _ in range(50):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = int(tcp.getsockname()[1])
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port on 127.0.0.1")


class Named:
    """`zones`: name -> (statements inside the zone, records as "owner ttl type rdata")."""

    def __init__(self, home: Path, zones: dict[str, tuple[str, set[str]]]) -> None:
        self.home = home
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.home.mkdir(parents=True, exist_ok=True)
        program = shutil.which("named", path="/usr/sbin:/usr/bin:/sbin:/bin")
        assert program, "named is not installed (apt install bind9)"
        self.program = program
        statements = []
        for name, (inside, lines) in zones.items():
            file = self.home / (name.strip(".") + ".db")
            soa = f"{name} 3600 IN SOA ns1.example.test. hostmaster.example.test. 1 3600 600 86400 60\n"
            text = soa + f"{name} 3600 IN NS ns1.example.test.\n"
            for line in sorted(lines):
                owner, ttl, rest = line.split(" ", 2)
                text += f"{owner} {ttl} IN {rest}\n"
            file.write_text(text)
            statements.append(f'zone "{name.strip(".")}" {{ type primary; file "{file}"; {inside} }};')
        self.config = self.home / "named.conf"
        self.config.write_text(
            "".join(key_text(name) for name in SECRETS)
            + f"""
options {{
  directory "{self.home}";
  listen-on port {self.port} {{ 127.0.0.1; }};
  listen-on-v6 {{ none; }};
  pid-file "{self.home}/named.pid";
  session-keyfile "{self.home}/session.key";
  managed-keys-directory "{self.home}";
  recursion no;
  dnssec-validation no;
  notify no;
  allow-transfer {{ key admin-key; }};
}};
controls {{ }};
logging {{ channel out {{ file "{self.home}/log"; severity info; print-time yes; }}; category default {{ out; }};
  category update-security {{ out; }}; category update {{ null; }}; }};
"""
            + "\n".join(statements)
        )

    def start(self) -> None:
        with open(self.home / "stderr", "ab") as stderr:
            self.process = subprocess.Popen([self.program, "-f", "-n", "1", "-c", str(self.config)], stderr=stderr, stdout=stderr)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.home / "stderr").read_text() + self.log()
            try:
                # Not version.bind: named limits the rate of that, and one that loads a large zone would never be heard.
                dns.query.udp(dns.message.make_query(".", "SOA"), "127.0.0.1", 0.2, self.port)
                return
            except (dns.exception.Timeout, OSError):
                time.sleep(0.05)
        raise AssertionError("named does not answer: " + self.log())

    def log(self) -> str:
        file = self.home / "log"
        return file.read_text() if file.exists() else ""

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
            self.process = None

    def send(self, message: dns.message.Message, key: str | None = "admin-key", *, tcp: bool = True) -> dns.message.Message:
        if key:
            message.use_tsig(KEYS[key])
        ask = dns.query.tcp if tcp else dns.query.udp
        return ask(message, "127.0.0.1", 5, self.port)

    def serial(self, zone: str) -> int:
        reply = self.send(dns.message.make_query(zone, "SOA"))
        return int(next(iter(reply.answer[0])).serial)

    def lines(self, zone: str) -> set[str]:
        """Every record of the zone but SOA, as "owner ttl type rdata", by AXFR."""
        import dns.rdatatype

        out: set[str] = set()
        transfer = dns.message.make_query(zone, "AXFR")
        transfer.use_tsig(KEYS["admin-key"])
        found = dns.zone.Zone(zone, relativize=False)
        dns.query.inbound_xfr("127.0.0.1", found, transfer, self.port, timeout=5)
        for name, ttl, rd in found.iterate_rdatas():
            if rd.rdtype != dns.rdatatype.SOA:
                out.add(f"{name.to_text()} {ttl} {dns.rdatatype.to_text(rd.rdtype)} {rdata_text(rd)}")
        return out

    def put(self, zone: str, lines: list[str], take: set[str] | None = None) -> None:
        """The operator's hand: add and delete records with the admin key."""
        update = dns.update.UpdateMessage(zone)
        for line in take or ():
            owner, _, rtype, text = line.split(" ", 3)
            update.delete(owner, rtype, text)
        for line in lines:
            owner, ttl, rtype, text = line.split(" ", 3)
            update.add(owner, int(ttl), rtype, text)
        reply = self.send(update)
        assert reply.rcode() == dns.rcode.NOERROR, dns.rcode.to_text(reply.rcode())
