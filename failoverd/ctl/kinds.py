"""What kind of thing an operator asks `explain` about."""

from __future__ import annotations

import re

KINDS = {"client": "client", "mac": "client", "addr": "address", "address": "address", "name": "name"}

_ADDRESS = re.compile(r"\d{1,3}(\.\d{1,3}){3}")
_OCTETS = re.compile(r"[0-9a-f]{1,2}([:-][0-9a-f]{1,2})+|([0-9a-f]{4}\.){2}[0-9a-f]{4}|[0-9a-f]{12}", re.IGNORECASE)


def guess(text: str) -> str:
    """ "address", "client" or "name". Twelve hex digits without a separator are a hardware address."""
    if _ADDRESS.fullmatch(text):
        return "address"
    return "client" if _OCTETS.fullmatch(text) else "name"
