"""What two failoverd tell each other on an authenticated link, with every version of the dialect, and that a plain link has none of it."""

from __future__ import annotations

import pytest

from failoverd.ddns import word
from failoverd.ddns.rows import FORWARD, ME, PEER, Row, row_key
from failoverd.failover import message as wire
from failoverd.failover import private
from failoverd.failover.message import Framer, Message, MessageType
from failoverd.failover.private import decode_names, option
from failoverd.leases.lease import BindingState
from failoverd.ports import ConnectFailed, DiskState, DnsAnswer, DnsUpdate, LinkBytes, LinkSecurity
from tests.pair.duo import WALL, Duo, kind, normal

HOST = "host1.dyn.example.test."


def spoken(duo: Duo, sender: str = "", of: MessageType | None = None) -> list[Message]:
    """Every message that crossed; of one kind, from one server."""
    found = [m for who, data in duo.wire if sender in ("", who) for m in Framer().feed(data)]
    return [m for m in found if of is None or m.kind == of]


def codes(duo: Duo, sender: str = "") -> set[int]:
    return {code for message in spoken(duo, sender) for code, _ in message.options if code > 29}


def row(duo: Duo, at: str, name: str = HOST) -> Row:
    found = duo.nodes[at].planner.row(row_key("main", FORWARD, name))
    assert found is not None
    return found


def master(duo: Duo, *at: str) -> list[str]:
    """Let a master say NOERROR to everything; what it was asked to change."""
    found = []
    for _ in range(12):
        for name in at:
            while duo.updates[name]:
                message = duo.updates[name].pop(0)
                if isinstance(message, DnsUpdate):
                    found += [f"{name} {c.op} {c.name} {c.rtype}" for c in message.changes if c.rtype != "DHCID"]
                duo.inbox[name].append(DnsAnswer(message.ident, "NOERROR", "test"))
        duo.tick(0.05)
    return found


def test_safety_26_a_plain_link_offers_says_and_believes_nothing() -> None:
    duo = normal()
    x = duo.given("p", 1)
    master(duo, "p")
    duo.run(30)
    assert codes(duo) == set()
    assert duo.lease("s", x).fqdn == ""
    assert duo.nodes["p"].endpoints["fo"].dialect == 0


def test_safety_26_what_a_plain_partner_says_all_the_same_is_not_believed() -> None:
    """A partner that is not authenticated offers the dialect and names: as good as absent."""
    duo = Duo()
    duo.until(lambda: duo.states() == ("normal", "normal"), 10)
    endpoint = duo.nodes["s"].endpoints["fo"]
    x = duo.given("p", 1)
    duo.settle()
    (update,) = [m for m in spoken(duo, "p", MessageType.BNDUPD) if m.u32(2) == x][-1:]
    update.options.append((private.NAMES, private.encode_names(private.LeaseNames("evil.dyn.example.test."))))
    update.options.append((private.GENERATION, private.encode_generation(1 << 60)))
    assert endpoint.link is not None
    endpoint.link_bytes(endpoint.link.number, wire.encode(update), duo.now)
    assert duo.lease("s", x).fqdn == ""
    assert endpoint.record.partner_generation == 0


def test_safety_26_no_link_without_tls_where_the_configuration_wants_it() -> None:
    duo = Duo(tls=True)
    duo.run(2)
    duo.crash("s")
    duo.tls = False
    duo.tick()
    duo.wire.clear()
    duo.start("s")
    duo.run(20)
    assert duo.noted("p", "partner-link-unauthenticated")
    assert duo.noted("s", "partner-link-unauthenticated")
    assert spoken(duo) == []


VERSIONS = [
    (4, 4, 4),
    (4, 3, 3),
    (3, 4, 3),
    (3, 3, 3),
    (3, 2, 2),
    (2, 3, 2),
    (2, 2, 2),
    (2, 1, 1),
    (1, 3, 1),
    (1, 1, 1),
    (3, 0, 0),
    (0, 3, 0),
    (4, 77, 4),
]


