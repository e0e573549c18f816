"""Connected gateway sockets for a kernel that may connect nowhere.

The provisioner keeps one end of a socket pair, the kernel inherits the other. Each `?` with a number
that the kernel writes is answered with `+`, the number and a freshly connected gateway socket (SCM_RIGHTS), or with `-`
and the number while the gateway is away; so a gateway that restarts is met again. The number lets a kernel that was
interrupted while it waited tell a late answer from its next one. Anything else that the kernel writes ends the
handover. It also ends by itself with the kernel: when the last copy of the kernel's end is closed.

Each socket is bound to the kernel's token before the kernel has it (`protocol.binding`).
"""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from threading import Thread

from kaianalytics.client.transport import (
    HANDOVER_ASK,
    HANDOVER_BYTES,
    HANDOVER_GIVEN,
    HANDOVER_NONE,
    Door,
    connect_to,
)
from kaianalytics.errors import KaiError
from kaianalytics.protocol import API, SessionGrant, binding

CLOSE_SECONDS = 5.0


class Handover:
    """The serving end of one kernel's handover."""

    def __init__(self, gateway_socket: Path, bound: bytes) -> None:
        self._gateway_socket = gateway_socket
        self._bound = bound
        self._ours, self._kernels = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._thread = Thread(target=self._serve, name="kai-handover", daemon=True)

    @property
    def kernels_end(self) -> int:
        """The descriptor that the kernel inherits."""
        return self._kernels.fileno()

    def start(self) -> None:
        """Serve from here on."""
        self._thread.start()

    def handed_in(self) -> None:
        """Close this process's copy of the kernel's end: from now on the kernel alone holds it."""
        self._kernels.close()

    def stop(self) -> None:
        """End the service and wait for its thread."""
        self._kernels.close()
        with suppress(OSError):  # it ended by itself: the kernel is gone
            self._ours.shutdown(socket.SHUT_RDWR)
        if self._thread.is_alive():
            self._thread.join()
        self._ours.close()

    def _serve(self) -> None:
        with suppress(OSError):  # the kernel ended, or stop() was called
            while (request := self._ours.recv(HANDOVER_BYTES, socket.MSG_WAITALL))[:1] == HANDOVER_ASK:
                self._answer(request[1:])
        # said to the kernel at once, or it would wait for an answer that does not come
        with suppress(OSError):
            self._ours.shutdown(socket.SHUT_RDWR)

    def _answer(self, number: bytes) -> None:
        try:
            connected = connect_bound(self._gateway_socket, self._bound)
        except OSError:
            self._ours.sendall(HANDOVER_NONE + number)
            return
        with connected:  # the kernel's copy is its own; ours is closed once it is sent
            socket.send_fds(self._ours, [HANDOVER_GIVEN + number], [connected.fileno()])


def binding_of(grant: SessionGrant) -> bytes:
    """The line that binds a connection to the grant's token and kernel."""
    return binding(grant.token, grant.kernel)


def close_session(gateway_socket: Path, grant: SessionGrant) -> None:
    """Tell the gateway that the grant's kernel has ended; a gateway that is away finds that out by itself."""
    door = Door(lambda: connect_bound(gateway_socket, binding_of(grant)), grant.token, timeout=CLOSE_SECONDS)
    with suppress(KaiError):
        door.request_json("DELETE", f"{API}/sessions")


def connect_bound(gateway_socket: Path, bound: bytes) -> socket.socket:
    """A socket connected to the gateway, on which a kernel's token is good; OSError while the gateway is away."""
    connected = connect_to(gateway_socket)
    try:
        connected.sendall(bound)
    except OSError:
        connected.close()
        raise
    return connected
