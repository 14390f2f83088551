"""A partner that lives and does not go on: each step of a resolution or a recovery has a time limit, then it is done again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from failoverd.failover.message import ServerState
from tests.interop.pairs.bench import NAME, Bench
from tests.interop.pairs.case import ALL, Settings, case
from tests.interop.pairs.cases_outage import declared, settled
from tests.interop.pairs.scripted import Scripted
from tests.interop.pairs.server import Product
from tests.lab.wait import LabError, until

PATIENCE_S = 80.0  # failoverd's limit is 60 s
SETTINGS = Settings(dhcpd_delay_s=15)


def stalls(step: str, *, empty: bool) -> Callable[[Bench], None]:
    """The partner says partner-down and answers no request for updates. `empty`: the server has lost its database and recovers,
    otherwise it is in partner-down as well, and the two would have to settle what they did."""

    def play(bench: Bench) -> None:
        subject = bench.subject()
        absent = bench.other(subject)
        clients = settled(bench)
        absent.kill()
        if empty:
            subject.kill()
            subject.forget()
            subject.start()
        else:
            declared(bench, absent)
        with Scripted(absent, subject, NAME, bench.settings.mclt_s, ServerState.PARTNER_DOWN) as partner:
            until("it asks for updates", lambda: bool(partner.asked), 40, 0.1)
            with contextlib.suppress(LabError):
                until("it begins anew", lambda: len(partner.linked) > 1, PATIENCE_S, 0.1)
            took = partner.linked[1] - partner.asked[0] if len(partner.linked) > 1 else PATIENCE_S
        bench.result.measured[f"begins {step} anew, {subject.product}"] = took
        if subject.product is Product.OURS:
            bench.expect(took < PATIENCE_S, f"it has not begun anew within {PATIENCE_S:.0f} s")
        # As the script left it: the partner in whose place it stood has these states on its disk.
        absent.plant(partner.state, ServerState.RECOVER if empty else ServerState.POTENTIAL_CONFLICT)
        absent.start()
        bench.normal(90)
        bench.people.renewed(clients, rebind=True)

    return play


case(
    "the partner forgets its part of a conflict's resolution", name="stalled-resolution", casts=ALL, settings=SETTINGS, weight=140
)(stalls("resolution", empty=False))
case("the partner forgets its part of a recovery", name="stalled-recovery", casts=ALL, settings=SETTINGS, weight=160)(
    stalls("recovery", empty=True)
)
