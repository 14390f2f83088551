"""What clients hear of their names, and what the master hears: option 81, option 12, ddns rules of subnet, pool and reservation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failoverd.compile_names import NamePlan, NameScope
from failoverd.ddns.dhcid import guard
from failoverd.ddns.names import Replace, Rules
from failoverd.dhcp.client import client_of
from failoverd.dhcp.fqdn import E, N, O, Policy, S, Scope, read
from failoverd.dhcp.message import Packet
from failoverd.failover import message as wire
from failoverd.failover.message import MessageType
from failoverd.leases.lease import NO_FORWARD, NO_REVERSE
from failoverd.node_names import Names
from failoverd.ports import DnsAnswer, DnsUpdate, Origin, ZoneHosts
from tests.pair.duo import ADDRESS, Duo, normal

SUBNET = 'ddns = { domain = "dyn.example.test.", name-template = "dhcp-{ip}" }'
REVERSE = """[[ddns.zone]]
name = "10.in-addr.arpa."
primaries = ["10.0.0.53"]
key-file = "/nonexistent/key"
"""
WIRE = b"\x02pc\x03dyn\x07example\x04test\x00"


def pair(ddns: str = "", edits: tuple[tuple[str, str], ...] = ()) -> Duo:
    """A pair in normal with a reverse zone; `ddns`: the subnet's table."""
    said = [(SUBNET, f"ddns = {{ {ddns} }}")] if ddns else []
    return normal(edits=[("[[ddns.zone]]\n", REVERSE + "[[ddns.zone]]\n"), *said, *edits])


def ask(duo: Duo, mac: int, fqdn: bytes = b"", hostname: bytes = b"", at: str = "p", prl: bytes = b"") -> tuple[Packet, Packet]:
    """The OFFER and the ACK of one client."""
    more = {name: value for name, value in (("o81", fqdn), ("o12", hostname), ("o55", prl)) if value}
    offer = duo.say(at, duo.packet(1, mac, secs=10, **more))
    assert offer is not None
    chosen = {"o50": offer.yiaddr.to_bytes(4, "big"), "o54": ADDRESS[at].to_bytes(4, "big")}
    ack = duo.say(at, duo.packet(3, mac, secs=10, **chosen, **more))
    assert ack is not None
    assert (ack.options[53], ack.yiaddr) == (b"\x05", offer.yiaddr)
    return offer, ack


def told(duo: Duo, mac: int, fqdn: bytes = b"", hostname: bytes = b"") -> tuple[bytes | None, bytes | None, int]:
    """Options 81 and 12 of the ACK, which are the OFFER's, and the address."""
    offer, ack = ask(duo, mac, fqdn, hostname)
    assert (offer.options.get(81), offer.options.get(12)) == (ack.options.get(81), ack.options.get(12))
    return ack.options.get(81), ack.options.get(12), ack.yiaddr


def master(duo: Duo, at: str = "p") -> list[str]:
    """Let a master say NOERROR to everything; what it was asked to add and to delete, without DHCID."""
    done, found = 0, []
    for _ in range(20):
        while done < len(duo.updates[at]):
            message = duo.updates[at][done]
            done += 1
            if isinstance(message, DnsUpdate):
                found += [f"{c.op} {c.name} {c.rtype} {c.value}".strip() for c in message.changes if c.rtype != "DHCID"]
                duo.inbox[at].append(DnsAnswer(message.ident, "NOERROR", "test"))
        duo.tick()
    return [line for line in found if not line.startswith("del-rrset")]


def reverse(address: int) -> str:
    return f"{address & 255}.0.0.10.in-addr.arpa."


