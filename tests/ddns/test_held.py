"""A zone that its master cannot write, seen with a Knot whose journal had no place: every change SERVFAIL, every question answered."""

from __future__ import annotations

from failoverd.ports import DnsAnswer, DnsQuery, DnsUpdate
from tests.ddns.rig import FORWARD, Rig, lease


def test_answers_to_questions_and_prerequisites_do_not_release_a_zone_that_cannot_be_written() -> None:
    rig = Rig()

    def answer(message: DnsUpdate | DnsQuery) -> DnsAnswer:
        """Nothing is there, so what needs nothing there would be written, and everything else fails in its prerequisites."""
        writes = isinstance(message, DnsUpdate) and all(each.op in ("nxdomain", "nxrrset") for each in message.prereqs)
        return DnsAnswer(message.ident, "SERVFAIL", "model") if writes else rig.master.answer(message)

    rig.answer = answer
    for host in range(10, 20):
        rig.change(lease(host, host, f"h{host}.{FORWARD}"))
    rig.pass_time(600)
    assert len(rig.sent) < 120, "one at a time, once a minute at the most"
    assert rig.notes.count("ddns-zone-released") == 0
    rig.answer = rig.master.answer
    rig.pass_time(120)
    assert len(rig.zone()) == 20
    assert rig.notes.count("ddns-zone-released") == 1


def test_status_counts_what_failed_since_the_zone_last_took_anything() -> None:
    rig = Rig()

    def failures() -> list[int]:
        return [zone["failures"] for zone in rig.planner.status(rig.now)["zones"]]  # type: ignore[attr-defined]

    rig.change(lease(10, 1))
    rig.due()
    rig.say("TIMEOUT")
    assert failures() == [1, 0]
    rig.due()
    rig.say("SERVFAIL")
    assert failures() == [2, 0]
    rig.pass_time(90)
    assert failures() == [0, 0]
    assert "h1.example.test. A 192.0.2.10" in rig.zone()
