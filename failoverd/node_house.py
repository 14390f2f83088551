"""The only place where a lease changes, and what the rooms ask of the node: table, rights, notes.

One change is: table, disk row, what we owe the partner, DNS intent; all in the output of the same step. The base of Node.
"""

from __future__ import annotations

from random import Random

from failoverd import compile
from failoverd.compile_names import name_plan
from failoverd.config import Config
from failoverd.ddns.dhcid import guard
from failoverd.ddns.plan import Planner
from failoverd.dhcp import fqdn
from failoverd.dhcp.client import Client
from failoverd.dhcp.probing import Probing
from failoverd.dhcp.scope import Subnet
from failoverd.dhcp.unheard import Unheard
from failoverd.failover.clock_memory import UNKNOWN_OFFSET_S
from failoverd.failover.conflicts import Conflict
from failoverd.failover.dialect import FACTS, NAMES
from failoverd.failover.endpoint import Endpoint
from failoverd.failover.hashing import is_ours, key
from failoverd.failover.message import ServerState
from failoverd.failover.record import BootFacts, RelationshipRecord
from failoverd.failover.updates import Updates
from failoverd.leases import mclt, reclaim
from failoverd.leases.forecast import Rate
from failoverd.leases.lease import BindingState, Lease, lease_key
from failoverd.leases.rights import ALONE, Rights
from failoverd.leases.table import LeaseTable
from failoverd.node_conflicts import Conflicts
from failoverd.node_held import LATE, VOID, Held, HeldAcks, stands
from failoverd.node_hosts import HostTalk
from failoverd.node_names import Names
from failoverd.notes import Note
from failoverd.ports import ClientSend, Kind, Now, Origin, Output, Stored, Write

RECLAIM_AT_ONCE = 500  # leases that the clock may change in one step; the rest follows at once in the next
UNUSED = frozenset({BindingState.FREE, BindingState.BACKUP})


