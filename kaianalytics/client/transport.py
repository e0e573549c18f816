"""The way to the gateway: HTTP over a Unix socket, every failure a KaiError.

Laws:
1. Where sockets come from is an argument. A tool connects to the gateway's path; a kernel may connect nowhere and asks
   for connected sockets over the one that it inherited.
2. One connection per request. A gateway that restarted in between is not noticed, and a request that is interrupted
   closes its connection, by which the gateway knows to cancel the query.
3. A request is never sent twice: a question that was charged must not be charged again by a retry.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from threading import Lock
from typing import Any

import httpcore

from kaianalytics.errors import Fault, Unreachable
from kaianalytics.protocol import ISOLATION_HEADER, SNAPSHOT_HEADER, refusal_from_json

SocketSource = Callable[[], socket.socket]

# The handover's messages: one of these bytes and the number of the request, which its answer repeats.
HANDOVER_ASK = b"?"  # a kernel asks for one gateway socket
HANDOVER_GIVEN = b"+"  # the answer that carries one
HANDOVER_NONE = b"-"  # the answer while the gateway is away
HANDOVER_BYTES = 2

CONNECT_SECONDS = 10.0
_HOST = "http://gateway"  # HTTP needs a name; the socket decides who answers


@dataclass(frozen=True)
class RowsAnswer:
    """The bytes of an Arrow IPC stream, and the snapshot and isolation level they were answered under."""

    arrow: bytes
    snapshot: str
    isolation: str


class Door:
    """The gateway as one bearer of one token sees it.

    `timeout` bounds each wait for the gateway in seconds; None leaves deadlines to the gateway.
    """

    def __init__(self, sockets: SocketSource, token: str, *, timeout: float | None = 60.0) -> None:
        self._backend = _Sockets(sockets)
        self._token = token
        self._timeout = timeout

    def request_json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The JSON object that the gateway answers with; its refusal or fault is raised as the KaiError it names."""
        return _json_object(self._ask(method, path, body))

    def request_rows(self, path: str, body: Mapping[str, Any]) -> RowsAnswer:
        """The Arrow stream that the gateway answers with; its refusal or fault is raised as the KaiError it names."""
        answer = self._ask("POST", path, body)
        headers = {name.decode().lower(): value.decode() for name, value in answer.headers}
        return RowsAnswer(answer.content, headers.get(SNAPSHOT_HEADER, ""), headers.get(ISOLATION_HEADER, ""))

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None) -> httpcore.Response:
        answer = self._send(method, path, body)
        if answer.status >= 400:
            raise refusal_from_json(_json_or_empty(answer), answer.status)
        return answer

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> httpcore.Response:
        content = None if body is None else json.dumps(body, allow_nan=False).encode()
        headers = [
            ("Host", "gateway"),
            ("Authorization", f"Bearer {self._token}"),
            ("Content-Type", "application/json"),
        ]
        seconds = {"connect": CONNECT_SECONDS, "read": self._timeout, "write": self._timeout, "pool": self._timeout}
        try:
            with httpcore.ConnectionPool(max_keepalive_connections=0, network_backend=self._backend) as pool:
                return pool.request(
                    method, _HOST + path, headers=headers, content=content, extensions={"timeout": seconds}
                )
        except httpcore.ConnectError:
            raise unreachable() from None
        except httpcore.TimeoutException:
            raise Unreachable(
                "GATEWAY_SILENT",
                "The gateway did not answer in time.",
                hint="try again; `kai gateway status` asks whether it answers at all",
            ) from None
        except (httpcore.NetworkError, httpcore.ProtocolError):
            raise Unreachable(
                "ANSWER_CUT_SHORT",
                "The gateway hung up before its answer was whole.",
                hint="ask again: a statistics question that was already released is answered from the record, free",
            ) from None


class GatewayClient(Door):
    """The gateway as a tool with an identity token sees it, over the socket at `socket_path`."""

    def __init__(self, socket_path: Path, identity_token: str, *, timeout: float | None = 60.0) -> None:
        super().__init__(lambda: connect_to(socket_path), identity_token, timeout=timeout)
        self.socket_path = socket_path


class HandedSockets:
    """A source of gateway sockets for a process that may connect nowhere: each is asked for over `handover`."""

    def __init__(self, handover: socket.socket) -> None:
        self._handover = handover
        self._handover.settimeout(CONNECT_SECONDS)
        self._numbers = cycle(bytes([number]) for number in range(256))
        self._one_at_a_time = Lock()

    def __call__(self) -> socket.socket:
        """A freshly connected gateway socket; OSError while the gateway is away."""
        with self._one_at_a_time:
            number = next(self._numbers)
            self._handover.sendall(HANDOVER_ASK + number)
            answer, handed = self._receive()
            while answer[1:] != number:  # the answer to a request that was interrupted while it waited
                _close(handed)
                answer, handed = self._receive()
        if answer[:1] != HANDOVER_GIVEN or len(handed) != 1:
            _close(handed)
            raise ConnectionRefusedError
        os.set_inheritable(handed[0], False)
        return socket.socket(fileno=handed[0])

    def _receive(self) -> tuple[bytes, list[int]]:
        answer, handed, _, _ = socket.recv_fds(self._handover, HANDOVER_BYTES, 1)
        if len(answer) != HANDOVER_BYTES:
            _close(handed)
            raise ConnectionResetError  # the other end is gone
        return answer, handed


def connect_to(socket_path: Path) -> socket.socket:
    """A socket connected to the gateway at `socket_path`; OSError if nobody listens there."""
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.settimeout(CONNECT_SECONDS)
        connected.connect(os.fspath(socket_path))
    except OSError:
        connected.close()
        raise
    connected.settimeout(None)
    return connected


def unreachable() -> Unreachable:
    """The fault of a gateway that is not there."""
    return Unreachable(
        "GATEWAY_AWAY", "The gateway does not answer.", hint="start it with `kai gateway serve`, then ask again"
    )


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _json_object(answer: httpcore.Response) -> dict[str, Any]:
    value = _json_or_empty(answer)
    if not value and answer.content.strip() != b"{}":
        raise Fault("BAD_ANSWER", "The gateway's answer is not a JSON object.", hint="see the gateway's log")
    return value


def _json_or_empty(answer: httpcore.Response) -> dict[str, Any]:
    try:
        value = json.loads(answer.content)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


class _Sockets(httpcore.NetworkBackend):
    """httpcore's way to open a connection: whatever the host and port, the next socket of the source."""

    def __init__(self, source: SocketSource) -> None:
        self._source = source

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            return _Stream(self._source())
        except OSError as error:
            raise httpcore.ConnectError from error


class _Stream(httpcore.NetworkStream):
    """One connected socket as httpcore reads and writes it."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._socket.settimeout(timeout)
        try:
            return self._socket.recv(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout from error
        except OSError as error:
            raise httpcore.ReadError from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._socket.settimeout(timeout)
        try:
            self._socket.sendall(buffer)
        except TimeoutError as error:
            raise httpcore.WriteTimeout from error
        except OSError as error:
            raise httpcore.WriteError from error

    def close(self) -> None:
        self._socket.close()
