"""The law of the loop: what waits, waits; what a hung or broken disk and a pause mean (safety.md 1, 3, 4, 5, 7)."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from failoverd.ports import (
    ClientDatagram,
    ClientSend,
    ConnectFailed,
    DiskState,
    DnsAnswer,
    DnsUpdate,
    Input,
    InterfaceAddresses,
    LinkBytes,
    LinkDown,
    LinkSend,
    LinkUp,
    Now,
    Output,
    Probe,
    ProbeAnswer,
    Stopping,
)
from failoverd.shell import loop as loop_module
from failoverd.shell.ending import EXIT_BUG, EXIT_HUNG, EXIT_STORE
from failoverd.shell.store import StoreBroken
from tests.shell.world import EchoNode, Ended, World, jitter


async def test_an_offer_leaves_at_once_and_an_ack_after_its_commit() -> None:
    world = World()
    world.loop.start(Output())
    world.hear(b"ack 1", b"offer 2")
    assert world.sent() == [b"offer 2"]
    await world.quiet()
    assert world.sent() == [b"offer 2", b"ack 1"]
    assert [kind for kind, _ in world.trace.events] == ["send", "begin", "done", "send"]
    world.shut()


async def test_without_writes_and_nothing_ahead_a_send_leaves_at_once() -> None:
    world = World()
    world.loop.start(Output())
    world.hear(b"nak 1")
    assert world.sent() == [b"nak 1"]
    world.shut()


async def test_safety_01_a_send_without_writes_waits_for_the_commits_before_it() -> None:
    world = World()
    world.store.hang = asyncio.Event()
    world.loop.start(Output())
    world.hear(b"ack 1")
    await asyncio.sleep(0.01)
    world.hear(b"nak 2")
    world.hear(b"ack 3")
    world.hear(b"nak 4")
    await asyncio.sleep(0.01)
    assert world.sent() == []
    world.store.hang.set()
    await world.quiet()
    assert world.sent() == [b"ack 1", b"nak 2", b"ack 3", b"nak 4"]
    assert world.store.batches == [1, 1]
    world.shut()


async def test_the_next_batch_is_stepped_while_one_commit_is_in_flight() -> None:
    world = World()
    world.store.hang = asyncio.Event()
    world.loop.start(Output())
    world.hear(b"ack 0")
    await asyncio.sleep(0.01)
    for number in range(1, 40):
        world.hear(b"ack %d" % number, b"offer %d" % number)
    assert world.sent() == [b"offer %d" % number for number in range(1, 40)]
    assert world.trace.of("begin") == [[1]]
    world.store.hang.set()
    await world.quiet()
    assert world.store.batches == [1, 39]
    assert world.sent()[39:] == [b"ack %d" % number for number in range(40)]
    assert world.node.ages[1] > 0
    world.shut()


def law(world: World, promises: dict[int, int]) -> None:
    """Every send that waits comes after the commit of its own step's writes and of all steps' before it, and in order of steps."""
    done = 0
    last = -1
    for kind, value in world.trace.events:
        if kind == "done":
            assert isinstance(value, list)
            done = max(done, *value)
        elif kind == "send" and isinstance(value, ClientSend) and value.data.startswith(b"wait "):
            number = int(value.data[5:])
            assert promises[number] <= done, f"send {number} left before write {promises[number]}"
            assert number > last, f"send {number} after send {last}"
            last = number
    assert world.store.batches == [len(batch) for batch in world.trace.of("done")]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), steps=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2), st.booleans()), max_size=60))
def test_safety_01_sends_wait_for_their_commit_and_all_before(seed: int, steps: list[tuple[int, int, bool]]) -> None:
    promises: dict[int, int] = {}
    plan = iter(steps)
    numbers = iter(range(10_000))

    def script(node: EchoNode, item: Input, output: Output, now: Now) -> None:
        if not isinstance(item, ClientDatagram):
            return
        writes, sends, at_once = next(plan)
        for _ in range(writes):
            node.write(output)
        for _ in range(sends):
            number = next(numbers)
            promises[number] = node.serial
            output.after_commit.append(ClientSend("eth0", 1, 2, 68, b"wait %d" % number))
        if at_once:
            output.at_once.append(ClientSend("eth0", 1, 2, 68, b"now"))

    async def run() -> World:
        world = World(EchoNode(script), store_delays=jitter(seed, 0.002))
        rng = random.Random(seed)
        world.loop.start(Output())
        left = len(steps)
        while left:
            count = min(left, rng.randint(1, 5))
            world.hear(*[b"x"] * count)
            left -= count
            await asyncio.sleep(rng.choice((0.0, 0.0, 0.001)))
        await world.quiet()
        await asyncio.sleep(0)
        world.shut()
        return world

    world = asyncio.run(run())
    law(world, promises)
    assert len([s for s in world.trace.of("send") if isinstance(s, ClientSend) and s.data.startswith(b"wait ")]) == len(promises)
    assert [int.from_bytes(write.key, "big") for write in world.store.committed] == list(range(1, world.node.serial + 1))


async def test_the_law_has_teeth() -> None:
    """The checker of the property fails on a loop that sends first."""
    world = World()
    world.trace.add("send", ClientSend("eth0", 1, 2, 68, b"wait 0"))
    world.trace.add("done", [1])
    with pytest.raises(AssertionError, match="left before"):
        law(world, {0: 1})


async def test_partner_bytes_wait_like_acks() -> None:
    world = World()
    world.store.hang = asyncio.Event()
    world.loop.start(Output())
    world.loop.deliver(LinkUp("office", 1, True), LinkBytes("office", 1, b"BNDUPD"))
    await asyncio.sleep(0.01)
    assert world.sent() == []
    world.store.hang.set()
    await world.quiet()
    assert world.sent() == [b"BNDUPD"]
    world.shut()


# --- a broken disk ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [StoreBroken("disk full"), OSError(5, "Input/output error"), ValueError("a bug")])
async def test_safety_03_a_failed_commit_ends_the_process_and_sends_nothing(error: Exception) -> None:
    world = World()
    world.store.broken = error
    world.store.hang = asyncio.Event()
    world.loop.start(Output())
    assert world.loop._keeper is not None
    world.loop._keeper.remove_done_callback(world.loop._kept)
    world.hear(b"ack 1")
    await asyncio.sleep(0.01)
    world.hear(b"ack 2")
    world.store.hang.set()
    with pytest.raises(Ended):
        await world.loop._keeper
    assert world.ended[0][0] == EXIT_STORE
    assert "a commit failed" in world.ended[0][1]
    assert world.sent() == []
    assert world.trace.of("begin") == [[1]]
    world.shut()


async def test_a_mistake_in_the_node_ends_the_process() -> None:
    def script(node: EchoNode, item: Input, output: Output, now: Now) -> None:
        raise KeyError("a mistake")

    world = World(EchoNode(script))
    world.loop.start(Output())
    with pytest.raises(Ended):
        world.hear(b"ack 1")
    assert world.ended[0][0] == EXIT_BUG
    assert "KeyError" in world.ended[0][1]
    world.shut()


# --- a hung disk ------------------------------------------------------------------------------------------------------


async def test_safety_04_a_hung_commit_looks_like_a_dead_server() -> None:
    world = World(delays={"office": 0.3, "branch": 60.0})
    world.store.hang = asyncio.Event()
    world.loop.start(Output())
    world.hear(b"ack 1")
    await asyncio.sleep(0.45)
    downs = [item for item in world.node.stepped if isinstance(item, LinkDown)]
    assert [(down.relationship, down.link) for down in downs] == [("office", 1)]
    assert downs[0].reason.startswith("beat-gap")
    assert world.partners.refused == [("office", True)]
    assert world.book.counts["commit-hung"] == 1
    world.hear(b"offer 2")
    assert world.node.ages[-1] > 0.3
    world.store.hang.set()
    await world.quiet()
    assert world.partners.refused == [("office", True), ("office", False)]
    world.shut()


async def test_a_disk_that_is_behind_pushes_back_on_clients_and_then_on_partners() -> None:
    world = World()
    world.store.hang = asyncio.Event()
    world.loop.start(Output())
    world.hear(b"ack")
    await asyncio.sleep(0.01)
    for _ in range(loop_module.MAX_PENDING_WRITES // 128):
        assert world.clients.paused == []
        world.hear(*[b"ack"] * 128)
    assert world.clients.paused == ["pause"]
    assert world.partners.paused == []
    for _ in range(loop_module.MAX_PENDING_PARTNER):
        world.loop.deliver(LinkBytes("office", 1, b"x"))
    await asyncio.sleep(0.01)
    assert world.partners.paused == ["pause"]
    world.store.hang.set()
    await world.quiet()
    assert world.clients.paused == ["pause", "resume"]
    assert world.partners.paused == ["pause", "resume"]
    world.shut()


async def test_an_answer_older_than_5_s_is_not_sent() -> None:
    world = World(delays={"office": 60.0})
    world.store.hang = asyncio.Event()
    world.loop.start(Output())
    world.hear(b"ack 1")
    await asyncio.sleep(0.01)
    world.clock.sleep(6)
    world.hear(b"ack 2")
    world.store.hang.set()
    await world.quiet()
    assert world.sent() == [b"ack 2"]
    assert world.book.counts["answer-old"] == 1
    world.shut()


# --- a pause ----------------------------------------------------------------------------------------------------------


def _paused_world() -> World:
    world = World(delays={"office": 30.0, "branch": 60.0})
    world.loop.start(Output())
    return world


@pytest.mark.parametrize(
    ("wall", "mono"), [(40.0, 40.0), (40.0, 0.0), (0.0, 40.0)], ids=["suspended", "wall stepped", "wall left behind"]
)
async def test_safety_05_a_pause_cuts_links_before_any_buffered_byte_is_stepped(wall: float, mono: float) -> None:
    world = _paused_world()
    await asyncio.sleep(0)
    world.clock.wall += wall
    world.clock.mono += mono
    world.loop.deliver(LinkBytes("office", 1, b"stale"), LinkBytes("branch", 2, b"kept"), ConnectFailed("branch", "x"))
    world.loop.hear([world.datagram(b"ack 1")])
    await world.quiet()
    assert LinkBytes("office", 1, b"stale") not in world.node.stepped
    assert not any(isinstance(item, ClientDatagram) for item in world.node.stepped)
    downs = [item for item in world.node.stepped if isinstance(item, LinkDown)]
    assert [(down.relationship, down.link) for down in downs] == [("office", 1)]
    assert downs[0].reason.startswith("beat-gap")
    assert LinkBytes("branch", 2, b"kept") in world.node.stepped
    assert world.clients.discards == 1
    assert world.book.counts["beat-gap"] == 1
    world.hear(b"ack 2")
    await world.quiet()
    assert world.sent()[-1] == b"ack 2"
    world.shut()


async def test_safety_05_the_node_is_told_of_a_pause_without_a_link() -> None:
    world = _paused_world()
    world.partners.links = {}
    world.clock.sleep(100)
    world.loop._tick()
    downs = [item for item in world.node.stepped if isinstance(item, LinkDown)]
    assert sorted((down.relationship, down.link) for down in downs) == [("branch", 0), ("office", 0)]
    world.shut()


async def test_a_link_that_came_up_just_before_a_pause_is_told_up_and_down() -> None:
    world = _paused_world()
    world.partners.links = {"office": [7]}
    world.clock.sleep(40)
    world.loop.deliver(LinkUp("office", 7, False), LinkBytes("office", 7, b"CONNECT"))
    await asyncio.sleep(0.01)
    kinds = [type(item) for item in world.node.stepped]
    assert kinds == [LinkUp, LinkDown]
    world.shut()


async def test_safety_05_a_pause_during_a_commit_is_seen_before_its_sends() -> None:
    world = _paused_world()
    world.store.hang = asyncio.Event()
    update = DnsUpdate(9, "main", "example.", (), ())

    def script(node: EchoNode, item: Input, output: Output, now: Now) -> None:
        if isinstance(item, ClientDatagram):
            node.write(output)
            output.after_commit += [ClientSend("eth0", 1, 2, 68, item.data, mono=item.mono), update]

    world.node.script = script
    world.hear(b"ack 1")
    await asyncio.sleep(0.01)
    world.clock.sleep(40)
    world.store.hang.set()
    await world.quiet()
    await asyncio.sleep(0.01)
    assert world.sent() == []
    assert world.book.counts["answer-old"] == 1
    assert world.book.counts["dns-withheld"] == 1
    assert [item for item in world.node.stepped if isinstance(item, DnsAnswer)] == [
        DnsAnswer(9, "TIMEOUT", "", "not sent: this process was away")
    ]
    world.shut()


async def test_a_short_pause_and_a_step_back_of_the_wall_clock_cut_nothing() -> None:
    world = _paused_world()
    world.clock.sleep(20)
    world.hear(b"offer 1")
    world.clock.wall -= 1000
    world.hear(b"offer 2")
    assert world.sent() == [b"offer 1", b"offer 2"]
    assert world.book.counts["beat-gap"] == 0
    world.shut()


async def test_old_datagrams_are_dropped_without_a_pause_too() -> None:
    world = _paused_world()
    world.loop.hear([world.datagram(b"offer old", age_s=5.5), world.datagram(b"offer new", age_s=4.5)])
    assert world.sent() == [b"offer new"]
    assert world.book.counts["datagram-old"] == 1
    world.shut()


# --- the rest ---------------------------------------------------------------------------------------------------------


async def test_the_node_is_stepped_at_its_deadline() -> None:
    world = World()
    world.loop.start(Output())
    world.node.due = world.clock.read().mono + 0.05
    world.hear(b"offer")  # any beat reads the deadline anew
    steps = len(world.node.ages)
    await asyncio.sleep(0.03)
    assert len(world.node.ages) == steps
    await asyncio.sleep(0.04)
    assert len(world.node.ages) == steps + 1
    world.shut()


async def test_who_has_answered_a_ping_is_heard_before_a_deadline_may_call_it_silent() -> None:
    """The timer may run before the reader of the socket, after a busy moment."""
    world = World()
    boot = Output(at_once=[Probe(7)])
    world.loop.start(boot)
    assert world.hosts.asked == [7]
    world.hosts.answers = [ProbeAnswer(7, True, 1.0)]
    world.node.due = world.clock.read().mono
    world.hear()
    assert world.node.stepped == [ProbeAnswer(7, True, 1.0)]
    assert len(world.node.ages) == 1
    world.shut()


async def test_a_deadline_that_never_moves_does_not_spin() -> None:
    world = World()
    steps = 0

    class Stuck(EchoNode):
        def step(self, inputs: object, now: Now, commit_age_s: float = 0.0) -> Output:
            nonlocal steps
            steps += 1
            return Output()

        def deadline(self, now: Now) -> float:
            return now.mono - 1

    world.loop.node = Stuck()
    world.loop.start(Output())
    await asyncio.sleep(0.1)
    assert 5 < steps <= 110
    world.shut()


async def test_a_command_is_answered_after_its_commit() -> None:
    world = World()
    world.store.hang = asyncio.Event()
    world.loop.start(Output())
    task = asyncio.create_task(world.loop.command("pair-init", {"relationship": "office"}, "root", "test"))
    await asyncio.sleep(0.01)
    assert not task.done()
    world.store.hang.set()
    reply = await task
    assert (reply.code, reply.body) == ("ok", {"verb": "pair-init"})
    world.shut()


async def test_folding_waits_until_the_loop_is_idle() -> None:
    world = World(delays={"office": 0.6})
    world.loop.start(Output())
    world.hear(*[b"ack"] * 100)
    await world.quiet()
    assert world.store.backlog == 100
    await asyncio.sleep(0.35)
    assert world.store.backlog == 0
    world.shut()


async def test_the_marker_is_written_every_10_s() -> None:
    world = World(delays={"office": 300.0})
    world.loop.start(Output())
    for _ in range(3):
        world.clock.sleep(11)
        world.loop._tick()
        await asyncio.sleep(0.01)
    assert world.store.markers == 3
    world.shut()


async def test_safety_07_low_water_is_told_to_the_node() -> None:
    world = World()
    world.loop.start(Output())
    for low in (True, False):
        world.store.low = low
        world.loop._tick()
        await asyncio.sleep(0)
    assert [item for item in world.node.stepped if isinstance(item, DiskState)] == [DiskState(True), DiskState(False)]
    world.shut()


async def test_stop_commits_and_sends_what_is_owed_and_steps_nothing_more() -> None:
    world = World(store_delays=lambda: 0.02)
    world.loop.start(Output())
    world.hear(b"ack 1")
    await asyncio.sleep(0.005)
    world.hear(b"ack 2")
    await world.loop.stop()
    assert world.sent() == [b"ack 1", b"ack 2", b"last"]
    assert isinstance(world.node.stepped[-1], Stopping)
    world.loop.deliver(InterfaceAddresses("eth0", ()))
    world.hear(b"ack 3")
    await asyncio.sleep(0.01)
    assert isinstance(world.node.stepped[-1], Stopping)
    assert (await world.loop.command("status", {}, "root", "")).code == "failed"


async def test_stop_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_module, "STOP_S", 0.05)
    world = World()
    world.store.hang = asyncio.Event()
    world.loop.start(Output())
    world.hear(b"ack 1")
    with pytest.raises(Ended):
        await world.loop.stop()
    assert world.ended[0][0] == EXIT_HUNG
    assert world.sent() == []
    world.shut()


async def test_the_boot_output_waits_for_its_commit() -> None:
    world = World()
    boot = Output()
    world.node.write(boot)
    boot.after_commit.append(LinkSend("office", 1, b"STATE"))
    world.loop.start(boot)
    assert world.sent() == []
    await world.quiet()
    assert world.sent() == [b"STATE"]
    world.shut()


def test_the_loop_keeps_no_lock_and_no_task_per_packet() -> None:
    source = Path(loop_module.__file__).read_text()
    assert "Lock(" not in source
    assert source.count("create_task(") == 1
