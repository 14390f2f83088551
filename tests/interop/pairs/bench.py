"""The stage of a case: two servers, a cable for their clients and one for themselves, many clients, and the judgement at the end."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network

from tests.interop.pairs.case import Job, Result
from tests.interop.pairs.judgement import Server as Seen
from tests.interop.pairs.judgement import differences, judge
from tests.interop.pairs.people import PATIENCE_S, People
from tests.interop.pairs.record import denied, twice
from tests.interop.pairs.server import Ours, Product, Server, Theirs
from tests.interop.pairs.wire import Capture, Reading
from tests.lab import isc, ours
from tests.lab.certificates import Ca
from tests.lab.isc import Dhcpd
from tests.lab.lab import Host, Lab
from tests.lab.ours import Failoverd
from tests.lab.terms import Pair, Role, Scope
from tests.lab.wait import LabError, until

NAME = "office"
FIRST, SECOND, RELAY = "10.16.255.1", "10.16.255.2", "10.16.255.3"
FIRST_LINK, SECOND_LINK = "10.77.0.1", "10.77.0.2"
POOL_FIRST = IPv4Address("10.16.0.1")
PORT = 647
CLIENT_NET, LINK_NET = "br0", "fo"
LEAVES = re.compile(r"I move from normal |\] state-changed +detail=['\"]normal -> ")
AGREE_S = 30.0  # dhcpd acknowledges up to 2 s late, frees an expired lease up to 6 s after its end

SWALLOW = f"""
table inet swallow {{
  chain in {{ type filter hook input priority 0; ip saddr {FIRST_LINK} drop; }}
  chain out {{ type filter hook output priority 0; ip daddr {FIRST_LINK} drop; }}
}}
"""

TLS = 'tls = {{ cert-file = "{0}/{{server}}.pem", key-file = "{0}/{{server}}.key", ca-file = "{0}/ca.pem" }}\n'


class Failure(Exception):
    """The case showed something that must not be."""


class Bench:
    """Build with `Bench(lab, job)`; `close` ends it."""

    def __init__(self, lab: Lab, job: Job) -> None:
        self.lab, self.job, self.settings = lab, job, job.case.settings
        self.result = Result(job.key)
        settings = self.settings
        for net in (CLIENT_NET, LINK_NET):
            lab.net(net)
        hosts = [lab.host(name) for name in ("dhcp1", "dhcp2", "people")]
        for host, address in zip(hosts, (FIRST, SECOND, RELAY), strict=True):
            lab.link(host, CLIENT_NET, f"{address}/16")
        for host, address in zip(hosts, (FIRST_LINK, SECOND_LINK), strict=False):
            lab.link(host, LINK_NET, f"{address}/24")
        self.pair = Pair(
            FIRST_LINK,
            SECOND_LINK,
            NAME,
            PORT,
            settings.mclt_s,
            settings.lease_s,
            max_response_delay_s=settings.dhcpd_delay_s,
        )
        self.scope = Scope(IPv4Network("10.16.0.0/16"), RELAY, str(POOL_FIRST), str(POOL_FIRST + settings.pool - 1))
        self.primary = self._server(Role.PRIMARY)
        self.secondary = self._server(Role.SECONDARY)
        self.servers = (self.primary, self.secondary)
        self.capture = Capture(lab, hosts[0], "eth1", PORT)
        self.people = People(hosts[2], RELAY, (FIRST, SECOND))
        self.normals: list[float] = []
        self.outside: set[str] = set()  # addresses that no relationship shares
        self.astray: set[str] = set()  # addresses on which clients and databases did not come to agree

    def conf(self, role: Role, name: str = NAME) -> str:
        """The configuration of one side, dhcpd.conf or failoverd.toml. `name`: of the relationship."""
        settings = self.settings
        pair = Pair(
            FIRST_LINK, SECOND_LINK, name, PORT, settings.mclt_s, settings.lease_s, max_response_delay_s=settings.dhcpd_delay_s
        )
        if self.job.cast.product(role) is Product.DHCPD:
            peer = f"  min-balance {settings.min_balance_s};\n  max-balance {settings.max_balance_s};\n"
            return isc.config(pair, role, [self.scope], f"omapi-port 7911;\n{settings.dhcpd_extra}", peer)
        mine = [host for host, product in zip(("dhcp1", "dhcp2"), self.job.cast.products, strict=True) if product is Product.OURS]
        balance = f'min-balance = "{settings.min_balance_s}s"\nmax-balance = "{settings.max_balance_s}s"\n'
        return ours.config(
            self.lab.folder,
            pair,
            [self.scope],
            ours=mine,
            interfaces=["eth0"],
            relationship_extra=balance + settings.relationship_extra + self._tls(),
            extra=settings.ours_extra,
            ping=settings.ping,
        )

    def _tls(self) -> str:
        """The relationship's keys for an authenticated link, when the case has one; certificates of the lab's own CA."""
        folder = self.lab.folder / "tls"
        if self.settings.tls and not folder.exists():
            ca = Ca.make(folder)
            for name in ("dhcp1", "dhcp2"):
                ca.sign(name, folder)
        return TLS.format(folder) if self.settings.tls else ""

    def _server(self, role: Role) -> Server:
        first = role is Role.PRIMARY
        host = self.lab.hosts["dhcp1" if first else "dhcp2"]
        address, link = (FIRST, FIRST_LINK) if first else (SECOND, SECOND_LINK)
        if self.job.cast.product(role) is Product.DHCPD:
            return Theirs(Dhcpd.make(host, self.conf(role)), role, address, link, NAME)
        return Ours(Failoverd.make(host, self.conf(role), NAME), role, address, link)

    def close(self) -> None:
        """No more clients."""
        self.people.close()

    # --- the two of them ---

    def side(self, role: Role) -> Server:
        """The server of a role."""
        return self.primary if role is Role.PRIMARY else self.secondary

    def subject(self) -> Server:
        """Whom a case without a side is about: the failoverd, the primary where both are alike."""
        return next((server for server in self.servers if isinstance(server, Ours)), self.primary)

    def other(self, server: Server) -> Server:
        """Its partner."""
        return self.secondary if server is self.primary else self.primary

    def start(self) -> None:
        """Both, and normal."""
        for server in self.servers:
            server.start()
        self.normal(30)

    def states(self) -> tuple[str, str]:
        """Of primary and secondary."""
        return self.primary.state(), self.secondary.state()

    def both(self, state: str) -> Callable[[], bool]:
        """A check: both are in this state."""

        def check() -> bool:
            found = self.states()
            if set(found) != {state}:
                raise LabError(f"primary {found[0]}, secondary {found[1]}")
            return True

        return check

    def normal(self, within_s: float, since: float | None = None) -> float:
        """Wait until both are normal; the seconds it took, from now or from `since` (monotonic)."""
        began = time.monotonic() if since is None else since
        until("both are normal", self._normal_and_linked, within_s, 0.1)
        took = time.monotonic() - began
        self.normals.append(took)
        return took

    def _normal_and_linked(self) -> bool:
        apart = [server.name for server in self.servers if isinstance(server, Ours) and not server.linked()]
        if apart:
            raise LabError(f"not linked: {apart}; {self.states()}")
        return self.both("normal")()

    def normal_now(self) -> bool:
        """Whether both are normal and in contact."""
        try:
            return self._normal_and_linked()
        except LabError:
            return False

    def moves(self) -> int:
        """How often a server has left normal so far, by the logs of both."""
        return sum(len(LEAVES.findall(server.text())) for server in self.servers)

    def halves(self) -> dict[Role, set[str]]:
        """Which free addresses belong to whom: BACKUP is the secondary's, all else that is free the primary's."""
        known = [server.leases() for server in self.servers]
        backup = {address for rows in known for address, row in rows.items() if row[0] == "backup"}
        taken = {address for rows in known for address, row in rows.items() if row[0] not in ("free", "backup")}
        everything = {str(POOL_FIRST + number) for number in range(self.settings.pool)}
        return {Role.PRIMARY: everything - backup - taken, Role.SECONDARY: backup - taken}

    def becomes(self, server: Server, *states: str, within_s: float = 30.0) -> str:
        """Wait until a server is in one of the states; which."""

        def check() -> str:
            found = server.state()
            if found not in states:
                raise LabError(f"{server.name} is {found}")
            return found

        return until(f"{server.name} is {' or '.join(states)}", check, within_s, 0.1)

    def cut(self) -> float:
        """Cut the cable between the servers; clients still reach both. The moment, monotonic."""
        self.lab.hosts["dhcp2"].cut("eth1")
        return time.monotonic()

    def heal(self) -> float:
        """Mend it. The moment, monotonic."""
        self.lab.hosts["dhcp2"].heal("eth1", LINK_NET)
        return time.monotonic()

    def swallow(self) -> float:
        """As a router in between that is dead: packets go nowhere, and nobody is told, not even by ARP. The moment, monotonic."""
        self.lab.hosts["dhcp2"].run("nft", "-f", "-", text=SWALLOW)
        return time.monotonic()

    def spit(self) -> float:
        """The router lives again. The moment, monotonic."""
        self.lab.hosts["dhcp2"].run("nft", "delete", "table", "inet", "swallow")
        return time.monotonic()

    @contextlib.contextmanager
    def filtered(self, host: Host, rules: str) -> Iterator[None]:
        """With an nftables table `held` in a host."""
        host.run("nft", "-f", "-", text=f"table inet held {{\n{rules}}}\n")
        try:
            yield
        finally:
            host.run("nft", "delete", "table", "inet", "held")

    def apart(self) -> None:
        """Cut, and wait until both have noticed."""
        self.cut()
        for server in self.servers:
            self.becomes(server, "communications-interrupted")

    def expect(self, fine: bool, what: str) -> None:
        """Fail with `what` unless `fine`."""
        if not fine:
            raise Failure(what)

    # --- the judgement ---

    def agree(self, within_s: float = AGREE_S) -> None:
        """Wait until both databases have exactly the leases that the clients hold, none shorter than the client was told."""
        wrong: dict[str, str] = {}

        def same() -> bool:
            nonlocal wrong
            wrong = self.disagreements()
            return not wrong

        with contextlib.suppress(LabError):
            until("the databases agree", same, within_s, 0.5)
        self.astray = set(wrong)
        self.result.failures.extend(list(wrong.values())[:5])
        if len(wrong) > 5:
            self.result.failures.append(f"and {len(wrong) - 5} more of that kind")

    def disagreements(self) -> dict[str, str]:
        """Address -> how the clients and the two databases differ on it."""
        held = {address: one for address, one in self.people.holding().items() if address not in self.outside}
        found: dict[str, str] = {}
        for server in self.servers:
            rows = {address: row for address, row in server.leases().items() if address not in self.outside}
            found.update({address: f"{server.name}: {text}" for address, text in differences(held, rows).items()})
        return found

    def lost(self) -> set[str]:
        """Addresses of leases that a client was told and that did not last: NAKed, or held by it and not in both databases."""
        held = self.people.holding()
        return {told.address for told in denied(self.people.told())} | {address for address in self.astray if address in held}

    def finish(self) -> Result:
        """What the clients were told, what the programs logged, and what the dissector says."""
        result, job = self.result, self.job
        result.normal_s = max(self.normals, default=None)
        waits = self.people.waits()
        result.longest_s = waits[0][0] if waits else 0.0
        result.asked = len(self.people.clients)
        result.refused = len({client.mac for wait, client in waits if wait >= PATIENCE_S})
        result.twice, result.lost = sorted(twice(self.people.told())), sorted(self.lost())
        result.hole = job.case.hole(job.cast, job.side) or ""
        self.capture.stop()
        secrets = [NAME.encode(), *(client.mac for client in self.people.clients)]
        reading = self.capture.sealed(secrets) if self.settings.tls else self.capture.read()
        result.messages = reading.messages
        result.rejects = {str(reason): count for reason, count in sorted(reading.rejects.items())}
        result.failures.extend(judge(result, job, [self._seen(server, result.twice) for server in self.servers], reading))
        self._delays(reading)
        result.ok = not result.failures
        return result

    def _seen(self, server: Server, twice: Sequence[str]) -> Seen:
        reported = frozenset(address for address in twice if server.reported(address))
        return Seen(server.name, server.died(), server.text()[-300:], server.complaints(), reported, self._left_in(server))

    def _left_in(self, server: Server) -> str:
        try:
            found = server.state()
        except LabError as error:
            return str(error)
        return "" if found == "normal" else found

    def _delays(self, reading: Reading) -> None:
        result = self.result
        for server in self.servers:
            delays = sorted(reading.acks_s.get(server.link, []))
            if delays:
                result.measured[f"BNDACK delay of {server.role}, median"] = delays[len(delays) // 2]
                result.measured[f"BNDACK delay of {server.role}, longest"] = delays[-1]
