"""The three pairs: how each is configured for the same site, killed, declared down and asked for its state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network

from tests.interop.pairs.server import Ours, Theirs
from tests.interop.pairs.server import Server as Failover
from tests.lab import isc, kea, ours
from tests.lab.isc import Dhcpd
from tests.lab.kea import HaTimes, Kea
from tests.lab.lab import Host, Lab
from tests.lab.ours import Failoverd
from tests.lab.terms import Pair, Role, Scope
from tests.lab.wait import LabError
from tests.outage.terms import LEAST_OUR_DELAY_S, Clock, Site

NAME = "office"
ADDRESSES = {Role.PRIMARY: "10.16.255.1", Role.SECONDARY: "10.16.255.2"}
LINKS = {Role.PRIMARY: "10.77.0.1", Role.SECONDARY: "10.77.0.2"}
RELAY = "10.16.255.3"
FIRST = IPv4Address("10.16.0.1")
CLIENT_NET, LINK_NET = "br0", "fo"


class Product(StrEnum):
    """Whose pair."""

    FAILOVERD = "failoverd"
    DHCPD = "dhcpd"
    KEA = "kea"

    @property
    def words(self) -> str:
        """For the table."""
        return {"failoverd": "failoverd", "dhcpd": "ISC dhcpd 4.4.3", "kea": "Kea 2.2 HA"}[self.value]


class Scene(StrEnum):
    """Who says partner-down. LATE: nobody, and the death is noticed as late as by a failoverd."""

    NOBODY = "nobody"
    LATE = "late"
    OPERATOR = "operator"
    ITSELF = "itself"


class Member(ABC):
    """One server of a pair. `serving`: the state in which it and its partner both serve as they should."""

    serving: str

    def __init__(self, host: Host, address: str) -> None:
        self.host, self.address = host, address

    def cut(self) -> None:
        """Both of its cables are pulled."""
        for port in ("eth0", "eth1"):
            self.host.cut(port)

    def heal(self) -> None:
        """And put back."""
        for port, net in (("eth0", CLIENT_NET), ("eth1", LINK_NET)):
            self.host.heal(port, net)

    @abstractmethod
    def start(self) -> None:
        """Start it with the database that it has."""

    @abstractmethod
    def kill(self) -> None:
        """kill -9."""

    @abstractmethod
    def state(self) -> str:
        """In the words of its program; LabError while it cannot tell."""

    @abstractmethod
    def partner_down(self) -> None:
        """What an operator types when the other one is dead."""

    @abstractmethod
    def died(self) -> bool:
        """Whether it ended although nobody ended it."""


class FailoverMember(Member):
    """A failoverd or a dhcpd."""

    serving = "normal"

    def __init__(self, server: Failover) -> None:
        super().__init__(server.host, server.address)
        self.server = server

    def start(self) -> None:
        self.server.start()

    def kill(self) -> None:
        self.server.kill()

    def state(self) -> str:
        return self.server.state()

    def partner_down(self) -> None:
        self.server.partner_down()

    def died(self) -> bool:
        return self.server.died()


class KeaMember(Member):
    """A kea-dhcp4."""

    serving = "load-balancing"

    def __init__(self, daemon: Kea, address: str) -> None:
        super().__init__(daemon.host, address)
        self.daemon, self.runs = daemon, 0

    def start(self) -> None:
        self.runs += 1
        self.daemon.start(log=f"kea-{self.runs}")

    def kill(self) -> None:
        if self.daemon.process is not None:
            self.daemon.process.kill()
            self.daemon.process = None

    def state(self) -> str:
        if self.daemon.process is None:
            raise LabError(f"kea-dhcp4 on {self.host.name} does not run")
        return self.daemon.state()

    def partner_down(self) -> None:
        """Its manual has no command for a dead partner but this one, which a server whose partner does not answer takes as partner-down."""
        self.daemon.maintenance_start()

    def died(self) -> bool:
        return self.daemon.process is not None and not self.daemon.process.alive()


def plan() -> list[tuple[Product, Scene]]:
    """Who plays what: every pair in every scene, but that only a dhcpd can be told to notice later."""
    return [(product, scene) for scene in Scene for product in Product if scene is not Scene.LATE or product is Product.DHCPD]


def terms(site: Site, clock: Clock, product: Product, scene: Scene) -> tuple[Pair, Scope]:
    """What all three are told alike. failoverd takes no max-response-delay below 15 s."""
    late = product is Product.FAILOVERD or scene is Scene.LATE
    delay_s = clock.whole(site.silence_s)
    pair = Pair(
        LINKS[Role.PRIMARY],
        LINKS[Role.SECONDARY],
        NAME,
        mclt_s=clock.whole(site.mclt_s),
        lease_s=clock.whole(site.lease_s),
        max_response_delay_s=max(delay_s, LEAST_OUR_DELAY_S) if late else delay_s,
    )
    return pair, Scope(IPv4Network("10.16.0.0/16"), RELAY, str(FIRST), str(FIRST + site.pool - 1))


def hosts(lab: Lab) -> dict[Role, Host]:
    """Two servers, each on the clients' net and on one of their own, named as failoverd's configuration has them."""
    for net in (CLIENT_NET, LINK_NET):
        lab.net(net)
    found = {Role.PRIMARY: lab.host("dhcp1"), Role.SECONDARY: lab.host("dhcp2")}
    for role, host in found.items():
        lab.link(host, CLIENT_NET, f"{ADDRESSES[role]}/16")
        lab.link(host, LINK_NET, f"{LINKS[role]}/24")
    return found


def people_host(lab: Lab) -> Host:
    """Where the clients are, behind a relay's address."""
    host = lab.host("people")
    lab.link(host, CLIENT_NET, f"{RELAY}/16")
    return host


