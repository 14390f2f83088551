"""What all tables of the configuration have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


def _kebab(name: str) -> str:
    return name.replace("_", "-")


class Table(BaseModel):
    """What all tables have in common: unknown keys are errors, "1" is not 1, and nothing changes after validation.

    Defaults are written as the file would say them ("1h"), so that the schema shows them so; fields where that is another type than the
    value's say validate_default, which also tells the type checker.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True, alias_generator=_kebab)
