"""A disk in memory: a journal of committed writes that folds to what a boot reads. What is not committed is lost at a crash."""

from __future__ import annotations

from collections.abc import Sequence

from failoverd.ports import Kind, Stored, Write


class Disk:
    """One server's store. `delay_s`: how long commits take now; `failing`: the next one raises."""

    def __init__(self) -> None:
        """Empty, fast and sound."""
        self.delay_s = 0.003
        self.failing = False
        self.generation = 0
        self.newest_wall = 0.0
        self._rows: dict[tuple[Kind, bytes], str] = {}

    def commit(self, writes: Sequence[Write], wall: float) -> None:
        """One transaction."""
        for write in writes:
            self.generation += 1
            if write.kind is Kind.EVENT:
                continue
            if write.record is None:
                self._rows.pop((write.kind, write.key), None)
            else:
                self._rows[write.kind, write.key] = write.record
        self.newest_wall = max(self.newest_wall, wall)

    def stored(self) -> Stored:
        """What a boot reads."""
        rows = sorted(self._rows.items())
        return Stored(
            leases=[record for (kind, _), record in rows if kind is Kind.LEASE],
            ddns=[record for (kind, _), record in rows if kind is Kind.DDNS],
            relationships=[record for (kind, _), record in rows if kind is Kind.RELATIONSHIP],
            meta={key.decode(): record for (kind, key), record in rows if kind is Kind.META},
            newest_wall=self.newest_wall,
            conflicts=[record for (kind, _), record in rows if kind is Kind.CONFLICT],
        )
