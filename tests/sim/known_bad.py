"""Known-bad servers of the simulator, one for each rule of safety.md that code can break: mutants.py plants them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from failoverd import node_probes
from failoverd.ddns.outbox import Outbox
from failoverd.ddns.rounds import Rounds
from failoverd.ddns.shelf import Shelf
from failoverd.dhcp import serve
from failoverd.failover import waits
from failoverd.failover.endpoint import Endpoint
from failoverd.failover.update_queue import UpdateQueue
from failoverd.failover.updates import Updates
from failoverd.leases import allocate, binding, mclt, reclaim
from failoverd.leases.lease import BindingState, Lease
from failoverd.leases.may_allocate import MAY_ALLOCATE, May
from failoverd.leases.rights import Rights
from failoverd.leases.table import LeaseTable
from failoverd.node import Node
from failoverd.node_house import House
from failoverd.ports import ClientSend, Input, Kind, LinkBytes, LinkSend, Now, Output, Stored, Write
from failoverd.sim.disk import Disk
from failoverd.sim.server import Server

Plant = Callable[[], None]


class Mutant(NamedTuple):
    """`rule`: the number in safety.md; `plant` breaks the program of this process for good. `stories`: what is likely to show it. `seeds`:
    the class of seeds that are tried, `seeds`1 to `seeds`200, "" for 1 to 200: a situation that the drawn seeds meet too rarely has a
    story of its own, which only the seeds of its name tell (failoverd/sim/strikes_named.py)."""

    name: str
    rule: str
    plant: Plant
    stories: tuple[str, ...] = ()
    seeds: str = ""


MUTANTS: list[Mutant] = []


def mutant(rule: str, *stories: str, seeds: str = "") -> Callable[[Plant], Plant]:
    """Enter a mutant in the list, under its function's name."""

    def enter(plant: Plant) -> Plant:
        MUTANTS.append(Mutant(plant.__name__, rule, plant, stories, seeds))
        return plant

    return enter


def hasty(which: type | tuple[type, ...]) -> None:
    """Sends of a kind leave at once, not after the commit."""
    step = Node.step

    def wrong(self: Node, inputs: Sequence[Input], now: Now, commit_age_s: float = 0.0) -> Output:
        output = step(self, inputs, now, commit_age_s)
        output.at_once += [send for send in output.after_commit if isinstance(send, which)]
        output.after_commit = [send for send in output.after_commit if not isinstance(send, which)]
        return output

    Node.step = wrong


def put(where: Any, name: str, what: Any) -> None:
    """Replace a name, and make sure that there was one."""
    assert hasattr(where, name), (where, name)
    setattr(where, name, what)


@mutant("1")
def ack_before_commit() -> None:
    hasty(ClientSend)


@mutant("2")
def bndupd_and_bndack_before_commit() -> None:
    hasty(LinkSend)


@mutant("2", "crossing")
def a_bndack_counts_for_the_newer_promise() -> None:
    accepted = UpdateQueue._accepted

    def wrong(self: UpdateQueue, flight: Any, rights: Rights, now: Now) -> None:
        lease = self.house.table.get(flight.address)
        accepted(self, replace(flight, potential=max(flight.potential, lease.potential), generation=lease.generation), rights, now)

    put(UpdateQueue, "_accepted", wrong)


@mutant("2", seeds="refused")
def a_reject_counts_as_an_ack() -> None:
    put(
        UpdateQueue,
        "_rejected",
        lambda self, flight, reason, text, now: self._accepted(flight, self.house.rights_of(self.terms.name), now),
    )


@mutant("2")
def window_leak() -> None:
    put(UpdateQueue, "requeue", lambda self: None)


@mutant("3")
def a_failed_commit_is_taken_for_done() -> None:
    crash = Server.crash

    def wrong(self: Server, why: str, *, power: bool = False) -> None:
        if why != "a commit failed" or self._flying is None:
            crash(self, why, power=power)
            return
        batch, self._flying, self.fuse = self._flying, None, None
        self._send(batch.sends)
        if self._next.writes:
            self._commit()

    put(Server, "crash", wrong)


@mutant("4")
def a_hanging_disk_goes_unseen() -> None:
    step = Node.step
    put(Node, "step", lambda self, inputs, now, commit_age_s=0.0: step(self, inputs, now, 0.0))


@mutant("7")
def a_full_disk_goes_unseen() -> None:
    put(Node, "_disk", lambda self, each, now: None)


