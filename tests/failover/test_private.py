"""The names of a lease between two failoverd."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failoverd.failover import private
from failoverd.failover.databases import loss
from failoverd.failover.dialect import HOSTS, NEWEST, PLAIN, agree
from failoverd.failover.message import VENDOR_OPTIONS_FROM, Framer, Message, MessageType, PartnerError, decode, encode
from failoverd.failover.parity import MOST_SETTINGS, SHOWN, Parity
from failoverd.failover.private import (
    NAMES,
    Database,
    FrameKind,
    Known,
    LeaseNames,
    decode_frame,
    decode_names,
    encode_names,
    frames,
)

LABEL = st.from_regex(r"[a-z0-9_-]{1,63}", fullmatch=True)
NAME = st.lists(LABEL, max_size=3).map(lambda labels: "".join(f"{label}." for label in labels))
SAME = LeaseNames("h1.example.test.", "h1.example.test.", "", True, False, False, True)


def test_dhcpd_skips_the_option() -> None:
    assert VENDOR_OPTIONS_FROM <= NAMES <= 254


def test_the_octets() -> None:
    assert encode_names(SAME) == b"\x01\x09\x02h1\x07example\x04test\0\0\0"
    assert decode_names(b"\x01\xf2\0\0\x01A\0") == LeaseNames("", "", "a.", False, True)


@given(st.builds(LeaseNames, NAME, NAME, NAME, st.booleans(), st.booleans(), st.booleans(), st.booleans()))
def test_both_ways(names: LeaseNames) -> None:
    expected = names._replace(shown=names.shown or names.wish)
    assert decode_names(encode_names(names)) == expected


@given(st.binary(max_size=40))
def test_nothing_that_a_partner_sends_raises(data: bytes) -> None:
    found = decode_names(data)
    if found is not None:
        assert decode_names(encode_names(found)) == found


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        b"\x02\0\0\0\0",  # another version
        b"\x01\0\0\0",  # a name is missing
        b"\x01\0\0\0\0\0",  # something follows
        b"\x01\0\x02h",  # cut short
        b"\x01\0\x40" + b"a" * 64 + b"\0\0\0",  # a label too long (or a compression pointer)
        b"\x01\0" + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\0",  # a name too long
        b"\x01\0\x03a.b\0\0\0",
        b"\x01\0\x01\xff\0\0\0",
        b"\x01\0\x01 \0\0\0",
    ],
)
def test_what_cannot_be_read(data: bytes) -> None:
    assert decode_names(data) is None


@pytest.mark.parametrize("at", range(len(encode_names(SAME))))
def test_cut_anywhere(at: int) -> None:
    assert decode_names(encode_names(SAME)[:at]) is None


# --- the other options ------------------------------------------------------------------------------------------------


def test_every_private_code_is_one_that_dhcpd_skips() -> None:
    codes = [private.NAMES, private.DIALECT, private.DATABASE, private.KNOWN, private.EPOCH, private.DIGEST, private.GENERATION]
    assert [*codes, private.FRAME, private.STANDING] == list(range(224, 233))


U64 = st.integers(0, 2**64 - 1)
ID = st.binary(min_size=16, max_size=16)


@given(st.builds(Database, ID, ID, U64, U64), st.builds(Known, ID, ID, U64), U64, st.integers(0, 2**32 - 1))
def test_options_both_ways(database: Database, known: Known, generation: int, epoch: int) -> None:
    assert private.decode_database(private.encode_database(database)) == database
    assert private.decode_known(private.encode_known(known)) == known
    assert private.decode_generation(private.encode_generation(generation)) == generation
    assert private.decode_epoch(private.encode_epoch(epoch)) == epoch
    for agreed in (epoch, None):
        standing = private.Standing(4, agreed)
        assert private.decode_standing(private.encode_standing(standing)) == standing


@given(st.binary(max_size=80))
def test_any_bytes_are_a_value_or_nothing(data: bytes) -> None:
    decoders = (
        private.decode_database,
        private.decode_known,
        private.decode_generation,
        private.decode_epoch,
        private.decode_dialect,
        private.decode_standing,
    )
    for each in (*decoders, decode_frame, decode_names):
        each(data)


@given(st.binary(max_size=600))
def test_any_bytes_on_the_link_are_messages_or_a_partner_error(data: bytes) -> None:
    """And what they carry above code 29 is a value or nothing."""
    try:
        messages = Framer().feed(data)
    except PartnerError as error:
        messages = error.before
    for message in messages:
        for code in range(224, 232):
            private.option(message, code)


ROWS = st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=300)), max_size=40)


@given(ROWS)
def test_frames_carry_all_rows_in_parts_that_fit_a_message(rows: list[tuple[bytes, bytes]]) -> None:
    parts = list(frames(FrameKind.DONE, rows))
    seen = [decode_frame(part) for part in parts]
    assert [frame is not None and (frame.part, frame.parts) for frame in seen] == [(at, len(parts)) for at in range(len(parts))]
    assert [item for frame in seen if frame is not None for item in frame.items] == [(a[:255], b[:255]) for a, b in rows]
    for part in parts:
        message = Message(MessageType.CONTACT, 1, 2, [(private.GENERATION, bytes(8)), (private.FRAME, part)])
        assert private.option(decode(encode(message)), private.FRAME) == part


@given(st.binary(max_size=200), st.integers(0, 255))
def test_a_frame_of_another_version_or_kind_is_nothing(body: bytes, version: int) -> None:
    frame = decode_frame(bytes((version, 1, 0, 0, 0, 1)) + body)
    assert version == 1 or frame is None
    assert decode_frame(bytes((1, 200, 0, 0, 0, 1)) + body) is None


# --- what is made of them ---------------------------------------------------------------------------------------------

AGREE = [
    (2, (1, 2), 2),
    (2, (1, 1), 1),
    (1, (1, 2), 1),
    (2, (1, 9), 2),
    (3, (1, 9), 3),
    (2, (3, 9), 0),
    (0, (1, 2), 0),
    (2, None, 0),
]


@pytest.mark.parametrize(("ours", "theirs", "dialect"), AGREE)
def test_the_newest_common_version_holds(ours: int, theirs: tuple[int, int] | None, dialect: int) -> None:
    offered = private.encode_dialect(*theirs) if theirs is not None else None
    assert agree(ours, offered, authenticated=True) == dialect
    assert agree(ours, offered, authenticated=False) == PLAIN
    assert agree(ours, b"\x02", authenticated=True) == agree(ours, b"\x02\x01", authenticated=True) == PLAIN
    assert NEWEST == HOSTS


UUID, RUN, NEXT = b"u" * 16, b"r" * 16, b"n" * 16
LOSSES = [
    (Database(UUID, RUN, 5, 20), None, ""),
    (Database(UUID, RUN, 5, 20), Known(UUID, RUN, 20), ""),
    (Database(UUID, RUN, 5, 20), Known(UUID, RUN, 21), "rolled back from generation 21 to 20"),
    (Database(UUID, NEXT, 20, 30), Known(UUID, RUN, 20), ""),
    (Database(UUID, NEXT, 19, 30), Known(UUID, RUN, 20), "rolled back from generation 20 to 19"),
    (Database(b"v" * 16, NEXT, 90, 99), Known(UUID, RUN, 20), "another database"),
]


@pytest.mark.parametrize(("database", "known", "verdict"), LOSSES)
def test_rule_15_what_has_become_of_a_database(database: Database, known: Known | None, verdict: str) -> None:
    """A run that began before what was heard of the last one is a rolled back one, although it has come further since."""
    assert loss(database, known) == verdict


Table = dict[str, dict[str, str]]
TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8)
TABLES = st.dictionaries(TEXT, st.dictionaries(TEXT, TEXT, max_size=4), max_size=5)


def compared(ours: Table, theirs: Table) -> tuple[Parity, Parity]:
    """Two comparisons that talk with each other until neither has anything to say."""
    first, second = Parity(b"\2a", b"\2b"), Parity(b"\2b", b"\2a")
    to_second, to_first = list(first.begin(ours)), list(second.begin(theirs))
    while to_first or to_second:
        for queue, listener, answers in ((to_second, second, to_first), (to_first, first, to_second)):
            while queue:
                frame = decode_frame(queue.pop(0))
                assert frame is not None
                answers.extend(listener.heard(frame))
    return first, second


@given(TABLES, TABLES)
def test_both_find_the_same_differences_and_all_of_them(ours: Table, theirs: Table) -> None:
    first, second = compared(ours, theirs)
    assert first.complete
    assert second.complete
    expected = {f"{name}: only here" for name in set(ours) - set(theirs)}
    expected |= {f"{name}: only at the partner" for name in set(theirs) - set(ours)}
    for name in set(ours) & set(theirs):
        for key in set(ours[name]) | set(theirs[name]):
            here, there = ours[name].get(key, "-"), theirs[name].get(key, "-")
            if here != there:
                expected.add(f"{name}: {key}: here {here}, at the partner {there}")
    assert set(first.differences) == expected
    assert len(second.differences) == len(expected)


def test_differences_are_limited_and_say_so() -> None:
    ours = {"subnet": {f"reservation {n:05}": "a" for n in range(MOST_SETTINGS + 500)}}
    theirs = {"subnet": {f"reservation {n:05}": "b" for n in range(MOST_SETTINGS + 500)}}
    first, _ = compared(ours, theirs)
    assert len(first.differences) == SHOWN + 1
    assert first.differences[-1] == f"and {MOST_SETTINGS - SHOWN + 0} more"


def test_another_form_is_not_compared() -> None:
    parity = Parity(b"\2a", b"\3a")
    assert (parity.wanted, parity.complete, len(parity.differences)) == (False, True, 1)
    assert not Parity(b"\2a", None).wanted
