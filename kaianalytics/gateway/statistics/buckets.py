"""When a statistic leaves: at the end of a time bucket, for how long a read took would tell of the rows that it read.

Laws:
1. What follows a read of data, be it an answer or a failure, goes on a step after the read began, or twice, four times,
   eight times a step after: at the first of these moments that is not past. There are few of them, whatever the data.
2. Until then nothing happens that anybody else could see: nothing is recorded, and the question, the asker's turn and
   the session's place at its worker are held, for who waits for one of them would learn when the read was over.
3. Whose asker hangs up before that moment is cancelled, whether the read was over or not, and nothing was released.
4. What reads no data waits for nothing: a repeat, a plan, a refusal take as long as public facts make them take.

The step is public: the contract's `time_bucket`, of the population that is asked about.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from threading import Event

from kaianalytics.errors import KaiError, WorkerFault
from kaianalytics.gateway.locks import KeyedLocks

_LOOK_SECONDS = 0.25  # how often it is looked whether the gateway is ending
_ENDED = frozenset({"CANCELLED", "SESSION_CLOSED"})


def released_at(elapsed: float, step: float) -> float:
    """How many seconds after its read began a statistic goes on that was ready after `elapsed` of them (law 1)."""
    if not step > 0:
        raise ValueError("a time bucket has a length")
    moment = step
    while moment < elapsed:
        moment *= 2
    return moment


def pause(seconds: float, gone: Event | None) -> bool:
    """Let some time pass; whether the asker is gone."""
    return (gone or Event()).wait(seconds)


class Buckets:
    """The time buckets of one gateway; `ending` says whether it is on its way out. For every thread."""

    def __init__(
        self,
        ending: Callable[[], bool],
        now: Callable[[], float] = time.monotonic,
        pause: Callable[[float, Event | None], bool] = pause,
    ) -> None:
        self._ending, self._now, self._pause = ending, now, pause
        self._reads = KeyedLocks()

    @contextmanager
    def over(self, session: str, step: Decimal, gone: Event | None) -> Iterator[None]:
        """Do a session's read within a bucket; WorkerFault CANCELLED where the asker goes before its end."""
        with self._reads.holding(session):
            began = self._now()
            try:
                yield
            except Exception as error:
                if not (isinstance(error, KaiError) and error.code in _ENDED):
                    self._wait(began, float(step), gone)
                raise
            self._wait(began, float(step), gone)

    def _wait(self, began: float, step: float, gone: Event | None) -> None:
        until = began + released_at(self._now() - began, step)
        while (left := until - self._now()) > 0:
            if self._ending() or self._pause(min(left, _LOOK_SECONDS), gone):
                raise WorkerFault("CANCELLED", "The query was cancelled.", hint="run the cell again") from None
