"""Two servers that both granted one address: safety.md 18 to 20, sentence by sentence. `p` is the primary, `s` the secondary."""

from __future__ import annotations

from dataclasses import replace

import pytest

from failoverd import node_conflicts, status
from failoverd.failover import message as wire
from failoverd.failover.conflicts import Claim, Conflict
from failoverd.failover.endpoint import Endpoint
from failoverd.failover.message import Framer, MessageType
from failoverd.leases.binding import ours_stands
from failoverd.leases.lease import BindingState, Lease
from failoverd.leases.mclt import promise
from failoverd.leases.rights import Rights
from failoverd.node_conflicts import Conflicts
from failoverd.ports import Kind, Output
from tests.pair.duo import Duo, kind, lease_s, normal


def kinds(data: bytes) -> list[int]:
    """The types of the messages in these bytes."""
    return [message.kind for message in Framer().feed(data)]


class Contest:
    """Client 1 of `p` and client 20 of `s` hold one address `x`: `p` was told partner-down although `s` lives, behind a cut."""

    def __init__(self, duo: Duo, first: str) -> None:
        """`first`: the server whose client spoke first; the other one's transaction is the later by 4 s."""
        self.duo = duo
        duo.cut()
        duo.run(40)
        duo.command("p", "partner-down")
        duo.run(700, 2)
        granted = {ack.yiaddr: mac for mac in range(1, 5) if (ack := duo.dora("p", mac)) is not None}
        mine = duo.dora("s", 20)
        assert mine is not None
        self.x = mine.yiaddr
        self.macs = {"p": granted[self.x], "s": 20}
        self.until = {"s": duo.now.wall + lease_s(mine)}
        duo.run(2)
        for name in (first, "s" if first == "p" else "p"):
            self.renew(name)
            duo.run(4)

    def renew(self, name: str) -> str:
        answer = self.duo.renew(name, self.macs[name], self.x)
        if kind(answer) == "ack":
            assert answer is not None
            self.until[name] = max(self.until.get(name, 0.0), self.duo.now.wall + lease_s(answer))
        return kind(answer)

    def meet(self) -> None:
        self.duo.heal()
        self.duo.until(lambda: self.duo.states() == ("normal", "normal"))
        self.duo.run(5)

    def stay(self, sender: str, held: MessageType) -> None:
        """In contact, and in potential-conflict: the sender's messages of this type do not arrive."""
        self.duo.hold_bytes = lambda who, data: who == sender and held in kinds(data)
        self.duo.heal()
        self.duo.until(lambda: self.duo.states() == ("potential-conflict", "potential-conflict"))
        self.duo.settle()

    def go_on(self) -> None:
        """What was held never comes: the time limit of the step ends the link, and both begin again."""
        self.duo.hold_bytes = lambda who, data: False
        self.duo.until(lambda: self.duo.states() == ("normal", "normal"), 120)
        self.duo.run(5)

    def winner(self, name: str) -> int:
        return self.duo.lease(name, self.x).hw[-1]


@pytest.mark.parametrize("later", ["p", "s"])
def test_rule_19_each_loser_is_kept_on_disk(later: str) -> None:
    """The primary has heard both claims, always; a secondary that wins never hears of the other."""
    contest = Contest(normal(last=103), "s" if later == "p" else "p")
    contest.meet()
    duo, loser = contest.duo, "s" if later == "p" else "p"
    assert contest.winner("p") == contest.winner("s") == contest.macs[later]
    for name in ("p", "s") if later == "p" else ("p",):
        duo.crash(name)
        duo.start(name)
        kept = {each["address"]: each for each in status.conflicts(duo.nodes[name])["losers"]}  # type: ignore[attr-defined]
        one = kept[f"10.0.0.{contest.x & 0xFF}"]
        assert one["won"] == ("ours" if name == later else "theirs")
        assert one["winner"]["hw"].endswith(f"{contest.macs[later]:02x}")
        assert one["loser"]["hw"].endswith(f"{contest.macs[loser]:02x}")
        assert one["winner"]["cltt"] > one["loser"]["cltt"] > 0
        assert one["until"] >= max(contest.until.values()) - 1
        assert one["wall"] <= duo.now.wall


