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
