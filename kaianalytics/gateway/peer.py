"""Who is at the other end of the Unix socket, as the kernel of the operating system says."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys

from uvicorn.protocols.http.h11_impl import H11Protocol

UNKNOWN_UID = -1


class PeerProtocol(H11Protocol):
    """HTTP/1.1 that reads the peer's uid once, when the connection is made, and shows it as the scope's client."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        # uvicorn's own signature differs from asyncio's in the same way
        super().connection_made(transport)
        self.client = ("uid", peer_uid(transport.get_extra_info("socket")))


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
