"""Bytes on the gateway's socket, as a client that keeps to nothing sends them, and what comes back."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from support.real_world import Gateway

from kaianalytics.protocol import API

HEALTH = f"GET {API}/health HTTP/1.1\r\nHost: g\r\n\r\n".encode()


@dataclass(frozen=True)
class Reply:
    """One answer: its status, its headers by lower-case name, its body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code of the refusal or fault that it holds."""
        said: dict[str, Any] = json.loads(self.body)
        return str((said.get("refused") or said["fault"])["code"])


def head(method: str, path: str, token: str = "", *more: str, length: int | None = None) -> bytes:
    """A request's head."""
    lines = [f"{method} {API}{path} HTTP/1.1", "Host: g", *more]
    lines += [f"Authorization: Bearer {token}"] if token else []
    lines += [f"Content-Length: {length}"] if length is not None else []
    return "\r\n".join([*lines, "", ""]).encode()


def post(path: str, token: str, value: Any) -> bytes:
    """A whole request with a JSON body."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return head("POST", path, token, length=len(body)) + body


def replies(connection: socket.socket, count: int) -> list[Reply]:
    """So many answers; fewer where the gateway hangs up first."""
    got, found = b"", []
    while len(found) < count:
        while (reply := _first(got)) is None:
            try:
                more = connection.recv(1 << 20)
            except ConnectionError:
                more = b""
            if not more:
                return found
            got += more
        found.append(reply[0])
        got = reply[1]
    return found


def until_closed(connection: socket.socket) -> list[Reply]:
    """Every answer up to where the gateway hangs up, which it must."""
    return replies(connection, 1000)


def said(gateway: Gateway, sent: bytes, token: str = "") -> list[Reply]:
    """All that is answered to these bytes on a fresh connection that the gateway closes."""
    with gateway.connect(token) as connection:
        connection.settimeout(15)
        with suppress(ConnectionError):
            connection.sendall(sent)
        return until_closed(connection)


def _first(got: bytes) -> tuple[Reply, bytes] | None:
    top, end, rest = got.partition(b"\r\n\r\n")
    if not end:
        return None
    first, *lines = top.decode().split("\r\n")
    if first.split()[1] == "100":
        return _first(rest)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", 0))
    if len(rest) < length:
        return None
    return Reply(int(first.split()[1]), headers, rest[:length]), rest[length:]


@contextmanager
def dripping(connection: socket.socket, byte: bytes = b"X", pause: float = 0.05) -> Iterator[None]:
    """While the block runs, a byte goes out now and then."""
    ended = threading.Event()

    def drip() -> None:
        with suppress(OSError):
            while not ended.wait(pause):
                connection.send(byte)

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
