"""The configuration as the rooms read it."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failoverd.compile import dns_plan, pick_server, scopes, terms, without
from failoverd.config import Config, ConfigError, parse_text

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
PAIR = (SAMPLES / "pair.toml").read_text()


def ip(text: str) -> int:
    return int(IPv4Address(text))


@pytest.fixture
def pair() -> Config:
    return parse_text(PAIR)


def test_terms_of_both_ends(pair: Config) -> None:
    one, two = terms(pair, "dhcp1")["office"], terms(pair, "dhcp2")["office"]
    assert (one.primary, two.primary) == (True, False)
    assert (
        (one.local_address, one.partner_address) == (two.partner_address, two.local_address) == (ip("10.10.0.2"), ip("10.10.0.3"))
    )
    assert (one.local_port, one.partner_port) == (647, 647)
    assert one.mclt_s == 3600
    assert one.hba == two.hba == b"\xff" * 16 + bytes(16)
    assert one.load_balance_max_s == 3
    assert one.max_response_delay_s == 30
    assert (one.max_unacked, one.partner_max_unacked) == (100, 100)
    assert (one.max_misbalance, one.max_ownership, one.min_balance_s, one.max_balance_s) == (15, 10, 60, 3600)
    assert one.auto_partner_down_s == 0
    assert not one.lone_boot_serve
    assert not one.partner_is_dhcpd
    assert one.pools == ("10.10.0.100-10.10.3.250", "10.20.0.20-10.20.0.250")


def test_terms_with_a_dhcpd() -> None:
    config = parse_text((SAMPLES / "isc-partner.toml").read_text())
    found = terms(config, "dhcp2")["office"]
    assert found.partner_is_dhcpd
    assert not found.primary
    assert (found.max_unacked, found.partner_max_unacked) == (20, 10)
    assert found.partner_address == ip("10.10.0.2")


@pytest.mark.parametrize(("split", "bits"), [(0, 0), (1, 1), (128, 128), (255, 255), (256, 256)])
def test_split_sets_the_first_buckets(split: int, bits: int) -> None:
    hba = terms(parse_text(PAIR.replace("split = 128", f"split = {split}")), "dhcp1")["office"].hba
    assert len(hba) == 32
    assert [bool(hba[b >> 3] & 1 << (b & 7)) for b in range(256)] == [b < bits for b in range(256)]


def test_scopes_of_the_sample(pair: Config) -> None:
    found = scopes(pair, "dhcp1")
    office, floor = found.subnets
    assert (office.name, office.network, office.prefix, office.length) == ("10.10.0.0/22", "10.10.0.0/22", ip("10.10.0.0"), 22)
    assert floor.network == "floor2"
    assert found.networks == {"10.10.0.0/22": (office,), "floor2": (floor,)}
    assert (office.lease_s, office.min_lease_s, office.max_lease_s) == (28800, 300, 86400)
    assert floor.lease_s == 43200
    assert office.options[3] == bytes([10, 10, 0, 1])
    assert office.options[6] == bytes([10, 10, 0, 53, 10, 10, 0, 54])
    assert office.options[15] == b"dyn.example.test"
    assert office.options[150] == bytes([10, 10, 0, 5])
    assert floor.options[3] == bytes([10, 20, 0, 1])
    assert 15 not in floor.options
    assert office.pools[0].relationship == "office"
    assert office.pools[0].ranges == ((ip("10.10.0.100"), ip("10.10.3.250")),)
    printer = found.reserved[ip("10.10.0.60")]
    assert found.reservations == {b"\x00\x01\x02\0\0\0\0\x0a": (printer,)}
    assert (printer.hw, printer.client_id, printer.hostname) == (b"\x01\x02\0\0\0\0\x0a", b"", "printer")
    assert found.abandon_s == 86400
    assert scopes(pair, "dhcp2") == found


def test_the_innermost_level_wins() -> None:
    config = parse_text(
        """
        [servers.a]
        interfaces = ["lo"]
        [dhcp]
        options = { domain-name = "global", ntp-servers = "10.0.0.1", "200" = { hex = "01" } }
        boot-file = "global"
        next-server = "10.0.0.2"
        [[shared-network]]
        name = "n"
        options = { domain-name = "network", "201" = { hex = "02" } }
        lease-time = "2h"
        server-name = "net"
        [[subnet]]
        subnet = "10.1.0.0/24"
        shared-network = "n"
        options = { "15" = "subnet" }
        boot-file = ""
        max-lease-time = "3h"
        [[subnet]]
        subnet = "10.0.0.0/24"
        shared-network = "n"
        """
    )
    second, first = scopes(config, "a").networks["n"][::-1]
    assert (first.name, second.name) == ("10.0.0.0/24", "10.1.0.0/24")
    assert first.options == {15: b"network", 42: bytes([10, 0, 0, 1]), 200: b"\x01", 201: b"\x02"}
    assert second.options == {**first.options, 15: b"subnet"}
    assert (first.boot_file, second.boot_file) == ("global", "")
    assert (first.next_server, first.server_name) == (ip("10.0.0.2"), "net")
    assert (first.lease_s, first.max_lease_s, second.max_lease_s) == (7200, 86400, 10800)


THREE = """
[servers.a]
interfaces = ["lo"]
[servers.b]
interfaces = ["lo"]
[servers.c]
interfaces = ["lo"]
[[relationship]]
name = "ab"
primary = { server = "a", address = "10.0.0.1" }
secondary = { server = "b", address = "10.0.0.2" }
[[relationship]]
name = "ac"
primary = { server = "a", address = "10.0.0.1" }
secondary = { server = "c", address = "10.0.0.3" }
[[shared-network]]
name = "n"
[[subnet]]
subnet = "10.1.0.0/24"
shared-network = "n"
pool = [ { range = ["10.1.0.10-10.1.0.20"], relationship = "ab" } ]
[[subnet]]
subnet = "10.2.0.0/24"
shared-network = "n"
pool = [ { range = ["10.2.0.10-10.2.0.20"], relationship = "ac" } ]
[[subnet]]
subnet = "10.3.0.0/24"
pool = [ { range = ["10.3.0.10-10.3.0.20"], relationship = "ac" }, { name = "lone", range = ["10.3.0.30"], server = "b" } ]
[[subnet]]
subnet = "10.4.0.0/24"
pool = [ { range = ["10.4.0.10-10.4.0.20"], relationship = "ab" } ]
reservation = [ { client-id = "0102", address = "10.4.0.15" }, { hardware = "02:00:00:00:00:01", address = "10.4.0.10" } ]
[[subnet]]
subnet = "10.5.0.0/24"
reservation = [ { hardware = "02:00:00:00:00:01", address = "10.5.0.10" } ]
"""


def test_a_server_has_the_networks_that_it_leases_from() -> None:
    """A link on which only others lease is not answered at all; a link with reservations only is everybody's."""
    config = parse_text(THREE)
    names = {server: [subnet.name for subnet in scopes(config, server).subnets] for server in "abc"}
    assert names["a"] == ["10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24", "10.4.0.0/24", "10.5.0.0/24"]
    assert names["b"] == ["10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24", "10.4.0.0/24", "10.5.0.0/24"]
    assert names["c"] == ["10.1.0.0/24", "10.2.0.0/24", "10.3.0.0/24", "10.5.0.0/24"]
    pools = {server: [pool.name for subnet in scopes(config, server).subnets for pool in subnet.pools] for server in "abc"}
    assert pools["a"] == ["10.1.0.10-10.1.0.20", "10.2.0.10-10.2.0.20", "10.3.0.10-10.3.0.20", "10.4.0.10-10.4.0.20"]
    assert pools["b"] == ["10.1.0.10-10.1.0.20", "lone", "10.4.0.10-10.4.0.20"]
    assert pools["c"] == ["10.2.0.10-10.2.0.20", "10.3.0.10-10.3.0.20"]
    assert set(terms(config, "a")) == {"ab", "ac"}
    assert set(terms(config, "c")) == {"ac"}


