"""How long a statistic takes tells nothing of one customer's rows: with the time bucket, and not without it.

The worker is real, and the clock is the test's own: each read takes as long as the test says that these rows take.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from threading import Event, Thread
from time import monotonic
from typing import Any

import pytest
from support.real_world import Gateway, World

from kaianalytics.custody.keys import Keys
from kaianalytics.errors import KaiError, QueryFailed, WorkerFault
from kaianalytics.gateway.context import Context
from kaianalytics.gateway.custodian import CurrentRoles
from kaianalytics.gateway.enforcement import Enforcement
from kaianalytics.gateway.guard.admission import Guard
from kaianalytics.gateway.isolation import Isolation
from kaianalytics.gateway.serving import CurrentServing
from kaianalytics.gateway.statistics.buckets import Buckets
from kaianalytics.gateway.tokens import Session, utc_now
from kaianalytics.gateway.workers.pool import SessionWorker, WorkerPool
from kaianalytics.gateway.workers.process import StoreSpec
from kaianalytics.protocol import GUARD_RAILS_ONLY, StatisticsRequest
from kaianalytics.records import releases
from kaianalytics.records.database import Records

STEP = 0.05  # of the tests' world
NUMBERS = iter(range(1, 500))  # no question is asked twice
LIGHT, HEAVY = 0.004, 0.031  # without and with one customer whose rows are slow to read


@dataclass
class Clock:
    """A clock that moves where a read takes time, and where the bucket waits."""

    time: float = 0.0
    takes: float = LIGHT
    fails: bool = False
    waiting: Callable[[], None] = field(default=lambda: None)

    def now(self) -> float:
        return self.time

    def pause(self, seconds: float, gone: Event | None) -> bool:
        self.waiting()
        if gone is not None and gone.is_set():
            return True
        self.time += seconds
        return False


@dataclass(frozen=True)
class SlowWorker:
    """A session's real worker, whose reads take as long as the clock says."""

    worker: SessionWorker
    clock: Clock

    def fetch(self, *arguments: Any, **named: Any) -> Any:
        rows = self.worker.fetch(*arguments, **named)
        self.clock.time += self.clock.takes
        if self.clock.fails:
            raise QueryFailed("DATA_ERROR", "what the rows decided")
        return rows


class SlowPool(WorkerPool):
    clock = Clock()

    def session(self, session_id: str, spec: StoreSpec) -> Any:
        return SlowWorker(super().session(session_id, spec), self.clock)


class WithoutBuckets(Buckets):
    """The planted fault: the layer is not there."""

    @contextmanager
    def over(self, session: str, step: Decimal, gone: Event | None) -> Iterator[None]:
        yield


@dataclass
class Asked:
    """An enforcement point under the test's clock, and how an analyst times it."""

    point: Enforcement
    clock: Clock
    records: Records

    def question(self) -> StatisticsRequest:
        return StatisticsRequest(f"SELECT COUNT(*) AS n FROM sessions WHERE seconds < {next(NUMBERS)}", rho="0.0001")

    def ask(self, request: StatisticsRequest, gone: Event | None = None, session: str = "s") -> dict[str, Any]:
        who = Session(session, "aiko", os.getuid(), "service-improvement", "interactive", "kernel")
        return self.point.answer_statistics(who, request, gone)

    def timed(self, takes: float, fails: bool = False) -> tuple[float, str]:
        """How long a new question took by the clock, and what came of it."""
        self.clock.takes, self.clock.fails, began = takes, fails, self.clock.time
        try:
            self.ask(self.question())
        except KaiError as told:
            return round(self.clock.time - began, 6), told.code
        finally:
            self.clock.fails = False
        return round(self.clock.time - began, 6), "answered"

    def released(self, request: StatisticsRequest) -> bool:
        with self.records.reading() as view:
            found = releases.listing(view, purpose="service-improvement", product="sessions", contains=request.sql)
        return bool(found)


