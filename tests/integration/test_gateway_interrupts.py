"""Queries that end before their answer: the client hangs up, the worker is killed, the deadline passes."""

from __future__ import annotations

import os
import signal
import time

import pytest
from support.real_world import Asker, Gateway, soon
from support.waiting import Waiting, own_worker

from kaianalytics.protocol import API

SMALL = "SELECT COUNT(*) AS n FROM sessions"
ENDLESS = "SELECT SUM(sqrt(a.pages + b.pages + c.pages)) AS x FROM sessions AS a, sessions AS b, sessions AS c"


class Hanging:
    """A request that is sent and not waited for."""

    def __init__(self, gateway: Gateway, asker: Asker, sql: str) -> None:
        self._socket = gateway.connect(asker.token)
        body = f'{{"sql": "{sql}"}}'
        head = f"POST {API}/sql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {asker.token}\r\n"
        self._socket.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())

    def hang_up(self) -> None:
        """Leave, as an interrupted cell does."""
        self._socket.close()


def codes(gateway: Gateway, asker: Asker) -> list[str]:
    """The codes of the session's queries that failed."""
    events = gateway.world.events("rows.failed")
    return [event.facts()["code"] for event in events if event.subject == session_id(gateway, asker)]


def session_id(gateway: Gateway, asker: Asker) -> str:
    """The session's id, as the chain has it."""
    opened = [event for event in gateway.world.events("session.opened") if event.actor == asker.grant["user"]]
    return str(opened[-1].facts()["session"])


@pytest.fixture(autouse=True)
def _meanwhile(frozen: object) -> None:
    """While these tests run, the frozen query waits for its deadline."""


def test_a_client_that_hangs_up_ends_its_query_and_the_next_works(gateway: Gateway) -> None:
    asker = gateway.session()
    assert asker.one(SMALL) > 0
    hanging = Hanging(gateway, asker, ENDLESS)
    assert soon(lambda: [e.subject for e in gateway.world.events("rows.permitted")][-1] == session_id(gateway, asker))
    time.sleep(0.3)
    hanging.hang_up()
    assert soon(lambda: codes(gateway, asker) == ["CANCELLED"])
    assert asker.one(SMALL) > 0


def test_a_query_whose_client_left_while_its_worker_started_never_runs(gateway: Gateway) -> None:
    asker = gateway.session()
    for pause in (0.0, 0.05, 0.2):
        Hanging(gateway, asker, ENDLESS).hang_up()
        time.sleep(pause)
    started = time.monotonic()
    assert asker.one(SMALL) > 0
    assert time.monotonic() - started < 15
    assert set(codes(gateway, asker)) <= {"CANCELLED"}


def test_hanging_up_ends_no_other_query_of_the_session(gateway: Gateway) -> None:
    asker = gateway.session()
    assert asker.one(SMALL) > 0
    # large enough to run while the second comes and goes, small enough to end
    long = "SELECT SUM(sqrt(a.pages + b.pages)) AS x FROM sessions AS a, sessions AS b WHERE b.pages < 9"
    first = Waiting(asker, long)
    time.sleep(0.1)
    waits = Hanging(gateway, asker, SMALL)
    time.sleep(0.1)
    waits.hang_up()
    assert first.ended(40) == "answered"


def test_a_killed_worker_is_told_and_the_next_query_works(gateway: Gateway) -> None:
    before = set(gateway.workers())
    asker = gateway.session()
    assert asker.one(SMALL) > 0
    pid = own_worker(gateway, before)
    waiting = Waiting(asker, ENDLESS)
    time.sleep(0.4)
    os.kill(pid, signal.SIGKILL)
    assert waiting.ended() == "WORKER_KILLED"
    assert asker.one(SMALL) > 0
    assert codes(gateway, asker) == ["WORKER_KILLED"]


def test_an_idle_worker_that_dies_costs_nobody_a_query(gateway: Gateway) -> None:
    before = set(gateway.workers())
    asker = gateway.session()
    assert asker.one(SMALL) > 0
    os.kill(own_worker(gateway, before), signal.SIGKILL)
    assert soon(lambda: set(gateway.workers()) <= before)
    assert asker.one(SMALL) > 0
