"""What a case must not leave behind, whatever it was about: pure, from facts that `Bench.finish` gathers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from failoverd.failover.message import RejectReason
from tests.interop.pairs.case import Cast, Job, Result
from tests.interop.pairs.wire import Reading

END_SLACK_S = 2  # a server counts in whole seconds, a client from its own REQUEST


@dataclass(slots=True, frozen=True)
class Server:
    """One server at the end. `last_words`: of its log; `complaints`: what its log must never say; `reported`: the addresses of which it
    tells the operator that two clients claim them; `left_in`: its state when it is not normal."""

    name: str
    died: bool
    last_words: str
    complaints: Sequence[str]
    reported: frozenset[str]
    left_in: str = ""


def differences(held: Mapping[str, tuple[str, float]], rows: Mapping[str, tuple[str, str, float]]) -> dict[str, str]:
    """Address -> how a database differs from what the clients hold: (hardware address, end) beside (state, hardware address, end)."""
    found = {}
    for address, (mac, end) in sorted(held.items()):
        state, owner, ends = rows.get(address, ("missing", "", 0.0))
        if state != "active" or owner != mac:
            found[address] = f"{address} of {mac} is {state} of {owner or 'nobody'}"
        elif ends < end - END_SLACK_S:
            found[address] = f"{address} of {mac} ends {end - ends:.0f} s before the client's lease"
    for address, (state, owner, _) in sorted(rows.items()):
        if state == "active" and address not in held:
            found[address] = f"{address} is active for {owner}, and no client holds it"
    return found


def judge(result: Result, job: Job, servers: Sequence[Server], reading: Reading) -> Iterator[str]:
    """Everything that is wrong. `result` has its figures already."""
    yield from _clients(result, job, servers)
    for server in servers:
        if server.died:
            yield f"{server.name} ended by itself: {server.last_words}"
        if server.left_in:
            yield f"{server.name} is left in {server.left_in}"
        yield from (f"{server.name}: {line}" for line in server.complaints[:3])
    yield from _wire(result, job, reading)


def _clients(result: Result, job: Job, servers: Sequence[Server]) -> Iterator[str]:
    hole = job.case.hole(job.cast, job.side)
    for what, addresses in (("given twice", result.twice), ("lost", result.lost)):
        if addresses and hole is None:
            yield f"{what}: {', '.join(addresses[:5])}"
    for address in result.twice:
        if not any(address in server.reported for server in servers):
            yield f"{address} was given twice and nobody reports it"
    if result.refused and not job.case.refusals(job.cast, job.side):
        yield f"{result.refused} clients were refused"


def may_reject(job: Job) -> set[int]:
    """Reject reasons that may be on the wire: the lesser of two updates at one moment, and the loser of two grants."""
    contested = job.case.hole(job.cast, job.side) is not None
    return {RejectReason.LESS_CRITICAL_BINDING, *([RejectReason.OUTDATED_BINDING] if contested else [])}


def _wire(result: Result, job: Job, reading: Reading) -> Iterator[str]:
    yield from (f"malformed: {line}" for line in reading.malformed[:3])
    if not reading.messages:
        yield "tshark saw no message"
    if job.cast is Cast.DHCPD_ALONE:
        return  # what two dhcpd refuse each other is theirs: they are measured, and refuse with reason 2 after a cut now and then
    if set(reading.rejects) - may_reject(job):
        yield f"updates were rejected, reason -> number: {result.rejects}"
    yield from reading.unprovoked[:3]
