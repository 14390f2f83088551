"""DHCP clients that behave: RFC 2131 4.4, with real messages. Some reboot, roam between the link and the relayed one, release,
decline.

What a client holds it counts from the moment it sent its REQUEST (RFC 2131 4.4.1). It believes in its lease to the end, whether it
is switched on or not, unless it gave the address up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from failoverd.dhcp.message import BOOTREQUEST, BROADCAST, ETHERNET, Code, MessageType, Packet, decode, encode
from failoverd.sim.network import Datagrams
from failoverd.sim.noise import noise
from failoverd.sim.server import Server
from failoverd.sim.trace import Chose, GaveUp, Held
from failoverd.sim.world import World

EVERYBODY = 0xFFFFFFFF
SERVER_PORT, CLIENT_PORT = 67, 68
COLLECT_S = 1.0  # how long offers are collected
RETRY_S = 4.0
TRIES = 4
THROW_S = 3.0  # between two packets of a hostile one
HOLDS = ("bound", "renewing", "rebinding")
GREED_S = 8.0  # how long a greedy one stays the same


@dataclass(slots=True, frozen=True)
class Segment:
    """Where a client is. `giaddr`: the relay, 0 on the servers' own link."""

    name: str
    giaddr: int


@dataclass(slots=True)
class Habits:
    """How a client lives; times in seconds. `client_id`: it sends option 61. `fresh`: how often it comes back as another one (a
    guest's phone with a new hardware address), while its old self still holds what it was given. The others are probabilities,
    too. `secs`: what it says instead of the seconds ("zero", "swapped" octets, "high" at once). `greedy`: it is a new one every few
    seconds. `hostile`: it only throws packets (noise.py)."""

    client_id: bool
    named: bool
    on_s: float
    off_s: float
    release: float
    roam: float
    decline: float
    fresh: float = 0.0
    hurry_s: float = 0.0  # it renews after this time already
    secs: str = ""
    greedy: bool = False
    hostile: bool = False


