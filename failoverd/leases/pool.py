"""The plain values that allocation reads: pools and the networks they lie in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Pool:
    """A set of addresses with one relationship (None: this server alone). `ranges`: (first, last) integers, sorted, disjoint,
    reserved addresses already taken out."""

    name: str
    network: str
    relationship: str | None
    ranges: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        """Number of addresses."""
        return sum(last - first + 1 for first, last in self.ranges)
