"""safety.md 17 between two servers: who recovers from whom after a partner-down, and when both resolve instead.

`p` is the primary, `s` the secondary; the link is authenticated, MCLT is 10 minutes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest

from failoverd.failover.message import Framer, MessageType
from failoverd.failover.private import option
from failoverd.failover.record import RelationshipRecord
from failoverd.ports import Kind, Write
from tests.pair.duo import Duo, kind, normal

CONFLICT = {"potential-conflict", "resolution-interrupted", "conflict-done"}


def record(duo: Duo, name: str) -> RelationshipRecord:
    return duo.nodes[name].endpoints["fo"].record


def on_disk(duo: Duo, name: str) -> RelationshipRecord:
    (text,) = duo.disks[name].stored().relationships
    return RelationshipRecord.from_json(text)


def apart(duo: Duo) -> None:
    """The link is cut, and both notice."""
    duo.cut()
    duo.until(lambda: set(duo.states()) == {"communications-interrupted"}, 90)


def declare(duo: Duo, name: str) -> None:
    """An operator: its partner is down."""
    assert duo.command(name, "partner-down").code == "ok"


def meet(duo: Duo) -> dict[str, set[str]]:
    """The link is back: the states that each was in until both were normal."""
    duo.heal()
    seen: dict[str, set[str]] = {name: set() for name in "ps"}
    for _ in range(12_000):
        for name in "ps":
            seen[name].add(duo.state(name))
        if duo.states() == ("normal", "normal"):
            duo.settle()
            return seen
        duo.tick(0.1)
    raise AssertionError(f"not normal: {duo.states()}")


def history(duo: Duo, name: str) -> str:
    return "\n".join(f"{event['what']}: {event['why']}" for event in duo.disks[name].events)


@pytest.mark.parametrize("down", ["p", "s"])
def test_rule_17_the_older_epoch_that_granted_nothing_recovers_from_the_newer(down: str) -> None:
    """A running server in communications-interrupted that served nobody: dhcpd's would resolve, and so would ours. In both roles."""
    other = "s" if down == "p" else "p"
    duo = normal(tls=True)
    apart(duo)
    declare(duo, down)
    taken = duo.given(down, 7)
    duo.run(5)
    seen = meet(duo)
    assert not (seen["p"] | seen["s"]) & CONFLICT
    assert "recover" in seen[other]
    assert seen[down] == {"partner-down", "normal"}
    assert duo.lease(other, taken).client == duo.lease(down, taken).client
    why = "recovers from the partner: its epoch 1 is newer than our 0, and nothing was granted here since the last contact"
    assert f"communications-interrupted -> recover: {why}" in history(duo, other)
    assert [(record(duo, name).epoch, record(duo, name).agreed) for name in "ps"] == [(1, 1), (1, 1)]


def test_rule_17_a_grant_while_alone_leads_to_potential_conflict() -> None:
    duo = normal(tls=True)
    apart(duo)
    duo.run(60)
    assert kind(duo.dora("s", 3)) == "ack"
    declare(duo, "p")
    duo.run(5)
    seen = meet(duo)
    assert "potential-conflict" in seen["p"] & seen["s"]
    assert not any("recover" in state for state in seen["p"] | seen["s"])
    assert "epoch 1 is newer than our 0, but leases were granted here" in history(duo, "s")
    assert not record(duo, "s").beyond, "both are normal"


def test_rule_17_that_something_was_granted_is_on_disk_with_the_grant(monkeypatch: pytest.MonkeyPatch) -> None:
    duo = normal(tls=True)
    apart(duo)
    duo.run(60)
    assert not on_disk(duo, "s").beyond
    commits: list[set[Kind]] = []
    commit = duo.disks["s"].commit

    def watched(given: Iterable[Write], wall: float) -> None:
        writes = list(given)
        commits.append({w.kind for w in writes})
        commit(writes, wall)

    monkeypatch.setattr(duo.disks["s"], "commit", watched)
    assert kind(duo.dora("s", 3)) == "ack"
    assert [Kind.RELATIONSHIP in kinds for kinds in commits if Kind.LEASE in kinds] == [True]
    assert on_disk(duo, "s").beyond
    monkeypatch.undo()
    duo.crash("s")
    duo.start("s")
    duo.run(30)
    declare(duo, "p")
    assert "potential-conflict" in meet(duo)["s"], "a crash does not make it forget"


