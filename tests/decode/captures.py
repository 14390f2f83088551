"""Capture files made from bytes of the failover link: what one side says as TCP segments of one connection."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

A, B = "10.77.0.1", "10.77.0.2"


class Dialogue:
    """One connection, A:647 and B:40000. `say` and `segment` append packets; sequence numbers are kept per side, and may wrap."""

    def __init__(self, first_seq: int = 1000, wall: float = 1728053248.0) -> None:
        self.packets: list[Packet] = []
        self.next = {A: first_seq, B: first_seq + 7}
        self.wall = wall

    def segment(self, sender: str, payload: bytes, seq: int, flags: str = "PA") -> Packet:
        there = B if sender == A else A
        ports = {"sport": 647, "dport": 40000} if sender == A else {"sport": 40000, "dport": 647}
        packet = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src=sender, dst=there)
        packet /= TCP(seq=seq & 0xFFFFFFFF, flags=flags, **ports)
        if payload:
            packet /= Raw(payload)
        self.wall += 0.01
        packet.time = self.wall
        self.packets.append(packet)
        return packet

    def open(self) -> Dialogue:
        for sender in (B, A):
            self.segment(sender, b"", self.next[sender] - 1, "S" if sender == B else "SA")
        return self

    def say(self, sender: str, data: bytes, pieces: Iterable[int] = ()) -> None:
        """`pieces`: where the data is cut into segments."""
        cuts = [0, *pieces, len(data)]
        for start, end in pairwise(cuts):
            self.segment(sender, data[start:end], self.next[sender])
            self.next[sender] += end - start

    def write(self, path: Path) -> Path:
        wrpcap(str(path), self.packets)
        return path
