"""Binding updates of one relationship: what the partner tells us, beside what we owe it (update_queue.py) and hand it (pool_transfer.py).

BNDUPD as the receiver: failover-protocol.md 6.3 and 6.4, safety.md 2, 13, 19, 23. The verdicts are tables of leases/binding.py.
"""

from __future__ import annotations

from failoverd.failover import message as wire
from failoverd.failover import private, reasons
from failoverd.failover.bindings import both_claims, later_end, take_client
from failoverd.failover.conflicts import Conflict, claim_of, claim_told
from failoverd.failover.dialect import NAMES
from failoverd.failover.message import Binding, Message, RejectReason, ServerState
from failoverd.failover.pool_transfer import House
from failoverd.failover.private import LeaseNames
from failoverd.failover.record import RelationshipRecord
from failoverd.failover.states import CONFLICTING, RECOVERING
from failoverd.failover.terms import Terms
from failoverd.failover.update_queue import ENDS, FREED, Link, UpdateQueue
from failoverd.leases.binding import judge
from failoverd.leases.lease import NEVER, NO_FORWARD, NO_REVERSE, BindingState, Lease
from failoverd.leases.mclt import rest_s
from failoverd.leases.rights import Rights
from failoverd.leases.table import PoolState
from failoverd.ports import Now, Origin

LATE_S = 5  # a BNDUPD leaves in the step that makes it
LATE_FOR_S = 30.0  # the next of a queue comes sooner, or the link is given up


