"""A large answer, handed on a piece at a time: no faster than its client takes it, and never copied as a whole."""

from __future__ import annotations

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PIECE = 128 * 1024  # what a Unix socket takes at once, so that the event loop seldom keeps a rest of it


class InPieces(Response):
    """A response whose body is whole, and leaves in pieces; the next goes once the client has taken the last."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = memoryview(self.body)
        for start in range(0, len(body), PIECE):
            await send({"type": "http.response.body", "body": body[start : start + PIECE], "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
