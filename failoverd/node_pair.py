"""What the node tells a partner that is a failoverd, and what it makes of that one's word: names, done-flags, configuration, database.

Only on a link whose dialect has it (failover/dialect.py). The base of House, which has the table, the planner and the endpoints.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from failoverd import config_digest
from failoverd.config import Config
from failoverd.ddns.plan import Planner
from failoverd.ddns.wants import pointer_of
from failoverd.ddns.word import Flags
from failoverd.failover.dialect import FACTS
from failoverd.failover.endpoint import Endpoint
from failoverd.failover.private import Database, LeaseNames
from failoverd.leases.lease import NO_FORWARD, NO_REVERSE, Lease
from failoverd.leases.table import LeaseTable
from failoverd.ports import Now, Origin, Output, Stored

UUID_OCTETS = 16


class PairTalk:
    """`meeting`: addresses that we granted while apart and whose ack is still to say whether the partner left their names alone."""

    config: Config
    table: LeaseTable
    planner: Planner
    out: Output

    def begin_talk(self, stored: Stored) -> None:
        """From what the store says of itself."""
        self._uuid, self._run = _octets(stored.meta.get("uuid", "")), _octets(stored.meta.get("boot", ""))
        self._began = self.committed = int(stored.meta.get("generation", "0"))
        self._told: dict[int, LeaseNames] = {}
        self.meeting: set[int] = set()
        self._digest = bytes((config_digest.FORM,)) + bytes.fromhex(self.config.digest())

    # --- database and configuration ---------------------------------------------------------------------------------------

    @property
    def generation(self) -> int:
        """Of our database when everything written so far is committed: the store counts journal rows."""
        return self.committed + len(self.out.writes)

    @property
    def database(self) -> Database | None:
        """Our database now; None when the store gave it no uuid."""
        if len(self._uuid) != UUID_OCTETS or len(self._run) != UUID_OCTETS:
            return None
        return Database(self._uuid, self._run, self._began, self.generation)

    @property
    def config_digest(self) -> bytes:
        """Form and SHA-256."""
        return self._digest

    def config_sections(self) -> Mapping[str, Mapping[str, str]]:
        """What both servers should agree on: section, key, value."""
        return config_digest.sections(self.config)

    # --- names ------------------------------------------------------------------------------------------------------------

    def names_of(self, lease: Lease) -> LeaseNames:
        """What the partner is told of the names of a lease."""
        flags = self.planner.flags(lease)
        return LeaseNames(
            lease.fqdn,
            self.planner.name_of(lease) or lease.fqdn,
            lease.rev,
            flags.forward,
            flags.reverse,
            bool(lease.dns & NO_FORWARD),
            bool(lease.dns & NO_REVERSE),
        )

    def names_known(self, address: int, names: LeaseNames) -> LeaseNames:
        """The flags are what this server itself knows to be in DNS."""
        if not names.shown:
            return LeaseNames()
        lease = Lease(address, rev=names.pointer)
        flags = self.planner.shown(names.shown, pointer_of(lease), address)
        return LeaseNames(forward_done=flags.forward, reverse_done=flags.reverse)

    def names_told(self, lease: Lease, names: LeaseNames, now: Now) -> None:
        """Kept for the change that follows in this step."""
        self._told[lease.address] = names

    def told_names(self, address: int) -> LeaseNames | None:
        """What the partner told with the change at hand; once."""
        return self._told.pop(address, None)

    def passed_on(self, old: Lease, new: Lease, origin: Origin, told: LeaseNames | None) -> bool:
        """Whether the lease's name changes hands although nothing else of it does: the server that spoke to the client last has it."""
        if told is not None:
            return new.partner_cltt != old.partner_cltt or self.planner.name_of(new) != told.shown
        return origin is Origin.CLIENT and bool(new.fqdn) and self.planner.registered_there(new)

    def believe_names(self, lease: Lease, names: LeaseNames, now: Now) -> None:
        """After that change: what is in DNS by the partner's word."""
        self.planner.flagged(lease, Flags(names.forward_done, names.reverse_done), now, self.out)

    def names_acked(self, address: int, names: LeaseNames | None, now: Now) -> None:
        """After a time apart: names that the partner knows to be there need not be said again."""
        if address not in self.meeting:
            return
        self.meeting.discard(address)
        lease = self.table.get(address)
        ours, there = self.planner.registered(lease), names or LeaseNames()
        if (ours.forward and not there.forward_done) or (ours.reverse and not there.reverse_done):
            self.planner.met([lease], now, self.out)

    def tell_settled(self, endpoints: Iterable[Endpoint]) -> None:
        """The rows that came to rest in this step, to every partner that may hear of them; a later one is told of all at its start."""
        listeners = [endpoint for endpoint in endpoints if endpoint.dialect >= FACTS]
        rows = self.planner.settled(told=bool(listeners))
        for endpoint in listeners if rows else ():
            endpoint.say_done(rows)

    def names_done(self, relationship: str, rows: Sequence[Sequence[bytes]], now: Now) -> None:
        """The partner's rows that came to rest."""
        self.planner.heard(rows, now, self.out)

    def met_again(self, granted: Sequence[Lease], by_acks: bool, now: Now) -> None:
        """Normal again: names of `granted`, the leases that we granted while apart. `by_acks`: the link tells flags, and the time apart
        was a short one; otherwise all of them are said again at a limited rate."""
        waits = {lease.address for lease in granted if lease.owed} if by_acks else set()
        self.meeting |= waits
        self.planner.met([lease for lease in granted if lease.address not in waits], now, self.out)


def _octets(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