CASES = [
    # subnet's table, flags sent, name sent, flags of the reply, Lease.dns, name in DNS ("" for none)
    ("", S, WIRE, S, 0, "pc.dyn.example.test."),
    ("", 0, WIRE, 0, NO_FORWARD, "pc.dyn.example.test."),
    ("", 0, b"\x02pc", S | O, 0, "pc.dyn.example.test."),
    ("", 0, b"\x02pc\x05other\x04test\0", 0, NO_FORWARD, "pc.other.test."),
    ("", S, b"\x02pc\x05other\x04test\0", S, 0, "pc.dyn.example.test."),
    ("", N, WIRE, N, 0, ""),
    ("", N | S, WIRE, N, 0, ""),
    ("override-client-update = true", 0, WIRE, S | O, 0, "pc.dyn.example.test."),
    ("override-no-update = true", N, WIRE, S | O, 0, "pc.dyn.example.test."),
    ('client-updates = "deny"', 0, WIRE, S | O, 0, "pc.dyn.example.test."),
    ('client-updates = "ignore"', 0, WIRE, 0, 0, "pc.dyn.example.test."),
    ("updates = false", S, WIRE, O | N, 0, ""),
    ("updates = false", 0, WIRE, N, 0, ""),
    ("reverse-updates = false", S, WIRE, S, NO_REVERSE, "pc.dyn.example.test."),
    ("reverse-updates = false", 0, WIRE, N, 0, ""),
    ('client-domain = "keep"', S, b"\x02pc\x05other\x04test\0", S, 0, "pc.other.test."),
]


@pytest.mark.parametrize(("ddns", "flags", "name", "answer", "dns", "fqdn"), CASES)
def test_flags_come_back_right_and_the_master_hears_what_follows(
    ddns: str, flags: int, name: bytes, answer: int, dns: int, fqdn: str
) -> None:
    duo = pair(f'domain = "dyn.example.test."{", " + ddns if ddns else ""}')
    option, _, address = told(duo, 1, bytes((flags | E,)) + b"\0\0" + name)
    assert option is not None
    assert (option[0] & (S | O | N), option[0] & E, option[1:3]) == (answer, E, b"\xff\xff")
    lease = duo.lease("p", address)
    assert (lease.fqdn, lease.dns) == (fqdn, dns)
    adds = (
        [] if not fqdn or dns & NO_FORWARD or not fqdn.endswith("dyn.example.test.") else [f"add {fqdn} A 10.0.0.{address & 255}"]
    )
    adds += [] if not fqdn or dns & NO_REVERSE else [f"add {reverse(address)} PTR {fqdn}"]
    assert master(duo) == adds
    duo.release("p", 1, address)
    assert duo.lease("p", address).fqdn == ""
    assert sorted(line.partition(" ")[2] for line in master(duo) if line.startswith("del-rr ")) == sorted(
        line.partition(" ")[2] for line in adds
    )


def test_the_reply_holds_the_final_name_in_the_clients_encoding() -> None:
    duo = pair()
    assert told(duo, 1, b"\x05\0\0" + b"\x02PC\x05Other\0")[0] == b"\x05\xff\xff" + WIRE
    assert told(duo, 2, b"\x01\0\0Note_Book")[0] == b"\x01\xff\xffnote-book.dyn.example.test"
    option, _, address = told(duo, 3, b"\x05\0\0")
    name = b"dhcp-10-0-0-%d" % (address & 255)
    assert option == b"\x05\xff\xff" + bytes((len(name),)) + name + WIRE[3:]
    assert duo.lease("p", address).hostname == ""


def test_option_81_only_for_those_who_sent_it_and_option_12_only_when_it_differs() -> None:
    duo = pair()
    assert told(duo, 1)[:2] == (None, None)
    assert told(duo, 2, hostname=b"Laptop")[:2] == (None, None)
    assert told(duo, 3, hostname=b"lap top.other")[:2] == (None, b"lap-top")
    option, twelve, address = told(duo, 4, b"\x04\0\0\x04fqdn", b"other")
    assert option == b"\x07\xff\xff\x04fqdn" + WIRE[3:]
    assert twelve == b"fqdn"
    assert duo.lease("p", address).hostname == "fqdn"
    assert told(pair('domain = "dyn.example.test.", fqdn-reply = false'), 1, b"\x05\0\0" + WIRE)[0] is None


def test_malformed_option_counts_as_absent_and_is_noted() -> None:
    duo = pair()
    option, _, address = told(duo, 1, b"\x05\0\0\x40", b"laptop")
    assert option is None
    assert duo.lease("p", address).fqdn == "laptop.dyn.example.test."
    assert duo.noted("p", "client-fqdn-malformed") == 2


