"""mirror-to, views as targets, and what is watched: from TOML to the values of the DNS room."""

from __future__ import annotations

from pathlib import Path

import pytest

from failoverd import compile
from failoverd.config import ConfigError, parse_text
from failoverd.shell.checking import key_problems

BASE = """
site = "s"
[servers.dhcp1]
interfaces = ["eth0"]
[ddns]
lag-warn = "90s"
[[ddns.zone]]
name = "dyn.example.test."
primaries = ["10.0.0.53"]
key-file = "/etc/failoverd/ddns.key"
watch = ["10.0.0.54", "10.0.0.55:5353"]
"""
MIRROR = 'mirror-to = [{ target = "backup", primaries = ["10.9.0.53:54"], watch = ["10.9.0.54"] }]\n'
VIEW = '[[ddns.zone.mirror-to]]\ntarget = "inside"\nprimaries = ["10.0.0.53"]\nkey-file = "/etc/failoverd/inside.key"\n'


def test_a_mirror_is_a_target_of_its_own_with_the_zones_key() -> None:
    zones = {zone.target: zone for zone in compile.dns_plan(parse_text(BASE + MIRROR)).zones}
    assert set(zones) == {"main", "backup"}
    assert zones["backup"].primaries == (("10.9.0.53", 54),)
    assert zones["backup"].key_file == zones["main"].key_file == "/etc/failoverd/ddns.key"
    assert zones["backup"].name == zones["main"].name


def test_a_view_is_the_same_zone_at_the_same_address_with_another_key() -> None:
    zones = {zone.target: zone for zone in compile.dns_plan(parse_text(BASE + VIEW)).zones}
    assert zones["inside"].primaries == zones["main"].primaries
    assert zones["inside"].key_file == "/etc/failoverd/inside.key"


def test_what_is_watched() -> None:
    plan = compile.watch_plan(parse_text(BASE + MIRROR))
    assert plan.lag_warn_s == 90
    assert {(zone.target, zone.watch) for zone in plan.zones} == {
        ("main", (("10.0.0.54", 53), ("10.0.0.55", 5353))),
        ("backup", (("10.9.0.54", 53),)),
    }


@pytest.mark.parametrize("target", ["main", "backup"])
def test_two_masters_of_one_target_are_refused(target: str) -> None:
    again = f'[[ddns.zone.mirror-to]]\ntarget = "{target}"\nprimaries = ["10.9.9.9"]\n'
    other = '[[ddns.zone.mirror-to]]\ntarget = "backup"\nprimaries = ["10.9.0.53"]\n'
    with pytest.raises(ConfigError) as caught:
        parse_text(BASE + other + again)
    (problem,) = caught.value.problems
    assert problem.key == "ddns.zone[0].mirror-to[1].target"
    assert f"of target {target} is there already" in problem.text


def test_the_digest_knows_a_mirror_but_not_its_key_file_nor_its_place() -> None:
    plain, mirror = parse_text(BASE).digest(), parse_text(BASE + MIRROR).digest()
    assert plain != mirror
    assert parse_text(BASE + MIRROR.replace("target", 'key-file = "/x.key", target')).digest() == mirror
    two = [VIEW, '[[ddns.zone.mirror-to]]\ntarget = "backup"\nprimaries = ["10.9.0.53"]\n']
    assert parse_text(BASE + two[0] + two[1]).digest() == parse_text(BASE + two[1] + two[0]).digest()


def test_a_mirrors_key_file_is_checked(tmp_path: Path) -> None:
    own, key = tmp_path / "own.key", tmp_path / "mirror.key"
    for path in (own, key):
        path.write_text("k:AAAA")
        path.chmod(0o640)
    key.chmod(0o644)
    text = (BASE + VIEW).replace("/etc/failoverd/ddns.key", str(own)).replace("/etc/failoverd/inside.key", str(key))
    errors, warnings = key_problems(parse_text(text, "f.toml"), "f.toml")
    assert [(each.key, each.text) for each in errors] == [
        ("ddns.zone[0].mirror-to[0].key-file", f"{key}: everybody can read or write it; chmod 0640, owner root, group failoverd")
    ]
    assert warnings == []


NEXT = 'key-next-file = "/etc/failoverd/next.key"\nallow-weak = true\n'


def test_the_keys_of_a_rollover_and_weak_ones_reach_the_dns_room() -> None:
    zones = {zone.target: zone for zone in compile.dns_plan(parse_text(BASE + NEXT + MIRROR)).zones}
    assert [(zones[t].key_next_file, zones[t].allow_weak) for t in ("main", "backup")] == [("/etc/failoverd/next.key", True)] * 2
    zones = {zone.target: zone for zone in compile.dns_plan(parse_text(BASE + NEXT + VIEW + "allow-weak = false")).zones}
    assert (zones["inside"].key_next_file, zones["inside"].allow_weak) == ("", False)  # its own key file, so its own next one
    plain = compile.dns_plan(parse_text(BASE)).zones[0]
    assert (plain.key_next_file, plain.allow_weak) == ("", False)
    assert parse_text(BASE + NEXT).digest() == parse_text(BASE).digest()  # each server's own files


def test_a_mirrors_next_key_needs_a_key_of_its_own() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_text(BASE + MIRROR.replace("target", 'key-next-file = "/n.key", target'))
    (problem,) = caught.value.problems
    assert (problem.line, problem.key) == (12, "ddns.zone[0].mirror-to[0].key-next-file")
    assert "belongs to a key-file of its own" in problem.text


def test_check_reads_the_keys_of_a_rollover_and_refuses_weak_ones(tmp_path: Path) -> None:
    own, following = tmp_path / "own.key", tmp_path / "next.key"
    own.write_text("k:AAAA")
    own.chmod(0o640)
    text = (BASE + NEXT).replace("/etc/failoverd/ddns.key", str(own)).replace("/etc/failoverd/next.key", str(following))
    assert key_problems(parse_text(text, "f.toml"), "f.toml") == ([], [])
    following.write_text("hmac-md5:k:AAAA")
    following.chmod(0o640)
    assert key_problems(parse_text(text, "f.toml"), "f.toml") == ([], [])
    (problem,), _ = key_problems(parse_text(text.replace("allow-weak = true", ""), "f.toml"), "f.toml")
    assert (problem.line, problem.key) == (12, "ddns.zone[0].key-next-file")
    assert problem.text.startswith(f"{following}: key k uses hmac-md5, which is too weak; make one with tsig-keygen")


def test_the_key_that_secondaries_are_asked_with_is_that_of_the_zone_or_of_its_mirror() -> None:
    key = 'watch-key-file = "/etc/failoverd/view.key"\n'
    plan = compile.watch_plan(parse_text(BASE + key + VIEW + 'watch-key-file = "/etc/failoverd/inside.key"\n'))
    assert {zone.target: zone.key_file for zone in plan.zones} == {
        "main": "/etc/failoverd/view.key",
        "inside": "/etc/failoverd/inside.key",
    }
    assert {zone.key_file for zone in compile.watch_plan(parse_text(BASE + VIEW)).zones} == {""}
    assert parse_text(BASE + key).digest() == parse_text(BASE).digest()
    _, warnings = key_problems(parse_text(BASE + key, "f.toml"), "f.toml")
    assert "ddns.zone[0].watch-key-file" in [each.key for each in warnings]