def test_rule_17_what_was_granted_under_the_bound_of_11_does_not_count() -> None:
    """A lone boot: new grants end by the last contact + MCLT, renewals get what remains. Then it recovers."""
    duo = normal(tls=True)
    held = duo.given("s", 1)
    duo.run(25)
    duo.cut()
    duo.crash("s")
    duo.start("s")
    duo.run(60)
    assert duo.state("s") == "communications-interrupted"
    assert duo.nodes["s"].endpoints["fo"].doubt is not None
    new = duo.given("s", 2)
    assert kind(duo.renew("s", 1, held)) == "ack"
    assert not record(duo, "s").beyond
    declare(duo, "p")
    duo.run(5)
    seen = meet(duo)
    assert "recover" in seen["s"]
    assert not seen["p"] & CONFLICT
    assert duo.lease("p", new).client == duo.lease("s", new).client, "its own un-acked grants went out first (14)"


def test_rule_17_after_serve_force_grants_count_again() -> None:
    """The operator's word lifts the bound, and so what is granted is beyond it."""
    duo = normal(tls=True)
    duo.run(25)
    duo.cut()
    duo.crash("s")
    duo.start("s")
    duo.run(60)
    assert duo.command("s", "serve-force").code == "ok"
    assert kind(duo.dora("s", 2)) == "ack"
    assert record(duo, "s").beyond
    declare(duo, "p")
    assert "potential-conflict" in meet(duo)["s"]


def cut_unnoticed(duo: Duo) -> None:
    """The link is cut, and `s` grants before it notices; then it falls."""
    duo.run(25)
    duo.cut()
    duo.run(6)
    assert duo.state("s") == "normal"
    assert kind(duo.dora("s", 3)) == "ack"


def test_rule_17_a_grant_after_a_cut_that_nobody_noticed_leads_to_potential_conflict() -> None:
    """Saved normal. Without epochs it recovers, as dhcpd does, although its last grant ends 6 s after the partner may use the address: the
    partner saw the cut at once, and was declared alone at once."""
    duo = normal(tls=True)
    cut_unnoticed(duo)
    duo.crash("s")
    duo.run(60)
    declare(duo, "p")
    duo.connected = True
    duo.start("s")
    seen = meet(duo)
    assert "potential-conflict" in seen["p"] & seen["s"]
    assert "normal -> potential-conflict: the partner's epoch 1 is newer" in history(duo, "s")


def test_rule_17_such_a_grant_is_remembered_by_a_server_that_stays_up() -> None:
    duo = normal(tls=True)
    cut_unnoticed(duo)
    duo.until(lambda: set(duo.states()) == {"communications-interrupted"}, 60)
    assert on_disk(duo, "s").beyond
    declare(duo, "p")
    assert "potential-conflict" in meet(duo)["s"]


def test_rule_17_a_grant_that_the_partner_acked_is_before_the_last_contact() -> None:
    """The last proven contact is on disk every 10 s only; the ack of a later grant proves a later one. Saved normal recovers."""
    duo = normal(tls=True)
    duo.run(7)
    assert kind(duo.dora("s", 3)) == "ack"
    duo.tick()
    duo.tick()
    assert on_disk(duo, "s").proven < duo.now.wall - 2
    duo.crash("s")
    duo.run(60)
    declare(duo, "p")
    duo.start("s")
    seen = meet(duo)
    assert not (seen["p"] | seen["s"]) & CONFLICT
    assert "normal -> recover: recovers from the partner" in history(duo, "s")


def test_rule_17_both_raised_it() -> None:
    """One was declared alone, then the other: also when the second has left partner-down since, by a restart of its partner."""
    duo = normal(tls=True)
    apart(duo)
    for name in "ps":
        declare(duo, name)
    duo.run(5)
    seen = meet(duo)
    assert "potential-conflict" in seen["p"] & seen["s"]
    assert [(record(duo, name).epoch, record(duo, name).agreed) for name in "ps"] == [(1, 1), (1, 1)]


