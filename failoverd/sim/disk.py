"""A disk in memory: a journal of committed writes that folds to what a boot reads. What is not committed is lost at a crash."""

from __future__ import annotations

from collections.abc import Sequence

from failoverd.ports import Kind, Stored, Write

Rows = dict[tuple[Kind, bytes], str]


class Disk:
    """One server's store. `delay_s`: how long commits take now; `failing`: the next one raises; `low`: there is little room."""

    def __init__(self, uuid: bytes) -> None:
        """Empty, fast and sound. `uuid`: 16 octets."""
        self.uuid = uuid
        self.delay_s = 0.003
        self.failing = False
        self.low = False
        self.newest_wall = 0.0
        self.generation = self.boots = self.losses = self.host_boots = 0
        self._rows: Rows = {}

    def commit(self, writes: Sequence[Write], wall: float) -> None:
        """One transaction."""
        self.generation += len(writes)
        for write in writes:
            if write.kind is Kind.EVENT:
                continue
            if write.record is None:
                self._rows.pop((write.kind, write.key), None)
            else:
                self._rows[write.kind, write.key] = write.record
        self.newest_wall = max(self.newest_wall, wall)

    def copy(self) -> tuple[Rows, float, int]:
        """What `put_back` takes: the file as it is now."""
        return dict(self._rows), self.newest_wall, self.generation

    def put_back(self, copy: tuple[Rows, float, int], *, restored: bool = False) -> None:
        """The file of earlier is here again; the marker beside it says that it is older than what was reached (safety.md 15), and the
        store tells the node so at every boot until the node deletes that. `restored`: it is a backup put back by `restore`."""
        self._rows, self.newest_wall, self.generation = dict(copy[0]), copy[1], copy[2]
        self._rows[Kind.META, b"rollback"] = "1"
        if restored:
            self._rows[Kind.META, b"restored"] = "1"

    def lose(self) -> None:
        """A new disk: file and marker are gone."""
        self._rows, self.newest_wall, self.generation = {}, 0.0, 0
        self.losses += 1

    def stored(self) -> Stored:
        """What a boot reads."""
        rows = sorted(self._rows.items())
        self.boots += 1
        own = {"uuid": bytes((self.losses, *self.uuid[1:])).hex(), "boot": f"{self.boots:032x}", "generation": str(self.generation)}
        own["host"] = str(self.host_boots)
        meta = {key.decode(): record for (kind, key), record in rows if kind is Kind.META}
        return Stored(
            leases=self.leases(),
            ddns=[record for (kind, _), record in rows if kind is Kind.DDNS],
            relationships=[record for (kind, _), record in rows if kind is Kind.RELATIONSHIP],
            meta=meta | own,
            newest_wall=self.newest_wall,
            conflicts=[record for (kind, _), record in rows if kind is Kind.CONFLICT],
        )

    def leases(self) -> list[str]:
        """The records of all leases, by address."""
        return [record for (kind, _), record in sorted(self._rows.items()) if kind is Kind.LEASE]
