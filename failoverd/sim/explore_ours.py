"""A failoverd in the exploration: the real Node with the real tables, frozen and thawed between steps.

One Node of each role lives in this process; a frozen state holds what changes in it (table, endpoint, what is on disk) and names the
rest. Counters that only tell one history from another (generations, xids) are levelled at each freeze.
"""

from __future__ import annotations

import copyreg
import io
import pickle
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from random import Random
from typing import Any

from failoverd.config import Config, parse_text
from failoverd.ddns.plan import Planner
from failoverd.dhcp.message import Packet, decode, encode
from failoverd.failover.endpoint import Endpoint
from failoverd.failover.message import ServerState
from failoverd.failover.record import RelationshipRecord
from failoverd.failover.terms import Terms
from failoverd.leases.lease import Lease
from failoverd.node import Node
from failoverd.ports import (
    ClientDatagram,
    ClientSend,
    ConnectFailed,
    Input,
    InterfaceAddresses,
    Kind,
    LinkBytes,
    LinkClose,
    LinkConnect,
    LinkDown,
    LinkSend,
    LinkUp,
    Output,
    Stored,
)
from failoverd.sim.explore_party import DELAY_S, LEASE_S, MCLT_S, MONO, NAME, START, STRANGER, WALL, Wish, hw, shifted

S = ServerState
ADDRESS = {"p": 0x0A000001, "s": 0x0A000002}
ALL_HOSTS = 0xFFFFFFFF

TEXT = """
{servers}
[[relationship]]
name = "fo"
primary = {{ {p}, address = "10.0.0.1", port = 647 }}
secondary = {{ {s}, address = "10.0.0.2", port = 647 }}
mclt = "{mclt}s"
split = 128
load-balance-max-seconds = 3
max-response-delay = "{delay}s"
[dhcp]
ping-check = false
lease-time = "{lease}s"
min-lease-time = "1m"
max-lease-time = "1d"
[[subnet]]
subnet = "10.0.0.0/24"
[[subnet.pool]]
range = ["10.0.0.100-10.0.0.{last}"]
relationship = "fo"
"""


class _Still(Random):
    """No chance here."""

    def random(self) -> float:
        """The middle."""
        return 0.5


class _NoNames(Planner):
    """Nobody has a name in the exploration."""

    def __init__(self) -> None:
        """Nothing to plan."""

    def load_leases(self, *args: object, **more: object) -> None:
        """Nothing."""

    def settled(self, *, told: bool) -> list[tuple[bytes, bytes]]:
        """Nothing."""
        return []

    untold = False

    lease_changed = revived = orphaned = returned = take_over = met = fence = due = ended = load_leases


_SHARED: dict[tuple[str, ...], Any] = {}
_KEYS: dict[int, tuple[str, ...]] = {}


def _share(key: tuple[str, ...], thing: Any) -> Any:
    """Kept for good; frozen states only name it."""
    _SHARED[key] = thing
    _KEYS[id(thing)] = key
    return thing


def _shared(key: tuple[str, ...]) -> Any:
    return _SHARED[key]


def _by_key(thing: Any) -> Any:
    key = _KEYS.get(id(thing))
    return (_shared, (key,)) if key is not None else thing.__reduce_ex__(5)


class _Ice(pickle.Pickler):
    """Names shared things instead of copying them."""

    dispatch_table = copyreg.dispatch_table.copy() | dict.fromkeys((Node, _Still, _NoNames, Terms), _by_key)


