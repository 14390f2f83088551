"""Broken configurations, and the exact place and words of what is said about each.

A case is a good configuration with one piece exchanged; the expected place is found by the text of its line, so that the table can be
read without counting.
"""

# ruff: noqa: E501 (one case a line)

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failoverd.config import Config, ConfigError, Problem, parse_text

GOOD = """site = "lab"
[servers.one]
interfaces = ["eth0"]
[servers.two]
interfaces = ["eth0"]
[log]
level = "info"
[api]
readers = ["*"]
[[relationship]]
name = "office"
primary = { server = "one", address = "10.0.0.2", port = 647 }
secondary = { server = "two", address = "10.0.0.3", port = 647 }
mclt = "1h"
max-response-delay = "30s"
[dhcp]
lease-time = "12h"
options = { domain-name-servers = ["10.0.0.53"] }
[[shared-network]]
name = "floor"
[[subnet]]
subnet = "10.0.0.0/24"
shared-network = "floor"
options = { routers = ["10.0.0.1"] }
ddns = { domain = "x.test." }
[[subnet.pool]]
range = [
  "10.0.0.10-10.0.0.20",
  "10.0.0.30-10.0.0.40",
]
relationship = "office"
[[subnet.reservation]]
hardware = "02:00:00:00:00:01"
address = "10.0.0.60"
[[subnet]]
subnet = "10.1.0.0/24"
[[subnet.pool]]
range = ["10.1.0.10-10.1.0.20"]
relationship = "office"
[ddns]
ttl-min = "10m"
[[ddns.zone]]
name = "x.test."
primaries = ["10.0.0.53"]
key-file = "/etc/key"
[[ddns.zone]]
name = "10.in-addr.arpa."
primaries = ["10.0.0.53"]
key-file = "/etc/key"
"""
ISC = 'primary = { kind = "isc-dhcpd", address = "10.0.0.2", port = 647, max-unacked-updates = 10 }'
ONE = 'primary = { server = "one", address = "10.0.0.2", port = 647 }'
TWO = 'secondary = { server = "two", address = "10.0.0.3", port = 647 }'
SECOND = f"""[[relationship]]
name = "second"
{ONE}
{TWO}
[[subnet]]
subnet = "10.2.0.0/24"
[[subnet.pool]]
range = ["10.2.0.10-10.2.0.20"]
relationship = "second"
"""
END = ""  # "exchange" this: append


def changed(old: str, new: str) -> str:
    if old == END:
        return GOOD + new
    assert GOOD.count(old) >= 1, old
    return GOOD.replace(old, new, 1)


def line_of(text: str, mark: str) -> int:
    """The number of the first line that holds `mark`, of the second for "mark#2"."""
    words, _, nth = mark.partition("#")
    return [number for number, line in enumerate(text.split("\n"), 1) if words in line][int(nth or 1) - 1]


def problems(text: str) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        parse_text(text, "f.toml")
    return caught.value.problems


def test_the_good_one_is_good() -> None:
    assert parse_text(GOOD).warnings == []