@pytest.mark.parametrize(("first", "second", "agreed"), VERSIONS)
def test_partners_of_different_versions_speak_the_newest_that_both_have(first: int, second: int, agreed: int) -> None:
    duo = normal(tls=True, dialects={"p": first, "s": second})
    assert [duo.nodes[name].endpoints["fo"].dialect for name in "ps"] == [agreed, agreed]
    ack = duo.dora("p", 1)
    back = duo.dora("s", 2)
    assert (kind(ack), kind(back)) == ("ack", "ack")
    assert ack is not None
    master(duo, "p", "s")
    duo.run(30)
    assert duo.states() == ("normal", "normal")
    assert not any(n.endpoints["fo"].updates.owed for n in duo.nodes.values())
    assert duo.lease("s", ack.yiaddr).fqdn == (HOST if agreed else "")
    after = {c for who, data in duo.wire for m in Framer().feed(data) if m.kind not in (5, 6) for c, _ in m.options if c > 29}
    assert after == {0: set(), 1: {224}, 2: {224, 230, 231}, 3: {224, 228, 230, 231}, 4: {224, 228, 230, 231}}[agreed]
    assert not duo.noted("p", "partner-private-ignored") + duo.noted("s", "partner-private-ignored")


def test_a_newer_version_of_a_known_option_is_ignored_and_noted() -> None:
    duo = normal(tls=True)
    for data in (b"\x02\0", b"\x01", b"\x01\x09\0\0"):
        endpoint = duo.nodes["s"].endpoints["fo"]
        assert endpoint.link is not None
        update = wire.bndupd(
            int(duo.now.wall),
            900,
            wire.Binding(0x0A000070, 2, b"", b"\x01\x02\0\0\0\0\x09", int(WALL) + 600, int(WALL) + 900, int(WALL), int(WALL)),
        )
        update.options.append((private.NAMES, data))
        endpoint.link_bytes(endpoint.link.number, wire.encode(update), duo.now)
        frame = wire.contact(int(duo.now.wall), 901)
        frame.options += [(private.FRAME, b"\x02" + data), (250, b"the future")]
        endpoint.link_bytes(endpoint.link.number, wire.encode(frame), duo.now)
    duo.tick()
    assert duo.noted("s", "partner-private-ignored") == 6
    assert duo.lease("s", 0x0A000070).fqdn == ""
    assert duo.state("s") == "normal"


# --- names (ddns.md 4.6) ------------------------------------------------------------------------------------------------


def test_names_and_done_flags_travel_with_the_lease() -> None:
    duo = normal(tls=True)
    x = duo.given("p", 1)
    duo.settle()
    assert duo.lease("s", x).fqdn == HOST
    theirs = row(duo, "s")
    assert (theirs.owner, theirs.word, theirs.have) == (PEER, "open", ())
    assert master(duo, "p", "s") == [f"p add {HOST} A"]
    duo.settle()
    theirs = row(duo, "s")
    assert (theirs.owner, theirs.word) == (PEER, "done")
    assert [v.text for v in theirs.have] == [v.text for v in row(duo, "p").have]
    duo.renew("p", 1, x)
    duo.settle()
    data = option(spoken(duo, "p", MessageType.BNDUPD)[-1], private.NAMES)
    assert data is not None
    names = decode_names(data)
    assert names is not None
    assert (names.wish, names.shown, names.forward_done) == (HOST, HOST, True)
    duo.release("p", 1, x)
    duo.settle()
    assert row(duo, "s").want == ()
    assert "p del-rr " + HOST + " A" in master(duo, "p", "s")
    duo.settle()
    assert duo.nodes["s"].planner.row(row_key("main", FORWARD, HOST)) is None, "kept until the done-flag, not longer (safety.md 24)"


def test_the_survivor_removes_a_name_that_only_the_dead_partner_registered() -> None:
    """On a plain link this takes a search by PTR and DHCID; here the name is known."""
    duo = normal(tls=True, lease="10m", mclt="5m")
    duo.given("p", 1)
    master(duo, "p")
    duo.settle()
    duo.crash("p")
    duo.settle()
    duo.command("s", "partner-down")
    assert row(duo, "s").owner == ME
    duo.run(240, step_s=2)
    said = master(duo, "s")
    for _ in range(12):
        duo.run(60, step_s=5)
        said += master(duo, "s")
    assert f"s add {HOST} A" in said, "said again within takeover-spread"
    assert f"s del-rr {HOST} A" in said
    assert duo.nodes["s"].planner.row(row_key("main", FORWARD, HOST)) is None


def test_a_name_whose_done_flag_was_not_heard_is_said_at_once_at_the_takeover() -> None:
    duo = normal(tls=True)
    duo.dora("p", 1)
    duo.dora("p", 2)
    duo.settle()
    duo.updates["p"].clear()
    duo.crash("p")  # the master never heard of either
    duo.settle()
    duo.command("s", "partner-down")
    duo.settle(10)
    said = master(duo, "s")
    assert {line for line in said if " A" in line and "add" in line} == {f"s add host{mac}.dyn.example.test. A" for mac in (1, 2)}


