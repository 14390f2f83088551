"""Which live leases want a name, and which of them gets it.

`want` of a row is always computed from all live leases of its name (safety.md 24), never from one change. The oldest client keeps a
name that two clients ask for; of one client's leases the newest is shown (RFC 4703 5.3.2 replaces the address).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from failoverd.ddns.dhcid import guard
from failoverd.ddns.names import reverse_name
from failoverd.ddns.zone import DnsPlan
from failoverd.leases.lease import NEVER, NO_FORWARD, NO_REVERSE, BindingState, Lease

FEW = 8  # claims of a name that are looked through; where more clients share one ("iphone"), those of each are kept by its DHCID


class Claim(NamedTuple):
    """One live lease that wants a name. `mine`: this server, not the partner, spoke to the client last. `forward`: its address record
    is ours to register. `pointer`: owner name of its PTR record, "" for none. `hw`, `client_id`, `cased`: who it is, and what it calls
    itself (a predecessor may have hashed that as it was written). `wish`: the name that it asked for. `starts`: of its lease."""

    address: int
    guard: str
    ttl: int
    mine: bool
    forward: bool = True
    pointer: str = ""
    hw: bytes = b""
    client_id: bytes = b""
    cased: str = ""
    wish: str = ""
    starts: int = 0


def _newest(claims: Iterable[Claim]) -> int:
    """The address of one client's claims that got the newest lease or renewal: the one that its name shows (RFC 4703 5.3.2). Both servers
    hold the same times, so they agree. 0 for none. Of equals the one that came last."""
    found, since = 0, 0
    for claim in claims:
        if claim.forward and claim.starts >= since:
            found, since = claim.address, claim.starts
    return found


def claimed_name(lease: Lease | None) -> str:
    """The name that a lease wants now, or wants a PTR to: only a bound client with an identity wants one."""
    if lease is None or lease.state is not BindingState.ACTIVE or not lease.client:
        return ""
    return lease.fqdn if lease.dns & (NO_FORWARD | NO_REVERSE) != NO_FORWARD | NO_REVERSE else ""


def wanted_name(lease: Lease | None) -> str:
    """The name that we register for a lease now, "" when the client does that itself."""
    return "" if lease is None or lease.dns & NO_FORWARD else claimed_name(lease)


def pointer_of(lease: Lease | None) -> str:
    """The owner name of the PTR record of a lease, "" when it is not ours to register. As the lease has it, for the configuration may
    have changed since."""
    if lease is None or lease.dns & NO_REVERSE:
        return ""
    return lease.rev or reverse_name(lease.address)


def ttl_of(lease: Lease, plan: DnsPlan) -> int:
    """Fixed, or a part of the lease between the bounds, a third by default (RFC 4702 5)."""
    if plan.ttl_s:
        return plan.ttl_s
    if lease.ends >= NEVER:
        return plan.ttl_max_s
    length = lease.ends - max(lease.starts, lease.cltt)
    part = length * plan.ttl_percent // 100 if plan.ttl_percent else length // 3
    return min(max(part, plan.ttl_min_s), plan.ttl_max_s)


class Claims:
    """fqdn -> its claims in the order in which they came. Memory is proportional to the live leases with names."""

    def __init__(self) -> None:
        self._by_name: dict[str, dict[int, Claim]] = {}
        # Name that more than a few want -> DHCID -> addresses, as they came.
        self._crowds: dict[str, dict[str, dict[int, None]]] = {}

    def enter(self, name: str, claim: Claim) -> None:
        """A claim in its place, or at the end of the line, where one stands that another client had at its address."""
        before = self._by_name.get(name, {}).get(claim.address)
        if before is not None and before.guard != claim.guard:
            self.drop(name, claim.address)
        claims, crowd = self._by_name.setdefault(name, {}), self._crowds.get(name)
        claims[claim.address] = claim
        if crowd is not None:
            crowd.setdefault(claim.guard, {})[claim.address] = None
        elif len(claims) > FEW:
            crowd = self._crowds[name] = {}
            for each in claims.values():
                crowd.setdefault(each.guard, {})[each.address] = None

    def drop(self, name: str, address: int) -> Claim | None:
        """A lease no longer wants the name. Its claim, None when it had none."""
        claims, crowd = self._by_name.get(name, {}), self._crowds.get(name)
        claim = claims.pop(address, None)
        if claim is not None and crowd is not None:
            crowd[claim.guard].pop(address)
            if not crowd[claim.guard]:
                del crowd[claim.guard]
        if not claims:
            self._by_name.pop(name, None)
            self._crowds.pop(name, None)
        return claim

    def _of_client(self, name: str, owner: str) -> list[Claim]:
        """The claims of one client on a name, in their order. Costs the same however many others there are."""
        claims, crowd = self._by_name.get(name, {}), self._crowds.get(name)
        if crowd is None:
            return [claim for claim in claims.values() if claim.guard == owner]
        return [claims[address] for address in crowd.get(owner, ())]

    def of(self, name: str) -> tuple[Claim, ...]:
        """All claims on a name, oldest first."""
        return tuple(self._by_name.get(name, {}).values())

    def put(self, lease: Lease, plan: DnsPlan, mine: bool, name: str = "", pointer: str | None = None) -> bool:
        """Enter or refresh the claim of a lease on `name`, "": the one it asks for. False when nothing changed (the fast path of a
        renewal). `pointer`: the owner name of its PTR, None: as the lease says.

        The TTL stays as it is until it would have to be halved: it follows the length of the lease, and a lease that MCLT cut
        short, or a renewal a second late, must not move the zone's serial. A renewal changes something when it makes its lease the
        newest of a client that has several.
        """
        name = name or lease.fqdn
        owner, ttl = guard(lease.hw, lease.client_id, name), ttl_of(lease, plan)
        before = self._by_name.get(name, {}).get(lease.address)
        if before is not None and before.guard == owner:
            ttl = ttl if ttl * 2 <= before.ttl else before.ttl
        shown = _newest(self._of_client(name, owner))
        claim = Claim(
            lease.address, owner, ttl, mine, not lease.dns & NO_FORWARD, pointer_of(lease) if pointer is None else pointer
        )
        claim = claim._replace(hw=lease.hw, client_id=lease.client_id, cased=lease.hostname, wish=lease.fqdn, starts=lease.starts)
        self.enter(name, claim)
        same = before is not None and claim._replace(starts=before.starts) == before
        return not same or _newest(self._of_client(name, owner)) != shown

    def point(self, name: str, address: int, pointer: str) -> None:
        """The PTR of a claim stands at another name now."""
        claims = self._by_name.get(name, {})
        if (claim := claims.get(address)) is not None:
            claims[address] = claim._replace(pointer=pointer)

    def newest(self, name: str, address: int) -> None:
        """Put a claim at the end of its line: at boot, the address that the row shows. Of a client's leases that began in the same second
        it stays the one that is shown."""
        claim = self.drop(name, address)
        if claim is not None:
            self.enter(name, claim)

    def own(self, name: str) -> None:
        """The partner is down: we speak for all claims of a name."""
        claims = self._by_name.get(name, {})
        for address, claim in claims.items():
            claims[address] = claim._replace(mine=True)

    def select(self, name: str, holder: str, take: bool = False) -> tuple[Claim | None, int]:
        """The claim that gets the name, and how many claims of other clients go without. Claims that want only a PTR have no part in it.

        `holder`: the DHCID that has the name now, "" for none; it keeps the name as long as it has a claim. `take`:
        the client that asked last gets it instead.
        """
        claims = [claim for claim in self._by_name.get(name, {}).values() if claim.forward]
        if not claims:
            return None, 0
        if take:
            taker = self._by_name[name][_newest(self._of_client(name, claims[-1].guard))]
            return taker, sum(claim.guard != taker.guard for claim in claims)
        owner = holder if any(claim.guard == holder for claim in claims) else claims[0].guard
        chosen = self._by_name[name][_newest(self._of_client(name, owner))]
        return chosen, sum(claim.guard != chosen.guard for claim in claims)
