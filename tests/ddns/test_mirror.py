"""Two targets: an independent master gets everything by its own rows, whatever the other one does."""

from __future__ import annotations

from failoverd.ddns.rows import State
from failoverd.ddns.zone import DnsPlan, Zone
from failoverd.ports import DnsAnswer, DnsQuery, DnsUpdate
from tests.ddns import model
from tests.ddns.rig import FORWARD, REVERSE, Rig, lease, master

PLAN = DnsPlan(
    tuple(
        Zone(target, name, ((address, 53),), "key")
        for target, address in (("main", "127.0.0.1"), ("backup", "127.0.0.2"))
        for name in (FORWARD, REVERSE)
    )
)


class TwoMasters:
    """A planner with a master for each target; those in `down` answer nothing."""

    def __init__(self) -> None:
        self.masters = {"main": master(), "backup": master()}
        self.down: set[str] = set()
        self.rig = Rig(PLAN)
        self.rig.answer = self.answer

    def answer(self, message: DnsUpdate | DnsQuery) -> DnsAnswer:
        if message.target in self.down:
            return DnsAnswer(message.ident, "TIMEOUT", "")
        return self.masters[message.target].answer(message)

    def zone(self, target: str) -> set[str]:
        return records(self.masters[target])


def records(one: model.Master) -> set[str]:
    out = set()
    for zone in one.zones.values():
        for line in zone.lines():
            name, _, rtype, text = line.split(" ", 3)
            if rtype not in {"SOA", "NS", "DHCID"}:
                out.add(f"{name} {rtype} {text}")
    return out


def names(*hosts: tuple[int, str]) -> set[str]:
    return {f"{name}.{FORWARD} A 192.0.2.{host}" for host, name in hosts} | {
        f"{host}.{REVERSE} PTR {name}.{FORWARD}" for host, name in hosts
    }


def test_both_get_everything() -> None:
    two = TwoMasters()
    two.rig.change(lease(10, 1, f"a.{FORWARD}"))
    two.rig.change(lease(20, 2, f"b.{FORWARD}"))
    two.rig.run()
    assert two.zone("main") == two.zone("backup") == names((10, "a"), (20, "b"))
    two.rig.free(10)
    two.rig.change(lease(30, 2, f"b.{FORWARD}"))
    two.rig.free(20)
    two.rig.run()
    assert two.zone("main") == two.zone("backup") == names((30, "b"))


def test_one_is_down_and_catches_up() -> None:
    """Adds, a removal, a rename and an address that changes hands, first with the one and then with the other one down."""
    two = TwoMasters()
    for host, name in ((10, "a"), (20, "b"), (30, "c")):
        two.rig.change(lease(host, host, f"{name}.{FORWARD}"))
    two.rig.run()
    for down, other in (("main", "backup"), ("backup", "main")):
        two.down = {down}
        before = two.zone(down)
        two.rig.free(10)
        two.rig.change(lease(20, 20, f"renamed-{down}.{FORWARD}"))
        two.rig.change(lease(30, 31, f"c-{down}.{FORWARD}"))
        two.rig.change(lease(40, 40, f"new-{down}.{FORWARD}"))
        two.rig.pass_time(30)
        expected = names((20, f"renamed-{down}"), (30, f"c-{down}"), (40, f"new-{down}"))
        assert two.zone(other) == expected
        assert two.zone(down) == before
        states = {row.target: row.state for row in two.rig.planner.rows_list() if row.name == f"new-{down}.{FORWARD}"}
        assert states == {other: State.CLEAN, down: State.DIRTY}
        two.down = set()
        two.rig.pass_time(400)
        assert two.zone(down) == two.zone(other) == expected
        two.rig.change(lease(10, 10, f"a.{FORWARD}"))
        two.rig.run()


def test_what_waits_for_one_master_survives_a_restart() -> None:
    two = TwoMasters()
    two.rig.change(lease(10, 1, f"a.{FORWARD}"))
    two.rig.run()
    two.down = {"backup"}
    two.rig.free(10)
    two.rig.pass_time(20)
    assert (two.zone("main"), two.zone("backup")) == (set(), names((10, "a")))
    two.rig.boot()
    two.down = set()
    two.rig.pass_time(400)
    assert two.zone("backup") == set()
    assert two.rig.stored == {}


def test_a_name_that_only_one_master_has_otherwise_is_a_conflict_there_only() -> None:
    two = TwoMasters()
    two.masters["backup"].zones[FORWARD].load([f"a.{FORWARD} 60 A 192.0.2.99"])
    two.rig.change(lease(10, 1, f"a.{FORWARD}"))
    two.rig.run()
    assert two.zone("main") == names((10, "a"))
    assert two.zone("backup") == {f"a.{FORWARD} A 192.0.2.99"}
    assert {row.state for row in two.rig.planner.rows_list() if row.target == "main"} == {State.CLEAN}
