"""What is wrong with a configuration: one Problem for each finding, and ConfigError that carries them all."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from failoverd.config_lines import Path

_BARE = re.compile(r"[A-Za-z0-9_-]+")


class Problem(NamedTuple):
    """One finding. `line`: from 1, 0 when it belongs to the whole file. `key`: "subnet[0].pool[1].range[0]", "" for none.
    `text`: "what is wrong; what would be right"."""

    file: str
    line: int
    key: str
    text: str

    def __str__(self) -> str:
        """FILE:LINE: key: text."""
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.key}: {self.text}" if self.key else f"{place}: {self.text}"


class ConfigError(Exception):
    """The configuration cannot be used. `problems`: every reason, in order of line."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


def dotted_key(path: Path) -> str:
    """A path as an operator reads it: indices in brackets from 0, keys that TOML would quote in quotes."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
        else:
            word = part if _BARE.fullmatch(part) else json.dumps(part, ensure_ascii=False)
            out += f".{word}" if out else word
    return out
