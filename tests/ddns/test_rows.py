"""The journal record of a row is what the json module would write of its fields, and comes back as the same row."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from failoverd.ddns.rows import FORWARD, ME, PEER, REVERSE, Ghost, Row, State, Value, row_key

TEXT = st.text(max_size=12)  # quotes, controls and all of Unicode: a server's detail and an old dhcpd's TXT are not ours to choose
TIME = st.floats(min_value=0, max_value=1e11)
VALUES = st.lists(st.builds(Value, st.sampled_from(("A", "AAAA", "PTR")), TEXT, st.integers(0, 2**31 - 1)), max_size=3).map(tuple)
ROWS = st.builds(
    Row,
    TEXT,
    st.sampled_from((FORWARD, REVERSE)),
    TEXT,
    TEXT,
    want=VALUES,
    guard=TEXT,
    have=VALUES,
    maybe=VALUES,
    held_guard=TEXT,
    gen=st.integers(0, 2**40),
    done_gen=st.integers(0, 2**40),
    state=st.sampled_from(State),
    owner=st.sampled_from((ME, PEER)),
    attempts=st.integers(0, 99),
    next_at=TIME,
    dirty_since=TIME,
    recheck_at=TIME,
    last_rcode=TEXT,
    last_error=TEXT,
    server=TEXT,
    lodger=TEXT,
    wish=TEXT,
    ghosts=st.lists(st.builds(Ghost, TEXT, TEXT, TEXT, TIME), max_size=2).map(tuple),
)
ORDER = ("target", "kind", "name", "zone", "want", "have", "maybe", "ghosts", "guard", "held_guard", "gen", "done_gen", "state")
ORDER += ("owner", "attempts", "next_at", "dirty_since", "recheck_at", "last_rcode", "last_error", "server", "lodger", "wish")


@settings(deadline=None)
@given(ROWS)
def test_the_record_is_what_the_json_module_writes(row: Row) -> None:
    plain = Row("", "", "", "")
    fields = {name: getattr(row, name) for name in ORDER if name in ORDER[:4] or getattr(row, name) != getattr(plain, name)}
    assert row.to_json() == json.dumps(fields, separators=(",", ":"))
    assert Row.from_json(row.to_json()) == row
    assert row.key == Row.from_json(row.to_json()).key == row_key(row.target, row.kind, row.name)


def test_a_record_is_said_anew_after_every_change() -> None:
    row = Row("main", FORWARD, "h1.example.test.", "example.test.", want=(Value("A", "192.0.2.1", 60),))
    row.have = row.want
    before = json.loads(row.to_json())
    row.want = (Value("A", "192.0.2.1", 61),)
    after = json.loads(row.to_json())
    assert (before["want"], before["have"]) == ([["A", "192.0.2.1", 60]], [["A", "192.0.2.1", 60]])
    assert (after["want"], after["have"]) == ([["A", "192.0.2.1", 61]], [["A", "192.0.2.1", 60]])
