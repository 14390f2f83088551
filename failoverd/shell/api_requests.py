"""What every route of the API shares: how a question is read, and how an answer or a refusal is said."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiohttp import web
from pydantic import ValidationError

from failoverd.shell.api_shapes import Request

STATUS_OF = {"refused": 409, "usage": 400, "unknown": 404, "failed": 500, "denied": 403, "timeout": 504, "busy": 503}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Body = TypeVar("Body", bound=Request)
WHO = web.RequestKey("who", str)


class Refusal(Exception):
    """An answer that is not ok: a code of STATUS_OF, and the sentence for the operator."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def answer(body: object, status: int = 200) -> web.Response:
    """JSON, one line."""
    return web.json_response(
        body, status=status, dumps=lambda data: json.dumps(data, separators=(",", ":"), allow_nan=False) + "\n"
    )


def failure(code: str, message: str, status: int = 0) -> web.Response:
    """The body of every answer that is not 200."""
    return answer({"error": {"code": code, "message": message}}, status or STATUS_OF[code])


def query_of(request: web.Request, *known: str) -> dict[str, str]:
    """The query as a record of the known keys. An unknown or repeated key is a usage error, not ignored."""
    args: dict[str, str] = {}
    for key, value in request.query.items():
        if key not in known or key in args:
            raise Refusal("usage", f"parameter {key!r} is unknown or given twice; known: {', '.join(known)}")
        args[key] = value
    return args


def count_of(text: str, what: str) -> int:
    """A number above 0."""
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise Refusal("usage", f"{what}: {text!r} is not a number above 0")
    return int(text)


def address_of(text: str) -> str:
    """An IPv4 address."""
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise Refusal("usage", f"{text!r} is not an IPv4 address") from None


def octets_of(text: str) -> str:
    """A hardware address or client identifier as lower-case hex with colons; 2:0:0:0:0:a, 0200.0000.000a will do."""
    try:
        parts = text.replace("-", ":").split(":")
        octets = bytes.fromhex("".join(part.zfill(2) for part in parts) if len(parts) > 1 else text.replace(".", ""))
    except ValueError:
        octets = b""
    if not octets:
        raise Refusal("usage", f"{text!r} is no hardware address or client identifier in hex")
    return octets.hex(":")


async def body_of(request: web.Request, model: type[Body]) -> Body:
    """The body as `model`; an empty body is an empty object."""
    try:
        return model.model_validate_json(await request.read() or b"{}")
    except ValidationError as error:
        what = "; ".join(f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in error.errors())
        raise Refusal("usage", what) from None
