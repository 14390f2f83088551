"""Known-bad servers of the simulator: those that were away or put back, and pings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from failoverd import node_probes
from failoverd.failover import waits
from failoverd.failover.endpoint import Endpoint
from failoverd.failover.update_queue import UpdateQueue
from failoverd.ports import Now
from tests.sim.known_bad import mutant, put


@mutant("6")
def an_answer_to_a_ping_is_ignored() -> None:
    answered = node_probes.answered
    put(node_probes, "answered", lambda node, answer, now: None if answer.heard else answered(node, answer, now))


@mutant("12", "relay")
def a_survivor_that_was_away_does_not_wait_anew() -> None:
    hear = Endpoint._on_state

    def wrong(self: Endpoint, message: Any, now: Now) -> None:
        since, state = self.record.partner_down_since, self.record.state
        hear(self, message, now)
        if self.record.state is state:
            self.record.partner_down_since = since

    put(Endpoint, "_on_state", wrong)


@mutant("16", "empty")
def two_empty_databases_wait_for_mclt_only() -> None:
    until = waits.recover_until
    put(
        waits,
        "recover_until",
        lambda record, boot, partner_is_dhcpd, wall: until(replace(record, new_pair=True), boot, partner_is_dhcpd, wall),
    )


@mutant("23", "nobody")
def never_used_addresses_are_told() -> None:
    asked = UpdateQueue.asked
    put(UpdateQueue, "asked", lambda self, xid, everything, *, unused: asked(self, xid, everything, unused=True))
