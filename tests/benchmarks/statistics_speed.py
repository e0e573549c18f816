"""How fast statistics are: the engine's SQL beside the exact query in plain DuckDB, whole answers, and their bars.

    python tests/benchmarks/statistics_speed.py                         measures both worlds, and prints every bar
    python tests/benchmarks/statistics_speed.py tpch|events FOLDER      makes one world there, and measures it

Each world is made and measured in a process of its own, so that its peak memory is its own. Compared things are
measured in turns, with 2 threads each. A bar is what the engine is held to; what misses it is said.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from children import run
from page import Table, duration, megabytes
from speed import events, tpch
from speed.asking import Compared, Engine, Whole, compared, whole
from speed.contracts import DELTA, plan_of
from speed.stores import THREADS, plain, worker_on, write_store

from kaianalytics.gateway.guard.admission import Guard
from kaianalytics.policy.contract import DataContract
from kaianalytics.privacy.loss import PrivacyLoss, rho_for

EPSILON = Decimal(1)
RATIO_BARS = {
    "TPC-H Q1": 3.0,
    "TPC-H Q1, 200 rows asked": 3.0,
    "TPC-H Q5": 1.5,
    "TPC-H Q6": 1.5,
    "TPC-H Q14": 1.5,
    "TPC-H Q19": 1.5,
    "20M events by 8 topics": 6.0,
    "the same, by groups, pre-aggregated": 1.0,
}
PAGES_BAR, MEMORY_BAR = 3.0, 4_000_000_000
BASE, EACH = 0.010, 0.000_040  # seconds beside the SQL: of an answer, and of each of its numbers
_PAGES_LOSS = PrivacyLoss.of("0.5")  # enough that most pages are shown: the dear case
_DAYS = "SELECT l_shipdate, {} FROM lineitem GROUP BY l_shipdate"
_WIDE = {
    "Q6": tpch.QUERIES["Q6"][0],
    "Q1": tpch.QUERIES["Q1"][0],
    "rows by day": _DAYS.format("COUNT(*) AS n"),
    "rows and pieces by day": _DAYS.format("COUNT(*) AS n, SUM(l_quantity) AS pieces"),
    "rows by day and flag": f"{_DAYS}, l_returnflag".format("l_returnflag, COUNT(*) AS n"),
}


@dataclass(frozen=True)
class World:
    """What one process measured; `absent` says why it measured nothing."""

    compared: Mapping[str, Compared]
    whole: Mapping[str, Whole]
    absent: str = ""


def of_tpch(folder: Path) -> World:
    """TPC-H at scale 1."""
    if reason := tpch.generated(folder):
        return World({}, {}, f"the generator `tpchgen-cli` could not be had: {reason}")
    engine, exact = _opened(folder, tpch.contracts(), tpch.sources(folder), tpch.originals(folder))
    [first] = tpch.QUERIES["Q1"]
    ratios = {"TPC-H Q1, 200 rows asked": compared(engine, first, exact, first, {"rows": 200})}
    for name, texts in tpch.QUERIES.items():
        ratios[f"TPC-H {name}"] = compared(engine, texts[-1], exact, texts[0])
    return World(ratios, {name: whole(engine, sql) for name, sql in _WIDE.items()})


def of_events(folder: Path) -> World:
    """20 million events, and 100,000 pages whose names nobody declared."""
    originals = {name: source for name, source in events.sources().items() if name != "grouped"}
    engine, exact = _opened(folder, events.contracts(), events.sources(), originals)
    query, grouped = (events.BY_TOPIC.format(name) for name in ("events", "grouped"))
    without = {name: replace(view, pre_aggregates=()) for name, view in engine.views.items()}
    ratios = {
        "20M events by 8 topics": compared(engine, query, exact, query),
        "the same, by groups": compared(replace(engine, views=without), grouped, exact, query),
        "the same, by groups, pre-aggregated": compared(engine, grouped, exact, query),
    }
    dear = replace(engine, loss=_PAGES_LOSS)
    return World(ratios, {"100,000 unknown keys": whole(dear, events.BY_PAGE, turns=3)})


def _opened(
    folder: Path, contracts: Mapping[str, DataContract], sources: Mapping[str, str], originals: Mapping[str, str]
) -> tuple[Engine, Any]:
    plan = plan_of(contracts)
    exact = plain(folder / "original.duckdb", originals)
    write_store(folder / "store.duckdb", plan, sources)
    views = {name: table.statistics for name, table in plan.tables.items() if table.statistics}
    return Engine(worker_on(folder / "store.duckdb", plan), views, rho_for(EPSILON, DELTA), Guard()), exact


WORLDS: Mapping[str, Callable[[Path], World]] = {"tpch": of_tpch, "events": of_events}


def statistics_speed(work: Path) -> list[Table]:
    """Both tables; what could not be had is said in its place."""
    worlds, peaks = {}, {}
    for name in WORLDS:
        folder = work / name
        folder.mkdir(parents=True)
        peaks[name] = run([sys.executable, str(Path(__file__).resolve()), name, str(folder)]).peak
        worlds[name] = _read(json.loads((folder / "measured.json").read_text(encoding="utf-8")))
    return [_ratios(worlds), _wholes(worlds, peaks)]


def _read(found: Mapping[str, Any]) -> World:
    compared_ = {name: Compared(**facts) for name, facts in found["compared"].items()}
    return World(compared_, {name: Whole(**facts) for name, facts in found["whole"].items()}, found["absent"])


def _ratios(worlds: Mapping[str, World]) -> Table:
    rows = [_ratio(name, each) for world in worlds.values() for name, each in world.compared.items()]
    absent = " ".join(f"Not measured: {world.absent}." for world in worlds.values() if world.absent)
    return Table(
        "Statistics beside the exact query",
        "The SQL of a statistic's plan on its store, beside the exact query in plain DuckDB on the original tables: "
        f"one process, {THREADS} threads, in turns, medians of 5. TPC-H is of scale 1, its unit the customer; the "
        f"events are of a million customers. The error is that of the same plan at ε = {EPSILON}: bias and noise "
        "together, beside the true figure, the median over all figures of the answer. Bounds are those that the engine "
        f"chooses by its declared profile unless the row says otherwise. {absent}".strip(),
        ("question", "exact", "statistic", "ratio", "bar", "kept", "form of bounding", "error"),
        rows,
    )


def _ratio(name: str, each: Compared) -> list[str]:
    bar = RATIO_BARS.get(name)
    held = ("", "") if bar is None else (f"{bar:g} ×", _kept(each.ratio, bar))
    spans = (duration(each.exact), duration(each.ours), f"{each.ratio:.2f} ×")
    return [name, *spans, *held, each.form, f"{each.error:.2g} %"]


def _wholes(worlds: Mapping[str, World], peaks: Mapping[str, int]) -> Table:
    rows = []
    for world in worlds.values():
        for name, each in world.whole.items():
            unknown = "unknown" in name
            taken, bar = (each.seconds, PAGES_BAR) if unknown else (each.beside, BASE + EACH * each.numbers)
            what = f"{name}, the whole answer" if unknown else f"{name}, beside the SQL"
            rows.append(
                [what, f"{each.numbers:,}", duration(each.sql), duration(taken), duration(bar), _kept(taken, bar)]
            )
    for name, peak in peaks.items():
        rows.append([f"peak memory, {name}", "", "", megabytes(peak), megabytes(MEMORY_BAR), _kept(peak, MEMORY_BAR)])
    return Table(
        "What an answer costs beside its SQL",
        "From the text to the rows in one process: guard, lowering, bounding, the proof by OpenDP's map, assembling, "
        "noise, error bars; the gateway's commits are above. Numbers are candidate keys times aggregates.",
        ("answer", "numbers", "its SQL", "measured", "bar", "kept"),
        rows,
    )


def _kept(measured: float, bar: float) -> str:
    return "yes" if measured <= bar else "no"


def _write(world: str, folder: Path) -> None:
    (folder / "measured.json").write_text(json.dumps(asdict(WORLDS[world](folder))), encoding="utf-8")


def _print() -> None:
    with tempfile.TemporaryDirectory(prefix="kai-speed-") as folder:
        print("\n".join(table.text() for table in statistics_speed(Path(folder))))


if __name__ == "__main__":
    if sys.argv[1:]:
        _write(sys.argv[1], Path(sys.argv[2]))
    else:
        _print()
