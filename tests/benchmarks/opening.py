"""What a session costs until its first answer: a worker forked from the warm process, and an interpreter of its own.

python tests/benchmarks/opening.py [TIMES]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import duckdb

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.worker_kit import view_over

from kaianalytics.gateway.workers.pool import WorkerPool
from kaianalytics.gateway.workers.process import StoreSpec
from kaianalytics.gateway.workers.starting import Cold, Starter, Warm

QUESTION = "SELECT count(*) FROM sessions"


def opened(starter: Starter, spec: StoreSpec, times: int) -> list[float]:
    """Milliseconds from asking for a session to its first answer, for each of so many."""
    pool, took = WorkerPool(starting=starter), []
    try:
        pool.session("first", spec).fetch(QUESTION, 30)  # the gateway has long been up when somebody comes
        for number in range(times):
            began = time.perf_counter()
            pool.session(str(number), spec).fetch(QUESTION, 30)
            took.append((time.perf_counter() - began) * 1000)
            pool.close(str(number))
    finally:
        pool.close_all()
    return took


def main(times: int) -> None:
    """Measure both, and print them."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "rows.duckdb")
        with duckdb.connect(str(store)) as connection:
            connection.execute("CREATE TABLE sessions AS SELECT 'C' || range % 5 AS unit FROM range(1000)")
        spec = StoreSpec("ad-targeting", "rows", store, (view_over("sessions", "unit"),))
        for name, starter in (("forked from the warm process", Warm()), ("an interpreter of its own", Cold())):
            took = sorted(opened(starter, spec, times))
            least, middle, most = took[0], statistics.median(took), took[-1]
            print(f"{name}: median {middle:.0f} ms, least {least:.0f}, most {most:.0f}, of {times}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
