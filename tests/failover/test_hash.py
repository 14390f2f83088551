"""RFC 3074 against the vectors that were verified with dhcpd."""

from __future__ import annotations

import pytest

from failoverd.failover.hashing import bucket, hba_from_split, is_ours, key, owner_is_primary, seconds


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ("525400aabbcc", 37),
        ("020000000001", 133),
        ("020000000401", 66),
        ("ffffffffffff", 79),
        ("000000000000", 254),
        ("00", 175),
        ("01525400aabbcc", 194),
        ("01020000000401", 148),
        ("ff00112233000100012a3b4c5d525400aabbcc", 251),
        ("ff", 234),
        ("", 0),
        ("41" * 300, 139),
    ],
)
def test_vectors_of_section_9_2(data: str, wanted: int) -> None:
    assert bucket(bytes.fromhex(data)) == wanted


def test_every_bucket_is_reached_by_one_octet() -> None:
    assert {bucket(bytes((n,))) for n in range(256)} == set(range(256))


def test_the_client_id_goes_before_the_hardware_address() -> None:
    assert key(b"\x01id", b"mac") == b"\x01id"
    assert key(b"", b"mac") == b"mac"


@pytest.mark.parametrize("split", [0, 1, 7, 8, 100, 128, 255, 256])
def test_split_gives_the_first_buckets_to_the_primary(split: int) -> None:
    hba = hba_from_split(split)
    assert len(hba) == 32
    assert [owner_is_primary(hba, b) for b in range(256)] == [b < split for b in range(256)]


def test_split_128_is_dhcpd_s_hba() -> None:
    assert hba_from_split(128) == b"\xff" * 16 + bytes(16)


@pytest.mark.parametrize("split", [-1, 257])
def test_split_outside_its_range_is_an_error(split: int) -> None:
    with pytest.raises(ValueError, match="is not in 0"):
        hba_from_split(split)


@pytest.mark.parametrize(("secs", "wanted"), [(0, 0), (255, 255), (256, 1), (0x0300, 3), (0x0301, 0x0301), (0xFF00, 255)])
def test_swapped_secs_are_put_right(secs: int, wanted: int) -> None:
    assert seconds(secs, check_byte_order=True) == wanted
    assert seconds(secs, check_byte_order=False) == secs


def test_exactly_one_server_answers_until_secs_exceeds_the_limit() -> None:
    hba = hba_from_split(128)
    for n in range(256):
        data = bytes((n,))
        for secs in (0, 3):
            ours = [is_ours(hba, data, secs, primary=role, max_secs=3) for role in (True, False)]
            assert sum(ours) == 1
        assert all(is_ours(hba, data, 4, primary=role, max_secs=3) for role in (True, False))
        assert is_ours(hba, data, 0, primary=False, max_secs=0)


def test_without_a_hash_bucket_assignment_nothing_is_ours() -> None:
    assert not is_ours(None, b"x", 0, primary=False, max_secs=3)
    assert is_ours(None, b"x", 4, primary=False, max_secs=3)