def test_no_pool_without_relationship_is_leased_by_two_servers() -> None:
    """safety.md: no address given twice."""
    config = parse_text(THREE)
    owners = [server for server in "abc" for s in scopes(config, server).subnets for p in s.pools if p.relationship is None]
    assert owners == ["b"]


def test_reserved_addresses_are_taken_out_of_the_pools() -> None:
    found = scopes(parse_text(THREE), "a")
    pool = next(subnet for subnet in found.subnets if subnet.name == "10.4.0.0/24").pools[0]
    assert pool.ranges == ((ip("10.4.0.11"), ip("10.4.0.14")), (ip("10.4.0.16"), ip("10.4.0.20")))
    assert pool.size == 9
    assert sorted(found.reserved) == [ip("10.4.0.10"), ip("10.4.0.15"), ip("10.5.0.10")]
    assert [r.address for r in found.reservations[b"\x00\x01\x02\0\0\0\0\x01"]] == [ip("10.4.0.10"), ip("10.5.0.10")]
    assert [r.address for r in found.reservations[b"\x01\x01\x02"]] == [ip("10.4.0.15")]


@given(st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)))
def test_cutting_addresses_out_of_ranges(members: set[int], taken: set[int]) -> None:
    ranges: list[tuple[int, int]] = []
    for each in sorted(members):
        if ranges and ranges[-1][1] == each - 1:
            ranges[-1] = (ranges[-1][0], each)
        else:
            ranges.append((each, each))
    left = without(tuple(ranges), sorted(taken))
    assert [a for first, last in left for a in range(first, last + 1)] == sorted(members - taken)
    assert all(first <= last for first, last in left)


