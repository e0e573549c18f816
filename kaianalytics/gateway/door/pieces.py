"""A large answer, handed on a piece at a time: no faster than its client takes it, and never copied as a whole.

Law: whoever asked has their turn until the answer has left, or its connection has. Answers that nobody reads hold up
their own user's questions, and nobody else's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PIECE = 128 * 1024  # what a Unix socket takes at once, so that the event loop seldom keeps a rest of it


class InPieces(Response):
    """A response whose body is whole, and leaves in pieces; the next goes once the client has taken the last.

    `sent` is called once it has left, or can't.
    """

    def __init__(self, body: bytes, media_type: str, headers: Mapping[str, str], sent: Callable[[], None]) -> None:
        super().__init__(body, media_type=media_type, headers=headers)
        self._sent = sent

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        body = memoryview(self.body)
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for start in range(0, len(body), PIECE):
                await send({"type": "http.response.body", "body": body[start : start + PIECE], "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._sent()
