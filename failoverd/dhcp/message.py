"""The DHCP message: octets to a Packet and back. Knows the format, not what a message means.

RFC 2131 2 (fields), RFC 2132 2 (options), 9.3 (overload), RFC 3396 (long options), RFC 951 (a message without options).

A message has two sides here. A `Packet` is what it says; a `Layout` is how it was laid out: which pieces of which options stood in
which field, and what filled the rest. `arrange` makes the layout of a message of ours, `layout_of` records that of a received one,
and `encode` writes either, so that a recorded message comes back octet for octet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from struct import Struct

from failoverd.dhcp.reasons import PacketError, Reason

COOKIE = b"\x63\x82\x53\x63"
NO_COOKIE = b"\0\0\0\0"  # RFC 951 3: no vendor information
BOOTREQUEST = 1
BOOTREPLY = 2
BROADCAST = 0x8000  # RFC 2131 figure 2
ETHERNET = 1

MIN_SIZE = 300  # RFC 1542 2.1: relays may drop anything shorter than a BOOTP message
MAX_SIZE = 4096  # ours: far above any client, and a bound for the time that one packet may cost
MIN_DATAGRAM = 576  # RFC 2131 2: what every client takes
MAX_DATAGRAM = 1500  # Ethernet: we never want our replies fragmented
HEADERS = 28  # IPv4 and UDP, which option 57 counts in (RFC 2132 9.10, RFC 2131 2)

HEADER = Struct("!BBBBIHHIIII16s64s128s4s")
FIXED = HEADER.size  # 240
FILE_AT = 108
SNAME_AT = 44
PAD = 0
END = 255

OVERLOAD_FILE = 1
OVERLOAD_SNAME = 2


class MessageType(IntEnum):
    """Option 53 (RFC 2132 9.6)."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


class Code(IntEnum):
    """The options that the server itself reads or writes (RFC 2132; 81: RFC 4702, 82: RFC 3046, 118: RFC 3011)."""

    SUBNET_MASK = 1
    HOST_NAME = 12
    REQUESTED_ADDRESS = 50
    LEASE_TIME = 51
    OVERLOAD = 52
    MESSAGE_TYPE = 53
    SERVER_ID = 54
    PARAMETER_REQUEST_LIST = 55
    MESSAGE = 56
    MAX_MESSAGE_SIZE = 57
    RENEWAL_TIME = 58
    REBINDING_TIME = 59
    CLIENT_ID = 61
    FQDN = 81
    AGENT_INFORMATION = 82
    SUBNET_SELECTION = 118


LINK_SELECTION = 5  # sub-option of 82 (RFC 3527)

# Bounds of what is given back, so that every reply holds its mandatory options and all echoes, even in 576 octets.
CLIENT_ID_LIMIT = 255
AGENT_INFORMATION_LIMIT = 768

# The lengths of what the server reads. Text and lists may have any length, an empty one counts as absent.
_LENGTHS = {
    Code.REQUESTED_ADDRESS: 4,
    Code.LEASE_TIME: 4,
    Code.OVERLOAD: 1,
    Code.MESSAGE_TYPE: 1,
    Code.SERVER_ID: 4,
    Code.MAX_MESSAGE_SIZE: 2,
    Code.RENEWAL_TIME: 4,
    Code.REBINDING_TIME: 4,
    Code.SUBNET_SELECTION: 4,
}
_LENGTH_BY_CODE = {int(code): length for code, length in _LENGTHS.items()}

Pieces = tuple[tuple[int, int], ...]


@dataclass(slots=True)
class Packet:
    """One message. Addresses are integers. `chaddr` is cut to hlen, `sname` and `file` at their first NUL and b"" when overloaded.
    `options`: code -> value, in the order of first appearance, pieces joined (RFC 3396), 52 left out."""

    op: int
    htype: int
    hlen: int
    hops: int
    xid: int
    secs: int
    flags: int
    ciaddr: int
    yiaddr: int
    siaddr: int
    giaddr: int
    chaddr: bytes
    sname: bytes = b""
    file: bytes = b""
    options: dict[int, bytes] = field(default_factory=dict)

    def address(self, code: int) -> int:
        """The value of an option that holds one address, as an integer; 0 when absent."""
        value = self.options.get(code)
        return int.from_bytes(value, "big") if value is not None else 0

    @property
    def message_type(self) -> int:
        """Option 53, 0 when absent (BOOTP)."""
        value = self.options.get(53)
        return value[0] if value else 0

    @property
    def hw(self) -> bytes:
        """htype octet, then chaddr, as the failover protocol and Lease.hw have it; b"" when there is no hardware address."""
        return bytes((self.htype,)) + self.chaddr if self.chaddr else b""

    @property
    def client_id(self) -> bytes:
        """Option 61, b"" when absent."""
        return self.options.get(61, b"")

    @property
    def room(self) -> int:
        """The longest reply (UDP payload, octets): option 57, at least 576, less the headers. The relay agent information is the
        relay's to remove, so it does not count against the client's limit, only against our MTU."""
        value = self.options.get(57)
        room = MIN_DATAGRAM if value is None else max(int.from_bytes(value, "big"), MIN_DATAGRAM)
        if 82 in self.options:
            room += len(piece(82, self.options[82]))
        return min(room, MAX_DATAGRAM) - HEADERS