def members(lab: Lab, product: Product, scene: Scene, site: Site, clock: Clock) -> dict[Role, Member]:
    """A pair, not started."""
    pair, scope = terms(site, clock, product, scene)
    make = {Product.FAILOVERD: our_member, Product.DHCPD: dhcpd_member, Product.KEA: kea_member}[product]
    return {role: make(host, role, pair, scope, Times.of(scene, site, clock)) for role, host in hosts(lab).items()}


@dataclass(slots=True, frozen=True)
class Times:
    """Of the servers, beside those of the pair; compressed. `automatic_s`: from the loss of contact to partner-down, 0 for never."""

    min_balance_s: int
    max_balance_s: int
    automatic_s: int
    kea: HaTimes

    @classmethod
    def of(cls, scene: Scene, site: Site, clock: Clock) -> Times:
        """The clients' `secs` counts site seconds, and so does Kea's max-ack-delay, which is compared with it."""
        plain, itself = HaTimes(), scene is Scene.ITSELF
        scaled = HaTimes(
            heartbeat_delay=round(plain.heartbeat_delay / clock.factor),
            max_response_delay=round(1000 * site.silence_s / clock.factor),
            max_unacked_clients=0 if itself else plain.max_unacked_clients,
        )
        return cls(
            clock.whole(site.min_balance_s), clock.whole(site.max_balance_s), clock.whole(site.automatic_s) if itself else 0, scaled
        )


def kea_member(host: Host, role: Role, pair: Pair, scope: Scope, times: Times) -> Member:
    """A Kea of the HA pair."""
    return KeaMember(Kea.make(host, kea.config(host.folder, pair, role, scope, times.kea)), ADDRESSES[role])


def dhcpd_member(host: Host, role: Role, pair: Pair, scope: Scope, times: Times) -> Member:
    """A dhcpd."""
    peer = f"  min-balance {times.min_balance_s};\n  max-balance {times.max_balance_s};\n"
    peer += f"  auto-partner-down {times.automatic_s};\n" if times.automatic_s else ""
    text = isc.config(pair, role, [scope], "omapi-port 7911;\n", peer)
    return FailoverMember(Theirs(Dhcpd.make(host, text), role, ADDRESSES[role], LINKS[role], NAME))


def our_member(host: Host, role: Role, pair: Pair, scope: Scope, times: Times) -> Member:
    """A failoverd. auto-partner-down is taken at one end only: at the one that stays."""
    extra = f'min-balance = "{times.min_balance_s}s"\nmax-balance = "{times.max_balance_s}s"\n'
    text = ours.config(host.lab.folder, pair, [scope], interfaces=["eth0"], relationship_extra=extra)
    if times.automatic_s:
        side = f'{Role.SECONDARY} = {{ server = "dhcp2", '
        text = text.replace(side, f'{side}auto-partner-down = "{times.automatic_s}s", ')
    return FailoverMember(Ours(Failoverd.make(host, text, NAME), role, ADDRESSES[role], LINKS[role]))
