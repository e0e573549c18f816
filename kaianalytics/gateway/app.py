"""The gateway's doors: HTTP in, one call of a room behind them, an answer or a reasoned refusal out.

Nothing is decided here. Each door reads one token, hands the work to a thread, and turns every KaiError into the one
shape of `protocol.refusal_to_json`; one that no room recorded is recorded here. Anything unexpected becomes the code
INTERNAL and a line in the custodian's log.
"""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import PurePath
from threading import Event
from typing import Any, NoReturn, TypeVar

from anyio import CapacityLimiter, to_thread
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
from kaianalytics.gateway.identity import Doorkeeper
from kaianalytics.gateway.tokens import Identity, Session
from kaianalytics.protocol import (
    API,
    ISOLATION_HEADER,
    ROWS_MEDIA_TYPE,
    SNAPSHOT_HEADER,
    StatisticsRequest,
    refusal_to_json,
)

T = TypeVar("T")
QUERIES_PER_USER = 8  # at one time; further ones wait without holding a thread
BODY_SECONDS = 10.0  # from a request's head to the last byte of its body
NUMBER_MAX = 2**63 - 1
BODY_MAX = 16 * 1024 * 1024  # an executed notebook with its charts
log = logging.getLogger("kaianalytics.gateway")


def build_app(rooms: Custodian) -> Starlette:
    """The ASGI application over the rooms behind it."""
    doors = Doors(rooms)
    door = partial(_door, rooms.doorkeeper)
    routes = [
        Route(f"{API}/health", door(doors.health), methods=["GET"]),
        Route(f"{API}/sessions", door(doors.open_session), methods=["POST"]),
        Route(f"{API}/sql", door(doors.sql), methods=["POST"]),
        Route(f"{API}/statistics", door(doors.statistics), methods=["POST"]),
        Route(f"{API}/datasets", door(doors.datasets), methods=["GET"]),
        Route(f"{API}/budget", door(doors.budget), methods=["GET"]),
        Route(f"{API}/submissions", door(doors.submit), methods=["POST"]),
        Route(f"{API}/reviews", door(doors.reviews), methods=["GET"]),
        Route(f"{API}/reviews/{{review:int}}", door(doors.review), methods=["GET"]),
        Route(f"{API}/reviews/{{review:int}}/decision", door(doors.decision), methods=["POST"]),
        Route(f"{API}/runs", door(doors.lease), methods=["POST"]),
        Route(f"{API}/runs/{{run:int}}/finish", door(doors.finish), methods=["POST"]),
    ]
    nowhere = partial(_no_such_door, rooms.doorkeeper)
    return Starlette(routes=routes, exception_handlers={404: nowhere, 405: nowhere})


