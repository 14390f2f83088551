"""A planner with a store, a clock that is turned by hand, and a master that answers, or does not."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from failoverd.ddns.plan import Planner
from failoverd.ddns.rows import Row
from failoverd.ddns.zone import DnsPlan, Zone
from failoverd.leases.lease import BindingState, Lease
from failoverd.ports import DnsAnswer, DnsQuery, DnsUpdate, Now, Origin, Output
from tests.ddns import model

FORWARD, REVERSE = "example.test.", "2.0.192.in-addr.arpa."
PRIMARY = (("127.0.0.1", 53),)
ZONES = (Zone("main", FORWARD, PRIMARY, "key"), Zone("main", REVERSE, PRIMARY, "key"))
PLAN = DnsPlan(ZONES)
NET = 0xC0000200


def master() -> model.Master:
    zones = [model.Zone(FORWARD), model.Zone(REVERSE)]
    for zone in zones:
        zone.load([f"{zone.name} 3600 SOA ns1.example.test. x. 1 3600 600 86400 60", f"{zone.name} 3600 NS ns1.example.test."])
    return model.Master(zones)


def lease(
    host: int, client: int, name: str = "h1.example.test.", state: BindingState = BindingState.ACTIVE, **more: object
) -> Lease:
    out = Lease(NET + host, state, hw=b"\x01\x02\x00\x00\x00\x00" + bytes((client,)), starts=1000, cltt=1000, ends=1000 + 3600)
    out.fqdn = name
    return out.evolve(**more)


class Rig:
    """`answer`: how the master answers one message, None for not at all (the test delivers later)."""

    def __init__(self, plan: DnsPlan = PLAN, stored: dict[bytes, str] | None = None, leases: list[Lease] | None = None) -> None:
        self.plan = plan
        self.wall, self.mono = 1_000_000.0, 5000.0
        self.master = master()
        self.stored: dict[bytes, str] = dict(stored or {})
        self.leases = {one.address: one for one in leases or []}
        self.wire: list[DnsUpdate | DnsQuery] = []
        self.sent: list[DnsUpdate | DnsQuery] = []
        self.notes: list[str] = []
        self.answer: Callable[[DnsUpdate | DnsQuery], DnsAnswer | None] = self.master.answer
        self.planner = Planner(plan, [], "dhcp1", Random(1))
        self.boot()

    @property
    def now(self) -> Now:
        return Now(self.wall, self.mono)

    def boot(self, *, fenced: bool = False) -> None:
        """Start again from what is stored; what is on the wire is lost to us (not to the master)."""
        self.wire.clear()
        self.planner = Planner(self.plan, [self.stored[key] for key in sorted(self.stored)], "dhcp1", Random(1))
        self.planner.load_leases(self.leases.values())
        self.fence(fenced)

    def _take(self, out: Output) -> None:
        for write in out.writes:
            if write.record is None:
                self.stored.pop(write.key, None)
            else:
                self.stored[write.key] = write.record
        for message in out.after_commit:
            assert isinstance(message, DnsUpdate | DnsQuery)
            self._durable(message)
            self.wire.append(message)
            self.sent.append(message)
        assert not out.at_once
        self.notes += [note.name for note in out.notes]

    def _durable(self, message: DnsUpdate | DnsQuery) -> None:
        """safety.md 24: what a message may put into the zone is in the stored row before it leaves."""
        if isinstance(message, DnsQuery):
            return
        for change in message.changes:
            if change.op == "add" and change.rtype != "DHCID":
                kind = "rev" if change.rtype == "PTR" else "fwd"
                row = Row.from_json(self.stored[f"{message.target}\0{kind}\0{change.name}".encode()])
                assert any(v.rr == (change.rtype, change.value) for v in row.maybe), (change, row)

    def fence(self, paused: bool) -> None:
        out = Output()
        self.planner.fence(paused, self.now, out)
        self._take(out)

    def change(self, new: Lease, origin: Origin = Origin.CLIENT) -> None:
        out = Output()
        old = self.leases.get(new.address)
        self.leases[new.address] = new
        self.planner.lease_changed(old, new, origin, self.now, out)
        self._take(out)

    def free(self, host: int, origin: Origin = Origin.TIMER) -> None:
        self.change(self.leases[NET + host].evolve(state=BindingState.EXPIRED), origin)

    def end(self, host: int) -> None:
        """What the node says beside that: the lease of an address has ended."""
        self.planner.ended(NET + host, self.now)

    def told(self, *removed: str) -> None:
        """The partner says that nothing is left at these names; each begins with f or r for its kind."""
        out = Output()
        self.planner.heard([(name.encode(), b"") for name in removed], self.now, out)
        self._take(out)

    def take_over(self) -> None:
        out = Output()
        self.planner.take_over(self.now, out)
        self._take(out)

    def due(self) -> None:
        out = Output()
        self.planner.due(self.now, out)
        self._take(out)

    def deliver(self, answer: DnsAnswer) -> None:
        out = Output()
        self.planner.answered(answer, self.now, out)
        self._take(out)

    def say(self, rcode: str, **more: object) -> None:
        """Answer the oldest message on the wire."""
        self.deliver(DnsAnswer(self.wire.pop(0).ident, rcode, "model", **more))  # type: ignore[arg-type]

    def run(self, most: int = 500) -> None:
        """Until nothing is due now and nothing is on the wire that the master answers."""
        for _ in range(most):
            self.due()
            if not self.wire:
                return
            message = self.wire.pop(0)
            answer = self.answer(message)
            if answer is not None:
                self.deliver(answer)
        raise AssertionError("does not come to rest")

    def pass_time(self, seconds: float) -> None:
        """Turn the clock, stopping wherever something is due."""
        end = self.mono + seconds
        for _ in range(5000):
            self.run()
            at = self.planner.deadline(self.now)
            if at > end:
                break
            step = max(0.0, at - self.mono)
            self.wall, self.mono = self.wall + step, at
        else:
            raise AssertionError("does not come to rest")
        self.wall, self.mono = self.wall + end - self.mono, end
        self.run()

    def rows(self) -> dict[tuple[str, str], Row]:
        return {(row.kind, row.name): row for row in self.planner.rows_list()}

    def zone(self) -> set[str]:
        """Forward and reverse records without TTL, DHCID and the apex."""
        out = set()
        for zone in self.master.zones.values():
            for line in zone.lines():
                name, _, rtype, text = line.split(" ", 3)
                if rtype not in {"SOA", "NS", "DHCID"}:
                    out.add(f"{name} {rtype} {text}")
        return out