@contextmanager
def asking(world: World, kind: type[Buckets]) -> Iterator[Asked]:
    """The real rooms of a gateway, but for its clock."""
    home, clock = world.home, Clock()
    keys = Keys.load(home)
    records, guard, pool = Records.of(home, keys), Guard(), SlowPool()
    SlowPool.clock = clock
    isolation = Isolation(GUARD_RAILS_ONLY, os.getuid())
    context = Context(home, keys, records, CurrentServing(home.stores), CurrentRoles(home), utc_now, isolation)
    try:
        buckets = kind(lambda: False, clock.now, clock.pause)
        yield Asked(Enforcement(context, guard, pool, buckets), clock, records)
    finally:
        pool.close_all()
        guard.close()
        records.close()


def opened(world: World) -> World:
    """The world, whose ledger a gateway has opened."""
    with world.gateway():
        pass
    return world


@pytest.fixture
def asked(world: World) -> Iterator[Asked]:
    with asking(opened(world), Buckets) as found:
        yield found


def test_one_customers_slow_rows_do_not_show_in_when_an_answer_leaves_and_would_without_the_bucket(
    world: World,
) -> None:
    with asking(opened(world), WithoutBuckets) as bare:
        assert bare.timed(LIGHT) != bare.timed(HEAVY), "the attack succeeds where the layer is absent"
        assert bare.timed(LIGHT, fails=True) != bare.timed(HEAVY, fails=True)
    with asking(world, Buckets) as asked:
        assert asked.timed(LIGHT) == asked.timed(HEAVY) == (STEP, "answered")
        assert asked.timed(LIGHT, fails=True) == asked.timed(HEAVY, fails=True) == (STEP, "STATISTIC_FAILED")
        assert asked.timed(1.7) == asked.timed(3.1) == (64 * STEP, "answered")
        assert asked.timed(60.1, fails=True) == (2048 * STEP, "STATISTIC_FAILED")


def test_what_reads_nothing_waits_for_nothing(asked: Asked) -> None:
    request = asked.question()
    first, time = asked.ask(request), asked.clock.time
    again = asked.ask(request)
    assert (first["charged"], again["charged"], first["release"]) == (True, False, again["release"])
    asked.point.plan_statistics(
        Session("s", "aiko", os.getuid(), "service-improvement", "interactive", "kernel"), asked.question()
    )
    with pytest.raises(KaiError):
        asked.ask(StatisticsRequest("SELECT device FROM sessions", rho="0.0001"))
    assert asked.clock.time == time


def test_before_the_buckets_end_nobody_sees_that_the_read_is_over(asked: Asked) -> None:
    request, seen = asked.question(), []
    twin = Thread(target=lambda: asked.ask(request, session="another"))

    def look() -> None:
        if not seen:
            twin.start()
        twin.join(0.3)
        seen.append((asked.released(request), twin.is_alive()))

    asked.clock.waiting = look
    asked.ask(request)
    twin.join(30)
    assert seen and set(seen) == {(False, True)}
    assert asked.released(request) and not twin.is_alive()


def test_who_hangs_up_learns_by_the_record_no_sooner_that_the_read_was_over(asked: Asked) -> None:
    request, gone = asked.question(), Event()
    asked.clock.waiting = gone.set
    with pytest.raises(WorkerFault) as told:
        asked.ask(request, gone)
    assert told.value.code == "CANCELLED" and not asked.released(request)
    assert asked.ask(request)["charged"], "the charge is redeemed, by one more read"
    with asked.records.reading() as view:
        assert len(releases.listing(view, purpose="service-improvement", product="sessions", contains=request.sql)) == 1


def test_by_the_real_clock_no_answer_leaves_before_the_end_of_its_bucket(gateway: Gateway) -> None:
    asker, began = gateway.session(), monotonic()
    assert asker.stats("SELECT COUNT(*) AS n FROM sessions WHERE pages < 3", "0.0001")["charged"]
    assert monotonic() - began >= STEP