def test_a_client_that_renews_at_the_other_server_takes_its_name_along() -> None:
    duo = normal(tls=True)
    x = duo.given("p", 1)
    master(duo, "p")
    duo.run(2)
    assert kind(duo.renew("s", 1, x)) == "ack"
    duo.settle()
    assert (row(duo, "s").owner, row(duo, "p").owner) == (ME, PEER)
    master(duo, "s")
    duo.settle()
    assert row(duo, "p").word == "done"


def test_a_name_that_the_partner_takes_away_with_a_lease_confirmed_here_is_said_again() -> None:
    """Simulator, a calm pair whose clients decline: a rebinding reaches s after the DECLINE reached p. s answers with what remains and
    refuses the end that p tells; p has removed the name by then, and each took it for the other's to say."""
    duo = normal(tls=True)
    x = duo.given("p", 1)
    master(duo, "p")
    duo.run(20)
    duo.inbox["s"].append(DiskState(True))
    late: list[bytes] = []

    def slow(sender: str, data: bytes) -> bool:
        if sender == "p":
            late.append(data)
        return sender == "p"

    duo.hold_bytes = slow
    duo.release("p", 1, x)
    assert f"p del-rr {HOST} A" in master(duo, "p")
    duo.run(2)
    assert duo.renew("s", 1, x) is not None
    duo.hold_bytes = lambda sender, data: False
    link = duo.nodes["s"].endpoints["fo"].link
    assert link is not None
    duo.inbox["s"].append(LinkBytes("fo", link.number, b"".join(late)))
    assert f"s add {HOST} A" in master(duo, "s", "p")
    assert (row(duo, "s").owner, row(duo, "p").owner) == (ME, PEER)
    duo.settle()
    assert duo.lease("p", x).state is BindingState.ACTIVE


def test_a_partner_that_tells_its_names_has_given_no_other() -> None:
    """Simulator, seed tls232: an old pointer was left to the partner, which knew that it is not its own."""
    duo = normal(tls=True)
    x = duo.given("p", 1)
    duo.settle()
    assert duo.lease("s", x).fqdn == HOST
    nameless = duo.nodes["s"].planner.nameless
    assert not nameless(x, "", "")
    duo.cut()
    duo.until(lambda: duo.state("s") == "communications-interrupted")
    assert nameless(x, "", "")  # it may be renamed there now, unheard


def test_after_a_cut_names_are_said_again_only_where_the_flags_disagree() -> None:
    duo = normal(tls=True)
    kept, other = duo.dora("p", 1), duo.dora("p", 2)
    assert kept is not None
    assert other is not None
    master(duo, "p", "s")
    duo.settle()
    duo.cut()
    duo.until(lambda: "communications-interrupted" in duo.states(), 60)
    duo.run(20)
    assert kind(duo.renew("p", 1, kept.yiaddr)) == "ack"
    assert kind(duo.dora("p", 3)) == "ack"
    master(duo, "p", "s")
    duo.heal()
    duo.until(lambda: duo.states() == ("normal", "normal"), 60)
    duo.run(40)
    said = master(duo, "p", "s")
    assert not [line for line in said if "host1." in line], "the partner's ack said that it is there"
    assert [line for line in said if "host3." in line], "the partner knew nothing of it"
    assert duo.nodes["p"].meeting == set()


def test_on_a_plain_link_all_of_them_are_said_again() -> None:
    duo = normal()
    kept = duo.given("p", 1)
    master(duo, "p", "s")
    duo.cut()
    duo.until(lambda: "communications-interrupted" in duo.states(), 60)
    duo.run(20)
    duo.renew("p", 1, kept)
    duo.heal()
    duo.until(lambda: duo.states() == ("normal", "normal"), 60)
    duo.run(40)
    assert [line for line in master(duo, "p") if "host1." in line]


