"""The socket: who owns the path, whose credentials count; and the metrics' listener."""

from __future__ import annotations

import asyncio
import grp
import json
import os
import pwd
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from failoverd.notes import CATALOGUE
from failoverd.shell import access
from failoverd.shell.api import start_api
from tests.api.conftest import Start
from tests.api.fake_daemon import Config, FakeLoop, FakeStore

CHILD = """
import http.client, os, socket, sys
path, uid, gid, groups, method, where = sys.argv[1:]
os.setgroups([int(each) for each in groups.split(",") if each]); os.setgid(int(gid)); os.setuid(int(uid))
connection = http.client.HTTPConnection("localhost")
connection.sock = socket.socket(socket.AF_UNIX); connection.sock.connect(path)
connection.request(method, where, "{}" if method == "POST" else None)
answer = connection.getresponse()
print(answer.status); print(answer.read().decode())
"""
DOWN = "/v1/relationships/office/partner-down"


async def as_user(path: str, method: str, where: str, uid: int, gid: int, groups: str = "") -> tuple[int, dict[str, object]]:
    """What another user is told: (HTTP status, JSON)."""
    arguments = [sys.executable, "-c", CHILD, path, str(uid), str(gid), groups, method, where]
    child = await asyncio.create_subprocess_exec(*arguments, stdout=subprocess.PIPE)
    out, _ = await child.communicate()
    status, body = out.decode().split("\n", 1)
    return int(status), json.loads(body)


@pytest.mark.root
async def test_safety_27_a_reader_may_look_and_not_change(start: Start) -> None:
    running = await start()
    nobody = pwd.getpwnam("nobody")
    status, _ = await as_user(running.config.socket, "GET", "/v1/status", nobody.pw_uid, nobody.pw_gid)
    assert status == 200
    for where in (DOWN, "/v1/relationships/office/pair-init", "/v1/relationships/office/serve-force", "/v1/backup"):
        status, answer = await as_user(running.config.socket, "POST", where, nobody.pw_uid, nobody.pw_gid)
        assert (status, answer["error"]) == (
            403,
            {
                "code": "denied",
                "message": "nobody is not among the operators of this server ([api] operators in its configuration)",
            },
        )
    assert running.loop.changes() == []
    assert running.loop.notes[0] == ("api-denied", "", f"nobody: POST {DOWN}")


@pytest.mark.root
async def test_safety_27_without_a_star_others_may_not_even_look(start: Start) -> None:
    running = await start(readers=["daemon"])
    nobody, daemon = pwd.getpwnam("nobody"), pwd.getpwnam("daemon")
    assert (await as_user(running.config.socket, "GET", "/v1/status", nobody.pw_uid, nobody.pw_gid))[0] == 403
    assert (await as_user(running.config.socket, "GET", "/v1/status", daemon.pw_uid, daemon.pw_gid))[0] == 200
    assert (await running.ask("GET", "/v1/status"))[0] == 200, "operators may always look"


@pytest.mark.root
async def test_safety_27_a_group_may_change_by_primary_and_by_supplementary_membership(start: Start) -> None:
    running = await start(operators=["@games", "@no-such-group", "no-such-user"])
    games = grp.getgrnam("games").gr_gid
    uid = 54321
    for gid, groups, want in ((games, "", 200), (uid, f"7,{games}", 200), (uid, "7", 403), (uid, "", 403)):
        status, answer = await as_user(running.config.socket, "POST", DOWN, uid, gid, groups)
        assert status == want, (gid, groups, answer)
    assert running.loop.changes()[0][2] == f"uid {uid}"
    status, answer = await running.ask("POST", DOWN, {})
    assert status == 403, "root is an operator only when it is named"


def test_names_fit_by_user_id() -> None:
    root = access.Peer(0, frozenset({0}))
    assert access.identify(root) == "root"
    assert access.may(root, ["root"])
    assert access.may(root, ["*"])
    assert not access.may(root, [])
    assert not access.may(root, ["nobody", "@no-such-group", "no-such-user", "0"])


async def test_the_socket_of_a_dead_daemon_is_replaced_and_ours_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    api = await start_api(Config(str(path)), FakeLoop(), FakeStore())
    assert path.stat().st_mode & 0o777 == 0o666
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
        assert (await session.get("http://localhost/v1/status")).status == 200
    await api.stop()
    assert not path.exists()


async def test_a_living_daemons_socket_is_left_alone(start: Start) -> None:
    running = await start()
    with pytest.raises(OSError, match=r"api\.sock: another process is listening there"):
        await start_api(running.config, FakeLoop(), FakeStore())
    assert (await running.ask("GET", "/v1/status"))[0] == 200


