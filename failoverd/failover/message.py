"""The bytes of the failover protocol: twelve messages, their options, the framer of the TCP stream.

This room decides which bytes are a message (failover-protocol.md 1-3, checked against dhcpd 4.4.3-P1). It must not know what a
message means: missing or senseless values are left to the reader, who answers them with a reject code. Integers are unsigned and
big-endian; times are UTC seconds since 1970, except MCLT and receive-timer (seconds). The only error raised on received bytes is
`PartnerError`, after which the link cannot be resynchronised and must be dropped (1.2).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag

from failoverd import __version__

HEADER = 12  # bytes, and dhcpd's payload offset (the draft's 8 is wrong, failover-protocol.md 10.1)
LONGEST = 2048  # bytes, the longest message dhcpd takes (1.2)
LONGEST_HW = 21  # htype and chaddr of option 5 (3.1); longer is reject 6 (6.3 step 5)
VENDOR_OPTIONS_FROM = 30  # codes from here on, and 0, are skipped by every receiver (1.3 rule 2)
PROTOCOL_VERSION = 1
VENDOR = f"failoverd-{__version__}".encode()
LONGEST_TEXT = 255  # bytes of option 16 that we send: enough for a sentence, and no message of ours can outgrow 2048


class PartnerError(Exception):
    """The partner sent what cannot be read; the link is to be dropped. `before`: messages that were complete ahead of the fault
    in the same read, which dhcpd would have obeyed."""

    def __init__(self, reason: str, before: list[Message] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.before: list[Message] = before or []


class MessageType(IntEnum):
    """failover-protocol.md 2.1 (draft-12 6.1.1). Wireshark 4.0 has 7 and 9 the wrong way round."""

    POOLREQ = 1
    POOLRESP = 2
    BNDUPD = 3
    BNDACK = 4
    CONNECT = 5
    CONNECTACK = 6
    UPDREQALL = 7
    UPDDONE = 8
    UPDREQ = 9
    STATE = 10
    CONTACT = 11
    DISCONNECT = 12


class OptionCode(IntEnum):
    """failover-protocol.md 3.1 (draft-12 12)."""

    ADDRESSES_TRANSFERRED = 1
    ASSIGNED_IP_ADDRESS = 2
    BINDING_STATUS = 3
    CLIENT_IDENTIFIER = 4
    CLIENT_HARDWARE_ADDRESS = 5
    CLIENT_LAST_TRANSACTION_TIME = 6
    CLIENT_REPLY_OPTIONS = 7
    CLIENT_REQUEST_OPTIONS = 8
    DDNS = 9
    DELAYED_SERVICE_PARAMETER = 10
    HASH_BUCKET_ASSIGNMENT = 11
    IP_FLAGS = 12
    LEASE_EXPIRATION_TIME = 13
    MAX_UNACKED_BNDUPD = 14
    MCLT = 15
    MESSAGE = 16
    MESSAGE_DIGEST = 17
    POTENTIAL_EXPIRATION_TIME = 18
    RECEIVE_TIMER = 19
    PROTOCOL_VERSION = 20
    REJECT_REASON = 21
    RELATIONSHIP_NAME = 22
    SERVER_FLAGS = 23
    SERVER_STATE = 24
    START_TIME_OF_STATE = 25
    TLS_REPLY = 26
    TLS_REQUEST = 27
    VENDOR_CLASS_IDENTIFIER = 28
    VENDOR_SPECIFIC_OPTIONS = 29


class RejectReason(IntEnum):
    """Option 21, failover-protocol.md 2.4 (draft-12 12.21)."""

    RESERVED = 0
    ILLEGAL_IP_ADDRESS = 1
    FATAL_CONFLICT = 2
    MISSING_BINDING_INFORMATION = 3
    TIME_MISMATCH = 4
    INVALID_MCLT = 5
    MISC = 6
    DUPLICATE_CONNECTION = 7
    INVALID_PARTNER = 8
    TLS_UNSUPPORTED = 9
    TLS_UNCONFIGURED = 10
    TLS_REQUIRED = 11
    DIGEST_UNSUPPORTED = 12
    DIGEST_UNCONFIGURED = 13
    VERSION_MISMATCH = 14
    OUTDATED_BINDING = 15
    LESS_CRITICAL_BINDING = 16
    NO_TRAFFIC = 17
    HBA_CONFLICT = 18
    IP_NOT_RESERVED = 19
    DIGEST_FAILURE = 20
    MISSING_DIGEST = 21
    UNKNOWN = 254

    @property
    def words(self) -> str:
        """What to print when a reject carries no option 16: "fatal conflict"."""
        return self.name.lower().replace("_", " ")


class ServerState(IntEnum):
    """Option 24, failover-protocol.md 5.1 (draft-12 12.24). UNKNOWN and RECOVER_WAIT's number are dhcpd's own."""

    UNKNOWN = 0
    STARTUP = 1
    NORMAL = 2
    COMMUNICATIONS_INTERRUPTED = 3
    PARTNER_DOWN = 4
    POTENTIAL_CONFLICT = 5
    RECOVER = 6
    PAUSED = 7
    SHUTDOWN = 8
    RECOVER_DONE = 9
    RESOLUTION_INTERRUPTED = 10
    CONFLICT_DONE = 11
    RECOVER_WAIT = 254

    @property
    def words(self) -> str:
        """The state as dhcpd writes it in lease files and logs: "communications-interrupted"."""
        return "unknown-state" if self is ServerState.UNKNOWN else self.name.lower().replace("_", "-")


class ServerFlag(IntFlag):
    """Option 23, failover-protocol.md 3.1."""

    NONE = 0
    STARTUP = 0x01


_BNDUPD_OPTIONS = frozenset({2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 18, 25})

ALLOWED: dict[int, frozenset[int]] = {
    MessageType.POOLREQ: frozenset(),
    MessageType.POOLRESP: frozenset({1}),
    MessageType.BNDUPD: _BNDUPD_OPTIONS,
    MessageType.BNDACK: _BNDUPD_OPTIONS | {16, 21},
    MessageType.CONNECT: frozenset({11, 14, 15, 19, 20, 22, 27, 28}),
    MessageType.CONNECTACK: frozenset({14, 16, 19, 20, 21, 22, 26, 28}),
    MessageType.UPDREQALL: frozenset(),
    MessageType.UPDDONE: frozenset(),
    MessageType.UPDREQ: frozenset(),
    MessageType.STATE: frozenset({23, 24, 25}),
    MessageType.CONTACT: frozenset(),
    MessageType.DISCONNECT: frozenset({16, 21}),
}
"""The options that each message may carry; others are skipped unread (1.3 rule 4, table 2.1)."""

FIXED: dict[int, int] = {1: 4, 2: 4, 3: 1, 6: 4, 10: 1, 12: 2, 13: 4, 14: 4, 15: 4, 18: 4, 19: 4, 20: 1, 21: 1, 23: 1, 24: 1, 25: 4}
FIXED |= {26: 1, 27: 1}
"""Length of each option of fixed size. Deviation: 11 is left to the check of CONNECT, which answers a wrong size with reject 18
(4.3), and 9 may have any length: dhcpd drops the link for it by mistake (3.3), and nothing of ours reads it."""

_NONE: frozenset[int] = frozenset()
_HEAD = struct.Struct("!HBBII")
_TLV = struct.Struct("!HH")


@dataclass(slots=True)
class Message:
    """One message. `options`: every option as received, in order, also those that no accessor shows. `gap`: bytes between the
    header and the payload offset, kept so that a message encodes again to its own bytes."""

    kind: int
    time: int
    xid: int
    options: list[tuple[int, bytes]] = field(default_factory=list)
    gap: bytes = b""

    def raw(self, code: int) -> bytes | None:
        """The data of an option that this kind of message may carry, None when absent. Others are as good as absent (1.3)."""
        if code not in ALLOWED.get(self.kind, _NONE):
            return None
        for at, data in self.options:
            if at == code:
                return data
        return None

    def _number(self, code: int, size: int) -> int | None:
        data = self.raw(code)
        return None if data is None or len(data) != size else int.from_bytes(data, "big")

    def u8(self, code: int) -> int | None:
        """An option of one octet, None when absent."""
        return self._number(code, 1)

    def u16(self, code: int) -> int | None:
        """An option of two octets, None when absent."""
        return self._number(code, 2)

    def u32(self, code: int) -> int | None:
        """An option of four octets, None when absent."""
        return self._number(code, 4)

    def text(self, code: int) -> str | None:
        """A text option; what is not UTF-8 or not printable is shown as escapes, so that a partner cannot forge log lines."""
        data = self.raw(code)
        if data is None:
            return None
        decoded = data.decode("utf-8", "backslashreplace")
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in decoded)


def encode(message: Message) -> bytes:
    """The bytes of one message. A message of ours that exceeds 2048 bytes is our own mistake."""
    parts = [b"", message.gap]
    for code, data in message.options:
        parts.append(_TLV.pack(code, len(data)))
        parts.append(data)
    length = HEADER + sum(map(len, parts))
    if length > LONGEST:
        raise AssertionError(f"message type {message.kind} of {length} bytes")
    parts[0] = _HEAD.pack(length, message.kind, HEADER + len(message.gap), message.time & 0xFFFFFFFF, message.xid & 0xFFFFFFFF)
    return b"".join(parts)


def decode(data: bytes) -> Message:
    """The message in exactly these bytes. Raises PartnerError; rules and order are dhcpd's (failover-protocol.md 1.2, 1.3)."""
    if not HEADER <= len(data) <= LONGEST:
        raise PartnerError(f"message length {len(data)}")
    length, kind, offset, time, xid = _HEAD.unpack_from(data)
    if length != len(data):
        raise PartnerError(f"message length {length}, but {len(data)} bytes")
    if offset < HEADER:
        raise PartnerError(f"payload offset {offset}")
    if offset > length:
        raise PartnerError(f"payload offset {offset} beyond the message of {length} bytes")
    options = _options(data, offset, kind)
    if options and kind not in ALLOWED:
        raise PartnerError(f"unknown message type {kind} with options")
    return Message(kind, time, xid, options, data[HEADER:offset])


