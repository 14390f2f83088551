"""Times, durations and foreign text in words a terminal can show."""

from __future__ import annotations

from datetime import UTC, datetime

NEVER = 0x7FFFFFFF  # an infinite lease on the wire and in the API


def duration(seconds: float) -> str:
    """1.2s, 42s, 14m 2s, 5h 3m, 6d 2h: the two largest units."""
    if seconds < 0:
        return "-" + duration(-seconds)
    if seconds < 9.95:
        return f"{seconds:.1f}s".replace(".0s", "s")
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    for large, small, size, unit in (("m", "s", 60, 1), ("h", "m", 3600, 60), ("d", "h", 86400, 3600)):
        if whole < size * {"m": 60, "h": 24, "d": 10**9}[large]:
            rest = whole % size // unit
            return f"{whole // size}{large} {rest}{small}" if rest else f"{whole // size}{large}"
    raise AssertionError("no duration is that long")


def moment(wall: float) -> str:
    """RFC 3339 in UTC, whole seconds; "-" for never, "infinite" for a lease without end."""
    if not wall:
        return "-"
    if wall >= NEVER:
        return "infinite"
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ago(wall: float, now: float) -> str:
    """How long ago `wall` was: "never" for 0."""
    return f"{duration(max(0.0, now - wall))} ago" if wall else "never"


def due(wall: float, now: float) -> str:
    """A coming moment with its distance: 2026-11-22T05:19:13Z (in 1h)."""
    if not wall or wall >= NEVER:
        return moment(wall)
    return f"{moment(wall)} ({'in ' + duration(wall - now) if wall - now >= 1 else 'now'})"


def plain(text: str) -> str:
    """Text from clients and partners with everything but printable characters escaped, so that it cannot steer the terminal."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def octets(hexes: str) -> str:
    """A hardware address of the API ("01:02:...": type, then address) as people write it: Ethernet without the type."""
    return hexes[3:] if hexes.startswith("01:") and len(hexes) == 20 else hexes
