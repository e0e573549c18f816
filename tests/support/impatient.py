"""The gateway's own protocol before a page of a test's, on a socket in this process."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from kaianalytics.gateway.door.peer import PeerProtocol


@contextmanager
def serving(path: Path, page: Any, protocol: type[PeerProtocol], **more: Any) -> Iterator[uvicorn.Server]:
    """The server while it serves; `protocol` has the patience that a test gives it."""
    server = uvicorn.Server(uvicorn.Config(page, http=protocol, ws="none", lifespan="off", log_config=None, **more))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            yield server
        finally:
            server.should_exit = True
            thread.join()
