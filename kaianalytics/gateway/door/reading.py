"""A request read: its token, its peer, its body and fields, each bounded before it is believed."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, NoReturn

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from kaianalytics.errors import IdentityRefused, Refused

BODY_SECONDS = 10.0  # from a request's head to the last byte of its body
QUESTION_MAX = 256 * 1024  # a statement, with the analyst's own small tables
MARKS_MAX = 1_000_000  # commas and opening brackets: each may become a hundred bytes of memory
DEPTH_MAX = 64
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


async def json_body(request: Request, at_most: int = QUESTION_MAX) -> dict[str, Any]:
    """The request's JSON object; its size is bounded before it is received, its shape before it is parsed."""
    # the head was refused unless it says the length in digits, and more than that does not come
    if int(request.headers.get("content-length", "0")) > at_most:
        raise Refused(
            "TOO_LARGE",
            f"The request is larger than the {at_most // 1024} KiB that this door takes.",
            hint="shorten the statement, or clear large outputs, and try again",
        )
    try:
        async with asyncio.timeout(BODY_SECONDS):
            received = await request.body()
    except TimeoutError:
        message = f"The request was not whole after {BODY_SECONDS:.0f} seconds."
        raise Refused("TOO_SLOW", message, hint="send it at once") from None
    value = json_value(received) if len(received) <= QUESTION_MAX else await run_in_threadpool(json_value, received)
    if not isinstance(value, dict):
        raise Refused("NOT_JSON", "The request is not a JSON object.", hint="use the kaianalytics client")
    return value


def json_value(received: bytes) -> Any:
    """What the bytes are as JSON; None for what is none, is nested too deep, or has too many parts."""
    if not _shallow(received):
        return None
    try:
        value = json.loads(received, parse_constant=_no_number)
        if b"\\u" in received:
            json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair has no bytes
    except (ValueError, RecursionError):
        return None
    return value


# a text whole, so that a bracket in it opens nothing; possessive, so that no text is looked at twice
_SHAPE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[{]|[\]}]', re.DOTALL)


def _shallow(received: bytes) -> bool:
    """Whether it has few enough parts, nested no deeper than is allowed, found before anything is made of it."""
    if sum(map(received.count, (b",", b"[", b"{"))) > MARKS_MAX:
        return False
    depth = 0
    for found in _SHAPE.finditer(received):
        first = received[found.start()]
        depth += (first in b"[{") - (first in b"]}")
        if depth > DEPTH_MAX:
            return False
    return True


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
