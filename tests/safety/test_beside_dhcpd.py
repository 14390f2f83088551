"""Histories of a failoverd beside a dhcpd, found by the simulator: a dhcpd in partner-down waits for less than the draft asks, and takes
what it is told without comparing. Each is named after the bug; `p` is the failoverd."""

from __future__ import annotations

from dataclasses import replace

from failoverd.failover import message as wire
from failoverd.failover.message import Framer, MessageType, ServerState
from failoverd.leases.allocate import TRANSITION, refusal
from failoverd.leases.lease import BindingState, Lease
from failoverd.leases.mclt import promise
from failoverd.leases.rights import Rights
from failoverd.ports import LinkBytes, Now
from tests.pair.duo import normal
from tests.safety.test_interop_finds import renewed_at_the_partner

HW = b"\1\2\3\4\5\6\7"


def test_a_lone_boot_grants_nothing_beyond_the_end_that_a_dhcpd_knows() -> None:
    """Seed dhcpd3845. p was declared down while it was dead, and booted behind a cut. A dhcpd in partner-down frees x at the end that p
    told it, MCLT after its entry at the earliest; p renewed x until MCLT beyond that end, and both had a client on it."""
    held = Lease(1, BindingState.ACTIVE, hw=HW, cltt=849, ends=1149, potential=1299, acked=1299, acked_end=1149)
    rights = Rights(serve=True, bound=875, bound_end=True, mclt_s=240)
    granted = promise(held, 300, rights, 999)
    assert granted is not None
    assert granted.ends == 1149
    assert promise(held, 300, rights, 1149) is None
    early = promise(held.evolve(acked_end=900), 300, rights, 999)
    assert early is not None
    assert early.ends == 875 + 240, "the dhcpd waits MCLT after its entry, which came after the last contact"
    skewed = promise(held, 300, replace(rights, slack_s=2), 999)
    assert skewed is not None
    assert skewed.ends == 1147


def test_what_a_dhcpd_in_partner_down_may_have_used_is_not_renewed_when_it_is_declared_dead() -> None:
    """Seed dhcpd200007. Without contact p renewed x until 1165; the dhcpd knew of 1100. p fell, the dhcpd was declared alone, would have
    freed x at 1100, and fell; p booted, in doubt, and was told partner-down at 1150. It renewed x and gave it to its client again after
    its end, for x was ACTIVE here, or within its horizon; the dhcpd, or a client of its, had it."""
    held = Lease(1, BindingState.ACTIVE, hw=HW, starts=1035, ends=1165, potential=1230, horizon=1230, acked=1165, acked_end=1100)
    held.rewind = BindingState.ACTIVE
    down = Rights(serve=True, bound_end=True, mclt_s=20, wait_mclt_s=20, wait_all=True, rewind=True, partner_down_since=1150)
    assert promise(held, 130, down, 1160) is None, "it is answered with what remains"
    assert refusal(held, held.client, down, 1170) == TRANSITION
    ended = held.evolve(state=BindingState.EXPIRED)
    assert refusal(ended, ended.client, down, 1180) == TRANSITION
    assert not refusal(ended, ended.client, down, 1251), "MCLT after its horizon it is whose it may"
    for safe in (held.evolve(acked_end=1165), held.evolve(starts=1150)):  # the dhcpd died before that end; it was granted since
        assert promise(safe, 130, down, 1160) is not None
        assert not refusal(safe.evolve(state=BindingState.EXPIRED), held.client, down, 1180)
    for other in (replace(down, bound_end=False), replace(down, wait_all=False)):  # a failoverd waits; a dhcpd that was never alone
        assert promise(held, 130, other, 1160) is not None
        assert not refusal(ended, ended.client, other, 1180)


def test_a_dhcpd_behind_a_slow_link_is_heard_before_it_is_told_what_is_old() -> None:
    """Seed dhcpd7004. p leases x and dies; the client renews at the partner. p is back, and its STATE and the partner's renewal are on a
    slow link for seconds: p waited one second from the handshake, and its older word ended the renewal at the dhcpd."""
    duo, x, ends = renewed_at_the_partner()
    late: list[bytes] = []

    def hold(sender: str, data: bytes) -> bool:
        slow = sender == "s" and (bool(late) or MessageType.BNDUPD in [message.kind for message in Framer().feed(data)])
        late.extend([data] if slow else [])
        return slow

    duo.hold_bytes = hold
    endpoint = duo.start("p").endpoints["fo"]
    endpoint.terms = replace(endpoint.terms, partner_is_dhcpd=True)
    duo.run(12)
    assert late
    assert duo.state("p") == "normal"
    duo.hold_bytes = lambda sender, data: False
    link = endpoint.link
    assert link is not None
    duo.inbox["p"].extend(LinkBytes("fo", link.number, data) for data in late)
    duo.run(5)
    told = [
        (sender, wire.binding(message).address)
        for sender, data in duo.wire
        for message in Framer().feed(data)
        if message.kind == MessageType.BNDUPD
    ]
    assert {sender for sender, address in told if address == x} == {"s"}
    assert duo.lease("p", x).ends == duo.lease("s", x).ends == ends
    fresh = duo.dora("p", 2)
    assert fresh is not None
    duo.run(12)
    assert not duo.lease("p", fresh.yiaddr).owed, "and then it is told again"


def test_a_dhcpd_whose_window_a_slow_link_keeps_full_is_heard_to_the_end() -> None:
    """Seed dhcpd19495. Thirteen updates, a window of three, four seconds to and fro: after ten seconds p told its own older word, and the
    grant that was thirteenth was ended by it."""
    duo = normal()
    endpoint = duo.nodes["p"].endpoints["fo"]
    endpoint.terms = replace(endpoint.terms, partner_is_dhcpd=True)

    def at(seconds: float) -> Now:
        return Now(duo.now.wall + seconds, duo.now.mono + seconds)

    endpoint._begin_hearing(at(0))
    assert endpoint._hears_first(at(7.9))
    endpoint._hears_state(ServerState.NORMAL, at(8))
    for told in range(12, 40, 4):
        assert endpoint._hears_first(at(told)), told
        endpoint._hears_on(at(told))
    assert not endpoint._hears_first(at(36 + 9)), "as long a silence as it took to answer"
    endpoint._begin_hearing(at(100))
    endpoint._hears_state(ServerState.NORMAL, at(100.01))
    assert not endpoint._hears_first(at(101.1)), "behind a link of milliseconds a second is enough"
    endpoint._begin_hearing(at(200))
    endpoint._hears_state(ServerState.RECOVER, at(200.01))
    assert not endpoint._hears_first(at(200.02)), "it has nothing to lose"