async def test_a_successors_socket_is_not_removed_at_our_end(start: Start) -> None:
    running = await start()
    os.unlink(running.config.socket)
    with socket.socket(socket.AF_UNIX) as successor:
        successor.bind(running.config.socket)
        await running.api.stop()
        assert Path(running.config.socket).name in os.listdir(Path(running.config.socket).parent)


async def test_a_file_in_the_way_and_a_path_too_long_are_named(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    path.write_text("precious")
    with pytest.raises(OSError, match=r"cannot listen on .*api\.sock: the file exists and is no socket"):
        await start_api(Config(str(path)), FakeLoop(), FakeStore())
    assert path.read_text() == "precious"
    with pytest.raises(OSError, match="AF_UNIX path too long"):
        await start_api(Config(str(tmp_path / ("x" * 120))), FakeLoop(), FakeStore())


@pytest.mark.parametrize("where", ["0.0.0.0:9767", "192.0.2.1:9767", "127.0.0.1", "127.0.0.1:99999", "localhost:9767", "[::]:9767"])
async def test_safety_27_metrics_listen_on_a_loopback_address_only(tmp_path: Path, where: str) -> None:
    path = tmp_path / "api.sock"
    with pytest.raises(OSError, match="is not a loopback address and a port"):
        await start_api(Config(str(path), metrics=where), FakeLoop(), FakeStore())
    assert not path.exists()


async def test_a_metrics_address_in_use_is_named_and_leaves_no_socket(tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=f"metrics cannot listen on {where}"):
            await start_api(Config(str(path), metrics=where), FakeLoop(), FakeStore())
    assert not path.exists()


async def test_metrics_are_text_that_parses_and_say_what_status_says(start: Start) -> None:
    running = await start(metrics="127.0.0.1:0")
    running.loop.note_counts["partner-holds-all-free"] = 4
    assert running.api.metrics_address is not None
    host, port = running.api.metrics_address
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://{host}:{port}/metrics") as answer:
            assert answer.status == 200
            assert answer.content_type == "text/plain"
            text = await answer.text()
        async with session.post(f"http://{host}:{port}/v1/relationships/office/pair-init") as answer:
            assert answer.status == 404, "the metrics listener serves metrics and nothing else"
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }

    def value(name: str, /, **labels: str) -> float:
        return samples["failoverd_" + name, tuple(sorted(labels.items()))]

    assert value("relationship_state", relationship="office", state="communications-interrupted") == 1
    assert value("relationship_state", relationship="office", state="normal") == 0
    assert sum(number for (name, _), number in samples.items() if name == "failoverd_relationship_state") == 1
    assert value("partner_state", relationship="office", state="normal") == 1
    assert value("last_contact_seconds", relationship="office") == 845.5
    assert value("clock_skew_seconds", relationship="office") == 0.04
    assert value("updates_unacked", relationship="office") == 3
    assert value("pool_addresses", pool="10.10.0.0/22", network="10.10.0.0/22", relationship="office", state="free") == 204
    assert value("pool_addresses", pool="10.30.0.0/24", network="10.30.0.0/24", relationship="", state="active") == 611
    assert value("ddns_queue_length", target="main", zone="10.10.in-addr.arpa.") == 41
    assert value("ddns_zone_state", target="main", zone="10.10.in-addr.arpa.", state="held") == 1
    assert value("notes_total", name="partner-holds-all-free") == 4
    assert value("notes_total", name="api-denied") == 0, "a counter exists before its first event"
    assert {dict(labels)["name"] for (name, labels) in samples if name == "failoverd_notes_total"} >= set(CATALOGUE)
    assert value("commit_seconds_count") == 4
    assert value("commit_seconds_sum") == 0.02
    assert value("commit_longest_seconds") == 0.011
    assert any(name == "process_resident_memory_bytes" for name, _ in samples)


async def test_a_skew_that_is_unknown_and_a_partner_never_heard_have_no_series(start: Start) -> None:
    running = await start(metrics="127.0.0.1:0")
    office = running.loop.bodies["status"]["relationships"][0]
    office.update(skew_s=None, last_heard=0, state="a-state-to-come")
    assert running.api.metrics_address is not None
    host, port = running.api.metrics_address
    async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{port}/metrics") as answer:
        text = await answer.text()
    assert "failoverd_clock_skew_seconds{" not in text
    assert "failoverd_last_contact_seconds{" not in text
    assert 'failoverd_relationship_state{relationship="office",state="a-state-to-come"} 1.0' in text
