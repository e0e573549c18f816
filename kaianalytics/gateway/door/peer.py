"""Who is at the other end of the Unix socket, as the operating system's kernel says; what the connection is bound to;
and how long it may dawdle.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from kaianalytics.gateway.door.binding import FirstLine, carrying

UNKNOWN_UID = -1


class PeerProtocol(H11Protocol):
    """HTTP/1.1 that reads the peer's uid once, when the connection is made, and shows it as the scope's client.

    A connection that has not sent the whole head of its request after `head_seconds` is closed: an open connection is
    a descriptor, of which a process has few.
    """

    head_seconds = 10.0
    _impatience: asyncio.TimerHandle | None = None
    _first_line: FirstLine | None = None  # until it is known whether it binds the connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        # uvicorn's own signature differs from asyncio's in the same way
        super().connection_made(transport)
        self.client = ("uid", peer_uid(transport.get_extra_info("socket")))
        self._first_line = FirstLine()
        self._watch_the_head()

    def data_received(self, data: bytes) -> None:
        if self._first_line is None or (data := self._bound(self._first_line, data)):
            super().data_received(data)
        self._watch_the_head()

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
        if first_line.binding is not None:
            self.app = carrying(self.app, first_line.binding)
        return http

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_watching()
        super().connection_lost(exc)

    def _watch_the_head(self) -> None:
        """Start the clock where a head is awaited, and let it run: a byte now and then buys no time."""
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering or self.conn.their_state is not h11.IDLE:
            self._stop_watching()
        elif self._impatience is None:
            self._impatience = self.loop.call_later(self.head_seconds, self.transport.close)

    def _stop_watching(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None


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
