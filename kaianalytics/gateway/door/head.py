"""The head of a request, looked at whole before any parser believes it.

Laws:
1. There is one way to write a request: `GET`, `POST` or `DELETE`, a plain path, HTTP/1.1, then headers, each on one
   line that ends in CR LF, each name once. What another reader might read otherwise is refused, not understood.
2. A body comes with a POST alone, and its length is said beforehand, in digits; nothing comes in chunks.
3. Everything has a size, and no more than that is kept of what is longer.

h11 then parses what has passed, and decides where the body ends.
"""

from __future__ import annotations

import re

import h11

from kaianalytics.errors import Refused

HEAD_MAX = 16 * 1024
HEADER_MAX = 8 * 1024  # of one line: a token is 1 to 6 KiB
HEADERS_MAX = 32
BODY_MAX = 16 * 1024 * 1024  # an executed notebook with its charts
_END = b"\r\n\r\n"
# percent signs in the query alone: no door's path has one, so that none can hide another path
_REQUEST = re.compile(rb"(GET|POST|DELETE) /[A-Za-z0-9/._-]{0,200}(\?[A-Za-z0-9%&=+._~-]*)? HTTP/1\.1")
_HEADER = re.compile(rb"([A-Za-z0-9-]{1,60}):[ ]?([\x20-\x7e]*)")
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,15}")
_NEVER = frozenset({b"transfer-encoding", b"trailer", b"upgrade"})


class HeadRefused(h11.RemoteProtocolError):
    """A head that no door sees, with the code, the sentence and the status it is answered by."""

    def __init__(self, code: str, message: str, status: int, hint: str = "use the kaianalytics client") -> None:
        super().__init__(message, status)
        self.refusal = Refused(code, message, rule="a request is plain, and small", hint=hint)


class PlainConnection(h11.Connection):
    """h11's parser, which is given a head once it is whole and plain."""

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """The next event of the peer's; HeadRefused for a head that is not plain."""
        if self.their_state is h11.IDLE:
            received, _ = self.trailing_data
            if received and not whole_and_plain(received):
                return h11.NEED_DATA
        return super().next_event()


def whole_and_plain(received: bytes) -> bool:
    """Whether the bytes begin with a whole head, which then is plain; HeadRefused as soon as it can't become one."""
    end = received.find(_END, 0, HEAD_MAX)
    if end < 0 and len(received) >= HEAD_MAX:
        raise HeadRefused("HEAD_TOO_LARGE", f"The request's head is longer than {HEAD_MAX // 1024} KiB.", 431)
    if end < 0:
        return False
    request, *lines = received[:end].split(b"\r\n")
    if not _REQUEST.fullmatch(request):
        raise not_plain("its first line is not GET, POST or DELETE, a plain path, and HTTP/1.1")
    _demand_body_stated(request.startswith(b"POST"), _headers(lines))
    return True


def _headers(lines: list[bytes]) -> dict[bytes, bytes]:
    if len(lines) > HEADERS_MAX or max(map(len, lines), default=0) > HEADER_MAX:
        raise HeadRefused("HEAD_TOO_LARGE", f"A request has at most {HEADERS_MAX} headers, of 8 KiB each.", 431)
    headers: dict[bytes, bytes] = {}
    for line in lines:
        if (read := _HEADER.fullmatch(line)) is None:
            raise not_plain("a header is not a name and a value on one line")
        name = read[1].lower()
        if name in headers or name in _NEVER:
            raise not_plain("a header comes twice, or is not for this door")
        headers[name] = read[2]
    return headers


def _demand_body_stated(posted: bool, headers: dict[bytes, bytes]) -> None:
    length = headers.get(b"content-length", b"0")
    if not _LENGTH.fullmatch(length) or (int(length) and not posted):
        raise not_plain("its body's length is not a number, or it is no POST")
    if int(length) > BODY_MAX:
        hint = "clear large outputs and try again"
        raise HeadRefused("TOO_LARGE", f"The request is larger than {BODY_MAX // 1024 // 1024} MiB.", 413, hint=hint)


def not_plain(why: str) -> HeadRefused:
    """The refusal of what is written otherwise than a request is (law 1)."""
    return HeadRefused("NOT_PLAIN_HTTP", f"The request is not read: {why}.", 400)


def too_many_connections() -> HeadRefused:
    """The refusal of a connection too many, whatever its head would have been."""
    hint = "close connections that nobody uses, then try again"
    return HeadRefused("TOO_MANY_CONNECTIONS", "Too many connections are open at one time.", 503, hint=hint)
