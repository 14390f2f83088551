"""The model against what a real BIND did."""

from __future__ import annotations

import pytest

from tests.ddns import sequences
from tests.ddns.model import Master, Zone, anyone, nobody, policy_test
from tests.ddns.sequences import Sequence

SEQUENCES = sequences.load()


def base_zones() -> list[Zone]:
    rights = {"100.51.198.in-addr.arpa.": (nobody, True), "policy.test.": (policy_test, False)}
    zones = []
    for name, lines in sequences.BASE.items():
        allow, whole = rights.get(name, (anyone, True))
        zone = Zone(name, allow, whole)
        zone.load([f"{name} 3600 SOA {sequences.SOA}", f"{name} 3600 NS ns1.example.test.", *sorted(lines)])
        zones.append(zone)
    return zones


def test_there_are_100_sequences() -> None:
    assert len(SEQUENCES) == 100


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda s: s.ident)
def test_sequence(sequence: Sequence) -> None:
    master = Master(base_zones())
    zone = master.zones.get(sequence.zone)
    if zone is None:
        assert master.update(sequence.update, sequence.key) == sequence.rcode
        return
    base = zone.lines()
    zone.load(sequence.before)
    serial = zone.serial
    assert master.update(sequence.update, sequence.key) == sequence.rcode
    assert zone.lines() - base == set(sequence.after or ())
    assert base <= zone.lines()
    assert zone.serial - serial == sequence.serial_step