def test_dns_plan(pair: Config) -> None:
    plan = dns_plan(pair)
    assert [zone.name for zone in plan.zones] == ["10.10.in-addr.arpa.", "20.10.in-addr.arpa.", "dyn.example.test."]
    zone = plan.zone_for("printer.dyn.example.test.", "main")
    assert zone is not None
    assert (zone.target, zone.primaries, zone.key_file) == ("main", (("10.10.0.53", 53),), "/etc/failoverd/ddns.key")
    assert (plan.ttl_s, plan.ttl_min_s, plan.ttl_max_s, plan.conflict_mode) == (0, 600, 3600, "check-with-dhcid")
    assert (plan.on_conflict, plan.migrate_guards, plan.accept_family) == ("keep", True, False)
    rules = {"on_conflict": "suffix", "migrate_guards": "never", "foreign_family_guard": "accept"}
    plan = dns_plan(pair.model_copy(update={"ddns": pair.ddns.model_copy(update=rules)}))
    assert (plan.on_conflict, plan.migrate_guards, plan.accept_family) == ("suffix", False, True)
    migrates = {}
    for word in ("on-renew", "reconcile", "never"):
        plan = dns_plan(pair.model_copy(update={"ddns": pair.ddns.model_copy(update={"migrate_guards": word})}))
        migrates[word] = (plan.migrate_guards, plan.migrate_on_repair)
    assert migrates == {"on-renew": (True, True), "reconcile": (False, True), "never": (False, False)}


def test_which_server_this_is(pair: Config, tmp_path: Path) -> None:
    file = tmp_path / "server"
    with pytest.raises(ConfigError, match=r"server: is missing, so this could be any of dhcp1, dhcp2; "):
        pick_server(pair, None, str(file))
    file.write_text("dhcp2\n")
    assert pick_server(pair, None, str(file)) == "dhcp2"
    assert pick_server(pair, "dhcp1", str(file)) == "dhcp1"
    with pytest.raises(ConfigError, match=r"^--server: there is no server 'x'; write one of dhcp1, dhcp2$"):
        pick_server(pair, "x", str(file))
    file.write_text("dhcp3")
    with pytest.raises(ConfigError, match=r"server:1: there is no server 'dhcp3'; write one of dhcp1, dhcp2"):
        pick_server(pair, None, str(file))
    file.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        pick_server(pair, None, str(file))
    lone = parse_text((SAMPLES / "isc-partner.toml").read_text())
    assert pick_server(lone, None, str(tmp_path / "none")) == "dhcp2"


def test_settings_of_one_server_stand_in_the_place_of_the_common_ones() -> None:
    text = PAIR.replace("[servers.dhcp2]", '[servers.dhcp2]\nlog = { level = "debug" }\napi = { socket = "/run/two.sock" }', 1)
    config = parse_text(text)
    one, two = config.local("dhcp1"), config.local("dhcp2")
    assert (one.log.level, one.log.format, two.log.level, two.log.format) == ("info", "json", "debug", "json")
    assert (one.api.socket, two.api.socket) == ("/run/failoverd/api.sock", "/run/two.sock")
    assert two.api.operators == one.api.operators == ["root", "@failoverd-operators"]
    assert two.store == one.store
    assert two.interfaces == ["eth0", "eth1"]
