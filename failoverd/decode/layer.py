"""The failover protocol as a scapy layer: `Failover(data)` dissects, `bytes(Failover(...))` builds. `pip install failoverd[scapy]`.

    >>> from failoverd.decode.layer import Failover, FailoverOption
    >>> Failover(type="STATE", sent=0x67000000, options=[FailoverOption(code="server-state", data=6)])

Importing it binds the layer to TCP ports 647 and 847, so that rdpcap and Wireshark-like summaries show it; scapy's TCPSession reassembles.
"""

from __future__ import annotations

from typing import Any, ClassVar

from scapy.fields import (
    ByteEnumField,
    ByteField,
    FieldLenField,
    IntField,
    IPField,
    MultipleTypeField,
    PacketListField,
    ShortEnumField,
    ShortField,
    StrLenField,
    UTCTimeField,
)
from scapy.layers.inet import TCP
from scapy.packet import Packet, bind_layers

from failoverd.decode import words

HEADER = 12
PORTS = (647, 847)
_NAMES = {code: kind.name for code, kind in (words.OPTIONS | words.PRIVATE).items()}


def _reads(*kinds: str) -> Any:
    """Whether an option's data reads so; data of another length than it must have stays octets."""

    def condition(option: Packet) -> bool:
        kind = words.OPTIONS.get(option.code)
        if kind is None or kind.reads not in kinds:
            return False
        return option.length is None or option.length == kind.size

    return condition


class FailoverOption(Packet):
    """One option: code, length, data (draft-12 6.2)."""

    name = "failover option"
    fields_desc: ClassVar[list[Any]] = [
        ShortEnumField("code", 0, _NAMES),
        FieldLenField("length", None, length_of="data", fmt="!H"),
        MultipleTypeField(
            [
                (IPField("data", "0.0.0.0"), _reads("address")),
                (UTCTimeField("data", 0), _reads("time")),
                (IntField("data", 0), _reads("u32")),
                (ShortField("data", 0), _reads("u16", "ip-flags")),
                (ByteField("data", 0), _reads("u8", "server-flags")),
                (ByteEnumField("data", 0, words.BINDING_STATES), _reads("binding-status")),
                (ByteEnumField("data", 0, words.SERVER_STATES), _reads("server-state")),
                (ByteEnumField("data", 0, words.REJECT_REASONS), _reads("reject-reason")),
            ],
            StrLenField("data", b"", length_from=lambda option: option.length),
        ),
    ]

    def extract_padding(self, s: bytes) -> tuple[bytes, bytes]:
        """What follows an option is the next one."""
        return b"", s


class Failover(Packet):
    """One message: header of 12 octets, options (draft-12 6.1; the payload offset is dhcpd's). `sent`: the header's time; a Packet's
    own `time` is the capture's."""

    name = "DHCP failover"
    fields_desc: ClassVar[list[Any]] = [
        ShortField("length", None),
        ByteEnumField("type", 11, words.MESSAGES),
        ByteField("payload_offset", HEADER),
        UTCTimeField("sent", 0),
        IntField("xid", 0),
        StrLenField("additional_header", b"", length_from=lambda message: max(message.payload_offset - HEADER, 0)),
        PacketListField(
            "options",
            [],
            FailoverOption,
            length_from=lambda message: max((message.length or 0) - max(message.payload_offset, HEADER), 0),
        ),
    ]

    def post_build(self, pkt: bytes, pay: bytes) -> bytes:
        """The length counts itself."""
        if self.length is None:
            pkt = len(pkt).to_bytes(2, "big") + pkt[2:]
        return pkt + pay

    def guess_payload_class(self, payload: bytes) -> Any:
        """Many messages may share a segment."""
        return Failover if len(payload) >= HEADER else super().guess_payload_class(payload)

    @classmethod
    def tcp_reassemble(cls, data: bytes, metadata: dict[str, Any], session: dict[str, Any]) -> Packet | None:
        """For scapy's TCPSession: a packet when a whole message is there."""
        if len(data) < 2 or len(data) < int.from_bytes(data[:2], "big"):
            return None
        return cls(data)


for _port in PORTS:
    bind_layers(TCP, Failover, sport=_port)
    bind_layers(TCP, Failover, dport=_port)
