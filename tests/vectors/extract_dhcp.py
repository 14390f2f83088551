"""Collect the DHCP messages of packet captures as test vectors, in dhcp.jsonl.gz beside this file:

    python tests/vectors/extract_dhcp.py CAPTURE.pcap...

One JSON object a line: `capture` (name without .pcap), `frame` (number, from 1, as in Wireshark) and `hex` (the Ethernet frame,
so that its checksums are vectors too). Reads classic pcap with Ethernet frames, of either byte order.
"""

from __future__ import annotations

import gzip
import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from failoverd.dhcp.frame import parse

OUTPUT = Path(__file__).with_name("dhcp.jsonl.gz")
MAGIC = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">", b"\x4d\x3c\xb2\xa1": "<", b"\xa1\xb2\x3c\x4d": ">"}
ETHERNET = 1


def frames(capture: Path) -> Iterator[bytes]:
    """The frames of a classic pcap file. ValueError for any other format."""
    data = capture.read_bytes()
    order = MAGIC.get(data[:4])
    if order is None:
        raise ValueError(f"{capture}: not a classic pcap file")
    (network,) = struct.unpack_from(order + "I", data, 20)
    if network != ETHERNET:
        raise ValueError(f"{capture}: link type {network}, not Ethernet")
    at = 24
    while at < len(data):
        _seconds, _fraction, kept, size = struct.unpack_from(order + "IIII", data, at)
        if kept != size:
            raise ValueError(f"{capture}: a frame was cut at {kept} of {size} octets")
        yield data[at + 16 : at + 16 + kept]
        at += 16 + kept


def main(captures: list[str]) -> None:
    lines: list[str] = []
    for capture in sorted(map(Path, captures)):
        for number, frame in enumerate(frames(capture), 1):
            datagram = parse(frame)
            if datagram is not None and {datagram.src_port, datagram.dst_port} & {67, 68}:
                lines.append(json.dumps({"capture": capture.stem, "frame": number, "hex": frame.hex()}))
    OUTPUT.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode(), 9, mtime=0))
    sys.stderr.write(f"{len(lines)} messages written to {OUTPUT.name}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
