"""What a run reached, counted from its trace: so that nobody takes many runs for many different histories."""

from __future__ import annotations

from collections import Counter

from failoverd.dhcp.message import MessageType
from failoverd.sim.limits import FREE, Owners, Pools
from failoverd.sim.plan import FIRST_FAULT_S
from failoverd.sim.trace import (
    PAIR_INIT,
    Answered,
    Booted,
    Committed,
    Crashed,
    Declared,
    Event,
    Fault,
    Held,
    Moved,
    Quiet,
    Replaced,
    Started,
    Stated,
    Typed,
)

SUMS = ("faults", "crashes", "cuts", "ACKs", "leases held")
REACHED = (
    "partner-down declared rightly",
    "partner-down declared wrongly",
    "--since",
    "an address of the partner's used",
    "recover-wait ended",
    "potential-conflict",
    "resolution-interrupted",
    "served alone after a boot",
    "serve --force",
    "serve --force wrongly",
    "another disk",
    "both disks lost",
    "clock far off",
    "pair init after a loss",
    "pair init too early",
    "paused",
    "recover typed",
    "rebalanced",
    "renewed while interrupted",
    "refused by a server (NAK)",
)


def reached(events: list[Event]) -> Counter[str]:
    """Of each of SUMS how many there were; of each of REACHED 1 when the run has it."""
    sums: Counter[str] = Counter()
    have: set[str] = set()
    states: dict[tuple[str, str], str] = {}
    for event in events:
        if isinstance(event, Fault):
            sums["faults"] += 1
            sums["cuts"] += event.what == "cut"
            have |= {event.what.split(",")[0]} & {"both disks lost", "clock far off"}
        elif isinstance(event, Crashed):
            sums["crashes"] += 1
        elif isinstance(event, Held):
            sums["leases held"] += 1
        elif isinstance(event, Answered):
            sums["ACKs"] += event.kind == MessageType.ACK
            have |= _answer(event, states)
        elif isinstance(event, Moved):
            have |= _move(event, states)
        elif isinstance(event, Declared | Stated | Typed | Replaced):
            have |= _typed(event)
    if _partners_used(events):
        have.add("an address of the partner's used")
    return sums + Counter(sorted(have))


def _answer(event: Answered, states: dict[tuple[str, str], str]) -> set[str]:
    if event.kind == MessageType.NAK:
        return {"refused by a server (NAK)"}
    apart = event.kind == MessageType.ACK and "communications-interrupted" in {
        state for (server, _), state in states.items() if server == event.server
    }
    return {"renewed while interrupted"} if apart else set()


def _move(event: Moved, states: dict[tuple[str, str], str]) -> set[str]:
    key = event.server, event.relationship
    before = states.get(key)
    states[key] = event.state
    have = {event.state} if event.state in ("potential-conflict", "resolution-interrupted", "paused") else set()
    if event.t > FIRST_FAULT_S and before == "recover-wait" and event.state in ("recover-done", "normal"):
        have.add("recover-wait ended")
    if before == "startup" and event.state == "communications-interrupted":
        have.add("served alone after a boot")
    return have


def _typed(event: Declared | Stated | Typed | Replaced) -> set[str]:
    if isinstance(event, Declared):
        have = {f"partner-down declared {'wrongly' if event.wrongly else 'rightly'}"}
        return have | ({"--since"} if event.since_t else set())
    if isinstance(event, Stated) and event.what == PAIR_INIT:
        return {"pair init too early" if event.untrue else "pair init after a loss"}
    if isinstance(event, Stated):
        return {"serve --force wrongly" if event.untrue else "serve --force"}
    if isinstance(event, Replaced):
        return {"another disk"}
    named = {"recover": "recover typed", "pool-rebalance": "rebalanced"}.get(event.verb, "")
    return {named} if named and event.code == "ok" else set()


def _partners_used(events: list[Event]) -> bool:
    """Whether a server gave an address of the partner's half to a new client, as it may in partner-down."""
    owners, pools = Owners(), Pools(Started(0.0, "", 0, ()))
    for event in events:
        if isinstance(event, Started):
            pools = Pools(event)
        elif isinstance(event, Booted | Replaced):
            owners.disk(event.server, event.leases)
        elif isinstance(event, Committed):
            owners.committed(event)
        elif isinstance(event, Answered) and event.kind == MessageType.ACK and event.lease_s:
            hw, before = owners.taken.pop((event.server, event.address), ("", None))
            own = FREE if event.server == pools.of(event.address)[1] else 7
            if before is not None and hw == event.client.hex() and before.state != own:
                return True
        elif isinstance(event, Quiet):
            return False
    return False
