"""Three in the morning, as the README tells it, with what is typed and what is read: two failoverd, real clients, a kill -9."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.decode.test_tshark import complaints, dissected
from tests.interop.pairs.wire import Capture
from tests.lab import ours
from tests.lab.lab import Lab
from tests.lab.ours import Failoverd, normal
from tests.lab.site import FIRST, Site, acknowledged
from tests.lab.wait import until

pytestmark = [pytest.mark.root, pytest.mark.tshark]
MCLT_S = 6


def typed(server: Failoverd, *words: str, timeout_s: float = 90) -> tuple[int, str, str]:
    """What an operator types on a server: exit code, stdout, stderr."""
    args = server.host.exec_args([server.program("failoverctl"), "--socket", str(server.socket), *words])
    done = subprocess.run(args, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL, check=False)
    return done.returncode, done.stdout, done.stderr


def leased(site: Site, name: str, servers: tuple[str, ...]) -> set[str]:
    load = site.load(name, 10, 50, servers=servers)
    until(f"the load {name} has ended", lambda: not load.alive(), 40)
    return {row.address for row in acknowledged(load)}


def test_three_in_the_morning() -> None:
    with Lab() as lab:
        site = Site.build(lab, 40)
        text = ours.config(lab.folder, site.pair(MCLT_S, 600), [site.scope], interfaces=["eth0"])
        first, second = Failoverd.make(site.dhcp1, text), Failoverd.make(site.dhcp2, text)
        capture = Capture(lab, site.dhcp1, "eth0", 647)
        for server in (first, second):
            server.start(new_pair=True)
        normal((first, second))
        code, out, _ = typed(first, "check")
        assert (code, out.split(" - ")[0]) == (0, "FAILOVERD OK"), out
        before = leased(site, "evening", (FIRST,))
        assert len(before) == 10

        second.kill()  # the phone rings
        until("the silence is noticed", lambda: first.state() == "communications-interrupted", 20)
        code, out, _ = typed(first, "check")
        assert (code, out.split(" - ")[0]) == (2, "FAILOVERD CRITICAL")
        assert "failoverctl partner-down office" in out.splitlines()[0]
        assert typed(second, "check")[0] == 2, "the dead one is critical as well"
        assert typed(first, "maintenance", "start", "office", "--yes")[0] == 3

        code, out, _ = typed(first, "partner-down", "office", "--dry-run")
        assert code == 0
        assert "DRY-WITHOUT" in out
        assert "partner-down from now on" in out
        assert first.state() == "communications-interrupted", "a preview changes nothing"
        code, out, errors = typed(first, "partner-down", "office", "--yes", "--wait", "--reason", "psu dead, ticket 4711")
        assert code == 0, errors
        assert "the partner's free addresses are this server's" in out
        assert typed(first, "check")[0] == 1, "alone, by an operator's statement"
        night = leased(site, "night 1", (FIRST,)) | leased(site, "night 2", (FIRST,))
        assert len(night) == 20, "10 of its own half were left: the other half is given out as well"
        assert not before & night

        second.start()  # it comes back by itself
        code, out, errors = typed(first, "wait", "office", "--for", "normal", "--timeout", "60s")
        assert code == 0, errors
        assert out.startswith("office: normal after ")
        code, out, _ = typed(first, "check")
        assert (code, out.count("behind the relay")) == (1, 1), (
            out
        )  # the relay of this site knows the first server only, and that is said
        assert out.startswith("FAILOVERD WARNING - 1 warnings; office normal/normal"), out
        assert set(second.leases()) >= before | night, "the one that was away has heard of every lease"

        code, out, _ = typed(first, "history", "office", "-o", "json")
        events = [(event["what"], event["who"], event["why"]) for event in json.loads(out)["events"]]
        story = [what for what, _, _ in events]
        assert ("communications-interrupted -> partner-down", "root", "psu dead, ticket 4711") in events
        wanted = ["normal -> communications-interrupted", "communications-interrupted -> partner-down", "partner-down -> normal"]
        assert [what for what in story if what in wanted] == wanted
        assert all(why for _, _, why in events)

        code, out, _ = typed(first, "maintenance", "start", "office", "--yes")  # and the planned end of it
        assert (code, "safe to stop this server" in out) == (0, True)
        assert first.stop() == 0
        assert second.state() == "communications-interrupted"
        assert typed(second, "check")[0] == 1, "announced: nobody is woken"
        first.start()
        assert typed(first, "maintenance", "end", "office", "--yes")[0] == 0
        assert typed(first, "wait", "office", "--timeout", "30s")[0] == 0
        capture.stop()
        judged(capture.file)


def judged(file: Path) -> None:
    """What went over the wire that night: nothing malformed for Wireshark, nothing odd for our own second opinion."""
    from failoverd.decode.capture import messages

    rows = dissected(file)
    assert len(rows) > 50
    assert complaints(rows) == []
    said = list(messages(str(file)))
    assert {"CONNECT", "BNDUPD", "BNDACK", "STATE", "UPDREQALL", "UPDDONE"} <= {message.type for message in said}
    odd = {name for message in said for name in message.anomalies} - {"message-cut-short"}  # of the one that was killed
    assert odd == set()
