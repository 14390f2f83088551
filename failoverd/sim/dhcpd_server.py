"""A dhcpd 4.4.3 in the simulator: the model of dhcpd_model.py behind real bytes, with a lease file, a clock, and every way to fall.

It answers the simulated clients as dhcpd does (failover-protocol.md 7.1 lease times, 7.2 `mine()`, 9.4 load balancing, 9.5 choice).
What is left out: a client is its hardware address (so clients of such a run send no option 61), one pool, no DNS, no ping, no
dhcp-cache-threshold.
Its lease file is as durable as an fsync before every answer makes it; a dhcpd notices neither a full nor a slow disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from failoverd.config import Config
from failoverd.dhcp.message import BOOTREPLY, BROADCAST, ETHERNET, Code, MessageType, Packet, decode, encode
from failoverd.dhcp.reasons import PacketError
from failoverd.failover import balance, hashing
from failoverd.failover import message as wire
from failoverd.failover.message import ServerState
from failoverd.leases.lease import BindingState, Lease
from failoverd.ports import ClientSend, Input, LinkBytes, LinkConnect, LinkDown, LinkSend, LinkUp, Reply
from failoverd.sim.dhcpd_leases import DhcpdLease
from failoverd.sim.dhcpd_model import Dhcpd, DhcpdTerms, LeaseFile
from failoverd.sim.network import Tcp
from failoverd.sim.server import Server
from failoverd.sim.trace import Answered, Final, Heard, Moved, Sent, Stated
from failoverd.sim.world import EPOCH, World

B = BindingState
OFFER_S = 120  # an OFFER holds its address for so long (6.2, `ends`)
BALANCE_S = 60  # min-balance: how often it looks at its pool
ABANDON_S = 180  # abandon-lease-time, as the partner's
WAKE_S = 0.25  # a timer that stays due is looked at so often
DIES = "dhcpd ends: "
LONE = "a dhcpd that was declared down serves alone"


class DhcpdServer(Server):
    """One dhcpd with one relationship and the pool that names it."""

    def __init__(
        self,
        world: World,
        name: str,
        address: int,
        config: Config,
        skew_s: float,
        tcp: Tcp,
        to_client: Callable[[Server, ClientSend], None],
        terms: DhcpdTerms,
        max_secs: int,
    ) -> None:
        """Switched on, not started. `config`: the partner's."""
        super().__init__(world, name, address, config, skew_s, tcp, to_client, lambda *_: None, lambda *_: None)
        self.terms, self.max_secs = terms, max_secs
        self.file = LeaseFile()
        self.model: Dhcpd | None = None
        self.offered: dict[int, tuple[bytes, int]] = {}
        self._waiting: list[Callable[[Dhcpd, int], None]] = []
        self._balance_at = 0
        self._due_t = 0.0

    # --- life ---------------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Start the process on its lease file."""
        if self.up:
            return
        self.up = self.powered = True
        self.boots += 1
        self.paused = False
        self._due_t = 0.0
        self._waiting, self.offered = [], {}
        self._states = {}
        self._of_wire = {}
        self.model = Dhcpd(self.terms, self.file, self._wall())
        self._balance_at = self._wall() + BALANCE_S
        self._do(lambda model, now: None)
        self.tcp.stir()

    def crash(self, why: str, *, power: bool = False) -> None:
        """The process, or the host, is gone."""
        if self.up and self.model is not None:
            self.file = self.model.lease_file()
        self.model = None
        super().crash(why, power=power)

    def change_disk(self, why: str, change: Callable[[], None]) -> None:
        """Fall, and find no lease file. (An earlier copy of one would be taken for the newest: dhcpd cannot tell.)"""
        self.crash(why)
        self.file = LeaseFile()

    def stop(self) -> None:
        """SIGTERM: it just ends (2.3)."""
        self.crash("stopped")

    def room(self, low: bool) -> None:
        """It does not look."""

    def resume(self) -> None:
        """It goes on, with what waited."""
        if self.up and self.paused:
            self.paused = False
            self._alone()
            waiting, self._waiting = self._waiting, []
            for act in waiting:
                self._do(act)
            self._do(lambda model, now: None)

    def _alone(self) -> None:
        """A dhcpd that was declared down and is back knows nothing of it until it meets its partner, and serves all the same (safety.md 11:
        lone-boot "serve" is dhcpd's way). Whoever lets it do so states that its partner has not been in partner-down."""
        assert isinstance(self.partner, Server)
        if self.partner.saved_states.get("pair") == "partner-down":
            self.world.trace.add(Stated(self.world.t, self.name, LONE, True))

    # --- what comes in ------------------------------------------------------------------------------------------------

    def deliver(self, *inputs: Input) -> None:
        """The partner's bytes and connections; nothing else that a failoverd hears concerns a dhcpd."""
        for each in inputs:
            if isinstance(each, LinkBytes):
                self._hear(each.link, each.data)
            elif isinstance(each, LinkUp):
                self._up(each)
            elif isinstance(each, LinkDown) and each.link:
                self._down(each.link)

    def _hear(self, link: int, data: bytes) -> None:
        def hear(model: Dhcpd, now: int) -> None:
            self.world.trace.add(Heard(self.world.t, self.name, link, data))
            model.link_bytes(link, data, now)

        self._do(hear)

    def _up(self, up: LinkUp) -> None:
        self._do(lambda model, now: model.link_up(up.link, up.outgoing, now))

    def _down(self, link: int) -> None:
        def down(model: Dhcpd, now: int) -> None:
            if link in model.pending or (model.link is not None and model.link.number == link):
                model.link_down(link, now)

        self._do(down)

    def connect_failed(self, reason: str, relationship: str) -> None:
        """Nobody answered."""
        self._do(lambda model, now: model.connect_failed(now, unreachable=reason == "timed out"))

    def command(self, verb: str, args: Mapping[str, str]) -> int:
        """omshell: partner-down; it knows no other verb of ours."""
        self._typed += 1
        ident = self._typed
        known = verb == "partner-down" and "since" not in args

        def typed(model: Dhcpd, now: int) -> None:
            linked = model.link is not None
            if known and not linked:
                model.set_state(ServerState.PARTNER_DOWN, now)
            self.replies.append(Reply(ident, "ok" if known and not linked else "refused", None))

        self._do(typed)
        return ident

    def datagram(self, src_ip: int, src_port: int, dst_ip: int, data: bytes) -> None:
        """One from a client."""
        self._do(lambda model, now: self._client(model, data, now))

    # --- clients ------------------------------------------------------------------------------------------------------

    def _client(self, model: Dhcpd, data: bytes, now: int) -> None:
        try:
            packet = decode(data)
        except PacketError:
            return
        model.now = now
        wanted = packet.address(Code.REQUESTED_ADDRESS) or packet.ciaddr
        if packet.message_type == MessageType.DISCOVER:
            self._discover(model, packet, now)
        elif packet.message_type == MessageType.REQUEST:
            self._request(model, packet, wanted, now)
        elif packet.message_type == MessageType.RELEASE and wanted in model.leases:
            model.release(packet.hw, wanted, now)
        elif packet.message_type == MessageType.DECLINE and wanted in model.leases:
            self._decline(model, model.leases[wanted], packet, now)

    def _discover(self, model: Dhcpd, packet: Packet, now: int) -> None:
        """9.4: load balancing is asked after a lease was found, and only in normal."""
        lease = self._choose(model, packet.hw, now)
        if lease is None:
            return
        if model.service() == "cooperating":
            ours = hashing.is_ours(model.hba, packet.chaddr, packet.secs, primary=model.primary, max_secs=self.max_secs)
            theirs = B.BACKUP if model.primary else B.FREE
            if not ours and any(each.state is theirs for each in model.leases.values()):
                return
        self.offered[lease.address] = (packet.hw, now + OFFER_S)
        self._answer(packet, MessageType.OFFER, lease.address, model.give_s(lease))

    def _choose(self, model: Dhcpd, hw: bytes, now: int) -> DhcpdLease | None:
        """The client's own, then the head of the own free queue, then what is ours in partner-down, ABANDONED last (7.2, 9.5)."""
        self.offered = {address: each for address, each in self.offered.items() if each[1] > now}

        def open_to(lease: DhcpdLease) -> bool:
            return self.offered.get(lease.address, (hw, 0))[0] == hw

        return model.choose(hw, open_to)

    def _request(self, model: Dhcpd, packet: Packet, wanted: int, now: int) -> None:
        """9.4: gated by who owns the lease; another server's identifier is not looked at (server-id-check is off)."""
        if not model.service():
            return
        if wanted not in model.leases:
            self._answer(packet, MessageType.NAK, 0, 0)
            return
        holder = self.offered.get(wanted)
        if holder is not None and holder[0] != packet.hw and holder[1] > now:
            return
        answer = model.renew(packet.hw, wanted, now)
        if answer is None:
            return
        self.offered.pop(wanted, None)
        if answer[1]:
            self._answer(packet, MessageType.ACK, wanted, answer[1] - now)
        else:
            self._answer(packet, MessageType.NAK, 0, 0)

    def _decline(self, model: Dhcpd, lease: DhcpdLease, packet: Packet, now: int) -> None:
        if model.service() and lease.state is B.ACTIVE and lease.hw == packet.hw:
            model.abandon(lease, now, ABANDON_S)

    def _answer(self, to: Packet, kind: MessageType, address: int, lease_s: int) -> None:
        reply = Packet(BOOTREPLY, ETHERNET, 6, 0, to.xid, 0, BROADCAST, 0, address, 0, 0, to.chaddr)
        reply.options = {Code.MESSAGE_TYPE: bytes((kind,)), Code.SERVER_ID: self.address.to_bytes(4, "big")}
        if kind is not MessageType.NAK:
            reply.options[Code.LEASE_TIME] = lease_s.to_bytes(4, "big")
        wall = self.clock.read().wall
        self.world.trace.add(Answered(self.world.t, self.name, wall, kind, to.hw, address, lease_s))
        self.to_client(self, ClientSend("eth0", self.address, 0xFFFFFFFF, 68, encode(reply)))

    # --- steps --------------------------------------------------------------------------------------------------------

    def _wall(self) -> int:
        return int(self.clock.read().wall)

    def _do(self, act: Callable[[Dhcpd, int], None]) -> None:
        """One event, then what has become due, then what it wants to send."""
        if not self.up:
            return
        if self.paused:
            self._waiting.append(act)
            return
        model = self.model
        assert model is not None
        act(model, self._wall())
        model.tick(self._wall())
        self._balance(model)
        self._put_out(model)
        if model.dead:
            self.crash(DIES + model.dead)
        elif self.up:
            self._look_at_state()
            self._wake_at(model)

    def _balance(self, model: Dhcpd) -> None:
        """The scheduled run (8.3): it gives, and asks when it is short."""
        if self._wall() < self._balance_at:
            return
        self._balance_at = self._wall() + BALANCE_S
        if model.state is not ServerState.NORMAL or model.link is None:
            return
        free, backup = (sum(each.state is state for each in model.leases.values()) for state in (B.FREE, B.BACKUP))
        part = balance.share(free, backup, model.primary, 15, 10)
        model.rebalance()
        model.send_updates()
        if part.give < part.panic:
            model.send(wire.poolreq(model.now, 0))

    def _put_out(self, model: Dhcpd) -> None:
        assert self.partner is not None
        for wish in model.take():
            if self.fuse is not None and self._burns(self.fuse.point):
                self.crash("killed between two sends")
                return
            if isinstance(wish, LinkSend):
                self.world.trace.add(Sent(self.world.t, self.name, wish.link, wish.data))
                self.tcp.send(self, wish.link, wish.data)
            elif isinstance(wish, LinkConnect):
                self.tcp.connect(self, self.partner, "pair")
            else:
                self.tcp.abort(self, wish.link)

    def _wake_at(self, model: Dhcpd) -> None:
        due = min(model.deadline() or self._balance_at, self._balance_at)
        t = max(due - EPOCH - self.clock.skew_s + 0.001, self.world.t + WAKE_S)
        if self.world.t < self._due_t <= t:
            return
        self._due_t, life = t, self.boots

        def wake() -> None:
            if self.boots == life and self._due_t == t:
                self._due_t = 0.0
                self._do(lambda model, now: None)

        self.world.at(t, wake)

    def _look_at_state(self) -> None:
        model = self.model
        if model is None or self._states.get("pair") == model.state.words:
            return
        words = self._states["pair"] = model.state.words
        if words != "startup":
            self.saved_states["pair"] = words
        if words == "communications-interrupted":
            self._alone()
        self.world.trace.add(Moved(self.world.t, self.name, words, "pair"))
        self.moved(self, "pair", words)

    # --- what is asked of it ------------------------------------------------------------------------------------------

    def finals(self) -> list[Final]:
        """What it thinks at the end."""
        model = self.model
        if model is None:
            return [Final(self.world.t, self.name, "down", "", 0, ())]
        waiting = {*model.queue, *model.acks}
        rows = [each for each in model.leases.values() if each.hw or each.state is not B.FREE]
        leases = tuple(
            (each.address, int(each.state), Lease(each.address, hw=each.hw).client, each.ends, each.address in waiting)
            for each in rows
        )
        partner = ServerState(model.partner_state).words
        return [Final(self.world.t, self.name, model.state.words, partner, len(waiting), leases)]

    def gives(self) -> list[int]:
        """Whether it has an address for a new client, in normal."""
        model = self.model
        if model is None or model.state is not ServerState.NORMAL:
            return [0, 0]
        own = model.own_free()
        held = {address for address, (_, until) in self.offered.items() if until > self._wall()}  # "no free leases" for 120 s (9.5)
        return [int(any(each.state is own and each.address not in held for each in model.leases.values())), 0]

    def sizes(self) -> list[tuple[str, int, int]]:
        """Not ours to limit."""
        return []

    def active(self) -> list[Lease]:
        """It has no names."""
        return []