# (what is exchanged, for what, the line's mark, its key, its whole text, or the beginning of it with "...")
ERRORS: list[tuple[str, str, str, str, str]] = [
    # --- shape ---
    ('site = "lab"', "site = 3", "site", "site", "the number 3 is not a string; write one word of letters, digits, ..."),
    ('site = "lab"', 'sight = "lab"', "sight", "sight", "is no key of this table; did you mean site?"),
    ('level = "info"', 'x = "info"', "x = ", "log.x", "is no key of this table; it has format, level"),
    ('level = "info"', 'level = "loud"', "loud", "log.level", "'loud' is not one of its words; write 'debug', 'info', 'warning' or 'error'"),
    ('readers = ["*"]', 'readers = "*"', "readers", "api.readers", "'*' is not an array; write an array: [ ... ] - who may look..."),
    ('readers = ["*"]', 'readers = ["*",\n"a b"]', "a b", "api.readers[1]", "'a b' is not a user or group; write a user, ..."),
    ('readers = ["*"]', 'metrics = "0.0.0.0:1"', "metrics", "api.metrics", "'0.0.0.0:1' can be reached by other machines; write ..."),
    ("[servers.two]", '[servers."t o"]', '"t o"', 'servers."t o"', "'t o' is not a name; write one word of letters, digits, ..."),
    ('interfaces = ["eth0"]', "", "[servers.one]", "servers.one.interfaces", "is missing; add it: network interfaces on which this ..."),
    ('["eth0"]', '["a", "a"]', '"a", "a"', "servers.one.interfaces", "'a' stands there twice; name each once"),
    ("[log]", "[[log]]", "[[log]]", "log", "an array is not a table; write a table - logging"),
    ('mclt = "1h"', 'mclt = "1 hour"', "1 hour", "relationship[0].mclt", "'1 hour' is not a duration; write seconds, or a number with s, m, ..."),
    ('mclt = "1h"', "mclt = 0", "mclt", "relationship[0].mclt", "the number 0 s is too small; write at least 1 s - maximum client lead ..."),
    ('"30s"', '"14s"', "14s", "relationship[0].max-response-delay", "the number 14 s is too small; write at least 15 s - silence on the ..."),
    ('mclt = "1h"', "split = 257", "split", "relationship[0].split", "the number 257 is too large; write at most 256 - how many of the ..."),
    ('mclt = "1h"', "split = true", "split", "relationship[0].split", "the boolean true is not a whole number; write a whole number - how ..."),
    ('mclt = "1h"', 'hba = "ff"', "hba", "relationship[0].hba", "'ff' is not a hash bucket assignment; write 32 octets in hex: 64 ..."),
    (", port = 647 }", ", port = 0 }", ONE[:20], "relationship[0].primary.port", "the number 0 is too small; write at least 1 - the TCP port..."),
    (f"{ONE}\n", "", "[[relationship]]", "relationship[0].primary", "is missing; add it: the primary end"),
    ("10.0.0.0/24", "10.0.0.1/24", "10.0.0.1/24", "subnet[0].subnet", "'10.0.0.1/24' has host bits set; write 10.0.0.0/24"),
    ('"10.0.0.30-10.0.0.40"', '"10.0.0.40-10.0.0.30"', "0.40-", "subnet[0].pool[0].range[1]", "'10.0.0.40-10.0.0.30' ends before it begins; ..."),
    ('range = ["10.1.0.10-10.1.0.20"]', "range = []", "range = []", "subnet[1].pool[0].range", "is empty; give at least one - addresses: ..."),
    ("02:00:00:00:00:01", "02:00", "02:00", "subnet[0].reservation[0].hardware", "'02:00' is not an Ethernet address; write six octets ..."),
    # --- servers and relationships ---
    ('server = "two"', 'server = "tow"', '"tow"', "relationship[0].secondary.server", "there is no server 'tow'; write one of one, two, or add [servers.tow]"),
    ('server = "two", ', "", "0.3", "relationship[0].secondary.server", 'neither server nor kind is given; name a server of this file (one, two), or kind = "isc-dhcpd"'),
    ('server = "two"', 'server = "two", kind = "isc-dhcpd"', "kind", "relationship[0].secondary.kind", "two is a failoverd; leave kind out, ..."),
    ('server = "two"', 'server = "one"', '"10.0.0.3"', "relationship[0].secondary.server", "one is also the primary; name the other server"),
    ('"10.0.0.3"', '"10.0.0.2"', "secondary", "relationship[0].secondary.address", "10.0.0.2 port 647 is also the primary's; give each end its own address"),
    (f"{ONE}\n{TWO}", f'{ISC}\n{TWO.replace("server", "kind").replace("two", "isc-dhcpd")}', "secondary", "relationship[0].secondary", "both ends are foreign; one end must be a server of this file: server = NAME"),
    (", port = 647 }", ", max-unacked-updates = 5 }", ONE[:20], "relationship[0].primary.max-unacked-updates", "is for a foreign partner only; give ..."),
    (ONE, ISC.replace("port", 'auto-partner-down = "1h", port'), "isc-dhcpd", "relationship[0].primary.auto-partner-down", "a foreign partner does not read this file; ..."),
    ('mclt = "1h"', f'split = 128\nhba = "{"f0" * 32}"', "hba", "relationship[0].hba", "split is given too; keep one of them, they say the same thing"),
    ('mclt = "1h"', 'min-balance = "2h"', "min-balance", "relationship[0].min-balance", "2h is more than max-balance; write at most 1h"),
    ('mclt = "1h"', 'auto-partner-down = "1h"', "auto-", "relationship[0].auto-partner-down", "both servers would declare each other down when only the link is cut, ..."),
    ("[dhcp]", '[[relationship]]\nname = "idle"\n' + f"{ONE}\n{TWO}\n".replace("10.0.0", "10.9.9") + "[dhcp]", "idle", "relationship[1].name", "no pool uses 'idle'; name it in a pool (relationship = ...), or remove it"),
    ("[dhcp]", '[[relationship]]\nname = "office"\n' + f"{ONE}\n{TWO}\n".replace("10.0.0", "10.9.9") + "[dhcp]", "name = \"office\"#2", "relationship[1].name", "there is another relationship 'office'; give each its own name"),
    (END, SECOND.replace("647", "648", 1), "secondary = #2", "relationship[1].secondary.port", "'office' joins the same two addresses and uses this port too; give this relationship its own port"),
    (END, SECOND.replace(ONE, ISC.replace("647", "648")).replace("647", "648"), "[[relationship]]#2", "relationship[1]", "'office' joins the same two addresses, and a dhcpd cannot tell them apart; use another address"),
    # --- subnets and pools ---
    ('shared-network = "floor"', 'shared-network = "flor"', '"flor"', "subnet[0].shared-network", "there is no shared network 'flor'; write one of floor, or add it"),
    ("[[subnet]]\n", '[[shared-network]]\nname = "floor"\n[[subnet]]\n', "name = \"floor\"#2", "shared-network[1].name", "there is another shared network 'floor'; give each its own name"),
    ('name = "floor"', 'name = "10.1.0.0/24"', 'name = "10.1', "shared-network[0].name", "10.1.0.0/24 is also a subnet, and subnets are networks of that name; use another word"),
    ("10.1.0.0/24", "10.0.0.0/16", "10.0.0.0/16", "subnet[1].subnet", "10.0.0.0/16 overlaps 10.0.0.0/24; an address belongs to one subnet only"),
    ("10.1.0.10-10.1.0.20", "10.2.0.10-10.2.0.20", "10.2", "subnet[1].pool[0].range[0]", "10.2.0.10-10.2.0.20 is not inside 10.1.0.0/24; stay within 10.1.0.1-10.1.0.254"),
    ("10.1.0.10-", "10.1.0.0-", "10.1.0.0-", "subnet[1].pool[0].range[0]", "10.1.0.0-10.1.0.20 holds the network address of 10.1.0.0/24; stay within 10.1.0.1-10.1.0.254"),
    ("-10.1.0.20", "-10.1.0.255", "-10.1", "subnet[1].pool[0].range[0]", "10.1.0.10-10.1.0.255 holds the broadcast address of 10.1.0.0/24; stay within 10.1.0.1-10.1.0.254"),
    ("10.0.0.30-", "10.0.0.20-", "20-", "subnet[0].pool[0].range[1]", "10.0.0.20-10.0.0.40 overlaps 10.0.0.10-10.0.0.20; an address belongs to one pool only"),
    ("10.0.0.10-", "10.0.0.3-", "10.0.0.3-", "subnet[0].pool[0].range[0]", "holds 10.0.0.3, the address of the secondary of 'office'; leave it out, or it will be leased to a client"),
    ('relationship = "office"', 'relationship = "offce"', '"offce"', "subnet[0].pool[0].relationship", "there is no relationship 'offce'; write one of office, or add it"),
    ('relationship = "office"', "", "[[subnet.pool]]", "subnet[0].pool[0].relationship", "is missing, and two servers would lease the same addresses; write one of office, or server = NAME to lease ..."),
    ('relationship = "office"', 'relationship = "office"\nserver = "one"', 'server = "one"#2', "subnet[0].pool[0].server", "relationship is given too; keep one of them"),
    ('relationship = "office"', 'server = "x"', '"x"', "subnet[0].pool[0].server", "there is no server 'x'; write one of one, two"),
    ("[ddns]\n", '[[subnet.pool]]\nname = "10.1.0.10-10.1.0.20"\nrange = ["10.1.0.50"]\nserver = "one"\n[ddns]\n', "name = \"10.1", "subnet[1].pool[1].name", "there is another pool '10.1.0.10-10.1.0.20'; give each its own name, or none"),
    ('range = ["10.1.0.10-10.1.0.20"]\nrelationship = "office"', 'range = ["10.1.0.10"]\nrelationship = "office"\n[[subnet.reservation]]\nhardware = "02:00:00:00:00:02"\naddress = "10.1.0.10"', 'range = ["10.1', "subnet[1].pool[0].range", "every address of this pool is reserved; add addresses, or remove the pool"),
    # --- reservations ---
    ('hardware = "02:00:00:00:00:01"\n', "", "[[subnet.reservation]]", "subnet[0].reservation[0].hardware", "neither hardware nor client-id is given; write exactly one, by which the host is known"),
    ('hardware = "02:00:00:00:00:01"\n', 'hardware = "02:00:00:00:00:01"\nclient-id = "0102"\n', "hardware", "subnet[0].reservation[0].hardware", "hardware and client-id are both given; write exactly one, by which the host is known"),
    ("10.0.0.60", "10.1.0.60", "10.1.0.60", "subnet[0].reservation[0].address", "10.1.0.60 is not a host address of 10.0.0.0/24; stay within 10.0.0.1-10.0.0.254"),
    ("10.0.0.60", "10.0.0.255", "0.255", "subnet[0].reservation[0].address", "10.0.0.255 is not a host address of 10.0.0.0/24; stay within 10.0.0.1-10.0.0.254"),
    ("10.0.0.60", "10.0.0.2", 'address = "10.0.0.2"#2', "subnet[0].reservation[0].address", "10.0.0.2 is the address of the primary of 'office'; reserve another"),
    ('"10.0.0.60"', '"10.0.0.60"\n[[subnet.reservation]]\nclient-id = "0102"\naddress = "10.0.0.60"', "10.0.0.60#2", "subnet[0].reservation[1].address", "10.0.0.60 is reserved for another host already; give each its own address"),
    ('"10.0.0.60"', '"10.0.0.60"\n[[subnet.reservation]]\nhardware = "02:00:00:00:00:01"\naddress = "10.0.0.61"', "02:00:00:00:00:01#2", "subnet[0].reservation[1].hardware", "this host has 10.0.0.60 in 10.0.0.0/24 already; one address a subnet for each host"),
    # --- times, options, DNS ---
    ('"12h"', '"2d"', '"2d"', "dhcp.lease-time", "2d is more than max-lease-time 1d; write 1d or less, or raise that"),
    ("ddns = {", 'lease-time = "1m"\nddns = {', '"1m"', "subnet[0].lease-time", "1m is less than min-lease-time 5m; write 5m or more, or lower that"),
    ("domain-name-servers =", "domain-nameserver =", "nameserver", "dhcp.options.domain-nameserver", 'no option is called "domain-nameserver"; did you mean "domain-name-servers"?'),
    ('["10.0.0.1"]', '["10.0.0.x"]', "0.x", "subnet[0].options.routers", "'10.0.0.x' is not an IPv4 address like \"10.0.0.1\"; write a list, each an IPv4 address like \"10.0.0.1\""),
    ('["10.0.0.1"]', "1979-05-27", "1979", "subnet[0].options.routers", "1979-05-27 is no option value; write a string, a number, ..."),
    ("routers =", '"200" = 3, routers =', '"200"', "subnet[0].options.200", "option 200 has no known type, so this cannot be encoded; write octets like { hex = \"0a0b0c\" }, or a text"),
    ("routers =", 'subnet-mask = "255.0.0.0", routers =', "subnet-mask", "subnet[0].options.subnet-mask", "subnet-mask cannot be set; it follows from the subnet's prefix"),
    ("routers =", '"51" = { hex = "00000001" }, routers =', '"51"', "subnet[0].options.51", "dhcp-lease-time cannot be set; it is set by lease-time"),
    ("routers =", '"255" = { hex = "00" }, routers =', '"255"', "subnet[0].options.255", "there is no option 255; numbers go from 1 to 254"),
    ("routers =", '"256" = { hex = "00" }, routers =', '"256"', "subnet[0].options.256", "there is no option 256; numbers go from 1 to 254"),
    ("routers =", '"3" = { hex = "0a000001" }, routers =', '"3"', "subnet[0].options.routers", "is option 3, which 3 sets already; keep one of them"),
    ('ttl-min = "10m"', 'on-conflict = "take"', "on-conflict", "ddns.on-conflict", 'no name is taken with conflict-mode = "check-with-dhcid"; write "keep" or "suffix", or another conflict-mode'),
    ('ttl-min = "10m"', 'ttl-min = "2h"', "ttl-min", "ddns.ttl-min", "2h is more than ttl-max; write at most 1h"),
    ('name = "10.in-addr.arpa."', 'name = "X.test"', "X.test", "ddns.zone[1].name", "x.test. of target main is there already; remove it, or give it another target"),
    ('key-file = "/etc/key"', "", "[[ddns.zone]]", "ddns.zone[0].key-file", "is missing; add it: file with the TSIG key, as tsig-keygen writes it"),
    ('key-file = "/etc/key"', 'key-file = "key"', '"key"', "ddns.zone[0].key-file", "'key' is not an absolute path; write an absolute path ..."),
    ('x.test." }', 'x..test." }', "x..test", "subnet[0].ddns.domain", "'x..test.' is not a domain name; write a domain name like dyn.example.test. ..."),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "mark", "key", "message"), ERRORS, ids=[f"{e[3]}-{n}" for n, e in enumerate(ERRORS)])