def test_rule_19_the_kept_losers_are_bounded() -> None:
    out = Output()
    claim = Claim(b"\x01\x02", b"", 1, 2, 3)
    conflicts = Conflicts([])
    for address in range(node_conflicts.KEPT + 3):
        conflicts.keep(Conflict("fo", address, "ours", claim, claim, 9, "normal", 100 + address), out)
    conflicts.keep(Conflict("fo", 5, "ours", claim, claim, 9, "normal", 9999), out)
    assert [each.address for each in conflicts.newest_first()][-1] == 3
    assert sum(write.record is None for write in out.writes) == 3
    assert len(out.writes) == node_conflicts.KEPT + 6, "the same conflict again is not written"
    rows: dict[bytes, str] = {}
    for write in out.writes:
        assert write.kind is Kind.CONFLICT
        if write.record is None:
            del rows[write.key]
        else:
            rows[write.key] = write.record
    assert Conflicts(rows.values()).newest_first() == conflicts.newest_first()


@pytest.mark.parametrize("later", ["p", "s"])
def test_rule_19_renewals_during_it_do_not_move_what_is_compared(later: str) -> None:
    contest = Contest(normal(last=103), "s" if later == "p" else "p")
    loser = "s" if later == "p" else "p"
    contest.stay("p", MessageType.UPDREQ)
    before = contest.duo.lease(loser, contest.x).cltt
    contest.duo.run(20)
    assert contest.renew(loser) == "ack"
    assert contest.duo.lease(loser, contest.x).cltt == before
    contest.go_on()
    assert contest.winner("p") == contest.winner("s") == contest.macs[later]


def test_rule_19_equal_within_the_measured_offset_the_primary_wins() -> None:
    for apart in (-5, 0, 5):
        assert ours_stands(1000 + apart, 1000, 5, primary=True)
        assert not ours_stands(1000 + apart, 1000, 5, primary=False)
    assert ours_stands(1006, 1000, 5, primary=False)
    assert not ours_stands(994, 1000, 5, primary=True)


def test_rule_19_only_a_client_that_is_active_here_is_renewed_for_at_most_mclt() -> None:
    contest = Contest(normal(last=103), "p")
    duo = contest.duo
    contest.stay("p", MessageType.UPDREQ)
    for name in ("p", "s"):
        assert kind(duo.dora(name, 40)) == "silence", "own free addresses are not given out"
        assert duo.noted(name, "resolving-conflict")
        assert not duo.nodes[name].status(duo.now)["serving"]
    renewed = duo.renew("p", contest.macs["p"], contest.x)
    assert renewed is not None
    assert 0 < lease_s(renewed) <= 600
    duo.release("p", contest.macs["p"], contest.x)
    assert duo.lease("p", contest.x).state is BindingState.ACTIVE, "nothing is taken back while it is compared"
    ended = duo.lease("p", contest.x)
    duo.nodes["p"].table.put(ended.evolve(ends=int(duo.now.wall) - 1), None)
    assert kind(duo.renew("p", contest.macs["p"], contest.x)) == "silence", "what has ended may be another's"


def test_rule_19_nobody_is_renewed_once_the_partners_claim_has_arrived() -> None:
    """`p` has refused the claim of `s`, and `s` has heard that: a reject counts as a claim. The addresses of others go on."""
    contest = Contest(normal(last=103), "s")
    duo = contest.duo
    other = next(a for a in range(0x0A000064, 0x0A000068) if duo.lease("p", a).state is BindingState.ACTIVE and a != contest.x)
    contest.stay("s", MessageType.UPDDONE)
    assert duo.noted("p", "lease-conflict") == 1
    assert contest.renew("p") == "silence"
    assert contest.renew("s") == "silence"
    assert kind(duo.renew("p", duo.lease("p", other).hw[-1], other)) == "ack"
    contest.go_on()
    assert contest.winner("s") == contest.macs["p"]


