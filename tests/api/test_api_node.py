"""The real node answers in the shapes of schema/api.json, through the real API."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from failoverd.config import load
from failoverd.leases.lease import BindingState, Lease
from failoverd.node import Node
from failoverd.ports import Command, Now, Output, Reply, Stored
from failoverd.shell import api_ddns_models
from failoverd.shell.api import start_api
from failoverd.shell.api_models import ANSWERS, Failure
from failoverd.shell.loop import Counts
from tests.api.fake_daemon import ME, WALL, Config, FakeCapture, FakeStore

SAMPLE = Path(__file__).resolve().parents[2] / "samples" / "pair.toml"
ADDRESS = 10 << 24 | 10 << 16 | 120
HW = bytes.fromhex("01020000000077")


@dataclass
class NodeLoop:
    """Steps a node at once; what it sends goes nowhere."""

    node: Node
    note_counts: Counter[str] = field(default_factory=Counter)
    counts: Counts = field(default_factory=Counts)
    wall: float = WALL
    written: Output = field(default_factory=Output)

    async def command(self, verb: str, args: Mapping[str, str], who: str, why: str) -> Reply:
        self.wall += 1
        out = self.node.step([Command(1, verb, args, who, why)], Now(self.wall, self.wall - WALL))
        self.written.writes += out.writes
        replies = [send for send in [*out.at_once, *out.after_commit] if isinstance(send, Reply)]
        assert len(replies) == 1
        return replies[0]

    def note(self, name: str, subject: str = "", detail: str = "", address: int = 0) -> None:
        self.note_counts[name] += 1


def booted() -> NodeLoop:
    """dhcp1 of the sample with one lease, started without its partner."""
    lease = Lease(ADDRESS, BindingState.ACTIVE, hw=HW, starts=int(WALL) - 60, ends=int(WALL) + 3600, hostname="ws17")
    lease.fqdn, lease.owed = "ws17.dyn.example.test.", True
    node = Node(load(str(SAMPLE)), "dhcp1", Stored(leases=[lease.to_json()]), Now(WALL, 0.0), random.Random(1))
    node.boot(Now(WALL, 0.0))
    return NodeLoop(node)


async def test_every_answer_of_the_node_follows_the_schema(tmp_path: Path) -> None:
    config = Config(str(tmp_path / "api.sock"), metrics="127.0.0.1:0")
    loop = booted()
    api = await start_api(config, loop, FakeStore(), capture=FakeCapture())
    try:
        async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(config.socket)) as session:
            for path, model in ANSWERS.items():
                if path in api_ddns_models.ANSWERS:  # test_api_ddns.py
                    continue
                method, where = path.split(" ")
                where = where.replace("{address}", "10.10.0.120").replace("{name}", "office")
                query = "?name=ws17.dyn.example.test" if where.endswith(("explain", "where")) else ""
                body = {"path": str(tmp_path / "copy.db")} if where.endswith("backup") else {}
                async with session.request(
                    method, f"http://localhost{where}{query}", json=body if method == "POST" else None
                ) as got:
                    answer = await got.json()
                    (model if got.status == 200 else Failure).model_validate(answer)
                    assert got.status in ((200,) if method == "GET" or where.endswith(("down", "backup")) else (200, 409)), (
                        path,
                        answer,
                    )
        assert api.metrics_address is not None
        host, port = api.metrics_address
        async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{port}/metrics") as got:
            assert got.status == 200
            assert 'failoverd_relationship_state{relationship="office",state="partner-down"} 1.0' in await got.text()
    finally:
        await api.stop()
    kept = [write.record for write in loop.written.writes if write.kind == "event" and write.record is not None]
    assert any(f'"who": "{ME}"' in record and "partner-down" in record for record in kept), "safety.md 27: who, when, why"


@pytest.mark.parametrize("verb", ["status", "ddns-status"])
async def test_the_nodes_words_are_plain_json(verb: str) -> None:
    import json

    reply = await booted().command(verb, {}, "", "")
    assert json.loads(json.dumps(reply.body, allow_nan=False)) == reply.body
