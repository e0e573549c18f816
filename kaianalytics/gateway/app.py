"""The gateway's doors: HTTP in, one call of a room behind them, an answer or a reasoned refusal out.

Nothing is decided here. Each door reads one token, hands the work to a thread, and turns every KaiError into the one
shape of `protocol.refusal_to_json`. Anything unexpected becomes the code INTERNAL and a line in the custodian's log.
"""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import Awaitable, Callable
from pathlib import PurePath
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kaianalytics.errors import (
    BudgetRefused,
    Fault,
    IdentityRefused,
    KaiError,
    PolicyRefused,
    Refused,
    ReviewRefused,
    WorkerFault,
)
from kaianalytics.gateway.custodian import Custodian
from kaianalytics.protocol import (
    API,
    ISOLATION_HEADER,
    ROWS_MEDIA_TYPE,
    SNAPSHOT_HEADER,
    StatisticsRequest,
    refusal_to_json,
)

T = TypeVar("T")
BODY_MAX = 16 * 1024 * 1024  # an executed notebook with its charts
log = logging.getLogger("kaianalytics.gateway")


def build_app(rooms: Custodian) -> Starlette:
    """The ASGI application over the rooms behind it."""
    doors = Doors(rooms)
    routes = [
        Route(f"{API}/health", _door(doors.health), methods=["GET"]),
        Route(f"{API}/sessions", _door(doors.open_session), methods=["POST"]),
        Route(f"{API}/sql", _door(doors.sql), methods=["POST"]),
        Route(f"{API}/statistics", _door(doors.statistics), methods=["POST"]),
        Route(f"{API}/datasets", _door(doors.datasets), methods=["GET"]),
        Route(f"{API}/budget", _door(doors.budget), methods=["GET"]),
        Route(f"{API}/submissions", _door(doors.submit), methods=["POST"]),
        Route(f"{API}/reviews", _door(doors.reviews), methods=["GET"]),
        Route(f"{API}/reviews/{{review:int}}", _door(doors.review), methods=["GET"]),
        Route(f"{API}/reviews/{{review:int}}/decision", _door(doors.decision), methods=["POST"]),
        Route(f"{API}/runs", _door(doors.lease), methods=["POST"]),
        Route(f"{API}/runs/{{run:int}}/finish", _door(doors.finish), methods=["POST"]),
    ]
    return Starlette(routes=routes)