@mutant("5", "asleep")
def a_pause_is_no_boot() -> None:
    put(Endpoint, "beat_gap", lambda self, now: None)


@mutant("5", "asleep")
def buffered_bytes_are_contact() -> None:
    cut = Server._cut

    def wrong(self: Server, reason: str) -> None:
        waiting = [each for each in self._inputs if isinstance(each, LinkBytes)]
        cut(self, reason)
        self._inputs = [*waiting, *self._inputs]

    put(Server, "_cut", wrong)
    put(Endpoint, "beat_gap", lambda self, now: None)


@mutant("6")
def an_offer_reserves_nothing() -> None:
    first_free = LeaseTable.first_free

    def wrong(self: LeaseTable, *args: Any) -> Lease | None:
        held, self._offers = self._offers, {}
        try:
            return first_free(self, *args)
        finally:
            self._offers = held

    put(LeaseTable, "first_free", wrong)


@mutant("8")
def a_disk_that_forgets() -> None:
    commit = Disk.commit
    put(Disk, "commit", lambda self, writes, wall: commit(self, writes[:-1] if len(writes) > 2 else writes, wall))


@mutant("9")
def no_mclt() -> None:
    put(mclt, "limit", lambda lease, rights, now: now + 86400)


@mutant("9")
def promises_count_from_what_we_wished() -> None:
    limit = mclt.limit
    put(mclt, "limit", lambda lease, rights, now: limit(lease.evolve(acked=max(lease.acked, lease.potential)), rights, now))


@mutant("10")
def no_slack_between_the_clocks() -> None:
    put(Endpoint, "slack_s", property(lambda self: 0))


@mutant("10", "unheard")
def a_clock_that_was_set_goes_unseen() -> None:
    put(Endpoint, "read_clock", lambda self, now: None)


@mutant("10", "apart")
def expired_is_always_taken() -> None:
    for table in (binding.IN_NORMAL, binding.OTHERWISE):
        for key, rule in table.items():  # type: ignore[attr-defined]
            table[key] = binding.Rule.ACCEPT if rule is binding.Rule.UNLESS_END else rule
    for pair, winner in binding.DUEL.items():
        binding.DUEL[pair] = binding.Winner.THEIRS if pair[1] is BindingState.EXPIRED else winner


@mutant("10")
def leases_end_early() -> None:
    due = mclt.due

    def wrong(lease: Lease, rights: Rights) -> int | None:
        found = due(lease, rights)
        return found - 30 if found is not None and lease.state is BindingState.ACTIVE else found

    put(mclt, "due", wrong)


@mutant("11", "alone")
def no_doubt_after_a_boot() -> None:
    put(Endpoint, "_doubt", lambda self, contact, now: None)


@mutant("11", "alone")
def a_doubt_without_a_bound() -> None:
    limit = mclt.limit
    put(mclt, "limit", lambda lease, rights, now: limit(lease, replace(rights, bound=None), now))


@mutant("12")
def no_wait_in_partner_down() -> None:
    for where in (mclt, allocate):
        put(where, "rest_until", lambda lease, rights: None if rights.partner_down_since is None else 0)


@mutant("12", "unheard")
def no_horizon() -> None:
    put(mclt, "horizon", lambda lease: 0)


@mutant("12")
def the_wait_counts_from_the_last_contact() -> None:
    enter = Endpoint._enter

    def wrong(self: Endpoint, new: Any, old: Any, now: Now) -> None:
        enter(self, new, old, now)
        if self.record.partner_down_since:
            self.record.partner_down_since = min(self.record.partner_down_since, self.record.proven) - 120

    put(Endpoint, "_enter", wrong)


@mutant("12", "relay")
def own_half_at_once_from_doubt() -> None:
    put(waits, "partner_may_hold_our_half", lambda record, old, boot, wall, *, attested: False)
    put(waits, "past_bound", lambda record, wall: False)  # asked before the state moves, too: either alone is masked by the other


@mutant("12", "nobody")
def partner_down_without_a_database_waits_mclt_only() -> None:
    put(waits, "forgotten_for", lambda record, boot: 0)


@mutant("13")
def rewind_to_what_the_partner_has_seen_past() -> None:
    put(reclaim, "_recycle", lambda lease, rights: rights.rewind)


