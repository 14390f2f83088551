"""All 100 sequences against a real named: rcode, zone afterwards, step of the serial."""

from __future__ import annotations

from collections.abc import Iterator

import dns.rcode
import pytest

from failoverd.shell.dnswire import encode_update
from tests.ddns import sequences
from tests.ddns.named import Named
from tests.ddns.sequences import Sequence

pytestmark = pytest.mark.bind

ALLOW = "allow-update { key ddns-key; key admin-key; };"
POLICY = """update-policy { grant admin-key zonesub ANY; deny ddns-key name www.policy.test ANY;
  grant ddns-key zonesub A AAAA DHCID; };"""


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Named]:
    rights = {"policy.test.": POLICY, "100.51.198.in-addr.arpa.": ""}
    zones = {name: (rights.get(name, ALLOW), lines) for name, lines in sequences.BASE.items()}
    server = Named(tmp_path_factory.mktemp("sequences"), zones)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def base(named: Named) -> dict[str, set[str]]:
    return {zone: named.lines(zone) for zone in sequences.BASE}


@pytest.mark.parametrize("sequence", sequences.load(), ids=lambda s: s.ident)
def test_sequence(named: Named, base: dict[str, set[str]], sequence: Sequence) -> None:
    known = sequence.zone in base
    if sequence.before:
        named.put(sequence.zone, sequence.before)
    serial = named.serial(sequence.zone) if known else 0
    reply = named.send(encode_update(sequence.update), sequence.key, tcp=False)
    assert dns.rcode.to_text(reply.rcode()) == sequence.rcode
    if not known:
        return
    step = named.serial(sequence.zone) - serial
    after = named.lines(sequence.zone)
    extra = after - base[sequence.zone]
    if extra:
        named.put(sequence.zone, [], extra)
    assert extra == set(sequence.after or ())
    assert base[sequence.zone] <= after
    assert step == sequence.serial_step
