"""What starts: the gateway, a purpose's kernel beside a plain one, and the first question of a session."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from asking import ROWS, STATISTICS, Asker
from children import gateway, run
from jupyter_client.manager import KernelManager
from measured import Series, in_turns
from page import Table, duration, ratio
from support.kernels import manager_for, running, server_environment

from kaianalytics.custody.home import Home
from kaianalytics.lab.kernelspecs import install, spec_name

TIMES = 5
PLAIN_SESSION = (
    "import sys, duckdb, polars; "
    "polars.DataFrame(duckdb.connect(sys.argv[1], read_only=True).sql(sys.argv[2]).to_arrow_table())"
)


def starting(work: Path, asker: Asker) -> Table:
    """The table; no gateway may be running on the asker's home: each start of one is measured."""
    ready = Series(tuple(_gateway_ready(asker.home) for _ in range(TIMES)))
    with gateway(asker.home):
        kernels = kernels_ready(work, asker)
        first = _first_questions(asker)
    return Table(
        "Starting",
        "A kernel is ready when it answers; a purpose's kernel has by then been granted its session, which is "
        "recorded. The first question of a session starts its worker; beside it, a new Python that imports DuckDB and "
        "Polars and asks the same of the same file.",
        ("what", "median", "beside it", "median", "ratio", "n"),
        (
            ("gateway, from process start to its first answer", duration(ready.median), "", "", "", str(TIMES)),
            _row("kernel of a purpose", kernels["kai"], "plain ipykernel", kernels["plain"]),
            _row("first `kai.sql` of a session", first["rows"], "new Python, DuckDB", first["plain"]),
            _row("first `kai.stats` of a session", first["statistics"], "new Python, DuckDB", first["plain"]),
        ),
    )


def _row(what: str, ours: Series, plain_name: str, plain: Series) -> tuple[str, ...]:
    return what, duration(ours.median), plain_name, duration(plain.median), ratio(ours, plain), str(ours.times)


def _gateway_ready(home: Home) -> float:
    with gateway(home) as seconds:
        return seconds


def kernels_ready(work: Path, asker: Asker, times: int = TIMES) -> dict[str, Series]:
    """How long a purpose's kernel and a plain one take to be ready, in turns; the gateway must be running."""
    share = work / "share"
    install([(asker.purpose, "Benchmark")], share)
    taken: dict[str, list[float]] = {"kai": [], "plain": []}
    with server_environment(asker.socket, asker.identity, work / "workspaces"):
        for _ in range(times):
            taken["kai"].append(_kernel_ready(manager_for(share, spec_name(asker.purpose))))
            taken["plain"].append(_kernel_ready(KernelManager(kernel_name="python3")))
    return {name: Series(tuple(seconds)) for name, seconds in taken.items()}


def _kernel_ready(manager: KernelManager) -> float:
    started = time.perf_counter()
    with running(manager):
        return time.perf_counter() - started


def _first_questions(asker: Asker) -> dict[str, Series]:
    store = asker.store("rows")
    plain = [sys.executable, "-I", "-c", PLAIN_SESSION, str(store), ROWS]
    sessions = [asker.open() for _ in range(2 * TIMES)]
    return in_turns(
        TIMES,
        {
            "rows": lambda turn: sessions[turn].sql(ROWS),
            "statistics": lambda turn: sessions[TIMES + turn].stats(STATISTICS, rho=f"0.00{3100 + turn}"),
            "plain": lambda _: run(plain),
        },
    )
