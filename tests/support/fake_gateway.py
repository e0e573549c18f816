"""An honest fake of the gateway: real HTTP on a real Unix socket, the protocol's doors, canned data.

It decides a little, as the real one does: identities by token, purposes that are open or not, fresh purpose tokens, and
a slow query that notices when its client hangs up. `FakeGateway` runs it in a thread and stops it by its handle.
"""

from __future__ import annotations

import asyncio
import io
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from support.release_kit import SNAPSHOT, figure, key, release

from kaianalytics.client.launch import launched_level
from kaianalytics.errors import BudgetRefused, GuardRefused, IdentityRefused, KaiError, PolicyRefused
from kaianalytics.gateway.door.binding import binding_of, demand_bound
from kaianalytics.gateway.door.peer import PeerProtocol
from kaianalytics.protocol import (
    API,
    ISOLATION_HEADER,
    ROWS_MEDIA_TYPE,
    SNAPSHOT_HEADER,
    Budget,
    BudgetLine,
    Dataset,
    FigurePlan,
    RunGrant,
    SessionGrant,
    StatisticsPlan,
    refusal_to_json,
)

IDENTITY = "identity-of-hanako"
OPEN_PURPOSES = ("service-improvement", "ad-targeting")
STATUSES = ((IdentityRefused, 401), (PolicyRefused, 403), (BudgetRefused, 402))

SESSIONS = pl.DataFrame({"service": ["news", "shop"], "pages": [3, 5], "started_on": ["2026-10-01", None]})
RELEASE = release(
    [key("device"), figure("visits")],
    [("phone", 12034), ("computer", 5021), (None, -3)],
    [None, 40.2],
    snapshot=SNAPSHOT,
)


