"""`failoverd --check`: beyond the configuration itself, the TSIG key files that it names, as far as they are on this machine."""

from __future__ import annotations

import os

from failoverd.config import Config, Path, Problem
from failoverd.config_problem import dotted_key
from failoverd.shell.dnskeys import KeyFileError, read_keys


def key_problems(config: Config, path: str) -> tuple[list[Problem], list[Problem]]:
    """Errors and warnings about the key files. A missing file is a warning: --check may run elsewhere; a missing key-next-file is none:
    there is one only while a rollover is under way."""
    errors: list[Problem] = []
    warnings: list[Problem] = []
    for key, key_file, allow_weak in _files(config):
        place = (path, config.line(key), dotted_key(key))
        if not os.path.exists(key_file):
            if key[-1] != "key-next-file":
                warnings.append(Problem(*place, f"{key_file} is not on this machine; put the key there before failoverd starts"))
            continue
        try:
            read_keys(key_file, allow_weak=allow_weak)
        except KeyFileError as error:
            errors.append(Problem(*place, str(error)))
    return list(dict.fromkeys(errors)), list(dict.fromkeys(warnings))


def _files(config: Config) -> list[tuple[Path, str, bool]]:
    """(where it is named, key file, whether weak keys are allowed in it), each as it is written in the configuration."""
    found: list[tuple[Path, str, bool]] = []
    for at, zone in enumerate(config.ddns.zones):
        where: Path = ("ddns", "zone", at)
        own = [("key-file", zone.key_file), ("key-next-file", zone.key_next_file), ("static-key-file", zone.static_key_file)]
        own.append(("watch-key-file", zone.watch_key_file))
        found += [((*where, key), file, zone.allow_weak) for key, file in own if file]
        for number, mirror in enumerate(zone.mirror_to):
            weak = zone.allow_weak if mirror.allow_weak is None else mirror.allow_weak
            its = [
                ("key-file", mirror.key_file),
                ("key-next-file", mirror.key_next_file),
                ("watch-key-file", mirror.watch_key_file),
            ]
            found += [((*where, "mirror-to", number, key), file, weak) for key, file in its if file]
    if config.ddns.static_key_file:
        weak = any(zone.allow_weak for zone in config.ddns.zones if not zone.static_key_file)
        found.append((("ddns", "static-key-file"), config.ddns.static_key_file, weak))
    return found
