"""One server of the simulator: a Node with the shell's manners (safety.md 1 to 5), a disk, two clocks, and every way to fall.

The beats are the shell's (design.md 1.4): inputs are drained and stepped, one commit is on its way at most, what waits for a commit
leaves after it and after all before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from failoverd.config import Config
from failoverd.ddns.pace import WINDOW_ALL
from failoverd.dhcp.message import decode
from failoverd.dhcp.probing import WAITING
from failoverd.leases.allocate import free_of
from failoverd.leases.lease import Lease
from failoverd.node import DECISIONS, Node
from failoverd.ports import (
    ClientDatagram,
    ClientSend,
    ClockState,
    Command,
    ConnectFailed,
    DiskState,
    DnsAnswer,
    DnsQuery,
    DnsUpdate,
    Input,
    InterfaceAddresses,
    Kind,
    LinkBytes,
    LinkClose,
    LinkConnect,
    LinkDown,
    LinkSend,
    LinkUp,
    Now,
    Origin,
    Output,
    Probe,
    Reply,
    Send,
    Stopping,
    Write,
)
from failoverd.sim.disk import Disk
from failoverd.sim.host_clock import CLOCKS_DIFFER_S, HostClock
from failoverd.sim.network import Peer, Tcp
from failoverd.sim.trace import Answered, Began, Booted, Committed, Crashed, Final, Heard, Moved, Named, Replaced, Room, Sent
from failoverd.sim.world import World

RELATIONSHIP = "pair"  # of a pair with one; commands that name none go to it
BEAT_S = 0.0005  # from an input to its step
OLD_S = 5.0  # safety.md 5
STOP_S = 1.0  # from SIGTERM to the end
LEAST_DELAY_S = 0.001
NOBODY = b"\xff" * 7  # a client that no server knows
NAMES_A_ROW = 4  # a removed name is kept while something lost may still put it back
INPUTS_WAITING = 5000


@dataclass(slots=True)
class Batch:
    """The writes of one commit and the sends behind it; with each send the wall clock of its step."""

    writes: list[Write] = field(default_factory=list)
    sends: list[tuple[Send, float]] = field(default_factory=list)
    wall: float = 0.0


@dataclass(slots=True)
class Fuse:
    """The server falls at the `left`-th "commit" (which fails), "durable" (committed, nothing of it sent) or "send" from now."""

    point: str
    left: int


class Server:
    """One server. `to_client`, `to_master` and `probe` carry what leaves; the partner is reached through `tcp`."""

    def __init__(
        self,
        world: World,
        name: str,
        address: int,
        config: Config,
        skew_s: float,
        tcp: Tcp,
        to_client: Callable[[Server, ClientSend], None],
        to_master: Callable[[Server, DnsUpdate | DnsQuery], None],
        probe: Callable[[Server, int], None],
    ) -> None:
        """Switched on, not started."""
        self.world, self.name, self.address, self.config, self.tcp = world, name, address, config, tcp
        self.to_client, self.to_master, self.probe = to_client, to_master, probe
        self.clock = HostClock(world, name, skew_s)
        self.disk = Disk(name.encode().rjust(16, b"-"))
        self.rng = world.random(f"server {name}")
        self.partner: Peer | None = None
        self.node: Node | None = None
        self.relationships = tuple(each.name for each in config.relationships)
        self.longest_s = config.dhcp.max_lease_time + config.relationships[0].mclt + CLOCKS_DIFFER_S
        self.fuse: Fuse | None = None
        self.moved: Callable[[Server, str, str], None] = lambda server, relationship, state: None  # somebody watches
        self.up, self.powered, self.paused = False, True, False
        self.boots = 0  # what was planned for an earlier life is void
        self.replies: list[Reply] = []
        self._typed = 0
        self._inputs: list[Input] = []
        self._next = Batch()
        self._flying: Batch | None = None
        self._since_mono = 0.0
        self._last = Now(0.0, 0.0)
        self._delay_s = 15.0
        self._beats = False
        self._timer_t = 0.0
        self._states: dict[str, str] = {}
        self.saved_states: dict[str, str] = {}  # before startup
        self._of_wire: dict[int, str] = {}
        self.fell_t = self.still_t = 0.0  # when it last fell, and stood still
        self.whole_from_t = 0.0  # after its disk was changed: from when on it knows every lease again
        self.broken_until_t = 0.0  # the host does not start before
        self._away = False  # this process stood still: only that makes a gap here, where nothing ticks in between

    # --- life ---------------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Start the process on what the disk holds."""
        if self.up or self.world.t < self.broken_until_t or self.clock.before(self.disk.newest_wall):
            return
        self.up = self.powered = True
        self.boots += 1
        self._inputs, self._next, self._flying = [], Batch(), None
        self._beats = self.paused = self._away = False
        self._timer_t = 0.0
        self._last = now = self.clock.read()
        self.node = Node(self.config, self.name, self.disk.stored(), now, self.rng)
        self._of_wire = {}
        self._delay_s = float(self.node.endpoints[self.relationships[0]].terms.max_response_delay_s)
        rows = sorted((lease.address, lease.to_json()) for lease in self.node.table.rows())
        self.world.trace.add(Booted(self.world.t, self.name, tuple(rows)))
        self._take(self.node.boot(now), now)
        eth0 = InterfaceAddresses("eth0", ((self.address, 24),))
        self.deliver(eth0, ClockState(self.clock.synchronised), DiskState(self.disk.low))
        self._look_at_state()
        self.tcp.stir()

    def crash(self, why: str, *, power: bool = False) -> None:
        """The process, or with `power` the host, is gone. A commit in flight may or may not have reached the disk."""
        if not self.up:
            return
        self.fuse = None
        if self._flying is not None and self.rng.random() < 0.5:
            self._durable(self._flying)
        self.up, self.powered, self.node, self.fell_t = False, not power, None, self.world.t
        self.disk.host_boots += power
        self.world.trace.add(Crashed(self.world.t, self.name, why))
        self.tcp.died(self, power=power)
        if power:
            self.clock.put_right()  # what synchronises it steps it when the host starts

    def change_disk(self, why: str, change: Callable[[], None]) -> None:
        """Fall, and get another disk."""
        self.crash(why)
        change()
        self.whole_from_t = inf
        rows = sorted((lease.address, lease.to_json()) for lease in map(Lease.from_json, self.disk.leases()))
        self.world.trace.add(Replaced(self.world.t, self.name, why, tuple(rows)))

    def stop(self) -> None:
        """A planned stop: the node says its last words, then the process ends."""
        if self.up and not self.paused:
            self.deliver(Stopping())
            life = self.boots
            self.world.after(STOP_S, lambda: self.crash("stopped") if self.boots == life else None)

    def room(self, low: bool) -> None:
        """The disk fills, or has room again (safety.md 7)."""
        if low != self.disk.low:
            self.world.trace.add(Room(self.world.t, self.name, self.clock.read().wall, low))
        self.disk.low = low
        self.deliver(DiskState(low))

    def pause(self, length_s: float) -> None:
        """The process stands still: nothing is read, nothing leaves."""
        if not self.up or self.paused:
            return
        self.paused, self.still_t = True, self.world.t
        self._last = self.clock.read()
        life = self.boots
        self.world.after(length_s, lambda: self.resume() if self.boots == life else None)

    def resume(self) -> None:
        """A process that stood still goes on."""
        if self.up and self.paused:
            self.paused, self._away = False, True
            self._wake()

    def command(self, verb: str, args: Mapping[str, str]) -> int:
        """An operator types something; the answer is in `replies`, with the number that is returned."""
        self._typed += 1
        self.deliver(Command(self._typed, verb, args, "operator", "the plan"))
        return self._typed

    def finals(self) -> list[Final]:
        """What this server thinks at the end, for each relationship."""
        assert self.node is not None
        out = []
        for name in self.relationships:
            endpoint = self.node.endpoints[name]
            rows = sorted(
                (row for row in self.node.table.rows() if self._relationship_of(row) == name), key=lambda row: row.address
            )
            leases = tuple((row.address, int(row.state), row.client, row.ends, row.owed) for row in rows)
            state, partner = endpoint.state.words, endpoint.record.partner_state.words
            out.append(Final(self.world.t, self.name, state, partner, endpoint.updates.owed, leases, name))
        return out

    def final(self) -> Final:
        """The same for the first one."""
        return self.finals()[0]

    def _relationship_of(self, lease: Lease) -> str:
        assert self.node is not None
        pool = self.node.table.pool_of(lease.address)
        return pool.pool.relationship or "" if pool is not None else ""

    def gives(self) -> list[int]:
        """For each pool whether this server, when it is in normal, has an address for a client that it does not know."""
        node, now = self.node, self.clock.read()
        out = []
        for state in node.table.pools.values() if node is not None else ():
            assert node is not None
            endpoint = node.endpoints[state.pool.relationship or ""]
            found = None
            if endpoint.state.words == "normal":
                found = free_of(node.table, state.pool, NOBODY, endpoint.rights(now), int(now.wall), now.mono)
            out.append(int(found is not None))
        return out or [0, 0]

    def sizes(self) -> list[tuple[str, int, int]]:
        """What is kept, how much of it, and its limit."""
        node = self.node
        if node is None:
            return []
        out = []
        for name, endpoint in node.endpoints.items():
            own = sum(state.pool.size for state in endpoint.updates.pools)
            window = endpoint.record.partner_max_unacked or own
            out += [
                (f"updates in flight of {name}", len(endpoint.updates.flights), window),
                (f"updates owed of {name}", endpoint.updates.owed, own),
            ]
        addresses = sum(state.pool.size for state in node.table.pools.values())
        names = 2 * addresses  # each address has a PTR, each live lease a name
        return [
            *out,
            ("leases", len(node.table), addresses + len(node.scopes.reserved)),
            ("names in flight", node.planner.inflight, WINDOW_ALL),
            ("names in doubt", len(node.planner.row_keys()), NAMES_A_ROW * names),
            ("decisions", len(node.decisions), DECISIONS),
            ("pings that wait", node.probing.waiting, WAITING),
            ("inputs that wait", len(self._inputs), INPUTS_WAITING),
        ]

    # --- what comes in ------------------------------------------------------------------------------------------------

    def deliver(self, *inputs: Input) -> None:
        """Queue inputs for the next beat."""
        if self.up:
            self._inputs.extend(inputs)
            self._wake()

    def datagram(self, src_ip: int, src_port: int, dst_ip: int, data: bytes) -> None:
        """One from a client or a relay."""
        if self.up:
            mono = self.clock.read().mono
            self.deliver(ClientDatagram("eth0", self.address, src_ip, src_port, dst_ip, data, mono))

    def link_up(self, wire: int, outgoing: bool, relationship: str) -> None:
        """A connection is established."""
        self._of_wire[wire] = relationship
        self.deliver(LinkUp(relationship, wire, outgoing, self.config.relationships[0].tls is not None))

    def link_bytes(self, wire: int, data: bytes) -> None:
        """Bytes of the partner."""
        if wire in self._of_wire:
            self.deliver(LinkBytes(self._of_wire[wire], wire, data))

    def link_down(self, wire: int, reason: str) -> None:
        """A connection ended."""
        if wire in self._of_wire:
            self.deliver(LinkDown(self._of_wire[wire], wire, reason))

    def connect_failed(self, reason: str, relationship: str) -> None:
        """Nobody answered."""
        self.deliver(ConnectFailed(relationship, reason))

    # --- beats --------------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        if not self._beats and not self.paused:
            self._beats = True
            life = self.boots
            self.world.after(BEAT_S, lambda: self._beat(life))

    def _beat(self, life: int) -> None:
        if life != self.boots or not self.up:
            return
        self._beats = False
        if self.paused:
            return
        node = self.node
        assert node is not None
        now = self.clock.read()
        self._look_at_clock(now)
        inputs, self._inputs = self._inputs, []
        fresh = [i for i in inputs if not (isinstance(i, ClientDatagram) and now.mono - i.mono > OLD_S)]
        for each in fresh:
            if isinstance(each, LinkBytes):
                self.world.trace.add(Heard(self.world.t, self.name, each.link, each.data))
        if fresh or node.deadline(now) <= now.mono:
            age = now.mono - self._since_mono if self._flying is not None else 0.0
            self._take(node.step(fresh, now, age), now)
            self._look_at_state()
        self._arm(now)

    def _arm(self, now: Now) -> None:
        if self.node is None:
            return
        t = max(self.clock.true_time(self.node.deadline(now)), self.world.t + LEAST_DELAY_S)
        if self.world.t < self._timer_t <= t:
            return
        self._timer_t = t
        life = self.boots
        self.world.at(t, lambda: self._due(life, t))

    def _due(self, life: int, t: float) -> None:
        if life == self.boots and self._timer_t == t:
            self._timer_t = 0.0
            self._wake()

    def _look_at_clock(self, now: Now) -> None:
        """safety.md 5: a gap between beats, or a forward step of the wall clock, is a lost link, told before anything buffered is
        stepped."""
        last, self._last = self._last, now
        away, self._away = self._away, False
        gap = now.mono - last.mono
        stepped = (now.wall - last.wall) - gap
        if max(gap if away else 0.0, stepped) <= self._delay_s:
            return
        self._cut(f"beat-gap: {gap:.1f} s, wall clock stepped {stepped:+.1f} s")
        self._inputs = [i for i in self._inputs if not isinstance(i, ClientDatagram)]
        for batch in filter(None, (self._flying, self._next)):
            held = [send for send, _ in batch.sends if isinstance(send, DnsUpdate)]
            batch.sends = [pair for pair in batch.sends if not isinstance(pair[0], DnsUpdate)]
            self._inputs += [DnsAnswer(send.ident, "TIMEOUT", "", "not sent: this process was away") for send in held]

    def _cut(self, reason: str) -> None:
        """Drop every link, forget its unread bytes, tell the node."""
        wires = [wire for wire, sides in self.tcp.wires.items() for side in sides if side.sender is self and side.open]
        for wire in wires:
            self.tcp.abort(self, wire)
        kept: list[Input] = [item for item in self._inputs if not isinstance(item, LinkBytes)]
        linked = {self._of_wire[wire] for wire in wires if wire in self._of_wire}
        kept += [LinkDown(self._of_wire[wire], wire, reason) for wire in wires if wire in self._of_wire]
        self._inputs = kept + [LinkDown(name, 0, reason) for name in self.relationships if name not in linked]

    # --- commits ------------------------------------------------------------------------------------------------------

    def _take(self, output: Output, now: Now) -> None:
        self._send([(send, self._asked(send, now)) for send in output.at_once])
        if not self.up:
            return
        after = [(send, self._asked(send, now)) for send in output.after_commit]
        if output.writes:
            self._next.writes += output.writes
            self._next.sends += after
            self._next.wall = now.wall
            if self._flying is None:
                self._commit()
        elif self._next.writes:
            self._next.sends += after
        elif self._flying is not None:
            self._flying.sends += after
        else:
            self._send(after)

    def _asked(self, send: Send, now: Now) -> float:
        """The wall clock when a client asked for this answer, from which its lease counts: in zero-loss mode steps ago; else now."""
        return self.clock.wall_then(send.mono) if isinstance(send, ClientSend) and send.mono else now.wall

    def _commit(self) -> None:
        self._flying, self._next = self._next, Batch()
        self._since_mono = self.clock.read().mono
        life = self.boots
        self.world.after(self.disk.delay_s * (0.5 + self.rng.random()), lambda: self._committed(life))
        if self.disk.delay_s > 1.0:
            self.world.trace.add(Began(self.world.t, self.name))
            self.world.after(1.0, lambda: self._watch(life))

    def _watch(self, life: int) -> None:
        """A disk that hangs for max-response-delay must look like a dead server (safety.md 4)."""
        if life != self.boots or not self.up or self._flying is None:
            return
        age = self.clock.read().mono - self._since_mono
        if self._delay_s <= age < self._delay_s + 1.0:
            self._cut(f"beat-gap: a commit has been in flight for {age:.1f} s")
            self._wake()
        self.world.after(1.0, lambda: self._watch(life))

    def _committed(self, life: int) -> None:
        if life != self.boots or not self.up or self._flying is None:
            return
        if self.paused:  # the disk has done it, the process sees it later
            self.world.after(1.0, lambda: self._committed(life))
            return
        if self._burns("commit") or self.disk.failing:
            self.disk.failing = False
            self.crash("a commit failed")  # safety.md 3: at once, nothing is sent
            return
        batch, self._flying = self._flying, None
        self._durable(batch)
        if self._burns("durable"):
            self.crash("killed after a commit, before its sends")
            return
        self._send(batch.sends)
        if self._next.writes and self.up:
            self._commit()

    def _burns(self, point: str) -> bool:
        """Whether the plan wants this server to fall at this very point: the n-th of its kind from now."""
        if self.fuse is None or self.fuse.point != point:
            return False
        self.fuse.left -= 1
        return self.fuse.left <= 0

    def _durable(self, batch: Batch) -> None:
        self.disk.commit(batch.writes, batch.wall)
        writes = [w for w in batch.writes if w.kind is Kind.LEASE]
        leases = tuple((int.from_bytes(w.key[1:], "big"), w.record) for w in writes)
        self.world.trace.add(Committed(self.world.t, self.name, leases, tuple(w.origin is Origin.CLIENT for w in writes)))

    # --- what goes out ------------------------------------------------------------------------------------------------

    def _send(self, sends: Sequence[tuple[Send, float]]) -> None:
        assert self.partner is not None
        mono = self.clock.read().mono
        for send, wall in sends:
            if self.fuse is not None and self._burns("send"):
                self.crash("killed between two sends")
                return
            if isinstance(send, ClientSend):
                if not send.mono or mono - send.mono <= OLD_S:
                    packet = decode(send.data)
                    lease_s = packet.address(51)
                    answer = Answered(self.world.t, self.name, wall, packet.message_type, packet.hw, packet.yiaddr, lease_s)
                    self.world.trace.add(answer)
                    self.to_client(self, send)
            elif isinstance(send, LinkSend):
                self.world.trace.add(Sent(self.world.t, self.name, send.link, send.data))
                self.tcp.send(self, send.link, send.data)
            elif isinstance(send, LinkConnect):
                self.tcp.connect(self, self.partner, send.relationship)
            elif isinstance(send, LinkClose):
                self.tcp.close(self, send.link, send.reason)
            elif isinstance(send, DnsUpdate | DnsQuery):
                if isinstance(send, DnsUpdate):
                    gone = tuple((each.name, each.value) for each in send.changes if each.op == "del-rr" and each.rtype == "A")
                    self.world.trace.add(Named(self.world.t, self.name, send.zone, self.clock.read().wall - wall, gone))
                self.to_master(self, send)
            elif isinstance(send, Probe):
                self.probe(self, send.address)
            else:
                self.replies.append(send)

    def _look_at_state(self) -> None:
        if self.node is None:
            return
        for name in self.relationships:
            words = self.node.endpoints[name].state.words
            if words == self._states.get(name):
                continue
            self._states[name] = words
            if words != "startup":
                self.saved_states[name] = words
            if self.whole_from_t == inf and set(self._states.values()) == {"normal"}:
                self.whole_from_t = self.world.t + self.longest_s
            self.world.trace.add(Moved(self.world.t, self.name, words, name))
            self.moved(self, name, words)

    def active(self) -> list[Lease]:
        """The leases that are ACTIVE here now."""
        assert self.node is not None
        return [lease for lease in self.node.table.rows() if lease.state == 2]
