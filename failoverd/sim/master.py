"""A DNS master in memory: RFC 2136 as far as BIND carries it out for UPDATE messages, and queries.

Knows prerequisites (RFC 2136 3.2), the update section (3.4.2) and the rules of a CNAME (RFC 1034 3.6.2: an addition beside one is
silently ignored, RFC 2136 3.4.2.2). No TSIG: a master that refuses is a fault of the plan.
"""

from __future__ import annotations

from failoverd.ports import Change, DnsQuery, DnsUpdate, Prereq
from failoverd.sim.world import World

Records = dict[str, set[str]]  # type -> rdata texts of one name


class Master:
    """All zones of one master: name -> type -> rdata texts. `serial` counts changes of the data."""

    def __init__(self) -> None:
        """Empty zones."""
        self.names: dict[str, Records] = {}
        self.serial = 1

    def update(self, message: DnsUpdate) -> str:
        """Carry out one UPDATE; returns its rcode."""
        names = [prereq.name for prereq in message.prereqs] + [change.name for change in message.changes]
        if not all(f".{name}".lower().endswith(f".{message.zone}".lower()) for name in names):
            return "NOTZONE"
        for prereq in message.prereqs:
            rcode = self._prereq(prereq)
            if rcode != "NOERROR":
                return rcode
        touched = {change.name.lower() for change in message.changes}
        before = [self._copy(name) for name in sorted(touched)]
        for change in message.changes:
            self._change(change)
        if [self._copy(name) for name in sorted(touched)] != before:
            self.serial += 1
        return "NOERROR"

    def _copy(self, name: str) -> Records:
        return {rtype: set(values) for rtype, values in self.names.get(name, {}).items()}

    def put(self, name: str, rtype: str, value: str) -> None:
        """A record that an operator put there."""
        self.names.setdefault(name, {}).setdefault(rtype, set()).add(value)
        self.serial += 1

    def query(self, message: DnsQuery) -> tuple[str, tuple[tuple[str, str], ...]]:
        """The rcode and all records of the asked types at the name."""
        found = self.names.get(message.name.lower())
        if not found:
            return "NXDOMAIN", ()
        return "NOERROR", tuple((rtype, value) for rtype in message.types for value in sorted(found.get(rtype, ())))

    def records(self) -> tuple[tuple[str, str, str], ...]:
        """Everything, sorted: (name, type, value)."""
        return tuple(
            (name, rtype, value)
            for name, types in sorted(self.names.items())
            for rtype, values in sorted(types.items())
            for value in sorted(values)
        )

    def _prereq(self, prereq: Prereq) -> str:
        """RFC 2136 3.2."""
        found = self.names.get(prereq.name.lower(), {})
        values = found.get(prereq.rtype, set())
        if prereq.op == "nxdomain":
            return "YXDOMAIN" if found else "NOERROR"
        if prereq.op == "yxdomain":
            return "NOERROR" if found else "NXDOMAIN"
        if prereq.op == "nxrrset":
            return "YXRRSET" if values else "NOERROR"
        if prereq.op != "yxrrset":
            raise AssertionError(f"prerequisite {prereq.op}")
        if prereq.values:
            return "NOERROR" if values == {_canonical(prereq.rtype, value) for value in prereq.values} else "NXRRSET"
        return "NOERROR" if values else "NXRRSET"

    def _change(self, change: Change) -> None:
        """RFC 2136 3.4.2."""
        name, rtype, value = change.name.lower(), change.rtype, _canonical(change.rtype, change.value)
        types = self.names.setdefault(name, {})
        if change.op == "add":
            if rtype == "CNAME":
                if not set(types) - {"CNAME"}:
                    types["CNAME"] = {value}
            elif "CNAME" not in types:
                types.setdefault(rtype, set()).add(value)
        elif change.op == "del-rrset":
            types.pop(rtype, None)
        elif change.op == "del-rr":
            types.get(rtype, set()).discard(value)
        elif change.op == "del-name":
            types.clear()
        else:
            raise AssertionError(f"change {change.op}")
        for empty in [each for each, values in types.items() if not values]:
            del types[empty]
        if not types:
            del self.names[name]


class Slave:
    """Transfers what is new some time after a NOTIFY (RFC 1996; BIND gathers them for 5 s), when master and network let it."""

    DELAY_S = 5.0

    def __init__(self, world: World, master: Master) -> None:
        """Nothing transferred yet."""
        self._world, self._master, self._serial, self._asked = world, master, 0, False
        self._told_t = 0.0
        self.records: tuple[tuple[str, str, str], ...] = ()

    @property
    def had_time(self) -> bool:
        """Whether nothing was told for so long that it must have everything."""
        return self._world.t - self._told_t > 2 * self.DELAY_S

    def notify(self) -> None:
        """The master has changed."""
        self._told_t = self._world.t
        if not self._asked:
            self._asked = True
            self._world.after(self.DELAY_S, self.refresh)

    def refresh(self) -> None:
        """Transfer what is new."""
        self._asked = False
        if self._serial != self._master.serial:
            self._serial, self.records = self._master.serial, self._master.records()


def _canonical(rtype: str, value: str) -> str:
    """Rdata as it is compared: names and addresses regardless of case, what is base64 or text as it is."""
    return value if rtype in ("DHCID", "TXT") else value.lower()
