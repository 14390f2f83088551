"""RFC 3074: which server answers which client's DISCOVER. Sums only (failover-protocol.md 9).

A bucket's bit is 1 when the primary serves it (as dhcpd has it; Deviation: the draft says secondary, 10.1).
"""

from __future__ import annotations

HBA_BYTES = 32

# RFC 3074 6, the mixing table of Pearson's hash.
# fmt: off
_T = bytes((
    251, 175, 119, 215, 81, 14, 79, 191, 103, 49, 181, 143, 186, 157, 0, 232,
    31, 32, 55, 60, 152, 58, 17, 237, 174, 70, 160, 144, 220, 90, 57, 223,
    59, 3, 18, 140, 111, 166, 203, 196, 134, 243, 124, 95, 222, 179, 197, 65,
    180, 48, 36, 15, 107, 46, 233, 130, 165, 30, 123, 161, 209, 23, 97, 16,
    40, 91, 219, 61, 100, 10, 210, 109, 250, 127, 22, 138, 29, 108, 244, 67,
    207, 9, 178, 204, 74, 98, 126, 249, 167, 116, 34, 77, 193, 200, 121, 5,
    20, 113, 71, 35, 128, 13, 182, 94, 25, 226, 227, 199, 75, 27, 41, 245,
    230, 224, 43, 225, 177, 26, 155, 150, 212, 142, 218, 115, 241, 73, 88, 105,
    39, 114, 62, 255, 192, 201, 145, 214, 168, 158, 221, 148, 154, 122, 12, 84,
    82, 163, 44, 139, 228, 236, 205, 242, 217, 11, 187, 146, 159, 64, 86, 239,
    195, 42, 106, 198, 118, 112, 184, 172, 87, 2, 173, 117, 176, 229, 247, 253,
    137, 185, 99, 164, 102, 147, 45, 66, 231, 52, 141, 211, 194, 206, 246, 238,
    56, 110, 78, 248, 63, 240, 189, 93, 92, 51, 53, 183, 19, 171, 72, 50,
    33, 104, 101, 69, 8, 252, 83, 120, 76, 135, 85, 54, 202, 125, 188, 213,
    96, 235, 136, 208, 162, 129, 190, 132, 156, 38, 47, 1, 7, 254, 24, 4,
    216, 131, 89, 21, 28, 133, 37, 153, 149, 80, 170, 68, 6, 169, 234, 151,
))
# fmt: on


def bucket(key: bytes) -> int:
    """The hash bucket 0..255 of a client's key (RFC 3074 6)."""
    table = _T
    value = len(key) & 0xFF
    for octet in reversed(key):
        value = table[value ^ octet]
    return value


def key(client_id: bytes, chaddr: bytes) -> bytes:
    """What is hashed (9.2): the data of option 61 when the client sent it, else chaddr, without htype."""
    return client_id or chaddr


def hba_from_split(split: int) -> bytes:
    """The 32 bytes of `split N`, N in 0..256: buckets 0 to N-1 are the primary's (9.3)."""
    if not 0 <= split <= 256:
        raise ValueError(f"split {split} is not in 0..256")
    return ((1 << split) - 1).to_bytes(HBA_BYTES, "little")


def owner_is_primary(hba: bytes, bucket: int) -> bool:
    """Whether the primary serves this bucket: byte b >> 3, least significant bit first (9.3)."""
    return bool(hba[bucket >> 3] >> (bucket & 7) & 1)


def seconds(secs: int, *, check_byte_order: bool) -> int:
    """The client's secs field; with `check_byte_order` a value of a client that swaps its bytes is put right (9.4)."""
    if check_byte_order and secs > 255 and not secs & 0xFF:
        return secs >> 8
    return secs


def is_ours(hba: bytes | None, key: bytes, secs: int, *, primary: bool, max_secs: int) -> bool:
    """Whether a packet that is subject to load balancing is ours (9.4): by its bucket, unless its client has waited longer than
    `max_secs`, or load balancing is off (`max_secs` 0). Without a hash bucket assignment nothing is."""
    if max_secs == 0 or secs > max_secs:
        return True
    if hba is None:
        return False
    return owner_is_primary(hba, bucket(key)) is primary