@dataclass(slots=True)
class Layout:
    """How the octets of a message are filled. A piece is (code, length): PAD and END have length 0 and are one octet, any other
    takes that many octets of the option's value, in the order options, file, sname. `file` and `sname` None: the field is no
    overload. `*_rest`: what fills a field after its last piece or after its text."""

    options: Pieces
    file: Pieces | None = None
    sname: Pieces | None = None
    options_rest: bytes = b""
    file_rest: bytes = b""
    sname_rest: bytes = b""
    chaddr_rest: bytes = b""
    cookie: bytes = COOKIE
    left_out: tuple[int, ...] = ()


# --- decoding ---------------------------------------------------------------------------------------------------------


def decode(data: bytes) -> Packet:
    """The message in one UDP payload. Raises PacketError, and nothing else, for any octets that are no message."""
    size = len(data)
    if size < FIXED:
        raise PacketError(Reason.TOO_SHORT, f"{size} octets")
    if size > MAX_SIZE:
        raise PacketError(Reason.TOO_LONG, f"{size} octets")
    op, htype, hlen, hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr, chaddr, sname, file, cookie = HEADER.unpack_from(data)
    if op != BOOTREQUEST and op != BOOTREPLY:
        raise PacketError(Reason.BAD_OP, f"op {op}")
    if hlen > 16 or (htype == ETHERNET and hlen != 6):
        raise PacketError(Reason.BAD_HLEN, f"htype {htype}, hlen {hlen}")
    if ciaddr and not _is_host(ciaddr):
        raise PacketError(Reason.BAD_CIADDR, f"ciaddr {ciaddr:#010x}")
    if giaddr and not _is_host(giaddr):
        raise PacketError(Reason.BAD_GIADDR, f"giaddr {giaddr:#010x}")
    options: dict[int, bytes] = {}
    overload = 0
    if cookie == COOKIE:
        _read(data, FIXED, size, options)
        if 52 in options:
            overload = _read_overload(data, options)
        if options:
            _check(options)
    elif cookie != NO_COOKIE:
        raise PacketError(Reason.BAD_COOKIE, cookie.hex())
    return Packet(
        op,
        htype,
        hlen,
        hops,
        xid,
        secs,
        flags,
        ciaddr,
        yiaddr,
        siaddr,
        giaddr,
        chaddr[:hlen],
        b"" if overload & OVERLOAD_SNAME else sname.partition(b"\0")[0],
        b"" if overload & OVERLOAD_FILE else file.partition(b"\0")[0],
        options,
    )


def _is_host(address: int) -> bool:
    """Whether a host may have this address: not 0/8, loopback, multicast, class E or broadcast (RFC 1122 3.2.1.3)."""
    top = address >> 24
    return 0 < top < 224 and top != 127


def _read(data: bytes, at: int, end: int, options: dict[int, bytes]) -> None:
    """Add the options of one field. A missing END is accepted: some clients fill the field to its last octet."""
    while at < end:
        code = data[at]
        if code == END:
            return
        if code == PAD:
            at += 1
            continue
        start = at + 2
        if start > end:
            raise PacketError(Reason.OPTION_TRUNCATED, f"option {code}")
        at = start + data[at + 1]
        if at > end:
            raise PacketError(Reason.OPTION_OVERRUN, f"option {code}, length {at - start}, {end - start} octets left")
        if code in options:
            options[code] += data[start:at]  # RFC 3396 7: joined in the order of appearance
        else:
            options[code] = data[start:at]


