"""Ways to ask a statement: of the guard and a worker in this process, or of a real gateway on its socket.

Both give the Arrow stream of an answer or raise a KaiError. The first leaves out the records, which take most of the
time; the second is the whole wall.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from support.real_world import Gateway

from fuzz.oracle import Ask
from fuzz.world import PURPOSE, FuzzWorld
from kaianalytics.client.transport import Door
from kaianalytics.gateway.custodian import open_custodian
from kaianalytics.gateway.tokens import Session
from kaianalytics.protocol import API

SECONDS = 5.0
ROWS_MAX, BYTES_MAX = 200_000, 64 * 1024 * 1024


@contextmanager
def directly(world: FuzzWorld) -> Iterator[Ask]:
    """The gateway's own rooms in this process: guard, then the session's worker on the built store."""
    session = Session("f" * 32, "aiko", os.getuid(), PURPOSE, "interactive", "kernel")
    with open_custodian(world.home) as rooms:
        page = rooms.enforcement
        serving = page._context.serving()

        def ask(sql: str) -> bytes:
            admitted = page._admit(serving, sql)
            page._permit(serving, session, "rows", admitted)
            worker, _ = page._worker(serving, session, "rows")
            with worker.run(admitted.sql, SECONDS, rows_max=ROWS_MAX, bytes_max=BYTES_MAX) as answer:
                return b"".join(answer)

        yield ask


def over_the_socket(gateway: Gateway, user: str = "aiko") -> Ask:
    """A session's own connections to a running gateway; a statement that takes too long is given up by hanging up."""
    token = gateway.session(user, PURPOSE).token
    door = Door(lambda: gateway.connect(token), token, timeout=SECONDS)
    return lambda sql: door.request_rows(f"{API}/sql", {"sql": sql}).arrow
