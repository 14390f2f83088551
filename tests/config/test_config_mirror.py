"""mirror-to, views as targets, and what is watched: from TOML to the values of the DNS room."""

from __future__ import annotations

from pathlib import Path

import pytest

from failoverd import compile
from failoverd.config import ConfigError, check, parse_text

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


def test_a_mirrors_key_file_is_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own, key = tmp_path / "own.key", tmp_path / "mirror.key"
    for path in (own, key):
        path.write_text("x")
        path.chmod(0o640)
    key.chmod(0o644)
    path = tmp_path / "failoverd.toml"
    text = (BASE + VIEW).replace("/etc/failoverd/ddns.key", str(own)).replace("/etc/failoverd/inside.key", str(key))
    path.write_text(text)
    assert check(str(path)) != 0
    shown = capsys.readouterr()
    assert f"everybody on this machine can read {key}" in shown.out + shown.err
    assert "mirror-to[0].key-file" in shown.out + shown.err