def test_an_error_has_its_file_line_key_and_words(old: str, new: str, mark: str, key: str, message: str) -> None:
    text = changed(old, new)
    found = problems(text)
    hits = [problem for problem in found if problem.key == key]
    assert hits, found
    text_of_it = hits[0].text
    assert text_of_it.startswith(message[:-3]) if message.endswith("...") else text_of_it == message
    assert hits[0].line == line_of(text, mark)
    assert str(hits[0]) == f"f.toml:{line_of(text, mark)}: {key}: {text_of_it}"


@pytest.mark.parametrize(("old", "new"), [case[:2] for case in ERRORS])
def test_each_says_what_would_be_right(old: str, new: str) -> None:
    for problem in problems(changed(old, new)):
        wrong, separator, right = problem.text.partition("; ")
        assert wrong
        assert separator
        assert right


WARNINGS: list[tuple[str, str, str, str, str]] = [
    ("primary = {", 'primary = { auto-partner-down = "1h",', "auto-", "relationship[0].primary.auto-partner-down", "a cut link counts as a dead partner, and addresses may be leased twice; keep \"0s\" unless one has a witness"),
    ('mclt = "1h"', 'lone-boot = "serve"', "lone-boot", "relationship[0].lone-boot", "a server that was declared down and is booted alone may lease addresses twice; ..."),
    ('mclt = "1h"\nmax-response-delay = "30s"\n[dhcp]', 'mclt = "30s"\nmax-response-delay = "30s"\n[dhcp]\nmin-lease-time = "30s"', "mclt", "relationship[0].mclt", "30 s is within what two clocks may differ; write 60s or more outside of tests"),
    ('mclt = "1h"\nmax-response-delay = "30s"', 'mclt = "5m"\nmax-response-delay = "6m"', "mclt", "relationship[0].mclt", "is shorter than max-response-delay: first leases end before a lost link is noticed; write a larger mclt"),
    ('mclt = "1h"', 'mclt = "13h"', 'relationship = "office"', "subnet[0].pool[0].relationship", "the mclt 13h of 'office' exceeds the lease time 12h and only prolongs waits; lower the mclt"),
    ('lease-time = "12h"', 'lease-time = "12h"\nmin-lease-time = "2h"', "min-lease", "dhcp.min-lease-time", "2h is longer than the mclt 1h of 'office', which no first lease exceeds; write 1h or less"),
    (ONE, ISC, "[[relationship]]", "relationship[0].max-unacked-updates", "dhcpd would hold back its acknowledgements for 2 s at a time; write at most twice its own value: 20"),
    (ONE, ISC, "mclt", "relationship[0].mclt", "a dhcpd primary sends its own value, which is used; set it there and leave it out here"),
    (ONE + "\n", ISC + '\nload-balance-max-seconds = 5\nhba = "' + "f0" * 32 + '"\n', "hba", "relationship[0].hba", "a dhcpd primary sends its own value, which is used; set it there and leave it out here"),
    (f'{ONE}\n{TWO}\nmclt = "1h"\nmax-response-delay = "30s"', f'{ISC}\n{TWO}\nmax-response-delay = "61s"', "61s", "relationship[0].max-response-delay", "dhcpd speaks every third of this; write 15s to 60s with a dhcpd partner"),
    (f'{ONE}\n{TWO}\nmclt = "1h"\nmax-response-delay = "30s"\n[dhcp]\nlease-time = "12h"', f'{ISC}\n{TWO}\n[dhcp]\nmin-lease-time = "1m"\nlease-time = "2m"', '"2m"', "dhcp.lease-time", "2m is within what dhcpd tolerates between two clocks; write 130s or more with a dhcpd partner"),
    ("[log]", '[servers.three]\ninterfaces = ["eth0"]\n[log]', "three", "servers.three", "no relationship and no pool names this server; name it there, or remove it"),
    ('readers = ["*"]', 'operators = ["*"]', "operators", "api.operators", "everybody on this machine may change things; write users or \"@groups\""),
    ("[servers.two]", '[servers.two]\napi = { operators = ["*"] }', "operators", "servers.two.api.operators", "everybody on this machine may change things; write users or \"@groups\""),
    ('shared-network = "floor"', "", 'name = "floor"', "shared-network[0].name", "no subnet is in this network; name it in a subnet (shared-network = ...), or remove it"),
    ('["10.0.0.1"]', '["10.1.0.1"]', "routers", "subnet[0].options.routers", "10.1.0.1 is not inside 10.0.0.0/24: clients cannot reach it; write a router of this subnet"),
    ('["10.0.0.1"]', '["10.0.0.15"]', "routers", "subnet[0].options.routers", "10.0.0.15 lies in a pool: it may be leased to a client; leave it out of the range"),
    ('domain = "x.test."', 'domain = "y.test."', "y.test", "subnet[0].ddns.domain", "no zone holds y.test.: no names are written; add a [[ddns.zone]] for it"),
    ('name = "10.in-addr.arpa."', 'name = "11.in-addr.arpa."', "ddns = {", "subnet[0].ddns", "no zone holds 10.0.0.10.in-addr.arpa.: PTR records are not written for it; add a [[ddns.zone]] for it"),
    ('ttl-min = "10m"', 'conflict-mode = "no-check-with-dhcid"', "conflict", "ddns.conflict-mode", "names of other hosts are overwritten; \"check-with-dhcid\" protects them (RFC 4703)"),
    ('"10.0.0.60"', '"10.0.0.60"\nhostname = "a"\n[[subnet.reservation]]\nhostname = "A"\nclient-id = "0102"\naddress = "10.0.0.61"', '"A"', "subnet[0].reservation[1].hostname", "A is another host's name too; only one of them gets it in DNS"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "mark", "key", "message"), WARNINGS, ids=[f"{w[3]}-{n}" for n, w in enumerate(WARNINGS)])
