"""TSIG keys from the configuration to a real named: a rollover without a restart of ours, and weak algorithms only where allowed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from failoverd import compile
from failoverd.config import parse_text
from failoverd.shell.checking import key_problems
from failoverd.shell.mirror_worker import Worker
from tests.ddns.live import FORWARD, REVERSE, Live, write_key
from tests.ddns.named import SECRETS, Named, key_text
from tests.ddns.rig import lease

pytestmark = pytest.mark.bind

POLICY = "update-policy {{ grant ddns-key zonesub ANY; grant other-key zonesub ANY; }}; allow-transfer {{ {keys} }};"
BOTH = "key admin-key; key ddns-key; key other-key;"


@pytest.fixture
def named(tmp_path: Path) -> Iterator[Named]:
    inside = POLICY.format(keys=BOTH)
    server = Named(tmp_path / "named", {FORWARD: (inside, {"ns1.example.test. 3600 A 192.0.2.1"}), REVERSE: (inside, set())})
    server.start()
    yield server
    server.stop()


def config_text(port: int, keys: str) -> str:
    zones = (f'[[ddns.zone]]\nname = "{name}"\nprimaries = ["127.0.0.1:{port}"]\n{keys}\n' for name in (FORWARD, REVERSE))
    return '[servers.dhcp1]\ninterfaces = ["lo"]\n' + "".join(zones)


async def live_with(home: Path, port: int, keys: str) -> Live:
    live = Live(home, port)
    live.plan = compile.dns_plan(parse_text(config_text(port, keys)))
    await live.restart()
    return live


def only_other_key(named: Named) -> None:
    """The end of the rollover at the master: the old key is no longer configured."""
    named.stop()
    text = named.config.read_text().replace(key_text("ddns-key"), "").replace(BOTH, "key admin-key; key other-key;")
    named.config.write_text(text)
    named.start()


def transfer(live: Live) -> dict[str, object]:
    zone = next(each for each in live.plan.zones if each.name == FORWARD)
    asked = {
        name: getattr(zone, name) for name in ("target", "name", "primaries", "key_file", "key_name", "key_next_file", "allow_weak")
    }
    return next(iter(Worker().answer({"transfer": asked})))


async def test_a_rollover_needs_no_restart_and_no_removal_is_lost(named: Named, tmp_path: Path) -> None:
    old, new = tmp_path / "old.key", tmp_path / "new.key"
    write_key(old)
    live = await live_with(tmp_path, named.port, f'key-file = "{old}"\nkey-next-file = "{new}"')
    assert live.client.check() == []  # the file of the next key is not there before the rollover
    live.change(lease(10, 1))
    await live.settle()

    write_key(new, "other-key")
    only_other_key(named)
    live.change(lease(11, 2, "h2.example.test."))
    live.change(lease(10, 1).evolve(fqdn=""))
    await live.settle(20)
    assert {line.split()[0] for line in named.lines(FORWARD) if " A " in line} == {"h2.example.test.", "ns1.example.test."}
    assert any("signed with key-next-file" in answer.detail for answer in live.answers if answer.rcode == "NOERROR")
    assert "done" in transfer(live)

    write_key(old, "other-key")  # the operator ends the rollover at our side: nothing is to be said any more
    new.unlink()
    live.answers.clear()
    live.change(lease(12, 3, "h3.example.test."))
    await live.settle()
    assert {answer.detail for answer in live.answers} == {""}
    assert any(line.startswith("h3.example.test. ") for line in named.lines(FORWARD))
    await live.client.close()


async def test_without_a_next_key_the_zone_waits_until_the_key_file_is_changed(named: Named, tmp_path: Path) -> None:
    old = tmp_path / "old.key"
    write_key(old)
    live = await live_with(tmp_path, named.port, f'key-file = "{old}"')
    only_other_key(named)
    live.change(lease(10, 1))
    await live.until(lambda: any(answer.rcode == "BADKEY" for answer in live.answers))
    assert "ddns-zone-held" in live.notes
    write_key(old, "other-key")
    live.planner.repairs.retry(live.planner.rows_list(), live.now())
    await live.settle(20)
    assert any(line.startswith("h1.example.test. ") for line in named.lines(FORWARD))
    await live.client.close()


async def test_a_weak_algorithm_is_refused_with_its_place_unless_allowed(named: Named, tmp_path: Path) -> None:
    weak = key_text("ddns-key").replace("hmac-sha256", "hmac-md5")
    named.stop()
    named.config.write_text(named.config.read_text().replace(key_text("ddns-key"), weak))
    named.start()
    key = tmp_path / "weak.key"
    key.write_text(f"// old\n/* of two\n lines */\n{weak}")
    key.chmod(0o640)

    text = config_text(named.port, f'key-file = "{key}"')
    errors, _ = key_problems(parse_text(text, "f.toml"), "f.toml")
    first = next(number for number, line in enumerate(text.splitlines(), 1) if line.startswith("key-file"))
    assert str(errors[0]) == (
        f"f.toml:{first}: ddns.zone[0].key-file: {key}:4: key ddns-key uses hmac-md5, which is too weak; make one with tsig-keygen "
        "-a hmac-sha256 ddns-key, or write allow-weak = true into its [[ddns.zone]]"
    )
    refused = await live_with(tmp_path, named.port, f'key-file = "{key}"')
    refused.change(lease(10, 1))
    await refused.until(lambda: any("too weak" in answer.detail for answer in refused.answers))
    await refused.client.close()
    assert not any(SECRETS["ddns-key"] in answer.detail for answer in refused.answers)

    live = await live_with(tmp_path, named.port, f'key-file = "{key}"\nallow-weak = true')
    assert live.client.check() == []
    live.change(lease(10, 1))
    await live.settle()
    assert any(line.startswith("h1.example.test. ") for line in named.lines(FORWARD))
    assert "done" in transfer(live)
    await live.client.close()