def test_name_that_cannot_be_used_is_noted() -> None:
    duo = pair()
    option, twelve, address = told(duo, 1, b"\x04\0\0\x04wpad\x03dyn\x00", b"localhost")
    assert duo.lease("p", address).fqdn == f"dhcp-10-0-0-{address & 255}.dyn.example.test."
    assert option is not None
    assert option[0] == S | O | E
    assert twelve == b"dhcp-10-0-0-%d" % (address & 255)
    notes = [note for note in duo.notes["p"] if note.name == "client-name-not-used"]
    assert [note.detail for note in notes] == ["'wpad.dyn' is reserved"]


def test_hosts_of_the_zone_are_nobodys_as_soon_as_they_are_known() -> None:
    duo = pair()
    duo.inbox["p"].append(ZoneHosts("dyn.example.test.", ("NS1.dyn.example.test.", "mx.other.test.")))
    duo.tick()
    generated = b"dhcp-10-0-0-"
    assert told(duo, 1, hostname=b"ns1")[1].startswith(generated)  # type: ignore[union-attr]
    duo.inbox["p"].append(ZoneHosts("dyn.example.test.", ()))
    duo.tick()
    assert told(duo, 2, hostname=b"ns1")[1] is None


def test_reservation_pool_and_subnet_have_rules_of_their_own() -> None:
    duo = pair(
        edits=(
            (
                'relationship = "fo"\n[[subnet.reservation]]',
                'relationship = "fo"\nddns = { domain = "pool.dyn.example.test.", replace-client-name = "always" }\n[[subnet.reservation]]',
            ),
            ('hostname = "printer"', 'hostname = "Printer.other.dyn.example.test"\nddns = { reverse-updates = false }'),
        )
    )
    address = ask(duo, 1, hostname=b"laptop")[1].yiaddr
    assert duo.lease("p", address).fqdn == f"dhcp-10-0-0-{address & 255}.pool.dyn.example.test."
    offer, ack = ask(duo, 0xFF01, hostname=b"lp", prl=b"\x0c")
    assert (offer.options[12], ack.options[12]) == (b"printer", b"printer")
    lease = duo.lease("p", 0x0A00003C)
    assert (lease.fqdn, lease.dns, lease.hostname) == ("printer.other.dyn.example.test.", NO_REVERSE, "printer")
    assert ask(duo, 0xFF01)[1].options.get(12) == b"printer"


def test_reverse_for_nameless_has_a_pointer_and_no_word_for_the_client() -> None:
    duo = pair('domain = "dyn.example.test.", reverse-for-nameless = true')
    option, twelve, address = told(duo, 1, b"\x05\0\0")
    assert (option, twelve) == (b"\x0e\xff\xff", None)
    name = f"dhcp-10-0-0-{address & 255}.dyn.example.test."
    assert duo.lease("p", address).dns == NO_FORWARD
    assert master(duo) == [f"add {reverse(address)} PTR {name}"]


def test_rfc2317_pointer_goes_to_the_child_zone() -> None:
    child = '[[ddns.reverse-map]]\nprefix = "10.0.0.0/24"\nzone = "0-255.0.0.10.in-addr.arpa."\nname = "{d}.0-255.0.0.10.in-addr.arpa."\n'
    zone = REVERSE.replace("10.in-addr.arpa.", "0-255.0.0.10.in-addr.arpa.")
    duo = pair(edits=((REVERSE, child + REVERSE + zone),))
    _, _, address = told(duo, 1, hostname=b"pc")
    mapped = f"{address & 255}.0-255.0.0.10.in-addr.arpa."
    assert duo.lease("p", address).rev == mapped
    assert master(duo) == [f"add pc.dyn.example.test. A 10.0.0.{address & 255}", f"add {mapped} PTR pc.dyn.example.test."]
    assert {update.zone for update in duo.updates["p"] if isinstance(update, DnsUpdate)} == {
        "dyn.example.test.",
        "0-255.0.0.10.in-addr.arpa.",
    }