def test_a_warning_has_its_line_key_and_words(old: str, new: str, mark: str, key: str, message: str) -> None:
    text = changed(old, new)
    found = parse_text(text, "f.toml").warnings
    hits = [problem for problem in found if problem.key == key]
    assert hits, found
    assert hits[0].text.startswith(message[:-3]) if message.endswith("...") else hits[0].text == message
    assert hits[0].file == "f.toml"
    assert hits[0].line == line_of(text, mark)


def test_safety_12_auto_partner_down_is_refused_on_both_servers_however_it_is_said() -> None:
    both = changed("primary = {", 'primary = { auto-partner-down = "1h",').replace(
        "secondary = {", 'secondary = { auto-partner-down = "2h",'
    )
    assert [p.key for p in problems(both)] == ["relationship[0].secondary.auto-partner-down"]
    one = changed('mclt = "1h"', 'auto-partner-down = "1h"').replace("secondary = {", 'secondary = { auto-partner-down = "0s",')
    assert [w.key for w in parse_text(one).warnings] == ["relationship[0].auto-partner-down"]
    off = changed('mclt = "1h"', 'auto-partner-down = "0s"')
    assert parse_text(off).warnings == []


def test_two_relationships_on_one_address_pair_between_failoverds_with_ports_of_their_own() -> None:
    assert parse_text(GOOD + SECOND.replace("647", "648")).warnings == []


