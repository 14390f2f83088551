"""The Notes of the failover room: what the operator hears of a relationship and its binding updates."""

from __future__ import annotations

from failoverd.notes import declare

STATE_CHANGED = declare("state-changed", "warning", "The relationship moved to another state; the detail says from where and why.")
PARTNER_MOVED = declare("partner-state-changed", "info", "The partner reported another state.")
LINKED = declare("partner-linked", "info", "The link with the partner is established.")
LINK_LOST = declare(
    "partner-link-lost",
    "warning",
    "The link with the partner is gone. This server goes on alone from its own half of the pools; if the partner is dead for long,"
    " `failoverctl partner-down` unlocks the other half.",
)
CONNECT_FAILED = declare(
    "partner-connect-failed", "debug", "An attempt to connect to the partner failed; it is repeated every 2 s."
)
REFUSED_LINK = declare(
    "partner-handshake-refused",
    "warning",
    "A handshake was refused, by us or by the partner; the detail says why. Look at relationship name, roles, clocks (NTP).",
)
BAD_BYTES = declare(
    "partner-bytes-invalid", "error", "The partner sent bytes that are no failover message. The link is dropped and built anew."
)
TOO_EARLY = declare("partner-message-too-early", "warning", "A message came before the handshake was complete. It is ignored.")
IGNORED = declare("partner-message-ignored", "info", "A message of a type that this protocol version does not know was ignored.")
DISCONNECTED = declare("partner-disconnected", "info", "The partner said DISCONNECT and why.")
SILENT = declare(
    "partner-silent", "warning", "Nothing was heard from the partner for max-response-delay: the link counts as lost and is closed."
)
DISK_HANGS = declare(
    "disk-hangs",
    "error",
    "A commit has been under way for max-response-delay: the link is dropped so that the partner serves all clients (safety rule 4).",
)
SKEW = declare(
    "clock-skew", "warning", "The partner's clock differs from ours by more than 5 s. Beyond 60 s it refuses to connect. Check NTP."
)
DOUBT = declare(
    "lone-boot",
    "warning",
    "This server started without contact to its partner, which may have been declared alone meanwhile. What it grants is bounded until"
    " contact; `failoverctl status` says until when, and what to type.",
)
STARTING = declare("starting-up", "info", "The server waits up to 15 s for its partner before it serves.", limited=True)
RECOVERING = declare(
    "recovering",
    "info",
    "The server is recovering: it takes the partner's leases and waits until no lease that it may have forgotten can be in use.",
    limited=True,
)
RETURNING = declare(
    "partner-returns",
    "info",
    "The partner has recovered. What this server gave of its addresses in partner-down is told to it first; until then, a moment, nobody"
    " gets a new address here.",
    limited=True,
)
RESOLVING = declare(
    "resolving-conflict",
    "warning",
    "Both servers may have given out the same addresses. Until they have compared their leases, only clients that hold a lease here are"
    " renewed; new clients wait, and so do those whose address the partner claims for another.",
    limited=True,
)
DRAINING = declare(
    "maintenance-draining",
    "info",
    "An operator takes this server out of service: it answers no client, and waits until the partner has acked everything.",
    limited=True,
)
DRAIN_GIVEN_UP = declare(
    "maintenance-given-up",
    "warning",
    "The server was to be taken out of service, but the partner did not take everything in time, or went away. It serves again. When both"
    " are normal: `failoverctl maintenance start` again.",
)
RESTING = declare(
    "out-of-service",
    "info",
    "An operator took this server out of service; the partner serves. `failoverctl maintenance end` brings it back.",
    limited=True,
)
NOT_SERVING = declare("not-serving", "warning", "In this state the relationship answers no clients.", limited=True)
AMNESIA = declare(
    "partner-lost-its-database",
    "error",
    "The partner came back recovering although nobody declared it down, or while this server recovers itself: it lost its database. Every"
    " lease known here rests for its full time before another client may have its address.",
)
POOL_REQUEST_ANSWERED = declare("pool-request-answered", "info", "The partner asked for addresses (POOLREQ) and was given some.")
UNATTESTED = declare(
    "new-pair-unattested",
    "warning",
    "Both servers start without any lease. If this is a new pair: `failoverctl pair init` on both servers. Otherwise this server waits"
    " for the longest lease time, because leases from an earlier database may still be in use.",
)
STALLED = declare(
    "partner-stalled",
    "warning",
    "The partner is in contact, but for a minute has not sent what this server waits for: its state, the updates that were asked for, the"
    " answer to an update, or the next step of a resolution or recovery. The link is dropped and both begin again. If this repeats, look at"
    " the partner.",
)
REFUSED_BY_PARTNER = declare(
    "binding-update-refused-by-partner",
    "warning",
    "The partner refused a binding update of ours. Unless the reason is 16 (less critical), the address is given out by neither server"
    " until they agree; it is listed as rejected in `failoverctl lease list`.",
)
LESS_CRITICAL = declare(
    "binding-update-less-critical",
    "debug",
    "Both servers updated one lease at the same moment and the partner's view won (reject reason 16): normal.",
)
REFUSED_BY_US = declare(
    "binding-update-refused",
    "warning",
    "We refused a binding update of the partner's; the reject code and its reason stand in the detail.",
)
STRAY_ACK = declare(
    "binding-ack-unexpected",
    "info",
    "The partner acknowledged an update that is not in flight (an answer to an earlier link, or a wrong xid). Ignored.",
)
CONFLICT = declare(
    "lease-conflict",
    "warning",
    "The partner's binding for an address shows another client than ours did. The detail says whose stands; the other client gets a DHCPNAK"
    " at its next renewal. `failoverctl conflicts` lists them.",
)
POOL_MOVED = declare(
    "pool-balanced", "info", "Free addresses were handed to the partner so that both halves of the pool are level."
)
POOL_ASKED = declare("pool-request", "info", "This server is short of free addresses and asked the partner for some (POOLREQ).")
POOL_ANSWER = declare("pool-answer", "info", "The partner answered a POOLREQ with the number of addresses it hands over.")
UNAUTHENTICATED = declare(
    "partner-link-unauthenticated",
    "error",
    "A link without TLS was closed unread because the relationship has tls: there is no way back to plaintext.",
    limited=True,
)
EXPIRES = declare(
    "tls-certificate-expires",
    "warning",
    "A certificate of a failover link expires soon, or has expired. A link that is up stays up; no new one can be made afterwards, and "
    "the servers lose contact at the next restart or cut. Put new files place: they are read without a restart.",
)
CONFIG_DIFFERS = declare(
    "configuration-differs",
    "error",
    "The two servers do not have the same configuration; `failoverctl status` shows in what. Each goes by its own: give both the same "
    "file, and restart the one whose file changed.",
)
THEIR_DATABASE = declare(
    "partner-database-older",
    "error",
    "The partner came back with another database than it had, or with an older copy of it. Every lease known here rests for its full time "
    "before another client may have its address, and the partner fetches what it forgot.",
)
OUR_DATABASE = declare(
    "database-older",
    "error",
    "The partner has heard of a later state of this server's database than it is in: it was lost, restored or rolled back. This server "
    "fetches what it forgot, and waits, before it serves.",
)
PRIVATE_IGNORED = declare(
    "partner-private-ignored",
    "info",
    "The partner said something private that is malformed, out of turn, too much, or of a version that this failoverd does not know. It was"
    " ignored.",
    limited=True,
)
PRIVATE_UNSAID = declare(
    "partner-private-unsaid",
    "warning",
    "So much waits to be told to the partner beside its leases (names that are in DNS, pings, reservations) that so many messages were left"
    " out. Names are told again when both servers enter normal the next time.",
)
