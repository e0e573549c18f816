"""A gateway's enforcement point as a process of its own that asks one question: `walker.py HOME STEP SQL [BOUNDS]`.

It kills itself, as `kill -9` does, right after the step that is named; with no step it answers, and says what.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy.engine import URL

from kaianalytics.custody.home import Home
from kaianalytics.custody.keys import Keys
from kaianalytics.gateway.context import Context
from kaianalytics.gateway.custodian import CurrentRoles
from kaianalytics.gateway.enforcement import Enforcement
from kaianalytics.gateway.guard.admission import Guard
from kaianalytics.gateway.isolation import Isolation
from kaianalytics.gateway.serving import CurrentServing
from kaianalytics.gateway.tokens import Session, utc_now
from kaianalytics.gateway.workers.pool import SessionWorker, WorkerPool
from kaianalytics.gateway.workers.process import StoreSpec
from kaianalytics.protocol import GUARD_RAILS_ONLY, StatisticsRequest
from kaianalytics.records.audit import AuditEvent, Link
from kaianalytics.records.database import Records
from kaianalytics.records.head import HeadFile
from kaianalytics.records.lock import WriteLock
from kaianalytics.records.transaction import Transaction

SESSION = Session("walk", "aiko", os.getuid(), "service-improvement", "interactive", "kernel")
STEPS = (
    "permitted",
    "proved",
    "charge written",
    "charge committed",
    "charged",
    "read",
    "drawn",
    "release written",
    "release committed",
    "recorded",
    "answered",
)


def die() -> NoReturn:
    """Ends this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


@dataclass
class Fate:
    """At which step to die, and which event is being written."""

    step: str
    writing: str = ""

    def reached(self, step: str) -> None:
        """Dies if this is the step."""
        if step == self.step:
            die()


class DyingHead(HeadFile):
    """The real head, whose process may die just before it is advanced."""

    fate = Fate("")

    def write(self, head: Link) -> None:
        """Writes the head, or dies."""
        word = {"statistics.asked": "charge committed", "statistics.released": "release committed"}
        self.fate.reached(word.get(self.fate.writing, "another"))
        super().write(head)


class MortalRecords(Records):
    """The real records, whose process may die in a transaction, before its commit."""

    fate = Fate("")

    @contextmanager
    def writing(self, event: AuditEvent) -> Iterator[Transaction]:
        """The transaction, at whose end the process may die."""
        with super().writing(event) as tx:
            self.fate.writing = event.kind
            yield tx
            word = {"statistics.asked": "charge written", "statistics.released": "release written"}
            self.fate.reached(word.get(event.kind, "another"))


class MortalEnforcement(Enforcement):
    """The real enforcement point, whose process may die after each of its steps."""

    fate = Fate("")

    def _permitted(self, *arguments: Any) -> Any:
        found = super()._permitted(*arguments)
        self.fate.reached("permitted")
        return found

    def _proved(self, *arguments: Any) -> Any:
        found = super()._proved(*arguments)
        self.fate.reached("proved")
        return found

    def _charge_or_find(self, *arguments: Any) -> Any:
        found = super()._charge_or_find(*arguments)
        self.fate.reached("charged")
        return found

    def _record_release(self, *arguments: Any) -> None:
        self.fate.reached("drawn")
        super()._record_release(*arguments)
        self.fate.reached("recorded")


@dataclass(frozen=True)
class MortalWorker:
    """A session's worker, whose gateway may die once it has read."""

    worker: SessionWorker
    fate: Fate

    def fetch(self, *arguments: Any, **named: Any) -> Any:
        """What the worker reads."""
        rows = self.worker.fetch(*arguments, **named)
        self.fate.reached("read")
        return rows


class MortalPool(WorkerPool):
    """The real pool, handing out workers that may be the gateway's last."""

    fate = Fate("")

    def session(self, session_id: str, spec: StoreSpec) -> Any:
        """The session's worker."""
        return MortalWorker(super().session(session_id, spec), self.fate)


@contextmanager
def enforcement(home: Home, step: str = "") -> Iterator[Enforcement]:
    """The enforcement point of a home, which dies after a step."""
    keys, fate = Keys.load(home), Fate(step)
    DyingHead.fate = MortalRecords.fate = MortalEnforcement.fate = MortalPool.fate = fate
    url = URL.create("sqlite", database=str(home.records))
    head = DyingHead(home.head, keys)
    records = MortalRecords(url, head, WriteLock(home.head.with_suffix(".lock")), keys)
    isolation = Isolation(GUARD_RAILS_ONLY, os.getuid())
    context = Context(home, keys, records, CurrentServing(home.stores), CurrentRoles(home), utc_now, isolation)
    guard, pool = Guard(), MortalPool()
    try:
        yield MortalEnforcement(context, guard, pool)
    finally:
        pool.close_all()
        guard.close()
        records.close()


def main(root: str, step: str, sql: str, bounds: str = "") -> None:
    """Asks, and says what was answered unless it dies."""
    with enforcement(Home.open(Path(root)), step) as point:
        answer = point.answer_statistics(SESSION, StatisticsRequest(sql, rho="0.0003", bounds=bounds or None))
        sys.stdout.write(json.dumps(answer))
        sys.stdout.flush()
        Fate(step).reached("answered")


if __name__ == "__main__":
    main(*sys.argv[1:])