def test_every_error_at_once() -> None:
    """Broken values hide neither each other nor what is wrong between the sound tables."""
    text = (
        GOOD.replace('site = "lab"', "site = 1")
        .replace('interfaces = ["eth0"]', 'interfaces = [""]', 1)
        .replace('mclt = "1h"', "mclt = 0\nmlct = 1")
        .replace("10.0.0.10-", "10.0.0.x-")
        .replace("10.1.0.10-", "10.2.0.10-")
        .replace("domain-name-servers", "nonsense")
        .replace("02:00:00:00:00:01", "02")
        .replace('name = "x.test."', 'name = ""')
    )
    assert [(p.line, p.key) for p in problems(text)] == [
        (1, "site"),
        (3, "servers.one.interfaces[0]"),
        (14, "relationship[0].mclt"),
        (15, "relationship[0].mlct"),
        (19, "dhcp.options.nonsense"),
        (29, "subnet[0].pool[0].range[0]"),
        (34, "subnet[0].reservation[0].hardware"),
        (39, "subnet[1].pool[0].range[0]"),
        (44, "ddns.zone[0].name"),
    ]


def test_a_reference_to_a_broken_table_is_not_called_dangling() -> None:
    assert [p.key for p in problems(changed('mclt = "1h"', "mclt = 0"))] == ["relationship[0].mclt"]
    assert [p.key for p in problems(changed('relationship = "office"', 'relationship = "office"\nname = ""'))] == [
        "subnet[0].pool[0].name"
    ]


