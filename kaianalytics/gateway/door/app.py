"""The gateway's doors: HTTP in, one call of a room behind them, an answer out.

Nothing is decided here. Each door reads one token and hands the work to a thread; `refusing` answers what goes wrong.
A query ends with its client, and with its session: whoever hangs up, or is revoked, has no query under way.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from functools import partial
from threading import Event
from typing import Any, TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from kaianalytics.gateway.custodian import Custodian
from kaianalytics.gateway.door.asking import statistics_request
from kaianalytics.gateway.door.binding import binding_of
from kaianalytics.gateway.door.head import BODY_MAX
from kaianalytics.gateway.door.pieces import InPieces
from kaianalytics.gateway.door.reading import bearer, json_body, path_number, peer, query_text, text_field
from kaianalytics.gateway.door.refusing import guarded, no_such_door
from kaianalytics.gateway.isolation import Statement
from kaianalytics.gateway.tokens import Identity, Session
from kaianalytics.protocol import API, ISOLATION_HEADER, ROWS_MEDIA_TYPE, SNAPSHOT_HEADER

T = TypeVar("T")
_FIRST = asyncio.FIRST_COMPLETED
QUERIES_PER_USER = 8  # at one time, with the answers that are on their way; further ones wait without holding a thread
UPLOADS_PER_USER = 2  # of a notebook, at one time
STANDING_SECONDS = 0.5  # how often it is asked whether the session of a running query still stands


def build_app(rooms: Custodian) -> Starlette:
    """The ASGI application over the rooms behind it."""
    doors = Doors(rooms)
    door = partial(guarded, rooms.doorkeeper)
    routes = [
        Route(f"{API}/health", door(doors.health), methods=["GET"]),
        Route(f"{API}/sessions", door(doors.open_session), methods=["POST"]),
        Route(f"{API}/sessions", door(doors.close_session), methods=["DELETE"]),
        Route(f"{API}/sql", door(doors.sql), methods=["POST"]),
        Route(f"{API}/statistics", door(doors.statistics), methods=["POST"]),
        Route(f"{API}/statistics/plan", door(doors.statistics_plan), methods=["POST"]),
        Route(f"{API}/releases", door(doors.releases), methods=["GET"]),
        Route(f"{API}/datasets", door(doors.datasets), methods=["GET"]),
        Route(f"{API}/budget", door(doors.budget), methods=["GET"]),
        Route(f"{API}/submissions", door(doors.submit), methods=["POST"]),
        Route(f"{API}/reviews", door(doors.reviews), methods=["GET"]),
        Route(f"{API}/reviews/{{review:int}}", door(doors.review), methods=["GET"]),
        Route(f"{API}/reviews/{{review:int}}/decision", door(doors.decision), methods=["POST"]),
        Route(f"{API}/workspaces", door(doors.workspaces), methods=["GET"]),
        Route(f"{API}/workspaces/downloads", door(doors.download), methods=["POST"]),
        Route(f"{API}/workspaces/removals", door(doors.removed), methods=["POST"]),
        Route(f"{API}/runs", door(doors.lease), methods=["POST"]),
        Route(f"{API}/runs/{{run:int}}/finish", door(doors.finish), methods=["POST"]),
    ]
    nowhere = partial(no_such_door, rooms.doorkeeper)
    app = Starlette(routes=routes, exception_handlers={404: nowhere, 405: nowhere})
    app.router.redirect_slashes = False  # or a header, `Host`, would be in the answer
    return app


class Doors:
    """One method per door."""

    def __init__(self, rooms: Custodian) -> None:
        self._doorkeeper = rooms.doorkeeper
        self._catalogue = rooms.catalogue
        self._enforcement = rooms.enforcement
        self._approvals = rooms.approvals
        self._reviewing = rooms.reviewing
        self._runs = rooms.runs
        self._workspaces = rooms.workspaces
        self._pool = rooms.pool
        self._queries: dict[str, asyncio.Semaphore] = {}
        self._uploads: dict[str, asyncio.Semaphore] = {}

    async def health(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self._catalogue.health))

    async def open_session(self, request: Request) -> Response:
        identity = self._identity(request)
        body = await json_body(request)
        grant = await run_in_threadpool(
            self._doorkeeper.open_session,
            identity,
            text_field(body, "purpose"),
            text_field(body, "kernel"),
            text_field(body, "notebook", ""),
            Statement.of(body),
        )
        return JSONResponse(grant)

    async def close_session(self, request: Request) -> Response:
        session = self._session(request)
        await run_in_threadpool(self._doorkeeper.close_session, session)  # first: from here on it asks nothing more
        await run_in_threadpool(self._pool.close, session.session_id)
        return JSONResponse({})

    async def sql(self, request: Request) -> Response:
        session = self._session(request)
        text = text_field(await json_body(request), "sql")
        turns = self._turns(session.user)
        await turns.acquire()
        try:
            answer = await self._unless_ended(
                request,
                session,
                lambda gone: self._enforcement.answer_rows(session, text, gone),
            )
        except BaseException:
            turns.release()
            raise
        headers = {SNAPSHOT_HEADER: answer.snapshot, ISOLATION_HEADER: answer.isolation, "kai-digest": answer.digest}
        return InPieces(answer.arrow, ROWS_MEDIA_TYPE, headers, turns.release)

    async def statistics(self, request: Request) -> Response:
        session = self._session(request)
        asked = statistics_request(await json_body(request))
        async with self._turns(session.user):
            release = await self._unless_ended(
                request,
                session,
                lambda gone: self._enforcement.answer_statistics(session, asked, gone),
            )
        return JSONResponse(release)

    async def statistics_plan(self, request: Request) -> Response:
        session = self._session(request)
        asked = statistics_request(await json_body(request))
        async with self._turns(session.user):
            plan = await to_thread.run_sync(self._enforcement.plan_statistics, session, asked, limiter=_threads())
        return JSONResponse(plan)

    async def releases(self, request: Request) -> Response:
        session = self._session(request)
        await run_in_threadpool(self._doorkeeper.demand_standing, session)
        view, contains, purpose = (query_text(request, name) for name in ("view", "contains", "purpose"))
        earlier = await run_in_threadpool(self._enforcement.earlier_releases, session, view, contains, purpose)
        return JSONResponse({"releases": earlier})

    async def datasets(self, request: Request) -> Response:
        session = self._session(request)
        await run_in_threadpool(self._doorkeeper.demand_standing, session)
        return JSONResponse({"datasets": await run_in_threadpool(self._catalogue.datasets, session)})

    async def budget(self, request: Request) -> Response:
        session = self._session(request)
        await run_in_threadpool(self._doorkeeper.demand_standing, session)
        rho, population = query_text(request, "rho"), query_text(request, "population")
        return JSONResponse(await run_in_threadpool(self._catalogue.budget, session, rho, population))

    async def submit(self, request: Request) -> Response:
        return await self._with_notebook(request, self._approvals.submit)

    async def reviews(self, request: Request) -> Response:
        caller = self._identity(request)
        return JSONResponse({"reviews": await run_in_threadpool(self._reviewing.reviews, caller)})

    async def review(self, request: Request) -> Response:
        caller = self._identity(request)
        return JSONResponse(await run_in_threadpool(self._reviewing.review, caller, path_number(request, "review")))

    async def decision(self, request: Request) -> Response:
        caller = self._identity(request)
        review = path_number(request, "review")
        return JSONResponse(await run_in_threadpool(self._approvals.decide, caller, review, await json_body(request)))

    async def workspaces(self, request: Request) -> Response:
        caller = self._identity(request)
        return JSONResponse(await run_in_threadpool(self._workspaces.rules, caller))

    async def download(self, request: Request) -> Response:
        caller = self._identity(request)
        return JSONResponse(await run_in_threadpool(self._workspaces.download, caller, await json_body(request)))

    async def removed(self, request: Request) -> Response:
        caller = self._identity(request)
        return JSONResponse(await run_in_threadpool(self._workspaces.removed, caller, await json_body(request)))

    async def lease(self, request: Request) -> Response:
        return await self._with_notebook(request, self._runs.lease)

    async def finish(self, request: Request) -> Response:
        run = path_number(request, "run")
        return await self._with_notebook(request, lambda caller, body: self._runs.finish(caller, run, body))

    async def _with_notebook(
        self, request: Request, work: Callable[[Identity, dict[str, Any]], dict[str, Any]]
    ) -> Response:
        """The answer to a request with a notebook in its body, of which a user has few under way."""
        caller = self._identity(request)
        async with self._uploads.setdefault(caller.user, asyncio.Semaphore(UPLOADS_PER_USER)):
            return JSONResponse(await run_in_threadpool(work, caller, await json_body(request, BODY_MAX)))

    def _turns(self, user: str) -> asyncio.Semaphore:
        """The queries that a user may have under way: one waits for the same user's, and for nobody else's."""
        return self._queries.setdefault(user, asyncio.Semaphore(QUERIES_PER_USER))

    def _identity(self, request: Request) -> Identity:
        identity = self._doorkeeper.identity(bearer(request), peer(request), binding_of(request))
        request.state.user = identity.user
        return identity

    def _session(self, request: Request) -> Session:
        session = self._doorkeeper.session(bearer(request), peer(request), binding_of(request))
        request.state.user = session.user
        return session

    async def _unless_ended(self, request: Request, session: Session, work: Callable[[Event], T]) -> T:
        """The result of `work` in a thread; its query is cancelled where the client hangs up first, or is revoked."""
        gone = Event()
        working = asyncio.ensure_future(to_thread.run_sync(work, gone, limiter=_threads()))
        hanging_up = asyncio.ensure_future(_disconnected(request))
        waited_for = {working, hanging_up}
        try:
            while not (await asyncio.wait(waited_for, timeout=STANDING_SECONDS, return_when=_FIRST))[0]:
                await run_in_threadpool(self._doorkeeper.demand_unrevoked, session)
        finally:
            hanging_up.cancel()
            if not working.done():
                gone.set()  # first: a query that has not begun then never does
                await run_in_threadpool(self._enforcement.cancel, session, gone)
                await asyncio.gather(working, return_exceptions=True)
        return working.result()


def _threads() -> CapacityLimiter:
    """As many threads as there are turns: turns are what is bounded."""
    return CapacityLimiter(math.inf)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