class House(HostTalk):
    """The lease table with everything that a change of a lease touches."""

    def __init__(self, config: Config, server: str, stored: Stored, now: Now, rng: Random) -> None:
        """From the configuration and what the store held: table, dues, debts and wishes for names are rebuilt."""
        self.config, self.server, self.started, self.rng = config, server, now, rng
        self.now, self.out = now, Output()
        self.scopes = compile.scopes(config, server)
        self.table = LeaseTable(pool for subnet in self.scopes.subnets for pool in subnet.pools)
        self.rates = {name: Rate(now.mono) for name in self.table.pools}
        self.planner = Planner(compile.dns_plan(config), stored.ddns, server, rng)
        self.planner.unheld, self.planner.nameless, self.planner.unsaid = self._unheld, self._nameless, self._unsaid
        self.names = Names(name_plan(config), self.planner.name_for)
        self.conflicts = Conflicts(stored.conflicts)
        self.begin_talk(stored)
        self.low_disk = False
        self.unheard = Unheard()
        self.probing = Probing()
        self.held = HeldAcks()
        self.left_free: set[str] = set()
        self.interfaces: dict[str, tuple[tuple[int, int], ...]] = {}
        self.rights: dict[str, Rights] = {}
        self.endpoints: dict[str, Endpoint] = {}
        records = {record.name: record for record in map(RelationshipRecord.from_json, stored.relationships)}
        longest = max((subnet.max_lease_s for subnet in self.scopes.subnets), default=86400)
        self.rolled_back = [name for name in ("rollback", "restored") if name in stored.meta]
        boot = BootFacts(now.wall, stored.newest_wall, stored.meta.get("rollback") == "1", longest, stored.meta.get("host", ""))
        for name, terms in compile.terms(config, server).items():
            pools = [state for state in self.table.pools.values() if state.pool.relationship == name]
            record = records.get(name) or RelationshipRecord(name, since=int(now.wall))
            updates = Updates(terms, record, self, pools)
            self.endpoints[name] = Endpoint(terms, record, self, updates, rng, now, boot)
        self._load(stored, now)
        self.begin_hosts(stored)

    def _load(self, stored: Stored, now: Now) -> None:
        """Everything is rebuilt at boot: table, dues, what is owed to the partner, who wants which name."""
        leases = [Lease.from_json(text) for text in stored.leases]
        for lease in leases:
            endpoint = self.endpoint_at(lease.address)
            rights = endpoint.rights(now) if endpoint is not None else ALONE
            self.table.put(lease, mclt.due(lease, rights))
            if endpoint is not None and lease.owed:
                endpoint.updates.owe(lease.address)
        self.planner.load_leases(leases)

    def take_up(self, now: Now) -> None:
        """In the first step: a survivor takes up its partner's names again, and reservations that came or went since are followed."""
        for name, endpoint in self.endpoints.items():
            if endpoint.record.state is ServerState.PARTNER_DOWN:
                self.take_names_over(name, now)
        self.reservations_read(now)

    # --- the only place where a lease changes -----------------------------------------------------------------------------

    def change(self, old: Lease, new: Lease, origin: Origin, cause: str, now: Now) -> Lease:
        """Table, disk row, what we owe the partner, DNS intent: all in this step's output."""
        new.generation = old.generation + 1
        new.horizon = max(mclt.horizon(new), old.horizon)
        told = self.told_names(new.address) if origin is Origin.PARTNER else None
        if origin is Origin.PARTNER and new.state is BindingState.ACTIVE and not new.fqdn and told is None:
            self._name_of(new)
        endpoint = self.endpoint_at(new.address)
        rights = self.rights_of(endpoint.terms.name) if endpoint is not None else ALONE
        if endpoint is not None and endpoint.link is not None and new.owed:
            new.rewind = new.state  # told in this or a later step: the partner may know from now on (safety.md 13)
        if origin is Origin.CLIENT and endpoint is not None:
            endpoint.granted(new)
        self.table.put(new, mclt.due(new, rights))
        if new.state is BindingState.ACTIVE:
            self.probing.forget(new.address)
        self.out.writes.append(Write(Kind.LEASE, lease_key(new.address), new.to_json(), origin, cause))
        self._rate(old, new, origin, endpoint, now)
        if endpoint is not None:
            if new.owed and not new.rejected:
                endpoint.updates.owe(new.address)
            if new.state is not old.state and old.state in UNUSED:
                self.left_free.add(endpoint.terms.name)
        # A BNDACK or a note of what was told says nothing of the client: the owner of the name stays.
        spoken = (new.state, new.client, new.starts) != (old.state, old.client, old.starts)
        spoken = spoken or (new.fqdn, new.dns, new.rev) != (old.fqdn, old.dns, old.rev)
        spoken = spoken or self.passed_on(old, new, origin, told)
        if spoken and (new.fqdn or old.fqdn):
            self.planner.lease_changed(old, new, origin, now, self.out, told.shown if told is not None else None)
        if told is not None:
            self.believe_names(new, told, now)
        ended = old.state is BindingState.ACTIVE and new.state is not BindingState.ACTIVE
        ended = ended or (new.client != old.client and new.state is BindingState.ACTIVE)
        if ended:
            self.planner.ended(old.address, now)
        if ended and not old.fqdn and endpoint is not None and endpoint.record.state is ServerState.PARTNER_DOWN:
            self.planner.orphaned(old, now, self.out)
        if spoken and new.state is BindingState.ACTIVE:
            self.planner.revived(new, now, self.out)
        return new

    def _rate(self, old: Lease, new: Lease, origin: Origin, endpoint: Endpoint | None, now: Now) -> None:
        """A free address was taken, or one became free. What the partner plays back outside normal is history, not a rate."""
        taken = old.state in UNUSED
        if taken is (new.state in UNUSED):
            return
        if origin is Origin.PARTNER and endpoint is not None and endpoint.record.state is not ServerState.NORMAL:
            return
        state = self.table.pool_of(new.address)
        if state is not None:
            self.rates[state.pool.name].count(now.mono, taken=taken)

    def _name_of(self, new: Lease) -> None:
        """A BNDUPD carries no name. A client that has another lease here goes by its name there: the partner moves that name to the new
        address, so our row for it must not show the old one again."""
        for other in self.table.of_client(new.client):
            if other.address != new.address and other.fqdn and other.hostname and other.state is BindingState.ACTIVE:
                new.fqdn, new.hostname = other.fqdn, new.hostname or other.hostname
                return

    def _unheld(self, address: int, name: str, owner: str) -> bool | None:
        """Whether neither server has a client on an address, of those that own `name` under DHCID `owner` ("": any client). None: the
        partner may have one that we have not heard of yet."""
        endpoint, lease = self.endpoint_at(address), self.table.get(address)
        if endpoint is None or endpoint.record.state not in {ServerState.NORMAL, ServerState.PARTNER_DOWN}:
            return False
        if lease.state is BindingState.ACTIVE and (owner == "" or guard(lease.hw, lease.client_id, name) == owner):
            return False
        if endpoint.record.state is ServerState.NORMAL and (lease.owed or endpoint.updates.late(self.now)):
            return None  # it has not agreed to the end yet, and may have renewed the lease (simulator, seed 11906; late: seed 1421)
        return True

    def _nameless(self, address: int, name: str, owner: str) -> bool:
        """Whether the partner spoke last to the client of an address, one that owns `name` under `owner` ("": any): it may have given the
        client any name there, another than the one that is known here too, and does not tell. One that tells its names has given the
        one that is known (simulator, seed tls232: each server left a roaming client's old PTR to the other)."""
        lease, endpoint = self.table.get(address), self.endpoint_at(address)
        if endpoint is not None and endpoint.dialect >= NAMES:
            return False
        slack_s = max(UNKNOWN_OFFSET_S, endpoint.slack_s if endpoint is not None else 0)
        if lease.state is not BindingState.ACTIVE or lease.partner_cltt + slack_s <= lease.cltt:
            return False
        return owner == "" or guard(lease.hw, lease.client_id, name) == owner

    def name(self, address: int, subnet: Subnet, client: Client, asked: fqdn.Asked | None) -> fqdn.Named:
        """What a client is called at an address, and what it is told about it."""
        state = self.table.pool_of(address)
        scope = self.names.scope(address, subnet.name, state.pool.name if state is not None else "")
        return self.names.name(scope, address, client, asked)

    def _unsaid(self, address: int, name: str) -> bool:
        """Whether the client that has an address is called `name` when it says nothing of its name: by the address, for instance."""
        lease, subnet = self.table.get(address), self.scopes.subnet_at(address)
        silent = Client(lease.hw, lease.client_id, "", 0, 0, 0, b"", lease.client)
        return subnet is not None and self.name(address, subnet, silent, None).fqdn == name

    def endpoint_at(self, address: int) -> Endpoint | None:
        """The relationship that an address belongs to, None for none."""
        state = self.table.pool_of(address)
        name = state.pool.relationship if state is not None else None
        return self.endpoints.get(name) if name is not None else None

    def reclaim(self, now: Now) -> None:
        """The clock's changes. A server whose disk is low or that hangs still expires leases: that promises nothing."""
        for _ in range(RECLAIM_AT_ONCE):
            lease = self.table.pop_due(now.wall)
            if lease is None:
                return
            endpoint = self.endpoint_at(lease.address)
            rights = self.rights_of(endpoint.terms.name) if endpoint is not None else ALONE
            due = mclt.due(lease, rights)
            if due is None or due > now.wall:
                self.table.set_due(lease.address, due)
                continue
            self.change(lease, reclaim.on_clock(lease, rights, int(now.wall)), Origin.TIMER, "clock", now)

    def take_back_ends(self, relationship: str, now: Now) -> None:
        """The partner, which has not been alone, is heard: what a clock that ran ahead and was set back since had ended here lives, as long
        as the partner cannot know of the end (safety.md 10, 13). Otherwise its name would go from DNS while the client holds the address
        (scenario clock-skew). An end that lies ahead is sign enough, also after a restart. Never while alone: then only the partner knows
        whether the address is still that client's."""
        endpoint = self.endpoints[relationship]
        early = [
            lease
            for lease in self.table.rows()
            if lease.state is BindingState.EXPIRED
            and lease.ends > now.wall
            and lease.owed
            and lease.rewind is BindingState.ACTIVE
            and self.endpoint_at(lease.address) is endpoint
        ]
        for lease in sorted(early, key=lambda each: each.address):
            revived = lease.evolve(state=BindingState.ACTIVE, rejected=0)
            self.change(lease, revived, Origin.TIMER, "the clock was set back", now)

    # --- what the rooms ask -----------------------------------------------------------------------------------------------

    def rights_of(self, relationship: str | None) -> Rights:
        """The rights of a relationship in this step."""
        if relationship is None:
            return ALONE
        rights = self.rights.get(relationship)
        if rights is None:
            rights = self.rights[relationship] = self.endpoints[relationship].rights(self.now)
        return rights

    def ours(self, relationship: str, client_id: bytes, chaddr: bytes, secs: int) -> bool:
        """RFC 3074: whether a DISCOVER is ours to answer."""
        endpoint = self.endpoints[relationship]
        terms = endpoint.terms
        return is_ours(endpoint.updates.hba, key(client_id, chaddr), secs, primary=terms.primary, max_secs=terms.load_balance_max_s)

    def short(self, relationship: str) -> None:
        """A client was refused because only the partner has free addresses."""
        self.endpoints[relationship].client_refused(self.now)

    def addresses(self, interface: str) -> tuple[tuple[int, int], ...]:
        """The addresses of an interface, primary first."""
        return self.interfaces.get(interface, ())

    def note(self, name: str, now: Now, *, address: int = 0, subject: str = "", detail: str = "") -> None:
        """Say something to the operator."""
        self.out.notes.append(Note(name, now.wall, b"", address, subject, detail))

    # --- zero-loss mode ---------------------------------------------------------------------------------------------------

    def hold(self, lease: Lease, send: ClientSend, now: Now) -> bool:
        """Keep this lease's DHCPACK back until the partner has acked it; False when it need not wait."""
        endpoint = self.endpoint_at(lease.address)
        if endpoint is None or not endpoint.terms.zero_loss_s or not lease.owed or not endpoint.both_normal():
            return False
        return self.held.hold(lease, endpoint.terms.name, send, now.mono + endpoint.terms.zero_loss_s)

    def update_answered(self, address: int, generation: int, now: Now) -> None:
        """The partner has answered the update that told this generation of a lease."""
        for held in self.held.answered(address, generation):
            self._let_go(address, held, now)

    def let_overdue_go(self, now: Now) -> None:
        """The DHCPACKs that have waited for long enough."""
        for address, held in self.held.overdue(now.mono):
            self.note(LATE, now, address=address, subject=held.relationship)
            self._let_go(address, held, now)

    def _let_go(self, address: int, held: Held, now: Now) -> None:
        if stands(held, address, self.table):
            self.out.after_commit.append(held.send)
        else:
            self.note(VOID, now, address=address, subject=held.relationship)

    def says_name_again(self, lease: Lease, now: Now) -> None:
        """The partner ended a lease that lives here; it was refused, and has taken the name away, or is about to."""
        if lease.state is BindingState.ACTIVE:
            self.planner.met([lease], now, self.out)

    def contested(self, conflict: Conflict) -> None:
        """Two clients were granted one address: kept for the operator."""
        self.conflicts.keep(conflict, self.out)

    def state_moved(self, relationship: str, old: ServerState, new: ServerState, now: Now) -> None:
        """Dues of leases and ownership of names follow the state."""
        self.rights.clear()
        rights = self.rights_of(relationship)
        for pool in self.endpoints[relationship].updates.pools:
            pool.barren.clear()
        for address, held in self.held.of(relationship) if new is not ServerState.NORMAL else ():
            self._let_go(address, held, now)
        for lease in self.table.rows():
            state = self.table.pool_of(lease.address)
            if state is not None and state.pool.relationship == relationship:
                self.table.set_due(lease.address, mclt.due(lease, rights))
                if new in {ServerState.NORMAL, ServerState.PARTNER_DOWN} and lease.state is not BindingState.ACTIVE:
                    self.planner.ended(lease.address, now)  # while apart that could not be known for sure
        if old is ServerState.PARTNER_DOWN:
            endpoint = self.endpoints[relationship]
            self.planner.returned(lambda address: self.endpoint_at(address) is endpoint, now, self.out)
        if new is ServerState.PARTNER_DOWN:
            self.take_names_over(relationship, now)
        elif new is ServerState.NORMAL:
            if self.rolled_back and not any(each.boot.restored for each in self.endpoints.values()):
                gone = [Write(Kind.META, name.encode(), None, Origin.PARTNER, "recovered") for name in self.rolled_back]
                self.out.writes += gone
                self.rolled_back = []
            short = old in (ServerState.NORMAL, ServerState.COMMUNICATIONS_INTERRUPTED)
            dialect = self.endpoints[relationship].dialect
            self.met_again(self._granted_apart(relationship, old, rights), short and dialect >= NAMES, now)
            if dialect >= FACTS:
                self.planner.tell_all()

    def take_names_over(self, relationship: str, now: Now) -> None:
        """Partner-down was entered, or is the state at boot: what the partner registered is ours, also what ended before this word."""
        self.planner.take_over(now, self.out)
        for lease in self.table.rows():
            if (
                lease.state is not BindingState.ACTIVE
                and not lease.fqdn
                and self.endpoint_at(lease.address) is self.endpoints[relationship]
            ):
                self.planner.orphaned(lease, now, self.out, again=True)

    def _granted_apart(self, relationship: str, old: ServerState, rights: Rights) -> list[Lease]:
        """The live leases that we granted since the last proven contact before this link, or that the partner never acked: it may have
        ended them, and their names, in its own view. All of them when we come from anything but a short interruption, since the
        partner was in partner-down then."""
        short = old in (ServerState.NORMAL, ServerState.COMMUNICATIONS_INTERRUPTED)
        since = self.endpoints[relationship].apart_since - rights.slack_s if short else 0
        endpoint = self.endpoints[relationship]
        found = []
        for lease in self.table.rows():
            mine = lease.fqdn and lease.state is BindingState.ACTIVE and (lease.cltt >= since or lease.owed)
            if not mine or self.endpoint_at(lease.address) is not endpoint:
                continue
            # Of one client's leases the newest shows its name (RFC 4703 5.3.2), and that may be the partner's by now.
            if all(other.starts <= lease.starts for other in self.table.of_client(lease.client)):
                found.append(lease)
        return found

    def granted_beyond(self, relationship: str, contact: int) -> bool:
        """safety.md 17: whether a client got something here since `contact` that the partner has not acked and, in partner-down, could not
        know to be in use. What it has acked it had heard of after that: an older one was no longer the last contact."""
        rights, endpoint = self.rights_of(relationship), self.endpoints[relationship]
        rows = [lease for lease in self.table.rows() if self.endpoint_at(lease.address) is endpoint]
        acked = [lease.cltt for lease in rows if not lease.owed and not lease.rejected and lease.cltt <= self.now.wall]
        since = max([contact, *acked])
        late = (lease for lease in rows if lease.owed and lease.cltt > since)
        return any(mclt.beyond(lease, since, rights.mclt_s, rights.slack_s) for lease in late)

    def rest_all(self, relationship: str, now: Now) -> None:
        """safety.md 15: every lease known here rests for its full time before another client may have the address. What both had agreed
        to be free, nobody but its owner can have granted: that is over when the partner's own wait is."""
        rights = self.rights_of(relationship)
        record = self.endpoints[relationship].record
        record.rested = int(now.wall)
        alone = rights.partner_down_since
        for lease in self.table.rows():
            state = self.table.pool_of(lease.address)
            if state is None or state.pool.relationship != relationship:
                continue
            record.lost_at = int(now.wall)
            untold = lease.state is BindingState.ABANDONED and lease.owed  # what the partner lost may still have leased it
            settled = lease.state in (BindingState.FREE, BindingState.BACKUP, BindingState.ABANDONED) and not untold
            if settled and (alone is not None or lease.horizon <= now.wall):
                continue
            since = 0 if settled else int(now.wall) if alone is None else alone
            until = max(lease.horizon, since) + mclt.rest_s(rights)
            if until > max(now.wall, lease.not_before):
                rests = lease.evolve(not_before=until)
                self.change(lease, rests, Origin.PARTNER, "partner lost its database", now)