def test_both_servers_decide_alike() -> None:
    duo = pair()
    _, _, address = told(duo, 1, b"\x04\0\0\x03a_b", b"x y")
    duo.run(3)
    reply = duo.say("s", duo.packet(3, 1, ciaddr=address, o81=b"\x04\0\0\x03a_b", o12=b"x y"), ADDRESS["s"])
    assert reply is not None
    assert (reply.options[81], reply.options[12]) == (b"\x07\xff\xff\x03a-b" + WIRE[3:], b"a-b")
    assert duo.lease("s", address).fqdn == duo.lease("p", address).fqdn == "a-b.dyn.example.test."


def test_no_dns_work_from_an_offer_or_an_inform() -> None:
    duo = pair()
    offer = duo.say("p", duo.packet(1, 1, secs=10, o81=b"\x05\0\0" + WIRE, o12=b"pc"))
    assert offer is not None
    assert offer.options[81] == b"\x05\xff\xff" + WIRE
    inform = duo.say("p", duo.packet(8, 1, ciaddr=offer.yiaddr, o81=b"\x05\0\0" + WIRE), ADDRESS["p"])
    assert inform is not None
    assert 81 not in inform.options
    assert duo.updates == {"p": [], "s": []}


def test_a_client_that_got_another_name_hears_it_at_its_renewal_and_keeps_it() -> None:
    duo = pair(edits=(("[[ddns.zone]]\n" + REVERSE[len("[[ddns.zone]]\n") :], '[ddns]\non-conflict = "suffix"\n' + REVERSE),))
    told(duo, 1, hostname=b"pc")
    _, _, address = told(duo, 2, b"\x04\0\0\x02pc", b"pc")
    assert f"add pc-2.dyn.example.test. A 10.0.0.{address & 255}" in master(duo)
    for at in ("p", "p"):
        reply = duo.say(at, duo.packet(3, 2, ciaddr=address, o81=b"\x04\0\0\x02pc", o12=b"pc"), ADDRESS[at])
        assert reply is not None
        assert (reply.options[81], reply.options[12]) == (b"\x07\xff\xff\x04pc-2" + WIRE[3:], b"pc-2")
        assert not [line for line in master(duo) if "pc-3" in line]
    assert duo.lease("p", address).fqdn == "pc.dyn.example.test."


POLICIES = [
    Policy(scope, ocu, onu, updates, reply)
    for scope in Scope
    for ocu in (False, True)
    for onu in (False, True)
    for updates in ("allow", "deny", "ignore")
    for reply in (False, True)
]


@given(
    st.sampled_from(POLICIES),
    st.sampled_from(["", "dyn.example.test."]),
    st.sampled_from(Replace),
    st.booleans(),
    st.one_of(st.none(), st.binary(max_size=40), st.builds(lambda flags: bytes((flags, 0, 0)) + WIRE, st.integers(0, 15))),
    st.text(max_size=12),
)
def test_whatever_a_client_sends_reply_and_work_agree(
    policy: Policy, domain: str, mode: Replace, nameless: bool, sent: bytes | None, hostname: str
) -> None:
    scope = NameScope(policy, Rules(domain, replace=mode, reverse_for_nameless=nameless))
    options = {53: b"\x03", 12: hostname.encode()} | ({81: sent} if sent is not None else {})
    client = client_of(Packet(1, 1, 6, 0, 1, 0, 0, 0, 0, 0, 0, b"\x02\0\0\0\0\x01", options=options))
    asked = read(sent) if sent is not None else None
    named = Names(NamePlan()).name(scope, 0x0A000064, client, asked)
    forward = bool(named.fqdn) and not named.dns & NO_FORWARD
    reverse = bool(named.fqdn) and not named.dns & NO_REVERSE
    assert not (forward and policy.scope is Scope.OFF)
    assert not (reverse and policy.scope is not Scope.BOTH)
    assert bool(named.option) == (asked is not None and policy.reply)
    assert forward or reverse or not named.fqdn
    if named.option:
        assert asked is not None
        flags = named.option[0]
        answer = read(named.option)
        assert answer is not None
        assert answer.wire == asked.wire
        assert not (flags & S and flags & N)
        assert not flags & S or forward
        assert not flags & N or not forward
        assert bool(flags & O) == (bool(flags & S) != asked.server), "RFC 4702 2.1"
        if flags & S:
            assert ".".join(answer.labels) + "." == named.fqdn


