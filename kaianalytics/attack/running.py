"""The gateway of a copied world as a process of its own, and what it answers, byte for byte."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kaianalytics.attack.world import ENVIRONMENT, PLANTED_LOG, World
from kaianalytics.client.transport import connect_to
from kaianalytics.errors import Fault
from kaianalytics.lab.handover import connect_bound
from kaianalytics.protocol import API, binding

READY_SECONDS = 60.0
ANSWER_SECONDS = 90.0
_COMMAND = (sys.executable, "-I", "-c", "from kaianalytics.cli import main; main()", "gateway", "serve")


@dataclass(frozen=True)
class Reply:
    """One answer: its status (0 where the connection just ended), its head and its body, as they came."""

    status: int
    head: str
    body: bytes

    @property
    def raw(self) -> bytes:
        """All that came."""
        return self.head.encode() + b"\n" + self.body

    @property
    def json(self) -> dict[str, Any]:
        """The body as a JSON object; empty where it is none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def code(self) -> str:
        """The code of a refusal or fault; empty for an answer."""
        told = self.json.get("refused") or self.json.get("fault") or {}
        return str(told.get("code", "")) if isinstance(told, dict) else ""

    @property
    def answered(self) -> bool:
        """Whether what was asked for came."""
        return self.status == 200


@dataclass(frozen=True)
class Line:
    """Ways to the gateway's socket as whoever holds a token has them: bound to a purpose token, or as they come."""

    path: Path
    token: str = field(default="", repr=False)
    bound: bytes = field(default=b"", repr=False)

    def connect(self) -> socket.socket:
        """A connection."""
        return connect_bound(self.path, self.bound) if self.bound else connect_to(self.path)

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request, and what came back."""
        content = json.dumps(body).encode() if isinstance(body, Mapping) else body
        connection = _Connection(self.connect())
        try:
            sent = {"Authorization": f"Bearer {self.token}", "Connection": "close", **(headers or {})}
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may answer before it has read all
                connection.request(method, path, content, sent)
            answer = connection.getresponse()
            head = "\n".join(f"{name}: {value}" for name, value in answer.getheaders())
            return Reply(answer.status, head, answer.read())
        except (OSError, http.client.HTTPException, ValueError):
            return Reply(0, "", b"")
        finally:
            connection.close()

    def send(self, data: bytes, seconds: float = 5.0) -> bytes:
        """Bare bytes over a connection of its own, and all that comes back until it ends or falls silent."""
        said = b""
        with self.connect() as connection:
            connection.settimeout(seconds)
            try:
                connection.sendall(data)
                while chunk := connection.recv(1 << 16):
                    said += chunk
            except OSError:
                pass
        return said

    def rows(self, sql: str) -> Reply:
        """The answer to a question of rows."""
        return self.ask("POST", f"{API}/sql", {"sql": sql})

    def statistics(self, sql: str, rho: str = "0.0001", **more: Any) -> Reply:
        """The answer to a question of statistics."""
        return self.ask("POST", f"{API}/statistics", {"sql": sql, "rho": rho, **more})


class _Connection(http.client.HTTPConnection):
    """HTTP over a socket that is connected already."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__("gateway")
        connected.settimeout(ANSWER_SECONDS)
        self.sock = connected


@dataclass(frozen=True)
class Gateway:
    """A gateway that runs on the copy, in whatever process."""

    world: World
    socket: Path
    pid: int

    def as_(self, user: str, token: str = "") -> Line:
        """The gateway as a person sees it, by their identity token."""
        return Line(self.socket, token or self.world.identity(user))

    def session(self, user: str, purpose: str, kernel: str = "kernel") -> Line:
        """The gateway as a kernel of that person and purpose sees it; Fault NO_SESSION where it opens none."""
        kernel = f"{kernel} of {purpose}"  # a kernel has one session: another ends the one before
        reply = self.as_(user).ask("POST", f"{API}/sessions", {"purpose": purpose, "kernel": kernel})
        if not reply.answered:
            raise Fault("NO_SESSION", f"The copy opens no session for `{purpose}`: {reply.code}.")
        return self.bound(reply.json["token"], kernel)

    def bound(self, token: str, kernel: str) -> Line:
        """Connections that are bound to a token and a kernel."""
        return Line(self.socket, token, binding(token, kernel))

    @property
    def alive(self) -> bool:
        """Whether it still answers."""
        return Line(self.socket).ask("GET", f"{API}/health").answered

    @property
    def logged(self) -> bytes:
        """The custodian's log, and what the gateway printed."""
        folder = self.world.home.log.parent
        return b"".join(file.read_bytes() for file in folder.iterdir() if file.name != PLANTED_LOG)


@contextmanager
def gateway_process(world: World) -> Iterator[Gateway]:
    """The real gateway as a process of its own, from ready until it is gone."""
    environment = {**os.environ, "KAI_HOME": str(world.home.root), ENVIRONMENT: world.environment}
    with (world.home.root / "log" / "printed").open("ab") as out:
        process = subprocess.Popen(_COMMAND, env=environment, stdout=out, stderr=subprocess.STDOUT, cwd="/")
    try:
        gateway = Gateway(world, world.home.socket_path, process.pid)
        _wait(gateway, process)
        yield gateway
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(gateway: Gateway, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + READY_SECONDS
    while True:
        try:
            if gateway.alive:
                return
        except OSError:
            pass
        if process.poll() is not None or time.monotonic() > until:
            raise Fault("NO_GATEWAY", "The gateway of the copy did not start.", hint="see `kai gateway serve`")
        time.sleep(0.02)
