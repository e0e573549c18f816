"""The workload in SmartNoise SQL: a job as JSON in, answers as JSON out. Runs in an environment of its own.

    python peer_smartnoise.py job.json answers.json

Its best documented settings for this: pure ε in each noisy column (Laplace, needing no δ), the most of it that its own
odometer lets all columns together spend at the total (ε, δ); keys given and no dimension censored: what its own SQL
counts is handed back as `pre_aggregated` with a zero for every absent key; `max_ids` as the job says. Values are
divided by their largest, for it refuses scales of noise above ten million. Rows are sampled anew every few draws, for
a sample takes it a second; noise is drawn anew every time.
"""

from __future__ import annotations

import json
import sys
import warnings
from importlib.metadata import version
from itertools import product
from pathlib import Path

import pandas as pd
from snsql import Privacy
from snsql.sql.odometer import OdometerHeterogeneous
from snsql.sql.private_reader import PrivateReader
from snsql.sql.reader.pandas import PandasReader

DRAWS_OF_A_SAMPLE = 4


def main() -> None:
    """Answer the job's questions and write the answers."""
    warnings.simplefilter("ignore")
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    columns = sum(2 if question["aggregate"] == "mean" else 1 for question in job["questions"])
    epsilon = _epsilon_of_each(float(job["epsilon"]), float(job["delta"]), columns)
    sources = {table["name"]: _source(table) for table in job["tables"]}
    tables = {table["name"]: table for table in job["tables"]}
    privacy = Privacy(epsilon=epsilon, delta=float(job["delta"]))
    answers = [
        _answered(question, tables[question["table"]], sources[question["table"]], privacy, job["times"])
        for question in job["questions"]
    ]
    settings = (
        f"{version('smartnoise-sql')}; ε = {epsilon:.4g} for each of {columns} noisy columns, Laplace, keys given"
    )
    Path(sys.argv[2]).write_text(json.dumps({"answers": answers, "settings": settings}), encoding="utf-8")


def _epsilon_of_each(total: float, delta: float, columns: int) -> float:
    """The most that each column may spend, so that the odometer's total stays within the job's."""
    low, high = 0.0, total
    for _ in range(60):
        middle = (low + high) / 2
        odometer = OdometerHeterogeneous(Privacy(epsilon=middle, delta=2 * delta))  # it keeps half of δ for composing
        for _ in range(columns):
            odometer.spend(Privacy(epsilon=middle, delta=0.0))
        spent = odometer.spent
        low, high = (middle, high) if spent[0] <= total and spent[1] <= delta * (1 + 1e-9) else (low, middle)
    return low


def _source(table: dict) -> PandasReader:
    """The table in its own SQLite, with each summed column as a share of its largest value."""
    frame = pd.read_parquet(table["path"])
    for name, values in table["values"].items():
        frame[f"share_of_{name}"] = frame[name] / values["upper"]
    return PandasReader(frame, _metadata(table, 1))


def _metadata(table: dict, rows: int) -> dict:
    settings = {"max_ids": rows, "sample_max_ids": True, "censor_dims": False, "clamp_counts": True}
    columns = {table["unit"]: {"type": "int", "private_id": True}}
    for key, values in table["keys"].items():
        columns[key] = {"type": "int" if isinstance(values[0], int) else "string"}
    columns |= {flag: {"type": "boolean"} for flag in table["flags"]}
    for name, values in table["values"].items():
        columns[name] = {"type": "float"}
        columns[f"share_of_{name}"] = {"type": "float", "lower": values["lower"] / values["upper"], "upper": 1.0}
    return {"": {"": {table["name"]: settings | columns}}}


def _answered(question: dict, table: dict, source: PandasReader, privacy: Privacy, times: int) -> dict:
    """Draws of one question, or why it was refused."""
    bound = max(1, int(question["bound"]["size"]))
    reader = PrivateReader(source, _metadata(table, bound), privacy)
    sql = question["sql"].replace(f"({question['column']})", f"(share_of_{question['column']})")
    unit = table["values"][question["column"]]["upper"] if question["column"] else 1
    draws: list[list[float]] = []
    try:
        while len(draws) < times:
            exact = _with_all_keys(reader, sql, question, table)
            for _ in range(min(DRAWS_OF_A_SAMPLE, times - len(draws))):
                draws.append(_draw(reader.execute(sql, pre_aggregated=exact), question, table, unit))
    except Exception as refusal:  # whatever it says is the column's entry
        return {"refused": str(refusal)[:300]}
    return {"draws": draws}


def _cells(question: dict, table: dict) -> list[tuple]:
    return list(product(*(table["keys"][key] for key in question["by"])))


def _with_all_keys(reader: PrivateReader, sql: str, question: dict, table: dict) -> list:
    """What its own rewritten SQL counts on a new sample, and zeros for the keys that are absent."""
    subquery, _ = reader._rewrite(sql)
    names, *rows = reader.reader._execute_ast(subquery)
    keys = len(question["by"])
    found = {tuple(row[:keys]): row for row in rows}
    return [names, *(found.get(cell, (*cell, *(0 for _ in names[keys:]))) for cell in _cells(question, table))]


def _draw(rows: list, question: dict, table: dict, unit: float) -> list[float]:
    keys = len(question["by"])
    found = {tuple(row[:keys]): row[keys] for row in rows[1:]}
    return [float(found[cell]) * unit for cell in _cells(question, table)]


if __name__ == "__main__":
    main()
