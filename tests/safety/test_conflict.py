"""Two servers that both granted one address: safety.md 18 to 20, sentence by sentence. `p` is the primary, `s` the secondary."""

from __future__ import annotations

import pytest

from failoverd import node_conflicts, status
from failoverd.failover.conflicts import Claim, Conflict
from failoverd.node_conflicts import Conflicts
from failoverd.ports import Kind, Output
from tests.pair.duo import Duo, kind, lease_s, normal


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
