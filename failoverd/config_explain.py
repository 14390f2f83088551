"""pydantic's findings in the operator's words: "what is wrong; what would be right", from the descriptions in the schema."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import cast

from pydantic_core import ErrorDetails

from failoverd.config_lines import Path
from failoverd.config_values import show

Schema = Mapping[str, object]

_KINDS = {
    "int_type": "a whole number",
    "bool_type": "true or false",
    "string_type": "a string in quotes",
    "list_type": "an array: [ ... ]",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
_BOUNDS = {
    "greater_than_equal": ("is too small", "at least", "ge"),
    "less_than_equal": ("is too large", "at most", "le"),
}


def place(error: ErrorDetails) -> Path:
    """Where it is, as a path of TOML keys and indices."""
    loc = error["loc"]
    return loc[:-1] if loc and loc[-1] == "[key]" else loc


def explain(error: ErrorDetails, schema: Schema) -> str:
    """One line for one finding."""
    path, kind = place(error), error["type"]
    context = error.get("ctx", {})
    if kind == "failoverd":
        return str(context["text"])
    if kind == "extra_forbidden":
        return _unknown(path, schema)
    node = _walk(schema, path)
    about = str(node.get("description", "")) or "see the schema"
    if kind == "missing":
        return f"is missing; add it: {about}"
    value = error["input"]
    if kind in _KINDS:
        return f"{show(value)} is not {_KINDS[kind].partition(':')[0]}; write {_KINDS[kind]} - {about}"
    if kind == "literal_error":
        return f"{show(value)} is not one of its words; write {context['expected']}"
    if kind in _BOUNDS:
        what, how, bound = _BOUNDS[kind]
        unit = " s" if node.get("x-unit") == "s" else ""
        return f"{show(value)}{unit} {what}; write {how} {context[bound]}{unit} - {about}"
    if kind == "too_short":
        return f"is empty; give at least one - {about}"
    if kind == "string_too_long":
        return f"{show(value)} is too long; {context['max_length']} characters at most - {about}"
    return f"{error['msg']}; {about}"


def _unknown(path: Path, schema: Schema) -> str:
    known = sorted(cast(Schema, _walk(schema, path[:-1]).get("properties", {})))
    near = difflib.get_close_matches(str(path[-1]), known, n=1)
    if near:
        return f"is no key of this table; did you mean {near[0]}?"
    return f"is no key of this table; it has {', '.join(known)}"


def _walk(schema: Schema, path: Path) -> Schema:
    """The part of the schema that describes `path`."""
    node = schema
    for part in path:
        table = _resolve(schema, node)
        if isinstance(part, int):
            node = cast(Schema, table.get("items", {}))
        else:
            below = cast(Mapping[str, Schema], table.get("properties", {}))
            node = below.get(part) or cast(Schema, table.get("additionalProperties") or {})
    return {**_resolve(schema, node), **node}


def _resolve(schema: Schema, node: Schema) -> Schema:
    """Follow one $ref, that of an optional table included."""
    choices = cast(Sequence[Schema], node.get("anyOf", ()))
    ref = node.get("$ref") or next((each["$ref"] for each in choices if "$ref" in each), None)
    if isinstance(ref, str):
        return cast(Mapping[str, Schema], schema["$defs"])[ref.rpartition("/")[2]]
    return node
