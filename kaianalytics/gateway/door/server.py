"""The gateway as a process: one home held, one Unix socket, and nothing left behind.

Order of starting, each step a reason not to: hold the home (a second gateway is told who holds it); keys; records with
their signed head (an older ledger put back is noticed here); the published stores; the machine's isolation, tried out;
then the socket, mode 0600 (0660 for a platform of its own); then the file that says where it is. Everything is undone
in reverse, also after SIGTERM.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import uvicorn

from kaianalytics.custody.home import Home
from kaianalytics.gateway.custodian import open_custodian
from kaianalytics.gateway.door.app import build_app
from kaianalytics.gateway.door.headers import HEADERS
from kaianalytics.gateway.door.peer import PeerProtocol
from kaianalytics.gateway.logbook import logging_to
from kaianalytics.gateway.tokens import utc_now

SOCKET_MODE, SOCKET_MODE_OF_GROUP = 0o600, 0o660
BACKLOG = 128


def serve(home: Home, where: Path, mode: int = SOCKET_MODE) -> None:
    """Serve the home until SIGTERM or SIGINT; HomeFault, RecordsFault or BuildFault where it may not start.

    `where` is the socket's path. Its group is that of its folder, where that hands its group down.
    """
    with (
        _ending_in_order(),
        home.hold(),
        logging_to(home.log),
        open_custodian(home) as custodian,
        _listening(where, mode) as listener,
    ):
        app = build_app(custodian)
        config = uvicorn.Config(
            app,
            http=PeerProtocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # else a header could name the peer, where FORWARDED_ALLOW_IPS says so
            server_header=False,
            date_header=False,
            headers=list(HEADERS),
            timeout_keep_alive=30,
            timeout_graceful_shutdown=5,
        )
        with _announced(home, where):
            _Server(config, custodian.pool.close_all).run(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn's server, which ends running queries first: their clients are told a code, and nobody waits."""

    def __init__(self, config: uvicorn.Config, end_queries: Callable[[], None]) -> None:
        super().__init__(config)
        self._end_queries = end_queries

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the queries, then what uvicorn ends."""
        await asyncio.to_thread(self._end_queries)
        await super().shutdown(sockets)


@contextlib.contextmanager
def _ending_in_order() -> Iterator[None]:
    """SIGTERM and SIGINT end this process as an exit does, so that everything opened is closed.

    uvicorn shuts down at either, and then raises it again: by default SIGTERM would end the process there and then.
    """
    before = {number: signal.signal(number, _leave) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(0)


@contextlib.contextmanager
def _listening(path: Path, mode: int) -> Iterator[socket.socket]:
    # the home is held by us alone: a socket file found here was left by a gateway that was killed
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(mode)
        listener.listen(BACKLOG)
        yield listener
    finally:
        listener.close()
        path.unlink(missing_ok=True)
        if path.parent != path.parent.parent and path.parent.name.startswith("kai-"):
            with contextlib.suppress(OSError):
                path.parent.rmdir()


@contextlib.contextmanager
def _announced(home: Home, where: Path) -> Iterator[None]:
    facts = {"pid": os.getpid(), "socket": str(where), "since": utc_now().isoformat()}
    aside = home.gateway_info.with_suffix(".new")
    aside.write_text(json.dumps(facts), encoding="utf-8")
    aside.replace(home.gateway_info)
    try:
        yield
    finally:
        home.gateway_info.unlink(missing_ok=True)