def _options(data: bytes, at: int, kind: int) -> list[tuple[int, bytes]]:
    """All options from `at` to the end. Raises PartnerError for a truncated one, and for a duplicate or wrongly sized one among
    those that this kind of message may carry; any other is skipped unread, but kept."""
    allowed = ALLOWED.get(kind, _NONE)
    options: list[tuple[int, bytes]] = []
    stored: set[int] = set()
    end = len(data)
    while at < end:
        if end - at < 4:
            raise PartnerError("truncated option header")
        code, length = _TLV.unpack_from(data, at)
        at += 4
        if length > end - at:
            raise PartnerError(f"truncated option {code}")
        value = data[at : at + length]
        at += length
        if code in allowed:
            if code in stored:
                raise PartnerError(f"duplicate option {code}")
            if FIXED.get(code, length) != length:
                raise PartnerError(f"option size {length}, option {code}")
            stored.add(code)
        options.append((code, value))
    return options


class Framer:
    """Cuts the byte stream of one link into messages. Holds at most one unfinished message besides the read at hand."""

    __slots__ = ("_broken", "_buffer")

    def __init__(self) -> None:
        self._buffer = b""
        self._broken = False

    @property
    def pending(self) -> int:
        """Bytes of an unfinished message (they are no sign of life, failover-protocol.md 4.4)."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[Message]:
        """The messages that these bytes complete, in order. Raises PartnerError; afterwards the framer is dead."""
        if self._broken:
            raise PartnerError("bytes after a fault")
        buffer = self._buffer + data if self._buffer else data
        messages: list[Message] = []
        at = 0
        try:
            while len(buffer) - at >= 2:
                length = buffer[at] << 8 | buffer[at + 1]
                if not HEADER <= length <= LONGEST:
                    raise PartnerError(f"message length {length}")
                if len(buffer) - at < length:
                    break
                messages.append(decode(buffer[at : at + length]))
                at += length
        except PartnerError as fault:
            self._broken = True
            self._buffer = b""
            raise PartnerError(fault.reason, messages) from None
        self._buffer = buffer[at:]
        return messages


# --- the twelve messages, options in dhcpd's order (2.1). Names and vendor classes are bytes without NUL -----------------


@dataclass(slots=True)
class Binding:
    """What one BNDUPD says of one address; None where the option was absent (failover-protocol.md 6.8). `hw`: htype and chaddr."""

    address: int | None = None
    state: int | None = None
    client_id: bytes | None = None
    hw: bytes | None = None
    ends: int | None = None
    potential: int | None = None
    starts: int | None = None
    cltt: int | None = None
    flags: int | None = None


def binding(message: Message) -> Binding:
    """The binding of a BNDUPD (or of a BNDACK that repeats it). Never raises: what is missing or senseless gets a reject code."""
    return Binding(
        address=message.u32(OptionCode.ASSIGNED_IP_ADDRESS),
        state=message.u8(OptionCode.BINDING_STATUS),
        client_id=message.raw(OptionCode.CLIENT_IDENTIFIER),
        hw=message.raw(OptionCode.CLIENT_HARDWARE_ADDRESS),
        ends=message.u32(OptionCode.LEASE_EXPIRATION_TIME),
        potential=message.u32(OptionCode.POTENTIAL_EXPIRATION_TIME),
        starts=message.u32(OptionCode.START_TIME_OF_STATE),
        cltt=message.u32(OptionCode.CLIENT_LAST_TRANSACTION_TIME),
        flags=message.u16(OptionCode.IP_FLAGS),
    )


def _u8(code: int, value: int) -> tuple[int, bytes]:
    return code, value.to_bytes(1, "big")


def _u32(code: int, value: int) -> tuple[int, bytes]:
    return code, value.to_bytes(4, "big")


def _text(text: str) -> tuple[int, bytes]:
    return OptionCode.MESSAGE, text.encode()[:LONGEST_TEXT]


def connect(
    time: int, xid: int, *, name: bytes, max_unacked: int, receive_timer: int, mclt: int, hba: bytes | None, vendor: bytes = VENDOR
) -> Message:
    """CONNECT, primary to secondary. `hba`: 32 bytes, bit set = the primary serves (9.3)."""
    options = [
        (OptionCode.RELATIONSHIP_NAME, name),
        _u32(OptionCode.MAX_UNACKED_BNDUPD, max_unacked),
        _u32(OptionCode.RECEIVE_TIMER, receive_timer),
        (OptionCode.VENDOR_CLASS_IDENTIFIER, vendor),
        _u8(OptionCode.PROTOCOL_VERSION, PROTOCOL_VERSION),
        _u8(OptionCode.TLS_REQUEST, 0),
        _u32(OptionCode.MCLT, mclt),
    ]
    if hba is not None:
        options.append((OptionCode.HASH_BUCKET_ASSIGNMENT, hba))
    return Message(MessageType.CONNECT, time, xid, options)


def connect_ack(
    time: int, xid: int, *, name: bytes, max_unacked: int, receive_timer: int, tls_asked: bool, vendor: bytes = VENDOR
) -> Message:
    """CONNECTACK that accepts. `tls_asked`: the CONNECT carried option 27, so 26 answers it."""
    return Message(MessageType.CONNECTACK, time, xid, _ack_options(name, max_unacked, receive_timer, tls_asked, vendor))


def connect_reject(
    time: int,
    xid: int,
    *,
    name: bytes | None,
    reason: int,
    text: str,
    tls_asked: bool,
    max_unacked: int | None = None,
    receive_timer: int | None = None,
    vendor: bytes = VENDOR,
) -> Message:
    """CONNECTACK that refuses. `name` is the offered one (a reject needs option 22 too, 4.3b), None when none was; 14 and 19 are
    left out when the relationship is unknown (4.3 check 2)."""
    options = _ack_options(name, max_unacked, receive_timer, tls_asked, vendor)
    return Message(MessageType.CONNECTACK, time, xid, [*options, _u8(OptionCode.REJECT_REASON, reason), _text(text)])


def _ack_options(
    name: bytes | None, max_unacked: int | None, receive_timer: int | None, tls_asked: bool, vendor: bytes
) -> list[tuple[int, bytes]]:
    options: list[tuple[int, bytes]] = [] if name is None else [(OptionCode.RELATIONSHIP_NAME, name)]
    if max_unacked is not None:
        options.append(_u32(OptionCode.MAX_UNACKED_BNDUPD, max_unacked))
    if receive_timer is not None:
        options.append(_u32(OptionCode.RECEIVE_TIMER, receive_timer))
    options += [(OptionCode.VENDOR_CLASS_IDENTIFIER, vendor), _u8(OptionCode.PROTOCOL_VERSION, PROTOCOL_VERSION)]
    if tls_asked:
        options.append(_u8(OptionCode.TLS_REPLY, 0))
    return options


def state(time: int, xid: int, *, state: int, flags: int, since: int) -> Message:
    """STATE, always with all three options (10.4): state, then flags, then the start of that state."""
    options = [
        _u8(OptionCode.SERVER_STATE, state),
        _u8(OptionCode.SERVER_FLAGS, flags),
        _u32(OptionCode.START_TIME_OF_STATE, since),
    ]
    return Message(MessageType.STATE, time, xid, options)


def bndupd(time: int, xid: int, binding: Binding) -> Message:
    """BNDUPD of exactly one binding (dhcpd drops the link for two). Times are always present, 0 when never set; 6 and 12 only when
    not zero; never option 9 (10.4)."""
    if binding.address is None or binding.state is None:
        raise AssertionError("a BNDUPD of ours without address or state")
    options = [_u32(OptionCode.ASSIGNED_IP_ADDRESS, binding.address), _u8(OptionCode.BINDING_STATUS, binding.state)]
    if binding.client_id:
        options.append((OptionCode.CLIENT_IDENTIFIER, binding.client_id))
    if binding.hw:
        options.append((OptionCode.CLIENT_HARDWARE_ADDRESS, binding.hw))
    options.append(_u32(OptionCode.LEASE_EXPIRATION_TIME, binding.ends or 0))
    options.append(_u32(OptionCode.POTENTIAL_EXPIRATION_TIME, binding.potential or 0))
    options.append(_u32(OptionCode.START_TIME_OF_STATE, binding.starts or 0))
    if binding.cltt:
        options.append(_u32(OptionCode.CLIENT_LAST_TRANSACTION_TIME, binding.cltt))
    if binding.flags:
        options.append((OptionCode.IP_FLAGS, binding.flags.to_bytes(2, "big")))
    return Message(MessageType.BNDUPD, time, xid, options)


def bndack(time: int, xid: int, address: int) -> Message:
    """BNDACK that accepts: option 2 alone, because of dhcpd's bit-mask mistake (6.6 step 4)."""
    return Message(MessageType.BNDACK, time, xid, [_u32(OptionCode.ASSIGNED_IP_ADDRESS, address)])


