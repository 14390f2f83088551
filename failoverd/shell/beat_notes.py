"""What the loop says of itself: gaps, the disk, what was too old to be of use."""

from __future__ import annotations

from failoverd.notes import declare

GAP = declare(
    "beat-gap",
    "warning",
    "This process did not run for longer than max-response-delay (the machine was suspended, a virtual machine was resumed, or "
    "the host was overloaded), or the wall clock was set forward that far. The partner may have been told meanwhile that this "
    "server is down: all partner links are closed and made anew, and until it speaks this server answers like one booted alone.",
)
HUNG = declare(
    "commit-hung",
    "error",
    "A write to the disk has not returned for max-response-delay. The link to the partner was dropped, so that it serves every "
    "client; nothing is acknowledged here until the disk answers. Look at the disk.",
)
OLD_DATAGRAM = declare(
    "datagram-old",
    "warning",
    "A client's datagram had waited more than 5 s when it was read, and was dropped: the client has retried.",
    limited=True,
)
OLD_ANSWER = declare(
    "answer-old",
    "warning",
    "An answer to a client was ready more than 5 s after the request (the disk was slow), and was dropped: the client retries.",
    limited=True,
)
WITHHELD = declare(
    "dns-withheld",
    "info",
    "A DNS update that was decided before a pause of this process was not sent; it is planned anew from the leases.",
)
LOW = declare(
    "store-low",
    "error",
    "The file system of the lease database is nearly full. New clients are refused and renewals get the time that is left on their "
    "lease, so that what is promised can still be written. Make room.",
)
ROOM = declare("store-room", "info", "The file system of the lease database has room again; everything is served as usual.")
MARKER = declare(
    "marker-failed",
    "error",
    "The marker beside the database could not be written. Until it can, a database that is rolled back to now may not be recognised.",
)
FULL = declare(
    "batch-full",
    "info",
    "Clients are left waiting in the kernel's buffer because the disk is behind: one commit's worth of writes is gathered.",
    limited=True,
)
DISCARDED = declare(
    "datagrams-discarded",
    "warning",
    "Datagrams that were waiting while this process did not run were dropped: clients have retried.",
)
