"""The name that a client gets when the one it asked for is another's (on-conflict = "suffix"): name-2 to name-9, then name-<4 hex>.

The lease keeps what was asked for; the row of the name that was given says so (`wish`), which is how it survives a restart. The client
has it until the lease ends: it is not moved back when the name it asked for becomes free.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from failoverd.ddns.dhcid import guard, short_digest
from failoverd.ddns.rows import FORWARD, Row
from failoverd.ddns.wants import Claim, Claims, claimed_name
from failoverd.leases.lease import Lease

LONGEST_LABEL = 63
_NUMBERS = range(2, 10)


class GivenNames:
    """(wish, client) -> the name that was given instead. Empty unless names were in conflict."""

    def __init__(self) -> None:
        self._given: dict[tuple[str, bytes], str] = {}

    def load(self, lease: Lease, rows: Iterable[Row]) -> None:
        """At boot: `rows` are those that were given instead of the lease's wish."""
        for row in rows:
            if row.kind == FORWARD and row.want and row.guard == guard(lease.hw, lease.client_id, row.name):
                self._given[lease.fqdn, lease.client] = row.name

    def name_of(self, lease: Lease | None) -> str:
        """The name that a lease has, "" for none."""
        name = claimed_name(lease)
        return self._given.get((name, lease.client), name) if lease is not None and self._given else name

    def told(self, lease: Lease, shown: str) -> None:
        """The partner says what its lease is called."""
        if shown and shown != lease.fqdn:
            self._given[lease.fqdn, lease.client] = shown
        else:
            self._given.pop((lease.fqdn, lease.client), None)

    def instead(self, wish: str, client: bytes) -> str:
        """The name that a client has or gets when it asks for `wish`. `client`: as Lease.client."""
        return self._given.get((wish, client), wish) if self._given else wish

    def forget(self, old: Lease, claims: Claims, name: str) -> None:
        """A lease no longer wants `name`; with the client's last one it is free to ask for its wish again."""
        if not any(c.wish == old.fqdn and client_of(c) == old.client for c in claims.of(name)):
            self._given.pop((old.fqdn, old.client), None)

    def move(self, name: str, owner: str, claims: Claims) -> Claim | None:
        """Give the client whose DHCID at `name` is `owner` the next name that no client of ours has. One of its claims there, None when
        there is no further name for it, or when it is not ours to name."""
        movers = [c for c in claims.of(name) if c.guard == owner and c.mine and c.forward]
        if not movers:
            return None
        first = movers[0]
        wish = first.wish or name
        for candidate in suffixed(wish, guard(first.hw, first.client_id, wish), name):
            mine = guard(first.hw, first.client_id, candidate)
            if any(c.guard != mine for c in claims.of(candidate)):
                continue
            self._given[wish, client_of(first)] = candidate
            for claim in [c for c in claims.of(name) if c.guard == owner]:
                claims.drop(name, claim.address)
                claims.enter(candidate, claim._replace(guard=mine, wish=wish))
            return next(c for c in claims.of(candidate) if c.guard == mine)
        return None

    def given(self, claim: Claim) -> str:
        """The name that the client of a claim was given."""
        return self._given[claim.wish, client_of(claim)]


def client_of(claim: Claim) -> bytes:
    """As `Lease.client`."""
    return b"\x01" + claim.client_id if claim.client_id else b"\x00" + claim.hw


def suffixed(wish: str, owner: str, after: str) -> Iterator[str]:
    """The names to try instead of `wish`, those that follow `after`. `owner`: the client's DHCID at its wish."""
    label, _, domain = wish.partition(".")
    endings = [*(f"-{number}" for number in _NUMBERS), f"-{short_digest(owner)}"]
    names = [f"{label[: LONGEST_LABEL - len(ending)]}{ending}.{domain}" for ending in endings]
    yield from names[names.index(after) + 1 if after in names else 0 :]
