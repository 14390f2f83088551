"""The protocol in the draft's words: messages, options and how their data reads, states, reasons (draft-12 6.1.1, 12).

Written down apart from failoverd.failover.message on purpose: each is the other's check.
"""

from __future__ import annotations

from typing import NamedTuple

MESSAGES = {
    1: "POOLREQ",
    2: "POOLRESP",
    3: "BNDUPD",
    4: "BNDACK",
    5: "CONNECT",
    6: "CONNECTACK",
    7: "UPDREQALL",
    8: "UPDDONE",
    9: "UPDREQ",
    10: "STATE",
    11: "CONTACT",
    12: "DISCONNECT",
}


class Kind(NamedTuple):
    """How an option's data reads. `size`: octets, 0 for any number."""

    name: str
    reads: str  # address, octets, text, u8, u16, u32, time, or the name of a table below
    size: int = 0


OPTIONS = {
    1: Kind("addresses-transferred", "u32", 4),
    2: Kind("assigned-IP-address", "address", 4),
    3: Kind("binding-status", "binding-status", 1),
    4: Kind("client-identifier", "octets"),
    5: Kind("client-hardware-address", "octets"),
    6: Kind("client-last-transaction-time", "time", 4),
    7: Kind("client-reply-options", "octets"),
    8: Kind("client-request-options", "octets"),
    9: Kind("DDNS", "octets"),
    10: Kind("delayed-service-parameter", "u8", 1),
    11: Kind("hash-bucket-assignment", "buckets", 32),
    12: Kind("IP-flags", "ip-flags", 2),
    13: Kind("lease-expiration-time", "time", 4),
    14: Kind("max-unacked-bndupd", "u32", 4),
    15: Kind("MCLT", "u32", 4),
    16: Kind("message", "text"),
    17: Kind("message-digest", "octets"),
    18: Kind("potential-expiration-time", "time", 4),
    19: Kind("receive-timer", "u32", 4),
    20: Kind("protocol-version", "u8", 1),
    21: Kind("reject-reason", "reject-reason", 1),
    22: Kind("relationship-name", "text"),
    23: Kind("server-flags", "server-flags", 1),
    24: Kind("server-state", "server-state", 1),
    25: Kind("start-time-of-state", "time", 4),
    26: Kind("TLS-reply", "u8", 1),
    27: Kind("TLS-request", "u8", 1),
    28: Kind("vendor-class-identifier", "text"),
    29: Kind("vendor-specific-options", "octets"),
}
# Said between two failoverd on an authenticated link only (failoverd.failover.private).
PRIVATE = {
    224: Kind("failoverd-names", "names"),
    225: Kind("failoverd-dialect", "dialect"),
    226: Kind("failoverd-database", "database", 48),
    227: Kind("failoverd-known", "known", 40),
    228: Kind("failoverd-epoch", "u32", 4),
    229: Kind("failoverd-digest", "digest", 33),
    230: Kind("failoverd-generation", "u64", 8),
    231: Kind("failoverd-frame", "frame"),
    232: Kind("failoverd-standing", "standing"),
}
PRIVATE_FROM, PRIVATE_TO = 224, 254
BINDING_STATES = {1: "FREE", 2: "ACTIVE", 3: "EXPIRED", 4: "RELEASED", 5: "ABANDONED", 6: "RESET", 7: "BACKUP"}
SERVER_STATES = {
    0: "unknown-state",
    1: "startup",
    2: "normal",
    3: "communications-interrupted",
    4: "partner-down",
    5: "potential-conflict",
    6: "recover",
    7: "paused",
    8: "shutdown",
    9: "recover-done",
    10: "resolution-interrupted",
    11: "conflict-done",
    254: "recover-wait",
}
REJECT_REASONS = {
    1: "illegal IP address",
    2: "fatal conflict",
    3: "missing binding information",
    4: "time mismatch",
    5: "invalid MCLT",
    6: "unknown reason",
    7: "duplicate connection",
    8: "invalid failover partner",
    9: "TLS not supported",
    10: "TLS not configured",
    11: "TLS required",
    12: "digest not supported",
    13: "digest not configured",
    14: "protocol version mismatch",
    15: "outdated binding information",
    16: "less critical binding information",
    17: "no traffic within sufficient time",
    18: "hash bucket assignment conflict",
    19: "IP not reserved on this server",
    20: "message digest failed",
    21: "missing message digest",
    254: "unknown error",
}
# Which options each message may carry (failover-protocol.md 2.1); others are skipped by a receiver.
EXPECTED = {
    1: set[int](),
    2: {1},
    3: {2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 18, 25},
    4: {2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 16, 18, 21, 25},
    5: {11, 14, 15, 19, 20, 22, 27, 28},
    6: {14, 16, 19, 20, 21, 22, 26, 28},
    7: set[int](),
    8: set[int](),
    9: set[int](),
    10: {23, 24, 25},
    11: set[int](),
    12: {16, 21},
}
# Without these a message says nothing.
NEEDED = {2: {1}, 3: {2, 3}, 4: {2}, 5: {22, 14, 19, 15, 11}, 6: {22}, 10: {24}}
