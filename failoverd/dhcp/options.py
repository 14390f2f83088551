"""Every option that has a name: code, name, type. Encoding for the configuration, decoding for operators.

RFC 2132 and the IANA registry "BOOTP Vendor Extensions and DHCP Options"; names as in ISC's dhcp-options(5) where it has one, so that
a dhcpd.conf can be read across. Octets and TOML forms are option_types.py's.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import NamedTuple

from failoverd.dhcp import option_types as t
from failoverd.dhcp.option_types import OptionType, Value

OPTION_LIMIT = 1024  # octets: no reply on Ethernet holds much more


class Option(NamedTuple):
    """One row of the table."""

    code: int
    name: str
    type: OptionType


_TABLE: tuple[tuple[int, str, OptionType], ...] = (
    # RFC 2132 3: RFC 1497 vendor extensions
    (1, "subnet-mask", t.ADDRESS),
    (2, "time-offset", t.I32),
    (3, "routers", t.ADDRESSES),
    (4, "time-servers", t.ADDRESSES),
    (5, "ien116-name-servers", t.ADDRESSES),
    (6, "domain-name-servers", t.ADDRESSES),
    (7, "log-servers", t.ADDRESSES),
    (8, "cookie-servers", t.ADDRESSES),
    (9, "lpr-servers", t.ADDRESSES),
    (10, "impress-servers", t.ADDRESSES),
    (11, "resource-location-servers", t.ADDRESSES),
    (12, "host-name", t.TEXT),
    (13, "boot-size", t.U16),
    (14, "merit-dump", t.TEXT),
    (15, "domain-name", t.TEXT),
    (16, "swap-server", t.ADDRESS),
    (17, "root-path", t.TEXT),
    (18, "extensions-path", t.TEXT),
    # RFC 2132 4, 5: IP layer, per host and per interface
    (19, "ip-forwarding", t.BOOL),
    (20, "non-local-source-routing", t.BOOL),
    (21, "policy-filter", t.FILTERS),
    (22, "max-dgram-reassembly", t.DATAGRAM),
    (23, "default-ip-ttl", t.TTL),
    (24, "path-mtu-aging-timeout", t.U32),
    (25, "path-mtu-plateau-table", t.MTUS),
    (26, "interface-mtu", t.MTU),
    (27, "all-subnets-local", t.BOOL),
    (28, "broadcast-address", t.ADDRESS),
    (29, "perform-mask-discovery", t.BOOL),
    (30, "mask-supplier", t.BOOL),
    (31, "router-discovery", t.BOOL),
    (32, "router-solicitation-address", t.ADDRESS),
    (33, "static-routes", t.ROUTES),
    # RFC 2132 6, 7: link layer, TCP
    (34, "trailer-encapsulation", t.BOOL),
    (35, "arp-cache-timeout", t.U32),
    (36, "ieee802-3-encapsulation", t.BOOL),
    (37, "default-tcp-ttl", t.TTL),
    (38, "tcp-keepalive-interval", t.U32),
    (39, "tcp-keepalive-garbage", t.BOOL),
    # RFC 2132 8: applications and services
    (40, "nis-domain", t.TEXT),
    (41, "nis-servers", t.ADDRESSES),
    (42, "ntp-servers", t.ADDRESSES),
    (43, "vendor-encapsulated-options", t.SUB_OPTIONS),
    (44, "netbios-name-servers", t.ADDRESSES),
    (45, "netbios-dd-server", t.ADDRESSES),
    (46, "netbios-node-type", t.U8),
    (47, "netbios-scope", t.TEXT),
    (48, "font-servers", t.ADDRESSES),
    (49, "x-display-manager", t.ADDRESSES),
    # RFC 2132 9: DHCP itself
    (50, "dhcp-requested-address", t.ADDRESS),
    (51, "dhcp-lease-time", t.U32),
    (52, "dhcp-option-overload", t.U8),
    (53, "dhcp-message-type", t.U8),
    (54, "dhcp-server-identifier", t.ADDRESS),
    (55, "dhcp-parameter-request-list", t.U8S),
    (56, "dhcp-message", t.TEXT),
    (57, "dhcp-max-message-size", t.DATAGRAM),
    (58, "dhcp-renewal-time", t.U32),
    (59, "dhcp-rebinding-time", t.U32),
    (60, "vendor-class-identifier", t.TEXT),
    (61, "dhcp-client-identifier", t.OCTETS),
    (62, "nwip-domain", t.TEXT),
    (63, "nwip-suboptions", t.SUB_OPTIONS),
    # RFC 2132 8 again
    (64, "nisplus-domain", t.TEXT),
    (65, "nisplus-servers", t.ADDRESSES),
    (66, "tftp-server-name", t.TEXT),
    (67, "bootfile-name", t.TEXT),
    (68, "mobile-ip-home-agent", t.ADDRESSES),
    (69, "smtp-server", t.ADDRESSES),
    (70, "pop-server", t.ADDRESSES),
    (71, "nntp-server", t.ADDRESSES),
    (72, "www-server", t.ADDRESSES),
    (73, "finger-server", t.ADDRESSES),
    (74, "irc-server", t.ADDRESSES),
    (75, "streettalk-server", t.ADDRESSES),
    (76, "streettalk-directory-assistance-server", t.ADDRESSES),
    # later RFCs
    (77, "user-class", t.TEXTS),  # RFC 3004
    (78, "slp-directory-agent", t.OCTETS),  # RFC 2610
    (79, "slp-service-scope", t.OCTETS),  # RFC 2610
    (80, "rapid-commit", t.EMPTY),  # RFC 4039
    (81, "fqdn", t.OCTETS),  # RFC 4702
    (82, "dhcp-agent-options", t.SUB_OPTIONS),  # RFC 3046
    (83, "isns-servers", t.OCTETS),  # RFC 4174
    (85, "nds-servers", t.ADDRESSES),  # RFC 2241
    (86, "nds-tree-name", t.TEXT),  # RFC 2241
    (87, "nds-context", t.TEXT),  # RFC 2241
    (88, "bcms-controller-names", t.NAMES),  # RFC 4280
    (89, "bcms-controller-address", t.ADDRESSES),  # RFC 4280
    (90, "authentication", t.OCTETS),  # RFC 3118
    (91, "client-last-transaction-time", t.U32),  # RFC 4388
    (92, "associated-ip", t.ADDRESSES),  # RFC 4388
    (93, "pxe-system-type", t.U16S),  # RFC 4578
    (94, "pxe-interface-id", t.U8S),  # RFC 4578
    (95, "ldap", t.TEXT),  # RFC 3679
    (97, "pxe-client-id", t.OCTETS),  # RFC 4578
    (98, "uap-servers", t.TEXT),  # RFC 2485
    (99, "geoconf-civic", t.OCTETS),  # RFC 4776
    (100, "pcode", t.TEXT),  # RFC 4833
    (101, "tcode", t.TEXT),  # RFC 4833
    (108, "v6-only-preferred", t.U32),  # RFC 8925
    (112, "netinfo-server-address", t.ADDRESSES),  # RFC 3679
    (113, "netinfo-server-tag", t.TEXT),  # RFC 3679
    (114, "v4-captive-portal", t.TEXT),  # RFC 8910
    (116, "auto-config", t.U8),  # RFC 2563
    (117, "name-service-search", t.U16S),  # RFC 2937
    (118, "subnet-selection", t.ADDRESS),  # RFC 3011
    (119, "domain-search", t.NAMES),  # RFC 3397
    (120, "sip-servers", t.SIP),  # RFC 3361
    (121, "classless-static-routes", t.CLASSLESS_ROUTES),  # RFC 3442
    (122, "cablelabs-client-configuration", t.SUB_OPTIONS),  # RFC 3495
    (123, "geoconf", t.OCTETS),  # RFC 6225
    (124, "vivco", t.VENDORS),  # RFC 3925
    (125, "vivso", t.VENDORS),  # RFC 3925
    (136, "pana-agent", t.ADDRESSES),  # RFC 5192
    (137, "v4-lost", t.NAME),  # RFC 5223
    (138, "capwap-ac-v4", t.ADDRESSES),  # RFC 5417
    (139, "ipv4-address-mos", t.SUB_OPTIONS),  # RFC 5678
    (140, "ipv4-fqdn-mos", t.SUB_OPTIONS),  # RFC 5678
    (141, "sip-ua-cs-domains", t.NAMES),  # RFC 6011
    (142, "ipv4-address-andsf", t.ADDRESSES),  # RFC 6153
    (143, "sztp-redirect", t.OCTETS),  # RFC 8572
    (144, "geoloc", t.OCTETS),  # RFC 6225
    (145, "forcerenew-nonce-capable", t.U8S),  # RFC 6704
    (146, "rdnss-selection", t.OCTETS),  # RFC 6731
    (147, "dots-ri", t.NAME),  # RFC 8973
    (148, "dots-address", t.ADDRESSES),  # RFC 8973
    (150, "tftp-server-address", t.ADDRESSES),  # RFC 5859
    (151, "status-code", t.OCTETS),  # RFC 6926
    (152, "base-time", t.U32),  # RFC 6926
    (153, "start-time-of-state", t.U32),  # RFC 6926
    (154, "query-start-time", t.U32),  # RFC 6926
    (155, "query-end-time", t.U32),  # RFC 6926
    (156, "dhcp-state", t.U8),  # RFC 6926
    (157, "data-source", t.U8),  # RFC 6926
    (158, "v4-pcp-server", t.OCTETS),  # RFC 7291
    (159, "v4-portparams", t.OCTETS),  # RFC 7618
    (161, "mud-url", t.TEXT),  # RFC 8520
    (162, "v4-dnr", t.OCTETS),  # RFC 9463
    (208, "pxelinux-magic", t.OCTETS),  # RFC 5071
    (209, "loader-configfile", t.TEXT),  # RFC 5071
    (210, "loader-pathprefix", t.TEXT),  # RFC 5071
    (211, "loader-reboottime", t.U32),  # RFC 5071
    (212, "option-6rd", t.OCTETS),  # RFC 5969
    (213, "v4-access-domain", t.NAME),  # RFC 5986
    (220, "subnet-allocation", t.OCTETS),  # RFC 6656
    (221, "virtual-subnet-selection", t.OCTETS),  # RFC 6607
    # in use without an RFC
    (249, "ms-classless-static-routes", t.CLASSLESS_ROUTES),
    (252, "wpad-url", t.TEXT),
)

OPTIONS: dict[int, Option] = {code: Option(code, name, kind) for code, name, kind in _TABLE}
CODES: dict[str, int] = {name: code for code, name, _ in _TABLE} | {
    # other names that are in use: ISC's, Kea's, and those of common how-tos
    "default-url": 114,
    "captive-portal": 114,
    "rfc3442-classless-static-routes": 121,
    "relay-agent-information": 82,
    "time-zone-posix": 100,
    "time-zone-name": 101,
    "ipv6-only-preferred": 108,
    "vendor-class": 124,
    "vendor-opts": 125,
    "tftp-servers": 150,
    "wpad": 252,
    "boot-file-name": 67,
    "dns-servers": 6,
}

# What a configuration may not set, because the server says it by itself, with what to write instead.
NOT_CONFIGURABLE: dict[int, str] = {
    0: "is the pad octet",
    1: "follows from the subnet's prefix",
    50: "is sent by clients only",
    51: "is set by lease-time",
    52: "is set by the server when a reply needs it",
    53: "is set by the server",
    54: "is the address of the server that answers",
    55: "is sent by clients only",
    57: "is sent by clients only",
    58: "is half of the lease time that is really given",
    59: "is seven eighths of the lease time that is really given",
    61: "is the client's own, echoed",
    80: "is not supported: an address is given by four messages, not two",
    81: "follows from what the server does in the DNS",
    82: "is the relay's own, echoed",
    118: "is the client's own, echoed",
    255: "is the end octet",
}

# RFC 8925 3.3: never to a client that did not ask, although a client without a request list gets everything else.
ONLY_IF_ASKED = frozenset({108})


def code_of(name: str | int) -> int:
    """The code of an option by its name, or by its number as an integer or text. ValueError says which name may be meant."""
    if isinstance(name, int) and not isinstance(name, bool):
        code = name
    elif isinstance(name, str) and name.isascii() and name.isdigit():
        code = int(name)
    else:
        known = CODES.get(name) if isinstance(name, str) else None
        if known is None:
            near = get_close_matches(str(name), CODES, 1)
            hint = f'did you mean "{near[0]}"?' if near else 'write its number, as in "150"'
            raise ValueError(f'no option is called "{name}"; {hint}')
        return known
    if not 0 <= code <= 255:
        raise ValueError(f"{code} is no option code: 1 to 254")
    return code


def name_of(code: int) -> str:
    """The name of an option, its number as text when it has none."""
    option = OPTIONS.get(code)
    return option.name if option is not None else str(code)


def encode_option(name: str | int, value: object) -> tuple[int, bytes]:
    """Code and octets of an option as a configuration writes it. `value`: a string, whole number, true or false, list, or table, by
    the option's type; { hex = "0a0b" } for any option, unchecked if the option is given by number. ValueError says what would be right.
    """
    code = code_of(name)
    if code in NOT_CONFIGURABLE:
        raise ValueError(f"{name_of(code)} cannot be set: it {NOT_CONFIGURABLE[code]}")
    octets = encode_value(code, value, checked=name in CODES)
    if len(octets) > OPTION_LIMIT:
        raise ValueError(f"{name_of(code)}: {len(octets)} octets are more than {OPTION_LIMIT}, which no reply could hold")
    return code, octets


def encode_value(code: int, value: object, checked: bool = True) -> bytes:
    """The octets of a value of any option, also of those that a configuration may not set. `checked`: octets given as hex must be a
    value of the option's type. ValueError as in `encode_option`."""
    option = OPTIONS.get(code)
    octets = t.octets_of(value)
    if option is None:
        if octets:
            return octets
        if isinstance(value, str):
            return t.TEXT.encode(value)
        raise ValueError(f"option {code} has no known type: write {t.OCTETS.shape}, or a text")
    try:
        if not octets:
            return option.type.encode(value)
        if checked:
            option.type.decode(octets)
        return octets
    except ValueError as error:
        raise ValueError(f"{option.name}: {error} (right would be {option.type.shape})") from error


def decode_option(code: int, octets: bytes) -> tuple[str, Value]:
    """Name and value of an option, in the form that a configuration would have; {"hex": ...} when the octets are no value of its
    type. Never raises."""
    option = OPTIONS.get(code)
    if option is not None:
        try:
            return option.name, option.type.decode(octets)
        except ValueError:
            return option.name, {"hex": octets.hex()}
    return str(code), {"hex": octets.hex()}
