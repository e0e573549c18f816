"""A job for a peer's runner: tables as Parquet files, the questions and their bounds as JSON, answers read back."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb

from accuracy.bounds import Bound
from accuracy.workload import DELTA, UNIT, Question, TableOf, Workload

SECONDS = 3_600  # of one job; a runner that takes longer is ended, and its column is absent
Draws = list[list[float]]  # of each repetition, the figures of the cells in order


@dataclass(frozen=True)
class Answers:
    """What an engine answered: for each question its draws, or what it refused with; and its settings, in words."""

    draws: tuple[Draws | str, ...]
    settings: str


def opened(workload: Workload, sources: Mapping[str, Path], folder: Path) -> duckdb.DuckDBPyConnection:
    """The workload's tables, read from their sources, and written as Parquet files for the peers."""
    connection = duckdb.connect(config={"threads": 2})
    for table in workload.tables:
        connection.sql(f"CREATE TABLE {table.name} AS {table.select.format(source=sources[table.name])}")
        connection.sql(f"COPY {table.name} TO '{_parquet(folder, table)}' (FORMAT parquet)")
    return connection


def run_job(
    python: Path, script: Path, folder: Path, workload: Workload, bounds: Sequence[Bound], epsilon: str, times: int
) -> Answers:
    """Run a peer's runner in its environment, on the tables beside the job's new folder."""
    folder.mkdir()
    asked, told = folder / "job.json", folder / "answers.json"
    job = {
        "epsilon": epsilon,
        "delta": DELTA,
        "times": times,
        "tables": [_table(folder.parent, table) for table in workload.tables],
        "questions": [_question(question, bound) for question, bound in zip(workload.questions, bounds, strict=True)],
    }
    asked.write_text(json.dumps(job), encoding="utf-8")
    ran = subprocess.run(
        [str(python), str(script), str(asked), str(told)], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if ran.returncode != 0:
        raise RuntimeError(f"{script.name} ended with {ran.returncode}: {ran.stderr[-1000:]}")
    answered = json.loads(told.read_text(encoding="utf-8"))
    return Answers(tuple(a.get("draws") or a["refused"] for a in answered["answers"]), answered["settings"])


def _parquet(folder: Path, table: TableOf) -> Path:
    return folder / f"{table.name}.parquet"


def _table(folder: Path, table: TableOf) -> dict[str, object]:
    values = {
        name: {"lower": column.lower, "upper": column.upper, "step": float(column.step)}
        for name, column in table.values.items()
    }
    return {
        "name": table.name,
        "path": str(_parquet(folder, table)),
        "unit": UNIT,
        "keys": table.keys,
        "flags": table.flags,
        "values": values,
        "rows": table.rows,
        "customers": table.customers,
    }


def _question(question: Question, bound: Bound) -> dict[str, object]:
    return {
        "table": question.table.name,
        "aggregate": question.aggregate,
        "column": question.column,
        "by": question.by,
        "where": question.where,
        "sql": question.sql,
        "bound": asdict(bound),
    }
