"""Questions that wait in the background, so that what takes a minute does not take a test a minute."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from support.real_world import Asker, Gateway, soon

from kaianalytics.errors import KaiError
from kaianalytics.protocol import API

SMALL = "SELECT COUNT(*) AS n FROM sessions"
ENDLESS = "SELECT SUM(sqrt(a.pages + b.pages + c.pages)) AS x FROM sessions AS a, sessions AS b, sessions AS c"


class Waiting(threading.Thread):
    """A question asked in the background; `code` is what it ended in."""

    def __init__(self, asker: Asker, sql: str) -> None:
        super().__init__(daemon=True)
        self._asker = asker
        self._sql = sql
        self.code = ""
        self.start()

    def run(self) -> None:
        """Ask."""
        try:
            self._asker.rows(self._sql)
            self.code = "answered"
        except KaiError as error:
            self.code = error.code

    def ended(self, seconds: float = 20.0) -> str:
        """The code, once it ended."""
        self.join(seconds)
        return self.code


@dataclass(frozen=True)
class Frozen:
    """A question whose worker stands still, and when it was asked on the monotonic clock."""

    asker: Asker
    waiting: Waiting
    asked: float


class Dripping(threading.Thread):
    """A request whose body never ends; `answer` is what came back, `seconds` how long it took."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(daemon=True)
        self._gateway = gateway
        self.asker = gateway.session("kaito")
        self.answer = b""
        self.seconds = 0.0
        self.start()

    def run(self) -> None:
        """Send the head and one byte of the body, and wait."""
        started = time.monotonic()
        with self._gateway.connect(self.asker.token) as slow:
            head = f"POST {API}/sql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.asker.token}\r\n"
            slow.sendall(f"{head}Content-Length: 1000\r\n\r\n{{".encode())
            while b"}}" not in self.answer and (said := slow.recv(65536)):
                self.answer += said
        self.seconds = time.monotonic() - started


def own_worker(gateway: Gateway, before: set[int]) -> int:
    """The worker that came up since."""
    assert soon(lambda: bool(set(gateway.workers()) - before))
    [pid] = set(gateway.workers()) - before
    return pid


@pytest.fixture(scope="session")
def frozen(gateway: Gateway) -> Iterator[Frozen]:
    """Asked before the chapters that request it, so that its deadline passes while they run."""
    before = set(gateway.workers())
    asker = gateway.session("kaito")
    assert asker.one(SMALL) > 0
    pid = own_worker(gateway, before)
    os.kill(pid, signal.SIGSTOP)
    yield Frozen(asker, Waiting(asker, SMALL), time.monotonic())
    gateway.end()
    assert soon(lambda: pid not in gateway.workers())


@pytest.fixture(scope="session")
def dripping(gateway: Gateway) -> Dripping:
    """Sent before the chapters that request it, so that its time is up while they run."""
    return Dripping(gateway)