def bnd_reject(time: int, xid: int, address: int | None, reason: int, text: str) -> Message:
    """BNDACK that rejects. `address` None: the BNDUPD had none."""
    options = [] if address is None else [_u32(OptionCode.ASSIGNED_IP_ADDRESS, address)]
    return Message(MessageType.BNDACK, time, xid, [*options, _u8(OptionCode.REJECT_REASON, reason), _text(text)])


def poolreq(time: int, xid: int) -> Message:
    """POOLREQ."""
    return Message(MessageType.POOLREQ, time, xid)


def poolresp(time: int, xid: int, count: int) -> Message:
    """POOLRESP: the number of leases queued for transfer."""
    return Message(MessageType.POOLRESP, time, xid, [_u32(OptionCode.ADDRESSES_TRANSFERRED, count)])


def updreq(time: int, xid: int) -> Message:
    """UPDREQ: send what I have not acked."""
    return Message(MessageType.UPDREQ, time, xid)


def updreqall(time: int, xid: int) -> Message:
    """UPDREQALL: send everything."""
    return Message(MessageType.UPDREQALL, time, xid)


def upddone(time: int, xid: int) -> Message:
    """UPDDONE, with the xid of the request."""
    return Message(MessageType.UPDDONE, time, xid)


def contact(time: int, xid: int) -> Message:
    """CONTACT."""
    return Message(MessageType.CONTACT, time, xid)


def disconnect(time: int, xid: int, reason: int, text: str = "") -> Message:
    """DISCONNECT: why this link ends."""
    options = [_u8(OptionCode.REJECT_REASON, reason)]
    if text:
        options.append(_text(text))
    return Message(MessageType.DISCONNECT, time, xid, options)