class Doors:
    """One method per door."""

    def __init__(self, rooms: Custodian) -> None:
        self._doorkeeper = rooms.doorkeeper
        self._catalogue = rooms.catalogue
        self._enforcement = rooms.enforcement
        self._approvals = rooms.approvals
        self._runs = rooms.runs

    async def health(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self._catalogue.health))

    async def open_session(self, request: Request) -> Response:
        identity = self._doorkeeper.identity(bearer(request), peer(request))
        body = await _body(request)
        grant = await run_in_threadpool(
            self._doorkeeper.open_session,
            identity,
            _text(body, "purpose"),
            _text(body, "kernel"),
            _text(body, "notebook", ""),
        )
        return JSONResponse(grant)

    async def sql(self, request: Request) -> Response:
        session = self._doorkeeper.session(bearer(request), peer(request))
        text = _text(await _body(request), "sql")
        answer = await _unless_gone(
            request, lambda: self._enforcement.answer_rows(session, text), lambda: self._enforcement.cancel(session)
        )
        headers = {SNAPSHOT_HEADER: answer.snapshot, ISOLATION_HEADER: answer.isolation, "kai-digest": answer.digest}
        return Response(answer.arrow, media_type=ROWS_MEDIA_TYPE, headers=headers)

    async def statistics(self, request: Request) -> Response:
        session = self._doorkeeper.session(bearer(request), peer(request))
        body = await _body(request)
        asked = StatisticsRequest(_text(body, "sql"), _text(body, "rho"))
        release = await _unless_gone(
            request,
            lambda: self._enforcement.answer_statistics(session, asked),
            lambda: self._enforcement.cancel(session),
        )
        return JSONResponse(release)

    async def datasets(self, request: Request) -> Response:
        session = self._doorkeeper.session(bearer(request), peer(request))
        return JSONResponse({"datasets": await run_in_threadpool(self._catalogue.datasets, session)})

    async def budget(self, request: Request) -> Response:
        session = self._doorkeeper.session(bearer(request), peer(request))
        return JSONResponse(await run_in_threadpool(self._catalogue.budget, session))

    async def submit(self, request: Request) -> Response:
        caller = self._doorkeeper.identity(bearer(request), peer(request))
        return JSONResponse(await run_in_threadpool(self._approvals.submit, caller, await _body(request)))

    async def reviews(self, request: Request) -> Response:
        caller = self._doorkeeper.identity(bearer(request), peer(request))
        return JSONResponse({"reviews": await run_in_threadpool(self._approvals.reviews, caller)})

    async def review(self, request: Request) -> Response:
        caller = self._doorkeeper.identity(bearer(request), peer(request))
        return JSONResponse(await run_in_threadpool(self._approvals.review, caller, request.path_params["review"]))

    async def decision(self, request: Request) -> Response:
        caller = self._doorkeeper.identity(bearer(request), peer(request))
        review = request.path_params["review"]
        return JSONResponse(await run_in_threadpool(self._approvals.decide, caller, review, await _body(request)))

    async def lease(self, request: Request) -> Response:
        caller = self._doorkeeper.identity(bearer(request), peer(request))
        return JSONResponse(await run_in_threadpool(self._runs.lease, caller, await _body(request)))

    async def finish(self, request: Request) -> Response:
        caller = self._doorkeeper.identity(bearer(request), peer(request))
        run = request.path_params["run"]
        return JSONResponse(await run_in_threadpool(self._runs.finish, caller, run, await _body(request)))


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


def _door(door: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    async def guarded(request: Request) -> Response:
        try:
            return await door(request)
        except KaiError as error:
            return JSONResponse(refusal_to_json(error), status_code=_status(error))
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:
            # the kind and the place alone: an exception's text may hold data (law 5)
            log.error("unexpected %s in %s, at %s", type(error).__name__, request.url.path, _place(error))
            fault = Fault("INTERNAL", "The gateway failed at this request.", hint="the custodian's log names the place")
            return JSONResponse(refusal_to_json(fault), status_code=500)

    return guarded


def _place(error: Exception) -> str:
    """Where it came from, as module and line, innermost first."""
    frames = reversed(traceback.extract_tb(error.__traceback__))
    return " < ".join(f"{PurePath(frame.filename).stem}:{frame.lineno}" for frame in frames)


def _status(error: KaiError) -> int:
    statuses: tuple[tuple[type[KaiError], int], ...] = (
        (IdentityRefused, 401),
        (PolicyRefused, 403),
        (BudgetRefused, 402),
        (ReviewRefused, 409),
        (Refused, 422),
        (WorkerFault, 503),
    )
    return next((status for kind, status in statuses if isinstance(error, kind)), 500)


async def _body(request: Request) -> dict[str, Any]:
    """The request's JSON object, its size bounded before it is parsed."""
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > BODY_MAX:
            raise Refused("TOO_LARGE", "The request is larger than 16 MiB.", hint="clear large outputs and try again")
    try:
        value = json.loads(bytes(received))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Refused("NOT_JSON", "The request is not a JSON object.", hint="use the kaianalytics client")
    return value


def _text(body: dict[str, Any], name: str, default: str | None = None) -> str:
    value = body.get(name, default)
    if not isinstance(value, str):
        raise Refused(
            "FIELD_MISSING", f"The request needs the text field `{name}`.", hint="use the kaianalytics client"
        )
    return value


async def _unless_gone(request: Request, work: Callable[[], T], cancel: Callable[[], None]) -> T:
    """The result of `work` in a thread; if the client hangs up first, its query is cancelled."""
    working = asyncio.ensure_future(run_in_threadpool(work))
    hanging_up = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({working, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await run_in_threadpool(cancel)
        return await working
    finally:
        hanging_up.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
