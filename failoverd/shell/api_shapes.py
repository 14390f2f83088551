"""What all shapes of the API share: an answer that may grow, a request that may not be misspelt."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

REASON_MAX = 500

Wall = Annotated[float, Field(ge=0, description="UTC seconds since 1970; 0: never")]
Seconds = Annotated[float, Field(ge=0, description="seconds")]
Count = Annotated[int, Field(ge=0)]
Reason = Annotated[str, StringConstraints(max_length=REASON_MAX, strip_whitespace=True)]


class Answer(BaseModel):
    """What a client may rely on. More keys may come; none of these goes or changes its meaning within /v1."""

    model_config = ConfigDict(extra="ignore", strict=True)


class Request(BaseModel):
    """A body sent by a client: unknown keys are refused, so that a misspelt dry_run never acts."""

    model_config = ConfigDict(extra="forbid", strict=True)