def test_an_address_counts_as_unheld_only_when_both_servers_see_it_so() -> None:
    """Who removes a name that the partner does not know asks this first."""
    duo = pair()
    _, ack = ask(duo, 7, hostname=b"pc")
    duo.settle()
    address, name = ack.yiaddr, "pc.dyn.example.test."
    lease = duo.lease("s", address)  # on a plain link it has no name there
    mine, other = guard(lease.hw, lease.client_id, name), guard(b"\x01\x02\x03\x04\x05\x06\x07", b"", name)
    unheld = duo.nodes["s"].planner.unheld
    assert (unheld(address, name, mine), unheld(address, name, other), unheld(address, "", "")) == (False, True, False)
    duo.release("p", 7, address)
    duo.settle()
    assert unheld(address, name, mine)
    assert unheld(address, "", "")
    duo.cut()
    duo.until(lambda: duo.state("s") == "communications-interrupted")
    assert not unheld(address, name, other)
    duo.command("s", "partner-down")
    assert duo.state("s") == "partner-down"
    assert unheld(address, name, other)


def test_a_lease_of_the_partners_is_nameless_as_long_as_its_client_has_it_there() -> None:
    duo = pair()
    _, ack = ask(duo, 7, hostname=b"pc")
    duo.settle()
    address, name = ack.yiaddr, "pc.dyn.example.test."
    lease = duo.lease("s", address)
    mine, other = guard(lease.hw, lease.client_id, name), guard(b"\x01\x02\x03\x04\x05\x06\x07", b"", name)
    here, there = (duo.nodes[server].planner.nameless for server in ("p", "s"))
    assert (there(address, name, mine), there(address, name, other), there(address, "", "")) == (True, False, True)
    assert not here(address, name, mine)  # who gave it knows the name
    duo.release("p", 7, address)
    duo.settle()
    assert not there(address, name, mine)


def test_who_spoke_last_to_a_client_is_not_sure_by_clocks_that_are_further_apart_than_a_minute() -> None:
    """safety.md 10: the partner's clock was set back by 100 s on a live link, and its client renewed there. By its time we spoke later."""
    duo = pair()
    _, ack = ask(duo, 7, hostname=b"pc")
    duo.settle()
    node, lease = duo.nodes["s"], duo.lease("s", ack.yiaddr)
    node.change(lease, lease.evolve(cltt=lease.partner_cltt + 90), Origin.CLIENT, "renewed here 10 s before", duo.now)
    assert not node.planner.nameless(ack.yiaddr, "", "")
    node.endpoints["fo"]._sampled(wire.Message(MessageType.CONTACT, int(duo.now.wall) - 100, 1), duo.now)
    assert node.planner.nameless(ack.yiaddr, "", "")


def test_what_a_client_is_called_that_says_no_name_is_known_without_the_partner() -> None:
    """Simulator, seeds 441 and 1509: the PTR of a name that is made of the address was taken away as that of the client before."""
    duo = pair()
    _, ack = ask(duo, 7)
    duo.settle()
    named = duo.lease("p", ack.yiaddr).fqdn
    assert named.startswith("dhcp-10-")
    unsaid = duo.nodes["s"].planner.unsaid
    assert (unsaid(ack.yiaddr, named), unsaid(ack.yiaddr, "pc.dyn.example.test."), unsaid(1, named)) == (True, False, False)


def test_a_name_known_here_is_not_all_that_a_client_of_the_partners_may_have() -> None:
    """make torture, seed 22: a client that was renamed at the partner had its PTR removed, which a lost message of ours had put there
    when it had that name before."""
    duo = pair()
    _, ack = ask(duo, 7, hostname=b"pc", at="s")
    duo.run(70)
    renewed = duo.renew("p", 7, ack.yiaddr)  # as host7
    assert renewed is not None
    duo.settle()
    lease = duo.lease("s", ack.yiaddr)
    assert lease.fqdn == "pc.dyn.example.test."
    name = "host7.dyn.example.test."
    assert duo.nodes["s"].planner.nameless(ack.yiaddr, name, guard(lease.hw, lease.client_id, name))
