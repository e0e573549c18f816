"""Who is at the other end of the Unix socket, as the operating system's kernel says; what the connection is bound to;
and how much of the gateway it may hold, and for how long.

Laws:
1. Of the connections that are open at one time, one kernel has at most PER_KERNEL, one OS user at most PER_USER without
   a kernel, and as many that have said nothing yet; all together TOTAL. Who comes on top is told so and hung up on.
2. A head is whole within `head_seconds` and an answer is read within `answer_seconds`, however the bytes drip. A
   connection that is late is closed, with what was kept for it.
3. What follows a refusal of a request whose body has not come is no request: the connection ends with the answer.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from kaianalytics.gateway.door.binding import FirstLine, carrying
from kaianalytics.gateway.door.head import HeadRefused, PlainConnection, not_plain, too_many_connections
from kaianalytics.gateway.door.headers import HEADERS
from kaianalytics.protocol import refusal_to_json

UNKNOWN_UID = -1
PER_KERNEL, PER_USER, TOTAL = 32, 96, 512


class PeerProtocol(H11Protocol):
    """HTTP/1.1 that reads the peer's uid once, when the connection is made, and shows it as the scope's client."""

    head_seconds = 10.0
    answer_seconds = 30.0
    whose: object = None  # what the connection counts for: an OS user, silent or not, or a kernel's binding
    _awaiting_head: asyncio.TimerHandle | None = None
    _awaiting_reader: asyncio.TimerHandle | None = None
    _first_line: FirstLine | None = None  # until it is known whether it binds the connection

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.conn = PlainConnection(h11.SERVER)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        # uvicorn's own signature differs from asyncio's in the same way
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # so that whatever is not taken at once is noticed
        uid = peer_uid(transport.get_extra_info("socket"))
        self.client = ("uid", uid)
        self._first_line = FirstLine()
        self._watch_the_head()
        self._count_for(("silent", uid), PER_USER)

    def data_received(self, data: bytes) -> None:
        if self._first_line is None or (data := self._bound(self._first_line, data)):
            super().data_received(data)
        self._watch_the_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching_the_head()
        self._stop_watching_the_reader()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._awaiting_reader is None:
            self._awaiting_reader = self.loop.call_later(self.answer_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.cycle is None or self.cycle.response_complete:
            self._stop_watching_the_reader()

    def on_response_complete(self) -> None:
        if not self.transport.get_write_buffer_size():
            self._stop_watching_the_reader()
        if self.conn.their_state is h11.SEND_BODY:
            self.transport.close()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no request, in the shape of every other refusal, and end the connection."""
        found = sys.exception()
        self._turn_away(found if isinstance(found, HeadRefused) else not_plain("it is no HTTP/1.1"))

    def _bound(self, first_line: FirstLine, data: bytes) -> bytes:
        """What of the connection's first bytes is HTTP, once that is known."""
        try:
            http = first_line.take(data)
        except ValueError:
            self.transport.close()
            return b""
        if http is None:
            return b""
        self._first_line = None
        if first_line.binding is None:
            self._count_for(self.client, PER_USER)
        else:
            self.app = carrying(self.app, first_line.binding)
            self._count_for(first_line.binding, PER_KERNEL)
        return b"" if self.transport.is_closing() else http

    def _count_for(self, whose: object, at_most: int) -> None:
        self.whose = whose
        others = [one for one in self.connections if getattr(one, "whose", None) == whose]
        if len(others) > at_most or len(self.connections) > TOTAL:
            self._turn_away(too_many_connections())

    def _turn_away(self, refused: HeadRefused) -> None:
        body = json.dumps(refusal_to_json(refused.refusal)).encode()
        status = refused.error_status_hint
        said = [b"HTTP/1.1 %d No" % status, b"content-type: application/json", b"content-length: %d" % len(body)]
        said += [f"{name}: {value}".encode() for name, value in HEADERS]
        self.transport.write(b"\r\n".join([*said, b"connection: close", b"", body]))
        self.transport.close()

    def _watch_the_head(self) -> None:
        """Start the clock where a head is awaited, and let it run: a byte now and then buys no time."""
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering or self.conn.their_state is not h11.IDLE:
            self._stop_watching_the_head()
        elif self._awaiting_head is None:
            self._awaiting_head = self.loop.call_later(self.head_seconds, self.transport.abort)

    def _stop_watching_the_head(self) -> None:
        if self._awaiting_head is not None:
            self._awaiting_head.cancel()
            self._awaiting_head = None

    def _stop_watching_the_reader(self) -> None:
        if self._awaiting_reader is not None:
            self._awaiting_reader.cancel()
            self._awaiting_reader = None


def peer_uid(connection: socket.socket) -> int:
    """The OS user that made the connection; UNKNOWN_UID, which no token names, where the system does not say."""
    if sys.platform == "linux":
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        _pid, uid, _gid = struct.unpack("3i", credentials)
        return int(uid)
    return _peer_uid_bsd(connection)


def _peer_uid_bsd(connection: socket.socket) -> int:
    # LOCAL_PEERCRED of macOS and the BSDs: struct xucred starts with a version and the uid
    try:
        credentials = connection.getsockopt(0, 1, 76)
    except OSError:
        return UNKNOWN_UID
    _version, uid = struct.unpack_from("II", credentials)
    return int(uid)
