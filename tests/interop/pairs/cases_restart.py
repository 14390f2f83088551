"""A restart of either server in each saved state, and databases that are lost or old."""

from __future__ import annotations

import time
from collections.abc import Callable

from failoverd.failover.message import ServerState
from tests.interop.pairs.bench import Bench, Failure
from tests.interop.pairs.case import ALL, SIDES, Cast, case
from tests.interop.pairs.cases_outage import SMALL, by_product, declared, settled
from tests.lab.terms import Role
from tests.lab.wait import LabError, until

S = ServerState


@case(
    "the {side}'s database is rolled back by a copy",
    sides=SIDES,
    hole=by_product,
    weight=80,
    quick=[(Cast.OURS_FIRST, Role.PRIMARY)],
)
def rollback(bench: Bench, side: Role) -> None:
    victim = bench.side(side)
    old = settled(bench)
    victim.stop()
    kept = victim.copy()
    victim.start()
    bench.normal(30)
    later = bench.people.arrive(16, 20)
    bench.people.full(later, 100)
    bench.agree()
    victim.stop()
    victim.roll_back(kept)
    victim.start()
    bench.normal(bench.settings.mclt_s + 40)
    failed = bench.people.renewed([*old, *later], rebind=True)
    bench.expect(not failed, f"{len(failed)} of the clients were not renewed")
    bench.people.served(bench.people.arrive(10, 20))


@case("the {side} restarts in communications-interrupted", sides=SIDES, weight=70)
def restart_interrupted(bench: Bench, side: Role) -> None:
    victim = bench.side(side)
    settled(bench)
    bench.apart()
    bench.people.served(bench.people.arrive(6, 20))
    victim.kill()
    victim.start()
    bench.becomes(victim, "communications-interrupted")
    bench.people.served(bench.people.arrive(6, 20, reach=(bench.other(victim).address,)))
    bench.normal(30, since=bench.heal())


@case(
    "the {side} restarts in partner-down",
    casts=ALL,
    sides=SIDES,
    settings=SMALL,
    weight=60,
    quick=[(Cast.OURS_FIRST, Role.PRIMARY), (Cast.DHCPD_FIRST, Role.SECONDARY)],
)
def restart_partner_down(bench: Bench, side: Role) -> None:
    survivor = bench.side(side)
    gone = bench.other(survivor)
    old = settled(bench)
    gone.kill()
    declared(bench, gone)
    time.sleep(3)
    survivor.kill()
    began = time.time()
    bench.people.renew(old, rebind=True)
    survivor.start()
    until("a client is answered", lambda: any(told.at > began for told in bench.people.record), 40, 0.02)
    mute = min(told.at for told in bench.people.record if told.at > began) - began
    bench.result.measured[f"mute after a restart of {survivor.product} in partner-down"] = mute
    bench.becomes(survivor, "partner-down")
    bench.people.served(bench.people.arrive(4, 20, reach=(survivor.address,)))
    gone.start()
    bench.normal(40)


@case("the {side} restarts in recover", sides=SIDES, weight=75)
def restart_recover(bench: Bench, side: Role) -> None:
    victim = bench.side(side)
    settled(bench)
    bench.apart()
    victim.kill()
    victim.forget()
    victim.start()
    time.sleep(2)
    victim.kill()
    victim.start()
    time.sleep(1)
    bench.people.served(bench.people.arrive(4, 20, reach=(bench.other(victim).address,)))
    bench.heal()
    bench.normal(bench.settings.mclt_s + 45)


@case("the {side} restarts in recover-wait", sides=SIDES, weight=75, quick=[(Cast.DHCPD_FIRST, Role.SECONDARY)])
def restart_recover_wait(bench: Bench, side: Role) -> None:
    victim = bench.side(side)
    settled(bench)
    victim.kill()
    victim.forget()
    declared(bench, victim)
    victim.start()
    bench.becomes(victim, "recover-wait")
    victim.kill()
    victim.start()
    bench.people.served(bench.people.arrive(4, 20, reach=(bench.other(victim).address,)))
    bench.normal(bench.settings.mclt_s + 45)


def planted(*pairs: tuple[ServerState, ServerState]) -> Callable[[Bench], None]:
    """Both stop, and come back as if they had been in these states (primary, secondary); one pair of states after the other."""

    def play(bench: Bench) -> None:
        clients = settled(bench)
        for primary, secondary in pairs:
            for server in bench.servers:
                server.stop()
            bench.primary.plant(primary, secondary)
            bench.secondary.plant(secondary, primary)
            for server in bench.servers:
                server.start()
            words = f"saved {primary.words} and {secondary.words}"
            try:
                bench.normal(bench.settings.mclt_s + 75)
            except LabError as error:
                raise Failure(f"{words}: {error}") from None
            failed = bench.people.renewed(clients, rebind=True)
            bench.expect(not failed, f"{words}: {len(failed)} of the clients were not renewed")
        bench.people.served(bench.people.arrive(6, 20))

    return play


SAVED: dict[str, tuple[str, tuple[tuple[ServerState, ServerState], ...]]] = {
    "saved-conflict-done": (
        "the primary in conflict-done",
        ((S.CONFLICT_DONE, S.POTENTIAL_CONFLICT), (S.CONFLICT_DONE, S.RESOLUTION_INTERRUPTED)),
    ),
    "saved-conflict": (
        "each in potential-conflict or resolution-interrupted",
        (
            (S.POTENTIAL_CONFLICT, S.POTENTIAL_CONFLICT),
            (S.POTENTIAL_CONFLICT, S.RESOLUTION_INTERRUPTED),
            (S.RESOLUTION_INTERRUPTED, S.POTENTIAL_CONFLICT),
            (S.RESOLUTION_INTERRUPTED, S.RESOLUTION_INTERRUPTED),
        ),
    ),
    "saved-recovery": (
        "one in partner-down, the other in recover or recover-done",
        (
            (S.RECOVER, S.PARTNER_DOWN),
            (S.PARTNER_DOWN, S.RECOVER),
            (S.RECOVER_DONE, S.PARTNER_DOWN),
            (S.PARTNER_DOWN, S.RECOVER_DONE),
        ),
    ),
    "saved-apart": (
        "both in normal; one in partner-down, the other in communications-interrupted",
        (
            (S.NORMAL, S.NORMAL),
            (S.COMMUNICATIONS_INTERRUPTED, S.PARTNER_DOWN),
            (S.PARTNER_DOWN, S.COMMUNICATIONS_INTERRUPTED),
        ),
    ),
}
for name, (words, pairs) in SAVED.items():
    case(
        f"both restart, saved: {words}",
        name=name,
        weight=25 + 25 * len(pairs),
        quick=[(Cast.DHCPD_FIRST, None)] if name == "saved-conflict-done" else (),
    )(planted(*pairs))