def test_rule_17_equal_epochs_that_were_never_agreed_are_both_raised() -> None:
    """`s` came back to `p`, heard its normal and was cut off before it could say its own: `p` does not know that they agreed. Then `s` is
    declared alone. `p` hears at the handshake what `s` knows, and recovers: it granted nothing."""
    duo = normal(tls=True)
    apart(duo)
    declare(duo, "p")
    duo.run(5)
    duo.heal()
    held: list[str] = []

    def keep(sender: str, data: bytes) -> bool:
        says_normal = any(m.kind == MessageType.STATE and m.u8(24) == 2 for m in Framer().feed(data))
        if sender == "s" and says_normal:
            held.append(sender)
        return bool(held)

    duo.hold_bytes = keep
    duo.until(lambda: duo.state("s") == "normal", 900)
    assert duo.state("p") == "normal"
    assert (record(duo, "p").agreed, record(duo, "s").agreed) == (0, 1)
    apart(duo)
    duo.hold_bytes = lambda sender, data: False
    declare(duo, "s")
    seen = meet(duo)
    assert "recover" in seen["p"]
    assert not (seen["p"] | seen["s"]) & CONFLICT
    assert [(record(duo, name).epoch, record(duo, name).agreed) for name in "ps"] == [(2, 2), (2, 2)]


@pytest.mark.parametrize("dialects", [{"p": 2}, {"s": 2}, {"s": 0}])
def test_rule_17_with_a_partner_of_an_older_dialect_all_is_as_before(dialects: dict[str, int]) -> None:
    duo = normal(tls=True, dialects=dialects)
    assert record(duo, "s").agreed is None
    apart(duo)
    declare(duo, "p")
    duo.run(5)
    assert "potential-conflict" in meet(duo)["s"]
    duo.crash("s")
    duo.run(5)
    declare(duo, "p")
    duo.start("s")
    seen = meet(duo)
    assert not (seen["p"] | seen["s"]) & CONFLICT, "dhcpd's row for a saved normal"


def test_rule_17_what_was_agreed_with_a_newer_version_is_void_after_an_older_one() -> None:
    duo = normal(tls=True)
    assert (record(duo, "s").agreed, on_disk(duo, "s").agreed) == (0, 0)
    duo.crash("p")
    duo.dialects = {"p": 2}
    duo.run(5)
    duo.start("p")
    duo.until(lambda: duo.states() == ("normal", "normal"), 60)
    duo.run(1)
    assert record(duo, "s").agreed is on_disk(duo, "s").agreed is None


def test_rule_17_an_epoch_that_went_back_is_an_older_database() -> None:
    """A copy of the whole machine, of which no marker tells, from before the last partner-down: the partner knows of a newer epoch."""
    duo = normal(tls=True)
    old = dict(duo.disks["s"].rows)
    apart(duo)
    declare(duo, "p")
    meet(duo)
    duo.run(2)
    duo.crash("s")
    duo.run(2)
    duo.disks["s"].rows = old
    duo.start("s")
    duo.run(5)
    (note,) = [n.detail for n in duo.notes["s"] if n.name == "database-older"]
    assert note == "both agreed on epoch 1, but it knows of none after 0"
    assert [n.detail for n in duo.notes["p"] if n.name == "partner-database-older"] == ["its epoch was 1, and is 0"]
    assert duo.state("s") == "recover-wait"
    meet(duo)
    assert [(record(duo, name).epoch, record(duo, name).agreed) for name in "ps"] == [(2, 2), (2, 2)]


def test_rule_17_the_state_carries_the_epoch_to_a_partner_that_can() -> None:
    """It may rise on a live link: a partner that says recover moves this server to partner-down."""
    duo = normal(tls=True)
    duo.command("s", "recover")
    duo.run(2)
    assert duo.state("p") == "partner-down"
    assert record(duo, "s").partner_epoch == record(duo, "p").epoch == 1
    said = [m for who, data in duo.wire for m in Framer().feed(data) if m.kind == MessageType.STATE and option(m, 228)]
    assert said
    meet(duo)
    assert record(duo, "s").agreed == record(duo, "p").agreed == 1


def test_rule_17_and_11_contact_is_proven_by_the_partners_state() -> None:
    """A partner in partner-down whose STATE is still on its way says CONTACT: that is no sign of when it went there."""
    duo = normal(tls=True)
    duo.run(25)
    apart(duo)
    before = record(duo, "s").proven
    declare(duo, "p")
    duo.hold_bytes = lambda sender, data: sender == "p" and any(m.kind == MessageType.STATE for m in Framer().feed(data))
    duo.run(30)
    duo.heal()
    duo.until(lambda: duo.nodes["s"].endpoints["fo"].link is not None, 20)
    duo.run(20)
    heard = [who for who, data in duo.wire[-50:] if who == "p" and any(m.kind == MessageType.CONTACT for m in Framer().feed(data))]
    assert heard
    assert duo.nodes["s"].endpoints["fo"].link is not None
    assert record(duo, "s").proven == before
    duo.hold_bytes = lambda sender, data: False
    assert json.loads(record(duo, "s").to_json())["proven"] == before