def _read_overload(data: bytes, options: dict[int, bytes]) -> int:
    """Read file, then sname, as option 52 says; option 52 itself is taken out. Returns its value."""
    value = options.pop(52)
    if len(value) != 1:
        raise PacketError(Reason.OPTION_LENGTH, f"option 52, length {len(value)}")
    overload = value[0]
    if not 1 <= overload <= 3:
        raise PacketError(Reason.BAD_OVERLOAD, f"value {overload}")
    if overload & OVERLOAD_FILE:
        _read(data, FILE_AT, FILE_AT + 128, options)
    if overload & OVERLOAD_SNAME:
        _read(data, SNAME_AT, SNAME_AT + 64, options)
    if 52 in options:
        raise PacketError(Reason.BAD_OVERLOAD, "in an overloaded field")
    return overload


def _check(options: dict[int, bytes]) -> None:
    """The lengths of what the server reads: no later function has to expect a malformed value of these."""
    lengths = _LENGTH_BY_CODE
    for code, value in options.items():
        if code in lengths and len(value) != lengths[code]:
            raise PacketError(Reason.OPTION_LENGTH, f"option {code}, length {len(value)}")
    if len(options.get(61, b"")) > CLIENT_ID_LIMIT:
        raise PacketError(Reason.OPTION_LENGTH, f"option 61, length {len(options[61])}")
    if 82 in options:
        if len(options[82]) > AGENT_INFORMATION_LIMIT:
            raise PacketError(Reason.BAD_AGENT_INFORMATION, f"length {len(options[82])}")
        agent = sub_options(options[82])
        if len(agent.get(LINK_SELECTION, b"1234")) != 4:
            raise PacketError(Reason.BAD_AGENT_INFORMATION, f"link selection, length {len(agent[LINK_SELECTION])}")


def sub_options(value: bytes) -> dict[int, bytes]:
    """The sub-options of option 82 (RFC 3046 2.0: no pad, no end); equal codes are joined. Raises PacketError."""
    found: dict[int, bytes] = {}
    at, end = 0, len(value)
    while at < end:
        start = at + 2
        if start > end or start + value[at + 1] > end:
            raise PacketError(Reason.BAD_AGENT_INFORMATION, f"sub-option {value[at]}")
        code = value[at]
        at = start + value[at + 1]
        found[code] = found.get(code, b"") + value[start:at]
    return found


def layout_of(data: bytes) -> Layout:
    """How the octets of a message are laid out; `data` is one that `decode` accepts. `encode(decode(data), layout_of(data))`
    gives `data` back."""
    cookie = data[236:240]
    hlen = data[2]
    sname, file = data[SNAME_AT : SNAME_AT + 64], data[FILE_AT : FILE_AT + 128]
    out = Layout((), cookie=cookie, chaddr_rest=data[28 + hlen : 44])
    options: Pieces = ()
    overload = 0
    at = FIXED
    if cookie == COOKIE:
        options, at = _pieces(data, FIXED, len(data))
        overload = next((data[at + 2] for at, code in _walk(data, FIXED, len(data)) if code == Code.OVERLOAD and data[at + 1]), 0)
    out.options, out.options_rest = options, data[at:]
    if overload & OVERLOAD_FILE:
        out.file, at = _pieces(data, FILE_AT, FILE_AT + 128)
        out.file_rest = data[at : FILE_AT + 128]
    else:
        out.file_rest = file[len(file.partition(b"\0")[0]) :]
    if overload & OVERLOAD_SNAME:
        out.sname, at = _pieces(data, SNAME_AT, SNAME_AT + 64)
        out.sname_rest = data[at : SNAME_AT + 64]
    else:
        out.sname_rest = sname[len(sname.partition(b"\0")[0]) :]
    return out


def _walk(data: bytes, at: int, end: int) -> Iterator[tuple[int, int]]:
    """(offset, code) of each PAD, END and option of a field, up to and with END."""
    while at < end:
        code = data[at]
        yield at, code
        if code == END:
            return
        at += 1 if code == PAD else 2 + data[at + 1]


def _pieces(data: bytes, at: int, end: int) -> tuple[Pieces, int]:
    """The pieces of a field and the offset behind the last one."""
    pieces: list[tuple[int, int]] = []
    for start, code in _walk(data, at, end):
        length = 0 if code in (PAD, END) else data[start + 1]
        pieces.append((code, length))
        at = start + (1 if code in (PAD, END) else 2 + length)
    return tuple(pieces), at


# --- encoding ---------------------------------------------------------------------------------------------------------


def piece(code: int, value: bytes) -> bytes:
    """One option as octets; a value above 255 octets as several options of the same code (RFC 3396 5)."""
    size = len(value)
    if size <= 255:
        return bytes((code, size)) + value
    return b"".join(bytes((code, len(part))) + part for part in (value[at : at + 255] for at in range(0, size, 255)))


def _split(code: int, value: bytes) -> list[tuple[int, int]]:
    """The pieces of one option."""
    whole, rest = divmod(len(value), 255)
    return [(code, 255)] * whole + ([(code, rest)] if rest or not whole else [])