def test_a_name_that_was_given_instead_is_the_same_on_both() -> None:
    duo = normal(tls=True, edits=[("[[ddns.zone]]\n", '[ddns]\non-conflict = "suffix"\n[[ddns.zone]]\n')])
    for mac in (1, 2):
        offer = duo.discover("p", mac, secs=10)
        assert offer is not None
        ask = duo.packet(3, mac, secs=10, o50=offer.yiaddr.to_bytes(4, "big"), o54=b"\x0a\0\0\x01", o12=b"pc")
        assert kind(duo.say("p", ask)) == "ack"
    master(duo, "p")
    duo.run(3)
    second = duo.lease("s", offer.yiaddr)
    assert second.fqdn == "pc.dyn.example.test."
    assert duo.nodes["p"].planner.name_of(duo.lease("p", offer.yiaddr)) == "pc-2.dyn.example.test."
    duo.say("p", duo.packet(3, 2, ciaddr=offer.yiaddr, o12=b"pc"), 0x0A000001)
    duo.settle()
    assert duo.nodes["s"].planner.name_of(duo.lease("s", offer.yiaddr)) == "pc-2.dyn.example.test."


# --- configuration ------------------------------------------------------------------------------------------------------


def test_equal_configurations_differ_in_nothing() -> None:
    duo = normal(tls=True)
    duo.run(5)
    for name in "ps":
        parity = duo.nodes[name].endpoints["fo"].parity
        assert parity is not None
        assert (parity.equal, parity.differences) == (True, ())
    assert not duo.noted("p", "configuration-differs")


def test_differences_are_named_by_section_and_setting_on_both() -> None:
    other = [
        ('lease-time = "1h"', 'lease-time = "2h"'),
        ('address = "10.0.0.60"', 'address = "10.0.0.61"'),
        ("10.0.0.100-10.0.0.199", "10.0.0.100-10.0.0.198"),
    ]
    duo = normal(tls=True, other=other)
    duo.run(3)
    parity = duo.nodes["p"].endpoints["fo"].parity
    assert parity is not None
    assert parity.complete
    assert parity.differences[0] == "dhcp: lease-time: here 3600, at the partner 7200"
    texts = "\n".join(parity.differences)
    assert "subnet 10.0.0.0/22: reservation 10.0.0.60: here " in texts
    assert "subnet 10.0.0.0/22: reservation 10.0.0.61: here -, at the partner " in texts
    assert "range=10.0.0.100-10.0.0.199" in texts
    mirrored = duo.nodes["s"].endpoints["fo"].parity
    assert mirrored is not None
    assert mirrored.differences[0] == "dhcp: lease-time: here 7200, at the partner 3600"
    assert len(mirrored.differences) == len(parity.differences)
    assert duo.noted("p", "configuration-differs") == 2
    status = duo.nodes["p"].status(duo.now)
    assert duo.relationship("p")["differences"] == [*parity.differences, *duo.nodes["p"].one_sided("fo")]
    assert any("configuration" in text for text in status["warnings"])  # type: ignore[attr-defined]


# --- databases (safety.md 15) --------------------------------------------------------------------------------------------


def test_rule_15_the_partners_generation_is_durable_before_its_update_is_acked() -> None:
    duo = normal(tls=True)
    duo.run(3)
    before = duo.nodes["s"].endpoints["fo"].record.partner_generation
    duo.dora("p", 1)
    duo.settle(5)
    record = duo.nodes["s"].endpoints["fo"].record
    assert before < record.partner_generation <= duo.nodes["p"].generation
    stored = [row for row in duo.disks["s"].stored().relationships if f'"partner_generation":{record.partner_generation}' in row]
    assert stored


def test_rule_15_a_database_rolled_back_by_a_copy_is_found_by_the_partner() -> None:
    """No marker, no word of the store: the copy looks whole to its own server."""
    duo = normal(tls=True)
    duo.dora("s", 1)
    duo.run(2)
    rows, log = dict(duo.disks["s"].rows), list(duo.disks["s"].log)
    late = duo.given("s", 2)
    duo.run(12)
    duo.crash("s")
    duo.disks["s"].rows, duo.disks["s"].log = rows, log
    duo.run(3)
    duo.start("s")
    duo.run(5)
    assert duo.noted("s", "database-older") == 1
    assert duo.noted("p", "partner-database-older") == 1
    assert duo.state("s") == "recover-wait"
    assert duo.lease("s", late).client == duo.lease("p", late).client, "what was forgotten is here again"
    duo.until(lambda: duo.states() == ("normal", "normal"), 900)
    duo.crash("s")
    duo.run(2)
    duo.start("s")
    duo.run(5)
    assert duo.states() == ("normal", "normal")
    assert duo.noted("s", "database-older") == 1, "once"


def test_rule_15_another_database_in_its_place_is_found() -> None:
    duo = normal(tls=True)
    x = duo.given("p", 1)
    duo.run(2)
    duo.crash("s")
    duo.lose_database("s")
    duo.start("s")
    duo.run(5)
    assert duo.noted("p", "partner-database-older") == 1
    assert duo.lease("p", x).not_before > duo.now.wall


