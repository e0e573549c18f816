"""A refusal or a fault answered: in the one shape of `protocol`, with its status, and never unrecorded.

What no room recorded is recorded here. Anything unexpected becomes the code INTERNAL and a line in the custodian's log.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from kaianalytics.errors import (
    BudgetRefused,
    Fault,
    IdentityRefused,
    KaiError,
    PolicyRefused,
    QueryFailed,
    Refused,
    ReviewRefused,
    WorkerFault,
)
from kaianalytics.gateway.door.identity import Doorkeeper
from kaianalytics.gateway.door.reading import peer
from kaianalytics.gateway.logbook import begin_request, came_through, reference
from kaianalytics.protocol import refusal_to_json

log = logging.getLogger("kaianalytics.gateway")


def guarded(
    keeper: Doorkeeper, door: Callable[[Request], Awaitable[Response]]
) -> Callable[[Request], Awaitable[Response]]:
    async def answered(request: Request) -> Response:
        begin_request()
        try:
            return await door(request)
        except KaiError as error:
            _refer(error)
            await _recorded(keeper, request, error)
            return JSONResponse(refusal_to_json(error), status_code=_status(error))
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:
            # the kind and the place alone: an exception's text may hold data (law 5)
            kind, way = type(error).__name__, came_through(error.__traceback__)
            log.error("unexpected %s in %s, at %s", kind, request.url.path, way)
            fault = Fault("INTERNAL", "The gateway failed at this request.", hint="the custodian's log names the place")
            _refer(fault)
            await _recorded(keeper, request, fault)
            return JSONResponse(refusal_to_json(fault), status_code=500)

    return answered


async def no_such_door(keeper: Doorkeeper, request: Request, said: Any) -> Response:
    """The answer to a path or method that is none of ours, in the shape of every other refusal."""
    error = Refused("NO_SUCH_DOOR", "The gateway has no such door.", hint="use the kaianalytics client")
    await _recorded(keeper, request, error)
    return JSONResponse(refusal_to_json(error), status_code=said.status_code)


def _refer(error: KaiError) -> None:
    """Tell the reference with what the records and the log may say more of; of any other refusal all is told."""
    if isinstance(error, Fault | QueryFailed):
        error.reference = reference()


async def _recorded(keeper: Doorkeeper, request: Request, error: KaiError) -> None:
    """See that the chain has the refusal or fault; where the records themselves fail, the log has its code."""
    if error.recorded:
        return
    user = getattr(request.state, "user", "")
    try:
        await run_in_threadpool(keeper.record_refusal, user, peer(request), request.url.path, error)
    except Exception as fault:  # whatever it was, the refusal is still told, and no traceback is logged (law 5)
        log.error("%s could not be recorded: %s", error.code, type(fault).__name__)


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
