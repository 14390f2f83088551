"""The digest of what a pair must agree on: it moves with the meaning and with nothing else."""

from __future__ import annotations

import json
import random
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failoverd.config import Config, parse_text

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "pair.toml"
TEXT = SAMPLE.read_text()
RAW = tomllib.loads(TEXT)
DIGEST = parse_text(TEXT).digest()
TABLES = {"relationship", "shared-network", "subnet", "pool", "reservation", "zone", "mirror-to"}


def toml(value: object) -> str:
    """Any value as inline TOML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def shuffled(value: object, rng: random.Random, key: str = "") -> object:
    """The same with its keys, and the items of its arrays of tables, in another order."""
    if isinstance(value, dict):
        keys = list(value)
        rng.shuffle(keys)
        return {each: shuffled(value[each], rng, each) for each in keys}
    if isinstance(value, list):
        items = [shuffled(item, rng) for item in value]
        if key in TABLES:
            rng.shuffle(items)
        return items
    return value


def written(raw: dict[str, object]) -> Config:
    return parse_text("\n".join(f"{json.dumps(key)} = {toml(value)}" for key, value in raw.items()))


@settings(max_examples=50, deadline=None)
@given(st.randoms(use_true_random=False))
def test_order_and_formatting_do_not_matter(rng: random.Random) -> None:
    raw = shuffled(RAW, rng)
    assert isinstance(raw, dict)
    assert written(raw).digest() == DIGEST


def test_it_is_sha256_in_hex() -> None:
    assert len(DIGEST) == 64
    assert set(DIGEST) <= set("0123456789abcdef")


SAME = [
    ('mclt = "1h"', "mclt = 3600"),
    ('mclt = "1h"', ""),  # the default
    ("split = 128", f'hba = "{"ff" * 16 + "00" * 16}"'),
    ("split = 128", ""),
    ('domain = "dyn.example.test."', 'domain = "DYN.example.test"'),
    ('"150" = { hex = "0a0a0005" }', '"150" = { hex = "0A:0A:00:05" }'),
    ('"10.10.0.100-10.10.3.250"', '"10.10.2.0-10.10.3.250", "10.10.0.100-10.10.1.255"'),
    ("02:00:00:00:00:0a", "02-00-00-00-00-0A"),
    ("domain-name-servers", '"6"'),
    # what belongs to one machine
    ('level = "info"', 'level = "debug"'),
    ("/run/failoverd/api.sock", "/tmp/api.sock"),
    ("127.0.0.1:9767", "127.0.0.2:1"),
    ("/var/lib/failoverd/leases.db", "/tmp/leases.db"),
    ("16MiB", "1MiB"),
    ('interfaces = ["eth0", "eth1"]', 'interfaces = ["lan"]'),
    ("/etc/failoverd/ddns.key", "/etc/other.key"),
]


@pytest.mark.parametrize(("old", "new"), SAME)
def test_the_same_meaning_is_the_same_digest(old: str, new: str) -> None:
    assert old in TEXT
    assert parse_text(TEXT.replace(old, new)).digest() == DIGEST


OTHER = [
    ('site = "example"', 'site = "other"'),
    ('mclt = "1h"', 'mclt = "30m"'),
    ("split = 128", "split = 127"),
    ("load-balance-max-seconds = 3", "load-balance-max-seconds = 4"),
    ('"10.10.0.2", port = 647', '"10.10.0.2", port = 648'),
    ("max-unacked-updates = 100", "max-unacked-updates = 101"),
    ('lone-boot = "bounded"', 'lone-boot = "serve"'),
    ("secondary = {", 'secondary = { auto-partner-down = "1h",'),
    ('lease-time = "8h"', 'lease-time = "7h"'),
    ('abandon-time = "1d"', 'abandon-time = "2d"'),
    ('"10.10.0.53", "10.10.0.54"', '"10.10.0.54", "10.10.0.53"'),
    ('"10.10.0.100-', '"10.10.0.101-'),
    ('hostname = "printer"', 'hostname = "scanner"'),
    ('shared-network = "floor2"\n', ""),
    ('name-template = "dhcp-{ip}"', 'name-template = "h-{ip}"'),
    ('ttl-max = "1h"', 'ttl-max = "2h"'),
    ('primaries = ["10.10.0.53"]', 'primaries = ["10.10.0.53:54"]'),
]


@pytest.mark.parametrize(("old", "new"), OTHER)
def test_another_meaning_is_another_digest(old: str, new: str) -> None:
    assert old in TEXT
    assert parse_text(TEXT.replace(old, new)).digest() != DIGEST


def test_the_same_terms_said_in_two_places() -> None:
    """auto-partner-down of the relationship is that of both ends, unless an end says its own."""
    one = TEXT.replace("primary = {", 'primary = { auto-partner-down = "1h",')
    two = TEXT.replace("secondary = {", 'secondary = { auto-partner-down = "0s",').replace(
        'auto-partner-down = "0s" #', 'auto-partner-down = "1h" #'
    )
    assert parse_text(one).digest() == parse_text(two).digest() != DIGEST