def test_rule_19_a_winner_that_was_owed_to_nobody_is_told() -> None:
    """`p` wins with a grant that it had told long ago: `s`, whose claim is refused, must hear whose stands."""
    contest = Contest(normal(last=103), "s")
    node = contest.duo.nodes["p"]
    lease = node.table.get(contest.x)
    node.table.put(lease.evolve(owed=False), None)
    node.endpoints["fo"].updates.queue.pop(contest.x)
    contest.meet()
    assert contest.winner("p") == contest.winner("s") == contest.macs["p"]
    assert not contest.duo.lease("s", contest.x).rejected


def test_rule_19_the_primary_judges_and_its_word_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two measured the offset differently, and 4 s lie between the transactions: for `p` they are equal, for `s` its own is later."""
    monkeypatch.setattr(Endpoint, "slack_s", property(lambda self: 10 if self.terms.primary else 0))
    contest = Contest(normal(last=103), "p")
    contest.meet()
    assert contest.winner("p") == contest.winner("s") == contest.macs["p"]


def test_rule_19_a_claim_taken_from_the_partner_has_no_transaction_of_ours() -> None:
    contest = Contest(normal(last=103), "p")
    assert contest.duo.lease("p", contest.x).cltt > 0
    contest.meet()
    lease = contest.duo.lease("p", contest.x)
    assert (lease.hw[-1], lease.cltt) == (20, 0)


def test_rule_19_a_renewal_during_it_is_for_at_most_mclt_whatever_was_acked() -> None:
    lease = Lease(1, BindingState.ACTIVE, ends=1500, acked=9000)
    full, resolving = Rights(True, mclt_s=600), Rights(True, mclt_s=600, resolving=True)
    given = promise(lease, 3600, full, 1000), promise(lease, 3600, resolving, 1000)
    assert [each.give_s for each in given if each is not None] == [3600, 600]


@pytest.mark.parametrize("later", ["p", "s"])
def test_rule_19_the_loser_is_naked_at_its_next_renewal(later: str) -> None:
    contest = Contest(normal(last=103), "s" if later == "p" else "p")
    contest.meet()
    loser = "s" if later == "p" else "p"
    assert contest.renew(loser) == "nak"
    assert contest.renew(later) == "ack"


def test_rule_19_the_primary_keeps_an_address_until_the_end_of_a_claim_that_grew_while_it_was_told() -> None:
    """The claim of `s` is on its way when `s` renews its client for a longer time: `p` refuses the claim and must hear the longer one,
    before UPDDONE, although the window is narrow and another update is due first."""
    duo = normal(last=103, window=1)
    known = duo.given("s", 21)
    duo.run(20)
    assert kind(duo.renew("s", 21, known)) == "ack"
    duo.settle()
    contest = Contest(duo, "s")
    contest.stay("p", MessageType.BNDACK)
    duo.run(30)
    flight = next(each for each in duo.nodes["s"].endpoints["fo"].updates.flights.values() if each.address == contest.x)
    assert kind(duo.renew("s", 21, known)) == "ack"
    assert contest.renew("s") == "ack"
    grown = duo.lease("s", contest.x)
    assert grown.ends > flight.ends
    endpoint = duo.nodes["s"].endpoints["fo"]
    assert endpoint.link is not None
    xid = endpoint.updates.in_flight[contest.x]
    duo.hold_bytes = lambda who, data: False
    refuse = wire.bnd_reject(int(duo.now.wall), xid, contest.x, 15, "not after")
    endpoint.link_bytes(endpoint.link.number, wire.encode(refuse), duo.now)
    contest.go_on()
    assert duo.lease("p", contest.x).disputed >= grown.potential


def test_rule_19_resolution_interrupted_belongs_to_it() -> None:
    contest = Contest(normal(last=103), "p")
    duo = contest.duo
    contest.stay("p", MessageType.UPDREQ)
    cltt = duo.lease("p", contest.x).cltt
    duo.cut()
    duo.until(lambda: duo.states() == ("resolution-interrupted", "resolution-interrupted"))
    assert contest.renew("p") == "ack"
    assert duo.lease("p", contest.x).cltt == cltt
    assert kind(duo.dora("p", 40)) == "silence"
    contest.duo.heal()
    contest.go_on()
    assert contest.winner("p") == contest.macs["s"]


def test_rule_11_a_boot_out_of_resolution_renews_no_further_than_the_last_contact_allows() -> None:
    """It renews its clients, so it must not do so beyond what a partner declared alone meanwhile waits for."""
    contest = Contest(normal(last=103), "p")
    duo = contest.duo
    contest.stay("p", MessageType.UPDREQ)
    duo.cut()
    duo.until(lambda: duo.state("p") == "resolution-interrupted")
    proven = duo.nodes["p"].endpoints["fo"].record.proven
    duo.crash("p")
    duo.run(100, 2)
    duo.start("p")
    duo.run(16)
    assert duo.state("p") == "resolution-interrupted"
    answer = duo.renew("p", contest.macs["p"], contest.x)
    assert answer is not None
    known = duo.lease("p", contest.x).acked
    assert duo.now.wall + lease_s(answer) <= max(proven, known) + 600 + 1


# --- rule 20 -----------------------------------------------------------------------------------------------------------------


def as_secondary_of_a_dhcpd(first: str) -> Contest:
    contest = Contest(normal(last=103), first)
    endpoint = contest.duo.nodes["s"].endpoints["fo"]
    endpoint.terms = replace(endpoint.terms, partner_is_dhcpd=True)
    contest.duo.wire.clear()
    return contest


@pytest.mark.parametrize("later", ["p", "s"])
def test_rule_20_as_secondary_of_a_dhcpd_ask_first_judge_and_send_only_winners(later: str) -> None:
    contest = as_secondary_of_a_dhcpd("s" if later == "p" else "p")
    said: list[tuple[int, int | None]] = []

    def watch(who: str, data: bytes) -> bool:
        for message in Framer().feed(data) if who == "s" else ():
            if message.kind in (MessageType.UPDREQ, MessageType.BNDUPD, MessageType.UPDDONE):
                said.append((message.kind, wire.binding(message).address if message.kind == MessageType.BNDUPD else None))
        return False

    contest.duo.hold_bytes = watch
    contest.meet()
    assert said[0][0] == MessageType.UPDREQ
    first_done = [kind_ for kind_, _ in said].index(MessageType.UPDDONE)
    told = [address for kind_, address in said[:first_done] if kind_ == MessageType.BNDUPD]
    assert (contest.x in told) is (later == "s")
    assert contest.winner("p") == contest.winner("s") == contest.macs[later]
    losers = status.conflicts(contest.duo.nodes["s"])["losers"]
    assert [each["won"] for each in losers] == ["ours" if later == "s" else "theirs"]  # type: ignore[attr-defined]


def test_rule_20_a_dhcpd_that_never_answers_in_potential_conflict_is_not_waited_for_twice() -> None:
    contest = as_secondary_of_a_dhcpd("p")
    duo = contest.duo
    duo.hold_bytes = lambda who, data: (
        who == "p"
        and MessageType.UPDDONE in kinds(data)
        and duo.nodes["p"].endpoints["fo"].record.state.words == "potential-conflict"
    )
    duo.heal()
    duo.until(lambda: duo.states() == ("normal", "normal"), 120)
    assert duo.noted("s", "partner-stalled") == 1
