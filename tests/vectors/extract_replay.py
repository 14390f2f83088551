"""Write what replaying one side needs beside the messages to replay.jsonl.gz: `python extract_replay.py OUT DIRECTORY`.

DIRECTORY holds captures (*.pcap), logs/ (both servers' logs and the events of the laboratory, by time of day in UTC) and leases/ (lease
files at the end). For each capture of a failover pair one line of facts:

    "capture", "start" (UTC microseconds), "lease_s" (the configured lease time), "first", "last" (the pool)
    "linked" (whether it begins on an established link, in normal), "normal" (microseconds from start, negative: when both became so),
    "backup" (the secondary's free addresses at the start)

then one line for each thing that happened, by time: "capture", "at" (microseconds since start), "what", which is

    "message"                        the next message of that capture in failover.jsonl.gz is complete
    "syn", "syn-ack", "fin", "rst"   with "stream" (as there) and "by", the side that sent it
    "log"                            with "by" (p, s or events) and "text": starts, kills, cuts, states, what clients said
"""

from __future__ import annotations

import gzip
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

sys.path.insert(0, str(Path(__file__).parent))
from extract_failover import Seen, walk

SIDES = {"10.77.0.1": "p", "10.77.0.2": "s"}
KEPT = re.compile(
    r"EVENT|I move from|peer moves from|Server starting service|Abandoning IP|DHCP(DISCOVER|OFFER|REQUEST|ACK|NAK|RELEASE|DECLINE) "
)
LINE = re.compile(r"(p|s|events) (\d\d):(\d\d):(\d\d)\.(\d{3}) (.*)")
LEASE = re.compile(r"^lease ([0-9.]+) \{(.*?)^\}", re.DOTALL | re.MULTILINE)
DAY_US = 86_400_000_000
BNDUPD, ACTIVE = 3, 2


def log_lines(path: Path, day: int) -> Iterator[tuple[int, str, str]]:
    """(UTC microseconds, who, text) of what is kept of a log. `day`: the midnight before."""
    for line in path.read_text(encoding="utf-8", errors="backslashreplace").splitlines():
        found = LINE.match(line)
        if found and KEPT.search(found[6]):
            hours, minutes, seconds, milli = (int(found[n]) for n in (2, 3, 4, 5))
            yield day + ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + milli * 1000, found[1], found[6]


def first_split(path: Path) -> tuple[list[str], list[str]]:
    """The addresses of a lease file, and those that were BACKUP before the first lease was granted. The file is a journal."""
    state: dict[str, str] = {}
    used = False
    for address, body in LEASE.findall(path.read_text()):
        binding = re.search(r"^  binding state (\w+);", body, re.MULTILINE)
        used = used or (binding is not None and binding[1] not in ("free", "backup"))
        if binding is not None and (not used or address not in state):
            state[address] = "free" if used else binding[1]
    return sorted(state, key=octets), sorted((a for a, each in state.items() if each == "backup"), key=octets)


def octets(address: str) -> list[int]:
    """For sorting."""
    return [int(each) for each in address.split(".")]


def options(message: bytes) -> dict[int, int]:
    """The options of a BNDUPD as numbers."""
    at, out = message[3], {}
    while at + 4 <= len(message):
        code, length = int.from_bytes(message[at : at + 2], "big"), int.from_bytes(message[at + 2 : at + 4], "big")
        out[code] = int.from_bytes(message[at + 4 : at + 4 + length], "big")
        at += 4 + length
    return out


def lease_time(seen: list[Seen]) -> int:
    """The configured lease time: dhcpd tells a potential expiry of half the granted time and the configured time from now."""
    full: dict[int, int] = {}
    for each in seen:
        said = options(each.data) if each.kind == "message" and each.data[2] == BNDUPD else {}
        if said.get(3) == ACTIVE and said.get(25) == said.get(6):
            lease = said[18] - said[6] - (said[13] - said[6]) // 2
            full[lease] = full.get(lease, 0) + 1
    return max(full, key=lambda each: full[each], default=600)


def extract(path: Path, out: TextIO) -> None:
    """One capture with its log and lease file."""
    seen = list(walk(path))
    if not any(each.kind == "message" for each in seen):
        return
    name = path.stem
    day = seen[0].at // DAY_US * DAY_US
    addresses, backup = first_split(path.parent / "leases" / f"{name}-p.leases")
    linked = seen[0].kind != "syn" and bool(addresses)
    logs = list(log_lines(path.parent / "logs" / f"{name}.log", day))
    start = seen[0].at - 1_000_000
    if not linked:
        start = min([start, *(at for at, _, _ in logs)])
    head: dict[str, object] = {"capture": name, "start": start, "linked": linked, "lease_s": lease_time(seen)}
    normal = [at for at, _, text in logs if at < start and text.endswith("I move from recover-done to normal")]
    head["normal"] = (max(normal) - start) if linked and normal else 0
    pool = {"first": addresses[0], "last": addresses[-1]} if addresses else {"first": "10.77.0.100", "last": "10.77.0.119"}
    write(out, {**head, **pool, "backup": backup if linked else []})
    rows: list[tuple[int, dict[str, object]]] = []
    for each in seen:
        more = {} if each.kind == "message" else {"stream": each.stream, "by": SIDES[each.ends[0][0]]}
        rows.append((each.at, {"what": each.kind, **more}))
    rows += [(at, {"what": "log", "by": by, "text": text}) for at, by, text in logs if at >= start]
    for at, row in sorted(rows, key=lambda row: row[0]):
        write(out, {"capture": name, "at": at - start, **row})


def write(out: TextIO, row: dict[str, object]) -> None:
    """One line."""
    out.write(json.dumps(row, separators=(",", ":")) + "\n")


def main(arguments: list[str]) -> None:
    """OUT, then the directory."""
    with (
        open(arguments[0], "wb") as raw,
        gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as packed,
        io.TextIOWrapper(packed, encoding="ascii") as out,
    ):
        for path in sorted(Path(arguments[1]).glob("*.pcap")):
            extract(path, out)


if __name__ == "__main__":
    main(sys.argv[1:])