class Role:
    """One role with one kind of partner and a pool of so many addresses: the Node that frozen states are thawed into."""

    def __init__(self, role: str, *, dhcpd_partner: bool, addresses: int) -> None:
        """Boots once."""
        self.key = (role, "dhcpd" if dhcpd_partner else "ours", str(addresses))
        self.role, self.addresses = role, addresses
        self.config = self._config(dhcpd_partner)
        self.rng = _share((*self.key, "rng"), _Still())
        self.names = _share((*self.key, "names"), _NoNames())
        self.terms: Terms | None = None
        self.node = _share((*self.key, "node"), self.fresh(Stored()))
        self.terms = _share((*self.key, "terms"), self.node.endpoints[NAME].terms)
        self.pools = {name: state.pool for name, state in self.node.table.pools.items()}

    def _config(self, dhcpd_partner: bool) -> Config:
        ends = {each: f'server = "{each}"' for each in "ps"}
        servers = "ps"
        if dhcpd_partner:
            servers = self.role
            ends["s" if self.role == "p" else "p"] = 'kind = "isc-dhcpd", max-unacked-updates = 10'
        tables = "".join(f'[servers.{each}]\ninterfaces = ["eth0"]\n' for each in servers)
        last = 100 + self.addresses - 1
        return parse_text(TEXT.format(servers=tables, mclt=MCLT_S, delay=DELAY_S, lease=LEASE_S, last=last, **ends))

    def fresh(self, stored: Stored) -> Node:
        """A Node as a boot makes it."""
        node = Node(self.config, self.role, stored, START, self.rng)
        node.planner = self.names
        if self.terms is not None:  # the same terms, so that they are named and not copied
            endpoint = node.endpoints[NAME]
            endpoint.terms = endpoint.updates.terms = self.terms
        return node

    def boot(self, off: bytes) -> Ours:
        """Start with what is on disk; b"" for an empty one."""
        disk = pickle.loads(off) if off else Disk()
        fresh = self.fresh(disk.stored())
        _KEYS[id(fresh)] = (*self.key, "node")
        try:
            out = fresh.boot(START)
            frozen = _freeze(fresh, disk)
        finally:
            del _KEYS[id(fresh)]
        ours = self.thaw(frozen)
        ours.done(out)
        ours.step(InterfaceAddresses("eth0", ((ADDRESS[self.role], 24),)))
        return ours

    def age(self, off: bytes, seconds: int) -> bytes:
        """What lies on a disk, so much later."""
        disk = pickle.loads(off)
        _shift(disk.record, seconds)
        _shift(disk.leases, seconds)
        return pickle.dumps(disk, 5)

    def thaw(self, frozen: bytes) -> Ours:
        """The state, in the one Node of this role."""
        kept, disk = pickle.loads(frozen)
        vars(self.node).update(kept)
        for name, state in self.node.table.pools.items():
            state.pool = self.pools[name]  # the networks know them by identity
        self.node.decisions.clear()
        self.node.counts.clear()
        return Ours(self, disk)


class Disk:
    """What was committed: the relationship's record and the leases."""

    def __init__(self) -> None:
        """Empty."""
        self.record: RelationshipRecord | None = None
        self.leases: dict[int, Lease] = {}

    def commit(self, out: Output) -> None:
        """One transaction. Generations are levelled."""
        for write in out.writes:
            if write.kind is Kind.RELATIONSHIP and write.record is not None:
                self.record = RelationshipRecord.from_json(write.record)
                self.record.generation = 0
            elif write.kind is Kind.LEASE and write.record is not None:
                lease = Lease.from_json(write.record)
                lease.generation = 1
                self.leases[lease.address] = lease

    def stored(self) -> Stored:
        """As the store hands it to a boot."""
        records = [self.record.to_json()] if self.record is not None else []
        return Stored([lease.to_json() for lease in self.leases.values()], [], records, {}, float(WALL) if records else 0.0)


_KEPT = ("table", "endpoints", "left_free", "rolled_back", "low_disk", "stopping", "clock_synchronised", "interfaces")


def _freeze(node: Node, disk: Disk) -> bytes:
    _level(node)
    file = io.BytesIO()
    _Ice(file, 5).dump(({name: getattr(node, name) for name in _KEPT}, disk))
    return file.getvalue()


def _level(node: Node) -> None:
    """Counters that tell only histories apart."""
    endpoint, table = node.endpoints[NAME], node.table
    endpoint.record.generation = 0
    endpoint.next_dial = MONO + 1
    if endpoint.link is not None:
        endpoint.link.xid = 0
    updates = endpoint.updates
    updates.refused = dict.fromkeys(updates.refused, 1)  # how often only says how long the next retry waits
    updates.retries = dict.fromkeys(updates.retries, MONO + 1)
    for lease in table.rows():
        for flight in updates.flights.values():
            if flight.address == lease.address:
                flight.generation = int(flight.generation == lease.generation)
        if lease.address in updates.retried:
            updates.retried[lease.address] = int(updates.retried[lease.address] == lease.generation)
        lease.generation = 1
    table._heap = sorted((due, address) for address, due in table._due.items())