class Updates(UpdateQueue):
    """All binding updates of one relationship, in both directions."""

    def __init__(self, terms: Terms, record: RelationshipRecord, house: House, pools: list[PoolState]) -> None:
        """Nothing owed yet; the boot re-owes from the rows. `record`: read, never written."""
        super().__init__(terms, house, pools)
        self.record = record
        self.late_until = 0.0  # mono; see late

    def late(self, now: Now) -> bool:
        """Whether the partner may have granted more than it has told yet: what it granted was told late until a moment ago, by its own
        clock, as when updates queue for a slow link."""
        return now.mono < self.late_until

    def _hear_how_late(self, binding: Binding, said_at: int, now: Now) -> None:
        if binding.state == BindingState.ACTIVE and said_at - (binding.cltt or said_at) > LATE_S:
            self.late_until = now.mono + LATE_FOR_S

    def told(self, message: Message, rights: Rights, state: ServerState, ruled: bool, link: Link, now: Now) -> None:
        """A BNDUPD: judged by the tables, answered by exactly one BNDACK after the commit (6.3). `state`: ours, as it acts; `ruled`: the
        partner has judged the conflicts already."""
        binding = wire.binding(message)
        self._hear_how_late(binding, message.time, now)
        names = self._names(message, link, now)
        misplaced = self._misplaced(binding)
        refused = misplaced or self._outlasts(binding, rights, now) or self._judge(binding, rights, state, ruled, now)
        if refused is not None:
            reason, text = refused
            name = reasons.LESS_CRITICAL if reason == RejectReason.LESS_CRITICAL_BINDING else reasons.REFUSED_BY_US
            self.house.note(name, now, address=binding.address or 0, subject=self.terms.name, detail=f"{int(reason)} {text}")
            link.send(wire.bnd_reject(int(now.wall), message.xid, binding.address, reason, text))
            if misplaced is None:
                self._keep_claim(binding, state, now)
            elif binding.state == BindingState.ACTIVE and self.house.claim_refused(self.terms.name, binding, now):
                lease = self.house.table.get(binding.address or 0)
                self._contested("ours", lease, binding, both_claims(lease, binding), state, now)
            return
        assert binding.address is not None
        ack = wire.bndack(int(now.wall), message.xid, binding.address)
        if names is not None:
            ack.options.append((private.NAMES, private.encode_names(self.house.names_known(binding.address, names))))
        self._take(binding, rights, state, now, names)
        link.send(ack)

    def _names(self, message: Message, link: Link, now: Now) -> LeaseNames | None:
        """The names that the partner tells; None on a plain link, where nothing is known of them."""
        data = private.option(message, private.NAMES) if link.dialect >= NAMES else None
        names = private.decode_names(data) if data is not None else None
        if data is not None and names is None:
            self.house.note(reasons.PRIVATE_IGNORED, now, subject=self.terms.name, detail=f"names {data[:2].hex()}")
        return names

    def _keep_claim(self, binding: Binding, state: ServerState, now: Now) -> None:
        """We refused the partner's grant to another client than ours: it may be in use until its end (safety.md 19). Or its end of a lease
        that we have confirmed since: it hears that."""
        at = self.house.table.confirmed(binding.address or 0)
        if at and binding.state != BindingState.ACTIVE:
            lease = self.house.table.get(binding.address or 0)
            new = lease.evolve(cltt=max(lease.cltt, at), owed=True, rejected=0)
            # The client spoke to us last, and the partner has taken its name away: it is ours to say again.
            self.house.change(lease, new, Origin.CLIENT, "confirmed", now)
            return
        if binding.address is None or not self.house.table.has_row(binding.address):
            return
        lease = self.house.table.get(binding.address)
        if binding.state != BindingState.ACTIVE:
            self.house.says_name_again(lease, now)
            return
        theirs = Lease(0, hw=binding.hw or b"", client_id=binding.client_id or b"").client
        until = both_claims(lease, binding)
        if lease.state is not BindingState.ACTIVE:
            return
        if lease.client == theirs:
            self._keep_end(lease, binding, now)
            return
        tell = state in CONFLICTING and not lease.owed  # it hears whose stands, also when we owed it nothing (safety.md 19)
        if tell or until > lease.disputed:
            new = lease.evolve(disputed=until, owed=lease.owed or tell, rejected=0 if tell else lease.rejected)
            self.house.change(lease, new, Origin.PARTNER, "disputed", now)
        self._contested("ours", lease, binding, until, state, now)

    def _keep_end(self, lease: Lease, binding: Binding, now: Now) -> None:
        """The partner's grant to the very client that has ours, which we refused in a duel: the client may have taken that ACK."""
        if (binding.ends or 0) > lease.ends:
            new = later_end(lease, binding.ends or 0, binding.potential or 0)
            self.house.change(lease, new, Origin.PARTNER, "later end", now)

    def _contested(self, won: str, lease: Lease, binding: Binding, until: int, state: ServerState, now: Now) -> None:
        """Two clients were granted one address: told, and kept (safety.md 19)."""
        self.house.note(reasons.CONFLICT, now, address=lease.address, subject=self.terms.name, detail=f"{won} stands")
        self.house.contested(
            Conflict(self.terms.name, lease.address, won, claim_of(lease), claim_told(binding), until, state.words, int(now.wall))
        )

    def _misplaced(self, binding: Binding) -> tuple[int, str] | None:
        """The reject code and its text for what is of no lease of this relationship, and changes none; None for one that is."""
        if binding.address is None or binding.state is None:
            return RejectReason.MISSING_BINDING_INFORMATION, "binding update lacks required options"
        pool = self.house.table.pool_of(binding.address)
        if pool is None:
            return RejectReason.ILLEGAL_IP_ADDRESS, "unknown IP address"
        if pool.pool.relationship != self.terms.name:
            return RejectReason.ILLEGAL_IP_ADDRESS, "IP address is covered by a different failover relationship state"
        return None

    def _outlasts(self, binding: Binding, rights: Rights, now: Now) -> tuple[int, str] | None:
        """Of a lease that we granted by a clock that was behind and is right by now: the partner was told its end as it reads, and ends it
        there. It hears the end as it is (safety.md 10; simulator, seed clock19792)."""
        if binding.state != BindingState.EXPIRED or not rights.ahead_s or binding.address is None:
            return None
        lease, by = self.house.table.get(binding.address), rights.ahead_s
        noted = max(lease.cltt, self.house.table.confirmed(lease.address))
        ours = lease.state is BindingState.ACTIVE and lease.partner_cltt <= noted + by and noted < rights.set_ahead_at
        if not ours or lease.ends + by <= now.wall:
            return None
        new = later_end(lease, min(lease.ends + by, NEVER), min(lease.potential + by, NEVER))
        new.horizon, new.cltt = max(new.horizon, new.potential), rights.set_ahead_at  # so this step is counted once
        self.house.change(lease, new, Origin.PARTNER, "granted by a clock that was behind", now)
        return RejectReason.LESS_CRITICAL_BINDING, f"granted by a clock that was {by} s behind, it lasts until {new.ends}"

    def _judge(self, binding: Binding, rights: Rights, state: ServerState, ruled: bool, now: Now) -> tuple[int, str] | None:
        """The reject code and its text, or None to accept."""
        assert binding.address is not None
        assert binding.state is not None
        xid = self.in_flight.get(binding.address)
        flight = self.flights[xid] if xid is not None else None
        starts = 0 if self.terms.partner_is_dhcpd else binding.starts or 0  # a dhcpd tells the time of either's transaction
        verdict = judge(
            self.house.table.get(binding.address),
            binding.state,
            hw=binding.hw,
            client_id=binding.client_id,
            potential=binding.potential or 0,
            cltt=binding.cltt or 0,
            starts=starts,
            flags=binding.flags or 0,
            announced=flight.state if flight is not None else None,
            announced_cltt=flight.cltt if flight is not None else 0,
            in_normal=state is ServerState.NORMAL,
            primary=self.terms.primary,
            now=int(now.wall),
            slack_s=rights.slack_s,
            resolving=state in CONFLICTING,
            ruled=ruled,
            confirmed=self.house.table.confirmed(binding.address),
            outdated=rights.outdated,
            recovers=self.record.partner_state in RECOVERING,
        )
        return None if verdict.accept else (verdict.reject, verdict.text)

    def _take(self, binding: Binding, rights: Rights, acting: ServerState, now: Now, names: LeaseNames | None = None) -> None:
        """The partner's binding becomes ours; EXPIRED, RELEASED and RESET are FREE straight away (6.3 step 11)."""
        assert binding.address is not None
        assert binding.state is not None
        address = binding.address
        old = self.house.table.get(address)
        told = BindingState(binding.state)
        state = BindingState.FREE if told in FREED else told
        if old.state is state and not self.house.table.has_row(address) and not binding.ends and not binding.hw:
            return  # a never-used address on both sides is not a row (safety.md 23)
        new = old.evolve(state=state, rewind=state, owed=False, rejected=0)
        take_client(new, binding, told)
        if binding.starts is not None:
            new.starts = binding.starts
        if binding.ends is not None:
            new.ends = new.acked_end = binding.ends
        if binding.potential is not None:
            new.potential = new.acked = binding.potential
        new.partner_cltt = binding.cltt or old.partner_cltt
        new.flags = binding.flags or 0
        if new.client != old.client or state is not BindingState.ACTIVE:
            new.fqdn, new.agent = "", b""
            if new.client != old.client:
                new.hostname, new.cltt = "", 0  # this server has not dealt with this client
                if old.state is BindingState.ACTIVE and state is BindingState.ACTIVE and old.client:
                    new.disputed = both_claims(old, binding)
                    self._contested("theirs", old, binding, new.disputed, acting, now)
        if names is not None and state is BindingState.ACTIVE:
            new.fqdn, new.rev = names.wish, names.pointer
            new.dns = (NO_FORWARD if names.no_forward else 0) | (NO_REVERSE if names.no_reverse else 0)
            self.house.names_told(new, names, now)
        if self.terms.partner_is_dhcpd and told in ENDS and old.state is BindingState.ACTIVE and old.ends > int(now.wall):
            # A dhcpd whose clock is ahead ends the lease by it, and waits for nobody: here it lasts as long as promised (safety.md 10).
            new.not_before = max(new.not_before, old.ends + 1)
        if (
            state is BindingState.ACTIVE
            and self.record.rested
            and max(binding.cltt or 0, binding.starts or 0) <= self.record.rested + rights.slack_s
        ):
            # Of before the partner lost its database: what it granted since, and forgot, may last longer (safety.md 15; seed 4351).
            lasts = max(old.horizon, new.ends, new.potential, self.record.rested) + rest_s(rights)
            new.not_before = max(new.not_before, lasts)
        elif state is BindingState.ACTIVE and new.client == old.client:
            new.not_before = 0  # the client's own renewal ends the rest (safety.md 15)
        elif told is BindingState.EXPIRED and (rights.outdated or self.record.virgin_database):
            # It ended where nobody knew of the renewal that was lost here: it rests as at the partner (safety.md 15; seed 18091).
            new.not_before = max(new.not_before, max(old.horizon, new.ends, new.potential, int(now.wall)) + rest_s(rights))
        if old.state is BindingState.ACTIVE and state is BindingState.ACTIVE and new.client == old.client and old.ends > new.ends:
            # The client may have taken our ACK, or an earlier one of ours that ends later.
            new = later_end(new, old.ends, old.potential)
        xid = self.in_flight.pop(address, None)
        if xid is not None:  # theirs was better: our update in flight is void, its ack will be ignored (6.3 step 4)
            del self.flights[xid]
        self.again.discard(address)
        self.queue.pop(address, None)
        self.refused.pop(address, None)
        self.retries.pop(address, None)
        if self.request is not None:
            self.request.remaining.discard(address)
        if told in FREED:
            new = self._settled(new, rights, now)
        self.house.change(old, new, Origin.PARTNER, f"told {told.name}", now)