@dataclass
class FakeGateway:
    """The fake, and what it saw: tokens it gave, queries it ran, queries whose client hung up, runs that finished."""

    socket_path: Path
    level: str = field(default_factory=launched_level)  # at which its kernels start
    binds: bool = True  # whether a token is good on its own connections alone
    tokens: dict[str, str] = field(default_factory=dict)  # token → purpose
    kernels: list[dict[str, Any]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)  # tokens whose kernel has ended
    asked: list[dict[str, Any]] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)
    started_slow: threading.Event = field(default_factory=threading.Event)
    leases: list[dict[str, Any]] = field(default_factory=list)
    finished: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def serving(self) -> Iterator[FakeGateway]:
        """Serve on the socket until the block is left; may be entered again, as a gateway that restarts."""
        self.socket_path.unlink(missing_ok=True)
        server = uvicorn.Server(
            uvicorn.Config(
                self.app(), uds=str(self.socket_path), log_level="critical", lifespan="off", http=PeerProtocol
            )
        )
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        deadline = time.monotonic() + 10
        while not server.started:
            assert thread.is_alive() and time.monotonic() < deadline, "the fake gateway did not start"
            time.sleep(0.01)
        try:
            yield self
        finally:
            server.should_exit = True
            thread.join(10)
            assert not thread.is_alive(), "the fake gateway did not stop"

    def app(self) -> Starlette:
        """The doors of `kaianalytics.protocol`."""
        routes = [
            Route(f"{API}/sessions", self._door(self._open_session), methods=["POST"]),
            Route(f"{API}/sessions", self._door(self._close_session), methods=["DELETE"]),
            Route(f"{API}/sql", self._door(self._sql), methods=["POST"]),
            Route(f"{API}/statistics", self._door(self._statistics), methods=["POST"]),
            Route(f"{API}/statistics/plan", self._door(self._plan), methods=["POST"]),
            Route(f"{API}/releases", self._door(self._releases)),
            Route(f"{API}/datasets", self._door(self._datasets)),
            Route(f"{API}/budget", self._door(self._budget)),
            Route(f"{API}/runs", self._door(self._lease), methods=["POST"]),
            Route(f"{API}/runs/{{run:int}}/finish", self._door(self._finish), methods=["POST"]),
        ]
        return Starlette(routes=routes)

    def grant(self, purpose: str) -> SessionGrant:
        """A session with a token that was never given before."""
        token = f"purpose-token-{len(self.tokens) + 1:04d}-of-{purpose}"
        self.tokens[token] = purpose
        until = "2026-11-01T12:00:00+00:00"
        return SessionGrant(token, "hanako", purpose, SNAPSHOT, self.level, until, kernel="a-kernel")

    def _door(self, door: Any) -> Any:
        async def guarded(request: Request) -> Response:
            try:
                return await door(request)
            except KaiError as error:
                status = next((code for kind, code in STATUSES if isinstance(error, kind)), 422)
                return JSONResponse(refusal_to_json(error), status_code=status)

        return guarded

    async def _open_session(self, request: Request) -> Response:
        self._identity(request)
        asked = await request.json()
        self.kernels.append(asked)
        if asked["purpose"] not in OPEN_PURPOSES:
            raise PolicyRefused(
                "PURPOSE_NOT_OPEN",
                f"The purpose `{asked['purpose']}` is not open to the sandbox.",
                rule="clause 3",
                hint="choose one of: " + ", ".join(OPEN_PURPOSES),
            )
        return JSONResponse(asdict(self.grant(asked["purpose"])))

    async def _close_session(self, request: Request) -> Response:
        self._session(request)
        token = request.headers["authorization"].removeprefix("Bearer ")
        self.closed.append(token)
        return JSONResponse({})

    async def _sql(self, request: Request) -> Response:
        self._session(request)
        asked = await request.json()
        self.asked.append(asked)
        if "slow" in asked["sql"]:
            await self._slow(request)
        if "raw_customers" in asked["sql"]:
            raise GuardRefused(
                "VIEW_UNKNOWN", "There is no view `raw_customers`.", rule="deny by default", hint="see kai.datasets()"
            )
        stream = io.BytesIO()
        (SESSIONS.clear() if "nothing" in asked["sql"] else SESSIONS).write_ipc_stream(stream)
        headers = {SNAPSHOT_HEADER: SNAPSHOT, ISOLATION_HEADER: self.level}
        return Response(stream.getvalue(), media_type=ROWS_MEDIA_TYPE, headers=headers)

    async def _slow(self, request: Request) -> None:
        self.started_slow.set()
        for _ in range(1000):
            if await request.is_disconnected():
                self.cancelled.set()
                return
            await asyncio.sleep(0.02)

    async def _statistics(self, request: Request) -> Response:
        purpose = self._session(request)
        asked = await request.json()
        self.asked.append(asked)
        if float(asked.get("rho", 0)) > 1:
            raise BudgetRefused(
                "BUDGET_SPENT", "The purpose has 0.498 left.", rule="cap of the purpose", hint="ask for less"
            )
        answer = {**RELEASE.to_json(), "purpose": purpose, "sql": asked["sql"], "rho": asked.get("rho", "0.002")}
        self.released.append(json.dumps(answer))
        return JSONResponse({"release": self.released[-1], "charged": True, "remaining": {"account": "1.998"}})

    async def _plan(self, request: Request) -> Response:
        self._session(request)
        asked = await request.json()
        self.asked.append(asked)
        width = float(asked["accuracy"]) if "accuracy" in asked else 40.2
        price = asked.get("rho", "0.002")
        figures = (FigurePlan("visits", "count", width),)
        return JSONResponse(
            asdict(StatisticsPlan(price, price, "0", "0.32", "0.000001", figures, 3, (), RELEASE.bounding, None, 249))
        )

    async def _releases(self, request: Request) -> Response:
        self._session(request)
        self.asked.append(dict(request.query_params))
        wanted = [text for text in self.released if request.query_params.get("contains", "") in json.loads(text)["sql"]]
        entries = [{"release": text, "at": "2026-11-01T10:00:00+00:00"} for text in reversed(wanted)]
        return JSONResponse({"releases": entries})

    async def _datasets(self, request: Request) -> Response:
        self._session(request)
        columns = ({"name": "service", "type": "VARCHAR"}, {"name": "pages", "type": "INTEGER"})
        entry = Dataset("sessions", "Visits", ("rows", "statistics"), columns, "2026-11-01", "20 rows of one customer")
        return JSONResponse({"datasets": [asdict(entry)]})

    async def _budget(self, request: Request) -> Response:
        purpose = self._session(request)
        lines = (BudgetLine("account", "2", "0.002", "1.998"), BudgetLine("purpose", "0.5", "0.002", "0.498"))
        price = request.query_params.get("rho", "0.002")
        left = int(Decimal("0.498") // Decimal(price))
        return JSONResponse(asdict(Budget("customers", purpose, lines, f"At ρ {price}: {left} more.", price, left)))

    async def _lease(self, request: Request) -> Response:
        self._identity(request)
        asked = await request.json()
        self.leases.append(asked)
        purpose = asked["notebook"]["metadata"]["kai"]["purpose"]
        return JSONResponse(asdict(RunGrant(len(self.leases), self.grant(purpose))))

    async def _finish(self, request: Request) -> Response:
        self._identity(request)
        asked = {**await request.json(), "run": request.path_params["run"]}
        self.finished.append(asked)
        return JSONResponse({"published": not asked["failed"], "run": asked["run"]})

    def _identity(self, request: Request) -> None:
        if request.headers.get("authorization") != f"Bearer {IDENTITY}":
            raise IdentityRefused("TOKEN_INVALID", "The token is not one of this gateway.", hint="kai identity issue")

    def _session(self, request: Request) -> str:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.tokens:
            raise IdentityRefused("TOKEN_INVALID", "The token is not one of this gateway.", hint="restart the kernel")
        if self.binds:
            demand_bound(binding_of(request), token, "a-kernel")
        return self.tokens[token]
