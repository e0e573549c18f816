"""Many who ask at once: each in a thread of its own, back to back or at a pace, until the time is up."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from measured import Series

Ask = Callable[[], object]


@dataclass(frozen=True)
class Load:
    """How long each answer took, and how many there were in a second."""

    taken: Series
    rate: float


def load(askers: Sequence[Ask], seconds: float, pause: float = 0.0) -> Load:
    """All of them ask until the time is up; `pause` is from the start of one question to that of the next.

    The first question of each is not counted. An asker that fails ends the benchmark with its error.
    """
    taken: list[float] = []
    errors: list[BaseException] = []
    together = threading.Barrier(len(askers) + 1)

    def asking(number: int, ask: Ask) -> None:
        try:
            ask()
            together.wait()
            until = time.perf_counter() + seconds
            time.sleep(pause * number / len(askers))  # at a pace, they do not come all at once
            while (started := time.perf_counter()) < until:
                ask()
                ended = time.perf_counter()
                taken.append(ended - started)
                time.sleep(max(0.0, started + pause - ended))
        except BaseException as error:
            errors.append(error)
            together.abort()

    threads = [threading.Thread(target=asking, args=each, daemon=True) for each in enumerate(askers)]
    for thread in threads:
        thread.start()
    with contextlib.suppress(threading.BrokenBarrierError):
        together.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return Load(Series(tuple(taken)), len(taken) / (time.perf_counter() - started))
