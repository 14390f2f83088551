"""The configuration: TOML -> validated values. `python -m failoverd.config --schema FILE` writes its JSON Schema.

`load` and `parse_text` either return a Config or raise ConfigError with every problem at once, each with file, line, key, what is
wrong and what would be right. Nothing here runs on the packet path; compile.py makes the values that the rooms read.

The work is shared: config_lines (where each key stands), config_values (single values), config_models (the shape), config_check and
config_subnets (what must hold between values), config_options (DHCP options), config_explain (words for pydantic's findings),
config_digest (what a pair agrees on).
"""

from __future__ import annotations

import contextlib
import copy
import json
import re
import sys
import tomllib
from typing import cast

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from failoverd.config_check import Names, cross_check
from failoverd.config_explain import explain, place
from failoverd.config_lines import Path, lines, nearest
from failoverd.config_models import Config
from failoverd.config_problem import ConfigError, Problem, dotted_key
from failoverd.config_values import read_word

__all__ = ["Config", "ConfigError", "Path", "Problem", "json_schema", "load", "parse_text", "pick_server", "write_schema"]

SERVER_FILE = "/etc/failoverd/server"
TABLES = frozenset(
    {"relationship", "shared-network", "subnet", "pool", "reservation", "zone", "reverse-map", "mirror-to"}
)  # the arrays of tables
MAX_OCTETS = 16 << 20  # 100,000 reservations are about 10 MB
_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def load(path: str) -> Config:
    """Read and validate a file. Raises ConfigError, also when the file cannot be read."""
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_OCTETS + 1)
    except OSError as error:
        text = f"cannot be read: {error.strerror}; name a readable file"
        raise ConfigError([Problem(path, 0, "", text)]) from None
    if len(data) > MAX_OCTETS:
        raise ConfigError([Problem(path, 0, "", f"is too large; {MAX_OCTETS >> 20} MiB at most")])
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(path, line, "", "is not UTF-8; save the file as UTF-8 (TOML allows nothing else)")]) from None
    if text.startswith("\ufeff"):
        raise ConfigError([Problem(path, 1, "", "begins with a byte order mark; save the file without it (TOML allows none)")])
    return parse_text(text, path)


def parse_text(text: str, file: str = "<text>") -> Config:
    """Validate a TOML text; `file` is what problems call it. Raises ConfigError with every error; warnings are in the result."""
    raw = _toml(text, file)
    where = lines(text.replace("\r\n", "\n"))
    problems: list[tuple[Path, str]] = []
    try:
        config: Config | None = Config.model_validate(raw)
        kept: dict[Path, list[int]] = {}
    except ValidationError as error:
        found = error.errors(include_url=False)
        schema = Config.model_json_schema(by_alias=True)
        problems = [(place(each), explain(each, schema)) for each in found]
        pruned, kept = _prune(raw, [(place(each), each["type"]) for each in found])
        try:
            config = Config.model_validate(pruned)
        except ValidationError:
            config = None  # what is left cannot stand alone: only the first findings can be shown
    warnings: list[tuple[Path, str]] = []
    if config is not None:
        findings = cross_check(config, Names.of(raw))
        problems += [(_original(path, kept), text) for path, text in findings.errors]
        warnings = [(_original(path, kept), text) for path, text in findings.warnings]
    if problems or config is None:
        raise ConfigError(_sorted(problems, where, file))
    config.came_from(where, _sorted(warnings, where, file))
    return config


def _sorted(found: list[tuple[Path, str]], where: dict[Path, int], file: str) -> list[Problem]:
    problems = [Problem(file, nearest(where, path), dotted_key(path), text) for path, text in found]
    return sorted(dict.fromkeys(problems), key=lambda problem: problem.line)


