"""A recorder for tests: the steps of a Node, and the memory that it began with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from failoverd.node import Node
from failoverd.ports import Input, Now, Output
from failoverd.replay import steps
from failoverd.replay.player import START, STEPS, head_lines


class Taped:
    """Stands before a Node's `step`, in the middle of its life."""

    def __init__(self, node: Node) -> None:
        self.node, self.take = node, node.step
        self.start = "".join(line + "\n" for line in head_lines(node, 0.0))
        self.lines: list[str] = []
        vars(node)["step"] = self.step  # in this one Node: what calls it meets the recorder first

    def step(self, inputs: Sequence[Input], now: Now, commit_age_s: float = 0.0) -> Output:
        output = self.take(inputs, now, commit_age_s)
        self.lines.append(steps.write(inputs, now, commit_age_s, output))
        return output

    def save(self, folder: Path, number: int = 1) -> Path:
        """The two files; the first of them."""
        name = folder / f"{number:06}"
        name.with_suffix(STEPS).write_text("".join(line + "\n" for line in self.lines), errors="backslashreplace")
        name.with_suffix(START).write_text(self.start, errors="backslashreplace")
        return name.with_suffix(START)
