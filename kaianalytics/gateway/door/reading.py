"""A request read: its token, its peer, its body and fields, each bounded before it is believed."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NoReturn

from starlette.requests import Request

from kaianalytics.errors import IdentityRefused, Refused

BODY_SECONDS = 10.0  # from a request's head to the last byte of its body
BODY_MAX = 16 * 1024 * 1024  # an executed notebook with its charts
NUMBER_MAX = 2**63 - 1
QUERY_MAX = 500


def bearer(request: Request) -> str:
    """The token of the Authorization header; IdentityRefused without one."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise IdentityRefused(
            "TOKEN_MISSING", "The request carries no token.", hint="use `kaianalytics.connect()` in a purpose's kernel"
        )
    return token


def peer(request: Request) -> int:
    """The uid that the connection was made by."""
    return int(request.scope["client"][1])


async def json_body(request: Request) -> dict[str, Any]:
    """The request's JSON object, its size and time bounded before it is parsed."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            received = await _received(request)
    except TimeoutError:
        message = f"The request was not whole after {BODY_SECONDS:.0f} seconds."
        raise Refused("TOO_SLOW", message, hint="send it at once") from None
    try:
        value = json.loads(received, parse_constant=_no_number)
        if b"\\u" in received:
            json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair has no bytes
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Refused("NOT_JSON", "The request is not a JSON object.", hint="use the kaianalytics client")
    return value


async def _received(request: Request) -> bytes:
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > BODY_MAX:
            raise Refused("TOO_LARGE", "The request is larger than 16 MiB.", hint="clear large outputs and try again")
    return bytes(received)


def _no_number(constant: str) -> NoReturn:
    """NaN and the infinities, which Python reads and JSON does not have."""
    raise ValueError


def path_number(request: Request, name: str) -> int:
    """A number of the path; past what the records can hold it is the largest, which nothing has."""
    return min(int(request.path_params[name]), NUMBER_MAX)


def query_text(request: Request, name: str) -> str:
    """A word of the path's query, or ''; Refused QUERY_TEXT for one that is too long or no text."""
    value = request.query_params.get(name, "")
    if len(value) > QUERY_MAX or not value.isprintable():
        raise Refused("QUERY_TEXT", f"`{name}` is a text of at most {QUERY_MAX} characters.", hint="shorten it")
    return value


def text_field(body: dict[str, Any], name: str, default: str | None = None) -> str:
    value = body.get(name, default)
    if not isinstance(value, str):
        raise Refused(
            "FIELD_MISSING", f"The request needs the text field `{name}`.", hint="use the kaianalytics client"
        )
    return value
