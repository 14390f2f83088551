"""The sequences of vectors/ddns-sequences.yaml as our values, and the zones that they presume."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from failoverd.ports import Change, DnsUpdate, Prereq

VECTORS = Path(__file__).parent.parent / "vectors"
SOA = "ns1.example.test. hostmaster.example.test. 1 3600 600 86400 60"
FORWARD = {
    "ns1.example.test. 3600 A 192.0.2.1",
    "www.example.test. 3600 A 192.0.2.2",
    "static.example.test. 3600 A 192.0.2.3",
    "alias.example.test. 3600 CNAME www.example.test.",
}
BASE: dict[str, set[str]] = {
    "example.test.": FORWARD,
    "2.0.192.in-addr.arpa.": set(),
    "0-63.100.51.198.in-addr.arpa.": set(),
    "100.51.198.in-addr.arpa.": {"10.100.51.198.in-addr.arpa. 3600 CNAME 10.0-63.100.51.198.in-addr.arpa."},
    "8.b.d.0.1.0.0.2.ip6.arpa.": set(),
    "policy.test.": {"www.policy.test. 3600 A 192.0.2.2"},
}


@dataclass
class Sequence:
    ident: str
    zone: str
    key: str | None
    before: list[str]
    update: DnsUpdate
    rcode: str
    after: list[str] | None
    serial_step: int | None


def load() -> list[Sequence]:
    data = yaml.safe_load((VECTORS / "ddns-sequences.yaml").read_text())
    return [_sequence(raw) for raw in data["sequences"]]


def _sequence(raw: dict[str, object]) -> Sequence:
    prereqs: dict[tuple[str, str, str], tuple[str, ...]] = {}
    for p in raw["prereq"]:  # type: ignore[attr-defined]
        values = p.get("rdata", ())
        values = (values,) if isinstance(values, str) else tuple(values)
        key = (p["op"], p["name"], p.get("type", ""))
        prereqs[key] = prereqs.get(key, ()) + values
    changes = tuple(
        Change(c["op"], c["name"], c.get("type", ""), c.get("rdata", ""), int(c.get("ttl", 0)))
        for c in raw["update"]  # type: ignore[attr-defined]
    )
    zone = str(raw["zone"])
    update = DnsUpdate(1, "main", zone, tuple(Prereq(*k, v) for k, v in prereqs.items()), changes)
    key = raw["key"]
    return Sequence(
        str(raw["id"]), zone, key, raw["before"], update, str(raw["observed_rcode"]), raw.get("after"), raw.get("serial_step")
    )  # type: ignore[arg-type]
