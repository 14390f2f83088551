"""The name and mail servers of our zones: what the NS and MX records at each apex name now. The node gives no client such a name.

Asked when failoverd starts and every hour; a master that does not answer is asked again in a minute, and until then what was last known
holds. Records of static hosts are safe without this (a name that has an address and no DHCID is nobody's): this says so to the client at
once, and covers a server whose address is not there yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from failoverd.ddns.zone import Zone
from failoverd.ports import DnsAnswer, DnsQuery, Input
from failoverd.ports import ZoneHosts as Hosts
from failoverd.shell.sides import ToMasters

AGAIN_S = 3600.0
RETRY_S = 60.0
TYPES = ("NS", "MX")


class ZoneHosts:
    """`deliver`: takes what the node shall know."""

    def __init__(
        self,
        zones: Iterable[Zone],
        masters: ToMasters,
        deliver: Callable[[Input], None],
        again_s: float = AGAIN_S,
        retry_s: float = RETRY_S,
    ) -> None:
        self._zones = tuple(zones)
        self._masters = masters
        self._deliver = deliver
        self._again_s, self._retry_s = again_s, retry_s
        self._timers: dict[Zone, asyncio.TimerHandle] = {}
        self._closed = False

    def start(self) -> None:
        """Ask for all zones."""
        for zone in self._zones:
            self._ask(zone)

    def close(self) -> None:
        """Ask nothing more."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()

    def _ask(self, zone: Zone) -> None:
        query = DnsQuery(0, zone.target, zone.name, zone.name, TYPES)
        self._masters.submit(query, lambda answer: self._answered(zone, answer))

    def _answered(self, zone: Zone, answer: DnsAnswer) -> None:
        if self._closed:
            return
        known = answer.rcode == "NOERROR"
        if known:
            hosts = dict.fromkeys(text.split()[-1].lower() for _, text in answer.records)  # NS: the name; MX: preference and name
            self._deliver(Hosts(f"{zone.target} {zone.name}", tuple(hosts)))
        wait_s = self._again_s if known else self._retry_s
        self._timers[zone] = asyncio.get_running_loop().call_later(wait_s, self._ask, zone)
