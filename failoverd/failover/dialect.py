"""Which dialect two servers speak on a link: dhcpd's alone, or one of ours on top (safety.md 26; private.py has the bytes).

    0  plain   dhcpd's protocol and nothing else: every link without TLS, and every partner that offers nothing
    1  names   BNDUPD and BNDACK carry the names of a lease, and what of them is in DNS
    2  facts   the handshake carries database, epoch and the digest of the configuration; updates carry the generation; frames
    3  epochs  the handshake carries the state and the epoch agreed on as well, STATE the epoch: which of the two recovers (safety.md 17)
    4  hosts   frames of pings and of reservations

Each version has all that the one before has. Both sides offer the versions that they speak; the newest common one holds.
"""

from __future__ import annotations

from failoverd.failover.private import decode_dialect

PLAIN, NAMES, FACTS, EPOCHS, HOSTS = 0, 1, 2, 3, 4
OLDEST, NEWEST = NAMES, HOSTS


def agree(newest: int, offered: bytes | None, *, authenticated: bool) -> int:
    """The dialect of a link. `newest`: ours, 0 for none; `offered`: option 225 of the partner's handshake, None when it sent none."""
    theirs = decode_dialect(offered) if offered is not None else None
    if not authenticated or theirs is None or newest < OLDEST:
        return PLAIN
    common = min(newest, theirs[1])
    return common if common >= max(OLDEST, theirs[0]) else PLAIN