@mutant("13", "halfway")
def may_know_is_not_durable() -> None:
    change = House.change

    def wrong(self: House, old: Lease, new: Lease, origin: Any, cause: str, now: Now) -> Lease:
        return old if cause == "told" else change(self, old, new, origin, cause, now)

    put(House, "change", wrong)


@mutant("13", "declined")
def a_quarantine_ends_in_free() -> None:
    clock = reclaim.on_clock

    def wrong(lease: Lease, rights: Rights, now: int) -> Lease:
        return clock(lease.evolve(owed=False) if lease.state is BindingState.ABANDONED else lease, rights, now)

    put(reclaim, "on_clock", wrong)


@mutant("14", "brief")
def no_recover_wait() -> None:
    put(waits, "recover_until", lambda record, boot, dhcpd, wall: (int(wall), False))


@mutant("14", "brief")
def recover_wait_from_the_last_contact() -> None:
    # of the link before this one: what is heard on this one comes when the waiting begins
    put(Endpoint, "_recover_until", lambda self, now: (self.apart_since + self.record.mclt_s, False))


@mutant("15", "copied")
def a_rolled_back_database_goes_on() -> None:
    stored = Disk.stored

    def wrong(self: Disk) -> Stored:
        out = stored(self)
        out.meta.pop("rollback", None)
        return out

    put(Disk, "stored", wrong)


@mutant("15", "unheard")
def no_rest_after_a_lost_database() -> None:
    put(House, "rest_all", lambda self, relationship, now: None)


@mutant("15", "unheard")
def not_before_is_dropped() -> None:
    refusal = allocate.refusal
    for where in (allocate, serve, node_probes):
        put(where, "refusal", lambda lease, *args, **named: refusal(lease.evolve(not_before=0), *args, **named))


@mutant("15", "copied")
def an_earlier_copy_does_not_take_the_partners_word() -> None:
    judge = binding.judge
    from failoverd.failover import updates

    def wrong(*args: Any, **named: Any) -> binding.Verdict:
        return judge(*args, **(named | {"outdated": False}))

    put(updates, "judge", wrong)


@mutant("18", seeds="piecemeal")
def upddone_at_once() -> None:
    asked = UpdateQueue.asked

    def wrong(self: UpdateQueue, xid: int, everything: bool, *, unused: bool) -> None:
        asked(self, xid, everything, unused=unused)
        assert self.request is not None
        self.request.remaining.clear()

    put(UpdateQueue, "asked", wrong)


@mutant("18")
def what_is_owed_is_forgotten_with_the_link() -> None:
    put(UpdateQueue, "owe_all_unacked", lambda self: None)
    put(UpdateQueue, "requeue", lambda self: (self.queue.clear(), self.flights.clear(), self.in_flight.clear(), self.again.clear()))


@mutant("19")
def a_disputed_address_goes_to_a_third_client() -> None:
    put(Updates, "_keep_claim", lambda self, *args, **named: None)


@mutant("22")
def the_partners_half_is_ours_too() -> None:
    table = {key: cell._replace(may=May.NOW) if cell.may is May.AFTER_WAIT else cell for key, cell in MAY_ALLOCATE.items()}
    put(allocate, "MAY_ALLOCATE", table)


@mutant("24")
def a_name_is_not_in_the_leases_commit() -> None:
    commit = Disk.commit

    def wrong(self: Disk, writes: Sequence[Write], wall: float) -> None:
        leases = any(write.kind is Kind.LEASE for write in writes)
        commit(self, [write for write in writes if not (leases and write.kind is Kind.DDNS)], wall)

    put(Disk, "commit", wrong)


@mutant("24")
def a_lost_answer_is_taken_for_no_change() -> None:
    prepare = Rounds._prepare

    def wrong(self: Rounds, flight: Any, now: Now, out: Output, *, write: bool) -> None:
        before = flight.row.maybe
        prepare(self, flight, now, out, write=write)
        flight.row.maybe = before

    put(Outbox, "_prepare", wrong)


@mutant("25")
def a_server_in_doubt_sends_names() -> None:
    put(Endpoint, "fenced", property(lambda self: False))


@mutant("25", "apart")
def names_are_not_said_again_after_a_separation() -> None:
    put(House, "_granted_apart", lambda self, *args: [])


@mutant("25", "apart")
def the_partners_names_are_ours_to_remove() -> None:
    own = Shelf.own

    def wrong(self: Shelf, row: Any, owner: str) -> None:
        own(self, row, "me")

    put(Shelf, "own", wrong)