def test_rule_15_restarts_of_both_find_nothing() -> None:
    duo = normal(tls=True)
    for name in "psps":
        duo.dora("p", 1 + len(duo.wire))
        duo.run(4)
        duo.crash(name)
        duo.run(3)
        duo.start(name)
        duo.until(lambda: duo.states() == ("normal", "normal"), 60)
    for name in "ps":
        assert not duo.noted(name, "database-older") + duo.noted(name, "partner-database-older")


def test_rule_17_the_partners_epoch_is_known() -> None:
    duo = normal(tls=True)
    duo.crash("s")
    duo.settle()
    duo.command("p", "partner-down")
    duo.start("s")
    duo.run(5)
    assert duo.nodes["s"].endpoints["fo"].record.partner_epoch == 1


# --- certificates and refused links -------------------------------------------------------------------------------------


def test_an_expiring_certificate_is_an_alarm_once_a_day_and_a_warning() -> None:
    duo = normal(tls=True)
    duo.inbox["p"].append(LinkSecurity("fo", WALL + 29 * 86400, WALL - 86400))
    duo.run(30, step_s=5)
    details = [note.detail for note in duo.notes["p"] if note.name == "tls-certificate-expires"]
    assert len(details) == 2
    assert details[0].startswith("this server's: 2")
    assert details[1].startswith("the partner's: -1")
    duo.run(86400, step_s=300)
    assert duo.noted("p", "tls-certificate-expires") == 4
    texts = "\n".join(duo.nodes["p"].status(duo.now)["warnings"])  # type: ignore[arg-type]
    assert "fo: this server's certificate expires in 28 days" in texts
    assert "fo: the partner's certificate has expired: no new link can be made" in texts
    assert "certificate" not in "\n".join(duo.nodes["s"].status(duo.now)["warnings"])  # type: ignore[arg-type]


def test_safety_12_a_partner_that_answers_but_fails_tls_is_not_tried_in_vain() -> None:
    """After a long absence a survivor in partner-down leaves the partner's half alone until an attempt to reach it failed."""
    duo = normal(tls=True)
    duo.crash("s")
    duo.settle()
    duo.command("p", "partner-down")
    duo.run(5)
    duo.crash("p")
    duo.run(300, step_s=10)
    duo.start("p")
    endpoint = duo.nodes["p"].endpoints["fo"]
    endpoint.tried_since_boot = False
    duo.inbox["p"] = [ConnectFailed("fo", "partner-tls-unknown-ca", answered=True)]
    endpoint.next_dial = duo.now.mono + 100
    duo.tick()
    assert not endpoint.tried_since_boot
    duo.inbox["p"].append(ConnectFailed("fo", "no route"))
    duo.tick()
    assert endpoint.tried_since_boot


def test_a_partner_that_lost_everything_is_told_what_rests_and_is_normal_again() -> None:
    duo = normal(tls=True)
    for mac in range(1, 6):
        duo.dora("p", mac)
    master(duo, "p")
    duo.crash("s")
    duo.lose_database("s")
    duo.start("s")
    duo.run(5)
    words = {name: row(duo, "s", f"host{name}.dyn.example.test.").word for name in range(1, 6)}
    assert words == dict.fromkeys(range(1, 6), "done")
    assert not duo.nodes["p"].planner.untold


def test_what_came_to_rest_while_a_partner_was_away_is_told_when_both_are_normal() -> None:
    """More than one slice of it."""
    duo = normal(tls=True)
    for mac in range(1, 4):
        duo.dora("p", mac)
    master(duo, "p")
    duo.settle()
    for name in range(1, 4):
        row(duo, "s", f"host{name}.dyn.example.test.").word = ""
    duo.crash("s")
    duo.run(2)
    duo.start("s")
    for name in range(1, 4):
        row(duo, "s", f"host{name}.dyn.example.test.").word = ""
    word.TOLD_A_STEP, slices = 2, word.TOLD_A_STEP
    try:
        duo.until(lambda: duo.states() == ("normal", "normal"), 60)
        duo.run(40)  # granted just before: said again, to be sure
        master(duo, "p")
        duo.settle()
    finally:
        word.TOLD_A_STEP = slices
    assert {row(duo, "s", f"host{name}.dyn.example.test.").word for name in range(1, 4)} == {"done"}
    assert not duo.nodes["p"].planner.untold
