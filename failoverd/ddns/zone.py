"""The plain values that the planner reads: targets and zones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(slots=True, frozen=True)
class Zone:
    """One zone of one target. `name`: lower case, absolute, trailing dot. The shell knows the key by `key_name`."""

    target: str
    name: str
    primaries: tuple[tuple[str, int], ...]
    key_file: str
    key_name: str = ""
    key_next_file: str = ""  # the key that the master will know after a rollover, "" for none
    static_key_file: str = ""  # the operator's own key for static entries, "" for none
    allow_weak: bool = False  # its keys may be hmac-md5 or hmac-sha1


class Followed(NamedTuple):
    """RFC 2317: the PTR records of a prefix stand where the parent zone's CNAMEs lead, if that is in `zone`."""

    prefix: int
    length: int
    zone: str

    def holds(self, address: int) -> bool:
        """Whether an IPv4 address lies in the prefix."""
        return (address ^ self.prefix) >> (32 - self.length) == 0


@dataclass(slots=True, frozen=True)
class DnsPlan:
    """All zones, and the rules for records. TTL = ttl_s, or when that is 0 ttl_percent of the lease (0: a third, RFC 4702 5)
    bounded by min and max.

    `on_conflict`: keep (the client stays without a name), suffix (it gets another one), take (the client that asked last gets it).
    `migrate_guards`: what a predecessor registered for a client is taken over when the client renews; `migrate_on_repair`: when an
    operator orders it. `accept_family`: an address of ours may stand beside
    the entry that a DHCPv6 server has for a client. `follow`: longest prefix first."""

    zones: tuple[Zone, ...]
    ttl_s: int = 0
    ttl_percent: int = 0
    ttl_min_s: int = 600
    ttl_max_s: int = 3600
    conflict_mode: str = "check-with-dhcid"
    on_conflict: str = "keep"
    migrate_guards: bool = True
    migrate_on_repair: bool = True
    accept_family: bool = False
    follow: tuple[Followed, ...] = ()

    def zone_for(self, name: str, target: str) -> Zone | None:
        """The zone of `target` with the longest suffix match on whole labels."""
        best: Zone | None = None
        for zone in self.zones:
            fits = zone.target == target and (name == zone.name or name.endswith("." + zone.name))
            if fits and (best is None or len(zone.name) > len(best.name)):
                best = zone
        return best
