"""Where each key of a TOML text stands."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failoverd.config_lines import Path, lines, nearest

TEXT = '''# a comment with [brackets] and "quotes"
top = 1
a.b . "c d" = 2

[table]   # comment
multi = [
  1,   # one ] not the end
  # 2,
  "3, # not a comment",
  [4,
   5],
]
text = """
not.a.key = 1
[not.a.table]
quote \\""" inside, and two at the end"""""
literal = \'\'\'
# [[not.an.array]]
it's\'\'\'
after = { x = 1, y.z = [ 2, { w = 3 } ], "}" = 4 } # comment
date = 1979-05-27 07:32:00

[[subnet]]
subnet = "10.0.0.0/8"
[[subnet.pool]]
range = ["a"]
[[subnet.pool]]
range = [
  "b",
  "c",
]
[[subnet]]
[subnet.ddns]
domain = "x"
[[subnet.pool]]
range = []
['quoted \\ table'."with \\u0022 escape"]
key = 1
'''

PLACES: list[tuple[Path, int]] = [
    (("top",), 2),
    (("a",), 3),
    (("a", "b", "c d"), 3),
    (("table",), 5),
    (("table", "multi"), 6),
    (("table", "multi", 0), 7),
    (("table", "multi", 1), 9),
    (("table", "multi", 2), 10),
    (("table", "multi", 2, 1), 11),
    (("table", "text"), 13),
    (("table", "literal"), 17),
    (("table", "after"), 20),
    (("table", "after", "y", "z", 1, "w"), 20),
    (("table", "after", "}"), 20),
    (("table", "date"), 21),
    (("subnet",), 23),
    (("subnet", 0), 23),
    (("subnet", 0, "pool", 0), 25),
    (("subnet", 0, "pool", 1, "range", 1), 30),
    (("subnet", 1), 32),
    (("subnet", 1, "ddns", "domain"), 34),
    (("subnet", 1, "pool", 0, "range"), 36),
    (("quoted \\ table", 'with " escape', "key"), 38),
]


@pytest.mark.parametrize(("path", "line"), PLACES)
def test_each_kind_of_key_has_its_line(path: Path, line: int) -> None:
    tomllib.loads(TEXT)
    assert lines(TEXT)[path] == line


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_windows_line_ends(newline: str) -> None:
    assert lines(f"a = 1{newline}{newline}[b]{newline}c = 2") == {("a",): 1, ("b",): 3, ("b", "c"): 4}


def test_nearest_is_the_innermost_thing_around_a_key() -> None:
    where = lines(TEXT)
    assert nearest(where, ("subnet", 1, "ddns", "missing")) == 33
    assert nearest(where, ("subnet", 1, "missing", "key")) == 32
    assert nearest(where, ("missing",)) == 1


def paths_of(value: object, path: Path = ()) -> Iterator[Path]:
    """Every path of what tomllib made."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from paths_of(item, (*path, key))
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from paths_of(item, (*path, at))


def test_every_path_of_the_text_is_found_and_no_other() -> None:
    assert set(lines(TEXT)) == set(paths_of(tomllib.loads(TEXT)))


# --- generated texts: each leaf is a number that says on which line it was written ---

KEYS = st.sampled_from(["a", "b-c", "d.e", 'f"', "#", "]", "ü", ""])
SHAPES = st.recursive(
    st.just(None),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
TABLES = st.dictionaries(KEYS, st.tuples(st.booleans(), SHAPES), max_size=4)


class Writer:
    """Writes shapes as TOML, over lines where TOML allows it, each leaf being the number of its line."""

    def __init__(self, spread: bool) -> None:
        self.text = ""
        self.spread = spread

    def value(self, shape: object, inline: bool = False) -> None:
        if isinstance(shape, dict):
            self.text += "{ "
            for at, (key, item) in enumerate(shape.items()):
                self.text += (", " if at else "") + json.dumps(key, ensure_ascii=False) + " = "
                self.value(item, inline=True)
            self.text += " }"
        elif isinstance(shape, list):
            gap = "\n # ]\n" if self.spread and not inline else " "
            self.text += "[" + gap
            for item in shape:
                self.value(item, inline)
                self.text += "," + gap
            self.text += "]"
        else:
            self.text += str(self.text.count("\n") + 1)

    def pair(self, key: str, shape: object) -> None:
        self.text += json.dumps(key, ensure_ascii=False) + " = "
        self.value(shape)
        self.text += "\n"


@given(st.lists(TABLES, max_size=4), st.booleans())
def test_a_leaf_stands_where_it_was_written(tables: list[dict[str, tuple[bool, object]]], spread: bool) -> None:
    writer = Writer(spread)
    for table in tables:
        writer.text += '[[x."y z"]]\n'
        for key, (_, shape) in table.items():
            writer.pair(key, shape)
    for number, table in enumerate(tables):
        writer.text += f"[t{number}]\n"
        for key, (dotted, shape) in table.items():
            if dotted:
                writer.text += "dotted ."
            writer.pair(key, shape)
    parsed, where = tomllib.loads(writer.text), lines(writer.text)
    assert set(where) == set(paths_of(parsed))
    for path, line in where.items():
        value: object = parsed
        for part in path:
            value = value[part]  # type: ignore[index]
        if isinstance(value, int):
            assert line == value