class Doors:
    """One method per door."""

    def __init__(self, rooms: Custodian) -> None:
        self._doorkeeper = rooms.doorkeeper
        self._catalogue = rooms.catalogue
        self._enforcement = rooms.enforcement
        self._approvals = rooms.approvals
        self._runs = rooms.runs
        self._queries: dict[str, CapacityLimiter] = {}

    async def health(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self._catalogue.health))

    async def open_session(self, request: Request) -> Response:
        identity = self._identity(request)
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
        session = self._session(request)
        text = _text(await _body(request), "sql")
        answer = await _unless_gone(
            request,
            self._turns(session),
            lambda gone: self._enforcement.answer_rows(session, text, gone),
            lambda gone: self._enforcement.cancel(session, gone),
        )
        headers = {SNAPSHOT_HEADER: answer.snapshot, ISOLATION_HEADER: answer.isolation, "kai-digest": answer.digest}
        return Response(answer.arrow, media_type=ROWS_MEDIA_TYPE, headers=headers)

    async def statistics(self, request: Request) -> Response:
        session = self._session(request)
        body = await _body(request)
        asked = StatisticsRequest(_text(body, "sql"), _text(body, "rho"))
        release = await _unless_gone(
            request,
            self._turns(session),
            lambda gone: self._enforcement.answer_statistics(session, asked, gone),
            lambda gone: self._enforcement.cancel(session, gone),
        )
        return JSONResponse(release)

    async def datasets(self, request: Request) -> Response:
        session = self._session(request)
        await run_in_threadpool(self._doorkeeper.demand_standing, session)
        return JSONResponse({"datasets": await run_in_threadpool(self._catalogue.datasets, session)})

    async def budget(self, request: Request) -> Response:
        session = self._session(request)
        await run_in_threadpool(self._doorkeeper.demand_standing, session)
        return JSONResponse(await run_in_threadpool(self._catalogue.budget, session))

    async def submit(self, request: Request) -> Response:
        caller = self._identity(request)
        return JSONResponse(await run_in_threadpool(self._approvals.submit, caller, await _body(request)))

    async def reviews(self, request: Request) -> Response:
        caller = self._identity(request)
        return JSONResponse({"reviews": await run_in_threadpool(self._approvals.reviews, caller)})

    async def review(self, request: Request) -> Response:
        caller = self._identity(request)
        return JSONResponse(await run_in_threadpool(self._approvals.review, caller, _number(request, "review")))

    async def decision(self, request: Request) -> Response:
        caller = self._identity(request)
        review = _number(request, "review")
        return JSONResponse(await run_in_threadpool(self._approvals.decide, caller, review, await _body(request)))

    async def lease(self, request: Request) -> Response:
        caller = self._identity(request)
        return JSONResponse(await run_in_threadpool(self._runs.lease, caller, await _body(request)))

    async def finish(self, request: Request) -> Response:
        caller = self._identity(request)
        run = _number(request, "run")
        return JSONResponse(await run_in_threadpool(self._runs.finish, caller, run, await _body(request)))

    def _turns(self, session: Session) -> CapacityLimiter:
        """The threads that a user's queries may hold: a query waits for the same user's, and for nobody else's."""
        if session.user not in self._queries:
            self._queries[session.user] = CapacityLimiter(QUERIES_PER_USER)
        return self._queries[session.user]

    def _identity(self, request: Request) -> Identity:
        identity = self._doorkeeper.identity(bearer(request), peer(request))
        request.state.user = identity.user
        return identity

    def _session(self, request: Request) -> Session:
        session = self._doorkeeper.session(bearer(request), peer(request))
        request.state.user = session.user
        return session


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


def _door(
    keeper: Doorkeeper, door: Callable[[Request], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]]:
    async def guarded(request: Request) -> Response:
        try:
            return await door(request)
        except KaiError as error:
            await _recorded(keeper, request, error)
            return JSONResponse(refusal_to_json(error), status_code=_status(error))
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:
            # the kind and the place alone: an exception's text may hold data (law 5)
            log.error("unexpected %s in %s, at %s", type(error).__name__, request.url.path, _place(error))
            fault = Fault("INTERNAL", "The gateway failed at this request.", hint="the custodian's log names the place")
            await _recorded(keeper, request, fault)
            return JSONResponse(refusal_to_json(fault), status_code=500)

    return guarded


async def _no_such_door(keeper: Doorkeeper, request: Request, said: Any) -> Response:
    """The answer to a path or method that is none of ours, in the shape of every other refusal."""
    error = Refused("NO_SUCH_DOOR", "The gateway has no such door.", hint="use the kaianalytics client")
    await _recorded(keeper, request, error)
    return JSONResponse(refusal_to_json(error), status_code=said.status_code)


async def _recorded(keeper: Doorkeeper, request: Request, error: KaiError) -> None:
    """See that the chain has the refusal or fault; where the records themselves fail, the log has its code."""
    if error.recorded:
        return
    user = getattr(request.state, "user", "")
    try:
        await run_in_threadpool(keeper.record_refusal, user, peer(request), request.url.path, error)
    except Exception as fault:  # whatever it was, the refusal is still told, and no traceback is logged (law 5)
        log.error("%s could not be recorded: %s", error.code, type(fault).__name__)


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


def _number(request: Request, name: str) -> int:
    """A number of the path; past what the records can hold it is the largest, which nothing has."""
    return min(int(request.path_params[name]), NUMBER_MAX)


def _text(body: dict[str, Any], name: str, default: str | None = None) -> str:
    value = body.get(name, default)
    if not isinstance(value, str):
        raise Refused(
            "FIELD_MISSING", f"The request needs the text field `{name}`.", hint="use the kaianalytics client"
        )
    return value


async def _unless_gone(
    request: Request, turns: CapacityLimiter, work: Callable[[Event], T], cancel: Callable[[Event], None]
) -> T:
    """The result of `work` in a thread; if the client hangs up first, the event is set and its query is cancelled."""
    gone = Event()
    working = asyncio.ensure_future(to_thread.run_sync(work, gone, limiter=turns))
    hanging_up = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({working, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            gone.set()  # first: a query that has not begun then never does
            await run_in_threadpool(cancel, gone)
        return await working
    finally:
        hanging_up.cancel()


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
