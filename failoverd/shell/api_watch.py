"""What the API says of secondaries: their lag in every status, and where a name is shown (`failoverctl ddns wait`)."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Mapping, Sequence
from typing import Protocol, cast

import dns.exception
import dns.name
from aiohttp import web

Record = Mapping[str, object]


class Watched(Protocol):
    """What the API needs of the watch over secondaries (dns_watch.py)."""

    def rows(self) -> Sequence[Record]:
        """The lag of each secondary."""
        ...

    def warnings(self) -> Sequence[str]:
        """A sentence for each secondary that is late."""
        ...

    def where(self, name: str) -> Awaitable[Sequence[Record]]:
        """What every master and every secondary of a name shows."""
        ...


class Nobody:
    """No DNS: nothing is watched."""

    def rows(self) -> Sequence[Record]:
        """None."""
        return ()

    def warnings(self) -> Sequence[str]:
        """None."""
        return ()

    async def where(self, name: str) -> Sequence[Record]:
        """Nowhere."""
        return ()


def with_lags(body: object, watch: Watched) -> dict[str, object]:
    """A status, or its DNS part, with the secondaries and their warnings."""
    record = dict(cast("Record", body))
    if "dns" in record:
        record["dns"] = {**cast("Record", record["dns"]), "secondaries": list(watch.rows())}
        record["warnings"] = [*cast("Sequence[str]", record["warnings"]), *watch.warnings()]
    else:
        record["secondaries"] = list(watch.rows())
    return record


def name_asked(request: web.Request) -> str:
    """The name= of a request, absolute and in lower case; an IPv4 address stands for its PTR. ValueError with the reason."""
    text = request.query.get("name", "").strip()
    if set(request.query) != {"name"} or len(request.query) != 1 or not text.strip("."):
        raise ValueError("ask with exactly one name=")
    try:
        return ipaddress.IPv4Address(text).reverse_pointer + "."
    except ValueError:
        pass
    try:
        return dns.name.from_text(text).to_text().lower()
    except (dns.exception.DNSException, UnicodeError):
        raise ValueError(f"{text!r} is not a DNS name") from None