class Client:
    """One client. States are RFC 2131 figure 5's, in words."""

    def __init__(
        self,
        world: World,
        number: int,
        servers: Sequence[Server],
        net: Datagrams,
        places: Sequence[Segment],
        habits: Habits,
    ) -> None:
        """Switched off."""
        self.world, self.number, self.servers, self.net, self.places, self.habits = world, number, servers, net, places, habits
        self.rng = world.random(f"client {number}")
        self.lives = 0
        self.name, self.mac = self._identity()
        self.place = places[number % len(places)]
        self.reach = {server.name for server in servers}
        self.state = "off"
        self.ended = False
        self.address = 0
        self.until = 0.0  # true time at which its lease ends
        self.server = 0
        self.began = 0.0
        self.sent = 0.0
        self.xid = 0
        self.tries = 0
        self.last_place = self.place
        self._turn = 0  # timers of an earlier state are void
        self._times = (0.0, 0.0)
        self._offers: list[Packet] = []

    def _identity(self) -> tuple[str, bytes]:
        name = f"c{self.number}" + (f"-{self.lives}" if self.lives else "")
        return name, bytes((2, 0)) + self.lives.to_bytes(2, "big") + self.number.to_bytes(2, "big")

    # --- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Switch on: INIT-REBOOT when it remembers a lease, else INIT."""
        if self.ended:
            return
        self.began = self.world.t
        if self.address and self.until > self.world.t and self.last_place is self.place:
            self._reboot()
        else:
            self._init()

    def live_from_now(self, until_t: float) -> None:
        """Switch on, and live."""
        if self.habits.hostile:
            self._throw(until_t)
            return
        if self.state not in HOLDS:
            self.start()
        self.live(until_t)

    def _throw(self, until_t: float) -> None:
        """One packet that means no good, and the next."""
        if self.world.t >= until_t or self.ended:
            return
        where = self.place
        for server in self.servers:
            if server.name in self.reach:
                self._carry(server, bool(where.giaddr), 0, EVERYBODY, noise(self.rng, self.number, where.giaddr, server.address))
        self.world.after(self.rng.expovariate(1 / THROW_S), lambda: self._throw(until_t))

    def live(self, until_t: float) -> None:
        """Go through days until `until_t`, then stay on."""
        if self.world.t >= until_t:
            return

        def sleep() -> None:
            if self.world.t < until_t:
                self._off()
                self.world.after(0.1 if self.habits.greedy else self.rng.expovariate(1 / self.habits.off_s) + 0.1, wake)

        def wake() -> None:
            if self.rng.random() < self.habits.roam:
                self.place = self.rng.choice(list(self.places))
            if self.habits.greedy or self.rng.random() < self.habits.fresh:
                self.lives += 1
                self.name, self.mac = self._identity()
                self.address, self.until = 0, 0.0
            self.start()
            self.live(until_t)

        on_s = GREED_S if self.habits.greedy else self.habits.on_s
        self.world.after(self.rng.expovariate(1 / on_s) + 1.0, sleep)

    def uses(self, address: int) -> bool:
        """Whether it is there and has this address on its interface."""
        return self.address == address and self.state in HOLDS and self.until > self.world.t

    def stop(self) -> None:
        """Silence, without a word to anybody."""
        self._enter("off")

    def end(self) -> None:
        """Silence for good."""
        self.stop()
        self.ended = True

    def _off(self) -> None:
        if self.state in HOLDS and self.rng.random() < self.habits.release:
            self.release()
        self._enter("off")

    def release(self) -> None:
        """Give back what it has, and be silent."""
        if self.state in HOLDS:
            self._send(MessageType.RELEASE, to=self.server, ciaddr=self.address, options={Code.SERVER_ID: self._server_id()})
            self._give_up("release")
        self._enter("off")

    def _give_up(self, why: str) -> None:
        if self.address:
            self.world.trace.add(GaveUp(self.world.t, self.name, self.address, why))
        self.address, self.until = 0, 0.0

    # --- the states of RFC 2131 figure 5 --------------------------------------------------------------------------------

    def _enter(self, state: str) -> None:
        self.state = state
        self._turn += 1
        self.tries = 0

    def _later(self, delay_s: float, act: Callable[[], None]) -> None:
        turn = self._turn

        def due() -> None:
            if turn == self._turn:
                act()

        self.world.after(delay_s, due)

    def _init(self) -> None:
        self._enter("selecting")
        self.began = self.world.t
        self._discover()

    def _discover(self) -> None:
        self._new_xid()
        self._offers = []
        options = {Code.REQUESTED_ADDRESS: self.address.to_bytes(4, "big")} if self.address and self.rng.random() < 0.5 else {}
        self._send(MessageType.DISCOVER, options=options)
        self._later(COLLECT_S + self.rng.random(), self._choose)

    def _choose(self) -> None:
        if not self._offers:
            self.tries += 1
            self._later(min(RETRY_S * self.tries, 30.0) + self.rng.random(), self._discover)
            return
        offer = self.rng.choice(self._offers)
        wanted, server = offer.yiaddr, offer.options[Code.SERVER_ID]
        self.world.trace.add(Chose(self.world.t, bytes((ETHERNET,)) + self.mac))
        self._enter("requesting")
        self._ask_for(wanted, server)

    def _ask_for(self, wanted: int, server: bytes) -> None:
        self.tries += 1
        if self.tries > TRIES:
            self._init()
            return
        self.sent = self.world.t
        self._send(MessageType.REQUEST, options={Code.REQUESTED_ADDRESS: wanted.to_bytes(4, "big"), Code.SERVER_ID: server})
        self._later(RETRY_S + self.rng.random(), lambda: self._ask_for(wanted, server))

    def _reboot(self) -> None:
        self._enter("rebooting")
        self._new_xid()
        self._ask_again()

    def _ask_again(self) -> None:
        self.tries += 1
        if self.tries > TRIES:
            self._init()
            return
        self.sent = self.world.t
        self._send(MessageType.REQUEST, options={Code.REQUESTED_ADDRESS: self.address.to_bytes(4, "big")})
        self._later(RETRY_S + self.rng.random(), self._ask_again)

    def _bound(self, ack: Packet) -> None:
        lease_s = ack.address(Code.LEASE_TIME)
        if self.address and self.address != ack.yiaddr:
            self.address = 0  # it goes on believing in the old one on paper only: nothing is given up on the wire
        self.address, self.until = ack.yiaddr, self.sent + lease_s
        self.last_place = self.place
        self.server = ack.address(Code.SERVER_ID)
        if self.rng.random() < self.habits.decline:
            options = {Code.REQUESTED_ADDRESS: self.address.to_bytes(4, "big"), Code.SERVER_ID: self._server_id()}
            self._send(MessageType.DECLINE, options=options)
            self.world.trace.add(Held(self.world.t, self.name, self.address, self.world.t))
            self._give_up("decline")
            self._enter("waiting")
            self._later(10.0, self._init)
            return
        self.world.trace.add(Held(self.world.t, self.name, self.address, self.until))
        self._enter("bound")
        t1 = ack.address(Code.RENEWAL_TIME) or lease_s // 2
        t2 = ack.address(Code.REBINDING_TIME) or lease_s * 7 // 8
        if self.habits.hurry_s:
            t1 = min(t1, round(self.rng.expovariate(1 / self.habits.hurry_s)))
        self._later(max(self.sent + t1 - self.world.t, 0.5), lambda: self._renew(self.sent + t2))

    def _renew(self, t2: float) -> None:
        self._enter("renewing")
        self._new_xid()
        self._times = (t2, self.until)
        self._extend()

    def _extend(self) -> None:
        t2, until = self._times
        now = self.world.t
        if now >= until:
            self.address = 0
            self._init()
            return
        if now >= t2 and self.state == "renewing":
            self._enter("rebinding")
            self._new_xid()
        self.sent = now
        self._send(MessageType.REQUEST, to=self.server if self.state == "renewing" else EVERYBODY, ciaddr=self.address)
        end = t2 if self.state == "renewing" else until
        self._later(min(max((end - now) / 2, 5.0), max(end - now, 0.1)), self._extend)

    # --- messages -------------------------------------------------------------------------------------------------------

    def hear(self, data: bytes) -> None:
        """A reply arrived."""
        packet = decode(data)
        if packet.xid != self.xid or packet.chaddr != self.mac or self.state == "off":
            return
        kind = packet.message_type
        if kind == MessageType.OFFER and self.state == "selecting":
            self._offers.append(packet)
        elif kind == MessageType.ACK and self.state in ("requesting", "rebooting", "renewing", "rebinding"):
            self._bound(packet)
        elif kind == MessageType.NAK and self.state in ("requesting", "rebooting", "renewing", "rebinding"):
            if self.state != "requesting":
                self._give_up("nak" if self.place is self.last_place else "nak elsewhere")
            self._init()

    def _new_xid(self) -> None:
        self.xid = self.rng.getrandbits(32)

    def _server_id(self) -> bytes:
        return self.server.to_bytes(4, "big")

    def _send(self, kind: MessageType, *, options: dict[Code, bytes] | None = None, to: int = EVERYBODY, ciaddr: int = 0) -> None:
        relayed = bool(self.place.giaddr) and to == EVERYBODY
        packet = Packet(
            op=BOOTREQUEST,
            htype=ETHERNET,
            hlen=6,
            hops=1 if relayed else 0,
            xid=self.xid,
            secs=self._secs(),
            flags=BROADCAST,
            ciaddr=ciaddr,
            yiaddr=0,
            siaddr=0,
            giaddr=self.place.giaddr if relayed else 0,
            chaddr=self.mac,
        )
        packet.options = {int(Code.MESSAGE_TYPE): bytes((kind,))}
        if self.habits.client_id:
            packet.options[Code.CLIENT_ID] = b"\x01" + self.mac
        packet.options.update({int(code): value for code, value in (options or {}).items()})
        if self.habits.named and kind in (MessageType.DISCOVER, MessageType.REQUEST):
            packet.options[Code.HOST_NAME] = self.name.encode()
        if relayed:
            packet.options[Code.AGENT_INFORMATION] = b"\x01\x04port"
        data = encode(packet)
        for server in self.servers:
            if server.name in self.reach and to in (EVERYBODY, server.address):
                self._carry(server, relayed, ciaddr, to, data)

    def _secs(self) -> int:
        seconds, habit = min(int(self.world.t - self.began), 65535), self.habits.secs
        if habit == "swapped":
            return int.from_bytes(seconds.to_bytes(2, "little"), "big")
        return {"zero": 0, "high": 65535}.get(habit, seconds)

    def _carry(self, server: Server, relayed: bool, ciaddr: int, to: int, data: bytes) -> None:
        if relayed:
            self.net.carry(lambda: server.datagram(self.place.giaddr, SERVER_PORT, server.address, data))
        else:
            dst = server.address if to != EVERYBODY else EVERYBODY
            self.net.carry(lambda: server.datagram(ciaddr, CLIENT_PORT, dst, data))
