"""Known-bad servers of the simulator: what two servers that meet again must not forget, and clocks."""

from __future__ import annotations

from typing import Any

from failoverd.failover.clock_memory import ClockMemory
from failoverd.failover.endpoint import Endpoint
from failoverd.failover.epochs import Then
from failoverd.failover.updates import Updates
from failoverd.node_house import House
from tests.sim.known_bad import mutant, put


@mutant("10", seeds="resting")
def a_clock_that_was_set_ahead_is_forgotten() -> None:
    put(ClockMemory, "ahead_s", property(lambda self: 0))


@mutant("10", seeds="tlscorrected")
def the_partners_clock_of_before_is_forgotten() -> None:
    put(ClockMemory, "_far", lambda self, offset, now: None)


@mutant("12", seeds="returning")
def partner_down_is_left_before_all_is_told() -> None:
    put(Endpoint, "_told_first", lambda self, cell, peer: cell)


@mutant("15", seeds="between")
def what_is_told_again_from_before_a_loss_ends_the_rest() -> None:
    take = Updates._take

    def wrong(self: Updates, *args: Any) -> None:
        rested, self.record.rested = self.record.rested, 0
        try:
            take(self, *args)
        finally:
            self.record.rested = rested

    put(Updates, "_take", wrong)


@mutant("17", seeds="tlssilent")
def epochs_are_ignored() -> None:
    put(Endpoint, "_by_epoch", lambda self: (Then.STATES, ""))


@mutant("25", seeds="tlsunagreed")
def a_name_goes_before_its_end_is_agreed() -> None:
    unheld = House._unheld

    def wrong(self: House, address: int, name: str, owner: str) -> bool:
        lease = self.table.get(address)
        owed, lease.owed = lease.owed, False
        try:
            return unheld(self, address, name, owner)
        finally:
            lease.owed = owed

    put(House, "_unheld", wrong)
