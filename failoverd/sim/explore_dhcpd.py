"""A dhcpd in the exploration: the model of dhcpd_model.py, frozen and thawed between steps."""

from __future__ import annotations

import pickle
from dataclasses import fields
from typing import Any

from failoverd.failover.message import ServerState
from failoverd.sim.dhcpd_model import Dhcpd, DhcpdTerms, LeaseFile
from failoverd.sim.dhcpd_tables import Tables
from failoverd.sim.explore_party import FIRST, LEASE_S, MCLT_S, NAME, WALL, Wish, hw, shifted

S = ServerState
HBA = bytes([255] * 16 + [0] * 16)
TIMERS = {"startup": "startup_due", "recover-wait": "recover_due", "acks": "acks_due", "dial": "dial_due"}


class DhcpdRole:
    """One role of dhcpd with a pool of so many addresses; `plan`: its tables, a mutant's in a test."""

    def __init__(self, role: str, *, addresses: int, plan: Tables | None = None) -> None:
        """Its declaration."""
        pool = tuple(range(FIRST, FIRST + addresses))
        self.terms = DhcpdTerms(NAME, role == "p", pool, MCLT_S, LEASE_S, HBA)
        self.plan = plan or Tables()

    def boot(self, off: bytes) -> Theirs:
        """Start with a lease file; b"" for none."""
        file = pickle.loads(off) if off else LeaseFile()
        return Theirs(self, Dhcpd(self.terms, file, WALL, self.plan))

    def age(self, off: bytes, seconds: int) -> bytes:
        """What lies in a lease file, so much later."""
        file: LeaseFile = pickle.loads(off)
        for thing in [file, *file.leases.values()]:
            _shift(thing, seconds)
        return pickle.dumps(file, 5)

    def thaw(self, frozen: bytes) -> Theirs:
        """The state again."""
        model: Dhcpd = object.__new__(Dhcpd)
        vars(model).update(pickle.loads(frozen))
        model.terms, model.tables = self.terms, self.plan
        return Theirs(self, model)


def _shift(thing: Any, seconds: int) -> None:
    """The points in time among the fields of a dataclass."""
    for each in fields(thing):
        value = getattr(thing, each.name)
        if type(value) is int:
            setattr(thing, each.name, shifted(value, seconds))


class Theirs:
    """A running dhcpd."""

    kind = "dhcpd"

    def __init__(self, role: DhcpdRole, model: Dhcpd) -> None:
        """The model drives it."""
        self.role, self.model = role, model

    def take(self) -> list[Wish]:
        """What it wants of the network since the last call."""
        return [*self.model.take()]

    def link_up(self, number: int, outgoing: bool) -> None:
        """A connection is there."""
        self.model.link_up(number, outgoing, WALL)

    def link_bytes(self, number: int, data: bytes) -> None:
        """One message came."""
        self.model.link_bytes(number, data, WALL)

    def link_down(self, number: int) -> None:
        """The connection ended."""
        if number in self.numbers():
            self.model.link_down(number, WALL)

    def connect_failed(self, *, unreachable: bool) -> None:
        """Refused, or nobody there."""
        self.model.connect_failed(WALL, unreachable=unreachable)

    def timers(self) -> list[str]:
        """The timers that run."""
        model = self.model
        found = [name for name, due in TIMERS.items() if getattr(model, due) is not None]
        if "dial" in found and (model.link is not None or model.dialing):
            found.remove("dial")
        return found + [f"handshake {number}" for number in model.pending]

    def fire(self, timer: str) -> None:
        """The timer's time has come: it is made due, and time stands still."""
        name, *number = timer.split()
        if name == "handshake":
            self.model.pending[int(number[0])].opened = WALL - 3600
        else:
            setattr(self.model, TIMERS[name], WALL)
        self.model.tick(WALL)

    def numbers(self) -> set[int]:
        """The connections that it holds open and reads."""
        held = set(self.model.pending)
        return held | {self.model.link.number} if self.model.link is not None else held

    def xids(self) -> set[int]:
        """The xids of its own BNDUPDs that it still remembers."""
        return {lease.last_xid for lease in self.model.leases.values() if lease.last_xid}

    def partners_xids(self) -> set[int]:
        """Those that wait for its batch of acks."""
        return {xid for xid, _ in self.model.to_ack}

    def rename(self, own: dict[int, int], partners: dict[int, int]) -> None:
        """Give its BNDUPDs, and the partner's, other xids."""
        for lease in self.model.leases.values():
            lease.last_xid = own.get(lease.last_xid, 0)
        self.model.to_ack = [(partners[xid], address) for xid, address in self.model.to_ack]

    def next_xid(self, xid: int) -> None:
        """What its next BNDUPD carries."""
        self.model.xid = xid

    def may_declare(self) -> bool:
        """OMAPI has no guard; the operator has: not while the partner is in contact."""
        return self.model.link is None and self.model.state is not S.PARTNER_DOWN

    def declare(self) -> None:
        """`set local-state = 4` through OMAPI."""
        self.model.set_state(S.PARTNER_DOWN, WALL)

    def states(self) -> tuple[ServerState, int, bool]:
        """Its state (startup while starting), the partner's as recorded, whether it has an established link."""
        return self.model.state, self.model.partner_state, self.model.link is not None

    def end(self) -> str:
        """Where its process ended."""
        return self.model.dead

    def freeze(self) -> bytes:
        """All of it; xids are levelled."""
        model = self.model
        model.xid = model.updxid = 0
        return pickle.dumps({name: value for name, value in vars(model).items() if name not in ("terms", "tables")}, 5)

    def off(self) -> bytes:
        """Its lease file."""
        return pickle.dumps(self.model.lease_file(), 5)

    def pass_time(self, seconds: int) -> None:
        """Time passes at once; a live link was kept alive by CONTACT."""
        model = self.model
        for thing in [*model.leases.values(), *model.pending.values(), *([model.link] if model.link is not None else [])]:
            _shift(thing, seconds)
        for name, value in list(vars(model).items()):
            if type(value) is int:
                setattr(model, name, shifted(value, seconds))
        if model.link is not None:
            model.silence_due = model.contact_due = WALL + 10
        model.tick(WALL)

    def lease(self, client: int, address: int) -> tuple[int, int] | None:
        """A client asks for an address (0), or renews: (address, end), an end of 0 for a NAK, None for silence."""
        name = b"\x01" + hw(client)
        return self.model.renew(name, address, WALL) if address else self.model.ask(name, WALL)

    def gives(self, address: int) -> bool:
        """What dhcpd gives too early is its own fault, and not judged."""
        return False

    def release(self, client: int, address: int) -> None:
        """The client gives it back."""
        self.model.release(b"\x01" + hw(client), address, WALL)