def _toml(text: str, file: str) -> dict[str, object]:
    """Parse; TOML's first syntax error is the only one that can be shown."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        match = _AT.search(message)
        what = message[: match.start()] if match else message
        last = text.count("\n") + 1
        line, column = (int(match[1]), f" at column {match[2]}") if match and match[1] else (last, " at the end of the file")
        problem = Problem(file, line, "", f"is not TOML{column}: {what[:1].lower()}{what[1:]}; see https://toml.io/en/v1.0.0")
    except RecursionError:
        problem = Problem(file, 1, "", "is nested too deeply; no table here has more than four levels")
    except ValueError as error:  # tomllib lets Python's limit on the digits of a number through
        problem = Problem(file, 1, "", f"holds a value that cannot be read: {error}; write a number of at most 19 digits")
    raise ConfigError([problem])


def _prune(raw: dict[str, object], bad: list[tuple[Path, str]]) -> tuple[dict[str, object], dict[Path, list[int]]]:
    """The configuration without what is broken: an unknown key, or the innermost item of an array of tables around each finding, or
    else the key itself. `bad`: (path, pydantic's kind of error).

    Also, for each array that lost items, the original indices of those that are left.
    """
    pruned = copy.deepcopy(raw)
    doomed: dict[Path, set[int]] = {}
    for path, kind in bad:
        cut = max((at for at, part in enumerate(path) if isinstance(part, int) and path[at - 1] in TABLES), default=None)
        if path[0] == "servers":
            pruned["servers"] = {name: {"interfaces": ["lo"]} for name in _sound_names(raw)} or {"none": {"interfaces": ["lo"]}}
        elif cut is not None and kind != "extra_forbidden":
            doomed.setdefault(path[:cut], set()).add(cast(int, path[cut]))
        else:
            short = next((at for at, part in enumerate(path) if isinstance(part, int) and path[at - 1] not in TABLES), len(path))
            parent = _at(pruned, path[: short - 1])
            if isinstance(parent, dict):
                parent.pop(path[short - 1], None)
    kept: dict[Path, list[int]] = {}
    for path in sorted(doomed, key=len, reverse=True):
        items = _at(pruned, path)
        if isinstance(items, list):
            kept[path] = [at for at in range(len(items)) if at not in doomed[path]]
            items[:] = [items[at] for at in kept[path]]
    return pruned, kept


def _sound_names(raw: dict[str, object]) -> list[str]:
    """The names of servers, broken servers included, that are names at all."""
    servers = raw.get("servers")
    out = []
    for name in servers if isinstance(servers, dict) else ():
        with contextlib.suppress(PydanticCustomError):
            out.append(read_word(name))
    return out


def _at(value: object, path: Path) -> object:
    for part in path:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return None
    return value


def _original(path: Path, kept: dict[Path, list[int]]) -> Path:
    """A path in the pruned configuration as a path in the file."""
    out: Path = ()
    for part in path:
        indices = kept.get(out)
        out = (*out, indices[part] if indices is not None and isinstance(part, int) and part < len(indices) else part)
    return out


def pick_server(config: Config, name: str | None, local_file: str = SERVER_FILE) -> str:
    """Which server of the file this is: `name` (--server), else the word in `local_file`, else the only one; or ConfigError."""
    known = ", ".join(sorted(config.servers))
    if name is not None:
        if name not in config.servers:
            raise ConfigError([Problem("--server", 0, "", f"there is no server {name!r}; write one of {known}")])
        return name
    try:
        with open(local_file, encoding="utf-8") as file:
            word = file.read(4096).strip()
    except FileNotFoundError:
        if len(config.servers) == 1:
            return next(iter(config.servers))
        text = f"is missing, so this could be any of {known}; write the name of this server into it, or give --server NAME"
        raise ConfigError([Problem(local_file, 0, "", text)]) from None
    except (OSError, UnicodeDecodeError) as error:
        text = f"cannot be read ({error}); write the name of this server into it, or give --server NAME"
        raise ConfigError([Problem(local_file, 0, "", text)]) from None
    if word not in config.servers:
        raise ConfigError([Problem(local_file, 1, "", f"there is no server {word[:63]!r}; write one of {known}")])
    return word


# --- the schema -------------------------------------------------------------------------------------------------------


def json_schema() -> dict[str, object]:
    """The JSON Schema of the configuration (draft 2020-12). TOML has no null, so optional keys are simply not required."""
    schema = cast(dict[str, object], _without_null(Config.model_json_schema(by_alias=True)))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "failoverd configuration"}


def _without_null(node: object) -> object:
    if isinstance(node, list):
        return [_without_null(item) for item in node]
    if not isinstance(node, dict):
        return node
    out = {key: _without_null(value) for key, value in node.items() if not (key == "default" and value is None)}
    if isinstance(out.get("title"), str) and "properties" not in out:
        del out["title"]  # pydantic repeats the name of the key
    choices = out.get("anyOf")
    if isinstance(choices, list):
        choices = [choice for choice in choices if choice != {"type": "null"}]
        if len(choices) == 1:
            del out["anyOf"]
            out = {**choices[0], **out}
        else:
            out["anyOf"] = choices
    return out


def write_schema(path: str) -> None:
    """Write `schema/config.json`."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")


def main(argv: list[str]) -> int:
    """`python -m failoverd.config --schema [FILE]`: write the schema to FILE or stdout."""
    if argv[:1] != ["--schema"] or len(argv) > 2:
        print("usage: python -m failoverd.config --schema [FILE]", file=sys.stderr)
        return 2
    if len(argv) == 2:
        write_schema(argv[1])
    else:
        print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
