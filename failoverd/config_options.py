"""DHCP options as the configuration writes them, turned into code and octets through the table of dhcp/options.py."""

from __future__ import annotations

from collections.abc import Mapping

from failoverd.dhcp.options import NOT_CONFIGURABLE, OPTIONS, code_of, encode_option, name_of


def encode(key: str, value: object) -> tuple[int, bytes]:
    """(code, octets) of one option, `key` being its name or its number. ValueError says "what is wrong; what would be right"."""
    if key.isascii() and key.isdecimal() and not (len(key) <= 3 and 1 <= int(key) <= 254):
        raise ValueError(f"there is no option {key[:20]}; numbers go from 1 to 254")
    code = code_of(key)
    if code in NOT_CONFIGURABLE:
        raise ValueError(f"{name_of(code)} cannot be set; it {NOT_CONFIGURABLE[code]}")
    try:
        return encode_option(key, value)
    except ValueError as error:
        if code not in OPTIONS:
            shape = 'octets like { hex = "0a0b0c" }, or a text'
            raise ValueError(f"option {code} has no known type, so this cannot be encoded; write {shape}") from None
        raise ValueError(f"{error.__cause__ or error}; write {OPTIONS[code].type.shape}") from None


def encode_all(options: Mapping[str, object]) -> dict[int, bytes]:
    """All options of one table, by code."""
    return dict(sorted(encode(key, value) for key, value in options.items()))
