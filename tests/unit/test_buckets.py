"""When a statistic leaves: a few moments, whatever its read took; the clock is the test's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from threading import Event, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaianalytics.errors import KaiError, QueryFailed, WorkerFault
from kaianalytics.gateway.statistics.buckets import Buckets, released_at

STEP = Decimal("0.25")


class Clock:
    """A clock that only moves when something takes time."""

    def __init__(self) -> None:
        self.time = 100.0
        self.paused = 0.0
        self.on_pause: Callable[[], None] = lambda: None

    def __call__(self) -> float:
        return self.time

    def work(self, seconds: float) -> None:
        self.time += seconds

    def pause(self, seconds: float, gone: Event | None) -> bool:
        self.on_pause()
        if gone is not None and gone.is_set():
            return True
        self.time += seconds
        self.paused += seconds
        return False


def buckets(clock: Clock, ending: Callable[[], bool] = lambda: False) -> Buckets:
    return Buckets(ending, clock, clock.pause)


@given(elapsed=st.floats(0, 500), other=st.floats(0, 500), step=st.floats(0.05, 60))
def test_a_statistic_leaves_at_a_doubled_step_that_is_not_past(elapsed: float, other: float, step: float) -> None:
    moment = released_at(elapsed, step)
    assert moment >= elapsed
    assert math.log2(moment / step).is_integer()
    assert moment == step or moment < 2 * elapsed
    assert (released_at(other, step) >= moment) or other < elapsed


def test_a_minute_of_reads_has_nine_moments() -> None:
    assert {released_at(tenth / 10, 0.25) for tenth in range(640)} == {0.25 * 2**power for power in range(9)}


def test_there_is_no_bucket_without_a_length() -> None:
    for step in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="length"):
            released_at(1, step)


@pytest.mark.parametrize(("takes", "leaves"), [(0.0, 0.25), (0.2, 0.25), (0.25, 0.25), (0.26, 0.5), (33.0, 64.0)])
@pytest.mark.parametrize("fault", [None, QueryFailed("STATISTIC_FAILED", ""), ArithmeticError()])
def test_answers_and_failures_go_on_at_the_same_moments(takes: float, leaves: float, fault: Exception | None) -> None:
    clock = Clock()
    try:
        with buckets(clock).over("session", STEP, None):
            clock.work(takes)
            if fault:
                raise fault
    except Exception as told:
        assert told is fault
    assert clock.time - 100 == pytest.approx(leaves)


def test_who_hangs_up_is_cancelled_whether_the_read_was_over_or_not() -> None:
    gone, clock = Event(), Clock()
    clock.on_pause = gone.set
    for failed in (False, True):
        with pytest.raises(WorkerFault) as told, buckets(clock).over("session", STEP, gone):
            if failed:
                raise QueryFailed("STATISTIC_FAILED", "")
        assert told.value.code == "CANCELLED"
    assert clock.paused == 0


def test_a_gateway_on_its_way_out_waits_for_no_bucket() -> None:
    clock = Clock()
    for fault in (None, WorkerFault("SESSION_CLOSED", ""), WorkerFault("CANCELLED", "")):
        with pytest.raises(KaiError), buckets(clock, lambda: True).over("session", STEP, None):
            if fault:
                raise fault
    assert clock.paused == 0


def test_a_sessions_next_read_begins_after_the_bucket_of_the_one_before() -> None:
    clock, began = Clock(), Event()
    shared = buckets(clock)

    def read() -> None:
        with shared.over("session", STEP, None):
            began.set()

    with shared.over("session", STEP, None):
        waiting = Thread(target=read)
        waiting.start()
        clock.on_pause = lambda: seen.append(began.wait(0.2))
        seen: list[bool] = []
    waiting.join(10)
    assert began.is_set() and seen[0] is False
    other = Event()
    with shared.over("session", STEP, None):
        elsewhere = Thread(target=lambda: other.set() if _read(shared, "another") else None)
        elsewhere.start()
        elsewhere.join(10)
        assert other.is_set(), "another session does not wait"


def _read(shared: Buckets, session: str) -> bool:
    with shared.over(session, STEP, None):
        return True