def arrange(packet: Packet, room: int = MIN_DATAGRAM - HEADERS) -> Layout:
    """Lay out a message of ours in at most `room` octets.

    Order: message type, server identifier, then as in packet.options (what is more important comes first), relay agent information
    last (RFC 3046 2.2). What the options field cannot hold goes to file and sname if they are empty (option 52; an option is never
    divided between fields, which old clients do not put together). What fits nowhere is in `left_out`.
    """
    last = [Code.AGENT_INFORMATION] if Code.AGENT_INFORMATION in packet.options else []
    first = [code for code in (Code.MESSAGE_TYPE, Code.SERVER_ID) if code in packet.options]
    codes = first + [code for code in packet.options if code not in first and code not in last and code != Code.OVERLOAD]
    sizes = {code: len(piece(code, packet.options[code])) for code in codes + last}
    if FIXED + sum(sizes.values()) + 1 <= room:
        pieces = [p for code in codes + last for p in _split(code, packet.options[code])]
        return _padded(Layout((*pieces, (END, 0))), packet, FIXED + sum(sizes.values()) + 1)
    free = room - FIXED - 1 - 3 - sum(sizes[code] for code in last)
    spare = {"options": free, "file": 127 if not packet.file else 0, "sname": 63 if not packet.sname else 0}
    held: dict[str, list[tuple[int, int]]] = {"options": [], "file": [], "sname": []}
    left_out: list[int] = []
    for code in codes:
        place = next((name for name in ("options", "file", "sname") if sizes[code] <= spare[name]), None)
        if place is None:
            left_out.append(code)
            continue
        spare[place] -= sizes[code]
        held[place] += _split(code, packet.options[code])
    used = FIXED + 1 + sum(sizes[code] for code in last) + free - spare["options"]
    if held["file"] or held["sname"]:
        held["options"].insert(1 if first else 0, (Code.OVERLOAD, 1))
        used += 3
    tail = [p for code in last for p in _split(code, packet.options[code])]
    layout = Layout(
        (*held["options"], *tail, (END, 0)),
        (*held["file"], (END, 0)) if held["file"] else None,
        (*held["sname"], (END, 0)) if held["sname"] else None,
        left_out=tuple(left_out),
    )
    return _padded(layout, packet, used)


def _padded(layout: Layout, packet: Packet, size: int) -> Layout:
    """Fill up to the size of a BOOTP message."""
    layout.options_rest = b"\0" * (MIN_SIZE - size)
    return layout


def encode(packet: Packet, layout: Layout | None = None, room: int = MIN_DATAGRAM - HEADERS) -> bytes:
    """The octets of a message, by `layout` or, without one, as `arrange` lays it out in at most `room` octets.
    A field that is too long for its place is our own mistake."""
    if layout is None:
        layout = arrange(packet, room)
    overload = (OVERLOAD_FILE if layout.file is not None else 0) | (OVERLOAD_SNAME if layout.sname is not None else 0)
    taken: dict[int, int] = {}
    options = _write(packet, layout.options, taken, overload) + layout.options_rest
    file = (packet.file if layout.file is None else _write(packet, layout.file, taken, overload)) + layout.file_rest
    sname = (packet.sname if layout.sname is None else _write(packet, layout.sname, taken, overload)) + layout.sname_rest
    chaddr = packet.chaddr + layout.chaddr_rest
    if len(sname) > 64 or len(file) > 128 or len(chaddr) > 16:
        raise AssertionError(f"fields too long: sname {len(sname)}, file {len(file)}, chaddr {len(chaddr)}")
    header = HEADER.pack(
        packet.op,
        packet.htype,
        packet.hlen,
        packet.hops,
        packet.xid,
        packet.secs,
        packet.flags,
        packet.ciaddr,
        packet.yiaddr,
        packet.siaddr,
        packet.giaddr,
        chaddr,
        sname,
        file,
        layout.cookie,
    )
    return header + options


def _write(packet: Packet, pieces: Pieces, taken: dict[int, int], overload: int) -> bytes:
    """The octets of the pieces of one field. `taken`: octets of each option that earlier pieces carried; moved on."""
    out = bytearray()
    for code, length in pieces:
        if code in (PAD, END):
            out.append(code)
        elif code == Code.OVERLOAD:
            out += bytes((code, length, overload))[: 2 + length]
        else:
            start = taken.get(code, 0)
            out += bytes((code, length)) + packet.options[code][start : start + length]
            taken[code] = start + length
    return bytes(out)
