"""The planner: from live leases to rows, and the face of this room.

Whatever changes a lease tells it here, in the same step: rows and lease are one commit (safety.md 24). On a plain failover link the
record of a lease carries no name; the node keeps our own name on a lease that the partner renews for the same client, so a name
that we registered is known to be the partner's afterwards, and one that only the partner registered is unknown here.

Who sends: the server that spoke to the client last (ddns.md 4.6). A removal does not change the owner: whoever registered a name
removes it, also when the partner is the one that freed the lease.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from random import Random

from failoverd.ddns import reasons
from failoverd.ddns.audit import ipv4, reverse_address
from failoverd.ddns.contest import GivenNames
from failoverd.ddns.follow import IDENTS, Follower, is_follow
from failoverd.ddns.guards import Guard, guard_candidates
from failoverd.ddns.names import dotted
from failoverd.ddns.outbox import FOREVER, Outbox
from failoverd.ddns.repair import Repairs, is_hold
from failoverd.ddns.rows import FORWARD, ME, PEER, REVERSE, Row, State, Value, row_key
from failoverd.ddns.seek import Seeker, is_seek
from failoverd.ddns.shelf import Shelf
from failoverd.ddns.wants import Claim, Claims, pointer_of
from failoverd.ddns.word import OPEN, Flags, PartnerWord
from failoverd.ddns.zone import DnsPlan
from failoverd.leases.lease import NO_FORWARD, NO_REVERSE, Lease
from failoverd.notes import Note
from failoverd.ports import DnsAnswer, Now, Origin, Output

KEEP, SUFFIX, TAKE = "keep", "suffix", "take"
TAKEOVER_SPREAD_S = 300.0
TAKEOVER_SLICE = 500  # rows a step
MEETING_S = (3.0, 30.0)  # after contact: the partner's removals of leases that it had seen end go first


class Planner:
    """`stored`: the rows of the store (JSON). `server`: our name, for the notes. Sends nothing until `fence(False, ...)`.

    `unheld`: whether nobody holds an address under a DHCID (name, DHCID; both "" for nobody at all), None for not known yet: the node
    says, for a lease that the partner gave has no name here. `nameless`: the same arguments; whether the partner spoke last to the client
    of the address, which may have a name that we were not told. `unsaid`: whether that client is called so when it says no name."""

    def __init__(self, plan: DnsPlan, stored: list[str], server: str, rng: Random) -> None:
        self._plan = plan
        self._server = server
        self._take = plan.on_conflict == TAKE
        self._rng = rng
        self._claims = Claims()
        self._given = GivenNames()
        self._targets = tuple(sorted({zone.target for zone in plan.zones}))
        self._taking: deque[bytes] = deque()
        self._meeting: deque[bytes] = deque()
        self.unheld: Callable[[int, str, str], bool | None] = _unknown
        self.nameless: Callable[[int, str, str], bool] = _unknown
        self.unsaid: Callable[[int, str], bool] = _unknown
        rows = [text for text in stored if not (is_hold(text) or is_seek(text) or is_follow(text))]
        self._shelf = Shelf(plan, rows)
        self._follower = Follower(plan, self._shelf, rng, filter(is_follow, stored), self._pointed)
        self._seeker = Seeker(plan, self._shelf, rng, filter(is_seek, stored))
        self._word = PartnerWord(self._shelf, self._targets)
        self._outbox = Outbox(plan, self._shelf, rng, self)
        self.repairs = Repairs(plan, self._shelf, filter(is_hold, stored), self._want_again)

    # --- leases -------------------------------------------------------------------------------------------------------

    def load_leases(self, leases: Iterable[Lease]) -> None:
        """Rebuild the index of who wants which name, at boot. Rows are as the last commit left them: they were written with the
        leases."""
        instead: dict[str, list[Row]] = {}
        for row in self._shelf.rows.values():
            if row.wish:
                instead.setdefault(row.wish, []).append(row)
        for lease in leases:
            self._given.load(lease, instead.get(lease.fqdn, ()))
            name = self._given.name_of(lease)
            if name:
                pointer = self._point(lease, name)
                self._claims.put(lease, self._plan, self._owned(name, pointer if lease.dns & NO_FORWARD else ""), name, pointer)
        for row in self._shelf.rows.values():
            if row.kind == FORWARD and row.want:
                for claim in self._claims.of(row.name):
                    if any(v.text == dotted(claim.address) for v in row.want):
                        self._claims.newest(row.name, claim.address)

    def _owned(self, name: str, pointer: str) -> bool:
        """Whether we speak for a name; `pointer`: for a lease that has nothing but a PTR."""
        keys = [row_key(t, REVERSE, pointer) if pointer else row_key(t, FORWARD, name) for t in self._targets]
        return all(row.owner == ME for key in keys if (row := self._shelf.rows.get(key)) is not None)

    def lease_changed(self, old: Lease | None, new: Lease, origin: Origin, now: Now, out: Output, shown: str | None = None) -> None:
        """A lease changed: want again, for its old and its new name and their reverse names, what all live leases want.

        `origin` PARTNER: the partner spoke to the client, its name is the partner's to register. `shown`: what the partner calls it.
        """
        if not self._targets:
            return
        was = self._given.name_of(old)
        if shown is not None:
            self._given.told(new, shown)
        name = self._given.name_of(new)
        before = self.pointer(old) if was else ""
        mine = origin is not Origin.PARTNER
        if was and was != name:
            self._claims.drop(was, new.address)
            if old is not None and old.fqdn != was:
                self._given.forget(old, self._claims, was)
            self._want(was, new.address, now, out, gone=before)
        pointer = self._point(new, name, now, out)
        if not name:
            return
        if self._claims.put(new, self._plan, mine, name, pointer):
            self._want(name, new.address, now, out, gone=before if was == name else "")
            if mine and old is not None and old.partner_cltt > old.cltt:
                self._doubt(name, pointer, now, out)
            if was and was != name:
                self._shelf.rename(was, name, self._targets)
        elif mine:
            self._hurry(name, new.address, now, out)

    def _doubt(self, name: str, pointer: str, now: Now, out: Output) -> None:
        """The partner had the lease last and may be removing its name just now, by the same DHCID and value: what we say is said again
        when no message of its can come any more (torture, seed 32)."""
        for key in [row_key(t, *each) for t in self._targets for each in ((FORWARD, name), (REVERSE, pointer))]:
            row = self._shelf.rows.get(key)
            if row is not None and row.owner == ME and row.want:
                self._shelf.doubt(row, now, out)

    def _point(self, lease: Lease, name: str, now: Now | None = None, out: Output | None = None) -> str:
        """The owner name of the PTR of a lease that is called `name`, "" for none or for not known yet. `out`: None at boot."""
        followed = self._follower.rule(lease.address) is not None or (out is None and self._follower.owner(lease.address))
        if not name or lease.dns & NO_REVERSE or lease.rev or not followed:
            if out is not None:
                self._follower.forget(lease.address, out)
            if name:
                self._shelf.reverse_at(lease.address, lease.rev)
            return pointer_of(lease) if name else ""
        known = self._follower.owner(lease.address)
        owner = self._follower.follow(lease.address, name, now.mono if now is not None else 0.0)
        if owner and not known and out is not None:
            self._follower.keep(lease.address, out)
        self._shelf.reverse_at(lease.address, owner)
        return owner

    def pointer(self, lease: Lease | None) -> str:
        """The owner name of the PTR of a lease, "" when it is not ours to register, or not known yet."""
        owner = self._follower.owner(lease.address) if lease is not None and not lease.rev else None
        return pointer_of(lease) if owner is None or (lease is not None and lease.dns & NO_REVERSE) else owner

    def _pointed(self, address: int, before: str, owner: str, now: Now, out: Output) -> None:
        """The parent's CNAME for an address leads to `owner` now."""
        self._shelf.reverse_at(address, owner)
        name = self._follower.name(address)
        self._claims.point(name, address, owner)
        self._want(name, address, now, out, gone=before)

    def claimants(self, name: str) -> tuple[int, ...]:
        """The addresses of the live leases that want a name."""
        return tuple(claim.address for claim in self._claims.of(name))

    def _want_again(self, name: str, now: Now, out: Output) -> None:
        """Want what the live leases of a name want, also where no row says so yet (a zone that was configured since)."""
        for claim in self._claims.of(name)[:1]:
            self._want(name, claim.address, now, out)

    def _want(self, name: str, address: int, now: Now, out: Output, holder: str = "", gone: str = "") -> None:
        """Compute `want` of one name and of the reverse names that it touches. `gone`: the reverse name that its lease had before."""
        rows = [row for target in self._targets if (row := self._shelf.rows.get(row_key(target, FORWARD, name))) is not None]
        chosen, losers = self._claims.select(name, holder or next((row.holder for row in rows if row.holder), ""), self._take)
        if losers:
            out.notes.append(Note(reasons.TAKEN, now.wall, address=address, subject=name))
        pointers: dict[str, Claim | None] = {gone: None} if gone else {}
        for row in rows:
            pointers.update((self._shelf.pointer_of(v), None) for v in row.want if v.rtype == "A")
        for claim in self._claims.of(name):
            if claim.pointer:
                pointers[claim.pointer] = claim if claim is chosen or not claim.forward else None
        values = (Value("A", dotted(chosen.address), chosen.ttl),) if chosen else ()
        guard, owner = (chosen.guard, ME if chosen.mine else PEER) if chosen else ("", ME)
        found = False
        for target in self._targets:
            row = self._shelf.want(
                target, FORWARD, name, values, guard, owner, now, out, self._server, chosen.wish if chosen else ""
            )
            found = found or row is not None
        for reverse, each in pointers.items():
            found = self._want_pointer(reverse, name, each, now, out) or found
        if not found and (chosen or any(pointers.values())):
            out.notes.append(Note(reasons.NO_ZONE, now.wall, address=address, subject=name))
        if losers and chosen is not None:
            loser = next((c for c in self._claims.of(name) if c.forward and c.guard != chosen.guard and c.mine), None)
            if loser is not None:
                self.give_way(name, loser.guard, now, out)

    def _want_pointer(self, reverse: str, name: str, claim: Claim | None, now: Now, out: Output) -> bool:
        """The PTR of one reverse name; a pointer to another name than `name` is not ours to take away."""
        found = False
        values = (Value("PTR", name, claim.ttl),) if claim else ()
        owner = ME if claim is None or claim.mine else PEER
        for target in self._targets:
            row = self._shelf.rows.get(row_key(target, REVERSE, reverse))
            if not values and (row is None or not row.want or row.want[0].text != name):
                continue
            found = self._shelf.want(target, REVERSE, reverse, values, "", owner, now, out, self._server) is not None or found
        return found

    def _hurry(self, name: str, address: int, now: Now, out: Output) -> None:
        """A renewal that changes nothing: a conflict is tried again, and a zone that was configured since gets its rows."""
        for target in self._targets:
            row = self._shelf.rows.get(row_key(target, FORWARD, name))
            if row is not None:
                self._shelf.hurry(row, now)
            elif self._plan.zone_for(name, target) is not None:
                self._want(name, address, now, out)
                return

    def settle(self, name: str, guard: str, now: Now, out: Output) -> bool:
        """The name is free for its next holder, or stands under `guard`: want again what is right."""
        claim = next((c for c in self._claims.of(name) if c.guard == guard), None)
        if claim is not None:
            self._want(name, claim.address, now, out, holder=guard)
        return claim is not None

    def proofs(self, name: str, guard: str) -> tuple[Guard, ...]:
        """What a predecessor may have left at a name for the client whose DHCID there is `guard`."""
        claim = next((c for c in self._claims.of(name) if c.guard == guard), None)
        return guard_candidates(claim.hw, claim.client_id, name, cased=claim.cased) if claim is not None else ()

    def give_way(self, name: str, guard: str, now: Now, out: Output) -> bool:
        """The name is another's: whether the client gets another one instead, which then is wanted like every name."""
        claim = self._given.move(name, guard, self._claims) if self._plan.on_conflict == SUFFIX else None
        if claim is None:
            return False
        given = self._given.given(claim)
        out.notes.append(Note(reasons.GAVE_WAY, now.wall, address=claim.address, subject=given, detail=f"instead of {claim.wish}"))
        for each in self._claims.of(given):
            if self._follower.owner(each.address) is not None:
                self._follower.follow(each.address, given, now.mono)
        self._want(name, claim.address, now, out, gone=claim.pointer)
        self._want(given, claim.address, now, out)
        return True

    def left_behind(self, row: Row) -> bool | None:
        """Whether what the partner was to remove belongs to nobody: a client that went over to the partner and changed its name there
        leaves the old one, of which the partner heard nothing (ddns.md 4.6). None: not known yet."""
        if row.kind == REVERSE:
            at, names = reverse_address(row.name), {v.text for v in row.drop()}
            answers = [at is not None and self.unheld(at, name, self._pointed_by(row, at, name)) for name in names]
        else:
            answers = [self.unheld(ipv4(v.text), row.name, row.held_guard) for v in row.known() if v.rtype == "A"]
        return False if False in answers else None if None in answers else True

    def addresses_of(self, row: Row) -> tuple[int, ...]:
        """The addresses that what is known at a name is about; none for a pointer in a zone of RFC 2317."""
        if row.kind == REVERSE:
            address = reverse_address(row.name)
            return () if address is None else (address,)
        return tuple(ipv4(v.text) for v in row.known() if v.rtype == "A")

    def ended(self, address: int, now: Now) -> None:
        """The lease of an address has ended, also one whose name only the partner knows: what was left to the partner there is looked at
        (simulator, seed tls232: a roaming client's old PTR stayed for an hour after its lease)."""
        self._shelf.look_again(address, now)

    def theirs(self, row: Row, values: tuple[Value, ...], guard: str) -> bool:
        """Whether what is to be removed may be the partner's by now: the client came back there, and has the same address. The DHCID
        and the value would not stop a removal that waited meanwhile (make torture, seed 12)."""
        for value in values:
            if value.rtype == "A" and self.nameless(ipv4(value.text), row.name, guard):
                return True
            address = reverse_address(row.name) if value.rtype == "PTR" else None
            if address is not None and self.nameless(address, value.text, self._pointed_by(row, address, value.text)):
                return True
        return False

    def _pointed_by(self, row: Row, address: int, name: str) -> str:
        """The DHCID of the client whose PTR to `name` that is, "": any client's that has the address."""
        forward = self._shelf.rows.get(row_key(row.target, FORWARD, name))
        return "" if forward is None or self.unsaid(address, name) else forward.held_guard or forward.guard

    def name_of(self, lease: Lease) -> str:
        """The name that a lease has in DNS, which is another than it asks for when that one is taken; "" for none."""
        return self._given.name_of(lease)

    # --- failover -----------------------------------------------------------------------------------------------------

    def take_over(self, now: Now, out: Output) -> None:
        """Partner-down was entered, or is the state at boot: every row is ours now. Done in slices by `due`; may be repeated."""
        self._taking = deque(key for key, row in self._shelf.rows.items() if row.owner == PEER)
        if self._taking:
            out.notes.append(Note(reasons.TAKEOVER, now.wall, detail=f"{len(self._taking)} names"))

    def _take_slice(self, now: Now, out: Output) -> None:
        for _ in range(min(TAKEOVER_SLICE, len(self._taking))):
            row = self._shelf.rows.get(self._taking.popleft())
            if row is not None and row.owner == PEER:
                word = row.word
                self._shelf.own(row, ME)
                name = row.name if row.kind == FORWARD else row.want[0].text if row.want else ""
                self._claims.own(name)
                wait_s = self._rng.uniform(0.0, TAKEOVER_SPREAD_S) if row.want and word != OPEN else 0.0
                self._shelf.reassert(row, wait_s, now, out, "partner-down")

    def met(self, leases: Iterable[Lease], now: Now, out: Output) -> None:
        """Contact again after a time apart. `leases`: those that we granted meanwhile. The partner saw them end, and may have removed
        their names or be about to, so what the zone held is a maybe: they are said again. Done in slices by `due`."""
        for lease in leases:
            name = self._given.name_of(lease)
            for target in self._targets if name else ():
                self._meeting.append(row_key(target, FORWARD, name))
                self._meeting.append(row_key(target, REVERSE, self.pointer(lease)))

    def _meet_slice(self, now: Now, out: Output) -> None:
        for _ in range(min(TAKEOVER_SLICE, len(self._meeting))):
            row = self._shelf.rows.get(self._meeting.popleft())
            if row is not None and row.owner == ME and row.want:
                self._shelf.reassert(row, self._rng.uniform(*MEETING_S), now, out, "contact again")

    def orphaned(self, old: Lease, now: Now, out: Output, *, again: bool = False) -> None:
        """Partner-down: a lease of the partner's has ended. A name that we never heard of is looked for, and removed when it is proven.
        `again`: the caller says so at each boot, so it need not be stored."""
        if old.client and old.partner_cltt and not old.fqdn:
            self._seeker.begin(old, out, kept=not again)

    def revived(self, lease: Lease, now: Now, out: Output) -> None:
        """An address whose lease had ended is bound again."""
        self._seeker.revived(lease, now, out)

    def returned(self, which: Callable[[int], bool], now: Now, out: Output) -> None:
        """Partner-down is over: the partner sees to the names of its own leases. `which`: whether an address is of that partner's."""
        self._seeker.cancel(which, now, out)

    def fence(self, paused: bool, now: Now, out: Output, *, waits: bool = False) -> None:
        """Whether this server may send at all (safety.md 25). What is out is not called back. `waits`: the partner is about to tell."""
        self._outbox.paused = paused or waits
        if paused != self._outbox.fenced:
            self._outbox.fenced, self._outbox.cas = paused, set() if paused else self._shelf.doubtful()
            out.notes.append(Note(reasons.FENCED if paused else reasons.UNFENCED, now.wall, subject=self._server))

    # --- the partner's word (word.py) ------------------------------------------------------------------------------------

    def registered_there(self, lease: Lease) -> bool:
        """Whether the name of a lease is the partner's to register."""
        rows = (self._shelf.rows.get(row_key(target, FORWARD, self._given.name_of(lease))) for target in self._targets)
        return any(row is not None and row.owner == PEER for row in rows)

    def flags(self, lease: Lease) -> Flags:
        """What of a lease's names is in DNS."""
        name = self._given.name_of(lease)
        return self._word.flags(name, self.pointer(lease), lease.address) if name else Flags(False, False)

    def registered(self, lease: Lease) -> Flags:
        """Which of a lease's names are ours to say."""
        return self._word.registered(self._given.name_of(lease), self.pointer(lease))

    def shown(self, name: str, pointer: str, address: int) -> Flags:
        """The same for names that the partner tells."""
        return self._word.flags(name, self._follower.owner(address) or pointer, address)

    def flagged(self, lease: Lease, flags: Flags, now: Now, out: Output) -> None:
        """What of a lease of the partner's is in DNS by its word."""
        if name := self._given.name_of(lease):
            self._word.flag(name, self.pointer(lease), lease.address, flags, now, out)

    def tell_all(self) -> None:
        """A partner that has heard nothing yet is told of every row of ours that rests."""
        self._word.all()

    def settled(self, *, told: bool) -> list[tuple[bytes, bytes]]:
        """Rows of ours that came to rest since the last call, a slice; none when nobody is `told`."""
        if not told:
            self._shelf.changed.clear()
        return self._word.settled()

    @property
    def untold(self) -> bool:
        """Whether there is more than the last slice."""
        return bool(self._shelf.changed)

    def heard(self, items: Iterable[Sequence[bytes]], now: Now, out: Output) -> None:
        """The partner's rows that came to rest."""
        self._word.heard(items, now, out)

    # --- messages -----------------------------------------------------------------------------------------------------

    def due(self, now: Now, out: Output) -> None:
        """Send what is due."""
        if self._taking:
            self._take_slice(now, out)
        if self._meeting:
            self._meet_slice(now, out)
        if not self._outbox.paused:
            self.repairs.due(now, out)
            self._seeker.due(now, out)
            self._follower.due(now, out)
        self._outbox.due(now, out)

    def answered(self, answer: DnsAnswer, now: Now, out: Output) -> None:
        """One message came to its end."""
        if answer.ident < IDENTS:
            self._follower.answered(answer, now, out)
            return
        if answer.ident < 0:
            self._seeker.answered(answer, now, out)
            return
        self._outbox.answered(answer, now, out)

    def deadline(self, now: Now) -> float:
        """Monotonic time at which `due` has something to do, infinity for none."""
        if self._taking or self._meeting:
            return now.mono
        bulk = min(self.repairs.deadline(), self._seeker.deadline(now), self._follower.deadline(now))
        return min(FOREVER if self._outbox.paused else bulk, self._outbox.deadline(now))

    def name_for(self, wish: str, client: bytes) -> str:
        """What a client that asks for `wish` is called now: that, or what it was given instead (on-conflict = "suffix")."""
        return self._given.instead(wish, client)

    # --- what it says about itself ------------------------------------------------------------------------------------

    @property
    def fenced(self) -> bool:
        """Whether nothing is sent at all (safety.md 25)."""
        return self._outbox.fenced

    @property
    def inflight(self) -> int:
        """Messages that are out."""
        return len(self._outbox.flights)

    def row(self, key: bytes) -> Row | None:
        """One row. Not to be changed."""
        return self._shelf.rows.get(key) or self._shelf.waiting.get(key)

    def row_keys(self) -> list[bytes]:
        """The keys of all rows, in no order."""
        return [*self._shelf.rows, *self._shelf.waiting]

    def rows_list(self) -> list[Row]:
        """All rows, by target, kind and name. Not to be changed."""
        return [row for key in sorted(self.row_keys()) if (row := self.row(key)) is not None]

    def retry(self, rows: list[Row], now: Now) -> int:
        """Try these rows now; how many there is something to try for."""
        followed = sum(self._follower.hurry(row, now) for row in rows if row.key in self._shelf.waiting)
        return followed + self.repairs.retry((row for row in rows if row.key not in self._shelf.waiting), now)

    def status(self, now: Now) -> dict[str, object]:
        """Plain data for the API and the simulator. Costs a walk over all rows."""
        counts = dict.fromkeys(State, 0)
        peer = 0
        for row in self._shelf.rows.values():
            counts[row.state] += 1
            peer += row.owner == PEER
        counts[State.HELD] += len(self._shelf.waiting)
        return {
            "paused": self._outbox.paused,
            "inflight": self.inflight,
            "rows": {str(state): n for state, n in counts.items()},
            "peer_rows": peer,
            "taking_over": len(self._taking),
            "seeking": len(self._seeker),
            "zones": [self._zone_status(lane.target, lane.zone, now) for lane in self._shelf.lanes.values()],
            "servers": [
                {
                    "server": s.key,
                    "state": "silent" if s.open else "up",
                    "window": s.window,
                    "inflight": s.inflight,
                    "probe_in_s": max(0.0, s.probe_mono - now.mono) if s.open else 0.0,
                }
                for s in self._shelf.servers.values()
            ],
        }

    def _zone_status(self, target: str, zone: str, now: Now) -> dict[str, object]:
        lane = self._shelf.lanes[target, zone]
        oldest = self._shelf.rows[next(iter(lane.pending))].dirty_since if lane.pending else 0.0
        return {
            "target": target,
            "zone": zone,
            "queue": len(lane.pending),
            "inflight": lane.inflight,
            "oldest_s": max(0.0, now.wall - oldest) if oldest else 0.0,
            "last_ok": lane.ok_wall,
            "failures": lane.failures,
            "state": "held" if lane.held or lane.reason else "ok",
            "reason": lane.held or lane.reason,
            "detail": "" if lane.held else lane.detail,
            "retry_in_s": max(0.0, lane.until_mono - now.mono) if lane.reason and not lane.held else 0.0,
        }


def _unknown(_address: int, _name: str, _guard: str = "") -> bool:
    """Without a node nothing is sure."""
    return False