def _shift(thing: Any, seconds: int) -> Any:
    """Everything in a thing that is a point in time, `seconds` earlier."""
    if thing is None or isinstance(thing, bool | str | bytes | Node | Terms):
        return thing
    if isinstance(thing, int | float):
        return shifted(thing, seconds)
    if isinstance(thing, dict):
        for key in thing:
            thing[key] = _shift(thing[key], seconds)
        return thing
    if is_dataclass(thing) and not isinstance(thing, type):
        values = {each.name: _shift(getattr(thing, each.name), seconds) for each in fields(thing)}
        if type(thing).__dataclass_params__.frozen:  # type: ignore[attr-defined]
            return replace(thing, **values)
        for name, value in values.items():
            setattr(thing, name, value)
        return thing
    if isinstance(thing, list):
        thing[:] = [_shift(each, seconds) for each in thing]
        return thing
    if isinstance(thing, tuple):
        moved = [_shift(each, seconds) for each in thing]
        return type(thing)(*moved) if hasattr(thing, "_fields") else tuple(moved)
    return thing


class Ours:
    """A running failoverd."""

    kind = "failoverd"

    def __init__(self, role: Role, disk: Disk) -> None:
        """Thawed into the role's Node."""
        self.role, self.disk = role, disk
        self.node: Node = role.node
        self.wishes: list[Wish] = []
        self.heard: list[Packet] = []

    @property
    def endpoint(self) -> Endpoint:
        """The one relationship."""
        endpoint: Endpoint = self.node.endpoints[NAME]
        return endpoint

    def step(self, *inputs: Input) -> None:
        """One beat: step, commit, send."""
        self.done(self.node.step(inputs, START))

    def done(self, out: Output) -> None:
        """Commit what a step wrote, then let go what it sends."""
        self.disk.commit(out)
        for send in (*out.at_once, *out.after_commit):
            if isinstance(send, LinkConnect | LinkSend | LinkClose):
                self.wishes.append(send)
            elif isinstance(send, ClientSend):
                self.heard.append(decode(send.data))

    def take(self) -> list[Wish]:
        """What it wants of the network since the last call."""
        wishes, self.wishes = self.wishes, []
        return wishes

    def link_up(self, number: int, outgoing: bool) -> None:
        """A connection is there."""
        self.step(LinkUp(NAME, number, outgoing))

    def link_bytes(self, number: int, data: bytes) -> None:
        """One message came."""
        self.step(LinkBytes(NAME, number, data))

    def link_down(self, number: int) -> None:
        """The connection ended."""
        self.step(LinkDown(NAME, number, "eof"))

    def connect_failed(self, *, unreachable: bool) -> None:
        """Refused, or nobody there."""
        self.step(ConnectFailed(NAME, "timed out" if unreachable else "refused"))

    # --- timers -----------------------------------------------------------------------------------------------------------

    def timers(self) -> list[str]:
        """The timers that run."""
        endpoint, found = self.endpoint, []
        if endpoint.starting and endpoint.link is None:
            found.append("startup")
        found += [f"handshake {number}" for number in endpoint.pending]
        if endpoint.link is None and not endpoint.pending and not endpoint.dialing:
            found.append("dial")
        if endpoint.link is not None and endpoint._awaits_partner():
            found.append("step")
        if endpoint.link is not None and endpoint.hears_until > MONO:
            found.append("hears")
        if endpoint.record.state is S.RECOVER_WAIT and not endpoint.starting and endpoint.record.recover_until > WALL:
            found.append("recover-wait")
        if endpoint.updates.retries and endpoint._may_send_updates(START):
            found.append("retry")
        return found

    def fire(self, timer: str) -> None:
        """The timer's time has come: it is made due, and time stands still."""
        endpoint, (name, *number) = self.endpoint, timer.split()
        made_due: dict[str, Callable[[], None]] = {
            "startup": lambda: setattr(endpoint, "startup_until", MONO),
            "handshake": lambda: setattr(endpoint.pending[int(number[0])], "opened", MONO - 3600),
            "dial": lambda: setattr(endpoint, "next_dial", MONO),
            "hears": lambda: setattr(endpoint, "hears_until", MONO),
            "step": lambda: setattr(endpoint.link, "progress", MONO - 3600),
            "recover-wait": lambda: setattr(endpoint.record, "recover_until", WALL),
            "retry": lambda: endpoint.updates.retries.update(dict.fromkeys(endpoint.updates.retries, MONO)),
        }
        made_due[name]()
        self.step()

    def pass_time(self, seconds: int) -> None:
        """Time passes at once; a live link was kept alive by CONTACT, stamps were written."""
        endpoint = self.endpoint
        serving = endpoint.rights(START).serve
        for owner in (endpoint, endpoint.updates):
            for name, value in list(vars(owner).items()):
                if name not in _NOT_TIMES:
                    setattr(owner, name, _shift(value, seconds))
        _shift(self.disk.record, seconds)
        _shift(self.disk.leases, seconds)
        self._shift_table(seconds)
        if endpoint.link is not None:
            endpoint.link.received = endpoint.link.sent = endpoint.link.progress = MONO
            endpoint.record.proven = WALL
        if serving:
            endpoint.record.operated = WALL
        self.step()

    def _shift_table(self, seconds: int) -> None:
        table = self.node.table
        _shift(table._rows, seconds)
        _shift(table._due, seconds)
        table._heap = sorted((due, address) for address, due in table._due.items())
        table._offers.clear()

    # --- what the world asks ----------------------------------------------------------------------------------------------

    def numbers(self) -> set[int]:
        """The connections that it holds open."""
        held = set(self.endpoint.pending)
        return held | {self.endpoint.link.number} if self.endpoint.link is not None else held

    def xids(self) -> set[int]:
        """The xids of BNDUPDs in flight."""
        return set(self.endpoint.updates.flights)

    def partners_xids(self) -> set[int]:
        """None: it acks in the same step."""
        return set()

    def rename(self, own: dict[int, int], partners: dict[int, int]) -> None:
        """Give its BNDUPDs other xids; the partner's it does not remember."""
        updates = self.endpoint.updates
        updates.flights = {own[xid]: flight for xid, flight in updates.flights.items()}
        updates.in_flight = {address: own.get(xid, xid) for address, xid in updates.in_flight.items()}

    def next_xid(self, xid: int) -> None:
        """What its next BNDUPD carries."""
        if self.endpoint.link is not None:
            self.endpoint.link.xid = xid

    def may_declare(self) -> bool:
        """The guard of the verb."""
        return self.endpoint.link is None and self.endpoint.record.state is not S.PARTNER_DOWN

    def declare(self) -> None:
        """partner-down."""
        self.endpoint.partner_down(0, START, "operator", "root")
        self.step()

    def states(self) -> tuple[ServerState, int, bool]:
        """Its state (startup while starting), the partner's as recorded, whether it has an established link."""
        endpoint = self.endpoint
        return endpoint.state, int(endpoint.record.partner_state), endpoint.link is not None

    def end(self) -> str:
        """It does not end."""
        return ""

    def freeze(self) -> bytes:
        """All of it."""
        return _freeze(self.node, self.disk)

    def off(self) -> bytes:
        """What a restart finds."""
        return pickle.dumps(self.disk, 5)

    # --- clients ----------------------------------------------------------------------------------------------------------

    def lease(self, client: int, address: int) -> tuple[int, int] | None:
        """A client asks for an address (0), or renews: (address, end), an end of 0 for a NAK, None for silence."""
        if not address:
            offer = self._say(1, client)
            if offer is None:
                return None
            chosen = {50: offer.yiaddr.to_bytes(4, "big"), 54: ADDRESS[self.role.role].to_bytes(4, "big")}
            answer = self._say(3, client, options=chosen)
        else:
            answer = self._say(3, client, ciaddr=address)
        if answer is None:
            return None
        if answer.message_type != 5:
            return address, 0
        return answer.yiaddr, WALL + int.from_bytes(answer.options[51], "big")

    def gives(self, address: int) -> bool:
        """Whether it would give this address to a client that it has never seen and that asks for it."""
        offer = self._say(1, STRANGER, options={50: address.to_bytes(4, "big")})
        if offer is None or offer.yiaddr != address:
            return False
        chosen = {50: address.to_bytes(4, "big"), 54: ADDRESS[self.role.role].to_bytes(4, "big")}
        answer = self._say(3, STRANGER, options=chosen)
        return answer is not None and answer.message_type == 5

    def release(self, client: int, address: int) -> None:
        """The client gives it back."""
        self._say(7, client, ciaddr=address)

    def _say(self, kind: int, client: int, *, ciaddr: int = 0, options: dict[int, bytes] | None = None) -> Packet | None:
        packet = Packet(1, 1, 6, 0, 1, 10, 0x8000, ciaddr, 0, 0, 0, hw(client), options={53: bytes((kind,)), **(options or {})})
        mine = ADDRESS[self.role.role]
        self.heard = []
        self.step(ClientDatagram("eth0", mine, 0, 68, mine if ciaddr else ALL_HOSTS, encode(packet), MONO))
        return self.heard[0] if self.heard else None


_NOT_TIMES = frozenset({"terms", "house", "updates", "rng", "offer"})
