"""What a session leaves behind once it is closed: nothing but its records.

The same is measured over 2,000 sessions by `tests/benchmarks/wall/leaks.py`, which also tells memory.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.leftovers import Leftovers, descendants, left_by
from support.real_world import Asker, Gateway, World, refusal, soon

from kaianalytics.protocol import API

SMALL = "SELECT COUNT(*) AS n FROM sessions"
SESSIONS = 60


@pytest.fixture(scope="module")
def own(template: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that nobody else asks: whatever it holds is these tests' doing."""
    folder = tmp_path_factory.mktemp("sessions")
    (folder / "temporary").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder / "temporary"))
        with template.copy(folder).gateway() as running:
            yield running


def leftovers(gateway: Gateway) -> Leftovers:
    return left_by(gateway.process.pid, gateway.world.home.root, gateway.world.root / "temporary")


def asked(gateway: Gateway) -> Asker:
    """A session that has asked one question, and so has a worker."""
    asker = gateway.session()
    assert asker.one(SMALL) > 0
    return asker


def closed(asker: Asker) -> None:
    assert asker.door.request_json("DELETE", f"{API}/sessions") == {}


def test_a_closed_session_asks_nothing_more(own: Gateway) -> None:
    first, second = asked(own), asked(own)
    closed(first)
    assert refusal(lambda: first.rows(SMALL)).code == "TOKEN_REVOKED"
    assert refusal(lambda: closed(first)).code == "TOKEN_REVOKED"
    assert second.one(SMALL) > 0
    closed(second)
    [event] = own.world.events("session.closed")[-1:]
    assert event.actor == "aiko" and event.subject == "service-improvement"


def test_a_kernels_token_closes_its_own_session_alone(own: Gateway) -> None:
    stranger, asker = own.session(), asked(own)
    stolen = own.door(asker.token)
    stolen._backend._source = lambda: own.connect(stranger.token)  # type: ignore[method-assign]
    assert refusal(lambda: stolen.request_json("DELETE", f"{API}/sessions")).code == "NOT_THIS_CONNECTION"
    assert asker.one(SMALL) > 0
    closed(asker)
    closed(stranger)


def at_work(gateway: Gateway) -> Leftovers:
    """What there is once several have asked at once: threads and connections that are kept for the next are there."""
    with ThreadPoolExecutor(6) as at_once:
        list(at_once.map(lambda _: closed(asked(gateway)), range(6)))
    assert soon(lambda: len(descendants(gateway.process.pid)) <= 1)  # the one that workers are forked from
    return leftovers(gateway)


def test_sessions_that_are_closed_leave_nothing_behind(own: Gateway) -> None:
    before = at_work(own)
    for number in range(SESSIONS):
        closed(own.session() if number % 4 else asked(own))  # a worker takes longest to start, and ends like another
    soon(lambda: not leftovers(own).more_than(before))
    assert leftovers(own).more_than(before) == {}


def test_what_is_left_is_seen(own: Gateway) -> None:
    """A session that stays open, a connection, a file: none of it goes unnoticed."""
    before = at_work(own)
    asker = asked(own)
    assert leftovers(own).more_than(before)["processes"] == 1
    closed(asker)
    assert soon(lambda: not leftovers(own).more_than(before))
    held = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    for connection in held:
        connection.connect(os.fspath(own.socket))
    assert soon(lambda: leftovers(own).descriptors - before.descriptors >= 1)
    for connection in held:
        connection.close()
    assert soon(lambda: not leftovers(own).more_than(before))
    for folder in (own.world.home.root, own.world.root / "temporary"):
        planted = folder / "planted"
        planted.touch()
        assert leftovers(own).more_than(before) == {"files": ["planted"]}
        planted.unlink()
