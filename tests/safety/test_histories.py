"""Histories that broke a safety rule once: who did what when, and what must not follow. Each is named after the bug.

Found by reading the code as an adversary and by throwing octets at a node; `p` is the primary, `s` the secondary.
"""

from __future__ import annotations

import pytest

from failoverd.failover.message import Framer, MessageType
from failoverd.leases.lease import BindingState
from failoverd.ports import Now
from tests.pair.duo import lease_s, normal


def kinds(data: bytes) -> list[int]:
    """The types of the messages in these bytes."""
    return [message.kind for message in Framer().feed(data)]


# --- nothing that comes in may end the daemon --------------------------------------------------------------------------------


@pytest.mark.parametrize("since", ["9" * 400, "0001-01-01T00:00:00+14:00", "²", "9999-12-31T23:59:59-14:00"])
def test_a_since_that_no_clock_can_show_is_a_wrong_use(since: str) -> None:
    """`partner-down --since` with a number beyond every float, or a date before year 1 in UTC, raised OverflowError out of the step."""
    duo = normal()
    duo.crash("s")
    duo.settle()
    assert duo.command("p", "partner-down", since=since).code == "usage"
    assert duo.state("p") == "communications-interrupted"


@pytest.mark.parametrize("limit", ["²", "9" * 5000, "-1", ""])
def test_a_limit_that_is_no_number_is_the_default(limit: str) -> None:
    """`str.isdigit` takes a superscript for a digit, `int` does not."""
    assert normal().command("p", "lease-list", limit=limit).code == "ok"


# --- two holders of one address ----------------------------------------------------------------------------------------------


def test_a_rebinding_that_both_answered_keeps_the_longer_promise() -> None:
    """0 s: p leases x for 600 s, s takes it, its BNDACK is lost with the link. 40 s: the client rebinds by broadcast, both answer in one
    second: p, which was never acked, 600 s; s 3600 s, and the client takes that. Contact: both updates tie and the primary's wins
    (6.4). 640 s: p expired x, s agreed, and x was free for others while the client held it until 3640 s."""
    duo = normal(mclt="10m")
    duo.hold_bytes = lambda sender, data: sender == "s" and kinds(data)[0] == MessageType.BNDACK
    ack = duo.dora("p", 1)
    assert ack is not None
    x = ack.yiaddr
    duo.settle()
    duo.cut()
    duo.hold_bytes = lambda sender, data: False
    duo.run(40)
    duo.now = Now(float(int(duo.now.wall)), duo.now.mono)
    rebinding = duo.packet(3, 1, ciaddr=x)
    answers = {name: duo.say(name, rebinding) for name in ("p", "s")}
    given = {name: lease_s(answer) for name, answer in answers.items() if answer is not None}
    assert given == {"p": 600, "s": 3600}
    held_until = int(duo.now.wall) + 3600
    duo.heal()
    duo.until(lambda: duo.states() == ("normal", "normal"))
    duo.run(10)
    for name in ("p", "s"):
        lease = duo.lease(name, x)
        assert (lease.state, lease.ends, lease.owed) == (BindingState.ACTIVE, held_until, False)
