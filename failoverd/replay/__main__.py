"""python -m failoverd.replay PATH: plays a recording and prints one JSON value a line, for failoverctl replay."""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from pathlib import Path

from failoverd.replay.player import Played, RecordingError, Teller, begin, go_on, segments

DAMAGED = 65  # EX_DATAERR


def main(argv: list[str] | None = None) -> int:
    """0: played, whether it diverged or not; 65: it cannot be played, or a segment of it not to its end (the reasons on stderr)."""
    parser = argparse.ArgumentParser(prog="python -m failoverd.replay")
    parser.add_argument("path", type=Path)
    parser.add_argument("--client", default="", help="only lines about this client (hex octets with colons)")
    parser.add_argument("--from", dest="since", type=float, default=0.0)
    parser.add_argument("--to", dest="until", type=float, default=float("inf"))
    parser.add_argument("--verify", action="store_true", help="no lines, only the verdict")
    parser.add_argument("--config", type=Path, help="the server's configuration, for [ddns] name-secret")
    args = parser.parse_args(argv)
    code = 0
    try:
        secret = _secret(args.config) if args.config is not None else ""
        for start in segments(args.path):
            try:
                _segment(start, args, secret)
            except RecordingError as error:  # the others can be played all the same
                print(error, file=sys.stderr)
                code = DAMAGED
    except RecordingError as error:
        print(error, file=sys.stderr)
        return DAMAGED
    return code


def _secret(path: Path) -> str:
    try:
        return str(tomllib.loads(path.read_text(encoding="utf-8")).get("ddns", {}).get("name-secret", ""))
    except (OSError, ValueError, AttributeError) as error:
        raise RecordingError(f"{path}: {error}") from error


def _segment(start: Path, args: argparse.Namespace, secret: str) -> None:
    head, node = begin(start, secret)
    print(json.dumps({"segment": start.stem, "server": head.server, "version": head.version, "wall": head.wall}))
    count, differs, first, teller, damage = 0, 0, 0, Teller(), None
    try:
        for played in go_on(start, node):
            count += 1
            if not played.same:
                differs += 1
                first = first or played.number
            _tell(played, teller, args)
    except RecordingError as error:
        damage = error
    print(json.dumps({"segment": start.stem, "steps": count, "differ": differs, "first": first}))
    if damage is not None:
        raise damage


def _tell(played: Played, teller: Teller, args: argparse.Namespace) -> None:
    lines = teller.tell(played)  # always: a message may come in pieces
    if args.verify or not args.since <= played.wall <= args.until:
        return
    for line in lines:
        if not args.client or line.client in (args.client, f"01:{args.client}"):
            print(json.dumps({**line._asdict(), "same": played.same}))


if __name__ == "__main__":
    sys.exit(main())