SYNTAX = [
    ("a = [", 1, "is not TOML at the end of the file: "),
    ("a = 1\nb == 2\n", 2, "is not TOML at column 4: invalid value; see https://toml.io"),
    ("a = 1\n\na = 2\n", 3, "is not TOML at column 6: cannot overwrite a value; "),
    ('a = "\n"', 1, "is not TOML at column 6: illegal character '\\n'; "),
    ("a = " + "[" * 5000, 1, "is nested too deeply; "),
    ("a = " + "1" * 5000, 1, "holds a value that cannot be read: "),
]


@pytest.mark.parametrize(("text", "line", "message"), SYNTAX, ids=[str(line) + message[:12] for _, line, message in SYNTAX])
def test_syntax_errors_have_their_line(text: str, line: int, message: str) -> None:
    (found,) = problems(text)
    assert (found.file, found.line, found.key) == ("f.toml", line, "")
    assert found.text.startswith(message)
    assert str(found).startswith(f"f.toml:{line}: ")


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_file_is_read_or_refused_and_nothing_else(data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(GOOD)))
    length = data.draw(st.integers(0, 12))
    new = data.draw(st.text(alphabet="abc019[]{}=.,\"'\\\n# -\r\x00é", max_size=12))
    found: list[Problem] | None = None
    try:
        assert isinstance(parse_text(GOOD[:at] + new + GOOD[at + length :]), Config)
    except ConfigError as error:
        found = error.problems
    assert found != []
    assert all("; " in problem.text and problem.line >= 1 for problem in found or [])
